/* src/ref/rows.c: operators on rows and channels beyond those of norm.c: the Softmax family in all
 * its forms, and normalizations. Everything is computed in double. */
#include <math.h>

#include "ref/kernel.h"

static int check_float(const struct ref_call *c, enum om_dtype dtype)
{
    return dtype == OM_F32 || dtype == OM_F64 ? 0 : om_ref_bad_dtype(c, dtype);
}

/* ---- rows along an axis, each mapped to a row ---- */

typedef void row_map(double *row, int64_t n, const struct ref_call *c);

/* step is the distance of a row's elements. */
static int map_rows(struct ref_call *c, int64_t n, int64_t step, row_map *map)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct ref_tensor row = { .mem = NULL };

    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, x->dims, x->rank, c->err));
    OM_TRY(om_ref_new(c->pool, &row, OM_F64, &n, 1, c->err));
    for (int64_t i = 0; x->count > 0 && i < x->count / n; i++) {
        const int64_t at = i / step * step * n + i % step;

        om_ref_row_load(row.data, x, at, step, n);
        map(row.data, n, c);
        om_ref_row_store(&c->out[0], at, step, row.data, n);
    }
    om_ref_drop(&row);
    return 0;
}

/* Before operator set 13 the axes from axis on were one row, and axis was 1 by default. */
static int softmax_family(struct ref_call *c, row_map *map)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const bool old = c->opset < 13;
    const int64_t axis_in = om_node_int(c->node, "axis", old ? 1 : -1);
    uint32_t axis = 0;

    OM_TRY(check_float(c, x->dtype));
    if (x->rank == 0)
        return map_rows(c, 1, 1, map);
    if (old && axis_in == x->rank)
        return map_rows(c, 1, 1, map);
    OM_TRY(om_ref_axis(c, axis_in, x->rank, &axis));
    if (old)
        return map_rows(c, om_ref_product(x->dims, axis, x->rank), 1, map);
    return map_rows(c, x->dims[axis], om_ref_product(x->dims, axis + 1, x->rank), map);
}

static void softmax(double *row, int64_t n, const struct ref_call *c)
{
    (void)c;
    om_ref_softmax_row(row, n, false);
}

static void log_softmax(double *row, int64_t n, const struct ref_call *c)
{
    double max = -(double)INFINITY, sum = 0;

    (void)c;
    for (int64_t i = 0; i < n; i++)
        max = row[i] > max ? row[i] : max;
    for (int64_t i = 0; i < n; i++)
        sum += exp(row[i] - max);
    for (int64_t i = 0; i < n; i++)
        row[i] = row[i] - max - log(sum);
}

static void hardmax(double *row, int64_t n, const struct ref_call *c)
{
    int64_t best = 0;

    (void)c;
    for (int64_t i = 1; i < n; i++)
        best = row[i] > row[best] ? i : best;
    for (int64_t i = 0; i < n; i++)
        row[i] = i == best;
}

int om_ref_doc_Softmax(struct ref_call *c)
{
    return softmax_family(c, softmax);
}

int om_ref_LogSoftmax(struct ref_call *c)
{
    return softmax_family(c, log_softmax);
}

int om_ref_Hardmax(struct ref_call *c)
{
    return softmax_family(c, hardmax);
}

static void lp_normalize(double *row, int64_t n, const struct ref_call *c)
{
    const bool l1 = om_node_int(c->node, "p", 2) == 1;
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += l1 ? fabs(row[i]) : row[i] * row[i];
    sum = l1 ? sum : sqrt(sum);
    for (int64_t i = 0; i < n; i++)
        row[i] = sum > 0 ? row[i] / sum : 0;
}

int om_ref_LpNormalization(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    uint32_t axis = 0;

    OM_TRY(check_float(c, x->dtype));
    OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", -1), x->rank, &axis));
    return map_rows(c, x->dims[axis], om_ref_product(x->dims, axis + 1, x->rank), lp_normalize);
}

/* ---- channels ---- */

/* A parameter of one number a channel. */
static int check_channels(const struct ref_call *c, uint32_t i, const char *what, int64_t n)
{
    const struct ref_tensor *t = om_ref_in(c, i);

    if (!t || t->count != n)
        return om_fail(c->err, OM_E_FORMAT, "%s has %" PRId64 " elements, expected %" PRId64, what,
                       t ? t->count : 0, n);
    return check_float(c, t->dtype);
}

static double channel(const struct ref_call *c, uint32_t i, int64_t at)
{
    return om_ref_f64_at(om_ref_in(c, i), at);
}

/* Mean and variance of a channel. */
static void channel_statistics(const struct ref_tensor *x, int64_t ch, int64_t channels,
                               int64_t inner, double *mean, double *variance)
{
    const int64_t n = x->count / channels;
    double sum = 0, square = 0;

    for (int64_t i = 0; i < n; i++)
        sum += om_ref_f64_at(x, (i / inner * channels + ch) * inner + i % inner);
    *mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) {
        const double d = om_ref_f64_at(x, (i / inner * channels + ch) * inner + i % inner) - *mean;

        square += d * d;
    }
    *variance = square / (double)n;
}

/* The statistics in use, [2, channels]; in training they are the data's, and outputs 1 and 2 move
 * toward them. */
static int batch_statistics(struct ref_call *c, const struct ref_tensor *x, int64_t channels,
                            int64_t inner, double *used)
{
    const double momentum = om_node_float(c->node, "momentum", 0.9);
    const bool training = om_node_int(c->node, "training_mode", 0) != 0;

    for (uint32_t i = 1; training && i < 3; i++)
        if (om_ref_wants(c, i))
            OM_TRY(
                om_ref_new(c->pool, &c->out[i], om_ref_in(c, 2 + i)->dtype, &channels, 1, c->err));
    for (int64_t ch = 0; ch < channels; ch++) {
        used[ch] = channel(c, 3, ch);
        used[channels + ch] = channel(c, 4, ch);
        if (!training)
            continue;
        channel_statistics(x, ch, channels, inner, &used[ch], &used[channels + ch]);
        for (uint32_t i = 1; i < 3; i++) {
            const double v =
                channel(c, 2 + i, ch) * momentum + used[(i - 1) * channels + ch] * (1 - momentum);

            if (om_ref_wants(c, i))
                om_ref_row_store(&c->out[i], ch, 1, &v, 1);
        }
    }
    return 0;
}

static int batch_normalize(struct ref_call *c, int64_t channels, int64_t inner, double *used)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const double epsilon = om_node_float(c->node, "epsilon", 1e-5);

    OM_TRY(batch_statistics(c, x, channels, inner, used));
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, x->dims, x->rank, c->err));
    for (int64_t i = 0; i < x->count; i++) {
        const int64_t ch = i / inner % channels;
        const double v = (om_ref_f64_at(x, i) - used[ch]) / sqrt(used[channels + ch] + epsilon) *
                             channel(c, 1, ch) +
                         channel(c, 2, ch);

        om_ref_row_store(&c->out[0], i, 1, &v, 1);
    }
    return 0;
}

int om_ref_BatchNormalization(struct ref_call *c)
{
    static const char *const names[] = { "scale", "B", "mean", "var" };
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct ref_tensor used = { .mem = NULL };
    int64_t channels;
    int rc;

    OM_TRY(check_float(c, x->dtype));
    if (c->opset < 14 && c->node->n_out > 1)
        return om_fail(c->err, OM_E_UNSUPPORTED, "training before operator set 14");
    channels = x->rank > 1 ? x->dims[1] : 1;
    for (uint32_t i = 0; i < OM_COUNT(names); i++)
        OM_TRY(check_channels(c, i + 1, names[i], channels));
    OM_TRY(om_ref_new(c->pool, &used, OM_F64, (const int64_t[]){ 2, channels }, 2, c->err));
    rc = batch_normalize(c, channels, om_ref_product(x->dims, OM_MIN(2, x->rank), x->rank),
                         used.data);
    om_ref_drop(&used);
    return rc;
}

/* Normalize groups of rows elements of x: n at a time. */
static void normalize_run(const struct ref_tensor *x, int64_t at, int64_t n, double epsilon,
                          double *mean, double *factor)
{
    double sum = 0, square = 0;

    for (int64_t i = 0; i < n; i++)
        sum += om_ref_f64_at(x, at + i);
    *mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) {
        const double d = om_ref_f64_at(x, at + i) - *mean;

        square += d * d;
    }
    *factor = 1 / sqrt(square / (double)n + epsilon);
}

/* groups of channels are normalized together; scale and bias are by channel, or by group. */
static int group_normalize(struct ref_call *c, int64_t groups, bool by_group)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const double epsilon = om_node_float(c->node, "epsilon", 1e-5);
    int64_t channels, inner, n;

    OM_TRY(check_float(c, x->dtype));
    channels = x->rank > 1 ? x->dims[1] : 0;
    if (groups < 1 || channels < 1 || channels % groups != 0)
        return om_fail(c->err, OM_E_FORMAT, "%" PRId64 " channels in %" PRId64 " groups", channels,
                       groups);
    OM_TRY(check_channels(c, 1, "scale", by_group ? groups : channels));
    OM_TRY(check_channels(c, 2, "bias", by_group ? groups : channels));
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, x->dims, x->rank, c->err));
    inner = om_ref_product(x->dims, 2, x->rank);
    n = channels / groups * inner;
    for (int64_t g = 0; x->count > 0 && g < x->dims[0] * groups; g++) {
        double mean, factor;

        normalize_run(x, g * n, n, epsilon, &mean, &factor);
        for (int64_t i = 0; i < n; i++) {
            const int64_t ch = by_group ? g % groups : g % groups * (channels / groups) + i / inner;
            const double v = (om_ref_f64_at(x, g * n + i) - mean) * factor * channel(c, 1, ch) +
                             channel(c, 2, ch);

            om_ref_row_store(&c->out[0], g * n + i, 1, &v, 1);
        }
    }
    return 0;
}

int om_ref_InstanceNormalization(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);

    return group_normalize(c, x->rank > 1 ? x->dims[1] : 0, false);
}

/* Operator set 18 had scale and bias by group. */
int om_ref_GroupNormalization(struct ref_call *c)
{
    return group_normalize(c, om_node_int(c->node, "num_groups", 0), c->opset < 21);
}

int om_ref_LRN(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const double alpha = om_node_float(c->node, "alpha", 1e-4),
                 beta = om_node_float(c->node, "beta", 0.75),
                 bias = om_node_float(c->node, "bias", 1);
    const int64_t size = om_node_int(c->node, "size", 0);
    int64_t channels, inner;

    OM_TRY(check_float(c, x->dtype));
    if (x->rank < 2 || size < 1 || size > INT32_MAX)
        return om_fail(c->err, OM_E_FORMAT, "rank %" PRIu32 " and size %" PRId64, x->rank, size);
    channels = x->dims[1];
    inner = om_ref_product(x->dims, 2, x->rank);
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, x->dims, x->rank, c->err));
    OM_TRY(om_ref_work(c->pool, x->count, OM_MIN(size, channels), c->err));
    for (int64_t i = 0; i < x->count; i++) {
        const int64_t ch = i / inner % channels;
        const int64_t from = OM_MAX(0, ch - (size - 1) / 2),
                      to = OM_MIN(channels - 1, ch + size / 2);
        double square = 0, v;

        for (int64_t k = from; k <= to; k++) {
            const double e = om_ref_f64_at(x, i + (k - ch) * inner);

            square += e * e;
        }
        v = om_ref_f64_at(x, i) / pow(bias + alpha / (double)size * square, beta);
        om_ref_row_store(&c->out[0], i, 1, &v, 1);
    }
    return 0;
}

/* ---- LayerNormalization with its statistics ---- */

static int statistics(struct ref_call *c, uint32_t mean_at, uint32_t factor_at)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const double epsilon = om_node_float(c->node, "epsilon", 1e-5);
    int64_t dims[OM_RANK_MAX], n;
    uint32_t axis = 0;

    OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", -1), x->rank, &axis));
    n = om_ref_product(x->dims, axis, x->rank);
    for (uint32_t i = 0; i < x->rank; i++)
        dims[i] = i < axis ? x->dims[i] : 1;
    for (uint32_t k = 0; k < 2; k++)
        if (om_ref_wants(c, k ? factor_at : mean_at))
            OM_TRY(om_ref_new(c->pool, &c->out[k ? factor_at : mean_at], x->dtype, dims, x->rank,
                              c->err));
    for (int64_t i = 0; n > 0 && i < x->count / n; i++) {
        double mean, factor;

        normalize_run(x, i * n, n, epsilon, &mean, &factor);
        if (om_ref_wants(c, mean_at))
            om_ref_row_store(&c->out[mean_at], i, 1, &mean, 1);
        if (om_ref_wants(c, factor_at))
            om_ref_row_store(&c->out[factor_at], i, 1, &factor, 1);
    }
    return 0;
}

int om_ref_doc_LayerNormalization(struct ref_call *c)
{
    OM_TRY(om_ref_LayerNormalization(c));
    return om_ref_wants(c, 1) || om_ref_wants(c, 2) ? statistics(c, 1, 2) : 0;
}

/* (x - mean) / sqrt(variance) over axes, of which all but the second are usual. */
int om_ref_MeanVarianceNormalization(struct ref_call *c)
{
    static const int64_t usual[] = { 0, 2, 3 };
    const struct om_attr *a = om_node_attr(c->node, "axes");
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct ref_ints axes = { .n = 0 };
    struct ref_tensor sums = { .mem = NULL };
    double *sum;
    int64_t groups = 1;
    uint32_t set;

    OM_TRY(check_float(c, x->dtype));
    if (a && a->n > OM_RANK_MAX)
        return om_fail(c->err, OM_E_LIMIT, "too many axes");
    axes.n = a ? a->n : (uint32_t)OM_COUNT(usual);
    if (axes.n > 0)
        memcpy(axes.v, a ? a->ints : usual, axes.n * sizeof(*axes.v));
    OM_TRY(om_ref_axis_set(c, &axes, x->rank, &set));
    for (uint32_t i = 0; i < x->rank; i++)
        groups *= set >> i & 1 ? 1 : x->dims[i];
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, x->dims, x->rank, c->err));
    OM_TRY(om_ref_new(c->pool, &sums, OM_F64, (const int64_t[]){ 2, groups }, 2, c->err));
    sum = sums.data;
    memset(sum, 0, (size_t)sums.count * sizeof(*sum));
    for (unsigned pass = 0; pass < 3; pass++)
        for (int64_t i = 0; i < x->count; i++) {
            const double n = (double)(x->count / groups);
            int64_t rest = i, g = 0, step = 1;
            double v = om_ref_f64_at(x, i);

            for (uint32_t k = x->rank; k-- > 0; rest /= x->dims[k]) {
                if (set >> k & 1)
                    continue;
                g += rest % x->dims[k] * step;
                step *= x->dims[k];
            }
            if (pass == 0) {
                sum[g] += v / n;
            } else if (pass == 1) {
                sum[groups + g] += (v - sum[g]) * (v - sum[g]) / n;
            } else {
                v = (v - sum[g]) / (sqrt(sum[groups + g]) + 1e-9);
                om_ref_row_store(&c->out[0], i, 1, &v, 1);
            }
        }
    om_ref_drop(&sums);
    return 0;
}
