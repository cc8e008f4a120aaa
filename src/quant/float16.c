/* src/quant/float16.c: a float32 model computes in float16, except where that would harm.
 *
 * Every float32 value has a half form, a full form, or both; which one a node makes depends on
 * whether it is converted, and the other is made by a Cast where somebody asks for it. Initializers
 * become float16 under their own names, with a float32 copy for nodes that stay. */
#include <math.h>
#include <stdlib.h>

#include "base/half.h"
#include "onnx/weight.h"
#include "quant/internal.h"

#define HALF_MAX 65504.0f
#define PIECE 4096
/* Ancestors of a Sin or Cos with larger weights are a network, not positions. */
#define SMALL_WEIGHT 65536

/* Operators without a kernel for float16, or with numbers that it does not hold: sums of squares,
 * counts, indices as reals. */
static const char *const harmed[] = { "CumSum",
                                      "DequantizeLinear",
                                      "DynamicQuantizeLinear",
                                      "DynamicQuantizeLSTM",
                                      "GRU",
                                      "LSTM",
                                      "Max",
                                      "Min",
                                      "Multinomial",
                                      "NonMaxSuppression",
                                      "Pow",
                                      "QAttention",
                                      "QEmbedLayerNormalization",
                                      "QuantizeLinear",
                                      "RNN",
                                      "RandomNormal",
                                      "RandomNormalLike",
                                      "RandomUniform",
                                      "RandomUniformLike",
                                      "Range",
                                      "ReduceL2",
                                      "ReduceLogSum",
                                      "ReduceLogSumExp",
                                      "ReduceMean",
                                      "ReduceProd",
                                      "ReduceSum",
                                      "ReduceSumSquare",
                                      "Resize",
                                      "RoiAlign",
                                      "Sqrt",
                                      "TopK",
                                      "Upsample",
                                      NULL };

/* What a rotary embedding computes angles with. */
static const char *const angular[] = { "Add",    "Cast",    "Concat",    "Cos",       "Div",
                                       "Einsum", "Expand",  "Gather",    "MatMul",    "Mul",
                                       "Neg",    "Reshape", "Sin",       "Slice",     "Squeeze",
                                       "Sub",    "Tile",    "Transpose", "Unsqueeze", NULL };

/* A float32 tensor on its way to float16; too large numbers become the largest. */
struct narrow {
    struct om_doc_source source; /* first */
    struct om_weight weight;     /* the float32 view */
    struct om_affine_error error;
    bool want_error;
};

struct form {
    om_sv half, full; /* "" where it was not made yet */
    struct narrow *tensor;
};

struct scope {
    struct om_quant_job *j;
    struct scope *parent;
    struct om_doc_graph *g;
    struct om_doc_nodes body;
    struct form *forms;
    size_t n_forms, cap_forms;
    struct om_map by_name, kept; /* of values; of nodes' outputs that stay in float32 */
};

struct lists {
    struct om_map blocked, angular;
};

/* ---- tensors ---- */

static void note(struct narrow *x, const float *was, const uint16_t *now, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)was[i] - (double)om_f16_to_f32(now[i]));

        x->error.max = OM_MAX(x->error.max, d);
        x->error.error += d * d;
        x->error.total += (double)was[i] * (double)was[i];
    }
}

static int make_half(const struct om_doc_source *s, struct om_out *out, struct om_error *err)
{
    struct narrow *const x = (struct narrow *)(uintptr_t)s;
    const size_t n = (size_t)(om_weight_bytes(&x->weight) / sizeof(float));
    float full[PIECE];
    uint16_t half[PIECE];

    x->error = (struct om_affine_error){ 0 };
    if (x->weight.strides) {
        struct om_weight w = x->weight;

        w.dtype = OM_F16;
        return om_weight_stream(&w, out, err);
    }
    for (size_t at = 0; at < n; at += PIECE) {
        const size_t len = OM_MIN(PIECE, n - at);

        om_affine_load(&x->weight, at, len, full);
        for (size_t i = 0; i < len; i++)
            if (isfinite(full[i]))
                full[i] = OM_MAX(-HALF_MAX, OM_MIN(full[i], HALF_MAX));
        om_convert(half, OM_F16, full, OM_F32, len);
        if (x->want_error)
            note(x, full, half, len);
        OM_TRY(om_out_write(out, half, len * sizeof(half[0]), err));
    }
    return 0;
}

static int add_form(struct scope *s, om_sv name, struct form f)
{
    if (!om_grow(&s->forms, &s->cap_forms, s->n_forms + 1, sizeof(*s->forms)) ||
        om_map_put(&s->by_name, name, (uint32_t)s->n_forms) < 0)
        return om_quant_no_memory(s->j);
    s->forms[s->n_forms++] = f;
    return 0;
}

static int narrow_tensor(struct scope *s, struct om_doc_tensor *t)
{
    struct om_quant_job *const j = s->j;
    struct narrow *const x = om_arena_alloc(j->arena, sizeof(*x));

    if (!x)
        return om_quant_no_memory(j);
    x->source.make = make_half;
    x->want_error = j->want_errors;
    OM_TRY(om_doc_weight(j->doc, t, &x->weight, j->err));
    if (t->rank > 0 && t->bytes >= 1024)
        OM_TRY(om_quant_add_layer(
            j, (struct om_quant_layer){ .name = t->name,
                                        .form = "float16",
                                        .before = t->bytes,
                                        .after = t->bytes / 2,
                                        .error = x->want_error ? &x->error : NULL }));
    *t = (struct om_doc_tensor){ .name = t->name,
                                 .type = OM_Q_F16,
                                 .rank = t->rank,
                                 .dims = t->dims,
                                 .bytes = t->bytes / 2,
                                 .source = &x->source };
    return add_form(s, t->name, (struct form){ .half = t->name, .full = { "", 0 }, .tensor = x });
}

static int full_tensor(struct scope *s, struct form *f)
{
    struct om_quant_job *const j = s->j;
    const struct om_weight *const w = &f->tensor->weight;
    struct om_doc_tensor *t;

    OM_TRY(om_quant_name(j, om_doc_text(j->doc, "%.*s_float32", OM_SV(f->half)), &f->full));
    t = om_doc_add_tensor(j->doc, s->g);
    if (!t)
        return om_quant_no_memory(j);
    *t = (struct om_doc_tensor){ .name = f->full,
                                 .type = OM_Q_F32,
                                 .rank = w->rank,
                                 .dims = w->dims,
                                 .bytes = om_weight_bytes(w),
                                 .weight = w };
    return 0;
}

/* ---- values ---- */

static struct om_doc_node *add_node(struct scope *s, const struct om_doc_node *n)
{
    struct om_doc_graph shell = { .nodes = s->body };
    struct om_doc_node *const copy = om_doc_add_node(s->j->doc, &shell);

    s->body = shell.nodes;
    if (copy)
        *copy = *n;
    return copy;
}

static int emit_cast(struct scope *s, om_sv from, om_sv to, int32_t type)
{
    struct om_arena *const a = s->j->arena;
    const struct om_doc_node n = { .name = om_doc_text(s->j->doc, "%.*s_Cast", OM_SV(to)),
                                   .op = OM_SVL("Cast"),
                                   .domain = { "", 0 },
                                   .in = om_arena_copy(a, &from, sizeof(from)),
                                   .out = om_arena_copy(a, &to, sizeof(to)),
                                   .n_in = 1,
                                   .n_out = 1,
                                   .rest = { "", 0 } };
    struct om_doc_node *const node = n.in && n.out ? add_node(s, &n) : NULL;

    return node && om_doc_put_int(s->j->doc, node, "to", type) ? 0 : om_quant_no_memory(s->j);
}

static int make_form(struct scope *s, om_sv name, struct form *f, bool half)
{
    om_sv *const missing = half ? &f->half : &f->full;

    if (missing->len > 0)
        return 0;
    if (f->tensor)
        return full_tensor(s, f);
    OM_TRY(om_quant_name(
        s->j, om_doc_text(s->j->doc, "%.*s_%s", OM_SV(name), half ? "float16" : "float32"),
        missing));
    return emit_cast(s, half ? f->full : f->half, *missing, half ? OM_Q_F16 : OM_Q_F32);
}

/* The wanted form of an input; names that have no forms stay. */
static int use(struct scope *s, om_sv *name, bool half)
{
    for (; s; s = s->parent) {
        uint32_t at;

        if (!om_map_get(&s->by_name, *name, &at))
            continue;
        OM_TRY(make_form(s, *name, &s->forms[at], half));
        *name = half ? s->forms[at].half : s->forms[at].full;
        return 0;
    }
    return 0;
}

/* ---- which nodes stay ---- */

static bool stays(const struct scope *s, const struct lists *l, const struct om_doc_node *n)
{
    const bool rest = s->j->config->method == OM_QUANT_WEIGHT_ONLY;

    if (rest && (om_sv_is(n->op, "MatMulNBits") || om_sv_is(n->op, "MatMulBnb4")))
        return false; /* its scales are float16 by now */
    if (om_map_get(&l->blocked, n->op, NULL) || om_sv_is(n->domain, "ai.onnx.ml"))
        return true;
    if (!rest && s->j->only.len > 0 && !om_map_get(&s->j->only, n->name, NULL))
        return true;
    if (om_map_get(&s->j->exclude, n->name, NULL))
        return true;
    return n->n_out > 0 && om_map_get(&s->kept, n->out[0], NULL);
}

static bool has_large_weight(const struct scope *s, const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const struct om_doc_tensor *const t = om_doc_find_tensor(s->g, n->in[i]);

        if (t && t->bytes > SMALL_WEIGHT * 2)
            return true;
    }
    return false;
}

/* Angles of rotary embeddings: what a Sin or Cos is computed from. */
static int find_kept(struct scope *s, const struct lists *l)
{
    for (size_t i = s->g->nodes.len; i-- > 0;) {
        const struct om_doc_node *const n = &s->g->nodes.items[i];
        bool keep = om_sv_is(n->op, "Sin") || om_sv_is(n->op, "Cos");

        for (uint32_t k = 0; k < n->n_out; k++)
            keep = keep || om_map_get(&s->kept, n->out[k], NULL);
        if (!keep || !om_map_get(&l->angular, n->op, NULL) || has_large_weight(s, n))
            continue;
        if (n->n_out > 0 && om_map_put(&s->kept, n->out[0], 0) < 0)
            return om_quant_no_memory(s->j);
        for (uint32_t k = 0; k < n->n_in; k++)
            if (om_doc_types_find(s->j->types, s->g, n->in[k]) == OM_Q_F32 &&
                om_map_put(&s->kept, n->in[k], 0) < 0)
                return om_quant_no_memory(s->j);
    }
    return 0;
}

/* ---- nodes ---- */

static int convert_graph(struct om_quant_job *j, struct scope *parent, const struct lists *l,
                         struct om_doc_graph *g);

static bool is_output(const struct om_doc_graph *g, om_sv name)
{
    for (size_t i = 0; i < g->outputs.len; i++)
        if (om_sv_eq(g->outputs.items[i].name, name))
            return true;
    return false;
}

/* The type that the graph's outputs have. */
static bool half_ports(const struct scope *s)
{
    return s->parent != NULL || s->j->config->convert_io;
}

/* Names for the outputs of a node: an output of the graph that is made in the other form gets its
 * name from a Cast at the end. */
static int name_outputs(struct scope *s, struct om_doc_node *n, const struct om_doc_node *old,
                        bool half)
{
    for (uint32_t i = 0; i < n->n_out; i++) {
        const om_sv name = old->out[i];
        struct form f = { .half = { "", 0 }, .full = { "", 0 } };

        if (name.len == 0 || om_doc_types_find(s->j->types, s->g, name) != OM_Q_F32)
            continue;
        if (is_output(s->g, name) && half != half_ports(s))
            OM_TRY(om_quant_name(
                s->j, om_doc_text(s->j->doc, "%.*s_%s", OM_SV(name), half ? "float16" : "float32"),
                &n->out[i]));
        *(half ? &f.half : &f.full) = n->out[i];
        OM_TRY(add_form(s, name, f));
    }
    return 0;
}

/* Attributes that name a type: a Cast to float32 is one to float16. */
static int fix_types(struct scope *s, struct om_doc_node *n)
{
    static const char *const names[] = { "to", "dtype" };

    for (size_t i = 0; i < OM_COUNT(names); i++) {
        int64_t type = 0;

        OM_TRY(om_doc_attr_int(n, names[i], &type, s->j->err));
        if (om_doc_attr(n, names[i]) && type == OM_Q_F32 &&
            !om_doc_put_int(s->j->doc, n, names[i], OM_Q_F16))
            return om_quant_no_memory(s->j);
    }
    return 0;
}

/* What has its own float32 tensor inside stays: its output is cast. */
static bool has_value(const struct om_doc_node *n)
{
    return om_sv_is(n->op, "ConstantOfShape") || om_sv_is(n->op, "Constant");
}

/* The ports of branches and bodies are float16. */
static bool has_graphs(const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].n_graphs > 0)
            return true;
    return false;
}

static int convert_node(struct scope *s, const struct lists *l, const struct om_doc_node *old)
{
    struct om_arena *const a = s->j->arena;
    const bool half = has_graphs(old) || (!has_value(old) && !stays(s, l, old));
    struct om_doc_node n = *old, *made;

    for (uint32_t i = 0; i < n.n_attrs; i++)
        for (uint32_t k = 0; k < n.attrs[i].n_graphs; k++)
            OM_TRY(convert_graph(s->j, s, l, n.attrs[i].graphs[k]));
    n.in = om_arena_copy(a, old->in, old->n_in * sizeof(om_sv));
    n.out = om_arena_copy(a, old->out, old->n_out * sizeof(om_sv));
    if (!n.in || !n.out)
        return om_quant_no_memory(s->j);
    for (uint32_t i = 0; i < n.n_in; i++)
        OM_TRY(use(s, &n.in[i], half));
    OM_TRY(name_outputs(s, &n, old, half));
    made = add_node(s, &n);
    if (!made)
        return om_quant_no_memory(s->j);
    if (!half)
        return 0;
    if (s->j->config->method == OM_QUANT_FLOAT16) /* else its blocks were counted */
        s->j->converted++;
    return fix_types(s, made);
}

/* ---- graphs ---- */

static int convert_ports(struct scope *s, struct om_doc_ports *ports)
{
    for (size_t i = 0; i < ports->len; i++)
        if (ports->items[i].type == OM_Q_F32 &&
            !om_doc_port_retype(s->j->doc, &ports->items[i], OM_Q_F16))
            return om_quant_no_memory(s->j);
    return 0;
}

static int begin_graph(struct scope *s, const struct lists *l)
{
    struct om_doc_graph *const g = s->g;
    size_t kept = 0;

    OM_TRY(find_kept(s, l));
    for (size_t i = 0; i < g->tensors.len; i++)
        if (g->tensors.items[i].type == OM_Q_F32)
            OM_TRY(narrow_tensor(s, &g->tensors.items[i]));
    for (size_t i = 0; i < g->inputs.len; i++) {
        const om_sv name = g->inputs.items[i].name;
        struct form f = { .half = { "", 0 }, .full = { "", 0 } };

        if (g->inputs.items[i].type != OM_Q_F32 || om_map_get(&s->by_name, name, NULL))
            continue;
        *(half_ports(s) ? &f.half : &f.full) = name;
        OM_TRY(add_form(s, name, f));
    }
    for (size_t i = 0; i < g->values.len; i++)
        if (g->values.items[i].type != OM_Q_F32)
            g->values.items[kept++] = g->values.items[i];
    g->values.len = kept;
    return 0;
}

/* An output in the form that its port has. */
static int finish_output(struct scope *s, om_sv name)
{
    const bool half = half_ports(s);
    const struct form *f;
    om_sv have, other;
    uint32_t at;

    if (!om_map_get(&s->by_name, name, &at))
        return 0;
    f = &s->forms[at];
    have = half ? f->half : f->full;
    other = half ? f->full : f->half;
    if (om_sv_eq(have, name))
        return 0;
    if (f->tensor || om_sv_eq(other, name))
        return om_fail(s->j->err, OM_E_UNSUPPORTED,
                       "the output \"%.*s\" is an input or initializer: its type cannot change",
                       OM_SV(name));
    return emit_cast(s, other, name, half ? OM_Q_F16 : OM_Q_F32);
}

static int end_graph(struct scope *s)
{
    struct om_doc_graph *const g = s->g;

    for (size_t i = 0; i < g->outputs.len; i++)
        OM_TRY(finish_output(s, g->outputs.items[i].name));
    if (!half_ports(s))
        return 0;
    OM_TRY(convert_ports(s, &g->inputs));
    return convert_ports(s, &g->outputs);
}

static int convert_graph(struct om_quant_job *j, struct scope *parent, const struct lists *l,
                         struct om_doc_graph *g)
{
    struct scope s = { .j = j, .parent = parent, .g = g };
    const struct om_doc_nodes old = g->nodes;
    int rc = begin_graph(&s, l);

    for (size_t i = 0; i < old.len && rc == 0; i++)
        rc = om_wrap(j->err, convert_node(&s, l, &old.items[i]), "node \"%.*s\" (%.*s)",
                     OM_SV(old.items[i].name), OM_SV(old.items[i].op));
    if (rc == 0)
        rc = end_graph(&s);
    g->nodes = s.body;
    om_map_release(&s.by_name);
    om_map_release(&s.kept);
    free(s.forms);
    return rc;
}

static bool fill(struct om_map *map, const char *const *list)
{
    for (; *list; list++)
        if (om_map_put(map, om_sv_str(*list), 0) < 0)
            return false;
    return true;
}

int om_quant_float16(struct om_quant_job *j)
{
    struct lists l = { .blocked = OM_MAP_INIT, .angular = OM_MAP_INIT };
    int rc;

    if (j->doc->n_functions > 0)
        return om_fail(j->err, OM_E_UNSUPPORTED, "model-local functions");
    if (!fill(&l.blocked, j->config->op_block_list ? j->config->op_block_list : harmed) ||
        !fill(&l.angular, angular))
        rc = om_quant_no_memory(j);
    else
        rc = convert_graph(j, NULL, &l, j->doc->graph);
    om_map_release(&l.blocked);
    om_map_release(&l.angular);
    return rc;
}
