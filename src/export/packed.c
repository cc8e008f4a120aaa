/* src/export/packed.c: checkpoints whose layers are quantized already. Their numbers go into the
 * files as they are; what the reference executor runs has them dequantized. */
#include "export/job.h"
#include "quant/quant.h"

/* Older tools of GPTQ wrote the configuration into a file of its own. */
#define QUANTIZE_CONFIG "quantize_config.json"

static int check_options(const struct om_job *job, struct om_error *err)
{
    if (job->opts->quantize)
        return om_fail(err, OM_E_USAGE,
                       "%s: the weights are quantized already: --quantize does not apply",
                       job->config.path);
    if (job->opts->weights == OM_WEIGHTS_SAFETENSORS)
        return om_fail(err, OM_E_USAGE,
                       "%s: the weights are quantized, and ONNX lays them out otherwise than the "
                       "safetensors files: choose embedded or external",
                       job->config.path);
    if (job->arch.compute == OM_BF16 || job->opts->dtype == OM_BF16)
        return om_fail(err, OM_E_UNSUPPORTED,
                       "%s: the weights are quantized, and MatMulNBits computes in float32 or "
                       "float16",
                       job->config.path);
    return 0;
}

int om_job_read_scheme(struct om_job *job, struct om_error *err)
{
    const struct om_json *const q = om_json_get(job->config.doc, "quantization_config");

    job->quantize = job->opts->quantize;
    if (om_json_kind(q) == OM_JSON_NULL)
        return 0;
    OM_TRY(om_wrap(err, om_packed_scheme_read(q, &job->scheme, err), "%s", job->config.path));
    return check_options(job, err);
}

/* Quantized tensors without a word about them in config.json. */
static int read_old_scheme(struct om_job *job, struct om_error *err)
{
    const char *const path = om_path_join(&job->arena, job->dir, QUANTIZE_CONFIG);
    struct om_json *doc = NULL;
    int rc;

    if (!path)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    if (!om_file_exists(path))
        return om_fail(err, OM_E_CONFIG,
                       "%s: the weights are quantized, but there is neither quantization_config "
                       "nor a " QUANTIZE_CONFIG,
                       job->config.path);
    OM_TRY(om_json_read(path, OM_JSON_LAST_WINS, &doc, err));
    rc = om_wrap(err, om_packed_gptq_read(doc, &job->scheme, err), "%s", path);
    om_json_free(doc);
    return rc < 0 ? rc : check_options(job, err);
}

int om_job_open_packed(struct om_job *job, struct om_error *err)
{
    const bool present = om_packed_present(job->ckpt);

    if (!present && job->scheme.bits == 0)
        return 0;
    if (!present)
        return om_fail(err, OM_E_FORMAT,
                       "%s: quantization_config says that layers are quantized, but no tensor is "
                       "called *.qweight",
                       job->config.path);
    if (job->scheme.bits == 0)
        OM_TRY(read_old_scheme(job, err));
    OM_TRY(om_packed_open(&job->arena, job->ckpt, &job->scheme, &job->packed, err));
    OM_TRY(om_wrap(err, om_quant_packed_config(job->packed, &job->packed_config, err), "%s",
                   job->config.path));
    job->quantize = &job->packed_config;
    return 0;
}
