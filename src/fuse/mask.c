/* src/fuse/mask.c: what an attention mask is made of: a mask of tokens, spread over the scores. */
#include "fuse/mask.h"

#include <math.h>

/* An expression of one mask of tokens and constants: its value where the mask is 0 and where it is
 * 1. */
struct expr {
    om_sv leaf; /* [batch, tokens]; empty: a constant */
    double v[2];
    uint32_t batch, token; /* the leaf's axes, counted from the last one */
};

static bool eval(struct fz_look_at_mask *k, om_sv name, struct expr *e);

static bool constant(struct expr *e, double v)
{
    *e = (struct expr){ .leaf = { "", 0 }, .v = { v, v } };
    return true;
}

/* Both read one mask, in the same place, or only one of them does. */
static bool join(const struct expr *a, const struct expr *b, struct expr *out)
{
    if (a->leaf.len > 0 && b->leaf.len > 0 &&
        (!om_sv_eq(a->leaf, b->leaf) || a->batch != b->batch || a->token != b->token))
        return false;
    *out = a->leaf.len > 0 ? *a : *b;
    return true;
}

static bool is_bool_or_int(int32_t type)
{
    return type == 9 || type == FZ_I64 || type == 6;
}

/* An input of the model that says in its name that it holds nothing but 0 and 1. */
static bool is_mask_input(const struct fuse *f, om_sv name)
{
    const struct om_doc_ports *const in = &f->d->graph->inputs;
    bool named = false;

    for (size_t i = 0; i + 4 <= name.len; i++)
        named |= memcmp(name.ptr + i, "mask", 4) == 0;
    for (size_t i = 0; named && i < in->len; i++)
        if (om_sv_eq(in->items[i].name, name))
            return true;
    return false;
}

static bool eval_leaf(struct fz_look_at_mask *k, om_sv name, struct expr *e)
{
    const struct om_value *const v = fz_shape(k->f, name);
    const bool ints = v && (v->dtype == OM_I64 || v->dtype == OM_I32);

    if (!v || v->rank != 2 || !(v->dtype == OM_BOOL || (ints && is_mask_input(k->f, name))))
        return false;
    *e = (struct expr){ .leaf = name, .v = { 0, 1 }, .batch = 1, .token = 0 };
    return true;
}

/* ---- one value ---- */

static bool eval_cast(const struct om_doc_node *n, struct expr *e)
{
    int64_t to;

    if (!fz_int(n, "to", 0, &to))
        return false;
    for (int i = 0; i < 2; i++) {
        if (to == 9)
            e->v[i] = e->v[i] != 0;
        else if (is_bool_or_int((int32_t)to))
            e->v[i] = trunc(e->v[i]);
        else if (to != FZ_F32 && to != FZ_F16)
            return false;
    }
    return true;
}

static bool eval_unsqueeze(struct fz_look_at_mask *k, const struct om_doc_node *n, struct expr *e)
{
    const struct om_value *const out = fz_shape(k->f, n->out[0]);
    const struct om_value *const axes = n->n_in == 2 ? fz_shape(k->f, n->in[1]) : NULL;
    bool added[OM_RANK_MAX] = { false };
    uint32_t from = 0, batch = UINT32_MAX, token = UINT32_MAX;
    int64_t axis;

    if (!out || !axes || !axes->content)
        return false;
    for (uint32_t i = 0; i < axes->n_content; i++) {
        if (!om_dim_is_const(k->f->shapes->dims, axes->content[i], &axis))
            return false;
        axis += axis < 0 ? (int64_t)out->rank : 0;
        if (axis < 0 || axis >= (int64_t)out->rank)
            return false;
        added[axis] = true;
    }
    for (uint32_t i = 0; i < out->rank; i++) {
        if (added[out->rank - 1 - i])
            continue;
        if (from == e->batch)
            batch = i;
        if (from == e->token)
            token = i;
        from++;
    }
    e->batch = batch;
    e->token = token;
    return e->leaf.len == 0 || (batch != UINT32_MAX && token != UINT32_MAX);
}

/* A Reshape or Slice that changes nothing. */
static bool keeps_shape(const struct fuse *f, const struct om_doc_node *n)
{
    return fz_same_shape(f, n->in[0], n->out[0]);
}

static bool eval_unary(struct fz_look_at_mask *k, const struct om_doc_node *n, struct expr *e)
{
    if (n->n_in == 0 || !eval(k, n->in[0], e))
        return false;
    if (om_sv_is(n->op, "Cast"))
        return eval_cast(n, e);
    if (om_sv_is(n->op, "Unsqueeze"))
        return eval_unsqueeze(k, n, e);
    if (om_sv_is(n->op, "Not")) {
        e->v[0] = e->v[0] == 0;
        e->v[1] = e->v[1] == 0;
        return true;
    }
    if (om_sv_is(n->op, "Expand") || om_sv_is(n->op, "Identity"))
        return true;
    return (om_sv_is(n->op, "Reshape") || om_sv_is(n->op, "Slice")) && keeps_shape(k->f, n);
}

/* ---- two values ---- */

static bool apply(om_sv op, double a, double b, double *out)
{
    static const char *const ops[] = { "Add",   "Sub",         "Mul",
                                       "Equal", "Greater",     "GreaterOrEqual",
                                       "Less",  "LessOrEqual", "And",
                                       "Or" };
    const double values[] = { a + b,  a - b, a * b,  a == b,           a > b,
                              a >= b, a < b, a <= b, a != 0 && b != 0, a != 0 || b != 0 };

    for (size_t i = 0; i < OM_COUNT(ops); i++) {
        if (om_sv_is(op, ops[i])) {
            *out = values[i];
            return true;
        }
    }
    return false;
}

static bool eval_binary(struct fz_look_at_mask *k, const struct om_doc_node *n, struct expr *e)
{
    struct expr a, b;
    double v[2];

    if (n->n_in != 2 || !apply(n->op, 0, 0, v) || !eval(k, n->in[0], &a) ||
        !eval(k, n->in[1], &b) || !join(&a, &b, e))
        return false;
    for (int i = 0; i < 2; i++)
        apply(n->op, a.v[i], b.v[i], &e->v[i]);
    return true;
}

static bool eval_where(struct fz_look_at_mask *k, const struct om_doc_node *n, struct expr *e)
{
    struct expr c, a, b, ab;

    if (n->n_in != 3 || !eval(k, n->in[0], &c) || !eval(k, n->in[1], &a) ||
        !eval(k, n->in[2], &b) || !join(&a, &b, &ab) || !join(&c, &ab, e))
        return false;
    for (int i = 0; i < 2; i++)
        e->v[i] = c.v[i] != 0 ? a.v[i] : b.v[i];
    return true;
}

/* ---- any value ---- */

static bool eval_filled(struct fz_look_at_mask *k, const struct om_doc_node *n, struct expr *e)
{
    const struct om_doc_attr *const a = om_doc_attr(n, "value");
    struct om_doc_tensor t;
    double v = 0;

    if (a && (om_doc_attr_tensor(k->f->d, a, &t, NULL) < 0 || !fz_first(k->f, &t, &v)))
        return false;
    return constant(e, v);
}

static bool eval(struct fz_look_at_mask *k, om_sv name, struct expr *e)
{
    const struct om_doc_node *const n = fz_maker_anywhere(k->f, name);
    const struct om_doc_tensor *const t = n ? NULL : fz_const(k->f, name);
    double v;

    if (k->budget == 0)
        return false;
    k->budget--;
    if (t && fz_first(k->f, t, &v) && t->rank < 2 && (t->rank == 0 || t->dims[0] == 1))
        return constant(e, v);
    if (n && n->domain.len == 0 && n->n_out == 1 &&
        ((om_sv_is(n->op, "ConstantOfShape") && eval_filled(k, n, e)) || eval_unary(k, n, e) ||
         eval_binary(k, n, e) || eval_where(k, n, e)))
        return true;
    return eval_leaf(k, name, e);
}

bool fz_token_mask(struct fuse *f, om_sv name, om_sv *tokens, double *fill)
{
    struct fz_look_at_mask k = { .f = f, .budget = 256 };
    const struct om_value *const v = fz_shape(f, name);
    struct expr e;

    if (!v || v->rank != 4 || !eval(&k, name, &e) || e.leaf.len == 0 || e.token != 0 ||
        e.batch != 3 || e.v[1] != 0 || !(e.v[0] < 0))
        return false;
    *tokens = e.leaf;
    *fill = e.v[0];
    return true;
}
