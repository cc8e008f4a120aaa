/* src/onnx/read.c: a ModelProto becomes a graph: initializers and Constant nodes are weights, nodes
 * are emitted in file order with inference on the way, so that what the file claims about its
 * outputs can be checked. */
#include "onnx/read.h"

#include <stdlib.h>

#include "onnx/doc.h"
#include "onnx/forms.h"
#include "onnx/pb.h"
#include "onnx/schema.h"

/* Graphs within graphs. One level is three messages (graph, node, attribute), so the deepest
 * message is the 62nd. */
#define DEPTH_MAX 20

/* The names that are visible in one graph; outer graphs' names are visible too. */
struct names {
    struct names *parent;
    struct om_map values; /* to om_val.id */
};

struct reader {
    struct om_onnx_file *file;
    struct om_arena *arena;
    struct om_graph *g;
    uint32_t renamed; /* weights that got a number, so that a name is found at once */
    struct om_error *err;
};

#define RULE(type, number_, kind_, member, name_)                                           \
    {                                                                                       \
        .number = (number_), .kind = (kind_), .at = offsetof(type, member), .name = (name_) \
    }

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

static bool find_value(const struct names *n, om_sv name, om_val *out)
{
    for (; n; n = n->parent)
        if (om_map_get(&n->values, name, &out->id))
            return true;
    return false;
}

static int add_name(struct reader *r, struct names *n, om_sv name, om_val v)
{
    om_val other;

    if (find_value(n, name, &other))
        return om_fail(r->err, OM_E_FORMAT, "the name \"%.*s\" is defined twice", OM_SV(name));
    return om_map_put(&n->values, name, v.id) < 0 ? no_memory(r->err) : 0;
}

/* --- types and shapes --- */

struct axis {
    bool has_value;
    int64_t value;
    om_sv param;
};

struct value_info {
    om_sv name;
    enum om_dtype dtype;
    bool has_type, has_shape;
    uint32_t rank;
    struct axis axes[OM_RANK_MAX];
};

static int read_axis(om_sv msg, struct axis *axis, struct om_error *err)
{
    struct om_wire_field f;
    int rc;

    while ((rc = om_wire_next(&msg, &f, err)) > 0) {
        if (f.number == PB_DIM_VALUE && f.type == OM_WIRE_VARINT)
            *axis = (struct axis){ .has_value = true, .value = (int64_t)f.value };
        else if (f.number == PB_DIM_PARAM && f.type == OM_WIRE_LEN)
            *axis = (struct axis){ .param = f.bytes };
    }
    if (rc == 0 && axis->has_value && axis->value < 0)
        return om_fail(err, OM_E_FORMAT, "an axis has the extent %" PRId64, axis->value);
    if (rc == 0 && !om_utf8_valid(axis->param))
        return om_fail(err, OM_E_FORMAT, "the name of an axis is not valid UTF-8");
    return rc;
}

static int read_axes(om_sv shape, struct value_info *v, struct om_error *err)
{
    om_sv dim;
    int rc;

    while ((rc = om_pb_next_bytes(&shape, PB_SHAPE_DIM, &dim, err)) > 0) {
        if (v->rank >= OM_RANK_MAX)
            return om_fail(err, OM_E_UNSUPPORTED, "more than %d axes", OM_RANK_MAX);
        OM_TRY(read_axis(dim, &v->axes[v->rank++], err));
    }
    return rc;
}

static int read_type(om_sv msg, struct value_info *v, struct om_error *err)
{
    struct type {
        om_sv tensor;
    } type = { { NULL, 0 } };
    struct tensor_type {
        int64_t elem;
        om_sv shape;
    } tensor = { 0, { NULL, 0 } };
    static const struct om_pb_rule type_rules[] = {
        RULE(struct type, PB_TYPE_TENSOR_TYPE, OM_PB_BYTES, tensor, "tensor_type"),
    };
    static const struct om_pb_rule tensor_rules[] = {
        RULE(struct tensor_type, PB_TENSOR_TYPE_ELEM, OM_PB_INT, elem, "elem_type"),
        RULE(struct tensor_type, PB_TENSOR_TYPE_SHAPE, OM_PB_BYTES, shape, "shape"),
    };

    OM_TRY(om_pb_read(msg, type_rules, OM_COUNT(type_rules), &type, err));
    if (!type.tensor.ptr)
        return om_fail(err, OM_E_UNSUPPORTED, "only tensors are supported");
    OM_TRY(om_pb_read(type.tensor, tensor_rules, OM_COUNT(tensor_rules), &tensor, err));
    if (tensor.elem == (int32_t)tensor.elem)
        v->dtype = om_dtype_from_onnx((int32_t)tensor.elem);
    if (v->dtype == OM_DTYPE_NONE)
        return om_fail(err, OM_E_UNSUPPORTED, "element type %" PRId64, tensor.elem);
    v->has_type = true;
    v->has_shape = tensor.shape.ptr != NULL;
    return read_axes(tensor.shape, v, err);
}

/* A ValueInfoProto; what names the graph's side ("input", "output") in messages. */
static int read_value_info(om_sv msg, const char *what, struct value_info *v, struct om_error *err)
{
    struct info {
        om_sv name, type;
    } info = { { "", 0 }, { NULL, 0 } };
    static const struct om_pb_rule rules[] = {
        RULE(struct info, PB_VALUE_NAME, OM_PB_TEXT, name, "name"),
        RULE(struct info, PB_VALUE_TYPE, OM_PB_BYTES, type, "type"),
    };

    memset(v, 0, sizeof(*v));
    OM_TRY(om_wrap(err, om_pb_read(msg, rules, OM_COUNT(rules), &info, err), "%s", what));
    v->name = info.name;
    if (info.name.len == 0)
        return om_fail(err, OM_E_FORMAT, "an %s has no name", what);
    if (info.type.ptr)
        return om_wrap(err, read_type(info.type, v, err), "%s \"%.*s\"", what, OM_SV(info.name));
    return 0;
}

/* --- weights --- */

/* Branches may use the same names for different tensors, a graph may not. */
static int unique_weight_name(struct reader *r, om_sv *name)
{
    const om_sv base = *name;

    while (om_map_get(&r->g->weight_by_name, *name, NULL)) {
        const char *text = om_arena_printf(r->arena, "%.*s_%" PRIu32, OM_SV(base), ++r->renamed);

        if (!text)
            return no_memory(r->err);
        *name = om_sv_str(text);
    }
    return 0;
}

static int add_weight(struct reader *r, struct names *n, om_sv name, struct om_weight *w)
{
    om_val v;

    if (name.len == 0)
        return om_fail(r->err, OM_E_FORMAT, "an initializer has no name");
    w->name = name;
    OM_TRY(unique_weight_name(r, &w->name));
    v = om_graph_weight(r->g, w);
    OM_TRY(om_graph_check(r->g, r->err));
    return add_name(r, n, name, v);
}

static int read_initializers(struct reader *r, om_sv graph, struct names *n)
{
    struct om_weight w;
    om_sv msg;
    int rc;

    while ((rc = om_pb_next_bytes(&graph, PB_GRAPH_INITIALIZER, &msg, r->err)) > 0) {
        OM_TRY(om_onnx_read_tensor(r->file, msg, true, &w, r->err));
        OM_TRY(add_weight(r, n, w.name, &w));
    }
    return rc;
}

/* --- graph inputs --- */

/* The extent of an axis that callers choose: an expression over symbols, or a symbol of its own. */
static om_dim input_dim(struct reader *r, const struct value_info *v, uint32_t i)
{
    const struct axis *const a = &v->axes[i];
    struct om_dims *const dims = r->g->dims;
    const char *name;
    int64_t ignored;
    om_dim d;

    if (a->has_value)
        return om_dim_const(dims, a->value);
    if (a->param.len > 0) {
        d = om_dim_parse(dims, a->param);
        /* an axis may well be called "1" */
        return d && !om_dim_is_const(dims, d, &ignored) ? d : om_dim_symbol(dims, a->param);
    }
    name = om_arena_printf(r->arena, "%.*s_dim_%" PRIu32, OM_SV(v->name), i);
    return name ? om_dim_symbol(dims, om_sv_str(name)) : 0;
}

static int read_input(struct reader *r, om_sv msg, struct names *n)
{
    struct value_info v;
    om_dim dims[OM_RANK_MAX];
    om_val val;

    OM_TRY(read_value_info(msg, "input", &v, r->err));
    if (find_value(n, v.name, &val)) {
        if (r->g->values[val.id].weight != OM_NO_WEIGHT)
            return 0; /* an input with a default: files before IR version 4 list every initializer
                       */
        return om_fail(r->err, OM_E_FORMAT, "the name \"%.*s\" is defined twice", OM_SV(v.name));
    }
    if (!v.has_type || !v.has_shape)
        return om_fail(r->err, OM_E_UNSUPPORTED, "input \"%.*s\" has no %s", OM_SV(v.name),
                       v.has_type ? "shape" : "type");
    for (uint32_t i = 0; i < v.rank; i++) {
        dims[i] = input_dim(r, &v, i);
        if (dims[i] == 0)
            return no_memory(r->err);
    }
    val = om_graph_input(r->g, v.name, v.dtype, dims, v.rank);
    OM_TRY(om_graph_check(r->g, r->err));
    return add_name(r, n, v.name, val);
}

static int read_inputs(struct reader *r, om_sv graph, struct names *n, bool outer)
{
    om_sv msg;
    int rc;

    while ((rc = om_pb_next_bytes(&graph, PB_GRAPH_INPUT, &msg, r->err)) > 0) {
        if (!outer)
            return om_fail(r->err, OM_E_FORMAT, "a branch has inputs of its own");
        OM_TRY(read_input(r, msg, n));
    }
    return rc;
}

/* --- graph outputs --- */

/* What the file says about an axis against what inference found. A differing text is kept as the
 * axis's name. */
static int check_axis(struct reader *r, const struct axis *a, om_dim inferred, om_dim *dim,
                      const char **name)
{
    struct om_dims *const dims = r->g->dims;
    const char *text;
    int64_t known;

    *dim = inferred;
    *name = NULL;
    if (a->has_value) {
        if (om_dim_is_const(dims, inferred, &known) && known != a->value)
            return om_fail(r->err, OM_E_FORMAT,
                           "the file says %" PRId64 " for an axis that has the extent %" PRId64,
                           a->value, known);
        *dim = om_dim_const(dims, a->value);
        return *dim ? 0 : no_memory(r->err);
    }
    if (a->param.len == 0)
        return 0;
    text = om_dim_text(dims, inferred);
    if (text && om_sv_is(a->param, text) && !om_dim_is_const(dims, inferred, &known))
        return 0;
    *name = om_arena_str(r->arena, a->param);
    return *name ? 0 : no_memory(r->err);
}

static int declare_axes(struct reader *r, const struct value_info *v, const struct om_value *value,
                        om_dim **dims, const char ***names)
{
    bool differs = false, named = false;

    if (v->rank != value->rank)
        return om_fail(r->err, OM_E_FORMAT,
                       "the file says %" PRIu32 " axes, its value has %" PRIu32, v->rank,
                       value->rank);
    *dims = om_arena_array(r->arena, OM_RANK_MAX, sizeof(**dims));
    *names = om_arena_array(r->arena, OM_RANK_MAX, sizeof(**names));
    if (!*dims || !*names)
        return no_memory(r->err);
    for (uint32_t i = 0; i < v->rank; i++) {
        OM_TRY(check_axis(r, &v->axes[i], value->dims[i], &(*dims)[i], &(*names)[i]));
        differs |= (*dims)[i] != value->dims[i];
        named |= (*names)[i] != NULL;
    }
    if (!differs)
        *dims = NULL;
    if (!named)
        *names = NULL;
    return 0;
}

static int read_output(struct reader *r, om_sv msg, const struct names *n)
{
    struct om_graph *const g = r->g;
    const struct om_value *value;
    struct value_info v;
    const char **names = NULL;
    om_dim *dims = NULL;
    struct om_block *block;
    om_val val;
    int rc;

    OM_TRY(read_value_info(msg, "output", &v, r->err));
    if (!find_value(n, v.name, &val))
        return om_fail(r->err, OM_E_FORMAT, "output \"%.*s\" is not a value of the graph",
                       OM_SV(v.name));
    value = om_graph_value(g, val);
    if (v.has_type && v.dtype != value->dtype)
        return om_fail(r->err, OM_E_FORMAT, "output \"%.*s\": the file says %s, its value has %s",
                       OM_SV(v.name), om_dtype_text(v.dtype), om_dtype_text(value->dtype));
    if (v.has_shape) {
        rc = declare_axes(r, &v, value, &dims, &names);
        OM_TRY(om_wrap(r->err, rc, "output \"%.*s\"", OM_SV(v.name)));
    }
    om_graph_output(g, v.name, val, dims);
    OM_TRY(om_graph_check(g, r->err));
    block = &g->blocks[g->block];
    block->outputs[block->n_outputs - 1].axes = names;
    return 0;
}

static int read_outputs(struct reader *r, om_sv graph, const struct names *n)
{
    om_sv msg;
    int rc;

    while ((rc = om_pb_next_bytes(&graph, PB_GRAPH_OUTPUT, &msg, r->err)) > 0)
        OM_TRY(read_output(r, msg, n));
    return rc;
}

/* --- attributes --- */

struct attribute {
    om_sv name, s, t, g, ref;
    int64_t i, type;
    float f;
};

static const struct om_pb_rule attribute_rules[] = {
    RULE(struct attribute, PB_ATTR_NAME, OM_PB_TEXT, name, "name"),
    RULE(struct attribute, PB_ATTR_F, OM_PB_F32, f, "f"),
    RULE(struct attribute, PB_ATTR_I, OM_PB_INT, i, "i"),
    RULE(struct attribute, PB_ATTR_S, OM_PB_BYTES, s, "s"),
    RULE(struct attribute, PB_ATTR_T, OM_PB_BYTES, t, "t"),
    RULE(struct attribute, PB_ATTR_G, OM_PB_BYTES, g, "g"),
    RULE(struct attribute, PB_ATTR_TYPE, OM_PB_INT, type, "type"),
    RULE(struct attribute, PB_ATTR_REF, OM_PB_TEXT, ref, "ref_attr_name"),
};

static int read_graph(struct reader *r, om_sv msg, struct names *n, unsigned depth);

static int read_ints(struct reader *r, om_sv msg, struct om_attr *out)
{
    int64_t *ints;
    size_t n;

    OM_TRY(om_pb_ints(msg, PB_ATTR_INTS, NULL, 0, &n, r->err));
    ints = om_arena_array(r->arena, n, sizeof(*ints));
    if (n > UINT32_MAX || (!ints && n > 0))
        return no_memory(r->err);
    OM_TRY(om_pb_ints(msg, PB_ATTR_INTS, ints, n, &n, r->err));
    out->ints = ints;
    out->n = (uint32_t)n;
    return 0;
}

static int read_branch(struct reader *r, om_sv msg, struct names *n, unsigned depth,
                       struct om_attr *out)
{
    struct names inner = { .parent = n, .values = OM_MAP_INIT };
    struct branch {
        om_sv name;
    } b = { { "", 0 } };
    static const struct om_pb_rule rules[] = {
        RULE(struct branch, PB_GRAPH_NAME, OM_PB_TEXT, name, "name"),
    };
    int rc;

    if (depth >= DEPTH_MAX)
        return om_fail(r->err, OM_E_LIMIT, "graphs are nested more than %d deep", DEPTH_MAX);
    OM_TRY(om_pb_read(msg, rules, OM_COUNT(rules), &b, r->err));
    out->i = om_graph_block_begin(r->g, b.name);
    OM_TRY(om_graph_check(r->g, r->err));
    rc = read_graph(r, msg, &inner, depth + 1);
    om_map_release(&inner.values);
    om_graph_block_end(r->g);
    return rc;
}

static int read_attr_tensor(struct reader *r, om_sv msg, struct om_attr *out)
{
    struct om_weight *w = om_arena_alloc(r->arena, sizeof(*w));

    if (!w)
        return no_memory(r->err);
    out->tensor = w;
    return om_onnx_read_tensor(r->file, msg, false, w, r->err);
}

static int read_attr_value(struct reader *r, om_sv msg, const struct attribute *a, struct names *n,
                           unsigned depth, struct om_attr *out)
{
    switch (a->type) {
    case PB_TYPE_FLOAT:
        out->kind = OM_ATTR_FLOAT;
        out->f = a->f;
        return 0;
    case PB_TYPE_INT:
        out->kind = OM_ATTR_INT;
        out->i = a->i;
        return 0;
    case PB_TYPE_STRING:
        out->kind = OM_ATTR_STRING;
        out->s = a->s;
        return 0;
    case PB_TYPE_INTS:
        out->kind = OM_ATTR_INTS;
        return read_ints(r, msg, out);
    case PB_TYPE_TENSOR:
        out->kind = OM_ATTR_TENSOR;
        return read_attr_tensor(r, a->t, out);
    case PB_TYPE_GRAPH:
        out->kind = OM_ATTR_BLOCK;
        return read_branch(r, a->g, n, depth, out);
    default:
        return om_fail(r->err, OM_E_UNSUPPORTED, "attribute type %" PRId64, a->type);
    }
}

static int read_attr(struct reader *r, om_sv msg, struct names *n, unsigned depth,
                     struct om_attr *out)
{
    struct attribute a = { .s = { "", 0 } };
    int rc;

    OM_TRY(om_pb_read(msg, attribute_rules, OM_COUNT(attribute_rules), &a, r->err));
    if (a.ref.len > 0)
        return om_fail(r->err, OM_E_UNSUPPORTED, "attribute \"%.*s\" refers to a function's",
                       OM_SV(a.name));
    out->name = om_arena_str(r->arena, a.name);
    if (!out->name)
        return no_memory(r->err);
    rc = read_attr_value(r, msg, &a, n, depth, out);
    return om_wrap(r->err, rc, "attribute \"%.*s\"", OM_SV(a.name));
}

/* --- nodes --- */

struct node {
    om_sv name, op_type, domain;
    size_t n_in, n_out, n_attrs;
};

static const struct om_pb_rule node_rules[] = {
    RULE(struct node, PB_NODE_NAME, OM_PB_TEXT, name, "name"),
    RULE(struct node, PB_NODE_OP_TYPE, OM_PB_TEXT, op_type, "op_type"),
    RULE(struct node, PB_NODE_DOMAIN, OM_PB_TEXT, domain, "domain"),
    RULE(struct node, PB_NODE_INPUT, OM_PB_COUNT, n_in, "input"),
    RULE(struct node, PB_NODE_OUTPUT, OM_PB_COUNT, n_out, "output"),
    RULE(struct node, PB_NODE_ATTRIBUTE, OM_PB_COUNT, n_attrs, "attribute"),
};

static bool is_default_domain(om_sv domain)
{
    return domain.len == 0 || om_sv_is(domain, "ai.onnx");
}

/* A node of the graph (or of a graph around it) that gives the value, wherever it stands. */
static bool defined_later(om_sv graph, om_sv value)
{
    om_sv node, out;

    while (om_pb_next_bytes(&graph, PB_GRAPH_NODE, &node, NULL) > 0)
        while (om_pb_next_bytes(&node, PB_NODE_OUTPUT, &out, NULL) > 0)
            if (om_sv_eq(out, value))
                return true;
    return false;
}

static int read_node_inputs(struct reader *r, om_sv graph, om_sv msg, const struct names *n,
                            om_val *in)
{
    om_sv name;
    int rc;

    while ((rc = om_pb_next_text(&msg, PB_NODE_INPUT, &name, r->err)) > 0) {
        if (name.len > 0 && !find_value(n, name, in))
            return om_fail(
                r->err, OM_E_FORMAT,
                defined_later(graph, name)
                    ? "input \"%.*s\" is computed by a later node, expected nodes in "
                      "topological order"
                    : "input \"%.*s\" is not an input, an initializer or an output of an "
                      "earlier node",
                OM_SV(name));
        in++;
    }
    return rc;
}

static int read_node_attrs(struct reader *r, om_sv msg, struct names *n, unsigned depth,
                           struct om_attr *attrs)
{
    om_sv attr;
    int rc;

    while ((rc = om_pb_next_bytes(&msg, PB_NODE_ATTRIBUTE, &attr, r->err)) > 0)
        OM_TRY(read_attr(r, attr, n, depth, attrs++));
    return rc;
}

/* Names make later nodes find the outputs; a value without one cannot be referred to. */
static int name_outputs(struct reader *r, om_sv msg, struct names *n, const om_val *out)
{
    om_sv name;
    int rc;

    while ((rc = om_pb_next_text(&msg, PB_NODE_OUTPUT, &name, r->err)) > 0) {
        if (name.len > 0) {
            OM_TRY(add_name(r, n, name, *out));
            r->g->values[out->id].name = name;
        }
        out++;
    }
    return rc;
}

/* "/encoder/layer.0/MatMul" lies in the scope "encoder/layer.0". */
static om_sv scope_of(om_sv name)
{
    om_sv s = name;

    while (s.len > 0 && s.ptr[s.len - 1] != '/')
        s.len--;
    if (s.len > 0)
        s.len--;
    if (s.len > 0 && s.ptr[0] == '/')
        s = (om_sv){ s.ptr + 1, s.len - 1 };
    return s;
}

/* An attribute that newer opsets have as an input becomes one. */
static int modernise(struct reader *r, enum om_op op, om_val *in, size_t *n_in,
                     struct om_attr *attrs, size_t *n_attrs)
{
    const struct om_onnx_form *const form = om_onnx_old_form(op, r->file->meta.opset);

    for (size_t i = 0; form && i < *n_attrs && *n_in == form->input; i++) {
        const struct om_attr a = attrs[i];
        const int64_t dim = a.n;

        if (strcmp(a.name, form->attr) != 0 || a.kind != OM_ATTR_INTS)
            continue;
        in[(*n_in)++] = om_graph_const(r->g, OM_I64, &dim, 1, a.ints);
        memmove(&attrs[i], &attrs[i + 1], (*n_attrs - i - 1) * sizeof(a));
        (*n_attrs)--;
    }
    return om_graph_check(r->g, r->err);
}

static int emit(struct reader *r, om_sv graph, om_sv msg, const struct node *node, enum om_op op,
                struct names *n, unsigned depth)
{
    om_val *in = om_arena_array(r->arena, node->n_in + 1, sizeof(*in));
    om_val *out = om_arena_array(r->arena, node->n_out + 1, sizeof(*out));
    struct om_attr *attrs = om_arena_array(r->arena, node->n_attrs + 1, sizeof(*attrs));
    size_t n_in = node->n_in, n_attrs = node->n_attrs;

    if (!in || !out || !attrs)
        return no_memory(r->err);
    OM_TRY(read_node_inputs(r, graph, msg, n, in));
    OM_TRY(read_node_attrs(r, msg, n, depth, attrs));
    OM_TRY(modernise(r, op, in, &n_in, attrs, &n_attrs));
    om_graph_emit_n(r->g, op, scope_of(node->name), in, (uint32_t)n_in, attrs, (uint32_t)n_attrs,
                    out, (uint32_t)node->n_out);
    OM_TRY(om_graph_check(r->g, r->err));
    if (node->n_out > 0 && out[0].id == 0)
        return om_fail(r->err, OM_E_FORMAT, "a required input is left out");
    r->g->nodes[r->g->n_nodes - 1].name = node->name;
    return name_outputs(r, msg, n, out);
}

/* --- Constant nodes --- */

static int constant_scalar(struct reader *r, const struct attribute *a, struct om_weight *w)
{
    const void *value = w->dtype == OM_I64 ? (const void *)&a->i : (const void *)&a->f;

    w->bytes = om_dtype_size(w->dtype);
    w->data = om_arena_copy(r->arena, value, (size_t)w->bytes);
    return w->data ? 0 : no_memory(r->err);
}

static int constant_list(struct reader *r, om_sv msg, uint32_t number, struct om_weight *w)
{
    const size_t size = om_dtype_size(w->dtype);
    size_t n = 0, cap = msg.len; /* an element takes a byte or more */
    struct om_wire_field f;
    uint8_t *data = om_arena_array(r->arena, cap, size);
    int64_t *dims = om_arena_alloc(r->arena, sizeof(*dims));
    int rc, more;

    if (!data || !dims)
        return no_memory(r->err);
    while ((rc = om_pb_next(&msg, number, &f, r->err)) > 0) {
        uint64_t v;

        while ((more = om_pb_element(&f, size == 4 ? 4 : 0, &v, r->err)) > 0)
            memcpy(data + n++ * size, &v, size);
        OM_TRY(more);
    }
    dims[0] = (int64_t)n;
    w->rank = 1;
    w->dims = dims;
    w->data = data;
    w->bytes = n * size;
    return rc;
}

static int constant_value(struct reader *r, om_sv msg, struct om_weight *w)
{
    struct attribute a = { .s = { "", 0 } };

    OM_TRY(om_pb_read(msg, attribute_rules, OM_COUNT(attribute_rules), &a, r->err));
    if (om_sv_is(a.name, "value") && a.type == PB_TYPE_TENSOR)
        return om_onnx_read_tensor(r->file, a.t, true, w, r->err);
    *w = (struct om_weight){ .dtype = OM_F32, .src_dtype = OM_F32 };
    if (om_sv_is(a.name, "value_float") && a.type == PB_TYPE_FLOAT)
        return constant_scalar(r, &a, w);
    if (om_sv_is(a.name, "value_floats") && a.type == PB_TYPE_FLOATS)
        return constant_list(r, msg, PB_ATTR_FLOATS, w);
    w->dtype = w->src_dtype = OM_I64;
    if (om_sv_is(a.name, "value_int") && a.type == PB_TYPE_INT)
        return constant_scalar(r, &a, w);
    if (om_sv_is(a.name, "value_ints") && a.type == PB_TYPE_INTS)
        return constant_list(r, msg, PB_ATTR_INTS, w);
    return om_fail(r->err, OM_E_UNSUPPORTED, "a constant given by attribute \"%.*s\"",
                   OM_SV(a.name));
}

static int read_constant(struct reader *r, om_sv msg, const struct node *node, struct names *n)
{
    struct om_weight w;
    om_sv attr, name, rest = msg;

    if (node->n_in != 0 || node->n_out != 1 || node->n_attrs != 1)
        return om_fail(r->err, OM_E_FORMAT, "expected one output and one attribute");
    OM_TRY(om_pb_next_bytes(&rest, PB_NODE_ATTRIBUTE, &attr, r->err));
    OM_TRY(constant_value(r, attr, &w));
    OM_TRY(om_pb_next_text(&msg, PB_NODE_OUTPUT, &name, r->err));
    return add_weight(r, n, name, &w);
}

static int read_node_as(struct reader *r, om_sv graph, om_sv msg, const struct node *node,
                        struct names *n, unsigned depth)
{
    const bool is_onnx = is_default_domain(node->domain);
    const enum om_op op = om_op_find(is_onnx ? OM_SVL("") : node->domain, node->op_type);

    if (is_onnx && om_sv_is(node->op_type, "Constant"))
        return read_constant(r, msg, node, n);
    if (!is_onnx && op == OM_OP_NONE)
        return om_fail(r->err, OM_E_UNSUPPORTED, "domain \"%.*s\", expected ai.onnx",
                       OM_SV(node->domain));
    if (op == OM_OP_NONE || op == OM_OP_Linear || op == OM_OP_Dims)
        return om_fail(r->err, OM_E_UNSUPPORTED, "this operator is not supported");
    return emit(r, graph, msg, node, op, n, depth);
}

static int read_node(struct reader *r, om_sv graph, om_sv msg, struct names *n, unsigned depth)
{
    struct node node = { .name = { "", 0 } };
    int rc;

    OM_TRY(om_wrap(r->err, om_pb_read(msg, node_rules, OM_COUNT(node_rules), &node, r->err),
                   "a node"));
    rc = read_node_as(r, graph, msg, &node, n, depth);
    return om_wrap(r->err, rc, "node \"%.*s\" (%.*s)", OM_SV(node.name), OM_SV(node.op_type));
}

static int read_nodes(struct reader *r, om_sv graph, struct names *n, unsigned depth)
{
    om_sv rest = graph, msg;
    int rc;

    while ((rc = om_pb_next_bytes(&rest, PB_GRAPH_NODE, &msg, r->err)) > 0)
        OM_TRY(read_node(r, graph, msg, n, depth));
    return rc;
}

/* --- graph and model --- */

/* The fields of a message may come in any order, so each kind is a walk of its own. */
static int read_graph(struct reader *r, om_sv msg, struct names *n, unsigned depth)
{
    struct om_wire_field f;
    om_sv rest = msg;
    int rc = om_pb_next(&rest, PB_GRAPH_SPARSE_INITIALIZER, &f, r->err);

    OM_TRY(rc);
    if (rc > 0)
        return om_fail(r->err, OM_E_UNSUPPORTED, "sparse initializers");
    OM_TRY(read_initializers(r, msg, n));
    OM_TRY(read_inputs(r, msg, n, depth == 0));
    OM_TRY(read_nodes(r, msg, n, depth));
    return read_outputs(r, msg, n);
}

static int read_opset(om_sv model, int64_t *opset, struct om_error *err)
{
    struct import {
        om_sv domain;
        int64_t version;
    };
    static const struct om_pb_rule rules[] = {
        RULE(struct import, PB_OPSET_DOMAIN, OM_PB_TEXT, domain, "domain"),
        RULE(struct import, PB_OPSET_VERSION, OM_PB_INT, version, "version"),
    };
    om_sv msg;
    int rc;

    *opset = 0;
    while ((rc = om_pb_next_bytes(&model, PB_MODEL_OPSET_IMPORT, &msg, err)) > 0) {
        struct import import = { { "", 0 }, 0 };

        OM_TRY(om_wrap(err, om_pb_read(msg, rules, OM_COUNT(rules), &import, err), "opset_import"));
        if (is_default_domain(import.domain))
            *opset = import.version;
    }
    OM_TRY(rc);
    if (*opset == 0)
        return om_fail(err, OM_E_FORMAT, "no opset_import of the domain ai.onnx");
    if (*opset < OM_ONNX_OPSET_MIN || *opset > OM_ONNX_OPSET_MAX)
        return om_fail(err, OM_E_UNSUPPORTED, "opset %" PRId64 ", expected %d to %d", *opset,
                       OM_ONNX_OPSET_MIN, OM_ONNX_OPSET_MAX);
    return 0;
}

struct model {
    int64_t ir_version;
    om_sv producer_name, producer_version, graph;
    size_t n_functions;
};

static int read_model(om_sv msg, struct model *m, struct om_onnx_meta *meta, struct om_error *err)
{
    static const struct om_pb_rule rules[] = {
        RULE(struct model, PB_MODEL_IR_VERSION, OM_PB_INT, ir_version, "ir_version"),
        RULE(struct model, PB_MODEL_PRODUCER_NAME, OM_PB_TEXT, producer_name, "producer_name"),
        RULE(struct model, PB_MODEL_PRODUCER_VERSION, OM_PB_TEXT, producer_version,
             "producer_version"),
        RULE(struct model, PB_MODEL_GRAPH, OM_PB_BYTES, graph, "graph"),
        RULE(struct model, PB_MODEL_FUNCTIONS, OM_PB_COUNT, n_functions, "functions"),
    };

    OM_TRY(om_wrap(err, om_pb_read(msg, rules, OM_COUNT(rules), m, err),
                   "not an ONNX model, or a damaged one"));
    if (m->ir_version <= 0 || !m->graph.ptr)
        return om_fail(err, OM_E_FORMAT, "not an ONNX model: %s is missing",
                       m->graph.ptr ? "the IR version" : "the graph");
    if (m->n_functions > 0)
        return om_fail(err, OM_E_UNSUPPORTED, "model-local functions");
    OM_TRY(read_opset(msg, &meta->opset, err));
    meta->ir_version = m->ir_version;
    meta->producer_name = m->producer_name;
    meta->producer_version = m->producer_version;
    return 0;
}

static int build(struct reader *r, om_sv graph)
{
    struct names n = { .parent = NULL, .values = OM_MAP_INIT };
    struct om_onnx_meta *const meta = &r->file->meta;
    static const struct om_pb_rule rules[] = {
        RULE(struct om_onnx_meta, PB_GRAPH_NAME, OM_PB_TEXT, graph_name, "name"),
    };
    int rc = om_pb_read(graph, rules, OM_COUNT(rules), meta, r->err);

    if (rc == 0)
        rc = om_graph_new(r->arena, NULL, meta->graph_name, &r->g, r->err);
    if (rc == 0)
        rc = read_graph(r, graph, &n, 0);
    if (rc == 0)
        rc = om_graph_finish(r->g, r->err);
    om_map_release(&n.values);
    return rc;
}

int om_onnx_file_new(struct om_arena *a, const struct om_file *model, const char *dir,
                     struct om_onnx_file **out, struct om_error *err)
{
    struct om_onnx_file *f = om_arena_alloc(a, sizeof(*f));
    char *real = dir ? realpath(dir, NULL) : NULL;
    int rc = 0;

    if (!f || (real && !(f->dir = om_arena_str(a, om_sv_str(real)))))
        rc = no_memory(err);
    else if (dir && !real)
        rc = om_fail(err, OM_E_IO, "%s: not a directory that can be resolved", dir);
    free(real);
    if (rc < 0)
        return rc;
    f->arena = a;
    f->model = model;
    *out = f;
    return 0;
}

int om_onnx_parse(struct om_arena *a, const struct om_file *model, const char *dir,
                  struct om_onnx_file **file, struct om_graph **g, struct om_error *err)
{
    struct om_onnx_file *f = NULL;
    struct reader r = { .arena = a, .err = err };
    struct model m = { .producer_name = { "", 0 } };
    int rc;

    OM_TRY(om_onnx_file_new(a, model, dir, &f, err));
    r.file = f;
    rc = read_model((om_sv){ (const char *)model->data, (size_t)model->size }, &m, &f->meta, err);
    if (rc == 0)
        rc = build(&r, m.graph);
    if (rc < 0) {
        om_graph_free(r.g);
        om_onnx_close(f);
        return rc;
    }
    *file = f;
    *g = r.g;
    return 0;
}

const char *om_onnx_directory(struct om_arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return ".";
    return om_arena_str(a, (om_sv){ path, slash == path ? 1 : (size_t)(slash - path) });
}

int om_onnx_open(struct om_arena *a, const char *path, struct om_onnx_file **file,
                 struct om_graph **g, struct om_error *err)
{
    const char *dir = om_onnx_directory(a, path);
    struct om_file *own = om_arena_alloc(a, sizeof(*own)); /* weights refer to it */
    int rc;

    if (!dir || !own)
        return no_memory(err);
    OM_TRY(om_file_map(own, path, err));
    rc = om_onnx_parse(a, own, dir, file, g, err);
    if (rc < 0) {
        om_file_unmap(own);
        return om_wrap(err, rc, "%s", path);
    }
    (*file)->own = own;
    return 0;
}

void om_onnx_close(struct om_onnx_file *f)
{
    if (!f)
        return;
    for (struct om_onnx_external *x = f->externals; x; x = x->next)
        om_file_unmap(&x->file);
    f->externals = NULL;
    if (f->own)
        om_file_unmap(f->own);
    f->own = NULL;
}

const struct om_onnx_meta *om_onnx_file_meta(const struct om_onnx_file *f)
{
    return &f->meta;
}

/* --- pieces, for documents --- */

int om_doc_attr_read(struct om_doc *d, struct om_arena *a, const struct om_doc_attr *attr,
                     struct om_attr *out, struct om_error *err)
{
    struct reader r = { .file = d->file, .arena = a, .err = err };

    *out = (struct om_attr){ .name = NULL };
    return read_attr(&r, attr->message, NULL, DEPTH_MAX, out);
}

int om_doc_port_read(const struct om_doc_port *p, struct om_graph *g, struct om_value *out,
                     struct om_error *err)
{
    struct reader r = { .arena = g->arena, .g = g, .err = err };
    struct value_info v;
    om_dim *dims;

    OM_TRY(read_value_info(p->message, "port", &v, err));
    if (!v.has_type || !v.has_shape)
        return om_fail(err, OM_E_UNSUPPORTED, "port \"%.*s\" has no %s", OM_SV(v.name),
                       v.has_type ? "shape" : "type");
    dims = om_arena_array(g->arena, v.rank, sizeof(*dims));
    if (!dims)
        return no_memory(err);
    for (uint32_t i = 0; i < v.rank; i++)
        if ((dims[i] = input_dim(&r, &v, i)) == 0)
            return no_memory(err);
    *out = (struct om_value){ .dtype = v.dtype,
                              .rank = v.rank,
                              .dims = dims,
                              .node = OM_NO_NODE,
                              .weight = OM_NO_WEIGHT,
                              .name = p->name };
    return 0;
}
