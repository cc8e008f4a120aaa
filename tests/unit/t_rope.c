/* tests/unit/t_rope.c: rotary frequencies against those that Transformers computed, parameters that
 * are refused, and the tables in the graph at lengths below and above the limit. */
#include "fixture.h"
#include "nn/internal.h"
#include "ref/ref.h"

#include <math.h>

static const struct om_rope_defaults defaults = {
    .theta = 10000.0, .partial = 1.0, .head_dim = 8, .max_position = 2048
};

/* How many floats lie between two. */
static int64_t ulps(float a, float b)
{
    int32_t x, y;

    memcpy(&x, &a, sizeof(x));
    memcpy(&y, &b, sizeof(y));
    return x > y ? (int64_t)x - y : (int64_t)y - x;
}

/* PyTorch's powers of vectors are not correctly rounded (one unit off at times), and what is
 * divided by a factor afterwards can be two units off. */
static void check_list(struct test *t, const struct om_json *want, const float *got, int64_t n)
{
    CHECK_INT(t, om_json_len(want), n);
    for (int64_t i = 0; i < n; i++) {
        double w = NAN;
        om_json_f64(om_json_at(want, (size_t)i), &w);
        test_check(t, ulps(got[i], (float)w) <= 2, __FILE__, __LINE__,
                   "frequency %" PRId64 " is %.9g, want %.9g", i, (double)got[i], w);
    }
}

static void check_recorded(struct test *t, struct om_arena *a, const struct om_json *recorded)
{
    const struct om_json *config = om_json_get(recorded, "config");
    struct om_rope_defaults d = defaults;
    struct om_error err = OM_ERROR_INIT;
    struct om_rope_config c;
    double want = NAN;
    float *got;

    CHECK(t, om_json_i64(om_json_get(config, "head_dim"), &d.head_dim));
    CHECK_OK(t, om_rope_read(a, config, &d, &c, &err), &err);
    if (test_failed(t))
        return;
    got = om_arena_array(a, (size_t)c.dim / 2, sizeof(*got));
    om_rope_frequencies(&c, false, got);
    check_list(t, om_json_get(recorded, "frequencies"), got, c.dim / 2);
    if (om_json_get(recorded, "beyond")) {
        om_rope_frequencies(&c, true, got);
        check_list(t, om_json_get(recorded, "beyond"), got, c.dim / 2);
    }
    CHECK(t, om_json_f64(om_json_get(recorded, "attention_factor"), &want));
    CHECK(t, fabs(om_rope_attention_factor(&c) - want) < 1e-14);
}

static void recorded(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_json *doc = NULL;

    CHECK_OK(t, om_json_read(test_data(t, "rope.json"), 0, &doc, &err), &err);
    CHECK(t, om_json_len(doc) > 10);
    for (size_t i = 0; i < om_json_len(doc); i++) {
        test_case(t, "number %zu of rope.json", i);
        check_recorded(t, &a, om_json_at(doc, i));
    }
    om_json_free(doc);
    om_error_release(&err);
    om_arena_release(&a);
}

#define LIST4 "[1.0,1.0,1.0,1.0]"

static void refused(struct test *t)
{
    static const struct {
        const char *config, *message;
        int rc;
    } cases[] = {
        { "{\"rope_scaling\":7}", "\"rope_scaling\": expected an object, found integer",
          OM_E_CONFIG },
        { "{\"rope_scaling\":{}}", "\"rope_scaling\": expected a string in \"rope_type\"",
          OM_E_CONFIG },
        { "{\"rope_scaling\":{\"rope_type\":3}}", "found integer", OM_E_CONFIG },
        { "{\"rope_scaling\":{\"rope_type\":\"mrope\"}}",
          "\"rope_scaling\": rope_type \"mrope\" is not supported", OM_E_UNSUPPORTED },
        { "{\"rope_scaling\":{\"type\":\"su\",\"rope_type\":\"linear\"}}", "\"su\"",
          OM_E_UNSUPPORTED },
        { "{\"rope_scaling\":{\"type\":\"linear\"}}", "rope_scaling: key \"factor\" is missing",
          OM_E_CONFIG },
        { "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":\"2\"}}", "\"factor\"", OM_E_CONFIG },
        { "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}",
          "\"rope_scaling.factor\": expected a positive number, found 0", OM_E_CONFIG },
        { "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":NaN}}",
          "expected a finite number, found NaN", OM_E_CONFIG },
        { "{\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2},\"partial_rotary_factor\":0.25}",
          "dynamic needs more than 2", OM_E_CONFIG },
        { "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2},\"rope_theta\":1}", "\"rope_theta\"",
          OM_E_CONFIG },
        { "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"beta_slow\":-1}}", "beta_slow",
          OM_E_CONFIG },
        { "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,"
          "\"original_max_position_embeddings\":-4}}",
          "original_max_position_embeddings", OM_E_CONFIG },
        { "{\"rope_scaling\":{\"type\":\"longrope\",\"factor\":2,\"long_factor\":" LIST4 "}}",
          "\"rope_scaling.short_factor\": expected a list of 4 numbers", OM_E_CONFIG },
        { "{\"rope_scaling\":{\"type\":\"longrope\",\"factor\":2,\"short_factor\":" LIST4
          ",\"long_factor\":[1,2,3]}}",
          "found array of 3", OM_E_CONFIG },
        { "{\"rope_scaling\":{\"type\":\"longrope\",\"factor\":2,\"short_factor\":" LIST4
          ",\"long_factor\":[1,2,3,0]}}",
          "element 3 is not a positive number", OM_E_CONFIG },
        { "{\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":" LIST4
          ",\"long_factor\":" LIST4 "}}",
          "rope_scaling.factor", OM_E_CONFIG },
        { "{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,"
          "\"high_freq_factor\":4}}",
          "\"original_max_position_embeddings\" is missing", OM_E_CONFIG },
        { "{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
          "\"high_freq_factor\":4,\"original_max_position_embeddings\":64}}",
          "another value than low_freq_factor", OM_E_CONFIG },
        { "{\"rope_theta\":-1}", "\"rope_theta\"", OM_E_CONFIG },
        { "{\"partial_rotary_factor\":2}", "\"partial_rotary_factor\"", OM_E_CONFIG },
        { "{\"partial_rotary_factor\":0.4}", "give 3 rotary dims", OM_E_CONFIG },
        { "{\"max_position_embeddings\":0}", "\"max_position_embeddings\"", OM_E_CONFIG },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_arena a = OM_ARENA_INIT(1u << 20);
        struct om_error err = OM_ERROR_INIT;
        struct om_rope_config c;
        struct om_json *doc = NULL;

        test_case(t, "%s", cases[i].config);
        CHECK_OK(t, om_json_parse(om_sv_str(cases[i].config), 0, &doc, &err), &err);
        CHECK_INT(t, om_rope_read(&a, doc, &defaults, &c, &err), cases[i].rc);
        CHECK_HAS(t, om_error_text(&err), cases[i].message);
        om_json_free(doc);
        om_error_release(&err);
        om_arena_release(&a);
    }
}

static struct om_rope_config read_config(struct test *t, struct om_arena *a, const char *text)
{
    struct om_rope_config c = { .dim = 0 };
    struct om_error err = OM_ERROR_INIT;
    struct om_json *doc = NULL;

    CHECK_OK(t, om_json_parse(om_sv_str(text), 0, &doc, &err), &err);
    CHECK_OK(t, om_rope_read(a, doc, &defaults, &c, &err), &err);
    om_json_free(doc);
    om_error_release(&err);
    return c;
}

/* Where the parameters may be, and which name wins. */
static void places(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_rope_config c = read_config(t, &a, "{}");

    CHECK_STR(t, c.type, "default");
    CHECK(t, c.theta == 10000.0);
    CHECK_INT(t, c.dim, 8);
    c = read_config(t, &a, "{\"rope_scaling\":null,\"rope_theta\":5.5}");
    CHECK_STR(t, c.type, "default");
    CHECK(t, c.theta == 5.5);
    c = read_config(t, &a,
                    "{\"rope_scaling\":{\"type\":\"linear\",\"rope_type\":\"yarn\",\"factor\":2}}");
    CHECK_STR(t, c.type, "linear");
    c = read_config(t, &a,
                    "{\"rope_theta\":3,\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":4,"
                    "\"rope_theta\":7,\"partial_rotary_factor\":0.5}}");
    CHECK_STR(t, c.type, "linear");
    CHECK(t, c.theta == 7.0 && c.factor == 4.0);
    CHECK_INT(t, c.dim, 4);
    om_arena_release(&a);
}

/* ---- in the graph ---- */

static const char *const text_axes[] = { "batch_size", "sequence_length", NULL };
static const struct fixture_tensor tensors[] = { { .name = "unused", .rank = 1, .dims = { 1 } } };

static const struct om_tensor *run(struct test *t, struct fixture *f, const struct om_tensor *in,
                                   size_t n_in)
{
    struct om_tensor *out = NULL;
    size_t n = 0;

    CHECK_OK(t, om_ref_run(f->g, in, n_in, NULL, &f->arena, &out, &n, &f->err), &f->err);
    return out;
}

/* The cosine of the last pair at position_ids [2, 3] that end at last. */
static double last_cosine(struct test *t, struct fixture *f, int64_t last)
{
    const int64_t ids[] = { 0, 1, 2, 3, 0, last }, dims[] = { 2, 3 };
    const struct om_tensor in = {
        .name = "position_ids", .dtype = OM_I64, .rank = 2, .dims = dims, .data = ids
    };
    const struct om_tensor *out = run(t, f, &in, 1);

    if (!out)
        return NAN;
    CHECK_INT(t, out->rank, 3);
    CHECK_INT(t, out->dims[2], 4);
    return ((const float *)out->data)[6 * 4 - 1];
}

static double grown_frequency(double length, double limit, double factor)
{
    const double base = 10000.0 * pow(factor * length / limit - (factor - 1.0), 8.0 / 6.0);

    return 1.0 / pow(base, 6.0 / 8.0);
}

static void by_length(struct test *t)
{
    static const char dynamic[] = "{\"max_position_embeddings\":10,\"rope_scaling\":{\"type\":"
                                  "\"dynamic\",\"factor\":4}}";
    static const char longrope[] =
        "{\"max_position_embeddings\":40,\"original_max_position_embeddings\":10,\"rope_scaling\":{"
        "\"type\":\"longrope\",\"short_factor\":[1,1,1,2],\"long_factor\":[1,1,1,5],"
        "\"attention_factor\":0.5}}";
    const double plain = pow(10000.0, -0.75);
    const struct {
        const char *config;
        int64_t last;
        double frequency, factor;
    } cases[] = {
        { dynamic, 4, plain, 1.0 },
        { dynamic, 9, plain, 1.0 },
        { dynamic, 10, grown_frequency(11, 10, 4), 1.0 },
        { dynamic, 5000, grown_frequency(5001, 10, 4), 1.0 },
        { longrope, 9, plain / 2.0, 0.5 },
        { longrope, 10, plain / 5.0, 0.5 },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_rope_config c;
        struct om_rope r;
        struct fixture f;
        om_scope root;

        test_case(t, "%s, last position %" PRId64, cases[i].config, cases[i].last);
        if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), "{\"model_type\":\"llama\"}"))
            return;
        root = fixture_begin(t, &f);
        c = read_config(t, &f.arena, cases[i].config);
        r = om_rope_tables(root, &c, om_builder_input(&f.b, "position_ids", OM_I64, text_axes));
        om_output(root, "cos", r.cos);
        CHECK_OK(t, fixture_finish(&f), &f.err);
        CHECK(t, fabs(last_cosine(t, &f, cases[i].last) -
                      cases[i].factor * cos((double)cases[i].last * cases[i].frequency)) < 1e-5);
        fixture_close(&f);
    }
}

/* Half of the head turns, the rest passes. */
static void partial(struct test *t)
{
    static const char *const axes[] = { "batch_size", "1", "sequence_length", "8", NULL };
    const float x[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    const int64_t at[] = { 3 }, at_dims[] = { 1, 1 }, x_dims[] = { 1, 1, 1, 8 };
    const struct om_tensor in[] = {
        { .name = "position_ids", .dtype = OM_I64, .rank = 2, .dims = at_dims, .data = at },
        { .name = "x", .dtype = OM_F32, .rank = 4, .dims = x_dims, .data = x },
    };
    const double a = 3.0, b = 3.0 / 100.0; /* theta 10000, dims 4: frequencies 1 and 1/100 */
    const double want[] = { 1 * cos(a) - 3 * sin(a),
                            2 * cos(b) - 4 * sin(b),
                            3 * cos(a) + 1 * sin(a),
                            4 * cos(b) + 2 * sin(b),
                            5,
                            6,
                            7,
                            8 };
    const struct om_tensor *out;
    struct om_rope_config c;
    struct om_rope r;
    struct fixture f;
    om_scope root;

    if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), "{\"model_type\":\"llama\"}"))
        return;
    root = fixture_begin(t, &f);
    c = read_config(t, &f.arena, "{\"partial_rotary_factor\":0.5}");
    r = om_rope_tables(root, &c, om_builder_input(&f.b, "position_ids", OM_I64, text_axes));
    om_output(root, "y", om_rope_apply(root, &r, om_builder_input(&f.b, "x", OM_F32, axes)));
    CHECK_OK(t, fixture_finish(&f), &f.err);
    out = run(t, &f, in, OM_COUNT(in));
    for (int i = 0; out && i < 8; i++)
        CHECK(t, fabs((double)((const float *)out->data)[i] - want[i]) < 1e-5);
    fixture_close(&f);
}

const struct test_entry t_rope[] = { { "recorded", recorded }, { "refused", refused },
                                     { "places", places },     { "by_length", by_length },
                                     { "partial", partial },   TEST_END };
