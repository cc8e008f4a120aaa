/* src/ref/block_weights.c: operators of com.microsoft whose weights have a few bits, in blocks. */
#include "base/codes.h"
#include "ref/quantized.h"

/* ---- com.microsoft: MatMulNBits ---- */

struct nbits {
    int64_t n, k, bits, block, blocks, row; /* bytes of a block's numbers */
    const struct ref_tensor *b, *scales, *zeros, *groups;
};

static int64_t bits_at(const uint8_t *bytes, int64_t i, int64_t bits)
{
    return bytes[i * bits / 8] >> (i * bits % 8) & ((1 << bits) - 1);
}

static double nbits_zero(const struct nbits *q, int64_t n, int64_t block)
{
    const int64_t row = (q->blocks * q->bits + 7) / 8;

    if (!q->zeros)
        return (double)(INT64_C(1) << (q->bits - 1));
    if (q->zeros->dtype != OM_U8)
        return om_ref_f64_at(q->zeros, n * q->blocks + block);
    return (double)bits_at((const uint8_t *)q->zeros->data + n * row, block, q->bits);
}

static int nbits_read(const struct ref_call *c, struct nbits *q)
{
    bool fits;

    *q = (struct nbits){ .n = om_node_int(c->node, "N", 0),
                         .k = om_node_int(c->node, "K", 0),
                         .bits = om_node_int(c->node, "bits", 4),
                         .block = om_node_int(c->node, "block_size", 0),
                         .b = om_ref_in(c, 1),
                         .scales = om_ref_in(c, 2),
                         .zeros = om_ref_in(c, 3),
                         .groups = om_ref_in(c, 4) };
    if (q->bits != 2 && q->bits != 4 && q->bits != 8)
        return om_fail(c->err, OM_E_UNSUPPORTED, "weights of %" PRId64 " bits", q->bits);
    fits = q->n > 0 && q->k > 0 && q->block >= 8 && q->block % 8 == 0 && q->block <= INT32_MAX &&
           q->n <= INT32_MAX && q->k <= INT32_MAX;
    if (fits) {
        q->blocks = (q->k + q->block - 1) / q->block;
        q->row = q->block * q->bits / 8;
        fits = q->b->dtype == OM_U8 && q->b->count == q->n * q->blocks * q->row &&
               q->scales->count == q->n * q->blocks &&
               (q->scales->dtype == OM_F32 || q->scales->dtype == OM_F64);
        if (fits && q->zeros)
            fits = q->zeros->dtype == OM_U8
                       ? q->zeros->count == q->n * ((q->blocks * q->bits + 7) / 8)
                       : q->zeros->count == q->n * q->blocks;
        fits = fits && (!q->groups || q->groups->count >= q->k);
    }
    return fits ? 0
                : om_fail(c->err, OM_E_FORMAT,
                          "weights, scales or zero points do not fit N %" PRId64 ", K %" PRId64
                          " in blocks of %" PRId64,
                          q->n, q->k, q->block);
}

static int nbits_weights(struct ref_tape *t, const struct nbits *q, struct ref_tensor *w)
{
    for (int64_t n = 0; n < q->n; n++)
        for (int64_t k = 0; k < q->k; k++) {
            const uint8_t *bytes =
                (const uint8_t *)q->b->data + (n * q->blocks + k / q->block) * q->row;
            const int64_t block = q->groups ? om_ref_i64_at(q->groups, k) : k / q->block;

            if (block < 0 || block >= q->blocks)
                return om_fail(t->c->err, OM_E_FORMAT, "g_idx has a block %" PRId64, block);
            ((float *)w->data)[n * q->k + k] =
                (float)(((double)bits_at(bytes, k % q->block, q->bits) - nbits_zero(q, n, block)) *
                        om_ref_f64_at(q->scales, n * q->blocks + block));
        }
    return 0;
}

int om_ref_ms_MatMulNBits(struct ref_call *c)
{
    static const struct om_attr transposed = REF_ATTR_INT("transB", 1);
    struct ref_tape t = { .c = c };
    const struct ref_tensor *a = om_ref_in(c, 0), *y;
    struct ref_tensor *w;
    struct nbits q;

    OM_TRY(nbits_read(c, &q));
    w = om_ref_do_new(&t, OM_F32, (const int64_t[]){ q.n, q.k }, 2);
    if (w)
        om_ref_do_fail(&t, nbits_weights(&t, &q, w));
    y = om_ref_do(&t, om_ref_Linear, &transposed, 1, om_ref_do_convert(&t, a, OM_F32), w,
                  om_ref_in(c, 5));
    om_ref_do_give(&t, 0, t.rc == 0 ? om_ref_do_convert(&t, y, a->dtype) : NULL);
    return om_ref_tape_close(&t);
}

/* ---- com.microsoft: MatMulBnb4 ---- */

/* The elements of W [N, K], one after the other, in blocks with a scale each. */
static void bnb4_weights(const struct ref_tensor *b, const struct ref_tensor *scales, int64_t block,
                         int64_t type, struct ref_tensor *w)
{
    const uint8_t *const bytes = b->data;

    for (int64_t i = 0; i < w->count; i++) {
        const unsigned number = i % 2 == 0 ? bytes[i / 2] >> 4 : bytes[i / 2] & 15u;

        ((float *)w->data)[i] = om_codes[type][number] * (float)om_ref_f64_at(scales, i / block);
    }
}

int om_ref_ms_MatMulBnb4(struct ref_call *c)
{
    static const struct om_attr transposed = REF_ATTR_INT("transB", 1);
    const struct ref_tensor *a = om_ref_in(c, 0), *b = om_ref_in(c, 1), *s = om_ref_in(c, 2), *y;
    const int64_t n = om_node_int(c->node, "N", 0), k = om_node_int(c->node, "K", 0);
    const int64_t block = om_node_int(c->node, "block_size", 0);
    const int64_t type = om_node_int(c->node, "quant_type", -1);
    struct ref_tape t = { .c = c };
    struct ref_tensor *w;

    if (type != OM_CODES_FP4 && type != OM_CODES_NF4)
        return om_fail(c->err, OM_E_UNSUPPORTED, "quant_type %" PRId64, type);
    if (om_node_int(c->node, "transB", 1) != 1)
        return om_fail(c->err, OM_E_UNSUPPORTED, "transB is not 1");
    if (n <= 0 || k <= 0 || n > INT32_MAX || k > INT32_MAX || block <= 0 || block > INT32_MAX ||
        b->dtype != OM_U8 || b->count != (n * k + 1) / 2 ||
        s->count != (n * k + block - 1) / block || (s->dtype != OM_F32 && s->dtype != OM_F64))
        return om_fail(c->err, OM_E_FORMAT,
                       "weights or scales do not fit N %" PRId64 ", K %" PRId64
                       " in blocks of %" PRId64,
                       n, k, block);
    w = om_ref_do_new(&t, OM_F32, (const int64_t[]){ n, k }, 2);
    if (w)
        bnb4_weights(b, s, block, type, w);
    y = om_ref_do(&t, om_ref_Linear, &transposed, 1, om_ref_do_convert(&t, a, OM_F32), w, NULL);
    om_ref_do_give(&t, 0, t.rc == 0 ? om_ref_do_convert(&t, y, a->dtype) : NULL);
    return om_ref_tape_close(&t);
}

/* ---- com.microsoft: GatherBlockQuantized ---- */

/* A table whose rows are gathered, and numbers of it made real. */
struct gathered {
    const struct ref_tensor *data, *scales, *zeros, *indices;
    uint32_t rank, gather, quantize; /* axes */
    int64_t dims[OM_RANK_MAX];       /* of the table's numbers */
    int64_t bits, block;             /* bits 0: a number in each element */
};

static int gathered_read(const struct ref_call *c, struct gathered *g)
{
    const struct ref_tensor *d = om_ref_in(c, 0), *s = om_ref_in(c, 2), *z = om_ref_in(c, 3);
    bool fits;

    *g = (struct gathered){ .data = d,
                            .indices = om_ref_in(c, 1),
                            .scales = s,
                            .zeros = z,
                            .rank = d->rank,
                            .bits = d->small ? 0 : om_node_int(c->node, "bits", 4),
                            .block = om_node_int(c->node, "block_size", 128) };
    OM_TRY(om_ref_axis(c, om_node_int(c->node, "gather_axis", 0), d->rank, &g->gather));
    OM_TRY(om_ref_axis(c, om_node_int(c->node, "quantize_axis", 1), d->rank, &g->quantize));
    if (g->bits != 0 && g->bits != 2 && g->bits != 4 && g->bits != 8)
        return om_fail(c->err, OM_E_UNSUPPORTED, "weights of %" PRId64 " bits", g->bits);
    memcpy(g->dims, d->dims, d->rank * sizeof(*g->dims));
    fits = g->bits == 0 || (d->dtype == OM_U8 &&
                            om_mul_i64(g->dims[d->rank - 1], 8 / g->bits, &g->dims[d->rank - 1]));
    if (g->block == 0 && om_ref_small_real(d))
        g->block = OM_MAX(g->dims[g->quantize], 1);
    fits = fits && g->block > 0 && s->rank == d->rank && !(om_ref_small_real(d) && z) &&
           (s->dtype == OM_F32 || s->dtype == OM_F64);
    for (uint32_t i = 0; fits && i < d->rank; i++) {
        const int64_t n = g->dims[i],
                      want = i == g->quantize ? n / g->block + (n % g->block != 0) : n;

        fits = s->dims[i] == want || (s->dims[i] == 1 && om_ref_small_real(d));
        if (z && fits)
            fits = z->rank == d->rank && z->dtype == d->dtype &&
                   (i + 1 == d->rank && g->bits > 0 ? z->dims[i] == (want * g->bits + 7) / 8
                                                    : z->dims[i] == want);
    }
    return fits ? 0
                : om_fail(c->err, OM_E_FORMAT,
                          "data, scales or zero points do not fit in shape, blocks of %" PRId64,
                          g->block);
}

/* Number i of a row that lies in t, packed where there are several in a byte. */
static double gathered_number(const struct gathered *g, const struct ref_tensor *t, int64_t row,
                              int64_t i)
{
    const int64_t width = t->dims[t->rank - 1];

    if (g->bits > 0)
        return (double)bits_at((const uint8_t *)t->data + row * width, i, g->bits);
    if (om_ref_small_real(t))
        return om_ref_small_get(om_ref_small(t->small),
                                ((const uint8_t *)t->data)[row * width + i]);
    return om_ref_f64_at(t, row * width + i);
}

/* The number at a place of the table. */
static double gathered_at(const struct gathered *g, const int64_t *at)
{
    const uint32_t last = g->rank - 1;
    int64_t row = 0, scale_row = 0, scale_last = 0;
    double zero = g->bits > 0 ? (double)(1 << (g->bits - 1)) : 0;

    for (uint32_t i = 0; i < g->rank; i++) {
        const int64_t block = i == g->quantize ? at[i] / g->block : at[i];
        const int64_t k = g->scales->dims[i] == 1 ? 0 : block;

        if (i == last) {
            scale_last = k;
            break;
        }
        row = row * g->dims[i] + at[i];
        scale_row = scale_row * g->scales->dims[i] + k;
    }
    if (g->zeros)
        zero = gathered_number(g, g->zeros, scale_row, scale_last);
    return (gathered_number(g, g->data, row, at[last]) - zero) *
           om_ref_f64_at(g->scales, scale_row * g->scales->dims[last] + scale_last);
}

/* Output element o: outer axes, those of the indices, inner ones. What is out of range is zero. */
static double gathered_element(const struct gathered *g, int64_t o)
{
    const int64_t n = g->dims[g->gather];
    int64_t at[OM_RANK_MAX], index;

    for (uint32_t i = g->rank; i-- > g->gather + 1; o /= g->dims[i])
        at[i] = o % g->dims[i];
    index = om_ref_i64_at(g->indices, o % g->indices->count);
    o /= g->indices->count;
    for (uint32_t i = g->gather; i-- > 0; o /= g->dims[i])
        at[i] = o % g->dims[i];
    at[g->gather] = index < 0 ? index + n : index;
    return at[g->gather] < 0 || at[g->gather] >= n ? 0 : gathered_at(g, at);
}

int om_ref_ms_GatherBlockQuantized(struct ref_call *c)
{
    int64_t dims[2 * OM_RANK_MAX];
    uint32_t rank = 0;
    struct gathered g;

    OM_TRY(gathered_read(c, &g));
    for (uint32_t i = 0; i < g.gather; i++)
        dims[rank++] = g.dims[i];
    for (uint32_t i = 0; i < g.indices->rank; i++)
        dims[rank++] = g.indices->dims[i];
    for (uint32_t i = g.gather + 1; i < g.rank; i++)
        dims[rank++] = g.dims[i];
    OM_TRY(om_ref_new(c->pool, &c->out[0], g.scales->dtype, dims, rank, c->err));
    for (int64_t o = 0; o < c->out[0].count; o++) {
        const double v = gathered_element(&g, o);

        om_ref_row_store(&c->out[0], o, 1, &v, 1);
    }
    return 0;
}
