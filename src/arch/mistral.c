/* src/arch/mistral.c: Mistral, Llama with a sliding window in every layer (Jiang et al., 2023). */
#include "arch/decoder.h"

static const struct om_field mistral_fields[] = {
    OM_DECODER_FIELDS, OM_FIELD_SIZE_OFF(struct om_decoder, kv_heads, "num_key_value_heads", 8),
    OM_FIELD_SIZE_OFF(struct om_decoder, window, "sliding_window", 4096), OM_FIELD_END
};

static const struct om_decoder_kind mistral_kind = {
    .rope = { .theta = 10000.0, .max_position = 131072 },
};

static int mistral_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                          struct om_error *err)
{
    return om_decoder_derive(a, cfg, &mistral_kind, config->doc, err);
}

const struct om_arch om_arch_mistral = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct om_decoder),
    .fields = mistral_fields,
    .derive = mistral_derive,
    .inputs = om_decoder_inputs,
    .kv = om_decoder_kv,
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
    },
};
