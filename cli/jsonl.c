/* cli/jsonl.c: see jsonl.h. */
#include "cli/jsonl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void answer(om_sv text, jsonl_fn *fn, void *user, struct om_buf *out)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_json *line = NULL;
    int rc = om_json_parse(text, OM_JSON_LAST_WINS, &line, &err);

    om_buf_clear(out);
    if (rc == 0 && om_json_kind(line) != OM_JSON_OBJECT)
        rc = om_fail(&err, OM_E_FORMAT, "expected an object, found %s", om_json_kind_text(line));
    if (rc == 0)
        rc = fn(user, line, out, &err);
    if (rc == 0)
        rc = om_buf_check(out, &err);
    if (rc < 0) {
        om_buf_clear(out);
        out->failed = false;
        om_buf_adds(out, "{\"error\": ");
        om_buf_json_string(out, om_sv_str(om_error_text(&err)));
        om_buf_addc(out, '}');
    }
    om_buf_addc(out, '\n');
    om_json_free(line);
    om_error_release(&err);
}

static int filter(struct cli *cli, FILE *in, const char *path, jsonl_fn *fn, void *user)
{
    struct om_buf out = OM_BUF_INIT(SIZE_MAX / 2);
    struct om_error err = OM_ERROR_INIT;
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;

    while (!ferror(stdout) && om_ctx_check(cli->ctx, &err) == 0 &&
           (len = getline(&line, &cap, in)) > 0) {
        answer((om_sv){ line, (size_t)len - (line[len - 1] == '\n') }, fn, user, &out);
        fwrite(out.ptr, 1, out.len, stdout);
    }
    if (err.code == 0 && ferror(in))
        om_fail(&err, OM_E_IO, "%s: %s", path, strerror(errno));
    if (err.code == 0 && (fflush(stdout) != 0 || ferror(stdout)))
        om_fail(&err, OM_E_IO, "standard output: %s", strerror(errno));
    free(line);
    om_buf_release(&out);
    return err.code < 0 ? cli_report(cli, &err) : CLI_OK;
}

int jsonl_filter(struct cli *cli, const char *path, jsonl_fn *fn, void *user)
{
    struct om_error err = OM_ERROR_INIT;

    if (strcmp(path, "-") == 0)
        return filter(cli, stdin, "standard input", fn, user);
    FILE *const in = fopen(path, "re");
    if (!in) {
        om_fail(&err, OM_E_IO, "%s: %s", path, strerror(errno));
        return cli_report(cli, &err);
    }
    const int status = filter(cli, in, path, fn, user);
    fclose(in);
    return status;
}
