/* src/ref/gather.c: operators that pick elements by index tensors; any dtype. */
#include "ref/kernel.h"

static int check_indices(const struct ref_call *c, const struct ref_tensor *t)
{
    if (t->dtype != OM_I64 && t->dtype != OM_I32)
        return om_fail(c->err, OM_E_FORMAT, "indices must be int64 or int32, found %s",
                       om_dtype_text(t->dtype));
    return 0;
}

/* Index i of t into an axis of dim elements; negative ones count from the end. */
static int index_at(const struct ref_call *c, const struct ref_tensor *t, int64_t i, int64_t dim,
                    int64_t *out)
{
    const int64_t v = om_ref_i64_at(t, i);

    if (v < -dim || v >= dim)
        return om_fail(c->err, OM_E_USAGE,
                       "index %" PRId64 " is outside [%" PRId64 ", %" PRId64 ")", v, -dim, dim);
    *out = v < 0 ? v + dim : v;
    return 0;
}

static int join_dims(const struct ref_call *c, int64_t *dims, uint32_t *rank, const int64_t *more,
                     uint32_t n)
{
    if (n > OM_RANK_MAX - *rank)
        return om_fail(c->err, OM_E_LIMIT, "the result's rank is above the limit %d", OM_RANK_MAX);
    for (uint32_t i = 0; i < n; i++)
        dims[(*rank)++] = more[i];
    return 0;
}

int om_ref_Gather(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *ids = om_ref_in(c, 1);
    int64_t dims[OM_RANK_MAX], outer, at = 0;
    const unsigned char *from = x->data;
    unsigned char *to;
    uint32_t axis = 0, rank = 0;
    size_t row;

    OM_TRY(check_indices(c, ids));
    OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", 0), x->rank, &axis));
    OM_TRY(join_dims(c, dims, &rank, x->dims, axis));
    OM_TRY(join_dims(c, dims, &rank, ids->dims, ids->rank));
    OM_TRY(join_dims(c, dims, &rank, x->dims + axis + 1, x->rank - axis - 1));
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, dims, rank, c->err));
    to = c->out[0].data;
    row = (size_t)om_ref_product(x->dims, axis + 1, x->rank) * om_dtype_size(x->dtype);
    outer = c->out[0].count > 0 ? om_ref_product(x->dims, 0, axis) : 0;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < ids->count; i++, to += row) {
            OM_TRY(index_at(c, ids, i, x->dims[axis], &at));
            memcpy(to, from + (size_t)(o * x->dims[axis] + at) * row, row);
        }
    return 0;
}

int om_ref_GatherElements(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *ids = om_ref_in(c, 1);
    const size_t size = om_dtype_size(x->dtype);
    int64_t steps[OM_RANK_MAX], at = 0;
    uint32_t axis = 0;

    OM_TRY(check_indices(c, ids));
    OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", 0), x->rank, &axis));
    if (ids->rank != x->rank)
        return om_fail(c->err, OM_E_FORMAT, "indices have rank %" PRIu32 ", data %" PRIu32,
                       ids->rank, x->rank);
    for (uint32_t i = 0; i < x->rank; i++)
        if (i != axis && ids->dims[i] > x->dims[i])
            return om_fail(c->err, OM_E_FORMAT,
                           "axis %" PRIu32 ": %" PRId64 " indices for %" PRId64 " elements", i,
                           ids->dims[i], x->dims[i]);
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, ids->dims, ids->rank, c->err));
    om_ref_steps(x->dims, x->rank, steps);
    for (int64_t i = 0; i < ids->count; i++) {
        int64_t from = 0, rest = i;

        OM_TRY(index_at(c, ids, i, x->dims[axis], &at));
        for (uint32_t k = ids->rank; k-- > 0; rest /= ids->dims[k])
            from += (k == axis ? at : rest % ids->dims[k]) * steps[k];
        memcpy((unsigned char *)c->out[0].data + (size_t)i * size,
               (const unsigned char *)x->data + (size_t)from * size, size);
    }
    return 0;
}

static int gather_nd_dims(const struct ref_call *c, const struct ref_tensor *x,
                          const struct ref_tensor *ids, uint32_t batch, int64_t *dims,
                          uint32_t *rank)
{
    const int64_t depth = ids->rank > 0 ? ids->dims[ids->rank - 1] : 0;

    if (ids->rank == 0 || batch >= ids->rank || batch > x->rank || depth < 1 ||
        depth > x->rank - batch)
        return om_fail(c->err, OM_E_FORMAT,
                       "indices of rank %" PRIu32 " that are %" PRId64
                       " deep do not fit data of rank %" PRIu32 " with %" PRIu32 " batch axes",
                       ids->rank, depth, x->rank, batch);
    for (uint32_t i = 0; i < batch; i++)
        if (x->dims[i] != ids->dims[i])
            return om_fail(c->err, OM_E_FORMAT,
                           "batch axis %" PRIu32 " has %" PRId64 " and %" PRId64 " elements", i,
                           x->dims[i], ids->dims[i]);
    *rank = 0;
    OM_TRY(join_dims(c, dims, rank, ids->dims, ids->rank - 1));
    return join_dims(c, dims, rank, x->dims + batch + depth, x->rank - batch - (uint32_t)depth);
}

int om_ref_GatherND(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *ids = om_ref_in(c, 1);
    const int64_t batch_dims = om_node_int(c->node, "batch_dims", 0);
    int64_t dims[OM_RANK_MAX], depth, per_batch, n, at = 0;
    uint32_t batch, rank = 0;
    size_t row;

    OM_TRY(check_indices(c, ids));
    if (batch_dims < 0 || batch_dims > OM_RANK_MAX)
        return om_fail(c->err, OM_E_FORMAT, "batch_dims is %" PRId64, batch_dims);
    batch = (uint32_t)batch_dims;
    OM_TRY(gather_nd_dims(c, x, ids, batch, dims, &rank));
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, dims, rank, c->err));
    depth = ids->dims[ids->rank - 1];
    per_batch = om_ref_product(ids->dims, batch, ids->rank - 1);
    row =
        (size_t)om_ref_product(x->dims, batch + (uint32_t)depth, x->rank) * om_dtype_size(x->dtype);
    n = c->out[0].count > 0 ? ids->count / depth : 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t from = i / per_batch; /* the batch, then the place within it */

        for (int64_t k = 0; k < depth; k++) {
            const int64_t dim = x->dims[batch + k];

            OM_TRY(index_at(c, ids, i * depth + k, dim, &at));
            from = from * dim + at;
        }
        memcpy((unsigned char *)c->out[0].data + (size_t)i * row,
               (const unsigned char *)x->data + (size_t)from * row, row);
    }
    return 0;
}
