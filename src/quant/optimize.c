/* src/quant/optimize.c: om_optimize_run(), and the same for one document. */
#include <stdlib.h>

#include <optimum/version.h>

#include "fuse/fuse.h"
#include "onnx/onnx.h"
#include "quant/files.h"
#include "quant/report.h"

struct run {
    struct om_ctx *ctx;
    const struct om_optimize_opts *opts;
    struct om_optimize_config config;
    struct om_quant_files files;
    struct om_quant_report report;
};

/* ---- one document ---- */

/* The float16 half of O4, by the quantizer's conversion; its layers become those of j. */
static int narrow(struct om_quant_job *j)
{
    const struct om_quant_config half = { .struct_size = sizeof(half), .method = OM_QUANT_FLOAT16 };
    struct om_quant_job inner = { .ctx = j->ctx,
                                  .config = &half,
                                  .arena = j->arena,
                                  .doc = j->doc,
                                  .err = j->err,
                                  .want_errors = j->want_errors };
    const int rc = om_quant_job_change(&inner);

    free(j->layers);
    j->layers = inner.layers;
    j->n_layers = inner.n_layers;
    j->cap_layers = inner.cap_layers;
    inner.layers = NULL;
    om_quant_job_release(&inner);
    return rc;
}

int om_optimize_job_run(struct om_quant_job *j, const struct om_optimize_config *c,
                        enum om_offline_level offline, struct om_quant_file *f)
{
    OM_TRY(om_quant_count(f, j->doc, false, j->err));
    f->optimized = true;
    if (c->optimization_level > 0)
        OM_TRY(om_fuse_doc(j->doc, c, &f->converted, j->err));
    OM_TRY(om_offline_run(j, offline)); /* before float16, which the CPU provider would undo */
    if (c->fp16)
        OM_TRY(narrow(j));
    j->doc->producer_name = OM_SVL("optimum.c");
    j->doc->producer_version = OM_SVL(OM_VERSION);
    return om_quant_count(f, j->doc, true, j->err);
}

/* ---- the files ---- */

static int optimize_doc(struct run *r, struct om_quant_job *j, const char *name)
{
    const char *const target = om_quant_files_target(&r->files, name);
    struct om_quant_file *f;

    if (!target)
        return om_quant_no_memory(j);
    OM_TRY(om_quant_report_add(&r->report, name, target, &f, j->err));
    OM_TRY(om_optimize_job_run(j, &r->config, r->opts->offline, f));
    OM_TRY(om_quant_files_write(&r->files, j->doc, target, j->err));
    OM_TRY(om_quant_report_layers(f, j, j->err));
    om_quant_report_log(r->ctx, f);
    return 0;
}

static int optimize_file(struct run *r, const char *name, struct om_error *err)
{
    const char *const path = om_path_join(&r->files.arena, r->files.dir, name);
    struct om_arena arena = OM_ARENA_INIT(OM_QUANT_ARENA_MAX);
    struct om_quant_job j = {
        .ctx = r->ctx, .arena = &arena, .want_errors = true, .dir = r->opts->out_dir, .err = err
    };
    int rc = path ? om_doc_open(&arena, path, &j.doc, err) : om_quant_no_memory(&j);
    bool inlined;

    if (rc == 0)
        rc = om_doc_inline(j.doc, &inlined, err);
    if (rc == 0) {
        rc = optimize_doc(r, &j, name);
        rc = om_wrap(err, rc, "%s", path);
    }
    om_quant_job_release(&j);
    om_doc_close(j.doc);
    om_arena_release(&arena);
    return rc;
}

static int stage_companions(struct run *r, struct om_error *err)
{
    struct om_buf text = OM_BUF_INIT(1u << 20);
    int rc;

    om_quant_config_write(NULL, &r->config, r->files.external, &text);
    rc = om_quant_files_companions(&r->files, &text, err);
    om_buf_release(&text);
    return rc;
}

static int run(struct run *r, struct om_error *err)
{
    if (r->opts->config)
        r->config = *r->opts->config;
    else if (r->opts->config_file)
        OM_TRY(om_optimize_config_read(r->opts->config_file, &r->config, &r->files.external, err));
    else
        return om_fail(err, OM_E_USAGE, "no configuration was given");
    if (r->config.enable_gemm_fast_gelu)
        om_log(r->ctx, OM_LOG_WARNING,
               "\"enable_gemm_fast_gelu_fusion\" is kept, but nothing is fused for it: only AMD's "
               "GPUs have that operator.");
    OM_TRY(om_quant_files_find(&r->files, err));
    for (size_t i = 0; i < r->files.n_models; i++)
        OM_TRY(optimize_file(r, r->files.models[i], err));
    OM_TRY(stage_companions(r, err));
    OM_TRY(om_quant_files_publish(&r->files, err));
    OM_TRY(om_quant_report_finish(&r->report, &r->files, r->opts->compare, r->opts->report, err));
    om_log(r->ctx, OM_LOG_INFO, "The optimized %s saved at: %s",
           r->files.n_models == 1 ? "model was" : "models were", r->opts->out_dir);
    return 0;
}

int om_optimize_run(struct om_ctx *ctx, const struct om_optimize_opts *opts, struct om_error *err)
{
    struct run r = { .ctx = ctx,
                     .opts = opts,
                     .files = { .ctx = ctx,
                                .model = opts->model,
                                .out_dir = opts->out_dir,
                                .suffix = opts->suffix ? opts->suffix : "optimized",
                                .weights = opts->weights,
                                .durable = opts->durable,
                                .arena = OM_ARENA_INIT(OM_QUANT_ARENA_MAX) } };
    int rc;

    if (!opts->model || !opts->out_dir)
        return om_fail(err, OM_E_USAGE, "a model and an output directory are needed");
    rc = run(&r, err);
    om_quant_files_release(&r.files);
    om_quant_report_release(&r.report);
    return rc;
}
