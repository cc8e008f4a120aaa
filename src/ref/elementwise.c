/* src/ref/elementwise.c: operators that compute every element from the elements at the same place.
 *
 * A loop computes a run of elements; its operands step by 1 or, where broadcast, by 0. float32 goes
 * through double wherever the formula is more than one rounding. */
#include "ref/kernel.h"

#include <math.h>

#include "base/thread.h"
#include "ref/loops.h"

ref_loop *om_ref_pick_loop(const struct ref_loops *l, enum om_dtype dtype)
{
    return dtype == OM_F32    ? l->f32
           : dtype == OM_F64  ? l->f64
           : dtype == OM_I64  ? l->i64
           : dtype == OM_U64  ? l->u64
           : dtype == OM_BOOL ? l->boolean
                              : NULL;
}

struct job {
    struct ref_view view;
    ref_loop *loop;
    double param;
    unsigned char *out;
    size_t out_size;
    const unsigned char *in[REF_OPERANDS];
    int64_t in_size[REF_OPERANDS];
};

static void job_run(void *user, int64_t out, const int64_t *at, const int64_t *step, int64_t n)
{
    const struct job *j = user;
    const void *in[REF_OPERANDS] = { NULL };

    for (uint32_t o = 0; o < j->view.n_operands; o++)
        in[o] = j->in[o] + at[o] * j->in_size[o];
    j->loop(j->out + (size_t)out * j->out_size, in, step, n, j->param);
}

static void job_range(void *user, size_t begin, size_t end)
{
    struct job *j = user;

    om_ref_view_each(&j->view, (int64_t)begin, (int64_t)end, job_run, j);
}

/* Broadcast the n_in operands, make the output and fill it. */
int om_ref_elementwise(struct ref_call *c, const struct ref_tensor *const *in, unsigned n_in,
                       struct ref_tensor *out, enum om_dtype out_dtype, ref_loop *loop,
                       double param, size_t grain)
{
    struct job j = { .view = { .n_operands = n_in }, .loop = loop, .param = param };
    int64_t dims[OM_RANK_MAX];
    uint32_t rank;

    OM_TRY(om_ref_broadcast_dims(c, in, n_in, dims, &rank));
    OM_TRY(om_ref_new(c->pool, out, out_dtype, dims, rank, c->err));
    j.view.rank = rank;
    memcpy(j.view.dims, out->dims, rank * sizeof(*dims));
    j.out = out->data;
    j.out_size = om_dtype_size(out_dtype);
    for (unsigned i = 0; i < n_in; i++) {
        om_ref_broadcast_steps(in[i], rank, j.view.steps[i]);
        j.in[i] = in[i]->data;
        j.in_size[i] = (int64_t)om_dtype_size(in[i]->dtype);
    }
    om_ref_view_fold(&j.view);
    om_parallel((size_t)out->count, grain, job_range, &j);
    return 0;
}

/* ---- one operand ---- */

int om_ref_run_unary(struct ref_call *c, const struct ref_loops *l, double param, size_t grain)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    ref_loop *loop = om_ref_pick_loop(l, x->dtype);

    if (!loop)
        return om_ref_bad_dtype(c, x->dtype);
    return om_ref_elementwise(c, &x, 1, &c->out[0], x->dtype, loop, param, grain);
}

static int64_t wrap_neg(int64_t x)
{
    return (int64_t)(0 - (uint64_t)x);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

UNARY_SIGNED(Abs, fabs(x), x < 0 ? wrap_neg(x) : x)
UNARY_SIGNED(Neg, -x, wrap_neg(x))
UNARY_SIGNED(Relu, x < 0 ? 0 : x, x < 0 ? 0 : x)
UNARY_SIGNED(Sign, x > 0 ? 1 : x < 0 ? -1 : x, (x > 0) - (x < 0))
UNARY_FLOAT(Ceil, ceil(x))
UNARY_FLOAT(Cos, cos(x))
UNARY_FLOAT(Erf, erf(x))
UNARY_FLOAT(Exp, exp(x))
UNARY_FLOAT(Floor, floor(x))
UNARY_FLOAT(Log, log(x))
UNARY_FLOAT(Mish, x *tanh(softplus(x)))
UNARY_FLOAT(Reciprocal, 1 / x)
UNARY_FLOAT(Round, nearbyint(x)) /* half to even: nobody changes the rounding mode */
UNARY_FLOAT(Sigmoid, sigmoid(x))
UNARY_FLOAT(Sin, sin(x))
UNARY_FLOAT(Softplus, softplus(x))
UNARY_FLOAT(Sqrt, sqrt(x))
UNARY_FLOAT(Tanh, tanh(x))

LOOP1(Not_bool, uint8_t, uint8_t, uint8_t, x == 0)
UNARY(Not, GRAIN_CHEAP, .boolean = Not_bool)

#define UNARY_PARAM(Name, attr, def, expr)                                             \
    FLOAT1(Name, expr)                                                                 \
    int om_ref_##Name(struct ref_call *c)                                              \
    {                                                                                  \
        static const struct ref_loops l = { .f32 = Name##_f32, .f64 = Name##_f64 };    \
                                                                                       \
        return om_ref_run_unary(c, &l, om_node_float(c->node, attr, def), GRAIN_DEAR); \
    }

UNARY_PARAM(LeakyRelu, "alpha", 0.01, x < 0 ? p * x : x)
UNARY_PARAM(Swish, "alpha", 1, x *sigmoid(p *x))

#define SQRT_HALF 0.70710678118654752440      /* sqrt(1 / 2) */
#define SQRT_2_OVER_PI 0.79788456080286535588 /* sqrt(2 / pi) */

FLOAT1(gelu_erf, 0.5 * x * (1 + erf(x * SQRT_HALF)))
FLOAT1(gelu_tanh, 0.5 * x * (1 + tanh(SQRT_2_OVER_PI * (x + 0.044715 * x * x * x))))

int om_ref_Gelu(struct ref_call *c)
{
    static const struct ref_loops by_erf = { .f32 = gelu_erf_f32, .f64 = gelu_erf_f64 };
    static const struct ref_loops by_tanh = { .f32 = gelu_tanh_f32, .f64 = gelu_tanh_f64 };

    return om_ref_run_unary(c, om_ref_attr_is(c, "approximate", "tanh") ? &by_tanh : &by_erf, 0,
                            GRAIN_DEAR);
}

/* ---- two operands ---- */

static int same_dtype(const struct ref_call *c, const struct ref_tensor *a,
                      const struct ref_tensor *b)
{
    if (a->dtype == b->dtype)
        return 0;
    return om_fail(c->err, OM_E_FORMAT, "operands differ in dtype: %s and %s",
                   om_dtype_text(a->dtype), om_dtype_text(b->dtype));
}

int om_ref_run_binary(struct ref_call *c, const struct ref_loops *l, bool gives_bool)
{
    const struct ref_tensor *const in[2] = { om_ref_in(c, 0), om_ref_in(c, 1) };
    const enum om_dtype dtype = in[0]->dtype;
    ref_loop *loop = om_ref_pick_loop(l, dtype);

    OM_TRY(same_dtype(c, in[0], in[1]));
    if (!loop)
        return om_ref_bad_dtype(c, dtype);
    return om_ref_elementwise(c, in, 2, &c->out[0], gives_bool ? OM_BOOL : dtype, loop, 0,
                              GRAIN_CHEAP);
}

#define ARITHMETIC(Name, float_expr, int_expr, uint_expr)                              \
    LOOP2(Name##_f32, float, float, float_expr)                                        \
    LOOP2(Name##_f64, double, double, float_expr)                                      \
    LOOP2(Name##_i64, int64_t, int64_t, int_expr)                                      \
    LOOP2(Name##_u64, uint64_t, uint64_t, uint_expr)                                   \
    int om_ref_##Name(struct ref_call *c)                                              \
    {                                                                                  \
        static const struct ref_loops l = {                                            \
            .f32 = Name##_f32, .f64 = Name##_f64, .i64 = Name##_i64, .u64 = Name##_u64 \
        };                                                                             \
                                                                                       \
        return om_ref_run_binary(c, &l, false);                                        \
    }

#define COMPARISON(Name, op)                                                           \
    LOOP2(Name##_f32, float, uint8_t, x op y)                                          \
    LOOP2(Name##_f64, double, uint8_t, x op y)                                         \
    LOOP2(Name##_i64, int64_t, uint8_t, x op y)                                        \
    LOOP2(Name##_u64, uint64_t, uint8_t, x op y)                                       \
    int om_ref_##Name(struct ref_call *c)                                              \
    {                                                                                  \
        static const struct ref_loops l = {                                            \
            .f32 = Name##_f32, .f64 = Name##_f64, .i64 = Name##_i64, .u64 = Name##_u64 \
        };                                                                             \
                                                                                       \
        return om_ref_run_binary(c, &l, true);                                         \
    }

#define LOGICAL(Name, op)                                             \
    LOOP2(Name##_bool, uint8_t, uint8_t, (x != 0) op(y != 0))         \
    int om_ref_##Name(struct ref_call *c)                             \
    {                                                                 \
        static const struct ref_loops l = { .boolean = Name##_bool }; \
                                                                      \
        return om_ref_run_binary(c, &l, true);                        \
    }

/* Integers wrap, as they do in every runtime; a division by zero gives 0, as in numpy. */
static int64_t wrap_add(int64_t x, int64_t y)
{
    return (int64_t)((uint64_t)x + (uint64_t)y);
}

static int64_t wrap_sub(int64_t x, int64_t y)
{
    return (int64_t)((uint64_t)x - (uint64_t)y);
}

static int64_t wrap_mul(int64_t x, int64_t y)
{
    return (int64_t)((uint64_t)x * (uint64_t)y);
}

static int64_t div_trunc(int64_t x, int64_t y)
{
    return y == 0 ? 0 : y == -1 ? wrap_neg(x) : x / y;
}

/* The remainder with the sign of the divisor. */
static int64_t mod_floor(int64_t x, int64_t y)
{
    const int64_t r = y == 0 || y == -1 ? 0 : x % y;

    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}

/* The remainder with the sign of the dividend. */
static int64_t mod_trunc(int64_t x, int64_t y)
{
    return y == 0 || y == -1 ? 0 : x % y;
}

ARITHMETIC(Add, x + y, wrap_add(x, y), x + y)
ARITHMETIC(Sub, x - y, wrap_sub(x, y), x - y)
ARITHMETIC(Mul, x *y, wrap_mul(x, y), x *y)
ARITHMETIC(Div, x / y, div_trunc(x, y), y == 0 ? 0 : x / y)
ARITHMETIC(Max, x > y || isnan(x) ? x : y, x > y ? x : y, x > y ? x : y)
ARITHMETIC(Min, x < y || isnan(x) ? x : y, x < y ? x : y, x < y ? x : y)
COMPARISON(Equal, ==)
COMPARISON(Greater, >)
COMPARISON(GreaterOrEqual, >=)
COMPARISON(Less, <)
COMPARISON(LessOrEqual, <=)
LOGICAL(And, &&)
LOGICAL(Or, ||)

LOOP2(fmod_f32, float, float, fmodf(x, y))
LOOP2(fmod_f64, double, double, fmod(x, y))
LOOP2(fmod_i64, int64_t, int64_t, mod_trunc(x, y))
LOOP2(mod_i64, int64_t, int64_t, mod_floor(x, y))
LOOP2(mod_u64, uint64_t, uint64_t, y == 0 ? 0 : x % y)

int om_ref_Mod(struct ref_call *c)
{
    static const struct ref_loops as_c = {
        .f32 = fmod_f32, .f64 = fmod_f64, .i64 = fmod_i64, .u64 = mod_u64
    };
    static const struct ref_loops floored = { .i64 = mod_i64,
                                              .u64 = mod_u64 }; /* not defined for floats */

    return om_ref_run_binary(c, om_node_int(c->node, "fmod", 0) ? &as_c : &floored, false);
}

/* ---- Pow: base and exponent may differ in dtype, the result has the base's ---- */

/* Wrapping power; of a negative exponent only the whole part of 1 / x^y is left. */
static int64_t int_pow(int64_t x, int64_t y)
{
    int64_t r = 1;

    if (y < 0)
        return x == 1 ? 1 : x == -1 ? (y % 2 ? -1 : 1) : 0;
    for (; y > 0; y /= 2, x = wrap_mul(x, x))
        if (y % 2)
            r = wrap_mul(r, x);
    return r;
}

LOOP2(pow_f32, float, float, pow((double)x, (double)y))
LOOP2(pow_f64, double, double, pow(x, y))
LOOP2(pow_i64, int64_t, int64_t, int_pow(x, y))
LOOP2(pow_u64, uint64_t, uint64_t, int_pow((int64_t)x, (int64_t)OM_MIN(y, (uint64_t)INT64_MAX)))

static int pow_mixed(struct ref_call *c, const struct ref_tensor *base,
                     const struct ref_tensor *exponent)
{
    struct ref_tensor x = { .mem = NULL }, y = { .mem = NULL }, z = { .mem = NULL };
    const struct ref_tensor *const in[2] = { &x, &y };
    int rc = om_ref_convert(c->pool, &x, base, OM_F64, c->err);

    if (rc == 0)
        rc = om_ref_convert(c->pool, &y, exponent, OM_F64, c->err);
    if (rc == 0)
        rc = om_ref_elementwise(c, in, 2, &z, OM_F64, pow_f64, 0, GRAIN_DEAR);
    if (rc == 0)
        rc = om_ref_convert(c->pool, &c->out[0], &z, base->dtype, c->err);
    om_ref_drop(&x);
    om_ref_drop(&y);
    om_ref_drop(&z);
    return rc;
}

int om_ref_Pow(struct ref_call *c)
{
    static const struct ref_loops l = {
        .f32 = pow_f32, .f64 = pow_f64, .i64 = pow_i64, .u64 = pow_u64
    };
    const struct ref_tensor *const in[2] = { om_ref_in(c, 0), om_ref_in(c, 1) };
    const enum om_dtype dtype = in[0]->dtype;
    ref_loop *loop = om_ref_pick_loop(&l, dtype);

    if (!loop || !om_ref_pick_loop(&l, in[1]->dtype))
        return om_ref_bad_dtype(c, loop ? in[1]->dtype : dtype);
    if (dtype != in[1]->dtype)
        return pow_mixed(c, in[0], in[1]);
    return om_ref_elementwise(c, in, 2, &c->out[0], dtype, loop, 0, GRAIN_DEAR);
}

/* ---- three operands ---- */

LOOP3(where_8, uint8_t, uint8_t, x ? y : z)
LOOP3(where_16, uint8_t, uint16_t, x ? y : z)
LOOP3(where_32, uint8_t, uint32_t, x ? y : z)
LOOP3(where_64, uint8_t, uint64_t, x ? y : z)

int om_ref_Where(struct ref_call *c)
{
    static ref_loop *const by_size[9] = {
        [1] = where_8, [2] = where_16, [4] = where_32, [8] = where_64
    };
    const struct ref_tensor *const in[3] = { om_ref_in(c, 0), om_ref_in(c, 1), om_ref_in(c, 2) };

    if (in[0]->dtype != OM_BOOL)
        return om_fail(c->err, OM_E_FORMAT, "the condition must be bool, found %s",
                       om_dtype_text(in[0]->dtype));
    OM_TRY(same_dtype(c, in[1], in[2]));
    return om_ref_elementwise(c, in, 3, &c->out[0], in[1]->dtype,
                              by_size[om_dtype_size(in[1]->dtype)], 0, GRAIN_CHEAP);
}

/* The maximum wins where the limits cross; NaN stays. */
LOOP3(clip_f32, float, float, x > z || y > z ? z : x < y ? y : x)
LOOP3(clip_f64, double, double, x > z || y > z ? z : x < y ? y : x)
LOOP3(clip_i64, int64_t, int64_t, x > z || y > z ? z : x < y ? y : x)
LOOP3(clip_u64, uint64_t, uint64_t, x > z || y > z ? z : x < y ? y : x)

/* A limit that was left out: one that no element passes. */
static int no_limit(const struct ref_call *c, struct ref_tensor *t, enum om_dtype dtype, bool upper)
{
    OM_TRY(om_ref_new(c->pool, t, dtype, NULL, 0, c->err));
    if (dtype == OM_F32)
        *(float *)t->data = upper ? INFINITY : -INFINITY;
    else if (dtype == OM_F64)
        *(double *)t->data = upper ? (double)INFINITY : -(double)INFINITY;
    else if (dtype == OM_U64)
        *(uint64_t *)t->data = upper ? UINT64_MAX : 0;
    else
        *(int64_t *)t->data = upper ? INT64_MAX : INT64_MIN;
    return 0;
}

int om_ref_Clip(struct ref_call *c)
{
    static const struct ref_loops l = {
        .f32 = clip_f32, .f64 = clip_f64, .i64 = clip_i64, .u64 = clip_u64
    };
    const struct ref_tensor *in[3] = { om_ref_in(c, 0), om_ref_in(c, 1), om_ref_in(c, 2) };
    struct ref_tensor limits[2] = { { .mem = NULL }, { .mem = NULL } };
    const enum om_dtype dtype = in[0]->dtype;
    ref_loop *loop = om_ref_pick_loop(&l, dtype);
    int rc = loop ? 0 : om_ref_bad_dtype(c, dtype);

    for (unsigned i = 0; i < 2 && rc == 0; i++) {
        if (!in[1 + i]) {
            rc = no_limit(c, &limits[i], dtype, i == 1);
            in[1 + i] = &limits[i];
        } else if (in[1 + i]->count != 1) {
            rc = om_fail(c->err, OM_E_FORMAT, "a limit must be one number, found %" PRId64,
                         in[1 + i]->count);
        } else {
            rc = same_dtype(c, in[0], in[1 + i]);
        }
    }
    if (rc == 0)
        rc = om_ref_elementwise(c, in, 3, &c->out[0], dtype, loop, 0, GRAIN_CHEAP);
    om_ref_drop(&limits[0]);
    om_ref_drop(&limits[1]);
    return rc;
}
