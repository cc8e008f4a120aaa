/* src/ref/math.c: operators on elements that no graph of ours holds, only documents do. */
#include <math.h>

#include "ref/loops.h"

UNARY_FLOAT(Acos, acos(x))
UNARY_FLOAT(Acosh, acosh(x))
UNARY_FLOAT(Asin, asin(x))
UNARY_FLOAT(Asinh, asinh(x))
UNARY_FLOAT(Atan, atan(x))
UNARY_FLOAT(Atanh, atanh(x))
UNARY_FLOAT(Cosh, cosh(x))
UNARY_FLOAT(HardSwish, x *fmin(fmax(x / 6 + 0.5, 0), 1))
UNARY_FLOAT(Sinh, sinh(x))
UNARY_FLOAT(Softsign, x / (1 + fabs(x)))
UNARY_FLOAT(Tan, tan(x))

/* ---- with attributes ---- */

#define UNARY_ATTR(Name, attr, def, expr)                                              \
    FLOAT1(Name, expr)                                                                 \
    int om_ref_##Name(struct ref_call *c)                                              \
    {                                                                                  \
        static const struct ref_loops l = { .f32 = Name##_f32, .f64 = Name##_f64 };    \
                                                                                       \
        return om_ref_run_unary(c, &l, om_node_float(c->node, attr, def), GRAIN_DEAR); \
    }

UNARY_ATTR(Elu, "alpha", 1, x < 0 ? p * expm1(x) : x)
UNARY_ATTR(Celu, "alpha", 1, fmax(0, x) + fmin(0, p *expm1(x / p)))
UNARY_ATTR(ThresholdedRelu, "alpha", 1, x > p ? x : 0)
UNARY_ATTR(QuickGelu, "alpha", 1.702, x / (1 + exp(-p * x)))

/* Two attributes come as scalars next to the data. */
#define UNARY_ATTRS(Name, attr1, def1, attr2, def2, expr)                           \
    LOOP3(Name##_f32, float, float, expr)                                           \
    LOOP3(Name##_f64, double, double, expr)                                         \
    int om_ref_##Name(struct ref_call *c)                                           \
    {                                                                               \
        static const struct ref_loops l = { .f32 = Name##_f32, .f64 = Name##_f64 }; \
                                                                                    \
        return with_attributes(c, &l, om_node_float(c->node, attr1, def1),          \
                               om_node_float(c->node, attr2, def2));                \
    }

static int with_attributes(struct ref_call *c, const struct ref_loops *l, double y, double z)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const float f32[2] = { (float)y, (float)z };
    const double f64[2] = { y, z };
    const bool wide = x->dtype == OM_F64;
    ref_loop *loop = om_ref_pick_loop(l, x->dtype);
    struct ref_tensor a, b;
    const struct ref_tensor *const in[3] = { x, &a, &b };

    if (!loop)
        return om_ref_bad_dtype(c, x->dtype);
    OM_TRY(om_ref_borrow(&a, x->dtype, NULL, 0, wide ? (const void *)&f64[0] : &f32[0], c->err));
    OM_TRY(om_ref_borrow(&b, x->dtype, NULL, 0, wide ? (const void *)&f64[1] : &f32[1], c->err));
    return om_ref_elementwise(c, in, 3, &c->out[0], x->dtype, loop, 0, GRAIN_DEAR);
}

UNARY_ATTRS(HardSigmoid, "alpha", 0.2, "beta", 0.5, fmax(0, fmin(1, y *x + z)))
UNARY_ATTRS(Selu, "alpha", 1.67326319217681884765625, "gamma", 1.05070102214813232421875,
            x > 0 ? z * x : z * y * (exp((double)x) - 1))
UNARY_ATTRS(Shrink, "lambd", 0.5, "bias", 0, x<-y ? x + z : x> y ? x - z : 0)

/* ---- bits, signs, NaN ---- */

LOOP1(isnan_f32, float, double, uint8_t, isnan(x))
LOOP1(isnan_f64, double, double, uint8_t, isnan(x))
LOOP1(isinf_f32, float, double, uint8_t, isinf(x) && (x > 0 ? (int)p & 1 : (int)p & 2))
LOOP1(isinf_f64, double, double, uint8_t, isinf(x) && (x > 0 ? (int)p & 1 : (int)p & 2))
LOOP1(BitwiseNot_i64, int64_t, int64_t, int64_t, ~x)
LOOP1(BitwiseNot_u64, uint64_t, uint64_t, uint64_t, ~x)
UNARY(BitwiseNot, GRAIN_CHEAP, .i64 = BitwiseNot_i64, .u64 = BitwiseNot_u64)

static int to_bool(struct ref_call *c, const struct ref_loops *l, double param)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    ref_loop *loop = om_ref_pick_loop(l, x->dtype);

    if (!loop)
        return om_ref_bad_dtype(c, x->dtype);
    return om_ref_elementwise(c, &x, 1, &c->out[0], OM_BOOL, loop, param, GRAIN_CHEAP);
}

int om_ref_IsNaN(struct ref_call *c)
{
    static const struct ref_loops l = { .f32 = isnan_f32, .f64 = isnan_f64 };

    return to_bool(c, &l, 0);
}

int om_ref_IsInf(struct ref_call *c)
{
    static const struct ref_loops l = { .f32 = isinf_f32, .f64 = isinf_f64 };
    const bool above = om_node_int(c->node, "detect_positive", 1) != 0;
    const bool below = om_node_int(c->node, "detect_negative", 1) != 0;

    return to_bool(c, &l, above + 2 * below);
}

#define BITWISE(Name, op)                                                           \
    LOOP2(Name##_i64, int64_t, int64_t, x op y)                                     \
    LOOP2(Name##_u64, uint64_t, uint64_t, x op y)                                   \
    int om_ref_##Name(struct ref_call *c)                                           \
    {                                                                               \
        static const struct ref_loops l = { .i64 = Name##_i64, .u64 = Name##_u64 }; \
                                                                                    \
        return om_ref_run_binary(c, &l, false);                                     \
    }

BITWISE(BitwiseAnd, &)
BITWISE(BitwiseOr, |)
BITWISE(BitwiseXor, ^)

LOOP2(xor_bool, uint8_t, uint8_t, (x != 0) != (y != 0))

int om_ref_Xor(struct ref_call *c)
{
    static const struct ref_loops l = { .boolean = xor_bool };

    return om_ref_run_binary(c, &l, true);
}

/* Narrow ones come as int64: narrowing drops what passes the width, and what is shifted right keeps
 * its sign. A negative distance counts as one beyond the width. */
LOOP2(shl_u64, uint64_t, uint64_t, y > 63 ? 0 : x << y)
LOOP2(shr_u64, uint64_t, uint64_t, y > 63 ? 0 : x >> y)
LOOP2(shr_i64, int64_t, int64_t, x >> (y < 0 || y > 63 ? 63 : y))

int om_ref_BitShift(struct ref_call *c)
{
    static const struct ref_loops left = { .i64 = shl_u64, .u64 = shl_u64 };
    static const struct ref_loops right = { .i64 = shr_i64, .u64 = shr_u64 };

    return om_ref_run_binary(c, om_ref_attr_is(c, "direction", "LEFT") ? &left : &right, false);
}

/* The remainder with the sign of the divisor, of reals. */
static double mod_real(double x, double y)
{
    const double r = fmod(x, y);

    return r != 0 && (r < 0) != (y < 0) ? r + y : r == 0 ? copysign(r, y) : r;
}

LOOP2(mod_f32, float, float, mod_real((double)x, (double)y))
LOOP2(mod_f64, double, double, mod_real(x, y))

int om_ref_doc_Mod(struct ref_call *c)
{
    static const struct ref_loops reals = { .f32 = mod_f32, .f64 = mod_f64 };
    const enum om_dtype dtype = om_ref_in(c, 0)->dtype;

    if (om_node_int(c->node, "fmod", 0) == 0 && (dtype == OM_F32 || dtype == OM_F64))
        return om_ref_run_binary(c, &reals, false);
    return om_ref_Mod(c);
}

/* The slope's shape is broadcast to the data, one way. */
LOOP2(PRelu_f32, float, float, x < 0 ? x * y : x)
LOOP2(PRelu_f64, double, double, x < 0 ? x * y : x)
LOOP2(PRelu_i64, int64_t, int64_t, x < 0 ? (int64_t)((uint64_t)x * (uint64_t)y) : x)

int om_ref_PRelu(struct ref_call *c)
{
    static const struct ref_loops l = { .f32 = PRelu_f32, .f64 = PRelu_f64, .i64 = PRelu_i64 };

    return om_ref_run_binary(c, &l, false);
}

/* ---- any number of operands ---- */

/* Fold the operands with an operator on two, one after the other. */
static int fold_operands(struct ref_call *c, ref_kernel *pair)
{
    struct ref_tensor sum = { .mem = NULL };
    const struct ref_tensor *first = om_ref_in(c, 0);
    int rc = om_ref_share(&sum, first, first->dims, first->rank, c->err);

    for (uint32_t i = 1; i < c->node->n_in && rc == 0; i++) {
        const struct ref_tensor *const in[2] = { &sum, om_ref_in(c, i) };
        om_val ids[2] = { { 1 }, { 1 } };
        const struct om_node node = { .in = ids, .n_in = 2, .out = c->node->out, .n_out = 1 };
        struct ref_tensor out = { .mem = NULL };
        struct ref_call two = *c;

        if (!in[1]) {
            rc = om_fail(c->err, OM_E_FORMAT, "operand %" PRIu32 " is left out", i);
            break;
        }
        two.node = &node;
        two.in = in;
        two.out = &out;
        rc = pair(&two);
        om_ref_drop(&sum);
        sum = out;
    }
    if (rc == 0)
        rc = om_ref_share(&c->out[0], &sum, sum.dims, sum.rank, c->err);
    om_ref_drop(&sum);
    return rc;
}

int om_ref_doc_Max(struct ref_call *c)
{
    return fold_operands(c, om_ref_Max);
}

int om_ref_doc_Min(struct ref_call *c)
{
    return fold_operands(c, om_ref_Min);
}

int om_ref_Sum(struct ref_call *c)
{
    return fold_operands(c, om_ref_Add);
}

FLOAT1(scale, x *p)

int om_ref_Mean(struct ref_call *c)
{
    struct ref_tensor sum = { .mem = NULL };
    const struct ref_tensor *in = &sum;
    ref_loop *loop;
    int rc = fold_operands(c, om_ref_Add);

    if (rc < 0)
        return rc;
    sum = c->out[0];
    c->out[0] = (struct ref_tensor){ .mem = NULL };
    loop = sum.dtype == OM_F32 ? scale_f32 : sum.dtype == OM_F64 ? scale_f64 : NULL;
    rc = loop ? om_ref_elementwise(c, &in, 1, &c->out[0], sum.dtype, loop,
                                   1 / (double)c->node->n_in, GRAIN_CHEAP)
              : om_ref_bad_dtype(c, sum.dtype);
    om_ref_drop(&sum);
    return rc;
}
