/* src/ref/einsum.c: Einsum: sums of products over named axes.
 *
 * Every letter is an axis of the walk; "..." stands for axes that are broadcast. Sums are kept in
 * double, or wrap as integers. */
#include "ref/kernel.h"

enum { LETTERS = 52, DOTS = OM_RANK_MAX, AXES_MAX = LETTERS + DOTS, OPERANDS = 8 };

/* Axes are letters, then those of "..." counted from the last. */
struct einsum {
    int64_t dims[AXES_MAX]; /* 0: not used */
    bool used[AXES_MAX], out[AXES_MAX];
    uint32_t out_axes[OM_RANK_MAX], n_out;
    uint32_t dots; /* the most axes that "..." stands for */
    uint32_t n;    /* operands */
    int64_t steps[OPERANDS][AXES_MAX];
    /* the walk: output axes, then those summed over */
    uint32_t order[2 * AXES_MAX], n_order;
};

static int letter_axis(char ch)
{
    return ch >= 'a' && ch <= 'z' ? ch - 'a' : ch >= 'A' && ch <= 'Z' ? ch - 'A' + 26 : -1;
}

static int bad_equation(const struct ref_call *c, const char *why)
{
    const struct om_attr *a = om_node_attr(c->node, "equation");

    return om_fail(c->err, OM_E_FORMAT, "equation \"%.*s\": %s", OM_SV(a->s), why);
}

/* The axes that a term names, of rank axes (UINT32_MAX: as many as it names). */
static int parse_term(const struct ref_call *c, om_sv term, uint32_t rank, uint32_t dots,
                      uint32_t *axes, uint32_t *n)
{
    uint32_t letters = 0, covered;
    bool has_dots = false;

    for (size_t i = 0; i < term.len; i++)
        letters += letter_axis(term.ptr[i]) >= 0;
    covered = rank == UINT32_MAX ? dots : rank - OM_MIN(letters, rank);
    *n = 0;
    for (size_t i = 0; i < term.len; i++) {
        const int axis = letter_axis(term.ptr[i]);

        if (term.ptr[i] == ' ')
            continue;
        if (axis < 0) {
            if (has_dots || term.len - i < 3 || memcmp(term.ptr + i, "...", 3) != 0)
                return bad_equation(c, "a term is not letters and one \"...\"");
            has_dots = true;
            i += 2;
            if (covered > DOTS || *n + covered > OM_RANK_MAX)
                return bad_equation(c, "too many axes");
            for (uint32_t k = 0; k < covered; k++)
                axes[(*n)++] = LETTERS + covered - 1 - k;
            continue;
        }
        if (*n == OM_RANK_MAX)
            return bad_equation(c, "too many axes");
        axes[(*n)++] = (uint32_t)axis;
    }
    if (rank != UINT32_MAX && *n != rank)
        return bad_equation(c, "a term does not have the rank of its operand");
    return 0;
}

static int take_operand(const struct ref_call *c, struct einsum *e, om_sv term, uint32_t i)
{
    const struct ref_tensor *x = om_ref_in(c, i);
    uint32_t axes[OM_RANK_MAX], n = 0;
    int64_t steps[OM_RANK_MAX];

    if (!x || x->dtype != om_ref_in(c, 0)->dtype)
        return om_fail(c->err, OM_E_FORMAT, "operands are missing or differ in dtype");
    OM_TRY(parse_term(c, term, x->rank, 0, axes, &n));
    om_ref_steps(x->dims, x->rank, steps);
    for (uint32_t k = 0; k < n; k++) {
        const uint32_t a = axes[k];

        if (e->used[a] && e->dims[a] != x->dims[k] && e->dims[a] != 1 && x->dims[k] != 1)
            return om_fail(c->err, OM_E_FORMAT, "an axis has %" PRId64 " and %" PRId64 " elements",
                           e->dims[a], x->dims[k]);
        if (!e->used[a] || e->dims[a] == 1)
            e->dims[a] = x->dims[k];
        e->used[a] = true;
        if (x->dims[k] != 1)
            e->steps[i][a] += steps[k]; /* a letter twice: the diagonal */
        if (a >= LETTERS)
            e->dots = OM_MAX(e->dots, a - LETTERS + 1);
    }
    return 0;
}

/* Without "->" the result has "..." and the letters that occur once, in alphabetical order. */
static void implicit_output(struct einsum *e, om_sv left)
{
    for (uint32_t k = e->dots; k-- > 0;)
        e->out_axes[e->n_out++] = LETTERS + k;
    for (uint32_t pass = 0; pass < LETTERS; pass++) {
        const uint32_t a = pass < 26 ? pass + 26 : pass - 26; /* capitals come first */
        unsigned times = 0;

        for (size_t i = 0; i < left.len; i++)
            times += letter_axis(left.ptr[i]) == (int)a;
        if (times == 1 && e->n_out < OM_RANK_MAX)
            e->out_axes[e->n_out++] = a;
    }
}

static int parse(const struct ref_call *c, struct einsum *e)
{
    const struct om_attr *a = om_node_attr(c->node, "equation");
    om_sv left, right = { NULL, 0 }, rest, term;

    if (!a || a->kind != OM_ATTR_STRING)
        return om_fail(c->err, OM_E_FORMAT, "equation is missing");
    left = a->s;
    for (size_t i = 0; i + 1 < a->s.len; i++)
        if (a->s.ptr[i] == '-' && a->s.ptr[i + 1] == '>') {
            left.len = i;
            right = (om_sv){ a->s.ptr + i + 2, a->s.len - i - 2 };
            break;
        }
    rest = left;
    do { /* an empty term is a scalar */
        const char *comma = rest.len > 0 ? memchr(rest.ptr, ',', rest.len) : NULL;

        term = (om_sv){ rest.ptr, comma ? (size_t)(comma - rest.ptr) : rest.len };
        if (e->n == OPERANDS || e->n == c->node->n_in)
            return bad_equation(c, "more terms than operands, or too many");
        OM_TRY(take_operand(c, e, term, e->n++));
        rest = comma ? (om_sv){ comma + 1, rest.len - term.len - 1 } : (om_sv){ NULL, 0 };
    } while (rest.ptr);
    if (e->n != c->node->n_in)
        return bad_equation(c, "fewer terms than operands");
    if (right.ptr)
        OM_TRY(parse_term(c, right, UINT32_MAX, e->dots, e->out_axes, &e->n_out));
    else
        implicit_output(e, left);
    for (uint32_t i = 0; i < e->n_out; i++) {
        if (!e->used[e->out_axes[i]] || e->out[e->out_axes[i]])
            return bad_equation(c, "the result names an axis twice, or one that no operand has");
        e->out[e->out_axes[i]] = true;
    }
    return 0;
}

static void add_product(const struct ref_call *c, const struct einsum *e, const int64_t *at,
                        double *f, uint64_t *sum)
{
    const bool whole = om_ref_in(c, 0)->dtype == OM_I64;
    double product = 1;
    uint64_t exact = 1;

    for (uint32_t i = 0; i < e->n; i++) {
        if (whole)
            exact *= ((const uint64_t *)om_ref_in(c, i)->data)[at[i]];
        else
            product *= om_ref_f64_at(om_ref_in(c, i), at[i]);
    }
    *f += product;
    *sum += exact;
}

/* The walk over all axes, the last fastest; a result is complete when the summed axes are through.
 */
static int walk(struct ref_call *c, const struct einsum *e, int64_t total, int64_t per_result)
{
    int64_t index[2 * AXES_MAX] = { 0 }, at[OPERANDS] = { 0 };
    struct ref_tensor *const out = &c->out[0];
    double f = 0;
    uint64_t sum = 0;

    OM_TRY(om_ref_work(c->pool, total, 1, c->err));
    for (int64_t i = 0; i < total; i++) {
        add_product(c, e, at, &f, &sum);
        if ((i + 1) % per_result == 0) {
            if (out->dtype == OM_I64)
                ((uint64_t *)out->data)[i / per_result] = sum;
            else
                om_ref_row_store(out, i / per_result, 1, &f, 1);
            f = 0;
            sum = 0;
        }
        for (uint32_t k = e->n_order; k-- > 0;) {
            const uint32_t a = e->order[k];

            index[k]++;
            for (uint32_t o = 0; o < e->n; o++)
                at[o] += e->steps[o][a];
            if (index[k] < e->dims[a])
                break;
            index[k] = 0;
            for (uint32_t o = 0; o < e->n; o++)
                at[o] -= e->steps[o][a] * e->dims[a];
        }
    }
    return 0;
}

int om_ref_Einsum(struct ref_call *c)
{
    struct einsum e = { .n = 0 };
    const enum om_dtype dtype = om_ref_in(c, 0)->dtype;
    int64_t dims[OM_RANK_MAX], summed = 1, total;

    if (dtype != OM_F32 && dtype != OM_F64 && dtype != OM_I64)
        return om_ref_bad_dtype(c, dtype);
    OM_TRY(parse(c, &e));
    for (uint32_t i = 0; i < e.n_out; i++) {
        dims[i] = e.dims[e.out_axes[i]];
        e.order[e.n_order++] = e.out_axes[i];
    }
    for (uint32_t a = 0; a < AXES_MAX; a++) {
        if (!e.used[a] || e.out[a])
            continue;
        e.order[e.n_order++] = a;
        if (!om_mul_i64(summed, e.dims[a], &summed))
            return om_fail(c->err, OM_E_LIMIT, "the sum has too many terms");
    }
    OM_TRY(om_ref_new(c->pool, &c->out[0], dtype, dims, e.n_out, c->err));
    memset(c->out[0].data, 0, (size_t)c->out[0].count * om_dtype_size(dtype));
    if (!om_mul_i64(c->out[0].count, summed, &total))
        return om_fail(c->err, OM_E_LIMIT, "the sum has too many terms");
    return total > 0 ? walk(c, &e, total, summed) : 0;
}
