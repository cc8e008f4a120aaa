/* src/tok/model.h: the models, which turn a word into tokens.
 *
 * A model is built from parts, whatever file they come from: tokenizer.json here, vocab.txt, merges.txt or a SentencePiece
 * model elsewhere. */
#ifndef OM_TOK_MODEL_H
#define OM_TOK_MODEL_H

#include "tok/vocab.h"
#include "tok/work.h"

enum tok_model_type { TOK_WORD_PIECE, TOK_BPE, TOK_UNIGRAM, TOK_WORD_LEVEL };

struct tok_merge {
    om_sv left, right;
};

/* Everything is borrowed and copied by tok_model_build(). */
struct tok_model_parts {
    enum tok_model_type type;
    const struct tok_entry *entries;
    size_t len;
    const struct tok_merge *merges; /* BPE, best first */
    size_t merges_len;
    om_sv unk_token;                /* all but Unigram; ptr NULL: none */
    uint32_t unk_id;                /* Unigram; TOK_NONE: none */
    om_sv prefix, suffix;           /* continuing_subword_prefix, end_of_word_suffix; empty: none */
    size_t max_chars;               /* WordPiece */
    bool byte_fallback, fuse_unk, ignore_merges;
    bool single;                    /* Unigram: scores are added in single precision */
    uint32_t known;                 /* Unigram: later ids are pieces without a token, which become unknown ones */
    bool codes;                     /* Marian: ">>...<<" in front of a text is one token, known or not */
};
#define TOK_SCORE_NEVER (-1e308) /* Unigram: a name that no text is cut into */
#define TOK_MODEL_PARTS_INIT { .unk_id = TOK_NONE, .max_chars = 100, .known = TOK_NONE }

struct tok_model;

struct tok_model_kind {
    const char *name;
    /* Append what becomes of text to w->parts. */
    void (*run)(const struct tok_model *m, struct tok_work *w, om_sv text);
    bool cached; /* worth keeping words */
};

struct tok_model {
    const struct tok_model_kind *kind;
    const void *conf; /* the kind's own struct */
    struct tok_vocab vocab;
    om_sv unk_token;
    bool has_prefix;         /* tokens inside of words begin with a prefix of their own, as "##" */
    uint32_t unk_id;         /* TOK_NONE: not in the vocabulary */
    uint32_t known;          /* ids from here on are nobody's token; TOK_NONE: there are none */
    uint32_t byte_ids[256];  /* <0x00> ...; TOK_NONE where one is missing */
    bool byte_fallback;
    bool codes;              /* as in the parts */
    om_sv cut;               /* no token has this behind anything but itself: words begin there. Empty: none */
    bool raw;                /* text is bytes, the vocabulary has their characters */
};

int tok_model_build(struct om_arena *a, const struct tok_model_parts *parts, struct tok_model *out, struct om_error *err);
/* Let the model read bytes in place of the characters of the byte alphabet. False: it cannot with the same result. */
bool tok_model_read_bytes(struct tok_model *m);
/* Tokenize text into w->parts, which is emptied first. */
void tok_model_run(const struct tok_model *m, struct tok_work *w, om_sv text);

/* for the kinds */
void tok_part_add(struct tok_work *w, uint32_t id, size_t begin, size_t end);
int tok_unk_missing(const struct tok_model *m, struct tok_work *w);
void *tok_model_buffer(struct tok_work *w, size_t n, size_t elem); /* w->model with room; NULL: failed */

extern const struct tok_model_kind tok_model_bpe, tok_model_unigram, tok_model_word_piece, tok_model_word_level;
int tok_bpe_build(struct om_arena *a, const struct tok_model_parts *p, struct tok_model *m, struct om_error *err);
int tok_unigram_build(struct om_arena *a, const struct tok_model_parts *p, struct tok_model *m, struct om_error *err);
int tok_word_piece_build(struct om_arena *a, const struct tok_model_parts *p, struct tok_model *m, struct om_error *err);
bool tok_bpe_can_read_bytes(const struct tok_model *m);

#endif
