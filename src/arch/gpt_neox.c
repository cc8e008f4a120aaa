/* src/arch/gpt_neox.c: GPT-NeoX, a decoder with partial rotary embeddings and parallel residuals
 * (Black et al., 2022). */
#include "arch/gpt.h"

struct gpt_neox {
    struct om_gpt gpt;
    bool bias, parallel;
    struct om_rope_config rope;
};

static const struct om_field gpt_neox_fields[] = {
    OM_FIELD_SIZE(struct gpt_neox, gpt.layers, "num_hidden_layers", 44),
    OM_FIELD_SIZE(struct gpt_neox, gpt.hidden, "hidden_size", 6144),
    OM_FIELD_SIZE(struct gpt_neox, gpt.heads, "num_attention_heads", 64),
    OM_FIELD_F64(struct gpt_neox, gpt.eps, "layer_norm_eps", 1e-5),
    OM_FIELD_ACT(struct gpt_neox, gpt.act, "hidden_act", OM_ACT_GELU),
    OM_FIELD_BOOL(struct gpt_neox, gpt.tied, "tie_word_embeddings", false),
    OM_FIELD_BOOL(struct gpt_neox, bias, "attention_bias", true),
    OM_FIELD_BOOL(struct gpt_neox, parallel, "use_parallel_residual", true),
    OM_FIELD_END
};

static int gpt_neox_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                           struct om_error *err)
{
    /* rope_theta and partial_rotary_factor, which newer files repeat, are not read. */
    struct om_rope_defaults rope = { .theta = 10000.0,
                                     .partial = 0.25,
                                     .max_position = 2048,
                                     .theta_key = "rotary_emb_base",
                                     .partial_key = "rotary_pct",
                                     .odd_dims = true };
    struct gpt_neox *c = cfg;

    OM_TRY(om_gpt_check(&c->gpt, "hidden_size", "num_attention_heads", err));
    rope.head_dim = c->gpt.head_dim;
    return om_rope_read(a, config->doc, &rope, &c->rope, err);
}

static void gpt_neox_kv(const void *cfg, struct om_kv *kv)
{
    const struct gpt_neox *c = cfg;

    om_gpt_kv(&c->gpt, kv);
}

struct layers {
    const struct gpt_neox *c;
    struct om_rope rope;
    om_val mask;
};

static om_val attention(om_scope s, const struct layers *l, int64_t i, om_val x)
{
    const struct om_gpt *c = &l->c->gpt;
    const struct om_fused fused = {
        .groups = c->heads, .heads = c->heads, .kv_heads = c->heads, .head_dim = c->head_dim
    };
    struct om_attend at = { .mask = l->mask };

    om_split_fused(s, &fused, om_gpt_linear(om_sub(s, "query_key_value"), x, l->c->bias), &at);
    at.q = om_rope_apply(s, &l->rope, at.q);
    at.k = om_rope_apply(s, &l->rope, at.k);
    return om_gpt_linear(om_sub(s, "dense"), om_gpt_attend(s, i, &at), l->c->bias);
}

static om_val layer(om_scope s, const struct layers *l, int64_t i, om_val x)
{
    const struct om_gpt *c = &l->c->gpt;
    const om_val seen = om_layer_norm(om_sub(s, "input_layernorm"), x, c->eps);
    const om_val y = om_add(s, x, attention(om_sub(s, "attention"), l, i, seen));
    const om_val h =
        om_layer_norm(om_sub(s, "post_attention_layernorm"), l->c->parallel ? x : y, c->eps);

    return om_add(
        s, y,
        om_gpt_feed_forward(om_sub(s, "mlp"), "dense_h_to_4h", "dense_4h_to_h", c->act, true, h));
}

static void gpt_neox_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct gpt_neox *c = cfg;
    const om_scope s = om_sub_optional(root, "gpt_neox"); /* saved bare, a model has no prefix */
    const om_scope rotary = om_named(s, "rotary_emb");
    const om_val ids = om_input(s, "input_ids");
    const struct layers l = {
        .c = c,
        .rope = om_rope_tables(rotary, &c->rope, om_positions(rotary, ids)),
        .mask = om_decoder_mask(s, ids, 0),
    };
    om_val x = om_gpt_embed(om_sub(s, "embed_in"), ids, body);

    (void)head;
    for (int64_t i = 0; i < c->gpt.layers && om_ok(s); i++)
        x = layer(om_sub(s, "layers.%" PRId64, i), &l, i, x);
    body->hidden = om_layer_norm(om_sub(s, "final_layer_norm"), x, c->gpt.eps);
}

static void gpt_neox_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct gpt_neox *c = cfg;

    om_gpt_head(root, "embed_out", c->gpt.tied, false, body);
}

const struct om_arch om_arch_gpt_neox = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct gpt_neox),
    .fields = gpt_neox_fields,
    .derive = gpt_neox_derive,
    .inputs = (const char *const[]){ "input_ids", "attention_mask", "position_ids",
                                     "past_key_values", NULL },
    .kv = gpt_neox_kv,
    .build = gpt_neox_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = gpt_neox_head_causal_lm,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
    },
};
