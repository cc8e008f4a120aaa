/* src/tok/spm.h: SentencePiece models (sentencepiece_model.proto): pieces, and how text is prepared for them. */
#ifndef OM_TOK_SPM_H
#define OM_TOK_SPM_H

#include "base/arena.h"
#include "base/base.h"

enum tok_spm_algorithm { TOK_SPM_UNIGRAM = 1, TOK_SPM_BPE = 2, TOK_SPM_WORD = 3, TOK_SPM_CHAR = 4 };

enum tok_spm_type {
    TOK_SPM_NORMAL = 1,
    TOK_SPM_UNKNOWN = 2,
    TOK_SPM_CONTROL = 3,
    TOK_SPM_USER_DEFINED = 4,
    TOK_SPM_UNUSED = 5,
    TOK_SPM_BYTE = 6
};

struct tok_spm_piece {
    om_sv text; /* UTF-8, in the model's bytes */
    float score;
    enum tok_spm_type type;
};

struct tok_spm {
    struct tok_spm_piece *pieces; /* by id, in the arena */
    size_t len;
    enum tok_spm_algorithm algorithm;
    uint32_t unk_id;
    om_sv unk_piece;
    om_sv charsmap; /* precompiled_charsmap; empty: none */
    bool dummy_prefix, extra_spaces; /* a space is put in front; runs of spaces are kept */
};

/* Pieces are cut in all ways to find a model's merges, so their length is bounded. */
enum { TOK_SPM_PIECES_MAX = 1 << 22, TOK_SPM_PIECE_MAX = 1024 };

/* Read a ModelProto; its views refer to bytes. Unknown fields are skipped, as protobuf readers do. */
int tok_spm_read(struct om_arena *a, om_sv bytes, struct tok_spm *out, struct om_error *err);

#endif
