/* tests/fault/t_fault_fuse.c: files optimized at every level under failing allocations, reads and
 * writes: a message, nothing leaked, no incomplete file under a final name. */
#include <optimum/optimize.h>

#include <stdio.h>
#include <unistd.h>

#include "fault/fault.h"
#include "onnx/doc.h"

struct job {
    struct om_optimize_opts opts;
    const char *target;
};

static int optimize(void *user, struct om_error *err)
{
    const struct job *const j = user;

    return om_optimize_run(NULL, &j->opts, err);
}

/* What has its name is whole; nothing hidden is left. */
static void check_files(struct test *t, void *user, int rc)
{
    const struct job *const j = user;
    struct om_arena a = OM_ARENA_INIT(16u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_doc *d = NULL;
    const char **names = NULL;
    size_t n = 0;

    CHECK(t, rc == 0 || access(j->target, F_OK) != 0 || rc == OM_E_IO);
    if (access(j->target, F_OK) == 0) {
        CHECK_OK(t, om_doc_open(&a, j->target, &d, &err), &err);
        om_doc_close(d);
    }
    if (om_dir_exists(j->opts.out_dir) && om_dir_list(&a, j->opts.out_dir, &names, &n, &err) == 0)
        for (size_t i = 0; i < n; i++)
            CHECK(t, names[i][0] != '.');
    unlink(j->target);
    om_error_release(&err);
    om_arena_release(&a);
}

static void run(struct test *t, const char *model, const struct om_optimize_config *config,
                enum om_weights_mode weights, unsigned kinds)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct job j = { .opts = OM_OPTIMIZE_OPTS_INIT };

    test_case(t, "%s, level %d", model, config->optimization_level);
    j.opts.model = om_arena_str(
        &a, om_sv_str(test_data(t, om_arena_printf(&a, "fuzz/optimize/%s.onnx", model))));
    j.opts.out_dir = om_path_join(&a, test_tmpdir(t), "out");
    j.opts.config = config;
    j.opts.weights = weights;
    j.target = om_arena_printf(&a, "%s/%s_optimized.onnx", j.opts.out_dir, model);
    fault_sweep(t, kinds, optimize, check_files, &j);
    om_arena_release(&a);
}

static void levels(struct test *t)
{
    static const char *const models[] = { "patterns", "branches", "attention_flat",
                                          "attention_past" };
    static const char *const names[] = { "O1", "O3", "O4" };
    struct om_optimize_config config;

    for (size_t i = 0; i < OM_COUNT(models); i++)
        for (size_t k = 0; k < OM_COUNT(names); k++) {
            CHECK_INT(t, om_optimize_level(names[k], &config, NULL), 0);
            run(t, models[i], &config, OM_WEIGHTS_AUTO, FAULT_MEMORY);
        }
}

static void files(struct test *t)
{
    struct om_optimize_config config = OM_OPTIMIZE_CONFIG_INIT;

    run(t, "patterns", &config, OM_WEIGHTS_EXTERNAL, FAULT_WRITE | FAULT_READ);
}

const struct test_entry t_fault_fuse[] = { { "levels", levels }, { "files", files }, TEST_END };
