/* src/lower/norm.c: normalizations before the opset that has them, in float32 where the values are
 * shorter, as the operators define it (stash_type). The order of operators is the one that ONNX
 * Runtime fuses. */
#include "lower/internal.h"

static bool is_short(enum om_dtype dtype)
{
    return dtype == OM_F16 || dtype == OM_BF16;
}

/* Axes that are normalized together. */
static uint32_t normalized(const struct lower *l, const struct om_node *n)
{
    const uint32_t rank = lo_old(l, n->in[0])->rank;
    const int64_t axis = om_node_int(n, "axis", -1);

    return (uint32_t)(axis < 0 ? -axis : (int64_t)rank - axis);
}

/* centred / sqrt(mean(centred^2) + epsilon) */
static om_val unit_variance(struct lower *l, const struct om_node *n, om_val centred)
{
    const enum om_dtype dtype = lo_new(l, centred)->dtype;
    const om_val square = LO(l, Pow, centred, lo_scalar(l, dtype, 2));
    const om_val mean = lo_reduce_last(l, OM_OP_ReduceMean, square, normalized(l, n));
    const om_val eps = lo_scalar(l, dtype, om_node_float(n, "epsilon", 1e-5));

    return LO(l, Div, centred, LO(l, Sqrt, LO(l, Add, mean, eps)));
}

static om_val widened(struct lower *l, om_val x)
{
    return is_short(lo_new(l, x)->dtype) ? lo_cast(l, x, OM_F32) : x;
}

static om_val scaled(struct lower *l, const struct om_node *n, om_val y)
{
    return LO(l, Mul, lo_cast(l, y, lo_old(l, n->out[0])->dtype), lo_nd(l, n->in[1]));
}

void lo_layer_norm(struct lower *l, const struct om_node *n)
{
    const om_val x = widened(l, lo_in(l, n, 0));
    const om_val centred = LO(l, Sub, x, lo_reduce_last(l, OM_OP_ReduceMean, x, normalized(l, n)));
    om_val y = scaled(l, n, unit_variance(l, n, centred));

    if (lo_has(n, 2))
        y = LO(l, Add, y, lo_nd(l, n->in[2]));
    lo_set(l, n, 0, y);
}

/* ONNX lets the scale decide the dtype of the result, ONNX Runtime has kernels for one dtype. */
bool lo_fits_rms_norm_23(const struct lower *l, const struct om_node *n)
{
    return lo_old(l, n->in[0])->dtype == lo_old(l, n->in[1])->dtype;
}

void lo_rms_norm(struct lower *l, const struct om_node *n)
{
    lo_set(l, n, 0, scaled(l, n, unit_variance(l, n, widened(l, lo_in(l, n, 0)))));
}
