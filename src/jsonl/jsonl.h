/* src/jsonl/jsonl.h: a filter of JSON lines: an object a line in, an answer a line out, in the same order.
 *
 * Lines are answered by several threads, several lines at a time, while more are read; what is in memory is bounded by the number
 * of lines in flight and by their bytes. Every line gets its line: a bad one {"error": message}. Nothing waits for more input than
 * there is: when the input pauses, what was read is answered and written, so that a filter can be talked to. */
#ifndef OM_JSONL_H
#define OM_JSONL_H

#include "base/buf.h"
#include "base/json.h"

enum {
    JSONL_THREADS_MAX = 256,
    JSONL_BATCH_MAX = 4096,
    JSONL_LINE_MAX = 64 << 20, /* the default for max_line */
};

/* A line under work. A failure, recorded in err, takes the place of what was written to out. */
struct jsonl_line {
    om_sv text;
    const struct om_json *request; /* the same, read: an object */
    struct om_buf *out;            /* the answer goes here, without a newline */
    struct om_error err;
};

/* Answer n lines; called by several threads at once. */
typedef void jsonl_fn(void *user, struct jsonl_line *lines, size_t n);

struct jsonl {
    jsonl_fn *fn;
    void *user;
    size_t threads;    /* that call fn; 0: as many as there are CPUs */
    size_t batch_size; /* most lines of a call; 0: one. Calls get fewer only at the end, when the input pauses, and for
                        * lines of many megabytes: what is read from a file is always cut into the same calls */
    size_t max_line;   /* bytes; a longer line is an error in place, its bytes are not kept. 0: JSONL_LINE_MAX */
};

/* Filter descriptor in to descriptor out until the input ends. OM_E_CANCELLED soon after a signal handler cancels ctx, also
 * while input or output block; lines that were begun are finished, but not written. *closed tells that nobody reads the output any
 * more, which is no error. SIGPIPE is not raised. in_name is for messages. */
int jsonl_run(struct om_ctx *ctx, const struct jsonl *f, int in, const char *in_name, int out, bool *closed,
              struct om_error *err);

#endif
