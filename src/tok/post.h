/* src/tok/post.h: what happens to tokens: truncation, post-processors, padding.
 *
 * Until the very end a window is a list of segments, each a range of tokens or a few special ones. Windows of pairs multiply, so
 * segments are shared and copied by reference; tok_post_write() makes the arrays that the caller gets. */
#ifndef OM_TOK_POST_H
#define OM_TOK_POST_H

#include "tok/stage.h"
#include "tok/work.h"

struct tok_segment {
    const struct tok_token *tokens; /* NULL: special ones, whose ids are below */
    const uint32_t *ids;
    uint32_t len, type_id;
    bool special;                   /* in the special-tokens mask */
};

/* Which tokens belong to a text. */
struct tok_range {
    uint32_t sequence, begin, end;
};

struct tok_window {
    struct tok_segment *segments;
    struct tok_range *ranges;
    uint32_t segments_len, ranges_len;
    uint32_t len; /* tokens */
};

/* A window and those that truncation made beside it. */
struct tok_enc {
    struct tok_window main, *overflow;
    size_t overflow_len;
};

struct tok_encs {
    struct tok_enc *items;
    size_t len;
};

/* Tokens that a post-processor adds. */
size_t tok_post_added(const struct tok_component *c, bool pair);
/* Does a post-processor look at the white space of tokens? */
bool tok_post_trims(const struct tok_component *c);

/* One text of n tokens as a window. */
struct tok_enc tok_enc_new(struct tok_work *w, const struct tok_token *tokens, size_t n, uint32_t type_id);
/* encs holds one text, or a text and its pair; added is what the post-processor will add. */
void tok_truncate(struct tok_work *w, struct tok_encs *encs, const struct om_truncation *t, size_t added);
/* Run the post-processor (kind NULL: none) and join everything into one. */
struct tok_enc tok_post_process(const struct tok_component *c, struct tok_work *w, struct tok_encs *encs, bool special);
/* The result, padded when padding is not NULL. */
int tok_post_write(const struct tok_enc *e, const struct om_padding *padding, struct om_encoding **out, struct om_error *err);

#endif
