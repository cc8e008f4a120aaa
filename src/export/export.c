/* src/export/export.c: the walk of an export; it reads like the manual. */
#include <optimum/export.h>

#include <stdlib.h>

#include "export/job.h"
#include "quant/quant.h"
#include "lower/lower.h"

static void job_release(struct om_job *job)
{
    for (size_t i = 0; i < OM_COUNT(job->files); i++) {
        om_out_abort(&job->files[i].out);
        om_graph_free(job->files[i].built);
        om_graph_free(job->files[i].lowered);
    }
    for (size_t i = 0; i < job->n_asides; i++) {
        om_out_abort(&job->asides[i]->out);
        free(job->asides[i]);
    }
    free(job->asides);
    free(job->externals);
    om_quant_report_free(job->report);
    om_onnx_data_free(job->data);
    om_out_abort(&job->data_out);
    om_sentence_close(job->sentence);
    om_ckpt_close(job->ckpt);
    om_config_close(&job->config);
    om_hub_close(job->hub);
    om_arena_release(&job->arena);
}

static void put_differences(const struct om_job *job, const struct om_verdict *v, struct om_buf *b)
{
    om_buf_adds(
        b, "The maximum absolute difference between the output of the reference model and the ONNX "
           "exported model is not within the set tolerance ");
    om_buf_real(b, v->tolerance.atol);
    om_buf_adds(b, v->tolerance.scaled ? " of the largest value of an output:" : ":");
    for (size_t i = 0; i < v->n; i++) {
        om_buf_printf(b, "\n- %s", v->differences[i].name);
        if (job->n_files > 1)
            om_buf_printf(b, " of %s", om_part_file(v->differences[i].part));
        om_buf_adds(b, ": max diff = ");
        om_buf_real(b, v->differences[i].max);
    }
}

/* Log the closing line in Optimum's words; with strict, a difference is an error. */
static int conclude(struct om_job *job, const struct om_verdict *v, struct om_error *err)
{
    const char *dir = job->opts->out_dir;
    struct om_buf text = OM_BUF_INIT(1 << 20);
    int rc;

    if (v->n == 0) {
        om_log(job->ctx, OM_LOG_INFO,
               "The ONNX export succeeded and the exported model was saved at: %s", dir);
        return 0;
    }
    put_differences(job, v, &text);
    rc = om_buf_check(&text, err);
    if (rc == 0 && job->opts->strict)
        rc =
            om_fail(err, OM_E_MISMATCH, "the exported model in %s differs from the reference: %.*s",
                    dir, OM_SV(om_buf_sv(&text)));
    else if (rc == 0)
        om_log(job->ctx, OM_LOG_WARNING,
               "The ONNX export succeeded with the warning: %.*s.\n The exported model was saved "
               "at: %s",
               OM_SV(om_buf_sv(&text)), dir);
    om_buf_release(&text);
    return rc;
}

static int run(struct om_job *job, struct om_verdict *v, struct om_error *err)
{
    OM_TRY(om_job_resolve(job, err));
    if (job->opts->genai)
        OM_TRY(om_job_genai_check(job, err));
    if (job->opts->dtype == OM_BF16)
        om_log(
            job->ctx, OM_LOG_WARNING,
            "ONNX Runtime's CPU provider lacks most bfloat16 kernels: it probably cannot load the "
            "exported model.");
    OM_TRY(om_job_build(job, err));
    if (job->repository)
        OM_TRY(om_job_triton_check(job, err));
    OM_TRY(om_job_stage(job, err));
    OM_TRY(om_job_publish(job, err));
    if (job->repository)
        OM_TRY(om_job_triton_write(job, err));
    if (job->opts->quantize == NULL && !(job->opts->optimize != NULL && job->opts->optimize->fp16))
        /* else numbers differ by design */
        OM_TRY(om_job_validate(job, v, err));
    if (job->report)
        OM_TRY(om_job_compare(job, err));
    return conclude(job, v, err);
}

static int check_quantize(const struct om_export_opts *o, struct om_error *err)
{
    if (o->quantize->method == OM_QUANT_STATIC)
        return om_fail(err, OM_E_USAGE,
                       "static quantization needs a calibration: export first, then use "
                       "optimum-cli onnxruntime quantize");
    if (o->weights == OM_WEIGHTS_SAFETENSORS)
        return om_fail(err, OM_E_USAGE,
                       "quantized weights are not those of the safetensors files: choose embedded "
                       "or external");
    if (o->validation == OM_VALIDATE_ALWAYS)
        return om_fail(err, OM_E_USAGE, "a quantized export is not validated");
    return om_quant_config_check(o->quantize, err);
}

static int check_optimize(const struct om_export_opts *o, struct om_error *err)
{
    if (o->weights == OM_WEIGHTS_SAFETENSORS)
        return om_fail(err, OM_E_USAGE,
                       "an optimized model has weights of its own: choose embedded or external");
    if (o->optimize->fp16 && o->validation == OM_VALIDATE_ALWAYS)
        return om_fail(err, OM_E_USAGE, "an export optimized to float16 is not validated");
    if (o->optimize->fp16 && o->quantize != NULL)
        return om_fail(err, OM_E_USAGE, "float16 (O4) and quantization exclude each other");
    return 0;
}

static int check_opts(const struct om_export_opts *o, struct om_error *err)
{
    if (o->struct_size != sizeof(*o))
        return om_fail(err, OM_E_USAGE, "the options were not set up with OM_EXPORT_OPTS_INIT");
    if (o->model == NULL || o->model[0] == '\0')
        return om_fail(err, OM_E_USAGE, "no model was given");
    if (o->out_dir == NULL || o->out_dir[0] == '\0')
        return om_fail(err, OM_E_USAGE, "no output directory was given");
    if (o->opset != 0 && (o->opset < OM_OPSET_MIN || o->opset > OM_OPSET_MAX))
        return om_fail(err, OM_E_USAGE, "opset %d: this version writes opsets %d to %d", o->opset,
                       OM_OPSET_MIN, OM_OPSET_MAX);
    if (o->dtype != OM_DTYPE_NONE && o->dtype != OM_F32 && o->dtype != OM_F16 &&
        o->dtype != OM_BF16)
        return om_fail(err, OM_E_USAGE, "computation in %s: expected float32, float16 or bfloat16",
                       om_dtype_text(o->dtype));
    if ((unsigned)o->decoder > OM_DECODER_SINGLE)
        return om_fail(err, OM_E_USAGE, "unknown form %d of a decoder", (int)o->decoder);
    if (o->decoder == OM_DECODER_MERGED && o->no_post_process)
        return om_fail(err, OM_E_USAGE,
                       "--decoder merged and --no-post-process exclude each other");
    if (o->decoder == OM_DECODER_SINGLE && o->no_dynamic_axes)
        return om_fail(err, OM_E_USAGE,
                       "--decoder single and --no-dynamic-axes exclude each other: the lengths of "
                       "the cache tell the first step from later ones");
    if (o->quantize != NULL)
        OM_TRY(check_quantize(o, err));
    if (o->optimize != NULL)
        OM_TRY(check_optimize(o, err));
    if ((unsigned)o->offline > OM_OFFLINE_ALL)
        return om_fail(err, OM_E_USAGE, "unknown level %d of ONNX Runtime's optimizer",
                       (int)o->offline);
    if (o->offline != OM_OFFLINE_NONE && !o->optimize)
        return om_fail(err, OM_E_USAGE,
                       "ONNX Runtime's optimizer follows ours: --onnxruntime-level needs "
                       "--optimize");
    if ((o->report || o->compare) && !o->quantize && !o->optimize && !o->transformersjs)
        return om_fail(err, OM_E_USAGE,
                       "--report and --compare are about what --quantize, --optimize and "
                       "--transformersjs change");
    if (o->genai)
        OM_TRY(om_job_genai_opts(o, err));
    if (o->shapes.batch_size < 0 || o->shapes.sequence_length < 0 || o->shapes.num_choices < 0)
        return om_fail(err, OM_E_USAGE, "an example size is negative");
    return 0;
}

int om_export_run(struct om_ctx *ctx, const struct om_export_opts *opts, struct om_error *err)
{
    struct om_export_opts changed;
    struct om_job job = { .ctx = ctx, .opts = &changed, .data_out = OM_OUT_INIT };
    struct om_verdict v = { 0 };
    int rc = check_opts(opts, err);

    if (rc < 0)
        return rc;
    changed = *opts;
    for (size_t i = 0; i < OM_COUNT(job.files); i++)
        job.files[i].out = (struct om_out)OM_OUT_INIT;
    om_arena_init(&job.arena, (size_t)1 << 30);
    if (opts->triton)
        rc = om_job_triton_open(&job, &changed, err);
    if (rc == 0 && opts->transformersjs)
        rc = om_job_variants_open(&job, &changed, err);
    if (rc == 0 && (opts->report || opts->compare))
        rc = om_quant_report_new(&job.report, err);
    if (!job.companion_dir)
        job.companion_dir = changed.out_dir;
    job.data_name = opts->genai ? OM_GENAI_DATA_NAME : OM_DATA_NAME;
    if (rc == 0)
        rc = run(&job, &v, err);
    free(v.differences);
    job_release(&job);
    return rc;
}

static int list_arch(struct om_arena *a, const char *model_type, const struct om_arch *arch,
                     om_export_list_fn *fn, void *user, struct om_error *err)
{
    const char *const *const tasks = om_arch_tasks(a, arch);

    if (tasks == NULL)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    fn(user, model_type, tasks);
    return 0;
}

int om_export_list(om_export_list_fn *fn, void *user, struct om_error *err)
{
    return om_export_list_in(NULL, fn, user, err);
}

int om_export_list_in(const struct om_ctx *ctx, om_export_list_fn *fn, void *user,
                      struct om_error *err)
{
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    const struct om_plugin_arch *p;
    int rc = 0;

    for (size_t i = 0; i < om_arch_count && rc == 0; i++)
        rc = list_arch(&a, om_archs[i].model_type, om_archs[i].arch, fn, user, err);
    for (size_t i = 0; rc == 0 && (p = om_arch_of_plugins(ctx, i)) != NULL; i++)
        rc = list_arch(&a, p->model_type, p->arch, fn, user, err);
    om_arena_release(&a);
    return rc;
}
