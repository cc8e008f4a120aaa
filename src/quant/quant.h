/* src/quant/quant.h: optimization and quantization on the way from a graph to a file,
 * for the export. */
#ifndef OM_QUANT_H
#define OM_QUANT_H

#include <optimum/optimize.h>
#include <optimum/quantize.h>

#include "ckpt/packed.h"
#include "onnx/onnx.h"

/* Tensors of fewer bytes stay in the graph's file: shapes and tables, which shape inference reads.
 */
#define OM_QUANT_EXTERNAL_MIN 1024

/* What was changed in the files of a run: quant/report.h. */
struct om_quant_report;
int om_quant_report_new(struct om_quant_report **out, struct om_error *err);
void om_quant_report_free(struct om_quant_report *r); /* accepts NULL */
/* As a page in the file at path. */
int om_quant_report_write(const struct om_quant_report *r, const char *path, bool durable,
                          struct om_error *err);

/* Files of tensors that are opened as they are needed. */
struct om_quant_split {
    bool always;  /* else only of a model that is too large for one file */
    uint64_t max; /* bytes of one, but for a single tensor that is larger */
    /* The next file, and its name in the model. */
    int (*next)(void *user, struct om_out **data, const char **location, struct om_error *err);
    void *user;
};

/* Where a model goes. data: receives the large tensors; NULL: all are in the file. */
struct om_quant_output {
    const char *name; /* in messages */
    const char *dir;  /* an existing one, for temporary files */
    struct om_out *out, *data;
    const char *location;               /* how the model calls data's file */
    const struct om_quant_split *split; /* in place of data; NULL: none */
    /* Layers that the checkpoint holds quantized: their products, and no others, are written with
     * the numbers they have, by a configuration of om_quant_packed_config(). NULL: quantize. */
    const struct om_packed_set *packed;
    struct om_quant_report *report; /* receives what changed; NULL: it is logged only */
};

/* What is done to a model before it is written; NULL: not that. Optimizations come first. Neither:
 * it is only written. */
struct om_quant_how {
    const struct om_optimize_config *optimize;
    enum om_offline_level offline; /* with optimize */
    const struct om_quant_config *quantize;
};

/* Write g, lowered and finished, optimized or quantized; its weights are read once, where they lie.
 * What changed is logged. */
int om_quant_graph(struct om_ctx *ctx, const struct om_quant_how *how, const struct om_graph *g,
                   const struct om_onnx_opts *opts, const struct om_quant_output *o,
                   struct om_error *err);

/* How the layers of a quantized checkpoint are written. */
int om_quant_packed_config(const struct om_packed_set *set, struct om_quant_config *c,
                           struct om_error *err);

/* ort_config.json; NULL: an empty object. */
void om_quant_config_write(const struct om_quant_config *c, const struct om_optimize_config *o,
                           bool external, struct om_buf *b);
int om_quant_config_check(const struct om_quant_config *c, struct om_error *err);

#endif
