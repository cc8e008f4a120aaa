/* src/arch/decoder.c: the layers that Llama and its relatives share. */
#include "arch/decoder.h"

#include <math.h>

const char *const om_decoder_inputs[] = { "input_ids", "attention_mask", "position_ids",
                                          "past_key_values", NULL };
const char *const om_decoder_inputs_np[] = { "input_ids", "attention_mask", "past_key_values",
                                             NULL };

/* ---- the configuration ---- */

static int check_heads(struct om_decoder *c, struct om_error *err)
{
    if (c->kv_heads == 0)
        c->kv_heads = c->heads;
    if (c->head_dim == 0)
        c->head_dim = c->hidden / c->heads;
    if (c->head_dim == 0)
        return om_fail(err, OM_E_CONFIG,
                       "hidden_size %" PRId64 " is too small for num_attention_heads %" PRId64,
                       c->hidden, c->heads);
    if (c->heads % c->kv_heads != 0)
        return om_fail(err, OM_E_CONFIG,
                       "num_attention_heads %" PRId64
                       " is not a multiple of num_key_value_heads %" PRId64,
                       c->heads, c->kv_heads);
    return 0;
}

int om_decoder_derive(struct om_arena *a, struct om_decoder *c, const struct om_decoder_kind *kind,
                      const struct om_json *doc, struct om_error *err)
{
    struct om_rope_defaults rope = kind->rope;

    c->kind = kind;
    if (c->qk_norm == OM_DECODER_QK_NONE)
        c->qk_norm = kind->qk_norm;
    OM_TRY(check_heads(c, err));
    rope.head_dim = c->head_dim;
    if (rope.partial == 0.0)
        rope.partial = 1.0;
    OM_TRY(om_rope_read(a, doc, &rope, &c->rope, err));
    if (!kind->partial && c->rope.partial != 1.0)
        return om_fail(err, OM_E_UNSUPPORTED,
                       "key \"partial_rotary_factor\": value %g is not supported (only 1.0 is)",
                       c->rope.partial);
    return 0;
}

static int read_layer_type(const struct om_json *v, int64_t layer, bool *slides,
                           struct om_error *err)
{
    om_sv name = OM_SVL("");

    if (!om_json_str(v, &name))
        return om_fail(err, OM_E_CONFIG, "key \"layer_types\": entry %" PRId64 " is no string",
                       layer);
    *slides = om_sv_is(name, "sliding_attention");
    if (*slides || om_sv_is(name, "full_attention"))
        return 0;
    return om_fail(err, OM_E_UNSUPPORTED,
                   "key \"layer_types\": \"%.*s\" is not supported (only full_attention and "
                   "sliding_attention are)",
                   (int)OM_MIN(name.len, 64), name.ptr);
}

int om_decoder_layer_types(struct om_arena *a, struct om_decoder *c, const struct om_json *doc,
                           bool (*by_default)(const void *user, int64_t layer), const void *user,
                           struct om_error *err)
{
    const struct om_json *list = om_json_get(doc, "layer_types");
    const bool given = om_json_kind(list) != OM_JSON_NULL;
    bool *slides;

    if (given && (om_json_kind(list) != OM_JSON_ARRAY || om_json_len(list) != (size_t)c->layers))
        return om_fail(err, OM_E_CONFIG,
                       "key \"layer_types\": expected a list of num_hidden_layers %" PRId64
                       " strings, found %s of %zu",
                       c->layers, om_json_kind_text(list), om_json_len(list));
    slides = om_arena_array(a, (size_t)c->layers, sizeof(*slides));
    if (!slides)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < c->layers; i++) {
        slides[i] = !given && by_default(user, i);
        if (given)
            OM_TRY(read_layer_type(om_json_at(list, (size_t)i), i, &slides[i], err));
        if (slides[i] && c->window == 0)
            return om_fail(err, OM_E_CONFIG,
                           "key \"sliding_window\": expected a number, as layer %" PRId64
                           " is of type sliding_attention",
                           i);
    }
    c->slides = slides;
    return 0;
}

int om_decoder_query_scale(struct om_decoder *c, struct om_error *err)
{
    if (c->scale <= 0.0)
        return om_fail(err, OM_E_CONFIG,
                       "key \"query_pre_attn_scalar\": expected a positive number, found %g",
                       c->scale);
    c->scale = 1.0 / sqrt(c->scale);
    return 0;
}

void om_decoder_kv(const void *cfg, struct om_kv *kv)
{
    const struct om_decoder *c = cfg;

    *kv = (struct om_kv){ .layers = c->layers, .heads = c->kv_heads, .head_dim = c->head_dim };
}

/* ---- a layer ---- */

static om_val linear(om_scope s, om_val x, bool bias)
{
    return bias ? om_linear(s, x) : om_linear_nobias(s, x);
}

static om_val norm(om_scope s, const struct om_decoder *c, om_val x)
{
    switch (c->kind->norm) {
    case OM_DECODER_RMS:
        return om_rms_norm(s, x, c->eps);
    case OM_DECODER_RMS_1P:
        return om_rms_norm_1p(s, x, c->eps);
    case OM_DECODER_LAYER_1P:
        return om_layer_norm_1p(s, x, c->eps);
    case OM_DECODER_LAYER_NOBIAS:
        return om_layer_norm_nobias(s, x, c->eps);
    case OM_DECODER_LAYER_PLAIN:
        break;
    }
    return om_layer_norm_plain(s, x, c->eps);
}

/* What all layers use. */
struct layers {
    const struct om_decoder *c;
    struct om_rope rope, local_rope;
    om_val mask, local_mask;
};

static bool slides(const struct om_decoder *c, int64_t layer)
{
    return c->window != 0 && (!c->slides || c->slides[layer]);
}

/* Queries, keys and values, [B, S, heads * head_dim] each. */
static void project(om_scope s, const struct om_decoder *c, om_val x, om_val out[3])
{
    static const char *const names[] = { "q_proj", "k_proj", "v_proj" };
    const int64_t kv = c->kv_heads * c->head_dim;
    const int64_t sizes[] = { c->heads * c->head_dim, kv, kv };

    if (c->kind->fused_qkv)
        om_split(s, linear(om_sub(s, "qkv_proj"), x, c->attention_bias), -1, sizes, 3, out);
    for (int i = 0; i < 3; i++) {
        if (!c->kind->fused_qkv)
            out[i] = linear(om_sub(s, "%s", names[i]), x, c->attention_bias);
        if (c->clip != 0.0)
            out[i] = om_emit(s, OM_OP_Clip,
                             (const om_val[]){ out[i], om_f32(s, -c->clip), om_f32(s, c->clip) }, 3,
                             NULL, 0);
    }
}

/* which: "q" or "k". */
static om_val heads(om_scope s, const char *which, const struct om_decoder *c, om_val x, int64_t n)
{
    const om_scope ns = om_sub(s, "%s_norm", which);

    if (c->qk_norm == OM_DECODER_QK_WHOLE)
        x = norm(ns, c, x);
    x = om_split_heads(om_sub(s, "%s_proj", which), x, n, c->head_dim);
    if (c->qk_norm == OM_DECODER_QK_HEAD)
        x = norm(ns, c, x);
    if (c->qk_norm == OM_DECODER_QK_HEADS)
        x = om_mul(ns, om_layer_norm_plain(ns, x, c->eps),
                   om_unsqueeze(ns, om_weight(ns, "weight"), 1));
    return x;
}

static om_val attention(om_scope s, const struct layers *l, int64_t i, om_val x)
{
    const struct om_decoder *c = l->c;
    const bool local = slides(c, i);
    const struct om_rope *rope = local && c->local_rope.type ? &l->local_rope : &l->rope;
    struct om_attend at = { .mask = local ? l->local_mask : l->mask, .scale = c->scale };
    om_val part[3];

    project(s, c, x, part);
    at.q = heads(s, "q", c, part[0], c->heads);
    at.k = heads(s, "k", c, part[1], c->kv_heads);
    at.v = om_split_heads(om_sub(s, "v_proj"), part[2], c->kv_heads, c->head_dim);
    if (!c->rotates || c->rotates[i]) {
        at.q = om_rope_apply(s, rope, at.q);
        at.k = om_rope_apply(s, rope, at.k);
    }
    om_cache_extend_window(s, i, local ? c->window : 0, &at.k, &at.v);
    x = om_merge_heads(s, om_attend(s, &at));
    return linear(om_sub(s, "o_proj"), x, c->attention_bias && !c->kind->out_unbiased);
}

/* The gate through the activation times the rest. */
static om_val gated(om_scope s, const struct om_decoder *c, om_val x)
{
    om_val part[2];

    if (c->kind->mlp == OM_DECODER_FUSED) {
        const om_val both = linear(om_sub(s, "gate_up_proj"), x, c->mlp_bias);
        const om_dim width = om_axis(s, both, -1);
        int64_t n = 0;

        if (width)
            om_dim_is_const(s.b->g->dims, width, &n);
        om_split(s, both, -1, (const int64_t[]){ n / 2, n - n / 2 }, 2, part);
    } else {
        part[0] = linear(om_sub(s, "gate_proj"), x, c->mlp_bias);
        part[1] = linear(om_sub(s, "up_proj"), x, c->mlp_bias);
    }
    return om_mul(s, om_activate(om_sub(s, "act_fn"), c->act, part[0]), part[1]);
}

static om_val feed_forward(om_scope s, const struct om_decoder *c, om_val x)
{
    if (c->kind->mlp == OM_DECODER_PLAIN)
        x = om_activate(om_sub(s, "act_fn"), c->act, linear(om_sub(s, "up_proj"), x, c->mlp_bias));
    else
        x = gated(s, c, x);
    return linear(om_sub(s, "down_proj"), x, c->mlp_bias);
}

/* How the norms of a layer are called, NULL: there is none. */
struct norm_names {
    const char *before_attention, *after_attention, *before_mlp, *after_mlp;
};

static const struct norm_names norm_names[OM_DECODER_ORDER_COUNT] = {
    [OM_DECODER_PRE] = { .before_attention = "input_layernorm",
                         .before_mlp = "post_attention_layernorm" },
    [OM_DECODER_POST] = { .after_attention = "post_attention_layernorm",
                          .after_mlp = "post_feedforward_layernorm" },
    [OM_DECODER_AROUND] = { "input_layernorm", "post_attention_layernorm",
                            "pre_feedforward_layernorm", "post_feedforward_layernorm" },
    [OM_DECODER_PARALLEL] = { .before_attention = "input_layernorm" },
};

static om_val norm_if(om_scope s, const struct om_decoder *c, const char *name, om_val x)
{
    return name ? norm(om_sub(s, "%s", name), c, x) : x;
}

static om_val add_scaled(om_scope s, const struct om_decoder *c, om_val x, om_val h)
{
    return om_add(s, x, c->residual_scale != 0.0 ? om_scale(s, h, c->residual_scale) : h);
}

static om_val layer(om_scope s, const struct layers *l, int64_t i, om_val x)
{
    const struct om_decoder *c = l->c;
    const struct norm_names *n = &norm_names[c->kind->order];
    const om_val first = norm_if(s, c, n->before_attention, x);
    om_val h = attention(om_sub(s, "self_attn"), l, i, first);

    x = add_scaled(s, c, x, norm_if(s, c, n->after_attention, h));
    h = c->kind->order == OM_DECODER_PARALLEL ? first : norm_if(s, c, n->before_mlp, x);
    h = feed_forward(om_sub(s, "mlp"), c, h);
    return add_scaled(s, c, x, norm_if(s, c, n->after_mlp, h));
}

/* ---- all of them ---- */

static om_val causal_mask(om_scope s, om_val ids, int64_t window, bool both_ways)
{
    const om_dim query = om_axis(s, ids, 1), past = om_cache_past_length(s);
    struct om_causal causal = { .query = query, .window = window, .both_ways = both_ways };

    if (!query || !past)
        return (om_val){ 0 };
    causal.key = om_dim_add(s.b->g->dims, past, query);
    if (om_has_input(s, "attention_mask"))
        causal.attention_mask = om_input(s, "attention_mask");
    return om_mask_causal(s, &causal);
}

om_val om_decoder_mask(om_scope s, om_val ids, int64_t window)
{
    return causal_mask(s, ids, window, false);
}

static struct om_rope rope_tables(om_scope s, const struct om_decoder *c,
                                  const struct om_rope_config *config, om_val positions)
{
    struct om_rope rope = om_rope_tables(s, config, positions);

    rope.interleaved = c->kind->interleaved;
    return rope;
}

/* Masks and tables that no layer uses do not reach the file. */
static om_val all_layers(om_scope s, const struct om_decoder *c, om_val ids, om_val x)
{
    const om_scope rotary = om_named(s, "rotary_emb");
    const om_val positions = om_positions(rotary, ids);
    struct layers l = { .c = c, .rope = rope_tables(rotary, c, &c->rope, positions) };

    if (c->local_rope.type)
        l.local_rope = rope_tables(om_named(s, "rotary_emb_local"), c, &c->local_rope, positions);
    l.mask = causal_mask(s, ids, 0, c->both_ways);
    if (c->window)
        l.local_mask = causal_mask(s, ids, c->window, c->both_ways);
    for (int64_t i = 0; i < c->layers && om_ok(s); i++)
        x = layer(om_sub(s, "layers.%" PRId64, i), &l, i, x);
    return x;
}

void om_decoder_body(om_scope s, const struct om_decoder *c, om_val ids, struct om_body *body)
{
    const om_scope words = om_sub(s, "embed_tokens");
    om_val x;

    body->embeddings = om_weight_stored(words, "weight");
    x = om_embed_with(words, body->embeddings, ids);
    if (c->embedding_scale != 0.0)
        x = om_scale(words, x, c->embedding_scale);
    x = all_layers(s, c, ids, x);
    body->hidden = norm(om_sub(s, "norm"), c, x);
}

void om_decoder_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    (void)head;
    om_decoder_body(om_sub_optional(root, "model"), cfg, om_input(root, "input_ids"), body);
}

/* ---- the head ---- */

om_val om_decoder_vocabulary(om_scope root, bool tied, const struct om_body *body)
{
    const om_scope s = om_sub(root, "lm_head");
    const om_val weight = tied ? body->embeddings : om_weight_stored(s, "weight");

    return om_linear_with(s, body->hidden, weight, (om_val){ 0 });
}

void om_decoder_head(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct om_decoder *c = cfg;
    const om_scope s = om_named(root, "lm_head");
    om_val x = om_decoder_vocabulary(root, c->tied, body);

    if (c->logit_scale != 0.0)
        x = om_scale(s, x, c->logit_scale);
    om_output(root, "logits", om_softcap(s, x, c->logit_cap));
}
