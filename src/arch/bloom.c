/* src/arch/bloom.c: BLOOM, a decoder with linear attention biases (BigScience Workshop, 2022). */
#include "arch/gpt.h"

struct bloom {
    struct om_gpt gpt;
    bool residual_after_norm;
    int64_t tensor_parallel;
    bool slow_but_exact;
};

static const struct om_field bloom_fields[] = {
    OM_GPT_SIZE(struct bloom, gpt.layers, "n_layer", "num_hidden_layers", 2),
    OM_GPT_SIZE(struct bloom, gpt.heads, "n_head", "num_attention_heads", 8),
    OM_GPT_SIZE(struct bloom, gpt.hidden, "hidden_size", "n_embed", 64),
    OM_FIELD_F64(struct bloom, gpt.eps, "layer_norm_epsilon", 1e-5),
    OM_FIELD_BOOL(struct bloom, gpt.tied, "tie_word_embeddings", true),
    OM_FIELD_BOOL(struct bloom, residual_after_norm, "apply_residual_connection_post_layernorm",
                  false),
    OM_FIELD_INT(struct bloom, tensor_parallel, "pretraining_tp", 1),
    OM_FIELD_BOOL(struct bloom, slow_but_exact, "slow_but_exact", false),
    OM_FIELD_END
};

static int bloom_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                        struct om_error *err)
{
    struct bloom *c = cfg;

    (void)a;
    (void)config;
    return om_gpt_check(&c->gpt, "hidden_size", "n_head", err);
}

static void bloom_kv(const void *cfg, struct om_kv *kv)
{
    const struct bloom *c = cfg;

    om_gpt_kv(&c->gpt, kv);
}

/* Summed slice by slice, as it was trained, an output layer has no bias in PyTorch. */
static bool output_bias(const struct bloom *c)
{
    return !(c->slow_but_exact && c->tensor_parallel > 1);
}

static om_val attention(om_scope s, const struct bloom *c, int64_t i, om_val x, om_val mask)
{
    const struct om_fused fused = { .groups = c->gpt.heads,
                                    .heads = c->gpt.heads,
                                    .kv_heads = c->gpt.heads,
                                    .head_dim = c->gpt.head_dim };
    struct om_attend at = { .mask = mask };

    om_split_fused(s, &fused, om_linear(om_sub(s, "query_key_value"), x), &at);
    return om_gpt_linear(om_sub(s, "dense"), om_gpt_attend(s, i, &at), output_bias(c));
}

static om_val feed_forward(om_scope s, const struct bloom *c, om_val x)
{
    x = om_linear(om_sub(s, "dense_h_to_4h"), x);
    x = om_activate(om_sub(s, "gelu_impl"), OM_ACT_GELU_FAST, x);
    return om_gpt_linear(om_sub(s, "dense_4h_to_h"), x, output_bias(c));
}

static om_val layer(om_scope s, const struct bloom *c, int64_t i, om_val x, om_val mask)
{
    om_val h = om_layer_norm(om_sub(s, "input_layernorm"), x, c->gpt.eps);

    x = om_add(s, c->residual_after_norm ? h : x,
               attention(om_sub(s, "self_attention"), c, i, h, mask));
    h = om_layer_norm(om_sub(s, "post_attention_layernorm"), x, c->gpt.eps);
    return om_add(s, c->residual_after_norm ? h : x, feed_forward(om_sub(s, "mlp"), c, h));
}

/* Positions count tokens and are 0 for padding, which the mask hides anyway. */
static om_val biased_mask(om_scope s, const struct bloom *c, om_val ids)
{
    const struct om_alibi alibi = { .heads = c->gpt.heads, .most = 8 };
    const om_val mask = om_input(s, "attention_mask");
    const om_val before = om_sub_(s, om_count_tokens(s, mask), om_i64(s, 1));

    return om_mask_bias(s, om_alibi(s, &alibi, om_mul(s, before, mask)), om_gpt_mask(s, ids));
}

static void bloom_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct bloom *c = cfg;
    const om_scope s = om_sub_optional(root, "transformer"); /* saved bare, a model has no prefix */
    const om_val ids = om_input(s, "input_ids");
    const om_val mask = biased_mask(s, c, ids);
    om_val x = om_gpt_embed(om_sub(s, "word_embeddings"), ids, body);

    (void)head;
    x = om_layer_norm(om_sub(s, "word_embeddings_layernorm"), x, c->gpt.eps);
    for (int64_t i = 0; i < c->gpt.layers && om_ok(s); i++)
        x = layer(om_sub(s, "h.%" PRId64, i), c, i, x, mask);
    body->hidden = om_layer_norm(om_sub(s, "ln_f"), x, c->gpt.eps);
}

static void bloom_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct bloom *c = cfg;

    om_gpt_head(root, "lm_head", c->gpt.tied, false, body);
}

const struct om_arch om_arch_bloom = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct bloom),
    .fields = bloom_fields,
    .derive = bloom_derive,
    .inputs = (const char *const[]){ "input_ids", "past_key_values", "attention_mask", NULL },
    .kv = bloom_kv,
    .build = bloom_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = bloom_head_causal_lm,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
        [OM_HEAD_TOKEN] = om_head_token,
    },
};
