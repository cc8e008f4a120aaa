/* src/ort/run.c: running a session on named tensors. */
#include <stdlib.h>

#include "base/buf.h"
#include "ort/session.h"

#define RUN_ARENA_MAX (256u << 20)
#define LIST_MAX (16u << 10) /* of names in a message */

struct om_results {
    const struct om_ort *ort;
    struct ort_value **values; /* own the tensors' data */
    struct om_tensor *items;
    size_t len;
    struct om_arena arena; /* owns the arrays, names and dims */
};

/* One run: the arrays that ONNX Runtime takes, in the model's order. */
struct run {
    const struct om_session *s;
    struct om_arena arena;
    const struct om_tensor **given; /* by input of the model; NULL: not seen yet */
    struct ort_value **in_values;
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for the arguments of a run");
}

/* ---- checks ---- */

/* dims as "(2, 16)", with the names of dynamic axes where there are some. */
static const char *shape_text(struct om_buf *b, const int64_t *dims, const char *const *names,
                              size_t rank)
{
    om_buf_addc(b, '(');
    for (size_t i = 0; i < rank; i++) {
        om_buf_adds(b, i ? ", " : "");
        if (dims[i] >= 0)
            om_buf_printf(b, "%" PRId64, dims[i]);
        else
            om_buf_adds(b, names && names[i][0] ? names[i] : "?");
    }
    om_buf_addc(b, ')');
    return b->failed ? "(...)" : b->ptr;
}

static int wrong_shape(const struct om_session_port *want, const struct om_tensor *got,
                       struct om_error *err)
{
    struct om_buf expected = OM_BUF_INIT(LIST_MAX), found = OM_BUF_INIT(LIST_MAX);
    const int rc = om_fail(err, OM_E_USAGE, "expected shape %s, found %s",
                           shape_text(&expected, want->dims, want->dim_names, want->rank),
                           shape_text(&found, got->dims, NULL, got->rank));

    om_buf_release(&expected);
    om_buf_release(&found);
    return rc;
}

static bool shape_fits(const struct om_session_port *want, const struct om_tensor *got)
{
    if (want->any_rank)
        return true;
    if (want->rank != got->rank)
        return false;
    for (uint32_t i = 0; i < got->rank; i++)
        if (want->dims[i] >= 0 && want->dims[i] != got->dims[i])
            return false;
    return true;
}

static int check_tensor(const struct om_session_port *want, const struct om_tensor *got,
                        struct om_error *err)
{
    uint64_t bytes;

    if (got->rank && !got->dims)
        return om_fail(err, OM_E_USAGE, "rank %" PRIu32 ", but no dims", got->rank);
    if (got->dtype != want->dtype)
        return om_fail(err, OM_E_USAGE, "expected %s, found %s", om_dtype_text(want->dtype),
                       om_dtype_text(got->dtype));
    if (!shape_fits(want, got))
        return wrong_shape(want, got, err);
    if (!om_tensor_bytes(got, &bytes) || bytes > SIZE_MAX)
        return om_fail(err, OM_E_USAGE, "a dim is negative or the shape is too large");
    if (bytes && !got->data)
        return om_fail(err, OM_E_USAGE, "%" PRIu64 " bytes, but no data", bytes);
    return 0;
}

static void add_quoted(struct om_buf *b, const char *name)
{
    om_buf_printf(b, "%s\"%s\"", b->len ? ", " : "", name);
}

static int unknown_name(const struct om_ports *ports, const char *word, const char *name,
                        struct om_error *err)
{
    struct om_buf has = OM_BUF_INIT(LIST_MAX);
    int rc;

    for (size_t i = 0; i < ports->len; i++)
        add_quoted(&has, ports->items[i].name);
    rc =
        om_fail(err, OM_E_USAGE, "%s \"%s\": the model has no such %s, it has %s", word, name, word,
                has.failed ? "others"
                : has.len  ? has.ptr
                           : "none");
    om_buf_release(&has);
    return rc;
}

static int missing_inputs(const struct run *r, struct om_error *err)
{
    struct om_buf missing = OM_BUF_INIT(LIST_MAX);
    const struct om_ports *ports = &r->s->inputs;
    int rc = 0;

    for (size_t i = 0; i < ports->len; i++)
        if (!r->given[i])
            add_quoted(&missing, ports->items[i].name);
    if (missing.len || missing.failed)
        rc = om_fail(err, OM_E_USAGE, "missing input %s", missing.failed ? "..." : missing.ptr);
    om_buf_release(&missing);
    return rc;
}

/* Find the tensor for every input of the model. */
static int match_inputs(struct run *r, const struct om_tensor *inputs, size_t n,
                        struct om_error *err)
{
    const struct om_ports *ports = &r->s->inputs;

    for (size_t i = 0; i < n; i++) {
        const struct om_tensor *t = &inputs[i];
        const char *name = t->name ? t->name : "";
        uint32_t at;

        if (!om_map_get(&ports->by_name, om_sv_str(name), &at))
            return unknown_name(ports, "input", name, err);
        if (r->given[at])
            return om_fail(err, OM_E_USAGE, "input \"%s\" is given twice", name);
        OM_TRY(om_wrap(err, check_tensor(&ports->items[at], t, err), "input \"%s\"", name));
        r->given[at] = t;
    }
    return missing_inputs(r, err);
}

/* ---- inputs ---- */

/* Memory for a tensor's elements that suits their type. ONNX Runtime reads in place: elements that
 * a file put at an odd address are copied, and a tensor without elements still gets an address. */
static int element_memory(struct run *r, const struct om_tensor *t, size_t bytes, const void **out,
                          struct om_error *err)
{
    static const uint64_t nothing;

    *out = bytes ? t->data : &nothing;
    if ((uintptr_t)*out % om_dtype_size(t->dtype) == 0)
        return 0;
    *out = om_arena_copy(&r->arena, t->data, bytes);
    return *out ? 0 : no_memory(err);
}

static int make_value(struct run *r, size_t i, struct om_error *err)
{
    const struct om_ort *ort = r->s->ort;
    const struct om_tensor *t = r->given[i];
    const void *data;
    uint64_t bytes = 0;

    if (!om_tensor_bytes(t, &bytes))
        return om_fail(err, OM_E_INTERNAL, "unchecked shape");
    OM_TRY(element_memory(r, t, (size_t)bytes, &data, err));
    /* Not written to: ONNX Runtime has no read-only tensors, but treats inputs as such. */
    return om_ort_check(ort,
                        ort->create_tensor(ort->cpu, (void *)(uintptr_t)data, (size_t)bytes,
                                           t->dims, t->rank, om_dtype_onnx(t->dtype),
                                           &r->in_values[i]),
                        err);
}

static int make_values(struct run *r, struct om_error *err)
{
    const struct om_ports *ports = &r->s->inputs;

    for (size_t i = 0; i < ports->len; i++)
        OM_TRY(om_wrap(err, make_value(r, i, err), "input \"%s\"", ports->names[i]));
    return 0;
}

static int run_init(struct run *r, const struct om_session *s, struct om_error *err)
{
    const size_t n = s->inputs.len;

    *r = (struct run){ .s = s, .arena = OM_ARENA_INIT(RUN_ARENA_MAX) };
    r->given = om_arena_array(&r->arena, n, sizeof(*r->given));
    r->in_values = om_arena_array(&r->arena, n, sizeof(*r->in_values));
    return n && (!r->given || !r->in_values) ? no_memory(err) : 0;
}

static void run_release(struct run *r)
{
    for (size_t i = 0; r->in_values && i < r->s->inputs.len; i++)
        if (r->in_values[i])
            r->s->ort->release_value(r->in_values[i]);
    om_arena_release(&r->arena);
}

/* ---- outputs ---- */

static int results_new(const struct om_ort *ort, const char *const *names, size_t n,
                       struct om_results **out, struct om_error *err)
{
    struct om_results *r = calloc(1, sizeof(*r));

    if (!r)
        return no_memory(err);
    r->ort = ort;
    om_arena_init(&r->arena, RUN_ARENA_MAX);
    r->values = om_arena_array(&r->arena, n, sizeof(*r->values));
    r->items = om_arena_array(&r->arena, n, sizeof(*r->items));
    if (n && (!r->values || !r->items)) {
        om_results_free(r);
        return no_memory(err);
    }
    r->len = n;
    for (size_t i = 0; i < n; i++) {
        r->items[i].name = om_arena_str(&r->arena, om_sv_str(names[i]));
        if (!r->items[i].name) {
            om_results_free(r);
            return no_memory(err);
        }
    }
    *out = r;
    return 0;
}

static int read_shape(struct om_results *r, const struct ort_shape_info *info, struct om_tensor *t,
                      struct om_error *err)
{
    const struct om_ort *ort = r->ort;
    size_t rank = 0;
    int element = 0;
    int64_t *dims;

    OM_TRY(om_ort_check(ort, ort->element_type(info, &element), err));
    OM_TRY(om_ort_check(ort, ort->dim_count(info, &rank), err));
    t->dtype = om_dtype_from_onnx(element);
    if (t->dtype == OM_DTYPE_NONE)
        return om_fail(err, OM_E_UNSUPPORTED, "element type %d is not supported", element);
    if (rank == 0)
        return 0;
    dims = om_arena_array(&r->arena, rank, sizeof(*dims));
    if (!dims)
        return no_memory(err);
    t->dims = dims;
    t->rank = (uint32_t)rank;
    return om_ort_check(ort, ort->dims(info, dims, rank), err);
}

static int read_value(struct om_results *r, size_t i, struct om_error *err)
{
    const struct om_ort *ort = r->ort;
    struct om_tensor *t = &r->items[i];
    struct ort_shape_info *info = NULL;
    void *data = NULL;
    int rc = om_ort_check(ort, ort->tensor_shape(r->values[i], &info), err);

    if (rc == 0)
        rc = read_shape(r, info, t, err);
    if (rc == 0)
        rc = om_ort_check(ort, ort->tensor_data(r->values[i], &data), err);
    t->data = data;
    if (info)
        ort->release_shape_info(info);
    return om_wrap(err, rc, "output \"%s\"", t->name);
}

static int read_values(struct om_results *r, struct om_error *err)
{
    for (size_t i = 0; i < r->len; i++)
        OM_TRY(read_value(r, i, err));
    return 0;
}

/* ---- the run ---- */

/* Outputs that have memory already. */
static int bind_outputs(const struct om_session *s, const struct om_tensor *into,
                        struct om_results *r, struct om_error *err)
{
    const struct om_ort *ort = s->ort;
    int rc = 0;

    for (size_t i = 0; into && i < r->len && rc == 0; i++) {
        const struct om_tensor *t = &into[i];
        uint64_t bytes;
        uint32_t at;

        if (!t->data)
            continue;
        om_map_get(&s->outputs.by_name, om_sv_str(t->name), &at);
        rc = check_tensor(&s->outputs.items[at], t, err);
        if (rc == 0 && !om_tensor_bytes(t, &bytes))
            rc = om_fail(err, OM_E_INTERNAL, "unchecked shape");
        if (rc == 0)
            rc = om_ort_check(ort,
                              ort->create_tensor(ort->cpu, (void *)(uintptr_t)t->data,
                                                 (size_t)bytes, t->dims, t->rank,
                                                 om_dtype_onnx(t->dtype), &r->values[i]),
                              err);
        rc = om_wrap(err, rc, "output \"%s\"", t->name);
    }
    return rc;
}

static int run_named(const struct om_session *s, struct run *r, const char *const *outputs,
                     const struct om_tensor *into, size_t n_outputs, struct om_results **out,
                     struct om_error *err)
{
    struct om_results *res = NULL;
    int rc;

    OM_TRY(results_new(s->ort, outputs, n_outputs, &res, err));
    rc = bind_outputs(s, into, res, err);
    if (rc == 0)
        rc = om_ort_check(s->ort,
                          s->ort->run(s->handle, NULL, s->inputs.names,
                                      (const struct ort_value *const *)r->in_values, s->inputs.len,
                                      outputs, n_outputs, res->values),
                          err);
    if (rc == 0)
        rc = read_values(res, err);
    if (rc == 0)
        *out = res;
    else
        om_results_free(res);
    return rc;
}

static int run_session(struct om_session *s, const struct om_tensor *inputs, size_t n_inputs,
                       const char *const *outputs, const struct om_tensor *into, size_t n_outputs,
                       struct om_results **out, struct om_error *err)
{
    struct run r;
    int rc = run_init(&r, s, err);

    for (size_t i = 0; rc == 0 && i < n_outputs; i++)
        if (!om_map_get(&s->outputs.by_name, om_sv_str(outputs[i]), NULL))
            rc = unknown_name(&s->outputs, "output", outputs[i], err);
    if (rc == 0)
        rc = match_inputs(&r, inputs, n_inputs, err);
    if (rc == 0)
        rc = make_values(&r, err);
    if (rc == 0)
        rc = run_named(s, &r, outputs, into, n_outputs, out, err);
    run_release(&r);
    return om_wrap(err, rc, "%s", s->label);
}

int om_session_run_outputs(struct om_session *s, const struct om_tensor *inputs, size_t n_inputs,
                           const char *const *outputs, size_t n_outputs, struct om_results **out,
                           struct om_error *err)
{
    return run_session(s, inputs, n_inputs, outputs, NULL, n_outputs, out, err);
}

int om_session_run_into(struct om_session *s, const struct om_tensor *inputs, size_t n_inputs,
                        const struct om_tensor *outputs, size_t n_outputs, struct om_results **out,
                        struct om_error *err)
{
    const char **names = malloc((n_outputs + 1) * sizeof(*names));
    int rc;

    if (!names)
        return no_memory(err);
    for (size_t i = 0; i < n_outputs; i++)
        names[i] = outputs[i].name;
    rc = run_session(s, inputs, n_inputs, names, outputs, n_outputs, out, err);
    free(names);
    return rc;
}

int om_session_run(struct om_session *s, const struct om_tensor *inputs, size_t n_inputs,
                   struct om_results **out, struct om_error *err)
{
    return om_session_run_outputs(s, inputs, n_inputs, s->outputs.names, s->outputs.len, out, err);
}

size_t om_results_count(const struct om_results *r)
{
    return r->len;
}

const struct om_tensor *om_results_at(const struct om_results *r, size_t i)
{
    return i < r->len ? &r->items[i] : NULL;
}

const struct om_tensor *om_results_find(const struct om_results *r, const char *name)
{
    for (size_t i = 0; i < r->len; i++)
        if (strcmp(r->items[i].name, name) == 0)
            return &r->items[i];
    return NULL;
}

void om_results_free(struct om_results *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->len; i++)
        if (r->values[i])
            r->ort->release_value(r->values[i]);
    om_arena_release(&r->arena);
    free(r);
}
