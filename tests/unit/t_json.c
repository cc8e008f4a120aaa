/* tests/unit/t_json.c: what is accepted and refused, the getters, Python's spellings, patching
 * text. */
#include "base/file.h"
#include "base/json.h"
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct om_json *parse(struct test *t, const char *text)
{
    struct om_json *j = NULL;
    struct om_error err = OM_ERROR_INIT;

    CHECK_OK(t, om_json_parse(om_sv_str(text), 0, &j, &err), &err);
    om_error_release(&err);
    return j;
}

static void refused(struct test *t)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "", "line 1, column 1" },
        { "{\"a\": 1}\n}", "line 2, column 2: end of file expected" },
        { "{\"a\": 1,}", "line 1" },
        { "{\"a\" 1}", "line 1" },
        { "[1 2]", "line 1" },
        { "{'a': 1}", "line 1" },
        { "[01]", "line 1" },
        { "[nan]", "line 1" },
        { "[Nan]", "line 1" },
        { "[-NaN]", "line 1" },
        { "[+Infinity]", "line 1" },
        { "[Infinity1]", "line 1" },
        { "{NaN: 1}", "line 1" },
        { "[\"a", "line 1" },
        { "[\"\\", "line 1" },
        { "[\"\x01\"]", "control character" },
        { "[\"\xFF\"]", "line 1" },
        { "[\"\xC0\x80\"]", "line 1" },
        { "\"\\ud800\"", "line 1" },
        { "\xEF\xBB\xBF{}", "line 1" },
        { "[9223372036854775808, 1e999]", "line 1, column 28: " },
        { "[9223372036854775808, x]", "line 1, column 24: " },
        { "[1e999]", "does not fit 64 bits" },
        { "[\n NaN,\n \"\xC3\xA9\", NaN, x]",
          "line 3, column 13" }, /* position in the given text */
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_json *j = NULL;
        struct om_error err = OM_ERROR_INIT;
        test_case(t, "%s", cases[i].text);
        CHECK_INT(t, om_json_parse(om_sv_str(cases[i].text), 0, &j, &err), OM_E_FORMAT);
        CHECK_HAS(t, om_error_text(&err), cases[i].message);
        CHECK(t, j == NULL);
        om_error_release(&err);
        om_json_free(j);
    }
}

static void nul_bytes(struct test *t)
{
    static const struct {
        const char *text;
        size_t len;
    } cases[] = {
        { "[null\0, 1]", 10 }, { "[1\0]", 4 }, { "1\0", 2 }, { "[\"\0\"]", 5 }, { "\0", 1 }
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_json *j = NULL;
        struct om_error err = OM_ERROR_INIT;
        test_case(t, "case %zu", i);
        CHECK_INT(t, om_json_parse((om_sv){ cases[i].text, cases[i].len }, 0, &j, &err),
                  OM_E_FORMAT);
        CHECK_HAS(t, om_error_text(&err), "NUL byte");
        om_error_release(&err);
    }
}

static void depth(struct test *t)
{
    static char text[200000];
    struct om_json *j = NULL;
    struct om_error err = OM_ERROR_INIT;

    memset(text, '[', sizeof(text));
    CHECK_INT(t, om_json_parse((om_sv){ text, sizeof(text) }, 0, &j, &err), OM_E_FORMAT);
    CHECK_HAS(t, om_error_text(&err), "depth");
    om_error_release(&err);
    memset(text, '[', 1000);
    memcpy(text + 1000, "NaN", 3);
    memset(text + 1003, ']', 1000);
    CHECK_OK(t, om_json_parse((om_sv){ text, 2003 }, 0, &j, &err), &err);
    const struct om_json *v = j;
    for (int i = 0; i < 1000; i++)
        v = om_json_at(v, 0);
    CHECK_INT(t, om_json_kind(v), OM_JSON_REAL);
    om_json_free(j);
}

static void duplicates(struct test *t)
{
    const om_sv text = OM_SVL("{\"a\": 1, \"b\": 2, \"a\": 3}");
    struct om_json *j = NULL;
    struct om_error err = OM_ERROR_INIT;
    struct om_json_iter it = { 0 };
    int64_t a = 0;

    CHECK_INT(t, om_json_parse(text, OM_JSON_NO_DUPLICATES, &j, &err), OM_E_FORMAT);
    CHECK_HAS(t, om_error_text(&err), "duplicate");
    om_error_release(&err);
    CHECK_OK(t, om_json_parse(text, OM_JSON_LAST_WINS, &j, &err), &err);
    CHECK(t, om_json_i64(om_json_get(j, "a"), &a) && a == 3);
    CHECK(t, om_json_next(j, &it) && om_sv_is(it.key, "a"));
    CHECK(t, om_json_next(j, &it) && om_sv_is(it.key, "b"));
    CHECK(t, !om_json_next(j, &it));
    om_json_free(j);
}

static void getters(struct test *t)
{
    struct om_json *j =
        parse(t, "{\"i\": -7, \"r\": 1e-5, \"s\": \"x\\u0000y\", \"b\": true, \"n\": null,"
                 " \"a\": [1, 2, 3], \"o\": {\"z\": 1, \"y\": 2}}");
    bool b = false;
    int64_t i = 42;
    double r = 42;
    om_sv s = { 0 };

    CHECK(t, om_json_i64(om_json_get(j, "i"), &i) && i == -7);
    CHECK(t, om_json_f64(om_json_get(j, "i"), &r) && r == -7);
    CHECK(t, om_json_f64(om_json_get(j, "r"), &r) && r == 1e-5);
    CHECK(t, !om_json_i64(om_json_get(j, "r"), &i) && i == -7);
    CHECK(t, om_json_str(om_json_get(j, "s"), &s) && om_sv_eq(s, (om_sv){ "x\0y", 3 }));
    CHECK(t, om_json_bool(om_json_get(j, "b"), &b) && b);
    CHECK(t, !om_json_bool(om_json_get(j, "i"), &b) && !om_json_str(om_json_get(j, "i"), &s));
    CHECK(t, !om_json_i64(om_json_get(j, "b"), &i) && !om_json_f64(om_json_get(j, "s"), &r));
    CHECK_INT(t, om_json_len(om_json_get(j, "a")), 3);
    CHECK_INT(t, om_json_len(om_json_get(j, "o")), 2);
    CHECK_INT(t, om_json_len(om_json_get(j, "s")), 0);
    CHECK_INT(t, om_json_len(NULL), 0);
    CHECK(t, om_json_i64(om_json_at(om_json_get(j, "a"), 2), &i) && i == 3);
    CHECK(t, om_json_at(om_json_get(j, "a"), 3) == NULL && om_json_at(j, 0) == NULL);
    CHECK(t, om_json_get(NULL, "a") == NULL && om_json_get(om_json_get(j, "a"), "a") == NULL);
    CHECK_INT(t, om_json_kind(om_json_get(j, "n")), OM_JSON_NULL);
    CHECK_INT(t, om_json_kind(NULL), OM_JSON_NULL);
    CHECK_STR(t, om_json_kind_text(om_json_get(j, "i")), "integer");
    CHECK_STR(t, om_json_kind_text(om_json_get(j, "r")), "number");
    CHECK_STR(t, om_json_kind_text(om_json_get(j, "absent")), "nothing");
    struct om_json_iter it = { 0 };
    CHECK(t, !om_json_next(NULL, &it) && !om_json_next(om_json_get(j, "a"), &it));
    om_json_free(j);
    om_json_free(NULL);
}

static void nonfinite(struct test *t)
{
    struct om_json *j = parse(t, "{\"NaN\": [NaN, \"NaN\", Infinity], \"x\": -Infinity,"
                                 " \"s\": \"\\\"NaN, \", \"x\": NaN}");
    const struct om_json *list = om_json_get(j, "NaN");
    double r = 0;
    om_sv s = { 0 };

    CHECK(t, om_json_f64(om_json_at(list, 0), &r) && isnan(r));
    CHECK(t, om_json_str(om_json_at(list, 1), &s) && om_sv_is(s, "NaN"));
    CHECK(t, om_json_f64(om_json_at(list, 2), &r) && isinf(r) && r > 0);
    CHECK(t, om_json_f64(om_json_get(j, "x"), &r) && isnan(r));
    CHECK(t, om_json_str(om_json_get(j, "s"), &s) && om_sv_is(s, "\"NaN, "));
    CHECK_INT(t, om_json_kind(om_json_at(list, 0)), OM_JSON_REAL);
    om_json_free(j);

    j = parse(t, " -Infinity ");
    CHECK(t, om_json_f64(j, &r) && isinf(r) && r < 0);
    om_json_free(j);
}

static void written(struct test *t)
{
    static const struct {
        const char *text;
        unsigned indent;
        const char *want;
    } cases[] = {
        /* Reals as repr() of Python has them. */
        { "[0.1,1.0,1e-5,0.0001,1e16,1e15,123456789012345680.0]", 0,
          "[0.1, 1.0, 1e-05, 0.0001, 1e+16, 1000000000000000.0, 1.2345678901234568e+17]" },
        { "[5e-324,1.7976931348623157e308,-0.0,0.0,1e22,1e23,100.0]", 0,
          "[5e-324, 1.7976931348623157e+308, -0.0, 0.0, 1e+22, 1e+23, 100.0]" },
        { "[0.30000000000000004,3.141592653589793,1.5e300,12345.678]", 0,
          "[0.30000000000000004, 3.141592653589793, 1.5e+300, 12345.678]" },
        { "[0.00001234,0.001234,1e100,1e-100,9007199254740993.0]", 0,
          "[1.234e-05, 0.001234, 1e+100, 1e-100, 9007199254740992.0]" },
        { "[NaN,-Infinity,Infinity]", 0, "[NaN, -Infinity, Infinity]" },
        { "[9223372036854775807,-9223372036854775808,true,false,null]", 0,
          "[9223372036854775807, -9223372036854775808, true, false, null]" },
        { "{\"b\":{},\"a\":[],\"\xC3\xA9\\n\":\"\\u0000\\/\"}", 0,
          "{\"b\": {}, \"a\": [], \"\xC3\xA9\\n\": \"\\u0000/\"}" },
        { "{\"b\":{\"c\":[1,2]},\"a\":[],\"d\":{}}", 2,
          "{\n  \"b\": {\n    \"c\": [\n      1,\n      2\n    ]\n  },\n  \"a\": [],\n  \"d\": "
          "{}\n}" },
        { "3", 2, "3" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_buf b = OM_BUF_INIT(10000);
        struct om_json *j = parse(t, cases[i].text);
        om_json_write(&b, j, cases[i].indent);
        CHECK_STR(t, b.ptr, cases[i].want);
        om_json_free(j);
        om_buf_release(&b);
    }
    struct om_buf b = OM_BUF_INIT(100);
    om_json_write(&b, NULL, 0);
    CHECK_STR(t, b.ptr, "null");
    om_buf_release(&b);
}

static void patched(struct test *t)
{
    static const struct {
        const char *text;
        struct om_json_patch patches[2];
        size_t n;
        const char *want;
    } cases[] = {
        { "{\"a\": 1e-05,\t\"b\" :[1, {\"a\": 2}] }\n",
          { { "a", "7" } },
          1,
          "{\"a\": 7,\t\"b\" :[1, {\"a\": 2}] }\n" },
        { "{\"a\": 1e-05, \"b\": [1, {\"a\": 2}]}",
          { { "b", "\"x\"" } },
          1,
          "{\"a\": 1e-05, \"b\": \"x\"}" },
        { "{\n  \"a\": 1,\n  \"b\": {}\n}\n",
          { { "c", "\"x\"" }, { "d", "[2]" } },
          2,
          "{\n  \"a\": 1,\n  \"b\": {},\n  \"c\": \"x\",\n  \"d\": [2]\n}\n" },
        { "{\n\t\"a\" : 1\n}",
          { { "a", "2" }, { "b", "3" } },
          2,
          "{\n\t\"a\" : 2,\n\t\"b\" : 3\n}" },
        { "{\"a\":1}", { { "b", "2" } }, 1, "{\"a\":1,\"b\":2}" },
        { "{}", { { "a", "1" }, { "b", "2" } }, 2, "{\"a\": 1, \"b\": 2}" },
        { " { }\n", { { "a", "1" } }, 1, " {\"a\": 1 }\n" },
        { "{\n}\n", { { "a", "1" }, { "b", "2" } }, 2, "{\n  \"a\": 1,\n  \"b\": 2\n}\n" },
        { "{\"a\": 1, \"a\": 2}", { { "a", "3" } }, 1, "{\"a\": 3, \"a\": 3}" },
        { "{\"\\u0061\": 1}", { { "a", "3" } }, 1, "{\"\\u0061\": 3}" },
        { "{\"a\\\"}\": \"]\\\\\", \"b\": \"{\"}",
          { { "b", "0" } },
          1,
          "{\"a\\\"}\": \"]\\\\\", \"b\": 0}" },
        { "{\"a\": 1}", { { "b", "2" }, { "b", "3" } }, 2, "{\"a\": 1,\"b\": 3}" },
        { "{\"a\": NaN, \"b\": 1}", { { "b", "null" } }, 1, "{\"a\": NaN, \"b\": null}" },
        { "{\"a\": 1}", { { "q\"\n", "2" } }, 1, "{\"a\": 1,\"q\\\"\\n\": 2}" },
        { "{\"a\": 12345678901.50}", { { NULL, NULL } }, 0, "{\"a\": 12345678901.50}" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_buf out = OM_BUF_INIT(1000);
        struct om_error err = OM_ERROR_INIT;
        struct om_json *j = NULL;
        test_case(t, "%s", cases[i].text);
        CHECK_OK(t,
                 om_json_patch(om_sv_str(cases[i].text), cases[i].patches, cases[i].n, &out, &err),
                 &err);
        CHECK_STR(t, out.ptr, cases[i].want);
        CHECK_OK(t, om_json_parse(om_buf_sv(&out), 0, &j, &err), &err);
        om_json_free(j);
        om_error_release(&err);
        om_buf_release(&out);
    }
}

static void patch_refused(struct test *t)
{
    static const struct {
        const char *text;
        struct om_json_patch patch;
        const char *message;
    } cases[] = {
        { "[1]", { "a", "1" }, "expected a JSON object, found array" },
        { "{\"a\": }", { "a", "1" }, "line 1" },
        { "{\"a\": 1}", { "a", "1, \"b\": 2" }, "value for key \"a\"" },
        { "{\"a\": 1}", { "a", "" }, "value for key \"a\"" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_buf out = OM_BUF_INIT(1000);
        struct om_error err = OM_ERROR_INIT;
        test_case(t, "%s", cases[i].text);
        CHECK_INT(t, om_json_patch(om_sv_str(cases[i].text), &cases[i].patch, 1, &out, &err),
                  OM_E_FORMAT);
        CHECK_HAS(t, om_error_text(&err), cases[i].message);
        om_error_release(&err);
        om_buf_release(&out);
    }
}

static void from_file(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 16);
    struct om_out o = OM_OUT_INIT;
    struct om_json *j = NULL;
    struct om_error err = OM_ERROR_INIT;
    const char *path = om_path_join(&a, test_tmpdir(t), "config.json");

    CHECK_INT(t, om_json_read(path, 0, &j, &err), OM_E_MISSING);
    CHECK_HAS(t, om_error_text(&err), "config.json");
    om_error_release(&err);
    CHECK_OK(t, om_out_open(&o, test_tmpdir(t), "config.json", NULL, &err), &err);
    CHECK_OK(t, om_out_write(&o, "{\"a\": [}", 8, &err), &err);
    CHECK_OK(t, om_out_commit(&o, false, &err), &err);
    CHECK_INT(t, om_json_read(path, 0, &j, &err), OM_E_FORMAT);
    CHECK_HAS(t, om_error_text(&err), "config.json: line 1, column 9");
    om_error_release(&err);
    om_arena_release(&a);
}

/* As Python writes "no limit" into tokenizer_config.json. */
static void long_integers(struct test *t)
{
    struct om_json *j = parse(t, "{\"a\": 1000000000000000019884624838656, \"b\": [-9223372036854775809, NaN,"
                                 " 9223372036854775807], \"9999999999999999999\": \"9999999999999999999\"}");
    const struct om_json *const b = om_json_get(j, "b");
    int64_t i = 0;
    double r = 0;
    om_sv s;

    CHECK(t, om_json_f64(om_json_get(j, "a"), &r) && r == 1e30);
    CHECK(t, !om_json_i64(om_json_get(j, "a"), &i));
    CHECK(t, om_json_f64(om_json_at(b, 0), &r) && r == -9223372036854775808.0);
    CHECK(t, om_json_i64(om_json_at(b, 2), &i) && i == INT64_MAX);
    CHECK(t, om_json_str(om_json_get(j, "9999999999999999999"), &s) && s.len == 19);
    om_json_free(j);
}

const struct test_entry t_json[] = { { "refused", refused },
                                     { "nul_bytes", nul_bytes },
                                     { "depth", depth },
                                     { "duplicates", duplicates },
                                     { "getters", getters },
                                     { "nonfinite", nonfinite },
                                     { "long_integers", long_integers },
                                     { "written", written },
                                     { "patched", patched },
                                     { "patch_refused", patch_refused },
                                     { "from_file", from_file },
                                     TEST_END };
