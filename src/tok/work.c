/* src/tok/work.c: the pool of a call, its pieces, and rewriting with alignment. */
#include "tok/work.h"

#include <stdio.h>
#include <stdlib.h>

#include "tok/cache.h"
#include "tok/regex.h"
#include "tok/unicode.h"

enum { ARENA_MAX_BITS = 32, KEEP_BYTES = 1 << 20 };

struct tok_work *tok_work_new(void)
{
    struct tok_work *w = calloc(1, sizeof(*w));

    if (w)
        om_arena_init(&w->arena, (size_t)1 << ARENA_MAX_BITS);
    return w;
}

void tok_work_free(struct tok_work *w)
{
    if (!w)
        return;
    free(w->bytes);
    free(w->align);
    free(w->chars);
    free(w->pieces);
    free(w->next);
    free(w->matches);
    free(w->tokens);
    free(w->parts);
    free(w->model);
    free(w->forms);
    om_arena_release(&w->arena);
    tok_cache_free(w->cache);
    tok_matcher_free(w->matcher);
    free(w);
}

/* ---- failures ---- */

int tok_fail(struct tok_work *w, int code, const char *fmt, ...)
{
    char text[OM_ERROR_SMALL];
    va_list ap;

    if (w->rc < 0)
        return w->rc;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    w->rc = om_fail(w->err, code, "%s", text);
    return w->rc;
}

int tok_no_memory(struct tok_work *w)
{
    return tok_fail(w, OM_E_NOMEM, "out of memory for a text of %zu bytes", w->original_len);
}

bool tok_room(struct tok_work *w, void *items, size_t *cap, size_t need, size_t elem)
{
    if (w->rc < 0)
        return false;
    if (need <= *cap)
        return true;
    if (om_grow(items, cap, need, elem))
        return true;
    tok_no_memory(w);
    return false;
}

static bool room_bytes(struct tok_work *w, size_t more)
{
    if (more > TOK_POOL_MAX || w->len > TOK_POOL_MAX - more) {
        tok_fail(w, OM_E_LIMIT, "a text of %zu bytes grows beyond 4 GiB when normalized",
                 w->original_len);
        return false;
    }
    return tok_room(w, &w->bytes, &w->cap, w->len + more, 1);
}

static bool room_aligned(struct tok_work *w, size_t more)
{
    return room_bytes(w, more) &&
           tok_room(w, &w->align, &w->align_cap, w->len + more, sizeof(*w->align));
}

/* ---- the text ---- */

void tok_work_start(struct tok_work *w, struct om_error *err)
{
    w->rc = 0;
    w->err = err;
    w->tokens_len = 0;
}

static void shrink(void *items, size_t *cap, size_t elem)
{
    void **const p = items;

    if (*cap <= KEEP_BYTES / elem)
        return;
    free(*p);
    *p = NULL;
    *cap = 0;
}

void tok_work_trim(struct tok_work *w)
{
    const struct om_mark empty = { 0 };

    shrink(&w->bytes, &w->cap, 1);
    shrink(&w->align, &w->align_cap, sizeof(*w->align));
    shrink(&w->chars, &w->chars_cap, sizeof(*w->chars));
    shrink(&w->pieces, &w->pieces_cap, sizeof(*w->pieces));
    shrink(&w->next, &w->next_cap, sizeof(*w->next));
    shrink(&w->matches, &w->matches_cap, sizeof(*w->matches));
    shrink(&w->tokens, &w->tokens_cap, sizeof(*w->tokens));
    shrink(&w->parts, &w->parts_cap, sizeof(*w->parts));
    shrink(&w->model, &w->model_cap, 1);
    shrink(&w->forms, &w->forms_cap, 16);
    om_arena_rewind(&w->arena, empty);
    w->err = NULL;
}

/* Number the code points of the original; true when all of it is UTF-8. */
static bool count_chars(struct tok_work *w)
{
    bool valid = true;
    uint32_t n = 0;

    if (!tok_room(w, &w->chars, &w->chars_cap, w->original_len, sizeof(*w->chars)))
        return true;
    for (size_t i = 0; i < w->original_len; n++) {
        size_t len;
        const uint32_t c = tok_utf8_lossy(w->bytes + i, w->original_len - i, &len);
        valid &= c != 0xFFFD || (len == 3 && !memcmp(w->bytes + i, "\xEF\xBF\xBD", 3));
        for (const size_t end = i + len; i < end; i++)
            w->chars[i] = n;
    }
    return valid;
}

/* A copy of the original in which U+FFFD stands for every invalid part. */
static void repair(struct tok_work *w, struct tok_piece *p)
{
    const uint32_t start = (uint32_t)w->len;

    for (size_t i = 0; i < w->original_len && room_aligned(w, 4);) {
        size_t len;
        const uint32_t c = tok_utf8_lossy(w->bytes + i, w->original_len - i, &len);
        const size_t n = tok_utf8_encode(c, w->bytes + w->len);
        for (size_t k = 0; k < n; k++)
            w->align[w->len + k] = (struct om_offsets){ (uint32_t)i, (uint32_t)(i + len) };
        w->len += n;
        i += len;
    }
    *p = (struct tok_piece){ start, (uint32_t)w->len, 0, TOK_MAPPED, TOK_NONE };
}

void tok_work_text(struct tok_work *w, om_sv text)
{
    struct tok_piece whole = { 0, (uint32_t)text.len, 0, 0, TOK_NONE };

    w->len = 0;
    w->pieces_len = 0;
    w->original_len = text.len;
    if (text.len > TOK_TEXT_MAX)
        tok_fail(w, OM_E_LIMIT, "a text of %zu bytes, expected at most 1 GiB", text.len);
    if (text.len == 0 || !room_bytes(w, text.len))
        return;
    memcpy(w->bytes, text.ptr, text.len);
    w->len = text.len;
    w->ascii = tok_is_ascii(text);
    if (!w->ascii && !count_chars(w))
        repair(w, &whole);
    if (!tok_room(w, &w->pieces, &w->pieces_cap, 1, sizeof(*w->pieces)))
        return;
    w->pieces[0] = whole;
    w->pieces_len = 1;
}

/* ---- pieces ---- */

struct om_offsets tok_align(const struct tok_work *w, const struct tok_piece *p, uint32_t at)
{
    uint32_t begin = at, end = at + 1;

    if (p->shift == TOK_MAPPED)
        return w->align[at];
    while (begin > p->begin && tok_is_cont(w->bytes[begin]))
        begin--;
    while (end < p->end && tok_is_cont(w->bytes[end]))
        end++;
    return (struct om_offsets){ begin - p->shift, end - p->shift };
}

struct tok_piece tok_slice(const struct tok_work *w, const struct tok_piece *p, uint32_t begin,
                           uint32_t end)
{
    struct tok_piece s = *p;

    s.begin = begin;
    s.end = end;
    if (begin < end)
        s.origin = p->shift == TOK_MAPPED ? w->align[begin].begin : begin - p->shift;
    return s;
}

void tok_emit(struct tok_work *w, const struct tok_piece *p)
{
    if (p->begin == p->end ||
        !tok_room(w, &w->next, &w->next_cap, w->next_len + 1, sizeof(*w->next)))
        return;
    w->next[w->next_len++] = *p;
}

void tok_swap(struct tok_work *w)
{
    struct tok_piece *const items = w->pieces;
    const size_t cap = w->pieces_cap;

    w->pieces = w->next;
    w->pieces_len = w->next_len;
    w->pieces_cap = w->next_cap;
    w->next = items;
    w->next_len = 0;
    w->next_cap = cap;
}

void tok_match_add(struct tok_work *w, uint32_t begin, uint32_t end, bool hit)
{
    if (!tok_room(w, &w->matches, &w->matches_cap, w->matches_len + 1, sizeof(*w->matches)))
        return;
    w->matches[w->matches_len++] = (struct tok_match){ begin, end, hit };
}

/* ---- rewriting ---- */

struct tok_rewrite tok_rewrite_begin(struct tok_work *w, const struct tok_piece *p)
{
    room_aligned(w, p->end - p->begin);
    return (struct tok_rewrite){ w, *p, p->begin, (uint32_t)w->len };
}

/* Pass over one character of the source. */
static void pass(struct tok_rewrite *r)
{
    if (r->at >= r->src.end)
        return;
    r->at++;
    while (r->at < r->src.end && tok_is_cont(r->w->bytes[r->at]))
        r->at++;
}

static struct om_offsets align_for(const struct tok_rewrite *r, int change)
{
    if (change <= 0 && r->at < r->src.end)
        return tok_align(r->w, &r->src, r->at);
    if (r->at > r->src.begin)
        return tok_align(r->w, &r->src, r->at - 1);
    return (struct om_offsets){ r->src.origin, r->src.origin };
}

void tok_put(struct tok_rewrite *r, uint32_t c, int change)
{
    struct tok_work *const w = r->w;

    if (!room_aligned(w, 4))
        return;
    const struct om_offsets align = align_for(r, change);
    const size_t n = tok_utf8_encode(c, w->bytes + w->len);
    for (size_t i = 0; i < n; i++)
        w->align[w->len + i] = align;
    w->len += n;
    for (; change <= 0; change++)
        pass(r);
}

void tok_keep(struct tok_rewrite *r, size_t n)
{
    struct tok_work *const w = r->w;
    const uint32_t end = r->at + (uint32_t)n;

    if (!room_aligned(w, n))
        return;
    memcpy(w->bytes + w->len, w->bytes + r->at, n);
    if (r->src.shift == TOK_MAPPED) {
        memcpy(w->align + w->len, w->align + r->at, n * sizeof(*w->align));
        r->at = end;
        w->len += n;
        return;
    }
    while (r->at < end) {
        const struct om_offsets a = tok_align(w, &r->src, r->at);
        for (uint32_t i = a.begin; i < a.end && r->at < end; i++, r->at++)
            w->align[w->len++] = a;
    }
}

void tok_drop(struct tok_rewrite *r, size_t n)
{
    r->at += (uint32_t)n;
}

void tok_rewrite_end(struct tok_rewrite *r, struct tok_piece *p)
{
    struct tok_work *const w = r->w;
    const size_t n = w->len - r->start;
    uint32_t start = r->start;

    if (w->rc < 0)
        return;
    if (r->src.shift == TOK_MAPPED && r->src.end == r->start) { /* the source is no longer needed */
        start = r->src.begin;
        memmove(w->bytes + start, w->bytes + r->start, n);
        memmove(w->align + start, w->align + r->start, n * sizeof(*w->align));
        w->len = start + n;
    }
    p->begin = start;
    p->end = (uint32_t)w->len;
    p->shift = TOK_MAPPED;
}

void tok_map_ascii(struct tok_work *w, struct tok_piece *p, const char *table)
{
    const size_t n = p->end - p->begin;
    uint32_t to = p->begin;

    if (p->begin < w->original_len) { /* the original stays as it is */
        if (!room_bytes(w, n))
            return;
        to = (uint32_t)w->len;
        w->len += n;
    }
    for (size_t i = 0; i < n; i++)
        w->bytes[to + i] = table[(unsigned char)w->bytes[p->begin + i]];
    if (p->shift != TOK_MAPPED)
        p->shift += to - p->begin;
    p->begin = to;
    p->end = to + (uint32_t)n;
}

void tok_prepend(struct tok_work *w, struct tok_piece *p, om_sv s)
{
    struct tok_rewrite r = tok_rewrite_begin(w, p);
    size_t first, len;

    if (w->rc < 0 || p->begin == p->end)
        return;
    const uint32_t c = tok_utf8_decode(w->bytes + p->begin, &first);
    for (size_t i = 0; i < s.len; i += len)
        tok_put(&r, tok_utf8_decode(s.ptr + i, &len), i != 0);
    tok_put(&r, c, 1);
    if (s.len == 0) /* as the library has it: the first character loses its place */
        tok_drop(&r, first);
    tok_keep(&r, p->end - p->begin - first);
    tok_rewrite_end(&r, p);
}
