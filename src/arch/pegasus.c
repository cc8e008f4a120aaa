/* src/arch/pegasus.c: PEGASUS (Zhang et al., 2020): pre-norm, sinusoidal positions. */
#include "arch/seq2seq.h"

static const struct om_seq2seq_form pegasus_form = {
    .pre_norm = true,
    .positions = OM_SEQ2SEQ_SINUSOID,
};

static const struct om_field pegasus_fields[] = {
    OM_SEQ2SEQ_FIELDS,
    OM_FIELD_INT(struct om_seq2seq, pad, "pad_token_id", 0),
    OM_FIELD_INT(struct om_seq2seq, eos, "eos_token_id", 1),
    OM_FIELD_END,
};

static int pegasus_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                          struct om_error *err)
{
    (void)a;
    (void)config;
    return om_seq2seq_derive(cfg, &pegasus_form, err);
}

const struct om_arch om_arch_pegasus = {
    .kind = OM_ARCH_SEQ2SEQ,
    .cfg_size = sizeof(struct om_seq2seq),
    .fields = pegasus_fields,
    .derive = pegasus_derive,
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
