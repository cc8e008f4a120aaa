/* src/base/json.c: JSON over jansson. A struct om_json is a json_t by another name.
 *
 * Python writes NaN, Infinity and -Infinity, which JSON has not and jansson refuses. Texts that
 * hold such a word outside of strings are parsed from a copy in which it is a marked string;
 * afterwards these strings are exchanged for the three static values below. */
#include "base/json.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"

/* jansson neither counts nor frees values with this reference count (its true, false and null are
 * such). Their type is real, but they are no json_real_t: om_json_f64() recognises them by address.
 */
#define STATIC_REAL                               \
    {                                             \
        .type = JSON_REAL, .refcount = (size_t)-1 \
    }

struct nonfinite {
    const char *word;
    double value;
    json_t json;
};

static const struct nonfinite nonfinites[] = {
    { "NaN", NAN, STATIC_REAL },
    { "Infinity", INFINITY, STATIC_REAL },
    { "-Infinity", -INFINITY, STATIC_REAL },
};

/* What a word becomes in the copy: the string of U+0000 and the word, MARK_EXTRA bytes longer. */
#define MARK_FORMAT "\"\\u0000%s\""
enum { MARK_EXTRA = 8 };

static const json_t *node(const struct om_json *v)
{
    return (const json_t *)v;
}

static const struct nonfinite *nonfinite_of(const json_t *j)
{
    for (size_t i = 0; i < OM_COUNT(nonfinites); i++) {
        if (j == &nonfinites[i].json)
            return &nonfinites[i];
    }
    return NULL;
}

/* ---- scanning text ---- */

/* The index after the string that opens at i, or the end of the text. */
static size_t skip_string(om_sv text, size_t i)
{
    for (i++; i < text.len; i++) {
        if (text.ptr[i] == '\\')
            i++;
        else if (text.ptr[i] == '"')
            return i + 1;
    }
    return text.len;
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '+' || c == '.';
}

static size_t skip_word(om_sv text, size_t i)
{
    while (i < text.len && is_word_char(text.ptr[i]))
        i++;
    return i;
}

/* Find the next non-finite word at or after *at; *at becomes its index. */
static const struct nonfinite *next_nonfinite(om_sv text, size_t *at)
{
    size_t i = *at;

    while (i < text.len) {
        if (text.ptr[i] == '"') {
            i = skip_string(text, i);
        } else if (!is_word_char(text.ptr[i])) {
            i++;
        } else {
            const size_t end = skip_word(text, i);
            for (size_t k = 0; k < OM_COUNT(nonfinites); k++) {
                if (om_sv_is((om_sv){ text.ptr + i, end - i }, nonfinites[k].word)) {
                    *at = i;
                    return &nonfinites[k];
                }
            }
            i = end;
        }
    }
    return NULL;
}

/* A copy of text with marked strings in place of the words. */
static void mark_nonfinites(om_sv text, struct om_buf *copy)
{
    const struct nonfinite *w;
    size_t done = 0, at = 0;

    while ((w = next_nonfinite(text, &at)) != NULL) {
        om_buf_add(copy, text.ptr + done, at - done);
        om_buf_printf(copy, MARK_FORMAT, w->word);
        at += strlen(w->word);
        done = at;
    }
    om_buf_add(copy, text.ptr + done, text.len - done);
}

/* Where byte pos of the marked copy comes from. */
static size_t unmarked_position(om_sv text, size_t pos)
{
    const struct nonfinite *w;
    size_t at = 0, shift = 0;

    while ((w = next_nonfinite(text, &at)) != NULL) {
        const size_t len = strlen(w->word);
        if (at + shift + MARK_EXTRA + len > pos)
            break;
        shift += MARK_EXTRA;
        at += len;
    }
    return pos >= shift ? pos - shift : 0;
}

/* The value that a marked string stands for. */
static const struct nonfinite *marked(const json_t *j)
{
    if (!json_is_string(j) || json_string_length(j) == 0 || json_string_value(j)[0] != '\0')
        return NULL;
    const om_sv word = { json_string_value(j) + 1, json_string_length(j) - 1 };
    for (size_t i = 0; i < OM_COUNT(nonfinites); i++) {
        if (om_sv_is(word, nonfinites[i].word))
            return &nonfinites[i];
    }
    return NULL;
}

/* Exchange the marked strings below j. The depth is what the parser allowed. */
static void unmark_below(json_t *j)
{
    if (json_is_array(j)) {
        for (size_t i = 0; i < json_array_size(j); i++) {
            const struct nonfinite *w = marked(json_array_get(j, i));
            if (w)
                json_array_set_new(j, i, (json_t *)&w->json);
            else
                unmark_below(json_array_get(j, i));
        }
    } else if (json_is_object(j)) {
        for (void *it = json_object_iter(j); it; it = json_object_iter_next(j, it)) {
            const struct nonfinite *w = marked(json_object_iter_value(it));
            if (w)
                json_object_iter_set_new(j, it, (json_t *)&w->json);
            else
                unmark_below(json_object_iter_value(it));
        }
    }
}

/* The document without marked strings; it may be a single one. */
static json_t *unmark(json_t *j)
{
    const struct nonfinite *w = marked(j);

    if (!w) {
        unmark_below(j);
        return j;
    }
    json_decref(j);
    return (json_t *)&w->json;
}

/* ---- integers beyond int64 ----
 *
 * Python writes them as they are (a model_max_length of 10^30 is common). jansson refuses them, so
 * they are parsed from a copy in which they have a fraction. */

#define FRACTION ".0"

static bool is_long_integer(om_sv word)
{
    int64_t value;

    for (size_t i = word.len && word.ptr[0] == '-'; i < word.len; i++)
        if (word.ptr[i] < '0' || word.ptr[i] > '9')
            return false;
    return word.len > 18 && !om_sv_i64(word, &value);
}

/* Find the next integer at or after *at that does not fit; *at becomes its index, the result its
 * length. */
static size_t next_long_integer(om_sv text, size_t *at)
{
    size_t i = *at;

    while (i < text.len) {
        if (text.ptr[i] == '"') {
            i = skip_string(text, i);
        } else if (!is_word_char(text.ptr[i])) {
            i++;
        } else {
            const size_t end = skip_word(text, i);
            if (is_long_integer((om_sv){ text.ptr + i, end - i })) {
                *at = i;
                return end - i;
            }
            i = end;
        }
    }
    return 0;
}

static void widen_integers(om_sv text, struct om_buf *copy)
{
    size_t done = 0, at = 0, len;

    while ((len = next_long_integer(text, &at)) > 0) {
        at += len;
        om_buf_add(copy, text.ptr + done, at - done);
        om_buf_adds(copy, FRACTION);
        done = at;
    }
    om_buf_add(copy, text.ptr + done, text.len - done);
}

/* Where byte pos of the widened copy comes from. */
static size_t narrow_position(om_sv text, size_t pos)
{
    size_t at = 0, shift = 0, len;

    while ((len = next_long_integer(text, &at)) > 0 && at + shift + len < pos) {
        shift += strlen(FRACTION);
        at += len;
    }
    return pos >= shift ? pos - shift : 0;
}

/* ---- parsing ---- */

static int fail_at(om_sv text, size_t pos, const char *what, struct om_error *err)
{
    size_t line = 1, column = 1;

    for (size_t i = 0; i < OM_MIN(pos, text.len); i++) {
        if (text.ptr[i] == '\n') {
            line++;
            column = 1;
        } else {
            column += ((unsigned char)text.ptr[i] & 0xC0) != 0x80; /* characters, not bytes */
        }
    }
    return om_fail(err, OM_E_FORMAT, "line %zu, column %zu: %s", line, column, what);
}

/* Jansson takes a failed allocation inside a token for a syntax error. The volatile keeps compilers
 * from leaving the pair of malloc and free out. */
static bool memory_is_short(void)
{
    void *volatile probe = malloc(4096);
    const bool is_short = !probe;

    free(probe);
    return is_short;
}

static int fail_parse(om_sv text, size_t pos, const json_error_t *e, struct om_error *err)
{
    int rc;

    if (e->text[0] == '\0' || json_error_code(e) == json_error_out_of_memory || memory_is_short())
        return om_fail(err, OM_E_NOMEM, "out of memory for a JSON text of %zu bytes", text.len);
    rc = fail_at(text, pos, e->text, err);
    if (json_error_code(e) == json_error_numeric_overflow)
        rc = om_wrap(err, rc, "a number does not fit 64 bits");
    return rc;
}

static json_t *load(om_sv source, unsigned flags, json_error_t *e)
{
    const size_t load_flags = JSON_DECODE_ANY | JSON_ALLOW_NUL |
                              (flags & OM_JSON_NO_DUPLICATES ? JSON_REJECT_DUPLICATES : 0);

    *e = (json_error_t){ .text = "" };
    return json_loadb(source.len ? source.ptr : "", source.len, load_flags, e);
}

/* Parse a text that jansson refused for its integers. */
static json_t *load_widened(om_sv source, unsigned flags, json_error_t *e)
{
    struct om_buf copy = OM_BUF_INIT(SIZE_MAX / 2);
    json_t *j = NULL;

    widen_integers(source, &copy);
    if (copy.failed) {
        *e = (json_error_t){ .text = "" };
    } else {
        j = load(om_buf_sv(&copy), flags, e);
        e->position = (int)narrow_position(source, e->position > 0 ? (size_t)e->position : 0);
    }
    om_buf_release(&copy);
    return j;
}

/* Parse source: the text itself, or the marked copy of it. */
static int parse_source(om_sv text, om_sv source, bool is_marked, unsigned flags,
                        struct om_json **out, struct om_error *err)
{
    json_error_t e;
    json_t *j = load(source, flags, &e);
    size_t at = 0;

    if (!j && json_error_code(&e) == json_error_numeric_overflow && next_long_integer(source, &at))
        j = load_widened(source, flags, &e);
    if (!j) {
        const size_t pos = e.position > 0 ? (size_t)e.position : 0;
        return fail_parse(text, is_marked ? unmarked_position(text, pos) : pos, &e, err);
    }
    *out = (struct om_json *)(is_marked ? unmark(j) : j);
    return 0;
}

int om_json_parse(om_sv text, unsigned flags, struct om_json **out, struct om_error *err)
{
    struct om_buf copy = OM_BUF_INIT(SIZE_MAX / 2);
    const char *const nul = text.len ? memchr(text.ptr, '\0', text.len) : NULL;
    size_t at = 0;

    if (nul) /* jansson would skip it after a literal */
        return fail_at(text, (size_t)(nul - text.ptr), "NUL byte", err);
    if (!next_nonfinite(text, &at))
        return parse_source(text, text, false, flags, out, err);
    mark_nonfinites(text, &copy);
    int rc = om_buf_check(&copy, err);
    if (rc == 0)
        rc = parse_source(text, om_buf_sv(&copy), true, flags, out, err);
    om_buf_release(&copy);
    return rc;
}

int om_json_read(const char *path, unsigned flags, struct om_json **out, struct om_error *err)
{
    struct om_file f = OM_FILE_INIT;
    int rc;

    OM_TRY(om_file_map(&f, path, err));
    if (f.size > 1u << 30)
        rc = om_fail(err, OM_E_LIMIT, "%" PRIu64 " bytes, expected at most 1 GiB of JSON", f.size);
    else
        rc = om_json_parse((om_sv){ (const char *)f.data, (size_t)f.size }, flags, out, err);
    om_file_unmap(&f);
    return om_wrap(err, rc, "%s", path);
}

void om_json_free(struct om_json *doc)
{
    json_decref((json_t *)doc);
}

/* ---- reading values ---- */

enum om_json_kind om_json_kind(const struct om_json *v)
{
    if (!v)
        return OM_JSON_NULL;
    switch (json_typeof(node(v))) {
    case JSON_OBJECT:
        return OM_JSON_OBJECT;
    case JSON_ARRAY:
        return OM_JSON_ARRAY;
    case JSON_STRING:
        return OM_JSON_STRING;
    case JSON_INTEGER:
        return OM_JSON_INT;
    case JSON_REAL:
        return OM_JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return OM_JSON_BOOL;
    case JSON_NULL:
        break;
    }
    return OM_JSON_NULL;
}

const char *om_json_kind_text(const struct om_json *v)
{
    static const char *const texts[] = {
        [OM_JSON_NULL] = "null",     [OM_JSON_BOOL] = "boolean",  [OM_JSON_INT] = "integer",
        [OM_JSON_REAL] = "number",   [OM_JSON_STRING] = "string", [OM_JSON_ARRAY] = "array",
        [OM_JSON_OBJECT] = "object",
    };
    return v ? texts[om_json_kind(v)] : "nothing";
}

const struct om_json *om_json_get(const struct om_json *v, const char *key)
{
    return (const struct om_json *)json_object_get(node(v), key);
}

const struct om_json *om_json_at(const struct om_json *v, size_t i)
{
    return (const struct om_json *)json_array_get(node(v), i);
}

size_t om_json_len(const struct om_json *v)
{
    return json_is_array(node(v)) ? json_array_size(node(v)) : json_object_size(node(v));
}

bool om_json_bool(const struct om_json *v, bool *out)
{
    if (om_json_kind(v) != OM_JSON_BOOL)
        return false;
    *out = json_is_true(node(v));
    return true;
}

bool om_json_i64(const struct om_json *v, int64_t *out)
{
    if (om_json_kind(v) != OM_JSON_INT)
        return false;
    *out = json_integer_value(node(v));
    return true;
}

bool om_json_f64(const struct om_json *v, double *out)
{
    const enum om_json_kind kind = om_json_kind(v);

    if (kind != OM_JSON_INT && kind != OM_JSON_REAL)
        return false;
    const struct nonfinite *w = nonfinite_of(node(v));
    *out = w ? w->value : json_number_value(node(v));
    return true;
}

bool om_json_str(const struct om_json *v, om_sv *out)
{
    if (om_json_kind(v) != OM_JSON_STRING)
        return false;
    *out = (om_sv){ json_string_value(node(v)), json_string_length(node(v)) };
    return true;
}

static om_sv iter_key(void *it)
{
#if JANSSON_VERSION_HEX >= 0x020e00
    return (om_sv){ json_object_iter_key(it), json_object_iter_key_len(it) };
#else
    return om_sv_str(json_object_iter_key(it));
#endif
}

bool om_json_next(const struct om_json *object, struct om_json_iter *it)
{
    json_t *const o = (json_t *)object; /* jansson's iterators want it so; nothing is changed */

    it->state = it->state ? json_object_iter_next(o, it->state) : json_object_iter(o);
    if (!it->state)
        return false;
    it->key = iter_key(it->state);
    it->value = (const struct om_json *)json_object_iter_value(it->state);
    return true;
}

/* ---- writing ---- */

static void write_number(struct om_buf *b, const json_t *j)
{
    const struct nonfinite *w = nonfinite_of(j);

    if (w)
        om_buf_adds(b, w->word);
    else if (json_is_integer(j))
        om_buf_printf(b, "%" PRId64, (int64_t)json_integer_value(j));
    else
        om_buf_real(b, json_real_value(j));
}

struct writer {
    struct om_buf *b;
    unsigned indent;
};

static void write_break(const struct writer *w, unsigned depth, bool first)
{
    if (w->indent)
        om_buf_printf(w->b, "%s\n%*s", first ? "" : ",", (int)(w->indent * depth), "");
    else if (!first)
        om_buf_adds(w->b, ", ");
}

static void write_value(const struct writer *w, const struct om_json *v, unsigned depth);

static void write_items(const struct writer *w, const struct om_json *v, unsigned depth)
{
    const bool object = om_json_kind(v) == OM_JSON_OBJECT;
    const size_t len = om_json_len(v);
    struct om_json_iter it = { 0 };

    om_buf_addc(w->b, object ? '{' : '[');
    for (size_t i = 0; i < len; i++) {
        write_break(w, depth + 1, i == 0);
        if (object && om_json_next(v, &it)) {
            om_buf_json_string(w->b, it.key);
            om_buf_adds(w->b, ": ");
        }
        write_value(w, object ? it.value : om_json_at(v, i), depth + 1);
    }
    if (len && w->indent)
        write_break(w, depth, true);
    om_buf_addc(w->b, object ? '}' : ']');
}

static void write_value(const struct writer *w, const struct om_json *v, unsigned depth)
{
    om_sv text;

    switch (om_json_kind(v)) {
    case OM_JSON_NULL:
        om_buf_adds(w->b, "null");
        break;
    case OM_JSON_BOOL:
        om_buf_adds(w->b, json_is_true(node(v)) ? "true" : "false");
        break;
    case OM_JSON_INT:
    case OM_JSON_REAL:
        write_number(w->b, node(v));
        break;
    case OM_JSON_STRING:
        if (om_json_str(v, &text))
            om_buf_json_string(w->b, text);
        break;
    case OM_JSON_ARRAY:
    case OM_JSON_OBJECT:
        write_items(w, v, depth);
        break;
    }
}

void om_json_write(struct om_buf *b, const struct om_json *v, unsigned indent)
{
    write_value(&(struct writer){ b, indent }, v, 0);
}

/* ---- patching text; it has been parsed before, so the scanners may trust it ---- */

static size_t skip_space(om_sv text, size_t i)
{
    while (i < text.len && strchr(" \t\n\r", text.ptr[i]) && text.ptr[i])
        i++;
    return i;
}

static size_t skip_value(om_sv text, size_t i)
{
    size_t depth = 0;

    do {
        const char c = text.ptr[i];
        if (c == '"') {
            i = skip_string(text, i);
            continue;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        i = is_word_char(c) ? skip_word(text, i) : i + 1;
    } while (depth > 0 && i < text.len);
    return i;
}

/* Byte indexes of one member: "key" from key to key_end, its value from value to value_end. gap is
 * where the white space before the key begins. */
struct member {
    size_t gap, key, key_end, value, value_end;
};

/* The member after index i, which is that of '{' or ','; false at the closing brace. */
static bool next_member(om_sv text, size_t i, struct member *m)
{
    m->gap = i + 1;
    m->key = skip_space(text, i + 1);
    if (m->key >= text.len || text.ptr[m->key] != '"')
        return false;
    m->key_end = skip_string(text, m->key);
    m->value = skip_space(text, skip_space(text, m->key_end) + 1);
    m->value_end = skip_value(text, m->value);
    return true;
}

/* Whether the quoted text is key; escapes are left to the parser. */
static int key_is(om_sv quoted, const char *key, struct om_error *err)
{
    struct om_json *j;
    om_sv plain = { quoted.ptr + 1, quoted.len - 2 };

    if (!memchr(quoted.ptr, '\\', quoted.len))
        return om_sv_is(plain, key);
    OM_TRY(om_json_parse(quoted, 0, &j, err));
    const int is = om_json_str(j, &plain) && om_sv_is(plain, key);
    om_json_free(j);
    return is;
}

/* The last patch for the key of m, n when there is none, or a negative code. */
static int64_t patch_for(om_sv text, const struct member *m, const struct om_json_patch *patches,
                         size_t n, struct om_error *err)
{
    const om_sv quoted = { text.ptr + m->key, m->key_end - m->key };

    for (size_t i = n; i-- > 0;) {
        const int is = key_is(quoted, patches[i].key, err);
        if (is != 0)
            return is < 0 ? is : (int64_t)i;
    }
    return (int64_t)n;
}

static int check_patches(const struct om_json_patch *patches, size_t n, struct om_error *err)
{
    for (size_t i = 0; i < n; i++) {
        struct om_json *j = NULL;
        const int rc = om_json_parse(om_sv_str(patches[i].value), 0, &j, err);
        om_json_free(j);
        if (rc < 0)
            return om_wrap(err, rc, "value for key \"%s\"", patches[i].key);
    }
    return 0;
}

/* Append one member in the manner of the last one; without one, in the manner of the braces. */
static void append_member(om_sv text, const struct member *last, bool first,
                          const struct om_json_patch *p, struct om_buf *out)
{
    const size_t brace = skip_space(text, 0);

    if (last || !first)
        om_buf_addc(out, ',');
    if (last)
        om_buf_add(out, text.ptr + last->gap, last->key - last->gap);
    else if (memchr(text.ptr + brace, '\n', skip_space(text, brace + 1) - brace))
        om_buf_adds(out, "\n  ");
    else if (!first)
        om_buf_addc(out, ' ');
    om_buf_json_string(out, om_sv_str(p->key));
    if (last)
        om_buf_add(out, text.ptr + last->key_end, last->value - last->key_end);
    else
        om_buf_adds(out, ": ");
    om_buf_adds(out, p->value);
}

/* Copy text with the values of known members replaced, then append the others. done is the first
 * byte of text not yet copied, end the one after the last member (or the opening brace). */
static int patch_members(om_sv text, const struct om_json_patch *patches, size_t n, bool *seen,
                         struct om_buf *out, struct om_error *err)
{
    const size_t brace = skip_space(text, 0);
    size_t done = 0, end = brace + 1;
    struct member m;
    bool any = false, first = true;

    for (size_t at = brace; text.ptr[at] != '}' && next_member(text, at, &m);
         at = skip_space(text, end)) {
        const int64_t hit = patch_for(text, &m, patches, n, err);
        if (hit < 0)
            return (int)hit;
        if ((size_t)hit < n) {
            om_buf_add(out, text.ptr + done, m.value - done);
            om_buf_adds(out, patches[hit].value);
            done = m.value_end;
            seen[hit] = true;
        }
        end = m.value_end;
        any = true;
    }
    om_buf_add(out, text.ptr + done, end - done);
    for (size_t i = 0; i < n; i++) {
        if (seen[i])
            continue;
        append_member(text, any ? &m : NULL, first, &patches[i], out);
        first = false;
    }
    om_buf_add(out, text.ptr + end, text.len - end);
    return om_buf_check(out, err);
}

/* A patch counts as done when a later one has the same key. */
static void mark_superseded(const struct om_json_patch *patches, size_t n, bool *seen)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = i + 1; k < n && !seen[i]; k++)
            seen[i] = strcmp(patches[i].key, patches[k].key) == 0;
    }
}

int om_json_patch(om_sv text, const struct om_json_patch *patches, size_t n, struct om_buf *out,
                  struct om_error *err)
{
    struct om_json *doc;

    OM_TRY(om_json_parse(text, 0, &doc, err));
    const enum om_json_kind kind = om_json_kind(doc);
    const char *const kind_text = om_json_kind_text(doc);
    om_json_free(doc);
    if (kind != OM_JSON_OBJECT)
        return om_fail(err, OM_E_FORMAT, "expected a JSON object, found %s", kind_text);
    OM_TRY(check_patches(patches, n, err));

    bool *seen = calloc(n ? n : 1, sizeof(*seen));
    if (!seen)
        return om_fail(err, OM_E_NOMEM, "out of memory for %zu JSON keys", n);
    mark_superseded(patches, n, seen);
    const int rc = patch_members(text, patches, n, seen, out, err);
    free(seen);
    return rc;
}
