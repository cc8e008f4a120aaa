/* cli/main.c: optimum-cli: finds the subcommand, prints what the library logs, turns errors into
 * exit statuses. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "cli/cli.h"

#include <optimum/version.h>

static const struct cli_command commands[] = {
    { "export onnx", cmd_export_onnx, "export a checkpoint to ONNX", true },
    { "onnxruntime optimize", cmd_optimize, "fuse operators of .onnx files", false },
    { "onnxruntime quantize", cmd_quantize, "make the weights of .onnx files smaller", false },
    { "pipeline", cmd_pipeline, "answer, classify, label, compare, write: a model on texts", true },
    { "chat", cmd_chat, "talk with a model", true },
    { "inspect", cmd_inspect, "show what a checkpoint or an .onnx file holds", false },
    { "run", cmd_run, "run an .onnx file on tensors", false },
    { "tokenize", cmd_tokenize, "turn text into the ids that a model takes", false },
    { "decode", cmd_decode, "turn ids back into text", false },
    { "env", cmd_env, "show versions and libraries, for bug reports", false },
};

/* ---- messages ---- */

static void on_log(void *user, enum om_level level, const char *line)
{
    struct cli *cli = user;

    (void)level;
    cli_progress_clear(&cli->progress);
    fprintf(stderr, "%s\n", line);
}

static void on_progress(void *user, const char *what, uint64_t done, uint64_t total)
{
    struct cli *cli = user;

    cli_progress_update(&cli->progress, what, done, total);
}

static enum om_level level_of_environment(void)
{
    static const struct {
        const char *name;
        enum om_level level;
    } names[] = { { "debug", OM_LOG_DEBUG },
                  { "info", OM_LOG_INFO },
                  { "warning", OM_LOG_WARNING },
                  { "error", OM_LOG_ERROR },
                  { "critical", OM_LOG_ERROR } };
    const char *v = getenv("TRANSFORMERS_VERBOSITY");

    for (size_t i = 0; v != NULL && i < OM_COUNT(names); i++)
        if (strcmp(v, names[i].name) == 0)
            return names[i].level;
    return OM_LOG_INFO;
}

void cli_set_verbosity(struct cli *cli, int quiet, int verbose)
{
    const int level = (int)level_of_environment() + verbose - quiet;

    om_ctx_set_log(cli->ctx, on_log, cli,
                   (enum om_level)OM_MAX((int)OM_LOG_ERROR, OM_MIN(level, (int)OM_LOG_DEBUG)));
    if (quiet == 0 && isatty(STDERR_FILENO))
        om_ctx_set_progress(cli->ctx, on_progress, cli);
}

int cli_report(struct cli *cli, struct om_error *err)
{
    const int code = err->code;

    cli_progress_clear(&cli->progress);
    fprintf(stderr, "optimum-cli: error: %s\n", om_error_text(err));
    om_error_release(err);
    if (code == OM_E_CANCELLED)
        return CLI_INTERRUPTED;
    return code == OM_E_USAGE ? CLI_USAGE : CLI_FAILED;
}

int cli_usage_error(const struct cli *cli, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "%s: error: ", cli->command);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, " (see %s --help)\n", cli->command);
    return CLI_USAGE;
}

/* ---- the command table ---- */

static void print_help(FILE *f)
{
    fputs("usage: optimum-cli <command> [options]\n\n"
          "Export Hugging Face checkpoints to ONNX and run them, without Python.\n\ncommands:\n",
          f);
    for (size_t i = 0; i < OM_COUNT(commands); i++)
        fprintf(f, "  %-28s%s\n", commands[i].name, commands[i].summary);
    fputs(
        "\n  -h, --help                  show this help; optimum-cli <command> --help shows more\n"
        "  --version                   show the version\n",
        f);
}

/* How many of the arguments name the command, 0 when they do not. */
static int match(const char *name, int argc, char **argv)
{
    om_sv rest = om_sv_str(name), word;
    int n = 0;

    for (; om_sv_split(&rest, ' ', &word); n++)
        if (n >= argc || !om_sv_is(word, argv[n]))
            return 0;
    return n;
}

static const char *nearest_command(int argc, char **argv)
{
    const char *names[OM_COUNT(commands) + 1];
    char typed[128];

    /* The first word of a command: "export" alone. */
    for (size_t i = 0; i < OM_COUNT(commands); i++)
        if (strncmp(commands[i].name, argv[0], strlen(argv[0])) == 0)
            return commands[i].name;
    for (size_t i = 0; i < OM_COUNT(commands); i++)
        names[i] = commands[i].name;
    names[OM_COUNT(commands)] = NULL;
    snprintf(typed, sizeof(typed), "%s%s%s", argv[0], argc > 1 && argv[1][0] != '-' ? " " : "",
             argc > 1 && argv[1][0] != '-' ? argv[1] : "");
    return om_sv_nearest(om_sv_str(typed), names);
}

/* "export" of "export onnx". */
static bool is_first_word(const char *word)
{
    const size_t len = strlen(word);

    for (size_t i = 0; i < OM_COUNT(commands); i++)
        if (strncmp(commands[i].name, word, len) == 0 && commands[i].name[len] == ' ')
            return true;
    return false;
}

static bool asks_for_help(const char *arg)
{
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

static int unknown_command(int argc, char **argv)
{
    const char *nearest = nearest_command(argc, argv);

    fprintf(stderr, "optimum-cli: error: unknown command \"%s\"%s%s%s (see optimum-cli --help)\n",
            argv[0], nearest ? "; did you mean \"" : "", nearest ? nearest : "",
            nearest ? "\"?" : "");
    return CLI_USAGE;
}

/* Ctrl-C: the library stops at its next check and removes what is incomplete. */
static struct om_ctx *volatile running;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    om_ctx_cancel(running);
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (asks_for_help(argv[i]))
            return true;
    return false;
}

static int run_command(const struct cli_command *c, int argc, char **argv)
{
    char command[64];
    struct cli cli = { .ctx = om_ctx_new(), .command = command };
    struct sigaction interrupt = { .sa_handler = on_interrupt, .sa_flags = SA_RESETHAND };
    int rc;

    if (cli.ctx == NULL) {
        fputs("optimum-cli: error: out of memory\n", stderr);
        return CLI_FAILED;
    }
    snprintf(command, sizeof(command), "optimum-cli %s", c->name);
    running = cli.ctx;
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGTERM, &interrupt, NULL);
    cli_set_verbosity(&cli, 0, 0);
    rc = c->plugins && !wants_help(argc, argv) ? cli_load_plugins(&cli, &argc, argv) : CLI_OK;
    if (rc == CLI_OK)
        rc = c->run(&cli, argc, argv);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    running = NULL;
    om_ctx_free(cli.ctx);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stdout);
        return CLI_FAILED;
    }
    if (asks_for_help(argv[1]) || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("optimum-cli %s\n", om_version());
        return CLI_OK;
    }
    for (size_t i = 0; i < OM_COUNT(commands); i++) {
        const int words = match(commands[i].name, argc - 1, argv + 1);

        if (words > 0)
            return run_command(&commands[i], argc - 1 - words, argv + 1 + words);
    }
    if (argc == 3 && is_first_word(argv[1]) && asks_for_help(argv[2])) {
        print_help(stdout);
        return CLI_OK;
    }
    return unknown_command(argc - 1, argv + 1);
}
