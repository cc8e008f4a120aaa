/* src/ckpt/inflate.c: a deflated member becomes a mapped temporary file, never a buffer in memory.
 */
#include "ckpt/zip.h"

#ifdef OM_HAVE_ZLIB

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

/* Deflate cannot expand more: 258 bytes take two bits (zlib's technical notes), the blocks' headers
 * aside. */
#define RATIO_MAX 1032
#define RATIO_SLACK 1024
#define OUT_SIZE (256u << 10)
#define IN_MAX (1u << 30) /* zlib counts in unsigned int */

static int open_temp(int *fd, struct om_error *err)
{
    const char *env = getenv("TMPDIR"), *dir = env && *env ? env : "/tmp";
    char path[4096];
    int n;

    *fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd >= 0)
        return 0;
    n = snprintf(path, sizeof(path), "%s/optimum-XXXXXX", dir);
    *fd = n > 0 && (size_t)n < sizeof(path) ? mkostemp(path, O_CLOEXEC) : -1;
    if (*fd < 0)
        return om_fail(err, OM_E_IO, "%s: no temporary file: %s", dir, strerror(errno));
    unlink(path);
    return 0;
}

static int write_all(int fd, const uint8_t *p, size_t len, struct om_error *err)
{
    while (len > 0) {
        const ssize_t n = write(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return om_fail(err, OM_E_IO, "temporary file: %s", strerror(errno));
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

struct sink {
    int fd;
    uint64_t size, limit; /* bytes written, and claimed */
    uint32_t crc;
};

static int drain(struct sink *s, const uint8_t *p, size_t len, struct om_error *err)
{
    s->size += len;
    if (s->size > s->limit)
        return om_fail(err, OM_E_FORMAT, "inflates to more than the %" PRIu64 " bytes it claims",
                       s->limit);
    s->crc = (uint32_t)crc32(s->crc, p, (uInt)len);
    return write_all(s->fd, p, len, err);
}

static int run(z_stream *s, const uint8_t *src, uint64_t packed, uint8_t *buf, struct sink *sink,
               struct om_error *err)
{
    int rc = Z_OK;

    while (rc != Z_STREAM_END) {
        if (s->avail_in == 0 && packed > 0) {
            s->next_in = (Bytef *)src; /* zlib does not write there */
            s->avail_in = (uInt)OM_MIN(packed, (uint64_t)IN_MAX);
            src += s->avail_in;
            packed -= s->avail_in;
        }
        s->next_out = buf;
        s->avail_out = OUT_SIZE;
        rc = inflate(s, Z_NO_FLUSH);
        if (rc == Z_MEM_ERROR)
            return om_fail(err, OM_E_NOMEM, "out of memory");
        if (rc != Z_OK && rc != Z_STREAM_END)
            return om_fail(err, OM_E_FORMAT, "deflated data are damaged");
        OM_TRY(drain(sink, buf, OUT_SIZE - s->avail_out, err));
    }
    if (s->avail_in > 0 || packed > 0)
        return om_fail(err, OM_E_FORMAT, "deflated data end before the member does");
    return 0;
}

static int inflate_to(const struct om_zip *z, const struct om_zip_member *m, struct sink *sink,
                      struct om_error *err)
{
    uint8_t *buf = malloc(OUT_SIZE);
    z_stream s = { 0 };
    int rc =
        buf && inflateInit2(&s, -MAX_WBITS) == Z_OK ? 0 : om_fail(err, OM_E_NOMEM, "out of memory");

    if (rc == 0) {
        rc = run(&s, z->file->data + m->offset, m->packed, buf, sink, err);
        inflateEnd(&s);
    }
    free(buf);
    if (rc == 0 && (sink->size != m->size || sink->crc != m->crc))
        rc = om_fail(err, OM_E_FORMAT, "inflated to %" PRIu64 " bytes of %" PRIu64 "%s", sink->size,
                     m->size, sink->size == m->size ? " with another checksum" : "");
    return rc;
}

static int map_temp(int fd, uint64_t size, om_sv name, struct om_file *out, struct om_error *err)
{
    struct om_file f = { .fd = fd, .size = size };

    f.path = strndup(name.ptr, name.len);
    if (!f.path || size > SIZE_MAX)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    if (size > 0) {
        void *p = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);

        if (p == MAP_FAILED) {
            free(f.path);
            return om_fail(err, OM_E_NOMEM, "temporary file: %s", strerror(errno));
        }
        f.data = p;
    }
    *out = f;
    return 0;
}

int om_zip_inflate(const struct om_zip *z, const struct om_zip_member *m, struct om_file *out,
                   struct om_error *err)
{
    struct sink sink = { .fd = -1, .limit = m->size };
    int rc;

    if (m->size / RATIO_MAX > m->packed + RATIO_SLACK)
        return om_fail(err, OM_E_FORMAT, "claims to inflate from %" PRIu64 " to %" PRIu64 " bytes",
                       m->packed, m->size);
    OM_TRY(open_temp(&sink.fd, err));
    rc = inflate_to(z, m, &sink, err);
    if (rc == 0)
        rc = map_temp(sink.fd, sink.size, m->name, out, err);
    if (rc < 0)
        close(sink.fd);
    return rc;
}

#else

int om_zip_inflate(const struct om_zip *z, const struct om_zip_member *m, struct om_file *out,
                   struct om_error *err)
{
    (void)z;
    (void)m;
    (void)out;
    return om_fail(err, OM_E_UNSUPPORTED, "deflated, which this build without zlib cannot read");
}

#endif
