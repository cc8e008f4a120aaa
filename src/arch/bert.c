/* src/arch/bert.c: BERT, a post-norm text encoder (Devlin et al., 2018). */
#include "arch/encoder.h"

struct bert {
    struct om_encoder enc;
    bool tied;
};

static const struct om_field bert_fields[] = {
    OM_ENCODER_FIELDS(struct bert, enc),
    OM_FIELD_BOOL(struct bert, tied, "tie_word_embeddings", true), OM_FIELD_END
};

static int bert_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                       struct om_error *err)
{
    struct bert *c = cfg;

    (void)a;
    (void)config;
    return om_encoder_check(&c->enc, err);
}

static void bert_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct bert *c = cfg;
    const om_scope s = om_sub_optional(root, "bert"); /* saved bare, a model has no prefix */
    const om_val mask = om_mask_padding(s, om_input(s, "attention_mask"));
    const om_val x = om_encoder_embed(om_sub(s, "embeddings"), &c->enc, (om_val){ 0 }, body);

    body->hidden = om_encoder_layers(om_sub(s, "encoder"), &c->enc, x, mask);
    if (head == OM_HEAD_SEQUENCE || head == OM_HEAD_CHOICE)
        body->pooled = om_encoder_pool(om_sub(s, "pooler"), body->hidden);
}

static void bert_head_masked_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct bert *c = cfg;
    const om_scope s = om_sub(root, "cls.predictions");
    const om_scope transform = om_sub(s, "transform");
    om_val x = om_linear(om_sub(transform, "dense"), body->hidden);

    x = om_activate(om_sub(transform, "transform_act_fn"), c->enc.act, x);
    x = om_layer_norm(om_sub(transform, "LayerNorm"), x, c->enc.eps);
    om_output(root, "logits", om_encoder_vocabulary(s, c->tied, x, body->embeddings, true));
}

const struct om_arch om_arch_bert = {
    .kind = OM_ARCH_ENCODER,
    .cfg_size = sizeof(struct bert),
    .fields = bert_fields,
    .derive = bert_derive,
    .inputs = (const char *const[]){ "input_ids", "attention_mask", "token_type_ids", NULL },
    .build = bert_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_MASKED_LM] = bert_head_masked_lm,
        [OM_HEAD_SEQUENCE] = om_head_pooled,
        [OM_HEAD_TOKEN] = om_head_token,
        [OM_HEAD_SPAN] = om_head_span,
        [OM_HEAD_CHOICE] = om_head_choice,
    },
};
