/* src/jsonl/jsonl.c: the reader, which is the calling thread, and the workers. */
#include "jsonl/internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/thread.h"

enum {
    CHUNK = 1 << 18,
    LINGER_MS = 1, /* a shorter gap in the input is no pause */
    LOOK_MS = 100, /* how often a wait for other threads looks whether it was cancelled */
    BYTES_IN_FLIGHT = 128 << 20, /* one line may go beyond */
    WINDOW_CALLS = 2             /* lines in flight: so many calls of each worker, and one */
};

/* ---- workers ---- */

struct worker {
    struct jsonl_flow *w;
    struct jsonl_line *lines; /* batch_size of each */
    struct om_json **docs;
    size_t len;
};

/* The parser counts lines, of which there is one. */
static int parse_text(om_sv text, struct om_json **doc, struct om_error *err)
{
    static const char line_1[] = "line 1, ";
    struct om_error own = OM_ERROR_INIT;
    const int rc = om_json_parse(text, OM_JSON_LAST_WINS, doc, &own);
    const char *message = om_error_text(&own);

    if (strncmp(message, line_1, strlen(line_1)) == 0)
        message += strlen(line_1);
    if (rc < 0)
        om_fail(err, rc, "%s", message);
    om_error_release(&own);
    return rc;
}

/* The line as JSON, ready for fn; false: err says why not. */
static bool parse(const struct jsonl_flow *w, struct jsonl_slot *s, struct jsonl_line *l,
                  struct om_json **doc)
{
    const struct om_buf *const bytes = &s->text.bytes;

    *doc = NULL;
    *l = (struct jsonl_line){ .text = om_buf_sv(bytes), .out = &s->out, .err = OM_ERROR_INIT };
    if (s->text.too_long)
        om_fail(&l->err, OM_E_LIMIT, "the line is longer than %zu bytes", w->f->max_line);
    else if (bytes->failed)
        om_fail(&l->err, OM_E_NOMEM, "out of memory for the line");
    else if (om_sv_trim(om_buf_sv(bytes)).len == 0)
        om_fail(&l->err, OM_E_FORMAT, "the line is empty");
    else if (parse_text(om_buf_sv(bytes), doc, &l->err) == 0 &&
             om_json_kind(*doc) != OM_JSON_OBJECT)
        om_fail(&l->err, OM_E_FORMAT, "expected an object, found %s", om_json_kind_text(*doc));
    l->request = *doc;
    return l->err.code == 0;
}

/* A message may quote the line, whose bytes need not be UTF-8. */
static void put_message(struct om_buf *out, const char *text)
{
    const om_sv message = om_sv_str(text);

    if (om_utf8_valid(message)) {
        om_buf_json_string(out, message);
        return;
    }
    om_buf_addc(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\' || (unsigned char)*text < ' ')
            om_buf_printf(out, "\\u%04x", (unsigned char)*text);
        else if ((unsigned char)*text < 0x80)
            om_buf_addc(out, *text);
        else
            om_buf_adds(out, "\\ufffd");
    }
    om_buf_addc(out, '"');
}

static void finish(struct jsonl_line *l)
{
    struct om_buf *const out = l->out;

    if (l->err.code == 0)
        om_buf_check(out, &l->err);
    if (l->err.code < 0) {
        om_buf_clear(out);
        out->failed = false;
        om_buf_adds(out, "{\"error\": ");
        put_message(out, om_error_text(&l->err));
        om_buf_addc(out, '}');
    }
    om_buf_addc(out, '\n');
    om_error_release(&l->err);
}

/* Answer n lines from first on. */
static void answer(struct worker *k, uint64_t first, size_t n)
{
    const struct jsonl_flow *const w = k->w;

    k->len = 0;
    for (size_t i = 0; i < n; i++) {
        struct jsonl_line *const l = &k->lines[k->len];
        if (parse(w, &w->slots[(first + i) % w->window], l, &k->docs[k->len])) {
            k->len++;
        } else {
            om_json_free(k->docs[k->len]);
            finish(l);
        }
    }
    if (k->len)
        w->f->fn(w->f->user, k->lines, k->len);
    for (size_t i = 0; i < k->len; i++) {
        finish(&k->lines[i]);
        om_json_free(k->docs[i]);
    }
}

/* Lines for one call; 0: there are no more. The lock is held. */
static size_t take(struct jsonl_flow *w, uint64_t *first)
{
    uint64_t waiting;

    while (waiting = w->read - w->taken,
           !w->stop && !w->ended && waiting < w->f->batch_size && !(w->paused && waiting > 0))
        pthread_cond_wait(&w->work, &w->lock);
    if (w->stop)
        return 0;
    const size_t n = (size_t)OM_MIN(waiting, w->f->batch_size);
    *first = w->taken;
    w->taken += n;
    return n;
}

static void *worker_main(void *arg)
{
    struct worker *const k = arg;
    struct jsonl_flow *const w = k->w;
    uint64_t first = 0;
    size_t n;

    pthread_mutex_lock(&w->lock);
    while ((n = take(w, &first)) > 0) {
        pthread_mutex_unlock(&w->lock);
        answer(k, first, n);
        pthread_mutex_lock(&w->lock);
        for (size_t i = 0; i < n; i++)
            w->slots[(first + i) % w->window].done = true;
        pthread_cond_signal(&w->done);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- the reader ---- */

struct reader {
    struct jsonl_flow *w;
    struct om_ctx *ctx;
    struct om_error *err;
    int in;
    const char *in_name;
    struct jsonl_slot *open; /* the line that is being read; NULL: none has begun */
    bool deserted;           /* nobody reads the output */
    char chunk[CHUNK];
};

/* Wait for another thread; the lock is held. Signals come here, so the wait is short. */
static void wait_room(struct jsonl_flow *w)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LOOK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&w->room, &w->lock, &until);
}

static void pause_input(struct jsonl_flow *w, bool paused)
{
    w->paused = paused;
    if (paused)
        pthread_cond_broadcast(&w->work);
}

/* A slot for the next line in r->open, which stays NULL when there is nobody left to read for. */
static int open_line(struct reader *r)
{
    struct jsonl_flow *const w = r->w;
    int rc = 0;

    pthread_mutex_lock(&w->lock);
    while (rc == 0 && !w->stop &&
           (w->read - w->written == w->window || w->bytes > BYTES_IN_FLIGHT)) {
        /* Lines that wait for their call to be full could hold the bytes. */
        pause_input(w, w->bytes > BYTES_IN_FLIGHT);
        wait_room(w);
        rc = om_ctx_check(r->ctx, r->err);
    }
    pause_input(w, false);
    if (rc == 0 && !w->stop)
        r->open = &w->slots[w->read % w->window];
    pthread_mutex_unlock(&w->lock);
    return rc;
}

static void close_line(struct reader *r)
{
    struct jsonl_flow *const w = r->w;

    pthread_mutex_lock(&w->lock);
    w->bytes += r->open->text.bytes.len;
    w->read++;
    if (w->read - w->taken >= w->f->batch_size)
        pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
    r->open = NULL;
}

/* Wait for input. A signal that comes between the check and the wait must not be lost, so it is let
 * in by ppoll() alone. */
static int poll_input(struct reader *r, const struct timespec *timeout, bool *ready, bool *over)
{
    struct pollfd fds[] = { { .fd = r->in, .events = POLLIN },
                            { .fd = r->w->wake, .events = POLLIN },
                            { .fd = r->w->out } }; /* POLLERR: its reader has gone */
    sigset_t interrupts, before;

    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigaddset(&interrupts, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &interrupts, &before);
    int rc = om_ctx_check(r->ctx, r->err);
    if (rc == 0 && ppoll(fds, OM_COUNT(fds), timeout, &before) < 0 && errno != EINTR)
        rc = om_fail(r->err, OM_E_IO, "%s: %s", r->in_name, strerror(errno));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    OM_TRY(rc);
    *ready = fds[0].revents != 0;
    r->deserted = (fds[2].revents & POLLERR) != 0;
    *over = fds[1].revents != 0 || r->deserted;
    return om_ctx_check(r->ctx, r->err);
}

static void set_paused(struct jsonl_flow *w, bool paused)
{
    pthread_mutex_lock(&w->lock);
    pause_input(w, paused);
    pthread_mutex_unlock(&w->lock);
}

static int wait_input(struct reader *r, bool *over)
{
    static const struct timespec linger = { 0, LINGER_MS * 1000000L };
    bool ready = false;

    OM_TRY(poll_input(r, &linger, &ready, over));
    if (ready || *over)
        return 0;
    set_paused(r->w, true);
    while (!ready && !*over)
        OM_TRY(poll_input(r, NULL, &ready, over));
    set_paused(r->w, false);
    return 0;
}

static int split(struct reader *r, om_sv rest)
{
    while (rest.len > 0) {
        if (!r->open)
            OM_TRY(open_line(r));
        if (!r->open)
            return 0;
        if (jsonl_cut(&rest, r->w->f->max_line, &r->open->text))
            close_line(r);
    }
    return 0;
}

/* The next bytes, taken apart. *more: there may be others. */
static int read_some(struct reader *r, bool *more)
{
    bool over = false;

    OM_TRY(wait_input(r, &over));
    *more = !over;
    if (over)
        return 0;
    const ssize_t n = read(r->in, r->chunk, sizeof(r->chunk));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n < 0)
        return om_fail(r->err, OM_E_IO, "%s: %s", r->in_name, strerror(errno));
    *more = n > 0;
    return split(r, (om_sv){ r->chunk, (size_t)n });
}

/* Until everything is written. */
static int wait_end(struct reader *r)
{
    struct jsonl_flow *const w = r->w;
    int rc = 0;

    pthread_mutex_lock(&w->lock);
    w->ended = true;
    pthread_cond_broadcast(&w->work);
    pthread_cond_signal(&w->done);
    while (rc == 0 && !w->finished) {
        wait_room(w);
        rc = om_ctx_check(r->ctx, r->err);
    }
    pthread_mutex_unlock(&w->lock);
    return rc;
}

static int read_all(struct reader *r)
{
    bool more = true;

    while (more)
        OM_TRY(read_some(r, &more));
    if (r->open)
        close_line(r); /* without a newline */
    return wait_end(r);
}

/* ---- threads ---- */

struct crew {
    struct worker workers[JSONL_THREADS_MAX];
    pthread_t threads[JSONL_THREADS_MAX + 1]; /* the writer comes last */
    size_t len;
};

static int start(struct jsonl_flow *w, struct crew *c, struct om_error *err)
{
    int rc = 0;

    for (size_t i = 0; i < w->f->threads && rc == 0; i++) {
        c->workers[i] =
            (struct worker){ .w = w,
                             .lines = calloc(w->f->batch_size, sizeof(struct jsonl_line)),
                             .docs = calloc(w->f->batch_size, sizeof(struct om_json *)) };
        if (!c->workers[i].lines || !c->workers[i].docs)
            return om_fail(err, OM_E_NOMEM, "out of memory for %zu lines", w->f->batch_size);
        rc = pthread_create(&c->threads[c->len], NULL, worker_main, &c->workers[i]);
        c->len += rc == 0;
    }
    if (rc == 0) {
        rc = pthread_create(&c->threads[c->len], NULL, jsonl_writer_main, w);
        c->len += rc == 0;
    }
    return rc == 0 ? 0 : om_fail(err, OM_E_IO, "a thread cannot be made: %s", strerror(rc));
}

/* Interrupts are for the reader. */
static int start_masked(struct jsonl_flow *w, struct crew *c, struct om_error *err)
{
    sigset_t interrupts, before;

    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigaddset(&interrupts, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &interrupts, &before);
    const int rc = start(w, c, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static void join(struct jsonl_flow *w, struct crew *c)
{
    pthread_mutex_lock(&w->lock);
    jsonl_stop(w); /* which is late, but for a failure */
    pthread_mutex_unlock(&w->lock);
    while (c->len > 0)
        pthread_join(c->threads[--c->len], NULL);
    for (size_t i = 0; i < JSONL_THREADS_MAX; i++) {
        free(c->workers[i].lines);
        free(c->workers[i].docs);
    }
}

static int run(struct jsonl_flow *w, struct reader *r, bool *closed)
{
    struct crew *const crew = calloc(1, sizeof(*crew));

    if (!crew)
        return om_fail(r->err, OM_E_NOMEM, "out of memory for %zu threads", w->f->threads);
    int rc = start_masked(w, crew, r->err);
    if (rc == 0)
        rc = read_all(r);
    join(w, crew);
    free(crew);
    *closed = rc == 0 && (w->out_errno == EPIPE || (w->out_errno == 0 && r->deserted));
    if (rc == 0 && w->out_errno != 0 && !*closed)
        rc = om_fail(r->err, OM_E_IO, "output: %s", strerror(w->out_errno));
    return rc;
}

static struct jsonl with_defaults(const struct jsonl *f)
{
    struct jsonl out = *f;

    out.threads = OM_MIN(f->threads ? f->threads : om_cpu_count(), (size_t)JSONL_THREADS_MAX);
    out.batch_size = OM_MIN(OM_MAX(f->batch_size, 1), (size_t)JSONL_BATCH_MAX);
    out.max_line = f->max_line ? f->max_line : JSONL_LINE_MAX;
    return out;
}

static bool make_slots(struct jsonl_flow *w)
{
    w->window = (WINDOW_CALLS * w->f->threads + 1) * w->f->batch_size;
    w->slots = calloc(w->window, sizeof(*w->slots));
    for (size_t i = 0; w->slots && i < w->window; i++)
        w->slots[i].text.bytes.max = w->slots[i].out.max = SIZE_MAX / 2;
    return w->slots != NULL;
}

static void free_slots(struct jsonl_flow *w)
{
    for (size_t i = 0; w->slots && i < w->window; i++) {
        om_buf_release(&w->slots[i].text.bytes);
        om_buf_release(&w->slots[i].out);
    }
    free(w->slots);
}

int jsonl_run(struct om_ctx *ctx, const struct jsonl *f, int in, const char *in_name, int out,
              bool *closed, struct om_error *err)
{
    const struct jsonl filled = with_defaults(f);
    struct jsonl_flow w = { .f = &filled,
                            .out = out,
                            .wake = eventfd(0, EFD_CLOEXEC),
                            .lock = PTHREAD_MUTEX_INITIALIZER,
                            .work = PTHREAD_COND_INITIALIZER,
                            .done = PTHREAD_COND_INITIALIZER,
                            .room = PTHREAD_COND_INITIALIZER };
    struct reader *const r = calloc(1, sizeof(*r));
    int rc;

    *closed = false;
    if (w.wake < 0) {
        rc = om_fail(err, OM_E_IO, "eventfd: %s", strerror(errno));
    } else if (!r || !make_slots(&w)) {
        rc = om_fail(err, OM_E_NOMEM, "out of memory for %zu lines", w.window);
    } else {
        r->w = &w, r->ctx = ctx, r->err = err, r->in = in, r->in_name = in_name;
        rc = run(&w, r, closed);
    }
    free_slots(&w);
    free(r);
    if (w.wake >= 0)
        close(w.wake);
    return rc;
}
