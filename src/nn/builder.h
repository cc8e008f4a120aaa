/* src/nn/builder.h: what stands behind an om_scope while one graph is built: the graph, the checkpoint whose tensors
 * it asks for, and the ports of the file.
 *
 * The builder is sticky like the graph. A weight that the checkpoint lacks does not stop the build: its name is
 * noted, the value is invalid, everything computed from it is invalid too, and om_builder_finish() names all of them
 * in one error. Used by src/task and src/arch/build.c; architectures see nn.h only. */
#ifndef OM_BUILDER_H
#define OM_BUILDER_H

#include <optimum/plugin.h>

#include "ckpt/ckpt.h"
#include "config/config.h"
#include "ir/graph.h"
#include "nn/nn.h"

/* Axis symbols that get a fixed value (--no-dynamic-axes). */
struct om_axis_fix {
    const char *symbol;
    int64_t value;
};

struct om_builder_input {
    om_sv name;
    om_val port; /* the graph's input */
    om_val val;  /* what om_input() gives: the port, or its flattened form (multiple choice) */
};

/* A checkpoint that weights come from. */
struct om_source {
    const struct om_ckpt *ckpt;
    const char *prefix;             /* of its tensors' names in the graph: "", or "2_Dense." */
    bool *used;                     /* by index into ckpt->tensors */
    struct om_source *next;
};

/* A mask that hides what comes later, padding, and with a window what lies further back. */
struct om_sight {
    om_val mask;
    int64_t window; /* 0: none */
};

struct om_builder {
    struct om_graph *g;
    struct om_ctx *ctx;
    const char *file;               /* "model.onnx", for messages */
    const struct om_config *config;
    struct om_source *sources;      /* newest first; the last one is the model's own checkpoint */
    enum om_dtype compute;          /* of activations: OM_F32, OM_F16, OM_BF16 */
    /* Of float weights in the file, OM_DTYPE_NONE: as in the checkpoint. A weight whose storage is not the dtype it is computed
     * with is followed by a Cast; a lookup gathers first. */
    enum om_dtype storage;
    bool storage_follows;           /* instead: each weight is stored in the dtype it is computed with */
    const struct om_axis_fix *fixes;
    size_t n_fixes;

    struct om_builder_input *inputs;
    size_t n_inputs, cap_inputs;

    /* Cache: set by the task layer before the body is built. */
    struct om_kv kv;
    bool past, present;             /* past_key_values are inputs; present key/values are outputs */
    bool cross;                     /* names carry ".decoder"/".encoder" and cross-attention is cached as well */
    bool cross_grows;               /* keys and values of the encoder's states not yet cached are computed and appended */
    om_val *presents;               /* what the body recorded: om_builder_slots() values per layer, {0}: none */

    struct om_sight *sights;        /* masks of decoders that were made */
    size_t n_sights, cap_sights;
    /* Rotary tables hold all positions where frequencies are constant, and are looked up by positions. */
    bool rope_cache;
    om_val positions;               /* of the tables: what om_rope_tables() was given */

    const char **missing;           /* full names of tensors, each once */
    size_t n_missing, cap_missing;
};

/* ckpt must outlive the graph (weights are views). file is borrowed. */
int om_builder_init(struct om_builder *b, struct om_graph *g, struct om_ctx *ctx, const struct om_ckpt *ckpt,
                    const struct om_config *config, const char *file, struct om_error *err);
void om_builder_release(struct om_builder *b);

/* The root scope: no prefix. */
om_scope om_builder_root(struct om_builder *b);

/* An axis by text ("past_sequence_length + sequence_length", "batch_size", "32"), fixed values applied. */
om_dim om_builder_axis(struct om_builder *b, const char *text);

/* Declare an input; axes is a NULL-terminated list of axis texts. */
om_val om_builder_input(struct om_builder *b, const char *name, enum om_dtype dtype, const char *const *axes);

/* Set the cache's shape before the body is built. */
void om_builder_set_kv(struct om_builder *b, const struct om_kv *kv);
/* The cache has slots per layer: key and value; with cross-attention decoder key and value, encoder key and value. */
enum om_kv_slot { OM_KV_KEY, OM_KV_VALUE, OM_KV_CROSS_KEY, OM_KV_CROSS_VALUE };
size_t om_builder_slots(const struct om_builder *b);
/* "past_key_values.0.key", "present.1.encoder.value" ... by the builder's cross; arena. */
const char *om_builder_cache_name(struct om_builder *b, const char *stem, int64_t layer, enum om_kv_slot slot);
/* Record what becomes an output after the head's. Ignored where the file has no present outputs. */
void om_builder_set_present(struct om_builder *b, int64_t layer, enum om_kv_slot slot, om_val v);

/* The failure of the graph; else OM_E_MISSING that names every missing tensor; else 0 after a debug line for each
 * tensor of the checkpoint that was not used. */
int om_builder_finish(struct om_builder *b, struct om_error *err);

#endif
