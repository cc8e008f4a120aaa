/* src/arch/albert.c: ALBERT, BERT with a narrow embedding and layers that share their weights in
 * groups (Lan et al., 2020). */
#include "arch/encoder.h"

struct albert {
    struct om_encoder enc;
    int64_t groups, inner;
    bool tied;
};

static const struct om_field albert_fields[] = {
    OM_ENCODER_FIELDS(struct albert, enc), /* and other defaults for some of them: */
    OM_FIELD_ACT(struct albert, enc.act, "hidden_act", OM_ACT_GELU_NEW),
    OM_FIELD_SIZE(struct albert, enc.heads, "num_attention_heads", 64),
    OM_FIELD_SIZE(struct albert, enc.hidden, "hidden_size", 4096),
    OM_FIELD_SIZE(struct albert, groups, "num_hidden_groups", 1),
    OM_FIELD_SIZE(struct albert, inner, "inner_group_num", 1),
    OM_FIELD_BOOL(struct albert, tied, "tie_word_embeddings", true),
    OM_FIELD_END
};

static int albert_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                         struct om_error *err)
{
    struct albert *c = cfg;

    (void)a;
    (void)config;
    if (c->groups > c->enc.layers)
        return om_fail(err, OM_E_CONFIG,
                       "num_hidden_groups %" PRId64 " is more than num_hidden_layers %" PRId64,
                       c->groups, c->enc.layers);
    return om_encoder_check(&c->enc, err);
}

static om_val albert_layer(om_scope s, const struct om_encoder *c, om_val x, om_val mask)
{
    static const struct om_encoder_names names = {
        .query = "query", .key = "key", .value = "value", .out = "dense", .distance = ""
    };
    const om_scope at = om_sub(s, "attention");
    om_val h = om_encoder_attention(at, c, &names, x, mask);

    x = om_layer_norm(om_sub(at, "LayerNorm"), om_add(at, x, h), c->eps);
    h = om_activate(om_sub(s, "activation"), c->act, om_linear(om_sub(s, "ffn"), x));
    h = om_linear(om_sub(s, "ffn_output"), h);
    return om_layer_norm(om_sub(s, "full_layer_layer_norm"), om_add(s, h, x), c->eps);
}

static om_val albert_layers(om_scope s, const struct albert *c, om_val x, om_val mask)
{
    x = om_linear(om_sub(s, "embedding_hidden_mapping_in"), x);
    for (int64_t i = 0; i < c->enc.layers && om_ok(s); i++) {
        const double per_group = (double)c->enc.layers / (double)c->groups;
        const int64_t group =
            (int64_t)((double)i / per_group); /* rounded as in modeling_albert.py */
        const om_scope g = om_sub(s, "albert_layer_groups.%" PRId64, group);

        for (int64_t k = 0; k < c->inner && om_ok(s); k++)
            x = albert_layer(om_sub(g, "albert_layers.%" PRId64, k), &c->enc, x, mask);
    }
    return x;
}

static void albert_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct albert *c = cfg;
    const om_scope s = om_sub_optional(root, "albert"); /* saved bare, a model has no prefix */
    const om_val mask = om_mask_padding(s, om_input(s, "attention_mask"));
    const om_val x = om_encoder_embed(om_sub(s, "embeddings"), &c->enc, (om_val){ 0 }, body);

    body->hidden = albert_layers(om_sub(s, "encoder"), c, x, mask);
    if (head == OM_HEAD_SEQUENCE || head == OM_HEAD_CHOICE)
        body->pooled = om_unary(s, OM_OP_Tanh,
                                om_linear(om_sub(s, "pooler"), om_select(s, body->hidden, 1, 0)));
}

static void head_masked_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct albert *c = cfg;
    const om_scope s = om_sub(root, "predictions");
    om_val x = om_linear(om_sub(s, "dense"), body->hidden);

    x = om_activate(om_sub(s, "activation"), c->enc.act, x);
    x = om_layer_norm(om_sub(s, "LayerNorm"), x, c->enc.eps);
    om_output(root, "logits", om_encoder_vocabulary(s, c->tied, x, body->embeddings, false));
}

const struct om_arch om_arch_albert = {
    .kind = OM_ARCH_ENCODER,
    .cfg_size = sizeof(struct albert),
    .fields = albert_fields,
    .derive = albert_derive,
    .inputs = (const char *const[]){ "input_ids", "attention_mask", "token_type_ids", NULL },
    .build = albert_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_MASKED_LM] = head_masked_lm,
        [OM_HEAD_SEQUENCE] = om_head_pooled,
        [OM_HEAD_TOKEN] = om_head_token,
        [OM_HEAD_SPAN] = om_head_span,
        [OM_HEAD_CHOICE] = om_head_choice,
    },
};
