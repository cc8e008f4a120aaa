/* tests/unit/t_buf.c: growth, the maximum, stickiness, JSON strings. */
#include "base/buf.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>

static void appends(struct test *t)
{
    struct om_buf b = OM_BUF_INIT(1u << 20);

    CHECK_INT(t, om_buf_sv(&b).len, 0);
    CHECK(t, om_buf_sv(&b).ptr != NULL);
    om_buf_add(&b, NULL, 0);
    om_buf_adds(&b, "layer");
    om_buf_addc(&b, '.');
    om_buf_printf(&b, "%d", 11);
    om_buf_add(&b, "\0z", 2);
    CHECK_INT(t, b.len, 10);
    CHECK(t, memcmp(b.ptr, "layer.11\0z", 11) == 0); /* with the closing NUL */
    om_buf_clear(&b);
    CHECK(t, b.len == 0 && b.ptr[0] == '\0');
    for (int i = 0; i < 1000; i++)
        om_buf_printf(&b, "%04d", i);
    CHECK_INT(t, b.len, 4000);
    CHECK_STR(t, b.ptr + 3996, "0999");
    CHECK_INT(t, om_buf_check(&b, NULL), 0);
    om_buf_release(&b);
    CHECK(t, b.ptr == NULL && b.len == 0 && b.cap == 0 && b.max == 1u << 20);
}

static void maximum(struct test *t)
{
    struct om_buf b = OM_BUF_INIT(8);
    struct om_error err = OM_ERROR_INIT;

    om_buf_adds(&b, "12345678");
    CHECK_INT(t, om_buf_check(&b, &err), 0);
    om_buf_printf(&b, "%s", "9");
    CHECK(t, b.failed && b.len == 8);
    CHECK_STR(t, b.ptr, "12345678"); /* the failed text left no trace */
    om_buf_clear(&b);
    om_buf_adds(&b, "1234567");
    om_buf_adds(&b, "89");
    om_buf_adds(&b, "8"); /* would fit, but the buffer has failed */
    CHECK_STR(t, b.ptr, "1234567");
    CHECK_INT(t, om_buf_check(&b, &err), OM_E_NOMEM);
    CHECK_HAS(t, om_error_text(&err), "8 bytes");
    om_error_release(&err);
    om_buf_release(&b);
    CHECK(t, !b.failed);

    struct om_buf none = OM_BUF_INIT(0);
    om_buf_printf(&none, "%d", 1);
    CHECK(t, none.failed && none.ptr == NULL);
    om_buf_release(&none);
}

static void json_strings(struct test *t)
{
    static const struct {
        const char *text;
        size_t len;
        const char *want;
    } cases[] = {
        { "", 0, "\"\"" },
        { NULL, 0, "\"\"" },
        { "a\"b\\c/", 6, "\"a\\\"b\\\\c/\"" },
        { "\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"" },
        { "\0\x1F\x7F", 3, "\"\\u0000\\u001f\x7F\"" },
        { "\xC3\xA9\xF0\x9F\x98\x80", 6, "\"\xC3\xA9\xF0\x9F\x98\x80\"" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_buf b = OM_BUF_INIT(1000);
        om_buf_json_string(&b, (om_sv){ cases[i].text, cases[i].len });
        CHECK_STR(t, b.ptr, cases[i].want);
        om_buf_release(&b);
    }
}

/* Digits from the first to the last that is not 0. */
static int significant(const char *text)
{
    int count = 0, seen = 0;

    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9')
            continue;
        seen += seen > 0 || *text != '0';
        if (*text != '0')
            count = seen;
    }
    return count;
}

/* The same number again, in as few digits as printf needs. */
static void real32_one(struct test *t, float f)
{
    struct om_buf b = OM_BUF_INIT(100);
    char want[40];
    int digits = 0;

    do
        snprintf(want, sizeof(want), "%.*e", digits, (double)f);
    while (strtof(want, NULL) != f && ++digits < 9);
    om_buf_real32(&b, f);
    test_case(t, "%a", (double)f);
    CHECK(t, !b.failed && strtof(b.ptr, NULL) == f);
    CHECK_INT(t, significant(b.ptr), significant(want));
    om_buf_release(&b);
}

static void real32(struct test *t)
{
    static const struct {
        float f;
        const char *want;
    } cases[] = {
        { 0.1F, "0.1" },
        { 1.0F, "1.0" },
        { -2.5F, "-2.5" },
        { 0.0F, "0.0" },
        { -0.0F, "-0.0" },
        { 1e-5F, "1e-05" },
        { 1e-4F, "0.0001" },
        { 16777216.0F, "16777216.0" },
        { 1e16F, "1e+16" },
        { 3.4028235e38F, "3.4028235e+38" },
        { 1e-45F, "1e-45" },
        { 1.17549435e-38F, "1.1754944e-38" },
        { 0.3F, "0.3" },
        { 0.75000006F, "0.75000006" },
        { 9.999999e-5F, "9.999999e-05" },
        { 999999.94F, "999999.94" },
        { 1e20F, "1e+20" },
        { 1e-12F, "1e-12" },
        { 1e-13F, "1e-13" },
    };
    uint32_t bits = 1;

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_buf b = OM_BUF_INIT(100);

        om_buf_real32(&b, cases[i].f);
        CHECK_STR(t, b.ptr, cases[i].want);
        om_buf_release(&b);
    }
    for (int i = 0; i < 20000; i++) {
        float f;

        bits = bits * 1664525u + 1013904223u;
        const uint32_t mixed = bits ^ bits >> 13;
        memcpy(&f, &mixed, sizeof(f));
        if (f == f && f - f == 0.0F) /* finite */
            real32_one(t, f);
    }
}

const struct test_entry t_buf[] = { { "appends", appends },
                                    { "maximum", maximum },
                                    { "json_strings", json_strings },
                                    { "real32", real32 },
                                    TEST_END };
