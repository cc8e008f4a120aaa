/* src/ir/infer_math.c: inference of operators that compute across axes, of layers and of branches.
 */
#include "ir/internal.h"

/* ---- reductions ---- */

/* The axes of a reduction as a set: input 1, or all of them when it is left out. */
static int reduced_axes(struct om_inf *c, uint32_t rank, uint32_t *set)
{
    int64_t axes[OM_RANK_MAX];
    uint32_t n = 0, axis;

    *set = 0;
    if (om_inf_in(c, 1))
        OM_TRY(om_inf_ints(c, 1, axes, OM_RANK_MAX, &n));
    if (n == 0 && om_node_int(c->n, "noop_with_empty_axes", 0) == 0)
        *set = (1u << rank) - 1;
    for (uint32_t i = 0; i < n; i++) {
        OM_TRY(om_inf_axis(c, axes[i], rank, &axis));
        *set |= 1u << axis;
    }
    return 0;
}

static struct om_shape reduce(struct om_inf *c, const struct om_value *x, uint32_t set)
{
    const bool keep = om_node_int(c->n, "keepdims", 1) != 0;
    struct om_shape s = { .rank = 0 };

    for (uint32_t i = 0; i < x->rank; i++) {
        if (!(set & 1u << i))
            s.dims[s.rank++] = x->dims[i];
        else if (keep)
            s.dims[s.rank++] = om_dim_const(c->d, 1);
    }
    return s;
}

int om_inf_reduce(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    const bool real = c->n->op == OM_OP_ReduceMean || c->n->op == OM_OP_ReduceL2;
    struct om_shape s;
    uint32_t set;

    OM_TRY(om_inf_class(c, 0, real ? OM_CLASS_FLOAT : OM_CLASS_NUMBER));
    OM_TRY(reduced_axes(c, x->rank, &set));
    s = reduce(c, x, set);
    return om_inf_set(c, 0, x->dtype, &s);
}

int om_inf_argmax(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    struct om_shape s;
    uint32_t axis;

    OM_TRY(om_inf_class(c, 0, OM_CLASS_NUMBER));
    OM_TRY(om_inf_axis(c, om_node_int(c->n, "axis", 0), x->rank, &axis));
    s = reduce(c, x, 1u << axis);
    return om_inf_set(c, 0, OM_I64, &s);
}

int om_inf_cumsum(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    const struct om_shape s = om_inf_shape(x);
    const om_dim *content;
    uint32_t n, axis;
    int64_t v;
    const int rc = om_inf_vector(c, 1, &content, &n);

    if (rc < 0)
        return rc;
    OM_TRY(om_inf_class(c, 0, OM_CLASS_NUMBER));
    if (n != 1)
        return om_fail(c->err, OM_E_FORMAT, "the axis is not a scalar");
    if (rc > 0 && om_dim_is_const(c->d, content[0], &v))
        OM_TRY(om_inf_axis(c, v, x->rank, &axis));
    return om_inf_set(c, 0, x->dtype, &s);
}

int om_inf_softmax(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    const struct om_shape s = om_inf_shape(x);
    uint32_t axis;

    OM_TRY(om_inf_class(c, 0, OM_CLASS_FLOAT));
    OM_TRY(om_inf_axis(c, om_node_int(c->n, "axis", -1), x->rank, &axis));
    return om_inf_set(c, 0, x->dtype, &s);
}

/* ---- matrix products ---- */

static int inner_equal(struct om_inf *c, om_dim a, om_dim b)
{
    if (om_inf_merge(c, a, b) != 0)
        return 0;
    return om_fail(c->err, OM_E_FORMAT, "inner dimensions differ: %s and %s", om_inf_text(c, a),
                   om_inf_text(c, b));
}

int om_inf_matmul(struct om_inf *c)
{
    const struct om_value *a = om_inf_in(c, 0), *b = om_inf_in(c, 1);
    struct om_value batch;
    struct om_shape s = { .rank = 0 };

    OM_TRY(om_inf_class(c, 0, OM_CLASS_NUMBER));
    OM_TRY(om_inf_same_dtype(c, 0, 1));
    if (a->rank == 0 || b->rank == 0)
        return om_fail(c->err, OM_E_FORMAT, "input %d is a scalar", a->rank ? 1 : 0);
    OM_TRY(inner_equal(c, a->dims[a->rank - 1], b->dims[b->rank == 1 ? 0 : b->rank - 2]));
    if (a->rank > 2)
        s = (struct om_shape){ .rank = a->rank - 2 };
    for (uint32_t i = 0; i < s.rank; i++)
        s.dims[i] = a->dims[i];
    batch = (struct om_value){ .rank = b->rank > 2 ? b->rank - 2 : 0, .dims = b->dims };
    OM_TRY(om_inf_broadcast(c, &s, &batch));
    if (a->rank > 1)
        s.dims[s.rank++] = a->dims[a->rank - 2];
    if (b->rank > 1)
        s.dims[s.rank++] = b->dims[b->rank - 1];
    return om_inf_set(c, 0, a->dtype, &s);
}

static int check_rank(struct om_inf *c, uint32_t i, uint32_t rank)
{
    const struct om_value *v = om_inf_in(c, i);

    if (!v || v->rank == rank)
        return 0;
    return om_fail(c->err, OM_E_FORMAT, "input %" PRIu32 " of shape %s does not have rank %" PRIu32,
                   i, om_inf_shape_text(c, v->dims, v->rank), rank);
}

int om_inf_gemm(struct om_inf *c)
{
    const struct om_value *a = om_inf_in(c, 0), *b = om_inf_in(c, 1), *bias = om_inf_in(c, 2);
    const bool ta = om_node_int(c->n, "transA", 0) != 0, tb = om_node_int(c->n, "transB", 0) != 0;
    struct om_shape s = { .rank = 2 };

    OM_TRY(om_inf_class(c, 0, OM_CLASS_NUMBER));
    OM_TRY(om_inf_same_dtype(c, 0, 1));
    OM_TRY(om_inf_same_dtype(c, 0, 2));
    OM_TRY(check_rank(c, 0, 2));
    OM_TRY(check_rank(c, 1, 2));
    OM_TRY(inner_equal(c, a->dims[!ta], b->dims[tb]));
    s.dims[0] = a->dims[ta];
    s.dims[1] = b->dims[!tb];
    if (bias)
        OM_TRY(om_inf_broadcast_into(c, &s, bias, "the bias"));
    return om_inf_set(c, 0, a->dtype, &s);
}

int om_inf_linear(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0), *w = om_inf_in(c, 1), *bias = om_inf_in(c, 2);
    const bool tb = om_node_int(c->n, "transB", 0) != 0;
    struct om_shape s = om_inf_shape(x);

    OM_TRY(om_inf_class(c, 0, OM_CLASS_FLOAT));
    OM_TRY(om_inf_same_dtype(c, 0, 1));
    OM_TRY(om_inf_same_dtype(c, 0, 2));
    OM_TRY(check_rank(c, 1, 2));
    if (x->rank == 0)
        return om_fail(c->err, OM_E_FORMAT, "input 0 is a scalar");
    OM_TRY(inner_equal(c, x->dims[x->rank - 1], w->dims[tb]));
    s.dims[s.rank - 1] = w->dims[!tb];
    OM_TRY(check_rank(c, 2, 1));
    if (bias && om_inf_merge(c, bias->dims[0], w->dims[!tb]) == 0)
        return om_fail(c->err, OM_E_FORMAT, "the bias has %s elements, the weight %s outputs",
                       om_inf_text(c, bias->dims[0]), om_inf_text(c, w->dims[!tb]));
    return om_inf_set(c, 0, x->dtype, &s);
}

/* ---- layers ---- */

int om_inf_norm(struct om_inf *c)
{
    static const char *const what[] = { "", "the scale", "the bias" };
    const struct om_value *x = om_inf_in(c, 0);
    const struct om_shape s = om_inf_shape(x);
    struct om_shape normalized = { .rank = 0 };
    uint32_t axis;

    OM_TRY(om_inf_class(c, 0, OM_CLASS_FLOAT));
    OM_TRY(om_inf_axis(c, om_node_int(c->n, "axis", -1), x->rank, &axis));
    for (uint32_t i = axis; i < x->rank; i++)
        normalized.dims[normalized.rank++] = x->dims[i];
    OM_TRY(om_inf_class(c, 1, OM_CLASS_FLOAT));
    for (uint32_t i = 1; i < 3; i++) {
        if (c->n->op != OM_OP_RMSNormalization)
            OM_TRY(om_inf_same_dtype(c, 0, i));
        if (om_inf_in(c, i))
            OM_TRY(om_inf_broadcast_into(c, &normalized, om_inf_in(c, i), what[i]));
    }
    return om_inf_set(c, 0, om_inf_in(c, 1)->dtype, &s);
}

/* Axis k of inputs i and j has to be equal. */
static int same_axis(struct om_inf *c, uint32_t i, uint32_t j, uint32_t k)
{
    const om_dim a = om_inf_in(c, i)->dims[k], b = om_inf_in(c, j)->dims[k];

    if (om_inf_merge(c, a, b) != 0)
        return 0;
    return om_fail(c->err, OM_E_FORMAT,
                   "axis %" PRIu32 " of inputs %" PRIu32 " and %" PRIu32 " differs: %s and %s", k,
                   i, j, om_inf_text(c, a), om_inf_text(c, b));
}

static int check_heads(struct om_inf *c, om_dim heads, om_dim kv_heads)
{
    int64_t h, k;

    if (heads == kv_heads)
        return 0;
    if (om_dim_is_const(c->d, heads, &h) && om_dim_is_const(c->d, kv_heads, &k) && k > 0 &&
        h % k == 0)
        return 0;
    return om_fail(c->err, OM_E_FORMAT, "%s query heads are not a multiple of %s key heads",
                   om_inf_text(c, heads), om_inf_text(c, kv_heads));
}

static int attention_operands(struct om_inf *c)
{
    static const uint8_t equal[][3] = {
        /* input, input, axis */
        { 0, 1, 0 }, { 0, 2, 0 }, { 0, 1, 3 }, { 1, 2, 1 }, { 1, 2, 2 },
    };
    static const uint8_t past_equal[][3] = {
        { 1, 4, 0 }, { 1, 4, 1 }, { 1, 4, 3 }, { 2, 5, 0 }, { 2, 5, 1 }, { 2, 5, 3 }, { 4, 5, 2 },
    };
    const bool past = om_inf_in(c, 4) && om_inf_in(c, 5);

    OM_TRY(om_inf_class(c, 0, OM_CLASS_FLOAT));
    for (uint32_t i = 0; i < 6; i++) {
        if (i == 3)
            continue;
        OM_TRY(check_rank(c, i, 4));
        OM_TRY(om_inf_same_dtype(c, 0, i));
    }
    if (!past && (om_inf_in(c, 4) || om_inf_in(c, 5)))
        return om_fail(c->err, OM_E_FORMAT, "past key and past value go together");
    for (size_t i = 0; i < OM_COUNT(equal); i++)
        OM_TRY(same_axis(c, equal[i][0], equal[i][1], equal[i][2]));
    for (size_t i = 0; past && i < OM_COUNT(past_equal); i++)
        OM_TRY(same_axis(c, past_equal[i][0], past_equal[i][1], past_equal[i][2]));
    return check_heads(c, om_inf_in(c, 0)->dims[1], om_inf_in(c, 1)->dims[1]);
}

static int attention_mask(struct om_inf *c, const struct om_shape *scores)
{
    const struct om_value *mask = om_inf_in(c, 3);
    const int32_t precision = (int32_t)om_node_int(c->n, "softmax_precision", 0);

    if (!mask)
        return 0;
    if (mask->dtype != OM_BOOL && mask->dtype != om_dtype_from_onnx(precision))
        OM_TRY(om_inf_same_dtype(c, 0, 3));
    return om_inf_broadcast_into(c, scores, mask, "the mask");
}

int om_inf_attention(struct om_inf *c)
{
    const struct om_value *q = om_inf_in(c, 0), *k = om_inf_in(c, 1), *v = om_inf_in(c, 2);
    const struct om_value *past = om_inf_in(c, 4);
    struct om_shape y, keys, values, scores;

    OM_TRY(attention_operands(c));
    keys = om_inf_shape(k);
    if (past)
        keys.dims[2] = om_dim_add(c->d, past->dims[2], k->dims[2]);
    values = om_inf_shape(v);
    values.dims[2] = keys.dims[2];
    y = scores = om_inf_shape(q);
    scores.dims[3] = keys.dims[2];
    y.dims[3] = v->dims[3];
    OM_TRY(attention_mask(c, &scores));
    OM_TRY(om_inf_set(c, 0, q->dtype, &y));
    OM_TRY(om_inf_set(c, 1, q->dtype, &keys));
    return om_inf_set(c, 2, q->dtype, &values);
}

/* Query, key and value [B,S,h*D]; past [B,h,P,D]. */
static int grouped_operands(struct om_inf *c)
{
    static const uint32_t ranks[] = { 3, 3, 3, 4, 4, 1 };

    OM_TRY(om_inf_class(c, 0, OM_CLASS_FLOAT));
    for (uint32_t i = 0; i < OM_COUNT(ranks); i++)
        OM_TRY(check_rank(c, i, ranks[i]));
    for (uint32_t i = 1; i < 5; i++)
        OM_TRY(om_inf_same_dtype(c, 0, i));
    for (uint32_t i = 0; i < 2; i++) {
        OM_TRY(same_axis(c, i, i + 1, 0));
        OM_TRY(same_axis(c, i, i + 1, 1));
    }
    OM_TRY(same_axis(c, 1, 2, 2));
    for (uint32_t i = 0; i < 4; i++)
        OM_TRY(same_axis(c, 3, 4, i));
    OM_TRY(same_axis(c, 0, 3, 0));
    return same_axis(c, 0, 5, 0);
}

/* The rows of past and new keys are those of as many heads of one size. */
int om_inf_grouped_attention(struct om_inf *c)
{
    const int64_t heads = om_node_int(c->n, "num_heads", 0),
                  kv_heads = om_node_int(c->n, "kv_num_heads", 0);
    struct om_shape y, keys;
    om_dim size;

    OM_TRY(grouped_operands(c));
    y = om_inf_shape(om_inf_in(c, 0));
    keys = om_inf_shape(om_inf_in(c, 3));
    size = keys.dims[3];
    if (heads < 1 || kv_heads < 1 || heads % kv_heads != 0 ||
        !om_inf_merge(c, keys.dims[1], om_dim_const(c->d, kv_heads)) ||
        !om_inf_merge(c, om_dim_mul(c->d, om_dim_const(c->d, heads), size), y.dims[2]) ||
        !om_inf_merge(c, om_dim_mul(c->d, keys.dims[1], size), om_inf_in(c, 1)->dims[2]))
        return om_fail(c->err, OM_E_FORMAT,
                       "%" PRId64 " and %" PRId64 " heads do not fit query %s and past %s", heads,
                       kv_heads, om_inf_shape_text(c, y.dims, y.rank),
                       om_inf_shape_text(c, keys.dims, keys.rank));
    keys.dims[2] = om_dim_add(c->d, keys.dims[2], y.dims[1]);
    OM_TRY(om_inf_set(c, 0, om_inf_in(c, 0)->dtype, &y));
    OM_TRY(om_inf_set(c, 1, om_inf_in(c, 3)->dtype, &keys));
    return om_inf_set(c, 2, om_inf_in(c, 3)->dtype, &keys);
}

/* The head size of X [B,h,S,D], or of X [B,S,h*D] with attribute num_heads. */
static int rotary_head_size(struct om_inf *c, const struct om_value *x, om_dim *size)
{
    const int64_t heads = om_node_int(c->n, "num_heads", 0);
    const om_dim h = om_dim_const(c->d, heads);

    if (x->rank == 4) {
        *size = x->dims[3];
        return 0;
    }
    if (x->rank != 3 || heads <= 0)
        return om_fail(c->err, OM_E_FORMAT,
                       "input 0 of shape %s has neither rank 4 nor rank 3 with num_heads",
                       om_inf_shape_text(c, x->dims, x->rank));
    *size = om_dim_div(c->d, x->dims[2], h);
    if (om_dim_mul(c->d, *size, h) != x->dims[2])
        return om_fail(c->err, OM_E_FORMAT, "%s features do not make %" PRId64 " heads",
                       om_inf_text(c, x->dims[2]), heads);
    return 0;
}

/* The rotated part of a head: rotary_embedding_dim, or all of it. */
static int rotary_dim(struct om_inf *c, om_dim head_size, om_dim *dim)
{
    const int64_t r = om_node_int(c->n, "rotary_embedding_dim", 0);
    int64_t size;

    *dim = r ? om_dim_const(c->d, r) : head_size;
    if (r < 0 || r % 2 != 0 || (om_dim_is_const(c->d, head_size, &size) && r > size))
        return om_fail(c->err, OM_E_FORMAT, "%" PRId64 " rotary dims do not fit heads of size %s",
                       r, om_inf_text(c, head_size));
    return 0;
}

/* cos and sin: [B or 1, S, dim/2] for every position, or [max, dim/2] to be looked up by
 * position_ids [B or 1, S]. */
static int rotary_tables(struct om_inf *c, om_dim batch, om_dim seq, om_dim half)
{
    const struct om_value *cos = om_inf_in(c, 1), *ids = om_inf_in(c, 3);
    const struct om_shape rows = { .rank = ids ? 2 : 3, .dims = { batch, seq, half } };

    OM_TRY(check_rank(c, 1, ids ? 2 : 3));
    OM_TRY(check_rank(c, 2, ids ? 2 : 3));
    for (uint32_t k = 0; k < cos->rank; k++)
        OM_TRY(same_axis(c, 1, 2, k));
    if (om_inf_merge(c, cos->dims[cos->rank - 1], half) == 0)
        return om_fail(c->err, OM_E_FORMAT,
                       "the tables have %s columns, half of the rotary dims is %s",
                       om_inf_text(c, cos->dims[cos->rank - 1]), om_inf_text(c, half));
    if (!ids)
        return om_inf_broadcast_into(c, &rows, cos, "the table");
    if (ids->rank != 2 || ids->dtype != OM_I64)
        return om_fail(c->err, OM_E_FORMAT, "position_ids are %s%s, not int64 of rank 2",
                       om_dtype_text(ids->dtype), om_inf_shape_text(c, ids->dims, ids->rank));
    return om_inf_broadcast_into(c, &rows, ids, "position_ids");
}

int om_inf_rotary(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    const struct om_shape s = om_inf_shape(x);
    om_dim size = 0, dim = 0;

    OM_TRY(om_inf_class(c, 0, OM_CLASS_FLOAT));
    OM_TRY(om_inf_same_dtype(c, 0, 1));
    OM_TRY(om_inf_same_dtype(c, 0, 2));
    OM_TRY(rotary_head_size(c, x, &size));
    OM_TRY(rotary_dim(c, size, &dim));
    dim = om_dim_div(c->d, dim, om_dim_const(c->d, 2));
    OM_TRY(rotary_tables(c, x->dims[0], x->dims[x->rank == 4 ? 2 : 1], dim));
    return om_inf_set(c, 0, x->dtype, &s);
}

/* ---- branches ---- */

static int branch(struct om_inf *c, const char *name, const struct om_block **out)
{
    const struct om_attr *a = om_node_attr(c->n, name);

    if (!a || a->kind != OM_ATTR_BLOCK || a->i < 1 || (uint64_t)a->i >= c->g->n_blocks)
        return om_fail(c->err, OM_E_FORMAT, "attribute %s is not a branch", name);
    *out = &c->g->blocks[a->i];
    if ((*out)->parent != c->n->block)
        return om_fail(c->err, OM_E_INTERNAL, "%s belongs to another block", name);
    if ((*out)->n_outputs != c->n->n_out)
        return om_fail(c->err, OM_E_FORMAT, "%s gives %zu values, %" PRIu32 " are expected", name,
                       (*out)->n_outputs, c->n->n_out);
    return 0;
}

/* Output i: what both branches have in common. */
static int if_output(struct om_inf *c, uint32_t i, om_val then_val, om_val else_val)
{
    const struct om_value *a = om_graph_value(c->g, then_val), *b = om_graph_value(c->g, else_val);
    struct om_shape s = om_inf_shape(a);

    if (then_val.id == 0 || else_val.id == 0)
        return om_fail(c->err, OM_E_INTERNAL, "output %" PRIu32 " of a branch has no value", i);
    if (a->dtype != b->dtype)
        return om_fail(c->err, OM_E_FORMAT, "the branches give %s and %s for output %" PRIu32,
                       om_dtype_text(a->dtype), om_dtype_text(b->dtype), i);
    if (a->rank != b->rank)
        return om_fail(c->err, OM_E_FORMAT,
                       "the branches give ranks %" PRIu32 " and %" PRIu32 " for output %" PRIu32,
                       a->rank, b->rank, i);
    for (uint32_t k = 0; k < s.rank; k++)
        if (a->dims[k] != b->dims[k])
            s.dims[k] = om_dim_fresh(c->d);
    return om_inf_set(c, i, a->dtype, &s);
}

int om_inf_if(struct om_inf *c)
{
    const struct om_value *cond = om_inf_in(c, 0);
    const struct om_block *then_block, *else_block;
    int64_t n = 1;

    OM_TRY(om_inf_class(c, 0, OM_CLASS_BOOL));
    if (cond->rank > 1 || (cond->rank == 1 && om_dim_is_const(c->d, cond->dims[0], &n) && n != 1))
        return om_fail(c->err, OM_E_FORMAT, "the condition of shape %s is not one element",
                       om_inf_shape_text(c, cond->dims, cond->rank));
    OM_TRY(branch(c, "then_branch", &then_block));
    OM_TRY(branch(c, "else_branch", &else_block));
    for (uint32_t i = 0; i < c->n->n_out; i++)
        OM_TRY(if_output(c, i, then_block->outputs[i].val, else_block->outputs[i].val));
    return 0;
}
