/* src/hub/env.c: the settings of the Hub client: the variables that huggingface_hub reads, with its
 * defaults. */
#include "hub/internal.h"

#include <strings.h>

#include "base/file.h"

enum { TIMEOUT_DEFAULT = 10, TOKEN_MAX = 4096 };

struct reader {
    struct om_arena *arena;
    om_getenv_fn *get;
    void *user;
};

/* An empty variable counts as one that is not set. */
static const char *get(const struct reader *r, const char *name)
{
    const char *v = r->get(r->user, name);

    return v && v[0] ? v : NULL;
}

static bool is_true(const struct reader *r, const char *name)
{
    static const char *const yes[] = { "1", "ON", "YES", "TRUE" };
    const char *v = get(r, name);

    for (size_t i = 0; v && i < OM_COUNT(yes); i++)
        if (strcasecmp(v, yes[i]) == 0)
            return true;
    return false;
}

static int read_seconds(const struct reader *r, const char *name, unsigned *out,
                        struct om_error *err)
{
    const char *v = get(r, name);
    int64_t n = 0;

    *out = TIMEOUT_DEFAULT;
    if (!v)
        return 0;
    if (!om_sv_i64(om_sv_trim(om_sv_str(v)), &n) || n < 0 || n > 86400)
        return om_fail(err, OM_E_USAGE, "%s: expected seconds, 1 to 86400, found \"%s\"", name, v);
    if (n > 0) /* 0: the default, as there */
        *out = (unsigned)n;
    return 0;
}

/* ---- paths ---- */

static size_t variable_len(const char *s, bool braces)
{
    size_t n = 0;

    while (braces ? s[n] && s[n] != '}'
                  : s[n] == '_' || (s[n] >= '0' && s[n] <= '9') ||
                        ((s[n] | 32) >= 'a' && (s[n] | 32) <= 'z'))
        n++;
    return braces && !s[n] ? 0 : n;
}

/* $NAME and ${NAME}; what is not set stays as it is, as with os.path.expandvars(). */
static const char *expand_variables(const struct reader *r, const char *path)
{
    struct om_buf b = OM_BUF_INIT(1 << 16);
    const char *out;

    for (const char *p = path; *p;) {
        const bool braces = p[0] == '$' && p[1] == '{';
        const size_t n = *p == '$' ? variable_len(p + 1 + braces, braces) : 0;
        const char *name = n ? om_arena_str(r->arena, (om_sv){ p + 1 + braces, n }) : NULL;
        const char *value = name ? r->get(r->user, name) : NULL;

        if (value) {
            om_buf_adds(&b, value);
            p += 1 + braces + n + braces;
        } else {
            om_buf_addc(&b, *p++);
        }
    }
    out = b.failed ? NULL : om_arena_str(r->arena, om_buf_sv(&b));
    om_buf_release(&b);
    return out;
}

static const char *home(const struct reader *r)
{
    const char *v = get(r, "HOME");

    return v ? v : "/";
}

/* "~/x" and variables; other users' homes ("~name") are left alone. NULL: no memory. */
static const char *expand(const struct reader *r, const char *path)
{
    if (path && path[0] == '~' && (path[1] == '/' || path[1] == '\0'))
        path = om_arena_printf(r->arena, "%s%s", home(r), path + 1);
    return path ? expand_variables(r, path) : NULL;
}

static const char *under(const struct reader *r, const char *dir, const char *name)
{
    return dir ? om_path_join(r->arena, dir, name) : NULL;
}

static const char *hf_home(const struct reader *r)
{
    const char *v = get(r, "HF_HOME");

    if (v)
        return expand(r, v);
    v = get(r, "XDG_CACHE_HOME");
    return expand(r, under(r, v ? v : under(r, home(r), ".cache"), "huggingface"));
}

static const char *cache_dir(const struct reader *r, const char *given)
{
    const char *v = given ? given : get(r, "HF_HUB_CACHE");

    if (!v)
        v = get(r, "HUGGINGFACE_HUB_CACHE");
    return v ? expand(r, v) : under(r, hf_home(r), "hub");
}

/* ---- token ---- */

/* Without line ends and the space around; NULL when nothing is left. */
static const char *clean_token(const struct reader *r, om_sv text)
{
    char *copy = om_arena_str(r->arena, om_sv_trim(text)), *out = copy;

    for (const char *p = copy; p && *p; p++)
        if (*p != '\r' && *p != '\n')
            *out++ = *p;
    if (copy)
        *out = '\0';
    return copy && copy[0] ? copy : NULL;
}

/* It becomes part of a header: anything but visible ASCII would let it become another one. */
int om_hub_check_token(const char *token, const char *from, struct om_error *err)
{
    for (const char *p = token; p && *p; p++)
        if (*p <= ' ' || *p > '~')
            return om_fail(err, OM_E_USAGE, "%s: the token has a character that no token has",
                           from);
    return 0;
}

static int read_token(const struct reader *r, struct om_hub_env *out, struct om_error *err)
{
    static const char *const names[] = { "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN" };
    const char *path = get(r, "HF_TOKEN_PATH"), *from = NULL;
    om_sv text;

    if (is_true(r, "HF_HUB_DISABLE_IMPLICIT_TOKEN"))
        return 0;
    for (size_t i = 0; i < OM_COUNT(names) && !from; i++)
        if (get(r, names[i]))
            from = names[i];
    if (from)
        out->token = clean_token(r, om_sv_str(get(r, from)));
    if (out->token)
        return om_hub_check_token(out->token, from, err);
    from = path ? expand(r, path) : under(r, hf_home(r), "token");
    if (!from)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    if (!om_file_exists(from))
        return 0;
    OM_TRY(om_file_read(r->arena, from, TOKEN_MAX, &text, err));
    out->token = clean_token(r, text);
    return om_hub_check_token(out->token, from, err);
}

static int read_endpoint(const struct reader *r, struct om_hub_env *out, struct om_error *err)
{
    const char *v = get(r, "HF_ENDPOINT");
    om_sv url = om_sv_str(v ? v : "https://huggingface.co");

    while (url.len > 0 && url.ptr[url.len - 1] == '/')
        url.len--;
    if (om_url_host(url).len == 0 || memchr(url.ptr, '?', url.len))
        return om_fail(err, OM_E_USAGE,
                       "HF_ENDPOINT: expected http://HOST or https://HOST, found \"%.*s\"",
                       OM_SV(url));
    out->endpoint = om_arena_str(r->arena, url);
    return out->endpoint ? 0 : om_fail(err, OM_E_NOMEM, "out of memory");
}

int om_hub_env_read(struct om_arena *a, om_getenv_fn *getter, void *user, const char *given,
                    struct om_hub_env *out, struct om_error *err)
{
    const struct reader r = { a, getter, user };

    *out = (struct om_hub_env){ .cache_dir = cache_dir(&r, given) };
    if (!out->cache_dir)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    out->offline =
        is_true(&r, get(&r, "HF_HUB_OFFLINE") ? "HF_HUB_OFFLINE" : "TRANSFORMERS_OFFLINE");
    out->quiet = is_true(&r, "HF_HUB_DISABLE_PROGRESS_BARS");
    OM_TRY(read_seconds(&r, "HF_HUB_ETAG_TIMEOUT", &out->etag_timeout, err));
    OM_TRY(read_seconds(&r, "HF_HUB_DOWNLOAD_TIMEOUT", &out->download_timeout, err));
    OM_TRY(read_endpoint(&r, out, err));
    return read_token(&r, out, err);
}
