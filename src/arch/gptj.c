/* src/arch/gptj.c: GPT-J, a decoder with rotary embeddings of neighbouring pairs, whose attention
 * and feed-forward block read the same normalised tokens (Wang and Komatsuzaki, 2021). */
#include "arch/gptj.h"

static const struct om_field gptj_fields[] = { OM_GPTJ_FIELDS, OM_FIELD_END };

int om_gptj_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                   struct om_error *err)
{
    const struct om_json *given = om_json_get(config->doc, "rotary_dim");
    struct om_gptj *c = cfg;

    (void)a;
    OM_TRY(om_gpt_check(&c->gpt, "n_embd", "n_head", err));
    if (given && om_json_kind(given) == OM_JSON_NULL)
        c->rotary_dim = c->gpt.hidden; /* as wide as all heads: fits where there is one */
    if (c->rotary_dim % 2 != 0 || c->rotary_dim > c->gpt.head_dim)
        return om_fail(err, OM_E_CONFIG,
                       "key \"rotary_dim\": expected an even number up to the head size %" PRId64
                       ", found %" PRId64,
                       c->gpt.head_dim, c->rotary_dim);
    c->rope = (struct om_rope_config){ .type = "default", .theta = 10000.0, .dim = c->rotary_dim };
    return 0;
}

void om_gptj_kv(const void *cfg, struct om_kv *kv)
{
    const struct om_gptj *c = cfg;

    om_gpt_kv(&c->gpt, kv);
}

void om_gptj_layers(om_scope root, const struct om_gptj *c,
                    void (*project)(om_scope s, const struct om_gptj *c, om_val x,
                                    struct om_attend *at),
                    struct om_body *body)
{
    const om_scope s = om_sub_optional(root, "transformer"); /* saved bare, a model has no prefix */
    const om_val ids = om_input(s, "input_ids");
    const om_scope rotary = om_named(s, "rotary_emb");
    struct om_rope rope = om_rope_tables(rotary, &c->rope, om_positions(rotary, ids));
    const om_val mask = om_gpt_mask(s, ids);
    om_val x = om_gpt_embed(om_sub(s, "wte"), ids, body);

    rope.interleaved = true;
    for (int64_t i = 0; i < c->gpt.layers && om_ok(s); i++) {
        const om_scope l = om_sub(s, "h.%" PRId64, i), attn = om_sub(l, "attn");
        const om_val h = om_layer_norm(om_sub(l, "ln_1"), x, c->gpt.eps);
        struct om_attend at = { .mask = mask };
        om_val y;

        project(attn, c, h, &at);
        at.q = om_rope_apply(attn, &rope, at.q);
        at.k = om_rope_apply(attn, &rope, at.k);
        y = om_linear_nobias(om_sub(attn, "out_proj"), om_gpt_attend(attn, i, &at));
        y = om_add(l, y,
                   om_gpt_feed_forward(om_sub(l, "mlp"), "fc_in", "fc_out", c->gpt.act, true, h));
        x = om_add(l, x, y);
    }
    body->hidden = om_layer_norm(om_sub(s, "ln_f"), x, c->gpt.eps);
}

void om_gptj_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct om_gptj *c = cfg;

    om_gpt_head(root, "lm_head", c->gpt.tied, true, body);
}

static void project(om_scope s, const struct om_gptj *c, om_val x, struct om_attend *at)
{
    static const struct om_gpt_names names = { .q = "q_proj", .k = "k_proj", .v = "v_proj" };

    om_gpt_project(s, &c->gpt, &names, x, at);
}

static void gptj_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    (void)head;
    om_gptj_layers(root, cfg, project, body);
}

const struct om_arch om_arch_gptj = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct om_gptj),
    .fields = gptj_fields,
    .derive = om_gptj_derive,
    .inputs = (const char *const[]){ "input_ids", "past_key_values", "attention_mask",
                                     "position_ids", NULL },
    .kv = om_gptj_kv,
    .build = gptj_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_gptj_head_causal_lm,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
        [OM_HEAD_SPAN] = om_head_span,
    },
};
