/* src/fuse/scope.c: who makes and who uses a name, kept true while nodes change. */
#include <stdlib.h>

#include "fuse/internal.h"

int fz_no_memory(struct fuse *f)
{
    return om_fail(f->err, OM_E_NOMEM, "out of memory");
}

/* ---- a graph ---- */

static int enter(struct fuse *f, struct om_doc_graph *g)
{
    for (size_t i = 0; i < g->nodes.len; i++)
        for (uint32_t k = 0; k < g->nodes.items[i].n_out; k++)
            if (om_map_put(&f->makers, g->nodes.items[i].out[k], (uint32_t)i) < 0)
                return fz_no_memory(f);
    for (size_t i = 0; i < g->outputs.len; i++)
        if (om_map_put(&f->ports, g->outputs.items[i].name, 1) < 0)
            return fz_no_memory(f);
    for (size_t i = 0; i < g->inputs.len; i++)
        if (om_map_put(&f->ports, g->inputs.items[i].name, 0) < 0)
            return fz_no_memory(f);
    return 0;
}

int fz_enter(struct fuse *f, struct om_doc_graph *g)
{
    f->g = g;
    return enter(f, g);
}

void fz_leave(struct fuse *f)
{
    om_map_release(&f->makers);
    om_map_release(&f->ports);
    om_map_release(&f->notes);
    f->n_noted = 0;
}

bool fz_is_output(const struct fuse *f, om_sv name)
{
    uint32_t output;

    return om_map_get(&f->ports, name, &output) && output == 1;
}

/* ---- changes ---- */

int fz_become(struct fuse *f, struct om_doc_node *n, const char *domain, const char *op,
              const om_sv *in, uint32_t n_in)
{
    om_sv *const copy = om_arena_array(f->d->arena, OM_MAX(n_in, 1), sizeof(*copy));

    if (!copy)
        return fz_no_memory(f);
    for (uint32_t i = 0; i < n_in; i++) {
        copy[i] = in[i];
        fz_use(f, in[i], 1);
    }
    for (uint32_t i = 0; i < n->n_in; i++)
        fz_use(f, n->in[i], -1);
    if (n->domain.len == 0) /* else it was counted */
        f->fused++;
    n->in = copy;
    n->n_in = n_in;
    n->domain = om_sv_str(domain);
    n->op = om_sv_str(op);
    n->n_attrs = 0;
    return 0;
}

void fz_kill(struct fuse *f, struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        fz_use(f, n->in[i], -1);
    n->n_in = n->n_out = n->n_attrs = 0;
    n->op.len = 0;
}

/* ---- new names and nodes ---- */

static int note_maker(struct fuse *f, const struct om_doc_node *n, om_sv out)
{
    const struct om_doc_nodes *const all = &f->g->nodes;
    size_t at = all->len + f->n_fresh;

    if (n >= all->items && n < all->items + all->len)
        at = (size_t)(n - all->items);
    else
        while (at > all->len && f->fresh[at - 1 - all->len] != n)
            at--;
    return om_map_put(&f->makers, out, (uint32_t)(at - (at > all->len))) < 0 ? fz_no_memory(f) : 0;
}

struct om_doc_node *fz_add(struct fuse *f, const char *domain, const char *op, const om_sv *in,
                           uint32_t n_in, om_sv out)
{
    struct om_doc_node *const n = om_arena_alloc(f->d->arena, sizeof(*n));
    om_sv *const names = om_arena_array(f->d->arena, n_in + 1, sizeof(*names));

    if (!n || !names || out.len == 0 ||
        !om_grow(&f->fresh, &f->cap_fresh, f->n_fresh + 1, sizeof(*f->fresh)))
        return NULL;
    names[0] = out;
    for (uint32_t i = 0; i < n_in; i++) {
        names[i + 1] = in[i];
        fz_use(f, in[i], 1);
    }
    *n = (struct om_doc_node){ .name = out,
                               .op = om_sv_str(op),
                               .domain = om_sv_str(domain),
                               .in = names + 1,
                               .n_in = n_in,
                               .out = names,
                               .n_out = 1,
                               .rest = { "", 0 } };
    f->fresh[f->n_fresh++] = n;
    return note_maker(f, n, out) == 0 ? n : NULL;
}

int fz_put_output(struct fuse *f, struct om_doc_node *n, uint32_t i, om_sv out)
{
    om_sv *const names = om_arena_array(f->d->arena, 4, sizeof(*names));

    if (!names)
        return fz_no_memory(f);
    for (uint32_t k = 0; k < 4; k++)
        names[k] = k < n->n_out ? n->out[k] : (om_sv){ "", 0 };
    names[i] = out;
    n->out = names;
    n->n_out = OM_MAX(n->n_out, i + 1);
    f->unsorted = true;
    return note_maker(f, n, out);
}

om_sv fz_noted(const struct fuse *f, om_sv key)
{
    uint32_t at;

    return om_map_get(&f->notes, key, &at) ? f->noted[at] : (om_sv){ "", 0 };
}

int fz_note(struct fuse *f, om_sv key, om_sv made)
{
    if (key.len == 0 || !om_grow(&f->noted, &f->cap_noted, f->n_noted + 1, sizeof(*f->noted)) ||
        om_map_put(&f->notes, key, (uint32_t)f->n_noted) < 0)
        return fz_no_memory(f);
    f->noted[f->n_noted++] = made;
    return 0;
}

/* ---- the order of nodes ---- */

struct order {
    struct fuse *f;
    struct om_map makers; /* of the graph: names to indices */
    const struct om_doc_node *nodes;
    size_t *stack, depth, cap; /* nodes that are waited for */
    uint8_t *state;            /* 0: not seen, 1: on the stack, 2: placed */
    const struct om_doc_node *at;
};

static int wait_for(struct order *o, om_sv name)
{
    uint32_t at;

    if (name.len == 0 || !om_map_get(&o->makers, name, &at) || o->state[at] != 0)
        return 0;
    if (!om_grow(&o->stack, &o->cap, o->depth + 1, sizeof(*o->stack)))
        return fz_no_memory(o->f);
    o->stack[o->depth++] = at;
    return 0;
}

static int wait_for_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct order *const o = user;

    (void)err;
    for (size_t i = g->nodes.len; i-- > 0;)
        for (uint32_t k = g->nodes.items[i].n_in; k-- > 0;)
            OM_TRY(wait_for(o, g->nodes.items[i].in[k]));
    for (size_t i = g->outputs.len; i-- > 0;)
        OM_TRY(wait_for(o, g->outputs.items[i].name));
    return 0;
}

static int wait_for_inputs(struct order *o, const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_attrs; i++)
        for (uint32_t k = 0; k < n->attrs[i].n_graphs; k++)
            OM_TRY(om_doc_walk(n->attrs[i].graphs[k], wait_for_graph, o, o->f->err));
    for (uint32_t k = n->n_in; k-- > 0;)
        OM_TRY(wait_for(o, n->in[k]));
    return 0;
}

/* Node i after all that it waits for; nodes that wait for each other stay as they are. */
static int place(struct order *o, size_t i, struct om_doc_node *sorted, size_t *len)
{
    o->depth = 0;
    if (!om_grow(&o->stack, &o->cap, 1, sizeof(*o->stack)))
        return fz_no_memory(o->f);
    o->stack[o->depth++] = i;
    while (o->depth > 0) {
        const size_t at = o->stack[o->depth - 1], before = o->depth;

        if (o->state[at] == 0) {
            o->state[at] = 1;
            OM_TRY(wait_for_inputs(o, &o->nodes[at]));
        }
        if (o->depth > before)
            continue;
        if (o->state[at] != 2)
            sorted[(*len)++] = o->nodes[at];
        o->state[at] = 2;
        o->depth--;
    }
    return 0;
}

static int sort_nodes(struct order *o, struct om_doc_graph *g)
{
    struct om_doc_node *const sorted =
        om_arena_array(o->f->d->arena, OM_MAX(g->nodes.cap, 1), sizeof(*sorted));
    size_t len = 0;

    if (!sorted)
        return fz_no_memory(o->f);
    for (size_t i = 0; i < g->nodes.len; i++)
        for (uint32_t k = 0; k < g->nodes.items[i].n_out; k++)
            if (om_map_put(&o->makers, g->nodes.items[i].out[k], (uint32_t)i) < 0)
                return fz_no_memory(o->f);
    for (size_t i = 0; i < g->nodes.len; i++)
        if (o->state[i] == 0)
            OM_TRY(place(o, i, sorted, &len));
    memcpy(g->nodes.items, sorted, len * sizeof(*sorted));
    return 0;
}

int fz_merge(struct fuse *f, struct om_doc_graph *g)
{
    struct order o = { .f = f, .makers = OM_MAP_INIT };
    int rc;

    if (f->n_fresh == 0 && !f->unsorted)
        return 0;
    for (size_t i = 0; i < f->n_fresh; i++) {
        struct om_doc_node *const n = om_doc_add_node(f->d, g);

        if (!n)
            return fz_no_memory(f);
        *n = *f->fresh[i];
    }
    f->n_fresh = 0;
    f->unsorted = false;
    o.nodes = g->nodes.items;
    o.state = calloc(g->nodes.len, 1);
    rc = o.state ? sort_nodes(&o, g) : fz_no_memory(f);
    free(o.state);
    free(o.stack);
    om_map_release(&o.makers);
    return rc;
}

/* ---- what comes from what ---- */

static int ancestors(struct fuse *f, om_sv name, om_sv what, struct om_map *seen, om_sv **stack,
                     size_t *cap, bool *yes)
{
    size_t depth = 0;

    if (!om_grow(stack, cap, 1, sizeof(**stack)))
        return fz_no_memory(f);
    (*stack)[depth++] = name;
    while (depth > 0 && !*yes) {
        const om_sv top = (*stack)[--depth];
        const struct om_doc_node *const n = fz_maker(f, top);

        *yes = om_sv_eq(top, what);
        if (*yes || !n || om_map_get(seen, top, NULL))
            continue;
        if (om_map_put(seen, top, 0) < 0 || !om_grow(stack, cap, depth + n->n_in, sizeof(**stack)))
            return fz_no_memory(f);
        /* Graphs within a node may read anything: such a node counts as dependent. */
        for (uint32_t i = 0; i < n->n_attrs; i++)
            *yes |= n->attrs[i].n_graphs > 0;
        for (uint32_t i = 0; i < n->n_in; i++)
            if (n->in[i].len > 0)
                (*stack)[depth++] = n->in[i];
    }
    return 0;
}

int fz_depends(struct fuse *f, om_sv name, om_sv what, bool *yes)
{
    struct om_map seen = OM_MAP_INIT;
    om_sv *stack = NULL;
    size_t cap = 0;
    int rc;

    *yes = false;
    rc = ancestors(f, name, what, &seen, &stack, &cap, yes);
    om_map_release(&seen);
    free(stack);
    return rc;
}

bool fz_is_dead(const struct om_doc_node *n)
{
    return n->op.len == 0;
}

int fz_alias(struct fuse *f, om_sv name, om_sv target)
{
    uint32_t at;

    if (om_map_get(&f->aliases, target, &at))
        target = f->targets[at];
    if (!om_grow(&f->targets, &f->cap_targets, f->n_targets + 1, sizeof(*f->targets)) ||
        om_map_put(&f->aliases, name, (uint32_t)f->n_targets) < 0)
        return fz_no_memory(f);
    f->targets[f->n_targets++] = target;
    return 0;
}

static int resolve_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    const struct fuse *const f = user;
    uint32_t at;

    (void)err;
    for (size_t i = 0; i < g->nodes.len; i++)
        for (uint32_t k = 0; k < g->nodes.items[i].n_in; k++)
            if (om_map_get(&f->aliases, g->nodes.items[i].in[k], &at))
                g->nodes.items[i].in[k] = f->targets[at];
    return 0;
}

int fz_resolve(struct fuse *f, struct om_doc_graph *g)
{
    const int rc = om_doc_walk(g, resolve_graph, f, f->err);

    om_map_release(&f->aliases);
    f->n_targets = 0;
    return rc;
}

/* ---- what nobody uses ---- */

static bool has_graphs(const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].n_graphs > 0)
            return true;
    return false;
}

/* Operators of the default domain only change what they give. */
static bool is_unused(const struct fuse *f, const struct om_doc_node *n)
{
    if (fz_is_dead(n))
        return true;
    if (n->n_out == 0 || has_graphs(n) ||
        (n->domain.len > 0 && !om_sv_is(n->domain, "com.microsoft")))
        return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i].len > 0 && fz_uses(f, n->out[i]) > 0)
            return false;
    return true;
}

static void compact(struct om_doc_graph *g)
{
    size_t kept = 0;

    for (size_t i = 0; i < g->nodes.len; i++)
        if (!fz_is_dead(&g->nodes.items[i]))
            g->nodes.items[kept++] = g->nodes.items[i];
    g->nodes.len = kept;
}

void fz_sweep(struct fuse *f, struct om_doc_graph *g)
{
    struct om_doc_graph *const at_work = f->g;

    for (size_t i = g->nodes.len; i-- > 0;) {
        struct om_doc_node *const n = &g->nodes.items[i];

        for (uint32_t k = 0; k < n->n_attrs; k++)
            for (uint32_t j = 0; j < n->attrs[k].n_graphs; j++)
                fz_sweep(f, n->attrs[k].graphs[j]);
        f->g = g;
        if (is_unused(f, n))
            fz_kill(f, n);
    }
    compact(g);
    f->g = at_work;
}

/* ---- clean: changes that are counted ---- */

int fz_drop(struct fuse *f, struct om_doc_node *n, om_sv target)
{
    if (target.len == 0 || fz_is_output(f, n->out[0]))
        return 0;
    OM_TRY(fz_alias(f, n->out[0], target));
    fz_kill(f, n);
    f->changes++;
    return 0;
}

int fz_reread(struct fuse *f, struct om_doc_node *n, uint32_t i, om_sv name)
{
    fz_use(f, n->in[i], -1);
    fz_use(f, name, 1);
    n->in[i] = name;
    f->changes++;
    return 0;
}

/* ---- new names ---- */

static int note_name(struct fuse *f, om_sv name)
{
    return name.len > 0 && om_map_put(&f->names, name, 0) < 0 ? fz_no_memory(f) : 0;
}

static int note_names(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct fuse *const f = user;

    (void)err;
    for (size_t i = 0; i < g->nodes.len; i++)
        for (uint32_t k = 0; k < g->nodes.items[i].n_out; k++)
            OM_TRY(note_name(f, g->nodes.items[i].out[k]));
    for (size_t i = 0; i < g->tensors.len; i++)
        OM_TRY(note_name(f, g->tensors.items[i].name));
    for (size_t i = 0; i < g->inputs.len; i++)
        OM_TRY(note_name(f, g->inputs.items[i].name));
    return 0;
}

int fz_new_name(struct fuse *f, const char *stem, om_sv *name)
{
    if (f->names.len == 0)
        OM_TRY(om_doc_walk(f->d->graph, note_names, f, f->err));
    do {
        *name = om_doc_text(f->d, "%s_%" PRIu32, stem, f->n_made++);
        if (name->len == 0)
            return fz_no_memory(f);
    } while (om_map_get(&f->names, *name, NULL));
    return note_name(f, *name);
}

om_sv fz_name(struct fuse *f, om_sv base, const char *what)
{
    const char *const stem = om_arena_printf(f->d->arena, "%.*s/%s", OM_SV(base), what);
    om_sv name;

    return stem && fz_new_name(f, stem, &name) == 0 && fz_define(f, name) == 0 ? name
                                                                               : (om_sv){ "", 0 };
}

int fz_add_ints(struct fuse *f, const int64_t *v, size_t n, om_sv *name)
{
    const om_sv bytes = { (const char *)v, n * sizeof(*v) };
    const int64_t len = (int64_t)n;
    char *key;
    uint32_t at;

    if (om_map_get(&f->lists, bytes, &at)) {
        *name = f->d->graph->tensors.items[at].name;
        return 0;
    }
    OM_TRY(fz_new_name(f, "ints", name));
    at = (uint32_t)f->d->graph->tensors.len;
    key = om_arena_copy(f->d->arena, bytes.ptr, bytes.len);
    if (!key || !om_doc_add_const(f->d, f->d->graph, *name, FZ_I64, &len, 1, v) ||
        om_map_put(&f->lists, (om_sv){ key, bytes.len }, at) < 0)
        return fz_no_memory(f);
    return 0;
}
