/* src/quant/scope.c: graphs rewritten node by node into operators on quantized values. */
#include "quant/scope.h"

#include <stdlib.h>

/* ---- emitting ---- */

struct om_doc_node *om_scope_add_node(struct om_scope *s, struct om_doc_nodes *list, const char *op,
                                      om_sv name, const om_sv *in, uint32_t n_in, const om_sv *out,
                                      uint32_t n_out)
{
    struct om_doc_graph shell = { .nodes = *list };
    struct om_arena *const a = s->j->arena;
    om_sv *const ins = om_arena_copy(a, in, n_in * sizeof(*in));
    om_sv *const outs = om_arena_copy(a, out, n_out * sizeof(*out));
    struct om_doc_node *const n = om_doc_add_node(s->j->doc, &shell);

    *list = shell.nodes;
    if (!ins || !outs || !n)
        return NULL;
    n->op = om_sv_str(op);
    n->name = name;
    n->in = ins;
    n->n_in = n_in;
    n->out = outs;
    n->n_out = n_out;
    return n;
}

int om_scope_emit(struct om_scope *s, const char *op, om_sv name, const om_sv *in, uint32_t n_in,
                  const om_sv *out, uint32_t n_out)
{
    return om_scope_add_node(s, &s->body, op, name, in, n_in, out, n_out)
               ? 0
               : om_quant_no_memory(s->j);
}

int om_scope_keep(struct om_scope *s, const struct om_doc_node *n)
{
    struct om_doc_node *const copy = om_scope_add_node(s, &s->body, "", n->name, NULL, 0, NULL, 0);

    if (!copy)
        return om_quant_no_memory(s->j);
    *copy = *n;
    return 0;
}

/* base + ending, made unique among all values. */
int om_scope_name(struct om_scope *s, om_sv base, const char *ending, om_sv *out)
{
    const om_sv name = om_doc_text(s->j->doc, "%.*s%s", OM_SV(base), ending);

    return name.len == 0 ? om_quant_no_memory(s->j) : om_quant_name(s->j, name, out);
}

om_sv om_scope_label(struct om_scope *s, om_sv base, const char *ending)
{
    return base.len == 0 ? base : om_doc_text(s->j->doc, "%.*s%s", OM_SV(base), ending);
}

static int32_t type_of(const struct om_scope *s, om_sv name)
{
    return om_doc_types_find(s->j->types, s->g, name);
}

bool om_scope_is_float(const struct om_scope *s, om_sv name)
{
    return type_of(s, name) == OM_Q_F32;
}

int32_t om_quant_onnx_type(enum om_quant_type t)
{
    return t == OM_QUANT_INT8 ? OM_Q_I8 : OM_Q_U8;
}

/* ---- forms ---- */

struct om_form *om_scope_form(const struct om_scope *s, om_sv value)
{
    uint32_t at;

    return om_map_get(&s->by_name, value, &at) ? &s->forms[at] : NULL;
}

int om_scope_put_form(struct om_scope *s, struct om_form f)
{
    if (!om_grow(&s->forms, &s->cap_forms, s->n_forms + 1, sizeof(*s->forms)) ||
        om_map_put(&s->by_name, f.value, (uint32_t)s->n_forms) < 0)
        return om_quant_no_memory(s->j);
    s->forms[s->n_forms++] = f;
    return 0;
}

/* The form of a value seen from here. */
struct om_form *om_scope_look_up(const struct om_scope *s, om_sv value)
{
    for (; s; s = s->parent) {
        struct om_form *const f = om_scope_form(s, value);

        if (f)
            return f;
    }
    return NULL;
}

static int emit_dequantize(struct om_scope *s, struct om_form *f)
{
    const om_sv in[] = { f->q, f->scale, f->zero };
    const om_sv name = om_doc_text(s->j->doc, "%.*s_DequantizeLinear", OM_SV(f->value));
    struct om_doc_node *const n = om_scope_add_node(s, f->weight ? &s->front : &s->body,
                                                    "DequantizeLinear", name, in, 3, &f->value, 1);

    if (!n || (f->has_axis && !om_doc_put_int(s->j->doc, n, "axis", f->axis)))
        return om_quant_no_memory(s->j);
    f->floats = true;
    return 0;
}

/* A node reads the float form of value: make it where only the quantized one is there. An
 * initializer of an outer graph keeps its float form. */
int om_scope_need_float(struct om_scope *s, om_sv value)
{
    for (const struct om_scope *const inner = s; s; s = s->parent) {
        struct om_form *const f = om_scope_form(s, value);

        if (f && !f->floats && (s == inner || !f->weight))
            return emit_dequantize(s, f);
    }
    return 0;
}

/* What all graphs below a node read from out here. */
static int need_floats_of(struct om_scope *s, const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        OM_TRY(om_scope_need_float(s, n->in[i]));
    return 0;
}

int om_scope_pass(struct om_scope *s, const struct om_doc_node *n)
{
    OM_TRY(need_floats_of(s, n));
    return om_scope_keep(s, n);
}

/* ---- quantized weights ---- */

#define NO_AXIS (-2)

static int new_affine(struct om_scope *s, const struct om_doc_tensor *t, bool is_signed,
                      bool symmetric, bool reduce, int64_t axis, struct om_affine **out)
{
    struct om_quant_job *const j = s->j;
    struct om_affine *const a = om_arena_alloc(j->arena, sizeof(*a));
    struct om_weight w;

    if (!a)
        return om_quant_no_memory(j);
    OM_TRY(om_doc_weight(j->doc, t, &w, j->err));
    w.name = t->name;
    OM_TRY(om_affine_init(a, &w, j->err));
    a->range = (struct om_affine_range){ is_signed, symmetric, reduce };
    a->want_error = j->want_errors;
    if (axis == -1) {
        a->steps.col = 1;
        a->steps.n = a->cols;
    } else if (axis >= 0) {
        OM_TRY(om_affine_by_axis(a, (uint32_t)axis, j->err));
    }
    a->scale = om_arena_array(j->arena, OM_MAX(a->steps.n, 1), sizeof(*a->scale));
    a->zero = om_arena_array(j->arena, OM_MAX(a->steps.n, 1), sizeof(*a->zero));
    if (!a->scale || !a->zero ||
        !om_grow(&j->weights, &j->cap_weights, j->n_weights + 1, sizeof(*j->weights)))
        return om_quant_no_memory(j);
    j->weights[j->n_weights++] = a;
    *out = a;
    return 0;
}

int om_scope_add_tensor(struct om_scope *s, om_sv name, int32_t type, uint32_t rank,
                        const int64_t *dims, uint64_t bytes, const void *data,
                        const struct om_doc_source *source)
{
    struct om_doc_tensor *const t = om_doc_add_tensor(s->j->doc, s->g);

    if (!t)
        return om_quant_no_memory(s->j);
    *t = (struct om_doc_tensor){ .name = name,
                                 .type = type,
                                 .rank = rank,
                                 .dims = dims,
                                 .bytes = bytes,
                                 .data = data,
                                 .source = source };
    return om_doc_types_put(s->j->types, s->g, name, type) ? 0 : om_quant_no_memory(s->j);
}

/* The initializers NAME_quantized, NAME_scale and NAME_zero_point of an affine weight, and its
 * form, which is found by key. */
int om_scope_add_weight(struct om_scope *s, const struct om_doc_tensor *old, struct om_affine *a,
                        om_sv key, bool per_channel, int64_t axis)
{
    const int32_t type = a->range.is_signed ? OM_Q_I8 : OM_Q_U8;
    struct om_form f = {
        .value = key, .weight = true, .has_axis = per_channel, .axis = axis, .affine = a
    };
    const uint32_t rank = per_channel ? 1 : 0;
    const uint64_t bytes = a->batch * a->rows * a->cols;
    int64_t *const dims = om_arena_alloc(s->j->arena, sizeof(*dims));
    const struct om_doc_tensor t = *old; /* the array may move */

    if (!dims)
        return om_quant_no_memory(s->j);
    *dims = (int64_t)a->steps.n;
    OM_TRY(om_scope_name(s, t.name, "_quantized", &f.q));
    OM_TRY(om_scope_name(s, t.name, "_scale", &f.scale));
    OM_TRY(om_scope_name(s, t.name, "_zero_point", &f.zero));
    OM_TRY(om_scope_add_tensor(s, f.scale, OM_Q_F32, rank, dims, a->steps.n * sizeof(float),
                               a->scale, NULL));
    OM_TRY(om_scope_add_tensor(s, f.zero, type, rank, dims, a->steps.n, a->zero, NULL));
    OM_TRY(om_scope_add_tensor(s, f.q, type, t.rank, t.dims, bytes, NULL, &a->source));
    OM_TRY(om_quant_add_layer(
        s->j, (struct om_quant_layer){ .name = t.name,
                                       .form = type == OM_Q_I8 ? "int8" : "uint8",
                                       .before = a->weight.bytes,
                                       .after = bytes + a->steps.n * 5,
                                       .error = a->want_error ? &a->error : NULL }));
    return om_scope_put_form(s, f);
}

static bool symmetric_of(const struct om_quant_config *c, int32_t type)
{
    return type == om_quant_onnx_type(c->weights_type) ? c->weights_symmetric
                                                       : c->activations_symmetric;
}

static int quantize_initializer(struct om_scope *s, const struct om_doc_tensor *t, struct om_want w)
{
    const struct om_quant_config *const c = s->j->config;
    const bool per_channel =
        w.per_channel && c->per_channel && t->rank > 0 && w.axis < (int64_t)t->rank;
    struct om_affine *a = NULL;

    OM_TRY(new_affine(s, t, w.type == OM_Q_I8, symmetric_of(c, w.type), c->reduce_range && w.reduce,
                      per_channel ? w.axis : NO_AXIS, &a));
    return om_scope_add_weight(s, t, a, t->name, per_channel, w.axis);
}

/* The quantized form of an input, made in the graph that the value belongs to. */
int om_scope_quantize(struct om_scope *s, om_sv value, struct om_want w, struct om_form *out)
{
    for (struct om_scope *at = s; at; at = at->parent) {
        struct om_form *const f = om_scope_form(at, value);
        uint32_t index;
        int rc;

        if (f) {
            *out = *f;
            return 0;
        }
        if (om_map_get(&at->tensors, value, &index))
            rc = quantize_initializer(at, &at->g->tensors.items[index], w);
        else if (om_map_get(&at->values, value, NULL))
            rc = at->method->quantize_activation(at, value);
        else
            continue;
        if (rc == 0)
            *out = *om_scope_form(at, value);
        return rc;
    }
    return om_fail(s->j->err, OM_E_FORMAT, "the value \"%.*s\" is made nowhere", OM_SV(value));
}

/* ---- what is there ---- */

const struct om_doc_tensor *om_scope_tensor(const struct om_scope *s, om_sv name)
{
    for (; s; s = s->parent) {
        uint32_t index;

        if (om_map_get(&s->tensors, name, &index))
            return &s->g->tensors.items[index];
        if (om_map_get(&s->values, name, NULL))
            return NULL;
    }
    return NULL;
}

bool om_scope_is_weight(const struct om_scope *s, om_sv name)
{
    const struct om_doc_tensor *const t = om_scope_tensor(s, name);

    return t && t->type == OM_Q_F32;
}

struct om_want om_scope_activation(const struct om_scope *s)
{
    return (struct om_want){ .type = om_quant_onnx_type(s->j->config->activations_type),
                             .axis = -1 };
}

struct om_want om_scope_weight(const struct om_scope *s, bool per_channel, int64_t axis)
{
    return (struct om_want){ .type = om_quant_onnx_type(s->j->config->weights_type),
                             .reduce = true,
                             .per_channel = per_channel,
                             .axis = axis };
}

om_sv om_scope_input(const struct om_doc_node *n, uint32_t i)
{
    return i < n->n_in ? n->in[i] : (om_sv){ "", 0 };
}

/* ---- rules that methods share ---- */

/* The output has the quantized form that the input has: the node itself works on it. */
int om_scope_follow(struct om_scope *s, const struct om_doc_node *n, const struct om_form *in)
{
    struct om_form f = { .value = n->out[0],
                         .scale = in->scale,
                         .zero = in->zero,
                         .affine = in->affine,
                         .step = in->step,
                         .zero_point = in->zero_point };
    struct om_doc_node *copy;

    OM_TRY(om_scope_name(s, n->out[0], "_quantized", &f.q));
    copy = om_scope_add_node(s, &s->body, "", n->name, n->in, n->n_in, &f.q, 1);
    if (!copy)
        return om_quant_no_memory(s->j);
    copy->op = n->op;
    copy->attrs = n->attrs;
    copy->n_attrs = n->n_attrs;
    copy->rest = n->rest;
    copy->in[0] = in->q;
    return om_scope_put_form(s, f);
}

bool om_scope_fits_gather(const struct om_scope *s, const struct om_doc_node *n)
{
    const struct om_form *const f = n->n_in >= 2 ? om_scope_look_up(s, n->in[0]) : NULL;

    if (f && f->has_axis) /* rows would need theirs */
        return false;
    return n->n_in >= 2 && n->n_out == 1 && om_scope_is_weight(s, n->in[0]);
}

int om_scope_gather(struct om_scope *s, const struct om_doc_node *n)
{
    struct om_form f;

    OM_TRY(om_scope_need_float(s, n->in[1]));
    OM_TRY(om_scope_quantize(s, n->in[0], om_scope_activation(s), &f));
    return om_scope_follow(s, n, &f);
}

bool om_scope_fits_move(const struct om_scope *s, const struct om_doc_node *n)
{
    return n->n_in >= 1 && n->n_out == 1 && om_scope_is_float(s, n->in[0]);
}

/* A weight that is moved has its scales elsewhere. */
int om_scope_move(struct om_scope *s, const struct om_doc_node *n)
{
    const struct om_form *const f = om_scope_look_up(s, n->in[0]);

    if (!f)
        return om_scope_pass(s, n);
    return f->has_axis ? om_scope_pass(s, n) : om_scope_follow(s, n, f);
}

bool om_scope_fits_embed(const struct om_scope *s, const struct om_doc_node *n)
{
    if (n->n_in < 7 || n->n_out > 2)
        return false;
    for (uint32_t i = 2; i < 7; i++)
        if (n->in[i].len > 0 && !om_scope_is_weight(s, n->in[i]))
            return false;
    return true;
}

int om_scope_embed(struct om_scope *s, const struct om_doc_node *n)
{
    om_sv in[18] = { n->in[0], n->in[1], [7] = om_scope_input(n, 7) };
    struct om_doc_node *node;

    for (uint32_t i = 2; i < 7; i++) {
        struct om_form f = { .q = { "", 0 }, .scale = { "", 0 }, .zero = { "", 0 } };

        if (n->in[i].len > 0)
            OM_TRY(om_scope_quantize(s, n->in[i], om_scope_activation(s), &f));
        in[i] = f.q;
        in[i + 6] = f.scale;
        in[i + 11] = f.zero;
    }
    node = om_scope_add_node(s, &s->body, "QEmbedLayerNormalization",
                             om_scope_label(s, n->name, "_quant"), in, 18, n->out, n->n_out);
    if (!node)
        return om_quant_no_memory(s->j);
    node->domain = om_sv_str(OM_SCOPE_MS);
    node->attrs = n->attrs;
    node->n_attrs = n->n_attrs;
    return 0;
}

/* ---- graphs ---- */

static const struct om_scope_rule *find_rule(const struct om_scope *s, const struct om_doc_node *n)
{
    const struct om_scope_method *const m = s->method;

    for (size_t i = 0; i < m->n_rules; i++) {
        const struct om_scope_rule *const r = &m->rules[i];

        if (om_sv_is(n->op, r->op) && om_sv_is(n->domain, r->domain))
            return om_quant_wants(s->j, n->op, n->name) && r->fits(s, n) ? r : NULL;
    }
    return NULL;
}

static int quantize_node(struct om_scope *s, const struct om_doc_node *n)
{
    const struct om_scope_rule *const r = find_rule(s, n);
    int rc;

    for (uint32_t i = 0; i < n->n_attrs; i++)
        for (uint32_t k = 0; k < n->attrs[i].n_graphs; k++)
            OM_TRY(om_scope_run(s->j, s->method, s, n->attrs[i].graphs[k]));
    rc = r ? r->quantize(s, n) : om_scope_pass(s, n);
    if (rc == 0 && r)
        s->j->converted++;
    for (uint32_t i = 0; i < n->n_out && rc == 0; i++)
        if (om_map_put(&s->values, n->out[i], 0) < 0)
            rc = om_quant_no_memory(s->j);
    return om_wrap(s->j->err, rc, "node \"%.*s\" (%.*s)", OM_SV(n->name), OM_SV(n->op));
}

static int scope_names(struct om_scope *s)
{
    const struct om_doc_graph *const g = s->g;

    for (size_t i = 0; i < g->tensors.len; i++)
        if (om_map_put(&s->tensors, g->tensors.items[i].name, (uint32_t)i) < 0)
            return om_quant_no_memory(s->j);
    for (size_t i = 0; i < g->inputs.len; i++)
        if (!om_map_get(&s->tensors, g->inputs.items[i].name, NULL) &&
            om_map_put(&s->values, g->inputs.items[i].name, 0) < 0)
            return om_quant_no_memory(s->j);
    return 0;
}

/* front and body as the nodes of the graph. */
static int finish_scope(struct om_scope *s)
{
    for (size_t i = 0; i < s->g->outputs.len; i++)
        OM_TRY(om_scope_need_float(s, s->g->outputs.items[i].name));
    s->g->nodes = s->front;
    for (size_t i = 0; i < s->body.len; i++) {
        struct om_doc_node *const n = om_doc_add_node(s->j->doc, s->g);

        if (!n)
            return om_quant_no_memory(s->j);
        *n = s->body.items[i];
    }
    return 0;
}

int om_scope_run(struct om_quant_job *j, const struct om_scope_method *m, struct om_scope *parent,
                 struct om_doc_graph *g)
{
    struct om_scope s = { .j = j, .method = m, .parent = parent, .g = g };
    const struct om_doc_nodes old = g->nodes;
    int rc = scope_names(&s);

    for (size_t i = 0; i < old.len && rc == 0; i++)
        rc = quantize_node(&s, &old.items[i]);
    if (rc == 0)
        rc = finish_scope(&s);
    om_map_release(&s.by_name);
    om_map_release(&s.tensors);
    om_map_release(&s.values);
    free(s.forms);
    return rc;
}
