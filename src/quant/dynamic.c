/* src/quant/dynamic.c: dynamic int8 quantization: products of integers, whose activations are
 * quantized while the model runs (DynamicQuantizeLinear). Operators and names are those that ONNX
 * Runtime's quantization tool gives, so that its files and these can be compared. */
#include "quant/scope.h"

static int quantize_activation(struct om_scope *s, om_sv value)
{
    struct om_form f = { .value = value, .floats = true };
    om_sv out[3];

    OM_TRY(om_scope_need_float(s, value));
    OM_TRY(om_scope_name(s, value, "_quantized", &f.q));
    OM_TRY(om_scope_name(s, value, "_scale", &f.scale));
    OM_TRY(om_scope_name(s, value, "_zero_point", &f.zero));
    out[0] = f.q;
    out[1] = f.scale;
    out[2] = f.zero;
    OM_TRY(om_scope_emit(s, "DynamicQuantizeLinear",
                         om_doc_text(s->j->doc, "%.*s_QuantizeLinear", OM_SV(value)), &value, 1,
                         out, 3));
    return om_scope_put_form(s, f);
}

/* The integer product of a and b as float32: cast it, and multiply it with both scales. The last
 * multiplication gives the value out. */
static int emit_rescale(struct om_scope *s, const struct om_doc_node *n, om_sv product,
                        const struct om_form *a, const struct om_form *b, om_sv out)
{
    const om_sv stem = om_scope_label(s, n->name, "_quant");
    const om_sv scales[] = { a->scale, b->scale };
    const om_sv scales_name =
        stem.len > 0 ? om_scope_label(s, stem, "_scales_mul")
                     : om_doc_text(s->j->doc, "%.*s_%.*s_mul", OM_SV(a->scale), OM_SV(b->scale));
    const om_sv cast_name = om_scope_label(s, product, "_cast");
    om_sv cast, scale, both[2];
    struct om_doc_node *node;

    OM_TRY(om_scope_name(s, product, "_cast_output", &cast));
    OM_TRY(om_scope_name(s, scales_name, ":0", &scale));
    node = om_scope_add_node(s, &s->body, "Cast", cast_name, &product, 1, &cast, 1);
    if (!node || !om_doc_put_int(s->j->doc, node, "to", OM_Q_F32))
        return om_quant_no_memory(s->j);
    OM_TRY(om_scope_emit(s, "Mul", scales_name, scales, 2, &scale, 1));
    both[0] = cast;
    both[1] = scale;
    return om_scope_emit(s, "Mul", om_scope_label(s, stem, "_output_scale_mul"), both, 2, &out, 1);
}

static int emit_integer(struct om_scope *s, const struct om_doc_node *n, const char *op,
                        const struct om_form *a, const struct om_form *b, om_sv *product)
{
    const om_sv in[] = { a->q, b->q, a->zero, b->zero };
    struct om_doc_node *node;

    OM_TRY(om_scope_name(s, n->out[0], "_output_quantized", product));
    node =
        om_scope_add_node(s, &s->body, op, om_scope_label(s, n->name, "_quant"), in, 4, product, 1);
    if (!node)
        return om_quant_no_memory(s->j);
    node->attrs = n->attrs;
    node->n_attrs = n->n_attrs;
    return 0;
}

static bool fits_matmul(const struct om_scope *s, const struct om_doc_node *n)
{
    if (n->n_in < 2 || n->n_out < 1)
        return false;
    if (s->j->config->constant_weights && !om_scope_is_weight(s, n->in[0]) &&
        !om_scope_is_weight(s, n->in[1]))
        return false;
    return om_scope_is_float(s, n->in[0]) || om_scope_is_float(s, n->in[1]);
}

static int do_matmul(struct om_scope *s, const struct om_doc_node *n)
{
    struct om_form a, b;
    om_sv product;

    OM_TRY(om_scope_quantize(s, n->in[0], om_scope_activation(s), &a));
    OM_TRY(om_scope_quantize(s, n->in[1], om_scope_weight(s, true, -1), &b));
    OM_TRY(emit_integer(s, n, "MatMulInteger", &a, &b, &product));
    return emit_rescale(s, n, product, &a, &b, n->out[0]);
}

static bool fits_conv(const struct om_scope *s, const struct om_doc_node *n)
{
    const struct om_doc_tensor *const w = n->n_in >= 2 ? om_scope_tensor(s, n->in[1]) : NULL;

    return w && w->type == OM_Q_F32 && w->rank >= 3 && n->n_out >= 1 &&
           om_scope_is_float(s, n->in[0]);
}

static int emit_conv_bias(struct om_scope *s, const struct om_doc_node *n, uint32_t rank,
                          om_sv scaled)
{
    const int64_t length = rank;
    int64_t shape[UINT8_MAX];
    om_sv in[2], sum[2], reshaped;

    for (uint32_t i = 0; i < rank; i++)
        shape[i] = i == 1 ? -1 : 1;
    in[0] = n->in[2];
    OM_TRY(om_scope_need_float(s, n->in[2]));
    OM_TRY(om_scope_name(s, n->out[0], "_bias_reshape_shape", &in[1]));
    OM_TRY(om_scope_name(s, n->out[0], "_bias_reshape_output", &reshaped));
    if (!om_doc_add_const(s->j->doc, s->g, in[1], OM_Q_I64, &length, 1, shape))
        return om_quant_no_memory(s->j);
    OM_TRY(om_scope_emit(s, "Reshape", (om_sv){ "", 0 }, in, 2, &reshaped, 1));
    sum[0] = scaled;
    sum[1] = reshaped;
    return om_scope_emit(s, "Add", om_scope_label(s, n->out[0], "_bias_add"), sum, 2, n->out, 1);
}

static int do_conv(struct om_scope *s, const struct om_doc_node *n)
{
    const uint32_t rank = om_scope_tensor(s, n->in[1])->rank;
    const bool bias = n->n_in >= 3 && n->in[2].len > 0;
    struct om_form a, b;
    om_sv product, scaled = n->out[0];

    if (rank > UINT8_MAX)
        return om_scope_pass(s, n);
    OM_TRY(om_scope_quantize(s, n->in[0], om_scope_activation(s), &a));
    OM_TRY(om_scope_quantize(s, n->in[1], om_scope_weight(s, false, -1), &b));
    OM_TRY(emit_integer(s, n, "ConvInteger", &a, &b, &product));
    if (bias)
        OM_TRY(om_scope_name(s, n->out[0], "quant_scaled_output", &scaled));
    OM_TRY(emit_rescale(s, n, product, &a, &b, scaled));
    return bias ? emit_conv_bias(s, n, rank, scaled) : 0;
}

static bool fits_attention(const struct om_scope *s, const struct om_doc_node *n)
{
    return n->n_in >= 3 && n->n_in <= 5 && om_scope_is_weight(s, n->in[1]) &&
           !om_doc_attr(n, "qkv_hidden_sizes") && om_scope_is_float(s, n->in[0]);
}

static int do_attention(struct om_scope *s, const struct om_doc_node *n)
{
    struct om_form x, w;
    struct om_doc_node *node;

    OM_TRY(om_scope_quantize(s, n->in[0], om_scope_activation(s), &x));
    OM_TRY(om_scope_quantize(s, n->in[1], om_scope_weight(s, true, -1), &w));
    for (uint32_t i = 2; i < n->n_in; i++)
        OM_TRY(om_scope_need_float(s, n->in[i]));

    const om_sv in[] = { x.q,     w.q,     n->in[2],
                         x.scale, w.scale, om_scope_input(n, 3),
                         x.zero,  w.zero,  om_scope_input(n, 4) };
    node = om_scope_add_node(s, &s->body, "QAttention", om_scope_label(s, n->name, "_quant"), in, 9,
                             n->out, n->n_out);
    if (!node)
        return om_quant_no_memory(s->j);
    node->domain = om_sv_str(OM_SCOPE_MS);
    node->attrs = n->attrs;
    node->n_attrs = n->n_attrs;
    return 0;
}

static bool fits_lstm(const struct om_scope *s, const struct om_doc_node *n)
{
    const struct om_doc_tensor *const w = n->n_in >= 3 ? om_scope_tensor(s, n->in[1]) : NULL;
    const struct om_doc_tensor *const r = n->n_in >= 3 ? om_scope_tensor(s, n->in[2]) : NULL;
    int64_t layout = 0;

    /* DynamicQuantizeLSTM has no layout, and takes 8 inputs of the LSTM. */
    return w && r && w->type == OM_Q_F32 && r->type == OM_Q_F32 && w->rank == 3 && r->rank == 3 &&
           om_doc_attr_int(n, "layout", &layout, NULL) == 0 && layout == 0 && n->n_in <= 8 &&
           om_scope_is_float(s, n->in[0]);
}

/* [directions, 4 * hidden, input] is quantized and stored as [directions, input, 4 * hidden]; one
 * scale per direction, or per direction and unit. */
static int quantize_lstm_weight(struct om_scope *s, om_sv value, struct om_form *out)
{
    const struct om_quant_config *const c = s->j->config;
    struct om_arena *const arena = s->j->arena;
    struct om_scope *at = s;
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
    if (om_scope_form(at, key)) {
        *out = *om_scope_form(at, key);
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
    OM_TRY(om_scope_add_weight(at, &t, a, key, true, 0));
    om_scope_form(at, key)->floats = true;
    if (c->per_channel) { /* scale and zero point come before the bytes */
        struct om_doc_tensor *const last = &at->g->tensors.items[at->g->tensors.len - 1];

        last[-2].rank = last[-1].rank = 2;
        last[-2].dims = last[-1].dims = sizes;
    }
    *out = *om_scope_form(at, key);
    return 0;
}

static int do_lstm(struct om_scope *s, const struct om_doc_node *n)
{
    struct om_doc_node *node;
    struct om_form w, r;

    OM_TRY(quantize_lstm_weight(s, n->in[1], &w));
    OM_TRY(quantize_lstm_weight(s, n->in[2], &r));
    OM_TRY(om_scope_need_float(s, n->in[0]));
    for (uint32_t i = 3; i < n->n_in; i++)
        OM_TRY(om_scope_need_float(s, n->in[i]));

    const om_sv in[] = { n->in[0],
                         w.q,
                         r.q,
                         om_scope_input(n, 3),
                         om_scope_input(n, 4),
                         om_scope_input(n, 5),
                         om_scope_input(n, 6),
                         om_scope_input(n, 7),
                         w.scale,
                         w.zero,
                         r.scale,
                         r.zero };
    node = om_scope_add_node(s, &s->body, "DynamicQuantizeLSTM",
                             om_scope_label(s, n->name, "_quant"), in, 12, n->out, n->n_out);
    if (!node)
        return om_quant_no_memory(s->j);
    node->domain = om_sv_str(OM_SCOPE_MS);
    node->attrs = n->attrs;
    node->n_attrs = n->n_attrs;
    om_doc_drop_attr(node, "layout");
    return 0;
}

static const struct om_scope_rule rules[] = {
    { "MatMul", "", fits_matmul, do_matmul },
    { "Gather", "", om_scope_fits_gather, om_scope_gather },
    { "Transpose", "", om_scope_fits_move, om_scope_move },
    { "Conv", "", fits_conv, do_conv },
    { "Attention", OM_SCOPE_MS, fits_attention, do_attention },
    { "EmbedLayerNormalization", OM_SCOPE_MS, om_scope_fits_embed, om_scope_embed },
    { "LSTM", "", fits_lstm, do_lstm },
};

int om_quant_dynamic(struct om_quant_job *j)
{
    const struct om_scope_method method = { rules, OM_COUNT(rules), quantize_activation, NULL };

    OM_TRY(om_quant_fold_casts(j));
    OM_TRY(om_quant_split_gemms(j));
    return om_scope_run(j, &method, NULL, j->doc->graph);
}
