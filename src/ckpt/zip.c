/* src/ckpt/zip.c: the member table of a zip archive. */
#include "ckpt/zip.h"

#include <stdlib.h>

enum {
    END_SIZE = 22,     /* end of central directory, without its comment */
    END64_SIZE = 56,   /* the same of zip64 */
    LOCATOR_SIZE = 20, /* says where END64 is */
    CENTRAL_SIZE = 46, /* a member in the central directory, without name and extra fields */
    LOCAL_SIZE = 30,   /* a local header, without name and extra fields */
    COMMENT_MAX = 65535,
    EXTRA_ZIP64 = 1
};

enum {
    SIG_END = 0x06054b50,
    SIG_END64 = 0x06064b50,
    SIG_LOCATOR = 0x07064b50,
    SIG_CENTRAL = 0x02014b50,
    SIG_LOCAL = 0x04034b50
};

enum {
    FLAG_ENCRYPTED = 1 << 0,
    FLAG_DESCRIPTOR = 1 << 3,
    FLAG_PATCH = 1 << 5,
    FLAG_MASKED = 1 << 13
};

enum { STORED = 0, DEFLATED = 8 };

#define FULL32 UINT32_MAX /* "see the zip64 field" */
#define FULL16 UINT16_MAX

/* Where the central directory lies and how many members it has. */
struct directory {
    uint64_t offset, size, members;
};

static const uint8_t *at(const struct om_file *f, uint64_t offset)
{
    return f->data + offset;
}

static bool inside(uint64_t offset, uint64_t len, uint64_t limit)
{
    return offset <= limit && len <= limit - offset;
}

/* ---- the end of the archive ---- */

/* The end record is the last thing in the file but for its own comment. */
static int find_end(const struct om_file *f, uint64_t *end, struct om_error *err)
{
    const uint64_t reach = OM_MIN(f->size, (uint64_t)END_SIZE + COMMENT_MAX);

    for (uint64_t back = END_SIZE; back <= reach; back++) {
        const uint8_t *p = at(f, f->size - back);

        if (om_le32(p) == SIG_END && om_le16(p + 20) == back - END_SIZE) {
            *end = f->size - back;
            return 0;
        }
    }
    return om_fail(err, OM_E_FORMAT,
                   "not a complete zip archive: it has no central directory (truncated?)");
}

static int read_end64(const struct om_file *f, uint64_t locator, uint64_t *end, struct directory *d,
                      struct om_error *err)
{
    const uint8_t *l = at(f, locator), *p;
    const uint64_t record = om_le64(l + 8);

    if (om_le32(l + 4) != 0 || om_le32(l + 16) > 1)
        return om_fail(err, OM_E_UNSUPPORTED, "zip archive on several disks");
    if (!inside(record, END64_SIZE, locator) || om_le32(at(f, record)) != SIG_END64)
        return om_fail(err, OM_E_FORMAT,
                       "zip64 record: not at byte %" PRIu64 ", where its locator points", record);
    p = at(f, record);
    if (om_le64(p + 4) != locator - record - 12)
        return om_fail(err, OM_E_FORMAT, "zip64 record: size %" PRIu64 ", expected %" PRIu64,
                       om_le64(p + 4), locator - record - 12);
    if (om_le32(p + 16) != 0 || om_le32(p + 20) != 0 || om_le64(p + 24) != om_le64(p + 32))
        return om_fail(err, OM_E_UNSUPPORTED, "zip archive on several disks");
    *d = (struct directory){ .offset = om_le64(p + 48),
                             .size = om_le64(p + 40),
                             .members = om_le64(p + 32) };
    *end = record;
    return 0;
}

/* A field of the old record repeats the new one's, or says that it cannot. */
static bool repeats(uint64_t old, uint64_t full, uint64_t value)
{
    return old == full || old == value;
}

static int read_end(const struct om_file *f, struct directory *d, struct om_error *err)
{
    uint64_t end = 0;
    struct directory old;
    const uint8_t *p;

    OM_TRY(find_end(f, &end, err));
    p = at(f, end);
    if ((om_le16(p + 4) != 0 && om_le16(p + 4) != FULL16) ||
        (om_le16(p + 6) != 0 && om_le16(p + 6) != FULL16) || om_le16(p + 8) != om_le16(p + 10))
        return om_fail(err, OM_E_UNSUPPORTED, "zip archive on several disks");
    old = (struct directory){ .offset = om_le32(p + 16),
                              .size = om_le32(p + 12),
                              .members = om_le16(p + 10) };
    *d = old;
    if (end >= LOCATOR_SIZE && om_le32(at(f, end - LOCATOR_SIZE)) == SIG_LOCATOR)
        OM_TRY(read_end64(f, end - LOCATOR_SIZE, &end, d, err));
    if (!repeats(old.offset, FULL32, d->offset) || !repeats(old.size, FULL32, d->size) ||
        !repeats(old.members, FULL16, d->members))
        return om_fail(err, OM_E_FORMAT, "zip64 record and end of central directory disagree");
    if (!inside(d->offset, d->size, end) || d->offset + d->size != end)
        return om_fail(err, OM_E_FORMAT,
                       "central directory: bytes %" PRIu64 " + %" PRIu64
                       ", expected to end at %" PRIu64,
                       d->offset, d->size, end);
    if (d->members > d->size / CENTRAL_SIZE)
        return om_fail(err, OM_E_FORMAT,
                       "central directory: %" PRIu64 " members do not fit its %" PRIu64 " bytes",
                       d->members, d->size);
    return 0;
}

/* ---- members ---- */

/* The zip64 extra field holds, in this order, those of the values that did not fit. */
static int read_zip64(om_sv extra, uint64_t **values, size_t n, struct om_error *err)
{
    while (extra.len >= 4) {
        const uint16_t id = om_le16(extra.ptr), len = om_le16(extra.ptr + 2);
        const char *p = extra.ptr + 4;

        if (len > extra.len - 4)
            break;
        extra = (om_sv){ p + len, extra.len - 4 - len };
        if (id != EXTRA_ZIP64)
            continue;
        if (len < n * 8)
            return om_fail(err, OM_E_FORMAT, "zip64 field of %u bytes, expected %zu", (unsigned)len,
                           n * 8);
        for (size_t i = 0; i < n; i++)
            *values[i] = om_le64(p + 8 * i);
        return 0;
    }
    return n == 0 ? 0 : om_fail(err, OM_E_FORMAT, "zip64 field is missing");
}

/* Sizes, and the header's offset where there is one, of a header whose 32-bit fields may be full.
 */
static int read_sizes(uint32_t size, uint32_t packed, uint32_t header, om_sv extra,
                      struct om_zip_member *m, struct om_error *err)
{
    uint64_t *full[3];
    size_t n = 0;

    m->size = size;
    m->packed = packed;
    m->header = header;
    if (size == FULL32)
        full[n++] = &m->size;
    if (packed == FULL32)
        full[n++] = &m->packed;
    if (header == FULL32)
        full[n++] = &m->header;
    return read_zip64(extra, full, n, err);
}

static int check_kind(uint16_t flags, uint16_t method, struct om_error *err)
{
    if (flags & (FLAG_ENCRYPTED | FLAG_MASKED))
        return om_fail(err, OM_E_UNSUPPORTED, "encrypted");
    if (flags & FLAG_PATCH || (method != STORED && method != DEFLATED))
        return om_fail(err, OM_E_UNSUPPORTED, "compression method %u, expected stored or deflated",
                       (unsigned)method);
    return 0;
}

/* The local header repeats what the central one says. Where a descriptor follows the data, its
 * sizes may be zero. */
static int check_local(const struct om_file *f, const uint8_t *central, uint64_t limit,
                       struct om_zip_member *m, struct om_error *err)
{
    struct om_zip_member local = { .size = 0 };
    const uint8_t *p;
    uint16_t name_len, extra_len, flags;
    om_sv name, extra;

    if (!inside(m->header, LOCAL_SIZE, limit) || om_le32(at(f, m->header)) != SIG_LOCAL)
        return om_fail(err, OM_E_FORMAT, "no local header at byte %" PRIu64, m->header);
    p = at(f, m->header);
    flags = om_le16(p + 6);
    name_len = om_le16(p + 26);
    extra_len = om_le16(p + 28);
    if (!inside(m->header + LOCAL_SIZE, (uint64_t)name_len + extra_len, limit))
        return om_fail(err, OM_E_FORMAT, "local header reaches beyond the members");
    name = (om_sv){ (const char *)p + LOCAL_SIZE, name_len };
    extra = (om_sv){ name.ptr + name_len, extra_len };
    if (!om_sv_eq(name, m->name) || flags != om_le16(central + 8) ||
        om_le16(p + 8) != om_le16(central + 10))
        return om_fail(err, OM_E_FORMAT,
                       "local and central header differ in name, flags or method");
    OM_TRY(om_wrap(err, read_sizes(om_le32(p + 22), om_le32(p + 18), 0, extra, &local, err),
                   "local header"));
    if (!(flags & FLAG_DESCRIPTOR && local.size == 0 && local.packed == 0) &&
        (local.size != m->size || local.packed != m->packed))
        return om_fail(err, OM_E_FORMAT,
                       "%" PRIu64 " bytes in the local header, %" PRIu64 " in the central one",
                       local.size, m->size);
    m->offset = m->header + LOCAL_SIZE + name_len + extra_len;
    if (!inside(m->offset, m->packed, limit))
        return om_fail(err, OM_E_FORMAT,
                       "%" PRIu64 " bytes at %" PRIu64 " reach beyond the members", m->packed,
                       m->offset);
    return 0;
}

static int read_member(const struct om_file *f, const uint8_t *p, uint64_t limit,
                       struct om_zip_member *m, struct om_error *err)
{
    const om_sv extra = { m->name.ptr + m->name.len, om_le16(p + 30) };

    OM_TRY(check_kind(om_le16(p + 8), om_le16(p + 10), err));
    if (om_le16(p + 34) != 0 && om_le16(p + 34) != FULL16)
        return om_fail(err, OM_E_UNSUPPORTED, "zip archive on several disks");
    m->deflated = om_le16(p + 10) == DEFLATED;
    m->crc = om_le32(p + 16);
    OM_TRY(read_sizes(om_le32(p + 24), om_le32(p + 20), om_le32(p + 42), extra, m, err));
    if (!m->deflated && m->size != m->packed)
        return om_fail(err, OM_E_FORMAT, "stored with %" PRIu64 " bytes of %" PRIu64, m->packed,
                       m->size);
    return check_local(f, p, limit, m, err);
}

static int read_members(struct om_zip *z, const struct directory *d, struct om_error *err)
{
    uint64_t pos = d->offset, end = d->offset + d->size;

    for (size_t i = 0; i < z->len; i++) {
        struct om_zip_member *m = &z->members[i];
        const uint8_t *p = at(z->file, pos);
        uint64_t tail;
        int rc;

        if (!inside(pos, CENTRAL_SIZE, end) || om_le32(p) != SIG_CENTRAL)
            return om_fail(err, OM_E_FORMAT, "central directory: no member at byte %" PRIu64, pos);
        tail = (uint64_t)om_le16(p + 28) + om_le16(p + 30) + om_le16(p + 32);
        if (!inside(pos + CENTRAL_SIZE, tail, end))
            return om_fail(err, OM_E_FORMAT, "central directory: member %zu is cut off", i);
        m->name = (om_sv){ (const char *)p + CENTRAL_SIZE, om_le16(p + 28) };
        rc = read_member(z->file, p, d->offset, m, err);
        if (rc < 0)
            return om_wrap(err, rc, "member %zu of the archive", i);
        pos += CENTRAL_SIZE + tail;
    }
    if (pos != end)
        return om_fail(err, OM_E_FORMAT,
                       "central directory: %" PRIu64 " bytes after its last member", end - pos);
    return 0;
}

static int by_header(const void *a, const void *b)
{
    const struct om_zip_member *x = a, *y = b;

    return x->header < y->header ? -1 : x->header > y->header;
}

/* A zip bomb of overlapping members would be read many times over. */
static int check_overlaps(struct om_zip *z, struct om_error *err)
{
    qsort(z->members, z->len, sizeof(*z->members), by_header);
    for (size_t i = 1; i < z->len; i++)
        if (z->members[i].header < z->members[i - 1].offset + z->members[i - 1].packed)
            return om_fail(err, OM_E_FORMAT, "two members of the archive overlap at byte %" PRIu64,
                           z->members[i].header);
    return 0;
}

static int index_names(struct om_zip *z, struct om_error *err)
{
    for (size_t i = 0; i < z->len; i++) {
        if (om_map_get(&z->by_name, z->members[i].name, NULL))
            return om_fail(err, OM_E_FORMAT,
                           "two members of the archive have one name (at bytes %" PRIu64
                           " and before)",
                           z->members[i].header);
        if (om_map_put(&z->by_name, z->members[i].name, (uint32_t)i) < 0)
            return om_fail(err, OM_E_NOMEM, "out of memory for the member table");
    }
    return 0;
}

int om_zip_open(struct om_arena *a, const struct om_file *file, struct om_zip *z,
                struct om_error *err)
{
    struct directory d = { 0 };

    *z = (struct om_zip){ .file = file };
    OM_TRY(read_end(file, &d, err));
    if (d.members >= UINT32_MAX)
        return om_fail(err, OM_E_LIMIT, "%" PRIu64 " members are too many", d.members);
    z->len = (size_t)d.members;
    z->members = om_arena_array(a, z->len + 1, sizeof(*z->members));
    if (!z->members)
        return om_fail(err, OM_E_NOMEM, "out of memory for the member table");
    OM_TRY(read_members(z, &d, err));
    OM_TRY(check_overlaps(z, err));
    return index_names(z, err);
}

void om_zip_release(struct om_zip *z)
{
    om_map_release(&z->by_name);
}

const struct om_zip_member *om_zip_find(const struct om_zip *z, om_sv name)
{
    uint32_t i;

    return om_map_get(&z->by_name, name, &i) ? &z->members[i] : NULL;
}
