/* src/pipe/embed.c: what the tasks that give vectors share. */
#include "pipe/pipe.h"

#include <stdlib.h>

struct rows {
    size_t rows, size;
    float data[];
};

int pipe_keep_rows(const struct pipe_window *w, const struct pipe_rows *rows, void **kept,
                   struct om_error *err)
{
    struct rows *r;
    size_t count, bytes;

    (void)w;
    if (!om_mul_size(rows->rows, rows->width, &count) ||
        !om_mul_size(count, sizeof(float), &bytes) || !om_add_size(bytes, sizeof(*r) + 1, &bytes))
        return pipe_no_memory(err);
    r = malloc(bytes);
    if (!r)
        return pipe_no_memory(err);
    r->rows = rows->rows;
    r->size = rows->width;
    memcpy(r->data, rows->data[0], count * sizeof(float));
    *kept = r;
    return 0;
}

int pipe_give_rows(struct pipe_call *c, const struct pipe_item *item, void *features,
                   struct om_error *err)
{
    const struct rows *const r = item->windows[0].kept;
    float *const data = om_arena_copy(&c->arena, r->data, r->rows * r->size * sizeof(float) + 1);

    if (!data)
        return pipe_no_memory(err);
    *(struct om_features *)features = (struct om_features){ r->rows, r->size, data };
    return 0;
}

/* ---- the typed door: vectors of tokens or of sentences, as the pipeline's task is ---- */

static int set(struct pipe_call *c, const struct om_text *texts, size_t n,
               const struct om_feature_opts *opts, struct om_error *err)
{
    struct om_feature_opts o = OM_FEATURE_OPTS_INIT;
    struct pipe_embed_params *const p = c->params;
    struct om_text *const in = pipe_call_items(c, n);

    if (!in)
        return pipe_no_memory(err);
    if (n)
        memcpy(in, texts, n * sizeof(*in));
    OM_TRY(pipe_opts_copy(&o, opts, sizeof(o), err));
    if (o.max_length < 0)
        return om_fail(err, OM_E_USAGE, "max_length is negative");
    pipe_coding_set(&p->coding, o.truncation, o.max_length);
    if (o.normalize != OM_UNSET)
        p->normalize = o.normalize;
    return 0;
}

int om_pipeline_embed(const struct om_pipeline *p, const struct om_text *texts, size_t n,
                      const struct om_feature_opts *opts, const struct om_features **out,
                      struct om_error *err)
{
    const struct pipe_task *const task =
        p->task == &pipe_sentence_similarity ? &pipe_sentence_similarity : &pipe_feature_extraction;
    struct pipe_call c;
    const void *results = NULL;
    int rc;

    OM_TRY(pipe_typed_begin(&c, p, task, err));
    rc = pipe_typed_end(&c, set(&c, texts, n, opts, err), &results, err);
    if (rc == 0)
        *out = results;
    return rc;
}
