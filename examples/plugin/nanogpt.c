/* examples/plugin/nanogpt.c: a model type that the library does not have, added by a plugin.
 *
 * The model is the small GPT that people train from scratch: pre-norm layers, learned positions,
 * one matrix for queries, keys and values, biases or none of them, tied embeddings. Weights: wte,
 * wpe, h.N.ln_1, h.N.attn.c_attn, h.N.attn.c_proj, h.N.ln_2, h.N.mlp.c_fc, h.N.mlp.c_proj, ln_f,
 * below "transformer" or at the top.
 *
 *     cc -std=c17 -fPIC -shared -I include -o nanogpt.so examples/plugin/nanogpt.c
 *     optimum-cli export onnx --plugin ./nanogpt.so --model DIR OUT
 */
#include <inttypes.h>

#include <optimum/plugin.h>

struct nanogpt {
    int64_t layers, heads, hidden;
    bool bias;
};

static const struct om_field fields[] = {
    OM_FIELD_SIZE(struct nanogpt, layers, "n_layer", 12),
    OM_FIELD_SIZE(struct nanogpt, heads, "n_head", 12),
    OM_FIELD_SIZE(struct nanogpt, hidden, "n_embd", 768),
    OM_FIELD_BOOL(struct nanogpt, bias, "bias", true),
    OM_FIELD_END,
};

static int derive(struct om_arena *a, void *cfg, const struct om_config *config,
                  struct om_error *err)
{
    const struct nanogpt *c = cfg;

    (void)a;
    (void)config;
    if (c->hidden % c->heads != 0)
        return om_fail(err, OM_E_CONFIG,
                       "key \"n_embd\": %" PRId64 " is no multiple of n_head, %" PRId64, c->hidden,
                       c->heads);
    return 0;
}

static void kv(const void *cfg, struct om_kv *out)
{
    const struct nanogpt *c = cfg;

    out->layers = c->layers;
    out->heads = c->heads;
    out->head_dim = c->hidden / c->heads;
}

static om_val linear(om_scope s, const struct nanogpt *c, om_val x)
{
    return c->bias ? om_linear(s, x) : om_linear_nobias(s, x);
}

static om_val norm(om_scope s, const struct nanogpt *c, om_val x)
{
    return c->bias ? om_layer_norm(s, x, 1e-5) : om_layer_norm_nobias(s, x, 1e-5);
}

static om_val attention(om_scope s, const struct nanogpt *c, int64_t layer, om_val x, om_val mask)
{
    const struct om_fused fused = { 1, c->heads, c->heads, c->hidden / c->heads, false };
    struct om_attend at = { .mask = mask };

    om_split_fused(s, &fused, linear(om_sub(s, "c_attn"), c, x), &at);
    om_cache_extend(s, layer, &at.k, &at.v);
    return linear(om_sub(s, "c_proj"), c, om_merge_heads(s, om_attend(s, &at)));
}

static om_val feed_forward(om_scope s, const struct nanogpt *c, om_val x)
{
    x = om_activate(s, OM_ACT_GELU, linear(om_sub(s, "c_fc"), c, x));
    return linear(om_sub(s, "c_proj"), c, x);
}

/* Every token sees itself and those before it that are not padding. */
static om_val causal_mask(om_scope s, om_val ids)
{
    struct om_causal m = { .query = om_axis(s, ids, 1) };

    if (om_has_input(s, "attention_mask"))
        m.attention_mask = om_input(s, "attention_mask");
    m.key = om_valid(m.attention_mask) ? om_axis(s, m.attention_mask, 1) : m.query;
    return om_mask_causal(s, &m);
}

static void build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct nanogpt *c = cfg;
    const om_scope s = om_sub_optional(root, "transformer");
    const om_val ids = om_input(s, "input_ids");
    const om_val mask = causal_mask(s, ids);
    om_val x;

    (void)head;
    body->embeddings = om_weight_stored(om_sub(s, "wte"), "weight");
    x = om_embed_with(om_sub(s, "wte"), body->embeddings, ids);
    x = om_add(s, x, om_embed(om_sub(s, "wpe"), om_positions(s, ids)));
    for (int64_t i = 0; i < c->layers && om_ok(s); i++) {
        const om_scope h = om_sub(s, "h.%" PRId64, i);
        x = om_add(h, x, attention(om_sub(h, "attn"), c, i, norm(om_sub(h, "ln_1"), c, x), mask));
        x = om_add(h, x, feed_forward(om_sub(h, "mlp"), c, norm(om_sub(h, "ln_2"), c, x)));
    }
    body->hidden = norm(om_sub(s, "ln_f"), c, x);
}

/* The embedding table is the last layer as well. */
static void causal_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const om_scope s = om_sub(root, "lm_head");

    (void)cfg;
    om_output(root, "logits", om_linear_with(s, body->hidden, body->embeddings, (om_val){ 0 }));
}

static const char *const inputs[] = { "input_ids", "past_key_values", "attention_mask",
                                      "position_ids", NULL };

static const struct om_arch nanogpt = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct nanogpt),
    .fields = fields,
    .derive = derive,
    .inputs = inputs,
    .kv = kv,
    .build = build,
    .heads = { [OM_HEAD_HIDDEN] = om_head_hidden, [OM_HEAD_CAUSAL_LM] = causal_lm },
};

static const struct om_plugin_arch archs[] = { { "nanogpt", &nanogpt }, { NULL, NULL } };

OM_PLUGIN("nanogpt", archs);
