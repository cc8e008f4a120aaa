/* src/quant/static.c: static quantization in the QDQ format: weights are stored quantized, and
 * activations pass through QuantizeLinear and DequantizeLinear with the ranges that a calibration
 * found; runtimes make integer kernels of what lies between. Which tensors take part, and the
 * names, are those of ONNX Runtime's QDQ quantizer.
 *
 * First the nodes mark the tensors they want quantized, then the marked activations are observed,
 * then the graph is written again with the pairs in place. */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "quant/ranges.h"

enum kind { ACTIVATION, WEIGHT, SHARED };

struct mark {
    om_sv name;
    enum kind kind;
    int axis;    /* of weights with a scale per channel; -1: one scale */
    om_sv from;  /* SHARED: the value whose parameters it has */
    bool tensor; /* an initializer */
    bool made;   /* a quantized node makes it and wants it quantized */
    bool gone;   /* a later step took it out */
    /* once they are known */
    float scale;
    int zero;
    om_sv scale_name, zero_name;
    om_sv out;   /* what consumers read */
    bool placed; /* its nodes are in the graph */
    struct om_affine *affine;
    size_t readers; /* of dedicated pairs: nodes that were marked and read it */
    size_t served;
};

struct bias {
    om_sv name, input, weight;
    float beta;
    om_sv out;
    bool placed;
};

struct pass {
    struct om_quant_job *j;
    struct om_doc_graph *g;
    struct om_ranges *ranges;
    struct om_map tensors; /* initializers to indices */
    struct mark *marks;
    size_t n_marks, cap_marks;
    struct om_map by_name;
    struct bias *biases;
    size_t n_biases, cap_biases;
    struct om_map bias_by_name;
    struct om_map readers;       /* values to how often they are read */
    struct om_map makers;        /* values to the indices of nodes */
    struct om_map float_outputs; /* operators whose outputs stay float */
    bool *removed;               /* by node: a Relu or Clip that ranges stand for */
};

/* ---- marking ---- */

static struct mark *find_mark(const struct pass *x, om_sv name)
{
    uint32_t at;

    return om_map_get(&x->by_name, name, &at) && !x->marks[at].gone ? &x->marks[at] : NULL;
}

static bool is_marked(const struct pass *x, om_sv name)
{
    return find_mark(x, name) || om_map_get(&x->bias_by_name, name, NULL);
}

static const struct om_doc_tensor *find_tensor(const struct pass *x, om_sv name)
{
    uint32_t at;

    return om_map_get(&x->tensors, name, &at) ? &x->g->tensors.items[at] : NULL;
}

static bool is_float(const struct pass *x, om_sv name)
{
    return name.len > 0 && om_doc_types_find(x->j->types, x->g, name) == OM_Q_F32;
}

static bool is_output(const struct pass *x, om_sv name)
{
    for (size_t i = 0; i < x->g->outputs.len; i++)
        if (om_sv_eq(x->g->outputs.items[i].name, name))
            return true;
    return false;
}

static int mark(struct pass *x, om_sv name, enum kind kind, int axis, om_sv from)
{
    struct mark m = { .name = name, .kind = kind, .axis = axis, .from = from };
    struct mark *const old = find_mark(x, name);

    if (!is_float(x, name))
        return 0;
    m.tensor = find_tensor(x, name) != NULL;
    if (old) {
        if (kind == SHARED)
            old->kind = SHARED, old->from = from;
        if (axis >= 0)
            old->axis = axis, old->kind = WEIGHT;
        return 0;
    }
    if (!om_grow(&x->marks, &x->cap_marks, x->n_marks + 1, sizeof(*x->marks)) ||
        om_map_put(&x->by_name, name, (uint32_t)x->n_marks) < 0)
        return om_quant_no_memory(x->j);
    x->marks[x->n_marks++] = m;
    return 0;
}

static const om_sv nobody = { "", 0 };

static int mark_activation(struct pass *x, om_sv name)
{
    return mark(x, name, ACTIVATION, -1, nobody);
}

static int mark_shared(struct pass *x, om_sv name, om_sv from)
{
    return mark(x, name, SHARED, -1, from);
}

static int mark_weight(struct pass *x, om_sv name, int axis)
{
    const struct om_doc_tensor *const t = find_tensor(x, name);
    const bool per_channel =
        x->j->config->per_channel && t && axis >= 0 && (uint32_t)axis < t->rank;

    return mark(x, name, WEIGHT, per_channel ? axis : -1, nobody);
}

/* A bias that is an initializer and nobody's yet becomes int32. */
static int mark_bias(struct pass *x, om_sv name, om_sv input, om_sv weight, float beta)
{
    const struct om_doc_tensor *const t = find_tensor(x, name);

    if (!t || t->type != OM_Q_F32 || om_map_get(&x->bias_by_name, name, NULL) || find_mark(x, name))
        return 0;
    if (!om_grow(&x->biases, &x->cap_biases, x->n_biases + 1, sizeof(*x->biases)) ||
        om_map_put(&x->bias_by_name, name, (uint32_t)x->n_biases) < 0)
        return om_quant_no_memory(x->j);
    x->biases[x->n_biases++] =
        (struct bias){ .name = name, .input = input, .weight = weight, .beta = beta };
    return 0;
}

static om_sv input(const struct om_doc_node *n, uint32_t i)
{
    return i < n->n_in ? n->in[i] : nobody;
}

static bool keeps_outputs(const struct pass *x, const struct om_doc_node *n)
{
    return om_map_get(&x->float_outputs, n->op, NULL);
}

static int mark_output(struct pass *x, om_sv name)
{
    OM_TRY(mark_activation(x, name));
    if (find_mark(x, name))
        find_mark(x, name)->made = true;
    return 0;
}

static int mark_outputs(struct pass *x, const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_out && !keeps_outputs(x, n); i++)
        OM_TRY(mark_output(x, n->out[i]));
    return 0;
}

static int do_all(struct pass *x, const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        OM_TRY(mark_activation(x, n->in[i]));
    return mark_outputs(x, n);
}

static int do_matmul(struct pass *x, const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        OM_TRY(find_tensor(x, n->in[i]) ? mark_weight(x, n->in[i], 1)
                                        : mark_activation(x, n->in[i]));
    return mark_outputs(x, n);
}

static int do_gemm(struct pass *x, const struct om_doc_node *n)
{
    int64_t transposed = 0;
    float beta = 1.0f;

    OM_TRY(om_doc_attr_int(n, "transB", &transposed, x->j->err));
    OM_TRY(om_doc_attr_float(n, "beta", &beta, x->j->err));
    OM_TRY(mark_activation(x, input(n, 0)));
    OM_TRY(mark_outputs(x, n));
    OM_TRY(mark_weight(x, input(n, 1), transposed ? 0 : 1));
    /* Another beta would have to go into the scale: such a bias stays. */
    return beta == 1.0f ? mark_bias(x, input(n, 2), input(n, 0), input(n, 1), beta) : 0;
}

static int do_conv(struct pass *x, const struct om_doc_node *n)
{
    OM_TRY(mark_activation(x, input(n, 0)));
    OM_TRY(mark_outputs(x, n));
    OM_TRY(mark_weight(x, input(n, 1), om_sv_is(n->op, "Conv") ? 0 : 1));
    return mark_bias(x, input(n, 2), input(n, 0), input(n, 1), 1.0f);
}

static int do_norm(struct pass *x, const struct om_doc_node *n)
{
    OM_TRY(mark_activation(x, input(n, 0)));
    OM_TRY(find_tensor(x, input(n, 1)) ? mark_weight(x, input(n, 1), 1)
                                       : mark_activation(x, input(n, 1)));
    OM_TRY(mark_bias(x, input(n, 2), input(n, 0), input(n, 1), 1.0f));
    return mark_outputs(x, n);
}

static int do_gather(struct pass *x, const struct om_doc_node *n)
{
    const struct om_doc_tensor *const t = find_tensor(x, input(n, 0));

    if (t && t->type == OM_Q_F32)
        OM_TRY(mark_activation(x, input(n, 0)));
    return is_marked(x, input(n, 0)) ? mark_shared(x, n->out[0], n->in[0]) : 0;
}

/* What only moves elements has the parameters of its input. */
static int do_move(struct pass *x, const struct om_doc_node *n)
{
    return find_mark(x, input(n, 0)) && !keeps_outputs(x, n) ? mark_shared(x, n->out[0], n->in[0])
                                                             : 0;
}

static int do_split(struct pass *x, const struct om_doc_node *n)
{
    OM_TRY(mark_activation(x, input(n, 0)));
    for (uint32_t i = 0; i < n->n_out && !keeps_outputs(x, n); i++)
        OM_TRY(mark_shared(x, n->out[i], n->in[0]));
    return 0;
}

/* One number of an initializer; false: it is none, or not one number. */
static bool scalar_of(const struct pass *x, om_sv name, float *value)
{
    const struct om_doc_tensor *const t = find_tensor(x, name);
    struct om_weight w;

    if (!t || t->type != OM_Q_F32 || t->bytes != sizeof(float) ||
        om_doc_weight(x->j->doc, t, &w, NULL) < 0)
        return false;
    om_affine_load(&w, 0, 1, value);
    return true;
}

/* What pads with zeros, or with what is there, has the parameters of its input. */
static int do_pad(struct pass *x, const struct om_doc_node *n)
{
    const struct om_doc_attr *const mode = om_doc_attr(n, "mode");
    float value = 0;

    for (uint32_t i = 0; i < n->n_in; i++)
        OM_TRY(mark_activation(x, n->in[i]));
    if (keeps_outputs(x, n))
        return 0;
    if ((mode && !om_doc_attr_is(mode, "constant")) || input(n, 2).len == 0 ||
        (scalar_of(x, n->in[2], &value) && value == 0))
        return mark_shared(x, n->out[0], n->in[0]);
    return mark_outputs(x, n);
}

static int do_where(struct pass *x, const struct om_doc_node *n)
{
    return is_marked(x, input(n, 1)) && is_marked(x, input(n, 2)) ? mark_outputs(x, n) : 0;
}

/* Does a range around 0 clamp as the node does? */
static bool clamps_around_zero(const struct pass *x, const struct om_doc_node *n)
{
    float lo = 0, hi = 0;

    if (om_sv_is(n->op, "Relu"))
        return true;
    return (input(n, 1).len == 0 || (scalar_of(x, n->in[1], &lo) && lo <= 0)) &&
           (input(n, 2).len == 0 || (scalar_of(x, n->in[2], &hi) && hi >= 0));
}

/* A Relu or Clip goes where the range of its output, which its input gets, does the same; the node
 * before gives its output then. */
static int do_clip(struct pass *x, const struct om_doc_node *n)
{
    uint32_t readers = 0;

    if (!is_marked(x, input(n, 0)))
        return 0;
    (void)om_map_get(&x->readers, n->in[0], &readers);
    if (!x->j->config->activations_symmetric && readers == 1 && clamps_around_zero(x, n) &&
        !is_output(x, n->in[0]) && om_map_get(&x->makers, n->in[0], NULL)) {
        x->removed[n - x->g->nodes.items] = true;
        find_mark(x, n->in[0])->gone = true;
    }
    return mark_outputs(x, n);
}

struct rule {
    const char *op;
    int (*mark)(struct pass *x, const struct om_doc_node *n);
};

static const struct rule rules[] = {
    { "MatMul", do_matmul },
    { "Gemm", do_gemm },
    { "Conv", do_conv },
    { "ConvTranspose", do_conv },
    { "LayerNormalization", do_norm },
    { "InstanceNormalization", do_norm },
    { "BatchNormalization", do_norm },
    { "Gather", do_gather },
    { "GatherElements", do_gather },
    { "Reshape", do_move },
    { "Transpose", do_move },
    { "Squeeze", do_move },
    { "Unsqueeze", do_move },
    { "Flatten", do_move },
    { "Resize", do_move },
    { "MaxPool", do_move },
    { "AveragePool", do_move },
    { "Slice", do_move },
    { "TopK", do_move },
    { "Split", do_split },
    { "Pad", do_pad },
    { "Where", do_where },
    { "Clip", do_clip },
    { "Relu", do_clip },
};

static bool wants(const struct pass *x, const struct om_doc_node *n)
{
    if (n->domain.len > 0 || n->n_out == 0 || !om_quant_wants(x->j, n->op, n->name))
        return false;
    return !x->j->config->constant_weights || !om_sv_is(n->op, "MatMul") ||
           find_tensor(x, input(n, 0)) || find_tensor(x, input(n, 1));
}

static int mark_node(struct pass *x, const struct om_doc_node *n)
{
    if (!wants(x, n))
        return 0;
    x->j->converted++;
    for (size_t i = 0; i < OM_COUNT(rules); i++)
        if (om_sv_is(n->op, rules[i].op))
            return rules[i].mark(x, n);
    return do_all(x, n);
}

static int mark_nodes(struct pass *x)
{
    for (size_t i = 0; i < x->g->nodes.len; i++) {
        const struct om_doc_node *const n = &x->g->nodes.items[i];

        OM_TRY(om_wrap(x->j->err, mark_node(x, n), "node \"%.*s\"", OM_SV(n->name)));
        for (uint32_t k = 0; k < n->n_in && wants(x, n); k++)
            if (find_mark(x, n->in[k]))
                find_mark(x, n->in[k])->readers++;
    }
    return 0;
}

/* ---- parameters ---- */

static struct om_affine_range range_of(const struct om_quant_config *c, enum kind kind)
{
    const bool weight = kind == WEIGHT;

    return (struct om_affine_range){
        .is_signed = (weight ? c->weights_type : c->activations_type) == OM_QUANT_INT8,
        .symmetric = weight ? c->weights_symmetric : c->activations_symmetric
    };
}

static int measure_weight(struct pass *x, struct mark *m)
{
    struct om_quant_job *const j = x->j;
    struct om_affine *const a = om_arena_alloc(j->arena, sizeof(*a));
    const struct om_doc_tensor *const t = find_tensor(x, m->name);
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

static int collect_ranges(struct pass *x)
{
    for (size_t i = 0; i < x->n_marks; i++)
        if (!x->marks[i].gone && x->marks[i].kind != SHARED)
            OM_TRY(om_ranges_want(x->ranges, x->g, x->marks[i].name));
    return om_ranges_measure(x->ranges);
}

static int set_params(struct pass *x)
{
    const struct om_affine_range r = range_of(x->j->config, ACTIVATION);

    for (size_t i = 0; i < x->n_marks; i++) {
        struct mark *const m = &x->marks[i];
        const struct om_range *range;

        if (m->gone || m->kind == SHARED)
            continue;
        if (m->tensor) {
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

/* ---- the new graph ---- */

static om_sv text(struct pass *x, om_sv base, const char *ending, size_t number)
{
    return number == 0 ? om_doc_text(x->j->doc, "%.*s%s", OM_SV(base), ending)
                       : om_doc_text(x->j->doc, "%.*s%s_%zu", OM_SV(base), ending, number);
}

static int add_tensor(struct pass *x, om_sv name, int32_t type, uint32_t rank, const int64_t *dims,
                      uint64_t bytes, const void *data, const struct om_doc_source *source)
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

static int add_node(struct pass *x, const char *op, om_sv name, om_sv a, om_sv scale, om_sv zero,
                    om_sv out, int axis)
{
    struct om_doc_node *const n = om_doc_add_node(x->j->doc, x->g);
    const om_sv in[] = { a, scale, zero };

    if (!n || name.len == 0 || out.len == 0)
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

static int add_scale(struct pass *x, struct mark *m, const float *scale, const int8_t *zero,
                     size_t n, bool is_signed)
{
    int64_t *const dims = om_arena_alloc(x->j->arena, sizeof(*dims));
    const uint32_t rank = m->axis >= 0 ? 1 : 0;

    if (!dims)
        return om_quant_no_memory(x->j);
    *dims = (int64_t)n;
    m->scale_name = text(x, m->name, "_scale", 0);
    m->zero_name = text(x, m->name, "_zero_point", 0);
    OM_TRY(add_tensor(x, m->scale_name, OM_Q_F32, rank, dims, n * sizeof(float), scale, NULL));
    return add_tensor(x, m->zero_name, is_signed ? OM_Q_I8 : OM_Q_U8, rank, dims, n, zero, NULL);
}

static int place_weight(struct pass *x, struct mark *m)
{
    struct om_quant_job *const j = x->j;
    const struct om_doc_tensor t = *find_tensor(x, m->name);
    struct om_affine *const a = m->affine;
    const size_t size = a->batch * a->rows * a->cols;
    const om_sv name = text(x, m->name, "_DequantizeLinear", 0);
    om_sv q = text(x, m->name, "_quantized", 0);

    m->placed = true;
    m->out = text(x, m->name, "_DequantizeLinear_Output", 0);
    OM_TRY(add_scale(x, m, a->scale, a->zero, a->steps.n, a->range.is_signed));
    if (j->config->add_pair_to_weight) {
        q = text(x, m->name, "_QuantizeLinear_Output", 0);
        OM_TRY(add_node(x, "QuantizeLinear", text(x, m->name, "_QuantizeLinear", 0), m->name,
                        m->scale_name, m->zero_name, q, m->axis));
    } else {
        OM_TRY(add_tensor(x, q, a->range.is_signed ? OM_Q_I8 : OM_Q_U8, t.rank, t.dims, size, NULL,
                          &a->source));
        OM_TRY(om_quant_add_layer(
            j, (struct om_quant_layer){ .name = m->name,
                                        .form = a->range.is_signed ? "int8" : "uint8",
                                        .before = a->weight.bytes,
                                        .after = size + a->steps.n * 5,
                                        .error = a->want_error ? &a->error : NULL }));
    }
    return add_node(x, "DequantizeLinear", name, q, m->scale_name, m->zero_name, m->out, m->axis);
}

/* The names of the scale and zero point, which a shared value has from another. */
static int name_params(struct pass *x, struct mark *m)
{
    const struct mark *from;
    float *scale;
    int8_t *zero;

    if (m->kind == SHARED) {
        from = find_mark(x, m->from);
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

static int add_pair(struct pass *x, const struct mark *m, om_sv from, om_sv to, size_t number)
{
    const om_sv q = text(x, m->name, "_QuantizeLinear_Output", number);

    OM_TRY(add_node(x, "QuantizeLinear", text(x, m->name, "_QuantizeLinear", number), from,
                    m->scale_name, m->zero_name, q, -1));
    return add_node(x, "DequantizeLinear", text(x, m->name, "_DequantizeLinear", number), q,
                    m->scale_name, m->zero_name, to, -1);
}

/* Consumers with a pair each, which is made when they ask. */
static bool is_dedicated(const struct pass *x, const struct mark *m)
{
    return x->j->config->dedicated_pair && m->readers > 1 && !is_output(x, m->name);
}

/* The pair behind a value that has just been made; *made is its name there. */
static int place_activation(struct pass *x, struct mark *m, om_sv *made)
{
    OM_TRY(name_params(x, m));
    if (m->gone)
        return 0;
    m->placed = true;
    if (is_dedicated(x, m))
        return 0;
    if (is_output(x, m->name)) {
        *made = text(x, m->name, "_QuantizeLinear_Input", 0);
        m->out = m->name;
    } else {
        m->out = text(x, m->name, "_DequantizeLinear_Output", 0);
    }
    return 0;
}

static int finish_activation(struct pass *x, const struct mark *m, om_sv made)
{
    if (!m->placed || is_dedicated(x, m))
        return 0;
    return add_pair(x, m, made, m->out, 0);
}

/* The scale of an activation, which may be that of what it was moved from. */
static bool scale_of(const struct pass *x, om_sv name, float *scale)
{
    for (size_t i = 0; i <= x->n_marks; i++) {
        const struct mark *const m = find_mark(x, name);

        if (!m)
            return false;
        if (m->kind != SHARED) {
            *scale = m->affine ? m->affine->scale[0] : m->scale;
            return !m->affine || m->affine->steps.n == 1;
        }
        name = m->from;
    }
    return false;
}

/* int32 with the scale of the product: input's times weight's. A bias that does not fit stays. */
static int place_bias(struct pass *x, struct bias *b)
{
    struct om_quant_job *const j = x->j;
    const struct mark *const weight = find_mark(x, b->weight);
    const struct om_doc_tensor t = *find_tensor(x, b->name);
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
    names[0] = text(x, b->name, "_quantized", 0);
    names[1] = text(x, b->name, "_quantized_scale", 0);
    names[2] = text(x, b->name, "_quantized_zero_point", 0);
    OM_TRY(add_tensor(x, names[0], OM_Q_I32, 1, t.dims, made.n * 4, made.q, NULL));
    OM_TRY(add_tensor(x, names[1], OM_Q_F32, 1, dims, made.scales * 4, made.scale, NULL));
    OM_TRY(
        add_tensor(x, names[2], OM_Q_I32, made.scales > 1, dims, made.scales * 4, made.zero, NULL));
    return add_node(x, "DequantizeLinear", text(x, b->name, "_DequantizeLinear", 0), names[0],
                    names[1], names[2], b->out, made.scales > 1 ? 0 : -1);
}

/* A value that is quantized for its readers alone: others may have it as it is. */
static bool keeps_float(const struct pass *x, const struct mark *m)
{
    return x->j->config->float_readers && m->kind == ACTIVATION && !m->tensor && !m->made;
}

/* What a node reads in place of a value. */
static int read_value(struct pass *x, om_sv *name, bool wanted)
{
    struct mark *const m = find_mark(x, *name);
    uint32_t at;

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
        OM_TRY(add_pair(x, m, m->name, text(x, m->name, "_DequantizeLinear_Output", m->served),
                        m->served));
        *name = text(x, *name, "_DequantizeLinear_Output", m->served);
        return 0;
    }
    *name = m->out;
    return 0;
}

static int rewrite_node(struct pass *x, const struct om_doc_node *old)
{
    struct om_arena *const a = x->j->arena;
    const bool wanted = wants(x, old);
    struct om_doc_node n = *old, *copy;

    n.in = om_arena_copy(a, old->in, old->n_in * sizeof(om_sv));
    n.out = om_arena_copy(a, old->out, old->n_out * sizeof(om_sv));
    if (!n.in || !n.out)
        return om_quant_no_memory(x->j);
    for (uint32_t i = 0; i < n.n_in; i++)
        OM_TRY(read_value(x, &n.in[i], wanted));
    for (uint32_t i = 0; i < n.n_out; i++)
        if (find_mark(x, old->out[i]))
            OM_TRY(place_activation(x, find_mark(x, old->out[i]), &n.out[i]));
    copy = om_doc_add_node(x->j->doc, x->g);
    if (!copy)
        return om_quant_no_memory(x->j);
    *copy = n;
    for (uint32_t i = 0; i < n.n_out; i++)
        if (find_mark(x, old->out[i]))
            OM_TRY(finish_activation(x, find_mark(x, old->out[i]), n.out[i]));
    return 0;
}

static int rewrite_graph(struct pass *x)
{
    const struct om_doc_nodes old = x->g->nodes;

    x->g->nodes = (struct om_doc_nodes){ .items = NULL };
    for (size_t i = 0; i < x->g->inputs.len; i++) {
        om_sv made = x->g->inputs.items[i].name;
        struct mark *const m = find_mark(x, made);

        if (!m || m->tensor || is_output(x, m->name))
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
static int bypass_removed(struct pass *x)
{
    for (size_t i = 0; i < x->g->nodes.len; i++) {
        const struct om_doc_node *const n = &x->g->nodes.items[i];
        struct om_doc_node *maker;
        uint32_t at = 0;

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

static int prepare(struct pass *x)
{
    struct om_doc_graph *const g = x->g;
    const char *const *const stay = x->j->config->float_output_operators;

    x->removed = om_arena_array(x->j->arena, g->nodes.len + 1, sizeof(*x->removed));
    if (!x->removed)
        return om_quant_no_memory(x->j);
    for (size_t i = 0; stay && stay[i]; i++)
        if (om_map_put(&x->float_outputs, om_sv_str(stay[i]), 0) < 0)
            return om_quant_no_memory(x->j);
    for (size_t i = 0; i < g->tensors.len; i++)
        if (om_map_put(&x->tensors, g->tensors.items[i].name, (uint32_t)i) < 0)
            return om_quant_no_memory(x->j);
    for (size_t i = 0; i < g->nodes.len; i++) {
        const struct om_doc_node *const n = &g->nodes.items[i];

        for (uint32_t k = 0; k < n->n_attrs; k++)
            if (n->attrs[k].n_graphs > 0)
                return om_fail(x->j->err, OM_E_UNSUPPORTED,
                               "node \"%.*s\" (%.*s): static quantization takes no subgraphs",
                               OM_SV(n->name), OM_SV(n->op));
        for (uint32_t k = 0; k < n->n_in; k++) {
            uint32_t count = 0;

            (void)om_map_get(&x->readers, n->in[k], &count);
            if (om_map_put(&x->readers, n->in[k], count + 1) < 0)
                return om_quant_no_memory(x->j);
        }
        for (uint32_t k = 0; k < n->n_out; k++)
            if (om_map_put(&x->makers, n->out[k], (uint32_t)i) < 0)
                return om_quant_no_memory(x->j);
    }
    return 0;
}

static int run(struct pass *x)
{
    OM_TRY(om_ranges_init(x->ranges, x->j));
    OM_TRY(prepare(x));
    OM_TRY(mark_nodes(x));
    OM_TRY(collect_ranges(x));
    OM_TRY(set_params(x));
    OM_TRY(bypass_removed(x));
    return rewrite_graph(x);
}

static int write_pairs(struct om_quant_job *j)
{
    struct om_ranges ranges = { .j = j };
    struct pass x = { .j = j, .g = j->doc->graph, .ranges = &ranges };
    const int rc = run(&x);

    om_ranges_release(&ranges);
    om_map_release(&x.tensors);
    om_map_release(&x.by_name);
    om_map_release(&x.bias_by_name);
    om_map_release(&x.readers);
    om_map_release(&x.makers);
    om_map_release(&x.float_outputs);
    free(x.marks);
    free(x.biases);
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
