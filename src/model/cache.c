/* src/model/cache.c: the entries of the cache of exports: found, made by one process at a time,
 * checked, removed. */
#include "model/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "model/internal.h"

#define LIST ".files" /* of an entry: size, time and hash of every file */
#define DEFAULT_LIMIT ((uint64_t)20 << 30)

enum {
    WAIT_MS = 50,
    LIST_MAX = 1 << 20,
    HASHED_MAX =
        1
        << 18, /* smaller files are read when an entry is opened; the rest goes by size and time */
    TRIES = 8
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for the cache of exports");
}

/* ---- where ---- */

static const char *variable(const char *name)
{
    const char *const v = getenv(name);

    return v && v[0] ? v : NULL;
}

const char *om_cache_root(struct om_arena *a, const char *wanted)
{
    const char *const own = wanted && wanted[0] ? wanted : variable("OPTIMUM_EXPORT_CACHE");
    const char *const xdg = variable("XDG_CACHE_HOME"), *const home = variable("HOME");

    if (own)
        return om_arena_str(a, om_sv_str(own));
    if (xdg && xdg[0] == '/')
        return om_arena_printf(a, "%s/optimum.c/exports", xdg);
    return home ? om_arena_printf(a, "%s/.cache/optimum.c/exports", home) : NULL;
}

/* "500M", "20G"; what is no size is as good as none. */
uint64_t om_cache_limit(void)
{
    static const char units[] = "KMGT";
    om_sv text = om_sv_str(variable("OPTIMUM_EXPORT_CACHE_SIZE"));
    const char *const unit = text.len ? strchr(units, text.ptr[text.len - 1]) : NULL;
    int64_t n;

    if (unit)
        text.len--;
    if (!om_sv_i64(text, &n) || n < 0 || n > INT32_MAX)
        return DEFAULT_LIMIT;
    return unit ? (uint64_t)n << (10 * (unit - units + 1)) : (uint64_t)n;
}

/* ---- the list of an entry's files ---- */

static uint64_t changed_at(const struct stat *st)
{
    return (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;
}

/* The hash of a small file, "-" for a large one. */
static int hash_file(const char *path, uint64_t size, char hex[OM_SHA_HEX_MAX],
                     struct om_error *err)
{
    struct om_file f = OM_FILE_INIT;
    struct om_sha sha;

    if (size > HASHED_MAX) {
        memcpy(hex, "-", 2);
        return 0;
    }
    OM_TRY(om_file_map(&f, path, err));
    om_sha_init(&sha, OM_SHA256);
    if (f.size)
        om_sha_add(&sha, f.data, (size_t)f.size);
    om_sha_hex(&sha, hex);
    om_file_unmap(&f);
    return 0;
}

static int describe_file(const char *path, const char *name, struct om_buf *out,
                         struct om_error *err)
{
    char hex[OM_SHA_HEX_MAX];
    struct stat st;

    if (stat(path, &st) < 0)
        return om_fail(err, OM_E_IO, "%s: %s", path, strerror(errno));
    OM_TRY(hash_file(path, (uint64_t)st.st_size, hex, err));
    om_buf_printf(out, "%" PRIu64 " %" PRIu64 " %s %s\n", (uint64_t)st.st_size, changed_at(&st),
                  hex, name);
    return 0;
}

/* The files of dir, whose names begin with below; directories hold chat templates, nothing deeper.
 */
static int describe_dir(struct om_arena *a, const char *dir, const char *below, struct om_buf *out,
                        struct om_error *err)
{
    const char **names;
    size_t n;

    OM_TRY(om_dir_list(a, dir, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        const char *const path = om_path_join(a, dir, names[i]);
        const char *const name = om_arena_printf(a, "%s%s", below, names[i]);
        const char *const inside = om_arena_printf(a, "%s/", names[i]);
        if (!path || !name || !inside)
            return no_memory(err);
        if (names[i][0] == '.')
            continue;
        if (!below[0] && om_dir_exists(path))
            OM_TRY(describe_dir(a, path, inside, out, err));
        else
            OM_TRY(describe_file(path, name, out, err));
    }
    return 0;
}

/* The list that dir should have. */
static int describe(struct om_arena *a, const char *dir, struct om_buf *out, struct om_error *err)
{
    OM_TRY(describe_dir(a, dir, "", out, err));
    return om_buf_check(out, err);
}

/* Is every file as it was written? The entry is held. */
static bool is_whole(const char *dir)
{
    struct om_arena a = OM_ARENA_INIT((size_t)1 << 26);
    struct om_buf now = OM_BUF_INIT(LIST_MAX);
    const char *const path = om_path_join(&a, dir, LIST);
    om_sv then;
    const bool whole = path && om_file_read(&a, path, LIST_MAX, &then, NULL) == 0 && then.len > 0 &&
                       describe(&a, dir, &now, NULL) == 0 && om_sv_eq(om_buf_sv(&now), then);

    om_buf_release(&now);
    om_arena_release(&a);
    return whole;
}

static int write_list(const char *dir, struct om_error *err)
{
    struct om_arena a = OM_ARENA_INIT((size_t)1 << 26);
    struct om_buf list = OM_BUF_INIT(LIST_MAX);
    struct om_out out = OM_OUT_INIT;
    int rc = describe(&a, dir, &list, err);

    if (rc == 0)
        rc = om_out_open(&out, dir, LIST, NULL, err);
    if (rc == 0)
        rc = om_out_write(&out, list.ptr, list.len, err);
    if (rc == 0)
        rc = om_out_commit(&out, false, err);
    if (rc < 0)
        om_out_abort(&out);
    om_buf_release(&list);
    om_arena_release(&a);
    return rc;
}

/* ---- locks ---- */

static int wait_a_little(struct om_ctx *ctx, struct om_error *err)
{
    const struct timespec t = { 0, WAIT_MS * 1000000L };

    nanosleep(&t, NULL);
    return om_ctx_check(ctx, err);
}

static int take_lock(struct om_cache_entry *e, int kind, struct om_error *err)
{
    bool told = false;

    while (flock(e->lock, kind | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return om_fail(err, OM_E_IO, "%s: no lock: %s", e->dir, strerror(errno));
        if (!told)
            om_log(e->ctx, OM_LOG_INFO, "another process works on %s: waiting", e->dir);
        told = true;
        OM_TRY(wait_a_little(e->ctx, err));
    }
    return 0;
}

/* ---- entries ---- */

static int open_lock(struct om_arena *a, const char *root, const char *key,
                     struct om_cache_entry *e, struct om_error *err)
{
    const char *const path = om_arena_printf(a, "%s/%s.lock", root, key);

    e->root = root;
    e->dir = om_path_join(a, root, key);
    if (!path || !e->dir)
        return no_memory(err);
    OM_TRY(om_dir_make(root, err));
    e->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return e->lock >= 0 ? 0 : om_fail(err, OM_E_IO, "%s: %s", path, strerror(errno));
}

/* The list goes first: what is left is no entry. Nobody else holds the lock. */
static void remove_entry(const char *dir)
{
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    const char *const list = om_path_join(&a, dir, LIST);

    if (list)
        (void)unlink(list);
    om_arena_release(&a);
    om_model_remove_dir(dir);
}

static bool has_list(const char *dir)
{
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    const char *const list = om_path_join(&a, dir, LIST);
    const bool has = list && om_file_exists(list);

    om_arena_release(&a);
    return has;
}

static int begin(struct om_cache_entry *e, struct om_error *err)
{
    if (has_list(e->dir)) /* else a process was killed that made it */
        om_log(e->ctx, OM_LOG_WARNING, "%s is not as it was written: it is exported once more",
               e->dir);
    remove_entry(e->dir);
    if (mkdir(e->dir, 0700) < 0)
        return om_fail(err, OM_E_IO, "%s: %s", e->dir, strerror(errno));
    return 0;
}

/* The lock's time tells when the entry was used last. */
static int hold(struct om_cache_entry *e)
{
    futimens(e->lock, NULL);
    e->hit = true;
    return 0;
}

static int find_or_begin(struct om_cache_entry *e, struct om_error *err)
{
    for (int i = 0; i < TRIES; i++) {
        OM_TRY(take_lock(e, LOCK_SH, err));
        if (is_whole(e->dir))
            return hold(e);
        OM_TRY(take_lock(e, LOCK_EX, err));
        if (!is_whole(e->dir)) /* else somebody made it in between */
            return begin(e, err);
    }
    return om_fail(err, OM_E_IO, "%s: it is removed as fast as it is made", e->dir);
}

int om_cache_open(struct om_ctx *ctx, struct om_arena *a, const char *root, const char *key,
                  struct om_cache_entry *out, struct om_error *err)
{
    struct om_cache_entry e = { .ctx = ctx, .lock = -1 };
    int rc = open_lock(a, root, key, &e, err);

    if (rc == 0)
        rc = find_or_begin(&e, err);
    if (rc == 0)
        *out = e;
    else if (e.lock >= 0)
        close(e.lock);
    return rc;
}

void om_cache_close(struct om_cache_entry *e)
{
    if (e->lock < 0)
        return;
    if (!e->hit)
        remove_entry(e->dir);
    close(e->lock);
    e->lock = -1;
}

/* ---- the limit ---- */

struct old {
    const char *key;
    uint64_t used, bytes;
};

static uint64_t bytes_of(struct om_arena *a, const char *dir)
{
    const char **names;
    size_t n = 0;
    uint64_t sum = 0;
    struct stat st;

    if (om_dir_list(a, dir, &names, &n, NULL) < 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        const char *const path = om_path_join(a, dir, names[i]);
        if (path && lstat(path, &st) == 0)
            sum += (uint64_t)st.st_size;
    }
    return sum;
}

static int by_use(const void *a, const void *b)
{
    const uint64_t x = ((const struct old *)a)->used, y = ((const struct old *)b)->used;

    return (x > y) - (x < y);
}

/* Remove the entry unless it is in use. */
static bool drop(struct om_arena *a, const char *root, const char *key)
{
    struct om_cache_entry e = OM_CACHE_ENTRY_INIT;
    bool free_now;

    if (open_lock(a, root, key, &e, NULL) < 0)
        return false;
    free_now = flock(e.lock, LOCK_EX | LOCK_NB) == 0;
    if (free_now)
        remove_entry(e.dir);
    close(e.lock);
    return free_now;
}

/* KEY of KEY.lock, NULL for other names. */
static const char *key_of(struct om_arena *a, const char *name)
{
    const om_sv s = om_sv_str(name);

    return s.len > 5 && om_sv_ends(s, OM_SVL(".lock"))
               ? om_arena_str(a, (om_sv){ s.ptr, s.len - 5 })
               : NULL;
}

static size_t list_entries(struct om_arena *a, const char *root, struct old **out, uint64_t *sum)
{
    const char **names;
    size_t n = 0, len = 0;
    struct stat st;

    if (om_dir_list(a, root, &names, &n, NULL) < 0)
        return 0;
    *out = om_arena_array(a, n + 1, sizeof(**out));
    for (size_t i = 0; *out && i < n; i++) {
        const char *const key = key_of(a, names[i]), *const lock = om_path_join(a, root, names[i]);
        const char *const dir = key ? om_path_join(a, root, key) : NULL;
        if (!dir || !lock || stat(lock, &st) < 0)
            continue;
        (*out)[len] = (struct old){ key, changed_at(&st), bytes_of(a, dir) };
        *sum += (*out)[len++].bytes;
    }
    return len;
}

static void trim(const char *root, uint64_t limit)
{
    struct om_arena a = OM_ARENA_INIT((size_t)1 << 28);
    struct old *entries = NULL;
    uint64_t sum = 0;
    const size_t n = list_entries(&a, root, &entries, &sum);

    if (n)
        qsort(entries, n, sizeof(*entries), by_use);
    for (size_t i = 0; i < n && sum > limit; i++)
        if (entries[i].bytes && drop(&a, root, entries[i].key))
            sum -= entries[i].bytes;
    om_arena_release(&a);
}

int om_cache_publish(struct om_cache_entry *e, uint64_t limit, struct om_error *err)
{
    OM_TRY(write_list(e->dir, err));
    hold(e);
    OM_TRY(take_lock(e, LOCK_SH, err));
    if (!has_list(e->dir)) /* between the two kinds of lock */
        return om_fail(err, OM_E_IO, "%s: removed by another process", e->dir);
    trim(e->root, limit);
    return 0;
}
