/* src/nn/ops.c: emitting single operators: constants, shapes, elementwise arithmetic. */
#include "nn/internal.h"

#include "base/half.h"

static om_val nomem(om_scope s)
{
    return om_graph_fail(s.b->g, OM_E_NOMEM, "out of memory");
}

/* ---- emitting ---- */

/* Whatever hangs on a missing weight is not built: the list of missing tensors is the message. With
 * nothing missing an invalid input is one that was left out. */
static bool may_emit(om_scope s, const om_val *in, uint32_t n_in)
{
    if (!om_ok(s))
        return false;
    for (uint32_t i = 0; i < n_in && s.b->n_missing; i++)
        if (!om_valid(in[i]))
            return false;
    return true;
}

/* A copy whose arrays live as long as the graph. */
static const struct om_attr *keep_attrs(om_scope s, const struct om_attr *attrs, uint32_t n)
{
    struct om_arena *a = s.b->g->arena;
    struct om_attr *copy = om_arena_copy(a, attrs, n * sizeof(*attrs));

    for (uint32_t i = 0; copy && i < n; i++) {
        if (copy[i].ints)
            copy[i].ints = om_arena_copy(a, copy[i].ints, copy[i].n * sizeof(*copy[i].ints));
        if (copy[i].dims)
            copy[i].dims = om_arena_copy(a, copy[i].dims, copy[i].n * sizeof(*copy[i].dims));
        if ((attrs[i].ints && !copy[i].ints) || (attrs[i].dims && !copy[i].dims))
            return NULL;
    }
    return copy;
}

void om_emit_n(om_scope s, enum om_op op, const om_val *in, uint32_t n_in,
               const struct om_attr *attrs, uint32_t n_attrs, om_val *out, uint32_t n_out)
{
    const struct om_attr *kept = NULL;

    memset(out, 0, n_out * sizeof(*out));
    if (!may_emit(s, in, n_in))
        return;
    if (n_attrs) {
        kept = keep_attrs(s, attrs, n_attrs);
        if (!kept) {
            nomem(s);
            return;
        }
    }
    om_graph_emit_n(s.b->g, op, om_sv_str(s.path), in, n_in, kept, n_attrs, out, n_out);
}

om_val om_emit(om_scope s, enum om_op op, const om_val *in, uint32_t n_in,
               const struct om_attr *attrs, uint32_t n_attrs)
{
    om_val out;

    om_emit_n(s, op, in, n_in, attrs, n_attrs, &out, 1);
    return out;
}

enum { APPLY_PARAMS_MAX = 16 };

static bool to_attr(const struct om_param *p, struct om_attr *out)
{
    *out = (struct om_attr){ .name = p->name, .i = p->i, .f = p->f };
    switch (p->kind) {
    case OM_PARAM_INT:
        out->kind = OM_ATTR_INT;
        return true;
    case OM_PARAM_FLOAT:
        out->kind = OM_ATTR_FLOAT;
        return true;
    case OM_PARAM_INTS:
        out->kind = OM_ATTR_INTS;
        out->ints = p->ints;
        out->n = (uint32_t)p->n;
        return p->n <= OM_RANK_MAX * 2;
    }
    return false;
}

om_val om_apply(om_scope s, const char *op, const om_val *in, size_t n_in,
                const struct om_param *params, size_t n_params)
{
    const enum om_op known = om_op_parse(om_sv_str(op));
    struct om_attr attrs[APPLY_PARAMS_MAX];

    if (known == OM_OP_NONE)
        return om_scope_fail(s, OM_E_UNSUPPORTED, "unknown operator \"%s\"", op);
    if (n_params > APPLY_PARAMS_MAX || n_in > 64)
        return om_scope_fail(s, OM_E_LIMIT, "%s: too many inputs or attributes", op);
    for (size_t i = 0; i < n_params; i++)
        if (!to_attr(&params[i], &attrs[i]))
            return om_scope_fail(s, OM_E_UNSUPPORTED, "%s: attribute \"%s\" is of no known kind",
                                 op, params[i].name);
    return om_emit(s, known, in, (uint32_t)n_in, attrs, (uint32_t)n_params);
}

om_val om_unary(om_scope s, enum om_op op, om_val x)
{
    return om_emit(s, op, &x, 1, NULL, 0);
}

om_val om_binary(om_scope s, enum om_op op, om_val a, om_val b)
{
    return OM_EMIT(s, op, a, b);
}

static om_val with_int(om_scope s, enum om_op op, om_val x, const char *attr, int64_t v)
{
    return OM_EMIT1(s, op, OM_ATTR_I(attr, v), x);
}

/* ---- constants ---- */

static om_val constant(om_scope s, enum om_dtype dtype, const int64_t *dims, uint32_t rank,
                       const void *data)
{
    if (!om_ok(s))
        return (om_val){ 0 };
    return om_graph_const(s.b->g, dtype, dims, rank, data);
}

static om_val number(om_scope s, enum om_dtype dtype, double v)
{
    const float f = (float)v;
    uint8_t raw[8];

    om_convert(raw, dtype, &f, OM_F32, 1);
    return constant(s, dtype, NULL, 0, raw);
}

om_val om_f32(om_scope s, double v)
{
    return number(s, s.b->compute, v);
}

om_val om_wide(om_scope s, double v)
{
    return number(s, OM_F32, v);
}

om_val om_like(om_scope s, om_val x, double v)
{
    if (!om_valid(x) || !om_ok(s))
        return (om_val){ 0 };
    return number(s, om_graph_value(s.b->g, x)->dtype, v);
}

om_val om_f32s(om_scope s, const float *v, size_t n)
{
    const int64_t len = (int64_t)n;
    void *raw;

    if (s.b->compute == OM_F32)
        return constant(s, OM_F32, &len, 1, v);
    raw = om_arena_array(s.b->g->arena, n, om_dtype_size(s.b->compute));
    if (!raw)
        return nomem(s);
    om_convert(raw, s.b->compute, v, OM_F32, n);
    return constant(s, s.b->compute, &len, 1, raw);
}

om_val om_i64(om_scope s, int64_t v)
{
    return constant(s, OM_I64, NULL, 0, &v);
}

om_val om_i64s(om_scope s, const int64_t *v, size_t n)
{
    return constant(s, OM_I64, &(int64_t){ (int64_t)n }, 1, v);
}

/* ---- shapes ---- */

om_dim om_int(om_scope s, int64_t v)
{
    return om_dim_const(s.b->g->dims, v);
}

om_dim om_axis(om_scope s, om_val v, int axis)
{
    const struct om_value *value;
    int i;

    if (!om_valid(v) || !om_ok(s))
        return 0;
    value = om_graph_value(s.b->g, v);
    i = axis < 0 ? axis + (int)value->rank : axis;
    if (i < 0 || i >= (int)value->rank) {
        om_scope_fail(s, OM_E_INTERNAL, "axis %d of a value of rank %u", axis, value->rank);
        return 0;
    }
    return value->dims[i];
}

/* All constant: *out receives the numbers. */
static bool constant_dims(om_scope s, const om_dim *dims, size_t n, int64_t *out)
{
    for (size_t i = 0; i < n; i++)
        if (!om_dim_is_const(s.b->g->dims, dims[i], &out[i]))
            return false;
    return true;
}

om_val om_dims_value(om_scope s, const om_dim *dims, size_t n)
{
    const struct om_attr attr = {
        .name = "dims", .kind = OM_ATTR_DIMS, .dims = dims, .n = (uint32_t)n
    };
    int64_t numbers[OM_RANK_MAX];

    if (!om_ok(s))
        return (om_val){ 0 };
    if (n > OM_RANK_MAX)
        return om_scope_fail(s, OM_E_INTERNAL, "a shape of rank %zu", n);
    for (size_t i = 0; i < n; i++) {
        if (dims[i])
            continue;
        if (om_dims_no_memory(s.b->g->dims))
            nomem(s);
        else if (s.b->n_missing == 0)
            om_scope_fail(s, OM_E_LIMIT, "axis %zu of a shape is too large", i);
        return (om_val){ 0 };
    }
    if (constant_dims(s, dims, n, numbers))
        return om_i64s(s, numbers, n);
    return om_emit(s, OM_OP_Dims, NULL, 0, &attr, 1);
}

om_val om_dim_scalar(om_scope s, om_dim d)
{
    int64_t number;

    if (d && om_dim_is_const(s.b->g->dims, d, &number))
        return om_i64(s, number);
    return om_squeeze(s, om_dims_value(s, &d, 1), 0);
}

om_val om_reshape(om_scope s, om_val x, const om_dim *dims, size_t n)
{
    return OM_EMIT(s, OM_OP_Reshape, x, om_dims_value(s, dims, n));
}

om_val om_expand(om_scope s, om_val x, const om_dim *dims, size_t n)
{
    return OM_EMIT(s, OM_OP_Expand, x, om_dims_value(s, dims, n));
}

om_val om_transpose(om_scope s, om_val x, const int64_t *perm, size_t n)
{
    const struct om_attr attr = {
        .name = "perm", .kind = OM_ATTR_INTS, .ints = perm, .n = (uint32_t)n
    };

    return om_emit(s, OM_OP_Transpose, &x, 1, &attr, 1);
}

om_val om_unsqueeze(om_scope s, om_val x, int64_t axis)
{
    return OM_EMIT(s, OM_OP_Unsqueeze, x, om_i64s(s, &axis, 1));
}

om_val om_squeeze(om_scope s, om_val x, int64_t axis)
{
    return OM_EMIT(s, OM_OP_Squeeze, x, om_i64s(s, &axis, 1));
}

om_val om_concat(om_scope s, om_val a, om_val b, int64_t axis)
{
    return OM_EMIT1(s, OM_OP_Concat, OM_ATTR_I("axis", axis), a, b);
}

om_val om_slice(om_scope s, om_val x, int64_t axis, int64_t begin, int64_t end)
{
    return OM_EMIT(s, OM_OP_Slice, x, om_i64s(s, &begin, 1), om_i64s(s, &end, 1),
                   om_i64s(s, &axis, 1));
}

om_val om_gather(om_scope s, om_val x, om_val indices, int64_t axis)
{
    return OM_EMIT1(s, OM_OP_Gather, OM_ATTR_I("axis", axis), x, indices);
}

om_val om_select(om_scope s, om_val x, int64_t axis, int64_t index)
{
    return om_gather(s, x, om_i64(s, index), axis);
}

void om_split(om_scope s, om_val x, int64_t axis, const int64_t *sizes, size_t n, om_val *out)
{
    const struct om_attr attr = OM_ATTR_I("axis", axis);

    om_emit_n(s, OM_OP_Split, OM_VALS(x, om_i64s(s, sizes, n)), &attr, 1, out, (uint32_t)n);
}

om_val om_arange(om_scope s, om_dim begin, om_dim end)
{
    return OM_EMIT(s, OM_OP_Range, om_dim_scalar(s, begin), om_dim_scalar(s, end), om_i64(s, 1));
}

/* ---- elementwise ---- */

om_val om_add(om_scope s, om_val a, om_val b)
{
    return om_binary(s, OM_OP_Add, a, b);
}

om_val om_sub_(om_scope s, om_val a, om_val b)
{
    return om_binary(s, OM_OP_Sub, a, b);
}

om_val om_mul(om_scope s, om_val a, om_val b)
{
    return om_binary(s, OM_OP_Mul, a, b);
}

om_val om_div(om_scope s, om_val a, om_val b)
{
    return om_binary(s, OM_OP_Div, a, b);
}

om_val om_scale(om_scope s, om_val x, double factor)
{
    return factor == 1.0 ? x : om_mul(s, x, om_like(s, x, factor));
}

om_val om_where(om_scope s, om_val cond, om_val a, om_val b)
{
    return OM_EMIT(s, OM_OP_Where, cond, a, b);
}

om_val om_cast(om_scope s, om_val x, enum om_dtype dtype)
{
    if (!om_valid(x) || !om_ok(s) || om_graph_value(s.b->g, x)->dtype == dtype)
        return x;
    return with_int(s, OM_OP_Cast, x, "to", om_dtype_onnx(dtype));
}

om_val om_cast_like(om_scope s, om_val x, om_val like)
{
    if (!om_valid(like) || !om_ok(s))
        return (om_val){ 0 };
    return om_cast(s, x, om_graph_value(s.b->g, like)->dtype);
}

bool om_is_float(enum om_dtype dtype)
{
    return dtype == OM_F32 || dtype == OM_F16 || dtype == OM_BF16 || dtype == OM_F64;
}

bool om_is_narrow(enum om_dtype dtype)
{
    return dtype == OM_F16 || dtype == OM_BF16;
}

om_val om_float_as(om_scope s, om_val x, enum om_dtype dtype)
{
    if (!om_valid(x) || !om_ok(s))
        return x;
    if (!om_is_float(om_graph_value(s.b->g, x)->dtype))
        return om_scope_fail(s, OM_E_FORMAT, "expected a tensor of floats, found %s",
                             om_dtype_text(om_graph_value(s.b->g, x)->dtype));
    return om_cast(s, x, dtype);
}

om_val om_to_compute(om_scope s, om_val x)
{
    return om_float_as(s, x, s.b->compute);
}

om_val om_widen(om_scope s, om_val x)
{
    return om_float_as(s, x, OM_F32);
}

/* bfloat16 has the range of float32. */
om_val om_saturate(om_scope s, om_val x)
{
    const double most = 65504.0;

    if (!om_valid(x) || !om_ok(s) || om_graph_value(s.b->g, x)->dtype != OM_F16)
        return x;
    return OM_EMIT(s, OM_OP_Clip, x, om_like(s, x, -most), om_like(s, x, most));
}

om_val om_softmax(om_scope s, om_val x, int64_t axis)
{
    return with_int(s, OM_OP_Softmax, x, "axis", axis);
}

om_val om_mean(om_scope s, om_val x, int64_t axis, bool keepdims)
{
    return OM_EMIT1(s, OM_OP_ReduceMean, OM_ATTR_I("keepdims", keepdims), x, om_i64s(s, &axis, 1));
}
