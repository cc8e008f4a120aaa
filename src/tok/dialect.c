/* src/tok/dialect.c: regular expressions of Oniguruma in the syntax of PCRE2.
 *
 * What differs: the classes \s \w \d \h and \v, \b, classes within classes and their intersections,
 * {n,m}+, {,n}, (?m), \uHHHH and long names of properties. Everything else is passed through. */
#include "tok/regex.h"

#include "tok/unicode.h"

enum { DEPTH_MAX = 64 };

#define SPACE                                                                                    \
    "\\x09-\\x0D\\x20\\x85\\xA0\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}" \
    "\\x{3000}"
#define WORD                                               \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24B6}-\\x{24E9}" \
    "\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}"
/* Outside of brackets \w has these too. */
#define BARE_WORD WORD "\\xB2\\xB3\\xB9\\xBC-\\xBE"
#define HEX "0-9a-fA-F"

struct dialect {
    om_sv in;
    size_t at;
    struct om_buf *out;
    size_t atom;             /* where the last atom begins in out */
    size_t group[DEPTH_MAX]; /* where the open groups begin */
    size_t depth;
    struct om_error *err;
};

static int unsupported(const struct dialect *d, const char *what)
{
    return om_fail(d->err, OM_E_UNSUPPORTED, "regular expression \"%.*s\", character %zu: %s",
                   OM_SV(d->in), d->at, what);
}

static char peek(const struct dialect *d, size_t ahead)
{
    return d->at + ahead < d->in.len ? d->in.ptr[d->at + ahead] : '\0';
}

/* The members of a class escape such as \s, without brackets. */
static const char *class_members(char c)
{
    switch (c) {
    case 's':
    case 'S':
        return SPACE;
    case 'w':
    case 'W':
        return WORD;
    case 'd':
    case 'D':
        return "\\p{Nd}";
    case 'h':
    case 'H':
        return HEX;
    default:
        return NULL;
    }
}

static const struct {
    const char *name, *members;
} properties[] = {
    { "letter", "\\p{L}" },
    { "uppercaseletter", "\\p{Lu}" },
    { "lowercaseletter", "\\p{Ll}" },
    { "titlecaseletter", "\\p{Lt}" },
    { "modifierletter", "\\p{Lm}" },
    { "otherletter", "\\p{Lo}" },
    { "mark", "\\p{M}" },
    { "nonspacingmark", "\\p{Mn}" },
    { "spacingmark", "\\p{Mc}" },
    { "enclosingmark", "\\p{Me}" },
    { "number", "\\p{N}" },
    { "decimalnumber", "\\p{Nd}" },
    { "letternumber", "\\p{Nl}" },
    { "othernumber", "\\p{No}" },
    { "punctuation", "\\p{P}" },
    { "symbol", "\\p{S}" },
    { "mathsymbol", "\\p{Sm}" },
    { "currencysymbol", "\\p{Sc}" },
    { "modifiersymbol", "\\p{Sk}" },
    { "othersymbol", "\\p{So}" },
    { "separator", "\\p{Z}" },
    { "spaceseparator", "\\p{Zs}" },
    { "control", "\\p{Cc}" },
    { "format", "\\p{Cf}" },
    { "other", "\\p{C}" },
    { "any", "\\x{0}-\\x{10FFFF}" },
    { "assigned", "\\P{Cn}" },
    { "ascii", "\\x00-\\x7F" },
    { "alpha", "\\p{Alphabetic}" },
    { "digit", "\\p{Nd}" },
    { "alnum", "\\p{Alphabetic}\\p{Nd}" },
    { "space", SPACE },
    { "word", WORD },
    { "upper", "\\p{Uppercase}" },
    { "lower", "\\p{Lowercase}" },
    { "punct", "\\p{P}" },
    { "xdigit", HEX },
    { "blank", "\\p{Zs}\\x09" },
    { "cntrl", "\\p{Cc}" },
};

/* The members of a property of Oniguruma that PCRE2 does not have by this name; NULL: pass it
 * through. */
static const char *property_members(om_sv name)
{
    char plain[32];
    size_t n = 0;

    for (size_t i = 0; i < name.len; i++) {
        const char c = name.ptr[i];
        if (c == ' ' || c == '_' || c == '-')
            continue;
        if (n + 1 >= sizeof(plain))
            return NULL;
        plain[n++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    plain[n] = '\0';
    for (size_t i = 0; i < OM_COUNT(properties); i++)
        if (strcmp(properties[i].name, plain) == 0)
            return properties[i].members;
    return NULL;
}

/* ---- classes: one character that is in a set ----
 *
 * The members that PCRE2 can hold in one pair of brackets go to `flat`; negated members and classes
 * within the class become alternatives, an intersection a look-ahead. */

struct set {
    struct om_buf flat, others; /* others: alternatives, each after a | */
    bool negated;
    bool bare; /* not in brackets */
};

static void set_release(struct set *s)
{
    om_buf_release(&s->flat);
    om_buf_release(&s->others);
}

static void add_members(struct set *s, const char *members, bool negated)
{
    if (s->bare && strcmp(members, WORD) == 0)
        members = BARE_WORD;
    if (negated)
        om_buf_printf(&s->others, "|[^%s]", members);
    else
        om_buf_adds(&s->flat, members);
}

/* PCRE2 takes \p{Greek} as all characters that are used with Greek, unless told otherwise. */
static int is_script(const struct dialect *d, om_sv name)
{
    struct om_buf pattern = OM_BUF_INIT(256); /* longer names are none */
    int is = 0;

    om_buf_printf(&pattern, "\\p{sc:%.*s}", OM_SV(name));
    if (!pattern.failed)
        is = tok_regex_compiles(om_buf_sv(&pattern), d->err);
    else if (name.len < 200)
        is = om_buf_check(&pattern, d->err);
    om_buf_release(&pattern);
    return is;
}

/* \p{Name}, \P{Name}, \p{^Name}; at stands behind the p. */
static int property(struct dialect *d, bool negated, struct set *s)
{
    const char *const end = memchr(d->in.ptr + d->at, '}', d->in.len - d->at);

    if (peek(d, 0) != '{' || !end)
        return unsupported(d, "a property needs braces");
    om_sv name = { d->in.ptr + d->at + 1, (size_t)(end - d->in.ptr) - d->at - 1 };
    d->at = (size_t)(end - d->in.ptr) + 1;
    if (name.len && name.ptr[0] == '^') {
        negated = !negated;
        name = (om_sv){ name.ptr + 1, name.len - 1 };
    }
    const char *const members = property_members(name);
    if (members) {
        add_members(s, members, negated);
        return 0;
    }
    const int script = is_script(d, name);
    if (script < 0)
        return script;
    om_buf_printf(&s->flat, "\\%c{%s%.*s}", negated ? 'P' : 'p', script ? "sc:" : "", OM_SV(name));
    return 0;
}

/* One escape within a class; at stands behind the backslash. */
static int class_escape(struct dialect *d, struct set *s)
{
    const char c = peek(d, 0);
    const char *const members = class_members(c);

    if (d->at >= d->in.len)
        return unsupported(d, "it ends with a backslash");
    d->at++;
    if (members) {
        add_members(s, members, c >= 'A' && c <= 'Z');
    } else if (c == 'p' || c == 'P') {
        return property(d, c == 'P', s);
    } else if (c == 'u' && d->at + 4 <= d->in.len) {
        om_buf_printf(&s->flat, "\\x{%.4s}", d->in.ptr + d->at);
        d->at += 4;
    } else if (c == 'v') {
        om_buf_adds(&s->flat, "\\x0B");
    } else {
        om_buf_printf(&s->flat, "\\%c", c);
    }
    return 0;
}

static const char *posix_members(om_sv name)
{
    if (om_sv_is(name, "punct"))
        return "\\p{P}\\p{S}";
    if (om_sv_is(name, "graph"))
        return "[:graph:]";
    if (om_sv_is(name, "print"))
        return "[:print:]";
    return property_members(name);
}

/* [:name:] within a class; false when it is none. */
static bool posix_class(struct dialect *d, struct set *s)
{
    const om_sv rest = { d->in.ptr + d->at, d->in.len - d->at };
    const char *const end = memmem(rest.ptr, rest.len, ":]", 2);
    const bool negated = peek(d, 2) == '^';
    const size_t skip = negated ? 3 : 2;

    if (peek(d, 1) != ':' || !end || end < rest.ptr + skip)
        return false;
    const char *const members =
        posix_members((om_sv){ rest.ptr + skip, (size_t)(end - rest.ptr) - skip });
    if (!members)
        return false;
    add_members(s, members, negated);
    d->at += (size_t)(end - rest.ptr) + 2;
    return true;
}

static void write_set(const struct set *s, struct om_buf *out)
{
    const om_sv flat = om_buf_sv(&s->flat), others = om_buf_sv(&s->others);

    if (others.len == 0 && flat.len) {
        om_buf_printf(out, "[%s%.*s]", s->negated ? "^" : "", OM_SV(flat));
        return;
    }
    om_buf_adds(out, s->negated ? "(?:(?!" : "(?:");
    if (flat.len)
        om_buf_printf(out, "[%.*s]%.*s", OM_SV(flat), OM_SV(others));
    else if (others.len)
        om_buf_add(out, others.ptr + 1, others.len - 1);
    else
        om_buf_adds(out, "(?!)");
    om_buf_adds(out, s->negated ? ")(?s:.))" : ")");
}

static int class_body(struct dialect *d, struct set *s, size_t depth);

/* A class within s; at stands at its bracket. */
static int inner_class(struct dialect *d, struct set *s, size_t depth)
{
    struct set inner = { OM_BUF_INIT(1u << 20), OM_BUF_INIT(1u << 20), false, false };
    int rc;

    d->at++;
    rc = class_body(d, &inner, depth + 1);
    if (rc == 0 && !inner.negated && om_buf_sv(&inner.others).len == 0) {
        om_buf_add(&s->flat, inner.flat.ptr, inner.flat.len);
    } else if (rc == 0) {
        om_buf_addc(&s->others, '|');
        write_set(&inner, &s->others);
    }
    set_release(&inner);
    return rc;
}

/* What stands behind && is another set: s becomes their intersection. */
static int intersect(struct dialect *d, struct set *s, size_t depth)
{
    struct set right = { OM_BUF_INIT(1u << 20), OM_BUF_INIT(1u << 20), false, false };
    struct om_buf both = OM_BUF_INIT(1u << 20);
    const bool negated = s->negated;
    int rc;

    d->at += 2;
    rc = class_body(d, &right, depth + 1);
    right.negated = false; /* a ^ here is a member */
    s->negated = false;
    om_buf_adds(&both, "|(?=");
    write_set(s, &both);
    om_buf_addc(&both, ')');
    write_set(&right, &both);
    om_buf_clear(&s->flat);
    om_buf_clear(&s->others);
    om_buf_add(&s->others, both.ptr, both.len);
    s->negated = negated;
    set_release(&right);
    om_buf_release(&both);
    return rc;
}

/* The members up to the closing bracket, which is passed; at stands behind the opening one. */
static int class_body(struct dialect *d, struct set *s, size_t depth)
{
    bool first = true;

    if (depth > DEPTH_MAX)
        return unsupported(d, "classes are nested too deeply");
    if (peek(d, 0) == '^') {
        s->negated = true;
        d->at++;
    }
    for (; d->at < d->in.len; first = false) {
        const char c = peek(d, 0);
        if (c == ']' && !first) {
            d->at++;
            return 0;
        }
        if (c == '&' && peek(d, 1) == '&')
            return intersect(d, s, depth);
        if (c == '[' && posix_class(d, s))
            continue;
        if (c == '[') {
            OM_TRY(inner_class(d, s, depth));
        } else if (c == '\\') {
            d->at++;
            OM_TRY(class_escape(d, s));
        } else {
            if (c == ']')
                om_buf_addc(&s->flat, '\\');
            om_buf_addc(&s->flat, c);
            d->at++;
        }
    }
    return unsupported(d, "a class is not closed");
}

static int class_atom(struct dialect *d)
{
    struct set s = { OM_BUF_INIT(1u << 20), OM_BUF_INIT(1u << 20), false, false };
    int rc;

    d->atom = d->out->len;
    d->at++;
    rc = class_body(d, &s, 0);
    if (rc == 0)
        write_set(&s, d->out);
    set_release(&s);
    return rc;
}

/* ---- outside of classes ---- */

static int escape_atom(struct dialect *d)
{
    struct set s = { OM_BUF_INIT(1u << 20), OM_BUF_INIT(1u << 20), false, true };
    const char c = peek(d, 1);
    int rc = 0;

    d->atom = d->out->len;
    if (c == 'b') {
        om_buf_adds(d->out, "(?:(?<=[" BARE_WORD "])(?![" BARE_WORD "])|(?<![" BARE_WORD
                            "])(?=[" BARE_WORD "]))");
        d->at += 2;
    } else if (c == 'B') {
        om_buf_adds(d->out, "(?:(?<=[" BARE_WORD "])(?=[" BARE_WORD "])|(?<![" BARE_WORD
                            "])(?![" BARE_WORD "]))");
        d->at += 2;
    } else if (class_members(c) || c == 'p' || c == 'P' || c == 'u' || c == 'v') {
        d->at++;
        rc = class_escape(d, &s);
        if (rc == 0)
            write_set(&s, d->out);
    } else if (c == '\0' && d->at + 1 >= d->in.len) {
        rc = unsupported(d, "it ends with a backslash");
    } else {
        om_buf_add(d->out, d->in.ptr + d->at, 2);
        d->at += 2;
    }
    set_release(&s);
    return rc;
}

/* Ruby's option m lets the dot match a newline; PCRE2 calls that s. */
static void group_options(struct dialect *d)
{
    while (d->at < d->in.len && strchr("imx-", peek(d, 0)) && peek(d, 0)) {
        om_buf_addc(d->out, peek(d, 0) == 'm' ? 's' : peek(d, 0));
        d->at++;
    }
}

static int group_open(struct dialect *d)
{
    if (d->depth >= DEPTH_MAX)
        return unsupported(d, "groups are nested too deeply");
    if (peek(d, 1) == '?' && peek(d, 2) == '~')
        return unsupported(d, "the absent operator is not implemented");
    d->group[d->depth++] = d->out->len;
    om_buf_addc(d->out, '(');
    d->at++;
    if (peek(d, 0) == '?') {
        om_buf_addc(d->out, '?');
        d->at++;
        group_options(d);
    }
    return 0;
}

static int group_close(struct dialect *d)
{
    if (d->depth == 0)
        return unsupported(d, "a parenthesis is closed that was not opened");
    d->atom = d->group[--d->depth];
    om_buf_addc(d->out, ')');
    d->at++;
    return 0;
}

/* The length of {n}, {n,}, {n,m} or {,m} at the cursor, 0 when it is literal text. */
static size_t interval_length(const struct dialect *d)
{
    size_t i = 1, digits = 0;

    for (; peek(d, i) >= '0' && peek(d, i) <= '9'; i++)
        digits++;
    if (peek(d, i) == ',')
        for (i++; peek(d, i) >= '0' && peek(d, i) <= '9'; i++)
            digits++;
    return digits && peek(d, i) == '}' ? i + 1 : 0;
}

/* Put text before the last atom. */
static void insert_at_atom(struct dialect *d, const char *text)
{
    const size_t n = strlen(text), from = d->atom, len = d->out->len - from;

    om_buf_adds(d->out, text);
    if (d->out->failed)
        return;
    memmove(d->out->ptr + from + n, d->out->ptr + from, len);
    memcpy(d->out->ptr + from, text, n);
}

/* {n,m}+ repeats the repetition; PCRE2 would take it as possessive. */
static void interval(struct dialect *d, size_t len)
{
    const bool repeated = peek(d, len) == '+';

    if (repeated)
        insert_at_atom(d, "(?:");
    om_buf_addc(d->out, '{');
    if (peek(d, 1) == ',')
        om_buf_addc(d->out, '0');
    om_buf_add(d->out, d->in.ptr + d->at + 1, len - 1);
    d->at += len;
    if (repeated)
        om_buf_addc(d->out, ')');
}

static void plain_char(struct dialect *d)
{
    size_t len = 1;
    const char c = peek(d, 0);

    if (!strchr("*+?|", c)) { /* quantifiers belong to the atom before */
        d->atom = d->out->len;
        while (d->at + len < d->in.len && tok_is_cont(d->in.ptr[d->at + len]))
            len++;
    }
    om_buf_add(d->out, d->in.ptr + d->at, len);
    d->at += len;
}

int tok_regex_translate(om_sv pattern, struct om_buf *out, struct om_error *err)
{
    struct dialect d = { .in = pattern, .out = out, .err = err };

    if (memchr(pattern.ptr, '\0', pattern.len))
        return unsupported(&d, "it has a NUL");
    while (d.at < pattern.len) {
        const char c = pattern.ptr[d.at];
        const size_t repeat = c == '{' ? interval_length(&d) : 0;
        if (c == '[')
            OM_TRY(class_atom(&d));
        else if (c == '\\')
            OM_TRY(escape_atom(&d));
        else if (c == '(')
            OM_TRY(group_open(&d));
        else if (c == ')')
            OM_TRY(group_close(&d));
        else if (repeat)
            interval(&d, repeat);
        else
            plain_char(&d);
    }
    return om_buf_check(out, err);
}
