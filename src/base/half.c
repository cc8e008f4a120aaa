/* src/base/half.c: binary16 and bfloat16, and conversion between all element types.
 *
 * The conversions between float32, binary16 and bfloat16 are straight-line code that compilers turn
 * into vector instructions; every other pair goes block by block through int64, uint64 or double,
 * whichever holds all values of the source. */
#include "base/half.h"

#include <math.h>

static inline float f32_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static inline uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

/* yes or no by masks. With the conditional operator GCC moves a float addition into a branch and,
 * since it might trap there, vectorizes nothing: four times slower. */
static inline uint32_t choose(bool condition, uint32_t yes, uint32_t no)
{
    const uint32_t mask = 0 - (uint32_t)condition;

    return (yes & mask) | (no & ~mask);
}

/* Exponents differ in bias by 112; subnormals are normalised by a subtraction that is exact.
 * Magnitudes are compared as signed numbers, for which vector units have an instruction. */
static inline uint32_t f16_widen(uint16_t h)
{
    const uint32_t rebias = 112u << 23, least = 113u << 23; /* least: 2^-14 */
    const int32_t magnitude = (h & 0x7FFF) << 13;
    const uint32_t bits = (uint32_t)magnitude;
    const uint32_t subnormal = bits_of(f32_of(bits + least) - f32_of(least));
    const uint32_t quiet = choose(magnitude > 31 << 23, 1u << 22, 0); /* as processors do to NaN */
    const uint32_t normal = (bits + rebias + choose(magnitude >= 31 << 23, rebias, 0)) | quiet;

    return choose(magnitude < 1 << 23, subnormal, normal) | (uint32_t)(h & 0x8000) << 16;
}

/* Subnormal results take their rounding from a float addition: 0.5 has the last place of a
 * subnormal. */
static inline uint16_t f16_narrow(uint32_t bits)
{
    const int32_t magnitude = (int32_t)(bits & 0x7FFFFFFF);
    const uint32_t positive = (uint32_t)magnitude, odd = positive >> 13 & 1;
    const uint32_t normal = (positive - (112u << 23) + 0xFFF + odd) >> 13;
    const uint32_t subnormal = bits_of(f32_of(positive) + 0.5f) - bits_of(0.5f);
    const uint32_t nan = 0x7E00 | (positive >> 13 & 0x1FF);
    uint32_t h = choose(magnitude < 113 << 23, subnormal, normal);

    h = choose(magnitude >= 143 << 23, 0x7C00, h);
    h = choose(magnitude > 255 << 23, nan, h);
    return (uint16_t)(h | (bits >> 16 & 0x8000));
}

static inline uint16_t bf16_narrow(uint32_t bits)
{
    const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    const uint32_t nan = bits >> 16 | 0x40; /* quiet, so that no payload bit is needed */

    return (uint16_t)((bits & 0x7FFFFFFF) > 255u << 23 ? nan : rounded);
}

float om_f16_to_f32(uint16_t h)
{
    return f32_of(f16_widen(h));
}

uint16_t om_f32_to_f16(float f)
{
    return f16_narrow(bits_of(f));
}

float om_bf16_to_f32(uint16_t h)
{
    return f32_of((uint32_t)h << 16);
}

uint16_t om_f32_to_bf16(float f)
{
    return bf16_narrow(bits_of(f));
}

/* ---- the fast paths; memcpy because the data need not be aligned ---- */

#define DEFINE_DIRECT(name, dst_type, src_type, expr)                              \
    static void name(uint8_t *restrict dst, const uint8_t *restrict src, size_t n) \
    {                                                                              \
        for (size_t i = 0; i < n; i++) {                                           \
            src_type v;                                                            \
            memcpy(&v, src + i * sizeof(v), sizeof(v));                            \
            const dst_type w = (dst_type)(expr);                                   \
            memcpy(dst + i * sizeof(w), &w, sizeof(w));                            \
        }                                                                          \
    }

DEFINE_DIRECT(direct_f16_f32, uint32_t, uint16_t, f16_widen(v))
DEFINE_DIRECT(direct_bf16_f32, uint32_t, uint16_t, (uint32_t)v << 16)
DEFINE_DIRECT(direct_f32_f16, uint16_t, uint32_t, f16_narrow(v))
DEFINE_DIRECT(direct_f32_bf16, uint16_t, uint32_t, bf16_narrow(v))
DEFINE_DIRECT(direct_bf16_f16, uint16_t, uint16_t, f16_narrow((uint32_t)v << 16))
DEFINE_DIRECT(direct_f16_bf16, uint16_t, uint16_t, bf16_narrow(f16_widen(v)))

/* ---- the same with the instructions for binary16, which every processor with AVX2 has; they round
 * alike, also NaN to the same bits ---- */

#if defined(__x86_64__)
#include <immintrin.h>

#define F16C __attribute__((target("avx2,f16c")))
#define NEAREST (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

static F16C void f16c_f32_f16(uint8_t *restrict dst, const uint8_t *restrict src, size_t n)
{
    const size_t whole = n - n % 8;

    for (size_t i = 0; i < whole; i += 8) {
        const __m256 v = _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i_u *)(src + 4 * i)));
        _mm_storeu_si128((__m128i_u *)(dst + 2 * i), _mm256_cvtps_ph(v, NEAREST));
    }
    direct_f32_f16(dst + 2 * whole, src + 4 * whole, n - whole);
}

static F16C void f16c_f16_f32(uint8_t *restrict dst, const uint8_t *restrict src, size_t n)
{
    const size_t whole = n - n % 8;

    for (size_t i = 0; i < whole; i += 8) {
        const __m256 v = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)(src + 2 * i)));
        _mm256_storeu_si256((__m256i_u *)(dst + 4 * i), _mm256_castps_si256(v));
    }
    direct_f16_f32(dst + 4 * whole, src + 2 * whole, n - whole);
}

static F16C void f16c_bf16_f16(uint8_t *restrict dst, const uint8_t *restrict src, size_t n)
{
    const size_t whole = n - n % 8;

    for (size_t i = 0; i < whole; i += 8) {
        const __m256i wide =
            _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i_u *)(src + 2 * i)));
        const __m256 v = _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
        _mm_storeu_si128((__m128i_u *)(dst + 2 * i), _mm256_cvtps_ph(v, NEAREST));
    }
    direct_bf16_f16(dst + 2 * whole, src + 2 * whole, n - whole);
}

#define HAVE_F16C __builtin_cpu_supports("avx2")
#define WITH_F16C(fn) (fn)
#else
#define HAVE_F16C false
#define WITH_F16C(fn) NULL
#endif

/* ---- the general path ---- */

enum { BLOCK = 256 };

union wide {
    int64_t i[BLOCK];
    uint64_t u[BLOCK];
    double d[BLOCK];
};

enum wide_kind { WIDE_I, WIDE_U, WIDE_D };

/* The float next to d on the way to a shorter format. Rounding to odd (Boldo and Melquiond, 2008)
 * keeps the second rounding from being wrong: an inexact result has its last bit set. */
static uint32_t f32_to_odd(double d)
{
    const float f = (float)d;
    uint32_t bits = bits_of(f);

    if ((double)f == d || isnan(d))
        return bits;
    if (fabs((double)f) > fabs(d)) /* one step toward zero; infinity becomes the largest number */
        bits--;
    return bits | 1;
}

/* The same for integers that a double cannot hold. */
static double u64_to_odd(uint64_t u)
{
    if (u >> 53 == 0)
        return (double)u;
    return (double)((u >> 11 | ((u & 0x7FF) != 0)) << 11);
}

static double i64_to_odd(int64_t i)
{
    return i < 0 ? -u64_to_odd(-(uint64_t)i) : u64_to_odd((uint64_t)i);
}

/* C leaves a real that the integer type cannot hold undefined: the nearest end of the range, 0 for
 * NaN. */
static int64_t real_to_i64(double d, int64_t low, int64_t high)
{
    if (!(d > (double)low))
        return isnan(d) ? 0 : low;
    return d >= (double)high ? high : (int64_t)d;
}

static uint64_t real_to_u64(double d, uint64_t high)
{
    if (!(d > 0))
        return 0;
    return d >= (double)high ? high : (uint64_t)d;
}

#define DEFINE_LOAD(name, type, field, expr)                             \
    static void load_##name(union wide *w, const uint8_t *src, size_t n) \
    {                                                                    \
        for (size_t k = 0; k < n; k++) {                                 \
            type v;                                                      \
            memcpy(&v, src + k * sizeof(v), sizeof(v));                  \
            w->field[k] = expr;                                          \
        }                                                                \
    }

DEFINE_LOAD(F32, float, d, v)
DEFINE_LOAD(F64, double, d, v)
DEFINE_LOAD(F16, uint16_t, d, om_f16_to_f32(v))
DEFINE_LOAD(BF16, uint16_t, d, om_bf16_to_f32(v))
DEFINE_LOAD(I8, int8_t, i, v)
DEFINE_LOAD(I16, int16_t, i, v)
DEFINE_LOAD(I32, int32_t, i, v)
DEFINE_LOAD(I64, int64_t, i, v)
DEFINE_LOAD(U8, uint8_t, u, v)
DEFINE_LOAD(U16, uint16_t, u, v)
DEFINE_LOAD(U32, uint32_t, u, v)
DEFINE_LOAD(U64, uint64_t, u, v)
DEFINE_LOAD(BOOL, uint8_t, u, v != 0)

#define STORE_LOOP(type, field, expr)               \
    for (size_t k = 0; k < n; k++) {                \
        const type v = (type)(expr(w->field[k]));   \
        memcpy(dst + k * sizeof(v), &v, sizeof(v)); \
    }

#define DEFINE_STORE(name, type, from_i, from_u, from_d)                                       \
    static void store_##name(uint8_t *dst, const union wide *w, enum wide_kind kind, size_t n) \
    {                                                                                          \
        switch (kind) {                                                                        \
        case WIDE_I:                                                                           \
            STORE_LOOP(type, i, from_i)                                                        \
            break;                                                                             \
        case WIDE_U:                                                                           \
            STORE_LOOP(type, u, from_u)                                                        \
            break;                                                                             \
        case WIDE_D:                                                                           \
            STORE_LOOP(type, d, from_d)                                                        \
            break;                                                                             \
        }                                                                                      \
    }

#define PLAIN(x) (x)
#define IS_TRUE(x) ((x) != 0)
#define I_TO_F16(x) f16_narrow(f32_to_odd(i64_to_odd(x)))
#define U_TO_F16(x) f16_narrow(f32_to_odd(u64_to_odd(x)))
#define D_TO_F16(x) f16_narrow(f32_to_odd(x))
#define I_TO_BF16(x) bf16_narrow(f32_to_odd(i64_to_odd(x)))
#define U_TO_BF16(x) bf16_narrow(f32_to_odd(u64_to_odd(x)))
#define D_TO_BF16(x) bf16_narrow(f32_to_odd(x))
#define D_TO_I8(x) real_to_i64(x, INT8_MIN, INT8_MAX)
#define D_TO_I16(x) real_to_i64(x, INT16_MIN, INT16_MAX)
#define D_TO_I32(x) real_to_i64(x, INT32_MIN, INT32_MAX)
#define D_TO_I64(x) real_to_i64(x, INT64_MIN, INT64_MAX)
#define D_TO_U8(x) real_to_u64(x, UINT8_MAX)
#define D_TO_U16(x) real_to_u64(x, UINT16_MAX)
#define D_TO_U32(x) real_to_u64(x, UINT32_MAX)
#define D_TO_U64(x) real_to_u64(x, UINT64_MAX)

DEFINE_STORE(F32, float, PLAIN, PLAIN, PLAIN)
DEFINE_STORE(F64, double, PLAIN, PLAIN, PLAIN)
DEFINE_STORE(F16, uint16_t, I_TO_F16, U_TO_F16, D_TO_F16)
DEFINE_STORE(BF16, uint16_t, I_TO_BF16, U_TO_BF16, D_TO_BF16)
DEFINE_STORE(I8, int8_t, PLAIN, PLAIN, D_TO_I8)
DEFINE_STORE(I16, int16_t, PLAIN, PLAIN, D_TO_I16)
DEFINE_STORE(I32, int32_t, PLAIN, PLAIN, D_TO_I32)
DEFINE_STORE(I64, int64_t, PLAIN, PLAIN, D_TO_I64)
DEFINE_STORE(U8, uint8_t, PLAIN, PLAIN, D_TO_U8)
DEFINE_STORE(U16, uint16_t, PLAIN, PLAIN, D_TO_U16)
DEFINE_STORE(U32, uint32_t, PLAIN, PLAIN, D_TO_U32)
DEFINE_STORE(U64, uint64_t, PLAIN, PLAIN, D_TO_U64)
DEFINE_STORE(BOOL, uint8_t, IS_TRUE, IS_TRUE, IS_TRUE)

struct element {
    void (*load)(union wide *w, const uint8_t *src, size_t n);
    void (*store)(uint8_t *dst, const union wide *w, enum wide_kind kind, size_t n);
    enum wide_kind kind;
};

#define ELEMENT(name, wide) [OM_##name] = { load_##name, store_##name, wide }
static const struct element elements[OM_DTYPE_COUNT] = {
    ELEMENT(F32, WIDE_D),  ELEMENT(F64, WIDE_D), ELEMENT(F16, WIDE_D), ELEMENT(BF16, WIDE_D),
    ELEMENT(I8, WIDE_I),   ELEMENT(I16, WIDE_I), ELEMENT(I32, WIDE_I), ELEMENT(I64, WIDE_I),
    ELEMENT(U8, WIDE_U),   ELEMENT(U16, WIDE_U), ELEMENT(U32, WIDE_U), ELEMENT(U64, WIDE_U),
    ELEMENT(BOOL, WIDE_U),
};

typedef void direct_fn(uint8_t *restrict dst, const uint8_t *restrict src, size_t n);

struct direct {
    enum om_dtype dst, src;
    direct_fn *plain, *f16c; /* NULL: the plain one is as good */
};

static const struct direct directs[] = {
    { OM_F32, OM_F16, direct_f16_f32, WITH_F16C(f16c_f16_f32) },
    { OM_F32, OM_BF16, direct_bf16_f32, NULL },
    { OM_F16, OM_F32, direct_f32_f16, WITH_F16C(f16c_f32_f16) },
    { OM_BF16, OM_F32, direct_f32_bf16, NULL },
    { OM_F16, OM_BF16, direct_bf16_f16, WITH_F16C(f16c_bf16_f16) },
    { OM_BF16, OM_F16, direct_f16_bf16, NULL },
};

static bool convert_direct(void *dst, enum om_dtype dst_dtype, const void *src,
                           enum om_dtype src_dtype, size_t n)
{
    if (dst_dtype == src_dtype && dst_dtype != OM_BOOL) { /* bools are normalised to 0 and 1 */
        memcpy(dst, src, n * om_dtype_size(dst_dtype));
        return true;
    }
    for (size_t i = 0; i < OM_COUNT(directs); i++) {
        const struct direct *const d = &directs[i];
        if (d->dst == dst_dtype && d->src == src_dtype) {
            (d->f16c && HAVE_F16C ? d->f16c : d->plain)(dst, src, n);
            return true;
        }
    }
    return false;
}

void om_convert(void *dst, enum om_dtype dst_dtype, const void *src, enum om_dtype src_dtype,
                size_t n)
{
    const struct element *const to = &elements[dst_dtype], *const from = &elements[src_dtype];
    uint8_t *d = dst;
    const uint8_t *s = src;
    union wide w;

    if (n == 0 || !to->store || !from->load)
        return;
    if (convert_direct(dst, dst_dtype, src, src_dtype, n))
        return;
    while (n > 0) {
        const size_t now = OM_MIN(n, (size_t)BLOCK);
        from->load(&w, s, now);
        to->store(d, &w, from->kind, now);
        s += now * om_dtype_size(src_dtype);
        d += now * om_dtype_size(dst_dtype);
        n -= now;
    }
}
