/* include/optimum/tokenizer.h: text to the ids that a model takes, and back.
 *
 * A tokenizer is read from a tokenizer.json (the format of Hugging Face's `tokenizers`) and does what that file says to the letter: same ids,
 * offsets, word numbers, windows and padding as the library that wrote it. It does not change once it is open, so threads may
 * share it without locks; every result belongs to the caller and does not refer to the tokenizer, unless a function says so.
 *
 * Texts are UTF-8 and may hold NUL. Bytes that are not UTF-8 are read as U+FFFD, one for each maximal invalid part, as
 * Python's errors="replace" does; such a part counts as one code point in offsets. A text may have up to 1 GiB. */
#ifndef OPTIMUM_TOKENIZER_H
#define OPTIMUM_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <optimum/ctx.h>
#include <optimum/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct om_tokenizer;

/* ---- opening ---- */

/* Open a directory that holds tokenizer.json, or such a file by any name. tokenizer_config.json and special_tokens_map.json
 * beside it are read where they exist. A directory without tokenizer.json may hold vocab.txt, vocab.json with merges.txt, or a
 * SentencePiece model (Unigram or BPE; Marian's source.spm with vocab.json): these become what Transformers makes of them for the
 * class that tokenizer_config.json, else config.json, names. A component, or a key of one, that is not known is an error that names it. */
OM_API int om_tokenizer_open(const char *path, struct om_tokenizer **out, struct om_error *err);
OM_API void om_tokenizer_free(struct om_tokenizer *tok); /* accepts NULL */

/* AutoTokenizer.from_pretrained(). Strings are borrowed for the call. */
struct om_tokenizer_opts {
    uint32_t struct_size;   /* set by OM_TOKENIZER_OPTS_INIT; lets the struct grow */
    const char *tokenizer;  /* a directory, a file, or an id of the Hub: "org/name", "org/name@revision" */
    const char *revision;   /* the rest is for the Hub alone, as in <optimum/model.h> */
    const char *subfolder;  /* of the directory or repository; NULL: its root */
    const char *cache_dir;
    const char *token;
    bool local_files_only, force_download;
    bool target; /* the tokenizer of the language that a Marian model translates into ("text_target"); others: OM_E_UNSUPPORTED */
};
#define OM_TOKENIZER_OPTS_INIT                          \
    {                                                   \
        .struct_size = sizeof(struct om_tokenizer_opts) \
    }
/* The same as om_tokenizer_open() for what opts->tokenizer names. */
OM_API int om_tokenizer_from_pretrained(struct om_ctx *ctx, const struct om_tokenizer_opts *opts, struct om_tokenizer **out,
                                        struct om_error *err);

/* save_pretrained: write tokenizer.json, tokenizer_config.json, special_tokens_map.json and the vocabulary files into dir (made with
 * its parents). They are copies of the files that the tokenizer was opened from, which must still be there; what was not there is
 * made: tokenizer.json from a vocabulary (Marian has no such form and keeps its own files), the others from what the tokenizer knows.
 * Files of these names are replaced, tokenizer.json last. Into its own directory a tokenizer adds only what is missing. */
OM_API int om_tokenizer_save(struct om_ctx *ctx, const struct om_tokenizer *tok, const char *dir, struct om_error *err);

enum om_side { OM_SIDE_RIGHT, OM_SIDE_LEFT };

/* What tokenizer_config.json and special_tokens_map.json add, with the defaults of Transformers: of the tokenizer's class, which config.json
 * tells where tokenizer_config.json does not. Strings are NULL where nothing names the token; they belong to the tokenizer. */
struct om_tokenizer_info {
    const char *tokenizer_class;      /* "BertTokenizer"; NULL when not given */
    uint64_t model_max_length;        /* UINT64_MAX: none */
    enum om_side padding_side, truncation_side;
    bool clean_up_tokenization_spaces;
    const char *bos_token, *eos_token, *unk_token, *sep_token, *pad_token, *cls_token, *mask_token;
    const char *chat_template;        /* the default template; NULL: none */
    bool add_prefix_space;
    /* Models are given token_type_ids: neither model_input_names nor the class leaves them out. */
    bool gives_type_ids;
};
OM_API const struct om_tokenizer_info *om_tokenizer_get_info(const struct om_tokenizer *tok);

/* ---- vocabulary ---- */

/* Tokens of the model and added ones. Ids may be sparse: they are below om_tokenizer_id_limit(). */
OM_API size_t om_tokenizer_vocab_size(const struct om_tokenizer *tok);
OM_API uint32_t om_tokenizer_id_limit(const struct om_tokenizer *tok);
/* False when there is no such token. The text belongs to the tokenizer, is followed by a NUL and may hold others. */
OM_API bool om_tokenizer_token_to_id(const struct om_tokenizer *tok, const char *token, size_t len, uint32_t *id);
OM_API bool om_tokenizer_id_to_token(const struct om_tokenizer *tok, uint32_t id, const char **token, size_t *len);
OM_API bool om_tokenizer_is_special(const struct om_tokenizer *tok, uint32_t id); /* an added token marked as special */

/* ---- encoding ---- */

enum om_truncation_strategy { OM_TRUNCATE_LONGEST_FIRST, OM_TRUNCATE_ONLY_FIRST, OM_TRUNCATE_ONLY_SECOND };

struct om_truncation {
    size_t max_length; /* of the result, special tokens included */
    size_t stride;     /* tokens that neighbouring windows share */
    enum om_truncation_strategy strategy;
    enum om_side direction;
};

struct om_padding {
    size_t length;      /* pad to this many; 0: to the longest of the batch */
    size_t multiple_of; /* then up to a multiple; 0: any length */
    enum om_side direction;
    uint32_t pad_id, pad_type_id;
};

struct om_encode_opts {
    size_t struct_size;
    bool no_special_tokens;                 /* leave out what the post-processor adds */
    const struct om_truncation *truncation; /* NULL: none */
    const struct om_padding *padding;       /* NULL: none */
    bool own_truncation, own_padding;       /* instead: what tokenizer.json itself asks for */
};
#define OM_ENCODE_OPTS_INIT { sizeof(struct om_encode_opts), false, NULL, NULL, false, false }

/* What tokenizer.json asks for; NULL: nothing. */
OM_API const struct om_truncation *om_tokenizer_truncation(const struct om_tokenizer *tok);
OM_API const struct om_padding *om_tokenizer_padding(const struct om_tokenizer *tok);
/* Tokens that the post-processor adds to one text or to a pair. */
OM_API size_t om_tokenizer_added_tokens(const struct om_tokenizer *tok, bool pair);

struct om_offsets {
    uint32_t begin, end; /* [begin, end); 0, 0 for special tokens and padding */
};

/* One window: arrays of len elements each. */
struct om_encoding {
    size_t len;
    const uint32_t *ids, *type_ids;
    const uint8_t *attention_mask, *special_tokens_mask;
    const struct om_offsets *offsets;      /* code points of the text, or of the pair's text */
    const struct om_offsets *byte_offsets; /* the same in bytes */
    const int32_t *word_ids;               /* -1: none */
    const int32_t *sequence_ids;           /* 0 or 1: the text it comes from; -1: none */
    int32_t padding_sequence_id;           /* what sequence_ids has for padding: -1, or 0 where no post-processor told the texts apart */
    const struct om_encoding *overflow;    /* further windows that truncation made, in the order of the original */
    size_t overflow_len;                   /* theirs have no overflow of their own */
};

/* A text that need not end with a NUL. ptr NULL stands for "there is none" where that is allowed. */
struct om_text {
    const char *ptr;
    size_t len;
};

/* Encode text, or text and pair (NULL: no pair; an empty pair is one). opts may be NULL. Free with om_encoding_free(). */
OM_API int om_tokenizer_encode(const struct om_tokenizer *tok, const struct om_text *text, const struct om_text *pair,
                               const struct om_encode_opts *opts, struct om_encoding **out, struct om_error *err);
OM_API void om_encoding_free(struct om_encoding *enc); /* accepts NULL */
/* Encode a text that was taken apart into words (is_split_into_words in Python), and pair's words (NULL: no pair). Each word goes
 * through the whole tokenizer on its own; word ids count the words given, and offsets are places in the word. */
OM_API int om_tokenizer_encode_words(const struct om_tokenizer *tok, const struct om_text *words, size_t n, const struct om_text *pair,
                                     size_t pair_n, const struct om_encode_opts *opts, struct om_encoding **out,
                                     struct om_error *err);

/* Encode n texts (pairs may be NULL, or hold texts whose ptr may be NULL) on all CPUs; padding without a length goes to the longest of
 * them. out[0..n) are set, all or none. The message of a failure names the first text that failed. */
OM_API int om_tokenizer_encode_batch(const struct om_tokenizer *tok, const struct om_text *texts, const struct om_text *pairs, size_t n,
                                     const struct om_encode_opts *opts, struct om_encoding **out, struct om_error *err);

/* Pad enc and its overflow in place to length tokens; longer ones stay as they are. */
OM_API int om_encoding_pad(struct om_encoding **enc, size_t length, const struct om_padding *padding, struct om_error *err);

/* ---- decoding ---- */

struct om_decode_opts {
    size_t struct_size;
    bool skip_special_tokens;
    bool clean_up_spaces; /* as Transformers does when info->clean_up_tokenization_spaces: no space before punctuation ... */
};
#define OM_DECODE_OPTS_INIT { sizeof(struct om_decode_opts), false, false }

/* Ids back to text; those without a token are left out. *text is malloc'ed and followed by a NUL; len may be NULL. opts may be NULL. */
OM_API int om_tokenizer_decode(const struct om_tokenizer *tok, const uint32_t *ids, size_t n, const struct om_decode_opts *opts,
                               char **text, size_t *len, struct om_error *err);
/* Texts of tokens to the text they make together, by the decoder (convert_tokens_to_string of Transformers). They need not be in the
 * vocabulary. *text is malloc'ed and followed by a NUL; len may be NULL. */
OM_API int om_tokenizer_join(const struct om_tokenizer *tok, const struct om_text *tokens, size_t n, char **text, size_t *len,
                             struct om_error *err);

/* ---- chat templates ---- */

/* What goes into a conversation beside its messages. JSON texts end with a NUL; NULL: none. */
struct om_chat_opts {
    size_t struct_size;
    const char *tools;         /* a list of JSON schemas of functions */
    const char *documents;     /* a list of objects, for templates that retrieve */
    const char *variables;     /* an object: what else the template may use ({"enable_thinking": false}) */
    const char *chat_template; /* the name of one of the tokenizer's, or a template; NULL: "tool_use" with tools, else "default" */
    bool add_generation_prompt;  /* end with what begins an answer */
    bool continue_final_message; /* end in the middle of the last message, which is to be continued */
    const int64_t *now;          /* what strftime_now() shows in local time, in seconds since 1970; NULL: the clock */
};
#define OM_CHAT_OPTS_INIT { sizeof(struct om_chat_opts), NULL, NULL, NULL, NULL, false, false, NULL }

/* The text of a conversation: messages is a JSON list of objects such as {"role": "user", "content": "Hi"}. The template is the one of
 * chat_template.jinja, additional_chat_templates/ or tokenizer_config.json. It is rendered as Transformers does, within bounds of time,
 * memory and size; an error names template and line, and is what the template itself says where it refuses the messages (OM_E_USAGE).
 * *text is malloc'ed and followed by a NUL; len may be NULL. opts may be NULL. */
OM_API int om_tokenizer_apply_chat_template(const struct om_tokenizer *tok, const char *messages, const struct om_chat_opts *opts,
                                            char **text, size_t *len, struct om_error *err);
/* The same, encoded. No special tokens are added to those of the template, whatever encode (which may be NULL) says. */
OM_API int om_tokenizer_encode_chat(const struct om_tokenizer *tok, const char *messages, const struct om_chat_opts *opts,
                                    const struct om_encode_opts *encode, struct om_encoding **out, struct om_error *err);

#ifdef __cplusplus
}
#endif

#endif
