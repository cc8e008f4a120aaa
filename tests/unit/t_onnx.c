/* tests/unit/t_onnx.c: graphs written in every weight mode and read back, and files that lie. */
#include "onnx/onnx.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/half.h"
#include "base/wire.h"
#include "onnx/schema.h"
#include "test.h"

/* --- a checkpoint and graphs over it --- */

/* The parts of the source file. The first byte is a header's, so that nothing is aligned. */
enum {
    W_OFFSET = 1,               /* float32 [40, 8] */
    B_OFFSET = W_OFFSET + 1280, /* float32 [40] */
    H_OFFSET = B_OFFSET + 160,  /* float16 [40, 4] */
    K_OFFSET = H_OFFSET + 320,  /* int64 [2] */
    SOURCE_BYTES = K_OFFSET + 16
};

struct fixture {
    struct test *t;
    const char *dir;
    int opset;
    const char *version;
    struct om_arena arena;
    struct om_file source;
    struct om_error err;
};

static void write_bytes(struct test *t, const char *dir, const char *name, const void *data,
                        size_t len)
{
    struct om_out out = OM_OUT_INIT;

    CHECK_OK(t, om_out_open(&out, dir, name, NULL, NULL), NULL);
    CHECK_OK(t, om_out_write(&out, data, len, NULL), NULL);
    CHECK_OK(t, om_out_commit(&out, false, NULL), NULL);
}

static bool setup(struct fixture *f, struct test *t)
{
    uint8_t bytes[SOURCE_BYTES];
    const int64_t k[2] = { 0, 5 };

    *f = (struct fixture){ .t = t, .dir = test_tmpdir(t), .opset = 20, .source = OM_FILE_INIT };
    om_arena_init(&f->arena, 64u << 20);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37 % 61);
    memcpy(bytes + K_OFFSET, k, sizeof(k));
    write_bytes(t, f->dir, "model.safetensors", bytes, sizeof(bytes));
    const char *path = om_path_join(&f->arena, f->dir, "model.safetensors");
    const int rc = om_file_map(&f->source, path, &f->err);
    CHECK_OK(t, rc, &f->err);
    return rc == 0;
}

static void teardown(struct fixture *f)
{
    om_file_unmap(&f->source);
    om_error_release(&f->err);
    om_arena_release(&f->arena);
}

static struct om_weight view(const struct fixture *f, const char *name, enum om_dtype dtype,
                             const int64_t *dims, uint32_t rank, uint64_t offset)
{
    int64_t n;

    om_count(dims, rank, &n);
    return (struct om_weight){ .name = om_sv_str(name),
                               .dtype = dtype,
                               .src_dtype = dtype,
                               .rank = rank,
                               .dims = dims,
                               .file = &f->source,
                               .offset = offset,
                               .data = f->source.data + offset,
                               .bytes = (uint64_t)n * om_dtype_size(dtype) };
}

static om_val emit1(struct om_graph *g, enum om_op op, const char *scope, om_val a, om_val b,
                    const struct om_attr *attrs, uint32_t n_attrs)
{
    const om_val in[] = { a, b };

    return om_graph_emit(g, op, om_sv_str(scope), in, b.id ? 2 : 1, attrs, n_attrs);
}

static struct om_graph *new_graph(struct fixture *f)
{
    struct om_graph *g = NULL;

    CHECK_OK(f->t, om_graph_new(&f->arena, NULL, OM_SVL("main_graph"), &g, &f->err), &f->err);
    return g;
}

static om_val input(struct om_graph *g, const char *name, enum om_dtype dtype, const char *axes)
{
    om_sv rest = om_sv_str(axes), part;
    om_dim dims[OM_RANK_MAX];
    uint32_t rank = 0;

    while (rest.len > 0 && om_sv_split(&rest, ',', &part))
        dims[rank++] = om_dim_parse(g->dims, part);
    return om_graph_input(g, om_sv_str(name), dtype, dims, rank);
}

/* Two branches over values and weights of the outer graph. */
static om_val branches(struct om_graph *g, om_val y, om_val bias)
{
    const om_val flag = input(g, "use_bias", OM_BOOL, "");
    struct om_attr *a = om_arena_array(g->arena, 2, sizeof(*a));
    const om_val none = { 0 };

    a[0] = (struct om_attr){ .name = "then_branch", .kind = OM_ATTR_BLOCK };
    a[0].i = om_graph_block_begin(g, OM_SVL("with_bias"));
    om_graph_output(g, OM_SVL("then_y"), emit1(g, OM_OP_Add, "then", y, bias, NULL, 0), NULL);
    om_graph_block_end(g);
    a[1] = (struct om_attr){ .name = "else_branch", .kind = OM_ATTR_BLOCK };
    a[1].i = om_graph_block_begin(g, OM_SVL("without_bias"));
    om_graph_output(g, OM_SVL("else_y"), emit1(g, OM_OP_Identity, "else", y, none, NULL, 0), NULL);
    om_graph_block_end(g);
    return emit1(g, OM_OP_If, "merge", flag, none, a, 2);
}

/* Views, a cast, a transpose, tied and computed weights, branches, a left-out input, every kind of
 * attribute. */
static struct om_graph *rich_graph(struct fixture *f)
{
    static const int64_t wd[] = { 40, 8 }, bd[] = { 40 }, hd[] = { 40, 4 }, td[] = { 8, 40 },
                         ts[] = { 1, 8 }, kd[] = { 2 }, cd[] = { 40 }, one[] = { 1 },
                         perm[] = { 1, 0 };
    static const float clip = 40;
    static const int64_t fill = 7;
    static const struct om_weight fill_tensor = {
        .dtype = OM_I64, .src_dtype = OM_I64, .rank = 1, .dims = one, .data = &fill, .bytes = 8
    };
    static const struct om_attr
        trans_b[] = { { .name = "transB", .kind = OM_ATTR_INT, .i = 1 } },
        transpose[] = { { .name = "perm", .kind = OM_ATTR_INTS, .ints = perm, .n = 2 } },
        norm[] = { { .name = "epsilon", .kind = OM_ATTR_FLOAT, .f = 0.0009765625 } },
        gelu[] = { { .name = "approximate", .kind = OM_ATTR_STRING, .s = { "tanh", 4 } } },
        value[] = { { .name = "value", .kind = OM_ATTR_TENSOR, .tensor = &fill_tensor } };
    const om_val none = { 0 };
    struct om_graph *g = new_graph(f);
    struct om_weight w = view(f, "dense.weight", OM_F32, wd, 2, W_OFFSET);
    struct om_weight b = view(f, "dense.bias", OM_F32, bd, 1, B_OFFSET);
    struct om_weight tied = view(f, "head.bias", OM_F32, bd, 1, B_OFFSET);
    struct om_weight cast = view(f, "half.weight", OM_F16, hd, 2, H_OFFSET);
    struct om_weight turned = view(f, "turned.weight", OM_F32, wd, 2, W_OFFSET);
    struct om_weight shape = view(f, "extent", OM_I64, kd, 1, K_OFFSET);
    float ramp[40];

    cast.dtype = OM_F32;
    turned.strides = ts;
    turned.dims = td;
    for (int i = 0; i < 40; i++)
        ramp[i] = (float)i / 8;
    const om_val x = input(g, "x", OM_F32, "batch_size,8");
    const om_val bias = om_graph_weight(g, &b);
    const om_val gemm[] = { x, om_graph_weight(g, &w), bias };
    om_val y = om_graph_emit(g, OM_OP_Gemm, OM_SVL("dense"), gemm, 3, trans_b, 1);
    const om_val ln[] = { y, om_graph_const(g, OM_F32, cd, 1, ramp), om_graph_weight(g, &tied) };
    y = om_graph_emit(g, OM_OP_LayerNormalization, OM_SVL("norm"), ln, 3, norm, 1);
    const om_val clipped[] = { y, none, om_graph_const(g, OM_F32, NULL, 0, &clip) };
    y = om_graph_emit(g, OM_OP_Clip, OM_SVL("clip"), clipped, 3, NULL, 0);
    y = emit1(g, OM_OP_Gelu, "act", y, none, gelu, 1);
    y = branches(g, y, bias);
    om_graph_output(g, OM_SVL("y"), y, NULL);
    const om_val z = emit1(g, OM_OP_MatMul, "turned", x, om_graph_weight(g, &turned), NULL, 0);
    om_graph_output(g, OM_SVL("z"),
                    emit1(g, OM_OP_MatMul, "half", z, om_graph_weight(g, &cast), NULL, 0), NULL);
    om_graph_output(g, OM_SVL("z_t"), emit1(g, OM_OP_Transpose, "turn", z, none, transpose, 1),
                    NULL);
    om_graph_output(
        g, OM_SVL("filled"),
        emit1(g, OM_OP_ConstantOfShape, "fill", om_graph_weight(g, &shape), none, value, 1), NULL);
    return g;
}

static bool finish(struct fixture *f, struct om_graph *g)
{
    const int rc = om_graph_finish(g, &f->err);

    CHECK_OK(f->t, rc, &f->err);
    if (rc == 0)
        CHECK_OK(f->t, om_graph_verify(g, &f->err), &f->err);
    return rc == 0;
}

/* Write g to dir/name. The shared weight file is used unless NULL. */
static int write_graph(struct fixture *f, const struct om_graph *g, const char *name,
                       enum om_weights_mode mode, struct om_onnx_data *data)
{
    const struct om_onnx_opts opts = { .opset = f->opset,
                                       .mode = mode,
                                       .producer_version = f->version };
    struct om_out out = OM_OUT_INIT;
    int rc = om_out_open(&out, f->dir, name, NULL, &f->err);

    if (rc == 0)
        rc = om_onnx_write(g, &opts, &out, data, &f->err);
    if (rc == 0)
        rc = om_out_commit(&out, false, &f->err);
    om_out_abort(&out);
    return rc;
}

static struct om_onnx_data *new_data(struct fixture *f, struct om_out *out)
{
    struct om_onnx_data *d = NULL;

    CHECK_OK(f->t, om_out_open(out, f->dir, "model.onnx_data", NULL, &f->err), &f->err);
    CHECK_OK(f->t, om_onnx_data_new(&f->arena, out, "model.onnx_data", &d, &f->err), &f->err);
    CHECK_OK(f->t, om_onnx_data_alias(d, &f->source, "model.safetensors", &f->err), &f->err);
    return d;
}

/* The graph's text. Lines of weights are left out: transforms are done when it is read back, and
 * head.bias is tied. */
static char *dump(struct fixture *f, const struct om_graph *g)
{
    struct om_buf all = OM_BUF_INIT(1u << 20), kept = OM_BUF_INIT(1u << 20);
    om_sv rest, line;
    const char *tied;

    om_graph_dump(g, &all);
    rest = om_buf_sv(&all);
    while (rest.len > 0 && om_sv_split(&rest, '\n', &line)) {
        if (om_sv_starts(line, OM_SVL("weight ")) || om_sv_starts(line, OM_SVL("constant ")))
            continue;
        tied = memmem(line.ptr, line.len, "head.bias", 9);
        if (tied) {
            const size_t before = (size_t)(tied - line.ptr);

            om_buf_add(&kept, line.ptr, before);
            om_buf_adds(&kept, "dense.bias");
            line = (om_sv){ tied + 9, line.len - before - 9 };
        }
        om_buf_add(&kept, line.ptr, line.len);
        om_buf_addc(&kept, '\n');
    }
    char *text = om_arena_str(&f->arena, om_buf_sv(&kept));
    om_buf_release(&all);
    om_buf_release(&kept);
    return text;
}

static uint64_t file_size(struct fixture *f, const char *name)
{
    struct stat st;

    return stat(om_path_join(&f->arena, f->dir, name), &st) == 0 ? (uint64_t)st.st_size
                                                                 : UINT64_MAX;
}

static om_sv file_bytes(struct fixture *f, const char *name)
{
    om_sv s = { NULL, 0 };
    const char *path = om_path_join(&f->arena, f->dir, name);

    CHECK_OK(f->t, om_file_read(&f->arena, path, 1u << 20, &s, &f->err), &f->err);
    return s;
}

/* --- round trips --- */

/* The bytes of w as the file must hold them, by the obvious loops. */
static uint8_t *expected_bytes(struct fixture *f, const struct om_weight *w)
{
    const size_t size = om_dtype_size(w->src_dtype), n = (size_t)w->bytes / size;
    uint8_t *plain = om_arena_alloc(&f->arena, (size_t)w->bytes + 1);
    uint8_t *out = om_arena_alloc(&f->arena, (size_t)om_weight_bytes(w) + 1);
    uint8_t *joined = om_arena_alloc(&f->arena, (size_t)w->bytes + 1);
    const uint8_t *data = w->n_parts > 0 ? joined : w->data;

    for (size_t i = 0, at = 0; i < w->n_parts; at += (size_t)w->parts[i++].bytes)
        memcpy(joined + at, w->parts[i].data, (size_t)w->parts[i].bytes);
    for (size_t i = 0; w->strides && i < n; i++) {
        int64_t rest = (int64_t)i, at = 0;

        for (uint32_t k = w->rank; k-- > 0; rest /= w->dims[k])
            at += rest % w->dims[k] * w->strides[k];
        memcpy(plain + i * size, data + (size_t)at * size, size);
    }
    om_convert(out, w->dtype, w->strides ? plain : data, w->src_dtype, n);
    return out;
}

static const struct om_weight *find_weight(const struct om_graph *g, om_sv name)
{
    for (size_t i = 0; i < g->n_weights; i++)
        if (om_sv_eq(g->weights[i].name, name))
            return &g->weights[i];
    return NULL;
}

static void compare_weights(struct fixture *f, const struct om_graph *want,
                            const struct om_graph *got)
{
    for (size_t i = 0; i < want->n_weights; i++) {
        const struct om_weight *w = &want->weights[i], *r = find_weight(got, w->name);

        if (om_sv_is(w->name, "head.bias")) { /* tied to dense.bias */
            CHECK(f->t, r == NULL);
            continue;
        }
        test_check(f->t, r != NULL, __FILE__, __LINE__, "weight %.*s is missing", OM_SV(w->name));
        if (r)
            test_check(f->t,
                       r->bytes == om_weight_bytes(w) && r->dtype == w->dtype &&
                           memcmp(r->data, expected_bytes(f, w), (size_t)r->bytes) == 0,
                       __FILE__, __LINE__, "weight %.*s differs", OM_SV(w->name));
    }
}

static void check_read_back(struct fixture *f, const struct om_graph *want, const char *name)
{
    struct om_onnx_file *file;
    struct om_graph *got;
    const int rc =
        om_onnx_open(&f->arena, om_path_join(&f->arena, f->dir, name), &file, &got, &f->err);

    CHECK_OK(f->t, rc, &f->err);
    if (rc < 0)
        return;
    const struct om_onnx_meta *m = om_onnx_file_meta(file);
    CHECK(f->t, om_sv_is(m->producer_name, "optimum.c") && om_sv_is(m->graph_name, "main_graph"));
    CHECK_INT(f->t, m->opset, 20);
    CHECK_INT(f->t, m->ir_version, 9);
    CHECK_OK(f->t, om_graph_verify(got, &f->err), &f->err);
    CHECK_STR(f->t, dump(f, got), dump(f, want));
    compare_weights(f, want, got);
    om_graph_free(got);
    om_onnx_close(file);
}

static const struct {
    enum om_weights_mode mode;
    const char *name;
    bool data;
} modes[] = { { OM_WEIGHTS_EMBEDDED, "embedded", false },
              { OM_WEIGHTS_EXTERNAL, "external", true },
              { OM_WEIGHTS_SAFETENSORS, "safetensors", true } };

static void round_trip(struct test *t)
{
    struct fixture f;
    struct om_graph *g;

    if (!setup(&f, t))
        return;
    g = rich_graph(&f);
    for (size_t i = 0; finish(&f, g) && i < OM_COUNT(modes); i++) {
        struct om_out out = OM_OUT_INIT;
        struct om_onnx_data *data = modes[i].data ? new_data(&f, &out) : NULL;

        test_case(t, "%s", modes[i].name);
        CHECK_OK(t, write_graph(&f, g, "model.onnx", modes[i].mode, data), &f.err);
        if (data)
            CHECK_OK(t, om_out_commit(&out, false, &f.err), &f.err);
        om_onnx_data_free(data);
        check_read_back(&f, g, "model.onnx");
    }
    om_graph_free(g);
    teardown(&f);
}

/* The same bytes on every compiler and machine. */
static void known_bytes(struct test *t)
{
    struct fixture f;
    struct om_graph *g;
    om_sv want;

    if (!setup(&f, t))
        return;
    f.version = "0.1.0";
    g = rich_graph(&f);
    if (!finish(&f, g))
        return;
    CHECK_OK(t, write_graph(&f, g, "model.onnx", OM_WEIGHTS_EMBEDDED, NULL), &f.err);
    CHECK_OK(t, om_file_read(&f.arena, test_data(t, "fuzz/onnx/own.onnx"), 1u << 16, &want, &f.err),
             &f.err);
    CHECK(t, om_sv_eq(file_bytes(&f, "model.onnx"), want));
    om_graph_free(g);
    teardown(&f);
}

/* What others wrote: every form of a constant, most operators, branches with equal names. */
static void foreign_files(struct test *t)
{
    static const struct {
        const char *name, *line;
    } cases[] = {
        { "constants.onnx", "constant c4: int64[2] = 2 1" },
        { "constants.onnx", "constant wb: bool[2] = 1 0" },
        { "operators.onnx", "v48: float32[n*s, 8] = Reshape(v40, v47)" },
        { "operators.onnx", "v73: float32[n, 2*s] = Tile(v60, rep)" },
        { "opset13.onnx", "y: float32[n] = ReduceMean(x, constant_0) keepdims=0" },
        { "opset23.onnx", "prk: float32[b, 2, p + s, 8]" },
        { "branches.onnx", "    t: float32[n, 4] = Identity(x)" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_arena a = OM_ARENA_INIT(1u << 24);
        struct om_error err = OM_ERROR_INIT;
        struct om_buf text = OM_BUF_INIT(1u << 20);
        struct om_onnx_file *file;
        struct om_graph *g;

        test_case(t, "%s", cases[i].name);
        const char *path = om_path_join(&a, test_data(t, "fuzz/onnx"), cases[i].name);
        const int rc = om_onnx_open(&a, path, &file, &g, &err);
        CHECK_OK(t, rc, &err);
        if (rc == 0) {
            om_graph_dump(g, &text);
            CHECK_HAS(t, text.ptr, cases[i].line);
            om_graph_free(g);
            om_onnx_close(file);
        }
        om_buf_release(&text);
        om_error_release(&err);
        om_arena_release(&a);
    }
}

/* Branches need a newer IR version than their opset. */
static void ir_versions(struct test *t)
{
    static const struct {
        int opset, ir_version;
    } cases[] = { { 14, 9 }, { 18, 9 }, { 20, 9 }, { 21, 10 }, { 22, 10 }, { 23, 11 }, { 24, 12 } };
    struct fixture f;
    struct om_graph *g, *got;
    struct om_onnx_file *file;

    if (!setup(&f, t))
        return;
    g = new_graph(&f);
    const om_val x = input(g, "x", OM_F32, "batch_size,8");
    om_graph_output(g, OM_SVL("y"), branches(g, x, x), NULL);
    for (size_t i = 0; finish(&f, g) && i < OM_COUNT(cases); i++) {
        test_case(t, "opset %d", cases[i].opset);
        f.opset = cases[i].opset;
        CHECK_OK(t, write_graph(&f, g, "model.onnx", OM_WEIGHTS_EMBEDDED, NULL), &f.err);
        const char *path = om_path_join(&f.arena, f.dir, "model.onnx");
        const int rc = om_onnx_open(&f.arena, path, &file, &got, &f.err);
        CHECK_OK(t, rc, &f.err);
        if (rc < 0)
            continue;
        CHECK_INT(t, om_onnx_file_meta(file)->ir_version, cases[i].ir_version);
        om_graph_free(got);
        om_onnx_close(file);
    }
    om_graph_free(g);
    teardown(&f);
}

static void sizes(struct test *t)
{
    struct fixture f;
    struct om_graph *g;
    struct om_out out = OM_OUT_INIT;
    struct om_onnx_data *data;

    if (!setup(&f, t))
        return;
    g = rich_graph(&f);
    if (!finish(&f, g))
        return;
    CHECK_OK(t, write_graph(&f, g, "a.onnx", OM_WEIGHTS_EMBEDDED, NULL), &f.err);
    CHECK_INT(t, om_onnx_embedded_size(g), file_size(&f, "a.onnx"));
    CHECK_OK(t, write_graph(&f, g, "b.onnx", OM_WEIGHTS_EMBEDDED, NULL), &f.err);
    CHECK(t, om_sv_eq(file_bytes(&f, "a.onnx"), file_bytes(&f, "b.onnx")));

    data = new_data(&f, &out); /* the second graph adds nothing */
    CHECK(t, om_onnx_data_empty(data));
    CHECK_OK(t, write_graph(&f, g, "a.onnx", OM_WEIGHTS_EXTERNAL, data), &f.err);
    const uint64_t once = out.pos;
    CHECK_OK(t, write_graph(&f, g, "b.onnx", OM_WEIGHTS_EXTERNAL, data), &f.err);
    CHECK_INT(t, out.pos, once);
    /* packed: weight, bias, its transpose, the cast one; inference sees the constant */
    CHECK_INT(t, once, 1280 + 160 + 1280 + 640);
    CHECK(t, om_sv_eq(file_bytes(&f, "a.onnx"), file_bytes(&f, "b.onnx")));
    om_onnx_data_free(data);
    om_out_abort(&out);

    data = new_data(&f, &out); /* only what is transformed is written */
    CHECK_OK(t, write_graph(&f, g, "a.onnx", OM_WEIGHTS_SAFETENSORS, data), &f.err);
    CHECK_INT(t, out.pos, 1280 + 640);
    om_onnx_data_free(data);
    om_out_abort(&out);
    om_graph_free(g);
    teardown(&f);
}

/* One weight of 3 GiB in a sparse file. */
static void beyond_protobuf(struct test *t)
{
    static const int64_t dims[] = { 3, 1 << 28 };
    const om_val none = { 0 };
    struct om_file sparse = OM_FILE_INIT;
    struct fixture f;
    struct om_graph *g;
    const char *path;

    if (!setup(&f, t))
        return;
    g = new_graph(&f);
    path = om_path_join(&f.arena, f.dir, "sparse");
    write_bytes(t, f.dir, "sparse", "", 1);
    CHECK(t, truncate(path, (off_t)3 << 30) == 0);
    CHECK_OK(t, om_file_map(&sparse, path, &f.err), &f.err);
    const struct om_weight w = { .name = OM_SVL("huge"),
                                 .dtype = OM_F32,
                                 .rank = 2,
                                 .dims = dims,
                                 .file = &sparse,
                                 .data = sparse.data,
                                 .bytes = sparse.size };
    om_graph_output(g, OM_SVL("y"), emit1(g, OM_OP_Neg, "", om_graph_weight(g, &w), none, NULL, 0),
                    NULL);
    if (finish(&f, g)) {
        CHECK(t, om_onnx_embedded_size(g) > sparse.size);
        CHECK_INT(t, write_graph(&f, g, "model.onnx", OM_WEIGHTS_EMBEDDED, NULL), OM_E_LIMIT);
        CHECK_HAS(t, om_error_text(&f.err), "model.onnx: the file would have 32212");
        CHECK_INT(t, file_size(&f, "model.onnx"), -1);
        CHECK_INT(t, write_graph(&f, g, "model.onnx", OM_WEIGHTS_EXTERNAL, NULL), OM_E_USAGE);
    }
    om_graph_free(g);
    om_file_unmap(&sparse);
    teardown(&f);
}

struct transform {
    enum om_dtype from, to;
    uint32_t rank;
    int64_t dims[4], strides[4]; /* strides[0] 0 and no other: contiguous */
};

/* Parts lie in the file in another order, with bytes between them. */
static void set_parts(struct fixture *f, const struct om_file *source, const struct transform *c,
                      const int64_t *lines, struct om_weight *w)
{
    const size_t line = om_dtype_size(c->from) * (size_t)(c->rank == 2 ? c->dims[0] : 1);
    struct om_weight_part *parts = om_arena_array(&f->arena, 3, sizeof(*parts));
    uint64_t at = 5;

    for (uint32_t i = 3; i-- > 0;) {
        if (lines[i] == 0)
            continue;
        w->n_parts = OM_MAX(w->n_parts, i + 1);
        parts[i] =
            (struct om_weight_part){ source, at, source->data + at, (uint64_t)lines[i] * line };
        at += parts[i].bytes + 3;
    }
    if (w->n_parts > 0) {
        w->parts = parts;
        w->offset = parts[0].offset;
        w->data = parts[0].data;
    }
}

static void check_transform(struct fixture *f, const struct om_file *source,
                            const struct transform *c, const int64_t *lines)
{
    struct om_weight w = view(f, "w", c->from, c->dims, c->rank, 0);
    const om_val none = { 0 };
    struct om_graph *g = new_graph(f), *got;
    struct om_onnx_file *file;

    w.file = source;
    w.offset = 5;
    w.data = source->data + 5;
    w.dtype = c->to;
    w.strides = c->strides[c->rank - 1] ? c->strides : NULL;
    if (lines)
        set_parts(f, source, c, lines, &w);
    const om_val y = emit1(g, OM_OP_Identity, "", om_graph_weight(g, &w), none, NULL, 0);
    om_graph_output(g, OM_SVL("y"), y, NULL);
    if (!finish(f, g))
        return;
    CHECK_OK(f->t, write_graph(f, g, "model.onnx", OM_WEIGHTS_EMBEDDED, NULL), &f->err);
    const char *path = om_path_join(&f->arena, f->dir, "model.onnx");
    const int rc = om_onnx_open(&f->arena, path, &file, &got, &f->err);
    CHECK_OK(f->t, rc, &f->err);
    if (rc == 0) {
        compare_weights(f, g, got);
        om_graph_free(got);
        om_onnx_close(file);
    }
    om_graph_free(g);
}

/* Casts, transposes and other views larger than a conversion buffer, cut where no chunk ends. */
static void large_transforms(struct test *t)
{
    static const struct transform cases[] = {
        { OM_BF16, OM_F32, 2, { 1237, 1511 }, { 0 } },
        { OM_F64, OM_F32, 2, { 1, 700001 }, { 0 } },
        /* transposes */
        { OM_F32, OM_F32, 2, { 1511, 1237 }, { 1, 1511 } },
        { OM_F32, OM_F16, 2, { 1237, 1511 }, { 1, 1237 } },
        { OM_I64, OM_I64, 2, { 300001, 3 }, { 1, 300001 } },
        { OM_U8, OM_U8, 2, { 3, 2500003 }, { 1, 3 } },
        { OM_F16, OM_F16, 2, { 2, 1050000 }, { 1, 2 } },
        { OM_BF16, OM_F32, 3, { 7, 311, 501 }, { 155811, 1, 311 } },
        { OM_F32, OM_F32, 3, { 90, 100, 110 }, { 1, 90, 9000 } },
        { OM_U8, OM_U8, 4, { 17, 19, 23, 29 }, { 29, 493, 1, 19 } },
        /* slices: of columns, of rows long enough to be copied as they are, every other element */
        { OM_F32, OM_F32, 2, { 1237, 500 }, { 1511, 1 } },
        { OM_F16, OM_F32, 2, { 1237, 500 }, { 1511, 1 } },
        { OM_F32, OM_F32, 3, { 5, 2, 20000 }, { 160000, 50001, 1 } },
        { OM_U8, OM_U8, 2, { 3, 500001 }, { 2000001, 1 } },
        { OM_F32, OM_F64, 2, { 701, 500 }, { 2000, 2 } },
        /* repeated elements */
        { OM_F32, OM_F32, 2, { 1200, 900 }, { 0, 1 } },
        { OM_F16, OM_F32, 3, { 30, 4, 2 }, { 2, 0, 1 } },
    };
    static const struct {
        struct transform t;
        int64_t lines[3]; /* of the parts that the source is in */
    } parted[] = {
        { { OM_F32, OM_F32, 2, { 311, 5001 }, { 1, 311 } }, { 1, 4000, 1000 } },
        { { OM_BF16, OM_F32, 2, { 1511, 777 }, { 1, 1511 } }, { 259, 259, 259 } },
        { { OM_F16, OM_F16, 2, { 3, 900001 }, { 1, 3 } }, { 450000, 450001 } },
        { { OM_F32, OM_F32, 1, { 1300001 }, { 0 } }, { 7, 650000, 649994 } },
        { { OM_BF16, OM_F32, 1, { 2300001 }, { 0 } }, { 1000000, 1300001 } },
    };
    const size_t n = 8u << 20;
    struct om_file source = OM_FILE_INIT;
    uint8_t *bytes = malloc(n);
    struct fixture f;

    if (!bytes || !setup(&f, t))
        return;
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13) & 0x3f;
    write_bytes(t, f.dir, "source", bytes, n);
    free(bytes);
    CHECK_OK(t, om_file_map(&source, om_path_join(&f.arena, f.dir, "source"), &f.err), &f.err);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const struct om_mark mark = om_arena_mark(&f.arena);

        test_case(t, "%zu", i);
        check_transform(&f, &source, &cases[i], NULL);
        om_arena_rewind(&f.arena, mark);
    }
    for (size_t i = 0; i < OM_COUNT(parted); i++) {
        const struct om_mark mark = om_arena_mark(&f.arena);

        test_case(t, "%zu in parts", i);
        check_transform(&f, &source, &parted[i].t, parted[i].lines);
        om_arena_rewind(&f.arena, mark);
    }
    om_file_unmap(&source);
    teardown(&f);
}

/* Names, axes and dims that come back as they were written. */
static void axes(struct test *t)
{
    static const char *const names[] = { "1", NULL };
    const om_val none = { 0 };
    struct fixture f;
    struct om_graph *g, *got;
    struct om_onnx_file *file;

    if (!setup(&f, t))
        return;
    g = new_graph(&f);
    const om_val x = input(g, "x", OM_F32, "batch_size,past_sequence_length + sequence_length");
    om_graph_output(g, OM_SVL("y"), emit1(g, OM_OP_Neg, "", x, none, NULL, 0), NULL);
    g->blocks[0].outputs[0].axes = names;
    if (!finish(&f, g))
        return;
    CHECK_OK(t, write_graph(&f, g, "model.onnx", OM_WEIGHTS_EMBEDDED, NULL), &f.err);
    const int rc =
        om_onnx_open(&f.arena, om_path_join(&f.arena, f.dir, "model.onnx"), &file, &got, &f.err);
    CHECK_OK(t, rc, &f.err);
    if (rc == 0) {
        const struct om_value *v = om_graph_value(got, got->inputs[0].val);
        const struct om_port *y = &got->blocks[0].outputs[0];

        CHECK_STR(t, om_dim_text(got->dims, v->dims[0]), "batch_size");
        CHECK_STR(t, om_dim_text(got->dims, v->dims[1]), "past_sequence_length + sequence_length");
        CHECK(t, y->dims == NULL);
        CHECK_STR(t, y->axes[0], "1");
        CHECK(t, y->axes[1] == NULL);
        om_graph_free(got);
        om_onnx_close(file);
    }
    om_graph_free(g);
    teardown(&f);
}

/* Axes of a reduction: an attribute up to opset 17, an input from 18. */
static void old_forms(struct test *t)
{
    static const int64_t axis = -1, one = 1;
    struct fixture f;
    struct om_graph *g, *got;
    struct om_onnx_file *file;
    uint64_t size[2];

    if (!setup(&f, t))
        return;
    g = new_graph(&f);
    const om_val x = input(g, "x", OM_F32, "batch_size,8");
    const om_val last = om_graph_const(g, OM_I64, &one, 1, &axis);
    om_graph_output(g, OM_SVL("y"), emit1(g, OM_OP_ReduceMean, "m", x, last, NULL, 0), NULL);
    if (!finish(&f, g))
        return;
    for (int i = 0; i < 2; i++) {
        test_case(t, "opset %d", 17 + i);
        f.opset = 17 + i;
        CHECK_OK(t, write_graph(&f, g, "model.onnx", OM_WEIGHTS_EMBEDDED, NULL), &f.err);
        size[i] = file_size(&f, "model.onnx");
        const int rc = om_onnx_open(&f.arena, om_path_join(&f.arena, f.dir, "model.onnx"), &file,
                                    &got, &f.err);
        CHECK_OK(t, rc, &f.err);
        if (rc < 0)
            continue;
        CHECK_STR(t, dump(&f, got), dump(&f, g));
        CHECK_INT(t, got->n_weights, 1);
        om_graph_free(got);
        om_onnx_close(file);
    }
    CHECK(t, size[0] < size[1]); /* no initializer is written for an attribute */
    om_graph_free(g);
    teardown(&f);
}

/* --- files that others wrote, and files that lie --- */

/* A model by parts: y = Neg(x), x float32 [n]. Each part may be replaced. */
struct parts {
    const char *op, *domain, *input, *output, *second_input;
    int64_t opset, elem, axis;
    const char *out_axis;
    void (*more)(struct om_buf *b); /* fields of the graph */
    void (*attr)(struct om_buf *b); /* fields of the node */
};

static void put_text(struct om_buf *b, uint32_t number, const char *s)
{
    om_wire_put_bytes(b, number, om_sv_str(s));
}

static void put_value(struct om_buf *b, uint32_t number, const char *name, int64_t elem,
                      const char *param, int64_t value)
{
    const size_t info = om_wire_begin(b, number);

    put_text(b, PB_VALUE_NAME, name);
    const size_t type = om_wire_begin(b, PB_VALUE_TYPE);
    const size_t tensor = om_wire_begin(b, PB_TYPE_TENSOR_TYPE);
    om_wire_put_int(b, PB_TENSOR_TYPE_ELEM, elem);
    const size_t shape = om_wire_begin(b, PB_TENSOR_TYPE_SHAPE);
    const size_t dim = om_wire_begin(b, PB_SHAPE_DIM);
    if (param)
        put_text(b, PB_DIM_PARAM, param);
    else
        om_wire_put_int(b, PB_DIM_VALUE, value);
    om_wire_end(b, dim);
    om_wire_end(b, shape);
    om_wire_end(b, tensor);
    om_wire_end(b, type);
    om_wire_end(b, info);
}

static void put_model(struct om_buf *b, const struct parts *p)
{
    om_wire_put_int(b, PB_MODEL_IR_VERSION, 8);
    const size_t graph = om_wire_begin(b, PB_MODEL_GRAPH);
    const size_t node = om_wire_begin(b, PB_GRAPH_NODE);
    put_text(b, PB_NODE_INPUT, p->input ? p->input : "x");
    if (p->second_input)
        put_text(b, PB_NODE_INPUT, p->second_input);
    put_text(b, PB_NODE_OUTPUT, p->output ? p->output : "y");
    put_text(b, PB_NODE_NAME, "n0");
    put_text(b, PB_NODE_OP_TYPE, p->op ? p->op : "Neg");
    if (p->attr)
        p->attr(b);
    if (p->domain)
        put_text(b, PB_NODE_DOMAIN, p->domain);
    om_wire_end(b, node);
    if (p->more)
        p->more(b);
    put_value(b, PB_GRAPH_INPUT, "x", p->elem ? p->elem : 1, p->axis ? NULL : "n", p->axis);
    put_value(b, PB_GRAPH_OUTPUT, "y", 1, p->out_axis ? p->out_axis : "n", 0);
    om_wire_end(b, graph);
    const size_t import = om_wire_begin(b, PB_MODEL_OPSET_IMPORT);
    om_wire_put_int(b, PB_OPSET_VERSION, p->opset ? p->opset : 18);
    om_wire_end(b, import);
}

/* Parse bytes that end where the heap block ends. */
static int parse(const void *bytes, size_t len, const char *dir, struct om_error *err)
{
    struct om_arena a = OM_ARENA_INIT(16u << 20);
    uint8_t *copy = malloc(len ? len : 1);
    const struct om_file model = { .fd = -1, .data = copy, .size = len };
    struct om_onnx_file *file;
    struct om_graph *g;

    if (!copy)
        return OM_E_NOMEM;
    memcpy(copy, bytes, len);
    int rc = om_onnx_parse(&a, &model, dir, &file, &g, err);
    if (rc == 0) {
        rc = om_graph_verify(g, err);
        om_graph_free(g);
        om_onnx_close(file);
    }
    free(copy);
    om_arena_release(&a);
    return rc;
}

static void expect(struct test *t, const struct om_buf *b, const char *dir, const char *want)
{
    struct om_error err = OM_ERROR_INIT;
    const int rc = parse(b->ptr, b->len, dir, &err);

    CHECK(t, !b->failed);
    if (!want)
        CHECK_OK(t, rc, &err);
    else if (rc == 0)
        test_check(t, false, __FILE__, __LINE__, "accepted, want \"%s\"", want);
    else
        CHECK_HAS(t, om_error_text(&err), want);
    om_error_release(&err);
}

/* Tensor "w" of int64 [3] with the given field. */
static void put_tensor(struct om_buf *b, int64_t dtype, int64_t dim, uint32_t number,
                       const void *bytes, size_t len)
{
    const size_t tensor = om_wire_begin(b, PB_GRAPH_INITIALIZER);

    om_wire_put_int(b, PB_TENSOR_DIMS, dim);
    om_wire_put_int(b, PB_TENSOR_DATA_TYPE, dtype);
    put_text(b, PB_TENSOR_NAME, "w");
    om_wire_put_bytes(b, number, (om_sv){ bytes, len });
    om_wire_end(b, tensor);
}

static void int64_typed(struct om_buf *b)
{
    put_tensor(b, 7, 3, PB_TENSOR_INT64_DATA, "\x01\x02\xac\x02", 4);
}
static void int8_typed(struct om_buf *b)
{
    put_tensor(b, 3, 3, PB_TENSOR_INT32_DATA, "\x01\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
               12);
}
static void int8_wide(struct om_buf *b)
{
    put_tensor(b, 3, 2, PB_TENSOR_INT32_DATA, "\x01\x80\x02", 3);
}
static void typed_short(struct om_buf *b)
{
    put_tensor(b, 7, 3, PB_TENSOR_INT64_DATA, "\x01\x02", 2);
}
static void typed_lie(struct om_buf *b)
{
    put_tensor(b, 7, INT64_C(1) << 40, PB_TENSOR_INT64_DATA, "\x01\x02", 2);
}
static void raw_short(struct om_buf *b)
{
    put_tensor(b, 1, 3, PB_TENSOR_RAW_DATA, "01234567", 8);
}
static void raw_negative(struct om_buf *b)
{
    put_tensor(b, 1, -3, PB_TENSOR_RAW_DATA, "01234567", 8);
}
static void raw_string(struct om_buf *b)
{
    put_tensor(b, 8, 1, PB_TENSOR_STRING_DATA, "a", 1);
}
static void twice(struct om_buf *b)
{
    put_tensor(b, 7, 1, PB_TENSOR_INT64_DATA, "\x01", 1);
    put_tensor(b, 7, 1, PB_TENSOR_INT64_DATA, "\x01", 1);
}
static void sparse(struct om_buf *b)
{
    put_text(b, PB_GRAPH_SPARSE_INITIALIZER, "");
}

static void put_node(struct om_buf *b, const char *op, const char *in, const char *out)
{
    const size_t node = om_wire_begin(b, PB_GRAPH_NODE);

    put_text(b, PB_NODE_INPUT, in);
    put_text(b, PB_NODE_OUTPUT, out);
    put_text(b, PB_NODE_OP_TYPE, op);
    om_wire_end(b, node);
}
static void later_node(struct om_buf *b)
{
    put_node(b, "Neg", "x", "later");
}
static void same_output(struct om_buf *b)
{
    put_node(b, "Neg", "x", "y");
}

static void put_attr(struct om_buf *b, const char *name, int64_t type)
{
    const size_t attr = om_wire_begin(b, PB_NODE_ATTRIBUTE);

    put_text(b, PB_ATTR_NAME, name);
    om_wire_put_int(b, PB_ATTR_TYPE, type);
    om_wire_end(b, attr);
}
static void attr_untyped(struct om_buf *b)
{
    put_attr(b, "mode", 0);
}
static void attr_strings(struct om_buf *b)
{
    put_attr(b, "mode", 8);
}
static void attr_ref(struct om_buf *b)
{
    const size_t attr = om_wire_begin(b, PB_NODE_ATTRIBUTE);

    put_text(b, PB_ATTR_NAME, "mode");
    put_text(b, PB_ATTR_REF, "outer");
    om_wire_end(b, attr);
}

static void lies(struct test *t)
{
    static const struct {
        struct parts p;
        const char *want; /* NULL: must be read */
    } cases[] = {
        { { .op = NULL }, NULL },
        { { .domain = "ai.onnx" }, NULL },
        { { .axis = 5, .out_axis = "k" }, NULL },
        { { .more = int64_typed }, NULL },
        { { .more = int8_typed }, NULL },
        { { .domain = "com.microsoft" }, "node \"n0\" (Neg): domain \"com.microsoft\"" },
        { { .op = "Loop" }, "node \"n0\" (Loop): this operator is not supported" },
        { { .op = "Linear" }, "not supported" },
        { { .opset = 11 }, "opset 11, expected 13 to 24" },
        { { .opset = 99 }, "opset 99" },
        { { .opset = -1 }, "opset -1" },
        { { .input = "nowhere" },
          "input \"nowhere\" is not an input, an initializer or an output" },
        { { .input = "later", .more = later_node }, "\"later\" is computed by a later node" },
        { { .input = "y" }, "\"y\" is computed by a later node" },
        { { .input = "" }, "a required input is left out" },
        { { .second_input = "x" }, "n0" },
        { { .output = "x" }, "\"x\" is defined twice" },
        { { .output = "q" }, "output \"y\" is not a value of the graph" },
        { { .more = same_output }, "\"y\" is defined twice" },
        { { .more = twice }, "the name \"w\" is defined twice" },
        { { .more = sparse }, "sparse initializers" },
        { { .elem = 8 }, "input \"x\": element type 8" },
        { { .elem = 6 }, "the file says float32, its value has int32" },
        { { .axis = -1 }, "input \"x\": an axis has the extent -1" },
        { { .input = "x\xff" }, "not valid UTF-8" },
        { { .more = int8_wide }, "tensor \"w\": int32_data: element 1 is out of range" },
        { { .more = typed_short }, "int64_data has 2 elements, the shape needs 3" },
        { { .more = typed_lie }, "the shape needs 1099511627776 elements" },
        { { .more = raw_short }, "tensor \"w\": the shape needs 12 bytes, raw_data has 8" },
        { { .more = raw_negative }, "negative or too large" },
        { { .more = raw_string }, "element type 8" },
        { { .attr = attr_untyped }, "attribute \"mode\": attribute type 0" },
        { { .attr = attr_strings }, "attribute \"mode\": attribute type 8" },
        { { .attr = attr_ref }, "attribute \"mode\" refers to a function's" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_buf b = OM_BUF_INIT(1u << 16);

        test_case(t, "%zu: %s", i, cases[i].want ? cases[i].want : "fine");
        put_model(&b, &cases[i].p);
        expect(t, &b, NULL, cases[i].want);
        om_buf_release(&b);
    }
}

/* Ifs nested in their then-branches; all leaves have the same names. */
static void put_nested(struct om_buf *b, int depth)
{
    const size_t node = om_wire_begin(b, PB_GRAPH_NODE);
    char name[16], inner[16];

    snprintf(name, sizeof(name), "v%d", depth);
    snprintf(inner, sizeof(inner), "v%d", depth - 1);
    put_text(b, PB_NODE_INPUT, "c");
    put_text(b, PB_NODE_OUTPUT, name);
    put_text(b, PB_NODE_OP_TYPE, "If");
    for (int k = 0; k < 2; k++) {
        const size_t attr = om_wire_begin(b, PB_NODE_ATTRIBUTE);

        put_text(b, PB_ATTR_NAME, k ? "else_branch" : "then_branch");
        const size_t graph = om_wire_begin(b, PB_ATTR_G);
        if (depth > 0 && k == 0) {
            put_nested(b, depth - 1);
            put_value(b, PB_GRAPH_OUTPUT, inner, 1, "n", 0);
        } else {
            put_node(b, "Neg", "x", "leaf");
            put_value(b, PB_GRAPH_OUTPUT, "leaf", 1, "n", 0);
        }
        om_wire_end(b, graph);
        om_wire_put_int(b, PB_ATTR_TYPE, PB_TYPE_GRAPH);
        om_wire_end(b, attr);
    }
    om_wire_end(b, node);
}

static void put_if_model(struct om_buf *b, int depth)
{
    om_wire_put_int(b, PB_MODEL_IR_VERSION, 8);
    const size_t graph = om_wire_begin(b, PB_MODEL_GRAPH);
    put_nested(b, depth);
    const size_t c = om_wire_begin(b, PB_GRAPH_INPUT);
    put_text(b, PB_VALUE_NAME, "c");
    om_wire_put_bytes(b, PB_VALUE_TYPE, OM_SVL("\x0a\x04\x08\x09\x12\x00"));
    om_wire_end(b, c);
    put_value(b, PB_GRAPH_INPUT, "x", 1, "n", 0);
    om_wire_end(b, graph);
    const size_t import = om_wire_begin(b, PB_MODEL_OPSET_IMPORT);
    om_wire_put_int(b, PB_OPSET_VERSION, 18);
    om_wire_end(b, import);
}

static void nesting(struct test *t)
{
    static const struct {
        int depth;
        const char *want;
    } cases[] = { { 0, NULL }, { 3, NULL }, { 25, "nested more than 20 deep" } };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_buf b = OM_BUF_INIT(1u << 20);

        test_case(t, "depth %d", cases[i].depth);
        put_if_model(&b, cases[i].depth);
        expect(t, &b, NULL, cases[i].want);
        om_buf_release(&b);
    }
}

/* Every prefix of a model is refused, and every changed byte is either refused or gives a sound
 * graph. */
static void damage(struct test *t)
{
    static const uint8_t masks[] = { 0x01, 0x80, 0xff, 0x08 };
    struct fixture f;
    struct om_graph *g;
    om_sv model;

    if (!setup(&f, t))
        return;
    g = rich_graph(&f);
    if (!finish(&f, g))
        return;
    CHECK_OK(t, write_graph(&f, g, "model.onnx", OM_WEIGHTS_EMBEDDED, NULL), &f.err);
    om_graph_free(g);
    model = file_bytes(&f, "model.onnx");
    char *copy = om_arena_str(&f.arena, model);
    for (size_t i = 0; i < model.len; i++) {
        struct om_error err = OM_ERROR_INIT;

        test_case(t, "byte %zu", i);
        CHECK(t, parse(model.ptr, i, NULL, &err) < 0 && om_error_text(&err)[0]);
        om_error_release(&err);
        for (size_t k = 0; k < OM_COUNT(masks); k++) {
            copy[i] = (char)(model.ptr[i] ^ masks[k]);
            const int rc = parse(copy, model.len, NULL, &err);
            CHECK(t, rc == 0 || om_error_text(&err)[0]);
            CHECK(t, rc != OM_E_INTERNAL);
            om_error_release(&err);
        }
        copy[i] = model.ptr[i];
    }
    teardown(&f);
}

/* --- external data --- */

static void put_entry(struct om_buf *b, const char *key, const char *value)
{
    const size_t entry = om_wire_begin(b, PB_TENSOR_EXTERNAL_DATA);

    if (value) {
        put_text(b, PB_ENTRY_KEY, key);
        put_text(b, PB_ENTRY_VALUE, value);
    }
    om_wire_end(b, entry);
}

/* Add(x, w) with w float32 [4] in a file. */
static void put_external_model(struct om_buf *b, const char *location, const char *offset,
                               const char *length)
{
    om_wire_put_int(b, PB_MODEL_IR_VERSION, 8);
    const size_t graph = om_wire_begin(b, PB_MODEL_GRAPH);
    put_node(b, "Neg", "w", "y");
    const size_t tensor = om_wire_begin(b, PB_GRAPH_INITIALIZER);
    om_wire_put_int(b, PB_TENSOR_DIMS, 4);
    om_wire_put_int(b, PB_TENSOR_DATA_TYPE, 1);
    put_text(b, PB_TENSOR_NAME, "w");
    put_entry(b, "location", location);
    put_entry(b, "offset", offset);
    put_entry(b, "length", length);
    om_wire_put_int(b, PB_TENSOR_DATA_LOCATION, PB_LOCATION_EXTERNAL);
    om_wire_end(b, tensor);
    put_value(b, PB_GRAPH_OUTPUT, "y", 1, NULL, 4);
    om_wire_end(b, graph);
    const size_t import = om_wire_begin(b, PB_MODEL_OPSET_IMPORT);
    om_wire_put_int(b, PB_OPSET_VERSION, 18);
    om_wire_end(b, import);
}

static void external_data(struct test *t)
{
    static const struct {
        const char *location, *offset, *length, *want;
    } cases[] = {
        { "data", "4", "16", NULL },
        { "data", NULL, NULL, NULL },
        { "data", "16", NULL, NULL },
        { "./sub/../data", "4", "16", "leaves the model's directory" },
        { "sub/data", "0", "16", NULL },
        { "inside", "0", "16", NULL },
        { "../data", "0", "16", "location \"../data\" leaves the model's directory" },
        { "sub/..", "0", "16", "leaves the model's directory" },
        { "/etc/passwd", "0", "16", "is absolute" },
        { "", "0", "16", "without a location" },
        { NULL, "0", "16", "without a location" },
        { "outside", "0", "16", "is a link that leaves the model's directory" },
        { "absent", "0", "16", "absent: no such file" },
        { "sub", "0", "16", "expected a regular file" },
        { "pipe", "0", "16", "expected a regular file" },
        { "data", "17", "16", "16 bytes at offset 17, the file has 32" },
        { "data", "33", NULL, "offset 33, the file has 32 bytes" },
        { "data", "17", NULL, "the shape needs 16 bytes, external data gives 15" },
        { "data", "0", "17", "the shape needs 16 bytes, external data gives 17" },
        { "data", "0", "15", "the shape needs 16 bytes, external data gives 15" },
        { "data", "-1", "16", "offset is \"-1\", expected a number" },
        { "data", "0x10", "16", "expected a number" },
        { "data", "9223372036854775807", "16", "offset 9223372036854775807" },
        { "data", "99999999999999999999", "16", "expected a number" },
        { "data", "16", "9223372036854775807", "the file has 32" },
    };
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    char *const dir = om_path_join(&a, test_tmpdir(t), "model");
    char *const sub = om_path_join(&a, dir, "sub");

    CHECK_OK(t, om_dir_make(sub, NULL), NULL);
    write_bytes(t, test_tmpdir(t), "data", "0123456789abcdef0123456789abcdef", 32);
    write_bytes(t, dir, "data", "0123456789abcdef0123456789abcdef", 32);
    write_bytes(t, sub, "data", "0123456789abcdef", 16);
    CHECK_INT(t, symlink("../data", om_path_join(&a, dir, "outside")), 0);
    CHECK_INT(t, symlink("sub/data", om_path_join(&a, dir, "inside")), 0);
    CHECK_INT(t, mkfifo(om_path_join(&a, dir, "pipe"), 0600), 0);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_buf b = OM_BUF_INIT(1u << 16);

        test_case(t, "%zu: %s", i, cases[i].want ? cases[i].want : "fine");
        put_external_model(&b, cases[i].location, cases[i].offset, cases[i].length);
        expect(t, &b, dir, cases[i].want);
        om_buf_release(&b);
    }
    struct om_buf b = OM_BUF_INIT(1u << 16);
    test_case(t, "no directory");
    put_external_model(&b, "data", "0", "16");
    expect(t, &b, NULL, "external data needs the model's directory");
    om_buf_release(&b);
    om_arena_release(&a);
}

const struct test_entry t_onnx[] = { { "round_trip", round_trip },
                                     { "known_bytes", known_bytes },
                                     { "foreign_files", foreign_files },
                                     { "ir_versions", ir_versions },
                                     { "sizes", sizes },
                                     { "beyond_protobuf", beyond_protobuf },
                                     { "large_transforms", large_transforms },
                                     { "axes", axes },
                                     { "old_forms", old_forms },
                                     { "lies", lies },
                                     { "nesting", nesting },
                                     { "damage", damage },
                                     { "external_data", external_data },
                                     TEST_END };
