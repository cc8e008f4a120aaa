/* src/model/save.c: save_pretrained: the files of a model, copied into another directory. */
#include <errno.h>
#include <unistd.h>

#include "base/file.h"
#include "base/map.h"
#include "export/job.h"
#include "model/internal.h"
#include "onnx/summary.h"

struct save {
    struct om_ctx *ctx;
    struct om_arena arena;
    const char *to;
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

/* The directory of a path, "." when it has none. */
static const char *dir_name(struct om_arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return ".";
    return om_arena_str(a, (om_sv){ path, slash == path ? 1 : (size_t)(slash - path) });
}

static int clone_file(struct save *s, const char *from, const char *dir, const char *name,
                      struct om_error *err)
{
    struct om_file in = OM_FILE_INIT;
    struct om_out out = OM_OUT_INIT;
    int rc = om_file_map(&in, from, err);

    if (rc == 0)
        rc = om_out_open(&out, dir, name, s->ctx, err);
    if (rc == 0)
        rc = om_out_clone(&out, &in, err);
    if (rc == 0)
        rc = om_out_commit(&out, false, err);
    if (rc < 0)
        om_out_abort(&out);
    om_file_unmap(&in);
    return rc;
}

/* Copy from/path to the same path below the new directory; nothing there, or already there: fine.
 */
static int copy(struct save *s, const char *from, const char *path, struct om_error *err)
{
    const char *source = om_path_join(&s->arena, from, path);
    const char *target = om_path_join(&s->arena, s->to, path);
    const char *dir = target ? dir_name(&s->arena, target) : NULL;

    if (!source || !target || !dir)
        return no_memory(err);
    if (!om_file_exists(source) || om_file_same(source, target))
        return 0;
    OM_TRY(om_dir_make(dir, err));
    return clone_file(s, source, dir, strrchr(target, '/') + 1, err);
}

/* A name from the file may not lead out of the directory. */
static int check_location(om_sv location, struct om_error *err)
{
    om_sv rest = location, part;

    if (om_sv_starts(location, OM_SVL("/")) || memchr(location.ptr, '\0', location.len))
        return om_fail(err, OM_E_FORMAT, "external data in \"%.*s\" is outside of the directory",
                       OM_SV(location));
    while (om_sv_split(&rest, '/', &part))
        if (om_sv_is(part, ".."))
            return om_fail(err, OM_E_FORMAT,
                           "external data in \"%.*s\" is outside of the directory",
                           OM_SV(location));
    return 0;
}

/* Every file that initializers name, once. */
static int copy_external(struct save *s, const char *from, const struct om_onnx_summary *summary,
                         struct om_map *seen, struct om_error *err)
{
    for (size_t i = 0; i < summary->weights.len; i++) {
        const om_sv location = summary->weights.items[i].location;
        const char *path;

        if (location.len == 0 || om_map_get(seen, location, NULL))
            continue;
        OM_TRY(check_location(location, err));
        path = om_arena_str(&s->arena, location);
        if (!path || om_map_put(seen, location, 0) < 0)
            return no_memory(err);
        OM_TRY(copy(s, from, path, err));
    }
    return 0;
}

static int copy_model(struct save *s, const char *file, struct om_error *err)
{
    const char *from = dir_name(&s->arena, file), *slash = strrchr(file, '/');
    const char *name = slash ? slash + 1 : file;
    const char *target = om_path_join(&s->arena, s->to, name);
    struct om_onnx_summary summary = { 0 };
    struct om_file map = OM_FILE_INIT;
    struct om_map seen = OM_MAP_INIT;
    int rc;

    if (!from || !target)
        return no_memory(err);
    if (om_file_same(file, target))
        return 0;
    if (unlink(target) < 0 && errno != ENOENT) /* never beside weights that are not its own */
        return om_fail(err, OM_E_IO, "%s: cannot be removed: %s", target, strerror(errno));
    rc = om_file_map(&map, file, err);
    if (rc == 0)
        rc = om_wrap(err, om_onnx_summarize(&s->arena, &map, &summary, err), "%s", file);
    if (rc == 0)
        rc = copy_external(s, from, &summary, &seen, err);
    om_map_release(&seen);
    om_file_unmap(&map);
    return rc == 0 ? copy(s, from, name, err) : rc;
}

static int copy_templates(struct save *s, const char *from, struct om_error *err)
{
    const char **names;
    size_t n;

    OM_TRY(om_templates_list(&s->arena, from, &names, &n, err));
    for (size_t i = 0; i < n; i++)
        OM_TRY(copy(s, from, names[i], err));
    return 0;
}

static int save(struct save *s, const struct om_model_info *info, struct om_error *err)
{
    OM_TRY(om_dir_make(s->to, err));
    OM_TRY(copy(s, info->dir, "config.json", err));
    OM_TRY(copy(s, info->dir, "generation_config.json", err));
    for (const char *const *name = om_companion_files; *name; name++)
        OM_TRY(copy(s, info->dir, *name, err));
    OM_TRY(copy_templates(s, info->dir, err));
    if (info->encoder_file)
        OM_TRY(copy_model(s, info->encoder_file, err));
    if (info->decoder_with_past_file)
        OM_TRY(copy_model(s, info->decoder_with_past_file, err));
    return copy_model(s, info->file, err);
}

int om_model_save(struct om_ctx *ctx, const struct om_model *m, const char *dir,
                  struct om_error *err)
{
    struct save s = { .ctx = ctx, .arena = OM_ARENA_INIT((size_t)1 << 30), .to = dir };
    int rc;

    if (!dir || !dir[0])
        return om_fail(err, OM_E_USAGE, "no directory to save into was given");
    rc = save(&s, &m->info, err);
    om_arena_release(&s.arena);
    return rc;
}
