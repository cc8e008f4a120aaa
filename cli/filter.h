/* cli/filter.h: commands as filters of JSON lines, and the options they have in common. */
#ifndef CLI_FILTER_H
#define CLI_FILTER_H

#include "cli/cli.h"
#include "cli/opt.h"
#include "jsonl/jsonl.h"

struct filter {
    const char *input; /* NULL: the command is no filter this time */
    int64_t threads, batch_size, max_line;
};
#define FILTER_INIT { .batch_size = 32, .max_line = JSONL_LINE_MAX }

#define FILTER_OPTIONS(f, input_help)                                                                \
    OPT_GROUP("as a filter"), OPT_STR('i', "input", &(f)->input, "FILE", input_help, 0),             \
        OPT_INT(0, "batch-size", &(f)->batch_size, "N", 1,                                           \
                "most lines that are worked on together (default: 32)"),                             \
        OPT_INT(0, "threads", &(f)->threads, "N", 1,                                                 \
                "threads that work on lines (default: as many as there are CPUs)"),                  \
        OPT_INT(0, "max-line", &(f)->max_line, "BYTES", 1,                                           \
                "a longer line is an error (default: 67108864)")

/* The answer to one line; a negative result and *err become {"error": message}. */
typedef int filter_fn(void *user, const struct om_json *line, struct om_buf *out, struct om_error *err);

/* Filter the file f->input, or standard input for "-", to standard output. Gives the exit status: a bad line does not change it, a
 * file that cannot be read or written does. */
int filter_lines(struct cli *cli, const struct filter *f, filter_fn *fn, void *user);
/* The same for a command that answers several lines at once. */
int filter_batches(struct cli *cli, const struct filter *f, jsonl_fn *fn, void *user);

/* A tokenizer of a command line: a directory, a file, or an id of the Hub. */
struct om_tokenizer;
#define CLI_TOKENIZER_HELP                                                                         \
    "a directory with tokenizer.json or older files, that file, or a model on the Hub"
#define CLI_TARGET_HELP "Marian: the tokenizer of the language that is translated into"
int cli_open_tokenizer(struct cli *cli, const char *name, bool target, struct om_tokenizer **out,
                       struct om_error *err);

#endif
