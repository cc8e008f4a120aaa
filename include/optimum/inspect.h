/* include/optimum/inspect.h: what a checkpoint or an .onnx file holds, as a text. */
#ifndef OPTIMUM_INSPECT_H
#define OPTIMUM_INSPECT_H

#include <optimum/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

enum om_inspect_form {
    OM_INSPECT_TABLE, /* for people */
    OM_INSPECT_JSON   /* one object: "kind" is "checkpoint" or "onnx"; sizes in bytes, shapes as lists */
};

/* Describe path: a checkpoint directory, one of its weight files, or an .onnx file (of any producer, with any operators).
 * *text is malloc'ed, ends with a newline, and belongs to the caller. Only headers are read, no weights. */
OM_API int om_inspect(struct om_ctx *ctx, const char *path, enum om_inspect_form form, char **text,
                      struct om_error *err);

#ifdef __cplusplus
}
#endif

#endif
