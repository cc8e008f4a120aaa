/* src/tok/scan.c: cutting out and scanning vocabularies and merges. */
#include "tok/scan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tok/unicode.h"

enum { CHARSMAP_LONG = 1024 }; /* bytes */

/* ---- cutting ---- */

static size_t skip_space(om_sv text, size_t i)
{
    while (i < text.len && (text.ptr[i] == ' ' || text.ptr[i] == '\n' || text.ptr[i] == '\t' ||
                            text.ptr[i] == '\r'))
        i++;
    return i;
}

/* The index behind the string that opens at i, or the end of the text. */
static size_t skip_string(om_sv text, size_t i)
{
    for (i++; i < text.len; i++) {
        const char *const quote = memchr(text.ptr + i, '"', text.len - i);
        size_t slashes = 0;
        if (!quote)
            return text.len;
        const size_t at = (size_t)(quote - text.ptr);
        while (at - slashes > i && text.ptr[at - slashes - 1] == '\\')
            slashes++;
        i = at;
        if (slashes % 2 == 0)
            return at + 1;
    }
    return text.len;
}

/* The index behind the value at i: brackets are counted, nothing else is checked. */
static size_t skip_value(om_sv text, size_t i)
{
    size_t depth = 0;

    while (i < text.len) {
        const char c = text.ptr[i];
        if (c == '"') {
            i = skip_string(text, i);
        } else if (c == '{' || c == '[') {
            depth++;
            i++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return i;
            depth--;
            i++;
        } else if (depth == 0 && (c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t')) {
            return i;
        } else {
            i++;
            continue;
        }
        if (depth == 0)
            return i;
    }
    return i;
}

struct member {
    om_sv key; /* quoted */
    size_t value, end;
};

/* The next member of an object; *at stands behind its opening brace or a comma. False at the end,
 * or when it is none. */
static bool next_member(om_sv text, size_t *at, struct member *m)
{
    size_t i = skip_space(text, *at);

    if (i < text.len && text.ptr[i] == ',')
        i = skip_space(text, i + 1);
    if (i >= text.len || text.ptr[i] != '"')
        return false;
    const size_t key_end = skip_string(text, i);
    m->key = (om_sv){ text.ptr + i, key_end - i };
    i = skip_space(text, key_end);
    if (i >= text.len || text.ptr[i] != ':')
        return false;
    m->value = skip_space(text, i + 1);
    m->end = skip_value(text, m->value);
    *at = m->end;
    return m->end > m->value;
}

static void cut_model(om_sv text, size_t at, struct tok_cuts *cuts)
{
    struct member m;

    while (next_member(text, &at, &m)) {
        const om_sv value = { text.ptr + m.value, m.end - m.value };
        if (om_sv_is(m.key, "\"vocab\""))
            cuts->vocab = value;
        else if (om_sv_is(m.key, "\"merges\""))
            cuts->merges = value;
    }
}

/* Long texts of charsmaps in text[*done, end), which has no such key inside of strings: there its
 * quotes would be escaped. Each is copied as its index. */
static void copy_charsmaps(om_sv text, size_t end, size_t *done, struct tok_cuts *cuts,
                           struct om_buf *rest)
{
    static const char key[] = "\"precompiled_charsmap\"";
    const char *hit;

    for (size_t at = *done;
         cuts->charsmaps_len < TOK_CHARSMAPS &&
         (hit = memmem(text.ptr + at, end - at, key, sizeof(key) - 1)) != NULL;) {
        at = skip_space(text, (size_t)(hit - text.ptr) + sizeof(key) - 1);
        at = at < end && text.ptr[at] == ':' ? skip_space(text, at + 1) : at;
        if (at >= end || text.ptr[at] != '"')
            continue;
        const size_t close = skip_string(text, at);
        const om_sv value = { text.ptr + at + 1, close - at - 2 };
        if (close - at < CHARSMAP_LONG || close > end || memchr(value.ptr, '\\', value.len))
            continue;
        om_buf_add(rest, text.ptr + *done, at - *done);
        om_buf_printf(rest, "%zu", cuts->charsmaps_len);
        cuts->charsmaps[cuts->charsmaps_len++] = value;
        *done = at = close;
    }
}

/* Copy up to a cut, then null in its place. */
static void copy_without(om_sv text, om_sv cut, size_t *done, struct tok_cuts *cuts,
                         struct om_buf *rest)
{
    if (!cut.ptr)
        return;
    copy_charsmaps(text, (size_t)(cut.ptr - text.ptr), done, cuts, rest);
    om_buf_add(rest, text.ptr + *done, (size_t)(cut.ptr - text.ptr) - *done);
    om_buf_adds(rest, "null");
    *done = (size_t)(cut.ptr - text.ptr) + cut.len;
}

int tok_cut(om_sv text, struct tok_cuts *cuts, struct om_buf *rest, struct om_error *err)
{
    size_t at = skip_space(text, 0), done = 0;
    struct member m;

    *cuts = (struct tok_cuts){ .vocab = { NULL, 0 } };
    if (at < text.len && text.ptr[at] == '{')
        for (at++; next_member(text, &at, &m);)
            if (om_sv_is(m.key, "\"model\"") && text.ptr[m.value] == '{')
                cut_model(text, m.value + 1, cuts);
    const bool swapped = cuts->vocab.ptr && cuts->merges.ptr && cuts->merges.ptr < cuts->vocab.ptr;
    copy_without(text, swapped ? cuts->merges : cuts->vocab, &done, cuts, rest);
    copy_without(text, swapped ? cuts->vocab : cuts->merges, &done, cuts, rest);
    copy_charsmaps(text, text.len, &done, cuts, rest);
    om_buf_add(rest, text.ptr + done, text.len - done);
    return om_buf_check(rest, err);
}

/* ---- scanning ---- */

struct scan {
    om_sv text;
    size_t at;
    struct om_arena *arena;
    const char *what; /* "vocab" */
    struct om_error *err;
};

static int expected(const struct scan *s, const char *expected_text)
{
    return om_fail(s->err, OM_E_FORMAT, "key \"%s\", byte %zu: expected %s", s->what, s->at,
                   expected_text);
}

static int no_memory(const struct scan *s)
{
    return om_fail(s->err, OM_E_NOMEM, "out of memory for key \"%s\"", s->what);
}

/* The next character that is no white space; NUL at the end. It is passed when it is c. */
static bool take(struct scan *s, char c)
{
    s->at = skip_space(s->text, s->at);
    if (s->at >= s->text.len || s->text.ptr[s->at] != c)
        return false;
    s->at++;
    return true;
}

/* Between elements: 1 when there is another one, 0 at the closing bracket. */
static int more(struct scan *s, char close, bool first)
{
    if (take(s, close))
        return 0;
    if (first || take(s, ','))
        return 1;
    return expected(s, close == '}' ? "',' or '}'" : "',' or ']'");
}

static int hex4(const struct scan *s, size_t at, uint32_t *out)
{
    *out = 0;
    for (size_t i = at; i < at + 4; i++) {
        const char c = i < s->text.len ? s->text.ptr[i] : '\0';
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
            return expected(s, "four hexadecimal digits");
        *out = *out << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return 0;
}

/* \uXXXX, or two of them; at stands behind the u and is moved behind the digits. */
static int unicode_escape(const struct scan *s, size_t *at, uint32_t *c)
{
    uint32_t low;

    OM_TRY(hex4(s, *at, c));
    *at += 4;
    if (*c < 0xD800 || *c > 0xDFFF)
        return 0;
    if (*c > 0xDBFF || *at + 6 > s->text.len || memcmp(s->text.ptr + *at, "\\u", 2) != 0)
        return expected(s, "a pair of surrogates");
    OM_TRY(hex4(s, *at + 2, &low));
    if (low < 0xDC00 || low > 0xDFFF)
        return expected(s, "a pair of surrogates");
    *c = 0x10000 + ((*c - 0xD800) << 10) + (low - 0xDC00);
    *at += 6;
    return 0;
}

static int unescape(const struct scan *s, om_sv raw, om_sv *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char *const text = om_arena_alloc(s->arena, raw.len + 1);
    size_t n = 0, at = (size_t)(raw.ptr - s->text.ptr);
    const size_t end = at + raw.len;

    if (!text)
        return no_memory(s);
    while (at < end) {
        const char c = s->text.ptr[at++];
        if (c != '\\') {
            text[n++] = c;
            continue;
        }
        const char e = s->text.ptr[at++];
        const char *const simple = e ? strchr(from, e) : NULL;
        uint32_t code;
        if (simple) {
            text[n++] = to[simple - from];
        } else if (e == 'u') {
            OM_TRY(unicode_escape(s, &at, &code));
            n += tok_utf8_encode(code, text + n);
        } else {
            return expected(s, "an escape sequence");
        }
    }
    if (at != end) /* an escape that runs over the quote */
        return expected(s, "an escape sequence");
    *out = (om_sv){ text, n };
    return 0;
}

static int string(struct scan *s, om_sv *out)
{
    bool escaped = false;

    if (!take(s, '"'))
        return expected(s, "a string");
    const size_t begin = s->at;
    while (s->at < s->text.len && s->text.ptr[s->at] != '"') {
        const unsigned char c = (unsigned char)s->text.ptr[s->at];
        if (c < 0x20)
            return expected(s, "no control character");
        escaped |= c == '\\';
        s->at += c == '\\' ? 2 : 1;
    }
    if (s->at >= s->text.len)
        return expected(s, "the end of a string");
    *out = (om_sv){ s->text.ptr + begin, s->at - begin };
    s->at++;
    return escaped ? unescape(s, *out, out) : 0;
}

static bool is_digit(const struct scan *s, size_t at)
{
    return at < s->text.len && s->text.ptr[at] >= '0' && s->text.ptr[at] <= '9';
}

static int integer(struct scan *s, uint32_t *out)
{
    uint64_t n = 0;

    s->at = skip_space(s->text, s->at);
    if (!is_digit(s, s->at) || (s->text.ptr[s->at] == '0' && is_digit(s, s->at + 1)))
        return expected(s, "an id");
    for (; is_digit(s, s->at) && n < UINT32_MAX; s->at++)
        n = n * 10 + (uint64_t)(s->text.ptr[s->at] - '0');
    if (n >= INT32_MAX)
        return expected(s, "an id below 2^31");
    *out = (uint32_t)n;
    return 0;
}

/* Digits that are added to *significand while it has room; the others count in *dropped. */
static size_t digits(struct scan *s, uint64_t *significand, int *dropped)
{
    const size_t begin = s->at;

    for (; is_digit(s, s->at); s->at++) {
        const uint64_t d = (uint64_t)(s->text.ptr[s->at] - '0');
        if (*dropped || *significand > (UINT64_MAX - d) / 10)
            ++*dropped;
        else
            *significand = *significand * 10 + d;
    }
    return s->at - begin;
}

static int exponent(struct scan *s, int *out)
{
    uint64_t n = 0;
    int dropped = 0;
    bool negative;

    *out = 0;
    if (s->at >= s->text.len || (s->text.ptr[s->at] | 0x20) != 'e')
        return 0;
    s->at++;
    negative = s->at < s->text.len && s->text.ptr[s->at] == '-';
    if (s->at < s->text.len && (s->text.ptr[s->at] == '-' || s->text.ptr[s->at] == '+'))
        s->at++;
    if (digits(s, &n, &dropped) == 0 || dropped || n > 400)
        return expected(s, "a finite number");
    *out = negative ? -(int)n : (int)n;
    return 0;
}

/* The double nearest to 10^n. Up to 22 they are exact. */
static double power_of_ten(int n)
{
    char text[16];
    double p = 1.0;

    if (n > 22) {
        snprintf(text, sizeof(text), "1e%d", n);
        return strtod(text, NULL);
    }
    while (n-- > 0)
        p *= 10.0;
    return p;
}

/* A score. The library reads numbers with two roundings: digits to a double, then by a power of
 * ten. Equal sums of scores decide which pieces win, so ours are read the same way. */
static int number(struct scan *s, double *out)
{
    uint64_t significand = 0;
    int dropped = 0, fraction_dropped = 0, e;
    size_t places = 0;

    const bool negative = take(s, '-');
    if (!is_digit(s, s->at) || digits(s, &significand, &dropped) == 0)
        return expected(s, "a finite number");
    if (s->at < s->text.len && s->text.ptr[s->at] == '.') {
        s->at++;
        fraction_dropped = dropped;
        places = digits(s, &significand, &fraction_dropped);
        if (places == 0)
            return expected(s, "a finite number");
        places -= (size_t)(fraction_dropped - dropped);
    }
    OM_TRY(exponent(s, &e));
    e += dropped - (int)OM_MIN(places, 1000);
    double value = (double)significand;
    for (; e < -308 && value != 0.0; e += 308)
        value /= 1e308;
    const double scale = power_of_ten(OM_MIN(abs(e), 308));
    value = e < 0 ? value / scale : value * scale;
    *out = negative ? -value : value;
    return isfinite(value) && e <= 308 ? 0 : expected(s, "a finite number");
}

static struct scan scan_new(struct om_arena *a, om_sv json, const char *what, struct om_error *err)
{
    return (struct scan){ .text = json, .arena = a, .what = what, .err = err };
}

static int check_utf8(const struct scan *s)
{
    return om_utf8_valid(s->text)
               ? 0
               : om_fail(s->err, OM_E_FORMAT, "key \"%s\": it is not UTF-8", s->what);
}

static int add_entry(const struct scan *s, struct tok_entries *out, struct tok_entry e)
{
    if (!om_grow(&out->items, &out->cap, out->len + 1, sizeof(*out->items)))
        return no_memory(s);
    out->items[out->len++] = e;
    return 0;
}

int tok_scan_vocab(struct om_arena *a, om_sv json, struct tok_entries *out, struct om_error *err)
{
    struct scan s = scan_new(a, json, "vocab", err);
    int next;

    OM_TRY(check_utf8(&s));
    if (!take(&s, '{'))
        return expected(&s, "an object");
    while ((next = more(&s, '}', out->len == 0)) > 0) {
        struct tok_entry e = { .id = 0 };
        OM_TRY(string(&s, &e.text));
        if (!take(&s, ':'))
            return expected(&s, "':'");
        OM_TRY(integer(&s, &e.id));
        OM_TRY(add_entry(&s, out, e));
    }
    return next;
}

int tok_scan_pieces(struct om_arena *a, om_sv json, struct tok_entries *out, struct om_error *err)
{
    struct scan s = scan_new(a, json, "vocab", err);
    int next;

    OM_TRY(check_utf8(&s));
    if (!take(&s, '['))
        return expected(&s, "an array");
    while ((next = more(&s, ']', out->len == 0)) > 0) {
        struct tok_entry e = { .id = (uint32_t)out->len };
        if (!take(&s, '['))
            return expected(&s, "a piece and its score");
        OM_TRY(string(&s, &e.text));
        if (!take(&s, ','))
            return expected(&s, "','");
        OM_TRY(number(&s, &e.score));
        if (!take(&s, ']'))
            return expected(&s, "']'");
        OM_TRY(add_entry(&s, out, e));
    }
    return next;
}

/* "left right" */
static bool split_merge(om_sv text, struct tok_merge *m)
{
    const char *const space = text.len ? memchr(text.ptr, ' ', text.len) : NULL;

    if (!space)
        return false;
    m->left = (om_sv){ text.ptr, (size_t)(space - text.ptr) };
    m->right = (om_sv){ space + 1, text.len - m->left.len - 1 };
    return !memchr(m->right.ptr, ' ', m->right.len);
}

static int merge(struct scan *s, struct tok_merge *m)
{
    om_sv text;

    if (!take(s, '[')) {
        OM_TRY(string(s, &text));
        return split_merge(text, m) ? 0 : expected(s, "two tokens with a space between");
    }
    OM_TRY(string(s, &m->left));
    if (!take(s, ','))
        return expected(s, "','");
    OM_TRY(string(s, &m->right));
    return take(s, ']') ? 0 : expected(s, "']'");
}

int tok_scan_merges(struct om_arena *a, om_sv json, struct tok_merges *out, struct om_error *err)
{
    struct scan s = scan_new(a, json, "merges", err);
    int next;

    OM_TRY(check_utf8(&s));
    if (!take(&s, '['))
        return expected(&s, "an array");
    while ((next = more(&s, ']', out->len == 0)) > 0) {
        struct tok_merge m;
        OM_TRY(merge(&s, &m));
        if (!om_grow(&out->items, &out->cap, out->len + 1, sizeof(*out->items)))
            return no_memory(&s);
        out->items[out->len++] = m;
    }
    return next;
}
