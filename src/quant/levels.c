/* src/quant/levels.c: configurations of optimization: levels, and ort_config.json in both
 * directions. */
#include <stddef.h>

#include "quant/internal.h"

/* Keys of OptimizationConfig that are true or false, sorted, and where they are kept. */
static const struct {
    const char *key;
    size_t at;
} flags[] = {
#define FLAG(key, member)                                \
    {                                                    \
        key, offsetof(struct om_optimize_config, member) \
    }
    FLAG("disable_attention_fusion", disable_attention),
    FLAG("disable_bias_add_fusion", disable_bias_add),
    FLAG("disable_bias_gelu_fusion", disable_bias_gelu),
    FLAG("disable_bias_skip_layer_norm_fusion", disable_bias_skip_layer_norm),
    FLAG("disable_bias_splitgelu_fusion", disable_bias_splitgelu),
    FLAG("disable_embed_layer_norm_fusion", disable_embed_layer_norm),
    FLAG("disable_gelu_fusion", disable_gelu),
    FLAG("disable_group_norm_fusion", disable_group_norm),
    FLAG("disable_layer_norm_fusion", disable_layer_norm),
    FLAG("disable_nhwc_conv", disable_nhwc_conv),
    FLAG("disable_packed_kv", disable_packed_kv),
    FLAG("disable_packed_qkv", disable_packed_qkv),
    FLAG("disable_rotary_embeddings", disable_rotary_embeddings),
    FLAG("disable_shape_inference", disable_shape_inference),
    FLAG("disable_skip_group_norm_fusion", disable_skip_group_norm),
    FLAG("disable_skip_layer_norm_fusion", disable_skip_layer_norm),
    FLAG("enable_gelu_approximation", enable_gelu_approximation),
    FLAG("enable_gemm_fast_gelu_fusion", enable_gemm_fast_gelu),
    FLAG("enable_transformers_specific_optimizations", enable_transformers_specific_optimizations),
    FLAG("fp16", fp16),
    FLAG("no_attention_mask", no_attention_mask),
    FLAG("optimize_for_gpu", optimize_for_gpu),
    FLAG("use_group_norm_channels_first", use_group_norm_channels_first),
    FLAG("use_mask_index", use_mask_index),
    FLAG("use_multi_head_attention", use_multi_head_attention),
    FLAG("use_raw_attention_mask", use_raw_attention_mask),
#undef FLAG
};

#define LEVEL_KEY "optimization_level"

void om_optimize_config_put(const struct om_optimize_config *c, struct om_buf *b)
{
    bool level = false;

    om_buf_adds(b, "{\n");
    for (size_t i = 0; i < OM_COUNT(flags); i++) {
        const bool value = *(const bool *)((const char *)c + flags[i].at);

        if (!level && strcmp(flags[i].key, LEVEL_KEY) > 0) {
            om_buf_printf(b, "    \"" LEVEL_KEY "\": %d,\n", c->optimization_level);
            level = true;
        }
        om_buf_printf(b, "    \"%s\": %s%s\n", flags[i].key, value ? "true" : "false",
                      i + 1 < OM_COUNT(flags) ? "," : "");
    }
    om_buf_adds(b, "  }");
}

int om_optimize_level(const char *name, struct om_optimize_config *config, struct om_error *err)
{
    static const char *const names[] = { "O1", "O2", "O3", "O4" };

    for (int i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) != 0)
            continue;
        *config = (struct om_optimize_config)OM_OPTIMIZE_CONFIG_INIT;
        config->optimization_level = i == 0 ? 1 : 2;
        config->enable_transformers_specific_optimizations = i > 0;
        config->enable_gelu_approximation = i > 1;
        config->fp16 = config->optimize_for_gpu = i == 3;
        return 0;
    }
    return om_fail(err, OM_E_USAGE, "optimization level \"%s\": expected O1, O2, O3 or O4", name);
}

void om_optimize_for_cpu(struct om_optimize_config *config)
{
    config->disable_skip_layer_norm = true; /* why: fuse/fuse.c */
}

static int read_optimization(const struct om_json *o, struct om_optimize_config *c,
                             struct om_error *err)
{
    const struct om_json *const level = om_json_get(o, LEVEL_KEY);
    const char *known[OM_COUNT(flags) + 2] = { LEVEL_KEY };
    int64_t v = c->optimization_level;

    for (size_t i = 0; i < OM_COUNT(flags); i++)
        known[i + 1] = flags[i].key;
    OM_TRY(om_quant_check_keys(o, known, err));
    for (size_t i = 0; i < OM_COUNT(flags); i++)
        OM_TRY(om_quant_read_flag(o, flags[i].key, (bool *)((char *)c + flags[i].at), err));
    if (om_json_kind(level) != OM_JSON_NULL &&
        (!om_json_i64(level, &v) || (v != 0 && v != 1 && v != 2 && v != 99)))
        return om_fail(err, OM_E_CONFIG, "\"" LEVEL_KEY "\" is not 0, 1, 2 or 99");
    c->optimization_level = (int)v;
    return 0;
}

int om_optimize_config_read(const char *path, struct om_optimize_config *config, bool *external,
                            struct om_error *err)
{
    const struct om_json *o;
    struct om_json *doc = NULL;
    int rc = om_json_read(path, OM_JSON_LAST_WINS, &doc, err);

    if (rc < 0)
        return rc;
    *config = (struct om_optimize_config)OM_OPTIMIZE_CONFIG_INIT;
    o = om_json_get(doc, "optimization");
    if (!o && om_json_get(doc, "optimization_level"))
        o = doc;
    if (om_json_kind(o) != OM_JSON_OBJECT || om_json_len(o) == 0)
        rc = om_fail(err, OM_E_CONFIG, "there is no \"optimization\" object");
    if (rc == 0)
        rc = om_quant_read_files(doc, external, err);
    if (rc == 0)
        rc = read_optimization(o, config, err);
    om_json_free(doc);
    return om_wrap(err, rc, "%s", path);
}
