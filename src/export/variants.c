/* src/export/variants.c: the layout of transformers.js: models in onnx/, each also in the types
 * that its dtype option names, the configuration and the tokenizer beside the folder. */
#include "export/job.h"
#include "quant/quant.h"

#include <optimum/version.h>

#define MODELS_DIR "onnx"
#define CONFIG_KEY "transformers.js_config"
#define EXTERNAL_KEY "use_external_data_format"
/* Of a file of tensors: browsers hold each in one buffer, some of at most 2^31 bytes. */
#define DATA_MAX ((uint64_t)2000000000)

/* dtype of transformers.js, as the file is called, and how it is made: as its own conversion script
 * does. */
static const struct {
    const char *dtype, *suffix, *preset;
} variants[] = {
    { "fp16", "_fp16", "float16" }, { "q8", "_quantized", NULL }, { "int8", "_int8", "arm64" },
    { "uint8", "_uint8", "avx2" },  { "q4", "_q4", "int4" },      { "q4f16", "_q4f16", "q4f16" },
    { "bnb4", "_bnb4", "nf4" },
};

/* ---- which ---- */

static bool is_wanted(const struct om_export_opts *o, size_t which)
{
    const char *const *const list = o->transformersjs_dtypes;

    for (size_t i = 0; list && list[i]; i++)
        if (strcmp(list[i], variants[which].dtype) == 0)
            return true;
    return !list;
}

/* fp32 is always there: it may be named. */
static int check_dtypes(const struct om_export_opts *o, struct om_error *err)
{
    const char *const *const list = o->transformersjs_dtypes;

    for (size_t i = 0; list && list[i]; i++) {
        const char *names[OM_COUNT(variants) + 2] = { "fp32" };
        const char *nearest;
        bool known = strcmp(list[i], "fp32") == 0;

        for (size_t k = 0; k < OM_COUNT(variants); k++) {
            names[k + 1] = variants[k].dtype;
            known = known || strcmp(list[i], variants[k].dtype) == 0;
        }
        nearest = om_sv_nearest(om_sv_str(list[i]), names);
        if (!known)
            return om_fail(err, OM_E_USAGE,
                           "transformers.js dtype \"%s\": expected fp32, fp16, q8, int8, uint8, "
                           "q4, q4f16 or bnb4%s%s%s",
                           list[i], nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                           nearest ? "\"?" : "");
    }
    return 0;
}

int om_job_variants_open(struct om_job *job, struct om_export_opts *opts, struct om_error *err)
{
    if (opts->triton || opts->quantize || opts->optimize ||
        opts->weights == OM_WEIGHTS_SAFETENSORS ||
        (opts->dtype != OM_DTYPE_NONE && opts->dtype != OM_F32))
        return om_fail(err, OM_E_USAGE,
                       "--transformersjs writes float32 and the files made of it: it excludes "
                       "--triton, --quantize, --optimize, --dtype and --weights safetensors");
    OM_TRY(check_dtypes(opts, err));
    job->companion_dir = opts->out_dir;
    opts->out_dir = om_path_join(&job->arena, opts->out_dir, MODELS_DIR);
    job->variants = true;
    return opts->out_dir ? 0 : om_fail(err, OM_E_NOMEM, "out of memory");
}

/* Decoders that the merged one stands for are never loaded. */
static bool is_loaded(const struct om_job *job, enum om_part part)
{
    const om_sv name = om_sv_str(om_part_file(part));
    bool merged = false;

    for (size_t i = 0; i < job->n_files; i++)
        merged = merged ||
                 om_sv_is(om_sv_str(om_part_file(job->files[i].part)), "decoder_model_merged.onnx");
    return !merged || (!om_sv_is(name, "decoder_model.onnx") &&
                       !om_sv_is(name, "decoder_with_past_model.onnx"));
}

/* Signed weights are faster, but for what the web's ONNX Runtime has no such kernels for. */
static const char *preset_of(size_t which, const struct om_graph *g)
{
    if (variants[which].preset)
        return variants[which].preset;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        if (om_sv_is(om_sv_str(om_op_name(g->nodes[i].op)), "Conv"))
            return "avx2";
    return "arm64";
}

/* ---- files of tensors ---- */

struct split {
    struct om_job *job;
    const char *model;
    size_t at; /* of the model among job->externals */
    unsigned n;
};

static int next_file(void *user, struct om_out **data, const char **location, struct om_error *err)
{
    struct split *const s = user;
    struct om_job *const job = s->job;
    const char *const name = s->n == 0 ? om_arena_printf(&job->arena, "%s_data", s->model)
                                       : om_arena_printf(&job->arena, "%s_data_%u", s->model, s->n);
    struct om_job_aside *aside = NULL;

    if (!name)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    if (s->n == 0) {
        if (!om_grow(&job->externals, &job->cap_externals, job->n_externals + 1,
                     sizeof(*job->externals)))
            return om_fail(err, OM_E_NOMEM, "out of memory");
        s->at = job->n_externals++;
        job->externals[s->at] = (struct om_job_external){ .name = s->model };
    }
    om_out_discard(job->opts->out_dir, name);
    OM_TRY(om_job_add_aside(job, job->opts->out_dir, name, &aside, err));
    job->externals[s->at].files = ++s->n;
    *data = &aside->out;
    *location = name;
    return 0;
}

static int write_model(struct om_job *job, const struct om_quant_how *how, const struct om_graph *g,
                       const struct om_onnx_opts *onnx, const char *name, struct om_out *out,
                       struct om_error *err)
{
    struct split s = { .job = job, .model = name };
    const struct om_quant_split split = { .always = job->weights == OM_WEIGHTS_EXTERNAL,
                                          .max = DATA_MAX,
                                          .next = next_file,
                                          .user = &s };
    const struct om_quant_output o = {
        .name = name, .out = out, .split = &split, .report = job->report
    };

    OM_TRY(om_quant_graph(job->ctx, how, g, onnx, &o, err));
    return om_out_flush(out, err);
}

int om_job_stage_split(struct om_job *job, struct om_job_file *f, const struct om_onnx_opts *onnx,
                       struct om_error *err)
{
    return write_model(job, &(struct om_quant_how){ .quantize = NULL }, f->lowered, onnx,
                       om_part_file(f->part), &f->out, err);
}

static void put_externals(const struct om_job *job, struct om_buf *b)
{
    om_buf_adds(b, "\"" EXTERNAL_KEY "\": {");
    for (size_t i = 0; i < job->n_externals; i++)
        om_buf_printf(b, "%s\"%s\": %u", i > 0 ? ", " : "", job->externals[i].name,
                      job->externals[i].files);
    om_buf_addc(b, '}');
}

/* What the checkpoint's own configuration says besides is kept. */
int om_job_variants_config(struct om_job *job, const char **json, struct om_error *err)
{
    const struct om_json *const old = om_json_get(job->config.doc, CONFIG_KEY);
    struct om_json_iter it = { .state = NULL };
    struct om_buf b = OM_BUF_INIT(1u << 20);
    int rc;

    *json = NULL;
    if (job->n_externals == 0 && !om_json_get(old, EXTERNAL_KEY))
        return 0;
    om_buf_addc(&b, '{');
    while (om_json_next(old, &it)) {
        if (om_sv_is(it.key, EXTERNAL_KEY))
            continue;
        om_buf_json_string(&b, it.key);
        om_buf_adds(&b, ": ");
        om_json_write(&b, it.value, 0);
        om_buf_adds(&b, ", ");
    }
    put_externals(job, &b);
    om_buf_addc(&b, '}');
    rc = om_buf_check(&b, err);
    if (rc == 0)
        *json = om_arena_str(&job->arena, om_buf_sv(&b));
    if (rc == 0 && !*json)
        rc = om_fail(err, OM_E_NOMEM, "out of memory");
    om_buf_release(&b);
    return rc;
}

/* ---- staging ---- */

static int stage_variant(struct om_job *job, const struct om_job_file *f, size_t which,
                         struct om_error *err)
{
    const struct om_onnx_opts onnx = { .opset = job->opset,
                                       .producer_version = OM_VERSION,
                                       .graph_name = "main_graph",
                                       .mode = OM_WEIGHTS_EMBEDDED,
                                       .ctx = job->ctx };
    om_sv stem = om_sv_str(om_part_file(f->part));
    struct om_quant_config config;
    const struct om_quant_how how = { .quantize = &config };
    struct om_job_aside *aside = NULL;
    const char *name;

    stem.len -= strlen(".onnx");
    name = om_arena_printf(&job->arena, "%.*s%s.onnx", OM_SV(stem), variants[which].suffix);
    if (!name)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    OM_TRY(om_quant_preset(preset_of(which, f->lowered), &config, err));
    om_out_discard(job->opts->out_dir, name);
    OM_TRY(om_job_add_aside(job, job->opts->out_dir, name, &aside, err));
    aside->model = true;
    return write_model(job, &how, f->lowered, &onnx, name, &aside->out, err);
}

int om_job_stage_variants(struct om_job *job, struct om_error *err)
{
    if (job->packed)
        return om_fail(err, OM_E_UNSUPPORTED,
                       "%s: the weights are quantized: --transformersjs makes its files of float "
                       "ones",
                       job->config.path);
    for (size_t i = 0; i < job->n_files; i++)
        for (size_t k = 0; k < OM_COUNT(variants); k++)
            if (is_loaded(job, job->files[i].part) && is_wanted(job->opts, k))
                OM_TRY(stage_variant(job, &job->files[i], k, err));
    if (job->n_externals > 0 && job->in_place)
        om_log(job->ctx, OM_LOG_WARNING,
               "%s is not changed, as it is the checkpoint's own: give transformers.js the "
               "option " EXTERNAL_KEY,
               job->config.path);
    return 0;
}
