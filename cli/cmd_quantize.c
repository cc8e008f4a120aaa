/* cli/cmd_quantize.c: optimum-cli onnxruntime quantize. */
#include "base/base.h"
#include "cli/opt.h"

#include <optimum/quantize.h>

struct args {
    struct om_quantize_opts o;
    struct om_quant_config config;
    bool arm64, avx2, avx512, avx512_vnni, ppc64le, tensorrt;
    bool per_channel, external;
    int quiets, verboses;
};

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

    *n = a->o.config_file != NULL;
    for (size_t i = 0; i < OM_COUNT(presets); i++) {
        if (!presets[i].given)
            continue;
        name = presets[i].name;
        (*n)++;
    }
    return name;
}

static int choose_config(struct cli *cli, struct args *a)
{
    struct om_error err = OM_ERROR_INIT;
    int n;
    const char *const preset = chosen(a, &n);

    if (n != 1)
        return cli_usage_error(cli,
                               "give one of --arm64, --avx2, --avx512, --avx512_vnni, --ppc64le, "
                               "--tensorrt and --config, not %d",
                               n);
    if (!preset)
        return 0;
    if (om_quant_preset(preset, &a->config, &err) < 0)
        return cli_report(cli, &err);
    a->config.per_channel = a->per_channel;
    a->o.config = &a->config;
    return 0;
}

int cmd_quantize(struct cli *cli, int argc, char **argv)
{
    struct args a = { .o = OM_QUANTIZE_OPTS_INIT, .config = OM_QUANT_CONFIG_INIT };
    struct om_error err = OM_ERROR_INIT;
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

        OPT_GROUP("details"),
        OPT_FLAG(0, "per_channel", &a.per_channel, "one scale per column of a weight"),
        OPT_FLAG(0, "use_external_data_format", &a.external,
                 "tensors go to a file of their own (default: only above 2 GiB)"),

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
    if (om_quantize_run(cli->ctx, &a.o, &err) < 0)
        return cli_report(cli, &err);
    return CLI_OK;
}
