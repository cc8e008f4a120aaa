/* src/fuse/uses.c: how often a value is read. Graphs may use the same names for different values:
 * a name is counted where it is defined. */
#include <stdlib.h>

#include "fuse/internal.h"

struct fz_scope {
    const struct om_doc_graph *g;
    struct om_map names; /* that g defines, to indices into counts */
};

/* ---- definitions ---- */

static struct fz_scope *scope_of(const struct fuse *f, const struct om_doc_graph *g)
{
    for (size_t i = 0; i < f->n_scopes; i++)
        if (f->scopes[i].g == g)
            return &f->scopes[i];
    return NULL;
}

/* The counts of a name that is read in g; NULL: nobody defines it. */
static struct fz_count *find(const struct fuse *f, const struct om_doc_graph *g, om_sv name)
{
    uint32_t at;

    for (; name.len > 0 && g; g = g->parent) {
        const struct fz_scope *const s = scope_of(f, g);

        if (s && om_map_get(&s->names, name, &at))
            return &f->counts[at];
    }
    return NULL;
}

static int define(struct fuse *f, const struct om_doc_graph *g, om_sv name)
{
    struct fz_scope *const s = scope_of(f, g);

    if (name.len == 0 || !s || om_map_get(&s->names, name, NULL))
        return 0;
    if (!om_grow(&f->counts, &f->cap_counts, f->n_counts + 1, sizeof(*f->counts)) ||
        om_map_put(&s->names, name, (uint32_t)f->n_counts) < 0)
        return fz_no_memory(f);
    f->counts[f->n_counts++] = (struct fz_count){ 0, 0 };
    return 0;
}

static int define_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct fuse *const f = user;

    (void)err;
    if (!om_grow(&f->scopes, &f->cap_scopes, f->n_scopes + 1, sizeof(*f->scopes)))
        return fz_no_memory(f);
    f->scopes[f->n_scopes++] = (struct fz_scope){ .g = g, .names = OM_MAP_INIT };
    for (size_t i = 0; i < g->inputs.len; i++)
        OM_TRY(define(f, g, g->inputs.items[i].name));
    for (size_t i = 0; i < g->tensors.len; i++)
        OM_TRY(define(f, g, g->tensors.items[i].name));
    for (size_t i = 0; i < g->nodes.len; i++)
        for (uint32_t k = 0; k < g->nodes.items[i].n_out; k++)
            OM_TRY(define(f, g, g->nodes.items[i].out[k]));
    return 0;
}

int fz_define(struct fuse *f, om_sv name)
{
    return define(f, f->g, name);
}

/* ---- uses ---- */

static bool turns(const struct om_doc_node *n, uint32_t i)
{
    int64_t turned;

    return i == 1 && fz_is(n, "", "Gemm") && fz_int(n, "transB", 0, &turned) && turned != 0;
}

static int count_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct fuse *const f = user;
    struct fz_count *c;

    (void)err;
    for (size_t i = 0; i < g->nodes.len; i++)
        for (uint32_t k = 0; k < g->nodes.items[i].n_in; k++) {
            c = find(f, g, g->nodes.items[i].in[k]);
            if (!c)
                continue;
            c->uses++;
            c->turned += turns(&g->nodes.items[i], k);
        }
    for (size_t i = 0; i < g->outputs.len; i++) {
        c = find(f, g, g->outputs.items[i].name);
        if (c)
            c->uses++;
    }
    return 0;
}

void fz_forget_uses(struct fuse *f)
{
    for (size_t i = 0; i < f->n_scopes; i++)
        om_map_release(&f->scopes[i].names);
    f->n_scopes = f->n_counts = 0;
}

int fz_count_uses(struct fuse *f)
{
    fz_forget_uses(f);
    OM_TRY(om_doc_walk(f->d->graph, define_graph, f, f->err));
    return om_doc_walk(f->d->graph, count_graph, f, f->err);
}

uint32_t fz_uses(const struct fuse *f, om_sv name)
{
    const struct fz_count *const c = find(f, f->g, name);

    return c ? c->uses : 0;
}

uint32_t fz_turned_uses(const struct fuse *f, om_sv name)
{
    const struct fz_count *const c = find(f, f->g, name);

    return c ? c->turned : 0;
}

void fz_use(struct fuse *f, om_sv name, int by)
{
    struct fz_count *const c = find(f, f->g, name);

    if (c)
        c->uses += (uint32_t)by;
}
