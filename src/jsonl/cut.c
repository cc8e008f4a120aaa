/* src/jsonl/cut.c: bytes to lines. */
#include "jsonl/internal.h"

bool jsonl_cut(om_sv *rest, size_t max, struct jsonl_text *line)
{
    const char *const newline = rest->len ? memchr(rest->ptr, '\n', rest->len) : NULL;
    const size_t n = newline ? (size_t)(newline - rest->ptr) : rest->len;

    if (n > max - line->bytes.len && !line->too_long) {
        line->too_long = true;
        om_buf_release(&line->bytes);
    }
    if (!line->too_long)
        om_buf_add(&line->bytes, rest->ptr, n);
    rest->ptr += n + (newline != NULL);
    rest->len -= n + (newline != NULL);
    return newline != NULL;
}
