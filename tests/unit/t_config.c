/* tests/unit/t_config.c: field tables, activations and config.json. */
#include "config/config.h"

#include <stdio.h>

#include "base/file.h"
#include "tests/test.h"

struct arch {
    int64_t hidden, layers, heads, window, limit;
    double eps, factor, cap;
    bool tie;
    enum om_act act;
    const char *kind;
};

static const struct om_field fields[] = {
    OM_FIELD_DIM(struct arch, hidden, "hidden_size"),
    OM_FIELD_SIZE(struct arch, layers, "num_layers", 12),
    { .kind = OM_FIELD_KIND_INT,
      .key = "heads",
      .alias = "n_head",
      .offset = offsetof(struct arch, heads),
      .i = 4,
      .min = 1,
      .max = 64,
      .nullable = true },
    OM_FIELD_INT(struct arch, window, "window", -1),
    OM_FIELD_SIZE_OFF(struct arch, limit, "limit", 9),
    OM_FIELD_F64_OFF(struct arch, cap, "cap", 30.0),
    OM_FIELD_F64(struct arch, eps, "eps", 1e-12),
    OM_FIELD_F64(struct arch, factor, "rope_scaling.factor", 1.0),
    OM_FIELD_BOOL(struct arch, tie, "tie", true),
    OM_FIELD_ACT(struct arch, act, "act", OM_ACT_GELU),
    OM_FIELD_STR(struct arch, kind, "kind", "absolute"),
    OM_FIELD_REFUSE("cross", "false"),
    OM_FIELD_REFUSE("scale", "1"),
    OM_FIELD_REFUSE("mode", "\"plain\""),
    OM_FIELD_REFUSE("list", "[]"),
    OM_FIELD_END,
};

static int read_text(struct om_arena *a, const char *text, struct arch *out, struct om_error *err)
{
    struct om_json *doc = NULL;
    int rc = om_json_parse(om_sv_str(text), OM_JSON_LAST_WINS, &doc, err);

    if (rc == 0)
        rc = om_config_read(a, doc, fields, out, err);
    om_json_free(doc);
    return rc;
}

static void read_defaults(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    struct om_error err = OM_ERROR_INIT;
    struct arch c = { 0 };

    CHECK_OK(t, read_text(&a, "{\"hidden_size\": 32}", &c, &err), &err);
    CHECK_INT(t, c.hidden, 32);
    CHECK_INT(t, c.layers, 12);
    CHECK_INT(t, c.heads, 4);
    CHECK_INT(t, c.window, -1);
    CHECK(t, c.eps == 1e-12 && c.factor == 1.0 && c.tie);
    CHECK_INT(t, c.act, OM_ACT_GELU);
    CHECK_STR(t, c.kind, "absolute");
    om_error_release(&err);
    om_arena_release(&a);
}

/* Absent is the default, null switches off. */
static void switched_off(struct test *t)
{
    static const struct {
        const char *text;
        int64_t limit;
        double cap;
    } cases[] = {
        { "{\"hidden_size\": 8}", 9, 30.0 },
        { "{\"hidden_size\": 8, \"limit\": null, \"cap\": null}", 0, 0.0 },
        { "{\"hidden_size\": 8, \"limit\": 3, \"cap\": 2}", 3, 2.0 },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_arena a = OM_ARENA_INIT(1 << 20);
        struct om_error err = OM_ERROR_INIT;
        struct arch c = { .limit = 5, .cap = 5.0 };

        test_case(t, "%s", cases[i].text);
        CHECK_OK(t, read_text(&a, cases[i].text, &c, &err), &err);
        CHECK_INT(t, c.limit, cases[i].limit);
        CHECK(t, c.cap == cases[i].cap);
        om_error_release(&err);
        om_arena_release(&a);
    }
}

/* Transformers sets a key of its attribute_map after the constructor has read the other. */
static void two_spellings(struct test *t)
{
    static const struct {
        const char *text;
        int64_t want;
    } cases[] = {
        { "{\"hidden_size\": 8, \"heads\": 6, \"n_head\": 2}", 2 },
        { "{\"hidden_size\": 8, \"heads\": 6, \"n_head\": null}", 6 },
        { "{\"hidden_size\": 8, \"heads\": null, \"n_head\": 2}", 2 },
        { "{\"hidden_size\": 8}", 4 },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_arena a = OM_ARENA_INIT(1 << 20);
        struct om_error err = OM_ERROR_INIT;
        struct arch c = { 0 };

        test_case(t, "%s", cases[i].text);
        CHECK_OK(t, read_text(&a, cases[i].text, &c, &err), &err);
        CHECK_INT(t, c.heads, cases[i].want);
        om_error_release(&err);
        om_arena_release(&a);
    }
}

static void read_values(struct test *t)
{
    static const char text[] =
        "{\"hidden_size\": 8, \"num_layers\": null, \"heads\": null, \"n_head\": 2, \"window\": -7,"
        " \"eps\": 1, \"rope_scaling\": {\"factor\": 8.5, \"x\": 1}, \"tie\": 0, \"act\": "
        "\"swish\","
        " \"kind\": \"\xC3\xA9\", \"unknown\": {}, \"cross\": null, \"scale\": 1.0,"
        " \"mode\": \"plain\", \"list\": []}";
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    struct om_error err = OM_ERROR_INIT;
    struct arch c = { 0 };

    CHECK_OK(t, read_text(&a, text, &c, &err), &err);
    CHECK_INT(t, c.layers, 12);
    CHECK_INT(t, c.heads, 2);
    CHECK_INT(t, c.window, -7);
    CHECK(t, c.eps == 1.0 && c.factor == 8.5 && !c.tie);
    CHECK_INT(t, c.act, OM_ACT_SILU);
    CHECK_STR(t, c.kind, "\xC3\xA9");
    om_error_release(&err);
    om_arena_release(&a);
}

static void read_errors(struct test *t)
{
    static const struct {
        const char *text, *want;
        int code;
    } cases[] = {
        { "[]", "expected an object, found array", OM_E_CONFIG },
        { "{}", "key \"hidden_size\" is missing", OM_E_CONFIG },
        { "{\"hidden_size\": \"x\"}",
          "key \"hidden_size\": expected an integer from 1, found \"x\"", OM_E_CONFIG },
        { "{\"hidden_size\": null}", "expected an integer from 1, found null", OM_E_CONFIG },
        { "{\"hidden_size\": 1, \"limit\": 0}", "\"limit\": expected an integer from 1, found 0",
          OM_E_CONFIG },
        { "{\"hidden_size\": 0}", "expected an integer from 1, found 0", OM_E_CONFIG },
        { "{\"hidden_size\": 2.0}", "expected an integer from 1, found 2.0", OM_E_CONFIG },
        { "{\"hidden_size\": true}", "expected an integer from 1, found true", OM_E_CONFIG },
        { "{\"hidden_size\": 4294967296}",
          "expected an integer from 1 to 2147483647, found 4294967296", OM_E_CONFIG },
        { "{\"hidden_size\": [1, 2]}", "expected an integer from 1, found [1", OM_E_CONFIG },
        { "{\"hidden_size\": 1, \"heads\": 65}",
          "key \"heads\": expected an integer from 1 to 64, found 65", OM_E_CONFIG },
        { "{\"hidden_size\": 1, \"n_head\": 0}",
          "key \"n_head\": expected an integer from 1 to 64, found 0", OM_E_CONFIG },
        { "{\"hidden_size\": 1, \"window\": {}}", "key \"window\": expected an integer, found {}",
          OM_E_CONFIG },
        { "{\"hidden_size\": 1, \"eps\": \"1e-5\"}",
          "key \"eps\": expected a number, found \"1e-5\"", OM_E_CONFIG },
        { "{\"hidden_size\": 1, \"eps\": NaN}", "key \"eps\": expected a finite number",
          OM_E_CONFIG },
        { "{\"hidden_size\": 1, \"rope_scaling\": 3}",
          "key \"rope_scaling\": expected an object, found 3", OM_E_CONFIG },
        { "{\"hidden_size\": 1, \"rope_scaling\": {\"factor\": []}}",
          "key \"rope_scaling.factor\": expected a number, found []", OM_E_CONFIG },
        { "{\"hidden_size\": 1, \"tie\": 2}", "key \"tie\": expected true or false, found 2",
          OM_E_CONFIG },
        { "{\"hidden_size\": 1, \"act\": 2}",
          "key \"act\": expected the name of an activation function, found 2", OM_E_CONFIG },
        { "{\"hidden_size\": 1, \"act\": \"gelu_neww\"}",
          "key \"act\": unknown activation \"gelu_neww\", did you mean \"gelu_new\"?",
          OM_E_CONFIG },
        { "{\"hidden_size\": 1, \"act\": \"xielu\"}",
          "key \"act\": activation \"xielu\" has weights of its own", OM_E_UNSUPPORTED },
        { "{\"hidden_size\": 1, \"kind\": 1}", "key \"kind\": expected a string, found 1",
          OM_E_CONFIG },
        { "{\"hidden_size\": 1, \"kind\": \"a\\u0000b\"}", "key \"kind\": expected a string",
          OM_E_CONFIG },
        { "{\"hidden_size\": 1, \"kind\": "
          "[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]}",
          "aaaaaa...", OM_E_CONFIG },
        { "{\"hidden_size\": \"1234567890123456789012345678901234567890123456\"}", "0123456\"",
          OM_E_CONFIG },
        { "{\"hidden_size\": \"12345678901234567890123456789012345678901234567\"}", "01234567...",
          OM_E_CONFIG },
        { "{\"hidden_size\": \"1234567890123456789012345678901234567890123456\xC3\xA9\"}",
          "0123456...", OM_E_CONFIG },
        { "{\"hidden_size\": 1, \"cross\": true}",
          "key \"cross\": value true is not supported (only false is)", OM_E_UNSUPPORTED },
        { "{\"hidden_size\": 1, \"scale\": null}",
          "key \"scale\": value null is not supported (only 1 is)", OM_E_UNSUPPORTED },
        { "{\"hidden_size\": 1, \"mode\": \"fancy\"}",
          "key \"mode\": value \"fancy\" is not supported (only \"plain\" is)", OM_E_UNSUPPORTED },
        { "{\"hidden_size\": 1, \"list\": [1]}", "key \"list\": value [1] is not supported",
          OM_E_UNSUPPORTED },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_arena a = OM_ARENA_INIT(1 << 20);
        struct om_error err = OM_ERROR_INIT;
        struct arch c = { 0 };

        test_case(t, "%s", cases[i].text);
        CHECK_INT(t, read_text(&a, cases[i].text, &c, &err), cases[i].code);
        CHECK_HAS(t, om_error_text(&err), cases[i].want);
        om_error_release(&err);
        om_arena_release(&a);
    }
}

static void activations(struct test *t)
{
    static const struct {
        const char *name;
        enum om_act act;
    } aliases[] = {
        { "gelu_python", OM_ACT_GELU },
        { "gelu_python_tanh", OM_ACT_GELU_TANH },
        { "swish", OM_ACT_SILU },
        { "gelu_pytorch_tanh", OM_ACT_GELU_TANH },
    };
    static const char *const unknown[] = { "", "GELU", "gelu ", "prelu", "xielu", "elu" };
    enum om_act act;

    for (int i = 0; i < OM_ACT_COUNT; i++) {
        act = OM_ACT_COUNT;
        test_case(t, "%s", om_act_name((enum om_act)i));
        CHECK(t, om_act_parse(om_sv_str(om_act_name((enum om_act)i)), &act));
        CHECK_INT(t, act, i);
    }
    for (size_t i = 0; i < OM_COUNT(aliases); i++) {
        test_case(t, "%s", aliases[i].name);
        CHECK(t, om_act_parse(om_sv_str(aliases[i].name), &act));
        CHECK_INT(t, act, aliases[i].act);
    }
    for (size_t i = 0; i < OM_COUNT(unknown); i++)
        CHECK(t, !om_act_parse(om_sv_str(unknown[i]), &act));
    CHECK_STR(t, om_act_name(OM_ACT_COUNT), "?");
}

/* --- config.json --- */

static int open_text(struct om_arena *a, struct test *t, const char *text, struct om_config *c,
                     struct om_error *err)
{
    const char *dir = test_tmpdir(t);
    FILE *out = fopen(om_path_join(a, dir, "config.json"), "wb");

    CHECK(t, out && fputs(text, out) >= 0);
    if (out)
        fclose(out);
    return om_config_open(a, dir, c, err);
}

static void open_values(struct test *t)
{
    static const struct {
        const char *text;
        int64_t labels, pad;
    } cases[] = {
        { "{\"model_type\":\"bert\"}", 2, -1 },
        { "{\"model_type\":\"bert\",\"num_labels\":7,\"pad_token_id\":0}", 7, 0 },
        { "{\"model_type\":\"bert\",\"num_labels\":7,\"id2label\":{\"0\":\"a\"}}", 1, -1 },
        { "{\"model_type\":\"bert\",\"num_labels\":null,\"id2label\":null}", 2, -1 },
        { "{\"model_type\":\"bert\",\"pad_token_id\":null}", 2, -1 },
        { "{\"model_type\":\"bert\",\"pad_token_id\":[5,6]}", 2, 5 },
        { "{\"model_type\":\"bert\",\"pad_token_id\":[]}", 2, -1 },
        { "{\"model_type\":\"bert\",\"pad_token_id\":-100}", 2, -1 },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_arena a = OM_ARENA_INIT(1 << 20);
        struct om_error err = OM_ERROR_INIT;
        struct om_config c = { 0 };

        test_case(t, "%s", cases[i].text);
        CHECK_OK(t, open_text(&a, t, cases[i].text, &c, &err), &err);
        CHECK_STR(t, c.model_type, "bert");
        CHECK_INT(t, c.num_labels, cases[i].labels);
        CHECK_INT(t, c.pad_token_id, cases[i].pad);
        CHECK(t, !c.is_encoder_decoder && !c.problem_type);
        CHECK(t, c.architectures && !c.architectures[0]);
        CHECK(t, om_sv_is(c.text, cases[i].text));
        om_config_close(&c);
        om_error_release(&err);
        om_arena_release(&a);
    }
}

static void open_errors(struct test *t)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "", "config.json: " },
        { "nothing", "config.json: " },
        { "[]", "config.json: expected an object, found array" },
        { "{}", "config.json: key \"model_type\" is missing" },
        { "{\"model_type\":null}",
          "config.json: key \"model_type\": expected a string, found null" },
        { "{\"model_type\":3}", "config.json: key \"model_type\": expected a string, found 3" },
        { "{\"model_type\":\"x\",\"id2label\":[]}", "key \"id2label\": expected an object" },
        { "{\"model_type\":\"x\",\"num_labels\":-1}",
          "key \"num_labels\": expected an integer from 0" },
        { "{\"model_type\":\"x\",\"pad_token_id\":\"0\"}",
          "key \"pad_token_id\": expected an integer" },
        { "{\"model_type\":\"x\",\"architectures\":\"X\"}",
          "key \"architectures\": expected a list" },
        { "{\"model_type\":\"x\",\"architectures\":[1]}",
          "key \"architectures\"[0]: expected a string, found integer" },
        { "{\"model_type\":\"x\",\"is_encoder_decoder\":\"no\"}", "key \"is_encoder_decoder\"" },
        { "{\"model_type\":\"x\",\"problem_type\":\"other\"}", "found \"other\"" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_arena a = OM_ARENA_INIT(1 << 20);
        struct om_error err = OM_ERROR_INIT;
        struct om_config c;

        test_case(t, "%s", cases[i].text);
        CHECK(t, open_text(&a, t, cases[i].text, &c, &err) < 0);
        CHECK_HAS(t, om_error_text(&err), cases[i].want);
        CHECK_HAS(t, om_error_text(&err), test_tmpdir(t));
        om_config_close(&c); /* zeroed on failure */
        om_error_release(&err);
        om_arena_release(&a);
    }
}

static void open_missing(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_config c;

    CHECK_INT(t, om_config_open(&a, "/nonexistent", &c, &err), OM_E_MISSING);
    CHECK_STR(t, om_error_text(&err), "/nonexistent/config.json: no such file");
    om_error_release(&err);
    om_arena_release(&a);
}

static void open_golden(struct test *t)
{
    static const struct om_field rope[] = {
        OM_FIELD_DIM(struct arch, hidden, "vocab_size"),
        OM_FIELD_ACT(struct arch, act, "hidden_act", OM_ACT_GELU),
        OM_FIELD_F64(struct arch, factor, "rope_scaling.factor", 1.0),
        OM_FIELD_END,
    };
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_config c = { 0 };
    struct arch x = { 0 };

    CHECK_OK(t, om_config_open(&a, test_data(t, "goldens/llama/text-generation"), &c, &err), &err);
    CHECK_STR(t, c.model_type, "llama");
    CHECK_INT(t, c.num_labels, 3);
    CHECK_INT(t, c.pad_token_id, 0);
    CHECK_STR(t, c.architectures ? c.architectures[0] : NULL, "LlamaForCausalLM");
    CHECK_OK(t, om_config_fields(&a, &c, rope, &x, &err), &err);
    CHECK_INT(t, x.act, OM_ACT_SILU);
    CHECK_INT(t, x.hidden, 99);
    CHECK(t, x.factor == 1.0);
    om_config_close(&c);
    om_error_release(&err);
    om_arena_release(&a);
}

/* Every allocation fails once. */
static void arena_limit(struct test *t)
{
    const char *dir = test_data(t, "goldens/t5/feature-extraction");
    size_t failed = 0;
    int rc = OM_E_NOMEM;

    for (size_t max = 0; rc < 0 && max < 1 << 16; max += 16) {
        struct om_arena a = OM_ARENA_INIT(max);
        struct om_error err = OM_ERROR_INIT;
        struct om_config c;

        rc = om_config_open(&a, dir, &c, &err);
        CHECK(t, rc == 0 || rc == OM_E_NOMEM);
        failed += rc < 0;
        om_config_close(&c);
        om_error_release(&err);
        om_arena_release(&a);
    }
    CHECK_INT(t, rc, 0);
    CHECK(t, failed > 5);
}

const struct test_entry t_config[] = {
    { "read_defaults", read_defaults }, { "read_values", read_values },
    { "switched off", switched_off },   { "two spellings", two_spellings },
    { "read_errors", read_errors },     { "activations", activations },
    { "open_values", open_values },     { "open_errors", open_errors },
    { "open_missing", open_missing },   { "open_golden", open_golden },
    { "arena_limit", arena_limit },     TEST_END,
};
