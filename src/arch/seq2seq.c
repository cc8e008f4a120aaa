/* src/arch/seq2seq.c: the encoder-decoder that BART and its descendants share (Lewis et al., 2020).
 */
#include "arch/seq2seq.h"

#include <math.h>

#define TABLE_MAX ((int64_t)1 << 28) /* elements; more than any model has */
#define EPS 1e-5                     /* of every layer normalization: PyTorch's default */

const char *const om_seq2seq_inputs[] = { "encoder_attention_mask", "input_ids",
                                          "encoder_hidden_states", "past_key_values", NULL };

int om_seq2seq_derive(struct om_seq2seq *c, const struct om_seq2seq_form *form,
                      struct om_error *err)
{
    const struct {
        const char *key;
        int64_t heads;
    } sides[] = { { "encoder_attention_heads", c->encoder.heads },
                  { "decoder_attention_heads", c->decoder.heads } };

    c->form = form;
    if (!form->own_vocabularies)
        c->shared = true;
    for (size_t i = 0; i < OM_COUNT(sides); i++)
        if (c->hidden % sides[i].heads != 0)
            return om_fail(err, OM_E_CONFIG, "d_model %" PRId64 " is not a multiple of %s %" PRId64,
                           c->hidden, sides[i].key, sides[i].heads);
    if (form->positions == OM_SEQ2SEQ_TOKENS && c->hidden < 4)
        return om_fail(err, OM_E_CONFIG,
                       "d_model %" PRId64 " has too few frequencies for sinusoidal positions",
                       c->hidden);
    return 0;
}

void om_seq2seq_kv(const void *cfg, struct om_kv *kv)
{
    const struct om_seq2seq *c = cfg;

    *kv = (struct om_kv){ .layers = c->decoder.layers,
                          .heads = c->decoder.heads,
                          .head_dim = c->hidden / c->decoder.heads,
                          .hidden = c->hidden };
}

static om_scope base(om_scope root)
{
    return om_sub_optional(root, "model");
}

/* ---- positions ---- */

/* Sines in the first half of a row, cosines in the second. */
static void fill_sinusoids(float *table, int64_t rows, int64_t width)
{
    const int64_t sines = width - width / 2;

    for (int64_t pos = 0; pos < rows; pos++)
        for (int64_t i = 0; i < sines; i++) {
            const double angle = (double)pos / pow(10000.0, (double)(2 * i) / (double)width);
            table[pos * width + i] = (float)sin(angle);
            if (sines + i < width)
                table[pos * width + sines + i] = (float)cos(angle);
        }
}

static om_val sinusoid_table(om_scope s, const struct om_seq2seq *c)
{
    const int64_t dims[] = { c->positions, c->hidden };
    float *table;

    if (!om_ok(s))
        return (om_val){ 0 };
    if (c->positions > TABLE_MAX / c->hidden)
        return om_scope_fail(s, OM_E_LIMIT,
                             "max_position_embeddings %" PRId64 " times d_model %" PRId64
                             " is too large for a table",
                             c->positions, c->hidden);
    table = om_arena_array(s.b->g->arena, (size_t)(c->positions * c->hidden), sizeof(*table));
    if (!table)
        return om_scope_fail(s, OM_E_NOMEM, "out of memory");
    fill_sinusoids(table, c->positions, c->hidden);
    return om_graph_const(s.b->g, OM_F32, dims, 2, table);
}

/* exp(-ln(10000) i / (n - 1)) in single precision, as the model computes them. */
static om_val frequencies(om_scope s, int64_t n)
{
    const float step = (float)-(log(10000.0) / (double)(n - 1));
    float *v = om_arena_array(s.b->g->arena, (size_t)n, sizeof(*v));

    if (!v)
        return om_scope_fail(s, OM_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++)
        v[i] = (float)exp((double)((float)i * step));
    return om_ok(s) ? om_graph_const(s.b->g, OM_F32, &n, 1, v) : (om_val){ 0 };
}

/* Computed in the graph, which has no longest text then. Positions count tokens from pad + 1 on;
 * the row of padding is zero. float32 whatever the dtype of activations. */
static om_val token_sinusoids(om_scope s, const struct om_seq2seq *c, om_val ids)
{
    const om_val is_pad = om_binary(s, OM_OP_Equal, ids, om_i64(s, c->pad));
    const om_val is_token = om_unary(s, OM_OP_Not, is_pad);
    om_val pos = om_cast(s, is_token, OM_I64), x, angle;

    pos = om_binary(s, OM_OP_CumSum, pos, om_i64(s, 1));
    if (om_cache_past(s))
        pos = om_add(s, pos, om_dim_scalar(s, om_cache_past_length(s)));
    pos = om_cast(s, om_add(s, pos, om_i64(s, c->pad)), OM_F32);
    angle = om_mul(s, om_unsqueeze(s, pos, 2), frequencies(s, c->hidden / 2));
    x = om_concat(s, om_unary(s, OM_OP_Sin, angle), om_unary(s, OM_OP_Cos, angle), -1);
    if (c->hidden % 2 != 0)
        x = om_concat(s, x, om_scale(s, om_slice(s, x, -1, 0, 1), 0.0), -1);
    x = om_mul(s, x, om_unsqueeze(s, om_cast(s, is_token, OM_F32), 2));
    return om_to_compute(s, x);
}

/* Of ids, which follow past others. */
static om_val positions(om_scope s, const struct om_seq2seq *c, om_val ids, om_dim past)
{
    om_val at;

    if (c->form->positions == OM_SEQ2SEQ_TOKENS)
        return token_sinusoids(s, c, ids);
    if (!om_ok(s) || !om_valid(ids) || !past)
        return (om_val){ 0 };
    at = om_arange(s, past, om_dim_add(s.b->g->dims, past, om_axis(s, ids, 1)));
    if (c->form->positions == OM_SEQ2SEQ_LEARNED)
        return om_embed(s, c->form->offset ? om_add(s, at, om_i64(s, c->form->offset)) : at);
    if (om_has_weight(s, "weight"))
        return om_embed(s, at);
    return om_to_compute(s, om_gather(s, sinusoid_table(s, c), at, 0));
}

/* ---- embeddings ---- */

/* The one table has several names; a file holds it under one of them. Sides that need not agree
 * look for their own first. */
static om_val table(om_scope root, const struct om_seq2seq *c, const char *own)
{
    const char *names[] = { "shared", "decoder.embed_tokens", "encoder.embed_tokens" };
    const om_scope s = base(root), head = om_sub(root, "lm_head");
    const bool own_first = !c->shared || (c->form->own_tables && !c->tied);
    const om_scope mine = om_sub(s, "%s", own);

    if (own_first && (!c->shared || om_has_weight(mine, "weight")))
        return om_weight_stored(mine, "weight");
    for (size_t i = 0; i < OM_COUNT(names); i++) {
        const om_scope at = om_sub(s, "%s", names[i]);
        if (om_has_weight(at, "weight"))
            return om_weight_stored(at, "weight");
    }
    if (c->tied && om_has_weight(head, "weight"))
        return om_weight_stored(head, "weight");
    return om_weight_stored(om_sub(s, "shared"), "weight");
}

/* s: "encoder" or "decoder". */
static om_val embed(om_scope s, const struct om_seq2seq *c, om_val words, om_val ids, om_dim past,
                    bool decoder)
{
    const om_scope norm = om_sub(s, "layernorm_embedding");
    const bool first = c->form->embed_norm && c->form->embed_norm_first && decoder;
    om_val x = om_embed_with(om_sub(s, "embed_tokens"), words, ids);

    if (first)
        x = om_layer_norm(norm, x, EPS);
    else if (c->scale)
        x = om_scale(s, x, sqrt((double)c->hidden));
    x = om_add(s, x, positions(om_sub(s, "embed_positions"), c, ids, past));
    return c->form->embed_norm && !first ? om_layer_norm(norm, x, EPS) : x;
}

/* ---- layers ---- */

struct stack {
    const struct om_seq2seq *c;
    int64_t heads;
    om_val mask;
    om_val cross_mask, enc_hidden; /* {0}: no padding, cached */
    bool decoder, cross;
};

static om_val heads(om_scope s, const struct stack *st, const char *name, om_val x)
{
    return om_split_heads(s, om_linear(om_sub(s, "%s", name), x), st->heads,
                          st->c->hidden / st->heads);
}

static om_val project(om_scope s, const struct om_attend *at)
{
    return om_linear(om_sub(s, "out_proj"), om_merge_heads(s, om_attend(s, at)));
}

static om_val self_attention(om_scope s, const struct stack *st, int64_t layer, om_val x)
{
    struct om_attend at = { .mask = st->mask };

    at.q = heads(s, st, "q_proj", x);
    at.k = heads(s, st, "k_proj", x);
    at.v = heads(s, st, "v_proj", x);
    if (st->decoder)
        om_cache_extend(s, layer, &at.k, &at.v);
    return project(s, &at);
}

static om_val cross_attention(om_scope s, const struct stack *st, int64_t layer, om_val x)
{
    struct om_attend at = { .mask = st->cross_mask };

    at.q = heads(s, st, "q_proj", x);
    if (!om_cache_cross_get(s, layer, &at.k, &at.v)) {
        at.k = heads(s, st, "k_proj", st->enc_hidden);
        at.v = heads(s, st, "v_proj", st->enc_hidden);
        om_cache_cross_set(s, layer, &at.k, &at.v);
    }
    return project(s, &at);
}

static om_val feed_forward(om_scope s, const struct stack *st, int64_t layer, om_val x)
{
    (void)layer;
    x = om_activate(om_sub(s, "activation_fn"), st->c->act, om_linear(om_sub(s, "fc1"), x));
    return om_linear(om_sub(s, "fc2"), x);
}

typedef om_val block_fn(om_scope s, const struct stack *st, int64_t layer, om_val x);

/* A block with its normalization and the residual around it. */
static om_val with_residual(om_scope s, const char *norm_name, om_scope at, block_fn *block,
                            const struct stack *st, int64_t layer, om_val x)
{
    const om_scope norm = om_sub(s, "%s", norm_name);
    const bool pre = st->c->form->pre_norm;
    const om_val h = block(at, st, layer, pre ? om_layer_norm(norm, x, EPS) : x);

    x = om_add(s, x, h);
    return pre ? x : om_layer_norm(norm, x, EPS);
}

static om_val layer(om_scope s, const struct stack *st, int64_t i, om_val x)
{
    x = with_residual(s, "self_attn_layer_norm", om_sub(s, "self_attn"), self_attention, st, i, x);
    if (st->cross)
        x = with_residual(s, "encoder_attn_layer_norm", om_sub(s, "encoder_attn"), cross_attention,
                          st, i, x);
    x = with_residual(s, "final_layer_norm", s, feed_forward, st, i, x);
    return st->decoder ? x : om_saturate(s, x); /* as Transformers does in float16 */
}

static om_val layers(om_scope s, const struct stack *st, int64_t n, om_val x)
{
    for (int64_t i = 0; i < n && om_ok(s); i++)
        x = layer(om_sub(s, "layers.%" PRId64, i), st, i, x);
    return st->c->form->pre_norm ? om_layer_norm(om_sub(s, "layer_norm"), x, EPS) : x;
}

/* ---- the two sides ---- */

om_val om_seq2seq_encode(om_scope root, const void *cfg, om_val ids, om_val attention_mask)
{
    const struct om_seq2seq *c = cfg;
    const om_scope s = om_sub(base(root), "encoder");
    const om_val words = table(root, c, "encoder.embed_tokens");
    const om_val x = embed(s, c, words, ids, om_int(s, 0), false);
    const struct stack st = { .c = c,
                              .heads = c->encoder.heads,
                              .mask = om_mask_padding(s, attention_mask) };

    return layers(s, &st, c->encoder.layers, x);
}

/* attention_mask: of the decoder's own tokens, {0} where none is padding. st: what is known of the
 * encoder. */
static void decode(om_scope root, struct stack *st, om_val ids, om_val attention_mask,
                   struct om_body *body)
{
    const om_scope s = om_sub(base(root), "decoder");
    const struct om_seq2seq *c = st->c;
    struct om_causal causal = { .attention_mask = attention_mask };
    om_dim past;
    om_val x;

    causal.query = om_axis(s, ids, 1);
    past = om_cache_past_length(s);
    if (!causal.query || !past)
        return;
    causal.key = om_dim_add(s.b->g->dims, past, causal.query);
    st->decoder = true;
    st->heads = c->decoder.heads;
    st->mask = om_mask_additive(s, om_mask_causal(s, &causal));
    body->embeddings = table(root, c, "decoder.embed_tokens");
    x = embed(s, c, body->embeddings, ids, past, true);
    body->hidden = layers(s, st, c->decoder.layers, x);
}

void om_seq2seq_decode(om_scope root, const void *cfg, om_val ids, om_val enc_hidden,
                       om_val enc_mask, struct om_body *body)
{
    struct stack st = { .c = cfg, .enc_hidden = enc_hidden, .cross = true };

    if (om_valid(enc_mask))
        st.cross_mask = om_mask_padding(om_sub(base(root), "decoder"), enc_mask);
    decode(root, &st, ids, (om_val){ 0 }, body);
}

/* ---- one file for both ---- */

/* [B,1]: the last token of every text, padding left out. */
static om_val last_tokens(om_scope s, const struct om_seq2seq *c, om_val ids)
{
    const om_val is_pad = om_binary(s, OM_OP_Equal, ids, om_i64(s, c->pad));
    const om_val token = om_cast(s, om_unary(s, OM_OP_Not, is_pad), OM_I64);
    const om_val n = om_binary(s, OM_OP_ReduceSum, token, om_i64s(s, &(int64_t){ 1 }, 1));
    const struct om_attr axis = { .name = "axis", .kind = OM_ATTR_INT, .i = 1 };
    const om_val in[] = { ids, om_sub_(s, n, om_i64(s, 1)) };

    return om_emit(s, OM_OP_GatherElements, in, 2, &axis, 1);
}

/* What the decoder of a classifier reads: the text moved right by one token. */
static om_val shift_right(om_scope s, const struct om_seq2seq *c, om_val ids)
{
    const om_dim column[] = { om_axis(s, ids, 0), om_int(s, 1) };
    const om_val start = c->form->start_is_last ? last_tokens(s, c, ids)
                                                : om_expand(s, om_i64(s, c->start), column, 2);

    return om_concat(s, start, om_slice(s, ids, 1, 0, -1), 1);
}

void om_seq2seq_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct om_seq2seq *c = cfg;
    const om_val ids = om_input(root, "input_ids"), mask = om_input(root, "attention_mask");
    struct stack alone = { .c = c };

    if (head == OM_HEAD_CAUSAL_LM) {
        decode(root, &alone, ids, mask, body);
        return;
    }
    om_seq2seq_decode(root, c, shift_right(root, c, ids), om_seq2seq_encode(root, c, ids, mask),
                      mask, body);
}

/* ---- heads ---- */

static om_val vocabulary(om_scope root, const struct om_seq2seq *c, const struct om_body *body)
{
    const om_scope s = om_sub(root, "lm_head");
    const om_val weight = c->tied ? body->embeddings : om_weight_stored(s, "weight");

    return om_linear_with(s, body->hidden, weight, (om_val){ 0 });
}

void om_seq2seq_head_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    om_val logits = vocabulary(root, cfg, body);

    if (om_has_weight(root, "final_logits_bias"))
        logits = om_add(root, logits, om_weight(root, "final_logits_bias"));
    om_output(root, "logits", logits);
}

void om_seq2seq_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    om_output(root, "logits", vocabulary(root, cfg, body));
}

/* [B,1]: the place of the last end of text, 0 where there is none. */
static om_val last_eos(om_scope s, const struct om_seq2seq *c, om_val ids)
{
    const om_val is_eos = om_binary(s, OM_OP_Equal, ids, om_i64(s, c->eos));
    const om_val place = om_arange(s, om_int(s, 0), om_axis(s, ids, 1));

    return om_binary(s, OM_OP_ReduceMax, om_mul(s, om_cast(s, is_eos, OM_I64), place),
                     om_i64s(s, &(int64_t){ 1 }, 1));
}

/* BART's configuration has three labels where it names none; weights are right in any case. */
static void emit_classes(om_scope root, om_val logits)
{
    const struct om_json *doc = root.b->config->doc;

    if (om_json_get(doc, "id2label") || om_json_get(doc, "num_labels"))
        om_head_emit_labels(root, logits);
    else
        om_output(root, "logits", logits);
}

void om_seq2seq_head_sequence(om_scope root, const void *cfg, const struct om_body *body)
{
    static const struct om_attr batch = { .name = "batch_dims", .kind = OM_ATTR_INT, .i = 1 };
    const om_scope s = om_sub(root, "classification_head");
    const om_val at = last_eos(s, cfg, om_input(root, "input_ids"));
    om_val x = om_emit(s, OM_OP_GatherND, (const om_val[]){ body->hidden, at }, 2, &batch, 1);

    x = om_unary(s, OM_OP_Tanh, om_linear(om_sub(s, "dense"), x));
    emit_classes(root, om_linear(om_sub(s, "out_proj"), x));
}
