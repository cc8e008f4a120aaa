/* src/arch/gpt.h: what GPT-2 and its relatives share: decoders with LayerNorm and a feed-forward
 * block of two linear layers. Each has its own layer; these are the parts. */
#ifndef OM_GPT_H
#define OM_GPT_H

#include "arch/decoder.h"

struct om_gpt {
    int64_t layers, hidden, heads;
    int64_t kv_heads, head_dim; /* 0 until om_gpt_check(): heads, hidden / heads */
    double eps;
    enum om_act act;
    bool tied; /* the head is the embedding table */
};

/* A size that has another name as well, which wins. */
#define OM_GPT_SIZE(type, member, k, other, def)                                                   \
    {                                                                                              \
        .kind = OM_FIELD_KIND_INT, .key = (k), .alias = (other), .offset = offsetof(type, member), \
        .i = (def), .min = 1, .max = INT32_MAX                                                     \
    }
/* The rows of struct om_gpt member m, in GPT-2's spelling. */
#define OM_GPT_FIELDS(type, m, n_layer, n_head, n_embd, function, tie)       \
    OM_GPT_SIZE(type, m.layers, "n_layer", "num_hidden_layers", n_layer),    \
        OM_GPT_SIZE(type, m.heads, "n_head", "num_attention_heads", n_head), \
        OM_GPT_SIZE(type, m.hidden, "n_embd", "hidden_size", n_embd),        \
        OM_FIELD_F64(type, m.eps, "layer_norm_epsilon", 1e-5),               \
        OM_FIELD_ACT(type, m.act, "activation_function", function),          \
        OM_FIELD_BOOL(type, m.tied, "tie_word_embeddings", tie)

/* Fill kv_heads and head_dim, and check what fits together; the names of keys are for messages. */
int om_gpt_check(struct om_gpt *c, const char *hidden_key, const char *heads_key,
                 struct om_error *err);
void om_gpt_kv(const struct om_gpt *c, struct om_kv *kv);

/* Tokens as vectors; words is the scope of the table, which becomes body->embeddings. */
om_val om_gpt_embed(om_scope words, om_val ids, struct om_body *body);

/* The mask of models whose own attention adds it to the scores: where a query sees no key (padding
 * on the left) all keys weigh the same. */
om_val om_gpt_mask(om_scope s, om_val ids);

/* q, k, v from three layers without or with bias, names as in s. */
struct om_gpt_names {
    const char *q, *k, *v;
    bool bias;
};
void om_gpt_project(om_scope s, const struct om_gpt *c, const struct om_gpt_names *names, om_val x,
                    struct om_attend *at);
/* Attention with the layer's cache: [B,S,h*d], before the output projection. */
om_val om_gpt_attend(om_scope s, int64_t layer, struct om_attend *at);

om_val om_gpt_linear(om_scope s, om_val x, bool bias);
/* down(act(up(x))). */
om_val om_gpt_feed_forward(om_scope s, const char *up, const char *down, enum om_act act, bool bias,
                           om_val x);

/* Scores of the vocabulary as logits: the layer called name, or the embedding table when tied. */
void om_gpt_head(om_scope root, const char *name, bool tied, bool bias, const struct om_body *body);

#endif
