/* include/optimum/optimize.h: fewer nodes in .onnx files, with the operators that ONNX Runtime
 * fuses.
 *
 * Any ONNX file is taken, whoever exported it; what is not known is kept as it is. A config says
 * how; the levels are Optimum's. One om_optimize_run() is one call of `optimum-cli onnxruntime
 * optimize`. */
#ifndef OPTIMUM_OPTIMIZE_H
#define OPTIMUM_OPTIMIZE_H

#include <optimum/ctx.h>
#include <optimum/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* OptimizationConfig of Optimum, with its names. */
struct om_optimize_config {
    uint32_t struct_size;   /* set by OM_OPTIMIZE_CONFIG_INIT; lets the struct grow */
    int optimization_level; /* 0: nothing; 1 and more: copies, constants and equal nodes go */
    bool enable_transformers_specific_optimizations; /* the fusions below */
    bool optimize_for_gpu;
    bool fp16;                      /* computes in float16; inputs and outputs stay float32 */
    bool enable_gelu_approximation; /* Gelu becomes FastGelu: its values differ by 1e-3 at most,
                                     * outputs of a model may by more */

    /* fusions to leave out */
    bool disable_gelu, disable_bias_gelu;
    bool disable_layer_norm, disable_skip_layer_norm, disable_bias_skip_layer_norm;
    bool disable_embed_layer_norm; /* true unless asked for, as in Optimum */
    bool disable_attention, disable_rotary_embeddings;

    /* how attention is fused */
    bool use_multi_head_attention; /* MultiHeadAttention also where Attention would do */
    bool use_raw_attention_mask;   /* a mask of tokens is read by the operator as it is */
    bool use_mask_index;           /* ... or as the number of tokens of every text: padding is on
                                    * the right then */
    bool no_attention_mask;        /* masks are left out: there is no padding then */

    /* Of diffusion models and of GPUs other than CUDA's: kept for ort_config.json, nothing here
     * depends on them. */
    bool disable_bias_add, disable_bias_splitgelu, disable_nhwc_conv, disable_packed_qkv;
    bool disable_skip_group_norm, disable_shape_inference;
    bool disable_group_norm, disable_packed_kv; /* true unless asked for */
    bool enable_gemm_fast_gelu, use_group_norm_channels_first;
};
#define OM_OPTIMIZE_CONFIG_INIT                                                               \
    {                                                                                         \
        .struct_size = sizeof(struct om_optimize_config), .optimization_level = 1,            \
        .enable_transformers_specific_optimizations = true, .disable_embed_layer_norm = true, \
        .disable_group_norm = true, .disable_packed_kv = true                                 \
    }

/* The configuration of "O1", "O2", "O3" or "O4" (AutoOptimizationConfig). O1: no fusions; O2: the
 * operators that ONNX Runtime has kernels for; O3: approximations, too; O4: and float16, for a GPU.
 */
OM_API int om_optimize_level(const char *name, struct om_optimize_config *config,
                             struct om_error *err);
/* The same config without what makes models slower on CPUs: the residual sums stay apart. */
OM_API void om_optimize_for_cpu(struct om_optimize_config *config);

struct om_optimize_opts {
    uint32_t struct_size; /* set by OM_OPTIMIZE_OPTS_INIT; lets the struct grow */
    const char *model;    /* a directory, whose .onnx files are all optimized, or one .onnx file */
    const char *out_dir;  /* made with its parents; not the model's own directory */
    const char *suffix;   /* NULL: "optimized": model_optimized.onnx */
    const struct om_optimize_config *config; /* NULL: config_file */
    const char *config_file;                 /* an ort_config.json, or its optimization object */
    enum om_weights_mode weights;            /* AUTO: in the file below 2 GiB; EMBEDDED, EXTERNAL */
    bool durable;                            /* fsync before the files get their names */
    /* What ONNX Runtime's own optimizer does afterwards, before a conversion to float16. Files are
     * for the release and the provider (CPU) that made them then, with ALL for the processor. The
     * model is held in memory meanwhile. */
    enum om_offline_level offline;

    bool compare; /* run the old and the new files on made-up inputs and log how outputs differ */
    const char *report; /* an .html file with what changed, written last; NULL: none */
};
#define OM_OPTIMIZE_OPTS_INIT                          \
    {                                                  \
        .struct_size = sizeof(struct om_optimize_opts) \
    }

/* Write OUT/STEM_SUFFIX.onnx for every model, ort_config.json, config.json and the files of
 * tokenizers and processors that lie beside the model. What changed is logged at OM_LOG_INFO. On
 * failure no incomplete file has its final name. */
OM_API int om_optimize_run(struct om_ctx *ctx, const struct om_optimize_opts *opts,
                           struct om_error *err);

#ifdef __cplusplus
}
#endif

#endif
