/* src/base/out.c: output files that appear under their name only when they are complete. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* One system call moves at most CHUNK bytes, so that progress shows and a cancel is seen soon.
 * Copies below SMALL are cheaper through the buffer than as a flush and a call of their own. */
enum { BUFFER = OM_OUT_BUFFER, SMALL = 128 << 10, CHUNK = 32 << 20, PAGE = 4 << 10 };

static int fail_errno(const struct om_out *o, const char *what, struct om_error *err)
{
    return om_fail(err, errno == ENOMEM ? OM_E_NOMEM : OM_E_IO, "%s: %s: %s", o->path, what,
                   strerror(errno));
}

/* ---- opening ---- */

static bool is_named(const struct stat *st, const char *path)
{
    struct stat named;

    return lstat(path, &named) == 0 && st->st_dev == named.st_dev && st->st_ino == named.st_ino;
}

/* Not every file system has locks; without them a leftover is still replaced. */
static bool lock_unavailable(int error)
{
    return error == ENOLCK || error == ENOSYS || error == EOPNOTSUPP || error == EINVAL;
}

static int lock_partial(const struct om_out *o, struct om_error *err)
{
    if (flock(o->fd, LOCK_EX | LOCK_NB) == 0 || lock_unavailable(errno))
        return 0;
    if (errno == EWOULDBLOCK)
        return om_fail(err, OM_E_IO, "%s: another process is writing this file", o->path);
    return fail_errno(o, "cannot lock the file", err);
}

/* Open and lock the partial file. Between the two another run may have renamed or removed it: then
 * the lock is on a file that has no name any more, and *retry asks for another attempt. A new file
 * is not truncated: ext4 takes that for a replacement and waits on closing until the disk has its
 * data. */
static int open_locked(struct om_out *o, bool *retry, struct om_error *err)
{
    struct stat st;
    int rc = 0;

    *retry = false;
    o->fd = open(o->partial, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (o->fd < 0)
        return fail_errno(o, "cannot create the file", err);
    OM_TRY(lock_partial(o, err));
    if (fstat(o->fd, &st) < 0)
        rc = fail_errno(o, "cannot examine the file", err);
    else if (!S_ISREG(st.st_mode))
        return om_fail(err, OM_E_IO, "%s: %s is in the way", o->path, o->partial);
    else if (!is_named(&st, o->partial))
        *retry = true;
    else if (st.st_size > 0 && ftruncate(o->fd, 0) < 0)
        rc = fail_errno(o, "cannot empty the leftover of an earlier run", err);
    if (rc < 0)
        unlink(o->partial);
    return rc;
}

static int open_partial(struct om_out *o, struct om_error *err)
{
    bool retry = true;

    for (int attempt = 0; attempt < 16; attempt++) {
        OM_TRY(open_locked(o, &retry, err));
        if (!retry)
            return 0;
        close(o->fd);
        o->fd = -1;
    }
    return om_fail(err, OM_E_IO, "%s: another process is writing this file", o->path);
}

static char *join(const char *dir, const char *prefix, const char *name, const char *suffix)
{
    const size_t len = strlen(dir);
    const char *const slash = len == 0 || dir[len - 1] == '/' ? "" : "/";
    char *path;

    return asprintf(&path, "%s%s%s%s%s", dir, slash, prefix, name, suffix) < 0 ? NULL : path;
}

static void out_free(struct om_out *o)
{
    if (o->fd >= 0)
        close(o->fd); /* gives the lock back */
    free(o->path);
    free(o->partial);
    free(o->buf);
    *o = (struct om_out)OM_OUT_INIT;
}

int om_out_open(struct om_out *o, const char *dir, const char *name, struct om_ctx *ctx,
                struct om_error *err)
{
    struct om_out opened = OM_OUT_INIT;
    int rc;

    if (name[0] == '\0' || strchr(name, '/'))
        return om_fail(err, OM_E_USAGE, "\"%s\" is no plain file name", name);
    opened.ctx = ctx;
    opened.path = join(dir, "", name, "");
    opened.partial = join(dir, ".", name, ".partial");
    opened.buf = aligned_alloc(PAGE, BUFFER); /* copies between slightly shifted pages are slow */
    if (!opened.path || !opened.partial || !opened.buf)
        rc = om_fail(err, OM_E_NOMEM, "%s: out of memory", name);
    else
        rc = open_partial(&opened, err);
    if (rc < 0)
        out_free(&opened); /* what lies under the hidden name is not ours */
    else
        *o = opened;
    return rc;
}

/* ---- writing ---- */

static void report(const struct om_out *o)
{
    om_progress(o->ctx, o->path, o->pos - o->buf_len, o->total);
}

/* Write to the file, past the buffer. */
static int write_through(struct om_out *o, const uint8_t *p, size_t len, struct om_error *err)
{
    while (len > 0) {
        OM_TRY(om_ctx_check(o->ctx, err));
        const ssize_t n = write(o->fd, p, OM_MIN(len, (size_t)CHUNK));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(o, "cannot write", err);
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* After a failure nobody knows how many bytes reached the file, so it cannot be continued. */
static int check_usable(const struct om_out *o, struct om_error *err)
{
    if (!o->failed)
        return 0;
    return om_fail(err, OM_E_IO, "%s: cannot go on after an earlier failure", o->path);
}

static int settle(struct om_out *o, int rc)
{
    o->failed |= rc < 0;
    return rc;
}

static int flush(struct om_out *o, struct om_error *err)
{
    OM_TRY(write_through(o, o->buf, o->buf_len, err));
    o->buf_len = 0;
    return 0;
}

int om_out_flush(struct om_out *o, struct om_error *err)
{
    OM_TRY(check_usable(o, err));
    return settle(o, flush(o, err));
}

/* What the buffer takes until the file position is a multiple of BUFFER. Writes that end on pages
 * keep those together: file systems take twice as long for pages that come in two halves. */
static size_t room(const struct om_out *o)
{
    return BUFFER - (size_t)(o->pos % BUFFER);
}

/* Account for len bytes that were put behind the buffer's. */
static int buffered(struct om_out *o, size_t len, struct om_error *err)
{
    o->buf_len += len;
    o->pos += len;
    return o->pos % BUFFER == 0 ? flush(o, err) : 0;
}

/* Whole pages, at a page's begin with nothing buffered, straight from where they are. */
static int write_pages(struct om_out *o, const uint8_t *p, size_t len, struct om_error *err)
{
    while (len > 0) {
        const size_t now = OM_MIN(len, (size_t)CHUNK);

        OM_TRY(write_through(o, p, now, err));
        o->pos += now;
        report(o);
        p += now;
        len -= now;
    }
    return 0;
}

static int write_buffered(struct om_out *o, const uint8_t *p, size_t len, struct om_error *err)
{
    while (len > 0) {
        const size_t now = OM_MIN(len, room(o));

        memcpy(o->buf + o->buf_len, p, now);
        OM_TRY(buffered(o, now, err));
        p += now;
        len -= now;
    }
    return 0;
}

static int write_some(struct om_out *o, const uint8_t *p, size_t len, struct om_error *err)
{
    const size_t begun = (PAGE - (size_t)(o->pos % PAGE)) % PAGE;
    size_t pages;

    if (len <= SMALL)
        return write_buffered(o, p, len, err);
    pages = (len - begun) / PAGE * PAGE;
    OM_TRY(write_buffered(o, p, begun, err));
    OM_TRY(flush(o, err));
    OM_TRY(write_pages(o, p + begun, pages, err));
    return write_buffered(o, p + begun + pages, len - begun - pages, err);
}

int om_out_write(struct om_out *o, const void *data, size_t len, struct om_error *err)
{
    OM_TRY(check_usable(o, err));
    return settle(o, write_some(o, data, len, err));
}

int om_out_pad(struct om_out *o, uint64_t align, struct om_error *err)
{
    static const uint8_t zeros[4096];
    uint64_t left = align ? (align - o->pos % align) % align : 0;

    while (left > 0) {
        const size_t now = (size_t)OM_MIN(left, sizeof(zeros));
        OM_TRY(om_out_write(o, zeros, now, err));
        left -= now;
    }
    return 0;
}

/* ---- copying ---- */

/* Errors of copy_file_range() that say "not between these two files" and not "the disk is full". */
static bool copy_unavailable(int error)
{
    return error == EXDEV || error == EINVAL || error == ENOSYS || error == EOPNOTSUPP ||
           error == EPERM || error == EBADF || error == ETXTBSY;
}

/* Copy inside the kernel as far as that goes: *len is what is left when it does not go on. */
static int copy_in_kernel(struct om_out *o, const struct om_file *in, uint64_t *offset,
                          uint64_t *len, struct om_error *err)
{
    while (*len > 0) {
        OM_TRY(om_ctx_check(o->ctx, err));
        off_t from = (off_t)*offset;
        const ssize_t n =
            copy_file_range(in->fd, &from, o->fd, NULL, (size_t)OM_MIN(*len, (uint64_t)CHUNK), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && !copy_unavailable(errno))
            return fail_errno(o, "cannot write", err);
        if (n <= 0) /* also 0: some file systems answer so for files they cannot copy */
            return 0;
        *offset += (uint64_t)n;
        *len -= (uint64_t)n;
        o->pos += (uint64_t)n;
        report(o);
    }
    return 0;
}

/* Copy through the buffer. Reading, unlike the mapping, notices a file that was cut meanwhile. */
static int copy_by_reading(struct om_out *o, const struct om_file *in, uint64_t offset,
                           uint64_t len, struct om_error *err)
{
    while (len > 0) {
        const ssize_t n = pread(in->fd, o->buf + o->buf_len, (size_t)OM_MIN(len, (uint64_t)room(o)),
                                (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return om_fail(err, OM_E_IO, "%s: cannot read: %s", in->path, strerror(errno));
        if (n == 0)
            return om_fail(err, OM_E_IO, "%s: the file shrank while it was copied", in->path);
        OM_TRY(buffered(o, (size_t)n, err));
        offset += (uint64_t)n;
        len -= (uint64_t)n;
        if (o->pos % CHUNK == 0 || len == 0)
            report(o);
    }
    return 0;
}

/* Pages of the input become pages of the output: only then does the kernel move them fast. */
static bool pages_match(const struct om_out *o, uint64_t offset)
{
    return (o->pos - offset) % PAGE == 0;
}

static int copy_some(struct om_out *o, const struct om_file *in, uint64_t offset, uint64_t len,
                     struct om_error *err)
{
    if (pages_match(o, offset)) {
        OM_TRY(flush(o, err));
        OM_TRY(copy_in_kernel(o, in, &offset, &len, err));
    }
    return copy_by_reading(o, in, offset, len, err);
}

int om_out_copy(struct om_out *o, const struct om_file *in, uint64_t offset, uint64_t len,
                struct om_error *err)
{
    OM_TRY(check_usable(o, err));
    if (offset > in->size || len > in->size - offset)
        return om_fail(err, OM_E_INTERNAL,
                       "%s: bytes %" PRIu64 " + %" PRIu64 " lie outside of its %" PRIu64, in->path,
                       offset, len, in->size);
    if (len <= SMALL)
        return len ? om_out_write(o, in->data + offset, (size_t)len, err) : 0;
    return settle(o, copy_some(o, in, offset, len, err));
}

int om_out_clone(struct om_out *o, const struct om_file *in, struct om_error *err)
{
    if (o->pos != 0)
        return om_fail(err, OM_E_INTERNAL, "%s: only an empty file can become a clone", o->path);
    if (in->size == 0 || ioctl(o->fd, FICLONE, in->fd) < 0)
        return om_out_copy(o, in, 0, in->size, err);
    if (lseek(o->fd, (off_t)in->size, SEEK_SET) < 0)
        return fail_errno(o, "cannot seek", err);
    o->pos = in->size;
    report(o);
    return 0;
}

/* ---- publishing ---- */

/* The rename itself is durable once the directory has reached the disk. */
static int sync_dir(const struct om_out *o, struct om_error *err)
{
    const char *const slash = strrchr(o->path, '/');
    const size_t len = slash ? (size_t)(slash - o->path) + 1 : 0;
    char *dir = slash ? strndup(o->path, len) : strdup(".");

    if (!dir)
        return om_fail(err, OM_E_NOMEM, "%s: out of memory", o->path);
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;
    if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL)) /* EINVAL: not offered by this file system */
        rc = fail_errno(o, "cannot sync the directory", err);
    if (fd >= 0)
        close(fd);
    free(dir);
    return rc;
}

int om_out_commit(struct om_out *o, bool durable, struct om_error *err)
{
    OM_TRY(om_out_flush(o, err));
    OM_TRY(om_ctx_check(o->ctx, err));
    if (durable && fsync(o->fd) < 0)
        return fail_errno(o, "cannot sync", err);
    if (rename(o->partial, o->path) < 0)
        return fail_errno(o, "cannot rename the finished file", err);
    free(o->partial); /* from here on there is nothing left to remove */
    o->partial = NULL;
    const int rc = durable ? sync_dir(o, err) : 0;
    om_progress(o->ctx, o->path, o->pos, o->pos);
    out_free(o);
    return rc;
}

void om_out_abort(struct om_out *o)
{
    if (!o || !o->path) /* a zeroed value has descriptor 0, which is somebody else's */
        return;
    if (o->partial)
        unlink(o->partial);
    out_free(o);
}

/* A lock that cannot be had says that somebody writes the file, or that nobody can know. */
void om_out_discard(const char *dir, const char *name)
{
    char *const partial = join(dir, ".", name, ".partial");
    struct stat st;
    const int fd = partial ? open(partial, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;

    if (fd >= 0) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
            is_named(&st, partial))
            unlink(partial);
        close(fd);
    }
    free(partial);
}
