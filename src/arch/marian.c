/* src/arch/marian.c: Marian (Junczys-Dowmunt et al., 2018) and OPUS-MT: post-norm, sinusoidal
 * positions. */
#include "arch/seq2seq.h"

static const struct om_seq2seq_form marian_form = {
    .own_vocabularies = true,
    .positions = OM_SEQ2SEQ_SINUSOID,
};

static const struct om_field marian_fields[] = {
    OM_SEQ2SEQ_FIELDS,
    OM_FIELD_INT(struct om_seq2seq, pad, "pad_token_id", 58100),
    OM_FIELD_INT(struct om_seq2seq, eos, "eos_token_id", 0),
    OM_FIELD_BOOL(struct om_seq2seq, shared, "share_encoder_decoder_embeddings", true),
    OM_FIELD_END,
};

static int marian_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                         struct om_error *err)
{
    (void)a;
    (void)config;
    return om_seq2seq_derive(cfg, &marian_form, err);
}

const struct om_arch om_arch_marian = {
    .kind = OM_ARCH_SEQ2SEQ,
    .cfg_size = sizeof(struct om_seq2seq),
    .fields = marian_fields,
    .derive = marian_derive,
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
