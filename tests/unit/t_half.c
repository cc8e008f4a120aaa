/* tests/unit/t_half.c: all 16-bit values, rounding at every tie, and conversions between all types.
 */
#include "base/half.h"
#include "test.h"

#include <float.h>
#include <math.h>

/* The value of a binary16 by the definition of the format. */
static double f16_value(uint16_t h)
{
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    double magnitude;

    if (exponent == 31)
        magnitude = mantissa ? (double)NAN : (double)INFINITY;
    else if (exponent == 0)
        magnitude = ldexp(mantissa, -24);
    else
        magnitude = ldexp(1024 + mantissa, exponent - 25);
    return h & 0x8000 ? -magnitude : magnitude;
}

static void f16_all(struct test *t)
{
    size_t wrong = 0;

    for (uint32_t h = 0; h < 65536; h++) {
        const float f = om_f16_to_f32((uint16_t)h);
        const double want = f16_value((uint16_t)h);
        if (isnan(want)) {
            wrong += !isnan(f) || !(om_f32_to_f16(f) & 0x03FF);
            wrong += (om_f32_to_f16(f) & 0xFC00) != (h & 0xFC00);
        } else {
            wrong += (double)f != want || !signbit(f) != !(h & 0x8000);
            wrong += om_f32_to_f16(f) != h;
        }
    }
    CHECK_INT(t, wrong, 0);
}

/* Between two neighbours: just below, on and just above the middle. */
static void f16_ties(struct test *t)
{
    size_t wrong = 0;

    for (uint32_t h = 0; h < 0x7BFF; h++) {
        const double low = f16_value((uint16_t)h), high = f16_value((uint16_t)(h + 1));
        const float middle = (float)((low + high) / 2); /* exact: 12 bits */
        const uint32_t even = h & 1 ? h + 1 : h;
        wrong += om_f32_to_f16(nextafterf(middle, 0)) != h;
        wrong += om_f32_to_f16(middle) != even;
        wrong += om_f32_to_f16(nextafterf(middle, INFINITY)) != h + 1;
        wrong += om_f32_to_f16(-middle) != (0x8000 | even);
    }
    CHECK_INT(t, wrong, 0);
    CHECK_INT(t, om_f32_to_f16(65504.0f), 0x7BFF);
    CHECK_INT(t, om_f32_to_f16(nextafterf(65520.0f, 0)), 0x7BFF);
    CHECK_INT(t, om_f32_to_f16(65520.0f), 0x7C00);
    CHECK_INT(t, om_f32_to_f16(FLT_MAX), 0x7C00);
    CHECK_INT(t, om_f32_to_f16(-INFINITY), 0xFC00);
    CHECK_INT(t, om_f32_to_f16(0x1p-25f), 0);
    CHECK_INT(t, om_f32_to_f16(nextafterf(0x1p-25f, 1)), 1);
    CHECK_INT(t, om_f32_to_f16(FLT_TRUE_MIN), 0);
    CHECK_INT(t, om_f32_to_f16(-0.0f), 0x8000);
}

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static void bf16_all(struct test *t)
{
    size_t wrong = 0;

    for (uint32_t h = 0; h < 65536; h++) {
        const float f = om_bf16_to_f32((uint16_t)h);
        if (isnan(f)) {
            wrong += !isnan(om_bf16_to_f32(om_f32_to_bf16(f)));
            continue;
        }
        wrong += om_f32_to_bf16(f) != h;
        if (isinf(f))
            continue;
        const uint32_t even = h & 1 ? h + 1 : h;
        wrong += om_f32_to_bf16(float_of(h << 16 | 0x7FFF)) != h;
        wrong += om_f32_to_bf16(float_of(h << 16 | 0x8000)) != even;
        wrong += om_f32_to_bf16(float_of(h << 16 | 0x8001)) != h + 1;
    }
    CHECK_INT(t, wrong, 0);
    CHECK(t,
          isnan(om_bf16_to_f32(om_f32_to_bf16(float_of(0x7F800001))))); /* the smallest payload */
    CHECK(t, isnan(om_bf16_to_f32(om_f32_to_bf16(float_of(0xFFFFFFFF)))));
}

/* Lengths around the block size and odd addresses; each element must equal the scalar function's.
 */
static void unaligned_blocks(struct test *t)
{
    static uint8_t half[2 * 600 + 1], single[4 * 600 + 1], back[2 * 600 + 1], one_by_one[2 * 600];
    static const enum om_dtype types[] = { OM_F16, OM_BF16 };
    static const size_t lengths[] = { 0, 1, 7, 255, 256, 257, 600 };

    for (size_t i = 0; i < sizeof(half); i++)
        half[i] = (uint8_t)(i * 37);
    for (size_t k = 0; k < OM_COUNT(types) * OM_COUNT(lengths); k++) {
        const enum om_dtype type = types[k % 2];
        const size_t n = lengths[k / 2];
        memset(back, 0xEE, sizeof(back));
        om_convert(single + 1, OM_F32, half + 1, type, n);
        om_convert(back + 1, type, single + 1, OM_F32, n);
        for (size_t i = 0; i < n; i++) {
            float f;
            memcpy(&f, single + 1 + 4 * i, 4);
            const uint16_t h = type == OM_F16 ? om_f32_to_f16(f) : om_f32_to_bf16(f);
            memcpy(one_by_one + 2 * i, &h, 2);
        }
        test_case(t, "%s, %zu", om_dtype_text(type), n);
        CHECK(t, memcmp(back + 1, one_by_one, 2 * n) == 0);
        CHECK(t, back[0] == 0xEE && (n == 600 || back[1 + 2 * n] == 0xEE));
    }
}

/* Whole arrays, which processors have instructions for, against one number at a time; bit by bit,
 * NaN included. */
static void arrays(struct test *t)
{
    static const uint16_t low[] = { 0, 1, 0x0FFF, 0x1000, 0x1001, 0x7FFF, 0x8000, 0x8001, 0xFFFF };
    static uint16_t all[1 << 16], half[1 << 16];
    static float single[1 << 16];
    size_t wrong = 0;

    for (size_t i = 0; i < OM_COUNT(all); i++)
        all[i] = (uint16_t)i;
    om_convert(single, OM_F32, all, OM_F16, OM_COUNT(all));
    for (size_t i = 0; i < OM_COUNT(all); i++) {
        const float f = om_f16_to_f32(all[i]);
        wrong += memcmp(&single[i], &f, sizeof(f)) != 0;
    }
    CHECK_INT(t, wrong, 0);
    for (size_t k = 0; k < OM_COUNT(low); k++) {
        for (uint32_t i = 0; i < OM_COUNT(all); i++)
            single[i] = float_of(i << 16 | low[k]);
        om_convert(half, OM_F16, single, OM_F32, OM_COUNT(all));
        for (size_t i = 0; i < OM_COUNT(all); i++)
            wrong += half[i] != om_f32_to_f16(single[i]);
    }
    CHECK_INT(t, wrong, 0);
}

/* Between the two formats of 16 bits: by way of float32, which holds both exactly. */
static void between(struct test *t)
{
    static uint16_t all[1 << 16], f16[1 << 16], bf16[1 << 16];
    size_t wrong = 0;

    for (size_t i = 0; i < OM_COUNT(all); i++)
        all[i] = (uint16_t)i;
    om_convert(f16, OM_F16, all, OM_BF16, OM_COUNT(all));
    om_convert(bf16, OM_BF16, all, OM_F16, OM_COUNT(all));
    for (size_t i = 0; i < OM_COUNT(all); i++)
        wrong += f16[i] != om_f32_to_f16(om_bf16_to_f32(all[i])) ||
                 bf16[i] != om_f32_to_bf16(om_f16_to_f32(all[i]));
    CHECK_INT(t, wrong, 0);
}

/* Store value as F64, convert through the types named, compare as F64. */
static double through(double value, enum om_dtype a, enum om_dtype b)
{
    uint64_t first = 0, second = 0;
    double out = 0;

    om_convert(&first, a, &value, OM_F64, 1);
    om_convert(&second, b, &first, a, 1);
    om_convert(&out, OM_F64, &second, b, 1);
    return out;
}

static void every_pair(struct test *t)
{
    for (int a = OM_DTYPE_NONE + 1; a < OM_DTYPE_COUNT; a++) {
        for (int b = OM_DTYPE_NONE + 1; b < OM_DTYPE_COUNT; b++) {
            test_case(t, "%s to %s", om_dtype_text((enum om_dtype)a),
                      om_dtype_text((enum om_dtype)b));
            CHECK(t, through(1, (enum om_dtype)a, (enum om_dtype)b) == 1);
            CHECK(t, through(0, (enum om_dtype)a, (enum om_dtype)b) == 0);
            if (a != OM_BOOL && b != OM_BOOL)
                CHECK(t, through(100, (enum om_dtype)a, (enum om_dtype)b) == 100);
        }
    }
}

static void edges(struct test *t)
{
    static const struct {
        double value;
        enum om_dtype type;
        double want;
    } cases[] = {
        { 1.9, OM_I32, 1 },
        { -1.9, OM_I32, -1 },
        { 300, OM_U8, 255 },
        { -1, OM_U8, 0 },
        { -129, OM_I8, -128 },
        { NAN, OM_I64, 0 },
        { INFINITY, OM_I32, INT32_MAX },
        { -INFINITY, OM_I16, INT16_MIN },
        { 1e30, OM_I64, 0x1p63 },
        { 1e30, OM_U64, 0x1p64 },
        { 0.25, OM_BOOL, 1 },
        { NAN, OM_BOOL, 1 },
        { -0.0, OM_BOOL, 0 },
        { 1e300, OM_F32, INFINITY },
        { 1e300, OM_F16, INFINITY },
        { 65519.999999, OM_F16, 65504 }, /* as a float it would be the tie 65520 */
        { 1 + 0x1p-11 + 0x1p-40, OM_F16,
          1 + 0x1p-10 }, /* as a float it would round to even, down */
        { 1 + 0x1p-8 + 0x1p-40, OM_BF16, 1 + 0x1p-7 },
        { -(1 + 0x1p-8 + 0x1p-40), OM_BF16, -(1 + 0x1p-7) },
        { 0x1p-25 + 0x1p-60, OM_F16, 0x1p-24 },
        { 0x1p-200, OM_F16, 0 },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "%a to %s", cases[i].value, om_dtype_text(cases[i].type));
        CHECK(t, through(cases[i].value, cases[i].type, cases[i].type) == cases[i].want);
    }
}

static void integers(struct test *t)
{
    const uint64_t big = (1ull << 63) | (1ull << 55) | 1; /* just above a tie of bfloat16 */
    const int64_t low = -(int64_t)((1ull << 62) | (1ull << 54) | 1);
    const int64_t minus = -2;
    const uint8_t bools[3] = { 0, 1, 200 };
    uint8_t tidy[3];
    uint16_t h;
    uint8_t u8;
    float f;

    om_convert(&h, OM_BF16, &big, OM_U64, 1);
    CHECK_INT(t, h, om_f32_to_bf16(0x1p63f) + 1);
    om_convert(&h, OM_BF16, &low, OM_I64, 1);
    CHECK_INT(t, h, om_f32_to_bf16(-0x1p62f) + 1);
    om_convert(&f, OM_F32, &big, OM_U64, 1);
    CHECK(t, f == 0x1p63f + 0x1p55f);
    om_convert(&u8, OM_U8, &minus, OM_I64, 1);
    CHECK_INT(t, u8, 254); /* wraps as in C */
    om_convert(tidy, OM_BOOL, bools, OM_BOOL, 3);
    CHECK(t, tidy[0] == 0 && tidy[1] == 1 && tidy[2] == 1);
}

const struct test_entry t_half[] = {
    { "f16_all", f16_all },       { "f16_ties", f16_ties },
    { "bf16_all", bf16_all },     { "unaligned_blocks", unaligned_blocks },
    { "every_pair", every_pair }, { "edges", edges },
    { "integers", integers },     { "between", between },
    { "arrays", arrays },         TEST_END
};
