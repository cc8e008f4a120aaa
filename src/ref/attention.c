/* src/ref/attention.c: Attention (opset 23, 4-D form) and RotaryEmbedding.
 *
 * Masking follows the operator's definition: a bool mask keeps where it is true, a float mask is
 * added after the softcap; a mask that is shorter than the keys hides the rest; is_causal lets
 * query i see key j <= i + (length of past_key), that is, aligned to the bottom right of the scores
 * with a past and to the top left without. A query that may see no key gives zeros, as in PyTorch's
 * scaled_dot_product_attention. */
#include "ref/kernel.h"

#include <math.h>

/* ---- Attention ---- */

struct attention {
    int64_t batch, heads, kv_heads, queries, past, keys, dim, v_dim; /* keys: with the past */
    double scale, softcap;
    bool causal;
    const struct ref_tensor *mask; /* NULL: none */
    int64_t mask_steps[4], mask_keys;
    struct ref_tensor key, value; /* with the past */
    struct ref_tensor scores, row;
    int64_t shown; /* the scores that are an output, enum shown */
};

/* qk_matmul_output_mode: products, after the softcap, after the mask, probabilities. */
enum shown { SHOW_NONE = -1, SHOW_PRODUCTS, SHOW_CAPPED, SHOW_MASKED, SHOW_PROBABILITIES };

static bool same_dims(const struct ref_tensor *a, const struct ref_tensor *b, uint32_t but)
{
    if (a->rank != b->rank || a->dtype != b->dtype)
        return false;
    for (uint32_t i = 0; i < a->rank; i++)
        if (i != but && a->dims[i] != b->dims[i])
            return false;
    return true;
}

static int check_operands(const struct ref_call *c, const struct ref_tensor *q,
                          const struct ref_tensor *k, const struct ref_tensor *v,
                          const struct ref_tensor *past_k, const struct ref_tensor *past_v)
{
    char a[REF_DIMS_TEXT], b[REF_DIMS_TEXT], d[REF_DIMS_TEXT];

    if (q->dtype != OM_F32 && q->dtype != OM_F64)
        return om_ref_bad_dtype(c, q->dtype);
    if (q->rank != 4 || k->rank != 4 || !same_dims(k, v, 3) || q->dtype != k->dtype ||
        q->dims[0] != k->dims[0] || q->dims[3] != k->dims[3] || k->dims[1] == 0 ||
        q->dims[1] % k->dims[1] != 0)
        return om_fail(c->err, OM_E_FORMAT, "query %s, key %s and value %s do not fit",
                       om_ref_dims_text(a, sizeof(a), q->dims, q->rank),
                       om_ref_dims_text(b, sizeof(b), k->dims, k->rank),
                       om_ref_dims_text(d, sizeof(d), v->dims, v->rank));
    if (!past_k != !past_v)
        return om_fail(c->err, OM_E_FORMAT, "past_key and past_value must be given together");
    if (past_k && (!same_dims(past_k, k, 2) || !same_dims(past_v, v, 2) ||
                   past_k->dims[2] != past_v->dims[2]))
        return om_fail(c->err, OM_E_FORMAT, "past_key %s and past_value %s do not fit key %s",
                       om_ref_dims_text(a, sizeof(a), past_k->dims, past_k->rank),
                       om_ref_dims_text(b, sizeof(b), past_v->dims, past_v->rank),
                       om_ref_dims_text(d, sizeof(d), k->dims, k->rank));
    return 0;
}

/* past and now joined along the sequence. */
static int join_past(const struct ref_call *c, const struct ref_tensor *past,
                     const struct ref_tensor *now, struct ref_tensor *out)
{
    const size_t size = om_dtype_size(now->dtype);
    int64_t dims[4];
    size_t a, b;
    unsigned char *to;

    if (!past)
        return om_ref_share(out, now, now->dims, now->rank, c->err);
    memcpy(dims, now->dims, sizeof(dims));
    if (!om_add_i64(dims[2], past->dims[2], &dims[2]))
        return om_fail(c->err, OM_E_LIMIT, "the sequence is too long");
    OM_TRY(om_ref_new(c->pool, out, now->dtype, dims, 4, c->err));
    a = (size_t)(past->dims[2] * past->dims[3]) * size;
    b = (size_t)(now->dims[2] * now->dims[3]) * size;
    to = out->data;
    for (size_t i = 0; i < (size_t)(dims[0] * dims[1]) && out->count > 0; i++, to += a + b) {
        memcpy(to, (const unsigned char *)past->data + i * a, a);
        memcpy(to + a, (const unsigned char *)now->data + i * b, b);
    }
    return 0;
}

/* Align the mask's axes with [batch, heads, queries, keys]. */
static int load_mask(const struct ref_call *c, struct attention *t)
{
    const int64_t want[4] = { t->batch, t->heads, t->queries, t->keys };
    const struct ref_tensor *m = om_ref_in(c, 3);
    char a[REF_DIMS_TEXT], b[REF_DIMS_TEXT];
    bool fits;

    if (!m)
        return 0;
    fits = m->rank >= 1 && m->rank <= 4 &&
           (m->dtype == OM_BOOL || m->dtype == OM_F32 || m->dtype == OM_F64);
    for (uint32_t i = 0; fits && i < m->rank; i++) {
        const int64_t full = want[4 - m->rank + i], has = m->dims[i];

        fits = i + 1 == m->rank ? has <= full : has == full || has == 1;
    }
    if (!fits)
        return om_fail(c->err, OM_E_FORMAT, "mask %s of %s does not fit the scores %s",
                       om_ref_dims_text(a, sizeof(a), m->dims, m->rank), om_dtype_text(m->dtype),
                       om_ref_dims_text(b, sizeof(b), want, 4));
    om_ref_broadcast_steps(m, 4, t->mask_steps);
    t->mask_steps[3] = 1;
    t->mask_keys = m->dims[m->rank - 1];
    t->mask = m;
    return 0;
}

static int load_attention(const struct ref_call *c, struct attention *t)
{
    const struct ref_tensor *q = om_ref_in(c, 0), *k = om_ref_in(c, 1), *v = om_ref_in(c, 2);
    const struct ref_tensor *past_k = om_ref_in(c, 4), *past_v = om_ref_in(c, 5);

    OM_TRY(check_operands(c, q, k, v, past_k, past_v));
    OM_TRY(join_past(c, past_k, k, &t->key));
    OM_TRY(join_past(c, past_v, v, &t->value));
    t->batch = q->dims[0];
    t->heads = q->dims[1];
    t->kv_heads = k->dims[1];
    t->queries = q->dims[2];
    t->dim = q->dims[3];
    t->past = past_k ? past_k->dims[2] : 0;
    t->keys = t->key.dims[2];
    t->v_dim = v->dims[3];
    t->scale = om_node_float(c->node, "scale", 1 / sqrt((double)OM_MAX(t->dim, 1)));
    t->softcap = om_node_float(c->node, "softcap", 0);
    t->causal = om_node_int(c->node, "is_causal", 0) != 0;
    t->shown = om_ref_wants(c, 3) ? om_node_int(c->node, "qk_matmul_output_mode", 0) : SHOW_NONE;
    if (om_ref_wants(c, 3) && (t->shown < SHOW_PRODUCTS || t->shown > SHOW_PROBABILITIES))
        return om_fail(c->err, OM_E_FORMAT, "qk_matmul_output_mode is %" PRId64, t->shown);
    OM_TRY(load_mask(c, t));
    OM_TRY(om_ref_new(c->pool, &t->scores, q->dtype, (const int64_t[]){ t->queries, t->keys }, 2,
                      c->err));
    return om_ref_new(c->pool, &t->row, OM_F64, &t->keys, 1, c->err);
}

/* Scores of one query as they are at a stage, into output 3. */
static void show(const struct ref_call *c, const struct attention *t, enum shown stage,
                 int64_t batch, int64_t head, int64_t query, const double *row)
{
    if (t->shown == (int64_t)stage)
        om_ref_row_store(&c->out[3], ((batch * t->heads + head) * t->queries + query) * t->keys, 1,
                         row, t->keys);
}

/* The probabilities of one query, from its scores. */
static void attend_row(const struct ref_call *c, const struct attention *t, int64_t batch,
                       int64_t head, int64_t query, double *row)
{
    const int64_t seen = t->causal ? OM_MIN(query + t->past + 1, t->keys) : t->keys;
    const int64_t mask_at =
        batch * t->mask_steps[0] + head * t->mask_steps[1] + query * t->mask_steps[2];
    bool any = false; /* may the query see a key? */

    show(c, t, SHOW_PRODUCTS, batch, head, query, row);
    for (int64_t j = 0; j < t->keys && t->softcap > 0; j++)
        row[j] = t->softcap * tanh(row[j] / t->softcap);
    show(c, t, SHOW_CAPPED, batch, head, query, row);
    for (int64_t j = 0; j < t->keys; j++) {
        bool keep = j < seen && (!t->mask || j < t->mask_keys);
        double add = 0;

        if (keep && t->mask && t->mask->dtype == OM_BOOL)
            keep = ((const uint8_t *)t->mask->data)[mask_at + j] != 0;
        else if (keep && t->mask)
            add = om_ref_f64_at(t->mask, mask_at + j);
        row[j] = keep ? row[j] + add : -(double)INFINITY;
        any = any || (keep && add != -(double)INFINITY);
    }
    show(c, t, SHOW_MASKED, batch, head, query, row);
    if (any)
        om_ref_softmax_row(row, t->keys, true);
    else
        memset(row, 0, (size_t)t->keys * sizeof(*row));
    show(c, t, SHOW_PROBABILITIES, batch, head, query, row);
}

static void attend_head(const struct ref_call *c, struct attention *t, int64_t batch, int64_t head)
{
    const struct ref_tensor *q = om_ref_in(c, 0);
    const int64_t kv = batch * t->kv_heads + head / (t->heads / t->kv_heads),
                  at = batch * t->heads + head;
    const size_t size = om_dtype_size(q->dtype);
    const struct ref_gemm scores = {
        .dtype = q->dtype,
        .tb = true,
        .m = t->queries,
        .n = t->keys,
        .k = t->dim,
        .alpha = t->scale,
        .a = (const unsigned char *)q->data + (size_t)(at * t->queries * t->dim) * size,
        .b = (const unsigned char *)t->key.data + (size_t)(kv * t->keys * t->dim) * size,
        .c = t->scores.data,
    };
    const struct ref_gemm mix = {
        .dtype = q->dtype,
        .m = t->queries,
        .n = t->v_dim,
        .k = t->keys,
        .alpha = 1,
        .a = t->scores.data,
        .b = (const unsigned char *)t->value.data + (size_t)(kv * t->keys * t->v_dim) * size,
        .c = (unsigned char *)c->out[0].data + (size_t)(at * t->queries * t->v_dim) * size,
    };

    om_ref_gemm(&scores);
    for (int64_t i = 0; i < t->queries; i++) {
        om_ref_row_load(t->row.data, &t->scores, i * t->keys, 1, t->keys);
        attend_row(c, t, batch, head, i, t->row.data);
        om_ref_row_store(&t->scores, i * t->keys, 1, t->row.data, t->keys);
    }
    if (c->out[0].count > 0)
        om_ref_gemm(&mix);
}

static int attend(struct ref_call *c, struct attention *t)
{
    OM_TRY(load_attention(c, t));
    OM_TRY(om_ref_new(c->pool, &c->out[0], om_ref_in(c, 0)->dtype,
                      (const int64_t[]){ t->batch, t->heads, t->queries, t->v_dim }, 4, c->err));
    if (t->shown != SHOW_NONE)
        OM_TRY(om_ref_new(c->pool, &c->out[3], c->out[0].dtype,
                          (const int64_t[]){ t->batch, t->heads, t->queries, t->keys }, 4, c->err));
    for (int64_t b = 0; b < t->batch && (c->out[0].count > 0 || t->shown != SHOW_NONE); b++)
        for (int64_t h = 0; h < t->heads; h++)
            attend_head(c, t, b, h);
    if (om_ref_wants(c, 1))
        OM_TRY(om_ref_share(&c->out[1], &t->key, t->key.dims, 4, c->err));
    if (om_ref_wants(c, 2))
        OM_TRY(om_ref_share(&c->out[2], &t->value, t->value.dims, 4, c->err));
    return 0;
}

int om_ref_Attention(struct ref_call *c)
{
    struct attention t = { .mask = NULL };
    const int rc = attend(c, &t);

    om_ref_drop(&t.key);
    om_ref_drop(&t.value);
    om_ref_drop(&t.scores);
    om_ref_drop(&t.row);
    return rc;
}

/* ---- RotaryEmbedding ---- */

struct rotary {
    int64_t batch, heads, length, dim, pairs; /* pairs of elements that are turned */
    bool interleaved;
    bool heads_inside; /* x is [batch, length, heads * dim], not [batch, heads, length, dim] */
    const struct ref_tensor *x, *cos, *sin, *positions;
    int64_t steps[3]; /* of positions, or of cos and sin, per batch and place */
};

/* The head axes of x: [batch, heads, length, dim], or [batch, length, heads * dim] with num_heads.
 */
static int load_rotary_x(const struct ref_call *c, struct rotary *r)
{
    const struct ref_tensor *x = r->x;
    const int64_t heads = om_node_int(c->node, "num_heads", 0);
    char a[REF_DIMS_TEXT];

    if (x->dtype != OM_F32 && x->dtype != OM_F64)
        return om_ref_bad_dtype(c, x->dtype);
    r->heads_inside = x->rank == 3 && heads > 0 && x->dims[2] % heads == 0;
    if (x->rank != 4 && !r->heads_inside)
        return om_fail(c->err, OM_E_FORMAT, "%s with num_heads %" PRId64 " has no head axes",
                       om_ref_dims_text(a, sizeof(a), x->dims, x->rank), heads);
    r->batch = x->dims[0];
    r->heads = r->heads_inside ? heads : x->dims[1];
    r->length = x->dims[r->heads_inside ? 1 : 2];
    r->dim = r->heads_inside ? x->dims[2] / heads : x->dims[3];
    return 0;
}

/* May t be broadcast to [batch, length] followed by more axes? */
static bool fits_places(const struct rotary *r, const struct ref_tensor *t)
{
    return (t->dims[0] == r->batch || t->dims[0] == 1) &&
           (t->dims[1] == r->length || t->dims[1] == 1);
}

static int load_rotary(const struct ref_call *c, struct rotary *r)
{
    const struct ref_tensor *cs = om_ref_in(c, 1), *p = om_ref_in(c, 3);
    int64_t turned = om_node_int(c->node, "rotary_embedding_dim", 0);
    char a[REF_DIMS_TEXT], b[REF_DIMS_TEXT];

    *r = (struct rotary){ .x = om_ref_in(c, 0), .cos = cs, .sin = om_ref_in(c, 2), .positions = p };
    OM_TRY(load_rotary_x(c, r));
    r->interleaved = om_node_int(c->node, "interleaved", 0) != 0;
    turned = turned == 0 ? r->dim : turned;
    if (turned < 0 || turned > r->dim || turned % 2 != 0)
        return om_fail(c->err, OM_E_FORMAT, "%" PRId64 " of %" PRId64 " elements cannot be rotated",
                       turned, r->dim);
    r->pairs = turned / 2;
    if (cs->dtype != r->x->dtype || !same_dims(cs, r->sin, OM_RANK_MAX) ||
        cs->rank != (p ? 2 : 3) || cs->dims[cs->rank - 1] != r->pairs ||
        (!p && !fits_places(r, cs)))
        return om_fail(c->err, OM_E_FORMAT, "cos and sin %s do not fit %s with %" PRId64 " pairs",
                       om_ref_dims_text(a, sizeof(a), cs->dims, cs->rank),
                       om_ref_dims_text(b, sizeof(b), r->x->dims, r->x->rank), r->pairs);
    if (p && (p->rank != 2 || (p->dtype != OM_I64 && p->dtype != OM_I32) || !fits_places(r, p)))
        return om_fail(c->err, OM_E_FORMAT, "position_ids %s of %s do not fit %s",
                       om_ref_dims_text(a, sizeof(a), p->dims, p->rank), om_dtype_text(p->dtype),
                       om_ref_dims_text(b, sizeof(b), r->x->dims, r->x->rank));
    om_ref_broadcast_steps(p ? p : cs, p ? 2 : 3, r->steps);
    return 0;
}

/* Where the angles of a place in the batch begin in cos and sin. */
static int rotary_angles(const struct ref_call *c, const struct rotary *r, int64_t batch,
                         int64_t place, int64_t *at)
{
    int64_t position;

    *at = batch * r->steps[0] + place * r->steps[1];
    if (!r->positions)
        return 0;
    position = om_ref_i64_at(r->positions, *at);
    if (position < 0 || position >= r->cos->dims[0])
        return om_fail(c->err, OM_E_USAGE, "position %" PRId64 " is outside [0, %" PRId64 ")",
                       position, r->cos->dims[0]);
    *at = position * r->pairs;
    return 0;
}

static void rotate(const struct rotary *r, int64_t at, int64_t angles, double *in, double *out)
{
    const int64_t first = r->interleaved ? 2 : 1, second = r->interleaved ? 1 : r->pairs;

    om_ref_row_load(in, r->x, at, 1, r->dim);
    memcpy(out, in, (size_t)r->dim * sizeof(*out));
    for (int64_t i = 0; i < r->pairs; i++) {
        const double cs = om_ref_f64_at(r->cos, angles + i), sn = om_ref_f64_at(r->sin, angles + i);
        const double a = in[i * first], b = in[i * first + second];

        out[i * first] = cs * a - sn * b;
        out[i * first + second] = sn * a + cs * b;
    }
}

static int rotate_all(struct ref_call *c, const struct rotary *r, double *in)
{
    const int64_t rows = c->out[0].count > 0 ? r->batch * r->heads * r->length : 0;

    for (int64_t i = 0; i < rows; i++) {
        const int64_t place = r->heads_inside ? i / r->heads % r->length : i % r->length;
        int64_t angles = 0;

        OM_TRY(rotary_angles(c, r, i / (r->heads * r->length), place, &angles));
        rotate(r, i * r->dim, angles, in, in + r->dim);
        om_ref_row_store(&c->out[0], i * r->dim, 1, in + r->dim, r->dim);
    }
    return 0;
}

int om_ref_RotaryEmbedding(struct ref_call *c)
{
    struct ref_tensor rows = { .mem = NULL };
    struct rotary r;
    int rc = load_rotary(c, &r);

    if (rc == 0)
        rc = om_ref_new(c->pool, &c->out[0], r.x->dtype, r.x->dims, r.x->rank, c->err);
    if (rc == 0)
        rc = om_ref_new(c->pool, &rows, OM_F64, (const int64_t[]){ 2, r.dim }, 2, c->err);
    if (rc == 0)
        rc = rotate_all(c, &r, rows.data);
    om_ref_drop(&rows);
    return rc;
}
