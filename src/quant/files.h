/* src/quant/files.h: a run over the .onnx files of a directory: which there are, and new ones that
 * get their names when all are complete. */
#ifndef OM_QUANT_FILES_H
#define OM_QUANT_FILES_H

#include <optimum/export.h>

#include "base/buf.h"
#include "onnx/doc.h"

#define OM_QUANT_ARENA_MAX ((size_t)4 << 30)

/* A file that gets its name at the end. */
struct om_quant_staged {
    struct om_out out;
    bool model; /* published last */
    bool empty; /* a data file into which nothing went */
};

struct om_quant_files {
    struct om_ctx *ctx;
    const char *model, *out_dir, *suffix; /* as the options have them */
    enum om_weights_mode weights;
    bool durable;
    bool external; /* wanted, or found to be needed */

    struct om_arena arena;
    const char *dir;
    const char **models; /* file names in dir */
    size_t n_models;
    struct om_quant_staged *staged;
    size_t n_staged, cap_staged;
};

int om_quant_files_find(struct om_quant_files *r, struct om_error *err);
/* STEM_SUFFIX.onnx; NULL: out of memory */
const char *om_quant_files_target(struct om_quant_files *r, const char *name);
int om_quant_files_write(struct om_quant_files *r, struct om_doc *doc, const char *name,
                         struct om_error *err);
/* ort_config.json, and what lies beside the models. */
int om_quant_files_companions(struct om_quant_files *r, const struct om_buf *ort_config,
                              struct om_error *err);
int om_quant_files_publish(struct om_quant_files *r, struct om_error *err);
void om_quant_files_release(struct om_quant_files *r);

#endif
