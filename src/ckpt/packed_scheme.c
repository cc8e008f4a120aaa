/* src/ckpt/packed_scheme.c: quantization_config: which methods are read, and how they store. */
#include "ckpt/packed.h"

static om_sv text_of(const struct om_json *q, const char *key)
{
    om_sv s = { "", 0 };

    om_json_str(om_json_get(q, key), &s);
    return s;
}

/* An integer under one of two names; absent or null: fallback. */
static int number_of(const struct om_json *q, const char *key, const char *alias, int64_t fallback,
                     int64_t *out, struct om_error *err)
{
    const struct om_json *v = om_json_get(q, key);

    if (om_json_kind(v) == OM_JSON_NULL && alias) {
        key = alias;
        v = om_json_get(q, key);
    }
    *out = fallback;
    if (om_json_kind(v) == OM_JSON_NULL || om_json_i64(v, out))
        return 0;
    return om_fail(err, OM_E_CONFIG, "quantization_config.%s: expected an integer, found a %s", key,
                   om_json_kind_text(v));
}

static int read_gptq(const struct om_json *q, struct om_packed_scheme *s, struct om_error *err)
{
    const om_sv format = text_of(q, "checkpoint_format");
    bool marlin = false;

    s->layout = OM_PACKED_GPTQ;
    s->zeros_minus_one = !om_sv_is(format, "gptq_v2");
    om_json_bool(om_json_get(q, "is_marlin_format"), &marlin);
    if (marlin || (format.len > 0 && !om_sv_is(format, "gptq") && !om_sv_is(format, "gptq_v2")))
        return om_fail(err, OM_E_UNSUPPORTED,
                       "quantization_config: GPTQ in the format \"%.*s\" is not read: gptq and "
                       "gptq_v2 are",
                       OM_SV(marlin ? OM_SVL("marlin") : format));
    if (om_json_len(om_json_get(q, "dynamic")) > 0)
        return om_fail(err, OM_E_UNSUPPORTED,
                       "quantization_config.dynamic: GPTQ with settings by layer is not read");
    if (s->bits != 4 && s->bits != 8)
        return om_fail(err, OM_E_UNSUPPORTED,
                       "quantization_config: GPTQ with %" PRId64 " bits is not read: 4 and 8 are",
                       s->bits);
    return 0;
}

static int read_awq(const struct om_json *q, struct om_packed_scheme *s, struct om_error *err)
{
    const om_sv version = text_of(q, om_json_get(q, "version") ? "version" : "format");

    s->layout = OM_PACKED_AWQ;
    if (version.len > 0 && !om_sv_is(version, "gemm") && !om_sv_is(version, "GEMM"))
        return om_fail(err, OM_E_UNSUPPORTED,
                       "quantization_config: AWQ in the version \"%.*s\" is not read: gemm is",
                       OM_SV(version));
    if (s->bits != 4)
        return om_fail(err, OM_E_UNSUPPORTED,
                       "quantization_config: AWQ with %" PRId64 " bits is not read: 4 are",
                       s->bits);
    return 0;
}

static int read_sizes(const struct om_json *q, struct om_packed_scheme *s, struct om_error *err)
{
    OM_TRY(number_of(q, "bits", "w_bit", 4, &s->bits, err));
    OM_TRY(number_of(q, "group_size", "q_group_size", 128, &s->group_size, err));
    if (s->group_size != -1 && (s->group_size < 1 || s->group_size > INT32_MAX))
        return om_fail(err, OM_E_CONFIG,
                       "quantization_config.group_size: expected -1 or a positive number, found "
                       "%" PRId64,
                       s->group_size);
    return 0;
}

int om_packed_scheme_read(const struct om_json *q, struct om_packed_scheme *s, struct om_error *err)
{
    const om_sv method = text_of(q, "quant_method");
    bool eight = false, four = false;

    *s = (struct om_packed_scheme){ .bits = 0 };
    om_json_bool(om_json_get(q, "load_in_8bit"), &eight);
    om_json_bool(om_json_get(q, "load_in_4bit"), &four);
    if (method.len == 0 && (eight || four))
        return om_fail(err, OM_E_UNSUPPORTED,
                       "quantization_config: weights quantized by bitsandbytes are not read");
    if (!om_sv_is(method, "gptq") && !om_sv_is(method, "awq"))
        return om_fail(err, OM_E_UNSUPPORTED,
                       "quantization_config: weights quantized by \"%.*s\" are not read: those of "
                       "gptq and awq are",
                       OM_SV(method.len > 0 ? method : OM_SVL("an unnamed method")));
    OM_TRY(read_sizes(q, s, err));
    return om_sv_is(method, "awq") ? read_awq(q, s, err) : read_gptq(q, s, err);
}

int om_packed_gptq_read(const struct om_json *q, struct om_packed_scheme *s, struct om_error *err)
{
    *s = (struct om_packed_scheme){ .bits = 0 };
    OM_TRY(read_sizes(q, s, err));
    return read_gptq(q, s, err);
}
