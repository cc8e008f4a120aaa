/* tests/fault/t_fault_base.c: base under failing allocations, reads and writes: a message, nothing
 * leaked, nothing half-written under a final name. */
#include "base/file.h"
#include "base/json.h"
#include "base/map.h"
#include "base/wire.h"
#include "fault/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 700000, PAGE = 4096, SECOND = (64 + SIZE + PAGE - 1) / PAGE * PAGE };

struct files {
    char in[512], json[512], out[512];
    const char *dir;
    bool durable;
};

static void put_file(struct test *t, const char *path, const char *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    CHECK(t, f && fwrite(data, 1, len, f) == len && fclose(f) == 0);
}

static char byte_at(size_t i)
{
    return (char)(i * 2654435761u >> 11);
}

static void files_init(struct test *t, struct files *f)
{
    static const char text[] =
        "{\"a\": [1, 2.5, NaN, \"x\"], \"b\": {\"c\": null, \"d\": -Infinity}}";
    char *data = malloc(SIZE);

    *f = (struct files){ .dir = test_tmpdir(t) };
    snprintf(f->in, sizeof(f->in), "%s/in", f->dir);
    snprintf(f->json, sizeof(f->json), "%s/config.json", f->dir);
    snprintf(f->out, sizeof(f->out), "%s/out", f->dir);
    for (size_t i = 0; data && i < SIZE; i++)
        data[i] = byte_at(i);
    if (data)
        put_file(t, f->in, data, SIZE);
    free(data);
    put_file(t, f->json, text, sizeof(text) - 1);
}

/* ---- operations ---- */

static int write_all(struct om_out *o, const struct om_file *in, struct om_error *err)
{
    OM_TRY(om_out_write(o, "head", 4, err));
    OM_TRY(om_out_pad(o, 64, err));
    OM_TRY(om_out_copy(o, in, 0, in->size, err)); /* by reading: the pages do not match */
    OM_TRY(om_out_pad(o, PAGE, err));
    OM_TRY(om_out_copy(o, in, 0, in->size, err)); /* by the kernel */
    OM_TRY(om_out_copy(o, in, 10, 100, err));
    return om_out_write(o, in->data, (size_t)in->size, err);
}

static int export_file(void *user, struct om_error *err)
{
    const struct files *f = user;
    struct om_file in = OM_FILE_INIT;
    struct om_out o = OM_OUT_INIT;
    int rc = om_file_map(&in, f->in, err);

    if (rc == 0)
        rc = om_out_open(&o, f->dir, "out", NULL, err);
    if (rc == 0)
        rc = write_all(&o, &in, err);
    if (rc == 0)
        rc = om_out_commit(&o, f->durable, err);
    om_out_abort(&o);
    om_file_unmap(&in);
    return rc;
}

static bool content_is_right(const struct om_file *f)
{
    if (f->size != SECOND + 2 * SIZE + 100 || memcmp(f->data, "head\0\0", 6) != 0)
        return false;
    for (size_t i = 0; i < SIZE; i++) {
        const char want = byte_at(i);
        if ((char)f->data[64 + i] != want || (char)f->data[SECOND + i] != want ||
            (char)f->data[SECOND + SIZE + 100 + i] != want)
            return false;
    }
    return true;
}

/* The output is complete or absent, and nothing else was left behind. */
static void check_export(struct test *t, void *user, int rc)
{
    const struct files *f = user;
    struct om_arena a = OM_ARENA_INIT(1u << 16);
    struct om_file out = OM_FILE_INIT;
    const char **names;
    size_t len = 0;
    const bool there = om_file_map(&out, f->out, NULL) == 0;

    CHECK(t, rc < 0 || there);
    CHECK(t, !there || content_is_right(&out));
    om_file_unmap(&out);
    CHECK_INT(t, om_dir_list(&a, f->dir, &names, &len, NULL), 0);
    CHECK_INT(t, len, there ? 3 : 2);
    remove(f->out);
    om_arena_release(&a);
}

static int rewrite_json(void *user, struct om_error *err)
{
    const struct files *f = user;
    static const struct om_json_patch patches[] = { { "a", "1" }, { "z", "[2]" } };
    struct om_arena a = OM_ARENA_INIT(1u << 16);
    struct om_buf written = OM_BUF_INIT(1u << 16), patched = OM_BUF_INIT(1u << 16);
    struct om_json *j = NULL;
    om_sv text;
    int rc = om_json_read(f->json, 0, &j, err);

    if (rc == 0) {
        om_json_write(&written, j, 2);
        rc = om_buf_check(&written, err);
    }
    if (rc == 0)
        rc = om_file_read(&a, f->json, 1000, &text, err);
    if (rc == 0)
        rc = om_json_patch(text, patches, OM_COUNT(patches), &patched, err);
    om_json_free(j);
    om_buf_release(&written);
    om_buf_release(&patched);
    om_arena_release(&a);
    return om_wrap(err, rc, "a context that makes the message %0300d bytes longer", 0);
}

static int fill_containers(void *user, struct om_error *err)
{
    const struct files *f = user;
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_map m = OM_MAP_INIT;
    struct om_buf b = OM_BUF_INIT(1u << 16);
    const char **names;
    size_t len, begun;
    int rc = om_dir_list(&a, f->dir, &names, &len, err);

    for (uint32_t i = 0; rc == 0 && i < 500; i++) {
        const char *name = om_arena_printf(&a, "layer.%" PRIu32, i);
        rc = name ? om_map_put(&m, om_sv_str(name), i) : OM_E_NOMEM;
        if (rc < 0)
            om_fail(err, rc, "no memory for a name");
    }
    begun = om_wire_begin(&b, 1);
    for (int64_t i = 0; i < 500; i++)
        om_wire_put_int(&b, 1, i);
    om_wire_end(&b, begun);
    if (rc == 0)
        rc = om_buf_check(&b, err);
    om_buf_release(&b);
    om_map_release(&m);
    om_arena_release(&a);
    return rc;
}

/* ---- tests ---- */

static void exporting(struct test *t)
{
    static const unsigned kinds[] = { FAULT_MEMORY, FAULT_WRITE, FAULT_COPY, FAULT_READ,
                                      FAULT_MEMORY | FAULT_WRITE | FAULT_COPY | FAULT_READ };
    struct files f;

    files_init(t, &f);
    for (size_t i = 0; i < OM_COUNT(kinds); i++) {
        f.durable = i % 2;
        fault_sweep(t, kinds[i], export_file, check_export, &f);
    }
}

static void full_disk_is_named(struct test *t)
{
    struct om_error err = OM_ERROR_INIT;
    struct files f;

    files_init(t, &f);
    fault_arm(&(struct fault_plan){ .kinds = FAULT_COPY, .nth = 1 });
    CHECK_INT(t, export_file(&f, &err), OM_E_IO);
    CHECK_INT(t, fault_disarm(), 1);
    CHECK_HAS(t, om_error_text(&err), "/out: cannot write: No space left on device");
    check_export(t, &f, OM_E_IO);
    om_error_release(&err);
}

/* copy_file_range() is refused, at once or in the middle, or moves little: the bytes are the same.
 */
static void other_ways_to_copy(struct test *t)
{
    static const struct fault_plan plans[] = {
        { .kinds = FAULT_COPY, .nth = 1, .lasting = true, .error = EXDEV },
        { .kinds = FAULT_COPY, .nth = 1, .lasting = true, .error = ENOSYS },
        { .kinds = FAULT_COPY, .nth = 1, .lasting = true, .error = EINVAL },
        { .kinds = FAULT_COPY, .nth = 3, .lasting = true, .error = EOPNOTSUPP, .most = 4097 },
        { .kinds = FAULT_COPY, .nth = 2, .error = EINTR, .most = 100000 },
        { .kinds = FAULT_WRITE | FAULT_READ, .nth = 9, .error = EINTR, .most = 33333 },
        { .kinds = 0, .most = 4097 },
    };
    struct files f;

    files_init(t, &f);
    for (size_t i = 0; i < OM_COUNT(plans); i++) {
        struct om_error err = OM_ERROR_INIT;
        test_case(t, "plan %zu", i);
        fault_arm(&plans[i]);
        const int rc = export_file(&f, &err);
        const uint64_t failed = fault_disarm();
        CHECK_OK(t, rc, &err);
        CHECK(t, !plans[i].kinds || failed > 0);
        check_export(t, &f, rc);
        om_error_release(&err);
    }
}

static void json(struct test *t)
{
    struct files f;

    files_init(t, &f);
    fault_sweep(t, FAULT_MEMORY, rewrite_json, NULL, &f);
    fault_sweep(t, FAULT_READ, rewrite_json, NULL, &f);
}

static void containers(struct test *t)
{
    struct files f;

    files_init(t, &f);
    fault_sweep(t, FAULT_MEMORY, fill_containers, NULL, &f);
}

const struct test_entry t_fault_base[] = { { "exporting", exporting },
                                           { "full_disk_is_named", full_disk_is_named },
                                           { "other_ways_to_copy", other_ways_to_copy },
                                           { "json", json },
                                           { "containers", containers },
                                           TEST_END };
