/* src/arch/roberta.c: RoBERTa, BERT with positions that count from the padding id and other heads
 * (Liu et al., 2019). */
#include "arch/encoder.h"

struct roberta {
    struct om_encoder enc;
    int64_t pad;
    bool tied;
};

static const struct om_field roberta_fields[] = {
    OM_ENCODER_FIELDS(struct roberta, enc), OM_FIELD_INT(struct roberta, pad, "pad_token_id", 1),
    OM_FIELD_BOOL(struct roberta, tied, "tie_word_embeddings", true), OM_FIELD_END
};

static int roberta_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                          struct om_error *err)
{
    struct roberta *c = cfg;

    (void)a;
    (void)config;
    return om_encoder_check(&c->enc, err);
}

static void roberta_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct roberta *c = cfg;
    const om_scope s = om_sub_optional(root, "roberta"); /* saved bare, a model has no prefix */
    const om_val mask = om_mask_padding(s, om_input(s, "attention_mask"));
    const om_scope embeddings = om_sub(s, "embeddings");
    const om_val at = om_encoder_positions(embeddings, om_input(s, "input_ids"), c->pad);
    const om_val x = om_encoder_embed(embeddings, &c->enc, at, body);

    body->hidden = om_encoder_layers(om_sub(s, "encoder"), &c->enc, x, mask);
    if (head == OM_HEAD_CHOICE)
        body->pooled = om_encoder_pool(om_sub(s, "pooler"), body->hidden);
}

static void head_masked_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct roberta *c = cfg;

    om_encoder_head_roberta_lm(root, &c->enc, c->tied, false, body);
}

const struct om_arch om_arch_roberta = {
    .kind = OM_ARCH_ENCODER,
    .cfg_size = sizeof(struct roberta),
    .fields = roberta_fields,
    .derive = roberta_derive,
    .inputs = (const char *const[]){ "input_ids", "attention_mask", NULL },
    .build = roberta_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_MASKED_LM] = head_masked_lm,
        [OM_HEAD_SEQUENCE] = om_encoder_head_first_token,
        [OM_HEAD_TOKEN] = om_head_token,
        [OM_HEAD_SPAN] = om_head_span,
        [OM_HEAD_CHOICE] = om_head_choice,
    },
};
