/* src/arch/nemotron.c: Nemotron (Parmar et al., 2024): squared ReLU without a gate, LayerNorm that
 * stores its difference from 1, rotary embeddings in half of each head. */
#include "arch/decoder.h"

static const struct om_field nemotron_fields[] = {
    OM_DECODER_FIELDS,
    OM_FIELD_SIZE(struct om_decoder, hidden, "hidden_size", 6144),
    OM_FIELD_SIZE(struct om_decoder, heads, "num_attention_heads", 48),
    OM_FIELD_F64(struct om_decoder, eps, "norm_eps", 1e-5),
    OM_FIELD_ACT(struct om_decoder, act, "hidden_act", OM_ACT_RELU2),
    OM_FIELD_BOOL(struct om_decoder, attention_bias, "attention_bias", false),
    OM_FIELD_BOOL(struct om_decoder, mlp_bias, "mlp_bias", false),
    OM_FIELD_END
};

static const struct om_decoder_kind nemotron_kind = {
    .norm = OM_DECODER_LAYER_1P,
    .mlp = OM_DECODER_PLAIN,
    .partial = true,
    .rope = { .theta = 10000.0, .partial = 0.5, .max_position = 4096, .no_scaling = true },
};

static int nemotron_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                           struct om_error *err)
{
    return om_decoder_derive(a, cfg, &nemotron_kind, config->doc, err);
}

const struct om_arch om_arch_nemotron = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct om_decoder),
    .fields = nemotron_fields,
    .derive = nemotron_derive,
    .inputs = om_decoder_inputs_np,
    .kv = om_decoder_kv,
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
    },
};
