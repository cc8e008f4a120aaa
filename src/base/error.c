/* src/base/error.c: codes with a message that is built where the fact is known and wrapped on the
 * way up. */
#include <optimum/error.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *om_error_text(const struct om_error *err)
{
    if (!err)
        return "";
    return err->heap ? err->heap : err->small;
}

void om_error_release(struct om_error *err)
{
    if (!err)
        return;
    free(err->heap);
    *err = (struct om_error)OM_ERROR_INIT;
}

/* Names inside messages come from files: a control character could break the line or drive a
 * terminal. */
static void one_line(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            *text = *text == '\t' || *text == '\n' ? ' ' : '?';
    }
}

/* Cut text to fit small, not within a UTF-8 sequence. */
static void copy_cut(char *small, const char *text)
{
    size_t len = strnlen(text, OM_ERROR_SMALL - 1);

    if (text[len] != '\0') {
        while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
            len--;
    }
    memcpy(small, text, len);
    small[len] = '\0';
}

/* Make "head" or "head: tail" the message. tail may be the message that is replaced. */
static void set_message(struct om_error *err, const char *tail, const char *fmt, va_list ap)
{
    char small[OM_ERROR_SMALL];
    va_list again;

    va_copy(again, ap);
    const int head = vsnprintf(small, sizeof(small), fmt, ap);
    const size_t head_len = head > 0 ? (size_t)head : 0;
    const size_t tail_len = tail ? strlen(tail) + 2 : 0;
    const size_t need = head_len + tail_len + 1;

    /* Always through fresh memory: the arguments and the tail may point into *err. */
    char *text = malloc(need);
    if (text) {
        vsnprintf(text, head_len + 1, fmt, again);
        if (tail)
            snprintf(text + head_len, tail_len + 1, ": %s", tail);
        one_line(text);
    } else {
        one_line(small);
    }
    va_end(again);

    free(err->heap);
    err->heap = NULL;
    copy_cut(err->small, text ? text : small);
    if (text && need > OM_ERROR_SMALL)
        err->heap = text;
    else
        free(text);
}

int om_fail(struct om_error *err, int code, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return code;
    va_start(ap, fmt);
    set_message(err, NULL, fmt, ap);
    va_end(ap);
    err->code = code;
    return code;
}

int om_wrap(struct om_error *err, int rc, const char *fmt, ...)
{
    const char *const old = om_error_text(err);
    va_list ap;

    if (!err || rc == 0)
        return rc;
    va_start(ap, fmt);
    set_message(err, old[0] ? old : NULL, fmt, ap);
    va_end(ap);
    if (err->code == 0)
        err->code = rc;
    return rc;
}

const char *om_code_name(int code)
{
    switch (code) {
#define CODE_NAME(name, value, text) \
    case value:                      \
        return #name;
        OM_CODES(CODE_NAME)
#undef CODE_NAME
    }
    return "?";
}
