/* src/pipe/text2text_generation.c: texts that an encoder-decoder answers with texts. */
#include "pipe/generation.h"

const struct pipe_generation_params pipe_text2text_defaults = { PIPE_GENERATION_DEFAULTS };

/* ---- parameters ---- */

const struct pipe_param pipe_text2text_params[] = {
    PIPE_PARAM(CHOICE, struct pipe_generation_params, return_tensors, "return_tensors"),
    PIPE_PARAM(CHOICE, struct pipe_generation_params, return_text, "return_text"),
    PIPE_PARAM(CHOICE, struct pipe_generation_params, clean_up, "clean_up_tokenization_spaces"),
    PIPE_PARAM(TEXT, struct pipe_generation_params, stop_sequence, "stop_sequence"),
    { .key = "truncation", .kind = PIPE_PARAM_OTHER, .read = pipe_read_truncation },
    PIPE_PARAM(INT, struct pipe_generation_params, seed, "seed", .min = 0),
    PIPE_GENERATION_ALWAYS,
    { .key = NULL },
};

int pipe_text2text_check(const struct pipe_reader *r, void *params)
{
    struct pipe_generation_params *const g = params;

    if (g->return_tensors != OM_UNSET)
        g->form = g->return_tensors == OM_YES ? PIPE_FORM_IDS : PIPE_FORM_FULL_TEXT;
    g->return_tensors = OM_UNSET;
    return pipe_generation_settle(r, g);
}

/* ---- inputs ---- */

int pipe_text2text_prepare(const struct pipe_call *c, struct pipe_item *item, struct om_error *err)
{
    const struct pipe_generation *const state = c->p->state;
    const struct pipe_generation_params *const g = c->params;

    return pipe_generation_prepare(c, item, (om_sv){ state->prefix.ptr, state->prefix.len },
                                   &g->coding, err);
}

/* ---- results ---- */

int pipe_text2text_finish(struct pipe_call *c, const struct pipe_item *item, void *result,
                          struct om_error *err)
{
    struct pipe_generation_rows *const kept = item->windows[0].kept;
    struct om_generated_text *const at = om_arena_array(&c->arena, kept->rows + 1, sizeof(*at));
    const int64_t *const ids =
        om_arena_copy(&c->arena, kept->ids, kept->rows * kept->length * sizeof(*ids));

    if (!at || !ids)
        return pipe_no_memory(err);
    for (size_t i = 0; i < kept->rows; i++) {
        at[i].ids = ids + i * kept->length;
        at[i].len = kept->length;
        OM_TRY(pipe_generation_decode(c, at[i].ids, at[i].len, &at[i].text, err));
    }
    *(struct om_generated_texts *)result = (struct om_generated_texts){ kept->rows, at };
    return 0;
}

/* In a list, an only result stands without a list of its own. */
void pipe_text2text_json(const struct pipe_call *c, const void *result, const char *name,
                         struct om_buf *b)
{
    const struct pipe_generation_params *const g = c->params;
    const struct om_generated_texts *const r = result;
    const bool flat = c->list && r->len == 1;

    om_buf_adds(b, flat ? "" : "[");
    for (size_t i = 0; i < r->len; i++) {
        om_buf_adds(b, i ? ", " : "");
        if (g->form == PIPE_FORM_IDS) {
            pipe_generation_json_ids(b, name, &r->at[i]);
            continue;
        }
        om_buf_printf(b, "{\"%s_text\": ", name);
        pipe_json_text(b, r->at[i].text);
        om_buf_addc(b, '}');
    }
    om_buf_adds(b, flat ? "" : "]");
}

static void json(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    pipe_text2text_json(c, result, "generated", b);
}

const struct pipe_task pipe_text2text_generation = {
    .name = "text2text-generation",
    .aliases = (const char *const[]){ NULL },
    .model_class = OM_MODEL_SEQ2SEQ_LM,
    .params = pipe_text2text_params,
    .params_size = sizeof(struct pipe_generation_params),
    .input_size = sizeof(struct pipe_generation_input),
    .result_size = sizeof(struct om_generated_texts),
    .defaults = &pipe_text2text_defaults,
    .takes = pipe_generation_takes,
    .open = pipe_generation_open,
    .close = pipe_generation_close,
    .check = pipe_text2text_check,
    .read = pipe_generation_read,
    .prepare = pipe_text2text_prepare,
    .arrange = pipe_generation_arrange,
    .run = pipe_generation_run,
    .finish = pipe_text2text_finish,
    .json = json,
    .text = pipe_generation_text,
};
