/* src/arch/gpt_neo.c: GPT-Neo, a pre-norm decoder whose layers see the whole text or the last
 * tokens of it by turns (Black et al., 2021). */
#include "arch/gpt.h"

struct gpt_neo {
    struct om_gpt gpt;
    int64_t window;
    bool *local; /* of every layer */
};

static const struct om_field gpt_neo_fields[] = {
    OM_GPT_SIZE(struct gpt_neo, gpt.layers, "num_layers", "num_hidden_layers", 24),
    OM_GPT_SIZE(struct gpt_neo, gpt.heads, "num_heads", "num_attention_heads", 16),
    OM_FIELD_SIZE(struct gpt_neo, gpt.hidden, "hidden_size", 2048),
    OM_FIELD_SIZE(struct gpt_neo, window, "window_size", 256),
    OM_FIELD_F64(struct gpt_neo, gpt.eps, "layer_norm_epsilon", 1e-5),
    OM_FIELD_ACT(struct gpt_neo, gpt.act, "activation_function", OM_ACT_GELU_NEW),
    OM_FIELD_BOOL(struct gpt_neo, gpt.tied, "tie_word_embeddings", true),
    OM_FIELD_END
};

/* ---- attention_types: [[["global", "local"], 12]] ---- */

#define TYPES "key \"attention_types\": "

static int read_kind(const struct om_json *name, bool *local, struct om_error *err)
{
    om_sv s = { 0 };

    if (!om_json_str(name, &s) || (!om_sv_is(s, "global") && !om_sv_is(s, "local")))
        return om_fail(err, OM_E_CONFIG,
                       "the type of an attention layer: expected \"global\" or \"local\", found "
                       "\"%.*s\"",
                       (int)OM_MIN(s.len, 48), s.ptr ? s.ptr : "");
    *local = om_sv_is(s, "local");
    return 0;
}

/* A group of types and how often it is repeated, from layer *at on. */
static int read_group(const struct om_json *group, struct gpt_neo *c, int64_t *at,
                      struct om_error *err)
{
    const struct om_json *names = om_json_at(group, 0);
    const int64_t n = (int64_t)om_json_len(names);
    int64_t times;

    if (om_json_len(group) != 2 || om_json_kind(names) != OM_JSON_ARRAY || n == 0 ||
        !om_json_i64(om_json_at(group, 1), &times))
        return om_fail(err, OM_E_CONFIG, TYPES "expected pairs of a list of types and a number");
    if (times > (c->gpt.layers - *at) / n)
        return om_fail(err, OM_E_CONFIG, TYPES "more than the %" PRId64 " layers of num_layers",
                       c->gpt.layers);
    for (int64_t i = 0; i < times * n; i++)
        OM_TRY(read_kind(om_json_at(names, (size_t)(i % n)), &c->local[(*at)++], err));
    return 0;
}

static int read_types(const struct om_json *types, struct gpt_neo *c, struct om_error *err)
{
    int64_t at = 0;

    if (om_json_kind(types) != OM_JSON_ARRAY)
        return om_fail(err, OM_E_CONFIG, TYPES "expected a list, found %s",
                       om_json_kind_text(types));
    for (size_t i = 0; i < om_json_len(types); i++)
        OM_TRY(read_group(om_json_at(types, i), c, &at, err));
    if (at != c->gpt.layers)
        return om_fail(err, OM_E_CONFIG,
                       TYPES "of %" PRId64 " layers, expected the %" PRId64 " of num_layers", at,
                       c->gpt.layers);
    return 0;
}

/* The expanded list, which wins over the other. */
static int read_layers(const struct om_json *layers, struct gpt_neo *c, struct om_error *err)
{
    if (om_json_kind(layers) != OM_JSON_ARRAY || (int64_t)om_json_len(layers) < c->gpt.layers)
        return om_fail(err, OM_E_CONFIG,
                       "key \"attention_layers\": expected a list of %" PRId64
                       " types, found %s of %zu",
                       c->gpt.layers, om_json_kind_text(layers), om_json_len(layers));
    for (int64_t i = 0; i < c->gpt.layers; i++)
        OM_TRY(read_kind(om_json_at(layers, (size_t)i), &c->local[i], err));
    return 0;
}

static int gpt_neo_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                          struct om_error *err)
{
    const struct om_json *types = om_json_get(config->doc, "attention_types"),
                         *layers = om_json_get(config->doc, "attention_layers");
    struct gpt_neo *c = cfg;

    OM_TRY(om_gpt_check(&c->gpt, "hidden_size", "num_heads", err));
    c->local = om_arena_array(a, (size_t)c->gpt.layers, sizeof(*c->local));
    if (!c->local)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    if (types)
        OM_TRY(read_types(types, c, err));
    else if (c->gpt.layers != 24)
        return om_fail(err, OM_E_CONFIG,
                       TYPES "missing, which stands for 24 layers and not the %" PRId64
                             " of num_layers",
                       c->gpt.layers);
    for (int64_t i = 0; i < c->gpt.layers && !types; i++)
        c->local[i] = i % 2 != 0;
    return layers ? read_layers(layers, c, err) : 0;
}

static void gpt_neo_kv(const void *cfg, struct om_kv *kv)
{
    const struct gpt_neo *c = cfg;

    om_gpt_kv(&c->gpt, kv);
}

/* ---- the body ---- */

/* Two masks that are added: what a layer may see, and the padding. What both hide becomes minus
 * infinity, so that a query whose tokens are all padding weighs those that its layer may see. */
static om_val layer_mask(om_scope s, om_val ids, int64_t window)
{
    const om_dim query = om_axis(s, ids, 1), past = om_cache_past_length(s);
    struct om_causal sight = { .query = query, .window = window };

    if (!query || !past)
        return (om_val){ 0 };
    sight.key = om_dim_add(s.b->g->dims, past, query);
    return om_add(s, om_mask_additive(s, om_mask_causal(s, &sight)), om_gpt_mask(s, ids));
}

static om_val attention(om_scope s, const struct gpt_neo *c, int64_t i, om_val x, om_val mask)
{
    static const struct om_gpt_names names = { .q = "q_proj", .k = "k_proj", .v = "v_proj" };
    struct om_attend at = { .mask = mask, .scale = 1.0 };

    om_gpt_project(s, &c->gpt, &names, x, &at);
    return om_linear(om_sub(s, "out_proj"), om_gpt_attend(s, i, &at));
}

static om_val layer(om_scope s, const struct gpt_neo *c, int64_t i, om_val x, om_val mask)
{
    om_val h = om_layer_norm(om_sub(s, "ln_1"), x, c->gpt.eps);

    x = om_add(s, x, attention(om_sub(s, "attn.attention"), c, i, h, mask));
    h = om_layer_norm(om_sub(s, "ln_2"), x, c->gpt.eps);
    return om_add(s, x,
                  om_gpt_feed_forward(om_sub(s, "mlp"), "c_fc", "c_proj", c->gpt.act, true, h));
}

static void gpt_neo_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct gpt_neo *c = cfg;
    const om_scope s = om_sub_optional(root, "transformer"); /* saved bare, a model has no prefix */
    const om_val ids = om_input(s, "input_ids");
    const om_val global = layer_mask(s, ids, 0), local = layer_mask(s, ids, c->window);
    om_val x = om_gpt_embed(om_sub(s, "wte"), ids, body);

    (void)head;
    x = om_add(s, x, om_embed(om_sub(s, "wpe"), om_positions(s, ids)));
    for (int64_t i = 0; i < c->gpt.layers && om_ok(s); i++)
        x = layer(om_sub(s, "h.%" PRId64, i), c, i, x, c->local[i] ? local : global);
    body->hidden = om_layer_norm(om_sub(s, "ln_f"), x, c->gpt.eps);
}

static void gpt_neo_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct gpt_neo *c = cfg;

    om_gpt_head(root, "lm_head", c->gpt.tied, false, body);
}

const struct om_arch om_arch_gpt_neo = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct gpt_neo),
    .fields = gpt_neo_fields,
    .derive = gpt_neo_derive,
    .inputs = (const char *const[]){ "input_ids", "past_key_values", "attention_mask",
                                     "position_ids", NULL },
    .kv = gpt_neo_kv,
    .build = gpt_neo_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = gpt_neo_head_causal_lm,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
    },
};
