/* tests/golden/test_golden.c: every golden of the architectures that are implemented: its
 * checkpoint is made, its graphs are built and run, and files, ports and values are compared with
 * what was recorded.
 *
 *   test_golden [MODEL_TYPE[/TASK]]...
 *
 * Goldens come from the project's tests/data and, when the environment names one, from OM_SHARED.
 */
#include "arch/arch.h"
#include "base/file.h"
#include "base/half.h"
#include "golden/golden.h"
#include "lower/lower.h"
#include "onnx/onnx.h"
#include "pass/pass.h"
#include "ref/ref.h"
#include "tools/mkckpt_lib.h"

#include <optimum/session.h>

#include <ftw.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Of the largest magnitude of an output. In 16 bits every operator rounds its result: float16 keeps
 * 11 bits (5e-4), bfloat16 8 (4e-3); over the few layers of these models that adds up to some five
 * roundings. */
static double tolerance(enum om_dtype compute)
{
    switch (compute) {
    case OM_F16:
        return 2e-2;
    case OM_BF16:
        return 16e-2;
    default:
        return 1e-4;
    }
}

/* One golden under test. */
struct trial {
    const struct golden *golden;
    struct golden_signature sig;
    struct om_arch_job job;
    struct om_arena *arena;
    const char *dir;   /* the checkpoint; written files go there as well */
    const char *where; /* the file at hand */
    const char *form;  /* and in which form it runs */
    bool with_ort;
    enum om_dtype compute; /* the recorded values are float32 in any case */
    unsigned failures, runs;
    double worst; /* the largest difference, relative to the output's largest magnitude */
};

static void fail(struct trial *t, const char *fmt, ...) OM_PRINTF(2, 3);

static void fail(struct trial *t, const char *fmt, ...)
{
    va_list ap;

    t->failures++;
    printf("FAIL %s/%s in %s, %s%s%s: ", t->golden->model_type, t->golden->task,
           om_dtype_text(t->compute), t->where, t->form ? ", " : "", t->form ? t->form : "");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

/* ---- ports ---- */

static const char *axis_text(const struct om_graph *g, const struct om_port *port, uint32_t axis)
{
    const struct om_value *v = om_graph_value(g, port->val);

    if (port->axes && port->axes[axis])
        return port->axes[axis];
    return om_dim_text(g->dims, port->dims ? port->dims[axis] : v->dims[axis]);
}

static bool same_axis(struct trial *t, const struct golden_dim *want, const char *found)
{
    switch (want->kind) {
    case GOLDEN_DIM_NAMED:
        return strcmp(want->name, found) == 0;
    case GOLDEN_DIM_FIXED: {
        const char *text = om_arena_printf(t->arena, "%" PRId64, want->value);
        return text && strcmp(text, found) == 0;
    }
    case GOLDEN_DIM_ANY:
        break;
    }
    return true;
}

static void check_port(struct trial *t, const struct om_graph *g, const struct om_port *port,
                       const struct golden_port *want)
{
    const struct om_value *v = om_graph_value(g, port->val);
    const enum om_dtype dtype = want->dtype == OM_F32 ? t->compute : want->dtype;

    if (!om_sv_is(port->name, want->name)) {
        fail(t, "port \"%.*s\", want \"%s\"", OM_SV(port->name), want->name);
        return;
    }
    if (v->dtype != dtype || v->rank != want->rank) {
        fail(t, "%s: %s of rank %u, want %s of rank %u", want->name, om_dtype_text(v->dtype),
             v->rank, om_dtype_text(dtype), want->rank);
        return;
    }
    for (uint32_t i = 0; i < v->rank; i++) {
        const char *found = axis_text(g, port, i);
        if (!same_axis(t, &want->dims[i], found))
            fail(t, "%s: axis %u is %s, want %s", want->name, i, found,
                 want->dims[i].name ? want->dims[i].name
                                    : om_arena_printf(t->arena, "%" PRId64, want->dims[i].value));
    }
}

static void check_ports(struct trial *t, const struct om_graph *g, const char *kind,
                        const struct om_port *ports, size_t n, const struct golden_port *want,
                        size_t n_want)
{
    if (n != n_want)
        fail(t, "%zu %s, want %zu", n, kind, n_want);
    for (size_t i = 0; i < OM_MIN(n, n_want); i++)
        check_port(t, g, &ports[i], &want[i]);
}

/* ---- values ---- */

static const struct om_tensor *find_tensor(const struct om_tensor *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    return NULL;
}

static void check_value(struct trial *t, const struct golden_case *c, const struct om_tensor *want,
                        const struct om_tensor *got)
{
    int64_t n;
    double d;

    if (!got) {
        fail(t, "case %s: no output \"%s\"", c->id, want->name);
        return;
    }
    if (got->rank != want->rank ||
        (got->rank && memcmp(got->dims, want->dims, got->rank * sizeof(*got->dims)) != 0)) {
        fail(t, "case %s: output \"%s\" has another shape", c->id, want->name);
        return;
    }
    if (got->dtype != (want->dtype == OM_F32 ? t->compute : want->dtype)) {
        fail(t, "case %s: output \"%s\" is %s", c->id, want->name, om_dtype_text(got->dtype));
        return;
    }
    if (!om_count(want->dims, want->rank, &n))
        return;
    d = golden_difference(got, want, n);
    t->worst = fmax(t->worst, d);
    if (!(d <= tolerance(t->compute)))
        fail(t, "case %s: output \"%s\" differs by %g of its size", c->id, want->name, d);
}

static void check_values(struct trial *t, const struct golden_case *c, const struct om_tensor *out,
                         size_t n_out)
{
    t->runs++;
    for (size_t i = 0; i < c->n_outputs; i++)
        check_value(t, c, &c->outputs[i], find_tensor(out, n_out, c->outputs[i].name));
}

/* ---- forms of a graph ---- */

/* The cases of one file. */
struct cases {
    struct golden_case *list;
    size_t n;
};

static void run_reference(struct trial *t, const struct om_graph *g, const struct cases *cases)
{
    const struct om_ref_opts opts = { .ctx = NULL };
    struct om_error err = OM_ERROR_INIT;
    struct om_tensor *out;
    size_t n_out;

    for (size_t i = 0; i < cases->n; i++) {
        const struct golden_case *c = &cases->list[i];
        if (om_ref_run(g, c->inputs, c->n_inputs, &opts, t->arena, &out, &n_out, &err) < 0)
            fail(t, "case %s: %s", c->id, om_error_text(&err));
        else
            check_values(t, c, out, n_out);
        om_error_release(&err);
    }
}

static void run_session(struct trial *t, struct om_session *session, const struct cases *cases)
{
    struct om_error err = OM_ERROR_INIT;

    for (size_t i = 0; i < cases->n; i++) {
        const struct golden_case *c = &cases->list[i];
        struct om_results *results = NULL;
        if (om_session_run(session, c->inputs, c->n_inputs, &results, &err) < 0) {
            fail(t, "case %s: %s", c->id, om_error_text(&err));
            om_error_release(&err);
            continue;
        }
        t->runs++;
        for (size_t k = 0; k < c->n_outputs; k++)
            check_value(t, c, &c->outputs[k], om_results_find(results, c->outputs[k].name));
        om_results_free(results);
    }
}

static int write_file(struct trial *t, const struct om_graph *g, int opset, struct om_error *err)
{
    const struct om_onnx_opts opts = { .opset = opset, .mode = OM_WEIGHTS_EMBEDDED };
    struct om_out out = OM_OUT_INIT;
    int rc = om_out_open(&out, t->dir, t->where, NULL, err);

    if (rc == 0)
        rc = om_onnx_write(g, &opts, &out, NULL, err);
    if (rc == 0)
        rc = om_out_commit(&out, false, err);
    else
        om_out_abort(&out);
    return rc;
}

static void run_ort(struct trial *t, const struct om_graph *g, int opset, const struct cases *cases)
{
    struct om_session_opts opts = OM_SESSION_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct om_session *session = NULL;
    const char *path = om_path_join(t->arena, t->dir, t->where);

    opts.intra_op_threads = 1;
    if (write_file(t, g, opset, &err) < 0 ||
        om_session_open(NULL, path, &opts, &session, &err) < 0) {
        fail(t, "%s", om_error_text(&err));
        om_error_release(&err);
        return;
    }
    run_session(t, session, cases);
    om_session_free(session);
}

static const struct {
    const char *name;
    struct om_lower_opts opts;
} lowered_forms[] = {
    { "opset 14", { .opset = 14 } },
    { "opset 18", { .opset = 18 } },
    { "opset 18 with MatMul", { .opset = 18, .linear = OM_LINEAR_MATMUL } },
    { "opset 21", { .opset = 21 } },
    { "opset 23", { .opset = 23 } },
};

static void run_lowered(struct trial *t, const struct om_graph *g, const struct om_lower_opts *opts,
                        const struct cases *cases)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_graph *lowered = NULL, *small = NULL;

    if (om_lower(g, opts, &lowered, &err) < 0 ||
        om_pass_run(lowered, OM_PASS_FOLD | OM_PASS_CSE, &small, &err) < 0 ||
        om_graph_verify(small, &err) < 0) {
        fail(t, "%s", om_error_text(&err));
        om_error_release(&err);
    } else {
        run_reference(t, small, cases);
        if (t->with_ort)
            run_ort(t, small, opts->opset, cases);
    }
    om_graph_free(small);
    om_graph_free(lowered);
}

static void run_forms(struct trial *t, const struct om_graph *g, const struct cases *cases)
{
    run_reference(t, g, cases);
    for (size_t i = 0; i < OM_COUNT(lowered_forms); i++) {
        t->form = lowered_forms[i].name;
        run_lowered(t, g, &lowered_forms[i].opts, cases);
    }
    t->form = NULL;
}

/* ---- files ---- */

static const struct golden_onnx *find_onnx(const struct golden_signature *sig, const char *name)
{
    for (size_t i = 0; i < sig->n_onnx; i++)
        if (strcmp(sig->onnx[i].name, name) == 0)
            return &sig->onnx[i];
    return NULL;
}

/* Float inputs in the dtype that the graph takes. */
static int convert_inputs(struct trial *t, const struct golden_case *c, struct om_error *err)
{
    struct om_tensor *in = (struct om_tensor *)(uintptr_t)c->inputs; /* the case's own array */
    int64_t n;
    void *data;

    for (size_t i = 0; i < c->n_inputs; i++) {
        if (in[i].dtype != OM_F32 || t->compute == OM_F32 || !om_count(in[i].dims, in[i].rank, &n))
            continue;
        data = om_arena_alloc(t->arena, (size_t)n * om_dtype_size(t->compute) + 1);
        if (!data)
            return om_fail(err, OM_E_NOMEM, "out of memory");
        om_convert(data, t->compute, in[i].data, OM_F32, (size_t)n);
        in[i].data = data;
        in[i].dtype = t->compute;
    }
    return 0;
}

static int load_cases(struct trial *t, const struct golden_cases *file, const char *stem,
                      struct cases *cases, struct om_error *err)
{
    OM_TRY(golden_cases_of(t->arena, file, stem, &cases->list, &cases->n, err));
    for (size_t i = 0; i < cases->n; i++)
        OM_TRY(convert_inputs(t, &cases->list[i], err));
    return 0;
}

static void run_cases(struct trial *t, const struct om_graph *g, const char *stem)
{
    struct golden_cases file = { 0 };
    struct om_error err = OM_ERROR_INIT;
    struct cases cases;

    if (golden_cases_open(t->arena, t->golden, &file, &err) < 0 ||
        load_cases(t, &file, stem, &cases, &err) < 0) {
        fail(t, "%s", om_error_text(&err));
        om_error_release(&err);
    } else {
        run_forms(t, g, &cases);
    }
    golden_cases_close(&file);
}

static void check_part(struct trial *t, enum om_part part)
{
    const struct golden_onnx *want = find_onnx(&t->sig, om_part_file(part));
    struct om_error err = OM_ERROR_INIT;
    struct om_graph *g = NULL;

    t->where = om_part_file(part);
    if (!want) {
        fail(t, "the original writes no such file");
        return;
    }
    if (om_arch_build(&t->job, part, t->arena, &g, &err) < 0 || om_graph_verify(g, &err) < 0) {
        fail(t, "%s", om_error_text(&err));
        om_error_release(&err);
    } else {
        check_ports(t, g, "inputs", g->inputs, g->n_inputs, want->inputs, want->n_inputs);
        check_ports(t, g, "outputs", g->blocks[0].outputs, g->blocks[0].n_outputs, want->outputs,
                    want->n_outputs);
        if (t->failures == 0)
            run_cases(t, g, want->stem);
    }
    om_graph_free(g);
}

/* ---- the single decoder: recorded values of the decoders whose place it takes ---- */

static int64_t extent(const struct om_graph *g, om_dim d, const struct golden_case *c)
{
    const struct om_tensor *ids = find_tensor(c->inputs, c->n_inputs, "input_ids");
    const struct om_tensor *mask = find_tensor(c->inputs, c->n_inputs, "encoder_attention_mask");
    int64_t fixed;
    om_sv symbol;

    if (om_dim_is_const(g->dims, d, &fixed))
        return fixed;
    if (!om_dim_is_symbol(g->dims, d, &symbol))
        return -1;
    if (om_sv_is(symbol, "batch_size"))
        return ids ? ids->dims[0] : -1;
    if (om_sv_is(symbol, "encoder_sequence_length"))
        return mask ? mask->dims[1] : -1;
    return 0; /* of a cache that the case does not have */
}

static int add_input(struct trial *t, const struct om_graph *g, const struct om_port *port,
                     const struct golden_case *c, struct om_tensor *out, struct om_error *err)
{
    const struct om_value *v = om_graph_value(g, port->val);
    int64_t *dims = om_arena_array(t->arena, v->rank + 1, sizeof(*dims));
    uint64_t bytes;

    *out = (struct om_tensor){
        .name = om_arena_str(t->arena, port->name), .dtype = v->dtype, .rank = v->rank, .dims = dims
    };
    for (uint32_t i = 0; dims && i < v->rank; i++)
        dims[i] = extent(g, v->dims[i], c);
    if (!dims || !out->name || !om_tensor_bytes(out, &bytes))
        return om_fail(err, OM_E_NOMEM, "no input \"%.*s\"", OM_SV(port->name));
    out->data = om_arena_alloc(t->arena, (size_t)bytes + 1);
    return out->data ? 0 : om_fail(err, OM_E_NOMEM, "out of memory");
}

/* What the case does not feed: an empty cache in the first step; later the encoder's states, which
 * are not read then, as zeros. */
static int complete_inputs(struct trial *t, const struct om_graph *g, struct golden_case *c,
                           struct om_error *err)
{
    struct om_tensor *in = om_arena_array(t->arena, g->n_inputs, sizeof(*in));

    if (!in)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < g->n_inputs; i++) {
        const char *name = om_arena_str(t->arena, g->inputs[i].name);
        const struct om_tensor *given = name ? find_tensor(c->inputs, c->n_inputs, name) : NULL;
        if (given)
            in[i] = *given;
        else
            OM_TRY(add_input(t, g, &g->inputs[i], c, &in[i], err));
    }
    c->inputs = in;
    c->n_inputs = g->n_inputs;
    return 0;
}

static int run_single(struct trial *t, const struct om_graph *g, const struct golden_cases *file,
                      enum om_part part, struct om_error *err)
{
    const struct golden_onnx *recorded = find_onnx(&t->sig, om_part_file(part));
    struct cases cases;

    if (!recorded)
        return om_fail(err, OM_E_MISSING, "no recorded %s", om_part_file(part));
    OM_TRY(load_cases(t, file, recorded->stem, &cases, err));
    for (size_t i = 0; i < cases.n; i++)
        OM_TRY(complete_inputs(t, g, &cases.list[i], err));
    run_forms(t, g, &cases);
    return 0;
}

static void check_single(struct trial *t)
{
    struct golden_cases file = { 0 };
    struct om_error err = OM_ERROR_INIT;
    struct om_graph *g = NULL;
    int rc;

    t->where = "single.onnx";
    rc = om_arch_build(&t->job, OM_PART_DECODER_SINGLE, t->arena, &g, &err);
    if (rc == 0)
        rc = om_graph_verify(g, &err);
    if (rc == 0)
        rc = golden_cases_open(t->arena, t->golden, &file, &err);
    if (rc == 0)
        rc = run_single(t, g, &file, OM_PART_DECODER, &err);
    if (rc == 0)
        rc = run_single(t, g, &file, OM_PART_DECODER_PAST, &err);
    if (rc < 0)
        fail(t, "%s", om_error_text(&err));
    om_error_release(&err);
    golden_cases_close(&file);
    om_graph_free(g);
}

static void check_parts(struct trial *t)
{
    enum om_part parts[OM_PART_COUNT];
    const size_t n = om_arch_parts(&t->job, &(struct om_arch_layout){ 0 }, parts);

    if (n != t->sig.n_onnx)
        fail(t, "%zu files, want %zu", n, t->sig.n_onnx);
    for (size_t i = 0; i < n; i++)
        check_part(t, parts[i]);
    if (t->job.past && om_arch_two_sided(&t->job))
        check_single(t);
}

/* ---- one golden ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* Everything that a job needs from the checkpoint directory. */
static int open_job(struct trial *t, const char *dir, struct om_config *config,
                    struct om_ckpt **ckpt, struct om_error *err)
{
    struct om_arch_job *job = &t->job;
    void *cfg;

    OM_TRY(mkckpt_run(t->golden->dir, dir, &(const struct mkckpt_opts)MKCKPT_OPTS_INIT, err));
    OM_TRY(golden_signature_read(t->arena, t->golden, &t->sig, err));
    OM_TRY(om_config_open(t->arena, dir, config, err));
    OM_TRY(om_ckpt_open(t->arena, dir, ckpt, err));
    job->config = config;
    job->ckpt = *ckpt;
    job->arch = om_arch_find(config->model_type);
    job->task = om_task_parse(golden_task(t->golden), &job->past);
    if (!job->arch || !job->task || !om_arch_has_task(job->arch, job->task))
        return om_fail(err, OM_E_UNSUPPORTED, "the task is not offered");
    OM_TRY(om_arch_config(t->arena, job->arch, config, &cfg, err));
    job->cfg = cfg;
    job->compute = t->compute;
    job->storage_follows = t->compute != OM_F32;
    return 0;
}

static void run_golden(struct trial *t)
{
    char dir[] = "/tmp/optimum-golden-XXXXXX";
    struct om_config config = { 0 };
    struct om_ckpt *ckpt = NULL;
    struct om_error err = OM_ERROR_INIT;

    t->where = "checkpoint";
    t->dir = dir;
    if (!mkdtemp(dir)) {
        fail(t, "no temporary directory");
        return;
    }
    if (open_job(t, dir, &config, &ckpt, &err) < 0) {
        fail(t, "%s", om_error_text(&err));
        om_error_release(&err);
    } else {
        check_parts(t);
    }
    om_ckpt_close(ckpt);
    om_config_close(&config);
    nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- the program ---- */

static bool implemented(const char *model_type)
{
    return om_arch_find(model_type) != NULL;
}

/* Whether the command line asks for a golden: by model type, by both names, or by nothing. */
static bool wanted(const struct golden *g, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const size_t len = strlen(g->model_type);
        if (strncmp(argv[i], g->model_type, len) != 0)
            continue;
        if (argv[i][len] == '\0' ||
            (argv[i][len] == '/' && strcmp(argv[i] + len + 1, g->task) == 0))
            return true;
    }
    return argc < 2;
}

struct totals {
    unsigned passed, failed;
};

static void run_in(const struct golden *g, enum om_dtype compute, bool with_ort,
                   struct totals *totals)
{
    struct om_arena arena = OM_ARENA_INIT((size_t)2 << 30);
    struct trial t = { .golden = g, .arena = &arena, .with_ort = with_ort, .compute = compute };

    run_golden(&t);
    if (t.failures == 0)
        printf("ok   %s/%s in %s: %u runs, largest difference %.1e\n", g->model_type, g->task,
               om_dtype_text(compute), t.runs, t.worst);
    totals->passed += t.failures == 0;
    totals->failed += t.failures != 0;
    om_arena_release(&arena);
}

/* Computation in 16 bits takes the same ways for all tasks of a model type: the last one, of
 * decoders that with the most ports, stands for them where no golden was asked for by name. */
static bool in_16_bits(const struct golden *g, size_t i, size_t n, int argc)
{
    return argc > 1 || i + 1 == n || strcmp(g[i].model_type, g[i + 1].model_type) != 0;
}

/* The goldens under data and shared (may be NULL). */
static int run_list(const char *data, const char *shared, int argc, char **argv, bool with_ort,
                    struct totals *totals, struct om_error *err)
{
    struct om_arena list = OM_ARENA_INIT(64u << 20);
    struct golden *goldens;
    size_t n = 0;
    const int rc = golden_list(&list, data, shared, implemented, &goldens, &n, err);

    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (!wanted(&goldens[i], argc, argv) || !implemented(goldens[i].model_type))
            continue;
        run_in(&goldens[i], OM_F32, with_ort, totals);
        if (!in_16_bits(goldens, i, n, argc))
            continue;
        run_in(&goldens[i], OM_F16, with_ort, totals);
        run_in(&goldens[i], OM_BF16, false, totals); /* ONNX Runtime has too few kernels */
    }
    om_arena_release(&list);
    return rc;
}

int main(int argc, char **argv)
{
    const char *shared = getenv("OM_SHARED"), *data = getenv("OM_TEST_DATA");
    struct om_error err = OM_ERROR_INIT;
    struct totals totals = { 0 };
    const char *ort = NULL, *ort_path;
    char variants[4096];

    if (!data)
        data = OM_TEST_DATA;
    if (om_ort_version(&ort, &ort_path, &err) < 0) {
        printf("without ONNX Runtime: %s\n", om_error_text(&err));
        om_error_release(&err);
    }
    snprintf(variants, sizeof(variants), "%s/variants", data);
    if (run_list(data, shared && *shared ? shared : NULL, argc, argv, ort, &totals, &err) < 0 ||
        run_list(variants, NULL, argc, argv, ort, &totals, &err) < 0) {
        printf("%s\n", om_error_text(&err));
        return 2;
    }
    printf("%u passed, %u failed, 0 skipped\n", totals.passed, totals.failed);
    return totals.failed || totals.passed == 0;
}
