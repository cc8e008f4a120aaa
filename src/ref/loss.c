/* src/ref/loss.c: losses over classes, and determinants. */
#include <math.h>

#include "ref/tape.h"

/* ---- NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss ---- */

struct loss {
    const struct ref_tensor *x, *target, *weight; /* x: log-probabilities [N, C, ...] */
    int64_t classes, inner;
    bool mean, none;
};

static int loss_read(const struct ref_call *c, const struct ref_tensor *x, struct loss *l)
{
    bool fits;

    *l = (struct loss){ .x = x,
                        .target = om_ref_in(c, 1),
                        .weight = om_ref_in(c, 2),
                        .mean = !om_node_attr(c->node, "reduction") ||
                                om_ref_attr_is(c, "reduction", "mean"),
                        .none = om_ref_attr_is(c, "reduction", "none") };
    fits = x->rank >= 2 && l->target->rank == x->rank - 1 && l->target->dims[0] == x->dims[0] &&
           (x->dtype == OM_F32 || x->dtype == OM_F64) &&
           (l->target->dtype == OM_I64 || l->target->dtype == OM_I32) &&
           (!l->weight || l->weight->count == x->dims[1]);
    for (uint32_t i = 1; fits && i < l->target->rank; i++)
        fits = l->target->dims[i] == x->dims[i + 1];
    if (!fits)
        return om_fail(c->err, OM_E_FORMAT, "targets or weights do not fit the scores");
    l->classes = x->dims[1];
    l->inner = om_ref_product(x->dims, 2, x->rank);
    return 0;
}

/* The loss of target i and its weight; both are 0 for the one to be ignored. */
static int loss_at(const struct ref_call *c, const struct loss *l, int64_t i, double *v,
                   double *weight)
{
    const struct om_attr *ignored = om_node_attr(c->node, "ignore_index");
    const int64_t class = om_ref_i64_at(l->target, i);

    *v = *weight = 0;
    if (ignored && ignored->kind == OM_ATTR_INT && ignored->i == class)
        return 0;
    if (class < 0 || class >= l->classes)
        return om_fail(c->err, OM_E_USAGE, "class %" PRId64 " of %" PRId64, class, l->classes);
    *weight = l->weight ? om_ref_f64_at(l->weight, class) : 1;
    *v = -om_ref_f64_at(l->x, (i / l->inner * l->classes + class) * l->inner + i % l->inner) *
         *weight;
    return 0;
}

static int loss_give(struct ref_call *c, const struct loss *l)
{
    const struct ref_tensor *t = l->target;
    double sum = 0, weights = 0;

    OM_TRY(om_ref_new(c->pool, &c->out[0], l->x->dtype, t->dims, l->none ? t->rank : 0, c->err));
    for (int64_t i = 0; i < t->count; i++) {
        double v, weight;

        OM_TRY(loss_at(c, l, i, &v, &weight));
        sum += v;
        weights += weight;
        if (l->none)
            om_ref_row_store(&c->out[0], i, 1, &v, 1);
    }
    if (l->mean)
        sum /= weights;
    if (!l->none)
        om_ref_row_store(&c->out[0], 0, 1, &sum, 1);
    return 0;
}

int om_ref_NegativeLogLikelihoodLoss(struct ref_call *c)
{
    struct loss l;

    OM_TRY(loss_read(c, om_ref_in(c, 0), &l));
    return loss_give(c, &l);
}

int om_ref_SoftmaxCrossEntropyLoss(struct ref_call *c)
{
    static const struct om_attr axis = REF_ATTR_INT("axis", 1);
    struct ref_tape t = { .c = c };
    const struct ref_tensor *log_prob =
        om_ref_do(&t, om_ref_LogSoftmax, &axis, 1, om_ref_in(c, 0), NULL, NULL);
    struct loss l;

    if (t.rc == 0)
        om_ref_do_fail(&t, loss_read(c, log_prob, &l));
    if (t.rc == 0)
        om_ref_do_fail(&t, loss_give(c, &l));
    om_ref_do_give(&t, 1, log_prob);
    return om_ref_tape_close(&t);
}

/* ---- Det ---- */

/* By elimination, in place; m is n times n. */
static double determinant(double *m, int64_t n)
{
    double det = 1;

    for (int64_t k = 0; k < n; k++) {
        int64_t pivot = k;

        for (int64_t i = k + 1; i < n; i++)
            pivot = fabs(m[i * n + k]) > fabs(m[pivot * n + k]) ? i : pivot;
        if (m[pivot * n + k] == 0)
            return 0;
        det *= pivot == k ? m[k * n + k] : -m[pivot * n + k];
        for (int64_t j = k; j < n && pivot != k; j++) {
            const double v = m[k * n + j];

            m[k * n + j] = m[pivot * n + j];
            m[pivot * n + j] = v;
        }
        for (int64_t i = k + 1; i < n; i++) {
            const double f = m[i * n + k] / m[k * n + k];

            for (int64_t j = k; j < n; j++)
                m[i * n + j] -= f * m[k * n + j];
        }
    }
    return det;
}

int om_ref_Det(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct ref_tensor room = { .mem = NULL };
    int64_t n;

    if (x->rank < 2 || x->dims[x->rank - 1] != x->dims[x->rank - 2] ||
        (x->dtype != OM_F32 && x->dtype != OM_F64))
        return om_fail(c->err, OM_E_FORMAT, "expected square matrices of reals");
    n = x->dims[x->rank - 1];
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, x->dims, x->rank - 2, c->err));
    OM_TRY(om_ref_work(c->pool, x->count, n, c->err));
    OM_TRY(om_ref_new(c->pool, &room, OM_F64, (const int64_t[]){ n, n }, 2, c->err));
    for (int64_t i = 0; i < c->out[0].count; i++) {
        double v;

        om_ref_row_load(room.data, x, i * n * n, 1, n * n);
        v = determinant(room.data, n);
        om_ref_row_store(&c->out[0], i, 1, &v, 1);
    }
    om_ref_drop(&room);
    return 0;
}
