/* src/ir/graph.c: building a graph: values, weights, nodes and branches, with the first failure
 * kept. */
#include "ir/graph.h"

#include "ir/internal.h"

#include <stdlib.h>

static const struct {
    const char *name;
    uint8_t min_in, max_in, outputs;
} ops[OM_OP_COUNT] = {
#define OM_OP(name, min_in, max_in, outputs) [OM_OP_##name] = { #name, min_in, max_in, outputs },
#include "ir/ops.def"
#undef OM_OP
};

static const char *const domains[OM_OP_COUNT] = {
#define OM_OP(name, min_in, max_in, outputs)
#define OM_OP_MS(name, min_in, max_in, outputs) [OM_OP_##name] = "com.microsoft",
#include "ir/ops.def"
#undef OM_OP
};

const char *om_op_domain(enum om_op op)
{
    return op > OM_OP_NONE && op < OM_OP_COUNT && domains[op] ? domains[op] : "";
}

const char *om_op_name(enum om_op op)
{
    return op > OM_OP_NONE && op < OM_OP_COUNT ? ops[op].name : "?";
}

const char *om_op_type(enum om_op op)
{
    switch ((int)op) {
#define OM_OP(name, min_in, max_in, outputs)
#define OM_OP_MS_AS(id, name, min_in, max_in, outputs) \
    case OM_OP_##id:                                   \
        return #name;
#include "ir/ops.def"
#undef OM_OP
    default:
        return om_op_name(op);
    }
}

enum om_op om_op_find(om_sv domain, om_sv type)
{
    for (int op = OM_OP_NONE + 1; op < OM_OP_COUNT; op++)
        if (om_sv_is(type, om_op_type((enum om_op)op)) &&
            om_sv_is(domain, om_op_domain((enum om_op)op)))
            return (enum om_op)op;
    return OM_OP_NONE;
}

enum om_op om_op_parse(om_sv name)
{
    for (int op = OM_OP_NONE + 1; op < OM_OP_COUNT; op++)
        if (om_sv_is(name, ops[op].name))
            return (enum om_op)op;
    return OM_OP_NONE;
}

static const om_val invalid = { 0 };

int om_graph_new(struct om_arena *a, struct om_dims *dims, om_sv name, struct om_graph **out,
                 struct om_error *err)
{
    struct om_graph *g = om_arena_alloc(a, sizeof(*g));

    if (!g)
        return om_fail(err, OM_E_NOMEM, "out of memory for a graph");
    g->arena = a;
    g->name = name;
    g->own_dims = !dims;
    if (dims)
        g->dims = dims;
    else
        OM_TRY(om_dims_new(a, &g->dims, err));
    if (!om_grow(&g->values, &g->cap_values, 64, sizeof(*g->values)) ||
        !om_grow(&g->blocks, &g->cap_blocks, 1, sizeof(*g->blocks))) {
        om_graph_free(g);
        return om_fail(err, OM_E_NOMEM, "out of memory for a graph");
    }
    g->values[0] = (struct om_value){ .node = OM_NO_NODE, .weight = OM_NO_WEIGHT };
    g->n_values = 1;
    g->blocks[0] = (struct om_block){ .name = name };
    g->n_blocks = 1;
    *out = g;
    return 0;
}

void om_graph_free(struct om_graph *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n_blocks; i++) {
        free(g->blocks[i].nodes);
        free(g->blocks[i].outputs);
    }
    free(g->values);
    free(g->nodes);
    free(g->weights);
    free(g->blocks);
    free(g->inputs);
    om_map_release(&g->weight_by_name);
    om_map_release(&g->const_by_key);
    om_map_release(&g->port_by_name);
    if (g->own_dims)
        om_dims_free(g->dims);
    om_error_release(&g->err);
    *g = (struct om_graph){ .rc = OM_E_INTERNAL }; /* a second free does nothing */
}

om_val om_graph_fail(struct om_graph *g, int code, const char *fmt, ...)
{
    const char *text;
    va_list ap;

    if (g->rc < 0)
        return invalid;
    va_start(ap, fmt);
    text = om_arena_vprintf(g->arena, fmt, ap);
    va_end(ap);
    g->rc = om_fail(&g->err, text ? code : OM_E_NOMEM, "%s", text ? text : "out of memory");
    return invalid;
}

static om_val out_of_memory(struct om_graph *g)
{
    return om_graph_fail(g, OM_E_NOMEM, "out of memory for a graph");
}

int om_graph_check(const struct om_graph *g, struct om_error *err)
{
    return g->rc < 0 ? om_fail(err, g->rc, "%s", om_error_text(&g->err)) : 0;
}

const struct om_value *om_graph_value(const struct om_graph *g, om_val v)
{
    return &g->values[v.id < g->n_values ? v.id : 0];
}

static om_val add_value(struct om_graph *g, const struct om_value *v)
{
    if (g->n_values >= UINT32_MAX ||
        !om_grow(&g->values, &g->cap_values, g->n_values + 1, sizeof(*g->values)))
        return out_of_memory(g);
    g->values[g->n_values] = *v;
    return (om_val){ (uint32_t)g->n_values++ };
}

static om_val no_extent(struct om_graph *g, om_sv name, uint32_t axis)
{
    return om_graph_fail(g, OM_E_INTERNAL, "input \"%.*s\": axis %" PRIu32 " has no extent",
                         OM_SV(name), axis);
}

om_val om_graph_input(struct om_graph *g, om_sv name, enum om_dtype dtype, const om_dim *dims,
                      uint32_t rank)
{
    struct om_value v = {
        .dtype = dtype, .rank = rank, .node = OM_NO_NODE, .weight = OM_NO_WEIGHT, .name = name
    };
    om_val val;

    if (g->rc < 0)
        return invalid;
    if (rank > OM_RANK_MAX)
        return om_graph_fail(g, OM_E_UNSUPPORTED, "input \"%.*s\": rank %" PRIu32 " is above %d",
                             OM_SV(name), rank, OM_RANK_MAX);
    for (uint32_t i = 0; i < rank; i++)
        if (dims[i] == 0)
            return om_dims_no_memory(g->dims) ? out_of_memory(g) : no_extent(g, name, i);
    if (om_map_get(&g->port_by_name, name, NULL))
        return om_graph_fail(g, OM_E_FORMAT, "two inputs or outputs are named \"%.*s\"",
                             OM_SV(name));
    v.dims = om_arena_copy(g->arena, dims, rank * sizeof(*dims));
    if (!v.dims || om_map_put(&g->port_by_name, name, 0) < 0 ||
        !om_grow(&g->inputs, &g->cap_inputs, g->n_inputs + 1, sizeof(*g->inputs)))
        return out_of_memory(g);
    val = add_value(g, &v);
    g->inputs[g->n_inputs++] = (struct om_port){ .name = name, .val = val };
    return val;
}

/* Weights and constants. */

uint64_t om_weight_bytes(const struct om_weight *w)
{
    const struct om_tensor t = { .dtype = w->dtype, .rank = w->rank, .dims = w->dims };
    uint64_t bytes;

    return om_tensor_bytes(&t, &bytes) ? bytes : 0;
}

/* Pieces are whole lines, or elements, of the source; only such views are read across pieces. */
static int check_parts(const struct om_weight *w, struct om_error *err)
{
    const bool transposed =
        w->strides && w->rank == 2 && w->strides[0] == 1 && w->strides[1] == w->dims[0];
    const uint64_t unit =
        om_dtype_size(w->src_dtype) * (transposed ? (uint64_t)OM_MAX(w->dims[0], 1) : 1);
    uint64_t sum = 0;

    if (w->n_parts > OM_WEIGHT_PARTS_MAX || (w->strides && !transposed))
        return om_fail(err, OM_E_INTERNAL, "%" PRIu32 " parts in a view of another kind",
                       w->n_parts);
    for (uint32_t i = 0; i < w->n_parts; i++) {
        const struct om_weight_part *p = &w->parts[i];

        if (p->bytes % unit != 0 || !om_add_u64(sum, p->bytes, &sum) ||
            (p->file && (p->offset > p->file->size || p->bytes > p->file->size - p->offset)))
            return om_fail(err, OM_E_FORMAT, "part %" PRIu32 " of %" PRIu64 " bytes does not fit",
                           i, p->bytes);
    }
    if (sum != w->bytes)
        return om_fail(err, OM_E_FORMAT, "parts of %" PRIu64 " bytes, expected %" PRIu64, sum,
                       w->bytes);
    return 0;
}

int om_weight_check(const struct om_weight *w, struct om_error *err)
{
    const struct om_tensor t = { .dtype = w->src_dtype, .rank = w->rank, .dims = w->dims };
    const struct om_tensor target = { .dtype = w->dtype, .rank = w->rank, .dims = w->dims };
    uint64_t need, made, reach;
    int64_t extent;

    if (w->rank > OM_RANK_MAX)
        return om_fail(err, OM_E_UNSUPPORTED, "rank %" PRIu32 " is above %d", w->rank, OM_RANK_MAX);
    if (!om_tensor_bytes(&t, &need) || !om_tensor_bytes(&target, &made) ||
        !om_view_extent(w->dims, w->strides, w->rank, &extent) ||
        !om_mul_u64((uint64_t)extent, om_dtype_size(w->src_dtype), &reach))
        return om_fail(err, OM_E_FORMAT, "shape is too large");
    if (need != w->bytes)
        return om_fail(err, OM_E_FORMAT, "shape needs %" PRIu64 " bytes, %" PRIu64 " are there",
                       need, w->bytes);
    if (w->n_parts > 0)
        return check_parts(w, err);
    if (w->file && (w->offset > w->file->size || reach > w->file->size - w->offset))
        return om_fail(err, OM_E_FORMAT,
                       "%" PRIu64 " bytes at offset %" PRIu64 " of a file of %" PRIu64, reach,
                       w->offset, w->file->size);
    return 0;
}

int64_t om_content_load(const void *data, enum om_dtype dtype, int64_t i)
{
    const uint8_t *p = data;

    if (dtype == OM_I64)
        return (int64_t)om_le64(p + i * 8);
    if (dtype == OM_I32)
        return (int32_t)om_le32(p + i * 4);
    return p[i] != 0;
}

bool om_content_dtype(enum om_dtype dtype)
{
    return dtype == OM_I64 || dtype == OM_I32 || dtype == OM_BOOL;
}

/* Small integer tensors are known element by element, so that shapes given by constants stay known.
 */
static void weight_content(struct om_graph *g, const struct om_weight *w, struct om_value *v)
{
    const int64_t n = w->rank == 1 ? w->dims[0] : 1;
    om_dim *content;

    if (w->rank > 1 || n > OM_CONTENT_MAX || !w->data || w->strides || w->n_parts > 0 ||
        w->src_dtype != w->dtype || !om_content_dtype(w->dtype))
        return;
    content = om_arena_array(g->arena, (size_t)n + 1, sizeof(*content));
    for (int64_t i = 0; content && i < n; i++) {
        content[i] = om_dim_const(g->dims, om_content_load(w->data, w->dtype, i));
        if (content[i] == 0)
            content = NULL;
    }
    v->content = content;
    v->n_content = content ? (uint32_t)n : 0;
}

static om_val add_weight(struct om_graph *g, const struct om_weight *w)
{
    struct om_value v = { .dtype = w->dtype,
                          .rank = w->rank,
                          .node = OM_NO_NODE,
                          .weight = (uint32_t)g->n_weights,
                          .name = w->name };
    om_dim *dims = om_arena_array(g->arena, w->rank, sizeof(*dims));

    if (!dims || g->n_weights >= OM_NO_WEIGHT ||
        !om_grow(&g->weights, &g->cap_weights, g->n_weights + 1, sizeof(*g->weights)))
        return out_of_memory(g);
    for (uint32_t i = 0; i < w->rank; i++)
        if ((dims[i] = om_dim_const(g->dims, w->dims[i])) == 0)
            return out_of_memory(g);
    v.dims = dims;
    weight_content(g, w, &v);
    g->weights[g->n_weights++] = *w;
    return add_value(g, &v);
}

static bool same_axes(const int64_t *a, const int64_t *b, uint32_t rank)
{
    if (!a || !b || rank == 0)
        return a == b || rank == 0;
    return memcmp(a, b, rank * sizeof(*a)) == 0;
}

static bool same_parts(const struct om_weight *a, const struct om_weight *b)
{
    for (uint32_t i = 0; i < a->n_parts && i < b->n_parts; i++) {
        const struct om_weight_part *p = &a->parts[i], *q = &b->parts[i];

        if (p->file != q->file || p->offset != q->offset || p->data != q->data ||
            p->bytes != q->bytes)
            return false;
    }
    return a->n_parts == b->n_parts;
}

static bool same_weight(const struct om_weight *a, const struct om_weight *b)
{
    return same_parts(a, b) && a->dtype == b->dtype && a->rank == b->rank && a->file == b->file &&
           a->offset == b->offset && a->data == b->data && a->bytes == b->bytes &&
           a->src_dtype == b->src_dtype && same_axes(a->dims, b->dims, a->rank) &&
           same_axes(a->strides, b->strides, a->rank);
}

static om_val weight_again(struct om_graph *g, const struct om_weight *w, uint32_t id)
{
    if (same_weight(&g->weights[g->values[id].weight], w))
        return (om_val){ id };
    return om_graph_fail(g, OM_E_INTERNAL, "weight \"%.*s\" is asked for in two forms",
                         OM_SV(w->name));
}

static bool weight_valid(struct om_graph *g, const struct om_weight *w)
{
    struct om_error why = OM_ERROR_INIT;
    const int rc = om_weight_check(w, &why);

    if (rc < 0)
        om_graph_fail(g, rc, "weight \"%.*s\": %s", OM_SV(w->name), om_error_text(&why));
    om_error_release(&why);
    return rc == 0;
}

om_val om_graph_weight(struct om_graph *g, const struct om_weight *given)
{
    struct om_weight w = *given;
    om_val v;
    uint32_t id;

    if (g->rc < 0)
        return invalid;
    if (w.src_dtype == OM_DTYPE_NONE)
        w.src_dtype = w.dtype;
    if (w.strides && om_view_dense(w.dims, w.strides, w.rank))
        w.strides = NULL;
    if (om_map_get(&g->weight_by_name, w.name, &id))
        return weight_again(g, &w, id);
    if (!weight_valid(g, &w))
        return invalid;
    w.name.ptr = om_arena_str(g->arena, w.name);
    w.dims = om_arena_copy(g->arena, w.dims, w.rank * sizeof(*w.dims));
    if (w.strides) {
        w.strides = om_arena_copy(g->arena, w.strides, w.rank * sizeof(*w.strides));
        if (!w.strides)
            return out_of_memory(g);
    }
    if (w.n_parts > 0)
        w.parts = om_arena_copy(g->arena, w.parts, w.n_parts * sizeof(*w.parts));
    if (!w.name.ptr || !w.dims || (w.n_parts > 0 && !w.parts))
        return out_of_memory(g);
    v = add_weight(g, &w);
    if (v.id != 0 && om_map_put(&g->weight_by_name, w.name, v.id) < 0)
        return out_of_memory(g);
    return v;
}

/* dtype, rank, dims and bytes of a constant in one string. */
static om_sv const_key(struct om_graph *g, const struct om_weight *w)
{
    const size_t head = sizeof(int64_t) * (2 + (size_t)w->rank);
    char *key = om_arena_alloc(g->arena, head + w->bytes);
    const int64_t first[2] = { w->dtype, w->rank };

    if (!key)
        return (om_sv){ NULL, 0 };
    memcpy(key, first, sizeof(first));
    if (w->rank)
        memcpy(key + sizeof(first), w->dims, w->rank * sizeof(*w->dims));
    if (w->bytes)
        memcpy(key + head, w->data, w->bytes);
    return (om_sv){ key, head + w->bytes };
}

om_val om_graph_const(struct om_graph *g, enum om_dtype dtype, const int64_t *dims, uint32_t rank,
                      const void *data)
{
    const struct om_tensor t = { .dtype = dtype, .rank = rank, .dims = dims };
    struct om_weight w = {
        .dtype = dtype, .src_dtype = dtype, .rank = rank, .dims = dims, .data = data
    };
    uint32_t id;
    om_sv key;
    om_val v;

    if (g->rc < 0)
        return invalid;
    if (rank > OM_RANK_MAX || !om_tensor_bytes(&t, &w.bytes) || w.bytes > SIZE_MAX / 2)
        return om_graph_fail(g, OM_E_UNSUPPORTED, "a constant's shape is too large");
    key = const_key(g, &w);
    if (!key.ptr)
        return out_of_memory(g);
    if (om_map_get(&g->const_by_key, key, &id))
        return (om_val){ id };
    w.dims = om_arena_copy(g->arena, dims, rank * sizeof(*dims));
    w.data = om_arena_copy(g->arena, data, w.bytes);
    if (!w.dims || !w.data)
        return out_of_memory(g);
    v = add_weight(g, &w);
    if (v.id != 0 && om_map_put(&g->const_by_key, key, v.id) < 0)
        return out_of_memory(g);
    return v;
}

/* Nodes. */

bool om_block_sees(const struct om_graph *g, uint32_t block, om_val v)
{
    const uint32_t node = g->values[v.id].node;

    if (node == OM_NO_NODE)
        return true;
    for (;; block = g->blocks[block].parent) {
        if (g->nodes[node].block == block)
            return true;
        if (block == 0)
            return false;
    }
}

/* Put scope and operator before a message of inference. */
static om_val fail_at(struct om_graph *g, enum om_op op, om_sv scope, struct om_error *err)
{
    om_graph_fail(g, err->code, "%s%.*s/%s: %s", scope.len ? "/" : "", OM_SV(scope), om_op_name(op),
                  om_error_text(err));
    om_error_release(err);
    return invalid;
}

int om_check_arity(enum om_op op, uint32_t n_in, uint32_t n_out, struct om_error *err)
{
    if (op <= OM_OP_NONE || op >= OM_OP_COUNT)
        return om_fail(err, OM_E_INTERNAL, "operator %d is unknown", (int)op);
    if (n_in < ops[op].min_in || (ops[op].max_in != UINT8_MAX && n_in > ops[op].max_in))
        return om_fail(err, OM_E_FORMAT, "takes %d to %d inputs, %" PRIu32 " are given",
                       ops[op].min_in, ops[op].max_in, n_in);
    if (n_out < 1 || (ops[op].outputs != UINT8_MAX && n_out > ops[op].outputs))
        return om_fail(err, OM_E_FORMAT, "has at most %d outputs, %" PRIu32 " are asked for",
                       ops[op].outputs, n_out);
    return 0;
}

bool om_input_required(enum om_op op, uint32_t i)
{
    return i < ops[op].min_in || ops[op].max_in == UINT8_MAX;
}

static int check_inputs(const struct om_graph *g, const om_val *in, uint32_t n_in,
                        struct om_error *err)
{
    for (uint32_t i = 0; i < n_in; i++) {
        if (in[i].id >= g->n_values)
            return om_fail(err, OM_E_INTERNAL, "input %" PRIu32 " is not a value of this graph", i);
        if (in[i].id != 0 && !om_block_sees(g, g->block, in[i]))
            return om_fail(err, OM_E_INTERNAL, "input %" PRIu32 " belongs to another branch", i);
    }
    return 0;
}

static bool branch_invalid(const struct om_graph *g, const struct om_attr *a)
{
    if (a->kind != OM_ATTR_BLOCK || a->i < 1 || (uint64_t)a->i >= g->n_blocks)
        return false;
    for (size_t i = 0; i < g->blocks[a->i].n_outputs; i++)
        if (g->blocks[a->i].outputs[i].val.id == 0)
            return true;
    return false;
}

/* Whether the node would need an invalid value: as a required input, or as what a branch gives. */
static bool needs_invalid(const struct om_graph *g, const struct om_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].id == 0 && om_input_required(n->op, i))
            return true;
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (branch_invalid(g, &n->attrs[i]))
            return true;
    return false;
}

/* Append the node and its still untyped outputs. */
static struct om_node *add_node(struct om_graph *g, const struct om_node *given)
{
    struct om_node n = *given;
    struct om_block *b = &g->blocks[g->block];
    const uint32_t index = (uint32_t)g->n_nodes;

    n.block = g->block;
    n.in = om_arena_copy(g->arena, given->in, n.n_in * sizeof(*n.in));
    n.out = om_arena_array(g->arena, n.n_out, sizeof(*n.out));
    n.attrs = om_arena_copy(g->arena, given->attrs, n.n_attrs * sizeof(*n.attrs));
    if (!n.in || !n.out || !n.attrs || g->n_nodes >= OM_NO_NODE ||
        !om_grow(&g->nodes, &g->cap_nodes, g->n_nodes + 1, sizeof(*g->nodes)) ||
        !om_grow(&b->nodes, &b->cap_nodes, b->n_nodes + 1, sizeof(*b->nodes))) {
        out_of_memory(g);
        return NULL;
    }
    for (uint32_t i = 0; i < n.n_out; i++) {
        n.out[i] = add_value(g, &(struct om_value){ .node = index, .weight = OM_NO_WEIGHT });
        if (n.out[i].id == 0)
            return NULL;
    }
    b->nodes[b->n_nodes++] = index;
    g->nodes[g->n_nodes++] = n;
    return &g->nodes[index];
}

void om_graph_emit_n(struct om_graph *g, enum om_op op, om_sv scope, const om_val *in,
                     uint32_t n_in, const struct om_attr *attrs, uint32_t n_attrs, om_val *out,
                     uint32_t n_out)
{
    struct om_node given = { .op = op,
                             .scope = scope,
                             .in = (om_val *)in,
                             .n_in = n_in,
                             .n_out = n_out,
                             .attrs = attrs,
                             .n_attrs = n_attrs };
    struct om_error err = OM_ERROR_INIT;
    const struct om_node *n;

    for (uint32_t i = 0; i < n_out; i++)
        out[i] = invalid;
    if (g->rc < 0)
        return;
    if (om_check_arity(op, n_in, n_out, &err) < 0 || check_inputs(g, in, n_in, &err) < 0) {
        fail_at(g, op, scope, &err);
        return;
    }
    if (needs_invalid(g, &given))
        return;
    while (given.n_in > 0 && in[given.n_in - 1].id == 0)
        given.n_in--;
    n = add_node(g, &given);
    if (!n)
        return;
    if (om_infer(g, n, &err) < 0)
        fail_at(g, op, scope, &err);
    else
        memcpy(out, n->out, n_out * sizeof(*out));
}

om_val om_graph_emit(struct om_graph *g, enum om_op op, om_sv scope, const om_val *in,
                     uint32_t n_in, const struct om_attr *attrs, uint32_t n_attrs)
{
    om_val out;

    om_graph_emit_n(g, op, scope, in, n_in, attrs, n_attrs, &out, 1);
    return out;
}

/* Ports and branches. */

void om_graph_output(struct om_graph *g, om_sv name, om_val v, const om_dim *dims)
{
    struct om_block *b = &g->blocks[g->block];
    const struct om_port port = { .name = name, .val = v, .dims = dims };

    if (g->rc < 0)
        return;
    if (v.id >= g->n_values || !om_block_sees(g, g->block, v)) {
        om_graph_fail(g, OM_E_INTERNAL, "output \"%.*s\" is not a value of its block", OM_SV(name));
        return;
    }
    if (g->block == 0 && om_map_get(&g->port_by_name, name, NULL)) {
        om_graph_fail(g, OM_E_FORMAT, "two inputs or outputs are named \"%.*s\"", OM_SV(name));
        return;
    }
    if ((g->block == 0 && om_map_put(&g->port_by_name, name, 0) < 0) ||
        !om_grow(&b->outputs, &b->cap_outputs, b->n_outputs + 1, sizeof(*b->outputs))) {
        out_of_memory(g);
        return;
    }
    b->outputs[b->n_outputs++] = port;
}

uint32_t om_graph_block_begin(struct om_graph *g, om_sv name)
{
    const uint32_t index = (uint32_t)g->n_blocks;

    if (g->rc < 0)
        return 0;
    if (!om_grow(&g->blocks, &g->cap_blocks, g->n_blocks + 1, sizeof(*g->blocks))) {
        out_of_memory(g);
        return 0;
    }
    g->blocks[g->n_blocks++] = (struct om_block){ .name = name, .parent = g->block };
    g->block = index;
    return index;
}

void om_graph_block_end(struct om_graph *g)
{
    if (g->rc < 0)
        return;
    if (g->block == 0)
        om_graph_fail(g, OM_E_INTERNAL, "a branch is ended that was not begun");
    else
        g->block = g->blocks[g->block].parent;
}

/* Attributes. */

const struct om_attr *om_node_attr(const struct om_node *n, const char *name)
{
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (strcmp(n->attrs[i].name, name) == 0)
            return &n->attrs[i];
    return NULL;
}

int64_t om_node_int(const struct om_node *n, const char *name, int64_t def)
{
    const struct om_attr *a = om_node_attr(n, name);

    return a && a->kind == OM_ATTR_INT ? a->i : def;
}

double om_node_float(const struct om_node *n, const char *name, double def)
{
    const struct om_attr *a = om_node_attr(n, name);

    return a && a->kind == OM_ATTR_FLOAT ? a->f : def;
}
