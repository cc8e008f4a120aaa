/* src/arch/decoder.c: the layers that Llama and its relatives share. */
#include "arch/decoder.h"

int om_decoder_derive(struct om_arena *a, struct om_decoder *c, const struct om_config *config,
                      const struct om_rope_defaults *rope, struct om_error *err)
{
    struct om_rope_defaults defaults = *rope;

    if (c->kv_heads == 0)
        c->kv_heads = c->heads;
    if (c->head_dim == 0)
        c->head_dim = c->hidden / c->heads;
    if (c->head_dim == 0)
        return om_fail(err, OM_E_CONFIG,
                       "hidden_size %" PRId64 " is too small for num_attention_heads %" PRId64,
                       c->hidden, c->heads);
    if (c->heads % c->kv_heads != 0)
        return om_fail(err, OM_E_CONFIG,
                       "num_attention_heads %" PRId64
                       " is not a multiple of num_key_value_heads %" PRId64,
                       c->heads, c->kv_heads);
    defaults.head_dim = c->head_dim;
    return om_rope_read(a, config->doc, &defaults, &c->rope, err);
}

void om_decoder_kv(const struct om_decoder *c, struct om_kv *kv)
{
    *kv = (struct om_kv){ .layers = c->layers, .heads = c->kv_heads, .head_dim = c->head_dim };
}

static om_val linear(om_scope s, om_val x, bool bias)
{
    return bias ? om_linear(s, x) : om_linear_nobias(s, x);
}

struct layers {
    const struct om_decoder *c;
    struct om_rope rope;
    om_val mask;
};

static om_val heads(om_scope s, const struct layers *l, om_val x, int64_t n)
{
    return om_split_heads(s, linear(s, x, l->c->qkv_bias), n, l->c->head_dim);
}

static om_val attention(om_scope s, const struct layers *l, int64_t i, om_val x)
{
    const struct om_decoder *c = l->c;
    struct om_attend at = { .mask = l->mask };

    at.q = om_rope_apply(s, &l->rope, heads(om_sub(s, "q_proj"), l, x, c->heads));
    at.k = om_rope_apply(s, &l->rope, heads(om_sub(s, "k_proj"), l, x, c->kv_heads));
    at.v = heads(om_sub(s, "v_proj"), l, x, c->kv_heads);
    om_cache_extend(s, i, &at.k, &at.v);
    x = om_merge_heads(s, om_attend(s, &at));
    return linear(om_sub(s, "o_proj"), x, c->out_bias);
}

static om_val feed_forward(om_scope s, const struct om_decoder *c, om_val x)
{
    const om_val gate = linear(om_sub(s, "gate_proj"), x, c->mlp_bias);
    const om_val up = linear(om_sub(s, "up_proj"), x, c->mlp_bias);

    x = om_mul(s, om_activate(om_sub(s, "act_fn"), c->act, gate), up);
    return linear(om_sub(s, "down_proj"), x, c->mlp_bias);
}

static om_val layer(om_scope s, const struct layers *l, int64_t i, om_val x)
{
    om_val h = om_rms_norm(om_sub(s, "input_layernorm"), x, l->c->eps);

    x = om_add(s, x, attention(om_sub(s, "self_attn"), l, i, h));
    h = om_rms_norm(om_sub(s, "post_attention_layernorm"), x, l->c->eps);
    return om_add(s, x, feed_forward(om_sub(s, "mlp"), l->c, h));
}

om_val om_decoder_mask(om_scope s, om_val ids, int64_t window)
{
    const om_dim query = om_axis(s, ids, 1), past = om_cache_past_length(s);
    struct om_causal causal = { .query = query, .window = window };

    if (!query || !past)
        return (om_val){ 0 };
    causal.key = om_dim_add(s.b->g->dims, past, query);
    if (om_has_input(s, "attention_mask"))
        causal.attention_mask = om_input(s, "attention_mask");
    return om_mask_causal(s, &causal);
}

om_val om_decoder_layers(om_scope s, const struct om_decoder *c, om_val ids, om_val x)
{
    const om_scope rotary = om_named(s, "rotary_emb");
    const struct layers l = {
        .c = c,
        .rope = om_rope_tables(rotary, &c->rope, om_positions(rotary, ids)),
        .mask = om_decoder_mask(s, ids, c->window),
    };

    for (int64_t i = 0; i < c->layers && om_ok(s); i++)
        x = layer(om_sub(s, "layers.%" PRId64, i), &l, i, x);
    return x;
}

om_val om_decoder_vocabulary(om_scope root, bool tied, const struct om_body *body)
{
    const om_scope s = om_sub(root, "lm_head");
    const om_val weight = tied ? body->embeddings : om_weight_stored(s, "weight");

    return om_linear_with(s, body->hidden, weight, (om_val){ 0 });
}
