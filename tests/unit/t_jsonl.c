/* tests/unit/t_jsonl.c: filters of JSON lines: order, bounds, bad lines, pauses, and ends of every
 * kind. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "jsonl/internal.h"
#include "test.h"

/* Answers {"n": N} by N; keeps the CPU busy for a while that differs from line to line. */
struct echo {
    atomic_int calls, largest, shorter; /* calls; lines of the largest; calls that were not full */
    size_t batch_size;
    bool uneven;
};

static void echo(void *user, struct jsonl_line *lines, size_t n)
{
    struct echo *const e = user;
    int64_t number;

    atomic_fetch_add(&e->calls, 1);
    if ((int)n > atomic_load(&e->largest))
        atomic_store(&e->largest, (int)n);
    atomic_fetch_add(&e->shorter, n < e->batch_size);
    for (size_t i = 0; i < n; i++) {
        if (!om_json_i64(om_json_get(lines[i].request, "n"), &number)) {
            om_buf_adds(lines[i].out, "to be dropped");
            om_fail(&lines[i].err, OM_E_FORMAT, "no number");
            continue;
        }
        if (e->uneven && number % 7 == 0)
            usleep((useconds_t)(number % 3) * 100);
        om_buf_printf(lines[i].out, "%" PRId64, number);
    }
}

static int file_of(const char *text, size_t len)
{
    const int fd = memfd_create("lines", MFD_CLOEXEC);

    if (fd >= 0 && write(fd, text, len) == (ssize_t)len && lseek(fd, 0, SEEK_SET) == 0)
        return fd;
    perror("memfd");
    exit(2);
}

static char *contents(int fd)
{
    const off_t len = lseek(fd, 0, SEEK_END);
    char *const text = calloc(1, (size_t)len + 1);

    if (!text || pread(fd, text, (size_t)len, 0) != len)
        exit(2);
    return text;
}

/* What the filter makes of a file; to be freed. */
static char *filtered(struct test *t, const struct jsonl *f, const char *text, size_t len)
{
    const int in = file_of(text, len), out = file_of("", 0);
    struct om_error err = OM_ERROR_INIT;
    bool closed = true;

    CHECK_OK(t, jsonl_run(NULL, f, in, "lines", out, &closed, &err), &err);
    CHECK(t, !closed);
    char *const got = contents(out);
    close(in);
    close(out);
    om_error_release(&err);
    return got;
}

static void numbers(struct om_buf *lines, struct om_buf *want, int n)
{
    for (int i = 0; i < n; i++) {
        om_buf_printf(lines, "{\"n\": %d}\n", i);
        om_buf_printf(want, "%d\n", i);
    }
}

static void keeps_order(struct test *t)
{
    static const struct {
        size_t threads, batch_size;
        int lines;
    } cases[] = { { 1, 1, 100 },   { 16, 1, 3000 }, { 16, 7, 3000 }, { 3, 64, 1000 },
                  { 2, 4096, 50 }, { 0, 0, 500 },   { 4, 5, 0 },     { 300, 10000, 20 } };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_buf lines = OM_BUF_INIT(SIZE_MAX / 2), want = OM_BUF_INIT(SIZE_MAX / 2);
        struct echo e = { .uneven = true, .batch_size = OM_MAX(cases[i].batch_size, 1) };
        const struct jsonl f = {
            .fn = echo, .user = &e, .threads = cases[i].threads, .batch_size = cases[i].batch_size
        };
        test_case(t, "%zu threads, %zu lines a call", cases[i].threads, cases[i].batch_size);
        numbers(&lines, &want, cases[i].lines);
        char *const got = filtered(t, &f, om_buf_sv(&lines).ptr, lines.len);
        CHECK_STR(t, got, om_buf_sv(&want).ptr);
        /* A file is always cut into the same calls. */
        CHECK_INT(t, e.calls, (cases[i].lines + e.batch_size - 1) / e.batch_size);
        CHECK(t, e.shorter <= 1);
        free(got);
        om_buf_release(&lines);
        om_buf_release(&want);
    }
}

static void bad_lines(struct test *t)
{
#define LINE(in, out)           \
    {                           \
        in, sizeof(in) - 1, out \
    }
    static const struct {
        const char *in;
        size_t len;
        const char *out;
    } cases[] = {
        LINE("", ""),
        LINE("{\"n\":1}", "1\n"), /* no newline at the end */
        LINE("{\"n\":1}\r\n{\"n\":2}\r\n", "1\n2\n"),
        LINE("\n", "{\"error\": \"the line is empty\"}\n"),
        LINE(" \r\n{\"n\":1}\n", "{\"error\": \"the line is empty\"}\n1\n"),
        LINE("[1]\n{\"n\":1}\n", "{\"error\": \"expected an object, found array\"}\n1\n"),
        LINE("{\"n\":\"x\"}\n{\"n\":1}\n", "{\"error\": \"no number\"}\n1\n"),
        LINE("{\"n\":1\0}\n{\"n\":2}\n", "{\"error\": \"column 7: NUL byte\"}\n2\n"),
        LINE("{\"n\":1}{\"n\":1}\n", "{\"error\": \"column 9: end of file expected near '{'\"}\n"),
        LINE("{\"\xff\":1}\n",
             "{\"error\": \"column 3: unable to decode byte 0xff near '\\\"'\"}\n"),
        LINE("\xef\xbb\xbf{}\n", "{\"error\": \"column 2: invalid token near '\xef\xbb\xbf'\"}\n"),
        LINE("{\"n\":1,\"pad\":\"0123456789012345678901234567890123456789\"}\n{\"n\":3}\n",
             "{\"error\": \"the line is longer than 40 bytes\"}\n3\n"),
        LINE("{\"n\":                               123}\n{\"n\":4}", "123\n4\n"), /* 40 bytes */
        LINE("0123456789012345678901234567890123456789!",
             "{\"error\": \"the line is longer than 40 bytes\"}\n"),
    };
#undef LINE
    struct echo e = { .batch_size = 3 };
    const struct jsonl f = {
        .fn = echo, .user = &e, .threads = 2, .batch_size = 3, .max_line = 40
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "case %zu", i);
        char *const got = filtered(t, &f, cases[i].in, cases[i].len);
        CHECK_STR(t, got, cases[i].out);
        free(got);
    }
}

/* 48 MiB in one line between two others, under a limit that lets it pass. */
static void huge_line(struct test *t)
{
    const size_t len = 48 << 20;
    char *const text = malloc(len + 64);
    struct echo e = { .batch_size = 8 };
    const struct jsonl f = { .fn = echo, .user = &e, .threads = 2, .batch_size = 8 };

    CHECK(t, text != NULL);
    if (!text)
        return;
    size_t at = (size_t)sprintf(text, "{\"n\":1}\n{\"n\":2,\"x\":\"");
    memset(text + at, 'x', len);
    at += len;
    at += (size_t)sprintf(text + at, "\"}\n{\"n\":3}\n");
    char *const got = filtered(t, &f, text, at);
    CHECK_STR(t, got, "1\n2\n3\n");
    free(got);
    free(text);
}

/* ---- a filter in another thread, talked to through pipes ---- */

struct talk {
    struct jsonl f;
    struct om_ctx *ctx;
    int in[2], out[2];
    pthread_t thread;
    int rc;
    bool closed;
};

static void *talk_main(void *arg)
{
    struct talk *const k = arg;

    k->rc = jsonl_run(k->ctx, &k->f, k->in[0], "lines", k->out[1], &k->closed, NULL);
    return NULL;
}

static void talk_begin(struct test *t, struct talk *k, struct echo *e)
{
    *k = (struct talk){ .f = { .fn = echo, .user = e, .threads = 2, .batch_size = 8 } };
    k->ctx = om_ctx_new();
    CHECK_INT(t, pipe(k->in), 0);
    CHECK_INT(t, pipe(k->out), 0);
    CHECK_INT(t, pthread_create(&k->thread, NULL, talk_main, k), 0);
}

static void talk_end(struct talk *k)
{
    pthread_join(k->thread, NULL);
    close(k->in[0]);
    close(k->out[1]);
    om_ctx_free(k->ctx);
}

static void say(struct test *t, const struct talk *k, const char *text)
{
    CHECK_INT(t, write(k->in[1], text, strlen(text)), strlen(text));
}

/* The answers, once there are as many bytes as expected. */
static void hear(struct test *t, const struct talk *k, const char *want)
{
    char got[256] = "";
    size_t len = 0;

    while (len < strlen(want)) {
        struct pollfd fd = { .fd = k->out[0], .events = POLLIN };
        if (poll(&fd, 1, 10000) != 1)
            break;
        const ssize_t n = read(k->out[0], got + len, strlen(want) - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    CHECK_STR(t, got, want);
}

static void answers_when_input_pauses(struct test *t)
{
    struct echo e = { .batch_size = 8 };
    struct talk k;

    talk_begin(t, &k, &e);
    say(t, &k, "{\"n\":1}\n{\"n\":2}\n{\"n\"");
    hear(t, &k, "1\n2\n");
    say(t, &k, ":3}\n");
    hear(t, &k, "3\n");
    say(t, &k, "{\"n\":4}");
    close(k.in[1]);
    hear(t, &k, "4\n");
    talk_end(&k);
    CHECK_INT(t, k.rc, 0);
    CHECK(t, !k.closed);
    close(k.out[0]);
}

/* More answers than the pipe holds, and nobody who reads them. */
static void *say_much(void *arg)
{
    const struct talk *const k = arg;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < 100000; i++)
        if (dprintf(k->in[1], "{\"n\":%d}\n", i) < 0)
            break;
    close(k->in[1]);
    return NULL;
}

static void output_goes_away(struct test *t)
{
    struct echo e = { .batch_size = 8 };
    struct talk k;
    pthread_t much;

    test_case(t, "while it is written");
    talk_begin(t, &k, &e);
    CHECK_INT(t, pthread_create(&much, NULL, say_much, &k), 0);
    hear(t, &k, "0\n1\n");
    close(k.out[0]);
    talk_end(&k);
    pthread_join(much, NULL);
    CHECK_INT(t, k.rc, 0);
    CHECK(t, k.closed);

    test_case(t, "while there is no input");
    talk_begin(t, &k, &e);
    say(t, &k, "{\"n\":1}\n");
    hear(t, &k, "1\n");
    close(k.out[0]);
    talk_end(&k);
    close(k.in[1]);
    CHECK_INT(t, k.rc, 0);
    CHECK(t, k.closed);
}

static void cancelled_when_blocked(struct test *t)
{
    struct echo e = { .batch_size = 8 };
    struct talk k;
    pthread_t much;

    test_case(t, "on output");
    talk_begin(t, &k, &e);
    CHECK_INT(t, pthread_create(&much, NULL, say_much, &k), 0);
    hear(t, &k, "0\n");
    usleep(50000);
    om_ctx_cancel(k.ctx);
    talk_end(&k);
    pthread_join(much, NULL);
    close(k.out[0]);
    CHECK_INT(t, k.rc, OM_E_CANCELLED);

    test_case(t, "before it began");
    talk_begin(t, &k, &e);
    om_ctx_cancel(k.ctx);
    say(t, &k, "{\"n\":1}\n");
    talk_end(&k);
    close(k.in[1]);
    close(k.out[0]);
    CHECK_INT(t, k.rc, OM_E_CANCELLED);
}

static void descriptors_that_fail(struct test *t)
{
    struct echo e = { .batch_size = 1 };
    const struct jsonl f = { .fn = echo, .user = &e, .threads = 1 };
    struct om_error err = OM_ERROR_INIT;
    const int in = file_of("{\"n\":1}\n", 8), out = file_of("", 0);
    bool closed;

    test_case(t, "an output that cannot be written");
    const int read_only = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK_INT(t, jsonl_run(NULL, &f, in, "lines", read_only, &closed, &err), OM_E_IO);
    CHECK_HAS(t, om_error_text(&err), "output: ");
    om_error_release(&err);
    close(read_only);

    test_case(t, "a directory");
    const int dir = open("/", O_RDONLY | O_CLOEXEC);
    CHECK_INT(t, jsonl_run(NULL, &f, dir, "lines", out, &closed, &err), OM_E_IO);
    CHECK_HAS(t, om_error_text(&err), "lines: Is a directory");
    om_error_release(&err);
    close(dir);
    close(in);
    close(out);
}

const struct test_entry t_jsonl[] = { { "keeps_order", keeps_order },
                                      { "bad_lines", bad_lines },
                                      { "huge_line", huge_line },
                                      { "answers_when_input_pauses", answers_when_input_pauses },
                                      { "output_goes_away", output_goes_away },
                                      { "cancelled_when_blocked", cancelled_when_blocked },
                                      { "descriptors_that_fail", descriptors_that_fail },
                                      TEST_END };
