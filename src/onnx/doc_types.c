/* src/onnx/doc_types.c: element types of a document's values: most operators give what their first
 * input has, the table holds the others. */
#include <stdlib.h>

#include "base/map.h"
#include "onnx/doc.h"
#include "onnx/pb.h"
#include "onnx/schema.h"

#define F32 1
#define U8 2
#define I32 6
#define I64 7
#define BOOL 9

struct scope {
    const struct om_doc_graph *graph;
    struct om_map types;
    struct scope *next;
};

struct om_doc_types {
    struct om_doc *d;
    struct scope *scopes; /* newest first */
    struct om_error *err;
};

/* How the type of an output follows. */
enum rule {
    RULE_FIXED, /* .type */
    RULE_INPUT, /* that of input .type */
    RULE_ATTR,  /* the integer attribute .attr; .type where there is none */
    RULE_VALUE, /* the tensor attribute "value"; .type where there is none */
};

struct row {
    const char *op;
    enum rule rule;
    int32_t type;
    const char *attr;
    int32_t second; /* of outputs after the first; 0: as the first */
};

static const struct row rows[] = {
    { "And", RULE_FIXED, BOOL, NULL, 0 },
    { "ArgMax", RULE_FIXED, I64, NULL, 0 },
    { "ArgMin", RULE_FIXED, I64, NULL, 0 },
    { "BitShift", RULE_INPUT, 0, NULL, 0 },
    { "Cast", RULE_ATTR, 0, "to", 0 },
    { "CastLike", RULE_INPUT, 1, NULL, 0 },
    { "Constant", RULE_VALUE, F32, NULL, 0 },
    { "ConstantOfShape", RULE_VALUE, F32, NULL, 0 },
    { "ConvInteger", RULE_FIXED, I32, NULL, 0 },
    { "DequantizeLinear", RULE_INPUT, 1, NULL, 0 },
    { "Dropout", RULE_INPUT, 0, NULL, BOOL },
    { "DynamicQuantizeLinear", RULE_FIXED, U8, NULL, F32 }, /* the third: uint8, nobody asks */
    { "Equal", RULE_FIXED, BOOL, NULL, 0 },
    { "EyeLike", RULE_ATTR, F32, "dtype", 0 },
    { "Greater", RULE_FIXED, BOOL, NULL, 0 },
    { "GreaterOrEqual", RULE_FIXED, BOOL, NULL, 0 },
    { "IsInf", RULE_FIXED, BOOL, NULL, 0 },
    { "IsNaN", RULE_FIXED, BOOL, NULL, 0 },
    { "Less", RULE_FIXED, BOOL, NULL, 0 },
    { "LessOrEqual", RULE_FIXED, BOOL, NULL, 0 },
    { "MatMulInteger", RULE_FIXED, I32, NULL, 0 },
    { "MaxPool", RULE_INPUT, 0, NULL, I64 },
    { "Multinomial", RULE_ATTR, I32, "dtype", 0 },
    { "NonMaxSuppression", RULE_FIXED, I64, NULL, 0 },
    { "NonZero", RULE_FIXED, I64, NULL, 0 },
    { "Not", RULE_FIXED, BOOL, NULL, 0 },
    { "OneHot", RULE_INPUT, 2, NULL, 0 },
    { "Or", RULE_FIXED, BOOL, NULL, 0 },
    { "QLinearConv", RULE_INPUT, 7, NULL, 0 },
    { "QLinearMatMul", RULE_INPUT, 7, NULL, 0 },
    { "QuantizeLinear", RULE_INPUT, 2, NULL, 0 },
    { "RandomNormal", RULE_ATTR, F32, "dtype", 0 },
    { "RandomUniform", RULE_ATTR, F32, "dtype", 0 },
    { "SequenceLength", RULE_FIXED, I64, NULL, 0 },
    { "Shape", RULE_FIXED, I64, NULL, 0 },
    { "Size", RULE_FIXED, I64, NULL, 0 },
    { "TopK", RULE_INPUT, 0, NULL, I64 },
    { "Unique", RULE_INPUT, 0, NULL, I64 },
    { "Where", RULE_INPUT, 1, NULL, 0 },
    { "Xor", RULE_FIXED, BOOL, NULL, 0 },
    /* com.microsoft */
    { "EmbedLayerNormalization", RULE_INPUT, 2, NULL, 0 },
    { "GatherBlockQuantized", RULE_INPUT, 2, NULL, 0 },
    { "QAttention", RULE_INPUT, 3, NULL, 0 },
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

static const struct row *find_row(om_sv op)
{
    for (size_t i = 0; i < OM_COUNT(rows); i++)
        if (om_sv_is(op, rows[i].op))
            return &rows[i];
    return NULL;
}

static struct scope *find_scope(const struct om_doc_types *t, const struct om_doc_graph *g)
{
    for (struct scope *s = t->scopes; s; s = s->next)
        if (s->graph == g)
            return s;
    return NULL;
}

int32_t om_doc_types_find(const struct om_doc_types *t, const struct om_doc_graph *g, om_sv name)
{
    for (; g; g = g->parent) {
        const struct scope *const s = find_scope(t, g);
        uint32_t type;

        if (s && om_map_get(&s->types, name, &type))
            return (int32_t)type;
    }
    return OM_DOC_UNKNOWN;
}

bool om_doc_types_put(struct om_doc_types *t, const struct om_doc_graph *g, om_sv name,
                      int32_t type)
{
    struct scope *const s = find_scope(t, g);

    if (type == OM_DOC_UNKNOWN || name.len == 0 || !s)
        return true;
    return om_map_put(&s->types, name, (uint32_t)type) == 0;
}

static int put_ports(struct om_doc_types *t, const struct om_doc_graph *g,
                     const struct om_doc_ports *ports)
{
    for (size_t i = 0; i < ports->len; i++)
        if (!om_doc_types_put(t, g, ports->items[i].name, ports->items[i].type))
            return no_memory(t->err);
    return 0;
}

/* The data_type of the tensor in the attribute "value". */
static int32_t value_type(const struct om_doc_node *n, int32_t otherwise)
{
    static const struct om_pb_rule attr_rules[] = { { PB_ATTR_T, OM_PB_BYTES, 0, "t" } };
    static const struct om_pb_rule rules[] = { { PB_TENSOR_DATA_TYPE, OM_PB_INT, 0, "data_type" } };
    const struct om_doc_attr *const a = om_doc_attr(n, "value");
    om_sv tensor = { NULL, 0 };
    int64_t type = 0;

    if (!a)
        return om_doc_attr(n, "value_int") || om_doc_attr(n, "value_ints") ? I64 : otherwise;
    if (om_pb_read(a->message, attr_rules, 1, &tensor, NULL) < 0 || !tensor.ptr ||
        om_pb_read(tensor, rules, 1, &type, NULL) < 0 || type != (int32_t)type)
        return OM_DOC_UNKNOWN;
    return (int32_t)type;
}

static int32_t input_type(const struct om_doc_types *t, const struct om_doc_graph *g,
                          const struct om_doc_node *n, uint32_t i)
{
    return i < n->n_in ? om_doc_types_find(t, g, n->in[i]) : OM_DOC_UNKNOWN;
}

static int32_t by_row(const struct om_doc_types *t, const struct om_doc_graph *g,
                      const struct om_doc_node *n, const struct row *r)
{
    int64_t v = r->type;

    switch (r->rule) {
    case RULE_FIXED:
        return r->type;
    case RULE_INPUT:
        return input_type(t, g, n, (uint32_t)r->type);
    case RULE_ATTR:
        return om_doc_attr_int(n, r->attr, &v, NULL) == 0 && v == (int32_t)v ? (int32_t)v
                                                                             : OM_DOC_UNKNOWN;
    case RULE_VALUE:
        return value_type(n, r->type);
    }
    return OM_DOC_UNKNOWN;
}

/* What a branch or body gives as its output i. */
static int32_t graph_output(const struct om_doc_types *t, const struct om_doc_node *n, uint32_t i)
{
    const size_t at = om_sv_is(n->op, "Loop") ? (size_t)i + 1 : i;

    for (uint32_t k = 0; k < n->n_attrs; k++) {
        for (uint32_t j = 0; j < n->attrs[k].n_graphs; j++) {
            const struct om_doc_graph *const g = n->attrs[k].graphs[j];
            const int32_t type =
                at < g->outputs.len ? om_doc_types_find(t, g, g->outputs.items[at].name) : 0;

            if (type != OM_DOC_UNKNOWN)
                return type;
        }
    }
    return OM_DOC_UNKNOWN;
}

static bool has_graphs(const struct om_doc_node *n)
{
    for (uint32_t k = 0; k < n->n_attrs; k++)
        if (n->attrs[k].n_graphs > 0)
            return true;
    return false;
}

static int32_t output_type(const struct om_doc_types *t, const struct om_doc_graph *g,
                           const struct om_doc_node *n, uint32_t i)
{
    const struct row *const r = find_row(n->op);

    if (has_graphs(n))
        return graph_output(t, n, i);
    if (r && i > 0 && r->second != 0)
        return r->second;
    return r ? by_row(t, g, n, r) : input_type(t, g, n, 0);
}

static int infer_graph(struct om_doc_types *t, const struct om_doc_graph *g);

static int infer_node(struct om_doc_types *t, const struct om_doc_graph *g,
                      const struct om_doc_node *n)
{
    for (uint32_t k = 0; k < n->n_attrs; k++)
        for (uint32_t j = 0; j < n->attrs[k].n_graphs; j++)
            OM_TRY(infer_graph(t, n->attrs[k].graphs[j]));
    for (uint32_t i = 0; i < n->n_out; i++) {
        const struct scope *const s = find_scope(t, g);

        if (!om_map_get(&s->types, n->out[i], NULL) &&
            !om_doc_types_put(t, g, n->out[i], output_type(t, g, n, i)))
            return no_memory(t->err);
    }
    return 0;
}

/* What the file says comes first, what follows from the operators second. */
static int infer_graph(struct om_doc_types *t, const struct om_doc_graph *g)
{
    struct scope *const s = om_arena_alloc(t->d->arena, sizeof(*s));

    if (!s)
        return no_memory(t->err);
    *s = (struct scope){ .graph = g, .types = OM_MAP_INIT, .next = t->scopes };
    t->scopes = s;
    for (size_t i = 0; i < g->tensors.len; i++)
        if (!om_doc_types_put(t, g, g->tensors.items[i].name, g->tensors.items[i].type))
            return no_memory(t->err);
    OM_TRY(put_ports(t, g, &g->inputs));
    OM_TRY(put_ports(t, g, &g->values));
    OM_TRY(put_ports(t, g, &g->outputs));
    for (size_t i = 0; i < g->nodes.len; i++)
        OM_TRY(infer_node(t, g, &g->nodes.items[i]));
    return 0;
}

int om_doc_types_new(struct om_doc *d, struct om_doc_types **out, struct om_error *err)
{
    struct om_doc_types *const t = om_arena_alloc(d->arena, sizeof(*t));
    int rc;

    if (!t)
        return no_memory(err);
    t->d = d;
    t->err = err;
    rc = infer_graph(t, d->graph);
    if (rc < 0) {
        om_doc_types_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void om_doc_types_free(struct om_doc_types *t)
{
    if (!t)
        return;
    for (struct scope *s = t->scopes; s; s = s->next)
        om_map_release(&s->types);
    t->scopes = NULL;
}
