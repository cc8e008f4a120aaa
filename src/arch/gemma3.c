/* src/arch/gemma3.c: Gemma 3 (Gemma Team, 2025): Gemma 2 with norms of queries and keys, and
 * rotary embeddings of their own for layers with a sliding window. model_type gemma3 is the same
 * decoder in a model that also sees images; as in the original's export it reads text alone. */
#include "arch/decoder.h"

#include <math.h>

struct gemma3_text {
    struct om_decoder dec;
    int64_t pattern; /* every n-th layer has no window */
    double local_theta;
    int64_t pad;
};

struct gemma3 {
    struct gemma3_text text;
    int64_t image_token;
};

static const struct om_field gemma3_text_fields[] = {
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
    OM_FIELD_BOOL(struct om_decoder, both_ways, "use_bidirectional_attention", false),
    OM_FIELD_F64(struct om_decoder, scale, "query_pre_attn_scalar", 256.0),
    OM_FIELD_F64_OFF(struct om_decoder, logit_cap, "final_logit_softcapping", 0.0),
    OM_FIELD_SIZE(struct gemma3_text, pattern, "sliding_window_pattern", 6),
    OM_FIELD_F64(struct gemma3_text, local_theta, "rope_local_base_freq", 10000.0),
    OM_FIELD_INT(struct gemma3_text, pad, "pad_token_id", 0),
    OM_FIELD_END
};

static const struct om_decoder_kind gemma3_kind = {
    .norm = OM_DECODER_RMS_1P,
    .order = OM_DECODER_AROUND,
    .qk_norm = OM_DECODER_QK_HEAD,
    .rope = { .theta = 1000000.0, .max_position = 131072 },
};

static bool slides(const void *user, int64_t layer)
{
    const struct gemma3_text *c = user;

    return (layer + 1) % c->pattern != 0;
}

static int derive(struct om_arena *a, struct gemma3_text *c, const struct om_json *doc,
                  struct om_error *err)
{
    struct om_decoder *dec = &c->dec;

    OM_TRY(om_decoder_query_scale(dec, err));
    if (c->local_theta <= 0.0)
        return om_fail(err, OM_E_CONFIG,
                       "key \"rope_local_base_freq\": expected a positive number, found %g",
                       c->local_theta);
    if (dec->both_ways && dec->window) /* as many in all, half of them on each side */
        dec->window = dec->window / 2 + 1;
    dec->embedding_scale = sqrt((double)dec->hidden);
    OM_TRY(om_decoder_derive(a, dec, &gemma3_kind, doc, err));
    dec->local_rope = dec->rope;
    dec->local_rope.type = "default";
    dec->local_rope.theta = c->local_theta;
    return om_decoder_layer_types(a, dec, doc, slides, c, err);
}

static int gemma3_text_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                              struct om_error *err)
{
    return derive(a, cfg, config->doc, err);
}

/* ---- the model that also sees images ---- */

static const struct om_field gemma3_fields[] = {
    OM_FIELD_INT(struct gemma3, image_token, "image_token_index", 262144),
    OM_FIELD_REFUSE("text_config.use_bidirectional_attention", "false"), OM_FIELD_END
};

static int text_config(struct om_arena *a, struct gemma3 *c, const struct om_json *doc,
                       struct om_error *err)
{
    OM_TRY(om_config_read(a, doc, gemma3_text_fields, &c->text, err));
    c->text.dec.logit_cap = 0.0; /* final_logit_softcapping is not looked at here */
    return derive(a, &c->text, doc, err);
}

static int gemma3_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                         struct om_error *err)
{
    const struct om_json *doc = om_json_get(config->doc, "text_config");

    if (om_json_kind(doc) != OM_JSON_OBJECT)
        return om_fail(err, OM_E_CONFIG, "key \"text_config\": expected an object, found %s",
                       doc ? om_json_kind_text(doc) : "nothing");
    return om_wrap(err, text_config(a, cfg, doc, err), "text_config");
}

/* Where the vocabulary has no row for the token that stands for an image, the model reads token 0.
 */
static om_val readable_ids(om_scope s, const struct gemma3 *c, om_val table)
{
    const om_val ids = om_input(s, "input_ids");
    const om_dim rows = om_axis(s, table, 0);
    int64_t n;

    if (!rows || !om_dim_is_const(s.b->g->dims, rows, &n) || c->image_token < n)
        return ids;
    return om_where(s, om_binary(s, OM_OP_Equal, ids, om_i64(s, c->image_token)), om_i64(s, 0),
                    ids);
}

/* The decoder's place in the checkpoint has changed between releases. */
static void gemma3_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const struct gemma3 *c = cfg;
    const om_scope s =
        om_sub_optional(om_sub_optional(om_sub_optional(root, "model"), "language_model"), "model");

    (void)head;
    body->pad = &c->text.pad;
    om_decoder_body(s, &c->text.dec,
                    readable_ids(s, c, om_weight_stored(om_sub(s, "embed_tokens"), "weight")),
                    body);
}

/* "language_model.lm_head" in old checkpoints. */
static void gemma3_head(om_scope root, const void *cfg, const struct om_body *body)
{
    const om_scope old = om_sub(root, "language_model");

    om_decoder_head(om_has_weight(om_sub(old, "lm_head"), "weight") ? old : root, cfg, body);
}

const struct om_arch om_arch_gemma3_text = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct gemma3_text),
    .fields = gemma3_text_fields,
    .derive = gemma3_text_derive,
    .inputs = om_decoder_inputs_np,
    .kv = om_decoder_kv,
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
    },
};

const struct om_arch om_arch_gemma3 = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct gemma3),
    .fields = gemma3_fields,
    .derive = gemma3_derive,
    .inputs = om_decoder_inputs_np,
    .kv = om_decoder_kv,
    .pad_token_id = &(const int64_t){ 0 },
    .build = gemma3_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = gemma3_head,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
    },
};
