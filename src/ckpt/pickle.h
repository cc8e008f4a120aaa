/* src/ckpt/pickle.h: the pickle streams of torch.save, read by a stack machine that can execute
 * nothing.
 *
 * A pickle is a program that names Python callables and calls them. This machine knows a fixed list
 * of names (pickle_call.c), each with a meaning in C: a dict, a storage's description, a tensor's
 * description. Everything else is an error that says what was asked for. Opcodes are those that
 * pickle protocols 2 to 5 emit (CPython, Lib/pickletools.py); out-of-band buffers, extension codes,
 * instances of classes and the text opcodes of protocols 0 and 1 are refused. No opcode takes more
 * than constant time and memory per byte that it reads or item that it pops, the machine does not
 * recurse, and all its memory is one arena with a maximum. */
#ifndef OM_CKPT_PICKLE_H
#define OM_CKPT_PICKLE_H

#include "base/arena.h"
#include "base/map.h"

enum pk_kind {
    PK_MARK, /* on the stack only */
    PK_NONE,
    PK_BOOL,
    PK_INT,  /* what fits int64 */
    PK_LONG, /* other integers: their little-endian bytes in text */
    PK_REAL,
    PK_TEXT, /* str of Python 3 or 2: bytes of the pickle, not checked to be UTF-8 */
    PK_TUPLE,
    PK_LIST, /* also a set */
    PK_DICT, /* keys and values take turns in items */
    PK_GLOBAL,
    PK_STORAGE,
    PK_TENSOR,
    PK_OPAQUE /* bytes, a device, a layout: nothing that is looked into */
};

struct pk_seq {
    struct pk_value *items;
    size_t len, cap;
};

struct pk_value {
    enum pk_kind kind;
    union {
        int64_t i; /* BOOL, INT */
        double f;
        om_sv text;
        struct pk_seq *seq;
        const struct pk_global *global;
        const struct pk_storage *storage;
        const struct pk_tensor *tensor;
    };
};

/* Bytes that tensors share, found by key in the archive or after the pickles. */
struct pk_storage {
    om_sv key;
    const struct pk_global *type; /* a storage class */
    uint64_t numel;               /* of elements; of an untyped storage, bytes */
    uint64_t first; /* where it begins within the storage of that key (views of old files), in
                       elements */
    uint32_t index; /* the root's index into the document's storages */
};

/* A view of a storage. dtype OM_DTYPE_NONE: a type that has no counterpart here, named by
 * dtype_text. */
struct pk_tensor {
    const struct pk_storage *storage;
    enum om_dtype dtype;
    const char *dtype_text;
    int64_t offset; /* in elements */
    uint32_t rank;
    const int64_t *dims, *strides;
};
#define PK_RANK_MAX 64

struct pk_doc {
    struct pk_value root;
    const struct pk_storage **storages; /* distinct keys, in order of appearance */
    size_t n_storages;
    size_t used; /* bytes up to and including STOP */
};

/* Run one pickle from the start of bytes, which must outlive the document. All memory is the
 * arena's; reaching its maximum is OM_E_LIMIT. */
int om_pk_load(struct om_arena *a, om_sv bytes, struct pk_doc *doc, struct om_error *err);

/* Bytes of one of numel; 1 when untyped. */
size_t om_pk_storage_elem(const struct pk_storage *s);
/* The value of a text key in a dict, NULL when absent; the last one counts. */
const struct pk_value *om_pk_get(const struct pk_value *dict, const char *key);
const char *om_pk_kind_text(enum pk_kind kind);

/* text for a message: at most 80 bytes, what is not printable ASCII as question marks. */
#define PK_SHOWN 84
const char *om_pk_show(char buf[PK_SHOWN], om_sv text);

#endif
