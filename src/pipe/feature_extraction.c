/* src/pipe/feature_extraction.c: the vectors that a model has for the tokens of a text. */
#include "pipe/pipe.h"

#include <stdlib.h>

static const struct pipe_embed_params defaults = { .return_tensors = OM_UNSET };

static const struct pipe_param params_table[] = {
    { .key = "truncation", .kind = PIPE_PARAM_OTHER, .read = pipe_read_truncation },
    { .key = "tokenize_kwargs", .kind = PIPE_PARAM_OTHER, .read = pipe_read_coding },
    PIPE_PARAM(CHOICE, struct pipe_embed_params, return_tensors,
               "return_tensors"), /* lists in any case */
    { .key = NULL },
};

/* The first output, whatever its name. */
static int open_task(struct om_pipeline *p, struct om_error *err)
{
    const struct om_session *const s = om_model_session(p->model);

    if (om_session_output_count(s) == 0)
        return om_fail(err, OM_E_USAGE, "the model has no outputs");
    p->outputs[0] = om_session_output(s, 0)->name;
    p->per_token = true;
    return 0;
}

static int prepare(const struct pipe_call *c, struct pipe_item *item, struct om_error *err)
{
    const struct pipe_embed_params *const p = c->params;

    return pipe_encode(c->p, item, item->input, NULL, &p->coding, false, err);
}

/* Where the caller asked for batches, the original gives the vectors of the padding, too: each text
 * is padded to the longest of its batch. The typed door leaves them away. */
static int pad_batch(struct pipe_call *c, size_t begin, size_t end, struct om_error *err)
{
    const struct om_padding padding = { .pad_id = c->p->t.pad.id,
                                        .direction = c->p->t.padding_side };
    size_t length = 0;

    for (size_t i = begin; i < end; i++)
        length = OM_MAX(length, c->items[i].encs[0]->len);
    for (size_t i = begin; i < end; i++) {
        OM_TRY(om_encoding_pad(&c->items[i].encs[0], length, &padding, err));
        c->items[i].windows[0].enc = c->items[i].encs[0];
    }
    return 0;
}

static int arrange(struct pipe_call *c, struct om_error *err)
{
    if (!c->json || c->batch_size <= 1 || !c->list)
        return 0;
    if (!c->p->t.pad.known)
        return om_fail(err, OM_E_USAGE, "batches need a padding token, the tokenizer has none");
    for (size_t i = 0; i < c->n; i += c->batch_size)
        OM_TRY(pad_batch(c, i, OM_MIN(i + c->batch_size, c->n), err));
    return 0;
}

static int finish(struct pipe_call *c, const struct pipe_item *item, void *result,
                  struct om_error *err)
{
    return pipe_give_rows(c, item, result, err);
}

static void json(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    const struct om_features *const r = result;

    (void)c;
    om_buf_adds(b, "[[");
    for (size_t i = 0; i < r->rows; i++) {
        om_buf_adds(b, i ? ", " : "");
        pipe_json_floats(b, r->data + i * r->size, r->size);
    }
    om_buf_adds(b, "]]");
}

/* Rows of many numbers: their beginnings. */
static void text(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    enum { SHOWN = 6 };
    const struct om_features *const r = result;

    (void)c;
    for (size_t i = 0; i < r->rows; i++) {
        om_buf_printf(b, "%s%4zu ", i ? "\n" : "", i);
        for (size_t k = 0; k < r->size && k < SHOWN; k++)
            om_buf_printf(b, " %8.4f", (double)r->data[i * r->size + k]);
        if (r->size > SHOWN)
            om_buf_printf(b, "  ... (%zu)", r->size);
    }
}

const struct pipe_task pipe_feature_extraction = {
    .name = "feature-extraction",
    .aliases = (const char *const[]){ NULL },
    .model_class = OM_MODEL_FEATURE_EXTRACTION,
    .params = params_table,
    .params_size = sizeof(struct pipe_embed_params),
    .input_size = sizeof(struct om_text),
    .result_size = sizeof(struct om_features),
    .defaults = &defaults,
    .open = open_task,
    .read = pipe_read_texts,
    .prepare = prepare,
    .arrange = arrange,
    .reduce = pipe_keep_rows,
    .finish = finish,
    .json = json,
    .text = text,
};
