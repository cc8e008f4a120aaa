/* src/onnx/doc_edit.c: changes to a document: nodes, initializers, attributes, what nobody reads.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/wire.h"
#include "onnx/doc.h"
#include "onnx/pb.h"
#include "onnx/schema.h"

/* Room for one more in an arena's array, which doubles. */
static bool reserve(struct om_arena *a, void *items, size_t len, size_t *cap, size_t size)
{
    const size_t want = *cap < 8 ? 16 : *cap * 2;
    void *old, *grown;

    if (len < *cap)
        return true;
    grown = om_arena_array(a, want, size);
    if (!grown)
        return false;
    memcpy(&old, items, sizeof(old));
    if (len > 0)
        memcpy(grown, old, len * size);
    memcpy(items, &grown, sizeof(grown));
    *cap = want;
    return true;
}

struct om_doc_node *om_doc_add_node(struct om_doc *d, struct om_doc_graph *g)
{
    struct om_doc_nodes *const n = &g->nodes;
    struct om_doc_node *node;

    if (!reserve(d->arena, &n->items, n->len, &n->cap, sizeof(*n->items)))
        return NULL;
    node = &n->items[n->len++];
    *node = (struct om_doc_node){
        .name = { "", 0 }, .op = { "", 0 }, .domain = { "", 0 }, .rest = { "", 0 }
    };
    return node;
}

struct om_doc_tensor *om_doc_add_tensor(struct om_doc *d, struct om_doc_graph *g)
{
    struct om_doc_tensors *const t = &g->tensors;

    if (!reserve(d->arena, &t->items, t->len, &t->cap, sizeof(*t->items)))
        return NULL;
    t->items[t->len] = (struct om_doc_tensor){ .name = { "", 0 } };
    return &t->items[t->len++];
}

bool om_doc_add_const(struct om_doc *d, struct om_doc_graph *g, om_sv name, int32_t type,
                      const int64_t *dims, uint32_t rank, const void *data)
{
    const size_t size = om_dtype_size(om_dtype_from_onnx(type));
    struct om_doc_tensor *t;
    void *copy, *shape = NULL;
    int64_t count;

    if (!om_count(dims, rank, &count))
        return false;
    copy = om_arena_copy(d->arena, data, (size_t)count * size);
    if (rank > 0)
        shape = om_arena_copy(d->arena, dims, rank * sizeof(*dims));
    t = om_doc_add_tensor(d, g);
    if (!t || (!copy && count > 0) || (!shape && rank > 0))
        return false;
    *t = (struct om_doc_tensor){ .name = name,
                                 .type = type,
                                 .rank = rank,
                                 .dims = shape,
                                 .bytes = (uint64_t)count * size,
                                 .data = copy ? copy : "" };
    return true;
}

struct om_doc_tensor *om_doc_find_tensor(const struct om_doc_graph *g, om_sv name)
{
    for (size_t i = 0; i < g->tensors.len; i++)
        if (om_sv_eq(g->tensors.items[i].name, name))
            return &g->tensors.items[i];
    return NULL;
}

int64_t om_doc_opset(const struct om_doc *d, const char *domain)
{
    for (size_t i = 0; i < d->n_opsets; i++)
        if (om_sv_is(d->opsets[i].domain, domain))
            return d->opsets[i].version;
    return 0;
}

int om_doc_set_opset(struct om_doc *d, const char *domain, int64_t version, struct om_error *err)
{
    struct om_doc_opset *grown;

    for (size_t i = 0; i < d->n_opsets; i++) {
        if (om_sv_is(d->opsets[i].domain, domain)) {
            d->opsets[i].version = version;
            return 0;
        }
    }
    grown = om_arena_array(d->arena, d->n_opsets + 1, sizeof(*grown));
    if (!grown)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    if (d->n_opsets > 0)
        memcpy(grown, d->opsets, d->n_opsets * sizeof(*grown));
    grown[d->n_opsets] = (struct om_doc_opset){ om_sv_str(domain), version };
    d->opsets = grown;
    d->n_opsets++;
    return 0;
}

om_sv om_doc_text(struct om_doc *d, const char *fmt, ...)
{
    va_list ap;
    char *text;

    va_start(ap, fmt);
    text = om_arena_vprintf(d->arena, fmt, ap);
    va_end(ap);
    return om_sv_str(text ? text : "");
}

/* --- attributes --- */

const struct om_doc_attr *om_doc_attr(const struct om_doc_node *n, const char *name)
{
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (om_sv_is(n->attrs[i].name, name))
            return &n->attrs[i];
    return NULL;
}

int om_doc_attr_int(const struct om_doc_node *n, const char *name, int64_t *value,
                    struct om_error *err)
{
    static const struct om_pb_rule rules[] = { { PB_ATTR_I, OM_PB_INT, 0, "i" } };
    const struct om_doc_attr *const a = om_doc_attr(n, name);

    return a ? om_pb_read(a->message, rules, 1, value, err) : 0;
}

int om_doc_attr_float(const struct om_doc_node *n, const char *name, float *value,
                      struct om_error *err)
{
    static const struct om_pb_rule rules[] = { { PB_ATTR_F, OM_PB_F32, 0, "f" } };
    const struct om_doc_attr *const a = om_doc_attr(n, name);

    return a ? om_pb_read(a->message, rules, 1, value, err) : 0;
}

int om_doc_attr_ints(const struct om_doc_node *n, const char *name, int64_t *values, size_t cap,
                     size_t *len, struct om_error *err)
{
    const struct om_doc_attr *const a = om_doc_attr(n, name);

    *len = 0;
    return a ? om_pb_ints(a->message, PB_ATTR_INTS, values, cap, len, err) : 0;
}

bool om_doc_attr_is(const struct om_doc_attr *a, const char *text)
{
    om_sv rest = a->message, found;

    return om_pb_next_bytes(&rest, PB_ATTR_S, &found, NULL) > 0 && om_sv_is(found, text);
}

bool om_doc_drop_attr(struct om_doc_node *n, const char *name)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (!om_sv_is(n->attrs[i].name, name))
            n->attrs[kept++] = n->attrs[i];
    if (kept == n->n_attrs)
        return false;
    n->n_attrs = kept;
    return true;
}

/* A new attribute, in a new array: the old one may be shared with another node. */
static bool put_attr(struct om_doc *d, struct om_doc_node *n, const char *name, int64_t type,
                     const struct om_buf *message)
{
    struct om_doc_attr *const grown =
        om_arena_array(d->arena, n->n_attrs + 1, sizeof(struct om_doc_attr));
    const char *copy = message->failed ? NULL : om_arena_copy(d->arena, message->ptr, message->len);

    if (!grown || !copy)
        return false;
    om_doc_drop_attr(n, name);
    if (n->n_attrs > 0)
        memcpy(grown, n->attrs, n->n_attrs * sizeof(*grown));
    grown[n->n_attrs++] = (struct om_doc_attr){ .name = om_sv_str(name),
                                                .type = type,
                                                .message = { copy, message->len } };
    n->attrs = grown;
    return true;
}

bool om_doc_put_ints(struct om_doc *d, struct om_doc_node *n, const char *name,
                     const int64_t *values, size_t len)
{
    struct om_buf b = OM_BUF_INIT(1u << 20);
    bool ok;

    om_wire_put_bytes(&b, PB_ATTR_NAME, om_sv_str(name));
    for (size_t i = 0; i < len; i++)
        om_wire_put_int(&b, PB_ATTR_INTS, values[i]);
    om_wire_put_int(&b, PB_ATTR_TYPE, PB_TYPE_INTS);
    ok = put_attr(d, n, name, PB_TYPE_INTS, &b);
    om_buf_release(&b);
    return ok;
}

bool om_doc_put_int(struct om_doc *d, struct om_doc_node *n, const char *name, int64_t value)
{
    struct om_buf b = OM_BUF_INIT(4096);
    bool ok;

    om_wire_put_bytes(&b, PB_ATTR_NAME, om_sv_str(name));
    om_wire_put_int(&b, PB_ATTR_I, value);
    om_wire_put_int(&b, PB_ATTR_TYPE, PB_TYPE_INT);
    ok = put_attr(d, n, name, PB_TYPE_INT, &b);
    om_buf_release(&b);
    return ok;
}

bool om_doc_put_float(struct om_doc *d, struct om_doc_node *n, const char *name, float value)
{
    struct om_buf b = OM_BUF_INIT(4096);
    bool ok;

    om_wire_put_bytes(&b, PB_ATTR_NAME, om_sv_str(name));
    om_wire_put_float(&b, PB_ATTR_F, value);
    om_wire_put_int(&b, PB_ATTR_TYPE, PB_TYPE_FLOAT);
    ok = put_attr(d, n, name, PB_TYPE_FLOAT, &b);
    om_buf_release(&b);
    return ok;
}

/* --- ports --- */

/* The field in msg, or an empty view. */
static om_sv find_bytes(om_sv msg, uint32_t number)
{
    om_sv found = { NULL, 0 };

    return om_pb_next_bytes(&msg, number, &found, NULL) > 0 ? found : (om_sv){ NULL, 0 };
}

/* The fields of msg but one. */
static void put_without(struct om_buf *b, om_sv msg, uint32_t number)
{
    struct om_wire_field f;
    const char *at = msg.ptr;

    while (om_wire_next(&msg, &f, NULL) > 0) {
        if (f.number != number)
            om_buf_add(b, at, (size_t)(msg.ptr - at));
        at = msg.ptr;
    }
}

bool om_doc_port_retype(struct om_doc *d, struct om_doc_port *p, int32_t type)
{
    const om_sv old_type = find_bytes(p->message, PB_VALUE_TYPE);
    const om_sv old_tensor = find_bytes(old_type, PB_TYPE_TENSOR_TYPE);
    struct om_buf b = OM_BUF_INIT(1u << 24);
    const char *copy;

    put_without(&b, p->message, PB_VALUE_TYPE);
    const size_t value = om_wire_begin(&b, PB_VALUE_TYPE);
    put_without(&b, old_type, PB_TYPE_TENSOR_TYPE);
    const size_t tensor = om_wire_begin(&b, PB_TYPE_TENSOR_TYPE);
    om_wire_put_int(&b, PB_TENSOR_TYPE_ELEM, type);
    put_without(&b, old_tensor, PB_TENSOR_TYPE_ELEM);
    om_wire_end(&b, tensor);
    om_wire_end(&b, value);
    copy = b.failed ? NULL : om_arena_copy(d->arena, b.ptr, b.len);
    if (copy) {
        p->message = (om_sv){ copy, b.len };
        p->type = type;
    }
    om_buf_release(&b);
    return copy != NULL;
}

/* --- walks --- */

int om_doc_walk(struct om_doc_graph *g, om_doc_graph_fn *fn, void *user, struct om_error *err)
{
    OM_TRY(fn(user, g, err));
    for (size_t i = 0; i < g->nodes.len; i++) {
        const struct om_doc_node *const n = &g->nodes.items[i];

        for (uint32_t k = 0; k < n->n_attrs; k++)
            for (uint32_t j = 0; j < n->attrs[k].n_graphs; j++)
                OM_TRY(om_doc_walk(n->attrs[k].graphs[j], fn, user, err));
    }
    return 0;
}

/* --- unused initializers --- */

/* The names that g and the graphs below it read. Names of inner values are among them; they do no
 * harm but to keep an initializer of the same name, which no valid file has. */
static int collect_reads(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct om_map *const reads = user;

    for (size_t i = 0; i < g->nodes.len; i++)
        for (uint32_t k = 0; k < g->nodes.items[i].n_in; k++)
            if (om_map_put(reads, g->nodes.items[i].in[k], 0) < 0)
                return om_fail(err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < g->outputs.len; i++)
        if (om_map_put(reads, g->outputs.items[i].name, 0) < 0)
            return om_fail(err, OM_E_NOMEM, "out of memory");
    return 0;
}

/* What a node of the graph makes under the name of an initializer takes its place. */
static int collect_makes(struct om_map *makes, const struct om_doc_graph *g, struct om_error *err)
{
    for (size_t i = 0; i < g->nodes.len; i++)
        for (uint32_t k = 0; k < g->nodes.items[i].n_out; k++)
            if (om_map_put(makes, g->nodes.items[i].out[k], 0) < 0)
                return om_fail(err, OM_E_NOMEM, "out of memory");
    return 0;
}

static int drop_tensors(struct om_doc_graph *g, const struct om_map *reads,
                        const struct om_map *makes, struct om_error *err)
{
    struct om_map gone = OM_MAP_INIT;
    size_t kept = 0, ports = 0;
    int rc = 0;

    for (size_t i = 0; i < g->tensors.len && rc == 0; i++) {
        const struct om_doc_tensor t = g->tensors.items[i];

        if (om_map_get(reads, t.name, NULL) && !om_map_get(makes, t.name, NULL))
            g->tensors.items[kept++] = t;
        else
            rc = om_map_put(&gone, t.name, 0);
    }
    if (rc == 0) {
        g->tensors.len = kept;
        for (size_t i = 0; i < g->inputs.len; i++)
            if (!om_map_get(&gone, g->inputs.items[i].name, NULL))
                g->inputs.items[ports++] = g->inputs.items[i];
        g->inputs.len = ports;
    }
    om_map_release(&gone);
    return rc < 0 ? om_fail(err, OM_E_NOMEM, "out of memory") : 0;
}

static int clean_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct om_map reads = OM_MAP_INIT, makes = OM_MAP_INIT;
    int rc = 0;

    (void)user;
    if (g->tensors.len > 0) {
        rc = om_doc_walk(g, collect_reads, &reads, err);
        if (rc == 0)
            rc = collect_makes(&makes, g, err);
        if (rc == 0)
            rc = drop_tensors(g, &reads, &makes, err);
    }
    om_map_release(&reads);
    om_map_release(&makes);
    return rc;
}

int om_doc_clean(struct om_doc *d, struct om_error *err)
{
    return om_doc_walk(d->graph, clean_graph, NULL, err);
}
