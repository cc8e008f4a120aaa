/* tests/unit/t_model.c: models opened, exported on the fly, run, saved and opened again; which file
 * is chosen, and which inputs are made. */
#include "model/internal.h"
#include "test.h"
#include "tests/golden/golden.h"
#include "tools/mkckpt_lib.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <optimum/export.h>

#include "base/file.h"

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

/* ---- the choice of a file ---- */

struct heard {
    char last[512];
    int warnings;
};

static void hear(void *user, enum om_level level, const char *line)
{
    struct heard *h = user;

    if (level != OM_LOG_WARNING)
        return;
    h->warnings++;
    snprintf(h->last, sizeof(h->last), "%s", line);
}

static void choice(struct test *t)
{
    static const struct {
        const char *files[4], *file_name;
        const char *want; /* NULL: refused */
        const char *says; /* part of the warning or error; NULL: none */
    } cases[] = {
        { { "model.onnx" }, NULL, "model.onnx", NULL },
        { { "a.onnx", "model.onnx" }, NULL, "model.onnx", NULL },
        { { "model.onnx", "onnx/model.onnx" }, NULL, "model.onnx", "2 files have the name" },
        { { "x.onnx" }, NULL, "x.onnx", "no file model.onnx, x.onnx is used" },
        { { "b.onnx", "c/d.onnx" }, NULL, "b.onnx", "b.onnx, c/d.onnx" },
        { { "model.onnx", "c/q.onnx" }, "q.onnx", "c/q.onnx", NULL },
        { { "a/q.onnx", "b/q.onnx" }, "q.onnx", "a/q.onnx", "2 files have the name q.onnx" },
        { { "model.onnx", "a/b.onnx" }, "q.onnx", NULL, "no file q.onnx, found: model.onnx, a/b" },
        { { "model.onnx" }, "c/model.onnx", NULL, "no file c/model.onnx" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_onnx_files f = { 0 };
        struct om_error err = OM_ERROR_INIT;
        struct om_ctx *ctx = om_ctx_new();
        struct heard h = { .warnings = 0 };
        const struct om_model_opts o = { .file_name = cases[i].file_name };
        struct om_onnx_choice got = { .file = NULL };
        int rc;

        om_ctx_set_log(ctx, hear, &h, OM_LOG_WARNING);
        test_case(t, "case %zu", i);
        for (size_t k = 0; k < OM_COUNT(cases[i].files) && cases[i].files[k]; k++)
            CHECK_OK(t, om_onnx_files_add(&f, cases[i].files[k], &err), &err);
        rc = om_onnx_files_choose(ctx, "M", &f, &o, &got, &err);
        CHECK_INT(t, rc, cases[i].want ? 0 : OM_E_MISSING);
        CHECK_INT(t, h.warnings, cases[i].want && cases[i].says ? 1 : 0);
        if (cases[i].want)
            CHECK_STR(t, got.file, cases[i].want);
        if (cases[i].says)
            CHECK_HAS(t, cases[i].want ? h.last : om_error_text(&err), cases[i].says);
        om_onnx_files_release(&f);
        om_error_release(&err);
        om_ctx_free(ctx);
    }
}

/* Decoders, and encoder-decoders with their several files. */
static void generator_choice(struct test *t)
{
    static const struct {
        struct om_model_opts o;
        const char *files[5];
        struct om_onnx_choice want; /* file NULL: refused */
    } cases[] = {
        { { .model_class = OM_MODEL_CAUSAL_LM },
          { "decoder_model_merged.onnx", "model.onnx" },
          { .file = "model.onnx" } },
        { { .model_class = OM_MODEL_CAUSAL_LM },
          { "decoder_model.onnx", "decoder_model_merged.onnx", "decoder_with_past_model.onnx" },
          { .file = "decoder_model_merged.onnx" } },
        { { .model_class = OM_MODEL_CAUSAL_LM },
          { "decoder_model.onnx", "decoder_with_past_model.onnx" },
          { .file = "decoder_with_past_model.onnx" } },
        { { .model_class = OM_MODEL_CAUSAL_LM, .no_cache = true },
          { "decoder_model.onnx", "decoder_with_past_model.onnx" },
          { .file = "decoder_model.onnx" } },
        { { .model_class = OM_MODEL_CAUSAL_LM }, { "q4.onnx" }, { .file = "q4.onnx" } },
        { { .model_class = OM_MODEL_CAUSAL_LM, .file_name = "b.onnx" },
          { "b.onnx", "model.onnx" },
          { .file = "b.onnx" } },
        { { .model_class = OM_MODEL_SEQ2SEQ_LM },
          { "decoder_model.onnx", "decoder_model_merged.onnx", "decoder_with_past_model.onnx",
            "encoder_model.onnx" },
          { "decoder_model_merged.onnx", "encoder_model.onnx", NULL } },
        { { .model_class = OM_MODEL_SEQ2SEQ_LM, .no_merged = true },
          { "decoder_model.onnx", "decoder_model_merged.onnx", "decoder_with_past_model.onnx",
            "encoder_model.onnx" },
          { "decoder_model.onnx", "encoder_model.onnx", "decoder_with_past_model.onnx" } },
        { { .model_class = OM_MODEL_SEQ2SEQ_LM, .no_cache = true },
          { "decoder_model.onnx", "decoder_with_past_model.onnx", "encoder_model.onnx" },
          { "decoder_model.onnx", "encoder_model.onnx", NULL } },
        { { .model_class = OM_MODEL_SEQ2SEQ_LM, .decoder_file_name = "other.onnx" },
          { "decoder_model_merged.onnx", "encoder_model.onnx", "other.onnx" },
          { "other.onnx", "encoder_model.onnx", NULL } },
        { { .model_class = OM_MODEL_SEQ2SEQ_LM },
          { "my_decoder_merged_q8.onnx", "my_encoder_q8.onnx" },
          { "my_decoder_merged_q8.onnx", "my_encoder_q8.onnx", NULL } },
        { { .model_class = OM_MODEL_SEQ2SEQ_LM }, { "decoder_model.onnx" }, { NULL, NULL, NULL } },
        { { .model_class = OM_MODEL_SEQ2SEQ_LM }, { "encoder_model.onnx" }, { NULL, NULL, NULL } },
        { { .model_class = OM_MODEL_SEQ2SEQ_LM, .encoder_file_name = "e.onnx" },
          { "encoder_model.onnx", "decoder_model.onnx" },
          { NULL, NULL, NULL } },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_onnx_files f = { 0 };
        struct om_error err = OM_ERROR_INIT;
        struct om_onnx_choice got = { .file = NULL };
        int rc;

        test_case(t, "case %zu", i);
        for (size_t k = 0; k < OM_COUNT(cases[i].files) && cases[i].files[k]; k++)
            CHECK_OK(t, om_onnx_files_add(&f, cases[i].files[k], &err), &err);
        rc = om_onnx_files_choose(NULL, "M", &f, &cases[i].o, &got, &err);
        CHECK_INT(t, rc, cases[i].want.file ? 0 : OM_E_MISSING);
        if (cases[i].want.file) {
            CHECK_STR(t, got.file, cases[i].want.file);
            CHECK_STR(t, got.encoder, cases[i].want.encoder);
            CHECK_STR(t, got.with_past, cases[i].want.with_past);
        } else {
            CHECK_HAS(t, om_error_text(&err), "found: ");
        }
        om_onnx_files_release(&f);
        om_error_release(&err);
    }
}

static void touch(struct test *t, const char *dir, const char *name)
{
    struct om_out o = OM_OUT_INIT;
    struct om_error err = OM_ERROR_INIT;

    CHECK_OK(t, om_dir_make(dir, &err), &err);
    CHECK_OK(t, om_out_open(&o, dir, name, NULL, &err), &err);
    CHECK_OK(t, om_out_commit(&o, false, &err), &err);
    om_error_release(&err);
}

static void listing(struct test *t)
{
    static const char *const want[] = { "m.onnx", "a/z.onnx", "a/b/y.onnx" };
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_onnx_files f = { 0 };
    const char *dir = test_tmpdir(t);

    touch(t, dir, "m.onnx");
    touch(t, dir, "m.onnx_data");
    touch(t, om_path_join(&a, dir, "a"), "z.onnx");
    touch(t, om_path_join(&a, dir, "a/b"), "y.onnx");
    CHECK_OK(t, om_dir_make(om_path_join(&a, dir, "dir.onnx"), &err), &err);
    CHECK_INT(t, symlink(dir, om_path_join(&a, dir, "loop")), 0);
    CHECK_OK(t, om_onnx_files_list(&a, dir, &f, &err), &err);
    CHECK_INT(t, f.len, OM_COUNT(want));
    for (size_t i = 0; i < f.len && i < OM_COUNT(want); i++)
        CHECK_STR(t, f.paths[i], want[i]);
    om_onnx_files_release(&f);
    CHECK(t, om_onnx_files_list(&a, om_path_join(&a, dir, "none"), &f, &err) < 0);
    om_error_release(&err);
    om_arena_release(&a);
}

/* ---- whole models ---- */

struct fixture {
    struct om_arena arena;
    struct om_error err;
    const char *dir; /* of the checkpoint */
    struct golden_cases cases;
    struct golden_case *list;
    size_t n;
};

static bool begin(struct test *t, struct fixture *f, const char *type, const char *task)
{
    struct golden g = { .model_type = type, .task = task };
    char name[128];

    *f = (struct fixture){ .arena = OM_ARENA_INIT(1 << 26), .err = OM_ERROR_INIT };
    snprintf(name, sizeof(name), "goldens/%s/%s", type, task);
    g.dir = om_arena_str(&f->arena, om_sv_str(test_data(t, name)));
    f->dir = om_path_join(&f->arena, test_tmpdir(t), "checkpoint");
    CHECK_OK(t, mkckpt_run(g.dir, f->dir, &(const struct mkckpt_opts)MKCKPT_OPTS_INIT, &f->err),
             &f->err);
    CHECK_OK(t, golden_cases_open(&f->arena, &g, &f->cases, &f->err), &f->err);
    if (f->cases.file)
        CHECK_OK(t, golden_cases_of(&f->arena, &f->cases, "model", &f->list, &f->n, &f->err),
                 &f->err);
    CHECK(t, f->n > 0);
    return !test_failed(t);
}

static void end(struct fixture *f)
{
    golden_cases_close(&f->cases);
    om_error_release(&f->err);
    om_arena_release(&f->arena);
}

static struct om_model *open_model(struct test *t, const struct om_model_opts *o)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_model *m = NULL;

    CHECK_OK(t, om_model_open(NULL, o, &m, &err), &err);
    om_error_release(&err);
    return m;
}

static void check_near(struct test *t, const struct om_tensor *got, const struct om_tensor *want)
{
    uint64_t bytes = 0, expected = 0;
    double max = 0;

    CHECK(t, got != NULL);
    if (!got)
        return;
    CHECK_INT(t, got->dtype, OM_F32);
    CHECK(t, om_tensor_bytes(got, &bytes) && om_tensor_bytes(want, &expected));
    CHECK_INT(t, bytes, expected);
    for (uint64_t i = 0; bytes == expected && i < bytes / 4; i++) {
        const double d =
            fabs((double)((const float *)got->data)[i] - ((const float *)want->data)[i]);
        max = d > max || isnan(d) ? d : max;
    }
    test_check(t, max < 1e-4, __FILE__, __LINE__, "%s: difference %g", want->name, max);
}

static void check_case(struct test *t, const struct om_model *m, const struct golden_case *c)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_results *r = NULL;

    CHECK_OK(t, om_model_run(m, c->inputs, c->n_inputs, &r, &err), &err);
    for (size_t i = 0; r && i < c->n_outputs; i++)
        check_near(t, om_results_find(r, c->outputs[i].name), &c->outputs[i]);
    om_results_free(r);
    om_error_release(&err);
}

static const struct {
    enum om_model_class model_class;
    const char *type, *task;
} classes[] = {
    { OM_MODEL_CUSTOM, "bert", "feature-extraction" },
    { OM_MODEL_FEATURE_EXTRACTION, "mpnet", "feature-extraction" },
    { OM_MODEL_MASKED_LM, "roberta", "fill-mask" },
    { OM_MODEL_QUESTION_ANSWERING, "distilbert", "question-answering" },
    { OM_MODEL_SEQUENCE_CLASSIFICATION, "albert", "text-classification" },
    { OM_MODEL_TOKEN_CLASSIFICATION, "electra", "token-classification" },
    { OM_MODEL_MULTIPLE_CHOICE, "bert", "multiple-choice" },
};

/* Exported into a temporary directory, saved, opened again: the values are PyTorch's. */
static void every_class(struct test *t)
{
    if (!have_ort(t))
        return;
    for (size_t i = 0; i < OM_COUNT(classes); i++) {
        struct om_model_opts o = OM_MODEL_OPTS_INIT;
        struct fixture f;
        struct om_model *m;
        char *temporary = NULL;
        const char *saved;

        test_case(t, "%s %s", classes[i].type, classes[i].task);
        if (!begin(t, &f, classes[i].type, classes[i].task)) {
            end(&f);
            return;
        }
        saved = om_arena_printf(&f.arena, "%s/saved%zu", test_tmpdir(t), i);
        o.model = f.dir;
        o.model_class = classes[i].model_class;
        m = open_model(t, &o);
        for (size_t k = 0; m && k < f.n; k++)
            check_case(t, m, &f.list[k]);
        if (m) {
            CHECK_STR(t, om_model_get_info(m)->model_type, classes[i].type);
            temporary = om_arena_str(&f.arena, om_sv_str(om_model_get_info(m)->dir));
            CHECK(t, om_dir_exists(temporary));
            CHECK_OK(t, om_model_save(NULL, m, saved, &f.err), &f.err);
        }
        om_model_free(m);
        CHECK(t, temporary && !om_dir_exists(temporary));
        o.model = saved;
        m = open_model(t, &o);
        CHECK(t, m && strncmp(om_model_get_info(m)->file, saved, strlen(saved)) == 0);
        for (size_t k = 0; m && k < f.n; k++)
            check_case(t, m, &f.list[k]);
        om_model_free(m);
        end(&f);
    }
}

/* The external data comes along, and saving into the own directory changes nothing. */
static void save_external(struct test *t)
{
    struct om_export_opts e = OM_EXPORT_OPTS_INIT;
    struct om_model_opts o = OM_MODEL_OPTS_INIT;
    struct fixture f;
    struct om_model *m;
    const char *out, *saved;

    if (!have_ort(t))
        return;
    if (begin(t, &f, "distilbert", "question-answering")) {
        out = om_path_join(&f.arena, test_tmpdir(t), "out");
        saved = om_path_join(&f.arena, test_tmpdir(t), "a/saved");
        e.model = f.dir;
        e.out_dir = out;
        e.task = "question-answering";
        e.weights = OM_WEIGHTS_EXTERNAL;
        e.validation = OM_VALIDATE_NEVER;
        CHECK_OK(t, om_export_run(NULL, &e, &f.err), &f.err);
        touch(t, out, "vocab.txt");
        o.model = out;
        m = open_model(t, &o);
        if (m) {
            CHECK_OK(t, om_model_save(NULL, m, out, &f.err), &f.err);
            CHECK_OK(t, om_model_save(NULL, m, saved, &f.err), &f.err);
            CHECK_OK(t, om_model_save(NULL, m, saved, &f.err), &f.err); /* once more */
            CHECK_INT(t, om_model_save(NULL, m, "", &f.err), OM_E_USAGE);
            check_case(t, m, &f.list[0]);
        }
        om_model_free(m);
        CHECK(t, om_file_exists(om_path_join(&f.arena, saved, "model.onnx_data")));
        CHECK(t, om_file_exists(om_path_join(&f.arena, saved, "vocab.txt")));
        o.model = saved;
        m = open_model(t, &o);
        if (m)
            check_case(t, m, &f.list[0]);
        om_model_free(m);
    }
    end(&f);
}

/* ---- inputs ---- */

static const int64_t ids[] = { 5, 6, 7, 8, 9, 10 };
static const int64_t ones[] = { 1, 1, 1, 1, 1, 1 };
static const int64_t zeros[6];
static const int64_t dims[] = { 2, 3 };
static const int64_t short_dims[] = { 2, 2 };

#define IDS                               \
    {                                     \
        "input_ids", OM_I64, 2, dims, ids \
    }
#define MASK                                    \
    {                                           \
        "attention_mask", OM_I64, 2, dims, ones \
    }
#define TYPES                                    \
    {                                            \
        "token_type_ids", OM_I64, 2, dims, zeros \
    }

static void same_results(struct test *t, const struct om_results *a, const struct om_results *b)
{
    for (size_t i = 0; a && b && i < om_results_count(a); i++)
        check_near(t, om_results_at(a, i), om_results_at(b, i));
}

static void defaults(struct test *t)
{
    const struct om_tensor all[] = { IDS, MASK, TYPES };
    struct om_model_opts o = OM_MODEL_OPTS_INIT;

    if (!have_ort(t))
        return;
    /* bert has token_type_ids; distilbert has none and is given some all the same */
    for (int i = 0; i < 2; i++) {
        struct om_results *full = NULL, *bare = NULL;
        struct fixture f;
        struct om_model *m = NULL;

        test_case(t, "%s", i ? "distilbert" : "bert");
        if (begin(t, &f, i ? "distilbert" : "bert", "feature-extraction")) {
            o.model = f.dir;
            m = open_model(t, &o);
        }
        if (m) {
            CHECK_OK(t, om_model_run(m, all, 3, &full, &f.err), &f.err);
            CHECK_OK(t, om_model_run(m, all, 1, &bare, &f.err), &f.err);
            same_results(t, full, bare);
        }
        om_model_free(m);
        om_results_free(full);
        om_results_free(bare);
        end(&f);
    }
}

static const struct om_tensor *find(const struct om_tensor *t, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(t[i].name, name) == 0)
            return &t[i];
    return NULL;
}

/* A decoder's first step from nothing, and what a step with a past gets. */
static void decoder(struct test *t)
{
    static const int64_t past_dims[] = { 2, 4, 5, 8 };
    static const float past[2 * 4 * 5 * 8];
    struct om_model_opts o = OM_MODEL_OPTS_INIT;
    struct om_tensor in[] = { IDS, { "past_key_values.0.key", OM_F32, 4, past_dims, past } };
    struct om_error err = OM_ERROR_INIT;
    struct om_results *r = NULL;
    struct om_tensor *out = NULL;
    const struct om_tensor *x;
    struct om_model *m = NULL;
    struct fixture f;
    size_t n = 0;

    if (!have_ort(t))
        return;
    if (begin(t, &f, "gpt2", "text-generation-with-past")) {
        o.model = f.dir;
        o.task = "text-generation-with-past";
        m = open_model(t, &o);
    }
    if (m) {
        CHECK_OK(t, om_model_run(m, in, 1, &r, &err), &err);
        for (size_t i = 0; i < f.n; i++)
            check_case(t, m, &f.list[i]);
        CHECK_OK(t, om_model_inputs(&f.arena, om_model_session(m), in, 2, &out, &n, &err), &err);
        x = find(out, n, "attention_mask");
        CHECK(t, x && x->dims[1] == 8 && ((const int64_t *)x->data)[15] == 1);
        x = find(out, n, "position_ids");
        CHECK(t, x && x->dims[1] == 3 && ((const int64_t *)x->data)[0] == 5 &&
                     ((const int64_t *)x->data)[5] == 7);
        om_results_free(r);
        r = NULL;
        CHECK_INT(t, om_model_run(m, in, 2, &r, &err), OM_E_USAGE);
        CHECK_HAS(t, om_error_text(&err), "past_key_values.0");
    }
    om_results_free(r);
    om_model_free(m);
    om_error_release(&err);
    end(&f);
}

static void wrong_inputs(struct test *t)
{
    static const struct {
        struct om_tensor in[2];
        size_t n;
        const char *says;
    } cases[] = {
        { { MASK }, 1, "missing input \"input_ids\"" },
        { { IDS, { "pixel_values", OM_I64, 2, dims, ids } }, 2, "input \"pixel_values\"" },
        { { IDS, IDS }, 2, "input \"input_ids\" is given twice" },
        { { { "input_ids", OM_F32, 2, dims, ids } }, 1, "input \"input_ids\"" },
        { { { "input_ids", OM_I64, 1, dims, ids } }, 1, "input \"input_ids\"" },
        { { { NULL, OM_I64, 2, dims, ids } }, 1, "input \"\"" },
        { { IDS, { "attention_mask", OM_I64, 2, short_dims, ones } },
          2,
          "input \"attention_mask\": axis 1 (sequence_length) has size 2" },
    };
    struct om_model_opts o = OM_MODEL_OPTS_INIT;
    struct om_model *m = NULL;
    struct fixture f;

    if (!have_ort(t))
        return;
    if (begin(t, &f, "bert", "feature-extraction")) {
        o.model = f.dir;
        m = open_model(t, &o);
    }
    for (size_t i = 0; m && i < OM_COUNT(cases); i++) {
        struct om_error err = OM_ERROR_INIT;
        struct om_results *r = NULL;

        test_case(t, "%s", cases[i].says);
        CHECK_INT(t, om_model_run(m, cases[i].in, cases[i].n, &r, &err), OM_E_USAGE);
        CHECK_HAS(t, om_error_text(&err), cases[i].says);
        CHECK(t, r == NULL);
        om_error_release(&err);
    }
    om_model_free(m);
    end(&f);
}

/* ---- options and configuration ---- */

static void refused(struct test *t)
{
    static const struct {
        struct om_model_opts o;
        int code;
        const char *says;
    } cases[] = {
        { { .struct_size = 0 }, OM_E_USAGE, "OM_MODEL_OPTS_INIT" },
        { OM_MODEL_OPTS_INIT, OM_E_USAGE, "no model was given" },
        { { .struct_size = sizeof(struct om_model_opts), .model = "/no/such/model" },
          OM_E_MISSING,
          "/no/such/model: no such directory" },
        { { .struct_size = sizeof(struct om_model_opts),
            .model = "m",
            .model_class = OM_MODEL_MASKED_LM,
            .task = "fill-mask" },
          OM_E_USAGE,
          "task \"fill-mask\"" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_error err = OM_ERROR_INIT;
        struct om_model *m = NULL;

        test_case(t, "%s", cases[i].says);
        CHECK_INT(t, om_model_open(NULL, &cases[i].o, &m, &err), cases[i].code);
        CHECK_HAS(t, om_error_text(&err), cases[i].says);
        CHECK(t, m == NULL);
        om_error_release(&err);
    }
    om_model_free(NULL);
}

static void options(struct test *t)
{
    struct om_session_opts s = OM_SESSION_OPTS_INIT;
    struct om_model_opts o = OM_MODEL_OPTS_INIT;
    const struct om_model_info *info;
    struct om_ctx *ctx = om_ctx_new();
    struct heard h = { .warnings = 0 };
    struct om_model *m = NULL;
    struct fixture f;
    int64_t number = 0;

    if (!have_ort(t) || !begin(t, &f, "bert", "text-classification")) {
        om_ctx_free(ctx);
        return;
    }
    om_ctx_set_log(ctx, hear, &h, OM_LOG_WARNING);
    o.model = f.dir;
    o.model_class = OM_MODEL_SEQUENCE_CLASSIFICATION;
    o.subfolder = "onnx/"; /* is where it goes, below config.json */
    o.export_dir = om_path_join(&f.arena, f.dir, "onnx");
    o.session = &s;
    s.intra_op_threads = 1;
    CHECK_INT(t, om_model_open(ctx, &o, &m, &f.err), OM_E_MISSING);
    o.subfolder = NULL;
    CHECK_OK(t, om_model_open(ctx, &o, &m, &f.err), &f.err);
    CHECK_INT(t, h.warnings, 1); /* exported now */
    CHECK_HAS(t, h.last, "has no .onnx file");
    om_model_free(m);
    CHECK(t, om_file_exists(om_path_join(&f.arena, o.export_dir, "model.onnx"))); /* kept */
    CHECK_INT(t, unlink(om_path_join(&f.arena, o.export_dir, "config.json")), 0);
    m = NULL;
    o.subfolder = "onnx/";
    CHECK_OK(t, om_model_open(ctx, &o, &m, &f.err), &f.err);
    CHECK_INT(t, h.warnings, 1); /* found */
    if (m) {
        info = om_model_get_info(m);
        CHECK_STR(t, info->dir, f.dir);
        CHECK_HAS(t, info->file, "checkpoint/onnx/model.onnx");
        CHECK(t, info->num_labels >= 2 && info->labels[0] && info->labels[info->num_labels - 1]);
        CHECK_HAS(t, info->config, "\"model_type\"");
        CHECK(t, om_model_config_int(m, "hidden_size", &number) && number > 0);
        CHECK(t, !om_model_config_int(m, "model_type", &number));
    }
    om_model_free(m);
    m = NULL;
    o.subfolder = NULL;
    o.do_export = true;
    o.export_dir = NULL;
    o.file_name = "q.onnx";
    CHECK_OK(t, om_model_open(ctx, &o, &m, &f.err), &f.err);
    CHECK_INT(t, h.warnings, 3); /* exported once more, name ignored */
    om_model_free(m);
    m = NULL;
    o.do_export = false;
    CHECK_INT(t, om_model_open(ctx, &o, &m, &f.err), OM_E_MISSING);
    CHECK_HAS(t, om_error_text(&f.err), "no file q.onnx, found: onnx/model.onnx");
    o.file_name = NULL;
    s.provider = "MagicExecutionProvider";
    CHECK(t, om_model_open(ctx, &o, &m, &f.err) < 0);
    CHECK_HAS(t, om_error_text(&f.err), "MagicExecutionProvider");
    om_ctx_free(ctx);
    end(&f);
}

/* ---- the Hub's cache ---- */

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static void link_blob(struct test *t, struct om_arena *a, const char *repo, const char *name,
                      const char *up)
{
    const char *target = om_arena_printf(a, "%s/blobs/%s", up, name);
    const char *path = om_arena_printf(a, "%s/snapshots/" COMMIT "/onnx/%s", repo, name);

    CHECK_INT(t, symlink(target, path), 0);
}

/* The cache as huggingface_hub leaves it: config.json above, the model in a subfolder, files as
 * links to blobs. */
static void make_cache(struct test *t, struct fixture *f, const char *repo)
{
    const char *snapshot = om_arena_printf(&f->arena, "%s/snapshots/" COMMIT, repo);
    const char *ref = om_arena_printf(&f->arena, "%s/refs/main", repo);
    struct om_export_opts e = OM_EXPORT_OPTS_INIT;
    FILE *out;

    e.model = f->dir;
    e.out_dir = om_path_join(&f->arena, repo, "blobs");
    e.task = "feature-extraction";
    e.validation = OM_VALIDATE_NEVER;
    CHECK_OK(t, om_export_run(NULL, &e, &f->err), &f->err);
    CHECK_OK(t, om_dir_make(om_path_join(&f->arena, snapshot, "onnx"), &f->err), &f->err);
    CHECK_OK(t, om_dir_make(om_path_join(&f->arena, repo, "refs"), &f->err), &f->err);
    out = fopen(ref, "w");
    CHECK(t, out && fputs(COMMIT, out) >= 0);
    CHECK(t, out && fclose(out) == 0);
    CHECK_INT(
        t, symlink("../../blobs/config.json", om_path_join(&f->arena, snapshot, "config.json")), 0);
    link_blob(t, &f->arena, repo, "model.onnx", "../../..");
}

static void from_cache(struct test *t)
{
    struct om_model_opts o = OM_MODEL_OPTS_INIT;
    struct om_model *m = NULL;
    struct fixture f;

    if (!have_ort(t))
        return;
    if (begin(t, &f, "bert", "feature-extraction")) {
        o.cache_dir = om_path_join(&f.arena, test_tmpdir(t), "cache");
        make_cache(t, &f, om_path_join(&f.arena, o.cache_dir, "models--org--name"));
        CHECK_INT(t, setenv("HF_HUB_OFFLINE", "1", 1), 0);
        o.model = "org/name";
        for (int i = 0; i < 2; i++) {
            test_case(t, "%s", i ? "subfolder" : "root");
            o.subfolder = i ? "onnx" : NULL;
            m = open_model(t, &o);
            for (size_t k = 0; m && k < f.n; k++)
                check_case(t, m, &f.list[k]);
            if (m)
                CHECK_HAS(t, om_model_get_info(m)->file, "snapshots/" COMMIT "/onnx/model.onnx");
            om_model_free(m);
            m = NULL;
        }
        o.file_name = "q.onnx";
        CHECK_INT(t, om_model_open(NULL, &o, &m, &f.err), OM_E_MISSING);
        CHECK_HAS(t, om_error_text(&f.err), "org/name: no file q.onnx, found: onnx/model.onnx");
        unsetenv("HF_HUB_OFFLINE");
    }
    om_model_free(m);
    end(&f);
}

/* ---- threads ---- */

struct worker {
    const struct om_model *m;
    int failures;
};

static void *work(void *arg)
{
    static const struct om_tensor in = IDS;
    struct worker *w = arg;

    for (int i = 0; i < 20; i++) {
        struct om_results *r = NULL;

        w->failures += om_model_run(w->m, &in, 1, &r, NULL) < 0;
        om_results_free(r);
    }
    return NULL;
}

static void threads(struct test *t)
{
    struct om_model_opts o = OM_MODEL_OPTS_INIT;
    struct om_model *m = NULL;
    struct worker w[4];
    pthread_t id[4];
    struct fixture f;

    if (!have_ort(t))
        return;
    if (begin(t, &f, "bert", "feature-extraction")) {
        o.model = f.dir;
        m = open_model(t, &o);
    }
    for (size_t i = 0; m && i < OM_COUNT(w); i++) {
        w[i] = (struct worker){ .m = m };
        CHECK_INT(t, pthread_create(&id[i], NULL, work, &w[i]), 0);
    }
    for (size_t i = 0; m && i < OM_COUNT(w); i++) {
        pthread_join(id[i], NULL);
        CHECK_INT(t, w[i].failures, 0);
    }
    om_model_free(m);
    end(&f);
}

const struct test_entry t_model[] = {
    { "choice", choice },
    { "generator choice", generator_choice },
    { "listing", listing },
    { "every_class", every_class },
    { "save_external", save_external },
    { "defaults", defaults },
    { "decoder", decoder },
    { "wrong_inputs", wrong_inputs },
    { "refused", refused },
    { "options", options },
    { "from_cache", from_cache },
    { "threads", threads },
    TEST_END,
};
