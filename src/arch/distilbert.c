/* src/arch/distilbert.c: DistilBERT, BERT with half the layers, without token types and pooler
 * (Sanh et al., 2019). */
#include "arch/arch.h"

#define EPS 1e-12 /* not configurable */

struct distilbert {
    int64_t layers, heads, dim;
    enum om_act act;
    bool tied;
};

/* sinusoidal_pos_embds only says how the position table was filled; checkpoints store the table. */
static const struct om_field distilbert_fields[] = {
    { .kind = OM_FIELD_KIND_INT,
      .key = "n_layers",
      .alias = "num_hidden_layers",
      .offset = offsetof(struct distilbert, layers),
      .i = 6,
      .min = 1,
      .max = INT32_MAX,
      .nullable = true },
    { .kind = OM_FIELD_KIND_INT,
      .key = "n_heads",
      .alias = "num_attention_heads",
      .offset = offsetof(struct distilbert, heads),
      .i = 12,
      .min = 1,
      .max = INT32_MAX,
      .nullable = true },
    { .kind = OM_FIELD_KIND_INT,
      .key = "dim",
      .alias = "hidden_size",
      .offset = offsetof(struct distilbert, dim),
      .i = 768,
      .min = 1,
      .max = INT32_MAX,
      .nullable = true },
    OM_FIELD_ACT(struct distilbert, act, "activation", OM_ACT_GELU),
    OM_FIELD_BOOL(struct distilbert, tied, "tie_word_embeddings", true),
    OM_FIELD_REFUSE("pruned_heads", "{}"),
    OM_FIELD_END
};

static int distilbert_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                             struct om_error *err)
{
    const struct distilbert *c = cfg;

    (void)a;
    (void)config;
    if (c->dim % c->heads != 0)
        return om_fail(err, OM_E_CONFIG, "dim %" PRId64 " is not a multiple of n_heads %" PRId64,
                       c->dim, c->heads);
    return 0;
}

static om_val embed(om_scope s, struct om_body *body)
{
    const om_scope words = om_sub(s, "word_embeddings");
    const om_val ids = om_input(s, "input_ids");
    const om_val at = om_arange(s, om_int(s, 0), om_axis(s, ids, 1));
    om_val x;

    body->embeddings = om_weight_stored(words, "weight");
    x = om_embed_with(words, body->embeddings, ids);
    x = om_add(s, x, om_embed(om_sub(s, "position_embeddings"), at));
    return om_layer_norm(om_sub(s, "LayerNorm"), x, EPS);
}

static om_val attention(om_scope s, const struct distilbert *c, om_val x, om_val mask)
{
    const int64_t head_dim = c->dim / c->heads;
    const struct om_attend at = {
        .q = om_split_heads(s, om_linear(om_sub(s, "q_lin"), x), c->heads, head_dim),
        .k = om_split_heads(s, om_linear(om_sub(s, "k_lin"), x), c->heads, head_dim),
        .v = om_split_heads(s, om_linear(om_sub(s, "v_lin"), x), c->heads, head_dim),
        .mask = mask,
    };

    return om_linear(om_sub(s, "out_lin"), om_merge_heads(s, om_attend(s, &at)));
}

static om_val layer(om_scope s, const struct distilbert *c, om_val x, om_val mask)
{
    const om_scope ffn = om_sub(s, "ffn");
    om_val h = attention(om_sub(s, "attention"), c, x, mask);

    x = om_layer_norm(om_sub(s, "sa_layer_norm"), om_add(s, h, x), EPS);
    h = om_linear(om_sub(ffn, "lin1"), x);
    h = om_activate(om_sub(ffn, "activation"), c->act, h);
    h = om_linear(om_sub(ffn, "lin2"), h);
    return om_layer_norm(om_sub(s, "output_layer_norm"), om_add(s, h, x), EPS);
}

static void distilbert_build(om_scope root, const void *cfg, enum om_head head,
                             struct om_body *body)
{
    const struct distilbert *c = cfg;
    const om_scope s = om_sub_optional(root, "distilbert"); /* saved bare, a model has no prefix */
    const om_val mask = om_mask_padding(s, om_input(s, "attention_mask"));
    om_val x = embed(om_sub(s, "embeddings"), body);

    for (int64_t i = 0; i < c->layers && om_ok(s); i++)
        x = layer(om_sub(s, "transformer.layer.%" PRId64, i), c, x, mask);
    body->hidden = x;
    if (head == OM_HEAD_SEQUENCE || head == OM_HEAD_CHOICE) {
        x = om_linear(om_sub(root, "pre_classifier"), om_select(root, x, 1, 0));
        body->pooled = om_activate(root, OM_ACT_RELU, x);
    }
}

static void head_masked_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct distilbert *c = cfg;
    const om_scope out = om_sub(root, "vocab_projector");
    om_val x = om_linear(om_sub(root, "vocab_transform"), body->hidden);

    x = om_activate(om_sub(root, "activation"), c->act, x);
    x = om_layer_norm(om_sub(root, "vocab_layer_norm"), x, EPS);
    x = om_linear_with(out, x, c->tied ? body->embeddings : om_weight_stored(out, "weight"),
                       om_weight(out, "bias"));
    om_output(root, "logits", x);
}

const struct om_arch om_arch_distilbert = {
    .kind = OM_ARCH_ENCODER,
    .cfg_size = sizeof(struct distilbert),
    .fields = distilbert_fields,
    .derive = distilbert_derive,
    .inputs = (const char *const[]){ "input_ids", "attention_mask", NULL },
    .build = distilbert_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_MASKED_LM] = head_masked_lm,
        [OM_HEAD_SEQUENCE] = om_head_pooled,
        [OM_HEAD_TOKEN] = om_head_token,
        [OM_HEAD_SPAN] = om_head_span,
        [OM_HEAD_CHOICE] = om_head_choice,
    },
};
