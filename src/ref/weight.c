/* src/ref/weight.c: weights as tensors: the mapping itself where it can be read in place, else a
 * copy. */
#include "base/file.h"
#include "base/view.h"
#include "ref/kernel.h"

static enum om_dtype stored_dtype(const struct om_weight *w)
{
    return w->src_dtype == OM_DTYPE_NONE ? w->dtype : w->src_dtype;
}

static int copy_strided(struct ref_pool *pool, const struct om_weight *w, struct ref_tensor *t,
                        struct om_error *err)
{
    struct ref_view v = { .rank = w->rank, .n_operands = 1 };

    OM_TRY(om_ref_new(pool, t, stored_dtype(w), w->dims, w->rank, err));
    memcpy(v.dims, w->dims, w->rank * sizeof(*v.dims));
    memcpy(v.steps[0], w->strides, w->rank * sizeof(*w->strides));
    om_ref_gather_copy(&v, t->data, w->data, om_dtype_size(stored_dtype(w)));
    return 0;
}

static int copy_plain(struct ref_pool *pool, const struct om_weight *w, struct ref_tensor *t,
                      struct om_error *err)
{
    OM_TRY(om_ref_new(pool, t, stored_dtype(w), w->dims, w->rank, err));
    if (w->bytes > 0)
        memcpy(t->data, w->data, (size_t)w->bytes);
    return 0;
}

/* Contents that are computed: the elements that lie between those of a view as well. */
static int copy_made(struct ref_pool *pool, const struct om_weight *w, struct ref_tensor *t,
                     struct om_error *err)
{
    const struct om_file_maker *const maker = w->file->maker;
    const size_t size = om_dtype_size(stored_dtype(w));
    struct om_weight view = *w;
    struct ref_tensor all;
    int64_t extent;
    int rc;

    if (!w->strides) {
        OM_TRY(om_ref_new(pool, t, stored_dtype(w), w->dims, w->rank, err));
        maker->make(maker, w->offset, (size_t)w->bytes, t->data);
        return 0;
    }
    if (!om_view_extent(w->dims, w->strides, w->rank, &extent))
        return om_fail(err, OM_E_LIMIT, "the shape is too large");
    OM_TRY(om_ref_new(pool, &all, stored_dtype(w), &extent, 1, err));
    maker->make(maker, w->offset, (size_t)extent * size, all.data);
    view.data = all.data;
    rc = copy_strided(pool, &view, t, err);
    om_ref_drop(&all);
    return rc;
}

static bool is_made(const struct om_weight *w)
{
    return w->file && w->file->maker && w->bytes > 0;
}

/* The parts in one piece first. */
static int copy_parts(struct ref_pool *pool, const struct om_weight *w, struct ref_tensor *t,
                      struct om_error *err)
{
    struct om_weight whole = *w;
    struct ref_tensor source;
    size_t at = 0;
    int rc;

    OM_TRY(om_ref_new(pool, &source, stored_dtype(w), w->dims, w->rank, err));
    for (uint32_t i = 0; i < w->n_parts; at += (size_t)w->parts[i++].bytes)
        memcpy((uint8_t *)source.data + at, w->parts[i].data, (size_t)w->parts[i].bytes);
    if (!w->strides) {
        *t = source;
        return 0;
    }
    whole.data = source.data;
    rc = copy_strided(pool, &whole, t, err);
    om_ref_drop(&source);
    return rc;
}

static int check_bytes(const struct om_weight *w, struct om_error *err)
{
    int64_t n;
    uint64_t bytes;

    if (!om_count(w->dims, w->rank, &n) ||
        !om_mul_u64((uint64_t)n, om_dtype_size(stored_dtype(w)), &bytes) || bytes > SIZE_MAX)
        return om_fail(err, OM_E_LIMIT, "the shape is too large");
    if (bytes != w->bytes)
        return om_fail(err, OM_E_FORMAT, "shape needs %" PRIu64 " bytes, found %" PRIu64, bytes,
                       w->bytes);
    if (bytes > 0 && !w->data && !is_made(w))
        return om_fail(err, OM_E_INTERNAL, "the weight has no data");
    return 0;
}

int om_ref_weight(struct ref_pool *pool, const struct om_weight *w, struct ref_tensor *t,
                  struct om_error *err)
{
    struct ref_tensor source;

    OM_TRY(check_bytes(w, err));
    if (w->n_parts > 0 && w->bytes > 0)
        OM_TRY(copy_parts(pool, w, &source, err));
    else if (is_made(w))
        OM_TRY(copy_made(pool, w, &source, err));
    else if (w->strides && w->bytes > 0)
        OM_TRY(copy_strided(pool, w, &source, err));
    else if (w->bytes > 0 && !om_ref_aligned(w->data, stored_dtype(w)))
        OM_TRY(copy_plain(pool, w, &source, err));
    else
        OM_TRY(om_ref_borrow(&source, stored_dtype(w), w->dims, w->rank, w->data, err));
    if (w->dtype != stored_dtype(w)) {
        const int rc = om_ref_convert(pool, t, &source, w->dtype, err);

        om_ref_drop(&source);
        return rc;
    }
    *t = source;
    return 0;
}
