/* src/tok/charsmap.c: SentencePiece's compiled normalization rules. */
#include "tok/charsmap.h"

#include "tok/unicode.h"

enum { CLUSTER_MAX = 6 }; /* clusters of as many bytes go character by character */
enum { RULE_MAX = 64 };   /* bytes that a rule can be about, where the longest counts */

/* ---- reading ---- */

/* The value of each character of base64, NOT_BASE64 for others. */
enum { NOT_BASE64 = 0x80 };

static void base64_values(uint8_t values[256])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    memset(values, NOT_BASE64, 256);
    for (unsigned i = 0; i < 64; i++)
        values[(uint8_t)digits[i]] = (uint8_t)i;
}

/* Four characters at s as three bytes; false when one is none of base64. */
static bool decode_four(const uint8_t values[256], const char *s, char *out)
{
    const uint8_t a = values[(uint8_t)s[0]], b = values[(uint8_t)s[1]], c = values[(uint8_t)s[2]],
                  d = values[(uint8_t)s[3]];

    out[0] = (char)(a << 2 | b >> 4);
    out[1] = (char)(b << 4 | c >> 2);
    out[2] = (char)(c << 6 | d);
    return ((a | b | c | d) & NOT_BASE64) == 0;
}

static int decode_base64(struct om_arena *a, om_sv text, om_sv *out, struct om_error *err)
{
    size_t n = 0, i = 0, len = text.len;
    uint8_t values[256];
    char *bytes, last[4] = "AAAA";
    bool ok = true;

    while (len > 0 && text.len - len < 2 && text.ptr[len - 1] == '=')
        len--;
    bytes = om_arena_alloc(a, len / 4 * 3 + 3);
    if (!bytes)
        return om_fail(err, OM_E_NOMEM, "out of memory for a charsmap of %zu bytes", len);
    base64_values(values);
    for (; i + 4 <= len && ok; i += 4, n += 3)
        ok = decode_four(values, text.ptr + i, bytes + n);
    if (ok && i < len) { /* two characters are one byte, three are two */
        memcpy(last, text.ptr + i, len - i);
        ok = decode_four(values, last, bytes + n);
        n += len - i - 1;
    }
    if (!ok)
        return om_fail(err, OM_E_FORMAT, "precompiled_charsmap is not base64 near byte %zu", i);
    *out = (om_sv){ bytes, n };
    return 0;
}

/* ---- lookup ---- */

static uint32_t unit_offset(uint32_t u)
{
    return u >> 10 << ((u & 1u << 9) >> 6);
}

/* The text for the shortest prefix of key that has a rule, or for the longest; its length is in
 * *len. */
static bool lookup_prefix(const struct tok_charsmap *m, om_sv key, bool longest, om_sv *text,
                          size_t *len)
{
    uint32_t pos = m->len ? unit_offset(m->units[0]) : 0;
    bool found = false;

    for (size_t i = 0; i < key.len && key.ptr[i] != '\0'; i++) {
        const unsigned char c = (unsigned char)key.ptr[i];
        pos ^= c;
        if (pos >= m->len || (m->units[pos] & (1u << 31 | 0xFF)) != c)
            return found;
        const uint32_t unit = m->units[pos];
        pos ^= unit_offset(unit);
        if (!(unit >> 8 & 1))
            continue;
        if (pos >= m->len)
            return found;
        const size_t at = m->units[pos] & ~(1u << 31);
        if (at > m->texts.len)
            return found;
        *text = (om_sv){ m->texts.ptr + at, strnlen(m->texts.ptr + at, m->texts.len - at) };
        *len = i + 1;
        found = true;
        if (!longest)
            break;
    }
    return found;
}

static bool lookup(const struct tok_charsmap *m, om_sv key, om_sv *text)
{
    size_t len;

    return lookup_prefix(m, key, false, text, &len);
}

int tok_charsmap_parse(struct om_arena *a, om_sv blob, struct tok_charsmap *out,
                       struct om_error *err)
{
    om_sv unused;

    if (blob.len == 0)
        return 0;
    const size_t size = blob.len < 4 ? SIZE_MAX : om_le32(blob.ptr);
    if (size > blob.len - 4)
        return om_fail(err, OM_E_FORMAT, "precompiled_charsmap has %zu bytes, its array needs more",
                       blob.len);
    out->len = size / 4;
    uint32_t *const units = om_arena_array(a, out->len, sizeof(*units));
    if (!units)
        return om_fail(err, OM_E_NOMEM, "out of memory for a charsmap of %zu bytes", blob.len);
    for (size_t i = 0; i < out->len; i++)
        units[i] = om_le32(blob.ptr + 4 + 4 * i);
    out->units = units;
    out->texts = (om_sv){ blob.ptr + 4 + size / 4 * 4, blob.len - 4 - size / 4 * 4 };
    if (!om_utf8_valid(out->texts))
        return om_fail(err, OM_E_FORMAT, "precompiled_charsmap: its texts are not UTF-8");
    for (unsigned c = 1; c < 128; c++) {
        const char byte = (char)c;
        out->ascii[c] = lookup(out, (om_sv){ &byte, 1 }, &unused);
    }
    return 0;
}

int tok_charsmap_read(struct om_arena *a, om_sv base64, struct tok_charsmap *out,
                      struct om_error *err)
{
    om_sv blob;

    OM_TRY(decode_base64(a, base64, &blob, err));
    return tok_charsmap_parse(a, blob, out, err);
}

/* ---- applying ---- */

/* Characters are written one late, since a rule that removes text changes how the one before is
 * aligned. */
struct applying {
    const struct tok_charsmap *map;
    struct tok_rewrite r;
    uint32_t last;
    int change;
    bool has_last;
};

static void put(struct applying *a, uint32_t c, int change)
{
    if (a->has_last)
        tok_put(&a->r, a->last, a->change);
    a->last = c;
    a->change = change;
    a->has_last = true;
}

/* A source text of old_count characters becomes text. */
static void put_rule(struct applying *a, size_t old_count, om_sv text)
{
    const size_t count = tok_utf8_count(text);
    const size_t kept = OM_MIN(count, old_count);
    size_t len, k = 0;

    for (size_t i = 0; i < text.len; i += len, k++)
        put(a, tok_utf8_decode(text.ptr + i, &len), k < kept ? 0 : 1);
    if (count < old_count && a->has_last)
        a->change -= (int)(old_count - count);
}

static void put_cluster(struct applying *a, om_sv cluster)
{
    om_sv text;
    size_t len;

    if (cluster.len < CLUSTER_MAX && lookup(a->map, cluster, &text)) {
        put_rule(a, tok_utf8_count(cluster), text);
        return;
    }
    for (size_t i = 0; i < cluster.len; i += len) {
        const uint32_t c = tok_utf8_decode(cluster.ptr + i, &len);
        if (lookup(a->map, (om_sv){ cluster.ptr + i, len }, &text))
            put_rule(a, 1, text);
        else
            put(a, c, 0);
    }
}

/* The length of the cluster that begins at the pool's byte at. */
static uint32_t cluster_len(const struct tok_work *w, uint32_t at, uint32_t end)
{
    const char *const s = w->bytes;
    int32_t state = 0;
    uint32_t next;
    size_t len;
    uint32_t c = tok_utf8_decode(s + at, &len);

    for (next = at + (uint32_t)len; next < end; next += (uint32_t)len) {
        const uint32_t d = tok_utf8_decode(s + next, &len);
        if (c < 0x80 && d < 0x80 ? !(c == '\r' && d == '\n') : tok_cluster_break(c, d, &state))
            break;
        c = d;
    }
    return next - at;
}

/* Could a rule touch the piece at all? Only ASCII is looked at closely. */
static bool unchanged(const struct tok_charsmap *m, const struct tok_work *w,
                      const struct tok_piece *p)
{
    for (uint32_t i = p->begin; i < p->end; i++) {
        const unsigned char c = (unsigned char)w->bytes[i];
        if (c >= 0x80 || m->ascii[c])
            return false;
    }
    return true;
}

/* As SentencePiece itself does: the longest rule at each place, else the character as it is. */
static void apply_longest(const struct tok_charsmap *m, struct tok_work *w, struct tok_piece *p)
{
    struct applying a = { .map = m };
    size_t n;

    a.r = tok_rewrite_begin(w, p);
    for (uint32_t at = p->begin; at < p->end && w->rc == 0; at += (uint32_t)n) {
        char window[RULE_MAX]; /* the pool may move */
        const size_t avail = OM_MIN((size_t)(p->end - at), sizeof(window));
        om_sv text;
        memcpy(window, w->bytes + at, avail);
        if (lookup_prefix(m, (om_sv){ window, avail }, true, &text, &n) &&
            (at + n == p->end || !tok_is_cont(w->bytes[at + n])))
            put_rule(&a, tok_utf8_count((om_sv){ window, n }), text);
        else
            put(&a, tok_utf8_decode(window, &n), 0);
    }
    if (a.has_last)
        tok_put(&a.r, a.last, a.change);
    tok_rewrite_end(&a.r, p);
}

void tok_charsmap_apply(const struct tok_charsmap *m, struct tok_work *w, struct tok_piece *p)
{
    struct applying a = { .map = m };
    uint32_t n;

    if (m->longest && m->len) {
        apply_longest(m, w, p);
        return;
    }
    if (m->len == 0 || unchanged(m, w, p))
        return;
    a.r = tok_rewrite_begin(w, p);
    for (uint32_t at = p->begin; at < p->end && w->rc == 0; at += n) {
        char cluster[CLUSTER_MAX]; /* the pool may move */
        const unsigned char c = (unsigned char)w->bytes[at];
        n = cluster_len(w, at, p->end);
        if (n == 1 && c < 0x80 && !m->ascii[c]) {
            put(&a, c, 0);
        } else if (n < sizeof(cluster)) {
            memcpy(cluster, w->bytes + at, n);
            put_cluster(&a, (om_sv){ cluster, n });
        } else {
            size_t len;
            for (uint32_t i = 0; i < n && w->rc == 0; i += (uint32_t)len) {
                tok_utf8_decode(w->bytes + at + i, &len);
                memcpy(cluster, w->bytes + at + i, len);
                put_cluster(&a, (om_sv){ cluster, len });
            }
        }
    }
    if (a.has_last)
        tok_put(&a.r, a.last, a.change);
    tok_rewrite_end(&a.r, p);
}
