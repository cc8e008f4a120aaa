/* src/export/generation.c: the parameters of text generation that older checkpoints hold in
 * config.json. As in Optimum, what differs from the default moves to generation_config.json. */
#include <stdlib.h>

#include "export/job.h"

/* Transformers' list, without forced_bos_token_id and forced_eos_token_id: their defaults are those
 * of each configuration class. */
static const struct {
    const char *key, *value; /* value: the default as JSON text; null is one for all */
} parameters[OM_GENERATION_MAX] = {
    { "max_length", "20" },
    { "min_length", "0" },
    { "do_sample", "false" },
    { "early_stopping", "false" },
    { "num_beams", "1" },
    { "temperature", "1" },
    { "top_k", "50" },
    { "top_p", "1" },
    { "typical_p", "1" },
    { "repetition_penalty", "1" },
    { "length_penalty", "1" },
    { "no_repeat_ngram_size", "0" },
    { "encoder_no_repeat_ngram_size", "0" },
    { "bad_words_ids", "null" },
    { "num_return_sequences", "1" },
    { "output_scores", "false" },
    { "return_dict_in_generate", "false" },
    { "remove_invalid_values", "false" },
    { "exponential_decay_length_penalty", "null" },
    { "suppress_tokens", "null" },
    { "begin_suppress_tokens", "null" },
    { "num_beam_groups", "1" },
    { "diversity_penalty", "0" },
};

static bool is_default(const struct om_json *v, const char *value)
{
    double number;
    bool on;

    if (om_json_kind(v) == OM_JSON_NULL)
        return true;
    if (om_json_bool(v, &on))
        return strcmp(value, on ? "true" : "false") == 0;
    return om_json_f64(v, &number) && strcmp(value, "null") != 0 && strcmp(value, "false") != 0 &&
           number == strtod(value, NULL);
}

static const char *json_text(struct om_arena *a, const struct om_json *v)
{
    struct om_buf text = OM_BUF_INIT(1 << 20);
    const char *copy;

    om_json_write(&text, v, 0);
    copy = text.failed ? NULL : om_arena_str(a, om_buf_sv(&text));
    om_buf_release(&text);
    return copy;
}

int om_generation_find(struct om_job *job, struct om_generation *out, struct om_error *err)
{
    struct om_buf list = OM_BUF_INIT(1 << 20);

    out->n = 0;
    for (size_t i = 0; i < OM_COUNT(parameters); i++) {
        const struct om_json *v = om_json_get(job->config.doc, parameters[i].key);
        const char *text;

        if (is_default(v, parameters[i].value))
            continue;
        text = json_text(&job->arena, v);
        if (text == NULL) {
            om_buf_release(&list);
            return om_fail(err, OM_E_NOMEM, "key \"%s\": out of memory", parameters[i].key);
        }
        out->moved[out->n++] = (struct om_json_patch){ parameters[i].key, text };
        om_buf_printf(&list, "%s%s: %s", list.len > 0 ? ", " : "", parameters[i].key, text);
    }
    if (out->n > 0)
        om_log(job->ctx, OM_LOG_WARNING,
               "Moving the following attributes in the config to the generation config: {%.*s}.",
               OM_SV(om_buf_sv(&list)));
    om_buf_release(&list);
    return 0;
}
