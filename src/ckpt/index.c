/* src/ckpt/index.c: a checkpoint in several files, with an index that says which tensor
 * is where. */
#include "ckpt/internal.h"

#include <stdlib.h>

#include "base/json.h"
#include "ckpt/tf_names.h"

struct index {
    struct om_arena *arena;
    const char *dir;
    const struct om_ckpt_layout *layout;
    const struct om_json *weight_map; /* tensor name -> shard name */
    om_sv *shards;                    /* distinct, sorted */
    size_t len;
    struct om_map shard_of; /* tensor name -> index into shards */
};

/* A shard lies in the checkpoint's directory: its name must not lead anywhere else. */
static bool is_plain_name(om_sv name, const char *suffix)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] == '/' || name.ptr[i] == '\\' || name.ptr[i] == '\0')
            return false;
    return name.len > strlen(suffix) && om_sv_ends(name, om_sv_str(suffix));
}

static int by_text(const void *a, const void *b)
{
    return om_sv_cmp(*(const om_sv *)a, *(const om_sv *)b);
}

/* The distinct shard names, sorted. */
static int collect_shards(struct index *x, struct om_map *seen, struct om_error *err)
{
    struct om_json_iter it = { 0 };

    x->shards = om_arena_array(x->arena, om_json_len(x->weight_map), sizeof(*x->shards));
    if (!x->shards)
        return om_fail(err, OM_E_NOMEM, "out of memory for the shard list");
    while (om_json_next(x->weight_map, &it)) {
        om_sv name;

        if (!om_json_str(it.value, &name))
            return om_fail(err, OM_E_FORMAT,
                           "weight_map: tensor \"%.*s\": expected a file name, found %s",
                           OM_SV(it.key), om_json_kind_text(it.value));
        if (om_map_get(seen, name, NULL))
            continue;
        if (!is_plain_name(name, x->layout->suffix))
            return om_fail(err, OM_E_FORMAT,
                           "weight_map: tensor \"%.*s\": \"%.*s\" is not the plain name of "
                           "a %s file",
                           OM_SV(it.key), OM_SV(name), x->layout->suffix);
        OM_TRY(om_map_put(seen, name, 0));
        x->shards[x->len++] = name;
    }
    qsort(x->shards, x->len, sizeof(*x->shards), by_text);
    return 0;
}

/* The tensor that a key of the weight map means: TensorFlow's are the full names of variables. */
static int tensor_name(const struct index *x, om_sv key, om_sv *name, struct om_error *err)
{
    bool kernel;

    *name = key;
    if (!om_tf_is_variable(key))
        return 0;
    *name = om_sv_str(om_tf_name(x->arena, key, true, &kernel));
    return name->ptr ? 0 : om_fail(err, OM_E_NOMEM, "out of memory for the weight map");
}

/* Which shard has which tensor. Reuses seen to number the shards. */
static int assign_tensors(struct index *x, struct om_map *seen, struct om_error *err)
{
    struct om_json_iter it = { 0 };

    for (size_t i = 0; i < x->len; i++)
        if (om_map_put(seen, x->shards[i], (uint32_t)i) < 0)
            return om_fail(err, OM_E_NOMEM, "out of memory for the shard list");
    while (om_json_next(x->weight_map, &it)) {
        uint32_t shard = 0;
        om_sv file = { NULL, 0 }, tensor;

        om_json_str(it.value, &file);
        om_map_get(seen, file, &shard);
        OM_TRY(tensor_name(x, it.key, &tensor, err));
        if (om_map_put(&x->shard_of, tensor, shard) < 0)
            return om_fail(err, OM_E_NOMEM, "out of memory for the weight map");
    }
    return 0;
}

static int read_index(struct index *x, const struct om_json *doc, struct om_error *err)
{
    struct om_map seen = OM_MAP_INIT;
    int rc;

    x->weight_map = om_json_get(doc, "weight_map");
    if (om_json_kind(x->weight_map) != OM_JSON_OBJECT)
        return om_fail(err, OM_E_FORMAT, "key \"weight_map\": expected an object, found %s",
                       x->weight_map ? om_json_kind_text(x->weight_map) : "nothing");
    if (om_json_len(x->weight_map) == 0)
        return om_fail(err, OM_E_FORMAT, "key \"weight_map\" is empty");
    rc = collect_shards(x, &seen, err);
    if (rc == 0)
        rc = assign_tensors(x, &seen, err);
    om_map_release(&seen);
    return rc;
}

/* Keep of the n tensors of a shard those that the index assigns to it. */
static size_t keep_assigned(const struct index *x, size_t shard, struct om_ckpt_tensor *t, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t at;

        if (om_map_get(&x->shard_of, t[i].name, &at) && at == shard)
            t[kept++] = t[i];
    }
    return kept;
}

/* Map shard i and append its tensors to the checkpoint, which has room for all that the index
 * names. */
static int add_shard(const struct index *x, struct om_ckpt *ck, size_t i, struct om_error *err)
{
    const char *name = om_arena_str(x->arena, x->shards[i]);
    const char *path = name ? om_path_join(x->arena, x->dir, name) : NULL;
    struct om_ckpt_tensor *t = NULL;
    size_t n = 0;

    if (!path)
        return om_fail(err, OM_E_NOMEM, "out of memory for a path");
    if (!om_file_exists(path))
        return om_fail(err, OM_E_MISSING, "%s/%s: shard \"%s\" is not there", x->dir,
                       x->layout->index, name);
    OM_TRY(om_ckpt_read_file(x->arena, ck, i, path, &t, &n, err));
    n = keep_assigned(x, i, t, n);
    if (n > x->shard_of.len - ck->len) /* only when a name came twice through the JSON parser */
        return om_fail(err, OM_E_FORMAT, "%s: more tensors than the index names", path);
    if (n > 0)
        memcpy(ck->tensors + ck->len, t, n * sizeof(*t));
    ck->len += n;
    return 0;
}

/* Every tensor that the index names must have been found; names the first that was not. */
static int check_complete(const struct index *x, const struct om_ckpt *ck, struct om_error *err)
{
    const size_t missing = x->shard_of.len - ck->len;
    struct om_json_iter it = { 0 };

    if (missing == 0)
        return 0;
    while (om_json_next(x->weight_map, &it)) {
        om_sv shard = { NULL, 0 }, tensor;

        OM_TRY(tensor_name(x, it.key, &tensor, err));
        if (om_map_get(&ck->by_name, tensor, NULL))
            continue;
        om_json_str(it.value, &shard);
        return om_fail(err, OM_E_MISSING,
                       "%s/%s: tensor \"%.*s\" is not in its shard \"%.*s\" "
                       "(%zu missing in all)",
                       x->dir, x->layout->index, OM_SV(it.key), OM_SV(shard), missing);
    }
    return om_fail(err, OM_E_INTERNAL, "%s: the index and its shards disagree", x->dir);
}

static int open_shards(const struct index *x, struct om_ckpt **out, struct om_error *err)
{
    struct om_ckpt *ck = om_ckpt_new(x->arena, x->len);
    int rc = 0;

    if (ck)
        ck->tensors = om_arena_array(x->arena, x->shard_of.len, sizeof(*ck->tensors));
    if (!ck || !ck->tensors)
        return om_fail(err, OM_E_NOMEM, "%s: out of memory for the tensor table", x->dir);
    for (size_t i = 0; i < x->len && rc == 0; i++)
        rc = add_shard(x, ck, i, err);
    if (rc == 0)
        rc = om_ckpt_index_names(ck, err);
    if (rc == 0)
        rc = check_complete(x, ck, err);
    if (rc < 0) {
        om_ckpt_close(ck);
        return rc;
    }
    *out = ck;
    return 0;
}

int om_ckpt_open_shards(struct om_arena *a, const char *dir, const struct om_ckpt_layout *layout,
                        struct om_ckpt **out, struct om_error *err)
{
    struct index x = { .arena = a, .dir = dir, .layout = layout };
    const char *path = om_path_join(a, dir, layout->index);
    struct om_json *doc = NULL;
    int rc;

    if (!path)
        return om_fail(err, OM_E_NOMEM, "%s: out of memory for a path", dir);
    OM_TRY(om_json_read(path, OM_JSON_NO_DUPLICATES, &doc, err));
    rc = om_wrap(err, read_index(&x, doc, err), "%s", path);
    if (rc == 0)
        rc = open_shards(&x, out, err);
    om_map_release(&x.shard_of);
    om_json_free(doc);
    return rc;
}
