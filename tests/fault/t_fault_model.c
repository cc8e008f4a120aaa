/* tests/fault/t_fault_model.c: opening, running and saving a model while memory, reads, writes and
 * removals fail. */
#include <optimum/export.h>
#include <optimum/model.h>

#include <stdlib.h>

#include "base/arena.h"
#include "base/file.h"
#include "fault.h"
#include "tools/mkckpt_lib.h"

struct work {
    struct om_arena arena;
    const char *dir, *saved;
    struct om_model *model; /* for saving */
};

/* A small model with external data in w->dir; false when it cannot be tested here. */
static bool begin(struct test *t, struct work *w)
{
    struct om_export_opts e = OM_EXPORT_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    const char *must = getenv("OM_REQUIRE_ORT");

    *w = (struct work){ .arena = OM_ARENA_INIT(1 << 20) };
    if (om_ort_version(NULL, NULL, &err) < 0) {
        if (must && strcmp(must, "1") == 0)
            test_check(t, false, __FILE__, __LINE__, "%s", om_error_text(&err));
        else
            test_skip(t, "no ONNX Runtime");
        om_error_release(&err);
        return false;
    }
    w->dir = om_path_join(&w->arena, test_tmpdir(t), "out");
    w->saved = om_path_join(&w->arena, test_tmpdir(t), "saved");
    e.model = om_path_join(&w->arena, test_tmpdir(t), "checkpoint");
    e.out_dir = w->dir;
    e.task = "feature-extraction";
    e.weights = OM_WEIGHTS_EXTERNAL;
    e.validation = OM_VALIDATE_NEVER;
    CHECK_OK(t,
             mkckpt_run(test_data(t, "goldens/bert/feature-extraction"), e.model,
                        &(const struct mkckpt_opts)MKCKPT_OPTS_INIT, &err),
             &err);
    CHECK_OK(t, om_export_run(NULL, &e, &err), &err);
    om_error_release(&err);
    return !test_failed(t);
}

static int open_and_run(void *user, struct om_error *err)
{
    static const int64_t dims[] = { 1, 2 }, ids[] = { 5, 6 };
    static const struct om_tensor in = { "input_ids", OM_I64, 2, dims, ids };
    const struct work *w = user;
    struct om_model_opts o = OM_MODEL_OPTS_INIT;
    struct om_results *r = NULL;
    struct om_model *m = NULL;
    int rc;

    o.model = w->dir;
    rc = om_model_open(NULL, &o, &m, err);
    if (rc == 0)
        rc = om_model_run(m, &in, 1, &r, err);
    om_results_free(r);
    om_model_free(m);
    return rc;
}

static int save(void *user, struct om_error *err)
{
    const struct work *w = user;

    return om_model_save(NULL, w->model, w->saved, err);
}

/* A model that is there is whole, and its data with it. */
static void check_saved(struct test *t, void *user, int rc)
{
    struct work *w = user;
    const char *model = om_path_join(&w->arena, w->saved, "model.onnx");
    const char *data = om_path_join(&w->arena, w->saved, "model.onnx_data");

    CHECK(t, rc < 0 || om_file_exists(model));
    CHECK(t, !om_file_exists(model) || om_file_exists(data));
}

static void opening(struct test *t)
{
    struct work w;

    if (begin(t, &w))
        fault_sweep(t, FAULT_MEMORY, open_and_run, NULL, &w);
    om_arena_release(&w.arena);
}

static void saving(struct test *t)
{
    struct om_model_opts o = OM_MODEL_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct work w;

    if (begin(t, &w)) {
        o.model = w.dir;
        CHECK_OK(t, om_model_open(NULL, &o, &w.model, &err), &err);
    }
    if (w.model) {
        fault_sweep(t, FAULT_MEMORY, save, check_saved, &w);
        fault_sweep(t, FAULT_WRITE, save, check_saved, &w);
        fault_sweep(t, FAULT_READ, save, check_saved, &w);
        fault_sweep(t, FAULT_REMOVE, save, check_saved, &w);
    }
    om_model_free(w.model);
    om_error_release(&err);
    om_arena_release(&w.arena);
}

const struct test_entry t_fault_model[] = {
    { "opening", opening },
    { "saving", saving },
    TEST_END,
};
