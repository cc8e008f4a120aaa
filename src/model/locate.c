/* src/model/locate.c: from the options to an .onnx file on this machine: a directory, the Hub, or
 * an export. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "export/job.h"
#include "hub/hub.h"
#include "model/internal.h"

#include <optimum/export.h>

struct search {
    struct om_ctx *ctx;
    struct om_arena *arena; /* the model's */
    const struct om_model_opts *opts;
    const char *sub; /* the subfolder without slashes at its end, "" for none */
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

/* ---- a local directory ---- */

static bool has_config(struct om_arena *a, const char *dir)
{
    const char *path = om_path_join(a, dir, "config.json");

    return path && om_file_exists(path);
}

/* Relative paths below dir become full ones. */
static int place_files(const struct search *s, const char *dir, const struct om_onnx_choice *c,
                       struct om_onnx_choice *out, struct om_error *err)
{
    out->file = om_path_join(s->arena, dir, c->file);
    out->encoder = c->encoder ? om_path_join(s->arena, dir, c->encoder) : NULL;
    out->with_past = c->with_past ? om_path_join(s->arena, dir, c->with_past) : NULL;
    return out->file && !c->encoder == !out->encoder && !c->with_past == !out->with_past
               ? 0
               : no_memory(err);
}

/* *found stays false where there is no .onnx file. dir is that of the files, top the one above the
 * subfolder. */
static int find_in_dir(const struct search *s, const char *top, const char *dir,
                       const struct om_model_opts *names, bool *found, struct om_model_place *out,
                       struct om_error *err)
{
    struct om_onnx_files files = { 0 };
    struct om_onnx_choice choice = { 0 };
    int rc = om_onnx_files_list(s->arena, dir, &files, err);

    *found = rc == 0 && files.len > 0;
    if (*found)
        rc = om_onnx_files_choose(s->ctx, dir, &files, names, &choice, err);
    if (*found && rc == 0)
        rc = place_files(s, dir, &choice, &out->files, err);
    out->dir = has_config(s->arena, dir) ? dir : top;
    om_onnx_files_release(&files);
    return rc;
}

static int find_local(const struct search *s, bool *found, struct om_model_place *out,
                      struct om_error *err)
{
    const char *top = om_arena_str(s->arena, om_sv_str(s->opts->model));
    const char *dir = top && s->sub[0] ? om_path_join(s->arena, top, s->sub) : top;

    if (!dir)
        return no_memory(err);
    if (s->opts->revision)
        return om_fail(err, OM_E_USAGE, "revision %s is for models from the Hub; %s is a directory",
                       s->opts->revision, top);
    if (!om_dir_exists(dir))
        return om_fail(err, OM_E_MISSING, "%s: no such directory", dir);
    return find_in_dir(s, top, dir, s->opts, found, out, err);
}

/* ---- a repository of the Hub ---- */

static int open_repo(const struct search *s, struct om_hub_repo **repo, struct om_error *err)
{
    struct om_hub_opts o = {
        .id = s->opts->model,
        .revision = s->opts->revision,
        .subfolder = s->sub,
        .cache_dir = s->opts->cache_dir,
        .token = s->opts->token,
        .local_files_only = s->opts->local_files_only,
        .force_download = s->opts->force_download,
        .companions = om_companion_files,
        .ctx = s->ctx,
    };
    struct om_error first = OM_ERROR_INIT;
    int rc = om_hub_open(&o, repo, &first);

    if (rc == OM_E_MISSING && s->sub[0]) { /* config.json may be above the subfolder */
        o.subfolder = NULL;
        if (om_hub_open(&o, repo, NULL) == 0)
            rc = 0;
    }
    if (rc < 0)
        om_fail(err, rc, "%s", om_error_text(&first));
    om_error_release(&first);
    return rc;
}

/* The .onnx files of the repository below the subfolder. */
static int list_repo(const struct search *s, const struct om_hub_repo *repo,
                     struct om_onnx_files *files, struct om_error *err)
{
    const size_t len = strlen(s->sub);

    for (size_t i = 0; i < om_hub_file_count(repo); i++) {
        const om_sv path = om_hub_file_at(repo, i);
        const char *copy;

        if (!om_sv_ends(path, OM_SVL(".onnx")))
            continue;
        if (len && (!om_sv_starts(path, om_sv_str(s->sub)) || path.ptr[len] != '/'))
            continue;
        copy = om_arena_str(s->arena, path);
        if (!copy)
            return no_memory(err);
        OM_TRY(om_onnx_files_add(files, copy, err));
    }
    return 0;
}

/* A file with its external data, which the original looks for under this name only. */
static int fetch(const struct search *s, struct om_hub_repo *repo, const char *path,
                 const char **out, struct om_error *err)
{
    const char *data, *file = NULL;

    if (!path)
        return 0;
    data = om_arena_printf(s->arena, "%s_data", path);
    if (!data)
        return no_memory(err);
    OM_TRY(om_hub_fetch(repo, om_sv_str(data), &file, err));
    OM_TRY(om_hub_fetch(repo, om_sv_str(path), &file, err));
    if (!file)
        return om_fail(err, OM_E_MISSING, "%s: %s is not there", s->opts->model, path);
    *out = om_arena_str(s->arena, om_sv_str(file));
    return *out ? 0 : no_memory(err);
}

static int fetch_all(const struct search *s, struct om_hub_repo *repo,
                     const struct om_onnx_choice *c, struct om_model_place *out,
                     struct om_error *err)
{
    OM_TRY(fetch(s, repo, c->encoder, &out->files.encoder, err));
    OM_TRY(fetch(s, repo, c->file, &out->files.file, err));
    OM_TRY(fetch(s, repo, c->with_past, &out->files.with_past, err));
    out->dir = om_arena_str(s->arena, om_sv_str(om_hub_dir(repo)));
    return out->dir ? 0 : no_memory(err);
}

static int find_on_hub(const struct search *s, bool *found, struct om_model_place *out,
                       struct om_error *err)
{
    struct om_onnx_files files = { 0 };
    struct om_onnx_choice choice = { 0 };
    struct om_hub_repo *repo = NULL;
    int rc;

    OM_TRY(open_repo(s, &repo, err));
    rc = list_repo(s, repo, &files, err);
    *found = rc == 0 && files.len > 0;
    if (*found)
        rc = om_onnx_files_choose(s->ctx, s->opts->model, &files, s->opts, &choice, err);
    if (*found && rc == 0)
        rc = fetch_all(s, repo, &choice, out, err);
    om_onnx_files_release(&files);
    om_hub_close(repo);
    return rc;
}

static int find(const struct search *s, bool *found, struct om_model_place *out,
                struct om_error *err)
{
    const char *model = s->opts->model, *problem = om_hub_id_problem(model);

    if (om_dir_exists(model))
        return find_local(s, found, out, err);
    if (om_file_exists(model))
        return om_fail(err, OM_E_USAGE,
                       "%s is a file: expected its directory, and its name as file_name", model);
    if (problem)
        return om_fail(err, OM_E_MISSING,
                       "%s: no such directory, and no id of a model on the Hub: %s", model,
                       problem);
    return find_on_hub(s, found, out, err);
}

/* ---- an export ---- */

static const char *const tasks[] = {
    [OM_MODEL_CUSTOM] = "feature-extraction",
    [OM_MODEL_FEATURE_EXTRACTION] = "feature-extraction",
    [OM_MODEL_MASKED_LM] = "fill-mask",
    [OM_MODEL_QUESTION_ANSWERING] = "question-answering",
    [OM_MODEL_SEQUENCE_CLASSIFICATION] = "text-classification",
    [OM_MODEL_TOKEN_CLASSIFICATION] = "token-classification",
    [OM_MODEL_MULTIPLE_CHOICE] = "multiple-choice",
    [OM_MODEL_CAUSAL_LM] = "text-generation",
    [OM_MODEL_SEQ2SEQ_LM] = "text2text-generation",
};

static bool is_generator(enum om_model_class c)
{
    return c == OM_MODEL_CAUSAL_LM || c == OM_MODEL_SEQ2SEQ_LM;
}

static const char *export_task(const struct search *s)
{
    const struct om_model_opts *o = s->opts;

    if (o->task)
        return o->task;
    if (!is_generator(o->model_class) || o->no_cache)
        return tasks[o->model_class];
    return om_arena_printf(s->arena, "%s-with-past", tasks[o->model_class]);
}

static int make_temporary(struct om_model *m, struct om_error *err)
{
    const char *base = getenv("TMPDIR");
    char *dir = om_arena_printf(&m->arena, "%s/optimum-XXXXXX", base && base[0] ? base : "/tmp");

    if (!dir)
        return no_memory(err);
    if (!mkdtemp(dir))
        return om_fail(err, OM_E_IO, "%s: a temporary directory cannot be made: %s", dir,
                       strerror(errno));
    m->temporary = dir;
    return 0;
}

void om_model_remove_dir(const char *dir)
{
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    const char **names;
    size_t n = 0;

    if (om_dir_list(&a, dir, &names, &n, NULL) < 0)
        n = 0;
    for (size_t i = 0; i < n; i++) {
        const char *path = om_path_join(&a, dir, names[i]);

        if (path && unlink(path) < 0 && errno == EISDIR)
            om_model_remove_dir(path);
    }
    (void)rmdir(dir);
    om_arena_release(&a);
}

/* The names of files that the options ask for are those of files that are found, not made. */
static void warn_of_names(const struct search *s)
{
    const struct om_model_opts *o = s->opts;
    const char *names[] = { o->file_name, o->encoder_file_name, o->decoder_file_name,
                            o->decoder_with_past_file_name };

    for (size_t i = 0; i < OM_COUNT(names); i++)
        if (names[i])
            om_log(s->ctx, OM_LOG_WARNING, "the file name %s is ignored: the model is exported",
                   names[i]);
}

static const char *export_library(const struct om_model_opts *o)
{
    return o->model_class == OM_MODEL_CUSTOM ? NULL : "transformers";
}

static bool is_unmerged(const struct om_model_opts *o)
{
    return !is_generator(o->model_class) || o->no_merged;
}

static int export_into(const struct search *s, const char *dir, struct om_error *err)
{
    const struct om_model_opts *o = s->opts;
    struct om_export_opts e = OM_EXPORT_OPTS_INIT;

    e.task = export_task(s);
    if (!dir || !e.task)
        return no_memory(err);
    warn_of_names(s);
    e.model = o->model;
    e.revision = o->revision;
    e.subfolder = s->sub[0] ? s->sub : NULL;
    e.cache_dir = o->cache_dir;
    e.token = o->token;
    e.local_files_only = o->local_files_only;
    e.force_download = o->force_download;
    e.out_dir = dir;
    e.library = export_library(o);
    e.validation = OM_VALIDATE_NEVER;
    e.no_post_process = is_unmerged(o);
    if (o->model_class == OM_MODEL_SEQ2SEQ_LM && !o->no_cache && !o->no_merged)
        e.decoder = OM_DECODER_MERGED; /* all that is opened */
    return om_export_run(s->ctx, &e, err);
}

static int find_exported(const struct search *s, const char *dir, struct om_model_place *out,
                         struct om_error *err)
{
    const struct om_model_opts own = { .model_class = s->opts->model_class,
                                       .no_cache = s->opts->no_cache,
                                       .no_merged = s->opts->no_merged };
    bool found;

    OM_TRY(find_in_dir(s, dir, dir, &own, &found, out, err));
    return found ? 0 : om_fail(err, OM_E_INTERNAL, "%s: the export wrote no .onnx file", dir);
}

/* ---- exports that are kept ---- */

/* A revision of the Hub does not change: ".../models--org--name/snapshots/COMMIT[/subfolder]" names
 * it. */
static int hub_name(const struct search *s, const char **out, struct om_error *err)
{
    struct om_hub_repo *repo = NULL;
    const char *dir, *name;

    OM_TRY(open_repo(s, &repo, err));
    dir = om_hub_dir(repo);
    name = strstr(dir, "models--");
    *out = om_arena_str(s->arena, om_sv_str(name ? name : dir));
    om_hub_close(repo);
    return *out ? 0 : no_memory(err);
}

static int cache_key(const struct search *s, char key[OM_SHA_HEX_MAX], struct om_error *err)
{
    const char *const task = export_task(s), *const library = export_library(s->opts);
    const char *const plugins = om_arch_plugins_id(s->arena, s->ctx);
    const bool local = om_dir_exists(s->opts->model);
    const char *name = "", *what;

    if (!local)
        OM_TRY(hub_name(s, &name, err));
    what = task && plugins
               ? om_arena_printf(s->arena, "%s\n%s\n%d\n%s\n%s\n%s", task, library ? library : "",
                                 is_unmerged(s->opts), s->sub, name, plugins)
               : NULL;
    if (!what)
        return no_memory(err);
    return om_cache_key(local ? s->opts->model : NULL, what, key, err);
}

/* Nothing is kept, nothing is found: m->cached stays closed. That is no failure of the export. */
static int open_cache(const struct search *s, struct om_model *m, struct om_error *err)
{
    const char *const root = om_cache_root(s->arena, s->opts->export_cache_dir);
    struct om_error own = OM_ERROR_INIT;
    char key[OM_SHA_HEX_MAX];
    int rc;

    if (!root)
        return 0;
    OM_TRY(cache_key(s, key, err));
    rc = om_cache_open(s->ctx, s->arena, root, key, &m->cached, &own);
    if (rc == OM_E_IO) {
        om_log(s->ctx, OM_LOG_WARNING, "the export is not kept: %s", om_error_text(&own));
        rc = 0;
    } else if (rc < 0) {
        om_fail(err, rc, "%s", om_error_text(&own));
    }
    om_error_release(&own);
    return rc;
}

static void tell(const struct search *s)
{
    if (!s->opts->do_export)
        om_log(s->ctx, OM_LOG_WARNING, "%s has no .onnx file: it is exported now", s->opts->model);
}

static int export_cached(const struct search *s, struct om_model *m, struct om_model_place *out,
                         struct om_error *err)
{
    struct om_cache_entry *const e = &m->cached;

    if (!e->hit) {
        tell(s);
        OM_TRY(export_into(s, e->dir, err));
        OM_TRY(om_cache_publish(e, om_cache_limit(), err));
    }
    return find_exported(s, e->dir, out, err);
}

static int export_model(const struct search *s, struct om_model *m, struct om_model_place *out,
                        struct om_error *err)
{
    const char *dir = s->opts->export_dir;

    if (!dir && s->opts->export_cache == OM_EXPORT_CACHE_YES) {
        OM_TRY(open_cache(s, m, err));
        if (m->cached.lock >= 0)
            return export_cached(s, m, out, err);
    }
    if (!dir)
        OM_TRY(make_temporary(m, err));
    dir = om_arena_str(s->arena, om_sv_str(dir ? dir : m->temporary));
    tell(s);
    OM_TRY(export_into(s, dir, err));
    return find_exported(s, dir, out, err);
}

/* An .onnx file is there, and is made again all the same. */
static void warn_of_files(const struct search *s)
{
    struct om_onnx_files files = { 0 };
    const char *dir = om_path_join(s->arena, s->opts->model, s->sub);

    if (dir && om_dir_exists(dir) && om_onnx_files_list(s->arena, dir, &files, NULL) == 0 &&
        files.len > 0)
        om_log(s->ctx, OM_LOG_WARNING, "%s has an .onnx file already: it is exported once more",
               s->opts->model);
    om_onnx_files_release(&files);
}

int om_model_locate(struct om_ctx *ctx, struct om_model *m, const struct om_model_opts *o,
                    struct om_model_place *out, struct om_error *err)
{
    struct search s = { .ctx = ctx, .arena = &m->arena, .opts = o };
    om_sv sub = om_sv_str(o->subfolder);
    bool found = false;

    while (sub.len && sub.ptr[sub.len - 1] == '/')
        sub.len--;
    s.sub = om_arena_str(s.arena, sub);
    if (!s.sub)
        return no_memory(err);
    if (o->do_export) {
        warn_of_files(&s);
        return export_model(&s, m, out, err);
    }
    OM_TRY(find(&s, &found, out, err));
    if (found)
        return 0;
    return om_wrap(err, export_model(&s, m, out, err),
                   "no .onnx file was found, and the export failed");
}
