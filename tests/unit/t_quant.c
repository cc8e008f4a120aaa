/* tests/unit/t_quant.c: quantized weights against the formulas of ONNX's operators, element by
 * element, and documents that are written as they were read. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <optimum/quantize.h>

#include "base/half.h"
#include "made.h"
#include "quant/affine.h"
#include "quant/blocks.h"
#include "quant/calibrate.h"
#include "base/codes.h"
#include "test.h"

/* ---- parameters ---- */

static void params(struct test *t)
{
    static const struct {
        const char *name;
        float lo, hi;
        struct om_affine_range r;
        float scale;
        int zero;
    } cases[] = {
        { "int8, symmetric", -1.0f, 0.5f, { true, true, false }, 1.0f / 127.0f, 0 },
        { "int8", -1.0f, 1.55f, { true, false, false }, 0.01f, -28 },
        { "uint8, symmetric", -1.0f, 0.5f, { false, true, false }, 2.0f / 255.0f, 128 },
        { "uint8", -1.0f, 1.55f, { false, false, false }, 0.01f, 100 },
        { "uint8, reduced", -1.0f, 1.54f, { false, false, true }, 0.02f, 50 },
        { "int8, reduced, symmetric", -0.32f, 0.64f, { true, true, true }, 0.01f, 0 },
        { "the range takes in zero", 1.0f, 2.55f, { false, false, false }, 0.01f, 0 },
        { "all zeros", 0.0f, 0.0f, { false, true, false }, 1.0f, 0 },
        { "too small for a scale", -1e-44f, 1e-44f, { true, true, false }, 1.0f, 0 },
        { "no data", INFINITY, -INFINITY, { false, true, false }, 1.0f, 0 },
        { "the largest", -3.4e38f, 3.4e38f, { true, true, false }, 3.4e38f / 127.0f, 0 },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        float scale;
        int zero;

        test_case(t, "%s", cases[i].name);
        om_affine_params(cases[i].lo, cases[i].hi, cases[i].r, false, &scale, &zero);
        CHECK(t, fabsf(scale / cases[i].scale - 1.0f) < 1e-6f);
        CHECK_INT(t, zero, cases[i].zero);
    }
}

/* ---- 8 bits ---- */

struct shape {
    int64_t batch, rows, cols;
    bool swapped; /* the source is [batch][cols][rows] */
    enum om_dtype dtype;
};

static size_t source_at(const struct shape *s, size_t b, size_t r, size_t c)
{
    const size_t rows = (size_t)s->rows, cols = (size_t)s->cols;

    return s->swapped ? (b * cols + c) * rows + r : (b * rows + r) * cols + c;
}

/* QuantizeLinear by its definition, in the order of the target; parameters by the extremes of the
 * elements that share them. */
static void expect(struct test *t, const struct om_affine *a, const struct shape *s, const float *x,
                   const uint8_t *got)
{
    const size_t rows = (size_t)s->rows, cols = (size_t)s->cols;
    size_t wrong = 0, i = 0;

    for (size_t p = 0; p < a->steps.n; p++) {
        float lo = INFINITY, hi = -INFINITY, scale;
        int zero;

        for (size_t b = 0; b < (size_t)s->batch; b++)
            for (size_t r = 0; r < rows; r++)
                for (size_t c = 0; c < cols; c++) {
                    const float v = x[source_at(s, b, r, c)];

                    if (b * a->steps.batch + r * a->steps.row + c * a->steps.col != p)
                        continue;
                    lo = v < lo ? v : lo;
                    hi = v > hi ? v : hi;
                }
        om_affine_params(lo, hi, a->range, false, &scale, &zero);
        CHECK(t, scale == a->scale[p]);
        CHECK_INT(t, (int8_t)zero, a->zero[p]);
    }
    for (size_t b = 0; b < (size_t)s->batch; b++)
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < cols; c++, i++) {
                const size_t p = b * a->steps.batch + r * a->steps.row + c * a->steps.col;
                const int zero = a->range.is_signed ? a->zero[p] : (uint8_t)a->zero[p];
                const int least = a->range.is_signed ? -128 : 0;
                int q = (int)rintf(x[source_at(s, b, r, c)] / a->scale[p]) + zero;

                q = OM_MAX(least, OM_MIN(q, least + 255));
                wrong += (uint8_t)q != got[i];
            }
    CHECK_INT(t, wrong, 0);
}

static void check_shape(struct test *t, struct made *m, const struct shape *s,
                        struct om_affine_steps steps, struct om_affine_range range, unsigned seed)
{
    const size_t n = (size_t)(s->batch * s->rows * s->cols);
    float *const x = om_arena_array(&m->arena, n + 1, sizeof(float));
    uint8_t *const raw = om_arena_alloc(&m->arena, n * 4 + 8);
    const int64_t dims[] = { s->batch, s->rows, s->cols },
                  strides[] = { s->rows * s->cols, 1, s->rows };
    const struct om_weight w = { .name = OM_SVL("w"),
                                 .dtype = OM_F32,
                                 .src_dtype = s->dtype,
                                 .rank = 3,
                                 .dims = dims,
                                 .data = raw + 1, /* files do not align */
                                 .bytes = n * om_dtype_size(s->dtype),
                                 .strides = s->swapped ? strides : NULL };
    struct om_error err = OM_ERROR_INIT;
    struct om_affine a;
    int rc;

    for (size_t i = 0; i < n; i++)
        x[i] = number(&seed) * (float)(1 + i % 7);
    om_convert(raw + 1, s->dtype, x, OM_F32, n);
    om_convert(x, OM_F32, raw + 1, s->dtype, n); /* what 16 bits hold */
    rc = om_affine_init(&a, &w, &err);
    a.steps = steps;
    a.range = range;
    a.want_error = true;
    a.scale = om_arena_array(&m->arena, steps.n + 1, sizeof(float));
    a.zero = om_arena_array(&m->arena, steps.n + 1, 1);
    if (rc == 0)
        rc = om_affine_measure(&a, &err);
    if (rc == 0)
        rc = make(m, &a.source, &err);
    CHECK_OK(t, rc, &err);
    CHECK_INT(t, m->bytes.len, n);
    if (rc == 0 && m->bytes.len == n)
        expect(t, &a, s, x, (const uint8_t *)m->bytes.ptr);
    CHECK(t, a.error.max <= (double)a.scale[0] * 8.0 && (n == 0 || a.error.total > 0));
    om_error_release(&err);
}

static void affine(struct test *t)
{
    static const struct shape shapes[] = {
        { 1, 1, 1, false, OM_F32 },     { 1, 7, 5, false, OM_F32 },
        { 1, 7, 5, true, OM_F32 },      { 2, 33, 17, false, OM_F32 },
        { 2, 17, 33, true, OM_F32 },    { 1, 300, 2049, false, OM_F32 },
        { 1, 2049, 300, true, OM_F32 }, { 3, 40, 31, true, OM_BF16 },
        { 1, 64, 100, false, OM_F16 },  { 1, 0, 4, false, OM_F32 },
        { 2, 3, 0, true, OM_F32 },
    };
    static const struct om_affine_range ranges[] = { { true, true, false },
                                                     { false, true, false },
                                                     { false, false, true },
                                                     { true, false, false } };
    struct made m = { .dir = test_tmpdir(t), .arena = OM_ARENA_INIT(512u << 20) };

    for (size_t i = 0; i < OM_COUNT(shapes); i++) {
        const struct shape *const s = &shapes[i];
        const size_t batch = (size_t)s->batch, rows = (size_t)s->rows, cols = (size_t)s->cols;
        const struct om_affine_steps steps[] = {
            { 0, 0, 0, 1 }, { 0, 0, 1, cols }, { 0, 1, 0, rows }, { 1, 0, 0, batch }
        };

        for (size_t k = 0; k < OM_COUNT(steps); k++) {
            test_case(t, "[%zu, %zu, %zu] swapped %d, steps %zu", batch, rows, cols, s->swapped, k);
            check_shape(t, &m, s, steps[k], ranges[(i + k) % OM_COUNT(ranges)],
                        (unsigned)(i * 10 + k));
        }
    }
    om_arena_release(&m.arena);
}

static void refused(struct test *t)
{
    static const float bad[] = { INFINITY, -INFINITY, NAN };

    for (size_t i = 0; i < OM_COUNT(bad); i++) {
        float x[40] = { 0 }, scale[1];
        int8_t zero[1];
        static const int64_t dims[] = { 5, 8 };
        const struct om_weight w = { .name = OM_SVL("layer.weight"),
                                     .dtype = OM_F32,
                                     .src_dtype = OM_F32,
                                     .rank = 2,
                                     .dims = dims,
                                     .data = x,
                                     .bytes = sizeof(x) };
        struct made m = { .dir = test_tmpdir(t), .arena = OM_ARENA_INIT(1u << 20) };
        struct om_error err = OM_ERROR_INIT;
        struct om_affine a;
        struct om_blocks b;

        x[37] = bad[i];
        CHECK_OK(t, om_affine_init(&a, &w, &err), &err);
        a.range = (struct om_affine_range){ true, true, false };
        a.scale = scale;
        a.zero = zero;
        CHECK_INT(t, om_affine_measure(&a, &err), OM_E_UNSUPPORTED);
        CHECK_STR(t, om_error_text(&err),
                  "tensor \"layer.weight\" has an infinity or NaN: it cannot be quantized");
        om_error_release(&err);
        om_blocks_init(&b, &w, false, (struct om_block_form){ .bits = 4, .size = 16 });
        CHECK_INT(t, make(&m, &b.packed, &err), OM_E_UNSUPPORTED);
        om_error_release(&err);
        om_blocks_release(&b);
        om_arena_release(&m.arena);
    }
}

/* ---- blocks ---- */

/* Numbers, scales and zero points of every block as MatMulNBits reads them. */
static double squared_error(const struct om_blocks *b, const float *x, const uint8_t *packed,
                            const float *scales, const uint8_t *zeros)
{
    const size_t size = (size_t)b->form.size;
    double sum = 0;

    for (size_t n = 0; n < b->n; n++)
        for (size_t k = 0; k < b->k; k++) {
            const size_t block = k / size, at = (n * b->blocks + block) * size + k % size;
            const size_t zrow = n * om_blocks_zero_bytes(b);
            int q, z = 1 << (b->form.bits - 1);
            double d;

            if (b->form.bits == 8)
                q = packed[at];
            else
                q = packed[at / 2] >> (at % 2 * 4) & 15;
            if (zeros && b->form.bits == 8)
                z = zeros[zrow + block];
            else if (zeros)
                z = zeros[zrow + block / 2] >> (block % 2 * 4) & 15;
            d = (double)x[b->swapped ? k * b->n + n : n * b->k + k] -
                (double)((float)(q - z) * scales[n * b->blocks + block]);
            sum += d * d;
        }
    return sum;
}

/* Give the error of the search, after checking what was written against what was reported. */
static double check_blocks(struct test *t, struct made *m, size_t n, size_t k, bool swapped,
                           struct om_block_form form)
{
    float *const x = om_arena_array(&m->arena, n * k, sizeof(float));
    const int64_t dims[] = { (int64_t)(swapped ? k : n), (int64_t)(swapped ? n : k) };
    const struct om_weight w = { .name = OM_SVL("w"),
                                 .dtype = OM_F32,
                                 .src_dtype = OM_F32,
                                 .rank = 2,
                                 .dims = dims,
                                 .data = x,
                                 .bytes = n * k * 4 };
    struct om_error err = OM_ERROR_INIT;
    struct om_blocks b;
    om_sv packed, scales, zeros = { NULL, 0 };
    unsigned seed = (unsigned)(n * 1000 + k);
    double error = 0;
    int rc;

    for (size_t i = 0; i < n * k; i++)
        x[i] = i % 97 < 20 ? 0.0f : number(&seed) * number(&seed);
    om_blocks_init(&b, &w, swapped, form);
    b.want_error = true;
    rc = make(m, &b.packed, &err);
    packed = m->bytes;
    if (rc == 0)
        rc = make(m, &b.scales, &err);
    scales = m->bytes;
    if (rc == 0 && !form.symmetric) {
        rc = make(m, &b.zeros, &err);
        zeros = m->bytes;
        CHECK_INT(t, zeros.len, n * om_blocks_zero_bytes(&b));
    }
    CHECK_OK(t, rc, &err);
    CHECK_INT(t, packed.len, om_blocks_bytes(&b));
    CHECK_INT(t, scales.len, n * b.blocks * 4);
    if (rc == 0) {
        error = squared_error(&b, x, (const uint8_t *)packed.ptr, (const float *)scales.ptr,
                              (const uint8_t *)zeros.ptr);
        CHECK(t, fabs(error - b.error.error) <= 1e-4 * error + 1e-9);
    }
    om_blocks_release(&b);
    om_error_release(&err);
    return error;
}

/* Every element of a coded weight is the nearest of its table's, scaled by the largest of its
 * block, which runs over the ends of rows. */
static void check_coded(struct test *t, const struct om_blocks *b, const float *x,
                        const uint8_t *packed, const float *scales, double *error)
{
    const float *const table =
        om_codes[b->form.numbers == OM_QUANT_NF4 ? OM_CODES_NF4 : OM_CODES_FP4];

    *error = 0;
    for (size_t i = 0; i < b->n * b->k; i++) {
        const size_t row = i / b->k, col = i % b->k;
        const float scale = scales[i / (size_t)b->form.size];
        const double v = (double)x[b->swapped ? col * b->n + row : i];
        const unsigned q = i % 2 == 0 ? packed[i / 2] >> 4 : packed[i / 2] & 15u;
        const double d = fabs(v - (double)(table[q] * scale));
        double nearest = INFINITY;

        for (int k = 0; k < 16; k++)
            nearest = OM_MIN(nearest, fabs(v - (double)(table[k] * scale)));
        CHECK(t, d <= nearest + 1e-5 * (double)scale);
        *error += d * d;
    }
}

static void coded(struct test *t)
{
    static const struct {
        size_t n, k;
    } shapes[] = {
        { 1, 16 }, { 3, 101 }, { 19, 33 }, { 64, 512 }, { 5, 1 }, { 300, 47 }, { 9, 3 }
    };
    struct made m = { .dir = test_tmpdir(t), .arena = OM_ARENA_INIT(512u << 20) };

    for (size_t i = 0; i < OM_COUNT(shapes); i++)
        for (int how = 0; how < 8; how++) {
            const size_t count = shapes[i].n * shapes[i].k;
            const struct om_block_form form = { .bits = 4,
                                                .size = how & 2 ? 16 : 64,
                                                .symmetric = true,
                                                .numbers = how & 1 ? OM_QUANT_NF4 : OM_QUANT_FP4 };
            const bool swapped = how & 4;
            const int64_t dims[] = { (int64_t)(swapped ? shapes[i].k : shapes[i].n),
                                     (int64_t)(swapped ? shapes[i].n : shapes[i].k) };
            float *const x = om_arena_array(&m.arena, count, sizeof(float));
            const struct om_weight w = { .name = OM_SVL("w"),
                                         .dtype = OM_F32,
                                         .src_dtype = OM_F32,
                                         .rank = 2,
                                         .dims = dims,
                                         .data = x,
                                         .bytes = count * 4 };
            struct om_error err = OM_ERROR_INIT;
            struct om_blocks b;
            om_sv packed, scales;
            unsigned seed = (unsigned)count;
            double error;
            int rc;

            test_case(t, "[%zu, %zu], %d in a block, numbers %d, swapped %d", shapes[i].n,
                      shapes[i].k, form.size, form.numbers, swapped);
            for (size_t k = 0; k < count; k++)
                x[k] = k % 97 < 20 ? 0.0f : number(&seed);
            om_blocks_init(&b, &w, swapped, form);
            b.want_error = true;
            rc = make(&m, &b.packed, &err);
            packed = m.bytes;
            if (rc == 0)
                rc = make(&m, &b.scales, &err);
            scales = m.bytes;
            CHECK_OK(t, rc, &err);
            CHECK_INT(t, packed.len, (count + 1) / 2);
            CHECK_INT(t, scales.len, (count + (size_t)form.size - 1) / (size_t)form.size * 4);
            if (rc == 0) {
                check_coded(t, &b, x, (const uint8_t *)packed.ptr, (const float *)scales.ptr,
                            &error);
                CHECK(t, fabs(error - b.error.error) <= 1e-5 * error + 1e-9);
            }
            if (count % 2 != 0 && rc == 0) /* the half that nothing uses is zero */
                CHECK_INT(t, (uint8_t)packed.ptr[packed.len - 1] & 15,
                          form.numbers == OM_QUANT_NF4 ? 7 : 0);
            om_blocks_release(&b);
            om_error_release(&err);
        }
    om_arena_release(&m.arena);
}

static void blocks(struct test *t)
{
    static const struct {
        size_t n, k;
    } shapes[] = { { 1, 16 }, { 3, 100 }, { 19, 33 }, { 64, 512 }, { 5, 1 }, { 300, 47 } };
    struct made m = { .dir = test_tmpdir(t), .arena = OM_ARENA_INIT(512u << 20) };

    for (size_t i = 0; i < OM_COUNT(shapes); i++)
        for (int how = 0; how < 16; how++) {
            struct om_block_form form = { .bits = how & 1 ? 4 : 8,
                                          .size = how & 2 ? 16 : 64,
                                          .symmetric = how & 4 };
            const bool swapped = how & 8;
            double plain, best;

            test_case(t, "[%zu, %zu], %d bits, %d in a block, symmetric %d, swapped %d",
                      shapes[i].n, shapes[i].k, form.bits, form.size, form.symmetric, swapped);
            plain = check_blocks(t, &m, shapes[i].n, shapes[i].k, swapped, form);
            form.search = OM_QUANT_HQQ;
            best = check_blocks(t, &m, shapes[i].n, shapes[i].k, swapped, form);
            CHECK(t, best <= plain * (1 + 1e-6));
        }
    om_arena_release(&m.arena);
}

/* ---- documents ---- */

static const char *const models[] = { "mixed", "conv", "lstm", "if", "attention", "cast" };

static int write_again(const char *path, const char *dir, const char *name, struct om_error *err)
{
    struct om_arena a = OM_ARENA_INIT(64u << 20);
    const struct om_doc_write_opts opts = { .data = NULL };
    struct om_out out = OM_OUT_INIT;
    struct om_doc *d = NULL;
    int rc = om_doc_open(&a, path, &d, err);

    if (rc == 0)
        rc = om_out_open(&out, dir, name, NULL, err);
    if (rc == 0)
        rc = om_doc_write(d, &opts, &out, err);
    if (rc == 0)
        rc = om_out_commit(&out, false, err);
    om_out_abort(&out);
    om_doc_close(d);
    om_arena_release(&a);
    return rc;
}

/* A second reading and writing changes nothing more. */
static void documents(struct test *t)
{
    struct made m = { .dir = test_tmpdir(t), .arena = OM_ARENA_INIT(16u << 20) };

    for (size_t i = 0; i < OM_COUNT(models); i++) {
        const char *const name = om_arena_printf(&m.arena, "fuzz/quantize/%s.onnx", models[i]);
        const char *const once = om_path_join(&m.arena, m.dir, "once");
        const char *const twice = om_path_join(&m.arena, m.dir, "twice");
        struct om_error err = OM_ERROR_INIT;
        om_sv a = { NULL, 0 }, b = { NULL, 0 };

        test_case(t, "%s", models[i]);
        CHECK_OK(t, write_again(test_data(t, name), m.dir, "once", &err), &err);
        CHECK_OK(t, write_again(once, m.dir, "twice", &err), &err);
        CHECK_OK(t, om_file_read(&m.arena, once, 1u << 20, &a, &err), &err);
        CHECK_OK(t, om_file_read(&m.arena, twice, 1u << 20, &b, &err), &err);
        CHECK(t, a.len > 0 && om_sv_eq(a, b));
        om_error_release(&err);
    }
    om_arena_release(&m.arena);
}

/* Data files that are opened one after the other. */
struct pile {
    const char *dir;
    struct om_out out[16];
    char names[16][16];
    size_t n;
};

static int next_file(void *user, struct om_out **data, const char **location, struct om_error *err)
{
    struct pile *const p = user;

    if (p->n == OM_COUNT(p->out))
        return om_fail(err, OM_E_INTERNAL, "too many files");
    snprintf(p->names[p->n], sizeof(p->names[0]), "data.%zu", p->n);
    p->out[p->n] = (struct om_out)OM_OUT_INIT;
    OM_TRY(om_out_open(&p->out[p->n], p->dir, p->names[p->n], NULL, err));
    *data = &p->out[p->n];
    *location = p->names[p->n++];
    return 0;
}

static int write_split(const char *path, struct pile *p, uint64_t most, struct om_error *err)
{
    struct om_arena a = OM_ARENA_INIT(64u << 20);
    struct om_doc_write_opts opts = { .data_max = most, .next = next_file, .user = p };
    struct om_out out = OM_OUT_INIT;
    struct om_doc *d = NULL;
    int rc = om_doc_open(&a, path, &d, err);

    if (rc == 0)
        rc = next_file(p, &opts.data, &opts.location, err);
    if (rc == 0)
        rc = om_out_open(&out, p->dir, "split", NULL, err);
    if (rc == 0)
        rc = om_doc_write(d, &opts, &out, err);
    for (size_t i = 0; i < p->n; i++) {
        if (rc == 0)
            rc = om_out_commit(&p->out[i], false, err);
        om_out_abort(&p->out[i]);
    }
    if (rc == 0)
        rc = om_out_commit(&out, false, err);
    om_out_abort(&out);
    om_doc_close(d);
    om_arena_release(&a);
    return rc;
}

/* Tensors in several files are read back, and the file that has them inside is the same again. */
static void data_files(struct test *t)
{
    static const struct {
        const char *model;
        uint64_t most;
        size_t files;
    } cases[] = {
        { "mixed", 1u << 20, 1 },
        { "mixed", 300, 2 },
        { "lstm", 256, 2 },
        { "if", 64, 3 },
    };
    struct om_arena a = OM_ARENA_INIT(16u << 20);

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const char *const name = om_arena_printf(&a, "fuzz/quantize/%s.onnx", cases[i].model);
        struct pile p = { .dir = test_tmpdir(t) };
        struct om_error err = OM_ERROR_INIT;
        om_sv whole = { NULL, 0 }, again = { NULL, 0 };

        test_case(t, "%s, %" PRIu64 " bytes", cases[i].model, cases[i].most);
        CHECK_OK(t, write_split(test_data(t, name), &p, cases[i].most, &err), &err);
        CHECK(t, p.n >= cases[i].files && (cases[i].files > 1 || p.n == 1));
        CHECK_OK(t, write_again(test_data(t, name), p.dir, "whole", &err), &err);
        CHECK_OK(t, write_again(om_path_join(&a, p.dir, "split"), p.dir, "again", &err), &err);
        CHECK_OK(t, om_file_read(&a, om_path_join(&a, p.dir, "whole"), 1u << 20, &whole, &err),
                 &err);
        CHECK_OK(t, om_file_read(&a, om_path_join(&a, p.dir, "again"), 1u << 20, &again, &err),
                 &err);
        CHECK(t, whole.len > 0 && whole.len == again.len);
        om_error_release(&err);
    }
    om_arena_release(&a);
}

static void configurations(struct test *t)
{
    static const struct {
        const char *json, *says;
    } cases[] = {
        { "{}", "there is no \"quantization\" object" },
        { "{\"quantization\": {}}", "there is no \"quantization\" object" },
        { "{\"is_static\": false, \"mode\": \"QLinearOps\"}",
          "\"mode\" is \"QLinearOps\", expected \"IntegerOps\"" },
        { "{\"is_static\": false, \"activations_dtype\": \"QInt8\"}",
          "needs activations of QUInt8" },
        { "{\"is_static\": true, \"activations_dtype\": \"QInt8\", \"weights_dtype\": \"QUInt8\"}",
          "does not combine" },
        { "{\"is_static\": false, \"weights_dtype\": \"QInt4\"}",
          "\"weights_dtype\" is \"QInt4\"" },
        { "{\"is_static\": false, \"nodes_to_exclude\": \"a\"}", "expected a list of strings" },
        { "{\"is_static\": false, \"nodes_to_exclude\": [1]}", "expected a list of strings" },
    };
    struct om_quantize_opts o = OM_QUANTIZE_OPTS_INIT;
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;

    o.model = test_data(t, "fuzz/quantize/mixed.onnx");
    o.out_dir = om_path_join(&a, test_tmpdir(t), "out");
    CHECK_INT(t, om_quantize_run(NULL, &o, &err), OM_E_USAGE);
    om_error_release(&err);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_out out = OM_OUT_INIT;

        test_case(t, "%s", cases[i].json);
        CHECK_OK(t, om_out_open(&out, test_tmpdir(t), "c.json", NULL, &err), &err);
        CHECK_OK(t, om_out_write(&out, cases[i].json, strlen(cases[i].json), &err), &err);
        CHECK_OK(t, om_out_commit(&out, false, &err), &err);
        o.config_file = om_path_join(&a, test_tmpdir(t), "c.json");
        CHECK(t, om_quantize_run(NULL, &o, &err) < 0);
        CHECK_HAS(t, om_error_text(&err), cases[i].says);
        om_error_release(&err);
    }
    struct om_quant_config c;
    CHECK_INT(t, om_quant_preset("avx51", &c, &err), OM_E_USAGE);
    CHECK_STR(t, om_error_text(&err), "no preset is called \"avx51\"; did you mean \"avx512\"?");
    om_error_release(&err);
    CHECK_INT(t, om_quant_preset_static("int4", &c, &err), OM_E_USAGE);
    CHECK_STR(t, om_error_text(&err), "the preset int4 has no static quantization");
    om_error_release(&err);
    CHECK_OK(t, om_quant_preset_static("avx2", &c, &err), &err);
    CHECK(t, c.method == OM_QUANT_STATIC && c.format == OM_QUANT_QDQ && c.per_channel);
    CHECK(t, c.weights_type == OM_QUANT_UINT8 && c.float_output_operators && c.constant_weights);
    om_arena_release(&a);
}

/* ---- ranges ---- */

static void ranges(struct test *t)
{
    uint64_t bins[100] = { 0 };
    struct om_range r = { .lo = -1.0f, .hi = 1.0f };

    for (size_t i = 0; i < 100; i++)
        bins[i] = 1;
    om_calibrate_percentile(bins, 100, 1.0f, 90.0, false, &r);
    CHECK(t, fabsf(r.lo + 0.92f) < 1e-5f || fabsf(r.lo + 0.9f) < 0.021f);
    CHECK(t, fabsf(r.hi - 0.9f) < 0.021f);
    r = (struct om_range){ .lo = -1.0f, .hi = 1.0f };
    om_calibrate_percentile(bins, 100, 1.0f, 100.0, false, &r);
    CHECK(t, r.lo == -1.0f && r.hi == 1.0f);
    /* Nothing but an outlier far from the rest: the range loses it. */
    memset(bins, 0, sizeof(bins));
    for (size_t i = 45; i < 55; i++)
        bins[i] = 1000 * (i < 50 ? i - 44 : 55 - i);
    bins[99] = 1;
    r = (struct om_range){ .lo = -0.1f, .hi = 1.0f };
    om_calibrate_entropy(bins, 100, 1.0f, 8, &r);
    CHECK(t, r.hi < 0.5f && r.lo >= -0.1f);
    r = (struct om_range){ .lo = -0.1f, .hi = 1.0f };
    om_calibrate_percentile(bins, 100, 1.0f, 99.9, false, &r);
    CHECK(t, r.hi < 0.5f && r.lo == -0.1f);
    /* The least squared error: many near 0 outweigh few far away, and the reverse. */
    r = (struct om_range){ .lo = -0.1f, .hi = 1.0f };
    om_calibrate_mse(bins, 100, 1.0f, false, &r);
    CHECK(t, r.hi < 1.0f && r.hi > 0.5f && r.lo >= -0.1f && r.lo < 0);
    bins[99] = 1000;
    r = (struct om_range){ .lo = -0.1f, .hi = 1.0f };
    om_calibrate_mse(bins, 100, 1.0f, true, &r);
    CHECK(t, r.lo == -1.0f && r.hi == 1.0f);
    /* Nothing was seen. */
    memset(bins, 0, sizeof(bins));
    r = (struct om_range){ .lo = -0.5f, .hi = 0.25f };
    om_calibrate_percentile(bins, 100, 0.5f, 99.9, true, &r);
    om_calibrate_entropy(bins, 100, 0.5f, 8, &r);
    om_calibrate_mse(bins, 100, 0.5f, false, &r);
    CHECK(t, r.lo <= 0 && r.hi >= 0);
}

const struct test_entry t_quant[] = { { "parameters", params },
                                      { "affine", affine },
                                      { "infinities are refused", refused },
                                      { "blocks", blocks },
                                      { "coded", coded },
                                      { "documents", documents },
                                      { "data_files", data_files },
                                      { "configurations", configurations },
                                      { "ranges", ranges },
                                      TEST_END };
