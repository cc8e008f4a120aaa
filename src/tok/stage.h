/* src/tok/stage.h: the five stages of tokenizer.json and how their components are read.
 *
 * A component is a JSON object with a "type". Each stage has a table of kinds; a kind names its keys, so that one reader fills
 * the component's struct, refuses what it does not know, and the rest of the code sees plain values. */
#ifndef OM_TOK_STAGE_H
#define OM_TOK_STAGE_H

#include "base/json.h"
#include "tok/work.h"

struct om_tokenizer;

struct tok_loader {
    struct om_tokenizer *tok;
    struct om_arena *arena; /* the tokenizer's */
    struct om_error *err;
    unsigned depth;         /* of components within components */
    const om_sv *charsmaps; /* long texts, which stand as numbers in the JSON: see scan.h */
    size_t charsmaps_len;
};

enum tok_field_kind {
    TOK_FIELD_END,
    TOK_FIELD_BOOL,
    TOK_FIELD_TEXT,   /* om_sv, copied */
    TOK_FIELD_CHAR,   /* uint32_t: a string of one character */
    TOK_FIELD_SIZE,   /* size_t */
    TOK_FIELD_ID,     /* uint32_t */
    TOK_FIELD_CHOICE, /* unsigned: the index in choices */
    TOK_FIELD_OTHER   /* read by finish() */
};

enum { TOK_OPTIONAL = 1 << 0, TOK_NULLABLE = 1 << 1 }; /* absent or null: fallback (text: ptr NULL) */

struct tok_field {
    enum tok_field_kind kind;
    const char *key;
    size_t offset;
    unsigned flags;
    uint32_t fallback;
    const char *const *choices; /* NULL-terminated */
};
#define TOK_FIELD(k, type, member, name, f, dflt) \
    { .kind = TOK_FIELD_##k, .key = (name), .offset = offsetof(type, member), .flags = (f), .fallback = (dflt) }
#define TOK_FIELD_SKIP(name) { .kind = TOK_FIELD_OTHER, .key = (name) }
#define TOK_FIELDS_END { .kind = TOK_FIELD_END }

struct tok_kind {
    const char *name;
    const struct tok_field *fields; /* NULL: none */
    size_t size;                    /* of the struct that they fill */
    int (*finish)(struct tok_loader *l, const struct om_json *j, void *conf); /* may be NULL */
};

struct tok_component {
    const struct tok_kind *kind; /* NULL: absent */
    const void *conf;
};

struct tok_components {
    struct tok_component *items;
    size_t len;
};

struct tok_stage {
    const char *name;                    /* "normalizer", for messages */
    const struct tok_kind *const *kinds; /* NULL-terminated */
};

extern const struct tok_stage tok_normalizers, tok_pre_tokenizers, tok_post_processors, tok_decoders;

/* Read a component; null and absent give kind NULL. */
int tok_component_read(struct tok_loader *l, const struct tok_stage *stage, const struct om_json *j, struct tok_component *out);
/* The components in the list j[key]. */
int tok_components_read(struct tok_loader *l, const struct tok_stage *stage, const struct om_json *j, const char *key,
                        struct tok_components *out);
/* Fill conf from the object j, whose keys must all be in fields (or be "type"). */
int tok_fields_read(struct tok_loader *l, const struct om_json *j, const struct tok_field *fields, void *conf);
int tok_loader_no_memory(const struct tok_loader *l);
bool tok_loader_text(const struct tok_loader *l, om_sv text, om_sv *copy); /* false: no memory */

/* A pattern of tokenizer.json: {"String": ...} or {"Regex": ...}, or a plain string. */
struct tok_pattern;
int tok_pattern_read(struct tok_loader *l, const struct om_json *j, struct tok_pattern *out);
int tok_pattern_regex(struct tok_loader *l, om_sv source, struct tok_pattern *out);

/* ---- what the stages do; failures are in w->rc ---- */

void tok_normalize(const struct tok_component *c, struct tok_work *w, struct tok_piece *p);
void tok_pre_tokenize(const struct tok_component *c, struct tok_work *w);
/* Is the last step ByteLevel, which writes bytes as characters? With leave, have it not do that, for a model that reads bytes. */
bool tok_ends_in_bytes(const struct tok_component *c, bool leave);
void tok_byte_chars(struct tok_work *w, struct tok_piece *p); /* each byte of p as its character in the byte alphabet */

#endif
