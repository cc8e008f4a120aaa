/* src/arch/m2m_100.c: M2M-100 (Fan et al., 2020) and NLLB: pre-norm, sinusoidal positions of
 * tokens. */
#include "arch/seq2seq.h"

static const struct om_seq2seq_form m2m_100_form = {
    .pre_norm = true,
    .own_tables = true,
    .positions = OM_SEQ2SEQ_TOKENS,
};

static const struct om_field m2m_100_fields[] = {
    OM_SEQ2SEQ_FIELDS,
    OM_FIELD_ACT(struct om_seq2seq, act, "activation_function", OM_ACT_RELU),
    OM_FIELD_BOOL(struct om_seq2seq, scale, "scale_embedding", true),
    OM_FIELD_END,
};

static int m2m_100_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                          struct om_error *err)
{
    (void)a;
    (void)config;
    return om_seq2seq_derive(cfg, &m2m_100_form, err);
}

const struct om_arch om_arch_m2m_100 = {
    .kind = OM_ARCH_SEQ2SEQ,
    .cfg_size = sizeof(struct om_seq2seq),
    .fields = m2m_100_fields,
    .derive = m2m_100_derive,
    .inputs = om_seq2seq_inputs,
    .kv = om_seq2seq_kv,
    .encode = om_seq2seq_encode,
    .decode = om_seq2seq_decode,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_SEQ2SEQ_LM] = om_seq2seq_head_lm,
    },
};
