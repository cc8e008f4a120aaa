/* src/export/variants.c: the layout of transformers.js: models in onnx/, each also in the types
 * that its dtype option names, the configuration and the tokenizer beside the folder. */
#include "export/job.h"
#include "quant/quant.h"

#include <optimum/version.h>

#define MODELS_DIR "onnx"

/* dtype of transformers.js, as the file is called, and how it is made. */
static const struct {
    const char *suffix, *preset;
} variants[] = {
    { "_fp16", "float16" },
    { "_quantized", "avx2" }, /* unsigned weights: no kernel saturates */
    { "_q4", "int4" },
};

int om_job_variants_open(struct om_job *job, struct om_export_opts *opts, struct om_error *err)
{
    if (opts->triton || opts->quantize || opts->optimize ||
        opts->weights == OM_WEIGHTS_SAFETENSORS ||
        (opts->dtype != OM_DTYPE_NONE && opts->dtype != OM_F32))
        return om_fail(err, OM_E_USAGE,
                       "--transformersjs writes float32 and the files made of it: it excludes "
                       "--triton, --quantize, --optimize, --dtype and --weights safetensors");
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
    struct om_quant_how how = { .quantize = &config };
    struct om_quant_output o = { .report = job->report };
    struct om_out *out = NULL;

    stem.len -= strlen(".onnx");
    o.name = om_arena_printf(&job->arena, "%.*s%s.onnx", OM_SV(stem), variants[which].suffix);
    if (!o.name)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    OM_TRY(om_quant_preset(variants[which].preset, &config, err));
    OM_TRY(om_job_add_aside(job, job->opts->out_dir, o.name, &out, err));
    o.out = out;
    OM_TRY(om_quant_graph(job->ctx, &how, f->lowered, &onnx, &o, err));
    return om_out_flush(out, err);
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
            if (is_loaded(job, job->files[i].part))
                OM_TRY(stage_variant(job, &job->files[i], k, err));
    return 0;
}
