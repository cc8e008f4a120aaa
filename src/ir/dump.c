/* src/ir/dump.c: a graph as text: ports and weights at the head, then one node per line, branches
 * indented. */
#include "ir/internal.h"

static void put_name(struct om_buf *b, om_sv name)
{
    om_buf_add(b, name.ptr, name.len);
}

static void put_dims(const struct om_graph *g, struct om_buf *b, const om_dim *dims, uint32_t rank)
{
    om_buf_addc(b, '[');
    for (uint32_t i = 0; i < rank; i++) {
        if (i > 0)
            om_buf_adds(b, ", ");
        om_dim_write(g->dims, dims[i], b);
    }
    om_buf_addc(b, ']');
}

static void put_type(const struct om_graph *g, struct om_buf *b, const struct om_value *v)
{
    om_buf_adds(b, om_dtype_text(v->dtype));
    put_dims(g, b, v->dims, v->rank);
}

/* ---- the head ---- */

static void put_inputs(const struct om_graph *g, struct om_buf *b)
{
    for (size_t i = 0; i < g->n_inputs; i++) {
        om_buf_adds(b, "input ");
        put_name(b, g->inputs[i].name);
        om_buf_adds(b, ": ");
        put_type(g, b, om_graph_value(g, g->inputs[i].val));
        om_buf_addc(b, '\n');
    }
}

static void put_outputs(const struct om_graph *g, struct om_buf *b)
{
    for (size_t i = 0; i < g->blocks[0].n_outputs; i++) {
        const struct om_port *p = &g->blocks[0].outputs[i];
        const struct om_value *v = om_graph_value(g, p->val);
        om_buf_adds(b, "output ");
        put_name(b, p->name);
        om_buf_printf(b, ": %s", om_dtype_text(v->dtype));
        put_dims(g, b, p->dims ? p->dims : v->dims, v->rank);
        om_buf_addc(b, '\n');
    }
}

#define SHOWN_MAX 16 /* elements of a constant that are written */

static void put_element(struct om_buf *b, const struct om_weight *w, int64_t i)
{
    const uint8_t *p = w->data;
    const uint32_t bits = w->dtype == OM_F32 ? om_le32(p + i * 4) : 0;
    float f;

    memcpy(&f, &bits, sizeof(f));
    if (w->dtype == OM_F32)
        om_buf_printf(b, "%.9g", (double)f);
    else
        om_buf_printf(b, "%" PRId64, om_content_load(w->data, w->dtype, i));
}

/* The elements of a small computed constant. */
static void put_elements(struct om_buf *b, const struct om_weight *w)
{
    int64_t n;

    if (w->file || !w->data || w->strides || w->n_parts > 0 ||
        (w->dtype != OM_F32 && !om_content_dtype(w->dtype)) || w->src_dtype != w->dtype ||
        !om_count(w->dims, w->rank, &n) || n > SHOWN_MAX)
        return;
    om_buf_adds(b, " =");
    for (int64_t i = 0; i < n; i++) {
        om_buf_addc(b, ' ');
        put_element(b, w, i);
    }
}

/* Where the axes of a view lie in its source. */
static void put_strides(struct om_buf *b, const struct om_weight *w)
{
    if (!w->strides)
        return;
    if (w->rank == 2 && w->strides[0] == 1 && w->strides[1] == w->dims[0]) {
        om_buf_adds(b, " transposed");
        return;
    }
    om_buf_adds(b, " strided");
    for (uint32_t k = 0; k < w->rank; k++)
        om_buf_printf(b, "%s%" PRId64, k ? ", " : " [", w->strides[k]);
    om_buf_addc(b, ']');
}

static void put_weights(const struct om_graph *g, struct om_buf *b)
{
    for (size_t i = 0; i < g->n_weights; i++) {
        const struct om_weight *w = &g->weights[i];
        om_buf_adds(b, w->file ? "weight " : "constant ");
        put_name(b, w->name);
        om_buf_printf(b, ": %s[", om_dtype_text(w->dtype));
        for (uint32_t k = 0; k < w->rank; k++)
            om_buf_printf(b, "%s%" PRId64, k ? ", " : "", w->dims[k]);
        om_buf_addc(b, ']');
        if (w->src_dtype != w->dtype)
            om_buf_printf(b, " cast from %s", om_dtype_text(w->src_dtype));
        put_strides(b, w);
        if (w->n_parts > 0)
            om_buf_printf(b, " of %" PRIu32 " parts", w->n_parts);
        put_elements(b, w);
        om_buf_addc(b, '\n');
    }
}

/* ---- nodes ---- */

static void put_attr_value(const struct om_graph *g, struct om_buf *b, const struct om_attr *a)
{
    switch (a->kind) {
    case OM_ATTR_INT:
        om_buf_printf(b, "%" PRId64, a->i);
        break;
    case OM_ATTR_FLOAT:
        om_buf_printf(b, "%.9g", a->f);
        break;
    case OM_ATTR_STRING:
        om_buf_json_string(b, a->s);
        break;
    case OM_ATTR_INTS:
        om_buf_addc(b, '[');
        for (uint32_t i = 0; i < a->n; i++)
            om_buf_printf(b, "%s%" PRId64, i ? ", " : "", a->ints[i]);
        om_buf_addc(b, ']');
        break;
    case OM_ATTR_DIMS:
        put_dims(g, b, a->dims, a->n);
        break;
    case OM_ATTR_TENSOR:
        om_buf_adds(b, om_dtype_text(a->tensor->dtype));
        put_elements(b, a->tensor);
        break;
    case OM_ATTR_BLOCK:
        om_buf_printf(b, "block %" PRId64, a->i);
        break;
    }
}

/* Attributes in the order of their names, whoever made the node. */
static void put_attrs(const struct om_graph *g, struct om_buf *b, const struct om_node *n)
{
    const char *last = "";

    for (uint32_t k = 0; k < n->n_attrs; k++) {
        const struct om_attr *next = NULL;
        for (uint32_t i = 0; i < n->n_attrs; i++)
            if (strcmp(n->attrs[i].name, last) > 0 &&
                (!next || strcmp(n->attrs[i].name, next->name) < 0))
                next = &n->attrs[i];
        if (!next)
            return;
        om_buf_printf(b, " %s=", next->name);
        put_attr_value(g, b, next);
        last = next->name;
    }
}

static void put_node(const struct om_graph *g, struct om_buf *b, const struct om_node *n,
                     unsigned indent)
{
    om_buf_printf(b, "%*s", (int)indent, "");
    for (uint32_t i = 0; i < n->n_out; i++) {
        const struct om_value *v = om_graph_value(g, n->out[i]);
        if (i > 0)
            om_buf_adds(b, ", ");
        put_name(b, v->name);
        om_buf_adds(b, ": ");
        put_type(g, b, v);
    }
    om_buf_printf(b, " = %s(", om_op_name(n->op));
    for (uint32_t i = 0; i < n->n_in; i++) {
        if (i > 0)
            om_buf_adds(b, ", ");
        put_name(b, n->in[i].id ? om_graph_value(g, n->in[i])->name : OM_SVL("none"));
    }
    om_buf_addc(b, ')');
    put_attrs(g, b, n);
    om_buf_addc(b, '\n');
}

#define NESTING_MAX 32 /* of branches that are written */

static void put_block(const struct om_graph *g, struct om_buf *b, uint32_t index, unsigned depth)
{
    const struct om_block *block = &g->blocks[index];
    const unsigned indent = depth * 2;

    for (size_t i = 0; i < block->n_nodes; i++) {
        const struct om_node *n = &g->nodes[block->nodes[i]];
        put_node(g, b, n, indent);
        for (uint32_t k = 0; k < n->n_attrs && depth < NESTING_MAX; k++) {
            if (n->attrs[k].kind != OM_ATTR_BLOCK)
                continue;
            om_buf_printf(b, "%*sblock %" PRId64 " (%s):\n", (int)indent + 2, "", n->attrs[k].i,
                          n->attrs[k].name);
            put_block(g, b, (uint32_t)n->attrs[k].i, depth + 2);
        }
    }
    if (index == 0)
        return;
    om_buf_printf(b, "%*sgives", (int)indent, "");
    for (size_t i = 0; i < block->n_outputs; i++) {
        om_buf_addc(b, ' ');
        put_name(b, block->outputs[i].name);
    }
    om_buf_addc(b, '\n');
}

void om_graph_dump(const struct om_graph *g, struct om_buf *b)
{
    om_buf_adds(b, "graph ");
    put_name(b, g->name);
    om_buf_addc(b, '\n');
    put_inputs(g, b);
    put_outputs(g, b);
    put_weights(g, b);
    put_block(g, b, 0, 0);
}
