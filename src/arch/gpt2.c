/* src/arch/gpt2.c: GPT-2, a pre-norm decoder with learned positions (Radford et al., 2019). */
#include "arch/decoder.h"

struct gpt2 {
    int64_t layers, heads, hidden;
    double eps;
    enum om_act act;
    bool tied;
};

/* scale_attn_weights, scale_attn_by_inverse_layer_idx and reorder_and_upcast_attn are read by
 * Transformers' eager attention alone: its default one (sdpa), which an export follows, divides
 * scores by sqrt(head_dim) whatever they say. n_inner is what the weights say. */
static const struct om_field gpt2_fields[] = {
    { .kind = OM_FIELD_KIND_INT,
      .key = "n_layer",
      .alias = "num_hidden_layers",
      .offset = offsetof(struct gpt2, layers),
      .i = 12,
      .min = 1,
      .max = INT32_MAX },
    { .kind = OM_FIELD_KIND_INT,
      .key = "n_head",
      .alias = "num_attention_heads",
      .offset = offsetof(struct gpt2, heads),
      .i = 12,
      .min = 1,
      .max = INT32_MAX },
    { .kind = OM_FIELD_KIND_INT,
      .key = "n_embd",
      .alias = "hidden_size",
      .offset = offsetof(struct gpt2, hidden),
      .i = 768,
      .min = 1,
      .max = INT32_MAX },
    OM_FIELD_F64(struct gpt2, eps, "layer_norm_epsilon", 1e-5),
    OM_FIELD_ACT(struct gpt2, act, "activation_function", OM_ACT_GELU_NEW),
    OM_FIELD_BOOL(struct gpt2, tied, "tie_word_embeddings", true),
    OM_FIELD_REFUSE("add_cross_attention", "false"),
    OM_FIELD_REFUSE("pruned_heads", "{}"),
    OM_FIELD_END
};

static int gpt2_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                       struct om_error *err)
{
    const struct gpt2 *c = cfg;

    (void)a;
    (void)config;
    if (c->hidden % c->heads != 0)
        return om_fail(err, OM_E_CONFIG, "n_embd %" PRId64 " is not a multiple of n_head %" PRId64,
                       c->hidden, c->heads);
    return 0;
}

static void gpt2_kv(const void *cfg, struct om_kv *kv)
{
    const struct gpt2 *c = cfg;

    *kv =
        (struct om_kv){ .layers = c->layers, .heads = c->heads, .head_dim = c->hidden / c->heads };
}

static om_val attention(om_scope s, const struct gpt2 *c, int64_t layer, om_val x, om_val mask)
{
    const int64_t sizes[] = { c->hidden, c->hidden, c->hidden };
    const int64_t head_dim = c->hidden / c->heads;
    struct om_attend at = { .mask = mask };
    om_val part[3];

    om_split(s, om_conv1d(om_sub(s, "c_attn"), x), -1, sizes, 3, part);
    at.q = om_split_heads(s, part[0], c->heads, head_dim);
    at.k = om_split_heads(s, part[1], c->heads, head_dim);
    at.v = om_split_heads(s, part[2], c->heads, head_dim);
    om_cache_extend(s, layer, &at.k, &at.v);
    return om_conv1d(om_sub(s, "c_proj"), om_merge_heads(s, om_attend(s, &at)));
}

static om_val feed_forward(om_scope s, const struct gpt2 *c, om_val x)
{
    x = om_activate(om_sub(s, "act"), c->act, om_conv1d(om_sub(s, "c_fc"), x));
    return om_conv1d(om_sub(s, "c_proj"), x);
}

static om_val layer(om_scope s, const struct gpt2 *c, int64_t i, om_val x, om_val mask)
{
    om_val h = om_layer_norm(om_sub(s, "ln_1"), x, c->eps);

    x = om_add(s, x, attention(om_sub(s, "attn"), c, i, h, mask));
    h = om_layer_norm(om_sub(s, "ln_2"), x, c->eps);
    return om_add(s, x, feed_forward(om_sub(s, "mlp"), c, h));
}

static void gpt2_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct gpt2 *c = cfg;
    const om_scope s = om_sub_optional(root, "transformer"); /* the first files have no prefix */
    const om_val ids = om_input(s, "input_ids");
    const om_val mask = om_decoder_mask(s, ids, 0);
    om_val x;

    (void)head;
    body->embeddings = om_weight_stored(om_sub(s, "wte"), "weight");
    x = om_embed_with(om_sub(s, "wte"), body->embeddings, ids);
    x = om_add(s, x, om_embed(om_sub(s, "wpe"), om_positions(s, ids)));
    for (int64_t i = 0; i < c->layers && om_ok(s); i++)
        x = layer(om_sub(s, "h.%" PRId64, i), c, i, x, mask);
    body->hidden = om_layer_norm(om_sub(s, "ln_f"), x, c->eps);
}

static void gpt2_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct gpt2 *c = cfg;

    om_output(root, "logits", om_decoder_vocabulary(root, c->tied, body));
}

const struct om_arch om_arch_gpt2 = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct gpt2),
    .fields = gpt2_fields,
    .derive = gpt2_derive,
    .inputs = (const char *const[]){ "input_ids", "past_key_values", "attention_mask",
                                     "position_ids", NULL },
    .kv = gpt2_kv,
    .build = gpt2_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = gpt2_head_causal_lm,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
        [OM_HEAD_TOKEN] = om_head_token,
    },
};
