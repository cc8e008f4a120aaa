/* src/ref/model.c: running a prepared document: frames, lifetimes, subgraphs. */
#include "ref/model.h"

#include <stdlib.h>

#include "ref/plan.h"
#include "ref/small.h"

#define DEFAULT_MAX_BYTES (UINT64_C(16) << 30)

struct slot {
    struct ref_tensor t;
    uint32_t uses; /* that are still to come */
    bool live;
};

struct run {
    const struct om_ref_model_opts *opts;
    struct ref_pool pool;
    struct om_error *err;
    struct om_buf name; /* of the value under observation */
};

/* The values of a graph that runs. */
struct ref_frame {
    struct run *run;
    const struct ref_plan *plan;
    struct ref_frame *around;
    struct slot *slots;
};

/* ---- values ---- */

static struct slot *slot_of(struct ref_frame *f, struct ref_place place)
{
    for (; place.up > 0; place.up--)
        f = f->around;
    return &f->slots[place.at];
}

static void release(struct ref_frame *f, struct ref_place place)
{
    struct slot *s;

    if (place.at == 0 || place.up > 0) /* outer frames wait for the node that is around us */
        return;
    s = &f->slots[place.at];
    if (s->uses > 0 && --s->uses == 0 && s->live) {
        om_ref_drop(&s->t);
        s->live = false;
    }
}

static int fetch(struct ref_frame *f, struct ref_place place, const struct ref_tensor **out)
{
    struct slot *const s = slot_of(f, place);

    if (!s->live)
        return om_fail(f->run->err, OM_E_FORMAT, "a value that is read was not computed");
    *out = &s->t;
    return 0;
}

static int load_initials(struct ref_frame *f)
{
    for (size_t i = 0; i < f->plan->n_initials; i++) {
        const struct ref_initial *in = &f->plan->initials[i];
        struct slot *s = &f->slots[in->at];
        int rc;

        if (s->live || s->uses == 0) /* given as an input, or not read */
            continue;
        rc = om_ref_weight(&f->run->pool, &in->weight, &s->t, f->run->err);
        OM_TRY(om_wrap(f->run->err, rc, "initializer \"%.*s\"", OM_SV(in->weight.name)));
        s->t.small = in->small;
        s->live = true;
    }
    return 0;
}

/* ---- nodes ---- */

/* What one node works on. */
struct operands {
    const struct ref_tensor **in;
    struct ref_tensor *widened, *out;
    enum om_dtype *dtypes; /* of the inputs as they were */
};

/* What only some kernels know. */
static int check_operand(struct ref_frame *f, const struct ref_step *st, const struct ref_tensor *t)
{
    const unsigned takes = st->def->widen;

    if (t->kind != REF_TENSOR && !(takes & REF_TAKE_ANY))
        return om_fail(f->run->err, OM_E_FORMAT, "expected a tensor, found %s",
                       t->kind == REF_SEQUENCE ? "a sequence" : "an optional without a value");
    if (om_ref_small_real(t) && !(takes & (REF_TAKE_SMALL | REF_MOVE | REF_TAKE_ANY)))
        return om_fail(f->run->err, OM_E_UNSUPPORTED, "operands of %s",
                       om_ref_small(t->small)->name);
    return 0;
}

/* Elements that were only moved are what they were. */
static void keep_small(const struct ref_step *st, struct operands *o)
{
    uint32_t k = 0;

    if (!(st->def->widen & REF_MOVE))
        return;
    for (uint32_t i = 0; i < st->node.n_out; i++) {
        for (k = 0; k < st->node.n_in && (!o->in[k] || o->in[k]->dtype != o->out[i].dtype);)
            k++;
        if (k < st->node.n_in && o->out[i].data && o->out[i].kind == REF_TENSOR)
            o->out[i].small = o->in[k]->small;
    }
}

static int load_operand(struct ref_frame *f, const struct ref_step *st, uint32_t i,
                        struct operands *o)
{
    struct run *const r = f->run;
    enum om_dtype dtype;

    o->in[i] = NULL;
    if (st->given[i].data)
        o->in[i] = &st->given[i];
    else if (st->in[i].at == 0)
        return 0;
    else
        OM_TRY(fetch(f, st->in[i], &o->in[i]));
    OM_TRY(check_operand(f, st, o->in[i]));
    o->dtypes[i] = o->in[i]->dtype;
    dtype = om_ref_widened(st->def->widen, o->in[i]->dtype);
    if (st->given[i].data && dtype == OM_F32 && o->in[0]) /* an attribute takes the data's dtype */
        dtype = o->in[0]->dtype;
    if (dtype == o->in[i]->dtype)
        return 0;
    OM_TRY(om_ref_convert(&r->pool, &o->widened[i], o->in[i], dtype, r->err));
    o->in[i] = &o->widened[i];
    return 0;
}

/* Results go back to the dtype that the operands had: the first of the result's dtype decides. */
static int narrow(struct ref_frame *f, const struct ref_step *st, struct operands *o, uint32_t i)
{
    struct ref_tensor *const t = &o->out[i];
    struct ref_tensor narrowed;
    uint32_t k = 0;

    if (st->def->widen & (i == 0 ? REF_KEEP_FIRST : REF_KEEP_REST))
        return 0;
    while (k < st->node.n_in && (!o->in[k] || st->given[k].data || o->in[k]->dtype != t->dtype))
        k++;
    if (k == st->node.n_in || o->dtypes[k] == t->dtype)
        return 0;
    if (o->dtypes[k] == OM_BOOL && t->dtype == OM_I64) /* the smallest number is false too */
        for (int64_t at = 0; at < t->count; at++)
            ((int64_t *)t->data)[at] = ((int64_t *)t->data)[at] > 0;
    OM_TRY(om_ref_convert(&f->run->pool, &narrowed, t, o->dtypes[k], f->run->err));
    om_ref_drop(t);
    *t = narrowed;
    return 0;
}

static int observe(struct ref_frame *f, om_sv name, const struct ref_tensor *t)
{
    struct run *const r = f->run;
    struct om_tensor shown;

    if (!r->opts || !r->opts->observe || f->around || t->kind != REF_TENSOR)
        return 0;
    om_buf_clear(&r->name);
    om_buf_add(&r->name, name.ptr, name.len);
    OM_TRY(om_buf_check(&r->name, r->err));
    shown = (struct om_tensor){ r->name.ptr, t->dtype, t->rank, t->rank ? t->dims : NULL, t->data };
    r->opts->observe(r->opts->user, &shown);
    return 0;
}

static int keep_outputs(struct ref_frame *f, const struct ref_step *st, struct operands *o)
{
    for (uint32_t i = 0; i < st->node.n_out; i++) {
        struct slot *const s = &f->slots[st->out[i]];

        if (st->out[i] == 0)
            continue;
        if (!o->out[i].data)
            return om_fail(f->run->err, OM_E_UNSUPPORTED, "output %" PRIu32 " is not computed", i);
        OM_TRY(narrow(f, st, o, i));
        OM_TRY(observe(f, st->source->out[i], &o->out[i]));
        if (s->uses == 0)
            continue;
        s->t = o->out[i]; /* moved */
        s->live = true;
        o->out[i] = (struct ref_tensor){ .mem = NULL };
    }
    return 0;
}

static int run_kernel(struct ref_frame *f, const struct ref_step *st, struct operands *o)
{
    struct run *const r = f->run;
    struct ref_call c = { .step = st,
                          .frame = f,
                          .pool = &r->pool,
                          .node = &st->node,
                          .opset = st->opset,
                          .in = o->in,
                          .dtypes = o->dtypes,
                          .out = o->out,
                          .err = r->err };

    for (uint32_t i = 0; i < st->node.n_in; i++)
        OM_TRY(load_operand(f, st, i, o));
    for (uint32_t i = 0; i < st->node.n_in; i++)
        OM_TRY(om_ref_work(&r->pool, o->in[i] ? o->in[i]->count : 1, 1, r->err));
    OM_TRY(om_ref_work(&r->pool, 1, 1, r->err));
    OM_TRY(st->def->run(&c));
    keep_small(st, o);
    for (uint32_t i = 0; i < st->node.n_out; i++)
        OM_TRY(om_ref_work(&r->pool, o->out[i].count, 1, r->err));
    return keep_outputs(f, st, o);
}

static int run_step(struct ref_frame *f, const struct ref_step *st)
{
    const size_t n_in = OM_MAX(st->node.n_in, 1), n_out = OM_MAX(st->node.n_out, 1);
    struct operands o = { .in = calloc(n_in, sizeof(*o.in)),
                          .widened = calloc(n_in, sizeof(*o.widened)),
                          .out = calloc(n_out, sizeof(*o.out)),
                          .dtypes = calloc(n_in, sizeof(*o.dtypes)) };
    int rc = om_ctx_check(f->run->opts ? f->run->opts->ctx : NULL, f->run->err);

    if (rc == 0 && (!o.in || !o.widened || !o.out || !o.dtypes))
        rc = om_fail(f->run->err, OM_E_NOMEM, "out of memory");
    if (rc == 0)
        rc = run_kernel(f, st, &o);
    for (size_t i = 0; i < n_in && o.widened; i++)
        om_ref_drop(&o.widened[i]);
    for (size_t i = 0; i < n_out && o.out; i++)
        om_ref_drop(&o.out[i]);
    free(o.in);
    free(o.widened);
    free(o.out);
    free(o.dtypes);
    for (uint32_t i = 0; i < st->source->n_in && rc == 0; i++)
        release(f, st->in[i]);
    for (uint32_t i = 0; i < st->n_captured && rc == 0; i++)
        release(f, st->captured[i]);
    return om_wrap(f->run->err, rc, "%.*s \"%.*s\"", OM_SV(st->source->op),
                   OM_SV(st->source->name));
}

/* ---- frames ---- */

static int open_frame(struct ref_frame *f)
{
    f->slots = calloc(f->plan->n_slots, sizeof(*f->slots));
    if (!f->slots)
        return om_fail(f->run->err, OM_E_NOMEM, "out of memory");
    for (uint32_t i = 1; i < f->plan->n_slots; i++)
        f->slots[i].uses = f->plan->uses[i];
    return 0;
}

static void close_frame(struct ref_frame *f)
{
    for (uint32_t i = 0; f->slots && i < f->plan->n_slots; i++)
        om_ref_drop(&f->slots[i].t);
    free(f->slots);
}

static int run_frame(struct ref_frame *f)
{
    OM_TRY(load_initials(f));
    for (size_t i = 0; i < f->plan->n_steps; i++)
        OM_TRY(run_step(f, &f->plan->steps[i]));
    return 0;
}

int om_ref_body(const struct ref_call *c, const char *name, const struct ref_plan **out)
{
    const struct om_doc_node *n = c->step->source;

    for (uint32_t i = 0; i < n->n_attrs; i++) {
        if (!c->step->graphs[i] || !om_sv_is(n->attrs[i].name, name))
            continue;
        *out = c->step->graphs[i];
        return 0;
    }
    return om_fail(c->err, OM_E_FORMAT, "attribute \"%s\" holds no graph", name);
}

static int share_inputs(struct ref_frame *f, const struct ref_tensor *in)
{
    for (size_t i = 0; i < f->plan->graph->inputs.len; i++) {
        struct slot *s = &f->slots[f->plan->inputs[i]];

        if (f->plan->inputs[i] == 0 || s->uses == 0)
            continue;
        OM_TRY(om_ref_share(&s->t, &in[i], in[i].dims, in[i].rank, f->run->err));
        s->live = true;
    }
    return 0;
}

int om_ref_run_body(const struct ref_call *c, const struct ref_plan *p, const struct ref_tensor *in,
                    size_t n_in, struct ref_tensor *out, size_t n_out)
{
    struct ref_frame f = { .run = c->frame->run, .plan = p, .around = c->frame };
    int rc;

    if (p->graph->inputs.len != n_in || p->graph->outputs.len != n_out)
        return om_fail(c->err, OM_E_FORMAT,
                       "graph \"%.*s\" has %zu inputs and %zu outputs, expected %zu and %zu",
                       OM_SV(p->graph->name), p->graph->inputs.len, p->graph->outputs.len, n_in,
                       n_out);
    rc = open_frame(&f);
    if (rc == 0)
        rc = share_inputs(&f, in);
    if (rc == 0)
        rc = run_frame(&f);
    for (size_t i = 0; i < n_out && rc == 0; i++) {
        const struct ref_tensor *t = NULL;

        rc = fetch(&f, p->outputs[i], &t);
        if (rc == 0)
            rc = om_ref_share(&out[i], t, t->dims, t->rank, c->err);
    }
    close_frame(&f);
    return rc;
}

/* ---- inputs and outputs of the model ---- */

static bool has_initial(const struct ref_plan *p, uint32_t at)
{
    for (size_t i = 0; i < p->n_initials; i++)
        if (p->initials[i].at == at)
            return true;
    return false;
}

static int take_input(struct ref_frame *f, size_t port, const struct om_tensor *t)
{
    const struct om_doc_port *in = &f->plan->graph->inputs.items[port];
    struct run *const r = f->run;
    struct slot *s = &f->slots[f->plan->inputs[port]];
    const struct ref_small *const small = om_ref_small(in->type);
    const enum om_dtype want = small ? small->storage : om_dtype_from_onnx(in->type);
    uint64_t bytes;

    if (want == OM_DTYPE_NONE && in->type != OM_DOC_UNKNOWN)
        return om_fail(r->err, OM_E_UNSUPPORTED, "element type %" PRId32, in->type);

    if (want != OM_DTYPE_NONE && want != t->dtype)
        return om_fail(r->err, OM_E_USAGE, "expected %s, found %s", om_dtype_text(want),
                       om_dtype_text(t->dtype));
    if (s->live)
        return om_fail(r->err, OM_E_USAGE, "it is given twice");
    if (!om_tensor_bytes(t, &bytes) || (bytes > 0 && !t->data))
        return om_fail(r->err, OM_E_USAGE, "it has no data, or no possible shape");
    if (f->plan->inputs[port] == 0)
        return 0;
    if (bytes > 0 && !om_ref_aligned(t->data, t->dtype)) {
        OM_TRY(om_ref_new(&r->pool, &s->t, t->dtype, t->dims, t->rank, r->err));
        memcpy(s->t.data, t->data, (size_t)bytes);
    } else {
        OM_TRY(om_ref_borrow(&s->t, t->dtype, t->dims, t->rank, t->data, r->err));
    }
    s->t.small = small ? small->type : 0;
    s->live = true;
    return 0;
}

static const struct om_tensor *find_input(const struct om_tensor *inputs, size_t n, om_sv name)
{
    for (size_t i = 0; i < n; i++)
        if (inputs[i].name && om_sv_is(name, inputs[i].name))
            return &inputs[i];
    return NULL;
}

static int take_inputs(struct ref_frame *f, const struct om_tensor *inputs, size_t n)
{
    const struct om_doc_ports *ports = &f->plan->graph->inputs;

    for (size_t p = 0; p < ports->len; p++)
        if (!find_input(inputs, n, ports->items[p].name) &&
            !has_initial(f->plan, f->plan->inputs[p]))
            return om_fail(f->run->err, OM_E_USAGE, "input \"%.*s\" is missing",
                           OM_SV(ports->items[p].name));
    for (size_t i = 0; i < n; i++) {
        const char *name = inputs[i].name ? inputs[i].name : "";
        size_t p = 0;

        while (p < ports->len && !om_sv_is(ports->items[p].name, name))
            p++;
        if (p == ports->len)
            return om_fail(f->run->err, OM_E_USAGE, "input \"%s\" is not one of the model's", name);
        OM_TRY(om_wrap(f->run->err, take_input(f, p, &inputs[i]), "input \"%s\"", name));
    }
    return 0;
}

static int give_output(struct ref_frame *f, size_t i, struct om_arena *a, struct om_tensor *out)
{
    const struct ref_tensor *t = NULL;
    size_t size;
    void *data;

    OM_TRY(fetch(f, f->plan->outputs[i], &t));
    if (t->kind != REF_TENSOR)
        return om_fail(f->run->err, OM_E_UNSUPPORTED, "it is %s",
                       t->kind == REF_SEQUENCE ? "a sequence" : "an optional without a value");
    size = (size_t)t->count * om_dtype_size(t->dtype);
    data = om_arena_alloc(a, OM_MAX(size, 1));
    *out =
        (struct om_tensor){ .name = om_arena_str(a, f->plan->graph->outputs.items[i].name),
                            .dtype = t->dtype,
                            .rank = t->rank,
                            .dims = t->rank ? om_arena_copy(a, t->dims, t->rank * sizeof(*t->dims))
                                            : NULL,
                            .data = data };
    if (!data || !out->name || (t->rank && !out->dims))
        return om_fail(f->run->err, OM_E_NOMEM, "out of memory");
    if (size > 0)
        memcpy(data, t->data, size);
    return 0;
}

static int give_outputs(struct ref_frame *f, struct om_arena *a, struct om_tensor **outputs,
                        size_t *n_outputs)
{
    const size_t n = f->plan->graph->outputs.len;
    struct om_tensor *const out = om_arena_array(a, OM_MAX(n, 1), sizeof(*out));

    if (!out)
        return om_fail(f->run->err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        OM_TRY(om_wrap(f->run->err, give_output(f, i, a, &out[i]), "output \"%.*s\"",
                       OM_SV(f->plan->graph->outputs.items[i].name)));
    *outputs = out;
    *n_outputs = n;
    return 0;
}

int om_ref_model_run(const struct om_ref_model *m, const struct om_tensor *inputs, size_t n_inputs,
                     const struct om_ref_model_opts *opts, struct om_arena *a,
                     struct om_tensor **outputs, size_t *n_outputs, struct om_error *err)
{
    struct run r = { .opts = opts,
                     .pool = { .max = opts && opts->max_bytes ? opts->max_bytes : DEFAULT_MAX_BYTES,
                               .max_work = opts ? opts->max_work : 0 },
                     .name = OM_BUF_INIT(1u << 20),
                     .err = err };
    struct ref_frame f = { .run = &r, .plan = m->plan };
    int rc = open_frame(&f);

    if (rc == 0)
        rc = take_inputs(&f, inputs, n_inputs);
    if (rc == 0)
        rc = run_frame(&f);
    if (rc == 0)
        rc = give_outputs(&f, a, outputs, n_outputs);
    close_frame(&f);
    om_buf_release(&r.name);
    if (rc == 0 && r.pool.used != 0)
        rc = om_fail(err, OM_E_INTERNAL, "%" PRIu64 " bytes outlived their last use", r.pool.used);
    return om_wrap(err, rc, "reference executor");
}
