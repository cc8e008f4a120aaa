/* src/gen/fields.h: the members of struct om_generation_config as a table, for whoever handles all
 * of them. */
#ifndef OM_GEN_FIELDS_H
#define OM_GEN_FIELDS_H

#include <optimum/generation.h>

#include "base/arena.h"
#include "base/json.h"

enum om_gen_kind {
    OM_GEN_INT,
    OM_GEN_REAL,
    OM_GEN_BOOL,
    OM_GEN_EARLY,   /* enum om_early_stopping */
    OM_GEN_IDS,     /* struct om_token_ids: an integer, or a list of them */
    OM_GEN_WORDS,   /* a list of lists of integers, and its length */
    OM_GEN_BIASES,  /* a list of [list of integers, number], and its length */
    OM_GEN_STRINGS, /* a string or a list of them, and the length */
    OM_GEN_DECAY    /* [integer, number], into the member and the one behind it */
};

struct om_gen_field {
    const char *key;
    enum om_gen_kind kind;
    size_t at, at_len; /* of the member, and of its length where that is another member */
    bool legacy;       /* belongs to those that older checkpoints have in config.json */
    double min;        /* the least value of a number */
};

extern const struct om_gen_field om_gen_fields[];
extern const size_t om_gen_n_fields;

void om_gen_copy(const struct om_gen_field *f, struct om_generation_config *to,
                 const struct om_generation_config *from); /* lists are shared */
bool om_gen_is_default(const struct om_gen_field *f, const struct om_generation_config *c);

/* A caller's settings in the size of this library; NULL: the defaults. Lists are shared. */
int om_gen_settings(const struct om_generation_config *from, struct om_generation_config *to,
                    struct om_error *err);

/* The members of an object into c. A null: with nulls it turns the member off, else it is passed
 * over. Lists and strings are the arena's. */
int om_gen_read(struct om_arena *a, const struct om_json *object, bool nulls,
                struct om_generation_config *c, struct om_error *err);
/* Whether a member of the name is one of them, or one that is refused. */
bool om_gen_takes(om_sv key);
/* OM_E_UNSUPPORTED, with its name, for a member that would change the computation. */
int om_gen_refuse(const struct om_json *object, struct om_error *err);

#endif
