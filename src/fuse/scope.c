/* src/fuse/scope.c: who makes and who uses a name, kept true while nodes change. */
#include <stdlib.h>

#include "fuse/internal.h"

int fz_no_memory(struct fuse *f)
{
    return om_fail(f->err, OM_E_NOMEM, "out of memory");
}

/* ---- uses ---- */

static int count(struct fuse *f, om_sv name)
{
    uint32_t at;

    if (name.len == 0)
        return 0;
    if (om_map_get(&f->uses, name, &at)) {
        f->counts[at]++;
        return 0;
    }
    if (!om_grow(&f->counts, &f->cap_counts, f->n_counts + 1, sizeof(*f->counts)) ||
        om_map_put(&f->uses, name, (uint32_t)f->n_counts) < 0)
        return fz_no_memory(f);
    f->counts[f->n_counts++] = 1;
    return 0;
}

static int count_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct fuse *const f = user;

    (void)err;
    for (size_t i = 0; i < g->nodes.len; i++)
        for (uint32_t k = 0; k < g->nodes.items[i].n_in; k++)
            OM_TRY(count(f, g->nodes.items[i].in[k]));
    for (size_t i = 0; i < g->outputs.len; i++)
        OM_TRY(count(f, g->outputs.items[i].name));
    return 0;
}

int fz_count_uses(struct fuse *f)
{
    om_map_release(&f->uses);
    f->n_counts = 0;
    return om_doc_walk(f->d->graph, count_graph, f, f->err);
}

uint32_t fz_uses(const struct fuse *f, om_sv name)
{
    uint32_t at;

    return om_map_get(&f->uses, name, &at) ? f->counts[at] : 0;
}

void fz_use(struct fuse *f, om_sv name, int by)
{
    uint32_t at;

    if (name.len > 0 && om_map_get(&f->uses, name, &at))
        f->counts[at] += (uint32_t)by;
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
    for (size_t i = g->nodes.len; i-- > 0;) {
        struct om_doc_node *const n = &g->nodes.items[i];

        for (uint32_t k = 0; k < n->n_attrs; k++)
            for (uint32_t j = 0; j < n->attrs[k].n_graphs; j++)
                fz_sweep(f, n->attrs[k].graphs[j]);
        if (is_unused(f, n))
            fz_kill(f, n);
    }
    compact(g);
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
