/* src/tok/charsmap.h: the compiled normalization rules of SentencePiece (precompiled_charsmap).
 *
 * The blob is the length of a double array in bytes (32 bits, little-endian), the array, and the texts it points into, each closed by a
 * NUL. As the tokenizers library does: a grapheme cluster under six bytes is looked up as a whole and its shortest prefix
 * that is a rule replaces all of it; every other text is looked up character by character. */
#ifndef OM_TOK_CHARSMAP_H
#define OM_TOK_CHARSMAP_H

#include "tok/work.h"

struct tok_charsmap {
    const uint32_t *units;
    size_t len;
    om_sv texts;
    bool ascii[128]; /* has a rule */
    bool longest;    /* SentencePiece's own way: the longest rule at each place, clusters or not */
};

/* Base64 of the blob; "" for no rules. */
int tok_charsmap_read(struct om_arena *a, om_sv base64, struct tok_charsmap *out, struct om_error *err);
int tok_charsmap_parse(struct om_arena *a, om_sv blob, struct tok_charsmap *out, struct om_error *err);
void tok_charsmap_apply(const struct tok_charsmap *m, struct tok_work *w, struct tok_piece *p);

#endif
