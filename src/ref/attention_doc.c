/* src/ref/attention_doc.c: Attention of ONNX in the forms that only documents hold. */
#include <math.h>

#include "ref/heads.h"
#include "ref/plan.h"

/* ---- Attention of ONNX: heads may be packed, lengths of the keys given ---- */

/* What restricts the keys that a query sees, beside a mask. */
struct sight {
    const struct ref_tensor *lengths; /* of the keys, by batch; NULL: all */
    int64_t past, left, right;        /* windows: -1 is no limit */
    bool causal;
};

static bool sees(const struct sight *v, int64_t queries, int64_t b, int64_t s, int64_t t)
{
    const int64_t length = v->lengths ? om_ref_i64_at(v->lengths, b) : INT64_MAX;
    const int64_t at = s + (v->lengths ? length - queries : v->past);

    return t < length && (!v->causal || t <= at) && (v->left < 0 || t >= at - v->left) &&
           (v->right < 0 || t <= at + v->right);
}

/* A mask of floats [batch, heads, queries, keys] that has everything in it; mask may be NULL. */
static const struct ref_tensor *full_mask(struct ref_tape *t, const struct sight *v,
                                          const struct ref_tensor *mask, const struct ref_tensor *q,
                                          int64_t keys)
{
    const struct ref_tensor whole = { .rank = 4,
                                      .dims = { q->dims[0], q->dims[1], q->dims[2], keys } };
    const struct ref_tensor *const both[2] = { &whole, mask };
    int64_t steps[4] = { 0 }, dims[OM_RANK_MAX];
    const int64_t shown = mask && mask->rank > 0 ? mask->dims[mask->rank - 1] : keys;
    struct ref_tensor *out;
    struct ref_tensor cut;
    uint32_t rank;

    if (mask && (mask->rank < 1 || mask->rank > 4 || shown > keys ||
                 (mask->dtype != OM_BOOL && mask->dtype != OM_F32 && mask->dtype != OM_F64))) {
        om_ref_do_fail(t, om_fail(t->c->err, OM_E_FORMAT, "the mask does not fit the scores"));
        return NULL;
    }
    if (mask) { /* a mask that is shorter than the keys hides the rest */
        cut = *mask;
        cut.dims[cut.rank - 1] = keys;
        om_ref_do_fail(t, om_ref_broadcast_dims(t->c,
                                                (const struct ref_tensor *const[]){ both[0], &cut },
                                                2, dims, &rank));
        om_ref_broadcast_steps(mask, 4, steps);
        steps[3] = 1;
        for (uint32_t i = 0; t->rc == 0 && i < 4; i++)
            if (dims[i] != whole.dims[i])
                om_ref_do_fail(t, om_fail(t->c->err, OM_E_FORMAT, "the mask does not fit"));
    }
    out = om_ref_do_new(t, q->dtype, whole.dims, 4);
    for (int64_t i = 0; out && i < out->count; i++) {
        const int64_t j = i % keys, s = i / keys % q->dims[2],
                      n = i / keys / q->dims[2] % q->dims[1],
                      b = i / keys / q->dims[2] / q->dims[1];
        const int64_t at = b * steps[0] + n * steps[1] + s * steps[2] + j;
        bool kept = j < shown && sees(v, q->dims[2], b, s, j);
        double add = 0;

        if (kept && mask && mask->dtype == OM_BOOL)
            kept = ((const uint8_t *)mask->data)[at] != 0;
        else if (kept && mask)
            add = om_ref_f64_at(mask, at);
        add = kept ? add : -(double)INFINITY;
        om_ref_row_store(out, i, 1, &add, 1);
    }
    return out;
}

/* The node's attributes but is_causal, where the mask has it already. */
static uint32_t without_causal(const struct ref_call *c, struct om_attr *attrs, uint32_t cap)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < c->node->n_attrs && n < cap; i++)
        if (strcmp(c->node->attrs[i].name, "is_causal") != 0)
            attrs[n++] = c->node->attrs[i];
    return n;
}

int om_ref_doc_Attention(struct ref_call *c)
{
    static const int64_t perm[4] = { 0, 2, 1, 3 };
    enum { ATTRS = 16 };
    const int64_t q_heads = om_node_int(c->node, "q_num_heads", 0),
                  kv_heads = om_node_int(c->node, "kv_num_heads", 0);
    const struct ref_tensor *in[6], *more[3] = { NULL, NULL, NULL }, *y;
    const bool packed = om_ref_in(c, 0)->rank == 3;
    struct om_attr attrs[ATTRS];
    struct sight v = { .lengths = om_ref_in(c, 6),
                       .left = om_node_int(c->node, "left_window_size", -1),
                       .right = om_node_int(c->node, "right_window_size", -1),
                       .causal = om_node_int(c->node, "is_causal", 0) != 0 };
    struct ref_tape t = { .c = c };
    uint32_t n_attrs = c->node->n_attrs;

    for (uint32_t i = 0; i < 6; i++)
        in[i] = om_ref_in(c, i);
    for (uint32_t i = 0; packed && i < 3; i++)
        in[i] = om_ref_heads_split(&t, in[i], i == 0 ? q_heads : kv_heads);
    if ((v.lengths || v.left >= 0 || v.right >= 0) && t.rc == 0) {
        v.past = in[4] && in[4]->rank == 4 ? in[4]->dims[2] : 0;
        if (in[0]->rank != 4 || in[1]->rank != 4 ||
            (v.lengths && v.lengths->count != in[0]->dims[0]))
            om_ref_do_fail(&t, om_fail(c->err, OM_E_FORMAT, "nonpad_kv_seqlen does not fit"));
        else
            in[3] = full_mask(&t, &v, in[3], in[0], in[1]->dims[2] + v.past);
        n_attrs = without_causal(c, attrs, ATTRS);
    }
    y = om_ref_do_list(&t, om_ref_Attention, n_attrs < c->node->n_attrs ? attrs : c->node->attrs,
                       n_attrs, in, 6, more, om_ref_wants(c, 3) ? 4 : 3);
    if (packed && t.rc == 0) {
        const int64_t *d = y->dims;
        const struct ref_tensor *turned = om_ref_do_transpose(&t, y, perm);

        y = t.rc < 0
                ? NULL
                : om_ref_do_reshape(&t, turned, (const int64_t[]){ d[0], d[2], d[1] * d[3] }, 3);
    }
    om_ref_do_give(&t, 0, y);
    om_ref_do_give(&t, 1, more[0]);
    om_ref_do_give(&t, 2, more[1]);
    if (more[2])
        om_ref_do_give(&t, 3, more[2]);
    return om_ref_tape_close(&t);
}

/* ---- FlexAttention: graphs change the scores ---- */

/* x as the node's graph of that name changes it, where there is one. */
static const struct ref_tensor *modify(struct ref_tape *t, const char *name,
                                       const struct ref_tensor *x)
{
    const struct ref_plan *body;
    struct ref_tensor *out;
    bool same;

    if (t->rc < 0 || !om_node_attr(t->c->node, name))
        return x;
    om_ref_do_fail(t, om_ref_body(t->c, name, &body));
    if (t->rc < 0 || t->n == REF_TAPE_MAX)
        return NULL;
    out = &t->made[t->n++];
    om_ref_do_fail(t, om_ref_run_body(t->c, body, x, 1, out, 1));
    same = t->rc == 0 && out->kind == REF_TENSOR && out->dtype == x->dtype && out->rank == x->rank;
    for (uint32_t i = 0; same && i < x->rank; i++)
        same = out->dims[i] == x->dims[i];
    if (!same)
        om_ref_do_fail(t, om_fail(t->c->err, OM_E_FORMAT, "%s changes more than values", name));
    return t->rc < 0 ? NULL : out;
}

/* Scores or results of all heads, from a product for each head of keys: x [B, M, G, L, ...]. */
static const struct ref_tensor *grouped_product(struct ref_tape *t, const struct ref_tensor *x,
                                                const struct ref_tensor *y, int64_t groups)
{
    const struct ref_tensor *a, *b, *z;
    const int64_t *d;

    if (t->rc < 0)
        return NULL;
    d = x->dims;
    a = om_ref_do_reshape(t, x, (const int64_t[]){ d[0], d[1] / groups, groups, d[2], d[3] }, 5);
    d = y->dims;
    b = om_ref_do_reshape(t, y, (const int64_t[]){ d[0], d[1], 1, d[2], d[3] }, 5);
    z = om_ref_do(t, om_ref_MatMul, NULL, 0, a, b, NULL);
    if (t->rc < 0)
        return NULL;
    d = z->dims;
    return om_ref_do_reshape(t, z, (const int64_t[]){ d[0], d[1] * d[2], d[3], d[4] }, 4);
}

int om_ref_FlexAttention(struct ref_call *c)
{
    static const int64_t turned[4] = { 0, 1, 3, 2 };
    static const struct om_attr last = REF_ATTR_INT("axis", -1);
    const struct ref_tensor *q = om_ref_in(c, 0), *k = om_ref_in(c, 1), *v = om_ref_in(c, 2), *s;
    struct ref_tape t = { .c = c };
    int64_t groups;

    if (q->rank != 4 || k->rank != 4 || v->rank != 4 || q->dims[0] != k->dims[0] ||
        k->dims[0] != v->dims[0] || k->dims[1] < 1 || q->dims[1] % k->dims[1] != 0 ||
        k->dims[1] != v->dims[1] || k->dims[2] != v->dims[2] || q->dims[1] == 0)
        return om_fail(c->err, OM_E_FORMAT, "query, key and value do not fit");
    groups = q->dims[1] / k->dims[1];
    s = grouped_product(&t, q, om_ref_do_transpose(&t, k, turned), groups);
    if (t.rc == 0)
        s = om_ref_do(&t, om_ref_Mul, NULL, 0, s,
                      om_ref_do_number(&t, s->dtype, om_ref_heads_scale(c, q->dims[3])), NULL);
    s = modify(&t, "score_mod", s);
    s = om_ref_do(&t, om_ref_Softmax, &last, 1, s, NULL, NULL);
    s = modify(&t, "prob_mod", s);
    om_ref_do_give(&t, 0, grouped_product(&t, s, v, groups));
    return om_ref_tape_close(&t);
}
