/* src/lower/packed_attention.c: attention of encoders and encoder-decoders as Attention or
 * MultiHeadAttention of com.microsoft.
 *
 * Both take rows of heads side by side ([batch, sequence, heads * size]), as linear layers give
 * them. Attention has the linear layers of query, key and value in it, as one product; it is used
 * where the three project the same rows. Else it is MultiHeadAttention, which adds their biases,
 * takes past keys and values, and gives the present ones.
 *
 * What decided that it is used on CPUs as well: processor time of ONNX Runtime 1.32's CPU provider
 * with all of its own optimizations, one thread, medians of interleaved runs, relative to plain
 * operators; the noise is 0.03. Encoders, batch x tokens 1x16, 1x64, 4x64: BERT (6 layers of 768)
 * 0.93, 1.00, 1.00; BART (6 of 768) 0.87, 0.97, 1.01; T5 (6 of 512) 0.94, 0.99, 1.00. Steps of
 * decoders with MultiHeadAttention, batch x past tokens 1x16, 1x128, 4x64: BART 0.89, 1.02, 0.98;
 * T5 0.89, 0.93, 0.92. That is with linear layers on flattened rows (Gemm, the bias included).
 * With layers on all axes (MatMul and Add) encoders took 0.98 and 1.02 to 1.03 of the time for
 * 1x64 and 4x64, steps the same: so axes are kept only where the sums are fused, which saves the
 * Adds. Dynamic int8 of BERT (QAttention) takes 0.98 to 1.01 of the time of int8 without it.
 *
 * A mask of tokens goes in as it is, as int32, and what it hides gets the least float32 added, as
 * everywhere here: a row that sees nothing weighs all keys equally. Any other mask is added as
 * attention_bias, which is broadcast over batch and heads, but not over queries. */
#include "base/half.h"
#include "lower/internal.h"

#define LOWEST (-0x1.fffffep127)

static const int64_t swap_heads[] = { 0, 2, 1, 3 };

/* ---- what the graph says ---- */

static const struct om_node *maker(const struct lower *l, om_val v, enum om_op op)
{
    const uint32_t node = v.id ? lo_old(l, v)->node : OM_NO_NODE;
    const struct om_node *n = node == OM_NO_NODE ? NULL : &l->g->nodes[node];

    return n && n->op == op ? n : NULL;
}

static bool is_port(const struct lower *l, om_val v)
{
    const struct om_value *value = lo_old(l, v);

    return value->node == OM_NO_NODE && value->weight == OM_NO_WEIGHT;
}

/* A number of the graph. */
static bool is_number(const struct lower *l, om_val v, double want)
{
    const struct om_value *value = lo_old(l, v);
    const struct om_weight *w =
        value->weight == OM_NO_WEIGHT ? NULL : &l->g->weights[value->weight];
    double found;

    if (!w || w->rank != 0 || w->file || !w->data || w->src_dtype != w->dtype)
        return false;
    om_convert(&found, OM_F64, w->data, w->dtype, 1);
    return found == want;
}

/* ---- operands ---- */

/* Heads [batch, heads, rows, size] and the rows that they were split from. */
struct side {
    om_val heads, rows;           /* rows {0}: heads come as they are */
    om_val past;                  /* the cache that they follow; {0}: none */
    const struct om_node *linear; /* makes the rows; NULL: something else does */
    om_dim width;                 /* of rows */
};

/* heads is a transposed split of rows. */
static bool split_of(const struct lower *l, om_val heads, struct side *s)
{
    const struct om_value *value = lo_old(l, heads), *rows;
    const struct om_node *transpose = maker(l, heads, OM_OP_Transpose), *reshape;
    const struct om_attr *perm = transpose ? om_node_attr(transpose, "perm") : NULL;

    if (!perm || perm->n != 4 || memcmp(perm->ints, swap_heads, sizeof(swap_heads)) != 0)
        return false;
    reshape = maker(l, transpose->in[0], OM_OP_Reshape);
    if (!reshape)
        return false;
    rows = lo_old(l, reshape->in[0]);
    s->rows = reshape->in[0];
    s->linear = maker(l, s->rows, OM_OP_Linear);
    s->width = om_dim_mul(l->d, value->dims[1], value->dims[3]);
    return rows->rank == 3 && rows->dims[0] == value->dims[0] && rows->dims[1] == value->dims[2] &&
           rows->dims[2] == s->width;
}

/* A key or value: rows of this step, behind those of a cache or alone, or a cache. */
static bool side_of(const struct lower *l, om_val v, struct side *s)
{
    const struct om_node *concat = maker(l, v, OM_OP_Concat);

    *s = (struct side){ .heads = v };
    if (is_port(l, v))
        return true;
    if (concat && concat->n_in == 2 && om_node_int(concat, "axis", 0) == 2 &&
        is_port(l, concat->in[0])) {
        s->past = concat->in[0];
        v = concat->in[1];
    }
    return split_of(l, v, s);
}

/* Who else reads the heads: an output, or something that needs them apart. */
static bool is_shared(const struct lower *l, om_val v)
{
    return l->twins[v.id].uses > 1;
}

struct fused {
    struct side q, k, v;
    int64_t heads;
    om_val tokens; /* the mask of tokens; {0}: none */
    om_val bias;   /* what else is added; {0}: nothing */
    bool packed;   /* Attention */
};

/* ---- masks ---- */

/* Of a mask that hides, by om_mask_padding(), what is not 1 in an input of tokens: that input. */
static om_val masked_tokens(const struct lower *l, om_val mask)
{
    const struct om_node *where = maker(l, mask, OM_OP_Where);
    const struct om_node *equal = where ? maker(l, where->in[0], OM_OP_Equal) : NULL;
    const struct om_node *wide = equal ? maker(l, equal->in[0], OM_OP_Unsqueeze) : NULL;
    const om_val none = { 0 };
    int64_t axes[2];
    uint32_t n;

    if (!wide || !is_number(l, equal->in[1], 1) || !is_number(l, where->in[1], 0) ||
        !is_number(l, where->in[2], LOWEST) || lo_old(l, wide->in[0])->rank != 2 ||
        !lo_const_ints(l, wide->in[1], axes, 2, &n) || n != 2 || axes[0] != 1 || axes[1] != 2)
        return none;
    return wide->in[0];
}

static bool is_one(const struct lower *l, om_dim d)
{
    int64_t v;

    return lo_const_dim(l, d, &v) && v == 1;
}

/* To be added to scores [batch, heads, queries, keys]. */
static bool fits_scores(const struct lower *l, const struct om_node *n)
{
    const struct om_value *mask = lo_old(l, n->in[3]), *q = lo_old(l, n->in[0]),
                          *k = lo_old(l, n->in[1]);

    return mask->dtype == q->dtype && mask->rank == 4 &&
           (mask->dims[0] == q->dims[0] || is_one(l, mask->dims[0])) &&
           (mask->dims[1] == q->dims[1] || is_one(l, mask->dims[1])) &&
           (mask->dims[2] == q->dims[2] || is_one(l, mask->dims[2])) && mask->dims[3] == k->dims[2];
}

static bool read_mask(const struct lower *l, const struct om_node *n, struct fused *f)
{
    if (!lo_has(n, 3))
        return true;
    f->tokens = masked_tokens(l, n->in[3]);
    if (f->tokens.id != 0)
        return lo_old(l, f->tokens)->dims[1] == lo_old(l, n->in[1])->dims[2];
    f->bias = n->in[3];
    return fits_scores(l, n);
}

/* ---- weights that become one ---- */

/* The weight that v is, or is cast from. */
static const struct om_weight *weight_of(const struct lower *l, om_val v)
{
    const struct om_node *cast = maker(l, v, OM_OP_Cast);
    const struct om_value *value = v.id ? lo_old(l, cast ? cast->in[0] : v) : NULL;

    return value && value->weight != OM_NO_WEIGHT ? &l->g->weights[value->weight] : NULL;
}

/* Lines of equal length, stored one after another, can go on in another weight. */
static bool can_join(const struct lower *l, const om_val *v, uint32_t n)
{
    const struct om_weight *first = weight_of(l, v[0]);

    for (uint32_t i = 0; i < n; i++) {
        const struct om_weight *w = weight_of(l, v[i]);

        if (!w || w->rank != first->rank || (w->file && w->file->maker) || w->strides ||
            w->n_parts > 0 || !w->data || w->dtype != first->dtype ||
            w->src_dtype != first->src_dtype || lo_old(l, v[i])->dtype != lo_old(l, v[0])->dtype ||
            (w->rank == 2 && w->dims[1] != first->dims[1]))
            return false;
    }
    return first->rank == 1 || first->rank == 2;
}

/* "a.query.weight", "a.key.weight", "a.value.weight": "a.query_key_value.weight". */
static om_sv joined_name(struct lower *l, const struct om_weight *const *w, uint32_t n)
{
    const char *text = "";
    size_t head = 0, tail = 0, same = 0;

    for (bool equal = true; equal && same < w[0]->name.len; same += equal) {
        for (uint32_t i = 1; i < n; i++)
            equal = equal && same < w[i]->name.len && w[i]->name.ptr[same] == w[0]->name.ptr[same];
        if (equal && w[0]->name.ptr[same] == '.')
            head = same + 1;
    }
    for (size_t at = w[0]->name.len; at > head && w[0]->name.ptr[at - 1] != '.'; at--)
        tail++;
    if (tail + head == w[0]->name.len) /* no module of its own: nothing is common behind */
        tail = 0;
    for (uint32_t i = 0; i < n && text; i++) {
        const size_t cut = i + 1 < n ? tail + (tail > 0) : 0;
        const size_t len = w[i]->name.len - head;

        text = om_arena_printf(l->g->arena, "%s%s%.*s", text, i ? "_" : "",
                               (int)(len - OM_MIN(cut, len)), w[i]->name.ptr + head);
    }
    text = text ? om_arena_printf(l->g->arena, "%.*s%s", (int)head, w[0]->name.ptr, text) : NULL;
    return text ? om_sv_str(text) : w[0]->name;
}

/* n weights [out, in] as one [in, sum of out], or [out] as one [sum of out]: a view of all of
 * them. */
static om_val join(struct lower *l, const om_val *v, uint32_t n)
{
    const struct om_weight *w[OM_WEIGHT_PARTS_MAX];
    struct om_weight_part parts[OM_WEIGHT_PARTS_MAX];
    struct om_weight all;
    int64_t dims[2] = { 0, 0 }, strides[2] = { 1, 1 };
    om_val made;

    for (uint32_t i = 0; i < n; i++) {
        w[i] = weight_of(l, v[i]);
        parts[i] = (struct om_weight_part){ w[i]->file, w[i]->offset, w[i]->data, w[i]->bytes };
    }
    all = *w[0];
    all.name = joined_name(l, w, n);
    all.dims = dims;
    all.parts = parts;
    all.n_parts = n;
    all.bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        all.bytes += w[i]->bytes;
        dims[all.rank - 1] += w[i]->dims[0];
    }
    if (all.rank == 2) {
        dims[0] = strides[1] = w[0]->dims[1];
        all.strides = strides;
    }
    made = om_graph_weight(l->h, &all);
    return lo_cast(l, made, lo_old(l, v[0])->dtype);
}

/* ---- which operator ---- */

/* Weight (1) or bias (2) of the three linear layers. */
static void parts_of(const struct fused *f, uint32_t input, om_val *v)
{
    const struct side *const sides[] = { &f->q, &f->k, &f->v };

    for (uint32_t i = 0; i < 3; i++)
        v[i] = lo_has(sides[i]->linear, input) ? sides[i]->linear->in[input] : (om_val){ 0 };
}

/* Rows by linear layers whose biases can be joined. */
static bool biases_join(const struct lower *l, const struct fused *f)
{
    const struct side *const sides[] = { &f->q, &f->k, &f->v };
    om_val bias[3];

    for (size_t i = 0; i < OM_COUNT(sides); i++)
        if (!sides[i]->linear || om_node_float(sides[i]->linear, "alpha", 1) != 1)
            return false;
    parts_of(f, 2, bias);
    return bias[0].id && bias[1].id && bias[2].id && can_join(l, bias, 3);
}

/* The three layers project the same rows for nobody else. */
static bool can_pack(const struct lower *l, const struct fused *f)
{
    const struct side *const sides[] = { &f->q, &f->k, &f->v };
    om_val weight[3], bias[3];

    for (size_t i = 0; i < OM_COUNT(sides); i++) {
        const struct side *s = sides[i];

        if (!s->linear || s->past.id || is_shared(l, s->heads) || s->width != f->q.width ||
            s->linear->in[0].id != f->q.linear->in[0].id ||
            om_node_float(s->linear, "alpha", 1) != 1 || !om_node_int(s->linear, "transB", 0))
            return false;
    }
    parts_of(f, 1, weight);
    parts_of(f, 2, bias);
    return can_join(l, weight, 3) &&
           (biases_join(l, f) || (!bias[0].id && !bias[1].id && !bias[2].id));
}

/* Scores in the dtype of heads, or with a mask that does not say what 16 bits cannot. */
static bool fits_dtype(const struct lower *l, const struct om_node *n, const struct fused *f)
{
    const enum om_dtype dtype = lo_old(l, n->in[0])->dtype;

    return dtype == OM_F32 || (dtype == OM_F16 && f->bias.id == 0);
}

static bool plan(const struct lower *l, const struct om_node *n, struct fused *f)
{
    const struct om_value *q = lo_old(l, n->in[0]), *k = lo_old(l, n->in[1]);

    *f = (struct fused){ .q = { .heads = n->in[0] } };
    if (l->target != OM_LOWER_FUSED || n->n_out != 1 || lo_has(n, 4) ||
        om_node_float(n, "softcap", 0) != 0 || om_node_int(n, "is_causal", 0) ||
        q->dims[1] != k->dims[1] || !lo_const_dim(l, q->dims[1], &f->heads))
        return false;
    if (is_shared(l, n->in[0]) || !split_of(l, n->in[0], &f->q) || !side_of(l, n->in[1], &f->k) ||
        !side_of(l, n->in[2], &f->v) || (f->k.rows.id == 0) != (f->v.rows.id == 0) ||
        (f->k.past.id == 0) != (f->v.past.id == 0))
        return false;
    if (!read_mask(l, n, f) || !fits_dtype(l, n, f))
        return false;
    f->packed = !l->multi_head && can_pack(l, f);
    return true;
}

bool lo_fits_fused(const struct lower *l, const struct om_node *n)
{
    struct fused f;

    return plan(l, n, &f);
}

/* ---- emitting ---- */

static om_val token_mask(struct lower *l, om_val tokens)
{
    const struct om_attr drop = LO_INT("keepdims", 0);
    om_val mask;

    if (tokens.id == 0 || l->mask == OM_LOWER_MASK_NONE)
        return (om_val){ 0 };
    mask = LO(l, Equal, lo_nd(l, tokens), lo_scalar(l, lo_old(l, tokens)->dtype, 1));
    mask = lo_cast(l, mask, OM_I32);
    if (l->mask == OM_LOWER_MASK_TOKENS)
        return mask;
    return lo_emit(l, OM_OP_ReduceSum, LO_VALS(mask, lo_i64(l, 1)), &drop, 1);
}

/* The same for every query, if it is for one. */
static om_val score_bias(struct lower *l, const struct om_node *n, const struct fused *f)
{
    const struct om_value *mask = lo_old(l, f->bias);
    om_dim dims[4];

    if (f->bias.id == 0 || mask->dims[2] == lo_old(l, n->in[0])->dims[2])
        return lo_nd(l, f->bias);
    memcpy(dims, mask->dims, sizeof(dims));
    dims[2] = lo_old(l, n->in[0])->dims[2];
    return LO(l, Expand, lo_nd(l, f->bias), lo_dims(l, dims, 4));
}

static uint32_t attributes(const struct lower *l, const struct om_node *n, const struct fused *f,
                           struct om_attr *attrs)
{
    const double scale = om_node_float(n, "scale", 0);
    uint32_t k = 0;

    attrs[k++] = (struct om_attr)LO_INT("num_heads", f->heads);
    if (f->tokens.id != 0 && l->mask != OM_LOWER_MASK_NONE)
        attrs[k++] = (struct om_attr)LO_FLOAT("mask_filter_value", LOWEST);
    if (scale != 0)
        attrs[k++] = (struct om_attr)LO_FLOAT("scale", scale);
    return k;
}

static void emit_packed(struct lower *l, const struct om_node *n, const struct fused *f)
{
    struct om_attr attrs[3];
    const uint32_t n_attrs = attributes(l, n, f, attrs);
    om_val weight[3], bias[3];

    parts_of(f, 1, weight);
    parts_of(f, 2, bias);

    const om_val in[] = { lo_nd(l, f->q.linear->in[0]),
                          join(l, weight, 3),
                          bias[0].id ? join(l, bias, 3) : (om_val){ 0 },
                          token_mask(l, f->tokens),
                          (om_val){ 0 },
                          score_bias(l, n, f) };

    lo_set_merged(l, n, lo_emit(l, OM_OP_PackedAttention, in, 6, attrs, n_attrs));
}

/* Rows without their bias, where the operator adds that. */
static om_val rows_of(struct lower *l, const struct side *s, bool biased)
{
    if (s->rows.id == 0)
        return lo_nd(l, s->heads);
    return biased ? lo_linear_product(l, s->linear) : lo_nd(l, s->rows);
}

static void emit_multi_head(struct lower *l, const struct om_node *n, const struct fused *f)
{
    const bool biased = biases_join(l, f);
    const bool present = f->k.rows.id != 0 &&
                         (f->k.past.id != 0 || is_shared(l, n->in[1]) || is_shared(l, n->in[2]));
    struct om_attr attrs[3];
    const uint32_t n_attrs = attributes(l, n, f, attrs);
    om_val bias[3] = { { 0 } }, out[3] = { { 0 } };

    if (biased)
        parts_of(f, 2, bias);

    const om_val in[] = { rows_of(l, &f->q, biased), rows_of(l, &f->k, biased),
                          rows_of(l, &f->v, biased), biased ? join(l, bias, 3) : (om_val){ 0 },
                          token_mask(l, f->tokens),  score_bias(l, n, f),
                          lo_nd(l, f->k.past),       lo_nd(l, f->v.past) };

    lo_emit_n(l, OM_OP_MultiHeadAttention, in, 8, attrs, n_attrs, out, present ? 3 : 1);
    lo_set_merged(l, n, out[0]);
    if (present) {
        l->rw.map[n->in[1].id] = out[1];
        l->rw.map[n->in[2].id] = out[2];
    }
}

void lo_fused_attention(struct lower *l, const struct om_node *n)
{
    struct fused f;

    if (!plan(l, n, &f))
        return;
    if (f.packed)
        emit_packed(l, n, &f);
    else
        emit_multi_head(l, n, &f);
}
