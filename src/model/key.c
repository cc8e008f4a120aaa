/* src/model/key.c: what an export depends on, as one hash.
 *
 * Small files count by their bytes. Reading weights of gigabytes would take longer than exporting
 * them, so a large file counts by its first bytes (the names, types and places of all tensors in a
 * safetensors file) and by what the file system knows: size, inode and both times, of which no
 * program can set the second. */
#include "model/cache.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#include <optimum/version.h>

enum {
    WHOLE_MAX = 1 << 22, /* a file up to this size counts by its bytes */
    HEAD = 1 << 16,
    DEPTH_MAX = 2,
    FILES_MAX = 10000
};

struct key {
    struct om_sha sha;
    struct om_arena arena;
    size_t files;
    struct om_error *err;
};

static void add_number(struct key *k, uint64_t n)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(n >> (8 * i));
    om_sha_add(&k->sha, bytes, sizeof(bytes));
}

/* With its length, so that neighbours cannot be cut in another way. */
static void add_text(struct key *k, const char *text)
{
    add_number(k, strlen(text));
    om_sha_add(&k->sha, text, strlen(text));
}

static uint64_t nanoseconds(struct timespec t)
{
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void add_stat(struct key *k, const struct stat *st)
{
    add_number(k, (uint64_t)st->st_dev);
    add_number(k, (uint64_t)st->st_ino);
    add_number(k, nanoseconds(st->st_mtim));
    add_number(k, nanoseconds(st->st_ctim));
}

static int add_file(struct key *k, const char *path, const struct stat *st)
{
    const bool whole = st->st_size <= WHOLE_MAX;
    struct om_file f = OM_FILE_INIT;

    OM_TRY(om_file_map(&f, path, k->err));
    add_number(k, f.size);
    if (f.size)
        om_sha_add(&k->sha, f.data, whole ? (size_t)f.size : (size_t)HEAD);
    if (!whole)
        add_stat(k, st);
    om_file_unmap(&f);
    return 0;
}

/* What an export would not read: hidden files, and other exports. */
static bool is_source(const char *name)
{
    const om_sv s = om_sv_str(name);

    return name[0] != '.' && !om_sv_ends(s, OM_SVL(".onnx")) &&
           !om_sv_ends(s, OM_SVL(".onnx_data"));
}

static int add_dir(struct key *k, const char *dir, int depth);

static int add_entry(struct key *k, const char *dir, const char *name, int depth)
{
    const char *const path = om_path_join(&k->arena, dir, name);
    struct stat st;

    if (!path)
        return om_fail(k->err, OM_E_NOMEM, "out of memory for a path");
    if (stat(path, &st) < 0)
        return 0; /* a dangling link is nobody's input */
    add_text(k, name);
    if (S_ISDIR(st.st_mode))
        return depth < DEPTH_MAX ? add_dir(k, path, depth + 1) : 0;
    if (!S_ISREG(st.st_mode))
        return 0;
    if (++k->files > FILES_MAX)
        return om_fail(k->err, OM_E_LIMIT, "%s: more than %d files", dir, (int)FILES_MAX);
    return add_file(k, path, &st);
}

static int add_dir(struct key *k, const char *dir, int depth)
{
    const char **names;
    size_t n;

    OM_TRY(om_dir_list(&k->arena, dir, &names, &n, k->err));
    for (size_t i = 0; i < n; i++)
        if (is_source(names[i]))
            OM_TRY(add_entry(k, dir, names[i], depth));
    add_text(k, "/");
    return 0;
}

/* Another build may write other files: the object that this function lies in tells builds apart. */
static void add_program(struct key *k)
{
    Dl_info info;
    struct stat st;

    add_text(k, OM_VERSION);
    if (dladdr((void *)(uintptr_t)add_program, &info) && info.dli_fname &&
        stat(info.dli_fname, &st) == 0) {
        add_number(k, (uint64_t)st.st_size);
        add_number(k, nanoseconds(st.st_mtim));
    }
}

int om_cache_key(const char *dir, const char *what, char key[OM_SHA_HEX_MAX], struct om_error *err)
{
    struct key k = { .arena = OM_ARENA_INIT((size_t)1 << 30), .err = err };
    int rc;

    om_sha_init(&k.sha, OM_SHA256);
    add_program(&k);
    add_text(&k, what);
    rc = dir ? add_dir(&k, dir, 0) : 0;
    om_sha_hex(&k.sha, key);
    om_arena_release(&k.arena);
    return rc;
}
