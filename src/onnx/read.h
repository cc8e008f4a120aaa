/* src/onnx/read.h: what the parts of the reader share. */
#ifndef OM_ONNX_READ_H
#define OM_ONNX_READ_H

#include "onnx/onnx.h"

/* A weight file beside the model, mapped once. */
struct om_onnx_external {
    struct om_onnx_external *next;
    om_sv location;
    struct om_file file;
};

struct om_onnx_file {
    struct om_arena *arena;
    struct om_file *own;         /* the model, when om_onnx_open() mapped it; else NULL */
    const struct om_file *model; /* the model's bytes */
    const char *dir;             /* resolved, without links; NULL: no external data */
    struct om_onnx_external *externals;
    struct om_onnx_meta meta;
};

/* A TensorProto as a weight; its data stays where it is, or is copied to the arena when it comes in
 * typed fields. Used for initializers (external data allowed) and attributes (not). */
int om_onnx_read_tensor(struct om_onnx_file *f, om_sv msg, bool external, struct om_weight *out,
                        struct om_error *err);

#endif
