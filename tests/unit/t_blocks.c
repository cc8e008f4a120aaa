/* tests/unit/t_blocks.c: weights in blocks and 8-bit weights, bit for bit: what is written against
 * the formulas of ONNX Runtime's tool, element by element, and what the operators make of it. */
#include <math.h>
#include <stdlib.h>

#include <optimum/quantize.h>

#include "base/half.h"
#include "base/wire.h"
#include "made.h"
#include "onnx/pb.h"
#include "onnx/schema.h"
#include "quant/affine.h"
#include "quant/blocks.h"
#include "ref/model.h"
#include "test.h"

/* ---- the formulas ---- */

struct block {
    float scale;
    int zero;
    int q[OM_BLOCK_MAX];
};

static float as_stored(float v, bool half)
{
    return half ? om_f16_to_f32(om_f32_to_f16(v)) : v;
}

/* Halves up, and what is no number is 0. */
static int round_up(float v, int most)
{
    if (!(v > 0))
        return 0;
    if (v >= (float)most)
        return most;
    return (int)floor((double)v + 0.5);
}

/* The first n elements of x are in the row, the others count as zeros. */
static struct block expect_block(const float *x, size_t n, const struct om_block_form *f)
{
    const int mid = 1 << (f->bits - 1), most = 2 * mid - 1;
    float lo = n > 0 ? x[0] : 0, hi = lo, inverse, exact;
    struct block b = { .zero = mid };

    for (size_t i = 1; i < (size_t)f->size; i++) {
        const float v = i < n ? x[i] : 0.0f;

        lo = v < lo ? v : lo;
        hi = v > hi ? v : hi;
    }
    if (f->symmetric) {
        exact = (fabsf(hi) > fabsf(lo) ? hi : lo) / (float)-mid;
    } else {
        lo = lo < 0 ? lo : 0;
        hi = hi > 0 ? hi : 0;
        exact = (hi - lo) / (float)most;
        b.zero = exact != 0 ? round_up(-lo / exact, most) : 0;
    }
    b.scale = as_stored(exact, f->half);
    inverse = b.scale != 0 ? 1.0f / b.scale : 0;
    for (size_t i = 0; i < (size_t)f->size; i++) {
        const float product = (i < n ? x[i] : 0.0f) * inverse;

        b.q[i] = round_up(product + (float)b.zero, most);
    }
    return b;
}

/* ---- weights ---- */

enum pattern {
    RANDOM,
    ZEROS,
    MINUS_ZEROS,
    POSITIVE,
    NEGATIVE,
    TIES,
    TINY,
    HUGE_ONES,
    OUTLIER,
    PATTERNS
};
static const char *const pattern_text[PATTERNS] = { "random",    "zeros",    "signed zeros",
                                                    "positive",  "negative", "ties",
                                                    "subnormal", "huge",     "an outlier" };

static float element(enum pattern p, size_t i, unsigned *seed)
{
    const float v = number(seed);

    switch (p) {
    case ZEROS:
        return 0.0f;
    case MINUS_ZEROS:
        return i % 3 == 0 ? -0.0f : 0.0f;
    case POSITIVE:
        return fabsf(v) + 0.25f;
    case NEGATIVE:
        return -fabsf(v) - 0.25f;
    case TIES: /* halves and quarters of a step */
        return (float)((int)(i * 7 % 61) - 30) / 4.0f;
    case TINY:
        return v * 1e-40f;
    case HUGE_ONES:
        return v * 6e4f;
    case OUTLIER:
        return i % 29 == 3 ? v * 100 : v * 0.01f;
    default:
        return v;
    }
}

struct weight {
    size_t n, k;
    bool swapped;
    enum om_dtype dtype;
    struct om_weight view;
    float *x; /* [n][k], as the dtype holds it */
};

static void make_weight(struct om_arena *a, struct weight *w, enum pattern p)
{
    const size_t count = w->n * w->k;
    float *const raw = om_arena_array(a, count, sizeof(float));
    uint8_t *const bytes = om_arena_alloc(a, count * 4 + 1);
    const int64_t dims[] = { (int64_t)(w->swapped ? w->k : w->n),
                             (int64_t)(w->swapped ? w->n : w->k) };
    unsigned seed = (unsigned)(count + p);

    w->x = om_arena_array(a, count, sizeof(float));
    for (size_t i = 0; i < count; i++)
        raw[i] = element(p, i, &seed);
    om_convert(bytes + 1, w->dtype, raw, OM_F32, count); /* files do not align */
    om_convert(raw, OM_F32, bytes + 1, w->dtype, count);
    for (size_t n = 0; n < w->n; n++)
        for (size_t k = 0; k < w->k; k++)
            w->x[n * w->k + k] = raw[w->swapped ? k * w->n + n : n * w->k + k];
    w->view = (struct om_weight){ .name = OM_SVL("w"),
                                  .dtype = OM_F32,
                                  .src_dtype = w->dtype,
                                  .rank = 2,
                                  .dims = om_arena_copy(a, dims, sizeof(dims)),
                                  .data = bytes + 1,
                                  .bytes = count * om_dtype_size(w->dtype) };
}

/* The three parts of a weight in a file. */
struct parts {
    om_sv packed, scales, zeros;
};

static int make_parts(struct made *m, struct om_blocks *b, struct parts *p, struct om_error *err)
{
    int rc = make(m, &b->packed, err);

    *p = (struct parts){ .packed = m->bytes };
    if (rc == 0)
        rc = make(m, &b->scales, err);
    p->scales = m->bytes;
    if (rc == 0 && !b->form.symmetric) {
        rc = make(m, &b->zeros, err);
        p->zeros = m->bytes;
    }
    om_blocks_release(b);
    return rc;
}

static int bits_of(om_sv bytes, size_t row, size_t row_bytes, size_t i, int bits)
{
    const uint8_t *const at = (const uint8_t *)bytes.ptr + row * row_bytes;

    return bits == 8 ? at[i] : at[i / 2] >> (i % 2 * 4) & 15;
}

static float scale_at(const struct parts *p, size_t i, bool half)
{
    uint16_t bits;
    float v;

    if (!half) {
        memcpy(&v, p->scales.ptr + 4 * i, sizeof(v));
        return v;
    }
    memcpy(&bits, p->scales.ptr + 2 * i, sizeof(bits));
    return om_f16_to_f32(bits);
}

static bool same_bits(float a, float b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

/* How many scales, zero points and numbers are others than the formulas'. */
static size_t count_wrong(const struct om_blocks *b, const struct weight *w, const struct parts *p)
{
    const struct om_block_form *const f = &b->form;
    const size_t size = (size_t)f->size, row = om_blocks_row_bytes(b);
    size_t wrong = 0;

    for (size_t n = 0; n < w->n; n++)
        for (size_t i = 0; i < b->blocks; i++) {
            const size_t valid = OM_MIN(size, w->k - i * size);
            const struct block want = expect_block(w->x + n * w->k + i * size, valid, f);

            wrong += !same_bits(scale_at(p, n * b->blocks + i, f->half), want.scale);
            wrong += p->zeros.ptr &&
                     bits_of(p->zeros, n, om_blocks_zero_bytes(b), i, f->bits) != want.zero;
            for (size_t k = 0; k < valid; k++)
                wrong += bits_of(p->packed, n, row, i * size + k, f->bits) != want.q[k];
        }
    return wrong;
}

static void check_blocks(struct test *t, struct made *m, const struct weight *w,
                         struct om_block_form form)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_blocks b;
    struct parts p;
    int rc;

    om_blocks_init(&b, &w->view, w->swapped, form);
    b.want_error = true;
    rc = make_parts(m, &b, &p, &err);
    CHECK_OK(t, rc, &err);
    CHECK_INT(t, p.packed.len, w->n * om_blocks_row_bytes(&b));
    CHECK_INT(t, p.scales.len, w->n * b.blocks * (form.half ? 2 : 4));
    CHECK_INT(t, p.zeros.len, form.symmetric ? 0 : w->n * om_blocks_zero_bytes(&b));
    if (rc == 0 && !test_failed(t))
        CHECK_INT(t, count_wrong(&b, w, &p), 0);
    om_error_release(&err);
}

static void numbers(struct test *t)
{
    static const struct {
        size_t n, k;
    } shapes[] = { { 1, 1 },  { 3, 15 },  { 2, 16 },   { 5, 17 },   { 7, 31 },   { 16, 33 },
                   { 1, 64 }, { 19, 95 }, { 33, 257 }, { 2, 2047 }, { 3, 2049 }, { 17, 4100 } };
    static const enum om_dtype dtypes[] = { OM_F32, OM_BF16, OM_F16 };
    unsigned turn = 0;

    for (size_t i = 0; i < OM_COUNT(shapes); i++)
        for (int pattern = 0; pattern < PATTERNS; pattern++)
            for (int size = OM_BLOCK_MIN; size <= OM_BLOCK_MAX; size *= 2)
                for (int how = 0; how < 4; how++, turn++) {
                    struct made m = { .dir = test_tmpdir(t), .arena = OM_ARENA_INIT(64u << 20) };
                    struct weight w = { .n = shapes[i].n,
                                        .k = shapes[i].k,
                                        .swapped = turn % 5 == 0,
                                        .dtype = dtypes[turn % OM_COUNT(dtypes)] };
                    const struct om_block_form form = { .bits = how & 1 ? 4 : 8,
                                                        .size = size,
                                                        .symmetric = how & 2,
                                                        .half = turn % 7 == 0 };

                    test_case(t, "[%zu, %zu] of %s, %s%s, %d bits, %d in a block, %s scales%s", w.n,
                              w.k, om_dtype_text(w.dtype), pattern_text[pattern],
                              w.swapped ? ", swapped" : "", form.bits, size,
                              form.half ? "half" : "float", form.symmetric ? ", symmetric" : "");
                    make_weight(&m.arena, &w, (enum pattern)pattern);
                    check_blocks(t, &m, &w, form);
                    om_arena_release(&m.arena);
                }
}

/* ---- what is refused ---- */

static void infinities(struct test *t)
{
    static const float bad[] = { INFINITY, -INFINITY, NAN };
    static const size_t places[] = { 0, 36, 2047, 2048, 4099 };

    for (size_t i = 0; i < OM_COUNT(bad) * OM_COUNT(places) * 2; i++) {
        const float value = bad[i / 2 % OM_COUNT(bad)];
        const size_t place = places[i / 2 / OM_COUNT(bad)];
        struct made m = { .dir = test_tmpdir(t), .arena = OM_ARENA_INIT(16u << 20) };
        struct weight w = { .n = 2, .k = 4100, .swapped = i % 2, .dtype = OM_F32 };
        struct om_error err = OM_ERROR_INIT;
        struct om_blocks b;

        make_weight(&m.arena, &w, RANDOM);
        memcpy((char *)(uintptr_t)w.view.data + 4 * (w.swapped ? place * 2 + 1 : 4100 + place),
               &value, sizeof(value));
        test_case(t, "%g at %zu, swapped %d", (double)value, place, w.swapped);
        om_blocks_init(&b, &w.view, w.swapped, (struct om_block_form){ .bits = 4, .size = 32 });
        CHECK_INT(t, make(&m, &b.packed, &err), OM_E_UNSUPPORTED);
        CHECK_STR(t, om_error_text(&err), "there is an infinity or NaN: it cannot be quantized");
        om_blocks_release(&b);
        om_error_release(&err);
        om_arena_release(&m.arena);
    }
}

/* ---- models ---- */

struct model {
    struct om_buf b;
    size_t graph;
};

static void model_begin(struct model *m)
{
    *m = (struct model){ .b = OM_BUF_INIT(64u << 20) };
    om_wire_put_int(&m->b, PB_MODEL_IR_VERSION, 9);
    m->graph = om_wire_begin(&m->b, PB_MODEL_GRAPH);
}

static void model_tensor(struct model *m, const char *name, int type, const int64_t *dims,
                         size_t rank, const void *data, size_t bytes)
{
    const size_t at = om_wire_begin(&m->b, PB_GRAPH_INITIALIZER);

    for (size_t i = 0; i < rank; i++)
        om_wire_put_int(&m->b, PB_TENSOR_DIMS, dims[i]);
    om_wire_put_int(&m->b, PB_TENSOR_DATA_TYPE, type);
    om_wire_put_bytes(&m->b, PB_TENSOR_NAME, om_sv_str(name));
    om_wire_put_bytes(&m->b, PB_TENSOR_RAW_DATA, (om_sv){ data, bytes });
    om_wire_end(&m->b, at);
}

static void model_port(struct model *m, uint32_t number, const char *name, int type)
{
    const size_t at = om_wire_begin(&m->b, number);
    size_t of, tensor;

    om_wire_put_bytes(&m->b, PB_VALUE_NAME, om_sv_str(name));
    of = om_wire_begin(&m->b, PB_VALUE_TYPE);
    tensor = om_wire_begin(&m->b, PB_TYPE_TENSOR_TYPE);
    om_wire_put_int(&m->b, PB_TENSOR_TYPE_ELEM, type);
    om_wire_end(&m->b, tensor);
    om_wire_end(&m->b, of);
    om_wire_end(&m->b, at);
}

/* A node with up to three inputs and up to one integer attribute. */
static void model_node(struct model *m, const char *op, const char *const in[3], const char *out,
                       const char *attr, int64_t value)
{
    const size_t at = om_wire_begin(&m->b, PB_GRAPH_NODE);

    for (size_t i = 0; i < 3 && in[i]; i++)
        om_wire_put_bytes(&m->b, PB_NODE_INPUT, om_sv_str(in[i]));
    om_wire_put_bytes(&m->b, PB_NODE_OUTPUT, om_sv_str(out));
    om_wire_put_bytes(&m->b, PB_NODE_OP_TYPE, om_sv_str(op));
    if (attr) {
        const size_t a = om_wire_begin(&m->b, PB_NODE_ATTRIBUTE);

        om_wire_put_bytes(&m->b, PB_ATTR_NAME, om_sv_str(attr));
        om_wire_put_int(&m->b, PB_ATTR_I, value);
        om_wire_put_int(&m->b, PB_ATTR_TYPE, PB_TYPE_INT);
        om_wire_end(&m->b, a);
    }
    om_wire_end(&m->b, at);
}

static void model_end(struct model *m)
{
    size_t opset;

    om_wire_end(&m->b, m->graph);
    opset = om_wire_begin(&m->b, PB_MODEL_OPSET_IMPORT);
    om_wire_put_int(&m->b, PB_OPSET_VERSION, 17);
    om_wire_end(&m->b, opset);
}

/* Run the document; its outputs live in its arena. */
static int run_doc(struct om_arena *a, struct om_doc *doc, const struct om_tensor *in, size_t n_in,
                   struct om_tensor **out, size_t *n, struct om_error *err)
{
    struct om_ref_model *model;
    int rc = om_ref_model_new(doc, &model, err);

    if (rc == 0)
        rc = om_ref_model_run(model, in, n_in, NULL, a, out, n, err);
    om_doc_close(doc);
    return rc;
}

static void check_floats(struct test *t, const struct om_tensor *got, const float *want, size_t n)
{
    size_t wrong = 0;

    CHECK_STR(t, om_dtype_text(got->dtype), "float32");
    for (size_t i = 0; i < n; i++)
        wrong += ((const float *)got->data)[i] != want[i];
    CHECK_INT(t, wrong, 0);
}

/* ---- MatMulNBits gives what the formula says ---- */

/* y = x W and z = x W'^T, both of the same weight. */
static int write_products(const char *dir, const struct weight *w, const float *swapped,
                          struct om_error *err)
{
    const int64_t dims[] = { (int64_t)w->n, (int64_t)w->k, (int64_t)w->n };
    const size_t bytes = w->n * w->k * sizeof(float);
    struct om_out out = OM_OUT_INIT;
    struct model m;
    int rc;

    model_begin(&m);
    model_node(&m, "MatMul", (const char *const[3]){ "x", "wt" }, "y", NULL, 0);
    model_node(&m, "Gemm", (const char *const[3]){ "x", "w" }, "z", "transB", 1);
    model_tensor(&m, "wt", 1, dims + 1, 2, swapped, bytes);
    model_tensor(&m, "w", 1, dims, 2, w->x, bytes);
    model_port(&m, PB_GRAPH_INPUT, "x", 1);
    model_port(&m, PB_GRAPH_OUTPUT, "y", 1);
    model_port(&m, PB_GRAPH_OUTPUT, "z", 1);
    model_end(&m);
    rc = om_out_open(&out, dir, "m.onnx", NULL, err);
    if (rc == 0)
        rc = om_out_write(&out, m.b.ptr, m.b.len, err);
    if (rc == 0)
        rc = om_out_commit(&out, false, err);
    om_out_abort(&out);
    om_buf_release(&m.b);
    return rc;
}

/* The rows of the identity times a weight are the weight, without a rounding. */
static int run_products(struct om_arena *a, const char *dir, const struct weight *w,
                        const struct om_quant_config *config, struct om_tensor **out,
                        struct om_error *err)
{
    const int64_t dims[] = { (int64_t)w->k, (int64_t)w->k };
    float *const identity = om_arena_array(a, w->k * w->k, sizeof(float));
    const struct om_tensor x = {
        .name = "x", .dtype = OM_F32, .rank = 2, .dims = dims, .data = identity
    };
    struct om_quantize_opts o = OM_QUANTIZE_OPTS_INIT;
    struct om_doc *doc;
    size_t n = 0;

    for (size_t i = 0; i < w->k; i++)
        identity[i * w->k + i] = 1.0f;
    o.model = om_path_join(a, dir, "m.onnx");
    o.out_dir = om_path_join(a, dir, "out");
    o.config = config;
    OM_TRY(om_quantize_run(NULL, &o, err));
    OM_TRY(om_doc_open(a, om_path_join(a, o.out_dir, "m_quantized.onnx"), &doc, err));
    OM_TRY(run_doc(a, doc, &x, 1, out, &n, err));
    return n == 2 ? 0 : om_fail(err, OM_E_INTERNAL, "%zu outputs", n);
}

static void check_operator(struct test *t, struct weight *w, enum pattern pattern, int bits,
                           int size, bool symmetric)
{
    const struct om_block_form form = { .bits = bits, .size = size, .symmetric = symmetric };
    struct om_quant_config config = OM_QUANT_CONFIG_INIT;
    struct om_arena a = OM_ARENA_INIT(256u << 20);
    struct om_error err = OM_ERROR_INIT;
    const char *const dir = test_tmpdir(t);
    float *const want = om_arena_array(&a, w->n * w->k, sizeof(float));
    float *const swapped = om_arena_array(&a, w->n * w->k, sizeof(float));
    struct om_tensor *out = NULL;
    int rc;

    config.method = OM_QUANT_WEIGHT_ONLY;
    config.bits = bits;
    config.block_size = size;
    config.symmetric = symmetric;
    make_weight(&a, w, pattern);
    for (size_t n = 0; n < w->n; n++)
        for (size_t k = 0; k < w->k; k++) {
            const size_t from = k - k % (size_t)size, valid = OM_MIN((size_t)size, w->k - from);
            const struct block b = expect_block(w->x + n * w->k + from, valid, &form);

            swapped[k * w->n + n] = w->x[n * w->k + k];
            want[k * w->n + n] = (float)(b.q[k - from] - b.zero) * b.scale;
        }
    rc = write_products(dir, w, swapped, &err);
    if (rc == 0)
        rc = run_products(&a, dir, w, &config, &out, &err);
    CHECK_OK(t, rc, &err);
    for (size_t i = 0; rc == 0 && i < 2; i++)
        check_floats(t, &out[i], want, w->n * w->k);
    om_error_release(&err);
    om_arena_release(&a);
}

static void operators(struct test *t)
{
    static const struct {
        size_t n, k;
    } shapes[] = { { 1, 1 }, { 3, 33 }, { 2, 64 }, { 17, 127 }, { 5, 300 } };

    for (size_t i = 0; i < OM_COUNT(shapes); i++)
        for (int pattern = 0; pattern < PATTERNS; pattern++)
            for (int how = 0; how < 4; how++) {
                const int size = OM_BLOCK_MIN << (i + (size_t)pattern) % 5;
                const int bits = how & 1 ? 4 : 8;
                struct weight w = { .n = shapes[i].n, .k = shapes[i].k, .dtype = OM_F32 };

                test_case(t, "[%zu, %zu], %s, %d bits, %d in a block, symmetric %d", w.n, w.k,
                          pattern_text[pattern], bits, size, how / 2);
                check_operator(t, &w, (enum pattern)pattern, bits, size, how & 2);
            }
}

/* ---- QuantizeLinear and DequantizeLinear ---- */

/* Both on the weight [n][k] with the parameters of a; axis -1: per tensor. */
static void check_linear(struct test *t, struct om_arena *arena, const struct om_affine *a,
                         const float *x, om_sv q, int axis)
{
    const int64_t dims[] = { (int64_t)a->rows, (int64_t)a->cols };
    const int64_t params[] = { (int64_t)a->steps.n };
    const int type = a->range.is_signed ? OM_Q_I8 : OM_Q_U8;
    const size_t n = a->rows * a->cols, rank = axis < 0 ? 0 : 1;
    float *const want = om_arena_array(arena, n, sizeof(float));
    const char *const attr = axis < 0 ? NULL : "axis";
    struct om_error err = OM_ERROR_INIT;
    struct om_tensor *out = NULL;
    struct om_doc *doc;
    struct model m;
    size_t n_out = 0;
    int rc;

    for (size_t i = 0; i < n; i++) {
        const size_t p = i / a->cols * a->steps.row + i % a->cols * a->steps.col;
        const int zero = a->range.is_signed ? a->zero[p] : (uint8_t)a->zero[p];
        const int v = a->range.is_signed ? (int8_t)q.ptr[i] : (uint8_t)q.ptr[i];

        want[i] = (float)(v - zero) * a->scale[p];
    }
    model_begin(&m);
    model_node(&m, "QuantizeLinear", (const char *const[3]){ "w", "s", "z" }, "q", attr, axis);
    model_node(&m, "DequantizeLinear", (const char *const[3]){ "q", "s", "z" }, "y", attr, axis);
    model_tensor(&m, "w", OM_Q_F32, dims, 2, x, n * sizeof(float));
    model_tensor(&m, "s", OM_Q_F32, params, rank, a->scale, a->steps.n * sizeof(float));
    model_tensor(&m, "z", type, params, rank, a->zero, a->steps.n);
    model_port(&m, PB_GRAPH_OUTPUT, "q", type);
    model_port(&m, PB_GRAPH_OUTPUT, "y", OM_Q_F32);
    model_end(&m);

    const struct om_file file = { .fd = -1, .data = (const uint8_t *)m.b.ptr, .size = m.b.len };
    rc = om_doc_parse(arena, &file, NULL, &doc, &err);
    if (rc == 0)
        rc = run_doc(arena, doc, NULL, 0, &out, &n_out, &err);
    CHECK_OK(t, rc, &err);
    CHECK_INT(t, n_out, 2);
    if (rc == 0 && n_out == 2) {
        CHECK(t, memcmp(out[0].data, q.ptr, n) == 0);
        check_floats(t, &out[1], want, n);
    }
    om_buf_release(&m.b);
    om_error_release(&err);
}

static void linear(struct test *t)
{
    static const struct om_affine_range ranges[] = { { true, true, false },
                                                     { true, false, false },
                                                     { false, true, false },
                                                     { false, false, false },
                                                     { false, false, true } };

    for (size_t i = 0; i < OM_COUNT(ranges) * PATTERNS * 3; i++) {
        const enum pattern pattern = (enum pattern)(i / 3 % PATTERNS);
        const int axis = (int)(i % 3) - 1;
        struct made m = { .dir = test_tmpdir(t), .arena = OM_ARENA_INIT(16u << 20) };
        struct weight w = { .n = 37, .k = 53, .dtype = OM_F32 };
        struct om_error err = OM_ERROR_INIT;
        struct om_affine a;
        int rc;

        test_case(t, "%s, axis %d, range %zu", pattern_text[pattern], axis, i / 3 / PATTERNS);
        make_weight(&m.arena, &w, pattern);
        rc = om_affine_init(&a, &w.view, &err);
        a.range = ranges[i / 3 / PATTERNS];
        a.steps = (struct om_affine_steps){ .row = axis == 0, .col = axis == 1 };
        a.steps.n = axis < 0 ? 1 : axis == 0 ? w.n : w.k;
        a.scale = om_arena_array(&m.arena, a.steps.n, sizeof(float));
        a.zero = om_arena_array(&m.arena, a.steps.n, 1);
        if (rc == 0)
            rc = om_affine_measure(&a, &err);
        if (rc == 0)
            rc = make(&m, &a.source, &err);
        CHECK_OK(t, rc, &err);
        if (rc == 0)
            check_linear(t, &m.arena, &a, w.x, m.bytes, axis);
        om_error_release(&err);
        om_arena_release(&m.arena);
    }
}

const struct test_entry t_blocks[] = { { "numbers", numbers },
                                       { "infinities", infinities },
                                       { "MatMulNBits", operators },
                                       { "QuantizeLinear and DequantizeLinear", linear },
                                       TEST_END };
