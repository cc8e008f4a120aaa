/* src/onnx/summary.h: what an .onnx file holds, without building its graph: any operators, any domains. */
#ifndef OM_ONNX_SUMMARY_H
#define OM_ONNX_SUMMARY_H

#include "base/arena.h"
#include "base/file.h"

/* An input, an output or an initializer. */
struct om_onnx_item {
    om_sv name;
    int32_t data_type;       /* TensorProto.DataType; 0: not a tensor */
    const char *const *axes; /* "batch_size", "768", "?"; n_axes of them */
    size_t n_axes;
    uint64_t bytes;          /* of initializers */
    om_sv location;          /* of initializers with external data, else empty */
};

struct om_onnx_items {
    struct om_onnx_item *items;
    size_t len;
};

struct om_onnx_count {
    om_sv domain, op; /* domain "" is ONNX's own */
    uint64_t n;
};

struct om_onnx_opset {
    om_sv domain;
    int64_t version;
};

struct om_onnx_summary {
    int64_t ir_version;
    om_sv producer_name, producer_version, graph_name;
    struct om_onnx_opset *opsets;
    size_t n_opsets;
    struct om_onnx_items inputs, outputs, weights;
    struct om_onnx_count *ops; /* sorted by name; nodes of subgraphs are counted as well */
    size_t n_ops;
    uint64_t n_nodes;
};

/* Views into model, which must stay mapped, and arena memory. Every length is checked; subgraphs up to a depth of 32. */
int om_onnx_summarize(struct om_arena *a, const struct om_file *model, struct om_onnx_summary *out,
                      struct om_error *err);

/* "float32", "int4", ...; "type 99" for an unknown one (arena). */
const char *om_onnx_type_text(struct om_arena *a, int32_t data_type);

#endif
