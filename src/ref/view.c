/* src/ref/view.c: walking broadcast, permuted and sliced tensors in the order of a dense output. */
#include "ref/kernel.h"

static bool joins(const struct ref_view *v, uint32_t outer, uint32_t inner)
{
    for (uint32_t o = 0; o < v->n_operands; o++)
        if (v->steps[o][outer] != v->steps[o][inner] * v->dims[inner])
            return false;
    return true;
}

void om_ref_view_fold(struct ref_view *v)
{
    uint32_t n = 0; /* axes kept so far */

    for (uint32_t i = 0; i < v->rank; i++) {
        if (v->dims[i] == 1)
            continue;
        if (n > 0 && joins(v, n - 1, i)) {
            v->dims[n - 1] *= v->dims[i];
            for (uint32_t o = 0; o < v->n_operands; o++)
                v->steps[o][n - 1] = v->steps[o][i];
            continue;
        }
        v->dims[n] = v->dims[i];
        for (uint32_t o = 0; o < v->n_operands; o++)
            v->steps[o][n] = v->steps[o][i];
        n++;
    }
    if (n == 0) { /* a single element; the step is never taken */
        v->dims[0] = 1;
        for (uint32_t o = 0; o < v->n_operands; o++)
            v->steps[o][0] = 0;
        n = 1;
    }
    v->rank = n;
}

struct position {
    int64_t index[2 * OM_RANK_MAX];
    int64_t at[REF_OPERANDS];
};

static void seek(const struct ref_view *v, struct position *p, int64_t flat)
{
    *p = (struct position){ .at = { 0 } };
    for (uint32_t i = v->rank; i-- > 0; flat /= v->dims[i]) {
        p->index[i] = flat % v->dims[i];
        for (uint32_t o = 0; o < v->n_operands; o++)
            p->at[o] += p->index[i] * v->steps[o][i];
    }
}

/* Go n elements on; they do not pass the end of the innermost axis. */
static void advance(const struct ref_view *v, struct position *p, int64_t n)
{
    for (uint32_t i = v->rank; i-- > 0; n = 1) {
        p->index[i] += n;
        for (uint32_t o = 0; o < v->n_operands; o++)
            p->at[o] += n * v->steps[o][i];
        if (p->index[i] < v->dims[i])
            return;
        p->index[i] = 0;
        for (uint32_t o = 0; o < v->n_operands; o++)
            p->at[o] -= v->dims[i] * v->steps[o][i];
    }
}

void om_ref_view_each(const struct ref_view *v, int64_t begin, int64_t end, ref_view_fn *fn,
                      void *user)
{
    const uint32_t last = v->rank - 1;
    int64_t step[REF_OPERANDS] = { 0 };
    struct position p;

    if (begin >= end)
        return;
    for (uint32_t o = 0; o < v->n_operands; o++)
        step[o] = v->steps[o][last];
    seek(v, &p, begin);
    while (begin < end) {
        const int64_t n = OM_MIN(v->dims[last] - p.index[last], end - begin);

        fn(user, begin, p.at, step, n);
        begin += n;
        advance(v, &p, n);
    }
}

void om_ref_steps(const int64_t *dims, uint32_t rank, int64_t *steps)
{
    int64_t step = 1;

    for (uint32_t i = rank; i-- > 0; step *= dims[i])
        steps[i] = step;
}

void om_ref_broadcast_steps(const struct ref_tensor *t, uint32_t rank, int64_t *steps)
{
    const uint32_t lead = rank - t->rank;

    memset(steps, 0, rank * sizeof(*steps));
    om_ref_steps(t->dims, t->rank, steps + lead);
    for (uint32_t i = 0; i < t->rank; i++)
        if (t->dims[i] == 1)
            steps[lead + i] = 0;
}

/* Broadcast dims (of *rank axes) with t's. */
static bool broadcast_with(const struct ref_tensor *t, int64_t *dims, uint32_t *rank)
{
    if (t->rank > *rank) { /* new leading axes */
        memmove(dims + (t->rank - *rank), dims, *rank * sizeof(*dims));
        for (uint32_t i = 0; i < t->rank - *rank; i++)
            dims[i] = 1;
        *rank = t->rank;
    }
    for (uint32_t i = 0; i < t->rank; i++) {
        int64_t *d = &dims[*rank - t->rank + i];

        if (*d == 1)
            *d = t->dims[i];
        else if (t->dims[i] != 1 && t->dims[i] != *d)
            return false;
    }
    return true;
}

int om_ref_broadcast_dims(const struct ref_call *c, const struct ref_tensor *const *in, unsigned n,
                          int64_t *dims, uint32_t *rank)
{
    char a[REF_DIMS_TEXT], b[REF_DIMS_TEXT];

    *rank = 0;
    for (unsigned i = 0; i < n; i++)
        if (!broadcast_with(in[i], dims, rank))
            return om_fail(c->err, OM_E_FORMAT, "shapes %s and %s cannot be broadcast",
                           om_ref_dims_text(a, sizeof(a), in[0]->dims, in[0]->rank),
                           om_ref_dims_text(b, sizeof(b), in[i]->dims, in[i]->rank));
    return 0;
}

struct copy {
    unsigned char *dst;
    const unsigned char *src;
    size_t size;
};

/* memcpy because a mapped weight may begin anywhere. */
#define COPY_STEPPED(T)                                                                 \
    do {                                                                                \
        for (int64_t i = 0; i < n; i++)                                                 \
            memcpy(dst + (size_t)i * sizeof(T), src + i * step[0] * (int64_t)sizeof(T), \
                   sizeof(T));                                                          \
    } while (0)

static void copy_run(void *user, int64_t out, const int64_t *at, const int64_t *step, int64_t n)
{
    const struct copy *c = user;
    unsigned char *dst = c->dst + (size_t)out * c->size;
    const unsigned char *src = c->src + at[0] * (int64_t)c->size;

    if (step[0] == 1)
        memcpy(dst, src, (size_t)n * c->size);
    else if (c->size == 1)
        COPY_STEPPED(uint8_t);
    else if (c->size == 2)
        COPY_STEPPED(uint16_t);
    else if (c->size == 4)
        COPY_STEPPED(uint32_t);
    else
        COPY_STEPPED(uint64_t);
}

void om_ref_gather_copy(struct ref_view *v, void *dst, const void *src, size_t size)
{
    struct copy c = { dst, src, size };
    int64_t n = 1;

    for (uint32_t i = 0; i < v->rank; i++)
        n *= v->dims[i];
    om_ref_view_fold(v);
    om_ref_view_each(v, 0, n, copy_run, &c);
}

int om_ref_expand(const struct ref_call *c, struct ref_tensor *out, const struct ref_tensor *t,
                  const int64_t *dims, uint32_t rank)
{
    struct ref_view v = { .rank = rank, .n_operands = 1 };

    OM_TRY(om_ref_new(c->pool, out, t->dtype, dims, rank, c->err));
    memcpy(v.dims, out->dims, rank * sizeof(*dims));
    om_ref_broadcast_steps(t, rank, v.steps[0]);
    om_ref_gather_copy(&v, out->data, t->data, om_dtype_size(t->dtype));
    return 0;
}
