/* src/tok/unicode.c: character classes, decomposition and composition. */
#include "tok/unicode.h"

#include <utf8proc.h>

struct range {
    uint32_t first, last;
};

struct script_range {
    uint32_t first, last;
    uint8_t script;
};

#include "tok/ucd.inc"

/* Characters whose decompositions are younger than the library's tables. */
static const struct range not_decomposed[] = {
    { 0x32FF, 0x32FF },   { 0xA7F1, 0xA7F4 },   { 0xAB69, 0xAB69 },   { 0x105C0, 0x105FF },
    { 0x10780, 0x107BF }, { 0x11380, 0x113FF }, { 0x11938, 0x11938 }, { 0x16100, 0x1613F },
    { 0x16D40, 0x16D7F }, { 0x1CCD6, 0x1CCF9 }, { 0x1E030, 0x1E06D }, { 0x1F16C, 0x1F16C },
    { 0x1FBF0, 0x1FBF9 },
};

static bool in_ranges(uint32_t c, const struct range *r, size_t n)
{
    size_t lo = 0, hi = n;

    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (c > r[mid].last)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && c >= r[lo].first;
}

#define IN(c, table) in_ranges(c, table, OM_COUNT(table))

/* ---- UTF-8 ---- */

uint32_t tok_utf8_decode(const char *s, size_t *len)
{
    const unsigned char *const p = (const unsigned char *)s;

    if (p[0] < 0x80) {
        *len = 1;
        return p[0];
    }
    if (p[0] < 0xE0) {
        *len = 2;
        return (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu);
    }
    if (p[0] < 0xF0) {
        *len = 3;
        return (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
    }
    *len = 4;
    return (p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
}

size_t tok_utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* The range that the second byte must lie in, by the first one: no overlong forms, no surrogates.
 */
static bool second_fits(unsigned char first, unsigned char second)
{
    const unsigned char least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    const unsigned char most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;

    return second >= least && second <= most;
}

uint32_t tok_utf8_lossy(const char *s, size_t avail, size_t *len)
{
    const unsigned char *const p = (const unsigned char *)s;
    const size_t want = p[0] < 0x80                   ? 1
                        : p[0] >= 0xC2 && p[0] < 0xE0 ? 2
                        : p[0] >= 0xE0 && p[0] < 0xF0 ? 3
                        : p[0] >= 0xF0 && p[0] < 0xF5 ? 4
                                                      : 0;
    size_t n = 1;

    while (n < want && n < avail && (n == 1 ? second_fits(p[0], p[1]) : tok_is_cont(s[n])))
        n++;
    *len = n;
    return n == want ? tok_utf8_decode(s, len) : 0xFFFD;
}

size_t tok_utf8_count(om_sv s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        n += !tok_is_cont(s.ptr[i]);
    return n;
}

bool tok_is_ascii(om_sv s)
{
    size_t i = 0;

    for (; i + 8 <= s.len; i += 8) {
        uint64_t word;
        memcpy(&word, s.ptr + i, sizeof(word));
        if (word & 0x8080808080808080u)
            return false;
    }
    for (; i < s.len; i++)
        if ((unsigned char)s.ptr[i] >= 0x80)
            return false;
    return true;
}

/* ---- classes ---- */

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

bool tok_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool tok_is_numeric(uint32_t c)
{
    if (c < 0x80)
        return c >= '0' && c <= '9';
    const utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

bool tok_is_word(uint32_t c)
{
    if (c < 0x80)
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
               c == '_';
    switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default: /* joiners and enclosed letters */
        return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
               (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
               (c >= 0x1F170 && c <= 0x1F189);
    }
}

bool tok_is_punctuation(uint32_t c)
{
    if (c < 0x80)
        return c > ' ' && c < 0x7F && !(tok_is_word(c) && c != '_');
    return IN(c, punctuation);
}

bool tok_is_control(uint32_t c)
{
    if (c < 0x80)
        return (c < ' ' || c == 0x7F) && c != '\t' && c != '\n' && c != '\r';
    /* Younger than the library's table. */
    if ((c >= 0x890 && c <= 0x891) || c == 0x8E2 || c == 0x110CD || (c >= 0x13430 && c <= 0x1345F))
        return false;
    const utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CO;
}

bool tok_is_mark(uint32_t c)
{
    return c >= 0x300 && IN(c, marks_combining);
}

bool tok_is_nonspacing(uint32_t c)
{
    return c >= 0x300 && IN(c, marks_nonspacing);
}

bool tok_is_cjk(uint32_t c)
{
    static const struct range blocks[] = {
        { 0x3400, 0x4DBF },   { 0x4E00, 0x9FFF },   { 0xF900, 0xFAFF },   { 0x20000, 0x2A6DF },
        { 0x2A700, 0x2B73F }, { 0x2B740, 0x2B81F }, { 0x2B920, 0x2CEAF }, { 0x2F800, 0x2FA1F },
    };
    return c >= 0x3400 && IN(c, blocks);
}

unsigned tok_script(uint32_t c)
{
    size_t lo = 0, hi = OM_COUNT(scripts);

    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (c > scripts[mid].last)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < OM_COUNT(scripts) && c >= scripts[lo].first ? scripts[lo].script : 0;
}

int tok_combining_class(uint32_t c)
{
    return tok_is_mark(c) ? utf8proc_get_property((utf8proc_int32_t)c)->combining_class : 0;
}

/* ---- mappings ---- */

size_t tok_lower(uint32_t c, uint32_t out[TOK_LOWER_MAX])
{
    if (c < 0x80) {
        out[0] = c >= 'A' && c <= 'Z' ? c + 0x20 : c;
        return 1;
    }
    if (c == 0x130) { /* the one character with a longer lower case */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}

size_t tok_decompose(uint32_t c, bool compatible, int32_t out[TOK_DECOMPOSED_MAX])
{
    if (c >= 0xA0 && !IN(c, not_decomposed)) {
        const utf8proc_option_t how =
            UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : (utf8proc_option_t)0);
        int last = 0;
        const utf8proc_ssize_t n =
            utf8proc_decompose_char((utf8proc_int32_t)c, out, TOK_DECOMPOSED_MAX, how, &last);
        if (n > 0 && n <= TOK_DECOMPOSED_MAX)
            return (size_t)n;
    }
    out[0] = (int32_t)c;
    return 1;
}

uint32_t tok_compose(uint32_t a, uint32_t b)
{
    utf8proc_int32_t pair[3] = { (utf8proc_int32_t)a, (utf8proc_int32_t)b, 0 };

    if (b < 0x300) /* no character below is the second half of another */
        return 0;
    if (utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE) != 1)
        return 0;
    return IN((uint32_t)pair[0], not_decomposed) ? 0 : (uint32_t)pair[0];
}

bool tok_cluster_break(uint32_t a, uint32_t b, int32_t *state)
{
    return utf8proc_grapheme_break_stateful((utf8proc_int32_t)a, (utf8proc_int32_t)b, state);
}

/* ---- the byte alphabet: printable Latin-1 stands for itself, the rest for U+0100 and on ---- */

static bool stands_for_itself(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

uint32_t tok_byte_char(uint8_t byte)
{
    if (stands_for_itself(byte))
        return byte;
    if (byte <= 0x20)
        return 0x100u + byte;
    return byte == 0xAD ? 0x143u : 0x121u + byte - 0x7Fu;
}

int tok_char_byte(uint32_t c)
{
    if (c < 0x100)
        return stands_for_itself(c) ? (int)c : -1;
    if (c <= 0x120)
        return (int)(c - 0x100);
    if (c <= 0x142)
        return (int)(c - 0x121 + 0x7F);
    return c == 0x143 ? 0xAD : -1;
}
