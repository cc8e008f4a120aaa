/* src/arch/opt.c: OPT, a decoder with learned positions (Zhang et al., 2022). */
#include "arch/gpt.h"

struct opt {
    struct om_gpt gpt;
    int64_t word_dim; /* of the embedding table; 0: hidden */
    bool norm_first, last_norm_removed, norm_weights, bias;
};

static const struct om_field opt_fields[] = {
    OM_FIELD_SIZE(struct opt, gpt.layers, "num_hidden_layers", 12),
    OM_FIELD_SIZE(struct opt, gpt.hidden, "hidden_size", 768),
    OM_FIELD_SIZE(struct opt, gpt.heads, "num_attention_heads", 12),
    OM_FIELD_SIZE(struct opt, word_dim, "word_embed_proj_dim", 0),
    OM_FIELD_ACT(struct opt, gpt.act, "activation_function", OM_ACT_RELU),
    OM_FIELD_BOOL(struct opt, gpt.tied, "tie_word_embeddings", true),
    OM_FIELD_BOOL(struct opt, norm_first, "do_layer_norm_before", true),
    OM_FIELD_BOOL(struct opt, last_norm_removed, "_remove_final_layer_norm", false),
    OM_FIELD_BOOL(struct opt, bias, "enable_bias", true),
    OM_FIELD_BOOL(struct opt, norm_weights, "layer_norm_elementwise_affine", true),
    OM_FIELD_END
};

static int opt_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                      struct om_error *err)
{
    struct opt *c = cfg;

    (void)a;
    (void)config;
    c->gpt.eps = 1e-5;
    if (c->word_dim == 0)
        c->word_dim = c->gpt.hidden;
    return om_gpt_check(&c->gpt, "hidden_size", "num_attention_heads", err);
}

static void opt_kv(const void *cfg, struct om_kv *kv)
{
    const struct opt *c = cfg;

    om_gpt_kv(&c->gpt, kv);
}

/* Where no input gives them, positions count the tokens that the mask shows; the others have -1. */
static om_val positions(om_scope s)
{
    om_val mask;

    if (om_has_input(s, "position_ids"))
        return om_input(s, "position_ids");
    mask = om_input(s, "attention_mask");
    return om_sub_(s, om_mul(s, om_count_tokens(s, mask), mask), om_i64(s, 1));
}

static om_val embed(om_scope s, const struct opt *c, om_val ids, struct om_body *body)
{
    om_val x = om_gpt_embed(om_sub(s, "embed_tokens"), ids, body);

    if (c->word_dim != c->gpt.hidden)
        x = om_linear_nobias(om_sub(s, "project_in"), x);
    return om_add(s, x, om_embed_from(om_sub(s, "embed_positions"), positions(s), 2));
}

static om_val attention(om_scope s, const struct opt *c, int64_t i, om_val x, om_val mask)
{
    const struct om_gpt_names names = {
        .q = "q_proj", .k = "k_proj", .v = "v_proj", .bias = c->bias
    };
    struct om_attend at = { .mask = mask };

    om_gpt_project(s, &c->gpt, &names, x, &at);
    return om_gpt_linear(om_sub(s, "out_proj"), om_gpt_attend(s, i, &at), c->bias);
}

/* A normalization before the block that it belongs to, or after the residual. */
static om_val norm(om_scope s, const struct opt *c, bool here, om_val x)
{
    if (!here)
        return x;
    return c->norm_weights ? om_layer_norm(s, x, c->gpt.eps)
                           : om_layer_norm_plain(s, x, c->gpt.eps);
}

static om_val layer(om_scope s, const struct opt *c, int64_t i, om_val x, om_val mask)
{
    const om_scope first = om_sub(s, "self_attn_layer_norm"),
                   second = om_sub(s, "final_layer_norm");
    om_val h = norm(first, c, c->norm_first, x);

    x = om_add(s, x, attention(om_sub(s, "self_attn"), c, i, h, mask));
    x = norm(first, c, !c->norm_first, x);
    h = norm(second, c, c->norm_first, x);
    x = om_add(s, x, om_gpt_feed_forward(s, "fc1", "fc2", c->gpt.act, c->bias, h));
    return norm(second, c, !c->norm_first, x);
}

static void opt_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct opt *c = cfg;
    const om_scope s = om_sub(om_sub_optional(root, "model"), "decoder");
    const om_val ids = om_input(s, "input_ids");
    const om_val mask = om_gpt_mask(s, ids);
    om_val x = embed(s, c, ids, body);

    (void)head;
    for (int64_t i = 0; i < c->gpt.layers && om_ok(s); i++)
        x = layer(om_sub(s, "layers.%" PRId64, i), c, i, x, mask);
    x = norm(om_sub(s, "final_layer_norm"), c, c->norm_first && !c->last_norm_removed, x);
    if (c->word_dim != c->gpt.hidden)
        x = om_linear_nobias(om_sub(s, "project_out"), x);
    body->hidden = x;
}

static void opt_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct opt *c = cfg;

    om_gpt_head(root, "lm_head", c->gpt.tied, false, body);
}

const struct om_arch om_arch_opt = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct opt),
    .fields = opt_fields,
    .derive = opt_derive,
    .inputs = (const char *const[]){ "input_ids", "attention_mask", "past_key_values",
                                     "position_ids", NULL },
    .kv = opt_kv,
    .pad_token_id = &(const int64_t){ 1 },
    .build = opt_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = opt_head_causal_lm,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
        [OM_HEAD_SPAN] = om_head_span,
    },
};
