/* src/onnx/onnx.h: .onnx files: writing a lowered graph, reading one back.
 *
 * The wire format is written by base/wire, weights are streamed from the checkpoint's mapping
 * (kernel-side copies where no transform applies). Fields follow onnx.proto of the ONNX
 * specification (field numbers in onnx/schema.h). */
#ifndef OM_ONNX_H
#define OM_ONNX_H

#include <optimum/export.h>

#include "base/file.h"
#include "ir/graph.h"

/* One weight file shared by all graphs of an export. Tensors are added once and found again by
 * (source, transform); order of first use decides the layout, without alignment gaps. */
struct om_onnx_data;

struct om_onnx_opts {
    int opset;
    int ir_version; /* 0: what the opset came with, at least 8, with branches at least 9 */
    const char *producer_version; /* NULL: OM_VERSION */
    const char *graph_name;       /* NULL: "main_graph" */
    enum om_weights_mode mode;    /* not AUTO */
    struct om_ctx *ctx;           /* for a debug line; progress and cancelling are out's */
};

/* Write g, lowered and finished, into out. The caller opens out, and commits or aborts it together
 * with data's. data: the shared weight file, needed unless mode is EMBEDDED. Weights that are views
 * of the same bytes share one initializer. In the graph file stay: all tensors (EMBEDDED); those
 * under OM_ONNX_INLINE_MAX bytes and computed ones under OM_ONNX_COMPUTED_MAX (EXTERNAL,
 * SAFETENSORS), as shape inference does not look into other files. With SAFETENSORS plain views of
 * files with an alias point there and only the rest goes to data. Where opset has an attribute in
 * place of an input (axes of ReduceMean before 18), the attribute is written. Of a failed call
 * nothing is usable. */
#define OM_ONNX_INLINE_MAX 100
#define OM_ONNX_COMPUTED_MAX (64u << 10)
int om_onnx_write(const struct om_graph *g, const struct om_onnx_opts *opts, struct om_out *out,
                  struct om_onnx_data *data, struct om_error *err);

/* The model's message without weights: an initializer says, as the location of external data, the
 * index of its weight in g->weights. For om_doc_parse_shell(). */
int om_onnx_write_shell(const struct om_graph *g, const struct om_onnx_opts *opts,
                        struct om_buf *out, struct om_error *err);

/* out must live until the data is freed; location is the name that models refer to it by. */
int om_onnx_data_new(struct om_arena *a, struct om_out *out, const char *location,
                     struct om_onnx_data **d, struct om_error *err);
/* SAFETENSORS mode: a weight of this source file without transform gets location (a file name
 * beside the model). */
int om_onnx_data_alias(struct om_onnx_data *d, const struct om_file *source, const char *location,
                       struct om_error *err);
void om_onnx_data_free(struct om_onnx_data *d);
bool om_onnx_data_empty(const struct om_onnx_data *d); /* nothing was written to out */

/* Size of the file that EMBEDDED would write with default options, to decide AUTO; UINT64_MAX when
 * the graph cannot be written. */
uint64_t om_onnx_embedded_size(const struct om_graph *g);

/* Read path into a graph. External data must lie in the model's directory (no "..", no absolute
 * path, no link that leaves it). Weights are views into the mapped files, which the om_onnx_file
 * owns; names are views of them too. Operators outside ir/ops.def and domains other than "" are
 * refused by name, as are opsets before 13. The graph is finished: nodes and values keep their
 * names, what no output needs is dropped. An axis of an output whose text in the file differs from
 * the inferred one keeps that text in om_port.axes. Free the graph with om_graph_free() before the
 * file is closed. */
struct om_onnx_file;
int om_onnx_open(struct om_arena *a, const char *path, struct om_onnx_file **file,
                 struct om_graph **g, struct om_error *err);
void om_onnx_close(struct om_onnx_file *f);
struct om_onnx_meta {
    int64_t ir_version, opset;
    om_sv producer_name, producer_version, graph_name;
};
const struct om_onnx_meta *om_onnx_file_meta(const struct om_onnx_file *f);
/* Parse bytes; external data is resolved under dir, refused when dir is NULL. Exposed for the
 * fuzzer. */
int om_onnx_parse(struct om_arena *a, const struct om_file *model, const char *dir,
                  struct om_onnx_file **file, struct om_graph **g, struct om_error *err);

#endif
