/* src/ref/conv.c: convolutions, by a matrix product over what the windows see, and pools. */
#include <math.h>

#include "ref/window.h"

struct conv {
    struct ref_window w;
    int64_t batch, in_channels, out_channels, groups; /* channels of one group */
    struct ref_tensor seen;                           /* [in_channels * kernel, out] */
};

static int check_dtypes(const struct ref_call *c, const struct ref_tensor *x,
                        const struct ref_tensor *w, const struct ref_tensor *bias)
{
    if (x->dtype != OM_F32 && x->dtype != OM_F64 && x->dtype != OM_I64)
        return om_ref_bad_dtype(c, x->dtype);
    if (w->dtype != x->dtype || (bias && bias->dtype != x->dtype))
        return om_fail(c->err, OM_E_FORMAT, "operands differ in dtype: %s and %s",
                       om_dtype_text(x->dtype), om_dtype_text(w->dtype));
    return 0;
}

/* w is [M, C / group, ...], transposed [C, M / group, ...]. */
static int conv_channels(const struct ref_call *c, const struct ref_tensor *x,
                         const struct ref_tensor *w, const struct ref_tensor *bias, bool transposed,
                         struct conv *v)
{
    char a[REF_DIMS_TEXT], b[REF_DIMS_TEXT];
    bool fits = x->rank >= 3 && x->rank == w->rank;

    v->groups = om_node_int(c->node, "group", 1);
    fits = fits && v->groups > 0 && x->dims[1] % v->groups == 0 && w->dims[0] % v->groups == 0;
    if (fits) {
        v->batch = x->dims[0];
        v->in_channels = x->dims[1] / v->groups;
        v->out_channels = transposed ? w->dims[1] : w->dims[0] / v->groups;
        fits = transposed ? w->dims[0] == x->dims[1] : w->dims[1] == v->in_channels;
        fits = fits && (!bias || bias->count == v->out_channels * v->groups);
    }
    if (!fits)
        return om_fail(c->err, OM_E_FORMAT, "input %s does not fit weight %s (group %" PRId64 ")",
                       om_ref_dims_text(a, sizeof(a), x->dims, x->rank),
                       om_ref_dims_text(b, sizeof(b), w->dims, w->rank), v->groups);
    return 0;
}

static int conv_kernel(const struct ref_call *c, const struct ref_tensor *w)
{
    const struct om_attr *a = om_node_attr(c->node, "kernel_shape");
    bool fits = !a || (a->kind == OM_ATTR_INTS && a->n == w->rank - 2);

    for (uint32_t i = 0; fits && a && i < a->n; i++)
        fits = a->ints[i] == w->dims[2 + i];
    return fits ? 0 : om_fail(c->err, OM_E_FORMAT, "kernel_shape is not the weight's");
}

static int new_image(const struct ref_call *c, const struct conv *v, enum om_dtype dtype,
                     const int64_t *spatial, struct ref_tensor *out)
{
    int64_t dims[OM_RANK_MAX] = { v->batch, v->out_channels * v->groups };

    memcpy(dims + 2, spatial, v->w.n * sizeof(*dims));
    OM_TRY(om_ref_new(c->pool, out, dtype, dims, 2 + v->w.n, c->err));
    memset(out->data, 0, (size_t)out->count * om_dtype_size(dtype));
    return 0;
}

/* Lay out what the windows see of the channels of one group. */
static void see(const struct conv *v, const unsigned char *image, size_t size)
{
    const int64_t *places = v->w.places.data;
    const int64_t n = v->w.kernel_count * v->w.out_count;
    unsigned char *to = v->seen.data;

    for (int64_t ch = 0; ch < v->in_channels; ch++, image += (size_t)v->w.in_count * size)
        for (int64_t i = 0; i < n; i++, to += size)
            if (places[i] >= 0)
                memcpy(to, image + (size_t)places[i] * size, size);
            else
                memset(to, 0, size);
}

static void add_bias(struct ref_tensor *out, const struct ref_tensor *bias, int64_t channels)
{
    const int64_t inner = om_ref_product(out->dims, 2, out->rank);

    for (int64_t i = 0; bias && i < out->count; i++) {
        const int64_t ch = i / inner % channels;

        if (out->dtype == OM_F32)
            ((float *)out->data)[i] += ((const float *)bias->data)[ch];
        else if (out->dtype == OM_F64)
            ((double *)out->data)[i] += ((const double *)bias->data)[ch];
        else
            ((uint64_t *)out->data)[i] += ((const uint64_t *)bias->data)[ch];
    }
}

static int convolve(const struct ref_call *c, const struct ref_tensor *x,
                    const struct ref_tensor *w, struct conv *v, struct ref_tensor *out)
{
    const size_t size = om_dtype_size(x->dtype);
    const int64_t depth = v->in_channels * v->w.kernel_count;

    OM_TRY(om_ref_new(c->pool, &v->seen, x->dtype, (const int64_t[]){ depth, v->w.out_count }, 2,
                      c->err));
    OM_TRY(om_ref_work(c->pool, out->count, depth, c->err));
    for (int64_t i = 0; out->count > 0 && i < v->batch * v->groups; i++) {
        const struct ref_gemm g = {
            .dtype = x->dtype,
            .m = v->out_channels,
            .n = v->w.out_count,
            .k = depth,
            .alpha = 1,
            .a = (const unsigned char *)w->data +
                 (size_t)(i % v->groups * v->out_channels * depth) * size,
            .b = v->seen.data,
            .c = (unsigned char *)out->data + (size_t)(i * v->out_channels * v->w.out_count) * size,
        };

        see(v, (const unsigned char *)x->data + (size_t)(i * v->in_channels * v->w.in_count) * size,
            size);
        om_ref_gemm(&g);
    }
    return 0;
}

int om_ref_convolve(const struct ref_call *c, const struct ref_tensor *x,
                    const struct ref_tensor *w, const struct ref_tensor *bias,
                    struct ref_tensor *out)
{
    struct conv v = { .batch = 0 };
    int rc;

    OM_TRY(check_dtypes(c, x, w, bias));
    OM_TRY(conv_channels(c, x, w, bias, false, &v));
    OM_TRY(conv_kernel(c, w));
    rc = om_ref_window(c, x->dims + 2, w->dims + 2, x->rank - 2, false, &v.w);
    if (rc == 0)
        rc = new_image(c, &v, x->dtype, v.w.out, out);
    if (rc == 0)
        rc = convolve(c, x, w, &v, out);
    if (rc == 0)
        add_bias(out, bias, v.out_channels * v.groups);
    om_ref_drop(&v.w.places);
    om_ref_drop(&v.seen);
    return rc;
}

int om_ref_Conv(struct ref_call *c)
{
    return om_ref_convolve(c, om_ref_in(c, 0), om_ref_in(c, 1), om_ref_in(c, 2), &c->out[0]);
}

/* ---- ConvTranspose: every element of the input adds a kernel to the image ---- */

static void add_seen(const struct conv *v, struct ref_tensor *out, int64_t first)
{
    const int64_t *places = v->w.places.data;
    const int64_t n = v->w.kernel_count * v->w.out_count;

    for (int64_t i = 0; i < v->out_channels * n; i++) {
        const int64_t to = places[i % n] < 0 ? -1 : first + i / n * v->w.in_count + places[i % n];

        if (to >= 0 && out->dtype == OM_F32)
            ((float *)out->data)[to] += ((const float *)v->seen.data)[i];
        else if (to >= 0)
            ((double *)out->data)[to] += ((const double *)v->seen.data)[i];
    }
}

static int convolve_transposed(const struct ref_call *c, const struct ref_tensor *x,
                               const struct ref_tensor *w, struct conv *v, struct ref_tensor *out)
{
    const size_t size = om_dtype_size(x->dtype);
    const int64_t rows = v->out_channels * v->w.kernel_count;

    OM_TRY(om_ref_new(c->pool, &v->seen, x->dtype, (const int64_t[]){ rows, v->w.out_count }, 2,
                      c->err));
    OM_TRY(om_ref_work(c->pool, x->count, rows, c->err));
    for (int64_t i = 0; out->count > 0 && i < v->batch * v->groups; i++) {
        const struct ref_gemm g = {
            .dtype = x->dtype,
            .ta = true,
            .m = rows,
            .n = v->w.out_count,
            .k = v->in_channels,
            .alpha = 1,
            .a = (const unsigned char *)w->data +
                 (size_t)(i % v->groups * v->in_channels * rows) * size,
            .b = (const unsigned char *)x->data +
                 (size_t)(i * v->in_channels * v->w.out_count) * size,
            .c = v->seen.data,
        };

        om_ref_gemm(&g);
        add_seen(v, out, i * v->out_channels * v->w.in_count);
    }
    return 0;
}

int om_ref_ConvTranspose(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *w = om_ref_in(c, 1), *bias = om_ref_in(c, 2);
    struct conv v = { .batch = 0 };
    int rc;

    OM_TRY(check_dtypes(c, x, w, bias));
    if (x->dtype == OM_I64)
        return om_ref_bad_dtype(c, x->dtype);
    OM_TRY(conv_channels(c, x, w, bias, true, &v));
    OM_TRY(conv_kernel(c, w));
    rc = om_ref_window_transposed(c, x->dims + 2, w->dims + 2, x->rank - 2, &v.w);
    if (rc == 0)
        rc = new_image(c, &v, x->dtype, v.w.in, &c->out[0]);
    if (rc == 0)
        rc = convolve_transposed(c, x, w, &v, &c->out[0]);
    if (rc == 0)
        add_bias(&c->out[0], bias, v.out_channels * v.groups);
    om_ref_drop(&v.w.places);
    om_ref_drop(&v.seen);
    return rc;
}

/* ---- pools ---- */

enum pool { POOL_MAX, POOL_AVERAGE, POOL_LP };

struct pooling {
    enum pool kind;
    bool count_padding, by_column; /* storage_order of the indices */
    double p;
    struct ref_window w;
};

static void store(struct ref_tensor *out, int64_t i, double v)
{
    if (out->dtype == OM_I64)
        ((int64_t *)out->data)[i] = (int64_t)v;
    else
        om_ref_row_store(out, i, 1, &v, 1);
}

/* The offset of a place in a column-major image. */
static int64_t column_major(const struct ref_window *w, int64_t at)
{
    int64_t index[OM_RANK_MAX], out = 0, step = 1;

    for (uint32_t i = w->n; i-- > 0; at /= w->in[i])
        index[i] = at % w->in[i];
    for (uint32_t i = 0; i < w->n; i++) {
        out += index[i] * step;
        step *= w->in[i];
    }
    return out;
}

/* Window o of the plane that begins at element from. */
static double pool_one(const struct pooling *p, const struct ref_tensor *x, int64_t from, int64_t o,
                       int64_t *which)
{
    const int64_t *places = p->w.places.data;
    double best = -(double)INFINITY, sum = 0;
    int64_t n = 0;

    *which = -1;
    for (int64_t k = 0; k < p->w.kernel_count; k++) {
        const int64_t at = places[k * p->w.out_count + o];
        const double v = at >= 0 ? om_ref_f64_at(x, from + at) : 0;

        n += at >= 0 || (at == REF_PADDING && p->count_padding);
        if (at < 0)
            continue;
        if (*which < 0 || v > best || (isnan(v) && !isnan(best))) {
            best = v;
            *which = at;
        }
        sum += p->kind == POOL_LP ? pow(fabs(v), p->p) : v;
    }
    if (p->kind == POOL_MAX)
        return best;
    return p->kind == POOL_LP ? pow(sum, 1 / p->p) : sum / (double)n;
}

static int pool_all(struct ref_call *c, struct pooling *p)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    int64_t dims[OM_RANK_MAX] = { x->dims[0], x->dims[1] }, which;
    const bool indices = p->kind == POOL_MAX && om_ref_wants(c, 1);

    memcpy(dims + 2, p->w.out, p->w.n * sizeof(*dims));
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, dims, x->rank, c->err));
    OM_TRY(om_ref_work(c->pool, c->out[0].count, p->w.kernel_count, c->err));
    if (indices)
        OM_TRY(om_ref_new(c->pool, &c->out[1], OM_I64, dims, x->rank, c->err));
    for (int64_t i = 0; i < c->out[0].count; i++) {
        const int64_t from = i / p->w.out_count * p->w.in_count;

        store(&c->out[0], i, pool_one(p, x, from, i % p->w.out_count, &which));
        if (indices && which >= 0 && p->by_column)
            which = column_major(&p->w, which);
        if (indices)
            ((int64_t *)c->out[1].data)[i] = which < 0 ? -1 : from + which;
    }
    return 0;
}

static int check_image(const struct ref_call *c, const struct ref_tensor *x)
{
    if (x->dtype != OM_F32 && x->dtype != OM_F64 && x->dtype != OM_I64)
        return om_ref_bad_dtype(c, x->dtype);
    if (x->rank < 3)
        return om_fail(c->err, OM_E_FORMAT, "expected rank 3 or more, found %" PRIu32, x->rank);
    return 0;
}

static int pool(struct ref_call *c, enum pool kind)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const struct om_attr *kernel = om_node_attr(c->node, "kernel_shape");
    struct pooling p = { .kind = kind,
                         .count_padding = om_node_int(c->node, "count_include_pad", 0) != 0,
                         .by_column = om_node_int(c->node, "storage_order", 0) != 0,
                         .p = (double)om_node_int(c->node, "p", 2) };
    int rc;

    OM_TRY(check_image(c, x));
    if (!kernel || kernel->kind != OM_ATTR_INTS || kernel->n != x->rank - 2)
        return om_fail(c->err, OM_E_FORMAT, "kernel_shape does not fit rank %" PRIu32, x->rank);
    rc = om_ref_window(c, x->dims + 2, kernel->ints, kernel->n,
                       om_node_int(c->node, "ceil_mode", 0) != 0, &p.w);
    if (rc == 0)
        rc = pool_all(c, &p);
    om_ref_drop(&p.w.places);
    return rc;
}

int om_ref_MaxPool(struct ref_call *c)
{
    return pool(c, POOL_MAX);
}

int om_ref_AveragePool(struct ref_call *c)
{
    return pool(c, POOL_AVERAGE);
}

int om_ref_LpPool(struct ref_call *c)
{
    return pool(c, POOL_LP);
}

static int pool_globally(struct ref_call *c, enum pool kind)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const double p = (double)om_node_int(c->node, "p", 2);
    int64_t dims[OM_RANK_MAX], n;

    OM_TRY(check_image(c, x));
    for (uint32_t i = 0; i < x->rank; i++)
        dims[i] = i < 2 ? x->dims[i] : 1;
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, dims, x->rank, c->err));
    n = om_ref_product(x->dims, 2, x->rank);
    for (int64_t o = 0; o < c->out[0].count; o++) {
        double best = -(double)INFINITY, sum = 0;

        for (int64_t i = 0; i < n; i++) {
            const double v = om_ref_f64_at(x, o * n + i);

            best = v > best || isnan(v) ? v : best;
            sum += kind == POOL_LP ? pow(fabs(v), p) : v;
        }
        store(&c->out[0], o,
              kind == POOL_MAX  ? best
              : kind == POOL_LP ? pow(sum, 1 / p)
                                : sum / (double)n);
    }
    return 0;
}

int om_ref_GlobalMaxPool(struct ref_call *c)
{
    return pool_globally(c, POOL_MAX);
}

int om_ref_GlobalAveragePool(struct ref_call *c)
{
    return pool_globally(c, POOL_AVERAGE);
}

int om_ref_GlobalLpPool(struct ref_call *c)
{
    return pool_globally(c, POOL_LP);
}
