/* src/hub/listing.c: what a repository holds, from the answers of the Hub's API.
 *
 * Repositories with more than ANSWER_MAX files do not fit the first answer; they are listed page by
 * page. */
#include "hub/internal.h"

#include <stdlib.h>

#include "base/json.h"

enum { ANSWER_MAX = 50000, FILES_MAX = 1000000 };

void om_hub_listing_release(struct om_hub_listing *l)
{
    free(l->files);
    om_map_release(&l->by_path);
    *l = (struct om_hub_listing){ 0 };
}

const struct om_hub_file *om_hub_listing_find(const struct om_hub_listing *l, om_sv path)
{
    uint32_t at;

    return om_map_get(&l->by_path, path, &at) ? &l->files[at] : NULL;
}

int om_hub_listing_add(struct om_hub_listing *l, const struct om_hub_file *f, struct om_error *err)
{
    if (!om_hub_is_path(f->path) || om_map_get(&l->by_path, f->path, NULL))
        return 0;
    if (l->len >= FILES_MAX)
        return om_fail(err, OM_E_LIMIT, "more than %d files in the repository", FILES_MAX);
    if (!om_grow(&l->files, &l->cap, l->len + 1, sizeof(*l->files)) ||
        om_map_put(&l->by_path, f->path, (uint32_t)l->len) < 0)
        return om_fail(err, OM_E_NOMEM, "out of memory for the list of files");
    l->files[l->len++] = *f;
    return 0;
}

struct reader {
    struct om_arena *arena;
    struct om_hub_listing *listing;
    struct om_error *err;
};

static int no_memory(const struct reader *r)
{
    return om_fail(r->err, OM_E_NOMEM, "out of memory for the list of files");
}

/* A string member as arena text; empty when it is absent. */
static int read_text(const struct reader *r, const struct om_json *v, om_sv *out)
{
    om_sv s;
    char *copy;

    *out = (om_sv){ NULL, 0 };
    if (!om_json_str(v, &s))
        return 0;
    copy = om_arena_str(r->arena, s);
    if (!copy)
        return no_memory(r);
    *out = (om_sv){ copy, s.len };
    return 0;
}

static void keep_hex(om_sv *s, size_t len)
{
    size_t ok = 0;

    while (ok < s->len &&
           ((s->ptr[ok] >= '0' && s->ptr[ok] <= '9') || (s->ptr[ok] >= 'a' && s->ptr[ok] <= 'f')))
        ok++;
    if (s->len != len || ok != len)
        *s = (om_sv){ NULL, 0 };
}

/* The two answers differ in the names of their keys. */
struct keys {
    const char *path, *git, *sha256;
};

static int read_file(const struct reader *r, const struct om_json *v, const struct keys *keys)
{
    const struct om_json *lfs = om_json_get(v, "lfs");
    struct om_hub_file f = { .size = 0 };
    int64_t size;

    if (om_json_kind(v) != OM_JSON_OBJECT)
        return om_fail(r->err, OM_E_FORMAT,
                       "a file of the repository: expected an object, found %s",
                       om_json_kind_text(v));
    OM_TRY(read_text(r, om_json_get(v, keys->path), &f.path));
    OM_TRY(read_text(r, om_json_get(v, keys->git), &f.git_sha1));
    OM_TRY(read_text(r, om_json_get(lfs, keys->sha256), &f.sha256));
    keep_hex(&f.git_sha1, 40);
    keep_hex(&f.sha256, 64);
    f.size_known =
        om_json_i64(om_json_get(om_json_kind(lfs) == OM_JSON_OBJECT ? lfs : v, "size"), &size) &&
        size >= 0;
    if (f.size_known)
        f.size = (uint64_t)size;
    return om_hub_listing_add(r->listing, &f, r->err);
}

static int read_info(const struct reader *r, const struct om_json *doc)
{
    static const struct keys keys = { "rfilename", "blobId", "sha256" };
    const struct om_json *siblings = om_json_get(doc, "siblings");
    const size_t n = om_json_len(siblings);
    struct om_hub_listing *l = r->listing;

    OM_TRY(read_text(r, om_json_get(doc, "sha"), &l->commit));
    OM_TRY(read_text(r, om_json_get(doc, "pipeline_tag"), &l->pipeline_tag));
    if (!om_hub_is_commit(l->commit))
        return om_fail(r->err, OM_E_FORMAT, "key \"sha\": expected a commit, found %s%.*s%s",
                       l->commit.len ? "\"" : "",
                       OM_SV(l->commit.len ? l->commit : OM_SVL("nothing")),
                       l->commit.len ? "\"" : "");
    l->complete = om_json_kind(siblings) == OM_JSON_ARRAY && n > 0 && n < ANSWER_MAX;
    for (size_t i = 0; l->complete && i < n; i++)
        OM_TRY(read_file(r, om_json_at(siblings, i), &keys));
    return 0;
}

int om_hub_parse_info(struct om_arena *a, om_sv json, struct om_hub_listing *l,
                      struct om_error *err)
{
    const struct reader r = { a, l, err };
    struct om_json *doc = NULL;
    int rc = om_json_parse(json, OM_JSON_LAST_WINS, &doc, err);

    if (rc == 0)
        rc = read_info(&r, doc);
    om_json_free(doc);
    return rc;
}

static int read_tree(const struct reader *r, const struct om_json *doc)
{
    static const struct keys keys = { "path", "oid", "oid" };
    om_sv type;

    if (om_json_kind(doc) != OM_JSON_ARRAY)
        return om_fail(r->err, OM_E_FORMAT,
                       "the tree of the repository: expected an array, found %s",
                       om_json_kind_text(doc));
    for (size_t i = 0; i < om_json_len(doc); i++) {
        const struct om_json *v = om_json_at(doc, i);

        if (om_json_str(om_json_get(v, "type"), &type) && om_sv_is(type, "file"))
            OM_TRY(read_file(r, v, &keys));
    }
    return 0;
}

int om_hub_parse_tree(struct om_arena *a, om_sv json, struct om_hub_listing *l,
                      struct om_error *err)
{
    const struct reader r = { a, l, err };
    struct om_json *doc = NULL;
    int rc = om_json_parse(json, OM_JSON_LAST_WINS, &doc, err);

    if (rc == 0)
        rc = read_tree(&r, doc);
    om_json_free(doc);
    return rc;
}
