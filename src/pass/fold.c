/* src/pass/fold.c: nodes with constant inputs become constants, computed by the reference executor.
 *
 * Only where the file gets smaller: a node takes some hundred bytes, mostly names, so a result may
 * be that much larger than the constants that nobody needs any more. */
#include "base/base.h"
#include "ir/rewrite.h"
#include "pass/internal.h"
#include "ref/ref.h"

enum {
    NODE_BYTES =
        64, /* what a node takes at least, beyond what the constant takes besides its data */
    LARGEST_INPUT = 64 << 10, /* bytes of a constant that is computed with */
};
#define SCRATCH_MAX ((size_t)64 << 20)

struct fold {
    struct om_rewrite rw; /* the first member */
    const struct om_graph *g;
    uint32_t *uses; /* by value, from nodes and outputs that stay or go */
    bool *folds;    /* by node */
    bool *wanted;   /* by value: made by a node that folds, used by something that stays */
    const struct om_tensor **result; /* by value */
};

/* ---- what to fold ---- */

static bool constant_bytes(const struct om_graph *g, om_val v, uint64_t *bytes)
{
    const struct om_value *value = om_graph_value(g, v);
    int64_t dims[OM_RANK_MAX];
    const struct om_tensor t = { .dtype = value->dtype, .rank = value->rank, .dims = dims };

    for (uint32_t i = 0; i < value->rank; i++)
        if (!om_dim_is_const(g->dims, value->dims[i], &dims[i]))
            return false;
    return om_tensor_bytes(&t, bytes);
}

/* A constant, or what will be one. */
static bool is_constant(const struct fold *f, om_val v, uint64_t *bytes)
{
    const struct om_value *value = om_graph_value(f->g, v);

    if (value->weight != OM_NO_WEIGHT) {
        const struct om_weight *w = &f->g->weights[value->weight];
        *bytes = w->bytes;
        return !w->file && !w->strides && w->n_parts == 0 && w->src_dtype == w->dtype &&
               w->bytes <= LARGEST_INPUT;
    }
    return value->node != OM_NO_NODE && f->folds[value->node] && constant_bytes(f->g, v, bytes);
}

static bool worthwhile(const struct fold *f, const struct om_node *n)
{
    uint64_t saved = NODE_BYTES, made = 0, bytes = 0;

    for (uint32_t i = 0; i < n->n_in; i++) {
        if (n->in[i].id == 0)
            continue;
        if (!is_constant(f, n->in[i], &bytes))
            return false;
        if (f->uses[n->in[i].id] == 1)
            saved += bytes;
    }
    for (uint32_t i = 0; i < n->n_out; i++) {
        if (!constant_bytes(f->g, n->out[i], &bytes) || bytes > LARGEST_INPUT)
            return false;
        made += bytes;
    }
    return made <= saved;
}

/* What the graph or a branch gives needs a node to be made by. */
static bool is_output(const struct fold *f, const struct om_node *n)
{
    const struct om_block *b = &f->g->blocks[n->block];

    for (size_t i = 0; i < b->n_outputs; i++)
        for (uint32_t k = 0; k < n->n_out; k++)
            if (b->outputs[i].val.id == n->out[k].id)
                return true;
    return false;
}

static bool dims_are_constant(const struct fold *f, const struct om_node *n)
{
    const struct om_attr *a = om_node_attr(n, "dims");

    for (uint32_t i = 0; a && i < a->n; i++)
        if (!om_dim_is_const(f->g->dims, a->dims[i], NULL))
            return false;
    return a != NULL;
}

static bool may_fold(const struct fold *f, const struct om_node *n)
{
    if (n->op == OM_OP_If || (n->op == OM_OP_Dims && !dims_are_constant(f, n)))
        return false;
    return !is_output(f, n) && worthwhile(f, n);
}

/* Nodes are in execution order, so inputs are decided before their consumers. */
static void choose(struct fold *f)
{
    const struct om_graph *g = f->g;

    for (size_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++)
            f->uses[g->nodes[i].in[k].id]++;
    for (size_t b = 0; b < g->n_blocks; b++)
        for (size_t i = 0; i < g->blocks[b].n_outputs; i++)
            f->uses[g->blocks[b].outputs[i].val.id]++;
    for (size_t i = 0; i < g->n_nodes; i++)
        f->folds[i] = may_fold(f, &g->nodes[i]);
}

static void want(struct fold *f, om_val v)
{
    const uint32_t node = om_graph_value(f->g, v)->node;

    if (v.id != 0 && node != OM_NO_NODE)
        f->wanted[v.id] |= f->folds[node];
}

static size_t find_wanted(struct fold *f)
{
    const struct om_graph *g = f->g;
    size_t n = 0;

    for (size_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; !f->folds[i] && k < g->nodes[i].n_in; k++)
            want(f, g->nodes[i].in[k]);
    for (size_t b = 0; b < g->n_blocks; b++)
        for (size_t i = 0; i < g->blocks[b].n_outputs; i++)
            want(f, g->blocks[b].outputs[i].val);
    for (size_t i = 0; i < g->n_values; i++)
        n += f->wanted[i];
    return n;
}

/* ---- computing ---- */

static om_val carry(const struct fold *f, struct om_graph *t, om_val *map, om_val v)
{
    const struct om_value *value = om_graph_value(f->g, v);

    if (v.id != 0 && map[v.id].id == 0 && value->weight != OM_NO_WEIGHT) {
        const struct om_weight *w = &f->g->weights[value->weight];
        map[v.id] = om_graph_const(t, w->dtype, w->dims, w->rank, w->data);
    }
    return map[v.id];
}

static om_val constant_shape(const struct fold *f, struct om_graph *t, const struct om_node *n)
{
    const struct om_attr *a = om_node_attr(n, "dims");
    const int64_t len = a->n;
    int64_t v[OM_RANK_MAX];

    for (uint32_t i = 0; i < a->n; i++)
        om_dim_is_const(f->g->dims, a->dims[i], &v[i]);
    return om_graph_const(t, OM_I64, &len, 1, v);
}

static void emit(const struct fold *f, struct om_graph *t, om_val *map, const struct om_node *n)
{
    om_val *in = om_arena_array(t->arena, n->n_in, sizeof(*in));
    om_val *out = om_arena_array(t->arena, n->n_out, sizeof(*out));

    if (!in || !out) {
        om_graph_fail(t, OM_E_NOMEM, "out of memory for a graph");
        return;
    }
    if (n->op == OM_OP_Dims) {
        map[n->out[0].id] = constant_shape(f, t, n);
        return;
    }
    for (uint32_t i = 0; i < n->n_in; i++)
        in[i] = carry(f, t, map, n->in[i]);
    om_graph_emit_n(t, n->op, n->scope, in, n->n_in, n->attrs, n->n_attrs, out, n->n_out);
    for (uint32_t i = 0; i < n->n_out; i++)
        map[n->out[i].id] = out[i];
}

/* The nodes that fold as a graph of their own, its outputs the wanted values in order. */
static int constant_graph(const struct fold *f, struct om_arena *a, struct om_graph **out,
                          struct om_error *err)
{
    om_val *map = om_arena_array(a, f->g->n_values, sizeof(*map));
    struct om_graph *t;
    int rc;

    if (!map)
        return om_fail(err, OM_E_NOMEM, "out of memory for a graph");
    OM_TRY(om_graph_new(a, NULL, OM_SVL("constants"), &t, err));
    for (size_t i = 0; i < f->g->n_nodes; i++)
        if (f->folds[i])
            emit(f, t, map, &f->g->nodes[i]);
    for (uint32_t v = 0; v < f->g->n_values; v++) {
        const char *name = f->wanted[v] ? om_arena_printf(a, "%" PRIu32, v) : NULL;
        if (name)
            om_graph_output(t, om_sv_str(name), map[v], NULL);
        else if (f->wanted[v])
            om_graph_fail(t, OM_E_NOMEM, "out of memory for a graph");
    }
    rc = om_graph_finish(t, err);
    if (rc < 0)
        om_graph_free(t);
    else
        *out = t;
    return rc;
}

static int compute(const struct fold *f, struct om_arena *a, struct om_tensor **results,
                   struct om_error *err)
{
    const struct om_ref_opts opts = { .max_bytes = SCRATCH_MAX };
    struct om_graph *t = NULL;
    size_t n;
    int rc = constant_graph(f, a, &t, err);

    if (rc == 0)
        rc = om_ref_run(t, NULL, 0, &opts, a, results, &n, err);
    om_graph_free(t);
    return rc;
}

/* ---- replacing ---- */

static void replace(struct om_rewrite *r, const struct om_node *n)
{
    const struct fold *f = (const struct fold *)r;

    if (!f->folds[n - f->g->nodes]) {
        om_rewrite_copy(r, n);
        return;
    }
    for (uint32_t i = 0; i < n->n_out; i++) {
        const struct om_tensor *t = f->result[n->out[i].id];
        if (t)
            r->map[n->out[i].id] = om_graph_const(r->h, t->dtype, t->dims, t->rank, t->data);
    }
}

static int fold_init(struct fold *f, const struct om_graph *g, struct om_error *err)
{
    f->g = g;
    f->uses = om_arena_array(g->arena, g->n_values, sizeof(*f->uses));
    f->folds = om_arena_array(g->arena, g->n_nodes, sizeof(*f->folds));
    f->wanted = om_arena_array(g->arena, g->n_values, sizeof(*f->wanted));
    f->result = om_arena_array(g->arena, g->n_values, sizeof(*f->result));
    if (!f->uses || !f->folds || !f->wanted || !f->result)
        return om_fail(err, OM_E_NOMEM, "out of memory for a graph");
    return 0;
}

/* A node that fails on its constants fails when the model runs; it is left to do so. */
static int compute_or_leave(struct fold *f, struct om_arena *a, struct om_error *err)
{
    struct om_error why = OM_ERROR_INIT;
    struct om_tensor *results = NULL;
    size_t n = 0;
    int rc = find_wanted(f) > 0 ? compute(f, a, &results, &why) : 0;

    if (rc == OM_E_NOMEM)
        rc = om_fail(err, rc, "%s", om_error_text(&why));
    else if (rc < 0)
        memset(f->folds, 0, f->g->n_nodes * sizeof(*f->folds));
    for (size_t v = 0; rc == 0 && v < f->g->n_values; v++)
        if (f->wanted[v])
            f->result[v] = &results[n++];
    om_error_release(&why);
    return rc == OM_E_NOMEM ? rc : 0;
}

int om_pass_fold(const struct om_graph *g, struct om_graph **out, struct om_error *err)
{
    struct om_arena scratch = OM_ARENA_INIT(SCRATCH_MAX);
    struct fold f = { .g = g };
    int rc = fold_init(&f, g, err);

    if (rc == 0) {
        choose(&f);
        rc = compute_or_leave(&f, &scratch, err);
    }
    if (rc == 0)
        rc = om_rewrite_init(&f.rw, g, err);
    f.rw.node = replace;
    if (rc == 0)
        rc = om_rewrite_run(&f.rw, out, err);
    om_arena_release(&scratch);
    return rc;
}
