/* src/quant/files.c: the files of a directory, from the old models to the new ones. */
#include "quant/files.h"

#include <stdlib.h>

#include "config/config.h"
#include "quant/quant.h"

#define SMALL_FILE_MAX ((size_t)256 << 20)

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

/* ---- which files ---- */

static int split_path(struct om_quant_files *r, const char *path, struct om_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    r->models = om_arena_array(&r->arena, 1, sizeof(*r->models));
    r->dir =
        slash ? om_arena_str(&r->arena, (om_sv){ path, slash == path ? 1 : (size_t)(slash - path) })
              : ".";
    if (!r->models || !r->dir)
        return no_memory(err);
    r->models[r->n_models++] = name;
    return 0;
}

static int find_models(struct om_quant_files *r, struct om_error *err)
{
    const char *const path = r->model;
    const char **names;
    size_t n, kept = 0;

    if (om_file_exists(path))
        return split_path(r, path, err);
    if (!om_dir_exists(path))
        return om_fail(err, OM_E_MISSING, "%s: no such file or directory", path);
    OM_TRY(om_dir_list(&r->arena, path, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        const char *file = om_path_join(&r->arena, path, names[i]);

        if (!file)
            return no_memory(err);
        if (om_sv_ends(om_sv_str(names[i]), OM_SVL(".onnx")) && om_file_exists(file))
            names[kept++] = names[i];
    }
    if (kept == 0)
        return om_fail(err, OM_E_MISSING, "%s: there is no .onnx file", path);
    r->dir = path;
    r->models = names;
    r->n_models = kept;
    return 0;
}

static int check_out_dir(const struct om_quant_files *r, struct om_error *err)
{
    if (om_file_same(r->dir, r->out_dir))
        return om_fail(err, OM_E_USAGE,
                       "%s: the output directory must be another than that of the models",
                       r->out_dir);
    return om_dir_make(r->out_dir, err);
}

int om_quant_files_find(struct om_quant_files *r, struct om_error *err)
{
    OM_TRY(find_models(r, err));
    return check_out_dir(r, err);
}

/* ---- staging ---- */

static int stage_in(struct om_quant_files *r, const char *dir, const char *name, bool model,
                    struct om_quant_staged **out, struct om_error *err)
{
    struct om_quant_staged *s;

    *out = NULL;
    if (!om_grow(&r->staged, &r->cap_staged, r->n_staged + 1, sizeof(*r->staged)))
        return no_memory(err);
    s = &r->staged[r->n_staged++];
    *s = (struct om_quant_staged){ .out = OM_OUT_INIT, .model = model };
    om_out_discard(dir, name);
    *out = s;
    return om_out_open(&s->out, dir, name, r->ctx, err);
}

static int stage(struct om_quant_files *r, const char *name, bool model,
                 struct om_quant_staged **out, struct om_error *err)
{
    return stage_in(r, r->out_dir, name, model, out, err);
}

static int stage_bytes(struct om_quant_files *r, const char *name, om_sv bytes,
                       struct om_error *err)
{
    struct om_quant_staged *s;

    OM_TRY(stage(r, name, false, &s, err));
    return om_out_write(&s->out, bytes.ptr, bytes.len, err);
}

static int stage_copy(struct om_quant_files *r, const char *name, struct om_error *err)
{
    const char *path = om_path_join(&r->arena, r->dir, name);
    const struct om_mark mark = om_arena_mark(&r->arena);
    om_sv bytes;
    int rc;

    if (!path)
        return no_memory(err);
    if (!om_file_exists(path))
        return 0;
    rc = om_file_read(&r->arena, path, SMALL_FILE_MAX, &bytes, err);
    if (rc == 0)
        rc = stage_bytes(r, name, bytes, err);
    om_arena_rewind(&r->arena, mark);
    return rc;
}

/* The chat templates that have a directory of their own. */
static int stage_templates(struct om_quant_files *r, struct om_error *err)
{
    const char *const dir = om_path_join(&r->arena, r->out_dir, om_templates_dir);
    const char **names;
    struct om_quant_staged *s;
    om_sv bytes;
    size_t n;

    OM_TRY(om_templates_list(&r->arena, r->dir, &names, &n, err));
    if (n > 0)
        OM_TRY(dir ? om_dir_make(dir, err) : no_memory(err));
    for (size_t i = 0; i < n; i++) {
        const char *const path = om_path_join(&r->arena, r->dir, names[i]);

        if (!path)
            return no_memory(err);
        OM_TRY(om_file_read(&r->arena, path, SMALL_FILE_MAX, &bytes, err));
        OM_TRY(stage_in(r, dir, strrchr(names[i], '/') + 1, false, &s, err));
        OM_TRY(om_out_write(&s->out, bytes.ptr, bytes.len, err));
    }
    return 0;
}

int om_quant_files_companions(struct om_quant_files *r, const struct om_buf *ort_config,
                              struct om_error *err)
{
    OM_TRY(om_buf_check(ort_config, err));
    OM_TRY(stage_bytes(r, "ort_config.json", om_buf_sv(ort_config), err));
    OM_TRY(stage_copy(r, "config.json", err));
    OM_TRY(stage_copy(r, "generation_config.json", err));
    for (const char *const *name = om_companion_files; *name; name++)
        OM_TRY(stage_copy(r, *name, err));
    return stage_templates(r, err);
}

/* ---- one model ---- */

int om_quant_files_write(struct om_quant_files *r, struct om_doc *doc, const char *name,
                         struct om_error *err)
{
    const bool external =
        r->weights == OM_WEIGHTS_EXTERNAL ||
        (r->weights != OM_WEIGHTS_EMBEDDED && (r->external || om_doc_size(doc) > INT32_MAX));
    struct om_doc_write_opts o = { .external_min = OM_QUANT_EXTERNAL_MIN };
    struct om_quant_staged *s;
    struct om_out *data = NULL;
    size_t at = 0;

    if (external) {
        o.location = om_arena_printf(&r->arena, "%s_data", name);
        if (!o.location)
            return no_memory(err);
        OM_TRY(stage(r, o.location, false, &s, err));
        at = r->n_staged - 1;
    }
    OM_TRY(stage(r, name, true, &s, err));
    if (external)
        o.data = data = &r->staged[at].out;
    r->external = r->external || external;
    OM_TRY(om_doc_write(doc, &o, &s->out, err));
    if (data)
        r->staged[at].empty = data->pos == 0;
    return om_out_flush(&s->out, err);
}

const char *om_quant_files_target(struct om_quant_files *r, const char *name)
{
    const char *const suffix = r->suffix;
    const om_sv stem = { name,
                         strlen(name) - (om_sv_ends(om_sv_str(name), OM_SVL(".onnx")) ? 5 : 0) };

    return om_arena_printf(&r->arena, "%.*s%s%s.onnx", OM_SV(stem), suffix[0] ? "_" : "", suffix);
}

/* ---- publishing ---- */

int om_quant_files_publish(struct om_quant_files *r, struct om_error *err)
{
    OM_TRY(om_ctx_check(r->ctx, err));
    for (int models = 0; models < 2; models++) {
        for (size_t i = 0; i < r->n_staged; i++) {
            struct om_quant_staged *const s = &r->staged[i];

            if (s->model != (models == 1))
                continue;
            if (s->empty)
                om_out_abort(&s->out);
            else
                OM_TRY(om_out_commit(&s->out, r->durable, err));
        }
    }
    return 0;
}

void om_quant_files_release(struct om_quant_files *r)
{
    for (size_t i = 0; i < r->n_staged; i++)
        om_out_abort(&r->staged[i].out);
    free(r->staged);
    om_arena_release(&r->arena);
}
