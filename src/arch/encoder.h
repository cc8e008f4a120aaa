/* src/arch/encoder.h: the layers that BERT and its descendants share: post-norm, learned or
 * relative positions. */
#ifndef OM_ENCODER_H
#define OM_ENCODER_H

#include "arch/arch.h"

enum om_encoder_positions {
    OM_ENCODER_ABSOLUTE,
    OM_ENCODER_RELATIVE_KEY,      /* Shaw et al., 2018 */
    OM_ENCODER_RELATIVE_KEY_QUERY /* Huang et al., 2020, method 4 */
};

struct om_encoder {
    int64_t layers, heads, hidden, max_positions;
    double eps;
    enum om_act act;
    const char *position_type;
    enum om_encoder_positions positions; /* from position_type */
};

/* The rows of struct member m of type. is_decoder makes the attention causal, which no task of an
 * encoder asks for. */
#define OM_ENCODER_FIELDS(type, m)                                                               \
    OM_FIELD_SIZE(type, m.layers, "num_hidden_layers", 12),                                      \
        OM_FIELD_SIZE(type, m.heads, "num_attention_heads", 12),                                 \
        OM_FIELD_SIZE(type, m.hidden, "hidden_size", 768),                                       \
        OM_FIELD_SIZE(type, m.max_positions, "max_position_embeddings", 512),                    \
        OM_FIELD_F64(type, m.eps, "layer_norm_eps", 1e-12),                                      \
        OM_FIELD_ACT(type, m.act, "hidden_act", OM_ACT_GELU),                                    \
        OM_FIELD_STR(type, m.position_type, "position_embedding_type", "absolute"),              \
        OM_FIELD_REFUSE("is_decoder", "false"), OM_FIELD_REFUSE("add_cross_attention", "false"), \
        OM_FIELD_REFUSE("pruned_heads", "{}")

/* Fill positions and check what fits together. */
int om_encoder_check(struct om_encoder *c, struct om_error *err);

/* Word, type and position embeddings, summed and normalised; body->embeddings is set. position_ids
 * {0}: 0, 1, 2 ... */
om_val om_encoder_embed(om_scope s, const struct om_encoder *c, om_val position_ids,
                        struct om_body *body);
/* Positions that count tokens from pad + 1 up, padding stays at pad. */
om_val om_encoder_positions(om_scope s, om_val ids, int64_t pad);

/* How an architecture calls the linear layers of its attention, below the scope of the attention.
 */
struct om_encoder_names {
    const char *query, *key, *value, *out;
    const char *distance; /* the module that holds distance_embedding; "" is the scope itself */
};
/* Self-attention and its output projection, before the residual. */
om_val om_encoder_attention(om_scope s, const struct om_encoder *c,
                            const struct om_encoder_names *names, om_val x, om_val mask);

/* intermediate.dense, the activation, output.dense, the residual and output.LayerNorm. */
om_val om_encoder_feed_forward(om_scope s, const struct om_encoder *c, om_val x);
/* BERT's layers. s: "encoder", with "layer.N" below. mask as om_mask_padding() gives it. */
om_val om_encoder_layers(om_scope s, const struct om_encoder *c, om_val x, om_val mask);
/* tanh(dense(the first token)); s has "dense" below. */
om_val om_encoder_pool(om_scope s, om_val hidden);
/* Scores of the vocabulary: "decoder.weight" below s, or the embedding table when tied, plus the
 * bias, which is called "bias" or "decoder.bias"; of two, own_bias_first says which one the model
 * uses. */
om_val om_encoder_vocabulary(om_scope s, bool tied, om_val x, om_val embeddings,
                             bool own_bias_first);

/* RoBERTa's heads. "lm_head": dense, gelu, layer_norm and om_encoder_vocabulary(). "classifier":
 * dense, tanh and the classes on the first token, instead of a pooler. */
void om_encoder_head_roberta_lm(om_scope root, const struct om_encoder *c, bool tied,
                                bool own_bias_first, const struct om_body *body);
void om_encoder_head_first_token(om_scope root, const void *cfg, const struct om_body *body);

#endif
