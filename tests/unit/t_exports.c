/* tests/unit/t_exports.c: the cache of exports: keys, entries, processes that race, broken entries,
 * the limit. */
#include "model/cache.h"
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

static const char *in_tmp(struct om_arena *a, struct test *t, const char *name)
{
    return om_path_join(a, test_tmpdir(t), name);
}

static void put(struct test *t, const char *dir, const char *name, const char *text, off_t size)
{
    struct om_arena a = OM_ARENA_INIT(1u << 16);
    const char *const path = om_path_join(&a, dir, name);
    FILE *const f = fopen(path, "wb");

    CHECK(t, f && fputs(text, f) >= 0 && fclose(f) == 0);
    if (size)
        CHECK_INT(t, truncate(path, size), 0);
    om_arena_release(&a);
}

/* ---- keys ---- */

struct keys {
    char last[OM_SHA_HEX_MAX];
};

static bool key_changed(struct test *t, struct keys *k, const char *dir, const char *what)
{
    char key[OM_SHA_HEX_MAX];

    CHECK_INT(t, om_cache_key(dir, what, key, NULL), 0);
    const bool changed = strcmp(k->last, key) != 0;
    memcpy(k->last, key, sizeof(key));
    return changed;
}

static void set_time(struct test *t, const char *path)
{
    const struct timespec times[2] = { { 1000, 0 }, { 1000, 0 } };

    CHECK_INT(t, utimensat(AT_FDCWD, path, times, 0), 0);
}

static void keys_follow_content(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 16);
    const char *const dir = in_tmp(&a, t, "model"), *const copy = in_tmp(&a, t, "copy");
    struct keys k = { "" };

    CHECK_INT(t, om_dir_make(om_path_join(&a, dir, "1_Pooling"), NULL), 0);
    put(t, dir, "config.json", "{}", 0);
    put(t, dir, "model.safetensors", "weights", 0);
    CHECK(t, key_changed(t, &k, dir, "task"));
    CHECK(t, !key_changed(t, &k, dir, "task"));
    CHECK(t, key_changed(t, &k, dir, "other task"));
    put(t, dir, "config.json", "{ }", 0);
    CHECK(t, key_changed(t, &k, dir, "other task"));
    put(t, dir, "1_Pooling/config.json", "1", 0);
    CHECK(t, key_changed(t, &k, dir, "other task"));
    set_time(t, om_path_join(&a, dir, "config.json")); /* of small files the bytes count alone */
    put(t, dir, "model.onnx", "an export", 0);
    put(t, dir, ".hidden", "", 0);
    CHECK(t, !key_changed(t, &k, dir, "other task"));
    CHECK_INT(t, rename(dir, copy), 0);
    CHECK(t, !key_changed(t, &k, copy, "other task"));
    put(t, copy, "model.safetensors", "weights", 8 << 20);
    CHECK(t, key_changed(t, &k, copy, "other task"));
    CHECK(t, !key_changed(t, &k, copy, "other task"));
    set_time(t, om_path_join(&a, copy, "model.safetensors")); /* of large ones also their times */
    CHECK(t, key_changed(t, &k, copy, "other task"));
    CHECK(t, key_changed(t, &k, NULL, "a revision of the Hub"));
    CHECK_INT(t, om_cache_key(dir, "", k.last, NULL), OM_E_MISSING);
    om_arena_release(&a);
}

/* ---- entries ---- */

#define KEY(c) c c c c c c c c

static struct om_cache_entry open_entry(struct test *t, struct om_arena *a, const char *key)
{
    struct om_cache_entry e = OM_CACHE_ENTRY_INIT;
    struct om_error err = OM_ERROR_INIT;

    CHECK_OK(t, om_cache_open(NULL, a, in_tmp(a, t, "root"), key, &e, &err), &err);
    om_error_release(&err);
    return e;
}

static void fill(struct test *t, struct om_cache_entry *e, uint64_t limit)
{
    struct om_error err = OM_ERROR_INIT;

    put(t, e->dir, "config.json", "{}", 0);
    put(t, e->dir, "model.onnx", "graph", 1 << 20);
    CHECK_OK(t, om_cache_publish(e, limit, &err), &err);
    om_error_release(&err);
}

/* Is it there already? Made when not. */
static bool find(struct test *t, const char *key, uint64_t limit)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_cache_entry e = open_entry(t, &a, key);
    const bool hit = e.hit;

    if (!hit)
        fill(t, &e, limit);
    om_cache_close(&e);
    om_cache_close(&e); /* nothing more happens */
    om_arena_release(&a);
    return hit;
}

static void kept_once_complete(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_cache_entry e = open_entry(t, &a, KEY("a"));

    CHECK(t, !e.hit);
    put(t, e.dir, "model.onnx", "half", 0);
    om_cache_close(&e); /* the export failed */
    CHECK(t, !om_dir_exists(e.dir));
    CHECK_INT(t, mkdir(e.dir, 0700), 0); /* or was killed */
    put(t, e.dir, "model.onnx", "half", 0);
    CHECK(t, !find(t, KEY("a"), UINT64_MAX));
    CHECK(t, find(t, KEY("a"), UINT64_MAX));
    CHECK(t, !find(t, KEY("b"), UINT64_MAX));
    om_arena_release(&a);
}

static void broken_entries_are_noticed(struct test *t)
{
    static const struct {
        const char *name, *text;
        off_t size;
    } cases[] = {
        { "config.json", "[]", 0 },         /* other bytes */
        { "model.onnx", "graph", 1 << 19 }, /* a lost end */
        { "model.onnx", "gruph", 1 << 20 }, /* written again */
        { "extra", "", 0 },                 /* not of the entry */
        { ".files", "nonsense", 0 },
        { ".files", "", 0 },
    };
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    const char *const dir = in_tmp(&a, t, "root/" KEY("c"));

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "case %zu", i);
        find(t, KEY("c"), UINT64_MAX);
        CHECK(t, find(t, KEY("c"), UINT64_MAX));
        put(t, dir, cases[i].name, cases[i].text, cases[i].size);
        CHECK(t, !find(t, KEY("c"), UINT64_MAX));
    }
    CHECK_INT(t, unlink(om_path_join(&a, dir, "config.json")), 0);
    CHECK(t, !find(t, KEY("c"), UINT64_MAX));
    om_arena_release(&a);
}

static void oldest_go_first(struct test *t)
{
    enum { TWO = (2 << 20) + (1 << 19) }; /* room for two entries and a half */
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_cache_entry used;

    find(t, KEY("a"), TWO);
    set_time(t, in_tmp(&a, t, "root/" KEY("a") ".lock"));
    find(t, KEY("b"), TWO);
    find(t, KEY("c"), TWO);
    CHECK(t, !om_dir_exists(in_tmp(&a, t, "root/" KEY("a"))));
    CHECK(t, om_dir_exists(in_tmp(&a, t, "root/" KEY("b"))));
    used = open_entry(t, &a, KEY("b"));
    set_time(t, in_tmp(&a, t, "root/" KEY("b") ".lock"));
    find(t, KEY("d"), TWO); /* the oldest is in use */
    CHECK(t, used.hit && om_dir_exists(used.dir));
    CHECK(t, !om_dir_exists(in_tmp(&a, t, "root/" KEY("c"))));
    CHECK(t, find(t, KEY("d"), TWO));
    om_cache_close(&used);
    find(t, KEY("e"), 0); /* what was just made stays whatever the limit */
    CHECK(t, find(t, KEY("e"), 0));
    CHECK(t, !om_dir_exists(in_tmp(&a, t, "root/" KEY("b"))));
    om_arena_release(&a);
}

/* ---- processes ---- */

enum { RACERS = 6 };

/* In a process of its own: 1 when it made the entry, 0 when it found one that is whole. */
static int race(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_cache_entry e = OM_CACHE_ENTRY_INIT;
    int made;

    if (om_cache_open(NULL, &a, in_tmp(&a, t, "root"), KEY("f"), &e, NULL) < 0)
        return 2;
    made = !e.hit;
    if (made) {
        usleep(100000);
        fill(t, &e, UINT64_MAX);
    }
    if (!om_file_exists(om_path_join(&a, e.dir, "model.onnx")))
        return 3;
    om_cache_close(&e);
    om_arena_release(&a);
    return made;
}

static void one_process_makes_it(struct test *t)
{
    pid_t children[RACERS];
    int made = 0, status;

    test_tmpdir(t);
    for (int i = 0; i < RACERS; i++) {
        children[i] = fork();
        if (children[i] == 0)
            _exit(race(t));
    }
    for (int i = 0; i < RACERS; i++) {
        CHECK(t, waitpid(children[i], &status, 0) == children[i] && WIFEXITED(status));
        CHECK(t, WEXITSTATUS(status) <= 1);
        made += WEXITSTATUS(status);
    }
    CHECK_INT(t, made, 1);
    CHECK(t, find(t, KEY("f"), UINT64_MAX));
}

static void waits_can_be_cancelled(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_cache_entry e = open_entry(t, &a, KEY("a")), second = OM_CACHE_ENTRY_INIT;
    struct om_ctx *const ctx = om_ctx_new();

    om_ctx_cancel(ctx);
    CHECK_INT(t, om_cache_open(ctx, &a, in_tmp(&a, t, "root"), KEY("a"), &second, NULL),
              OM_E_CANCELLED);
    om_cache_close(&e);
    om_ctx_free(ctx);
    om_arena_release(&a);
}

static void roots(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_cache_entry e = OM_CACHE_ENTRY_INIT;

    CHECK_STR(t, om_cache_root(&a, "here"), "here");
    put(t, test_tmpdir(t), "file", "", 0);
    CHECK_INT(t, om_cache_open(NULL, &a, in_tmp(&a, t, "file"), KEY("a"), &e, NULL), OM_E_IO);
    om_arena_release(&a);
}

const struct test_entry t_exports[] = { { "keys_follow_content", keys_follow_content },
                                        { "kept_once_complete", kept_once_complete },
                                        { "broken_entries_are_noticed",
                                          broken_entries_are_noticed },
                                        { "oldest_go_first", oldest_go_first },
                                        { "one_process_makes_it", one_process_makes_it },
                                        { "waits_can_be_cancelled", waits_can_be_cancelled },
                                        { "roots", roots },
                                        TEST_END };
