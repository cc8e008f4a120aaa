/* src/ref/control.c: If, Loop and Scan of documents. */
#include <stdlib.h>

#include "ref/plan.h"
#include "ref/sequence.h"

static int one_bool(const struct ref_call *c, const struct ref_tensor *t, bool *out)
{
    if (t->kind != REF_TENSOR || t->dtype != OM_BOOL || t->count != 1)
        return om_fail(c->err, OM_E_FORMAT, "a condition must be one bool");
    *out = *(const uint8_t *)t->data != 0;
    return 0;
}

int om_ref_doc_If(struct ref_call *c)
{
    const struct ref_plan *body;
    bool yes = false;

    OM_TRY(one_bool(c, om_ref_in(c, 0), &yes));
    OM_TRY(om_ref_body(c, yes ? "then_branch" : "else_branch", &body));
    return om_ref_run_body(c, body, NULL, 0, c->out, c->node->n_out);
}

/* ---- growing a stack of results ---- */

struct stack {
    struct ref_tensor *items;
    size_t len, cap;
};

static int stack_push(const struct ref_call *c, struct stack *s, const struct ref_tensor *t)
{
    if (!om_grow(&s->items, &s->cap, s->len + 1, sizeof(*s->items)))
        return om_fail(c->err, OM_E_NOMEM, "out of memory");
    s->items[s->len] = (struct ref_tensor){ .mem = NULL };
    OM_TRY(om_ref_share(&s->items[s->len], t, t->dims, t->rank, c->err));
    s->len++;
    return 0;
}

static void stack_drop(struct stack *s)
{
    for (size_t i = 0; i < s->len; i++)
        om_ref_drop(&s->items[i]);
    free(s->items);
}

/* The items next to each other along a new axis, in order or from the last. */
static int stack_join(const struct ref_call *c, const struct stack *s, int64_t axis, bool reverse,
                      struct ref_tensor *out)
{
    const struct ref_join how = { .axis = axis, .new_axis = true, .reverse = reverse };

    return om_ref_join(c, s->items, s->len, &how, out);
}

/* ---- Loop ---- */

struct loop {
    const struct ref_plan *body;
    struct ref_tensor *in, *out; /* of the body: iteration, condition, values; condition, values,
                                    results */
    struct stack *stacks;        /* one a result */
    size_t n_values, n_results;
};

static int loop_alloc(const struct ref_call *c, struct loop *l, size_t n_in)
{
    l->in = calloc(n_in + 1, sizeof(*l->in));
    l->out = calloc(1 + l->n_values + l->n_results, sizeof(*l->out));
    l->stacks = calloc(l->n_results + 1, sizeof(*l->stacks));
    return l->in && l->out && l->stacks ? 0 : om_fail(c->err, OM_E_NOMEM, "out of memory");
}

static void loop_drop(struct loop *l, size_t n_in, size_t n_out)
{
    for (size_t i = 0; l->in && i < n_in; i++)
        om_ref_drop(&l->in[i]);
    for (size_t i = 0; l->out && i < n_out; i++)
        om_ref_drop(&l->out[i]);
    for (size_t i = 0; l->stacks && i < l->n_results; i++)
        stack_drop(&l->stacks[i]);
    free(l->in);
    free(l->out);
    free(l->stacks);
}

/* One iteration: in[2..] are replaced by what the body gives. */
static int loop_once(const struct ref_call *c, struct loop *l, int64_t i, bool *go_on)
{
    const size_t n_out = 1 + l->n_values + l->n_results;

    om_ref_drop(&l->in[0]);
    om_ref_drop(&l->in[1]);
    OM_TRY(om_ref_new(c->pool, &l->in[0], OM_I64, NULL, 0, c->err));
    *(int64_t *)l->in[0].data = i;
    OM_TRY(om_ref_new(c->pool, &l->in[1], OM_BOOL, NULL, 0, c->err));
    *(uint8_t *)l->in[1].data = *go_on;
    OM_TRY(om_ref_run_body(c, l->body, l->in, 2 + l->n_values, l->out, n_out));
    OM_TRY(one_bool(c, &l->out[0], go_on));
    om_ref_drop(&l->out[0]);
    for (size_t k = 0; k < l->n_values; k++) {
        om_ref_drop(&l->in[2 + k]);
        l->in[2 + k] = l->out[1 + k]; /* moved */
        l->out[1 + k] = (struct ref_tensor){ .mem = NULL };
    }
    for (size_t k = 0; k < l->n_results; k++) {
        OM_TRY(stack_push(c, &l->stacks[k], &l->out[1 + l->n_values + k]));
        om_ref_drop(&l->out[1 + l->n_values + k]);
    }
    return 0;
}

static int loop_run(struct ref_call *c, struct loop *l)
{
    const struct ref_tensor *limit = om_ref_in(c, 0), *cond = om_ref_in(c, 1);
    int64_t most = INT64_MAX;
    bool go_on = true;

    if (limit && (limit->kind != REF_TENSOR || limit->count != 1))
        return om_fail(c->err, OM_E_FORMAT, "the trip count must be one number");
    if (limit)
        most = om_ref_i64_at(limit, 0);
    if (cond)
        OM_TRY(one_bool(c, cond, &go_on));
    for (size_t i = 0; i < l->n_values; i++) {
        const struct ref_tensor *t = om_ref_in(c, (uint32_t)(2 + i));

        if (!t)
            return om_fail(c->err, OM_E_FORMAT, "a value of the loop is left out");
        OM_TRY(om_ref_share(&l->in[2 + i], t, t->dims, t->rank, c->err));
    }
    for (int64_t i = 0; i < most && go_on; i++) {
        OM_TRY(om_ref_work(c->pool, 1, 1, c->err));
        OM_TRY(loop_once(c, l, i, &go_on));
    }
    for (size_t i = 0; i < l->n_values; i++)
        OM_TRY(
            om_ref_share(&c->out[i], &l->in[2 + i], l->in[2 + i].dims, l->in[2 + i].rank, c->err));
    for (size_t i = 0; i < l->n_results; i++)
        OM_TRY(stack_join(c, &l->stacks[i], 0, false, &c->out[l->n_values + i]));
    return 0;
}

int om_ref_Loop(struct ref_call *c)
{
    struct loop l = { .n_values = c->node->n_in > 2 ? c->node->n_in - 2 : 0 };
    int rc;

    if (c->node->n_out < l.n_values)
        return om_fail(c->err, OM_E_FORMAT, "%" PRIu32 " outputs for %zu values", c->node->n_out,
                       l.n_values);
    OM_TRY(om_ref_body(c, "body", &l.body));
    l.n_results = c->node->n_out - l.n_values;
    rc = loop_alloc(c, &l, 2 + l.n_values);
    if (rc == 0)
        rc = loop_run(c, &l);
    loop_drop(&l, 2 + l.n_values, 1 + l.n_values + l.n_results);
    return rc;
}

/* ---- Scan ---- */

/* Direction or axis k of an attribute. */
static int64_t scan_attr(const struct ref_call *c, const char *name, size_t k)
{
    const struct om_attr *a = om_node_attr(c->node, name);

    return a && a->kind == OM_ATTR_INTS && k < a->n ? a->ints[k] : 0;
}

/* The length that all scanned inputs have, and their axes. */
static int scan_axes(const struct ref_call *c, size_t n_values, size_t n_scanned, uint32_t *axes,
                     int64_t *length)
{
    *length = 0;
    for (size_t i = 0; i < n_scanned; i++) {
        const struct ref_tensor *t = om_ref_in(c, (uint32_t)(n_values + i));

        if (!t || t->kind != REF_TENSOR)
            return om_fail(c->err, OM_E_FORMAT, "a scanned input is left out, or no tensor");
        OM_TRY(om_ref_axis(c, scan_attr(c, "scan_input_axes", i), t->rank, &axes[i]));
        if (i > 0 && t->dims[axes[i]] != *length)
            return om_fail(c->err, OM_E_FORMAT,
                           "scanned inputs differ in length: %" PRId64 " and %" PRId64, *length,
                           t->dims[axes[i]]);
        *length = t->dims[axes[i]];
    }
    return 0;
}

static int scan_once(const struct ref_call *c, struct loop *l, size_t n_scanned,
                     const uint32_t *axes, int64_t i, int64_t length)
{
    for (size_t k = 0; k < n_scanned; k++) {
        const struct ref_tensor *t = om_ref_in(c, (uint32_t)(l->n_values + k));
        const bool back = scan_attr(c, "scan_input_directions", k) != 0;

        om_ref_drop(&l->in[l->n_values + k]);
        OM_TRY(
            om_ref_cut(c, t, axes[k], back ? length - 1 - i : i, 1, true, &l->in[l->n_values + k]));
    }
    OM_TRY(om_ref_run_body(c, l->body, l->in, l->n_values + n_scanned, l->out,
                           l->n_values + l->n_results));
    for (size_t k = 0; k < l->n_values; k++) {
        om_ref_drop(&l->in[k]);
        l->in[k] = l->out[k]; /* moved */
        l->out[k] = (struct ref_tensor){ .mem = NULL };
    }
    for (size_t k = 0; k < l->n_results; k++) {
        OM_TRY(stack_push(c, &l->stacks[k], &l->out[l->n_values + k]));
        om_ref_drop(&l->out[l->n_values + k]);
    }
    return 0;
}

static int scan_run(struct ref_call *c, struct loop *l, size_t n_scanned, uint32_t *axes)
{
    int64_t length;

    OM_TRY(scan_axes(c, l->n_values, n_scanned, axes, &length));
    for (size_t i = 0; i < l->n_values; i++) {
        const struct ref_tensor *t = om_ref_in(c, (uint32_t)i);

        if (!t)
            return om_fail(c->err, OM_E_FORMAT, "an input is left out");
        OM_TRY(om_ref_share(&l->in[i], t, t->dims, t->rank, c->err));
    }
    for (int64_t i = 0; i < length; i++)
        OM_TRY(scan_once(c, l, n_scanned, axes, i, length));
    for (size_t i = 0; i < l->n_values; i++)
        OM_TRY(om_ref_share(&c->out[i], &l->in[i], l->in[i].dims, l->in[i].rank, c->err));
    for (size_t i = 0; i < l->n_results; i++)
        OM_TRY(stack_join(c, &l->stacks[i], scan_attr(c, "scan_output_axes", i),
                          scan_attr(c, "scan_output_directions", i) != 0,
                          &c->out[l->n_values + i]));
    return 0;
}

int om_ref_Scan(struct ref_call *c)
{
    const int64_t scanned = om_node_int(c->node, "num_scan_inputs", 0);
    struct loop l = { .n_values = 0 };
    uint32_t *axes;
    int rc;

    if (c->opset < 9)
        return om_fail(c->err, OM_E_UNSUPPORTED, "Scan of operator set 8");
    if (scanned < 1 || scanned > c->node->n_in)
        return om_fail(c->err, OM_E_FORMAT, "num_scan_inputs is %" PRId64, scanned);
    l.n_values = c->node->n_in - (size_t)scanned;
    if (c->node->n_out < l.n_values)
        return om_fail(c->err, OM_E_FORMAT, "%" PRIu32 " outputs for %zu values", c->node->n_out,
                       l.n_values);
    OM_TRY(om_ref_body(c, "body", &l.body));
    l.n_results = c->node->n_out - l.n_values;
    axes = calloc((size_t)scanned, sizeof(*axes));
    rc = loop_alloc(c, &l, c->node->n_in);
    if (rc == 0 && !axes)
        rc = om_fail(c->err, OM_E_NOMEM, "out of memory");
    if (rc == 0)
        rc = scan_run(c, &l, (size_t)scanned, axes);
    loop_drop(&l, c->node->n_in, l.n_values + l.n_results);
    free(axes);
    return rc;
}
