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
#define OM_ENCODER_FIELDS(type, m)                                                  \
    OM_FIELD_SIZE(type, m.layers, "num_hidden_layers", 12),                         \
        OM_FIELD_SIZE(type, m.heads, "num_attention_heads", 12),                    \
        OM_FIELD_SIZE(type, m.hidden, "hidden_size", 768),                          \
        OM_FIELD_SIZE(type, m.max_positions, "max_position_embeddings", 512),       \
        OM_FIELD_F64(type, m.eps, "layer_norm_eps", 1e-12),                         \
        OM_FIELD_ACT(type, m.act, "hidden_act", OM_ACT_GELU),                       \
        OM_FIELD_STR(type, m.position_type, "position_embedding_type", "absolute"), \
        OM_FIELD_REFUSE("is_decoder", "false"), OM_FIELD_REFUSE("add_cross_attention", "false")

/* Fill positions and check what fits together. */
int om_encoder_check(struct om_encoder *c, struct om_error *err);

/* s: "encoder", with "layer.N" below. mask as om_mask_padding() gives it. */
om_val om_encoder_layers(om_scope s, const struct om_encoder *c, om_val x, om_val mask);
/* tanh(dense(the first token)); s has "dense" below. */
om_val om_encoder_pool(om_scope s, om_val hidden);
/* Scores of the vocabulary: "decoder.weight" below s, or the embedding table when tied, plus the
 * bias, which is called "bias" or "decoder.bias"; of two, own_bias_first says which one the model
 * uses. */
om_val om_encoder_vocabulary(om_scope s, bool tied, om_val x, om_val embeddings,
                             bool own_bias_first);

#endif
