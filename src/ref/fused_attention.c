/* src/ref/fused_attention.c: MultiHeadAttention, Attention and QAttention of com.microsoft. */
#include "ref/heads.h"

/* ---- MultiHeadAttention ---- */

/* x with its part of the bias, which begins at column from and is as wide as x. */
static const struct ref_tensor *add_bias(struct ref_tape *t, const struct ref_tensor *x,
                                         const struct ref_tensor *bias, int64_t from)
{
    if (!bias || t->rc < 0)
        return x;
    return om_ref_do(t, om_ref_Add, NULL, 0, x,
                     om_ref_heads_columns(t, bias, from, x->dims[x->rank - 1]), NULL);
}

/* Part i of n that lie side by side in each head: x [B, S, N, n, D] to [B, S, N * D]. */
static const struct ref_tensor *unpack(struct ref_tape *t, const struct ref_tensor *x, int64_t i,
                                       int64_t n)
{
    const int64_t *d = x->dims;

    if (t->rc == 0 && (x->rank != 5 || d[3] != n))
        om_ref_do_fail(
            t, om_fail(t->c->err, OM_E_FORMAT, "a packed query, key and value must have rank 5"));
    if (t->rc < 0)
        return NULL;
    x = om_ref_do_reshape(t, x, (const int64_t[]){ d[0], d[1], d[2], n * d[4] }, 4);
    x = om_ref_heads_columns(t, x, i * d[4], d[4]);
    return t->rc < 0 ? NULL
                     : om_ref_do_reshape(t, x, (const int64_t[]){ d[0], d[1], d[2] * d[4] }, 3);
}

/* Packed operands as three. */
static void unpack_all(struct ref_tape *t, const struct ref_tensor **q, const struct ref_tensor **k,
                       const struct ref_tensor **v)
{
    const struct ref_tensor *const packed = *k ? *k : *q;
    const int64_t n = *k ? 2 : 3;

    if (*v)
        return;
    *v = unpack(t, packed, n - 1, n);
    if (!*k)
        *q = unpack(t, packed, 0, n);
    *k = unpack(t, packed, n - 2, n);
}

int om_ref_ms_MultiHeadAttention(struct ref_call *c)
{
    const struct ref_tensor *q = om_ref_in(c, 0), *k = om_ref_in(c, 1), *v = om_ref_in(c, 2),
                            *bias = om_ref_in(c, 3), *past_k = om_ref_in(c, 6),
                            *past_v = om_ref_in(c, 7);
    const int64_t heads = om_node_int(c->node, "num_heads", 0);
    struct ref_tape t = { .c = c };
    struct heads h = { .bias = om_ref_heads_masked,
                       .mask = om_ref_in(c, 4),
                       .filter = om_node_float(c->node, "mask_filter_value", -10000),
                       .causal = om_node_int(c->node, "unidirectional", 0) != 0,
                       .past = past_k && past_k->rank == 4 ? past_k->dims[2] : 0,
                       .scores = om_ref_wants(c, 3) ? 3 : 0,
                       .probabilities = true };

    if (om_ref_in(c, 8) || om_ref_in(c, 9))
        return om_fail(c->err, OM_E_UNSUPPORTED, "a shared buffer of the past");
    unpack_all(&t, &q, &k, &v);
    if (t.rc == 0 && q->rank != 3)
        om_ref_do_fail(&t, om_fail(c->err, OM_E_FORMAT, "the query must have rank 3"));
    if (t.rc < 0)
        return om_ref_tape_close(&t);
    h.q = om_ref_heads_split(&t, add_bias(&t, q, bias, 0), heads);
    if (k->rank == 4) { /* the cache of cross attention; the bias was added before */
        h.k = k;
        h.v = v;
    } else {
        h.k = om_ref_heads_split(&t, add_bias(&t, k, bias, q->dims[2]), heads);
        h.v =
            om_ref_heads_split(&t, add_bias(&t, v, bias, q->dims[2] + k->dims[k->rank - 1]), heads);
        h.k = om_ref_heads_concat(&t, past_k, h.k, 2);
        h.v = om_ref_heads_concat(&t, past_v, h.v, 2);
    }
    if (t.rc == 0) {
        h.scale = om_ref_heads_scale(c, h.q->dims[3]);
        om_ref_heads_check_mask(&t, &h);
        om_ref_heads_extra(&t, &h, om_ref_in(c, 5));
    }
    om_ref_do_give(&t, 0, om_ref_heads_attend(&t, &h));
    om_ref_do_give(&t, 1, h.k);
    om_ref_do_give(&t, 2, h.v);
    return om_ref_tape_close(&t);
}

/* ---- Attention and QAttention of com.microsoft: with the projection ---- */

/* The hidden sizes of query, key and value. */
static int hidden_sizes(const struct ref_call *c, int64_t total, int64_t *sizes)
{
    const struct om_attr *a = om_node_attr(c->node, "qkv_hidden_sizes");

    for (uint32_t i = 0; i < 3; i++)
        sizes[i] = a && a->kind == OM_ATTR_INTS && a->n == 3 ? a->ints[i] : total / 3;
    return sizes[0] > 0 && sizes[2] > 0 && sizes[0] <= total && sizes[1] <= total &&
                   sizes[2] <= total && sizes[0] + sizes[1] + sizes[2] == total
               ? 0
               : om_fail(c->err, OM_E_FORMAT, "%" PRId64 " columns are not a query, key and value",
                         total);
}

/* One half of past [2, B, N, P, D]. */
static const struct ref_tensor *half(struct ref_tape *t, const struct ref_tensor *past, int64_t i)
{
    const struct om_attr axis = REF_ATTR_INT("axis", 0);
    struct ref_tensor *const at = past ? om_ref_do_new(t, OM_I64, NULL, 0) : NULL;

    if (!at)
        return NULL;
    *(int64_t *)at->data = i;
    return om_ref_do(t, om_ref_Gather, &axis, 1, past, at, NULL);
}

/* From qkv [B, S, Q + K + V], projected. */
static int attend_projected(struct ref_tape *t, const struct ref_tensor *qkv,
                            const struct ref_tensor *mask, const struct ref_tensor *past,
                            const struct ref_tensor *extra)
{
    struct ref_call *const c = t->c;
    const int64_t heads = om_node_int(c->node, "num_heads", 0);
    struct heads h = { .bias = om_ref_heads_masked,
                       .mask = mask,
                       .filter = om_node_float(c->node, "mask_filter_value", -10000),
                       .causal = om_node_int(c->node, "unidirectional", 0) != 0,
                       .past = past && past->rank == 5 ? past->dims[3] : 0 };
    const int64_t *d;
    int64_t sizes[3];

    if (t->rc < 0)
        return om_ref_tape_close(t);
    if (om_node_int(c->node, "do_rotary", 0) ||
        om_node_int(c->node, "past_present_share_buffer", 0))
        om_ref_do_fail(t, om_fail(c->err, OM_E_UNSUPPORTED, "do_rotary and a shared buffer"));
    om_ref_do_fail(t, hidden_sizes(c, qkv->rank == 3 ? qkv->dims[2] : 0, sizes));
    if (t->rc == 0) {
        h.q = om_ref_heads_split(t, om_ref_heads_columns(t, qkv, 0, sizes[0]), heads);
        h.k = om_ref_heads_split(t, om_ref_heads_columns(t, qkv, sizes[0], sizes[1]), heads);
        h.v = om_ref_heads_split(t, om_ref_heads_columns(t, qkv, sizes[0] + sizes[1], sizes[2]),
                                 heads);
        h.k = om_ref_heads_concat(t, half(t, past, 0), h.k, 2);
        h.v = om_ref_heads_concat(t, half(t, past, 1), h.v, 2);
    }
    if (t->rc == 0) {
        h.scale = om_ref_heads_scale(c, h.q->dims[3]);
        om_ref_heads_check_mask(t, &h);
        om_ref_heads_extra(t, &h, extra);
    }
    om_ref_do_give(t, 0, om_ref_heads_attend(t, &h));
    if (t->rc == 0 && om_ref_wants(c, 1)) {
        d = h.k->dims;
        om_ref_do_give(
            t, 1,
            om_ref_heads_concat(
                t, om_ref_do_reshape(t, h.k, (const int64_t[]){ 1, d[0], d[1], d[2], d[3] }, 5),
                om_ref_do_reshape(t, h.v, (const int64_t[]){ 1, d[0], d[1], d[2], h.v->dims[3] },
                                  5),
                0));
    }
    return om_ref_tape_close(t);
}

int om_ref_ms_Attention(struct ref_call *c)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *qkv =
        om_ref_do(&t, om_ref_Linear, NULL, 0, om_ref_in(c, 0), om_ref_in(c, 1), om_ref_in(c, 2));

    return attend_projected(&t, qkv, om_ref_in(c, 3), om_ref_in(c, 4), om_ref_in(c, 5));
}

int om_ref_ms_QAttention(struct ref_call *c)
{
    const struct ref_tensor *in[7] = { om_ref_in(c, 0), om_ref_in(c, 1), om_ref_in(c, 3),
                                       om_ref_in(c, 4), om_ref_in(c, 6), om_ref_in(c, 7),
                                       om_ref_in(c, 2) };
    struct ref_tape t = { .c = c };
    const struct ref_tensor *qkv =
        om_ref_do_list(&t, om_ref_ms_MatMulIntegerToFloat, NULL, 0, in, 7, NULL, 1);

    return attend_projected(&t, qkv, om_ref_in(c, 5), om_ref_in(c, 8), NULL);
}
