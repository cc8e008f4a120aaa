/* cli/plugins.c: --plugin FILE and OPTIMUM_PLUGINS, for every command that builds models. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "cli/cli.h"

#include <optimum/plugin.h>

static int load(struct cli *cli, const char *path)
{
    struct om_error err = OM_ERROR_INIT;

    return om_plugin_load(cli->ctx, path, &err) < 0 ? cli_report(cli, &err) : CLI_OK;
}

/* Paths with colons between them. */
static int load_list(struct cli *cli, const char *list)
{
    om_sv rest = om_sv_str(list), path;
    int status = CLI_OK;

    while (status == CLI_OK && om_sv_split(&rest, ':', &path)) {
        char *const copy = path.len ? strndup(path.ptr, path.len) : NULL;
        if (copy)
            status = load(cli, copy);
        free(copy);
    }
    return status;
}

int cli_load_plugins(struct cli *cli, int *argc, char **argv)
{
    static const char option[] = "--plugin";
    const size_t len = sizeof(option) - 1;
    int status = load_list(cli, getenv("OPTIMUM_PLUGINS"));
    int kept = 0, i = 0;

    for (; i < *argc && strcmp(argv[i], "--") != 0 && status == CLI_OK; i++) {
        if (strcmp(argv[i], option) == 0 && i + 1 < *argc)
            status = load(cli, argv[++i]);
        else if (strncmp(argv[i], option, len) == 0 && argv[i][len] == '=')
            status = load(cli, argv[i] + len + 1);
        else
            argv[kept++] = argv[i];
    }
    while (i < *argc)
        argv[kept++] = argv[i++];
    *argc = kept;
    return status;
}
