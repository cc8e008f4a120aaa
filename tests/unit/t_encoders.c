/* tests/unit/t_encoders.c: configurations of encoders: what is refused with its key. */
#include "arch/arch.h"
#include "fixture.h"

static int read(struct test *t, struct om_arena *a, const char *text, struct om_error *err)
{
    const char *dir = test_tmpdir(t);
    struct om_config config;
    void *cfg;
    int rc;

    fixture_file(t, dir, "config.json", text);
    CHECK_OK(t, om_config_open(a, dir, &config, err), err);
    if (test_failed(t))
        return OM_E_INTERNAL;
    rc = om_arch_config(a, om_arch_find(config.model_type), &config, &cfg, err);
    om_config_close(&config);
    return rc;
}

static void refused(struct test *t)
{
    static const char *const types[] = { "bert", "roberta", "xlm-roberta", "camembert" };
    static const struct {
        const char *member, *message;
        int rc;
    } cases[] = {
        { "\"is_decoder\":true", "\"is_decoder\"", OM_E_UNSUPPORTED },
        { "\"add_cross_attention\":true", "\"add_cross_attention\"", OM_E_UNSUPPORTED },
        { "\"pruned_heads\":{\"0\":[1]}", "\"pruned_heads\"", OM_E_UNSUPPORTED },
        { "\"position_embedding_type\":\"rotary\"", "\"position_embedding_type\"",
          OM_E_UNSUPPORTED },
        { "\"hidden_act\":\"gleu\"", "\"hidden_act\"", OM_E_CONFIG },
        { "\"num_attention_heads\":7", "hidden_size 768 is not a multiple", OM_E_CONFIG },
        { "\"pruned_heads\":{}, \"is_decoder\":false", NULL, 0 },
    };

    for (size_t i = 0; i < OM_COUNT(types) * OM_COUNT(cases); i++) {
        const size_t k = i % OM_COUNT(cases);
        struct om_arena a = OM_ARENA_INIT(1u << 20);
        struct om_error err = OM_ERROR_INIT;
        const char *text = om_arena_printf(&a, "{\"model_type\":\"%s\",%s}",
                                           types[i / OM_COUNT(cases)], cases[k].member);

        test_case(t, "%s", text);
        CHECK_INT(t, read(t, &a, text, &err), cases[k].rc);
        if (cases[k].message)
            CHECK_HAS(t, om_error_text(&err), cases[k].message);
        om_error_release(&err);
        om_arena_release(&a);
    }
}

static void refused_distilbert(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;

    CHECK_INT(t, read(t, &a, "{\"model_type\":\"distilbert\",\"pruned_heads\":{\"2\":[0]}}", &err),
              OM_E_UNSUPPORTED);
    CHECK_HAS(t, om_error_text(&err), "\"pruned_heads\"");
    om_error_release(&err);
    om_arena_release(&a);
}

const struct test_entry t_encoders[] = { { "refused", refused },
                                         { "refused_distilbert", refused_distilbert },
                                         TEST_END };
