/* src/ir/rewrite.c: see rewrite.h. */
#include "ir/rewrite.h"

uint32_t om_rewrite_block(const struct om_graph *h, om_val v)
{
    const uint32_t node = om_graph_value(h, v)->node;

    return node == OM_NO_NODE ? 0 : h->nodes[node].block;
}

#define SHARED_MAX ((uint64_t)1 << 20)

/* Constants are shared by contents in the new graph as they were in the old one; weights keep their
 * names, and what is large is not copied. */
static om_val carry_weight(struct om_graph *h, const struct om_weight *w)
{
    if (w->file || w->strides || w->n_parts > 0 || w->src_dtype != w->dtype ||
        w->bytes > SHARED_MAX)
        return om_graph_weight(h, w);
    return om_graph_const(h, w->dtype, w->dims, w->rank, w->data);
}

om_val om_rewrite_use(struct om_rewrite *r, om_val v)
{
    const struct om_value *value = om_graph_value(r->g, v);

    if (v.id != 0 && r->map[v.id].id == 0 && value->weight != OM_NO_WEIGHT)
        r->map[v.id] = carry_weight(r->h, &r->g->weights[value->weight]);
    return r->map[v.id];
}

/* Inputs and outputs of a node in the arena, since their number has no bound. */
static om_val *node_values(struct om_rewrite *r, uint32_t n)
{
    om_val *v = om_arena_array(r->h->arena, n, sizeof(*v));

    if (!v)
        om_graph_fail(r->h, OM_E_NOMEM, "out of memory for a graph");
    return v;
}

static void emit(struct om_rewrite *r, const struct om_node *n, const struct om_attr *attrs)
{
    om_val *in = node_values(r, n->n_in), *out = node_values(r, n->n_out);

    if (!in || !out)
        return;
    for (uint32_t i = 0; i < n->n_in; i++)
        in[i] = r->use(r, n->in[i]);
    om_graph_emit_n(r->h, n->op, n->scope, in, n->n_in, attrs, n->n_attrs, out, n->n_out);
    for (uint32_t i = 0; i < n->n_out; i++)
        r->map[n->out[i].id] = out[i];
}

void om_rewrite_copy(struct om_rewrite *r, const struct om_node *n)
{
    emit(r, n, n->attrs);
}

static void walk(struct om_rewrite *r, uint32_t block);

static void walk_if(struct om_rewrite *r, const struct om_node *n)
{
    struct om_attr *attrs = om_arena_copy(r->h->arena, n->attrs, n->n_attrs * sizeof(*attrs));

    if (!attrs) {
        om_graph_fail(r->h, OM_E_NOMEM, "out of memory for a graph");
        return;
    }
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        if (attrs[i].kind != OM_ATTR_BLOCK)
            continue;
        const uint32_t old = (uint32_t)attrs[i].i;
        attrs[i].i = r->blocks[old] = om_graph_block_begin(r->h, r->g->blocks[old].name);
        walk(r, old);
        om_graph_block_end(r->h);
    }
    emit(r, n, attrs);
    if (r->made)
        r->made(r, n);
}

static void walk(struct om_rewrite *r, uint32_t block)
{
    const struct om_block *b = &r->g->blocks[block];
    struct om_graph *h = r->h;

    for (size_t i = 0; i < b->n_nodes && h->rc == 0; i++) {
        const struct om_node *n = &r->g->nodes[b->nodes[i]];
        if (n->op == OM_OP_If)
            walk_if(r, n);
        else
            r->node(r, n);
    }
    for (size_t i = 0; i < b->n_outputs && h->rc == 0; i++) {
        om_graph_output(h, b->outputs[i].name, r->use(r, b->outputs[i].val), b->outputs[i].dims);
        if (h->rc == 0) {
            const struct om_block *made = &h->blocks[h->block];
            made->outputs[made->n_outputs - 1].axes = b->outputs[i].axes;
        }
    }
}

static void carry_inputs(struct om_rewrite *r)
{
    for (size_t i = 0; i < r->g->n_inputs && r->h->rc == 0; i++) {
        const struct om_port *p = &r->g->inputs[i];
        const struct om_value *v = om_graph_value(r->g, p->val);
        r->map[p->val.id] = om_graph_input(r->h, p->name, v->dtype, v->dims, v->rank);
        if (r->h->rc == 0) {
            struct om_port *made = &r->h->inputs[i];
            made->dims = p->dims;
            made->axes = p->axes;
            made->limit = p->limit;
        }
    }
}

int om_rewrite_init(struct om_rewrite *r, const struct om_graph *g, struct om_error *err)
{
    *r = (struct om_rewrite){ .g = g, .node = om_rewrite_copy, .use = om_rewrite_use };
    r->map = om_arena_array(g->arena, g->n_values, sizeof(*r->map));
    r->blocks = om_arena_array(g->arena, g->n_blocks, sizeof(*r->blocks));
    if (!r->map || !r->blocks)
        return om_fail(err, OM_E_NOMEM, "out of memory for a graph");
    OM_TRY(om_graph_new(g->arena, g->dims, g->name, &r->h, err));
    carry_inputs(r);
    return 0;
}

void om_rewrite_abort(struct om_rewrite *r)
{
    om_graph_free(r->h);
    r->h = NULL;
}

int om_rewrite_run(struct om_rewrite *r, struct om_graph **out, struct om_error *err)
{
    int rc;

    if (r->h->rc == 0)
        walk(r, 0);
    rc = om_graph_check(r->h, err);
    if (rc == 0)
        rc = om_graph_finish(r->h, err);
    if (rc < 0)
        om_rewrite_abort(r);
    else
        *out = r->h;
    return rc;
}
