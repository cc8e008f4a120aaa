/* src/arch/codegen.c: CodeGen, GPT-J with one layer for queries, keys and values (Nijkamp et al.,
 * 2022). */
#include "arch/gptj.h"

/* The processors that the published models were trained on; the layout of qkv_proj depends on it.
 */
#define SHARDS 4

static const struct om_field codegen_fields[] = { OM_GPTJ_FIELDS, OM_FIELD_END };

static int codegen_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                          struct om_error *err)
{
    const struct om_gptj *c = cfg;

    OM_TRY(om_gptj_derive(a, cfg, config, err));
    if (c->gpt.heads % SHARDS != 0)
        return om_fail(err, OM_E_CONFIG,
                       "key \"n_head\": expected a multiple of %d, found %" PRId64, SHARDS,
                       c->gpt.heads);
    return 0;
}

static void project(om_scope s, const struct om_gptj *c, om_val x, struct om_attend *at)
{
    const struct om_fused fused = { .groups = SHARDS,
                                    .heads = c->gpt.heads,
                                    .kv_heads = c->gpt.heads,
                                    .head_dim = c->gpt.head_dim,
                                    .value_first = true };

    om_split_fused(s, &fused, om_linear_nobias(om_sub(s, "qkv_proj"), x), at);
}

static void codegen_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    (void)head;
    om_gptj_layers(root, cfg, project, body);
}

const struct om_arch om_arch_codegen = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct om_gptj),
    .fields = codegen_fields,
    .derive = codegen_derive,
    .inputs = (const char *const[]){ "input_ids", "past_key_values", "attention_mask",
                                     "position_ids", NULL },
    .kv = om_gptj_kv,
    .build = codegen_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_gptj_head_causal_lm,
    },
};
