/* src/tok/trie.c: sorts the texts, counts nodes, then lays them out breadth first. */
#include "tok/trie.h"

#include <stdlib.h>

enum { CHUNK = 7 };

/* A text under sorting. chunk holds CHUNK bytes from some depth on, first byte highest, and below
 * them how many there are (CHUNK + 1 when the text goes on): texts compare as their chunks do, and
 * the sort seldom has to look at the text itself. */
struct key {
    uint64_t chunk;
    uint32_t at; /* in the entries */
};

struct sorter {
    const struct tok_entry *entries;
    struct key *keys; /* sorted in the end */
    size_t len;
};

static uint64_t chunk_at(om_sv text, size_t depth)
{
    const size_t left = text.len - depth, n = OM_MIN(left, (size_t)CHUNK);
    uint64_t bytes = 0;

    for (size_t i = 0; i < n; i++)
        bytes = bytes << 8 | (uint8_t)text.ptr[depth + i];
    if (n == 0)
        return 0;
    return bytes << 8 * (CHUNK + 1 - n) | OM_MIN(left, (size_t)CHUNK + 1);
}

static bool goes_on(uint64_t chunk)
{
    return (chunk & 0xFF) > CHUNK;
}

static om_sv text_of(const struct sorter *s, size_t key)
{
    return s->entries[s->keys[key].at].text;
}

static int byte_at(const struct sorter *s, size_t key, size_t depth)
{
    const om_sv text = text_of(s, key);

    return depth < text.len ? (uint8_t)text.ptr[depth] : -1;
}

static void swap(struct key *a, struct key *b)
{
    const struct key t = *a;

    *a = *b;
    *b = t;
}

static uint64_t median(uint64_t a, uint64_t b, uint64_t c)
{
    return OM_MAX(OM_MIN(a, b), OM_MIN(OM_MAX(a, b), c));
}

/* Three-way quicksort by chunks, after Bentley and Sedgewick (1997). What is still to do is on a
 * stack. */
struct span {
    size_t from, to, depth;
};

struct spans {
    struct span *items;
    size_t len, cap;
};

static bool push(struct spans *s, size_t from, size_t to, size_t depth)
{
    if (to - from < 2)
        return true;
    if (!om_grow(&s->items, &s->cap, s->len + 1, sizeof(*s->items)))
        return false;
    s->items[s->len++] = (struct span){ from, to, depth };
    return true;
}

/* Keys with equal chunks: sort them by the next ones. */
static bool push_equal(struct spans *todo, const struct sorter *s, size_t from, size_t to,
                       size_t depth)
{
    if (to - from < 2 || !goes_on(s->keys[from].chunk))
        return true;
    for (size_t i = from; i < to; i++)
        s->keys[i].chunk = chunk_at(text_of(s, i), depth + CHUNK);
    return push(todo, from, to, depth + CHUNK);
}

/* Sort what todo names. */
static bool sort_spans(struct spans *todo, const struct sorter *sorter)
{
    struct key *const k = sorter->keys;
    bool ok = true;

    while (ok && todo->len) {
        const struct span s = todo->items[--todo->len];
        const uint64_t pivot =
            median(k[s.from].chunk, k[s.from + (s.to - s.from) / 2].chunk, k[s.to - 1].chunk);
        size_t less = s.from, more = s.to, i = s.from;
        while (i < more) {
            if (k[i].chunk < pivot)
                swap(&k[less++], &k[i++]);
            else if (k[i].chunk > pivot)
                swap(&k[i], &k[--more]);
            else
                i++;
        }
        ok = push(todo, s.from, less, s.depth) && push(todo, more, s.to, s.depth) &&
             push_equal(todo, sorter, less, more, s.depth);
    }
    return ok;
}

/* By the first chunks alone: eight stable passes, one for each byte (a radix sort); those that are
 * equal for all keys are left out. Gives the sorted keys, which lie in k or in spare. */
static struct key *sort_first(struct key *k, struct key *spare, size_t n)
{
    for (unsigned shift = 0; shift < 64; shift += 8) {
        size_t at[256] = { 0 }, sum = 0;
        for (size_t i = 0; i < n; i++)
            at[k[i].chunk >> shift & 0xFF]++;
        if (at[k[0].chunk >> shift & 0xFF] == n)
            continue;
        for (size_t i = 0; i < OM_COUNT(at); i++) {
            const size_t count = at[i];
            at[i] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++)
            spare[at[k[i].chunk >> shift & 0xFF]++] = k[i];
        struct key *const sorted = spare;
        spare = k;
        k = sorted;
    }
    return k;
}

static bool sort_keys(struct sorter *s, struct key *spare)
{
    struct spans todo = { 0 };
    bool ok = true;

    s->keys = s->len ? sort_first(s->keys, spare, s->len) : s->keys;
    for (size_t i = 0, end; ok && i < s->len; i = end) {
        for (end = i + 1; end < s->len && s->keys[end].chunk == s->keys[i].chunk; end++)
            ;
        ok = push_equal(&todo, s, i, end, 0) && sort_spans(&todo, s);
    }
    free(todo.items);
    return ok;
}

static size_t common(om_sv a, om_sv b)
{
    const size_t n = OM_MIN(a.len, b.len);
    size_t i = 0;

    while (i < n && a.ptr[i] == b.ptr[i])
        i++;
    return i;
}

static size_t count_nodes(const struct sorter *s)
{
    size_t nodes = 1;

    for (size_t i = 0; i < s->len; i++)
        nodes += text_of(s, i).len - (i ? common(text_of(s, i - 1), text_of(s, i)) : 0);
    return nodes;
}

struct layout {
    uint8_t *label;
    uint32_t *first, *value;
    struct {
        uint32_t from, to, depth;
    } * keys; /* below each node */
    uint32_t len;
};

/* Give node its value and its children. */
static void lay_out(struct layout *t, const struct sorter *s, uint32_t node)
{
    uint32_t i = t->keys[node].from, last = 0;
    const uint32_t to = t->keys[node].to, depth = t->keys[node].depth;

    t->first[node] = t->len;
    t->value[node] = UINT32_MAX;
    for (; i < to && text_of(s, i).len == depth; i++) {
        if (depth && s->keys[i].at >= last) {
            last = s->keys[i].at;
            t->value[node] = s->entries[last].id;
        }
    }
    while (i < to) {
        const int b = byte_at(s, i, depth);
        const uint32_t child = t->len++, from = i;
        while (i < to && byte_at(s, i, depth) == b)
            i++;
        t->label[child] = (uint8_t)b;
        t->keys[child].from = from;
        t->keys[child].to = i;
        t->keys[child].depth = depth + 1;
    }
}

static int build(struct om_arena *a, const struct sorter *s, struct tok_trie *out,
                 struct om_error *err)
{
    const size_t nodes = count_nodes(s);
    struct layout t = { .len = 1 };

    if (nodes >= UINT32_MAX)
        return om_fail(err, OM_E_LIMIT, "a vocabulary with too many bytes");
    t.label = om_arena_array(a, nodes, sizeof(*t.label));
    t.first = om_arena_array(a, nodes + 1, sizeof(*t.first));
    t.value = om_arena_array(a, nodes, sizeof(*t.value));
    t.keys = calloc(nodes, sizeof(*t.keys));
    if (!t.label || !t.first || !t.value || !t.keys) {
        free(t.keys);
        return om_fail(err, OM_E_NOMEM, "out of memory for a vocabulary of %zu tokens", s->len);
    }
    t.keys[0].to = (uint32_t)s->len;
    for (uint32_t node = 0; node < nodes; node++)
        lay_out(&t, s, node);
    t.first[nodes] = t.len;
    free(t.keys);
    *out = (struct tok_trie){ t.label, t.first, t.value, (uint32_t)nodes };
    return 0;
}

int tok_trie_build(struct om_arena *a, const struct tok_entry *entries, size_t n,
                   struct tok_trie *out, struct om_error *err)
{
    struct key *const keys = n < UINT32_MAX / 2 ? malloc((2 * n + 1) * sizeof(*keys)) : NULL;
    struct sorter s = { entries, keys, n };
    int rc;

    if (!keys)
        return om_fail(err, OM_E_NOMEM, "out of memory for a vocabulary of %zu tokens", n);
    for (size_t i = 0; i < n; i++)
        keys[i] = (struct key){ chunk_at(entries[i].text, 0), (uint32_t)i };
    if (sort_keys(&s, keys + n))
        rc = build(a, &s, out, err);
    else
        rc = om_fail(err, OM_E_NOMEM, "out of memory for a vocabulary of %zu tokens", n);
    free(keys);
    return rc;
}
