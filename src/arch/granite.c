/* src/arch/granite.c: Granite 3 (2024), Llama with four multipliers. */
#include "arch/decoder.h"

static const struct om_field granite_fields[] = {
    OM_DECODER_FIELDS,
    OM_FIELD_BOOL(struct om_decoder, attention_bias, "attention_bias", false),
    OM_FIELD_BOOL(struct om_decoder, mlp_bias, "mlp_bias", false),
    OM_FIELD_F64(struct om_decoder, embedding_scale, "embedding_multiplier", 1.0),
    OM_FIELD_F64(struct om_decoder, residual_scale, "residual_multiplier", 1.0),
    OM_FIELD_F64(struct om_decoder, scale, "attention_multiplier", 1.0),
    OM_FIELD_F64(struct om_decoder, logit_scale, "logits_scaling", 1.0),
    OM_FIELD_END
};

static const struct om_decoder_kind granite_kind = {
    .rope = { .theta = 10000.0, .max_position = 2048 },
};

static int granite_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                          struct om_error *err)
{
    struct om_decoder *c = cfg;
    const struct {
        const char *key;
        double v;
    } multipliers[] = { { "embedding_multiplier", c->embedding_scale },
                        { "residual_multiplier", c->residual_scale },
                        { "attention_multiplier", c->scale },
                        { "logits_scaling", c->logit_scale } };

    for (size_t i = 0; i < OM_COUNT(multipliers); i++)
        if (multipliers[i].v == 0.0)
            return om_fail(err, OM_E_CONFIG, "key \"%s\": expected a number other than 0",
                           multipliers[i].key);
    c->logit_scale = 1.0 / c->logit_scale;
    return om_decoder_derive(a, c, &granite_kind, config->doc, err);
}

const struct om_arch om_arch_granite = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct om_decoder),
    .fields = granite_fields,
    .derive = granite_derive,
    .inputs = om_decoder_inputs,
    .kv = om_decoder_kv,
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
    },
};
