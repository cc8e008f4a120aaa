/* src/pipe/chars.c: texts by code points, as Python counts them. */
#include "pipe/pipe.h"

#include "tok/unicode.h"

int pipe_chars_init(struct pipe_chars *c, struct om_arena *a, const struct om_text *text,
                    struct om_error *err)
{
    const om_sv sv = { text->ptr, text->len };
    uint32_t *at;
    size_t n = 0, len;

    *c = (struct pipe_chars){ .text = sv, .len = sv.len };
    if (tok_is_ascii(sv))
        return 0;
    at = om_arena_array(a, sv.len + 1, sizeof(*at));
    if (!at)
        return pipe_no_memory(err);
    for (size_t i = 0; i < sv.len; i += len) {
        tok_utf8_lossy(sv.ptr + i, sv.len - i, &len);
        at[n++] = (uint32_t)i;
    }
    at[n] = (uint32_t)sv.len;
    c->at = at;
    c->len = n;
    return 0;
}

size_t pipe_chars_byte(const struct pipe_chars *c, size_t i)
{
    const size_t at = OM_MIN(i, c->len);

    return c->at ? c->at[at] : at;
}

om_sv pipe_chars_slice(const struct pipe_chars *c, size_t begin, size_t end)
{
    const size_t from = pipe_chars_byte(c, begin), to = pipe_chars_byte(c, end);

    return (om_sv){ c->text.ptr + from, to > from ? to - from : 0 };
}
