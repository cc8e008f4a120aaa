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
/* The same for elements of at most eight bits without an enum om_dtype: the bytes that hold them. */
int om_onnx_read_packed(struct om_onnx_file *f, om_sv msg, uint64_t bytes, bool external,
                        struct om_weight *out, struct om_error *err);
/* Where the external data of a TensorProto lies: file, offset and data of w, whose bytes are known. */
int om_onnx_read_external(struct om_onnx_file *f, om_sv msg, struct om_weight *w,
                          struct om_error *err);
/* An om_onnx_file for model without anything read; dir as for om_onnx_parse(). */
int om_onnx_file_new(struct om_arena *a, const struct om_file *model, const char *dir,
                     struct om_onnx_file **out, struct om_error *err);
/* The directory that path is in. */
const char *om_onnx_directory(struct om_arena *a, const char *path);

#endif
