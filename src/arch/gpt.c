/* src/arch/gpt.c: what GPT-2 and its relatives share. */
#include "arch/gpt.h"

int om_gpt_check(struct om_gpt *c, const char *hidden_key, const char *heads_key,
                 struct om_error *err)
{
    if (c->hidden % c->heads != 0)
        return om_fail(err, OM_E_CONFIG, "%s %" PRId64 " is not a multiple of %s %" PRId64,
                       hidden_key, c->hidden, heads_key, c->heads);
    if (c->kv_heads == 0)
        c->kv_heads = c->heads;
    if (c->head_dim == 0)
        c->head_dim = c->hidden / c->heads;
    if (c->heads % c->kv_heads != 0)
        return om_fail(err, OM_E_CONFIG,
                       "%s %" PRId64 " is not a multiple of the %" PRId64 " key/value heads",
                       heads_key, c->heads, c->kv_heads);
    return 0;
}

void om_gpt_kv(const struct om_gpt *c, struct om_kv *kv)
{
    *kv = (struct om_kv){ .layers = c->layers, .heads = c->kv_heads, .head_dim = c->head_dim };
}

om_val om_gpt_embed(om_scope words, om_val ids, struct om_body *body)
{
    body->embeddings = om_weight_stored(words, "weight");
    return om_embed_with(words, body->embeddings, ids);
}

om_val om_gpt_mask(om_scope s, om_val ids)
{
    return om_mask_additive(s, om_decoder_mask(s, ids, 0));
}

om_val om_gpt_linear(om_scope s, om_val x, bool bias)
{
    return bias ? om_linear(s, x) : om_linear_nobias(s, x);
}

void om_gpt_project(om_scope s, const struct om_gpt *c, const struct om_gpt_names *names, om_val x,
                    struct om_attend *at)
{
    const om_val q = om_gpt_linear(om_sub(s, "%s", names->q), x, names->bias);
    const om_val k = om_gpt_linear(om_sub(s, "%s", names->k), x, names->bias);
    const om_val v = om_gpt_linear(om_sub(s, "%s", names->v), x, names->bias);

    at->q = om_split_heads(s, q, c->heads, c->head_dim);
    at->k = om_split_heads(s, k, c->kv_heads, c->head_dim);
    at->v = om_split_heads(s, v, c->kv_heads, c->head_dim);
}

om_val om_gpt_attend(om_scope s, int64_t layer, struct om_attend *at)
{
    om_cache_extend(s, layer, &at->k, &at->v);
    return om_merge_heads(s, om_attend(s, at));
}

om_val om_gpt_feed_forward(om_scope s, const char *up, const char *down, enum om_act act, bool bias,
                           om_val x)
{
    x = om_gpt_linear(om_sub(s, "%s", up), x, bias);
    x = om_activate(om_sub(s, "act"), act, x);
    return om_gpt_linear(om_sub(s, "%s", down), x, bias);
}

void om_gpt_head(om_scope root, const char *name, bool tied, bool bias, const struct om_body *body)
{
    const om_scope s = om_sub(root, "%s", name);
    const om_val weight = tied ? body->embeddings : om_weight_stored(s, "weight");

    om_output(root, "logits",
              om_linear_with(s, body->hidden, weight, bias ? om_weight(s, "bias") : (om_val){ 0 }));
}
