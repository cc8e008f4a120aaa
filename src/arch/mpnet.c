/* src/arch/mpnet.c: MPNet, an encoder with learned positions and a bias per distance (Song et al.,
 * 2020). */
#include "arch/encoder.h"

#define PADDING_ID 1 /* positions count from it, whatever pad_token_id is */

struct mpnet {
    struct om_encoder enc;
    int64_t buckets;
    bool tied;
};

static const struct om_field mpnet_fields[] = {
    OM_FIELD_SIZE(struct mpnet, enc.layers, "num_hidden_layers", 12),
    OM_FIELD_SIZE(struct mpnet, enc.heads, "num_attention_heads", 12),
    OM_FIELD_SIZE(struct mpnet, enc.hidden, "hidden_size", 768),
    OM_FIELD_F64(struct mpnet, enc.eps, "layer_norm_eps", 1e-12),
    OM_FIELD_ACT(struct mpnet, enc.act, "hidden_act", OM_ACT_GELU),
    { .kind = OM_FIELD_KIND_INT,
      .key = "relative_attention_num_buckets",
      .offset = offsetof(struct mpnet, buckets),
      .i = 32,
      .min = 4,
      .max = 255 },
    OM_FIELD_BOOL(struct mpnet, tied, "tie_word_embeddings", true),
    OM_FIELD_END
};

static int mpnet_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                        struct om_error *err)
{
    struct mpnet *c = cfg;

    (void)a;
    (void)config;
    c->enc.position_type = "absolute";
    return om_encoder_check(&c->enc, err);
}

static om_val embed(om_scope s, const struct mpnet *c, struct om_body *body)
{
    const om_scope words = om_sub(s, "word_embeddings");
    const om_val ids = om_input(s, "input_ids");
    om_val x;

    body->embeddings = om_weight_stored(words, "weight");
    x = om_embed_with(words, body->embeddings, ids);
    x = om_add(
        s, x, om_embed(om_sub(s, "position_embeddings"), om_encoder_positions(s, ids, PADDING_ID)));
    return om_layer_norm(om_sub(s, "LayerNorm"), x, c->enc.eps);
}

static om_val layer(om_scope s, const struct om_encoder *c, om_val x, om_val mask)
{
    static const struct om_encoder_names names = {
        .query = "attn.q", .key = "attn.k", .value = "attn.v", .out = "attn.o", .distance = ""
    };
    const om_scope at = om_sub(s, "attention");
    const om_val h = om_encoder_attention(at, c, &names, x, mask);

    x = om_layer_norm(om_sub(at, "LayerNorm"), om_add(at, h, x), c->eps);
    return om_encoder_feed_forward(s, c, x);
}

static void mpnet_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct mpnet *c = cfg;
    const om_scope s = om_sub_optional(root, "mpnet"); /* saved bare, a model has no prefix */
    const om_scope encoder = om_sub(s, "encoder");
    const om_val padding = om_mask_padding(s, om_input(s, "attention_mask"));
    om_val x = embed(om_sub(s, "embeddings"), c, body);
    const om_dim length = om_axis(s, x, 1);
    const om_val bias = om_relative_bias(om_sub(encoder, "relative_attention_bias"),
                                         &(struct om_relative){ .buckets = c->buckets,
                                                                .max_distance = 128,
                                                                .query = length,
                                                                .key = length,
                                                                .both_ways = true });
    const om_val mask = om_mask_bias(encoder, bias, padding);

    for (int64_t i = 0; i < c->enc.layers && om_ok(s); i++)
        x = layer(om_sub(encoder, "layer.%" PRId64, i), &c->enc, x, mask);
    body->hidden = x;
    if (head == OM_HEAD_CHOICE)
        body->pooled = om_encoder_pool(om_sub(s, "pooler"), x);
}

static void head_masked_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct mpnet *c = cfg;

    om_encoder_head_roberta_lm(root, &c->enc, c->tied, true, body);
}

const struct om_arch om_arch_mpnet = {
    .kind = OM_ARCH_ENCODER,
    .cfg_size = sizeof(struct mpnet),
    .fields = mpnet_fields,
    .derive = mpnet_derive,
    .inputs = (const char *const[]){ "input_ids", "attention_mask", NULL },
    .build = mpnet_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_MASKED_LM] = head_masked_lm,
        [OM_HEAD_SEQUENCE] = om_encoder_head_first_token,
        [OM_HEAD_TOKEN] = om_head_token,
        [OM_HEAD_SPAN] = om_head_span,
        [OM_HEAD_CHOICE] = om_head_choice,
    },
};
