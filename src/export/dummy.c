/* src/export/dummy.c: example inputs for the validation, seeded, by the names and limits of a
 * graph's ports. */
#include "base/half.h"
#include "export/job.h"

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static int64_t below(uint64_t *state, int64_t limit)
{
    return (int64_t)(next_random(state) % (uint64_t)limit);
}

static int64_t given_or(int64_t given, int64_t def)
{
    return given > 0 ? given : def;
}

/* The second shape differs in every axis. */
static int64_t varied(const struct om_dummy *how, int64_t size)
{
    if (how->variant == 0)
        return size;
    return size > 4 ? size - 3 : size + 1;
}

static bool one_token_at_a_time(enum om_part part, const struct om_dummy *how)
{
    const bool chooses = part == OM_PART_DECODER_MERGED || part == OM_PART_DECODER_SINGLE;

    return part == OM_PART_DECODER_PAST || (chooses && how->use_cache);
}

/* The file takes a cache, and this round has none yet. */
static bool first_step(enum om_part part, const struct om_dummy *how)
{
    return part == OM_PART_DECODER_SINGLE && !how->use_cache;
}

/* 16 tokens, or what fits a shorter table of positions; RoBERTa's count from the padding id, which
 * is 1 where the configuration names none. A decoder with past reads as many tokens twice. */
static int64_t default_length(const struct om_job *job)
{
    static const char *const keys[] = { "max_position_embeddings", "n_positions" };
    const bool counts_from_pad = job->arch.arch->kind == OM_ARCH_ENCODER;
    const int64_t offset = counts_from_pad ? OM_MAX(job->config.pad_token_id, 1) + 1 : 2;
    const bool twice = job->arch.past && !om_arch_two_sided(&job->arch);
    int64_t length = 16, positions;

    for (size_t i = 0; i < OM_COUNT(keys) && !job->opts->no_dynamic_axes; i++)
        if (om_json_i64(om_json_get(job->config.doc, keys[i]), &positions) && positions > offset)
            length = OM_MIN(length, OM_MAX((positions - offset) / (twice ? 2 : 1), 1));
    return length;
}

int64_t om_dummy_size(const struct om_job *job, enum om_part part, const struct om_dummy *how,
                      om_sv symbol)
{
    const struct om_shapes *s = &job->opts->shapes;
    const int64_t length = given_or(s->sequence_length, default_length(job));

    /* GroupQueryAttention of ONNX Runtime takes several tokens after cached ones of one text only,
     * and padding at the end of the cache. */
    if (om_sv_is(symbol, "batch_size") && job->opts->genai)
        return 1;
    if (om_sv_is(symbol, "batch_size"))
        return varied(how, given_or(s->batch_size, 2));
    if (om_sv_is(symbol, "num_choices"))
        return varied(how, given_or(s->num_choices, 4));
    if (om_sv_is(symbol, "decoder_sequence_length") && one_token_at_a_time(part, how))
        return part == OM_PART_DECODER_SINGLE ? varied(how, 1) : 1;
    if (om_sv_is(symbol, "past_decoder_sequence_length") && part == OM_PART_DECODER_MERGED &&
        !how->use_cache)
        return 1; /* fed but not read */
    if (om_sv_starts(symbol, OM_SVL("past_")) && first_step(part, how))
        return 0;
    if (om_sv_ends(symbol, OM_SVL("encoder_sequence_length")))
        return how->variant == 0 ? length : length + 2;
    if (om_sv_starts(symbol, OM_SVL("past_")))
        return how->variant == 0 ? length : length - length / 2;
    return varied(how, length);
}

static int bind_symbols(const struct om_job *job, const struct om_job_file *f,
                        const struct om_dummy *how, struct om_dim_env *env, struct om_error *err)
{
    const struct om_graph *g = f->built;

    for (size_t i = 0; i < g->n_inputs; i++) {
        const struct om_value *v = om_graph_value(g, g->inputs[i].val);

        for (uint32_t k = 0; k < v->rank; k++) {
            om_sv symbol;

            if (om_dim_is_symbol(g->dims, v->dims[k], &symbol))
                om_dim_bind(env, symbol, om_dummy_size(job, f->part, how, symbol));
        }
    }
    for (size_t i = 0; i < g->n_inputs; i++) {
        const struct om_value *v = om_graph_value(g, g->inputs[i].val);
        int64_t size;

        for (uint32_t k = 0; k < v->rank; k++)
            if (!om_dim_eval(env, v->dims[k], &size))
                return om_fail(err, OM_E_INTERNAL, "input %.*s: axis %s has no example size",
                               OM_SV(g->inputs[i].name), om_dim_text(g->dims, v->dims[k]));
    }
    return 0;
}

/* Ones with a right-padded tail in every row but the first. */
static void fill_mask(uint64_t *state, int64_t *p, int64_t rows, int64_t length)
{
    for (int64_t r = 0; r < rows; r++) {
        const int64_t tail = r > 0 && length > 1 ? below(state, length - 1) + 1 : 0;

        for (int64_t i = 0; i < length; i++)
            p[r * length + i] = i < length - tail;
    }
}

static void fill_positions(int64_t *p, int64_t rows, int64_t length, int64_t past, int64_t limit)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < length; i++)
            p[r * length + i] = limit > 0 ? (past + i) % limit : past + i;
}

static void fill_ints(uint64_t *state, const struct om_port *port, const struct om_tensor *t,
                      int64_t count, int64_t past)
{
    int64_t *p = (int64_t *)(uintptr_t)t->data;
    const int64_t length = t->rank > 0 ? t->dims[t->rank - 1] : 1;
    const int64_t rows = length > 0 ? count / length : 0;

    if (om_sv_ends(port->name, OM_SVL("attention_mask"))) {
        fill_mask(state, p, rows, length);
    } else if (om_sv_is(port->name, "position_ids")) {
        fill_positions(p, rows, length, past, port->limit);
    } else {
        for (int64_t i = 0; i < count; i++)
            p[i] = below(state, port->limit > 0 ? port->limit : 2);
    }
}

static int fill(uint64_t *state, const struct om_port *port, const struct om_dummy *how,
                struct om_tensor *t, int64_t count, int64_t past, struct om_error *err)
{
    if (t->dtype == OM_I64) {
        fill_ints(state, port, t, count, past);
    } else if (t->dtype == OM_F32 || t->dtype == OM_F16 || t->dtype == OM_BF16) {
        const size_t size = om_dtype_size(t->dtype);
        uint8_t *p = (uint8_t *)(uintptr_t)t->data;

        for (int64_t i = 0; i < count; i++) {
            const float v = (float)(next_random(state) >> 40) / (float)(1 << 24);
            om_convert(p + (size_t)i * size, t->dtype, &v, OM_F32, 1);
        }
    } else if (t->dtype == OM_BOOL) {
        memset((void *)(uintptr_t)t->data, how->use_cache ? 1 : 0, (size_t)count);
    } else {
        return om_fail(err, OM_E_INTERNAL, "input %.*s: no example values of type %s",
                       OM_SV(port->name), om_dtype_text(t->dtype));
    }
    return 0;
}

static int make_input(const struct om_graph *g, const struct om_port *port,
                      const struct om_dim_env *env, const struct om_dummy *how, uint64_t *state,
                      struct om_arena *a, struct om_tensor *t, struct om_error *err)
{
    const struct om_value *v = om_graph_value(g, port->val);
    int64_t *dims = om_arena_array(a, v->rank + 1, sizeof(*dims));
    int64_t past = 0, count;
    uint64_t bytes;

    *t = (struct om_tensor){
        .name = om_arena_str(a, port->name), .dtype = v->dtype, .rank = v->rank, .dims = dims
    };
    if (dims == NULL || t->name == NULL)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (uint32_t k = 0; k < v->rank; k++)
        om_dim_eval(env, v->dims[k], &dims[k]);
    if (!om_tensor_bytes(t, &bytes) || !om_count(dims, v->rank, &count))
        return om_fail(err, OM_E_LIMIT, "input %s: the example shape is too large", t->name);
    t->data = om_arena_alloc(a, (size_t)bytes + 1);
    if (t->data == NULL)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    om_dim_bound(env, OM_SVL("past_sequence_length"), &past);
    return fill(state, port, how, t, count, past, err);
}

int om_dummy_inputs(const struct om_job *job, const struct om_job_file *f,
                    const struct om_dummy *how, struct om_arena *a, struct om_tensor **inputs,
                    size_t *n, struct om_error *err)
{
    const struct om_graph *g = f->built;
    uint64_t state = 42u + (uint64_t)how->variant;
    struct om_dim_env env;
    struct om_tensor *t;

    OM_TRY(om_dim_env_init(&env, a, g->dims) < 0 ? om_fail(err, OM_E_NOMEM, "out of memory") : 0);
    OM_TRY(bind_symbols(job, f, how, &env, err));
    t = om_arena_array(a, g->n_inputs + 1, sizeof(*t));
    if (t == NULL)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < g->n_inputs; i++)
        OM_TRY(make_input(g, &g->inputs[i], &env, how, &state, a, &t[i], err));
    *inputs = t;
    *n = g->n_inputs;
    return 0;
}

size_t om_dummy_taken(const struct om_job_file *f, struct om_tensor *inputs, size_t n)
{
    const struct om_graph *g = f->lowered;
    size_t taken = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < g->n_inputs; k++)
            if (om_sv_is(g->inputs[k].name, inputs[i].name)) {
                const struct om_tensor t = inputs[i];

                inputs[i] = inputs[taken];
                inputs[taken++] = t;
                break;
            }
    return taken;
}
