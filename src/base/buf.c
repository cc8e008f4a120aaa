/* src/base/buf.c: a growing, sticky byte buffer. */
#include "base/buf.h"

#include <math.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void om_buf_release(struct om_buf *b)
{
    free(b->ptr);
    *b = (struct om_buf)OM_BUF_INIT(b->max);
}

void om_buf_clear(struct om_buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->ptr)
        b->ptr[0] = '\0';
}

/* Room for extra bytes and the NUL; false makes the buffer stick. */
static bool reserve(struct om_buf *b, size_t extra)
{
    size_t need;

    if (b->failed)
        return false;
    if (!om_add_size(b->len, extra, &need) || need > b->max || need == SIZE_MAX ||
        !om_grow(&b->ptr, &b->cap, need + 1, 1))
        b->failed = true;
    return !b->failed;
}

void om_buf_add(struct om_buf *b, const void *data, size_t len)
{
    if (!reserve(b, len))
        return;
    if (len)
        memcpy(b->ptr + b->len, data, len);
    b->len += len;
    b->ptr[b->len] = '\0';
}

void om_buf_addc(struct om_buf *b, char c)
{
    om_buf_add(b, &c, 1);
}

void om_buf_adds(struct om_buf *b, const char *s)
{
    om_buf_add(b, s, strlen(s));
}

void om_buf_printf(struct om_buf *b, const char *fmt, ...)
{
    va_list ap, again;

    if (b->failed)
        return;
    va_start(ap, fmt);
    va_copy(again, ap);
    const size_t room = b->cap - b->len; /* 0 as long as there is no memory */
    const int len = vsnprintf(room ? b->ptr + b->len : NULL, room, fmt, ap);
    if (len < 0)
        b->failed = true;
    else if (reserve(b, (size_t)len)) {
        if ((size_t)len >= room)
            vsnprintf(b->ptr + b->len, (size_t)len + 1, fmt, again);
        b->len += (size_t)len;
    } else if (room) {
        b->ptr[b->len] = '\0'; /* a cut attempt is not part of the text */
    }
    va_end(again);
    va_end(ap);
}

static const char *json_escape(char c)
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        return NULL;
    }
}

void om_buf_json_string(struct om_buf *b, om_sv s)
{
    size_t plain = 0; /* start of the bytes that need no escape and are not written yet */

    om_buf_addc(b, '"');
    for (size_t i = 0; i < s.len; i++) {
        const char *escape = json_escape(s.ptr[i]);
        if (!escape && (unsigned char)s.ptr[i] >= 0x20)
            continue;
        om_buf_add(b, s.ptr + plain, i - plain);
        plain = i + 1;
        if (escape)
            om_buf_adds(b, escape);
        else
            om_buf_printf(b, "\\u%04x", (unsigned char)s.ptr[i]);
    }
    om_buf_add(b, s.len ? s.ptr + plain : "", s.len - plain);
    om_buf_addc(b, '"');
}

om_sv om_buf_sv(const struct om_buf *b)
{
    return b->ptr ? (om_sv){ b->ptr, b->len } : (om_sv){ "", 0 };
}

int om_buf_check(const struct om_buf *b, struct om_error *err)
{
    if (!b->failed)
        return 0;
    return om_fail(err, OM_E_NOMEM, "out of memory, or over the limit of %zu bytes for a buffer",
                   b->max);
}

/* d as its shortest digits "DDDD" and exponent: D.DDD * 10^exponent. */
struct digits {
    char text[20];
    int count, exponent;
};

/* What printf made of a number; the decimal point, which depends on the locale, is skipped. */
static void digits_read(struct digits *out, const char *text)
{
    const char *p = text;

    out->count = 0;
    for (; *p && *p != 'e'; p++) {
        if (*p >= '0' && *p <= '9')
            out->text[out->count++] = *p;
    }
    out->exponent = (int)strtol(p + 1, NULL, 10);
}

/* The layout of Python's repr. */
static void add_digits(struct om_buf *b, const struct digits *d)
{
    const int exponent = d->exponent, count = d->count;

    if (exponent < -4 || exponent >= 16) {
        om_buf_printf(b, "%c%s%.*se%c%02d", d->text[0], count > 1 ? "." : "", count - 1,
                      d->text + 1, exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        om_buf_add(b, "0.000", (size_t)(1 - exponent));
        om_buf_add(b, d->text, (size_t)count);
    } else {
        for (int i = 0; i <= OM_MAX(exponent + 1, count - 1); i++) {
            if (i == exponent + 1)
                om_buf_addc(b, '.');
            om_buf_addc(b, i < count ? d->text[i] : '0');
        }
    }
}

static bool add_nonfinite(struct om_buf *b, double d)
{
    if (isfinite(d))
        return false;
    om_buf_adds(b, isnan(d) ? "nan" : d > 0 ? "inf" : "-inf");
    return true;
}

void om_buf_real(struct om_buf *b, double d)
{
    struct digits digits;
    char text[40];
    int precision = 0;

    if (add_nonfinite(b, d))
        return;
    do
        snprintf(text, sizeof(text), "%.*e", precision, d);
    while (++precision < 17 && strtod(text, NULL) != d);
    digits_read(&digits, text);
    if (signbit(d))
        om_buf_addc(b, '-');
    add_digits(b, &digits);
}

/* ---- float32 ---- */

enum { F32_DIGITS = 9 }; /* always enough */

/* Powers of ten that a double holds exactly. */
static const double tens[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                               1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                               1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };

static double scale(double d, int power)
{
    return power < 0 ? d / tens[-power] : d * tens[power];
}

/* Digits by arithmetic in doubles, which have 29 bits more than f: 20 times as fast as printing.
 * False where the powers of ten do not reach; a number of digits that seems to fit is seen to fit.
 */
static bool digits_f32(struct digits *out, float f)
{
    const double d = f;
    int exponent = (int)floor(log10(d));

    if (exponent < -12 || exponent > 20)
        return false;
    if (d < scale(1.0, exponent))
        exponent--; /* the logarithm was rounded up */
    for (int n = 1; n <= F32_DIGITS; n++) {
        const int power = n - 1 - exponent;
        const double whole = nearbyint(scale(d, power));

        if ((float)scale(whole, -power) != f)
            continue;
        out->count = snprintf(out->text, sizeof(out->text), "%.0f", whole);
        out->exponent = exponent + out->count - n; /* 9.99 may have become 10.0 */
        while (out->count > 1 && out->text[out->count - 1] == '0')
            out->count--;
        return true;
    }
    return false;
}

void om_buf_real32(struct om_buf *b, float f)
{
    struct digits digits = { .text = "0", .count = 1 };
    const float size = fabsf(f);
    char text[40];
    int precision = 0;

    if (add_nonfinite(b, f))
        return;
    if (signbit(f))
        om_buf_addc(b, '-');
    if (size != 0.0F && !digits_f32(&digits, size)) {
        do
            snprintf(text, sizeof(text), "%.*e", precision, (double)size);
        while (++precision < F32_DIGITS && strtof(text, NULL) != size);
        digits_read(&digits, text);
    }
    add_digits(b, &digits);
}
