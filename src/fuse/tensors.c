/* src/fuse/tensors.c: initializers: under another name, and with equal elements. */
#include "fuse/internal.h"

#define ENDS ((size_t)32 << 10)

int fz_add_tensor(struct fuse *f, const struct om_doc_tensor *t, om_sv name, bool *added)
{
    struct om_doc_tensor made = *t, *kept;

    *added = false;
    if (t->message.ptr && !t->data) { /* says another name, or none: only its elements are taken */
        struct om_weight *const w = om_arena_alloc(f->d->arena, sizeof(*w));

        if (!w)
            return fz_no_memory(f);
        if (om_doc_weight(f->d, t, w, NULL) < 0)
            return 0;
        w->name = name;
        made.message = (om_sv){ NULL, 0 };
        made.weight = w;
    }
    made.name = name;
    kept = om_doc_add_tensor(f->d, f->g);
    if (!kept)
        return fz_no_memory(f);
    *kept = made;
    *added = true;
    return 0;
}

/* The elements as they lie in the file or in memory. */
static bool bytes_of(const struct fuse *f, const struct om_doc_tensor *t, om_sv *bytes)
{
    struct om_weight w;

    if (t->source || om_doc_weight(f->d, t, &w, NULL) < 0 || (!w.data && w.bytes > 0) ||
        w.strides || (w.src_dtype != OM_DTYPE_NONE && w.src_dtype != w.dtype) ||
        w.bytes != t->bytes)
        return false;
    *bytes = (om_sv){ w.data, (size_t)w.bytes };
    return true;
}

/* Equal tensors have equal numbers: that of what lies at both ends, which tells most others apart.
 */
static uint64_t number_of(om_sv bytes)
{
    const size_t end = OM_MIN(bytes.len, ENDS);

    return om_sv_hash((om_sv){ bytes.ptr, end }) * 31 +
           om_sv_hash((om_sv){ bytes.ptr + (bytes.len - end), end });
}

/* Type and shape, and a number that equal elements share. */
static om_sv key_of(struct fuse *f, const struct om_doc_tensor *t, om_sv bytes)
{
    const size_t size = (3 + (size_t)t->rank) * sizeof(uint64_t);
    uint64_t *const key = om_arena_alloc(f->d->arena, size);

    if (!key)
        return (om_sv){ NULL, 0 };
    key[0] = (uint64_t)t->type;
    key[1] = t->rank;
    key[2] = number_of(bytes);
    for (uint32_t i = 0; i < t->rank; i++)
        key[3 + i] = (uint64_t)t->dims[i];
    return (om_sv){ (const char *)key, size };
}

/* One of the graph's outputs or inputs: its name is seen from outside. */
static bool is_port(const struct fuse *f, om_sv name)
{
    return om_map_get(&f->ports, name, NULL);
}

static int share(struct fuse *f, struct om_map *seen, uint32_t at)
{
    const struct om_doc_tensor *const t = &f->g->tensors.items[at];
    const struct om_doc_tensor *same;
    om_sv bytes, others, key;
    uint32_t first;

    if (is_port(f, t->name) || !bytes_of(f, t, &bytes))
        return 0;
    key = key_of(f, t, bytes);
    if (!key.ptr)
        return fz_no_memory(f);
    if (!om_map_get(seen, key, &first))
        return om_map_put(seen, key, at) < 0 ? fz_no_memory(f) : 0;
    same = &f->g->tensors.items[first];
    if (!bytes_of(f, same, &others) || !om_sv_eq(bytes, others))
        return 0;
    f->changes++;
    return fz_alias(f, t->name, same->name);
}

int fz_share_tensors(struct fuse *f)
{
    struct om_map seen = OM_MAP_INIT;
    int rc = 0;

    for (size_t i = 0; i < f->g->tensors.len && rc == 0; i++)
        rc = share(f, &seen, (uint32_t)i);
    om_map_release(&seen);
    return rc;
}
