/* src/arch/gpt2.c: GPT-2, a pre-norm decoder with learned positions (Radford et al., 2019). */
#include "arch/gpt.h"

struct gpt2 {
    struct om_gpt gpt;
};

/* scale_attn_weights, scale_attn_by_inverse_layer_idx and reorder_and_upcast_attn are read by
 * Transformers' eager attention alone: its default one (sdpa), which an export follows, divides
 * scores by sqrt(head_dim) whatever they say. n_inner is what the weights say. */
static const struct om_field gpt2_fields[] = {
    OM_GPT_FIELDS(struct gpt2, gpt, 12, 12, 768, OM_ACT_GELU_NEW, true),
    OM_FIELD_REFUSE("add_cross_attention", "false"), OM_FIELD_REFUSE("pruned_heads", "{}"),
    OM_FIELD_END
};

static int gpt2_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                       struct om_error *err)
{
    struct gpt2 *c = cfg;

    (void)a;
    (void)config;
    return om_gpt_check(&c->gpt, "n_embd", "n_head", err);
}

static void gpt2_kv(const void *cfg, struct om_kv *kv)
{
    const struct gpt2 *c = cfg;

    om_gpt_kv(&c->gpt, kv);
}

static om_val attention(om_scope s, const struct om_gpt *c, int64_t i, om_val x, om_val mask)
{
    const struct om_fused fused = {
        .groups = 1, .heads = c->heads, .kv_heads = c->heads, .head_dim = c->head_dim
    };
    struct om_attend at = { .mask = mask };

    om_split_fused(s, &fused, om_conv1d(om_sub(s, "c_attn"), x), &at);
    return om_conv1d(om_sub(s, "c_proj"), om_gpt_attend(s, i, &at));
}

static om_val feed_forward(om_scope s, const struct om_gpt *c, om_val x)
{
    x = om_activate(om_sub(s, "act"), c->act, om_conv1d(om_sub(s, "c_fc"), x));
    return om_conv1d(om_sub(s, "c_proj"), x);
}

static om_val layer(om_scope s, const struct om_gpt *c, int64_t i, om_val x, om_val mask)
{
    om_val h = om_layer_norm(om_sub(s, "ln_1"), x, c->eps);

    x = om_add(s, x, attention(om_sub(s, "attn"), c, i, h, mask));
    h = om_layer_norm(om_sub(s, "ln_2"), x, c->eps);
    return om_add(s, x, feed_forward(om_sub(s, "mlp"), c, h));
}

static void gpt2_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct gpt2 *gpt2 = cfg;
    const struct om_gpt *c = &gpt2->gpt;
    const om_scope s = om_sub_optional(root, "transformer"); /* the first files have no prefix */
    const om_val ids = om_input(s, "input_ids");
    const om_val mask = om_decoder_mask(s, ids, 0);
    om_val x = om_gpt_embed(om_sub(s, "wte"), ids, body);

    (void)head;
    x = om_add(s, x, om_embed(om_sub(s, "wpe"), om_positions(s, ids)));
    for (int64_t i = 0; i < c->layers && om_ok(s); i++)
        x = layer(om_sub(s, "h.%" PRId64, i), c, i, x, mask);
    body->hidden = om_layer_norm(om_sub(s, "ln_f"), x, c->eps);
}

static void gpt2_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct gpt2 *c = cfg;

    om_gpt_head(root, "lm_head", c->gpt.tied, false, body);
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
