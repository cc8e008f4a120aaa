/* tests/unit/archive.c: see archive.h. */
#include "unit/archive.h"

#include <stdlib.h>

#ifdef OM_HAVE_ZLIB
#include <zlib.h>
#endif

/* Byte i of v; zero beyond its eight. */
static char byte_of(uint64_t v, size_t i)
{
    return (char)(i < sizeof(v) ? v >> (8 * i) : 0);
}

void put_le(struct om_buf *b, uint64_t v, size_t width)
{
    for (size_t i = 0; i < width; i++)
        om_buf_addc(b, byte_of(v, i));
}

void poke_le(struct om_buf *b, size_t at, uint64_t v, size_t width)
{
    for (size_t i = 0; i < width; i++)
        b->ptr[at + i] = byte_of(v, i);
}

/* ---- zip ---- */

static uint32_t checksum(const uint8_t *p, size_t len)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static void add_deflated(struct om_buf *b, const void *data, size_t len)
{
#ifdef OM_HAVE_ZLIB
    z_stream s = { .next_in = (Bytef *)data, .avail_in = (uInt)len };
    uint8_t *out = malloc(len + 1024);

    deflateInit2(&s, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    s.next_out = out;
    s.avail_out = (uInt)len + 1024;
    deflate(&s, Z_FINISH);
    om_buf_add(b, out, s.total_out);
    deflateEnd(&s);
    free(out);
#else
    om_buf_add(b, data, len);
#endif
}

void zip_begin(struct zip_made *z)
{
    *z = (struct zip_made){ .bytes = OM_BUF_INIT(64u << 20) };
}

/* What local and central headers have in common: flags to the length of the name. */
static void put_common(struct om_buf *b, const struct zip_made *z, size_t i, bool sizes)
{
    put_le(b, z->flags[i], 2);
    put_le(b, z->method[i], 2);
    put_le(b, 0, 4); /* time */
    put_le(b, sizes ? z->crc[i] : 0, 4);
    put_le(b, sizes ? z->packed[i] : 0, 4);
    put_le(b, sizes ? z->size[i] : 0, 4);
    put_le(b, strlen(z->name[i]), 2);
}

void zip_add(struct zip_made *z, const char *name, const void *data, size_t len, enum zip_form form)
{
    const size_t i = z->n++;
    struct om_buf *b = &z->bytes;

    z->name[i] = strdup(name);
    z->flags[i] = form == ZIP_DESCRIPTOR ? 0x808 : 0x800;
    z->method[i] = form == ZIP_DEFLATED ? 8 : 0;
    z->size[i] = (uint32_t)len;
    z->packed[i] = (uint32_t)len;
    z->crc[i] = checksum(data, len);
    z->local[i] = b->len;
    put_le(b, 0x04034b50, 4);
    put_le(b, 20, 2);
    put_common(b, z, i, form != ZIP_DESCRIPTOR);
    put_le(b, 4, 2); /* an extra field that nobody knows */
    om_buf_adds(b, name);
    om_buf_add(b, "FB\0\0", 4);
    z->data[i] = b->len;
    if (form == ZIP_DEFLATED)
        add_deflated(b, data, len);
    else
        om_buf_add(b, data, len);
    z->packed[i] = (uint32_t)(b->len - z->data[i]);
    if (form == ZIP_DEFLATED)
        poke_le(b, z->local[i] + 18, z->packed[i], 4);
    if (form != ZIP_DESCRIPTOR)
        return;
    put_le(b, 0x08074b50, 4);
    put_le(b, z->crc[i], 4);
    put_le(b, len, 4);
    put_le(b, len, 4);
}

static void put_end64(struct zip_made *z)
{
    struct om_buf *b = &z->bytes;

    z->end64 = b->len;
    put_le(b, 0x06064b50, 4);
    put_le(b, 44, 8);
    put_le(b, 45, 2);
    put_le(b, 45, 2);
    put_le(b, 0, 8); /* disks */
    put_le(b, z->n, 8);
    put_le(b, z->n, 8);
    put_le(b, z->end64 - z->directory, 8);
    put_le(b, z->directory, 8);
    put_le(b, 0x07064b50, 4);
    put_le(b, 0, 4);
    put_le(b, z->end64, 8);
    put_le(b, 1, 4);
}

void zip_end(struct zip_made *z, bool zip64)
{
    struct om_buf *b = &z->bytes;
    size_t size;

    z->directory = b->len;
    for (size_t i = 0; i < z->n; i++) {
        z->central[i] = b->len;
        put_le(b, 0x02014b50, 4);
        put_le(b, 0x14, 2);
        put_le(b, 20, 2);
        put_common(b, z, i, true);
        put_le(b, 0, 2 + 2 + 2 + 2 + 4); /* extra, comment, disk, attributes */
        put_le(b, z->local[i], 4);
        om_buf_adds(b, z->name[i]);
    }
    size = b->len - z->directory;
    if (zip64)
        put_end64(z);
    z->end = b->len;
    put_le(b, 0x06054b50, 4);
    put_le(b, 0, 4);
    put_le(b, z->n, 2);
    put_le(b, z->n, 2);
    put_le(b, size, 4);
    put_le(b, z->directory, 4);
    put_le(b, 0, 2);
}

void zip_release(struct zip_made *z)
{
    for (size_t i = 0; i < z->n; i++)
        free(z->name[i]);
    om_buf_release(&z->bytes);
}

struct om_file file_of(const void *bytes, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);

    if (len > 0)
        memcpy(copy, bytes, len);
    return (struct om_file){ .fd = -1, .data = copy, .size = len };
}

void file_free(struct om_file *f)
{
    free((void *)f->data);
    f->data = NULL;
}

/* ---- pickle ---- */

void pk_begin(struct om_buf *b)
{
    om_buf_add(b, "\200\2", 2);
}

void pk_global(struct om_buf *b, const char *module, const char *name)
{
    om_buf_printf(b, "c%s\n%s\n", module, name);
}

void pk_text(struct om_buf *b, const char *s)
{
    om_buf_addc(b, 'X');
    put_le(b, strlen(s), 4);
    om_buf_adds(b, s);
}

void pk_int(struct om_buf *b, int64_t v)
{
    om_buf_add(b, "\212\10", 2);
    put_le(b, (uint64_t)v, 8);
}

void pk_ints(struct om_buf *b, const int64_t *v, size_t n)
{
    om_buf_addc(b, '(');
    for (size_t i = 0; i < n; i++)
        pk_int(b, v[i]);
    om_buf_addc(b, 't');
}

void pk_end(struct om_buf *b)
{
    om_buf_addc(b, '.');
}

void pk_tensor(struct om_buf *b, const struct pickled_tensor *t)
{
    if (t->name)
        pk_text(b, t->name);
    pk_global(b, "torch._utils", "_rebuild_tensor_v2");
    om_buf_adds(b, "((");
    pk_text(b, "storage");
    pk_global(b, "torch", t->class);
    pk_text(b, t->key);
    pk_text(b, "cpu");
    pk_int(b, t->numel);
    om_buf_adds(b, "tQ");
    pk_int(b, t->offset);
    pk_ints(b, t->dims, t->rank);
    pk_ints(b, t->strides, t->rank);
    om_buf_add(b, "\211", 1); /* requires_grad */
    pk_global(b, "collections", "OrderedDict");
    om_buf_adds(b, ")RtR");
}
