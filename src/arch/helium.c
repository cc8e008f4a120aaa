/* src/arch/helium.c: Helium (Kyutai, 2025), Llama with interleaved rotary embeddings. */
#include "arch/decoder.h"

static const struct om_field helium_fields[] = {
    OM_DECODER_FIELDS,
    OM_FIELD_SIZE(struct om_decoder, layers, "num_hidden_layers", 24),
    OM_FIELD_SIZE(struct om_decoder, hidden, "hidden_size", 2560),
    OM_FIELD_SIZE(struct om_decoder, heads, "num_attention_heads", 20),
    OM_FIELD_SIZE_OFF(struct om_decoder, kv_heads, "num_key_value_heads", 20),
    OM_FIELD_SIZE(struct om_decoder, head_dim, "head_dim", 128),
    OM_FIELD_F64(struct om_decoder, eps, "rms_norm_eps", 1e-8),
    OM_FIELD_BOOL(struct om_decoder, attention_bias, "attention_bias", false),
    OM_FIELD_BOOL(struct om_decoder, mlp_bias, "mlp_bias", false),
    OM_FIELD_END
};

static const struct om_decoder_kind helium_kind = {
    .out_unbiased = true,
    .interleaved = true,
    .rope = { .theta = 100000.0, .max_position = 4096 },
};

static int helium_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                         struct om_error *err)
{
    return om_decoder_derive(a, cfg, &helium_kind, config->doc, err);
}

const struct om_arch om_arch_helium = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct om_decoder),
    .fields = helium_fields,
    .derive = helium_derive,
    .inputs = om_decoder_inputs,
    .kv = om_decoder_kv,
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
    },
};
