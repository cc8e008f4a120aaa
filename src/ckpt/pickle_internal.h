/* src/ckpt/pickle_internal.h: between the machine (pickle.c) and what it may call (pickle_call.c).
 */
#ifndef OM_CKPT_PICKLE_INTERNAL_H
#define OM_CKPT_PICKLE_INTERNAL_H

#include "ckpt/pickle.h"

struct pk_machine {
    struct om_arena *arena;
    om_sv rest; /* bytes not read yet */
    struct pk_seq stack, memo;
    struct pk_value root;
    bool stopped;
    const struct pk_storage **storages;
    size_t n_storages, cap_storages;
    struct om_map by_key; /* key to index into storages */
    struct om_error *err;
};

typedef int pk_call(struct pk_machine *m, const struct pk_global *g, const struct pk_seq *args,
                    struct pk_value *out);

enum pk_class { PK_FUNCTION, PK_STORAGE_CLASS, PK_DTYPE, PK_TYPE };

/* One name that a pickle may use. */
struct pk_global {
    const char *module, *name;
    enum pk_class class;
    pk_call *call;       /* NULL: may be named, not called */
    enum om_dtype dtype; /* of storage classes and dtypes; NONE: untyped, or without counterpart */
    const char *text;    /* name of a dtype without counterpart; NULL for untyped storages */
    size_t size;         /* bytes of an element of a storage class */
};

const struct pk_global *om_pk_global(om_sv module, om_sv name); /* NULL: not allowed */
int om_pk_call(struct pk_machine *m, const struct pk_value *callable, const struct pk_value *args,
               struct pk_value *out);
/* The object behind a persistent id. */
int om_pk_persistent(struct pk_machine *m, const struct pk_value *id, struct pk_value *out);

/* The arena gave NULL: because of its maximum or for lack of memory. */
int om_pk_no_memory(struct pk_machine *m);
int om_pk_append(struct pk_machine *m, struct pk_seq *s, const struct pk_value *items, size_t n);
/* A new sequence with these items. */
int om_pk_make(struct pk_machine *m, enum pk_kind kind, const struct pk_value *items, size_t n,
               struct pk_value *out);

#endif
