/* tools/mkckpt_lib.h: write the checkpoint that a golden's tensors.json describes.
 *
 * Weights are not stored: each value follows from the tensor's name and its index by the formula in
 * tests/data/README.md. The library is shared by the program mkckpt and the tests. */
#ifndef OM_MKCKPT_LIB_H
#define OM_MKCKPT_LIB_H

#include "base/base.h"

struct mkckpt_opts {
    size_t shards; /* 0: one model.safetensors; else that many files and an index */
    enum om_dtype
        dtype; /* floating-point tensors are converted to it; OM_DTYPE_NONE: as described */
};
#define MKCKPT_OPTS_INIT                    \
    {                                       \
        .shards = 0, .dtype = OM_DTYPE_NONE \
    }

/* Write into out_dir (made when absent) the weights and a copy of the golden's other files: all but
 * tensors.json, signature.json and *.safetensors. Subdirectories likewise. Memory stays small
 * however large the weights are. */
int mkckpt_run(const char *golden_dir, const char *out_dir, const struct mkckpt_opts *opts,
               struct om_error *err);

#endif
