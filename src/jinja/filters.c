/* src/jinja/filters.c: filters on texts and numbers; those on sequences are in sequences.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "jinja/builtin.h"
#include "jinja/format.h"
#include "jinja/sequences.h"

/* Filters take any value where they want a text. */
static jj_val soft(struct jj_run *r, jj_val v)
{
    return v.type == JJ_STR ? v : jj_view(r, jj_str(r, v));
}

static jj_val method(struct jj_run *r, const char *name, jj_val self, const struct jj_args *a)
{
    const jj_val text = soft(r, self);

    return r->rc < 0 ? text : jj_find(jj_str_methods, om_sv_str(name))->fn(r, text, a);
}

JJ_FN(f_trim)
{
    return method(r, "strip", self, a);
}
JJ_FN(f_upper)
{
    return method(r, "upper", self, a);
}
JJ_FN(f_lower)
{
    return method(r, "lower", self, a);
}
JJ_FN(f_capitalize)
{
    return method(r, "capitalize", self, a);
}
JJ_FN(f_string)
{
    (void)a;
    return soft(r, self);
}

/* Words begin after white space, hyphens and opening brackets here. */
JJ_FN(f_title)
{
    const om_sv s = jj_str(r, self);
    struct om_buf b = OM_BUF_INIT(r->arena.max);
    bool inside = false;
    size_t len;

    (void)a;
    if (!jj_steps(r, s.len))
        return self;
    for (size_t i = 0; i < s.len; i += len) {
        const uint32_t c = jj_decode(s.ptr + i, &len);
        const bool between = jj_is_space(c) || (c < 0x80 && c && strchr("-({[<", (int)c));
        jj_put_case(&b, s, i, c, between || inside ? JJ_LOWER : JJ_UPPER);
        inside = !between;
    }
    return jj_buf(r, &b);
}

JJ_FN(f_center)
{
    int64_t width = 80;

    if (jj_given(a, 0) && !jj_want_int(r, a->v[0], &width))
        return self;
    const jj_val text = soft(r, self);
    return r->rc < 0 ? text : jj_justify(r, text, width, OM_SVL(" "), '^');
}

JJ_FN(f_replace)
{
    int64_t most = -1;

    if (!jj_is_none(a, 2) && !jj_want_int(r, a->v[2], &most))
        return self;
    const om_sv s = jj_str(r, self), old = jj_str(r, a->v[0]), new = jj_str(r, a->v[1]);
    return r->rc < 0 ? self : jj_replace(r, s, old, new, most);
}

JJ_FN(f_format)
{
    const jj_val text = soft(r, self);
    struct jj_dict d = { 0, NULL };
    size_t cap = 0;

    if (a->len && a->named_len)
        return jj_fail(r, OM_E_FORMAT,
                       "can't handle positional and keyword arguments at the same time");
    for (size_t i = 0; i < a->named_len; i++)
        jj_dict_set(r, &d, &cap, jj_view(r, a->named[i].name), a->named[i].value);
    if (r->rc < 0)
        return text;
    return jj_percent(r, text, a->named_len ? jj_dict(r, &d) : jj_seq(r, JJ_TUPLE, a->pos, a->len));
}

/* ---- indent, truncate ---- */

static bool read_indent(struct jj_run *r, const struct jj_args *a, om_sv *out)
{
    int64_t width = 4;

    if (jj_given(a, 0) && a->v[0].type == JJ_STR) {
        *out = jj_sv(a->v[0]);
        return true;
    }
    if (jj_given(a, 0) && !jj_want_int(r, a->v[0], &width))
        return false;
    if (width > 1 << 16) {
        jj_fail(r, OM_E_LIMIT, "an indentation of %" PRId64, width);
        return false;
    }
    const jj_val spaces = jj_justify(r, jj_view(r, (om_sv){ "", 0 }), width, OM_SVL(" "), '<');
    *out = r->rc == 0 ? jj_sv(spaces) : (om_sv){ "", 0 };
    return r->rc == 0;
}

JJ_FN(f_indent)
{
    const bool first = jj_flag(a, 1), blank = jj_flag(a, 2);
    struct om_buf b = OM_BUF_INIT(r->arena.max);
    const jj_val *lines;
    om_sv indent, s;
    size_t n;

    if (!jj_want_string(r, self, &s) || !read_indent(r, a, &indent))
        return self;
    const jj_val with_newline = jj_concat(r, self, OM_SVL("\n"));
    if (r->rc < 0 || !jj_iterate(r, jj_splitlines(r, jj_sv(with_newline), false), &lines, &n))
        return self;
    for (size_t i = 0; i < n && jj_steps(r, indent.len) && !b.failed; i++) {
        if (i)
            om_buf_addc(&b, '\n');
        if (i ? blank || lines[i].s->len : first)
            om_buf_add(&b, indent.ptr, indent.len);
        om_buf_add(&b, lines[i].s->ptr, lines[i].s->len);
    }
    return jj_buf(r, &b);
}

/* Without the last word that was cut. */
static om_sv whole_words(om_sv s)
{
    const char *const space = s.len ? memrchr(s.ptr, ' ', s.len) : NULL;

    return (om_sv){ s.ptr, space ? (size_t)(space - s.ptr) : s.len };
}

JJ_FN(f_truncate)
{
    int64_t length = 255, leeway = 5;
    om_sv end = OM_SVL("..."), s;

    if ((jj_given(a, 0) && !jj_want_int(r, a->v[0], &length)) ||
        (jj_given(a, 2) && !jj_want_string(r, a->v[2], &end)) ||
        (!jj_is_none(a, 3) && !jj_want_int(r, a->v[3], &leeway)))
        return self;
    const int64_t keep = length - (int64_t)jj_count(end);
    if (keep < 0 || leeway < 0)
        return jj_fail(r, OM_E_FORMAT,
                       "expected a length of at least that of its end, and no negative leeway");
    if (jj_has_len(self) && (jj_len(self) <= length || jj_len(self) - length <= leeway))
        return self;
    if (!jj_want_string(r, self, &s))
        return self;
    s.len = jj_byte_of(s, self.s->chars, (size_t)keep);
    if (!jj_flag(a, 1))
        s = whole_words(s);
    return jj_concat(r, jj_view(r, s), end);
}

JJ_FN(f_wordcount)
{
    const om_sv s = jj_str(r, self);
    bool inside = false;
    int64_t n = 0;
    size_t len;

    (void)a;
    for (size_t i = 0; i < s.len; i += len) {
        const bool word = jj_is_word(jj_decode(s.ptr + i, &len));
        n += word && !inside;
        inside = word;
    }
    return jj_int(n);
}

/* ---- escaping ---- */

JJ_FN(f_safe)
{
    (void)a;
    return jj_markup(r, soft(r, self));
}
JJ_FN(f_forceescape)
{
    (void)a;
    return jj_escape(r, jj_str(r, self));
}

JJ_FN(f_escape)
{
    (void)a;
    return self.type == JJ_STR && self.s->markup ? self : jj_escape(r, jj_str(r, self));
}

static void put_url(struct om_buf *b, om_sv s, bool query)
{
    for (size_t i = 0; i < s.len && !b->failed; i++) {
        const unsigned char c = (unsigned char)s.ptr[i];
        const bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (letter || (c >= '0' && c <= '9') || (c && strchr(query ? "_.-~" : "_.-~/", c)))
            om_buf_addc(b, (char)c);
        else if (query && c == ' ')
            om_buf_addc(b, '+');
        else
            om_buf_printf(b, "%%%02X", c);
    }
}

static void put_query(struct jj_run *r, struct om_buf *b, const jj_val *pairs, size_t n)
{
    const jj_val *pair;
    size_t len;

    for (size_t i = 0; i < n && jj_iterate(r, pairs[i], &pair, &len); i++) {
        if (len != 2) {
            jj_fail(r, OM_E_FORMAT, "expected pairs");
            return;
        }
        if (i)
            om_buf_addc(b, '&');
        put_url(b, jj_str(r, pair[0]), true);
        om_buf_addc(b, '=');
        put_url(b, jj_str(r, pair[1]), true);
    }
}

JJ_FN(f_urlencode)
{
    struct om_buf b = OM_BUF_INIT(r->arena.max);
    const jj_val *items;
    jj_val pairs = self;
    size_t n;

    (void)a;
    if (self.type == JJ_DICT)
        pairs = jj_pairs(r, self.dict->entries, self.dict->len, JJ_ITEMS);
    if (self.type == JJ_STR || !jj_can_iterate(self))
        put_url(&b, jj_str(r, self), false);
    else if (jj_iterate(r, pairs, &items, &n))
        put_query(r, &b, items, n);
    return jj_buf(r, &b);
}

/* ---- numbers ---- */

/* A decimal number as Python's int() and float() read it: white space around, single underscores
 * within. */
static bool plain_number(om_sv s, char *out, size_t size)
{
    size_t n = 0;

    s = jj_strip(s, NULL, JJ_BOTH);
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '_' && i > 0 && i + 1 < s.len && s.ptr[i - 1] != '_')
            continue;
        if (s.ptr[i] == '_' || n + 1 >= size || s.ptr[i] == '\0')
            return false;
        out[n++] = s.ptr[i];
    }
    out[n] = '\0';
    return n > 0;
}

static bool parse_int(om_sv s, int base, int64_t *out)
{
    char text[128], *end;

    if (!plain_number(s, text, sizeof(text)))
        return false;
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    const char mark = digits[0] == '0' ? (char)(digits[1] | 0x20) : '\0';
    if ((base == 2 && mark == 'b') || (base == 8 && mark == 'o'))
        memmove((char *)digits, digits + 2, strlen(digits + 2) + 1);
    if (strchr(" \t\n+-", digits[0]) && digits[0])
        return false;
    const long long i = strtoll(text, &end, base);
    *out = i;
    return *end == '\0' && end != text && *digits && i != INT64_MAX && i != INT64_MIN;
}

static bool parse_real(om_sv s, double *out)
{
    char text[512], *end;

    if (!plain_number(s, text, sizeof(text)) || strpbrk(text, "xXpP("))
        return false;
    *out = strtod(text, &end);
    return *end == '\0' && end != text;
}

static bool to_real(jj_val v, double *out)
{
    if (jj_is_number(v)) {
        *out = jj_f64(v);
        return true;
    }
    return v.type == JJ_STR && parse_real(jj_sv(v), out);
}

JJ_FN(f_int)
{
    const jj_val other = jj_given(a, 0) ? a->v[0] : jj_int(0);
    int64_t i = 0, base = 10;
    double d = 0.0;

    if (jj_given(a, 1) && !jj_want_int(r, a->v[1], &base))
        return self;
    if (base < 2 || base > 36)
        return jj_fail(r, OM_E_UNSUPPORTED, "base %" PRId64 ", expected 2 to 36", base);
    if (self.type == JJ_UNDEFINED)
        return jj_use_undefined(r, self);
    if (jj_is_int(self))
        return jj_int(jj_i64(self));
    if (self.type == JJ_STR && parse_int(jj_sv(self), (int)base, &i))
        return jj_int(i);
    if (!to_real(self, &d) || !isfinite(d))
        return other;
    if (fabs(d) >= 9.2e18)
        return jj_fail(r, OM_E_LIMIT, "an integer beyond 64 bits");
    return jj_int((int64_t)d);
}

JJ_FN(f_float)
{
    double d = 0.0;

    if (self.type == JJ_UNDEFINED)
        return jj_use_undefined(r, self);
    if (to_real(self, &d))
        return jj_real(d);
    return jj_given(a, 0) ? a->v[0] : jj_real(0.0);
}

JJ_FN(f_abs)
{
    (void)a;
    if (self.type == JJ_UNDEFINED)
        return jj_use_undefined(r, self);
    if (!jj_is_number(self))
        return jj_fail(r, OM_E_FORMAT, "bad operand type for abs(): '%s'", jj_type_name(self));
    if (self.type == JJ_REAL)
        return jj_real(fabs(self.d));
    return jj_i64(self) < 0 ? jj_negate(r, self, true) : jj_int(jj_i64(self));
}

/* Half to even on the decimal value, as printf rounds. */
static double round_digits(double d, int digits)
{
    char text[400];

    if (digits < 0) {
        const double scale = pow(10.0, -digits);
        return rint(d / scale) * scale;
    }
    snprintf(text, sizeof(text), "%.*f", digits, d);
    return strtod(text, NULL);
}

JJ_FN(f_round)
{
    int64_t digits = 0;
    om_sv how = OM_SVL("common");

    if ((jj_given(a, 0) && !jj_want_int(r, a->v[0], &digits)) ||
        (jj_given(a, 1) && !jj_want_string(r, a->v[1], &how)))
        return self;
    if (self.type == JJ_UNDEFINED)
        return jj_use_undefined(r, self);
    if (!jj_is_number(self))
        return jj_fail(r, OM_E_FORMAT, "type %s doesn't define __round__ method",
                       jj_type_name(self));
    digits = OM_MAX((int64_t)-300, OM_MIN(digits, (int64_t)80));
    const double d = jj_f64(self), scale = pow(10.0, (double)digits);
    if (om_sv_is(how, "ceil"))
        return jj_real((ceil(d * scale) + 0.0) / scale);
    if (om_sv_is(how, "floor"))
        return jj_real((floor(d * scale) + 0.0) / scale); /* no -0.0 */
    if (!om_sv_is(how, "common"))
        return jj_fail(r, OM_E_FORMAT, "method must be common, ceil or floor");
    if (!isfinite(d) || self.type != JJ_REAL)
        return self.type == JJ_REAL ? self
               : digits >= 0        ? jj_int(jj_i64(self))
                                    : jj_int((int64_t)round_digits(d, (int)digits));
    return jj_real(round_digits(d, (int)digits));
}

/* ---- any value ---- */

JJ_FN(f_default)
{
    const bool missing = self.type == JJ_UNDEFINED || (jj_flag(a, 1) && !jj_true(self));

    if (!missing)
        return self;
    return jj_given(a, 0) ? a->v[0] : jj_view(r, (om_sv){ "", 0 });
}

JJ_FN(f_length)
{
    (void)a;
    if (!jj_has_len(self))
        return jj_fail(r, OM_E_FORMAT, "object of type '%s' has no len()", jj_type_name(self));
    return self.type == JJ_LOOP ? jj_loop_attr(r, self.loop, OM_SVL("length"))
                                : jj_int(jj_len(self));
}

JJ_FN(f_attr)
{
    const om_sv name = jj_str(r, a->v[0]);
    const jj_val key = jj_view(r, name);
    jj_val out = jj_none();

    if (self.type == JJ_UNDEFINED || r->rc < 0)
        return jj_use_undefined(r, self);
    return jj_own_attr(r, self, key, &out) ? out : jj_undefined_member(r, self, key);
}

/* An indentation in spaces, or a text. */
static bool read_json_indent(struct jj_run *r, jj_val v, struct jj_json_style *style)
{
    int64_t n;

    style->pretty = true;
    style->item = OM_SVL(",");
    if (v.type == JJ_STR) {
        style->indent = jj_sv(v);
        return true;
    }
    if (!jj_want_int(r, v, &n))
        return false;
    if (n > 1000) {
        jj_fail(r, OM_E_LIMIT, "an indentation of %" PRId64, n);
        return false;
    }
    const jj_val spaces = jj_justify(r, jj_view(r, (om_sv){ "", 0 }), n, OM_SVL(" "), '<');
    style->indent = r->rc == 0 ? jj_sv(spaces) : (om_sv){ "", 0 };
    return r->rc == 0;
}

static bool read_separators(struct jj_run *r, jj_val v, struct jj_json_style *style)
{
    const jj_val *items;
    size_t n;

    if (!jj_iterate(r, v, &items, &n))
        return false;
    if (n != 2) {
        jj_fail(r, OM_E_FORMAT, "expected two separators, found %zu", n);
        return false;
    }
    return jj_want_string(r, items[0], &style->item) && jj_want_string(r, items[1], &style->colon);
}

JJ_FN(f_tojson)
{
    struct jj_json_style style = { .item = OM_SVL(", "), .colon = OM_SVL(": ") };
    struct om_buf b = OM_BUF_INIT(r->arena.max);

    style.ascii = jj_flag(a, 0);
    style.sort_keys = jj_flag(a, 3);
    if ((!jj_is_none(a, 1) && !read_json_indent(r, a->v[1], &style)) ||
        (!jj_is_none(a, 2) && !read_separators(r, a->v[2], &style)))
        return self;
    jj_json(r, &b, self, &style);
    return jj_buf(r, &b);
}

const struct jj_builtin jj_filters[] = {
    { "abs", f_abs, "" },
    { "attr", f_attr, "name" },
    { "batch", jj_batch, "linecount fill_with=" },
    { "capitalize", f_capitalize, "" },
    { "center", f_center, "width=" },
    { "count", f_length, "" },
    { "d", f_default, "default_value= boolean=" },
    { "default", f_default, "default_value= boolean=" },
    { "dictsort", jj_dictsort, "case_sensitive= by= reverse=" },
    { "e", f_escape, "" },
    { "escape", f_escape, "" },
    { "first", jj_first, "" },
    { "float", f_float, "default=" },
    { "forceescape", f_forceescape, "" },
    { "format", f_format, NULL },
    { "groupby", jj_groupby, "attribute default= case_sensitive=" },
    { "indent", f_indent, "width= first= blank=" },
    { "int", f_int, "default= base=" },
    { "items", jj_items, "" },
    { "join", jj_join, "d= attribute=" },
    { "last", jj_last, "" },
    { "length", f_length, "" },
    { "list", jj_to_list, "" },
    { "lower", f_lower, "" },
    { "map", jj_map, NULL },
    { "max", jj_max, "case_sensitive= attribute=" },
    { "min", jj_min, "case_sensitive= attribute=" },
    { "reject", jj_reject, NULL },
    { "rejectattr", jj_rejectattr, NULL },
    { "replace", f_replace, "old new count=" },
    { "reverse", jj_reversed, "" },
    { "round", f_round, "precision= method=" },
    { "safe", f_safe, "" },
    { "select", jj_select, NULL },
    { "selectattr", jj_selectattr, NULL },
    { "slice", jj_slices, "slices fill_with=" },
    { "sort", jj_sorted, "reverse= case_sensitive= attribute=" },
    { "string", f_string, "" },
    { "sum", jj_sum, "attribute= start=" },
    { "title", f_title, "" },
    { "tojson", f_tojson, "ensure_ascii= indent= separators= sort_keys=" },
    { "trim", f_trim, "chars=" },
    { "truncate", f_truncate, "length= killwords= end= leeway=" },
    { "unique", jj_unique, "case_sensitive= attribute=" },
    { "upper", f_upper, "" },
    { "urlencode", f_urlencode, "" },
    { "wordcount", f_wordcount, "" },
    { NULL, NULL, NULL },
};

const char *const jj_missing_filters[] = { "filesizeformat", "pprint",   "random",  "striptags",
                                           "urlize",         "wordwrap", "xmlattr", NULL };
