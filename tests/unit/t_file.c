/* tests/unit/t_file.c: mapped files, directories, and output files that appear only when complete.
 */
#include "base/file.h"
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *in_tmp(struct test *t, struct om_arena *a, const char *name)
{
    return om_path_join(a, test_tmpdir(t), name);
}

static void put_file(struct test *t, const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");

    CHECK(t, f && fwrite(data, 1, len, f) == len && fclose(f) == 0);
}

static void mapped(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_file f = OM_FILE_INIT;
    struct om_error err = OM_ERROR_INIT;
    const char *path = in_tmp(t, &a, "weights");

    put_file(t, path, "abc", 3);
    CHECK_OK(t, om_file_map(&f, path, &err), &err);
    CHECK(t, f.size == 3 && memcmp(f.data, "abc", 3) == 0 && f.fd >= 0);
    CHECK_STR(t, f.path, path);
    om_file_unmap(&f);
    CHECK(t, f.fd == -1 && f.data == NULL);
    om_file_unmap(&f);
    om_file_unmap(&(struct om_file){ 0 });
    CHECK(t, fcntl(0, F_GETFD) >= 0); /* descriptor 0 is not ours to close */

    put_file(t, path, "", 0);
    CHECK_OK(t, om_file_map(&f, path, &err), &err);
    CHECK(t, f.size == 0 && f.data == NULL);
    om_file_unmap(&f);
    om_arena_release(&a);
}

static void not_mapped(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    static const struct {
        const char *name;
        int code;
        const char *message;
    } cases[] = {
        { "absent", OM_E_MISSING, "absent: No such file" },
        { "dir", OM_E_IO, "dir: expected a regular file, found a directory" },
        { "fifo", OM_E_IO, "fifo: expected a regular file, found a pipe" },
        { "loop", OM_E_IO, "loop: " },
        { "file/below", OM_E_MISSING, "file/below: Not a directory" },
        { "dangling", OM_E_MISSING, "dangling: No such file" },
    };

    CHECK(t, mkdir(in_tmp(t, &a, "dir"), 0777) == 0 && mkfifo(in_tmp(t, &a, "fifo"), 0666) == 0);
    CHECK(t, symlink("loop", in_tmp(t, &a, "loop")) == 0);
    CHECK(t, symlink("nowhere", in_tmp(t, &a, "dangling")) == 0);
    put_file(t, in_tmp(t, &a, "file"), "x", 1);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_file f = OM_FILE_INIT;
        struct om_error err = OM_ERROR_INIT;
        om_sv text;
        test_case(t, "%s", cases[i].name);
        CHECK_INT(t, om_file_map(&f, in_tmp(t, &a, cases[i].name), &err), cases[i].code);
        CHECK_HAS(t, om_error_text(&err), cases[i].message);
        CHECK_INT(t, om_file_read(&a, in_tmp(t, &a, cases[i].name), 10, &text, &err),
                  cases[i].code);
        CHECK_HAS(t, om_error_text(&err), cases[i].message);
        CHECK(t, !om_file_exists(in_tmp(t, &a, cases[i].name)));
        om_error_release(&err);
    }
    om_arena_release(&a);
}

static void read_small(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;
    const char *path = in_tmp(t, &a, "text");
    om_sv text = { 0 };

    put_file(t, path, "12345", 5);
    CHECK_OK(t, om_file_read(&a, path, 5, &text, &err), &err);
    CHECK_STR(t, text.ptr, "12345");
    CHECK_INT(t, text.len, 5);
    CHECK_INT(t, om_file_read(&a, path, 4, &text, &err), OM_E_LIMIT);
    CHECK_HAS(t, om_error_text(&err), "5 bytes, expected at most 4");
    om_error_release(&err);
    om_arena_release(&a);
}

static void directories(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;
    const char **names = NULL;
    size_t len = 0;

    CHECK_OK(t, om_dir_make(in_tmp(t, &a, "x/y//z/"), &err), &err);
    CHECK_OK(t, om_dir_make(in_tmp(t, &a, "x/y/z"), &err), &err);
    CHECK(t, om_dir_exists(in_tmp(t, &a, "x/y/z")));
    put_file(t, in_tmp(t, &a, "x/file"), "", 0);
    put_file(t, in_tmp(t, &a, "x/.hidden"), "", 0);
    CHECK_INT(t, om_dir_make(in_tmp(t, &a, "x/file"), &err), OM_E_IO);
    CHECK_HAS(t, om_error_text(&err), "not a directory");
    CHECK_INT(t, om_dir_make(in_tmp(t, &a, "x/file/below"), &err), OM_E_IO);
    CHECK_HAS(t, om_error_text(&err), "x/file: exists and is not a directory");
    CHECK_OK(t, om_dir_list(&a, in_tmp(t, &a, "x"), &names, &len, &err), &err);
    CHECK_INT(t, len, 3);
    if (len == 3) {
        CHECK_STR(t, names[0], ".hidden");
        CHECK_STR(t, names[1], "file");
        CHECK_STR(t, names[2], "y");
    }
    CHECK_OK(t, om_dir_list(&a, in_tmp(t, &a, "x/y/z"), &names, &len, &err), &err);
    CHECK_INT(t, len, 0);
    CHECK_INT(t, om_dir_list(&a, in_tmp(t, &a, "absent"), &names, &len, &err), OM_E_MISSING);
    om_error_release(&err);
    om_arena_release(&a);
}

static void paths(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);

    CHECK_STR(t, om_path_join(&a, "dir", "name"), "dir/name");
    CHECK_STR(t, om_path_join(&a, "dir/", "name"), "dir/name");
    CHECK_STR(t, om_path_join(&a, "", "name"), "name");
    CHECK_STR(t, om_path_join(&a, NULL, "name"), "name");
    CHECK_STR(t, om_path_join(&a, "/", "name"), "/name");

    put_file(t, in_tmp(t, &a, "one"), "1", 1);
    put_file(t, in_tmp(t, &a, "two"), "1", 1);
    CHECK(t, symlink("one", in_tmp(t, &a, "link")) == 0);
    CHECK(t, om_file_same(in_tmp(t, &a, "one"), in_tmp(t, &a, "link")));
    CHECK(t, !om_file_same(in_tmp(t, &a, "one"), in_tmp(t, &a, "two")));
    CHECK(t, !om_file_same(in_tmp(t, &a, "one"), in_tmp(t, &a, "absent")));
    om_arena_release(&a);
}

/* ---- output ---- */

enum { LARGE = 3 << 20 };

static uint8_t *pattern(void)
{
    uint8_t *p = malloc(LARGE);

    for (size_t i = 0; p && i < LARGE; i++)
        p[i] = (uint8_t)(i * 2654435761u >> 13);
    return p;
}

static void check_content(struct test *t, const char *path, const void *want, size_t len)
{
    struct om_file f = OM_FILE_INIT;
    struct om_error err = OM_ERROR_INIT;

    CHECK_OK(t, om_file_map(&f, path, &err), &err);
    CHECK_INT(t, f.size, len);
    CHECK(t, f.size == len && (len == 0 || memcmp(f.data, want, len) == 0));
    om_file_unmap(&f);
    om_error_release(&err);
}

static size_t entries(struct test *t, struct om_arena *a)
{
    const char **names;
    size_t len = 999;

    om_dir_list(a, test_tmpdir(t), &names, &len, NULL);
    return len;
}

static void published(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_out o = OM_OUT_INIT;
    struct om_error err = OM_ERROR_INIT;
    const char *path = in_tmp(t, &a, "model.onnx");
    uint8_t *data = pattern();

    for (int durable = 0; durable < 2; durable++) {
        size_t done = 0;
        CHECK_OK(t, om_out_open(&o, test_tmpdir(t), "model.onnx", NULL, &err), &err);
        for (size_t n = 1; done < LARGE;
             n = n * 3 + 1) { /* below, at and above the buffer's size */
            const size_t now = OM_MIN(n, LARGE - done);
            CHECK_OK(t, om_out_write(&o, data + done, now, &err), &err);
            done += now;
            CHECK_INT(t, o.pos, done);
        }
        CHECK(t, durable || !om_file_exists(path));
        CHECK(t, om_file_exists(in_tmp(t, &a, ".model.onnx.partial")));
        CHECK_OK(t, om_out_commit(&o, durable, &err), &err);
        CHECK(t, o.fd == -1 && o.path == NULL);
        check_content(t, path, data, LARGE);
        CHECK_INT(t, entries(t, &a), 1);
        om_out_abort(&o); /* nothing left to do */
        CHECK(t, om_file_exists(path));
    }
    free(data);
    om_arena_release(&a);
}

static void aborted(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_out o = OM_OUT_INIT;
    struct om_error err = OM_ERROR_INIT;
    const char *path = in_tmp(t, &a, "model.onnx");

    put_file(t, path, "old", 3);
    CHECK_OK(t, om_out_open(&o, test_tmpdir(t), "model.onnx", NULL, &err), &err);
    CHECK_OK(t, om_out_write(&o, "new text", 8, &err), &err);
    CHECK_OK(t, om_out_flush(&o, &err), &err);
    om_out_abort(&o);
    check_content(t, path, "old", 3);
    CHECK_INT(t, entries(t, &a), 1);
    om_out_abort(&o);
    om_out_abort(&(struct om_out){ 0 });
    om_out_abort(NULL);
    CHECK(t, fcntl(0, F_GETFD) >= 0);
    om_arena_release(&a);
}

static void leftover_and_rival(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_out o = OM_OUT_INIT, rival = OM_OUT_INIT;
    struct om_error err = OM_ERROR_INIT;

    put_file(t, in_tmp(t, &a, ".data.partial"), "left by a killed run", 20);
    CHECK_OK(t, om_out_open(&o, test_tmpdir(t), "data", NULL, &err), &err);
    CHECK_INT(t, om_out_open(&rival, test_tmpdir(t), "data", NULL, &err), OM_E_IO);
    CHECK_HAS(t, om_error_text(&err), "data: another process is writing this file");
    om_out_abort(&rival); /* must not remove the other one's file */
    CHECK_OK(t, om_out_write(&o, "new", 3, &err), &err);
    CHECK_OK(t, om_out_commit(&o, false, &err), &err);
    check_content(t, in_tmp(t, &a, "data"), "new", 3);
    CHECK_OK(t, om_out_open(&rival, test_tmpdir(t), "data", NULL, &err), &err);
    om_out_abort(&rival);
    check_content(t, in_tmp(t, &a, "data"), "new", 3);
    om_error_release(&err);
    om_arena_release(&a);
}

/* Only what nobody writes, and what such a run would have made: a regular file. */
static void discarded(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_out busy = OM_OUT_INIT;
    const char *dir = test_tmpdir(t);

    put_file(t, in_tmp(t, &a, "victim"), "precious", 8);
    put_file(t, in_tmp(t, &a, ".left.partial"), "of a killed run", 15);
    CHECK(t, symlink("victim", in_tmp(t, &a, ".linked.partial")) == 0);
    CHECK(t, mkfifo(in_tmp(t, &a, ".piped.partial"), 0666) == 0);
    CHECK_OK(t, om_out_open(&busy, dir, "busy", NULL, &err), &err);
    om_out_discard(dir, "left");
    om_out_discard(dir, "linked");
    om_out_discard(dir, "piped");
    om_out_discard(dir, "busy");
    om_out_discard(dir, "absent");
    om_out_discard(in_tmp(t, &a, "nowhere"), "absent");
    CHECK(t, !om_file_exists(in_tmp(t, &a, ".left.partial")));
    CHECK(t, om_file_exists(in_tmp(t, &a, ".linked.partial")));
    CHECK(t, access(in_tmp(t, &a, ".piped.partial"), F_OK) == 0);
    CHECK_OK(t, om_out_commit(&busy, false, &err), &err);
    CHECK(t, om_file_exists(in_tmp(t, &a, "busy")));
    om_arena_release(&a);
}

static void not_opened(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    static const struct {
        const char *dir, *name;
        const char *message;
    } cases[] = {
        { "", "", "plain file name" },
        { "", "a/b", "plain file name" },
        { "absent", "model.onnx", "absent/model.onnx: cannot create the file: No such file" },
        { "file", "model.onnx", "file/model.onnx: cannot create the file: Not a directory" },
        { "", "linked", "linked: cannot create the file" },
        { "", "piped", "is in the way" },
    };

    put_file(t, in_tmp(t, &a, "file"), "", 0);
    put_file(t, in_tmp(t, &a, "victim"), "precious", 8);
    CHECK(t, symlink("victim", in_tmp(t, &a, ".linked.partial")) == 0);
    CHECK(t, mkfifo(in_tmp(t, &a, ".piped.partial"), 0666) == 0);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_out o = OM_OUT_INIT;
        struct om_error err = OM_ERROR_INIT;
        test_case(t, "%s/%s", cases[i].dir, cases[i].name);
        CHECK(t, om_out_open(&o, in_tmp(t, &a, cases[i].dir), cases[i].name, NULL, &err) < 0);
        CHECK_HAS(t, om_error_text(&err), cases[i].message);
        CHECK(t, o.fd == -1 && o.path == NULL);
        om_error_release(&err);
    }
    check_content(t, in_tmp(t, &a, "victim"), "precious", 8);
    om_arena_release(&a);
}

static void commit_fails(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_out o = OM_OUT_INIT;
    struct om_error err = OM_ERROR_INIT;

    CHECK(t, mkdir(in_tmp(t, &a, "taken"), 0777) == 0);
    CHECK_OK(t, om_out_open(&o, test_tmpdir(t), "taken", NULL, &err), &err);
    CHECK_INT(t, om_out_commit(&o, false, &err), OM_E_IO);
    CHECK_HAS(t, om_error_text(&err), "taken: cannot rename the finished file");
    om_out_abort(&o);
    CHECK_INT(t, entries(t, &a), 1);
    om_error_release(&err);
    om_arena_release(&a);
}

struct progress {
    uint64_t done, total;
    int calls;
    bool backwards;
    struct om_ctx *cancel_at_call_2;
};

static void note_progress(void *user, const char *what, uint64_t done, uint64_t total)
{
    struct progress *p = user;

    p->backwards |= done < p->done || !what[0];
    p->done = done;
    p->total = total;
    if (++p->calls == 2 && p->cancel_at_call_2)
        om_ctx_cancel(p->cancel_at_call_2);
}

static void copied(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_file in = OM_FILE_INIT;
    struct om_out o = OM_OUT_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct om_ctx *ctx = om_ctx_new();
    struct progress seen = { 0 };
    static uint8_t want[LARGE + 64];
    uint8_t *data = pattern();

    om_ctx_set_progress(ctx, note_progress, &seen);
    put_file(t, in_tmp(t, &a, "in"), data, LARGE);
    CHECK_OK(t, om_file_map(&in, in_tmp(t, &a, "in"), &err), &err);
    CHECK_OK(t, om_out_open(&o, test_tmpdir(t), "out", ctx, &err), &err);
    CHECK_OK(t, om_out_write(&o, "head", 4, &err), &err);
    CHECK_OK(t, om_out_pad(&o, 16, &err), &err);
    CHECK_OK(t, om_out_pad(&o, 16, &err), &err); /* already there */
    CHECK_OK(t, om_out_copy(&o, &in, 5, LARGE - 10, &err), &err);
    CHECK_OK(t, om_out_copy(&o, &in, LARGE, 0, &err), &err);
    CHECK_OK(t, om_out_copy(&o, &in, 1, 7, &err), &err);
    CHECK_INT(t, om_out_copy(&o, &in, LARGE, 1, &err), OM_E_INTERNAL);
    CHECK_INT(t, om_out_copy(&o, &in, UINT64_MAX, 2, &err), OM_E_INTERNAL);
    CHECK_INT(t, om_out_clone(&o, &in, &err), OM_E_INTERNAL);
    om_error_release(&err);
    CHECK_OK(t, om_out_commit(&o, false, &err), &err);

    memset(want, 0, 16);
    memcpy(want, "head", 4);
    memcpy(want + 16, data + 5, LARGE - 10);
    memcpy(want + 16 + LARGE - 10, data + 1, 7);
    check_content(t, in_tmp(t, &a, "out"), want, 16 + LARGE - 10 + 7);
    CHECK(t, seen.calls >= 2 && !seen.backwards && seen.done == 16 + LARGE - 10 + 7);
    CHECK_INT(t, seen.total, seen.done);
    om_file_unmap(&in);
    om_ctx_free(ctx);
    free(data);
    om_arena_release(&a);
}

static void cloned(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;
    uint8_t *data = pattern();
    static const size_t sizes[] = { 0, 100, LARGE };

    for (size_t i = 0; i < OM_COUNT(sizes); i++) {
        struct om_file in = OM_FILE_INIT;
        struct om_out o = OM_OUT_INIT;
        test_case(t, "%zu bytes", sizes[i]);
        put_file(t, in_tmp(t, &a, "in"), data, sizes[i]);
        CHECK_OK(t, om_file_map(&in, in_tmp(t, &a, "in"), &err), &err);
        CHECK_OK(t, om_out_open(&o, test_tmpdir(t), "out", NULL, &err), &err);
        CHECK_OK(t, om_out_clone(&o, &in, &err), &err);
        CHECK_INT(t, o.pos, sizes[i]);
        CHECK_OK(t, om_out_commit(&o, false, &err), &err);
        check_content(t, in_tmp(t, &a, "out"), data, sizes[i]);
        om_file_unmap(&in);
    }
    om_error_release(&err);
    free(data);
    om_arena_release(&a);
}

/* A source that lost bytes after it was mapped must give a message, never a short file. */
static void source_shrinks(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_file in = OM_FILE_INIT;
    struct om_out o = OM_OUT_INIT;
    struct om_error err = OM_ERROR_INIT;
    uint8_t *data = pattern();

    put_file(t, in_tmp(t, &a, "in"), data, LARGE);
    CHECK_OK(t, om_file_map(&in, in_tmp(t, &a, "in"), &err), &err);
    CHECK(t, truncate(in_tmp(t, &a, "in"), LARGE / 2) == 0);
    CHECK_OK(t, om_out_open(&o, test_tmpdir(t), "out", NULL, &err), &err);
    CHECK_INT(t, om_out_copy(&o, &in, 0, LARGE, &err), OM_E_IO);
    CHECK_HAS(t, om_error_text(&err), "in: the file shrank");
    om_out_abort(&o);
    om_file_unmap(&in);
    om_error_release(&err);
    free(data);
    om_arena_release(&a);
}

static void cancelled(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_ctx *ctx = om_ctx_new();
    struct progress seen = { .cancel_at_call_2 = ctx };
    struct om_out o = OM_OUT_INIT;
    struct om_error err = OM_ERROR_INIT;
    uint8_t *data = pattern();
    int rc = 0, rounds = 0;

    om_ctx_set_progress(ctx, note_progress, &seen);
    CHECK_OK(t, om_out_open(&o, test_tmpdir(t), "out", ctx, &err), &err);
    while (rc == 0 && ++rounds < 10)
        rc = om_out_write(&o, data, LARGE, &err);
    CHECK_INT(t, rc, OM_E_CANCELLED);
    CHECK_INT(t, rounds, 3);
    CHECK_INT(t, om_out_commit(&o, false, &err), OM_E_IO); /* bytes are missing: no way back */
    CHECK_HAS(t, om_error_text(&err), "out: cannot go on after an earlier failure");
    om_out_abort(&o);
    CHECK_INT(t, entries(t, &a), 0);
    om_ctx_free(ctx);
    om_error_release(&err);
    free(data);
    om_arena_release(&a);
}

/* A file size limit stands in for a full disk: a child writes past it. */
static int write_past_limit(const char *dir, struct om_error *err)
{
    struct om_out o = OM_OUT_INIT;
    uint8_t *data = pattern();
    int rc = om_out_open(&o, dir, "out", NULL, err);

    for (int i = 0; rc == 0 && i < 8; i++)
        rc = om_out_write(&o, data, LARGE, err);
    om_out_abort(&o);
    free(data);
    return rc;
}

static void disk_full(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    const char *const dir = test_tmpdir(t);
    const pid_t child = fork();
    int status = -1;

    if (child == 0) {
        struct om_error err = OM_ERROR_INIT;
        const struct rlimit limit = { 2 * LARGE + 12345, 2 * LARGE + 12345 };
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        const int rc = write_past_limit(dir, &err);
        _exit(rc == OM_E_IO && strstr(om_error_text(&err), "/out: cannot write: ") ? 0 : 1);
    }
    CHECK(t, child > 0 && waitpid(child, &status, 0) == child);
    CHECK_INT(t, status, 0);
    CHECK_INT(t, entries(t, &a), 0);
    om_arena_release(&a);
}

const struct test_entry t_file[] = { { "mapped", mapped },
                                     { "not_mapped", not_mapped },
                                     { "read_small", read_small },
                                     { "directories", directories },
                                     { "paths", paths },
                                     { "published", published },
                                     { "aborted", aborted },
                                     { "leftover_and_rival", leftover_and_rival },
                                     { "discarded", discarded },
                                     { "not_opened", not_opened },
                                     { "commit_fails", commit_fails },
                                     { "copied", copied },
                                     { "cloned", cloned },
                                     { "source_shrinks", source_shrinks },
                                     { "cancelled", cancelled },
                                     { "disk_full", disk_full },
                                     TEST_END };
