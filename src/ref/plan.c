/* src/ref/plan.c: makes a document ready to run.
 *
 * A graph's values become slots of a frame; a graph below another reads the frames around its own.
 * Attributes that later operator sets take as inputs are made inputs here, so that kernels know
 * only the newest form. */
#include "ref/plan.h"

#include <stdlib.h>

#include "base/map.h"
#include "onnx/pb.h"
#include "onnx/schema.h"
#include "ref/small.h"

/* A graph being prepared. */
struct scope {
    struct scope *around;
    struct ref_plan *plan;
    struct om_map slots;   /* by name */
    struct ref_step *step; /* the node whose graphs are being prepared */
    uint32_t n_captured, cap_captured;
    uint32_t *uses;
    size_t cap_uses;
};

struct planner {
    struct om_doc *d;
    struct om_arena *arena;
    struct om_ref_model *model;
    struct om_error *err;
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

static int array(struct planner *p, void *items, size_t n, size_t size)
{
    void *const made = om_arena_array(p->arena, OM_MAX(n, 1), size);

    if (!made)
        return no_memory(p->err);
    memcpy(items, &made, sizeof(made));
    return 0;
}

/* ---- values ---- */

static int new_slot(struct planner *p, struct scope *s, om_sv name, uint32_t *at)
{
    if (name.len == 0) {
        *at = 0;
        return 0;
    }
    if (om_map_get(&s->slots, name, NULL))
        return om_fail(p->err, OM_E_FORMAT, "value \"%.*s\" is made twice", OM_SV(name));
    if (!om_grow(&s->uses, &s->cap_uses, (size_t)s->plan->n_slots + 1, sizeof(*s->uses)) ||
        om_map_put(&s->slots, name, s->plan->n_slots) < 0)
        return no_memory(p->err);
    s->uses[s->plan->n_slots] = 0;
    *at = s->plan->n_slots++;
    return 0;
}

/* The scopes between the reader and the value hold it as long as the node runs that is around the
 * reader. */
static int capture(struct planner *p, struct scope *reader, uint32_t up, uint32_t at)
{
    for (struct scope *s = reader->around; up-- > 0; s = s->around) {
        struct ref_step *const step = s->step;
        size_t cap = s->cap_captured;

        if (s->n_captured == cap) {
            struct ref_place *grown = NULL;

            cap = cap ? cap * 2 : 8;
            OM_TRY(array(p, &grown, cap, sizeof(*grown)));
            if (s->n_captured > 0)
                memcpy(grown, step->captured, s->n_captured * sizeof(*grown));
            step->captured = grown;
            s->cap_captured = (uint32_t)cap;
        }
        step->captured[s->n_captured++] = (struct ref_place){ up, at };
        step->n_captured = s->n_captured;
        if (up == 0)
            s->uses[at]++;
    }
    return 0;
}

static int find_value(struct planner *p, struct scope *s, om_sv name, struct ref_place *out)
{
    *out = (struct ref_place){ 0, 0 };
    if (name.len == 0)
        return 0;
    for (struct scope *at = s; at; at = at->around, out->up++) {
        if (!om_map_get(&at->slots, name, &out->at))
            continue;
        if (out->up > 0)
            return capture(p, s, out->up, out->at);
        s->uses[out->at]++;
        return 0;
    }
    return om_fail(p->err, OM_E_FORMAT, "value \"%.*s\" is not made by an earlier node",
                   OM_SV(name));
}

/* ---- tensors ---- */

/* Elements of eight bits or fewer, each in an int8 or uint8 of its own. */
static int unpack(struct planner *p, const struct om_doc_tensor *t, const struct ref_small *s,
                  struct om_weight *w)
{
    struct om_weight packed;
    const int each = 8 / s->bits, half = 1 << (s->bits - 1);
    const uint8_t *from;
    uint8_t *to = NULL;
    int64_t n;

    if (t->rank > OM_RANK_MAX || !om_count(t->dims, t->rank, &n))
        return om_fail(p->err, OM_E_LIMIT, "tensor \"%.*s\" has no possible shape", OM_SV(t->name));
    OM_TRY(om_doc_packed(p->d, t, &packed, p->err));
    OM_TRY(array(p, &to, (size_t)n, 1));
    from = packed.data;
    for (int64_t i = 0; i < n; i++) {
        const int v = from[i / each] >> (i % each * s->bits) & (2 * half - 1);

        to[i] = (uint8_t)(s->storage == OM_I8 && v >= half ? v - 2 * half : v);
    }
    *w = (struct om_weight){ .name = t->name,
                             .dtype = s->storage,
                             .src_dtype = s->storage,
                             .rank = t->rank,
                             .dims = t->dims,
                             .data = to,
                             .bytes = (uint64_t)n };
    return 0;
}

static int read_tensor(struct planner *p, const struct om_doc_tensor *t, struct om_weight *w,
                       int32_t *small)
{
    const struct ref_small *const s = om_ref_small(t->type);

    *small = s ? s->type : 0;
    return s ? unpack(p, t, s, w) : om_doc_weight(p->d, t, w, p->err);
}

static int read_initials(struct planner *p, struct scope *s)
{
    const struct om_doc_tensors *t = &s->plan->graph->tensors;

    OM_TRY(array(p, &s->plan->initials, t->len, sizeof(*s->plan->initials)));
    for (size_t i = 0; i < t->len; i++) {
        struct ref_initial *const in = &s->plan->initials[s->plan->n_initials];

        OM_TRY(read_tensor(p, &t->items[i], &in->weight, &in->small));
        if (!om_map_get(&s->slots, t->items[i].name, &in->at))
            OM_TRY(new_slot(p, s, t->items[i].name, &in->at));
        s->plan->n_initials++;
    }
    return 0;
}

/* ---- attributes ---- */

struct value {
    int64_t i;
    float f;
    om_sv s, ref;
};

static const struct om_pb_rule value_rules[] = {
    { PB_ATTR_I, OM_PB_INT, offsetof(struct value, i), "i" },
    { PB_ATTR_F, OM_PB_F32, offsetof(struct value, f), "f" },
    { PB_ATTR_S, OM_PB_BYTES, offsetof(struct value, s), "s" },
    { PB_ATTR_REF, OM_PB_TEXT, offsetof(struct value, ref), "ref_attr_name" },
};

static int read_ints(struct planner *p, om_sv msg, struct om_attr *out)
{
    int64_t *ints = NULL;
    size_t n = 0;

    OM_TRY(om_pb_ints(msg, PB_ATTR_INTS, NULL, 0, &n, p->err));
    OM_TRY(array(p, &ints, n, sizeof(*ints)));
    OM_TRY(om_pb_ints(msg, PB_ATTR_INTS, ints, n, &n, p->err));
    out->kind = OM_ATTR_INTS;
    out->ints = ints;
    out->n = (uint32_t)n;
    return 0;
}

static int read_value(struct planner *p, struct ref_step *step, const struct om_doc_attr *a,
                      struct om_attr *out)
{
    struct value v = { .s = { "", 0 }, .ref = { "", 0 } };
    struct om_doc_tensor t;
    struct om_weight *w = NULL;

    OM_TRY(om_pb_read(a->message, value_rules, OM_COUNT(value_rules), &v, p->err));
    if (v.ref.len > 0)
        return om_fail(p->err, OM_E_UNSUPPORTED, "it refers to a function's");
    out->i = v.i;
    out->f = (double)v.f;
    out->s = v.s;
    switch (a->type) {
    case PB_TYPE_INT:
        out->kind = OM_ATTR_INT;
        return 0;
    case PB_TYPE_FLOAT:
        out->kind = OM_ATTR_FLOAT;
        return 0;
    case PB_TYPE_STRING:
        out->kind = OM_ATTR_STRING;
        return 0;
    case PB_TYPE_INTS:
        return read_ints(p, a->message, out);
    case PB_TYPE_TENSOR:
        out->kind = OM_ATTR_TENSOR;
        OM_TRY(array(p, &w, 1, sizeof(*w)));
        OM_TRY(om_doc_attr_tensor(p->d, a, &t, p->err));
        out->tensor = w;
        return read_tensor(p, &t, w, &step->small);
    default: /* kernels that take lists of floats or strings, or graphs, look for them in the file
              */
        out->kind = OM_ATTR_BLOCK;
        out->i = -1;
        return 0;
    }
}

static int read_attrs(struct planner *p, struct ref_step *step)
{
    const struct om_doc_node *n = step->source;
    struct om_attr *attrs = NULL;

    OM_TRY(array(p, &attrs, n->n_attrs, sizeof(*attrs)));
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        int rc;

        attrs[i].name = om_arena_str(p->arena, n->attrs[i].name);
        if (!attrs[i].name)
            return no_memory(p->err);
        rc = read_value(p, step, &n->attrs[i], &attrs[i]);
        OM_TRY(om_wrap(p->err, rc, "attribute \"%s\"", attrs[i].name));
    }
    step->node.attrs = attrs;
    step->node.n_attrs = n->n_attrs;
    return 0;
}

/* ---- attributes that became inputs ---- */

static const struct form {
    const char *op, *attr;
    uint32_t input;
} forms[] = {
    { "Clip", "min", 1 },
    { "Clip", "max", 2 },
    { "Constant", "value_floats", 0 },
    { "Constant", "value_ints", 0 },
    { "Dropout", "ratio", 1 },
    { "Pad", "pads", 1 },
    { "Pad", "value", 2 },
    { "ReduceL1", "axes", 1 },
    { "ReduceL2", "axes", 1 },
    { "ReduceLogSum", "axes", 1 },
    { "ReduceLogSumExp", "axes", 1 },
    { "ReduceMax", "axes", 1 },
    { "ReduceMean", "axes", 1 },
    { "ReduceMin", "axes", 1 },
    { "ReduceProd", "axes", 1 },
    { "ReduceSum", "axes", 1 },
    { "ReduceSumSquare", "axes", 1 },
    { "Slice", "starts", 1 },
    { "Slice", "ends", 2 },
    { "Slice", "axes", 3 },
    { "Split", "split", 1 },
    { "Squeeze", "axes", 1 },
    { "TopK", "k", 1 },
    { "Unsqueeze", "axes", 1 },
    { "Upsample", "scales", 1 },
};

static int given_floats(struct planner *p, const struct om_doc_attr *a, struct ref_tensor *out)
{
    struct om_wire_field f;
    om_sv rest = a->message;
    float *v = NULL;
    int64_t n = 0;
    int rc, more = 0;

    OM_TRY(array(p, &v, a->message.len / 4, sizeof(*v)));
    while ((rc = om_pb_next(&rest, PB_ATTR_FLOATS, &f, p->err)) > 0) {
        uint64_t bits;

        while ((more = om_pb_element(&f, 4, &bits, p->err)) > 0) {
            const uint32_t low = (uint32_t)bits;

            memcpy(&v[n++], &low, sizeof(low));
        }
        OM_TRY(more);
    }
    OM_TRY(rc);
    return om_ref_borrow(out, OM_F32, &n, 1, v, p->err);
}

static int given_tensor(struct planner *p, const struct om_doc_attr *source,
                        const struct om_attr *a, struct ref_tensor *out)
{
    static const int64_t one = 1;
    float *f = NULL;

    if (a->kind == OM_ATTR_INTS)
        return om_ref_borrow(out, OM_I64, &(int64_t){ a->n }, 1, a->ints, p->err);
    if (a->kind == OM_ATTR_INT)
        return om_ref_borrow(out, OM_I64, &one, 1, &a->i, p->err);
    if (source->type == PB_TYPE_FLOATS)
        return given_floats(p, source, out);
    if (a->kind != OM_ATTR_FLOAT)
        return om_fail(p->err, OM_E_FORMAT, "attribute \"%s\" is of a kind it cannot be", a->name);
    OM_TRY(array(p, &f, 1, sizeof(*f)));
    *f = (float)a->f;
    return om_ref_borrow(out, OM_F32, NULL, 0, f, p->err);
}

static int apply_forms(struct planner *p, struct ref_step *step)
{
    for (size_t i = 0; i < OM_COUNT(forms) && step->source->domain.len == 0; i++) {
        const struct form *f = &forms[i];
        const struct om_attr *a;

        if (!om_sv_is(step->source->op, f->op) || step->source->n_in > f->input)
            continue;
        a = om_node_attr(&step->node, f->attr);
        if (!a)
            continue;
        OM_TRY(
            given_tensor(p, &step->source->attrs[a - step->node.attrs], a, &step->given[f->input]));
        step->node.in[f->input].id = 1;
        step->node.n_in = OM_MAX(step->node.n_in, f->input + 1);
    }
    return 0;
}

/* ---- nodes and graphs ---- */

static int plan_graph(struct planner *p, const struct om_doc_graph *g, struct scope *around,
                      struct ref_plan **out);

enum { FORM_INPUTS = 4 }; /* more that attributes may become */

static int wire_inputs(struct planner *p, struct scope *s, struct ref_step *step)
{
    const struct om_doc_node *n = step->source;
    const size_t cap = (size_t)n->n_in + FORM_INPUTS;

    OM_TRY(array(p, &step->in, cap, sizeof(*step->in)));
    OM_TRY(array(p, &step->given, cap, sizeof(*step->given)));
    OM_TRY(array(p, &step->node.in, cap, sizeof(*step->node.in)));
    for (uint32_t i = 0; i < n->n_in; i++) {
        OM_TRY(find_value(p, s, n->in[i], &step->in[i]));
        step->node.in[i].id = step->in[i].at > 0;
        if (step->in[i].at > 0)
            step->node.n_in = i + 1;
    }
    return apply_forms(p, step);
}

static int wire_outputs(struct planner *p, struct scope *s, struct ref_step *step)
{
    const struct om_doc_node *n = step->source;

    OM_TRY(array(p, &step->out, n->n_out, sizeof(*step->out)));
    OM_TRY(array(p, &step->node.out, n->n_out, sizeof(*step->node.out)));
    for (uint32_t i = 0; i < n->n_out; i++) {
        OM_TRY(new_slot(p, s, n->out[i], &step->out[i]));
        step->node.out[i].id = step->out[i] > 0;
    }
    step->node.n_out = n->n_out;
    return 0;
}

static int check_arity(struct planner *p, const struct ref_step *step)
{
    const struct ref_def *d = step->def;
    const struct om_node *n = &step->node;
    bool ok = n->n_in >= d->min_in && (d->max_in == UINT8_MAX || n->n_in <= d->max_in) &&
              n->n_out > 0 && (d->n_out == UINT8_MAX || n->n_out <= d->n_out);

    for (uint32_t i = 0; ok && i < d->min_in; i++)
        ok = n->in[i].id != 0;
    return ok ? 0
              : om_fail(p->err, OM_E_FORMAT,
                        "%" PRIu32 " inputs and %" PRIu32 " outputs do not fit the operator",
                        n->n_in, n->n_out);
}

static int check_opset(const char *who, int64_t v, struct om_error *err)
{
    if (v != 0 && (v < OM_REF_OPSET_MIN || v > OM_REF_OPSET_MAX))
        return om_fail(err, OM_E_UNSUPPORTED,
                       "%s imports operator set %" PRId64 ", %d to %d can be run", who, v,
                       OM_REF_OPSET_MIN, OM_REF_OPSET_MAX);
    return 0;
}

static int find_operator(struct planner *p, struct ref_step *step)
{
    const struct om_doc_node *n = step->source;

    step->opset = n->opset;
    for (size_t i = 0; i < p->d->n_opsets && n->opset == 0; i++)
        if (om_sv_eq(p->d->opsets[i].domain, n->domain))
            step->opset = p->d->opsets[i].version;
    step->opset = step->opset ? step->opset : 1;
    if (n->opset != 0 && n->domain.len == 0)
        OM_TRY(check_opset("a function", n->opset, p->err));
    step->def = om_ref_find_def(n->domain, n->op);
    if (!step->def)
        return om_fail(p->err, OM_E_UNSUPPORTED,
                       "the reference executor does not have the operator%s%.*s",
                       n->domain.len > 0 ? " of " : "", OM_SV(n->domain));
    return 0;
}

static int plan_step(struct planner *p, struct scope *s, struct ref_step *step)
{
    const struct om_doc_node *n = step->source;

    OM_TRY(find_operator(p, step));
    OM_TRY(read_attrs(p, step));
    OM_TRY(wire_inputs(p, s, step));
    OM_TRY(array(p, &step->graphs, n->n_attrs, sizeof(*step->graphs)));
    s->step = step;
    s->n_captured = s->cap_captured = 0;
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].n_graphs > 0)
            OM_TRY(plan_graph(p, n->attrs[i].graphs[0], s, &step->graphs[i]));
    OM_TRY(wire_outputs(p, s, step));
    p->model->most = OM_MAX(p->model->most, OM_MAX(step->node.n_in, step->node.n_out));
    return check_arity(p, step);
}

static int plan_steps(struct planner *p, struct scope *s)
{
    const struct om_doc_nodes *nodes = &s->plan->graph->nodes;

    OM_TRY(array(p, &s->plan->steps, nodes->len, sizeof(*s->plan->steps)));
    for (size_t i = 0; i < nodes->len; i++) {
        struct ref_step *const step = &s->plan->steps[s->plan->n_steps++];
        const struct om_doc_node *n = &nodes->items[i];
        int rc;

        step->source = n;
        step->node.name = n->name;
        rc = plan_step(p, s, step);
        OM_TRY(om_wrap(p->err, rc, "%.*s \"%.*s\"", OM_SV(n->op), OM_SV(n->name)));
    }
    return 0;
}

static int plan_ports(struct planner *p, struct scope *s)
{
    const struct om_doc_ports *in = &s->plan->graph->inputs;

    OM_TRY(array(p, &s->plan->inputs, in->len, sizeof(*s->plan->inputs)));
    for (size_t i = 0; i < in->len; i++)
        OM_TRY(new_slot(p, s, in->items[i].name, &s->plan->inputs[i]));
    return read_initials(p, s);
}

static int plan_outputs(struct planner *p, struct scope *s)
{
    const struct om_doc_ports *out = &s->plan->graph->outputs;

    OM_TRY(array(p, &s->plan->outputs, out->len, sizeof(*s->plan->outputs)));
    for (size_t i = 0; i < out->len; i++) {
        OM_TRY(find_value(p, s, out->items[i].name, &s->plan->outputs[i]));
        if (s->plan->outputs[i].at == 0)
            return om_fail(p->err, OM_E_FORMAT, "an output has no name");
    }
    return 0;
}

static int plan_graph(struct planner *p, const struct om_doc_graph *g, struct scope *around,
                      struct ref_plan **out)
{
    struct scope s = { .around = around, .slots = OM_MAP_INIT };
    int rc = array(p, &s.plan, 1, sizeof(*s.plan));

    if (rc == 0) {
        s.plan->graph = g;
        s.plan->n_slots = 1;
        rc = plan_ports(p, &s);
    }
    if (rc == 0)
        rc = plan_steps(p, &s);
    if (rc == 0)
        rc = plan_outputs(p, &s);
    if (rc == 0)
        rc = array(p, &s.plan->uses, s.plan->n_slots, sizeof(*s.plan->uses));
    if (rc == 0 && s.plan->n_slots > 1)
        memcpy(s.plan->uses + 1, s.uses + 1, (s.plan->n_slots - 1) * sizeof(*s.uses));
    *out = s.plan;
    om_map_release(&s.slots);
    free(s.uses);
    return rc;
}

int om_ref_model_new(struct om_doc *d, struct om_ref_model **out, struct om_error *err)
{
    struct om_ref_model *const m = om_arena_alloc(d->arena, sizeof(*m));
    struct planner p = { .d = d, .arena = d->arena, .model = m, .err = err };
    struct om_doc_graph *graph = d->graph;

    if (!m)
        return no_memory(err);
    OM_TRY(check_opset("the file", om_doc_opset(d, ""), err));
    m->doc = d;
    if (d->n_functions > 0)
        OM_TRY(om_doc_inlined(d, &graph, err));
    OM_TRY(plan_graph(&p, graph, NULL, &m->plan));
    *out = m;
    return 0;
}

/* ---- lists in attributes, for kernels ---- */

/* The fields of an attribute with a number, one by one; f is the next. 0: no more. */
static int next_field(const struct ref_call *c, const char *name, uint32_t number, om_sv *rest,
                      struct om_wire_field *f)
{
    if (!rest->ptr) {
        const struct om_doc_attr *a = c->step ? om_doc_attr(c->step->source, name) : NULL;

        if (!a)
            return 0;
        *rest = a->message;
    }
    return om_pb_next(rest, number, f, c->err);
}

static int too_many(const struct ref_call *c, const char *name, size_t cap)
{
    return om_fail(c->err, OM_E_FORMAT, "attribute \"%s\" has more than %zu values", name, cap);
}

int om_ref_attr_floats(const struct ref_call *c, const char *name, float *out, size_t cap,
                       size_t *n)
{
    om_sv rest = { NULL, 0 };
    struct om_wire_field f;
    int rc, more;

    *n = 0;
    while ((rc = next_field(c, name, PB_ATTR_FLOATS, &rest, &f)) > 0) {
        uint64_t bits;

        while ((more = om_pb_element(&f, 4, &bits, c->err)) > 0) {
            const uint32_t low = (uint32_t)bits;

            if (*n == cap)
                return too_many(c, name, cap);
            memcpy(&out[(*n)++], &low, sizeof(low));
        }
        OM_TRY(more);
    }
    return rc;
}

int om_ref_attr_strings(const struct ref_call *c, const char *name, om_sv *out, size_t cap,
                        size_t *n)
{
    om_sv rest = { NULL, 0 };
    struct om_wire_field f;
    int rc;

    *n = 0;
    while ((rc = next_field(c, name, PB_ATTR_STRINGS, &rest, &f)) > 0) {
        if (f.type != OM_WIRE_LEN)
            return om_fail(c->err, OM_E_FORMAT, "attribute \"%s\" is broken", name);
        if (*n == cap)
            return too_many(c, name, cap);
        out[(*n)++] = f.bytes;
    }
    return rc;
}
