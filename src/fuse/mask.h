/* src/fuse/mask.h: attention masks. */
#ifndef OM_FUSE_MASK_H
#define OM_FUSE_MASK_H

#include "fuse/internal.h"

struct fz_look_at_mask {
    struct fuse *f;
    unsigned budget; /* values that are looked at */
};

/* name, of four axes, is 0 where a mask of tokens [batch, keys] holds 1, and a negative *fill where
 * it holds 0, for every head and query. *tokens: that mask, bools, or integers of an input of the
 * model that is called a mask and holds nothing but 0 and 1. */
bool fz_token_mask(struct fuse *f, om_sv name, om_sv *tokens, double *fill);

#endif
