/* src/onnx/write.c: a lowered graph as ModelProto.
 *
 * Protobuf wants the length of a message before its contents, so the whole file except the weights
 * is laid out in a buffer first; a list says which weight follows which byte. Then both are
 * streamed. Fields are in ascending order, as protobuf's own serializers write them. */
#include "onnx/onnx.h"

#include <stdio.h>
#include <stdlib.h>

#include <optimum/version.h>

#include "base/wire.h"
#include "onnx/forms.h"
#include "onnx/schema.h"
#include "onnx/weight.h"

/* The bytes of weight come after the first at bytes of the graph. */
struct splice {
    size_t at;
    const struct om_weight *weight;
};

/* The initializer of a weight. Tied weights, views of the same bytes, share one: that of the first
 * of them. */
struct initializer {
    om_sv name;
    uint32_t owner; /* the weight it is written for; OM_NO_WEIGHT when no node reads it */
};

struct writer {
    const struct om_graph *g;
    enum om_weights_mode mode;
    int opset;
    bool shell; /* weights are numbers, see om_onnx_write_shell() */
    struct om_onnx_data *data;
    struct om_buf graph;
    struct om_buf tensor; /* scratch: one initializer without its raw_data */
    struct splice *splices;
    size_t n_splices, cap_splices;
    uint64_t payload;          /* bytes of all splices */
    struct initializer *inits; /* by index into g->weights */
    struct om_error *err;
};

static void put_sv(struct om_buf *b, uint32_t number, om_sv v)
{
    om_wire_put_bytes(b, number, v);
}

static void put_str(struct om_buf *b, uint32_t number, const char *s)
{
    om_wire_put_bytes(b, number, om_sv_str(s));
}

/* --- values, types and nodes --- */

static om_sv value_name(const struct writer *w, om_val v)
{
    const struct om_value *const value = &w->g->values[v.id];

    if (v.id == 0)
        return (om_sv){ "", 0 };
    return value->weight == OM_NO_WEIGHT ? value->name : w->inits[value->weight].name;
}

static void put_dim(struct om_buf *b, const struct om_dims *dims, om_dim d, const char *axis)
{
    const size_t dim = om_wire_begin(b, PB_SHAPE_DIM);
    int64_t v;

    if (axis) {
        put_str(b, PB_DIM_PARAM, axis);
    } else if (om_dim_is_const(dims, d, &v)) {
        om_wire_put_int(b, PB_DIM_VALUE, v);
    } else {
        const size_t param = om_wire_begin(b, PB_DIM_PARAM);

        om_dim_write(dims, d, b);
        om_wire_end(b, param);
    }
    om_wire_end(b, dim);
}

/* A ValueInfoProto. */
static void put_port(struct om_buf *b, uint32_t number, const struct om_graph *g,
                     const struct om_port *p)
{
    const struct om_value *const v = om_graph_value(g, p->val);
    const om_dim *const dims = p->dims ? p->dims : v->dims;
    const size_t info = om_wire_begin(b, number);

    put_sv(b, PB_VALUE_NAME, p->name);
    const size_t type = om_wire_begin(b, PB_VALUE_TYPE);
    const size_t tensor = om_wire_begin(b, PB_TYPE_TENSOR_TYPE);
    om_wire_put_int(b, PB_TENSOR_TYPE_ELEM, om_dtype_onnx(v->dtype));
    const size_t shape = om_wire_begin(b, PB_TENSOR_TYPE_SHAPE);
    for (uint32_t i = 0; i < v->rank; i++)
        put_dim(b, g->dims, dims[i], p->axes ? p->axes[i] : NULL);
    om_wire_end(b, shape);
    om_wire_end(b, tensor);
    om_wire_end(b, type);
    om_wire_end(b, info);
}

static int put_block(struct writer *w, struct om_buf *b, uint32_t block);

static void put_tensor_head(struct om_buf *b, const struct om_weight *t)
{
    for (uint32_t i = 0; i < t->rank; i++)
        om_wire_put_int(b, PB_TENSOR_DIMS, t->dims[i]);
    om_wire_put_int(b, PB_TENSOR_DATA_TYPE, om_dtype_onnx(t->dtype));
}

/* The value of an attribute of this kind, in the field of its AttributeProto, and the type's
 * number. */
static int put_attr_value(struct writer *w, struct om_buf *b, const struct om_attr *a,
                          int64_t *type)
{
    size_t nested;

    switch (a->kind) {
    case OM_ATTR_FLOAT:
        om_wire_put_float(b, PB_ATTR_F, (float)a->f);
        *type = PB_TYPE_FLOAT;
        return 0;
    case OM_ATTR_INT:
        om_wire_put_int(b, PB_ATTR_I, a->i);
        *type = PB_TYPE_INT;
        return 0;
    case OM_ATTR_STRING:
        put_sv(b, PB_ATTR_S, a->s);
        *type = PB_TYPE_STRING;
        return 0;
    case OM_ATTR_INTS:
        for (uint32_t i = 0; i < a->n; i++)
            om_wire_put_int(b, PB_ATTR_INTS, a->ints[i]);
        *type = PB_TYPE_INTS;
        return 0;
    case OM_ATTR_TENSOR:
        nested = om_wire_begin(b, PB_ATTR_T);
        put_tensor_head(b, a->tensor);
        put_sv(b, PB_TENSOR_RAW_DATA, (om_sv){ a->tensor->data, (size_t)a->tensor->bytes });
        om_wire_end(b, nested);
        *type = PB_TYPE_TENSOR;
        return 0;
    case OM_ATTR_BLOCK:
        nested = om_wire_begin(b, PB_ATTR_G);
        OM_TRY(put_block(w, b, (uint32_t)a->i));
        om_wire_end(b, nested);
        *type = PB_TYPE_GRAPH;
        return 0;
    case OM_ATTR_DIMS:
        break;
    }
    return om_fail(w->err, OM_E_INTERNAL, "attribute \"%s\" has no form in ONNX", a->name);
}

static int put_attr(struct writer *w, struct om_buf *b, const struct om_attr *a)
{
    const size_t attr = om_wire_begin(b, PB_NODE_ATTRIBUTE);
    int64_t type;

    put_str(b, PB_ATTR_NAME, a->name);
    OM_TRY(put_attr_value(w, b, a, &type));
    om_wire_put_int(b, PB_ATTR_TYPE, type);
    om_wire_end(b, attr);
    return 0;
}

/* The names of vals; trailing ones that are left out are not written. */
static void put_names(const struct writer *w, struct om_buf *b, uint32_t number, const om_val *vals,
                      uint32_t n)
{
    while (n > 0 && vals[n - 1].id == 0)
        n--;
    for (uint32_t i = 0; i < n; i++)
        put_sv(b, number, value_name(w, vals[i]));
}

/* The old form that this node takes: its last input becomes an attribute. */
static const struct om_onnx_form *old_form(const struct writer *w, const struct om_node *n)
{
    const struct om_onnx_form *const form = om_onnx_old_form(n->op, w->opset);

    return form && n->n_in == form->input + 1 ? form : NULL;
}

static int put_old_attr(struct writer *w, struct om_buf *b, const struct om_onnx_form *form,
                        om_val v)
{
    const struct om_value *const value = om_graph_value(w->g, v);
    const size_t attr = om_wire_begin(b, PB_NODE_ATTRIBUTE);
    bool known = value->content != NULL;
    int64_t x;

    put_str(b, PB_ATTR_NAME, form->attr);
    for (uint32_t i = 0; known && i < value->n_content; i++) {
        known = om_dim_is_const(w->g->dims, value->content[i], &x);
        if (known)
            om_wire_put_int(b, PB_ATTR_INTS, x);
    }
    if (!known)
        return om_fail(w->err, OM_E_INTERNAL, "\"%s\" is no constant, as opset %d needs it",
                       form->attr, w->opset);
    om_wire_put_int(b, PB_ATTR_TYPE, PB_TYPE_INTS);
    om_wire_end(b, attr);
    return 0;
}

static int put_attrs(struct writer *w, struct om_buf *b, const struct om_node *n)
{
    const struct om_onnx_form *const form = old_form(w, n);

    for (uint32_t i = 0; i < n->n_attrs; i++)
        OM_TRY(put_attr(w, b, &n->attrs[i]));
    return form ? put_old_attr(w, b, form, n->in[form->input]) : 0;
}

static int put_node(struct writer *w, struct om_buf *b, const struct om_node *n)
{
    const size_t node = om_wire_begin(b, PB_GRAPH_NODE);

    if (n->op == OM_OP_Linear || n->op == OM_OP_Dims)
        return om_fail(w->err, OM_E_INTERNAL, "node \"%.*s\": operator %s was not lowered",
                       OM_SV(n->name), om_op_name(n->op));
    put_names(w, b, PB_NODE_INPUT, n->in, old_form(w, n) ? n->n_in - 1 : n->n_in);
    put_names(w, b, PB_NODE_OUTPUT, n->out, n->n_out);
    put_sv(b, PB_NODE_NAME, n->name);
    put_str(b, PB_NODE_OP_TYPE, om_op_type(n->op));
    OM_TRY(om_wrap(w->err, put_attrs(w, b, n), "node \"%.*s\"", OM_SV(n->name)));
    if (*om_op_domain(n->op))
        put_str(b, PB_NODE_DOMAIN, om_op_domain(n->op));
    om_wire_end(b, node);
    return 0;
}

static int put_nodes(struct writer *w, struct om_buf *b, const struct om_block *block)
{
    for (size_t i = 0; i < block->n_nodes; i++)
        OM_TRY(put_node(w, b, &w->g->nodes[block->nodes[i]]));
    return 0;
}

/* ONNX knows an output by the name of its value alone. */
static int put_outputs(struct writer *w, struct om_buf *b, const struct om_block *block)
{
    for (size_t i = 0; i < block->n_outputs; i++) {
        const struct om_port *const p = &block->outputs[i];
        const om_sv name = value_name(w, p->val);

        if (!om_sv_eq(name, p->name))
            return om_fail(w->err, OM_E_INTERNAL,
                           "output \"%.*s\" is the value \"%.*s\": an Identity node is missing",
                           OM_SV(p->name), OM_SV(name));
        put_port(b, PB_GRAPH_OUTPUT, w->g, p);
    }
    return 0;
}

/* A branch: nodes and outputs only, its weights are the outer graph's. */
static int put_block(struct writer *w, struct om_buf *b, uint32_t block)
{
    const struct om_block *const k = &w->g->blocks[block];

    OM_TRY(put_nodes(w, b, k));
    put_sv(b, PB_GRAPH_NAME, k->name);
    return put_outputs(w, b, k);
}

/* --- initializers --- */

struct tied_key {
    struct om_weight_key bytes;
    uint64_t dtype, rank;
    int64_t dims[OM_RANK_MAX];
};

static int share_tied(struct writer *w, struct om_map *seen, struct tied_key *k, uint32_t i)
{
    const struct om_weight *const t = &w->g->weights[i];
    const om_sv key = { (const char *)k, sizeof(*k) };
    uint32_t first;

    if (!t->file || t->rank > OM_RANK_MAX)
        return 0;
    k->bytes = om_weight_key(t);
    k->dtype = (uint64_t)t->dtype;
    k->rank = t->rank;
    if (t->rank > 0)
        memcpy(k->dims, t->dims, t->rank * sizeof(t->dims[0]));
    if (!om_map_get(seen, key, &first))
        return om_map_put(seen, key, i);
    w->inits[i] = w->inits[first];
    return 0;
}

/* Give every weight that a node reads its initializer; what becomes an attribute is not read. */
static void mark_used(struct writer *w)
{
    const struct om_graph *const g = w->g;

    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct om_node *const n = &g->nodes[i];
        const uint32_t n_in = old_form(w, n) ? n->n_in - 1 : n->n_in;

        for (uint32_t k = 0; k < n_in; k++) {
            const struct om_value *const v = om_graph_value(g, n->in[k]);

            if (v->weight != OM_NO_WEIGHT)
                w->inits[v->weight] = (struct initializer){ v->name, v->weight };
        }
    }
}

static int plan_initializers(struct writer *w)
{
    const struct om_graph *const g = w->g;
    struct om_map seen = OM_MAP_INIT;
    struct tied_key *keys = calloc(g->n_weights + 1, sizeof(*keys));
    int rc = 0;

    w->inits = calloc(g->n_weights + 1, sizeof(*w->inits));
    if (!keys || !w->inits) {
        rc = OM_E_NOMEM;
        goto done;
    }
    for (size_t i = 0; i < g->n_weights; i++)
        w->inits[i].owner = OM_NO_WEIGHT;
    mark_used(w);
    for (uint32_t i = 0; i < g->n_weights && rc == 0; i++)
        if (w->inits[i].owner == i)
            rc = share_tied(w, &seen, &keys[i], i);
done:
    om_map_release(&seen);
    free(keys);
    return rc == 0 ? 0 : om_fail(w->err, OM_E_NOMEM, "out of memory");
}

enum home { HOME_GRAPH, HOME_SOURCE, HOME_DATA };

/* Which file holds the tensor's bytes; place is set where that is the checkpoint's. */
static enum home find_home(const struct writer *w, const struct om_weight *t,
                           struct om_onnx_place *place)
{
    const uint64_t bytes = om_weight_bytes(t);

    /* small ones stay because shape inference reads shapes, axes and tables, but no other files */
    if (w->mode == OM_WEIGHTS_EMBEDDED || bytes < OM_ONNX_INLINE_MAX)
        return HOME_GRAPH;
    if (!t->file && bytes < OM_ONNX_COMPUTED_MAX)
        return HOME_GRAPH;
    if (w->mode != OM_WEIGHTS_SAFETENSORS)
        return HOME_DATA;
    return om_onnx_data_in_source(w->data, t, place) ? HOME_SOURCE : HOME_DATA;
}

/* Tell the data file how much it is going to get. */
static void expect_data(const struct writer *w)
{
    struct om_onnx_place ignored;
    uint64_t bytes = 0;

    if (!w->data)
        return;
    for (uint32_t i = 0; i < w->g->n_weights; i++)
        if (w->inits[i].owner == i && find_home(w, &w->g->weights[i], &ignored) == HOME_DATA)
            bytes += om_onnx_data_missing(w->data, &w->g->weights[i]);
    om_onnx_data_expect(w->data, bytes);
}

static void put_entry(struct om_buf *b, const char *key, const char *value)
{
    const size_t entry = om_wire_begin(b, PB_TENSOR_EXTERNAL_DATA);

    put_str(b, PB_ENTRY_KEY, key);
    put_str(b, PB_ENTRY_VALUE, value);
    om_wire_end(b, entry);
}

static void put_place(struct om_buf *b, const struct om_onnx_place *place)
{
    char number[24];

    put_entry(b, "location", place->location);
    snprintf(number, sizeof(number), "%" PRIu64, place->offset);
    put_entry(b, "offset", number);
    snprintf(number, sizeof(number), "%" PRIu64, place->length);
    put_entry(b, "length", number);
    om_wire_put_int(b, PB_TENSOR_DATA_LOCATION, PB_LOCATION_EXTERNAL);
}

static int add_splice(struct writer *w, const struct om_weight *t)
{
    if (!om_grow(&w->splices, &w->cap_splices, w->n_splices + 1, sizeof(*w->splices)))
        return om_fail(w->err, OM_E_NOMEM, "out of memory");
    w->splices[w->n_splices++] = (struct splice){ w->graph.len, t };
    if (!om_add_u64(w->payload, om_weight_bytes(t), &w->payload))
        return om_fail(w->err, OM_E_LIMIT, "the weights are too large");
    return 0;
}

static int put_initializer(struct writer *w, uint32_t i)
{
    const struct om_weight *const t = &w->g->weights[i];
    struct om_buf *const b = &w->tensor;
    char number[24];
    struct om_onnx_place place = { number, 0, om_weight_bytes(t) };
    const enum home home = w->shell ? HOME_SOURCE : find_home(w, t, &place);
    const uint64_t inlined = home == HOME_GRAPH ? om_weight_bytes(t) : 0;

    if (home == HOME_DATA)
        OM_TRY(om_onnx_data_place(w->data, t, &place, w->err));
    snprintf(number, sizeof(number), "%" PRIu32, i); /* read by put_place(), of a shell */
    om_buf_clear(b);
    put_tensor_head(b, t);
    put_sv(b, PB_TENSOR_NAME, w->inits[i].name);
    if (home == HOME_GRAPH)
        om_wire_put_header(b, PB_TENSOR_RAW_DATA, inlined);
    else
        put_place(b, &place);
    OM_TRY(om_buf_check(b, w->err)); /* here, as its length goes into the graph */
    om_wire_put_header(&w->graph, PB_GRAPH_INITIALIZER, b->len + inlined);
    om_buf_add(&w->graph, b->ptr, b->len);
    return home == HOME_GRAPH ? add_splice(w, t) : 0;
}

/* --- the file --- */

static int put_graph(struct writer *w, const char *name)
{
    const struct om_graph *const g = w->g;
    struct om_buf *const b = &w->graph;

    OM_TRY(plan_initializers(w));
    OM_TRY(put_nodes(w, b, &g->blocks[0]));
    put_str(b, PB_GRAPH_NAME, name);
    expect_data(w);
    for (uint32_t i = 0; i < g->n_weights; i++)
        if (w->inits[i].owner == i)
            OM_TRY(put_initializer(w, i));
    for (size_t i = 0; i < g->n_inputs; i++)
        put_port(b, PB_GRAPH_INPUT, g, &g->inputs[i]);
    OM_TRY(put_outputs(w, b, &g->blocks[0]));
    return om_buf_check(b, w->err);
}

static bool has_branches(const struct om_graph *g)
{
    return g->n_blocks > 1;
}

/* The IR version that came with each opset (ONNX's Versioning.md). */
static int ir_version(const struct om_graph *g, int opset)
{
    static const struct {
        int opset, ir_version;
    } rows[] = { { 18, 8 }, { 20, 9 }, { 22, 10 }, { 23, 11 }, { OM_ONNX_OPSET_MAX, 12 } };
    size_t i = 0;

    while (i + 1 < OM_COUNT(rows) && opset > rows[i].opset)
        i++;
    return has_branches(g) ? OM_MAX(rows[i].ir_version, 9) : rows[i].ir_version;
}

static void put_import(struct om_buf *b, const char *domain, int version)
{
    const size_t import = om_wire_begin(b, PB_MODEL_OPSET_IMPORT);

    put_str(b, PB_OPSET_DOMAIN, domain);
    om_wire_put_int(b, PB_OPSET_VERSION, version);
    om_wire_end(b, import);
}

/* What comes before and after the graph's bytes. */
static void put_model(const struct writer *w, const struct om_onnx_opts *o, struct om_buf *head,
                      struct om_buf *tail)
{
    bool contrib = false;

    om_wire_put_int(head, PB_MODEL_IR_VERSION,
                    o->ir_version ? o->ir_version : ir_version(w->g, o->opset));
    put_str(head, PB_MODEL_PRODUCER_NAME, "optimum.c");
    put_str(head, PB_MODEL_PRODUCER_VERSION,
            o->producer_version ? o->producer_version : OM_VERSION);
    om_wire_put_header(head, PB_MODEL_GRAPH, w->graph.len + w->payload);

    put_import(tail, "", o->opset);
    for (size_t i = 0; i < w->g->n_nodes && !contrib; i++)
        contrib = *om_op_domain(w->g->nodes[i].op) != '\0';
    if (contrib)
        put_import(tail, "com.microsoft", 1);
}

static int stream_graph(const struct writer *w, struct om_out *out)
{
    size_t done = 0;

    for (size_t i = 0; i < w->n_splices; i++) {
        const struct splice *const s = &w->splices[i];

        OM_TRY(om_out_write(out, w->graph.ptr + done, s->at - done, w->err));
        OM_TRY(om_weight_stream(s->weight, out, w->err));
        done = s->at;
    }
    return om_out_write(out, w->graph.ptr + done, w->graph.len - done, w->err);
}

static int check_size(const struct writer *w, uint64_t size)
{
    if (size <= OM_ONNX_FILE_MAX)
        return 0;
    return om_fail(w->err, OM_E_LIMIT,
                   "the file would have %" PRIu64 " bytes, a protobuf message ends at %" PRId64
                   " (2 GiB): write the weights to a file of their own",
                   size, OM_ONNX_FILE_MAX);
}

static int stream_model(const struct writer *w, const struct om_onnx_opts *o, struct om_out *out)
{
    struct om_buf head = OM_BUF_INIT(4096), tail = OM_BUF_INIT(4096);
    uint64_t size;
    int rc;

    put_model(w, o, &head, &tail);
    size = head.len + w->graph.len + w->payload + tail.len;
    rc = head.failed ? om_buf_check(&head, w->err) : om_buf_check(&tail, w->err);
    if (rc == 0)
        rc = check_size(w, size);
    if (rc == 0 && out->total == 0)
        out->total = size;
    if (rc == 0)
        rc = om_out_write(out, head.ptr, head.len, w->err);
    if (rc == 0)
        rc = stream_graph(w, out);
    if (rc == 0)
        rc = om_out_write(out, tail.ptr, tail.len, w->err);
    om_buf_release(&head);
    om_buf_release(&tail);
    return rc;
}

static void writer_init(struct writer *w, const struct om_graph *g, enum om_weights_mode mode,
                        int opset, struct om_error *err)
{
    *w = (struct writer){ .g = g,
                          .mode = mode,
                          .opset = opset,
                          .err = err,
                          .graph = OM_BUF_INIT(OM_ONNX_FILE_MAX),
                          .tensor = OM_BUF_INIT(1u << 20) };
}

static void writer_release(struct writer *w)
{
    om_buf_release(&w->graph);
    om_buf_release(&w->tensor);
    free(w->splices);
    free(w->inits);
}

int om_onnx_write(const struct om_graph *g, const struct om_onnx_opts *opts, struct om_out *out,
                  struct om_onnx_data *data, struct om_error *err)
{
    struct writer w;
    int rc = om_graph_check(g, err);

    if (rc < 0)
        return om_wrap(err, rc, "%s", out->path);
    if (opts->mode != OM_WEIGHTS_EMBEDDED && !data)
        return om_fail(err, OM_E_USAGE, "%s: no weight file was given", out->path);
    writer_init(&w, g, opts->mode, opts->opset, err);
    w.data = data;
    rc = put_graph(&w, opts->graph_name ? opts->graph_name : "main_graph");
    if (rc == 0)
        rc = stream_model(&w, opts, out);
    if (rc == 0)
        om_log(opts->ctx, OM_LOG_DEBUG,
               "%s: %zu nodes, %zu bytes without weights, %" PRIu64 " in all", out->path,
               g->n_nodes, w.graph.len, out->pos);
    writer_release(&w);
    return om_wrap(err, rc, "%s", out->path);
}

int om_onnx_write_shell(const struct om_graph *g, const struct om_onnx_opts *opts,
                        struct om_buf *out, struct om_error *err)
{
    struct om_buf tail = OM_BUF_INIT(4096);
    struct writer w;
    int rc = om_graph_check(g, err);

    if (rc < 0)
        return rc;
    writer_init(&w, g, OM_WEIGHTS_EMBEDDED, opts->opset, err);
    w.shell = true;
    rc = put_graph(&w, opts->graph_name ? opts->graph_name : "main_graph");
    if (rc == 0) {
        put_model(&w, opts, out, &tail);
        om_buf_add(out, w.graph.ptr, w.graph.len);
        om_buf_add(out, tail.ptr, tail.len);
        rc = tail.failed ? om_buf_check(&tail, err) : om_buf_check(out, err);
    }
    om_buf_release(&tail);
    writer_release(&w);
    return rc;
}

uint64_t om_onnx_embedded_size(const struct om_graph *g)
{
    static const struct om_onnx_opts opts = { .opset = OM_ONNX_OPSET_MAX };
    struct om_buf head = OM_BUF_INIT(4096), tail = OM_BUF_INIT(4096);
    uint64_t size = UINT64_MAX;
    struct writer w;

    writer_init(&w, g, OM_WEIGHTS_EMBEDDED, opts.opset, NULL);
    if (put_graph(&w, "main_graph") == 0) {
        put_model(&w, &opts, &head, &tail);
        size = head.len + w.graph.len + w.payload + tail.len;
    }
    om_buf_release(&head);
    om_buf_release(&tail);
    writer_release(&w);
    return size;
}
