/* src/ref/quantized.c: operators on quantized tensors, of ONNX and of com.microsoft.
 *
 * Products of small integers are exact in double as long as their sums are below 2^53, so they go
 * through the same matrix products as reals. Scales are applied in float32, as runtimes do. */
#include "ref/quantized.h"

#include <math.h>

#include "base/half.h"
#include "ref/plan.h"
#include "ref/window.h"

/* ---- which scale an element has ---- */

static int find_scales(const struct ref_call *c, const struct ref_tensor *x,
                       const struct ref_tensor *scale, const struct ref_tensor *zero,
                       struct ref_scales *s)
{
    const int64_t block = om_node_int(c->node, "block_size", 0);
    char a[REF_DIMS_TEXT], b[REF_DIMS_TEXT];
    bool fits = !zero || zero->count == scale->count;
    uint32_t axis = 0;

    *s = (struct ref_scales){ scale, zero, 1, 1, 1, 1 };
    if (scale->dtype != OM_F32 && scale->dtype != OM_F16 && scale->dtype != OM_BF16 &&
        !om_ref_small_real(scale))
        return om_ref_bad_dtype(c, scale->dtype);
    if (fits && scale->count == 1 && scale->rank <= 1)
        return 0;
    OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", 1), x->rank, &axis));
    s->n = x->dims[axis];
    s->inner = om_ref_product(x->dims, axis + 1, x->rank);
    if (scale->rank == 1) {
        s->blocks = s->n;
        fits = fits && scale->count == s->n;
    } else {
        fits = fits && block > 0 && scale->rank == x->rank;
        s->block = OM_MAX(block, 1);
        s->blocks = s->n / s->block + (s->n % s->block != 0);
        for (uint32_t i = 0; fits && i < x->rank; i++)
            fits = scale->dims[i] == (i == axis ? s->blocks : x->dims[i]);
    }
    return fits ? 0
                : om_fail(c->err, OM_E_FORMAT,
                          "scale %s or zero point does not fit %s, axis %" PRIu32
                          ", blocks of %" PRId64,
                          om_ref_dims_text(a, sizeof(a), scale->dims, scale->rank),
                          om_ref_dims_text(b, sizeof(b), x->dims, x->rank), axis, block);
}

static int64_t scale_index(const struct ref_scales *s, int64_t i)
{
    const int64_t along = i / s->inner % s->n;

    if (s->n == 1 && s->blocks == 1)
        return s->scale->count == 1 ? 0 : i / s->inner * s->inner + i % s->inner;
    if (s->scale->rank == 1)
        return along;
    return (i / s->inner / s->n * s->blocks + along / s->block) * s->inner + i % s->inner;
}

/* Element i, small or not. */
static double number_at(const struct ref_tensor *t, int64_t i)
{
    if (om_ref_small_real(t))
        return om_ref_small_get(om_ref_small(t->small), ((const uint8_t *)t->data)[i]);
    return om_ref_f64_at(t, i);
}

static float scale_at(const struct ref_scales *s, int64_t at)
{
    return (float)number_at(s->scale, at);
}

static int64_t zero_at(const struct ref_scales *s, int64_t at)
{
    return s->zero && !om_ref_small_real(s->zero) ? om_ref_i64_at(s->zero, at) : 0;
}

/* ---- QuantizeLinear and DequantizeLinear ---- */

int om_ref_quant_target(const struct ref_call *c, int32_t onnx, struct ref_target *t)
{
    static const struct ref_target rows[] = {
        { OM_U8, NULL, 0, 255 },
        { OM_I8, NULL, -128, 127 },
        { OM_U16, NULL, 0, 65535 },
        { OM_I16, NULL, -32768, 32767 },
    };
    const struct ref_small *s = om_ref_small(onnx);

    if (s) {
        const int half = 1 << (s->bits - 1);

        *t = (struct ref_target){ s->storage, s, s->storage == OM_I8 ? -half : 0,
                                  s->storage == OM_I8 ? half - 1 : 2 * half - 1 };
        return 0;
    }
    for (size_t i = 0; i < OM_COUNT(rows); i++)
        if (om_dtype_onnx(rows[i].dtype) == onnx) {
            *t = rows[i];
            return 0;
        }
    return om_fail(c->err, OM_E_UNSUPPORTED, "no quantization to data type %" PRId32, onnx);
}

int32_t om_ref_quant_type(const struct ref_tensor *zero)
{
    return zero->small ? zero->small : om_dtype_onnx(zero->dtype);
}

/* A quotient rounded into t; of reals the zero point only makes minus zero zero. */
static void put_quantized(const struct ref_target *t, float r, int64_t zero, bool saturate,
                          void *out)
{
    const double q = nearbyint((double)r) + (double)zero;
    const double kept = q >= t->low ? OM_MIN(q, t->high) : t->low; /* NaN: the low end */

    if (t->small && t->small->real)
        *(uint8_t *)out = om_ref_small_put(t->small, (double)r + 0.0,
                                           (struct ref_small_how){ saturate, REF_ROUND_NEAREST });
    else
        om_convert(out, t->dtype, &kept, OM_F64, 1);
}

/* x quantized into a new tensor. */
int om_ref_quantize(const struct ref_call *c, const struct ref_tensor *x,
                    const struct ref_scales *s, const struct ref_target *t, struct ref_tensor *out)
{
    const size_t size = om_dtype_size(t->dtype);
    const bool saturate = om_node_int(c->node, "saturate", 1) != 0;

    OM_TRY(om_ref_new(c->pool, out, t->dtype, x->dims, x->rank, c->err));
    out->small = t->small ? t->small->type : 0;
    for (int64_t i = 0; i < x->count; i++) {
        const int64_t at = scale_index(s, i);

        put_quantized(t, (float)om_ref_f64_at(x, i) / scale_at(s, at), zero_at(s, at), saturate,
                      (unsigned char *)out->data + (size_t)i * size);
    }
    return 0;
}

int om_ref_QuantizeLinear(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *zero = om_ref_in(c, 2);
    const int64_t asked = om_node_int(c->node, "output_dtype", 0);
    struct ref_target t = { .dtype = OM_U8 };
    struct ref_scales s;

    OM_TRY(om_ref_quant_target(c, zero ? om_ref_quant_type(zero) : asked ? (int32_t)asked : 2, &t));
    OM_TRY(find_scales(c, x, om_ref_in(c, 1), zero, &s));
    return om_ref_quantize(c, x, &s, &t, &c->out[0]);
}

/* (x - zero) * scale as float32. */
int om_ref_dequantize(const struct ref_call *c, const struct ref_tensor *x,
                      const struct ref_scales *s, struct ref_tensor *out)
{
    const bool real = om_ref_small_real(x);

    OM_TRY(om_ref_new(c->pool, out, OM_F32, x->dims, x->rank, c->err));
    for (int64_t i = 0; i < x->count; i++) {
        const int64_t at = scale_index(s, i);

        ((float *)out->data)[i] =
            real ? (float)number_at(x, i) * scale_at(s, at)
                 : (float)(om_ref_i64_at(x, i) - zero_at(s, at)) * scale_at(s, at);
    }
    return 0;
}

int om_ref_DequantizeLinear(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *scale = om_ref_in(c, 1);
    const int64_t asked = om_node_int(c->node, "output_dtype", 0);
    const enum om_dtype dtype = asked > 0 && asked <= INT32_MAX ? om_dtype_from_onnx((int32_t)asked)
                                : om_ref_small_real(scale)      ? OM_F32
                                                                : scale->dtype;
    struct ref_tensor wide = { .mem = NULL };
    struct ref_scales s;
    int rc;

    if (dtype != OM_F32 && dtype != OM_F16 && dtype != OM_BF16)
        return om_ref_bad_dtype(c, dtype);
    OM_TRY(find_scales(c, x, scale, om_ref_in(c, 2), &s));
    if (dtype == OM_F32)
        return om_ref_dequantize(c, x, &s, &c->out[0]);
    rc = om_ref_dequantize(c, x, &s, &wide);
    if (rc == 0)
        rc = om_ref_convert(c->pool, &c->out[0], &wide, dtype, c->err);
    om_ref_drop(&wide);
    return rc;
}

/* The range of x, 0 included, in 8 bits. */
static void dynamic_scale(const struct ref_tensor *x, float *scale, uint8_t *zero)
{
    float low = 0, high = 0;

    for (int64_t i = 0; i < x->count; i++) {
        const float v = ((const float *)x->data)[i];

        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    *scale = high == low ? 1 : (high - low) / 255;
    *zero = (uint8_t)fmax(fmin(nearbyint((double)(0 - low / *scale)), 255), 0);
}

int om_ref_DynamicQuantizeLinear(struct ref_call *c)
{
    static const struct ref_target t = { OM_U8, NULL, 0, 255 };
    const struct ref_tensor *x = om_ref_in(c, 0);
    struct ref_scales s = { &c->out[1], &c->out[2], 1, 1, 1, 1 };

    if (x->dtype != OM_F32)
        return om_ref_bad_dtype(c, x->dtype);
    if (c->node->n_out != 3)
        return om_fail(c->err, OM_E_FORMAT, "expected three outputs");
    OM_TRY(om_ref_new(c->pool, &c->out[1], OM_F32, NULL, 0, c->err));
    OM_TRY(om_ref_new(c->pool, &c->out[2], OM_U8, NULL, 0, c->err));
    dynamic_scale(x, c->out[1].data, c->out[2].data);
    return om_ref_quantize(c, x, &s, &t, &c->out[0]);
}

/* ---- integers without their zero point, as double ---- */

enum spread {
    SPREAD_ROWS,
    SPREAD_COLUMNS,
    SPREAD_FIRST
}; /* what a zero point per element is for */

/* The entry of a parameter of n entries that element i of x belongs to. */
static int64_t spread_index(const struct ref_tensor *x, enum spread spread, int64_t i, int64_t n)
{
    const int64_t cols = x->rank > 0 ? x->dims[x->rank - 1] : 1;
    const int64_t rows = x->rank > 1 ? x->dims[x->rank - 2] : 1;

    if (n == 1)
        return 0;
    if (spread == SPREAD_FIRST)
        return i / (x->count / x->dims[0]) % n;
    if (spread == SPREAD_ROWS)
        return i / cols % n;
    return (i / (rows * cols) * cols + i % cols) % n;
}

static bool spread_fits(const struct ref_tensor *x, const struct ref_tensor *p, enum spread spread)
{
    const int64_t cols = x->rank > 0 ? x->dims[x->rank - 1] : 1;
    const int64_t rows = x->rank > 1 ? x->dims[x->rank - 2] : 1;

    if (p->count == 1 || x->count == 0)
        return true;
    if (spread == SPREAD_FIRST)
        return x->rank > 0 && p->count == x->dims[0];
    if (spread == SPREAD_ROWS)
        return p->count == rows || p->count == x->count / cols;
    return p->count == cols || p->count == x->count / rows;
}

static const struct ref_tensor *shifted(struct ref_tape *t, const struct ref_tensor *x,
                                        const struct ref_tensor *zero, enum spread spread)
{
    struct ref_tensor *const out = om_ref_do_new(t, OM_F64, x->dims, x->rank);

    if (!out)
        return NULL;
    if (zero && !spread_fits(x, zero, spread)) {
        om_ref_do_fail(t,
                       om_fail(t->c->err, OM_E_FORMAT,
                               "a zero point of %" PRId64 " elements does not fit", zero->count));
        return NULL;
    }
    for (int64_t i = 0; i < x->count; i++) {
        const int64_t z = zero ? om_ref_i64_at(zero, spread_index(x, spread, i, zero->count)) : 0;

        ((double *)out->data)[i] = (double)(om_ref_i64_at(x, i) - z);
    }
    return out;
}

/* Give an integer sum as int32. */
static int close_int32(struct ref_tape *t, const struct ref_tensor *sum)
{
    om_ref_do_give(t, 0, om_ref_do_convert(t, sum, OM_I32));
    return om_ref_tape_close(t);
}

int om_ref_MatMulInteger(struct ref_call *c)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *a = shifted(&t, om_ref_in(c, 0), om_ref_in(c, 2), SPREAD_ROWS);
    const struct ref_tensor *b = shifted(&t, om_ref_in(c, 1), om_ref_in(c, 3), SPREAD_COLUMNS);

    return close_int32(&t, om_ref_do(&t, om_ref_MatMul, NULL, 0, a, b, NULL));
}

int om_ref_ms_MatMulInteger16(struct ref_call *c)
{
    const bool is_signed = om_ref_in(c, 0)->dtype == OM_I16 || om_ref_in(c, 1)->dtype == OM_I16;
    struct ref_tape t = { .c = c };
    const struct ref_tensor *a = shifted(&t, om_ref_in(c, 0), NULL, SPREAD_ROWS);
    const struct ref_tensor *b = shifted(&t, om_ref_in(c, 1), NULL, SPREAD_COLUMNS);
    const struct ref_tensor *y = om_ref_do(&t, om_ref_MatMul, NULL, 0, a, b, NULL);

    om_ref_do_give(&t, 0, t.rc < 0 ? NULL : om_ref_do_convert(&t, y, is_signed ? OM_I32 : OM_U32));
    return om_ref_tape_close(&t);
}

static const struct ref_tensor *convolve(struct ref_tape *t, const struct ref_tensor *x,
                                         const struct ref_tensor *w, const struct ref_tensor *bias)
{
    struct ref_tensor *out;

    if (t->rc < 0 || t->n == REF_TAPE_MAX)
        return NULL;
    out = &t->made[t->n++];
    om_ref_do_fail(t, om_ref_convolve(t->c, x, w, bias, out));
    return t->rc < 0 ? NULL : out;
}

int om_ref_ConvInteger(struct ref_call *c)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *x = shifted(&t, om_ref_in(c, 0), om_ref_in(c, 2), SPREAD_ROWS);
    const struct ref_tensor *w = shifted(&t, om_ref_in(c, 1), om_ref_in(c, 3), SPREAD_FIRST);

    return close_int32(&t, convolve(&t, x, w, NULL));
}

/* ---- results that are scaled and quantized again ---- */

/* out = saturate(round(sum * factor) + zero), in the dtype of zero. factor is by scales of the
 * operands: a by rows, b by columns or (convolutions) channels. */
struct requantize {
    const struct ref_tensor *a, *b, *y, *zero;
    bool by_channel;
};

static float factor_at(const struct requantize *r, const struct ref_tensor *sum, int64_t i)
{
    const float y = (float)om_ref_f64_at(r->y, 0);
    const int64_t inner = r->by_channel ? om_ref_product(sum->dims, 2, sum->rank) : 1;
    const int64_t bi = r->b->count == 1 ? 0
                       : r->by_channel  ? i / inner % r->b->count
                                        : spread_index(sum, SPREAD_COLUMNS, i, r->b->count);
    const int64_t ai = r->a->count == 1 ? 0 : spread_index(sum, SPREAD_ROWS, i, r->a->count);

    return (float)om_ref_f64_at(r->a, ai) * (float)om_ref_f64_at(r->b, bi) / y;
}

static int requantize(struct ref_tape *t, const struct ref_tensor *sum, const struct requantize *r)
{
    struct ref_call *const c = t->c;
    struct ref_target to = { .dtype = OM_U8 };
    size_t size;

    if (t->rc < 0)
        return t->rc;
    if (r->y->count != 1 || r->zero->count != 1)
        return om_fail(c->err, OM_E_UNSUPPORTED, "the result has more than one scale");
    if (sum->count > 0 && !r->by_channel &&
        (!spread_fits(sum, r->a, SPREAD_ROWS) || !spread_fits(sum, r->b, SPREAD_COLUMNS)))
        return om_fail(c->err, OM_E_FORMAT, "scales do not fit the result");
    if (r->by_channel && (r->a->count != 1 || (r->b->count != 1 && r->b->count != sum->dims[1])))
        return om_fail(c->err, OM_E_FORMAT, "scales do not fit the channels");
    OM_TRY(om_ref_quant_target(c, om_ref_quant_type(r->zero), &to));
    OM_TRY(om_ref_new(c->pool, &c->out[0], to.dtype, sum->dims, sum->rank, c->err));
    size = om_dtype_size(to.dtype);
    for (int64_t i = 0; i < sum->count; i++) {
        const float v = (float)((const double *)sum->data)[i] * factor_at(r, sum, i);

        put_quantized(&to, v, om_ref_i64_at(r->zero, 0), true,
                      (unsigned char *)c->out[0].data + (size_t)i * size);
    }
    return 0;
}

int om_ref_QLinearMatMul(struct ref_call *c)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *a = shifted(&t, om_ref_in(c, 0), om_ref_in(c, 2), SPREAD_ROWS);
    const struct ref_tensor *b = shifted(&t, om_ref_in(c, 3), om_ref_in(c, 5), SPREAD_COLUMNS);
    const struct requantize r = { om_ref_in(c, 1), om_ref_in(c, 4), om_ref_in(c, 6),
                                  om_ref_in(c, 7), false };

    om_ref_do_fail(&t, requantize(&t, om_ref_do(&t, om_ref_MatMul, NULL, 0, a, b, NULL), &r));
    return om_ref_tape_close(&t);
}

int om_ref_QLinearConv(struct ref_call *c)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *x = shifted(&t, om_ref_in(c, 0), om_ref_in(c, 2), SPREAD_ROWS);
    const struct ref_tensor *w = shifted(&t, om_ref_in(c, 3), om_ref_in(c, 5), SPREAD_FIRST);
    const struct ref_tensor *bias = om_ref_in(c, 8);
    const struct requantize r = { om_ref_in(c, 1), om_ref_in(c, 4), om_ref_in(c, 6),
                                  om_ref_in(c, 7), true };

    if (bias)
        bias = om_ref_do_convert(&t, bias, OM_F64);
    om_ref_do_fail(&t, requantize(&t, convolve(&t, x, w, bias), &r));
    return om_ref_tape_close(&t);
}

/* ---- com.microsoft: products with real results ---- */

/* sum * a * b + bias as float32, in the dtype of like. */
static int scale_sum(struct ref_tape *t, const struct ref_tensor *sum, const struct ref_tensor *a,
                     const struct ref_tensor *b, const struct ref_tensor *bias, enum om_dtype like)
{
    const struct ref_tensor one = { .dtype = OM_F32, .count = 1, .data = &(float){ 1 } };
    const struct requantize r = { a, b, &one, NULL, false };
    struct ref_tensor *out;
    const struct ref_tensor *y;

    if (t->rc < 0)
        return t->rc;
    if (!spread_fits(sum, a, SPREAD_ROWS) || !spread_fits(sum, b, SPREAD_COLUMNS))
        return om_fail(t->c->err, OM_E_FORMAT, "scales do not fit the result");
    out = om_ref_do_new(t, OM_F32, sum->dims, sum->rank);
    for (int64_t i = 0; out && i < sum->count; i++)
        ((float *)out->data)[i] = (float)((const double *)sum->data)[i] * factor_at(&r, sum, i);
    y = out;
    if (bias && t->rc == 0)
        y = om_ref_do(t, om_ref_Add, NULL, 0, y, om_ref_do_convert(t, bias, OM_F32), NULL);
    om_ref_do_give(t, 0, t->rc == 0 ? om_ref_do_convert(t, y, like) : NULL);
    return t->rc;
}

int om_ref_ms_MatMulIntegerToFloat(struct ref_call *c)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *a = shifted(&t, om_ref_in(c, 0), om_ref_in(c, 4), SPREAD_ROWS);
    const struct ref_tensor *b = shifted(&t, om_ref_in(c, 1), om_ref_in(c, 5), SPREAD_COLUMNS);
    const struct ref_tensor *sum = om_ref_do(&t, om_ref_MatMul, NULL, 0, a, b, NULL);

    om_ref_do_fail(&t, scale_sum(&t, sum, om_ref_in(c, 2), om_ref_in(c, 3), om_ref_in(c, 6),
                                 om_ref_in(c, 2)->dtype));
    return om_ref_tape_close(&t);
}

/* The integers of x in 8 bits, without their zero point; scale is filled. */
static const struct ref_tensor *dynamic_shifted(struct ref_tape *t, const struct ref_tensor *x,
                                                float *scale)
{
    const struct ref_tensor *const f = om_ref_do_convert(t, x, OM_F32);
    struct ref_tensor *const out = om_ref_do_new(t, OM_F64, x->dims, x->rank);
    uint8_t zero;

    if (!out)
        return NULL;
    dynamic_scale(f, scale, &zero);
    for (int64_t i = 0; i < x->count; i++) {
        const double q = nearbyint((double)(((const float *)f->data)[i] / *scale)) + (double)zero;

        ((double *)out->data)[i] = (q >= 0 ? OM_MIN(q, 255) : 0) - (double)zero;
    }
    return out;
}

int om_ref_ms_DynamicQuantizeMatMul(struct ref_call *c)
{
    struct ref_tape t = { .c = c };
    float scale = 1;
    const struct ref_tensor a_scale = { .dtype = OM_F32, .count = 1, .data = &scale };
    const struct ref_tensor *a = dynamic_shifted(&t, om_ref_in(c, 0), &scale);
    const struct ref_tensor *b = shifted(&t, om_ref_in(c, 1), om_ref_in(c, 3), SPREAD_COLUMNS);
    const struct ref_tensor *sum = om_ref_do(&t, om_ref_MatMul, NULL, 0, a, b, NULL);

    om_ref_do_fail(
        &t, scale_sum(&t, sum, &a_scale, om_ref_in(c, 2), om_ref_in(c, 4), om_ref_in(c, 0)->dtype));
    return om_ref_tape_close(&t);
}

/* alpha * A B * scales + C * scales, quantized when there is a scale for the result. */
int om_ref_ms_QGemm(struct ref_call *c)
{
    static const int64_t swap[2] = { 1, 0 };
    struct ref_tape t = { .c = c };
    const struct ref_tensor *a = shifted(&t, om_ref_in(c, 0), om_ref_in(c, 2), SPREAD_ROWS);
    const bool tb = om_node_int(c->node, "transB", 0) != 0;
    const struct ref_tensor *b =
        shifted(&t, om_ref_in(c, 3), om_ref_in(c, 5), tb ? SPREAD_ROWS : SPREAD_COLUMNS);
    const double alpha = om_node_float(c->node, "alpha", 1);
    const struct ref_tensor *bias = om_ref_in(c, 6), *y_scale = om_ref_in(c, 7), *sum;
    const struct requantize r = { om_ref_in(c, 1), om_ref_in(c, 4), y_scale, om_ref_in(c, 8),
                                  false };

    if (t.rc == 0 && (a->rank != 2 || b->rank != 2))
        om_ref_do_fail(&t, om_fail(c->err, OM_E_FORMAT, "the operands must be matrices"));
    if (t.rc == 0 && om_node_int(c->node, "transA", 0))
        a = om_ref_do_transpose(&t, a, swap);
    if (t.rc == 0 && tb)
        b = om_ref_do_transpose(&t, b, swap);
    sum = om_ref_do(&t, om_ref_MatMul, NULL, 0, a, b, NULL);
    if (bias && t.rc == 0)
        sum = om_ref_do(&t, om_ref_Add, NULL, 0, sum, om_ref_do_convert(&t, bias, OM_F64), NULL);
    if (t.rc == 0)
        sum = om_ref_do(&t, om_ref_Mul, NULL, 0, sum, om_ref_do_number(&t, OM_F64, alpha), NULL);
    if (y_scale && om_ref_in(c, 8))
        om_ref_do_fail(&t, requantize(&t, sum, &r));
    else
        om_ref_do_fail(&t, scale_sum(&t, sum, om_ref_in(c, 1), om_ref_in(c, 4), NULL, OM_F32));
    return om_ref_tape_close(&t);
}
