/* src/tok/hash.h: a hash of short byte strings, eight bytes at a time. */
#ifndef OM_TOK_HASH_H
#define OM_TOK_HASH_H

#include "base/base.h"

static inline uint64_t tok_mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9FB21C651E98DF25u;
    return h ^ h >> 32;
}

static inline uint64_t tok_hash(const char *s, size_t len, uint64_t seed)
{
    uint64_t h = tok_mix(seed, len), v;

    for (; len >= 8; s += 8, len -= 8) {
        memcpy(&v, s, 8);
        h = tok_mix(h, v);
    }
    if (len >= 4) {
        uint32_t first, last;
        memcpy(&first, s, 4);
        memcpy(&last, s + len - 4, 4);
        v = (uint64_t)first << 32 | last;
    } else if (len > 0) {
        v = (uint64_t)(uint8_t)s[0] << 16 | (uint64_t)(uint8_t)s[len / 2] << 8 | (uint8_t)s[len - 1];
    } else {
        return h;
    }
    return tok_mix(h, v);
}

#endif
