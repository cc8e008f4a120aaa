/* src/arch/stablelm.c: StableLM, Llama with LayerNorm and partial rotary embeddings (Bellagente et
 * al., 2024). */
#include "arch/gpt.h"

struct stablelm {
    struct om_gpt gpt;
    bool qkv_bias, qk_norm, parallel;
    struct om_rope_config rope;
};

static const struct om_field stablelm_fields[] = {
    OM_FIELD_SIZE(struct stablelm, gpt.layers, "num_hidden_layers", 32),
    OM_FIELD_SIZE(struct stablelm, gpt.hidden, "hidden_size", 2560),
    OM_FIELD_SIZE(struct stablelm, gpt.heads, "num_attention_heads", 32),
    OM_FIELD_SIZE(struct stablelm, gpt.kv_heads, "num_key_value_heads", 32),
    OM_FIELD_F64(struct stablelm, gpt.eps, "layer_norm_eps", 1e-5),
    OM_FIELD_ACT(struct stablelm, gpt.act, "hidden_act", OM_ACT_SILU),
    OM_FIELD_BOOL(struct stablelm, gpt.tied, "tie_word_embeddings", false),
    OM_FIELD_BOOL(struct stablelm, qkv_bias, "use_qkv_bias", false),
    OM_FIELD_BOOL(struct stablelm, qk_norm, "qk_layernorm", false),
    OM_FIELD_BOOL(struct stablelm, parallel, "use_parallel_residual", false),
    OM_FIELD_END
};

static int stablelm_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                           struct om_error *err)
{
    struct om_rope_defaults rope = { .theta = 10000.0, .partial = 0.25, .max_position = 4096 };
    struct stablelm *c = cfg;

    OM_TRY(om_gpt_check(&c->gpt, "hidden_size", "num_attention_heads", err));
    rope.head_dim = c->gpt.head_dim;
    return om_rope_read(a, config->doc, &rope, &c->rope, err);
}

static void stablelm_kv(const void *cfg, struct om_kv *kv)
{
    const struct stablelm *c = cfg;

    om_gpt_kv(&c->gpt, kv);
}

struct layers {
    const struct stablelm *c;
    struct om_rope rope;
    om_val mask;
};

/* The weights of the heads' own norms, [h, 1, d]. */
static om_val head_weights(om_scope s, const struct om_gpt *c, int64_t heads)
{
    const om_dim dims[] = { om_int(s, heads), om_int(s, 1), om_int(s, c->head_dim) };
    static const struct om_attr axis = { .name = "axis", .kind = OM_ATTR_INT, .i = 0 };
    om_val *w = om_arena_array(s.b->g->arena, (size_t)heads, sizeof(*w));

    if (!w)
        return om_scope_fail(s, OM_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < heads && om_ok(s); i++)
        w[i] = om_weight(om_sub(s, "norms.%" PRId64, i), "weight");
    return om_reshape(s, om_emit(s, OM_OP_Concat, w, (uint32_t)heads, &axis, 1), dims, 3);
}

/* A norm of every head, x [B,h,S,d]. */
static om_val norm_heads(om_scope s, const struct om_gpt *c, int64_t heads, om_val x)
{
    x = om_layer_norm_plain(s, x, c->eps);
    return om_mul(s, x, head_weights(s, c, heads));
}

static om_val attention(om_scope s, const struct layers *l, int64_t i, om_val x)
{
    const struct om_gpt *c = &l->c->gpt;
    const struct om_gpt_names names = {
        .q = "q_proj", .k = "k_proj", .v = "v_proj", .bias = l->c->qkv_bias
    };
    struct om_attend at = { .mask = l->mask };

    om_gpt_project(s, c, &names, x, &at);
    if (l->c->qk_norm) {
        at.q = norm_heads(om_sub(s, "q_layernorm"), c, c->heads, at.q);
        at.k = norm_heads(om_sub(s, "k_layernorm"), c, c->kv_heads, at.k);
    }
    at.q = om_rope_apply(s, &l->rope, at.q);
    at.k = om_rope_apply(s, &l->rope, at.k);
    return om_linear_nobias(om_sub(s, "o_proj"), om_gpt_attend(s, i, &at));
}

static om_val feed_forward(om_scope s, const struct om_gpt *c, om_val x)
{
    const om_val gate = om_linear_nobias(om_sub(s, "gate_proj"), x);
    const om_val up = om_linear_nobias(om_sub(s, "up_proj"), x);

    x = om_mul(s, om_activate(om_sub(s, "act_fn"), c->act, gate), up);
    return om_linear_nobias(om_sub(s, "down_proj"), x);
}

static om_val layer(om_scope s, const struct layers *l, int64_t i, om_val x)
{
    const struct om_gpt *c = &l->c->gpt;
    om_val h = om_layer_norm(om_sub(s, "input_layernorm"), x, c->eps);

    x = om_add(s, x, attention(om_sub(s, "self_attn"), l, i, h));
    if (!l->c->parallel)
        h = om_layer_norm(om_sub(s, "post_attention_layernorm"), x, c->eps);
    return om_add(s, x, feed_forward(om_sub(s, "mlp"), c, h));
}

static void stablelm_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct stablelm *c = cfg;
    const om_scope s = om_sub_optional(root, "model"); /* saved bare, a model has no prefix */
    const om_scope rotary = om_named(s, "rotary_emb");
    const om_val ids = om_input(s, "input_ids");
    const struct layers l = {
        .c = c,
        .rope = om_rope_tables(rotary, &c->rope, om_positions(rotary, ids)),
        .mask = om_gpt_mask(s, ids),
    };
    om_val x = om_gpt_embed(om_sub(s, "embed_tokens"), ids, body);

    (void)head;
    for (int64_t i = 0; i < c->gpt.layers && om_ok(s); i++)
        x = layer(om_sub(s, "layers.%" PRId64, i), &l, i, x);
    body->hidden = om_layer_norm(om_sub(s, "norm"), x, c->gpt.eps);
}

static void stablelm_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct stablelm *c = cfg;

    om_gpt_head(root, "lm_head", c->gpt.tied, false, body);
}

const struct om_arch om_arch_stablelm = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct stablelm),
    .fields = stablelm_fields,
    .derive = stablelm_derive,
    .inputs = (const char *const[]){ "input_ids", "attention_mask", "position_ids",
                                     "past_key_values", NULL },
    .kv = stablelm_kv,
    .build = stablelm_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = stablelm_head_causal_lm,
    },
};
