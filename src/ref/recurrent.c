/* src/ref/recurrent.c: LSTM, GRU and RNN; everything in double. */
#include <math.h>

#include "ref/plan.h"

enum kind { RNN, GRU, LSTM };

enum { ACTIVATIONS = 3 }; /* of a direction, at most */

struct activation {
    double (*of)(double v, double alpha, double beta);
    double alpha, beta;
};

struct recurrent {
    enum kind kind;
    struct activation act[2][ACTIVATIONS]; /* by direction: f, g, h */
    bool input_forget;
    int64_t length, batch, in, hidden, directions, gates;
    bool batch_first, backward, reset_after; /* linear_before_reset */
    double clip;
    const struct ref_tensor *x, *w, *r, *b, *lengths, *h0, *c0, *peephole;
    struct ref_tensor state; /* double: h, c, gates of x and of h */
};

/* ---- activations ---- */

#define ACTIVATION(name, expr)                       \
    static double name(double v, double a, double b) \
    {                                                \
        (void)a;                                     \
        (void)b;                                     \
        return (expr);                               \
    }

ACTIVATION(act_sigmoid, 1 / (1 + exp(-v)))
ACTIVATION(act_tanh, tanh(v))
ACTIVATION(act_relu, v > 0 ? v : 0)
ACTIVATION(act_affine, a *v + b)
ACTIVATION(act_leaky, v >= 0 ? v : a * v)
ACTIVATION(act_thresholded, v >= a ? v : 0)
ACTIVATION(act_scaled_tanh, a *tanh(b *v))
ACTIVATION(act_hard_sigmoid, fmin(fmax(a *v + b, 0), 1))
ACTIVATION(act_elu, v >= 0 ? v : a * expm1(v))
ACTIVATION(act_softsign, v / (1 + fabs(v)))
ACTIVATION(act_softplus, log1p(exp(v)))

static const struct named {
    const char *name;
    struct activation act; /* with the defaults */
    int params;            /* that the node's lists have for it: alpha, then beta */
} named[] = {
    { "Sigmoid", { act_sigmoid, 0, 0 }, 0 },
    { "Tanh", { act_tanh, 0, 0 }, 0 },
    { "Relu", { act_relu, 0, 0 }, 0 },
    { "Affine", { act_affine, 1, 0 }, 2 },
    { "LeakyRelu", { act_leaky, 0.01, 0 }, 1 },
    { "ThresholdedRelu", { act_thresholded, 1, 0 }, 1 },
    { "ScaledTanh", { act_scaled_tanh, 1, 1 }, 2 },
    { "HardSigmoid", { act_hard_sigmoid, 0.2, 0.5 }, 2 },
    { "Elu", { act_elu, 1, 0 }, 1 },
    { "Softsign", { act_softsign, 0, 0 }, 0 },
    { "Softplus", { act_softplus, 0, 0 }, 0 },
};

static int find_activation(const struct ref_call *c, om_sv name, const struct named **out)
{
    for (size_t i = 0; i < OM_COUNT(named); i++)
        if (om_sv_is(name, named[i].name)) {
            *out = &named[i];
            return 0;
        }
    return om_fail(c->err, OM_E_UNSUPPORTED, "the activation %.*s", OM_SV(name));
}

/* The usual ones, or those that the node names; parameters come in their order. */
static int read_activations(const struct ref_call *c, struct recurrent *n)
{
    const size_t each = n->kind == RNN ? 1 : n->kind == GRU ? 2 : 3, most = each * 2;
    om_sv names[2 * ACTIVATIONS];
    float alpha[2 * ACTIVATIONS], beta[2 * ACTIVATIONS];
    size_t n_names, n_alpha, n_beta, a = 0, b = 0;

    OM_TRY(om_ref_attr_strings(c, "activations", names, most, &n_names));
    OM_TRY(om_ref_attr_floats(c, "activation_alpha", alpha, most, &n_alpha));
    OM_TRY(om_ref_attr_floats(c, "activation_beta", beta, most, &n_beta));
    for (size_t i = 0; i < most; i++) {
        const om_sv usual = n->kind != RNN && i % each == 0 ? OM_SVL("Sigmoid") : OM_SVL("Tanh");
        const struct named *found = NULL;

        OM_TRY(find_activation(c, i < n_names ? names[i] : usual, &found));
        n->act[i / each][i % each] = found->act;
        if (found->params > 0 && a < n_alpha)
            n->act[i / each][i % each].alpha = (double)alpha[a++];
        if (found->params > 1 && b < n_beta)
            n->act[i / each][i % each].beta = (double)beta[b++];
    }
    return 0;
}

static double apply(const struct recurrent *n, int64_t d, int which, double v)
{
    const struct activation *a = &n->act[d][which];

    return a->of(v, a->alpha, a->beta);
}

/* ---- steps ---- */

static double clipped(const struct recurrent *n, double v)
{
    return n->clip > 0 ? fmin(fmax(v, -n->clip), n->clip) : v;
}

/* Element k of the bias of a direction, of the input's half or the state's. */
static double bias(const struct recurrent *n, int64_t d, int64_t k, bool of_state)
{
    const int64_t rows = n->gates * n->hidden;

    return n->b ? om_ref_f64_at(n->b, d * 2 * rows + (of_state ? rows : 0) + k) : 0;
}

/* out[rows] = m[d] * v, for v of width elements that begin at at in t. */
static void product(const struct recurrent *n, const struct ref_tensor *m, int64_t d,
                    const struct ref_tensor *t, int64_t at, int64_t width, double *out)
{
    const int64_t rows = n->gates * n->hidden;

    for (int64_t k = 0; k < rows; k++) {
        out[k] = 0;
        for (int64_t i = 0; i < width; i++)
            out[k] += om_ref_f64_at(m, (d * rows + k) * width + i) * om_ref_f64_at(t, at + i);
    }
}

/* gx and gh are what input and state give to the gates; h and c are replaced. */
static void step_rnn(const struct recurrent *n, int64_t d, const double *gx, const double *gh,
                     double *h)
{
    for (int64_t i = 0; i < n->hidden; i++)
        h[i] =
            apply(n, d, 0, clipped(n, gx[i] + gh[i] + bias(n, d, i, false) + bias(n, d, i, true)));
}

/* Gates in the order z, r, h. */
static void step_gru(const struct recurrent *n, int64_t d, const double *gx, double *gh, double *h,
                     double *reset)
{
    const int64_t m = n->hidden;

    for (int64_t i = 0; i < m; i++)
        reset[i] = apply(
            n, d, 0,
            clipped(n, gx[m + i] + gh[m + i] + bias(n, d, m + i, false) + bias(n, d, m + i, true)));
    for (int64_t i = 0; i < m; i++) {
        double state = gh[2 * m + i];

        if (!n->reset_after) { /* the state is reset before the product */
            state = 0;
            for (int64_t k = 0; k < m; k++)
                state += om_ref_f64_at(n->r, (d * 3 * m + 2 * m + i) * m + k) * reset[k] * h[k];
            state += bias(n, d, 2 * m + i, true);
        } else {
            state = reset[i] * (state + bias(n, d, 2 * m + i, true));
        }
        gh[2 * m + i] =
            apply(n, d, 1, clipped(n, gx[2 * m + i] + state + bias(n, d, 2 * m + i, false)));
    }
    for (int64_t i = 0; i < m; i++) {
        const double z =
            apply(n, d, 0, clipped(n, gx[i] + gh[i] + bias(n, d, i, false) + bias(n, d, i, true)));

        h[i] = (1 - z) * gh[2 * m + i] + z * h[i];
    }
}

static double peep(const struct recurrent *n, int64_t d, int64_t gate, int64_t i, double c)
{
    return n->peephole ? om_ref_f64_at(n->peephole, (d * 3 + gate) * n->hidden + i) * c : 0;
}

/* Gates in the order i, o, f, c; peepholes i, o, f. */
static void step_lstm(const struct recurrent *n, int64_t d, const double *gx, const double *gh,
                      double *h, double *cell)
{
    const int64_t m = n->hidden;

    for (int64_t i = 0; i < m; i++) {
        double g[4], in, forget;

        for (int64_t k = 0; k < 4; k++)
            g[k] = gx[k * m + i] + gh[k * m + i] + bias(n, d, k * m + i, false) +
                   bias(n, d, k * m + i, true);
        in = apply(n, d, 0, clipped(n, g[0] + peep(n, d, 0, i, cell[i])));
        forget =
            n->input_forget ? 1 - in : apply(n, d, 0, clipped(n, g[2] + peep(n, d, 2, i, cell[i])));
        cell[i] = forget * cell[i] + in * apply(n, d, 1, clipped(n, g[3]));
        h[i] =
            apply(n, d, 0, clipped(n, g[1] + peep(n, d, 1, i, cell[i]))) * apply(n, d, 2, cell[i]);
    }
}

/* Element 0 of row (step, batch) of x. */
static int64_t x_at(const struct recurrent *n, int64_t step, int64_t b)
{
    return (n->batch_first ? b * n->length + step : step * n->batch + b) * n->in;
}

static int64_t y_at(const struct recurrent *n, int64_t step, int64_t d, int64_t b)
{
    if (n->batch_first)
        return ((b * n->length + step) * n->directions + d) * n->hidden;
    return ((step * n->directions + d) * n->batch + b) * n->hidden;
}

static int64_t state_at(const struct recurrent *n, int64_t d, int64_t b)
{
    return (n->batch_first ? b * n->directions + d : d * n->batch + b) * n->hidden;
}

static void run_row(struct ref_call *c, struct recurrent *n, int64_t d, int64_t b, int64_t steps)
{
    const int64_t m = n->hidden, rows = n->gates * m;
    double *h = n->state.data, *cell = h + m, *reset = cell + m, *gx = reset + m, *gh = gx + rows;
    const bool back = n->backward || d == 1;
    const struct ref_tensor now = { .dtype = OM_F64, .count = m, .data = h };

    for (int64_t i = 0; i < m; i++) {
        h[i] = n->h0 ? om_ref_f64_at(n->h0, state_at(n, d, b) + i) : 0;
        cell[i] = n->c0 ? om_ref_f64_at(n->c0, state_at(n, d, b) + i) : 0;
    }
    for (int64_t s = 0; s < steps; s++) {
        const int64_t at = back ? steps - 1 - s : s;

        product(n, n->w, d, n->x, x_at(n, at, b), n->in, gx);
        product(n, n->r, d, &now, 0, m, gh);
        if (n->kind == RNN)
            step_rnn(n, d, gx, gh, h);
        else if (n->kind == GRU)
            step_gru(n, d, gx, gh, h, reset);
        else
            step_lstm(n, d, gx, gh, h, cell);
        if (c->out[0].data)
            om_ref_row_store(&c->out[0], y_at(n, at, d, b), 1, h, m);
    }
    if (om_ref_wants(c, 1))
        om_ref_row_store(&c->out[1], state_at(n, d, b), 1, h, m);
    if (om_ref_wants(c, 2))
        om_ref_row_store(&c->out[2], state_at(n, d, b), 1, cell, m);
}

static bool has_count(const struct ref_tensor *t, int64_t n)
{
    return !t || t->count == n;
}

static int check_operands(const struct ref_call *c, struct recurrent *n)
{
    const struct ref_tensor *x = n->x, *w = n->w, *r = n->r;
    bool fits = x->rank == 3 && w->rank == 3 && r->rank == 3;

    if (x->dtype != OM_F32 && x->dtype != OM_F64)
        return om_ref_bad_dtype(c, x->dtype);
    OM_TRY(read_activations(c, n));
    if (fits) {
        n->length = x->dims[n->batch_first ? 1 : 0];
        n->batch = x->dims[n->batch_first ? 0 : 1];
        n->in = x->dims[2];
        n->directions = w->dims[0];
        n->hidden = r->dims[2];
        fits = n->directions >= 1 && n->directions <= 2 && w->dims[2] == n->in &&
               w->dims[1] == n->gates * n->hidden && r->dims[0] == n->directions &&
               r->dims[1] == n->gates * n->hidden && n->hidden < 1 << 24 &&
               has_count(n->b, n->directions * 2 * n->gates * n->hidden) &&
               has_count(n->lengths, n->batch) &&
               has_count(n->h0, n->directions * n->batch * n->hidden) &&
               has_count(n->c0, n->directions * n->batch * n->hidden) &&
               has_count(n->peephole, n->directions * 3 * n->hidden);
    }
    return fits ? 0 : om_fail(c->err, OM_E_FORMAT, "the operands do not fit in shape");
}

static int make_outputs(struct ref_call *c, const struct recurrent *n)
{
    const int64_t y[4] = { n->length, n->directions, n->batch, n->hidden };
    const int64_t y_first[4] = { n->batch, n->length, n->directions, n->hidden };
    const int64_t h[3] = { n->directions, n->batch, n->hidden };
    const int64_t h_first[3] = { n->batch, n->directions, n->hidden };

    if (om_ref_wants(c, 0)) {
        OM_TRY(
            om_ref_new(c->pool, &c->out[0], n->x->dtype, n->batch_first ? y_first : y, 4, c->err));
        memset(c->out[0].data, 0, (size_t)c->out[0].count * om_dtype_size(n->x->dtype));
    }
    for (uint32_t i = 1; i < 3; i++)
        if (om_ref_wants(c, i))
            OM_TRY(om_ref_new(c->pool, &c->out[i], n->x->dtype, n->batch_first ? h_first : h, 3,
                              c->err));
    return 0;
}

static int recurrent(struct ref_call *c, enum kind kind)
{
    struct recurrent n = { .kind = kind,
                           .gates = kind == LSTM  ? 4
                                    : kind == GRU ? 3
                                                  : 1,
                           .batch_first = om_node_int(c->node, "layout", 0) != 0,
                           .backward = om_ref_attr_is(c, "direction", "reverse"),
                           .reset_after = om_node_int(c->node, "linear_before_reset", 0) != 0,
                           .input_forget = om_node_int(c->node, "input_forget", 0) != 0,
                           .clip = om_node_float(c->node, "clip", 0),
                           .x = om_ref_in(c, 0),
                           .w = om_ref_in(c, 1),
                           .r = om_ref_in(c, 2),
                           .b = om_ref_in(c, 3),
                           .lengths = om_ref_in(c, 4),
                           .h0 = om_ref_in(c, 5),
                           .c0 = om_ref_in(c, 6),
                           .peephole = om_ref_in(c, 7) };

    OM_TRY(check_operands(c, &n));
    OM_TRY(make_outputs(c, &n));
    OM_TRY(om_ref_work(c->pool, n.length * n.batch, n.w->count + n.r->count, c->err));
    OM_TRY(om_ref_new(c->pool, &n.state, OM_F64, (const int64_t[]){ 3 + 2 * n.gates, n.hidden }, 2,
                      c->err));
    for (int64_t i = 0; i < n.directions * n.batch; i++) {
        const int64_t b = i % n.batch;
        const int64_t steps = n.lengths ? om_ref_i64_at(n.lengths, b) : n.length;

        if (steps < 0 || steps > n.length) {
            om_ref_drop(&n.state);
            return om_fail(c->err, OM_E_USAGE, "a sequence of %" PRId64 " steps", steps);
        }
        run_row(c, &n, i / n.batch, b, steps);
    }
    om_ref_drop(&n.state);
    return 0;
}

int om_ref_RNN(struct ref_call *c)
{
    return recurrent(c, RNN);
}

int om_ref_GRU(struct ref_call *c)
{
    return recurrent(c, GRU);
}

int om_ref_LSTM(struct ref_call *c)
{
    return recurrent(c, LSTM);
}
