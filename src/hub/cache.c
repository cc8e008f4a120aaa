/* src/hub/cache.c: the directories of a cache that is shared with Python's huggingface_hub.
 *
 * Other processes, ours and Python's, work in it at the same time. Whatever appears under a final
 * name is complete: it is made under another name and renamed. */
#include "hub/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum { DEPTH_MAX = 16, WAIT_NOTICE = 10 };

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for a path");
}

int om_hub_cache_init(struct om_hub_cache *c, struct om_arena *a, const char *root, om_sv id,
                      struct om_error *err)
{
    struct om_buf name = OM_BUF_INIT(1 << 10);

    om_buf_adds(&name, "models--");
    for (size_t i = 0; i < id.len; i++)
        om_buf_add(&name, id.ptr[i] == '/' ? "--" : &id.ptr[i], id.ptr[i] == '/' ? 2 : 1);
    *c = (struct om_hub_cache){ .arena = a, .root = om_arena_str(a, om_sv_str(root)) };
    if (!name.failed) {
        c->repo = om_arena_printf(a, "%s/%s", root, name.ptr);
        c->locks = om_arena_printf(a, "%s/.locks/%s", root, name.ptr);
    }
    om_buf_release(&name);
    return c->root && c->repo && c->locks ? 0 : no_memory(err);
}

/* Make the directory that path lies in. */
static int make_parent(const char *path, struct om_error *err)
{
    char *copy = strdup(path), *slash = copy ? strrchr(copy, '/') : NULL;
    int rc = 0;

    if (!copy)
        return no_memory(err);
    if (slash && slash != copy) {
        *slash = '\0';
        rc = om_dir_make(copy, err);
    }
    free(copy);
    return rc;
}

/* ---- refs ---- */

om_sv om_hub_cache_ref(const struct om_hub_cache *c, om_sv revision)
{
    struct om_error ignored = OM_ERROR_INIT;
    const char *path = om_arena_printf(c->arena, "%s/refs/%.*s", c->repo, OM_SV(revision));
    om_sv text = { NULL, 0 };

    if (path && om_file_exists(path) && om_file_read(c->arena, path, 1 << 10, &text, &ignored) == 0)
        text = om_sv_trim(text);
    else
        text = revision;
    om_error_release(&ignored);
    return om_hub_is_commit(text) ? text : (om_sv){ NULL, 0 };
}

static int write_small(const char *path, om_sv text, struct om_error *err)
{
    char *temp = NULL;
    int fd, rc = 0;

    if (asprintf(&temp, "%s.%ld.tmp", path, (long)getpid()) < 0)
        return no_memory(err);
    fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0 || write(fd, text.ptr, text.len) != (ssize_t)text.len || rename(temp, path) < 0)
        rc = om_fail(err, OM_E_IO, "%s: cannot write: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (rc < 0)
        unlink(temp);
    free(temp);
    return rc;
}

/* Nothing is written when the reference is right already: the cache may be read-only. */
int om_hub_cache_set_ref(const struct om_hub_cache *c, om_sv revision, om_sv commit,
                         struct om_error *err)
{
    const char *path = om_arena_printf(c->arena, "%s/refs/%.*s", c->repo, OM_SV(revision));

    if (!path)
        return no_memory(err);
    if (om_sv_eq(revision, commit) || om_sv_eq(om_hub_cache_ref(c, revision), commit))
        return 0;
    OM_TRY(make_parent(path, err));
    return write_small(path, commit, err);
}

/* ---- snapshots ---- */

char *om_hub_cache_snapshot(const struct om_hub_cache *c, struct om_arena *a, om_sv commit,
                            om_sv path)
{
    return om_arena_printf(a, "%s/snapshots/%.*s%s%.*s", c->repo, OM_SV(commit),
                           path.len ? "/" : "", OM_SV(path));
}

static char *no_exist_path(const struct om_hub_cache *c, struct om_arena *a, om_sv commit,
                           om_sv path)
{
    return om_arena_printf(a, "%s/.no_exist/%.*s/%.*s", c->repo, OM_SV(commit), OM_SV(path));
}

bool om_hub_cache_no_exist(const struct om_hub_cache *c, struct om_arena *a, om_sv commit,
                           om_sv path)
{
    const char *marker = no_exist_path(c, a, commit, path);

    return marker && om_file_exists(marker);
}

void om_hub_cache_set_no_exist(const struct om_hub_cache *c, struct om_arena *a, om_sv commit,
                               om_sv path)
{
    const char *marker = no_exist_path(c, a, commit, path);
    struct om_error ignored = OM_ERROR_INIT;

    if (marker && !om_file_exists(marker) && make_parent(marker, &ignored) == 0) {
        const int fd = open(marker, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);

        if (fd >= 0)
            close(fd);
    }
    om_error_release(&ignored);
}

struct walk {
    const struct om_hub_cache *cache;
    struct om_hub_listing *listing;
    struct om_error *err;
};

static int walk(const struct walk *w, const char *dir, const char *prefix, int depth);

static int walk_entry(const struct walk *w, const char *dir, const char *prefix, const char *name,
                      int depth)
{
    struct om_arena *a = w->cache->arena;
    const char *full = om_path_join(a, dir, name), *path = om_arena_printf(a, "%s%s", prefix, name);
    struct om_hub_file f = { .path = om_sv_str(path) };
    struct stat st;

    if (!full || !path)
        return no_memory(w->err);
    if (stat(full, &st) < 0) /* a link to a blob that is gone */
        return 0;
    if (S_ISDIR(st.st_mode)) {
        const char *below = om_arena_printf(a, "%s/", path);

        return below ? walk(w, full, below, depth + 1) : no_memory(w->err);
    }
    f.size = (uint64_t)st.st_size;
    f.size_known = true;
    return S_ISREG(st.st_mode) ? om_hub_listing_add(w->listing, &f, w->err) : 0;
}

static int walk(const struct walk *w, const char *dir, const char *prefix, int depth)
{
    const char **names;
    size_t n;

    if (depth > DEPTH_MAX)
        return om_fail(w->err, OM_E_LIMIT, "%s: more than %d directories deep", dir, DEPTH_MAX);
    OM_TRY(om_dir_list(w->cache->arena, dir, &names, &n, w->err));
    for (size_t i = 0; i < n; i++)
        OM_TRY(walk_entry(w, dir, prefix, names[i], depth));
    return 0;
}

int om_hub_cache_list(const struct om_hub_cache *c, om_sv commit, struct om_hub_listing *l,
                      struct om_error *err)
{
    const struct walk w = { c, l, err };
    const char *dir = om_hub_cache_snapshot(c, c->arena, commit, OM_SVL(""));

    if (!dir)
        return no_memory(err);
    if (!om_dir_exists(dir))
        return 0;
    return walk(&w, dir, "", 0);
}

/* "../../blobs/ETAG" from snapshots/COMMIT/PATH; one more step up for every slash in PATH. */
static char *link_target(struct om_arena *a, om_sv path, om_sv etag)
{
    struct om_buf b = OM_BUF_INIT(16 << 10);
    char *target;

    om_buf_adds(&b, "../../");
    for (size_t i = 0; i < path.len; i++)
        if (path.ptr[i] == '/')
            om_buf_adds(&b, "../");
    om_buf_adds(&b, "blobs/");
    om_buf_add(&b, etag.ptr, etag.len);
    target = b.failed ? NULL : om_arena_str(a, om_buf_sv(&b));
    om_buf_release(&b);
    return target;
}

int om_hub_cache_link(const struct om_hub_cache *c, struct om_arena *a, om_sv commit, om_sv path,
                      om_sv etag, struct om_error *err)
{
    const char *target = link_target(a, path, etag),
               *link = om_hub_cache_snapshot(c, a, commit, path);
    const char *temp = link ? om_arena_printf(a, "%s.%ld.tmp", link, (long)getpid()) : NULL;

    if (!target || !link || !temp)
        return no_memory(err);
    OM_TRY(make_parent(link, err));
    unlink(temp);
    if (symlink(target, temp) < 0 || rename(temp, link) < 0) {
        const int why = errno;

        unlink(temp);
        return om_fail(err, OM_E_IO, "%s: cannot make the link: %s", link, strerror(why));
    }
    return 0;
}

/* The real path of the nearest existing directory above path, to be freed. */
static char *existing_part(const char *path)
{
    char *copy = strdup(path[0] ? path : "."), *real = NULL;

    while (copy && !(real = realpath(copy, NULL))) {
        char *slash = strrchr(copy, '/');

        if (!slash || slash == copy) {
            real = realpath(slash ? "/" : ".", NULL);
            break;
        }
        *slash = '\0';
    }
    free(copy);
    return real;
}

bool om_hub_in_snapshot(const char *path)
{
    char *real = existing_part(path);
    om_sv rest = om_sv_str(real), part, before = { NULL, 0 }, last = { NULL, 0 };
    bool found = false;

    while (!found && om_sv_split(&rest, '/', &part)) {
        found = om_hub_is_commit(part) && om_sv_is(last, "snapshots") &&
                om_sv_starts(before, OM_SVL("models--"));
        before = last;
        last = part;
    }
    free(real);
    return found;
}

/* ---- locks ---- */

static bool is_named(int fd, const char *path)
{
    struct stat opened, named;

    return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_dev == named.st_dev &&
           opened.st_ino == named.st_ino;
}

static bool locks_unavailable(int error)
{
    return error == ENOLCK || error == ENOSYS || error == EOPNOTSUPP || error == EINVAL;
}

/* 1: locked, or without locks on this file system (fd is -1 then); 0: somebody else has it, or
 * removed the file. */
static int try_lock(struct om_hub_lock *l, const char *path, struct om_error *err)
{
    l->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (l->fd < 0)
        return om_fail(err, OM_E_IO, "%s: cannot open the lock: %s", path, strerror(errno));
    const int error = flock(l->fd, LOCK_EX | LOCK_NB) < 0 ? errno : 0;
    if (error == 0 && is_named(l->fd, path))
        return 1;
    close(l->fd);
    l->fd = -1;
    return locks_unavailable(error) ? 1 : 0;
}

int om_hub_lock(struct om_hub *hub, struct om_hub_lock *l, const char *path, struct om_error *err)
{
    const double start = hub->clock->now(hub->clock->user);
    bool told = false;

    OM_TRY(make_parent(path, err));
    for (;;) {
        const int rc = try_lock(l, path, err);

        if (rc != 0)
            return OM_MIN(rc, 0);
        OM_TRY(om_hub_sleep(hub, 0.1, err));
        if (!told && hub->clock->now(hub->clock->user) - start > WAIT_NOTICE) {
            om_hub_log(hub, OM_LOG_INFO,
                       "waiting for another process that downloads the same file (%s)", path);
            told = true;
        }
    }
}

void om_hub_unlock(struct om_hub_lock *l)
{
    if (l->fd >= 0)
        close(l->fd); /* gives the lock back; the file stays, as others may wait for it */
    l->fd = -1;
}
