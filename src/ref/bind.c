/* src/ref/bind.c: from named tensors to the ports of a graph and the values of its symbols.
 *
 * Lone symbols bind first. What remains, such as past_sequence_length + sequence_length, is
 * evaluated; an expression with one unknown left is solved for it when it is linear in it. */
#include "ref/bind.h"

enum { MAX_DEPTH = 32 }; /* of floor divisions inside each other, when looking for symbols */

int om_ref_check_dims(struct om_dim_env *env, const om_dim *declared, const int64_t *dims,
                      uint32_t rank, int64_t *expected)
{
    om_sv name;

    for (uint32_t i = 0; i < rank; i++) {
        if (declared[i] == 0)
            continue;
        if (om_dim_eval(env, declared[i], expected)) {
            if (*expected != dims[i] && !om_dim_is_unknown(env->dims, declared[i]))
                return (int)i;
        } else if (om_dim_is_symbol(env->dims, declared[i], &name)) {
            om_dim_bind(env, name, dims[i]);
        }
    }
    return -1;
}

/* The symbols of a dim, in the order of its terms. */
struct symbols {
    om_sv names[OM_RANK_MAX];
    size_t n;
    bool more; /* than fit */
};

static void add_symbol(struct symbols *s, om_sv name)
{
    for (size_t i = 0; i < s->n; i++)
        if (om_sv_eq(s->names[i], name))
            return;
    if (s->n == OM_COUNT(s->names))
        s->more = true;
    else
        s->names[s->n++] = name;
}

static void find_symbols(const struct om_dims *d, om_dim dim, unsigned depth, struct symbols *s)
{
    const struct om_dim_term *terms;
    const size_t n = om_dim_terms(d, dim, &terms);

    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < terms[i].n_atoms; k++) {
            const struct om_dim_atom *atom = om_dim_atom_at(d, terms[i].atoms[k]);

            if (!atom->is_div)
                add_symbol(s, atom->symbol);
            else if (depth == MAX_DEPTH)
                s->more = true;
            else {
                find_symbols(d, atom->num, depth + 1, s);
                find_symbols(d, atom->den, depth + 1, s);
            }
        }
}

/* "past_sequence_length + sequence_length = 7 (past_sequence_length = 3, sequence_length = 4)" */
static void explain(const struct om_dim_env *env, om_dim dim, struct om_buf *b)
{
    struct symbols s = { .n = 0 };
    int64_t v;
    om_sv lone;
    const char *sep = " (";

    om_dim_write(env->dims, dim, b);
    if (om_dim_is_const(env->dims, dim, &v))
        return;
    if (om_dim_eval(env, dim, &v))
        om_buf_printf(b, " = %" PRId64, v);
    if (om_dim_is_symbol(env->dims, dim, &lone))
        return;
    find_symbols(env->dims, dim, 0, &s);
    for (size_t i = 0; i < s.n; i++) {
        if (!om_dim_bound(env, s.names[i], &v))
            continue;
        om_buf_printf(b, "%s%.*s = %" PRId64, sep, OM_SV(s.names[i]), v);
        sep = ", ";
    }
    if (*sep == ',')
        om_buf_addc(b, ')');
}

static int dim_error(const struct om_dim_env *env, const struct om_port *port, uint32_t axis,
                     om_dim dim, int64_t found, struct om_error *err)
{
    struct om_buf b = OM_BUF_INIT(1u << 16);
    int rc;

    explain(env, dim, &b);
    rc = om_buf_check(&b, err);
    if (rc == 0)
        rc = om_fail(err, OM_E_USAGE,
                     "input \"%.*s\": axis %" PRIu32 ": expected %.*s, found %" PRId64,
                     OM_SV(port->name), axis, OM_SV(om_buf_sv(&b)), found);
    om_buf_release(&b);
    return rc;
}

/* What the binding of a call works with. */
struct binding {
    const struct om_graph *g;
    const struct om_tensor *inputs;
    size_t *bound;
    const bool *optional;
    struct om_dim_env *env, trial; /* trial: where solve() tries values */
    struct om_error *err;
};

static bool try_value(struct binding *b, om_sv symbol, int64_t value, om_dim dim, int64_t *out)
{
    om_dim_bind(&b->trial, symbol, value);
    return om_dim_eval(&b->trial, dim, out);
}

/* Bind the one unbound symbol of dim so that dim becomes found. 1: done, 0: cannot be said yet,
 * negative: never. */
static int solve(struct binding *b, om_dim dim, int64_t found)
{
    struct symbols s = { .n = 0 };
    const om_sv *unknown = NULL;
    int64_t v, at0, at1;

    find_symbols(b->env->dims, dim, 0, &s);
    for (size_t i = 0; i < s.n; i++) {
        if (om_dim_bound(b->env, s.names[i], &v))
            continue;
        if (unknown)
            return 0;
        unknown = &s.names[i];
    }
    if (!unknown || s.more)
        return 0;
    memcpy(b->trial.values, b->env->values, b->env->len * sizeof(*b->env->values));
    memcpy(b->trial.bound, b->env->bound, b->env->len * sizeof(*b->env->bound));
    if (!try_value(b, *unknown, 0, dim, &at0) || !try_value(b, *unknown, 1, dim, &at1))
        return -1;
    if (at0 < 0 || at1 < 0 || at0 == at1 || (found - at0) % (at1 - at0) != 0)
        return -1;
    v = (found - at0) / (at1 - at0);
    if (v < 0 || !try_value(b, *unknown, v, dim, &at0) || at0 != found)
        return -1;
    om_dim_bind(b->env, *unknown, v);
    return 1;
}

/* Check one axis, or learn from it: a lone symbol binds, and an expression with one unknown, when
 * solving. */
static int check_axis(struct binding *b, const struct om_port *port, uint32_t axis, om_dim dim,
                      int64_t found, bool solving, size_t *open)
{
    int64_t want;
    om_sv name;
    int rc = 0;

    if (dim == 0)
        return 0;
    if (om_dim_eval(b->env, dim, &want)) {
        rc = want == found ? 1 : -1;
    } else if (om_dim_is_symbol(b->env->dims, dim, &name)) {
        om_dim_bind(b->env, name, found);
        rc = 1;
    } else if (solving) {
        rc = solve(b, dim, found);
    }
    *open += rc == 0;
    return rc < 0 ? dim_error(b->env, port, axis, dim, found, b->err) : 0;
}

/* Walk all axes of all ports once; *open counts those that still have unknown symbols. */
static int check_axes(struct binding *b, bool solving, size_t *open)
{
    *open = 0;
    for (size_t p = 0; p < b->g->n_inputs; p++) {
        if (b->optional[p])
            continue;
        const struct om_port *port = &b->g->inputs[p];
        const struct om_value *v = om_graph_value(b->g, port->val);
        const struct om_tensor *t = &b->inputs[b->bound[p]];

        for (uint32_t i = 0; i < v->rank; i++)
            OM_TRY(check_axis(b, port, i, v->dims[i], t->dims[i], solving, open));
    }
    return 0;
}

/* What the required inputs left open. */
static void bind_optional(struct binding *b)
{
    int64_t expected;

    for (size_t p = 0; p < b->g->n_inputs; p++) {
        const struct om_value *v = om_graph_value(b->g, b->g->inputs[p].val);
        if (b->optional[p])
            om_ref_check_dims(b->env, v->dims, b->inputs[b->bound[p]].dims, v->rank, &expected);
    }
}

static int bind_symbols(struct binding *b)
{
    size_t open = 0, before;

    OM_TRY(check_axes(b, false, &open)); /* binds every lone symbol */
    do {
        before = open;
        OM_TRY(check_axes(b, true, &open));
    } while (open > 0 && open < before);
    bind_optional(b);
    return 0;
}

/* The inputs that nothing but one branch reads. Where another branch runs they are placeholders of
 * any size (the empty cache of a merged decoder), where that branch runs its operators compare the
 * sizes. */
static const bool *find_optional(const struct om_graph *g, struct om_arena *a)
{
    enum { UNREAD = 0, SHARED = INT32_MAX };
    uint32_t *reader = om_arena_array(a, g->n_values, sizeof(*reader)); /* the block */
    bool *optional = om_arena_array(a, OM_MAX(g->n_inputs, 1), sizeof(*optional));

    if (!reader || !optional)
        return NULL;
    for (size_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) {
            uint32_t *r = &reader[g->nodes[i].in[k].id];
            const uint32_t block = g->nodes[i].block;
            *r = block > 0 && (*r == UNREAD || *r == block) ? block : SHARED;
        }
    for (size_t p = 0; p < g->n_inputs; p++) {
        const uint32_t r = reader[g->inputs[p].val.id];
        optional[p] = r != UNREAD && r != SHARED;
    }
    return optional;
}

static int check_port(const struct om_graph *g, const struct om_port *port,
                      const struct om_tensor *t, struct om_error *err)
{
    const struct om_value *v = om_graph_value(g, port->val);
    int64_t n;

    if (t->dtype != v->dtype)
        return om_fail(err, OM_E_USAGE, "input \"%.*s\": expected %s, found %s", OM_SV(port->name),
                       om_dtype_text(v->dtype), om_dtype_text(t->dtype));
    if (t->rank != v->rank)
        return om_fail(err, OM_E_USAGE, "input \"%.*s\": expected rank %" PRIu32 ", found %" PRIu32,
                       OM_SV(port->name), v->rank, t->rank);
    if (!om_count(t->dims, t->rank, &n))
        return om_fail(err, OM_E_USAGE, "input \"%.*s\": the shape is not possible",
                       OM_SV(port->name));
    if (n > 0 && !t->data)
        return om_fail(err, OM_E_USAGE, "input \"%.*s\" has no data", OM_SV(port->name));
    return 0;
}

static int find_input(const struct om_port *port, const struct om_tensor *inputs, size_t n,
                      size_t *at, struct om_error *err)
{
    size_t found = n;

    for (size_t i = 0; i < n; i++) {
        if (!inputs[i].name || !om_sv_is(port->name, inputs[i].name))
            continue;
        if (found != n)
            return om_fail(err, OM_E_USAGE, "input \"%.*s\" is given twice", OM_SV(port->name));
        found = i;
    }
    if (found == n)
        return om_fail(err, OM_E_USAGE, "input \"%.*s\" is missing", OM_SV(port->name));
    *at = found;
    return 0;
}

static int surplus_error(const struct om_graph *g, const char *name, struct om_error *err)
{
    struct om_buf b = OM_BUF_INIT(1u << 20);
    int rc;

    for (size_t i = 0; i < g->n_inputs; i++)
        om_buf_printf(&b, "%s%.*s", i ? ", " : "", OM_SV(g->inputs[i].name));
    rc = om_buf_check(&b, err);
    if (rc == 0)
        rc = om_fail(err, OM_E_USAGE, "input \"%s\" is not one of the graph's (%.*s)",
                     name ? name : "", OM_SV(om_buf_sv(&b)));
    om_buf_release(&b);
    return rc;
}

static int check_surplus(const struct om_graph *g, const struct om_tensor *inputs, size_t n,
                         struct om_error *err)
{
    for (size_t i = 0; i < n; i++) {
        size_t p = 0;

        while (p < g->n_inputs && !(inputs[i].name && om_sv_is(g->inputs[p].name, inputs[i].name)))
            p++;
        if (p == g->n_inputs)
            return surplus_error(g, inputs[i].name, err);
    }
    return 0;
}

int om_ref_bind(const struct om_graph *g, const struct om_tensor *inputs, size_t n_inputs,
                struct om_dim_env *env, struct om_arena *a, size_t *bound, struct om_error *err)
{
    struct binding b = { .g = g, .inputs = inputs, .bound = bound, .env = env, .err = err };

    for (size_t i = 0; i < g->n_inputs; i++) {
        OM_TRY(find_input(&g->inputs[i], inputs, n_inputs, &bound[i], err));
        OM_TRY(check_port(g, &g->inputs[i], &inputs[bound[i]], err));
    }
    OM_TRY(check_surplus(g, inputs, n_inputs, err));
    b.optional = find_optional(g, a);
    if (!b.optional || om_dim_env_init(&b.trial, a, g->dims) < 0)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    return bind_symbols(&b);
}
