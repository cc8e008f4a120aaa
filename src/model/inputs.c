/* src/model/inputs.c: the inputs that Transformers' models make themselves when they are not given.
 */
#include "model/internal.h"

#define PAST_PREFIX "past_key_values."

enum rule { RULE_NONE, RULE_ONES, RULE_ZEROS, RULE_POSITIONS, RULE_PAST };

static const struct {
    const char *name;
    enum rule rule;
} optional[] = {
    { "attention_mask", RULE_ONES },
    { "token_type_ids", RULE_ZEROS },
    { "position_ids", RULE_POSITIONS },
};

struct fill {
    struct om_arena *arena;
    const struct om_session *session;
    const struct om_tensor *inputs;
    size_t n;
    const struct om_tensor *ids; /* input_ids; NULL: not given, or not [batch, ..., sequence] */
    bool has_past;               /* some past_key_values.* is given */
    int64_t past;                /* its length */
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for the inputs of a run");
}

static bool is_past(const char *name)
{
    return om_sv_starts(om_sv_str(name), OM_SVL(PAST_PREFIX));
}

static enum rule rule_of(const char *name)
{
    for (size_t i = 0; i < OM_COUNT(optional); i++)
        if (strcmp(name, optional[i].name) == 0)
            return optional[i].rule;
    return is_past(name) ? RULE_PAST : RULE_NONE;
}

static const struct om_tensor *given(const struct om_tensor *inputs, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (inputs[i].name && strcmp(inputs[i].name, name) == 0)
            return &inputs[i];
    return NULL;
}

static bool has_input(const struct om_session *s, const char *name)
{
    for (size_t i = 0; i < om_session_input_count(s); i++)
        if (strcmp(om_session_input(s, i)->name, name) == 0)
            return true;
    return false;
}

/* What is given about the shape of the run. */
static void look(struct fill *f)
{
    uint64_t bytes;

    f->ids = given(f->inputs, f->n, "input_ids");
    if (f->ids && (f->ids->rank < 2 || !f->ids->dims || !om_tensor_bytes(f->ids, &bytes)))
        f->ids = NULL;
    for (size_t i = 0; i < f->n && !f->has_past; i++) {
        const struct om_tensor *t = &f->inputs[i];

        if (!t->name || !is_past(t->name))
            continue;
        f->has_past = true;
        f->past = t->rank == 4 && t->dims && t->dims[2] > 0 ? t->dims[2] : 0;
    }
}

static int64_t value(const struct fill *f, enum rule rule, int64_t column)
{
    switch (rule) {
    case RULE_ONES:
        return 1;
    case RULE_POSITIONS:
        return f->past + column;
    case RULE_NONE:
    case RULE_ZEROS:
    case RULE_PAST:
        break;
    }
    return 0;
}

/* A tensor in the shape of input_ids, the mask longer by the past. */
static int make_ids(struct fill *f, const struct om_session_port *p, enum rule rule,
                    struct om_tensor *out, struct om_error *err)
{
    const uint32_t rank = f->ids->rank;
    int64_t *dims = om_arena_copy(f->arena, f->ids->dims, rank * sizeof(*dims));
    int64_t count;
    void *data;

    if (!dims)
        return no_memory(err);
    if ((rule == RULE_ONES && !om_add_i64(dims[rank - 1], f->past, &dims[rank - 1])) ||
        !om_count(dims, rank, &count))
        return om_fail(err, OM_E_USAGE, "input \"%s\" would be too large", p->name);
    data = om_arena_array(f->arena, (size_t)count + 1, om_dtype_size(p->dtype));
    if (!data)
        return no_memory(err);
    for (int64_t i = 0; i < count; i++) {
        const int64_t v = value(f, rule, i % dims[rank - 1]);

        if (p->dtype == OM_I64)
            ((int64_t *)data)[i] = v;
        else
            ((int32_t *)data)[i] = (int32_t)v;
    }
    *out = (struct om_tensor){ p->name, p->dtype, rank, dims, data };
    return 0;
}

/* A past of no tokens: [batch, heads, 0, size of a head]. */
static int make_past(struct fill *f, const struct om_session_port *p, struct om_tensor *out,
                     struct om_error *err)
{
    int64_t *dims = om_arena_copy(f->arena, p->dims, p->rank * sizeof(*dims));
    void *data = om_arena_alloc(f->arena, 1);

    if (!dims || !data)
        return no_memory(err);
    dims[0] = f->ids->dims[0];
    dims[2] = 0;
    *out = (struct om_tensor){ p->name, p->dtype, p->rank, dims, data };
    return 0;
}

/* Add what the port gets by default; a port that gets nothing is the session's to miss. */
static int fill_port(struct fill *f, const struct om_session_port *p, struct om_tensor *out,
                     size_t *n, struct om_error *err)
{
    const enum rule rule = rule_of(p->name);

    if (rule == RULE_NONE || !f->ids)
        return 0;
    if (rule == RULE_PAST) {
        if (f->has_past || p->rank != 4 || p->dims[1] < 0 || p->dims[3] < 0)
            return 0;
        OM_TRY(make_past(f, p, &out[*n], err));
    } else {
        if (p->dtype != OM_I64 && p->dtype != OM_I32)
            return 0;
        OM_TRY(make_ids(f, p, rule, &out[*n], err));
    }
    ++*n;
    return 0;
}

/* ---- axes of one name ---- */

struct axis {
    const char *name, *input;
    uint32_t at;
    int64_t size;
};

static int check_axis(struct axis *seen, size_t *n, const struct axis *x, struct om_error *err)
{
    for (size_t i = 0; i < *n; i++) {
        if (strcmp(seen[i].name, x->name) != 0)
            continue;
        if (seen[i].size == x->size)
            return 0;
        return om_fail(err, OM_E_USAGE,
                       "input \"%s\": axis %u (%s) has size %" PRId64
                       ", but axis %u of input \"%s\" has %" PRId64,
                       x->input, x->at, x->name, x->size, seen[i].at, seen[i].input, seen[i].size);
    }
    seen[(*n)++] = *x;
    return 0;
}

/* ONNX Runtime finds such a difference in the middle of the graph, and names no input. */
static int check_axes(struct om_arena *a, const struct om_session *s, const struct om_tensor *t,
                      size_t n, struct om_error *err)
{
    struct axis *seen;
    size_t n_seen = 0, total = 0;

    for (size_t i = 0; i < om_session_input_count(s); i++)
        total += om_session_input(s, i)->rank;
    seen = om_arena_array(a, total + 1, sizeof(*seen));
    if (!seen)
        return no_memory(err);
    for (size_t i = 0; i < om_session_input_count(s); i++) {
        const struct om_session_port *p = om_session_input(s, i);
        const struct om_tensor *x = given(t, n, p->name);

        for (uint32_t d = 0; x && x->rank == p->rank && x->dims && d < p->rank; d++) {
            const struct axis axis = { p->dim_names[d], p->name, d, x->dims[d] };

            if (axis.name[0])
                OM_TRY(check_axis(seen, &n_seen, &axis, err));
        }
    }
    return 0;
}

int om_model_inputs(struct om_arena *a, const struct om_session *s, const struct om_tensor *inputs,
                    size_t n, struct om_tensor **out, size_t *n_out, struct om_error *err)
{
    struct fill f = { .arena = a, .session = s, .inputs = inputs, .n = n };
    struct om_tensor *all = om_arena_array(a, n + om_session_input_count(s) + 1, sizeof(*all));
    size_t len = 0;

    if (!all)
        return no_memory(err);
    look(&f);
    for (size_t i = 0; i < n; i++) {
        const enum rule rule = inputs[i].name ? rule_of(inputs[i].name) : RULE_NONE;

        if (rule == RULE_NONE || rule == RULE_PAST || has_input(s, inputs[i].name))
            all[len++] = inputs[i];
    }
    for (size_t i = 0; i < om_session_input_count(s); i++) {
        const struct om_session_port *p = om_session_input(s, i);

        if (!given(inputs, n, p->name))
            OM_TRY(fill_port(&f, p, all, &len, err));
    }
    OM_TRY(check_axes(a, s, all, len, err));
    *out = all;
    *n_out = len;
    return 0;
}
