/* src/jinja/lex.c: the text of a template to tokens, with white space as trim_blocks and
 * lstrip_blocks leave it. */
#include "jinja/lex.h"

#include <stdlib.h>

#include "jinja/text.h"

enum { NESTED_MAX = 256 };

struct lexer {
    struct om_arena *arena;
    const char *name;
    om_sv s;
    size_t at;
    uint32_t line;
    bool line_starting; /* the last tag ended with a newline */
    struct jj_tokens *tokens;
    char open[NESTED_MAX]; /* brackets that are open in a tag */
    size_t depth;
    struct om_error *err;
};

static int lex_fail(struct lexer *x, const char *what)
{
    return om_fail(x->err, OM_E_FORMAT, "%s, line %" PRIu32 ": %s", x->name, x->line, what);
}

static int no_memory(struct lexer *x)
{
    return om_fail(x->err, OM_E_NOMEM, "out of memory for a template");
}

static struct jj_token *add(struct lexer *x, enum jj_token_type type, om_sv text)
{
    struct jj_tokens *const t = x->tokens;

    if (!om_grow(&t->items, &t->cap, t->len + 1, sizeof(*t->items)))
        return NULL;
    t->items[t->len] = (struct jj_token){ .type = type, .line = x->line, .text = text };
    return &t->items[t->len++];
}

static om_sv rest(const struct lexer *x)
{
    return (om_sv){ x->s.ptr + x->at, x->s.len - x->at };
}

static char peek(const struct lexer *x, size_t n)
{
    return x->at + n < x->s.len ? x->s.ptr[x->at + n] : '\0';
}

static size_t skip_space(om_sv s, size_t i)
{
    const om_sv left = { s.ptr + i, s.len - i };

    return s.len - jj_strip(left, NULL, JJ_LEFT).len;
}

static void count_lines(struct lexer *x, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++)
        x->line += x->s.ptr[i] == '\n';
}

/* Go on at byte end, which ends a tag. */
static void pass_tag(struct lexer *x, size_t end)
{
    count_lines(x, x->at, end);
    x->line_starting = end > 0 && x->s.ptr[end - 1] == '\n';
    x->at = end;
}

/* ---- text between tags ---- */

/* What is left of text before a tag whose delimiter is followed by sign. */
static om_sv trim_data(const struct lexer *x, om_sv text, char sign, bool variable)
{
    if (sign == '-')
        return jj_strip(text, NULL, JJ_RIGHT);
    if (sign == '+' || variable)
        return text;
    const char *const newline = text.len ? memrchr(text.ptr, '\n', text.len) : NULL;
    const size_t begin = newline ? (size_t)(newline - text.ptr) + 1 : 0;
    if ((begin > 0 || x->line_starting) && begin < text.len && skip_space(text, begin) == text.len)
        text.len = begin;
    return text;
}

static int add_data(struct lexer *x, om_sv text)
{
    return text.len == 0 || add(x, JJ_T_DATA, text) ? 0 : no_memory(x);
}

/* The end of a tag at byte i, closed by the two bytes of close: where the text goes on, 0: not
 * here. A newline after it is dropped if trim. */
static size_t tag_end(om_sv s, size_t i, const char *close, bool trim)
{
    const char sign = i < s.len ? s.ptr[i] : '\0';
    const size_t at = sign == '-' || (sign == '+' && trim) ? i + 1 : i;

    if (at + 2 > s.len || memcmp(s.ptr + at, close, 2) != 0)
        return 0;
    if (sign == '-')
        return skip_space(s, at + 2);
    return at + 2 + (trim && sign != '+' && at + 2 < s.len && s.ptr[at + 2] == '\n');
}

static size_t word_at(om_sv s, size_t i, const char *word)
{
    const size_t n = strlen(word);

    i = skip_space(s, i);
    return i + n <= s.len && memcmp(s.ptr + i, word, n) == 0 ? skip_space(s, i + n) : 0;
}

/* Byte i is at "{%": the end of a tag with only this word, 0: another. *sign is that of its begin.
 */
static size_t word_tag(om_sv s, size_t i, const char *word, bool trim, char *sign)
{
    *sign = i + 2 < s.len && (s.ptr[i + 2] == '-' || s.ptr[i + 2] == '+') ? s.ptr[i + 2] : '\0';
    const size_t after = word_at(s, i + 2 + (*sign != '\0'), word);
    return after ? tag_end(s, after, "%}", trim) : 0;
}

/* After {% raw %}: text up to {% endraw %}. */
static int lex_raw(struct lexer *x)
{
    for (size_t i = x->at; i + 1 < x->s.len; i++) {
        char sign;
        if (x->s.ptr[i] != '{' || x->s.ptr[i + 1] != '%')
            continue;
        const size_t end = word_tag(x->s, i, "endraw", true, &sign);
        if (!end)
            continue;
        OM_TRY(add_data(x, trim_data(x, (om_sv){ x->s.ptr + x->at, i - x->at }, sign, false)));
        pass_tag(x, end);
        return 0;
    }
    return x->at == x->s.len ? 0 : lex_fail(x, "a raw block without {% endraw %}");
}

static int lex_comment(struct lexer *x)
{
    for (size_t i = x->at + 2; i + 1 < x->s.len; i++) {
        const size_t end = tag_end(x->s, i, "#}", true);
        if (end) {
            pass_tag(x, end);
            return 0;
        }
    }
    if (x->at + 2 < x->s.len)
        return lex_fail(x, "a comment without #}");
    x->at = x->s.len; /* Jinja lets an empty one be */
    return 0;
}

/* Up to the next tag, and its begin. *in is its type, JJ_T_DATA after raw blocks and comments. */
static int lex_data(struct lexer *x, enum jj_token_type *in)
{
    size_t i = x->at;

    while (i + 1 < x->s.len && (x->s.ptr[i] != '{' || !memchr("{%#", x->s.ptr[i + 1], 3)))
        i++;
    if (i + 1 >= x->s.len) {
        const om_sv text = rest(x);
        x->at = x->s.len;
        return add_data(x, text);
    }
    const char kind = x->s.ptr[i + 1];
    const char next = i + 2 < x->s.len ? x->s.ptr[i + 2] : '\0';
    const bool has_sign = next == '-' || next == '+';
    const om_sv text = { x->s.ptr + x->at, i - x->at };
    OM_TRY(add_data(x, trim_data(x, text, has_sign ? next : '\0', kind == '{')));
    count_lines(x, x->at, i);
    x->at = i;
    char sign;
    const size_t raw = kind == '%' ? word_tag(x->s, i, "raw", false, &sign) : 0;
    if (raw) {
        pass_tag(x, raw);
        return lex_raw(x);
    }
    if (kind == '#') {
        x->at += has_sign; /* the sign belongs to the begin, not to the end */
        return lex_comment(x);
    }
    *in = kind == '%' ? JJ_T_BLOCK : JJ_T_PRINT;
    if (!add(x, *in, (om_sv){ x->s.ptr + i, 2 }))
        return no_memory(x);
    x->at = i + 2 + has_sign;
    return 0;
}

/* ---- tokens of a tag ---- */

static bool is_digit_of(char c, unsigned base)
{
    if (base == 16 && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
        return true;
    return c >= '0' && c < (char)('0' + OM_MIN(base, 10u));
}

/* Digits with single underscores between them, from byte i. */
static size_t skip_digits(om_sv s, size_t i, unsigned base)
{
    while (i < s.len && (is_digit_of(s.ptr[i], base) ||
                         (s.ptr[i] == '_' && i + 1 < s.len && is_digit_of(s.ptr[i + 1], base))))
        i++;
    return i;
}

/* The end of a fraction and exponent at byte i, i when there is none. */
static size_t skip_fraction(om_sv s, size_t i)
{
    size_t end = i, e;

    if (i + 1 < s.len && s.ptr[i] == '.' && is_digit_of(s.ptr[i + 1], 10))
        end = skip_digits(s, i + 1, 10);
    if (end < s.len && (s.ptr[end] == 'e' || s.ptr[end] == 'E')) {
        e = end + 1;
        if (e < s.len && (s.ptr[e] == '+' || s.ptr[e] == '-'))
            e++;
        if (e < s.len && is_digit_of(s.ptr[e], 10))
            end = skip_digits(s, e, 10);
    }
    return end;
}

static unsigned base_of(om_sv s)
{
    if (s.len < 3 || s.ptr[0] != '0')
        return 10;
    switch (s.ptr[1] | 0x20) {
    case 'x':
        return 16;
    case 'o':
        return 8;
    case 'b':
        return 2;
    default:
        return 10;
    }
}

static int lex_number(struct lexer *x)
{
    const om_sv s = rest(x);
    const unsigned base = base_of(s);
    const size_t begin = base == 10 ? 0 : 2;
    const bool member = x->at > 0 && x->s.ptr[x->at - 1] == '.'; /* of a.0.1 */
    size_t end = skip_digits(s, begin, base);
    const size_t real_end = base == 10 && !member ? skip_fraction(s, end) : end;
    char digits[400];
    size_t n = 0;

    if (end == begin)
        return lex_fail(x, "a number without digits");
    const bool real = real_end > end;
    end = real_end;
    for (size_t i = begin; i < end && n < sizeof(digits) - 1; i++)
        if (s.ptr[i] != '_')
            digits[n++] = s.ptr[i];
    digits[n] = '\0';
    struct jj_token *const t = add(x, real ? JJ_T_REAL : JJ_T_INT, (om_sv){ s.ptr, end });
    if (!t)
        return no_memory(x);
    x->at += end;
    if (real) {
        om_sv_f64((om_sv){ digits, n }, &t->d);
        return 0;
    }
    const unsigned long long value = strtoull(digits, NULL, (int)base);
    if (value > INT64_MAX || n > 64)
        return lex_fail(x, "an integer beyond 64 bits");
    t->i = (int64_t)value;
    return 0;
}

static int lex_name(struct lexer *x)
{
    const om_sv s = rest(x);
    size_t end = 0, len;

    while (end < s.len && jj_is_word(jj_decode(s.ptr + end, &len)))
        end += len;
    if (!add(x, JJ_T_NAME, (om_sv){ s.ptr, end }))
        return no_memory(x);
    x->at += end;
    return 0;
}

/* n hexadecimal digits after an escape's letter at s[*i]. */
static bool read_hex(om_sv s, size_t *i, size_t n, struct om_buf *b)
{
    uint32_t c = 0;

    for (size_t k = 1; k <= n; k++) {
        const char d = *i + k < s.len ? s.ptr[*i + k] : ' ';
        if (!is_digit_of(d, 16))
            return false;
        c = c << 4 | (uint32_t)(d <= '9' ? d - '0' : (d | 0x20) - 'a' + 10);
    }
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return false;
    *i += n + 1;
    jj_encode(b, c);
    return true;
}

static void read_octal(om_sv s, size_t *i, struct om_buf *b)
{
    uint32_t c = 0;

    for (size_t k = 0; k < 3 && *i < s.len && is_digit_of(s.ptr[*i], 8); k++, (*i)++)
        c = c << 3 | (uint32_t)(s.ptr[*i] - '0');
    jj_encode(b, c);
}

/* The escape after a backslash at s[*i - 1]; those that Python does not know stay as they are. */
static bool read_escape(om_sv s, size_t *i, struct om_buf *b)
{
    static const char from[] = "\n\\'\"abfnrtv", to[] = "\0\\'\"\a\b\f\n\r\t\v";
    const char c = s.ptr[*i];
    const char *const known = memchr(from, c, sizeof(from) - 1);

    if (c == 'x' || c == 'u' || c == 'U')
        return read_hex(s, i, c == 'x' ? 2 : c == 'u' ? 4 : 8, b);
    if (is_digit_of(c, 8)) {
        read_octal(s, i, b);
        return true;
    }
    if (c == 'N')
        return false;
    (*i)++;
    if (!known) {
        om_buf_addc(b, '\\');
        om_buf_addc(b, c);
    } else if (c != '\n') {
        om_buf_addc(b, to[known - from]);
    }
    return true;
}

static int unescape(struct lexer *x, om_sv s, om_sv *out)
{
    struct om_buf b = OM_BUF_INIT(SIZE_MAX / 2);
    int rc = 0;

    *out = s;
    if (!s.len || !memchr(s.ptr, '\\', s.len))
        return 0;
    for (size_t i = 0; i < s.len && rc == 0;) {
        if (s.ptr[i] != '\\' || i + 1 == s.len) {
            om_buf_addc(&b, s.ptr[i++]);
            continue;
        }
        i++;
        if (!read_escape(s, &i, &b))
            rc = lex_fail(x, "an escape in a string that is no character");
    }
    out->ptr = b.failed ? NULL : om_arena_str(x->arena, om_buf_sv(&b));
    out->len = b.len;
    if (rc == 0 && !out->ptr)
        rc = no_memory(x);
    om_buf_release(&b);
    return rc;
}

static int lex_string(struct lexer *x)
{
    const om_sv s = rest(x);
    size_t end = 1;
    om_sv text;

    while (end < s.len && s.ptr[end] != s.ptr[0])
        end += s.ptr[end] == '\\' ? 2 : 1;
    if (end >= s.len)
        return lex_fail(x, "a string without its closing quote");
    OM_TRY(unescape(x, (om_sv){ s.ptr + 1, end - 1 }, &text));
    if (!add(x, JJ_T_STRING, text))
        return no_memory(x);
    count_lines(x, x->at, x->at + end + 1);
    x->at += end + 1;
    return 0;
}

static int track_bracket(struct lexer *x, char c)
{
    static const char opening[] = "([{", closing[] = ")]}";
    const char *const open = memchr(opening, c, 3), *const close = memchr(closing, c, 3);

    if (open) {
        if (x->depth == NESTED_MAX)
            return lex_fail(x, "brackets are nested too deeply");
        x->open[x->depth++] = closing[open - opening];
    }
    if (close && (x->depth == 0 || x->open[--x->depth] != c))
        return om_fail(x->err, OM_E_FORMAT, "%s, line %" PRIu32 ": unexpected '%c'", x->name,
                       x->line, c);
    return 0;
}

static int lex_operator(struct lexer *x)
{
    static const char singles[] = "+-/*%~[](){}><=.:|,;", pairs[] = "// ** == != >= <=";
    const char c = peek(x, 0), two[3] = { c, peek(x, 1), '\0' };
    const size_t n = two[1] && two[1] != ' ' && c != ' ' && strstr(pairs, two) ? 2 : 1;

    size_t len;

    if (n == 1 && (c == '\0' || !memchr(singles, c, sizeof(singles) - 1))) {
        jj_decode(x->s.ptr + x->at, &len);
        return om_fail(x->err, OM_E_FORMAT, "%s, line %" PRIu32 ": unexpected character '%.*s'",
                       x->name, x->line, (int)len, x->s.ptr + x->at);
    }
    OM_TRY(track_bracket(x, c));
    if (!add(x, JJ_T_OP, (om_sv){ x->s.ptr + x->at, n }))
        return no_memory(x);
    x->at += n;
    return 0;
}

static int lex_token(struct lexer *x)
{
    const char c = peek(x, 0);
    size_t len;

    if (c == '"' || c == '\'')
        return lex_string(x);
    if (is_digit_of(c, 10))
        return lex_number(x);
    if (jj_is_word(jj_decode(x->s.ptr + x->at, &len)))
        return lex_name(x);
    return lex_operator(x);
}

/* A token, or the end of the tag, after which *in is JJ_T_DATA. */
static int lex_tag(struct lexer *x, enum jj_token_type *in)
{
    const bool block = *in == JJ_T_BLOCK;
    const size_t at = skip_space(x->s, x->at);
    const size_t end = x->depth ? 0 : tag_end(x->s, at, block ? "%}" : "}}", block);

    count_lines(x, x->at, at);
    x->at = at;
    if (!end)
        return at < x->s.len ? lex_token(x)
                             : lex_fail(x, block ? "a tag without %}" : "an expression without }}");
    if (!add(x, block ? JJ_T_BLOCK_END : JJ_T_PRINT_END, (om_sv){ x->s.ptr + at, 2 }))
        return no_memory(x);
    pass_tag(x, end);
    *in = JJ_T_DATA;
    return 0;
}

/* ---- the whole ---- */

/* A copy with one kind of newline, and without the last one. */
static bool copy_source(struct om_arena *arena, om_sv source, om_sv *out)
{
    char *const copy = om_arena_alloc(arena, source.len + 1);
    size_t n = 0;

    if (!copy)
        return false;
    for (size_t i = 0; i < source.len; i++) {
        if (source.ptr[i] == '\r') {
            copy[n++] = '\n';
            i += i + 1 < source.len && source.ptr[i + 1] == '\n';
        } else {
            copy[n++] = source.ptr[i];
        }
    }
    if (n && copy[n - 1] == '\n')
        n--;
    *out = (om_sv){ copy, n };
    return true;
}

int jj_lex(struct om_arena *arena, om_sv source, const char *name, struct jj_tokens *tokens,
           struct om_error *err)
{
    struct lexer x = {
        .arena = arena, .name = name, .line = 1, .line_starting = true, .tokens = tokens, .err = err
    };
    enum jj_token_type in = JJ_T_DATA;

    if (!om_utf8_valid(source))
        return om_fail(err, OM_E_FORMAT, "%s, line 1: the template is not UTF-8", name);
    if (!copy_source(arena, source, &x.s))
        return no_memory(&x);
    while (x.at < x.s.len || in != JJ_T_DATA)
        OM_TRY(in == JJ_T_DATA ? lex_data(&x, &in) : lex_tag(&x, &in));
    return add(&x, JJ_T_EOF, (om_sv){ "", 0 }) ? 0 : no_memory(&x);
}
