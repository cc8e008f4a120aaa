/* src/tok/work.h: one call's memory, and its text as pieces that know where they come from.
 *
 * All text of a call lies in one growing pool. The original is at its start; what normalizers write is appended. A piece is
 * a range of the pool. Where a piece holds the original's characters at their own lengths (no normalizer, or one that
 * exchanges ASCII letters), the pool position minus `shift` is the position in the original and nothing else is stored;
 * otherwise align[] has the original's byte range for every byte of the pool.
 *
 * A work is taken from the tokenizer for one call and given back, so that buffers and the word cache stay warm. Its functions
 * are sticky: the first failure is kept in rc and *err, later calls do nothing. */
#ifndef OM_TOK_WORK_H
#define OM_TOK_WORK_H

#include "base/arena.h"
#include "base/base.h"

#include <optimum/tokenizer.h>

#define TOK_NONE UINT32_MAX   /* no token */
#define TOK_MAPPED UINT32_MAX /* a shift: align[] holds */
#define TOK_TEXT_MAX ((size_t)1 << 30)
#define TOK_POOL_MAX ((size_t)0xF0000000u)

struct tok_piece {
    uint32_t begin, end; /* in the pool */
    uint32_t origin;     /* where it begins in the original, however it was rewritten since */
    uint32_t shift;
    uint32_t token;      /* an added token; TOK_NONE: text for the model */
};

/* A part of a piece, and whether a pattern matched it. */
struct tok_match {
    uint32_t begin, end;
    bool hit;
};

struct tok_token {
    uint32_t id;
    struct om_offsets bytes, chars;
    int32_t word;
    uint32_t lead, trail; /* white space at the ends of the token's text; counted only for post-processors that trim */
};

/* What a model makes of a piece. len counts bytes of the piece, which follow each other but for overlap: bytes of a
 * character in byte fallback, each of which covers the whole of it. */
struct tok_part {
    uint32_t id, begin, end;
};

struct tok_list { /* a growing array of any type */
    void *items;
    size_t len, cap;
};

struct tok_cache;
struct tok_matcher;

struct tok_work {
    char *bytes;
    size_t len, cap;
    struct om_offsets *align;
    size_t align_cap;
    size_t original_len;
    bool ascii;                   /* the original: bytes and code points are the same */
    uint32_t *chars;              /* else: the code point that each of its bytes belongs to */
    size_t chars_cap;
    struct tok_piece *pieces, *next;
    size_t pieces_len, pieces_cap, next_len, next_cap;
    struct tok_match *matches;
    size_t matches_len, matches_cap;
    struct tok_token *tokens;
    size_t tokens_len, tokens_cap;
    struct tok_part *parts;
    size_t parts_len, parts_cap;
    struct om_arena arena;        /* gone after the call */
    struct tok_cache *cache;
    struct tok_matcher *matcher;  /* of regular expressions */
    void *model;                  /* the model's own buffers */
    size_t model_cap;
    void *forms;                  /* those of normal forms */
    size_t forms_cap;
    int rc;
    struct om_error *err;
};

struct tok_work *tok_work_new(void);
void tok_work_free(struct tok_work *w); /* accepts NULL */
void tok_work_start(struct tok_work *w, struct om_error *err);
/* The same for the pair's text: tokens of the first stay. */
void tok_work_text(struct tok_work *w, om_sv text);
void tok_work_trim(struct tok_work *w); /* give back what an unusually long text took */

int tok_fail(struct tok_work *w, int code, const char *fmt, ...) OM_PRINTF(3, 4);
int tok_no_memory(struct tok_work *w);
/* Room for need elements; false after recording the failure. */
bool tok_room(struct tok_work *w, void *items, size_t *cap, size_t need, size_t elem);

static inline om_sv tok_piece_text(const struct tok_work *w, const struct tok_piece *p)
{
    return (om_sv){ w->bytes + p->begin, p->end - p->begin };
}

/* The original's bytes for the pool's byte at. */
struct om_offsets tok_align(const struct tok_work *w, const struct tok_piece *p, uint32_t at);
/* [begin, end) of p as a piece of its own. */
struct tok_piece tok_slice(const struct tok_work *w, const struct tok_piece *p, uint32_t begin, uint32_t end);
/* Append to w->next; empty pieces are dropped. */
void tok_emit(struct tok_work *w, const struct tok_piece *p);
/* w->next becomes w->pieces. */
void tok_swap(struct tok_work *w);
void tok_match_add(struct tok_work *w, uint32_t begin, uint32_t end, bool hit);

/* ---- rewriting a piece ---- */

struct tok_rewrite {
    struct tok_work *w;
    struct tok_piece src;
    uint32_t at;    /* the next byte of src */
    uint32_t start; /* the first byte written */
};

struct tok_rewrite tok_rewrite_begin(struct tok_work *w, const struct tok_piece *p);
/* Write c. change 0: it replaces the next character of the source; -n: that one, and n more are dropped; 1: nothing
 * of the source is used, c belongs to the character before. */
void tok_put(struct tok_rewrite *r, uint32_t c, int change);
void tok_keep(struct tok_rewrite *r, size_t n); /* copy n bytes */
void tok_drop(struct tok_rewrite *r, size_t n); /* pass over n bytes */
void tok_rewrite_end(struct tok_rewrite *r, struct tok_piece *p);
/* Exchange the ASCII characters of a piece that holds no others, by a table of 128. */
void tok_map_ascii(struct tok_work *w, struct tok_piece *p, const char *table);
/* Put s before the first character, whose place in the original it shares. */
void tok_prepend(struct tok_work *w, struct tok_piece *p, om_sv s);

#endif
