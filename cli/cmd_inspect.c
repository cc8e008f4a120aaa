/* cli/cmd_inspect.c: optimum-cli inspect. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/opt.h"

#include <optimum/inspect.h>

int cmd_inspect(struct cli *cli, int argc, char **argv)
{
    struct om_error err = OM_ERROR_INIT;
    const char *path = NULL;
    bool json = false;
    char *text;
    int status;
    const struct opt opts[] = {
        OPT_GROUP("arguments"),
        OPT_ARG("PATH", &path, "a checkpoint directory, one of its weight files, or an .onnx file",
                OPT_REQUIRED),
        OPT_FLAG(0, "json", &json, "print JSON"), OPT_END
    };

    if (!opt_parse(cli, "Show what a checkpoint or an .onnx file holds.", opts, argc, argv,
                   &status))
        return status;
    if (om_inspect(cli->ctx, path, json ? OM_INSPECT_JSON : OM_INSPECT_TABLE, &text, &err) < 0)
        return cli_report(cli, &err);
    fputs(text, stdout);
    free(text);
    return CLI_OK;
}
