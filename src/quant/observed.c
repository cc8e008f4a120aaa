/* src/quant/observed.c: the document gets more outputs, is written, and is as it was.
 *
 * A value of a branch becomes another output of its If: an Identity gives it there, an empty tensor
 * in the other branch; and so on outwards. */
#include "quant/observed.h"

#include <stdlib.h>

#include "base/wire.h"
#include "onnx/schema.h"

/* What is put back. */
struct kept_graph {
    struct om_doc_graph *g;
    size_t n_nodes, n_tensors;
    struct om_doc_ports outputs;
};

struct kept_node {
    struct om_doc_graph *g;
    size_t at;
    om_sv *out;
    uint32_t n_out;
};

struct observed {
    struct om_quant_job *j;
    size_t n; /* values */
    struct kept_graph *graphs;
    size_t n_graphs, cap_graphs;
    struct kept_node *nodes; /* with graphs in them */
    size_t n_nodes, cap_nodes;
    size_t numbers; /* of new names */
};

static int keep_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct observed *const o = user;
    struct om_doc_port *ports;

    (void)err;
    if (!om_grow(&o->graphs, &o->cap_graphs, o->n_graphs + 1, sizeof(*o->graphs)))
        return om_quant_no_memory(o->j);
    o->graphs[o->n_graphs++] = (struct kept_graph){ g, g->nodes.len, g->tensors.len, g->outputs };
    ports = om_arena_array(o->j->arena, g->outputs.len + o->n + 1, sizeof(*ports));
    if (!ports)
        return om_quant_no_memory(o->j);
    if (g->outputs.len > 0)
        memcpy(ports, g->outputs.items, g->outputs.len * sizeof(*ports));
    g->outputs.items = ports;
    for (size_t i = 0; i < g->nodes.len; i++) {
        const struct om_doc_node *const n = &g->nodes.items[i];

        if (!om_sv_is(n->op, "If"))
            continue;
        if (!om_grow(&o->nodes, &o->cap_nodes, o->n_nodes + 1, sizeof(*o->nodes)))
            return om_quant_no_memory(o->j);
        o->nodes[o->n_nodes++] = (struct kept_node){ g, i, n->out, n->n_out };
    }
    return 0;
}

static void put_back(const struct observed *o)
{
    for (size_t i = 0; i < o->n_nodes; i++) {
        o->nodes[i].g->nodes.items[o->nodes[i].at].out = o->nodes[i].out;
        o->nodes[i].g->nodes.items[o->nodes[i].at].n_out = o->nodes[i].n_out;
    }
    for (size_t i = 0; i < o->n_graphs; i++) {
        struct om_doc_graph *const g = o->graphs[i].g;

        g->nodes.len = o->graphs[i].n_nodes;
        g->tensors.len = o->graphs[i].n_tensors;
        g->outputs = o->graphs[i].outputs;
    }
}

static int add_output(struct om_quant_job *j, struct om_doc_graph *g, om_sv name)
{
    struct om_buf b = OM_BUF_INIT(1u << 20);
    struct om_doc_ports *const p = &g->outputs;
    const char *copy;

    om_wire_put_bytes(&b, PB_VALUE_NAME, name);
    const size_t type = om_wire_begin(&b, PB_VALUE_TYPE);
    const size_t tensor = om_wire_begin(&b, PB_TYPE_TENSOR_TYPE);
    om_wire_put_int(&b, PB_TENSOR_TYPE_ELEM, OM_Q_F32);
    om_wire_end(&b, tensor);
    om_wire_end(&b, type);
    copy = b.failed ? NULL : om_arena_copy(j->arena, b.ptr, b.len);
    if (copy)
        p->items[p->len++] =
            (struct om_doc_port){ .name = name, .type = OM_Q_F32, .message = { copy, b.len } };
    om_buf_release(&b);
    return copy ? 0 : om_quant_no_memory(j);
}

static bool is_port(const struct om_doc_ports *ports, om_sv name)
{
    for (size_t i = 0; i < ports->len; i++)
        if (om_sv_eq(ports->items[i].name, name))
            return true;
    return false;
}

/* g gives the value from as to. */
static int give(struct observed *o, struct om_doc_graph *g, om_sv from, om_sv to)
{
    struct om_doc_node *const n = om_doc_add_node(o->j->doc, g);

    if (!n)
        return om_quant_no_memory(o->j);
    n->op = om_sv_str("Identity");
    n->in = om_arena_copy(o->j->arena, &from, sizeof(from));
    n->out = om_arena_copy(o->j->arena, &to, sizeof(to));
    n->n_in = n->n_out = 1;
    return n->in && n->out ? add_output(o->j, g, to) : om_quant_no_memory(o->j);
}

static int give_empty(struct observed *o, struct om_doc_graph *g, om_sv to)
{
    static const int64_t none = 0;
    const om_sv empty = om_doc_text(o->j->doc, "%.*s_empty", OM_SV(to));

    if (empty.len == 0 || !om_doc_add_const(o->j->doc, g, empty, OM_Q_F32, &none, 1, ""))
        return om_quant_no_memory(o->j);
    return give(o, g, empty, to);
}

/* The If that g is a branch of; NULL: g is something else. */
static struct om_doc_node *node_around(const struct om_doc_graph *g)
{
    for (size_t i = 0; i < g->parent->nodes.len; i++) {
        struct om_doc_node *const n = &g->parent->nodes.items[i];

        for (uint32_t k = 0; k < n->n_attrs; k++)
            for (uint32_t m = 0; m < n->attrs[k].n_graphs; m++)
                if (n->attrs[k].graphs[m] == g)
                    return om_sv_is(n->op, "If") && n->domain.len == 0 ? n : NULL;
    }
    return NULL;
}

static int add_node_output(struct observed *o, struct om_doc_node *n, om_sv name)
{
    om_sv *const out = om_arena_array(o->j->arena, n->n_out + 1, sizeof(*out));

    if (!out)
        return om_quant_no_memory(o->j);
    memcpy(out, n->out, n->n_out * sizeof(*out));
    out[n->n_out++] = name;
    n->out = out;
    return 0;
}

/* The value of a branch as another output of its If. */
static int leave_branch(struct observed *o, struct om_doc_graph *g, om_sv value,
                        struct om_doc_node *n, om_sv *seen_as)
{
    const om_sv name = om_doc_text(o->j->doc, "%.*s_seen_%zu", OM_SV(value), o->numbers++);

    if (name.len == 0)
        return om_quant_no_memory(o->j);
    for (uint32_t k = 0; k < n->n_attrs; k++)
        for (uint32_t m = 0; m < n->attrs[k].n_graphs; m++) {
            struct om_doc_graph *const branch = n->attrs[k].graphs[m];
            const om_sv inner = om_doc_text(o->j->doc, "%.*s_%u_%u", OM_SV(name), k, m);

            if (inner.len == 0)
                return om_quant_no_memory(o->j);
            OM_TRY(branch == g ? give(o, g, value, inner) : give_empty(o, branch, inner));
        }
    *seen_as = name;
    return add_node_output(o, n, name);
}

static int show(struct observed *o, struct om_range *r)
{
    struct om_doc_graph *g = r->graph;
    om_sv name = r->name;

    r->seen_as = (om_sv){ "", 0 };
    for (const struct om_doc_graph *around = g; around->parent; around = around->parent)
        if (!node_around(around))
            return 0;
    for (; g->parent; g = g->parent)
        OM_TRY(leave_branch(o, g, name, node_around(g), &name));
    r->seen_as = name;
    return is_port(&g->outputs, name) || is_port(&g->inputs, name) ? 0 : add_output(o->j, g, name);
}

static int write(struct observed *o, struct om_range *ranges, struct om_out *out)
{
    const struct om_doc_write_opts opts = { .data = NULL };

    OM_TRY(om_doc_walk(o->j->doc->graph, keep_graph, o, o->j->err));
    for (size_t i = 0; i < o->n; i++)
        OM_TRY(show(o, &ranges[i]));
    return om_doc_write(o->j->doc, &opts, out, o->j->err);
}

int om_observed_write(struct om_quant_job *j, struct om_range *ranges, size_t n, struct om_out *out)
{
    struct observed o = { .j = j, .n = n };
    const int rc = write(&o, ranges, out);

    put_back(&o);
    free(o.graphs);
    free(o.nodes);
    return rc == 0 ? om_out_flush(out, j->err) : rc;
}
