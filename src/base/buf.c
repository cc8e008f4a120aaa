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

void om_buf_real(struct om_buf *b, double d)
{
    char text[40], digits[20];
    int precision = 0, count = 0;

    if (!isfinite(d)) {
        om_buf_adds(b, isnan(d) ? "nan" : d > 0 ? "inf" : "-inf");
        return;
    }
    do
        snprintf(text, sizeof(text), "%.*e", precision, d);
    while (++precision < 17 && strtod(text, NULL) != d);

    const char *p = text;
    for (; *p != 'e'; p++) { /* the decimal point depends on the locale: it is skipped */
        if (*p >= '0' && *p <= '9')
            digits[count++] = *p;
    }
    const int exponent = (int)strtol(p + 1, NULL, 10);

    if (signbit(d))
        om_buf_addc(b, '-');
    if (exponent < -4 || exponent >= 16) {
        om_buf_printf(b, "%c%s%.*se%c%02d", digits[0], count > 1 ? "." : "", count - 1, digits + 1,
                      exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        om_buf_printf(b, "0.%.*s%.*s", -exponent - 1, "000", count, digits);
    } else {
        for (int i = 0; i <= OM_MAX(exponent + 1, count - 1); i++) {
            if (i == exponent + 1)
                om_buf_addc(b, '.');
            om_buf_addc(b, i < count ? digits[i] : '0');
        }
    }
}
