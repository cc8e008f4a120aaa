/* src/ref/heads.c: attention in the forms of ONNX's newest Attention and of com.microsoft: packed
 * heads, projections, padding masks, caches. Scores are computed one query at a time, in double. */
#include "ref/heads.h"

#include <math.h>

/* ---- the core ---- */

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

/* Scores to probabilities, whose sum has one more. */
static void to_probabilities(const struct heads *h, double *row, int64_t n, int64_t head)
{
    const double sink = h->sinks ? om_ref_f64_at(h->sinks, head) : 0;
    double max = sink, sum;

    if (!h->smooth && !h->sinks) {
        om_ref_softmax_row(row, n, true);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        max = fmax(max, row[i]);
    sum = exp(sink - max);
    for (int64_t i = 0; i < n; i++)
        sum += row[i] = exp(row[i] - max);
    for (int64_t i = 0; i < n; i++)
        row[i] /= sum;
}

/* One query: its row of out [B, S, N * E]. */
static void attend_one(const struct ref_call *c, const struct heads *h, int64_t b, int64_t n,
                       int64_t s, double *row, float *out)
{
    const int64_t kv = b * h->k->dims[1] + n / (h->q->dims[1] / h->k->dims[1]);
    const int64_t keys = h->k->dims[2], dim = h->q->dims[3], v_dim = h->v->dims[3];
    const int64_t at = (b * h->q->dims[1] + n) * h->q->dims[2] + s;
    const float *q = (const float *)h->q->data + at * dim;
    const float *k = (const float *)h->k->data + kv * keys * dim;
    const float *v = (const float *)h->v->data + kv * keys * v_dim;

    for (int64_t t = 0; t < keys; t++) {
        row[t] = dot(q, k + t * dim, dim) * h->scale;
        if (h->softcap > 0)
            row[t] = h->softcap * tanh(row[t] / h->softcap);
        row[t] += h->bias(h, b, n, s, t);
    }
    if (h->scores > 0 && !h->probabilities)
        om_ref_row_store(&c->out[h->scores], at * keys, 1, row, keys);
    to_probabilities(h, row, keys, n);
    if (h->scores > 0 && h->probabilities)
        om_ref_row_store(&c->out[h->scores], at * keys, 1, row, keys);
    for (int64_t e = 0; e < v_dim; e++) {
        double sum = 0;

        for (int64_t t = 0; t < keys; t++)
            sum += row[t] * (double)v[t * v_dim + e];
        out[e] = (float)sum;
    }
}

const struct ref_tensor *om_ref_heads_attend(struct ref_tape *t, const struct heads *h)
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
    if (h->scores > 0)
        om_ref_do_fail(t,
                       om_ref_new(t->c->pool, &t->c->out[h->scores], OM_F32,
                                  (const int64_t[]){ h->q->dims[0], heads, queries, h->k->dims[2] },
                                  4, t->c->err));
    for (int64_t i = 0; t->rc == 0 && out->count > 0 && i < h->q->dims[0] * heads * queries; i++) {
        const int64_t s = i % queries, n = i / queries % heads, batch = i / queries / heads;

        attend_one(t->c, h, batch, n, s, row->data,
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
const struct ref_tensor *om_ref_heads_split(struct ref_tape *t, const struct ref_tensor *x,
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

const struct ref_tensor *om_ref_heads_concat(struct ref_tape *t, const struct ref_tensor *a,
                                             const struct ref_tensor *b, int64_t axis)
{
    const struct om_attr at = REF_ATTR_INT("axis", axis);

    if (!a)
        return b;
    return om_ref_do(t, om_ref_Concat, &at, 1, a, b, NULL);
}

/* Elements [from, from + n) of the last axis. */
const struct ref_tensor *om_ref_heads_columns(struct ref_tape *t, const struct ref_tensor *x,
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
    if (m->rank == 1) /* lengths; of 3 * batch + 2 numbers the others repeat what they say */
        return t < om_ref_i64_at(m, b);
    if (m->rank == 2)
        return om_ref_i64_at(m, b * m->dims[1] + t) != 0;
    if (m->rank == 3)
        return om_ref_i64_at(m, (b * m->dims[1] + s) * m->dims[2] + t) != 0;
    return om_ref_i64_at(m, (b * m->dims[2] + h->past + s) * m->dims[3] + t) != 0;
}

double om_ref_heads_masked(const struct heads *h, int64_t b, int64_t n, int64_t s, int64_t t)
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

void om_ref_heads_check_mask(struct ref_tape *t, const struct heads *h)
{
    const struct ref_tensor *m = h->mask;
    const int64_t batch = h->q->dims[0], queries = h->q->dims[2], keys = h->k->dims[2];
    bool fits;

    if (!m || t->rc < 0)
        return;
    fits = (m->rank == 1 &&
            (m->count == batch || m->count == 2 * batch || m->count == 3 * batch + 2)) ||
           (m->rank == 2 && m->dims[0] == batch && m->dims[1] >= keys) ||
           (m->rank == 3 && m->dims[0] == batch && m->dims[1] == queries && m->dims[2] >= keys) ||
           (m->rank == 4 && m->dims[0] == batch && m->dims[1] == 1 &&
            m->dims[2] >= h->past + queries && m->dims[3] >= keys);
    if (!fits)
        om_ref_do_fail(t, om_fail(t->c->err, OM_E_UNSUPPORTED, "a mask of this shape"));
}

/* attention_bias, to be broadcast to the scores. */
void om_ref_heads_extra(struct ref_tape *t, struct heads *h, const struct ref_tensor *extra)
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

double om_ref_heads_scale(const struct ref_call *c, int64_t dim)
{
    const double asked = om_node_float(c->node, "scale", 0);

    return asked != 0 ? asked : 1 / sqrt((double)OM_MAX(dim, 1));
}
