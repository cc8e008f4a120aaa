/* cli/cmd_run.c: optimum-cli run. */
#include "cli/opt.h"

#include <optimum/export.h>

static const struct opt_choice executors[] = { { "onnxruntime", OM_EXECUTOR_ONNXRUNTIME },
                                               { "reference", OM_EXECUTOR_REFERENCE },
                                               { NULL, 0 } };

int cmd_run(struct cli *cli, int argc, char **argv)
{
    const char *model = NULL, *inputs = NULL, *output = NULL;
    struct om_error err = OM_ERROR_INIT;
    int executor = OM_EXECUTOR_ONNXRUNTIME;
    int status;
    const struct opt opts[] = {
        OPT_GROUP("arguments"),
        OPT_ARG("FILE.onnx", &model, "the model", OPT_REQUIRED),
        OPT_STR('i', "inputs", &inputs, "IN.safetensors", "one tensor for each input, by name",
                OPT_REQUIRED),
        OPT_STR('o', "output", &output, "OUT.safetensors", "receives one tensor for each output",
                OPT_REQUIRED),
        OPT_CHOICE(
            0, "executor", &executor, executors,
            "what runs it (default: onnxruntime); reference takes any file of known operators"),
        OPT_END
    };

    if (!opt_parse(cli, "Run an .onnx file on tensors of a safetensors file.", opts, argc, argv,
                   &status))
        return status;
    if (om_run_file(cli->ctx, model, inputs, output, (enum om_executor)executor, &err) < 0)
        return cli_report(cli, &err);
    return CLI_OK;
}
