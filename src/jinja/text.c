/* src/jinja/text.c: characters and texts as Python sees them. */
#include "jinja/text.h"

#include <utf8proc.h>

uint32_t jj_decode(const char *s, size_t *len)
{
    const uint8_t *const p = (const uint8_t *)s;

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

void jj_encode(struct om_buf *b, uint32_t c)
{
    uint8_t bytes[4];
    const utf8proc_ssize_t n = utf8proc_encode_char((utf8proc_int32_t)c, bytes);

    om_buf_add(b, bytes, n > 0 ? (size_t)n : 0);
}

size_t jj_count(om_sv s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xC0) != 0x80;
    return n;
}

size_t jj_byte_of(om_sv s, size_t chars, size_t index)
{
    size_t at = 0, len;

    if (chars == s.len || index >= chars)
        return index >= chars ? s.len : index;
    for (; index > 0; index--) {
        jj_decode(s.ptr + at, &len);
        at += len;
    }
    return at;
}

/* ---- classes ---- */

bool jj_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool is_category(uint32_t c, uint32_t set)
{
    return set >> utf8proc_category((utf8proc_int32_t)c) & 1;
}

#define IN(name) (1u << UTF8PROC_CATEGORY_##name)
#define LETTERS (IN(LU) | IN(LL) | IN(LT) | IN(LM) | IN(LO))

bool jj_is_word(uint32_t c)
{
    return c == '_' || jj_is_alpha(c) || jj_is_numeric(c);
}

bool jj_is_printable(uint32_t c)
{
    return c == ' ' ||
           !is_category(c, IN(CC) | IN(CF) | IN(CS) | IN(CO) | IN(CN) | IN(ZL) | IN(ZP) | IN(ZS));
}

bool jj_is_alpha(uint32_t c)
{
    return is_category(c, LETTERS);
}

/* Nd, and the superscripts, subscripts and circled digits that have a digit's value. */
bool jj_is_digit(uint32_t c)
{
    static const uint32_t others[][2] = {
        { 0xB2, 0xB3 },       { 0xB9, 0xB9 },       { 0x1369, 0x1371 },   { 0x19DA, 0x19DA },
        { 0x2070, 0x2070 },   { 0x2074, 0x2079 },   { 0x2080, 0x2089 },   { 0x2460, 0x2468 },
        { 0x2474, 0x247C },   { 0x2488, 0x2490 },   { 0x24EA, 0x24EA },   { 0x24F5, 0x24FD },
        { 0x24FF, 0x24FF },   { 0x2776, 0x277E },   { 0x2780, 0x2788 },   { 0x278A, 0x2792 },
        { 0x10A40, 0x10A43 }, { 0x10E60, 0x10E68 }, { 0x11052, 0x1105A }, { 0x1F100, 0x1F10A },
    };

    if (is_category(c, IN(ND)))
        return true;
    for (size_t i = 0; i < OM_COUNT(others); i++)
        if (c >= others[i][0] && c <= others[i][1])
            return true;
    return false;
}

bool jj_is_numeric(uint32_t c)
{
    return is_category(c, IN(ND) | IN(NL) | IN(NO));
}

bool jj_is_title(uint32_t c)
{
    return is_category(c, IN(LT));
}

/* The letters of Other_Uppercase and Other_Lowercase. */
bool jj_is_upper(uint32_t c)
{
    return is_category(c, IN(LU)) || (c >= 0x2160 && c <= 0x216F) || (c >= 0x24B6 && c <= 0x24CF) ||
           (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189);
}

bool jj_is_lower(uint32_t c)
{
    return is_category(c, IN(LL)) || c == 0xAA || c == 0xBA || (c >= 0x2B0 && c <= 0x2B8) ||
           c == 0x2C0 || c == 0x2C1 || (c >= 0x2E0 && c <= 0x2E4) || c == 0x345 || c == 0x37A ||
           (c >= 0x1D2C && c <= 0x1D6A) || c == 0x1D78 || (c >= 0x1D9B && c <= 0x1DBF) ||
           c == 0x2071 || c == 0x207F || (c >= 0x2090 && c <= 0x209C) ||
           (c >= 0x2170 && c <= 0x217F) || (c >= 0x24D0 && c <= 0x24E9) || c == 0x2C7C ||
           c == 0x2C7D || c == 0xA69C || c == 0xA69D || c == 0xA770 || c == 0xA7F8 || c == 0xA7F9 ||
           (c >= 0xAB5C && c <= 0xAB5F);
}

/* ---- cases ---- */

/* Characters whose upper or title case is several (SpecialCasing.txt); title 0: as upper, with all
 * but the first in lower case. */
static const struct special {
    uint16_t c;
    uint16_t upper[3], title[3];
} specials[] = {
    { 0x00DF, { 'S', 'S' }, { 'S', 's' } },
    { 0x0149, { 0x2BC, 'N' }, { 0x2BC, 'N' } },
    { 0x01F0, { 'J', 0x30C }, { 'J', 0x30C } },
    { 0x0390, { 0x399, 0x308, 0x301 }, { 0x399, 0x308, 0x301 } },
    { 0x03B0, { 0x3A5, 0x308, 0x301 }, { 0x3A5, 0x308, 0x301 } },
    { 0x0587, { 0x535, 0x552 }, { 0x535, 0x582 } },
    { 0x1E96, { 'H', 0x331 }, { 'H', 0x331 } },
    { 0x1E97, { 'T', 0x308 }, { 'T', 0x308 } },
    { 0x1E98, { 'W', 0x30A }, { 'W', 0x30A } },
    { 0x1E99, { 'Y', 0x30A }, { 'Y', 0x30A } },
    { 0x1E9A, { 'A', 0x2BE }, { 'A', 0x2BE } },
    { 0xFB00, { 'F', 'F' }, { 'F', 'f' } },
    { 0xFB01, { 'F', 'I' }, { 'F', 'i' } },
    { 0xFB02, { 'F', 'L' }, { 'F', 'l' } },
    { 0xFB03, { 'F', 'F', 'I' }, { 'F', 'f', 'i' } },
    { 0xFB04, { 'F', 'F', 'L' }, { 'F', 'f', 'l' } },
    { 0xFB05, { 'S', 'T' }, { 'S', 't' } },
    { 0xFB06, { 'S', 'T' }, { 'S', 't' } },
};

static const struct special *special_of(uint32_t c)
{
    for (size_t i = 0; c >= 0xDF && i < OM_COUNT(specials); i++)
        if (specials[i].c == c)
            return &specials[i];
    return NULL;
}

static bool is_ignorable(uint32_t c)
{
    return c == '\'' || c == '.' || c == ':' || c == '^' || c == '`' || c == 0xB7 || c == 0x2019 ||
           is_category(c, IN(MN) | IN(ME) | IN(CF) | IN(LM) | IN(SK));
}

/* Is there a letter with cases next to byte at, past marks and the like? */
static bool has_cased(om_sv s, size_t at, bool before)
{
    size_t len = 0;

    if (!before)
        jj_decode(s.ptr + at, &len);
    for (size_t i = at + len;;) {
        if (before) {
            if (i == 0)
                return false;
            do
                i--;
            while (i > 0 && ((unsigned char)s.ptr[i] & 0xC0) == 0x80);
        } else if (i >= s.len) {
            return false;
        }
        const uint32_t c = jj_decode(s.ptr + i, &len);
        if (!is_ignorable(c))
            return jj_is_upper(c) || jj_is_lower(c) || jj_is_title(c);
        if (!before)
            i += len;
    }
}

static void put_lower(struct om_buf *b, om_sv s, size_t at, uint32_t c)
{
    if (c == 0x130) { /* I with a dot: i and the dot */
        jj_encode(b, 'i');
        jj_encode(b, 0x307);
    } else if (c == 0x3A3 && has_cased(s, at, true) && !has_cased(s, at, false)) {
        jj_encode(b, 0x3C2); /* a sigma at the end of a word */
    } else {
        jj_encode(b, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
    }
}

static void put_upper(struct om_buf *b, uint32_t c, bool title)
{
    const struct special *const special = special_of(c);

    if (!special) {
        jj_encode(b, (uint32_t)(title ? utf8proc_totitle((utf8proc_int32_t)c)
                                      : utf8proc_toupper((utf8proc_int32_t)c)));
        return;
    }
    const uint16_t *const to = title ? special->title : special->upper;
    for (size_t i = 0; i < 3 && to[i]; i++)
        jj_encode(b, to[i]);
}

static void put_folded(struct om_buf *b, uint32_t c)
{
    utf8proc_int32_t folded[8];
    int last = 0;
    const utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)c, folded, 8, UTF8PROC_CASEFOLD, &last);

    for (utf8proc_ssize_t i = 0; i < n && i < 8; i++)
        jj_encode(b, (uint32_t)folded[i]);
}

void jj_put_case(struct om_buf *b, om_sv s, size_t at, uint32_t c, enum jj_case to)
{
    switch (to) {
    case JJ_LOWER:
        put_lower(b, s, at, c);
        break;
    case JJ_UPPER:
    case JJ_TITLE:
        put_upper(b, c, to == JJ_TITLE);
        break;
    case JJ_FOLD:
        put_folded(b, c);
        break;
    case JJ_SWAP:
        if (jj_is_upper(c))
            put_lower(b, s, at, c);
        else if (jj_is_lower(c))
            put_upper(b, c, false);
        else
            jj_encode(b, c);
        break;
    }
}

void jj_put_all(struct om_buf *b, om_sv s, enum jj_case to)
{
    size_t len;

    for (size_t i = 0; i < s.len; i += len) {
        const uint32_t c = jj_decode(s.ptr + i, &len);
        jj_put_case(b, s, i, c, to);
    }
}

/* ---- parts ---- */

static bool in_set(const om_sv *set, const char *c, size_t len)
{
    size_t step;

    if (!set)
        return jj_is_space(jj_decode(c, &step));
    for (size_t i = 0; i < set->len; i += step) {
        jj_decode(set->ptr + i, &step);
        if (step == len && memcmp(set->ptr + i, c, len) == 0)
            return true;
    }
    return false;
}

om_sv jj_strip(om_sv s, const om_sv *set, enum jj_ends ends)
{
    size_t len;

    while ((ends & JJ_LEFT) && s.len) {
        jj_decode(s.ptr, &len);
        if (!in_set(set, s.ptr, len))
            break;
        s.ptr += len;
        s.len -= len;
    }
    while ((ends & JJ_RIGHT) && s.len) {
        size_t at = s.len - 1;
        while (((unsigned char)s.ptr[at] & 0xC0) == 0x80)
            at--;
        if (!in_set(set, s.ptr + at, s.len - at))
            break;
        s.len = at;
    }
    return s;
}

int64_t jj_find_text(om_sv s, om_sv part, size_t from)
{
    if (from > s.len)
        return -1;
    if (part.len == 0)
        return (int64_t)from;
    const char *const hit = memmem(s.ptr + from, s.len - from, part.ptr, part.len);
    return hit ? hit - s.ptr : -1;
}

int64_t jj_find_last(om_sv s, om_sv part)
{
    if (part.len > s.len)
        return -1;
    for (size_t at = s.len - part.len;; at--) {
        if (part.len == 0 || memcmp(s.ptr + at, part.ptr, part.len) == 0)
            return (int64_t)at;
        if (at == 0)
            return -1;
    }
}
