/* src/quant/gemm.c: Gemm becomes MatMul and Add. */
#include <stdlib.h>

#include "quant/internal.h"

struct gemms {
    struct om_quant_job *j;
    struct om_map transposed; /* initializers, by graph and name, to indices into names */
    om_sv *names;
    size_t n, cap;
};

static struct om_doc_tensor *owned_tensor(struct om_doc_graph *g, om_sv name,
                                          struct om_doc_graph **owner)
{
    for (; g; g = g->parent) {
        struct om_doc_tensor *const t = om_doc_find_tensor(g, name);

        if (t) {
            *owner = g;
            return t;
        }
    }
    return NULL;
}

/* NAME_Transposed beside the initializer: a view of the same bytes. */
static int transposed_view(struct gemms *x, struct om_doc_graph *g, struct om_doc_tensor *t,
                           om_sv key, om_sv *out)
{
    struct om_quant_job *const j = x->j;
    struct om_weight *const w = om_arena_alloc(j->arena, sizeof(*w));
    int64_t *const dims = om_arena_array(j->arena, 4, sizeof(*dims));
    struct om_doc_tensor *copy;
    om_sv name;

    if (!w || !dims || !om_grow(&x->names, &x->cap, x->n + 1, sizeof(*x->names)) ||
        om_map_put(&x->transposed, key, (uint32_t)x->n) < 0)
        return om_quant_no_memory(j);
    OM_TRY(om_doc_weight(j->doc, t, w, j->err));
    name = om_doc_text(j->doc, "%.*s_Transposed", OM_SV(t->name));
    if (name.len == 0)
        return om_quant_no_memory(j);
    OM_TRY(om_quant_name(j, name, &name));
    memcpy(dims, (int64_t[]){ t->dims[1], t->dims[0], 1, t->dims[1] }, 4 * sizeof(*dims));
    if (w->strides) { /* a view already */
        dims[2] = w->strides[1];
        dims[3] = w->strides[0];
    }
    w->name = name;
    w->dims = dims;
    w->strides = dims + 2;
    copy = om_doc_add_tensor(j->doc, g); /* t may have moved */
    if (!copy || !om_doc_types_put(j->types, g, name, OM_Q_F32))
        return om_quant_no_memory(j);
    *copy = (struct om_doc_tensor){ .name = name,
                                    .type = OM_Q_F32,
                                    .rank = 2,
                                    .dims = dims,
                                    .bytes = om_weight_bytes(w),
                                    .weight = w };
    x->names[x->n++] = name;
    *out = name;
    return 0;
}

struct gemm {
    float alpha, beta;
    int64_t trans_a, trans_b;
};

static int read_gemm(const struct om_doc_node *n, struct gemm *m, struct om_error *err)
{
    *m = (struct gemm){ 1.0f, 1.0f, 0, 0 };
    OM_TRY(om_doc_attr_float(n, "alpha", &m->alpha, err));
    OM_TRY(om_doc_attr_float(n, "beta", &m->beta, err));
    OM_TRY(om_doc_attr_int(n, "transA", &m->trans_a, err));
    return om_doc_attr_int(n, "transB", &m->trans_b, err);
}

static bool fits_gemm(const struct gemms *x, struct om_doc_graph *g, const struct om_doc_node *n,
                      struct gemm *m)
{
    struct om_doc_graph *owner;

    if (!om_sv_is(n->op, "Gemm") || n->domain.len > 0 || n->n_in < 2 || n->n_out != 1)
        return false;
    if (!om_quant_wants_gemm(x->j, n))
        return false;
    if (x->j->config->constant_weights && !owned_tensor(g, n->in[1], &owner))
        return false;
    if (read_gemm(n, m, NULL) < 0 || m->alpha != 1.0f || m->beta != 1.0f || m->trans_a != 0)
        return false;
    return om_doc_types_find(x->j->types, g, n->in[0]) == OM_Q_F32;
}

/* The right side in the orientation of MatMul: the initializer, its transposed view, or a
 * Transpose. */
static int right_side(struct gemms *x, struct om_doc_graph *g, const struct om_doc_node *n,
                      const struct gemm *m, om_sv *out)
{
    struct om_quant_job *const j = x->j;
    struct om_doc_graph *owner = NULL;
    struct om_doc_tensor *t;
    struct om_doc_node *node;
    uint32_t at;

    *out = n->in[1];
    if (m->trans_b == 0)
        return 0;
    t = owned_tensor(g, n->in[1], &owner);
    if (t && t->rank == 2 && t->type == OM_Q_F32) {
        const om_sv key = om_doc_text(j->doc, "%p %.*s", (void *)owner, OM_SV(t->name));

        if (key.len == 0)
            return om_quant_no_memory(j);
        if (!om_map_get(&x->transposed, key, &at))
            return transposed_view(x, owner, t, key, out);
        *out = x->names[at];
        return 0;
    }
    OM_TRY(om_quant_name(j, om_doc_text(j->doc, "%.*s_Transposed", OM_SV(n->in[1])), out));
    node = om_doc_add_node(j->doc, g);
    if (!node)
        return om_quant_no_memory(j);
    node->op = om_sv_str("Transpose");
    node->name = n->name.len > 0 ? om_doc_text(j->doc, "%.*s_Transpose", OM_SV(n->name)) : n->name;
    node->in = om_arena_copy(j->arena, &n->in[1], sizeof(om_sv));
    node->out = om_arena_copy(j->arena, out, sizeof(om_sv));
    node->n_in = node->n_out = 1;
    return node->in && node->out && om_doc_types_put(j->types, g, *out, OM_Q_F32)
               ? 0
               : om_quant_no_memory(j);
}

static int put_pair(struct om_quant_job *j, struct om_doc_graph *g, const char *op, om_sv name,
                    om_sv a, om_sv b, om_sv out)
{
    struct om_doc_node *const node = om_doc_add_node(j->doc, g);
    const om_sv in[] = { a, b };

    if (!node)
        return om_quant_no_memory(j);
    node->op = om_sv_str(op);
    node->name = name;
    node->in = om_arena_copy(j->arena, in, sizeof(in));
    node->out = om_arena_copy(j->arena, &out, sizeof(out));
    node->n_in = 2;
    node->n_out = 1;
    return node->in && node->out && om_doc_types_put(j->types, g, out, OM_Q_F32)
               ? 0
               : om_quant_no_memory(j);
}

static int split_gemm(struct gemms *x, struct om_doc_graph *g, const struct om_doc_node *n,
                      const struct gemm *m)
{
    struct om_quant_job *const j = x->j;
    const bool bias = n->n_in > 2 && n->in[2].len > 0;
    const bool named = n->name.len > 0;
    om_sv right, product = n->out[0];

    OM_TRY(right_side(x, g, n, m, &right));
    if (bias)
        OM_TRY(om_quant_name(j, om_doc_text(j->doc, "%.*s_MatMul", OM_SV(n->out[0])), &product));
    OM_TRY(put_pair(j, g, "MatMul",
                    named ? om_doc_text(j->doc, "%.*s_MatMul", OM_SV(n->name)) : n->name, n->in[0],
                    right, product));
    if (!bias)
        return 0;
    return put_pair(j, g, "Add", named ? om_doc_text(j->doc, "%.*s_Add", OM_SV(n->name)) : n->name,
                    product, n->in[2], n->out[0]);
}

static int split_gemms(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct gemms *const x = user;
    const struct om_doc_nodes old = g->nodes;

    (void)err;
    g->nodes = (struct om_doc_nodes){ .items = NULL };
    for (size_t i = 0; i < old.len; i++) {
        const struct om_doc_node *const n = &old.items[i];
        struct om_doc_node *copy;
        struct gemm m;

        if (fits_gemm(x, g, n, &m)) {
            OM_TRY(split_gemm(x, g, n, &m));
            continue;
        }
        copy = om_doc_add_node(x->j->doc, g);
        if (!copy)
            return om_quant_no_memory(x->j);
        *copy = *n;
    }
    return 0;
}

int om_quant_split_gemms(struct om_quant_job *j)
{
    struct gemms x = { .j = j, .transposed = OM_MAP_INIT };
    const int rc = om_doc_walk(j->doc->graph, split_gemms, &x, j->err);

    om_map_release(&x.transposed);
    free(x.names);
    return rc;
}
