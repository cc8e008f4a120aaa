/* src/hub/select.c: which files of a repository an export needs. The listing decides; nothing is
 * tried out. */
#include "hub/internal.h"

#include <stdlib.h>

#include "base/json.h"

/* Beside the caller's companions: what the readers of configurations and of sentence-transformers
 * models look at. */
static const char *const small_files[] = { "config.json",
                                           "generation_config.json",
                                           "modules.json",
                                           "model_index.json",
                                           "config_sentence_transformers.json",
                                           "sentence_bert_config.json" };

/* The formats of weights, best first. */
static const struct {
    const char *file, *index;
} formats[] = {
    { "model.safetensors", "model.safetensors.index.json" },
    { "pytorch_model.bin", "pytorch_model.bin.index.json" },
    { "tf_model.h5", "tf_model.h5.index.json" },
};

void om_hub_want_release(struct om_hub_want *w)
{
    free(w->files);
    om_map_release(&w->seen);
    *w = (struct om_hub_want){ 0 };
}

int om_hub_want_file(struct om_hub_want *w, const struct om_hub_file *f, struct om_error *err)
{
    if (om_map_get(&w->seen, f->path, NULL))
        return 0;
    if (!om_grow(&w->files, &w->cap, w->len + 1, sizeof(*w->files)) ||
        om_map_put(&w->seen, f->path, 0) < 0)
        return om_fail(err, OM_E_NOMEM, "out of memory for the list of files");
    w->files[w->len++] = (uint32_t)(f - w->listing->files);
    return 0;
}

/* The file NAME of directory dir in the listing: *f is NULL when the repository has none. */
static int find(struct om_hub_want *w, om_sv dir, om_sv name, const struct om_hub_file **f,
                struct om_error *err)
{
    const char *path = om_arena_printf(w->arena, "%.*s%.*s", OM_SV(dir), OM_SV(name));

    if (!path)
        return om_fail(err, OM_E_NOMEM, "out of memory for a path");
    *f = om_hub_listing_find(w->listing, om_sv_str(path));
    return 0;
}

static int want_named(struct om_hub_want *w, om_sv dir, const char *name, struct om_error *err)
{
    const struct om_hub_file *f = NULL;

    OM_TRY(find(w, dir, om_sv_str(name), &f, err));
    return f ? om_hub_want_file(w, f, err) : 0;
}

/* Chat templates with names of their own, in the directory where Transformers keeps them. */
static int want_templates(struct om_hub_want *w, om_sv dir, struct om_error *err)
{
    for (size_t i = 0; i < w->listing->len; i++) {
        om_sv path = w->listing->files[i].path;

        if (!om_sv_starts(path, dir))
            continue;
        path.ptr += dir.len;
        path.len -= dir.len;
        if (om_sv_starts(path, OM_SVL("additional_chat_templates/")) &&
            om_sv_ends(path, OM_SVL(".jinja")))
            OM_TRY(om_hub_want_file(w, &w->listing->files[i], err));
    }
    return 0;
}

int om_hub_want_small(struct om_hub_want *w, om_sv dir, const char *const *companions,
                      struct om_error *err)
{
    for (size_t i = 0; i < OM_COUNT(small_files); i++)
        OM_TRY(want_named(w, dir, small_files[i], err));
    for (; companions && *companions; companions++)
        OM_TRY(want_named(w, dir, *companions, err));
    return want_templates(w, dir, err);
}

/* A file of another name that must be the model, because it is the only one: as ckpt reads it. */
static const struct om_hub_file *only_safetensors(const struct om_hub_want *w, om_sv dir)
{
    const struct om_hub_file *only = NULL;

    for (size_t i = 0; i < w->listing->len; i++) {
        const struct om_hub_file *f = &w->listing->files[i];
        om_sv name = f->path;

        if (!om_sv_starts(name, dir) || !om_sv_ends(name, OM_SVL(".safetensors")))
            continue;
        name = (om_sv){ name.ptr + dir.len, name.len - dir.len };
        if (memchr(name.ptr, '/', name.len) || om_sv_starts(name, OM_SVL("adapter_")))
            continue;
        if (only)
            return NULL;
        only = f;
    }
    return only;
}

int om_hub_want_weights(struct om_hub_want *w, om_sv dir, om_sv *index, bool *found,
                        struct om_error *err)
{
    const struct om_hub_file *f = NULL;

    *index = (om_sv){ NULL, 0 };
    *found = true;
    for (size_t i = 0; i < OM_COUNT(formats); i++) {
        OM_TRY(find(w, dir, om_sv_str(formats[i].file), &f, err));
        if (f)
            return om_hub_want_file(w, f, err);
        OM_TRY(find(w, dir, om_sv_str(formats[i].index), &f, err));
        if (f) {
            *index = f->path;
            return om_hub_want_file(w, f, err);
        }
    }
    f = only_safetensors(w, dir);
    *found = f != NULL;
    return f ? om_hub_want_file(w, f, err) : 0;
}

/* ---- indexes ---- */

static int want_shard(struct om_hub_want *w, om_sv dir, om_sv tensor, const struct om_json *v,
                      struct om_error *err)
{
    const struct om_hub_file *f = NULL;
    om_sv name;

    if (!om_json_str(v, &name) || !om_hub_is_path(name) || memchr(name.ptr, '/', name.len))
        return om_fail(err, OM_E_FORMAT,
                       "weight_map: tensor \"%.*s\": expected the plain name of a file",
                       OM_SV(tensor));
    OM_TRY(find(w, dir, name, &f, err));
    if (!f)
        return om_fail(err, OM_E_MISSING, "shard \"%.*s\" is not there", OM_SV(name));
    return om_hub_want_file(w, f, err);
}

int om_hub_want_shards(struct om_hub_want *w, om_sv dir, om_sv json, struct om_error *err)
{
    struct om_json *doc = NULL;
    struct om_json_iter it = { 0 };
    const struct om_json *map;
    int rc = om_json_parse(json, OM_JSON_LAST_WINS, &doc, err);

    if (rc < 0)
        return rc;
    map = om_json_get(doc, "weight_map");
    if (om_json_kind(map) != OM_JSON_OBJECT || om_json_len(map) == 0)
        rc = om_fail(err, OM_E_FORMAT,
                     "key \"weight_map\": expected an object with tensors, found %s",
                     om_json_kind(map) == OM_JSON_OBJECT ? "an empty one" : om_json_kind_text(map));
    while (rc == 0 && om_json_next(map, &it)) {
        const struct om_mark mark = om_arena_mark(w->arena);

        rc = want_shard(w, dir, it.key, it.value, err);
        om_arena_rewind(w->arena, mark); /* the listing has the path; a model has many tensors */
    }
    om_json_free(doc);
    return rc;
}

/* ---- modules of a sentence-transformers model ---- */

/* "1_Dense/" as "1_Dense"; a path that leaves the repository is nobody's: whoever reads the module
 * says so. */
static bool module_path(const struct om_json *v, om_sv *path)
{
    *path = (om_sv){ "", 0 };
    om_json_str(om_json_get(v, "path"), path);
    while (om_sv_starts(*path, OM_SVL("./")))
        *path = (om_sv){ path->ptr + 2, path->len - 2 };
    while (path->len > 0 && path->ptr[path->len - 1] == '/')
        path->len--;
    return path->len == 0 || om_hub_is_path(*path);
}

static int read_modules(struct om_arena *a, om_sv root, const struct om_json *doc,
                        struct om_hub_module *out, size_t *n, struct om_error *err)
{
    om_sv path, type = { NULL, 0 };

    *n = 0;
    for (size_t i = 0; om_json_kind(doc) == OM_JSON_ARRAY && i < om_json_len(doc); i++) {
        const struct om_json *v = om_json_at(doc, i);
        const char *dir;

        if (!module_path(v, &path))
            continue;
        om_json_str(om_json_get(v, "type"), &type);
        dir = om_arena_printf(a, "%.*s%.*s%s", OM_SV(root), OM_SV(path), path.len ? "/" : "");
        if (!dir)
            return om_fail(err, OM_E_NOMEM, "out of memory for a path");
        out[(*n)++] =
            (struct om_hub_module){ om_sv_str(dir), om_sv_ends(type, OM_SVL(".Transformer")) };
    }
    return 0;
}

int om_hub_modules(struct om_arena *a, om_sv root, om_sv json, struct om_hub_module **out,
                   size_t *n, struct om_error *err)
{
    struct om_json *doc = NULL;
    int rc = om_json_parse(json, OM_JSON_LAST_WINS, &doc, err);

    if (rc < 0)
        return rc;
    *out = om_arena_array(a, om_json_len(doc) + 1, sizeof(**out));
    if (*out)
        rc = read_modules(a, root, doc, *out, n, err);
    else
        rc = om_fail(err, OM_E_NOMEM, "out of memory for the modules");
    om_json_free(doc);
    return rc;
}
