/* include/optimum/quantize.h: make the weights of .onnx files smaller, and their products faster.
 *
 * Any ONNX file is taken, whoever exported it; what is not quantized is kept as it is. A config
 * says how; the presets are Optimum's. One om_quantize_run() is one call of `optimum-cli
 * onnxruntime quantize`. */
#ifndef OPTIMUM_QUANTIZE_H
#define OPTIMUM_QUANTIZE_H

#include <optimum/ctx.h>
#include <optimum/export.h>

#ifdef __cplusplus
extern "C" {
#endif

enum om_quant_method {
    OM_QUANT_DYNAMIC,     /* int8 weights; activations are quantized while the model runs */
    OM_QUANT_STATIC,      /* int8 weights; ranges of activations come from a calibration */
    OM_QUANT_WEIGHT_ONLY, /* weights of matrix products in blocks: MatMulNBits of com.microsoft */
    OM_QUANT_FLOAT16      /* float32 becomes float16 */
};
enum om_quant_format { OM_QUANT_QOPERATOR, OM_QUANT_QDQ };
enum om_quant_type { OM_QUANT_UINT8, OM_QUANT_INT8 };

/* How the scale of a block is found (weight-only). */
enum om_quant_search {
    OM_QUANT_RTN, /* from the block's extremes, as ONNX Runtime's own tool */
    OM_QUANT_HQQ  /* the best of a search around them; never a larger error than RTN */
};

/* What the numbers of a block stand for (weight-only). */
enum om_quant_numbers {
    OM_QUANT_INTEGERS, /* MatMulNBits of com.microsoft */
    OM_QUANT_FP4,      /* of 4 bits, as bitsandbytes has them: MatMulBnb4 of com.microsoft */
    OM_QUANT_NF4
};

enum om_quant_calibration {
    OM_QUANT_MINMAX,
    OM_QUANT_ENTROPY,
    OM_QUANT_PERCENTILE,
    OM_QUANT_MSE /* the range with the least squared error; Optimum has no such method */
};

/* QuantizationConfig of Optimum, and what it lacks. Strings and lists are borrowed; lists end with
 * NULL, and NULL is an empty list. */
struct om_quant_config {
    uint32_t struct_size; /* set by OM_QUANT_CONFIG_INIT; lets the struct grow */
    enum om_quant_method method;

    /* dynamic and static */
    enum om_quant_format format;
    enum om_quant_type activations_type, weights_type;
    bool activations_symmetric, weights_symmetric;
    bool per_channel;
    bool reduce_range;
    bool constant_weights;   /* products of two activations stay in float32; Optimum: false */
    bool add_pair_to_weight; /* QDQ: weights stay float, with QuantizeLinear and DequantizeLinear */
    bool dedicated_pair;     /* QDQ: every consumer has a pair of its own */
    const char *const *operators_to_quantize; /* NULL: those of the method */

    /* every method */
    const char *const *nodes_to_quantize; /* NULL: all */
    const char *const *nodes_to_exclude;

    /* weight-only */
    int bits;           /* 4 or 8 */
    int block_size;     /* a power of two, 16 to 256 */
    bool symmetric;     /* without zero points */
    int accuracy_level; /* 0: not said; 1 float32, 2 float16, 3 bfloat16, 4 int8 activations */
    enum om_quant_search search;
    enum om_quant_numbers
        numbers;       /* FP4 and NF4: 4 bits, symmetric, RTN; block_size is 64 usually */
    bool rest_float16; /* everything else becomes float16, as with OM_QUANT_FLOAT16 */

    /* float16 */
    bool convert_io; /* inputs and outputs become float16, too */
    const char *const
        *op_block_list; /* operators that stay in float32; NULL: those that float16 harms */

    /* static */
    enum om_quant_calibration calibration;
    double percentile; /* 99.999 */
    int num_bins;      /* of histograms; 0: the method's */
    bool moving_average;
    double averaging_constant; /* 0.01 */

    /* static, QDQ: what stays in float32 beyond what Optimum leaves there */
    const char *const *float_output_operators; /* their outputs, where no integer kernel asks */
    bool float_readers; /* nodes that are not quantized read values as they were made */
};
#define OM_QUANT_CONFIG_INIT                                                          \
    {                                                                                 \
        .struct_size = sizeof(struct om_quant_config), .weights_type = OM_QUANT_INT8, \
        .weights_symmetric = true, .bits = 4, .block_size = 32, .symmetric = true,    \
        .percentile = 99.999, .averaging_constant = 0.01                              \
    }

/* The configuration of "arm64", "avx2", "avx512", "avx512_vnni", "ppc64le" (AutoQuantizationConfig:
 * dynamic, one scale per channel; constant_weights is set), "tensorrt" (static, see below), "int4"
 * or "int8" (weight-only, blocks of 32), "nf4" or "fp4" (blocks of 64), "float16", or "q4f16" (both
 * "int4" and "float16"). */
OM_API int om_quant_preset(const char *name, struct om_quant_config *config, struct om_error *err);
/* The same types with static quantization, which "tensorrt" has already: QDQ, ranges with the least
 * squared error. Sums of products, norms, and products of two activations stay in float32: eight
 * bits of them lose more than all the rest, and no kernel is slower for it. */
OM_API int om_quant_preset_static(const char *name, struct om_quant_config *config,
                                  struct om_error *err);

struct om_quantize_opts {
    uint32_t struct_size; /* set by OM_QUANTIZE_OPTS_INIT; lets the struct grow */
    const char *model;    /* a directory, whose .onnx files are all quantized, or one .onnx file */
    const char *out_dir;  /* made with its parents; not the model's own directory */
    const char *suffix;   /* NULL: "quantized": model_quantized.onnx */
    const struct om_quant_config *config; /* NULL: config_file */
    const char *config_file;              /* an ort_config.json, or its quantization object */
    enum om_weights_mode weights;         /* AUTO: in the file below 2 GiB; EMBEDDED, EXTERNAL */
    bool durable;                         /* fsync before the files get their names */
    bool no_errors;                       /* do not measure the errors of weights */

    /* static: what the calibration runs on; all NULL: seeded dummy inputs, with a warning */
    const char *calibration_texts; /* JSON lines of {"text": ...} or strings, through the tokenizer
                                      beside the model */
    const char *calibration_tensors;       /* a safetensors file: INPUT, or INPUT.0, INPUT.1 ... for
                                              several samples */
    enum om_quant_calibration calibration; /* with config_file, which does not say */
    int calibration_samples;               /* 0: 100 */

    bool compare; /* run the old and the new files on made-up inputs and log how outputs differ */
    const char *report; /* an .html file with what changed, written last; NULL: none */
};
#define OM_QUANTIZE_OPTS_INIT                          \
    {                                                  \
        .struct_size = sizeof(struct om_quantize_opts) \
    }

/* Write OUT/STEM_SUFFIX.onnx for every model, ort_config.json, config.json and the files of
 * tokenizers and processors that lie beside the model. What changed is logged at OM_LOG_INFO. On
 * failure no incomplete file has its final name. */
OM_API int om_quantize_run(struct om_ctx *ctx, const struct om_quantize_opts *opts,
                           struct om_error *err);

#ifdef __cplusplus
}
#endif

#endif
