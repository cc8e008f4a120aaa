/* tests/unit/t_report.c: what the report of a quantization says, and that quantized files compute
 * about the same. */
#include <math.h>
#include <stdio.h>

#include <optimum/quantize.h>

#include "quant/report.h"
#include "ref/model.h"
#include "test.h"

/* ---- layers ---- */

static void layers(struct test *t)
{
    static const struct {
        const char *tensor, *reader, *part;
    } cases[] = {
        { "bert.encoder.layer.11.attention.self.query.weight", "", "bert.encoder.layer.11" },
        { "/encoder/layer.3/output/dense/Constant_output_0", "", "encoder.layer.3" },
        { "h.0.mlp.c_fc.weight", "", "h.0" },
        { "encoder.block.0.layer.1.DenseReluDense.wi.weight_Q4", "", "encoder.block.0" },
        { "embeddings.word_embeddings.weight", "", "embeddings.word_embeddings" },
        { "lm_head.weight_Bnb4", "", "lm_head" },
        { "onnx::MatMul_345", "/encoder/layer.7/query/MatMul", "encoder.layer.7" },
        { "onnx::MatMul_345_quantized", "/pooler/dense/Gemm", "onnx::MatMul" },
        { "w", "", "w" },
        { "1.weight", "", "1" }, /* a path that begins with a number has none before it */
        { "", "", "" },
        { "...", "", "" },
    };
    struct om_arena a = OM_ARENA_INIT(16u << 20);

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_quant_report r = { .files = NULL };
        struct om_error err = OM_ERROR_INIT;
        struct om_quant_file *f = NULL;
        struct om_doc *d = NULL;

        test_case(t, "\"%s\", read by \"%s\"", cases[i].tensor, cases[i].reader);
        CHECK_OK(t, om_doc_open(&a, test_data(t, "fuzz/quantize/mixed.onnx"), &d, &err), &err);
        CHECK_OK(t, om_quant_report_add(&r, "m.onnx", "m_q.onnx", &f, &err), &err);
        if (d && f) {
            om_sv in = om_sv_str(cases[i].tensor);

            d->graph->nodes.len = 1;
            d->graph->nodes.items[0].name = om_sv_str(cases[i].reader);
            d->graph->nodes.items[0].in = &in;
            d->graph->nodes.items[0].n_in = 1;
            d->graph->tensors.len = 1;
            d->graph->tensors.items[0].name = in;
            CHECK_OK(t, om_quant_count_parts(f, d, false, &err), &err);
            CHECK_OK(t, om_quant_count_parts(f, d, true, &err), &err);
            CHECK_INT(t, f->n_parts, 1);
            CHECK_STR(t, f->n_parts > 0 ? f->parts[0].name : "none", cases[i].part);
            CHECK(t, f->n_parts > 0 && f->parts[0].before == f->parts[0].after &&
                         f->parts[0].before == d->graph->tensors.items[0].bytes);
        }
        om_quant_report_release(&r);
        om_doc_close(d);
        om_error_release(&err);
    }
    om_arena_release(&a);
}

/* ---- the page ---- */

static bool contains(const struct om_buf *b, const char *text)
{
    return memmem(b->ptr, b->len, text, strlen(text)) != NULL;
}

/* Names are whatever a file says; numbers may be none. */
static void page(struct test *t)
{
    struct om_quant_weight weights[] = {
        { .name = "<script>&\"x\".0.w", .form = "int8", .before = 4, .after = 1, .measured = true },
        { .name = "a", .form = "<b>", .before = 0, .after = 0 },
        { .name = "b",
          .form = "int4",
          .measured = true,
          .max = INFINITY,
          .error = NAN,
          .total = 1 },
        { .name = "c", .form = "int4", .measured = true, .max = 1, .error = 1e-30, .total = 1e30 },
    };
    struct om_quant_difference differences[] = {
        { .name = "<i>", .compared = true, .max = NAN, .total = 1, .error = NAN },
        { .name = "not compared" },
    };
    struct om_quant_report r = { .files = NULL };
    struct om_buf b = OM_BUF_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_quant_file *f = NULL;

    om_quant_report_page(&r, &b);
    CHECK(t, om_buf_check(&b, &err) == 0 && contains(&b, "</html>"));
    om_buf_clear(&b);
    CHECK_OK(t, om_quant_report_add(&r, "<m>.onnx", "q&a.onnx", &f, &err), &err);
    if (f) {
        f->weights = weights;
        f->n_weights = OM_COUNT(weights);
        f->differences = differences;
        f->n_differences = OM_COUNT(differences);
        CHECK_OK(t, om_quant_spread_errors(f, &err), &err);
        om_quant_report_page(&r, &b);
        CHECK_OK(t, om_buf_check(&b, &err), &err);
        CHECK(t, contains(&b, "&lt;m&gt;.<wbr>onnx") && contains(&b, "q&amp;a.<wbr>onnx"));
        CHECK(t, contains(&b, "&lt;script&gt;&amp;&quot;x&quot;") && !contains(&b, "<script"));
        CHECK(t, contains(&b, "&lt;b&gt;") && !contains(&b, "<td><b>"));
        CHECK(t, contains(&b, "&lt;i&gt;") && !contains(&b, "not compared"));
        CHECK(t, !contains(&b, "width:nan") && !contains(&b, "width:inf"));
        CHECK(t, !contains(&b, "bottom:nan") && !contains(&b, "bottom:inf"));
    }
    om_quant_report_release(&r);
    om_buf_release(&b);
    om_error_release(&err);
}

/* ---- quantized files ---- */

static int run(const char *path, struct om_arena *a, struct om_tensor **out, size_t *n,
               struct om_error *err)
{
    static const int64_t dims[] = { 1, 11 }, ids[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };
    const struct om_tensor in = {
        .name = "ids", .dtype = OM_I64, .rank = 2, .dims = dims, .data = ids
    };
    const struct om_ref_model_opts opts = { .max_bytes = 64u << 20 };
    struct om_ref_model *m;
    struct om_doc *d;
    int rc;

    OM_TRY(om_doc_open(a, path, &d, err));
    rc = om_ref_model_new(d, &m, err);
    if (rc == 0)
        rc = om_ref_model_run(m, &in, 1, &opts, a, out, n, err);
    om_doc_close(d);
    return rc;
}

static double relative(const struct om_tensor *was, const struct om_tensor *now)
{
    double error = 0, total = 0;
    int64_t n = 0;

    if (was->dtype != OM_F32 || now->dtype != OM_F32 || was->rank != now->rank ||
        !om_count(was->dims, was->rank, &n))
        return INFINITY;
    for (int64_t i = 0; i < n; i++) {
        const double a = (double)((const float *)was->data)[i];
        const double d = a - (double)((const float *)now->data)[i];

        error += d * d;
        total += a * a;
    }
    return sqrt(error / total);
}

/* The reference executor runs what every preset makes. */
static void presets(struct test *t)
{
    static const struct {
        const char *name;
        double least, most; /* of the outputs' relative errors */
    } cases[] = { { "float16", 1e-6, 2e-3 }, { "int8", 1e-5, 0.02 }, { "int4", 1e-3, 0.3 },
                  { "q4f16", 1e-3, 0.3 },    { "nf4", 1e-3, 0.3 },   { "fp4", 1e-3, 0.4 },
                  { "avx2", 1e-5, 0.05 },    { "arm64", 1e-5, 0.05 } };
    struct om_arena a = OM_ARENA_INIT(256u << 20);
    const char *const model = test_data(t, "fuzz/quantize/mixed.onnx");

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_quantize_opts o = OM_QUANTIZE_OPTS_INIT;
        struct om_quant_config config;
        struct om_error err = OM_ERROR_INIT;
        struct om_tensor *was = NULL, *now = NULL;
        size_t n = 0, m = 0;

        test_case(t, "%s", cases[i].name);
        o.model = model;
        o.out_dir = om_path_join(&a, test_tmpdir(t), "out");
        o.config = &config;
        CHECK_OK(t, om_quant_preset(cases[i].name, &config, &err), &err);
        CHECK_OK(t, om_quantize_run(NULL, &o, &err), &err);
        CHECK_OK(t, run(model, &a, &was, &n, &err), &err);
        CHECK_OK(t, run(om_path_join(&a, o.out_dir, "mixed_quantized.onnx"), &a, &now, &m, &err),
                 &err);
        CHECK_INT(t, m, n);
        for (size_t k = 0; k < OM_MIN(n, m); k++) {
            const double e = relative(&was[k], &now[k]);

            test_check(t, e >= cases[i].least && e <= cases[i].most, __FILE__, __LINE__,
                       "output \"%s\": relative error %g", was[k].name, e);
        }
        om_error_release(&err);
    }
    om_arena_release(&a);
}

const struct test_entry t_report[] = {
    { "layers", layers }, { "page", page }, { "presets", presets }, TEST_END
};
