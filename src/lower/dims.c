/* src/lower/dims.c: run-time extents as tensors.
 *
 * Extents are read from the shapes of inputs: neighbours at once (one Shape for batch and
 * sequence), sums and products of them by arithmetic on tensors of one element, so that Concat
 * needs no Unsqueeze. All of it is emitted into the outermost block, where every branch sees it. */
#include "lower/internal.h"

enum { MAX_DEPTH = 32 }; /* of nested divisions: a stack of convolutions has one per layer */

static bool source_visible(const struct lower *l, const struct lo_source *s)
{
    uint32_t block = l->h->block;

    while (block != s->block && block != 0)
        block = l->h->blocks[block].parent;
    return block == s->block;
}

static void add_source(struct lower *l, om_val v, uint32_t block)
{
    if (!om_grow(&l->sources, &l->cap_sources, l->n_sources + 1, sizeof(*l->sources))) {
        om_graph_fail(l->h, OM_E_NOMEM, "out of memory for shapes");
        return;
    }
    l->sources[l->n_sources++] = (struct lo_source){ .val = v, .block = block };
}

int lo_dims_init(struct lower *l, struct om_error *err)
{
    const bool buffers = l->target == OM_LOWER_GROUPED;

    for (size_t i = 0; i < l->h->n_inputs; i++)
        if (!buffers || !om_sv_starts(l->h->inputs[i].name, OM_SVL("past_key_values")))
            add_source(l, l->h->inputs[i].val, 0);
    return om_graph_check(l->h, err);
}

/* ---- finding ---- */

/* The source with the longest run of dims, from dims[0] on. Gives its length, 0 when there is none.
 */
static uint32_t find_run(const struct lower *l, const om_dim *dims, uint32_t n, om_val *source,
                         uint32_t *axis)
{
    uint32_t best = 0;

    for (size_t i = 0; i < l->n_sources; i++) {
        const struct om_value *v = lo_new(l, l->sources[i].val);
        if (!source_visible(l, &l->sources[i]))
            continue;
        for (uint32_t a = 0; a < v->rank; a++) {
            uint32_t len = 0;
            while (len < n && a + len < v->rank && v->dims[a + len] == dims[len])
                len++;
            while (len > 0 && lo_const_dim(l, dims[len - 1], NULL))
                len--; /* a constant at the end costs nothing elsewhere */
            if (len > best) {
                best = len;
                *source = l->sources[i].val;
                *axis = a;
            }
        }
    }
    return best;
}

static bool find_axis(const struct lower *l, om_dim d)
{
    om_val source;
    uint32_t axis;

    return find_run(l, &d, 1, &source, &axis) > 0;
}

static bool mentions(const struct lower *l, om_dim d, om_dim symbol, int depth);

static om_dim atom_dim(const struct lower *l, uint32_t id)
{
    const struct om_dim_atom *a = om_dim_atom_at(l->d, id);

    return a->is_div ? om_dim_div(l->d, a->num, a->den) : om_dim_symbol(l->d, a->symbol);
}

static bool atom_mentions(const struct lower *l, uint32_t id, om_dim symbol, int depth)
{
    const struct om_dim_atom *a = om_dim_atom_at(l->d, id);

    if (a->is_div)
        return mentions(l, a->num, symbol, depth - 1) || mentions(l, a->den, symbol, depth - 1);
    return om_dim_symbol(l->d, a->symbol) == symbol;
}

static bool mentions(const struct lower *l, om_dim d, om_dim symbol, int depth)
{
    const struct om_dim_term *t;
    const size_t n = om_dim_terms(l->d, d, &t);

    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < t[i].n_atoms; k++)
            if (depth <= 0 || atom_mentions(l, t[i].atoms[k], symbol, depth))
                return true;
    return false;
}

/* Which symbols are known: those that are an axis of a source, or also those that can be solved
 * for. */
enum knowledge { READ, SOLVED };

static bool known(const struct lower *l, om_dim d, enum knowledge how, int depth);

/* An axis symbol + rest of a source, where rest can be read: *axis and *rest. */
static bool solve(const struct lower *l, om_dim symbol, om_dim *axis, om_dim *rest)
{
    for (size_t i = 0; i < l->n_sources; i++) {
        const struct om_value *v = lo_new(l, l->sources[i].val);
        if (!source_visible(l, &l->sources[i]))
            continue;
        for (uint32_t a = 0; a < v->rank; a++) {
            *axis = v->dims[a];
            *rest = om_dim_sub(l->d, v->dims[a], symbol);
            if (*rest != 0 && mentions(l, *axis, symbol, MAX_DEPTH) &&
                !mentions(l, *rest, symbol, MAX_DEPTH) && known(l, *rest, READ, MAX_DEPTH))
                return true;
        }
    }
    return false;
}

static bool atom_known(const struct lower *l, uint32_t id, enum knowledge how, int depth)
{
    const struct om_dim_atom *a = om_dim_atom_at(l->d, id);
    om_dim axis, rest;

    if (find_axis(l, atom_dim(l, id)))
        return true;
    if (a->is_div)
        return known(l, a->num, how, depth - 1) && known(l, a->den, how, depth - 1);
    return how == SOLVED && solve(l, om_dim_symbol(l->d, a->symbol), &axis, &rest);
}

/* Whether d can be computed from what the sources tell. */
static bool known(const struct lower *l, om_dim d, enum knowledge how, int depth)
{
    const struct om_dim_term *t;
    const size_t n = om_dim_terms(l->d, d, &t);

    if (lo_const_dim(l, d, NULL) || find_axis(l, d))
        return true;
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < t[i].n_atoms; k++)
            if (depth <= 0 || !atom_known(l, t[i].atoms[k], how, depth))
                return false;
    return true;
}

void lo_dims_note(struct lower *l, const struct om_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++) {
        const om_val made = l->rw.map[n->out[i].id];
        const struct om_value *v = lo_new(l, made);
        bool news = false;

        for (uint32_t a = 0; made.id != 0 && a < v->rank; a++)
            news |= !known(l, v->dims[a], SOLVED, MAX_DEPTH);
        if (news)
            add_source(l, made, om_rewrite_block(l->h, made));
    }
}

/* ---- reading and computing ---- */

static om_val read_axes(struct lower *l, om_val source, uint32_t begin, uint32_t end)
{
    const uint32_t rank = lo_new(l, source)->rank;
    struct om_attr attrs[2];
    uint32_t n = 0;
    om_val shape;

    if (l->opset >= 15) {
        if (begin > 0)
            attrs[n++] = (struct om_attr)LO_INT("start", begin);
        if (end < rank)
            attrs[n++] = (struct om_attr)LO_INT("end", end);
        return lo_emit(l, OM_OP_Shape, &source, 1, attrs, n);
    }
    shape = LO(l, Shape, source);
    if (begin == 0 && end == rank)
        return shape;
    return LO(l, Slice, shape, lo_i64(l, begin), lo_i64(l, end));
}

static om_val compute(struct lower *l, om_dim d, int depth);

/* Floor division. Div truncates, so an operand that may be negative is made a multiple first; Mod
 * takes the sign of the divisor. */
static om_val compute_div(struct lower *l, om_dim num, om_dim den, int depth)
{
    const om_val a = compute(l, num, depth), b = compute(l, den, depth);
    const struct om_dim_term *t;
    const size_t n = om_dim_terms(l->d, num, &t);
    bool negative = false;

    for (size_t i = 0; i < n; i++)
        negative |= t[i].coef < 0;
    if (!negative)
        return LO(l, Div, a, b);
    return LO(l, Div, LO(l, Sub, a, LO(l, Mod, a, b)), b);
}

static om_val compute_atom(struct lower *l, uint32_t id, int depth)
{
    const struct om_dim_atom *a = om_dim_atom_at(l->d, id);
    const om_dim d = atom_dim(l, id);
    om_dim axis, rest;

    if (find_axis(l, d) || depth <= 0)
        return compute(l, d, depth - 1);
    if (a->is_div)
        return compute_div(l, a->num, a->den, depth - 1);
    if (solve(l, d, &axis, &rest))
        return LO(l, Sub, compute(l, axis, depth - 1), compute(l, rest, depth - 1));
    return om_graph_fail(l->h, OM_E_UNSUPPORTED, "no input tells the extent \"%.*s\"",
                         OM_SV(a->symbol));
}

/* |coef| times the product of the atoms. */
static om_val compute_term(struct lower *l, const struct om_dim_term *t, int depth)
{
    const int64_t coef = t->coef < 0 ? -t->coef : t->coef;
    om_val v = { 0 };

    for (uint32_t k = 0; k < t->n_atoms; k++) {
        const om_val atom = compute_atom(l, t->atoms[k], depth);
        v = k == 0 ? atom : LO(l, Mul, v, atom);
    }
    if (t->n_atoms == 0)
        return lo_i64(l, coef);
    return coef == 1 ? v : LO(l, Mul, v, lo_i64(l, coef));
}

/* d as a tensor [1]: positive terms are added up first. */
static om_val compute(struct lower *l, om_dim d, int depth)
{
    const struct om_dim_term *t;
    const size_t n = om_dim_terms(l->d, d, &t);
    om_val sum = { 0 }, source;
    uint32_t axis;
    int64_t v;

    if (lo_const_dim(l, d, &v))
        return lo_i64(l, v);
    if (find_run(l, &d, 1, &source, &axis) > 0)
        return read_axes(l, source, axis, axis + 1);
    if (depth <= 0)
        return om_graph_fail(l->h, OM_E_LIMIT, "the extent \"%s\" is nested too deeply",
                             om_dim_text(l->d, d));
    for (size_t i = 0; i < n; i++)
        if (t[i].coef > 0)
            sum = sum.id ? LO(l, Add, sum, compute_term(l, &t[i], depth))
                         : compute_term(l, &t[i], depth);
    for (size_t i = 0; i < n; i++)
        if (t[i].coef < 0)
            sum = LO(l, Sub, sum.id ? sum : lo_i64(l, 0), compute_term(l, &t[i], depth));
    return sum;
}

/* ---- shapes ---- */

/* One input of the Concat: a run of constants, of axes of one source, or one extent that has to be
 * computed. */
struct piece {
    uint32_t begin, len;
    om_val source; /* {0}: constants, or computed */
    uint32_t axis;
    bool constant;
};

/* minus: the place where -1 stands, or n. */
static struct piece next_piece(const struct lower *l, const om_dim *dims, uint32_t n,
                               uint32_t begin, uint32_t minus)
{
    struct piece p = { .begin = begin, .len = 0 };
    const uint32_t end = minus > begin ? minus : n;

    while (begin + p.len < n &&
           (begin + p.len == minus || lo_const_dim(l, dims[begin + p.len], NULL)))
        p.len++;
    p.constant = p.len > 0;
    if (!p.constant)
        p.len = find_run(l, dims + begin, end - begin, &p.source, &p.axis);
    p.len = OM_MAX(p.len, 1);
    return p;
}

/* Nodes that the shape costs, roughly. */
static uint32_t cost(const struct lower *l, const om_dim *dims, uint32_t n, uint32_t minus)
{
    uint32_t sum = 0, pieces = 0;

    for (uint32_t i = 0; i < n; pieces++) {
        const struct piece p = next_piece(l, dims, n, i, minus);
        sum += p.constant ? 0 : p.source.id ? 1 : 3;
        i += p.len;
    }
    return sum + (pieces > 1);
}

static om_val make_constant(struct lower *l, const om_dim *dims, struct piece p)
{
    int64_t v[OM_RANK_MAX];

    for (uint32_t i = 0; i < p.len; i++)
        if (!lo_const_dim(l, dims[p.begin + i], &v[i]))
            v[i] = -1;
    return lo_i64s(l, v, p.len);
}

static om_val make_piece(struct lower *l, const om_dim *dims, struct piece p)
{
    if (p.constant)
        return make_constant(l, dims, p);
    if (p.source.id != 0)
        return read_axes(l, p.source, p.axis, p.axis + p.len);
    return compute(l, dims[p.begin], MAX_DEPTH);
}

static om_val make(struct lower *l, const om_dim *dims, uint32_t n, uint32_t minus)
{
    om_val parts[OM_RANK_MAX];
    uint32_t n_parts = 0;

    if (n > OM_RANK_MAX)
        return om_graph_fail(l->h, OM_E_UNSUPPORTED, "a shape of rank %" PRIu32, n);
    if (n == 0)
        return lo_i64s(l, NULL, 0);
    for (uint32_t i = 0; i < n;) {
        const struct piece p = next_piece(l, dims, n, i, minus);
        parts[n_parts++] = make_piece(l, dims, p);
        i += p.len;
    }
    if (n_parts == 1)
        return parts[0];
    return lo_emit(l, OM_OP_Concat, parts, n_parts, (const struct om_attr[]){ LO_INT("axis", 0) },
                   1);
}

/* Shapes belong to nobody: they stand in the outermost block under the graph's own name, unless a
 * branch computes what they depend on. */
static om_val make_outside(struct lower *l, const om_dim *dims, uint32_t n, uint32_t minus)
{
    const uint32_t block = l->h->block;
    const om_sv scope = l->scope;
    bool outside = true;
    om_val v;

    l->h->block = 0;
    for (uint32_t i = 0; i < n; i++)
        outside = outside && (i == minus || known(l, dims[i], SOLVED, MAX_DEPTH));
    if (!outside)
        l->h->block = block;
    else
        l->scope = OM_SVL("");
    v = make(l, dims, n, minus);
    l->h->block = block;
    l->scope = scope;
    return v;
}

om_val lo_dims(struct lower *l, const om_dim *dims, uint32_t n)
{
    return make_outside(l, dims, n, n);
}

/* Only the length of what came before, and extents nobody knows, can be 0. */
static bool may_be_zero(om_sv symbol)
{
    static const char past[] = "past";

    for (size_t i = 0; i + sizeof(past) - 1 <= symbol.len; i++)
        if (memcmp(symbol.ptr + i, past, sizeof(past) - 1) == 0)
            return true;
    return om_sv_starts(symbol, OM_SVL(OM_DIM_UNKNOWN));
}

static bool term_not_zero(const struct lower *l, const struct om_dim_term *t)
{
    for (uint32_t k = 0; k < t->n_atoms; k++) {
        const struct om_dim_atom *a = om_dim_atom_at(l->d, t->atoms[k]);
        if (a->is_div || may_be_zero(a->symbol))
            return false;
    }
    return true;
}

/* Certainly above 0: a sum of what is not negative, with a part that is not 0. */
static bool not_empty(const struct lower *l, om_dim d)
{
    const struct om_dim_term *t;
    const size_t n = om_dim_terms(l->d, d, &t);
    bool above = false;

    for (size_t i = 0; i < n; i++) {
        if (t[i].coef < 0)
            return false;
        above |= term_not_zero(l, &t[i]);
    }
    return above;
}

/* -1 is ambiguous where another axis is empty, and 0 would then mean something else. */
static bool may_stand_for(const struct lower *l, const om_dim *dims, uint32_t n, uint32_t minus)
{
    if (lo_const_dim(l, dims[minus], NULL))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (i != minus && !not_empty(l, dims[i]))
            return false;
    return true;
}

om_val lo_dims_reshape(struct lower *l, const struct om_value *x, const om_dim *dims, uint32_t n,
                       bool *allow_zero)
{
    uint32_t minus = n, best = cost(l, dims, n, n);

    for (uint32_t i = 0; i < n; i++) {
        if (!may_stand_for(l, dims, n, i) || cost(l, dims, n, i) >= best)
            continue;
        minus = i;
        best = cost(l, dims, n, i);
    }
    *allow_zero = false;
    for (uint32_t i = 0; i < n; i++)
        *allow_zero |=
            i != minus && !not_empty(l, dims[i]) && !(i < x->rank && x->dims[i] == dims[i]);
    return make_outside(l, dims, n, minus);
}
