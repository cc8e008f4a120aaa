/* src/fuse/shapes.c: walks a document and notes what is known of its values. */
#include "fuse/shapes.h"

#include <stdlib.h>

#include "base/map.h"
#include "onnx/forms.h"

#define ARENA_MAX ((size_t)1 << 30)
#define CONTENT_MAX 64 /* elements of an integer constant that are looked at */
#define OPSET_MIN 13   /* before, operators have other forms */

struct scope {
    const struct om_doc_graph *graph;
    struct om_map values; /* names to values of g; 0: not known */
    struct scope *next;
};

struct fz_shapes {
    struct om_arena arena;
    struct om_doc *d;
    struct om_graph *g;
    struct scope *scopes; /* newest first */
    int64_t opset;
    struct om_error *err;
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

/* ---- names ---- */

static const struct scope *find_scope(const struct fz_shapes *s, const struct om_doc_graph *g)
{
    for (const struct scope *k = s->scopes; k; k = k->next)
        if (k->graph == g)
            return k;
    return NULL;
}

static om_val find(const struct fz_shapes *s, const struct om_doc_graph *g, om_sv name)
{
    om_val v = { 0 };

    for (; g; g = g->parent) {
        const struct scope *const k = find_scope(s, g);

        if (k && om_map_get(&k->values, name, &v.id))
            return v;
    }
    return v;
}

const struct om_value *fz_shapes_find(const struct fz_shapes *s, const struct om_doc_graph *g,
                                      om_sv name)
{
    const om_val v = name.len > 0 ? find(s, g, name) : (om_val){ 0 };

    return v.id != 0 ? om_graph_value(s->g, v) : NULL;
}

bool fz_shapes_agree(const struct fz_shapes *s, const struct om_doc_graph *g,
                     const struct om_doc_port *p)
{
    const struct om_value *const v = fz_shapes_find(s, g, p->name);
    struct om_error why = OM_ERROR_INIT;
    struct om_value said;
    int64_t a, b;

    if (!v || om_doc_port_read(p, s->g, &said, &why) < 0) {
        om_error_release(&why);
        return true;
    }
    if (v->rank != said.rank || v->dtype != said.dtype)
        return false;
    for (uint32_t i = 0; i < v->rank; i++)
        if (om_dim_is_const(s->g->dims, v->dims[i], &a) &&
            om_dim_is_const(s->g->dims, said.dims[i], &b) && a != b)
            return false;
    return true;
}

const struct om_graph *fz_shapes_graph(const struct fz_shapes *s)
{
    return s->g;
}

/* A name that is not known hides the one outside. */
static int note(struct fz_shapes *s, struct scope *at, om_sv name, om_val v)
{
    return name.len > 0 && om_map_put(&at->values, name, v.id) < 0 ? no_memory(s->err) : 0;
}

static int add_value(struct fz_shapes *s, const struct om_value *v, om_val *out)
{
    struct om_graph *const g = s->g;

    if (g->n_values >= UINT32_MAX ||
        !om_grow(&g->values, &g->cap_values, g->n_values + 1, sizeof(*g->values)))
        return no_memory(s->err);
    *out = (om_val){ (uint32_t)g->n_values };
    g->values[g->n_values++] = *v;
    return 0;
}

/* What cannot be read is not known; only memory is an error. */
static int forgive(struct fz_shapes *s, int rc, struct om_error *why)
{
    om_error_release(why);
    return rc == OM_E_NOMEM ? no_memory(s->err) : 0;
}

/* ---- tensors and inputs ---- */

static bool has_content(const struct om_doc_tensor *t, enum om_dtype dtype)
{
    return (dtype == OM_I64 || dtype == OM_I32 || dtype == OM_BOOL) && t->rank < 2 &&
           (t->rank == 0 || (t->dims[0] >= 0 && t->dims[0] <= CONTENT_MAX));
}

/* A short list of integers, whose elements may be extents. */
static int add_content(struct fz_shapes *s, const struct om_doc_tensor *t, om_val *out)
{
    struct om_error why = OM_ERROR_INIT;
    struct om_weight w;
    const int rc = om_doc_weight(s->d, t, &w, &why);

    if (rc < 0 || !w.data || (w.src_dtype != OM_DTYPE_NONE && w.src_dtype != w.dtype))
        return forgive(s, rc, &why);
    *out = om_graph_const(s->g, w.dtype, w.dims, w.rank, w.data);
    return om_graph_check(s->g, s->err);
}

static int add_tensor(struct fz_shapes *s, const struct om_doc_tensor *t, om_val *out)
{
    const enum om_dtype dtype = om_dtype_from_onnx(t->type);
    om_dim *dims;

    *out = (om_val){ 0 };
    if (dtype == OM_DTYPE_NONE || t->rank > OM_RANK_MAX)
        return 0;
    if (has_content(t, dtype)) {
        OM_TRY(add_content(s, t, out));
        if (out->id != 0)
            return 0;
    }
    dims = om_arena_array(&s->arena, t->rank, sizeof(*dims));
    if (!dims)
        return no_memory(s->err);
    for (uint32_t i = 0; i < t->rank; i++)
        if ((dims[i] = om_dim_const(s->g->dims, t->dims[i])) == 0)
            return no_memory(s->err);
    return add_value(s,
                     &(struct om_value){ .dtype = dtype,
                                         .rank = t->rank,
                                         .dims = dims,
                                         .node = OM_NO_NODE,
                                         .weight = OM_NO_WEIGHT },
                     out);
}

static int note_tensors(struct fz_shapes *s, const struct om_doc_graph *g, struct scope *at)
{
    om_val v;

    for (size_t i = 0; i < g->tensors.len; i++) {
        OM_TRY(add_tensor(s, &g->tensors.items[i], &v));
        OM_TRY(note(s, at, g->tensors.items[i].name, v));
    }
    return 0;
}

/* Inputs of the model are what is declared; those of a loop's body are whatever comes. */
static int note_inputs(struct fz_shapes *s, const struct om_doc_graph *g, struct scope *at)
{
    for (size_t i = 0; i < g->inputs.len; i++) {
        struct om_error why = OM_ERROR_INIT;
        struct om_value value;
        om_val v = { 0 };
        const int rc = g->parent ? 1 : om_doc_port_read(&g->inputs.items[i], s->g, &value, &why);

        OM_TRY(forgive(s, rc, &why));
        if (rc == 0)
            OM_TRY(add_value(s, &value, &v));
        OM_TRY(note(s, at, g->inputs.items[i].name, v));
    }
    return 0;
}

/* ---- nodes ---- */

static bool is_default(const struct om_doc_node *n)
{
    return n->domain.len == 0 || om_sv_is(n->domain, "ai.onnx");
}

static int add_float(struct fz_shapes *s, om_val *out)
{
    return add_value(
        s, &(struct om_value){ .dtype = OM_F32, .node = OM_NO_NODE, .weight = OM_NO_WEIGHT }, out);
}

static int constant(struct fz_shapes *s, const struct om_doc_node *n, om_val *out)
{
    struct om_error why = OM_ERROR_INIT;
    struct om_doc_tensor t;
    struct om_attr a;
    int rc;

    if (n->n_attrs != 1)
        return 0;
    if (om_sv_is(n->attrs[0].name, "value")) {
        rc = om_doc_attr_tensor(s->d, &n->attrs[0], &t, &why);
        return rc < 0 ? forgive(s, rc, &why) : add_tensor(s, &t, out);
    }
    rc = om_doc_attr_read(s->d, &s->arena, &n->attrs[0], &a, &why);
    if (rc < 0)
        return forgive(s, rc, &why);
    if (strcmp(a.name, "value_int") == 0 && a.kind == OM_ATTR_INT)
        *out = om_graph_const(s->g, OM_I64, NULL, 0, &a.i);
    else if (strcmp(a.name, "value_ints") == 0 && a.kind == OM_ATTR_INTS)
        *out = om_graph_const(s->g, OM_I64, &(int64_t){ a.n }, 1, a.ints);
    else if (strcmp(a.name, "value_float") == 0 && a.kind == OM_ATTR_FLOAT)
        return add_float(s, out);
    return om_graph_check(s->g, s->err);
}

static int read_attrs(struct fz_shapes *s, struct fz_look *k)
{
    struct om_attr *const attrs = om_arena_array(&s->arena, k->n->n_attrs + 1, sizeof(*attrs));
    const enum om_op op = om_op_parse(k->n->op);
    const struct om_onnx_form *const form =
        is_default(k->n) ? om_onnx_old_form(op, s->opset) : NULL;

    if (!attrs)
        return no_memory(s->err);
    for (uint32_t i = 0; i < k->n->n_attrs; i++) {
        struct om_error why = OM_ERROR_INIT;
        struct om_attr *const a = &attrs[k->node.n_attrs];
        const int rc = om_doc_attr_read(s->d, &s->arena, &k->n->attrs[i], a, &why);

        OM_TRY(forgive(s, rc, &why));
        if (rc < 0)
            continue;
        if (form && strcmp(a->name, form->attr) == 0 && a->kind == OM_ATTR_INTS &&
            k->node.n_in == form->input)
            k->node.in[k->node.n_in++] =
                om_graph_const(s->g, OM_I64, &(int64_t){ a->n }, 1, a->ints);
        else
            k->node.n_attrs++;
    }
    k->node.attrs = attrs;
    return om_graph_check(s->g, s->err);
}

static int prepare(struct fz_shapes *s, const struct om_doc_graph *g, struct fz_look *k)
{
    const struct om_doc_node *const n = k->n;

    k->node.in = om_arena_array(&s->arena, n->n_in + 1, sizeof(*k->node.in));
    k->node.out = om_arena_array(&s->arena, n->n_out + 1, sizeof(*k->node.out));
    if (!k->node.in || !k->node.out)
        return no_memory(s->err);
    k->node.n_in = n->n_in;
    k->node.n_out = n->n_out;
    for (uint32_t i = 0; i < n->n_in; i++) {
        k->node.in[i] = n->in[i].len > 0 ? find(s, g, n->in[i]) : (om_val){ 0 };
        k->known &= n->in[i].len == 0 || k->node.in[i].id != 0;
    }
    for (uint32_t i = 0; i < n->n_out; i++)
        OM_TRY(add_value(s, &(struct om_value){ .node = OM_NO_NODE, .weight = OM_NO_WEIGHT },
                         &k->node.out[i]));
    return read_attrs(s, k);
}

static int note_node(struct fz_shapes *s, const struct om_doc_graph *g, struct scope *at,
                     const struct om_doc_node *n)
{
    struct fz_look k = { .g = s->g, .n = n, .known = true, .opset = s->opset, .err = s->err };
    int rc;

    OM_TRY(prepare(s, g, &k));
    rc = fz_look_at(&k);
    OM_TRY(rc);
    for (uint32_t i = 0; i < n->n_out; i++) {
        const bool known = rc == 0 && s->g->values[k.node.out[i].id].dtype != OM_DTYPE_NONE;

        OM_TRY(note(s, at, n->out[i], known ? k.node.out[i] : (om_val){ 0 }));
    }
    return 0;
}

/* ---- graphs ---- */

static int walk(struct fz_shapes *s, const struct om_doc_graph *g);

/* What two values have in common, as a new one; nothing: {0}. */
static int common(struct fz_shapes *s, om_val a, om_val b, om_val *out)
{
    const struct om_value *const x = om_graph_value(s->g, a), *const y = om_graph_value(s->g, b);
    struct om_value v = *x;
    om_dim *dims;

    *out = (om_val){ 0 };
    if (a.id == 0 || b.id == 0 || x->dtype != y->dtype || x->rank != y->rank)
        return 0;
    dims = om_arena_array(&s->arena, v.rank, sizeof(*dims));
    if (!dims)
        return no_memory(s->err);
    for (uint32_t i = 0; i < v.rank; i++)
        if ((dims[i] = x->dims[i] == y->dims[i] ? x->dims[i] : om_dim_fresh(s->g->dims)) == 0)
            return no_memory(s->err);
    v.dims = dims;
    v.content = NULL;
    v.n_content = 0;
    return add_value(s, &v, out);
}

static const struct om_doc_graph *branch(const struct om_doc_node *n, const char *name)
{
    const struct om_doc_attr *const a = om_doc_attr(n, name);

    return a && a->n_graphs == 1 ? a->graphs[0] : NULL;
}

/* The graphs within a node were walked. */
static int note_branches(struct fz_shapes *s, struct scope *at, const struct om_doc_node *n)
{
    const struct om_doc_graph *const a = branch(n, "then_branch"), *const b =
                                                                       branch(n, "else_branch");
    const bool is_if = is_default(n) && om_sv_is(n->op, "If") && a && b;

    for (uint32_t i = 0; i < n->n_out; i++) {
        om_val v = { 0 };

        if (is_if && i < a->outputs.len && i < b->outputs.len)
            OM_TRY(common(s, find(s, a, a->outputs.items[i].name),
                          find(s, b, b->outputs.items[i].name), &v));
        OM_TRY(note(s, at, n->out[i], v));
    }
    return 0;
}

static int walk_inner(struct fz_shapes *s, const struct om_doc_node *n, bool *any)
{
    *any = false;
    for (uint32_t i = 0; i < n->n_attrs; i++)
        for (uint32_t k = 0; k < n->attrs[i].n_graphs; k++) {
            OM_TRY(walk(s, n->attrs[i].graphs[k]));
            *any = true;
        }
    return 0;
}

static int walk_node(struct fz_shapes *s, const struct om_doc_graph *g, struct scope *at,
                     const struct om_doc_node *n)
{
    om_val v = { 0 };
    bool inner;

    if (n->n_out == 0)
        return 0;
    OM_TRY(walk_inner(s, n, &inner));
    if (inner)
        return note_branches(s, at, n);
    if (!is_default(n) || !om_sv_is(n->op, "Constant"))
        return note_node(s, g, at, n);
    OM_TRY(constant(s, n, &v));
    return note(s, at, n->out[0], v);
}

static int walk(struct fz_shapes *s, const struct om_doc_graph *g)
{
    struct scope *const at = calloc(1, sizeof(*at));

    if (!at)
        return no_memory(s->err);
    at->graph = g;
    at->next = s->scopes;
    s->scopes = at;
    OM_TRY(note_tensors(s, g, at));
    OM_TRY(note_inputs(s, g, at)); /* a default may be replaced: the input counts */
    for (size_t i = 0; i < g->nodes.len; i++)
        OM_TRY(walk_node(s, g, at, &g->nodes.items[i]));
    return 0;
}

int fz_shapes_new(struct om_doc *d, struct fz_shapes **out, struct om_error *err)
{
    struct fz_shapes *const s = calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return no_memory(err);
    om_arena_init(&s->arena, ARENA_MAX);
    s->d = d;
    s->err = err;
    s->opset = om_doc_opset(d, "");
    rc = om_graph_new(&s->arena, NULL, OM_SVL("shapes"), &s->g, err);
    if (rc == 0 && s->opset >= OPSET_MIN)
        rc = walk(s, d->graph);
    s->err = NULL;
    if (rc < 0)
        fz_shapes_free(s);
    else
        *out = s;
    return rc;
}

void fz_shapes_free(struct fz_shapes *s)
{
    if (!s)
        return;
    while (s->scopes) {
        struct scope *const next = s->scopes->next;

        om_map_release(&s->scopes->values);
        free(s->scopes);
        s->scopes = next;
    }
    om_graph_free(s->g);
    om_arena_release(&s->arena);
    free(s);
}
