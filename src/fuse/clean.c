/* src/fuse/clean.c: what computes nothing: constants, copies, casts to the type that is there,
 * nodes that another node computes as well, shapes that are numbers. */
#include <stdlib.h>

#include "fuse/internal.h"

#define KEY_MAX (1u << 20)
#define LIST_MAX 64

static const char *const random_ops[] = { "RandomNormal",  "RandomNormalLike",
                                          "RandomUniform", "RandomUniformLike",
                                          "Multinomial",   "Bernoulli",
                                          "Dropout" };

static bool is_random(const struct om_doc_node *n)
{
    for (size_t i = 0; i < OM_COUNT(random_ops); i++)
        if (om_sv_is(n->op, random_ops[i]))
            return true;
    return false;
}

/* ---- constants ---- */

static int hoist_constant(struct fuse *f, struct om_doc_node *n)
{
    const struct om_doc_attr *const a = om_doc_attr(n, "value");
    struct om_doc_tensor t;
    bool added;

    if (!fz_is(n, "", "Constant") || !a || n->n_out != 1 || fz_is_output(f, n->out[0]))
        return 0;
    OM_TRY(om_doc_attr_tensor(f->d, a, &t, f->err));
    OM_TRY(fz_add_tensor(f, &t, n->out[0], &added));
    if (!added)
        return 0;
    fz_kill(f, n);
    f->changes++;
    return 0;
}

/* An integer vector whose elements follow from constants alone. */
static int fold_shape(struct fuse *f, struct om_doc_node *n)
{
    const struct om_value *v;
    int64_t wide[LIST_MAX];
    int32_t narrow[LIST_MAX];
    uint8_t truths[LIST_MAX];
    size_t len;

    if (n->n_out != 1 || n->domain.len > 0 || fz_is_output(f, n->out[0]) || is_random(n))
        return 0;
    v = fz_shape(f, n->out[0]);
    if (!v || v->rank > 1 || !fz_ints(f, n->out[0], wide, OM_COUNT(wide), &len))
        return 0;
    for (size_t i = 0; i < len; i++) {
        if (v->dtype == OM_I32 && wide[i] != (int32_t)wide[i])
            return 0;
        narrow[i] = (int32_t)wide[i];
        truths[i] = wide[i] != 0;
    }
    if (!om_doc_add_const(f->d, f->g, n->out[0], om_dtype_onnx(v->dtype),
                          &(int64_t){ (int64_t)len }, v->rank,
                          v->dtype == OM_I64   ? (const void *)wide
                          : v->dtype == OM_I32 ? (const void *)narrow
                                               : truths))
        return fz_no_memory(f);
    fz_kill(f, n);
    f->changes++;
    return 0;
}

/* ---- copies ---- */

static bool is_copy(const struct fuse *f, const struct om_doc_node *n)
{
    int64_t to;

    if (n->domain.len > 0 || n->n_in == 0 || n->in[0].len == 0)
        return false;
    if (om_sv_is(n->op, "Identity"))
        return n->n_in == 1 && n->n_out == 1;
    if (om_sv_is(n->op, "Dropout")) /* without training_mode; the mask is not wanted */
        return n->n_in < 3 && n->n_out == 1 && f->opset >= 12;
    return om_sv_is(n->op, "Cast") && n->n_in == 1 && n->n_out == 1 && fz_int(n, "to", 0, &to) &&
           to != 0 && to == om_doc_types_find(f->types, f->g, n->in[0]);
}

static int drop_copy(struct fuse *f, struct om_doc_node *n)
{
    return is_copy(f, n) ? fz_drop(f, n, n->in[0]) : 0;
}

/* ---- equal nodes ---- */

static bool may_share(const struct fuse *f, const struct om_doc_node *n)
{
    if ((n->domain.len > 0 && !om_sv_is(n->domain, "com.microsoft")) || n->n_out == 0 ||
        is_random(n))
        return false;
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].n_graphs > 0)
            return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (fz_is_output(f, n->out[i]))
            return false;
    return true;
}

static void add_part(struct om_buf *b, om_sv part)
{
    om_buf_printf(b, "%zu:", part.len);
    om_buf_add(b, part.ptr, part.len);
}

/* Operator, operands, attributes, and which results there are. */
static void write_key(struct om_buf *b, const struct om_doc_node *n)
{
    add_part(b, n->domain);
    add_part(b, n->op);
    for (uint32_t i = 0; i < n->n_in; i++)
        add_part(b, n->in[i]);
    om_buf_addc(b, '/');
    for (uint32_t i = 0; i < n->n_out; i++)
        om_buf_addc(b, n->out[i].len > 0 ? '+' : '-');
    for (uint32_t i = 0; i < n->n_attrs; i++)
        add_part(b, n->attrs[i].message);
}

static int share_node(struct fuse *f, struct om_map *seen, uint32_t at, struct om_doc_node *n)
{
    struct om_buf b = OM_BUF_INIT(KEY_MAX);
    const char *key;
    uint32_t first;
    om_sv text;
    int rc = 0;

    if (!may_share(f, n))
        return 0;
    write_key(&b, n);
    text = om_buf_sv(&b);
    if (b.failed) { /* too long an attribute to be compared */
        om_buf_release(&b);
        return 0;
    }
    if (om_map_get(seen, text, &first)) {
        const struct om_doc_node *const same = &f->g->nodes.items[first];

        for (uint32_t i = 0; i < n->n_out && rc == 0; i++)
            if (n->out[i].len > 0)
                rc = fz_alias(f, n->out[i], same->out[i]);
        if (rc == 0)
            fz_kill(f, n);
        f->changes++;
    } else {
        key = om_arena_copy(f->d->arena, text.ptr, text.len);
        if (!key || om_map_put(seen, (om_sv){ key, text.len }, at) < 0)
            rc = fz_no_memory(f);
    }
    om_buf_release(&b);
    return rc;
}

static void read_aliases(struct fuse *f, struct om_doc_node *n)
{
    uint32_t at;

    for (uint32_t i = 0; i < n->n_in; i++)
        if (om_map_get(&f->aliases, n->in[i], &at))
            n->in[i] = f->targets[at];
}

/* In this order on every node, as long as it is there. */
static fz_rule *const rules[] = { hoist_constant,  fold_shape,          drop_copy,
                                  fz_drop_moves,   fz_drop_spread,      fz_drop_neutral,
                                  fz_drop_choice,  fz_drop_logic,       fz_merge_casts,
                                  fz_merge_views,  fz_merge_unsqueezes, fz_merge_transposes,
                                  fz_merge_turned, fz_constant_target,  fz_piece_of_shape,
                                  fz_fold };

static int clean_node(struct fuse *f, struct om_doc_node *n)
{
    read_aliases(f, n);
    for (size_t i = 0; i < OM_COUNT(rules) && !fz_is_dead(n); i++)
        OM_TRY(rules[i](f, n));
    return 0;
}

/* Nodes that give what a node before them gives. */
struct seen {
    struct om_map nodes, extents;
};

static int share(struct fuse *f, struct seen *s, size_t at)
{
    struct om_doc_node *const n = &f->g->nodes.items[at];

    if (!fz_is_dead(n))
        OM_TRY(share_node(f, &s->nodes, (uint32_t)at, n));
    return fz_is_dead(n) ? 0 : fz_share_extents(f, &s->extents, (uint32_t)at, n);
}

int fz_clean(struct fuse *f)
{
    struct seen s = { OM_MAP_INIT, OM_MAP_INIT };
    int rc = fz_share_tensors(f);

    for (size_t i = 0; i < f->g->nodes.len && rc == 0; i++) {
        if (fz_is_dead(&f->g->nodes.items[i]) || f->g->nodes.items[i].n_out == 0)
            continue;
        rc = clean_node(f, &f->g->nodes.items[i]);
        if (rc == 0)
            rc = share(f, &s, i);
    }
    om_map_release(&s.nodes);
    om_map_release(&s.extents);
    return rc;
}
