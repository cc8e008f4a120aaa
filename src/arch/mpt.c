/* src/arch/mpt.c: MPT, a decoder with linear attention biases and without any others (MosaicML,
 * 2023). */
#include "arch/gpt.h"

#include <math.h>

struct mpt {
    struct om_gpt gpt;
    double clip, scale;
};

/* The first releases came with code of their own. Of its switches Transformers reads those below
 * and ignores no_bias, expansion_ratio (the feed-forward block is as wide as its weights),
 * logit_scale, learned_pos_emb, norm_type and in attn_config alibi, alibi_bias_max, attn_type,
 * prefix_lm and qk_ln. */
static const struct om_field mpt_fields[] = {
    OM_GPT_SIZE(struct mpt, gpt.layers, "n_layers", "num_hidden_layers", 24),
    OM_GPT_SIZE(struct mpt, gpt.heads, "n_heads", "num_attention_heads", 16),
    OM_GPT_SIZE(struct mpt, gpt.hidden, "d_model", "hidden_size", 2048),
    OM_FIELD_F64(struct mpt, gpt.eps, "layer_norm_epsilon", 1e-5),
    OM_FIELD_BOOL(struct mpt, gpt.tied, "tie_word_embeddings", true),
    OM_FIELD_F64(struct mpt, clip, "attn_config.clip_qkv", 0.0),
    OM_FIELD_F64(struct mpt, scale, "attn_config.softmax_scale", NAN),
    OM_FIELD_END
};

static int mpt_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                      struct om_error *err)
{
    struct mpt *c = cfg;

    (void)a;
    (void)config;
    if (c->clip < 0.0)
        return om_fail(err, OM_E_CONFIG,
                       "key \"attn_config.clip_qkv\": expected a positive number, found %g",
                       c->clip);
    if (c->scale == 0.0)
        return om_fail(err, OM_E_UNSUPPORTED,
                       "key \"attn_config.softmax_scale\": 0 is not supported");
    if (isnan(c->scale))
        c->scale = 0.0; /* om_attend()'s own: 1/sqrt(head size) */
    return om_gpt_check(&c->gpt, "d_model", "n_heads", err);
}

static void mpt_kv(const void *cfg, struct om_kv *kv)
{
    const struct mpt *c = cfg;

    om_gpt_kv(&c->gpt, kv);
}

static om_val clipped(om_scope s, const struct mpt *c, om_val x)
{
    const om_val in[] = { x, om_like(s, x, -c->clip), om_like(s, x, c->clip) };

    return c->clip == 0.0 ? x : om_emit(s, OM_OP_Clip, in, 3, NULL, 0);
}

static om_val attention(om_scope s, const struct mpt *c, int64_t i, om_val x, om_val mask)
{
    const struct om_fused fused = {
        .groups = 1, .heads = c->gpt.heads, .kv_heads = c->gpt.heads, .head_dim = c->gpt.head_dim
    };
    struct om_attend at = { .mask = mask, .scale = c->scale };

    x = clipped(s, c, om_linear_nobias(om_sub(s, "Wqkv"), x));
    om_split_fused(s, &fused, x, &at);
    return om_linear_nobias(om_sub(s, "out_proj"), om_gpt_attend(s, i, &at));
}

static om_val layer(om_scope s, const struct mpt *c, int64_t i, om_val x, om_val mask)
{
    om_val h = om_layer_norm_nobias(om_sub(s, "norm_1"), x, c->gpt.eps);

    x = om_add(s, x, attention(om_sub(s, "attn"), c, i, h, mask));
    h = om_layer_norm_nobias(om_sub(s, "norm_2"), x, c->gpt.eps);
    return om_add(
        s, x, om_gpt_feed_forward(om_sub(s, "ffn"), "up_proj", "down_proj", OM_ACT_GELU, false, h));
}

/* Keys count backwards from the last one, whatever is padding: 1 - T .. 0. */
static om_val biased_mask(om_scope s, const struct mpt *c, om_val ids)
{
    const struct om_alibi alibi = { .heads = c->gpt.heads, .most = 8 };
    const om_dim query = om_axis(s, ids, 1), past = om_cache_past_length(s);
    om_dim key;
    om_val at;

    if (!query || !past)
        return (om_val){ 0 };
    key = om_dim_add(s.b->g->dims, past, query);
    at = om_arange(s, om_dim_sub(s.b->g->dims, om_int(s, 1), key), om_int(s, 1));
    return om_mask_bias(s, om_alibi(s, &alibi, om_unsqueeze(s, at, 0)), om_gpt_mask(s, ids));
}

static void mpt_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct mpt *c = cfg;
    const om_scope s = om_sub_optional(root, "transformer"); /* saved bare, a model has no prefix */
    const om_val ids = om_input(s, "input_ids");
    const om_val mask = biased_mask(s, c, ids);
    om_val x = om_gpt_embed(om_sub(s, "wte"), ids, body);

    (void)head;
    for (int64_t i = 0; i < c->gpt.layers && om_ok(s); i++)
        x = layer(om_sub(s, "blocks.%" PRId64, i), c, i, x, mask);
    body->hidden = om_layer_norm_nobias(om_sub(s, "norm_f"), x, c->gpt.eps);
}

static void mpt_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct mpt *c = cfg;

    om_gpt_head(root, "lm_head", c->gpt.tied, false, body);
}

const struct om_arch om_arch_mpt = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct mpt),
    .fields = mpt_fields,
    .derive = mpt_derive,
    .inputs = (const char *const[]){ "input_ids", "past_key_values", "attention_mask", NULL },
    .kv = mpt_kv,
    .build = mpt_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = mpt_head_causal_lm,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
        [OM_HEAD_TOKEN] = om_head_token,
    },
};
