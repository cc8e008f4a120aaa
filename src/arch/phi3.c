/* src/arch/phi3.c: Phi-3, Llama with fused matrices (Abdin et al., 2024). */
#include "arch/decoder.h"

static const struct om_field phi3_fields[] = {
    OM_DECODER_FIELDS, OM_FIELD_SIZE(struct om_decoder, hidden, "hidden_size", 3072),
    OM_FIELD_F64(struct om_decoder, eps, "rms_norm_eps", 1e-5),
    OM_FIELD_SIZE_OFF(struct om_decoder, window, "sliding_window", 0), OM_FIELD_END
};

/* The first releases called their long contexts "su", and "yarn" was never what Peng et al. mean.
 */
static const struct om_rope_alias phi3_ropes[] = {
    { "su", "longrope" },
    { "yarn", "longrope" },
    { NULL, NULL },
};

static const struct om_decoder_kind phi3_kind = {
    .mlp = OM_DECODER_FUSED,
    .fused_qkv = true,
    .partial = true,
    .rope = { .theta = 10000.0,
              .max_position = 4096,
              .original_max_position = 4096,
              .aliases = phi3_ropes },
};

static int phi3_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                       struct om_error *err)
{
    return om_decoder_derive(a, cfg, &phi3_kind, config->doc, err);
}

const struct om_arch om_arch_phi3 = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct om_decoder),
    .fields = phi3_fields,
    .derive = phi3_derive,
    .inputs = om_decoder_inputs,
    .kv = om_decoder_kv,
    .pad_token_id = &(const int64_t){ 32000 },
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
    },
};
