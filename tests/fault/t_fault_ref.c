/* tests/fault/t_fault_ref.c: the reference executor under failing allocations, on a whole model. */
#include "ref/ref.h"
#include "ref/model.h"
#include "arch/arch.h"
#include "fault/fault.h"
#include "tools/mkckpt_lib.h"

#include <dirent.h>
#include <stdio.h>

struct state {
    struct om_arena a;
    struct om_config config;
    struct om_ckpt *ckpt;
    struct om_graph *g;
};

static int build(struct state *s, const char *golden, const char *dir, struct om_error *err)
{
    const struct mkckpt_opts opts = { .dtype = OM_BF16 }; /* weights are converted while it runs */
    struct om_arch_job job = { .arch = om_arch_find("distilbert") };
    bool past;
    void *cfg;

    OM_TRY(mkckpt_run(golden, dir, &opts, err));
    OM_TRY(om_config_open(&s->a, dir, &s->config, err));
    OM_TRY(om_arch_config(&s->a, job.arch, &s->config, &cfg, err));
    OM_TRY(om_ckpt_open(&s->a, dir, &s->ckpt, err));
    job.cfg = cfg;
    job.config = &s->config;
    job.ckpt = s->ckpt;
    job.task = om_task_parse(OM_SVL("question-answering"), &past);
    return om_arch_build(&job, OM_PART_MODEL, &s->a, &s->g, err);
}

static int run(void *user, struct om_error *err)
{
    static const int64_t dims[2] = { 1, 3 }, ids[3] = { 5, 6, 7 }, mask[3] = { 1, 1, 0 };
    const struct om_tensor inputs[2] = {
        { .name = "input_ids", .dtype = OM_I64, .rank = 2, .dims = dims, .data = ids },
        { .name = "attention_mask", .dtype = OM_I64, .rank = 2, .dims = dims, .data = mask },
    };
    const struct state *s = user;
    struct om_arena a = OM_ARENA_INIT(1 << 24);
    struct om_tensor *out = NULL;
    size_t n = 0;
    int rc = om_ref_run(s->g, inputs, 2, NULL, &a, &out, &n, err);

    if (rc == 0 && n != 2)
        rc = om_fail(err, OM_E_INTERNAL, "outputs are missing");
    om_arena_release(&a);
    return rc;
}

static void model(struct test *t)
{
    struct state s = { .a = OM_ARENA_INIT(1 << 26) };
    struct om_error err = OM_ERROR_INIT;
    char dir[512];

    snprintf(dir, sizeof(dir), "%s/checkpoint", test_tmpdir(t));
    CHECK_OK(t, build(&s, test_data(t, "goldens/distilbert/question-answering"), dir, &err), &err);
    if (!test_failed(t))
        fault_sweep(t, FAULT_MEMORY, run, NULL, &s);
    om_graph_free(s.g);
    om_ckpt_close(s.ckpt);
    om_config_close(&s.config);
    om_error_release(&err);
    om_arena_release(&s.a);
}

/* ---- documents: one operator each, the corpus of the fuzz target ---- */

static int run_document(void *user, struct om_error *err)
{
    const char *path = user;
    struct om_arena a = OM_ARENA_INIT(1 << 24);
    struct om_ref_model *prepared;
    struct om_tensor *out;
    struct om_doc *doc;
    size_t n;
    int rc = om_doc_open(&a, path, &doc, err);

    if (rc == 0) {
        rc = om_ref_model_new(doc, &prepared, err);
        if (rc == 0)
            rc = om_ref_model_run(prepared, NULL, 0, NULL, &a, &out, &n, err);
        om_doc_close(doc);
    }
    om_arena_release(&a);
    return rc;
}

/* The corpus also has models that are refused. */
static bool is_refused(char *path)
{
    struct om_error err = OM_ERROR_INIT;
    const int rc = run_document(path, &err);

    om_error_release(&err);
    return rc < 0;
}

static void documents(struct test *t)
{
    DIR *const dir = opendir(test_data(t, "fuzz/refops"));
    const struct dirent *e;
    size_t n = 0;

    CHECK(t, dir != NULL);
    while (dir && (e = readdir(dir)) != NULL) {
        char path[1024];

        if (e->d_name[0] == '.')
            continue;
        test_case(t, "%s", e->d_name);
        snprintf(path, sizeof(path), "%s/%s", test_data(t, "fuzz/refops"), e->d_name);
        if (is_refused(path))
            continue;
        fault_sweep(t, FAULT_MEMORY, run_document, NULL, path);
        n++;
    }
    CHECK(t, n > 100);
    if (dir)
        closedir(dir);
}

const struct test_entry t_fault_ref[] = { { "model", model },
                                          { "documents", documents },
                                          TEST_END };
