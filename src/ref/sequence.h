/* src/ref/sequence.h: lists of tensors; private to src/ref. */
#ifndef OM_REF_SEQUENCE_H
#define OM_REF_SEQUENCE_H

#include "ref/kernel.h"

/* Items next to each other, in order or from the last: along an axis of theirs, or a new one. */
struct ref_join {
    int64_t axis;
    bool new_axis, reverse;
};
int om_ref_join(const struct ref_call *c, const struct ref_tensor *items, size_t n,
                const struct ref_join *how, struct ref_tensor *out);
/* Elements [from, from + n) of an axis; without it where squeeze says so, n is 1 then. */
int om_ref_cut(const struct ref_call *c, const struct ref_tensor *x, uint32_t axis, int64_t from,
               int64_t n, bool squeeze, struct ref_tensor *out);

#endif
