/* src/arch/gpt_bigcode.c: GPTBigCode, GPT-2 with one key/value head (Ben Allal et al., 2023). */
#include "arch/gpt.h"

struct gpt_bigcode {
    struct om_gpt gpt;
    bool multi_query, scaled;
};

/* The switches of the softmax's dtype change 16-bit arithmetic in PyTorch alone; scores are
 * computed in float32 here. */
static const struct om_field gpt_bigcode_fields[] = {
    OM_GPT_FIELDS(struct gpt_bigcode, gpt, 12, 12, 768, OM_ACT_GELU_TANH, true),
    OM_FIELD_BOOL(struct gpt_bigcode, multi_query, "multi_query", true),
    OM_FIELD_BOOL(struct gpt_bigcode, scaled, "scale_attn_weights", true),
    OM_FIELD_REFUSE("add_cross_attention", "false"), OM_FIELD_END
};

static int gpt_bigcode_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                              struct om_error *err)
{
    struct gpt_bigcode *c = cfg;

    (void)a;
    (void)config;
    c->gpt.kv_heads = c->multi_query ? 1 : c->gpt.heads;
    return om_gpt_check(&c->gpt, "n_embd", "n_head", err);
}

static void gpt_bigcode_kv(const void *cfg, struct om_kv *kv)
{
    const struct gpt_bigcode *c = cfg;

    om_gpt_kv(&c->gpt, kv);
}

static om_val attention(om_scope s, const struct gpt_bigcode *c, int64_t i, om_val x, om_val mask)
{
    const struct om_fused fused = { .groups = c->gpt.kv_heads,
                                    .heads = c->gpt.heads,
                                    .kv_heads = c->gpt.kv_heads,
                                    .head_dim = c->gpt.head_dim };
    struct om_attend at = { .mask = mask, .scale = c->scaled ? 0.0 : 1.0 };

    om_split_fused(s, &fused, om_linear(om_sub(s, "c_attn"), x), &at);
    return om_linear(om_sub(s, "c_proj"), om_gpt_attend(s, i, &at));
}

static om_val layer(om_scope s, const struct gpt_bigcode *c, int64_t i, om_val x, om_val mask)
{
    om_val h = om_layer_norm(om_sub(s, "ln_1"), x, c->gpt.eps);

    x = om_add(s, x, attention(om_sub(s, "attn"), c, i, h, mask));
    h = om_layer_norm(om_sub(s, "ln_2"), x, c->gpt.eps);
    return om_add(s, x,
                  om_gpt_feed_forward(om_sub(s, "mlp"), "c_fc", "c_proj", c->gpt.act, true, h));
}

static void gpt_bigcode_build(om_scope root, const void *cfg, enum om_head head,
                              struct om_body *body)
{
    const struct gpt_bigcode *c = cfg;
    const om_scope s = om_sub_optional(root, "transformer"); /* saved bare, a model has no prefix */
    const om_val ids = om_input(s, "input_ids");
    const om_val mask = om_decoder_mask(s, ids, 0);
    om_val x = om_gpt_embed(om_sub(s, "wte"), ids, body);

    (void)head;
    x = om_add(s, x, om_embed(om_sub(s, "wpe"), om_positions(s, ids)));
    for (int64_t i = 0; i < c->gpt.layers && om_ok(s); i++)
        x = layer(om_sub(s, "h.%" PRId64, i), c, i, x, mask);
    body->hidden = om_layer_norm(om_sub(s, "ln_f"), x, c->gpt.eps);
}

static void gpt_bigcode_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct gpt_bigcode *c = cfg;

    om_gpt_head(root, "lm_head", c->gpt.tied, false, body);
}

const struct om_arch om_arch_gpt_bigcode = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct gpt_bigcode),
    .fields = gpt_bigcode_fields,
    .derive = gpt_bigcode_derive,
    .inputs = (const char *const[]){ "input_ids", "past_key_values", "attention_mask",
                                     "position_ids", NULL },
    .kv = gpt_bigcode_kv,
    .build = gpt_bigcode_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = gpt_bigcode_head_causal_lm,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
        [OM_HEAD_TOKEN] = om_head_token,
    },
};
