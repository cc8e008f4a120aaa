/* src/arch/arcee.c: Arcee's AFM (2025), Llama with squared ReLU and no gate. */
#include "arch/decoder.h"

static const struct om_field arcee_fields[] = {
    OM_DECODER_FIELDS,
    OM_FIELD_SIZE(struct om_decoder, hidden, "hidden_size", 2560),
    OM_FIELD_F64(struct om_decoder, eps, "rms_norm_eps", 1e-5),
    OM_FIELD_ACT(struct om_decoder, act, "hidden_act", OM_ACT_RELU2),
    OM_FIELD_BOOL(struct om_decoder, attention_bias, "attention_bias", false),
    OM_FIELD_BOOL(struct om_decoder, mlp_bias, "mlp_bias", false),
    OM_FIELD_END
};

static const struct om_decoder_kind arcee_kind = {
    .mlp = OM_DECODER_PLAIN,
    .rope = { .theta = 10000.0, .max_position = 4096 },
};

static int arcee_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                        struct om_error *err)
{
    return om_decoder_derive(a, cfg, &arcee_kind, config->doc, err);
}

const struct om_arch om_arch_arcee = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct om_decoder),
    .fields = arcee_fields,
    .derive = arcee_derive,
    .inputs = om_decoder_inputs,
    .kv = om_decoder_kv,
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
    },
};
