/* src/fuse/extents.c: numbers that are extents of axes: the same one is computed once, in as few
 * nodes as it takes. */
#include "fuse/internal.h"

static const struct om_value *extents_of(const struct fuse *f, const struct om_doc_node *n)
{
    const struct om_value *const v = n->n_out == 1 ? fz_shape(f, n->out[0]) : NULL;

    return v && v->content && v->n_content > 0 && v->rank < 2 &&
                   (v->dtype == OM_I64 || v->dtype == OM_I32)
               ? v
               : NULL;
}

/* ---- the same numbers again ---- */

/* Type, rank and extents: dims are equal when their handles are. */
static om_sv key_of(struct fuse *f, const struct om_value *v)
{
    const size_t size = (2 + (size_t)v->n_content) * sizeof(uint32_t);
    uint32_t *const key = om_arena_alloc(f->d->arena, size);

    if (!key)
        return (om_sv){ NULL, 0 };
    key[0] = (uint32_t)v->dtype;
    key[1] = v->rank;
    for (uint32_t i = 0; i < v->n_content; i++)
        key[2 + i] = v->content[i];
    return (om_sv){ (const char *)key, size };
}

int fz_share_extents(struct fuse *f, struct om_map *seen, uint32_t at, struct om_doc_node *n)
{
    const struct om_value *const v = extents_of(f, n);
    uint32_t first;
    om_sv key;

    if (!v)
        return 0;
    key = key_of(f, v);
    if (!key.ptr)
        return fz_no_memory(f);
    if (om_map_get(seen, key, &first))
        return fz_drop(f, n, f->g->nodes.items[first].out[0]);
    return om_map_put(seen, key, at) < 0 ? fz_no_memory(f) : 0;
}

/* ---- from the inputs ---- */

static bool is_run(const struct om_value *v, const struct om_value *x, uint32_t start)
{
    if (x->rank < start + v->n_content)
        return false;
    for (uint32_t i = 0; i < v->n_content; i++)
        if (x->dims[start + i] != v->content[i])
            return false;
    return true;
}

/* A model's input whose axes from start on are the numbers. */
static bool find_input(const struct fuse *f, const struct om_value *v, om_sv *name, uint32_t *start)
{
    const struct om_doc_ports *const inputs = &f->d->graph->inputs;

    for (size_t i = 0; i < inputs->len; i++) {
        const struct om_value *const x =
            fz_shapes_find(f->known, f->d->graph, inputs->items[i].name);

        for (*start = 0; x && *start < x->rank; (*start)++)
            if (is_run(v, x, *start)) {
                *name = inputs->items[i].name;
                return true;
            }
    }
    return false;
}

/* One element of a Shape, as a vector again. */
static bool is_picked(const struct fuse *f, const struct om_doc_node *n, om_sv *name,
                      uint32_t *start)
{
    const struct om_doc_node *const pick =
        fz_is(n, "", "Unsqueeze") ? fz_made_by(f, n->in[0], "Gather") : NULL;
    const struct om_doc_node *const shape =
        pick && pick->n_in == 2 ? fz_made_by(f, pick->in[0], "Shape") : NULL;
    const struct om_value *const x = shape ? fz_shape(f, shape->in[0]) : NULL;
    int64_t at;
    size_t len;

    if (!x || shape->n_attrs > 0 || !fz_ints(f, pick->in[1], &at, 1, &len) || len != 1)
        return false;
    at += at < 0 ? (int64_t)x->rank : 0;
    if (at < 0 || at >= (int64_t)x->rank)
        return false;
    *name = shape->in[0];
    *start = (uint32_t)at;
    return true;
}

static int become_shape(struct fuse *f, struct om_doc_node *n, om_sv x, uint32_t start,
                        uint32_t len)
{
    OM_TRY(fz_become(f, n, "", "Shape", &x, 1));
    f->changes++;
    if (!om_doc_put_int(f->d, n, "start", start) || !om_doc_put_int(f->d, n, "end", start + len))
        return fz_no_memory(f);
    return 0;
}

/* A list of extents that stand side by side in some shape is a piece of it. */
int fz_piece_of_shape(struct fuse *f, struct om_doc_node *n)
{
    const struct om_value *const v = extents_of(f, n);
    uint32_t start;
    om_sv x;

    if (!v || v->rank != 1 || v->dtype != OM_I64 || f->opset < 15 || fz_is(n, "", "Shape") ||
        n->n_in == 0 || n->domain.len > 0)
        return 0;
    if (find_input(f, v, &x, &start) || (v->n_content == 1 && is_picked(f, n, &x, &start)))
        return become_shape(f, n, x, start, v->n_content);
    return 0;
}
