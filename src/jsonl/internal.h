/* src/jsonl/internal.h: the lines in flight, shared by the reader, the workers and the writer. */
#ifndef OM_JSONL_INTERNAL_H
#define OM_JSONL_INTERNAL_H

#include <pthread.h>

#include "jsonl/jsonl.h"

/* A line as it is read. */
struct jsonl_text {
    struct om_buf bytes; /* without the newline; its maximum is no limit here */
    bool too_long;       /* bytes are gone */
};

/* Move bytes from *rest to line, up to a newline, which is taken but not kept. True when there was one. A line of more than
 * max bytes loses them. */
bool jsonl_cut(om_sv *rest, size_t max, struct jsonl_text *line);

/* A place for a line, from its first byte to its answer's last. */
struct jsonl_slot {
    struct jsonl_text text;
    struct om_buf out; /* ends with a newline; failed: there was no memory even for a message */
    bool done;
};

/* Lines are numbered from 0 in the order of the input; line n lies in slots[n % window]. Lines below written are gone, those
 * below taken are with the workers or done, those below read wait for a worker, and the next one belongs to the reader. */
struct jsonl_flow {
    const struct jsonl *f; /* with the defaults filled in */
    int out;
    int wake; /* an eventfd: there is nothing more to read for */
    struct jsonl_slot *slots;
    size_t window;
    pthread_mutex_t lock;
    pthread_cond_t work, done, room; /* for workers, the writer, the reader */
    /* under the lock */
    uint64_t read, taken, written;
    size_t bytes;  /* of lines that are read and not written */
    bool paused;   /* the reader waits: workers take what there is */
    bool ended;    /* no more lines */
    bool stop;     /* whatever is left is dropped */
    int out_errno; /* why the writer stopped; 0: it did not */
    bool finished; /* the writer is at its end */
};

/* Write answers in order until all are written or the flow stops. */
void *jsonl_writer_main(void *flow);
/* Stop everybody; the lock is held. */
void jsonl_stop(struct jsonl_flow *w);
#endif
