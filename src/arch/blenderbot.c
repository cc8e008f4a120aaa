/* src/arch/blenderbot.c: Blenderbot (Roller et al., 2021): pre-norm, learned positions. */
#include "arch/seq2seq.h"

static const struct om_seq2seq_form blenderbot_form = {
    .pre_norm = true,
};

static const struct om_field blenderbot_fields[] = {
    OM_SEQ2SEQ_FIELDS,
    OM_SEQ2SEQ_SIZE(hidden, "d_model", "hidden_size", 2560),
    OM_SEQ2SEQ_SIZE(encoder.layers, "encoder_layers", NULL, 2),
    OM_SEQ2SEQ_SIZE(encoder.heads, "encoder_attention_heads", "num_attention_heads", 32),
    OM_SEQ2SEQ_SIZE(decoder.layers, "decoder_layers", NULL, 24),
    OM_SEQ2SEQ_SIZE(decoder.heads, "decoder_attention_heads", NULL, 32),
    OM_SEQ2SEQ_SIZE(positions, "max_position_embeddings", NULL, 128),
    OM_FIELD_INT(struct om_seq2seq, pad, "pad_token_id", 0),
    OM_FIELD_END,
};

static int blenderbot_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                             struct om_error *err)
{
    (void)a;
    (void)config;
    return om_seq2seq_derive(cfg, &blenderbot_form, err);
}

const struct om_arch om_arch_blenderbot = {
    .kind = OM_ARCH_SEQ2SEQ,
    .cfg_size = sizeof(struct om_seq2seq),
    .fields = blenderbot_fields,
    .derive = blenderbot_derive,
    .inputs = om_seq2seq_inputs,
    .kv = om_seq2seq_kv,
    .build = om_seq2seq_build,
    .encode = om_seq2seq_encode,
    .decode = om_seq2seq_decode,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_SEQ2SEQ_LM] = om_seq2seq_head_lm,
        [OM_HEAD_CAUSAL_LM] = om_seq2seq_head_causal_lm,
    },
};
