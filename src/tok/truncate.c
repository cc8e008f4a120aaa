/* src/tok/truncate.c: cutting texts to a length, and the windows that are left over. */
#include "tok/post.h"

static void *alloc(struct tok_work *w, size_t n, size_t elem)
{
    void *const p = om_arena_array(&w->arena, n, elem);

    if (!p)
        tok_no_memory(w);
    return p;
}

/* Tokens [begin, end) of a text that is one segment. */
static struct tok_window cut(struct tok_work *w, const struct tok_window *whole, uint32_t begin,
                             uint32_t end)
{
    struct tok_window c = { .segments = alloc(w, 1, sizeof(*c.segments)) };

    if (!c.segments)
        return c;
    c.segments[0] = whole->segments[0];
    c.segments[0].tokens += begin;
    c.segments[0].len = end - begin;
    c.segments_len = 1;
    c.len = end - begin;
    return c;
}

static size_t count_windows(size_t len, size_t max, size_t step)
{
    return 1 + (len - max + step - 1) / step;
}

/* Every max tokens a window, stride of them shared; from the right they start at the first token,
 * from the left at the last. */
static void cut_windows(struct tok_work *w, struct tok_enc *e, uint32_t max, uint32_t stride,
                        enum om_side direction)
{
    const uint32_t len = e->main.len, step = max - stride;
    const size_t n = count_windows(len, max, step);
    const struct tok_window whole = e->main;

    e->overflow = alloc(w, n, sizeof(*e->overflow));
    for (size_t i = 0; i < n && w->rc == 0; i++) {
        const uint32_t from = (uint32_t)i * step;
        const uint32_t begin = direction == OM_SIDE_RIGHT ? from
                               : len - from > max         ? len - from - max
                                                          : 0;
        const uint32_t end = direction == OM_SIDE_RIGHT ? OM_MIN(from + max, len) : len - from;
        const struct tok_window c = cut(w, &whole, begin, end);
        if (i == 0)
            e->main = c;
        else
            e->overflow[i - 1] = c;
    }
    e->overflow_len = n - 1;
}

static void truncate_one(struct tok_work *w, struct tok_enc *e, size_t max,
                         const struct om_truncation *t)
{
    if (max >= e->main.len || w->rc < 0)
        return;
    if (max == 0) {
        e->overflow = alloc(w, 1, sizeof(*e->overflow));
        if (!e->overflow)
            return;
        e->overflow[0] = e->main;
        e->overflow_len = 1;
        e->main = (struct tok_window){ .segments = NULL };
        return;
    }
    if (t->stride >= max) {
        tok_fail(w, OM_E_USAGE,
                 "stride %zu, expected less than the %zu tokens that are left of a window",
                 t->stride, max);
        return;
    }
    cut_windows(w, e, (uint32_t)max, (uint32_t)t->stride, t->direction);
}

/* Shorten the longer text first, then both. */
static void longest_first(struct tok_work *w, struct tok_encs *encs, size_t max,
                          const struct om_truncation *t)
{
    const size_t a = encs->items[0].main.len, b = encs->items[1].main.len;
    size_t shorter = OM_MIN(a, b), longer;

    longer = shorter > max ? shorter : OM_MAX(shorter, max - shorter);
    if (shorter + longer > max) {
        shorter = max / 2;
        longer = shorter + max % 2;
    }
    truncate_one(w, &encs->items[0], a > b ? longer : shorter, t);
    truncate_one(w, &encs->items[1], a > b ? shorter : longer, t);
}

static void only(struct tok_work *w, struct tok_encs *encs, size_t which, size_t excess,
                 const struct om_truncation *t)
{
    if (which >= encs->len) {
        tok_fail(w, OM_E_USAGE, "truncation of the second text only, but there is none");
        return;
    }
    const size_t len = encs->items[which].main.len;
    if (len <= excess)
        tok_fail(w, OM_E_USAGE,
                 "the %s text has %zu tokens, %zu would have to go for a maximum of %zu",
                 which ? "second" : "first", len, excess, t->max_length);
    else
        truncate_one(w, &encs->items[which], len - excess, t);
}

void tok_truncate(struct tok_work *w, struct tok_encs *encs, const struct om_truncation *t,
                  size_t added)
{
    size_t total = 0;

    if (t->max_length < added) {
        tok_fail(w, OM_E_USAGE, "a maximum of %zu tokens, but %zu special ones are added",
                 t->max_length, added);
        return;
    }
    const size_t max = t->max_length - added;
    for (size_t i = 0; i < encs->len; i++)
        total += encs->items[i].main.len;
    if (max == 0) {
        for (size_t i = 0; i < encs->len; i++)
            truncate_one(w, &encs->items[i], 0, t);
        return;
    }
    if (total <= max)
        return;
    switch (t->strategy) {
    case OM_TRUNCATE_LONGEST_FIRST:
        if (encs->len == 2)
            longest_first(w, encs, max, t);
        else
            truncate_one(w, &encs->items[0], max, t);
        break;
    case OM_TRUNCATE_ONLY_FIRST:
        only(w, encs, 0, total - max, t);
        break;
    case OM_TRUNCATE_ONLY_SECOND:
        only(w, encs, 1, total - max, t);
        break;
    }
}
