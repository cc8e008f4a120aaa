/* src/base/base.c: string views, checked arithmetic, element types and growing arrays. */
#include "base/base.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>

/* ---- string views ---- */

om_sv om_sv_str(const char *s)
{
    return s ? (om_sv){ s, strlen(s) } : (om_sv){ "", 0 };
}

bool om_sv_eq(om_sv a, om_sv b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool om_sv_is(om_sv a, const char *s)
{
    return om_sv_eq(a, om_sv_str(s));
}

bool om_sv_starts(om_sv s, om_sv prefix)
{
    return s.len >= prefix.len && om_sv_eq((om_sv){ s.ptr, prefix.len }, prefix);
}

bool om_sv_ends(om_sv s, om_sv suffix)
{
    if (s.len < suffix.len)
        return false;
    return suffix.len == 0 || memcmp(s.ptr + (s.len - suffix.len), suffix.ptr, suffix.len) == 0;
}

int om_sv_cmp(om_sv a, om_sv b)
{
    const size_t shared = OM_MIN(a.len, b.len);
    const int order = shared ? memcmp(a.ptr, b.ptr, shared) : 0;

    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

om_sv om_sv_trim(om_sv s)
{
    while (s.len > 0 && is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* A view whose last part was taken has a NULL pointer, so that "a," gives "a" and "", then the end.
 */
bool om_sv_split(om_sv *rest, char sep, om_sv *part)
{
    if (!rest->ptr)
        return false;
    const char *hit = rest->len ? memchr(rest->ptr, sep, rest->len) : NULL;
    if (!hit) {
        *part = *rest;
        *rest = (om_sv){ NULL, 0 };
        return true;
    }
    const size_t len = (size_t)(hit - rest->ptr);
    *part = (om_sv){ rest->ptr, len };
    *rest = (om_sv){ hit + 1, rest->len - len - 1 };
    return true;
}

bool om_sv_i64(om_sv s, int64_t *out)
{
    const bool negative = s.len > 0 && s.ptr[0] == '-';
    int64_t value = 0;

    if (s.len == (size_t)negative)
        return false;
    for (size_t i = negative; i < s.len; i++) {
        const int digit = s.ptr[i] - '0';
        if (digit < 0 || digit > 9)
            return false;
        /* Counting downwards reaches INT64_MIN, whose magnitude is no int64. */
        if (!om_mul_i64(value, 10, &value) || !om_add_i64(value, -digit, &value))
            return false;
    }
    if (!negative && value == INT64_MIN)
        return false;
    *out = negative ? value : -value;
    return true;
}

/* strtod() reads the decimal point of the program's locale; files are written with '.'. */
static double strtod_c(const char *text, char **end)
{
    const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    const double value = c ? strtod_l(text, end, c) : strtod(text, end);

    if (c)
        freelocale(c);
    return value;
}

bool om_sv_f64(om_sv s, double *out)
{
    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) { /* refuses what else strtod reads: hex, inf, nan, blanks */
        if (!strchr("0123456789+-.eE", s.ptr[i]) || s.ptr[i] == '\0')
            return false;
    }
    char *text = strndup(s.ptr, s.len);
    if (!text)
        return false;
    char *end;
    const double value = strtod_c(text, &end);
    const bool whole = *end == '\0';
    free(text);
    if (!whole || isinf(value))
        return false;
    *out = value;
    return true;
}

uint64_t om_sv_hash(om_sv s)
{
    uint64_t h = 0xCBF29CE484222325u;

    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (uint8_t)s.ptr[i]) * 0x100000001B3u;
    return h;
}

/* Bytes of the well-formed sequence at p (Unicode table 3-7), 0 when there is none. */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
    const uint8_t c = p[0];
    size_t len;
    uint8_t low = 0x80, high = 0xBF; /* what the second byte may be */

    if (c < 0x80)
        return 1;
    if (c >= 0xC2 && c <= 0xDF)
        len = 2;
    else if (c >= 0xE0 && c <= 0xEF)
        len = 3;
    else if (c >= 0xF0 && c <= 0xF4)
        len = 4;
    else
        return 0;
    if (c == 0xE0)
        low = 0xA0;
    else if (c == 0xED)
        high = 0x9F;
    else if (c == 0xF0)
        low = 0x90;
    else if (c == 0xF4)
        high = 0x8F;
    if (left < len || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    return len;
}

bool om_utf8_valid(om_sv s)
{
    const uint8_t *p = (const uint8_t *)s.ptr;

    for (size_t i = 0; i < s.len;) {
        const size_t step = utf8_sequence(p + i, s.len - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

/* One row of the classic table is enough: row[j] is the distance of a's first i bytes to b's first
 * j. */
static size_t distance_rows(om_sv a, om_sv b, size_t limit, size_t *row)
{
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 0; i < a.len; i++) {
        size_t diagonal = row[0], best = row[0] = i + 1;
        for (size_t j = 0; j < b.len; j++) {
            const size_t replaced = diagonal + (a.ptr[i] != b.ptr[j]);
            diagonal = row[j + 1];
            row[j + 1] = OM_MIN(replaced, OM_MIN(row[j], diagonal) + 1);
            best = OM_MIN(best, row[j + 1]);
        }
        if (best > limit)
            return limit + 1;
    }
    return OM_MIN(row[b.len], limit + 1);
}

size_t om_sv_distance(om_sv a, om_sv b, size_t limit)
{
    size_t bytes;

    if ((a.len > b.len ? a.len - b.len : b.len - a.len) > limit)
        return limit + 1;
    if (b.len == SIZE_MAX || !om_mul_size(b.len + 1, sizeof(size_t), &bytes))
        return limit + 1;
    size_t *row = malloc(bytes);
    if (!row) /* only costs a suggestion */
        return limit + 1;
    const size_t distance = distance_rows(a, b, limit, row);
    free(row);
    return distance;
}

const char *om_sv_nearest(om_sv s, const char *const *list)
{
    const char *nearest = NULL;
    size_t limit = 1 + s.len / 4; /* more typing errors than that are another word */

    for (; *list; list++) {
        const size_t distance = om_sv_distance(s, om_sv_str(*list), limit);
        if (distance > limit)
            continue;
        nearest = *list;
        if (distance == 0)
            break;
        limit = distance - 1;
    }
    return nearest;
}

/* ---- checked arithmetic ---- */

#define DEFINE_CHECKED(name, type, builtin) \
    bool name(type a, type b, type *out)    \
    {                                       \
        type result;                        \
        if (builtin(a, b, &result))         \
            return false;                   \
        *out = result;                      \
        return true;                        \
    }

DEFINE_CHECKED(om_mul_size, size_t, __builtin_mul_overflow)
DEFINE_CHECKED(om_add_size, size_t, __builtin_add_overflow)
DEFINE_CHECKED(om_mul_u64, uint64_t, __builtin_mul_overflow)
DEFINE_CHECKED(om_add_u64, uint64_t, __builtin_add_overflow)
DEFINE_CHECKED(om_mul_i64, int64_t, __builtin_mul_overflow)
DEFINE_CHECKED(om_add_i64, int64_t, __builtin_add_overflow)

bool om_count(const int64_t *dims, size_t rank, int64_t *out)
{
    int64_t count = 1;
    bool empty = false, fits = true;

    for (size_t i = 0; i < rank; i++) {
        if (dims[i] < 0)
            return false;
        empty |= dims[i] == 0;
        fits = fits && om_mul_i64(count, dims[i], &count);
    }
    if (!fits && !empty) /* an empty axis makes any other sizes harmless */
        return false;
    *out = empty ? 0 : count;
    return true;
}

/* ---- little-endian loads ---- */

uint16_t om_le16(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}

uint32_t om_le32(const void *p)
{
    const uint8_t *b = p;
    return om_le16(b) | (uint32_t)om_le16(b + 2) << 16;
}

uint64_t om_le64(const void *p)
{
    const uint8_t *b = p;
    return om_le32(b) | (uint64_t)om_le32(b + 4) << 32;
}

/* ---- element types ---- */

struct dtype_row {
    uint8_t bytes;
    int8_t onnx;
    const char *safetensors, *text;
};

static const struct dtype_row dtype_rows[OM_DTYPE_COUNT] = {
    [OM_DTYPE_NONE] = { 0, 0, "", "unknown type" },
#define DTYPE_ROW(name, bytes, st, onnx, text) [OM_##name] = { bytes, onnx, st, text },
    OM_DTYPES(DTYPE_ROW)
#undef DTYPE_ROW
};

static const struct dtype_row *dtype_row(enum om_dtype dtype)
{
    return &dtype_rows[(unsigned)dtype < OM_DTYPE_COUNT ? dtype : OM_DTYPE_NONE];
}

size_t om_dtype_size(enum om_dtype dtype)
{
    return dtype_row(dtype)->bytes;
}

const char *om_dtype_text(enum om_dtype dtype)
{
    return dtype_row(dtype)->text;
}

int32_t om_dtype_onnx(enum om_dtype dtype)
{
    return dtype_row(dtype)->onnx;
}

const char *om_dtype_safetensors(enum om_dtype dtype)
{
    return dtype_row(dtype)->safetensors;
}

enum om_dtype om_dtype_from_onnx(int32_t data_type)
{
    for (int i = OM_DTYPE_NONE + 1; i < OM_DTYPE_COUNT; i++) {
        if (dtype_rows[i].onnx == data_type)
            return (enum om_dtype)i;
    }
    return OM_DTYPE_NONE;
}

enum om_dtype om_dtype_from_safetensors(om_sv name)
{
    for (int i = OM_DTYPE_NONE + 1; i < OM_DTYPE_COUNT; i++) {
        if (om_sv_is(name, dtype_rows[i].safetensors))
            return (enum om_dtype)i;
    }
    return OM_DTYPE_NONE;
}

bool om_tensor_bytes(const struct om_tensor *t, uint64_t *bytes)
{
    int64_t count;

    return om_count(t->dims, t->rank, &count) &&
           om_mul_u64((uint64_t)count, om_dtype_size(t->dtype), bytes);
}

/* ---- growing arrays ---- */

bool om_grow(void *items, size_t *cap, size_t need, size_t elem_size)
{
    size_t bytes, wanted = OM_MAX(need, 8);
    void *old;

    if (need <= *cap)
        return true;
    if (*cap <= SIZE_MAX / 2)
        wanted = OM_MAX(wanted, *cap * 2);
    if (!om_mul_size(wanted, elem_size, &bytes))
        return false;
    memcpy(&old, items, sizeof(old)); /* items points to a pointer of whatever type */
    void *grown = realloc(old, bytes);
    if (!grown)
        return false;
    memcpy(items, &grown, sizeof(grown));
    *cap = wanted;
    return true;
}
