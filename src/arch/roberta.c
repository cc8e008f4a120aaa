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

/* Tokens are numbered from pad + 1 up, padding stays at pad: cumsum(ids != pad) * (ids != pad) +
 * pad. */
static om_val positions(om_scope s, om_val ids, int64_t pad)
{
    const om_val is_pad = om_binary(s, OM_OP_Equal, ids, om_i64(s, pad));
    const om_val token = om_cast(s, om_unary(s, OM_OP_Not, is_pad), OM_I64);
    const om_val count = om_binary(s, OM_OP_CumSum, token, om_i64(s, 1));

    return om_add(s, om_mul(s, count, token), om_i64(s, pad));
}

static om_val embed(om_scope s, const struct roberta *c, struct om_body *body)
{
    const om_scope words = om_sub(s, "word_embeddings");
    const om_val ids = om_input(s, "input_ids");
    om_val x;

    body->embeddings = om_weight_stored(words, "weight");
    x = om_embed_with(words, body->embeddings, ids);
    x = om_add(s, x, om_embed(om_sub(s, "token_type_embeddings"), om_i64(s, 0)));
    if (c->enc.positions == OM_ENCODER_ABSOLUTE)
        x = om_add(s, x, om_embed(om_sub(s, "position_embeddings"), positions(s, ids, c->pad)));
    return om_layer_norm(om_sub(s, "LayerNorm"), x, c->enc.eps);
}

static void roberta_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct roberta *c = cfg;
    const om_scope s = om_sub_optional(root, "roberta"); /* saved bare, a model has no prefix */
    const om_val mask = om_mask_padding(s, om_input(s, "attention_mask"));
    const om_val x = embed(om_sub(s, "embeddings"), c, body);

    body->hidden = om_encoder_layers(om_sub(s, "encoder"), &c->enc, x, mask);
    if (head == OM_HEAD_CHOICE)
        body->pooled = om_encoder_pool(om_sub(s, "pooler"), body->hidden);
}

static void head_masked_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct roberta *c = cfg;
    const om_scope s = om_sub(root, "lm_head");
    om_val x = om_activate(s, OM_ACT_GELU, om_linear(om_sub(s, "dense"), body->hidden));

    x = om_layer_norm(om_sub(s, "layer_norm"), x, c->enc.eps);
    om_output(root, "logits", om_encoder_vocabulary(s, c->tied, x, body->embeddings, false));
}

/* Instead of a pooler: dense, tanh and the classes, on the first token. */
static void head_sequence(om_scope root, const void *cfg, const struct om_body *body)
{
    const om_scope s = om_sub(root, "classifier");

    (void)cfg;
    om_head_emit_labels(root, om_linear(om_sub(s, "out_proj"), om_encoder_pool(s, body->hidden)));
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
        [OM_HEAD_SEQUENCE] = head_sequence,
        [OM_HEAD_TOKEN] = om_head_token,
        [OM_HEAD_SPAN] = om_head_span,
        [OM_HEAD_CHOICE] = om_head_choice,
    },
};
