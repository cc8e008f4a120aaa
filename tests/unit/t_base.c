/* tests/unit/t_base.c: string views, checked arithmetic, element types, growing arrays. */
#include "test.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>

static void views(struct test *t)
{
    const om_sv s = OM_SVL("model.safetensors"), empty = om_sv_str(NULL);

    CHECK(t, om_sv_is(s, "model.safetensors"));
    CHECK(t, !om_sv_is(s, "model.safetensor"));
    CHECK(t, om_sv_starts(s, OM_SVL("model.")) && !om_sv_starts(s, OM_SVL("odel")));
    CHECK(t, om_sv_ends(s, OM_SVL(".safetensors")) && !om_sv_ends(OM_SVL("s"), s));
    CHECK(t, om_sv_starts(s, empty) && om_sv_ends(s, empty) && om_sv_ends(empty, empty));
    CHECK(t, om_sv_eq(empty, (om_sv){ NULL, 0 }));
    CHECK(t, om_sv_is(om_sv_trim(OM_SVL(" \t\n a b \r\v\f")), "a b"));
    CHECK(t, om_sv_trim(OM_SVL(" \n ")).len == 0);
    CHECK(t, om_sv_cmp(OM_SVL("a"), OM_SVL("ab")) < 0);
    CHECK(t, om_sv_cmp(OM_SVL("b"), OM_SVL("ab")) > 0);
    CHECK(t, om_sv_cmp(OM_SVL("ab"), OM_SVL("ab")) == 0);
    CHECK(t, om_sv_cmp(OM_SVL("\xFF"), OM_SVL("a")) > 0);
    CHECK(t, om_sv_hash(empty) == 0xCBF29CE484222325u);
    CHECK(t, om_sv_hash(OM_SVL("a")) == 0xAF63DC4C8601EC8Cu);
    CHECK(t, om_sv_hash(OM_SVL("foobar")) == 0x85944171F73967E8u);
}

static void split(struct test *t)
{
    static const struct {
        const char *text, *parts[5];
    } cases[] = {
        { "a,b", { "a", "b", NULL } },    { "a", { "a", NULL } }, { "a,", { "a", "", NULL } },
        { ",,a", { "", "", "a", NULL } }, { "", { "", NULL } },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        om_sv rest = om_sv_str(cases[i].text), part;
        size_t n = 0;
        test_case(t, "\"%s\"", cases[i].text);
        while (om_sv_split(&rest, ',', &part) && cases[i].parts[n])
            CHECK(t, om_sv_is(part, cases[i].parts[n++]));
        CHECK(t, cases[i].parts[n] == NULL && rest.ptr == NULL);
    }
}

static void integers(struct test *t)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t want;
    } cases[] = {
        { "0", true, 0 },
        { "-0", true, 0 },
        { "18", true, 18 },
        { "-7", true, -7 },
        { "9223372036854775807", true, INT64_MAX },
        { "-9223372036854775808", true, INT64_MIN },
        { "9223372036854775808", false, 0 },
        { "-9223372036854775809", false, 0 },
        { "99999999999999999999", false, 0 },
        { "", false, 0 },
        { "-", false, 0 },
        { "--1", false, 0 },
        { "1x", false, 0 },
        { " 1", false, 0 },
        { "0x10", false, 0 },
        { "1.0", false, 0 },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        int64_t got = 42;
        test_case(t, "\"%s\"", cases[i].text);
        CHECK_INT(t, om_sv_i64(om_sv_str(cases[i].text), &got), cases[i].ok);
        CHECK_INT(t, got, cases[i].ok ? cases[i].want : 42);
    }
}

static void reals(struct test *t)
{
    static const struct {
        const char *text;
        bool ok;
        double want;
    } cases[] = {
        { "0.5", true, 0.5 },  { "1e-05", true, 1e-05 }, { "-3", true, -3 },
        { "1E3", true, 1000 }, { "", false, 0 },         { "nan", false, 0 },
        { "inf", false, 0 },   { "0x1p3", false, 0 },    { " 1", false, 0 },
        { "1,5", false, 0 },   { "1.5.2", false, 0 },    { "1e999", false, 0 },
        { "1e-999", true, 0 }, { "e5", false, 0 },       { ".", false, 0 },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        double got = 42;
        test_case(t, "\"%s\"", cases[i].text);
        CHECK_INT(t, om_sv_f64(om_sv_str(cases[i].text), &got), cases[i].ok);
        CHECK(t, got == (cases[i].ok ? cases[i].want : 42));
    }
}

static void utf8(struct test *t)
{
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        { "", true },
        { "plain", true },
        { "\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80", true },
        { "\xF4\x8F\xBF\xBF", true },  /* U+10FFFF */
        { "\xEF\xBF\xBF", true },      /* a noncharacter is still valid */
        { "\xC0\x80", false },         /* overlong NUL */
        { "\xC1\xBF", false },         /* overlong */
        { "\xE0\x9F\xBF", false },     /* overlong */
        { "\xF0\x8F\xBF\xBF", false }, /* overlong */
        { "\xED\xA0\x80", false },     /* a surrogate */
        { "\xF4\x90\x80\x80", false }, /* above U+10FFFF */
        { "\x80", false },
        { "a\xC3", false },
        { "\xE2\x82", false },
        { "\xF0\x9F\x98", false },
        { "\xFF", false },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "case %zu", i);
        CHECK_INT(t, om_utf8_valid(om_sv_str(cases[i].text)), cases[i].ok);
    }
    CHECK(t, om_utf8_valid((om_sv){ "a\0b", 3 }));
}

static void nearest(struct test *t)
{
    static const char *const tasks[] = { "fill-mask", "question-answering", "text-generation",
                                         "text-classification", NULL };

    CHECK_INT(t, om_sv_distance(OM_SVL("kitten"), OM_SVL("sitting"), 10), 3);
    CHECK_INT(t, om_sv_distance(OM_SVL("kitten"), OM_SVL("sitting"), 2), 3);
    CHECK_INT(t, om_sv_distance(OM_SVL("kitten"), OM_SVL("sitting"), 1), 2);
    CHECK_INT(t, om_sv_distance(OM_SVL(""), OM_SVL("abc"), 5), 3);
    CHECK_INT(t, om_sv_distance(OM_SVL("abc"), OM_SVL(""), 1), 2);
    CHECK_INT(t, om_sv_distance(OM_SVL("abc"), OM_SVL("abc"), 0), 0);
    CHECK_STR(t, om_sv_nearest(OM_SVL("fil-mask"), tasks), "fill-mask");
    CHECK_STR(t, om_sv_nearest(OM_SVL("question-answring"), tasks), "question-answering");
    CHECK_STR(t, om_sv_nearest(OM_SVL("text-generation"), tasks), "text-generation");
    CHECK_STR(t, om_sv_nearest(OM_SVL("bananas"), tasks), NULL);
    CHECK_STR(t, om_sv_nearest(OM_SVL(""), tasks), NULL);
}

static void arithmetic(struct test *t)
{
    size_t z = 7;
    uint64_t u = 7;
    int64_t i = 7;

    CHECK(t, !om_mul_size(SIZE_MAX / 2 + 1, 2, &z) && !om_add_size(SIZE_MAX, 1, &z) && z == 7);
    CHECK(t, !om_mul_u64(UINT64_MAX / 2 + 1, 2, &u) && !om_add_u64(UINT64_MAX, 1, &u) && u == 7);
    CHECK(t, !om_mul_i64(INT64_MIN, -1, &i) && !om_add_i64(INT64_MAX, 1, &i) && i == 7);
    CHECK(t, om_mul_size(6, 7, &z) && z == 42);
    CHECK(t, om_add_u64(40, 2, &u) && u == 42);
    CHECK(t, om_mul_i64(-6, 7, &i) && i == -42);
}

static void counts(struct test *t)
{
    static const struct {
        size_t rank;
        int64_t dims[3];
        bool ok;
        int64_t want;
    } cases[] = {
        { 0, { 0 }, true, 1 },
        { 2, { 3, 5 }, true, 15 },
        { 3, { 3, 0, 5 }, true, 0 },
        { 3, { INT64_MAX, 4, 0 }, true, 0 },
        { 1, { INT64_MAX }, true, INT64_MAX },
        { 2, { INT64_MAX, 2 }, false, 0 },
        { 2, { 0, -1 }, false, 0 },
        { 1, { -1 }, false, 0 },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        int64_t got = 42;
        test_case(t, "case %zu", i);
        CHECK_INT(t, om_count(cases[i].dims, cases[i].rank, &got), cases[i].ok);
        CHECK_INT(t, got, cases[i].ok ? cases[i].want : 42);
    }
}

static void dtypes(struct test *t)
{
    const int64_t dims[2] = { 3, INT64_MAX / 3 };
    const struct om_tensor large = { .dtype = OM_F64, .rank = 2, .dims = dims };
    const struct om_tensor small = { .dtype = OM_BF16, .rank = 1, .dims = dims };
    uint64_t bytes = 0;

    for (int d = OM_DTYPE_NONE + 1; d < OM_DTYPE_COUNT; d++) {
        const enum om_dtype dtype = (enum om_dtype)d;
        test_case(t, "%s", om_dtype_text(dtype));
        CHECK_INT(t, om_dtype_from_onnx(om_dtype_onnx(dtype)), d);
        CHECK_INT(t, om_dtype_from_safetensors(om_sv_str(om_dtype_safetensors(dtype))), d);
        CHECK(t, om_dtype_size(dtype) > 0);
    }
    test_case(t, "unknown");
    CHECK_INT(t, om_dtype_size(OM_DTYPE_NONE), 0);
    CHECK_INT(t, om_dtype_from_onnx(0), OM_DTYPE_NONE);
    CHECK_INT(t, om_dtype_from_onnx(8), OM_DTYPE_NONE);
    CHECK_INT(t, om_dtype_from_safetensors(OM_SVL("F8_E4M3")), OM_DTYPE_NONE);
    CHECK_INT(t, om_dtype_from_safetensors(OM_SVL("")), OM_DTYPE_NONE);
    CHECK(t, om_tensor_bytes(&small, &bytes) && bytes == 6);
    CHECK(t, !om_tensor_bytes(&large, &bytes) && bytes == 6);
}

static void loads(struct test *t)
{
    static const uint8_t bytes[] = { 0xFF, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0xF8 };

    CHECK_INT(t, om_le16(bytes + 1), 0x0201);
    CHECK_INT(t, om_le32(bytes + 1), 0x04030201);
    CHECK(t, om_le64(bytes + 1) == 0xF807060504030201u);
    CHECK(t, om_le16(bytes) == 0x01FF);
}

static void grow(struct test *t)
{
    int32_t *items = NULL;
    size_t cap = 0;

    for (int32_t i = 0; i < 1000; i++) {
        CHECK(t, om_grow(&items, &cap, (size_t)i + 1, sizeof(*items)));
        items[i] = i;
    }
    CHECK(t, cap >= 1000 && cap < 4096 && items[0] == 0 && items[999] == 999);
    const size_t before = cap;
    CHECK(t, !om_grow(&items, &cap, SIZE_MAX / 2, sizeof(*items)));
    CHECK(t, cap == before && items[999] == 999);
    free(items);
}

const struct test_entry t_base[] = {
    { "views", views },           { "split", split },   { "integers", integers },
    { "reals", reals },           { "utf8", utf8 },     { "nearest", nearest },
    { "arithmetic", arithmetic }, { "counts", counts }, { "dtypes", dtypes },
    { "loads", loads },           { "grow", grow },     TEST_END
};
