/* src/ref/tensor.c: run-time tensors and the reading of operands and attributes. */
#include "ref/kernel.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/half.h"

static alignas(
    64) unsigned char nothing[64]; /* what empty tensors of nobody point to; never written */

bool om_ref_aligned(const void *data, enum om_dtype dtype)
{
    return (uintptr_t)data % om_dtype_size(dtype) == 0;
}

static int set_shape(struct ref_tensor *t, enum om_dtype dtype, const int64_t *dims, uint32_t rank,
                     struct om_error *err)
{
    char text[REF_DIMS_TEXT];
    int64_t dense[OM_RANK_MAX] = { 0 }, n;

    if (om_dtype_size(dtype) == 0)
        return om_fail(err, OM_E_INTERNAL, "a tensor without a dtype");
    if (rank > OM_RANK_MAX)
        return om_fail(err, OM_E_LIMIT, "rank %" PRIu32 " is above the limit %d", rank,
                       OM_RANK_MAX);
    /* Also without its empty axes must a shape have a count, so that kernels multiply any of its
     * axes freely. */
    for (uint32_t i = 0; i < rank; i++)
        dense[i] = dims[i] == 0 ? 1 : dims[i];
    if (!om_count(dense, rank, &n) || !om_count(dims, rank, &t->count))
        return om_fail(err, OM_E_LIMIT, "shape %s is not possible",
                       om_ref_dims_text(text, sizeof(text), dims, rank));
    t->dtype = dtype;
    t->rank = rank;
    if (rank > 0)
        memmove(t->dims, dims, rank * sizeof(*dims));
    return 0;
}

static int mem_new(struct ref_pool *pool, uint64_t bytes, struct ref_mem **out,
                   struct om_error *err)
{
    uint64_t used;
    size_t size;
    struct ref_mem *m;

    if (!om_add_u64(pool->used, bytes, &used) || used > pool->max)
        return om_fail(err, OM_E_LIMIT,
                       "%" PRIu64 " bytes more than the %" PRIu64
                       " in use would pass the memory limit of %" PRIu64 " bytes",
                       bytes, pool->used, pool->max);
    if (bytes > SIZE_MAX - sizeof(*m) - alignof(struct ref_mem))
        return om_fail(err, OM_E_NOMEM, "out of memory");
    /* aligned_alloc wants a multiple of the alignment; at least one byte of data keeps pointers
     * valid */
    size = sizeof(*m) + (size_t)bytes + alignof(struct ref_mem);
    size -= size % alignof(struct ref_mem);
    m = aligned_alloc(alignof(struct ref_mem), size);
    if (!m)
        return om_fail(err, OM_E_NOMEM, "out of memory: %" PRIu64 " bytes", bytes);
    pool->used = used;
    m->pool = pool;
    m->refs = 1;
    m->bytes = bytes;
    m->tensors = false;
    *out = m;
    return 0;
}

int om_ref_new(struct ref_pool *pool, struct ref_tensor *t, enum om_dtype dtype,
               const int64_t *dims, uint32_t rank, struct om_error *err)
{
    struct ref_tensor made = { .mem = NULL };
    uint64_t bytes;

    OM_TRY(set_shape(&made, dtype, dims, rank, err));
    if (!om_mul_u64((uint64_t)made.count, om_dtype_size(dtype), &bytes))
        return om_fail(err, OM_E_LIMIT, "a tensor is too large");
    OM_TRY(mem_new(pool, bytes, &made.mem, err));
    made.data = made.mem->data;
    *t = made;
    return 0;
}

int om_ref_new_sequence(struct ref_pool *pool, struct ref_tensor *t, int64_t n,
                        struct om_error *err)
{
    struct ref_tensor made = { .mem = NULL };
    uint64_t bytes;

    OM_TRY(set_shape(&made, OM_U8, &n, 1, err));
    if (!om_mul_u64((uint64_t)n, sizeof(*t), &bytes))
        return om_fail(err, OM_E_LIMIT, "a sequence is too long");
    OM_TRY(mem_new(pool, bytes, &made.mem, err));
    made.kind = REF_SEQUENCE;
    made.data = made.mem->data;
    memset(made.data, 0, (size_t)bytes);
    made.mem->tensors = true;
    *t = made;
    return 0;
}

int om_ref_share(struct ref_tensor *t, const struct ref_tensor *of, const int64_t *dims,
                 uint32_t rank, struct om_error *err)
{
    struct ref_tensor made = {
        .data = of->data, .mem = of->mem, .small = of->small, .kind = of->kind
    };
    char from[REF_DIMS_TEXT], to[REF_DIMS_TEXT];

    OM_TRY(set_shape(&made, of->dtype, dims, rank, err));
    if (made.count != of->count)
        return om_fail(err, OM_E_FORMAT, "shape %s does not fit the elements of %s",
                       om_ref_dims_text(to, sizeof(to), dims, rank),
                       om_ref_dims_text(from, sizeof(from), of->dims, of->rank));
    if (made.mem)
        made.mem->refs++;
    *t = made;
    return 0;
}

int om_ref_borrow(struct ref_tensor *t, enum om_dtype dtype, const int64_t *dims, uint32_t rank,
                  const void *data, struct om_error *err)
{
    struct ref_tensor made = { .mem = NULL };

    OM_TRY(set_shape(&made, dtype, dims, rank, err));
    if (made.count > 0 && !data)
        return om_fail(err, OM_E_USAGE, "a tensor without data");
    /* The const is cast away for good reason: kernels write to tensors they made and to no others.
     */
    made.data = made.count > 0 ? (void *)(uintptr_t)data : nothing;
    *t = made;
    return 0;
}

int om_ref_convert(struct ref_pool *pool, struct ref_tensor *t, const struct ref_tensor *from,
                   enum om_dtype dtype, struct om_error *err)
{
    OM_TRY(om_ref_new(pool, t, dtype, from->dims, from->rank, err));
    om_convert(t->data, dtype, from->data, from->dtype, (size_t)from->count);
    return 0;
}

void om_ref_drop(struct ref_tensor *t)
{
    struct ref_mem *m = t->mem;

    if (m && --m->refs == 0) {
        for (uint64_t i = 0; m->tensors && i < m->bytes / sizeof(*t); i++)
            om_ref_drop((struct ref_tensor *)(void *)m->data + i);
        m->pool->used -= m->bytes;
        free(m);
    }
    *t = (struct ref_tensor){ .mem = NULL };
}

int om_ref_work(struct ref_pool *pool, int64_t n, int64_t times, struct om_error *err)
{
    uint64_t steps, sum;

    if (pool->max_work == 0)
        return 0;
    if (!om_mul_u64((uint64_t)OM_MAX(n, 0), (uint64_t)OM_MAX(times, 0), &steps) ||
        !om_add_u64(pool->work, steps, &sum) || sum > pool->max_work)
        return om_fail(err, OM_E_LIMIT, "the run would pass the limit of %" PRIu64 " steps",
                       pool->max_work);
    pool->work = sum;
    return 0;
}

int64_t om_ref_i64_at(const struct ref_tensor *t, int64_t i)
{
    int64_t v;

    if (t->dtype == OM_I64)
        return ((const int64_t *)t->data)[i];
    if (t->dtype == OM_I32)
        return ((const int32_t *)t->data)[i];
    om_convert(&v, OM_I64, (const char *)t->data + (size_t)i * om_dtype_size(t->dtype), t->dtype,
               1);
    return v;
}

double om_ref_f64_at(const struct ref_tensor *t, int64_t i)
{
    double v;

    if (t->dtype == OM_F32)
        return (double)((const float *)t->data)[i];
    om_convert(&v, OM_F64, (const char *)t->data + (size_t)i * om_dtype_size(t->dtype), t->dtype,
               1);
    return v;
}

const struct ref_tensor *om_ref_in(const struct ref_call *c, uint32_t i)
{
    return i < c->node->n_in ? c->in[i] : NULL;
}

bool om_ref_wants(const struct ref_call *c, uint32_t i)
{
    return i < c->node->n_out && c->node->out[i].id != 0;
}

bool om_ref_attr_is(const struct ref_call *c, const char *name, const char *text)
{
    const struct om_attr *a = om_node_attr(c->node, name);

    return a && a->kind == OM_ATTR_STRING && om_sv_is(a->s, text);
}

static bool is_index(enum om_dtype dtype)
{
    return dtype == OM_I64 || dtype == OM_I32;
}

int om_ref_ints(const struct ref_call *c, uint32_t i, const char *what, struct ref_ints *out)
{
    const struct ref_tensor *t = om_ref_in(c, i);

    out->n = 0;
    if (!t)
        return 0;
    if (!is_index(t->dtype) || t->rank > 1)
        return om_fail(c->err, OM_E_FORMAT,
                       "%s: expected int64 of rank 1, found %s of rank %" PRIu32, what,
                       om_dtype_text(t->dtype), t->rank);
    if (t->count > OM_RANK_MAX)
        return om_fail(c->err, OM_E_LIMIT, "%s: %" PRId64 " entries are above the limit %d", what,
                       t->count, OM_RANK_MAX);
    for (; out->n < (uint32_t)t->count; out->n++)
        out->v[out->n] = om_ref_i64_at(t, out->n);
    return 0;
}

int om_ref_scalar_i64(const struct ref_call *c, uint32_t i, const char *what, int64_t *out)
{
    struct ref_ints v;

    OM_TRY(om_ref_ints(c, i, what, &v));
    if (v.n != 1)
        return om_fail(c->err, OM_E_FORMAT, "%s: expected one number, found %" PRIu32, what, v.n);
    *out = v.v[0];
    return 0;
}

int om_ref_axis(const struct ref_call *c, int64_t axis, uint32_t rank, uint32_t *out)
{
    const int64_t r = rank;

    if (axis < -r || axis >= r)
        return om_fail(c->err, OM_E_FORMAT,
                       "axis %" PRId64 " is outside [-%" PRId64 ", %" PRId64 ")", axis, r, r);
    *out = (uint32_t)(axis < 0 ? axis + r : axis);
    return 0;
}

int om_ref_axis_set(const struct ref_call *c, const struct ref_ints *axes, uint32_t rank,
                    uint32_t *set)
{
    *set = 0;
    for (uint32_t i = 0; i < axes->n; i++) {
        uint32_t axis = 0;

        OM_TRY(om_ref_axis(c, axes->v[i], rank, &axis));
        if (*set & (1u << axis))
            return om_fail(c->err, OM_E_FORMAT, "axis %" PRIu32 " is given twice", axis);
        *set |= 1u << axis;
    }
    return 0;
}

int om_ref_bad_dtype(const struct ref_call *c, enum om_dtype dtype)
{
    return om_fail(c->err, OM_E_UNSUPPORTED, "no kernel for %s", om_dtype_text(dtype));
}

const char *om_ref_dims_text(char *buf, size_t size, const int64_t *dims, uint32_t rank)
{
    size_t len = 0;

    for (uint32_t i = 0; i < rank && len < size; i++)
        len += (size_t)snprintf(buf + len, size - len, "%s%" PRId64, i ? ", " : "[", dims[i]);
    if (len < size)
        snprintf(buf + len, size - len, "%s", rank ? "]" : "[]");
    return buf;
}

int64_t om_ref_product(const int64_t *dims, uint32_t begin, uint32_t end)
{
    int64_t n = 1;

    for (uint32_t i = begin; i < end; i++)
        n *= dims[i];
    return n;
}
