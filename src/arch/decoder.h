/* src/arch/decoder.h: the layers that Llama and its relatives share: rotary embeddings, grouped
 * heads, a feed-forward block, and what each of them does its own way. */
#ifndef OM_DECODER_H
#define OM_DECODER_H

#include "arch/arch.h"

enum om_decoder_norm {
    OM_DECODER_RMS,          /* Zhang and Sennrich, 2019 */
    OM_DECODER_RMS_1P,       /* weights are stored as their difference from 1 */
    OM_DECODER_LAYER_1P,     /* the same, of a LayerNorm */
    OM_DECODER_LAYER_NOBIAS, /* LayerNorm without bias */
    OM_DECODER_LAYER_PLAIN   /* LayerNorm without weights */
};

/* Where the norms of a layer stand. */
enum om_decoder_order {
    OM_DECODER_PRE,      /* before attention and before feed-forward */
    OM_DECODER_POST,     /* after each of them, before the residual is added */
    OM_DECODER_AROUND,   /* before and after */
    OM_DECODER_PARALLEL, /* one, before both; both read the same */
    OM_DECODER_ORDER_COUNT
};

/* Norms of queries and keys. */
enum om_decoder_qk_norm {
    OM_DECODER_QK_NONE,
    OM_DECODER_QK_HEAD,  /* of each head, the heads share weights */
    OM_DECODER_QK_HEADS, /* of each head, with weights of its own */
    OM_DECODER_QK_WHOLE  /* over all heads at once */
};

enum om_decoder_mlp {
    OM_DECODER_GATED, /* gate_proj, up_proj, down_proj */
    OM_DECODER_FUSED, /* the same, gate and up in one matrix */
    OM_DECODER_PLAIN  /* up_proj, down_proj */
};

/* What an architecture does differently whatever its configuration says; zero is Llama. */
struct om_decoder_kind {
    enum om_decoder_norm norm;
    enum om_decoder_order order;
    enum om_decoder_mlp mlp;
    enum om_decoder_qk_norm qk_norm;
    bool fused_qkv;    /* one qkv_proj */
    bool out_unbiased; /* attention_bias does not concern o_proj */
    bool interleaved;  /* rotary dims of a pair are neighbours */
    bool partial;      /* partial_rotary_factor may be less than 1 */
    struct om_rope_defaults rope;
};

struct om_decoder {
    const struct om_decoder_kind *kind;
    /* of config.json */
    int64_t layers, hidden, heads, kv_heads, head_dim;
    double eps;
    enum om_act act;
    bool attention_bias, mlp_bias, tied;
    int64_t window; /* 0, or how many tokens a token sees */
    /* 0: none. Scores of attention are multiplied by scale (0: 1/sqrt(head_dim)), queries, keys and
     * values are clipped, embeddings, what is added to the residual, and logits are multiplied. */
    double scale, clip, embedding_scale, residual_scale, logit_scale, logit_cap;
    /* by layer, NULL: all of them */
    const bool *slides;  /* layers that see window tokens */
    const bool *rotates; /* layers with rotary embeddings */
    bool both_ways;      /* tokens see those that follow */
    enum om_decoder_qk_norm qk_norm;
    struct om_rope_config rope, local_rope; /* local_rope, when it has a type: of sliding layers */
};

/* The rows that nearly all share, with Llama's defaults; a later row for the same member gives
 * another default. */
#define OM_DECODER_FIELDS                                                         \
    OM_FIELD_SIZE(struct om_decoder, layers, "num_hidden_layers", 32),            \
        OM_FIELD_SIZE(struct om_decoder, hidden, "hidden_size", 4096),            \
        OM_FIELD_SIZE(struct om_decoder, heads, "num_attention_heads", 32),       \
        OM_FIELD_SIZE_OFF(struct om_decoder, kv_heads, "num_key_value_heads", 0), \
        OM_FIELD_SIZE(struct om_decoder, head_dim, "head_dim", 0),                \
        OM_FIELD_F64(struct om_decoder, eps, "rms_norm_eps", 1e-6),               \
        OM_FIELD_ACT(struct om_decoder, act, "hidden_act", OM_ACT_SILU),          \
        OM_FIELD_BOOL(struct om_decoder, tied, "tie_word_embeddings", false)

/* Fill in what a configuration may leave out (kv_heads and head_dim are 0 then), check what fits
 * together, and read the rotary parameters. doc: config.json or the object in it that describes the
 * decoder. */
int om_decoder_derive(struct om_arena *a, struct om_decoder *c, const struct om_decoder_kind *kind,
                      const struct om_json *doc, struct om_error *err);
/* Fill slides from the key layer_types or, where it is absent, from by_default. */
int om_decoder_layer_types(struct om_arena *a, struct om_decoder *c, const struct om_json *doc,
                           bool (*by_default)(const void *user, int64_t layer), const void *user,
                           struct om_error *err);

/* scale holds the key query_pre_attn_scalar: make it what scores are multiplied by. */
int om_decoder_query_scale(struct om_decoder *c, struct om_error *err);

/* ---- entries of struct om_arch; cfg begins with a struct om_decoder ---- */

extern const char *const om_decoder_inputs[];    /* with position_ids */
extern const char *const om_decoder_inputs_np[]; /* without */
void om_decoder_kv(const void *cfg, struct om_kv *kv);
void om_decoder_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body);
void om_decoder_head(om_scope root, const void *cfg, const struct om_body *body); /* lm_head */

/* ---- the parts of them ---- */

/* Embeddings, layers and the last norm; s has "embed_tokens", "layers.N" and "norm" below. */
void om_decoder_body(om_scope s, const struct om_decoder *c, om_val ids, struct om_body *body);

/* Scores of the vocabulary: "lm_head" of the root, or the embedding table when tied. */
om_val om_decoder_vocabulary(om_scope root, bool tied, const struct om_body *body);

/* The mask of a decoder whose inputs are ids and, where the file has it, attention_mask. */
om_val om_decoder_mask(om_scope s, om_val ids, int64_t window);

#endif
