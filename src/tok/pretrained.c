/* src/tok/pretrained.c: a tokenizer by the name of a model: a directory, or an id of the Hub. */
#include "base/file.h"
#include "hub/hub.h"
#include "tok/tok.h"

static int open_in(const char *dir, const char *sub, bool target, struct om_tokenizer **out,
                   struct om_error *err)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    const char *const path = sub && sub[0] ? om_path_join(&a, dir, sub) : dir;
    const int rc = path ? tok_open(path, target, out, err)
                        : om_fail(err, OM_E_NOMEM, "out of memory for a path");

    om_arena_release(&a);
    return rc;
}

static int open_from_hub(struct om_ctx *ctx, const struct om_tokenizer_opts *o,
                         struct om_tokenizer **out, struct om_error *err)
{
    const struct om_hub_opts hub = { .id = o->tokenizer,
                                     .revision = o->revision,
                                     .subfolder = o->subfolder,
                                     .cache_dir = o->cache_dir,
                                     .token = o->token,
                                     .local_files_only = o->local_files_only,
                                     .force_download = o->force_download,
                                     .companions = tok_files,
                                     .ctx = ctx };
    struct om_hub_repo *repo = NULL;

    OM_TRY(om_hub_open(&hub, &repo, err));
    const int rc = tok_open(om_hub_dir(repo), o->target, out, err);
    om_hub_close(repo);
    return rc;
}

int om_tokenizer_from_pretrained(struct om_ctx *ctx, const struct om_tokenizer_opts *opts,
                                 struct om_tokenizer **out, struct om_error *err)
{
    const char *const name = opts->tokenizer;

    if (opts->struct_size != sizeof(*opts))
        return om_fail(err, OM_E_USAGE,
                       "om_tokenizer_opts: initialise it with OM_TOKENIZER_OPTS_INIT");
    if (!name || !name[0])
        return om_fail(err, OM_E_USAGE, "no tokenizer was named");
    const bool local = om_dir_exists(name) || om_file_exists(name);
    if (local && opts->revision)
        return om_fail(err, OM_E_USAGE, "revision %s is for models from the Hub; %s is local",
                       opts->revision, name);
    if (local)
        return open_in(name, opts->subfolder, opts->target, out, err);
    if (!om_hub_is_id(name))
        return om_fail(err, OM_E_MISSING,
                       "%s: no such file or directory, and no id of a model on the Hub: %s", name,
                       om_hub_id_problem(name));
    return open_from_hub(ctx, opts, out, err);
}
