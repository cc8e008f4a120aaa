/* src/ckpt/inflate.c: a deflated member becomes a mapped temporary file, never a buffer in memory.
 */
#include "ckpt/internal.h"
#include "ckpt/zip.h"

#ifdef OM_HAVE_ZLIB

#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

/* Deflate cannot expand more: 258 bytes take two bits (zlib's technical notes), the blocks' headers
 * aside. */
#define RATIO_MAX 1032
#define RATIO_SLACK 1024
#define OUT_SIZE (256u << 10)
#define IN_MAX (1u << 30) /* zlib counts in unsigned int */

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
    return om_temp_write(s->fd, p, len, err);
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

int om_zip_inflate(const struct om_zip *z, const struct om_zip_member *m, struct om_file *out,
                   struct om_error *err)
{
    struct sink sink = { .fd = -1, .limit = m->size };
    int rc;

    if (m->size / RATIO_MAX > m->packed + RATIO_SLACK)
        return om_fail(err, OM_E_FORMAT, "claims to inflate from %" PRIu64 " to %" PRIu64 " bytes",
                       m->packed, m->size);
    OM_TRY(om_temp_open(&sink.fd, err));
    rc = inflate_to(z, m, &sink, err);
    if (rc == 0)
        rc = om_temp_map(sink.fd, sink.size, m->name, out, err);
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
