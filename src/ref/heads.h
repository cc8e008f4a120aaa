/* src/ref/heads.h: what the forms of attention of documents share; private to src/ref. */
#ifndef OM_REF_HEADS_H
#define OM_REF_HEADS_H

#include "ref/tape.h"

/* ---- the core: q [B, N, S, D], k [B, M, T, D], v [B, M, T, E] of float32 ---- */

struct heads {
    const struct ref_tensor *q, *k, *v;
    double scale, softcap;
    /* What is added to a score; -inf hides the key. */
    double (*bias)(const struct heads *h, int64_t b, int64_t n, int64_t s, int64_t t);
    /* for bias(): */
    const struct ref_tensor *mask, *extra; /* of keys, of scores; NULL: none */
    int64_t extra_steps[4];
    double filter;                    /* what a masked key adds */
    int64_t past;                     /* keys before the first query's own */
    const struct ref_tensor *lengths; /* GroupQueryAttention: total keys less one, by batch */
    const struct ref_tensor *fresh;   /* and the new ones; NULL: as many as there are queries */
    int64_t window;
    bool causal, prompt;
    /* A score that only adds to the sum: 0, or one by head. */
    bool smooth;
    const struct ref_tensor *sinks;
    uint32_t scores;    /* the output that gets the scores [B, N, S, T]; 0: none */
    bool probabilities; /* it gets them after the softmax */
};

/* Output [B, S, N * E]. */
const struct ref_tensor *om_ref_heads_attend(struct ref_tape *t, const struct heads *h);

/* x [B, S, N * D] as [B, N, S, D]. */
const struct ref_tensor *om_ref_heads_split(struct ref_tape *t, const struct ref_tensor *x,
                                            int64_t heads);
/* a may be NULL. */
const struct ref_tensor *om_ref_heads_concat(struct ref_tape *t, const struct ref_tensor *a,
                                             const struct ref_tensor *b, int64_t axis);
/* Elements [from, from + n) of the last axis. */
const struct ref_tensor *om_ref_heads_columns(struct ref_tape *t, const struct ref_tensor *x,
                                              int64_t from, int64_t n);

/* A bias(): the masks of com.microsoft and, where causal, keys after the query. */
double om_ref_heads_masked(const struct heads *h, int64_t b, int64_t n, int64_t s, int64_t t);
void om_ref_heads_check_mask(struct ref_tape *t, const struct heads *h);
/* attention_bias, to be broadcast to the scores; NULL: none. */
void om_ref_heads_extra(struct ref_tape *t, struct heads *h, const struct ref_tensor *extra);
/* The node's scale, or the default. */
double om_ref_heads_scale(const struct ref_call *c, int64_t dim);

#endif
