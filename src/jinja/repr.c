/* src/jinja/repr.c: values as text: Python's str() and repr(), and JSON as its json module writes
 * it. */
#include "jinja/ast.h"
#include "jinja/text.h"

#include <math.h>

/* ---- repr ---- */

static void repr_char(struct om_buf *b, uint32_t c, char quote)
{
    static const char escapes[] = "\\\n\r\t", letters[] = "\\nrt";
    const char *const known = c < 0x80 && c ? memchr(escapes, (int)c, sizeof(escapes) - 1) : NULL;

    if (c == (uint32_t)quote)
        om_buf_printf(b, "\\%c", quote);
    else if (known)
        om_buf_printf(b, "\\%c", letters[known - escapes]);
    else if (jj_is_printable(c))
        jj_encode(b, c);
    else
        om_buf_printf(b, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
}

static void repr_string(struct om_buf *b, om_sv s)
{
    const bool single = s.len && memchr(s.ptr, '\'', s.len),
               twice = s.len && memchr(s.ptr, '"', s.len);
    const char quote = single && !twice ? '"' : '\'';
    size_t len;

    om_buf_addc(b, quote);
    for (size_t i = 0; i < s.len; i += len)
        repr_char(b, jj_decode(s.ptr + i, &len), quote);
    om_buf_addc(b, quote);
}

static void repr_items(struct jj_run *r, struct om_buf *b, const struct jj_seq *s)
{
    for (size_t i = 0; i < s->len && jj_step(r) && !b->failed; i++) {
        if (i)
            om_buf_adds(b, ", ");
        jj_repr(r, b, s->items[i]);
    }
}

static void repr_range(struct om_buf *b, const struct jj_seq *s)
{
    const int64_t first = s->len ? s->items[0].i : 0;
    const int64_t step = s->len > 1 ? s->items[1].i - first : 1;

    om_buf_printf(b, "range(%" PRId64 ", %" PRId64, first, first + step * (int64_t)s->len);
    if (step != 1)
        om_buf_printf(b, ", %" PRId64, step);
    om_buf_addc(b, ')');
}

static void repr_seq(struct jj_run *r, struct om_buf *b, jj_val v)
{
    const struct jj_seq *const s = v.seq;

    switch (s->kind) {
    case JJ_LIST:
        om_buf_addc(b, '[');
        repr_items(r, b, s);
        om_buf_addc(b, ']');
        break;
    case JJ_TUPLE:
    case JJ_GROUP:
        om_buf_addc(b, '(');
        repr_items(r, b, s);
        om_buf_adds(b, s->len == 1 ? ",)" : ")");
        break;
    case JJ_RANGE:
        repr_range(b, s);
        break;
    case JJ_KEYS:
    case JJ_VALUES:
    case JJ_ITEMS:
        om_buf_printf(b, "%s([", jj_type_name(v));
        repr_items(r, b, s);
        om_buf_adds(b, "])");
        break;
    case JJ_GENERATOR:
        om_buf_printf(b, "<generator object %s>", s->name);
        break;
    }
}

static void repr_dict(struct jj_run *r, struct om_buf *b, const struct jj_dict *d)
{
    om_buf_addc(b, '{');
    for (size_t i = 0; i < d->len && jj_step(r) && !b->failed; i++) {
        if (i)
            om_buf_adds(b, ", ");
        jj_repr(r, b, d->entries[i].key);
        om_buf_adds(b, ": ");
        jj_repr(r, b, d->entries[i].value);
    }
    om_buf_addc(b, '}');
}

static void repr_macro(struct jj_run *r, struct om_buf *b, const struct jj_macro *m)
{
    const om_sv name = jj_macro_name(r, m);

    om_buf_adds(b, "<Macro ");
    if (name.ptr)
        repr_string(b, name);
    else
        om_buf_adds(b, "anonymous");
    om_buf_addc(b, '>');
}

static void repr_value(struct jj_run *r, struct om_buf *b, jj_val v)
{
    switch (v.type) {
    case JJ_UNDEFINED:
        om_buf_adds(b, "Undefined");
        break;
    case JJ_NONE:
        om_buf_adds(b, "None");
        break;
    case JJ_BOOL:
        om_buf_adds(b, v.b ? "True" : "False");
        break;
    case JJ_INT:
        om_buf_printf(b, "%" PRId64, v.i);
        break;
    case JJ_REAL:
        om_buf_real(b, v.d);
        break;
    case JJ_STR:
        if (v.s->markup)
            om_buf_adds(b, "Markup(");
        repr_string(b, jj_sv(v));
        if (v.s->markup)
            om_buf_addc(b, ')');
        break;
    case JJ_SEQ:
        repr_seq(r, b, v);
        break;
    case JJ_DICT:
        repr_dict(r, b, v.dict);
        break;
    case JJ_NAMESPACE:
        om_buf_adds(b, "<Namespace ");
        repr_dict(r, b, &v.ns->attrs);
        om_buf_addc(b, '>');
        break;
    case JJ_LOOP:
        jj_repr_loop(b, v.loop);
        break;
    case JJ_MACRO:
        repr_macro(r, b, v.macro);
        break;
    case JJ_BUILTIN:
        om_buf_printf(b, "<function %s>", v.bound->builtin->name);
        break;
    }
}

void jj_repr(struct jj_run *r, struct om_buf *b, jj_val v)
{
    if (!jj_steps(r, v.type == JJ_STR ? v.s->len : 0) || !jj_enter(r))
        return;
    repr_value(r, b, v);
    jj_leave(r);
}

om_sv jj_str(struct jj_run *r, jj_val v)
{
    struct om_buf b = OM_BUF_INIT(r->arena.max);

    if (v.type == JJ_STR)
        return jj_sv(v);
    if (v.type == JJ_UNDEFINED)
        return (om_sv){ "", 0 };
    jj_repr(r, &b, v);
    const jj_val text = jj_buf(r, &b);
    return text.type == JJ_STR ? jj_sv(text) : (om_sv){ "", 0 };
}

/* ---- JSON ---- */

static void json_unit(struct om_buf *b, uint32_t c)
{
    om_buf_printf(b, "\\u%04x", c);
}

static void json_char(struct om_buf *b, uint32_t c, bool ascii)
{
    static const char escapes[] = "\"\\\n\r\t\b\f", letters[] = "\"\\nrtbf";
    const char *const known = c < 0x80 && c ? memchr(escapes, (int)c, sizeof(escapes) - 1) : NULL;

    if (known) {
        om_buf_addc(b, '\\');
        om_buf_addc(b, letters[known - escapes]);
    } else if (c < 0x20 || (ascii && c >= 0x7F && c < 0x10000)) {
        json_unit(b, c);
    } else if (ascii && c >= 0x10000) {
        json_unit(b, 0xD800 + ((c - 0x10000) >> 10));
        json_unit(b, 0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
        jj_encode(b, c);
    }
}

static void json_string(struct om_buf *b, om_sv s, bool ascii)
{
    size_t len;

    om_buf_addc(b, '"');
    for (size_t i = 0; i < s.len; i += len)
        json_char(b, jj_decode(s.ptr + i, &len), ascii);
    om_buf_addc(b, '"');
}

static void json_real(struct om_buf *b, double d)
{
    if (isnan(d))
        om_buf_adds(b, "NaN");
    else if (isinf(d))
        om_buf_adds(b, d < 0 ? "-Infinity" : "Infinity");
    else
        om_buf_real(b, d);
}

struct json {
    struct jj_run *r;
    struct om_buf *b;
    const struct jj_json_style *style;
};

static void json_value(const struct json *w, jj_val v, size_t depth);

static void json_break(const struct json *w, size_t depth)
{
    if (!w->style->pretty)
        return;
    om_buf_addc(w->b, '\n');
    for (size_t i = 0; i < depth && !w->b->failed && jj_step(w->r); i++)
        om_buf_add(w->b, w->style->indent.ptr, w->style->indent.len);
}

static void json_between(const struct json *w, size_t i, size_t depth)
{
    if (i)
        om_buf_add(w->b, w->style->item.ptr, w->style->item.len);
    json_break(w, depth);
}

static void json_list(const struct json *w, const struct jj_seq *s, size_t depth)
{
    om_buf_addc(w->b, '[');
    for (size_t i = 0; i < s->len && jj_step(w->r) && !w->b->failed; i++) {
        json_between(w, i, depth + 1);
        json_value(w, s->items[i], depth + 1);
    }
    if (s->len)
        json_break(w, depth);
    om_buf_addc(w->b, ']');
}

static void json_key(const struct json *w, jj_val key)
{
    if (key.type == JJ_STR) {
        json_string(w->b, jj_sv(key), w->style->ascii);
    } else if (jj_is_number(key) || key.type == JJ_NONE) {
        om_buf_addc(w->b, '"');
        json_value(w, key, 0);
        om_buf_addc(w->b, '"');
    } else {
        jj_fail(w->r, OM_E_FORMAT, "keys must be str, int, float, bool or None, not %s",
                jj_type_name(key));
    }
}

static void json_dict(const struct json *w, const struct jj_dict *d, size_t depth)
{
    const struct jj_entry *const entries =
        w->style->sort_keys ? jj_sorted_entries(w->r, d) : d->entries;

    om_buf_addc(w->b, '{');
    for (size_t i = 0; entries && i < d->len && jj_step(w->r) && !w->b->failed; i++) {
        json_between(w, i, depth + 1);
        json_key(w, entries[i].key);
        om_buf_add(w->b, w->style->colon.ptr, w->style->colon.len);
        json_value(w, entries[i].value, depth + 1);
    }
    if (d->len)
        json_break(w, depth);
    om_buf_addc(w->b, '}');
}

static void json_plain(const struct json *w, jj_val v, size_t depth)
{
    struct om_buf *const b = w->b;

    if (v.type == JJ_NONE)
        om_buf_adds(b, "null");
    else if (v.type == JJ_BOOL)
        om_buf_adds(b, v.b ? "true" : "false");
    else if (v.type == JJ_INT)
        om_buf_printf(b, "%" PRId64, v.i);
    else if (v.type == JJ_REAL)
        json_real(b, v.d);
    else if (v.type == JJ_STR)
        json_string(b, jj_sv(v), w->style->ascii);
    else if (v.type == JJ_DICT)
        json_dict(w, v.dict, depth);
    else if (v.type == JJ_SEQ && v.seq->kind <= JJ_GROUP)
        json_list(w, v.seq, depth);
    else
        jj_fail(w->r, OM_E_FORMAT, "Object of type %s is not JSON serializable", jj_type_name(v));
}

static void json_value(const struct json *w, jj_val v, size_t depth)
{
    if (!jj_steps(w->r, v.type == JJ_STR ? v.s->len : 0) || !jj_enter(w->r))
        return;
    json_plain(w, v, depth);
    jj_leave(w->r);
}

void jj_json(struct jj_run *r, struct om_buf *b, jj_val v, const struct jj_json_style *style)
{
    const struct json w = { r, b, style };

    json_value(&w, v, 0);
}
