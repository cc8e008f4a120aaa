/* src/ir/verify.c: is a finished graph what the rest of the program takes it for? */
#include "ir/internal.h"

#include <stdlib.h>

struct check {
    const struct om_graph *g;
    struct om_error *err;
    uint8_t *defined; /* by value, in the order of execution */
    uint8_t *entered; /* by block */
    struct om_map names;
};

static int broken(struct check *c, const struct om_node *n, const char *what)
{
    return om_fail(c->err, OM_E_INTERNAL, "%.*s (%s): %s", OM_SV(n->name), om_op_name(n->op), what);
}

static int claim(struct check *c, om_sv name, uint32_t id)
{
    if (om_map_put(&c->names, name, id) < 0)
        return om_fail(c->err, OM_E_NOMEM, "out of memory to verify a graph");
    return 0;
}

/* ---- values ---- */

static int check_value(struct check *c, uint32_t id)
{
    const struct om_graph *g = c->g;
    const struct om_value *v = &g->values[id];

    if (v->dtype <= OM_DTYPE_NONE || v->dtype >= OM_DTYPE_COUNT || v->rank > OM_RANK_MAX)
        return om_fail(c->err, OM_E_INTERNAL, "value %" PRIu32 " has no type", id);
    for (uint32_t i = 0; i < v->rank; i++)
        if (v->dims[i] == 0)
            return om_fail(c->err, OM_E_INTERNAL,
                           "value %" PRIu32 ": axis %" PRIu32 " has no extent", id, i);
    if (v->node != OM_NO_NODE && (v->node >= g->n_nodes || v->weight != OM_NO_WEIGHT))
        return om_fail(c->err, OM_E_INTERNAL, "value %" PRIu32 " has no producer", id);
    if (v->weight != OM_NO_WEIGHT && v->weight >= g->n_weights)
        return om_fail(c->err, OM_E_INTERNAL, "value %" PRIu32 " has no weight", id);
    if (v->name.len == 0)
        return om_fail(c->err, OM_E_INTERNAL, "value %" PRIu32 " has no name", id);
    if (om_map_get(&c->names, v->name, NULL))
        return om_fail(c->err, OM_E_INTERNAL, "two values are named \"%.*s\"", OM_SV(v->name));
    return claim(c, v->name, id);
}

static int check_weight(struct check *c, uint32_t id)
{
    const struct om_value *v = &c->g->values[id];
    const struct om_weight *w = &c->g->weights[v->weight];
    bool same = v->dtype == w->dtype && v->rank == w->rank && om_sv_eq(v->name, w->name);
    int64_t extent;

    for (uint32_t i = 0; same && i < w->rank; i++)
        same = om_dim_is_const(c->g->dims, v->dims[i], &extent) && extent == w->dims[i];
    if (!same)
        return om_fail(c->err, OM_E_INTERNAL, "weight \"%.*s\" and its value differ",
                       OM_SV(w->name));
    return om_wrap(c->err, om_weight_check(w, c->err), "weight \"%.*s\"", OM_SV(w->name));
}

static int check_values(struct check *c)
{
    for (uint32_t i = 1; i < c->g->n_values; i++) {
        const struct om_value *v = &c->g->values[i];
        OM_TRY(check_value(c, i));
        if (v->weight != OM_NO_WEIGHT)
            OM_TRY(check_weight(c, i));
        c->defined[i] = v->node == OM_NO_NODE;
    }
    return 0;
}

/* ---- nodes ---- */

static int check_operands(struct check *c, const struct om_node *n, uint32_t index)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const uint32_t id = n->in[i].id;
        if (id >= c->g->n_values)
            return broken(c, n, "an input is out of range");
        if (id == 0 && om_input_required(n->op, i))
            return broken(c, n, "an input is missing");
        if (id != 0 && !c->defined[id])
            return broken(c, n, "an input is used before it is computed");
        if (id != 0 && !om_block_sees(c->g, n->block, n->in[i]))
            return broken(c, n, "an input belongs to another branch");
    }
    for (uint32_t i = 0; i < n->n_out; i++) {
        const uint32_t id = n->out[i].id;
        if (id == 0 || id >= c->g->n_values || c->g->values[id].node != index || c->defined[id])
            return broken(c, n, "an output is not its own");
    }
    return 0;
}

static bool same_dim(const struct om_graph *g, om_dim a, om_dim b)
{
    return a == b || (om_dim_is_unknown(g->dims, a) && om_dim_is_unknown(g->dims, b));
}

static bool same_type(const struct om_graph *g, const struct om_value *a, const struct om_value *b)
{
    bool same = a->dtype == b->dtype && a->rank == b->rank && a->n_content == b->n_content;

    for (uint32_t i = 0; same && i < a->rank; i++)
        same = same_dim(g, a->dims[i], b->dims[i]);
    for (uint32_t i = 0; same && i < a->n_content; i++)
        same = same_dim(g, a->content[i], b->content[i]);
    return same;
}

/* Infer once more, into a copy of the values. */
static int check_types(struct check *c, struct om_graph *shadow, const struct om_node *n)
{
    const int rc = om_infer(shadow, n, c->err);

    if (rc < 0)
        return om_wrap(c->err, rc, "%.*s", OM_SV(n->name));
    for (uint32_t i = 0; i < n->n_out; i++) {
        const uint32_t id = n->out[i].id;
        const bool same = same_type(c->g, &c->g->values[id], &shadow->values[id]);
        shadow->values[id] = c->g->values[id];
        if (!same)
            return broken(c, n, "an output has another type or shape than inference gives");
    }
    return 0;
}

static int check_block(struct check *c, struct om_graph *shadow, uint32_t index);

static int check_branches(struct check *c, struct om_graph *shadow, const struct om_node *n)
{
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        const struct om_attr *a = &n->attrs[i];
        if (a->kind != OM_ATTR_BLOCK)
            continue;
        if (a->i < 1 || (uint64_t)a->i >= c->g->n_blocks || c->g->blocks[a->i].parent != n->block)
            return broken(c, n, "a branch is out of range");
        if (c->entered[a->i])
            return broken(c, n, "a branch belongs to two nodes");
        OM_TRY(check_block(c, shadow, (uint32_t)a->i));
    }
    return 0;
}

static int check_node(struct check *c, struct om_graph *shadow, uint32_t index, uint32_t block)
{
    const struct om_node *n = &c->g->nodes[index];
    int rc;

    if (n->block != block)
        return broken(c, n, "it is listed in another block than its own");
    rc = om_check_arity(n->op, n->n_in, n->n_out, c->err);
    if (rc < 0)
        return om_wrap(c->err, rc, "%.*s", OM_SV(n->name));
    OM_TRY(check_operands(c, n, index));
    OM_TRY(check_branches(c, shadow, n));
    OM_TRY(check_types(c, shadow, n));
    for (uint32_t i = 0; i < n->n_out; i++)
        c->defined[n->out[i].id] = true;
    return 0;
}

static int check_outputs(struct check *c, uint32_t index)
{
    const struct om_block *b = &c->g->blocks[index];

    for (size_t i = 0; i < b->n_outputs; i++) {
        const struct om_port *p = &b->outputs[i];
        const uint32_t id = p->val.id;
        if (id == 0 || id >= c->g->n_values || !c->defined[id] ||
            c->g->values[id].node == OM_NO_NODE ||
            c->g->nodes[c->g->values[id].node].block != index)
            return om_fail(c->err, OM_E_INTERNAL, "output \"%.*s\" is not computed in its block",
                           OM_SV(p->name));
        if (!om_sv_eq(p->name, c->g->values[id].name))
            return om_fail(c->err, OM_E_INTERNAL, "output \"%.*s\" has a value named \"%.*s\"",
                           OM_SV(p->name), OM_SV(c->g->values[id].name));
    }
    return 0;
}

static int check_block(struct check *c, struct om_graph *shadow, uint32_t index)
{
    const struct om_block *b = &c->g->blocks[index];

    c->entered[index] = true;
    for (size_t i = 0; i < b->n_nodes; i++) {
        if (b->nodes[i] >= c->g->n_nodes)
            return om_fail(c->err, OM_E_INTERNAL, "block %" PRIu32 " lists an unknown node", index);
        OM_TRY(check_node(c, shadow, b->nodes[i], index));
    }
    return check_outputs(c, index);
}

static int check_inputs(struct check *c)
{
    for (size_t i = 0; i < c->g->n_inputs; i++) {
        const struct om_port *p = &c->g->inputs[i];
        const struct om_value *v = om_graph_value(c->g, p->val);
        if (p->val.id == 0 || v->node != OM_NO_NODE || v->weight != OM_NO_WEIGHT ||
            !om_sv_eq(p->name, v->name))
            return om_fail(c->err, OM_E_INTERNAL, "input \"%.*s\" is not an input", OM_SV(p->name));
    }
    return 0;
}

static int check_node_names(struct check *c)
{
    om_map_release(&c->names);
    for (uint32_t i = 0; i < c->g->n_nodes; i++) {
        const om_sv name = c->g->nodes[i].name;
        if (name.len == 0 || om_map_get(&c->names, name, NULL))
            return om_fail(c->err, OM_E_INTERNAL, "two nodes are named \"%.*s\"", OM_SV(name));
        OM_TRY(claim(c, name, i));
    }
    return 0;
}

static int check_all(struct check *c, struct om_graph *shadow)
{
    OM_TRY(check_values(c));
    OM_TRY(check_inputs(c));
    OM_TRY(check_block(c, shadow, 0));
    return check_node_names(c);
}

int om_graph_verify(const struct om_graph *g, struct om_error *err)
{
    struct om_graph shadow = *g;
    struct check c = { .g = g, .err = err };
    int rc = om_graph_check(g, err);

    if (rc < 0)
        return rc;
    shadow.values = malloc(g->n_values * sizeof(*shadow.values));
    c.defined = calloc(g->n_values, sizeof(*c.defined));
    c.entered = calloc(g->n_blocks, sizeof(*c.entered));
    if (!shadow.values || !c.defined || !c.entered) {
        rc = om_fail(err, OM_E_NOMEM, "out of memory to verify a graph");
    } else {
        memcpy(shadow.values, g->values, g->n_values * sizeof(*shadow.values));
        rc = check_all(&c, &shadow);
    }
    free(shadow.values);
    free(c.defined);
    free(c.entered);
    om_map_release(&c.names);
    return rc;
}
