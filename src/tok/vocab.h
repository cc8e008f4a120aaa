/* src/tok/vocab.h: tokens and their ids, both ways. */
#ifndef OM_TOK_VOCAB_H
#define OM_TOK_VOCAB_H

#include "base/arena.h"
#include "base/base.h"

struct tok_entry {
    om_sv text;
    uint32_t id;
    double score; /* of Unigram */
};

struct tok_vocab {
    om_sv *tokens;  /* by id; ptr NULL: there is none */
    uint32_t limit; /* ids are below */
    size_t count;   /* different texts */
    uint32_t *slots; /* id + 1; 0: empty */
    size_t mask;
    size_t longest; /* bytes */
};

/* Texts are copied. Of equal texts, and of equal ids, the last entry counts. */
int tok_vocab_build(struct om_arena *a, const struct tok_entry *entries, size_t n, struct tok_vocab *out, struct om_error *err);
/* TOK_NONE (UINT32_MAX) when there is none. */
uint32_t tok_vocab_find(const struct tok_vocab *v, om_sv text);
om_sv tok_vocab_text(const struct tok_vocab *v, uint32_t id); /* ptr NULL when there is none */

#endif
