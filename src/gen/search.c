/* src/gen/search.c: what all searches do: ask the model, keep what the caller wants to see. */
#include <stdlib.h>

#include "gen/gen.h"

#define FIRST_ROOM 64 /* ids beyond the prompt */

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for generated sequences");
}

/* rows * stride ids in place of what s has. */
static int resize(struct om_seqs *s, size_t rows, size_t stride, struct om_error *err)
{
    size_t count, bytes;
    int64_t *ids;

    if (!om_mul_size(rows, stride, &count) || !om_mul_size(count, sizeof(*ids), &bytes))
        return no_memory(err);
    ids = malloc(bytes ? bytes : 1);
    if (!ids)
        return no_memory(err);
    for (size_t r = 0; r < s->rows && s->len; r++)
        memcpy(ids + r * stride, om_seqs_row(s, r), s->len * sizeof(*ids));
    free(s->ids);
    s->ids = ids;
    s->rows = rows;
    s->stride = stride;
    return 0;
}

int om_seqs_grow(struct om_seqs *s, struct om_error *err)
{
    if (s->len < s->stride)
        return 0;
    return s->stride <= SIZE_MAX / 4 ? resize(s, s->rows, s->stride * 2 + FIRST_ROOM, err)
                                     : no_memory(err);
}

void om_seqs_release(struct om_seqs *s)
{
    free(s->ids);
    *s = (struct om_seqs){ 0 };
}

int om_search_begin(const struct om_search *s, struct om_seqs *out, struct om_error *err)
{
    const size_t len = s->plan->prompt;

    *out = (struct om_seqs){ 0 };
    if (len > SIZE_MAX / 4)
        return no_memory(err);
    OM_TRY(resize(out, s->plan->batch, OM_MIN(len + FIRST_ROOM, s->plan->max_length), err));
    out->len = len;
    for (size_t r = 0; r < out->rows; r++)
        memcpy(om_seqs_row(out, r), s->prompt + r * len, len * sizeof(*out->ids));
    return 0;
}

static int learn_vocab(struct om_search *s, size_t vocab, struct om_error *err)
{
    if (s->process && s->vocab == vocab)
        return 0;
    if (s->process || vocab == 0)
        return om_fail(err, OM_E_RUNTIME, "the model's vocabulary changed from %zu to %zu tokens",
                       s->vocab, vocab);
    OM_TRY(om_plan_check_vocab(s->plan, vocab, err));
    s->vocab = vocab;
    return om_process_new(s->plan, vocab, &s->process, err);
}

int om_search_step(struct om_search *s, const struct om_seqs *seqs, struct om_logits *out,
                   struct om_error *err)
{
    OM_TRY(om_ctx_check(s->ctx, err));
    OM_TRY(s->decoder->step(s->decoder->user, seqs, out, err));
    if (out->rows != seqs->rows)
        return om_fail(err, OM_E_RUNTIME, "the model gave logits for %zu sequences of %zu",
                       out->rows, seqs->rows);
    s->steps++;
    return learn_vocab(s, out->vocab, err);
}

static int keep(float **all, size_t *cap, size_t *len, const float *row, size_t n,
                struct om_error *err)
{
    size_t need;

    if (!om_add_size(*len, n, &need) || !om_grow(all, cap, need, sizeof(**all)))
        return om_fail(err, OM_E_NOMEM, "out of memory for the scores of all steps");
    memcpy(*all + *len, row, n * sizeof(*row));
    *len = need;
    return 0;
}

int om_search_keep_logits(struct om_search *s, const float *row, struct om_error *err)
{
    struct om_kept *k = &s->kept;

    if (!s->keep_logits)
        return 0;
    return keep(&k->logits, &k->logits_cap, &k->logits_len, row, s->vocab, err);
}

int om_search_keep_scores(struct om_search *s, const float *row, struct om_error *err)
{
    struct om_kept *k = &s->kept;

    if (!s->keep_scores)
        return 0;
    return keep(&k->scores, &k->scores_cap, &k->scores_len, row, s->vocab, err);
}

void om_search_release(struct om_search *s)
{
    om_process_free(s->process);
    s->process = NULL;
    free(s->kept.scores);
    free(s->kept.logits);
    s->kept = (struct om_kept){ 0 };
}
