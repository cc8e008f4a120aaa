/* src/tok/normal_form.c: decomposition, canonical order and composition, with what becomes of the
 * alignment.
 *
 * A decomposed character carries a change as tok_put() takes it: 0 when it is the first one of a
 * source character, 1 for the others. Sorting moves the changes along, composition adds them up; so
 * the k-th character with change 0 belongs to the k-th of the source, whatever order they came to.
 */
#include "tok/normal_form.h"

#include "tok/unicode.h"

struct nf_char {
    uint32_t c;
    int32_t change;
    uint8_t class; /* canonical combining class */
};

struct nf {
    struct nf_char *items;
    size_t len, cap;
    size_t pending; /* where the run of marks begins that is not yet in order */
    struct tok_work *w;
};

/* ---- characters that a form leaves as they are, whatever stands beside them ---- */

struct range {
    uint32_t first, last;
};

static const struct range inert_c[] = {
    { 0x0000, 0x02FF }, { 0x0400, 0x0482 }, { 0x048A, 0x052F }, { 0x05D0, 0x05EA },
    { 0x0621, 0x064A }, { 0x0671, 0x06D3 }, { 0x2010, 0x2027 }, { 0x2030, 0x205E },
    { 0x3001, 0x3029 }, { 0x3041, 0x3096 }, { 0x30A1, 0x30FA }, { 0x3400, 0x4DBF },
    { 0x4E00, 0x9FFF }, { 0xAC00, 0xD7A3 }, { 0xFF01, 0xFF9D },
};
static const struct range inert_kc[] = {
    { 0x0000, 0x009F }, { 0x00C0, 0x0131 }, { 0x0400, 0x0482 },
    { 0x048A, 0x052F }, { 0x3041, 0x3096 }, { 0x30A1, 0x30FA },
    { 0x3400, 0x4DBF }, { 0x4E00, 0x9FFF }, { 0xAC00, 0xD7A3 },
};
static const struct range inert_d[] = { { 0x0000, 0x009F },
                                        { 0x3400, 0x4DBF },
                                        { 0x4E00, 0x9FFF } };

static const struct {
    const struct range *ranges;
    size_t len;
} inert[] = {
    [0] = { inert_d, OM_COUNT(inert_d) },
    [TOK_COMPOSE] = { inert_c, OM_COUNT(inert_c) },
    [TOK_COMPATIBLE] = { inert_d, OM_COUNT(inert_d) },
    [TOK_COMPOSE | TOK_COMPATIBLE] = { inert_kc, OM_COUNT(inert_kc) },
};

static bool is_inert(uint32_t c, unsigned form)
{
    size_t i = 0;

    while (i < inert[form].len && c > inert[form].ranges[i].last)
        i++;
    return i < inert[form].len && c >= inert[form].ranges[i].first;
}

static bool all_inert(const struct tok_work *w, const struct tok_piece *p, unsigned form)
{
    size_t len;

    for (uint32_t i = p->begin; i < p->end; i += (uint32_t)len)
        if (!is_inert(tok_utf8_decode(w->bytes + i, &len), form))
            return false;
    return true;
}

/* ---- decomposition ---- */

/* Put the pending marks in the order of their classes, equal ones as they came. */
static void sort_pending(struct nf *n)
{
    const size_t len = n->len - n->pending;
    struct nf_char *const run = len ? n->items + n->pending : NULL;
    size_t at[257] = { 0 };

    n->pending = n->len;
    if (len < 2)
        return;
    struct nf_char *const copy = om_arena_copy(&n->w->arena, run, len * sizeof(*run));
    if (!copy) {
        tok_no_memory(n->w);
        return;
    }
    for (size_t i = 0; i < len; i++)
        at[copy[i].class + 1]++;
    for (size_t i = 1; i < OM_COUNT(at); i++)
        at[i] += at[i - 1];
    for (size_t i = 0; i < len; i++)
        run[at[copy[i].class]++] = copy[i];
}

static void push(struct nf *n, uint32_t c, bool first)
{
    const uint8_t class = (uint8_t)tok_combining_class(c);

    if (class == 0)
        sort_pending(n);
    if (!tok_room(n->w, &n->items, &n->cap, n->len + 1, sizeof(*n->items)))
        return;
    n->items[n->len++] = (struct nf_char){ c, first ? 0 : 1, class };
    if (class == 0)
        n->pending = n->len;
}

static void decompose(struct nf *n, const struct tok_piece *p, bool compatible)
{
    int32_t parts[TOK_DECOMPOSED_MAX];
    size_t len;

    for (uint32_t i = p->begin; i < p->end && n->w->rc == 0; i += (uint32_t)len) {
        const uint32_t c = tok_utf8_decode(n->w->bytes + i, &len);
        const size_t count = tok_decompose(c, compatible, parts);
        for (size_t k = 0; k < count; k++)
            push(n, (uint32_t)parts[k], k == 0);
    }
    sort_pending(n);
}

/* ---- composition ---- */

/* Compose in place: starter is the last character of class 0 that was kept, out the next place to
 * write. */
static void compose(struct nf *n)
{
    size_t out = 0, starter = SIZE_MAX;
    int last_class = -1; /* of the last mark that stayed behind the starter; -1: none */

    for (size_t i = 0; i < n->len; i++) {
        const struct nf_char ch = n->items[i];
        if (starter != SIZE_MAX && last_class < (int)ch.class) {
            struct nf_char *const s = &n->items[starter];
            const uint32_t both = tok_compose(s->c, ch.c);
            if (both) {
                s->c = both;
                s->change += ch.change - 1;
                continue;
            }
        }
        n->items[out] = ch;
        if (ch.class == 0) {
            starter = out;
            last_class = -1;
        } else {
            last_class = ch.class;
        }
        out++;
    }
    n->len = out;
}

static void write(const struct nf *n, struct tok_piece *p)
{
    struct tok_rewrite r = tok_rewrite_begin(n->w, p);

    for (size_t i = 0; i < n->len; i++)
        tok_put(&r, n->items[i].c, n->items[i].change);
    tok_rewrite_end(&r, p);
}

void tok_normal_form(struct tok_work *w, struct tok_piece *p, unsigned form)
{
    struct nf n = { .w = w, .items = w->forms, .cap = w->forms_cap };

    if (all_inert(w, p, form))
        return;
    decompose(&n, p, form & TOK_COMPATIBLE);
    if (form & TOK_COMPOSE)
        compose(&n);
    write(&n, p);
    w->forms = n.items;
    w->forms_cap = n.cap;
}
