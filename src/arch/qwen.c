/* src/arch/qwen.c: Qwen2 (Yang et al., 2024) and Qwen3 (2025), Llama whose last layers may have a
 * sliding window. Qwen2 has biases at queries, keys and values, Qwen3 norms of queries and keys. */
#include "arch/decoder.h"

struct qwen {
    struct om_decoder dec;
    bool slides;
    int64_t full_layers; /* the layers before have no window */
};

#define QWEN_FIELDS                                                                               \
    OM_DECODER_FIELDS, OM_FIELD_SIZE_OFF(struct om_decoder, kv_heads, "num_key_value_heads", 32), \
        OM_FIELD_SIZE_OFF(struct om_decoder, window, "sliding_window", 4096),                     \
        OM_FIELD_BOOL(struct qwen, slides, "use_sliding_window", false),                          \
        OM_FIELD_INT(struct qwen, full_layers, "max_window_layers", 28)

static const struct om_field qwen2_fields[] = { QWEN_FIELDS, OM_FIELD_END };

static const struct om_field qwen3_fields[] = {
    QWEN_FIELDS, OM_FIELD_SIZE(struct om_decoder, head_dim, "head_dim", 128),
    OM_FIELD_BOOL(struct om_decoder, attention_bias, "attention_bias", false), OM_FIELD_END
};

static const struct om_decoder_kind qwen2_kind = {
    .out_unbiased = true,
    .rope = { .theta = 10000.0, .max_position = 32768 },
};

static const struct om_decoder_kind qwen3_kind = {
    .qk_norm = OM_DECODER_QK_HEAD,
    .rope = { .theta = 10000.0, .max_position = 32768 },
};

static bool slides(const void *user, int64_t layer)
{
    const struct qwen *c = user;

    return c->dec.window != 0 && layer >= c->full_layers;
}

static int derive(struct om_arena *a, struct qwen *c, const struct om_decoder_kind *kind,
                  const struct om_config *config, struct om_error *err)
{
    if (!c->slides)
        c->dec.window = 0;
    OM_TRY(om_decoder_derive(a, &c->dec, kind, config->doc, err));
    return om_decoder_layer_types(a, &c->dec, config->doc, slides, c, err);
}

static int qwen2_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                        struct om_error *err)
{
    struct qwen *c = cfg;

    c->dec.attention_bias = true;
    return derive(a, c, &qwen2_kind, config, err);
}

static int qwen3_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                        struct om_error *err)
{
    return derive(a, cfg, &qwen3_kind, config, err);
}

static void head_token(om_scope root, const void *cfg, const struct om_body *body)
{
    (void)cfg;
    om_head_emit_labels(root, om_linear(om_sub(root, "score"), body->hidden));
}

const struct om_arch om_arch_qwen2 = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct qwen),
    .fields = qwen2_fields,
    .derive = qwen2_derive,
    .inputs = om_decoder_inputs,
    .kv = om_decoder_kv,
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
        [OM_HEAD_TOKEN] = head_token,
    },
};

const struct om_arch om_arch_qwen3 = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct qwen),
    .fields = qwen3_fields,
    .derive = qwen3_derive,
    .inputs = om_decoder_inputs,
    .kv = om_decoder_kv,
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
    },
};
