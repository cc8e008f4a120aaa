/* src/arch/falcon.c: Falcon, a decoder with few key/value heads, rotary embeddings or linear
 * attention biases (Almazrouei et al., 2023). */
#include "arch/gpt.h"

#include <math.h>

struct falcon {
    struct om_gpt gpt;
    int64_t norms; /* before attention and feed-forward block, where these are parallel */
    bool bias, alibi, multi_query, parallel;
    bool grouped; /* the layout of the larger models */
    struct om_rope_config rope;
};

static const struct om_field falcon_fields[] = {
    OM_FIELD_SIZE(struct falcon, gpt.layers, "num_hidden_layers", 32),
    OM_GPT_SIZE(struct falcon, gpt.hidden, "hidden_size", "n_embed", 4544),
    OM_FIELD_SIZE(struct falcon, gpt.heads, "num_attention_heads", 71),
    OM_FIELD_SIZE(struct falcon, gpt.kv_heads, "num_kv_heads", 0),
    OM_FIELD_F64(struct falcon, gpt.eps, "layer_norm_epsilon", 1e-5),
    OM_FIELD_ACT(struct falcon, gpt.act, "activation", OM_ACT_GELU),
    OM_FIELD_BOOL(struct falcon, gpt.tied, "tie_word_embeddings", true),
    OM_FIELD_INT(struct falcon, norms, "num_ln_in_parallel_attn", 0),
    OM_FIELD_BOOL(struct falcon, bias, "bias", false),
    OM_FIELD_BOOL(struct falcon, alibi, "alibi", false),
    OM_FIELD_BOOL(struct falcon, multi_query, "multi_query", true),
    OM_FIELD_BOOL(struct falcon, parallel, "parallel_attn", true),
    OM_FIELD_BOOL(struct falcon, grouped, "new_decoder_architecture", false),
    OM_FIELD_REFUSE("partial_rotary_factor", "1.0"),
    OM_FIELD_END
};

/* Combinations for which Transformers has no modules. */
static int check_switches(const struct falcon *c, struct om_error *err)
{
    if (c->grouped && !c->parallel)
        return om_fail(err, OM_E_UNSUPPORTED,
                       "key \"parallel_attn\": false is not supported with "
                       "new_decoder_architecture");
    if (c->parallel && (c->grouped ? c->norms != 1 && c->norms != 2 : c->norms == 2))
        return om_fail(err, OM_E_UNSUPPORTED,
                       "key \"num_ln_in_parallel_attn\": %" PRId64 " is not supported with%s "
                       "new_decoder_architecture",
                       c->norms, c->grouped ? "" : "out");
    if (!c->grouped && !c->multi_query && c->gpt.kv_heads && c->gpt.kv_heads != c->gpt.heads)
        return om_fail(err, OM_E_UNSUPPORTED,
                       "key \"num_kv_heads\": %" PRId64 " is not supported, expected "
                       "num_attention_heads, multi_query or new_decoder_architecture",
                       c->gpt.kv_heads);
    return 0;
}

static int falcon_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                         struct om_error *err)
{
    struct om_rope_defaults rope = { .theta = 10000.0, .partial = 1.0, .max_position = 2048 };
    struct falcon *c = cfg;

    if (c->grouped && !om_json_i64(om_json_get(config->doc, "num_ln_in_parallel_attn"), &c->norms))
        c->norms = 2;
    OM_TRY(check_switches(c, err));
    if (!c->grouped && c->multi_query)
        c->gpt.kv_heads = 1;
    OM_TRY(om_gpt_check(&c->gpt, "hidden_size", "num_attention_heads", err));
    rope.head_dim = c->gpt.head_dim;
    return c->alibi ? 0 : om_rope_read(a, config->doc, &rope, &c->rope, err);
}

static bool falcon_takes(const void *cfg, const char *input)
{
    const struct falcon *c = cfg;

    return !c->alibi || strcmp(input, "position_ids") != 0;
}

static void falcon_kv(const void *cfg, struct om_kv *kv)
{
    const struct falcon *c = cfg;

    om_gpt_kv(&c->gpt, kv);
}

struct layers {
    const struct falcon *c;
    struct om_rope rope; /* not with alibi */
    om_val mask;
};

/* [B,k,T,d] -> [B,h,T,d], each head as often as queries share it. */
static om_val repeated(om_scope s, const struct om_gpt *c, om_val x)
{
    const om_dim batch = om_axis(s, x, 0), keys = om_axis(s, x, 2), d = om_int(s, c->head_dim);
    const om_dim wide[] = { batch, om_int(s, c->kv_heads), om_int(s, c->heads / c->kv_heads), keys,
                            d };
    const om_dim flat[] = { batch, om_int(s, c->heads), keys, d };

    return om_reshape(s, om_expand(s, om_unsqueeze(s, x, 2), wide, 5), flat, 4);
}

static om_val attention(om_scope s, const struct layers *l, int64_t i, om_val x)
{
    const struct om_gpt *c = &l->c->gpt;
    const struct om_fused fused = {
        .groups = c->kv_heads, .heads = c->heads, .kv_heads = c->kv_heads, .head_dim = c->head_dim
    };
    struct om_attend at = { .mask = l->mask };

    om_split_fused(s, &fused, om_gpt_linear(om_sub(s, "query_key_value"), x, l->c->bias), &at);
    if (!l->c->alibi) {
        at.q = om_rope_apply(s, &l->rope, at.q);
        at.k = om_rope_apply(s, &l->rope, at.k);
    }
    /* Transformers keeps what its attention saw, which no past input of its exporter fits; a cache
     * that comes back holds each head once. */
    if (l->c->grouped && s.b->present && !om_cache_past(s) && c->kv_heads != c->heads) {
        at.k = repeated(s, c, at.k);
        at.v = repeated(s, c, at.v);
    }
    return om_gpt_linear(om_sub(s, "dense"), om_gpt_attend(s, i, &at), l->c->bias);
}

static om_val norm(om_scope s, const struct layers *l, const char *name, om_val x)
{
    return om_layer_norm(om_sub(s, "%s", name), x, l->c->gpt.eps);
}

static om_val layer(om_scope s, const struct layers *l, int64_t i, om_val x)
{
    const struct falcon *c = l->c;
    const bool two = c->grouped && c->norms == 2;
    const om_val seen = norm(s, l, two ? "ln_attn" : "input_layernorm", x);
    const om_val y = om_add(s, x, attention(om_sub(s, "self_attention"), l, i, seen));
    om_val h = seen;

    if (two)
        h = norm(s, l, "ln_mlp", x);
    else if (!c->parallel)
        h = norm(s, l, "post_attention_layernorm", y);
    return om_add(s, y,
                  om_gpt_feed_forward(om_sub(s, "mlp"), "dense_h_to_4h", "dense_4h_to_h",
                                      c->gpt.act, c->bias, h));
}

/* Scaled like the scores, after it was rounded to the dtype in which the models were trained. */
static om_val biased_mask(om_scope s, const struct falcon *c, om_val ids)
{
    const struct om_alibi alibi = { .heads = c->gpt.heads, .most = 8, .bfloat16 = true };
    const om_val mask = om_input(s, "attention_mask");
    const om_val before = om_sub_(s, om_count_tokens(s, mask), om_i64(s, 1));
    const om_val bias = om_alibi(s, &alibi, om_mul(s, before, mask));

    return om_mask_bias(s, om_scale(s, bias, 1.0 / sqrt((double)c->gpt.head_dim)),
                        om_gpt_mask(s, ids));
}

static void falcon_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct falcon *c = cfg;
    const om_scope s = om_sub_optional(root, "transformer"); /* saved bare, a model has no prefix */
    const om_scope rotary = om_named(s, "rotary_emb");
    const om_val ids = om_input(s, "input_ids");
    struct layers l = { .c = c };
    om_val x = om_gpt_embed(om_sub(s, "word_embeddings"), ids, body);

    (void)head;
    l.mask = c->alibi ? biased_mask(s, c, ids) : om_gpt_mask(s, ids);
    if (!c->alibi)
        l.rope = om_rope_tables(rotary, &c->rope, om_positions(rotary, ids));
    for (int64_t i = 0; i < c->gpt.layers && om_ok(s); i++)
        x = layer(om_sub(s, "h.%" PRId64, i), &l, i, x);
    body->hidden = om_layer_norm(om_sub(s, "ln_f"), x, c->gpt.eps);
}

static void falcon_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct falcon *c = cfg;

    om_gpt_head(root, "lm_head", c->gpt.tied, false, body);
}

const struct om_arch om_arch_falcon = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct falcon),
    .fields = falcon_fields,
    .derive = falcon_derive,
    .inputs = (const char *const[]){ "input_ids", "past_key_values", "attention_mask",
                                     "position_ids", NULL },
    .takes = falcon_takes,
    .kv = falcon_kv,
    .build = falcon_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = falcon_head_causal_lm,
        [OM_HEAD_TOKEN] = om_head_token,
        [OM_HEAD_SPAN] = om_head_span,
    },
};
