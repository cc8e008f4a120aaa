/* src/arch/electra.c: ELECTRA, BERT with an embedding of its own width and other heads (Clark et
 * al., 2020). */
#include "arch/encoder.h"

struct electra {
    struct om_encoder enc;
    const char *summary_type, *summary_act; /* of multiple-choice */
    bool summary_proj, summary_to_labels, tied;
};

static const struct om_field electra_fields[] = {
    OM_ENCODER_FIELDS(struct electra, enc), /* and other defaults for some of them: */
    OM_FIELD_SIZE(struct electra, enc.heads, "num_attention_heads", 4),
    OM_FIELD_SIZE(struct electra, enc.hidden, "hidden_size", 256),
    OM_FIELD_STR(struct electra, summary_type, "summary_type", "first"),
    OM_FIELD_BOOL(struct electra, summary_proj, "summary_use_proj", true),
    OM_FIELD_BOOL(struct electra, summary_to_labels, "summary_proj_to_labels", false),
    OM_FIELD_BOOL(struct electra, tied, "tie_word_embeddings", true),
    OM_FIELD_END
};

static int electra_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                          struct om_error *err)
{
    struct electra *c = cfg;
    const struct om_json *act = om_json_get(config->doc, "summary_activation");
    om_sv name;

    c->summary_act = "gelu";
    if (act) /* null: none, which is not the default */
        c->summary_act = om_json_str(act, &name) ? om_arena_str(a, name) : NULL;
    return om_encoder_check(&c->enc, err);
}

static void electra_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct electra *c = cfg;
    const om_scope s = om_sub_optional(root, "electra"); /* saved bare, a model has no prefix */
    const om_scope project = om_sub(s, "embeddings_project");
    const om_val mask = om_mask_padding(s, om_input(s, "attention_mask"));
    om_val x = om_encoder_embed(om_sub(s, "embeddings"), &c->enc, (om_val){ 0 }, body);

    (void)head;
    if (om_has_weight(project, "weight")) /* the embedding is not as wide as the layers */
        x = om_linear(project, x);
    body->hidden = om_encoder_layers(om_sub(s, "encoder"), &c->enc, x, mask);
}

static void head_masked_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct electra *c = cfg;
    const om_scope s = om_sub(root, "generator_predictions"),
                   lm = om_sub(root, "generator_lm_head");
    om_val x = om_activate(s, OM_ACT_GELU, om_linear(om_sub(s, "dense"), body->hidden));

    x = om_layer_norm(om_sub(s, "LayerNorm"), x, c->enc.eps);
    om_output(root, "logits",
              om_linear_with(lm, x, c->tied ? body->embeddings : om_weight_stored(lm, "weight"),
                             om_weight(lm, "bias")));
}

/* Dense, gelu and the classes, on the first token. */
static void head_sequence(om_scope root, const void *cfg, const struct om_body *body)
{
    const om_scope s = om_sub(root, "classifier");
    const om_val first = om_select(s, body->hidden, 1, 0);
    const om_val x = om_activate(s, OM_ACT_GELU, om_linear(om_sub(s, "dense"), first));

    (void)cfg;
    om_head_emit_labels(root, om_linear(om_sub(s, "out_proj"), x));
}

/* One vector per text, as summary_type says. */
static om_val summarize(om_scope s, const struct electra *c, om_val hidden)
{
    if (strcmp(c->summary_type, "first") == 0)
        return om_select(s, hidden, 1, 0);
    if (strcmp(c->summary_type, "last") == 0 || strcmp(c->summary_type, "cls_index") == 0)
        return om_select(s, hidden, 1, -1); /* cls_index without an index: the last token */
    if (strcmp(c->summary_type, "mean") == 0)
        return om_mean(s, hidden, 1, false);
    return om_scope_fail(
        s, OM_E_UNSUPPORTED,
        "key \"summary_type\": expected first, last, mean or cls_index, found \"%s\"",
        c->summary_type);
}

static void head_choice(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct electra *c = cfg;
    const om_scope s = om_sub(root, "sequence_summary");
    om_val x = summarize(s, c, body->hidden);
    enum om_act act;

    if (c->summary_proj) /* to hidden_size, or to num_labels, as its weight says */
        x = om_linear(om_sub(s, "summary"), x);
    if (c->summary_act && !om_act_parse(om_sv_str(c->summary_act), &act))
        om_scope_fail(s, OM_E_CONFIG, "key \"summary_activation\": unknown activation \"%.64s\"",
                      c->summary_act);
    else if (c->summary_act)
        x = om_activate(om_sub(s, "activation"), act, x);
    om_head_emit_choice(root, om_linear(om_sub(root, "classifier"), x));
}

const struct om_arch om_arch_electra = {
    .kind = OM_ARCH_ENCODER,
    .cfg_size = sizeof(struct electra),
    .fields = electra_fields,
    .derive = electra_derive,
    .inputs = (const char *const[]){ "input_ids", "attention_mask", "token_type_ids", NULL },
    .build = electra_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_MASKED_LM] = head_masked_lm,
        [OM_HEAD_SEQUENCE] = head_sequence,
        [OM_HEAD_TOKEN] = om_head_token,
        [OM_HEAD_SPAN] = om_head_span,
        [OM_HEAD_CHOICE] = head_choice,
    },
};
