/* tests/unit/fuse_case.h: a small graph, what optimizing makes of it, and that it computes the
 * same. */
#ifndef OM_FUSE_CASE_H
#define OM_FUSE_CASE_H

#include "base/base.h"
#include "test.h"

enum {
    FUSE_EMBED = 16, /* with embeddings fused */
    FUSE_NO_ATTENTION = 32,
    FUSE_HEADS = 64,  /* use_multi_head_attention */
    FUSE_INDEX = 128, /* use_mask_index; values are not compared, nor with the next one */
    FUSE_NO_MASK = 256,
};

struct fuse_case {
    const char *name, *text; /* graph_text.h; symbols are B, S and P, of which P may be 0 */
    const char *op;          /* is counted afterwards; NULL: all nodes are */
    size_t count;
    int level; /* 1, 2, 3: O1, O2, O3; and FUSE_... */
    int opset;
};

void fuse_case_run(struct test *t, const struct fuse_case *c);
/* The largest difference of two tensors; INFINITY: of type or shape. */
struct om_tensor;
double fuse_distance(const struct om_tensor *a, const struct om_tensor *b);

#endif
