/* src/tok/tok.h: a tokenizer, and building one from parts.
 *
 * Whoever reads another format than tokenizer.json (SentencePiece models, vocab.txt, vocab.json with merges.txt) fills a builder:
 * components as JSON, in the form that tokenizer.json has them, the vocabulary as arrays. */
#ifndef OM_TOK_TOK_H
#define OM_TOK_TOK_H

#include <stdatomic.h>

#include "tok/added.h"
#include "tok/chat.h"
#include "tok/model.h"
#include "tok/post.h"
#include "tok/stage.h"

enum { TOK_WORKS = 64 }; /* works that are kept between calls */

struct tok_regexes { /* compiled expressions, which are not in the arena */
    struct tok_regex **items;
    size_t len, cap;
};

struct om_tokenizer {
    struct om_arena arena;
    struct tok_component normalizer, pre_tokenizer, post_processor, decoder;
    struct tok_model model;
    struct tok_added added;
    struct om_truncation truncation;
    struct om_padding padding;
    bool has_truncation, has_padding, trims;
    struct om_tokenizer_info info;
    struct tok_chat chat;
    const char *dir, *file; /* where it was opened from; file NULL: converted from dir; dir NULL: from memory */
    struct tok_regexes regexes;
    struct {
        uint32_t lead, trail;
    } *spaces; /* by id: white space at the ends of tokens; NULL unless trims */
    _Atomic(struct tok_work *) works[TOK_WORKS];
};

/* ---- building ---- */

struct tok_builder {
    struct om_tokenizer *tok;
    struct tok_loader loader;
};

int tok_builder_init(struct tok_builder *b, struct om_error *err);
void tok_builder_abort(struct tok_builder *b); /* after any failure, in place of tok_builder_finish() */
/* A component in the form of tokenizer.json; NULL or null: none. */
int tok_builder_component(struct tok_builder *b, const struct tok_stage *stage, const struct om_json *j);
int tok_builder_component_text(struct tok_builder *b, const struct tok_stage *stage, const char *json);
int tok_builder_model(struct tok_builder *b, const struct tok_model_parts *parts);
/* The added tokens, after normalizer and model; ids are given as tok_added_build() says. Texts are copied. */
int tok_builder_added(struct tok_builder *b, const struct tok_added_token *tokens, size_t n);
int tok_builder_finish(struct tok_builder *b, struct om_tokenizer **out);

/* ---- reading ---- */

int tok_json_read(struct tok_builder *b, om_sv text);                      /* tokenizer.json */
int tok_info_read(struct tok_builder *b, const char *dir);                 /* tokenizer_config.json, special_tokens_map.json */
int tok_open_text(om_sv json, struct om_tokenizer **out, struct om_error *err); /* a tokenizer.json in memory */

/* om_tokenizer_open(); target: of the language that a Marian model translates into. */
int tok_open(const char *path, bool target, struct om_tokenizer **out, struct om_error *err);
/* The names of the files that a tokenizer may consist of; NULL-terminated. The last one is tokenizer.json. */
extern const char *const tok_files[];

/* ---- works ---- */

struct tok_work *tok_work_take(const struct om_tokenizer *t);
void tok_work_give(const struct om_tokenizer *t, struct tok_work *w);

/* A token by id, added ones first; ptr NULL: none. */
om_sv tok_text_of(const struct om_tokenizer *t, uint32_t id);
/* White space at both ends of a token's text, as trim_offsets counts it. */
void tok_count_spaces(om_sv text, uint32_t *lead, uint32_t *trail);

#endif
