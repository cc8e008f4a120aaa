/* src/tok/convert.h: a tokenizer.json from the files that came before it.
 *
 * A directory without tokenizer.json has vocab.txt, vocab.json with merges.txt, or a SentencePiece model. Which tokenizer they
 * make depends on the class that Transformers would use; classes.c is the table of classes. The result is a text in the
 * form of tokenizer.json, so that it can be opened and written like any other. */
#ifndef OM_TOK_CONVERT_H
#define OM_TOK_CONVERT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/map.h"
#include "tok/spm.h"

enum tok_role { TOK_BOS, TOK_EOS, TOK_UNK, TOK_SEP, TOK_PAD, TOK_CLS, TOK_MASK, TOK_ROLES };

enum tok_files { TOK_FILES_WORD_PIECE, TOK_FILES_BYTE_BPE, TOK_FILES_SPM, TOK_FILES_MARIAN };

enum tok_norm { TOK_NORM_SPM, TOK_NORM_ALBERT, TOK_NORM_REMBERT, TOK_NORM_DEBERTA, TOK_NORM_LLAMA, TOK_NORM_GEMMA };

/* What surrounds vocab.json with merges.txt. */
enum tok_bpe { TOK_BPE_GPT2, TOK_BPE_QWEN2, TOK_BPE_CLIP, TOK_BPE_OPENAI, TOK_BPE_HERBERT };

struct tok_convert;

/* A class. Templates are words: a role in lower case, "lang", one of Whisper's ("start", "speech", "task", "times"), "A" or "B",
 * or a token after "=", each with ":1" for the second type. */
struct tok_class {
    const char *name;        /* without "Fast" */
    const char *model_types; /* of config.json, between spaces; for directories that name no class */
    enum tok_files files;
    enum tok_norm norm;
    enum tok_bpe bpe;
    const char *tokens[TOK_ROLES];
    bool mask_lstrip;        /* the mask token takes the space before it */
    bool mask_normalized;    /* and is looked for in normalized text */
    bool pad_left;           /* by default */
    bool bos_option, eos_option; /* add_bos_token and add_eos_token decide; the first is the default of add_bos_token */
    bool modern;             /* legacy is off by default */
    bool deaf;               /* legacy and add_prefix_space of the configuration do not count */
    bool prefix_space;       /* byte level: the default of add_prefix_space */
    bool whisper;       /* byte level: Whisper: special tokens are looked for in the text as it is, and settings decide over the template */
    bool writes_unk;         /* byte level: the model knows its unknown token */
    bool cased, keep_accents; /* defaults of do_lower_case and keep_accents */
    const char *single, *pair;
    const char *legacy_single, *legacy_pair; /* with legacy_behaviour; NULL: there is none */
    const char *language;    /* the default of src_lang; NULL: en_XX */
    const char *const *head; /* pieces in front of the model's, NULL-terminated */
    size_t skip;             /* of the model's pieces */
    bool zero_skipped;       /* they stay, with a score of 0 */
    const char *const *tail;
    const char *const *additional; /* further special tokens */
    const char *const *additional_keys; /* keys of the configuration that say otherwise, one for each; NULL: there are none */
    int64_t unk_id;          /* -1: the model's */
    void (*extend)(struct tok_convert *c, bool head); /* more pieces, before and after the model's */
};

extern const struct tok_class tok_classes[];
extern const size_t tok_classes_len;
/* The class of that name, with or without "Fast"; for "" that of config.json's model_type. NULL: none. */
const struct tok_class *tok_class_find(om_sv name, const struct om_json *model);

struct tok_out_piece {
    om_sv text;
    double score;
};

struct tok_out_added {
    om_sv content;
    uint32_t id;
    bool special, single_word, lstrip, rstrip, normalized;
    bool of_model; /* a piece of SentencePiece, about which others know more */
};

/* A conversion under way. Failures are sticky in rc. */
struct tok_convert {
    struct om_arena *arena;
    struct om_error *err;
    int rc;
    const char *dir;
    const struct tok_class *cls;
    const struct om_json *config, *special_map, *added_json; /* tokenizer_config.json and its neighbours; may be NULL */
    om_sv tokens[TOK_ROLES]; /* ptr NULL: none */
    struct tok_out_piece *pieces; /* the vocabulary, by id */
    size_t len, cap;
    struct om_map first, last; /* ids of texts: pieces may occur twice */
    struct tok_out_added *added;
    size_t added_len, added_cap;
    struct tok_spm spm;
    bool unigram;       /* the model */
    bool target;        /* Marian's other language */
    uint32_t known;     /* pieces from here on have no token; 0: all have */
    uint32_t unk_shift; /* pieces that a class puts before the model's */
    struct om_buf *out;
};

void tok_convert_fail(struct tok_convert *c, int rc);
void tok_convert_piece(struct tok_convert *c, om_sv text, double score);
void tok_convert_id(struct tok_convert *c, om_sv text, uint32_t id); /* known to the model that is written elsewhere */
void tok_convert_add(struct tok_convert *c, const struct tok_out_added *token); /* of equal tokens the last counts */
bool tok_convert_flag(const struct tok_convert *c, const char *key, bool fallback); /* of tokenizer_config.json */
/* The whole of dir/name in the arena; *text has ptr NULL when there is no such file. */
bool tok_convert_file(struct tok_convert *c, const char *name, om_sv *text);

/* Write the value of "model" and, for SentencePiece, note its control and user-defined pieces. */
void tok_convert_word_piece(struct tok_convert *c);
void tok_convert_byte_bpe(struct tok_convert *c);
void tok_convert_spm(struct tok_convert *c);
void tok_convert_marian(struct tok_convert *c);

/* Whisper's template (whisper.c): are the settings known ones, and does a word of it stand for a token? */
void tok_whisper_check(struct tok_convert *c);
bool tok_whisper_token(const struct tok_convert *c, om_sv word, om_sv *token);

/* Can dir, which has no tokenizer.json, be converted? */
bool tok_can_convert(struct om_arena *a, const char *dir);
enum tok_convert_flags {
    TOK_CONVERT_PORTABLE = 1 << 0, /* only what Transformers' own tokenizer.json could say; Marian's cannot be (OM_E_UNSUPPORTED) */
    TOK_CONVERT_TARGET = 1 << 1    /* of the language that a Marian model translates into; other classes: OM_E_UNSUPPORTED */
};
int tok_convert_dir(struct om_arena *a, const char *dir, unsigned flags, struct om_buf *json, struct om_error *err);

#endif
