/* src/ir/infer.c: types and symbolic shapes of nodes: the table of rules, what they share, and the
 * elementwise ones.
 *
 * An extent that only values decide becomes a fresh symbol. Such a symbol, unlike the named ones,
 * is taken to be equal to whatever it meets, which is what graphs of other exporters need. */
#include "ir/internal.h"

/* ---- what rules share ---- */

const struct om_value *om_inf_in(const struct om_inf *c, uint32_t i)
{
    return i < c->n->n_in && c->n->in[i].id != 0 ? om_graph_value(c->g, c->n->in[i]) : NULL;
}

static int no_memory(struct om_inf *c)
{
    return om_fail(c->err, OM_E_NOMEM, "out of memory for shapes");
}

int om_inf_set(struct om_inf *c, uint32_t i, enum om_dtype dtype, const struct om_shape *s)
{
    struct om_value *v;
    om_dim *dims;

    if (i >= c->n->n_out)
        return 0;
    if (s->rank > OM_RANK_MAX)
        return om_fail(c->err, OM_E_UNSUPPORTED, "rank %" PRIu32 " is above %d", s->rank,
                       OM_RANK_MAX);
    for (uint32_t k = 0; k < s->rank; k++)
        if (s->dims[k] == 0)
            return om_fail(c->err, OM_E_LIMIT, "the extent of axis %" PRIu32 " is too large", k);
    dims = om_arena_copy(c->g->arena, s->dims, s->rank * sizeof(*dims));
    if (!dims)
        return no_memory(c);
    v = &c->g->values[c->n->out[i].id];
    v->dtype = dtype;
    v->rank = s->rank;
    v->dims = dims;
    v->content = NULL;
    v->n_content = 0;
    return 0;
}

int om_inf_content(struct om_inf *c, uint32_t i, const om_dim *content, size_t n)
{
    struct om_value *v = &c->g->values[c->n->out[i].id];

    if (n > OM_CONTENT_MAX || v->rank > 1 || !om_content_dtype(v->dtype))
        return 0;
    for (size_t k = 0; k < n; k++)
        if (content[k] == 0)
            return 0;
    v->content = om_arena_copy(c->g->arena, content, n * sizeof(*content));
    if (!v->content)
        return no_memory(c);
    v->n_content = (uint32_t)n;
    return 0;
}

struct om_shape om_inf_shape(const struct om_value *v)
{
    struct om_shape s = { .rank = v->rank };

    if (v->rank > 0)
        memcpy(s.dims, v->dims, v->rank * sizeof(*v->dims));
    return s;
}

const char *om_inf_text(const struct om_inf *c, om_dim d)
{
    return om_dim_text(c->d, d);
}

const char *om_inf_shape_text(const struct om_inf *c, const om_dim *dims, size_t n)
{
    const char *text = "";

    for (size_t i = 0; i < n && text; i++)
        text = om_arena_printf(c->g->arena, "%s%s%s", text, i ? ", " : "", om_inf_text(c, dims[i]));
    text = text ? om_arena_printf(c->g->arena, "[%s]", text) : NULL;
    return text ? text : "?";
}

om_dim om_inf_merge(const struct om_inf *c, om_dim a, om_dim b)
{
    if (a == b)
        return a;
    if (om_dim_is_unknown(c->d, a))
        return b;
    return om_dim_is_unknown(c->d, b) ? a : 0;
}

static om_dim broadcast_axis(const struct om_inf *c, om_dim a, om_dim b)
{
    const om_dim both = om_dim_broadcast(c->d, a, b);

    return both != 0 ? both : om_inf_merge(c, a, b);
}

int om_inf_broadcast(struct om_inf *c, struct om_shape *s, const struct om_value *v)
{
    struct om_shape r = { .rank = OM_MAX(s->rank, v->rank) };

    for (uint32_t i = 1; i <= r.rank; i++) {
        om_dim *out = &r.dims[r.rank - i];
        if (i > s->rank)
            *out = v->dims[v->rank - i];
        else if (i > v->rank)
            *out = s->dims[s->rank - i];
        else
            *out = broadcast_axis(c, s->dims[s->rank - i], v->dims[v->rank - i]);
        if (*out == 0)
            return om_fail(
                c->err, OM_E_FORMAT, "shapes %s and %s do not broadcast: %s against %s",
                om_inf_shape_text(c, s->dims, s->rank), om_inf_shape_text(c, v->dims, v->rank),
                om_inf_text(c, s->dims[s->rank - i]), om_inf_text(c, v->dims[v->rank - i]));
    }
    *s = r;
    return 0;
}

int om_inf_broadcast_into(struct om_inf *c, const struct om_shape *s, const struct om_value *v,
                          const char *what)
{
    bool fits = v->rank <= s->rank;

    for (uint32_t i = 1; fits && i <= v->rank; i++) {
        const om_dim have = v->dims[v->rank - i], want = s->dims[s->rank - i];
        const om_dim both = broadcast_axis(c, want, have);
        fits = both != 0 && (both == want || om_dim_is_unknown(c->d, want));
    }
    if (fits)
        return 0;
    return om_fail(c->err, OM_E_FORMAT, "%s of shape %s does not broadcast to %s", what,
                   om_inf_shape_text(c, v->dims, v->rank), om_inf_shape_text(c, s->dims, s->rank));
}

int om_inf_axis(struct om_inf *c, int64_t axis, uint32_t rank, uint32_t *out)
{
    const int64_t r = rank;

    if (axis < -r || axis >= r)
        return om_fail(c->err, OM_E_FORMAT, "axis %" PRId64 " is outside rank %" PRIu32, axis,
                       rank);
    *out = (uint32_t)(axis < 0 ? axis + r : axis);
    return 0;
}

static unsigned dtype_class(enum om_dtype dtype)
{
    switch (dtype) {
    case OM_F32:
    case OM_F16:
    case OM_BF16:
    case OM_F64:
        return OM_CLASS_FLOAT;
    case OM_U8:
    case OM_I8:
    case OM_U16:
    case OM_I16:
    case OM_I32:
    case OM_I64:
    case OM_U32:
    case OM_U64:
        return OM_CLASS_INT;
    case OM_BOOL:
        return OM_CLASS_BOOL;
    case OM_DTYPE_NONE:
    case OM_DTYPE_COUNT:
        break;
    }
    return 0;
}

int om_inf_class(struct om_inf *c, uint32_t i, unsigned classes)
{
    static const char *const names[8] = { [OM_CLASS_FLOAT] = "floating point",
                                          [OM_CLASS_INT] = "integer",
                                          [OM_CLASS_BOOL] = "bool",
                                          [OM_CLASS_NUMBER] = "numeric",
                                          [OM_CLASS_ANY] = "known" };
    const struct om_value *v = om_inf_in(c, i);

    if (!v || (dtype_class(v->dtype) & classes))
        return 0;
    return om_fail(c->err, OM_E_FORMAT, "input %" PRIu32 " is %s, not %s", i,
                   om_dtype_text(v->dtype), names[classes & 7] ? names[classes & 7] : "?");
}

int om_inf_same_dtype(struct om_inf *c, uint32_t i, uint32_t j)
{
    const struct om_value *a = om_inf_in(c, i), *b = om_inf_in(c, j);

    if (!a || !b || a->dtype == b->dtype)
        return 0;
    return om_fail(c->err, OM_E_FORMAT, "inputs %" PRIu32 " and %" PRIu32 " are %s and %s", i, j,
                   om_dtype_text(a->dtype), om_dtype_text(b->dtype));
}

int om_inf_vector(struct om_inf *c, uint32_t i, const om_dim **content, uint32_t *length)
{
    const struct om_value *v = om_inf_in(c, i);
    int64_t n = 1;

    if (v->rank > 1 || (v->dtype != OM_I64 && v->dtype != OM_I32))
        return om_fail(c->err, OM_E_FORMAT, "input %" PRIu32 " is %s%s, not a list of integers", i,
                       om_dtype_text(v->dtype), om_inf_shape_text(c, v->dims, v->rank));
    *content = v->content;
    if (v->rank == 1 && !om_dim_is_const(c->d, v->dims[0], &n))
        n = UINT32_MAX;
    *length = v->content ? v->n_content : (uint32_t)OM_MIN(n, UINT32_MAX);
    return v->content != NULL;
}

int om_inf_ints(struct om_inf *c, uint32_t i, int64_t *out, uint32_t max, uint32_t *length)
{
    const om_dim *content;
    int rc = om_inf_vector(c, i, &content, length);

    if (rc < 0)
        return rc;
    for (uint32_t k = 0; rc > 0 && k < *length; k++)
        if (k >= max || !om_dim_is_const(c->d, content[k], &out[k]))
            rc = 0;
    if (rc > 0)
        return 0;
    return om_fail(c->err, OM_E_UNSUPPORTED,
                   "input %" PRIu32 " has to be a list of at most %" PRIu32 " constants", i, max);
}

om_dim om_inf_product(const struct om_inf *c, const om_dim *dims, size_t n)
{
    om_dim p = om_dim_const(c->d, 1);

    for (size_t i = 0; i < n; i++)
        p = om_dim_mul(c->d, p, dims[i]);
    return p;
}

/* ---- elementwise operators ---- */

/* What elementwise operators accept, by operator. */
static unsigned operand_classes(enum om_op op)
{
    static const uint8_t classes[OM_OP_COUNT] = {
        [OM_OP_Abs] = OM_CLASS_NUMBER,     [OM_OP_Identity] = OM_CLASS_ANY,
        [OM_OP_Neg] = OM_CLASS_NUMBER,     [OM_OP_Not] = OM_CLASS_BOOL,
        [OM_OP_Relu] = OM_CLASS_NUMBER,    [OM_OP_Sign] = OM_CLASS_NUMBER,
        [OM_OP_Equal] = OM_CLASS_ANY,      [OM_OP_Add] = OM_CLASS_NUMBER,
        [OM_OP_Sub] = OM_CLASS_NUMBER,     [OM_OP_Mul] = OM_CLASS_NUMBER,
        [OM_OP_Div] = OM_CLASS_NUMBER,     [OM_OP_Mod] = OM_CLASS_NUMBER,
        [OM_OP_Max] = OM_CLASS_NUMBER,     [OM_OP_Min] = OM_CLASS_NUMBER,
        [OM_OP_Greater] = OM_CLASS_NUMBER, [OM_OP_GreaterOrEqual] = OM_CLASS_NUMBER,
        [OM_OP_Less] = OM_CLASS_NUMBER,    [OM_OP_LessOrEqual] = OM_CLASS_NUMBER,
        [OM_OP_And] = OM_CLASS_BOOL,       [OM_OP_Or] = OM_CLASS_BOOL,
    };

    return classes[op] ? classes[op] : OM_CLASS_FLOAT;
}

/* One element of a unary operator on contents; 0 when it is not known. */
static om_dim content_unary(const struct om_inf *c, om_dim a)
{
    int64_t v;

    switch ((int)c->n->op) {
    case OM_OP_Identity:
        return a;
    case OM_OP_Neg:
        return om_dim_sub(c->d, om_dim_const(c->d, 0), a);
    case OM_OP_Not:
        return om_dim_is_const(c->d, a, &v) ? om_dim_const(c->d, v == 0) : 0;
    default:
        return 0;
    }
}

int om_inf_unary(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    const struct om_shape s = om_inf_shape(x);
    om_dim out[OM_CONTENT_MAX];
    const uint32_t n = x->n_content;

    OM_TRY(om_inf_class(c, 0, operand_classes(c->n->op)));
    for (uint32_t i = 0; x->content && i < n; i++)
        out[i] = content_unary(c, x->content[i]);
    OM_TRY(om_inf_set(c, 0, x->dtype, &s));
    return x->content ? om_inf_content(c, 0, out, n) : 0;
}

int om_inf_clip(struct om_inf *c)
{
    for (uint32_t i = 1; i < 3; i++) {
        const struct om_value *v = om_inf_in(c, i);
        OM_TRY(om_inf_same_dtype(c, 0, i));
        if (v && v->rank != 0)
            return om_fail(c->err, OM_E_FORMAT, "input %" PRIu32 " of shape %s is not a scalar", i,
                           om_inf_shape_text(c, v->dims, v->rank));
    }
    OM_TRY(om_inf_class(c, 0, OM_CLASS_NUMBER));
    const struct om_shape s = om_inf_shape(om_inf_in(c, 0));
    return om_inf_set(c, 0, om_inf_in(c, 0)->dtype, &s);
}

/* Whether every coefficient is positive (sign 1) or negative (sign -1), so that the dim has that
 * sign whatever the symbols (which count something) are; 0 is neither. */
static bool has_sign(const struct om_inf *c, om_dim a, int sign)
{
    const struct om_dim_term *t;
    const size_t n = om_dim_terms(c->d, a, &t);

    for (size_t i = 0; i < n; i++)
        if ((t[i].coef < 0) != (sign < 0))
            return false;
    return n > 0;
}

bool om_inf_negative(const struct om_inf *c, om_dim a)
{
    return has_sign(c, a, -1);
}

/* The sign of a - b, where it is the same whatever the symbols are. */
static bool known_order(const struct om_inf *c, om_dim a, om_dim b, int *sign)
{
    const om_dim difference = om_dim_sub(c->d, a, b);
    int64_t v;

    if (difference != 0 && om_dim_is_const(c->d, difference, &v))
        *sign = (v > 0) - (v < 0);
    else if (has_sign(c, a, -1) && has_sign(c, b, 1))
        *sign = -1;
    else if (has_sign(c, a, 1) && has_sign(c, b, -1))
        *sign = 1;
    else
        return false;
    return true;
}

/* What a comparison gives; 0 when it depends on symbols. */
static om_dim compared(const struct om_inf *c, om_dim a, om_dim b)
{
    int sign;

    if (!known_order(c, a, b, &sign))
        return 0;
    switch ((int)c->n->op) {
    case OM_OP_Equal:
        return om_dim_const(c->d, sign == 0);
    case OM_OP_Less:
        return om_dim_const(c->d, sign < 0);
    case OM_OP_LessOrEqual:
        return om_dim_const(c->d, sign <= 0);
    case OM_OP_Greater:
        return om_dim_const(c->d, sign > 0);
    case OM_OP_GreaterOrEqual:
        return om_dim_const(c->d, sign >= 0);
    default:
        return 0;
    }
}

static om_dim trunc_div(const struct om_inf *c, om_dim a, om_dim b)
{
    int64_t x, y;

    if (!om_dim_is_const(c->d, a, &x) || !om_dim_is_const(c->d, b, &y))
        return om_dim_div(c->d, a, b);
    return y == 0 || (x == INT64_MIN && y == -1) ? 0 : om_dim_const(c->d, x / y);
}

/* One element of a binary operator on contents; 0 when it is not known. */
static om_dim content_binary(const struct om_inf *c, om_dim a, om_dim b)
{
    int64_t x, y;

    switch ((int)c->n->op) {
    case OM_OP_Add:
        return om_dim_add(c->d, a, b);
    case OM_OP_Sub:
        return om_dim_sub(c->d, a, b);
    case OM_OP_Mul:
        return om_dim_mul(c->d, a, b);
    case OM_OP_Div:
        return trunc_div(c, a, b);
    case OM_OP_Equal:
    case OM_OP_Less:
    case OM_OP_LessOrEqual:
    case OM_OP_Greater:
    case OM_OP_GreaterOrEqual:
        return compared(c, a, b);
    case OM_OP_And:
    case OM_OP_Or:
        if (!om_dim_is_const(c->d, a, &x) || !om_dim_is_const(c->d, b, &y))
            return 0;
        return om_dim_const(c->d, c->n->op == OM_OP_And ? x && y : x || y);
    case OM_OP_Max:
    case OM_OP_Min:
        if (a == b)
            return a;
        if (!om_dim_is_const(c->d, a, &x) || !om_dim_is_const(c->d, b, &y))
            return 0;
        return (c->n->op == OM_OP_Max) == (x > y) ? a : b;
    default:
        return 0;
    }
}

static int binary_content(struct om_inf *c, const struct om_value *a, const struct om_value *b)
{
    const uint32_t n = a->n_content == 1 ? b->n_content : a->n_content;
    om_dim out[OM_CONTENT_MAX];

    if (!a->content || !b->content || (b->n_content != n && b->n_content != 1))
        return 0;
    for (uint32_t i = 0; i < n; i++)
        out[i] = content_binary(c, a->content[a->n_content == 1 ? 0 : i],
                                b->content[b->n_content == 1 ? 0 : i]);
    return om_inf_content(c, 0, out, n);
}

/* Broadcast both operands; the result has dtype. */
static int binary(struct om_inf *c, enum om_dtype dtype)
{
    const struct om_value *a = om_inf_in(c, 0), *b = om_inf_in(c, 1);
    struct om_shape s = om_inf_shape(a);

    OM_TRY(om_inf_broadcast(c, &s, b));
    OM_TRY(om_inf_set(c, 0, dtype, &s));
    return binary_content(c, a, b);
}

int om_inf_binary(struct om_inf *c)
{
    OM_TRY(om_inf_class(c, 0, operand_classes(c->n->op)));
    OM_TRY(om_inf_same_dtype(c, 0, 1));
    return binary(c, om_inf_in(c, 0)->dtype);
}

int om_inf_pow(struct om_inf *c)
{
    OM_TRY(om_inf_class(c, 0, OM_CLASS_NUMBER));
    OM_TRY(om_inf_class(c, 1, OM_CLASS_NUMBER));
    return binary(c, om_inf_in(c, 0)->dtype);
}

int om_inf_compare(struct om_inf *c)
{
    OM_TRY(om_inf_class(c, 0, operand_classes(c->n->op)));
    OM_TRY(om_inf_same_dtype(c, 0, 1));
    return binary(c, OM_BOOL);
}

int om_inf_where(struct om_inf *c)
{
    const struct om_value *cond = om_inf_in(c, 0), *a = om_inf_in(c, 1), *b = om_inf_in(c, 2);
    struct om_shape s = om_inf_shape(cond);
    om_dim out[OM_CONTENT_MAX];
    int64_t v;

    OM_TRY(om_inf_class(c, 0, OM_CLASS_BOOL));
    OM_TRY(om_inf_same_dtype(c, 1, 2));
    OM_TRY(om_inf_broadcast(c, &s, a));
    OM_TRY(om_inf_broadcast(c, &s, b));
    OM_TRY(om_inf_set(c, 0, a->dtype, &s));
    if (!cond->content || !a->content || !b->content || a->n_content != cond->n_content ||
        b->n_content != cond->n_content)
        return 0;
    for (uint32_t i = 0; i < cond->n_content; i++)
        out[i] = !om_dim_is_const(c->d, cond->content[i], &v) ? 0
                 : v                                          ? a->content[i]
                                                              : b->content[i];
    return om_inf_content(c, 0, out, cond->n_content);
}

int om_inf_cast(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    const int64_t to = om_node_int(c->n, "to", 0);
    const enum om_dtype dtype =
        to > 0 && to <= INT32_MAX ? om_dtype_from_onnx((int32_t)to) : OM_DTYPE_NONE;
    const struct om_shape s = om_inf_shape(x);

    if (dtype == OM_DTYPE_NONE)
        return om_fail(c->err, OM_E_UNSUPPORTED, "element type %" PRId64 " is not supported", to);
    OM_TRY(om_inf_set(c, 0, dtype, &s));
    if (!x->content || dtype == OM_BOOL)
        return 0;
    return om_inf_content(c, 0, x->content, x->n_content);
}

/* ---- the table ---- */

/* Operators that differ only in what they compute share a rule. */
static om_inf_fn *const rules[OM_OP_COUNT] = {
    [OM_OP_Abs] = om_inf_unary,
    [OM_OP_Add] = om_inf_binary,
    [OM_OP_And] = om_inf_compare,
    [OM_OP_ArgMax] = om_inf_argmax,
    [OM_OP_Attention] = om_inf_attention,
    [OM_OP_Cast] = om_inf_cast,
    [OM_OP_Ceil] = om_inf_unary,
    [OM_OP_Clip] = om_inf_clip,
    [OM_OP_Concat] = om_inf_concat,
    [OM_OP_ConstantOfShape] = om_inf_constant_of_shape,
    [OM_OP_Cos] = om_inf_unary,
    [OM_OP_CumSum] = om_inf_cumsum,
    [OM_OP_Dims] = om_inf_dims,
    [OM_OP_Div] = om_inf_binary,
    [OM_OP_Equal] = om_inf_compare,
    [OM_OP_Erf] = om_inf_unary,
    [OM_OP_Exp] = om_inf_unary,
    [OM_OP_Expand] = om_inf_expand,
    [OM_OP_Floor] = om_inf_unary,
    [OM_OP_Gather] = om_inf_gather,
    [OM_OP_GatherElements] = om_inf_gather_elements,
    [OM_OP_GatherND] = om_inf_gather_nd,
    [OM_OP_Gelu] = om_inf_unary,
    [OM_OP_Gemm] = om_inf_gemm,
    [OM_OP_Greater] = om_inf_compare,
    [OM_OP_GreaterOrEqual] = om_inf_compare,
    [OM_OP_GroupQueryAttention] = om_inf_grouped_attention,
    [OM_OP_Identity] = om_inf_unary,
    [OM_OP_If] = om_inf_if,
    [OM_OP_LayerNormalization] = om_inf_norm,
    [OM_OP_LeakyRelu] = om_inf_unary,
    [OM_OP_Less] = om_inf_compare,
    [OM_OP_LessOrEqual] = om_inf_compare,
    [OM_OP_Linear] = om_inf_linear,
    [OM_OP_Log] = om_inf_unary,
    [OM_OP_MatMul] = om_inf_matmul,
    [OM_OP_Max] = om_inf_binary,
    [OM_OP_Min] = om_inf_binary,
    [OM_OP_Mish] = om_inf_unary,
    [OM_OP_Mod] = om_inf_binary,
    [OM_OP_Mul] = om_inf_binary,
    [OM_OP_MultiHeadAttention] = om_inf_multi_head_attention,
    [OM_OP_Neg] = om_inf_unary,
    [OM_OP_Not] = om_inf_unary,
    [OM_OP_Or] = om_inf_compare,
    [OM_OP_PackedAttention] = om_inf_packed_attention,
    [OM_OP_Pow] = om_inf_pow,
    [OM_OP_RMSNormalization] = om_inf_norm,
    [OM_OP_Range] = om_inf_range,
    [OM_OP_Reciprocal] = om_inf_unary,
    [OM_OP_ReduceL2] = om_inf_reduce,
    [OM_OP_ReduceMax] = om_inf_reduce,
    [OM_OP_ReduceMean] = om_inf_reduce,
    [OM_OP_ReduceMin] = om_inf_reduce,
    [OM_OP_ReduceSum] = om_inf_reduce,
    [OM_OP_Relu] = om_inf_unary,
    [OM_OP_Reshape] = om_inf_reshape,
    [OM_OP_RotaryEmbedding] = om_inf_rotary,
    [OM_OP_Round] = om_inf_unary,
    [OM_OP_Shape] = om_inf_shape_op,
    [OM_OP_Sigmoid] = om_inf_unary,
    [OM_OP_Sign] = om_inf_unary,
    [OM_OP_Sin] = om_inf_unary,
    [OM_OP_Slice] = om_inf_slice,
    [OM_OP_Softmax] = om_inf_softmax,
    [OM_OP_Softplus] = om_inf_unary,
    [OM_OP_Split] = om_inf_split,
    [OM_OP_Sqrt] = om_inf_unary,
    [OM_OP_Squeeze] = om_inf_squeeze,
    [OM_OP_Sub] = om_inf_binary,
    [OM_OP_Swish] = om_inf_unary,
    [OM_OP_Tanh] = om_inf_unary,
    [OM_OP_Tile] = om_inf_tile,
    [OM_OP_Transpose] = om_inf_transpose,
    [OM_OP_Trilu] = om_inf_trilu,
    [OM_OP_Unsqueeze] = om_inf_unsqueeze,
    [OM_OP_Where] = om_inf_where,
};

int om_infer(struct om_graph *g, const struct om_node *n, struct om_error *err)
{
    struct om_inf c = { .g = g, .n = n, .d = g->dims, .err = err };
    int rc;

    if (n->op <= OM_OP_NONE || n->op >= OM_OP_COUNT || !rules[n->op])
        return om_fail(err, OM_E_INTERNAL, "operator %d has no inference", (int)n->op);
    OM_TRY(om_check_arity(n->op, n->n_in, n->n_out, err));
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].id == 0 && om_input_required(n->op, i))
            return om_fail(err, OM_E_FORMAT, "input %" PRIu32 " is missing", i);
    rc = rules[n->op](&c);
    return rc < 0 && om_dims_no_memory(c.d) ? no_memory(&c) : rc; /* not what the rule thought */
}
