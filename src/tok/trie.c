/* src/tok/trie.c: sorts the texts, counts nodes, then lays them out breadth first. */
#include "tok/trie.h"

#include <stdlib.h>

struct key {
    om_sv text;
    uint32_t id, order;
};

/* The byte at depth; ends sort first. */
static int byte_at(const struct key *k, size_t depth)
{
    return depth < k->text.len ? (uint8_t)k->text.ptr[depth] : -1;
}

static void swap(struct key *a, struct key *b)
{
    const struct key t = *a;

    *a = *b;
    *b = t;
}

static int median(int a, int b, int c)
{
    return OM_MAX(OM_MIN(a, b), OM_MIN(OM_MAX(a, b), c));
}

/* Three-way quicksort by bytes (Bentley and Sedgewick, 1997). The stack holds what is still to do;
 * the larger part is pushed first, so that its depth is bounded by the bits of n and the bytes of a
 * text. */
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

static bool sort_keys(struct key *k, size_t n)
{
    struct spans todo = { 0 };
    bool ok = push(&todo, 0, n, 0);

    while (ok && todo.len) {
        const struct span s = todo.items[--todo.len];
        const int pivot =
            median(byte_at(&k[s.from], s.depth), byte_at(&k[s.from + (s.to - s.from) / 2], s.depth),
                   byte_at(&k[s.to - 1], s.depth));
        size_t less = s.from, more = s.to, i = s.from;
        while (i < more) {
            const int b = byte_at(&k[i], s.depth);
            if (b < pivot)
                swap(&k[less++], &k[i++]);
            else if (b > pivot)
                swap(&k[i], &k[--more]);
            else
                i++;
        }
        ok = push(&todo, s.from, less, s.depth) && push(&todo, more, s.to, s.depth);
        if (pivot >= 0) /* else they are equal */
            ok = ok && push(&todo, less, more, s.depth + 1);
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

static size_t count_nodes(const struct key *k, size_t n)
{
    size_t nodes = 1;

    for (size_t i = 0; i < n; i++)
        nodes += k[i].text.len - (i ? common(k[i - 1].text, k[i].text) : 0);
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
static void lay_out(struct layout *t, const struct key *k, uint32_t node)
{
    uint32_t i = t->keys[node].from, last = 0;
    const uint32_t to = t->keys[node].to, depth = t->keys[node].depth;

    t->first[node] = t->len;
    t->value[node] = UINT32_MAX;
    for (; i < to && k[i].text.len == depth; i++) {
        if (depth && k[i].order >= last) {
            t->value[node] = k[i].id;
            last = k[i].order;
        }
    }
    while (i < to) {
        const int b = byte_at(&k[i], depth);
        const uint32_t child = t->len++, from = i;
        while (i < to && byte_at(&k[i], depth) == b)
            i++;
        t->label[child] = (uint8_t)b;
        t->keys[child].from = from;
        t->keys[child].to = i;
        t->keys[child].depth = depth + 1;
    }
}

static int build(struct om_arena *a, const struct key *k, size_t n, struct tok_trie *out,
                 struct om_error *err)
{
    const size_t nodes = count_nodes(k, n);
    struct layout t = { .len = 1 };

    if (nodes >= UINT32_MAX)
        return om_fail(err, OM_E_LIMIT, "a vocabulary with too many bytes");
    t.label = om_arena_array(a, nodes, sizeof(*t.label));
    t.first = om_arena_array(a, nodes + 1, sizeof(*t.first));
    t.value = om_arena_array(a, nodes, sizeof(*t.value));
    t.keys = calloc(nodes, sizeof(*t.keys));
    if (!t.label || !t.first || !t.value || !t.keys) {
        free(t.keys);
        return om_fail(err, OM_E_NOMEM, "out of memory for a vocabulary of %zu tokens", n);
    }
    t.keys[0].to = (uint32_t)n;
    for (uint32_t node = 0; node < nodes; node++)
        lay_out(&t, k, node);
    t.first[nodes] = t.len;
    free(t.keys);
    *out = (struct tok_trie){ t.label, t.first, t.value, (uint32_t)nodes };
    return 0;
}

int tok_trie_build(struct om_arena *a, const struct tok_entry *entries, size_t n,
                   struct tok_trie *out, struct om_error *err)
{
    struct key *const k = n < UINT32_MAX ? calloc(n ? n : 1, sizeof(*k)) : NULL;
    int rc;

    if (!k)
        return om_fail(err, OM_E_NOMEM, "out of memory for a vocabulary of %zu tokens", n);
    for (size_t i = 0; i < n; i++)
        k[i] = (struct key){ entries[i].text, entries[i].id, (uint32_t)i };
    if (sort_keys(k, n))
        rc = build(a, k, n, out, err);
    else
        rc = om_fail(err, OM_E_NOMEM, "out of memory for a vocabulary of %zu tokens", n);
    free(k);
    return rc;
}
