/* src/lower/attention.c: Attention from MatMul and Softmax. */
#include <math.h>

#include "base/half.h"
#include "lower/internal.h"

struct attention {
    om_val q, k_t, v; /* q scaled; k transposed to [batch, kv_heads, dim, keys] */
    om_dim batch, queries, keys;
    int64_t heads, kv_heads;
    om_dim dim, v_dim;
    om_val mask; /* added to the scores; {0}: none */
    om_val rows; /* {0}, or what the result is multiplied with: 0 for a query that may see no key */
    enum om_dtype dtype;
    enum om_dtype score_dtype; /* of the scores once they are computed, and of the mask */
    double late_scale;         /* what scores of score_dtype are still multiplied with */
};

static const int64_t swap_last[] = { 0, 1, 3, 2 };

/* ---- operands ---- */

static om_val join(struct lower *l, om_val past, om_val now)
{
    return LO1(l, Concat, LO_INT("axis", 2), past, now);
}

/* K transposed. Where K is itself a transpose that nobody else reads, the two become one. */
static om_val transposed_key(struct lower *l, const struct om_node *n)
{
    static const int64_t heads_first[] = { 0, 2, 1, 3 }, both[] = { 0, 2, 3, 1 };
    const om_val k = n->in[1];
    const struct om_value *value = lo_old(l, k);
    const struct om_node *from = value->node == OM_NO_NODE ? NULL : &l->g->nodes[value->node];
    const struct om_attr *perm = from ? om_node_attr(from, "perm") : NULL;

    if (from && from->op == OM_OP_Transpose && l->twins[k.id].uses == 1 && perm && perm->n == 4 &&
        memcmp(perm->ints, heads_first, sizeof(heads_first)) == 0)
        return lo_transpose(l, lo_nd(l, from->in[0]), both, 4);
    return lo_transpose(l, lo_nd(l, k), swap_last, 4);
}

static void load_operands(struct lower *l, const struct om_node *n, struct attention *a)
{
    const struct om_value *q = lo_old(l, n->in[0]), *k = lo_old(l, n->in[1]),
                          *v = lo_old(l, n->in[2]);
    const bool past = lo_has(n, 4);
    om_val key;

    a->dtype = q->dtype;
    a->score_dtype = om_dtype_from_onnx((int32_t)om_node_int(n, "softmax_precision", 0));
    if (a->score_dtype == OM_DTYPE_NONE)
        a->score_dtype = q->dtype;
    a->batch = q->dims[0];
    a->queries = q->dims[2];
    a->dim = q->dims[3];
    a->keys = k->dims[2];
    a->v_dim = v->dims[3];
    a->q = lo_nd(l, n->in[0]);
    a->v = lo_nd(l, n->in[2]);
    if (!past) {
        a->k_t = transposed_key(l, n);
        return;
    }
    key = join(l, lo_nd(l, n->in[4]), lo_nd(l, n->in[1]));
    a->v = join(l, lo_nd(l, n->in[5]), a->v);
    a->k_t = lo_transpose(l, key, swap_last, 4);
    a->keys = om_dim_add(l->d, a->keys, lo_old(l, n->in[4])->dims[2]);
    if (n->n_out > 1)
        lo_set(l, n, 1, key);
    if (n->n_out > 2)
        lo_set(l, n, 2, a->v);
}

/* Without past the present key and value are the operands. */
static void pass_present(struct lower *l, const struct om_node *n)
{
    for (uint32_t i = 1; i < n->n_out && !lo_has(n, 4); i++)
        l->rw.map[n->out[i].id] = lo_nd(l, n->in[i]);
}

static bool load_heads(struct lower *l, const struct om_node *n, struct attention *a)
{
    const om_dim q = lo_old(l, n->in[0])->dims[1], k = lo_old(l, n->in[1])->dims[1];

    a->heads = a->kv_heads = 1;
    if (q == k || (lo_const_dim(l, q, &a->heads) && lo_const_dim(l, k, &a->kv_heads)))
        return true;
    om_graph_fail(l->h, OM_E_UNSUPPORTED, "%.*s: the numbers of heads are not known",
                  OM_SV(n->name));
    return false;
}

/* Is v a number of the dtype? */
static bool is_exact(enum om_dtype dtype, double v)
{
    uint8_t raw[8];
    double back;

    om_convert(raw, dtype, &v, OM_F64, 1);
    om_convert(&back, OM_F64, raw, dtype, 1);
    return back == v;
}

/* Queries are scaled before the product, which could overflow without. What 16 bits would round of
 * the scale is left to the scores. */
static om_val scaled_query(struct lower *l, const struct om_node *n, struct attention *a)
{
    double scale = om_node_float(n, "scale", 0), early;
    int64_t dim;
    int exponent;

    if (scale == 0 && lo_const_dim(l, a->dim, &dim))
        scale = 1 / sqrt((double)OM_MAX(dim, 1));
    if (scale == 0)
        return om_graph_fail(l->h, OM_E_UNSUPPORTED, "%.*s: the head size is not known",
                             OM_SV(n->name));
    early = scale;
    if (a->score_dtype != a->dtype && !is_exact(a->dtype, scale)) {
        frexp(scale, &exponent);
        early = ldexp(1, exponent - 1);
    }
    a->late_scale = scale / early;
    return early == 1 ? a->q : LO(l, Mul, a->q, lo_scalar(l, a->dtype, early));
}

/* ---- masks: made once, since equal nodes are shared by all layers ---- */

static om_val lowest(struct lower *l, enum om_dtype dtype)
{
    switch (dtype) {
    case OM_F16:
        return lo_scalar(l, dtype, -65504.0);
    case OM_BF16:
        return lo_scalar(l, dtype, -0x1.fep127);
    default:
        return lo_scalar(l, dtype, -0x1.fffffep127);
    }
}

static om_val scalar_of(struct lower *l, om_dim d)
{
    return LO(l, Squeeze, lo_dims(l, &d, 1), lo_i64(l, 0));
}

static om_val arange(struct lower *l, om_dim n)
{
    return LO(l, Range, lo_scalar(l, OM_I64, 0), scalar_of(l, n), lo_scalar(l, OM_I64, 1));
}

/* true where query i sees key j: j <= i + length of the past. [queries, keys] */
static om_val causal(struct lower *l, const struct om_node *n, const struct attention *a)
{
    om_val i = arange(l, a->queries);

    if (lo_has(n, 4))
        i = LO(l, Add, i, lo_dims(l, &lo_old(l, n->in[4])->dims[2], 1));
    return LO(l, GreaterOrEqual, lo_unsqueeze(l, i, 1), arange(l, a->keys));
}

/* 0 for what is seen, the least finite number for what is hidden: with infinity a query that sees
 * nothing would divide zero by zero. */
static om_val additive(struct lower *l, const struct attention *a, om_val seen)
{
    return LO(l, Where, seen, lo_scalar(l, a->score_dtype, 0), lowest(l, a->score_dtype));
}

static void load_mask(struct lower *l, const struct om_node *n, struct attention *a)
{
    const bool is_causal = om_node_int(n, "is_causal", 0) != 0;
    om_val mask = lo_has(n, 3) ? lo_nd(l, n->in[3]) : (om_val){ 0 };
    om_val seen = is_causal ? causal(l, n, a) : (om_val){ 0 };

    if (mask.id != 0 && lo_new(l, mask)->dtype == OM_BOOL) {
        seen = seen.id ? LO(l, And, mask, seen) : mask;
        mask.id = 0;
        /* of a query that sees nothing the result is defined to be 0 */
        a->rows = lo_reduce_last(l, OM_OP_ReduceMax, lo_cast(l, seen, a->score_dtype), 1);
        a->rows = lo_cast(l, a->rows, a->dtype);
    }
    mask = lo_cast(l, mask, a->score_dtype);
    if (seen.id != 0)
        seen = additive(l, a, seen);
    a->mask = mask.id && seen.id ? LO(l, Add, mask, seen) : mask.id ? mask : seen;
}

/* ---- the product ---- */

static om_val softcapped(struct lower *l, const struct om_node *n, const struct attention *a,
                         om_val s)
{
    const double cap = om_node_float(n, "softcap", 0);
    const om_val c = lo_scalar(l, a->score_dtype, cap);

    return cap > 0 ? LO(l, Mul, LO(l, Tanh, LO(l, Div, s, c)), c) : s;
}

static om_val probabilities(struct lower *l, const struct attention *a, om_val s)
{
    return lo_cast(l, LO1(l, Softmax, LO_INT("axis", -1), s), a->dtype);
}

/* Every query and every head meets the same row of the mask. */
static bool mask_is_row(const struct lower *l, om_val mask)
{
    const struct om_value *v = lo_new(l, mask);
    int64_t extent;

    for (uint32_t i = 2; i <= 3 && i <= v->rank; i++)
        if (!lo_const_dim(l, v->dims[v->rank - i], &extent) || extent != 1)
            return false;
    return true;
}

/* Several heads per key head: their queries lie one after another, so [batch, heads, queries, x] is
 * [batch, kv_heads, heads/kv_heads * queries, x] as well, and keys and values need no copies. */
static om_val grouped(struct lower *l, const struct attention *a, om_val x, om_dim last)
{
    const om_dim repeat = om_dim_const(l->d, a->heads / a->kv_heads);
    const om_dim dims[] = { a->batch, om_dim_const(l->d, a->kv_heads),
                            om_dim_mul(l->d, repeat, a->queries), last };

    return a->heads == a->kv_heads ? x : lo_reshape(l, x, dims, 4);
}

static om_val ungrouped(struct lower *l, const struct attention *a, om_val x, om_dim last)
{
    const om_dim dims[] = { a->batch, om_dim_const(l->d, a->heads), a->queries, last };

    return a->heads == a->kv_heads ? x : lo_reshape(l, x, dims, 4);
}

static om_val scores(struct lower *l, const struct om_node *n, struct attention *a)
{
    const om_val q = grouped(l, a, scaled_query(l, n, a), a->dim);
    om_val s = lo_cast(l, LO(l, MatMul, q, a->k_t), a->score_dtype);

    if (a->late_scale != 1)
        s = LO(l, Mul, s, lo_scalar(l, a->score_dtype, a->late_scale));
    return softcapped(l, n, a, s);
}

static om_val attend(struct lower *l, const struct om_node *n, struct attention *a)
{
    om_val s = scores(l, n, a);

    if (a->mask.id != 0) {
        if (!mask_is_row(l, a->mask))
            s = ungrouped(l, a, s, a->keys);
        s = LO(l, Add, s, a->mask);
    }
    s = grouped(l, a, probabilities(l, a, s), a->keys);
    s = ungrouped(l, a, LO(l, MatMul, s, a->v), a->v_dim);
    return a->rows.id ? LO(l, Mul, s, a->rows) : s;
}

void lo_attention(struct lower *l, const struct om_node *n)
{
    struct attention a = { .heads = 0 };

    if (!load_heads(l, n, &a))
        return;
    load_operands(l, n, &a);
    load_mask(l, n, &a);
    lo_set(l, n, 0, attend(l, n, &a));
    pass_present(l, n);
}

/* ---- the operator of opset 23 ---- */

/* Of a query whose keys are all hidden (a text of padding only, padding on the left) runtimes
 * disagree with each other and with ours: ONNX Runtime gives zeros also where the mask holds the
 * least finite number, which PyTorch takes for equal weights, others give NaN. Hence only without a
 * mask. */
bool lo_fits_attention_23(const struct lower *l, const struct om_node *n)
{
    const om_dim heads = lo_old(l, n->in[0])->dims[1], kv_heads = lo_old(l, n->in[1])->dims[1];

    return heads == kv_heads && !lo_has(n, 3) && !lo_has(n, 4) && n->n_out == 1 &&
           om_node_float(n, "softcap", 0) == 0 && !om_node_int(n, "is_causal", 0);
}
