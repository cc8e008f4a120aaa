/* src/fuse/linear.c: layers on flattened rows become layers on the tensor as it is.
 *
 * Exporters write Reshape, Gemm, Reshape for a linear layer on more than two axes; MatMul and Add
 * need no shapes, and what comes after may take the Add. */
#include "fuse/internal.h"

struct layer {
    const struct om_doc_node *flat, *gemm;
    om_sv in[2], bias;
};

static bool has_plain_scale(const struct om_doc_node *n)
{
    int64_t ta, tb;
    double alpha, beta;

    return fz_int(n, "transA", 0, &ta) && fz_int(n, "transB", 0, &tb) && ta == 0 && tb == 0 &&
           fz_float(n, "alpha", 1, &alpha) && fz_float(n, "beta", 1, &beta) && alpha == 1 &&
           beta == 1;
}

/* y has the axes of x but for the last, which rows (of two axes) share with x or y. */
static bool keeps_rows(const struct om_value *x, const struct om_value *rows,
                       const struct om_value *y)
{
    if (!x || !rows || !y || x->rank < 3 || x->rank != y->rank || rows->rank != 2 ||
        rows->dims[1] != x->dims[x->rank - 1])
        return false;
    for (uint32_t i = 0; i + 1 < x->rank; i++)
        if (x->dims[i] != y->dims[i])
            return false;
    return true;
}

static bool read_layer(const struct fuse *f, const struct om_doc_node *n, struct layer *l)
{
    const struct om_value *w, *y = fz_shape(f, n->out[0]);

    l->gemm = n->n_in == 2 ? fz_made_by(f, n->in[0], "Gemm") : NULL;
    l->flat = l->gemm ? fz_made_by(f, l->gemm->in[0], "Reshape") : NULL;
    if (!l->flat || l->gemm->n_in < 2 || !has_plain_scale(l->gemm) ||
        fz_uses(f, l->gemm->out[0]) != 1 || fz_is_output(f, l->gemm->out[0]))
        return false;
    l->in[0] = l->flat->in[0];
    l->in[1] = l->gemm->in[1];
    l->bias = l->gemm->n_in > 2 ? l->gemm->in[2] : (om_sv){ "", 0 };
    w = fz_shape(f, l->in[1]);
    return keeps_rows(fz_shape(f, l->in[0]), fz_shape(f, l->gemm->in[0]), y) && w && w->rank == 2 &&
           w->dims[1] == y->dims[y->rank - 1] && fz_is_float(f, l->in[0]) &&
           (l->bias.len == 0 || fz_is_row(f, l->bias, n->out[0]));
}

int fz_unflatten(struct fuse *f, struct om_doc_node *n)
{
    struct om_doc_node *gemm;
    struct layer l;

    if (!fz_is(n, "", "Reshape") || n->n_out != 1 || !read_layer(f, n, &l))
        return 0;
    f->changes++;
    if (l.bias.len == 0)
        return fz_become(f, n, "", "MatMul", l.in, 2);
    gemm = fz_made_by(f, n->in[0], "Gemm");
    OM_TRY(fz_become(f, gemm, "", "MatMul", l.in, 2));
    return fz_become(f, n, "", "Add", (const om_sv[]){ n->in[0], l.bias }, 2);
}
