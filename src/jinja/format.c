/* src/jinja/format.c: Python's two ways to format: "..." % args and "...".format(). */
#include "jinja/format.h"

#include <math.h>
#include <stdio.h>

#include "jinja/text.h"

enum { WIDTH_MAX = 1 << 16, PRECISION_MAX = 300 };

struct spec {
    om_sv fill; /* one character */
    char align; /* < > ^ = or 0 */
    char sign;  /* + - space */
    bool alt;
    size_t width;
    int precision; /* -1: none */
    char group;    /* , _ or 0 */
    char type;     /* 0: none */
};

/* ---- a field ---- */

static void put_fill(struct om_buf *b, const struct spec *f, size_t n)
{
    for (size_t i = 0; i < n; i++)
        om_buf_add(b, f->fill.ptr, f->fill.len);
}

/* head stays at the left of padding with '='. */
static void put_padded(struct om_buf *b, const struct spec *f, char align, om_sv head, om_sv body)
{
    const size_t used = jj_count(head) + jj_count(body);
    const size_t pad = f->width > used ? f->width - used : 0;
    const size_t left = align == '>' ? pad : align == '^' ? pad / 2 : 0;

    put_fill(b, f, left);
    om_buf_add(b, head.ptr, head.len);
    if (align == '=')
        put_fill(b, f, pad);
    om_buf_add(b, body.ptr, body.len);
    if (align == '<' || align == '^')
        put_fill(b, f, pad - left);
}

static void put_text(struct om_buf *b, const struct spec *f, om_sv s)
{
    if (f->precision >= 0)
        s.len = jj_byte_of(s, jj_count(s), (size_t)f->precision);
    put_padded(b, f, f->align && f->align != '=' ? f->align : '<', (om_sv){ "", 0 }, s);
}

/* Digits with a separator before every third. */
static void put_grouped(struct om_buf *b, om_sv digits, char group)
{
    size_t whole = 0;

    while (whole < digits.len && digits.ptr[whole] >= '0' && digits.ptr[whole] <= '9')
        whole++;
    for (size_t i = 0; i < digits.len; i++) {
        if (group && i && i < whole && (whole - i) % 3 == 0)
            om_buf_addc(b, group);
        om_buf_addc(b, digits.ptr[i]);
    }
}

static void put_number(struct om_buf *b, const struct spec *f, bool negative, const char *prefix,
                       om_sv digits)
{
    struct om_buf body = OM_BUF_INIT(1u << 12);
    char head[8];

    snprintf(head, sizeof(head), "%s%s",
             negative         ? "-"
             : f->sign == '+' ? "+"
             : f->sign == ' ' ? " "
                              : "",
             prefix);
    put_grouped(&body, digits, f->group);
    put_padded(b, f, f->align ? f->align : '>', om_sv_str(head), om_buf_sv(&body));
    b->failed |= body.failed;
    om_buf_release(&body);
}

static void put_int(struct om_buf *b, const struct spec *f, int64_t i)
{
    const bool negative = i < 0;
    uint64_t u = negative ? -(uint64_t)i : (uint64_t)i;
    const unsigned base = f->type == 'x' || f->type == 'X' ? 16
                          : f->type == 'o'                 ? 8
                          : f->type == 'b'                 ? 2
                                                           : 10;
    const char *const digits = f->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    const char *const prefix = !f->alt || base == 10 ? ""
                               : base == 8           ? "0o"
                               : base == 2           ? "0b"
                               : f->type == 'X'      ? "0X"
                                                     : "0x";
    char text[PRECISION_MAX + 80];
    size_t at = sizeof(text);

    do
        text[--at] = digits[u % base];
    while ((u /= base) > 0);
    while (f->precision > (int)(sizeof(text) - at))
        text[--at] = '0';
    put_number(b, f, negative, prefix, (om_sv){ text + at, sizeof(text) - at });
}

static void put_real(struct om_buf *b, const struct spec *f, double d)
{
    const double size = fabs(d) * (f->type == '%' ? 100.0 : 1.0);
    const char type = f->type == '%' ? 'f' : f->type ? f->type : 'g';
    const char form[] = {
        '%', f->alt ? '#' : '.', f->alt ? '.' : '*', f->alt ? '*' : type, f->alt ? type : '\0', '\0'
    };
    struct om_buf text = OM_BUF_INIT(1u << 12);
    char digits[PRECISION_MAX + 400];

    if (!f->type && f->precision < 0) {
        om_buf_real(&text, size);
    } else {
        snprintf(digits, sizeof(digits), form, f->precision < 0 ? 6 : f->precision, size);
        om_buf_adds(&text, digits);
    }
    if (f->type == '%')
        om_buf_addc(&text, '%');
    put_number(b, f, signbit(d) && !isnan(d), "", om_buf_sv(&text));
    b->failed |= text.failed;
    om_buf_release(&text);
}

/* ---- "..." % args ---- */

struct percent {
    struct jj_run *r;
    om_sv s;
    size_t at;
    jj_val args;
    size_t next; /* of a tuple */
    bool named;
};

static jj_val next_arg(struct percent *p)
{
    const bool tuple =
        p->args.type == JJ_SEQ && (p->args.seq->kind == JJ_TUPLE || p->args.seq->kind == JJ_GROUP);
    const size_t len = tuple ? p->args.seq->len : 1;

    if (p->next >= len)
        return jj_fail(p->r, OM_E_FORMAT, "not enough arguments for format string");
    return tuple ? p->args.seq->items[p->next++] : (p->next++, p->args);
}

/* %(name)s */
static jj_val named_arg(struct percent *p)
{
    const char *const close = memchr(p->s.ptr + p->at, ')', p->s.len - p->at);
    const jj_val *v;

    if (!close)
        return jj_fail(p->r, OM_E_FORMAT, "incomplete format key");
    const om_sv name = { p->s.ptr + p->at + 1, (size_t)(close - p->s.ptr) - p->at - 1 };
    p->at += name.len + 2;
    p->named = true;
    if (p->args.type != JJ_DICT)
        return jj_fail(p->r, OM_E_FORMAT, "format requires a mapping");
    v = jj_dict_get(p->r, p->args.dict, jj_view(p->r, name));
    return v ? *v : jj_fail(p->r, OM_E_FORMAT, "there is no key '%.*s'", OM_SV(name));
}

static size_t read_size(om_sv s, size_t *at, size_t none)
{
    size_t n = none;

    for (bool first = true; *at < s.len && s.ptr[*at] >= '0' && s.ptr[*at] <= '9';
         ++*at, first = false)
        n = OM_MIN((first ? 0 : n) * 10 + (size_t)(s.ptr[*at] - '0'), (size_t)1 << 30);
    return n;
}

static void read_flags(struct percent *p, struct spec *f)
{
    for (; p->at < p->s.len && memchr("#0- +", p->s.ptr[p->at], 5); p->at++) {
        const char c = p->s.ptr[p->at];
        if (c == '#')
            f->alt = true;
        else if (c == '-')
            f->align = '<';
        else if (c == '0' && f->align != '<')
            f->align = '=';
        else if (c == '+' || (c == ' ' && f->sign != '+'))
            f->sign = c;
    }
    f->width = read_size(p->s, &p->at, 0);
    if (p->at < p->s.len && p->s.ptr[p->at] == '.') {
        p->at++;
        f->precision = (int)read_size(p->s, &p->at, 0);
    }
}

static bool in_bounds(struct jj_run *r, const struct spec *f)
{
    if (f->width > WIDTH_MAX || f->precision > PRECISION_MAX) {
        jj_fail(r, OM_E_LIMIT, "a format's width or precision is too large");
        return false;
    }
    return true;
}

static void put_percent_int(struct percent *p, struct om_buf *b, struct spec *f, jj_val v)
{
    if (!jj_is_number(v) || (v.type == JJ_REAL && f->type != 'd')) {
        jj_fail(p->r, OM_E_FORMAT, "%%%c format: a real number is required, not %s", f->type,
                jj_type_name(v));
        return;
    }
    if (v.type == JJ_REAL && !(fabs(v.d) < 9e18)) {
        jj_fail(p->r, OM_E_LIMIT, "%%d of a number beyond 64 bits");
        return;
    }
    if (f->align == '=')
        f->fill = OM_SVL("0");
    put_int(b, f, v.type == JJ_REAL ? (int64_t)v.d : jj_i64(v));
}

static void put_percent_value(struct percent *p, struct om_buf *b, struct spec *f, jj_val v)
{
    struct om_buf repr = OM_BUF_INIT(p->r->arena.max);

    if (f->type == 'i' || f->type == 'u')
        f->type = 'd';
    if (f->type == 's') {
        put_text(b, f, jj_str(p->r, v));
    } else if (f->type == 'r') {
        jj_repr(p->r, &repr, v);
        put_text(b, f, om_buf_sv(&repr));
    } else if (strchr("dxXo", f->type)) {
        put_percent_int(p, b, f, v);
    } else if (strchr("eEfFgG", f->type)) {
        if (f->align == '=')
            f->fill = OM_SVL("0");
        if (jj_is_number(v))
            put_real(b, f, jj_f64(v));
        else
            jj_fail(p->r, OM_E_FORMAT, "must be real number, not %s", jj_type_name(v));
    } else {
        jj_fail(p->r, OM_E_UNSUPPORTED, "unsupported format character '%c'", f->type);
    }
    om_buf_release(&repr);
}

/* The conversion after a '%'. */
static void put_conversion(struct percent *p, struct om_buf *b)
{
    struct spec f = { .fill = OM_SVL(" "), .precision = -1 };
    jj_val v = jj_none();
    const bool named = p->at < p->s.len && p->s.ptr[p->at] == '(';

    if (named)
        v = named_arg(p);
    read_flags(p, &f);
    if (p->at >= p->s.len) {
        jj_fail(p->r, OM_E_FORMAT, "incomplete format");
        return;
    }
    f.type = p->s.ptr[p->at++];
    if (f.type == '%') {
        om_buf_addc(b, '%');
        return;
    }
    if (!named)
        v = next_arg(p);
    if (!f.align && f.type != 0)
        f.align = '>';
    if (in_bounds(p->r, &f) && p->r->rc == 0 && f.type)
        put_percent_value(p, b, &f, v);
}

jj_val jj_percent(struct jj_run *r, jj_val format, jj_val args)
{
    struct percent p = { .r = r, .s = jj_sv(format), .args = args };
    struct om_buf b = OM_BUF_INIT(r->arena.max);
    const bool tuple = args.type == JJ_SEQ && args.seq->kind == JJ_TUPLE;

    while (p.at < p.s.len && jj_step(r) && !b.failed) {
        const char *const percent = memchr(p.s.ptr + p.at, '%', p.s.len - p.at);
        const size_t end = percent ? (size_t)(percent - p.s.ptr) : p.s.len;
        om_buf_add(&b, p.s.ptr + p.at, end - p.at);
        p.at = end + 1;
        if (percent)
            put_conversion(&p, &b);
    }
    /* What has items of its own may be looked up by name, and need not be. */
    const bool keyed = args.type == JJ_DICT || args.type == JJ_UNDEFINED ||
                       (args.type == JJ_SEQ && args.seq->kind <= JJ_RANGE);
    const size_t len = tuple ? args.seq->len : keyed ? 0 : 1;
    if (p.next < len && !p.named)
        jj_fail(r, OM_E_FORMAT, "not all arguments converted during string formatting");
    return jj_buf(r, &b);
}

/* ---- "...".format() ---- */

struct format {
    struct jj_run *r;
    const struct jj_args *args;
    size_t next; /* of {} */
    unsigned depth;
};

static void put_fields(struct format *x, struct om_buf *b, om_sv s);

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static bool read_spec(struct jj_run *r, om_sv s, struct spec *f)
{
    size_t at = 0, len = 0;

    *f = (struct spec){ .fill = OM_SVL(" "), .precision = -1 };
    if (s.len)
        jj_decode(s.ptr, &len);
    if (len < s.len && strchr("<>^=", s.ptr[len]) && s.ptr[len]) {
        f->fill = (om_sv){ s.ptr, len };
        f->align = s.ptr[len];
        at = len + 1;
    } else if (s.len && strchr("<>^=", s.ptr[0]) && s.ptr[0]) {
        f->align = s.ptr[0];
        at = 1;
    }
    if (at < s.len && memchr("+- ", s.ptr[at], 3))
        f->sign = s.ptr[at++];
    if (at < s.len && s.ptr[at] == '#')
        f->alt = s.ptr[at++] == '#';
    if (at < s.len && s.ptr[at] == '0' && !f->align) {
        f->fill = OM_SVL("0");
        f->align = '=';
        at++;
    }
    f->width = read_size(s, &at, 0);
    if (at < s.len && (s.ptr[at] == ',' || s.ptr[at] == '_'))
        f->group = s.ptr[at++];
    if (at < s.len && s.ptr[at] == '.') {
        at++;
        f->precision = (int)read_size(s, &at, 0);
    }
    if (at < s.len)
        f->type = s.ptr[at++];
    if (at < s.len)
        jj_fail(r, OM_E_FORMAT, "invalid format specifier '%.*s'", OM_SV(s));
    return in_bounds(r, f) && r->rc == 0;
}

static void put_value(struct jj_run *r, struct om_buf *b, const struct spec *f, jj_val v)
{
    const bool number = jj_is_number(v);
    const char *const types = v.type == JJ_REAL ? "eEfFgG%" : number ? "dxXobneEfFgG%" : "s";

    if (f->type && !strchr(types, f->type))
        jj_fail(r, OM_E_FORMAT, "unknown format code '%c' for object of type '%s'", f->type,
                jj_type_name(v));
    else if (v.type == JJ_STR)
        put_text(b, f, jj_str(r, v));
    else if (!number)
        jj_fail(r, OM_E_FORMAT, "unsupported format string for '%s'", jj_type_name(v));
    else if (v.type == JJ_REAL || (f->type && strchr("eEfFgG%", f->type)))
        put_real(b, f, jj_f64(v));
    else if (f->precision >= 0)
        jj_fail(r, OM_E_FORMAT, "precision not allowed in integer format specifier");
    else
        put_int(b, f, jj_i64(v));
}

static jj_val first_of(struct format *x, om_sv name)
{
    int64_t i = 0;

    if (name.len == 0)
        i = (int64_t)x->next++;
    if (name.len == 0 || om_sv_i64(name, &i)) {
        if (i < 0 || (uint64_t)i >= x->args->len)
            return jj_fail(x->r, OM_E_FORMAT, "replacement index %" PRId64 " out of range", i);
        return x->args->pos[i];
    }
    for (size_t k = 0; k < x->args->named_len; k++)
        if (om_sv_eq(x->args->named[k].name, name))
            return x->args->named[k].value;
    return jj_fail(x->r, OM_E_FORMAT, "there is no argument '%.*s'", OM_SV(name));
}

static size_t name_end(om_sv s, size_t at, const char *ends)
{
    while (at < s.len && !strchr(ends, s.ptr[at]))
        at++;
    return at;
}

/* name.attribute[item] */
static jj_val field_value(struct format *x, om_sv field)
{
    size_t at = name_end(field, 0, ".[");
    jj_val v = first_of(x, (om_sv){ field.ptr, at });

    while (at < field.len && x->r->rc == 0) {
        const bool item = field.ptr[at] == '[';
        const size_t begin = at + 1, end = name_end(field, begin, item ? "]" : ".[");
        const om_sv name = { field.ptr + begin, end - begin };
        int64_t i;
        if (item && om_sv_i64(name, &i))
            v = jj_get_item(x->r, v, jj_int(i));
        else
            v = item ? jj_get_item(x->r, v, jj_view(x->r, name))
                     : jj_get_attr(x->r, v, jj_view(x->r, name));
        at = end + item;
    }
    return v;
}

/* The text between braces: field!conversion:spec. */
static void put_field(struct format *x, struct om_buf *b, om_sv s)
{
    const size_t end = name_end(s, 0, "!:");
    struct om_buf spec_text = OM_BUF_INIT(1u << 12), repr = OM_BUF_INIT(x->r->arena.max);
    jj_val v = field_value(x, (om_sv){ s.ptr, end });
    size_t at = end;
    struct spec f;

    if (at + 1 < s.len && s.ptr[at] == '!') {
        if (s.ptr[at + 1] == 'r')
            jj_repr(x->r, &repr, v);
        v = s.ptr[at + 1] == 'r' ? jj_buf(x->r, &repr) : jj_view(x->r, jj_str(x->r, v));
        at += 2;
    }
    if (at < s.len && s.ptr[at] == ':' && x->r->rc == 0) {
        x->depth++;
        put_fields(x, &spec_text, (om_sv){ s.ptr + at + 1, s.len - at - 1 });
        x->depth--;
    }
    if (x->r->rc == 0 && spec_text.len == 0) {
        const om_sv text = jj_str(x->r, v);
        om_buf_add(b, text.ptr, text.len);
    } else if (x->r->rc == 0 && read_spec(x->r, om_buf_sv(&spec_text), &f)) {
        put_value(x->r, b, &f, v);
    }
    om_buf_release(&spec_text);
    om_buf_release(&repr);
}

/* The byte after the brace that closes the one before byte at. */
static size_t closing(om_sv s, size_t at)
{
    for (unsigned open = 1; at < s.len; at++) {
        open += s.ptr[at] == '{';
        open -= s.ptr[at] == '}';
        if (open == 0)
            return at + 1;
    }
    return 0;
}

static void put_fields(struct format *x, struct om_buf *b, om_sv s)
{
    if (x->depth > 2)
        jj_fail(x->r, OM_E_FORMAT, "max string recursion exceeded");
    for (size_t at = 0; at < s.len && jj_step(x->r) && !b->failed;) {
        const char c = s.ptr[at++];
        if ((c == '{' || c == '}') && at < s.len && s.ptr[at] == c) {
            om_buf_addc(b, s.ptr[at++]);
        } else if (c == '{') {
            const size_t end = closing(s, at);
            if (!end)
                jj_fail(x->r, OM_E_FORMAT, "expected '}' before end of string");
            else
                put_field(x, b, (om_sv){ s.ptr + at, end - 1 - at });
            at = end;
        } else if (c == '}') {
            jj_fail(x->r, OM_E_FORMAT, "single '}' encountered in format string");
        } else {
            om_buf_addc(b, c);
        }
    }
}

jj_val jj_format(struct jj_run *r, jj_val self, const struct jj_args *args)
{
    struct format x = { .r = r, .args = args };
    struct om_buf b = OM_BUF_INIT(r->arena.max);

    put_fields(&x, &b, jj_sv(self));
    return jj_buf(r, &b);
}
