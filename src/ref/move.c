/* src/ref/move.c: operators that copy elements to other places and compute nothing; any dtype. */
#include "ref/kernel.h"

/* Fill output i, of shape v's dims, with what v's one operand visits in from, beginning at element
 * start. */
static int copy_view(struct ref_call *c, uint32_t i, const struct ref_tensor *from, int64_t start,
                     struct ref_view *v)
{
    const size_t size = om_dtype_size(from->dtype);

    v->n_operands = 1;
    OM_TRY(om_ref_new(c->pool, &c->out[i], from->dtype, v->dims, v->rank, c->err));
    if (c->out[i].count == 0)
        return 0;
    om_ref_gather_copy(v, c->out[i].data, (const unsigned char *)from->data + (size_t)start * size,
                       size);
    return 0;
}

int om_ref_Transpose(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const struct om_attr *perm = om_node_attr(c->node, "perm");
    struct ref_ints order = { .n = x->rank };
    struct ref_view v = { .rank = x->rank };
    int64_t steps[OM_RANK_MAX];
    uint32_t seen, axis = 0;

    if (perm && perm->n != x->rank)
        return om_fail(c->err, OM_E_FORMAT, "perm has %" PRIu32 " axes, expected %" PRIu32, perm->n,
                       x->rank);
    for (uint32_t i = 0; i < x->rank; i++)
        order.v[i] = perm ? perm->ints[i] : (int64_t)(x->rank - 1 - i);
    OM_TRY(om_ref_axis_set(c, &order, x->rank, &seen)); /* all in range and different */
    om_ref_steps(x->dims, x->rank, steps);
    for (uint32_t i = 0; i < x->rank; i++) {
        OM_TRY(om_ref_axis(c, order.v[i], x->rank, &axis));
        v.dims[i] = x->dims[axis];
        v.steps[0][i] = steps[axis];
    }
    return copy_view(c, 0, x, 0, &v);
}

/* ---- Slice ---- */

/* numpy's reading of start:end:step on an axis: the first index and the number of elements. */
static void clamp_slice(int64_t dim, int64_t start, int64_t end, int64_t step, int64_t *first,
                        int64_t *n)
{
    const int64_t low = step < 0 ? -1 : 0, high = step < 0 ? dim - 1 : dim;

    start = start < 0 ? start + dim : start;
    end = end < 0 ? end + dim : end;
    start = OM_MIN(OM_MAX(start, low), high);
    end = OM_MIN(OM_MAX(end, low), high);
    *first = start;
    if (dim == 0 || (step > 0 ? end <= start : end >= start))
        *n = 0;
    else if (step > 0)
        *n = (end - start - 1) / step + 1;
    else
        *n = (start - end - 1) / -OM_MAX(step, -INT64_MAX) + 1;
}

int om_ref_Slice(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct ref_ints starts, ends, axes, steps;
    struct ref_view v = { .rank = x->rank };
    int64_t begin = 0;
    uint32_t seen;

    OM_TRY(om_ref_ints(c, 1, "starts", &starts));
    OM_TRY(om_ref_ints(c, 2, "ends", &ends));
    OM_TRY(om_ref_ints(c, 3, "axes", &axes));
    OM_TRY(om_ref_ints(c, 4, "steps", &steps));
    if (!om_ref_in(c, 3))
        for (axes.n = 0; axes.n < starts.n; axes.n++)
            axes.v[axes.n] = axes.n;
    if (!om_ref_in(c, 4))
        for (steps.n = 0; steps.n < starts.n; steps.n++)
            steps.v[steps.n] = 1;
    if (ends.n != starts.n || axes.n != starts.n || steps.n != starts.n)
        return om_fail(c->err, OM_E_FORMAT, "starts, ends, axes and steps differ in length");
    OM_TRY(om_ref_axis_set(c, &axes, x->rank, &seen));
    memcpy(v.dims, x->dims, x->rank * sizeof(*v.dims));
    om_ref_steps(x->dims, x->rank, v.steps[0]);
    for (uint32_t i = 0; i < axes.n; i++) {
        int64_t first;
        uint32_t axis = 0;

        if (steps.v[i] == 0)
            return om_fail(c->err, OM_E_FORMAT, "a step is 0");
        OM_TRY(om_ref_axis(c, axes.v[i], x->rank, &axis));
        clamp_slice(x->dims[axis], starts.v[i], ends.v[i], steps.v[i], &first, &v.dims[axis]);
        if (v.dims[axis] > 0)
            begin += first * v.steps[0][axis];
        /* a step that is taken is shorter than the axis, others could overflow */
        v.steps[0][axis] = v.dims[axis] > 1 ? v.steps[0][axis] * steps.v[i] : 0;
    }
    return copy_view(c, 0, x, begin, &v);
}

/* ---- Split and Concat ---- */

/* The length of part i when an axis of dim elements is cut into n. */
static int split_length(const struct ref_call *c, int64_t dim, uint32_t n, uint32_t i,
                        int64_t *length)
{
    const struct ref_tensor *sizes = om_ref_in(c, 1);
    const int64_t chunk = dim / n + (dim % n != 0);

    if (!sizes) {
        *length = OM_MAX(0, OM_MIN(chunk, dim - chunk * i)); /* the last one is what is left */
        return 0;
    }
    if ((sizes->dtype != OM_I64 && sizes->dtype != OM_I32) || sizes->rank != 1 || sizes->count != n)
        return om_fail(c->err, OM_E_FORMAT,
                       "split: expected %" PRIu32 " integers, found %" PRId64 " of %s", n,
                       sizes->count, om_dtype_text(sizes->dtype));
    *length = om_ref_i64_at(sizes, i);
    if (*length < 0 || *length > dim)
        return om_fail(c->err, OM_E_FORMAT, "split: a part of %" PRId64 " from an axis of %" PRId64,
                       *length, dim);
    return 0;
}

int om_ref_Split(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const uint32_t n = c->node->n_out;
    int64_t done = 0, length = 0;
    uint32_t axis = 0;

    OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", 0), x->rank, &axis));
    if (om_node_int(c->node, "num_outputs", n) != n)
        return om_fail(c->err, OM_E_FORMAT, "num_outputs is not the number of outputs, %" PRIu32,
                       n);
    for (uint32_t i = 0; i < n; i++, done += length) {
        struct ref_view v = { .rank = x->rank };

        OM_TRY(split_length(c, x->dims[axis], n, i, &length));
        if (length > x->dims[axis] - done)
            break;
        memcpy(v.dims, x->dims, x->rank * sizeof(*v.dims));
        om_ref_steps(x->dims, x->rank, v.steps[0]);
        v.dims[axis] = length;
        OM_TRY(copy_view(c, i, x, length > 0 ? done * v.steps[0][axis] : 0, &v));
    }
    if (done != x->dims[axis])
        return om_fail(c->err, OM_E_FORMAT,
                       "the parts do not add up to the %" PRId64 " elements of axis %" PRIu32,
                       x->dims[axis], axis);
    return 0;
}

static int concat_dims(const struct ref_call *c, uint32_t axis, int64_t *dims)
{
    const struct ref_tensor *first = om_ref_in(c, 0);
    char a[REF_DIMS_TEXT], b[REF_DIMS_TEXT];

    memcpy(dims, first->dims, first->rank * sizeof(*dims));
    for (uint32_t i = 1; i < c->node->n_in; i++) {
        const struct ref_tensor *t = om_ref_in(c, i);
        bool fits = t && t->rank == first->rank && t->dtype == first->dtype;

        for (uint32_t k = 0; fits && k < first->rank; k++)
            fits = k == axis || t->dims[k] == first->dims[k];
        if (!fits)
            return om_fail(c->err, OM_E_FORMAT,
                           "operand %" PRIu32 " is %s%s, the first is %s%s; axis %" PRIu32, i,
                           t ? om_dtype_text(t->dtype) : "missing",
                           t ? om_ref_dims_text(b, sizeof(b), t->dims, t->rank) : "",
                           om_dtype_text(first->dtype),
                           om_ref_dims_text(a, sizeof(a), first->dims, first->rank), axis);
        if (!om_add_i64(dims[axis], t->dims[axis], &dims[axis]))
            return om_fail(c->err, OM_E_LIMIT, "the result is too large");
    }
    return 0;
}

int om_ref_Concat(struct ref_call *c)
{
    const struct ref_tensor *first = om_ref_in(c, 0);
    const size_t size = om_dtype_size(first->dtype);
    int64_t dims[OM_RANK_MAX], outer;
    size_t pitch, at = 0;
    uint32_t axis = 0;

    OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", 0), first->rank, &axis));
    OM_TRY(concat_dims(c, axis, dims));
    OM_TRY(om_ref_new(c->pool, &c->out[0], first->dtype, dims, first->rank, c->err));
    outer = c->out[0].count > 0 ? om_ref_product(dims, 0, axis) : 0;
    pitch = (size_t)om_ref_product(dims, axis, first->rank) * size;
    for (uint32_t i = 0; i < c->node->n_in; i++) {
        const struct ref_tensor *t = om_ref_in(c, i);
        const size_t row = (size_t)om_ref_product(t->dims, axis, t->rank) * size;

        for (size_t k = 0; k < (size_t)outer; k++)
            memcpy((unsigned char *)c->out[0].data + k * pitch + at,
                   (const unsigned char *)t->data + k * row, row);
        at += row;
    }
    return 0;
}

/* ---- Expand and Tile ---- */

int om_ref_Expand(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct ref_tensor shape = { .mem = NULL };
    const struct ref_tensor *const both[2] = { x, &shape };
    struct ref_ints want;
    int64_t dims[OM_RANK_MAX];
    uint32_t rank;

    OM_TRY(om_ref_ints(c, 1, "shape", &want));
    shape.rank = want.n;
    memcpy(shape.dims, want.v, want.n * sizeof(*dims));
    OM_TRY(om_ref_broadcast_dims(c, both, 2, dims, &rank));
    return om_ref_expand(c, &c->out[0], x, dims, rank);
}

int om_ref_Tile(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct ref_view v = { .rank = 2 * x->rank, .n_operands = 1 };
    struct ref_ints repeats;
    int64_t steps[OM_RANK_MAX], dims[OM_RANK_MAX];

    OM_TRY(om_ref_ints(c, 1, "repeats", &repeats));
    if (repeats.n != x->rank)
        return om_fail(c->err, OM_E_FORMAT, "%" PRIu32 " repeats for rank %" PRIu32, repeats.n,
                       x->rank);
    om_ref_steps(x->dims, x->rank, steps);
    for (uint32_t i = 0; i < x->rank;
         i++) { /* every axis becomes [repeats, dim], the first of which stands still */
        if (repeats.v[i] < 0 || !om_mul_i64(repeats.v[i], x->dims[i], &dims[i]))
            return om_fail(c->err, OM_E_FORMAT, "%" PRId64 " repeats are not possible",
                           repeats.v[i]);
        v.dims[2 * i] = repeats.v[i];
        v.dims[2 * i + 1] = x->dims[i];
        v.steps[0][2 * i + 1] = steps[i];
    }
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, dims, x->rank, c->err));
    if (c->out[0].count > 0)
        om_ref_gather_copy(&v, c->out[0].data, x->data, om_dtype_size(x->dtype));
    return 0;
}

/* ---- Trilu ---- */

int om_ref_Trilu(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const bool upper = om_node_int(c->node, "upper", 1) != 0;
    const size_t size = om_dtype_size(x->dtype);
    int64_t k = 0, rows, cols;

    if (x->rank < 2)
        return om_fail(c->err, OM_E_FORMAT, "expected rank 2 or more, found %" PRIu32, x->rank);
    if (om_ref_in(c, 1))
        OM_TRY(om_ref_scalar_i64(c, 1, "k", &k));
    rows = x->dims[x->rank - 2];
    cols = x->dims[x->rank - 1];
    k = OM_MIN(OM_MAX(k, -rows - 1), cols + 1); /* beyond these nothing changes */
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, x->dims, x->rank, c->err));
    for (int64_t i = 0; cols > 0 && i < x->count / cols; i++) {
        const size_t at = (size_t)(i * cols) * size;
        unsigned char *to = (unsigned char *)c->out[0].data + at;
        /* columns left of cut are j < i + k (upper), or j <= i + k (lower) */
        const int64_t diagonal = i % rows + k + (upper ? 0 : 1);
        const size_t cut = (size_t)OM_MIN(OM_MAX(diagonal, 0), cols) * size,
                     row = (size_t)cols * size;

        memcpy(to, (const unsigned char *)x->data + at, row);
        memset(upper ? to : to + cut, 0, upper ? cut : row - cut);
    }
    return 0;
}
