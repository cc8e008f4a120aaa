/* src/fuse/packed.h: three matrices, or three vectors, side by side. */
#ifndef OM_FUSE_PACKED_H
#define OM_FUSE_PACKED_H

#include "fuse/internal.h"

struct fz_part {
    const struct om_doc_tensor *tensor; /* [rows, cols] or [cols]; NULL: zeros */
    int64_t cols;
    int32_t type; /* TensorProto.DataType, the same for all */
};

/* An initializer of g: the parts side by side, of rows rows; 0: vectors. *out stays empty where a
 * part cannot be read. */
int fz_pack(struct fuse *f, const struct fz_part parts[3], int64_t rows, om_sv base, om_sv *out);

#endif
