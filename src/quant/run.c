/* src/quant/run.c: om_quantize_run(). */
#include "quant/files.h"
#include "quant/quant.h"
#include "quant/report.h"
#include "quant/samples.h"

struct run {
    struct om_ctx *ctx;
    const struct om_quantize_opts *opts;
    struct om_quant_config config;
    struct om_quant_files files;
    struct om_quant_report report;
    struct om_samples samples; /* of static quantization */
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

static int quantize_doc(struct run *r, struct om_quant_job *j, const char *name,
                        struct om_error *err)
{
    const char *const target = om_quant_files_target(&r->files, name);
    struct om_quant_file *f;

    if (!target)
        return no_memory(err);
    OM_TRY(om_quant_report_add(&r->report, name, target, &f, err));
    OM_TRY(om_quant_job_run(j, f));
    OM_TRY(om_quant_files_write(&r->files, j->doc, target, err));
    OM_TRY(om_quant_report_layers(f, j, err));
    om_quant_report_log(r->ctx, f);
    return 0;
}

static int quantize_file(struct run *r, const char *name, struct om_error *err)
{
    const char *const path = om_path_join(&r->files.arena, r->files.dir, name);
    struct om_arena arena = OM_ARENA_INIT(OM_QUANT_ARENA_MAX);
    struct om_quant_job j = { .ctx = r->ctx,
                              .config = &r->config,
                              .arena = &arena,
                              .want_errors = !r->opts->no_errors,
                              .samples = r->config.method == OM_QUANT_STATIC ? &r->samples : NULL,
                              .dir = r->opts->out_dir,
                              .err = err };
    bool inlined;
    int rc;

    if (!path)
        return no_memory(err);
    rc = om_doc_open(&arena, path, &j.doc, err);
    if (rc == 0)
        rc = om_doc_inline(j.doc, &inlined, err);
    if (rc == 0) {
        rc = quantize_doc(r, &j, name, err);
        rc = om_wrap(err, rc, "%s", path);
    }
    om_quant_job_release(&j);
    om_doc_close(j.doc);
    om_arena_release(&arena);
    return rc;
}

static int read_config(struct run *r, struct om_error *err)
{
    if (r->opts->config)
        r->config = *r->opts->config;
    else if (r->opts->config_file)
        OM_TRY(om_quant_config_read(&r->files.arena, r->opts->config_file, &r->config,
                                    &r->files.external, err));
    else
        return om_fail(err, OM_E_USAGE, "no configuration was given");
    if (!r->opts->config)
        r->config.calibration = r->opts->calibration;
    return om_quant_config_check(&r->config, err);
}

static int stage_companions(struct run *r, struct om_error *err)
{
    struct om_buf text = OM_BUF_INIT(1u << 20);
    int rc;

    om_quant_config_write(&r->config, NULL, r->files.external, &text);
    rc = om_quant_files_companions(&r->files, &text, err);
    om_buf_release(&text);
    return rc;
}

static int run(struct run *r, struct om_error *err)
{
    OM_TRY(read_config(r, err));
    OM_TRY(om_quant_files_find(&r->files, err));
    if (r->config.method == OM_QUANT_STATIC)
        OM_TRY(om_samples_open(&r->samples, r->ctx, r->opts, r->files.dir, err));
    for (size_t i = 0; i < r->files.n_models; i++)
        OM_TRY(quantize_file(r, r->files.models[i], err));
    OM_TRY(stage_companions(r, err));
    OM_TRY(om_quant_files_publish(&r->files, err));
    OM_TRY(om_quant_report_finish(&r->report, &r->files, r->opts->compare, r->opts->report, err));
    om_log(r->ctx, OM_LOG_INFO, "The quantized %s saved at: %s",
           r->files.n_models == 1 ? "model was" : "models were", r->opts->out_dir);
    return 0;
}

int om_quantize_run(struct om_ctx *ctx, const struct om_quantize_opts *opts, struct om_error *err)
{
    struct run r = { .ctx = ctx,
                     .opts = opts,
                     .files = { .ctx = ctx,
                                .model = opts->model,
                                .out_dir = opts->out_dir,
                                .suffix = opts->suffix ? opts->suffix : "quantized",
                                .weights = opts->weights,
                                .durable = opts->durable,
                                .arena = OM_ARENA_INIT(OM_QUANT_ARENA_MAX) } };
    int rc;

    if (!opts->model || !opts->out_dir)
        return om_fail(err, OM_E_USAGE, "a model and an output directory are needed");
    rc = run(&r, err);
    om_quant_files_release(&r.files);
    om_quant_report_release(&r.report);
    om_samples_close(&r.samples);
    return rc;
}
