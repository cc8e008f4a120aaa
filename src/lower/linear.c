/* src/lower/linear.c: linear layers: Gemm on rows, or MatMul and Add on all axes. */
#include "lower/internal.h"

/* Where activations keep their axes: matrices anyway, and tables of embeddings, which a MatMul
 * would have to have transposed as well. */
static bool keeps_layout(const struct lower *l, const struct om_node *n)
{
    const uint32_t node = lo_old(l, n->in[1])->node;
    const om_val w = node != OM_NO_NODE && l->g->nodes[node].op == OM_OP_Cast
                         ? l->g->nodes[node].in[0]
                         : n->in[1];

    return l->target == OM_LOWER_FUSED &&
           (lo_old(l, n->in[0])->rank == 2 || l->twins[w.id].looked_up);
}

bool lo_fits_gemm(const struct lower *l, const struct om_node *n)
{
    const struct om_value *x = lo_old(l, n->in[0]);

    return (l->linear == OM_LINEAR_GEMM || keeps_layout(l, n)) &&
           lo_const_dim(l, x->dims[x->rank - 1], NULL);
}

void lo_linear_gemm(struct lower *l, const struct om_node *n)
{
    const om_val in[] = { lo_flat(l, n->in[0]), lo_nd(l, n->in[1]),
                          lo_has(n, 2) ? lo_nd(l, n->in[2]) : (om_val){ 0 } };
    const double alpha = om_node_float(n, "alpha", 1);
    struct om_attr attrs[2];
    uint32_t n_attrs = 0;

    if (alpha != 1)
        attrs[n_attrs++] = (struct om_attr)LO_FLOAT("alpha", alpha);
    if (om_node_int(n, "transB", 0))
        attrs[n_attrs++] = (struct om_attr)LO_INT("transB", 1);
    l->flat = true;
    lo_set(l, n, 0, lo_emit(l, OM_OP_Gemm, in, lo_has(n, 2) ? 3 : 2, attrs, n_attrs));
}

/* The name of a transposed weight; the weight itself keeps its own for the lookups of a tied table.
 */
static om_sv transposed_name(struct lower *l, om_sv name)
{
    const char *text = om_arena_printf(l->g->arena, "%.*s.transposed", OM_SV(name));

    return text ? om_sv_str(text) : name;
}

/* w [out, in] as [in, out]: another view of the same bytes that is transposed while it is written;
 * of a weight that is converted first, the conversion of that view. */
static om_val transposed(struct lower *l, om_val w)
{
    static const int64_t swap[] = { 1, 0 };
    const struct om_value *value = lo_old(l, w);
    const struct om_node *n = value->node == OM_NO_NODE ? NULL : &l->g->nodes[value->node];

    if (value->weight != OM_NO_WEIGHT) {
        struct om_weight t = l->g->weights[value->weight];
        const int64_t dims[] = { t.dims[1], t.dims[0] };
        const int64_t strides[] = { t.strides ? t.strides[1] : 1,
                                    t.strides ? t.strides[0] : dims[0] };
        t.dims = dims;
        t.strides = strides;
        t.name = transposed_name(l, t.name);
        return om_graph_weight(l->h, &t);
    }
    if (n && n->op == OM_OP_Cast)
        return lo_cast(l, transposed(l, n->in[0]), value->dtype);
    return lo_transpose(l, lo_nd(l, w), swap, 2);
}

om_val lo_linear_product(struct lower *l, const struct om_node *n)
{
    const om_val w = om_node_int(n, "transB", 0) ? transposed(l, n->in[1]) : lo_nd(l, n->in[1]);

    return LO(l, MatMul, lo_nd(l, n->in[0]), w);
}

void lo_linear_matmul(struct lower *l, const struct om_node *n)
{
    const double alpha = om_node_float(n, "alpha", 1);
    om_val y = lo_linear_product(l, n);

    if (alpha != 1)
        y = LO(l, Mul, y, lo_scalar(l, lo_old(l, n->out[0])->dtype, alpha));
    if (lo_has(n, 2))
        y = LO(l, Add, y, lo_nd(l, n->in[2]));
    lo_set(l, n, 0, y);
}
