/* src/arch/cohere.c: Command R (Cohere, 2024): attention and feed-forward read one norm, rotary
 * dims are interleaved, logits are scaled. */
#include "arch/decoder.h"

struct cohere {
    struct om_decoder dec;
    bool qk_norm;
};

static const struct om_field cohere_fields[] = {
    OM_DECODER_FIELDS,
    OM_FIELD_SIZE(struct om_decoder, layers, "num_hidden_layers", 40),
    OM_FIELD_SIZE(struct om_decoder, hidden, "hidden_size", 8192),
    OM_FIELD_SIZE(struct om_decoder, heads, "num_attention_heads", 64),
    OM_FIELD_F64(struct om_decoder, eps, "layer_norm_eps", 1e-5),
    OM_FIELD_BOOL(struct om_decoder, tied, "tie_word_embeddings", true),
    OM_FIELD_BOOL(struct om_decoder, attention_bias, "attention_bias", false),
    OM_FIELD_F64(struct om_decoder, logit_scale, "logit_scale", 0.0625),
    OM_FIELD_BOOL(struct cohere, qk_norm, "use_qk_norm", false),
    OM_FIELD_END
};

static const struct om_decoder_kind cohere_kind = {
    .norm = OM_DECODER_LAYER_NOBIAS,
    .order = OM_DECODER_PARALLEL,
    .interleaved = true,
    .rope = { .theta = 10000.0, .max_position = 8192 },
};

static int cohere_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                         struct om_error *err)
{
    struct cohere *c = cfg;

    if (c->dec.logit_scale == 0.0)
        return om_fail(err, OM_E_CONFIG, "key \"logit_scale\": expected a number other than 0");
    if (c->qk_norm)
        c->dec.qk_norm = OM_DECODER_QK_HEADS;
    return om_decoder_derive(a, &c->dec, &cohere_kind, config->doc, err);
}

const struct om_arch om_arch_cohere = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct cohere),
    .fields = cohere_fields,
    .derive = cohere_derive,
    .inputs = om_decoder_inputs,
    .kv = om_decoder_kv,
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
    },
};
