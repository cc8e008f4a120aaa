/* src/quant/static.c: static quantization in the QDQ format: weights are stored quantized, and
 * activations pass through QuantizeLinear and DequantizeLinear with the ranges that a calibration
 * found; runtimes make integer kernels of what lies between. Which tensors take part, and the
 * names, are those of ONNX Runtime's QDQ quantizer.
 *
 * First the nodes mark the tensors they want quantized, then the marked activations are observed,
 * then the graph is written again with the pairs in place. */
#include "quant/marks.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- parameters ---- */

static struct om_affine_range range_of(const struct om_quant_config *c, enum om_mark_kind kind)
{
    const bool weight = kind == OM_MARK_WEIGHT;

    return (struct om_affine_range){
        .is_signed = (weight ? c->weights_type : c->activations_type) == OM_QUANT_INT8,
        .symmetric = weight ? c->weights_symmetric : c->activations_symmetric
    };
}

static int measure_weight(struct om_marks *x, struct om_qdq_mark *m)
{
    struct om_quant_job *const j = x->j;
    struct om_affine *const a = om_arena_alloc(j->arena, sizeof(*a));
    const struct om_doc_tensor *const t = om_marks_tensor(x, m->name, NULL);
    struct om_weight w;

    if (!a)
        return om_quant_no_memory(j);
    OM_TRY(om_doc_weight(j->doc, t, &w, j->err));
    w.name = m->name;
    OM_TRY(om_affine_init(a, &w, j->err));
    a->range = range_of(j->config, m->kind);
    a->range.reduce = j->config->reduce_range;
    a->range.symmetric = a->range.symmetric || m->axis >= 0; /* as the tool has it */
    a->want_error = j->want_errors;
    if (m->axis >= 0)
        OM_TRY(om_affine_by_axis(a, (uint32_t)m->axis, j->err));
    a->scale = om_arena_array(j->arena, OM_MAX(a->steps.n, 1), sizeof(*a->scale));
    a->zero = om_arena_array(j->arena, OM_MAX(a->steps.n, 1), sizeof(*a->zero));
    if (!a->scale || !a->zero)
        return om_quant_no_memory(j);
    m->affine = a;
    return om_affine_measure(a, j->err);
}

static int want_ranges(struct om_marks *x)
{
    for (size_t i = 0; i < x->n; i++)
        if (!x->items[i].gone && x->items[i].kind != OM_MARK_SHARED)
            OM_TRY(om_ranges_want(x->ranges, x->g, x->items[i].name));
    return 0;
}

/* The marks that hold the numbers of an initializer. */
static struct om_qdq_mark *numbers_of(struct om_marks *x, struct om_qdq_mark *m)
{
    struct om_marks *owner = x;

    if (!m || !m->tensor)
        return m;
    (void)om_marks_tensor(x, m->name, &owner);
    return owner == x ? m : om_marks_find(owner, m->name);
}

static int set_params(struct om_marks *x)
{
    const struct om_affine_range r = range_of(x->j->config, OM_MARK_ACTIVATION);

    for (size_t i = 0; i < x->n; i++) {
        struct om_qdq_mark *const m = &x->items[i];
        const struct om_range *range;

        if (m->gone || m->kind == OM_MARK_SHARED)
            continue;
        if (m->tensor) {
            if (numbers_of(x, m) == m)
                OM_TRY(measure_weight(x, m));
            continue;
        }
        range = om_ranges_find(x->ranges, x->g, m->name);
        if (range)
            om_affine_params(range->lo, range->hi, r, false, &m->scale, &m->zero);
        else
            m->gone = true; /* it never came */
    }
    return 0;
}

/* Nothing was seen of a branch that never ran, or of the body of a loop: it stays. */
static bool was_seen(const struct om_marks *x)
{
    for (size_t i = 0; i < x->n; i++)
        if (!x->items[i].gone && !x->items[i].tensor && x->items[i].kind != OM_MARK_SHARED)
            return true;
    return x->number == 0;
}

/* ---- the new graph ---- */

/* A name of an inner graph says which graph it is, as names around it must be others. */
static om_sv text(struct om_marks *x, om_sv base, const char *ending, size_t number)
{
    char copy[32] = "", graph[32] = "";

    if (number > 0)
        snprintf(copy, sizeof(copy), "_%zu", number);
    if (x->number > 0)
        snprintf(graph, sizeof(graph), "_in_graph_%zu", x->number);
    return om_doc_text(x->j->doc, "%.*s%s%s%s", OM_SV(base), ending, copy, graph);
}

/* The same for a value: one that nothing has yet. "": out of memory, which what uses it says. */
static om_sv fresh(struct om_marks *x, om_sv base, const char *ending, size_t number)
{
    om_sv name = text(x, base, ending, number);

    return name.len > 0 && om_quant_name(x->j, name, &name) == 0 ? name : (om_sv){ "", 0 };
}

static int add_tensor(struct om_marks *x, om_sv name, int32_t type, uint32_t rank,
                      const int64_t *dims, uint64_t bytes, const void *data,
                      const struct om_doc_source *source)
{
    struct om_doc_tensor *const t = om_doc_add_tensor(x->j->doc, x->g);

    if (!t || name.len == 0)
        return om_quant_no_memory(x->j);
    *t = (struct om_doc_tensor){ .name = name,
                                 .type = type,
                                 .rank = rank,
                                 .dims = dims,
                                 .bytes = bytes,
                                 .data = data,
                                 .source = source };
    return 0;
}

static int add_node(struct om_marks *x, const char *op, om_sv name, om_sv a, om_sv scale,
                    om_sv zero, om_sv out, int axis)
{
    struct om_doc_node *const n = om_doc_add_node(x->j->doc, x->g);
    const om_sv in[] = { a, scale, zero };

    if (!n || name.len == 0 || a.len == 0 || scale.len == 0 || out.len == 0)
        return om_quant_no_memory(x->j);
    n->op = om_sv_str(op);
    n->name = name;
    n->in = om_arena_copy(x->j->arena, in, sizeof(in));
    n->out = om_arena_copy(x->j->arena, &out, sizeof(out));
    n->n_in = 3;
    n->n_out = 1;
    if (!n->in || !n->out || (axis >= 0 && !om_doc_put_int(x->j->doc, n, "axis", axis)))
        return om_quant_no_memory(x->j);
    return 0;
}

static int add_scale(struct om_marks *x, struct om_qdq_mark *m, const float *scale,
                     const int8_t *zero, size_t n, bool is_signed)
{
    int64_t *const dims = om_arena_alloc(x->j->arena, sizeof(*dims));
    const uint32_t rank = m->axis >= 0 ? 1 : 0;

    if (!dims)
        return om_quant_no_memory(x->j);
    *dims = (int64_t)n;
    m->scale_name = fresh(x, m->name, "_scale", 0);
    m->zero_name = fresh(x, m->name, "_zero_point", 0);
    OM_TRY(add_tensor(x, m->scale_name, OM_Q_F32, rank, dims, n * sizeof(float), scale, NULL));
    return add_tensor(x, m->zero_name, is_signed ? OM_Q_I8 : OM_Q_U8, rank, dims, n, zero, NULL);
}

/* Scale, zero point and bytes of an initializer, in its own graph, once. */
static int store_weight(struct om_marks *x, struct om_qdq_mark *m)
{
    struct om_quant_job *const j = x->j;
    struct om_affine *const a = m->affine;
    const size_t size = a->batch * a->rows * a->cols;
    const struct om_doc_tensor t = *om_marks_tensor(x, m->name, NULL);

    if (m->scale_name.len > 0)
        return 0;
    OM_TRY(add_scale(x, m, a->scale, a->zero, a->steps.n, a->range.is_signed));
    if (j->config->add_pair_to_weight)
        return 0;
    m->q_name = fresh(x, m->name, "_quantized", 0);
    OM_TRY(add_tensor(x, m->q_name, a->range.is_signed ? OM_Q_I8 : OM_Q_U8, t.rank, t.dims, size,
                      NULL, &a->source));
    return om_quant_add_layer(
        j, (struct om_quant_layer){ .name = m->name,
                                    .form = a->range.is_signed ? "int8" : "uint8",
                                    .before = a->weight.bytes,
                                    .after = size + a->steps.n * 5,
                                    .error = a->want_error ? &a->error : NULL });
}

static int place_weight(struct om_marks *x, struct om_qdq_mark *m)
{
    struct om_qdq_mark *const w = numbers_of(x, m);
    struct om_marks *owner = x;
    om_sv q;

    (void)om_marks_tensor(x, m->name, &owner);
    OM_TRY(store_weight(owner, w));
    q = w->q_name;
    m->placed = true;
    m->scale_name = w->scale_name;
    m->zero_name = w->zero_name;
    m->out = fresh(x, m->name, "_DequantizeLinear_Output", 0);
    if (x->j->config->add_pair_to_weight) {
        q = fresh(x, m->name, "_QuantizeLinear_Output", 0);
        OM_TRY(add_node(x, "QuantizeLinear", text(x, m->name, "_QuantizeLinear", 0), m->name,
                        w->scale_name, w->zero_name, q, w->axis));
    }
    return add_node(x, "DequantizeLinear", text(x, m->name, "_DequantizeLinear", 0), q,
                    w->scale_name, w->zero_name, m->out, w->axis);
}

/* The names of the scale and zero point, which a shared value has from another. */
static int name_params(struct om_marks *x, struct om_qdq_mark *m)
{
    const struct om_qdq_mark *from;
    float *scale;
    int8_t *zero;

    if (m->kind == OM_MARK_SHARED) {
        from = om_marks_find(x, m->from);
        if (!from || from->scale_name.len == 0) {
            m->gone = true;
            return 0;
        }
        m->scale_name = from->scale_name;
        m->zero_name = from->zero_name;
        return 0;
    }
    scale = om_arena_alloc(x->j->arena, sizeof(*scale));
    zero = om_arena_alloc(x->j->arena, sizeof(*zero));
    if (!scale || !zero)
        return om_quant_no_memory(x->j);
    *scale = m->scale;
    *zero = (int8_t)m->zero;
    return add_scale(x, m, scale, zero, 1, x->j->config->activations_type == OM_QUANT_INT8);
}

static int add_pair(struct om_marks *x, const struct om_qdq_mark *m, om_sv from, om_sv to,
                    size_t number)
{
    const om_sv q = fresh(x, m->name, "_QuantizeLinear_Output", number);

    OM_TRY(add_node(x, "QuantizeLinear", text(x, m->name, "_QuantizeLinear", number), from,
                    m->scale_name, m->zero_name, q, -1));
    return add_node(x, "DequantizeLinear", text(x, m->name, "_DequantizeLinear", number), q,
                    m->scale_name, m->zero_name, to, -1);
}

/* Consumers with a pair each, which is made when they ask. */
static bool is_dedicated(const struct om_marks *x, const struct om_qdq_mark *m)
{
    return x->j->config->dedicated_pair && m->readers > 1 && !om_marks_output(x, m->name);
}

/* The pair behind a value that has just been made; *made is its name there. */
static int place_activation(struct om_marks *x, struct om_qdq_mark *m, om_sv *made)
{
    OM_TRY(name_params(x, m));
    if (m->gone)
        return 0;
    m->placed = true;
    if (is_dedicated(x, m))
        return 0;
    if (om_marks_output(x, m->name)) {
        *made = fresh(x, m->name, "_QuantizeLinear_Input", 0);
        m->out = m->name;
    } else {
        m->out = fresh(x, m->name, "_DequantizeLinear_Output", 0);
    }
    return 0;
}

static int finish_activation(struct om_marks *x, const struct om_qdq_mark *m, om_sv made)
{
    if (!m->placed || is_dedicated(x, m))
        return 0;
    return add_pair(x, m, made, m->out, 0);
}

/* The scale of an activation, which may be that of what it was moved from. */
static bool scale_of(struct om_marks *x, om_sv name, float *scale)
{
    for (size_t i = 0; i <= x->n; i++) {
        const struct om_qdq_mark *const m = numbers_of(x, om_marks_find(x, name));

        if (!m)
            return false;
        if (m->kind != OM_MARK_SHARED) {
            *scale = m->affine ? m->affine->scale[0] : m->scale;
            return !m->affine || m->affine->steps.n == 1;
        }
        name = m->from;
    }
    return false;
}

/* int32 with the scale of the product: input's times weight's. A bias that does not fit stays. */
static int place_bias(struct om_marks *x, struct om_qdq_bias *b)
{
    struct om_quant_job *const j = x->j;
    const struct om_qdq_mark *const weight = numbers_of(x, om_marks_find(x, b->weight));
    struct om_marks *owner = x;
    const struct om_doc_tensor t = *om_marks_tensor(x, b->name, &owner);
    struct om_bias made;
    float in = 0;
    int64_t *dims;
    om_sv names[3];

    b->placed = true;
    b->out = b->name;
    if (!scale_of(x, b->input, &in) || !weight || !weight->affine)
        return 0;
    OM_TRY(om_bias_quantize(j, &t, in, b->beta, weight->affine, &made));
    if (!made.fits)
        return 0;
    dims = om_arena_alloc(j->arena, sizeof(*dims));
    if (!dims)
        return om_quant_no_memory(j);
    *dims = (int64_t)made.scales;
    if (owner != x)
        b->out = fresh(x, b->name, "_DequantizeLinear_Output", 0);
    names[0] = fresh(x, b->name, "_quantized", 0);
    names[1] = fresh(x, b->name, "_quantized_scale", 0);
    names[2] = fresh(x, b->name, "_quantized_zero_point", 0);
    OM_TRY(add_tensor(x, names[0], OM_Q_I32, 1, t.dims, made.n * 4, made.q, NULL));
    OM_TRY(add_tensor(x, names[1], OM_Q_F32, 1, dims, made.scales * 4, made.scale, NULL));
    OM_TRY(
        add_tensor(x, names[2], OM_Q_I32, made.scales > 1, dims, made.scales * 4, made.zero, NULL));
    return add_node(x, "DequantizeLinear", text(x, b->name, "_DequantizeLinear", 0), names[0],
                    names[1], names[2], b->out, made.scales > 1 ? 0 : -1);
}

/* A value that is quantized for its readers alone: others may have it as it is. */
static bool keeps_float(const struct om_marks *x, const struct om_qdq_mark *m)
{
    return x->j->config->float_readers && m->kind == OM_MARK_ACTIVATION && !m->tensor && !m->made;
}

/* What a node reads in place of a value. */
static int read_value(struct om_marks *x, om_sv *name, bool wanted)
{
    struct om_qdq_mark *const m = om_marks_find(x, *name);
    uint32_t at;
    om_sv out;

    if (om_map_get(&x->bias_by_name, *name, &at)) {
        if (!x->biases[at].placed)
            OM_TRY(place_bias(x, &x->biases[at]));
        *name = x->biases[at].out;
        return 0;
    }
    if (!m)
        return 0;
    if (m->tensor && !m->placed)
        OM_TRY(place_weight(x, m));
    if (!m->placed || (!wanted && keeps_float(x, m)))
        return 0;
    if (!m->tensor && is_dedicated(x, m)) {
        if (!wanted)
            return 0;
        m->served++;
        out = fresh(x, m->name, "_DequantizeLinear_Output", m->served);
        OM_TRY(add_pair(x, m, m->name, out, m->served));
        *name = out;
        return 0;
    }
    *name = m->out;
    return 0;
}

static int rewrite_node(struct om_marks *x, const struct om_doc_node *old)
{
    struct om_arena *const a = x->j->arena;
    const bool wanted = om_marks_want(x, old);
    struct om_doc_node n = *old, *copy;

    n.in = om_arena_copy(a, old->in, old->n_in * sizeof(om_sv));
    n.out = om_arena_copy(a, old->out, old->n_out * sizeof(om_sv));
    if (!n.in || !n.out)
        return om_quant_no_memory(x->j);
    for (uint32_t i = 0; i < n.n_in; i++)
        OM_TRY(read_value(x, &n.in[i], wanted));
    for (uint32_t i = 0; i < n.n_out; i++)
        if (om_marks_find(x, old->out[i]))
            OM_TRY(place_activation(x, om_marks_find(x, old->out[i]), &n.out[i]));
    copy = om_doc_add_node(x->j->doc, x->g);
    if (!copy)
        return om_quant_no_memory(x->j);
    *copy = n;
    for (uint32_t i = 0; i < n.n_out; i++)
        if (om_marks_find(x, old->out[i]))
            OM_TRY(finish_activation(x, om_marks_find(x, old->out[i]), n.out[i]));
    return 0;
}

static int rewrite_graph(struct om_marks *x)
{
    const struct om_doc_nodes old = x->g->nodes;

    x->g->nodes = (struct om_doc_nodes){ .items = NULL };
    for (size_t i = 0; i < x->n; i++) {
        struct om_qdq_mark *const m = om_marks_find(x, x->items[i].name);
        om_sv made = x->items[i].name;

        /* Inputs, and what comes from the graph around this one. */
        if (m != &x->items[i] || m->tensor || om_map_get(&x->makers, made, NULL) ||
            om_marks_output(x, made))
            continue;
        OM_TRY(place_activation(x, m, &made));
        OM_TRY(finish_activation(x, m, made));
    }
    for (size_t i = 0; i < old.len; i++)
        if (!x->removed[i])
            OM_TRY(rewrite_node(x, &old.items[i]));
    return 0;
}

/* The makers of what removed nodes read give what those gave. */
static int bypass_removed(struct om_marks *x)
{
    for (size_t i = 0; i < x->g->nodes.len; i++) {
        const struct om_doc_node *const n = &x->g->nodes.items[i];
        struct om_doc_node *maker;
        uint32_t at = 0;

        if (x->removed[i] && !om_marks_find(x, n->out[0]))
            x->removed[i] = false; /* no range stands for it after all */
        if (!x->removed[i] || !om_map_get(&x->makers, n->in[0], &at))
            continue;
        maker = &x->g->nodes.items[at];
        for (uint32_t k = 0; k < maker->n_out; k++)
            if (om_sv_eq(maker->out[k], n->in[0]))
                maker->out[k] = n->out[0];
        if (om_map_put(&x->makers, n->out[0], at) < 0)
            return om_quant_no_memory(x->j);
    }
    return 0;
}

/* ---- the whole ---- */

static int write_graph(struct om_marks *x)
{
    if (!was_seen(x))
        return 0;
    OM_TRY(bypass_removed(x));
    return rewrite_graph(x);
}

struct graphs {
    struct om_ranges ranges;
    struct om_marks *items; /* outer ones first */
    size_t n;
};

static int count_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    (void)g;
    (void)err;
    (*(size_t *)user)++;
    return 0;
}

static int add_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct graphs *const x = user;
    struct om_marks *const m = &x->items[x->n];

    (void)err;
    *m = (struct om_marks){ .j = x->ranges.j, .g = g, .ranges = &x->ranges, .number = x->n };
    for (size_t i = 0; i < x->n; i++)
        if (x->items[i].g == g->parent)
            m->parent = &x->items[i];
    x->n++;
    return om_marks_init(m);
}

static int each_graph(struct graphs *x, int (*step)(struct om_marks *m))
{
    for (size_t i = 0; i < x->n; i++)
        OM_TRY(step(&x->items[i]));
    return 0;
}

static int run(struct graphs *x)
{
    struct om_quant_job *const j = x->ranges.j;
    size_t n = 0;

    OM_TRY(om_ranges_init(&x->ranges, j));
    OM_TRY(om_doc_walk(j->doc->graph, count_graph, &n, j->err));
    x->items = calloc(n, sizeof(*x->items));
    if (!x->items)
        return om_quant_no_memory(j);
    OM_TRY(om_doc_walk(j->doc->graph, add_graph, x, j->err));
    OM_TRY(each_graph(x, om_marks_nodes));
    OM_TRY(each_graph(x, want_ranges));
    OM_TRY(om_ranges_measure(&x->ranges));
    OM_TRY(each_graph(x, set_params));
    return each_graph(x, write_graph);
}

static int write_pairs(struct om_quant_job *j)
{
    struct graphs x = { .ranges = { .j = j } };
    const int rc = run(&x);

    for (size_t i = 0; i < x.n; i++)
        om_marks_release(&x.items[i]);
    free(x.items);
    om_ranges_release(&x.ranges);
    return rc;
}

int om_quant_static(struct om_quant_job *j)
{
    const int64_t opset = om_doc_opset(j->doc, ""), least = j->config->per_channel ? 13 : 10;

    if (!j->samples)
        return om_fail(j->err, OM_E_USAGE, "static quantization needs a calibration");
    if (opset < least)
        return om_fail(j->err, OM_E_UNSUPPORTED,
                       "opset %" PRId64 ": QuantizeLinear and DequantizeLinear need %" PRId64,
                       opset, least);
    return j->config->format == OM_QUANT_QDQ ? write_pairs(j) : om_quant_qlinear(j);
}
