/* src/arch/llama.c: Llama, a decoder with rotary embeddings and grouped heads (Touvron et al.,
 * 2023). */
#include "arch/decoder.h"

static const struct om_field llama_fields[] = {
    OM_DECODER_FIELDS, OM_FIELD_BOOL(struct om_decoder, attention_bias, "attention_bias", false),
    OM_FIELD_BOOL(struct om_decoder, mlp_bias, "mlp_bias", false), OM_FIELD_END
};

static const struct om_decoder_kind llama_kind = {
    .rope = { .theta = 10000.0, .max_position = 2048 },
};

static int llama_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                        struct om_error *err)
{
    return om_decoder_derive(a, cfg, &llama_kind, config->doc, err);
}

const struct om_arch om_arch_llama = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct om_decoder),
    .fields = llama_fields,
    .derive = llama_derive,
    .inputs = om_decoder_inputs,
    .kv = om_decoder_kv,
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
    },
};
