/* src/ir/infer_fused.c: attention of com.microsoft whose heads lie side by side. */
#include "ir/internal.h"

/* ---- what the operators share ---- */

/* How many rows attend to how many. */
struct sizes {
    om_dim batch, queries, keys;
    int64_t heads;
};

static int wrong_shape(struct om_inf *c, const char *what, uint32_t i)
{
    const struct om_value *v = om_inf_in(c, i);

    return om_fail(c->err, OM_E_FORMAT, "%s of shape %s does not fit", what,
                   om_inf_shape_text(c, v->dims, v->rank));
}

static bool is_one(const struct om_inf *c, om_dim d)
{
    int64_t v;

    return om_dim_is_const(c->d, d, &v) && v == 1;
}

static int check_heads(struct om_inf *c, struct sizes *s)
{
    s->heads = om_node_int(c->n, "num_heads", 0);
    return s->heads > 0 ? 0 : om_fail(c->err, OM_E_FORMAT, "num_heads is missing");
}

/* Of whole numbers: [batch], [2 * batch], [batch, keys], [batch, queries, keys] or for an image of
 * scores; which one it is may depend on extents. */
static int check_mask(struct om_inf *c, uint32_t i)
{
    const struct om_value *v = om_inf_in(c, i);

    if (!v)
        return 0;
    OM_TRY(om_inf_class(c, i, OM_CLASS_INT));
    return v->rank >= 1 && v->rank <= 4 ? 0 : wrong_shape(c, "the mask", i);
}

/* [batch or 1, heads or 1, queries, keys]. */
static int check_bias(struct om_inf *c, uint32_t i, const struct sizes *s)
{
    const struct om_value *v = om_inf_in(c, i);

    if (!v)
        return 0;
    OM_TRY(om_inf_same_dtype(c, 0, i));
    if (v->rank == 4 && (is_one(c, v->dims[0]) || om_inf_merge(c, v->dims[0], s->batch)) &&
        (is_one(c, v->dims[1]) || om_inf_merge(c, v->dims[1], om_dim_const(c->d, s->heads))) &&
        om_inf_merge(c, v->dims[2], s->queries) && om_inf_merge(c, v->dims[3], s->keys))
        return 0;
    return wrong_shape(c, "attention_bias", i);
}

static int check_rank_of(struct om_inf *c, uint32_t i, uint32_t rank, const char *what)
{
    const struct om_value *v = om_inf_in(c, i);

    OM_TRY(om_inf_class(c, i, OM_CLASS_FLOAT));
    OM_TRY(om_inf_same_dtype(c, 0, i));
    return !v || v->rank == rank ? 0 : wrong_shape(c, what, i);
}

/* ---- Attention: one product makes query, key and value ---- */

int om_inf_packed_attention(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0), *w = om_inf_in(c, 1), *bias = om_inf_in(c, 2);
    struct om_shape y = om_inf_shape(x);
    struct sizes s;
    int64_t width;

    OM_TRY(check_heads(c, &s));
    OM_TRY(check_rank_of(c, 0, 3, "the input"));
    OM_TRY(check_rank_of(c, 1, 2, "the weight"));
    OM_TRY(check_rank_of(c, 2, 1, "the bias"));
    if (om_inf_in(c, 4) || om_node_attr(c->n, "qkv_hidden_sizes") || c->n->n_out > 1)
        return om_fail(c->err, OM_E_UNSUPPORTED, "a past, or parts of different sizes");
    s = (struct sizes){ x->dims[0], x->dims[1], x->dims[1], s.heads };
    if (!om_inf_merge(c, x->dims[2], w->dims[0]) || !om_dim_is_const(c->d, w->dims[1], &width) ||
        width % 3 != 0 || width / 3 % s.heads != 0)
        return wrong_shape(c, "the weight", 1);
    if (bias && !om_inf_merge(c, bias->dims[0], w->dims[1]))
        return wrong_shape(c, "the bias", 2);
    OM_TRY(check_mask(c, 3));
    OM_TRY(check_bias(c, 5, &s));
    y.dims[2] = om_dim_const(c->d, width / 3);
    return om_inf_set(c, 0, x->dtype, &y);
}

/* ---- MultiHeadAttention ---- */

/* Key or value as [batch, heads, rows, size]. */
static int heads_of(struct om_inf *c, uint32_t i, const struct sizes *s, struct om_shape *out)
{
    const struct om_value *v = om_inf_in(c, i);
    const om_dim heads = om_dim_const(c->d, s->heads);
    int64_t width;

    OM_TRY(om_inf_class(c, i, OM_CLASS_FLOAT));
    OM_TRY(om_inf_same_dtype(c, 0, i));
    *out = om_inf_shape(v);
    if (v->rank == 4 && om_inf_merge(c, v->dims[0], s->batch) && om_inf_merge(c, v->dims[1], heads))
        return 0;
    if (v->rank != 3 || !om_inf_merge(c, v->dims[0], s->batch) ||
        !om_dim_is_const(c->d, v->dims[2], &width) || width % s->heads != 0)
        return wrong_shape(c, i == 1 ? "the key" : "the value", i);
    *out = (struct om_shape){
        .rank = 4, .dims = { v->dims[0], heads, v->dims[1], om_dim_const(c->d, width / s->heads) }
    };
    return 0;
}

/* What is before the rows of a key or value. */
static int add_past(struct om_inf *c, uint32_t i, struct om_shape *rows)
{
    const struct om_value *past = om_inf_in(c, i);
    bool fits = past != NULL;

    if (!past)
        return 0;
    OM_TRY(check_rank_of(c, i, 4, "the past"));
    for (uint32_t k = 0; k < 4; k++)
        fits = fits && (k == 2 || om_inf_merge(c, past->dims[k], rows->dims[k]));
    if (!fits)
        return wrong_shape(c, "the past", i);
    rows->dims[2] = om_dim_add(c->d, past->dims[2], rows->dims[2]);
    return 0;
}

static int check_query_bias(struct om_inf *c, const struct om_shape *k, const struct om_shape *v)
{
    const struct om_value *bias = om_inf_in(c, 3);
    om_dim width = om_inf_in(c, 0)->dims[2];

    if (!bias)
        return 0;
    OM_TRY(check_rank_of(c, 3, 1, "the bias"));
    width = om_dim_add(c->d, width, om_inf_product(c, (om_dim[]){ k->dims[1], k->dims[3] }, 2));
    width = om_dim_add(c->d, width, om_inf_product(c, (om_dim[]){ v->dims[1], v->dims[3] }, 2));
    return om_inf_merge(c, bias->dims[0], width) ? 0 : wrong_shape(c, "the bias", 3);
}

int om_inf_multi_head_attention(struct om_inf *c)
{
    const struct om_value *q = om_inf_in(c, 0);
    const bool past = om_inf_in(c, 6) != NULL;
    struct om_shape y = om_inf_shape(q), k, v;
    struct sizes s;

    OM_TRY(check_heads(c, &s));
    OM_TRY(check_rank_of(c, 0, 3, "the query"));
    s = (struct sizes){ q->dims[0], q->dims[1], 0, s.heads };
    OM_TRY(heads_of(c, 1, &s, &k));
    OM_TRY(heads_of(c, 2, &s, &v));
    if (!om_inf_merge(c, om_inf_product(c, (om_dim[]){ k.dims[1], k.dims[3] }, 2), q->dims[2]))
        return wrong_shape(c, "the key", 1);
    if (past != (om_inf_in(c, 7) != NULL))
        return om_fail(c->err, OM_E_FORMAT, "past key and past value go together");
    OM_TRY(check_query_bias(c, &k, &v));
    OM_TRY(add_past(c, 6, &k));
    OM_TRY(add_past(c, 7, &v));
    if (!om_inf_merge(c, k.dims[2], v.dims[2]))
        return wrong_shape(c, "the value", 2);
    s.keys = k.dims[2];
    OM_TRY(check_mask(c, 4));
    OM_TRY(check_bias(c, 5, &s));
    y.dims[2] = om_inf_product(c, (om_dim[]){ v.dims[1], v.dims[3] }, 2);
    OM_TRY(om_inf_set(c, 0, q->dtype, &y));
    OM_TRY(om_inf_set(c, 1, q->dtype, &k));
    return om_inf_set(c, 2, q->dtype, &v);
}
