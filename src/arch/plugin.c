/* src/arch/plugin.c: architectures that a shared object adds to a context. */
#include <optimum/plugin.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "arch/arch.h"
#include "base/file.h"

struct plugin {
    void *handle; /* of dlopen() */
    const struct om_plugin *entry;
    struct stat file;
};

struct om_plugins {
    struct plugin *items;
    size_t len, cap;
};

static void free_plugins(void *plugins)
{
    struct om_plugins *const p = plugins;

    for (size_t i = 0; i < p->len; i++)
        dlclose(p->items[i].handle);
    free(p->items);
    free(p);
}

/* ---- finding ---- */

const struct om_plugin_arch *om_arch_of_plugins(const struct om_ctx *ctx, size_t i)
{
    const struct om_plugins *const p = om_ctx_plugins(ctx);

    for (size_t k = 0; p && k < p->len; k++)
        for (const struct om_plugin_arch *a = p->items[k].entry->archs; a->model_type; a++)
            if (i-- == 0)
                return a;
    return NULL;
}

const struct om_arch *om_arch_find_in(const struct om_ctx *ctx, const char *model_type)
{
    const struct om_arch *const own = om_arch_find(model_type);
    const struct om_plugin_arch *a;

    for (size_t i = 0; !own && (a = om_arch_of_plugins(ctx, i)) != NULL; i++)
        if (strcmp(a->model_type, model_type) == 0)
            return a->arch;
    return own;
}

const char *om_arch_plugins_id(struct om_arena *a, const struct om_ctx *ctx)
{
    const struct om_plugins *const p = om_ctx_plugins(ctx);
    const char *id = "";

    for (size_t i = 0; p && i < p->len && id; i++) {
        const struct stat *const f = &p->items[i].file;

        id = om_arena_printf(a, "%s%s %ju %ju %jd %jd.%09ld\n", id, p->items[i].entry->name,
                             (uintmax_t)f->st_dev, (uintmax_t)f->st_ino, (intmax_t)f->st_size,
                             (intmax_t)f->st_mtim.tv_sec, f->st_mtim.tv_nsec);
    }
    return id;
}

/* ---- checking ---- */

/* What every architecture of its kind has, for a message; NULL: nothing is missing. */
static const char *missing_member(const struct om_arch *a)
{
    bool head = false;

    for (size_t i = 0; i < OM_HEAD_COUNT; i++)
        head = head || a->heads[i];
    if (a->kind != OM_ARCH_ENCODER && a->kind != OM_ARCH_DECODER && a->kind != OM_ARCH_SEQ2SEQ)
        return "a known kind";
    if (!a->cfg_size || !a->fields)
        return "cfg_size and fields";
    if (!a->inputs)
        return "inputs";
    if (a->kind != OM_ARCH_ENCODER && !a->kv)
        return "kv";
    if (a->kind == OM_ARCH_SEQ2SEQ ? !a->encode || !a->decode : !a->build)
        return a->kind == OM_ARCH_SEQ2SEQ ? "encode and decode" : "build";
    return head ? NULL : "a head";
}

static int check_arch(const struct om_ctx *ctx, const struct om_plugin_arch *all,
                      const struct om_plugin_arch *a, struct om_error *err)
{
    const char *missing;

    if (om_arch_find_in(ctx, a->model_type))
        return om_fail(err, OM_E_USAGE, "model type \"%s\" exists already", a->model_type);
    for (; all < a; all++)
        if (strcmp(all->model_type, a->model_type) == 0)
            return om_fail(err, OM_E_FORMAT, "model type \"%s\" occurs twice", a->model_type);
    missing = a->arch ? missing_member(a->arch) : "an architecture";
    if (missing)
        return om_fail(err, OM_E_FORMAT, "model type \"%s\" lacks %s", a->model_type, missing);
    return 0;
}

/* The number comes first: nothing else is looked at before it is the right one. */
static int check_entry(const struct om_ctx *ctx, const struct om_plugin *entry,
                       struct om_error *err)
{
    if (entry->abi != OM_PLUGIN_ABI)
        return om_fail(err, OM_E_UNSUPPORTED,
                       "made for ABI %" PRIu32 " of plugins, this is ABI %d: compile it anew",
                       entry->abi, OM_PLUGIN_ABI);
    if (!entry->name || !entry->archs || !entry->archs->model_type)
        return om_fail(err, OM_E_FORMAT, "the plugin has no %s",
                       entry->name ? "architectures" : "name");
    for (const struct om_plugin_arch *a = entry->archs; a->model_type; a++)
        OM_TRY(check_arch(ctx, entry->archs, a, err));
    return 0;
}

/* ---- loading ---- */

static int add_plugin(struct om_ctx *ctx, const struct plugin *plugin, struct om_error *err)
{
    struct om_plugins *p = om_ctx_plugins(ctx);

    if (!p) {
        p = calloc(1, sizeof(*p));
        if (p)
            om_ctx_set_plugins(ctx, p, free_plugins);
    }
    if (!p || !om_grow(&p->items, &p->cap, p->len + 1, sizeof(*p->items)))
        return om_fail(err, OM_E_NOMEM, "out of memory for a plugin");
    p->items[p->len++] = *plugin;
    return 0;
}

/* dlopen()'s reason without the path that it begins with. */
static const char *reason(const char *path)
{
    const char *const why = dlerror();
    const size_t n = strlen(path);

    if (!why)
        return "it cannot be opened";
    return strncmp(why, path, n) == 0 && why[n] == ':' && why[n + 1] == ' ' ? why + n + 2 : why;
}

static int load(struct om_ctx *ctx, const char *path, struct plugin *p, struct om_error *err)
{
    if (stat(path, &p->file) < 0)
        return om_fail(err, OM_E_IO, "%s", strerror(errno));
    p->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!p->handle)
        return om_fail(err, OM_E_FORMAT, "%s", reason(path));
    p->entry = dlsym(p->handle, OM_PLUGIN_SYMBOL);
    if (!p->entry)
        return om_fail(err, OM_E_FORMAT, "no plugin: it does not define " OM_PLUGIN_SYMBOL);
    OM_TRY(check_entry(ctx, p->entry, err));
    return add_plugin(ctx, p, err);
}

/* A name without a slash would be looked for in the system's directories. */
int om_plugin_load(struct om_ctx *ctx, const char *path, struct om_error *err)
{
    struct om_arena a = OM_ARENA_INIT((size_t)1 << 20);
    struct plugin p = { .handle = NULL };
    const char *const file = strchr(path, '/') ? path : om_path_join(&a, ".", path);
    int rc;

    if (!ctx)
        rc = om_fail(err, OM_E_USAGE, "a plugin needs a context");
    else if (!file)
        rc = om_fail(err, OM_E_NOMEM, "out of memory for a plugin");
    else if (!om_file_exists(file))
        rc = om_fail(err, OM_E_MISSING, "no such file");
    else
        rc = load(ctx, file, &p, err);
    if (rc < 0 && p.handle)
        dlclose(p.handle);
    om_arena_release(&a);
    return om_wrap(err, rc, "plugin %s", path);
}
