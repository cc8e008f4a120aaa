/* src/fuse/match.c: what is known about a name: its maker, its value, its shape. */
#include <math.h>

#include "base/half.h"
#include "fuse/internal.h"

bool fz_is(const struct om_doc_node *n, const char *domain, const char *op)
{
    return om_sv_is(n->domain, domain) && om_sv_is(n->op, op);
}

struct om_doc_node *fz_maker(const struct fuse *f, om_sv name)
{
    struct om_doc_node *n;
    uint32_t at;

    if (name.len == 0 || !om_map_get(&f->makers, name, &at))
        return NULL;
    n = at < f->g->nodes.len ? &f->g->nodes.items[at] : f->fresh[at - f->g->nodes.len];
    for (uint32_t i = 0; i < n->n_out; i++)
        if (om_sv_eq(n->out[i], name))
            return n;
    return NULL;
}

static const struct om_doc_node *maker_in(const struct om_doc_graph *g, om_sv name)
{
    for (size_t i = g->nodes.len; i-- > 0;)
        for (uint32_t k = 0; k < g->nodes.items[i].n_out; k++)
            if (om_sv_eq(g->nodes.items[i].out[k], name))
                return &g->nodes.items[i];
    return NULL;
}

const struct om_doc_node *fz_maker_anywhere(const struct fuse *f, om_sv name)
{
    const struct om_doc_node *n = fz_maker(f, name);

    for (const struct om_doc_graph *g = f->g; !n && name.len > 0 && g; g = g->parent)
        if (om_doc_find_tensor(g, name))
            return NULL;
        else if (g != f->g)
            n = maker_in(g, name);
    return n;
}

struct om_doc_node *fz_made_by(const struct fuse *f, om_sv name, const char *op)
{
    struct om_doc_node *const n = fz_maker(f, name);

    return n && n->n_in > 0 && n->n_out > 0 && om_sv_eq(n->out[0], name) && fz_is(n, "", op) ? n
                                                                                             : NULL;
}

static bool is_input(const struct om_doc_graph *g, om_sv name)
{
    for (size_t i = 0; i < g->inputs.len; i++)
        if (om_sv_eq(g->inputs.items[i].name, name))
            return true;
    return false;
}

const struct om_doc_tensor *fz_const(const struct fuse *f, om_sv name)
{
    if (name.len == 0 || om_map_get(&f->makers, name, NULL))
        return NULL;
    for (struct om_doc_graph *g = f->g; g; g = g->parent) {
        const struct om_doc_tensor *const t = om_doc_find_tensor(g, name);

        if (is_input(g, name)) /* a default that who runs the model may replace */
            return NULL;
        if (t)
            return t;
    }
    return NULL;
}

bool fz_is_outer(const struct fuse *f, om_sv name)
{
    return name.len > 0 && !om_map_get(&f->makers, name, NULL);
}

/* ---- numbers ---- */

bool fz_first(const struct fuse *f, const struct om_doc_tensor *t, double *v)
{
    struct om_weight w;
    int64_t n;

    if (t->source || om_doc_weight(f->d, t, &w, NULL) < 0 || !w.data ||
        !om_count(t->dims, t->rank, &n) || n == 0)
        return false;
    if (w.src_dtype == OM_DTYPE_NONE)
        w.src_dtype = w.dtype;
    switch (w.src_dtype) {
    case OM_BOOL:
        *v = *(const uint8_t *)w.data != 0;
        return true;
    case OM_F16:
    case OM_BF16:
    case OM_F32:
    case OM_F64:
    case OM_I32:
    case OM_I64:
        om_convert(v, OM_F64, w.data, w.src_dtype, 1);
        return true;
    default:
        return false;
    }
}

bool fz_scalar(const struct fuse *f, om_sv name, double *v, double *tolerance)
{
    const struct om_doc_tensor *const t = fz_const(f, name);

    if (!t || t->rank > 1 || (t->rank == 1 && t->dims[0] != 1) || !fz_first(f, t, v))
        return false;
    *tolerance = t->type == FZ_F16 || t->type == 16 ? 4e-3 : 1e-6;
    return true;
}

bool fz_is_scalar(const struct fuse *f, om_sv name, double v)
{
    double found, tolerance;

    return fz_scalar(f, name, &found, &tolerance) && fabs(found - v) <= tolerance * fabs(v);
}

bool fz_beside_name(const struct om_doc_node *n, om_sv name, om_sv *x)
{
    for (uint32_t i = 0; n->n_in == 2 && i < 2; i++) {
        if (om_sv_eq(n->in[i], name)) {
            *x = n->in[1 - i];
            return true;
        }
    }
    return false;
}

bool fz_beside(const struct fuse *f, const struct om_doc_node *n, double v, om_sv *x)
{
    for (uint32_t i = 0; n->n_in == 2 && i < 2; i++) {
        if (fz_is_scalar(f, n->in[i], v)) {
            *x = n->in[1 - i];
            return true;
        }
    }
    return false;
}

size_t fz_factors(const struct fuse *f, om_sv name, om_sv stop, om_sv *factors, size_t max)
{
    const struct om_doc_node *const n = om_sv_eq(name, stop) ? NULL : fz_made_by(f, name, "Mul");
    size_t left, right;

    if (max == 0)
        return 0;
    if (!n || n->n_in != 2) {
        factors[0] = name;
        return 1;
    }
    left = fz_factors(f, n->in[0], stop, factors, max - 1);
    if (left == 0)
        return 0;
    right = fz_factors(f, n->in[1], stop, factors + left, max - left);
    return right == 0 ? 0 : left + right;
}

/* ---- shapes ---- */

const struct om_value *fz_shape(const struct fuse *f, om_sv name)
{
    return fz_shapes_find(f->known, f->g, name);
}

bool fz_same_shape(const struct fuse *f, om_sv a, om_sv b)
{
    const struct om_value *const x = fz_shape(f, a), *const y = fz_shape(f, b);

    if (!x || !y || x->rank != y->rank || x->dtype != y->dtype)
        return false;
    for (uint32_t i = 0; i < x->rank; i++)
        if (x->dims[i] != y->dims[i])
            return false;
    return true;
}

bool fz_last_dim(const struct fuse *f, om_sv name, int64_t *v)
{
    const struct om_value *const x = fz_shape(f, name);

    return x && x->rank > 0 && om_dim_is_const(f->shapes->dims, x->dims[x->rank - 1], v);
}

bool fz_is_row(const struct fuse *f, om_sv name, om_sv x)
{
    const struct om_value *const row = fz_shape(f, name);
    int64_t last, len;

    return row && row->rank == 1 && fz_last_dim(f, name, &len) && fz_last_dim(f, x, &last) &&
           len == last;
}

bool fz_ints(const struct fuse *f, om_sv name, int64_t *v, size_t cap, size_t *len)
{
    const struct om_value *const x = fz_shape(f, name);

    if (!x || !x->content || x->n_content > cap)
        return false;
    for (uint32_t i = 0; i < x->n_content; i++)
        if (!om_dim_is_const(f->shapes->dims, x->content[i], &v[i]))
            return false;
    *len = x->n_content;
    return true;
}

bool fz_is_float(const struct fuse *f, om_sv name)
{
    const struct om_value *const x = fz_shape(f, name);
    const int32_t type = om_doc_types_find(f->types, f->g, name);

    if (x)
        return x->dtype == OM_F32 || x->dtype == OM_F16;
    return type == FZ_F32 || type == FZ_F16;
}

/* ---- attributes ---- */

bool fz_int(const struct om_doc_node *n, const char *key, int64_t def, int64_t *v)
{
    *v = def;
    return om_doc_attr_int(n, key, v, NULL) == 0;
}

bool fz_float(const struct om_doc_node *n, const char *key, double def, double *v)
{
    float x = (float)def;

    if (om_doc_attr_float(n, key, &x, NULL) < 0)
        return false;
    *v = (double)x;
    return true;
}

/* The one axis of a reduction, from its attribute or input. */
static bool one_axis(const struct fuse *f, const struct om_doc_node *n, int64_t *axis)
{
    int64_t axes[2];
    size_t count = 0;
    double v, tolerance;

    if (n->n_in > 1) {
        if (!fz_scalar(f, n->in[1], &v, &tolerance))
            return false;
        *axis = (int64_t)v;
        return true;
    }
    if (om_doc_attr_ints(n, "axes", axes, OM_COUNT(axes), &count, NULL) < 0 || count != 1)
        return false;
    *axis = axes[0];
    return true;
}

bool fz_reduces_last(const struct fuse *f, const struct om_doc_node *n)
{
    const struct om_value *const x = fz_shape(f, n->in[0]);
    int64_t keep, axis;

    if (!fz_int(n, "keepdims", 1, &keep) || keep != 1 || !one_axis(f, n, &axis))
        return false;
    return axis == -1 || (x && axis == (int64_t)x->rank - 1);
}
