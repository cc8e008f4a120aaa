/* src/quant/qlinear.c: static quantization in the format QOperator: operators that take and give 8
 * bits (QLinearMatMul and so on), with the ranges that a calibration found. Which ones, and the
 * names, are those of ONNX Runtime's quantization tool.
 *
 * Where that tool's graph would be wrong the node stays on floats: a Relu whose input others read
 * too, biases beyond int32, scales along an axis that the operator does not take. */
#include <math.h>

#include "quant/ranges.h"
#include "quant/scope.h"

/* ---- parameters ---- */

struct params {
    om_sv scale, zero;
    float step;
    int zero_point;
};

static struct om_ranges *ranges_of(const struct om_scope *s)
{
    return s->method->user;
}

static const struct om_range *range_of(const struct om_scope *s, om_sv value)
{
    return om_ranges_find(ranges_of(s), s->g, value);
}

static bool is_signed(const struct om_scope *s)
{
    return s->j->config->activations_type == OM_QUANT_INT8;
}

/* The initializers VALUE_scale and VALUE_zero_point. */
static int add_params(struct om_scope *s, om_sv value, struct params *p)
{
    struct om_arena *const a = s->j->arena;
    const int8_t zero = (int8_t)p->zero_point;
    const float *const scale = om_arena_copy(a, &p->step, sizeof(p->step));
    const int8_t *const point = om_arena_copy(a, &zero, sizeof(zero));

    if (!scale || !point)
        return om_quant_no_memory(s->j);
    OM_TRY(om_scope_name(s, value, "_scale", &p->scale));
    OM_TRY(om_scope_name(s, value, "_zero_point", &p->zero));
    OM_TRY(om_scope_add_tensor(s, p->scale, OM_Q_F32, 0, NULL, sizeof(*scale), scale, NULL));
    return om_scope_add_tensor(s, p->zero, is_signed(s) ? OM_Q_I8 : OM_Q_U8, 0, NULL, 1, point,
                               NULL);
}

static int params_of(struct om_scope *s, om_sv value, struct params *p)
{
    const struct om_range *const r = range_of(s, value);
    const struct om_affine_range how = { is_signed(s), s->j->config->activations_symmetric, false };

    om_affine_params(r->lo, r->hi, how, false, &p->step, &p->zero_point);
    return add_params(s, value, p);
}

/* The numbers of a form with one scale. */
static int numbers_of(struct om_scope *s, const struct om_form *f, struct params *p)
{
    p->scale = f->scale;
    p->zero = f->zero;
    p->step = f->step;
    p->zero_point = f->zero_point;
    if (!f->affine)
        return 0;
    OM_TRY(om_affine_measure(f->affine, s->j->err));
    p->step = f->affine->scale[0];
    p->zero_point =
        f->affine->range.is_signed ? f->affine->zero[0] : (int)(uint8_t)f->affine->zero[0];
    return 0;
}

static int quantize_activation(struct om_scope *s, om_sv value)
{
    struct om_form f = { .value = value, .floats = true, .own = true };
    struct params p;
    om_sv in[3];

    OM_TRY(om_scope_need_float(s, value));
    OM_TRY(params_of(s, value, &p));
    OM_TRY(om_scope_name(s, value, "_quantized", &f.q));
    in[0] = value;
    in[1] = f.scale = p.scale;
    in[2] = f.zero = p.zero;
    f.step = p.step;
    f.zero_point = p.zero_point;
    OM_TRY(om_scope_emit(s, "QuantizeLinear",
                         om_doc_text(s->j->doc, "%.*s_QuantizeLinear", OM_SV(value)), in, 3, &f.q,
                         1));
    return om_scope_put_form(s, f);
}

/* ---- what fits ---- */

static bool fits_activation(const struct om_scope *s, om_sv value)
{
    const struct om_form *const f = om_scope_look_up(s, value);

    if (f)
        return !f->has_axis;
    return om_scope_is_float(s, value) && (om_scope_is_weight(s, value) || range_of(s, value));
}

static bool fits_weight(const struct om_scope *s, om_sv value, int64_t axis)
{
    const struct om_form *const f = om_scope_look_up(s, value);

    return f && f->has_axis ? f->axis == axis : fits_activation(s, value);
}

static bool fits_all(const struct om_scope *s, const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (!fits_activation(s, n->in[i]))
            return false;
    return n->n_in > 0 && n->n_out == 1 && range_of(s, n->out[0]);
}

static bool fits_matmul(const struct om_scope *s, const struct om_doc_node *n)
{
    if (n->n_in != 2 || n->n_out != 1 || !range_of(s, n->out[0]))
        return false;
    if (s->j->config->constant_weights && !om_scope_is_weight(s, n->in[0]) &&
        !om_scope_is_weight(s, n->in[1]))
        return false;
    return fits_activation(s, n->in[0]) && fits_weight(s, n->in[1], -1);
}

static int64_t gemm_axis(const struct om_doc_node *n)
{
    int64_t transposed = 0;

    (void)om_doc_attr_int(n, "transB", &transposed, NULL);
    return transposed ? 0 : 1;
}

/* A bias needs a weight whose scales are known, and is known itself. */
static bool fits_bias(const struct om_scope *s, const struct om_doc_node *n)
{
    const struct om_doc_tensor *const t = om_scope_tensor(s, om_scope_input(n, 2));

    if (om_scope_input(n, 2).len == 0)
        return true;
    return t && t->type == OM_Q_F32 && t->rank == 1 && om_scope_is_weight(s, n->in[1]);
}

static bool fits_gemm(const struct om_scope *s, const struct om_doc_node *n)
{
    return n->n_in >= 2 && n->n_out == 1 && range_of(s, n->out[0]) &&
           fits_activation(s, n->in[0]) && fits_weight(s, n->in[1], gemm_axis(n)) &&
           fits_bias(s, n);
}

static bool fits_conv(const struct om_scope *s, const struct om_doc_node *n)
{
    return n->n_in >= 2 && n->n_out == 1 && range_of(s, n->out[0]) &&
           fits_activation(s, n->in[0]) && fits_weight(s, n->in[1], 0) && fits_bias(s, n);
}

/* The form of the first input, where it has one with a single scale. */
static const struct om_form *form_of_input(const struct om_scope *s, const struct om_doc_node *n)
{
    const struct om_form *const f = n->n_in > 0 ? om_scope_look_up(s, n->in[0]) : NULL;

    return f && !f->has_axis ? f : NULL;
}

static bool fits_quantized(const struct om_scope *s, const struct om_doc_node *n)
{
    return n->n_out == 1 && form_of_input(s, n);
}

static bool fits_pool(const struct om_scope *s, const struct om_doc_node *n)
{
    return fits_quantized(s, n) && om_doc_opset(s->j->doc, "") >= 12;
}

static bool fits_split(const struct om_scope *s, const struct om_doc_node *n)
{
    return n->n_in >= 1 && fits_activation(s, n->in[0]);
}

/* One float32 of an initializer; false: it is none, or not one number. */
static bool scalar_of(const struct om_scope *s, om_sv name, float *value)
{
    const struct om_doc_tensor *const t = om_scope_tensor(s, name);
    struct om_weight w;

    if (!t || t->type != OM_Q_F32 || t->bytes != sizeof(float) ||
        om_doc_weight(s->j->doc, t, &w, NULL) < 0)
        return false;
    om_affine_load(&w, 0, 1, value);
    return true;
}

static bool fits_pad(const struct om_scope *s, const struct om_doc_node *n)
{
    float value;

    return fits_quantized(s, n) && n->n_in >= 2 &&
           (om_scope_input(n, 2).len == 0 || scalar_of(s, n->in[2], &value));
}

static bool fits_clamp(const struct om_scope *s, const struct om_doc_node *n)
{
    const struct om_form *const f = form_of_input(s, n);
    float lo = 0, hi = 0;

    if (!f || !f->own || s->j->config->activations_symmetric ||
        !om_ranges_clamped(ranges_of(s), s->g, n))
        return false;
    if (om_sv_is(n->op, "Relu"))
        return true;
    return (om_scope_input(n, 1).len == 0 || (scalar_of(s, n->in[1], &lo) && lo <= 0)) &&
           (om_scope_input(n, 2).len == 0 || (scalar_of(s, n->in[2], &hi) && hi >= 0));
}

/* ---- operators ---- */

/* The node with op for its operator, and its output's form. */
static struct om_doc_node *add_operator(struct om_scope *s, const struct om_doc_node *n,
                                        const char *op, const char *domain, const om_sv *in,
                                        uint32_t n_in, const struct params *out)
{
    struct om_form f = { .value = n->out[0],
                         .scale = out->scale,
                         .zero = out->zero,
                         .step = out->step,
                         .zero_point = out->zero_point,
                         .own = true };
    struct om_doc_node *node;

    if (om_scope_name(s, n->out[0], "_quantized", &f.q) < 0 || om_scope_put_form(s, f) < 0)
        return NULL;
    node =
        om_scope_add_node(s, &s->body, op, om_scope_label(s, n->name, "_quant"), in, n_in, &f.q, 1);
    if (!node)
        return NULL;
    node->domain = om_sv_str(domain);
    node->attrs = n->attrs;
    node->n_attrs = n->n_attrs;
    return node;
}

static int finish(struct om_scope *s, const struct om_doc_node *node)
{
    return node ? 0 : om_quant_no_memory(s->j);
}

static const char *qlinear_name(struct om_scope *s, const struct om_doc_node *n)
{
    return om_doc_text(s->j->doc, "QLinear%.*s", OM_SV(n->op)).ptr;
}

/* The three inputs that stand for one. */
static uint32_t put_form(om_sv *in, const struct om_form *f)
{
    in[0] = f->q;
    in[1] = f->scale;
    in[2] = f->zero;
    return 3;
}

static int do_matmul(struct om_scope *s, const struct om_doc_node *n)
{
    struct om_form a, b;
    struct params p;
    om_sv in[8];

    OM_TRY(om_scope_quantize(s, n->in[0], om_scope_activation(s), &a));
    OM_TRY(om_scope_quantize(s, n->in[1], om_scope_weight(s, true, -1), &b));
    OM_TRY(params_of(s, n->out[0], &p));
    put_form(in, &a);
    put_form(in + 3, &b);
    in[6] = p.scale;
    in[7] = p.zero;
    return finish(s, add_operator(s, n, "QLinearMatMul", "", in, 8, &p));
}

/* NAME_quantized of a bias with the scales of a product; *name is "" where it stays in float32. */
static int quantize_bias(struct om_scope *s, om_sv bias, float beta, const struct om_form *x,
                         const struct om_form *w, om_sv *name)
{
    const struct om_doc_tensor t = *om_scope_tensor(s, bias);
    int64_t *const dims = om_arena_alloc(s->j->arena, sizeof(*dims));
    struct om_bias b;
    struct params in;
    om_sv scale, zero;

    *name = (om_sv){ "", 0 };
    OM_TRY(numbers_of(s, x, &in));
    OM_TRY(om_bias_quantize(s->j, &t, in.step, beta, w->affine, &b));
    if (!b.fits)
        return 0;
    if (!dims)
        return om_quant_no_memory(s->j);
    *dims = (int64_t)b.scales;
    OM_TRY(om_scope_name(s, bias, "_quantized", name));
    OM_TRY(om_scope_name(s, bias, "_quantized_scale", &scale));
    OM_TRY(om_scope_name(s, bias, "_quantized_zero_point", &zero));
    OM_TRY(om_scope_add_tensor(s, *name, OM_Q_I32, 1, t.dims, b.n * 4, b.q, NULL));
    OM_TRY(om_scope_add_tensor(s, scale, OM_Q_F32, 1, dims, b.scales * 4, b.scale, NULL));
    return om_scope_add_tensor(s, zero, OM_Q_I32, b.scales > 1, dims, b.scales * 4, b.zero, NULL);
}

static int do_conv(struct om_scope *s, const struct om_doc_node *n)
{
    struct om_want want = om_scope_weight(s, true, 0);
    om_sv in[9] = { [8] = om_scope_input(n, 2) };
    struct om_form x, w;
    struct params p;

    if (s->j->config->per_channel) /* kernels have no others */
        want.type = OM_Q_I8;
    OM_TRY(om_scope_quantize(s, n->in[0], om_scope_activation(s), &x));
    OM_TRY(om_scope_quantize(s, n->in[1], want, &w));
    if (in[8].len > 0) {
        OM_TRY(quantize_bias(s, n->in[2], 1.0f, &x, &w, &in[8]));
        if (in[8].len == 0)
            return om_scope_pass(s, n);
    }
    OM_TRY(params_of(s, n->out[0], &p));
    put_form(in, &x);
    put_form(in + 3, &w);
    in[6] = p.scale;
    in[7] = p.zero;
    return finish(s, add_operator(s, n, "QLinearConv", "", in, in[8].len > 0 ? 9 : 8, &p));
}

static int do_gemm(struct om_scope *s, const struct om_doc_node *n)
{
    om_sv in[9] = { [6] = om_scope_input(n, 2) };
    struct om_doc_node *node;
    struct om_form x, w;
    struct params p;
    float beta = 1.0f;

    OM_TRY(om_doc_attr_float(n, "beta", &beta, s->j->err));
    OM_TRY(om_scope_quantize(s, n->in[0], om_scope_activation(s), &x));
    OM_TRY(om_scope_quantize(s, n->in[1], om_scope_weight(s, true, gemm_axis(n)), &w));
    if (in[6].len > 0) {
        OM_TRY(quantize_bias(s, n->in[2], beta, &x, &w, &in[6]));
        if (in[6].len == 0)
            return om_scope_pass(s, n);
    }
    OM_TRY(params_of(s, n->out[0], &p));
    put_form(in, &x);
    put_form(in + 3, &w);
    in[7] = p.scale;
    in[8] = p.zero;
    node = add_operator(s, n, "QGemm", OM_SCOPE_MS, in, 9, &p);
    if (node)
        om_doc_drop_attr(node, "beta");
    return finish(s, node);
}

/* Add, Mul; one input: LeakyRelu, Sigmoid, AveragePool. */
static int do_elementwise(struct om_scope *s, const struct om_doc_node *n)
{
    const char *const op = qlinear_name(s, n);
    struct params p;
    om_sv in[8];
    uint32_t n_in = 0;

    for (uint32_t i = 0; i < OM_MIN(n->n_in, 2); i++) {
        struct om_form f;

        OM_TRY(om_scope_quantize(s, n->in[i], om_scope_activation(s), &f));
        n_in += put_form(in + n_in, &f);
    }
    OM_TRY(params_of(s, n->out[0], &p));
    in[n_in++] = p.scale;
    in[n_in++] = p.zero;
    return op ? finish(s, add_operator(s, n, op, OM_SCOPE_MS, in, n_in, &p))
              : om_quant_no_memory(s->j);
}

/* Its kernel knows one scale for what it gives. */
static int do_softmax(struct om_scope *s, const struct om_doc_node *n)
{
    struct params p = { .step = 1.0f / 256.0f, .zero_point = is_signed(s) ? -128 : 0 };
    struct om_doc_node *node;
    struct om_form x;
    om_sv in[5];

    OM_TRY(om_scope_quantize(s, n->in[0], om_scope_activation(s), &x));
    OM_TRY(add_params(s, n->out[0], &p));
    put_form(in, &x);
    in[3] = p.scale;
    in[4] = p.zero;
    node = add_operator(s, n, "QLinearSoftmax", OM_SCOPE_MS, in, 5, &p);
    if (node && !om_doc_put_int(s->j->doc, node, "opset", om_doc_opset(s->j->doc, "")))
        node = NULL;
    return finish(s, node);
}

static int do_global_pool(struct om_scope *s, const struct om_doc_node *n)
{
    const struct om_form x = *form_of_input(s, n);
    struct om_doc_node *node;
    struct params p;
    om_sv in[5];

    if (range_of(s, n->out[0]))
        OM_TRY(params_of(s, n->out[0], &p));
    else
        OM_TRY(numbers_of(s, &x, &p));
    put_form(in, &x);
    in[3] = p.scale;
    in[4] = p.zero;
    node = add_operator(s, n, "QLinearGlobalAveragePool", OM_SCOPE_MS, in, 5, &p);
    if (node && !om_doc_put_int(s->j->doc, node, "channels_last", 0))
        node = NULL;
    return finish(s, node);
}

static int do_concat(struct om_scope *s, const struct om_doc_node *n)
{
    om_sv *const in = om_arena_array(s->j->arena, 3 * (size_t)n->n_in + 2, sizeof(*in));
    struct params p;

    if (!in)
        return om_quant_no_memory(s->j);
    for (uint32_t i = 0; i < n->n_in; i++) {
        struct om_form f;

        OM_TRY(om_scope_quantize(s, n->in[i], om_scope_activation(s), &f));
        put_form(in + 2 + 3 * i, &f);
    }
    OM_TRY(params_of(s, n->out[0], &p));
    in[0] = p.scale;
    in[1] = p.zero;
    return finish(s, add_operator(s, n, "QLinearConcat", OM_SCOPE_MS, in, 3 * n->n_in + 2, &p));
}

static int do_split(struct om_scope *s, const struct om_doc_node *n)
{
    om_sv *const out = om_arena_copy(s->j->arena, n->out, n->n_out * sizeof(*out));
    struct om_doc_node *node;
    struct om_form x;

    if (!out)
        return om_quant_no_memory(s->j);
    OM_TRY(om_scope_quantize(s, n->in[0], om_scope_activation(s), &x));
    for (uint32_t i = 0; i < n->n_out; i++) {
        struct om_form f = x;

        OM_TRY(om_scope_name(s, n->out[i], "quantized", &out[i]));
        f.value = n->out[i];
        f.q = out[i];
        f.weight = f.floats = f.own = false;
        OM_TRY(om_scope_put_form(s, f));
    }
    node = om_scope_add_node(s, &s->body, "Split", om_scope_label(s, n->name, "_quant"), n->in,
                             n->n_in, out, n->n_out);
    if (!node)
        return om_quant_no_memory(s->j);
    node->in[0] = x.q;
    node->attrs = n->attrs;
    node->n_attrs = n->n_attrs;
    return 0;
}

/* The number that a Pad pads with, in the scale of what is padded. */
static int quantize_padding(struct om_scope *s, om_sv name, const struct params *p, om_sv *out)
{
    const float least = is_signed(s) ? -128.0f : 0.0f;
    const struct om_doc_tensor t = *om_scope_tensor(s, name);
    float value = 0;
    uint8_t *const q = om_arena_alloc(s->j->arena, 1);

    if (!q)
        return om_quant_no_memory(s->j);
    (void)scalar_of(s, name, &value);
    value = rintf(value / p->step) + (float)p->zero_point;
    value = OM_MIN(OM_MAX(value, least), least + 255.0f);
    *q = (uint8_t)(int)value;
    OM_TRY(om_scope_name(s, name, "_quantized", out));
    return om_scope_add_tensor(s, *out, is_signed(s) ? OM_Q_I8 : OM_Q_U8, t.rank, t.dims, 1, q,
                               NULL);
}

static int do_pad(struct om_scope *s, const struct om_doc_node *n)
{
    const struct om_doc_attr *const mode = om_doc_attr(n, "mode");
    const struct om_form x = *form_of_input(s, n);
    struct om_doc_node padded = *n;
    struct params p;

    if (mode && !om_doc_attr_is(mode, "constant"))
        return om_scope_follow(s, n, &x);
    OM_TRY(numbers_of(s, &x, &p));
    padded.n_in = OM_MAX(n->n_in, 3);
    padded.in = om_arena_array(s->j->arena, padded.n_in, sizeof(*padded.in));
    if (!padded.in)
        return om_quant_no_memory(s->j);
    memcpy(padded.in, n->in, n->n_in * sizeof(*padded.in));
    if (om_scope_input(n, 2).len > 0)
        OM_TRY(quantize_padding(s, n->in[2], &p, &padded.in[2]));
    else
        padded.in[2] = x.zero;
    return om_scope_follow(s, &padded, &x);
}

/* The range of what is given clamps already. */
static int do_clamp(struct om_scope *s, const struct om_doc_node *n)
{
    struct om_form f = *form_of_input(s, n);

    f.value = n->out[0];
    f.weight = f.floats = f.own = false;
    return om_scope_put_form(s, f);
}

static int do_argmax(struct om_scope *s, const struct om_doc_node *n)
{
    const om_sv q = form_of_input(s, n)->q;
    struct om_doc_node copy = *n;

    copy.in = om_arena_copy(s->j->arena, n->in, n->n_in * sizeof(om_sv));
    if (!copy.in)
        return om_quant_no_memory(s->j);
    copy.in[0] = q;
    return om_scope_keep(s, &copy);
}

static const struct om_scope_rule rules[] = {
    { "MatMul", "", fits_matmul, do_matmul },
    { "Gemm", "", fits_gemm, do_gemm },
    { "Conv", "", fits_conv, do_conv },
    { "Add", "", fits_all, do_elementwise },
    { "Mul", "", fits_all, do_elementwise },
    { "LeakyRelu", "", fits_all, do_elementwise },
    { "Sigmoid", "", fits_all, do_elementwise },
    { "AveragePool", "", fits_all, do_elementwise },
    { "Softmax", "", fits_all, do_softmax },
    { "Concat", "", fits_all, do_concat },
    { "GlobalAveragePool", "", fits_quantized, do_global_pool },
    { "Relu", "", fits_clamp, do_clamp },
    { "Clip", "", fits_clamp, do_clamp },
    { "Split", "", fits_split, do_split },
    { "Pad", "", fits_pad, do_pad },
    { "ArgMax", "", fits_quantized, do_argmax },
    { "MaxPool", "", fits_pool, om_scope_move },
    { "Resize", "", fits_quantized, om_scope_move },
    { "Reshape", "", fits_quantized, om_scope_move },
    { "Transpose", "", fits_quantized, om_scope_move },
    { "Flatten", "", fits_quantized, om_scope_move },
    { "Squeeze", "", fits_quantized, om_scope_move },
    { "Unsqueeze", "", fits_quantized, om_scope_move },
    { "Gather", "", om_scope_fits_gather, om_scope_gather },
    { "EmbedLayerNormalization", OM_SCOPE_MS, om_scope_fits_embed, om_scope_embed },
};

/* ---- the whole ---- */

static int want_values(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct om_ranges *const r = user;

    (void)err;
    for (size_t i = 0; i < g->nodes.len; i++) {
        const struct om_doc_node *const n = &g->nodes.items[i];

        if (n->domain.len > 0 || !om_quant_wants(r->j, n->op, n->name))
            continue;
        for (uint32_t k = 0; k < n->n_in; k++)
            OM_TRY(om_ranges_want(r, g, n->in[k]));
        for (uint32_t k = 0; k < n->n_out; k++)
            OM_TRY(om_ranges_want(r, g, n->out[k]));
    }
    return 0;
}

int om_quant_qlinear(struct om_quant_job *j)
{
    struct om_ranges ranges = { .j = j };
    const struct om_scope_method method = { rules, OM_COUNT(rules), quantize_activation, &ranges };
    int rc = om_ranges_init(&ranges, j);

    if (rc == 0)
        rc = om_doc_walk(j->doc->graph, want_values, &ranges, j->err);
    if (rc == 0)
        rc = om_ranges_measure(&ranges);
    if (rc == 0)
        rc = om_scope_run(j, &method, NULL, j->doc->graph);
    om_ranges_release(&ranges);
    return rc;
}
