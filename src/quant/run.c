/* src/quant/run.c: om_quantize_run(): the files of a directory, from the old models to the new
 * ones. */
#include <errno.h>
#include <stdlib.h>

#include "config/config.h"
#include "quant/quant.h"
#include "quant/report.h"
#include "quant/samples.h"

#define SMALL_FILE_MAX ((size_t)256 << 20)
#define ARENA_MAX ((size_t)4 << 30)

/* A file that gets its name at the end. */
struct staged {
    struct om_out out;
    bool model; /* published last */
    bool empty; /* a data file into which nothing went */
};

struct run {
    struct om_ctx *ctx;
    const struct om_quantize_opts *opts;
    struct om_quant_config config;
    struct om_arena arena;
    const char *dir;
    const char **models; /* file names in dir */
    size_t n_models;
    struct staged *staged;
    size_t n_staged, cap_staged;
    bool external;
    struct om_quant_report report;
    struct om_samples samples; /* of static quantization */
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

/* ---- which files ---- */

static int split_path(struct run *r, const char *path, struct om_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    r->models = om_arena_array(&r->arena, 1, sizeof(*r->models));
    r->dir =
        slash ? om_arena_str(&r->arena, (om_sv){ path, slash == path ? 1 : (size_t)(slash - path) })
              : ".";
    if (!r->models || !r->dir)
        return no_memory(err);
    r->models[r->n_models++] = name;
    return 0;
}

static int find_models(struct run *r, struct om_error *err)
{
    const char *const path = r->opts->model;
    const char **names;
    size_t n, kept = 0;

    if (om_file_exists(path))
        return split_path(r, path, err);
    if (!om_dir_exists(path))
        return om_fail(err, OM_E_MISSING, "%s: no such file or directory", path);
    OM_TRY(om_dir_list(&r->arena, path, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        const char *file = om_path_join(&r->arena, path, names[i]);

        if (!file)
            return no_memory(err);
        if (om_sv_ends(om_sv_str(names[i]), OM_SVL(".onnx")) && om_file_exists(file))
            names[kept++] = names[i];
    }
    if (kept == 0)
        return om_fail(err, OM_E_MISSING, "%s: there is no .onnx file", path);
    r->dir = path;
    r->models = names;
    r->n_models = kept;
    return 0;
}

static int check_out_dir(const struct run *r, struct om_error *err)
{
    if (om_file_same(r->dir, r->opts->out_dir))
        return om_fail(err, OM_E_USAGE,
                       "%s: the output directory must be another than that of the models",
                       r->opts->out_dir);
    return om_dir_make(r->opts->out_dir, err);
}

/* ---- staging ---- */

static int stage(struct run *r, const char *name, bool model, struct staged **out,
                 struct om_error *err)
{
    struct staged *s;

    if (!om_grow(&r->staged, &r->cap_staged, r->n_staged + 1, sizeof(*r->staged)))
        return no_memory(err);
    s = &r->staged[r->n_staged++];
    *s = (struct staged){ .out = OM_OUT_INIT, .model = model };
    om_out_discard(r->opts->out_dir, name);
    *out = s;
    return om_out_open(&s->out, r->opts->out_dir, name, r->ctx, err);
}

static int stage_bytes(struct run *r, const char *name, om_sv bytes, struct om_error *err)
{
    struct staged *s;

    OM_TRY(stage(r, name, false, &s, err));
    return om_out_write(&s->out, bytes.ptr, bytes.len, err);
}

static int stage_copy(struct run *r, const char *name, struct om_error *err)
{
    const char *path = om_path_join(&r->arena, r->dir, name);
    const struct om_mark mark = om_arena_mark(&r->arena);
    om_sv bytes;
    int rc;

    if (!path)
        return no_memory(err);
    if (!om_file_exists(path))
        return 0;
    rc = om_file_read(&r->arena, path, SMALL_FILE_MAX, &bytes, err);
    if (rc == 0)
        rc = stage_bytes(r, name, bytes, err);
    om_arena_rewind(&r->arena, mark);
    return rc;
}

static int stage_companions(struct run *r, struct om_error *err)
{
    struct om_buf text = OM_BUF_INIT(1u << 20);
    int rc;

    om_quant_config_write(&r->config, r->external, &text);
    rc = om_buf_check(&text, err);
    if (rc == 0)
        rc = stage_bytes(r, "ort_config.json", om_buf_sv(&text), err);
    om_buf_release(&text);
    OM_TRY(rc);
    OM_TRY(stage_copy(r, "config.json", err));
    OM_TRY(stage_copy(r, "generation_config.json", err));
    for (const char *const *name = om_companion_files; *name; name++)
        OM_TRY(stage_copy(r, *name, err));
    return 0;
}

/* ---- one model ---- */

static int write_model(struct run *r, struct om_quant_job *j, const char *name,
                       struct om_error *err)
{
    const bool external = r->opts->weights == OM_WEIGHTS_EXTERNAL ||
                          (r->opts->weights != OM_WEIGHTS_EMBEDDED &&
                           (r->external || om_doc_size(j->doc) > INT32_MAX));
    struct om_doc_write_opts o = { .external_min = OM_QUANT_EXTERNAL_MIN };
    struct staged *s;
    struct om_out *data = NULL;
    size_t at = 0;

    if (external) {
        o.location = om_arena_printf(&r->arena, "%s_data", name);
        if (!o.location)
            return no_memory(err);
        OM_TRY(stage(r, o.location, false, &s, err));
        at = r->n_staged - 1;
    }
    OM_TRY(stage(r, name, true, &s, err));
    if (external)
        o.data = data = &r->staged[at].out;
    r->external = r->external || external;
    OM_TRY(om_doc_write(j->doc, &o, &s->out, err));
    if (data)
        r->staged[at].empty = data->pos == 0;
    return om_out_flush(&s->out, err);
}

static const char *target_name(struct run *r, const char *name)
{
    const char *const suffix = r->opts->suffix ? r->opts->suffix : "quantized";
    const om_sv stem = { name,
                         strlen(name) - (om_sv_ends(om_sv_str(name), OM_SVL(".onnx")) ? 5 : 0) };

    return om_arena_printf(&r->arena, "%.*s%s%s.onnx", OM_SV(stem), suffix[0] ? "_" : "", suffix);
}

static int quantize_doc(struct run *r, struct om_quant_job *j, const char *name,
                        struct om_error *err)
{
    const char *const target = target_name(r, name);
    struct om_quant_file *f;

    if (!target)
        return no_memory(err);
    OM_TRY(om_quant_report_add(&r->report, name, target, &f, err));
    OM_TRY(om_quant_job_run(j, f));
    OM_TRY(write_model(r, j, target, err));
    return om_quant_report_layers(f, j, err);
}

static int quantize_file(struct run *r, const char *name, struct om_error *err)
{
    const char *const path = om_path_join(&r->arena, r->dir, name);
    struct om_arena arena = OM_ARENA_INIT(ARENA_MAX);
    struct om_quant_job j = { .ctx = r->ctx,
                              .config = &r->config,
                              .arena = &arena,
                              .want_errors = !r->opts->no_errors,
                              .samples = r->config.method == OM_QUANT_STATIC ? &r->samples : NULL,
                              .dir = r->opts->out_dir,
                              .err = err };
    int rc;

    if (!path)
        return no_memory(err);
    rc = om_doc_open(&arena, path, &j.doc, err);
    if (rc == 0) {
        rc = quantize_doc(r, &j, name, err);
        rc = om_wrap(err, rc, "%s", path);
    }
    if (rc == 0)
        om_quant_report_log(r->ctx, &r->report);
    om_quant_job_release(&j);
    om_doc_close(j.doc);
    om_arena_release(&arena);
    return rc;
}

/* ---- publishing ---- */

static int publish(struct run *r, struct om_error *err)
{
    OM_TRY(om_ctx_check(r->ctx, err));
    for (int models = 0; models < 2; models++) {
        for (size_t i = 0; i < r->n_staged; i++) {
            struct staged *const s = &r->staged[i];

            if (s->model != (models == 1))
                continue;
            if (s->empty)
                om_out_abort(&s->out);
            else
                OM_TRY(om_out_commit(&s->out, r->opts->durable, err));
        }
    }
    return 0;
}

/* The files have their names by now. */
static int compare(struct run *r, struct om_error *err)
{
    for (size_t i = 0; i < r->report.n; i++) {
        struct om_quant_file *const f = r->report.files[i];
        const char *const was = om_path_join(&r->arena, r->dir, f->name);
        const char *const now = om_path_join(&r->arena, r->opts->out_dir, f->target);

        if (!was || !now)
            return no_memory(err);
        OM_TRY(om_ctx_check(r->ctx, err));
        OM_TRY(om_quant_compare(f, was, now, err));
        om_quant_log_differences(r->ctx, f);
    }
    return 0;
}

static int write_page(struct run *r, struct om_error *err)
{
    const char *const path = r->opts->report, *const slash = strrchr(path, '/');
    const char *const dir =
        slash ? om_arena_str(&r->arena, (om_sv){ path, (size_t)(slash - path) + 1 }) : ".";
    struct om_buf page = OM_BUF_INIT(1u << 30);
    struct om_out out = OM_OUT_INIT;
    int rc = dir ? 0 : no_memory(err);

    om_quant_report_page(&r->report, &page);
    if (rc == 0)
        rc = om_buf_check(&page, err);
    if (rc == 0)
        rc = om_out_open(&out, dir, slash ? slash + 1 : path, NULL, err);
    if (rc == 0)
        rc = om_out_write(&out, page.ptr, page.len, err);
    if (rc == 0)
        rc = om_out_commit(&out, r->opts->durable, err);
    om_out_abort(&out);
    om_buf_release(&page);
    return rc;
}

static int run(struct run *r, struct om_error *err)
{
    if (r->opts->config)
        r->config = *r->opts->config;
    else if (r->opts->config_file)
        OM_TRY(
            om_quant_config_read(&r->arena, r->opts->config_file, &r->config, &r->external, err));
    else
        return om_fail(err, OM_E_USAGE, "no configuration was given");
    if (!r->opts->config)
        r->config.calibration = r->opts->calibration;
    OM_TRY(om_quant_config_check(&r->config, err));
    OM_TRY(find_models(r, err));
    OM_TRY(check_out_dir(r, err));
    if (r->config.method == OM_QUANT_STATIC)
        OM_TRY(om_samples_open(&r->samples, r->ctx, r->opts, r->dir, err));
    for (size_t i = 0; i < r->n_models; i++)
        OM_TRY(quantize_file(r, r->models[i], err));
    OM_TRY(stage_companions(r, err));
    OM_TRY(publish(r, err));
    if (r->opts->compare)
        OM_TRY(compare(r, err));
    if (r->opts->report)
        OM_TRY(write_page(r, err));
    om_log(r->ctx, OM_LOG_INFO, "The quantized %s saved at: %s",
           r->n_models == 1 ? "model was" : "models were", r->opts->out_dir);
    return 0;
}

int om_quantize_run(struct om_ctx *ctx, const struct om_quantize_opts *opts, struct om_error *err)
{
    struct run r = { .ctx = ctx, .opts = opts, .arena = OM_ARENA_INIT(ARENA_MAX) };
    int rc;

    if (!opts->model || !opts->out_dir)
        return om_fail(err, OM_E_USAGE, "a model and an output directory are needed");
    rc = run(&r, err);
    for (size_t i = 0; i < r.n_staged; i++)
        om_out_abort(&r.staged[i].out);
    free(r.staged);
    om_quant_report_release(&r.report);
    om_samples_close(&r.samples);
    om_arena_release(&r.arena);
    return rc;
}
