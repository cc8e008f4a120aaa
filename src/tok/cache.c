/* src/tok/cache.c: a bounded hash table of words; keys and parts lie in one block. */
#include "tok/cache.h"

#include <stdlib.h>

#include "tok/hash.h"

enum { SLOTS = 1 << 15, PROBES = 4, BLOCK_WORDS = 1 << 19 };

struct slot {
    uint32_t hash;
    uint32_t at; /* in block: the parts, then the key; 0: empty */
    uint16_t key_len, parts;
};

struct tok_cache {
    struct slot slots[SLOTS];
    uint32_t used; /* words of block */
    uint32_t block[BLOCK_WORDS];
};

struct tok_cache *tok_cache_new(void)
{
    struct tok_cache *const c = calloc(1, sizeof(*c));

    if (c)
        c->used = 1;
    return c;
}

void tok_cache_free(struct tok_cache *c)
{
    free(c);
}

static size_t part_words(size_t n)
{
    return n * (sizeof(struct tok_part) / sizeof(uint32_t));
}

const struct tok_part *tok_cache_get(struct tok_cache *c, om_sv key, size_t *n, uint64_t *hash)
{
    const uint64_t h = tok_hash(key.ptr, key.len, (uint64_t)(uintptr_t)c);

    *hash = h;
    for (size_t i = 0; i < PROBES; i++) {
        const struct slot *const s = &c->slots[((h >> 32) + i) & (SLOTS - 1)];
        if (s->at == 0)
            return NULL;
        if (s->hash != (uint32_t)h || s->key_len != key.len)
            continue;
        const uint32_t *const parts = c->block + s->at;
        if (memcmp(parts + part_words(s->parts), key.ptr, key.len) != 0)
            continue;
        *n = s->parts;
        return (const struct tok_part *)(const void *)parts;
    }
    return NULL;
}

void tok_cache_put(struct tok_cache *c, om_sv key, uint64_t hash, const struct tok_part *parts,
                   size_t n)
{
    const size_t words = part_words(n) + (key.len + 3) / 4;
    size_t i = 0;

    if (n > TOK_CACHE_PARTS_MAX)
        return;
    if (words > BLOCK_WORDS - c->used) {
        memset(c->slots, 0, sizeof(c->slots));
        c->used = 1;
    }
    while (i < PROBES - 1 && c->slots[((hash >> 32) + i) & (SLOTS - 1)].at != 0)
        i++;
    c->slots[((hash >> 32) + i) & (SLOTS - 1)] =
        (struct slot){ (uint32_t)hash, c->used, (uint16_t)key.len, (uint16_t)n };
    if (n)
        memcpy(c->block + c->used, parts, n * sizeof(*parts));
    memcpy(c->block + c->used + part_words(n), key.ptr, key.len);
    c->used += (uint32_t)words;
}
