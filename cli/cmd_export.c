/* cli/cmd_export.c: optimum-cli export onnx. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "cli/opt.h"

#include <optimum/export.h>
#include <optimum/optimize.h>
#include <optimum/quantize.h>

static const char summary[] = "Export a checkpoint to ONNX files that ONNX Runtime, Optimum's "
                              "classes and transformers.js load.";

static const struct opt_choice dtypes[] = {
    { "fp32", OM_F32 }, { "fp16", OM_F16 }, { "bf16", OM_BF16 }, { NULL, 0 }
};

static const struct opt_choice weights[] = { { "auto", OM_WEIGHTS_AUTO },
                                             { "embedded", OM_WEIGHTS_EMBEDDED },
                                             { "external", OM_WEIGHTS_EXTERNAL },
                                             { "safetensors", OM_WEIGHTS_SAFETENSORS },
                                             { NULL, 0 } };

static const struct opt_choice weights_dtypes[] = { { "keep", OM_WEIGHTS_DTYPE_KEEP },
                                                    { "fp32", OM_WEIGHTS_DTYPE_F32 },
                                                    { "fp16", OM_WEIGHTS_DTYPE_F16 },
                                                    { "bf16", OM_WEIGHTS_DTYPE_BF16 },
                                                    { NULL, 0 } };

static const struct opt_choice decoders[] = { { "all", OM_DECODER_ALL },
                                              { "merged", OM_DECODER_MERGED },
                                              { "single", OM_DECODER_SINGLE },
                                              { NULL, 0 } };

static const struct opt_choice linears[] = { { "gemm", OM_LINEAR_GEMM },
                                             { "matmul", OM_LINEAR_MATMUL },
                                             { NULL, 0 } };

static const struct opt_choice frameworks[] = { { "pt", 0 }, { NULL, 0 } };

/* What the options give before they become om_export_opts. */
struct args {
    struct om_export_opts o;
    struct om_quant_config config;
    const char *quantize;
    struct om_optimize_config levels;
    const char *optimize;
    const char *dtypes; /* of transformers.js */
    int offline; /* enum om_offline_level */
    int weights, weights_dtype, linear, decoder, dtype, framework;
    int64_t opset;
    double atol;
    const char *device, *variant;
    bool validate, no_validation, list;
    int64_t unused_shape;
    int quiets, verboses;
};

static void print_row(void *user, const char *model_type, const char *const *tasks)
{
    (void)user;
    printf("%-16s", model_type);
    for (; *tasks != NULL; tasks++)
        printf(" %s", *tasks);
    putchar('\n');
}

static int list(struct cli *cli)
{
    struct om_error err = OM_ERROR_INIT;

    if (om_export_list_in(cli->ctx, print_row, NULL, &err) < 0)
        return cli_report(cli, &err);
    return CLI_OK;
}

/* Options whose value decides whether they mean anything here. */
static int check_args(struct cli *cli, const struct args *a)
{
    if (a->optimize != NULL && strcmp(a->optimize, "O4") == 0 &&
        (a->device == NULL || strncmp(a->device, "cuda", 4) != 0))
        return cli_usage_error(cli, "--optimize O4 is for GPUs: give --device cuda, too");
    if (a->device != NULL && strcmp(a->device, "cpu") != 0 &&
        (a->optimize == NULL || strcmp(a->optimize, "O4") != 0))
        return cli_usage_error(
            cli,
            "--device %s is not applicable: the export does not run on a device, and its files "
            "run on any; choose the provider when you load them",
            a->device);
    if (a->variant != NULL && strcmp(a->variant, "default") != 0)
        return cli_usage_error(
            cli, "--variant %s: the supported architectures have only the variant \"default\"",
            a->variant);
    if (a->validate && a->no_validation)
        return cli_usage_error(cli, "--validate and --no-validation contradict each other");
    return 0;
}

static void finish_opts(struct args *a)
{
    const char *force = getenv("FORCE_ONNX_EXTERNAL_DATA");

    a->o.opset = (int)OM_MIN(a->opset, INT32_MAX);
    a->o.atol = a->atol;
    a->o.dtype = (enum om_dtype)a->dtype;
    a->o.weights = (enum om_weights_mode)a->weights;
    a->o.weights_dtype = (enum om_weights_dtype)a->weights_dtype;
    a->o.linear = (enum om_linear_form)a->linear;
    a->o.decoder = (enum om_decoder_form)a->decoder;
    a->o.offline = (enum om_offline_level)a->offline;
    if (a->validate)
        a->o.validation = OM_VALIDATE_ALWAYS;
    if (a->no_validation)
        a->o.validation = OM_VALIDATE_NEVER;
    if (a->o.weights == OM_WEIGHTS_AUTO && force != NULL && strcmp(force, "1") == 0)
        a->o.weights = OM_WEIGHTS_EXTERNAL;
}

static int run_export(struct cli *cli, struct args *a)
{
    struct om_error err = OM_ERROR_INIT;
    void *list = NULL;
    int status = CLI_OK;

    if (!opt_split(a->dtypes, &list, &a->o.transformersjs_dtypes))
        om_fail(&err, OM_E_NOMEM, "out of memory");
    a->o.transformersjs = a->o.transformersjs || a->dtypes != NULL;
    if (err.code != 0 || om_export_run(cli->ctx, &a->o, &err) < 0)
        status = cli_report(cli, &err);
    free(list);
    return status;
}

int cmd_export_onnx(struct cli *cli, int argc, char **argv)
{
    struct args a = { .o = OM_EXPORT_OPTS_INIT, .atol = -1.0 };
    struct om_error err = OM_ERROR_INIT;
    int status;
    const struct opt opts[] = {
        OPT_GROUP("required arguments"),
        OPT_STR('m', "model", &a.o.model, "MODEL",
                "the checkpoint: a directory with config.json and weights, or a model on the Hub "
                "(\"org/name\", "
                "\"org/name@revision\")",
                OPT_REQUIRED),
        OPT_ARG("OUTPUT", &a.o.out_dir, "the directory to write; it is made when it does not exist",
                OPT_REQUIRED),

        OPT_GROUP("where the model comes from"),
        OPT_STR(0, "revision", &a.o.revision, "REV",
                "branch, tag, commit or refs/pr/N of a model on the Hub (default: main)", 0),
        OPT_STR(0, "subfolder", &a.o.subfolder, "DIR",
                "where config.json is in the directory or repository", 0),
        OPT_STR(0, "cache_dir", &a.o.cache_dir, "DIR",
                "the cache of models from the Hub (default: HF_HUB_CACHE, HF_HOME/hub or "
                "~/.cache/huggingface/hub)",
                0),

        OPT_GROUP("what is exported"),
        OPT_STR(0, "task", &a.o.task, "TASK",
                "the task, or a synonym; \"-with-past\" appended: with the key/value cache "
                "(default: auto, from the "
                "Hub's entry or the class named in config.json)",
                0),
        OPT_INT(0, "opset", &a.opset, "N", 1, "ONNX operator set, 14 to 23 (default: 18)"),
        OPT_CHOICE(
            0, "dtype", &a.dtype, dtypes,
            "type of the computation and of float inputs and outputs (default: fp32); what 16 "
            "bits would not hold is computed in fp32"),
        OPT_FLAG(0, "monolith", &a.o.monolith, "one file, even for an encoder-decoder"),
        OPT_FLAG(0, "no-post-process", &a.o.no_post_process,
                 "do not merge the two decoders of an encoder-decoder"),
        OPT_CHOICE(0, "decoder", &a.decoder, decoders,
                   "files of an encoder-decoder's decoder with past: as Optimum (all, default), "
                   "the merged one alone, or one graph for all steps (single)"),
        OPT_STR(0, "library-name", &a.o.library, "NAME",
                "transformers or sentence_transformers (default: by the files of the checkpoint)",
                0),
        OPT_STR(0, "variant", &a.variant, "NAME", "variant of the architecture (default: default)",
                0),
        OPT_INT(
            0, "pad_token_id", &a.o.pad_token_id, "ID", 0,
            "padding token, needed for text-classification with a decoder whose config has none"),
        OPT_FLAG(0, "list", &a.list, "list model types and their tasks"),
        OPT_PLUGIN(cli),

        OPT_GROUP("how it is written"),
        OPT_CHOICE(0, "weights", &a.weights, weights,
                   "where weights are: inside the .onnx file, in model.onnx_data, or in the "
                   "checkpoint's own safetensors "
                   "files (nothing is copied when OUTPUT is the checkpoint's directory); default: "
                   "embedded below 2 GiB, else "
                   "external"),
        OPT_CHOICE(
            0, "weights-dtype", &a.weights_dtype, weights_dtypes,
            "how weights are stored (default: as they are computed with; keep with --weights "
            "safetensors)"),
        OPT_CHOICE(
            0, "linear", &a.linear, linears,
            "linear layers as Gemm (default), or as MatMul and Add for tools that look for them"),
        OPT_STR(
            0, "quantize", &a.quantize, "PRESET",
            "write the files quantized: arm64, avx2, avx512, avx512_vnni, ppc64le (dynamic int8), "
            "int4, int8, nf4, fp4 (weights in blocks), float16, q4f16 (int4 and float16)",
            0),
        OPT_STR(
            0, "optimize", &a.optimize, "LEVEL",
            "write the files optimized: O1 (no fusions), O2 (ONNX Runtime's fused operators), O3 "
            "(Gelu approximated), O4 (float16, needs --device cuda)",
            0),
        OPT_CHOICE(0, "onnxruntime-level", &a.offline, cli_offline_levels,
                   "with --optimize: ONNX Runtime's own optimizer afterwards; its files are for "
                   "this release and its CPU provider, with all for this machine's processor "
                   "(default: off)"),
        OPT_FLAG(0, "triton", &a.o.triton,
                 "make OUTPUT a model of a Triton repository: OUTPUT/1/model.onnx and "
                 "OUTPUT/config.pbtxt; its name is the model's"),
        OPT_FLAG(
            0, "transformersjs", &a.o.transformersjs,
            "the layout of transformers.js: the models in OUTPUT/onnx, each also for its other "
            "dtypes"),
        OPT_STR(0, "transformersjs-dtypes", &a.dtypes, "LIST",
                "the same for these dtypes only, with commas: fp16, q8, int8, uint8, q4, q4f16, "
                "bnb4",
                0),
        OPT_STR(0, "report", &a.o.report, "FILE.html",
                "what --quantize, --optimize and --transformersjs changed, as a page: tables, and "
                "plots of the layers and their errors",
                0),
        OPT_FLAG(0, "compare", &a.o.compare,
                 "run the changed files and the reference executor on the example inputs and say "
                 "how outputs differ"),
        OPT_FLAG(0, "genai", &a.o.genai,
                 "for onnxruntime-genai: genai_config.json, one buffer for past and present keys, "
                 "weights in model.onnx.data"),
        OPT_FLAG(0, "no-constant-folding", &a.o.no_constant_folding,
                 "keep nodes whose inputs are constant"),
        OPT_FLAG(0, "durable", &a.o.durable, "wait until the files are on the disk"),
        OPT_STR(0, "dump-ir", &a.o.dump_ir, "FILE", "write the graphs as text", 0),

        OPT_GROUP("validation"),
        OPT_REAL(0, "atol", &a.atol, "X",
                 "absolute and relative tolerance (default: 0.0001; of fp16, 0.01 of an output's "
                 "largest value)"),
        OPT_FLAG(0, "strict", &a.o.strict, "a difference is an error (exit 1), not a warning"),
        OPT_FLAG(0, "no-validation", &a.no_validation,
                 "do not compare the result with the reference executor"),
        OPT_FLAG(0, "validate", &a.validate, "validate even where memory may not suffice"),

        OPT_GROUP("input shapes (of the example input; with --no-dynamic-axes, of the model)"),
        OPT_FLAG(0, "no-dynamic-axes", &a.o.no_dynamic_axes, "fix every axis"),
        OPT_INT(0, "batch_size", &a.o.shapes.batch_size, "N", 1, "default: 2"),
        OPT_INT(0, "sequence_length", &a.o.shapes.sequence_length, "N", 1, "default: 16"),
        OPT_INT(0, "num_choices", &a.o.shapes.num_choices, "N", 1, "default: 4"),

        OPT_GROUP("messages"),
        OPT_COUNTER('q', "quiet", &a.quiets, "only warnings; twice: only errors"),
        OPT_COUNTER('v', "verbose", &a.verboses, "more messages"),

    /* Shapes of images and audio: accepted, no architecture of this version has such inputs. */
#define UNUSED_SHAPE(n)       \
    { .kind = OPT_KIND_INT,   \
      .name = (n),            \
      .out = &a.unused_shape, \
      .metavar = "N",         \
      .min = 1,               \
      .help = "",             \
      .flags = OPT_HIDDEN }
        UNUSED_SHAPE("width"),
        UNUSED_SHAPE("height"),
        UNUSED_SHAPE("num_channels"),
        UNUSED_SHAPE("feature_size"),
        UNUSED_SHAPE("nb_max_frames"),
        UNUSED_SHAPE("audio_sequence_length"),
        UNUSED_SHAPE("point_batch_size"),
        UNUSED_SHAPE("nb_points_per_image"),
        UNUSED_SHAPE("visual_seq_length"),
#undef UNUSED_SHAPE
        { .kind = OPT_KIND_CHOICE,
          .name = "framework",
          .out = &a.framework,
          .choices = frameworks,
          .help = "",
          .flags = OPT_HIDDEN },
        { .kind = OPT_KIND_STR,
          .name = "device",
          .out = &a.device,
          .metavar = "DEVICE",
          .help = "",
          .flags = OPT_HIDDEN },
        OPT_REFUSED("trust-remote-code", NULL, "no code of a checkpoint is ever run"),
        OPT_REFUSED("model-kwargs", "JSON", "no model is called; change config.json instead"),
        OPT_REFUSED("slim", NULL, "the graph is written without redundant operators"),
        OPT_REFUSED("dynamo", NULL, "nothing is traced; leave it out"),
        OPT_END
    };

    if (opt_given(argc, argv, "--list"))
        return list(cli);
    if (!opt_parse(cli, summary, opts, argc, argv, &status))
        return status;
    cli_set_verbosity(cli, a.quiets, a.verboses);
    if (check_args(cli, &a) != 0)
        return CLI_USAGE;
    finish_opts(&a);
    if (a.quantize != NULL) {
        if (om_quant_preset(a.quantize, &a.config, &err) < 0)
            return cli_report(cli, &err);
        a.o.quantize = &a.config;
    }
    if (a.optimize != NULL) {
        if (om_optimize_level(a.optimize, &a.levels, &err) < 0)
            return cli_report(cli, &err);
        if (a.device == NULL || strncmp(a.device, "cuda", 4) != 0)
            om_optimize_for_cpu(&a.levels);
        a.o.optimize = &a.levels;
    }
    return run_export(cli, &a);
}
