/* src/ref/exec.c: running a graph: binding, order, lifetimes, and the checks between kernels.
 *
 * A value lives from its computation to its last use. Uses are counted beforehand over the whole
 * tree of blocks; when an If has chosen, the uses of the other branch are taken off. */
#include "ref/ref.h"

#include <stdlib.h>

#include "base/half.h"
#include "ref/bind.h"
#include "ref/kernel.h"

enum { MAX_BLOCK_DEPTH = 64 };
#define DEFAULT_MAX_BYTES (UINT64_C(16) << 30)

struct slot {
    struct ref_tensor t;
    uint32_t uses; /* that are still to come */
    bool live;
};

struct ref_run {
    const struct om_graph *g;
    const struct om_ref_opts *opts;
    struct ref_pool pool;
    struct om_arena arena; /* everything but tensors */
    struct om_dim_env env;
    struct slot *slots; /* by value */
    /* Operands of the current node; the arrays fit the largest. An If reuses them for its branch.
     */
    const struct ref_tensor **in;
    struct ref_tensor *widened, *out;
    struct om_buf name; /* of the value under observation */
    struct om_error *err;
};

static int run_block(struct ref_run *r, uint32_t block);

/* ---- uses ---- */

enum { CLAIM = 1, WAIVE = -1 };

static int release(struct ref_run *r, om_val v)
{
    struct slot *s = &r->slots[v.id];

    if (v.id == 0)
        return 0;
    if (s->uses == 0)
        return om_fail(r->err, OM_E_INTERNAL, "value %" PRIu32 " is used more often than counted",
                       v.id);
    if (--s->uses == 0 && s->live) {
        om_ref_drop(&s->t);
        s->live = false;
    }
    return 0;
}

static int count_use(struct ref_run *r, om_val v, int direction)
{
    if (v.id >= r->g->n_values)
        return om_fail(r->err, OM_E_INTERNAL, "value %" PRIu32 " does not exist", v.id);
    if (direction == WAIVE)
        return release(r, v);
    r->slots[v.id].uses++;
    return 0;
}

static int branch_of(struct ref_run *r, const struct om_node *n, const char *name, uint32_t *block)
{
    const struct om_attr *a = om_node_attr(n, name);

    if (!a || a->kind != OM_ATTR_BLOCK || a->i < 0 || (uint64_t)a->i >= r->g->n_blocks)
        return om_fail(r->err, OM_E_FORMAT, "attribute %s is missing or names no block", name);
    *block = (uint32_t)a->i;
    return 0;
}

/* Claim or waive all uses in a block and in the branches below it. */
static int count_block(struct ref_run *r, uint32_t block, int direction, unsigned depth)
{
    const struct om_block *b = &r->g->blocks[block];
    static const char *const branches[] = { "then_branch", "else_branch" };

    if (depth > MAX_BLOCK_DEPTH)
        return om_fail(r->err, OM_E_LIMIT, "branches are nested deeper than %d", MAX_BLOCK_DEPTH);
    for (size_t i = 0; i < b->n_nodes; i++) {
        const struct om_node *n = &r->g->nodes[b->nodes[i]];

        for (uint32_t k = 0; k < n->n_in; k++)
            OM_TRY(count_use(r, n->in[k], direction));
        for (size_t k = 0; n->op == OM_OP_If && k < OM_COUNT(branches); k++) {
            uint32_t below = 0;

            OM_TRY(branch_of(r, n, branches[k], &below));
            OM_TRY(count_block(r, below, direction, depth + 1));
        }
    }
    for (size_t i = 0; i < b->n_outputs; i++)
        OM_TRY(count_use(r, b->outputs[i].val, direction));
    return 0;
}

/* ---- values ---- */

/* The tensor of a value that a node reads. */
static int fetch(struct ref_run *r, om_val v, const struct ref_tensor **out)
{
    struct slot *s = &r->slots[v.id];
    const struct om_value *value = &r->g->values[v.id];

    if (!s->live && value->weight != OM_NO_WEIGHT) {
        const struct om_weight *w = &r->g->weights[value->weight];
        const int rc = om_ref_weight(&r->pool, w, &s->t, r->err);

        if (rc < 0)
            return om_wrap(r->err, rc, "weight \"%.*s\"", OM_SV(w->name));
        s->live = true;
    }
    if (!s->live)
        return om_fail(r->err, OM_E_INTERNAL,
                       "value \"%.*s\" (%" PRIu32 ") is used before it is computed",
                       OM_SV(value->name), v.id);
    *out = &s->t;
    return 0;
}

/* ---- nodes ---- */

enum om_dtype om_ref_widened(unsigned widen, enum om_dtype dtype)
{
    switch (dtype) {
    case OM_F16:
    case OM_BF16:
        return widen & REF_WIDEN_FLOAT ? OM_F32 : dtype;
    case OM_U8:
    case OM_I8:
    case OM_U16:
    case OM_I16:
    case OM_I32:
    case OM_U32:
        return widen & REF_WIDEN_INT ? OM_I64 : dtype;
    case OM_BOOL:
        return widen & REF_WIDEN_BOOL ? OM_I64 : dtype;
    case OM_DTYPE_NONE:
    case OM_DTYPE_COUNT:
    case OM_F32:
    case OM_F64:
    case OM_I64:
    case OM_U64: /* uint64 does not fit int64: kernels that compute refuse it */
        break;
    }
    return dtype;
}

static int load_operands(struct ref_run *r, const struct om_node *n)
{
    const unsigned widen = om_ref_widen[n->op];

    for (uint32_t i = 0; i < n->n_in; i++) {
        enum om_dtype dtype;

        r->in[i] = NULL;
        if (n->in[i].id == 0)
            continue;
        OM_TRY(fetch(r, n->in[i], &r->in[i]));
        dtype = om_ref_widened(widen, r->in[i]->dtype);
        if (dtype == r->in[i]->dtype)
            continue;
        OM_TRY(om_ref_convert(&r->pool, &r->widened[i], r->in[i], dtype, r->err));
        r->in[i] = &r->widened[i];
    }
    return 0;
}

static int check_output(struct ref_run *r, const struct om_value *v, const struct ref_tensor *t)
{
    int64_t want;
    int axis;

    if (t->dtype != v->dtype)
        return om_fail(r->err, OM_E_INTERNAL, "output \"%.*s\": inference says %s, computed was %s",
                       OM_SV(v->name), om_dtype_text(v->dtype), om_dtype_text(t->dtype));
    if (t->rank != v->rank)
        return om_fail(r->err, OM_E_INTERNAL,
                       "output \"%.*s\": inference says rank %" PRIu32 ", computed was %" PRIu32,
                       OM_SV(v->name), v->rank, t->rank);
    axis = om_ref_check_dims(&r->env, v->dims, t->dims, t->rank, &want);
    if (axis >= 0)
        return om_fail(r->err, OM_E_INTERNAL,
                       "output \"%.*s\": inference says %" PRId64
                       " for axis %d, computed was %" PRId64,
                       OM_SV(v->name), want, axis, t->dims[axis]);
    return 0;
}

/* Bring a result that was computed in a wider dtype back. */
static int narrow(struct ref_run *r, unsigned widen, enum om_dtype dtype, struct ref_tensor *t)
{
    struct ref_tensor narrowed;

    if (t->dtype == dtype || om_ref_widened(widen, dtype) != t->dtype)
        return 0;
    OM_TRY(om_ref_convert(&r->pool, &narrowed, t, dtype, r->err));
    om_ref_drop(t);
    *t = narrowed;
    return 0;
}

static int observe(struct ref_run *r, om_val v, const struct ref_tensor *t)
{
    const struct om_value *value = &r->g->values[v.id];
    struct om_tensor shown;

    if (!r->opts || !r->opts->observe)
        return 0;
    om_buf_clear(&r->name);
    om_buf_add(&r->name, value->name.ptr, value->name.len);
    OM_TRY(om_buf_check(&r->name, r->err));
    shown = (struct om_tensor){ r->name.ptr ? r->name.ptr : "", t->dtype, t->rank,
                                t->rank ? t->dims : NULL, t->data };
    r->opts->observe(r->opts->user, r->g, v, &shown);
    return 0;
}

static int keep_outputs(struct ref_run *r, const struct om_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++) {
        const om_val v = n->out[i];
        struct slot *s = &r->slots[v.id];

        if (v.id == 0)
            continue;
        if (s->live || !r->out[i].data)
            return om_fail(r->err, OM_E_INTERNAL, "output %" PRIu32 " was %s", i,
                           s->live ? "computed before" : "not computed");
        OM_TRY(narrow(r, om_ref_widen[n->op], r->g->values[v.id].dtype, &r->out[i]));
        OM_TRY(check_output(r, &r->g->values[v.id], &r->out[i]));
        OM_TRY(observe(r, v, &r->out[i]));
        if (s->uses == 0)
            continue;
        s->t = r->out[i]; /* moved */
        s->live = true;
        r->out[i] = (struct ref_tensor){ .mem = NULL };
    }
    return 0;
}

/* Kernels rely on operands that are not optional. */
static int check_arity(struct ref_run *r, const struct om_node *n)
{
    const struct ref_op *op = &om_ref_ops[n->op];
    bool ok = n->n_in >= op->min_in && (op->max_in == UINT8_MAX || n->n_in <= op->max_in) &&
              n->n_out > 0 && (op->n_out == UINT8_MAX || n->n_out <= op->n_out);

    for (uint32_t i = 0; ok && i < op->min_in; i++)
        ok = n->in[i].id != 0;
    for (uint32_t i = 0; ok && i < n->n_out; i++)
        ok = n->out[i].id < r->g->n_values;
    return ok ? 0
              : om_fail(r->err, OM_E_FORMAT,
                        "%" PRIu32 " inputs and %" PRIu32 " outputs do not fit the operator",
                        n->n_in, n->n_out);
}

static void clear_operands(struct ref_run *r, const struct om_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        om_ref_drop(&r->widened[i]);
    for (uint32_t i = 0; i < n->n_out; i++)
        om_ref_drop(&r->out[i]);
}

static int run_kernel(struct ref_run *r, const struct om_node *n)
{
    struct ref_call c = { .run = r,
                          .pool = &r->pool,
                          .g = r->g,
                          .node = n,
                          .opset = OM_REF_OPSET,
                          .env = &r->env,
                          .in = r->in,
                          .out = r->out,
                          .err = r->err };

    OM_TRY(check_arity(r, n));
    OM_TRY(load_operands(r, n));
    OM_TRY(om_ref_ops[n->op].run(&c));
    return keep_outputs(r, n);
}

static int run_node(struct ref_run *r, const struct om_node *n)
{
    int rc = om_ctx_check(r->opts ? r->opts->ctx : NULL, r->err);

    if (rc < 0)
        return rc;
    if (n->op == OM_OP_NONE || n->op >= OM_OP_COUNT)
        return om_fail(r->err, OM_E_INTERNAL, "node \"%.*s\" has no operator", OM_SV(n->name));
    rc = run_kernel(r, n);
    clear_operands(r, n);
    for (uint32_t i = 0; i < n->n_in && rc == 0; i++)
        rc = release(r, n->in[i]);
    return om_wrap(r->err, rc, "%s \"%.*s\"", om_op_name(n->op), OM_SV(n->name));
}

static int run_block(struct ref_run *r, uint32_t block)
{
    const struct om_block *b = &r->g->blocks[block];

    for (size_t i = 0; i < b->n_nodes; i++)
        OM_TRY(run_node(r, &r->g->nodes[b->nodes[i]]));
    return 0;
}

/* If: the other branch is not run; its uses are waived first, so that what only it needed is freed.
 */
int om_ref_If(struct ref_call *c)
{
    struct ref_run *r = c->run;
    const struct ref_tensor *cond = c->in[0];
    const struct om_block *b;
    uint32_t taken = 0, other = 0;
    bool yes;

    if (!cond || cond->dtype != OM_BOOL || cond->count != 1)
        return om_fail(c->err, OM_E_FORMAT, "the condition must be one bool");
    yes = *(const uint8_t *)cond->data != 0;
    OM_TRY(branch_of(r, c->node, yes ? "then_branch" : "else_branch", &taken));
    OM_TRY(branch_of(r, c->node, yes ? "else_branch" : "then_branch", &other));
    b = &r->g->blocks[taken];
    if (b->n_outputs != c->node->n_out)
        return om_fail(c->err, OM_E_FORMAT, "a branch gives %zu values, expected %" PRIu32,
                       b->n_outputs, c->node->n_out);
    OM_TRY(count_block(r, other, WAIVE, 0));
    OM_TRY(run_block(r, taken));
    for (size_t i = 0; i < b->n_outputs; i++) {
        const struct ref_tensor *t;

        OM_TRY(fetch(r, b->outputs[i].val, &t));
        OM_TRY(om_ref_share(&c->out[i], t, t->dims, t->rank, c->err));
        OM_TRY(release(r, b->outputs[i].val));
    }
    return 0;
}

/* ---- the run ---- */

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

static int run_init(struct ref_run *r)
{
    const struct om_graph *g = r->g;
    size_t most_in = 1, most_out = 1;

    for (size_t i = 0; i < g->n_nodes; i++) {
        most_in = OM_MAX(most_in, g->nodes[i].n_in);
        most_out = OM_MAX(most_out, g->nodes[i].n_out);
    }
    r->slots = om_arena_array(&r->arena, OM_MAX(g->n_values, 1), sizeof(*r->slots));
    r->in = om_arena_array(&r->arena, most_in, sizeof(*r->in));
    r->widened = om_arena_array(&r->arena, most_in, sizeof(*r->widened));
    r->out = om_arena_array(&r->arena, most_out, sizeof(*r->out));
    if (!r->slots || !r->in || !r->widened || !r->out)
        return no_memory(r->err);
    if (om_dim_env_init(&r->env, &r->arena, g->dims) < 0)
        return no_memory(r->err);
    if (g->n_blocks == 0)
        return om_fail(r->err, OM_E_INTERNAL, "the graph has no block");
    return count_block(r, 0, CLAIM, 0);
}

static int take_input(struct ref_run *r, const struct om_port *port, const struct om_tensor *t)
{
    struct slot *s = &r->slots[port->val.id];

    if (s->uses == 0)
        return 0;
    if (t->data && !om_ref_aligned(t->data, t->dtype)) {
        OM_TRY(om_ref_new(&r->pool, &s->t, t->dtype, t->dims, t->rank, r->err));
        memcpy(s->t.data, t->data, (size_t)s->t.count * om_dtype_size(t->dtype));
    } else {
        OM_TRY(om_ref_borrow(&s->t, t->dtype, t->dims, t->rank, t->data, r->err));
    }
    s->live = true;
    return 0;
}

static int take_inputs(struct ref_run *r, const struct om_tensor *inputs, size_t n)
{
    const struct om_graph *g = r->g;
    size_t *bound = om_arena_array(&r->arena, OM_MAX(g->n_inputs, 1), sizeof(*bound));

    if (!bound)
        return no_memory(r->err);
    OM_TRY(om_ref_bind(g, inputs, n, &r->env, &r->arena, bound, r->err));
    for (size_t i = 0; i < g->n_inputs; i++) {
        const int rc = take_input(r, &g->inputs[i], &inputs[bound[i]]);

        if (rc < 0)
            return om_wrap(r->err, rc, "input \"%.*s\"", OM_SV(g->inputs[i].name));
    }
    return 0;
}

/* Copy an output to the caller's arena and let go of it. */
static int give_output(struct ref_run *r, const struct om_port *port, struct om_arena *a,
                       struct om_tensor *out)
{
    const struct ref_tensor *t;
    size_t size;
    void *data;

    if (port->val.id == 0)
        return om_fail(r->err, OM_E_INTERNAL, "the output has no value");
    OM_TRY(fetch(r, port->val, &t));
    if (!om_mul_size((size_t)t->count, om_dtype_size(t->dtype), &size))
        return no_memory(r->err);
    data = om_arena_alloc(a, OM_MAX(size, 1));
    *out =
        (struct om_tensor){ .name = om_arena_str(a, port->name),
                            .dtype = t->dtype,
                            .rank = t->rank,
                            .dims = t->rank ? om_arena_copy(a, t->dims, t->rank * sizeof(*t->dims))
                                            : NULL,
                            .data = data };
    if (!data || !out->name || (t->rank && !out->dims))
        return no_memory(r->err);
    memcpy(data, t->data, size);
    return release(r, port->val);
}

static int give_outputs(struct ref_run *r, struct om_arena *a, struct om_tensor **outputs,
                        size_t *n_outputs)
{
    const struct om_block *b = &r->g->blocks[0];
    struct om_tensor *out = om_arena_array(a, OM_MAX(b->n_outputs, 1), sizeof(*out));

    if (!out)
        return no_memory(r->err);
    for (size_t i = 0; i < b->n_outputs; i++) {
        const int rc = give_output(r, &b->outputs[i], a, &out[i]);

        if (rc < 0)
            return om_wrap(r->err, rc, "output \"%.*s\"", OM_SV(b->outputs[i].name));
    }
    *outputs = out;
    *n_outputs = b->n_outputs;
    return 0;
}

static void run_release(struct ref_run *r)
{
    for (size_t i = 0; r->slots && i < r->g->n_values; i++)
        om_ref_drop(&r->slots[i].t);
    om_buf_release(&r->name);
    om_arena_release(&r->arena);
}

int om_ref_run(const struct om_graph *g, const struct om_tensor *inputs, size_t n_inputs,
               const struct om_ref_opts *opts, struct om_arena *a, struct om_tensor **outputs,
               size_t *n_outputs, struct om_error *err)
{
    struct ref_run r = { .g = g,
                         .opts = opts,
                         .pool = { .max = opts && opts->max_bytes ? opts->max_bytes
                                                                  : DEFAULT_MAX_BYTES },
                         .arena = OM_ARENA_INIT((size_t)1 << 30),
                         .name = OM_BUF_INIT(1u << 20),
                         .err = err };
    struct om_tensor *made = NULL;
    size_t n_made = 0;
    int rc = om_graph_check(g, err);

    if (rc == 0)
        rc = run_init(&r);
    if (rc == 0)
        rc = take_inputs(&r, inputs, n_inputs);
    if (rc == 0)
        rc = run_block(&r, 0);
    if (rc == 0)
        rc = give_outputs(&r, a, &made, &n_made);
    if (rc == 0 && r.pool.used != 0) /* a run proves that its lifetimes are right */
        rc = om_fail(err, OM_E_INTERNAL, "%" PRIu64 " bytes outlived their last use", r.pool.used);
    if (rc == 0) {
        *outputs = made;
        *n_outputs = n_made;
    }
    run_release(&r);
    return om_wrap(err, rc, "reference executor");
}
