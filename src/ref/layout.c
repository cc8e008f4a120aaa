/* src/ref/layout.c: constants, casts and operators that lay elements out anew, in the forms that
 * only documents hold. */
#include "base/half.h"
#include "ref/plan.h"
#include "ref/small.h"

/* ---- constants ---- */

int om_ref_Constant(struct ref_call *c)
{
    const struct om_attr *a = om_node_attr(c->node, "value");
    const struct ref_tensor *list = om_ref_in(c, 0); /* value_ints or value_floats */

    if (list)
        return om_ref_share(&c->out[0], list, list->dims, list->rank, c->err);
    if (a && a->tensor) {
        OM_TRY(om_ref_weight(c->pool, a->tensor, &c->out[0], c->err));
        c->out[0].small = c->step->small;
        return 0;
    }
    a = om_node_attr(c->node, "value_int");
    if (a && a->kind == OM_ATTR_INT) {
        OM_TRY(om_ref_new(c->pool, &c->out[0], OM_I64, NULL, 0, c->err));
        *(int64_t *)c->out[0].data = a->i;
        return 0;
    }
    a = om_node_attr(c->node, "value_float");
    if (!a || a->kind != OM_ATTR_FLOAT)
        return om_fail(c->err, OM_E_UNSUPPORTED,
                       "only tensors, integers and floats can be constants");
    OM_TRY(om_ref_new(c->pool, &c->out[0], OM_F32, NULL, 0, c->err));
    *(float *)c->out[0].data = (float)a->f;
    return 0;
}

/* An attribute that names a dtype. */
static int dtype_attr(const struct ref_call *c, const char *name, enum om_dtype otherwise,
                      enum om_dtype *out)
{
    const int64_t to = om_node_int(c->node, name, om_dtype_onnx(otherwise));

    *out = to > 0 && to <= INT32_MAX ? om_dtype_from_onnx((int32_t)to) : OM_DTYPE_NONE;
    if (*out == OM_DTYPE_NONE)
        return om_fail(c->err, OM_E_UNSUPPORTED, "data type %" PRId64, to);
    return 0;
}

int om_ref_EyeLike(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const int64_t k = om_node_int(c->node, "k", 0);
    enum om_dtype dtype = OM_DTYPE_NONE;
    size_t size;

    OM_TRY(dtype_attr(c, "dtype", x->dtype, &dtype));
    if (x->rank != 2)
        return om_fail(c->err, OM_E_FORMAT, "expected rank 2, found %" PRIu32, x->rank);
    OM_TRY(om_ref_new(c->pool, &c->out[0], dtype, x->dims, 2, c->err));
    size = om_dtype_size(dtype);
    memset(c->out[0].data, 0, (size_t)x->count * size);
    for (int64_t i = 0; i < x->count; i++)
        if (i % x->dims[1] - i / x->dims[1] == k)
            om_convert((unsigned char *)c->out[0].data + (size_t)i * size, dtype, &(float){ 1 },
                       OM_F32, 1);
    return 0;
}

int om_ref_Size(struct ref_call *c)
{
    OM_TRY(om_ref_new(c->pool, &c->out[0], OM_I64, NULL, 0, c->err));
    *(int64_t *)c->out[0].data = om_ref_in(c, 0)->count;
    return 0;
}

/* ---- casts ---- */

static int small_how(const struct ref_call *c, struct ref_small_how *how)
{
    static const char *const rounds[] = { "nearest", "up", "down" };

    *how = (struct ref_small_how){ om_node_int(c->node, "saturate", 1) != 0, REF_ROUND_UP };
    if (!om_node_attr(c->node, "round_mode"))
        return 0;
    for (unsigned i = 0; i < OM_COUNT(rounds); i++)
        if (om_ref_attr_is(c, "round_mode", rounds[i])) {
            how->round = i;
            return 0;
        }
    return om_fail(c->err, OM_E_FORMAT, "round_mode is not nearest, up or down");
}

/* x in the type that like has. Where C leaves a cast to an integer open, runtimes differ. */
static int cast_like(struct ref_call *c, const struct ref_tensor *x, const struct ref_tensor *like)
{
    const struct ref_small *s = om_ref_small(like->small);
    struct ref_tensor wide = { .mem = NULL };
    struct ref_small_how how;
    int rc;

    OM_TRY(small_how(c, &how));
    OM_TRY(om_ref_small_widen(c->pool, &wide, x, c->err));
    if (s)
        rc = om_ref_small_narrow(c->pool, &c->out[0], &wide, s, how, c->err);
    else if (wide.dtype == like->dtype)
        rc = om_ref_share(&c->out[0], &wide, x->dims, x->rank, c->err);
    else
        rc = om_ref_convert(c->pool, &c->out[0], &wide, like->dtype, c->err);
    om_ref_drop(&wide);
    return rc;
}

int om_ref_doc_Cast(struct ref_call *c)
{
    const int64_t to = om_node_int(c->node, "to", 0);
    const struct ref_tensor *x = om_ref_in(c, 0);
    const bool small = to > 0 && to <= INT32_MAX && om_ref_small((int32_t)to);
    const struct ref_tensor like = { .dtype = to > 0 && to <= INT32_MAX
                                                  ? om_dtype_from_onnx((int32_t)to)
                                                  : OM_DTYPE_NONE,
                                     .small = small ? (int32_t)to : 0 };

    if (!small && (x->small == 0 || like.dtype == OM_DTYPE_NONE))
        return om_ref_Cast(c); /* and its messages */
    return cast_like(c, x, &like);
}

int om_ref_CastLike(struct ref_call *c)
{
    return cast_like(c, om_ref_in(c, 0), om_ref_in(c, 1));
}

/* The bits of each element as another type of the same width. */
int om_ref_BitCast(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const int64_t to = om_node_int(c->node, "to", 0);
    const struct ref_small *from_small = om_ref_small(x->small),
                           *small = to > 0 && to <= INT32_MAX ? om_ref_small((int32_t)to) : NULL;
    const enum om_dtype dtype = small                       ? small->storage
                                : to > 0 && to <= INT32_MAX ? om_dtype_from_onnx((int32_t)to)
                                                            : OM_DTYPE_NONE;
    const size_t size = om_dtype_size(dtype);
    const unsigned bits = small ? small->bits : (unsigned)size * 8;
    const unsigned from = from_small ? from_small->bits : (unsigned)om_dtype_size(x->dtype) * 8;

    if (dtype == OM_DTYPE_NONE || bits != from)
        return om_fail(c->err, OM_E_FORMAT, "%u bits as data type %" PRId64, from, to);
    OM_TRY(om_ref_new(c->pool, &c->out[0], dtype, x->dims, x->rank, c->err));
    c->out[0].small = small ? small->type : 0;
    if (x->count > 0)
        memcpy(c->out[0].data, x->data, (size_t)x->count * size);
    for (int64_t i = 0; bits < 8 && i < x->count; i++) {
        const int v = ((const uint8_t *)x->data)[i] & ((1 << bits) - 1), half = 1 << (bits - 1);

        ((uint8_t *)c->out[0].data)[i] = (uint8_t)(dtype == OM_I8 && v >= half ? v - 2 * half : v);
    }
    return 0;
}

/* ---- shapes ---- */

int om_ref_Flatten(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const int64_t rank = x->rank, axis_in = om_node_int(c->node, "axis", 1);
    const int64_t axis = axis_in < 0 ? axis_in + rank : axis_in;
    int64_t dims[2];

    if (axis < 0 || axis > rank)
        return om_fail(c->err, OM_E_FORMAT, "axis %" PRId64 " is outside rank %" PRId64, axis_in,
                       rank);
    dims[0] = om_ref_product(x->dims, 0, (uint32_t)axis);
    dims[1] = om_ref_product(x->dims, (uint32_t)axis, x->rank);
    return om_ref_share(&c->out[0], x, dims, 2, c->err);
}

/* Outside training the data pass. */
int om_ref_Dropout(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *ratio = om_ref_in(c, 1),
                            *training = om_ref_in(c, 2);

    if (training && training->count == 1 && om_ref_i64_at(training, 0) != 0 &&
        !(ratio && ratio->count == 1 && om_ref_f64_at(ratio, 0) == 0))
        return om_fail(c->err, OM_E_UNSUPPORTED, "training mode is random");
    OM_TRY(om_ref_share(&c->out[0], x, x->dims, x->rank, c->err));
    if (!om_ref_wants(c, 1))
        return 0;
    OM_TRY(om_ref_new(c->pool, &c->out[1], OM_BOOL, x->dims, x->rank, c->err));
    memset(c->out[1].data, 1, (size_t)x->count);
    return 0;
}

/* View x as dims6, whose axes in the order of perm give the elements of the output. */
static int permute_as(struct ref_call *c, const int64_t *dims, const uint32_t *perm, uint32_t rank,
                      const int64_t *out_dims)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct ref_view v = { .rank = rank, .n_operands = 1 };
    int64_t steps[2 * OM_RANK_MAX];

    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, out_dims, 4, c->err));
    om_ref_steps(dims, rank, steps);
    for (uint32_t i = 0; i < rank; i++) {
        v.dims[i] = dims[perm[i]];
        v.steps[0][i] = steps[perm[i]];
    }
    if (x->count > 0)
        om_ref_gather_copy(&v, c->out[0].data, x->data, om_dtype_size(x->dtype));
    return 0;
}

static int block_of(const struct ref_call *c, const struct ref_tensor *x, int64_t *b)
{
    *b = om_node_int(c->node, "blocksize", 0);
    if (x->rank != 4 || *b < 1 || *b > INT32_MAX)
        return om_fail(c->err, OM_E_FORMAT,
                       "expected rank 4 and a block size, found rank %" PRIu32 " and %" PRId64,
                       x->rank, *b);
    return 0;
}

int om_ref_DepthToSpace(struct ref_call *c)
{
    static const uint32_t dcr[6] = { 0, 3, 4, 1, 5, 2 }, crd[6] = { 0, 1, 4, 2, 5, 3 };
    const struct ref_tensor *x = om_ref_in(c, 0);
    const bool by_column = om_ref_attr_is(c, "mode", "CRD");
    int64_t b = 0;

    OM_TRY(block_of(c, x, &b));
    if (x->dims[1] % (b * b) != 0)
        return om_fail(c->err, OM_E_FORMAT, "%" PRId64 " channels in blocks of %" PRId64,
                       x->dims[1], b * b);
    {
        const int64_t n = x->dims[0], d = x->dims[1] / (b * b), h = x->dims[2], w = x->dims[3];
        const int64_t first[6] = { n, b, b, d, h, w }, second[6] = { n, d, b, b, h, w };

        return permute_as(c, by_column ? second : first, by_column ? crd : dcr, 6,
                          (const int64_t[]){ n, d, h * b, w * b });
    }
}

int om_ref_SpaceToDepth(struct ref_call *c)
{
    static const uint32_t dcr[6] = { 0, 3, 5, 1, 2, 4 }, crd[6] = { 0, 1, 3, 5, 2, 4 };
    const bool by_column = om_ref_attr_is(c, "mode", "CRD");
    const struct ref_tensor *x = om_ref_in(c, 0);
    int64_t b = 0;

    OM_TRY(block_of(c, x, &b));
    if (x->dims[2] % b != 0 || x->dims[3] % b != 0)
        return om_fail(c->err, OM_E_FORMAT, "the image does not divide into blocks of %" PRId64, b);
    {
        const int64_t n = x->dims[0], d = x->dims[1], h = x->dims[2] / b, w = x->dims[3] / b;

        return permute_as(c, (const int64_t[]){ n, d, h, b, w, b }, by_column ? crd : dcr, 6,
                          (const int64_t[]){ n, d * b * b, h, w });
    }
}

/* ---- Pad ---- */

enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };

static int pad_mode(const struct ref_call *c, enum pad_mode *mode)
{
    static const char *const names[] = { "constant", "reflect", "edge", "wrap" };

    *mode = PAD_CONSTANT;
    if (!om_node_attr(c->node, "mode"))
        return 0;
    for (size_t i = 0; i < OM_COUNT(names); i++)
        if (om_ref_attr_is(c, "mode", names[i])) {
            *mode = (enum pad_mode)i;
            return 0;
        }
    return om_fail(c->err, OM_E_FORMAT, "mode is not constant, reflect, edge or wrap");
}

struct pads {
    int64_t before[OM_RANK_MAX], after[OM_RANK_MAX];
};

static int read_pads(const struct ref_call *c, const struct ref_tensor *x, struct pads *p)
{
    const struct ref_tensor *t = om_ref_in(c, 1);
    struct ref_ints axes;
    uint32_t seen, axis = 0;

    OM_TRY(om_ref_ints(c, 3, "axes", &axes));
    if (!om_ref_in(c, 3))
        for (axes.n = 0; axes.n < x->rank; axes.n++)
            axes.v[axes.n] = axes.n;
    OM_TRY(om_ref_axis_set(c, &axes, x->rank, &seen));
    if (!t || (t->dtype != OM_I64 && t->dtype != OM_I32) || t->count != 2 * (int64_t)axes.n)
        return om_fail(c->err, OM_E_FORMAT, "expected %" PRIu32 " pads, found %" PRId64, 2 * axes.n,
                       t ? t->count : 0);
    *p = (struct pads){ .before = { 0 } };
    for (uint32_t i = 0; i < axes.n; i++) {
        OM_TRY(om_ref_axis(c, axes.v[i], x->rank, &axis));
        p->before[axis] = om_ref_i64_at(t, i);
        p->after[axis] = om_ref_i64_at(t, i + axes.n);
    }
    return 0;
}

/* The element that index i of a padded axis of n elements shows; -1: the constant. */
static int64_t pad_source(enum pad_mode mode, int64_t i, int64_t n)
{
    int64_t period, at;

    if (i >= 0 && i < n)
        return i;
    switch (mode) {
    case PAD_EDGE:
        return i < 0 ? 0 : n - 1;
    case PAD_WRAP:
        return (i % n + n) % n;
    case PAD_REFLECT:
        period = OM_MAX(2 * (n - 1), 1);
        at = (i % period + period) % period;
        return at < n ? at : period - at;
    case PAD_CONSTANT:
        break;
    }
    return -1;
}

static int pad_dims(const struct ref_call *c, const struct ref_tensor *x, const struct pads *p,
                    enum pad_mode mode, int64_t *dims)
{
    for (uint32_t i = 0; i < x->rank; i++) {
        if (!om_add_i64(x->dims[i], p->before[i], &dims[i]) ||
            !om_add_i64(dims[i], p->after[i], &dims[i]) || dims[i] < 0)
            return om_fail(c->err, OM_E_FORMAT,
                           "axis %" PRIu32 " of %" PRId64 " elements cannot be padded by %" PRId64
                           " and %" PRId64,
                           i, x->dims[i], p->before[i], p->after[i]);
        if (mode != PAD_CONSTANT && x->dims[i] == 0 && dims[i] > 0)
            return om_fail(c->err, OM_E_FORMAT,
                           "axis %" PRIu32 " is empty: nothing can be repeated", i);
    }
    return 0;
}

int om_ref_Pad(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *value = om_ref_in(c, 2);
    const size_t size = om_dtype_size(x->dtype);
    unsigned char fill[8] = { 0 };
    int64_t dims[OM_RANK_MAX];
    enum pad_mode mode;
    struct pads p;

    OM_TRY(pad_mode(c, &mode));
    OM_TRY(read_pads(c, x, &p));
    OM_TRY(pad_dims(c, x, &p, mode, dims));
    if (value && value->count != 1)
        return om_fail(c->err, OM_E_FORMAT, "the value must be one element");
    if (value)
        om_convert(fill, x->dtype, value->data, value->dtype, 1);
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, dims, x->rank, c->err));
    for (int64_t o = 0; o < c->out[0].count; o++) {
        int64_t rest = o, from = 0, step = 1;
        bool inside = true;

        for (uint32_t i = x->rank; i-- > 0; rest /= dims[i]) {
            const int64_t at = pad_source(mode, rest % dims[i] - p.before[i], x->dims[i]);

            inside = inside && at >= 0;
            from += at * step;
            step *= x->dims[i];
        }
        memcpy((unsigned char *)c->out[0].data + (size_t)o * size,
               inside ? (const unsigned char *)x->data + (size_t)from * size : fill, size);
    }
    return 0;
}
