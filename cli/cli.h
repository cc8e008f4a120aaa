/* cli/cli.h: the program around the library: its context, messages and the table of subcommands. */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stdint.h>

#include <optimum/ctx.h>
#include <optimum/error.h>

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_INTERRUPTED = 130,
    CLI_CLOSED = 141 /* nobody reads standard output any more; as a shell shows SIGPIPE */
};

/* Bars on the terminal (progress.c); zeroed at first. */
struct cli_progress_bar {
    bool used;
    char what[256];
    uint64_t done, total;
    double started; /* seconds on the monotonic clock */
};
struct cli_progress {
    struct cli_progress_bar bars[8];
    int lines; /* on the screen at the moment */
    double drawn;
};
void cli_progress_update(struct cli_progress *p, const char *what, uint64_t done, uint64_t total);
void cli_progress_clear(struct cli_progress *p);

struct cli {
    struct om_ctx *ctx;
    const char *command; /* "optimum-cli export onnx", for usage lines */
    struct cli_progress progress;
    const char *plugin; /* of OPT_PLUGIN(); not looked at */
};

typedef int cli_fn(struct cli *cli, int argc, char **argv); /* argv[0] is the first argument */

struct cli_command {
    const char *name; /* "export onnx" */
    cli_fn *run;
    const char *summary;
    bool plugins; /* it builds models: --plugin and OPTIMUM_PLUGINS */
};

int cmd_env(struct cli *cli, int argc, char **argv);
int cmd_export_onnx(struct cli *cli, int argc, char **argv);
int cmd_inspect(struct cli *cli, int argc, char **argv);
int cmd_optimize(struct cli *cli, int argc, char **argv);
int cmd_quantize(struct cli *cli, int argc, char **argv);
int cmd_run(struct cli *cli, int argc, char **argv);
int cmd_tokenize(struct cli *cli, int argc, char **argv);
int cmd_decode(struct cli *cli, int argc, char **argv);
int cmd_pipeline(struct cli *cli, int argc, char **argv);
int cmd_chat(struct cli *cli, int argc, char **argv);

/* Print an error of the library on stderr and give the exit status that belongs to it; releases *err. */
int cli_report(struct cli *cli, struct om_error *err);
/* A usage error: one line, and where the help is. Gives CLI_USAGE. */
int cli_usage_error(const struct cli *cli, const char *fmt, ...) OM_PRINTF(2, 3);
/* Load the plugins of OPTIMUM_PLUGINS and of --plugin FILE, which is taken out of the arguments. Gives the exit status, CLI_OK to go on. */
int cli_load_plugins(struct cli *cli, int *argc, char **argv);
/* Lines up to level go to stderr from now on. */
void cli_set_verbosity(struct cli *cli, int quiet, int verbose);

#endif
