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

/* What a file may be, and how it is recognised where it has not its usual name. */
enum role { ROLE_MODEL, ROLE_ENCODER, ROLE_DECODER, ROLE_WITH_PAST, ROLE_MERGED };

static const struct {
    const char *standard;
    const char *word, *then; /* the name has one, and the other behind it; NULL: any name */
    const char *never[2];    /* nor these behind the word */
} roles[] = {
    [ROLE_MODEL] = { OM_MODEL_FILE, NULL, NULL, { NULL, NULL } },
    [ROLE_ENCODER] = { "encoder_model.onnx", "encoder", NULL, { NULL, NULL } },
    [ROLE_DECODER] = { "decoder_model.onnx", "decoder", NULL, { "with_past", "merged" } },
    [ROLE_WITH_PAST] = { "decoder_with_past_model.onnx", "decoder", "with_past", { NULL, NULL } },
    [ROLE_MERGED] = { "decoder_model_merged.onnx", "decoder", "merged", { NULL, NULL } },
};

struct choice {
    struct om_ctx *ctx;
    const char *where;
    const struct om_onnx_files *files;
};

/* How many have the name, and the first of them. */
static size_t with_name(const struct om_onnx_files *f, const char *name, const char **first)
{
    size_t n = 0;

    for (size_t i = 0; i < f->len; i++)
        if (strcmp(base_name(f->paths[i]), name) == 0 && n++ == 0)
            *first = f->paths[i];
    return n;
}

static bool fits(enum role role, const char *name)
{
    const char *at = roles[role].word ? strstr(name, roles[role].word) : name;

    if (!at || (roles[role].then && !strstr(at, roles[role].then)))
        return false;
    for (size_t i = 0; i < OM_COUNT(roles[role].never); i++)
        if (roles[role].never[i] && strstr(at, roles[role].never[i]))
            return false;
    return true;
}

/* The first that could be of the role; NULL: none. */
static const char *first_fit(const struct om_onnx_files *f, enum role role)
{
    for (size_t i = 0; i < f->len; i++)
        if (fits(role, base_name(f->paths[i])))
            return f->paths[i];
    return NULL;
}

static void put_list(struct om_buf *b, const struct om_onnx_files *f)
{
    for (size_t i = 0; i < f->len; i++)
        om_buf_printf(b, "%s%s", i ? ", " : "", f->paths[i]);
}

static int not_there(const struct choice *c, const char *name, struct om_error *err)
{
    struct om_buf list = OM_BUF_INIT(LIST_MAX);
    int rc;

    put_list(&list, c->files);
    rc = om_fail(err, OM_E_MISSING, "%s: no file %s, found: %s%s", c->where, name,
                 list.ptr ? list.ptr : "", list.failed ? " ..." : "");
    om_buf_release(&list);
    return rc;
}

static void warn_other(const struct choice *c, const char *name, const char *used)
{
    struct om_buf list = OM_BUF_INIT(LIST_MAX);

    put_list(&list, c->files);
    om_log(c->ctx, OM_LOG_WARNING,
           "%s: no file %s, %s is used: a file name or subfolder chooses another of: %s%s",
           c->where, name, used, list.ptr ? list.ptr : "", list.failed ? " ..." : "");
    om_buf_release(&list);
}

static void warn_several(const struct choice *c, size_t n, const char *name, const char *used)
{
    if (n > 1)
        om_log(c->ctx, OM_LOG_WARNING,
               "%s: %zu files have the name %s, %s is used: a subfolder chooses another", c->where,
               n, name, used);
}

/* The file of a role: by the name that was asked for, by its usual name, by a name that fits. *path
 * stays as it is where there is none, unless the name was asked for. */
static int pick(const struct choice *c, enum role role, const char *file_name, const char **path,
                struct om_error *err)
{
    const char *name = file_name ? file_name : roles[role].standard, *found = NULL;
    const size_t n = with_name(c->files, name, &found);

    warn_several(c, n, name, found);
    if (n == 0 && file_name)
        return not_there(c, file_name, err);
    if (n == 0)
        found = first_fit(c->files, role);
    if (n == 0 && found)
        warn_other(c, name, found);
    if (found)
        *path = found;
    return 0;
}

/* Files of older exports of decoders, where there is no model.onnx. */
static const char *legacy_decoder(const struct choice *c, const struct om_model_opts *o)
{
    const char *path = NULL;

    if (o->file_name || with_name(c->files, OM_MODEL_FILE, &path))
        return NULL;
    path = first_fit(c->files, ROLE_MERGED);
    if (!path)
        path = first_fit(c->files, o->no_cache ? ROLE_DECODER : ROLE_WITH_PAST);
    if (path)
        om_log(c->ctx, OM_LOG_WARNING, "%s: no file " OM_MODEL_FILE ", the older %s is used",
               c->where, path);
    return path;
}

static int pick_seq2seq(const struct choice *c, const struct om_model_opts *o,
                        struct om_onnx_choice *out, struct om_error *err)
{
    const bool pair = o->no_merged || o->decoder_file_name || o->decoder_with_past_file_name;

    OM_TRY(pick(c, ROLE_ENCODER, o->encoder_file_name, &out->encoder, err));
    if (!out->encoder)
        return not_there(c, roles[ROLE_ENCODER].standard, err);
    if (!pair && first_fit(c->files, ROLE_MERGED))
        return pick(c, ROLE_MERGED, NULL, &out->file, err);
    OM_TRY(pick(c, ROLE_DECODER, o->decoder_file_name, &out->file, err));
    if (!out->file)
        return not_there(c, roles[ROLE_DECODER].standard, err);
    if (o->no_cache && !o->decoder_with_past_file_name)
        return 0;
    return pick(c, ROLE_WITH_PAST, o->decoder_with_past_file_name, &out->with_past, err);
}

int om_onnx_files_choose(struct om_ctx *ctx, const char *where, const struct om_onnx_files *f,
                         const struct om_model_opts *o, struct om_onnx_choice *out,
                         struct om_error *err)
{
    const struct choice c = { ctx, where, f };

    *out = (struct om_onnx_choice){ 0 };
    if (o->model_class == OM_MODEL_SEQ2SEQ_LM)
        return pick_seq2seq(&c, o, out, err);
    if (o->model_class == OM_MODEL_CAUSAL_LM)
        out->file = legacy_decoder(&c, o);
    return out->file ? 0 : pick(&c, ROLE_MODEL, o->file_name, &out->file, err);
}
