/* src/base/view.c: see view.h. */
#include "base/view.h"

#include <assert.h>

static bool is_empty(const int64_t *dims, size_t rank)
{
    for (size_t i = 0; i < rank; i++)
        if (dims[i] == 0)
            return true;
    return false;
}

bool om_view_dense(const int64_t *dims, const int64_t *strides, size_t rank)
{
    int64_t step = 1;

    if (!strides || is_empty(dims, rank))
        return true;
    for (size_t i = rank; i-- > 0;) {
        if (dims[i] == 1)
            continue;
        if (strides[i] != step || !om_mul_i64(step, dims[i], &step))
            return false;
    }
    return true;
}

bool om_view_extent(const int64_t *dims, const int64_t *strides, size_t rank, int64_t *elements)
{
    int64_t count, last = 0, reach;

    if (!om_count(dims, rank, &count))
        return false;
    for (size_t i = 0; strides && i < rank; i++)
        if (strides[i] < 0)
            return false;
    if (!strides || count == 0) {
        *elements = count;
        return true;
    }
    for (size_t i = 0; i < rank; i++)
        if (!om_mul_i64(dims[i] - 1, strides[i], &reach) || !om_add_i64(last, reach, &last))
            return false;
    return om_add_i64(last, 1, elements);
}

void om_walk_init(struct om_walk *w, const int64_t *dims, const int64_t *strides, uint32_t rank)
{
    int64_t row_major[OM_WALK_RANK], step = 1;

    assert(rank <= OM_WALK_RANK);
    memset(w, 0, sizeof(*w));
    for (uint32_t i = rank; i-- > 0; step *= dims[i])
        row_major[i] = step;
    for (uint32_t i = 0; i < rank; i++) {
        const int64_t stride = strides ? strides[i] : row_major[i];
        const uint64_t outer = w->rank - 1;

        if (dims[i] == 1)
            continue;
        if (w->rank > 0 && w->strides[outer] == stride * dims[i]) {
            w->dims[outer] *= dims[i];
            w->strides[outer] = stride;
            continue;
        }
        w->dims[w->rank] = dims[i];
        w->strides[w->rank++] = stride;
    }
}
