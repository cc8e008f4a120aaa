/* src/lower/emit.c: emitting operators of the new graph. Equal nodes are made once, so that what
 * all layers need (shapes, masks, rotary tables) is computed once without anybody keeping track of
 * it. */
#include "base/half.h"
#include "lower/internal.h"

bool lo_knows_bf16(const struct lower *l, enum om_op op)
{
    static const struct {
        enum om_op op;
        int opset;
    } later[] = {
        { OM_OP_Cos, 22 },  { OM_OP_If, 16 },       { OM_OP_LeakyRelu, 16 },
        { OM_OP_Mish, 22 }, { OM_OP_Pow, 15 },      { OM_OP_Round, 22 },
        { OM_OP_Sin, 22 },  { OM_OP_Softplus, 22 }, { OM_OP_Where, 16 },
    };

    for (size_t i = 0; i < OM_COUNT(later); i++)
        if (later[i].op == op)
            return l->opset >= later[i].opset;
    return true;
}

/* Each bfloat16 operand as float32; *any tells whether there is one. */
static om_val *widened_operands(struct lower *l, const om_val *in, uint32_t n_in, bool *any)
{
    om_val *wide = om_arena_array(l->g->arena, n_in, sizeof(*wide));

    *any = false;
    if (!wide)
        om_graph_fail(l->h, OM_E_NOMEM, "out of memory for a graph");
    for (uint32_t i = 0; wide && i < n_in; i++) {
        const bool narrow = in[i].id != 0 && lo_new(l, in[i])->dtype == OM_BF16;

        wide[i] = narrow ? lo_cast(l, in[i], OM_F32) : in[i];
        *any = *any || narrow;
    }
    return wide;
}

void lo_emit_n(struct lower *l, enum om_op op, const om_val *in, uint32_t n_in,
               const struct om_attr *attrs, uint32_t n_attrs, om_val *out, uint32_t n_out)
{
    bool widened = false;

    if (!lo_knows_bf16(l, op))
        in = widened_operands(l, in, n_in, &widened);
    if (in)
        om_memo_emit_n(&l->memo, l->h, op, l->scope, in, n_in, attrs, n_attrs, out, n_out);
    for (uint32_t i = 0; i < n_out && (!in || widened); i++)
        out[i] = in ? lo_cast(l, out[i], OM_BF16) : (om_val){ 0 };
}

om_val lo_emit(struct lower *l, enum om_op op, const om_val *in, uint32_t n_in,
               const struct om_attr *attrs, uint32_t n_attrs)
{
    om_val out;

    lo_emit_n(l, op, in, n_in, attrs, n_attrs, &out, 1);
    return out;
}

om_val lo_scalar(struct lower *l, enum om_dtype dtype, double v)
{
    uint8_t raw[8];

    om_convert(raw, dtype, &v, OM_F64, 1);
    return om_graph_const(l->h, dtype, NULL, 0, raw);
}

om_val lo_i64s(struct lower *l, const int64_t *v, size_t n)
{
    return om_graph_const(l->h, OM_I64, &(int64_t){ (int64_t)n }, 1, v);
}

om_val lo_i64(struct lower *l, int64_t v)
{
    return lo_i64s(l, &v, 1);
}

om_val lo_cast(struct lower *l, om_val x, enum om_dtype dtype)
{
    if (x.id == 0 || lo_new(l, x)->dtype == dtype)
        return x;
    return LO1(l, Cast, LO_INT("to", om_dtype_onnx(dtype)), x);
}

om_val lo_transpose(struct lower *l, om_val x, const int64_t *perm, size_t n)
{
    return LO1(l, Transpose, LO_INTS("perm", perm, n), x);
}

om_val lo_unsqueeze(struct lower *l, om_val x, int64_t axis)
{
    return LO(l, Unsqueeze, x, lo_i64(l, axis));
}

void lo_split_axis(struct lower *l, om_val x, int64_t axis, const int64_t *sizes, uint32_t n,
                   om_val *out)
{
    const struct om_attr attr = LO_INT("axis", axis);
    const om_val in[] = { x, lo_i64s(l, sizes, n) };

    lo_emit_n(l, OM_OP_Split, in, 2, &attr, 1, out, n);
}

om_val lo_reduce_last(struct lower *l, enum om_op op, om_val x, uint32_t n)
{
    int64_t axes[OM_RANK_MAX];

    for (uint32_t i = 0; i < n; i++)
        axes[i] = (int64_t)i - n;
    return lo_emit(l, op, LO_VALS(x, lo_i64s(l, axes, n)), NULL, 0);
}

const struct om_value *lo_old(const struct lower *l, om_val v)
{
    return om_graph_value(l->g, v);
}

const struct om_value *lo_new(const struct lower *l, om_val v)
{
    return om_graph_value(l->h, v);
}

bool lo_has(const struct om_node *n, uint32_t i)
{
    return i < n->n_in && n->in[i].id != 0;
}

bool lo_const_dim(const struct lower *l, om_dim d, int64_t *v)
{
    return om_dim_is_const(l->d, d, v);
}

bool lo_attr_is(const struct om_node *n, const char *name, const char *text, const char *def)
{
    const struct om_attr *a = om_node_attr(n, name);

    if (!a || a->kind != OM_ATTR_STRING)
        return strcmp(text, def) == 0;
    return om_sv_is(a->s, text);
}

bool lo_const_ints(const struct lower *l, om_val v, int64_t *out, uint32_t max, uint32_t *n)
{
    const struct om_value *value = lo_old(l, v);

    if (!value->content || value->n_content > max)
        return false;
    for (uint32_t i = 0; i < value->n_content; i++)
        if (!lo_const_dim(l, value->content[i], &out[i]))
            return false;
    *n = value->n_content;
    return true;
}
