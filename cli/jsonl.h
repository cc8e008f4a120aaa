/* cli/jsonl.h: filters: a JSON object a line in, one a line out, in the same order. */
#ifndef CLI_JSONL_H
#define CLI_JSONL_H

#include "base/buf.h"
#include "base/json.h"
#include "cli/cli.h"

/* Append the answer to one line to out, without a newline. A negative result becomes {"error": message} in its place. */
typedef int jsonl_fn(void *user, const struct om_json *line, struct om_buf *out, struct om_error *err);

/* Filter the file at path, or standard input for "-", to standard output. One line is in memory at a time. Gives the exit
 * status: a bad line does not change it, a file that cannot be read or written does. */
int jsonl_filter(struct cli *cli, const char *path, jsonl_fn *fn, void *user);

#endif
