/* src/tok/trie.h: all texts of a vocabulary as a tree of bytes: which are prefixes of a text? */
#ifndef OM_TOK_TRIE_H
#define OM_TOK_TRIE_H

#include "tok/vocab.h"

/* Node 0 is the root. The children of node i are [first[i], first[i + 1]). */
struct tok_trie {
    const uint8_t *label;
    const uint32_t *first;
    const uint32_t *value; /* TOK_NONE: no text ends here */
    uint32_t len;
};

/* Of equal texts the last entry counts. Empty texts are left out. */
int tok_trie_build(struct om_arena *a, const struct tok_entry *entries, size_t n, struct tok_trie *out, struct om_error *err);

/* The child of node for a byte; 0 when there is none. */
static inline uint32_t tok_trie_step(const struct tok_trie *t, uint32_t node, uint8_t byte)
{
    const uint32_t first = t->first[node], n = t->first[node + 1] - first;

    if (n == 1)
        return t->label[first] == byte ? first : 0;
    const uint8_t *const hit = n ? memchr(t->label + first, byte, n) : NULL;
    return hit ? (uint32_t)(hit - t->label) : 0;
}

#endif
