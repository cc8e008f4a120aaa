/* src/tok/bpe.c: byte-pair encoding: symbols are merged pair by pair, the best-ranked first. */
#include "tok/model.h"

#include "tok/hash.h"
#include "tok/unicode.h"

/* Where a symbol stands in its word decides whether it takes the prefix of inner symbols and the
 * suffix of last ones. */
enum { PLACE_INNER = 1 << 0, PLACE_LAST = 1 << 1, PLACES = 4 };

enum { SMALL = 32 }; /* words of so many symbols are merged by scanning, longer ones with a heap */

struct merge {
    uint32_t left, right; /* left TOK_NONE: empty */
    uint32_t rank, id;
};

struct bpe {
    struct merge *merges; /* a hash table by (left, right) */
    size_t mask;
    om_sv prefix, suffix;
    bool fuse_unk, ignore_merges;
    uint32_t bytes[PLACES]
                  [256]; /* the symbol for a byte's character, or for ASCII in other models */
};

/* ---- the table of merges ---- */

static struct merge *slot(const struct bpe *b, uint32_t left, uint32_t right)
{
    size_t i = tok_mix(tok_mix((uint64_t)(uintptr_t)b, left), right) & b->mask;

    while (b->merges[i].left != TOK_NONE &&
           (b->merges[i].left != left || b->merges[i].right != right))
        i = (i + 1) & b->mask;
    return &b->merges[i];
}

static const struct merge *find(const struct bpe *b, uint32_t left, uint32_t right)
{
    const struct merge *const m = slot(b, left, right);

    return m->left == TOK_NONE ? NULL : m;
}

static int out_of_vocabulary(om_sv token, struct om_error *err)
{
    return om_fail(err, OM_E_FORMAT, "merge token \"%.*s\" is not in the vocabulary", OM_SV(token));
}

/* The token that both make: the right one without its prefix behind the left one. */
static int merged_id(const struct tok_vocab *v, const struct tok_merge *g, size_t prefix,
                     char *buffer, uint32_t *id, struct om_error *err)
{
    if (g->right.len < prefix)
        return om_fail(err, OM_E_FORMAT,
                       "merge token \"%.*s\" is shorter than the prefix of inner tokens",
                       OM_SV(g->right));
    if (g->left.len)
        memcpy(buffer, g->left.ptr, g->left.len);
    if (g->right.len > prefix)
        memcpy(buffer + g->left.len, g->right.ptr + prefix, g->right.len - prefix);
    const om_sv both = { buffer, g->left.len + g->right.len - prefix };
    *id = tok_vocab_find(v, both);
    return *id == TOK_NONE ? out_of_vocabulary(both, err) : 0;
}

static int add_merge(struct bpe *b, const struct tok_vocab *v, const struct tok_merge *g,
                     uint32_t rank, char *buffer, struct om_error *err)
{
    const uint32_t left = tok_vocab_find(v, g->left), right = tok_vocab_find(v, g->right);
    uint32_t id;

    if (left == TOK_NONE || right == TOK_NONE)
        return out_of_vocabulary(left == TOK_NONE ? g->left : g->right, err);
    OM_TRY(merged_id(v, g, b->prefix.len, buffer, &id, err));
    *slot(b, left, right) = (struct merge){ left, right, rank, id };
    return 0;
}

static int build_merges(struct om_arena *a, const struct tok_model_parts *p,
                        const struct tok_vocab *v, struct bpe *b, struct om_error *err)
{
    char *const buffer = om_arena_alloc(a, 2 * v->longest + 1);

    b->mask = 15;
    while (b->mask < 2 * p->merges_len)
        b->mask = 2 * b->mask + 1;
    b->merges = om_arena_array(a, b->mask + 1, sizeof(*b->merges));
    if (!b->merges || !buffer || p->merges_len >= TOK_NONE)
        return om_fail(err, OM_E_NOMEM, "out of memory for %zu merges", p->merges_len);
    for (size_t i = 0; i <= b->mask; i++)
        b->merges[i].left = TOK_NONE;
    for (size_t i = 0; i < p->merges_len; i++)
        OM_TRY(add_merge(b, v, &p->merges[i], (uint32_t)i, buffer, err));
    return 0;
}

/* ---- symbols ---- */

/* The id of a character at its place, with prefix and suffix. */
static uint32_t symbol(const struct bpe *b, const struct tok_vocab *v, om_sv c, unsigned place,
                       char *buffer)
{
    const size_t prefix = place & PLACE_INNER ? b->prefix.len : 0;
    const size_t suffix = place & PLACE_LAST ? b->suffix.len : 0;

    if (prefix + suffix == 0)
        return tok_vocab_find(v, c);
    if (prefix + c.len + suffix > v->longest)
        return TOK_NONE;
    if (prefix)
        memcpy(buffer, b->prefix.ptr, prefix);
    memcpy(buffer + prefix, c.ptr, c.len);
    if (suffix)
        memcpy(buffer + prefix + c.len, b->suffix.ptr, suffix);
    return tok_vocab_find(v, (om_sv){ buffer, prefix + c.len + suffix });
}

static void find_symbols(struct bpe *b, const struct tok_vocab *v, bool raw, char *buffer)
{
    char c[4];

    for (unsigned place = 0; place < PLACES; place++) {
        for (unsigned i = 0; i < 256; i++) {
            const size_t n =
                raw ? tok_utf8_encode(tok_byte_char((uint8_t)i), c) : tok_utf8_encode(i, c);
            b->bytes[place][i] = symbol(b, v, (om_sv){ c, n }, place, buffer);
        }
    }
}

/* Does every token keep the mark at its start (or to itself)? Then no merge crosses the start of a
 * word. */
static bool cuts_at(const struct tok_vocab *v, om_sv mark)
{
    for (uint32_t id = 0; id < v->limit; id++) {
        om_sv t = v->tokens[id];
        while (t.ptr && om_sv_starts(t, mark))
            t = (om_sv){ t.ptr + mark.len, t.len - mark.len };
        if (t.ptr && memmem(t.ptr, t.len, mark.ptr, mark.len))
            return false;
    }
    return tok_vocab_find(v, mark) != TOK_NONE;
}

static int copy(struct om_arena *a, om_sv *s, struct om_error *err)
{
    if (s->len == 0)
        return 0;
    s->ptr = om_arena_copy(a, s->ptr, s->len);
    return s->ptr ? 0 : om_fail(err, OM_E_NOMEM, "out of memory for a tokenizer");
}

int tok_bpe_build(struct om_arena *a, const struct tok_model_parts *p, struct tok_model *m,
                  struct om_error *err)
{
    struct bpe *const b = om_arena_alloc(a, sizeof(*b));
    char *const buffer = om_arena_alloc(a, m->vocab.longest + 1);

    if (!b || !buffer)
        return om_fail(err, OM_E_NOMEM, "out of memory for a tokenizer");
    b->prefix = p->prefix;
    b->suffix = p->suffix;
    b->fuse_unk = p->fuse_unk;
    b->ignore_merges = p->ignore_merges;
    OM_TRY(copy(a, &b->prefix, err));
    OM_TRY(copy(a, &b->suffix, err));
    OM_TRY(build_merges(a, p, &m->vocab, b, err));
    find_symbols(b, &m->vocab, false, buffer);
    m->conf = b;
    if (b->prefix.len + b->suffix.len == 0 && !b->ignore_merges && m->unk_id != TOK_NONE &&
        cuts_at(&m->vocab, OM_SVL("\xE2\x96\x81")))
        m->cut = OM_SVL("\xE2\x96\x81");
    return 0;
}

bool tok_bpe_can_read_bytes(const struct tok_model *m)
{
    struct bpe *const b = (struct bpe *)m->conf; /* still being built */
    const unsigned places = (b->prefix.len ? PLACE_INNER : 0u) | (b->suffix.len ? PLACE_LAST : 0u);
    char buffer[256];

    if (m->vocab.longest < 2 || b->prefix.len + b->suffix.len + 4 > sizeof(buffer))
        return false;
    find_symbols(b, &m->vocab, true, buffer);
    for (unsigned place = 0; place < PLACES; place++)
        for (unsigned i = 0; i < 256; i++)
            if ((place & ~places) == 0 && b->bytes[place][i] == TOK_NONE) {
                find_symbols(b, &m->vocab, false, buffer);
                return false;
            }
    return true;
}

/* ---- a word as symbols ---- */

struct sym {
    uint32_t id, len; /* len: bytes of the text; 0: merged into another */
    uint32_t prev, next;
};

struct word {
    struct sym *syms;
    size_t len;
    char *buffer; /* for tokens with prefix and suffix */
};

static void add_symbol(struct word *word, uint32_t id, size_t len)
{
    word->syms[word->len++] = (struct sym){ id, (uint32_t)len, 0, 0 };
}

/* A character that is no token becomes bytes, where the vocabulary has them all. */
static bool add_bytes(const struct tok_model *m, struct word *word, om_sv text)
{
    for (size_t i = 0; i < text.len; i++)
        if (m->byte_ids[(uint8_t)text.ptr[i]] == TOK_NONE)
            return false;
    for (size_t i = 0; i < text.len; i++)
        add_symbol(word, m->byte_ids[(uint8_t)text.ptr[i]], 1);
    return true;
}

static bool fall_back(const struct tok_model *m, struct word *word, om_sv c, unsigned place)
{
    const struct bpe *const b = m->conf;
    const size_t before = word->len;

    if (!m->byte_fallback)
        return false;
    if ((place & PLACE_INNER && !add_bytes(m, word, b->prefix)) || !add_bytes(m, word, c) ||
        (place & PLACE_LAST && !add_bytes(m, word, b->suffix))) {
        word->len = before;
        return false;
    }
    return true;
}

/* Symbols of a text that is characters. An unknown one is held back until it is known how far it
 * reaches. */
static void split_chars(const struct tok_model *m, struct tok_work *w, struct word *word,
                        om_sv text)
{
    const struct bpe *const b = m->conf;
    size_t unk = 0, n; /* bytes of the unknown symbol held back */

    for (size_t i = 0; i < text.len; i += n) {
        const uint32_t c = tok_utf8_decode(text.ptr + i, &n);
        const unsigned place = (i ? PLACE_INNER : 0u) | (i + n == text.len ? PLACE_LAST : 0u);
        const om_sv bytes = { text.ptr + i, n };
        const uint32_t id =
            c < 0x80 ? b->bytes[place][c] : symbol(b, &m->vocab, bytes, place, word->buffer);
        if (id != TOK_NONE) {
            if (unk)
                add_symbol(word, m->unk_id, unk);
            unk = 0;
            add_symbol(word, id, n);
        } else if (!fall_back(m, word, bytes, place) && m->unk_token.ptr) {
            if (m->unk_id == TOK_NONE) {
                tok_unk_missing(m, w);
                return;
            }
            if (unk && !b->fuse_unk) {
                add_symbol(word, m->unk_id, unk);
                unk = 0;
            }
            unk += n;
        }
    }
    if (unk)
        add_symbol(word, m->unk_id, unk);
}

static void split_bytes(const struct bpe *b, struct word *word, om_sv text)
{
    for (size_t i = 0; i < text.len; i++) {
        const unsigned place = (i ? PLACE_INNER : 0u) | (i + 1 == text.len ? PLACE_LAST : 0u);
        add_symbol(word, b->bytes[place][(uint8_t)text.ptr[i]], 1);
    }
}

/* ---- merging ---- */

/* Scan for the best pair, the first of equals; ranks[i] is that of symbols i and i + 1. */
static void merge_small(const struct bpe *b, struct word *word)
{
    const struct merge *pairs[SMALL];
    struct sym *const s = word->syms;
    size_t n = word->len;

    for (size_t i = 0; i + 1 < n; i++)
        pairs[i] = find(b, s[i].id, s[i + 1].id);
    for (;;) {
        size_t best = n;
        for (size_t i = 0; i + 1 < n; i++)
            if (pairs[i] && (best == n || pairs[i]->rank < pairs[best]->rank))
                best = i;
        if (best == n)
            break;
        s[best].id = pairs[best]->id;
        s[best].len += s[best + 1].len;
        n--;
        memmove(&s[best + 1], &s[best + 2], (n - best - 1) * sizeof(*s));
        if (best + 1 < n) {
            memmove(&pairs[best + 1], &pairs[best + 2], (n - best - 2) * sizeof(*pairs));
            pairs[best] = find(b, s[best].id, s[best + 1].id);
        }
        if (best > 0)
            pairs[best - 1] = find(b, s[best - 1].id, s[best].id);
    }
    word->len = n;
}

/* A pair that could be merged when it was put in; pos is its left symbol. */
struct candidate {
    uint32_t rank, pos, id;
};

struct heap {
    struct candidate *items;
    size_t len;
};

static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->pos < b->pos;
}

static void heap_push(struct heap *h, struct candidate c)
{
    size_t i = h->len++;

    while (i > 0 && before(&c, &h->items[(i - 1) / 2])) {
        h->items[i] = h->items[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->items[i] = c;
}

static struct candidate heap_pop(struct heap *h)
{
    const struct candidate top = h->items[0], last = h->items[--h->len];
    size_t i = 0;

    for (size_t child = 1; child < h->len; child = 2 * i + 1) {
        if (child + 1 < h->len && before(&h->items[child + 1], &h->items[child]))
            child++;
        if (!before(&h->items[child], &last))
            break;
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = last;
    return top;
}

static void offer(const struct bpe *b, const struct word *word, struct heap *h, uint32_t left,
                  uint32_t right)
{
    const struct merge *const m = find(b, word->syms[left].id, word->syms[right].id);

    if (m)
        heap_push(h, (struct candidate){ m->rank, left, m->id });
}

/* Merge the candidate if its pair is still there. Each merge adds at most two candidates and takes
 * one symbol away, so a heap never holds more than three times the symbols. */
static void try_merge(const struct bpe *b, struct word *word, struct heap *h, struct candidate c)
{
    struct sym *const s = word->syms, *const left = &s[c.pos];

    if (left->len == 0 || left->next == TOK_NONE)
        return;
    struct sym *const right = &s[left->next];
    const struct merge *const m = find(b, left->id, right->id);
    if (!m || m->id != c.id)
        return;
    left->id = c.id;
    left->len += right->len;
    left->next = right->next;
    right->len = 0;
    if (left->next != TOK_NONE)
        s[left->next].prev = c.pos;
    if (left->prev != TOK_NONE)
        offer(b, word, h, left->prev, c.pos);
    if (left->next != TOK_NONE)
        offer(b, word, h, c.pos, left->next);
}

static void merge_large(const struct bpe *b, struct word *word, struct candidate *room)
{
    struct heap h = { room, 0 };
    size_t kept = 0;

    for (uint32_t i = 0; i < word->len; i++) {
        word->syms[i].prev = i ? i - 1 : TOK_NONE;
        word->syms[i].next = i + 1 < word->len ? i + 1 : TOK_NONE;
    }
    for (uint32_t i = 0; i + 1 < word->len; i++)
        offer(b, word, &h, i, i + 1);
    while (h.len)
        try_merge(b, word, &h, heap_pop(&h));
    for (size_t i = 0; i < word->len; i++)
        if (word->syms[i].len)
            word->syms[kept++] = word->syms[i];
    word->len = kept;
}

/* ---- the model ---- */

/* A token that is the text as a whole. */
static uint32_t whole(const struct tok_model *m, om_sv text, char *buffer)
{
    size_t n = 0;

    if (!m->raw)
        return tok_vocab_find(&m->vocab, text);
    for (size_t i = 0; i < text.len; i++) {
        if (n + 4 > m->vocab.longest + 4)
            return TOK_NONE;
        n += tok_utf8_encode(tok_byte_char((uint8_t)text.ptr[i]), buffer + n);
    }
    return tok_vocab_find(&m->vocab, (om_sv){ buffer, n });
}

static void run(const struct tok_model *m, struct tok_work *w, om_sv text)
{
    const struct bpe *const b = m->conf;
    const size_t most = text.len + b->prefix.len * text.len + b->suffix.len;
    const size_t syms = (m->byte_fallback ? most : text.len) + 1;
    const size_t per_sym = sizeof(struct sym) + 3 * sizeof(struct candidate);
    char *const room = tok_model_buffer(w, syms * per_sym + m->vocab.longest + 8, 1);
    struct word word = { .len = 0 };
    size_t at = 0;

    if (!room)
        return;
    word.syms = (struct sym *)(void *)room;
    word.buffer = room + syms * per_sym;
    if (b->ignore_merges) {
        const uint32_t id = whole(m, text, word.buffer);
        if (id != TOK_NONE) {
            tok_part_add(w, id, 0, text.len);
            return;
        }
    }
    if (m->raw)
        split_bytes(b, &word, text);
    else
        split_chars(m, w, &word, text);
    if (word.len <= SMALL)
        merge_small(b, &word);
    else
        merge_large(b, &word, (struct candidate *)(void *)(word.syms + syms));
    for (size_t i = 0; i < word.len && w->rc == 0; i++) {
        tok_part_add(w, word.syms[i].id, at, at + word.syms[i].len);
        at += word.syms[i].len;
    }
}

const struct tok_model_kind tok_model_bpe = { "BPE", run, true };
