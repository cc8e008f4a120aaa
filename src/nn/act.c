/* src/nn/act.c: the activation functions of Transformers' activations.py. */
#include "nn/internal.h"

#include <math.h>

static om_val gelu(om_scope s, om_val x, const char *approximate)
{
    return OM_EMIT1(s, OM_OP_Gelu, OM_ATTR_S("approximate", approximate), x);
}

static om_val swish(om_scope s, om_val x, double alpha)
{
    return OM_EMIT1(s, OM_OP_Swish, OM_ATTR_F("alpha", alpha), x);
}

static om_val clip(om_scope s, om_val x, double low, double high)
{
    return OM_EMIT(s, OM_OP_Clip, x, om_f32(s, low), om_f32(s, high));
}

/* (1 + erf((x - mu) / (sigma sqrt(2)))) / 2 with MEGA's constants. */
static om_val laplace(om_scope s, om_val x)
{
    const double mu = 0.707107, sigma = 0.282095;
    const om_val z = om_div(s, om_sub_(s, x, om_f32(s, mu)), om_f32(s, sigma * sqrt(2.0)));

    return om_scale(s, om_add(s, om_unary(s, OM_OP_Erf, z), om_f32(s, 1.0)), 0.5);
}

om_val om_activate(om_scope s, enum om_act act, om_val x)
{
    switch (act) {
    case OM_ACT_GELU:
        return gelu(s, x, "none");
    case OM_ACT_GELU_10:
        return clip(s, gelu(s, x, "none"), -10.0, 10.0);
    case OM_ACT_GELU_FAST: /* the same function, its constants typed with fewer digits */
    case OM_ACT_GELU_NEW:
    case OM_ACT_GELU_TANH:
    case OM_ACT_GELU_ACCURATE:
        return gelu(s, x, "tanh");
    case OM_ACT_QUICK_GELU:
        return swish(s, x, 1.702);
    case OM_ACT_LAPLACE:
        return laplace(s, x);
    case OM_ACT_LEAKY_RELU:
        return OM_EMIT1(s, OM_OP_LeakyRelu, OM_ATTR_F("alpha", 0.01), x);
    case OM_ACT_LINEAR:
        return x;
    case OM_ACT_MISH:
        return om_unary(s, OM_OP_Mish, x);
    case OM_ACT_RELU:
        return om_unary(s, OM_OP_Relu, x);
    case OM_ACT_RELU2: {
        const om_val r = om_unary(s, OM_OP_Relu, x);
        return om_mul(s, r, r);
    }
    case OM_ACT_RELU6:
        return clip(s, x, 0.0, 6.0);
    case OM_ACT_SIGMOID:
        return om_unary(s, OM_OP_Sigmoid, x);
    case OM_ACT_SILU:
        return swish(s, x, 1.0);
    case OM_ACT_TANH:
        return om_unary(s, OM_OP_Tanh, x);
    case OM_ACT_COUNT:
        break;
    }
    return om_scope_fail(s, OM_E_INTERNAL, "activation %d", (int)act);
}
