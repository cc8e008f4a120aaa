/* cli/cmd_quantize.c: optimum-cli onnxruntime quantize. */
#include <stdlib.h>

#include "base/base.h"
#include "cli/opt.h"

#include <optimum/quantize.h>

struct args {
    struct om_quantize_opts o;
    struct om_quant_config config;
    bool arm64, avx2, avx512, avx512_vnni, ppc64le, tensorrt;
    bool int4, int8, nf4, fp4, float16; /* methods that Optimum lacks */
    bool asymmetric, hqq;
    int64_t block_size, accuracy_level, samples;
    int calibration;
    const char *only, *exclude, *blocked; /* lists with commas */
    bool per_channel, as_optimum, is_static, reduce_range, external;
    int quiets, verboses;
};

static const struct opt_choice calibrations[] = { { "minmax", OM_QUANT_MINMAX },
                                                  { "entropy", OM_QUANT_ENTROPY },
                                                  { "percentile", OM_QUANT_PERCENTILE },
                                                  { "mse", OM_QUANT_MSE },
                                                  { NULL, 0 } };

static const char summary[] = "Quantize the ONNX models of a directory.";

/* The one preset that was given; NULL and *n says how many choices there were otherwise. */
static const char *chosen(const struct args *a, int *n)
{
    const struct {
        bool given;
        const char *name;
    } presets[] = { { a->arm64, "arm64" },     { a->avx2, "avx2" },
                    { a->avx512, "avx512" },   { a->avx512_vnni, "avx512_vnni" },
                    { a->ppc64le, "ppc64le" }, { a->tensorrt, "tensorrt" } };
    const char *name = NULL;

    *n = (a->o.config_file != NULL) + a->int4 + a->int8 + a->nf4 + a->fp4;
    *n += *n == 0 && a->float16; /* it also goes with blocks */
    for (size_t i = 0; i < OM_COUNT(presets); i++) {
        if (!presets[i].given)
            continue;
        name = presets[i].name;
        (*n)++;
    }
    return name;
}

/* The methods without a preset. */
static void choose_method(struct args *a)
{
    const bool blocks = a->int4 || a->int8 || a->nf4 || a->fp4;

    a->config.method = blocks ? OM_QUANT_WEIGHT_ONLY : OM_QUANT_FLOAT16;
    a->config.rest_float16 = blocks && a->float16;
    a->config.bits = a->int8 ? 8 : 4;
    a->config.numbers = a->nf4 ? OM_QUANT_NF4 : a->fp4 ? OM_QUANT_FP4 : OM_QUANT_INTEGERS;
    if (a->block_size == 0)
        a->block_size = a->nf4 || a->fp4 ? 64 : 32;
    a->config.symmetric = !a->asymmetric;
    a->config.search = a->hqq ? OM_QUANT_HQQ : OM_QUANT_RTN;
    a->config.block_size = (int)OM_MIN(a->block_size, INT32_MAX);
    a->config.accuracy_level = (int)OM_MIN(a->accuracy_level, INT32_MAX);
}

static int choose_config(struct cli *cli, struct args *a)
{
    struct om_error err = OM_ERROR_INIT;
    int n;
    const char *const preset = chosen(a, &n);

    if (n != 1)
        return cli_usage_error(
            cli,
            "give one of --arm64, --avx2, --avx512, --avx512_vnni, --ppc64le, "
            "--tensorrt, --int4, --int8, --nf4, --fp4, --float16 and --config, not %d",
            n);
    if (a->float16 && (preset || a->o.config_file))
        return cli_usage_error(cli, "--float16 does not go with --%s", preset ? preset : "config");
    if (!preset && (a->as_optimum || a->is_static))
        return cli_usage_error(cli, "--as_optimum and --static go with an int8 preset");
    if (a->as_optimum && (a->is_static || a->tensorrt))
        return cli_usage_error(cli, "--as_optimum: Optimum's command line quantizes dynamically; "
                                    "give its static configurations as --config");
    if (a->o.config_file)
        return 0;
    if (preset &&
        (a->is_static ? om_quant_preset_static : om_quant_preset)(preset, &a->config, &err) < 0)
        return cli_report(cli, &err);
    if (!preset)
        choose_method(a);
    if (a->as_optimum) {
        a->config.per_channel = a->per_channel;
        a->config.constant_weights = false;
    }
    a->config.reduce_range = a->reduce_range;
    if (a->calibration >= 0)
        a->config.calibration = (enum om_quant_calibration)a->calibration;
    a->o.config = &a->config;
    return 0;
}

static int quantize(struct cli *cli, struct args *a)
{
    struct om_error err = OM_ERROR_INIT;
    void *buffers[3] = { NULL };
    int status = CLI_OK;

    if (!opt_split(a->only, &buffers[0], &a->config.nodes_to_quantize) ||
        !opt_split(a->exclude, &buffers[1], &a->config.nodes_to_exclude) ||
        !opt_split(a->blocked, &buffers[2], &a->config.op_block_list))
        om_fail(&err, OM_E_NOMEM, "out of memory");
    if (err.code != 0 || om_quantize_run(cli->ctx, &a->o, &err) < 0)
        status = cli_report(cli, &err);
    for (size_t i = 0; i < OM_COUNT(buffers); i++)
        free(buffers[i]);
    return status;
}

int cmd_quantize(struct cli *cli, int argc, char **argv)
{
    struct args a = { .o = OM_QUANTIZE_OPTS_INIT,
                      .config = OM_QUANT_CONFIG_INIT,
                      .calibration = -1 };
    int status;
    const struct opt opts[] = {
        OPT_GROUP("files"),
        OPT_STR(0, "onnx_model", &a.o.model, "DIR|FILE",
                "the models: a directory, or one .onnx file", OPT_REQUIRED),
        OPT_STR('o', "output", &a.o.out_dir, "DIR",
                "directory to write, another than that of the models", OPT_REQUIRED),

        OPT_GROUP("how, one of"),
        OPT_FLAG(0, "arm64", &a.arm64, "dynamic; weights int8"),
        OPT_FLAG(0, "avx2", &a.avx2, "dynamic; weights uint8"),
        OPT_FLAG(0, "avx512", &a.avx512, "dynamic; weights int8"),
        OPT_FLAG(0, "avx512_vnni", &a.avx512_vnni, "dynamic; weights int8"),
        OPT_FLAG(0, "ppc64le", &a.ppc64le, "dynamic; weights int8"),
        OPT_FLAG(0, "tensorrt", &a.tensorrt, "static, with QuantizeLinear and DequantizeLinear"),
        OPT_STR('c', "config", &a.o.config_file, "FILE", "an ort_config.json", 0),

        OPT_FLAG(0, "int4", &a.int4, "weights of products in blocks of 4 bits (MatMulNBits)"),
        OPT_FLAG(0, "int8", &a.int8, "the same with 8 bits"),
        OPT_FLAG(0, "nf4", &a.nf4,
                 "the same with the 4-bit numbers of bitsandbytes (MatMulBnb4): NormalFloat"),
        OPT_FLAG(0, "fp4", &a.fp4, "the same: floats of 4 bits"),

        OPT_FLAG(0, "float16", &a.float16,
                 "float32 becomes float16; with one of the four above: what they leave"),

        OPT_GROUP("details"),
        OPT_FLAG(0, "static", &a.is_static,
                 "int8 presets: static, with ranges from a calibration (--tensorrt always is)"),
        OPT_FLAG(0, "as_optimum", &a.as_optimum,
                 "int8 presets: what Optimum's command line writes: one scale per weight, and "
                 "products of two activations too; smaller by little, and less accurate"),
        OPT_FLAG(0, "per_channel", &a.per_channel,
                 "--as_optimum: one scale per column of a weight, as there is without it"),
        OPT_FLAG(0, "reduce_range", &a.reduce_range,
                 "int8 presets: weights of 7 bits, for processors without VNNI"),
        OPT_STR(0, "nodes_to_quantize", &a.only, "NAMES", "only these nodes, with commas", 0),
        OPT_STR(0, "nodes_to_exclude", &a.exclude, "NAMES", "not these nodes, with commas", 0),
        OPT_INT(0, "block_size", &a.block_size, "N", 16,
                "elements with one scale (default: --int4 and --int8 32, --nf4 and --fp4 64)"),
        OPT_FLAG(0, "asymmetric", &a.asymmetric, "--int4, --int8: with zero points"),
        OPT_FLAG(0, "hqq", &a.hqq, "--int4, --int8: search for the scales with the least error"),
        OPT_INT(0, "accuracy_level", &a.accuracy_level, "N", 0,
                "--int4, --int8: what ONNX Runtime may compute with: 1 float32, 2 float16, 3 "
                "bfloat16, 4 int8"),
        OPT_STR(0, "op_block_list", &a.blocked, "OPS",
                "--float16: operators that stay in float32, with commas (default: those that "
                "float16 harms)",
                0),
        OPT_FLAG(0, "convert_io", &a.config.convert_io, "--float16: inputs and outputs, too"),

        OPT_GROUP("calibration of static quantization; without texts and tensors it runs on "
                  "made-up inputs"),
        OPT_STR(
            0, "calibration_texts", &a.o.calibration_texts, "FILE.jsonl",
            "JSON lines of strings or {\"text\": string}, through the tokenizer beside the model",
            0),
        OPT_STR(0, "calibration_tensors", &a.o.calibration_tensors, "FILE.safetensors",
                "a tensor for each input; of several samples NAME.0, NAME.1 ...", 0),
        OPT_INT(0, "calibration_samples", &a.samples, "N", 1,
                "at most so many samples (default: 100)"),
        OPT_CHOICE(0, "calibration_method", &a.calibration, calibrations,
                   "what becomes of the values that were seen (default: mse, the range with the "
                   "least squared error; minmax with --config)"),

        OPT_GROUP("files"),
        OPT_FLAG(0, "use_external_data_format", &a.external,
                 "tensors go to a file of their own (default: only above 2 GiB)"),

        OPT_GROUP("report"),
        OPT_FLAG(0, "compare", &a.o.compare,
                 "run the old and the new models on made-up inputs and say how outputs differ"),
        OPT_STR(0, "report", &a.o.report, "FILE.html",
                "what changed as a page: tables, and plots of the layers and their errors", 0),

        OPT_GROUP("messages"),
        OPT_COUNTER('q', "quiet", &a.quiets, "only warnings; twice: only errors"),
        OPT_COUNTER('v', "verbose", &a.verboses, "more messages"),
        OPT_END
    };

    if (!opt_parse(cli, summary, opts, argc, argv, &status))
        return status;
    cli_set_verbosity(cli, a.quiets, a.verboses);
    status = choose_config(cli, &a);
    if (status != 0)
        return status;
    if (a.external)
        a.o.weights = OM_WEIGHTS_EXTERNAL;
    a.o.calibration = (enum om_quant_calibration)OM_MAX(a.calibration, 0);
    a.o.calibration_samples = (int)OM_MIN(a.samples, INT32_MAX);
    return quantize(cli, &a);
}
