/* src/arch/decoder.h: the layers that Llama and its relatives share: pre-norm, rotary embeddings,
 * grouped heads, a gated feed-forward block. */
#ifndef OM_DECODER_H
#define OM_DECODER_H

#include "arch/arch.h"

struct om_decoder {
    int64_t layers, hidden, heads, kv_heads, head_dim;
    int64_t window; /* 0, or how many tokens a token sees */
    double eps;
    enum om_act act;
    bool qkv_bias, out_bias, mlp_bias;
    struct om_rope_config rope;
};

/* Fill in what a configuration may leave out (kv_heads and head_dim are 0 then), check what fits
 * together, and read the rotary parameters. */
int om_decoder_derive(struct om_arena *a, struct om_decoder *c, const struct om_config *config,
                      const struct om_rope_defaults *rope, struct om_error *err);
void om_decoder_kv(const struct om_decoder *c, struct om_kv *kv);

/* x through all layers; s has "layers.N" below. ids give the length. */
om_val om_decoder_layers(om_scope s, const struct om_decoder *c, om_val ids, om_val x);

/* Scores of the vocabulary: "lm_head" of the root, or the embedding table when tied. */
om_val om_decoder_vocabulary(om_scope root, bool tied, const struct om_body *body);

/* The mask of a decoder whose inputs are ids and, where the file has it, attention_mask. */
om_val om_decoder_mask(om_scope s, om_val ids, int64_t window);

#endif
