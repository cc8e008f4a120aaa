/* src/onnx/doc_inline.c: the nodes of model-local functions in place of their calls.
 *
 * A call becomes the nodes of the function, its formal inputs and outputs replaced by the call's,
 * every other name with a prefix of its own, attributes that refer to the function's by what the
 * call gives or the function says. */
#include <stdlib.h>

#include "base/map.h"
#include "base/wire.h"
#include "onnx/doc.h"
#include "onnx/pb.h"
#include "onnx/schema.h"

enum { NODES_MAX = 1 << 19, CALLS_MAX = 20, SHOWN_MAX = 64, COPIES_MAX = 1 << 30 };

struct inliner {
    struct om_doc *d;
    struct om_doc_function *functions;
    size_t n_functions;
    size_t n_calls, n_nodes;
    uint32_t marks;  /* underscores that make the prefix new */
    uint64_t copied; /* bytes of names and attributes */
    struct om_error *err;
};

/* A call whose nodes are being copied. */
struct call {
    const struct call *around;
    const struct om_doc_function *f;
    const struct om_doc_node *node; /* the call, all its names and attributes resolved */
    size_t number;
    struct om_map names; /* of the function, to an index of actual */
    om_sv *actual;
    size_t n_actual, cap_actual;
    uint32_t depth;
};

static int no_memory(const struct inliner *in)
{
    return om_fail(in->err, OM_E_NOMEM, "out of memory");
}

/* ---- names ---- */

static int set_name(struct inliner *in, struct call *c, om_sv name, om_sv actual)
{
    if (!om_grow(&c->actual, &c->cap_actual, c->n_actual + 1, sizeof(*c->actual)) ||
        c->n_actual > UINT32_MAX || om_map_put(&c->names, name, (uint32_t)c->n_actual) < 0)
        return no_memory(in);
    c->actual[c->n_actual++] = actual;
    return 0;
}

/* Few calls can ask for many copies. */
static int count_copy(struct inliner *in, size_t bytes)
{
    in->copied += bytes;
    return in->copied <= COPIES_MAX
               ? 0
               : om_fail(in->err, OM_E_LIMIT, "the functions' names and attributes are too long");
}

static int with_prefix(struct inliner *in, const struct call *c, om_sv name, om_sv *out)
{
    static const char marks[] = "____________________________________________________________";
    const om_sv shown = c->f->name.len <= SHOWN_MAX ? c->f->name : (om_sv){ "", 0 };

    OM_TRY(count_copy(in, name.len + SHOWN_MAX));
    *out = om_doc_text(in->d, "fn%.*s.%zu.%.*s/%.*s", (int)in->marks, marks, c->number,
                       OM_SV(shown), OM_SV(name));
    return out->len > 0 ? 0 : no_memory(in);
}

/* The name in the graph of a name of the function; c NULL: the same. */
static int rename_value(struct inliner *in, struct call *c, om_sv name, om_sv *out)
{
    uint32_t at;

    *out = name;
    if (!c || name.len == 0)
        return 0;
    if (!om_map_get(&c->names, name, &at)) {
        om_sv made;

        OM_TRY(with_prefix(in, c, name, &made));
        at = (uint32_t)c->n_actual;
        OM_TRY(set_name(in, c, name, made));
    }
    *out = c->actual[at];
    return 0;
}

static int rename_values(struct inliner *in, struct call *c, const om_sv *names, uint32_t n,
                         om_sv **out)
{
    *out = om_arena_array(in->d->arena, OM_MAX(n, 1), sizeof(**out));
    if (!*out)
        return no_memory(in);
    for (uint32_t i = 0; i < n; i++)
        OM_TRY(rename_value(in, c, names[i], &(*out)[i]));
    return 0;
}

/* The underscores after "fn" in front of a dot, if that is how the name begins. */
static void see_name(struct inliner *in, om_sv name)
{
    uint32_t marks = 0;

    if (!om_sv_starts(name, OM_SVL("fn")))
        return;
    while (2 + marks < name.len && name.ptr[2 + marks] == '_')
        marks++;
    if (2 + marks < name.len && name.ptr[2 + marks] == '.')
        in->marks = OM_MAX(in->marks, marks + 1);
}

static int see_names(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct inliner *const in = user;

    for (size_t i = 0; i < g->nodes.len; i++)
        for (uint32_t k = 0; k < g->nodes.items[i].n_out; k++)
            see_name(in, g->nodes.items[i].out[k]);
    for (size_t i = 0; i < g->inputs.len; i++)
        see_name(in, g->inputs.items[i].name);
    for (size_t i = 0; i < g->tensors.len; i++)
        see_name(in, g->tensors.items[i].name);
    return in->marks > 60 ? om_fail(err, OM_E_LIMIT, "names of values begin with \"fn____...\"")
                          : 0;
}

/* ---- attributes ---- */

static const struct om_doc_attr *find_attr(const struct om_doc_attr *attrs, size_t n, om_sv name)
{
    for (size_t i = 0; i < n; i++)
        if (om_sv_eq(attrs[i].name, name))
            return &attrs[i];
    return NULL;
}

/* The fields of an attribute under another name. */
static int named_attr(struct inliner *in, const struct om_doc_attr *from, om_sv name,
                      struct om_doc_attr *out)
{
    struct om_buf b = OM_BUF_INIT((size_t)1 << 31);
    struct om_wire_field f;
    om_sv msg = from->message;
    const char *at = msg.ptr, *copy;

    OM_TRY(count_copy(in, msg.len + name.len));
    om_wire_put_bytes(&b, PB_ATTR_NAME, name);
    while (om_wire_next(&msg, &f, NULL) > 0) {
        if (f.number != PB_ATTR_NAME && f.number != PB_ATTR_REF)
            om_buf_add(&b, at, (size_t)(msg.ptr - at));
        at = msg.ptr;
    }
    copy = b.failed ? NULL : om_arena_copy(in->d->arena, b.ptr, b.len);
    *out = (struct om_doc_attr){ .name = name, .type = from->type, .message = { copy, b.len } };
    om_buf_release(&b);
    return copy ? 0 : no_memory(in);
}

static int copy_graph(struct inliner *in, struct call *c, const struct om_doc_graph *from,
                      struct om_doc_graph *parent, unsigned depth, struct om_doc_graph **out);

static int copy_graphs(struct inliner *in, struct call *c, const struct om_doc_attr *from,
                       struct om_doc_graph *g, unsigned depth, struct om_doc_attr *out)
{
    out->graphs = om_arena_array(in->d->arena, from->n_graphs, sizeof(struct om_doc_graph *));
    if (!out->graphs)
        return no_memory(in);
    for (uint32_t i = 0; i < from->n_graphs; i++)
        OM_TRY(copy_graph(in, c, from->graphs[i], g, depth + 1, &out->graphs[i]));
    return 0;
}

/* Attribute from of a node in the function; out->name stays empty where the call leaves it out. */
static int copy_attr(struct inliner *in, struct call *c, const struct om_doc_attr *from,
                     struct om_doc_graph *g, unsigned depth, struct om_doc_attr *out)
{
    static const struct om_pb_rule rules[] = { { PB_ATTR_REF, OM_PB_TEXT, 0, "ref_attr_name" } };
    const struct om_doc_attr *given;
    om_sv ref = { "", 0 };

    OM_TRY(om_pb_read(from->message, rules, 1, &ref, in->err));
    *out = *from;
    if (from->n_graphs > 0)
        return copy_graphs(in, c, from, g, depth, out);
    if (ref.len == 0)
        return 0;
    if (!c)
        return om_fail(in->err, OM_E_FORMAT,
                       "attribute \"%.*s\" refers to a function's outside of one",
                       OM_SV(from->name));
    given = find_attr(c->node->attrs, c->node->n_attrs, ref);
    given = given ? given : find_attr(c->f->defaults, c->f->n_defaults, ref);
    out->name = (om_sv){ "", 0 };
    if (!given)
        return 0;
    if (given->n_graphs > 0)
        return om_fail(in->err, OM_E_UNSUPPORTED, "attribute \"%.*s\" of a function is a graph",
                       OM_SV(ref));
    return named_attr(in, given, from->name, out);
}

static int copy_attrs(struct inliner *in, struct call *c, const struct om_doc_node *from,
                      struct om_doc_graph *g, unsigned depth, struct om_doc_node *out)
{
    out->attrs = om_arena_array(in->d->arena, OM_MAX(from->n_attrs, 1), sizeof(*out->attrs));
    out->n_attrs = 0;
    if (!out->attrs)
        return no_memory(in);
    for (uint32_t i = 0; i < from->n_attrs; i++) {
        OM_TRY(copy_attr(in, c, &from->attrs[i], g, depth, &out->attrs[out->n_attrs]));
        out->n_attrs += out->attrs[out->n_attrs].name.len > 0;
    }
    return 0;
}

/* ---- nodes ---- */

static int find_function(struct inliner *in, const struct om_doc_node *n,
                         const struct om_doc_function **out)
{
    static const struct om_pb_rule rules[] = { { PB_NODE_OVERLOAD, OM_PB_TEXT, 0, "overload" } };
    om_sv overload = { "", 0 };

    *out = NULL;
    for (size_t i = 0; i < in->n_functions && !*out; i++) {
        const struct om_doc_function *f = &in->functions[i];

        if (!om_sv_eq(f->name, n->op) || !om_sv_eq(f->domain, n->domain))
            continue;
        OM_TRY(om_pb_read(n->rest, rules, 1, &overload, in->err));
        if (om_sv_eq(f->overload, overload))
            *out = f;
    }
    return 0;
}

static int64_t function_opset(const struct om_doc_function *f, om_sv domain)
{
    for (size_t i = 0; i < f->n_opsets; i++)
        if (om_sv_eq(f->opsets[i].domain, domain))
            return f->opsets[i].version;
    return 0;
}

static int copy_nodes(struct inliner *in, struct call *c, const struct om_doc_graph *from,
                      struct om_doc_graph *g, unsigned depth);

/* The formal names are the call's. */
static int bind_call(struct inliner *in, struct call *c)
{
    const struct om_doc_ports *inputs = &c->f->body->inputs, *outputs = &c->f->body->outputs;

    if (c->node->n_in > inputs->len || c->node->n_out > outputs->len)
        return om_fail(in->err, OM_E_FORMAT,
                       "%" PRIu32 " inputs and %" PRIu32 " outputs, the function has %zu and %zu",
                       c->node->n_in, c->node->n_out, inputs->len, outputs->len);
    if (c->depth > CALLS_MAX)
        return om_fail(in->err, OM_E_LIMIT, "functions call each other more than %d deep",
                       CALLS_MAX);
    for (const struct call *up = c->around; up; up = up->around)
        if (up->f == c->f)
            return om_fail(in->err, OM_E_FORMAT, "the function calls itself");
    for (size_t i = 0; i < inputs->len; i++)
        OM_TRY(set_name(in, c, inputs->items[i].name,
                        i < c->node->n_in ? c->node->in[i] : (om_sv){ "", 0 }));
    for (size_t i = 0; i < c->node->n_out; i++)
        if (c->node->out[i].len > 0 && !om_map_get(&c->names, outputs->items[i].name, NULL))
            OM_TRY(set_name(in, c, outputs->items[i].name, c->node->out[i]));
    return 0;
}

/* An output that is an input, or another output too, is copied. */
static int pass_outputs(struct inliner *in, struct call *c, struct om_doc_graph *g)
{
    for (uint32_t i = 0; i < c->node->n_out; i++) {
        struct om_doc_node *n;
        om_sv made;

        OM_TRY(rename_value(in, c, c->f->body->outputs.items[i].name, &made));
        if (c->node->out[i].len == 0 || om_sv_eq(made, c->node->out[i]))
            continue;
        if (made.len == 0)
            return om_fail(in->err, OM_E_FORMAT, "output %" PRIu32 " is an input that is left out",
                           i);
        n = om_doc_add_node(in->d, g);
        if (!n)
            return no_memory(in);
        n->op = OM_SVL("Identity");
        OM_TRY(rename_values(in, NULL, &made, 1, &n->in));
        OM_TRY(rename_values(in, NULL, &c->node->out[i], 1, &n->out));
        n->n_in = n->n_out = 1;
    }
    return 0;
}

static int inline_call(struct inliner *in, struct call *around, const struct om_doc_function *f,
                       const struct om_doc_node *node, struct om_doc_graph *g, unsigned depth)
{
    struct call c = { .around = around,
                      .f = f,
                      .node = node,
                      .number = in->n_calls++,
                      .names = OM_MAP_INIT,
                      .depth = around ? around->depth + 1 : 1 };
    int rc = bind_call(in, &c);

    if (rc == 0)
        rc = copy_nodes(in, &c, f->body, g, depth);
    if (rc == 0)
        rc = pass_outputs(in, &c, g);
    om_map_release(&c.names);
    free(c.actual);
    return om_wrap(in->err, rc, "function \"%.*s\"", OM_SV(f->name));
}

static int copy_node(struct inliner *in, struct call *c, const struct om_doc_node *from,
                     struct om_doc_graph *g, unsigned depth)
{
    const struct om_doc_function *f;
    struct om_doc_node n = *from, *added;

    if (in->n_nodes++ >= NODES_MAX)
        return om_fail(in->err, OM_E_LIMIT, "the functions have more than %d nodes", NODES_MAX);
    OM_TRY(find_function(in, from, &f));
    OM_TRY(rename_values(in, c, from->in, from->n_in, &n.in));
    OM_TRY(rename_values(in, c, from->out, from->n_out, &n.out));
    OM_TRY(copy_attrs(in, c, from, g, depth, &n));
    if (f)
        return inline_call(in, c, f, &n, g, depth);
    if (c) {
        n.opset = function_opset(c->f, n.domain);
        if (n.name.len > 0)
            OM_TRY(with_prefix(in, c, n.name, &n.name));
    }
    added = om_doc_add_node(in->d, g);
    if (!added)
        return no_memory(in);
    *added = n;
    return 0;
}

static int copy_nodes(struct inliner *in, struct call *c, const struct om_doc_graph *from,
                      struct om_doc_graph *g, unsigned depth)
{
    for (size_t i = 0; i < from->nodes.len; i++) {
        const struct om_doc_node *n = &from->nodes.items[i];

        OM_TRY(om_wrap(in->err, copy_node(in, c, n, g, depth), "%.*s \"%.*s\"", OM_SV(n->op),
                       OM_SV(n->name)));
    }
    return 0;
}

/* ---- graphs ---- */

static int copy_port(struct inliner *in, struct call *c, struct om_doc_port *p)
{
    struct om_buf b = OM_BUF_INIT(1u << 24);
    struct om_wire_field f;
    om_sv msg = p->message;
    const char *at = msg.ptr, *copy;

    OM_TRY(rename_value(in, c, p->name, &p->name));
    om_wire_put_bytes(&b, PB_VALUE_NAME, p->name);
    while (om_wire_next(&msg, &f, NULL) > 0) {
        if (f.number != PB_VALUE_NAME)
            om_buf_add(&b, at, (size_t)(msg.ptr - at));
        at = msg.ptr;
    }
    copy = b.failed ? NULL : om_arena_copy(in->d->arena, b.ptr, b.len);
    p->message = (om_sv){ copy, b.len };
    om_buf_release(&b);
    return copy ? 0 : no_memory(in);
}

static int copy_ports(struct inliner *in, struct call *c, const struct om_doc_ports *from,
                      struct om_doc_ports *out)
{
    *out = (struct om_doc_ports){ .len = from->len, .cap = from->len };
    out->items = om_arena_array(in->d->arena, OM_MAX(from->len, 1), sizeof(*out->items));
    if (!out->items)
        return no_memory(in);
    for (size_t i = 0; i < from->len; i++) {
        out->items[i] = from->items[i];
        if (c)
            OM_TRY(copy_port(in, c, &out->items[i]));
    }
    return 0;
}

/* Initializers of a graph within a function: their messages hold the old names. */
static int copy_tensors(struct inliner *in, struct call *c, const struct om_doc_graph *from,
                        struct om_doc_graph *g)
{
    for (size_t i = 0; i < from->tensors.len; i++) {
        struct om_doc_tensor *const t = om_doc_add_tensor(in->d, g);
        struct om_weight *const w = om_arena_alloc(in->d->arena, sizeof(*w));

        if (!t || !w)
            return no_memory(in);
        *t = from->tensors.items[i];
        if (!c)
            continue;
        OM_TRY(rename_value(in, c, t->name, &t->name));
        OM_TRY(om_doc_weight(in->d, &from->tensors.items[i], w, in->err));
        t->message = (om_sv){ NULL, 0 };
        t->weight = w;
    }
    return 0;
}

static int copy_graph(struct inliner *in, struct call *c, const struct om_doc_graph *from,
                      struct om_doc_graph *parent, unsigned depth, struct om_doc_graph **out)
{
    struct om_doc_graph *const g = om_arena_alloc(in->d->arena, sizeof(*g));

    if (!g)
        return no_memory(in);
    if (depth > OM_DOC_DEPTH_MAX)
        return om_fail(in->err, OM_E_LIMIT, "graphs are nested deeper than %d", OM_DOC_DEPTH_MAX);
    *out = g;
    g->parent = parent;
    g->name = from->name;
    g->rest = c ? (om_sv){ "", 0 } : from->rest;
    OM_TRY(copy_ports(in, c, &from->inputs, &g->inputs));
    OM_TRY(copy_ports(in, c, &from->outputs, &g->outputs));
    if (!c) /* types of values within a function are not carried along */
        OM_TRY(copy_ports(in, c, &from->values, &g->values));
    OM_TRY(copy_tensors(in, c, from, g));
    return copy_nodes(in, c, from, g, depth);
}

int om_doc_inlined(struct om_doc *d, struct om_doc_graph **out, struct om_error *err)
{
    struct inliner in = { .d = d, .err = err };

    OM_TRY(om_doc_functions(d, &in.functions, &in.n_functions, err));
    OM_TRY(om_doc_walk(d->graph, see_names, &in, err));
    return copy_graph(&in, NULL, d->graph, NULL, 0, out);
}

/* ---- instead of the file's graph ---- */

struct opsets {
    struct om_doc *d;
    bool apply;
};

/* Nodes' operator sets are the file's; those it does not have are added. */
static int settle_opsets(void *user, struct om_doc_graph *g, struct om_error *err)
{
    const struct opsets *const o = user;

    for (size_t i = 0; i < g->nodes.len; i++) {
        struct om_doc_node *const n = &g->nodes.items[i];
        const char *domain = n->opset != 0 ? om_arena_str(o->d->arena, n->domain) : NULL;
        int64_t have;

        if (n->opset == 0)
            continue;
        if (!domain)
            return om_fail(err, OM_E_NOMEM, "out of memory");
        have = om_doc_opset(o->d, domain);
        if (have != 0 && have != n->opset)
            return om_fail(err, OM_E_UNSUPPORTED,
                           "a function imports version %" PRId64
                           " of the operator set \"%s\", the file %" PRId64,
                           n->opset, domain, have);
        if (!o->apply)
            continue;
        n->opset = 0;
        if (have == 0)
            OM_TRY(om_doc_set_opset(o->d, domain, n->opset, err));
    }
    return 0;
}

/* The fields of the model without the functions. */
static int drop_functions(struct om_doc *d, struct om_error *err)
{
    char *const rest = om_arena_alloc(d->arena, OM_MAX(d->rest.len, 1));
    struct om_wire_field f;
    om_sv msg = d->rest;
    const char *at = msg.ptr;
    size_t len = 0;

    if (!rest)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    while (om_wire_next(&msg, &f, NULL) > 0) {
        if (f.number != PB_MODEL_FUNCTIONS) {
            memcpy(rest + len, at, (size_t)(msg.ptr - at));
            len += (size_t)(msg.ptr - at);
        }
        at = msg.ptr;
    }
    d->rest = (om_sv){ rest, len };
    d->n_functions = 0;
    return 0;
}

/* Set g's operator sets right, or find out that they cannot be. */
static int check_opsets(struct om_doc *d, struct om_doc_graph *g, struct om_error *err)
{
    struct opsets o = { .d = d };

    return om_doc_walk(g, settle_opsets, &o, err);
}

int om_doc_inline(struct om_doc *d, bool *done, struct om_error *err)
{
    struct opsets o = { .d = d, .apply = true };
    struct om_error why = OM_ERROR_INIT;
    struct om_doc_graph *g;
    int rc;

    *done = true;
    if (d->n_functions == 0)
        return 0;
    rc = om_doc_inlined(d, &g, &why);
    if (rc == 0)
        rc = check_opsets(d, g, &why);
    *done = rc == 0;
    if (rc == OM_E_NOMEM)
        rc = om_fail(err, OM_E_NOMEM, "out of memory");
    else if (rc < 0)
        rc = 0;
    om_error_release(&why);
    if (rc < 0 || !*done)
        return rc;
    OM_TRY(om_doc_walk(g, settle_opsets, &o, err));
    OM_TRY(drop_functions(d, err));
    d->graph = g;
    return 0;
}
