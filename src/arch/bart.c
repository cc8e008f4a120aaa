/* src/arch/bart.c: BART (Lewis et al., 2020): post-norm. */
#include "arch/seq2seq.h"

static const struct om_seq2seq_form bart_form = {
    .embed_norm = true,
    .own_tables = true,
    .offset = 2,
};

static const struct om_field bart_fields[] = {
    OM_SEQ2SEQ_FIELDS,
    OM_FIELD_END,
};

static int bart_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                       struct om_error *err)
{
    (void)a;
    (void)config;
    return om_seq2seq_derive(cfg, &bart_form, err);
}

const struct om_arch om_arch_bart = {
    .kind = OM_ARCH_SEQ2SEQ,
    .cfg_size = sizeof(struct om_seq2seq),
    .fields = bart_fields,
    .derive = bart_derive,
    .inputs = om_seq2seq_inputs,
    .kv = om_seq2seq_kv,
    .build = om_seq2seq_build,
    .encode = om_seq2seq_encode,
    .decode = om_seq2seq_decode,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_SEQ2SEQ_LM] = om_seq2seq_head_lm,
        [OM_HEAD_CAUSAL_LM] = om_seq2seq_head_causal_lm,
        [OM_HEAD_SEQUENCE] = om_seq2seq_head_sequence,
        [OM_HEAD_SPAN] = om_head_span,
    },
};
