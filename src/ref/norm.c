/* src/ref/norm.c: operators that normalize rows: Softmax, LayerNormalization, RMSNormalization. A
 * row is worked on as double. */
#include "ref/kernel.h"

#include <math.h>
#include <stdlib.h>

void om_ref_row_load(double *row, const struct ref_tensor *t, int64_t at, int64_t step, int64_t n)
{
    if (t->dtype == OM_F32)
        for (int64_t i = 0; i < n; i++)
            row[i] = (double)((const float *)t->data)[at + i * step];
    else
        for (int64_t i = 0; i < n; i++)
            row[i] = ((const double *)t->data)[at + i * step];
}

void om_ref_row_store(struct ref_tensor *t, int64_t at, int64_t step, const double *row, int64_t n)
{
    if (t->dtype == OM_F32)
        for (int64_t i = 0; i < n; i++)
            ((float *)t->data)[at + i * step] = (float)row[i];
    else
        for (int64_t i = 0; i < n; i++)
            ((double *)t->data)[at + i * step] = row[i];
}

static int check_float(const struct ref_call *c, enum om_dtype dtype)
{
    return dtype == OM_F32 || dtype == OM_F64 ? 0 : om_ref_bad_dtype(c, dtype);
}

/* ---- Softmax ---- */

void om_ref_softmax_row(double *row, int64_t n, bool zero_if_masked)
{
    double max = -(double)INFINITY, sum = 0;

    for (int64_t i = 0; i < n; i++)
        max = row[i] > max ? row[i] : max;
    if (zero_if_masked && max == -(double)INFINITY)
        max = 0; /* every exponential is 0 then; NaN stays NaN */
    for (int64_t i = 0; i < n; i++) {
        row[i] = exp(row[i] - max);
        sum += row[i];
    }
    if (zero_if_masked && sum == 0)
        sum = 1;
    for (int64_t i = 0; i < n; i++)
        row[i] /= sum;
}

int om_ref_Softmax(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct ref_tensor row = { .mem = NULL };
    int64_t n, step;
    uint32_t axis = 0;

    OM_TRY(check_float(c, x->dtype));
    OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", -1), x->rank, &axis));
    n = x->dims[axis];
    step = om_ref_product(x->dims, axis + 1, x->rank);
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, x->dims, x->rank, c->err));
    OM_TRY(om_ref_new(c->pool, &row, OM_F64, &n, 1, c->err));
    for (int64_t i = 0; x->count > 0 && i < x->count / n; i++) {
        const int64_t at = i / step * step * n + i % step;

        om_ref_row_load(row.data, x, at, step, n);
        om_ref_softmax_row(row.data, n, false);
        om_ref_row_store(&c->out[0], at, step, row.data, n);
    }
    om_ref_drop(&row);
    return 0;
}

/* ---- LayerNormalization and RMSNormalization ---- */

/* Scale or bias: its elements repeat with the rows when its shape is that of a row, else it is made
 * as large as x. */
static int load_affine(const struct ref_call *c, const struct ref_tensor *t,
                       const struct ref_tensor *x, uint32_t axis, struct ref_tensor *out)
{
    const struct ref_tensor *const both[2] = { x, t };
    const uint32_t rank = x->rank - axis;
    int64_t dims[OM_RANK_MAX];
    char a[REF_DIMS_TEXT], b[REF_DIMS_TEXT];
    uint32_t got = 0;

    OM_TRY(check_float(c, t->dtype));
    if (t->rank == rank && memcmp(t->dims, x->dims + axis, rank * sizeof(*dims)) == 0)
        return om_ref_share(out, t, t->dims, t->rank, c->err);
    OM_TRY(om_ref_broadcast_dims(c, both, 2, dims, &got));
    if (got != x->rank || memcmp(dims, x->dims, got * sizeof(*dims)) != 0)
        return om_fail(c->err, OM_E_FORMAT, "scale or bias %s does not fit %s",
                       om_ref_dims_text(a, sizeof(a), t->dims, t->rank),
                       om_ref_dims_text(b, sizeof(b), x->dims, x->rank));
    return om_ref_expand(c, out, t, x->dims, x->rank);
}

/* What rows are normalized with; scale and bias hold a row's or all elements. */
struct affine {
    struct ref_tensor scale, bias, row, factor;
    double epsilon;
    bool centre; /* subtract the mean */
};

static void normalize_row(double *x, int64_t n, double epsilon, bool centre)
{
    double mean = 0, square = 0;

    for (int64_t i = 0; centre && i < n; i++)
        mean += x[i];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) {
        x[i] -= mean;
        square += x[i] * x[i];
    }
    square = 1 / sqrt(square / (double)n + epsilon);
    for (int64_t i = 0; i < n; i++)
        x[i] *= square;
}

static void normalize_rows(struct affine *f, const struct ref_tensor *x, int64_t n,
                           struct ref_tensor *out)
{
    double *row = f->row.data, *factor = f->factor.data;

    for (int64_t at = 0; at < x->count; at += n) {
        om_ref_row_load(row, x, at, 1, n);
        normalize_row(row, n, f->epsilon, f->centre);
        om_ref_row_load(factor, &f->scale, at % f->scale.count, 1, n);
        for (int64_t i = 0; i < n; i++)
            row[i] *= factor[i];
        if (f->bias.data) {
            om_ref_row_load(factor, &f->bias, at % f->bias.count, 1, n);
            for (int64_t i = 0; i < n; i++)
                row[i] += factor[i];
        }
        om_ref_row_store(out, at, 1, row, n);
    }
}

static int normalize(struct ref_call *c, struct affine *f)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *scale = om_ref_in(c, 1), *bias = om_ref_in(c, 2);
    int64_t n;
    uint32_t axis = 0;

    OM_TRY(check_float(c, x->dtype));
    OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", -1), x->rank, &axis));
    n = om_ref_product(x->dims, axis, x->rank);
    f->epsilon = om_node_float(c->node, "epsilon", 1e-5);
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, x->dims, x->rank, c->err));
    if (x->count == 0)
        return 0;
    OM_TRY(load_affine(c, scale, x, axis, &f->scale));
    if (bias)
        OM_TRY(load_affine(c, bias, x, axis, &f->bias));
    OM_TRY(om_ref_new(c->pool, &f->row, OM_F64, &n, 1, c->err));
    OM_TRY(om_ref_new(c->pool, &f->factor, OM_F64, &n, 1, c->err));
    normalize_rows(f, x, n, &c->out[0]);
    return 0;
}

static int normalize_and_drop(struct ref_call *c, bool centre)
{
    struct affine f = { .centre = centre };
    const int rc = normalize(c, &f);

    om_ref_drop(&f.scale);
    om_ref_drop(&f.bias);
    om_ref_drop(&f.row);
    om_ref_drop(&f.factor);
    return rc;
}

int om_ref_LayerNormalization(struct ref_call *c)
{
    return normalize_and_drop(c, true);
}

int om_ref_RMSNormalization(struct ref_call *c)
{
    return normalize_and_drop(c, false);
}
