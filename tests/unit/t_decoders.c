/* tests/unit/t_decoders.c: configurations of decoders and of encoder-decoders: what they may leave
 * out, and what is refused with its key. */
#include "arch/arch.h"
#include "fixture.h"

static int read(struct test *t, struct om_arena *a, const char *text, const struct om_arch **arch,
                void **cfg, struct om_error *err)
{
    const char *dir = test_tmpdir(t);
    struct om_config config;
    int rc;

    fixture_file(t, dir, "config.json", text);
    CHECK_OK(t, om_config_open(a, dir, &config, err), err);
    if (test_failed(t))
        return OM_E_INTERNAL;
    *arch = om_arch_find(config.model_type);
    rc = om_arch_config(a, *arch, &config, cfg, err);
    om_config_close(&config);
    return rc;
}

static void refused(struct test *t)
{
    static const struct {
        const char *config, *message;
        int rc;
    } cases[] = {
        { "{\"model_type\":\"gpt2\",\"add_cross_attention\":true}", "\"add_cross_attention\"",
          OM_E_UNSUPPORTED },
        { "{\"model_type\":\"gpt2\",\"pruned_heads\":{\"0\":[1]}}", "\"pruned_heads\"",
          OM_E_UNSUPPORTED },
        { "{\"model_type\":\"gpt2\",\"n_embd\":30}", "n_embd 30 is not a multiple of n_head 12",
          OM_E_CONFIG },
        { "{\"model_type\":\"gpt2\",\"n_layer\":0}", "\"n_layer\"", OM_E_CONFIG },
        { "{\"model_type\":\"gpt2\",\"activation_function\":\"gleu\"}", "\"activation_function\"",
          OM_E_CONFIG },
        { "{\"model_type\":\"llama\",\"partial_rotary_factor\":0.5}", "\"partial_rotary_factor\"",
          OM_E_UNSUPPORTED },
        { "{\"model_type\":\"llama\",\"num_key_value_heads\":3}",
          "num_attention_heads 32 is not a multiple of num_key_value_heads 3", OM_E_CONFIG },
        { "{\"model_type\":\"llama\",\"hidden_size\":8}", "hidden_size 8 is too small",
          OM_E_CONFIG },
        { "{\"model_type\":\"llama\",\"head_dim\":5}", "heads of size 5", OM_E_CONFIG },
        { "{\"model_type\":\"llama\",\"head_dim\":2000000000}", "heads of size 2000000000",
          OM_E_CONFIG },
        { "{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"x\"}}", "rope_type \"x\"",
          OM_E_UNSUPPORTED },
        { "{\"model_type\":\"qwen2\",\"num_hidden_layers\":2,\"layer_types\":[\"full_attention\"]}",
          "\"layer_types\": expected a list of num_hidden_layers 2 strings, found array of 1",
          OM_E_CONFIG },
        { "{\"model_type\":\"qwen3\",\"num_hidden_layers\":1,\"layer_types\":[7]}",
          "\"layer_types\": entry 0 is no string", OM_E_CONFIG },
        { "{\"model_type\":\"gemma2\",\"num_hidden_layers\":1,\"layer_types\":[\"chunked_"
          "attention\"]}",
          "\"layer_types\": \"chunked_attention\" is not supported", OM_E_UNSUPPORTED },
        { "{\"model_type\":\"qwen2\",\"num_hidden_layers\":1,\"layer_types\":[\"sliding_"
          "attention\"]}",
          "\"sliding_window\": expected a number, as layer 0", OM_E_CONFIG },
        { "{\"model_type\":\"gemma2\",\"sliding_window\":null}", "\"sliding_window\"",
          OM_E_CONFIG },
        { "{\"model_type\":\"mistral\",\"sliding_window\":0}", "\"sliding_window\"", OM_E_CONFIG },
        { "{\"model_type\":\"gemma2\",\"query_pre_attn_scalar\":0}", "\"query_pre_attn_scalar\"",
          OM_E_CONFIG },
        { "{\"model_type\":\"gemma3_text\",\"rope_local_base_freq\":-1}",
          "\"rope_local_base_freq\"", OM_E_CONFIG },
        { "{\"model_type\":\"gemma3_text\",\"sliding_window_pattern\":0}",
          "\"sliding_window_pattern\"", OM_E_CONFIG },
        { "{\"model_type\":\"gemma3\"}", "\"text_config\": expected an object, found nothing",
          OM_E_CONFIG },
        { "{\"model_type\":\"gemma3\",\"text_config\":{\"head_dim\":0}}",
          "text_config: key \"head_dim\"", OM_E_CONFIG },
        { "{\"model_type\":\"gemma3\",\"text_config\":{\"use_bidirectional_attention\":true}}",
          "\"text_config.use_bidirectional_attention\"", OM_E_UNSUPPORTED },
        { "{\"model_type\":\"olmo\",\"clip_qkv\":0}", "\"clip_qkv\"", OM_E_CONFIG },
        { "{\"model_type\":\"granite\",\"logits_scaling\":0}", "\"logits_scaling\"", OM_E_CONFIG },
        { "{\"model_type\":\"cohere\",\"logit_scale\":0}", "\"logit_scale\"", OM_E_CONFIG },
        { "{\"model_type\":\"cohere\",\"partial_rotary_factor\":0.5}", "\"partial_rotary_factor\"",
          OM_E_UNSUPPORTED },
        { "{\"model_type\":\"glm\",\"partial_rotary_factor\":1.5}", "\"partial_rotary_factor\"",
          OM_E_CONFIG },
        { "{\"model_type\":\"smollm3\",\"num_hidden_layers\":2,\"no_rope_layers\":[1]}",
          "\"no_rope_layers\": expected a list of num_hidden_layers 2", OM_E_CONFIG },
        { "{\"model_type\":\"smollm3\",\"num_hidden_layers\":1,\"no_rope_layers\":[\"x\"]}",
          "\"no_rope_layers\": entry 0", OM_E_CONFIG },
        { "{\"model_type\":\"smollm3\",\"no_rope_layer_interval\":0}", "\"no_rope_layer_interval\"",
          OM_E_CONFIG },
        { "{\"model_type\":\"phi3\",\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1]}}",
          "\"rope_scaling.short_factor\"", OM_E_CONFIG },
        { "{\"model_type\":\"t5\",\"feed_forward_proj\":\"gated-\"}", "\"feed_forward_proj\"",
          OM_E_CONFIG },
        { "{\"model_type\":\"t5\",\"feed_forward_proj\":\"half-relu\"}",
          "\"feed_forward_proj\": unknown activation \"half-relu\"", OM_E_CONFIG },
        { "{\"model_type\":\"t5\",\"dense_act_fn\":\"nothing\"}",
          "\"dense_act_fn\": unknown activation \"nothing\"", OM_E_CONFIG },
        { "{\"model_type\":\"t5\",\"relative_attention_num_buckets\":3}",
          "\"relative_attention_num_buckets\"", OM_E_CONFIG },
        { "{\"model_type\":\"t5\",\"relative_attention_max_distance\":16}",
          "relative_attention_max_distance 16 is not above half", OM_E_CONFIG },
        { "{\"model_type\":\"t5\",\"relative_attention_max_distance\":1000000000}",
          "\"relative_attention_max_distance\"", OM_E_CONFIG },
        { "{\"model_type\":\"mt5\",\"tie_encoder_decoder\":true}", "\"tie_encoder_decoder\"",
          OM_E_UNSUPPORTED },
        { "{\"model_type\":\"bart\",\"tie_encoder_decoder\":true}", "\"tie_encoder_decoder\"",
          OM_E_UNSUPPORTED },
        { "{\"model_type\":\"bart\",\"activation_function\":\"prelu\"}", "\"activation_function\"",
          OM_E_UNSUPPORTED },
        { "{\"model_type\":\"mbart\",\"encoder_layers\":0}", "\"encoder_layers\"", OM_E_CONFIG },
        { "{\"model_type\":\"pegasus\",\"d_model\":30}",
          "d_model 30 is not a multiple of encoder_attention_heads 16", OM_E_CONFIG },
        { "{\"model_type\":\"marian\",\"decoder_attention_heads\":3}",
          "d_model 1024 is not a multiple of decoder_attention_heads 3", OM_E_CONFIG },
        { "{\"model_type\":\"m2m_100\",\"d_model\":2,\"encoder_attention_heads\":1,"
          "\"decoder_attention_heads\":1}",
          "d_model 2 has too few frequencies", OM_E_CONFIG },
        { "{\"model_type\":\"t5\",\"tie_encoder_decoder\":true}", "\"tie_encoder_decoder\"",
          OM_E_UNSUPPORTED },
        { "{\"model_type\":\"gpt_neo\",\"num_layers\":3}", "\"attention_types\": missing",
          OM_E_CONFIG },
        { "{\"model_type\":\"gpt_neo\",\"num_layers\":3,\"attention_types\":[[[\"global\"],2]]}",
          "\"attention_types\": of 2 layers", OM_E_CONFIG },
        { "{\"model_type\":\"gpt_neo\",\"num_layers\":3,\"attention_types\":"
          "[[[\"global\",\"local\"],2]]}",
          "\"attention_types\": more than the 3 layers", OM_E_CONFIG },
        { "{\"model_type\":\"gpt_neo\",\"num_layers\":1,\"attention_types\":"
          "[[[\"global\"],9223372036854775807]]}",
          "\"attention_types\": more than", OM_E_CONFIG },
        { "{\"model_type\":\"gpt_neo\",\"num_layers\":1,\"attention_types\":[[[\"far\"],1]]}",
          "found \"far\"", OM_E_CONFIG },
        { "{\"model_type\":\"gpt_neo\",\"num_layers\":1,\"attention_types\":[[[],1]]}",
          "\"attention_types\": expected pairs", OM_E_CONFIG },
        { "{\"model_type\":\"gpt_neo\",\"num_layers\":1,\"attention_types\":{}}",
          "\"attention_types\": expected a list", OM_E_CONFIG },
        { "{\"model_type\":\"gpt_neo\",\"num_layers\":1,\"attention_types\":[[[\"local\"],1]],"
          "\"attention_layers\":[]}",
          "\"attention_layers\"", OM_E_CONFIG },
        { "{\"model_type\":\"gpt_neo\",\"window_size\":0}", "\"window_size\"", OM_E_CONFIG },
        { "{\"model_type\":\"gptj\",\"rotary_dim\":3}", "\"rotary_dim\"", OM_E_CONFIG },
        { "{\"model_type\":\"gptj\",\"rotary_dim\":null}", "\"rotary_dim\"", OM_E_CONFIG },
        { "{\"model_type\":\"gptj\",\"rotary_dim\":1024}", "up to the head size 256", OM_E_CONFIG },
        { "{\"model_type\":\"codegen\",\"n_head\":2}", "\"n_head\": expected a multiple of 4",
          OM_E_CONFIG },
        { "{\"model_type\":\"gpt_bigcode\",\"add_cross_attention\":true}",
          "\"add_cross_attention\"", OM_E_UNSUPPORTED },
        { "{\"model_type\":\"gpt_neox\",\"rotary_pct\":0}", "\"rotary_pct\"", OM_E_CONFIG },
        { "{\"model_type\":\"gpt_neox\",\"hidden_size\":65}",
          "hidden_size 65 is not a multiple of num_attention_heads 64", OM_E_CONFIG },
        { "{\"model_type\":\"mpt\",\"attn_config\":{\"clip_qkv\":-1}}", "\"attn_config.clip_qkv\"",
          OM_E_CONFIG },
        { "{\"model_type\":\"mpt\",\"attn_config\":{\"softmax_scale\":0}}",
          "\"attn_config.softmax_scale\"", OM_E_UNSUPPORTED },
        { "{\"model_type\":\"falcon\",\"new_decoder_architecture\":true,\"parallel_attn\":false}",
          "\"parallel_attn\"", OM_E_UNSUPPORTED },
        { "{\"model_type\":\"falcon\",\"new_decoder_architecture\":true,"
          "\"num_ln_in_parallel_attn\":3}",
          "\"num_ln_in_parallel_attn\": 3", OM_E_UNSUPPORTED },
        { "{\"model_type\":\"falcon\",\"num_ln_in_parallel_attn\":2}",
          "\"num_ln_in_parallel_attn\": 2", OM_E_UNSUPPORTED },
        { "{\"model_type\":\"falcon\",\"multi_query\":false,\"num_kv_heads\":8}",
          "\"num_kv_heads\": 8", OM_E_UNSUPPORTED },
        { "{\"model_type\":\"falcon\",\"new_decoder_architecture\":true,\"num_kv_heads\":8}",
          "num_attention_heads 71 is not a multiple of the 8", OM_E_CONFIG },
        { "{\"model_type\":\"falcon\",\"partial_rotary_factor\":0.5}", "\"partial_rotary_factor\"",
          OM_E_UNSUPPORTED },
        { "{\"model_type\":\"phi\",\"rope_scaling\":{\"type\":\"x\"}}", "rope_type \"x\"",
          OM_E_UNSUPPORTED },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_arena a = OM_ARENA_INIT(1u << 20);
        struct om_error err = OM_ERROR_INIT;
        const struct om_arch *arch = NULL;
        void *cfg = NULL;

        test_case(t, "%s", cases[i].config);
        CHECK_INT(t, read(t, &a, cases[i].config, &arch, &cfg, &err), cases[i].rc);
        CHECK_HAS(t, om_error_text(&err), cases[i].message);
        CHECK_HAS(t, om_error_text(&err), "config.json");
        om_error_release(&err);
        om_arena_release(&a);
    }
}

/* The cache tells what was derived. */
static void derived(struct test *t)
{
    static const struct {
        const char *config;
        struct om_kv want;
    } cases[] = {
        { "{\"model_type\":\"gpt2\"}", { 12, 12, 64, 0 } },
        { "{\"model_type\":\"gpt2\",\"num_hidden_layers\":3,\"hidden_size\":20,"
          "\"num_attention_heads\":5}",
          { 3, 5, 4, 0 } },
        { "{\"model_type\":\"llama\"}", { 32, 32, 128, 0 } },
        { "{\"model_type\":\"llama\",\"num_key_value_heads\":4,\"head_dim\":null}",
          { 32, 4, 128, 0 } },
        { "{\"model_type\":\"llama\",\"num_key_value_heads\":null,\"head_dim\":16}",
          { 32, 32, 16, 0 } },
        { "{\"model_type\":\"mistral\"}", { 32, 8, 128, 0 } },
        { "{\"model_type\":\"mistral\",\"num_key_value_heads\":null}", { 32, 32, 128, 0 } },
        { "{\"model_type\":\"qwen2\"}", { 32, 32, 128, 0 } },
        { "{\"model_type\":\"qwen3\",\"hidden_size\":64}", { 32, 32, 128, 0 } },
        { "{\"model_type\":\"phi3\"}", { 32, 32, 96, 0 } },
        { "{\"model_type\":\"gemma\"}", { 28, 16, 256, 0 } },
        { "{\"model_type\":\"gemma2\"}", { 26, 4, 256, 0 } },
        { "{\"model_type\":\"gemma3_text\"}", { 26, 4, 256, 0 } },
        { "{\"model_type\":\"gemma3\",\"text_config\":{\"num_hidden_layers\":3}}",
          { 3, 4, 256, 0 } },
        { "{\"model_type\":\"olmo\"}", { 32, 32, 128, 0 } },
        { "{\"model_type\":\"granite\"}", { 32, 32, 128, 0 } },
        { "{\"model_type\":\"smollm3\"}", { 36, 4, 128, 0 } },
        { "{\"model_type\":\"smollm3\",\"num_hidden_layers\":2,\"no_rope_layers\":[true,0]}",
          { 2, 4, 128, 0 } },
        { "{\"model_type\":\"helium\"}", { 24, 20, 128, 0 } },
        { "{\"model_type\":\"cohere\"}", { 40, 64, 128, 0 } },
        { "{\"model_type\":\"glm\"}", { 40, 2, 128, 0 } },
        { "{\"model_type\":\"nemotron\",\"rope_scaling\":{\"type\":\"not looked at\"}}",
          { 32, 48, 128, 0 } },
        { "{\"model_type\":\"arcee\"}", { 32, 32, 80, 0 } },
        { "{\"model_type\":\"bloom\",\"n_embed\":24}", { 2, 8, 3, 0 } },
        { "{\"model_type\":\"falcon\"}", { 32, 1, 64, 0 } },
        { "{\"model_type\":\"falcon\",\"multi_query\":false}", { 32, 71, 64, 0 } },
        { "{\"model_type\":\"falcon\",\"multi_query\":false,\"num_attention_heads\":8,"
          "\"hidden_size\":64,\"new_decoder_architecture\":true,\"num_kv_heads\":2}",
          { 32, 2, 8, 0 } },
        { "{\"model_type\":\"gpt_bigcode\"}", { 12, 1, 64, 0 } },
        { "{\"model_type\":\"gpt_bigcode\",\"multi_query\":false}", { 12, 12, 64, 0 } },
        { "{\"model_type\":\"gpt_neo\"}", { 24, 16, 128, 0 } },
        { "{\"model_type\":\"gptj\",\"n_head\":1,\"n_embd\":8,\"rotary_dim\":null}",
          { 28, 1, 8, 0 } },
        { "{\"model_type\":\"mpt\",\"hidden_size\":32}", { 24, 16, 2, 0 } },
        { "{\"model_type\":\"opt\"}", { 12, 12, 64, 0 } },
        { "{\"model_type\":\"phi\",\"num_key_value_heads\":8}", { 24, 8, 64, 0 } },
        { "{\"model_type\":\"stablelm\"}", { 32, 32, 80, 0 } },
        { "{\"model_type\":\"t5\"}", { 6, 8, 64, 512 } },
        { "{\"model_type\":\"mt5\"}", { 8, 6, 64, 512 } },
        { "{\"model_type\":\"bart\"}", { 12, 16, 64, 1024 } },
        { "{\"model_type\":\"mbart\",\"hidden_size\":32,\"num_attention_heads\":2,"
          "\"decoder_attention_heads\":4}",
          { 12, 4, 8, 32 } },
        { "{\"model_type\":\"m2m_100\",\"decoder_layers\":3}", { 3, 16, 64, 1024 } },
        { "{\"model_type\":\"marian\"}", { 12, 16, 64, 1024 } },
        { "{\"model_type\":\"pegasus\"}", { 12, 16, 64, 1024 } },
        { "{\"model_type\":\"blenderbot\"}", { 24, 32, 80, 2560 } },
        { "{\"model_type\":\"blenderbot-small\"}", { 8, 16, 32, 512 } },
        { "{\"model_type\":\"t5\",\"num_layers\":2,\"num_decoder_layers\":null,\"d_kv\":3}",
          { 2, 8, 3, 512 } },
        { "{\"model_type\":\"t5\",\"num_layers\":2,\"num_decoder_layers\":5,\"d_model\":7}",
          { 5, 8, 64, 7 } },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_arena a = OM_ARENA_INIT(1u << 20);
        struct om_error err = OM_ERROR_INIT;
        const struct om_arch *arch = NULL;
        struct om_kv kv = { 0 };
        void *cfg = NULL;

        test_case(t, "%s", cases[i].config);
        CHECK_OK(t, read(t, &a, cases[i].config, &arch, &cfg, &err), &err);
        if (cfg)
            arch->kv(cfg, &kv);
        CHECK_INT(t, kv.layers, cases[i].want.layers);
        CHECK_INT(t, kv.heads, cases[i].want.heads);
        CHECK_INT(t, kv.head_dim, cases[i].want.head_dim);
        CHECK_INT(t, kv.hidden, cases[i].want.hidden);
        om_error_release(&err);
        om_arena_release(&a);
    }
}

const struct test_entry t_decoders[] = { { "refused", refused }, { "derived", derived }, TEST_END };
