/* src/ref/sample.c: images read between their elements: GridSample, AffineGrid, RoiAlign,
 * DeformConv. */
#include <math.h>

#include "ref/kernel.h"

enum { TAPS = 4 }; /* elements along an axis that have a part in a value */
enum mode { LINEAR, NEAREST, CUBIC };
enum padding { ZEROS, BORDER, REFLECTION };

/* How an image is read; its axes are the last ones of a tensor. */
struct sampler {
    const struct ref_tensor *x;
    uint32_t n; /* spatial axes */
    int64_t dims[OM_RANK_MAX], steps[OM_RANK_MAX];
    enum mode mode;
    enum padding padding;
    bool align_corners;
};

static void set_image(struct sampler *s, const struct ref_tensor *x)
{
    s->x = x;
    s->n = x->rank - 2;
    memcpy(s->dims, x->dims + 2, s->n * sizeof(*s->dims));
    om_ref_steps(s->dims, s->n, s->steps);
}

/* ---- elements and their weights along an axis ---- */

struct taps {
    int n;
    int64_t at[TAPS]; /* -1: outside, zero */
    double weight[TAPS];
};

/* Mirrored at both ends until it is inside. */
static int64_t reflect(int64_t at, int64_t n, bool align_corners)
{
    const int64_t period = align_corners ? 2 * (n - 1) : 2 * n;
    int64_t i;

    if (period == 0)
        return 0;
    i = (at % period + period) % period;
    if (i < n)
        return i;
    return align_corners ? period - i : period - 1 - i;
}

static int64_t place(const struct sampler *s, int64_t at, int64_t n)
{
    if (at >= 0 && at < n)
        return at;
    switch (s->padding) {
    case BORDER:
        return at < 0 ? 0 : n - 1;
    case REFLECTION:
        return reflect(at, n, s->align_corners);
    case ZEROS:
        break;
    }
    return -1;
}

/* Keys' cubic convolution with a = -0.75. */
static double cubic(double d)
{
    const double a = -0.75, x = fabs(d);

    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* What is read at position p of an axis of n elements. */
static void find_taps(const struct sampler *s, double p, int64_t n, struct taps *t)
{
    const double far = (double)(INT64_C(1) << 40);
    double base, rest;

    p = isnan(p) ? -1 : fmin(fmax(p, -far), far);
    base = s->mode == NEAREST ? nearbyint(p) : floor(p);
    rest = p - base;
    t->n = s->mode == NEAREST ? 1 : s->mode == LINEAR ? 2 : 4;
    for (int i = 0; i < t->n; i++) {
        const int offset = s->mode == CUBIC ? i - 1 : i;

        t->at[i] = place(s, (int64_t)base + offset, n);
        t->weight[i] = s->mode == NEAREST ? 1
                       : s->mode == CUBIC ? cubic(rest - offset)
                       : i == 0           ? 1 - rest
                                          : rest;
    }
}

/* The image that begins at element from, at the taps of all axes. */
static double read_image(const struct sampler *s, int64_t from, const struct taps *taps)
{
    int64_t all = 1;
    double sum = 0;

    for (uint32_t i = 0; i < s->n; i++)
        all *= taps[i].n;
    for (int64_t k = 0; k < all; k++) {
        int64_t rest = k, at = from;
        double weight = 1;
        bool inside = true;

        for (uint32_t i = 0; i < s->n; i++, rest /= taps[i - 1].n) {
            const int tap = (int)(rest % taps[i].n);

            inside = inside && taps[i].at[tap] >= 0;
            at += OM_MAX(taps[i].at[tap], 0) * s->steps[i];
            weight *= taps[i].weight[tap];
        }
        if (inside && weight != 0)
            sum += weight * om_ref_f64_at(s->x, at);
    }
    return sum;
}

static void put(struct ref_tensor *out, int64_t at, double v)
{
    if (out->dtype == OM_I64)
        ((int64_t *)out->data)[at] = (int64_t)v; /* of narrower integers, so it fits */
    else
        om_ref_row_store(out, at, 1, &v, 1);
}

/* ---- GridSample ---- */

static int grid_modes(const struct ref_call *c, struct sampler *s)
{
    static const struct {
        const char *text;
        enum mode mode;
    } modes[] = { { "linear", LINEAR },
                  { "bilinear", LINEAR },
                  { "nearest", NEAREST },
                  { "cubic", CUBIC },
                  { "bicubic", CUBIC } };
    static const char *const paddings[] = { "zeros", "border", "reflection" };
    bool mode = !om_node_attr(c->node, "mode"), padding = !om_node_attr(c->node, "padding_mode");

    s->align_corners = om_node_int(c->node, "align_corners", 0) != 0;
    for (size_t i = 0; i < OM_COUNT(modes) && !mode; i++) {
        mode = om_ref_attr_is(c, "mode", modes[i].text);
        s->mode = modes[i].mode;
    }
    for (unsigned i = 0; i < OM_COUNT(paddings) && !padding; i++) {
        padding = om_ref_attr_is(c, "padding_mode", paddings[i]);
        s->padding = (enum padding)i;
    }
    return mode && padding ? 0 : om_fail(c->err, OM_E_FORMAT, "mode or padding_mode is not known");
}

/* From [-1, 1] to an element's place. */
static double from_grid(const struct sampler *s, double v, int64_t n)
{
    return s->align_corners ? (v + 1) / 2 * (double)(n - 1) : ((v + 1) * (double)n - 1) / 2;
}

static int grid_shapes(const struct ref_call *c, const struct ref_tensor *x,
                       const struct ref_tensor *grid)
{
    const bool fits = x->rank >= 3 && grid->rank == x->rank && x->dims[0] == grid->dims[0] &&
                      grid->dims[grid->rank - 1] == x->rank - 2 &&
                      (x->dtype == OM_F32 || x->dtype == OM_F64 || x->dtype == OM_I64) &&
                      (grid->dtype == OM_F32 || grid->dtype == OM_F64);

    return fits ? 0 : om_fail(c->err, OM_E_FORMAT, "the grid does not fit the image");
}

int om_ref_GridSample(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *grid = om_ref_in(c, 1);
    struct sampler s = { .mode = LINEAR };
    int64_t dims[OM_RANK_MAX], places, image;

    OM_TRY(grid_modes(c, &s));
    OM_TRY(grid_shapes(c, x, grid));
    set_image(&s, x);
    dims[0] = x->dims[0];
    dims[1] = x->dims[1];
    memcpy(dims + 2, grid->dims + 1, s.n * sizeof(*dims));
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, dims, x->rank, c->err));
    OM_TRY(om_ref_work(c->pool, c->out[0].count, INT64_C(1) << (s.mode == CUBIC ? 2 * s.n : s.n),
                       c->err));
    places = om_ref_product(dims, 2, x->rank);
    image = om_ref_product(x->dims, 2, x->rank);
    for (int64_t i = 0; i < c->out[0].count; i++) {
        const int64_t at = (i / places / dims[1] * places + i % places) * s.n;
        struct taps taps[OM_RANK_MAX];

        for (uint32_t k = 0; k < s.n; k++) /* the grid names the last axis first */
            find_taps(&s, from_grid(&s, om_ref_f64_at(grid, at + s.n - 1 - k), s.dims[k]),
                      s.dims[k], &taps[k]);
        put(&c->out[0], i, read_image(&s, i / places * image, taps));
    }
    return 0;
}

/* ---- AffineGrid ---- */

/* Place i of n between -1 and 1. */
static double to_grid(int64_t i, int64_t n, bool align_corners)
{
    if (align_corners)
        return n > 1 ? -1 + 2 * (double)i / (double)(n - 1) : -1;
    return -1 + (2 * (double)i + 1) / (double)n;
}

int om_ref_AffineGrid(struct ref_call *c)
{
    const struct ref_tensor *theta = om_ref_in(c, 0);
    const bool align_corners = om_node_int(c->node, "align_corners", 0) != 0;
    int64_t dims[OM_RANK_MAX];
    struct ref_ints size;
    uint32_t n;

    OM_TRY(om_ref_ints(c, 1, "size", &size));
    n = size.n > 2 ? size.n - 2 : 0;
    if (n < 2 || n > 3 || theta->rank != 3 || theta->dims[0] != size.v[0] || theta->dims[1] != n ||
        theta->dims[2] != n + 1 || (theta->dtype != OM_F32 && theta->dtype != OM_F64))
        return om_fail(c->err, OM_E_FORMAT, "theta and size do not fit");
    dims[0] = size.v[0];
    memcpy(dims + 1, size.v + 2, n * sizeof(*dims));
    dims[n + 1] = n;
    OM_TRY(om_ref_new(c->pool, &c->out[0], theta->dtype, dims, n + 2, c->err));
    for (int64_t i = 0; i < c->out[0].count; i++) {
        int64_t rest = i / n;
        const int64_t row = i / om_ref_product(dims, 1, n + 2) * n + i % n;
        double v = om_ref_f64_at(theta, row * (n + 1) + n);

        for (uint32_t k = 0; k < n; k++) { /* x is the last axis */
            const int64_t extent = dims[n - k];

            v += om_ref_f64_at(theta, row * (n + 1) + k) *
                 to_grid(rest % extent, extent, align_corners);
            rest /= extent;
        }
        om_ref_row_store(&c->out[0], i, 1, &v, 1);
    }
    return 0;
}

/* ---- RoiAlign ---- */

struct roi {
    int64_t height, width; /* of the result */
    int64_t sampling;
    double scale, shift;
    bool max, whole; /* whole: a region has at least one element */
};

/* A region along an axis: where it begins, a bin's size, points in a bin. */
struct span {
    double start, size;
    int64_t points;
};

static int roi_span(const struct ref_call *c, const struct roi *r, double from, double to,
                    int64_t bins, struct span *s)
{
    double length;

    s->start = from * r->scale - r->shift;
    length = to * r->scale - r->shift - s->start;
    if (r->whole)
        length = fmax(length, 1);
    s->size = length / (double)bins;
    s->points = r->sampling;
    if (s->points == 0) {
        if (!(fabs(s->size) < 1e6))
            return om_fail(c->err, OM_E_LIMIT, "a region of %g elements", length);
        s->points = (int64_t)OM_MAX(ceil(s->size), 0);
    }
    return 0;
}

/* Beyond an element's width it is zero, nearer it is the border. */
static void roi_taps(const struct sampler *s, double at, int64_t n, struct taps *t)
{
    if (at < -1 || at > (double)n || isnan(at)) {
        *t = (struct taps){ .n = 1, .at = { -1 } };
        return;
    }
    find_taps(s, fmin(fmax(at, 0), (double)(n - 1)), n, t);
}

/* The largest of the elements that have a part in a value, each by its weight. */
static double roi_largest(const struct sampler *s, int64_t from, const struct taps *y,
                          const struct taps *x)
{
    double best = -(double)INFINITY;

    for (int i = 0; i < y->n; i++)
        for (int k = 0; k < x->n; k++) {
            const bool inside = y->at[i] >= 0 && x->at[k] >= 0;
            const double v =
                inside ? om_ref_f64_at(s->x, from + y->at[i] * s->steps[0] + x->at[k]) : 0;

            best = fmax(best, v * y->weight[i] * x->weight[k]);
        }
    return best;
}

static double roi_bin(const struct roi *r, const struct sampler *s, int64_t from,
                      const struct span *y, const struct span *x, int64_t row, int64_t col)
{
    double sum = 0, best = -(double)INFINITY;

    for (int64_t i = 0; i < y->points * x->points; i++) {
        struct taps taps[2];

        roi_taps(s,
                 y->start +
                     ((double)row + ((double)(i / x->points) + 0.5) / (double)y->points) * y->size,
                 s->dims[0], &taps[0]);
        roi_taps(s,
                 x->start +
                     ((double)col + ((double)(i % x->points) + 0.5) / (double)x->points) * x->size,
                 s->dims[1], &taps[1]);
        if (r->max)
            best = fmax(best, roi_largest(s, from, &taps[0], &taps[1]));
        else
            sum += read_image(s, from, taps);
    }
    if (r->max)
        return y->points * x->points > 0 ? best : 0;
    return sum / (double)OM_MAX(y->points * x->points, 1);
}

static int roi_read(const struct ref_call *c, struct roi *r)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *rois = om_ref_in(c, 1), *batch = om_ref_in(c, 2);
    const char *const mode = "coordinate_transformation_mode";
    const bool half =
        om_node_attr(c->node, mode) ? om_ref_attr_is(c, mode, "half_pixel") : c->opset >= 16;

    *r = (struct roi){ .height = om_node_int(c->node, "output_height", 1),
                       .width = om_node_int(c->node, "output_width", 1),
                       .sampling = om_node_int(c->node, "sampling_ratio", 0),
                       .scale = om_node_float(c->node, "spatial_scale", 1),
                       .shift = half ? 0.5 : 0,
                       .max = om_ref_attr_is(c, "mode", "max"),
                       .whole = !half };
    if (x->rank != 4 || rois->rank != 2 || rois->dims[1] != 4 || batch->rank != 1 ||
        batch->count != rois->dims[0] || (x->dtype != OM_F32 && x->dtype != OM_F64) ||
        rois->dtype != x->dtype || r->height < 1 || r->width < 1 || r->sampling < 0 ||
        r->sampling > 1 << 15)
        return om_fail(c->err, OM_E_FORMAT, "the regions do not fit the image");
    for (int64_t i = 0; i < batch->count; i++)
        if (om_ref_i64_at(batch, i) < 0 || om_ref_i64_at(batch, i) >= x->dims[0])
            return om_fail(c->err, OM_E_FORMAT, "region %" PRId64 " is of image %" PRId64, i,
                           om_ref_i64_at(batch, i));
    return 0;
}

/* All channels of region i. */
static int roi_align(struct ref_call *c, const struct roi *r, const struct sampler *s, int64_t i)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *rois = om_ref_in(c, 1);
    const int64_t bins = r->height * r->width, image = om_ref_i64_at(om_ref_in(c, 2), i);
    struct span rows, cols;

    OM_TRY(roi_span(c, r, om_ref_f64_at(rois, i * 4 + 1), om_ref_f64_at(rois, i * 4 + 3), r->height,
                    &rows));
    OM_TRY(roi_span(c, r, om_ref_f64_at(rois, i * 4), om_ref_f64_at(rois, i * 4 + 2), r->width,
                    &cols));
    OM_TRY(om_ref_work(c->pool, x->dims[1] * bins, 4 * rows.points * cols.points, c->err));
    for (int64_t k = 0; k < x->dims[1] * bins; k++) {
        const int64_t from = (image * x->dims[1] + k / bins) * x->dims[2] * x->dims[3];
        const double v = roi_bin(r, s, from, &rows, &cols, k % bins / r->width, k % r->width);

        om_ref_row_store(&c->out[0], i * x->dims[1] * bins + k, 1, &v, 1);
    }
    return 0;
}

int om_ref_RoiAlign(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct sampler s = { .mode = LINEAR, .padding = BORDER };
    struct roi r;
    int64_t dims[4];

    OM_TRY(roi_read(c, &r));
    set_image(&s, x);
    dims[0] = om_ref_in(c, 1)->dims[0];
    dims[1] = x->dims[1];
    dims[2] = r.height;
    dims[3] = r.width;
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, dims, 4, c->err));
    if (x->count == 0 && c->out[0].count > 0)
        return om_fail(c->err, OM_E_FORMAT, "the image is empty");
    for (int64_t i = 0; c->out[0].count > 0 && i < dims[0]; i++)
        OM_TRY(roi_align(c, &r, &s, i));
    return 0;
}

/* ---- DeformConv ---- */

struct deform {
    uint32_t n;
    int64_t kernel[OM_RANK_MAX], out[OM_RANK_MAX], stride[OM_RANK_MAX], dilation[OM_RANK_MAX],
        before[OM_RANK_MAX];
    int64_t kernels, places; /* of a kernel, of an image of the result */
    int64_t groups, offset_groups;
};

/* Entry i of a list of the node, or the default. */
static int64_t entry(const struct ref_call *c, const char *name, uint32_t i, int64_t otherwise)
{
    const struct om_attr *a = om_node_attr(c->node, name);

    return a && a->kind == OM_ATTR_INTS && i < a->n ? a->ints[i] : otherwise;
}

static int deform_axes(const struct ref_call *c, struct deform *d)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *w = om_ref_in(c, 1), *offset = om_ref_in(c, 2);

    d->n = x->rank - 2;
    for (uint32_t i = 0; i < d->n; i++) {
        const int64_t after = entry(c, "pads", d->n + i, 0);
        int64_t reach, room;

        d->kernel[i] = w->dims[2 + i];
        d->out[i] = offset->dims[2 + i];
        d->stride[i] = entry(c, "strides", i, 1);
        d->dilation[i] = entry(c, "dilations", i, 1);
        d->before[i] = entry(c, "pads", i, 0);
        if (d->kernel[i] < 1 || d->stride[i] < 1 || d->dilation[i] < 1 || d->before[i] < 0 ||
            after < 0 || d->before[i] > INT32_MAX || after > INT32_MAX ||
            d->stride[i] > INT32_MAX || !om_mul_i64(d->kernel[i] - 1, d->dilation[i], &reach) ||
            !om_add_i64(x->dims[2 + i], d->before[i] + after - 1 - reach, &room) || room < 0 ||
            d->out[i] != room / d->stride[i] + 1)
            return om_fail(c->err, OM_E_FORMAT, "axis %" PRIu32 " of the offsets does not fit", i);
    }
    d->kernels = om_ref_product(d->kernel, 0, d->n);
    d->places = om_ref_product(d->out, 0, d->n);
    return 0;
}

static int deform_read(const struct ref_call *c, struct deform *d)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *w = om_ref_in(c, 1), *offset = om_ref_in(c, 2),
                            *bias = om_ref_in(c, 3), *mask = om_ref_in(c, 4);

    d->groups = om_node_int(c->node, "group", 1);
    d->offset_groups = om_node_int(c->node, "offset_group", 1);
    if (x->rank < 3 || w->rank != x->rank || offset->rank != x->rank || d->groups < 1 ||
        d->offset_groups < 1 || x->dims[1] % d->groups != 0 || x->dims[1] % d->offset_groups != 0 ||
        w->dims[0] % d->groups != 0 || w->dims[1] != x->dims[1] / d->groups ||
        (x->dtype != OM_F32 && x->dtype != OM_F64) || (bias && bias->count != w->dims[0]))
        return om_fail(c->err, OM_E_FORMAT, "image, weights, bias and groups do not fit");
    OM_TRY(deform_axes(c, d));
    if (offset->dims[0] != x->dims[0] || offset->dims[1] != d->offset_groups * d->kernels * d->n ||
        (mask && mask->count != x->dims[0] * d->offset_groups * d->kernels * d->places))
        return om_fail(c->err, OM_E_FORMAT, "the offsets or the mask do not fit");
    return 0;
}

/* The image of a channel where element k of the kernel is for a place of the result. */
static double deform_at(const struct ref_call *c, const struct deform *d, const struct sampler *s,
                        int64_t image, int64_t channel, int64_t k, int64_t at)
{
    const struct ref_tensor *x = s->x, *offset = om_ref_in(c, 2), *mask = om_ref_in(c, 4);
    const int64_t group = channel / (x->dims[1] / d->offset_groups);
    const int64_t entry_at = (image * d->offset_groups + group) * d->kernels + k;
    int64_t rest_k = k, rest_at = at;
    struct taps taps[OM_RANK_MAX];
    double v;

    for (uint32_t i = d->n; i-- > 0;) {
        const double moved = om_ref_f64_at(offset, (entry_at * d->n + i) * d->places + at);
        const double base = (double)(rest_at % d->out[i] * d->stride[i] - d->before[i] +
                                     rest_k % d->kernel[i] * d->dilation[i]);

        find_taps(s, base + moved, s->dims[i], &taps[i]);
        rest_k /= d->kernel[i];
        rest_at /= d->out[i];
    }
    v = read_image(s, (image * x->dims[1] + channel) * om_ref_product(x->dims, 2, x->rank), taps);
    return mask ? v * om_ref_f64_at(mask, entry_at * d->places + at) : v;
}

static double deform_sum(const struct ref_call *c, const struct deform *d, const struct sampler *s,
                         int64_t image, int64_t m, int64_t at)
{
    const struct ref_tensor *w = om_ref_in(c, 1), *bias = om_ref_in(c, 3);
    const int64_t channels = w->dims[1], first = m / (w->dims[0] / d->groups) * channels;
    double sum = bias ? om_ref_f64_at(bias, m) : 0;

    for (int64_t i = 0; i < channels * d->kernels; i++)
        sum += om_ref_f64_at(w, m * channels * d->kernels + i) *
               deform_at(c, d, s, image, first + i / d->kernels, i % d->kernels, at);
    return sum;
}

int om_ref_DeformConv(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *w = om_ref_in(c, 1);
    struct sampler s = { .mode = LINEAR };
    int64_t dims[OM_RANK_MAX];
    struct deform d;

    OM_TRY(deform_read(c, &d));
    set_image(&s, x);
    dims[0] = x->dims[0];
    dims[1] = w->dims[0];
    memcpy(dims + 2, d.out, d.n * sizeof(*dims));
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, dims, x->rank, c->err));
    OM_TRY(om_ref_work(c->pool, c->out[0].count, (w->dims[1] * d.kernels) << d.n, c->err));
    for (int64_t i = 0; i < c->out[0].count; i++) {
        const double v =
            deform_sum(c, &d, &s, i / d.places / dims[1], i / d.places % dims[1], i % d.places);

        om_ref_row_store(&c->out[0], i, 1, &v, 1);
    }
    return 0;
}
