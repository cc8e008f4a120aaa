/* src/ref/small.c: reals and integers of at most eight bits. */
#include "ref/small.h"

#include <math.h>

#include "base/half.h"
#include "onnx/doc.h"

#define INTEGER(type_, name_, storage_, bits_)                                   \
    {                                                                            \
        .type = (type_), .name = (name_), .storage = (storage_), .bits = (bits_) \
    }
#define REAL(type_, name_, bits_, mantissa_, bias_, max_, infinity_, nan_, no_minus_zero_) \
    {                                                                                      \
        .type = (type_), .name = (name_), .storage = OM_U8, .bits = (bits_), .real = true, \
        .mantissa = (mantissa_), .bias = (bias_), .max = (max_), .infinity = (infinity_),  \
        .nan = (nan_), .no_minus_zero = (no_minus_zero_)                                   \
    }

static const struct ref_small types[] = {
    REAL(OM_DOC_FLOAT8E4M3FN, "float8e4m3fn", 8, 3, 7, 448, -1, 0x7f, false),
    REAL(OM_DOC_FLOAT8E4M3FNUZ, "float8e4m3fnuz", 8, 3, 8, 240, -1, 0x80, true),
    REAL(OM_DOC_FLOAT8E5M2, "float8e5m2", 8, 2, 15, 57344, 0x7c, 0x7e, false),
    REAL(OM_DOC_FLOAT8E5M2FNUZ, "float8e5m2fnuz", 8, 2, 16, 57344, -1, 0x80, true),
    REAL(OM_DOC_FLOAT4E2M1, "float4e2m1", 4, 1, 1, 6, -1, -1, false),
    REAL(OM_DOC_FLOAT8E8M0, "float8e8m0", 8, 0, 127, 0x1p127, -1, 0xff, false),
    INTEGER(OM_DOC_UINT4, "uint4", OM_U8, 4),
    INTEGER(OM_DOC_INT4, "int4", OM_I8, 4),
    INTEGER(OM_DOC_UINT2, "uint2", OM_U8, 2),
    INTEGER(OM_DOC_INT2, "int2", OM_I8, 2),
};

const struct ref_small *om_ref_small(int32_t type)
{
    for (size_t i = 0; i < OM_COUNT(types); i++)
        if (types[i].type == type)
            return &types[i];
    return NULL;
}

bool om_ref_small_real(const struct ref_tensor *t)
{
    const struct ref_small *s = om_ref_small(t->small);

    return s && s->real;
}

/* ---- one number ---- */

/* Exponents alone have no sign and no zero. */
static bool exponent_only(const struct ref_small *s)
{
    return s->mantissa == 0;
}

double om_ref_small_get(const struct ref_small *s, uint8_t bits)
{
    const int sign = exponent_only(s) ? 0 : bits >> (s->bits - 1) & 1;
    const int size = bits & ((1 << (s->bits - (exponent_only(s) ? 0 : 1))) - 1);
    const int exponent = size >> s->mantissa, fraction = size & ((1 << s->mantissa) - 1);
    double v;

    if (s->nan >= 0 && (bits == s->nan || (size == s->nan && !s->no_minus_zero)))
        return (double)NAN;
    if (s->infinity >= 0 && size > s->infinity) /* the other patterns above it */
        return (double)NAN;
    if (size == s->infinity)
        v = (double)INFINITY;
    else if (exponent == 0 && !exponent_only(s))
        v = ldexp(fraction, 1 - s->bias - s->mantissa);
    else
        v = ldexp((1 << s->mantissa) + fraction, exponent - s->bias - s->mantissa);
    return sign ? -v : v;
}

static uint8_t put_exponent(const struct ref_small *s, double v, struct ref_small_how how)
{
    const double size = fabs(v);
    int e = 0;
    double f;

    if (isnan(v))
        return (uint8_t)s->nan;
    if (isinf(v))
        return how.saturate ? 0xfe : (uint8_t)s->nan;
    if (size < 0x1p-127)
        return 0;
    f = 2 * frexp(size, &e); /* size = f * 2^(e - 1), f in [1, 2) */
    e--;
    if ((how.round == REF_ROUND_UP && f > 1) || (how.round == REF_ROUND_NEAREST && f >= 1.5))
        e++;
    if (e > 127)
        return how.saturate ? 0xfe : (uint8_t)s->nan;
    return (uint8_t)(e + s->bias);
}

uint8_t om_ref_small_put(const struct ref_small *s, double v, struct ref_small_how how)
{
    const double size = fabs(v);
    const int low = 1 - s->bias, sign = signbit(v) ? 1 << (s->bits - 1) : 0;
    int exponent, steps, bits;

    if (exponent_only(s))
        return put_exponent(s, v, how);
    if (isnan(v)) /* without a NaN: minus zero */
        return (uint8_t)(s->nan < 0         ? 1 << (s->bits - 1)
                         : s->no_minus_zero ? s->nan
                                            : s->nan | sign);
    exponent = size > 0 && size < 2 * s->max ? OM_MAX(ilogb(size), low) : low;
    steps = size < 2 * s->max ? (int)nearbyint(ldexp(size, s->mantissa - exponent)) : 0;
    if (size >= 2 * s->max || ldexp(steps, exponent - s->mantissa) > s->max) {
        if (how.saturate || s->nan < 0)
            return om_ref_small_put(s, signbit(v) ? -s->max : s->max, how);
        bits = s->infinity >= 0 ? s->infinity : s->nan;
        return (uint8_t)(s->no_minus_zero ? bits : bits | sign);
    }
    /* a carry out of the mantissa goes into the exponent by itself */
    bits = ((exponent - low) << s->mantissa) + steps;
    return (uint8_t)(bits == 0 && s->no_minus_zero ? 0 : bits | sign);
}

/* ---- tensors ---- */

int om_ref_small_widen(struct ref_pool *pool, struct ref_tensor *out, const struct ref_tensor *t,
                       struct om_error *err)
{
    const struct ref_small *s = om_ref_small(t->small);

    if (!s || !s->real) {
        OM_TRY(om_ref_share(out, t, t->dims, t->rank, err));
        out->small = 0;
        return 0;
    }
    OM_TRY(om_ref_new(pool, out, OM_F32, t->dims, t->rank, err));
    for (int64_t i = 0; i < t->count; i++)
        ((float *)out->data)[i] = (float)om_ref_small_get(s, ((const uint8_t *)t->data)[i]);
    return 0;
}

int om_ref_small_narrow(struct ref_pool *pool, struct ref_tensor *out, const struct ref_tensor *t,
                        const struct ref_small *s, struct ref_small_how how, struct om_error *err)
{
    const int64_t half = INT64_C(1) << (s->bits - 1);
    uint8_t *to;

    OM_TRY(om_ref_new(pool, out, s->storage, t->dims, t->rank, err));
    out->small = s->type;
    to = out->data;
    for (int64_t i = 0; i < t->count; i++) {
        if (s->real) {
            to[i] = om_ref_small_put(s, om_ref_f64_at(t, i), how);
        } else {
            const int64_t bits = om_ref_i64_at(t, i) & (2 * half - 1);

            to[i] = (uint8_t)(s->storage == OM_I8 && bits >= half ? bits - 2 * half : bits);
        }
    }
    return 0;
}
