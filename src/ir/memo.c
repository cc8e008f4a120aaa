/* src/ir/memo.c: see memo.h. */
#include "ir/memo.h"

#include <stdlib.h>

struct om_memo_entry {
    const om_val *out;
    uint32_t n_out, block;
};

void om_memo_release(struct om_memo *m)
{
    om_map_release(&m->by_key);
    free(m->entries);
    om_buf_release(&m->key);
    m->entries = NULL;
    m->len = m->cap = 0;
}

/* ---- keys: every part is preceded by its length, so that no two nodes share one ---- */

static void add_u64(struct om_buf *out, uint64_t v)
{
    om_buf_add(out, &v, sizeof(v));
}

static void add_bytes(struct om_buf *out, const void *data, size_t len)
{
    add_u64(out, len);
    if (len > 0)
        om_buf_add(out, data, len);
}

static void add_tensor(struct om_buf *out, const struct om_weight *w)
{
    add_u64(out, w->dtype);
    add_bytes(out, w->dims, w->rank * sizeof(*w->dims));
    add_bytes(out, w->data, w->bytes);
}

static void add_attr(struct om_buf *out, const struct om_attr *a)
{
    add_bytes(out, a->name, strlen(a->name));
    add_u64(out, a->kind);
    switch (a->kind) {
    case OM_ATTR_INT:
    case OM_ATTR_BLOCK:
        om_buf_add(out, &a->i, sizeof(a->i));
        break;
    case OM_ATTR_FLOAT:
        om_buf_add(out, &a->f, sizeof(a->f));
        break;
    case OM_ATTR_STRING:
        add_bytes(out, a->s.ptr, a->s.len);
        break;
    case OM_ATTR_INTS:
        add_bytes(out, a->ints, a->n * sizeof(*a->ints));
        break;
    case OM_ATTR_DIMS:
        add_bytes(out, a->dims, a->n * sizeof(*a->dims));
        break;
    case OM_ATTR_TENSOR:
        add_tensor(out, a->tensor);
        break;
    }
}

static void set_key(struct om_buf *out, enum om_op op, const om_val *in, uint32_t n_in,
                    const struct om_attr *attrs, uint32_t n_attrs, uint32_t n_out)
{
    om_buf_clear(out);
    add_u64(out, op);
    add_u64(out, n_out);
    add_u64(out, n_in);
    for (uint32_t i = 0; i < n_in; i++)
        add_u64(out, in[i].id);
    for (uint32_t i = 0; i < n_attrs; i++)
        add_attr(out, &attrs[i]);
}

/* ---- emitting ---- */

/* Whether block is other or lies inside it. */
static bool within(const struct om_graph *g, uint32_t block, uint32_t other)
{
    while (block != other && block != 0)
        block = g->blocks[block].parent;
    return block == other;
}

static const struct om_memo_entry *find(const struct om_memo *m, const struct om_graph *g)
{
    uint32_t i;

    if (!om_map_get(&m->by_key, om_buf_sv(&m->key), &i))
        return NULL;
    return within(g, g->block, m->entries[i].block) ? &m->entries[i] : NULL;
}

/* Of equal nodes in two branches the newer one is remembered. */
static bool remember(struct om_memo *m, const struct om_graph *g, const om_val *out, uint32_t n_out)
{
    const om_sv key = om_buf_sv(&m->key);
    const char *kept = om_arena_copy(g->arena, key.ptr, key.len);
    const om_val *results = om_arena_copy(g->arena, out, n_out * sizeof(*out));

    if (!kept || !results || !om_grow(&m->entries, &m->cap, m->len + 1, sizeof(*m->entries)) ||
        om_map_put(&m->by_key, (om_sv){ kept, key.len }, (uint32_t)m->len) < 0)
        return false;
    m->entries[m->len++] =
        (struct om_memo_entry){ .out = results, .n_out = n_out, .block = g->block };
    return true;
}

/* Attributes whose lists live as long as the graph; NULL when memory is short. */
static const struct om_attr *keep_attrs(struct om_arena *a, const struct om_attr *attrs, uint32_t n)
{
    struct om_attr *copy = om_arena_array(a, (size_t)n + 1, sizeof(*copy));

    for (uint32_t i = 0; copy && i < n; i++) {
        copy[i] = attrs[i];
        if (!attrs[i].ints)
            continue;
        copy[i].ints = om_arena_copy(a, attrs[i].ints, attrs[i].n * sizeof(*attrs[i].ints));
        if (!copy[i].ints)
            return NULL;
    }
    return copy;
}

void om_memo_emit_n(struct om_memo *m, struct om_graph *g, enum om_op op, om_sv scope,
                    const om_val *in, uint32_t n_in, const struct om_attr *attrs, uint32_t n_attrs,
                    om_val *out, uint32_t n_out)
{
    const struct om_memo_entry *e;
    const struct om_attr *kept;

    set_key(&m->key, op, in, n_in, attrs, n_attrs, n_out);
    e = m->key.failed || op == OM_OP_If ? NULL : find(m, g);
    if (e) {
        memcpy(out, e->out, n_out * sizeof(*out));
        return;
    }
    memset(out, 0, n_out * sizeof(*out));
    kept = keep_attrs(g->arena, attrs, n_attrs);
    if (m->key.failed || !kept) {
        om_graph_fail(g, OM_E_NOMEM, "out of memory for a graph");
        return;
    }
    om_graph_emit_n(g, op, scope, in, n_in, kept, n_attrs, out, n_out);
    if (op != OM_OP_If && n_out > 0 && out[0].id != 0 && !remember(m, g, out, n_out))
        om_graph_fail(g, OM_E_NOMEM, "out of memory for a graph");
}
