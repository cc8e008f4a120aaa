/* src/base/view.h: strided views: what transposed, sliced and expanded tensors have in common.
 *
 * A view visits elements of a source in the order of its dims: index i lies sum(i[k] * strides[k])
 * elements behind the first one. Strides are never negative; 0 repeats (an expanded tensor). NULL
 * stands for row-major strides. */
#ifndef OM_VIEW_H
#define OM_VIEW_H

#include "base/base.h"

/* Does the view visit consecutive elements, first to last? Axes of one element may have any stride,
 * views without elements any strides. */
bool om_view_dense(const int64_t *dims, const int64_t *strides, size_t rank);

/* Elements from the view's first one up to and including the furthest that it reaches; 0 when it
 * has none. False when a dim or stride is negative or the number overflows. */
bool om_view_extent(const int64_t *dims, const int64_t *strides, size_t rank, int64_t *elements);

/* The same visit with the fewest axes: those of one element are dropped, neighbours that are walked
 * as one are joined. Equal visits have equal walks. Rank 0: a single element. */
#define OM_WALK_RANK 8
struct om_walk {
    uint64_t rank; /* as wide as the rest, so that walks can be compared as bytes */
    int64_t dims[OM_WALK_RANK], strides[OM_WALK_RANK];
};
/* rank is at most OM_WALK_RANK, no dim is 0. */
void om_walk_init(struct om_walk *w, const int64_t *dims, const int64_t *strides, uint32_t rank);

#endif
