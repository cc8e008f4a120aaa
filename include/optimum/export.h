/* include/optimum/export.h: turn a checkpoint into ONNX files.
 *
 * One om_export_run() is one export: it owns all it allocates and releases it before returning. Calls on different
 * contexts may run in parallel; one context serves one call at a time. What a person wants to read while it runs
 * (the validation report, the final line) goes to the context's logger at OM_LOG_INFO, word for word as Optimum prints it;
 * differences that the validation finds are OM_LOG_ERROR lines, its verdict on them OM_LOG_WARNING. */
#ifndef OPTIMUM_EXPORT_H
#define OPTIMUM_EXPORT_H

#include <optimum/ctx.h>
#include <optimum/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where the weights of the written files are. */
enum om_weights_mode {
    OM_WEIGHTS_AUTO,       /* embedded while every file stays below 2 GiB, else external */
    OM_WEIGHTS_EMBEDDED,   /* inside each .onnx file */
    OM_WEIGHTS_EXTERNAL,   /* model.onnx_data, one for all files of the directory */
    OM_WEIGHTS_SAFETENSORS /* the checkpoint's own files: nothing is copied when they already lie in out_dir */
};

/* How weights are stored, whatever the dtype of the computation: where the two differ, a Cast follows. */
enum om_weights_dtype {
    OM_WEIGHTS_DTYPE_AUTO, /* as they are computed with; in safetensors mode as the checkpoint has them */
    OM_WEIGHTS_DTYPE_KEEP, /* as the checkpoint has them */
    OM_WEIGHTS_DTYPE_F32,
    OM_WEIGHTS_DTYPE_F16,
    OM_WEIGHTS_DTYPE_BF16
};

/* How linear layers are written. */
enum om_linear_form {
    OM_LINEAR_GEMM,  /* Gemm on flattened activations; weights keep the checkpoint's layout */
    OM_LINEAR_MATMUL /* MatMul and Add on N-D activations, for tools that look for the pattern; weights are transposed */
};

/* How the decoder of an encoder-decoder is written when the task has past key/values. */
enum om_decoder_form {
    OM_DECODER_ALL,    /* as Optimum: decoder_model, decoder_with_past_model, and both merged behind an If */
    OM_DECODER_MERGED, /* decoder_model_merged.onnx alone, which is all that a runtime loads */
    OM_DECODER_SINGLE  /* decoder_model_merged.onnx without an If: one graph for the first step and later ones */
};

enum om_validation {
    OM_VALIDATE_AUTO,  /* unless ONNX Runtime is absent or memory would not suffice (one warning says so) */
    OM_VALIDATE_NEVER,
    OM_VALIDATE_ALWAYS /* being unable to is an error */
};

/* ONNX Runtime's own optimizer, run once over a file: what it does when a session is made is in the file then. */
enum om_offline_level {
    OM_OFFLINE_NONE,
    OM_OFFLINE_BASIC,    /* constants, redundant nodes */
    OM_OFFLINE_EXTENDED, /* fusions of the CPU provider */
    OM_OFFLINE_ALL       /* layouts, too, that depend on this machine's processor */
};

/* Sizes of the example input; 0: the default. With dynamic axes they serve the validation only. */
struct om_shapes {
    int64_t batch_size;      /* 2 */
    int64_t sequence_length; /* 16 */
    int64_t num_choices;     /* 4 */
};

struct om_optimize_config;
struct om_quant_config;

/* Strings are borrowed for the call. */
struct om_export_opts {
    uint32_t struct_size;    /* set by OM_EXPORT_OPTS_INIT; lets the struct grow */
    const char *model;       /* directory with config.json and weights, or an id of the Hub: "org/name", "org/name@revision" */
    const char *revision;    /* of a model on the Hub: branch, tag, commit, refs/pr/N; NULL: main */
    const char *subfolder;   /* of the directory or repository, where config.json is; NULL: its root */
    const char *cache_dir;   /* of models from the Hub; NULL: HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub */
    const char *out_dir;     /* made with its parents; existing files of the same names are replaced */
    const char *task;        /* name or synonym, may end in "-with-past"; NULL or "auto": inferred from the Hub's entry or config.json */
    const char *library;     /* "transformers", "sentence_transformers"; NULL: inferred from the files */
    int opset;               /* 14 to 23; 0: 18 */
    /* Of the computation and of float inputs and outputs: OM_F32, OM_F16 or OM_BF16; OM_DTYPE_NONE: OM_F32. Normalizations,
     * scores of attention and whatever else 16 bits would not hold are computed in float32 in any case. */
    enum om_dtype dtype;
    enum om_weights_mode weights;
    enum om_weights_dtype weights_dtype;
    enum om_linear_form linear;
    enum om_validation validation;
    bool strict;             /* a difference found by the validation is OM_E_MISMATCH, not a warning */
    /* The absolute tolerance; the relative one equals it. Negative: 1e-4; of computation in float16 0.01 and in bfloat16
     * 0.08 of the largest magnitude of each output. */
    double atol;
    bool monolith;           /* one file even for an encoder-decoder */
    bool no_post_process;    /* no merged decoder */
    enum om_decoder_form decoder; /* not OM_DECODER_ALL: of -with-past tasks of encoder-decoders only */
    bool no_dynamic_axes;    /* all axes fixed to shapes */
    bool no_constant_folding;
    struct om_shapes shapes;
    int64_t pad_token_id;    /* negative: from config.json; for text-classification with a decoder */
    bool durable;            /* fsync before the files get their names */
    /* NULL: no quantization. Else the files are written quantized, beside an ort_config.json; nothing is validated. A
     * configuration of static quantization is refused, and safetensors as the place of weights. See <optimum/quantize.h>. */
    const struct om_quant_config *quantize;
    /* NULL: plain ONNX operators. Else the files are written optimized, beside an ort_config.json; with fp16 nothing is
     * validated. safetensors as the place of weights is refused. See <optimum/optimize.h>. */
    const struct om_optimize_config *optimize;
    enum om_offline_level offline; /* with optimize: what ONNX Runtime's own optimizer does afterwards */
    /* out_dir becomes a model of a Triton repository: its version folder 1 has the files, config.pbtxt beside it says what
     * goes in and out, batches included. Of models of one file. */
    bool triton;
    /* The layout of transformers.js: the models in out_dir/onnx, each also for its other dtypes (STEM_fp16.onnx,
     * STEM_quantized.onnx of q8, STEM_int8.onnx, STEM_uint8.onnx, STEM_q4.onnx, STEM_q4f16.onnx, STEM_bnb4.onnx), everything
     * else in out_dir. Tensors of models above 2 GiB, or of all with weights external, lie beside each model. */
    bool transformersjs;
    const char *const *transformersjs_dtypes; /* "q8", "q4" ..., ended by NULL; NULL: all seven */
    /* What quantize, optimize and transformersjs changed, as a page: an .html file, see <optimum/quantize.h>; NULL: none. */
    const char *report;
    bool compare;            /* run the changed files and the reference on the example inputs, log how outputs differ */
    /* For onnxruntime-genai: attention that takes past and present keys in one buffer, genai_config.json, weights in
     * model.onnx.data. Of decoders with a cache, those that it has a model type for. */
    bool genai;
    const char *dump_ir;     /* file that receives the graphs as text, NULL: none */
    const char *token;       /* of the Hub; NULL: HF_TOKEN or the file that `hf auth login` writes; "": none */
    bool local_files_only;   /* never ask the Hub: what its cache has must do */
    bool force_download;     /* fetch files of the Hub anew although the cache has them */
};
#define OM_EXPORT_OPTS_INIT { .struct_size = sizeof(struct om_export_opts), .atol = -1.0, .pad_token_id = -1 }

/* Export opts->model into opts->out_dir: the .onnx files, config.json, generation_config.json, and the tokenizer and
 * processor files of the checkpoint. On failure returns a negative enum om_code and fills *err (when not NULL); no incomplete
 * file has its final name then. OM_E_MISMATCH (with strict) and a failure of the validation leave the complete files. */
OM_API int om_export_run(struct om_ctx *ctx, const struct om_export_opts *opts, struct om_error *err);

/* Call fn for every model type this library exports, sorted; tasks is NULL-terminated and lives during the call. */
typedef void om_export_list_fn(void *user, const char *model_type, const char *const *tasks);
OM_API int om_export_list(om_export_list_fn *fn, void *user, struct om_error *err);
/* The same, followed by the model types of the context's plugins (<optimum/plugin.h>). */
OM_API int om_export_list_in(const struct om_ctx *ctx, om_export_list_fn *fn, void *user, struct om_error *err);

enum om_executor { OM_EXECUTOR_ONNXRUNTIME, OM_EXECUTOR_REFERENCE };

/* Run the .onnx file model on the tensors of the safetensors file inputs, by name, and write all outputs to the
 * safetensors file output. The reference executor takes files that this library wrote. */
OM_API int om_run_file(struct om_ctx *ctx, const char *model, const char *inputs, const char *output,
                       enum om_executor executor, struct om_error *err);

#ifdef __cplusplus
}
#endif

#endif
