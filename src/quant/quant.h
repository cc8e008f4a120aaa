/* src/quant/quant.h: quantization on the way from a graph to a file, for the export. */
#ifndef OM_QUANT_H
#define OM_QUANT_H

#include <optimum/quantize.h>

#include "onnx/onnx.h"

/* Tensors of fewer bytes stay in the graph's file: shapes and tables, which shape inference reads.
 */
#define OM_QUANT_EXTERNAL_MIN 1024

/* Where a model goes. data: receives the large tensors; NULL: all are in the file. */
struct om_quant_output {
    const char *name; /* in messages */
    struct om_out *out, *data;
    const char *location; /* how the model calls data's file */
};

/* Write g, lowered and finished, quantized; its weights are read once, where they lie. What changed
 * is logged. */
int om_quant_graph(struct om_ctx *ctx, const struct om_quant_config *config,
                   const struct om_graph *g, const struct om_onnx_opts *opts,
                   const struct om_quant_output *o, struct om_error *err);

/* ort_config.json. */
void om_quant_config_write(const struct om_quant_config *c, bool external, struct om_buf *b);
int om_quant_config_check(const struct om_quant_config *c, struct om_error *err);

#endif
