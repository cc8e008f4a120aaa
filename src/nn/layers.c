/* src/nn/layers.c: linear layers, embeddings and normalizations: one IR operator each. */
#include "nn/internal.h"

/* trans 1: weight [out, in]; 0: weight [in, out]. bias may be {0}. */
static om_val linear(om_scope s, om_val x, om_val weight, om_val bias, int64_t trans)
{
    const struct om_attr attr = OM_ATTR_I("transB", trans);
    const om_val in[] = { x, weight, bias };

    return om_emit(s, OM_OP_Linear, in, om_valid(bias) ? 3 : 2, &attr, 1);
}

om_val om_linear(om_scope s, om_val x)
{
    int64_t trans = 1;
    const om_val weight = om_weight_linear(s, &trans);

    return linear(s, x, weight, om_weight(s, "bias"), trans);
}

om_val om_linear_nobias(om_scope s, om_val x)
{
    int64_t trans = 1;
    const om_val weight = om_weight_linear(s, &trans);

    return linear(s, x, weight, (om_val){ 0 }, trans);
}

om_val om_linear_wide(om_scope s, om_val x)
{
    return linear(s, om_widen(s, x), om_weight_as(s, "weight", OM_F32), (om_val){ 0 }, 1);
}

om_val om_conv1d(om_scope s, om_val x)
{
    int64_t trans = 0;
    const om_val weight = om_weight_conv1d(s, &trans);

    return linear(s, x, weight, om_weight(s, "bias"), trans);
}

om_val om_linear_with(om_scope s, om_val x, om_val weight, om_val bias)
{
    return linear(s, x, om_to_compute(s, weight), bias, 1);
}

/* Values of the port that ids came from index the rows of a table from first on. */
static void limit_port(om_scope s, om_val ids, om_val table, int64_t first)
{
    struct om_graph *g = s.b->g;
    uint32_t port = 0;
    int64_t rows;

    for (size_t i = 0; i < s.b->n_inputs; i++)
        if (s.b->inputs[i].val.id == ids.id)
            port = s.b->inputs[i].port.id;
    if (!port || !om_dim_is_const(g->dims, om_axis(s, table, 0), &rows))
        return;
    rows -= first;
    for (size_t i = 0; i < g->n_inputs && rows > 0; i++)
        if (g->inputs[i].val.id == port && (g->inputs[i].limit == 0 || rows < g->inputs[i].limit))
            g->inputs[i].limit = rows;
}

om_val om_embed_with(om_scope s, om_val table, om_val ids)
{
    if (om_valid(table) && om_valid(ids) && om_ok(s))
        limit_port(s, ids, table, 0);
    return om_to_compute(s, om_gather(s, table, ids, 0));
}

om_val om_embed(om_scope s, om_val ids)
{
    return om_embed_with(s, om_weight_stored(s, "weight"), ids);
}

om_val om_embed_from(om_scope s, om_val ids, int64_t first)
{
    const om_val table = om_weight_stored(s, "weight");

    if (om_valid(table) && om_valid(ids) && om_ok(s))
        limit_port(s, ids, table, first);
    return om_embed_with(s, table, om_add(s, ids, om_i64(s, first)));
}

static om_val layer_norm(om_scope s, om_val x, om_val weight, om_val bias, double eps)
{
    const struct om_attr attrs[] = { OM_ATTR_I("axis", -1), OM_ATTR_F("epsilon", eps) };
    const om_val in[] = { x, weight, bias };

    return om_emit(s, OM_OP_LayerNormalization, in, om_valid(bias) ? 3 : 2, attrs, 2);
}

om_val om_layer_norm(om_scope s, om_val x, double eps)
{
    const om_val weight = om_weight(s, "weight");

    return layer_norm(s, x, weight, om_weight(s, "bias"), eps);
}

om_val om_layer_norm_nobias(om_scope s, om_val x, double eps)
{
    return layer_norm(s, x, om_weight(s, "weight"), (om_val){ 0 }, eps);
}

om_val om_layer_norm_plain(om_scope s, om_val x, double eps)
{
    const om_dim width = om_axis(s, x, -1);
    int64_t n;
    float *ones;

    if (!width)
        return (om_val){ 0 };
    if (!om_dim_is_const(s.b->g->dims, width, &n))
        return om_scope_fail(s, OM_E_INTERNAL, "a norm over an axis of unknown size");
    ones = om_arena_array(s.b->g->arena, (size_t)n, sizeof(*ones));
    if (!ones)
        return om_scope_fail(s, OM_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++)
        ones[i] = 1.0f;
    return layer_norm(s, x, om_f32s(s, ones, (size_t)n), (om_val){ 0 }, eps);
}

/* A weight that is stored as its difference from 1, in the given dtype. */
static om_val weight_1p(om_scope s, enum om_dtype dtype)
{
    const om_val weight = om_weight_as(s, "weight", dtype);

    return om_add(s, weight, om_like(s, weight, 1.0));
}

om_val om_layer_norm_1p(om_scope s, om_val x, double eps)
{
    const om_val weight = weight_1p(s, s.b->compute);

    return layer_norm(s, x, weight, om_weight(s, "bias"), eps);
}

static om_val rms_norm(om_scope s, om_val x, om_val weight, double eps)
{
    const struct om_attr attrs[] = { OM_ATTR_I("axis", -1), OM_ATTR_F("epsilon", eps) };

    return om_emit(s, OM_OP_RMSNormalization, OM_VALS(x, weight), attrs, 2);
}

om_val om_rms_norm(om_scope s, om_val x, double eps)
{
    return rms_norm(s, x, om_weight(s, "weight"), eps);
}

/* Near 1, 16 bits would lose what the weight says: the product is wide as well. */
om_val om_rms_norm_1p(om_scope s, om_val x, double eps)
{
    return om_to_compute(s, rms_norm(s, om_widen(s, x), weight_1p(s, OM_F32), eps));
}

om_val om_softcap(om_scope s, om_val x, double cap)
{
    if (cap == 0.0)
        return x;
    return om_scale(s, om_unary(s, OM_OP_Tanh, om_div(s, x, om_like(s, x, cap))), cap);
}
