/* src/ref/tape.c: operators made of others. */
#include "ref/tape.h"

enum { TAPE_OUTPUTS = 4 };

void om_ref_do_fail(struct ref_tape *t, int rc)
{
    if (t->rc == 0)
        t->rc = rc;
}

static struct ref_tensor *next(struct ref_tape *t)
{
    if (t->rc < 0)
        return NULL;
    if (t->n == REF_TAPE_MAX) {
        t->rc = om_fail(t->c->err, OM_E_INTERNAL, "an operator is made of too many");
        return NULL;
    }
    return &t->made[t->n++];
}

const struct ref_tensor *om_ref_do_list(struct ref_tape *t, ref_kernel *kernel,
                                        const struct om_attr *attrs, uint32_t n_attrs,
                                        const struct ref_tensor *const *in, uint32_t n_in,
                                        const struct ref_tensor **more, uint32_t n_out)
{
    enum { INPUTS = 12 };
    om_val in_ids[INPUTS] = { { 0 } }, out_ids[TAPE_OUTPUTS] = { { 1 }, { 1 }, { 1 }, { 1 } };
    struct ref_tensor out[TAPE_OUTPUTS] = { { .mem = NULL } };
    struct om_node node = { .in = in_ids,
                            .out = out_ids,
                            .n_in = n_in,
                            .n_out = n_out,
                            .attrs = attrs,
                            .n_attrs = n_attrs };
    struct ref_call call = *t->c;
    const struct ref_tensor *first = NULL;

    if (t->rc < 0)
        return NULL;
    for (uint32_t i = 0; i < n_in; i++)
        in_ids[i].id = in[i] != NULL;
    while (node.n_in > 0 && !in[node.n_in - 1])
        node.n_in--;
    call.node = &node;
    call.in = in;
    call.out = out;
    call.opset = OM_REF_OPSET;
    t->rc = kernel(&call);
    for (uint32_t i = 0; i < n_out; i++) {
        struct ref_tensor *const to = next(t);

        if (!to) {
            om_ref_drop(&out[i]);
            continue;
        }
        *to = out[i];
        if (i == 0)
            first = to;
        else
            more[i - 1] = to;
    }
    return t->rc < 0 ? NULL : first;
}

const struct ref_tensor *om_ref_do(struct ref_tape *t, ref_kernel *kernel,
                                   const struct om_attr *attrs, uint32_t n_attrs,
                                   const struct ref_tensor *a, const struct ref_tensor *b,
                                   const struct ref_tensor *d)
{
    const struct ref_tensor *const in[3] = { a, b, d };

    return om_ref_do_list(t, kernel, attrs, n_attrs, in, 3, NULL, 1);
}

const struct ref_tensor *om_ref_do_convert(struct ref_tape *t, const struct ref_tensor *x,
                                           enum om_dtype dtype)
{
    struct ref_tensor *to;

    if (t->rc < 0 || x->dtype == dtype)
        return x;
    to = next(t);
    if (to)
        om_ref_do_fail(t, om_ref_convert(t->c->pool, to, x, dtype, t->c->err));
    return t->rc < 0 ? NULL : to;
}

const struct ref_tensor *om_ref_do_reshape(struct ref_tape *t, const struct ref_tensor *x,
                                           const int64_t *dims, uint32_t rank)
{
    struct ref_tensor *const to = next(t);

    if (to)
        om_ref_do_fail(t, om_ref_share(to, x, dims, rank, t->c->err));
    return t->rc < 0 ? NULL : to;
}

const struct ref_tensor *om_ref_do_transpose(struct ref_tape *t, const struct ref_tensor *x,
                                             const int64_t *perm)
{
    const struct om_attr a = {
        .name = "perm", .kind = OM_ATTR_INTS, .ints = perm, .n = x ? x->rank : 0
    };

    return om_ref_do(t, om_ref_Transpose, &a, 1, x, NULL, NULL);
}

const struct ref_tensor *om_ref_do_channels_last(struct ref_tape *t, const struct ref_tensor *x)
{
    int64_t perm[OM_RANK_MAX];

    if (t->rc < 0 || x->rank < 3)
        return x;
    for (uint32_t i = 0; i < x->rank; i++)
        perm[i] = i == 0 ? 0 : i + 1 < x->rank ? i + 1 : 1;
    return om_ref_do_transpose(t, x, perm);
}

const struct ref_tensor *om_ref_do_channels_first(struct ref_tape *t, const struct ref_tensor *x)
{
    int64_t perm[OM_RANK_MAX];

    if (t->rc < 0 || x->rank < 3)
        return x;
    for (uint32_t i = 0; i < x->rank; i++)
        perm[i] = i == 0 ? 0 : i == 1 ? x->rank - 1 : i - 1;
    return om_ref_do_transpose(t, x, perm);
}

struct ref_tensor *om_ref_do_new(struct ref_tape *t, enum om_dtype dtype, const int64_t *dims,
                                 uint32_t rank)
{
    struct ref_tensor *const to = next(t);

    if (to)
        om_ref_do_fail(t, om_ref_new(t->c->pool, to, dtype, dims, rank, t->c->err));
    return t->rc < 0 ? NULL : to;
}

const struct ref_tensor *om_ref_do_number(struct ref_tape *t, enum om_dtype dtype, double v)
{
    struct ref_tensor *const to = om_ref_do_new(t, dtype, NULL, 0);

    if (to)
        om_ref_row_store(to, 0, 1, &v, 1);
    return to;
}

void om_ref_do_give(struct ref_tape *t, uint32_t i, const struct ref_tensor *x)
{
    if (t->rc == 0 && i < t->c->node->n_out)
        t->rc = om_ref_share(&t->c->out[i], x, x->dims, x->rank, t->c->err);
}

int om_ref_tape_close(struct ref_tape *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        om_ref_drop(&t->made[i]);
    return t->rc;
}
