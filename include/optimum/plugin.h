/* include/optimum/plugin.h: architectures outside the library.
 *
 * A plugin is a shared object that holds a table of model types. It is written with the functions of <optimum/nn.h> and <optimum/config.h>, which
 * the program or library that loads it provides: link it against nothing of Optimum's. The library's own architectures use the same
 * functions and the same struct. See CONTRIBUTING.md, "Adding an architecture as a plugin", and examples/plugin.
 *
 * A plugin is code: load only what you trust. */
#ifndef OPTIMUM_PLUGIN_H
#define OPTIMUM_PLUGIN_H

#include <optimum/ctx.h>
#include <optimum/nn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The number of what plugins and the library share: names, structs and enums of this header, nn.h and config.h. It changes whenever
 * one of them does in a way that an older plugin would notice. */
#define OM_PLUGIN_ABI 1

/* ---- heads ---- */

/* What is put on top of the body of a model. */
enum om_head {
    OM_HEAD_HIDDEN, /* last_hidden_state */
    OM_HEAD_MASKED_LM,
    OM_HEAD_CAUSAL_LM,
    OM_HEAD_SEQ2SEQ_LM,
    OM_HEAD_SEQUENCE, /* one label per text */
    OM_HEAD_TOKEN,    /* one label per token */
    OM_HEAD_SPAN,     /* start and end of an answer */
    OM_HEAD_CHOICE,   /* one score per choice */
    OM_HEAD_COUNT     /* also: of a task that no architecture offers yet */
};

/* What the body of a model gives to a head. */
struct om_body {
    om_val hidden;      /* [B,S,H] */
    om_val pooled;      /* [B,H] where the architecture has a pooler and the head asks for it */
    om_val embeddings;  /* the word embedding table as stored, for tied heads */
    const int64_t *pad; /* the id of padding where it is not the configuration's own pad_token_id */
};

/* Heads that several architectures share. root is the checkpoint's root; each emits its outputs. */
OM_API void om_head_hidden(om_scope root, const void *cfg,
                    const struct om_body *body); /* last_hidden_state */
OM_API void om_head_token(om_scope root, const void *cfg,
                   const struct om_body *body); /* "classifier" on every token */
OM_API void om_head_span(om_scope root, const void *cfg, const struct om_body *body); /* "qa_outputs" */
OM_API void om_head_pooled(om_scope root, const void *cfg,
                    const struct om_body *body); /* "classifier" on the pooled output */
OM_API void om_head_choice(om_scope root, const void *cfg,
                    const struct om_body *body); /* the same, one score per choice */
/* Give logits [B*num_choices, 1] their form [B, num_choices] and emit them. */
OM_API void om_head_emit_choice(om_scope root, om_val logits);
/* "score" on every token (no bias), the row of the last token that is not padding: decoders'
 * text-classification. */
OM_API void om_head_last_token(om_scope root, const void *cfg, const struct om_body *body);
/* The number of labels must be the configuration's: checks a classifier's output and emits it as
 * logits. */
OM_API void om_head_emit_labels(om_scope root, om_val logits);

/* ---- architectures ---- */

/* The key/value cache of a decoder: of one layer [batch, heads, length, head_dim]. */
struct om_kv {
    int64_t layers, heads, head_dim;
    int64_t hidden; /* of an encoder-decoder: the last axis of the encoder's hidden states */
};

enum om_arch_kind {
    OM_ARCH_ENCODER, /* text in, hidden states out */
    OM_ARCH_DECODER, /* causal, with a key/value cache */
    OM_ARCH_SEQ2SEQ  /* encoder-decoder with self- and cross-attention caches */
};

typedef void om_head_fn(om_scope root, const void *cfg, const struct om_body *body);

struct om_arch {
    enum om_arch_kind kind;
    size_t cfg_size;
    const struct om_field *fields;
    /* After the fields: derived values and refusals. May be NULL. cfg members that the table filled
     * may be changed. */
    int (*derive)(struct om_arena *a, void *cfg, const struct om_config *config,
                  struct om_error *err);
    /* Graph inputs in the order of the original's forward(). "past_key_values" stands for the whole
     * cache, position_ids is left out where the task has none. Of a decoder part for SEQ2SEQ (its
     * encoder takes input_ids, attention_mask). */
    const char *const *inputs;
    /* Whether a configuration makes use of one of them. NULL: of all. */
    bool (*takes)(const void *cfg, const char *input);
    void (*kv)(const void *cfg, struct om_kv *kv); /* DECODER and SEQ2SEQ */
    /* The class's pad_token_id, which holds where config.json has none; NULL: it has none either.
     */
    const int64_t *pad_token_id;
    /* ENCODER, DECODER: the body. wants: the head that follows. SEQ2SEQ: of the tasks that are not
     * two-sided; NULL where there are none. */
    void (*build)(om_scope root, const void *cfg, enum om_head head, struct om_body *body);
    /* SEQ2SEQ: the encoder's hidden states, and the decoder's body. enc_hidden is {0} where past
     * inputs replace it. */
    om_val (*encode)(om_scope root, const void *cfg, om_val ids, om_val attention_mask);
    void (*decode)(om_scope root, const void *cfg, om_val ids, om_val enc_hidden, om_val enc_mask,
                   struct om_body *body);
    om_head_fn *heads[OM_HEAD_COUNT]; /* NULL: the task is not offered */
};

/* ---- the plugin ---- */

struct om_plugin_arch {
    const char *model_type; /* of config.json; none that the library or another plugin has */
    const struct om_arch *arch;
};

struct om_plugin {
    uint32_t abi;     /* OM_PLUGIN_ABI */
    const char *name; /* for messages */
    const struct om_plugin_arch *archs; /* ends with a NULL model_type */
};

/* What a plugin defines: OM_PLUGIN("my models", table); */
#define OM_PLUGIN_SYMBOL "om_plugin_entry"
#ifdef __cplusplus
#define OM_PLUGIN_LINKAGE extern "C"
#else
#define OM_PLUGIN_LINKAGE extern
#endif
#define OM_PLUGIN(plugin_name, table)                                                         \
    OM_PLUGIN_LINKAGE __attribute__((visibility("default"))) const struct om_plugin om_plugin_entry; \
    const struct om_plugin om_plugin_entry = { OM_PLUGIN_ABI, plugin_name, table }

/* Load path into ctx: from now on calls with this context know its model types. It is unloaded with the context. A file that is no plugin, one
 * for another ABI, a table that lacks something and a model type that exists already are errors, and nothing is loaded then. */
OM_API int om_plugin_load(struct om_ctx *ctx, const char *path, struct om_error *err);

#ifdef __cplusplus
}
#endif

#endif
