/* src/ref/shape.c: operators about shapes, constants and dtypes. */
#include "ref/kernel.h"

#include <math.h>

int om_ref_Identity(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);

    return om_ref_share(&c->out[0], x, x->dims, x->rank, c->err);
}

int om_ref_Cast(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const int64_t to = om_node_int(c->node, "to", 0);
    const enum om_dtype dtype =
        to > 0 && to <= INT32_MAX ? om_dtype_from_onnx((int32_t)to) : OM_DTYPE_NONE;

    if (dtype == OM_DTYPE_NONE)
        return om_fail(c->err, OM_E_UNSUPPORTED, "no conversion to data type %" PRId64, to);
    if (dtype == x->dtype)
        return om_ref_share(&c->out[0], x, x->dims, x->rank, c->err);
    return om_ref_convert(c->pool, &c->out[0], x, dtype, c->err);
}

/* ---- shapes ---- */

static int give_ints(struct ref_call *c, const int64_t *v, uint32_t n)
{
    const int64_t dims[1] = { n };

    OM_TRY(om_ref_new(c->pool, &c->out[0], OM_I64, dims, 1, c->err));
    if (n > 0)
        memcpy(c->out[0].data, v, n * sizeof(*v));
    return 0;
}

int om_ref_Shape(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const int64_t rank = x->rank;
    int64_t start = om_node_int(c->node, "start", 0), end = om_node_int(c->node, "end", rank);

    start = OM_MIN(OM_MAX(start < 0 ? start + rank : start, 0), rank);
    end = OM_MIN(OM_MAX(end < 0 ? end + rank : end, 0), rank);
    return give_ints(c, x->dims + start, end > start ? (uint32_t)(end - start) : 0);
}

static int unknown_dim(const struct ref_call *c, om_dim dim)
{
    struct om_buf b = OM_BUF_INIT(1u << 16);
    int rc;

    om_dim_write(c->g->dims, dim, &b);
    rc = om_buf_check(&b, c->err);
    if (rc == 0)
        rc = om_fail(c->err, OM_E_USAGE, "no input tells the value of %.*s", OM_SV(om_buf_sv(&b)));
    om_buf_release(&b);
    return rc;
}

int om_ref_Dims(struct ref_call *c)
{
    const struct om_attr *a = om_node_attr(c->node, "dims");
    int64_t *v;

    if (!a || a->kind != OM_ATTR_DIMS)
        return om_fail(c->err, OM_E_INTERNAL, "attribute dims is missing");
    OM_TRY(om_ref_new(c->pool, &c->out[0], OM_I64, &(int64_t){ a->n }, 1, c->err));
    v = c->out[0].data;
    for (uint32_t i = 0; i < a->n; i++)
        if (!om_dim_eval(c->env, a->dims[i], &v[i]))
            return unknown_dim(c, a->dims[i]);
    return 0;
}

/* Replace 0 (unless allowzero) and -1 in want. */
static int resolve_shape(const struct ref_call *c, const struct ref_tensor *x,
                         struct ref_ints *want)
{
    const bool allow_zero = om_node_int(c->node, "allowzero", 0) != 0;
    char from[REF_DIMS_TEXT], to[REF_DIMS_TEXT];
    const struct ref_ints asked = *want;
    int64_t known = 1;
    uint32_t open = OM_RANK_MAX;
    bool fits = true;

    for (uint32_t i = 0; i < want->n && fits; i++) {
        if (want->v[i] == 0 && !allow_zero && i < x->rank)
            want->v[i] = x->dims[i];
        if (want->v[i] == -1 && open == OM_RANK_MAX)
            open = i;
        else
            fits = want->v[i] >= 0 && om_mul_i64(known, want->v[i], &known);
    }
    if (fits && open != OM_RANK_MAX) {
        fits = known > 0 && x->count % known == 0;
        want->v[open] = fits ? x->count / known : 0;
    }
    if (!fits || (open == OM_RANK_MAX && known != x->count))
        return om_fail(c->err, OM_E_FORMAT, "%s cannot take the shape %s",
                       om_ref_dims_text(from, sizeof(from), x->dims, x->rank),
                       om_ref_dims_text(to, sizeof(to), asked.v, asked.n));
    return 0;
}

int om_ref_Reshape(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct ref_ints want;

    OM_TRY(om_ref_ints(c, 1, "shape", &want));
    OM_TRY(resolve_shape(c, x, &want));
    return om_ref_share(&c->out[0], x, want.v, want.n, c->err);
}

int om_ref_Squeeze(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct ref_ints axes;
    int64_t dims[OM_RANK_MAX];
    uint32_t set, rank = 0;

    OM_TRY(om_ref_ints(c, 1, "axes", &axes));
    OM_TRY(om_ref_axis_set(c, &axes, x->rank, &set));
    for (uint32_t i = 0; i < x->rank; i++) {
        const bool drop = om_ref_in(c, 1) ? (set >> i & 1) != 0 : x->dims[i] == 1;

        if (drop && x->dims[i] != 1)
            return om_fail(c->err, OM_E_FORMAT,
                           "axis %" PRIu32 " has %" PRId64 " elements, expected 1", i, x->dims[i]);
        if (!drop)
            dims[rank++] = x->dims[i];
    }
    return om_ref_share(&c->out[0], x, dims, rank, c->err);
}

int om_ref_Unsqueeze(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct ref_ints axes;
    int64_t dims[OM_RANK_MAX];
    uint32_t set, from = 0;

    OM_TRY(om_ref_ints(c, 1, "axes", &axes));
    if (x->rank + axes.n > OM_RANK_MAX)
        return om_fail(c->err, OM_E_LIMIT, "the result's rank is above the limit %d", OM_RANK_MAX);
    OM_TRY(om_ref_axis_set(c, &axes, x->rank + axes.n, &set));
    for (uint32_t i = 0; i < x->rank + axes.n; i++)
        dims[i] = set >> i & 1 ? 1 : x->dims[from++];
    return om_ref_share(&c->out[0], x, dims, x->rank + axes.n, c->err);
}

/* ---- constants ---- */

int om_ref_ConstantOfShape(struct ref_call *c)
{
    const struct om_attr *a = om_node_attr(c->node, "value");
    const struct om_weight *w = a ? a->tensor : NULL;
    const enum om_dtype dtype = w ? w->dtype : OM_F32;
    const size_t size = om_dtype_size(dtype);
    static const float zero = 0;
    const void *value = w ? w->data : &zero;
    struct ref_ints shape;
    unsigned char *to;

    if (w && (!w->data || w->bytes != size))
        return om_fail(c->err, OM_E_FORMAT, "the value must be one element");
    OM_TRY(om_ref_ints(c, 0, "shape", &shape));
    OM_TRY(om_ref_new(c->pool, &c->out[0], dtype, shape.v, shape.n, c->err));
    to = c->out[0].data;
    for (int64_t i = 0; i < c->out[0].count; i++, to += size)
        memcpy(to, value, size);
    return 0;
}

static int range_count(const struct ref_call *c, double start, double limit, double delta,
                       int64_t *n)
{
    const double count = ceil((limit - start) / delta);

    if (delta == 0 || !(count < 9e15)) /* exact as a double; NaN is refused, too */
        return om_fail(c->err, OM_E_USAGE, "no range from %g to %g by %g", start, limit, delta);
    *n = count > 0 ? (int64_t)count : 0;
    return 0;
}

/* Exact for every int64, where doubles are not. */
static int range_count_int(const struct ref_call *c, int64_t start, int64_t limit, int64_t delta,
                           int64_t *n)
{
    const uint64_t by = delta < 0 ? 0 - (uint64_t)delta : (uint64_t)delta;
    const uint64_t span =
        delta < 0 ? (uint64_t)start - (uint64_t)limit : (uint64_t)limit - (uint64_t)start;
    const bool empty = delta < 0 ? limit >= start : limit <= start;

    if (delta == 0)
        return om_fail(c->err, OM_E_USAGE, "a range by steps of 0");
    if (!empty && (span - 1) / by >= INT64_MAX)
        return om_fail(c->err, OM_E_LIMIT, "the range is too long");
    *n = empty ? 0 : (int64_t)((span - 1) / by) + 1;
    return 0;
}

int om_ref_Range(struct ref_call *c)
{
    const struct ref_tensor *from = om_ref_in(c, 0), *to = om_ref_in(c, 1), *by = om_ref_in(c, 2);
    const enum om_dtype dtype = from->dtype;
    struct ref_tensor *out = &c->out[0];
    int64_t n;

    if (from->count != 1 || to->count != 1 || by->count != 1 || to->dtype != dtype ||
        by->dtype != dtype)
        return om_fail(c->err, OM_E_FORMAT,
                       "start, limit and delta must be single numbers of one dtype");
    if (dtype == OM_I64) {
        const int64_t start = om_ref_i64_at(from, 0), delta = om_ref_i64_at(by, 0);

        OM_TRY(range_count_int(c, start, om_ref_i64_at(to, 0), delta, &n));
        OM_TRY(om_ref_new(c->pool, out, dtype, &n, 1, c->err));
        for (int64_t i = 0; i < n; i++)
            ((int64_t *)out->data)[i] = (int64_t)((uint64_t)start + (uint64_t)i * (uint64_t)delta);
    } else if (dtype == OM_F32 || dtype == OM_F64) {
        const double start = om_ref_f64_at(from, 0), delta = om_ref_f64_at(by, 0);

        OM_TRY(range_count(c, start, om_ref_f64_at(to, 0), delta, &n));
        OM_TRY(om_ref_new(c->pool, out, dtype, &n, 1, c->err));
        for (int64_t i = 0; i < n; i++) {
            const double v = start + (double)i * delta;

            om_ref_row_store(out, i, 1, &v, 1);
        }
    } else {
        return om_ref_bad_dtype(c, dtype);
    }
    return 0;
}
