/* src/arch/olmo.c: OLMo (Groeneveld et al., 2024), Llama with norms that have no weights, and
 * OLMo 2 (2025), with norms after the blocks and over all queries and all keys. */
#include "arch/decoder.h"

#include <math.h>

static const struct om_field olmo_fields[] = {
    OM_DECODER_FIELDS, OM_FIELD_BOOL(struct om_decoder, attention_bias, "attention_bias", false),
    OM_FIELD_F64(struct om_decoder, clip, "clip_qkv", INFINITY), OM_FIELD_END
};

static const struct om_field olmo2_fields[] = {
    OM_DECODER_FIELDS, OM_FIELD_F64(struct om_decoder, eps, "rms_norm_eps", 1e-5),
    OM_FIELD_BOOL(struct om_decoder, attention_bias, "attention_bias", false), OM_FIELD_END
};

static const struct om_decoder_kind olmo_kind = {
    .norm = OM_DECODER_LAYER_PLAIN,
    .rope = { .theta = 10000.0, .max_position = 2048 },
};

static const struct om_decoder_kind olmo2_kind = {
    .order = OM_DECODER_POST,
    .qk_norm = OM_DECODER_QK_WHOLE,
    .rope = { .theta = 10000.0, .max_position = 2048 },
};

static int olmo_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                       struct om_error *err)
{
    struct om_decoder *c = cfg;

    if (c->clip <= 0.0)
        return om_fail(err, OM_E_CONFIG, "key \"clip_qkv\": expected a positive number, found %g",
                       c->clip);
    if (isinf(c->clip))
        c->clip = 0.0;
    c->eps = 1e-5;
    return om_decoder_derive(a, c, &olmo_kind, config->doc, err);
}

static int olmo2_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                        struct om_error *err)
{
    return om_decoder_derive(a, cfg, &olmo2_kind, config->doc, err);
}

const struct om_arch om_arch_olmo = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct om_decoder),
    .fields = olmo_fields,
    .derive = olmo_derive,
    .inputs = om_decoder_inputs,
    .kv = om_decoder_kv,
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
    },
};

const struct om_arch om_arch_olmo2 = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct om_decoder),
    .fields = olmo2_fields,
    .derive = olmo2_derive,
    .inputs = om_decoder_inputs,
    .kv = om_decoder_kv,
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
    },
};
