/* src/tok/regex.h: what splits and replaces: a character, a class of characters, a literal, or a regular expression.
 *
 * Expressions are written in the dialect of Oniguruma (Ruby syntax); they are translated and compiled once by PCRE2 with its
 * JIT. One match may take a bounded number of steps; beyond, the call fails. */
#ifndef OM_TOK_REGEX_H
#define OM_TOK_REGEX_H

#include "base/buf.h"
#include "tok/work.h"

struct tok_regex;   /* compiled; immutable */
struct tok_matcher; /* memory for matching, one per work */

int tok_regex_new(om_sv pattern, struct tok_regex **out, struct om_error *err);
void tok_regex_free(struct tok_regex *re); /* accepts NULL */
void tok_matcher_free(struct tok_matcher *m);
/* The PCRE2 expression for an Oniguruma one, for tests and messages. */
int tok_regex_translate(om_sv pattern, struct om_buf *out, struct om_error *err);

/* Is it an expression of PCRE2? 1, 0, or a negative code when there was no memory to find out. */
int tok_regex_compiles(om_sv pcre2, struct om_error *err);

struct tok_pattern {
    const struct tok_regex *regex; /* or NULL, then: */
    bool (*is)(uint32_t c);        /* or NULL, then: */
    om_sv literal;
};

/* Fill w->matches with the parts of p, in order, that match and those between. */
void tok_find(struct tok_work *w, const struct tok_pattern *pattern, const struct tok_piece *p);
/* The same for bytes that are no piece. */
void tok_find_in(struct tok_work *w, const struct tok_pattern *pattern, const char *text, uint32_t begin, uint32_t end);

#endif
