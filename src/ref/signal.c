/* src/ref/signal.c: windows, mel filters and Fourier transforms, by their definitions. */
#include <math.h>

#include "ref/kernel.h"

#define PI 3.14159265358979323846

/* ---- windows ---- */

/* Coefficients of 1, cos(2 pi k / n) and cos(4 pi k / n). */
static int window(struct ref_call *c, const double *terms)
{
    const int64_t type = om_node_int(c->node, "output_datatype", 1);
    const enum om_dtype dtype =
        type > 0 && type <= INT32_MAX ? om_dtype_from_onnx((int32_t)type) : OM_DTYPE_NONE;
    struct ref_tensor wide = { .mem = NULL };
    int64_t size = 0;
    double n;
    int rc;

    OM_TRY(om_ref_scalar_i64(c, 0, "size", &size));
    if (dtype == OM_DTYPE_NONE || size < 0)
        return om_fail(c->err, OM_E_FORMAT, "size %" PRId64 " of data type %" PRId64, size, type);
    OM_TRY(om_ref_new(c->pool, &wide, OM_F64, &size, 1, c->err));
    n = om_node_int(c->node, "periodic", 1) ? (double)size : (double)OM_MAX(size - 1, 1);
    for (int64_t k = 0; k < size; k++) {
        const double at = 2 * PI * (double)k / n;

        ((double *)wide.data)[k] = terms[0] + terms[1] * cos(at) + terms[2] * cos(2 * at);
    }
    rc = om_ref_convert(c->pool, &c->out[0], &wide, dtype, c->err);
    om_ref_drop(&wide);
    return rc;
}

int om_ref_HannWindow(struct ref_call *c)
{
    static const double terms[3] = { 0.5, -0.5, 0 };

    return window(c, terms);
}

int om_ref_HammingWindow(struct ref_call *c)
{
    static const double terms[3] = { 25.0 / 46, -21.0 / 46, 0 };

    return window(c, terms);
}

int om_ref_BlackmanWindow(struct ref_call *c)
{
    static const double terms[3] = { 0.42, -0.5, 0.08 };

    return window(c, terms);
}

/* ---- MelWeightMatrix ---- */

static double to_mel(double hertz)
{
    return 2595 * log10(1 + hertz / 700);
}

static double from_mel(double mel)
{
    return 700 * (pow(10, mel / 2595) - 1);
}

struct mel {
    int64_t bands, length, rate; /* of the transform, samples a second */
    double low, high;            /* hertz */
};

/* The bin of the spectrum where band i begins; it peaks at the next one's beginning. */
static int64_t mel_edge(const struct mel *m, int64_t i)
{
    const double low = to_mel(m->low), step = (to_mel(m->high) - low) / (double)(m->bands + 2);
    const double at =
        floor((double)(m->length + 1) * from_mel(low + (double)i * step) / (double)m->rate);

    return at >= 0 && at < 1e15 ? (int64_t)at : -1;
}

static int read_mel(const struct ref_call *c, struct mel *m)
{
    const struct ref_tensor *low = om_ref_in(c, 3), *high = om_ref_in(c, 4);

    OM_TRY(om_ref_scalar_i64(c, 0, "num_mel_bins", &m->bands));
    OM_TRY(om_ref_scalar_i64(c, 1, "dft_length", &m->length));
    OM_TRY(om_ref_scalar_i64(c, 2, "sample_rate", &m->rate));
    if (low->count != 1 || high->count != 1 || m->bands < 1 || m->length < 1 || m->rate < 1 ||
        m->bands > INT32_MAX || m->length > INT32_MAX)
        return om_fail(c->err, OM_E_FORMAT, "the bands, their edges or the rate do not fit");
    m->low = om_ref_f64_at(low, 0);
    m->high = om_ref_f64_at(high, 0);
    return 0;
}

int om_ref_MelWeightMatrix(struct ref_call *c)
{
    struct ref_tensor wide = { .mem = NULL };
    const int64_t type = om_node_int(c->node, "output_datatype", 1);
    const enum om_dtype dtype =
        type > 0 && type <= INT32_MAX ? om_dtype_from_onnx((int32_t)type) : OM_DTYPE_NONE;
    struct mel m;
    int64_t bins;
    int rc;

    OM_TRY(read_mel(c, &m));
    if (dtype == OM_DTYPE_NONE)
        return om_fail(c->err, OM_E_FORMAT, "data type %" PRId64, type);
    bins = m.length / 2 + 1;
    OM_TRY(om_ref_new(c->pool, &wide, OM_F64, (const int64_t[]){ bins, m.bands }, 2, c->err));
    for (int64_t i = 0; i < wide.count; i++) {
        const int64_t bin = i / m.bands, band = i % m.bands;
        const int64_t from = mel_edge(&m, band), peak = mel_edge(&m, band + 1),
                      to = mel_edge(&m, band + 2);
        double v = 0;

        if (bin >= from && bin <= peak)
            v = peak == from ? 1 : (double)(bin - from) / (double)(peak - from);
        if (bin >= peak && bin < to)
            v = (double)(to - bin) / (double)(to - peak);
        ((double *)wide.data)[i] = v;
    }
    rc = om_ref_convert(c->pool, &c->out[0], &wide, dtype, c->err);
    om_ref_drop(&wide);
    return rc;
}

/* ---- Fourier transforms ---- */

/* A line of n samples that lie step apart, each real or complex; what is beyond is zero. */
struct samples {
    const struct ref_tensor *x;
    int64_t at, step, n;
    bool complex;
    const struct ref_tensor *window; /* NULL: none */
};

static void sample(const struct samples *s, int64_t i, double *re, double *im)
{
    const int64_t at = s->at + i * s->step;
    const double factor = s->window ? om_ref_f64_at(s->window, i) : 1;

    *re = *im = 0;
    if (i >= s->n)
        return;
    *re = om_ref_f64_at(s->x, at) * factor;
    *im = s->complex ? om_ref_f64_at(s->x, at + 1) * factor : 0;
}

/* Coefficient k of a transform of length n. mirrored: only one side is given, the other is its
 * conjugate. */
static void transform(const struct samples *s, int64_t n, int64_t k, bool inverse, bool mirrored,
                      double *out)
{
    double sum[2] = { 0, 0 };

    for (int64_t i = 0; i < n; i++) {
        const bool other = mirrored && i > n / 2;
        const double angle =
            (inverse ? 2 : -2) * PI * (double)(i * (k % n) % n) / (double)n; /* i, k < 2^31 */
        double re, im;

        sample(s, other ? n - i : i, &re, &im);
        im = other ? -im : im;
        sum[0] += re * cos(angle) - im * sin(angle);
        sum[1] += re * sin(angle) + im * cos(angle);
    }
    out[0] = inverse ? sum[0] / (double)n : sum[0];
    out[1] = inverse ? sum[1] / (double)n : sum[1];
}

struct dft {
    int64_t n, in, bins, inner; /* length of the transform, of the axis, of the result's axis */
    uint32_t axis;
    bool inverse, onesided, complex;
};

static int read_dft(const struct ref_call *c, struct dft *d)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    int64_t axis = c->opset < 20 ? om_node_int(c->node, "axis", 1) : -2;

    *d = (struct dft){ .inverse = om_node_int(c->node, "inverse", 0) != 0,
                       .onesided = om_node_int(c->node, "onesided", 0) != 0 };
    if (om_ref_in(c, 2))
        OM_TRY(om_ref_scalar_i64(c, 2, "axis", &axis));
    OM_TRY(om_ref_axis(c, axis, x->rank, &d->axis));
    if (x->rank < 2 || d->axis + 1 == x->rank || x->dims[x->rank - 1] < 1 ||
        x->dims[x->rank - 1] > 2 || (x->dtype != OM_F32 && x->dtype != OM_F64))
        return om_fail(c->err, OM_E_FORMAT, "the last axis must hold reals or complex numbers");
    d->complex = x->dims[x->rank - 1] == 2;
    d->in = x->dims[d->axis];
    d->inner = om_ref_product(x->dims, d->axis + 1, x->rank);
    d->n = d->onesided && d->inverse ? 2 * (d->in - 1) : d->in;
    if (om_ref_in(c, 1))
        OM_TRY(om_ref_scalar_i64(c, 1, "dft_length", &d->n));
    if (d->n < 1 || d->n > INT32_MAX || d->in < 1)
        return om_fail(c->err, OM_E_FORMAT, "a transform of length %" PRId64, d->n);
    d->bins = d->onesided && !d->inverse ? d->n / 2 + 1 : d->n;
    return 0;
}

int om_ref_DFT(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    int64_t dims[OM_RANK_MAX], parts, inner;
    struct dft d;

    OM_TRY(read_dft(c, &d));
    memcpy(dims, x->dims, x->rank * sizeof(*dims));
    parts = d.onesided && d.inverse ? 1 : 2;
    dims[d.axis] = d.bins;
    dims[x->rank - 1] = parts;
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, dims, x->rank, c->err));
    OM_TRY(om_ref_work(c->pool, c->out[0].count, d.n, c->err));
    inner = om_ref_product(dims, d.axis + 1, x->rank - 1); /* numbers */
    for (int64_t i = 0; i < c->out[0].count / parts; i++) {
        const int64_t k = i / inner % d.bins;
        const struct samples s = { .x = x,
                                   .at = i / inner / d.bins * d.in * d.inner +
                                         i % inner * (d.complex ? 2 : 1),
                                   .step = d.inner,
                                   .n = OM_MIN(d.in, d.n),
                                   .complex = d.complex };
        double v[2];

        transform(&s, d.n, k, d.inverse, d.onesided && d.inverse, v);
        om_ref_row_store(&c->out[0], i * parts, 1, v, parts);
    }
    return 0;
}

struct stft {
    int64_t batch, length, step, frame, frames, bins, parts; /* parts of a number */
};

static int read_stft(const struct ref_call *c, struct stft *s)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *w = om_ref_in(c, 2);
    const bool one = om_node_int(c->node, "onesided", 1) != 0;

    if (x->rank < 2 || x->rank > 3 || (x->rank == 3 && (x->dims[2] < 1 || x->dims[2] > 2)) ||
        (x->dtype != OM_F32 && x->dtype != OM_F64) || (w && (w->rank != 1 || w->dtype != x->dtype)))
        return om_fail(c->err, OM_E_FORMAT, "the signal or the window do not fit");
    s->batch = x->dims[0];
    s->length = x->dims[1];
    s->parts = x->rank == 3 ? x->dims[2] : 1;
    s->frame = w ? w->count : s->length;
    OM_TRY(om_ref_scalar_i64(c, 1, "frame_step", &s->step));
    if (om_ref_in(c, 3))
        OM_TRY(om_ref_scalar_i64(c, 3, "frame_length", &s->frame));
    if (s->step < 1 || s->frame < 1 || s->frame > s->length || s->frame > INT32_MAX ||
        (w && w->count != s->frame) || (one && s->parts == 2))
        return om_fail(c->err, OM_E_FORMAT,
                       "frames of %" PRId64 " every %" PRId64 " do not fit %" PRId64 " samples",
                       s->frame, s->step, s->length);
    s->frames = (s->length - s->frame) / s->step + 1;
    s->bins = one ? s->frame / 2 + 1 : s->frame;
    return 0;
}

int om_ref_STFT(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct stft s;

    OM_TRY(read_stft(c, &s));
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype,
                      (const int64_t[]){ s.batch, s.frames, s.bins, 2 }, 4, c->err));
    OM_TRY(om_ref_work(c->pool, c->out[0].count, s.frame, c->err));
    for (int64_t i = 0; i < c->out[0].count / 2; i++) {
        const int64_t frame = i / s.bins % s.frames, batch = i / s.bins / s.frames;
        const struct samples in = { .x = x,
                                    .at = (batch * s.length + frame * s.step) * s.parts,
                                    .step = s.parts,
                                    .n = s.frame,
                                    .complex = s.parts == 2,
                                    .window = om_ref_in(c, 2) };
        double v[2];

        transform(&in, s.frame, i % s.bins, false, false, v);
        om_ref_row_store(&c->out[0], i * 2, 1, v, 2);
    }
    return 0;
}
