/* src/fuse/shape_rules.c: types and shapes of one node of a document.
 *
 * Inference of the IR is asked first. It takes an extent that it does not know for equal to
 * whatever it meets; where that would be a guess (one of two broadcast axes may be 1), the result
 * is not known here. It refuses what contradicts the declared names of axes; here the names may be
 * wrong, so only the axis in question is not known. */
#include "fuse/shapes.h"

/* ---- operands ---- */

static const struct om_value *in(const struct fz_look *k, uint32_t i)
{
    return i < k->node.n_in && k->node.in[i].id != 0 ? om_graph_value(k->g, k->node.in[i]) : NULL;
}

static int set(struct fz_look *k, uint32_t i, enum om_dtype dtype, uint32_t rank,
               const om_dim *dims)
{
    struct om_value *v;
    om_dim *copy;

    if (i >= k->node.n_out || rank > OM_RANK_MAX)
        return 1;
    for (uint32_t j = 0; j < rank; j++)
        if (dims[j] == 0)
            return om_dims_no_memory(k->g->dims) ? om_fail(k->err, OM_E_NOMEM, "out of memory") : 1;
    copy = om_arena_copy(k->g->arena, dims, rank * sizeof(*copy));
    if (!copy)
        return om_fail(k->err, OM_E_NOMEM, "out of memory");
    v = &k->g->values[k->node.out[i].id];
    *v = (struct om_value){
        .dtype = dtype, .rank = rank, .dims = copy, .node = OM_NO_NODE, .weight = OM_NO_WEIGHT
    };
    return 0;
}

static bool is_const(const struct fz_look *k, om_dim a, int64_t *v)
{
    return om_dim_is_const(k->g->dims, a, v);
}

static bool is_unknown(const struct fz_look *k, om_dim a)
{
    return om_dim_is_unknown(k->g->dims, a);
}

/* ---- broadcasting, without guesses ---- */

/* Of two extents that are broadcast: a number above 1 wins, whatever the other is. */
static om_dim broadcast(const struct fz_look *k, om_dim a, om_dim b)
{
    int64_t v;

    if (a == b)
        return a;
    if (is_const(k, a, &v))
        return v == 1 ? b : a;
    if (is_const(k, b, &v))
        return v == 1 ? a : b;
    return om_dim_fresh(k->g->dims);
}

/* dims[0..*rank) with those of v, from the end; the last skip axes are left alone. */
static bool broadcast_with(const struct fz_look *k, om_dim *dims, uint32_t *rank, uint32_t v_rank,
                           const om_dim *v, uint32_t skip)
{
    om_dim out[OM_RANK_MAX];
    const uint32_t r = OM_MAX(*rank, v_rank);

    if (r > OM_RANK_MAX)
        return false;
    for (uint32_t i = 1; i <= r; i++) {
        if (i > v_rank || i <= skip)
            out[r - i] = i > *rank ? v[v_rank - i] : dims[*rank - i];
        else
            out[r - i] = i > *rank ? v[v_rank - i] : broadcast(k, dims[*rank - i], v[v_rank - i]);
    }
    memcpy(dims, out, r * sizeof(*dims));
    *rank = r;
    return true;
}

struct spread {
    enum om_op op;
    uint32_t skip;    /* axes at the end that are not broadcast */
    uint32_t type_of; /* the input that gives the type; UINT32_MAX: bool */
};

static const struct spread spreads[] = {
    { OM_OP_Add, 0, 0 },
    { OM_OP_Sub, 0, 0 },
    { OM_OP_Mul, 0, 0 },
    { OM_OP_Div, 0, 0 },
    { OM_OP_Mod, 0, 0 },
    { OM_OP_Pow, 0, 0 },
    { OM_OP_Min, 0, 0 },
    { OM_OP_Max, 0, 0 },
    { OM_OP_Equal, 0, UINT32_MAX },
    { OM_OP_Greater, 0, UINT32_MAX },
    { OM_OP_GreaterOrEqual, 0, UINT32_MAX },
    { OM_OP_Less, 0, UINT32_MAX },
    { OM_OP_LessOrEqual, 0, UINT32_MAX },
    { OM_OP_And, 0, UINT32_MAX },
    { OM_OP_Or, 0, UINT32_MAX },
    { OM_OP_Where, 0, 1 },
    { OM_OP_Expand, 0, 0 },
    { OM_OP_MatMul, 2, 0 },
};

static const struct spread *find_spread(enum om_op op)
{
    for (size_t i = 0; i < OM_COUNT(spreads); i++)
        if (spreads[i].op == op)
            return &spreads[i];
    return NULL;
}

/* Inputs that are broadcast, as shapes: of Expand the second is the shape itself. */
static bool spread_operand(const struct fz_look *k, enum om_op op, uint32_t i, uint32_t *rank,
                           const om_dim **dims)
{
    const struct om_value *const v = in(k, i);
    const bool is_shape = op == OM_OP_Expand && i == 1;

    if (!v || (is_shape && (!v->content || v->rank != 1)))
        return false;
    *rank = is_shape ? v->n_content : v->rank;
    *dims = is_shape ? v->content : v->dims;
    return true;
}

/* A matrix product has the last axis of its second operand. */
static bool matrix_axes(const struct fz_look *k, om_dim *dims, uint32_t rank)
{
    const struct om_value *const a = in(k, 0), *const b = in(k, 1);

    if (a->rank < 2 || b->rank < 2)
        return false;
    dims[rank - 2] = a->dims[a->rank - 2];
    dims[rank - 1] = b->dims[b->rank - 1];
    return true;
}

static int spread_shape(const struct fz_look *k, const struct spread *s, om_dim *dims,
                        uint32_t *rank)
{
    const uint32_t n = s->op == OM_OP_Expand ? 2 : k->node.n_in;

    *rank = 0;
    for (uint32_t i = 0; i < n; i++) {
        const om_dim *other;
        uint32_t r;

        if (!spread_operand(k, s->op, i, &r, &other) ||
            !broadcast_with(k, dims, rank, r, other, i == 0 ? 0 : s->skip))
            return 1;
    }
    return s->op == OM_OP_MatMul && !matrix_axes(k, dims, *rank) ? 1 : 0;
}

/* Inference refused: the axes that are not in question. */
static int spread_refused(struct fz_look *k, const struct spread *s)
{
    const struct om_value *const typed = in(k, s->type_of == UINT32_MAX ? 0 : s->type_of);
    om_dim dims[OM_RANK_MAX];
    uint32_t rank;

    if (spread_shape(k, s, dims, &rank) != 0)
        return 1;
    return set(k, 0, s->type_of == UINT32_MAX ? OM_BOOL : typed->dtype, rank, dims);
}

/* Inference took an unknown extent for a named one: as it may be the other that is 1, neither is
 * the result's. */
static int spread_guessed(struct fz_look *k, const struct spread *s)
{
    struct om_value *const v = &k->g->values[k->node.out[0].id];
    om_dim dims[OM_RANK_MAX], *copy;
    bool guessed = false;
    uint32_t rank;

    if (v->content || spread_shape(k, s, dims, &rank) != 0 || rank != v->rank)
        return 0;
    copy = om_arena_copy(k->g->arena, v->dims, rank * sizeof(*copy));
    if (!copy)
        return om_fail(k->err, OM_E_NOMEM, "out of memory");
    for (uint32_t i = 0; i < rank; i++)
        if (dims[i] != 0 && is_unknown(k, dims[i]) && !is_unknown(k, v->dims[i])) {
            copy[i] = dims[i];
            guessed = true;
        }
    if (guessed)
        v->dims = copy;
    return 0;
}

/* A target that the declared names contradict: what it says is what comes out. */
static int reshape_refused(struct fz_look *k)
{
    const struct om_value *const x = in(k, 0), *const want = in(k, 1);
    om_dim dims[OM_RANK_MAX];
    int64_t v;

    if (!want || !want->content || want->n_content > OM_RANK_MAX)
        return 1;
    for (uint32_t i = 0; i < want->n_content; i++) {
        dims[i] = want->content[i];
        if (!is_const(k, dims[i], &v) || v > 0)
            continue;
        if (v == 0 && i < x->rank && om_node_int(&k->node, "allowzero", 0) == 0)
            dims[i] = x->dims[i];
        else if (v < 0)
            dims[i] = om_dim_fresh(k->g->dims);
    }
    return set(k, 0, x->dtype, want->n_content, dims);
}

/* ---- by the IR ---- */

static int infer(struct fz_look *k, enum om_op op)
{
    const struct spread *const s = find_spread(op);
    struct om_error why = OM_ERROR_INIT;
    int rc;

    k->node.op = op;
    rc = om_infer(k->g, &k->node, &why);
    om_error_release(&why);
    if (rc == OM_E_NOMEM)
        return om_fail(k->err, OM_E_NOMEM, "out of memory");
    if (rc == 0)
        return s ? spread_guessed(k, s) : 0;
    if (!in(k, 0) || !in(k, 1))
        return 1;
    if (s)
        return spread_refused(k, s);
    return op == OM_OP_Reshape ? reshape_refused(k) : 1;
}

/* ---- operators that the IR does not have ---- */

typedef int look_fn(struct fz_look *k);

/* [product of the axes before, product of the others] */
static int flatten(struct fz_look *k)
{
    const struct om_value *const x = in(k, 0);
    int64_t axis = om_node_int(&k->node, "axis", 1);
    om_dim dims[2] = { om_dim_const(k->g->dims, 1), om_dim_const(k->g->dims, 1) };

    if (axis < 0)
        axis += x->rank;
    if (axis < 0 || axis > x->rank)
        return 1;
    for (uint32_t i = 0; i < x->rank; i++)
        dims[i >= axis] = om_dim_mul(k->g->dims, dims[i >= axis], x->dims[i]);
    return set(k, 0, x->dtype, 2, dims);
}

static int size(struct fz_look *k)
{
    const struct om_value *const x = in(k, 0);
    om_dim *const product = om_arena_alloc(k->g->arena, sizeof(*product));
    int rc;

    if (!product)
        return om_fail(k->err, OM_E_NOMEM, "out of memory");
    *product = om_dim_const(k->g->dims, 1);
    for (uint32_t i = 0; i < x->rank && *product; i++)
        *product = om_dim_mul(k->g->dims, *product, x->dims[i]);
    rc = set(k, 0, OM_I64, 0, NULL);
    if (rc == 0 && *product) {
        k->g->values[k->node.out[0].id].content = product;
        k->g->values[k->node.out[0].id].n_content = 1;
    }
    return rc;
}

/* Batch, channels by the weight, and extents that strides and pads decide. */
static int convolution(struct fz_look *k)
{
    const struct om_value *const x = in(k, 0), *const w = in(k, 1);
    om_dim dims[OM_RANK_MAX];

    if (!w || x->rank < 3 || w->rank != x->rank)
        return 1;
    dims[0] = x->dims[0];
    dims[1] = w->dims[0];
    for (uint32_t i = 2; i < x->rank; i++)
        dims[i] = om_dim_fresh(k->g->dims);
    return set(k, 0, x->dtype, x->rank, dims);
}

static int pool(struct fz_look *k)
{
    const struct om_value *const x = in(k, 0);
    om_dim dims[OM_RANK_MAX];

    if (x->rank < 3)
        return 1;
    for (uint32_t i = 0; i < x->rank; i++)
        dims[i] = i < 2 ? x->dims[i] : om_dim_fresh(k->g->dims);
    return set(k, 0, x->dtype, x->rank, dims);
}

static int global_pool(struct fz_look *k)
{
    const struct om_value *const x = in(k, 0);
    om_dim dims[OM_RANK_MAX];

    if (x->rank < 3)
        return 1;
    for (uint32_t i = 0; i < x->rank; i++)
        dims[i] = i < 2 ? x->dims[i] : om_dim_const(k->g->dims, 1);
    return set(k, 0, x->dtype, x->rank, dims);
}

/* As many axes, of other extents. */
static int resized(struct fz_look *k)
{
    const struct om_value *const x = in(k, 0);
    om_dim dims[OM_RANK_MAX];

    for (uint32_t i = 0; i < x->rank; i++)
        dims[i] = om_dim_fresh(k->g->dims);
    return set(k, 0, x->dtype, x->rank, dims);
}

static int non_zero(struct fz_look *k)
{
    const om_dim dims[] = { om_dim_const(k->g->dims, in(k, 0)->rank), om_dim_fresh(k->g->dims) };

    return set(k, 0, OM_I64, 2, dims);
}

static int sum(struct fz_look *k)
{
    return spread_refused(k, &(struct spread){ OM_OP_Add, 0, 0 });
}

static int is_special(struct fz_look *k)
{
    const struct om_value *const x = in(k, 0);

    return set(k, 0, OM_BOOL, x->rank, x->dims);
}

static int cast_like(struct fz_look *k)
{
    const struct om_value *const x = in(k, 0), *const y = in(k, 1);

    return y ? set(k, 0, y->dtype, x->rank, x->dims) : 1;
}

/* All that is normalized and the sum that was. */
static int skip_norm(struct fz_look *k)
{
    const struct om_value *const x = in(k, 0);
    int rc = set(k, 0, x->dtype, x->rank, x->dims);

    if (rc == 0 && k->node.n_out > 3 && k->n->out[3].len > 0)
        rc = set(k, 3, x->dtype, x->rank, x->dims);
    return rc;
}

static int same(struct fz_look *k)
{
    const struct om_value *const x = in(k, 0);

    return set(k, 0, x->dtype, x->rank, x->dims);
}

static const struct {
    const char *domain, *op;
    look_fn *look; /* NULL: as the operator of the IR */
    enum om_op as;
} others[] = {
    { "", "Acos", NULL, OM_OP_Cos },
    { "", "Acosh", NULL, OM_OP_Cos },
    { "", "ArgMin", NULL, OM_OP_ArgMax },
    { "", "Asin", NULL, OM_OP_Cos },
    { "", "Asinh", NULL, OM_OP_Cos },
    { "", "Atan", NULL, OM_OP_Cos },
    { "", "Atanh", NULL, OM_OP_Cos },
    { "", "AveragePool", pool, OM_OP_NONE },
    { "", "BatchNormalization", same, OM_OP_NONE },
    { "", "BitwiseNot", same, OM_OP_NONE },
    { "", "CastLike", cast_like, OM_OP_NONE },
    { "", "Celu", NULL, OM_OP_Relu },
    { "", "Conv", convolution, OM_OP_NONE },
    { "", "Cosh", NULL, OM_OP_Cos },
    { "", "Dropout", same, OM_OP_NONE },
    { "", "Elu", NULL, OM_OP_Relu },
    { "", "Flatten", flatten, OM_OP_NONE },
    { "", "GlobalAveragePool", global_pool, OM_OP_NONE },
    { "", "GlobalMaxPool", global_pool, OM_OP_NONE },
    { "", "GroupNormalization", same, OM_OP_NONE },
    { "", "HardSigmoid", NULL, OM_OP_Sigmoid },
    { "", "HardSwish", NULL, OM_OP_Sigmoid },
    { "", "Hardmax", NULL, OM_OP_Softmax },
    { "", "InstanceNormalization", same, OM_OP_NONE },
    { "", "IsInf", is_special, OM_OP_NONE },
    { "", "IsNaN", is_special, OM_OP_NONE },
    { "", "LogSoftmax", NULL, OM_OP_Softmax },
    { "", "LpNormalization", same, OM_OP_NONE },
    { "", "MaxPool", pool, OM_OP_NONE },
    { "", "Mean", sum, OM_OP_NONE },
    { "", "NonZero", non_zero, OM_OP_NONE },
    { "", "PRelu", same, OM_OP_NONE },
    { "", "Pad", resized, OM_OP_NONE },
    { "", "ReduceL1", NULL, OM_OP_ReduceL2 },
    { "", "ReduceLogSumExp", NULL, OM_OP_ReduceL2 },
    { "", "ReduceProd", NULL, OM_OP_ReduceMax },
    { "", "ReduceSumSquare", NULL, OM_OP_ReduceMax },
    { "", "Resize", resized, OM_OP_NONE },
    { "", "ScatterElements", same, OM_OP_NONE },
    { "", "ScatterND", same, OM_OP_NONE },
    { "", "Selu", NULL, OM_OP_Relu },
    { "", "SimplifiedLayerNormalization", same, OM_OP_NONE },
    { "", "Sinh", NULL, OM_OP_Cos },
    { "", "Size", size, OM_OP_NONE },
    { "", "Softsign", NULL, OM_OP_Relu },
    { "", "Sum", sum, OM_OP_NONE },
    { "", "Tan", NULL, OM_OP_Cos },
    { "", "ThresholdedRelu", NULL, OM_OP_Relu },
    { "", "Xor", NULL, OM_OP_Or },
    { "com.microsoft", "BiasGelu", same, OM_OP_NONE },
    { "com.microsoft", "FastGelu", same, OM_OP_NONE },
    { "com.microsoft", "Gelu", same, OM_OP_NONE },
    { "com.microsoft", "QuickGelu", same, OM_OP_NONE },
    { "com.microsoft", "RotaryEmbedding", same, OM_OP_NONE },
    { "com.microsoft", "SkipLayerNormalization", skip_norm, OM_OP_NONE },
    { "com.microsoft", "SkipSimplifiedLayerNormalization", skip_norm, OM_OP_NONE },
};

static int look_other(struct fz_look *k)
{
    const om_sv domain = om_sv_is(k->n->domain, "ai.onnx") ? om_sv_str("") : k->n->domain;

    if (k->node.n_in == 0 || !in(k, 0))
        return 1;
    for (size_t i = 0; i < OM_COUNT(others); i++)
        if (om_sv_is(domain, others[i].domain) && om_sv_is(k->n->op, others[i].op))
            return others[i].look ? others[i].look(k) : infer(k, others[i].as);
    return 1;
}

int fz_look_at(struct fz_look *k)
{
    const bool standard = k->n->domain.len == 0 || om_sv_is(k->n->domain, "ai.onnx");
    const enum om_op op = om_op_find(standard ? om_sv_str("") : k->n->domain, k->n->op);

    if (!k->known)
        return 1;
    if (op == OM_OP_NONE || op == OM_OP_Linear || op == OM_OP_Dims || op == OM_OP_If)
        return look_other(k);
    return infer(k, op);
}
