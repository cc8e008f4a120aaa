/* src/onnx/doc_write.c: a document as a file again. As in write.c, everything except the bytes of
 * large tensors is laid out in a buffer first, since protobuf wants lengths before contents. */
#include <stdio.h>
#include <stdlib.h>

#include "base/wire.h"
#include "onnx/doc.h"
#include "onnx/pb.h"
#include "onnx/read.h"
#include "onnx/schema.h"
#include "onnx/weight.h"

/* A tensor's message of the old file that is shorter is copied into the buffer. */
#define SMALL 4096

/* Bytes that lie somewhere: in the model's file, in an external one, in memory. */
struct span {
    const struct om_file *file; /* NULL: memory only */
    uint64_t offset, len;
    const void *data;
};

/* What follows the first at bytes of the buffer: a span, or the bytes of a tensor that is made. */
struct splice {
    size_t at;
    struct span span;
    const struct om_doc_tensor *made; /* NULL: the span */
};

struct writer {
    struct om_doc *d;
    const struct om_doc_write_opts *opts;
    struct om_out *data; /* of the options, or the newest of next() */
    const char *location;
    struct om_buf buf;
    struct splice *splices;
    size_t n_splices, cap_splices;
    uint64_t payload; /* bytes of all splices */
    bool dry;         /* only the size is wanted */
    struct om_error *err;
};

/* --- messages around splices --- */

struct opened {
    size_t at, splices;
    uint64_t payload;
};

static struct opened begin(struct writer *w, uint32_t number)
{
    const size_t at = om_wire_begin(&w->buf, number);

    return (struct opened){ at, w->n_splices, w->payload };
}

/* om_wire_end(), where spliced bytes count, and move with the buffer. */
static void end(struct writer *w, struct opened o)
{
    static const char room[10] = { 0 };
    struct om_buf *const b = &w->buf;
    uint64_t len;
    size_t n;

    if (b->failed)
        return;
    len = b->len - o.at + (w->payload - o.payload);
    n = om_wire_varint_size(len);
    om_buf_add(b, room, n - 1);
    if (b->failed)
        return;
    memmove(b->ptr + o.at + n - 1, b->ptr + o.at, b->len - o.at - (n - 1));
    for (size_t i = 0; i < n; i++)
        b->ptr[o.at - 1 + i] = (char)(uint8_t)((len >> (7 * i) & 0x7f) | (i + 1 < n ? 0x80 : 0));
    for (size_t i = o.splices; i < w->n_splices; i++)
        w->splices[i].at += n - 1;
}

static int add_splice(struct writer *w, struct span span, const struct om_doc_tensor *made)
{
    const uint64_t len = made ? made->bytes : span.len;

    if (len == 0)
        return 0;
    if (!om_grow(&w->splices, &w->cap_splices, w->n_splices + 1, sizeof(*w->splices)))
        return om_fail(w->err, OM_E_NOMEM, "out of memory");
    w->splices[w->n_splices++] = (struct splice){ w->buf.len, span, made };
    if (!om_add_u64(w->payload, len, &w->payload))
        return om_fail(w->err, OM_E_LIMIT, "the tensors are too large");
    return 0;
}

static int write_span(const struct span *s, struct om_out *out, struct om_error *err)
{
    if (s->file && s->file->fd >= 0)
        return om_out_copy(out, s->file, s->offset, s->len, err);
    return om_out_write(out, s->data, (size_t)s->len, err);
}

static int write_made(const struct om_doc_tensor *t, struct om_out *out, struct om_error *err)
{
    const uint64_t before = out->pos;
    int rc;

    if (t->source)
        rc = t->source->make(t->source, out, err);
    else if (t->weight)
        rc = om_weight_stream(t->weight, out, err);
    else
        rc = om_out_write(out, t->data, (size_t)t->bytes, err);
    if (rc == 0 && out->pos - before != t->bytes)
        rc = om_fail(err, OM_E_INTERNAL, "%" PRIu64 " bytes were made, expected %" PRIu64,
                     out->pos - before, t->bytes);
    return om_wrap(err, rc, "tensor \"%.*s\"", OM_SV(t->name));
}

/* --- tensors --- */

static int is_external(om_sv message, bool *external, struct om_error *err)
{
    static const struct om_pb_rule rules[] = {
        { PB_TENSOR_DATA_LOCATION, OM_PB_INT, 0, "data_location" },
    };
    int64_t location = PB_LOCATION_DEFAULT;

    OM_TRY(om_pb_read(message, rules, 1, &location, err));
    *external = location == PB_LOCATION_EXTERNAL;
    return 0;
}

/* The bytes of a tensor of the file, as one span. found is false where there is no such span: the
 * message holds typed fields of a type that only it knows. */
static int find_span(struct writer *w, const struct om_doc_tensor *t, bool external,
                     struct span *span, bool *found)
{
    struct om_weight v = { .bytes = t->bytes };
    static const struct om_pb_rule rules[] = { { PB_TENSOR_RAW_DATA, OM_PB_BYTES, 0, "raw_data" } };
    om_sv raw = { NULL, 0 };

    *found = true;
    if (external) {
        OM_TRY(om_onnx_read_external(w->d->file, t->message, &v, w->err));
        *span = (struct span){ v.file, v.offset, t->bytes, v.data };
        return 0;
    }
    OM_TRY(om_pb_read(t->message, rules, 1, &raw, w->err));
    if (raw.ptr && raw.len == t->bytes) {
        *span = (struct span){ w->d->file->model,
                               (uint64_t)((const uint8_t *)raw.ptr - w->d->file->model->data),
                               raw.len, raw.ptr };
        return 0;
    }
    *found = false;
    return 0;
}

static void put_entry(struct om_buf *b, const char *key, const char *value)
{
    const size_t entry = om_wire_begin(b, PB_TENSOR_EXTERNAL_DATA);

    om_wire_put_bytes(b, PB_ENTRY_KEY, om_sv_str(key));
    om_wire_put_bytes(b, PB_ENTRY_VALUE, om_sv_str(value));
    om_wire_end(b, entry);
}

/* Room for len bytes: in the data file, or in another one. */
static int find_room(struct writer *w, uint64_t len)
{
    OM_TRY(om_out_pad(w->data, 64, w->err));
    if (!w->opts->next || w->data->pos == 0 || w->data->pos + len <= w->opts->data_max)
        return 0;
    OM_TRY(om_out_flush(w->data, w->err));
    return w->opts->next(w->opts->user, &w->data, &w->location, w->err);
}

static int put_place(struct writer *w, const struct span *span, const struct om_doc_tensor *made)
{
    const uint64_t len = made ? made->bytes : span->len;
    struct om_out *data;
    char number[24];

    OM_TRY(find_room(w, len));
    data = w->data;
    put_entry(&w->buf, "location", w->location);
    snprintf(number, sizeof(number), "%" PRIu64, data->pos);
    put_entry(&w->buf, "offset", number);
    snprintf(number, sizeof(number), "%" PRIu64, len);
    put_entry(&w->buf, "length", number);
    om_wire_put_int(&w->buf, PB_TENSOR_DATA_LOCATION, PB_LOCATION_EXTERNAL);
    return made ? write_made(made, data, w->err) : write_span(span, data, w->err);
}

/* A TensorProto of our own: name, type, shape, and its bytes or where they are. */
static int put_fields(struct writer *w, const struct om_doc_tensor *t, const struct span *span,
                      const struct om_doc_tensor *made)
{
    const bool external = w->opts->data && t->bytes >= w->opts->external_min && !w->dry;
    const struct opened o = begin(w, PB_GRAPH_INITIALIZER);
    int rc;

    for (uint32_t i = 0; i < t->rank; i++)
        om_wire_put_int(&w->buf, PB_TENSOR_DIMS, t->dims[i]);
    om_wire_put_int(&w->buf, PB_TENSOR_DATA_TYPE, t->type);
    om_wire_put_bytes(&w->buf, PB_TENSOR_NAME, t->name);
    if (external) {
        rc = put_place(w, span, made);
    } else {
        om_wire_put_header(&w->buf, PB_TENSOR_RAW_DATA, t->bytes);
        rc = add_splice(w, *span, made);
    }
    end(w, o);
    return rc;
}

static int put_message(struct writer *w, const struct om_doc_tensor *t)
{
    const struct om_file *const model = w->d->file->model;

    om_wire_put_header(&w->buf, PB_GRAPH_INITIALIZER, t->message.len);
    if (t->message.len < SMALL) {
        om_buf_add(&w->buf, t->message.ptr, t->message.len);
        return 0;
    }
    return add_splice(w,
                      (struct span){ model,
                                     (uint64_t)((const uint8_t *)t->message.ptr - model->data),
                                     t->message.len, t->message.ptr },
                      NULL);
}

static int put_tensor(struct writer *w, const struct om_doc_tensor *t)
{
    const bool moves = w->opts->data && t->bytes >= w->opts->external_min;
    struct span span = { .data = NULL };
    bool external, found;

    if (!t->message.ptr)
        return put_fields(w, t, &span, t);
    OM_TRY(is_external(t->message, &external, w->err));
    if (!external && !moves)
        return put_message(w, t);
    OM_TRY(find_span(w, t, external, &span, &found));
    return found ? put_fields(w, t, &span, NULL) : put_message(w, t);
}

/* --- graphs --- */

static int put_graph(struct writer *w, uint32_t number, const struct om_doc_graph *g);

static int put_attr(struct writer *w, const struct om_doc_attr *a)
{
    const struct opened o = begin(w, PB_NODE_ATTRIBUTE);
    const uint32_t number = a->type == PB_TYPE_GRAPHS ? PB_ATTR_GRAPHS : PB_ATTR_G;

    om_buf_add(&w->buf, a->message.ptr, a->message.len);
    for (uint32_t i = 0; i < a->n_graphs; i++)
        OM_TRY(put_graph(w, number, a->graphs[i]));
    end(w, o);
    return 0;
}

static void put_text(struct om_buf *b, uint32_t number, om_sv text)
{
    if (text.len > 0)
        om_wire_put_bytes(b, number, text);
}

static int put_node(struct writer *w, const struct om_doc_node *n)
{
    const struct opened o = begin(w, PB_GRAPH_NODE);

    for (uint32_t i = 0; i < n->n_in; i++)
        om_wire_put_bytes(&w->buf, PB_NODE_INPUT, n->in[i]);
    for (uint32_t i = 0; i < n->n_out; i++)
        om_wire_put_bytes(&w->buf, PB_NODE_OUTPUT, n->out[i]);
    put_text(&w->buf, PB_NODE_NAME, n->name);
    om_wire_put_bytes(&w->buf, PB_NODE_OP_TYPE, n->op);
    for (uint32_t i = 0; i < n->n_attrs; i++)
        OM_TRY(put_attr(w, &n->attrs[i]));
    put_text(&w->buf, PB_NODE_DOMAIN, n->domain);
    om_buf_add(&w->buf, n->rest.ptr, n->rest.len);
    end(w, o);
    return 0;
}

static void put_ports(struct writer *w, uint32_t number, const struct om_doc_ports *ports)
{
    for (size_t i = 0; i < ports->len; i++)
        om_wire_put_bytes(&w->buf, number, ports->items[i].message);
}

static int put_graph(struct writer *w, uint32_t number, const struct om_doc_graph *g)
{
    const struct opened o = begin(w, number);

    for (size_t i = 0; i < g->nodes.len; i++)
        OM_TRY(put_node(w, &g->nodes.items[i]));
    put_text(&w->buf, PB_GRAPH_NAME, g->name);
    for (size_t i = 0; i < g->tensors.len; i++)
        OM_TRY(put_tensor(w, &g->tensors.items[i]));
    put_ports(w, PB_GRAPH_INPUT, &g->inputs);
    put_ports(w, PB_GRAPH_OUTPUT, &g->outputs);
    put_ports(w, PB_GRAPH_VALUE_INFO, &g->values);
    om_buf_add(&w->buf, g->rest.ptr, g->rest.len);
    end(w, o);
    return 0;
}

/* --- the model --- */

static int put_model(struct writer *w)
{
    const struct om_doc *const d = w->d;
    struct om_buf *const b = &w->buf;

    om_wire_put_int(b, PB_MODEL_IR_VERSION, d->ir_version);
    put_text(b, PB_MODEL_PRODUCER_NAME, d->producer_name);
    put_text(b, PB_MODEL_PRODUCER_VERSION, d->producer_version);
    OM_TRY(put_graph(w, PB_MODEL_GRAPH, d->graph));
    for (size_t i = 0; i < d->n_opsets; i++) {
        const size_t import = om_wire_begin(b, PB_MODEL_OPSET_IMPORT);

        om_wire_put_bytes(b, PB_OPSET_DOMAIN, d->opsets[i].domain);
        om_wire_put_int(b, PB_OPSET_VERSION, d->opsets[i].version);
        om_wire_end(b, import);
    }
    om_buf_add(b, d->rest.ptr, d->rest.len);
    return om_buf_check(b, w->err);
}

static int stream(const struct writer *w, struct om_out *out)
{
    size_t done = 0;

    for (size_t i = 0; i < w->n_splices; i++) {
        const struct splice *const s = &w->splices[i];

        OM_TRY(om_out_write(out, w->buf.ptr + done, s->at - done, w->err));
        OM_TRY(s->made ? write_made(s->made, out, w->err) : write_span(&s->span, out, w->err));
        done = s->at;
    }
    return om_out_write(out, w->buf.ptr + done, w->buf.len - done, w->err);
}

static void writer_release(struct writer *w)
{
    om_buf_release(&w->buf);
    free(w->splices);
}

uint64_t om_doc_size(struct om_doc *d)
{
    static const struct om_doc_write_opts opts = { .data = NULL };
    struct writer w = { .d = d, .opts = &opts, .buf = OM_BUF_INIT(OM_ONNX_FILE_MAX), .dry = true };
    const uint64_t size = put_model(&w) < 0 ? UINT64_MAX : w.buf.len + w.payload;

    writer_release(&w);
    return size;
}

int om_doc_write(struct om_doc *d, const struct om_doc_write_opts *opts, struct om_out *out,
                 struct om_error *err)
{
    struct writer w = { .d = d,
                        .opts = opts,
                        .data = opts->data,
                        .location = opts->location,
                        .buf = OM_BUF_INIT(OM_ONNX_FILE_MAX),
                        .err = err };
    int rc = put_model(&w);

    if (rc == 0 && w.buf.len + w.payload > OM_ONNX_FILE_MAX)
        rc = om_fail(err, OM_E_LIMIT,
                     "the file would have %" PRIu64 " bytes, a protobuf message ends at %" PRId64
                     " (2 GiB): write the tensors to a file of their own",
                     w.buf.len + w.payload, OM_ONNX_FILE_MAX);
    if (rc == 0 && out->total == 0)
        out->total = w.buf.len + w.payload;
    if (rc == 0)
        rc = stream(&w, out);
    writer_release(&w);
    return om_wrap(err, rc, "%s", out->path);
}
