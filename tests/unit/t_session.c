/* tests/unit/t_session.c: sessions on models that the test writes itself, and the search for ONNX
 * Runtime. */
#include <optimum/session.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/wire.h"
#include "ort/api.h"
#include "test.h"

/* ---- tiny ONNX models ---- */

enum { FLOAT = 1, INT64 = 7, STRING = 8, FLOAT8 = 17, SEQUENCE = -1, MAP = -2 };

struct port {
    const char *name;
    int type;         /* TensorProto.DataType, SEQUENCE or MAP */
    const char *dims; /* "batch,3", "" for a scalar, "?" for an axis without name; NULL: no shape */
};

struct node {
    const char *op, *in, *out; /* names separated by commas */
};

struct weight {
    const char *name;
    const char *file; /* external data; NULL: the values are in the model */
    const char *dims;
    const float *values;
    size_t n;
};

struct model {
    struct node nodes[3];
    struct port inputs[3], outputs[3];
    struct weight weights[2];
};

static void put_str(struct om_buf *b, uint32_t number, const char *s)
{
    om_wire_put_bytes(b, number, om_sv_str(s));
}

static void put_list(struct om_buf *b, uint32_t number, const char *list)
{
    om_sv rest = om_sv_str(list), part;

    while (om_sv_split(&rest, ',', &part))
        om_wire_put_bytes(b, number, part);
}

static void put_shape(struct om_buf *b, const char *dims)
{
    const size_t shape = om_wire_begin(b, 2);
    om_sv rest = om_sv_str(dims), part;
    int64_t value;

    while (rest.len && om_sv_split(&rest, ',', &part)) {
        const size_t dim = om_wire_begin(b, 1);

        if (om_sv_i64(part, &value))
            om_wire_put_int(b, 1, value);
        else if (!om_sv_is(part, "?"))
            om_wire_put_bytes(b, 2, part);
        om_wire_end(b, dim);
    }
    om_wire_end(b, shape);
}

static void put_tensor_type(struct om_buf *b, int type, const char *dims)
{
    const size_t tensor = om_wire_begin(b, 1);

    om_wire_put_int(b, 1, type);
    if (dims)
        put_shape(b, dims);
    om_wire_end(b, tensor);
}

static void put_type(struct om_buf *b, const struct port *p)
{
    size_t outer, inner;

    if (p->type > 0) {
        put_tensor_type(b, p->type, p->dims);
        return;
    }
    outer = om_wire_begin(b, p->type == SEQUENCE ? 4 : 5);
    if (p->type == MAP)
        om_wire_put_int(b, 1, INT64);
    inner = om_wire_begin(b, p->type == SEQUENCE ? 1 : 2);
    put_tensor_type(b, FLOAT, NULL);
    om_wire_end(b, inner);
    om_wire_end(b, outer);
}

static void put_port(struct om_buf *b, uint32_t number, const struct port *p)
{
    const size_t info = om_wire_begin(b, number);
    size_t type;

    put_str(b, 1, p->name);
    type = om_wire_begin(b, 2);
    put_type(b, p);
    om_wire_end(b, type);
    om_wire_end(b, info);
}

static void put_weight(struct om_buf *b, const struct weight *w)
{
    const size_t tensor = om_wire_begin(b, 5);
    om_sv rest = om_sv_str(w->dims), part;
    int64_t dim;
    size_t entry;

    while (om_sv_split(&rest, ',', &part) && om_sv_i64(part, &dim))
        om_wire_put_int(b, 1, dim);
    om_wire_put_int(b, 2, FLOAT);
    put_str(b, 8, w->name);
    if (!w->file) {
        om_wire_put_bytes(b, 9, (om_sv){ (const char *)w->values, w->n * sizeof(float) });
    } else {
        entry = om_wire_begin(b, 13);
        put_str(b, 1, "location");
        put_str(b, 2, w->file);
        om_wire_end(b, entry);
        om_wire_put_int(b, 14, 1);
    }
    om_wire_end(b, tensor);
}

static void put_graph(struct om_buf *b, const struct model *m)
{
    const size_t graph = om_wire_begin(b, 7);

    for (size_t i = 0; i < OM_COUNT(m->nodes) && m->nodes[i].op; i++) {
        const size_t node = om_wire_begin(b, 1);

        put_list(b, 1, m->nodes[i].in);
        put_list(b, 2, m->nodes[i].out);
        put_str(b, 4, m->nodes[i].op);
        om_wire_end(b, node);
    }
    put_str(b, 2, "g");
    for (size_t i = 0; i < OM_COUNT(m->weights) && m->weights[i].name; i++)
        put_weight(b, &m->weights[i]);
    for (size_t i = 0; i < OM_COUNT(m->inputs) && m->inputs[i].name; i++)
        put_port(b, 11, &m->inputs[i]);
    for (size_t i = 0; i < OM_COUNT(m->outputs) && m->outputs[i].name; i++)
        put_port(b, 12, &m->outputs[i]);
    om_wire_end(b, graph);
}

static struct om_buf model_bytes(const struct model *m)
{
    struct om_buf b = OM_BUF_INIT(1u << 20);
    size_t opset;

    om_wire_put_int(&b, 1, 9); /* ir_version */
    put_graph(&b, m);
    opset = om_wire_begin(&b, 8);
    put_str(&b, 1, "");
    om_wire_put_int(&b, 2, 18);
    om_wire_end(&b, opset);
    return b;
}

static const struct model add_model = {
    .nodes = { { "Add", "x,y", "sum" }, { "Neg", "sum", "minus" } },
    .inputs = { { "x", FLOAT, "batch,3" }, { "y", FLOAT, "batch,3" } },
    .outputs = { { "sum", FLOAT, "batch,3" }, { "minus", FLOAT, "batch,3" } },
};

static const float weight_values[] = { 1, 2, 3, 4, 5, 6 }; /* 3 x 2 */

/* ---- helpers ---- */

/* False when there is no ONNX Runtime to test with: the test is then skipped, or has failed where
 * it is required. */
static bool have_ort(struct test *t)
{
    struct om_error err = OM_ERROR_INIT;
    const char *must = getenv("OM_REQUIRE_ORT");
    const bool have = om_ort_version(NULL, NULL, &err) == 0;

    if (!have && must && strcmp(must, "1") == 0)
        test_check(t, false, __FILE__, __LINE__, "%s", om_error_text(&err));
    else if (!have)
        test_skip(t, "no ONNX Runtime");
    om_error_release(&err);
    return have;
}

static struct om_session *open_model(struct test *t, const struct model *m)
{
    struct om_buf b = model_bytes(m);
    struct om_error err = OM_ERROR_INIT;
    struct om_session *s = NULL;

    CHECK_OK(t, om_session_open_bytes(NULL, b.ptr, b.len, NULL, NULL, &s, &err), &err);
    om_error_release(&err);
    om_buf_release(&b);
    return s;
}

/* Opening must fail with this code and these parts in its message. */
static void check_refused(struct test *t, const struct model *m, const struct om_session_opts *o,
                          int code, const char *part, const char *part2)
{
    struct om_buf b = model_bytes(m);
    struct om_error err = OM_ERROR_INIT;
    struct om_session *s = NULL;

    CHECK_INT(t, om_session_open_bytes(NULL, b.ptr, b.len, NULL, o, &s, &err), code);
    CHECK_HAS(t, om_error_text(&err), part);
    CHECK_HAS(t, om_error_text(&err), part2);
    CHECK(t, strchr(om_error_text(&err), '\n') == NULL);
    CHECK(t, s == NULL);
    om_session_free(s);
    om_error_release(&err);
    om_buf_release(&b);
}

static void write_file(struct test *t, const char *dir, const char *name, const void *data,
                       size_t len)
{
    struct om_out o = OM_OUT_INIT;
    struct om_error err = OM_ERROR_INIT;

    CHECK_OK(t, om_out_open(&o, dir, name, NULL, &err), &err);
    CHECK_OK(t, om_out_write(&o, data, len, &err), &err);
    CHECK_OK(t, om_out_commit(&o, false, &err), &err);
    om_error_release(&err);
}

#define DIMS(...) ((const int64_t[]){ __VA_ARGS__ })
#define F32S(...) ((const float[]){ __VA_ARGS__ })

static struct om_tensor f32(const char *name, uint32_t rank, const int64_t *dims, const float *data)
{
    return (struct om_tensor){ name, OM_F32, rank, dims, data };
}

static void check_floats(struct test *t, const struct om_tensor *got, const float *want, size_t n)
{
    uint64_t bytes = 0;

    CHECK(t, got != NULL);
    if (!got)
        return;
    CHECK_INT(t, got->dtype, OM_F32);
    CHECK(t, om_tensor_bytes(got, &bytes));
    CHECK_INT(t, bytes, n * sizeof(float));
    if (bytes == n * sizeof(float))
        CHECK(t, n == 0 || memcmp(got->data, want, n * sizeof(float)) == 0);
}

/* ---- tests ---- */

static void version(struct test *t)
{
    struct om_error err = OM_ERROR_INIT;
    const char *text = NULL, *path = NULL;

    if (!have_ort(t))
        return;
    CHECK_OK(t, om_ort_version(&text, &path, &err), &err);
    CHECK(t, text && om_sv_starts(om_sv_str(text), OM_SVL("1.")));
    CHECK_HAS(t, path, "libonnxruntime.so");
    om_error_release(&err);
}

static void ports(struct test *t)
{
    static const struct model m = {
        .nodes = { { "Identity", "a", "b" }, { "Identity", "s", "s2" }, { "Identity", "u", "u2" } },
        .inputs = { { "a", INT64, "batch,?,16" }, { "s", FLOAT, "" }, { "u", FLOAT, NULL } },
        .outputs = { { "b", INT64, "batch,?,16" }, { "s2", FLOAT, "" }, { "u2", FLOAT, NULL } },
    };
    struct om_session *s;
    const struct om_session_port *p;

    if (!have_ort(t))
        return;
    s = open_model(t, &m);
    if (!s)
        return;
    CHECK_INT(t, om_session_input_count(s), 3);
    CHECK_INT(t, om_session_output_count(s), 3);
    p = om_session_input(s, 0);
    CHECK_STR(t, p->name, "a");
    CHECK_INT(t, p->dtype, OM_I64);
    CHECK_INT(t, p->rank, 3);
    CHECK_INT(t, p->dims[0], -1);
    CHECK_STR(t, p->dim_names[0], "batch");
    CHECK_INT(t, p->dims[1], -1);
    CHECK_STR(t, p->dim_names[1], "");
    CHECK_INT(t, p->dims[2], 16);
    CHECK_STR(t, p->dim_names[2], "");
    CHECK(t, !p->any_rank);
    CHECK_INT(t, om_session_input(s, 1)->rank, 0);
    CHECK(t, om_session_input(s, 2)->any_rank);
    CHECK_STR(t, om_session_output(s, 0)->name, "b");
    CHECK(t, om_session_input(s, 3) == NULL);
    CHECK(t, om_session_output(s, 3) == NULL);
    om_session_free(s);
}

static void run_add(struct test *t)
{
    const struct om_tensor in[] = { /* not in the model's order */
                                    f32("y", 2, DIMS(2, 3), F32S(10, 20, 30, 40, 50, 60)),
                                    f32("x", 2, DIMS(2, 3), F32S(1, 2, 3, 4, 5, 6))
    };
    struct om_error err = OM_ERROR_INIT;
    struct om_results *r = NULL;
    struct om_session *s;

    if (!have_ort(t))
        return;
    s = open_model(t, &add_model);
    if (!s)
        return;
    CHECK_OK(t, om_session_run(s, in, 2, &r, &err), &err);
    om_session_free(s); /* results stand alone */
    if (r) {
        CHECK_INT(t, om_results_count(r), 2);
        CHECK_STR(t, om_results_at(r, 0)->name, "sum");
        check_floats(t, om_results_at(r, 0), F32S(11, 22, 33, 44, 55, 66), 6);
        check_floats(t, om_results_find(r, "minus"), F32S(-11, -22, -33, -44, -55, -66), 6);
        CHECK_INT(t, om_results_at(r, 0)->rank, 2);
        CHECK_INT(t, om_results_at(r, 0)->dims[0], 2);
        CHECK(t, om_results_at(r, 2) == NULL);
        CHECK(t, om_results_find(r, "other") == NULL);
    }
    om_results_free(r);
    om_error_release(&err);
}

static void some_outputs(struct test *t)
{
    static const char *const one[] = { "minus" }, *const wrong[] = { "minus", "product" };
    const struct om_tensor in[] = { f32("x", 2, DIMS(1, 3), F32S(1, 2, 3)),
                                    f32("y", 2, DIMS(1, 3), F32S(0, 0, 1)) };
    struct om_error err = OM_ERROR_INIT;
    struct om_results *r = NULL;
    struct om_session *s;

    if (!have_ort(t))
        return;
    s = open_model(t, &add_model);
    if (!s)
        return;
    CHECK_OK(t, om_session_run_outputs(s, in, 2, one, 1, &r, &err), &err);
    if (r) {
        CHECK_INT(t, om_results_count(r), 1);
        check_floats(t, om_results_find(r, "minus"), F32S(-1, -2, -4), 3);
    }
    om_results_free(r);
    r = NULL;
    CHECK_INT(t, om_session_run_outputs(s, in, 2, wrong, 2, &r, &err), OM_E_USAGE);
    CHECK_HAS(t, om_error_text(&err),
              "output \"product\": the model has no such output, it has \"sum\", \"minus\"");
    CHECK(t, r == NULL);
    om_error_release(&err);
    om_session_free(s);
}

/* One output into memory of the caller, the other where ONNX Runtime puts it. */
static void into_memory(struct test *t)
{
    float room[3] = { 0, 0, 0 };
    const struct om_tensor in[] = { f32("x", 2, DIMS(1, 3), F32S(1, 2, 3)),
                                    f32("y", 2, DIMS(1, 3), F32S(0, 0, 1)) };
    struct om_tensor out[] = { f32("sum", 2, DIMS(1, 3), room), { .name = "minus" } };
    struct om_error err = OM_ERROR_INIT;
    struct om_results *r = NULL;
    struct om_session *s;

    if (!have_ort(t))
        return;
    s = open_model(t, &add_model);
    if (!s)
        return;
    CHECK_OK(t, om_session_run_into(s, in, 2, out, 2, &r, &err), &err);
    CHECK(t, room[0] == 1 && room[1] == 2 && room[2] == 4);
    if (r) {
        CHECK(t, om_results_at(r, 0)->data == room);
        check_floats(t, om_results_at(r, 1), F32S(-1, -2, -4), 3);
    }
    om_results_free(r);
    r = NULL;
    out[0].dims = DIMS(1, 2);
    CHECK(t, om_session_run_into(s, in, 2, out, 2, &r, &err) < 0);
    CHECK(t, r == NULL);
    out[0].dtype = OM_I64;
    CHECK_INT(t, om_session_run_into(s, in, 2, out, 2, &r, &err), OM_E_USAGE);
    CHECK_HAS(t, om_error_text(&err), "output \"sum\": expected float32, found int64");
    om_error_release(&err);
    om_session_free(s);
}

/* Bytes go in and come out unchanged for every type, from an odd address too. */
static void every_dtype(struct test *t)
{
    static const uint8_t ones[64] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                      1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };

    if (!have_ort(t))
        return;
    for (enum om_dtype d = OM_DTYPE_NONE + 1; d < OM_DTYPE_COUNT; d++) {
        for (size_t odd = 0; odd < 2; odd++) {
            const struct model m = { .nodes = { { "Identity", "x", "y" } },
                                     .inputs = { { "x", om_dtype_onnx(d), "n" } },
                                     .outputs = { { "y", om_dtype_onnx(d), "n" } } };
            const struct om_tensor in = { "x", d, 1, DIMS(4), ones + odd };
            struct om_error err = OM_ERROR_INIT;
            struct om_session *s = open_model(t, &m);
            struct om_results *r = NULL;

            test_case(t, "%s%s", om_dtype_text(d), odd ? " at an odd address" : "");
            if (!s)
                continue;
            CHECK_INT(t, om_session_input(s, 0)->dtype, d);
            CHECK_OK(t, om_session_run(s, &in, 1, &r, &err), &err);
            if (r) {
                CHECK_INT(t, om_results_at(r, 0)->dtype, d);
                CHECK_INT(t, om_results_at(r, 0)->dims[0], 4);
                CHECK(t, memcmp(om_results_at(r, 0)->data, ones, 4 * om_dtype_size(d)) == 0);
            }
            om_results_free(r);
            om_session_free(s);
            om_error_release(&err);
        }
    }
}

static void empty_and_scalar(struct test *t)
{
    const struct model m = {
        .nodes = { { "Add", "e,s", "e2" }, { "Neg", "s", "s2" } },
        .inputs = { { "e", FLOAT, "past,3" }, { "s", FLOAT, "" } },
        .outputs = { { "e2", FLOAT, "past,3" }, { "s2", FLOAT, "" } },
    };
    const struct om_tensor in[] = { f32("e", 2, DIMS(0, 3), NULL), f32("s", 0, NULL, F32S(7)) };
    struct om_error err = OM_ERROR_INIT;
    struct om_results *r = NULL;
    struct om_session *s;

    if (!have_ort(t))
        return;
    s = open_model(t, &m);
    if (!s)
        return;
    CHECK_OK(t, om_session_run(s, in, 2, &r, &err), &err);
    if (r) {
        check_floats(t, om_results_find(r, "e2"), NULL, 0);
        CHECK_INT(t, om_results_find(r, "e2")->dims[0], 0);
        CHECK_INT(t, om_results_find(r, "e2")->dims[1], 3);
        check_floats(t, om_results_find(r, "s2"), F32S(-7), 1);
        CHECK_INT(t, om_results_find(r, "s2")->rank, 0);
    }
    om_results_free(r);
    om_session_free(s);
    om_error_release(&err);
}

static void wrong_inputs(struct test *t)
{
    static const float data[16];
    const struct om_tensor x = f32("x", 2, DIMS(2, 3), data), y = f32("y", 2, DIMS(2, 3), data);
    const struct {
        const char *what;
        struct om_tensor in[3];
        size_t n;
        const char *want;
    } cases[] = {
        { "none", { x }, 0, "missing input \"x\", \"y\"" },
        { "one missing", { y }, 1, "missing input \"x\"" },
        { "surplus",
          { x, y, f32("z", 0, NULL, data) },
          3,
          "input \"z\": the model has no such input, it has \"x\", \"y\"" },
        { "no name", { { NULL, OM_F32, 0, NULL, data } }, 1, "input \"\": the model has no such" },
        { "twice", { x, x }, 2, "input \"x\" is given twice" },
        { "dtype",
          { x, { "y", OM_I64, 2, DIMS(2, 3), data } },
          2,
          "input \"y\": expected float32, found int64" },
        { "no dtype",
          { x, { "y", OM_DTYPE_NONE, 2, DIMS(2, 3), data } },
          2,
          "input \"y\": expected float32" },
        { "rank",
          { x, f32("y", 1, DIMS(3), data) },
          2,
          "input \"y\": expected shape (batch, 3), found (3)" },
        { "fixed dim",
          { x, f32("y", 2, DIMS(2, 4), data) },
          2,
          "input \"y\": expected shape (batch, 3), found (2, 4)" },
        { "negative dim",
          { x, f32("y", 2, DIMS(-2, 3), data) },
          2,
          "input \"y\": a dim is negative" },
        { "huge",
          { x, f32("y", 2, DIMS(INT64_MAX, 3), data) },
          2,
          "input \"y\": a dim is negative or the shape is too large" },
        { "no dims", { x, f32("y", 2, NULL, data) }, 2, "input \"y\": rank 2, but no dims" },
        { "no data",
          { x, f32("y", 2, DIMS(2, 3), NULL) },
          2,
          "input \"y\": 24 bytes, but no data" },
        { "shapes that do not add up", /* only the operator sees this */
          { x, f32("y", 2, DIMS(4, 3), data) },
          2,
          "ONNX Runtime: " },
    };
    struct om_session *s;

    if (!have_ort(t))
        return;
    s = open_model(t, &add_model);
    for (size_t i = 0; s && i < OM_COUNT(cases); i++) {
        struct om_error err = OM_ERROR_INIT;
        struct om_results *r = NULL;
        const int rc = om_session_run(s, cases[i].in, cases[i].n, &r, &err);

        test_case(t, "%s", cases[i].what);
        CHECK_INT(t, rc, i + 1 < OM_COUNT(cases) ? OM_E_USAGE : OM_E_RUNTIME);
        CHECK_HAS(t, om_error_text(&err), cases[i].want);
        CHECK(t, strchr(om_error_text(&err), '\n') == NULL);
        CHECK(t, r == NULL);
        om_results_free(r);
        om_error_release(&err);
    }
    om_session_free(s);
}

static void wrong_models(struct test *t)
{
    const struct {
        struct model m;
        int code;
        const char *want, *want2;
    } cases[] = {
        { { .nodes = { { "SequenceConstruct", "x", "seq" } },
            .inputs = { { "x", FLOAT, "n" } },
            .outputs = { { "seq", SEQUENCE, NULL } } },
          OM_E_UNSUPPORTED,
          "output \"seq\": expected a tensor, found a sequence",
          "" },
        { { .nodes = { { "SequenceLength", "seq", "n" } },
            .inputs = { { "seq", SEQUENCE, NULL } },
            .outputs = { { "n", INT64, "" } } },
          OM_E_UNSUPPORTED,
          "input \"seq\": expected a tensor, found a sequence",
          "" },
        { { .nodes = { { "Identity", "x", "y" } },
            .inputs = { { "x", STRING, "n" } },
            .outputs = { { "y", STRING, "n" } } },
          OM_E_UNSUPPORTED,
          "input \"x\": tensors of type string are not supported",
          "" },
        { { .nodes = { { "Cast8", "x", "y" } },
            .inputs = { { "x", FLOAT, "n" } },
            .outputs = { { "y", FLOAT, "n" } } },
          OM_E_FORMAT,
          "ONNX Runtime: ",
          "Cast8" },
        { { .nodes = { { "Add", "x,nowhere", "y" } },
            .inputs = { { "x", FLOAT, "n" } },
            .outputs = { { "y", FLOAT, "n" } } },
          OM_E_RUNTIME,
          "ONNX Runtime: ",
          "nowhere" },
    };

    if (!have_ort(t))
        return;
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "%s", cases[i].want);
        check_refused(t, &cases[i].m, NULL, cases[i].code, cases[i].want, cases[i].want2);
    }
}

static void wrong_files(struct test *t)
{
    static const struct {
        const char *name, *bytes;
        int code;
    } cases[] = {
        { "absent.onnx", NULL, OM_E_MISSING },
        { "garbage.onnx", "this is no protobuf at all", OM_E_FORMAT },
        { "empty.onnx", "", OM_E_RUNTIME },
    };
    const char *dir = test_tmpdir(t);
    struct om_arena a = OM_ARENA_INIT(1u << 20);

    if (!have_ort(t))
        return;
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const char *path = om_path_join(&a, dir, cases[i].name);
        struct om_error err = OM_ERROR_INIT;
        struct om_session *s = NULL;

        test_case(t, "%s", cases[i].name);
        if (cases[i].bytes)
            write_file(t, dir, cases[i].name, cases[i].bytes, strlen(cases[i].bytes));
        CHECK_INT(t, om_session_open(NULL, path, NULL, &s, &err), cases[i].code);
        CHECK(t, om_sv_starts(om_sv_str(om_error_text(&err)), om_sv_str(path)));
        CHECK(t, s == NULL);
        om_error_release(&err);
    }
    om_arena_release(&a);
}

/* A model cut anywhere is refused or opens; it never crashes. */
static void cut_models(struct test *t)
{
    struct om_buf b = model_bytes(&add_model);

    if (have_ort(t)) {
        for (size_t len = 0; len < b.len; len++) {
            struct om_error err = OM_ERROR_INIT;
            struct om_session *s = NULL;
            const int rc = om_session_open_bytes(NULL, b.ptr, len, NULL, NULL, &s, &err);

            test_case(t, "%zu bytes", len);
            CHECK_INT(t, rc < 0, om_error_text(&err)[0] != '\0');
            CHECK_INT(t, rc < 0, s == NULL);
            om_session_free(s);
            om_error_release(&err);
        }
    }
    om_buf_release(&b);
}

static const struct model matmul_model = {
    .nodes = { { "MatMul", "x,w", "y" } },
    .inputs = { { "x", FLOAT, "batch,length,3" } },
    .outputs = { { "y", FLOAT, "batch,length,2" } },
    .weights = { { "w", "weights.bin", "3,2", NULL, 0 } },
};

static void check_matmul(struct test *t, struct om_session *s)
{
    const struct om_tensor x = f32("x", 3, DIMS(1, 2, 3), F32S(1, 0, 0, 1, 1, 1));
    struct om_error err = OM_ERROR_INIT;
    struct om_results *r = NULL;

    CHECK_OK(t, om_session_run(s, &x, 1, &r, &err), &err);
    if (r)
        check_floats(t, om_results_find(r, "y"), F32S(1, 2, 9, 12), 4);
    om_results_free(r);
    om_error_release(&err);
}

static void external_data(struct test *t)
{
    struct om_buf b = model_bytes(&matmul_model);
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_session *s = NULL;
    const struct om_ort *ort = NULL;
    const char *dir = test_tmpdir(t), *path;

    if (!have_ort(t))
        goto out;
    write_file(t, dir, "model.onnx", b.ptr, b.len);
    path = om_path_join(&a, dir, "model.onnx");
    test_case(t, "data missing");
    CHECK(t, om_session_open(NULL, path, NULL, &s, &err) < 0);
    CHECK_HAS(t, om_error_text(&err), "weights.bin");
    om_error_release(&err);

    write_file(t, dir, "weights.bin", weight_values, sizeof(weight_values));
    test_case(t, "by path");
    CHECK_OK(t, om_session_open(NULL, path, NULL, &s, &err), &err);
    if (s)
        check_matmul(t, s);
    om_session_free(s);
    s = NULL;

    test_case(t, "by bytes and directory");
    CHECK_OK(t, om_ort_get(&ort, &err), &err);
    if (ort && ort->minor >= 21) {
        CHECK_OK(t, om_session_open_bytes(NULL, b.ptr, b.len, dir, NULL, &s, &err), &err);
        if (s)
            check_matmul(t, s);
    } else {
        CHECK_INT(t, om_session_open_bytes(NULL, b.ptr, b.len, dir, NULL, &s, &err),
                  OM_E_UNSUPPORTED);
    }
    om_session_free(s);
    s = NULL;
    om_error_release(&err);

    test_case(t, "by bytes without directory");
    CHECK(t, om_session_open_bytes(NULL, b.ptr, b.len, NULL, NULL, &s, &err) < 0);
    om_error_release(&err);
out:
    om_arena_release(&a);
    om_buf_release(&b);
}

static void good_options(struct test *t)
{
    static const char *const keys[] = { "session.set_denormal_as_zero" }, *const values[] = { "1" };
    static const struct om_provider cpu[] = { { .name = "CPUExecutionProvider" } };
    const struct om_session_opts cases[] = {
        { .struct_size = sizeof(struct om_session_opts), .providers = cpu, .n_providers = 1 },
        { .struct_size = sizeof(struct om_session_opts), .provider = "x", .providers = cpu },
        { .struct_size = sizeof(struct om_session_opts), .opt_level = OM_ORT_OPT_NONE },
        { .struct_size = sizeof(struct om_session_opts), .opt_level = OM_ORT_OPT_BASIC },
        { .struct_size = sizeof(struct om_session_opts), .opt_level = OM_ORT_OPT_EXTENDED },
        { .struct_size = sizeof(struct om_session_opts), .intra_op_threads = 1 },
        { .struct_size = sizeof(struct om_session_opts),
          .intra_op_threads = 2,
          .inter_op_threads = 2 },
        { .struct_size = sizeof(struct om_session_opts), .disable_prepacking = true },
        { .struct_size = sizeof(struct om_session_opts), .provider = "CPUExecutionProvider" },
        { .struct_size = sizeof(struct om_session_opts),
          .config_keys = keys,
          .config_values = values,
          .n_config = 1 },
        { .struct_size = offsetof(struct om_session_opts, intra_op_threads), /* an older caller */
          .intra_op_threads = -1 },
    };
    struct model m = matmul_model;
    struct om_buf b;

    if (!have_ort(t))
        return;
    m.weights[0] = (struct weight){ "w", NULL, "3,2", weight_values, 6 };
    b = model_bytes(&m);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_error err = OM_ERROR_INIT;
        struct om_session *s = NULL;

        test_case(t, "options %zu", i);
        CHECK_OK(t, om_session_open_bytes(NULL, b.ptr, b.len, NULL, &cases[i], &s, &err), &err);
        if (s)
            check_matmul(t, s);
        om_session_free(s);
        om_error_release(&err);
    }
    om_buf_release(&b);
}

static void wrong_options(struct test *t)
{
    static const char *const keys[] = { "" }, *const values[] = { "1" }, *const none[] = { NULL };
    static const struct om_provider no_name,
        two[] = { { .name = "CPUExecutionProvider" }, { "CPUExecutionProvider", keys, values, 1 } },
        half[] = { { "CPUExecutionProvider", keys, none, 1 } },
        bare[] = { { "CPUExecutionProvider", NULL, NULL, 1 } };
    const struct {
        struct om_session_opts o;
        int code;
        const char *want;
    } cases[] = {
        { { .struct_size = 0 }, OM_E_USAGE, "OM_SESSION_OPTS_INIT" },
        { { .struct_size = sizeof(struct om_session_opts), .intra_op_threads = -2 },
          OM_E_USAGE,
          "number of threads: expected 0 or more, found -2" },
        { { .struct_size = sizeof(struct om_session_opts), .opt_level = (enum om_ort_opt_level)9 },
          OM_E_USAGE,
          "optimization level 9" },
        { { .struct_size = sizeof(struct om_session_opts), .provider = "TPUExecutionProvider" },
          OM_E_RUNTIME,
          "provider TPUExecutionProvider is not in " },
        { { .struct_size = sizeof(struct om_session_opts),
            .providers = &no_name,
            .n_providers = 1 },
          OM_E_USAGE,
          "provider 0 has no name" },
        { { .struct_size = sizeof(struct om_session_opts), .providers = two, .n_providers = 2 },
          OM_E_USAGE,
          "provider CPUExecutionProvider: unknown option \"\", it has none" },
        { { .struct_size = sizeof(struct om_session_opts), .providers = half, .n_providers = 1 },
          OM_E_USAGE,
          "provider CPUExecutionProvider: option 0 has no value" },
        { { .struct_size = sizeof(struct om_session_opts), .providers = bare, .n_providers = 1 },
          OM_E_USAGE,
          "provider CPUExecutionProvider: 1 options, but no keys or values" },
        { { .struct_size = sizeof(struct om_session_opts), .n_config = 1 },
          OM_E_USAGE,
          "1 config entries, but no keys" },
        { { .struct_size = sizeof(struct om_session_opts),
            .config_keys = keys,
            .config_values = values,
            .n_config = 1 },
          OM_E_RUNTIME,
          "config entry \"\": ONNX Runtime: " },
        { { .struct_size = sizeof(struct om_session_opts),
            .config_keys = keys,
            .config_values = none,
            .n_config = 1 },
          OM_E_USAGE,
          "config entry 0 has no value" },
    };

    if (!have_ort(t))
        return;
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "%s", cases[i].want);
        check_refused(t, &add_model, &cases[i].o, cases[i].code, cases[i].want,
                      "model in memory: ");
    }
}

/* A provider that every published build of ONNX Runtime has beside the CPU. */
static void provider_list(struct test *t)
{
    static const struct om_provider list[] = { { .name = "AzureExecutionProvider" },
                                               { .name = "CPUExecutionProvider" } };
    struct om_session_opts o = OM_SESSION_OPTS_INIT;
    struct om_buf b = model_bytes(&add_model);
    struct om_error err = OM_ERROR_INIT;
    struct om_session *s = NULL;

    o.providers = list;
    o.n_providers = OM_COUNT(list);
    if (have_ort(t) && om_session_open_bytes(NULL, b.ptr, b.len, NULL, &o, &s, &err) < 0)
        CHECK_HAS(t, om_error_text(&err), "AzureExecutionProvider"); /* a build of one's own */
    om_session_free(s);
    om_error_release(&err);
    om_buf_release(&b);
}

/* The CPU build refuses CUDA by name; a build with it may also lack the driver. */
static void cuda(struct test *t)
{
    struct om_session_opts o = OM_SESSION_OPTS_INIT;
    struct om_buf b = model_bytes(&add_model);
    struct om_error err = OM_ERROR_INIT;
    struct om_session *s = NULL;

    o.provider = "CUDAExecutionProvider";
    if (have_ort(t) && om_session_open_bytes(NULL, b.ptr, b.len, NULL, &o, &s, &err) < 0)
        CHECK_HAS(t, om_error_text(&err), "CUDAExecutionProvider");
    om_session_free(s);
    om_error_release(&err);
    om_buf_release(&b);
}

static void profile(struct test *t)
{
    struct om_session_opts o = OM_SESSION_OPTS_INIT;
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_buf b = model_bytes(&add_model);
    struct om_error err = OM_ERROR_INIT;
    struct om_session *s = NULL;
    const char *dir = test_tmpdir(t), **names = NULL;
    size_t n = 0;

    if (have_ort(t)) {
        o.profile_prefix = om_path_join(&a, dir, "prof");
        CHECK_OK(t, om_session_open_bytes(NULL, b.ptr, b.len, NULL, &o, &s, &err), &err);
        om_session_free(s);
        CHECK_OK(t, om_dir_list(&a, dir, &names, &n, &err), &err);
        CHECK_INT(t, n, 1);
        if (n == 1)
            CHECK_HAS(t, names[0], "prof_");
    }
    om_error_release(&err);
    om_buf_release(&b);
    om_arena_release(&a);
}

static void count_line(void *user, enum om_level level, const char *line)
{
    if (level == OM_LOG_INFO && strstr(line, "ONNX Runtime: ") && strstr(line, "unused"))
        ++*(int *)user;
}

/* ONNX Runtime's warnings reach the context of the call that causes them, and nobody else. */
static void warnings(struct test *t)
{
    struct model m = matmul_model;
    struct om_ctx *ctx = om_ctx_new();
    struct om_error err = OM_ERROR_INIT;
    struct om_session *s = NULL;
    struct om_buf b;
    int lines = 0;

    m.weights[0] = (struct weight){ "w", NULL, "3,2", weight_values, 6 };
    m.weights[1] = (struct weight){ "unused", NULL, "3,2", weight_values, 6 };
    b = model_bytes(&m);
    CHECK(t, ctx != NULL);
    om_ctx_set_log(ctx, count_line, &lines, OM_LOG_INFO);
    if (have_ort(t)) {
        CHECK_OK(t, om_session_open_bytes(ctx, b.ptr, b.len, NULL, NULL, &s, &err), &err);
        CHECK(t, lines > 0);
        om_session_free(s);
        s = NULL;
        lines = 0;
        CHECK_OK(t, om_session_open_bytes(NULL, b.ptr, b.len, NULL, NULL, &s, &err), &err);
        CHECK_INT(t, lines, 0);
        om_session_free(s);
        s = NULL;
        om_ctx_cancel(ctx);
        CHECK_INT(t, om_session_open_bytes(ctx, b.ptr, b.len, NULL, NULL, &s, &err),
                  OM_E_CANCELLED);
    }
    om_error_release(&err);
    om_ctx_free(ctx);
    om_buf_release(&b);
}

/* ---- several threads on one session ---- */

#define THREADS 4
#define RUNS 50

struct worker {
    struct om_session *s;
    float base;
    int good;
};

static void *work(void *user)
{
    struct worker *w = user;

    for (int i = 0; i < RUNS; i++) {
        const float x[] = { w->base, (float)i, 1 }, y[] = { 1, 2, 3 };
        const struct om_tensor in[] = { f32("x", 2, DIMS(1, 3), x), f32("y", 2, DIMS(1, 3), y) };
        struct om_results *r = NULL;

        if (om_session_run(w->s, in, 2, &r, NULL) == 0) {
            const float *sum = om_results_at(r, 0)->data;
            w->good += sum[0] == w->base + 1 && sum[1] == (float)i + 2 && sum[2] == 4;
        }
        om_results_free(r);
    }
    return NULL;
}

static void threads(struct test *t)
{
    struct om_session *s;
    struct worker workers[THREADS];
    pthread_t ids[THREADS];

    if (!have_ort(t))
        return;
    s = open_model(t, &add_model);
    for (int i = 0; s && i < THREADS; i++) {
        workers[i] = (struct worker){ s, (float)(100 * i), 0 };
        CHECK_INT(t, pthread_create(&ids[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; s && i < THREADS; i++) {
        pthread_join(ids[i], NULL);
        CHECK_INT(t, workers[i].good, RUNS);
    }
    om_session_free(s);
}

static void *ask(void *user)
{
    (void)user;
    return (void *)(uintptr_t)(om_ort_version(NULL, NULL, NULL) == 0);
}

/* The library is opened by whichever thread comes first. */
static void first_use(struct test *t)
{
    pthread_t ids[THREADS];
    void *first = NULL;

    for (int i = 0; i < THREADS; i++)
        CHECK_INT(t, pthread_create(&ids[i], NULL, ask, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        void *have = NULL;

        pthread_join(ids[i], &have);
        if (i == 0)
            first = have;
        CHECK(t, have == first);
    }
}

/* ---- the search ---- */

static const char *program_path(struct om_arena *a)
{
    char exe[4096];
    const ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe));

    return len < 0 ? "" : om_arena_str(a, (om_sv){ exe, (size_t)len });
}

static const char *stub_path(struct om_arena *a, const char *name)
{
    const char *exe = program_path(a), *slash = strrchr(exe, '/');

    return om_arena_printf(a, "%.*s/stubs/%s", slash ? (int)(slash - exe) : 0, exe, name);
}

static void refused_libraries(struct test *t)
{
    static const struct {
        const char *file, *want;
    } cases[] = {
        { "libort-old.so", "it is version 1.16.3, expected 1.17 or a newer 1.x" },
        { "libort-two.so", "it is version 2.0.0, expected 1.17 or a newer 1.x" },
        { "libort-garbage.so", "its version is \"latest\", expected 1.17 or newer" },
        { "libort-no-api.so", "version 1.99.0 does not offer its API version" },
        { "libort-nothing.so", "it has no OrtGetApiBase" },
        { "libort-absent.so", "No such file" },
        { "", "no libonnxruntime.so in " }, /* the directory */
    };
    struct om_arena a = OM_ARENA_INIT(1u << 20);

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const char *path = stub_path(&a, cases[i].file);
        struct om_error err = OM_ERROR_INIT;
        struct om_ort ort = { .version = NULL };

        test_case(t, "%s", cases[i].file);
        CHECK_INT(t, om_ort_open(path, &ort, &err), OM_E_RUNTIME);
        CHECK_HAS(t, om_error_text(&err), path);
        CHECK_HAS(t, om_error_text(&err), cases[i].want);
        CHECK_HAS(t, om_error_text(&err), "OPTIMUM_ORT_LIBRARY");
        CHECK(t, strchr(om_error_text(&err), '\n') == NULL);
        om_error_release(&err);
    }
    om_arena_release(&a);
}

/* A directory is searched for libonnxruntime.so*, and what is no library is named with the loader's
 * reason. */
static void library_directory(struct test *t)
{
    const char *dir = test_tmpdir(t);
    struct om_error err = OM_ERROR_INIT;
    struct om_ort ort = { .version = NULL };

    write_file(t, dir, "libonnxruntime.so.1.20.0", "not ELF at all", 14);
    write_file(t, dir, "libother.so", "neither", 7);
    CHECK_INT(t, om_ort_open(dir, &ort, &err), OM_E_RUNTIME);
    CHECK_HAS(t, om_error_text(&err), "libonnxruntime.so.1.20.0: ");
    CHECK(t, strstr(om_error_text(&err), "libother") == NULL);
    om_error_release(&err);
}

/* The environment decides in a process that has not opened ONNX Runtime yet: this program again,
 * with one test that fails there and says why. */
static void library_variable(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    char text[1024];
    const char *command =
        om_arena_printf(&a, "OPTIMUM_ORT_LIBRARY='%s' OM_REQUIRE_ORT=1 '%s' session/version 2>&1",
                        stub_path(&a, "libort-old.so"), program_path(&a));
    FILE *f = command ? popen(command, "r") : NULL;

    CHECK(t, f != NULL);
    if (f) {
        text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
        CHECK(t, pclose(f) != 0);
        CHECK_HAS(t, text, "OPTIMUM_ORT_LIBRARY: ");
        CHECK_HAS(t, text, "it is version 1.16.3, expected 1.17 or a newer 1.x");
        CHECK_HAS(t, text, "1 failed");
    }
    om_arena_release(&a);
}

const struct test_entry t_session[] = {
    { "first use from several threads", first_use },
    { "version", version },
    { "ports", ports },
    { "run", run_add },
    { "some outputs", some_outputs },
    { "into memory", into_memory },
    { "every dtype", every_dtype },
    { "empty and scalar tensors", empty_and_scalar },
    { "wrong inputs", wrong_inputs },
    { "wrong models", wrong_models },
    { "wrong files", wrong_files },
    { "cut models", cut_models },
    { "external data", external_data },
    { "options", good_options },
    { "wrong options", wrong_options },
    { "provider list", provider_list },
    { "cuda", cuda },
    { "profile", profile },
    { "warnings", warnings },
    { "threads", threads },
    { "refused libraries", refused_libraries },
    { "library directory", library_directory },
    { "library variable", library_variable },
    TEST_END,
};
