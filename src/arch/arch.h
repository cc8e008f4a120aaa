/* src/arch/arch.h: what an architecture is: a table of config fields, a body, and heads.
 *
 * One file per model family, one line per model_type in archs.def. arch/build.c turns an entry of
 * this table and a task into the graphs of an export. */
#ifndef OM_ARCH_H
#define OM_ARCH_H

#include <optimum/plugin.h>

#include "config/config.h"
#include "nn/nn.h"
#include "task/task.h"

/* The registry (archs.def): sorted by model_type. */
struct om_arch_entry {
    const char *model_type;
    const struct om_arch *arch;
};
extern const struct om_arch_entry om_archs[];
extern const size_t om_arch_count;
const struct om_arch *om_arch_find(const char *model_type); /* NULL: unknown */
/* The same, also in the plugins of a context, which may be NULL. */
const struct om_arch *om_arch_find_in(const struct om_ctx *ctx, const char *model_type);
/* The i-th model type of the context's plugins; NULL after the last. */
const struct om_plugin_arch *om_arch_of_plugins(const struct om_ctx *ctx, size_t i);
/* Which files the context's plugins came from, as they were when they were loaded: other text for
 * other builds, "" without plugins. In arena memory; NULL: out of memory. */
const char *om_arch_plugins_id(struct om_arena *a, const struct om_ctx *ctx);
bool om_arch_has_task(const struct om_arch *arch, const struct om_task *task);
bool om_arch_has_past(const struct om_arch *arch,
                      const struct om_task *task); /* "<task>-with-past" exists */
/* The tasks of an architecture, with the -with-past ones, NULL-terminated, sorted as the original
 * prints them. */
const char *const *om_arch_tasks(struct om_arena *a, const struct om_arch *arch);

/* One export, the same for all of its files. */
struct om_arch_job {
    const struct om_arch *arch;
    const void *cfg;
    const struct om_config *config;
    const struct om_ckpt *ckpt;
    const struct om_task *task;
    bool past;             /* a -with-past task */
    bool encoder_only;     /* an encoder-decoder was saved without its decoder */
    enum om_dtype compute; /* of activations and float ports; OM_DTYPE_NONE: OM_F32 */
    enum om_dtype storage; /* of float weights in the file; OM_DTYPE_NONE: as in the checkpoint */
    bool storage_follows;  /* instead: each weight in the dtype it is computed with */
    /* For attention that knows how many keys each text has: rotary tables of all positions (see
     * om_builder), and position_ids is an input, as texts of a batch end at different ones. */
    bool grouped;
    const struct om_axis_fix *fixes; /* fixed axes */
    size_t n_fixes;
    struct om_ctx *ctx;
};
/* Whether the job runs both an encoder and a decoder, each with inputs of its own: not a side that
 * was saved alone, and not a classifier, whose decoder reads the same text. */
bool om_arch_two_sided(const struct om_arch_job *job);
/* How the decoder of an encoder-decoder is written, with past key/values. */
enum om_arch_decoder {
    OM_ARCH_DECODER_ALL,    /* one file per step and the merged one, as the original does */
    OM_ARCH_DECODER_MERGED, /* the merged one alone */
    OM_ARCH_DECODER_SINGLE  /* one file without an If: the cache decides by its length */
};
struct om_arch_layout {
    bool monolith;  /* one file where it can be */
    bool no_merged; /* no merged decoder */
    enum om_arch_decoder decoder;
};
/* The files of the job, in the order in which they are written. Returns the number of entries of
 * parts[OM_PART_COUNT]. */
size_t om_arch_parts(const struct om_arch_job *job, const struct om_arch_layout *layout,
                     enum om_part *parts);
/* Build the finished graph of one file. */
int om_arch_build(const struct om_arch_job *job, enum om_part part, struct om_arena *a,
                  struct om_graph **out, struct om_error *err);
/* Read the architecture's configuration: fields, then derive. */
int om_arch_config(struct om_arena *a, const struct om_arch *arch, const struct om_config *config,
                   void **cfg, struct om_error *err);

/* A sentence-transformers directory (modules.json) over an encoder: outputs token_embeddings and
 * sentence_embedding, all modules inside the graph (arch/sentence.c). dir is the checkpoint
 * directory. */
struct om_sentence;
bool om_sentence_detect(const char *dir);
int om_sentence_open(struct om_arena *a, const char *dir, struct om_sentence **out,
                     struct om_error *err);
void om_sentence_close(struct om_sentence *st); /* accepts NULL */
/* Where the transformer's config.json and weights lie: dir itself or a sub-directory such as
 * "0_Transformer". */
const char *om_sentence_transformer_dir(const struct om_sentence *st);
int om_sentence_build(const struct om_arch_job *job, const struct om_sentence *st,
                      struct om_arena *a, struct om_graph **out, struct om_error *err);

#endif
