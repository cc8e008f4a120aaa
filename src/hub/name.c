/* src/hub/name.c: the names of the Hub: repository ids, revisions, paths, etags and URLs.
 *
 * All of them come from a user or over the network and most become names on disk, so each has a
 * check that says what it may be. */
#include "hub/internal.h"

#include <strings.h>

enum { NAME_MAX_LEN = 96, PATH_MAX_LEN = 1024, ETAG_MAX_LEN = 200 };

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* One part of an id: letters, digits, '_', '-' and '.', the last two not at its ends. */
static bool is_id_part(om_sv s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_word(s.ptr[i]) && s.ptr[i] != '-' && s.ptr[i] != '.')
            return false;
    return s.len > 0 && is_word(s.ptr[0]) && is_word(s.ptr[s.len - 1]);
}

static bool has(om_sv s, om_sv part)
{
    return part.len <= s.len && memmem(s.ptr, s.len, part.ptr, part.len) != NULL;
}

/* ---- ids and revisions ---- */

void om_hub_split_id(om_sv text, om_sv *id, om_sv *rev)
{
    const char *at = text.len ? memchr(text.ptr, '@', text.len) : NULL;

    *id = text;
    *rev = (om_sv){ NULL, 0 };
    if (!at)
        return;
    id->len = (size_t)(at - text.ptr);
    *rev = (om_sv){ at + 1, text.len - id->len - 1 };
}

const char *om_hub_id_problem(const char *text)
{
    om_sv id, rev, rest, name, space = { NULL, 0 };

    om_hub_split_id(om_sv_str(text), &id, &rev);
    rest = id;
    if (!om_sv_split(&rest, '/', &name))
        return "it is empty";
    if (name.len < id.len) {
        space = name;
        name = (om_sv){ id.ptr + space.len + 1, id.len - space.len - 1 };
    }
    if (name.len && memchr(name.ptr, '/', name.len))
        return "it has more than one slash";
    if (!is_id_part(name) || (space.ptr && !is_id_part(space)))
        return "names have letters, digits, '-', '_' and '.', and do not start or end with '-' or "
               "'.'";
    if (name.len > NAME_MAX_LEN)
        return "the name is longer than 96 characters";
    if (has(id, OM_SVL("--")) || has(id, OM_SVL("..")))
        return "\"--\" and \"..\" do not occur in names";
    if (om_sv_ends(id, OM_SVL(".git")))
        return "names do not end in \".git\"";
    if (rev.ptr && !om_hub_is_revision(rev))
        return "what follows the \"@\" is no revision";
    return NULL;
}

bool om_hub_is_id(const char *text)
{
    return om_hub_id_problem(text) == NULL;
}

bool om_hub_is_commit(om_sv s)
{
    if (s.len != OM_COMMIT_LEN)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_hex(s.ptr[i]))
            return false;
    return true;
}

bool om_hub_is_path(om_sv s)
{
    om_sv rest = s, part;

    if (s.len == 0 || s.len > PATH_MAX_LEN || s.ptr[s.len - 1] == '/')
        return false;
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f || s.ptr[i] == '\\')
            return false;
    while (om_sv_split(&rest, '/', &part))
        if (part.len == 0 || part.len > 255 || om_sv_is(part, ".") || om_sv_is(part, ".."))
            return false;
    return true;
}

bool om_hub_is_revision(om_sv s)
{
    return om_hub_is_path(s) && !has(s, OM_SVL(".."));
}

/* ---- headers ---- */

bool om_hub_etag(om_sv header, om_sv *out)
{
    om_sv s = header;

    if (om_sv_starts(s, OM_SVL("W/")))
        s = (om_sv){ s.ptr + 2, s.len - 2 };
    while (s.len > 0 && s.ptr[0] == '"')
        s = (om_sv){ s.ptr + 1, s.len - 1 };
    while (s.len > 0 && s.ptr[s.len - 1] == '"')
        s.len--;
    if (s.len == 0 || s.len > ETAG_MAX_LEN || s.ptr[0] == '.')
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_word(s.ptr[i]) && !memchr("-.+=:", s.ptr[i], 5))
            return false;
    *out = s;
    return true;
}

/* Is one parameter of a link ('rel="next"', 'rel=next prev') the relation next? */
static bool is_rel_next(om_sv param)
{
    om_sv name, word;

    if (!om_sv_split(&param, '=', &name) || om_sv_trim(name).len != 3 ||
        strncasecmp(om_sv_trim(name).ptr, "rel", 3) != 0)
        return false;
    param = om_sv_trim(param);
    if (param.len >= 2 && param.ptr[0] == '"' && param.ptr[param.len - 1] == '"')
        param = (om_sv){ param.ptr + 1, param.len - 2 };
    while (om_sv_split(&param, ' ', &word))
        if (word.len == 4 && strncasecmp(word.ptr, "next", 4) == 0)
            return true;
    return false;
}

/* RFC 8288: <URL>; rel="next", <URL>; rel="last". URLs may hold commas, so each is taken by its
 * brackets. */
bool om_hub_next_link(om_sv header, om_sv *url)
{
    om_sv rest = header;

    while (rest.len > 0) {
        const char *open = memchr(rest.ptr, '<', rest.len);
        const char *const end = rest.ptr + rest.len;
        const char *close = open ? memchr(open, '>', (size_t)(end - open)) : NULL;
        const char *next;
        om_sv params, param;

        if (!close)
            return false;
        next = memchr(close, '<', (size_t)(end - close));
        params = (om_sv){ close + 1, (size_t)((next ? next : end) - close - 1) };
        rest = (om_sv){ next ? next : end, next ? (size_t)(end - next) : 0 };
        while (om_sv_split(&params, ';', &param)) {
            param = om_sv_trim(param);
            if (param.len > 0 && param.ptr[param.len - 1] == ',')
                param = om_sv_trim((om_sv){ param.ptr, param.len - 1 });
            if (!is_rel_next(param))
                continue;
            *url = (om_sv){ open + 1, (size_t)(close - open - 1) };
            return url->len > 0;
        }
    }
    return false;
}

/* ---- URLs ---- */

void om_hub_quote(struct om_buf *b, om_sv s, bool keep_slashes)
{
    for (size_t i = 0; i < s.len; i++) {
        const char c = s.ptr[i];

        if (is_word(c) || c == '-' || c == '.' || c == '~' || (c == '/' && keep_slashes))
            om_buf_addc(b, c);
        else
            om_buf_printf(b, "%%%02X", (unsigned)(unsigned char)c);
    }
}

om_sv om_url_scheme(om_sv url)
{
    static const char *const schemes[] = { "https://", "http://" };

    for (size_t i = 0; i < OM_COUNT(schemes); i++) {
        const size_t len = strlen(schemes[i]);

        if (url.len > len && strncasecmp(url.ptr, schemes[i], len) == 0)
            return (om_sv){ url.ptr, len - 3 };
    }
    return (om_sv){ NULL, 0 };
}

/* Everything between the scheme and the path. */
static om_sv authority(om_sv url)
{
    const om_sv scheme = om_url_scheme(url);
    om_sv s = { NULL, 0 };

    if (scheme.len == 0)
        return s;
    s = (om_sv){ scheme.ptr + scheme.len + 3, 0 };
    while (s.ptr + s.len < url.ptr + url.len && !memchr("/?#", s.ptr[s.len], 3))
        s.len++;
    return s;
}

om_sv om_url_host(om_sv url)
{
    om_sv s = authority(url);
    const char *at = s.len ? memrchr(s.ptr, '@', s.len) : NULL;

    if (at)
        s = (om_sv){ at + 1, s.len - (size_t)(at + 1 - s.ptr) };
    if (s.len > 0 && s.ptr[0] == ':') /* a port alone */
        s.len = 0;
    return s;
}

static bool same_text(om_sv a, om_sv b)
{
    return a.len == b.len && a.len > 0 && strncasecmp(a.ptr, b.ptr, a.len) == 0;
}

/* The host without the port that its scheme implies. */
static om_sv plain_host(om_sv url)
{
    om_sv host = om_url_host(url);
    const om_sv port = om_url_scheme(url).len == 5 ? OM_SVL(":443") : OM_SVL(":80");

    if (om_sv_ends(host, port))
        host.len -= port.len;
    return host;
}

bool om_url_same_origin(om_sv a, om_sv b)
{
    return same_text(om_url_scheme(a), om_url_scheme(b)) && same_text(plain_host(a), plain_host(b));
}

static bool is_clean(om_sv url)
{
    for (size_t i = 0; i < url.len; i++)
        if ((unsigned char)url.ptr[i] <= 0x20 || url.ptr[i] == 0x7f || url.ptr[i] == '\\')
            return false;
    return url.len > 0 && url.len <= (64u << 10);
}

/* The length of what comes before the path. */
static size_t origin_len(om_sv url)
{
    const om_sv s = authority(url);

    return s.ptr ? (size_t)(s.ptr + s.len - url.ptr) : 0;
}

/* "mailto:x": a colon before any slash. */
static bool names_scheme(om_sv location)
{
    for (size_t i = 0; i < location.len && !memchr("/?#", location.ptr[i], 3); i++)
        if (location.ptr[i] == ':')
            return true;
    return false;
}

char *om_url_join(struct om_arena *a, om_sv base, om_sv location)
{
    const om_sv scheme = om_url_scheme(base);
    size_t keep = origin_len(base);

    if (!is_clean(location) || keep == 0)
        return NULL;
    if (om_url_host(location).len > 0)
        return om_arena_str(a, location);
    if (om_sv_starts(location, OM_SVL("//"))) {
        char *url = om_arena_printf(a, "%.*s:%.*s", OM_SV(scheme), OM_SV(location));

        return url && om_url_host(om_sv_str(url)).len > 0 ? url : NULL;
    }
    if (location.ptr[0] == '/')
        return om_arena_printf(a, "%.*s%.*s", (int)keep, base.ptr, OM_SV(location));
    if (names_scheme(location))
        return NULL;
    for (size_t i = keep; i < base.len && !memchr("?#", base.ptr[i], 2); i++)
        if (base.ptr[i] == '/')
            keep = i + 1;
    return om_arena_printf(a, "%.*s%s%.*s", (int)keep, base.ptr,
                           base.ptr[keep - 1] == '/' ? "" : "/", OM_SV(location));
}

char *om_url_shown(struct om_arena *a, om_sv url)
{
    const om_sv host = om_url_host(url), scheme = om_url_scheme(url);
    const size_t skip = origin_len(url);
    size_t len = 0;

    while (skip + len < url.len && !memchr("?#", url.ptr[skip + len], 2))
        len++;
    return om_arena_printf(a, "%.*s://%.*s%.*s", OM_SV(scheme), OM_SV(host), (int)len,
                           url.ptr + skip);
}
