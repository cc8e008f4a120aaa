/* src/arch/seq2seq.h: the encoder-decoder that BART and its descendants share: layers with biases
 * everywhere, learned or sinusoidal positions, one table of embeddings. */
#ifndef OM_SEQ2SEQ_H
#define OM_SEQ2SEQ_H

#include "arch/arch.h"

enum om_seq2seq_positions {
    OM_SEQ2SEQ_LEARNED,
    OM_SEQ2SEQ_SINUSOID, /* a table that a checkpoint need not hold (Vaswani et al., 2017) */
    OM_SEQ2SEQ_TOKENS    /* sinusoids as well, of positions that count tokens and skip padding */
};

/* What tells one architecture from another, whatever the configuration says. */
struct om_seq2seq_form {
    bool pre_norm; /* normalization before each block and after the last layer, not after blocks */
    bool embed_norm;       /* "layernorm_embedding" */
    bool embed_norm_first; /* of a decoder: before positions are added, in place of a scale */
    bool own_vocabularies; /* "share_encoder_decoder_embeddings" is read */
    bool own_tables;       /* without tied embeddings each side may have a table of its own */
    bool start_is_last;    /* a classifier's decoder starts with the last token of the text */
    int64_t offset;        /* rows of a learned table before that of the first position */
    enum om_seq2seq_positions positions;
};

struct om_seq2seq_side {
    int64_t layers, heads;
};

struct om_seq2seq {
    const struct om_seq2seq_form *form;
    struct om_seq2seq_side encoder, decoder;
    int64_t hidden, positions;
    int64_t pad, eos, start; /* token ids */
    enum om_act act;
    bool scale;  /* embeddings are multiplied by the root of hidden */
    bool tied;   /* the head reads the table of embeddings */
    bool shared; /* both sides read one table */
};

/* The rows of struct om_seq2seq, with BART's defaults. Dropout, layer drop and the sizes that
 * weights tell are not read. */
#define OM_SEQ2SEQ_FIELDS                                                                     \
    OM_SEQ2SEQ_SIZE(hidden, "d_model", "hidden_size", 1024),                                  \
        OM_SEQ2SEQ_SIZE(encoder.layers, "encoder_layers", NULL, 12),                          \
        OM_SEQ2SEQ_SIZE(encoder.heads, "encoder_attention_heads", "num_attention_heads", 16), \
        OM_SEQ2SEQ_SIZE(decoder.layers, "decoder_layers", NULL, 12),                          \
        OM_SEQ2SEQ_SIZE(decoder.heads, "decoder_attention_heads", NULL, 16),                  \
        OM_SEQ2SEQ_SIZE(positions, "max_position_embeddings", NULL, 1024),                    \
        OM_FIELD_INT(struct om_seq2seq, pad, "pad_token_id", 1),                              \
        OM_FIELD_INT(struct om_seq2seq, eos, "eos_token_id", 2),                              \
        OM_FIELD_INT(struct om_seq2seq, start, "decoder_start_token_id", 2),                  \
        OM_FIELD_ACT(struct om_seq2seq, act, "activation_function", OM_ACT_GELU),             \
        OM_FIELD_BOOL(struct om_seq2seq, scale, "scale_embedding", false),                    \
        OM_FIELD_BOOL(struct om_seq2seq, tied, "tie_word_embeddings", true),                  \
        OM_FIELD_REFUSE("tie_encoder_decoder", "false"), OM_FIELD_REFUSE("pruned_heads", "{}")
#define OM_SEQ2SEQ_SIZE(member, k, other, def)                                                 \
    {                                                                                          \
        .kind = OM_FIELD_KIND_INT, .key = (k), .alias = (other),                               \
        .offset = offsetof(struct om_seq2seq, member), .i = (def), .min = 1, .max = INT32_MAX, \
        .nullable = true                                                                       \
    }

/* Take the form, and check what fits together. */
int om_seq2seq_derive(struct om_seq2seq *c, const struct om_seq2seq_form *form,
                      struct om_error *err);

/* The functions of struct om_arch, for a configuration that is a struct om_seq2seq. */
extern const char *const om_seq2seq_inputs[];
void om_seq2seq_kv(const void *cfg, struct om_kv *kv);
om_val om_seq2seq_encode(om_scope root, const void *cfg, om_val ids, om_val attention_mask);
void om_seq2seq_decode(om_scope root, const void *cfg, om_val ids, om_val enc_hidden,
                       om_val enc_mask, struct om_body *body);
void om_seq2seq_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body);

/* Scores of the vocabulary: with "final_logits_bias" where the checkpoint has it; a decoder alone
 * has none. */
void om_seq2seq_head_lm(om_scope root, const void *cfg, const struct om_body *body);
void om_seq2seq_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body);
/* "classification_head" on the decoder's state at the last end of text. */
void om_seq2seq_head_sequence(om_scope root, const void *cfg, const struct om_body *body);

#endif
