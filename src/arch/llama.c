/* src/arch/llama.c: Llama, a decoder with rotary embeddings and grouped heads (Touvron et al.,
 * 2023). */
#include "arch/decoder.h"

struct llama {
    struct om_decoder dec;
    bool attention_bias, tied;
};

static const struct om_field llama_fields[] = {
    OM_FIELD_SIZE(struct llama, dec.layers, "num_hidden_layers", 32),
    OM_FIELD_SIZE(struct llama, dec.hidden, "hidden_size", 4096),
    OM_FIELD_SIZE(struct llama, dec.heads, "num_attention_heads", 32),
    OM_FIELD_SIZE(struct llama, dec.kv_heads, "num_key_value_heads", 0),
    OM_FIELD_SIZE(struct llama, dec.head_dim, "head_dim", 0),
    OM_FIELD_F64(struct llama, dec.eps, "rms_norm_eps", 1e-6),
    OM_FIELD_ACT(struct llama, dec.act, "hidden_act", OM_ACT_SILU),
    OM_FIELD_BOOL(struct llama, attention_bias, "attention_bias", false),
    OM_FIELD_BOOL(struct llama, dec.mlp_bias, "mlp_bias", false),
    OM_FIELD_BOOL(struct llama, tied, "tie_word_embeddings", false),
    OM_FIELD_REFUSE("partial_rotary_factor", "1.0"),
    OM_FIELD_END
};

static int llama_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                        struct om_error *err)
{
    static const struct om_rope_defaults rope = { .theta = 10000.0,
                                                  .partial = 1.0,
                                                  .max_position = 2048 };
    struct llama *c = cfg;

    c->dec.qkv_bias = c->dec.out_bias = c->attention_bias;
    return om_decoder_derive(a, &c->dec, config, &rope, err);
}

static void llama_kv(const void *cfg, struct om_kv *kv)
{
    const struct llama *c = cfg;

    om_decoder_kv(&c->dec, kv);
}

static void llama_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct llama *c = cfg;
    const om_scope s = om_sub_optional(root, "model"); /* saved bare, a model has no prefix */
    const om_scope words = om_sub(s, "embed_tokens");
    const om_val ids = om_input(s, "input_ids");
    om_val x;

    (void)head;
    body->embeddings = om_weight_stored(words, "weight");
    x = om_embed_with(words, body->embeddings, ids);
    x = om_decoder_layers(s, &c->dec, ids, x);
    body->hidden = om_rms_norm(om_sub(s, "norm"), x, c->dec.eps);
}

static void llama_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    const struct llama *c = cfg;

    om_output(root, "logits", om_decoder_vocabulary(root, c->tied, body));
}

const struct om_arch om_arch_llama = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct llama),
    .fields = llama_fields,
    .derive = llama_derive,
    .inputs = (const char *const[]){ "input_ids", "attention_mask", "position_ids",
                                     "past_key_values", NULL },
    .kv = llama_kv,
    .build = llama_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = llama_head_causal_lm,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
    },
};
