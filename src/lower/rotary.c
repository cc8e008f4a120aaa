/* src/lower/rotary.c: RotaryEmbedding before opset 23.
 *
 * The pairs (a, b) become (a cos - b sin, b cos + a sin). With the partner of every element beside
 * it that is x * cos + partner * sin, where the sign is part of the sine table; the tables are
 * spread once for all layers. Where pairs are neighbours, a transpose makes halves of them first: a
 * Gather of single columns took seven times as long (ONNX Runtime 1.32, CPU, 32 heads of 64, 128
 * rows: 2090 against 311 microseconds, halves 190). */
#include "lower/internal.h"

struct rotary {
    int64_t size, pairs; /* of a head, and of what is rotated in it */
    int64_t axis;        /* that holds the two halves: the last one, or one of its own before it */
};

static bool read_rotary(struct lower *l, const struct om_node *n, struct rotary *r)
{
    const struct om_value *x = lo_old(l, n->in[0]), *table = lo_old(l, n->in[1]);

    r->axis = om_node_int(n, "interleaved", 0) ? -2 : -1;
    if (x->rank == 4 && lo_const_dim(l, x->dims[3], &r->size) &&
        lo_const_dim(l, table->dims[table->rank - 1], &r->pairs))
        return true;
    om_graph_fail(l->h, OM_E_UNSUPPORTED,
                  "%.*s: RotaryEmbedding needs rank 4 and a known head size", OM_SV(n->name));
    return false;
}

static om_val concat(struct lower *l, om_val a, om_val b, int64_t axis)
{
    return LO1(l, Concat, LO_INT("axis", axis), a, b);
}

/* Two tables [batch, sequence, pairs] as one below the axis of heads: [batch, 1, sequence, 2 *
 * pairs], or [batch, 1, sequence, 2, pairs]. */
static om_val spread(struct lower *l, const struct rotary *r, om_val first, om_val second)
{
    if (r->axis == -2) {
        first = lo_unsqueeze(l, first, -2);
        second = lo_unsqueeze(l, second, -2);
    }
    return lo_unsqueeze(l, concat(l, first, second, r->axis), 1);
}

static om_val partners(struct lower *l, const struct rotary *r, om_val x)
{
    const int64_t half = r->axis == -2 ? 1 : r->pairs;
    om_val part[2];

    lo_split_axis(l, x, r->axis, (const int64_t[]){ half, half }, 2, part);
    return concat(l, part[1], part[0], r->axis);
}

static om_val table(struct lower *l, const struct om_node *n, uint32_t i)
{
    if (!lo_has(n, 3))
        return lo_nd(l, n->in[i]);
    return LO(l, Gather, lo_nd(l, n->in[i]), lo_nd(l, n->in[3]));
}

static om_val rotate_halves(struct lower *l, const struct om_node *n, const struct rotary *r,
                            om_val x)
{
    const om_val cosine = table(l, n, 1), sine = table(l, n, 2);
    const om_val straight = LO(l, Mul, x, spread(l, r, cosine, cosine));
    const om_val crossed = LO(l, Mul, partners(l, r, x), spread(l, r, LO(l, Neg, sine), sine));

    return LO(l, Add, straight, crossed);
}

static om_val rotate(struct lower *l, const struct om_node *n, const struct rotary *r, om_val x)
{
    static const int64_t swap[] = { 0, 1, 2, 4, 3 };
    om_dim dims[5];

    if (r->axis == -1)
        return rotate_halves(l, n, r, x);
    memcpy(dims, lo_old(l, n->in[0])->dims, 3 * sizeof(*dims));
    dims[3] = om_dim_const(l->d, r->pairs);
    dims[4] = om_dim_const(l->d, 2);
    x = lo_transpose(l, lo_reshape(l, x, dims, 5), swap, 5);
    x = lo_transpose(l, rotate_halves(l, n, r, x), swap, 5);
    dims[3] = om_dim_const(l->d, 2 * r->pairs);
    return lo_reshape(l, x, dims, 4);
}

/* ONNX Runtime wants a row of the tables for every row of the batch. */
bool lo_fits_rotary_23(const struct lower *l, const struct om_node *n)
{
    return lo_has(n, 3) || lo_old(l, n->in[0])->dims[0] == lo_old(l, n->in[1])->dims[0];
}

void lo_rotary(struct lower *l, const struct om_node *n)
{
    const om_val x = lo_nd(l, n->in[0]);
    struct rotary r;
    om_val part[2];

    if (!read_rotary(l, n, &r))
        return;
    if (2 * r.pairs == r.size) {
        lo_set(l, n, 0, rotate(l, n, &r, x));
        return;
    }
    lo_split_axis(l, x, -1, (const int64_t[]){ 2 * r.pairs, r.size - 2 * r.pairs }, 2, part);
    lo_set(l, n, 0, concat(l, rotate(l, n, &r, part[0]), part[1], -1));
}
