/* src/tok/cache.h: what a model made of short words, so that a word is taken apart once.
 *
 * Belongs to one work and so to one thread at a time. Bounded: when its memory is used up it starts afresh. */
#ifndef OM_TOK_CACHE_H
#define OM_TOK_CACHE_H

#include "tok/work.h"

enum { TOK_CACHE_KEY_MAX = 128, TOK_CACHE_PARTS_MAX = 128 };

struct tok_cache *tok_cache_new(void); /* NULL: no memory; the work goes on without */
void tok_cache_free(struct tok_cache *c); /* accepts NULL */
/* The parts of key, at most TOK_CACHE_KEY_MAX bytes; NULL when it is not there. *hash is for tok_cache_put(). */
const struct tok_part *tok_cache_get(struct tok_cache *c, om_sv key, size_t *n, uint64_t *hash);
void tok_cache_put(struct tok_cache *c, om_sv key, uint64_t hash, const struct tok_part *parts, size_t n);

#endif
