/* cli/cmd_optimize.c: optimum-cli onnxruntime optimize. */
#include "base/base.h"
#include "cli/opt.h"

#include <optimum/optimize.h>

struct args {
    struct om_optimize_opts o;
    struct om_optimize_config config;
    const char *level; /* "1" to "4" */
    const char *device;
    bool external;
    int offline; /* enum om_offline_level */
    int quiets, verboses;
};

static const char summary[] = "Optimize the ONNX models of a directory.";

static int choose_config(struct cli *cli, struct args *a)
{
    struct om_error err = OM_ERROR_INIT;
    const int n = (a->o.config_file != NULL) + (a->level != NULL);
    char name[3] = "O?";

    if (n != 1)
        return cli_usage_error(cli, "give one of -O1, -O2, -O3, -O4 and --config, not %d", n);
    if (a->level == NULL)
        return a->device ? cli_usage_error(cli, "--device goes with a level, not with --config")
                         : 0;
    if (a->device && strcmp(a->device, "cpu") != 0 && strncmp(a->device, "cuda", 4) != 0)
        return cli_usage_error(cli, "--device %s: expected cpu or cuda", a->device);
    if (strlen(a->level) == 1)
        name[1] = a->level[0];
    if (om_optimize_level(name, &a->config, &err) < 0)
        return cli_report(cli, &err);
    if (a->device && strcmp(a->device, "cpu") == 0)
        om_optimize_for_cpu(&a->config);
    a->o.config = &a->config;
    return 0;
}

int cmd_optimize(struct cli *cli, int argc, char **argv)
{
    struct args a = { .o = OM_OPTIMIZE_OPTS_INIT, .config = OM_OPTIMIZE_CONFIG_INIT };
    struct om_error err = OM_ERROR_INIT;
    int status;
    const struct opt opts[] = {
        OPT_GROUP("files"),
        OPT_STR(0, "onnx_model", &a.o.model, "DIR|FILE",
                "the models: a directory, or one .onnx file", OPT_REQUIRED),
        OPT_STR('o', "output", &a.o.out_dir, "DIR",
                "directory to write, another than that of the models", OPT_REQUIRED),

        OPT_GROUP("how, one of"),
        OPT_STR('O', "level", &a.level, "N",
                "-O1: no fusions, but copies, constants and equal nodes go; -O2: operators that "
                "ONNX Runtime fuses; -O3: Gelu approximated as well; -O4: in float16, for GPUs",
                0),
        OPT_STR('c', "config", &a.o.config_file, "FILE", "an ort_config.json", 0),
        OPT_STR(
            0, "device", &a.device, "DEVICE",
            "with a level: cpu leaves out the fusions that make models slower on CPUs (default: "
            "all of them)",
            0),

        OPT_GROUP("details"),
        OPT_CHOICE(0, "onnxruntime-level", &a.offline, cli_offline_levels,
                   "ONNX Runtime's own optimizer afterwards; its files are for this release and "
                   "its CPU provider, with all for this machine's processor (default: off)"),
        OPT_FLAG(0, "use_external_data_format", &a.external,
                 "tensors go to a file of their own (default: only above 2 GiB)"),

        OPT_GROUP("report"),
        OPT_FLAG(0, "compare", &a.o.compare,
                 "run the old and the new models on made-up inputs and say how outputs differ"),
        OPT_STR(0, "report", &a.o.report, "FILE.html",
                "what changed as a page: tables, and plots of the layers", 0),

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
    a.o.offline = (enum om_offline_level)a.offline;
    if (om_optimize_run(cli->ctx, &a.o, &err) < 0)
        return cli_report(cli, &err);
    return CLI_OK;
}
