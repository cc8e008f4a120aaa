/* src/tok/unicode.h: what tokenizers ask about characters.
 *
 * utf8proc answers where the tokenizers library follows the current Unicode standard. Where its tables are
 * older (punctuation, combining marks, scripts, decompositions), tables of our own hold what it knows: see tools/ucd.py. */
#ifndef OM_TOK_UNICODE_H
#define OM_TOK_UNICODE_H

#include "base/base.h"

/* The code point at s of valid UTF-8, and its length in bytes. */
uint32_t tok_utf8_decode(const char *s, size_t *len);
size_t tok_utf8_encode(uint32_t c, char out[4]);
/* The code point at s, of at least one byte of anything: U+FFFD for an invalid part, whose length (the longest
 * prefix of a character, at least 1) is in *len. */
uint32_t tok_utf8_lossy(const char *s, size_t avail, size_t *len);
size_t tok_utf8_count(om_sv s); /* code points of valid UTF-8 */
bool tok_is_ascii(om_sv s);

static inline bool tok_is_cont(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

bool tok_is_space(uint32_t c);        /* White_Space */
bool tok_is_word(uint32_t c);         /* \w */
bool tok_is_numeric(uint32_t c);      /* Nd, Nl, No */
bool tok_is_punctuation(uint32_t c);  /* P*, and all ASCII that is neither letter, digit, space nor control */
bool tok_is_control(uint32_t c);      /* Cc, Cf, Co but for \t \n \r */
bool tok_is_mark(uint32_t c);         /* Mn, Mc, Me of the normalization tables */
bool tok_is_nonspacing(uint32_t c);   /* Mn of the tables behind BertNormalizer */
bool tok_is_cjk(uint32_t c);          /* the blocks that BERT puts spaces around */
unsigned tok_script(uint32_t c);      /* a number from 1 on; 0 goes with every script */
int tok_combining_class(uint32_t c);

enum { TOK_LOWER_MAX = 2, TOK_DECOMPOSED_MAX = 24 };
size_t tok_lower(uint32_t c, uint32_t out[TOK_LOWER_MAX]);
/* The full decomposition, at most TOK_DECOMPOSED_MAX code points. */
size_t tok_decompose(uint32_t c, bool compatible, int32_t out[TOK_DECOMPOSED_MAX]);
/* The character that a and b compose to, 0 when there is none. */
uint32_t tok_compose(uint32_t a, uint32_t b);
/* Does a grapheme cluster end between a and b? *state is 0 at the start of a text. */
bool tok_cluster_break(uint32_t a, uint32_t b, int32_t *state);

/* The character that stands for a byte in byte-level vocabularies, and back (-1: none). */
uint32_t tok_byte_char(uint8_t byte);
int tok_char_byte(uint32_t c);

#endif
