/* src/jsonl/writer.c: answers to the output, in order.
 *
 * The output may block for as long as its reader likes. So that the filter can be cancelled
 * meanwhile, nothing is written before poll() says that there is room, and to what is no regular
 * file no more than PIPE_BUF bytes at once, which then do not block. */
#include "jsonl/internal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    COLLECTED = 1 << 16, /* small answers go out together */
    LOOK_MS = 100,       /* how often a blocked write looks whether it is still wanted */
    KEEP = 1 << 16       /* memory that a slot keeps for its next line */
};

struct writer {
    struct jsonl_flow *w;
    size_t chunk; /* bytes of a write */
    char bytes[COLLECTED];
    size_t len;
    int failed; /* errno */
};

void jsonl_stop(struct jsonl_flow *w)
{
    w->stop = true;
    pthread_cond_broadcast(&w->work);
    pthread_cond_broadcast(&w->done);
    pthread_cond_broadcast(&w->room);
    eventfd_write(w->wake, 1);
}

static bool stopped(struct jsonl_flow *w)
{
    pthread_mutex_lock(&w->lock);
    const bool stop = w->stop;
    pthread_mutex_unlock(&w->lock);
    return stop;
}

static void write_all(struct writer *o, const char *data, size_t len)
{
    struct pollfd room = { .fd = o->w->out, .events = POLLOUT };

    while (len > 0 && !o->failed && !stopped(o->w)) {
        if (poll(&room, 1, LOOK_MS) <= 0)
            continue;
        const ssize_t n = write(o->w->out, data, OM_MIN(len, o->chunk));
        if (n < 0) {
            o->failed = errno == EINTR || errno == EAGAIN ? 0 : errno;
            continue;
        }
        data += n;
        len -= (size_t)n;
    }
}

static void flush(struct writer *o)
{
    write_all(o, o->bytes, o->len);
    o->len = 0;
}

static void put(struct writer *o, om_sv text)
{
    if (text.len > COLLECTED - o->len)
        flush(o);
    if (text.len > COLLECTED) {
        write_all(o, text.ptr, text.len);
        return;
    }
    memcpy(o->bytes + o->len, text.ptr, text.len);
    o->len += text.len;
}

static void reuse(struct om_buf *b)
{
    if (b->cap > KEEP)
        om_buf_release(b);
    om_buf_clear(b);
    b->failed = false;
}

/* The answers [from, to), which nobody else looks at now. Gives the bytes that their lines had. */
static size_t put_range(struct writer *o, uint64_t from, uint64_t to)
{
    size_t bytes = 0;

    for (; from < to; from++) {
        struct jsonl_slot *const s = &o->w->slots[from % o->w->window];
        put(o, s->out.failed ? OM_SVL("{\"error\": \"out of memory\"}\n") : om_buf_sv(&s->out));
        bytes += s->text.bytes.len;
        reuse(&s->text.bytes);
        reuse(&s->out);
        s->text.too_long = false;
        s->done = false;
    }
    return bytes;
}

/* Where the answers that can be written now end; the lock is held. */
static uint64_t done_until(const struct jsonl_flow *w)
{
    uint64_t end = w->written;

    while (end < w->taken && w->slots[end % w->window].done)
        end++;
    return end;
}

/* One turn; the lock is held, but not meanwhile. */
static void write_until(struct writer *o, uint64_t end)
{
    struct jsonl_flow *const w = o->w;
    const uint64_t from = w->written;

    pthread_mutex_unlock(&w->lock);
    const size_t bytes = put_range(o, from, end);
    pthread_mutex_lock(&w->lock);
    w->written = end;
    w->bytes -= bytes;
    pthread_cond_signal(&w->room);
    if (done_until(w) > end)
        return; /* more goes into the same write */
    pthread_mutex_unlock(&w->lock);
    flush(o);
    pthread_mutex_lock(&w->lock);
}

static void run(struct writer *o)
{
    struct jsonl_flow *const w = o->w;

    while (!w->stop && !(w->ended && w->written == w->read)) {
        const uint64_t end = done_until(w);
        if (end == w->written)
            pthread_cond_wait(&w->done, &w->lock);
        else
            write_until(o, end);
        if (o->failed) {
            w->out_errno = o->failed;
            jsonl_stop(w);
        }
    }
}

/* A closed pipe is an errno here: the signal is blocked and ends with the thread. */
static void block_sigpipe(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void *jsonl_writer_main(void *flow)
{
    struct writer o = { .w = flow };
    struct stat st;

    block_sigpipe();
    o.chunk = fstat(o.w->out, &st) == 0 && S_ISREG(st.st_mode) ? COLLECTED : PIPE_BUF;
    pthread_mutex_lock(&o.w->lock);
    run(&o);
    o.w->finished = true;
    pthread_cond_signal(&o.w->room);
    pthread_mutex_unlock(&o.w->lock);
    return NULL;
}
