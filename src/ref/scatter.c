/* src/ref/scatter.c: operators that put elements where index tensors say, and such whose result's
 * size depends on values. */
#include <math.h>
#include <stdlib.h>

#include "ref/kernel.h"

/* ---- joining an update with what is there ---- */

enum join { JOIN_NONE, JOIN_ADD, JOIN_MUL, JOIN_MAX, JOIN_MIN };

static int join_of(const struct ref_call *c, enum join *join)
{
    static const char *const names[] = { "none", "add", "mul", "max", "min" };

    *join = JOIN_NONE;
    if (!om_node_attr(c->node, "reduction"))
        return 0;
    for (size_t i = 0; i < OM_COUNT(names); i++)
        if (om_ref_attr_is(c, "reduction", names[i])) {
            *join = (enum join)i;
            return 0;
        }
    return om_fail(c->err, OM_E_FORMAT, "reduction is not none, add, mul, max or min");
}

static double join_f64(enum join join, double a, double b)
{
    switch (join) {
    case JOIN_ADD:
        return a + b;
    case JOIN_MUL:
        return a * b;
    case JOIN_MAX:
        return isnan(a) || a > b ? a : b;
    case JOIN_MIN:
        return isnan(a) || a < b ? a : b;
    case JOIN_NONE:
        break;
    }
    return b;
}

static int64_t join_i64(enum join join, int64_t a, int64_t b)
{
    switch (join) {
    case JOIN_ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case JOIN_MUL:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    case JOIN_MAX:
        return OM_MAX(a, b);
    case JOIN_MIN:
        return OM_MIN(a, b);
    case JOIN_NONE:
        break;
    }
    return b;
}

/* Join element from of update into element to of t, n elements on. */
static void join_run(enum join join, struct ref_tensor *t, int64_t to, const struct ref_tensor *u,
                     int64_t from, int64_t n)
{
    const size_t size = om_dtype_size(t->dtype);

    if (join == JOIN_NONE) {
        memcpy((unsigned char *)t->data + (size_t)to * size,
               (const unsigned char *)u->data + (size_t)from * size, (size_t)n * size);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        if (t->dtype == OM_F32) {
            float *const x = (float *)t->data + to + i;

            *x = (float)join_f64(join, (double)*x, (double)((const float *)u->data)[from + i]);
        } else if (t->dtype == OM_F64) {
            double *const x = (double *)t->data + to + i;

            *x = join_f64(join, *x, ((const double *)u->data)[from + i]);
        } else {
            int64_t *const x = (int64_t *)t->data + to + i;

            *x = join_i64(join, *x, ((const int64_t *)u->data)[from + i]);
        }
    }
}

/* A copy of the data to scatter into; the result goes back to the dtype it had. */
static int begin(struct ref_call *c, enum join *join)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *u = om_ref_in(c, 2);

    OM_TRY(join_of(c, join));
    if (x->dtype != u->dtype)
        return om_fail(c->err, OM_E_FORMAT, "data of %s and updates of %s", om_dtype_text(x->dtype),
                       om_dtype_text(u->dtype));
    if (*join != JOIN_NONE && x->dtype != OM_F32 && x->dtype != OM_F64 && x->dtype != OM_I64)
        return om_ref_bad_dtype(c, x->dtype);
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, x->dims, x->rank, c->err));
    if (x->count > 0)
        memcpy(c->out[0].data, x->data, (size_t)x->count * om_dtype_size(x->dtype));
    return 0;
}

static int index_of(const struct ref_call *c, const struct ref_tensor *ids, int64_t i, int64_t dim,
                    int64_t *out)
{
    const int64_t v = om_ref_i64_at(ids, i);

    if (v < -dim || v >= dim)
        return om_fail(c->err, OM_E_USAGE,
                       "index %" PRId64 " is outside [%" PRId64 ", %" PRId64 ")", v, -dim, dim);
    *out = v < 0 ? v + dim : v;
    return 0;
}

static int check_indices(const struct ref_call *c, const struct ref_tensor *t)
{
    if (t->dtype != OM_I64 && t->dtype != OM_I32)
        return om_fail(c->err, OM_E_FORMAT, "indices must be int64 or int32, found %s",
                       om_dtype_text(t->dtype));
    return 0;
}

int om_ref_ScatterElements(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *ids = om_ref_in(c, 1), *u = om_ref_in(c, 2);
    int64_t steps[OM_RANK_MAX], at = 0;
    enum join join;
    uint32_t axis = 0;
    bool fits = x->rank == ids->rank && x->rank == u->rank;

    OM_TRY(check_indices(c, ids));
    OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", 0), x->rank, &axis));
    for (uint32_t i = 0; fits && i < x->rank; i++)
        fits = ids->dims[i] == u->dims[i] && (i == axis || ids->dims[i] <= x->dims[i]);
    if (!fits)
        return om_fail(c->err, OM_E_FORMAT, "data, indices and updates do not fit in shape");
    OM_TRY(begin(c, &join));
    om_ref_steps(x->dims, x->rank, steps);
    for (int64_t i = 0; i < ids->count; i++) {
        int64_t to = 0, rest = i;

        OM_TRY(index_of(c, ids, i, x->dims[axis], &at));
        for (uint32_t k = ids->rank; k-- > 0; rest /= ids->dims[k])
            to += (k == axis ? at : rest % ids->dims[k]) * steps[k];
        join_run(join, &c->out[0], to, u, i, 1);
    }
    return 0;
}

int om_ref_ScatterND(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *ids = om_ref_in(c, 1), *u = om_ref_in(c, 2);
    const int64_t depth = ids->rank > 0 ? ids->dims[ids->rank - 1] : -1;
    enum join join;
    int64_t row, n, at = 0;
    bool fits;

    OM_TRY(check_indices(c, ids));
    fits = depth >= 0 && depth <= x->rank &&
           u->rank == ids->rank - 1 + x->rank - (uint32_t)OM_MAX(depth, 0);
    for (uint32_t i = 0; fits && i < u->rank; i++)
        fits = u->dims[i] ==
               (i < ids->rank - 1 ? ids->dims[i] : x->dims[i - (ids->rank - 1) + (uint32_t)depth]);
    if (!fits)
        return om_fail(c->err, OM_E_FORMAT, "data, indices and updates do not fit in shape");
    OM_TRY(begin(c, &join));
    row = om_ref_product(x->dims, (uint32_t)depth, x->rank);
    n = u->count > 0 ? om_ref_product(ids->dims, 0, ids->rank - 1) : 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t to = 0;

        for (int64_t k = 0; k < depth; k++) {
            OM_TRY(index_of(c, ids, i * depth + k, x->dims[k], &at));
            to = to * x->dims[k] + at;
        }
        join_run(join, &c->out[0], to * row, u, i * row, row);
    }
    return 0;
}

/* ---- NonZero, Compress, OneHot ---- */

static bool is_set(const struct ref_tensor *t, int64_t i)
{
    return om_ref_f64_at(t, i) != 0; /* NaN counts */
}

int om_ref_NonZero(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    int64_t dims[2] = { x->rank, 0 }, n = 0;
    int64_t *out;

    for (int64_t i = 0; i < x->count; i++)
        dims[1] += is_set(x, i);
    OM_TRY(om_ref_new(c->pool, &c->out[0], OM_I64, dims, 2, c->err));
    out = c->out[0].data;
    for (int64_t i = 0; i < x->count; i++) {
        int64_t rest = i;

        if (!is_set(x, i))
            continue;
        for (uint32_t k = x->rank; k-- > 0; rest /= x->dims[k])
            out[k * dims[1] + n] = rest % x->dims[k];
        n++;
    }
    return 0;
}

int om_ref_Compress(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *keep = om_ref_in(c, 1);
    const bool flat = !om_node_attr(c->node, "axis");
    const size_t size = om_dtype_size(x->dtype);
    int64_t dims[OM_RANK_MAX], length, inner, kept = 0;
    unsigned char *to;
    uint32_t axis = 0;

    if (keep->dtype != OM_BOOL || keep->rank != 1)
        return om_fail(c->err, OM_E_FORMAT, "the condition must be bool of rank 1");
    if (!flat)
        OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", 0), x->rank, &axis));
    length = flat ? x->count : x->dims[axis];
    inner = flat ? 1 : om_ref_product(x->dims, axis + 1, x->rank);
    for (int64_t i = 0; i < OM_MIN(keep->count, length); i++)
        kept += ((const uint8_t *)keep->data)[i] != 0;
    memcpy(dims, x->dims, sizeof(dims));
    dims[axis] = kept;
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, dims, flat ? 1 : x->rank, c->err));
    to = c->out[0].data;
    for (int64_t o = 0; x->count > 0 && o < x->count / (length * inner); o++)
        for (int64_t i = 0; i < OM_MIN(keep->count, length); i++) {
            const size_t bytes = (size_t)inner * size;

            if (!((const uint8_t *)keep->data)[i])
                continue;
            memcpy(to, (const unsigned char *)x->data + (size_t)(o * length + i) * bytes, bytes);
            to += bytes;
        }
    return 0;
}

int om_ref_OneHot(struct ref_call *c)
{
    const struct ref_tensor *ids = om_ref_in(c, 0), *depth = om_ref_in(c, 1),
                            *values = om_ref_in(c, 2);
    const size_t size = om_dtype_size(values->dtype);
    int64_t dims[OM_RANK_MAX], n, inner;
    uint32_t axis = 0;

    if (depth->count != 1 || values->count != 2 || ids->rank >= OM_RANK_MAX)
        return om_fail(c->err, OM_E_FORMAT, "expected one depth and two values");
    n = om_ref_i64_at(depth, 0);
    OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", -1), ids->rank + 1, &axis));
    for (uint32_t i = 0; i <= ids->rank; i++)
        dims[i] = i == axis ? n : ids->dims[i - (i > axis)];
    OM_TRY(om_ref_new(c->pool, &c->out[0], values->dtype, dims, ids->rank + 1, c->err));
    inner = om_ref_product(ids->dims, axis, ids->rank);
    for (int64_t i = 0; i < c->out[0].count; i++) {
        int64_t hot = om_ref_i64_at(ids, i / (inner * n) * inner + i % inner);
        const int64_t at = i / inner % n;

        hot = hot < 0 && hot >= -n ? hot + n : hot;
        memcpy((unsigned char *)c->out[0].data + (size_t)i * size,
               (const unsigned char *)values->data + (hot == at ? size : 0), size);
    }
    return 0;
}

/* ---- TopK ---- */

struct ranked {
    double f;
    int64_t i, at; /* value of integers; place */
};

static int by_place(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    return x->at < y->at ? -1 : x->at > y->at;
}

/* Larger first; equal ones by place. NaN counts as the largest. */
static int by_value(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    const bool x_nan = isnan(x->f), y_nan = isnan(y->f);

    if (x_nan || y_nan)
        return x_nan && y_nan ? by_place(a, b) : x_nan ? -1 : 1;
    if (x->f != y->f)
        return x->f > y->f ? -1 : 1;
    if (x->i != y->i)
        return x->i > y->i ? -1 : 1;
    return by_place(a, b);
}

static int by_value_up(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (isnan(x->f) || isnan(y->f) || (x->f == y->f && x->i == y->i))
        return by_value(a, b) * (isnan(x->f) != isnan(y->f) ? -1 : 1);
    return -by_value(a, b);
}

int om_ref_TopK(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const bool largest = om_node_int(c->node, "largest", 1) != 0;
    const bool sorted = om_node_int(c->node, "sorted", 1) != 0;
    const size_t size = om_dtype_size(x->dtype);
    int64_t dims[OM_RANK_MAX], k = 0, n, inner;
    struct ranked *row;
    uint32_t axis = 0;

    if (x->dtype != OM_F32 && x->dtype != OM_F64 && x->dtype != OM_I64 && x->dtype != OM_U64)
        return om_ref_bad_dtype(c, x->dtype);
    OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", -1), x->rank, &axis));
    OM_TRY(om_ref_scalar_i64(c, 1, "k", &k));
    n = x->dims[axis];
    if (k < 0 || k > n)
        return om_fail(c->err, OM_E_USAGE, "%" PRId64 " of %" PRId64 " elements", k, n);
    memcpy(dims, x->dims, sizeof(dims));
    dims[axis] = k;
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, dims, x->rank, c->err));
    if (c->node->n_out > 1)
        OM_TRY(om_ref_new(c->pool, &c->out[1], OM_I64, dims, x->rank, c->err));
    inner = om_ref_product(x->dims, axis + 1, x->rank);
    row = calloc((size_t)OM_MAX(n, 1), sizeof(*row));
    if (!row)
        return om_fail(c->err, OM_E_NOMEM, "out of memory");
    for (int64_t o = 0; c->out[0].count > 0 && o < x->count / n; o++) {
        const int64_t from = o / inner * inner * n + o % inner;
        const int64_t to = o / inner * inner * k + o % inner;

        for (int64_t i = 0; i < n; i++) {
            row[i] = (struct ranked){ .at = i };
            if (x->dtype == OM_I64)
                row[i].i = ((const int64_t *)x->data)[from + i * inner];
            else if (x->dtype == OM_U64) /* the order stays when the sign bit is turned */
                row[i].i =
                    (int64_t)(((const uint64_t *)x->data)[from + i * inner] ^ UINT64_C(1) << 63);
            else
                row[i].f = om_ref_f64_at(x, from + i * inner);
        }
        qsort(row, (size_t)n, sizeof(*row), largest ? by_value : by_value_up);
        if (!sorted)
            qsort(row, (size_t)k, sizeof(*row), by_place);
        for (int64_t i = 0; i < k; i++) {
            memcpy((unsigned char *)c->out[0].data + (size_t)(to + i * inner) * size,
                   (const unsigned char *)x->data + (size_t)(from + row[i].at * inner) * size,
                   size);
            if (c->out[1].data)
                ((int64_t *)c->out[1].data)[to + i * inner] = row[i].at;
        }
    }
    free(row);
    return 0;
}

/* ---- ReverseSequence ---- */

int om_ref_ReverseSequence(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *lengths = om_ref_in(c, 1);
    const int64_t batch_axis = om_node_int(c->node, "batch_axis", 1),
                  time_axis = om_node_int(c->node, "time_axis", 0);
    const size_t size = om_dtype_size(x->dtype);
    int64_t inner;

    if (x->rank < 2 || batch_axis < 0 || batch_axis > 1 || time_axis != 1 - batch_axis ||
        lengths->count != x->dims[batch_axis])
        return om_fail(c->err, OM_E_FORMAT, "axes or lengths do not fit the data");
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, x->dims, x->rank, c->err));
    inner = om_ref_product(x->dims, 2, x->rank);
    for (int64_t i = 0; c->out[0].count > 0 && i < x->dims[0] * x->dims[1]; i++) {
        const int64_t at[2] = { i / x->dims[1], i % x->dims[1] };
        const int64_t n = om_ref_i64_at(lengths, at[batch_axis]), t = at[time_axis];
        int64_t from = i;

        if (n < 0 || n > x->dims[time_axis])
            return om_fail(c->err, OM_E_USAGE, "a length of %" PRId64, n);
        if (t < n)
            from += (n - 1 - 2 * t) * (time_axis == 0 ? x->dims[1] : 1);
        memcpy((unsigned char *)c->out[0].data + (size_t)(i * inner) * size,
               (const unsigned char *)x->data + (size_t)(from * inner) * size,
               (size_t)inner * size);
    }
    return 0;
}
