/* src/arch/smollm3.c: SmolLM3 (2025), Llama in which every fourth layer has no rotary embeddings
 * (Yang et al., 2025, "Rope to Nope and Back Again"). */
#include "arch/decoder.h"

struct smollm3 {
    struct om_decoder dec;
    bool slides;
    int64_t interval;
};

static const struct om_field smollm3_fields[] = {
    OM_DECODER_FIELDS,
    OM_FIELD_SIZE(struct om_decoder, layers, "num_hidden_layers", 36),
    OM_FIELD_SIZE(struct om_decoder, hidden, "hidden_size", 2048),
    OM_FIELD_SIZE(struct om_decoder, heads, "num_attention_heads", 16),
    OM_FIELD_SIZE_OFF(struct om_decoder, kv_heads, "num_key_value_heads", 4),
    OM_FIELD_BOOL(struct om_decoder, tied, "tie_word_embeddings", true),
    OM_FIELD_BOOL(struct om_decoder, attention_bias, "attention_bias", false),
    OM_FIELD_BOOL(struct om_decoder, mlp_bias, "mlp_bias", false),
    OM_FIELD_SIZE_OFF(struct om_decoder, window, "sliding_window", 0),
    OM_FIELD_BOOL(struct smollm3, slides, "use_sliding_window", false),
    OM_FIELD_SIZE(struct smollm3, interval, "no_rope_layer_interval", 4),
    OM_FIELD_END
};

static const struct om_decoder_kind smollm3_kind = {
    .rope = { .theta = 2000000.0, .max_position = 32768 },
};

/* no_rope_layers has 1 (or true) for layers with rotary embeddings. */
static int read_rotates(struct om_arena *a, struct smollm3 *c, const struct om_json *doc,
                        struct om_error *err)
{
    const struct om_json *list = om_json_get(doc, "no_rope_layers");
    const bool given = om_json_kind(list) != OM_JSON_NULL;
    bool *rotates;

    if (given && (om_json_kind(list) != OM_JSON_ARRAY || om_json_len(list) < (size_t)c->dec.layers))
        return om_fail(err, OM_E_CONFIG,
                       "key \"no_rope_layers\": expected a list of num_hidden_layers %" PRId64
                       " numbers, found %s of %zu",
                       c->dec.layers, om_json_kind_text(list), om_json_len(list));
    rotates = om_arena_array(a, (size_t)c->dec.layers, sizeof(*rotates));
    if (!rotates)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < c->dec.layers; i++) {
        const struct om_json *v = given ? om_json_at(list, (size_t)i) : NULL;
        int64_t n = (i + 1) % c->interval != 0;

        if (given && !om_json_i64(v, &n) && !om_json_bool(v, &rotates[i]))
            return om_fail(err, OM_E_CONFIG,
                           "key \"no_rope_layers\": entry %" PRId64 " is neither 0 nor 1", i);
        if (!given || om_json_i64(v, &n))
            rotates[i] = n != 0;
    }
    c->dec.rotates = rotates;
    return 0;
}

static bool slides(const void *user, int64_t layer)
{
    const struct smollm3 *c = user;

    return c->slides && c->dec.window != 0 && !c->dec.rotates[layer];
}

static int smollm3_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                          struct om_error *err)
{
    struct smollm3 *c = cfg;

    OM_TRY(om_decoder_derive(a, &c->dec, &smollm3_kind, config->doc, err));
    OM_TRY(read_rotates(a, c, config->doc, err));
    return om_decoder_layer_types(a, &c->dec, config->doc, slides, c, err);
}

const struct om_arch om_arch_smollm3 = {
    .kind = OM_ARCH_DECODER,
    .cfg_size = sizeof(struct smollm3),
    .fields = smollm3_fields,
    .derive = smollm3_derive,
    .inputs = om_decoder_inputs,
    .kv = om_decoder_kv,
    .pad_token_id = &(const int64_t){ 128004 },
    .build = om_decoder_build,
    .heads = {
        [OM_HEAD_HIDDEN] = om_head_hidden,
        [OM_HEAD_CAUSAL_LM] = om_decoder_head,
        [OM_HEAD_SEQUENCE] = om_head_last_token,
    },
};
