/* src/ir/finish.c: the final form of a graph: what the outputs need, in an order and with names
 * that depend on nothing but the graph itself. */
#include "ir/graph.h"

#include <stdlib.h>

enum { NEW, OPEN, DONE };

struct frame {
    uint32_t node;
    size_t next; /* child to visit */
};

struct finish {
    struct om_graph *g;
    struct om_error *err;
    uint8_t *state;      /* by node */
    struct frame *stack; /* a node is on it at most once */
    size_t depth;
    uint32_t *order; /* old nodes in execution order, those of branches before their If */
    size_t n_order;
    uint32_t *new_block, *old_block; /* renumbering, both ways */
    size_t n_new_blocks;
    uint32_t *new_value; /* by old value; 0: dropped */
    struct om_map names; /* to the next suffix to try */
};

/* ---- outputs that need an Identity ---- */

/* A branch has to make what it gives; the graph has to make what it names. */
static bool needs_identity(const struct om_graph *g, uint32_t block, size_t output)
{
    const struct om_block *b = &g->blocks[block];
    const om_val v = b->outputs[output].val;
    const uint32_t node = g->values[v.id].node;

    if (node == OM_NO_NODE || g->nodes[node].block != block)
        return true;
    for (size_t i = 0; i < output; i++)
        if (b->outputs[i].val.id == v.id)
            return true;
    return false;
}

static int own_outputs(struct om_graph *g, struct om_error *err)
{
    for (uint32_t b = 0; b < g->n_blocks; b++) {
        for (size_t i = 0; i < g->blocks[b].n_outputs; i++) {
            const struct om_port *port = &g->blocks[b].outputs[i];
            om_val v = port->val;
            if (v.id == 0)
                return om_fail(err, OM_E_INTERNAL, "output \"%.*s\" has no value",
                               OM_SV(port->name));
            if (!needs_identity(g, b, i))
                continue;
            g->block = b;
            v = om_graph_emit(g, OM_OP_Identity, OM_SVL(""), &v, 1, NULL, 0);
            g->block = 0;
            OM_TRY(om_graph_check(g, err));
            g->blocks[b].outputs[i].val = v;
        }
    }
    return 0;
}

/* ---- the walk ---- */

/* Child i of a node: its inputs, then what its branches give. false at the end. */
static bool child(const struct om_graph *g, const struct om_node *n, size_t i, om_val *out)
{
    if (i < n->n_in) {
        *out = n->in[i];
        return true;
    }
    i -= n->n_in;
    for (uint32_t k = 0; k < n->n_attrs; k++) {
        const struct om_block *b;
        if (n->attrs[k].kind != OM_ATTR_BLOCK)
            continue;
        b = &g->blocks[n->attrs[k].i];
        if (i < b->n_outputs) {
            *out = b->outputs[i].val;
            return true;
        }
        i -= b->n_outputs;
    }
    return false;
}

static void push(struct finish *f, om_val v)
{
    const uint32_t node = f->g->values[v.id].node;

    if (v.id == 0 || node == OM_NO_NODE || f->state[node] != NEW)
        return;
    f->state[node] = OPEN;
    f->stack[f->depth++] = (struct frame){ .node = node };
}

/* Depth first with a stack of our own, as graphs are deep. A node comes after everything it uses;
 * what a branch uses of its parents is found through the If, and so comes before it. */
static int walk(struct finish *f, om_val from)
{
    const struct om_graph *g = f->g;
    om_val v;

    push(f, from);
    while (f->depth > 0) {
        struct frame *top = &f->stack[f->depth - 1];
        const uint32_t node = top->node;
        if (child(g, &g->nodes[node], top->next++, &v)) {
            const uint32_t used = g->values[v.id].node;
            if (v.id != 0 && used != OM_NO_NODE && f->state[used] == OPEN)
                return om_fail(f->err, OM_E_INTERNAL, "the graph has a cycle through %s",
                               om_op_name(g->nodes[used].op));
            push(f, v);
            continue;
        }
        f->state[node] = DONE;
        f->order[f->n_order++] = node;
        f->depth--;
    }
    return 0;
}

/* ---- renumbering ---- */

static void fill_blocks(struct finish *f)
{
    struct om_graph *g = f->g;

    for (size_t b = 0; b < g->n_blocks; b++)
        g->blocks[b].n_nodes = 0;
    for (size_t i = 0; i < f->n_order; i++) {
        struct om_block *b = &g->blocks[g->nodes[f->order[i]].block];
        b->nodes[b->n_nodes++] = f->order[i];
    }
}

/* Number the blocks as their Ifs appear, breadth first. */
static int number_blocks(struct finish *f)
{
    const struct om_graph *g = f->g;

    f->n_new_blocks = 1; /* block 0 stays */
    for (size_t b = 0; b < f->n_new_blocks; b++) {
        const struct om_block *block = &g->blocks[f->old_block[b]];
        for (size_t i = 0; i < block->n_nodes; i++) {
            const struct om_node *n = &g->nodes[block->nodes[i]];
            for (uint32_t k = 0; k < n->n_attrs; k++) {
                if (n->attrs[k].kind != OM_ATTR_BLOCK)
                    continue;
                if (f->new_block[n->attrs[k].i] != 0)
                    return om_fail(f->err, OM_E_INTERNAL, "a branch belongs to two nodes");
                f->new_block[n->attrs[k].i] = (uint32_t)f->n_new_blocks;
                f->old_block[f->n_new_blocks++] = (uint32_t)n->attrs[k].i;
            }
        }
    }
    return 0;
}

/* The arrays of the final graph. */
struct renumbered {
    struct om_value *values;
    struct om_node *nodes;
    struct om_weight *weights;
    struct om_block *blocks;
    size_t n_values, n_nodes, n_weights;
};

static void move_value(struct finish *f, struct renumbered *r, uint32_t old, uint32_t node,
                       uint32_t weight)
{
    struct om_value *v = &r->values[r->n_values];

    *v = f->g->values[old];
    v->node = node;
    v->weight = weight;
    f->new_value[old] = (uint32_t)r->n_values++;
}

/* Weights in the order of their first use. */
static void move_weights(struct finish *f, struct renumbered *r, const struct om_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const uint32_t id = n->in[i].id, weight = f->g->values[id].weight;
        if (id == 0 || weight == OM_NO_WEIGHT || f->new_value[id] != 0)
            continue;
        r->weights[r->n_weights] = f->g->weights[weight];
        move_value(f, r, id, OM_NO_NODE, (uint32_t)r->n_weights++);
    }
}

static void move_node(struct finish *f, struct renumbered *r, uint32_t old, uint32_t block)
{
    struct om_node *n = &r->nodes[r->n_nodes];

    *n = f->g->nodes[old];
    n->block = block;
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        struct om_attr *a = (struct om_attr *)&n->attrs[i]; /* the graph's own copy */
        if (a->kind == OM_ATTR_BLOCK)
            a->i = f->new_block[a->i];
    }
    for (uint32_t i = 0; i < n->n_out; i++)
        move_value(f, r, n->out[i].id, (uint32_t)r->n_nodes, OM_NO_WEIGHT);
    r->n_nodes++;
}

static void renumber_ports(const struct finish *f, struct om_port *ports, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ports[i].val.id = f->new_value[ports[i].val.id];
}

static void move_all(struct finish *f, struct renumbered *r)
{
    struct om_graph *g = f->g;

    r->values[0] = g->values[0];
    r->n_values = 1;
    for (size_t i = 0; i < g->n_inputs; i++)
        move_value(f, r, g->inputs[i].val.id, OM_NO_NODE, OM_NO_WEIGHT);
    for (size_t b = 0; b < f->n_new_blocks; b++) {
        const struct om_block *block = &g->blocks[f->old_block[b]];
        for (size_t i = 0; i < block->n_nodes; i++)
            move_weights(f, r, &g->nodes[block->nodes[i]]);
    }
    for (size_t b = 0; b < f->n_new_blocks; b++) {
        struct om_block *block = &g->blocks[f->old_block[b]];
        for (size_t i = 0; i < block->n_nodes; i++) {
            move_node(f, r, block->nodes[i], (uint32_t)b);
            block->nodes[i] = (uint32_t)(r->n_nodes - 1);
        }
        r->blocks[b] = *block;
        r->blocks[b].parent = f->new_block[block->parent];
        renumber_ports(f, block->outputs, block->n_outputs);
    }
    for (size_t i = 0; i < r->n_nodes; i++) {
        struct om_node *n = &r->nodes[i];
        for (uint32_t k = 0; k < n->n_in; k++)
            n->in[k].id = f->new_value[n->in[k].id];
        for (uint32_t k = 0; k < n->n_out; k++)
            n->out[k].id = f->new_value[n->out[k].id];
    }
    renumber_ports(f, g->inputs, g->n_inputs);
}

/* Put the new arrays in the place of the old ones; dropped blocks are freed. */
static void install(struct finish *f, struct renumbered *r)
{
    struct om_graph *g = f->g;

    for (size_t b = 1; b < g->n_blocks; b++) {
        if (f->new_block[b] != 0)
            continue;
        free(g->blocks[b].nodes);
        free(g->blocks[b].outputs);
    }
    free(g->values);
    free(g->nodes);
    free(g->weights);
    free(g->blocks);
    g->values = r->values;
    g->n_values = g->cap_values = r->n_values;
    g->nodes = r->nodes;
    g->n_nodes = g->cap_nodes = r->n_nodes;
    g->weights = r->weights;
    g->n_weights = g->cap_weights = r->n_weights;
    g->blocks = r->blocks;
    g->n_blocks = g->cap_blocks = f->n_new_blocks;
    om_map_release(&g->const_by_key);
    om_map_release(&g->weight_by_name);
}

static int renumber(struct finish *f)
{
    const struct om_graph *g = f->g;
    struct renumbered r;

    fill_blocks(f);
    OM_TRY(number_blocks(f));
    r = (struct renumbered){ .values = malloc(g->n_values * sizeof(*r.values)),
                             .nodes = malloc((g->n_nodes + 1) * sizeof(*r.nodes)),
                             .weights = malloc((g->n_weights + 1) * sizeof(*r.weights)),
                             .blocks = malloc(g->n_blocks * sizeof(*r.blocks)) };

    if (!r.values || !r.nodes || !r.weights || !r.blocks) {
        free(r.values);
        free(r.nodes);
        free(r.weights);
        free(r.blocks);
        return om_fail(f->err, OM_E_NOMEM, "out of memory for a graph");
    }
    move_all(f, &r);
    install(f, &r);
    return 0;
}

/* ---- names ---- */

static int no_memory(struct finish *f)
{
    return om_fail(f->err, OM_E_NOMEM, "out of memory for names");
}

/* Take name, or where it is taken name_1, name_2 ... */
static int claim(struct finish *f, om_sv name, om_sv *out)
{
    uint32_t suffix;

    *out = name;
    if (!om_map_get(&f->names, name, &suffix))
        return om_map_put(&f->names, name, 1) < 0 ? no_memory(f) : 0;
    do {
        const char *text = om_arena_printf(f->g->arena, "%.*s_%" PRIu32, OM_SV(name), suffix++);
        if (!text)
            return no_memory(f);
        *out = om_sv_str(text);
    } while (om_map_get(&f->names, *out, NULL));
    if (om_map_put(&f->names, name, suffix) < 0 || om_map_put(&f->names, *out, 1) < 0)
        return no_memory(f);
    return 0;
}

/* Take a name that must not change. */
static int claim_exactly(struct finish *f, om_sv name)
{
    if (om_map_get(&f->names, name, NULL))
        return om_fail(f->err, OM_E_FORMAT, "two inputs or outputs are named \"%.*s\"",
                       OM_SV(name));
    return om_map_put(&f->names, name, 1) < 0 ? no_memory(f) : 0;
}

static int name_ports(struct finish *f)
{
    struct om_graph *g = f->g;
    const struct om_block *main = &g->blocks[0];

    for (size_t i = 0; i < g->n_inputs; i++)
        OM_TRY(claim_exactly(f, g->inputs[i].name));
    for (size_t i = 0; i < main->n_outputs; i++) {
        OM_TRY(claim_exactly(f, main->outputs[i].name));
        g->values[main->outputs[i].val.id].name = main->outputs[i].name;
    }
    return 0;
}

static int name_weights(struct finish *f)
{
    struct om_graph *g = f->g;

    for (size_t i = 1; i < g->n_values; i++) {
        struct om_value *v = &g->values[i];
        struct om_weight *w;
        if (v->weight == OM_NO_WEIGHT)
            continue;
        w = &g->weights[v->weight];
        if (w->name.len > 0)
            OM_TRY(claim(f, w->name, &w->name));
        v->name = w->name;
        if (w->name.len > 0 && om_map_put(&g->weight_by_name, w->name, (uint32_t)i) < 0)
            return no_memory(f);
    }
    return 0;
}

/* Constants are numbered by first use, after everything that has a name of its own. */
static int name_constants(struct finish *f)
{
    struct om_graph *g = f->g;
    unsigned number = 0;

    for (size_t i = 1; i < g->n_values; i++) {
        struct om_value *v = &g->values[i];
        const char *text;
        if (v->weight == OM_NO_WEIGHT || v->name.len > 0)
            continue;
        text = om_arena_printf(g->arena, "constant_%u", number++);
        if (!text)
            return no_memory(f);
        OM_TRY(claim(f, om_sv_str(text), &v->name));
        g->weights[v->weight].name = v->name;
    }
    return 0;
}

static bool is_port(const struct om_graph *g, uint32_t value)
{
    for (size_t i = 0; i < g->blocks[0].n_outputs; i++)
        if (g->blocks[0].outputs[i].val.id == value)
            return true;
    return false;
}

static int name_value(struct finish *f, const struct om_node *n, uint32_t i)
{
    struct om_value *v = &f->g->values[n->out[i].id];
    const char *text;

    if (v->name.len > 0 && is_port(f->g, n->out[i].id))
        return 0;
    if (v->name.len > 0 && !om_map_get(&f->names, v->name, NULL))
        return claim(f, v->name, &v->name);
    text = om_arena_printf(f->g->arena, "%.*s_output_%" PRIu32, OM_SV(n->name), i);
    return text ? claim(f, om_sv_str(text), &v->name) : no_memory(f);
}

static int name_values(struct finish *f)
{
    for (size_t k = 0; k < f->g->n_nodes; k++)
        for (uint32_t i = 0; i < f->g->nodes[k].n_out; i++)
            OM_TRY(name_value(f, &f->g->nodes[k], i));
    return 0;
}

static int name_nodes(struct finish *f)
{
    struct om_graph *g = f->g;

    for (size_t i = 0; i < g->n_nodes; i++) {
        struct om_node *n = &g->nodes[i];
        if (n->name.len == 0) {
            const char *text = om_arena_printf(g->arena, "%s%.*s/%s", n->scope.len ? "/" : "",
                                               OM_SV(n->scope), om_op_name(n->op));
            if (!text)
                return no_memory(f);
            n->name = om_sv_str(text);
        }
        OM_TRY(claim(f, n->name, &n->name));
    }
    return 0;
}

/* Nodes and values have name spaces of their own. */
static int name_all(struct finish *f)
{
    struct om_graph *g = f->g;

    OM_TRY(name_nodes(f));
    om_map_release(&f->names);
    OM_TRY(name_ports(f));
    OM_TRY(name_weights(f));
    OM_TRY(name_values(f));
    OM_TRY(name_constants(f));
    for (size_t b = 1; b < g->n_blocks; b++)
        for (size_t i = 0; i < g->blocks[b].n_outputs; i++)
            g->blocks[b].outputs[i].name = g->values[g->blocks[b].outputs[i].val.id].name;
    return 0;
}

static int run(struct finish *f)
{
    const struct om_block *main = &f->g->blocks[0];

    for (size_t i = 0; i < main->n_outputs; i++)
        OM_TRY(walk(f, main->outputs[i].val));
    OM_TRY(renumber(f));
    return name_all(f);
}

int om_graph_finish(struct om_graph *g, struct om_error *err)
{
    struct finish f = { .g = g, .err = err };
    int rc = om_graph_check(g, err);

    if (rc == 0 && g->block != 0)
        rc = om_fail(err, OM_E_INTERNAL, "a branch is not ended");
    if (rc == 0)
        rc = own_outputs(g, err);
    if (rc < 0)
        return rc;
    f.state = calloc(g->n_nodes + 1, sizeof(*f.state));
    f.stack = calloc(g->n_nodes + 1, sizeof(*f.stack));
    f.order = calloc(g->n_nodes + 1, sizeof(*f.order));
    f.new_block = calloc(g->n_blocks, sizeof(*f.new_block));
    f.old_block = calloc(g->n_blocks, sizeof(*f.old_block));
    f.new_value = calloc(g->n_values, sizeof(*f.new_value));
    if (!f.state || !f.stack || !f.order || !f.new_block || !f.old_block || !f.new_value)
        rc = om_fail(err, OM_E_NOMEM, "out of memory for a graph");
    else
        rc = run(&f);
    if (rc < 0)
        om_graph_fail(g, rc, "the graph could not be finished");
    free(f.state);
    free(f.stack);
    free(f.order);
    free(f.new_block);
    free(f.old_block);
    free(f.new_value);
    om_map_release(&f.names);
    return rc;
}
