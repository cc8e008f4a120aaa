/* src/export/build.c: the graphs of an export: built by the architecture, lowered to the opset,
 * simplified. */
#include "export/job.h"
#include "lower/lower.h"
#include "pass/pass.h"

#define PROTOBUF_MAX ((uint64_t)INT32_MAX) /* a serialized message stays below 2 GiB */

static enum om_dtype storage_dtype(const struct om_export_opts *o)
{
    switch (o->weights_dtype) {
    case OM_WEIGHTS_DTYPE_AUTO:
    case OM_WEIGHTS_DTYPE_KEEP:
        return OM_DTYPE_NONE;
    case OM_WEIGHTS_DTYPE_F32:
        return OM_F32;
    case OM_WEIGHTS_DTYPE_F16:
        return OM_F16;
    case OM_WEIGHTS_DTYPE_BF16:
        return OM_BF16;
    }
    return OM_DTYPE_NONE;
}

static void choose_dtypes(struct om_job *job)
{
    const struct om_export_opts *o = job->opts;

    job->arch.compute = o->dtype == OM_DTYPE_NONE ? OM_F32 : o->dtype;
    job->arch.storage = storage_dtype(o);
    job->arch.grouped = o->genai;
    job->arch.storage_follows =
        o->weights_dtype == OM_WEIGHTS_DTYPE_AUTO && o->weights != OM_WEIGHTS_SAFETENSORS;
}

/* With --no-dynamic-axes every axis symbol gets the size of the example input. */
static int fix_axes(struct om_job *job, enum om_part part, struct om_error *err)
{
    static const char *const symbols[] = { "batch_size",
                                           "sequence_length",
                                           "past_sequence_length",
                                           "encoder_sequence_length",
                                           "decoder_sequence_length",
                                           "past_decoder_sequence_length",
                                           "num_choices" };
    const struct om_dummy how = { .use_cache = true };
    struct om_axis_fix *fixes;

    if (!job->opts->no_dynamic_axes)
        return 0;
    fixes = om_arena_array(&job->arena, OM_COUNT(symbols), sizeof(*fixes));
    if (fixes == NULL)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < OM_COUNT(symbols); i++)
        fixes[i] = (struct om_axis_fix){ symbols[i],
                                         om_dummy_size(job, part, &how, om_sv_str(symbols[i])) };
    job->arch.fixes = fixes;
    job->arch.n_fixes = OM_COUNT(symbols);
    return 0;
}

static bool is_weight_only(const struct om_job *job)
{
    return job->quantize != NULL && job->quantize->method == OM_QUANT_WEIGHT_ONLY;
}

/* Weights that become blocks of a few bits are those of products, which Attention hides. */
static void choose_optimization(struct om_job *job)
{
    if (job->opts->optimize == NULL)
        return;
    job->optimize_config = *job->opts->optimize;
    job->optimize_config.use_multi_head_attention |= is_weight_only(job);
    job->optimize = &job->optimize_config;
}

/* How the graph is lowered: attention becomes one operator while the graph still says what it is.
 */
static struct om_lower_opts lower_opts(const struct om_job *job)
{
    const struct om_optimize_config *c = job->optimize;
    struct om_lower_opts o = { .opset = job->opset, .linear = job->opts->linear };

    if (job->opts->genai) {
        o.target = OM_LOWER_GROUPED;
        if (is_weight_only(job)) /* products with weights in blocks take their rows as they come */
            o.linear = OM_LINEAR_MATMUL;
    } else if (c && c->optimization_level > 0 && c->enable_transformers_specific_optimizations &&
               !c->disable_attention) {
        o.target = OM_LOWER_FUSED;
        o.multi_head = c->use_multi_head_attention;
        o.keep_axes = !c->disable_skip_layer_norm; /* sums that are fused take the bias as well */
        if (c->no_attention_mask)
            o.mask = OM_LOWER_MASK_NONE;
        else if (c->use_mask_index)
            o.mask = OM_LOWER_MASK_LENGTHS;
    }
    return o;
}

static int build_file(struct om_job *job, struct om_job_file *f, struct om_error *err)
{
    const struct om_lower_opts lower = lower_opts(job);
    const unsigned passes = OM_PASS_CSE | (job->opts->no_constant_folding ? 0 : OM_PASS_FOLD);
    struct om_graph *lowered = NULL;
    int rc;

    OM_TRY(fix_axes(job, f->part, err));
    if (job->sentence != NULL)
        rc = om_sentence_build(&job->arch, job->sentence, &job->arena, &f->built, err);
    else
        rc = om_arch_build(&job->arch, f->part, &job->arena, &f->built, err);
    if (rc < 0)
        return rc;
    OM_TRY(om_graph_verify(f->built, err));
    OM_TRY(om_lower(f->built, &lower, &lowered, err));
    rc = om_pass_run(lowered, passes, &f->lowered, err);
    om_graph_free(lowered);
    if (rc == 0)
        rc = om_graph_verify(f->lowered, err);
    if (rc == 0 && job->opts->genai)
        rc = om_job_genai_graph(job, f->lowered, err);
    return rc;
}

static int dump(struct om_job *job, struct om_error *err)
{
    struct om_buf text = OM_BUF_INIT((size_t)1 << 28);
    struct om_out out = OM_OUT_INIT;
    const char *path = job->opts->dump_ir;
    const char *slash = strrchr(path, '/');
    const char *dir = slash == NULL
                          ? "."
                          : om_arena_str(&job->arena, (om_sv){ path, (size_t)(slash - path) + 1 });
    int rc;

    for (size_t i = 0; i < job->n_files; i++) {
        om_buf_printf(&text, "# %s\n", om_part_file(job->files[i].part));
        om_graph_dump(job->files[i].built, &text);
        om_buf_adds(&text, "\n# the same in ONNX operators\n");
        om_graph_dump(job->files[i].lowered, &text);
        om_buf_addc(&text, '\n');
    }
    rc = dir == NULL ? om_fail(err, OM_E_NOMEM, "out of memory") : om_buf_check(&text, err);
    if (rc == 0)
        rc = om_out_open(&out, dir, slash == NULL ? path : slash + 1, NULL, err);
    if (rc == 0)
        rc = om_out_write(&out, text.ptr, text.len, err);
    if (rc == 0)
        rc = om_out_commit(&out, false, err);
    om_out_abort(&out);
    om_buf_release(&text);
    return rc;
}

/* Embedded while every file stays a valid protobuf message. */
static void choose_weights(struct om_job *job)
{
    job->weights = job->opts->weights;
    if (job->weights != OM_WEIGHTS_AUTO)
        return;
    job->weights = job->opts->genai ? OM_WEIGHTS_EXTERNAL : OM_WEIGHTS_EMBEDDED;
    for (size_t i = 0; i < job->n_files; i++)
        if (om_onnx_embedded_size(job->files[i].lowered) >= PROTOBUF_MAX)
            job->weights = OM_WEIGHTS_EXTERNAL;
}

int om_job_build(struct om_job *job, struct om_error *err)
{
    static const enum om_arch_decoder decoders[] = {
        [OM_DECODER_ALL] = OM_ARCH_DECODER_ALL,
        [OM_DECODER_MERGED] = OM_ARCH_DECODER_MERGED,
        [OM_DECODER_SINGLE] = OM_ARCH_DECODER_SINGLE,
    };
    const struct om_arch_layout layout = { .monolith = job->opts->monolith,
                                           .no_merged = job->opts->no_post_process,
                                           .decoder = decoders[job->opts->decoder] };
    enum om_part parts[OM_PART_COUNT] = { OM_PART_MODEL };

    choose_dtypes(job);
    choose_optimization(job);
    job->n_files = job->sentence != NULL ? 1 : om_arch_parts(&job->arch, &layout, parts);
    for (size_t i = 0; i < job->n_files; i++) {
        OM_TRY(om_ctx_check(job->ctx, err));
        job->files[i].part = parts[i];
        OM_TRY(build_file(job, &job->files[i], err));
    }
    choose_weights(job);
    return job->opts->dump_ir != NULL ? dump(job, err) : 0;
}
