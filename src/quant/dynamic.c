/* src/quant/dynamic.c: dynamic int8 quantization: products of integers, whose activations are
 * quantized while the model runs (DynamicQuantizeLinear). Operators and names are those that ONNX
 * Runtime's quantization tool gives, so that its files and these can be compared.
 *
 * A graph is rewritten node by node. A scope knows which of its values have a quantized form; the
 * float form of such a value is made (DequantizeLinear) when a node that is not quantized asks. */
#include <stdlib.h>

#include "quant/internal.h"

#define MS "com.microsoft"

/* The quantized form of a value. */
struct form {
    om_sv value, q, scale, zero;
    bool weight;   /* an initializer */
    bool has_axis; /* one scale per column */
    int64_t axis;
    bool floats; /* the value itself is there as well */
};

struct scope {
    struct om_quant_job *j;
    struct scope *parent;
    struct om_doc_graph *g;
    struct om_doc_nodes front, body; /* front: what initializers are made from again */
    struct form *forms;
    size_t n_forms, cap_forms;
    struct om_map by_name;         /* of forms */
    struct om_map tensors, values; /* initializers (by index); inputs and outputs of nodes */
};

/* ---- emitting ---- */

static struct om_doc_node *add_node(struct scope *s, struct om_doc_nodes *list, const char *op,
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

static int emit(struct scope *s, const char *op, om_sv name, const om_sv *in, uint32_t n_in,
                const om_sv *out, uint32_t n_out)
{
    return add_node(s, &s->body, op, name, in, n_in, out, n_out) ? 0 : om_quant_no_memory(s->j);
}

static int keep(struct scope *s, const struct om_doc_node *n)
{
    struct om_doc_node *const copy = add_node(s, &s->body, "", n->name, NULL, 0, NULL, 0);

    if (!copy)
        return om_quant_no_memory(s->j);
    *copy = *n;
    return 0;
}

/* base + ending, made unique among all values. */
static int value_name(struct scope *s, om_sv base, const char *ending, om_sv *out)
{
    const om_sv name = om_doc_text(s->j->doc, "%.*s%s", OM_SV(base), ending);

    return name.len == 0 ? om_quant_no_memory(s->j) : om_quant_name(s->j, name, out);
}

static om_sv node_name(struct scope *s, om_sv base, const char *ending)
{
    return base.len == 0 ? base : om_doc_text(s->j->doc, "%.*s%s", OM_SV(base), ending);
}

static int32_t type_of(const struct scope *s, om_sv name)
{
    return om_doc_types_find(s->j->types, s->g, name);
}

static bool is_float(const struct scope *s, om_sv name)
{
    return type_of(s, name) == OM_Q_F32;
}

static int32_t onnx_type(enum om_quant_type t)
{
    return t == OM_QUANT_INT8 ? OM_Q_I8 : OM_Q_U8;
}

/* ---- forms ---- */

static struct form *find_form(const struct scope *s, om_sv value)
{
    uint32_t at;

    return om_map_get(&s->by_name, value, &at) ? &s->forms[at] : NULL;
}

static int add_form(struct scope *s, struct form f)
{
    if (!om_grow(&s->forms, &s->cap_forms, s->n_forms + 1, sizeof(*s->forms)) ||
        om_map_put(&s->by_name, f.value, (uint32_t)s->n_forms) < 0)
        return om_quant_no_memory(s->j);
    s->forms[s->n_forms++] = f;
    return 0;
}

/* The form of a value seen from here. */
static struct form *look_up(struct scope *s, om_sv value)
{
    for (; s; s = s->parent) {
        struct form *const f = find_form(s, value);

        if (f)
            return f;
    }
    return NULL;
}

static int emit_dequantize(struct scope *s, struct form *f)
{
    const om_sv in[] = { f->q, f->scale, f->zero };
    const om_sv name = om_doc_text(s->j->doc, "%.*s_DequantizeLinear", OM_SV(f->value));
    struct om_doc_node *const n = add_node(s, f->weight ? &s->front : &s->body, "DequantizeLinear",
                                           name, in, 3, &f->value, 1);

    if (!n || (f->has_axis && !om_doc_put_int(s->j->doc, n, "axis", f->axis)))
        return om_quant_no_memory(s->j);
    f->floats = true;
    return 0;
}

/* A node reads the float form of value: make it where only the quantized one is there. An
 * initializer of an outer graph keeps its float form. */
static int need_float(struct scope *s, om_sv value)
{
    for (const struct scope *const inner = s; s; s = s->parent) {
        struct form *const f = find_form(s, value);

        if (f && !f->floats && (s == inner || !f->weight))
            return emit_dequantize(s, f);
    }
    return 0;
}

/* What all graphs below a node read from out here. */
static int need_floats_of(struct scope *s, const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        OM_TRY(need_float(s, n->in[i]));
    return 0;
}

static int pass_through(struct scope *s, const struct om_doc_node *n)
{
    OM_TRY(need_floats_of(s, n));
    return keep(s, n);
}

/* ---- quantized weights ---- */

enum spread { PER_TENSOR, PER_COLUMN };

static int new_affine(struct scope *s, const struct om_doc_tensor *t, bool is_signed,
                      bool symmetric, bool reduce, enum spread spread, struct om_affine **out)
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
    if (spread == PER_COLUMN) {
        a->steps.col = 1;
        a->steps.n = a->cols;
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

static int add_tensor(struct scope *s, om_sv name, int32_t type, uint32_t rank, const int64_t *dims,
                      uint64_t bytes, const void *data, const struct om_doc_source *source)
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
static int add_quantized(struct scope *s, const struct om_doc_tensor *old, struct om_affine *a,
                         om_sv key, bool per_channel, int64_t axis)
{
    const int32_t type = a->range.is_signed ? OM_Q_I8 : OM_Q_U8;
    struct form f = { .value = key, .weight = true, .has_axis = per_channel, .axis = axis };
    const uint32_t rank = per_channel ? 1 : 0;
    const uint64_t bytes = a->batch * a->rows * a->cols;
    int64_t *const dims = om_arena_alloc(s->j->arena, sizeof(*dims));
    const struct om_doc_tensor t = *old; /* the array may move */

    if (!dims)
        return om_quant_no_memory(s->j);
    *dims = (int64_t)a->steps.n;
    OM_TRY(value_name(s, t.name, "_quantized", &f.q));
    OM_TRY(value_name(s, t.name, "_scale", &f.scale));
    OM_TRY(value_name(s, t.name, "_zero_point", &f.zero));
    OM_TRY(
        add_tensor(s, f.scale, OM_Q_F32, rank, dims, a->steps.n * sizeof(float), a->scale, NULL));
    OM_TRY(add_tensor(s, f.zero, type, rank, dims, a->steps.n, a->zero, NULL));
    OM_TRY(add_tensor(s, f.q, type, t.rank, t.dims, bytes, NULL, &a->source));
    OM_TRY(om_quant_add_layer(
        s->j, (struct om_quant_layer){ .name = t.name,
                                       .form = type == OM_Q_I8 ? "int8" : "uint8",
                                       .before = a->weight.bytes,
                                       .after = bytes + a->steps.n * 5,
                                       .error = a->want_error ? &a->error : NULL }));
    return add_form(s, f);
}

static bool symmetric_of(const struct om_quant_config *c, int32_t type)
{
    return type == onnx_type(c->weights_type) ? c->weights_symmetric : c->activations_symmetric;
}

/* How an input of a node is wanted. */
struct want {
    int32_t type; /* of an initializer; activations have that of the configuration */
    bool reduce, per_channel;
};

static int quantize_initializer(struct scope *s, const struct om_doc_tensor *t, struct want w)
{
    const struct om_quant_config *const c = s->j->config;
    const bool per_channel = w.per_channel && c->per_channel && t->rank > 0;
    struct om_affine *a = NULL;

    OM_TRY(new_affine(s, t, w.type == OM_Q_I8, symmetric_of(c, w.type), c->reduce_range && w.reduce,
                      per_channel ? PER_COLUMN : PER_TENSOR, &a));
    return add_quantized(s, t, a, t->name, per_channel, -1);
}

static int quantize_activation(struct scope *s, om_sv value)
{
    struct form f = { .value = value, .floats = true };
    om_sv out[3];

    OM_TRY(need_float(s, value));
    OM_TRY(value_name(s, value, "_quantized", &f.q));
    OM_TRY(value_name(s, value, "_scale", &f.scale));
    OM_TRY(value_name(s, value, "_zero_point", &f.zero));
    out[0] = f.q;
    out[1] = f.scale;
    out[2] = f.zero;
    OM_TRY(emit(s, "DynamicQuantizeLinear",
                om_doc_text(s->j->doc, "%.*s_QuantizeLinear", OM_SV(value)), &value, 1, out, 3));
    return add_form(s, f);
}

/* The quantized form of an input, made in the graph that the value belongs to. */
static int quantize_input(struct scope *s, om_sv value, struct want w, struct form *out)
{
    for (struct scope *at = s; at; at = at->parent) {
        struct form *const f = find_form(at, value);
        uint32_t index;
        int rc;

        if (f) {
            *out = *f;
            return 0;
        }
        if (om_map_get(&at->tensors, value, &index))
            rc = quantize_initializer(at, &at->g->tensors.items[index], w);
        else if (om_map_get(&at->values, value, NULL))
            rc = quantize_activation(at, value);
        else
            continue;
        if (rc == 0)
            *out = *find_form(at, value);
        return rc;
    }
    return om_fail(s->j->err, OM_E_FORMAT, "the value \"%.*s\" is made nowhere", OM_SV(value));
}

/* ---- operators ---- */

static const struct om_doc_tensor *find_tensor(const struct scope *s, om_sv name)
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

static bool is_float_weight(const struct scope *s, om_sv name)
{
    const struct om_doc_tensor *const t = find_tensor(s, name);

    return t && t->type == OM_Q_F32;
}

static struct want activation_want(const struct scope *s)
{
    return (struct want){ .type = onnx_type(s->j->config->activations_type) };
}

static struct want weight_want(const struct scope *s, bool per_channel)
{
    return (struct want){ .type = onnx_type(s->j->config->weights_type),
                          .reduce = true,
                          .per_channel = per_channel };
}

/* The integer product of a and b as float32: cast it, and multiply it with both scales. The last
 * multiplication gives the value out. */
static int emit_rescale(struct scope *s, const struct om_doc_node *n, om_sv product,
                        const struct form *a, const struct form *b, om_sv out)
{
    const om_sv stem = node_name(s, n->name, "_quant");
    const om_sv scales[] = { a->scale, b->scale };
    const om_sv scales_name =
        stem.len > 0 ? node_name(s, stem, "_scales_mul")
                     : om_doc_text(s->j->doc, "%.*s_%.*s_mul", OM_SV(a->scale), OM_SV(b->scale));
    const om_sv cast_name = node_name(s, product, "_cast");
    om_sv cast, scale, both[2];
    struct om_doc_node *node;

    OM_TRY(value_name(s, product, "_cast_output", &cast));
    OM_TRY(value_name(s, scales_name, ":0", &scale));
    node = add_node(s, &s->body, "Cast", cast_name, &product, 1, &cast, 1);
    if (!node || !om_doc_put_int(s->j->doc, node, "to", OM_Q_F32))
        return om_quant_no_memory(s->j);
    OM_TRY(emit(s, "Mul", scales_name, scales, 2, &scale, 1));
    both[0] = cast;
    both[1] = scale;
    return emit(s, "Mul", node_name(s, stem, "_output_scale_mul"), both, 2, &out, 1);
}

static int emit_integer(struct scope *s, const struct om_doc_node *n, const char *op,
                        const struct form *a, const struct form *b, om_sv *product)
{
    const om_sv in[] = { a->q, b->q, a->zero, b->zero };
    struct om_doc_node *node;

    OM_TRY(value_name(s, n->out[0], "_output_quantized", product));
    node = add_node(s, &s->body, op, node_name(s, n->name, "_quant"), in, 4, product, 1);
    if (!node)
        return om_quant_no_memory(s->j);
    node->attrs = n->attrs;
    node->n_attrs = n->n_attrs;
    return 0;
}

static bool fits_matmul(const struct scope *s, const struct om_doc_node *n)
{
    if (n->n_in < 2 || n->n_out < 1)
        return false;
    if (s->j->config->constant_weights && !is_float_weight(s, n->in[0]) &&
        !is_float_weight(s, n->in[1]))
        return false;
    return is_float(s, n->in[0]) || is_float(s, n->in[1]);
}

static int do_matmul(struct scope *s, const struct om_doc_node *n)
{
    struct form a, b;
    om_sv product;

    OM_TRY(quantize_input(s, n->in[0], activation_want(s), &a));
    OM_TRY(quantize_input(s, n->in[1], weight_want(s, true), &b));
    OM_TRY(emit_integer(s, n, "MatMulInteger", &a, &b, &product));
    return emit_rescale(s, n, product, &a, &b, n->out[0]);
}

static bool fits_conv(const struct scope *s, const struct om_doc_node *n)
{
    const struct om_doc_tensor *const w = n->n_in >= 2 ? find_tensor(s, n->in[1]) : NULL;

    return w && w->type == OM_Q_F32 && w->rank >= 3 && n->n_out >= 1 && is_float(s, n->in[0]);
}

static int emit_conv_bias(struct scope *s, const struct om_doc_node *n, uint32_t rank, om_sv scaled)
{
    const int64_t length = rank;
    int64_t shape[UINT8_MAX];
    om_sv in[2], sum[2], reshaped;

    for (uint32_t i = 0; i < rank; i++)
        shape[i] = i == 1 ? -1 : 1;
    in[0] = n->in[2];
    OM_TRY(need_float(s, n->in[2]));
    OM_TRY(value_name(s, n->out[0], "_bias_reshape_shape", &in[1]));
    OM_TRY(value_name(s, n->out[0], "_bias_reshape_output", &reshaped));
    if (!om_doc_add_const(s->j->doc, s->g, in[1], OM_Q_I64, &length, 1, shape))
        return om_quant_no_memory(s->j);
    OM_TRY(emit(s, "Reshape", (om_sv){ "", 0 }, in, 2, &reshaped, 1));
    sum[0] = scaled;
    sum[1] = reshaped;
    return emit(s, "Add", node_name(s, n->out[0], "_bias_add"), sum, 2, n->out, 1);
}

static int do_conv(struct scope *s, const struct om_doc_node *n)
{
    const uint32_t rank = find_tensor(s, n->in[1])->rank;
    const bool bias = n->n_in >= 3 && n->in[2].len > 0;
    struct form a, b;
    om_sv product, scaled = n->out[0];

    if (rank > UINT8_MAX)
        return pass_through(s, n);
    OM_TRY(quantize_input(s, n->in[0], activation_want(s), &a));
    OM_TRY(quantize_input(s, n->in[1], weight_want(s, false), &b));
    OM_TRY(emit_integer(s, n, "ConvInteger", &a, &b, &product));
    if (bias)
        OM_TRY(value_name(s, n->out[0], "quant_scaled_output", &scaled));
    OM_TRY(emit_rescale(s, n, product, &a, &b, scaled));
    return bias ? emit_conv_bias(s, n, rank, scaled) : 0;
}

/* The output has the quantized form that the input has: the node itself works on it. */
static int follow(struct scope *s, const struct om_doc_node *n, const struct form *in)
{
    struct form f = { .value = n->out[0], .scale = in->scale, .zero = in->zero };
    struct om_doc_node *copy;

    OM_TRY(value_name(s, n->out[0], "_quantized", &f.q));
    copy = add_node(s, &s->body, "", n->name, n->in, n->n_in, &f.q, 1);
    if (!copy)
        return om_quant_no_memory(s->j);
    copy->op = n->op;
    copy->attrs = n->attrs;
    copy->n_attrs = n->n_attrs;
    copy->rest = n->rest;
    copy->in[0] = in->q;
    return add_form(s, f);
}

static bool fits_gather(const struct scope *s, const struct om_doc_node *n)
{
    return n->n_in >= 2 && n->n_out == 1 && is_float_weight(s, n->in[0]);
}

static int do_gather(struct scope *s, const struct om_doc_node *n)
{
    struct form f;

    OM_TRY(need_float(s, n->in[1]));
    OM_TRY(quantize_input(s, n->in[0], activation_want(s), &f));
    return follow(s, n, &f);
}

static bool fits_transpose(const struct scope *s, const struct om_doc_node *n)
{
    return n->n_in == 1 && n->n_out == 1 && is_float(s, n->in[0]);
}

/* Only where the input is quantized already; a transposed weight has its scales elsewhere. */
static int do_transpose(struct scope *s, const struct om_doc_node *n)
{
    const struct form *const f = look_up(s, n->in[0]);

    if (!f)
        return keep(s, n);
    return f->has_axis ? pass_through(s, n) : follow(s, n, f);
}

static bool fits_attention(const struct scope *s, const struct om_doc_node *n)
{
    return n->n_in >= 3 && n->n_in <= 5 && is_float_weight(s, n->in[1]) &&
           !om_doc_attr(n, "qkv_hidden_sizes") && is_float(s, n->in[0]);
}

static om_sv input_or_none(const struct om_doc_node *n, uint32_t i)
{
    return i < n->n_in ? n->in[i] : (om_sv){ "", 0 };
}

static int do_attention(struct scope *s, const struct om_doc_node *n)
{
    struct form x, w;
    struct om_doc_node *node;

    OM_TRY(quantize_input(s, n->in[0], activation_want(s), &x));
    OM_TRY(quantize_input(s, n->in[1], weight_want(s, true), &w));
    for (uint32_t i = 2; i < n->n_in; i++)
        OM_TRY(need_float(s, n->in[i]));

    const om_sv in[] = { x.q,    w.q,    n->in[2],           x.scale, w.scale, input_or_none(n, 3),
                         x.zero, w.zero, input_or_none(n, 4) };
    node = add_node(s, &s->body, "QAttention", node_name(s, n->name, "_quant"), in, 9, n->out,
                    n->n_out);
    if (!node)
        return om_quant_no_memory(s->j);
    node->domain = om_sv_str(MS);
    node->attrs = n->attrs;
    node->n_attrs = n->n_attrs;
    return 0;
}

static bool fits_embed(const struct scope *s, const struct om_doc_node *n)
{
    if (n->n_in < 7 || n->n_out > 2)
        return false;
    for (uint32_t i = 2; i < 7; i++)
        if (n->in[i].len > 0 && !is_float_weight(s, n->in[i]))
            return false;
    return true;
}

static int do_embed(struct scope *s, const struct om_doc_node *n)
{
    om_sv in[18] = { n->in[0], n->in[1], [7] = input_or_none(n, 7) };
    struct om_doc_node *node;

    for (uint32_t i = 2; i < 7; i++) {
        struct form f = { .q = { "", 0 }, .scale = { "", 0 }, .zero = { "", 0 } };

        if (n->in[i].len > 0)
            OM_TRY(quantize_input(s, n->in[i], activation_want(s), &f));
        in[i] = f.q;
        in[i + 6] = f.scale;
        in[i + 11] = f.zero;
    }
    node = add_node(s, &s->body, "QEmbedLayerNormalization", node_name(s, n->name, "_quant"), in,
                    18, n->out, n->n_out);
    if (!node)
        return om_quant_no_memory(s->j);
    node->domain = om_sv_str(MS);
    node->attrs = n->attrs;
    node->n_attrs = n->n_attrs;
    return 0;
}

static bool fits_lstm(const struct scope *s, const struct om_doc_node *n)
{
    const struct om_doc_tensor *const w = n->n_in >= 3 ? find_tensor(s, n->in[1]) : NULL;
    const struct om_doc_tensor *const r = n->n_in >= 3 ? find_tensor(s, n->in[2]) : NULL;
    int64_t layout = 0;

    /* DynamicQuantizeLSTM has no layout, and takes 8 inputs of the LSTM. */
    return w && r && w->type == OM_Q_F32 && r->type == OM_Q_F32 && w->rank == 3 && r->rank == 3 &&
           om_doc_attr_int(n, "layout", &layout, NULL) == 0 && layout == 0 && n->n_in <= 8 &&
           is_float(s, n->in[0]);
}

/* [directions, 4 * hidden, input] is quantized and stored as [directions, input, 4 * hidden]; one
 * scale per direction, or per direction and unit. */
static int quantize_lstm_weight(struct scope *s, om_sv value, struct form *out)
{
    const struct om_quant_config *const c = s->j->config;
    struct om_arena *const arena = s->j->arena;
    struct scope *at = s;
    struct om_doc_tensor t;
    struct om_weight w;
    struct om_affine *a;
    int64_t *dims, *strides, *sizes;
    uint32_t index = 0;
    om_sv key;

    while (!om_map_get(&at->tensors, value, &index))
        at = at->parent;
    t = at->g->tensors.items[index];
    key = om_doc_text(s->j->doc, "%.*s (LSTM)", OM_SV(value)); /* others read it as it is */
    if (find_form(at, key)) {
        *out = *find_form(at, key);
        return 0;
    }
    OM_TRY(om_doc_weight(s->j->doc, &t, &w, s->j->err));
    dims = om_arena_array(arena, 3, sizeof(*dims));
    strides = om_arena_array(arena, 3, sizeof(*strides));
    sizes = om_arena_array(arena, 2, sizeof(*sizes));
    a = om_arena_alloc(arena, sizeof(*a));
    if (!dims || !strides || !sizes || !a ||
        !om_grow(&s->j->weights, &s->j->cap_weights, s->j->n_weights + 1, sizeof(*s->j->weights)))
        return om_quant_no_memory(s->j);
    memcpy(dims, (int64_t[]){ t.dims[0], t.dims[2], t.dims[1] }, 3 * sizeof(*dims));
    memcpy(strides, (int64_t[]){ t.dims[1] * t.dims[2], 1, t.dims[2] }, 3 * sizeof(*strides));
    memcpy(sizes, t.dims, 2 * sizeof(*sizes));
    w.name = t.name;
    w.dims = dims;
    w.strides = strides;
    OM_TRY(om_affine_init(a, &w, s->j->err));
    a->range = (struct om_affine_range){ true, c->weights_symmetric, c->reduce_range };
    a->want_error = s->j->want_errors;
    a->steps = c->per_channel ? (struct om_affine_steps){ a->cols, 0, 1, a->batch * a->cols }
                              : (struct om_affine_steps){ 1, 0, 0, a->batch };
    a->scale = om_arena_array(arena, OM_MAX(a->steps.n, 1), sizeof(*a->scale));
    a->zero = om_arena_array(arena, OM_MAX(a->steps.n, 1), sizeof(*a->zero));
    if (!a->scale || !a->zero)
        return om_quant_no_memory(s->j);
    s->j->weights[s->j->n_weights++] = a;
    t.dims = dims;
    OM_TRY(add_quantized(at, &t, a, key, true, 0));
    find_form(at, key)->floats = true;
    if (c->per_channel) { /* scale and zero point come before the bytes */
        struct om_doc_tensor *const last = &at->g->tensors.items[at->g->tensors.len - 1];

        last[-2].rank = last[-1].rank = 2;
        last[-2].dims = last[-1].dims = sizes;
    }
    *out = *find_form(at, key);
    return 0;
}

static int do_lstm(struct scope *s, const struct om_doc_node *n)
{
    struct om_doc_node *node;
    struct form w, r;

    OM_TRY(quantize_lstm_weight(s, n->in[1], &w));
    OM_TRY(quantize_lstm_weight(s, n->in[2], &r));
    OM_TRY(need_float(s, n->in[0]));
    for (uint32_t i = 3; i < n->n_in; i++)
        OM_TRY(need_float(s, n->in[i]));

    const om_sv in[] = { n->in[0],
                         w.q,
                         r.q,
                         input_or_none(n, 3),
                         input_or_none(n, 4),
                         input_or_none(n, 5),
                         input_or_none(n, 6),
                         input_or_none(n, 7),
                         w.scale,
                         w.zero,
                         r.scale,
                         r.zero };
    node = add_node(s, &s->body, "DynamicQuantizeLSTM", node_name(s, n->name, "_quant"), in, 12,
                    n->out, n->n_out);
    if (!node)
        return om_quant_no_memory(s->j);
    node->domain = om_sv_str(MS);
    node->attrs = n->attrs;
    node->n_attrs = n->n_attrs;
    om_doc_drop_attr(node, "layout");
    return 0;
}

struct rule {
    const char *op, *domain;
    bool (*fits)(const struct scope *s, const struct om_doc_node *n);
    int (*quantize)(struct scope *s, const struct om_doc_node *n);
};

static const struct rule rules[] = {
    { "MatMul", "", fits_matmul, do_matmul },
    { "Gather", "", fits_gather, do_gather },
    { "Transpose", "", fits_transpose, do_transpose },
    { "Conv", "", fits_conv, do_conv },
    { "Attention", MS, fits_attention, do_attention },
    { "EmbedLayerNormalization", MS, fits_embed, do_embed },
    { "LSTM", "", fits_lstm, do_lstm },
};

static const struct rule *find_rule(const struct scope *s, const struct om_doc_node *n)
{
    for (size_t i = 0; i < OM_COUNT(rules); i++)
        if (om_sv_is(n->op, rules[i].op) && om_sv_is(n->domain, rules[i].domain))
            return om_quant_wants(s->j, n->op, n->name) && rules[i].fits(s, n) ? &rules[i] : NULL;
    return NULL;
}

/* ---- graphs ---- */

static int quantize_graph(struct om_quant_job *j, struct scope *parent, struct om_doc_graph *g);

static int quantize_node(struct scope *s, const struct om_doc_node *n)
{
    const struct rule *const r = find_rule(s, n);
    int rc;

    for (uint32_t i = 0; i < n->n_attrs; i++)
        for (uint32_t k = 0; k < n->attrs[i].n_graphs; k++)
            OM_TRY(quantize_graph(s->j, s, n->attrs[i].graphs[k]));
    rc = r ? r->quantize(s, n) : pass_through(s, n);
    if (rc == 0 && r)
        s->j->converted++;
    for (uint32_t i = 0; i < n->n_out && rc == 0; i++)
        if (om_map_put(&s->values, n->out[i], 0) < 0)
            rc = om_quant_no_memory(s->j);
    return om_wrap(s->j->err, rc, "node \"%.*s\" (%.*s)", OM_SV(n->name), OM_SV(n->op));
}

static int scope_names(struct scope *s)
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
static int finish_scope(struct scope *s)
{
    for (size_t i = 0; i < s->g->outputs.len; i++)
        OM_TRY(need_float(s, s->g->outputs.items[i].name));
    s->g->nodes = s->front;
    for (size_t i = 0; i < s->body.len; i++) {
        struct om_doc_node *const n = om_doc_add_node(s->j->doc, s->g);

        if (!n)
            return om_quant_no_memory(s->j);
        *n = s->body.items[i];
    }
    return 0;
}

static int quantize_graph(struct om_quant_job *j, struct scope *parent, struct om_doc_graph *g)
{
    struct scope s = { .j = j, .parent = parent, .g = g };
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

/* ---- Gemm becomes MatMul and Add ---- */

struct gemms {
    struct om_quant_job *j;
    struct om_map transposed; /* initializers, by graph and name, to indices into names */
    om_sv *names;
    size_t n, cap;
};

static struct om_doc_tensor *owned_tensor(struct om_doc_graph *g, om_sv name,
                                          struct om_doc_graph **owner)
{
    for (; g; g = g->parent) {
        struct om_doc_tensor *const t = om_doc_find_tensor(g, name);

        if (t) {
            *owner = g;
            return t;
        }
    }
    return NULL;
}

/* NAME_Transposed beside the initializer: a view of the same bytes. */
static int transposed_view(struct gemms *x, struct om_doc_graph *g, struct om_doc_tensor *t,
                           om_sv key, om_sv *out)
{
    struct om_quant_job *const j = x->j;
    struct om_weight *const w = om_arena_alloc(j->arena, sizeof(*w));
    int64_t *const dims = om_arena_array(j->arena, 4, sizeof(*dims));
    struct om_doc_tensor *copy;
    om_sv name;

    if (!w || !dims || !om_grow(&x->names, &x->cap, x->n + 1, sizeof(*x->names)) ||
        om_map_put(&x->transposed, key, (uint32_t)x->n) < 0)
        return om_quant_no_memory(j);
    OM_TRY(om_doc_weight(j->doc, t, w, j->err));
    name = om_doc_text(j->doc, "%.*s_Transposed", OM_SV(t->name));
    if (name.len == 0)
        return om_quant_no_memory(j);
    OM_TRY(om_quant_name(j, name, &name));
    memcpy(dims, (int64_t[]){ t->dims[1], t->dims[0], 1, t->dims[1] }, 4 * sizeof(*dims));
    if (w->strides) { /* a view already */
        dims[2] = w->strides[1];
        dims[3] = w->strides[0];
    }
    w->name = name;
    w->dims = dims;
    w->strides = dims + 2;
    copy = om_doc_add_tensor(j->doc, g); /* t may have moved */
    if (!copy || !om_doc_types_put(j->types, g, name, OM_Q_F32))
        return om_quant_no_memory(j);
    *copy = (struct om_doc_tensor){ .name = name,
                                    .type = OM_Q_F32,
                                    .rank = 2,
                                    .dims = dims,
                                    .bytes = om_weight_bytes(w),
                                    .weight = w };
    x->names[x->n++] = name;
    *out = name;
    return 0;
}

struct gemm {
    float alpha, beta;
    int64_t trans_a, trans_b;
};

static int read_gemm(const struct om_doc_node *n, struct gemm *m, struct om_error *err)
{
    *m = (struct gemm){ 1.0f, 1.0f, 0, 0 };
    OM_TRY(om_doc_attr_float(n, "alpha", &m->alpha, err));
    OM_TRY(om_doc_attr_float(n, "beta", &m->beta, err));
    OM_TRY(om_doc_attr_int(n, "transA", &m->trans_a, err));
    return om_doc_attr_int(n, "transB", &m->trans_b, err);
}

static bool fits_gemm(const struct gemms *x, struct om_doc_graph *g, const struct om_doc_node *n,
                      struct gemm *m)
{
    struct om_doc_graph *owner;

    if (!om_sv_is(n->op, "Gemm") || n->domain.len > 0 || n->n_in < 2 || n->n_out != 1)
        return false;
    if (!om_quant_wants_gemm(x->j, n))
        return false;
    if (x->j->config->constant_weights && !owned_tensor(g, n->in[1], &owner))
        return false;
    if (read_gemm(n, m, NULL) < 0 || m->alpha != 1.0f || m->beta != 1.0f || m->trans_a != 0)
        return false;
    return om_doc_types_find(x->j->types, g, n->in[0]) == OM_Q_F32;
}

/* The right side in the orientation of MatMul: the initializer, its transposed view, or a
 * Transpose. */
static int right_side(struct gemms *x, struct om_doc_graph *g, const struct om_doc_node *n,
                      const struct gemm *m, om_sv *out)
{
    struct om_quant_job *const j = x->j;
    struct om_doc_graph *owner = NULL;
    struct om_doc_tensor *t;
    struct om_doc_node *node;
    uint32_t at;

    *out = n->in[1];
    if (m->trans_b == 0)
        return 0;
    t = owned_tensor(g, n->in[1], &owner);
    if (t && t->rank == 2 && t->type == OM_Q_F32) {
        const om_sv key = om_doc_text(j->doc, "%p %.*s", (void *)owner, OM_SV(t->name));

        if (key.len == 0)
            return om_quant_no_memory(j);
        if (!om_map_get(&x->transposed, key, &at))
            return transposed_view(x, owner, t, key, out);
        *out = x->names[at];
        return 0;
    }
    OM_TRY(om_quant_name(j, om_doc_text(j->doc, "%.*s_Transposed", OM_SV(n->in[1])), out));
    node = om_doc_add_node(j->doc, g);
    if (!node)
        return om_quant_no_memory(j);
    node->op = om_sv_str("Transpose");
    node->name = n->name.len > 0 ? om_doc_text(j->doc, "%.*s_Transpose", OM_SV(n->name)) : n->name;
    node->in = om_arena_copy(j->arena, &n->in[1], sizeof(om_sv));
    node->out = om_arena_copy(j->arena, out, sizeof(om_sv));
    node->n_in = node->n_out = 1;
    return node->in && node->out && om_doc_types_put(j->types, g, *out, OM_Q_F32)
               ? 0
               : om_quant_no_memory(j);
}

static int put_pair(struct om_quant_job *j, struct om_doc_graph *g, const char *op, om_sv name,
                    om_sv a, om_sv b, om_sv out)
{
    struct om_doc_node *const node = om_doc_add_node(j->doc, g);
    const om_sv in[] = { a, b };

    if (!node)
        return om_quant_no_memory(j);
    node->op = om_sv_str(op);
    node->name = name;
    node->in = om_arena_copy(j->arena, in, sizeof(in));
    node->out = om_arena_copy(j->arena, &out, sizeof(out));
    node->n_in = 2;
    node->n_out = 1;
    return node->in && node->out && om_doc_types_put(j->types, g, out, OM_Q_F32)
               ? 0
               : om_quant_no_memory(j);
}

static int split_gemm(struct gemms *x, struct om_doc_graph *g, const struct om_doc_node *n,
                      const struct gemm *m)
{
    struct om_quant_job *const j = x->j;
    const bool bias = n->n_in > 2 && n->in[2].len > 0;
    const bool named = n->name.len > 0;
    om_sv right, product = n->out[0];

    OM_TRY(right_side(x, g, n, m, &right));
    if (bias)
        OM_TRY(om_quant_name(j, om_doc_text(j->doc, "%.*s_MatMul", OM_SV(n->out[0])), &product));
    OM_TRY(put_pair(j, g, "MatMul",
                    named ? om_doc_text(j->doc, "%.*s_MatMul", OM_SV(n->name)) : n->name, n->in[0],
                    right, product));
    if (!bias)
        return 0;
    return put_pair(j, g, "Add", named ? om_doc_text(j->doc, "%.*s_Add", OM_SV(n->name)) : n->name,
                    product, n->in[2], n->out[0]);
}

static int split_gemms(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct gemms *const x = user;
    const struct om_doc_nodes old = g->nodes;

    (void)err;
    g->nodes = (struct om_doc_nodes){ .items = NULL };
    for (size_t i = 0; i < old.len; i++) {
        const struct om_doc_node *const n = &old.items[i];
        struct om_doc_node *copy;
        struct gemm m;

        if (fits_gemm(x, g, n, &m)) {
            OM_TRY(split_gemm(x, g, n, &m));
            continue;
        }
        copy = om_doc_add_node(x->j->doc, g);
        if (!copy)
            return om_quant_no_memory(x->j);
        *copy = *n;
    }
    return 0;
}

int om_quant_dynamic(struct om_quant_job *j)
{
    struct gemms x = { .j = j, .transposed = OM_MAP_INIT };
    int rc = om_quant_fold_casts(j);

    if (rc == 0)
        rc = om_doc_walk(j->doc->graph, split_gemms, &x, j->err);
    om_map_release(&x.transposed);
    free(x.names);
    if (rc == 0)
        rc = quantize_graph(j, NULL, j->doc->graph);
    return rc;
}
