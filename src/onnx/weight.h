/* src/onnx/weight.h: the bytes of one weight, on their way into a file. */
#ifndef OM_ONNX_WEIGHT_H
#define OM_ONNX_WEIGHT_H

#include "base/file.h"
#include "ir/graph.h"

/* Append the om_weight_bytes() bytes of w. Without a transform the kernel copies from the source's
 * file, as it does long runs of a slice; a cast, transpose or other strides pass through at most
 * OM_WEIGHT_CHUNK bytes of memory. */
#define OM_WEIGHT_CHUNK (4u << 20)
int om_weight_stream(const struct om_weight *w, struct om_out *out, struct om_error *err);

bool om_weight_transformed(const struct om_weight *w);

/* What two weights with the same stored bytes have in common, comparable with memcmp. Only for
 * weights with a file. The shape counts where it decides which bytes come in which order. */
struct om_weight_key {
    const struct om_file *file;
    uint64_t offset, bytes;
    uint64_t cast; /* source and target dtype, 0 without a cast */
    struct om_walk walk; /* zeros when contiguous */
    struct om_weight_part parts[OM_WEIGHT_PARTS_MAX]; /* zeros when it has none */
};
struct om_weight_key om_weight_key(const struct om_weight *w);

/* Where the bytes of a tensor lie, for TensorProto.external_data. */
struct om_onnx_place {
    const char *location;
    uint64_t offset, length;
};

struct om_onnx_data;
/* The checkpoint's own file, when w can be read from there as it is. */
bool om_onnx_data_in_source(const struct om_onnx_data *d, const struct om_weight *w,
                            struct om_onnx_place *place);
/* Bytes that om_onnx_data_place() would write for w. */
uint64_t om_onnx_data_missing(const struct om_onnx_data *d, const struct om_weight *w);
/* The data file is going to grow by so many bytes: for its progress. */
void om_onnx_data_expect(struct om_onnx_data *d, uint64_t bytes);
/* The place of w in the data file; it is written there on the first call. */
int om_onnx_data_place(struct om_onnx_data *d, const struct om_weight *w,
                       struct om_onnx_place *place, struct om_error *err);

#endif
