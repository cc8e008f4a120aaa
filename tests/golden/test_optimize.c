/* tests/golden/test_optimize.c: one golden of every architecture, exported at every level; what
 * ONNX Runtime computes from the files agrees with the reference executor on the graph that was
 * built. Without ONNX Runtime only the files are made. */
#include <optimum/export.h>
#include <optimum/optimize.h>
#include <optimum/session.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "tools/mkckpt_lib.h"

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int export_level(const struct golden *g, const char *model, const char *out,
                        const char *level, bool strict)
{
    struct om_export_opts o = OM_EXPORT_OPTS_INIT;
    struct om_optimize_config config;
    struct om_error err = OM_ERROR_INIT;
    const om_sv task = golden_task(g);
    char name[128];
    int rc = om_optimize_level(level, &config, &err);

    snprintf(name, sizeof(name), "%.*s", OM_SV(task));
    o.model = model;
    o.out_dir = out;
    o.task = name;
    o.optimize = &config;
    o.strict = strict;
    if (rc == 0)
        rc = om_export_run(NULL, &o, &err);
    if (rc < 0)
        printf("%s/%s, %s: %s\n", g->model_type, g->task, level, om_error_text(&err));
    om_error_release(&err);
    return rc;
}

static int run_golden(const struct golden *g, const char *dir, bool strict)
{
    static const char *const levels[] = { "O1", "O2", "O3" };
    const struct mkckpt_opts opts = MKCKPT_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    char model[256], out[256];
    int failed = 0;

    snprintf(model, sizeof(model), "%s/%s", dir, g->model_type);
    if (mkckpt_run(g->dir, model, &opts, &err) < 0) {
        printf("%s/%s: %s\n", g->model_type, g->task, om_error_text(&err));
        failed++;
    }
    for (size_t i = 0; failed == 0 && i < OM_COUNT(levels); i++) {
        snprintf(out, sizeof(out), "%s/%s-%s", dir, g->model_type, levels[i]);
        failed += export_level(g, model, out, levels[i], strict) < 0;
    }
    om_error_release(&err);
    return failed;
}

int main(void)
{
    struct om_arena a = OM_ARENA_INIT(64u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct golden *goldens = NULL;
    char dir[] = "/tmp/test_optimize_XXXXXX";
    const char *const given = getenv("OM_TEST_DATA"), *const data = given ? given : OM_TEST_DATA;
    const char *version, *path;
    const bool strict = om_ort_version(&version, &path, NULL) == 0;
    size_t n = 0, runs = 0;
    int failed = 0;

    if (!mkdtemp(dir))
        return EXIT_FAILURE;
    if (golden_list(&a, data, NULL, NULL, &goldens, &n, &err) < 0) {
        printf("%s\n", om_error_text(&err));
        failed++;
    }
    for (size_t i = 0; i < n; i++) {
        /* the last task of a model type: with a cache where there is one */
        if (i + 1 < n && strcmp(goldens[i].model_type, goldens[i + 1].model_type) == 0)
            continue;
        failed += run_golden(&goldens[i], dir, strict);
        runs++;
    }
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    printf("%zu architectures at three levels, %d failures\n", runs, failed);
    om_error_release(&err);
    om_arena_release(&a);
    return failed > 0 || runs == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
