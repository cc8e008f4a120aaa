/* src/tok/added.h: added tokens, which are found in a text before anything else is done to it. */
#ifndef OM_TOK_ADDED_H
#define OM_TOK_ADDED_H

#include "tok/model.h"
#include "tok/stage.h"
#include "tok/trie.h"

struct tok_added_token {
    om_sv content;
    om_sv pattern; /* what is looked for: content, or its normalized form */
    uint32_t id;
    bool special, single_word, lstrip, rstrip, normalized;
};

struct tok_added_set {
    struct tok_trie trie; /* of patterns; values are indexes of tokens. len 0: no tokens */
    bool first[256];      /* bytes that a pattern begins with */
};

struct tok_added {
    struct tok_added_token *tokens;
    size_t len;
    struct tok_vocab index;   /* content to the index in tokens */
    uint32_t *by_id;          /* index + 1; 0: not an added token */
    uint32_t limit;           /* of ids, the model's included */
    size_t beyond;            /* tokens that the model does not have */
    const struct tok_model *codes; /* the model, when a code in front of a text is a token of it; NULL: codes are text */
    struct tok_added_set raw, normalized; /* found before and after normalization */
};

/* Number the tokens (ids are given here: the model's id of an equal token, or the next free one) and build the sets.
 * tokens is in the arena and may lose duplicates. */
int tok_added_build(struct om_arena *a, const struct tok_model *m, const struct tok_component *normalizer,
                    struct tok_added_token *tokens, size_t n, struct tok_added *out, struct om_error *err);
const struct tok_added_token *tok_added_find(const struct tok_added *d, uint32_t id); /* NULL: none */
/* Cut the text of w into added tokens and normalized text between them. */
void tok_added_split(const struct tok_added *d, const struct tok_component *normalizer, struct tok_work *w);

#endif
