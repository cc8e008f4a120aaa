/* src/ref/reduce.c: reductions over axes, running sums and ArgMax. Sums of floats are kept in
 * double. */
#include "ref/kernel.h"

#include <math.h>

/* ---- ReduceX ---- */

enum fold { FOLD_SUM, FOLD_MAX, FOLD_MIN, FOLD_MEAN, FOLD_L2 };

/* The accumulator of one output element. */
struct acc {
    const void *from; /* the first element that is folded */
    double f;
    int64_t i;
};

/* NaN wins, as in numpy. */
static double fold_f64(enum fold fold, double a, double x)
{
    if (fold == FOLD_SUM || fold == FOLD_MEAN)
        return a + x;
    if (fold == FOLD_L2)
        return a + x * x;
    if (isnan(a) || isnan(x))
        return isnan(a) ? a : x;
    return fold == FOLD_MAX ? fmax(a, x) : fmin(a, x);
}

static int64_t fold_i64(enum fold fold, int64_t a, int64_t x)
{
    if (fold == FOLD_SUM || fold == FOLD_MEAN)
        return (int64_t)((uint64_t)a + (uint64_t)x);
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
FOLD_RUN(square_f32, float, f, fold_f64, FOLD_L2)
FOLD_RUN(square_f64, double, f, fold_f64, FOLD_L2)

struct reduction {
    enum fold fold;
    ref_view_fn *f32, *f64, *i64;
};

static struct acc acc_start(enum fold fold, const void *from)
{
    switch (fold) {
    case FOLD_MAX:
        return (struct acc){ from, -(double)INFINITY, INT64_MIN };
    case FOLD_MIN:
        return (struct acc){ from, (double)INFINITY, INT64_MAX };
    case FOLD_SUM:
    case FOLD_MEAN:
    case FOLD_L2:
        break;
    }
    return (struct acc){ from, 0, 0 };
}

static void acc_store(enum fold fold, const struct acc *a, int64_t n, struct ref_tensor *out,
                      int64_t i)
{
    const double f = fold == FOLD_MEAN ? a->f / (double)n : fold == FOLD_L2 ? sqrt(a->f) : a->f;

    if (out->dtype == OM_F32)
        ((float *)out->data)[i] = (float)f;
    else if (out->dtype == OM_F64)
        ((double *)out->data)[i] = f;
    else
        ((int64_t *)out->data)[i] = fold != FOLD_MEAN ? a->i : n > 0 ? a->i / n : 0;
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
        om_ref_view_each(&inner, 0, n, fn, &a);
        acc_store(r->fold, &a, n, out, o);
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

#define REDUCTION(Name, fold, run)                                                   \
    int om_ref_##Name(struct ref_call *c)                                            \
    {                                                                                \
        static const struct reduction r = { fold, run##_f32, run##_f64, run##_i64 }; \
                                                                                     \
        return reduce(c, &r);                                                        \
    }

REDUCTION(ReduceSum, FOLD_SUM, sum)
REDUCTION(ReduceMean, FOLD_MEAN, sum)

int om_ref_ReduceL2(struct ref_call *c)
{
    static const struct reduction r = { FOLD_L2, square_f32, square_f64, NULL };

    return reduce(c, &r);
}

REDUCTION(ReduceMax, FOLD_MAX, max)
REDUCTION(ReduceMin, FOLD_MIN, min)

/* ---- CumSum ---- */

/* One line of n elements that lie step apart. */
struct line {
    int64_t at, step, n;
    bool exclusive, reverse;
};

#define CUMSUM(name, T, A)                                                        \
    static void name(const void *from, void *to, const struct line *l)            \
    {                                                                             \
        A sum = 0;                                                                \
                                                                                  \
        for (int64_t i = 0; i < l->n; i++) {                                      \
            const int64_t at = l->at + (l->reverse ? l->n - 1 - i : i) * l->step; \
            const A before = sum;                                                 \
                                                                                  \
            sum = sum + (A)((const T *)from)[at];                                 \
            ((T *)to)[at] = (T)(l->exclusive ? before : sum);                     \
        }                                                                         \
    }

CUMSUM(cumsum_f32, float, double)
CUMSUM(cumsum_f64, double, double)
CUMSUM(cumsum_i64, int64_t, uint64_t)

int om_ref_CumSum(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct line l = { .exclusive = om_node_int(c->node, "exclusive", 0) != 0,
                      .reverse = om_node_int(c->node, "reverse", 0) != 0 };
    void (*run)(const void *, void *, const struct line *) = x->dtype == OM_F32   ? cumsum_f32
                                                             : x->dtype == OM_F64 ? cumsum_f64
                                                             : x->dtype == OM_I64 ? cumsum_i64
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

/* ---- ArgMax ---- */

/* The position of the maximum; NaN counts as the largest, as in numpy. */
#define ARGMAX(name, T)                                                                         \
    static int64_t name(const void *from, const struct line *l, bool last)                      \
    {                                                                                           \
        const T *x = (const T *)from + l->at;                                                   \
        int64_t best = 0;                                                                       \
                                                                                                \
        for (int64_t i = 1; i < l->n; i++) {                                                    \
            const T a = x[best * l->step], b = x[i * l->step];                                  \
            const bool a_nan = !(a <= a), b_nan = !(b <= b);                                    \
                                                                                                \
            if (b > a || (b_nan && !a_nan) || (last && (b >= a || b_nan) && (!a_nan || b_nan))) \
                best = i;                                                                       \
        }                                                                                       \
        return best;                                                                            \
    }

ARGMAX(argmax_f32, float)
ARGMAX(argmax_f64, double)
ARGMAX(argmax_i64, int64_t)

int om_ref_ArgMax(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const bool keep = om_node_int(c->node, "keepdims", 1) != 0;
    const bool last = om_node_int(c->node, "select_last_index", 0) != 0;
    int64_t (*run)(const void *, const struct line *, bool) = x->dtype == OM_F32   ? argmax_f32
                                                              : x->dtype == OM_F64 ? argmax_f64
                                                              : x->dtype == OM_I64 ? argmax_i64
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
