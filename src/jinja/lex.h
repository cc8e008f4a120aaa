/* src/jinja/lex.h: the text of a template to tokens. */
#ifndef OM_JINJA_LEX_H
#define OM_JINJA_LEX_H

#include "base/arena.h"
#include "base/buf.h"

enum jj_token_type { JJ_T_EOF, JJ_T_DATA, JJ_T_BLOCK, JJ_T_BLOCK_END, JJ_T_PRINT, JJ_T_PRINT_END, JJ_T_NAME, JJ_T_STRING, JJ_T_INT, JJ_T_REAL, JJ_T_OP };

struct jj_token {
    enum jj_token_type type;
    uint32_t line;
    om_sv text; /* as written; data and strings: what they stand for, in the arena */
    union {
        int64_t i;
        double d;
    };
};

struct jj_tokens {
    struct jj_token *items; /* ends with JJ_T_EOF */
    size_t len, cap;
};

/* Messages begin with "NAME, line N: ". tokens->items is to be freed, after a failure as well. */
int jj_lex(struct om_arena *arena, om_sv source, const char *name, struct jj_tokens *tokens, struct om_error *err);

#endif
