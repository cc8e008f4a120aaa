/* src/onnx/summary.c: a walk over ModelProto that keeps names, types and counts. */
#include "onnx/summary.h"

#include <stdlib.h>

#include "onnx/pb.h"
#include "onnx/schema.h"

#define DEPTH_MAX 32

struct walk {
    struct om_arena *arena;
    struct om_onnx_summary *sum;
    struct om_error *err;
    size_t cap_ops;
};

static int no_memory(struct walk *w)
{
    return om_fail(w->err, OM_E_NOMEM, "out of memory");
}

/* ---- types ---- */

/* Names and bits of TensorProto.DataType, as the specification numbers them. */
static const struct {
    const char *name;
    unsigned bits;
} types[] = {
    [1] = { "float32", 32 },    [2] = { "uint8", 8 },           [3] = { "int8", 8 },
    [4] = { "uint16", 16 },     [5] = { "int16", 16 },          [6] = { "int32", 32 },
    [7] = { "int64", 64 },      [8] = { "string", 0 },          [9] = { "bool", 8 },
    [10] = { "float16", 16 },   [11] = { "float64", 64 },       [12] = { "uint32", 32 },
    [13] = { "uint64", 64 },    [14] = { "complex64", 64 },     [15] = { "complex128", 128 },
    [16] = { "bfloat16", 16 },  [17] = { "float8e4m3fn", 8 },   [18] = { "float8e4m3fnuz", 8 },
    [19] = { "float8e5m2", 8 }, [20] = { "float8e5m2fnuz", 8 }, [21] = { "uint4", 4 },
    [22] = { "int4", 4 },       [23] = { "float4e2m1", 4 },     [24] = { "float8e8m0", 8 },
    [25] = { "uint2", 2 },      [26] = { "int2", 2 },
};

static bool is_known(int64_t data_type)
{
    return data_type > 0 && data_type < (int64_t)OM_COUNT(types) && types[data_type].name;
}

const char *om_onnx_type_text(struct om_arena *a, int32_t data_type)
{
    const char *text;

    if (is_known(data_type))
        return types[data_type].name;
    if (data_type == 0)
        return "not a tensor";
    text = om_arena_printf(a, "type %" PRId32, data_type);
    return text ? text : "?";
}

/* ---- lists ---- */

static int count_fields(struct walk *w, om_sv msg, uint32_t number, size_t *n)
{
    om_sv bytes;
    int rc;

    *n = 0;
    while ((rc = om_pb_next_bytes(&msg, number, &bytes, w->err)) > 0)
        ++*n;
    return rc;
}

typedef int read_item_fn(struct walk *w, om_sv msg, struct om_onnx_item *item);

static int read_items(struct walk *w, om_sv graph, uint32_t number, read_item_fn *read,
                      struct om_onnx_items *out)
{
    size_t n;
    om_sv msg;
    int rc;

    OM_TRY(count_fields(w, graph, number, &n));
    out->items = om_arena_array(w->arena, n + 1, sizeof(*out->items));
    if (!out->items)
        return no_memory(w);
    while ((rc = om_pb_next_bytes(&graph, number, &msg, w->err)) > 0) {
        OM_TRY(read(w, msg, &out->items[out->len]));
        out->len++;
    }
    return rc;
}

/* ---- inputs and outputs ---- */

static int read_axis(struct walk *w, om_sv msg, const char **text)
{
    struct axis {
        int64_t value;
        om_sv param;
    } axis = { -1, { "", 0 } };
    static const struct om_pb_rule rules[] = {
        { PB_DIM_VALUE, OM_PB_INT, offsetof(struct axis, value), "dim_value" },
        { PB_DIM_PARAM, OM_PB_TEXT, offsetof(struct axis, param), "dim_param" },
    };

    OM_TRY(om_pb_read(msg, rules, OM_COUNT(rules), &axis, w->err));
    if (axis.param.len > 0)
        *text = om_arena_str(w->arena, axis.param);
    else if (axis.value >= 0)
        *text = om_arena_printf(w->arena, "%" PRId64, axis.value);
    else
        *text = "?";
    return *text ? 0 : no_memory(w);
}

static int read_shape(struct walk *w, om_sv shape, struct om_onnx_item *item)
{
    const char **axes;
    om_sv msg;
    size_t n;
    int rc;

    OM_TRY(count_fields(w, shape, PB_SHAPE_DIM, &n));
    axes = om_arena_array(w->arena, n + 1, sizeof(*axes));
    if (!axes)
        return no_memory(w);
    while ((rc = om_pb_next_bytes(&shape, PB_SHAPE_DIM, &msg, w->err)) > 0)
        OM_TRY(read_axis(w, msg, &axes[item->n_axes++]));
    item->axes = axes;
    return rc;
}

static int read_value(struct walk *w, om_sv msg, struct om_onnx_item *item)
{
    struct value {
        om_sv name, type, tensor, shape;
        int64_t elem;
    } v = { .name = { "", 0 } };
    static const struct om_pb_rule value_rules[] = {
        { PB_VALUE_NAME, OM_PB_TEXT, offsetof(struct value, name), "name" },
        { PB_VALUE_TYPE, OM_PB_BYTES, offsetof(struct value, type), "type" },
    };
    static const struct om_pb_rule type_rules[] = {
        { PB_TYPE_TENSOR_TYPE, OM_PB_BYTES, offsetof(struct value, tensor), "tensor_type" },
    };
    static const struct om_pb_rule tensor_rules[] = {
        { PB_TENSOR_TYPE_ELEM, OM_PB_INT, offsetof(struct value, elem), "elem_type" },
        { PB_TENSOR_TYPE_SHAPE, OM_PB_BYTES, offsetof(struct value, shape), "shape" },
    };

    OM_TRY(om_pb_read(msg, value_rules, OM_COUNT(value_rules), &v, w->err));
    OM_TRY(om_pb_read(v.type, type_rules, OM_COUNT(type_rules), &v, w->err));
    OM_TRY(om_pb_read(v.tensor, tensor_rules, OM_COUNT(tensor_rules), &v, w->err));
    item->name = v.name;
    item->data_type = v.elem > 0 && v.elem <= INT32_MAX ? (int32_t)v.elem : 0;
    return read_shape(w, v.shape, item);
}

/* ---- initializers ---- */

static int read_location(struct walk *w, om_sv tensor, om_sv *location)
{
    struct entry {
        om_sv key, value;
    };
    static const struct om_pb_rule rules[] = {
        { PB_ENTRY_KEY, OM_PB_TEXT, offsetof(struct entry, key), "key" },
        { PB_ENTRY_VALUE, OM_PB_TEXT, offsetof(struct entry, value), "value" },
    };
    om_sv msg;
    int rc;

    while ((rc = om_pb_next_bytes(&tensor, PB_TENSOR_EXTERNAL_DATA, &msg, w->err)) > 0) {
        struct entry e = { { "", 0 }, { "", 0 } };

        OM_TRY(om_pb_read(msg, rules, OM_COUNT(rules), &e, w->err));
        if (om_sv_is(e.key, "location"))
            *location = e.value;
    }
    return rc;
}

/* Bytes of the elements by the shape, 4-bit types packed; UINT64_MAX when that overflows. */
static uint64_t element_bytes(int32_t data_type, const int64_t *dims, size_t n)
{
    int64_t count;
    uint64_t bits;

    if (!is_known(data_type) || !om_count(dims, n, &count) ||
        !om_mul_u64((uint64_t)count, types[data_type].bits, &bits))
        return UINT64_MAX;
    return bits / 8 + (bits % 8 != 0);
}

static int read_initializer(struct walk *w, om_sv msg, struct om_onnx_item *item)
{
    struct tensor {
        om_sv name;
        int64_t type;
    } t = { { "", 0 }, 0 };
    static const struct om_pb_rule rules[] = {
        { PB_TENSOR_NAME, OM_PB_TEXT, offsetof(struct tensor, name), "name" },
        { PB_TENSOR_DATA_TYPE, OM_PB_INT, offsetof(struct tensor, type), "data_type" },
    };
    const char **axes;
    int64_t *dims;
    size_t n;

    OM_TRY(om_pb_read(msg, rules, OM_COUNT(rules), &t, w->err));
    item->name = t.name;
    item->data_type = t.type > 0 && t.type <= INT32_MAX ? (int32_t)t.type : 0;
    OM_TRY(om_pb_ints(msg, PB_TENSOR_DIMS, NULL, 0, &n, w->err));
    dims = om_arena_array(w->arena, n + 1, sizeof(*dims));
    axes = om_arena_array(w->arena, n + 1, sizeof(*axes));
    if (!dims || !axes)
        return no_memory(w);
    OM_TRY(om_pb_ints(msg, PB_TENSOR_DIMS, dims, n, &n, w->err));
    for (size_t i = 0; i < n; i++) {
        axes[i] = om_arena_printf(w->arena, "%" PRId64, dims[i]);
        if (!axes[i])
            return no_memory(w);
    }
    item->axes = axes;
    item->n_axes = n;
    item->bytes = element_bytes(item->data_type, dims, n);
    if (item->bytes == UINT64_MAX)
        return om_fail(w->err, OM_E_FORMAT, "initializer \"%.*s\": its size cannot be computed",
                       OM_SV(t.name));
    return read_location(w, msg, &item->location);
}

/* ---- nodes ---- */

static int count_op(struct walk *w, om_sv domain, om_sv op)
{
    struct om_onnx_summary *s = w->sum;
    struct om_onnx_count *grown;

    s->n_nodes++;
    if (om_sv_is(domain, "ai.onnx"))
        domain.len = 0;
    for (size_t i = 0; i < s->n_ops; i++) {
        if (om_sv_eq(s->ops[i].op, op) && om_sv_eq(s->ops[i].domain, domain)) {
            s->ops[i].n++;
            return 0;
        }
    }
    if (s->n_ops == w->cap_ops) {
        const size_t cap = w->cap_ops ? w->cap_ops * 2 : 64;

        grown = om_arena_array(w->arena, cap, sizeof(*grown));
        if (!grown)
            return no_memory(w);
        if (s->n_ops)
            memcpy(grown, s->ops, s->n_ops * sizeof(*grown));
        s->ops = grown;
        w->cap_ops = cap;
    }
    s->ops[s->n_ops++] = (struct om_onnx_count){ domain, op, 1 };
    return 0;
}

static int walk_nodes(struct walk *w, om_sv graph, unsigned depth);

/* Subgraphs of If, Loop and Scan. */
static int walk_attributes(struct walk *w, om_sv node, unsigned depth)
{
    om_sv attr, graph;
    int rc, more;

    while ((rc = om_pb_next_bytes(&node, PB_NODE_ATTRIBUTE, &attr, w->err)) > 0) {
        while ((more = om_pb_next_bytes(&attr, PB_ATTR_G, &graph, w->err)) > 0)
            OM_TRY(walk_nodes(w, graph, depth + 1));
        OM_TRY(more);
    }
    return rc;
}

static int walk_nodes(struct walk *w, om_sv graph, unsigned depth)
{
    struct node {
        om_sv op, domain;
    };
    static const struct om_pb_rule rules[] = {
        { PB_NODE_OP_TYPE, OM_PB_TEXT, offsetof(struct node, op), "op_type" },
        { PB_NODE_DOMAIN, OM_PB_TEXT, offsetof(struct node, domain), "domain" },
    };
    om_sv msg;
    int rc;

    if (depth > DEPTH_MAX)
        return om_fail(w->err, OM_E_LIMIT, "subgraphs are nested more than %d deep", DEPTH_MAX);
    while ((rc = om_pb_next_bytes(&graph, PB_GRAPH_NODE, &msg, w->err)) > 0) {
        struct node n = { { "", 0 }, { "", 0 } };

        OM_TRY(om_pb_read(msg, rules, OM_COUNT(rules), &n, w->err));
        OM_TRY(count_op(w, n.domain, n.op));
        OM_TRY(walk_attributes(w, msg, depth));
    }
    return rc;
}

static int by_name(const void *x, const void *y)
{
    const struct om_onnx_count *a = x, *b = y;
    const int order = om_sv_cmp(a->op, b->op);

    return order ? order : om_sv_cmp(a->domain, b->domain);
}

/* ---- the model ---- */

static int read_opsets(struct walk *w, om_sv model)
{
    static const struct om_pb_rule rules[] = {
        { PB_OPSET_DOMAIN, OM_PB_TEXT, offsetof(struct om_onnx_opset, domain), "domain" },
        { PB_OPSET_VERSION, OM_PB_INT, offsetof(struct om_onnx_opset, version), "version" },
    };
    struct om_onnx_summary *s = w->sum;
    om_sv msg;
    size_t n;
    int rc;

    OM_TRY(count_fields(w, model, PB_MODEL_OPSET_IMPORT, &n));
    s->opsets = om_arena_array(w->arena, n + 1, sizeof(*s->opsets));
    if (!s->opsets)
        return no_memory(w);
    while ((rc = om_pb_next_bytes(&model, PB_MODEL_OPSET_IMPORT, &msg, w->err)) > 0)
        OM_TRY(om_pb_read(msg, rules, OM_COUNT(rules), &s->opsets[s->n_opsets++], w->err));
    return rc;
}

static int read_graph(struct walk *w, om_sv graph)
{
    static const struct om_pb_rule rules[] = {
        { PB_GRAPH_NAME, OM_PB_TEXT, offsetof(struct om_onnx_summary, graph_name), "name" },
    };
    struct om_onnx_summary *s = w->sum;

    OM_TRY(om_pb_read(graph, rules, OM_COUNT(rules), s, w->err));
    OM_TRY(read_items(w, graph, PB_GRAPH_INPUT, read_value, &s->inputs));
    OM_TRY(read_items(w, graph, PB_GRAPH_OUTPUT, read_value, &s->outputs));
    OM_TRY(read_items(w, graph, PB_GRAPH_INITIALIZER, read_initializer, &s->weights));
    OM_TRY(walk_nodes(w, graph, 0));
    if (s->n_ops)
        qsort(s->ops, s->n_ops, sizeof(*s->ops), by_name);
    return 0;
}

int om_onnx_summarize(struct om_arena *a, const struct om_file *model, struct om_onnx_summary *out,
                      struct om_error *err)
{
    struct model {
        struct om_onnx_summary sum;
        om_sv graph;
    } m = { 0 };
    static const struct om_pb_rule rules[] = {
        { PB_MODEL_IR_VERSION, OM_PB_INT, offsetof(struct model, sum.ir_version), "ir_version" },
        { PB_MODEL_PRODUCER_NAME, OM_PB_TEXT, offsetof(struct model, sum.producer_name),
          "producer_name" },
        { PB_MODEL_PRODUCER_VERSION, OM_PB_TEXT, offsetof(struct model, sum.producer_version),
          "producer_version" },
        { PB_MODEL_GRAPH, OM_PB_BYTES, offsetof(struct model, graph), "graph" },
    };
    const om_sv bytes = { (const char *)model->data, (size_t)model->size };
    struct walk w = { .arena = a, .sum = &m.sum, .err = err };

    OM_TRY(om_wrap(err, om_pb_read(bytes, rules, OM_COUNT(rules), &m, err),
                   "not an ONNX model, or a damaged one"));
    if (!m.graph.ptr)
        return om_fail(err, OM_E_FORMAT, "not an ONNX model: it has no graph");
    OM_TRY(read_opsets(&w, bytes));
    OM_TRY(read_graph(&w, m.graph));
    *out = m.sum;
    return 0;
}
