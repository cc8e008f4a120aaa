/* src/onnx/doc.c: reads an .onnx file into a document. */
#include "onnx/doc.h"

#include <stdlib.h>

#include "onnx/pb.h"
#include "onnx/read.h"
#include "onnx/schema.h"

struct reader {
    struct om_doc *d;
    struct om_arena *arena;
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

/* --- fields --- */

/* How often each of the fields below 32 occurs, and the bytes of those that known does not name. */
struct census {
    uint32_t known; /* bit n: field n */
    size_t count[32];
    size_t rest;
};

static int take_census(om_sv msg, struct census *c, struct om_error *err)
{
    struct om_wire_field f;
    const char *at = msg.ptr;
    int rc;

    while ((rc = om_wire_next(&msg, &f, err)) > 0) {
        if (f.number < 32 && (c->known >> f.number & 1) != 0)
            c->count[f.number]++;
        else
            c->rest += (size_t)(msg.ptr - at);
        at = msg.ptr;
    }
    return rc;
}

/* The fields that are not known, one after the other; msg has passed the census. */
static int copy_rest(const struct reader *r, om_sv msg, const struct census *c, om_sv *out)
{
    struct om_wire_field f;
    const char *at = msg.ptr;
    size_t len = 0;
    char *copy;

    *out = (om_sv){ "", 0 };
    if (c->rest == 0)
        return 0;
    copy = om_arena_alloc(r->arena, c->rest);
    if (!copy)
        return no_memory(r->err);
    while (om_wire_next(&msg, &f, NULL) > 0) {
        if (f.number >= 32 || (c->known >> f.number & 1) == 0) {
            memcpy(copy + len, at, (size_t)(msg.ptr - at));
            len += (size_t)(msg.ptr - at);
        }
        at = msg.ptr;
    }
    *out = (om_sv){ copy, len };
    return 0;
}

/* An array for what the census counted, with the capacity said. */
static int make_array(const struct reader *r, void *items, size_t *cap, size_t n, size_t size)
{
    void *array;

    if (n == 0)
        return 0;
    array = om_arena_array(r->arena, n, size);
    if (!array)
        return no_memory(r->err);
    memcpy(items, &array, sizeof(array));
    *cap = n;
    return 0;
}

/* Fields that are messages or strings must come as such, as later walks rely on it. */
static int check_wire_types(om_sv msg, const char *what, uint32_t mask, struct om_error *err)
{
    struct om_wire_field f;
    int rc;

    while ((rc = om_wire_next(&msg, &f, err)) > 0)
        if (f.number < 32 && (mask >> f.number & 1) != 0 && f.type != OM_WIRE_LEN)
            return om_fail(err, OM_E_FORMAT, "%s: field %" PRIu32 " is no message or text", what,
                           f.number);
    return rc;
}

/* --- attributes and nodes --- */

static int read_graph(struct reader *r, om_sv msg, struct om_doc_graph *parent, unsigned depth,
                      struct om_doc_graph **out);

static int read_subgraphs(struct reader *r, om_sv msg, struct om_doc_attr *a,
                          struct om_doc_graph *g, unsigned depth)
{
    struct om_wire_field f;
    int rc;

    while ((rc = om_wire_next(&msg, &f, r->err)) > 0) {
        if (f.number != PB_ATTR_G && f.number != PB_ATTR_GRAPHS)
            continue;
        if (f.type != OM_WIRE_LEN)
            return om_fail(r->err, OM_E_FORMAT, "attribute \"%.*s\": a graph is no message",
                           OM_SV(a->name));
        OM_TRY(read_graph(r, f.bytes, g, depth + 1, &a->graphs[a->n_graphs]));
        a->n_graphs++;
    }
    return rc;
}

static int read_attr(struct reader *r, om_sv msg, struct om_doc_attr *a, struct om_doc_graph *g,
                     unsigned depth)
{
    static const struct om_pb_rule rules[] = {
        RULE(struct om_doc_attr, PB_ATTR_NAME, OM_PB_TEXT, name, "name"),
        RULE(struct om_doc_attr, PB_ATTR_TYPE, OM_PB_INT, type, "type"),
    };
    struct census c = { .known = 1u << PB_ATTR_G | 1u << PB_ATTR_GRAPHS };
    size_t n, cap;

    a->name = (om_sv){ "", 0 };
    a->message = msg;
    OM_TRY(om_wrap(r->err, om_pb_read(msg, rules, OM_COUNT(rules), a, r->err), "attribute"));
    OM_TRY(take_census(msg, &c, r->err));
    n = c.count[PB_ATTR_G] + c.count[PB_ATTR_GRAPHS];
    if (n == 0)
        return 0;
    OM_TRY(make_array(r, &a->graphs, &cap, n, sizeof(struct om_doc_graph *)));
    OM_TRY(copy_rest(r, msg, &c, &a->message));
    return read_subgraphs(r, msg, a, g, depth);
}

/* Names are made from these. */
static int check_name(om_sv name, struct om_error *err)
{
    if (name.len > 0 && (memchr(name.ptr, 0, name.len) || !om_utf8_valid(name)))
        return om_fail(err, OM_E_FORMAT, "the name of an input or output is not valid UTF-8");
    return 0;
}

static int read_node_fields(struct reader *r, om_sv msg, struct om_doc_node *n,
                            struct om_doc_graph *g, unsigned depth)
{
    struct om_wire_field f;
    int rc;

    while ((rc = om_wire_next(&msg, &f, r->err)) > 0) {
        if (f.number == PB_NODE_INPUT || f.number == PB_NODE_OUTPUT)
            OM_TRY(check_name(f.bytes, r->err));
        if (f.number == PB_NODE_INPUT)
            n->in[n->n_in++] = f.bytes;
        else if (f.number == PB_NODE_OUTPUT)
            n->out[n->n_out++] = f.bytes;
        else if (f.number == PB_NODE_ATTRIBUTE)
            OM_TRY(read_attr(r, f.bytes, &n->attrs[n->n_attrs++], g, depth));
    }
    return rc;
}

static int read_node(struct reader *r, om_sv msg, struct om_doc_graph *g, unsigned depth)
{
    static const struct om_pb_rule rules[] = {
        RULE(struct om_doc_node, PB_NODE_NAME, OM_PB_TEXT, name, "name"),
        RULE(struct om_doc_node, PB_NODE_OP_TYPE, OM_PB_TEXT, op, "op_type"),
        RULE(struct om_doc_node, PB_NODE_DOMAIN, OM_PB_TEXT, domain, "domain"),
    };
    struct census c = { .known = 1u << PB_NODE_INPUT | 1u << PB_NODE_OUTPUT | 1u << PB_NODE_NAME |
                                 1u << PB_NODE_OP_TYPE | 1u << PB_NODE_ATTRIBUTE |
                                 1u << PB_NODE_DOMAIN };
    struct om_doc_node n = { .name = { "", 0 }, .op = { "", 0 }, .domain = { "", 0 } };
    size_t cap;
    int rc = om_pb_read(msg, rules, OM_COUNT(rules), &n, r->err);

    if (rc == 0)
        rc = check_wire_types(msg, "node",
                              1u << PB_NODE_INPUT | 1u << PB_NODE_OUTPUT | 1u << PB_NODE_ATTRIBUTE,
                              r->err);
    if (rc == 0)
        rc = take_census(msg, &c, r->err);
    if (rc == 0)
        rc = make_array(r, &n.in, &cap, c.count[PB_NODE_INPUT], sizeof(om_sv));
    if (rc == 0)
        rc = make_array(r, &n.out, &cap, c.count[PB_NODE_OUTPUT], sizeof(om_sv));
    if (rc == 0)
        rc = make_array(r, &n.attrs, &cap, c.count[PB_NODE_ATTRIBUTE], sizeof(struct om_doc_attr));
    if (rc == 0)
        rc = copy_rest(r, msg, &c, &n.rest);
    if (rc == 0)
        rc = read_node_fields(r, msg, &n, g, depth);
    if (om_sv_is(n.domain, "ai.onnx"))
        n.domain = (om_sv){ "", 0 };
    g->nodes.items[g->nodes.len++] = n;
    return om_wrap(r->err, rc, "node \"%.*s\" (%.*s)", OM_SV(n.name), OM_SV(n.op));
}

/* --- values and tensors --- */

static int read_port(struct reader *r, om_sv msg, struct om_doc_ports *ports)
{
    struct info {
        om_sv name, type;
    } info = { { "", 0 }, { NULL, 0 } };
    struct om_doc_port *const p = &ports->items[ports->len++];
    static const struct om_pb_rule rules[] = {
        RULE(struct info, PB_VALUE_NAME, OM_PB_TEXT, name, "name"),
        RULE(struct info, PB_VALUE_TYPE, OM_PB_BYTES, type, "type"),
    };
    static const struct om_pb_rule elem_rules[] = {
        { PB_TENSOR_TYPE_ELEM, OM_PB_INT, 0, "elem_type" },
    };
    om_sv rest, tensor;
    int64_t elem = 0;
    int rc;

    OM_TRY(om_wrap(r->err, om_pb_read(msg, rules, OM_COUNT(rules), &info, r->err), "value"));
    p->name = info.name;
    p->message = msg;
    rest = info.type;
    rc = info.type.ptr ? om_pb_next_bytes(&rest, PB_TYPE_TENSOR_TYPE, &tensor, r->err) : 0;
    if (rc > 0)
        rc = om_pb_read(tensor, elem_rules, 1, &elem, r->err);
    if (elem == (int32_t)elem)
        p->type = (int32_t)elem;
    return om_wrap(r->err, OM_MIN(rc, 0), "value \"%.*s\"", OM_SV(info.name));
}

/* Bits of an element, by TensorProto.DataType; 0: not known, or strings. */
static unsigned type_bits(int64_t type)
{
    static const uint8_t bits[] = {
        [1] = 32,  [2] = 8,   [3] = 8,   [4] = 16,  [5] = 16,  [6] = 32,  [7] = 64,
        [9] = 8,   [10] = 16, [11] = 64, [12] = 32, [13] = 64, [14] = 64, [15] = 128,
        [16] = 16, [17] = 8,  [18] = 8,  [19] = 8,  [20] = 8,  [21] = 4,  [22] = 4,
        [23] = 4,  [24] = 8,  [25] = 2,  [26] = 2
    };

    return type > 0 && type < (int64_t)OM_COUNT(bits) ? bits[type] : 0;
}

static int read_tensor_shape(const struct reader *r, om_sv msg, struct om_doc_tensor *t)
{
    int64_t *dims = NULL, count;
    size_t n = 0, cap, ignored;
    uint64_t bits;

    OM_TRY(om_pb_ints(msg, PB_TENSOR_DIMS, NULL, 0, &n, r->err));
    if (n > UINT16_MAX)
        return om_fail(r->err, OM_E_UNSUPPORTED, "%zu axes", n);
    OM_TRY(make_array(r, &dims, &cap, n, sizeof(*dims)));
    OM_TRY(om_pb_ints(msg, PB_TENSOR_DIMS, dims, n, &ignored, r->err));
    if (!om_count(dims, n, &count) || !om_mul_u64((uint64_t)count, type_bits(t->type), &bits) ||
        bits > INT64_MAX)
        return om_fail(r->err, OM_E_FORMAT, "the shape is negative or too large");
    t->rank = (uint32_t)n;
    t->dims = dims;
    t->bytes = (bits + 7) / 8;
    return 0;
}

static int read_tensor(struct reader *r, om_sv msg, struct om_doc_tensors *list)
{
    struct head {
        om_sv name;
        int64_t type;
    } head = { { "", 0 }, 0 };
    static const struct om_pb_rule rules[] = {
        RULE(struct head, PB_TENSOR_NAME, OM_PB_TEXT, name, "name"),
        RULE(struct head, PB_TENSOR_DATA_TYPE, OM_PB_INT, type, "data_type"),
    };
    struct om_doc_tensor *const t = &list->items[list->len++];
    int rc = om_pb_read(msg, rules, OM_COUNT(rules), &head, r->err);

    t->name = head.name;
    t->message = msg;
    if (rc == 0 && head.type != (int32_t)head.type)
        rc = om_fail(r->err, OM_E_UNSUPPORTED, "element type %" PRId64, head.type);
    t->type = (int32_t)head.type;
    if (rc == 0)
        rc = read_tensor_shape(r, msg, t);
    return om_wrap(r->err, rc, "tensor \"%.*s\"", OM_SV(head.name));
}

/* --- graphs --- */

static int read_graph_fields(struct reader *r, om_sv msg, struct om_doc_graph *g, unsigned depth)
{
    struct om_wire_field f;
    int rc;

    while ((rc = om_wire_next(&msg, &f, r->err)) > 0) {
        switch (f.number) {
        case PB_GRAPH_NODE:
            OM_TRY(read_node(r, f.bytes, g, depth));
            break;
        case PB_GRAPH_INITIALIZER:
            OM_TRY(read_tensor(r, f.bytes, &g->tensors));
            break;
        case PB_GRAPH_INPUT:
            OM_TRY(read_port(r, f.bytes, &g->inputs));
            break;
        case PB_GRAPH_OUTPUT:
            OM_TRY(read_port(r, f.bytes, &g->outputs));
            break;
        case PB_GRAPH_VALUE_INFO:
            OM_TRY(read_port(r, f.bytes, &g->values));
            break;
        default:
            break;
        }
    }
    return rc;
}

#define GRAPH_LISTS                                                            \
    (1u << PB_GRAPH_NODE | 1u << PB_GRAPH_INITIALIZER | 1u << PB_GRAPH_INPUT | \
     1u << PB_GRAPH_OUTPUT | 1u << PB_GRAPH_VALUE_INFO)

static int read_graph(struct reader *r, om_sv msg, struct om_doc_graph *parent, unsigned depth,
                      struct om_doc_graph **out)
{
    static const struct om_pb_rule rules[] = {
        RULE(struct om_doc_graph, PB_GRAPH_NAME, OM_PB_TEXT, name, "name"),
    };
    struct om_doc_graph *const g = om_arena_alloc(r->arena, sizeof(*g));
    struct census c = { .known = GRAPH_LISTS | 1u << PB_GRAPH_NAME };

    if (!g)
        return no_memory(r->err);
    if (depth > OM_DOC_DEPTH_MAX)
        return om_fail(r->err, OM_E_LIMIT, "graphs are nested deeper than %d", OM_DOC_DEPTH_MAX);
    *out = g;
    g->parent = parent;
    g->name = (om_sv){ "", 0 };
    OM_TRY(check_wire_types(msg, "graph", GRAPH_LISTS, r->err));
    OM_TRY(om_pb_read(msg, rules, OM_COUNT(rules), g, r->err));
    OM_TRY(take_census(msg, &c, r->err));
    OM_TRY(make_array(r, &g->nodes.items, &g->nodes.cap, c.count[PB_GRAPH_NODE],
                      sizeof(struct om_doc_node)));
    OM_TRY(make_array(r, &g->tensors.items, &g->tensors.cap, c.count[PB_GRAPH_INITIALIZER],
                      sizeof(struct om_doc_tensor)));
    OM_TRY(make_array(r, &g->inputs.items, &g->inputs.cap, c.count[PB_GRAPH_INPUT],
                      sizeof(struct om_doc_port)));
    OM_TRY(make_array(r, &g->outputs.items, &g->outputs.cap, c.count[PB_GRAPH_OUTPUT],
                      sizeof(struct om_doc_port)));
    OM_TRY(make_array(r, &g->values.items, &g->values.cap, c.count[PB_GRAPH_VALUE_INFO],
                      sizeof(struct om_doc_port)));
    OM_TRY(copy_rest(r, msg, &c, &g->rest));
    return read_graph_fields(r, msg, g, depth);
}

/* --- the model --- */

static int read_opsets(struct reader *r, om_sv msg, uint32_t number, struct om_doc_opset **out,
                       size_t *n_out)
{
    static const struct om_pb_rule rules[] = {
        RULE(struct om_doc_opset, PB_OPSET_DOMAIN, OM_PB_TEXT, domain, "domain"),
        RULE(struct om_doc_opset, PB_OPSET_VERSION, OM_PB_INT, version, "version"),
    };
    struct census c = { .known = 1u << number };
    size_t cap;
    om_sv one;
    int rc;

    OM_TRY(take_census(msg, &c, r->err));
    OM_TRY(make_array(r, out, &cap, c.count[number], sizeof(**out)));
    while ((rc = om_pb_next_bytes(&msg, number, &one, r->err)) > 0) {
        struct om_doc_opset *const o = &(*out)[(*n_out)++];

        o->domain = (om_sv){ "", 0 };
        OM_TRY(om_wrap(r->err, om_pb_read(one, rules, OM_COUNT(rules), o, r->err), "opset_import"));
        if (om_sv_is(o->domain, "ai.onnx"))
            o->domain = (om_sv){ "", 0 };
    }
    return rc;
}

static int read_model(struct reader *r, om_sv msg)
{
    struct model {
        int64_t ir_version;
        om_sv producer_name, producer_version, graph;
    } m = { 0, { "", 0 }, { "", 0 }, { NULL, 0 } };
    static const struct om_pb_rule rules[] = {
        RULE(struct model, PB_MODEL_IR_VERSION, OM_PB_INT, ir_version, "ir_version"),
        RULE(struct model, PB_MODEL_PRODUCER_NAME, OM_PB_TEXT, producer_name, "producer_name"),
        RULE(struct model, PB_MODEL_PRODUCER_VERSION, OM_PB_TEXT, producer_version,
             "producer_version"),
        RULE(struct model, PB_MODEL_GRAPH, OM_PB_BYTES, graph, "graph"),
    };
    struct census c = { .known = 1u << PB_MODEL_IR_VERSION | 1u << PB_MODEL_PRODUCER_NAME |
                                 1u << PB_MODEL_PRODUCER_VERSION | 1u << PB_MODEL_GRAPH |
                                 1u << PB_MODEL_OPSET_IMPORT };
    struct census functions = { .known = 1u << PB_MODEL_FUNCTIONS };
    struct om_doc *const d = r->d;

    OM_TRY(om_wrap(r->err, om_pb_read(msg, rules, OM_COUNT(rules), &m, r->err),
                   "not an ONNX model, or a damaged one"));
    if (m.ir_version <= 0 || !m.graph.ptr)
        return om_fail(r->err, OM_E_FORMAT, "not an ONNX model: %s is missing",
                       m.graph.ptr ? "the IR version" : "the graph");
    OM_TRY(take_census(msg, &c, r->err));
    OM_TRY(take_census(msg, &functions, r->err));
    d->ir_version = m.ir_version;
    d->producer_name = m.producer_name;
    d->producer_version = m.producer_version;
    d->n_functions = functions.count[PB_MODEL_FUNCTIONS];
    OM_TRY(copy_rest(r, msg, &c, &d->rest));
    OM_TRY(read_opsets(r, msg, PB_MODEL_OPSET_IMPORT, &d->opsets, &d->n_opsets));
    return read_graph(r, m.graph, NULL, 0, &d->graph);
}

/* --- functions --- */

/* Names without a type, as ports. */
static int read_names(struct reader *r, om_sv msg, uint32_t number, struct om_doc_ports *ports,
                      size_t n)
{
    om_sv name;
    int rc;

    OM_TRY(make_array(r, &ports->items, &ports->cap, n, sizeof(*ports->items)));
    while ((rc = om_pb_next_text(&msg, number, &name, r->err)) > 0)
        ports->items[ports->len++] = (struct om_doc_port){ .name = name, .message = { "", 0 } };
    return rc;
}

static int read_defaults(struct reader *r, om_sv msg, struct om_doc_function *f, size_t n)
{
    size_t cap;
    om_sv one;
    int rc;

    OM_TRY(make_array(r, &f->defaults, &cap, n, sizeof(*f->defaults)));
    while ((rc = om_pb_next_bytes(&msg, PB_FUNCTION_DEFAULT, &one, r->err)) > 0)
        OM_TRY(read_attr(r, one, &f->defaults[f->n_defaults++], f->body, 0));
    return rc;
}

static int read_body(struct reader *r, om_sv msg, struct om_doc_function *f)
{
    struct census c = { .known = 1u << PB_FUNCTION_NODE | 1u << PB_FUNCTION_INPUT |
                                 1u << PB_FUNCTION_OUTPUT | 1u << PB_FUNCTION_DEFAULT };
    struct om_doc_graph *const g = f->body;
    om_sv rest = msg, node;
    int rc;

    OM_TRY(take_census(msg, &c, r->err));
    OM_TRY(read_names(r, msg, PB_FUNCTION_INPUT, &g->inputs, c.count[PB_FUNCTION_INPUT]));
    OM_TRY(read_names(r, msg, PB_FUNCTION_OUTPUT, &g->outputs, c.count[PB_FUNCTION_OUTPUT]));
    OM_TRY(read_defaults(r, msg, f, c.count[PB_FUNCTION_DEFAULT]));
    OM_TRY(make_array(r, &g->nodes.items, &g->nodes.cap, c.count[PB_FUNCTION_NODE],
                      sizeof(struct om_doc_node)));
    while ((rc = om_pb_next_bytes(&rest, PB_FUNCTION_NODE, &node, r->err)) > 0)
        OM_TRY(read_node(r, node, g, 0));
    return rc;
}

static int read_function(struct reader *r, om_sv msg, struct om_doc_function *f)
{
    static const struct om_pb_rule rules[] = {
        RULE(struct om_doc_function, PB_FUNCTION_NAME, OM_PB_TEXT, name, "name"),
        RULE(struct om_doc_function, PB_FUNCTION_DOMAIN, OM_PB_TEXT, domain, "domain"),
        RULE(struct om_doc_function, PB_FUNCTION_OVERLOAD, OM_PB_TEXT, overload, "overload"),
    };
    int rc;

    *f = (struct om_doc_function){ .domain = { "", 0 }, .name = { "", 0 }, .overload = { "", 0 } };
    OM_TRY(om_pb_read(msg, rules, OM_COUNT(rules), f, r->err));
    if (om_sv_is(f->domain, "ai.onnx"))
        f->domain = (om_sv){ "", 0 };
    f->body = om_arena_alloc(r->arena, sizeof(*f->body));
    if (!f->body)
        return no_memory(r->err);
    f->body->name = f->name;
    f->body->rest = (om_sv){ "", 0 };
    rc = read_opsets(r, msg, PB_FUNCTION_OPSET_IMPORT, &f->opsets, &f->n_opsets);
    if (rc == 0)
        rc = read_body(r, msg, f);
    return om_wrap(r->err, rc, "function \"%.*s\"", OM_SV(f->name));
}

int om_doc_functions(struct om_doc *d, struct om_doc_function **out, size_t *n,
                     struct om_error *err)
{
    struct reader r = { .d = d, .arena = d->arena, .err = err };
    om_sv rest = d->rest, msg;
    size_t cap, len = 0;
    int rc = 0;

    *out = NULL;
    OM_TRY(make_array(&r, out, &cap, d->n_functions, sizeof(**out)));
    while (len < d->n_functions &&
           (rc = om_pb_next_bytes(&rest, PB_MODEL_FUNCTIONS, &msg, err)) > 0)
        OM_TRY(read_function(&r, msg, &(*out)[len++]));
    *n = len;
    return len < d->n_functions ? rc : 0;
}

int om_doc_parse(struct om_arena *a, const struct om_file *model, const char *dir,
                 struct om_doc **out, struct om_error *err)
{
    struct om_doc *const d = om_arena_alloc(a, sizeof(*d));
    struct reader r = { .d = d, .arena = a, .err = err };
    int rc;

    if (!d)
        return no_memory(err);
    d->arena = a;
    OM_TRY(om_onnx_file_new(a, model, dir, &d->file, err));
    rc = read_model(&r, (om_sv){ (const char *)model->data, (size_t)model->size });
    if (rc < 0) {
        om_onnx_close(d->file);
        return rc;
    }
    *out = d;
    return 0;
}

/* The number in the location of a tensor's external data. */
static bool shell_index(om_sv message, size_t n, size_t *index)
{
    struct om_wire_field f;
    om_sv entry, rest = message;
    int64_t v;

    while (om_pb_next_bytes(&rest, PB_TENSOR_EXTERNAL_DATA, &entry, NULL) > 0) {
        om_sv key = { NULL, 0 };

        while (om_wire_next(&entry, &f, NULL) > 0) {
            if (f.number == PB_ENTRY_KEY)
                key = f.bytes;
            if (f.number != PB_ENTRY_VALUE || !om_sv_is(key, "location"))
                continue;
            if (!om_sv_i64(f.bytes, &v) || v < 0 || (size_t)v >= n)
                return false;
            *index = (size_t)v;
            return true;
        }
    }
    return false;
}

int om_doc_parse_shell(struct om_arena *a, const struct om_file *shell, const struct om_graph *g,
                       struct om_doc **out, struct om_error *err)
{
    struct om_doc_tensors *t;

    OM_TRY(om_doc_parse(a, shell, NULL, out, err));
    t = &(*out)->graph->tensors;
    for (size_t i = 0; i < t->len; i++) {
        size_t index = 0;

        if (!shell_index(t->items[i].message, g->n_weights, &index))
            return om_fail(err, OM_E_INTERNAL, "tensor \"%.*s\" refers to no weight",
                           OM_SV(t->items[i].name));
        t->items[i].message = (om_sv){ NULL, 0 };
        t->items[i].weight = &g->weights[index];
    }
    return 0;
}

int om_doc_open(struct om_arena *a, const char *path, struct om_doc **out, struct om_error *err)
{
    const char *dir = om_onnx_directory(a, path);
    struct om_file *const own = om_arena_alloc(a, sizeof(*own));
    int rc;

    if (!dir || !own)
        return no_memory(err);
    OM_TRY(om_file_map(own, path, err));
    rc = om_doc_parse(a, own, dir, out, err);
    if (rc < 0) {
        om_file_unmap(own);
        return om_wrap(err, rc, "%s", path);
    }
    (*out)->file->own = own;
    return 0;
}

struct om_doc_made {
    const struct om_doc_source *source;
    struct om_file file;
    struct om_doc_made *next;
};

void om_doc_close(struct om_doc *d)
{
    if (!d)
        return;
    for (struct om_doc_made *m = d->made; m; m = m->next)
        om_file_unmap(&m->file);
    d->made = NULL;
    om_onnx_close(d->file);
}

/* --- tensors --- */

/* What the source makes, mapped. */
static int make_file(const struct om_doc_tensor *t, struct om_file *file, struct om_error *err)
{
    struct om_out out = OM_OUT_INIT;
    int rc = om_out_temp(&out, err);

    if (rc == 0)
        rc = t->source->make(t->source, &out, err);
    if (rc == 0 && out.pos != t->bytes)
        rc = om_fail(err, OM_E_INTERNAL, "%" PRIu64 " bytes were made, expected %" PRIu64, out.pos,
                     t->bytes);
    if (rc == 0)
        rc = om_out_map(&out, file, err);
    om_out_abort(&out);
    return om_wrap(err, rc, "tensor \"%.*s\"", OM_SV(t->name));
}

static int find_made(struct om_doc *d, const struct om_doc_tensor *t, struct om_file **file,
                     struct om_error *err)
{
    struct om_doc_made *m = d->made;

    while (m && m->source != t->source)
        m = m->next;
    if (!m) {
        m = om_arena_alloc(d->arena, sizeof(*m));
        if (!m)
            return om_fail(err, OM_E_NOMEM, "out of memory");
        *m = (struct om_doc_made){ .source = t->source, .file = OM_FILE_INIT, .next = d->made };
        OM_TRY(make_file(t, &m->file, err));
        d->made = m;
    }
    *file = &m->file;
    return 0;
}

int om_doc_weight(struct om_doc *d, const struct om_doc_tensor *t, struct om_weight *out,
                  struct om_error *err)
{
    const enum om_dtype dtype = om_dtype_from_onnx(t->type);
    struct om_file *made = NULL;

    if (t->message.ptr)
        return om_onnx_read_tensor(d->file, t->message, true, out, err);
    if (t->weight) {
        *out = *t->weight;
        out->name = t->name;
        return 0;
    }
    if (dtype == OM_DTYPE_NONE)
        return om_fail(err, OM_E_UNSUPPORTED, "tensor \"%.*s\" cannot be read", OM_SV(t->name));
    if (t->source)
        OM_TRY(find_made(d, t, &made, err));
    *out = (struct om_weight){ .name = t->name,
                               .dtype = dtype,
                               .src_dtype = dtype,
                               .rank = t->rank,
                               .dims = t->dims,
                               .file = made,
                               .data = made ? made->data : t->data,
                               .bytes = t->bytes };
    return 0;
}

int om_doc_packed(struct om_doc *d, const struct om_doc_tensor *t, struct om_weight *out,
                  struct om_error *err)
{
    if (t->type < OM_DOC_FLOAT8E4M3FN || t->type > OM_DOC_INT2)
        return om_fail(err, OM_E_INTERNAL, "tensor \"%.*s\" has wider elements", OM_SV(t->name));
    if (!t->message.ptr)
        return om_fail(err, OM_E_UNSUPPORTED, "tensor \"%.*s\" cannot be read", OM_SV(t->name));
    return om_onnx_read_packed(d->file, t->message, t->bytes, true, out, err);
}

int om_doc_attr_tensor(struct om_doc *d, const struct om_doc_attr *a, struct om_doc_tensor *out,
                       struct om_error *err)
{
    struct om_doc_tensor t = { .name = { "", 0 } };
    struct om_doc_tensors list = { .items = &t, .len = 0, .cap = 1 };
    struct reader r = { .d = d, .arena = d->arena, .err = err };
    om_sv rest = a->message, msg;
    const int rc = om_pb_next_bytes(&rest, PB_ATTR_T, &msg, err);

    if (rc <= 0)
        return rc < 0
                   ? rc
                   : om_fail(err, OM_E_FORMAT, "attribute \"%.*s\" has no tensor", OM_SV(a->name));
    OM_TRY(read_tensor(&r, msg, &list));
    *out = t;
    return 0;
}
