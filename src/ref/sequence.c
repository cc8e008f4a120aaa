/* src/ref/sequence.c: sequences and optionals of documents. */
#include "ref/sequence.h"

#include <stdlib.h>

#include "ref/plan.h"

/* ---- parts of tensors ---- */

int om_ref_cut(const struct ref_call *c, const struct ref_tensor *x, uint32_t axis, int64_t from,
               int64_t n, bool squeeze, struct ref_tensor *out)
{
    const int64_t outer = om_ref_product(x->dims, 0, axis), length = x->dims[axis];
    const size_t inner =
        (size_t)om_ref_product(x->dims, axis + 1, x->rank) * om_dtype_size(x->dtype);
    int64_t dims[OM_RANK_MAX];
    uint32_t rank = 0;

    for (uint32_t i = 0; i < x->rank; i++)
        if (i != axis || !squeeze)
            dims[rank++] = i == axis ? n : x->dims[i];
    OM_TRY(om_ref_new(c->pool, out, x->dtype, dims, rank, c->err));
    out->small = x->small;
    for (int64_t o = 0; out->count > 0 && o < outer; o++)
        memcpy((unsigned char *)out->data + (size_t)(o * n) * inner,
               (const unsigned char *)x->data + (size_t)(o * length + from) * inner,
               (size_t)n * inner);
    return 0;
}

/* The shape of a join; the items must agree but for the axis. */
static int join_dims(const struct ref_call *c, const struct ref_tensor *items, size_t n,
                     const struct ref_join *how, uint32_t axis, int64_t *dims)
{
    const struct ref_tensor *first = &items[0];

    for (uint32_t i = 0; i < first->rank + how->new_axis; i++)
        dims[i] = i == axis ? 0 : first->dims[i - (how->new_axis && i > axis)];
    for (size_t k = 0; k < n; k++) {
        const struct ref_tensor *t = &items[k];
        bool fits = t->kind == REF_TENSOR && t->rank == first->rank && t->dtype == first->dtype;

        for (uint32_t i = 0; fits && i < first->rank; i++)
            fits = t->dims[i] == first->dims[i] || (!how->new_axis && i == axis);
        if (!fits)
            return om_fail(c->err, OM_E_FORMAT, "tensors of different shapes are to be joined");
        if (!om_add_i64(dims[axis], how->new_axis ? 1 : t->dims[axis], &dims[axis]))
            return om_fail(c->err, OM_E_LIMIT, "the result is too large");
    }
    return 0;
}

int om_ref_join(const struct ref_call *c, const struct ref_tensor *items, size_t n,
                const struct ref_join *how, struct ref_tensor *out)
{
    int64_t dims[OM_RANK_MAX] = { 0 }, outer;
    const uint32_t rank = n > 0 ? items[0].rank + how->new_axis : 1;
    size_t inner, at = 0, row;
    uint32_t axis = 0;

    if (n == 0) /* only the number of items is known */
        return om_ref_new(c->pool, out, OM_F32, dims, 1, c->err);
    if (rank > OM_RANK_MAX)
        return om_fail(c->err, OM_E_LIMIT, "the result's rank is above the limit %d", OM_RANK_MAX);
    OM_TRY(om_ref_axis(c, how->axis, rank, &axis));
    OM_TRY(join_dims(c, items, n, how, axis, dims));
    OM_TRY(om_ref_new(c->pool, out, items[0].dtype, dims, rank, c->err));
    out->small = items[0].small;
    if (out->count == 0)
        return 0;
    outer = om_ref_product(dims, 0, axis);
    inner = (size_t)om_ref_product(dims, axis + 1, rank) * om_dtype_size(out->dtype);
    row = (size_t)dims[axis] * inner;
    for (size_t i = 0; i < n; i++) {
        const struct ref_tensor *t = &items[how->reverse ? n - 1 - i : i];
        const size_t run = (how->new_axis ? 1 : (size_t)t->dims[axis]) * inner;

        for (size_t o = 0; run > 0 && o < (size_t)outer; o++)
            memcpy((unsigned char *)out->data + o * row + at,
                   (const unsigned char *)t->data + o * run, run);
        at += run;
    }
    return 0;
}

/* ---- sequences ---- */

static struct ref_tensor *items_of(const struct ref_tensor *seq)
{
    return seq->data;
}

static int want_sequence(const struct ref_call *c, uint32_t i, const struct ref_tensor **out)
{
    *out = om_ref_in(c, i);
    return *out && (*out)->kind == REF_SEQUENCE
               ? 0
               : om_fail(c->err, OM_E_FORMAT, "input %" PRIu32 " is no sequence", i);
}

static int want_tensor(const struct ref_call *c, uint32_t i, const struct ref_tensor **out)
{
    *out = om_ref_in(c, i);
    return *out && (*out)->kind == REF_TENSOR
               ? 0
               : om_fail(c->err, OM_E_FORMAT, "input %" PRIu32 " is no tensor", i);
}

static int set_item(const struct ref_call *c, struct ref_tensor *seq, int64_t at,
                    const struct ref_tensor *t)
{
    if (t->kind != REF_TENSOR)
        return om_fail(c->err, OM_E_UNSUPPORTED, "a sequence of something else than tensors");
    return om_ref_share(&items_of(seq)[at], t, t->dims, t->rank, c->err);
}

/* Position i in a sequence, most included; left out: last. */
static int position(const struct ref_call *c, uint32_t i, int64_t n, int64_t most, int64_t *at)
{
    const struct ref_tensor *t = om_ref_in(c, i);

    *at = most;
    if (!t)
        return 0;
    if (t->kind != REF_TENSOR)
        return om_fail(c->err, OM_E_FORMAT, "the position is no tensor");
    OM_TRY(om_ref_scalar_i64(c, i, "position", at));
    if (*at < -n || *at > most)
        return om_fail(c->err, OM_E_FORMAT, "position %" PRId64 " of %" PRId64, *at, n);
    *at += *at < 0 ? n : 0;
    return 0;
}

int om_ref_SequenceEmpty(struct ref_call *c)
{
    return om_ref_new_sequence(c->pool, &c->out[0], 0, c->err);
}

int om_ref_SequenceConstruct(struct ref_call *c)
{
    OM_TRY(om_ref_new_sequence(c->pool, &c->out[0], c->node->n_in, c->err));
    for (uint32_t i = 0; i < c->node->n_in; i++) {
        const struct ref_tensor *t;

        OM_TRY(want_tensor(c, i, &t));
        OM_TRY(set_item(c, &c->out[0], i, t));
    }
    return 0;
}

int om_ref_SequenceLength(struct ref_call *c)
{
    const struct ref_tensor *seq;

    OM_TRY(want_sequence(c, 0, &seq));
    OM_TRY(om_ref_new(c->pool, &c->out[0], OM_I64, NULL, 0, c->err));
    *(int64_t *)c->out[0].data = seq->count;
    return 0;
}

int om_ref_SequenceAt(struct ref_call *c)
{
    const struct ref_tensor *seq, *t;
    int64_t at;

    OM_TRY(want_sequence(c, 0, &seq));
    OM_TRY(position(c, 1, seq->count, seq->count - 1, &at));
    if (seq->count == 0)
        return om_fail(c->err, OM_E_FORMAT, "the sequence is empty");
    t = &items_of(seq)[at];
    return om_ref_share(&c->out[0], t, t->dims, t->rank, c->err);
}

int om_ref_SequenceInsert(struct ref_call *c)
{
    const struct ref_tensor *seq, *t;
    int64_t at;

    OM_TRY(want_sequence(c, 0, &seq));
    OM_TRY(want_tensor(c, 1, &t));
    OM_TRY(position(c, 2, seq->count, seq->count, &at));
    OM_TRY(om_ref_new_sequence(c->pool, &c->out[0], seq->count + 1, c->err));
    for (int64_t i = 0; i <= seq->count; i++)
        OM_TRY(set_item(c, &c->out[0], i, i == at ? t : &items_of(seq)[i - (i > at)]));
    return 0;
}

int om_ref_SequenceErase(struct ref_call *c)
{
    const struct ref_tensor *seq;
    int64_t at;

    OM_TRY(want_sequence(c, 0, &seq));
    OM_TRY(position(c, 1, seq->count, seq->count - 1, &at));
    if (seq->count == 0)
        return om_fail(c->err, OM_E_FORMAT, "the sequence is empty");
    OM_TRY(om_ref_new_sequence(c->pool, &c->out[0], seq->count - 1, c->err));
    for (int64_t i = 0; i < seq->count - 1; i++)
        OM_TRY(set_item(c, &c->out[0], i, &items_of(seq)[i + (i >= at)]));
    return 0;
}

int om_ref_ConcatFromSequence(struct ref_call *c)
{
    const struct ref_join how = { .axis = om_node_int(c->node, "axis", 0),
                                  .new_axis = om_node_int(c->node, "new_axis", 0) != 0 };
    const struct ref_tensor *seq;

    OM_TRY(want_sequence(c, 0, &seq));
    if (seq->count == 0)
        return om_fail(c->err, OM_E_FORMAT, "the sequence is empty");
    return om_ref_join(c, items_of(seq), (size_t)seq->count, &how, &c->out[0]);
}

/* The length of part i of an axis: of equal size, the last maybe shorter, or as a list says. */
static int part_length(const struct ref_call *c, const struct ref_tensor *split, int64_t i,
                       int64_t left, int64_t *n)
{
    *n = !split ? 1 : om_ref_i64_at(split, split->rank == 0 ? 0 : i);
    if (split && split->rank == 0)
        *n = OM_MIN(*n, left);
    return *n >= 0 && *n <= left
               ? 0
               : om_fail(c->err, OM_E_FORMAT, "a part of %" PRId64 " of %" PRId64 " elements", *n,
                         left);
}

int om_ref_SplitToSequence(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *split = om_ref_in(c, 1);
    const bool squeeze = !split && om_node_int(c->node, "keepdims", 1) == 0;
    int64_t parts, done = 0, each;
    uint32_t axis = 0;

    OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", 0), x->rank, &axis));
    parts = x->dims[axis];
    if (split) {
        each = split->rank == 0 ? om_ref_i64_at(split, 0) : 1;
        if (split->rank > 1 || each <= 0)
            return om_fail(c->err, OM_E_FORMAT, "split must be a length or a list of them");
        parts = split->rank == 0 ? parts / each + (parts % each != 0) : split->count;
    }
    OM_TRY(om_ref_new_sequence(c->pool, &c->out[0], parts, c->err));
    for (int64_t i = 0; i < parts; i++, done += each) {
        OM_TRY(part_length(c, split, i, x->dims[axis] - done, &each));
        OM_TRY(om_ref_cut(c, x, axis, done, each, squeeze, &items_of(&c->out[0])[i]));
    }
    return done == x->dims[axis]
               ? 0
               : om_fail(c->err, OM_E_FORMAT, "the parts have %" PRId64 " of %" PRId64 " elements",
                         done, x->dims[axis]);
}

/* ---- SequenceMap ---- */

/* Run the body for item i of every sequence; tensors are the same each time. */
static int map_item(struct ref_call *c, const struct ref_plan *body, int64_t i,
                    struct ref_tensor *in, struct ref_tensor *out)
{
    for (uint32_t k = 0; k < c->node->n_in; k++) {
        const struct ref_tensor *t = om_ref_in(c, k);

        if (!t || (t->kind == REF_SEQUENCE && t->count <= i))
            return om_fail(c->err, OM_E_FORMAT, "input %" PRIu32 " has no item %" PRId64, k, i);
        in[k] = t->kind == REF_SEQUENCE ? items_of(t)[i] : *t; /* borrowed */
    }
    OM_TRY(om_ref_work(c->pool, 1, 1, c->err));
    OM_TRY(om_ref_run_body(c, body, in, c->node->n_in, out, c->node->n_out));
    for (uint32_t k = 0; k < c->node->n_out; k++)
        OM_TRY(set_item(c, &c->out[k], i, &out[k]));
    return 0;
}

int om_ref_SequenceMap(struct ref_call *c)
{
    const struct ref_tensor *seq;
    const struct ref_plan *body;
    struct ref_tensor *in, *out;
    int rc = 0;

    OM_TRY(want_sequence(c, 0, &seq));
    OM_TRY(om_ref_body(c, "body", &body));
    for (uint32_t k = 0; k < c->node->n_out; k++)
        OM_TRY(om_ref_new_sequence(c->pool, &c->out[k], seq->count, c->err));
    in = calloc(c->node->n_in, sizeof(*in));
    out = calloc(c->node->n_out, sizeof(*out));
    if (!in || !out)
        rc = om_fail(c->err, OM_E_NOMEM, "out of memory");
    for (int64_t i = 0; rc == 0 && i < seq->count; i++) {
        rc = map_item(c, body, i, in, out);
        for (uint32_t k = 0; k < c->node->n_out; k++)
            om_ref_drop(&out[k]);
    }
    free(in);
    free(out);
    return rc;
}

/* ---- optionals ---- */

int om_ref_Optional(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);

    if (x)
        return om_ref_share(&c->out[0], x, x->dims, x->rank, c->err);
    OM_TRY(om_ref_new(c->pool, &c->out[0], OM_U8, &(int64_t){ 0 }, 1, c->err));
    c->out[0].kind = REF_NOTHING;
    return 0;
}

int om_ref_OptionalHasElement(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);

    OM_TRY(om_ref_new(c->pool, &c->out[0], OM_BOOL, NULL, 0, c->err));
    *(uint8_t *)c->out[0].data = x && x->kind != REF_NOTHING;
    return 0;
}

int om_ref_OptionalGetElement(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);

    if (x->kind == REF_NOTHING)
        return om_fail(c->err, OM_E_FORMAT, "the optional has no value");
    return om_ref_share(&c->out[0], x, x->dims, x->rank, c->err);
}
