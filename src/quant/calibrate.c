/* src/quant/calibrate.c: a copy of the model whose inner values are outputs runs on samples; the
 * extremes of each value, or what a histogram says about them, become its range. */
#include "quant/calibrate.h"

#include <math.h>
#include <stdlib.h>

#include "quant/observed.h"

#define ENTROPY_BINS 128
#define PERCENTILE_BINS 2048

/* ---- observing ---- */

struct observer {
    struct om_quant_job *j;
    const struct om_samples *samples;
    struct om_session *session;
    struct om_range *ranges;
    size_t n;
    uint64_t *bins; /* per value; NULL in the first pass */
    size_t n_bins;
    bool *seen;
};

static size_t count_of(const struct om_tensor *t)
{
    int64_t n = 0;

    return om_count(t->dims, t->rank, &n) ? (size_t)n : 0;
}

static void note_extremes(struct observer *o, size_t i, const float *x, size_t n)
{
    const struct om_quant_config *const c = o->j->config;
    struct om_range *const r = &o->ranges[i];
    float lo = INFINITY, hi = -INFINITY;

    for (size_t k = 0; k < n; k++) {
        lo = x[k] < lo ? x[k] : lo;
        hi = x[k] > hi ? x[k] : hi;
    }
    if (n == 0)
        return;
    if (c->calibration == OM_QUANT_MINMAX && c->moving_average && o->seen[i]) {
        const float part = (float)c->averaging_constant;

        lo = r->lo + part * (lo - r->lo);
        hi = r->hi + part * (hi - r->hi);
        r->lo = lo;
        r->hi = hi;
    } else {
        r->lo = OM_MIN(r->lo, lo);
        r->hi = OM_MAX(r->hi, hi);
    }
    o->seen[i] = true;
}

static void note_histogram(struct observer *o, size_t i, const float *x, size_t n)
{
    uint64_t *const bins = o->bins + i * o->n_bins;
    const double most = (double)OM_MAX(fabsf(o->ranges[i].lo), fabsf(o->ranges[i].hi));
    const double scale = most > 0 ? (double)o->n_bins / (2 * most) : 0;

    for (size_t k = 0; k < n; k++) {
        const double at = ((double)x[k] + most) * scale;
        const size_t bin = at > 0 ? (size_t)at : 0;

        bins[OM_MIN(bin, o->n_bins - 1)]++;
    }
}

static int note(struct observer *o, size_t i, const struct om_tensor *t)
{
    const size_t n = count_of(t);
    const float *const x = t->data;

    if (t->dtype != OM_F32)
        return om_fail(o->j->err, OM_E_UNSUPPORTED, "value \"%s\" is of type %s", t->name,
                       om_dtype_text(t->dtype));
    for (size_t k = 0; k < n; k++)
        if (!isfinite(x[k]))
            return om_fail(o->j->err, OM_E_UNSUPPORTED,
                           "the value \"%s\" has an infinity or NaN during the calibration: "
                           "exclude the nodes that make and read it",
                           t->name);
    if (o->bins)
        note_histogram(o, i, x, n);
    else
        note_extremes(o, i, x, n);
    return 0;
}

static const struct om_tensor *find(const struct om_results *r, const struct om_tensor *inputs,
                                    size_t n, om_sv name)
{
    for (size_t i = 0; i < n; i++)
        if (om_sv_is(name, inputs[i].name))
            return &inputs[i];
    for (size_t i = 0; i < om_results_count(r); i++)
        if (om_sv_is(name, om_results_at(r, i)->name))
            return om_results_at(r, i);
    return NULL;
}

static int note_values(struct observer *o, const struct om_results *results,
                       const struct om_tensor *inputs, size_t n)
{
    for (size_t i = 0; i < o->n; i++) {
        const struct om_tensor *const t = find(results, inputs, n, o->ranges[i].seen_as);

        if (t)
            OM_TRY(note(o, i, t));
    }
    return 0;
}

/* A decoder runs on the sample, then on one more token with its past. */
static int observe_sample(struct observer *o, size_t sample, struct om_arena *a)
{
    struct om_error *const err = o->j->err;
    struct om_tensor *inputs = NULL;
    struct om_results *first = NULL, *second = NULL;
    bool more = false;
    size_t n = 0;
    int rc = om_samples_get(o->samples, sample, o->session, o->j->doc, a, &inputs, &n, err);

    if (rc == 0)
        rc = om_session_run(o->session, inputs, n, &first, err);
    if (rc == 0)
        rc = note_values(o, first, inputs, n);
    if (rc == 0)
        rc = om_samples_continue(o->samples, first, a, inputs, n, &more, err);
    if (rc == 0 && more)
        rc = om_session_run(o->session, inputs, n, &second, err);
    if (rc == 0 && more)
        rc = note_values(o, second, inputs, n);
    om_results_free(first);
    om_results_free(second);
    return om_wrap(err, rc, "calibration, sample %zu", sample);
}

static int observe(struct observer *o)
{
    for (size_t i = 0; i < o->samples->n; i++) {
        struct om_arena a = OM_ARENA_INIT((size_t)4 << 30);
        int rc = om_ctx_check(o->j->ctx, o->j->err);

        if (rc == 0)
            rc = observe_sample(o, i, &a);
        om_arena_release(&a);
        OM_TRY(rc);
    }
    return 0;
}

/* ---- from histograms to ranges ---- */

static float edge(size_t n, float most, size_t i)
{
    return (float)(-(double)most + 2.0 * (double)most * (double)i / (double)n);
}

void om_calibrate_percentile(const uint64_t *bins, size_t n, float most, double percentile,
                             bool symmetric, struct om_range *r)
{
    const double cut = symmetric ? 1.0 - percentile / 100.0 : (1.0 - percentile / 100.0) / 2.0;
    double total = 0, sum = 0;
    size_t left = 0, right = n;
    bool found = false;

    for (size_t i = 0; i < n; i++)
        total += (double)bins[i];
    if (total == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        sum += (double)bins[i];
        if (!found && sum / total >= cut) {
            left = i;
            found = true;
        }
        if (sum / total >= 1.0 - cut) {
            right = i + 1;
            break;
        }
    }
    r->hi = OM_MIN(r->hi, edge(n, most, right));
    r->lo = OM_MAX(r->lo, symmetric ? -edge(n, most, right) : edge(n, most, left));
}

/* How much a window of the bins, with what lies outside added to its ends, loses when it has
 * only so many levels: the Kullback-Leibler divergence. */
static double divergence(const uint64_t *bins, size_t n, size_t from, size_t to, size_t levels)
{
    const size_t width = to - from, merged = OM_MAX(width / levels, 1);
    double p_sum = 0, q_sum = 0, kl = 0, before = 0, after = 0;

    for (size_t i = 0; i < from; i++)
        before += (double)bins[i];
    for (size_t i = to; i < n; i++)
        after += (double)bins[i];
    for (size_t i = from; i < to; i++)
        q_sum += (double)bins[i];
    p_sum = q_sum + before + after;
    if (q_sum == 0)
        return INFINITY;
    for (size_t at = from; at < to; at += merged) {
        const size_t end = OM_MIN(at + merged, to);
        double sum = 0;
        size_t used = 0;

        for (size_t i = at; i < end; i++) {
            sum += (double)bins[i];
            used += bins[i] > 0;
        }
        for (size_t i = at; i < end; i++) {
            const double p =
                ((double)bins[i] + (i == from ? before : 0) + (i + 1 == to ? after : 0)) / p_sum;
            const double q = bins[i] > 0 && used > 0 ? sum / (double)used / q_sum : 0;

            if (p > 0)
                kl += q > 0 ? p * log(p / q) : p * log(p / 1e-9);
        }
    }
    return kl;
}

void om_calibrate_entropy(const uint64_t *bins, size_t n, float most, size_t quantized,
                          struct om_range *r)
{
    const size_t zero = n / 2, half = quantized / 2;
    double least = INFINITY;
    size_t best = zero;

    for (size_t i = OM_MAX(half, 1); i <= zero; i++) {
        const double kl = divergence(bins, n, zero - i, OM_MIN(zero + i, n), quantized);

        if (kl < least) {
            least = kl;
            best = i;
        }
    }
    r->lo = OM_MAX(r->lo, edge(n, most, zero - best));
    r->hi = OM_MIN(r->hi, edge(n, most, OM_MIN(zero + best, n)));
}

/* Fractions of the extremes that are tried as limits: down to this one. */
#define LEAST_FRACTION 20

/* The squared differences when everything beyond limit, on its side of 0, becomes limit. */
static double clipped(const uint64_t *bins, size_t n, float most, double limit, bool above)
{
    const double width = 2.0 * (double)most / (double)n;
    double sum = 0;

    for (size_t i = above ? n / 2 : 0; i < (above ? n : n / 2); i++) {
        const double x = -(double)most + ((double)i + 0.5) * width;
        const double beyond = above ? x - limit : limit - x;

        sum += beyond > 0 ? (double)bins[i] * beyond * beyond : 0;
    }
    return sum;
}

/* Rounding to steps of s makes errors of s * s / 12 in the mean; a narrower range makes steps
 * smaller and cuts off more. Both limits are tried on their own, as their costs add up. */
void om_calibrate_mse(const uint64_t *bins, size_t n, float most, bool symmetric,
                      struct om_range *r)
{
    const double lo = symmetric ? -(double)most : (double)OM_MIN(r->lo, 0.0f);
    const double hi = symmetric ? (double)most : (double)OM_MAX(r->hi, 0.0f);
    double part[LEAST_FRACTION], below[LEAST_FRACTION], above[LEAST_FRACTION], total = 0,
                                                                               least = INFINITY;

    for (size_t i = 0; i < n; i++)
        total += (double)bins[i];
    if (total == 0)
        return;
    for (int i = 0; i < LEAST_FRACTION; i++) {
        part[i] = 1.0 - (double)i / LEAST_FRACTION;
        below[i] = clipped(bins, n, most, part[i] * lo, false);
        above[i] = clipped(bins, n, most, part[i] * hi, true);
    }
    for (int i = 0; i < LEAST_FRACTION; i++)
        for (int k = symmetric ? i : 0; k < (symmetric ? i + 1 : LEAST_FRACTION); k++) {
            const double step = (part[k] * hi - part[i] * lo) / 255.0;
            const double cost = total * step * step / 12.0 + below[i] + above[k];

            if (cost >= least)
                continue;
            least = cost;
            r->lo = (float)(part[i] * lo);
            r->hi = (float)(part[k] * hi);
        }
}

static void narrow(const struct observer *o)
{
    const struct om_quant_config *const c = o->j->config;
    const bool symmetric = c->activations_symmetric && c->weights_symmetric;

    for (size_t i = 0; i < o->n; i++) {
        struct om_range *const r = &o->ranges[i];
        const uint64_t *const bins = o->bins + i * o->n_bins;
        const float most = OM_MAX(fabsf(r->lo), fabsf(r->hi));

        if (r->lo > r->hi)
            continue;
        if (c->calibration == OM_QUANT_MSE)
            om_calibrate_mse(bins, o->n_bins, most, c->activations_symmetric, r);
        else if (c->calibration == OM_QUANT_PERCENTILE)
            om_calibrate_percentile(bins, o->n_bins, most, c->percentile, symmetric, r);
        else
            om_calibrate_entropy(bins, o->n_bins, most, ENTROPY_BINS, r);
    }
}

static int run_passes(struct observer *o)
{
    const struct om_quant_config *const c = o->j->config;
    size_t size;

    OM_TRY(observe(o));
    if (c->calibration == OM_QUANT_MINMAX)
        return 0;
    o->n_bins = c->num_bins > 0                      ? (size_t)c->num_bins
                : c->calibration == OM_QUANT_ENTROPY ? ENTROPY_BINS
                                                     : PERCENTILE_BINS;
    if (!om_mul_size(o->n, o->n_bins, &size))
        return om_quant_no_memory(o->j);
    o->bins = calloc(OM_MAX(size, 1), sizeof(*o->bins));
    if (!o->bins)
        return om_quant_no_memory(o->j);
    OM_TRY(observe(o));
    narrow(o);
    return 0;
}

int om_calibrate(struct om_quant_job *j, const struct om_samples *samples, const char *dir,
                 struct om_range *ranges, size_t n)
{
    struct om_session_opts opts = OM_SESSION_OPTS_INIT;
    struct observer o = { .j = j, .samples = samples, .ranges = ranges, .n = n };
    struct om_out out = OM_OUT_INIT;
    int rc = om_out_open(&out, dir, "calibration.onnx", NULL, j->err);

    opts.opt_level = OM_ORT_OPT_BASIC;
    o.seen = calloc(OM_MAX(n, 1), sizeof(*o.seen));
    if (!o.seen)
        rc = om_quant_no_memory(j);
    for (size_t i = 0; i < n; i++) {
        ranges[i].lo = INFINITY;
        ranges[i].hi = -INFINITY;
    }
    if (rc == 0)
        rc = om_observed_write(j, ranges, n, &out);
    if (rc == 0)
        rc = om_session_open(j->ctx, out.partial, &opts, &o.session, j->err);
    if (rc == 0)
        rc = run_passes(&o);
    om_session_free(o.session);
    om_out_abort(&out);
    free(o.seen);
    free(o.bins);
    return rc;
}
