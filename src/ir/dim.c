/* src/ir/dim.c: polynomials in canonical form. Terms are ordered by degree, then by the names of
 * their atoms, so that the form (and the text) depends on what a dim is and not on the order in
 * which symbols appeared. */
#include "ir/dim.h"

#include <stdlib.h>

/* Bounds of one dim. Shapes of real models stay far below; a hostile file gets "no dim" beyond
 * them. */
#define TERMS_MAX 64
#define DEGREE_MAX 16
#define SIZE_MAX_TREE 4096 /* terms and atoms when every division is written out */
#define PARSE_DEPTH_MAX 64
#define TEXT_MAX (1u << 16)

struct dim {
    const struct om_dim_term *terms;
    uint32_t n_terms;
    uint32_t size; /* of the written-out tree: bounds recursion, text and evaluation */
    const char *text;
};

struct om_dims {
    struct om_arena *arena;
    struct om_map dim_by_key, atom_by_key;
    struct dim *dims; /* dims[0] is unused */
    size_t n_dims, cap_dims;
    struct om_dim_atom **atoms;
    size_t n_atoms, cap_atoms;
    uint32_t n_fresh;
    bool no_memory;
};

/* A polynomial being worked on. */
struct mono {
    int64_t coef;
    uint32_t n;
    uint32_t atoms[DEGREE_MAX];
};

struct poly {
    size_t n;
    struct mono t[TERMS_MAX];
};

static int64_t floor_div(int64_t a, int64_t b)
{
    const int64_t q = a / b;

    return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}

static int64_t gcd(int64_t a, int64_t b)
{
    uint64_t x = a < 0 ? -(uint64_t)a : (uint64_t)a;
    uint64_t y = b < 0 ? -(uint64_t)b : (uint64_t)b;

    while (y != 0) {
        const uint64_t r = x % y;
        x = y;
        y = r;
    }
    return x > INT64_MAX ? 1 : (int64_t)x;
}

/* Order of atoms, monomials and dims: by structure, never by handle. */

static int cmp_dim(const struct om_dims *d, om_dim a, om_dim b);

static int cmp_atom(const struct om_dims *d, uint32_t a, uint32_t b)
{
    const struct om_dim_atom *x = d->atoms[a], *y = d->atoms[b];
    int c;

    if (a == b)
        return 0;
    if (x->is_div != y->is_div)
        return x->is_div ? 1 : -1;
    if (!x->is_div)
        return om_sv_cmp(x->symbol, y->symbol);
    c = cmp_dim(d, x->num, y->num);
    return c != 0 ? c : cmp_dim(d, x->den, y->den);
}

/* Graded lexicographic, greatest first: a monomial order, which exact division relies on. */
static int cmp_mono(const struct om_dims *d, const uint32_t *a, uint32_t na, const uint32_t *b,
                    uint32_t nb)
{
    if (na != nb)
        return na > nb ? -1 : 1;
    for (uint32_t i = 0; i < na; i++) {
        const int c = cmp_atom(d, a[i], b[i]);
        if (c != 0)
            return c;
    }
    return 0;
}

static int cmp_dim(const struct om_dims *d, om_dim a, om_dim b)
{
    const struct dim *x = &d->dims[a], *y = &d->dims[b];

    if (a == b)
        return 0;
    for (uint32_t i = 0; i < x->n_terms && i < y->n_terms; i++) {
        const struct om_dim_term *s = &x->terms[i], *t = &y->terms[i];
        const int c = cmp_mono(d, s->atoms, s->n_atoms, t->atoms, t->n_atoms);
        if (c != 0)
            return c;
        if (s->coef != t->coef)
            return s->coef < t->coef ? -1 : 1;
    }
    return x->n_terms < y->n_terms ? -1 : 1;
}

/* Polynomial arithmetic. Every function gives false on overflow of a coefficient or a bound. */

static void poly_load(const struct om_dims *d, om_dim a, struct poly *p)
{
    const struct dim *x = &d->dims[a];

    p->n = x->n_terms;
    for (uint32_t i = 0; i < x->n_terms; i++) {
        p->t[i].coef = x->terms[i].coef;
        p->t[i].n = x->terms[i].n_atoms;
        if (p->t[i].n > 0)
            memcpy(p->t[i].atoms, x->terms[i].atoms, p->t[i].n * sizeof(uint32_t));
    }
}

static void poly_remove(struct poly *p, size_t i)
{
    p->n--;
    memmove(&p->t[i], &p->t[i + 1], (p->n - i) * sizeof(p->t[0]));
}

static bool poly_add(const struct om_dims *d, struct poly *p, const struct mono *m)
{
    size_t i = 0;
    int c = 1;

    if (m->coef == 0)
        return true;
    for (; i < p->n; i++) {
        c = cmp_mono(d, m->atoms, m->n, p->t[i].atoms, p->t[i].n);
        if (c <= 0)
            break;
    }
    if (i < p->n && c == 0) {
        if (!om_add_i64(p->t[i].coef, m->coef, &p->t[i].coef))
            return false;
        if (p->t[i].coef == 0)
            poly_remove(p, i);
        return true;
    }
    if (p->n == TERMS_MAX)
        return false;
    memmove(&p->t[i + 1], &p->t[i], (p->n - i) * sizeof(p->t[0]));
    p->t[i] = *m;
    p->n++;
    return true;
}

static bool mono_mul(const struct om_dims *d, const struct mono *a, const struct mono *b,
                     struct mono *out)
{
    uint32_t i = 0, j = 0;

    if (a->n + b->n > DEGREE_MAX || !om_mul_i64(a->coef, b->coef, &out->coef))
        return false;
    out->n = 0;
    while (i < a->n || j < b->n) {
        const bool left = j == b->n || (i < a->n && cmp_atom(d, a->atoms[i], b->atoms[j]) <= 0);
        out->atoms[out->n++] = left ? a->atoms[i++] : b->atoms[j++];
    }
    return true;
}

/* The atoms of a without those of b; false when b has an atom that a lacks. */
static bool mono_atoms_div(const struct mono *a, const struct mono *b, struct mono *out)
{
    uint32_t j = 0;

    out->n = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        if (j < b->n && a->atoms[i] == b->atoms[j])
            j++;
        else
            out->atoms[out->n++] = a->atoms[i];
    }
    return j == b->n;
}

static bool poly_negate(struct poly *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (!om_mul_i64(p->t[i].coef, -1, &p->t[i].coef))
            return false;
    return true;
}

/* p += factor * b */
static bool poly_add_scaled(const struct om_dims *d, struct poly *p, const struct mono *factor,
                            const struct poly *b)
{
    struct mono m;

    for (size_t i = 0; i < b->n; i++)
        if (!mono_mul(d, factor, &b->t[i], &m) || !poly_add(d, p, &m))
            return false;
    return true;
}

/* Interning. */

static bool add_u32(uint32_t *sum, uint64_t v)
{
    if (v > SIZE_MAX_TREE || *sum + v > SIZE_MAX_TREE)
        return false;
    *sum += (uint32_t)v;
    return true;
}

static bool poly_tree_size(const struct om_dims *d, const struct poly *p, uint32_t *size)
{
    *size = 1;
    for (size_t i = 0; i < p->n; i++) {
        for (uint32_t j = 0; j < p->t[i].n; j++) {
            const struct om_dim_atom *a = d->atoms[p->t[i].atoms[j]];
            const uint64_t s =
                a->is_div ? 1 + (uint64_t)d->dims[a->num].size + d->dims[a->den].size : 1;
            if (!add_u32(size, s))
                return false;
        }
        if (!add_u32(size, 1))
            return false;
    }
    return true;
}

static size_t poly_key(const struct poly *p, int64_t *key)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n; i++) {
        key[n++] = p->t[i].coef;
        key[n++] = p->t[i].n;
        for (uint32_t j = 0; j < p->t[i].n; j++)
            key[n++] = p->t[i].atoms[j];
    }
    return n * sizeof(*key);
}

static struct om_dim_term *poly_terms(struct om_arena *a, const struct poly *p)
{
    struct om_dim_term *terms = om_arena_array(a, p->n, sizeof(*terms));

    for (size_t i = 0; terms && i < p->n; i++) {
        const struct mono *m = &p->t[i];
        terms[i] = (struct om_dim_term){ .coef = m->coef, .n_atoms = m->n };
        if (m->n == 0)
            continue;
        terms[i].atoms = om_arena_copy(a, m->atoms, m->n * sizeof(uint32_t));
        if (!terms[i].atoms)
            return NULL;
    }
    return terms;
}

static om_dim no_memory(struct om_dims *d)
{
    d->no_memory = true;
    return 0;
}

static om_dim intern(struct om_dims *d, const struct poly *p)
{
    int64_t key[TERMS_MAX * (DEGREE_MAX + 2)];
    const size_t bytes = poly_key(p, key);
    struct dim x = { .n_terms = (uint32_t)p->n };
    const char *kept;
    uint32_t found;

    if (om_map_get(&d->dim_by_key, (om_sv){ (const char *)key, bytes }, &found))
        return found;
    if (d->n_dims >= UINT32_MAX || !poly_tree_size(d, p, &x.size))
        return 0;
    x.terms = poly_terms(d->arena, p);
    kept = om_arena_copy(d->arena, key, bytes);
    if (!x.terms || !kept || !om_grow(&d->dims, &d->cap_dims, d->n_dims + 1, sizeof(*d->dims)) ||
        om_map_put(&d->dim_by_key, (om_sv){ kept, bytes }, (uint32_t)d->n_dims) < 0)
        return no_memory(d);
    d->dims[d->n_dims] = x;
    return (om_dim)d->n_dims++;
}

/* Add an atom under a key that it does not have yet. */
static bool atom_new(struct om_dims *d, const struct om_dim_atom *atom, om_sv key, uint32_t *out)
{
    struct om_dim_atom *kept = om_arena_copy(d->arena, atom, sizeof(*atom));

    if (!kept || d->n_atoms >= UINT32_MAX ||
        !om_grow(&d->atoms, &d->cap_atoms, d->n_atoms + 1, sizeof(*d->atoms)) ||
        om_map_put(&d->atom_by_key, key, (uint32_t)d->n_atoms) < 0) {
        no_memory(d);
        return false;
    }
    d->atoms[d->n_atoms] = kept;
    *out = (uint32_t)d->n_atoms++;
    return true;
}

static om_dim of_atom(struct om_dims *d, uint32_t atom)
{
    struct poly p;

    p.n = 1;
    p.t[0].coef = 1;
    p.t[0].n = 1;
    p.t[0].atoms[0] = atom;
    return intern(d, &p);
}

/* Keys of symbols are their names; keys of divisions start with a NUL, which no name does. */
struct div_key {
    char nul[4];
    om_dim num, den;
};

static om_dim of_div(struct om_dims *d, om_dim num, om_dim den)
{
    const struct div_key key = { .num = num, .den = den };
    const struct om_dim_atom atom = { .is_div = true, .num = num, .den = den };
    om_sv k = { (const char *)&key, sizeof(key) };
    uint32_t id;

    if (num == 0 || den == 0)
        return 0;
    if (om_map_get(&d->atom_by_key, k, &id))
        return of_atom(d, id);
    k.ptr = om_arena_copy(d->arena, &key, sizeof(key));
    if (!k.ptr)
        return no_memory(d);
    return atom_new(d, &atom, k, &id) ? of_atom(d, id) : 0;
}

static bool symbol_find(const struct om_dims *d, om_sv name, uint32_t *atom)
{
    return name.len > 0 && name.ptr[0] != '\0' && om_map_get(&d->atom_by_key, name, atom);
}

om_dim om_dim_symbol(struct om_dims *d, om_sv name)
{
    struct om_dim_atom atom = { .is_div = false };
    uint32_t id;

    if (name.len == 0 || name.ptr[0] == '\0')
        return 0;
    if (symbol_find(d, name, &id))
        return of_atom(d, id);
    atom.symbol = (om_sv){ om_arena_str(d->arena, name), name.len };
    if (!atom.symbol.ptr)
        return no_memory(d);
    return atom_new(d, &atom, atom.symbol, &id) ? of_atom(d, id) : 0;
}

om_dim om_dim_const(struct om_dims *d, int64_t v)
{
    struct poly p = { .n = v != 0 };

    p.t[0].coef = v;
    p.t[0].n = 0;
    return intern(d, &p);
}

om_dim om_dim_fresh(struct om_dims *d)
{
    for (;;) {
        const char *name = om_arena_printf(d->arena, "%s%" PRIu32, OM_DIM_UNKNOWN, d->n_fresh++);
        uint32_t atom;
        if (!name || d->n_fresh == 0)
            return no_memory(d);
        if (!symbol_find(d, om_sv_str(name), &atom))
            return om_dim_symbol(d, om_sv_str(name));
    }
}

bool om_dim_is_unknown(const struct om_dims *d, om_dim a)
{
    const struct dim *x = &d->dims[a];

    for (uint32_t i = 0; i < x->n_terms; i++) {
        for (uint32_t j = 0; j < x->terms[i].n_atoms; j++) {
            const struct om_dim_atom *atom = d->atoms[x->terms[i].atoms[j]];
            if (atom->is_div ? om_dim_is_unknown(d, atom->num) || om_dim_is_unknown(d, atom->den)
                             : om_sv_starts(atom->symbol, OM_SVL(OM_DIM_UNKNOWN)))
                return true;
        }
    }
    return false;
}

int om_dims_new(struct om_arena *a, struct om_dims **out, struct om_error *err)
{
    struct om_dims *d = om_arena_alloc(a, sizeof(*d));

    if (!d || !om_grow(&d->dims, &d->cap_dims, 64, sizeof(*d->dims)))
        return om_fail(err, OM_E_NOMEM, "out of memory for symbolic dimensions");
    d->arena = a;
    d->dims[0] = (struct dim){ .terms = NULL };
    d->n_dims = 1;
    *out = d;
    return 0;
}

bool om_dims_no_memory(const struct om_dims *d)
{
    return d->no_memory;
}

void om_dims_free(struct om_dims *d)
{
    if (!d)
        return;
    om_map_release(&d->dim_by_key);
    om_map_release(&d->atom_by_key);
    free(d->dims);
    free(d->atoms);
    d->dims = NULL;
    d->atoms = NULL;
    d->n_dims = d->cap_dims = d->n_atoms = d->cap_atoms = 0;
}

/* Arithmetic on handles. */

static const struct mono one = { .coef = 1, .n = 0 };
static const struct mono minus_one = { .coef = -1, .n = 0 };

static om_dim add_scaled(struct om_dims *d, om_dim a, const struct mono *factor, om_dim b)
{
    struct poly p, q;

    if (a == 0 || b == 0)
        return 0;
    poly_load(d, a, &p);
    poly_load(d, b, &q);
    return poly_add_scaled(d, &p, factor, &q) ? intern(d, &p) : 0;
}

om_dim om_dim_add(struct om_dims *d, om_dim a, om_dim b)
{
    return add_scaled(d, a, &one, b);
}

om_dim om_dim_sub(struct om_dims *d, om_dim a, om_dim b)
{
    return add_scaled(d, a, &minus_one, b);
}

om_dim om_dim_mul(struct om_dims *d, om_dim a, om_dim b)
{
    struct poly p, q, r = { .n = 0 };

    if (a == 0 || b == 0)
        return 0;
    poly_load(d, a, &p);
    poly_load(d, b, &q);
    for (size_t i = 0; i < p.n; i++)
        if (!poly_add_scaled(d, &r, &p.t[i], &q))
            return 0;
    return intern(d, &r);
}

/* How often the leading monomial of a (positive) divisor goes into a term: constants round down, so
 * that what remains is in [0, divisor); coefficients of symbols truncate, which keeps their sign
 * and the text readable. */
static int64_t quotient_coef(const struct mono *m, const struct mono *lead)
{
    return m->n == 0 ? floor_div(m->coef, lead->coef) : m->coef / lead->coef;
}

/* a = q * b + r with the terms of r not divisible by b's leading term. */
static bool poly_divmod(const struct om_dims *d, struct poly *a, const struct poly *b,
                        struct poly *q, struct poly *r)
{
    q->n = r->n = 0;
    while (a->n > 0) {
        struct mono factor = { .coef = 0 };
        struct mono lead = a->t[0];

        if (mono_atoms_div(&lead, &b->t[0], &factor))
            factor.coef = quotient_coef(&lead, &b->t[0]);
        if (factor.coef == 0) {
            poly_remove(a, 0);
            if (!poly_add(d, r, &lead))
                return false;
            continue;
        }
        if (!poly_add(d, q, &factor) || !om_mul_i64(factor.coef, -1, &factor.coef) ||
            !poly_add_scaled(d, a, &factor, b))
            return false;
    }
    return true;
}

static bool mono_has(const struct mono *m, uint32_t atom)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (m->atoms[i] == atom)
            return true;
    return false;
}

static bool poly_all_have(const struct poly *p, uint32_t atom)
{
    for (size_t i = 0; i < p->n; i++)
        if (!mono_has(&p->t[i], atom))
            return false;
    return true;
}

static void poly_cancel_atom(struct poly *p, uint32_t atom)
{
    const struct mono m = { .coef = 1, .n = 1, .atoms = { atom } };

    for (size_t i = 0; i < p->n; i++) {
        struct mono rest;
        if (mono_atoms_div(&p->t[i], &m, &rest)) {
            rest.coef = p->t[i].coef;
            p->t[i] = rest;
        }
    }
}

/* Cancel what both polynomials have in common: integers, and atoms (which are positive). The order
 * of the terms is not affected, as every term loses the same factor. */
static void poly_reduce(struct poly *a, struct poly *b)
{
    int64_t g = 0;
    uint32_t i = 0;

    for (size_t k = 0; k < a->n; k++)
        g = gcd(g, a->t[k].coef);
    for (size_t k = 0; k < b->n; k++)
        g = gcd(g, b->t[k].coef);
    for (size_t k = 0; g > 1 && k < a->n; k++)
        a->t[k].coef /= g;
    for (size_t k = 0; g > 1 && k < b->n; k++)
        b->t[k].coef /= g;
    while (b->n > 0 && i < b->t[0].n) {
        const uint32_t atom = b->t[0].atoms[i];
        if (!poly_all_have(a, atom) || !poly_all_have(b, atom)) {
            i++;
            continue;
        }
        poly_cancel_atom(a, atom);
        poly_cancel_atom(b, atom);
    }
}

static bool poly_const(const struct poly *p, int64_t *v)
{
    if (p->n > 1 || (p->n == 1 && p->t[0].n > 0))
        return false;
    *v = p->n == 1 ? p->t[0].coef : 0;
    return true;
}

om_dim om_dim_div(struct om_dims *d, om_dim a, om_dim b)
{
    struct poly num, p, den, q, r;
    int64_t x, y;
    om_dim rest;

    if (a == 0 || b == 0)
        return 0;
    poly_load(d, a, &num);
    poly_load(d, b, &den);
    if (den.n == 0)
        return 0;
    if (den.t[0].coef < 0 && (!poly_negate(&num) || !poly_negate(&den)))
        return 0;
    p = num;
    if (!poly_divmod(d, &p, &den, &q, &r))
        return 0;
    if (r.n == 0)
        return intern(d, &q);
    if (den.n > 1) { /* not exact: leave the quotient of two sums as it was written */
        q.n = 0;
        r = num;
    }
    poly_reduce(&r, &den);
    if (poly_const(&r, &x) && poly_const(&den, &y))
        rest = om_dim_const(d, floor_div(x, y));
    else
        rest = of_div(d, intern(d, &r), intern(d, &den));
    return om_dim_add(d, intern(d, &q), rest);
}

bool om_dim_is_const(const struct om_dims *d, om_dim a, int64_t *v)
{
    const struct dim *x = &d->dims[a];

    if (a == 0 || x->n_terms > 1 || (x->n_terms == 1 && x->terms[0].n_atoms > 0))
        return false;
    if (v)
        *v = x->n_terms ? x->terms[0].coef : 0;
    return true;
}

bool om_dim_is_symbol(const struct om_dims *d, om_dim a, om_sv *name)
{
    const struct dim *x = &d->dims[a];
    const struct om_dim_atom *atom;

    if (a == 0 || x->n_terms != 1 || x->terms[0].n_atoms != 1 || x->terms[0].coef != 1)
        return false;
    atom = d->atoms[x->terms[0].atoms[0]];
    if (atom->is_div)
        return false;
    if (name)
        *name = atom->symbol;
    return true;
}

om_dim om_dim_broadcast(struct om_dims *d, om_dim a, om_dim b)
{
    int64_t v;

    if (a == 0 || b == 0)
        return 0;
    if (a == b || (om_dim_is_const(d, b, &v) && v == 1))
        return a;
    return om_dim_is_const(d, a, &v) && v == 1 ? b : 0;
}

size_t om_dim_terms(const struct om_dims *d, om_dim a, const struct om_dim_term **terms)
{
    *terms = d->dims[a].terms;
    return d->dims[a].n_terms;
}

const struct om_dim_atom *om_dim_atom_at(const struct om_dims *d, uint32_t atom)
{
    return d->atoms[atom];
}

/* Text. */

static void write_dim(const struct om_dims *d, om_dim a, struct om_buf *out);

static void write_parens(const struct om_dims *d, om_dim a, bool parens, struct om_buf *out)
{
    if (parens)
        om_buf_addc(out, '(');
    write_dim(d, a, out);
    if (parens)
        om_buf_addc(out, ')');
}

static void write_atom(const struct om_dims *d, uint32_t id, struct om_buf *out)
{
    const struct om_dim_atom *a = d->atoms[id];
    const struct dim *den = &d->dims[a->den];
    int64_t v;

    if (!a->is_div) {
        om_buf_add(out, a->symbol.ptr, a->symbol.len);
        return;
    }
    om_buf_adds(out, "floor(");
    write_parens(d, a->num, d->dims[a->num].n_terms > 1, out);
    om_buf_addc(out, '/');
    write_parens(d, a->den,
                 !om_dim_is_const(d, a->den, &v) &&
                     (den->n_terms > 1 || den->terms[0].coef != 1 || den->terms[0].n_atoms > 1),
                 out);
    om_buf_addc(out, ')');
}

static void write_term(const struct om_dims *d, const struct om_dim_term *t, bool first,
                       struct om_buf *out)
{
    const uint64_t mag = t->coef < 0 ? -(uint64_t)t->coef : (uint64_t)t->coef;

    if (first)
        om_buf_adds(out, t->coef < 0 ? "-" : "");
    else
        om_buf_adds(out, t->coef < 0 ? " - " : " + ");
    if (mag != 1 || t->n_atoms == 0)
        om_buf_printf(out, "%" PRIu64 "%s", mag, t->n_atoms ? "*" : "");
    for (uint32_t i = 0; i < t->n_atoms; i++) {
        if (i > 0)
            om_buf_addc(out, '*');
        write_atom(d, t->atoms[i], out);
    }
}

static void write_dim(const struct om_dims *d, om_dim a, struct om_buf *out)
{
    const struct dim *x = &d->dims[a];

    if (x->n_terms == 0)
        om_buf_addc(out, '0');
    for (uint32_t i = 0; i < x->n_terms; i++)
        write_term(d, &x->terms[i], i == 0, out);
}

void om_dim_write(const struct om_dims *d, om_dim a, struct om_buf *out)
{
    if (a == 0)
        om_buf_addc(out, '?');
    else
        write_dim(d, a, out);
}

const char *om_dim_text(struct om_dims *d, om_dim a)
{
    struct om_buf b = OM_BUF_INIT(TEXT_MAX);

    if (a == 0)
        return "?";
    if (d->dims[a].text)
        return d->dims[a].text;
    write_dim(d, a, &b);
    if (!b.failed)
        d->dims[a].text = om_arena_str(d->arena, om_buf_sv(&b));
    om_buf_release(&b);
    return d->dims[a].text ? d->dims[a].text : "?";
}

/* Parsing. The value of a subexpression is a fraction, because floor(h/16 - 1) divides inside a
 * sum; outside of floor() the denominator has to be 1. */
struct frac {
    om_dim num, den;
};

struct parser {
    struct om_dims *d;
    om_sv rest;
    om_dim unit; /* the constant 1 */
    unsigned depth;
};

static const struct frac bad = { 0, 0 };

static struct frac parse_sum(struct parser *p);

static void skip_space(struct parser *p)
{
    while (p->rest.len > 0 && (p->rest.ptr[0] == ' ' || p->rest.ptr[0] == '\t')) {
        p->rest.ptr++;
        p->rest.len--;
    }
}

static bool accept(struct parser *p, const char *token)
{
    const om_sv t = om_sv_str(token);

    skip_space(p);
    if (!om_sv_starts(p->rest, t))
        return false;
    p->rest.ptr += t.len;
    p->rest.len -= t.len;
    return true;
}

static struct frac whole(const struct parser *p, om_dim num)
{
    return (struct frac){ num, p->unit };
}

static struct frac frac_mul(struct parser *p, struct frac a, struct frac b)
{
    return (struct frac){ om_dim_mul(p->d, a.num, b.num), om_dim_mul(p->d, a.den, b.den) };
}

static struct frac frac_div(struct parser *p, struct frac a, struct frac b, bool floored)
{
    const struct frac q = { om_dim_mul(p->d, a.num, b.den), om_dim_mul(p->d, a.den, b.num) };

    return floored ? whole(p, om_dim_div(p->d, q.num, q.den)) : q;
}

static struct frac frac_add(struct parser *p, struct frac a, struct frac b, bool minus)
{
    const om_dim x = om_dim_mul(p->d, a.num, b.den), y = om_dim_mul(p->d, b.num, a.den);

    return (struct frac){ minus ? om_dim_sub(p->d, x, y) : om_dim_add(p->d, x, y),
                          om_dim_mul(p->d, a.den, b.den) };
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '.';
}

static struct frac parse_word(struct parser *p)
{
    om_sv w = { p->rest.ptr, 0 };
    struct frac f;
    int64_t v;

    while (w.len < p->rest.len && is_word(p->rest.ptr[w.len]))
        w.len++;
    if (w.len == 0)
        return bad;
    p->rest.ptr += w.len;
    p->rest.len -= w.len;
    if (is_digit(w.ptr[0]) || w.ptr[0] == '.')
        return om_sv_i64(w, &v) ? whole(p, om_dim_const(p->d, v)) : bad;
    if (!om_sv_is(w, "floor") || !accept(p, "("))
        return whole(p, om_dim_symbol(p->d, w));
    f = parse_sum(p);
    return accept(p, ")") ? whole(p, om_dim_div(p->d, f.num, f.den)) : bad;
}

static struct frac parse_factor(struct parser *p)
{
    struct frac f = bad;

    if (++p->depth <= PARSE_DEPTH_MAX) {
        if (accept(p, "-")) {
            f = frac_add(p, whole(p, om_dim_const(p->d, 0)), parse_factor(p), true);
        } else if (accept(p, "(")) {
            f = parse_sum(p);
            if (!accept(p, ")"))
                f = bad;
        } else {
            f = parse_word(p);
        }
    }
    p->depth--;
    return f;
}

static struct frac parse_product(struct parser *p)
{
    struct frac f = parse_factor(p);

    while (f.num != 0) {
        if (accept(p, "*"))
            f = frac_mul(p, f, parse_factor(p));
        else if (accept(p, "//"))
            f = frac_div(p, f, parse_factor(p), true);
        else if (accept(p, "/"))
            f = frac_div(p, f, parse_factor(p), false);
        else
            break;
    }
    return f;
}

static struct frac parse_sum(struct parser *p)
{
    struct frac f = parse_product(p);

    while (f.num != 0) {
        if (accept(p, "+"))
            f = frac_add(p, f, parse_product(p), false);
        else if (accept(p, "-"))
            f = frac_add(p, f, parse_product(p), true);
        else
            break;
    }
    return f;
}

om_dim om_dim_parse(struct om_dims *d, om_sv text)
{
    struct parser p = { .d = d, .rest = text, .unit = om_dim_const(d, 1) };
    const struct frac f = parse_sum(&p);

    skip_space(&p);
    return p.rest.len == 0 && f.den == p.unit ? f.num : 0;
}

/* Values. */

int om_dim_env_init(struct om_dim_env *env, struct om_arena *a, const struct om_dims *d)
{
    *env = (struct om_dim_env){ .dims = d, .len = d->n_atoms };
    env->values = om_arena_array(a, d->n_atoms + 1, sizeof(*env->values));
    env->bound = om_arena_array(a, d->n_atoms + 1, sizeof(*env->bound));
    return env->values && env->bound ? 0 : OM_E_NOMEM;
}

void om_dim_bind(struct om_dim_env *env, om_sv symbol, int64_t value)
{
    uint32_t atom;

    if (symbol_find(env->dims, symbol, &atom) && atom < env->len) {
        env->values[atom] = value;
        env->bound[atom] = true;
    }
}

bool om_dim_bound(const struct om_dim_env *env, om_sv symbol, int64_t *value)
{
    uint32_t atom;

    if (!symbol_find(env->dims, symbol, &atom) || atom >= env->len || !env->bound[atom])
        return false;
    if (value)
        *value = env->values[atom];
    return true;
}

static bool eval_atom(const struct om_dim_env *env, uint32_t id, int64_t *out)
{
    const struct om_dim_atom *a = env->dims->atoms[id];
    int64_t num, den;

    if (!a->is_div) {
        if (id >= env->len || !env->bound[id])
            return false;
        *out = env->values[id];
        return true;
    }
    if (!om_dim_eval(env, a->num, &num) || !om_dim_eval(env, a->den, &den) || den == 0 ||
        (num == INT64_MIN && den == -1))
        return false;
    *out = floor_div(num, den);
    return true;
}

bool om_dim_eval(const struct om_dim_env *env, om_dim a, int64_t *out)
{
    const struct dim *x = &env->dims->dims[a];
    int64_t sum = 0;

    if (a == 0)
        return false;
    for (uint32_t i = 0; i < x->n_terms; i++) {
        int64_t product = x->terms[i].coef, v;
        for (uint32_t j = 0; j < x->terms[i].n_atoms; j++)
            if (!eval_atom(env, x->terms[i].atoms[j], &v) || !om_mul_i64(product, v, &product))
                return false;
        if (!om_add_i64(sum, product, &sum))
            return false;
    }
    *out = sum;
    return true;
}
