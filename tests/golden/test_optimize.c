/* tests/golden/test_optimize.c: every golden, exported at the levels O1, O2 and O3: what ONNX
 * Runtime computes from the files is what PyTorch computed.
 *
 *   test_optimize [MODEL_TYPE[/TASK]]...
 *
 * Goldens come from the project's tests/data and, when the environment names one, from OM_SHARED.
 * As many processes as there are processors share them. */
#include <optimum/export.h>
#include <optimum/optimize.h>
#include <optimum/session.h>

#include <ftw.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/file.h"
#include "golden.h"
#include "tools/mkckpt_lib.h"

/* Of the largest magnitude of an output: fusions compute the same; Gelu is approximated at O3. */
static const struct level {
    const char *name;
    double tolerance;
} levels[] = { { "O1", 1e-4 }, { "O2", 1e-4 }, { "O3", 1e-3 } };

/* One golden under test. */
struct trial {
    const struct golden *golden;
    struct golden_signature sig;
    struct golden_cases file;
    struct om_arena *arena;
    const char *dir;
    const struct level *level; /* at hand */
    const char *where;         /* the file at hand */
    unsigned failures, runs;
    double worst[OM_COUNT(levels)];
};

/* Values that are cut to a small range (clip_qkv) have a small magnitude, but the differences of
 * what was cut: 1.04e-3 of it. */
static double tolerance(const struct trial *t)
{
    const bool clipped =
        strcmp(t->golden->model_type, "mpt") == 0 && strstr(t->golden->task, "+clipped") != NULL;

    return t->level->tolerance * (clipped ? 2 : 1);
}

static void fail(struct trial *t, const char *fmt, ...) OM_PRINTF(2, 3);

static void fail(struct trial *t, const char *fmt, ...)
{
    va_list ap;

    t->failures++;
    printf("FAIL %s/%s at %s, %s: ", t->golden->model_type, t->golden->task,
           t->level ? t->level->name : "no level", t->where);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

static void fail_with(struct trial *t, struct om_error *err)
{
    fail(t, "%s", om_error_text(err));
    om_error_release(err);
}

/* ---- files ---- */

/* A file that is the one of the level before has been run. */
static bool same_as_before(const struct trial *t, const char *name, const char *path)
{
    const size_t level = (size_t)(t->level - levels);
    const char *before =
        level > 0 ? om_arena_printf(t->arena, "%s/%s/%s", t->dir, levels[level - 1].name, name)
                  : NULL;
    om_sv a, b;

    return before && om_file_read(t->arena, before, (size_t)1 << 30, &a, NULL) == 0 &&
           om_file_read(t->arena, path, (size_t)1 << 30, &b, NULL) == 0 && om_sv_eq(a, b);
}

static void run_file(struct trial *t, const struct golden_onnx *onnx)
{
    const char *path = om_arena_printf(t->arena, "%s/%s/%s", t->dir, t->level->name, onnx->name);
    double *const worst = &t->worst[t->level - levels];
    struct golden_run run = { .path = path, .stem = onnx->stem, .tolerance = tolerance(t) };
    struct om_error err = OM_ERROR_INIT;

    t->where = onnx->name;
    if (path && same_as_before(t, onnx->name, path))
        return;
    if (golden_run(t->arena, &t->file, &run, &err) < 0)
        fail_with(t, &err);
    t->runs += run.runs;
    *worst = fmax(*worst, run.worst);
}

static int export_level(struct trial *t, const char *model, struct om_error *err)
{
    struct om_export_opts o = OM_EXPORT_OPTS_INIT;
    struct om_optimize_config config;

    OM_TRY(om_optimize_level(t->level->name, &config, err));
    om_optimize_for_cpu(&config);
    o.model = model;
    o.out_dir = om_arena_printf(t->arena, "%s/%s", t->dir, t->level->name);
    o.task = om_arena_str(t->arena, golden_task(t->golden));
    o.validation = OM_VALIDATE_NEVER;
    o.optimize = &config;
    return om_export_run(NULL, &o, err);
}

static void run_level(struct trial *t, const char *model)
{
    const struct om_mark mark = om_arena_mark(t->arena);
    struct om_error err = OM_ERROR_INIT;

    t->where = "export";
    if (export_level(t, model, &err) < 0)
        fail_with(t, &err);
    else
        for (size_t i = 0; i < t->sig.n_onnx; i++)
            run_file(t, &t->sig.onnx[i]);
    om_arena_rewind(t->arena, mark);
}

/* ---- one golden ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int open_golden(struct trial *t, const char *model, struct om_error *err)
{
    OM_TRY(mkckpt_run(t->golden->dir, model, &(const struct mkckpt_opts)MKCKPT_OPTS_INIT, err));
    OM_TRY(golden_signature_read(t->arena, t->golden, &t->sig, err));
    return golden_cases_open(t->arena, t->golden, &t->file, err);
}

static void run_golden(struct trial *t)
{
    char dir[] = "/tmp/optimum-optimize-XXXXXX";
    struct om_error err = OM_ERROR_INIT;
    const char *model;

    t->where = "checkpoint";
    t->dir = dir;
    if (!mkdtemp(dir)) {
        fail(t, "no temporary directory");
        return;
    }
    model = om_arena_printf(t->arena, "%s/model", dir);
    if (!model || open_golden(t, model, &err) < 0)
        fail_with(t, &err);
    for (size_t i = 0; t->failures == 0 && i < OM_COUNT(levels); i++) {
        t->level = &levels[i];
        run_level(t, model);
    }
    golden_cases_close(&t->file);
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static bool run_one(const struct golden *g)
{
    struct om_arena arena = OM_ARENA_INIT((size_t)2 << 30);
    struct trial t = { .golden = g, .arena = &arena };

    run_golden(&t);
    if (t.failures == 0)
        printf("ok   %s/%s: %u runs, largest differences %.1e, %.1e, %.1e\n", g->model_type,
               g->task, t.runs, t.worst[0], t.worst[1], t.worst[2]);
    om_arena_release(&arena);
    return t.failures == 0;
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
    bool no_runtime;
};

/* Every n-th of the goldens, from the k-th on. */
static int run_share(size_t k, size_t n, int argc, char **argv, struct totals *totals)
{
    const char *shared = getenv("OM_SHARED"), *data = getenv("OM_TEST_DATA");
    struct om_arena list = OM_ARENA_INIT((size_t)64 << 20);
    struct om_error err = OM_ERROR_INIT;
    const char *roots[2];
    size_t at = 0;
    int rc = 0;

    roots[0] = data ? data : OM_TEST_DATA;
    roots[1] = om_arena_printf(&list, "%s/variants", roots[0]);
    for (size_t r = 0; r < OM_COUNT(roots) && rc == 0; r++) {
        struct golden *goldens = NULL;
        size_t count = 0;

        rc = golden_list(&list, roots[r], r == 0 && shared && *shared ? shared : NULL, implemented,
                         &goldens, &count, &err);
        for (size_t i = 0; rc == 0 && i < count; i++) {
            if (!wanted(&goldens[i], argc, argv) || !implemented(goldens[i].model_type) ||
                at++ % n != k)
                continue;
            if (run_one(&goldens[i]))
                totals->passed++;
            else
                totals->failed++;
        }
    }
    if (rc < 0)
        printf("%s\n", om_error_text(&err));
    om_error_release(&err);
    om_arena_release(&list);
    return rc;
}

/* A process that runs a share and writes its totals to the pipe. */
static bool start_share(size_t k, size_t n, int argc, char **argv, int out)
{
    struct totals totals = { .passed = 0 };
    const char *version, *path;
    const pid_t pid = fork();

    if (pid != 0)
        return pid > 0;
    if (om_ort_version(&version, &path, NULL) < 0) /* here: its threads do not outlive a fork */
        totals.no_runtime = true;
    else if (run_share(k, n, argc, argv, &totals) < 0)
        totals.failed++;
    fflush(stdout);
    exit(write(out, &totals, sizeof(totals)) == sizeof(totals) ? 0 : 1);
}

static size_t processors(void)
{
    const long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > 16 ? 16 : (size_t)n;
}

int main(int argc, char **argv)
{
    const size_t n = processors();
    const char *const required = getenv("OM_REQUIRE_ORT");
    struct totals totals = { .passed = 0 }, part;
    int fds[2], status;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (pipe(fds) < 0)
        return EXIT_FAILURE;
    for (size_t k = 0; k < n; k++)
        if (!start_share(k, n, argc, argv, fds[1]))
            totals.failed++;
    close(fds[1]);
    while (read(fds[0], &part, sizeof(part)) == sizeof(part)) {
        totals.passed += part.passed;
        totals.failed += part.failed;
        totals.no_runtime |= part.no_runtime;
    }
    while (wait(&status) > 0)
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            totals.failed++;
    if (totals.no_runtime)
        printf("without ONNX Runtime nothing can be compared\n");
    totals.failed += totals.no_runtime && required && atoi(required);
    printf("%u passed, %u failed, %d skipped\n", totals.passed, totals.failed, totals.no_runtime);
    return totals.failed > 0 || (totals.passed == 0 && !totals.no_runtime) ? EXIT_FAILURE
                                                                           : EXIT_SUCCESS;
}
