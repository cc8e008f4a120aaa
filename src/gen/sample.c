/* src/gen/sample.c: one token after the other, the most likely one or one by chance. */
#include <stdlib.h>

#include "gen/gen.h"

struct sample {
    struct om_search *s;
    struct om_seqs seqs;
    struct om_random random;
    bool *done; /* by row */
    size_t n_done;
    bool stopped;  /* the listener has enough */
    float *scores; /* [vocab]; NULL before the first step */
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for generated sequences");
}

static size_t most_likely(const float *x, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

/* Scores that nothing changes and nobody keeps are read where they are. */
static int choose(struct sample *a, const float *logits, size_t row, size_t *out,
                  struct om_error *err)
{
    struct om_search *s = a->s;
    const float *scores = logits;

    OM_TRY(om_search_keep_logits(s, logits, err));
    if (!om_process_idle(s->process)) {
        memcpy(a->scores, logits, s->vocab * sizeof(*logits));
        om_process_run(s->process, row, om_seqs_row(&a->seqs, row), a->seqs.len, a->scores);
        scores = a->scores;
    }
    OM_TRY(om_search_keep_scores(s, scores, err));
    *out = s->plan->c.do_sample ? om_random_pick(&a->random, scores, s->vocab)
                                : most_likely(scores, s->vocab);
    return 0;
}

/* Several sequences for each of the batch go their own ways from here. */
static int expand(struct sample *a, struct om_error *err)
{
    const size_t width = a->s->plan->width, batch = a->seqs.rows, rows = batch * width;
    struct om_seqs wide = { .rows = rows, .len = a->seqs.len, .stride = a->seqs.stride };
    size_t ids;

    if (width == 1)
        return 0;
    if (!om_mul_size(rows, wide.stride, &ids) || ids > SIZE_MAX / sizeof(*wide.ids))
        return no_memory(err);
    wide.ids = malloc(ids * sizeof(*wide.ids));
    if (!wide.ids)
        return no_memory(err);
    for (size_t r = 0; r < rows; r++)
        memcpy(om_seqs_row(&wide, r), om_seqs_row(&a->seqs, r / width),
               wide.len * sizeof(*wide.ids));
    om_seqs_release(&a->seqs);
    a->seqs = wide;
    return 0;
}

/* The same for what the model remembers. */
static int expand_model(const struct sample *a, struct om_error *err)
{
    const size_t width = a->s->plan->width, rows = a->seqs.rows;
    uint32_t *from;
    int rc;

    if (width == 1)
        return 0;
    from = calloc(rows, sizeof(*from));
    if (!from)
        return no_memory(err);
    for (size_t r = 0; r < rows; r++)
        from[r] = (uint32_t)(r / width);
    rc = a->s->decoder->select(a->s->decoder->user, from, rows, err);
    free(from);
    return rc;
}

/* Behind the end of a sequence comes padding, where tokens can end one. */
static int64_t next_id(const struct sample *a, size_t row, size_t chosen)
{
    const struct om_plan *plan = a->s->plan;

    return a->done[row] && plan->c.eos_token_id.len ? plan->pad : (int64_t)chosen;
}

static int extend(struct sample *a, const struct om_logits *logits, struct om_error *err)
{
    const bool shared = logits->rows != a->seqs.rows;

    for (size_t r = 0; r < a->seqs.rows; r++) {
        size_t chosen = 0;

        OM_TRY(
            choose(a, om_logits_row(logits, shared ? r / a->s->plan->width : r), r, &chosen, err));
        om_seqs_row(&a->seqs, r)[a->seqs.len] = next_id(a, r, chosen);
    }
    a->seqs.len++;
    return 0;
}

static int finish_row(struct sample *a, size_t r, struct om_error *err)
{
    const int64_t *ids = om_seqs_row(&a->seqs, r);
    bool go_on = true, last = false;

    if (a->done[r])
        return 0;
    OM_TRY(om_stop_check(a->s->stop, ids, a->seqs.len, &last, err));
    a->done[r] = last;
    a->n_done += last;
    OM_TRY(om_stream_put(a->s->stream, r, ids[a->seqs.len - 1], last, &go_on, err));
    a->stopped |= !go_on;
    return 0;
}

static int step(struct sample *a, struct om_error *err)
{
    const bool first = a->s->steps == 0;
    struct om_logits logits = { 0 };

    OM_TRY(om_search_step(a->s, &a->seqs, &logits, err));
    if (!a->scores) {
        a->scores = malloc(a->s->vocab * sizeof(*a->scores));
        if (!a->scores)
            return no_memory(err);
    }
    if (first)
        OM_TRY(expand(a, err));
    OM_TRY(om_seqs_grow(&a->seqs, err));
    OM_TRY(extend(a, &logits, err));
    for (size_t r = 0; r < a->seqs.rows; r++)
        OM_TRY(finish_row(a, r, err));
    return first && a->n_done < a->seqs.rows ? expand_model(a, err) : 0;
}

static int give(const struct sample *a, struct om_generated *out, struct om_error *err)
{
    const struct om_seqs *q = &a->seqs;
    int64_t *ids = calloc(q->rows * q->len + 1, sizeof(*ids));

    if (!ids)
        return no_memory(err);
    for (size_t r = 0; r < q->rows; r++)
        memcpy(ids + r * q->len, om_seqs_row(q, r), q->len * sizeof(*ids));
    out->ids = ids;
    out->rows = out->score_rows = q->rows;
    out->length = q->len;
    return 0;
}

int om_search_sample(struct om_search *s, struct om_generated *out, struct om_error *err)
{
    struct sample a = { .s = s };
    int rc;

    a.done = calloc(s->plan->batch * s->plan->width, sizeof(*a.done));
    om_random_seed(&a.random, s->seed);
    rc = a.done ? om_search_begin(s, &a.seqs, err) : no_memory(err);
    while (rc == 0 && !a.stopped && a.n_done < s->plan->batch * s->plan->width)
        rc = step(&a, err);
    if (rc == 0)
        rc = give(&a, out, err);
    om_seqs_release(&a.seqs);
    free(a.scores);
    free(a.done);
    return rc;
}
