/* src/model/discover.c: which of the .onnx files of a directory is the model? */
#include "model/internal.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"

#define DEPTH_MAX 16
#define LIST_MAX 4096

void om_onnx_files_release(struct om_onnx_files *f)
{
    free(f->paths);
    *f = (struct om_onnx_files){ 0 };
}

int om_onnx_files_add(struct om_onnx_files *f, const char *path, struct om_error *err)
{
    if (!om_grow(&f->paths, &f->cap, f->len + 1, sizeof(*f->paths)))
        return om_fail(err, OM_E_NOMEM, "out of memory");
    f->paths[f->len++] = path;
    return 0;
}

static bool is_plain_dir(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* below is dir's path relative to root, "" for root itself. */
static int walk(struct om_arena *a, const char *root, const char *below, unsigned depth,
                struct om_onnx_files *out, struct om_error *err)
{
    const char *dir = below[0] ? om_path_join(a, root, below) : root;
    const char **names;
    size_t n;

    if (!dir)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    if (depth > DEPTH_MAX)
        return om_fail(err, OM_E_LIMIT, "%s: more than %d levels of directories", dir, DEPTH_MAX);
    OM_TRY(om_dir_list(a, dir, &names, &n, err));
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < n; i++) {
            const char *path = om_path_join(a, below, names[i]);
            const char *full = om_path_join(a, dir, names[i]);

            if (!path || !full)
                return om_fail(err, OM_E_NOMEM, "out of memory");
            if (pass == 1 && is_plain_dir(full))
                OM_TRY(walk(a, root, path, depth + 1, out, err));
            if (pass == 0 && om_sv_ends(om_sv_str(names[i]), OM_SVL(".onnx")) &&
                om_file_exists(full))
                OM_TRY(om_onnx_files_add(out, path, err));
        }
    return 0;
}

int om_onnx_files_list(struct om_arena *a, const char *dir, struct om_onnx_files *out,
                       struct om_error *err)
{
    return walk(a, dir, "", 0, out, err);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* How many have the name, and the first of them. */
static size_t with_name(const struct om_onnx_files *f, const char *name, const char **first)
{
    size_t n = 0;

    for (size_t i = 0; i < f->len; i++)
        if (strcmp(base_name(f->paths[i]), name) == 0 && n++ == 0)
            *first = f->paths[i];
    return n;
}

static void put_list(struct om_buf *b, const struct om_onnx_files *f)
{
    for (size_t i = 0; i < f->len; i++)
        om_buf_printf(b, "%s%s", i ? ", " : "", f->paths[i]);
}

int om_onnx_files_choose(struct om_ctx *ctx, const char *where, const struct om_onnx_files *f,
                         const char *file_name, const char **path, struct om_error *err)
{
    const char *name = file_name ? file_name : OM_MODEL_FILE, *first = f->paths[0];
    const size_t n = with_name(f, name, &first);
    struct om_buf list = OM_BUF_INIT(LIST_MAX);
    int rc = 0;

    put_list(&list, f);
    if (n > 1)
        om_log(ctx, OM_LOG_WARNING,
               "%s: %zu files have the name %s, %s is used: a subfolder chooses another", where, n,
               name, first);
    if (n == 0 && file_name)
        rc = om_fail(err, OM_E_MISSING, "%s: no file %s, found: %s%s", where, file_name,
                     list.ptr ? list.ptr : "", list.failed ? " ..." : "");
    else if (n == 0)
        om_log(ctx, OM_LOG_WARNING,
               "%s: no file " OM_MODEL_FILE ", %s is used: a file name or subfolder chooses "
               "another of: %s%s",
               where, first, list.ptr ? list.ptr : "", list.failed ? " ..." : "");
    om_buf_release(&list);
    if (rc == 0)
        *path = first;
    return rc;
}
