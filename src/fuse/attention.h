/* src/fuse/attention.h: one attention, as its parts were found. */
#ifndef OM_FUSE_ATTENTION_H
#define OM_FUSE_ATTENTION_H

#include "fuse/internal.h"

/* Queries, keys or values of all heads. */
struct fz_heads {
    om_sv flat;                 /* [batch, length, heads * size]; empty: there is none */
    om_sv split;                /* [batch, heads, length, size]; empty: there is none */
    uint32_t uses;              /* of split, by what the operator replaces */
    om_sv past;                 /* to which they were appended, as split; empty: none */
    struct om_doc_node *made;   /* by which split was made */
    struct om_doc_node *rotary; /* RotaryEmbedding between flat (turned) and split, or NULL */
};

/* What is added to the scores, in the order of the additions. */
struct fz_term {
    om_sv name;    /* the summand; of a choice: the condition */
    bool chosen;   /* where the condition holds (or not), fill stands in place of the score */
    bool fills_if; /* holds */
    double fill;
};
#define FZ_TERMS_MAX 3

struct fz_attention {
    struct fz_heads q, k, v;
    struct fz_term terms[FZ_TERMS_MAX];
    size_t n_terms;
    double scale;
    bool guarded; /* rows without any key give zeros: NaN was replaced */
    om_sv rows; /* [1 or batch, 1, queries, 1] by which the result is multiplied; empty: nothing */
    int64_t heads, size, value_size;
    om_dim batch, queries, keys;
    enum om_dtype dtype;
};

/* n: the Reshape that joins the heads. False: it is no attention, or one of another kind. */
bool fz_read_attention(const struct fuse *f, const struct om_doc_node *n, struct fz_attention *a);

bool fz_has_perm(const struct om_doc_node *n, const int64_t perm[4]);

#endif
