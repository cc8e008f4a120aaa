/* src/nn/scope.c: positions in the module tree, the weights below them, and the file's inputs and
 * outputs. */
#include "base/view.h"
#include "nn/internal.h"

static om_scope scope_nomem(om_scope s)
{
    om_graph_fail(s.b->g, OM_E_NOMEM, "out of memory");
    return s;
}

/* The path of the child name: its dots become slashes, except before the number of a list's entry
 * ("layer.0"). */
static const char *child_path(om_scope s, const char *name)
{
    char *path = om_arena_printf(s.b->g->arena, "%s%s%s", s.path, *s.path ? "/" : "", name);

    for (char *c = path; c && *c; c++)
        if (*c == '.' && (c[1] < '0' || c[1] > '9'))
            *c = '/';
    return path;
}

om_scope om_sub(om_scope s, const char *fmt, ...)
{
    struct om_arena *a = s.b->g->arena;
    om_scope sub = s;
    const char *name;
    va_list ap;

    if (!om_ok(s))
        return s;
    va_start(ap, fmt);
    name = om_arena_vprintf(a, fmt, ap);
    va_end(ap);
    if (!name)
        return scope_nomem(s);
    sub.weights = om_arena_printf(a, "%s%s.", s.weights, name);
    sub.path = child_path(s, name);
    return sub.weights && sub.path ? sub : scope_nomem(s);
}

om_scope om_named(om_scope s, const char *name)
{
    om_scope sub = s;

    if (!om_ok(s) || !*name)
        return s;
    sub.path = child_path(s, name);
    return sub.path ? sub : scope_nomem(s);
}

om_scope om_sub_optional(om_scope s, const char *name)
{
    const om_scope sub = om_sub(s, "%s", name);

    if (!om_ok(s) || om_ckpt_has_prefix(s.source->ckpt, om_sv_str(sub.weights)))
        return sub;
    return s;
}

om_scope om_with_ckpt(om_scope s, const struct om_ckpt *ckpt)
{
    const char *slash = strrchr(s.path, '/');
    const char *prefix = om_arena_printf(s.b->g->arena, "%s.", slash ? slash + 1 : s.path);
    om_scope other = s;

    if (!prefix)
        return scope_nomem(s);
    other.source = om_builder_source(s.b, ckpt, prefix);
    other.weights = "";
    return other;
}

bool om_valid(om_val v)
{
    return v.id != 0;
}

bool om_ok(om_scope s)
{
    return s.b->g->rc == 0;
}

om_val om_scope_fail(om_scope s, int code, const char *fmt, ...)
{
    const char *text;
    va_list ap;

    if (!om_ok(s))
        return (om_val){ 0 };
    va_start(ap, fmt);
    text = om_arena_vprintf(s.b->g->arena, fmt, ap);
    va_end(ap);
    if (!text)
        return om_graph_fail(s.b->g, OM_E_NOMEM, "out of memory");
    return om_graph_fail(s.b->g, code, "%s%s%s", s.path, *s.path ? ": " : "", text);
}

/* ---- weights ---- */

/* What TensorFlow's layer normalization called its parameters, and old checkpoints still do. */
static const char *old_name(const char *name)
{
    if (strcmp(name, "weight") == 0)
        return "gamma";
    return strcmp(name, "bias") == 0 ? "beta" : NULL;
}

static const struct om_ckpt_tensor *find_exact(om_scope s, const char *name)
{
    struct om_arena *a = s.b->g->arena;
    const struct om_mark mark = om_arena_mark(a);
    const char *full = om_arena_printf(a, "%s%s", s.weights, name);
    const struct om_ckpt_tensor *t = NULL;

    if (full)
        t = om_ckpt_find(s.source->ckpt, om_sv_str(full));
    else
        om_graph_fail(s.b->g, OM_E_NOMEM, "out of memory");
    om_arena_rewind(a, mark);
    return t;
}

static const struct om_ckpt_tensor *find_tensor(om_scope s, const char *name)
{
    const struct om_ckpt_tensor *t = find_exact(s, name);
    const char *old = t ? NULL : old_name(name);

    return old ? find_exact(s, old) : t;
}

bool om_has_weight(om_scope s, const char *name)
{
    return om_ok(s) && find_tensor(s, name) != NULL;
}

/* The dtype in the file of a tensor that is computed with in another one. */
static enum om_dtype stored_dtype(const struct om_builder *b, const struct om_ckpt_tensor *t,
                                  enum om_dtype computed)
{
    if (!om_is_float(t->dtype))
        return t->dtype;
    if (b->storage_follows)
        return computed;
    return b->storage == OM_DTYPE_NONE ? t->dtype : b->storage;
}

/* swap: the matrix of which t is the transposed view. */
static om_val weight_value(om_scope s, const struct om_ckpt_tensor *t, enum om_dtype computed,
                           bool swap)
{
    struct om_graph *g = s.b->g;
    const int64_t swapped[] = { swap ? t->dims[1] : 0, swap ? t->dims[0] : 0 };
    struct om_weight w = { .name = t->name,
                           .dtype = stored_dtype(s.b, t, computed),
                           .rank = t->rank,
                           .dims = swap ? swapped : t->dims,
                           .strides = swap ? NULL : t->strides,
                           .file = t->file,
                           .offset = t->offset,
                           .data = om_ckpt_data(t),
                           .bytes = t->bytes,
                           .src_dtype = t->dtype };

    s.source->used[t - s.source->ckpt->tensors] = true;
    if (*s.source->prefix) {
        const char *name = om_arena_printf(g->arena, "%s%.*s", s.source->prefix, OM_SV(t->name));
        if (!name)
            return om_graph_fail(g, OM_E_NOMEM, "out of memory");
        w.name = om_sv_str(name);
    }
    return om_graph_weight(g, &w);
}

static om_val weight_for(om_scope s, const char *name, enum om_dtype computed)
{
    const struct om_ckpt_tensor *t = om_ok(s) ? find_tensor(s, name) : NULL;
    const char *full;

    if (!om_ok(s))
        return (om_val){ 0 };
    if (t)
        return weight_value(s, t, computed, false);
    full = om_arena_printf(s.b->g->arena, "%s%s%s", s.source->prefix, s.weights, name);
    if (!full)
        return om_graph_fail(s.b->g, OM_E_NOMEM, "out of memory");
    om_builder_note_missing(s.b, full);
    return (om_val){ 0 };
}

om_val om_weight_stored(om_scope s, const char *name)
{
    return weight_for(s, name, s.b->compute);
}

om_val om_weight(om_scope s, const char *name)
{
    return om_weight_as(s, name, s.b->compute);
}

om_val om_weight_as(om_scope s, const char *name, enum om_dtype dtype)
{
    return om_float_as(s, weight_for(s, name, dtype), dtype);
}

/* Does the view of a matrix visit its bytes column after column? */
static bool is_transposed(const struct om_ckpt_tensor *t)
{
    return t->rank == 2 && t->strides && t->strides[0] == 1 && t->strides[1] == t->dims[0] &&
           !om_view_dense(t->dims, t->strides, t->rank);
}

om_val om_weight_linear(om_scope s, int64_t *trans)
{
    const enum om_dtype dtype = s.b->compute;
    const struct om_ckpt_tensor *t = om_ok(s) ? find_tensor(s, "weight") : NULL;

    *trans = !t || !is_transposed(t);
    return *trans ? om_weight(s, "weight") : om_float_as(s, weight_value(s, t, dtype, true), dtype);
}

om_val om_weight_conv1d(om_scope s, int64_t *trans)
{
    const struct om_ckpt_tensor *t = om_ok(s) ? find_tensor(s, "weight") : NULL;

    *trans = t && t->packed;
    return om_weight(s, "weight");
}

om_val om_weight_optional(om_scope s, const char *name)
{
    return om_has_weight(s, name) ? om_weight(s, name) : (om_val){ 0 };
}

/* ---- inputs and outputs ---- */

static const struct om_builder_input *find_input(om_scope s, const char *name)
{
    for (size_t i = 0; i < s.b->n_inputs; i++)
        if (om_sv_is(s.b->inputs[i].name, name))
            return &s.b->inputs[i];
    return NULL;
}

bool om_has_input(om_scope s, const char *name)
{
    return find_input(s, name) != NULL;
}

om_val om_input(om_scope s, const char *name)
{
    const struct om_builder_input *in = find_input(s, name);

    if (!in)
        return om_scope_fail(s, OM_E_INTERNAL, "%s has no input \"%s\"", s.b->file, name);
    return in->val;
}

void om_output(om_scope s, const char *name, om_val v)
{
    if (om_valid(v) && om_ok(s) && om_is_float(om_graph_value(s.b->g, v)->dtype))
        v = om_to_compute(s, v);
    if (om_valid(v))
        om_graph_output(s.b->g, om_sv_str(name), v, NULL);
    else if (om_ok(s) && s.b->n_missing == 0)
        om_scope_fail(s, OM_E_INTERNAL, "output \"%s\" was not computed", name);
}
