/* src/hub/hub.c: from an id to a directory: ask what a revision holds, choose, fetch in parallel.
 */
#include "hub/internal.h"

#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/file.h"

enum { CONNECTIONS = 4, ANSWER_MAX = 256 << 20, PAGES_MAX = 10000 };

struct om_hub_repo {
    struct om_arena arena;
    struct om_hub hub;
    struct om_hub_cache cache;
    om_sv id, revision, commit;
    om_sv root; /* "" or "subfolder/" */
    const char *dir;
    const char *const *companions;
    struct om_hub_listing listing;
    struct om_hub_want want;
    size_t fetched; /* of want.files, those that are there */
    bool cached_only;
    struct om_hub_module *modules;
    size_t n_modules;
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

/* ---- fetching what is wanted ---- */

struct crew {
    struct om_hub_repo *repo;
    size_t next, end;     /* under hub.lock */
    struct om_error *err; /* of the first failure */
    int rc;
};

static bool take(struct crew *crew, size_t *at)
{
    struct om_hub *hub = &crew->repo->hub;
    bool more;

    pthread_mutex_lock(&hub->lock);
    more = crew->next < crew->end && crew->rc == 0;
    if (more)
        *at = crew->next++;
    pthread_mutex_unlock(&hub->lock);
    return more;
}

/* The first failure stops the others, whose own failures are its consequence. */
static void give_up(struct crew *crew, int rc, struct om_error *err)
{
    struct om_hub *hub = &crew->repo->hub;

    pthread_mutex_lock(&hub->lock);
    if (crew->rc == 0) {
        crew->rc = om_fail(crew->err, rc, "%s", om_error_text(err));
        atomic_store(&hub->stop, true);
    }
    pthread_mutex_unlock(&hub->lock);
    om_error_release(err);
}

static void *work(void *user)
{
    struct crew *crew = user;
    struct om_hub_repo *repo = crew->repo;
    const struct om_hub_fetch fetch = { &repo->hub, &repo->cache, repo->id, repo->commit };
    struct om_hub_conn conn;
    struct om_error err = OM_ERROR_INIT;
    size_t at;

    om_hub_conn_init(&conn, &repo->hub);
    while (take(crew, &at)) {
        const int rc =
            om_hub_fetch_file(&fetch, &conn, &repo->listing.files[repo->want.files[at]], &err);

        if (rc < 0)
            give_up(crew, rc, &err);
    }
    om_hub_conn_release(&conn);
    return NULL;
}

/* Fetch the files that were wanted since the last call. The calling thread is one of those that
 * work. */
static int fetch_wanted(struct om_hub_repo *repo, struct om_error *err)
{
    struct crew crew = { .repo = repo, .next = repo->fetched, .end = repo->want.len, .err = err };
    pthread_t threads[CONNECTIONS - 1];
    size_t n = 0;

    if (repo->cached_only) /* the listing is what is there */
        crew.next = crew.end;
    const size_t files = crew.end - crew.next; /* those that run change crew.next */
    while (n < OM_COUNT(threads) && n + 1 < files &&
           pthread_create(&threads[n], NULL, work, &crew) == 0)
        n++;
    work(&crew);
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    repo->fetched = repo->want.len;
    return crew.rc;
}

/* ---- the listing ---- */

/* All pages of the tree, for repositories too large for the first answer. */
static int list_tree(struct om_hub_repo *repo, struct om_hub_conn *c, struct om_buf *text,
                     struct om_http_response *rs, struct om_error *err)
{
    const char *url =
        om_arena_printf(&repo->arena, "%s/api/models/%.*s/tree/%.*s?recursive=true&expand=false",
                        repo->hub.env.endpoint, OM_SV(repo->id), OM_SV(repo->listing.commit));

    for (int page = 0; page < PAGES_MAX; page++) {
        om_sv next;

        if (!url)
            return no_memory(err);
        OM_TRY(om_hub_ask(c, url, false, text, rs, err));
        if (rs->status != 200)
            return om_hub_fail_status(&repo->hub, rs, repo->id, NULL, err);
        OM_TRY(om_hub_parse_tree(&repo->arena, om_buf_sv(text), &repo->listing, err));
        if (!om_hub_next_link(om_http_header(&rs->headers, "link"), &next))
            return 0;
        url = om_url_join(&repo->arena, om_sv_str(url), next);
        if (!url || !om_url_same_origin(om_sv_str(url), om_sv_str(repo->hub.env.endpoint)))
            return om_fail(err, OM_E_IO, "the list of files continues on another server");
    }
    return om_fail(err, OM_E_LIMIT, "the list of files has more than %d pages", PAGES_MAX);
}

static char *info_url(struct om_hub_repo *repo)
{
    struct om_buf b = OM_BUF_INIT(16 << 10);
    char *url;

    om_buf_printf(&b, "%s/api/models/%.*s/revision/", repo->hub.env.endpoint, OM_SV(repo->id));
    om_hub_quote(&b, repo->revision, false);
    om_buf_adds(&b, "?blobs=true");
    url = b.failed ? NULL : om_arena_str(&repo->arena, om_buf_sv(&b));
    om_buf_release(&b);
    return url;
}

static int list_with(struct om_hub_repo *repo, struct om_hub_conn *c, struct om_buf *text,
                     struct om_http_response *rs, bool *refused, struct om_error *err)
{
    const char *url = info_url(repo);

    if (!url)
        return no_memory(err);
    OM_TRY(om_hub_ask(c, url, false, text, rs, err));
    if (rs->status != 200) {
        *refused = om_sv_is(om_http_header(&rs->headers, "x-error-code"), "RevisionNotFound");
        OM_TRY(om_wrap(err, om_hub_fail_status(&repo->hub, rs, repo->id, NULL, err),
                       "revision \"%.*s\"", OM_SV(repo->revision)));
    }
    *refused = true; /* whatever is wrong from here on, the server is there */
    OM_TRY(om_wrap(err, om_hub_parse_info(&repo->arena, om_buf_sv(text), &repo->listing, err),
                   "the answer of %s for %.*s", repo->hub.env.endpoint, OM_SV(repo->id)));
    if (!repo->listing.complete)
        OM_TRY(list_tree(repo, c, text, rs, err));
    return 0;
}

/* *refused: the Hub was asked and said no, so that a copy in the cache is no answer. */
static int list_online(struct om_hub_repo *repo, bool *refused, struct om_error *err)
{
    struct om_http_response rs = OM_HTTP_RESPONSE_INIT;
    struct om_buf text = OM_BUF_INIT(ANSWER_MAX);
    struct om_hub_conn conn;
    int rc;

    *refused = false;
    om_hub_conn_init(&conn, &repo->hub);
    rc = list_with(repo, &conn, &text, &rs, refused, err);
    if (rc == 0) {
        repo->commit = repo->listing.commit;
        rc = om_hub_cache_set_ref(&repo->cache, repo->revision, repo->commit, err);
    }
    om_hub_conn_release(&conn);
    om_buf_release(&text);
    om_http_response_release(&rs);
    return rc;
}

static int list_cached(struct om_hub_repo *repo, struct om_error *err)
{
    repo->cached_only = true;
    repo->commit = om_hub_cache_ref(&repo->cache, repo->revision);
    om_hub_listing_release(&repo->listing);
    return repo->commit.len ? om_hub_cache_list(&repo->cache, repo->commit, &repo->listing, err)
                            : 0;
}

static int fail_not_cached(const struct om_hub_repo *repo, struct om_error *err)
{
    return om_fail(err, OM_E_MISSING,
                   "\"%.*s\" is no directory, its revision \"%.*s\" is not in the cache (%s), and "
                   "the Hub is not asked because %s",
                   OM_SV(repo->id), OM_SV(repo->revision), repo->cache.root,
                   repo->hub.env.local_only ? "only local files may be used"
                                            : "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set");
}

/* Without an answer from the Hub, what was fetched before serves. */
static int list_files(struct om_hub_repo *repo, struct om_error *err)
{
    struct om_error other = OM_ERROR_INIT;
    bool refused;
    int rc;

    if (repo->hub.env.offline) {
        OM_TRY(list_cached(repo, err));
        return repo->listing.len > 0 ? 0 : fail_not_cached(repo, err);
    }
    rc = list_online(repo, &refused, err);
    if (rc == 0 || refused || rc == OM_E_CANCELLED || rc == OM_E_NOMEM)
        return rc;
    if (list_cached(repo, &other) == 0 && repo->listing.len > 0) {
        om_hub_log(&repo->hub, OM_LOG_WARNING, "%s; using commit %.*s from the cache",
                   om_error_text(err), OM_SV(repo->commit));
        om_error_release(err);
        rc = 0;
    }
    om_error_release(&other);
    return rc;
}

/* ---- choosing ---- */

/* The text of a fetched file. */
static int read_fetched(struct om_hub_repo *repo, om_sv path, om_sv *text, const char **name,
                        struct om_error *err)
{
    *name = om_hub_cache_snapshot(&repo->cache, &repo->arena, repo->commit, path);
    if (!*name)
        return no_memory(err);
    return om_file_read(&repo->arena, *name, ANSWER_MAX, text, err);
}

static bool is_wanted(const struct om_hub_repo *repo, const char *name)
{
    struct om_arena a = OM_ARENA_INIT(1 << 16);
    const char *path = om_arena_printf(&a, "%.*s%s", OM_SV(repo->root), name);
    const bool yes = path && om_map_get(&repo->want.seen, om_sv_str(path), NULL);

    om_arena_release(&a);
    return yes;
}

/* Weights of one directory, and through an index its shards. */
static int fetch_weights(struct om_hub_repo *repo, om_sv dir, bool *found, struct om_error *err)
{
    const char *name;
    om_sv index, text;

    OM_TRY(om_hub_want_weights(&repo->want, dir, &index, found, err));
    if (index.len == 0)
        return 0;
    OM_TRY(fetch_wanted(repo, err));
    OM_TRY(read_fetched(repo, index, &text, &name, err));
    return om_wrap(err, om_hub_want_shards(&repo->want, dir, text, err), "%s%s", name,
                   repo->cached_only ? " (only the cache is used)" : "");
}

/* The modules of a sentence-transformers model: small ones whole, the transformer without its
 * weights. */
static int fetch_modules(struct om_hub_repo *repo, struct om_error *err)
{
    const char *path = om_arena_printf(&repo->arena, "%.*smodules.json", OM_SV(repo->root)), *name;
    om_sv text;
    bool found;

    if (!path)
        return no_memory(err);
    if (!is_wanted(repo, "modules.json"))
        return 0;
    OM_TRY(read_fetched(repo, om_sv_str(path), &text, &name, err));
    OM_TRY(om_wrap(
        err, om_hub_modules(&repo->arena, repo->root, text, &repo->modules, &repo->n_modules, err),
        "%s", name));
    for (size_t i = 0; i < repo->n_modules; i++) {
        const struct om_hub_module *m = &repo->modules[i];

        OM_TRY(om_hub_want_small(&repo->want, m->dir, repo->companions, err));
        if (!m->transformer && !om_sv_eq(m->dir, repo->root))
            OM_TRY(fetch_weights(repo, m->dir, &found, err));
    }
    return fetch_wanted(repo, err);
}

/* Tell Python's client which of the files it looks for are not there. */
static void mark_absent(struct om_hub_repo *repo)
{
    for (const char *const *name = repo->companions; name && *name; name++)
        if (!is_wanted(repo, *name)) {
            const char *path = om_arena_printf(&repo->arena, "%.*s%s", OM_SV(repo->root), *name);

            if (path)
                om_hub_cache_set_no_exist(&repo->cache, &repo->arena, repo->commit,
                                          om_sv_str(path));
        }
}

static int fail_no_config(struct om_hub_repo *repo, struct om_error *err)
{
    const char *path = om_arena_printf(&repo->arena, "%.*sconfig.json", OM_SV(repo->root));

    if (!path)
        return no_memory(err);
    if (repo->cached_only &&
        !om_hub_cache_no_exist(&repo->cache, &repo->arena, repo->commit, om_sv_str(path)))
        return om_fail(
            err, OM_E_MISSING,
            "%.*s: %s of commit %.*s is not in the cache (%s), and the Hub was not asked",
            OM_SV(repo->id), path, OM_SV(repo->commit), repo->cache.root);
    return om_fail(
        err, OM_E_MISSING, "%.*s: the repository has no %s: it is no checkpoint of a model%s",
        OM_SV(repo->id), path, repo->root.len ? "" : ", or --subfolder must say where it is");
}

static int fetch_small(struct om_hub_repo *repo, struct om_error *err)
{
    OM_TRY(om_hub_want_small(&repo->want, repo->root, repo->companions, err));
    if (!is_wanted(repo, "config.json") && !is_wanted(repo, "modules.json") &&
        !is_wanted(repo, "model_index.json"))
        return fail_no_config(repo, err);
    OM_TRY(fetch_wanted(repo, err));
    OM_TRY(fetch_modules(repo, err));
    if (!repo->cached_only)
        mark_absent(repo);
    return 0;
}

/* ---- opening ---- */

static const char *from_environment(void *user, const char *name)
{
    (void)user;
    return getenv(name);
}

/* The revision of the id and the one given on its own. */
static int choose_revision(struct om_hub_repo *repo, const struct om_hub_opts *o,
                           struct om_error *err)
{
    const char *problem = om_hub_id_problem(o->id);
    om_sv in_id;
    const char *copy = om_arena_str(&repo->arena, om_sv_str(o->id));

    if (!copy)
        return no_memory(err);
    if (problem)
        return om_fail(err, OM_E_USAGE, "\"%s\" is no id of the Hub: %s", o->id, problem);
    om_hub_split_id(om_sv_str(copy), &repo->id, &in_id);
    repo->revision = in_id.len ? in_id : OM_SVL("main");
    if (!o->revision)
        return 0;
    if (in_id.len && !om_sv_is(in_id, o->revision))
        return om_fail(err, OM_E_USAGE, "two revisions are given: \"%.*s\" and \"%s\"",
                       OM_SV(in_id), o->revision);
    repo->revision = om_sv_str(om_arena_str(&repo->arena, om_sv_str(o->revision)));
    if (!om_hub_is_revision(repo->revision))
        return om_fail(err, OM_E_USAGE,
                       "\"%s\" is no revision: expected a branch, a tag, a commit or refs/pr/N",
                       o->revision);
    return 0;
}

static int choose_root(struct om_hub_repo *repo, const char *subfolder, struct om_error *err)
{
    om_sv s = om_sv_str(subfolder);
    const char *root;

    while (s.len > 0 && s.ptr[s.len - 1] == '/')
        s.len--;
    if (s.len > 0 && !om_hub_is_path(s))
        return om_fail(err, OM_E_USAGE, "\"%s\" is no directory of a repository", subfolder);
    root = om_arena_printf(&repo->arena, "%.*s%s", OM_SV(s), s.len ? "/" : "");
    repo->root = om_sv_str(root);
    return root ? 0 : no_memory(err);
}

/* What the caller asks for comes before the environment. */
static int override(struct om_hub_env *env, const struct om_hub_opts *o, struct om_error *err)
{
    OM_TRY(om_hub_check_token(o->token, "option token", err));
    if (o->token)
        env->token = o->token[0] ? o->token : NULL;
    env->local_only = o->local_files_only;
    env->offline |= o->local_files_only;
    env->force = o->force_download && !env->offline;
    return 0;
}

static int open_repo(struct om_hub_repo *repo, const struct om_hub_opts *o, struct om_error *err)
{
    struct om_hub *hub = &repo->hub;
    om_sv dir;

    OM_TRY(choose_revision(repo, o, err));
    OM_TRY(choose_root(repo, o->subfolder, err));
    OM_TRY(om_hub_env_read(&repo->arena, o->get_env ? o->get_env : from_environment, o->env_user,
                           o->cache_dir, &hub->env, err));
    OM_TRY(override(&hub->env, o, err));
    OM_TRY(om_hub_cache_init(&repo->cache, &repo->arena, hub->env.cache_dir, repo->id, err));
    OM_TRY(list_files(repo, err));
    OM_TRY(fetch_small(repo, err));
    dir = (om_sv){ repo->root.ptr, repo->root.len ? repo->root.len - 1 : 0 };
    repo->dir = om_hub_cache_snapshot(&repo->cache, &repo->arena, repo->commit, dir);
    return repo->dir ? 0 : no_memory(err);
}

int om_hub_open(const struct om_hub_opts *opts, struct om_hub_repo **out, struct om_error *err)
{
    struct om_hub_repo *repo = calloc(1, sizeof(*repo));
    struct om_error mine =
        OM_ERROR_INIT; /* messages are worked with, also when the caller wants none */
    int rc;

    if (!repo)
        return no_memory(err);
    om_arena_init(&repo->arena, (size_t)1 << 30);
    pthread_mutex_init(&repo->hub.lock, NULL);
    atomic_init(&repo->hub.stop, false);
    repo->hub.ctx = opts->ctx;
    repo->hub.transport = opts->transport ? opts->transport : om_transport_curl();
    repo->hub.clock = opts->clock ? opts->clock : &om_hub_machine_clock;
    repo->companions = opts->companions;
    repo->want.listing = &repo->listing;
    repo->want.arena = &repo->arena;
    rc = open_repo(repo, opts, &mine);
    if (rc < 0) {
        om_fail(err, rc, "%s", om_error_text(&mine));
        om_hub_close(repo);
    } else {
        *out = repo;
    }
    om_error_release(&mine);
    return rc;
}

const char *om_hub_dir(const struct om_hub_repo *repo)
{
    return repo->dir;
}

const char *om_hub_pipeline_tag(const struct om_hub_repo *repo)
{
    return repo->listing.pipeline_tag.len ? repo->listing.pipeline_tag.ptr : "";
}

/* ---- weights ---- */

/* A line of warning beats an hour of waiting for "no space left on device". */
static void warn_of_space(struct om_hub_repo *repo)
{
    struct statvfs fs;
    uint64_t need = 0;

    for (size_t i = repo->fetched; i < repo->want.len; i++) {
        const struct om_hub_file *f = &repo->listing.files[repo->want.files[i]];
        const char *path = om_hub_cache_snapshot(&repo->cache, &repo->arena, repo->commit, f->path);

        if (path && !om_file_exists(path))
            need += f->size;
    }
    if (statvfs(repo->cache.root, &fs) == 0 && need > (uint64_t)fs.f_bavail * fs.f_frsize)
        om_hub_log(&repo->hub, OM_LOG_WARNING, "%s has %.1f GB left, the download takes %.1f GB",
                   repo->cache.root, (double)fs.f_bavail * (double)fs.f_frsize * 1e-9,
                   (double)need * 1e-9);
}

static int fail_no_weights(const struct om_hub_repo *repo, struct om_error *err)
{
    return om_fail(err, OM_E_MISSING,
                   "%.*s: %s has no weights in %s: expected model.safetensors, pytorch_model.bin "
                   "or tf_model.h5, or an "
                   "index of one of them",
                   OM_SV(repo->id),
                   repo->cached_only ? "the cache (the Hub was not asked)" : "the repository",
                   repo->root.len ? repo->root.ptr : "its root");
}

static int want_all_weights(struct om_hub_repo *repo, struct om_error *err)
{
    bool found = false, any;

    OM_TRY(fetch_weights(repo, repo->root, &found, err));
    for (size_t i = 0; i < repo->n_modules; i++) {
        if (!repo->modules[i].transformer)
            continue;
        OM_TRY(fetch_weights(repo, repo->modules[i].dir, &any, err));
        found = found || any;
    }
    return found ? 0 : fail_no_weights(repo, err);
}

int om_hub_weights(struct om_hub_repo *repo, struct om_error *err)
{
    struct om_error mine = OM_ERROR_INIT;
    int rc = want_all_weights(repo, &mine);

    if (rc == 0 && !repo->cached_only) {
        warn_of_space(repo);
        rc = fetch_wanted(repo, &mine);
    }
    if (rc < 0)
        om_fail(err, rc, "%s", om_error_text(&mine));
    om_error_release(&mine);
    return rc;
}

/* ---- single files ---- */

size_t om_hub_file_count(const struct om_hub_repo *repo)
{
    return repo->listing.len;
}

om_sv om_hub_file_at(const struct om_hub_repo *repo, size_t i)
{
    return repo->listing.files[i].path;
}

int om_hub_fetch(struct om_hub_repo *repo, om_sv path, const char **file, struct om_error *err)
{
    const struct om_hub_file *f = om_hub_listing_find(&repo->listing, path);
    struct om_error mine = OM_ERROR_INIT;
    const char *where = NULL;
    int rc = 0;

    if (f) {
        where = om_hub_cache_snapshot(&repo->cache, &repo->arena, repo->commit, f->path);
        rc = where ? om_hub_want_file(&repo->want, f, &mine) : no_memory(&mine);
    }
    if (f && rc == 0)
        rc = fetch_wanted(repo, &mine);
    if (rc < 0)
        om_fail(err, rc, "%s", om_error_text(&mine));
    else
        *file = where;
    om_error_release(&mine);
    return rc;
}

void om_hub_close(struct om_hub_repo *repo)
{
    if (!repo)
        return;
    om_hub_want_release(&repo->want);
    om_hub_listing_release(&repo->listing);
    pthread_mutex_destroy(&repo->hub.lock);
    om_arena_release(&repo->arena);
    free(repo);
}
