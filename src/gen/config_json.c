/* src/gen/config_json.c: the members of a generation_config.json. */
#include <math.h>

#include "gen/fields.h"

#define AT(member) .at = offsetof(struct om_generation_config, member)
#define LEN(member) .at_len = offsetof(struct om_generation_config, member)
#define ANY (-HUGE_VAL)

const struct om_gen_field om_gen_fields[] = {
    { "max_length", OM_GEN_INT, AT(max_length), .legacy = true },
    { "max_new_tokens", OM_GEN_INT, AT(max_new_tokens), .min = 1 },
    { "min_length", OM_GEN_INT, AT(min_length), .legacy = true },
    { "min_new_tokens", OM_GEN_INT, AT(min_new_tokens) },
    { "max_time", OM_GEN_REAL, AT(max_time) },
    { "stop_strings", OM_GEN_STRINGS, AT(stop_strings), LEN(n_stop_strings) },
    { "do_sample", OM_GEN_BOOL, AT(do_sample), .legacy = true },
    { "use_cache", OM_GEN_BOOL, AT(use_cache) },
    { "num_beams", OM_GEN_INT, AT(num_beams), .legacy = true, .min = 1 },
    { "num_return_sequences", OM_GEN_INT, AT(num_return_sequences), .legacy = true, .min = 1 },
    { "early_stopping", OM_GEN_EARLY, AT(early_stopping), .legacy = true },
    { "length_penalty", OM_GEN_REAL, AT(length_penalty), .legacy = true, .min = ANY },
    { "temperature", OM_GEN_REAL, AT(temperature), .legacy = true },
    { "top_k", OM_GEN_INT, AT(top_k), .legacy = true },
    { "top_p", OM_GEN_REAL, AT(top_p), .legacy = true },
    { "min_p", OM_GEN_REAL, AT(min_p) },
    { "typical_p", OM_GEN_REAL, AT(typical_p), .legacy = true },
    { "epsilon_cutoff", OM_GEN_REAL, AT(epsilon_cutoff) },
    { "eta_cutoff", OM_GEN_REAL, AT(eta_cutoff) },
    { "repetition_penalty", OM_GEN_REAL, AT(repetition_penalty), .legacy = true },
    { "encoder_repetition_penalty", OM_GEN_REAL, AT(encoder_repetition_penalty) },
    { "no_repeat_ngram_size", OM_GEN_INT, AT(no_repeat_ngram_size), .legacy = true },
    { "encoder_no_repeat_ngram_size", OM_GEN_INT, AT(encoder_no_repeat_ngram_size),
      .legacy = true },
    { "bad_words_ids", OM_GEN_WORDS, AT(bad_words), LEN(n_bad_words), .legacy = true },
    { "sequence_bias", OM_GEN_BIASES, AT(sequence_bias), LEN(n_sequence_bias) },
    { "suppress_tokens", OM_GEN_IDS, AT(suppress_tokens), .legacy = true },
    { "begin_suppress_tokens", OM_GEN_IDS, AT(begin_suppress_tokens), .legacy = true },
    { "forced_bos_token_id", OM_GEN_INT, AT(forced_bos_token_id) },
    { "forced_eos_token_id", OM_GEN_IDS, AT(forced_eos_token_id) },
    { "exponential_decay_length_penalty", OM_GEN_DECAY, AT(exponential_decay_start),
      LEN(exponential_decay_factor), .legacy = true },
    { "remove_invalid_values", OM_GEN_BOOL, AT(remove_invalid_values), .legacy = true },
    { "renormalize_logits", OM_GEN_BOOL, AT(renormalize_logits) },
    { "pad_token_id", OM_GEN_INT, AT(pad_token_id), .min = -1 },
    { "bos_token_id", OM_GEN_INT, AT(bos_token_id), .min = -1 },
    { "eos_token_id", OM_GEN_IDS, AT(eos_token_id) },
    { "decoder_start_token_id", OM_GEN_INT, AT(decoder_start_token_id), .min = -1 },
};
const size_t om_gen_n_fields = OM_COUNT(om_gen_fields);

/* What else decides about the ids: values that leave it off. */
static const struct {
    const char *key;
    double off; /* a number that does nothing, beside null and false */
} refused[] = {
    { "assistant_early_exit", 0 }, { "constraints", 0 },
    { "diversity_penalty", 0 },    { "dola_layers", 0 },
    { "force_words_ids", 0 },      { "guidance_scale", 1 },
    { "low_memory", 0 },           { "num_beam_groups", 1 },
    { "penalty_alpha", 0 },        { "prompt_lookup_num_tokens", 0 },
    { "token_healing", 0 },        { "watermarking_config", 0 },
};

bool om_gen_takes(om_sv key)
{
    for (size_t i = 0; i < om_gen_n_fields; i++)
        if (om_sv_is(key, om_gen_fields[i].key))
            return true;
    for (size_t i = 0; i < OM_COUNT(refused); i++)
        if (om_sv_is(key, refused[i].key))
            return true;
    return false;
}

int om_gen_refuse(const struct om_json *object, struct om_error *err)
{
    for (size_t i = 0; i < OM_COUNT(refused); i++) {
        const struct om_json *v = om_json_get(object, refused[i].key);
        bool on = true;
        double number;

        if (om_json_kind(v) == OM_JSON_NULL || (om_json_bool(v, &on) && !on) ||
            (om_json_f64(v, &number) && number == refused[i].off))
            continue;
        return om_fail(err, OM_E_UNSUPPORTED, "key \"%s\" is not supported", refused[i].key);
    }
    return 0;
}

/* ---- values ---- */

static int wrong(const struct om_json *v, const char *expected, struct om_error *err)
{
    return om_fail(err, OM_E_CONFIG, "expected %s, found %s", expected, om_json_kind_text(v));
}

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

/* An integer, also one that was written as 20.0. */
static bool integer(const struct om_json *v, int64_t *out)
{
    double d;

    if (om_json_i64(v, out))
        return true;
    if (om_json_kind(v) != OM_JSON_REAL || !om_json_f64(v, &d) || !(fabs(d) < 1e15) ||
        d != floor(d))
        return false;
    *out = (int64_t)d;
    return true;
}

static int read_int(const struct om_json *v, const struct om_gen_field *f, int64_t *out,
                    struct om_error *err)
{
    int64_t n;

    if (!integer(v, &n))
        return wrong(v, "an integer", err);
    if ((double)n < f->min || n > INT32_MAX)
        return om_fail(err, OM_E_CONFIG, "expected %g to %d, found %" PRId64, f->min, INT32_MAX, n);
    *out = n;
    return 0;
}

static int read_real(const struct om_json *v, const struct om_gen_field *f, double *out,
                     struct om_error *err)
{
    double d;

    if (!om_json_f64(v, &d))
        return wrong(v, "a number", err);
    if (!(d >= f->min) || !isfinite(d))
        return om_fail(err, OM_E_CONFIG, "expected a number from %g, found %g", f->min, d);
    *out = d;
    return 0;
}

static int read_early(const struct om_json *v, enum om_early_stopping *out, struct om_error *err)
{
    bool on = false;
    om_sv s;

    if (om_json_str(v, &s) && om_sv_is(s, "never"))
        *out = OM_EARLY_STOPPING_NEVER;
    else if (om_json_bool(v, &on))
        *out = on ? OM_EARLY_STOPPING_TRUE : OM_EARLY_STOPPING_FALSE;
    else
        return wrong(v, "a boolean or \"never\"", err);
    return 0;
}

/* One token, or a list of them. */
static int read_ids(struct om_arena *a, const struct om_json *v, struct om_token_ids *out,
                    struct om_error *err)
{
    const bool list = om_json_kind(v) == OM_JSON_ARRAY;
    const size_t n = list ? om_json_len(v) : 1;
    int64_t *ids = om_arena_array(a, n + 1, sizeof(*ids));

    if (!ids)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const struct om_json *x = list ? om_json_at(v, i) : v;

        if (!integer(x, &ids[i]))
            return wrong(x, list ? "a list of integers" : "an integer or a list of them", err);
        if (ids[i] < 0 || ids[i] > INT32_MAX)
            return om_fail(err, OM_E_CONFIG, "expected a token, found %" PRId64, ids[i]);
    }
    *out = (struct om_token_ids){ ids, n };
    return 0;
}

static int read_sequence(struct om_arena *a, const struct om_json *v, struct om_token_ids *out,
                         struct om_error *err)
{
    if (om_json_kind(v) != OM_JSON_ARRAY || om_json_len(v) == 0)
        return wrong(v, "a list of tokens that is not empty", err);
    return read_ids(a, v, out, err);
}

static int read_words(struct om_arena *a, const struct om_json *v, const struct om_token_ids **out,
                      size_t *len, struct om_error *err)
{
    const size_t n = om_json_len(v);
    struct om_token_ids *words = om_arena_array(a, n + 1, sizeof(*words));

    if (!words)
        return no_memory(err);
    if (om_json_kind(v) != OM_JSON_ARRAY || n == 0)
        return wrong(v, "a list of lists of tokens that is not empty", err);
    for (size_t i = 0; i < n; i++)
        OM_TRY(om_wrap(err, read_sequence(a, om_json_at(v, i), &words[i], err), "element %zu", i));
    *out = words;
    *len = n;
    return 0;
}

static int read_biases(struct om_arena *a, const struct om_json *v,
                       const struct om_token_bias **out, size_t *len, struct om_error *err)
{
    const size_t n = om_json_len(v);
    struct om_token_bias *biases = om_arena_array(a, n + 1, sizeof(*biases));

    if (!biases)
        return no_memory(err);
    if (om_json_kind(v) != OM_JSON_ARRAY || n == 0)
        return wrong(v, "a list of [[token, ...], bias] that is not empty", err);
    for (size_t i = 0; i < n; i++) {
        const struct om_json *x = om_json_at(v, i);

        if (om_json_len(x) != 2 || !om_json_f64(om_json_at(x, 1), &biases[i].bias))
            return om_fail(err, OM_E_CONFIG, "element %zu: expected [[token, ...], bias]", i);
        OM_TRY(om_wrap(err, read_sequence(a, om_json_at(x, 0), &biases[i].tokens, err),
                       "element %zu", i));
    }
    *out = biases;
    *len = n;
    return 0;
}

static int read_strings(struct om_arena *a, const struct om_json *v, const char *const **out,
                        size_t *len, struct om_error *err)
{
    const bool list = om_json_kind(v) == OM_JSON_ARRAY;
    const size_t n = list ? om_json_len(v) : 1;
    const char **strings = om_arena_array(a, n + 1, sizeof(*strings));

    if (!strings)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const struct om_json *x = list ? om_json_at(v, i) : v;
        om_sv s;

        if (!om_json_str(x, &s) || s.len == 0 || memchr(s.ptr, '\0', s.len))
            return wrong(x, "a string that is not empty, or a list of them", err);
        strings[i] = om_arena_str(a, s);
        if (!strings[i])
            return no_memory(err);
    }
    *out = strings;
    *len = n;
    return 0;
}

static int read_decay(const struct om_json *v, int64_t *start, double *factor, struct om_error *err)
{
    int64_t at;
    double by;

    if (om_json_len(v) != 2 || !integer(om_json_at(v, 0), &at) || at < 0 || at > INT32_MAX ||
        !om_json_f64(om_json_at(v, 1), &by) || !isfinite(by))
        return wrong(v, "[first token, factor]", err);
    *start = at;
    *factor = by;
    return 0;
}

/* ---- the object ---- */

static int read_field(struct om_arena *a, const struct om_gen_field *f, const struct om_json *v,
                      struct om_generation_config *c, struct om_error *err)
{
    void *const to = (char *)c + f->at, *const len = (char *)c + f->at_len;

    switch (f->kind) {
    case OM_GEN_INT:
        return read_int(v, f, to, err);
    case OM_GEN_REAL:
        return read_real(v, f, to, err);
    case OM_GEN_BOOL:
        return om_json_bool(v, to) ? 0 : wrong(v, "a boolean", err);
    case OM_GEN_EARLY:
        return read_early(v, to, err);
    case OM_GEN_IDS:
        return read_ids(a, v, to, err);
    case OM_GEN_WORDS:
        return read_words(a, v, to, len, err);
    case OM_GEN_BIASES:
        return read_biases(a, v, to, len, err);
    case OM_GEN_STRINGS:
        return read_strings(a, v, to, len, err);
    case OM_GEN_DECAY:
        return read_decay(v, to, len, err);
    }
    return om_fail(err, OM_E_INTERNAL, "unknown kind of key");
}

/* None: the member is off, which for all but top_k is its default. */
static void unset(const struct om_gen_field *f, struct om_generation_config *c)
{
    static const struct om_generation_config none = OM_GENERATION_CONFIG_INIT;

    om_gen_copy(f, c, &none);
    if (f->at == offsetof(struct om_generation_config, top_k))
        c->top_k = 0;
}

int om_gen_read(struct om_arena *a, const struct om_json *object, bool nulls,
                struct om_generation_config *c, struct om_error *err)
{
    for (size_t i = 0; i < om_gen_n_fields; i++) {
        const struct om_gen_field *f = &om_gen_fields[i];
        const struct om_json *v = om_json_get(object, f->key);

        if (om_json_kind(v) != OM_JSON_NULL)
            OM_TRY(om_wrap(err, read_field(a, f, v, c, err), "key \"%s\"", f->key));
        else if (v && nulls)
            unset(f, c);
    }
    return 0;
}
