/* src/tok/decode.h: decoders, which turn a list of tokens into text. */
#ifndef OM_TOK_DECODE_H
#define OM_TOK_DECODE_H

#include "base/buf.h"
#include "tok/stage.h"

/* A list of strings in one buffer; sticky like the buffer. */
struct tok_strings {
    struct om_buf text;
    size_t *ends; /* where each string ends */
    size_t len, cap;
};
#define TOK_STRINGS_INIT { .text = OM_BUF_INIT(SIZE_MAX / 2) }

void tok_strings_release(struct tok_strings *s);
void tok_strings_end(struct tok_strings *s); /* what was added to text since the last end is a string */
om_sv tok_strings_at(const struct tok_strings *s, size_t i);

/* Run the decoder (kind NULL: tokens are joined with spaces) over *s, and leave its text in *out. work is for regular
 * expressions. */
int tok_decode(const struct tok_component *c, struct tok_work *w, struct tok_strings *s, struct om_buf *out);
/* What Transformers calls clean_up_tokenization: no space before punctuation and English contractions. */
void tok_clean_up(om_sv text, bool word_piece, struct om_buf *out);
void tok_utf8_repair(om_sv bytes, struct om_buf *out); /* U+FFFD for what is not UTF-8 */

#endif
