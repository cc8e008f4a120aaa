/* tests/fault/fault.c: the wrapped functions, which count and fail on plan. */
#include "fault/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    bool armed;
    struct fault_plan plan;
    uint64_t calls, failed;
    bool json_failed; /* an allocation of jansson was made to fail */
} state = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Jansson's lexer writes past its buffer when it goes on after a failed allocation (2.14:
 * lex_save() drops a byte that lex_scan_string() relies on). So what fails for jansson keeps
 * failing until the next fault_arm(); that it reports such failures is all that can be tested. */
static void *json_alloc(size_t n)
{
    pthread_mutex_lock(&state.lock);
    const bool fail = state.armed && state.json_failed;
    pthread_mutex_unlock(&state.lock);
    void *const p = fail ? NULL : malloc(n);
    if (!p) {
        pthread_mutex_lock(&state.lock);
        state.json_failed = true;
        pthread_mutex_unlock(&state.lock);
    }
    return p;
}

void fault_arm(const struct fault_plan *plan)
{
    json_set_alloc_funcs(json_alloc, free); /* jansson is not linked with --wrap */
    pthread_mutex_lock(&state.lock);
    state.plan = *plan;
    state.calls = state.failed = 0;
    state.json_failed = false;
    state.armed = true;
    pthread_mutex_unlock(&state.lock);
}

uint64_t fault_disarm(void)
{
    pthread_mutex_lock(&state.lock);
    const uint64_t failed = state.failed;
    state.armed = false;
    pthread_mutex_unlock(&state.lock);
    return failed;
}

uint64_t fault_calls(void)
{
    pthread_mutex_lock(&state.lock);
    const uint64_t calls = state.calls;
    pthread_mutex_unlock(&state.lock);
    return calls;
}

static int default_error(enum fault_kind kind)
{
    switch (kind) {
    case FAULT_MEMORY:
        return ENOMEM;
    case FAULT_WRITE:
    case FAULT_COPY:
        return ENOSPC;
    case FAULT_REMOVE:
        return EACCES;
    case FAULT_READ:
        break;
    }
    return EIO;
}

/* Count a call; true, with errno set, when it is to fail. */
static bool fails(enum fault_kind kind)
{
    bool fail = false;
    int error = 0;

    pthread_mutex_lock(&state.lock);
    const struct fault_plan *const p = &state.plan;
    if (state.armed && p->kinds & kind && p->nth > 0) {
        state.calls++;
        fail = state.calls == p->nth || (p->lasting && state.calls > p->nth);
        state.failed += fail;
        error = p->error ? p->error : default_error(kind);
    }
    pthread_mutex_unlock(&state.lock);
    if (fail)
        errno = error;
    return fail;
}

static size_t at_most(size_t len)
{
    pthread_mutex_lock(&state.lock);
    if (state.armed && state.plan.most)
        len = OM_MIN(len, state.plan.most);
    pthread_mutex_unlock(&state.lock);
    return len;
}

/* WRAP(result type, name, failing result, kind, parameters, arguments) */
#define WRAP(type, name, failure, kind, params, args)        \
    type __real_##name params;                               \
    type __wrap_##name params;                               \
    type __wrap_##name params                                \
    {                                                        \
        return fails(kind) ? (failure) : __real_##name args; \
    }

WRAP(void *, malloc, NULL, FAULT_MEMORY, (size_t n), (n))
WRAP(void *, calloc, NULL, FAULT_MEMORY, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, NULL, FAULT_MEMORY, (void *p, size_t n), (p, n))
WRAP(void *, aligned_alloc, NULL, FAULT_MEMORY, (size_t align, size_t n), (align, n))
WRAP(char *, strdup, NULL, FAULT_MEMORY, (const char *s), (s))
WRAP(char *, strndup, NULL, FAULT_MEMORY, (const char *s, size_t n), (s, n))
WRAP(DIR *, opendir, NULL, FAULT_MEMORY, (const char *path), (path))
WRAP(void *, mmap64, MAP_FAILED, FAULT_MEMORY,
     (void *at, size_t len, int prot, int flags, int fd, off_t offset),
     (at, len, prot, flags, fd, offset))
WRAP(int, ftruncate64, -1, FAULT_WRITE, (int fd, off_t len), (fd, len))
WRAP(int, rename, -1, FAULT_WRITE, (const char *from, const char *to), (from, to))
WRAP(int, unlink, -1, FAULT_REMOVE, (const char *path), (path))
WRAP(int, mkdir, -1, FAULT_WRITE, (const char *path, mode_t mode), (path, mode))
WRAP(int, fstat64, -1, FAULT_READ, (int fd, struct stat *st), (fd, st))
WRAP(ssize_t, write, -1, FAULT_WRITE, (int fd, const void *p, size_t n), (fd, p, at_most(n)))
WRAP(ssize_t, pwrite64, -1, FAULT_WRITE, (int fd, const void *p, size_t n, off_t at),
     (fd, p, at_most(n), at))
WRAP(int, symlink, -1, FAULT_WRITE, (const char *target, const char *path), (target, path))
WRAP(ssize_t, read, -1, FAULT_READ, (int fd, void *p, size_t n), (fd, p, at_most(n)))
WRAP(ssize_t, pread64, -1, FAULT_READ, (int fd, void *p, size_t n, off_t at),
     (fd, p, at_most(n), at))
WRAP(ssize_t, copy_file_range, -1, FAULT_COPY,
     (int in, off_t *in_at, int out, off_t *out_at, size_t n, unsigned flags),
     (in, in_at, out, out_at, at_most(n), flags))

/* Waiting for the disk, some ten thousand times, would show nothing. */
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    (void)fd;
    return fails(FAULT_WRITE) ? -1 : 0;
}

int __wrap_asprintf(char **out, const char *fmt, ...) OM_PRINTF(2, 3);
int __wrap_asprintf(char **out, const char *fmt, ...)
{
    va_list ap;

    if (fails(FAULT_MEMORY))
        return -1;
    va_start(ap, fmt);
    const int n = vasprintf(out, fmt, ap);
    va_end(ap);
    return n;
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode = 0;

    if (fails(flags & O_CREAT ? FAULT_WRITE : FAULT_READ))
        return -1;
    if (flags & O_CREAT) {
        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    return __real_open64(path, flags, mode);
}

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list ap;

    if (fails(FAULT_COPY))
        return -1;
    va_start(ap, request);
    void *const arg = va_arg(ap, void *); /* an int argument has the same register */
    va_end(ap);
    return __real_ioctl(fd, request, arg);
}

void fault_sweep(struct test *t, unsigned kinds, int (*op)(void *user, struct om_error *err),
                 void (*clean)(struct test *t, void *user, int rc), void *user)
{
    for (int lasting = 0; lasting < 2; lasting++) {
        uint64_t failed = 1;
        for (uint64_t nth = 1; failed > 0 && !test_failed(t); nth++) {
            struct om_error err = OM_ERROR_INIT;
            fault_arm(&(struct fault_plan){ .kinds = kinds, .nth = nth, .lasting = lasting });
            const int rc = op(user, &err);
            failed = fault_disarm();
            test_case(t, "failure at call %" PRIu64 "%s", nth, lasting ? " and after" : "");
            CHECK(t, rc <= 0);
            CHECK(t, rc == 0 || om_error_text(&err)[0] != '\0');
            if (failed == 0)
                CHECK_OK(t, rc, &err);
            if (clean)
                clean(t, user, rc);
            om_error_release(&err);
        }
    }
    test_case(t, "%s", "");
}
