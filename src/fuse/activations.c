/* src/fuse/activations.c: Gelu in its forms, Swish, and the bias before them. */
#include <math.h>

#include "fuse/internal.h"

static const double sqrt_half = 0.70710678118654752440;
static const double sqrt_2_by_pi = 0.79788456080286535588;

/* ---- Gelu ---- */

/* 1 + erf(x / sqrt 2) */
static bool is_erf_part(const struct fuse *f, const struct om_doc_node *n, om_sv *x)
{
    const struct om_doc_node *erf, *inner;
    om_sv name;

    if (!n || !fz_beside(f, n, 1, &name) || !(erf = fz_made_by(f, name, "Erf")) || erf->n_in != 1)
        return false;
    inner = fz_made_by(f, erf->in[0], "Div");
    if (inner && inner->n_in == 2 && fz_is_scalar(f, inner->in[1], 1 / sqrt_half)) {
        *x = inner->in[0];
        return true;
    }
    inner = fz_made_by(f, erf->in[0], "Mul");
    return inner && fz_beside(f, inner, sqrt_half, x);
}

/* The factors are the constant v and count times x, or a Pow where one is wanted. */
static bool are_powers(const struct fuse *f, const om_sv *factors, size_t n, double v, om_sv x,
                       size_t count)
{
    size_t found = 0, constants = 0;

    for (size_t i = 0; i < n; i++) {
        const struct om_doc_node *const p = fz_made_by(f, factors[i], "Pow");

        if (om_sv_eq(factors[i], x))
            found++;
        else if (p && p->n_in == 2 && om_sv_eq(p->in[0], x) &&
                 fz_is_scalar(f, p->in[1], (double)count))
            found += count;
        else if (fz_is_scalar(f, factors[i], v))
            constants++;
        else
            return false;
    }
    return constants == 1 && found == count;
}

/* x + 0.044715 x^3 */
static bool is_cubic(const struct fuse *f, om_sv name, om_sv *x)
{
    const struct om_doc_node *const n = fz_made_by(f, name, "Add");
    om_sv factors[4];

    for (uint32_t i = 0; n && n->n_in == 2 && i < 2; i++) {
        const size_t k = fz_factors(f, n->in[1 - i], n->in[i], factors, OM_COUNT(factors));

        *x = n->in[i];
        if (k > 1 && are_powers(f, factors, k, 0.044715, *x, 3))
            return true;
    }
    return false;
}

/* 1 + 0.044715 x^2 */
static bool is_quadratic(const struct fuse *f, om_sv name, om_sv x)
{
    const struct om_doc_node *const n = fz_made_by(f, name, "Add");
    om_sv factors[4], rest;
    size_t k;

    if (!n || !fz_beside(f, n, 1, &rest))
        return false;
    k = fz_factors(f, rest, x, factors, OM_COUNT(factors));
    return k > 1 && are_powers(f, factors, k, 0.044715, x, 2);
}

/* sqrt(2/pi) (x + 0.044715 x^3), or with x taken out */
static bool is_tanh_argument(const struct fuse *f, om_sv name, om_sv *x)
{
    om_sv factors[3];
    const size_t n = fz_factors(f, name, (om_sv){ "", 0 }, factors, OM_COUNT(factors));
    size_t constant = n;

    for (size_t i = 0; i < n; i++)
        if (fz_is_scalar(f, factors[i], sqrt_2_by_pi))
            constant = i;
    if (constant == n || n < 2)
        return false;
    factors[constant] = factors[n - 1];
    if (n == 2)
        return is_cubic(f, factors[0], x);
    for (size_t i = 0; i < 2; i++) {
        *x = factors[i];
        if (is_quadratic(f, factors[1 - i], *x))
            return true;
    }
    return false;
}

/* 1 + tanh(...) */
static bool is_tanh_part(const struct fuse *f, const struct om_doc_node *n, om_sv *x)
{
    const struct om_doc_node *tanh_node;
    om_sv name;

    if (!n || !fz_beside(f, n, 1, &name) || !(tanh_node = fz_made_by(f, name, "Tanh")))
        return false;
    return tanh_node->n_in == 1 && is_tanh_argument(f, tanh_node->in[0], x);
}

/* The sum with one among the factors of n, at most two products deep. */
static const struct om_doc_node *find_part(const struct fuse *f, const struct om_doc_node *n,
                                           int depth, bool *erf, om_sv *x)
{
    for (uint32_t i = 0; n && n->n_in == 2 && i < 2; i++) {
        const struct om_doc_node *part = fz_made_by(f, n->in[i], "Add");

        *erf = is_erf_part(f, part, x);
        if (*erf || is_tanh_part(f, part, x))
            return part;
        part = depth > 1 ? find_part(f, fz_made_by(f, n->in[i], "Mul"), depth - 1, erf, x) : NULL;
        if (part)
            return part;
    }
    return NULL;
}

/* x, 1/2 and the part, each once */
static bool are_gelu_factors(const struct fuse *f, const om_sv *factors, size_t n, om_sv x,
                             om_sv part)
{
    int xs = 0, halves = 0, parts = 0;

    for (size_t i = 0; i < n; i++) {
        if (om_sv_eq(factors[i], x))
            xs++;
        else if (om_sv_eq(factors[i], part))
            parts++;
        else if (fz_is_scalar(f, factors[i], 0.5))
            halves++;
    }
    return n == 3 && xs == 1 && halves == 1 && parts == 1;
}

static bool is_scalar_shape(const struct fuse *f, om_sv name)
{
    const struct om_value *const v = fz_shape(f, name);

    return v && v->rank == 0;
}

int fz_gelu(struct fuse *f, struct om_doc_node *n)
{
    const struct om_doc_node *part;
    om_sv factors[4], x;
    bool erf = false;
    size_t count;

    if (f->config->disable_gelu || !fz_is(n, "", "Mul") || !(part = find_part(f, n, 2, &erf, &x)) ||
        is_scalar_shape(f, x))
        return 0;
    /* n itself opened: its factors may be called x */
    count = fz_factors(f, n->in[0], x, factors, 3);
    if (count > 0) {
        const size_t more = fz_factors(f, n->in[1], x, factors + count, OM_COUNT(factors) - count);

        count = more > 0 ? count + more : 0;
    }
    if (!are_gelu_factors(f, factors, count, x, part->out[0]) || !fz_is_float(f, x))
        return 0;
    return fz_become(f, n, "com.microsoft", erf ? "Gelu" : "FastGelu", &x, 1);
}

/* ---- Swish ---- */

int fz_quick_gelu(struct fuse *f, struct om_doc_node *n)
{
    for (uint32_t i = 0; !f->config->disable_gelu && fz_is(n, "", "Mul") && n->n_in == 2 && i < 2;
         i++) {
        const struct om_doc_node *const s = fz_made_by(f, n->in[i], "Sigmoid");
        const struct om_doc_node *const m = s ? fz_made_by(f, s->in[0], "Mul") : NULL;
        const om_sv x = n->in[1 - i];
        double alpha = 1, tolerance;
        om_sv scale = { "", 0 };

        if (!s || s->n_in != 1 || !fz_is_float(f, x) || is_scalar_shape(f, x))
            continue;
        if (!om_sv_eq(s->in[0], x) &&
            (!m || !fz_beside_name(m, x, &scale) || !fz_scalar(f, scale, &alpha, &tolerance)))
            continue;
        OM_TRY(fz_become(f, n, "com.microsoft", "QuickGelu", &x, 1));
        return om_doc_put_float(f->d, n, "alpha", (float)alpha) ? 0 : fz_no_memory(f);
    }
    return 0;
}

/* ---- the bias before, the approximation ---- */

static bool is_tanh_gelu(const struct fuse *f, const struct om_doc_node *n)
{
    const struct om_doc_attr *const a = om_doc_attr(n, "approximate");

    (void)f;
    return fz_is(n, "com.microsoft", "FastGelu") ||
           (fz_is(n, "", "Gelu") && a && om_doc_attr_is(a, "tanh"));
}

static bool is_any_gelu(const struct fuse *f, const struct om_doc_node *n)
{
    return n->n_in == 1 &&
           (fz_is(n, "", "Gelu") || fz_is(n, "com.microsoft", "Gelu") || is_tanh_gelu(f, n));
}

int fz_bias_gelu(struct fuse *f, struct om_doc_node *n)
{
    const struct om_doc_node *sum;

    if (f->config->disable_bias_gelu || !is_any_gelu(f, n))
        return 0;
    sum = fz_made_by(f, n->in[0], "Add");
    for (uint32_t i = 0; sum && sum->n_in == 2 && fz_uses(f, n->in[0]) == 1 && i < 2; i++) {
        const om_sv in[] = { sum->in[1 - i], sum->in[i] };

        if (!fz_const(f, in[1]) || !fz_is_row(f, in[1], in[0]) || !fz_is_float(f, in[0]))
            continue;
        return fz_become(f, n, "com.microsoft", is_tanh_gelu(f, n) ? "FastGelu" : "BiasGelu", in,
                         2);
    }
    return 0;
}

int fz_approximate_gelu(struct fuse *f, struct om_doc_node *n)
{
    const bool gelu = fz_is(n, "com.microsoft", "Gelu") || fz_is(n, "com.microsoft", "BiasGelu") ||
                      (fz_is(n, "", "Gelu") && !is_tanh_gelu(f, n));

    if (!f->config->enable_gelu_approximation || !gelu || n->n_in == 0 || !fz_is_float(f, n->in[0]))
        return 0;
    return fz_become(f, n, "com.microsoft", "FastGelu", n->in, n->n_in);
}
