/* src/arch/glm.c: GLM-4 (2024), Llama with rotary embeddings in half of each head, interleaved. */
#include "arch/decoder.h"

static const struct om_field glm_fields[] = {
    OM_DECODER_FIELDS,
    OM_FIELD_SIZE(struct om_decoder, layers, "num_hidden_layers", 40),
    OM_FIELD_SIZE_OFF(struct om_decoder, kv_heads, "num_key_value_heads", 2),
    OM_FIELD_SIZE(struct om_decoder, head_dim, "head_dim", 128),
    OM_FIELD_F64(struct om_decoder, eps, "rms_norm_eps", 0.00000015625),
    OM_FIELD_BOOL(struct om_decoder, attention_bias, "attention_bias", true),
    OM_FIELD_END
};

static const struct om_decoder_kind glm_kind = {
    .mlp = OM_DECODER_FUSED,
    .out_unbiased = true,
    .interleaved = true,
    .partial = true,
    .rope = { .theta = 10000.0, .partial = 0.5, .max_position = 131072 },
};

static int glm_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                      struct om_error *err)
{
    return om_decoder_derive(a, cfg, &glm_kind, config->doc, err);
}

const struct om_arch om_arch_glm = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct om_decoder),
    .fields = glm_fields,
    .derive = glm_derive,
    .inputs = om_decoder_inputs,
    .kv = om_decoder_kv,
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
    },
};
