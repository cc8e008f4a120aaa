/* tests/fault/t_fault_quant.c: files quantized by every method under failing allocations, reads and
 * writes: a message, nothing leaked, no incomplete file under a final name. */
#include <optimum/quantize.h>

#include <stdio.h>
#include <unistd.h>

#include "fault/fault.h"
#include "onnx/doc.h"

struct job {
    struct om_quantize_opts opts;
    const char *target;
};

static int quantize(void *user, struct om_error *err)
{
    const struct job *const j = user;

    return om_quantize_run(NULL, &j->opts, err);
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

    /* the page comes last: the files stay when it fails */
    CHECK(t, rc == 0 || access(j->target, F_OK) != 0 || rc == OM_E_IO || j->opts.report);
    if (access(j->target, F_OK) == 0) {
        CHECK_OK(t, om_doc_open(&a, j->target, &d, &err), &err);
        om_doc_close(d);
    }
    if (om_dir_exists(j->opts.out_dir) && om_dir_list(&a, j->opts.out_dir, &names, &n, &err) == 0)
        for (size_t i = 0; i < n; i++)
            CHECK(t, names[i][0] != '.');
    if (j->opts.report && access(j->opts.report, F_OK) == 0) { /* whole, too */
        om_sv page = { NULL, 0 };

        CHECK_OK(t, om_file_read(&a, j->opts.report, 1u << 20, &page, &err), &err);
        CHECK(t, om_sv_ends(page, OM_SVL("</html>\n")));
    }
    if (j->opts.report)
        unlink(j->opts.report);
    unlink(j->target);
    om_error_release(&err);
    om_arena_release(&a);
}

static void run(struct test *t, const char *model, const struct om_quant_config *config,
                enum om_weights_mode weights, unsigned kinds, bool page)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct job j = { .opts = OM_QUANTIZE_OPTS_INIT };

    test_case(t, "%s, method %d", model, config->method);
    j.opts.model = om_arena_str(
        &a, om_sv_str(test_data(t, om_arena_printf(&a, "fuzz/quantize/%s.onnx", model))));
    j.opts.out_dir = om_path_join(&a, test_tmpdir(t), "out");
    j.opts.config = config;
    j.opts.weights = weights;
    if (page)
        j.opts.report = om_path_join(&a, j.opts.out_dir, "page.html");
    j.target = om_arena_printf(&a, "%s/%s_quantized.onnx", j.opts.out_dir, model);
    fault_sweep(t, kinds, quantize, check_files, &j);
    om_arena_release(&a);
}

static void methods(struct test *t)
{
    static const char *const models[] = { "mixed", "if", "lstm", "cast" };
    struct om_quant_config config = OM_QUANT_CONFIG_INIT;

    config.symmetric = false;
    for (size_t i = 0; i < OM_COUNT(models); i++) {
        config.method = OM_QUANT_DYNAMIC;
        run(t, models[i], &config, OM_WEIGHTS_AUTO, FAULT_MEMORY, false);
        config.method = OM_QUANT_WEIGHT_ONLY;
        run(t, models[i], &config, OM_WEIGHTS_AUTO, FAULT_MEMORY, false);
        config.numbers = OM_QUANT_NF4;
        config.symmetric = config.rest_float16 = true;
        run(t, models[i], &config, OM_WEIGHTS_AUTO, FAULT_MEMORY, false);
        config = (struct om_quant_config)OM_QUANT_CONFIG_INIT;
        config.symmetric = false;
        config.method = OM_QUANT_FLOAT16;
        run(t, models[i], &config, OM_WEIGHTS_AUTO, FAULT_MEMORY, false);
    }
}

static void files(struct test *t)
{
    struct om_quant_config config = OM_QUANT_CONFIG_INIT;

    run(t, "mixed", &config, OM_WEIGHTS_EXTERNAL, FAULT_WRITE | FAULT_READ, false);
    run(t, "mixed", &config, OM_WEIGHTS_EXTERNAL, FAULT_MEMORY, false);
}

static void page(struct test *t)
{
    struct om_quant_config config = OM_QUANT_CONFIG_INIT;

    config.method = OM_QUANT_WEIGHT_ONLY;
    run(t, "mixed", &config, OM_WEIGHTS_AUTO, FAULT_MEMORY, true);
    run(t, "mixed", &config, OM_WEIGHTS_AUTO, FAULT_WRITE, true);
}

const struct test_entry t_fault_quant[] = {
    { "methods", methods }, { "files", files }, { "page", page }, TEST_END
};
