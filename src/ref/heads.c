/* src/ref/heads.c: attention in the forms of ONNX's newest Attention and of com.microsoft: packed
 * heads, projections, padding masks, caches. Scores are computed one query at a time, in double. */
#include <math.h>

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
    int64_t window;
    bool causal, smooth, prompt;
};

static bool heads_fit(const struct heads *h)
{
    const struct ref_tensor *q = h->q, *k = h->k, *v = h->v;

    return q->rank == 4 && k->rank == 4 && v->rank == 4 && q->dtype == OM_F32 &&
           k->dtype == OM_F32 && v->dtype == OM_F32 && q->dims[0] == k->dims[0] &&
           k->dims[0] == v->dims[0] && k->dims[1] > 0 && q->dims[1] % k->dims[1] == 0 &&
           k->dims[1] == v->dims[1] && k->dims[2] == v->dims[2] && q->dims[3] == k->dims[3];
}

static double dot(const float *a, const float *b, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Scores to probabilities; with smooth the sum has 1 more. */
static void to_probabilities(double *row, int64_t n, bool smooth)
{
    double max = smooth ? 0 : -(double)INFINITY, sum = 0;

    if (!smooth) {
        om_ref_softmax_row(row, n, true);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        max = fmax(max, row[i]);
    sum = exp(-max);
    for (int64_t i = 0; i < n; i++)
        sum += row[i] = exp(row[i] - max);
    for (int64_t i = 0; i < n; i++)
        row[i] /= sum;
}

/* One query: its row of out [B, S, N * E]. */
static void attend_one(const struct heads *h, int64_t b, int64_t n, int64_t s, double *row,
                       float *out)
{
    const int64_t kv = b * h->k->dims[1] + n / (h->q->dims[1] / h->k->dims[1]);
    const int64_t keys = h->k->dims[2], dim = h->q->dims[3], v_dim = h->v->dims[3];
    const float *q =
        (const float *)h->q->data + ((b * h->q->dims[1] + n) * h->q->dims[2] + s) * dim;
    const float *k = (const float *)h->k->data + kv * keys * dim;
    const float *v = (const float *)h->v->data + kv * keys * v_dim;

    for (int64_t t = 0; t < keys; t++) {
        row[t] = dot(q, k + t * dim, dim) * h->scale;
        if (h->softcap > 0)
            row[t] = h->softcap * tanh(row[t] / h->softcap);
        row[t] += h->bias(h, b, n, s, t);
    }
    to_probabilities(row, keys, h->smooth);
    for (int64_t e = 0; e < v_dim; e++) {
        double sum = 0;

        for (int64_t t = 0; t < keys; t++)
            sum += row[t] * (double)v[t * v_dim + e];
        out[e] = (float)sum;
    }
}

static const struct ref_tensor *attend(struct ref_tape *t, const struct heads *h)
{
    struct ref_tensor *out, *row;
    char a[REF_DIMS_TEXT], b[REF_DIMS_TEXT];
    int64_t heads, queries, v_dim;

    if (t->rc < 0)
        return NULL;
    if (!heads_fit(h)) {
        om_ref_do_fail(t, om_fail(t->c->err, OM_E_FORMAT, "query %s does not fit key %s, or value",
                                  om_ref_dims_text(a, sizeof(a), h->q->dims, h->q->rank),
                                  om_ref_dims_text(b, sizeof(b), h->k->dims, h->k->rank)));
        return NULL;
    }
    heads = h->q->dims[1];
    queries = h->q->dims[2];
    v_dim = h->v->dims[3];
    out = om_ref_do_new(t, OM_F32, (const int64_t[]){ h->q->dims[0], queries, heads * v_dim }, 3);
    row = om_ref_do_new(t, OM_F64, &h->k->dims[2], 1);
    om_ref_do_fail(t, om_ref_work(t->c->pool, h->q->count, h->k->dims[2], t->c->err));
    for (int64_t i = 0; t->rc == 0 && out->count > 0 && i < h->q->dims[0] * heads * queries; i++) {
        const int64_t s = i % queries, n = i / queries % heads, batch = i / queries / heads;

        attend_one(h, batch, n, s, row->data,
                   (float *)out->data + ((batch * queries + s) * heads + n) * v_dim);
    }
    return t->rc < 0 ? NULL : out;
}

/* ---- shaping ---- */

static void bad_heads(struct ref_tape *t, const struct ref_tensor *x, int64_t heads)
{
    char a[REF_DIMS_TEXT];

    om_ref_do_fail(t, om_fail(t->c->err, OM_E_FORMAT, "%s does not divide into %" PRId64 " heads",
                              om_ref_dims_text(a, sizeof(a), x->dims, x->rank), heads));
}

/* x [B, S, N * D] as [B, N, S, D]. */
static const struct ref_tensor *split_heads(struct ref_tape *t, const struct ref_tensor *x,
                                            int64_t heads)
{
    static const int64_t perm[4] = { 0, 2, 1, 3 };
    const struct ref_tensor *y;

    if (t->rc < 0)
        return NULL;
    if (x->rank != 3 || heads < 1 || x->dims[2] % heads != 0) {
        bad_heads(t, x, heads);
        return NULL;
    }
    y = om_ref_do_reshape(
        t, x, (const int64_t[]){ x->dims[0], x->dims[1], heads, x->dims[2] / heads }, 4);
    return t->rc < 0 ? NULL : om_ref_do_transpose(t, y, perm);
}

static const struct ref_tensor *concat(struct ref_tape *t, const struct ref_tensor *a,
                                       const struct ref_tensor *b, int64_t axis)
{
    const struct om_attr at = REF_ATTR_INT("axis", axis);

    if (!a)
        return b;
    return om_ref_do(t, om_ref_Concat, &at, 1, a, b, NULL);
}

/* Elements [from, from + n) of the last axis. */
static const struct ref_tensor *columns(struct ref_tape *t, const struct ref_tensor *x,
                                        int64_t from, int64_t n)
{
    const int64_t width = x && x->rank > 0 ? x->dims[x->rank - 1] : 0;
    int64_t dims[OM_RANK_MAX];
    struct ref_tensor *out;
    size_t size;

    if (t->rc < 0)
        return NULL;
    if (from < 0 || n < 0 || n > width - from) {
        om_ref_do_fail(t,
                       om_fail(t->c->err, OM_E_FORMAT,
                               "%" PRId64 " columns from %" PRId64 " of %" PRId64, n, from, width));
        return NULL;
    }
    memcpy(dims, x->dims, x->rank * sizeof(*dims));
    dims[x->rank - 1] = n;
    out = om_ref_do_new(t, x->dtype, dims, x->rank);
    size = om_dtype_size(x->dtype);
    for (int64_t i = 0; out && out->count > 0 && i < x->count / width; i++)
        memcpy((unsigned char *)out->data + (size_t)(i * n) * size,
               (const unsigned char *)x->data + (size_t)(i * width + from) * size,
               (size_t)n * size);
    return out;
}

/* ---- biases ---- */

/* A mask of keys in one of the forms of com.microsoft; true: the key may be seen. */
static bool key_kept(const struct heads *h, int64_t b, int64_t s, int64_t t)
{
    const struct ref_tensor *m = h->mask;
    const int64_t batch = h->q->dims[0];

    if (m->rank == 1 && m->count == 2 * batch) /* ends, then starts */
        return t < om_ref_i64_at(m, b) && t >= om_ref_i64_at(m, batch + b);
    if (m->rank == 1)
        return t < om_ref_i64_at(m, b);
    if (m->rank == 2)
        return om_ref_i64_at(m, b * m->dims[1] + t) != 0;
    if (m->rank == 3)
        return om_ref_i64_at(m, (b * m->dims[1] + s) * m->dims[2] + t) != 0;
    return om_ref_i64_at(m, (b * m->dims[2] + h->past + s) * m->dims[3] + t) != 0;
}

static double masked_bias(const struct heads *h, int64_t b, int64_t n, int64_t s, int64_t t)
{
    double sum = 0;

    if (h->mask && !key_kept(h, b, s, t))
        sum += h->filter;
    if (h->causal && t > s + h->past)
        return -(double)INFINITY;
    if (h->extra)
        sum += om_ref_f64_at(h->extra, b * h->extra_steps[0] + n * h->extra_steps[1] +
                                           s * h->extra_steps[2] + t * h->extra_steps[3]);
    return sum;
}

static void check_mask(struct ref_tape *t, const struct heads *h)
{
    const struct ref_tensor *m = h->mask;
    const int64_t batch = h->q->dims[0], queries = h->q->dims[2], keys = h->k->dims[2];
    bool fits;

    if (!m || t->rc < 0)
        return;
    fits = (m->rank == 1 && (m->count == batch || m->count == 2 * batch)) ||
           (m->rank == 2 && m->dims[0] == batch && m->dims[1] >= keys) ||
           (m->rank == 3 && m->dims[0] == batch && m->dims[1] == queries && m->dims[2] >= keys) ||
           (m->rank == 4 && m->dims[0] == batch && m->dims[1] == 1 &&
            m->dims[2] >= h->past + queries && m->dims[3] >= keys);
    if (!fits)
        om_ref_do_fail(t, om_fail(t->c->err, OM_E_UNSUPPORTED, "a mask of this shape"));
}

/* attention_bias, to be broadcast to the scores. */
static void take_extra(struct ref_tape *t, struct heads *h, const struct ref_tensor *extra)
{
    const int64_t want[4] = { h->q->dims[0], h->q->dims[1], h->q->dims[2], h->k->dims[2] };
    bool fits = extra && extra->rank == 4 && (extra->dtype == OM_F32 || extra->dtype == OM_F64);

    if (!extra || t->rc < 0)
        return;
    for (uint32_t i = 0; fits && i < 4; i++)
        fits = extra->dims[i] == want[i] || (i < 3 && extra->dims[i] == 1) ||
               (i == 3 && extra->dims[i] > want[i]);
    if (!fits) {
        om_ref_do_fail(t,
                       om_fail(t->c->err, OM_E_FORMAT, "attention_bias does not fit the scores"));
        return;
    }
    om_ref_broadcast_steps(extra, 4, h->extra_steps);
    h->extra_steps[3] = 1;
    h->extra = extra;
}

static double default_scale(const struct ref_call *c, int64_t dim)
{
    const double asked = om_node_float(c->node, "scale", 0);

    return asked != 0 ? asked : 1 / sqrt((double)OM_MAX(dim, 1));
}

/* ---- MultiHeadAttention ---- */

/* x with its part of the bias, which begins at column from and is as wide as x. */
static const struct ref_tensor *add_bias(struct ref_tape *t, const struct ref_tensor *x,
                                         const struct ref_tensor *bias, int64_t from)
{
    if (!bias || t->rc < 0)
        return x;
    return om_ref_do(t, om_ref_Add, NULL, 0, x, columns(t, bias, from, x->dims[x->rank - 1]), NULL);
}

int om_ref_ms_MultiHeadAttention(struct ref_call *c)
{
    const struct ref_tensor *q = om_ref_in(c, 0), *k = om_ref_in(c, 1), *v = om_ref_in(c, 2),
                            *bias = om_ref_in(c, 3), *past_k = om_ref_in(c, 6),
                            *past_v = om_ref_in(c, 7);
    const int64_t heads = om_node_int(c->node, "num_heads", 0);
    struct ref_tape t = { .c = c };
    struct heads h = { .bias = masked_bias,
                       .mask = om_ref_in(c, 4),
                       .filter = om_node_float(c->node, "mask_filter_value", -10000),
                       .causal = om_node_int(c->node, "unidirectional", 0) != 0,
                       .past = past_k && past_k->rank == 4 ? past_k->dims[2] : 0 };

    if (!k || !v || q->rank != 3)
        return om_fail(c->err, OM_E_UNSUPPORTED, "packed query, key and value");
    if (om_ref_in(c, 8) || om_ref_in(c, 9))
        return om_fail(c->err, OM_E_UNSUPPORTED, "a shared buffer of the past");
    h.q = split_heads(&t, add_bias(&t, q, bias, 0), heads);
    if (k->rank == 4) { /* the cache of cross attention; the bias was added before */
        h.k = k;
        h.v = v;
    } else {
        h.k = split_heads(&t, add_bias(&t, k, bias, q->dims[2]), heads);
        h.v = split_heads(&t, add_bias(&t, v, bias, q->dims[2] + k->dims[k->rank - 1]), heads);
        h.k = concat(&t, past_k, h.k, 2);
        h.v = concat(&t, past_v, h.v, 2);
    }
    if (t.rc == 0) {
        h.scale = default_scale(c, h.q->dims[3]);
        check_mask(&t, &h);
        take_extra(&t, &h, om_ref_in(c, 5));
    }
    om_ref_do_give(&t, 0, attend(&t, &h));
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
    struct heads h = { .bias = masked_bias,
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
        h.q = split_heads(t, columns(t, qkv, 0, sizes[0]), heads);
        h.k = split_heads(t, columns(t, qkv, sizes[0], sizes[1]), heads);
        h.v = split_heads(t, columns(t, qkv, sizes[0] + sizes[1], sizes[2]), heads);
        h.k = concat(t, half(t, past, 0), h.k, 2);
        h.v = concat(t, half(t, past, 1), h.v, 2);
    }
    if (t->rc == 0) {
        h.scale = default_scale(c, h.q->dims[3]);
        check_mask(t, &h);
        take_extra(t, &h, extra);
    }
    om_ref_do_give(t, 0, attend(t, &h));
    if (t->rc == 0 && om_ref_wants(c, 1)) {
        d = h.k->dims;
        om_ref_do_give(
            t, 1,
            concat(t, om_ref_do_reshape(t, h.k, (const int64_t[]){ 1, d[0], d[1], d[2], d[3] }, 5),
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

/* ---- GroupQueryAttention ---- */

static int64_t total_keys(const struct heads *h, int64_t b)
{
    return om_ref_i64_at(h->lengths, b) + 1;
}

/* The place of the first new key. */
static int64_t first_new(const struct heads *h, int64_t b, int64_t queries)
{
    return h->prompt ? 0 : OM_MAX(total_keys(h, b) - queries, 0);
}

static double grouped_bias(const struct heads *h, int64_t b, int64_t n, int64_t s, int64_t t)
{
    const int64_t own = first_new(h, b, h->q->dims[2]) + s;

    if (t > own || (h->window > 0 && t <= own - h->window))
        return -(double)INFINITY;
    if (!h->extra)
        return 0;
    return om_ref_f64_at(h->extra, b * h->extra_steps[0] + n * h->extra_steps[1] +
                                       s * h->extra_steps[2] + t * h->extra_steps[3]);
}

/* past with the new keys at their places, in a buffer of total keys at least. */
static const struct ref_tensor *update_cache(struct ref_tape *t, const struct heads *h,
                                             const struct ref_tensor *past,
                                             const struct ref_tensor *now, int64_t total)
{
    const int64_t room = past && past->rank == 4 ? past->dims[2] : 0;
    struct ref_tensor *out;
    int64_t dims[4];
    size_t row;

    if (t->rc < 0)
        return NULL;
    memcpy(dims, now->dims, sizeof(dims));
    dims[2] = OM_MAX(total, room);
    if (past && (past->rank != 4 || past->dtype != now->dtype || past->dims[0] != dims[0] ||
                 past->dims[1] != dims[1] || past->dims[3] != dims[3])) {
        om_ref_do_fail(t, om_fail(t->c->err, OM_E_FORMAT, "the past does not fit the new keys"));
        return NULL;
    }
    out = om_ref_do_new(t, now->dtype, dims, 4);
    if (!out || out->count == 0)
        return out;
    row = (size_t)dims[3] * om_dtype_size(now->dtype);
    memset(out->data, 0, (size_t)out->count * om_dtype_size(now->dtype));
    for (int64_t i = 0; i < dims[0] * dims[1]; i++) {
        unsigned char *to = (unsigned char *)out->data + (size_t)(i * dims[2]) * row;
        const int64_t first = first_new(h, i / dims[1], now->dims[2]);
        const int64_t n = OM_MAX(OM_MIN(now->dims[2], dims[2] - first), 0);

        if (room > 0)
            memcpy(to, (const unsigned char *)past->data + (size_t)(i * room) * row,
                   (size_t)room * row);
        memcpy(to + (size_t)first * row,
               (const unsigned char *)now->data + (size_t)(i * now->dims[2]) * row,
               (size_t)n * row);
    }
    return out;
}

/* x [B, N, S, D] turned by the positions of its keys. */
static const struct ref_tensor *turn(struct ref_tape *t, const struct heads *h,
                                     const struct ref_tensor *x)
{
    struct ref_call *const c = t->c;
    const struct ref_tensor *cs = om_ref_in(c, 7), *positions = om_ref_in(c, 9);
    struct ref_tensor *made;
    struct om_attr attrs[2] = {
        REF_ATTR_INT("interleaved", om_node_int(c->node, "rotary_interleaved", 0)),
        REF_ATTR_INT("rotary_embedding_dim", cs && cs->rank == 2 ? 2 * cs->dims[1] : 0)
    };

    if (t->rc < 0)
        return NULL;
    if (!positions) {
        made = om_ref_do_new(t, OM_I64, (const int64_t[]){ x->dims[0], x->dims[2] }, 2);
        for (int64_t i = 0; made && i < made->count; i++)
            ((int64_t *)made->data)[i] = first_new(h, i / x->dims[2], x->dims[2]) + i % x->dims[2];
        positions = made;
    }
    {
        const struct ref_tensor *const in[4] = { x, cs, om_ref_in(c, 8), positions };

        return om_ref_do_list(t, om_ref_RotaryEmbedding, attrs, 2, in, 4, NULL, 1);
    }
}

static int grouped(struct ref_tape *t, struct heads *h, const struct ref_tensor *q,
                   const struct ref_tensor *k, const struct ref_tensor *v)
{
    struct ref_call *const c = t->c;
    const int64_t heads = om_node_int(c->node, "num_heads", 0),
                  kv_heads = om_node_int(c->node, "kv_num_heads", 0);
    const int64_t total = om_ref_i64_at(om_ref_in(c, 6), 0);

    h->q = split_heads(t, q, heads);
    h->k = split_heads(t, k, kv_heads);
    h->v = split_heads(t, v, kv_heads);
    if (t->rc < 0)
        return om_ref_tape_close(t);
    h->prompt = h->q->dims[2] == total;
    for (int64_t b = 0; b < h->lengths->count; b++)
        if (total_keys(h, b) < 1 || total_keys(h, b) > total || total > INT32_MAX)
            om_ref_do_fail(t,
                           om_fail(c->err, OM_E_USAGE, "seqlens_k %" PRId64 " of %" PRId64 " keys",
                                   om_ref_i64_at(h->lengths, b), total));
    if (om_node_int(c->node, "do_rotary", 0)) {
        h->q = turn(t, h, h->q);
        h->k = turn(t, h, h->k);
    }
    if (t->rc == 0) {
        h->k = update_cache(t, h, om_ref_in(c, 3), h->k, total);
        h->v = update_cache(t, h, om_ref_in(c, 4), h->v, total);
    }
    if (t->rc == 0) {
        h->scale = default_scale(c, h->q->dims[3]);
        take_extra(t, h, om_ref_in(c, 10));
    }
    om_ref_do_give(t, 0, attend(t, h));
    om_ref_do_give(t, 1, h->k);
    om_ref_do_give(t, 2, h->v);
    return om_ref_tape_close(t);
}

int om_ref_ms_GroupQueryAttention(struct ref_call *c)
{
    const struct ref_tensor *q = om_ref_in(c, 0), *k = om_ref_in(c, 1), *v = om_ref_in(c, 2);
    const int64_t heads = om_node_int(c->node, "num_heads", 0),
                  kv_heads = om_node_int(c->node, "kv_num_heads", 0);
    struct ref_tape t = { .c = c };
    struct heads h = { .bias = grouped_bias,
                       .lengths = om_ref_in(c, 5),
                       .softcap = om_node_float(c->node, "softcap", 0),
                       .smooth = om_node_int(c->node, "smooth_softmax", 0) == 1,
                       .window = om_node_int(c->node, "local_window_size", -1) };

    if (!h.lengths || h.lengths->count != q->dims[0] || q->rank != 3 || !om_ref_in(c, 6) ||
        om_ref_in(c, 6)->count != 1 || heads < 1 || kv_heads < 1 || heads > INT16_MAX ||
        kv_heads > INT16_MAX)
        return om_fail(c->err, OM_E_FORMAT, "query, seqlens_k or the numbers of heads do not fit");
    if (om_ref_in(c, 11))
        return om_fail(c->err, OM_E_UNSUPPORTED, "head_sink");
    if (om_node_int(c->node, "do_rotary", 0) && (!om_ref_in(c, 7) || !om_ref_in(c, 8)))
        return om_fail(c->err, OM_E_FORMAT, "do_rotary without cos_cache and sin_cache");
    if (!k || !v) { /* packed */
        const int64_t dim = q->dims[2] / (heads + 2 * kv_heads);

        k = columns(&t, q, heads * dim, kv_heads * dim);
        v = columns(&t, q, (heads + kv_heads) * dim, kv_heads * dim);
        q = columns(&t, q, 0, heads * dim);
    }
    return grouped(&t, &h, q, k, v);
}

/* ---- RotaryEmbedding of com.microsoft ---- */

int om_ref_ms_RotaryEmbedding(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *p = om_ref_in(c, 1), *cs = om_ref_in(c, 2);
    const int64_t turned = om_node_int(c->node, "rotary_embedding_dim", 0);
    int64_t heads = om_node_int(c->node, "num_heads", 0);
    struct ref_tape t = { .c = c };
    const int64_t length = x->rank == 4 ? x->dims[2] : x->rank == 3 ? x->dims[1] : 0;

    if (om_node_int(c->node, "is_packed_batching", 0))
        return om_fail(c->err, OM_E_UNSUPPORTED, "packed batching");
    if (x->rank < 3 || cs->rank != 2)
        return om_fail(c->err, OM_E_FORMAT, "the input or cos_cache has another rank");
    if (heads == 0 && x->rank == 3 && cs->dims[1] > 0)
        heads = x->dims[2] / (2 * cs->dims[1]);
    if (p->count == 1 && p->rank == 1) { /* the first position of all rows */
        struct ref_tensor *const all =
            om_ref_do_new(&t, OM_I64, (const int64_t[]){ x->dims[0], length }, 2);

        for (int64_t i = 0; all && i < all->count; i++)
            ((int64_t *)all->data)[i] =
                (int64_t)((uint64_t)om_ref_i64_at(p, 0) + (uint64_t)(i % length));
        p = all;
    }
    {
        const struct om_attr attrs[3] = {
            REF_ATTR_INT("num_heads", heads), REF_ATTR_INT("rotary_embedding_dim", turned),
            REF_ATTR_INT("interleaved", om_node_int(c->node, "interleaved", 0))
        };
        const struct ref_tensor *const in[4] = { x, cs, om_ref_in(c, 3), p };

        om_ref_do_give(&t, 0, om_ref_do_list(&t, om_ref_RotaryEmbedding, attrs, 3, in, 4, NULL, 1));
    }
    return om_ref_tape_close(&t);
}

/* ---- Attention of ONNX: heads may be packed, lengths of the keys given ---- */

/* What restricts the keys that a query sees, beside a mask. */
struct sight {
    const struct ref_tensor *lengths; /* of the keys, by batch; NULL: all */
    int64_t past, left, right;        /* windows: -1 is no limit */
    bool causal;
};

static bool sees(const struct sight *v, int64_t queries, int64_t b, int64_t s, int64_t t)
{
    const int64_t length = v->lengths ? om_ref_i64_at(v->lengths, b) : INT64_MAX;
    const int64_t at = s + (v->lengths ? length - queries : v->past);

    return t < length && (!v->causal || t <= at) && (v->left < 0 || t >= at - v->left) &&
           (v->right < 0 || t <= at + v->right);
}

/* A mask of floats [batch, heads, queries, keys] that has everything in it; mask may be NULL. */
static const struct ref_tensor *full_mask(struct ref_tape *t, const struct sight *v,
                                          const struct ref_tensor *mask, const struct ref_tensor *q,
                                          int64_t keys)
{
    const struct ref_tensor whole = { .rank = 4,
                                      .dims = { q->dims[0], q->dims[1], q->dims[2], keys } };
    const struct ref_tensor *const both[2] = { &whole, mask };
    int64_t steps[4] = { 0 }, dims[OM_RANK_MAX];
    const int64_t shown = mask && mask->rank > 0 ? mask->dims[mask->rank - 1] : keys;
    struct ref_tensor *out;
    struct ref_tensor cut;
    uint32_t rank;

    if (mask && (mask->rank < 1 || mask->rank > 4 || shown > keys ||
                 (mask->dtype != OM_BOOL && mask->dtype != OM_F32 && mask->dtype != OM_F64))) {
        om_ref_do_fail(t, om_fail(t->c->err, OM_E_FORMAT, "the mask does not fit the scores"));
        return NULL;
    }
    if (mask) { /* a mask that is shorter than the keys hides the rest */
        cut = *mask;
        cut.dims[cut.rank - 1] = keys;
        om_ref_do_fail(t, om_ref_broadcast_dims(t->c,
                                                (const struct ref_tensor *const[]){ both[0], &cut },
                                                2, dims, &rank));
        om_ref_broadcast_steps(mask, 4, steps);
        steps[3] = 1;
        for (uint32_t i = 0; t->rc == 0 && i < 4; i++)
            if (dims[i] != whole.dims[i])
                om_ref_do_fail(t, om_fail(t->c->err, OM_E_FORMAT, "the mask does not fit"));
    }
    out = om_ref_do_new(t, q->dtype, whole.dims, 4);
    for (int64_t i = 0; out && i < out->count; i++) {
        const int64_t j = i % keys, s = i / keys % q->dims[2],
                      n = i / keys / q->dims[2] % q->dims[1],
                      b = i / keys / q->dims[2] / q->dims[1];
        const int64_t at = b * steps[0] + n * steps[1] + s * steps[2] + j;
        bool kept = j < shown && sees(v, q->dims[2], b, s, j);
        double add = 0;

        if (kept && mask && mask->dtype == OM_BOOL)
            kept = ((const uint8_t *)mask->data)[at] != 0;
        else if (kept && mask)
            add = om_ref_f64_at(mask, at);
        add = kept ? add : -(double)INFINITY;
        om_ref_row_store(out, i, 1, &add, 1);
    }
    return out;
}

/* The node's attributes but is_causal, where the mask has it already. */
static uint32_t without_causal(const struct ref_call *c, struct om_attr *attrs, uint32_t cap)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < c->node->n_attrs && n < cap; i++)
        if (strcmp(c->node->attrs[i].name, "is_causal") != 0)
            attrs[n++] = c->node->attrs[i];
    return n;
}

int om_ref_doc_Attention(struct ref_call *c)
{
    static const int64_t perm[4] = { 0, 2, 1, 3 };
    enum { ATTRS = 16 };
    const int64_t q_heads = om_node_int(c->node, "q_num_heads", 0),
                  kv_heads = om_node_int(c->node, "kv_num_heads", 0);
    const struct ref_tensor *in[6], *more[2] = { NULL, NULL }, *y;
    const bool packed = om_ref_in(c, 0)->rank == 3;
    struct om_attr attrs[ATTRS];
    struct sight v = { .lengths = om_ref_in(c, 6),
                       .left = om_node_int(c->node, "left_window_size", -1),
                       .right = om_node_int(c->node, "right_window_size", -1),
                       .causal = om_node_int(c->node, "is_causal", 0) != 0 };
    struct ref_tape t = { .c = c };
    uint32_t n_attrs = c->node->n_attrs;

    if (om_ref_wants(c, 3))
        return om_fail(c->err, OM_E_UNSUPPORTED, "the scores as an output");
    for (uint32_t i = 0; i < 6; i++)
        in[i] = om_ref_in(c, i);
    for (uint32_t i = 0; packed && i < 3; i++)
        in[i] = split_heads(&t, in[i], i == 0 ? q_heads : kv_heads);
    if ((v.lengths || v.left >= 0 || v.right >= 0) && t.rc == 0) {
        v.past = in[4] && in[4]->rank == 4 ? in[4]->dims[2] : 0;
        if (in[0]->rank != 4 || in[1]->rank != 4 ||
            (v.lengths && v.lengths->count != in[0]->dims[0]))
            om_ref_do_fail(&t, om_fail(c->err, OM_E_FORMAT, "nonpad_kv_seqlen does not fit"));
        else
            in[3] = full_mask(&t, &v, in[3], in[0], in[1]->dims[2] + v.past);
        n_attrs = without_causal(c, attrs, ATTRS);
    }
    y = om_ref_do_list(&t, om_ref_Attention, n_attrs < c->node->n_attrs ? attrs : c->node->attrs,
                       n_attrs, in, 6, more, 3);
    if (packed && t.rc == 0) {
        const int64_t *d = y->dims;
        const struct ref_tensor *turned = om_ref_do_transpose(&t, y, perm);

        y = t.rc < 0
                ? NULL
                : om_ref_do_reshape(&t, turned, (const int64_t[]){ d[0], d[2], d[1] * d[3] }, 3);
    }
    om_ref_do_give(&t, 0, y);
    om_ref_do_give(&t, 1, more[0]);
    om_ref_do_give(&t, 2, more[1]);
    return om_ref_tape_close(&t);
}
