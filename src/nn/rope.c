/* src/nn/rope.c: rotary position embeddings (Su et al., 2021) and the ways of stretching them that
 * Transformers knows (modeling_rope_utils.py): rope_scaling of config.json.
 *
 * The frequencies are computed as PyTorch does, rounded to float32 after every step, because a
 * position of several thousands multiplies their errors. Two kinds depend on the length of the
 * sequence that is read, the greatest position + 1: "dynamic" and "longrope" are chosen in the
 * graph. (PyTorch's module remembers the greatest length it has met; here each run stands for
 * itself, as a fresh module would give it.) */
#include "nn/internal.h"

#include <math.h>

#define ROTARY_DIM_MAX 65536
#define ROPE_CACHE_MAX ((int64_t)1 << 24) /* numbers of a table: 64 MiB */

static const double two_pi = 6.283185307179586;

enum rope_type {
    ROPE_DEFAULT,
    ROPE_LINEAR,
    ROPE_DYNAMIC,
    ROPE_YARN,
    ROPE_LONGROPE,
    ROPE_LLAMA3,
    ROPE_TYPE_COUNT
};

static const char *const type_names[] = {
    [ROPE_DEFAULT] = "default", [ROPE_LINEAR] = "linear",     [ROPE_DYNAMIC] = "dynamic",
    [ROPE_YARN] = "yarn",       [ROPE_LONGROPE] = "longrope", [ROPE_LLAMA3] = "llama3",
};

static int64_t pairs(const struct om_rope_config *c)
{
    return (c->dim + 1) / 2;
}

static enum rope_type type_of(const struct om_rope_config *c)
{
    int i = 0;

    while (i < ROPE_TYPE_COUNT && strcmp(type_names[i], c->type) != 0)
        i++;
    return (enum rope_type)i;
}

/* ---- config.json ---- */

#define REQUIRED_F64(member, k)                                                                   \
    {                                                                                             \
        .kind = OM_FIELD_KIND_F64, .key = (k), .offset = offsetof(struct om_rope_config, member), \
        .required = true                                                                          \
    }
#define REQUIRED_INT(member, k)                                                                   \
    {                                                                                             \
        .kind = OM_FIELD_KIND_INT, .key = (k), .offset = offsetof(struct om_rope_config, member), \
        .required = true, .min = 1, .max = INT32_MAX                                              \
    }
#define OPTIONAL_F64(member, k, def) OM_FIELD_F64(struct om_rope_config, member, k, def)

static const struct om_field no_fields[] = { OM_FIELD_END };
static const struct om_field factor_fields[] = { REQUIRED_F64(factor, "factor"), OM_FIELD_END };
static const struct om_field yarn_fields[] = {
    REQUIRED_F64(factor, "factor"),
    OPTIONAL_F64(attention_factor, "attention_factor", NAN),
    OPTIONAL_F64(beta_fast, "beta_fast", 32.0),
    OPTIONAL_F64(beta_slow, "beta_slow", 1.0),
    OPTIONAL_F64(mscale, "mscale", 0.0),
    OPTIONAL_F64(mscale_all_dim, "mscale_all_dim", 0.0),
    { .kind = OM_FIELD_KIND_BOOL,
      .key = "truncate",
      .offset = offsetof(struct om_rope_config, truncate),
      .i = 1 },
    OM_FIELD_INT(struct om_rope_config, original_max_position, "original_max_position_embeddings",
                 0),
    OM_FIELD_END
};
static const struct om_field longrope_fields[] = {
    OPTIONAL_F64(factor, "factor", NAN), OPTIONAL_F64(attention_factor, "attention_factor", NAN),
    OM_FIELD_END
};
static const struct om_field llama3_fields[] = {
    REQUIRED_F64(factor, "factor"), REQUIRED_F64(low_freq_factor, "low_freq_factor"),
    REQUIRED_F64(high_freq_factor, "high_freq_factor"),
    REQUIRED_INT(original_max_position, "original_max_position_embeddings"), OM_FIELD_END
};

static const struct om_field *const type_fields[] = {
    [ROPE_DEFAULT] = no_fields, [ROPE_LINEAR] = factor_fields,     [ROPE_DYNAMIC] = factor_fields,
    [ROPE_YARN] = yarn_fields,  [ROPE_LONGROPE] = longrope_fields, [ROPE_LLAMA3] = llama3_fields,
};

/* Where the parameters are: rope_scaling, or what newer releases call rope_parameters. */
struct source {
    const char *key;
    const struct om_json *params; /* NULL: none */
};

static int find_source(const struct om_json *doc, bool ignored, struct source *src,
                       struct om_error *err)
{
    static const char *const keys[] = { "rope_scaling", "rope_parameters" };

    *src = (struct source){ .key = keys[0] };
    for (size_t i = 0; i < OM_COUNT(keys) && !ignored; i++) {
        const struct om_json *v = om_json_get(doc, keys[i]);
        if (om_json_kind(v) == OM_JSON_NULL)
            continue;
        if (om_json_kind(v) != OM_JSON_OBJECT)
            return om_fail(err, OM_E_CONFIG, "key \"%s\": expected an object, found %s", keys[i],
                           om_json_kind_text(v));
        *src = (struct source){ .key = keys[i], .params = v };
        return 0;
    }
    return 0;
}

/* The old name "type" wins where both are given, as in Transformers. */
static int read_type(const struct source *src, const struct om_rope_alias *aliases,
                     struct om_rope_config *c, struct om_error *err)
{
    const struct om_json *v = om_json_get(src->params, "type");
    om_sv name;

    c->type = type_names[ROPE_DEFAULT];
    if (!src->params)
        return 0;
    if (!v)
        v = om_json_get(src->params, "rope_type");
    if (!om_json_str(v, &name))
        return om_fail(err, OM_E_CONFIG, "key \"%s\": expected a string in \"rope_type\", found %s",
                       src->key, v ? om_json_kind_text(v) : "nothing");
    for (; aliases && aliases->name; aliases++)
        if (om_sv_is(name, aliases->name)) {
            name = om_sv_str(aliases->type);
            break;
        }
    for (int i = 0; i < ROPE_TYPE_COUNT; i++)
        if (om_sv_is(name, type_names[i])) {
            c->type = type_names[i];
            return 0;
        }
    return om_fail(err, OM_E_UNSUPPORTED,
                   "key \"%s\": rope_type \"%.*s\" is not supported (known are default, linear, "
                   "dynamic, yarn, longrope and llama3)",
                   src->key, (int)OM_MIN(name.len, 64), name.ptr);
}

static const char *theta_key(const struct om_rope_defaults *d)
{
    return d->theta_key ? d->theta_key : "rope_theta";
}

static const char *partial_key(const struct om_rope_defaults *d)
{
    return d->partial_key ? d->partial_key : "partial_rotary_factor";
}

/* theta, partial and the lengths: beside the parameters in config.json, inside rope_parameters. */
static int read_common(struct om_arena *a, const struct om_json *doc, const struct source *src,
                       const struct om_rope_defaults *d, struct om_rope_config *c,
                       struct om_error *err)
{
    const struct om_field lengths[] = { OM_FIELD_SIZE(struct om_rope_config, max_position,
                                                      "max_position_embeddings", d->max_position),
                                        OM_FIELD_SIZE(struct om_rope_config, original_max_position,
                                                      "original_max_position_embeddings",
                                                      d->original_max_position),
                                        OM_FIELD_END };
    const struct om_field shape[] = {
        OM_FIELD_F64(struct om_rope_config, theta, theta_key(d), d->theta),
        OM_FIELD_F64(struct om_rope_config, partial, partial_key(d), d->partial), OM_FIELD_END
    };
    const struct om_json *nested = src->params;

    OM_TRY(om_config_read(a, doc, lengths, c, err));
    if (strcmp(src->key, "rope_parameters") == 0 && om_json_get(nested, "rope_theta"))
        return om_wrap(err, om_config_read(a, nested, shape, c, err), "%s", src->key);
    return om_config_read(a, doc, shape, c, err);
}

static int read_list(struct om_arena *a, const struct source *src, const char *key, size_t n,
                     const double **out, struct om_error *err)
{
    const struct om_json *v = om_json_get(src->params, key);
    double *list;

    if (om_json_kind(v) != OM_JSON_ARRAY || om_json_len(v) != n)
        return om_fail(err, OM_E_CONFIG,
                       "key \"%s.%s\": expected a list of %zu numbers (half the rotary dims), "
                       "found %s of %zu",
                       src->key, key, n, om_json_kind_text(v), om_json_len(v));
    list = om_arena_array(a, n, sizeof(*list));
    if (!list)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        if (!om_json_f64(om_json_at(v, i), &list[i]) || !(list[i] > 0.0) || isinf(list[i]))
            return om_fail(err, OM_E_CONFIG, "key \"%s.%s\": element %zu is not a positive number",
                           src->key, key, i);
    *out = list;
    return 0;
}

static int need_positive(const struct source *src, const char *key, double v, struct om_error *err)
{
    if (v > 0.0 && !isinf(v))
        return 0;
    return om_fail(err, OM_E_CONFIG, "key \"%s.%s\": expected a positive number, found %g",
                   src->key, key, v);
}

static int check_dims(const struct om_rope_config *c, const struct om_rope_defaults *d,
                      struct om_error *err)
{
    if (!(c->theta > 0.0) || isinf(c->theta))
        return om_fail(err, OM_E_CONFIG, "key \"%s\": expected a positive number, found %g",
                       theta_key(d), c->theta);
    if (!(c->partial > 0.0 && c->partial <= 1.0))
        return om_fail(err, OM_E_CONFIG, "key \"%s\": expected a number in (0, 1], found %g",
                       partial_key(d), c->partial);
    if (c->dim < 1 || 2 * pairs(c) > OM_MIN(d->head_dim, ROTARY_DIM_MAX) ||
        (c->dim % 2 != 0 && (!d->odd_dims || type_of(c) == ROPE_YARN)))
        return om_fail(err, OM_E_CONFIG,
                       "heads of size %" PRId64 " and %s %g give %" PRId64
                       " rotary dims, expected an even number up to %d",
                       d->head_dim, partial_key(d), c->partial, c->dim, ROTARY_DIM_MAX);
    return 0;
}

static int finish_yarn(const struct source *src, struct om_rope_config *c, struct om_error *err)
{
    if (c->beta_fast == 0.0)
        c->beta_fast = 32.0;
    if (c->beta_slow == 0.0)
        c->beta_slow = 1.0;
    if (c->original_max_position == 0)
        c->original_max_position = c->max_position;
    if (c->original_max_position < 0)
        return om_fail(err, OM_E_CONFIG,
                       "key \"%s.original_max_position_embeddings\": expected a positive number",
                       src->key);
    if (c->theta == 1.0)
        return om_fail(err, OM_E_CONFIG, "key \"rope_theta\": 1 does not go with yarn");
    OM_TRY(need_positive(src, "beta_fast", c->beta_fast, err));
    return need_positive(src, "beta_slow", c->beta_slow, err);
}

static int finish_longrope(struct om_arena *a, const struct source *src, struct om_rope_config *c,
                           struct om_error *err)
{
    const size_t n = (size_t)pairs(c);

    OM_TRY(read_list(a, src, "short_factor", n, &c->short_factor, err));
    OM_TRY(read_list(a, src, "long_factor", n, &c->long_factor, err));
    c->n_factors = n;
    if (c->original_max_position)
        c->factor = (double)c->max_position / (double)c->original_max_position;
    else
        c->original_max_position = c->max_position;
    if (c->has_attention_factor)
        return 0;
    OM_TRY(need_positive(src, "factor", c->factor, err));
    if (c->factor > 1.0 && c->original_max_position == 1)
        return om_fail(err, OM_E_CONFIG,
                       "key \"original_max_position_embeddings\": 1 does not go with longrope");
    return 0;
}

static int finish_llama3(const struct source *src, const struct om_rope_config *c,
                         struct om_error *err)
{
    OM_TRY(need_positive(src, "low_freq_factor", c->low_freq_factor, err));
    OM_TRY(need_positive(src, "high_freq_factor", c->high_freq_factor, err));
    if (c->low_freq_factor == c->high_freq_factor)
        return om_fail(err, OM_E_CONFIG,
                       "key \"%s.high_freq_factor\": expected another value than low_freq_factor",
                       src->key);
    return 0;
}

static int finish_type(struct om_arena *a, const struct source *src, struct om_rope_config *c,
                       struct om_error *err)
{
    const enum rope_type type = type_of(c);

    c->has_attention_factor = !isnan(c->attention_factor);
    if (type != ROPE_DEFAULT && type != ROPE_LONGROPE)
        OM_TRY(need_positive(src, "factor", c->factor, err));
    switch (type) {
    case ROPE_DYNAMIC:
        if (c->dim == 2)
            return om_fail(err, OM_E_CONFIG, "key \"%s\": dynamic needs more than 2 rotary dims",
                           src->key);
        return 0;
    case ROPE_YARN:
        return finish_yarn(src, c, err);
    case ROPE_LONGROPE:
        return finish_longrope(a, src, c, err);
    case ROPE_LLAMA3:
        return finish_llama3(src, c, err);
    case ROPE_DEFAULT:
    case ROPE_LINEAR:
    case ROPE_TYPE_COUNT:
        break;
    }
    return 0;
}

int om_rope_read(struct om_arena *a, const struct om_json *doc,
                 const struct om_rope_defaults *defaults, struct om_rope_config *out,
                 struct om_error *err)
{
    struct om_rope_config c = { .attention_factor = NAN };
    struct source src;

    OM_TRY(find_source(doc, defaults->no_scaling, &src, err));
    OM_TRY(read_type(&src, defaults->aliases, &c, err));
    OM_TRY(read_common(a, doc, &src, defaults, &c, err));
    c.dim = (int64_t)((double)defaults->head_dim * c.partial);
    OM_TRY(check_dims(&c, defaults, err));
    if (src.params) {
        const int rc = om_config_read(a, src.params, type_fields[type_of(&c)], &c, err);
        if (rc < 0)
            return om_wrap(err, rc, "%s", src.key);
    }
    OM_TRY(finish_type(a, &src, &c, err));
    *out = c;
    return 0;
}

/* ---- frequencies ---- */

/* theta ** (2 i / dim). */
static float wavelength(const struct om_rope_config *c, int64_t i)
{
    const float exponent = (float)(2 * i) / (float)c->dim;

    return (float)pow((double)(float)c->theta, (double)exponent);
}

static float plain(const struct om_rope_config *c, int64_t i)
{
    return 1.0f / wavelength(c, i);
}

/* Peng et al., 2023: low frequencies are interpolated, high ones kept, with a ramp between. */
struct yarn {
    float low, range;
};

static double correction_dim(const struct om_rope_config *c, double rotations)
{
    return ((double)c->dim * log((double)c->original_max_position / (rotations * two_pi))) /
           (2.0 * log(c->theta));
}

static struct yarn yarn_ramp(const struct om_rope_config *c)
{
    double low = correction_dim(c, c->beta_fast), high = correction_dim(c, c->beta_slow);

    if (c->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = low > 0.0 ? low : 0.0;
    high = high < (double)(c->dim - 1) ? high : (double)(c->dim - 1);
    if (low == high)
        high += 0.001;
    return (struct yarn){ .low = (float)low, .range = (float)(high - low) };
}

static float yarn(const struct om_rope_config *c, const struct yarn *y, int64_t i)
{
    const float length = wavelength(c, i);
    const float extrapolated = 1.0f / length, interpolated = 1.0f / ((float)c->factor * length);
    const float at = ((float)i - y->low) / y->range;
    const float keep = 1.0f - (at < 0.0f ? 0.0f : at > 1.0f ? 1.0f : at);

    return interpolated * (1.0f - keep) + extrapolated * keep;
}

/* Llama 3.1: the same idea by wavelength. */
static float llama3(const struct om_rope_config *c, int64_t i)
{
    const double context = (double)c->original_max_position;
    const float inv = plain(c, i), length = (1.0f / inv) * (float)two_pi;
    const float slow = inv / (float)c->factor;
    float smooth;

    if (length > (float)(context / c->low_freq_factor))
        return slow;
    if (length < (float)(context / c->high_freq_factor))
        return inv;
    smooth = ((1.0f / length) * (float)context - (float)c->low_freq_factor) /
             (float)(c->high_freq_factor - c->low_freq_factor);
    return (1.0f - smooth) * inv / (float)c->factor + smooth * inv;
}

void om_rope_frequencies(const struct om_rope_config *c, bool beyond, float *out)
{
    const enum rope_type type = type_of(c);
    const struct yarn y = type == ROPE_YARN ? yarn_ramp(c) : (struct yarn){ 0 };
    const double *factors = beyond ? c->long_factor : c->short_factor;

    for (int64_t i = 0; i < pairs(c); i++)
        switch (type) {
        case ROPE_LINEAR:
            out[i] = plain(c, i) / (float)c->factor;
            break;
        case ROPE_YARN:
            out[i] = yarn(c, &y, i);
            break;
        case ROPE_LONGROPE:
            out[i] = 1.0f / ((float)factors[i] * wavelength(c, i));
            break;
        case ROPE_LLAMA3:
            out[i] = llama3(c, i);
            break;
        case ROPE_DEFAULT:
        case ROPE_DYNAMIC: /* up to the length that was trained */
        case ROPE_TYPE_COUNT:
            out[i] = plain(c, i);
            break;
        }
}

static double yarn_mscale(double factor, double mscale)
{
    return factor <= 1.0 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

double om_rope_attention_factor(const struct om_rope_config *c)
{
    const enum rope_type type = type_of(c);

    if (type != ROPE_YARN && type != ROPE_LONGROPE)
        return 1.0;
    if (c->has_attention_factor)
        return c->attention_factor;
    if (type == ROPE_LONGROPE)
        return c->factor <= 1.0
                   ? 1.0
                   : sqrt(1.0 + log(c->factor) / log((double)c->original_max_position));
    if (c->mscale != 0.0 && c->mscale_all_dim != 0.0)
        return yarn_mscale(c->factor, c->mscale) / yarn_mscale(c->factor, c->mscale_all_dim);
    return yarn_mscale(c->factor, 1.0);
}

/* ---- in the graph: always float32, whatever the dtype of activations ---- */

static om_val f32_vector(om_scope s, const float *v, int64_t n)
{
    return om_ok(s) ? om_graph_const(s.b->g, OM_F32, &n, 1, v) : (om_val){ 0 };
}

static om_val f32_scalar(om_scope s, double v)
{
    const float f = (float)v;

    return om_ok(s) ? om_graph_const(s.b->g, OM_F32, NULL, 0, &f) : (om_val){ 0 };
}

static om_val constant_frequencies(om_scope s, const struct om_rope_config *c, bool beyond)
{
    float *v = om_arena_array(s.b->g->arena, (size_t)pairs(c), sizeof(*v));

    if (!v)
        return om_scope_fail(s, OM_E_NOMEM, "out of memory");
    om_rope_frequencies(c, beyond, v);
    return f32_vector(s, v, pairs(c));
}

static om_val exponents(om_scope s, const struct om_rope_config *c)
{
    float *v = om_arena_array(s.b->g->arena, (size_t)pairs(c), sizeof(*v));

    if (!v)
        return om_scope_fail(s, OM_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < pairs(c); i++)
        v[i] = (float)(2 * i) / (float)c->dim;
    return f32_vector(s, v, pairs(c));
}

/* What is read, past included: the greatest position + 1. */
static om_val sequence_length(om_scope s, om_val position_ids)
{
    const om_val last = OM_EMIT1(s, OM_OP_ReduceMax, OM_ATTR_I("keepdims", 0), position_ids);

    return om_add(s, last, om_i64(s, 1));
}

/* A base that grows with the length so that the lowest frequency spans it ("NTK-aware"). */
static om_val grown_frequencies(om_scope s, const struct om_rope_config *c, om_val length)
{
    const double power = (double)c->dim / (double)(c->dim - 2);
    om_val x = om_mul(s, om_cast(s, length, OM_F32), f32_scalar(s, c->factor));

    x = om_div(s, x, f32_scalar(s, (double)c->max_position));
    x = om_sub_(s, x, f32_scalar(s, c->factor - 1.0));
    x = om_mul(s, om_binary(s, OM_OP_Pow, x, f32_scalar(s, power)), f32_scalar(s, c->theta));
    return om_unary(s, OM_OP_Reciprocal, om_binary(s, OM_OP_Pow, x, exponents(s, c)));
}

static om_val frequencies(om_scope s, const struct om_rope_config *c, om_val position_ids)
{
    const enum rope_type type = type_of(c);
    const bool grows = type == ROPE_DYNAMIC;
    const int64_t limit = grows ? c->max_position : c->original_max_position;
    const om_val within = constant_frequencies(s, c, false);
    om_val length, beyond;

    if (!grows && type != ROPE_LONGROPE)
        return within;
    length = sequence_length(s, position_ids);
    beyond = grows ? grown_frequencies(s, c, length) : constant_frequencies(s, c, true);
    return om_where(s, om_binary(s, OM_OP_Greater, length, om_i64(s, limit)), beyond, within);
}

static om_val table(om_scope s, const struct om_rope_config *c, enum om_op op, om_val angles)
{
    const double factor = om_rope_attention_factor(c);
    const om_val x = om_unary(s, op, angles);

    return om_to_compute(s, factor == 1.0 ? x : om_mul(s, x, f32_scalar(s, factor)));
}

/* ---- tables of all positions, to be looked up ---- */

static void fill_cache(const struct om_rope_config *c, enum om_op op, const float *frequency,
                       float *out)
{
    const float factor = (float)om_rope_attention_factor(c);

    for (int64_t at = 0; at < c->max_position; at++)
        for (int64_t i = 0; i < pairs(c); i++) {
            const double angle = (float)at * frequency[i];

            *out++ = (float)(op == OM_OP_Cos ? cos(angle) : sin(angle)) * factor;
        }
}

/* [max_position, pairs], of the dtype of activations. */
static om_val cache(om_scope s, const struct om_rope_config *c, enum om_op op)
{
    struct om_arena *const a = s.b->g->arena;
    const size_t n = (size_t)pairs(c);
    const int64_t dims[] = { c->max_position, pairs(c) };
    float *frequency = om_arena_array(a, n, sizeof(*frequency));
    float *v = om_arena_array(a, (size_t)c->max_position, n * sizeof(*v));
    const char *name = om_arena_printf(a, "%s.%s_cache", s.path, op == OM_OP_Cos ? "cos" : "sin");
    struct om_weight w = { .dtype = s.b->compute,
                           .src_dtype = OM_F32,
                           .rank = 2,
                           .dims = dims,
                           .data = v,
                           .bytes = (uint64_t)c->max_position * n * sizeof(*v) };

    if (!frequency || !v || !name)
        return om_scope_fail(s, OM_E_NOMEM, "out of memory");
    om_rope_frequencies(c, false, frequency);
    fill_cache(c, op, frequency, v);
    w.name = om_sv_str(name);
    return om_graph_weight(s.b->g, &w);
}

static bool has_cache(const struct om_builder *b, const struct om_rope_config *c)
{
    const enum rope_type type = type_of(c);

    return b->rope_cache && type != ROPE_DYNAMIC && type != ROPE_LONGROPE &&
           c->max_position <= ROPE_CACHE_MAX / pairs(c);
}

struct om_rope om_rope_tables(om_scope s, const struct om_rope_config *c, om_val position_ids)
{
    if (om_ok(s) && has_cache(s.b, c)) {
        s.b->positions = position_ids;
        return (struct om_rope){ .cos = cache(s, c, OM_OP_Cos),
                                 .sin = cache(s, c, OM_OP_Sin),
                                 .dim = 2 * pairs(c) };
    }
    const om_val at = om_unsqueeze(s, om_cast(s, position_ids, OM_F32), 2);
    const om_val angles = om_mul(s, at, frequencies(s, c, position_ids));

    return (struct om_rope){ .cos = table(s, c, OM_OP_Cos, angles),
                             .sin = table(s, c, OM_OP_Sin, angles),
                             .dim = 2 * pairs(c) };
}

om_val om_rope_apply(om_scope s, const struct om_rope *r, om_val x)
{
    const om_dim size = om_axis(s, x, -1);
    struct om_attr attrs[2];
    uint32_t n = 0;
    int64_t whole;

    if (r->interleaved)
        attrs[n++] = (struct om_attr)OM_ATTR_I("interleaved", 1);
    if (size && om_dim_is_const(s.b->g->dims, size, &whole) && whole != r->dim)
        attrs[n++] = (struct om_attr)OM_ATTR_I("rotary_embedding_dim", r->dim);
    if (om_ok(s) && om_graph_value(s.b->g, r->cos)->rank == 2)
        return om_emit(s, OM_OP_RotaryEmbedding, OM_VALS(x, r->cos, r->sin, s.b->positions), attrs,
                       n);
    return om_emit(s, OM_OP_RotaryEmbedding, OM_VALS(x, r->cos, r->sin), attrs, n);
}
