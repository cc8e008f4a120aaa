/* tests/fuzz/fuzz_generation.c: any generation_config.json either becomes settings within their
 * bounds, of which a copy is equal, or gives a message. */
#include "fuzz.h"
#include "gen/fields.h"
#include "gen/gen.h"

static void check_ids(const struct om_token_ids *t)
{
    for (size_t i = 0; i < t->len; i++)
        FUZZ_CHECK(t->ids[i] >= 0 && t->ids[i] <= INT32_MAX);
}

static void check_lists(const struct om_generation_config *c)
{
    check_ids(&c->eos_token_id);
    check_ids(&c->forced_eos_token_id);
    check_ids(&c->suppress_tokens);
    check_ids(&c->begin_suppress_tokens);
    for (size_t i = 0; i < c->n_bad_words; i++) {
        FUZZ_CHECK(c->bad_words[i].len > 0);
        check_ids(&c->bad_words[i]);
    }
    for (size_t i = 0; i < c->n_sequence_bias; i++) {
        FUZZ_CHECK(c->sequence_bias[i].tokens.len > 0);
        check_ids(&c->sequence_bias[i].tokens);
    }
    for (size_t i = 0; i < c->n_stop_strings; i++)
        FUZZ_CHECK(strlen(c->stop_strings[i]) > 0);
}

/* Settings that pass go through a plan and the processors. */
static void use(const struct om_generation_config *c)
{
    static const int64_t ids[] = { 1, 0, 3, 2, 3, 2, 1, 1 };
    const struct om_plan_input in = { .batch = 2, .length = 4, .ids = ids };
    struct om_error err = OM_ERROR_INIT;
    struct om_process *p = NULL;
    struct om_plan plan;
    float scores[6] = { 0, 1, -2, 3, -4, 2.5f };
    int rc = om_plan_make(NULL, c, &in, &plan, &err);

    if (rc == 0)
        rc = om_plan_lengths(NULL, &plan, 4, 100, &err);
    if (rc == 0) {
        plan.source = ids;
        plan.source_len = 4;
        rc = om_process_new(&plan, 6, &p, &err);
    }
    if (rc == 0)
        om_process_run(p, 1, ids + 4, 4, scores);
    FUZZ_CHECK(rc == 0 || om_error_text(&err)[0] != '\0');
    om_process_free(p);
    om_error_release(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    struct om_generation_config *c = NULL, *same = NULL;
    struct om_error err = OM_ERROR_INIT;

    if (om_generation_config_parse(NULL, NULL, (const char *)copy, size, &c, &err) < 0) {
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
    } else {
        check_lists(c);
        use(c);
        FUZZ_CHECK(om_generation_config_parse(NULL, c, "{}", 2, &same, &err) == 0);
        om_generation_config_free(c);
        check_lists(same);
    }
    om_generation_config_free(same);
    om_error_release(&err);
    free(copy);
    return 0;
}
