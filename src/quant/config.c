/* src/quant/config.c: presets, ort_config.json in both directions, and what does not go together.
 */
#include "quant/internal.h"

static const char *const dynamic_operators[] = {
    "Conv", "MatMul", "Attention", "LSTM", "Gather", "Transpose", "EmbedLayerNormalization", NULL
};
static const char *const qdq_operators[] = { "Conv",
                                             "ConvTranspose",
                                             "Gemm",
                                             "Clip",
                                             "Relu",
                                             "Reshape",
                                             "Transpose",
                                             "Squeeze",
                                             "Unsqueeze",
                                             "Flatten",
                                             "Resize",
                                             "MaxPool",
                                             "AveragePool",
                                             "Slice",
                                             "Pad",
                                             "MatMul",
                                             "Split",
                                             "Gather",
                                             "GatherElements",
                                             "Where",
                                             "InstanceNormalization",
                                             "LayerNormalization",
                                             "BatchNormalization",
                                             "TopK",
                                             "CumSum",
                                             NULL };
static const char *const qlinear_operators[] = { "ArgMax",    "Conv",
                                                 "Gemm",      "MatMul",
                                                 "Add",       "Mul",
                                                 "Relu",      "Clip",
                                                 "LeakyRelu", "Sigmoid",
                                                 "MaxPool",   "GlobalAveragePool",
                                                 "Split",     "Pad",
                                                 "Reshape",   "Squeeze",
                                                 "Unsqueeze", "Flatten",
                                                 "Resize",    "AveragePool",
                                                 "Concat",    "Softmax",
                                                 "Where",     "Gather",
                                                 "Transpose", "EmbedLayerNormalization",
                                                 NULL };
static const char *const weight_only_operators[] = { "MatMul", "Gemm", NULL };
/* Of static presets: what has weights, and what moves or clamps the results of a convolution. */
static const char *const preset_operators[] = {
    "Conv",   "ConvTranspose", "Gemm",        "MatMul",    "Gather",  "Clip",
    "Relu",   "Reshape",       "Flatten",     "Transpose", "Squeeze", "Unsqueeze",
    "Resize", "MaxPool",       "AveragePool", NULL
};
static const char *const preset_float_outputs[] = { "Gemm", "MatMul", NULL };

const char *const *om_quant_default_operators(const struct om_quant_config *c)
{
    static const char *const none[] = { NULL };

    switch (c->method) {
    case OM_QUANT_DYNAMIC:
        return dynamic_operators;
    case OM_QUANT_STATIC:
        return c->format == OM_QUANT_QDQ ? qdq_operators : qlinear_operators;
    case OM_QUANT_WEIGHT_ONLY:
        return weight_only_operators;
    case OM_QUANT_FLOAT16:
        break;
    }
    return none;
}

struct preset {
    const char *name;
    enum om_quant_method method;
    enum om_quant_format format;
    enum om_quant_type activations, weights;
    bool symmetric, pairs;
    int bits, block_size;
    enum om_quant_numbers numbers;
    bool rest_float16;
};

static const struct preset presets[] = {
    { .name = "arm64", .method = OM_QUANT_DYNAMIC, .weights = OM_QUANT_INT8 },
    { .name = "avx2", .method = OM_QUANT_DYNAMIC, .weights = OM_QUANT_UINT8 },
    { .name = "avx512", .method = OM_QUANT_DYNAMIC, .weights = OM_QUANT_INT8 },
    { .name = "avx512_vnni", .method = OM_QUANT_DYNAMIC, .weights = OM_QUANT_INT8 },
    { .name = "ppc64le", .method = OM_QUANT_DYNAMIC, .weights = OM_QUANT_INT8 },
    { .name = "tensorrt",
      .method = OM_QUANT_STATIC,
      .format = OM_QUANT_QDQ,
      .activations = OM_QUANT_INT8,
      .weights = OM_QUANT_INT8,
      .symmetric = true,
      .pairs = true },
    { .name = "int4", .method = OM_QUANT_WEIGHT_ONLY, .weights = OM_QUANT_INT8, .bits = 4 },
    { .name = "int8", .method = OM_QUANT_WEIGHT_ONLY, .weights = OM_QUANT_INT8, .bits = 8 },
    { .name = "float16", .method = OM_QUANT_FLOAT16 },
    { .name = "q4f16",
      .method = OM_QUANT_WEIGHT_ONLY,
      .weights = OM_QUANT_INT8,
      .bits = 4,
      .rest_float16 = true },
    { .name = "nf4",
      .method = OM_QUANT_WEIGHT_ONLY,
      .bits = 4,
      .block_size = 64,
      .numbers = OM_QUANT_NF4 },
    { .name = "fp4",
      .method = OM_QUANT_WEIGHT_ONLY,
      .bits = 4,
      .block_size = 64,
      .numbers = OM_QUANT_FP4 },
};

static void make_static(struct om_quant_config *c)
{
    c->method = OM_QUANT_STATIC;
    c->format = OM_QUANT_QDQ;
    c->calibration = OM_QUANT_MSE;
    c->operators_to_quantize = preset_operators;
    c->float_output_operators = preset_float_outputs;
    c->float_readers = true;
}

int om_quant_preset_static(const char *name, struct om_quant_config *config, struct om_error *err)
{
    OM_TRY(om_quant_preset(name, config, err));
    if (config->method != OM_QUANT_DYNAMIC && config->method != OM_QUANT_STATIC)
        return om_fail(err, OM_E_USAGE, "the preset %s has no static quantization", name);
    make_static(config);
    return 0;
}

int om_quant_preset(const char *name, struct om_quant_config *config, struct om_error *err)
{
    const char *names[OM_COUNT(presets) + 1] = { NULL };
    const char *nearest;

    for (size_t i = 0; i < OM_COUNT(presets); i++) {
        const struct preset *const p = &presets[i];

        names[i] = p->name;
        if (strcmp(name, p->name) != 0)
            continue;
        *config = (struct om_quant_config)OM_QUANT_CONFIG_INIT;
        config->method = p->method;
        config->format = p->format;
        config->activations_type = p->activations;
        config->weights_type = p->weights;
        config->activations_symmetric = p->symmetric;
        config->add_pair_to_weight = p->pairs;
        config->dedicated_pair = p->pairs;
        config->numbers = p->numbers;
        config->rest_float16 = p->rest_float16;
        config->per_channel = config->constant_weights =
            p->method == OM_QUANT_DYNAMIC || p->method == OM_QUANT_STATIC;
        if (p->bits > 0)
            config->bits = p->bits;
        if (p->block_size > 0)
            config->block_size = p->block_size;
        if (p->method == OM_QUANT_STATIC)
            make_static(config);
        return 0;
    }
    nearest = om_sv_nearest(om_sv_str(name), names);
    return om_fail(err, OM_E_USAGE, "no preset is called \"%s\"%s%s%s", name,
                   nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                   nearest ? "\"?" : "");
}

int om_quant_config_check(const struct om_quant_config *c, struct om_error *err)
{
    if (c->method == OM_QUANT_DYNAMIC && c->activations_type == OM_QUANT_INT8)
        return om_fail(
            err, OM_E_USAGE,
            "dynamic quantization needs activations of QUInt8, the configuration says QInt8");
    if (c->method == OM_QUANT_DYNAMIC && c->format == OM_QUANT_QDQ)
        return om_fail(err, OM_E_USAGE,
                       "dynamic quantization has the format QOperator, the configuration says QDQ");
    if (c->method == OM_QUANT_STATIC && c->activations_type == OM_QUANT_INT8 &&
        c->weights_type == OM_QUANT_UINT8)
        return om_fail(
            err, OM_E_USAGE,
            "static quantization does not combine activations of QInt8 with weights of QUInt8");
    if (c->method == OM_QUANT_WEIGHT_ONLY && c->bits != 4 && c->bits != 8)
        return om_fail(err, OM_E_USAGE, "%d bits, expected 4 or 8", c->bits);
    if (c->method == OM_QUANT_WEIGHT_ONLY &&
        (c->block_size < 16 || c->block_size > 256 || (c->block_size & (c->block_size - 1)) != 0))
        return om_fail(err, OM_E_USAGE, "a block size of %d, expected 16, 32, 64, 128 or 256",
                       c->block_size);
    if (c->method == OM_QUANT_WEIGHT_ONLY && c->numbers != OM_QUANT_INTEGERS &&
        (c->bits != 4 || !c->symmetric || c->search != OM_QUANT_RTN || c->accuracy_level != 0))
        return om_fail(err, OM_E_USAGE,
                       "numbers of kind nf4 and fp4 have 4 bits, no zero points, no search and no "
                       "accuracy level");
    if (c->accuracy_level < 0 || c->accuracy_level > 4)
        return om_fail(err, OM_E_USAGE, "an accuracy level of %d, expected 0 to 4",
                       c->accuracy_level);
    if (c->averaging_constant < 0 || c->averaging_constant > 1)
        return om_fail(err, OM_E_USAGE, "an averaging constant of %g, expected 0 to 1",
                       c->averaging_constant);
    if (!(c->percentile > 0 && c->percentile <= 100))
        return om_fail(err, OM_E_USAGE, "a percentile of %g, expected at most 100", c->percentile);
    return 0;
}

/* ---- reading ---- */

static int wrong_kind(const char *key, const char *expected, const struct om_json *v,
                      struct om_error *err)
{
    return om_fail(err, OM_E_CONFIG, "\"%s\" is of kind %s, expected %s", key, om_json_kind_text(v),
                   expected);
}

int om_quant_read_flag(const struct om_json *q, const char *key, bool *out, struct om_error *err)
{
    const struct om_json *const v = om_json_get(q, key);

    if (om_json_kind(v) == OM_JSON_NULL || om_json_bool(v, out))
        return 0;
    return wrong_kind(key, "true or false", v, err);
}

int om_quant_read_files(const struct om_json *doc, bool *external, struct om_error *err)
{
    bool one = true;

    OM_TRY(om_quant_read_flag(doc, "use_external_data_format", external, err));
    OM_TRY(om_quant_read_flag(doc, "one_external_file", &one, err));
    return one || !*external ? 0
                             : om_fail(err, OM_E_UNSUPPORTED,
                                       "\"one_external_file\" is false: the tensors of a model go "
                                       "to one file");
}

int om_quant_check_keys(const struct om_json *q, const char *const *known, struct om_error *err)
{
    struct om_json_iter it = { .state = NULL };

    while (om_json_next(q, &it)) {
        const char *nearest;
        bool found = false;

        for (size_t i = 0; known[i] && !found; i++)
            found = om_sv_is(it.key, known[i]);
        if (found)
            continue;
        nearest = om_sv_nearest(it.key, known);
        return om_fail(err, OM_E_CONFIG, "unknown key \"%.*s\"%s%s%s", OM_SV(it.key),
                       nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                       nearest ? "\"?" : "");
    }
    return 0;
}

static int read_list(struct om_arena *a, const struct om_json *q, const char *key,
                     const char *const **out, struct om_error *err)
{
    const struct om_json *const v = om_json_get(q, key);
    const size_t n = om_json_len(v);
    const char **list;

    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    if (om_json_kind(v) != OM_JSON_ARRAY)
        return wrong_kind(key, "a list of strings", v, err);
    if (n == 0)
        return 0;
    list = om_arena_array(a, n + 1, sizeof(*list));
    for (size_t i = 0; list && i < n; i++) {
        om_sv text;

        if (!om_json_str(om_json_at(v, i), &text))
            return wrong_kind(key, "a list of strings", om_json_at(v, i), err);
        list[i] = om_arena_str(a, text);
        if (!list[i])
            list = NULL;
    }
    *out = list;
    return list ? 0 : om_fail(err, OM_E_NOMEM, "out of memory");
}

static int read_int(const struct om_json *q, const char *key, int *out, struct om_error *err)
{
    const struct om_json *const v = om_json_get(q, key);
    int64_t n;

    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    if (!om_json_i64(v, &n) || n < 0 || n > INT32_MAX)
        return wrong_kind(key, "a number from 0 on", v, err);
    *out = (int)n;
    return 0;
}

/* One of some names, the list of which ends with NULL. */
static int read_choice(const struct om_json *q, const char *key, const char *const *names, int *out,
                       struct om_error *err)
{
    const struct om_json *const v = om_json_get(q, key);
    om_sv text;

    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    if (!om_json_str(v, &text))
        return wrong_kind(key, "a string", v, err);
    for (int i = 0; names[i]; i++) {
        if (om_sv_is(text, names[i])) {
            *out = i;
            return 0;
        }
    }
    return om_fail(err, OM_E_CONFIG, "\"%s\" is \"%.*s\", expected \"%s\"%s%s%s \"%s\"", key,
                   OM_SV(text), names[0], names[2] ? ", \"" : "", names[2] ? names[1] : "",
                   names[2] ? "\" or" : " or", names[2] ? names[2] : names[1]);
}

static const char *const type_names[] = {
    [OM_QUANT_UINT8] = "QUInt8", [OM_QUANT_INT8] = "QInt8", NULL
};
static const char *const format_names[] = {
    [OM_QUANT_QOPERATOR] = "QOperator", [OM_QUANT_QDQ] = "QDQ", NULL
};
static const char *const mode_names[] = { "IntegerOps", "QLinearOps", NULL };
static const char *const own_methods[] = { "weight_only", "float16", NULL };
static const char *const search_names[] = { [OM_QUANT_RTN] = "rtn", [OM_QUANT_HQQ] = "hqq", NULL };
static const char *const numbers_names[] = {
    [OM_QUANT_INTEGERS] = "integers", [OM_QUANT_FP4] = "fp4", [OM_QUANT_NF4] = "nf4", NULL
};

static const char *const own_keys[] = { "accuracy_level",
                                        "bits",
                                        "block_size",
                                        "convert_io",
                                        "method",
                                        "nodes_to_exclude",
                                        "nodes_to_quantize",
                                        "numbers",
                                        "op_block_list",
                                        "rest_float16",
                                        "search",
                                        "symmetric",
                                        NULL };

/* The methods that Optimum lacks. */
static int read_own(struct om_arena *a, const struct om_json *q, struct om_quant_config *c,
                    struct om_error *err)
{
    int method = 0, search = c->search, numbers = c->numbers;

    OM_TRY(om_quant_check_keys(q, own_keys, err));
    OM_TRY(read_choice(q, "method", own_methods, &method, err));
    c->method = method == 0 ? OM_QUANT_WEIGHT_ONLY : OM_QUANT_FLOAT16;
    OM_TRY(read_list(a, q, "nodes_to_quantize", &c->nodes_to_quantize, err));
    OM_TRY(read_list(a, q, "nodes_to_exclude", &c->nodes_to_exclude, err));
    OM_TRY(read_list(a, q, "op_block_list", &c->op_block_list, err));
    OM_TRY(om_quant_read_flag(q, "convert_io", &c->convert_io, err));
    OM_TRY(read_int(q, "bits", &c->bits, err));
    OM_TRY(read_int(q, "block_size", &c->block_size, err));
    OM_TRY(read_int(q, "accuracy_level", &c->accuracy_level, err));
    OM_TRY(om_quant_read_flag(q, "symmetric", &c->symmetric, err));
    OM_TRY(om_quant_read_flag(q, "rest_float16", &c->rest_float16, err));
    OM_TRY(read_choice(q, "search", search_names, &search, err));
    OM_TRY(read_choice(q, "numbers", numbers_names, &numbers, err));
    c->search = (enum om_quant_search)search;
    c->numbers = (enum om_quant_numbers)numbers;
    return 0;
}

static const char *const int8_keys[] = { "activations_dtype",
                                         "activations_symmetric",
                                         "constant_weights",
                                         "format",
                                         "is_static",
                                         "mode",
                                         "nodes_to_exclude",
                                         "nodes_to_quantize",
                                         "operators_to_quantize",
                                         "per_channel",
                                         "qdq_add_pair_to_weight",
                                         "qdq_dedicated_pair",
                                         "qdq_float_output_operators",
                                         "qdq_float_readers",
                                         "qdq_op_type_per_channel_support_to_axis",
                                         "reduce_range",
                                         "weights_dtype",
                                         "weights_symmetric",
                                         NULL };

/* Optimum's table has one entry, which is what is done anyway; no other is known. */
static int check_axes(const struct om_json *q, struct om_error *err)
{
    static const char key[] = "qdq_op_type_per_channel_support_to_axis";
    struct om_json_iter it = { .state = NULL };
    const struct om_json *const axes = om_json_get(q, key);

    if (om_json_kind(axes) != OM_JSON_NULL && om_json_kind(axes) != OM_JSON_OBJECT)
        return wrong_kind(key, "an object", axes, err);
    while (om_json_next(axes, &it)) {
        int64_t axis = 0;

        if (!om_sv_is(it.key, "MatMul") || !om_json_i64(it.value, &axis) || axis != 1)
            return om_fail(err, OM_E_UNSUPPORTED,
                           "\"%s\" has \"%.*s\": only MatMul is known there, with axis 1", key,
                           OM_SV(it.key));
    }
    return 0;
}

static int read_quantization(struct om_arena *a, const struct om_json *q, struct om_quant_config *c,
                             struct om_error *err)
{
    bool is_static = false;
    int format, mode, activations = c->activations_type, weights = c->weights_type;

    if (om_json_get(q, "method"))
        return read_own(a, q, c, err);
    OM_TRY(om_quant_check_keys(q, int8_keys, err));
    OM_TRY(check_axes(q, err));
    OM_TRY(om_quant_read_flag(q, "is_static", &is_static, err));
    format = is_static ? OM_QUANT_QDQ : OM_QUANT_QOPERATOR;
    mode = is_static;
    OM_TRY(read_choice(q, "format", format_names, &format, err));
    OM_TRY(read_choice(q, "mode", mode_names, &mode, err));
    OM_TRY(read_choice(q, "activations_dtype", type_names, &activations, err));
    OM_TRY(read_choice(q, "weights_dtype", type_names, &weights, err));
    if (mode != is_static)
        return om_fail(err, OM_E_CONFIG,
                       "\"mode\" is \"%s\", expected \"%s\" where \"is_static\" is %s",
                       mode_names[mode], mode_names[is_static], is_static ? "true" : "false");
    c->method = is_static ? OM_QUANT_STATIC : OM_QUANT_DYNAMIC;
    c->format = (enum om_quant_format)format;
    c->activations_type = (enum om_quant_type)activations;
    c->weights_type = (enum om_quant_type)weights;
    OM_TRY(om_quant_read_flag(q, "activations_symmetric", &c->activations_symmetric, err));
    OM_TRY(om_quant_read_flag(q, "weights_symmetric", &c->weights_symmetric, err));
    OM_TRY(om_quant_read_flag(q, "per_channel", &c->per_channel, err));
    OM_TRY(om_quant_read_flag(q, "reduce_range", &c->reduce_range, err));
    OM_TRY(om_quant_read_flag(q, "qdq_add_pair_to_weight", &c->add_pair_to_weight, err));
    OM_TRY(om_quant_read_flag(q, "qdq_dedicated_pair", &c->dedicated_pair, err));
    OM_TRY(read_list(a, q, "nodes_to_quantize", &c->nodes_to_quantize, err));
    OM_TRY(read_list(a, q, "nodes_to_exclude", &c->nodes_to_exclude, err));
    OM_TRY(om_quant_read_flag(q, "qdq_float_readers", &c->float_readers, err));
    OM_TRY(om_quant_read_flag(q, "constant_weights", &c->constant_weights, err));
    OM_TRY(read_list(a, q, "qdq_float_output_operators", &c->float_output_operators, err));
    return read_list(a, q, "operators_to_quantize", &c->operators_to_quantize, err);
}

int om_quant_config_read(struct om_arena *a, const char *path, struct om_quant_config *config,
                         bool *external, struct om_error *err)
{
    const struct om_json *q;
    struct om_json *doc = NULL;
    int rc = om_json_read(path, OM_JSON_LAST_WINS, &doc, err);

    if (rc < 0)
        return rc;
    *config = (struct om_quant_config)OM_QUANT_CONFIG_INIT;
    q = om_json_get(doc, "quantization");
    if (!q && (om_json_get(doc, "is_static") || om_json_get(doc, "method")))
        q = doc;
    if (om_json_kind(q) != OM_JSON_OBJECT || om_json_len(q) == 0)
        rc = om_fail(err, OM_E_CONFIG, "there is no \"quantization\" object");
    if (rc == 0)
        rc = om_quant_read_files(doc, external, err);
    if (rc == 0)
        rc = read_quantization(a, q, config, err);
    om_json_free(doc);
    return om_wrap(err, rc, "%s", path);
}

/* ---- writing ---- */

static const char *flag(bool v)
{
    return v ? "true" : "false";
}

static void write_list(struct om_buf *b, const char *key, const char *const *list)
{
    om_buf_printf(b, "    \"%s\": [", key);
    for (size_t i = 0; list && list[i]; i++) {
        om_buf_adds(b, i == 0 ? "\n      " : ",\n      ");
        om_buf_json_string(b, om_sv_str(list[i]));
    }
    om_buf_adds(b, list && list[0] ? "\n    ],\n" : "],\n");
}

/* Keys of our own, for methods that Optimum lacks; sorted as all others. */
static void write_weight_only(const struct om_quant_config *c, struct om_buf *b)
{
    om_buf_printf(b, "    \"accuracy_level\": %d,\n    \"bits\": %d,\n    \"block_size\": %d,\n",
                  c->accuracy_level, c->bits, c->block_size);
    om_buf_adds(b, "    \"method\": \"weight_only\",\n");
    write_list(b, "nodes_to_exclude", c->nodes_to_exclude);
    write_list(b, "nodes_to_quantize", c->nodes_to_quantize);
    om_buf_printf(b, "    \"numbers\": \"%s\",\n", numbers_names[c->numbers]);
    if (c->rest_float16)
        write_list(b, "op_block_list", c->op_block_list);
    om_buf_printf(b, "    \"rest_float16\": %s,\n", flag(c->rest_float16));
    om_buf_printf(b, "    \"search\": \"%s\",\n    \"symmetric\": %s\n", search_names[c->search],
                  flag(c->symmetric));
}

static void write_float16(const struct om_quant_config *c, struct om_buf *b)
{
    om_buf_printf(b, "    \"convert_io\": %s,\n    \"method\": \"float16\",\n",
                  flag(c->convert_io));
    write_list(b, "nodes_to_exclude", c->nodes_to_exclude);
    write_list(b, "op_block_list", c->op_block_list);
    b->len -= 2; /* the list's comma */
    om_buf_adds(b, "\n");
}

static void write_int8(const struct om_quant_config *c, struct om_buf *b)
{
    const bool is_static = c->method == OM_QUANT_STATIC;
    const bool more = c->float_output_operators || c->float_readers;

    om_buf_printf(b, "    \"activations_dtype\": \"%s\",\n", type_names[c->activations_type]);
    om_buf_printf(b, "    \"activations_symmetric\": %s,\n", flag(c->activations_symmetric));
    if (c->constant_weights) /* Optimum has no such key */
        om_buf_adds(b, "    \"constant_weights\": true,\n");
    om_buf_printf(b, "    \"format\": \"%s\",\n", format_names[c->format]);
    om_buf_printf(b, "    \"is_static\": %s,\n", flag(is_static));
    om_buf_printf(b, "    \"mode\": \"%s\",\n", mode_names[is_static]);
    write_list(b, "nodes_to_exclude", c->nodes_to_exclude);
    write_list(b, "nodes_to_quantize", c->nodes_to_quantize);
    write_list(b, "operators_to_quantize",
               c->operators_to_quantize ? c->operators_to_quantize : om_quant_default_operators(c));
    om_buf_printf(b, "    \"per_channel\": %s,\n", flag(c->per_channel));
    om_buf_printf(b, "    \"qdq_add_pair_to_weight\": %s,\n", flag(c->add_pair_to_weight));
    om_buf_printf(b, "    \"qdq_dedicated_pair\": %s,\n", flag(c->dedicated_pair));
    if (more) {
        write_list(b, "qdq_float_output_operators", c->float_output_operators);
        om_buf_printf(b, "    \"qdq_float_readers\": %s,\n", flag(c->float_readers));
    }
    om_buf_adds(
        b, "    \"qdq_op_type_per_channel_support_to_axis\": {\n      \"MatMul\": 1\n    },\n");
    om_buf_printf(b, "    \"reduce_range\": %s,\n", flag(c->reduce_range));
    om_buf_printf(b, "    \"weights_dtype\": \"%s\",\n", type_names[c->weights_type]);
    om_buf_printf(b, "    \"weights_symmetric\": %s\n", flag(c->weights_symmetric));
}

static void write_quantization(const struct om_quant_config *c, struct om_buf *b)
{
    om_buf_adds(b, "{\n");
    switch (c->method) {
    case OM_QUANT_DYNAMIC:
    case OM_QUANT_STATIC:
        write_int8(c, b);
        break;
    case OM_QUANT_WEIGHT_ONLY:
        write_weight_only(c, b);
        break;
    case OM_QUANT_FLOAT16:
        write_float16(c, b);
        break;
    }
    om_buf_adds(b, "  }");
}

void om_quant_config_write(const struct om_quant_config *c, const struct om_optimize_config *o,
                           bool external, struct om_buf *b)
{
    om_buf_adds(b, "{\n  \"one_external_file\": true,\n  \"opset\": null,\n"
                   "  \"optimization\": ");
    if (o)
        om_optimize_config_put(o, b);
    else
        om_buf_adds(b, "{}");
    om_buf_adds(b, ",\n  \"quantization\": ");
    if (c)
        write_quantization(c, b);
    else
        om_buf_adds(b, "{}");
    om_buf_printf(b, ",\n  \"use_external_data_format\": %s\n}\n", flag(external));
}

int om_quant_packed_config(const struct om_packed_set *set, struct om_quant_config *c,
                           struct om_error *err)
{
    const int size = om_blocks_size_for(&set->scheme);

    if (size == 0)
        return om_fail(err, OM_E_UNSUPPORTED,
                       "quantization_config: groups of %" PRId64
                       " do not fit MatMulNBits: a multiple of 16 does",
                       set->scheme.group_size);
    *c = (struct om_quant_config)OM_QUANT_CONFIG_INIT;
    c->method = OM_QUANT_WEIGHT_ONLY;
    c->bits = (int)set->scheme.bits;
    c->block_size = size;
    c->symmetric = set->mid_zeros;
    return 0;
}
