/* src/quant/ranges.c: the ranges of values in a graph and those below it. */
#include "quant/ranges.h"

#include <math.h>
#include <stdlib.h>

static struct om_ranges_names *names_of(const struct om_ranges *r, const struct om_doc_graph *g)
{
    for (size_t i = 0; i < r->n_graphs; i++)
        if (r->graphs[i].g == g)
            return &r->graphs[i];
    return NULL;
}

static int put(const struct om_ranges *r, struct om_map *m, om_sv name, uint32_t value)
{
    return om_map_put(m, name, value) < 0 ? om_quant_no_memory(r->j) : 0;
}

static int note_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct om_ranges *const r = user;
    struct om_map *m;

    (void)err;
    if (!om_grow(&r->graphs, &r->cap_graphs, r->n_graphs + 1, sizeof(*r->graphs)))
        return om_quant_no_memory(r->j);
    r->graphs[r->n_graphs] = (struct om_ranges_names){ .g = g };
    m = &r->graphs[r->n_graphs++].defined;
    for (size_t i = 0; i < g->inputs.len; i++)
        OM_TRY(put(r, m, g->inputs.items[i].name, 0));
    for (size_t i = 0; i < g->tensors.len; i++)
        OM_TRY(put(r, m, g->tensors.items[i].name, 1));
    for (size_t i = 0; i < g->nodes.len; i++) {
        const struct om_doc_node *const n = &g->nodes.items[i];

        for (uint32_t k = 0; k < n->n_out; k++)
            OM_TRY(put(r, m, n->out[k], 0));
    }
    return 0;
}

/* The graph, g or one around it, that has the name at all. */
static struct om_doc_graph *home_of(const struct om_ranges *r, struct om_doc_graph *g, om_sv name,
                                    uint32_t *initializer)
{
    for (; g; g = g->parent)
        if (om_map_get(&names_of(r, g)->defined, name, initializer))
            return g;
    return NULL;
}

static int note_readers(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct om_ranges *const r = user;
    struct om_map *m = &names_of(r, g)->readers;

    (void)err;
    for (size_t i = 0; i < g->outputs.len; i++)
        OM_TRY(put(r, m, g->outputs.items[i].name, 2));
    for (size_t i = 0; i < g->nodes.len; i++) {
        const struct om_doc_node *const n = &g->nodes.items[i];

        for (uint32_t k = 0; k < n->n_in; k++) {
            uint32_t initializer, count = 0;
            struct om_doc_graph *const home = home_of(r, g, n->in[k], &initializer);

            if (!home)
                continue;
            m = &names_of(r, home)->readers;
            (void)om_map_get(m, n->in[k], &count);
            /* What an inner graph reads is not clamped for this node alone. */
            OM_TRY(put(r, m, n->in[k], count + (home == g ? 1 : 2)));
        }
    }
    return 0;
}

int om_ranges_init(struct om_ranges *r, struct om_quant_job *j)
{
    *r = (struct om_ranges){ .j = j };
    OM_TRY(om_doc_walk(j->doc->graph, note_graph, r, j->err));
    return om_doc_walk(j->doc->graph, note_readers, r, j->err);
}

struct om_doc_graph *om_ranges_owner(const struct om_ranges *r, struct om_doc_graph *g, om_sv name)
{
    uint32_t initializer = 0;
    struct om_doc_graph *const home = name.len > 0 ? home_of(r, g, name, &initializer) : NULL;

    return initializer ? NULL : home;
}

int om_ranges_want(struct om_ranges *r, struct om_doc_graph *g, om_sv name)
{
    struct om_doc_graph *const owner = om_ranges_owner(r, g, name);

    if (!owner || om_doc_types_find(r->j->types, owner, name) != OM_Q_F32 ||
        om_map_get(&names_of(r, owner)->index, name, NULL))
        return 0;
    if (!om_grow(&r->items, &r->cap, r->n + 1, sizeof(*r->items)))
        return om_quant_no_memory(r->j);
    OM_TRY(put(r, &names_of(r, owner)->index, name, (uint32_t)r->n));
    r->items[r->n++] = (struct om_range){ .name = name, .graph = owner };
    return 0;
}

static struct om_range *item(const struct om_ranges *r, const struct om_doc_graph *g, om_sv name)
{
    uint32_t at;

    return om_map_get(&names_of(r, g)->index, name, &at) ? &r->items[at] : NULL;
}

const struct om_range *om_ranges_find(const struct om_ranges *r, struct om_doc_graph *g, om_sv name)
{
    struct om_doc_graph *const owner = om_ranges_owner(r, g, name);
    const struct om_range *const x = owner ? item(r, owner, name) : NULL;

    return x && x->lo <= x->hi ? x : NULL;
}

static bool is_clamp(const struct om_doc_node *n)
{
    return n->domain.len == 0 && (om_sv_is(n->op, "Relu") || om_sv_is(n->op, "Clip")) &&
           n->n_in > 0 && n->n_out == 1;
}

uint32_t om_ranges_readers(const struct om_ranges *r, const struct om_doc_graph *g, om_sv name)
{
    uint32_t readers = 0;

    (void)om_map_get(&names_of(r, g)->readers, name, &readers);
    return readers;
}

bool om_ranges_clamped(const struct om_ranges *r, struct om_doc_graph *g,
                       const struct om_doc_node *n)
{
    return is_clamp(n) && om_ranges_readers(r, g, n->in[0]) == 1 && item(r, g, n->in[0]) &&
           item(r, g, n->out[0]);
}

/* In the order of the nodes, as ranges go from node to node. */
static int adjust_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct om_ranges *const r = user;

    (void)err;
    for (size_t i = 0; i < g->nodes.len; i++) {
        const struct om_doc_node *const n = &g->nodes.items[i];

        if (!om_quant_wants(r->j, n->op, n->name))
            continue;
        if (om_ranges_clamped(r, g, n)) {
            struct om_range *const in = item(r, g, n->in[0]);
            const struct om_range *const out = item(r, g, n->out[0]);

            in->lo = out->lo;
            in->hi = out->hi;
        } else if (om_sv_is(n->op, "Softmax") && n->n_out == 1 && item(r, g, n->out[0])) {
            item(r, g, n->out[0])->lo = 0.0f;
            item(r, g, n->out[0])->hi = 1.0f;
        }
    }
    return 0;
}

int om_ranges_measure(struct om_ranges *r)
{
    struct om_quant_job *const j = r->j;

    OM_TRY(om_calibrate(j, j->samples, j->dir, r->items, r->n));
    return om_doc_walk(j->doc->graph, adjust_graph, r, j->err);
}

void om_ranges_release(struct om_ranges *r)
{
    for (size_t i = 0; i < r->n_graphs; i++) {
        om_map_release(&r->graphs[i].index);
        om_map_release(&r->graphs[i].defined);
        om_map_release(&r->graphs[i].readers);
    }
    free(r->graphs);
    free(r->items);
}
