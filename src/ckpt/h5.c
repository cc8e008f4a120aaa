/* src/ckpt/h5.c: superblock, groups, attributes and datasets of an HDF5 file.
 *
 * libhdf5 is not used: in a few minutes of mutated files it (1.10.8) reads outside its memory and
 * allocates what a header asks for, and it keeps process-wide state. The part of the format that
 * checkpoints use is small. */
#include "ckpt/h5.h"

#include "ckpt/internal.h"

static const uint8_t signature[] = { 0x89, 'H', 'D', 'F', '\r', '\n', 0x1A, '\n' };

#define UNDEFINED UINT64_MAX         /* the address of what is not stored */
#define BUDGET ((uint64_t)128 << 20) /* a checkpoint of 400 tensors needs about 3 MB */
#define DEPTH_MAX 64                 /* continuations of one object header */
#define RANK_MAX 32                  /* of the format */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weights are used where they lie");

/* ---- bytes ---- */

/* Reads little-endian numbers; past the end it gives zeros and stays bad. */
struct cursor {
    const uint8_t *at, *end;
    bool bad;
};

static struct cursor part(struct cursor *c, uint64_t n)
{
    struct cursor p = { c->at, c->end, c->bad };

    if (c->bad || n > (uint64_t)(c->end - c->at)) {
        c->bad = true;
        return (struct cursor){ c->at, c->at, true };
    }
    c->at += n;
    p.end = c->at;
    return p;
}

static void skip(struct cursor *c, uint64_t n)
{
    part(c, n);
}

static uint64_t take(struct cursor *c, unsigned n)
{
    const struct cursor p = part(c, n);
    uint64_t v = 0;

    for (unsigned i = 0; !p.bad && i < n; i++)
        v |= (uint64_t)p.at[i] << (8 * i);
    return v;
}

static bool is_text(struct cursor *c, const char *text)
{
    const struct cursor p = part(c, strlen(text));

    return !p.bad && memcmp(p.at, text, strlen(text)) == 0;
}

/* A cursor over len bytes of the file, counted against the budget. */
static int block(struct om_h5 *h, const char *what, uint64_t at, uint64_t len, struct cursor *c,
                 struct om_error *err)
{
    *c = (struct cursor){ NULL, NULL, true };
    if (at > h->file->size || len > h->file->size - at)
        return om_fail(err, OM_E_FORMAT,
                       "%s at byte %" PRIu64 " needs %" PRIu64 " bytes, file has %" PRIu64, what,
                       at, len, h->file->size);
    if (len > h->budget)
        return om_fail(err, OM_E_LIMIT, "more than %" PRIu64 " MB of groups and attributes",
                       BUDGET >> 20);
    h->budget -= len;
    *c = (struct cursor){ h->file->data + at, h->file->data + at + len, false };
    return 0;
}

static int ends_early(const char *what, struct om_error *err)
{
    return om_fail(err, OM_E_FORMAT, "%s ends too early", what);
}

static int later_form(const char *what, struct om_error *err)
{
    return om_fail(err, OM_E_UNSUPPORTED,
                   "%s of a later HDF5 version (h5py's libver=\"latest\"), expected the form that "
                   "h5py writes by default",
                   what);
}

/* ---- the file ---- */

bool om_h5_detect(const struct om_file *file)
{
    return file->size >= sizeof(signature) && memcmp(file->data, signature, sizeof(signature)) == 0;
}

static int read_superblock(struct om_h5 *h, struct cursor *c, struct om_error *err)
{
    uint64_t version, offset_size, length_size, base, end;

    skip(c, sizeof(signature));
    version = take(c, 1);
    if (version > 1)
        return later_form("a superblock", err);
    skip(c, 4);
    offset_size = take(c, 1);
    length_size = take(c, 1);
    skip(c, version == 0 ? 9 : 13);
    base = take(c, 8);
    skip(c, 8);
    end = take(c, 8);
    skip(c, 16);
    h->root = take(c, 8);
    if (c->bad)
        return ends_early("the superblock", err);
    if (offset_size != 8 || length_size != 8)
        return om_fail(err, OM_E_UNSUPPORTED, "offsets or lengths are not of 8 bytes");
    if (base != 0)
        return om_fail(err, OM_E_UNSUPPORTED, "addresses start at byte %" PRIu64 ", expected 0",
                       base);
    if (end > h->file->size)
        return om_fail(err, OM_E_FORMAT, "truncated: the file has %" PRIu64 " bytes of %" PRIu64,
                       h->file->size, end);
    return 0;
}

int om_h5_open(struct om_h5 *h, const struct om_file *file, struct om_error *err)
{
    struct cursor c;

    *h = (struct om_h5){ .file = file, .budget = BUDGET };
    if (om_ckpt_is_lfs_pointer(file))
        return om_fail(err, OM_E_FORMAT, OM_CKPT_LFS_TEXT);
    if (!om_h5_detect(file))
        return om_fail(err, OM_E_FORMAT, "not an HDF5 file");
    OM_TRY(block(h, "the superblock", 0, OM_MIN(file->size, 128), &c, err));
    return read_superblock(h, &c, err);
}

/* ---- object headers ---- */

enum message_type {
    MESSAGE_DATASPACE = 0x01,
    MESSAGE_LINK_INFO = 0x02,
    MESSAGE_DATATYPE = 0x03,
    MESSAGE_LINK = 0x06,
    MESSAGE_EXTERNAL_FILES = 0x07,
    MESSAGE_LAYOUT = 0x08,
    MESSAGE_FILTERS = 0x0B,
    MESSAGE_ATTRIBUTE = 0x0C,
    MESSAGE_CONTINUATION = 0x10,
    MESSAGE_SYMBOL_TABLE = 0x11,
};

struct message {
    uint64_t type;
    bool shared; /* the body is a reference to another object's */
    struct cursor body;
};

struct visit {
    int (*fn)(void *user, const struct message *m, struct om_error *err);
    void *user;
    uint64_t left; /* messages that the header announces */
};

static int visit_block(struct om_h5 *h, struct visit *v, struct cursor c, unsigned depth,
                       struct om_error *err);

/* A continuation names the block where the header goes on. */
static int visit_continuation(struct om_h5 *h, struct visit *v, struct cursor body, unsigned depth,
                              struct om_error *err)
{
    const uint64_t at = take(&body, 8), len = take(&body, 8);
    struct cursor c;

    if (body.bad)
        return ends_early("a continuation of an object header", err);
    if (depth >= DEPTH_MAX)
        return om_fail(err, OM_E_LIMIT, "an object header in more than %d pieces", DEPTH_MAX);
    OM_TRY(block(h, "an object header", at, len, &c, err));
    return visit_block(h, v, c, depth + 1, err);
}

static int visit_block(struct om_h5 *h, struct visit *v, struct cursor c, unsigned depth,
                       struct om_error *err)
{
    while (v->left > 0 && c.at < c.end) {
        struct message m = { .type = take(&c, 2) };
        const uint64_t size = take(&c, 2);

        m.shared = (take(&c, 1) & 2) != 0;
        skip(&c, 3);
        m.body = part(&c, size);
        if (c.bad)
            return ends_early("an object header", err);
        v->left--;
        if (m.type == MESSAGE_CONTINUATION)
            OM_TRY(visit_continuation(h, v, m.body, depth, err));
        else
            OM_TRY(v->fn(v->user, &m, err));
    }
    return 0;
}

/* Call fn for the messages of an object's header. */
static int visit_object(struct om_h5 *h, uint64_t object,
                        int (*fn)(void *user, const struct message *m, struct om_error *err),
                        void *user, struct om_error *err)
{
    struct visit v = { .fn = fn, .user = user };
    struct cursor c;
    uint64_t version, size;

    OM_TRY(block(h, "an object header", object, 16, &c, err));
    if (memcmp(c.at, "OHDR", 4) == 0)
        return later_form("an object", err);
    version = take(&c, 1);
    if (version != 1)
        return om_fail(err, OM_E_FORMAT,
                       "version %" PRIu64 " of the object header at byte %" PRIu64 ", expected 1",
                       version, object);
    skip(&c, 1);
    v.left = take(&c, 2);
    skip(&c, 4);
    size = take(&c, 4);
    OM_TRY(block(h, "an object header", object + 16, size, &c, err));
    return visit_block(h, &v, c, 0, err);
}

/* ---- groups ---- */

struct group {
    bool found;
    uint64_t tree, heap;
};

static int visit_group(void *user, const struct message *m, struct om_error *err)
{
    struct group *g = user;
    struct cursor body = m->body;

    if (m->type == MESSAGE_LINK_INFO || m->type == MESSAGE_LINK)
        return later_form("a group", err);
    if (m->type != MESSAGE_SYMBOL_TABLE)
        return 0;
    g->tree = take(&body, 8);
    g->heap = take(&body, 8);
    g->found = true;
    return body.bad ? ends_early("a group's symbol table", err) : 0;
}

/* The names of a group's members lie in a heap, at offsets. */
static int open_names(struct om_h5 *h, uint64_t heap, struct cursor *names, struct om_error *err)
{
    struct cursor c;
    uint64_t at, len;

    OM_TRY(block(h, "a heap", heap, 32, &c, err));
    if (!is_text(&c, "HEAP") || take(&c, 1) != 0)
        return om_fail(err, OM_E_FORMAT, "no heap of names at byte %" PRIu64, heap);
    skip(&c, 3);
    len = take(&c, 8);
    skip(&c, 8);
    at = take(&c, 8);
    if (at > h->file->size || len > h->file->size - at)
        return om_fail(err, OM_E_FORMAT, "the heap at byte %" PRIu64 " reaches beyond the file",
                       heap);
    *names = (struct cursor){ h->file->data + at, h->file->data + at + len, false };
    return 0;
}

struct lookup {
    struct om_h5 *h;
    struct cursor names;
    om_sv name;
};

/* How the wanted name compares with the text at an offset of the heap: negative when it comes
 * first. Looks at no more of the heap than it must, and counts it against the budget. */
static int compare_name(const struct lookup *l, uint64_t offset, int *order, struct om_error *err)
{
    const uint64_t have = (uint64_t)(l->names.end - l->names.at);
    struct cursor text;
    size_t len, common;

    if (offset >= have)
        return om_fail(err, OM_E_FORMAT, "a name lies outside its heap");
    OM_TRY(block(l->h, "a name", (uint64_t)(l->names.at - l->h->file->data) + offset,
                 OM_MIN(have - offset, l->name.len + 1), &text, err));
    len = strnlen((const char *)text.at, (size_t)(text.end - text.at));
    common = OM_MIN(len, l->name.len);
    *order = memcmp(l->name.ptr, text.at, common);
    if (*order == 0)
        *order = l->name.len < len ? -1 : l->name.len > len;
    return 0;
}

/* The child of a tree's node that may have the name; *child UNDEFINED when none can. *level is
 * that of the node: given unless it is the root, and 0 when its children are leaves. */
static int search_node(const struct lookup *l, uint64_t node, bool root, uint64_t *level,
                       uint64_t *child, struct om_error *err)
{
    struct cursor c;
    uint64_t type, found, used;

    OM_TRY(block(l->h, "a tree", node, 24, &c, err));
    if (!is_text(&c, "TREE"))
        return om_fail(err, OM_E_FORMAT, "no tree at byte %" PRIu64, node);
    type = take(&c, 1);
    found = take(&c, 1);
    used = take(&c, 2);
    if (type != 0 || (!root && found != *level))
        return om_fail(err, OM_E_FORMAT, "the tree at byte %" PRIu64 " is not that of a group",
                       node);
    *level = found;
    *child = UNDEFINED;
    OM_TRY(block(l->h, "a tree", node + 24, 16 * used + 8, &c, err));
    skip(&c, 8); /* the key before the first child */
    for (uint64_t i = 0; i < used; i++) {
        const uint64_t at = take(&c, 8), key = take(&c, 8);
        int order;

        OM_TRY(compare_name(l, key, &order, err));
        if (order <= 0) { /* the key after a child is its last name */
            *child = at;
            break;
        }
    }
    return 0;
}

static int search_leaf(const struct lookup *l, uint64_t leaf, uint64_t *object,
                       struct om_error *err)
{
    struct cursor c;
    uint64_t used;

    OM_TRY(block(l->h, "a list of names", leaf, 8, &c, err));
    if (!is_text(&c, "SNOD"))
        return om_fail(err, OM_E_FORMAT, "no list of names at byte %" PRIu64, leaf);
    skip(&c, 2);
    used = take(&c, 2);
    OM_TRY(block(l->h, "a list of names", leaf + 8, 40 * used, &c, err));
    for (uint64_t i = 0; i < used; i++) {
        const uint64_t name = take(&c, 8), at = take(&c, 8), cache = take(&c, 4);
        int order;

        skip(&c, 20);
        OM_TRY(compare_name(l, name, &order, err));
        if (order != 0)
            continue;
        if (cache > 1)
            return om_fail(err, OM_E_UNSUPPORTED, "a symbolic link, expected an object");
        *object = at;
        return 0;
    }
    return 0;
}

/* The member of a group; *object UNDEFINED when there is none of the name. */
static int search_group(struct om_h5 *h, uint64_t group, om_sv name, uint64_t *object,
                        struct om_error *err)
{
    struct lookup l = { .h = h, .name = name };
    struct group g = { 0 };
    uint64_t node, level = 0;
    bool root = true;

    *object = UNDEFINED;
    OM_TRY(visit_object(h, group, visit_group, &g, err));
    if (!g.found)
        return 0;
    OM_TRY(open_names(h, g.heap, &l.names, err));
    for (node = g.tree; node != UNDEFINED; root = false) {
        OM_TRY(search_node(&l, node, root, &level, &node, err));
        if (level == 0)
            return node == UNDEFINED ? 0 : search_leaf(&l, node, object, err);
        level--;
    }
    return 0;
}

int om_h5_find(struct om_h5 *h, uint64_t group, om_sv path, uint64_t *object, struct om_error *err)
{
    uint64_t at = group;
    om_sv name;

    while (om_sv_split(&path, '/', &name)) {
        int rc;

        if (name.len == 0)
            continue;
        rc = search_group(h, at, name, &at, err);
        if (rc == 0 && at == UNDEFINED)
            rc = om_fail(err, OM_E_MISSING, "it is not in the file");
        if (rc < 0)
            return om_wrap(err, rc, "\"%.*s\"", (int)OM_MIN(name.len, 200), name.ptr);
    }
    *object = at;
    return 0;
}

/* ---- dataspaces and datatypes ---- */

/* dims has room for RANK_MAX. */
static int read_space(struct cursor c, int64_t *dims, uint32_t *rank, struct om_error *err)
{
    const uint64_t version = take(&c, 1), n = take(&c, 1);

    if (version != 1 && version != 2)
        return om_fail(err, OM_E_FORMAT, "version %" PRIu64 " of a dataspace, expected 1 or 2",
                       version);
    if (n > RANK_MAX)
        return om_fail(err, OM_E_FORMAT, "%" PRIu64 " dimensions, at most %d", n, RANK_MAX);
    skip(&c, 1);
    if (version == 1)
        skip(&c, 5);
    else if (take(&c, 1) > 1)
        return om_fail(err, OM_E_UNSUPPORTED, "an empty dataspace");
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t dim = take(&c, 8);

        if (dim > INT64_MAX)
            return om_fail(err, OM_E_FORMAT, "shape is too large");
        dims[i] = (int64_t)dim;
    }
    *rank = (uint32_t)n;
    return c.bad ? ends_early("a dataspace", err) : 0;
}

enum type_class { CLASS_INTEGER, CLASS_FLOAT, CLASS_STRING = 3, CLASS_SEQUENCE = 9 };

#define REFERENCE_BYTES 16 /* length, address of a collection, index */

struct type {
    uint64_t class, bits, size; /* bits: what the class makes of 24 bits */
    struct cursor rest;
};

static int open_type(struct cursor c, struct type *t, struct om_error *err)
{
    t->class = take(&c, 1) & 15; /* the upper half is the version of the message */
    t->bits = take(&c, 3);
    t->size = take(&c, 4);
    t->rest = c;
    return c.bad ? ends_early("a datatype", err) : 0;
}

static enum om_dtype integer_type(const struct type *t)
{
    static const enum om_dtype types[2][4] = { { OM_U8, OM_U16, OM_U32, OM_U64 },
                                               { OM_I8, OM_I16, OM_I32, OM_I64 } };
    struct cursor c = t->rest;
    const uint64_t offset = take(&c, 2), precision = take(&c, 2);

    for (unsigned i = 0; i < 4; i++)
        if (t->size == 1u << i && offset == 0 && precision == 8 * t->size)
            return types[(t->bits >> 3) & 1][i];
    return OM_DTYPE_NONE;
}

static enum om_dtype float_type(const struct type *t)
{
    static const struct {
        enum om_dtype dtype;
        uint64_t bits, exponent, mantissa;
    } types[] = {
        { OM_F16, 16, 5, 10 },
        { OM_BF16, 16, 8, 7 },
        { OM_F32, 32, 8, 23 },
        { OM_F64, 64, 11, 52 },
    };
    struct cursor c = t->rest;
    const uint64_t offset = take(&c, 2), precision = take(&c, 2);
    const uint64_t exponent_at = take(&c, 1), exponent = take(&c, 1);
    const uint64_t mantissa_at = take(&c, 1), mantissa = take(&c, 1), bias = take(&c, 4);

    /* The leading bit of the mantissa is implied, and the sign is the last bit. */
    if (offset != 0 || mantissa_at != 0 || ((t->bits >> 4) & 3) != 2)
        return OM_DTYPE_NONE;
    for (size_t i = 0; i < OM_COUNT(types); i++)
        if (precision == types[i].bits && 8 * t->size == types[i].bits &&
            exponent == types[i].exponent && mantissa == types[i].mantissa &&
            exponent_at == types[i].mantissa && bias == (1u << (exponent - 1)) - 1 &&
            (t->bits >> 8 & 255) == types[i].bits - 1)
            return types[i].dtype;
    return OM_DTYPE_NONE;
}

static int read_type(struct cursor c, enum om_dtype *dtype, struct om_error *err)
{
    static const char *const classes[] = { "integers", "floats",    "times",     "strings",
                                           "bits",     "opaque",    "compounds", "references",
                                           "enums",    "sequences", "arrays" };
    struct type t;

    OM_TRY(open_type(c, &t, err));
    *dtype = OM_DTYPE_NONE;
    if (t.class == CLASS_INTEGER)
        *dtype = integer_type(&t);
    else if (t.class == CLASS_FLOAT)
        *dtype = float_type(&t);
    if (*dtype == OM_DTYPE_NONE)
        return om_fail(err, OM_E_UNSUPPORTED, "unsupported datatype: %s of %" PRIu64 " bytes",
                       t.class < OM_COUNT(classes) ? classes[t.class] : "objects", t.size);
    if ((t.bits & 1) != 0 && t.size > 1)
        return om_fail(err, OM_E_UNSUPPORTED, "big-endian numbers, expected little-endian ones");
    return 0;
}

/* ---- attributes ---- */

struct attribute_search {
    om_sv name;
    struct om_h5_strings *out;
};

/* Take len bytes that fill up to a multiple of 8 in attributes of version 1. */
static struct cursor padded(struct cursor *c, uint64_t len, bool pad)
{
    const struct cursor p = part(c, len);

    if (pad)
        skip(c, -len & 7);
    return p;
}

static int read_strings(struct cursor type, struct cursor space, struct cursor data,
                        struct om_h5_strings *out, struct om_error *err)
{
    int64_t dims[RANK_MAX] = { 0 };
    uint32_t rank = 0;
    struct type t;

    OM_TRY(read_space(space, dims, &rank, err));
    OM_TRY(open_type(type, &t, err));
    if (rank != 1)
        return om_fail(err, OM_E_FORMAT, "%" PRIu32 " dimensions, expected 1", rank);
    *out = (struct om_h5_strings){ .at = data.at };
    if (dims[0] == 0) /* of any type: numpy gives an empty list one of its own choice */
        return 0;
    out->references = t.class == CLASS_SEQUENCE && (t.bits & 15) == 1 && t.size == REFERENCE_BYTES;
    if ((t.class != CLASS_STRING && !out->references) || t.size == 0)
        return om_fail(err, OM_E_UNSUPPORTED, "expected strings");
    if ((uint64_t)dims[0] > (uint64_t)(data.end - data.at) / t.size)
        return ends_early("its list", err);
    out->len = (size_t)dims[0];
    out->width = (size_t)t.size;
    return 0;
}

static int visit_attribute(void *user, const struct message *m, struct om_error *err)
{
    struct attribute_search *s = user;
    struct cursor c = m->body, name, type, space;
    uint64_t version, flags, name_len, type_len, space_len;

    if (m->type != MESSAGE_ATTRIBUTE || m->shared)
        return 0;
    version = take(&c, 1);
    flags = take(&c, 1); /* reserved in version 1 */
    name_len = take(&c, 2);
    type_len = take(&c, 2);
    space_len = take(&c, 2);
    if (version == 3)
        skip(&c, 1); /* the character set of the name */
    name = padded(&c, name_len, version == 1);
    type = padded(&c, type_len, version == 1);
    space = padded(&c, space_len, version == 1);
    if (c.bad)
        return ends_early("an attribute", err);
    if (name_len != s->name.len + 1 || memcmp(name.at, s->name.ptr, s->name.len) != 0)
        return 0;
    if (version < 1 || version > 3 || (version > 1 && (flags & 3) != 0))
        return om_fail(err, OM_E_UNSUPPORTED,
                       "its version or its type is not one that h5py writes");
    return read_strings(type, space, c, s->out, err);
}

int om_h5_strings(struct om_h5 *h, uint64_t object, om_sv name, struct om_h5_strings *out,
                  struct om_error *err)
{
    struct attribute_search s = { .name = name, .out = out };
    int rc;

    *out = (struct om_h5_strings){ 0 };
    rc = visit_object(h, object, visit_attribute, &s, err);
    return om_wrap(err, rc, "attribute \"%.*s\"", OM_SV(name));
}

/* Object number index of a collection of the global heap: its first len bytes. */
static int find_in_heap(struct om_h5 *h, uint64_t collection, uint64_t index, uint64_t len,
                        struct cursor *out, struct om_error *err)
{
    struct cursor c;
    uint64_t at = collection + 16, end, found, size;

    OM_TRY(block(h, "a global heap", collection, 16, &c, err));
    if (!is_text(&c, "GCOL") || take(&c, 1) != 1)
        return om_fail(err, OM_E_FORMAT, "no global heap at byte %" PRIu64, collection);
    skip(&c, 3);
    size = take(&c, 8);
    if (size > h->file->size - collection)
        return om_fail(err, OM_E_FORMAT,
                       "the global heap at byte %" PRIu64 " reaches beyond the file", collection);
    for (end = collection + size; at < end; at += 16 + size + (-size & 7)) {
        OM_TRY(block(h, "a global heap", at, 16, &c, err));
        found = take(&c, 2);
        skip(&c, 6);
        size = take(&c, 8);
        if (size > end - at)
            return ends_early("a global heap", err);
        if (found == index && len <= size)
            return block(h, "a global heap", at + 16, len, out, err);
        if (found == 0) /* the free space at the end */
            break;
    }
    return om_fail(err, OM_E_FORMAT,
                   "string %" PRIu64 " is not in the global heap at byte %" PRIu64, index,
                   collection);
}

int om_h5_string(struct om_h5 *h, const struct om_h5_strings *s, size_t i, om_sv *out,
                 struct om_error *err)
{
    struct cursor c = { s->at + i * s->width, s->at + (i + 1) * s->width, false };

    if (s->references) {
        const uint64_t len = take(&c, 4), collection = take(&c, 8), index = take(&c, 4);

        OM_TRY(find_in_heap(h, collection, index, len, &c, err));
    }
    *out = (om_sv){ (const char *)c.at, strnlen((const char *)c.at, (size_t)(c.end - c.at)) };
    return 0;
}

/* ---- datasets ---- */

struct dataset {
    struct cursor space, type, layout; /* at: NULL when not there */
    bool shared, filters, external;
};

static int visit_dataset(void *user, const struct message *m, struct om_error *err)
{
    struct dataset *d = user;

    (void)err;
    switch ((enum message_type)m->type) {
    case MESSAGE_DATASPACE:
        d->space = m->body;
        d->shared |= m->shared;
        break;
    case MESSAGE_DATATYPE:
        d->type = m->body;
        d->shared |= m->shared;
        break;
    case MESSAGE_LAYOUT:
        d->layout = m->body;
        d->shared |= m->shared;
        break;
    case MESSAGE_FILTERS:
        d->filters = true;
        break;
    case MESSAGE_EXTERNAL_FILES:
        d->external = true;
        break;
    case MESSAGE_LINK_INFO:
    case MESSAGE_LINK:
    case MESSAGE_ATTRIBUTE:
    case MESSAGE_CONTINUATION:
    case MESSAGE_SYMBOL_TABLE:
        break;
    }
    return 0;
}

/* Where the elements lie: *at is UNDEFINED when none were written. */
static int read_layout(const struct om_h5 *h, struct cursor c, uint64_t *at, uint64_t *len,
                       struct om_error *err)
{
    enum { COMPACT, CONTIGUOUS, CHUNKED, VIRTUAL };
    const uint64_t version = take(&c, 1), kind = take(&c, 1);

    if (version != 3 && version != 4)
        return om_fail(err, OM_E_UNSUPPORTED, "version %" PRIu64 " of a layout, expected 3 or 4",
                       version);
    if (kind == CHUNKED || kind == VIRTUAL)
        return om_fail(err, OM_E_UNSUPPORTED, "a %s dataset, expected a contiguous one",
                       kind == CHUNKED ? "chunked" : "virtual");
    if (kind == COMPACT) {
        *len = take(&c, 2);
        *at = (uint64_t)(c.at - h->file->data);
        skip(&c, *len);
    } else if (kind == CONTIGUOUS) {
        *at = take(&c, 8);
        *len = take(&c, 8);
    } else {
        return om_fail(err, OM_E_FORMAT, "a layout of the unknown kind %" PRIu64, kind);
    }
    return c.bad ? ends_early("a layout", err) : 0;
}

/* The elements lie within the file and are as many as the shape says. */
static int check_extent(const struct om_file *file, struct om_ckpt_tensor *t, uint64_t at,
                        uint64_t len, struct om_error *err)
{
    const struct om_tensor shape = { .dtype = t->dtype, .rank = t->rank, .dims = t->dims };

    if (!om_tensor_bytes(&shape, &t->bytes))
        return om_fail(err, OM_E_FORMAT, "shape is too large");
    if (t->bytes == 0)
        return 0;
    if (at == UNDEFINED)
        return om_fail(err, OM_E_FORMAT, "it was never written");
    if (len != t->bytes)
        return om_fail(err, OM_E_FORMAT, "shape needs %" PRIu64 " bytes, file gives %" PRIu64,
                       t->bytes, len);
    if (at > file->size || len > file->size - at)
        return om_fail(err, OM_E_FORMAT,
                       "data of %" PRIu64 " bytes from byte %" PRIu64 ", file has %" PRIu64, len,
                       at, file->size);
    t->offset = at;
    return 0;
}

static int read_dataset(const struct om_h5 *h, struct om_arena *a, const struct dataset *d,
                        struct om_ckpt_tensor *t, struct om_error *err)
{
    int64_t dims[RANK_MAX] = { 0 };
    uint64_t at = UNDEFINED, len = 0;

    if (!d->space.at || !d->type.at)
        return om_fail(err, OM_E_FORMAT, "a dataset without shape or type");
    if (d->external)
        return om_fail(err, OM_E_UNSUPPORTED, "data in other files");
    if (d->shared)
        return om_fail(err, OM_E_UNSUPPORTED, "its shape or type is that of another object");
    OM_TRY(read_layout(h, d->layout, &at, &len, err));
    if (d->filters)
        return om_fail(err, OM_E_UNSUPPORTED, "filtered (compressed) data");
    *t = (struct om_ckpt_tensor){ .file = h->file };
    OM_TRY(read_type(d->type, &t->dtype, err));
    OM_TRY(read_space(d->space, dims, &t->rank, err));
    if (t->rank > 0) {
        t->dims = om_arena_copy(a, dims, t->rank * sizeof(*dims));
        if (!t->dims)
            return om_fail(err, OM_E_NOMEM, "out of memory for the tensor table");
    }
    return check_extent(h->file, t, at, len, err);
}

int om_h5_dataset(struct om_h5 *h, struct om_arena *a, uint64_t object, bool *is_dataset,
                  struct om_ckpt_tensor *t, struct om_error *err)
{
    struct dataset d = { 0 };

    OM_TRY(visit_object(h, object, visit_dataset, &d, err));
    *is_dataset = d.layout.at != NULL;
    return *is_dataset ? read_dataset(h, a, &d, t, err) : 0;
}
