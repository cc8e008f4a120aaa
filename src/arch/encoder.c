/* src/arch/encoder.c: the layers that BERT and its descendants share. */
#include "arch/encoder.h"

#include <math.h>

int om_encoder_check(struct om_encoder *c, struct om_error *err)
{
    static const char *const types[] = { "absolute", "relative_key", "relative_key_query" };

    if (c->hidden % c->heads != 0)
        return om_fail(err, OM_E_CONFIG,
                       "hidden_size %" PRId64 " is not a multiple of num_attention_heads %" PRId64,
                       c->hidden, c->heads);
    for (size_t i = 0; i < OM_COUNT(types); i++)
        if (strcmp(c->position_type, types[i]) == 0) {
            c->positions = (enum om_encoder_positions)i;
            return 0;
        }
    return om_fail(err, OM_E_UNSUPPORTED,
                   "key \"position_embedding_type\": expected absolute, relative_key or "
                   "relative_key_query, found \"%s\"",
                   c->position_type);
}

om_val om_encoder_positions(om_scope s, om_val ids, int64_t pad)
{
    const om_val is_pad = om_binary(s, OM_OP_Equal, ids, om_i64(s, pad));
    const om_val token = om_cast(s, om_unary(s, OM_OP_Not, is_pad), OM_I64);
    const om_val count = om_binary(s, OM_OP_CumSum, token, om_i64(s, 1));

    return om_add(s, om_mul(s, count, token), om_i64(s, pad));
}

om_val om_encoder_embed(om_scope s, const struct om_encoder *c, om_val position_ids,
                        struct om_body *body)
{
    const om_scope words = om_sub(s, "word_embeddings");
    const om_val ids = om_input(s, "input_ids");
    om_val types = om_i64(s, 0); /* where the file has no such input, all tokens are of type 0 */
    om_val x;

    if (om_has_input(s, "token_type_ids"))
        types = om_input(s, "token_type_ids");
    if (!om_valid(position_ids))
        position_ids = om_arange(s, om_int(s, 0), om_axis(s, ids, 1));
    body->embeddings = om_weight_stored(words, "weight");
    x = om_embed_with(words, body->embeddings, ids);
    x = om_add(s, x, om_embed(om_sub(s, "token_type_embeddings"), types));
    if (c->positions == OM_ENCODER_ABSOLUTE)
        x = om_add(s, x, om_embed(om_sub(s, "position_embeddings"), position_ids));
    return om_layer_norm(om_sub(s, "LayerNorm"), x, c->eps);
}

/* The embedding of every distance query - key: [S, S, d]. */
static om_val distances(om_scope s, const struct om_encoder *c, om_dim length)
{
    const om_val at = om_arange(s, om_int(s, 0), length);
    const om_val diff = om_sub_(s, om_unsqueeze(s, at, 1), om_unsqueeze(s, at, 0));

    return om_embed(om_sub(s, "distance_embedding"),
                    om_add(s, diff, om_i64(s, c->max_positions - 1)));
}

/* Each row of x [B,h,S,d] times its own matrix of m [S,d,S]: [B,h,S,S]. */
static om_val row_products(om_scope s, om_val x, om_val m)
{
    return om_squeeze(s, om_binary(s, OM_OP_MatMul, om_unsqueeze(s, x, 3), m), 3);
}

/* What relative positions add to the scores before the softmax. Heads are scaled first: products
 * then have the size of scores. */
static om_val relative_scores(om_scope s, const struct om_encoder *c, om_val q, om_val k)
{
    static const int64_t by_query[] = { 0, 2, 1 }, by_key[] = { 1, 2, 0 },
                         last_two[] = { 0, 1, 3, 2 };
    const om_val dist = distances(s, c, om_axis(s, q, 2));
    const double scale = 1.0 / sqrt((double)(c->hidden / c->heads));
    om_val scores = row_products(s, om_scale(s, q, scale), om_transpose(s, dist, by_query, 3));

    if (c->positions == OM_ENCODER_RELATIVE_KEY_QUERY) {
        const om_val keys =
            row_products(s, om_scale(s, k, scale), om_transpose(s, dist, by_key, 3));
        scores = om_add(s, scores, om_transpose(s, keys, last_two, 4));
    }
    return scores;
}

static om_val heads(om_scope s, const struct om_encoder *c, const char *name, om_val x)
{
    return om_split_heads(s, om_linear(om_sub(s, "%s", name), x), c->heads, c->hidden / c->heads);
}

om_val om_encoder_attention(om_scope s, const struct om_encoder *c,
                            const struct om_encoder_names *names, om_val x, om_val mask)
{
    const om_scope distance = names->distance[0] ? om_sub(s, "%s", names->distance) : s;
    struct om_attend at = { .mask = mask };

    at.q = heads(s, c, names->query, x);
    at.k = heads(s, c, names->key, x);
    at.v = heads(s, c, names->value, x);
    if (c->positions != OM_ENCODER_ABSOLUTE)
        at.mask = om_mask_bias(s, relative_scores(distance, c, at.q, at.k), mask);
    return om_linear(om_sub(s, "%s", names->out), om_merge_heads(s, om_attend(s, &at)));
}

om_val om_encoder_feed_forward(om_scope s, const struct om_encoder *c, om_val x)
{
    const om_scope up = om_sub(s, "intermediate");
    om_val h = om_linear(om_sub(up, "dense"), x);

    h = om_activate(om_sub(up, "intermediate_act_fn"), c->act, h);
    h = om_linear(om_sub(s, "output.dense"), h);
    return om_layer_norm(om_sub(s, "output.LayerNorm"), om_add(s, h, x), c->eps);
}

static om_val layer(om_scope s, const struct om_encoder *c, om_val x, om_val mask)
{
    static const struct om_encoder_names names = { .query = "self.query",
                                                   .key = "self.key",
                                                   .value = "self.value",
                                                   .out = "output.dense",
                                                   .distance = "self" };
    const om_scope at = om_sub(s, "attention");
    const om_val h = om_encoder_attention(at, c, &names, x, mask);

    x = om_layer_norm(om_sub(at, "output.LayerNorm"), om_add(at, h, x), c->eps);
    return om_encoder_feed_forward(s, c, x);
}

om_val om_encoder_layers(om_scope s, const struct om_encoder *c, om_val x, om_val mask)
{
    for (int64_t i = 0; i < c->layers && om_ok(s); i++)
        x = layer(om_sub(s, "layer.%" PRId64, i), c, x, mask);
    return x;
}

om_val om_encoder_pool(om_scope s, om_val hidden)
{
    const om_val first = om_select(s, hidden, 1, 0);

    return om_unary(s, OM_OP_Tanh, om_linear(om_sub(s, "dense"), first));
}

om_val om_encoder_vocabulary(om_scope s, bool tied, om_val x, om_val embeddings,
                             bool own_bias_first)
{
    const om_scope decoder = om_sub(s, "decoder");
    const om_scope first = own_bias_first ? s : decoder, second = own_bias_first ? decoder : s;
    const bool fall_back = !om_has_weight(first, "bias") && om_has_weight(second, "bias");
    const om_val bias = om_weight(fall_back ? second : first, "bias");

    return om_linear_with(decoder, x, tied ? embeddings : om_weight_stored(decoder, "weight"),
                          bias);
}

void om_encoder_head_roberta_lm(om_scope root, const struct om_encoder *c, bool tied,
                                bool own_bias_first, const struct om_body *body)
{
    const om_scope s = om_sub(root, "lm_head");
    om_val x = om_activate(s, OM_ACT_GELU, om_linear(om_sub(s, "dense"), body->hidden));

    x = om_layer_norm(om_sub(s, "layer_norm"), x, c->eps);
    om_output(root, "logits", om_encoder_vocabulary(s, tied, x, body->embeddings, own_bias_first));
}

void om_encoder_head_first_token(om_scope root, const void *cfg, const struct om_body *body)
{
    const om_scope s = om_sub(root, "classifier");

    (void)cfg;
    om_head_emit_labels(root, om_linear(om_sub(s, "out_proj"), om_encoder_pool(s, body->hidden)));
}
