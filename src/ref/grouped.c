/* src/ref/grouped.c: GroupQueryAttention and RotaryEmbedding of com.microsoft. */
#include <math.h>

#include "ref/heads.h"

/* ---- GroupQueryAttention ---- */

static int64_t total_keys(const struct heads *h, int64_t b)
{
    return om_ref_i64_at(h->lengths, b) + 1;
}

/* The place of the first new key. */
static int64_t first_new(const struct heads *h, int64_t b, int64_t queries)
{
    if (h->fresh)
        return total_keys(h, b) - om_ref_i64_at(h->fresh, b);
    return h->prompt ? 0 : OM_MAX(total_keys(h, b) - queries, 0);
}

static double grouped_bias(const struct heads *h, int64_t b, int64_t n, int64_t s, int64_t t)
{
    const int64_t own = first_new(h, b, h->q->dims[2]) + s;

    if (h->causal ? t > own : t >= total_keys(h, b))
        return -(double)INFINITY;
    if (h->window > 0 && t <= own - h->window)
        return -(double)INFINITY;
    if (!h->extra)
        return 0;
    return om_ref_f64_at(h->extra, b * h->extra_steps[0] + n * h->extra_steps[1] +
                                       s * h->extra_steps[2] + t * h->extra_steps[3]);
}

/* past with the new keys at their places, in a buffer of total keys at least. */
static const struct ref_tensor *update_cache(struct ref_tape *t, const struct heads *h,
                                             const struct ref_tensor *past,
                                             const struct ref_tensor *now, int64_t total)
{
    const int64_t room = past && past->rank == 4 ? past->dims[2] : 0;
    struct ref_tensor *out;
    int64_t dims[4];
    size_t row;

    if (t->rc < 0)
        return NULL;
    memcpy(dims, now->dims, sizeof(dims));
    dims[2] = OM_MAX(total, room);
    if (past && (past->rank != 4 || past->dtype != now->dtype || past->dims[0] != dims[0] ||
                 past->dims[1] != dims[1] || past->dims[3] != dims[3])) {
        om_ref_do_fail(t, om_fail(t->c->err, OM_E_FORMAT, "the past does not fit the new keys"));
        return NULL;
    }
    out = om_ref_do_new(t, now->dtype, dims, 4);
    if (!out || out->count == 0)
        return out;
    row = (size_t)dims[3] * om_dtype_size(now->dtype);
    memset(out->data, 0, (size_t)out->count * om_dtype_size(now->dtype));
    for (int64_t i = 0; i < dims[0] * dims[1]; i++) {
        unsigned char *to = (unsigned char *)out->data + (size_t)(i * dims[2]) * row;
        const int64_t first = first_new(h, i / dims[1], now->dims[2]);
        const int64_t fresh = h->fresh ? om_ref_i64_at(h->fresh, i / dims[1]) : now->dims[2];
        const int64_t n = OM_MAX(OM_MIN(fresh, dims[2] - first), 0);

        if (room > 0)
            memcpy(to, (const unsigned char *)past->data + (size_t)(i * room) * row,
                   (size_t)room * row);
        memcpy(to + (size_t)first * row,
               (const unsigned char *)now->data + (size_t)(i * now->dims[2]) * row,
               (size_t)n * row);
    }
    return out;
}

/* x [B, N, S, D] turned by the positions of its keys. */
static const struct ref_tensor *turn(struct ref_tape *t, const struct heads *h,
                                     const struct ref_tensor *x)
{
    struct ref_call *const c = t->c;
    const struct ref_tensor *cs = om_ref_in(c, 7), *positions = om_ref_in(c, 9);
    struct ref_tensor *made;
    struct om_attr attrs[2] = {
        REF_ATTR_INT("interleaved", om_node_int(c->node, "rotary_interleaved", 0)),
        REF_ATTR_INT("rotary_embedding_dim", cs && cs->rank == 2 ? 2 * cs->dims[1] : 0)
    };

    if (t->rc < 0)
        return NULL;
    if (!positions) {
        made = om_ref_do_new(t, OM_I64, (const int64_t[]){ x->dims[0], x->dims[2] }, 2);
        for (int64_t i = 0; made && i < made->count; i++)
            ((int64_t *)made->data)[i] = first_new(h, i / x->dims[2], x->dims[2]) + i % x->dims[2];
        positions = made;
    }
    {
        const struct ref_tensor *const in[4] = { x, cs, om_ref_in(c, 8), positions };

        return om_ref_do_list(t, om_ref_RotaryEmbedding, attrs, 2, in, 4, NULL, 1);
    }
}

/* Each head's elements by their root mean square, where there are weights for that. */
static const struct ref_tensor *normalize(struct ref_tape *t, const struct ref_tensor *x,
                                          uint32_t weight, const char *epsilon)
{
    const double all = om_node_float(t->c->node, "qk_norm_epsilon", 1e-6);
    const struct om_attr attr = REF_ATTR_FLOAT("epsilon", om_node_float(t->c->node, epsilon, all));

    if (!om_ref_in(t->c, weight))
        return x;
    return om_ref_do(t, om_ref_RMSNormalization, &attr, 1, x, om_ref_in(t->c, weight), NULL);
}

/* The lengths that a batch has must fit each other. */
static int check_lengths(const struct ref_call *c, const struct heads *h, int64_t total)
{
    for (int64_t b = 0; b < h->lengths->count; b++) {
        const int64_t keys = om_ref_i64_at(h->lengths, b), now = h->q->dims[2];
        const int64_t fresh = h->fresh ? om_ref_i64_at(h->fresh, b) : 0;

        if (keys < 0 || keys >= total || total > INT32_MAX || fresh < 0 ||
            fresh > OM_MIN(now, keys + 1))
            return om_fail(c->err, OM_E_USAGE,
                           "seqlens_k %" PRId64 " and query_seqlens %" PRId64 " of %" PRId64
                           " keys",
                           keys, fresh, total);
    }
    return 0;
}

static int grouped(struct ref_tape *t, struct heads *h, const struct ref_tensor *q,
                   const struct ref_tensor *k, const struct ref_tensor *v)
{
    struct ref_call *const c = t->c;
    const int64_t heads = om_node_int(c->node, "num_heads", 0),
                  kv_heads = om_node_int(c->node, "kv_num_heads", 0);
    const int64_t total = om_ref_i64_at(om_ref_in(c, 6), 0);

    h->q = om_ref_heads_split(t, q, heads);
    h->k = om_ref_heads_split(t, k, kv_heads);
    h->v = om_ref_heads_split(t, v, kv_heads);
    if (t->rc < 0)
        return om_ref_tape_close(t);
    h->prompt = h->q->dims[2] == total;
    om_ref_do_fail(t, check_lengths(c, h, total));
    h->q = normalize(t, h->q, 14, "q_norm_epsilon");
    h->k = normalize(t, h->k, 15, "k_norm_epsilon");
    if (om_node_int(c->node, "do_rotary", 0)) {
        h->q = turn(t, h, h->q);
        h->k = turn(t, h, h->k);
    }
    if (t->rc == 0) {
        h->k = update_cache(t, h, om_ref_in(c, 3), h->k, total);
        h->v = update_cache(t, h, om_ref_in(c, 4), h->v, total);
    }
    if (t->rc == 0) {
        h->scale = om_ref_heads_scale(c, h->q->dims[3]);
        om_ref_heads_extra(t, h, om_ref_in(c, 10));
    }
    om_ref_do_give(t, 0, om_ref_heads_attend(t, h));
    om_ref_do_give(t, 1, h->k);
    om_ref_do_give(t, 2, h->v);
    return om_ref_tape_close(t);
}

int om_ref_ms_GroupQueryAttention(struct ref_call *c)
{
    const struct ref_tensor *q = om_ref_in(c, 0), *k = om_ref_in(c, 1), *v = om_ref_in(c, 2);
    const int64_t heads = om_node_int(c->node, "num_heads", 0),
                  kv_heads = om_node_int(c->node, "kv_num_heads", 0);
    struct ref_tape t = { .c = c };
    struct heads h = { .bias = grouped_bias,
                       .lengths = om_ref_in(c, 5),
                       .softcap = om_node_float(c->node, "softcap", 0),
                       .smooth = om_node_int(c->node, "smooth_softmax", 0) == 1,
                       .sinks = om_ref_in(c, 11),
                       .fresh = om_ref_in(c, 16),
                       .causal = om_node_int(c->node, "causal", 1) != 0,
                       .window = om_node_int(c->node, "local_window_size", -1),
                       .scores = om_ref_wants(c, 3) ? 3 : 0,
                       .probabilities = om_node_int(c->node, "qk_output", 0) == 2 };

    if (!h.lengths || h.lengths->count != q->dims[0] || q->rank != 3 || !om_ref_in(c, 6) ||
        om_ref_in(c, 6)->count != 1 || heads < 1 || kv_heads < 1 || heads > INT16_MAX ||
        kv_heads > INT16_MAX)
        return om_fail(c->err, OM_E_FORMAT, "query, seqlens_k or the numbers of heads do not fit");
    if ((h.sinks && h.sinks->count != heads) || (h.fresh && h.fresh->count != h.lengths->count))
        return om_fail(c->err, OM_E_FORMAT, "head_sink or query_seqlens do not fit");
    if (om_ref_in(c, 12) || om_ref_in(c, 13) || om_node_int(c->node, "sliding_window_cache", 0))
        return om_fail(c->err, OM_E_UNSUPPORTED, "a quantized or sliding cache");
    if (om_node_int(c->node, "do_rotary", 0) && (!om_ref_in(c, 7) || !om_ref_in(c, 8)))
        return om_fail(c->err, OM_E_FORMAT, "do_rotary without cos_cache and sin_cache");
    if (!k || !v) { /* packed */
        const int64_t dim = q->dims[2] / (heads + 2 * kv_heads);

        k = om_ref_heads_columns(&t, q, heads * dim, kv_heads * dim);
        v = om_ref_heads_columns(&t, q, (heads + kv_heads) * dim, kv_heads * dim);
        q = om_ref_heads_columns(&t, q, 0, heads * dim);
    }
    return grouped(&t, &h, q, k, v);
}

/* ---- RotaryEmbedding of com.microsoft ---- */

int om_ref_ms_RotaryEmbedding(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *p = om_ref_in(c, 1), *cs = om_ref_in(c, 2);
    const int64_t turned = om_node_int(c->node, "rotary_embedding_dim", 0);
    int64_t heads = om_node_int(c->node, "num_heads", 0);
    struct ref_tape t = { .c = c };
    const int64_t length = x->rank == 4 ? x->dims[2] : x->rank == 3 ? x->dims[1] : 0;

    if (om_node_int(c->node, "is_packed_batching", 0))
        return om_fail(c->err, OM_E_UNSUPPORTED, "packed batching");
    if (x->rank < 3 || cs->rank != 2)
        return om_fail(c->err, OM_E_FORMAT, "the input or cos_cache has another rank");
    if (heads == 0 && x->rank == 3 && cs->dims[1] > 0)
        heads = x->dims[2] / (2 * cs->dims[1]);
    if (p->count == 1 && p->rank == 1) { /* the first position of all rows */
        struct ref_tensor *const all =
            om_ref_do_new(&t, OM_I64, (const int64_t[]){ x->dims[0], length }, 2);

        for (int64_t i = 0; all && i < all->count; i++)
            ((int64_t *)all->data)[i] =
                (int64_t)((uint64_t)om_ref_i64_at(p, 0) + (uint64_t)(i % length));
        p = all;
    }
    {
        const struct om_attr attrs[3] = {
            REF_ATTR_INT("num_heads", heads), REF_ATTR_INT("rotary_embedding_dim", turned),
            REF_ATTR_INT("interleaved", om_node_int(c->node, "interleaved", 0))
        };
        const struct ref_tensor *const in[4] = { x, cs, om_ref_in(c, 3), p };

        om_ref_do_give(&t, 0, om_ref_do_list(&t, om_ref_RotaryEmbedding, attrs, 3, in, 4, NULL, 1));
    }
    return om_ref_tape_close(&t);
}
