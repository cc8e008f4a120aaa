/* src/tok/vocab.c: an array by id and a hash table over it. */
#include "tok/vocab.h"

#include "tok/hash.h"

/* Ids may leave gaps, but not so many that a small file takes a lot of memory. */
enum { GAPS_PER_TOKEN = 16, GAPS_FREE = 1 << 20 };

static int no_memory(size_t n, struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for a vocabulary of %zu tokens", n);
}

static size_t slot_of(const struct tok_vocab *v, om_sv text)
{
    size_t i = tok_hash(text.ptr, text.len, (uint64_t)(uintptr_t)v->slots) & v->mask;

    while (v->slots[i] && !om_sv_eq(v->tokens[v->slots[i] - 1], text))
        i = (i + 1) & v->mask;
    return i;
}

uint32_t tok_vocab_find(const struct tok_vocab *v, om_sv text)
{
    return v->limit ? v->slots[slot_of(v, text)] - 1 : UINT32_MAX;
}

om_sv tok_vocab_text(const struct tok_vocab *v, uint32_t id)
{
    return id < v->limit ? v->tokens[id] : (om_sv){ NULL, 0 };
}

static int measure(const struct tok_entry *entries, size_t n, struct tok_vocab *v, size_t *bytes,
                   struct om_error *err)
{
    *bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (entries[i].id >= GAPS_FREE + n * GAPS_PER_TOKEN || entries[i].id >= INT32_MAX)
            return om_fail(err, OM_E_LIMIT,
                           "token \"%.*s\" has the id %" PRIu32 " in a vocabulary of %zu",
                           OM_SV(entries[i].text), entries[i].id, n);
        v->limit = OM_MAX(v->limit, entries[i].id + 1);
        v->longest = OM_MAX(v->longest, entries[i].text.len);
        *bytes += entries[i].text.len + 1;
    }
    return 0;
}

static void insert(struct tok_vocab *v, const struct tok_entry *e, char *text)
{
    if (e->text.len)
        memcpy(text, e->text.ptr, e->text.len);
    const om_sv copy = { text, e->text.len };
    const size_t i = slot_of(v, copy);
    v->count += v->slots[i] == 0;
    v->tokens[e->id] = copy;
    v->slots[i] = e->id + 1;
}

int tok_vocab_build(struct om_arena *a, const struct tok_entry *entries, size_t n,
                    struct tok_vocab *out, struct om_error *err)
{
    struct tok_vocab v = { .mask = 15 };
    size_t bytes;

    OM_TRY(measure(entries, n, &v, &bytes, err));
    while (v.mask < 2 * n)
        v.mask = 2 * v.mask + 1;
    v.slots = om_arena_array(a, v.mask + 1, sizeof(*v.slots));
    v.tokens = om_arena_array(a, v.limit, sizeof(*v.tokens));
    char *texts = om_arena_alloc(a, bytes);
    if (!v.slots || !v.tokens || !texts)
        return no_memory(n, err);
    for (size_t i = 0; i < n; i++) {
        insert(&v, &entries[i], texts);
        texts += entries[i].text.len + 1;
    }
    *out = v;
    return 0;
}
