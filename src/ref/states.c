/* src/ref/states.c: operators that carry a state from step to step beside attention's: linear
 * attention, causal convolutions, caches. */
#include <math.h>

#include "ref/kernel.h"

/* ---- LinearAttention ---- */

struct linear {
    const struct ref_tensor *q, *k, *v, *decay, *beta;
    int64_t batch, length, q_heads, heads, dim, v_dim;
    int64_t decays, betas; /* of a head: one or dim; of all heads: one or heads */
    double scale;
    bool gated, delta;
};

static int linear_rule(const struct ref_call *c, struct linear *l)
{
    const struct om_attr *a = om_node_attr(c->node, "update_rule");
    const om_sv rule = a && a->kind == OM_ATTR_STRING ? a->s : OM_SVL("gated_delta");

    l->gated = om_sv_is(rule, "gated") || om_sv_is(rule, "gated_delta");
    l->delta = om_sv_is(rule, "delta") || om_sv_is(rule, "gated_delta");
    if (!l->gated && !l->delta && !om_sv_is(rule, "linear"))
        return om_fail(c->err, OM_E_FORMAT, "update_rule \"%.*s\"", OM_SV(rule));
    if ((l->gated && !l->decay) || (l->delta && !l->beta))
        return om_fail(c->err, OM_E_FORMAT, "the rule needs decay or beta");
    return 0;
}

/* Is t [batch, length, n], or of no length at all? */
static bool linear_fits(const struct linear *l, const struct ref_tensor *t, int64_t n)
{
    return t->rank == 3 && (t->dtype == OM_F32 || t->dtype == OM_F64) && t->dims[0] == l->batch &&
           t->dims[1] == l->length && t->dims[2] == n;
}

static int linear_shapes(const struct ref_call *c, struct linear *l)
{
    const struct ref_tensor *past = om_ref_in(c, 3);
    bool fits = l->q->rank == 3 && l->k->rank == 3 && l->v->rank == 3 && l->q_heads > 0 &&
                l->heads > 0 && l->q_heads % l->heads == 0 && l->q->dims[2] % l->q_heads == 0 &&
                l->v->dims[2] % l->heads == 0;

    if (fits) {
        l->batch = l->q->dims[0];
        l->length = l->q->dims[1];
        l->dim = l->q->dims[2] / l->q_heads;
        l->v_dim = l->v->dims[2] / l->heads;
        l->decays = l->decay && l->decay->rank == 3 && l->decay->dims[2] == l->heads ? 1 : l->dim;
        l->betas = l->beta && l->beta->rank == 3 && l->beta->dims[2] == 1 ? 1 : l->heads;
        fits =
            linear_fits(l, l->q, l->q_heads * l->dim) && linear_fits(l, l->k, l->heads * l->dim) &&
            linear_fits(l, l->v, l->heads * l->v_dim) &&
            (!l->gated || linear_fits(l, l->decay, l->heads * l->decays)) &&
            (!l->delta || linear_fits(l, l->beta, l->betas)) &&
            (!past || (past->rank == 4 && past->dims[0] == l->batch && past->dims[1] == l->heads &&
                       past->dims[2] == l->dim && past->dims[3] == l->v_dim));
    }
    return fits ? 0 : om_fail(c->err, OM_E_FORMAT, "the operands do not fit in shape");
}

/* One step of one head: state [dim, v_dim], row has room for v_dim. */
static void linear_step(const struct linear *l, int64_t b, int64_t t, int64_t h, double *state,
                        double *row)
{
    const int64_t place = b * l->length + t;
    const int64_t k_at = (place * l->heads + h) * l->dim, v_at = (place * l->heads + h) * l->v_dim;
    const double beta =
        l->delta ? om_ref_f64_at(l->beta, place * l->betas + (l->betas > 1 ? h : 0)) : 1;

    for (int64_t i = 0; l->gated && i < l->dim; i++) {
        const int64_t at = (place * l->heads + h) * l->decays + (l->decays > 1 ? i : 0);
        const double keep = exp(om_ref_f64_at(l->decay, at));

        for (int64_t j = 0; j < l->v_dim; j++)
            state[i * l->v_dim + j] *= keep;
    }
    for (int64_t j = 0; j < l->v_dim; j++) {
        row[j] = om_ref_f64_at(l->v, v_at + j);
        for (int64_t i = 0; l->delta && i < l->dim; i++)
            row[j] -= state[i * l->v_dim + j] * om_ref_f64_at(l->k, k_at + i);
    }
    for (int64_t i = 0; i < l->dim; i++)
        for (int64_t j = 0; j < l->v_dim; j++)
            state[i * l->v_dim + j] += beta * om_ref_f64_at(l->k, k_at + i) * row[j];
}

/* What the query heads of a head read of its state. */
static void linear_read(const struct linear *l, int64_t b, int64_t t, int64_t h,
                        const double *state, struct ref_tensor *out)
{
    const int64_t group = l->q_heads / l->heads;

    for (int64_t g = h * group; g < (h + 1) * group; g++) {
        const int64_t at = (b * l->length + t) * l->q_heads + g;

        for (int64_t j = 0; j < l->v_dim; j++) {
            double sum = 0;

            for (int64_t i = 0; i < l->dim; i++)
                sum += om_ref_f64_at(l->q, at * l->dim + i) * state[i * l->v_dim + j];
            sum *= l->scale;
            om_ref_row_store(out, at * l->v_dim + j, 1, &sum, 1);
        }
    }
}

static int linear_run(struct ref_call *c, const struct linear *l, double *state)
{
    const struct ref_tensor *past = om_ref_in(c, 3);
    const int64_t size = l->dim * l->v_dim;

    for (int64_t i = 0; i < l->batch * l->heads; i++) {
        for (int64_t k = 0; k < size; k++)
            state[k] = past ? om_ref_f64_at(past, i * size + k) : 0;
        for (int64_t t = 0; t < l->length; t++) {
            linear_step(l, i / l->heads, t, i % l->heads, state, state + size);
            linear_read(l, i / l->heads, t, i % l->heads, state, &c->out[0]);
        }
        if (om_ref_wants(c, 1))
            om_ref_row_store(&c->out[1], i * size, 1, state, size);
    }
    return 0;
}

static int linear_outputs(struct ref_call *c, const struct linear *l)
{
    OM_TRY(om_ref_new(c->pool, &c->out[0], l->q->dtype,
                      (const int64_t[]){ l->batch, l->length, l->q_heads * l->v_dim }, 3, c->err));
    if (!om_ref_wants(c, 1))
        return 0;
    return om_ref_new(c->pool, &c->out[1], l->q->dtype,
                      (const int64_t[]){ l->batch, l->heads, l->dim, l->v_dim }, 4, c->err);
}

/* The state has the dtype of the one before, or of the query. */
static int linear_narrow(struct ref_call *c)
{
    const enum om_dtype dtype = c->dtypes[om_ref_in(c, 3) ? 3 : 0];
    struct ref_tensor narrow;

    if (!om_ref_wants(c, 1) || dtype == c->out[1].dtype)
        return 0;
    OM_TRY(om_ref_convert(c->pool, &narrow, &c->out[1], dtype, c->err));
    om_ref_drop(&c->out[1]);
    c->out[1] = narrow;
    return 0;
}

int om_ref_LinearAttention(struct ref_call *c)
{
    struct linear l = { .q = om_ref_in(c, 0),
                        .k = om_ref_in(c, 1),
                        .v = om_ref_in(c, 2),
                        .decay = om_ref_in(c, 4),
                        .beta = om_ref_in(c, 5),
                        .q_heads = om_node_int(c->node, "q_num_heads", 0),
                        .heads = om_node_int(c->node, "kv_num_heads", 0) };
    struct ref_tensor state = { .mem = NULL };
    int rc;

    OM_TRY(linear_rule(c, &l));
    OM_TRY(linear_shapes(c, &l));
    l.scale = om_node_float(c->node, "scale", 0);
    if (l.scale == 0)
        l.scale = 1 / sqrt((double)OM_MAX(l.dim, 1));
    OM_TRY(linear_outputs(c, &l));
    OM_TRY(om_ref_work(c->pool, l.q->count, l.v_dim, c->err));
    OM_TRY(om_ref_work(c->pool, l.k->count, l.v_dim, c->err));
    OM_TRY(om_ref_new(c->pool, &state, OM_F64, (const int64_t[]){ l.dim + 1, l.v_dim }, 2, c->err));
    rc = linear_run(c, &l, state.data);
    om_ref_drop(&state);
    return rc < 0 ? rc : linear_narrow(c);
}

/* ---- CausalConvWithState ---- */

/* Element i of a row that begins with the state. */
static double causal_at(const struct ref_call *c, int64_t row, int64_t i, int64_t carried)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *past = om_ref_in(c, 3);

    if (i >= carried)
        return om_ref_f64_at(x, row * x->dims[2] + i - carried);
    return past ? om_ref_f64_at(past, row * carried + i) : 0;
}

static int causal_shapes(const struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *w = om_ref_in(c, 1), *bias = om_ref_in(c, 2),
                            *past = om_ref_in(c, 3);
    const bool fits = x->rank == 3 && w->rank == 3 && (x->dtype == OM_F32 || x->dtype == OM_F64) &&
                      w->dims[0] == x->dims[1] && w->dims[1] == 1 && w->dims[2] >= 1 &&
                      (!bias || bias->count == x->dims[1]) &&
                      (!past || (past->rank == 3 && past->dims[0] == x->dims[0] &&
                                 past->dims[1] == x->dims[1] && past->dims[2] == w->dims[2] - 1));

    return fits ? 0 : om_fail(c->err, OM_E_FORMAT, "the operands do not fit in shape");
}

int om_ref_CausalConvWithState(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *w = om_ref_in(c, 1), *bias = om_ref_in(c, 2);
    const bool swish =
        om_ref_attr_is(c, "activation", "silu") || om_ref_attr_is(c, "activation", "swish");
    int64_t carried, length;

    OM_TRY(causal_shapes(c));
    carried = w->dims[2] - 1;
    length = x->dims[2];
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, x->dims, 3, c->err));
    OM_TRY(om_ref_work(c->pool, x->count, carried + 1, c->err));
    for (int64_t i = 0; i < x->count; i++) {
        const int64_t row = i / length, channel = row % x->dims[1];
        double sum = bias ? om_ref_f64_at(bias, channel) : 0;

        for (int64_t k = 0; k <= carried; k++)
            sum += om_ref_f64_at(w, channel * (carried + 1) + k) *
                   causal_at(c, row, i % length + k, carried);
        sum = swish ? sum / (1 + exp(-sum)) : sum;
        om_ref_row_store(&c->out[0], i, 1, &sum, 1);
    }
    if (!om_ref_wants(c, 1))
        return 0;
    OM_TRY(om_ref_new(c->pool, &c->out[1], x->dtype,
                      (const int64_t[]){ x->dims[0], x->dims[1], carried }, 3, c->err));
    for (int64_t i = 0; i < c->out[1].count; i++) {
        const double v = causal_at(c, i / carried, length + i % carried, carried);

        om_ref_row_store(&c->out[1], i, 1, &v, 1);
    }
    return 0;
}

/* ---- TensorScatter ---- */

/* Where the update of a batch begins; it must fit unless it wraps around. */
static int scatter_begin(const struct ref_call *c, int64_t batch, int64_t n, int64_t room,
                         bool circular, int64_t *at)
{
    const struct ref_tensor *indices = om_ref_in(c, 2);

    *at = indices ? om_ref_i64_at(indices, batch) : 0;
    if (*at < 0 || n > room || (!circular && *at > room - n))
        return om_fail(c->err, OM_E_USAGE,
                       "%" PRId64 " elements at %" PRId64 " of %" PRId64 " in the cache", n, *at,
                       room);
    return 0;
}

int om_ref_TensorScatter(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *u = om_ref_in(c, 1), *indices = om_ref_in(c, 2);
    const bool circular = om_ref_attr_is(c, "mode", "circular");
    uint32_t axis = 0;
    int64_t outer, n, room, at;
    size_t inner;
    bool fits;

    OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", -2), x->rank, &axis));
    fits = axis > 0 && u->rank == x->rank && u->dtype == x->dtype &&
           (!indices || indices->count == x->dims[0]);
    for (uint32_t i = 0; fits && i < x->rank; i++)
        fits = i == axis || x->dims[i] == u->dims[i];
    if (!fits)
        return om_fail(c->err, OM_E_FORMAT, "the update does not fit the cache");
    n = u->dims[axis];
    room = x->dims[axis];
    outer = om_ref_product(x->dims, 0, axis);
    inner = (size_t)om_ref_product(x->dims, axis + 1, x->rank) * om_dtype_size(x->dtype);
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, x->dims, x->rank, c->err));
    if (x->count > 0)
        memcpy(c->out[0].data, x->data, (size_t)x->count * om_dtype_size(x->dtype));
    for (int64_t o = 0; u->count > 0 && o < outer; o++) {
        OM_TRY(scatter_begin(c, o / (outer / x->dims[0]), n, room, circular, &at));
        for (int64_t i = 0; i < n; i++)
            memcpy((unsigned char *)c->out[0].data +
                       (size_t)(o * room + (at % room + i) % room) * inner,
                   (const unsigned char *)u->data + (size_t)(o * n + i) * inner, inner);
    }
    return 0;
}
