/* src/ref/resize.c: Resize and Upsample: an axis at a time, as interpolation separates. */
#include <math.h>

#include "ref/kernel.h"

enum mode { NEAREST, LINEAR, CUBIC };
enum transform {
    HALF_PIXEL,
    HALF_PIXEL_SYMMETRIC,
    PYTORCH_HALF_PIXEL,
    ALIGN_CORNERS,
    ASYMMETRIC,
    CROP
};
enum rounding { ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, FLOOR, CEIL };

struct resize {
    enum mode mode;
    enum transform transform;
    enum rounding rounding;
    double cubic_a, outside; /* extrapolation_value */
    bool antialias, exclude_outside;
    double scale[OM_RANK_MAX], start[OM_RANK_MAX], end[OM_RANK_MAX]; /* of the region to crop */
    int64_t out[OM_RANK_MAX];
    double length[OM_RANK_MAX]; /* of the result before it was rounded down */
};

struct word {
    const char *text;
    int value;
};

static int read_word(const struct ref_call *c, const char *attr, const struct word *words, size_t n,
                     int *out)
{
    const struct om_attr *a = om_node_attr(c->node, attr);

    *out = words[0].value;
    if (!a)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (om_ref_attr_is(c, attr, words[i].text)) {
            *out = words[i].value;
            return 0;
        }
    return om_fail(c->err, OM_E_UNSUPPORTED, "%s \"%.*s\"", attr, OM_SV(a->s));
}

static int read_modes(const struct ref_call *c, struct resize *r)
{
    static const struct word modes[] = {
        { "nearest", NEAREST }, { "linear", LINEAR }, { "bilinear", LINEAR }, { "cubic", CUBIC }
    };
    static const struct word transforms[] = {
        { "half_pixel", HALF_PIXEL },       { "half_pixel_symmetric", HALF_PIXEL_SYMMETRIC },
        { "asymmetric", ASYMMETRIC },       { "pytorch_half_pixel", PYTORCH_HALF_PIXEL },
        { "align_corners", ALIGN_CORNERS }, { "tf_crop_and_resize", CROP }
    };
    static const struct word roundings[] = { { "round_prefer_floor", ROUND_PREFER_FLOOR },
                                             { "round_prefer_ceil", ROUND_PREFER_CEIL },
                                             { "floor", FLOOR },
                                             { "ceil", CEIL } };
    int mode, transform, rounding;

    OM_TRY(read_word(c, "mode", modes, OM_COUNT(modes), &mode));
    OM_TRY(read_word(c, "coordinate_transformation_mode", transforms, OM_COUNT(transforms),
                     &transform));
    OM_TRY(read_word(c, "nearest_mode", roundings, OM_COUNT(roundings), &rounding));
    r->mode = (enum mode)mode;
    r->transform = c->opset < 11 ? ASYMMETRIC : (enum transform)transform;
    r->rounding = c->opset < 11 ? FLOOR : (enum rounding)rounding;
    r->cubic_a = om_node_float(c->node, "cubic_coeff_a", -0.75);
    r->outside = om_node_float(c->node, "extrapolation_value", 0);
    r->antialias = om_node_int(c->node, "antialias", 0) != 0;
    r->exclude_outside = om_node_int(c->node, "exclude_outside", 0) != 0;
    return 0;
}

/* ---- sizes ---- */

static int resize_axes(const struct ref_call *c, const struct ref_tensor *x, struct ref_ints *axes)
{
    const struct om_attr *a = om_node_attr(c->node, "axes");
    uint32_t seen, axis = 0;

    axes->n = 0;
    if (a && a->kind == OM_ATTR_INTS && a->n <= OM_RANK_MAX)
        for (; axes->n < a->n; axes->n++)
            axes->v[axes->n] = a->ints[axes->n];
    else
        for (; axes->n < x->rank; axes->n++)
            axes->v[axes->n] = axes->n;
    OM_TRY(om_ref_axis_set(c, axes, x->rank, &seen));
    for (uint32_t i = 0; i < axes->n; i++) {
        OM_TRY(om_ref_axis(c, axes->v[i], x->rank, &axis));
        axes->v[i] = axis;
    }
    return 0;
}

static int set_axis(const struct ref_call *c, const struct ref_tensor *x, struct resize *r,
                    int64_t axis, double length)
{
    if (!(length >= 0 && length < 1e9))
        return om_fail(c->err, OM_E_USAGE, "axis %" PRId64 " would have %g elements", axis, length);
    if (length >= 1 && x->dims[axis] == 0)
        return om_fail(c->err, OM_E_USAGE, "axis %" PRId64 " is empty", axis);
    r->length[axis] = length;
    r->out[axis] = (int64_t)floor(length);
    return 0;
}

/* Sizes, of which a policy may keep the aspect. */
static int use_sizes(const struct ref_call *c, const struct ref_tensor *x,
                     const struct ref_ints *axes, const struct ref_tensor *sizes, struct resize *r)
{
    const bool larger = om_ref_attr_is(c, "keep_aspect_ratio_policy", "not_larger");
    const bool smaller = om_ref_attr_is(c, "keep_aspect_ratio_policy", "not_smaller");
    double common = 0;

    for (uint32_t i = 0; i < axes->n; i++) {
        const double s = (double)om_ref_i64_at(sizes, i) / (double)x->dims[axes->v[i]];

        common = i == 0 ? s : larger ? fmin(common, s) : fmax(common, s);
    }
    for (uint32_t i = 0; i < axes->n; i++) {
        const int64_t a = axes->v[i];
        const double dim = (double)x->dims[a], size = (double)om_ref_i64_at(sizes, i);

        r->scale[a] = larger || smaller ? common : size / dim;
        OM_TRY(set_axis(c, x, r, a, larger || smaller ? floor(common * dim + 0.5) : size));
        if (larger || smaller)
            r->length[a] = common * dim;
    }
    return 0;
}

static int read_sizes(const struct ref_call *c, const struct ref_tensor *x, struct resize *r)
{
    const bool old = c->opset < 11; /* scales came second, and there were no sizes */
    const struct ref_tensor *roi = old ? NULL : om_ref_in(c, 1);
    const struct ref_tensor *scales = om_ref_in(c, old ? 1 : 2),
                            *sizes = old ? NULL : om_ref_in(c, 3);
    struct ref_ints axes;

    OM_TRY(resize_axes(c, x, &axes));
    for (uint32_t i = 0; i < x->rank; i++) {
        r->out[i] = x->dims[i];
        r->length[i] = (double)x->dims[i];
        r->scale[i] = 1;
        r->end[i] = 1;
    }
    if (scales && scales->count == 0)
        scales = NULL;
    if (!scales == !(sizes && sizes->count > 0) || (scales && scales->count != axes.n) ||
        (!scales && sizes->count != axes.n))
        return om_fail(c->err, OM_E_FORMAT, "expected %" PRIu32 " scales or sizes", axes.n);
    if (r->transform == CROP && (!roi || roi->count != 2 * (int64_t)axes.n))
        return om_fail(c->err, OM_E_FORMAT, "roi does not fit");
    for (uint32_t i = 0; i < axes.n && r->transform == CROP; i++) {
        r->start[axes.v[i]] = om_ref_f64_at(roi, i);
        r->end[axes.v[i]] = om_ref_f64_at(roi, i + axes.n);
    }
    if (!scales)
        return use_sizes(c, x, &axes, sizes, r);
    for (uint32_t i = 0; i < axes.n; i++) {
        const double s = om_ref_f64_at(scales, i);
        const double region = r->end[axes.v[i]] - r->start[axes.v[i]];

        r->scale[axes.v[i]] = s;
        OM_TRY(set_axis(c, x, r, axes.v[i], (double)x->dims[axes.v[i]] * region * s));
    }
    return 0;
}

/* ---- one axis ---- */

static double source(const struct resize *r, uint32_t axis, int64_t n, int64_t o)
{
    const double scale = r->scale[axis], x = (double)o, length = r->length[axis];
    const double out = (double)r->out[axis], last = (double)(n - 1);

    switch (r->transform) {
    case HALF_PIXEL:
        return (x + 0.5) / scale - 0.5;
    case HALF_PIXEL_SYMMETRIC:
        return (double)n / 2 * (1 - out / length) + (x + 0.5) / scale - 0.5;
    case PYTORCH_HALF_PIXEL:
        return out > 1 ? (x + 0.5) / scale - 0.5 : 0;
    case ALIGN_CORNERS:
        return length > 1 ? x * last / (length - 1) : 0;
    case ASYMMETRIC:
        return x / scale;
    case CROP:
        return out > 1
                   ? r->start[axis] * last + x * (r->end[axis] - r->start[axis]) * last / (out - 1)
                   : 0.5 * (r->start[axis] + r->end[axis]) * last;
    }
    return 0;
}

static double nearest(enum rounding rounding, double x)
{
    switch (rounding) {
    case ROUND_PREFER_FLOOR:
        return ceil(x - 0.5);
    case ROUND_PREFER_CEIL:
        return floor(x + 0.5);
    case FLOOR:
        return floor(x);
    case CEIL:
        return ceil(x);
    }
    return x;
}

/* The weight of an element at distance d. */
static double kernel(const struct resize *r, double d)
{
    const double a = r->cubic_a;

    d = fabs(d);
    if (r->mode == LINEAR)
        return fmax(1 - d, 0);
    if (d <= 1)
        return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

/* One element of the result: the sum of those around the place x of a row of n. */
static double sample(const struct resize *r, uint32_t axis, const double *row, int64_t n, double x)
{
    const double stretch = r->antialias && r->scale[axis] < 1 ? r->scale[axis] : 1;
    const double reach = (r->mode == LINEAR ? 1 : 2) / stretch;
    const double from = floor(x - reach) + 1, to = ceil(x + reach) - 1;
    double sum = 0, weights = 0;

    if (r->transform == CROP && (x < 0 || x > (double)(n - 1)))
        return r->outside;
    for (double i = from; i <= to; i++) {
        const bool inside = i >= 0 && i < (double)n;
        const double w = kernel(r, (x - i) * stretch);

        if (!inside && r->exclude_outside)
            continue;
        weights += w;
        sum += w * row[(int64_t)fmin(fmax(i, 0), (double)(n - 1))];
    }
    return (r->exclude_outside || r->antialias) && weights != 0 ? sum / weights : sum;
}

/* Resize axis of x into out, which differs from it there only. */
static int resize_axis(const struct ref_call *c, const struct resize *r, uint32_t axis,
                       const struct ref_tensor *x, struct ref_tensor *out)
{
    const int64_t n = x->dims[axis], inner = om_ref_product(x->dims, axis + 1, x->rank);
    struct ref_tensor row = { .mem = NULL };
    int64_t dims[OM_RANK_MAX];

    memcpy(dims, x->dims, sizeof(dims));
    dims[axis] = r->out[axis];
    OM_TRY(om_ref_new(c->pool, out, OM_F64, dims, x->rank, c->err));
    OM_TRY(om_ref_work(c->pool, out->count, 4 + (int64_t)(4 / fmax(r->scale[axis], 1e-9)), c->err));
    OM_TRY(om_ref_new(c->pool, &row, OM_F64, &n, 1, c->err));
    for (int64_t i = 0; out->count > 0 && i < x->count / n; i++) {
        const int64_t from = i / inner * inner * n + i % inner;
        const int64_t to = i / inner * inner * dims[axis] + i % inner;

        om_ref_row_load(row.data, x, from, inner, n);
        for (int64_t o = 0; o < dims[axis]; o++) {
            const double at = source(r, axis, n, o);
            const double near = fmin(fmax(nearest(r->rounding, at), 0), (double)(n - 1));
            double v;

            if (r->mode != NEAREST)
                v = sample(r, axis, row.data, n, at);
            else if (r->transform == CROP && (at < 0 || at > (double)(n - 1)))
                v = r->outside;
            else
                v = ((const double *)row.data)[(int64_t)near];
            ((double *)out->data)[to + o * inner] = v;
        }
    }
    om_ref_drop(&row);
    return 0;
}

static int resize(struct ref_call *c, const struct resize *r)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct ref_tensor now = { .mem = NULL }, next = { .mem = NULL };
    int rc = om_ref_convert(c->pool, &now, x, OM_F64, c->err);

    for (uint32_t i = x->rank; i-- > 0 && rc == 0;) {
        if (r->out[i] == now.dims[i] && r->scale[i] == 1 && r->transform != CROP)
            continue;
        rc = resize_axis(c, r, i, &now, &next);
        om_ref_drop(&now);
        now = next;
        next = (struct ref_tensor){ .mem = NULL };
    }
    if (rc == 0)
        rc = om_ref_convert(c->pool, &c->out[0], &now, x->dtype, c->err);
    om_ref_drop(&now);
    return rc;
}

int om_ref_Resize(struct ref_call *c)
{
    struct resize r = { .mode = NEAREST };

    OM_TRY(read_modes(c, &r));
    OM_TRY(read_sizes(c, om_ref_in(c, 0), &r));
    return resize(c, &r);
}

int om_ref_Upsample(struct ref_call *c)
{
    struct ref_call old = *c;

    old.opset = 10;
    return om_ref_Resize(&old);
}
