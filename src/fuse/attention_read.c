/* src/fuse/attention_read.c: attention in plain operators, found from its last one backwards. */
#include <math.h>

#include "fuse/attention.h"

static const int64_t swap_heads[4] = { 0, 2, 1, 3 }, swap_last[4] = { 0, 1, 3, 2 },
                     heads_last[4] = { 0, 2, 3, 1 };

bool fz_has_perm(const struct om_doc_node *n, const int64_t perm[4])
{
    int64_t found[4];
    size_t len = 0;

    return n && om_doc_attr_ints(n, "perm", found, 4, &len, NULL) == 0 && len == 4 &&
           memcmp(found, perm, sizeof(found)) == 0;
}

static bool is_once(const struct fuse *f, om_sv name)
{
    return fz_uses(f, name) == 1;
}

static const struct om_value *shape4(const struct fuse *f, om_sv name)
{
    const struct om_value *const v = fz_shape(f, name);

    return v && v->rank == 4 ? v : NULL;
}

static bool is_const_dim(const struct fuse *f, om_dim d, int64_t *v)
{
    return om_dim_is_const(f->shapes->dims, d, v) && *v > 0;
}

static bool is_one(const struct fuse *f, om_dim d)
{
    int64_t v;

    return is_const_dim(f, d, &v) && v == 1;
}

/* ---- scales ---- */

/* name without the numbers that it is multiplied by or divided by. */
static om_sv peel(const struct fuse *f, om_sv name, double *scale)
{
    for (;;) {
        const struct om_doc_node *n = fz_made_by(f, name, "Mul");
        double v, tolerance;

        if (n && n->n_in == 2 && fz_scalar(f, n->in[1], &v, &tolerance)) {
            name = n->in[0];
        } else if (n && n->n_in == 2 && fz_scalar(f, n->in[0], &v, &tolerance)) {
            name = n->in[1];
        } else {
            n = fz_made_by(f, name, "Div");
            if (!n || n->n_in != 2 || !fz_scalar(f, n->in[1], &v, &tolerance))
                return name;
            name = n->in[0];
            v = 1 / v;
        }
        *scale *= v;
    }
}

/* ---- heads ---- */

/* Reshape: [batch, length, heads * size] to [batch, length, heads, size] */
static bool splits_last(const struct fuse *f, const struct om_doc_node *n)
{
    const struct om_value *const x = n ? fz_shape(f, n->in[0]) : NULL;
    const struct om_value *const y = n ? shape4(f, n->out[0]) : NULL;
    int64_t width, heads, size;

    return x && y && x->rank == 3 && x->dims[0] == y->dims[0] && x->dims[1] == y->dims[1] &&
           is_const_dim(f, x->dims[2], &width) && is_const_dim(f, y->dims[2], &heads) &&
           is_const_dim(f, y->dims[3], &size) && width % heads == 0 && width / heads == size;
}

static bool is_rotary(const struct om_doc_node *n)
{
    return n && fz_is(n, "com.microsoft", "RotaryEmbedding") && n->n_in == 4 && n->n_out == 1;
}

/* h->split from h->flat, if that is how it was made. scale: of queries, whose numbers may stand
 * anywhere. */
static void find_flat(const struct fuse *f, struct fz_heads *h, double *scale)
{
    om_sv name = scale ? peel(f, h->split, scale) : h->split;
    struct om_doc_node *const turn = fz_maker(f, name);
    double factor = 1;

    if (is_rotary(turn) && shape4(f, turn->in[0]) && is_once(f, name)) {
        h->rotary = turn;
        name = scale ? peel(f, turn->in[0], &factor) : turn->in[0];
    }
    h->made = fz_made_by(f, name, "Transpose");
    if (!fz_has_perm(h->made, swap_heads))
        return;
    name = scale ? peel(f, h->made->in[0], &factor) : h->made->in[0];
    if (!splits_last(f, fz_made_by(f, name, "Reshape")))
        return;
    h->flat = fz_made_by(f, name, "Reshape")->in[0];
    if (scale) {
        h->flat = peel(f, h->flat, &factor);
        *scale *= factor;
    }
}

static bool read_queries(const struct fuse *f, om_sv name, struct fz_attention *a)
{
    a->q.split = name;
    find_flat(f, &a->q, &a->scale);
    return a->q.flat.len > 0;
}

/* Keys or values: what is new, appended to the past. */
static void find_past(const struct fuse *f, struct fz_heads *h)
{
    const struct om_doc_node *const n = fz_made_by(f, h->split, "Concat");
    struct fz_heads fresh = { .split = { "", 0 } };
    int64_t axis;

    if (!n || n->n_in != 2 || !fz_int(n, "axis", 0, &axis) || (axis != 2 && axis != -2) ||
        !shape4(f, n->in[0])) {
        find_flat(f, h, NULL);
        return;
    }
    fresh.split = n->in[1];
    find_flat(f, &fresh, NULL);
    if (fresh.flat.len == 0 || !is_once(f, fresh.split))
        return;
    h->flat = fresh.flat;
    h->rotary = fresh.rotary;
    h->past = n->in[0];
    h->made = fz_maker(f, h->split);
}

/* The same with the heads first, if others want it: a Transpose of its own. */
static om_sv find_split(const struct fuse *f, const struct om_doc_node *flat_split)
{
    for (size_t i = 0; i < f->g->nodes.len; i++) {
        const struct om_doc_node *const n = &f->g->nodes.items[i];

        if (fz_is(n, "", "Transpose") && n->n_in == 1 && n->n_out == 1 &&
            om_sv_eq(n->in[0], flat_split->out[0]) && fz_has_perm(n, swap_heads))
            return n->out[0];
    }
    return (om_sv){ "", 0 };
}

/* Keys are turned for the product with the queries: [batch, heads, size, length]. */
static bool read_keys(const struct fuse *f, om_sv name, struct fz_attention *a)
{
    const struct om_doc_node *const n = fz_made_by(f, peel(f, name, &a->scale), "Transpose");
    const struct om_doc_node *split;

    if (fz_has_perm(n, swap_last)) {
        a->k.split = peel(f, n->in[0], &a->scale);
        a->k.uses = 1;
        find_past(f, &a->k);
        return true;
    }
    split =
        fz_has_perm(n, heads_last) ? fz_made_by(f, peel(f, n->in[0], &a->scale), "Reshape") : NULL;
    if (!splits_last(f, split))
        return false;
    a->k.flat = split->in[0];
    a->k.split = find_split(f, split);
    return true;
}

/* ---- scores ---- */

static bool read_products(const struct fuse *f, const struct om_doc_node *n, struct fz_attention *a)
{
    const struct om_value *const q = shape4(f, n->in[0]), *const k = shape4(f, n->in[1]);

    if (!q || !k || q->dims[0] != k->dims[0] || q->dims[1] != k->dims[1] ||
        q->dims[3] != k->dims[2] || !is_const_dim(f, q->dims[1], &a->heads) ||
        !is_const_dim(f, q->dims[3], &a->size))
        return false;
    a->batch = q->dims[0];
    a->queries = q->dims[2];
    a->keys = k->dims[3];
    a->dtype = q->dtype;
    return read_queries(f, n->in[0], a) && read_keys(f, n->in[1], a);
}

static bool read_scores(const struct fuse *f, om_sv name, struct fz_attention *a, bool scaled);

static bool read_sum(const struct fuse *f, const struct om_doc_node *n, struct fz_attention *a)
{
    for (uint32_t i = 0; n->n_in == 2 && i < 2; i++) {
        struct fz_attention b = *a;

        if (!fz_same_shape(f, n->in[i], n->out[0]))
            continue;
        b.terms[b.n_terms++] = (struct fz_term){ .name = n->in[1 - i] };
        if (read_scores(f, n->in[i], &b, false)) {
            *a = b;
            return true;
        }
    }
    return false;
}

/* A choice between the score and a number. */
static bool read_choice(const struct fuse *f, const struct om_doc_node *n, struct fz_attention *a)
{
    const struct om_value *const scores = fz_shape(f, n->out[0]);
    struct fz_term *const t = &a->terms[a->n_terms++];
    double tolerance;

    if (n->n_in != 3 || !scores)
        return false;
    *t = (struct fz_term){ .name = n->in[0], .chosen = true };
    t->fills_if = fz_scalar(f, n->in[1], &t->fill, &tolerance);
    if (!t->fills_if && !fz_scalar(f, n->in[2], &t->fill, &tolerance))
        return false;
    /* Beside such a number a score is nothing: the sum is the number. */
    if (t->fill > (scores->dtype == OM_F16 ? -6e4 : -1e38))
        return false;
    return read_scores(f, n->in[t->fills_if ? 2 : 1], a, false);
}

/* scaled: what is below is multiplied, so that nothing may be added to it there. */
static bool read_scores(const struct fuse *f, om_sv name, struct fz_attention *a, bool scaled)
{
    double scale = 1;
    const om_sv below = peel(f, name, &scale);
    const struct om_doc_node *n;

    if (!is_once(f, name) || !is_once(f, below))
        return false;
    if (!om_sv_eq(below, name)) {
        a->scale *= scale;
        return read_scores(f, below, a, true);
    }
    n = fz_made_by(f, name, "MatMul");
    if (n)
        return n->n_in == 2 && read_products(f, n, a);
    if (scaled || a->n_terms == FZ_TERMS_MAX)
        return false;
    n = fz_made_by(f, name, "Add");
    if (n)
        return read_sum(f, n, a);
    n = fz_made_by(f, name, "Where");
    return n && read_choice(f, n, a);
}

/* ---- after the scores ---- */

static bool is_last_axis(const struct om_doc_node *n)
{
    int64_t axis;

    return fz_int(n, "axis", -1, &axis) && (axis == -1 || axis == 3);
}

/* Softmax, or the same with zeros in place of NaN. */
static const struct om_doc_node *read_softmax(const struct fuse *f, om_sv name,
                                              struct fz_attention *a)
{
    const struct om_doc_node *const choice = fz_made_by(f, name, "Where");
    const struct om_doc_node *nan = NULL, *n;

    if (!is_once(f, name))
        return NULL;
    if (choice && choice->n_in == 3 && fz_is_scalar(f, choice->in[1], 0)) {
        nan = fz_made_by(f, choice->in[0], "IsNaN");
        if (!nan || !om_sv_eq(nan->in[0], choice->in[2]) || !is_once(f, nan->out[0]))
            return NULL;
        name = choice->in[2];
        a->guarded = true;
    }
    n = fz_made_by(f, name, "Softmax");
    return n && n->n_in == 1 && is_last_axis(n) && fz_uses(f, name) == (nan ? 2 : 1) ? n : NULL;
}

static bool read_values(const struct fuse *f, om_sv name, struct fz_attention *a)
{
    const struct om_value *const v = shape4(f, name);
    int64_t heads;

    if (!v || v->dims[0] != a->batch || v->dims[2] != a->keys || v->dtype != a->dtype ||
        !is_const_dim(f, v->dims[1], &heads) || heads != a->heads ||
        !is_const_dim(f, v->dims[3], &a->value_size))
        return false;
    a->v.split = name;
    a->v.uses = 1;
    find_past(f, &a->v);
    return true;
}

static bool read_result(const struct fuse *f, om_sv name, struct fz_attention *a)
{
    const struct om_doc_node *const n = fz_made_by(f, name, "MatMul");
    const struct om_doc_node *const softmax =
        n && n->n_in == 2 && is_once(f, name) ? read_softmax(f, n->in[0], a) : NULL;

    return softmax && shape4(f, softmax->in[0]) && read_scores(f, softmax->in[0], a, false) &&
           read_values(f, n->in[1], a);
}

/* A factor for every query: [1 or batch, 1, queries, 1] */
static bool is_by_row(const struct fuse *f, om_sv name, om_sv result)
{
    const struct om_value *const r = shape4(f, name), *const x = shape4(f, result);

    return r && x && (is_one(f, r->dims[0]) || r->dims[0] == x->dims[0]) && is_one(f, r->dims[1]) &&
           r->dims[2] == x->dims[2] && is_one(f, r->dims[3]) && r->dtype == x->dtype;
}

static bool read_rows(const struct fuse *f, om_sv name, struct fz_attention *a)
{
    const struct om_doc_node *const n = fz_made_by(f, name, "Mul");

    if (!n)
        return read_result(f, name, a);
    for (uint32_t i = 0; n->n_in == 2 && is_once(f, name) && i < 2; i++) {
        struct fz_attention b = *a;

        b.rows = n->in[1 - i];
        if (is_by_row(f, b.rows, n->in[i]) && read_result(f, n->in[i], &b)) {
            *a = b;
            return true;
        }
    }
    return false;
}

/* Reshape: [batch, queries, heads, size] to [batch, queries, heads * size] */
static bool joins_last(const struct fuse *f, const struct om_doc_node *n)
{
    const struct om_value *const x = shape4(f, n->in[0]), *const y = fz_shape(f, n->out[0]);
    int64_t heads, size, width;

    return x && y && y->rank == 3 && x->dims[0] == y->dims[0] && x->dims[1] == y->dims[1] &&
           is_const_dim(f, x->dims[2], &heads) && is_const_dim(f, x->dims[3], &size) &&
           is_const_dim(f, y->dims[2], &width) && width % heads == 0 && width / heads == size;
}

bool fz_read_attention(const struct fuse *f, const struct om_doc_node *n, struct fz_attention *a)
{
    const struct om_doc_node *turn;

    *a = (struct fz_attention){ .scale = 1 };
    if (!fz_is(n, "", "Reshape") || n->n_in != 2 || !joins_last(f, n))
        return false;
    turn = fz_made_by(f, n->in[0], "Transpose");
    if (!fz_has_perm(turn, swap_heads) || !is_once(f, n->in[0]) || !read_rows(f, turn->in[0], a))
        return false;
    if (om_sv_eq(a->k.split, a->v.split)) /* the keys are the values */
        a->k.uses = a->v.uses = a->k.uses + a->v.uses;
    return true;
}
