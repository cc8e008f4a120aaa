/* src/pipe/translation.c: text2text-generation whose answers are translations. Tokenizers of many
 * languages put the text's own into it, and the other one is what the answer begins with. */
#include "pipe/generation.h"

#include <stdlib.h>

/* ---- languages ---- */

/* Where a tokenizer puts the language of a text: in front of it, or behind its end. */
enum place { IN_FRONT, BEHIND, AS_SAVED };

static const struct multilingual {
    const char *name;  /* the tokenizer's class, without "Fast" */
    const char *quote; /* on both sides of a code, in its token */
    enum place place;
} multilinguals[] = {
    { "MBartTokenizer", "", BEHIND },
    { "MBart50Tokenizer", "", IN_FRONT },
    { "NllbTokenizer", "", AS_SAVED }, /* behind, where it was saved in its legacy behaviour */
    { "M2M100Tokenizer", "__", IN_FRONT },
};

static const struct multilingual *find_multilingual(const struct om_pipeline *p)
{
    const om_sv name = om_sv_str(om_tokenizer_get_info(p->t.tok)->tokenizer_class);

    for (size_t i = 0; i < OM_COUNT(multilinguals); i++) {
        const om_sv known = om_sv_str(multilinguals[i].name);

        if (om_sv_eq(name, known) ||
            (om_sv_starts(name, known) &&
             om_sv_is((om_sv){ name.ptr + known.len, name.len - known.len }, "Fast")))
            return &multilinguals[i];
    }
    return NULL;
}

static int language_token(const struct pipe_reader *r, const struct multilingual *m,
                          struct om_text language, uint32_t *id)
{
    const om_sv code = { language.ptr, language.len };
    const char *const token =
        om_arena_printf(r->arena, "%s%.*s%s", m->quote, OM_SV(code), m->quote);

    if (!token)
        return pipe_no_memory(r->err);
    if (om_tokenizer_token_to_id(r->p->t.tok, token, strlen(token), id))
        return 0;
    return om_fail(r->err, OM_E_USAGE, "the tokenizer has no token \"%s\" for a language", token);
}

/* What the tokenizer itself adds to a text: whether its end is the last of it. */
static int saved_place(const struct pipe_reader *r, uint32_t eos, enum place *out)
{
    const struct om_text none = { "", 0 };
    struct om_encoding *enc;

    OM_TRY(om_tokenizer_encode(r->p->t.tok, &none, NULL, NULL, &enc, r->err));
    *out = enc->len > 1 && enc->ids[enc->len - 1] != eos ? BEHIND : IN_FRONT;
    om_encoding_free(enc);
    return 0;
}

static int make_frame(const struct pipe_reader *r, const struct multilingual *m, uint32_t source,
                      struct pipe_frame *f)
{
    const char *const eos = om_tokenizer_get_info(r->p->t.tok)->eos_token;
    enum place place = m->place;

    *f = (struct pipe_frame){ .used = true, .n_after = 1 };
    if (!eos || !om_tokenizer_token_to_id(r->p->t.tok, eos, strlen(eos), &f->after[0]))
        return om_fail(r->err, OM_E_USAGE, "the tokenizer has no token that ends a text");
    if (place == AS_SAVED)
        OM_TRY(saved_place(r, f->after[0], &place));
    if (place == BEHIND)
        f->after[f->n_after++] = source;
    else
        f->before[f->n_before++] = source;
    return 0;
}

/* translation_XX_to_YY: the two codes. */
static bool split_name(const char *name, om_sv *source, om_sv *target)
{
    om_sv rest = om_sv_str(name), translation, to;

    return om_sv_split(&rest, '_', &translation) && om_sv_is(translation, "translation") &&
           om_sv_split(&rest, '_', source) && om_sv_split(&rest, '_', &to) && om_sv_is(to, "to") &&
           om_sv_split(&rest, '_', target) && !om_sv_split(&rest, '_', &to);
}

static bool named(const char *name)
{
    om_sv source, target;

    return split_name(name, &source, &target);
}

/* A call that names no language means those of the task's name. */
static void default_languages(const struct pipe_reader *r, struct pipe_generation_params *g)
{
    om_sv source, target;

    if (g != r->p->params || g->source.ptr || g->target.ptr ||
        !split_name(r->p->name, &source, &target))
        return;
    g->source = (struct om_text){ source.ptr, source.len };
    g->target = (struct om_text){ target.ptr, target.len };
}

static int settle_languages(const struct pipe_reader *r, struct pipe_generation_params *g)
{
    const struct multilingual *const m = find_multilingual(r->p);
    uint32_t source, target;

    default_languages(r, g);
    if (!m || g == r->p->params)
        return 0;
    if (!g->source.ptr || !g->target.ptr)
        return om_fail(r->err, OM_E_USAGE,
                       "the tokenizer is one of many languages: src_lang and tgt_lang are needed");
    OM_TRY(language_token(r, m, g->source, &source));
    OM_TRY(language_token(r, m, g->target, &target));
    g->forced_bos = target;
    return make_frame(r, m, source, &g->frame);
}

/* ---- the pipeline ---- */

/* Without languages in its name it is the first of the translations that the model has parameters
 * for. */
static int open_task(struct om_pipeline *p, struct om_error *err)
{
    struct om_json_iter it = { 0 };

    while (strcmp(p->name, "translation") == 0 &&
           om_json_next(om_json_get(p->config, "task_specific_params"), &it)) {
        if (!om_sv_starts(it.key, OM_SVL("translation_")))
            continue;
        p->name = om_arena_str(&p->arena, it.key);
        if (!p->name)
            return pipe_no_memory(err);
        om_log(p->ctx, OM_LOG_WARNING,
               "\"translation\" task was used, instead of \"translation_XX_to_YY\", defaulting to "
               "\"%s\"",
               p->name);
    }
    return pipe_generation_open(p, err);
}

static const struct pipe_param params_table[] = {
    PIPE_PARAM(CHOICE, struct pipe_generation_params, return_tensors, "return_tensors"),
    PIPE_PARAM(CHOICE, struct pipe_generation_params, return_text, "return_text"),
    PIPE_PARAM(CHOICE, struct pipe_generation_params, clean_up, "clean_up_tokenization_spaces"),
    PIPE_PARAM(TEXT, struct pipe_generation_params, stop_sequence, "stop_sequence"),
    { .key = "truncation", .kind = PIPE_PARAM_OTHER, .read = pipe_read_truncation },
    PIPE_PARAM(TEXT, struct pipe_generation_params, source, "src_lang"),
    PIPE_PARAM(TEXT, struct pipe_generation_params, target, "tgt_lang"),
    PIPE_PARAM(INT, struct pipe_generation_params, seed, "seed", .min = 0),
    PIPE_GENERATION_ALWAYS,
    { .key = NULL },
};

static int check(const struct pipe_reader *r, void *params)
{
    OM_TRY(settle_languages(r, params));
    return pipe_text2text_check(r, params);
}

/* The tokens around the text count in its length. */
static int prepare(const struct pipe_call *c, struct pipe_item *item, struct om_error *err)
{
    const struct pipe_generation_params *const g = c->params;
    struct pipe_coding coding = g->coding;
    struct om_truncation truncation;
    const size_t around = g->frame.n_before + g->frame.n_after;

    if (!g->frame.used)
        return pipe_text2text_prepare(c, item, err);
    coding.add_special_tokens = OM_NO;
    if (pipe_resolve_truncation(&c->p->t, &coding, &truncation)) {
        if (truncation.max_length <= around)
            return om_fail(err, OM_E_USAGE, "%zu tokens leave no room for a text",
                           truncation.max_length);
        coding.max_length = (int64_t)(truncation.max_length - around);
    }
    return pipe_generation_prepare(c, item, (om_sv){ NULL, 0 }, &coding, err);
}

static int run(struct pipe_call *c, struct pipe_item *items, size_t n, struct om_error *err)
{
    const struct pipe_generation_params *const g = c->params;
    const int64_t max = g->config.max_length;
    const int64_t length = (int64_t)pipe_generation_length(c, items);

    if ((double)length > 0.9 * (double)max)
        om_log(g->ctx, OM_LOG_WARNING,
               "Your input_length: %" PRId64 " is bigger than 0.9 * max_length: %" PRId64
               ". You might consider increasing your max_length manually, e.g. translator('...', "
               "max_length=400)",
               length, max);
    return pipe_generation_run(c, items, n, err);
}

static void json(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    pipe_text2text_json(c, result, "translation", b);
}

const struct pipe_task pipe_translation = {
    .name = "translation",
    .aliases = (const char *const[]){ NULL },
    .named = named,
    .model_class = OM_MODEL_SEQ2SEQ_LM,
    .params = params_table,
    .params_size = sizeof(struct pipe_generation_params),
    .input_size = sizeof(struct pipe_generation_input),
    .result_size = sizeof(struct om_generated_texts),
    .defaults = &pipe_text2text_defaults,
    .takes = pipe_generation_takes,
    .open = open_task,
    .close = pipe_generation_close,
    .check = check,
    .read = pipe_generation_read,
    .prepare = prepare,
    .arrange = pipe_generation_arrange,
    .run = run,
    .finish = pipe_text2text_finish,
    .json = json,
    .text = pipe_generation_text,
};
