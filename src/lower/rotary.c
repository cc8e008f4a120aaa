/* src/lower/rotary.c: RotaryEmbedding before opset 23.
 *
 * The pairs (a, b) become (a cos - b sin, b cos + a sin). With the partner of every element beside
 * it that is x * cos + partner * sin, where the sign is part of the sine table; the tables are
 * spread once for all layers. */
#include "lower/internal.h"

enum { ROTARY_MAX = 1024 }; /* columns whose order is given by a constant */

struct rotary {
    int64_t size, pairs; /* of a head, and of what is rotated in it */
    bool interleaved;    /* pairs are neighbours; else halves */
};

static bool read_rotary(struct lower *l, const struct om_node *n, struct rotary *r)
{
    const struct om_value *x = lo_old(l, n->in[0]), *table = lo_old(l, n->in[1]);

    r->interleaved = om_node_int(n, "interleaved", 0) != 0;
    if (x->rank != 4 || !lo_const_dim(l, x->dims[3], &r->size) ||
        !lo_const_dim(l, table->dims[table->rank - 1], &r->pairs)) {
        om_graph_fail(l->h, OM_E_UNSUPPORTED,
                      "%.*s: RotaryEmbedding needs rank 4 and a known head size", OM_SV(n->name));
        return false;
    }
    if (r->interleaved && r->pairs > ROTARY_MAX) {
        om_graph_fail(l->h, OM_E_LIMIT, "%.*s: %" PRId64 " pairs are above %d", OM_SV(n->name),
                      r->pairs, ROTARY_MAX);
        return false;
    }
    return true;
}

static om_val concat(struct lower *l, om_val a, om_val b)
{
    return LO1(l, Concat, LO_INT("axis", -1), a, b);
}

/* Columns of x in the order first[0], second[0], first[1] ... where first and second count from the
 * given columns. */
static om_val alternate(struct lower *l, const struct rotary *r, om_val x, int64_t first,
                        int64_t second, int64_t step)
{
    int64_t order[2 * ROTARY_MAX];

    for (int64_t i = 0; i < r->pairs; i++) {
        order[2 * i] = first + i * step;
        order[2 * i + 1] = second + i * step;
    }
    return LO1(l, Gather, LO_INT("axis", -1), x, lo_i64s(l, order, (size_t)r->pairs * 2));
}

/* Two tables of pairs as one with a column for every element, below the axis of heads: [batch, 1,
 * sequence, turned]. */
static om_val spread(struct lower *l, const struct rotary *r, om_val first, om_val second)
{
    om_val both = concat(l, first, second);

    if (r->interleaved)
        both = alternate(l, r, both, 0, r->pairs, 1);
    return lo_unsqueeze(l, both, 1);
}

static om_val partners(struct lower *l, const struct rotary *r, om_val x)
{
    const int64_t halves[] = { r->pairs, r->pairs };
    om_val part[2];

    if (r->interleaved)
        return alternate(l, r, x, 1, 0, 2);
    lo_split_last(l, x, halves, 2, part);
    return concat(l, part[1], part[0]);
}

static om_val table(struct lower *l, const struct om_node *n, uint32_t i)
{
    if (!lo_has(n, 3))
        return lo_nd(l, n->in[i]);
    return LO(l, Gather, lo_nd(l, n->in[i]), lo_nd(l, n->in[3]));
}

static om_val rotate(struct lower *l, const struct om_node *n, const struct rotary *r, om_val x)
{
    const om_val cosine = table(l, n, 1), sine = table(l, n, 2);
    const om_val straight = LO(l, Mul, x, spread(l, r, cosine, cosine));
    const om_val crossed = LO(l, Mul, partners(l, r, x), spread(l, r, LO(l, Neg, sine), sine));

    return LO(l, Add, straight, crossed);
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
    lo_split_last(l, x, (const int64_t[]){ 2 * r.pairs, r.size - 2 * r.pairs }, 2, part);
    lo_set(l, n, 0, concat(l, rotate(l, n, &r, part[0]), part[1]));
}
