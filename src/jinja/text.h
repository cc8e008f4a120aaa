/* src/jinja/text.h: characters and texts as Python sees them: code points, white space, cases. */
#ifndef OM_JINJA_TEXT_H
#define OM_JINJA_TEXT_H

#include "base/base.h"
#include "base/buf.h"

/* The code point at s of valid UTF-8, and its length in bytes. */
uint32_t jj_decode(const char *s, size_t *len);
void jj_encode(struct om_buf *b, uint32_t c);
size_t jj_count(om_sv s);                     /* code points */
size_t jj_byte_of(om_sv s, size_t chars, size_t index); /* where a code point begins; chars is the count of s */

bool jj_is_space(uint32_t c);
bool jj_is_word(uint32_t c);      /* \w */
bool jj_is_printable(uint32_t c);
bool jj_is_alpha(uint32_t c);
bool jj_is_digit(uint32_t c);
bool jj_is_numeric(uint32_t c);
bool jj_is_upper(uint32_t c); /* title case letters as well */
bool jj_is_lower(uint32_t c);
bool jj_is_title(uint32_t c);

enum jj_case { JJ_LOWER, JJ_UPPER, JJ_TITLE, JJ_FOLD, JJ_SWAP };
void jj_put_case(struct om_buf *b, om_sv s, size_t at, uint32_t c, enum jj_case to); /* c stands at byte at of s */
void jj_put_all(struct om_buf *b, om_sv s, enum jj_case to);

/* Without characters of set, or white space where set is NULL, at the left, the right, or both ends. */
enum jj_ends { JJ_LEFT = 1, JJ_RIGHT = 2, JJ_BOTH = 3 };
om_sv jj_strip(om_sv s, const om_sv *set, enum jj_ends ends);

/* The first or last place of part in s at or after from; -1: none. */
int64_t jj_find_text(om_sv s, om_sv part, size_t from);
int64_t jj_find_last(om_sv s, om_sv part);

#endif
