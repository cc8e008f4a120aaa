/* examples/export.c: the smallest complete use of <optimum/export.h>.
 *
 * usage: export CHECKPOINT OUTPUT
 *
 * Exports a checkpoint directory for the task that its config.json names, and prints the report. */
#include <stdio.h>

#include <optimum/export.h>

static void on_log(void *user, enum om_level level, const char *line)
{
    fprintf(user, "%s%s\n", level <= OM_LOG_WARNING ? "warning: " : "", line);
}

int main(int argc, char **argv)
{
    struct om_export_opts opts = OM_EXPORT_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct om_ctx *ctx;
    int rc;

    if (argc != 3) {
        fprintf(stderr, "usage: %s CHECKPOINT OUTPUT\n", argv[0]);
        return 2;
    }
    ctx = om_ctx_new();
    if (ctx == NULL) {
        fprintf(stderr, "%s: out of memory\n", argv[0]);
        return 1;
    }
    om_ctx_set_log(ctx, on_log, stdout, OM_LOG_INFO);
    opts.model = argv[1];
    opts.out_dir = argv[2];
    rc = om_export_run(ctx, &opts, &err);
    if (rc < 0)
        fprintf(stderr, "%s: %s (%s)\n", argv[0], om_error_text(&err), om_code_name(rc));
    om_error_release(&err);
    om_ctx_free(ctx);
    return rc < 0;
}
