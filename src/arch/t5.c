/* src/arch/t5.c: T5, an encoder-decoder whose attention adds a learned bias per distance instead of
 * scaling the scores (Raffel et al., 2020). */
#include "arch/decoder.h"

#include <math.h>

#define DISTANCE_MAX (1 << 16)

struct t5 {
    int64_t layers, decoder_layers, heads, head_dim, hidden, buckets, max_distance;
    double eps;
    const char *feed_forward;
    const char *act_name; /* NULL: as feed_forward says */
    enum om_act act;
    bool gated, tied;
};

#define T5_SIZE(member, k, other, def)                                                 \
    {                                                                                  \
        .kind = OM_FIELD_KIND_INT, .key = (k), .alias = (other),                       \
        .offset = offsetof(struct t5, member), .i = (def), .min = 1, .max = INT32_MAX, \
        .nullable = true                                                               \
    }

#define T5_FIELDS                                                                              \
    T5_SIZE(hidden, "d_model", "hidden_size", 512), T5_SIZE(head_dim, "d_kv", "head_dim", 64), \
        T5_SIZE(layers, "num_layers", "num_hidden_layers", 6),                                 \
        T5_SIZE(heads, "num_heads", "num_attention_heads", 8),                                 \
        OM_FIELD_SIZE(struct t5, decoder_layers, "num_decoder_layers", 0),                     \
        T5_DISTANCE(buckets, "relative_attention_num_buckets", 32, 4),                         \
        T5_DISTANCE(max_distance, "relative_attention_max_distance", 128, 2),                  \
        OM_FIELD_F64(struct t5, eps, "layer_norm_epsilon", 1e-6),                              \
        OM_FIELD_STR(struct t5, feed_forward, "feed_forward_proj", "relu"),                    \
        OM_FIELD_STR(struct t5, act_name, "dense_act_fn", NULL),                               \
        OM_FIELD_BOOL(struct t5, tied, "tie_word_embeddings", true),                           \
        OM_FIELD_REFUSE("pruned_heads", "{}"), OM_FIELD_REFUSE("tie_encoder_decoder", "false")
#define T5_DISTANCE(member, k, def, least)                                                        \
    {                                                                                             \
        .kind = OM_FIELD_KIND_INT, .key = (k), .offset = offsetof(struct t5, member), .i = (def), \
        .min = (least), .max = DISTANCE_MAX                                                       \
    }

static const struct om_field t5_fields[] = { T5_FIELDS, OM_FIELD_END };

static const struct om_field mt5_fields[] = {
    T5_FIELDS,
    T5_SIZE(layers, "num_layers", "num_hidden_layers", 8),
    T5_SIZE(heads, "num_heads", "num_attention_heads", 6),
    OM_FIELD_STR(struct t5, feed_forward, "feed_forward_proj", "gated-gelu"),
    OM_FIELD_BOOL(struct t5, tied, "tie_word_embeddings", false),
    OM_FIELD_END
};

/* "relu", or "gated-silu": an activation, and whether a second projection gates it. */
static int read_feed_forward(struct t5 *c, const struct om_json *doc, struct om_error *err)
{
    static const char prefix[] = "gated-";
    const om_sv whole = om_sv_str(c->feed_forward);
    om_sv name = whole;
    const char *key = "feed_forward_proj";

    c->gated = om_sv_starts(whole, om_sv_str(prefix));
    if (c->gated)
        name = (om_sv){ whole.ptr + sizeof(prefix) - 1, whole.len - (sizeof(prefix) - 1) };
    if (om_sv_is(whole, "gated-gelu")) /* what the first checkpoints with this name meant */
        name = om_sv_str("gelu_new");
    if (c->act_name) { /* saved beside it, and overrides it */
        key = "dense_act_fn";
        name = om_sv_str(c->act_name);
    }
    om_json_bool(om_json_get(doc, "is_gated_act"), &c->gated);
    if (om_act_parse(name, &c->act))
        return 0;
    return om_fail(err, OM_E_CONFIG, "key \"%s\": unknown activation \"%.*s\"", key,
                   (int)OM_MIN(name.len, 64), name.ptr);
}

static int t5_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                     struct om_error *err)
{
    struct t5 *c = cfg;

    (void)a;
    if (c->decoder_layers == 0)
        c->decoder_layers = c->layers;
    if (c->max_distance <= c->buckets / 2)
        return om_fail(err, OM_E_CONFIG,
                       "relative_attention_max_distance %" PRId64
                       " is not above half of relative_attention_num_buckets %" PRId64,
                       c->max_distance, c->buckets);
    return read_feed_forward(c, config->doc, err);
}

static void t5_kv(const void *cfg, struct om_kv *kv)
{
    const struct t5 *c = cfg;

    *kv = (struct om_kv){
        .layers = c->decoder_layers, .heads = c->heads, .head_dim = c->head_dim, .hidden = c->hidden
    };
}

/* ---- layers ---- */

struct stack {
    const struct t5 *c;
    om_val self_mask;              /* bias included */
    om_val cross_mask, enc_hidden; /* of a decoder; {0}: no padding, cached */
    bool decoder;
};

static om_val heads(om_scope s, const struct t5 *c, const char *name, om_val x)
{
    return om_split_heads(s, om_linear_nobias(om_sub(s, "%s", name), x), c->heads, c->head_dim);
}

static om_val attend(om_scope s, struct om_attend *at)
{
    at->scale = 1.0;
    return om_linear_nobias(om_sub(s, "o"), om_merge_heads(s, om_attend(s, at)));
}

static om_val self_attention(om_scope s, const struct stack *st, int64_t layer, om_val x)
{
    struct om_attend at = { .mask = st->self_mask };

    at.q = heads(s, st->c, "q", x);
    at.k = heads(s, st->c, "k", x);
    at.v = heads(s, st->c, "v", x);
    if (st->decoder)
        om_cache_extend(s, layer, &at.k, &at.v);
    return attend(s, &at);
}

static om_val cross_attention(om_scope s, const struct stack *st, int64_t layer, om_val x)
{
    struct om_attend at = { .mask = st->cross_mask };

    at.q = heads(s, st->c, "q", x);
    if (!om_cache_cross_get(s, layer, &at.k, &at.v)) {
        at.k = heads(s, st->c, "k", st->enc_hidden);
        at.v = heads(s, st->c, "v", st->enc_hidden);
        om_cache_cross_set(s, layer, &at.k, &at.v);
    }
    return attend(s, &at);
}

static om_val feed_forward(om_scope s, const struct t5 *c, om_val x)
{
    const om_scope act = om_sub(s, "act");
    om_val h;

    if (c->gated) {
        h = om_widen(s, om_activate(act, c->act, om_linear_nobias(om_sub(s, "wi_0"), x)));
        h = om_mul(s, h, om_widen(s, om_linear_nobias(om_sub(s, "wi_1"), x)));
    } else {
        h = om_activate(act, c->act, om_linear_nobias(om_sub(s, "wi"), x));
    }
    return om_linear_wide(om_sub(s, "wo"), h);
}

/* x and the result of a layer, which grow beyond what 16 bits hold: Transformers keeps "wo", and
 * thereby the sum, in float32, and clamps what else became infinite. */
static om_val residual(om_scope s, om_val x, om_val h)
{
    return om_add(s, x, om_widen(s, om_saturate(s, h)));
}

static om_val block(om_scope s, const struct stack *st, int64_t i, om_val x)
{
    om_scope part = om_sub(s, "layer.0");
    om_val h = om_rms_norm(om_sub(part, "layer_norm"), x, st->c->eps);

    x = residual(part, x, self_attention(om_sub(part, "SelfAttention"), st, i, h));
    if (st->decoder) {
        part = om_sub(s, "layer.1");
        h = om_rms_norm(om_sub(part, "layer_norm"), x, st->c->eps);
        x = residual(part, x, cross_attention(om_sub(part, "EncDecAttention"), st, i, h));
    }
    part = om_sub(s, st->decoder ? "layer.2" : "layer.1");
    h = om_rms_norm(om_sub(part, "layer_norm"), x, st->c->eps);
    return residual(part, x, feed_forward(om_sub(part, "DenseReluDense"), st->c, h));
}

static om_val blocks(om_scope s, const struct stack *st, int64_t n, om_val x)
{
    x = om_widen(s, x);
    for (int64_t i = 0; i < n && om_ok(s); i++)
        x = block(om_sub(s, "block.%" PRId64, i), st, i, x);
    return om_rms_norm(om_sub(s, "final_layer_norm"), x, st->c->eps);
}

/* ---- the two sides ---- */

static om_scope base(om_scope root)
{
    return om_sub_optional(root, "transformer"); /* of classifiers over a T5Model */
}

/* The one embedding table has several names; a file holds it under one of them. */
static om_val embeddings(om_scope s, const struct t5 *c)
{
    static const char *const names[] = { "shared", "encoder.embed_tokens", "decoder.embed_tokens",
                                         "lm_head" };

    for (size_t i = 0; i < (c->tied ? OM_COUNT(names) : OM_COUNT(names) - 1); i++) {
        const om_scope at = om_sub(s, "%s", names[i]);
        if (om_has_weight(at, "weight"))
            return om_weight_stored(at, "weight");
    }
    return om_weight_stored(om_sub(s, "shared"), "weight");
}

/* The first layer holds the bias of all. */
static om_val position_bias(om_scope s, const struct t5 *c, om_dim query, om_dim key,
                            bool both_ways)
{
    return om_relative_bias(om_sub(s, "block.0.layer.0.SelfAttention.relative_attention_bias"),
                            &(struct om_relative){ .buckets = c->buckets,
                                                   .max_distance = c->max_distance,
                                                   .query = query,
                                                   .key = key,
                                                   .both_ways = both_ways });
}

static om_val t5_encode(om_scope root, const void *cfg, om_val ids, om_val attention_mask)
{
    const struct t5 *c = cfg;
    const om_scope model = base(root), s = om_sub(model, "encoder");
    const om_val x = om_embed_with(om_sub(s, "embed_tokens"), embeddings(model, c), ids);
    const om_dim length = om_axis(s, ids, 1);
    struct stack st = { .c = c };

    st.self_mask = om_mask_bias(s, position_bias(s, c, length, length, true),
                                om_mask_padding(s, attention_mask));
    return blocks(s, &st, c->layers, x);
}

static void t5_decode(om_scope root, const void *cfg, om_val ids, om_val enc_hidden,
                      om_val enc_mask, struct om_body *body)
{
    const struct t5 *c = cfg;
    const om_scope model = base(root), s = om_sub(model, "decoder");
    const om_dim query = om_axis(s, ids, 1), past = om_cache_past_length(s);
    struct stack st = { .c = c, .enc_hidden = enc_hidden, .decoder = true };
    struct om_causal causal = { .query = query };
    om_val x, bias;

    if (!query || !past)
        return;
    causal.key = om_dim_add(s.b->g->dims, past, query);
    body->embeddings = embeddings(model, c);
    x = om_embed_with(om_sub(s, "embed_tokens"), body->embeddings, ids);
    bias = position_bias(s, c, query, causal.key, false);
    st.self_mask = om_mask_bias(s, bias, om_mask_additive(s, om_mask_causal(s, &causal)));
    if (om_valid(enc_mask))
        st.cross_mask = om_mask_padding(s, enc_mask);
    body->hidden = blocks(s, &st, c->decoder_layers, x);
}

static void t5_head_seq2seq_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct t5 *c = cfg;
    const om_scope s = om_sub(root, "lm_head");
    const double scale = c->tied ? 1.0 / sqrt((double)c->hidden) : 1.0;
    const om_val weight = c->tied ? body->embeddings : om_weight_stored(s, "weight");

    om_output(root, "logits",
              om_linear_with(s, om_scale(s, body->hidden, scale), weight, (om_val){ 0 }));
}

#define T5_ARCH(table)                                                              \
    {                                                                               \
        .kind = OM_ARCH_SEQ2SEQ, .cfg_size = sizeof(struct t5), .fields = (table),  \
        .derive = t5_derive, .inputs = t5_inputs, .kv = t5_kv, .encode = t5_encode, \
        .decode = t5_decode, .heads = {                                             \
            [OM_HEAD_HIDDEN] = om_head_hidden,                                      \
            [OM_HEAD_SEQ2SEQ_LM] = t5_head_seq2seq_lm,                              \
        }                                                                           \
    }

static const char *const t5_inputs[] = { "encoder_attention_mask", "input_ids",
                                         "encoder_hidden_states", "past_key_values", NULL };

const struct om_arch om_arch_t5 = T5_ARCH(t5_fields);
const struct om_arch om_arch_mt5 = T5_ARCH(mt5_fields); /* Xue et al., 2021: other defaults */
