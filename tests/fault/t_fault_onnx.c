/* tests/fault/t_fault_onnx.c: models written and read back under failing allocations, reads and
 * writes: a message, nothing leaked, no incomplete file under a final name. */
#include "fault/fault.h"
#include "onnx/onnx.h"

#include <stdio.h>

enum { ROWS = 300, COLS = 200 };

struct model {
    const char *dir;
    enum om_weights_mode mode;
    struct om_arena arena;
    struct om_file source;
    struct om_graph *g;
};

static const int64_t plain_dims[] = { ROWS, COLS }, turned_dims[] = { COLS, ROWS },
                     turned_strides[] = { 1, COLS };

/* MatMul(x, cast) + MatMul(x, transposed) + constant. */
static int build(struct model *m, struct om_error *err)
{
    struct om_weight w = { .name = OM_SVL("cast"),
                           .dtype = OM_F32,
                           .src_dtype = OM_F16,
                           .rank = 2,
                           .dims = turned_dims,
                           .file = &m->source,
                           .data = m->source.data,
                           .bytes = ROWS * COLS * 2 };
    struct om_weight t = { .name = OM_SVL("turned"),
                           .dtype = OM_F32,
                           .src_dtype = OM_F32,
                           .rank = 2,
                           .dims = turned_dims,
                           .file = &m->source,
                           .data = m->source.data,
                           .bytes = ROWS * COLS * 4,
                           .strides = turned_strides };
    struct om_weight p = t;
    static const float half = 0.5F;
    struct om_graph *g;

    OM_TRY(om_graph_new(&m->arena, NULL, OM_SVL("g"), &m->g, err));
    g = m->g;
    p.name = OM_SVL("plain");
    p.dims = plain_dims;
    p.strides = NULL;
    const om_dim dims[] = { om_dim_symbol(g->dims, OM_SVL("n")), om_dim_const(g->dims, COLS) };
    const om_val x = om_graph_input(g, OM_SVL("x"), OM_F32, dims, 2);
    const om_val a[] = { x, om_graph_weight(g, &w) }, b[] = { x, om_graph_weight(g, &t) };
    const om_val sum[] = { om_graph_emit(g, OM_OP_MatMul, OM_SVL("a"), a, 2, NULL, 0),
                           om_graph_emit(g, OM_OP_MatMul, OM_SVL("b"), b, 2, NULL, 0) };
    const om_val y = om_graph_emit(g, OM_OP_Add, OM_SVL("c"), sum, 2, NULL, 0);
    const om_val c[] = { y, om_graph_weight(g, &p) };
    const om_val z = om_graph_emit(g, OM_OP_MatMul, OM_SVL("d"), c, 2, NULL, 0);
    const om_val e[] = { z, om_graph_const(g, OM_F32, NULL, 0, &half) };
    om_graph_output(g, OM_SVL("y"), om_graph_emit(g, OM_OP_Mul, OM_SVL("e"), e, 2, NULL, 0), NULL);
    return om_graph_finish(g, err);
}

static bool setup(struct test *t, struct model *m)
{
    struct om_error err = OM_ERROR_INIT;
    static uint8_t bytes[ROWS * COLS * 4];
    struct om_out out = OM_OUT_INIT;

    *m = (struct model){ .dir = test_tmpdir(t), .source = OM_FILE_INIT };
    om_arena_init(&m->arena, 16u << 20);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37 % 61);
    const char *path = om_path_join(&m->arena, m->dir, "source");
    int rc = om_out_open(&out, m->dir, "source", NULL, &err);
    if (rc == 0)
        rc = om_out_write(&out, bytes, sizeof(bytes), &err);
    if (rc == 0)
        rc = om_out_commit(&out, false, &err);
    if (rc == 0)
        rc = om_file_map(&m->source, path, &err);
    if (rc == 0)
        rc = build(m, &err);
    CHECK_OK(t, rc, &err);
    om_error_release(&err);
    return rc == 0;
}

static int write_files(const struct model *m, struct om_arena *a, struct om_out *out,
                       struct om_out *weights, struct om_error *err)
{
    const struct om_onnx_opts opts = { .opset = 18, .mode = m->mode };
    struct om_onnx_data *data = NULL;
    int rc = om_out_open(out, m->dir, "model.onnx", NULL, err);

    if (rc == 0)
        rc = om_out_open(weights, m->dir, "model.onnx_data", NULL, err);
    if (rc == 0)
        rc = om_onnx_data_new(a, weights, "model.onnx_data", &data, err);
    if (rc == 0)
        rc = om_onnx_data_alias(data, &m->source, "source", err);
    if (rc == 0)
        rc = om_onnx_write(m->g, &opts, out, data, err);
    if (rc == 0)
        rc = om_out_commit(weights, false, err);
    if (rc == 0)
        rc = om_out_commit(out, false, err);
    om_onnx_data_free(data);
    return rc;
}

static int read_file(const struct model *m, struct om_arena *a, struct om_error *err)
{
    const char *path = om_path_join(a, m->dir, "model.onnx");
    struct om_onnx_file *file;
    struct om_graph *g;

    if (!path)
        return om_fail(err, OM_E_NOMEM, "out of memory for a path");
    OM_TRY(om_onnx_open(a, path, &file, &g, err));
    om_graph_free(g);
    om_onnx_close(file);
    return 0;
}

static int write_and_read(void *user, struct om_error *err)
{
    const struct model *const m = user;
    struct om_arena a = OM_ARENA_INIT(16u << 20);
    struct om_out out = OM_OUT_INIT, weights = OM_OUT_INIT;
    int rc = write_files(m, &a, &out, &weights, err);

    om_out_abort(&out);
    om_out_abort(&weights);
    if (rc == 0)
        rc = read_file(m, &a, err);
    om_arena_release(&a);
    return rc;
}

/* A model that has its name can be read. */
static void check_files(struct test *t, void *user, int rc)
{
    const struct model *const m = user;
    struct om_arena a = OM_ARENA_INIT(16u << 20);
    struct om_error err = OM_ERROR_INIT;
    char *const model = om_path_join(&a, m->dir, "model.onnx");
    char *const weights = om_path_join(&a, m->dir, "model.onnx_data");

    CHECK(t, rc < 0 || om_file_exists(model));
    if (om_file_exists(model))
        CHECK_OK(t, read_file(m, &a, &err), &err);
    remove(model);
    remove(weights);
    om_error_release(&err);
    om_arena_release(&a);
}

static void writing(struct test *t)
{
    static const enum om_weights_mode modes[] = { OM_WEIGHTS_EMBEDDED, OM_WEIGHTS_EXTERNAL,
                                                  OM_WEIGHTS_SAFETENSORS };
    struct model m;

    if (!setup(t, &m))
        return;
    for (size_t i = 0; i < OM_COUNT(modes); i++) {
        test_case(t, "mode %d", (int)modes[i]);
        m.mode = modes[i];
        fault_sweep(t, FAULT_MEMORY, write_and_read, check_files, &m);
        fault_sweep(t, FAULT_WRITE | FAULT_COPY | FAULT_READ, write_and_read, check_files, &m);
    }
    om_graph_free(m.g);
    om_file_unmap(&m.source);
    om_arena_release(&m.arena);
}

/* A full arena is an error like any other. */
static void small_arenas(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(16u << 20);
    const char *dir = test_data(t, "fuzz/onnx");
    const char *path = om_path_join(&a, dir, "operators.onnx");

    for (size_t max = 0, rc = 1; rc != 0; max += 101) {
        struct om_arena small = OM_ARENA_INIT(max);
        struct om_error err = OM_ERROR_INIT;
        struct om_onnx_file *file;
        struct om_graph *g;

        test_case(t, "arena of %zu", max);
        const int got = om_onnx_open(&small, path, &file, &g, &err);
        CHECK(t, got == 0 || (got == OM_E_NOMEM && om_error_text(&err)[0]));
        rc = got != 0;
        if (rc == 0) {
            om_graph_free(g);
            om_onnx_close(file);
        }
        om_error_release(&err);
        om_arena_release(&small);
        if (max > 1u << 20)
            break;
    }
    CHECK(t, om_file_exists(path));
    om_arena_release(&a);
}

const struct test_entry t_fault_onnx[] = { { "writing", writing },
                                           { "small_arenas", small_arenas },
                                           TEST_END };
