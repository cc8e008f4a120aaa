/* src/quant/job.c: what every method needs: lists of the configuration, fresh names, casts of
 * weights. */
#include "quant/internal.h"

#include <stdlib.h>

int om_quant_no_memory(const struct om_quant_job *j)
{
    return om_fail(j->err, OM_E_NOMEM, "out of memory");
}

static bool listed(const struct om_map *list, om_sv name)
{
    static const char *const endings[] = { "_MatMul" };

    if (om_map_get(list, name, NULL))
        return true;
    /* A Gemm becomes a MatMul of another name, which is the one that Optimum's lists know. */
    for (size_t i = 0; i < OM_COUNT(endings); i++) {
        om_sv stem = name;

        if (!om_sv_ends(name, om_sv_str(endings[i])))
            continue;
        stem.len -= strlen(endings[i]);
        if (om_map_get(list, stem, NULL))
            return true;
    }
    return false;
}

bool om_quant_wants(const struct om_quant_job *j, om_sv op, om_sv name)
{
    if (j->only.len > 0 && !listed(&j->only, name))
        return false;
    return om_map_get(&j->operators, op, NULL) && !listed(&j->exclude, name);
}

bool om_quant_wants_gemm(const struct om_quant_job *j, const struct om_doc_node *n)
{
    const om_sv name =
        n->name.len > 0 ? om_doc_text(j->doc, "%.*s_MatMul", OM_SV(n->name)) : n->name;

    return om_quant_wants(j, OM_SVL("MatMul"), name);
}

int om_quant_name(struct om_quant_job *j, om_sv base, om_sv *out)
{
    om_sv name = base;

    for (unsigned i = 1; om_map_get(&j->names, name, NULL); i++) {
        name = om_doc_text(j->doc, "%.*s_%u", OM_SV(base), i);
        if (name.len == 0)
            return om_quant_no_memory(j);
    }
    if (name.len == 0 || om_map_put(&j->names, name, 0) < 0)
        return om_quant_no_memory(j);
    *out = name;
    return 0;
}

int om_quant_add_layer(struct om_quant_job *j, struct om_quant_layer layer)
{
    uint32_t at;

    if (om_map_get(&j->folded, layer.name, &at))
        layer.name = j->origins[at];
    if (!om_grow(&j->layers, &j->cap_layers, j->n_layers + 1, sizeof(*j->layers)))
        return om_quant_no_memory(j);
    j->layers[j->n_layers++] = layer;
    return 0;
}

/* ---- weights behind a Cast ---- */

/* Who reads a value: products that take it as their weight, and others. */
struct readers {
    uint32_t products, others;
};

struct folding {
    struct om_quant_job *j;
    struct om_map index; /* name of a Cast's output to its entry */
    struct readers *readers;
    size_t n, cap;
};

static bool is_widening(const struct om_doc_graph *g, const struct om_doc_node *n)
{
    const struct om_doc_tensor *t;
    int64_t to = 0;

    if (!om_sv_is(n->op, "Cast") || n->domain.len > 0 || n->n_in != 1 || n->n_out != 1)
        return false;
    if (om_doc_attr_int(n, "to", &to, NULL) < 0 || to != OM_Q_F32)
        return false;
    t = om_doc_find_tensor(g, n->in[0]);
    return t && (t->type == OM_Q_F16 || t->type == 16) && t->rank >= 2;
}

static int note_casts(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct folding *const f = user;

    for (size_t i = 0; i < g->nodes.len; i++) {
        const struct om_doc_node *const n = &g->nodes.items[i];

        if (!is_widening(g, n))
            continue;
        if (!om_grow(&f->readers, &f->cap, f->n + 1, sizeof(*f->readers)) ||
            om_map_put(&f->index, n->out[0], (uint32_t)f->n) < 0)
            return om_fail(err, OM_E_NOMEM, "out of memory");
        f->readers[f->n++] = (struct readers){ 0, 0 };
    }
    return 0;
}

static bool is_product(const struct om_quant_job *j, const struct om_doc_node *n)
{
    if (n->domain.len > 0)
        return false;
    if (om_sv_is(n->op, "MatMul"))
        return om_quant_wants(j, n->op, n->name);
    return om_sv_is(n->op, "Gemm") && om_quant_wants_gemm(j, n);
}

static int note_readers(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct folding *const f = user;
    uint32_t at;

    (void)err;
    for (size_t i = 0; i < g->nodes.len; i++) {
        const struct om_doc_node *const n = &g->nodes.items[i];

        for (uint32_t k = 0; k < n->n_in; k++) {
            if (!om_map_get(&f->index, n->in[k], &at))
                continue;
            if (k == 1 && is_product(f->j, n))
                f->readers[at].products++;
            else
                f->readers[at].others++;
        }
    }
    for (size_t i = 0; i < g->outputs.len; i++)
        if (om_map_get(&f->index, g->outputs.items[i].name, &at))
            f->readers[at].others++;
    return 0;
}

/* The Cast's output as an initializer: a float32 view of the 16-bit tensor. */
static int add_view(struct om_quant_job *j, struct om_doc_graph *g, const struct om_doc_node *n)
{
    struct om_weight *const w = om_arena_alloc(j->arena, sizeof(*w));
    struct om_doc_tensor *t;

    if (!w)
        return om_quant_no_memory(j);
    OM_TRY(om_doc_weight(j->doc, om_doc_find_tensor(g, n->in[0]), w, j->err));
    w->dtype = OM_F32;
    w->name = n->out[0];
    t = om_doc_add_tensor(j->doc, g);
    if (!t || !om_grow(&j->origins, &j->cap_origins, j->n_origins + 1, sizeof(*j->origins)) ||
        om_map_put(&j->folded, n->out[0], (uint32_t)j->n_origins) < 0)
        return om_quant_no_memory(j);
    j->origins[j->n_origins++] = n->in[0];
    *t = (struct om_doc_tensor){ .name = n->out[0],
                                 .type = OM_Q_F32,
                                 .rank = w->rank,
                                 .dims = w->dims,
                                 .bytes = om_weight_bytes(w),
                                 .weight = w };
    return 0;
}

static int fold_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct folding *const f = user;
    size_t kept = 0;

    (void)err;
    for (size_t i = 0; i < g->nodes.len; i++) {
        const struct om_doc_node n = g->nodes.items[i];
        uint32_t at;

        if (n.n_out == 1 && om_map_get(&f->index, n.out[0], &at) && is_widening(g, &n) &&
            f->readers[at].others == 0 && f->readers[at].products > 0)
            OM_TRY(add_view(f->j, g, &n));
        else
            g->nodes.items[kept++] = n;
    }
    g->nodes.len = kept;
    return 0;
}

int om_quant_fold_casts(struct om_quant_job *j)
{
    struct folding f = { .j = j, .index = OM_MAP_INIT };
    int rc = om_doc_walk(j->doc->graph, note_casts, &f, j->err);

    if (rc == 0 && f.n > 0)
        rc = om_doc_walk(j->doc->graph, note_readers, &f, j->err);
    if (rc == 0 && f.n > 0)
        rc = om_doc_walk(j->doc->graph, fold_graph, &f, j->err);
    om_map_release(&f.index);
    free(f.readers);
    return rc;
}
