/* tests/unit/t_zip.c: zip archives: what is read, and every way of lying in a header. */
#include "ckpt/zip.h"

#include "test.h"
#include "unit/archive.h"

#include <stdlib.h>

enum { STORED, DEFLATED, EMPTY, DESCRIPTOR, MEMBERS };

static const char stored[] = "stored bytes";
static char run[1000]; /* filled before use, never changed */

/* One of every form. */
static void make(struct zip_made *z, bool zip64)
{
    memset(run, 'z', sizeof(run));
    zip_begin(z);
    zip_add(z, "a/stored", stored, sizeof(stored) - 1, ZIP_STORED);
    zip_add(z, "a/deflated", run, sizeof(run), ZIP_DEFLATED);
    zip_add(z, "a/empty", "", 0, ZIP_STORED);
    zip_add(z, "a/descriptor", "12345678", 8, ZIP_DESCRIPTOR);
    zip_end(z, zip64);
}

static void check_members(struct test *t, const struct om_zip *z)
{
    static const struct {
        const char *name;
        size_t size;
    } want[MEMBERS] = {
        { "a/stored", 12 }, { "a/deflated", 1000 }, { "a/empty", 0 }, { "a/descriptor", 8 }
    };

    CHECK_INT(t, z->len, MEMBERS);
    for (size_t i = 0; i < MEMBERS; i++) {
        const struct om_zip_member *m = om_zip_find(z, om_sv_str(want[i].name));

        test_case(t, "%s", want[i].name);
        CHECK(t, m != NULL);
        if (!m)
            continue;
        CHECK_INT(t, m->size, want[i].size);
        CHECK_INT(t, m->deflated, i == DEFLATED);
        CHECK(t, m->deflated || m->packed == m->size);
    }
    CHECK(t, om_zip_find(z, OM_SVL("a/other")) == NULL);
}

static void read_archive(struct test *t)
{
    for (int zip64 = 0; zip64 < 2; zip64++) {
        struct om_arena a = OM_ARENA_INIT(1u << 20);
        struct om_error err = OM_ERROR_INIT;
        struct zip_made made;
        struct om_zip z;

        make(&made, zip64);
        struct om_file f = file_of(made.bytes.ptr, made.bytes.len);
        test_case(t, "zip64 %d", zip64);
        CHECK_OK(t, om_zip_open(&a, &f, &z, &err), &err);
        check_members(t, &z);
        const struct om_zip_member *m = om_zip_find(&z, OM_SVL("a/stored"));
        CHECK(t, m && memcmp(f.data + m->offset, stored, sizeof(stored) - 1) == 0);
        om_zip_release(&z);
        file_free(&f);
        zip_release(&made);
        om_arena_release(&a);
    }
}

/* A lie: some bytes of a record replaced. */
enum record { LOCAL, CENTRAL, END, END64, LOCATOR };
struct lie {
    enum record record;
    size_t member, at, width;
    uint64_t value;
    const char *want;
};

static const struct lie lies[] = {
    /* the end of the archive */
    { END, 0, 0, 4, 0, "no central directory" },
    { END, 0, 20, 2, 1, "no central directory" }, /* a comment that is not there */
    { END, 0, 4, 2, 1, "several disks" },
    { END, 0, 6, 2, 2, "several disks" },
    { END, 0, 8, 2, 3, "several disks" },
    { END, 0, 12, 4, 1, "expected to end at" },
    { END, 0, 16, 4, 1, "expected to end at" },
    { END, 0, 16, 4, UINT32_MAX, "expected to end at" },
    { END64, 0, 0, 4, 0, "zip64 record: not at byte" },
    { END64, 0, 4, 8, 45, "zip64 record: size 45, expected 44" },
    { END64, 0, 4, 8, UINT64_MAX, "zip64 record: size" },
    { END64, 0, 16, 4, 1, "several disks" },
    { END64, 0, 24, 8, 3, "several disks" },
    { END64, 0, 40, 8, UINT64_MAX, "disagree" },
    { END64, 0, 48, 8, UINT64_MAX, "disagree" },
    { LOCATOR, 0, 4, 4, 1, "several disks" },
    { LOCATOR, 0, 8, 8, UINT64_MAX, "zip64 record: not at byte" },
    { LOCATOR, 0, 8, 8, 3, "zip64 record: not at byte" },
    { LOCATOR, 0, 16, 4, 2, "several disks" },
    /* the central directory */
    { CENTRAL, 1, 0, 4, 0, "central directory: no member at byte" },
    { CENTRAL, 0, 8, 2, 0x801, "encrypted" },
    { CENTRAL, 0, 8, 2, 0x2800, "encrypted" },
    { CENTRAL, 0, 8, 2, 0x820, "compression method" },
    { CENTRAL, 0, 10, 2, 12, "compression method 12" },
    { CENTRAL, 0, 34, 2, 1, "several disks" },
    { CENTRAL, STORED, 24, 4, 11, "stored with 12 bytes of 11" },
    { CENTRAL, STORED, 20, 8, 0x4000000040, "12 bytes in the local header, 64 in" },
    { CENTRAL, DESCRIPTOR, 20, 8, 0x0fffffff0fffffff, "reach beyond the members" },
    { CENTRAL, STORED, 20, 4, UINT32_MAX, "zip64 field is missing" },
    { CENTRAL, STORED, 42, 4, UINT32_MAX, "zip64 field is missing" },
    { CENTRAL, DEFLATED, 42, 4, 0, "local and central header differ" },
    { CENTRAL, DEFLATED, 42, 4, 0x7fffffff, "no local header" },
    { CENTRAL, 0, 28, 2, 7, "" }, /* lengths of name, extra field and comment */
    { CENTRAL, 3, 28, 2, 60000, "member 3 is cut off" },
    { CENTRAL, 3, 30, 2, 60000, "member 3 is cut off" },
    { CENTRAL, 3, 32, 2, 60000, "member 3 is cut off" },
    /* local headers */
    { LOCAL, 0, 0, 4, 0, "no local header" },
    { LOCAL, 0, 6, 2, 0, "differ in name, flags or method" },
    { LOCAL, 0, 8, 2, 8, "differ in name, flags or method" },
    { LOCAL, 0, 30, 1, 'b', "differ in name, flags or method" },
    { LOCAL, 0, 26, 2, 7, "differ in name, flags or method" },
    { LOCAL, STORED, 18, 4, 11, "12 bytes in the local header" },
    { LOCAL, STORED, 22, 4, 13, "13 bytes in the local header, 12 in the central one" },
    { LOCAL, STORED, 22, 4, UINT32_MAX, "local header: zip64 field is missing" },
    { LOCAL, DESCRIPTOR, 22, 4, 7, "7 bytes in the local header, 8 in the central one" },
    { LOCAL, 3, 28, 2, 60000, "local header reaches beyond the members" },
    { LOCAL, 0, 28, 2, 40, "overlap" },
};

static size_t place_of(const struct zip_made *z, const struct lie *lie)
{
    switch (lie->record) {
    case LOCAL:
        return z->local[lie->member];
    case CENTRAL:
        return z->central[lie->member];
    case END:
        return z->end;
    case END64:
        return z->end64;
    case LOCATOR:
        break;
    }
    return z->end64 + 56;
}

/* Open must fail with a message; "" takes any. */
static void refuse(struct test *t, const void *bytes, size_t len, const char *want)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_file f = file_of(bytes, len);
    struct om_zip z;

    CHECK(t, om_zip_open(&a, &f, &z, &err) < 0);
    CHECK_HAS(t, om_error_text(&err), want);
    om_zip_release(&z);
    om_error_release(&err);
    file_free(&f);
    om_arena_release(&a);
}

static void headers_lie(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(lies); i++) {
        const struct lie *lie = &lies[i];
        struct zip_made z;

        make(&z, lie->record == END64 || lie->record == LOCATOR);
        poke_le(&z.bytes, place_of(&z, lie) + lie->at, lie->value, lie->width);
        test_case(t, "lie %zu", i);
        refuse(t, z.bytes.ptr, z.bytes.len, lie->want);
        zip_release(&z);
    }
}

/* The old record may leave to the new one what does not fit. */
static void zip64_values(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct zip_made z;
    struct om_zip zip;

    make(&z, true);
    poke_le(&z.bytes, z.end + 8, UINT64_MAX, 8);
    poke_le(&z.bytes, z.end + 16, UINT32_MAX, 4);
    struct om_file f = file_of(z.bytes.ptr, z.bytes.len);
    CHECK_OK(t, om_zip_open(&a, &f, &zip, &err), &err);
    check_members(t, &zip);
    om_zip_release(&zip);
    file_free(&f);
    zip_release(&z);
    om_arena_release(&a);
}

static void truncated(struct test *t)
{
    struct zip_made z;

    make(&z, true);
    for (size_t len = 0; len < z.bytes.len; len++) {
        test_case(t, "%zu bytes", len);
        refuse(t, z.bytes.ptr, len, "no central directory");
    }
    om_buf_addc(&z.bytes, 'x');
    test_case(t, "a byte behind the end");
    refuse(t, z.bytes.ptr, z.bytes.len, "no central directory");
    zip_release(&z);
    test_case(t, "bytes before the archive");
    make(&z, false);
    struct om_buf moved = OM_BUF_INIT(1u << 20);
    om_buf_adds(&moved, "#!/bin/sh\n");
    om_buf_add(&moved, z.bytes.ptr, z.bytes.len);
    refuse(t, moved.ptr, moved.len, "expected to end at");
    om_buf_release(&moved);
    zip_release(&z);
}

/* Two members over the same bytes: one member's contents hold the other, header and all. */
static void overlap(struct test *t)
{
    struct zip_made inner, outer;

    zip_begin(&inner);
    zip_add(&inner, "a/inner", run, 100, ZIP_STORED);
    zip_begin(&outer);
    zip_add(&outer, "a/outer", inner.bytes.ptr, inner.bytes.len, ZIP_STORED);
    zip_add(&outer, "a/inner", run, 100, ZIP_STORED);
    outer.local[1] = outer.data[0];
    zip_end(&outer, false);
    refuse(t, outer.bytes.ptr, outer.bytes.len, "two members of the archive overlap");
    zip_release(&inner);
    zip_release(&outer);

    test_case(t, "one name");
    zip_begin(&outer);
    zip_add(&outer, "a/x", "1", 1, ZIP_STORED);
    zip_add(&outer, "a/x", "2", 1, ZIP_STORED);
    zip_end(&outer, false);
    refuse(t, outer.bytes.ptr, outer.bytes.len, "two members of the archive have one name");
    zip_release(&outer);

    test_case(t, "more members than bytes");
    zip_begin(&outer);
    zip_end(&outer, false);
    poke_le(&outer.bytes, outer.end + 8, 0xfffefffe, 4);
    refuse(t, outer.bytes.ptr, outer.bytes.len, "do not fit");
    zip_release(&outer);
}

#ifdef OM_HAVE_ZLIB

/* A lie about a deflated member, in both of its headers. */
static const struct {
    size_t local, central; /* offsets of the field */
    uint64_t value;
    const char *want;
} bombs[] = {
    { 22, 24, 999, "inflates to more than the 999 bytes it claims" },
    { 22, 24, 1001, "inflated to 1000 bytes of 1001" },
    { 22, 24, 0xfffffff0, "claims to inflate from" },
    { 14, 16, 7, "with another checksum" },
    { 18, 20, 3, "deflated data are damaged" },
    { 18, 20, 0, "deflated data are damaged" },
};

static void inflate_lies(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(bombs); i++) {
        struct om_arena a = OM_ARENA_INIT(1u << 20);
        struct om_error err = OM_ERROR_INIT;
        struct om_file out = OM_FILE_INIT;
        struct zip_made z;
        struct om_zip zip;

        test_case(t, "bomb %zu", i);
        make(&z, false);
        poke_le(&z.bytes, z.local[DEFLATED] + bombs[i].local, bombs[i].value, 4);
        poke_le(&z.bytes, z.central[DEFLATED] + bombs[i].central, bombs[i].value, 4);
        struct om_file f = file_of(z.bytes.ptr, z.bytes.len);
        CHECK_OK(t, om_zip_open(&a, &f, &zip, &err), &err);
        const struct om_zip_member *m = om_zip_find(&zip, OM_SVL("a/deflated"));
        CHECK(t, m && om_zip_inflate(&zip, m, &out, &err) < 0);
        CHECK_HAS(t, om_error_text(&err), bombs[i].want);
        CHECK(t, out.data == NULL);
        om_error_release(&err);
        om_zip_release(&zip);
        file_free(&f);
        zip_release(&z);
        om_arena_release(&a);
    }
}

static void inflate_member(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_file out = OM_FILE_INIT;
    struct zip_made z;
    struct om_zip zip;

    make(&z, false);
    struct om_file f = file_of(z.bytes.ptr, z.bytes.len);
    CHECK_OK(t, om_zip_open(&a, &f, &zip, &err), &err);
    const struct om_zip_member *m = om_zip_find(&zip, OM_SVL("a/deflated"));
    CHECK(t, m && m->packed < 100);
    if (m)
        CHECK_OK(t, om_zip_inflate(&zip, m, &out, &err), &err);
    CHECK(t, out.size == sizeof(run) && memcmp(out.data, run, sizeof(run)) == 0);
    om_file_unmap(&out);
    test_case(t, "no directory for the file");
    char *old = getenv("TMPDIR") ? strdup(getenv("TMPDIR")) : NULL;
    setenv("TMPDIR", "/nonexistent", 1);
    CHECK(t, m && om_zip_inflate(&zip, m, &out, &err) == OM_E_IO);
    CHECK_HAS(t, om_error_text(&err), "/nonexistent: no temporary file");
    if (old)
        setenv("TMPDIR", old, 1);
    else
        unsetenv("TMPDIR");
    free(old);
    om_error_release(&err);
    om_zip_release(&zip);
    file_free(&f);
    zip_release(&z);
    om_arena_release(&a);
}

#endif

const struct test_entry t_zip[] = { { "read", read_archive },
                                    { "headers lie", headers_lie },
                                    { "zip64 values", zip64_values },
                                    { "truncated", truncated },
                                    { "overlap", overlap },
#ifdef OM_HAVE_ZLIB
                                    { "inflate lies", inflate_lies },
                                    { "inflate", inflate_member },
#endif
                                    TEST_END };
