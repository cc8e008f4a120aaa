/* tests/golden/test_checkpoints.c: a checkpoint in every format on disk goes through the whole
 * export, and the written files give what the framework that saved it computed.
 *
 *   test_checkpoints [NAME]...
 *
 * Checkpoints come from tests/data/checkpoints and, when the environment names one, from OM_SHARED.
 * Directories whose model type or weights are not read yet are skipped by name. */
#include <optimum/export.h>
#include <optimum/session.h>

#include "arch/arch.h"
#include "ckpt/ckpt.h"
#include "config/config.h"
#include "onnx/onnx.h"
#include "ref/model.h"
#include "ref/ref.h"

#include <ftw.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TOLERANCE 1e-5 /* of the largest magnitude of an output */

/* How a checkpoint is exported. */
static const struct form {
    const char *name;
    enum om_weights_mode weights;
    enum om_weights_dtype dtype;
    enum om_linear_form linear;
} forms[] = {
    { "embedded", OM_WEIGHTS_EMBEDDED, OM_WEIGHTS_DTYPE_AUTO, OM_LINEAR_GEMM },
    { "external, as stored", OM_WEIGHTS_EXTERNAL, OM_WEIGHTS_DTYPE_KEEP, OM_LINEAR_GEMM },
    { "external, transposed", OM_WEIGHTS_EXTERNAL, OM_WEIGHTS_DTYPE_AUTO, OM_LINEAR_MATMUL },
    { "safetensors", OM_WEIGHTS_SAFETENSORS, OM_WEIGHTS_DTYPE_AUTO, OM_LINEAR_GEMM },
};

struct trial {
    const char *name, *dir, *out;
    const struct form *form;
    struct om_arena *arena;
    struct om_tensor *inputs, *outputs; /* recorded; names without what precedes them */
    size_t n_inputs, n_outputs;
    bool with_ort;
    unsigned failures, runs;
    double worst;
};

static void fail(struct trial *t, const char *fmt, ...) OM_PRINTF(2, 3);

static void fail(struct trial *t, const char *fmt, ...)
{
    va_list ap;

    t->failures++;
    printf("FAIL %s%s%s: ", t->name, t->form ? ", " : "", t->form ? t->form->name : "");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

static void fail_error(struct trial *t, struct om_error *err)
{
    fail(t, "%s", om_error_text(err));
    om_error_release(err);
}

/* ---- what was recorded ---- */

/* Tensors "inputs/NAME" or "outputs/NAME". */
static bool add_recorded(struct trial *t, const struct om_ckpt_tensor *c)
{
    const bool input = om_sv_starts(c->name, OM_SVL("inputs/"));
    struct om_tensor *to = input ? &t->inputs[t->n_inputs++] : &t->outputs[t->n_outputs++];

    *to = (struct om_tensor){ .name = strchr(om_arena_str(t->arena, c->name), '/') + 1,
                              .dtype = c->dtype,
                              .rank = c->rank,
                              .dims = c->dims,
                              .data = om_arena_copy(t->arena, om_ckpt_data(c), (size_t)c->bytes) };
    return to->data != NULL;
}

static int read_expected(struct trial *t, struct om_ckpt **ck, struct om_error *err)
{
    const char *path = om_path_join(t->arena, t->dir, "expected.safetensors");

    OM_TRY(om_ckpt_open_file(t->arena, path, ck, err));
    t->inputs = om_arena_array(t->arena, (*ck)->len + 1, sizeof(*t->inputs));
    t->outputs = om_arena_array(t->arena, (*ck)->len + 1, sizeof(*t->outputs));
    for (size_t i = 0; i < (*ck)->len; i++)
        if (!t->inputs || !t->outputs || !add_recorded(t, &(*ck)->tensors[i]))
            return om_fail(err, OM_E_NOMEM, "out of memory");
    return 0;
}

static const struct om_tensor *find(const struct om_tensor *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    return NULL;
}

/* An input of the graph that was not recorded: the framework's default. */
static struct om_tensor default_input(struct trial *t, const char *name)
{
    const struct om_tensor *like = find(t->inputs, t->n_inputs, "input_ids");
    const bool positions = strcmp(name, "position_ids") == 0;
    struct om_tensor made = { .name = name, .dtype = OM_I64 };
    int64_t n, *values;

    if (!like || (!positions && strcmp(name, "token_type_ids") != 0)) {
        fail(t, "input \"%s\" was not recorded", name);
        return made;
    }
    om_count(like->dims, like->rank, &n);
    values = om_arena_array(t->arena, (size_t)n, sizeof(*values)); /* zeros */
    for (int64_t i = 0; values && positions && i < n; i++)
        values[i] = i % like->dims[like->rank - 1];
    made.rank = like->rank;
    made.dims = like->dims;
    made.data = values;
    return made;
}

static struct om_tensor *bind_inputs(struct trial *t, const struct om_graph *g)
{
    struct om_tensor *in = om_arena_array(t->arena, g->n_inputs + 1, sizeof(*in));

    for (size_t i = 0; in && i < g->n_inputs; i++) {
        const char *name = om_arena_str(t->arena, g->inputs[i].name);
        const struct om_tensor *recorded = find(t->inputs, t->n_inputs, name);

        in[i] = recorded ? *recorded : default_input(t, name);
    }
    return in;
}

/* ---- running ---- */

static double difference(const float *got, const float *want, int64_t n)
{
    double diff = 0.0, size = 0.0;

    for (int64_t i = 0; i < n; i++) {
        const double d = fabs((double)got[i] - want[i]);

        diff = isnan(d) ? INFINITY : fmax(diff, d);
        size = fmax(size, fabs((double)want[i]));
    }
    return diff == 0.0 ? 0.0 : diff / size;
}

/* One output of the file against the recorded one. Frameworks return more than a task exports (a
 * pooled output). */
static bool compare(struct trial *t, const char *who, const struct om_tensor *got)
{
    const struct om_tensor *want = find(t->outputs, t->n_outputs, got->name);
    int64_t n = 0;
    double d;

    if (!want)
        return false;
    if (got->dtype != OM_F32 || want->dtype != OM_F32 || got->rank != want->rank ||
        memcmp(got->dims, want->dims, got->rank * sizeof(*got->dims)) != 0 ||
        !om_count(want->dims, want->rank, &n)) {
        fail(t, "%s: output \"%s\" has another type or shape", who, got->name);
        return true;
    }
    d = difference(got->data, want->data, n);
    t->worst = fmax(t->worst, d);
    if (!(d <= TOLERANCE))
        fail(t, "%s: output \"%s\" differs by %.2e", who, got->name, d);
    return true;
}

static void run_reference(struct trial *t, const struct om_graph *g, const struct om_tensor *in)
{
    const struct om_ref_opts opts = { .ctx = NULL };
    struct om_error err = OM_ERROR_INIT;
    struct om_tensor *out;
    size_t n, compared = 0;

    t->runs++;
    if (om_ref_run(g, in, g->n_inputs, &opts, t->arena, &out, &n, &err) < 0) {
        fail_error(t, &err);
        return;
    }
    for (size_t i = 0; i < n; i++)
        compared += compare(t, "reference", &out[i]);
    if (compared == 0)
        fail(t, "no output was recorded");
}

static void run_ort(struct trial *t, const char *path, const struct om_tensor *in, size_t n_in)
{
    const struct om_session_opts opts = OM_SESSION_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct om_session *session = NULL;
    struct om_results *r = NULL;

    t->runs++;
    if (om_session_open(NULL, path, &opts, &session, &err) < 0 ||
        om_session_run(session, in, n_in, &r, &err) < 0)
        fail_error(t, &err);
    for (size_t i = 0; r && i < om_results_count(r); i++)
        compare(t, "ONNX Runtime", om_results_at(r, i));
    om_results_free(r);
    om_session_free(session);
}

static void run_model(struct trial *t)
{
    const char *path = om_path_join(t->arena, t->out, "model.onnx");
    struct om_error err = OM_ERROR_INIT;
    struct om_onnx_file *file = NULL;
    struct om_graph *g = NULL;
    const struct om_tensor *in;

    if (om_onnx_open(t->arena, path, &file, &g, &err) < 0) {
        fail_error(t, &err);
        return;
    }
    in = bind_inputs(t, g);
    if (in && t->failures == 0) {
        run_reference(t, g, in);
        if (t->with_ort)
            run_ort(t, path, in, g->n_inputs);
    }
    om_graph_free(g);
    om_onnx_close(file);
}

/* Layers that are quantized in the file as in the checkpoint: with the operators as they are. */
static int run_operators(struct trial *t, const char *path, struct om_error *err)
{
    const struct om_ref_model_opts opts = { .ctx = NULL };
    struct om_ref_model *model;
    struct om_tensor *out;
    struct om_doc *doc;
    size_t n = 0, products = 0;
    int rc;

    OM_TRY(om_doc_open(t->arena, path, &doc, err));
    for (size_t i = 0; i < doc->graph->nodes.len; i++)
        products += om_sv_is(doc->graph->nodes.items[i].op, "MatMulNBits");
    if (products < (strstr(t->name, "gpt2") ? 8u : 12u))
        fail(t, "%zu layers are quantized", products);
    rc = om_ref_model_new(doc, &model, err);
    if (rc == 0)
        rc = om_ref_model_run(model, t->inputs, t->n_inputs, &opts, t->arena, &out, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        compare(t, "reference", &out[i]);
    om_doc_close(doc);
    return rc;
}

static void run_packed(struct trial *t)
{
    const char *path = om_path_join(t->arena, t->out, "model.onnx");
    struct om_error err = OM_ERROR_INIT;

    t->runs++;
    if (run_operators(t, path, &err) < 0)
        fail_error(t, &err);
    if (t->with_ort)
        run_ort(t, path, t->inputs, t->n_inputs);
}

/* ---- exporting ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* Only safetensors files serve as external data; others have none of theirs copied. */
static void check_files(struct trial *t)
{
    const char **names = NULL;
    size_t n = 0;

    if (om_dir_list(t->arena, t->out, &names, &n, NULL) < 0)
        fail(t, "no output directory");
    for (size_t i = 0; i < n; i++)
        if (om_sv_ends(om_sv_str(names[i]), OM_SVL(".bin")) ||
            om_sv_ends(om_sv_str(names[i]), OM_SVL(".h5")))
            fail(t, "%s was copied", names[i]);
}

static bool is_packed(const struct trial *t)
{
    return om_sv_starts(om_sv_str(t->name), OM_SVL("packed-"));
}

static void run_form(struct trial *t, const struct form *form)
{
    struct om_export_opts o = OM_EXPORT_OPTS_INIT;
    char out[] = "/tmp/optimum-checkpoint-XXXXXX";
    struct om_error err = OM_ERROR_INIT;

    t->form = form;
    t->out = out;
    if (!mkdtemp(out)) {
        fail(t, "no temporary directory");
        return;
    }
    o.model = t->dir;
    o.out_dir = out;
    o.weights = form->weights;
    o.weights_dtype = form->dtype;
    o.linear = form->linear;
    o.monolith = true; /* one file, without a cache */
    o.validation = OM_VALIDATE_NEVER;
    struct om_ctx *ctx = om_ctx_new();
    if (!ctx || om_export_run(ctx, &o, &err) < 0) {
        fail_error(t, &err);
    } else {
        check_files(t);
        if (is_packed(t))
            run_packed(t);
        else
            run_model(t);
    }
    om_ctx_free(ctx);
    nftw(out, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* Whether the parts are there that this checkpoint needs; *why says which is not. */
static bool readable(struct trial *t, const char **why)
{
    struct om_config config = { 0 };
    struct om_error err = OM_ERROR_INIT;
    struct om_ckpt *ck = NULL;

    *why = NULL;
    if (om_config_open(t->arena, t->dir, &config, &err) == 0 && !om_arch_find(config.model_type))
        *why = om_arena_printf(t->arena, "model type %s", config.model_type);
    else if (om_ckpt_open(t->arena, t->dir, &ck, &err) == 0 &&
             om_sv_ends(om_sv_str(ck->files[0].path), OM_SVL("expected.safetensors")))
        *why = "no weights that are read"; /* what was recorded is the only file left */
    om_ckpt_close(ck);
    om_config_close(&config);
    om_error_release(&err);
    return !*why;
}

struct totals {
    unsigned passed, failed, skipped;
};

static void run_checkpoint(struct trial *t, struct totals *totals)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_ckpt *expected = NULL;
    const char *why;

    if (!readable(t, &why)) {
        printf("skip %s: %s\n", t->name, why);
        totals->skipped++;
        return;
    }
    if (read_expected(t, &expected, &err) < 0)
        fail_error(t, &err);
    for (size_t i = 0; expected && i < OM_COUNT(forms); i++)
        if (!is_packed(t) || forms[i].weights != OM_WEIGHTS_SAFETENSORS)
            run_form(t, &forms[i]);
    om_ckpt_close(expected);
    if (t->failures == 0)
        printf("ok   %s: %u runs, largest difference %.1e\n", t->name, t->runs, t->worst);
    totals->passed += t->failures == 0;
    totals->failed += t->failures != 0;
}

/* ---- the program ---- */

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc < 2;
}

/* The checkpoints below root. One that root2 has as well is run there. */
static int run_root(const char *root, const char *root2, int argc, char **argv, bool with_ort,
                    struct totals *totals, struct om_error *err)
{
    struct om_arena list = OM_ARENA_INIT(1u << 20);
    const char **names = NULL;
    size_t n = 0;
    const int rc = om_dir_list(&list, root, &names, &n, err);

    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct om_arena arena = OM_ARENA_INIT((size_t)1 << 30);
        struct trial t = { .name = names[i], .arena = &arena, .with_ort = with_ort };

        t.dir = om_path_join(&arena, root, names[i]);
        if (wanted(names[i], argc, argv) &&
            !(root2 && om_dir_exists(om_path_join(&arena, root2, names[i]))))
            run_checkpoint(&t, totals);
        om_arena_release(&arena);
    }
    om_arena_release(&list);
    return rc;
}

int main(int argc, char **argv)
{
    const char *shared = getenv("OM_SHARED"), *data = getenv("OM_TEST_DATA");
    const char *ort = NULL, *ort_path;
    struct om_error err = OM_ERROR_INIT;
    struct totals totals = { 0 };
    char own[4096], more[4096];
    int rc;

    if (om_ort_version(&ort, &ort_path, &err) < 0) {
        printf("without ONNX Runtime: %s\n", om_error_text(&err));
        om_error_release(&err);
    }
    snprintf(own, sizeof(own), "%s/checkpoints", data ? data : OM_TEST_DATA);
    rc = run_root(own, NULL, argc, argv, ort, &totals, &err);
    if (rc == 0 && shared && *shared) {
        snprintf(more, sizeof(more), "%s/goldens/checkpoints", shared);
        rc = run_root(more, own, argc, argv, ort, &totals, &err);
    }
    if (rc < 0) {
        printf("%s\n", om_error_text(&err));
        return 2;
    }
    printf("%u passed, %u failed, %u skipped\n", totals.passed, totals.failed, totals.skipped);
    return totals.failed || totals.passed == 0;
}
