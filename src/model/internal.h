/* src/model/internal.h: what the parts of an opened model share. */
#ifndef OM_MODEL_INTERNAL_H
#define OM_MODEL_INTERNAL_H

#include <optimum/model.h>

#include "base/arena.h"
#include "config/config.h"
#include "model/cache.h"

#define OM_MODEL_FILE "model.onnx"

struct om_model {
    struct om_arena arena;
    struct om_session *session;             /* of info.file */
    struct om_session *encoder, *with_past; /* NULL: the class has none */
    struct om_config config;
    struct om_model_info info;
    const char *temporary; /* a directory to remove with the model; NULL: none */
    struct om_cache_entry cached;
};

/* .onnx files, relative to the directory that was looked through. The strings are an arena's. */
struct om_onnx_files {
    const char **paths;
    size_t len, cap;
};

void om_onnx_files_release(struct om_onnx_files *f);
int om_onnx_files_add(struct om_onnx_files *f, const char *path, struct om_error *err);
/* Those below dir, files before subdirectories; links to directories are not followed. */
int om_onnx_files_list(struct om_arena *a, const char *dir, struct om_onnx_files *out,
                       struct om_error *err);

/* The files that are run: the model or the decoder, and what an encoder-decoder has besides. */
struct om_onnx_choice {
    const char *file, *encoder, *with_past; /* the latter two may be NULL */
};
/* By the rules of om_model_open(). where is the model, for messages; there is at least one file. */
int om_onnx_files_choose(struct om_ctx *ctx, const char *where, const struct om_onnx_files *f,
                         const struct om_model_opts *o, struct om_onnx_choice *out,
                         struct om_error *err);

/* The directory that om_model_open() runs from: found, downloaded or exported. */
struct om_model_place {
    struct om_onnx_choice files;
    const char *dir; /* of config.json */
};
/* Strings are the model's arena's; m->temporary and m->cached are set when the export is there. */
int om_model_locate(struct om_ctx *ctx, struct om_model *m, const struct om_model_opts *o,
                    struct om_model_place *out, struct om_error *err);
/* Remove a directory with the files in it; what cannot be removed stays. */
void om_model_remove_dir(const char *dir);

/* The inputs of a run with the defaults filled in, and checked against each other. *out and what it
 * refers to beyond inputs is the arena's. */
int om_model_inputs(struct om_arena *a, const struct om_session *s, const struct om_tensor *inputs,
                    size_t n, struct om_tensor **out, size_t *n_out, struct om_error *err);

#endif
