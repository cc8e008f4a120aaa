/* src/arch/gemma.c: Gemma (2024) and Gemma 2 (Gemma Team, 2024): Llama with scaled embeddings and
 * norms that store their difference from 1. Gemma 2 has norms around every block, and every other
 * layer has a sliding window. */
#include "arch/decoder.h"

#include <math.h>

/* hidden_activation is not looked at by Gemma, but by its successors. */
static const struct om_field gemma_fields[] = {
    OM_DECODER_FIELDS,
    OM_FIELD_SIZE(struct om_decoder, layers, "num_hidden_layers", 28),
    OM_FIELD_SIZE(struct om_decoder, hidden, "hidden_size", 3072),
    OM_FIELD_SIZE(struct om_decoder, heads, "num_attention_heads", 16),
    OM_FIELD_SIZE_OFF(struct om_decoder, kv_heads, "num_key_value_heads", 16),
    OM_FIELD_SIZE(struct om_decoder, head_dim, "head_dim", 256),
    OM_FIELD_ACT(struct om_decoder, act, "hidden_act", OM_ACT_GELU_TANH),
    OM_FIELD_BOOL(struct om_decoder, attention_bias, "attention_bias", false),
    OM_FIELD_BOOL(struct om_decoder, tied, "tie_word_embeddings", true),
    OM_FIELD_END
};

/* attn_logit_softcapping is applied by Transformers' eager attention alone: its default one (sdpa),
 * which an export follows, has no such cap. */
static const struct om_field gemma2_fields[] = {
    OM_DECODER_FIELDS,
    OM_FIELD_SIZE(struct om_decoder, layers, "num_hidden_layers", 26),
    OM_FIELD_SIZE(struct om_decoder, hidden, "hidden_size", 2304),
    OM_FIELD_SIZE(struct om_decoder, heads, "num_attention_heads", 8),
    OM_FIELD_SIZE_OFF(struct om_decoder, kv_heads, "num_key_value_heads", 4),
    OM_FIELD_SIZE(struct om_decoder, head_dim, "head_dim", 256),
    OM_FIELD_ACT(struct om_decoder, act, "hidden_activation", OM_ACT_GELU_TANH),
    OM_FIELD_BOOL(struct om_decoder, attention_bias, "attention_bias", false),
    OM_FIELD_BOOL(struct om_decoder, tied, "tie_word_embeddings", true),
    OM_FIELD_SIZE_OFF(struct om_decoder, window, "sliding_window", 4096),
    OM_FIELD_F64(struct om_decoder, scale, "query_pre_attn_scalar", 256.0),
    OM_FIELD_F64_OFF(struct om_decoder, logit_cap, "final_logit_softcapping", 30.0),
    OM_FIELD_END
};

static const struct om_decoder_kind gemma_kind = {
    .norm = OM_DECODER_RMS_1P,
    .rope = { .theta = 10000.0, .max_position = 8192 },
};

static const struct om_decoder_kind gemma2_kind = {
    .norm = OM_DECODER_RMS_1P,
    .order = OM_DECODER_AROUND,
    .rope = { .theta = 10000.0, .max_position = 8192 },
};

static int gemma_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                        struct om_error *err)
{
    struct om_decoder *c = cfg;

    c->embedding_scale = sqrt((double)c->hidden);
    return om_decoder_derive(a, c, &gemma_kind, config->doc, err);
}

static bool slides(const void *user, int64_t layer)
{
    (void)user;
    return layer % 2 == 0;
}

static int gemma2_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                         struct om_error *err)
{
    struct om_decoder *c = cfg;

    OM_TRY(om_decoder_query_scale(c, err));
    c->embedding_scale = sqrt((double)c->hidden);
    OM_TRY(om_decoder_derive(a, c, &gemma2_kind, config->doc, err));
    return om_decoder_layer_types(a, c, config->doc, slides, NULL, err);
}

const struct om_arch om_arch_gemma = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct om_decoder),
    .fields = gemma_fields,
    .derive = gemma_derive,
    .inputs = om_decoder_inputs_np,
    .kv = om_decoder_kv,
    .pad_token_id = &(const int64_t){ 0 },
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
    },
};

const struct om_arch om_arch_gemma2 = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct om_decoder),
    .fields = gemma2_fields,
    .derive = gemma2_derive,
    .inputs = om_decoder_inputs_np,
    .kv = om_decoder_kv,
    .pad_token_id = &(const int64_t){ 0 },
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
    },
};
