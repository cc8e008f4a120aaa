/* src/ref/reduce.c: reductions over axes, running sums and ArgMax. Sums of floats are kept in
 * double. */
#include "ref/kernel.h"

#include <math.h>

/* ---- ReduceX ---- */

enum fold { FOLD_SUM, FOLD_MAX, FOLD_MIN, FOLD_MEAN, FOLD_L2, FOLD_L1, FOLD_PROD };

/* The accumulator of one output element. */
struct acc {
    const void *from; /* the first element that is folded */
    double f;
    int64_t i;
    double shift; /* taken out of exponents */
};

/* NaN wins, as in numpy. */
static double fold_f64(enum fold fold, double a, double x)
{
    if (fold == FOLD_SUM || fold == FOLD_MEAN)
        return a + x;
    if (fold == FOLD_L2)
        return a + x * x;
    if (fold == FOLD_L1)
        return a + fabs(x);
    if (fold == FOLD_PROD)
        return a * x;
    if (isnan(a) || isnan(x))
        return isnan(a) ? a : x;
    return fold == FOLD_MAX ? fmax(a, x) : fmin(a, x);
}

static int64_t fold_i64(enum fold fold, int64_t a, int64_t x)
{
    if (fold == FOLD_SUM || fold == FOLD_MEAN)
        return (int64_t)((uint64_t)a + (uint64_t)x);
    if (fold == FOLD_L2)
        return (int64_t)((uint64_t)a + (uint64_t)x * (uint64_t)x);
    if (fold == FOLD_L1)
        return (int64_t)((uint64_t)a + (x < 0 ? 0 - (uint64_t)x : (uint64_t)x));
    if (fold == FOLD_PROD)
        return (int64_t)((uint64_t)a * (uint64_t)x);
    return fold == FOLD_MAX ? OM_MAX(a, x) : OM_MIN(a, x);
}

#define FOLD_RUN(name, T, field, fold_one, fold)                                                 \
    static void name(void *user, int64_t out, const int64_t *at, const int64_t *step, int64_t n) \
    {                                                                                            \
        struct acc *a = user;                                                                    \
        const T *x = (const T *)a->from + at[0];                                                 \
                                                                                                 \
        (void)out;                                                                               \
        for (int64_t i = 0; i < n; i++)                                                          \
            a->field = fold_one(fold, a->field, x[i * step[0]]);                                 \
    }

#define FOLD_RUNS(name, fold)                       \
    FOLD_RUN(name##_f32, float, f, fold_f64, fold)  \
    FOLD_RUN(name##_f64, double, f, fold_f64, fold) \
    FOLD_RUN(name##_i64, int64_t, i, fold_i64, fold)

FOLD_RUNS(sum, FOLD_SUM)
FOLD_RUNS(max, FOLD_MAX)
FOLD_RUNS(min, FOLD_MIN)
FOLD_RUNS(square, FOLD_L2)
FOLD_RUNS(absolute, FOLD_L1)
FOLD_RUNS(product, FOLD_PROD)

/* Sums of exponentials, the maximum taken out; that is found first. */
#define EXP_RUN(name, T)                                                                         \
    static void name(void *user, int64_t out, const int64_t *at, const int64_t *step, int64_t n) \
    {                                                                                            \
        struct acc *a = user;                                                                    \
        const T *x = (const T *)a->from + at[0];                                                 \
                                                                                                 \
        (void)out;                                                                               \
        for (int64_t i = 0; i < n; i++)                                                          \
            a->f += exp((double)x[i * step[0]] - a->shift);                                      \
    }

EXP_RUN(exp_f32, float)
EXP_RUN(exp_f64, double)

/* What becomes of the folded value. */
enum finish { FINISH_NONE, FINISH_MEAN, FINISH_SQRT, FINISH_LOG };

struct reduction {
    enum fold fold;
    enum finish finish;
    ref_view_fn *f32, *f64, *i64;
};

static struct acc acc_start(enum fold fold, const void *from)
{
    switch (fold) {
    case FOLD_MAX:
        return (struct acc){ from, -(double)INFINITY, INT64_MIN, 0 };
    case FOLD_MIN:
        return (struct acc){ from, (double)INFINITY, INT64_MAX, 0 };
    case FOLD_PROD:
        return (struct acc){ from, 1, 1, 0 };
    case FOLD_SUM:
    case FOLD_MEAN:
    case FOLD_L2:
    case FOLD_L1:
        break;
    }
    return (struct acc){ from, 0, 0, 0 };
}

static double finish_f64(enum finish finish, double f, int64_t n)
{
    switch (finish) {
    case FINISH_MEAN:
        return f / (double)n;
    case FINISH_SQRT:
        return sqrt(f);
    case FINISH_LOG: /* floats have it already */
    case FINISH_NONE:
        break;
    }
    return f;
}

static void acc_store(enum finish finish, const struct acc *a, int64_t n, struct ref_tensor *out,
                      int64_t i)
{
    int64_t v = a->i;

    if (out->dtype == OM_F32)
        ((float *)out->data)[i] = (float)finish_f64(finish, a->f, n);
    else if (out->dtype == OM_F64)
        ((double *)out->data)[i] = finish_f64(finish, a->f, n);
    else {
        if (finish == FINISH_MEAN)
            v = n > 0 ? v / n : 0;
        else if (finish == FINISH_SQRT)
            v = (int64_t)sqrt((double)OM_MAX(v, 0));
        ((int64_t *)out->data)[i] = v;
    }
}

/* The axes that are reduced, as a bit set. */
static int reduced_axes(const struct ref_call *c, const struct ref_tensor *x, uint32_t *set)
{
    struct ref_ints axes;

    OM_TRY(om_ref_ints(c, 1, "axes", &axes));
    OM_TRY(om_ref_axis_set(c, &axes, x->rank, set));
    if (axes.n == 0 && !om_node_int(c->node, "noop_with_empty_axes", 0))
        *set = (1u << x->rank) - 1;
    return 0;
}

static void find_shift(const struct ref_view *inner, int64_t n, ref_view_fn *max, struct acc *a)
{
    struct acc top = acc_start(FOLD_MAX, a->from);

    om_ref_view_each(inner, 0, n, max, &top);
    a->shift = isfinite(top.f) ? top.f : 0;
}

/* Fold the axes of x in set. kept walks over the output, inner over what one output element folds.
 */
static void fold_all(const struct reduction *r, const struct ref_tensor *x, uint32_t set,
                     ref_view_fn *fn, struct ref_tensor *out)
{
    struct ref_view inner = { .n_operands = 1 };
    int64_t steps[OM_RANK_MAX], kept[OM_RANK_MAX], n = 1;
    uint32_t n_kept = 0, kept_axes[OM_RANK_MAX];

    om_ref_steps(x->dims, x->rank, steps);
    for (uint32_t i = 0; i < x->rank; i++) {
        if (set >> i & 1) {
            inner.dims[inner.rank] = x->dims[i];
            inner.steps[0][inner.rank++] = steps[i];
            n *= x->dims[i];
        } else {
            kept[n_kept] = steps[i];
            kept_axes[n_kept++] = i;
        }
    }
    om_ref_view_fold(&inner);
    for (int64_t o = 0; o < out->count; o++) {
        int64_t at = 0, rest = o;
        struct acc a;

        for (uint32_t k = n_kept; k-- > 0; rest /= x->dims[kept_axes[k]])
            at += rest % x->dims[kept_axes[k]] * kept[k];
        a = acc_start(r->fold,
                      (const unsigned char *)x->data + (size_t)at * om_dtype_size(x->dtype));
        if (fn == exp_f32 || fn == exp_f64)
            find_shift(&inner, n, fn == exp_f32 ? max_f32 : max_f64, &a);
        om_ref_view_each(&inner, 0, n, fn, &a);
        a.f = r->finish == FINISH_LOG ? log(a.f) + a.shift : a.f;
        acc_store(r->finish, &a, n, out, o);
    }
}

static int reduce(struct ref_call *c, const struct reduction *r)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const bool keep = om_node_int(c->node, "keepdims", 1) != 0;
    ref_view_fn *fn = x->dtype == OM_F32   ? r->f32
                      : x->dtype == OM_F64 ? r->f64
                      : x->dtype == OM_I64 ? r->i64
                                           : NULL;
    int64_t dims[OM_RANK_MAX];
    uint32_t set = 0, rank = 0;

    if (!fn)
        return om_ref_bad_dtype(c, x->dtype);
    OM_TRY(reduced_axes(c, x, &set));
    for (uint32_t i = 0; i < x->rank; i++) {
        if (!(set >> i & 1))
            dims[rank++] = x->dims[i];
        else if (keep)
            dims[rank++] = 1;
    }
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, dims, rank, c->err));
    fold_all(r, x, set, fn, &c->out[0]);
    return 0;
}

#define REDUCTION(Name, fold, finish, run)                                                   \
    int om_ref_##Name(struct ref_call *c)                                                    \
    {                                                                                        \
        static const struct reduction r = { fold, finish, run##_f32, run##_f64, run##_i64 }; \
                                                                                             \
        return reduce(c, &r);                                                                \
    }

REDUCTION(ReduceSum, FOLD_SUM, FINISH_NONE, sum)
REDUCTION(ReduceMean, FOLD_MEAN, FINISH_MEAN, sum)
REDUCTION(ReduceMax, FOLD_MAX, FINISH_NONE, max)
REDUCTION(ReduceMin, FOLD_MIN, FINISH_NONE, min)
REDUCTION(ReduceL1, FOLD_L1, FINISH_NONE, absolute)
REDUCTION(ReduceL2, FOLD_L2, FINISH_SQRT, square)
REDUCTION(ReduceSumSquare, FOLD_L2, FINISH_NONE, square)

/* Integers by way of double. */
static int reduce_real(struct ref_call *c, const struct reduction *r)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct ref_tensor wide = { .mem = NULL }, out = { .mem = NULL };
    const struct ref_tensor *const in[2] = { &wide, om_ref_in(c, 1) };
    struct ref_call call = *c;
    int rc;

    if (x->dtype != OM_I64)
        return reduce(c, r);
    call.in = in;
    call.out = &out;
    rc = om_ref_convert(c->pool, &wide, x, OM_F64, c->err);
    if (rc == 0)
        rc = reduce(&call, r);
    if (rc == 0)
        rc = om_ref_convert(c->pool, &c->out[0], &out, OM_I64, c->err);
    om_ref_drop(&wide);
    om_ref_drop(&out);
    return rc;
}

int om_ref_ReduceLogSum(struct ref_call *c)
{
    static const struct reduction r = { FOLD_SUM, FINISH_LOG, sum_f32, sum_f64, NULL };

    return reduce_real(c, &r);
}

REDUCTION(ReduceProd, FOLD_PROD, FINISH_NONE, product)

int om_ref_ReduceLogSumExp(struct ref_call *c)
{
    static const struct reduction r = { FOLD_SUM, FINISH_LOG, exp_f32, exp_f64, NULL };

    return reduce_real(c, &r);
}

/* ---- CumSum and CumProd ---- */

/* One line of n elements that lie step apart. */
struct line {
    int64_t at, step, n;
    bool exclusive, reverse;
};

#define CUMULATE(name, T, A, first, op)                                           \
    static void name(const void *from, void *to, const struct line *l)            \
    {                                                                             \
        A sum = (first);                                                          \
                                                                                  \
        for (int64_t i = 0; i < l->n; i++) {                                      \
            const int64_t at = l->at + (l->reverse ? l->n - 1 - i : i) * l->step; \
            const A before = sum;                                                 \
                                                                                  \
            sum = sum op(A)((const T *)from)[at];                                 \
            ((T *)to)[at] = (T)(l->exclusive ? before : sum);                     \
        }                                                                         \
    }

CUMULATE(cumsum_f32, float, double, 0, +)
CUMULATE(cumsum_f64, double, double, 0, +)
CUMULATE(cumsum_i64, int64_t, uint64_t, 0, +)
CUMULATE(cumprod_f32, float, double, 1, *)
CUMULATE(cumprod_f64, double, double, 1, *)
CUMULATE(cumprod_i64, int64_t, uint64_t, 1, *)

typedef void cumulation(const void *from, void *to, const struct line *l);

static int cumulate(struct ref_call *c, cumulation *f32, cumulation *f64, cumulation *i64)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct line l = { .exclusive = om_node_int(c->node, "exclusive", 0) != 0,
                      .reverse = om_node_int(c->node, "reverse", 0) != 0 };
    cumulation *const run = x->dtype == OM_F32   ? f32
                            : x->dtype == OM_F64 ? f64
                            : x->dtype == OM_I64 ? i64
                                                 : NULL;
    int64_t axis_in = 0;
    uint32_t axis = 0;

    if (!run)
        return om_ref_bad_dtype(c, x->dtype);
    OM_TRY(om_ref_scalar_i64(c, 1, "axis", &axis_in));
    OM_TRY(om_ref_axis(c, axis_in, x->rank, &axis));
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, x->dims, x->rank, c->err));
    l.n = x->dims[axis];
    l.step = om_ref_product(x->dims, axis + 1, x->rank);
    for (int64_t i = 0; x->count > 0 && i < x->count / l.n; i++) {
        l.at = i / l.step * l.step * l.n + i % l.step;
        run(x->data, c->out[0].data, &l);
    }
    return 0;
}

int om_ref_CumSum(struct ref_call *c)
{
    return cumulate(c, cumsum_f32, cumsum_f64, cumsum_i64);
}

int om_ref_CumProd(struct ref_call *c)
{
    return cumulate(c, cumprod_f32, cumprod_f64, cumprod_i64);
}

/* ---- ArgMax and ArgMin ---- */

/* The position of the maximum or minimum; NaN counts as that, as in numpy. */
#define ARGMAX(name, T, op)                                                \
    static int64_t name(const void *from, const struct line *l, bool last) \
    {                                                                      \
        const T *x = (const T *)from + l->at;                              \
        int64_t best = 0;                                                  \
                                                                           \
        for (int64_t i = 1; i < l->n; i++) {                               \
            const T a = x[best * l->step], b = x[i * l->step];             \
            const bool a_nan = !(a <= a), b_nan = !(b <= b);               \
                                                                           \
            if (b op a || (b_nan && !a_nan) ||                             \
                (last && (b op## = a || b_nan) && (!a_nan || b_nan)))      \
                best = i;                                                  \
        }                                                                  \
        return best;                                                       \
    }

ARGMAX(argmax_f32, float, >)
ARGMAX(argmax_f64, double, >)
ARGMAX(argmax_i64, int64_t, >)
ARGMAX(argmin_f32, float, <)
ARGMAX(argmin_f64, double, <)
ARGMAX(argmin_i64, int64_t, <)

typedef int64_t arg_loop(const void *from, const struct line *l, bool last);

static int find_extreme(struct ref_call *c, arg_loop *f32, arg_loop *f64, arg_loop *i64)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const bool keep = om_node_int(c->node, "keepdims", 1) != 0;
    const bool last = om_node_int(c->node, "select_last_index", 0) != 0;
    arg_loop *run = x->dtype == OM_F32   ? f32
                    : x->dtype == OM_F64 ? f64
                    : x->dtype == OM_I64 ? i64
                                         : NULL;
    struct line l = { .at = 0 };
    int64_t dims[OM_RANK_MAX];
    uint32_t axis = 0, rank = 0;

    if (!run)
        return om_ref_bad_dtype(c, x->dtype);
    OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", 0), x->rank, &axis));
    for (uint32_t i = 0; i < x->rank; i++)
        if (i != axis || keep)
            dims[rank++] = i == axis ? 1 : x->dims[i];
    OM_TRY(om_ref_new(c->pool, &c->out[0], OM_I64, dims, rank, c->err));
    l.n = x->dims[axis];
    l.step = om_ref_product(x->dims, axis + 1, x->rank);
    if (c->out[0].count > 0 && l.n == 0)
        return om_fail(c->err, OM_E_USAGE, "no maximum of no elements along axis %" PRIu32, axis);
    for (int64_t i = 0; i < c->out[0].count; i++) {
        l.at = i / l.step * l.step * l.n + i % l.step;
        ((int64_t *)c->out[0].data)[i] = run(x->data, &l, last);
    }
    return 0;
}

int om_ref_ArgMax(struct ref_call *c)
{
    return find_extreme(c, argmax_f32, argmax_f64, argmax_i64);
}

int om_ref_ArgMin(struct ref_call *c)
{
    return find_extreme(c, argmin_f32, argmin_f64, argmin_i64);
}
