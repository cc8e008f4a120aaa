/* src/onnx/data.c: the weight file that the graphs of one export share, and the checkpoint files
 * that serve as weight files themselves. */
#include "onnx/onnx.h"

#include <stdlib.h>

#include "onnx/weight.h"

struct extent {
    uint64_t offset, length;
};

struct alias {
    const struct om_file *source;
    const char *location;
};

struct om_onnx_data {
    struct om_arena *arena;
    struct om_out *out;
    const char *location;
    struct extent *extents; /* what was written, in file order */
    size_t len, cap;
    struct om_map views;     /* om_weight_key bytes to extents */
    struct om_map constants; /* the bytes of a computed constant to extents */
    struct alias *aliases;
    size_t n_aliases, cap_aliases;
};

/* Larger computed constants are written again by the next graph: keeping their bytes for comparison
 * would cost their size in memory. */
#define CONSTANT_KEPT_MAX (64u << 10)

int om_onnx_data_new(struct om_arena *a, struct om_out *out, const char *location,
                     struct om_onnx_data **d, struct om_error *err)
{
    struct om_onnx_data *n = om_arena_alloc(a, sizeof(*n));
    const char *copy = om_arena_str(a, om_sv_str(location));

    if (!n || !copy)
        return om_fail(err, OM_E_NOMEM, "%s: out of memory", location);
    *n = (struct om_onnx_data){ .arena = a, .out = out, .location = copy };
    *d = n;
    return 0;
}

int om_onnx_data_alias(struct om_onnx_data *d, const struct om_file *source, const char *location,
                       struct om_error *err)
{
    const char *copy = om_arena_str(d->arena, om_sv_str(location));

    if (!copy || !om_grow(&d->aliases, &d->cap_aliases, d->n_aliases + 1, sizeof(*d->aliases)))
        return om_fail(err, OM_E_NOMEM, "%s: out of memory", location);
    d->aliases[d->n_aliases++] = (struct alias){ .source = source, .location = copy };
    return 0;
}

void om_onnx_data_free(struct om_onnx_data *d)
{
    if (!d)
        return;
    om_map_release(&d->views);
    om_map_release(&d->constants);
    free(d->extents);
    free(d->aliases);
    d->extents = NULL;
    d->aliases = NULL;
}

bool om_onnx_data_empty(const struct om_onnx_data *d)
{
    return d->len == 0;
}

bool om_onnx_data_in_source(const struct om_onnx_data *d, const struct om_weight *w,
                            struct om_onnx_place *place)
{
    if (!w->file || om_weight_transformed(w) || w->bytes == 0)
        return false;
    for (size_t i = 0; i < d->n_aliases; i++) {
        if (d->aliases[i].source != w->file)
            continue;
        *place = (struct om_onnx_place){ d->aliases[i].location, w->offset, w->bytes };
        return true;
    }
    return false;
}

/* Write w at the end of the file. */
static int append(struct om_onnx_data *d, const struct om_weight *w, uint32_t *index,
                  struct om_error *err)
{
    const struct extent e = { d->out->pos, om_weight_bytes(w) };

    if (d->len >= UINT32_MAX || !om_grow(&d->extents, &d->cap, d->len + 1, sizeof(*d->extents)))
        return om_fail(err, OM_E_NOMEM, "%s: out of memory", d->location);
    OM_TRY(om_wrap(err, om_weight_stream(w, d->out, err), "%s", d->location));
    *index = (uint32_t)d->len;
    d->extents[d->len++] = e;
    return 0;
}

/* Weights are found again by source and transform, small computed ones by their bytes. */
struct lookup {
    struct om_weight_key view;
    const struct om_map *map; /* NULL: not to be found */
    om_sv key;
};

static void lookup_init(struct lookup *l, const struct om_onnx_data *d, const struct om_weight *w)
{
    *l = (struct lookup){ .map = NULL };
    if (w->file) {
        l->view = om_weight_key(w);
        l->map = &d->views;
        l->key = (om_sv){ (const char *)&l->view, sizeof(l->view) };
    } else if (w->bytes <= CONSTANT_KEPT_MAX && !om_weight_transformed(w)) {
        l->map = &d->constants;
        l->key = (om_sv){ w->data, (size_t)w->bytes };
    }
}

uint64_t om_onnx_data_missing(const struct om_onnx_data *d, const struct om_weight *w)
{
    struct lookup l;

    lookup_init(&l, d, w);
    return l.map && om_map_get(l.map, l.key, NULL) ? 0 : om_weight_bytes(w);
}

void om_onnx_data_expect(struct om_onnx_data *d, uint64_t bytes)
{
    if (bytes > 0)
        d->out->total = d->out->pos + bytes;
}

/* Let it be found by the next graph. */
static int remember(struct om_onnx_data *d, const struct lookup *l, uint32_t i,
                    struct om_error *err)
{
    struct om_map *const map = l->map == &d->views ? &d->views : &d->constants;
    const void *key = om_arena_copy(d->arena, l->key.ptr, l->key.len);

    if (!key || om_map_put(map, (om_sv){ key, l->key.len }, i) < 0)
        return om_fail(err, OM_E_NOMEM, "%s: out of memory", d->location);
    return 0;
}

int om_onnx_data_place(struct om_onnx_data *d, const struct om_weight *w,
                       struct om_onnx_place *place, struct om_error *err)
{
    struct lookup l;
    uint32_t i;

    lookup_init(&l, d, w);
    if (!l.map || !om_map_get(l.map, l.key, &i)) {
        OM_TRY(append(d, w, &i, err));
        if (l.map)
            OM_TRY(remember(d, &l, i, err));
    }
    *place = (struct om_onnx_place){ d->location, d->extents[i].offset, d->extents[i].length };
    return 0;
}
