/* cli/filter.c: see filter.h. */
#include "cli/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <optimum/tokenizer.h>

static int run(struct cli *cli, const struct jsonl *j, int in, const char *name)
{
    struct om_error err = OM_ERROR_INIT;
    bool closed;

    if (jsonl_run(cli->ctx, j, in, name, STDOUT_FILENO, &closed, &err) < 0)
        return cli_report(cli, &err);
    return closed ? CLI_CLOSED : CLI_OK;
}

int filter_batches(struct cli *cli, const struct filter *f, jsonl_fn *fn, void *user)
{
    const struct jsonl j = { .fn = fn,
                             .user = user,
                             .threads = (size_t)f->threads,
                             .batch_size = (size_t)f->batch_size,
                             .max_line = (size_t)f->max_line };
    struct om_error err = OM_ERROR_INIT;

    if (strcmp(f->input, "-") == 0)
        return run(cli, &j, STDIN_FILENO, "standard input");
    const int in = open(f->input, O_RDONLY | O_CLOEXEC);
    if (in < 0) {
        om_fail(&err, OM_E_IO, "%s: %s", f->input, strerror(errno));
        return cli_report(cli, &err);
    }
    const int status = run(cli, &j, in, f->input);
    close(in);
    return status;
}

struct single {
    filter_fn *fn;
    void *user;
};

static void answer_each(void *user, struct jsonl_line *lines, size_t n)
{
    const struct single *const s = user;

    for (size_t i = 0; i < n; i++)
        s->fn(s->user, lines[i].request, lines[i].out, &lines[i].err);
}

int filter_lines(struct cli *cli, const struct filter *f, filter_fn *fn, void *user)
{
    struct single s = { fn, user };

    return filter_batches(cli, f, answer_each, &s);
}

int cli_open_tokenizer(struct cli *cli, const char *name, bool target, struct om_tokenizer **out,
                       struct om_error *err)
{
    struct om_tokenizer_opts opts = OM_TOKENIZER_OPTS_INIT;

    opts.tokenizer = name;
    opts.target = target;
    return om_tokenizer_from_pretrained(cli->ctx, &opts, out, err);
}
