/* src/quant/block.c: loops over lanes that do not depend on each other, which compilers turn into
 * vectors without changing a result. They are compiled once for every processor and, on x86-64,
 * once more for those with AVX2; neither may fuse a product with a sum. */
#include "quant/block.h"

#include <math.h>

#include "base/half.h"

#define LANES 16
#define WIDE \
    OM_BLOCK_LANES /* so many that GCC leaves a loop over them alone, and makes it vectors */
#define BLOCKS (OM_BLOCK_PIECE / OM_BLOCK_MIN)
#define SHRINKS 24 /* ranges that the search tries */
#define REFITS 4

/* What both versions are made of. */
#define KERNEL static inline __attribute__((always_inline))

/* ---- ranges ---- */

KERNEL float least(float a, float b)
{
    return b < a ? b : a; /* a where they are equal: the sign of a zero is that of the first */
}

KERNEL float greatest(float a, float b)
{
    return b > a ? b : a;
}

/* Neighbours become one, n times. */
KERNEL void halve_least(const float *restrict x, size_t n, float *restrict y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = least(x[2 * i], x[2 * i + 1]);
}

KERNEL void halve_greatest(const float *restrict x, size_t n, float *restrict y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = greatest(x[2 * i], x[2 * i + 1]);
}

/* Extremes of every block. All blocks are halved together until one element is left of each: a loop
 * over the elements of one block is too short for vectors. */
KERNEL void ranges(const struct om_block_form *f, const struct om_block_piece *p, float *lo,
                   float *hi)
{
    float a[2][OM_BLOCK_PIECE / 2], b[2][OM_BLOCK_PIECE / 2];
    size_t n = p->n * (size_t)f->size / 2;
    int at = 0;

    halve_least(p->x, n, a[0]);
    halve_greatest(p->x, n, b[0]);
    for (n /= 2; n >= p->n; n /= 2, at ^= 1) {
        halve_least(a[at], n, a[at ^ 1]);
        halve_greatest(b[at], n, b[at ^ 1]);
    }
    memcpy(lo, a[at], p->n * sizeof(*lo));
    memcpy(hi, b[at], p->n * sizeof(*hi));
}

/* ---- parameters of a range ---- */

/* The element of largest magnitude becomes the least number. */
KERNEL float scale_around_zero(float lo, float hi, float least_number)
{
    return (fabsf(hi) > fabsf(lo) ? hi : lo) / least_number;
}

/* v in [0, 255]; ties up. Converting truncates. */
KERNEL int nearest(float v)
{
    const int whole = (int)v;

    return whole + (v - (float)whole >= 0.5f);
}

/* At least 0, which also NaN becomes, and at most most. */
KERNEL float clamp(float v, float most)
{
    v = v > 0.0f ? v : 0.0f;
    return v < most ? v : most;
}

KERNEL float scale_of_range(float lo, float hi, float most, uint8_t *zero)
{
    float scale, at;

    lo = lo < 0.0f ? lo : 0.0f;
    hi = hi > 0.0f ? hi : 0.0f;
    scale = (hi - lo) / most;
    at = 0.0f - lo / (scale != 0.0f ? scale : 1.0f);
    *zero = (uint8_t)nearest(clamp(scale != 0.0f ? at : lo, most));
    return scale;
}

static float stored(const struct om_block_form *f, float scale)
{
    return f->half ? om_f16_to_f32(om_f32_to_f16(scale)) : scale;
}

KERNEL float range_params(const struct om_block_form *f, float lo, float hi, uint8_t *zero)
{
    const int mid = 1 << (f->bits - 1), most = 2 * mid - 1;

    *zero = (uint8_t)mid;
    return stored(f, f->symmetric ? scale_around_zero(lo, hi, (float)-mid)
                                  : scale_of_range(lo, hi, (float)most, zero));
}

KERNEL void all_params(const struct om_block_form *f, const float *restrict lo,
                       const float *restrict hi, size_t n, float *restrict scale,
                       uint8_t *restrict zero)
{
    const int mid = 1 << (f->bits - 1);
    const float least_number = (float)-mid, most = (float)(2 * mid - 1);

    if (f->symmetric) {
        memset(zero, mid, n);
        for (size_t i = 0; i < n; i++)
            scale[i] = scale_around_zero(lo[i], hi[i], least_number);
    } else {
        for (size_t i = 0; i < n; i++)
            scale[i] = scale_of_range(lo[i], hi[i], most, &zero[i]);
    }
    for (size_t i = 0; f->half && i < n; i++)
        scale[i] = stored(f, scale[i]);
}

/* ---- rounding ---- */

KERNEL float inverse_of(float scale)
{
    return scale != 0.0f ? 1.0f / scale : 0.0f;
}

/* x / scale + zero, clamped and rounded. */
KERNEL void round_block(const float *restrict x, size_t n, float inverse, float zero, float most,
                        uint8_t *restrict q)
{
    for (size_t i = 0; i < n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            q[i + k] = (uint8_t)nearest(clamp(x[i + k] * inverse + zero, most));
}

/* ---- the search ---- */

KERNEL float error_of(const float *x, size_t n, float scale, float zero, const uint8_t *q)
{
    float sum[LANES] = { 0 }, all = 0;

    for (size_t i = 0; i < n; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            const float d = x[i + k] - ((float)q[i + k] - zero) * scale;

            sum[k] += d * d;
        }
    for (size_t k = 0; k < LANES; k++)
        all += sum[k];
    return all;
}

/* One candidate; kept when its error is smaller. */
struct best {
    float scale, error;
    uint8_t zero;
    uint8_t q[OM_BLOCK_MAX];
};

KERNEL bool consider(const struct om_block_form *f, const float *x, float scale, uint8_t zero,
                     struct best *best)
{
    const size_t n = (size_t)f->size;
    uint8_t q[OM_BLOCK_MAX];
    float error;

    round_block(x, n, inverse_of(scale), (float)zero, (float)((1 << f->bits) - 1), q);
    error = error_of(x, n, scale, (float)zero, q);
    if (!(error < best->error))
        return false;
    best->scale = scale;
    best->zero = zero;
    best->error = error;
    memcpy(best->q, q, n);
    return true;
}

/* The scale that fits the numbers q best: least squares. */
KERNEL float refit(const struct om_block_form *f, const float *x, const struct best *best)
{
    float xq[LANES] = { 0 }, qq[LANES] = { 0 }, a = 0, b = 0;

    for (size_t i = 0; i < (size_t)f->size; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            const float q = (float)best->q[i + k] - (float)best->zero;

            xq[k] += x[i + k] * q;
            qq[k] += q * q;
        }
    for (size_t k = 0; k < LANES; k++) {
        a += xq[k];
        b += qq[k];
    }
    return b > 0 ? stored(f, a / b) : best->scale;
}

/* Narrower ranges clip the extremes and resolve the rest finer. What is found is never worse than
 * the start, as only improvements are kept. */
KERNEL void search(const struct om_block_form *f, const float *x, float lo, float hi,
                   struct best *best)
{
    for (int i = 1; i <= SHRINKS; i++) {
        const float part = 1.0f - 0.02f * (float)i;
        uint8_t zero;
        const float scale = range_params(f, lo * part, hi * part, &zero);

        consider(f, x, scale, zero, best);
        if (f->symmetric) /* the longer half of the numbers on the other side */
            consider(f, x, -scale, zero, best);
    }
    for (int i = 0; i < REFITS; i++)
        if (!consider(f, x, refit(f, x, best), best->zero, best))
            break;
}

KERNEL void search_block(const struct om_block_form *f, struct om_block_piece *p, size_t i,
                         float lo, float hi)
{
    const size_t size = (size_t)f->size;
    const float *const x = p->x + i * size;
    uint8_t *const q = p->q + i * size;
    struct best best = { .scale = p->scale[i], .zero = p->zero[i] };

    best.error = error_of(x, size, best.scale, (float)best.zero, q);
    memcpy(best.q, q, size);
    search(f, x, lo, hi, &best);
    p->scale[i] = best.scale;
    p->zero[i] = best.zero;
    memcpy(q, best.q, size);
}

/* ---- a piece ---- */

KERNEL void quantize(const struct om_block_form *f, struct om_block_piece *p)
{
    const size_t size = (size_t)f->size;
    const float most = (float)((1 << f->bits) - 1);
    float lo[BLOCKS], hi[BLOCKS];

    ranges(f, p, lo, hi);
    all_params(f, lo, hi, p->n, p->scale, p->zero);
    for (size_t i = 0; i < p->n; i++)
        round_block(p->x + i * size, size, inverse_of(p->scale[i]), (float)p->zero[i], most,
                    p->q + i * size);
    for (size_t i = 0; f->search != OM_QUANT_RTN && i < p->n; i++)
        search_block(f, p, i, lo[i], hi[i]);
}

KERNEL bool all_finite(const float *x, size_t n)
{
    int32_t most[LANES] = { 0 }, all = 0;

    for (size_t i = 0; i < n; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            int32_t bits;

            memcpy(&bits, &x[i + k], sizeof(bits));
            bits &= 0x7fffffff;
            most[k] = bits > most[k] ? bits : most[k];
        }
    for (size_t k = 0; k < LANES; k++)
        all = OM_MAX(all, most[k]);
    return all < 0x7f800000;
}

KERNEL void pack_halves(const uint8_t *restrict q, size_t n, uint8_t *restrict dst)
{
    for (size_t i = 0; i < n / 2; i++)
        dst[i] = (uint8_t)(q[2 * i] | q[2 * i + 1] << 4);
}

KERNEL void add_squares(const float *restrict x, size_t n, double *restrict squares)
{
    float sum[WIDE] = { 0 };
    size_t i;

    for (i = 0; i + WIDE <= n; i += WIDE)
        for (size_t k = 0; k < WIDE; k++)
            sum[k] += x[i + k] * x[i + k];
    for (size_t k = 0; i < n; i++, k++)
        sum[k] += x[i] * x[i];
    for (size_t k = 0; k < WIDE; k++)
        squares[k] += (double)sum[k];
}

KERNEL void add_magnitudes(const float *restrict x, size_t n, float *restrict max)
{
    size_t i;

    for (i = 0; i + WIDE <= n; i += WIDE)
        for (size_t k = 0; k < WIDE; k++)
            max[k] = greatest(max[k], fabsf(x[i + k]));
    for (size_t k = 0; i < n; i++, k++)
        max[k] = greatest(max[k], fabsf(x[i]));
}

KERNEL void measure(const struct om_block_form *f, const struct om_block_piece *p,
                    struct om_block_error *e)
{
    const size_t size = (size_t)f->size, n = p->n * size;
    float d[OM_BLOCK_PIECE];

    for (size_t i = 0; i < p->n; i++) {
        const float scale = p->scale[i], zero = (float)p->zero[i];

        for (size_t k = i * size; k < (i + 1) * size; k++)
            d[k] = p->x[k] - ((float)p->q[k] - zero) * scale;
    }
    add_squares(d, n, e->error);
    add_squares(p->x, n, e->total);
    add_magnitudes(d, n, e->max);
}

/* ---- for which processor ---- */

#define VERSION(suffix, target)                                                                   \
    static target void quantize_##suffix(const struct om_block_form *f, struct om_block_piece *p) \
    {                                                                                             \
        quantize(f, p);                                                                           \
    }                                                                                             \
    static target bool finite_##suffix(const float *x, size_t n)                                  \
    {                                                                                             \
        return all_finite(x, n);                                                                  \
    }                                                                                             \
    static target void pack_##suffix(const uint8_t *q, size_t n, uint8_t *dst)                    \
    {                                                                                             \
        pack_halves(q, n, dst);                                                                   \
    }                                                                                             \
    static target void measure_##suffix(const struct om_block_form *f,                            \
                                        const struct om_block_piece *p, struct om_block_error *e) \
    {                                                                                             \
        measure(f, p, e);                                                                         \
    }

VERSION(plain, )
#if defined(__x86_64__)
VERSION(avx2, __attribute__((target("avx2"))))
#define BEST(name) (__builtin_cpu_supports("avx2") ? name##_avx2 : name##_plain)
#else
#define BEST(name) name##_plain
#endif

bool om_block_finite(const struct om_block_form *f, const struct om_block_piece *p)
{
    return BEST(finite)(p->x, p->n * (size_t)f->size);
}

void om_block_quantize(const struct om_block_form *f, struct om_block_piece *p)
{
    BEST(quantize)(f, p);
}

void om_block_pack(const struct om_block_form *f, const struct om_block_piece *p, uint8_t *dst)
{
    const size_t n = p->n * (size_t)f->size;

    if (f->bits == 8)
        memcpy(dst, p->q, n);
    else
        BEST(pack)(p->q, n, dst);
}

void om_block_measure(const struct om_block_form *f, const struct om_block_piece *p,
                      struct om_block_error *e)
{
    BEST(measure)(f, p, e);
}
