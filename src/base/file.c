/* src/base/file.c: mapped and small input files, directories and paths. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A message for errno about path; what is missing has a code of its own. */
static int fail_errno(struct om_error *err, const char *path)
{
    const int code = errno == ENOMEM                       ? OM_E_NOMEM
                     : errno == ENOENT || errno == ENOTDIR ? OM_E_MISSING
                                                           : OM_E_IO;
    return om_fail(err, code, "%s: %s", path, strerror(errno));
}

static const char *mode_text(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return "a directory";
    case S_IFIFO:
        return "a pipe";
    case S_IFSOCK:
        return "a socket";
    case S_IFCHR:
    case S_IFBLK:
        return "a device";
    default:
        return "no regular file";
    }
}

/* Open a regular file and give its size; *fd is set even when a later step fails. */
static int open_regular(const char *path, int *fd, uint64_t *size, struct om_error *err)
{
    struct stat st;

    /* Not blocking: opening a pipe would wait for a writer. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (*fd < 0 || fstat(*fd, &st) < 0)
        return fail_errno(err, path);
    if (!S_ISREG(st.st_mode))
        return om_fail(err, OM_E_IO, "%s: expected a regular file, found %s", path,
                       mode_text(st.st_mode));
    *size = (uint64_t)st.st_size;
    return 0;
}

static int map_opened(struct om_file *f, const char *path, struct om_error *err)
{
    if (f->size > SIZE_MAX)
        return om_fail(err, OM_E_LIMIT, "%s: %" PRIu64 " bytes do not fit the address space", path,
                       f->size);
    f->path = strdup(path);
    if (!f->path)
        return om_fail(err, OM_E_NOMEM, "%s: out of memory", path);
    if (f->size == 0) /* mmap() refuses length 0 */
        return 0;
    void *p = mmap(NULL, (size_t)f->size, PROT_READ, MAP_PRIVATE, f->fd, 0);
    if (p == MAP_FAILED)
        return fail_errno(err, path);
    f->data = p;
    return 0;
}

int om_file_map(struct om_file *f, const char *path, struct om_error *err)
{
    struct om_file opened = OM_FILE_INIT;
    int rc = open_regular(path, &opened.fd, &opened.size, err);

    if (rc == 0)
        rc = map_opened(&opened, path, err);
    if (rc < 0) {
        if (opened.fd >= 0)
            close(opened.fd);
        free(opened.path);
        return rc;
    }
    *f = opened;
    return 0;
}

void om_file_unmap(struct om_file *f)
{
    if (!f || !f->path) /* a zeroed value has descriptor 0, which is somebody else's */
        return;
    if (f->data)
        munmap((void *)f->data, (size_t)f->size);
    close(f->fd);
    free(f->path);
    *f = (struct om_file)OM_FILE_INIT;
}

static int read_full(int fd, char *text, size_t size, const char *path, struct om_error *err)
{
    for (size_t done = 0; done < size;) {
        const ssize_t n = read(fd, text + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(err, path);
        if (n == 0)
            return om_fail(err, OM_E_IO, "%s: the file shrank while it was read", path);
        done += (size_t)n;
    }
    return 0;
}

int om_file_read(struct om_arena *a, const char *path, size_t max, om_sv *out, struct om_error *err)
{
    uint64_t size = 0;
    char *text = NULL;
    int fd;
    int rc = open_regular(path, &fd, &size, err);

    if (rc == 0 && size > max)
        rc = om_fail(err, OM_E_LIMIT, "%s: %" PRIu64 " bytes, expected at most %zu", path, size,
                     max);
    if (rc == 0) {
        text = om_arena_alloc(a, (size_t)size + 1);
        if (!text)
            rc = om_fail(err, OM_E_NOMEM, "%s: out of memory for %" PRIu64 " bytes", path, size);
    }
    if (rc == 0)
        rc = read_full(fd, text, (size_t)size, path, err);
    if (fd >= 0)
        close(fd);
    if (rc == 0)
        *out = (om_sv){ text, (size_t)size };
    return rc;
}

bool om_file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool om_dir_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool om_file_same(const char *a, const char *b)
{
    struct stat sa, sb;

    return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
           sa.st_ino == sb.st_ino;
}

/* ---- directories ---- */

static int make_one(const char *path, struct om_error *err)
{
    if (mkdir(path, 0777) == 0)
        return 0;
    const int error = errno;
    if (om_dir_exists(path)) /* whatever mkdir() found first, such as a read-only file system */
        return 0;
    if (error == EEXIST)
        return om_fail(err, OM_E_IO, "%s: exists and is not a directory", path);
    return om_fail(err, OM_E_IO, "%s: cannot make the directory: %s", path, strerror(error));
}

/* Make each parent in turn: path is cut at its slashes. */
static int make_parents(char *path, struct om_error *err)
{
    for (char *p = path; *p; p++) {
        if (*p != '/' || p == path)
            continue;
        *p = '\0';
        OM_TRY(make_one(path, err));
        *p = '/';
    }
    return 0;
}

int om_dir_make(const char *path, struct om_error *err)
{
    if (om_dir_exists(path))
        return 0;
    char *copy = strdup(path);
    if (!copy)
        return om_fail(err, OM_E_NOMEM, "%s: out of memory", path);
    int rc = make_parents(copy, err);
    if (rc == 0)
        rc = make_one(path, err);
    free(copy);
    return rc;
}

struct names {
    char **items;
    size_t len, cap;
};

static int read_names(DIR *d, struct names *v)
{
    const struct dirent *e;

    while (errno = 0, (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        char *name =
            om_grow(&v->items, &v->cap, v->len + 1, sizeof(*v->items)) ? strdup(e->d_name) : NULL;
        if (!name) {
            errno = ENOMEM;
            return -1;
        }
        v->items[v->len++] = name;
    }
    return errno ? -1 : 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names as arena strings, so that the caller has nothing to free. */
static const char **copy_names(struct om_arena *a, const struct names *v)
{
    const char **copy = om_arena_array(a, v->len, sizeof(*copy));

    for (size_t i = 0; copy && i < v->len; i++) {
        copy[i] = om_arena_str(a, om_sv_str(v->items[i]));
        if (!copy[i])
            return NULL;
    }
    return copy;
}

int om_dir_list(struct om_arena *a, const char *path, const char ***names, size_t *len,
                struct om_error *err)
{
    struct names v = { NULL, 0, 0 };
    const char **copy = NULL;
    int rc = 0;
    DIR *d = opendir(path);

    if (!d)
        return fail_errno(err, path);
    if (read_names(d, &v) < 0) {
        rc = fail_errno(err, path);
    } else {
        if (v.len)
            qsort(v.items, v.len, sizeof(*v.items), compare_names);
        copy = copy_names(a, &v);
        if (!copy)
            rc = om_fail(err, OM_E_NOMEM, "%s: out of memory for %zu names", path, v.len);
    }
    closedir(d);
    for (size_t i = 0; i < v.len; i++)
        free(v.items[i]);
    free(v.items);
    if (rc == 0) {
        *names = copy;
        *len = v.len;
    }
    return rc;
}

char *om_path_join(struct om_arena *a, const char *dir, const char *name)
{
    const size_t len = dir ? strlen(dir) : 0;

    if (len == 0)
        return om_arena_str(a, om_sv_str(name));
    return om_arena_printf(a, "%s%s%s", dir, dir[len - 1] == '/' ? "" : "/", name);
}
