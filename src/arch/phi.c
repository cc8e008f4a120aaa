/* src/arch/phi.c: Phi, a decoder with partial rotary embeddings and parallel residuals (Gunasekar
 * et al., 2023). */
#include "arch/gpt.h"

struct phi {
    struct om_gpt gpt;
    bool qk_norm;
    struct om_rope_config rope;
};

static const struct om_field phi_fields[] = {
    OM_FIELD_SIZE(struct phi, gpt.layers, "num_hidden_layers", 24),
    OM_FIELD_SIZE(struct phi, gpt.hidden, "hidden_size", 2048),
    OM_FIELD_SIZE(struct phi, gpt.heads, "num_attention_heads", 32),
    OM_FIELD_SIZE(struct phi, gpt.kv_heads, "num_key_value_heads", 0),
    OM_FIELD_SIZE(struct phi, gpt.head_dim, "head_dim", 0),
    OM_FIELD_F64(struct phi, gpt.eps, "layer_norm_eps", 1e-5),
    OM_FIELD_ACT(struct phi, gpt.act, "hidden_act", OM_ACT_GELU_NEW),
    OM_FIELD_BOOL(struct phi, gpt.tied, "tie_word_embeddings", false),
    OM_FIELD_BOOL(struct phi, qk_norm, "qk_layernorm", false),
    OM_FIELD_END
};

static int phi_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                      struct om_error *err)
{
    struct om_rope_defaults rope = { .theta = 10000.0, .partial = 0.5, .max_position = 2048 };
    struct phi *c = cfg;

    OM_TRY(om_gpt_check(&c->gpt, "hidden_size", "num_attention_heads", err));
    rope.head_dim = c->gpt.head_dim;
    return om_rope_read(a, config->doc, &rope, &c->rope, err);
}

static void phi_kv(const void *cfg, struct om_kv *kv)
{
    const struct phi *c = cfg;

    om_gpt_kv(&c->gpt, kv);
}

struct layers {
    const struct phi *c;
    struct om_rope rope;
    om_val mask;
};

static om_val attention(om_scope s, const struct layers *l, int64_t i, om_val x)
{
    static const struct om_gpt_names names = {
        .q = "q_proj", .k = "k_proj", .v = "v_proj", .bias = true
    };
    const struct phi *c = l->c;
    struct om_attend at = { .mask = l->mask };

    om_gpt_project(s, &c->gpt, &names, x, &at);
    if (c->qk_norm) {
        at.q = om_layer_norm(om_sub(s, "q_layernorm"), at.q, c->gpt.eps);
        at.k = om_layer_norm(om_sub(s, "k_layernorm"), at.k, c->gpt.eps);
    }
    at.q = om_rope_apply(s, &l->rope, at.q);
    at.k = om_rope_apply(s, &l->rope, at.k);
    return om_linear(om_sub(s, "dense"), om_gpt_attend(s, i, &at));
}

static om_val layer(om_scope s, const struct layers *l, int64_t i, om_val x)
{
    const om_val h = om_layer_norm(om_sub(s, "input_layernorm"), x, l->c->gpt.eps);
    const om_val y = attention(om_sub(s, "self_attn"), l, i, h);

    return om_add(
        s, x,
        om_add(s, y, om_gpt_feed_forward(om_sub(s, "mlp"), "fc1", "fc2", l->c->gpt.act, true, h)));
}

static void phi_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct phi *c = cfg;
    const om_scope s = om_sub_optional(root, "model"); /* saved bare, a model has no prefix */
    const om_scope rotary = om_named(s, "rotary_emb");
    const om_val ids = om_input(s, "input_ids");
    const struct layers l = {
        .c = c,
        .rope = om_rope_tables(rotary, &c->rope, om_positions(rotary, ids)),
        .mask = om_decoder_mask(s, ids, 0),
    };
    om_val x = om_gpt_embed(om_sub(s, "embed_tokens"), ids, body);

    (void)head;
    for (int64_t i = 0; i < c->gpt.layers && om_ok(s); i++)
        x = layer(om_sub(s, "layers.%" PRId64, i), &l, i, x);
    body->hidden = om_layer_norm(om_sub(s, "final_layernorm"), x, c->gpt.eps);
}

static void phi_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct phi *c = cfg;

    om_gpt_head(root, "lm_head", c->gpt.tied, true, body);
}

const struct om_arch om_arch_phi = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct phi),
    .fields = phi_fields,
    .derive = phi_derive,
    .inputs = (const char *const[]){ "input_ids", "attention_mask", "position_ids",
                                     "past_key_values", NULL },
    .kv = phi_kv,
    .build = phi_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = phi_head_causal_lm,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
    },
};
