/* tests/unit/t_gen.c: generation: settings, processors on plain scores, searches on a model made of
 * arithmetic, stop strings and streams as Transformers has them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/json.h"
#include "gen/decoder.h"
#include "gen/fields.h"
#include "gen/gen.h"
#include "test.h"
#include "tools/mkckpt_lib.h"

/* ---- settings ---- */

static struct om_generation_config *parse(struct test *t, const struct om_generation_config *base,
                                          const char *json)
{
    struct om_generation_config *c = NULL;
    struct om_error err = OM_ERROR_INIT;

    CHECK_OK(t, om_generation_config_parse(NULL, base, json, strlen(json), &c, &err), &err);
    om_error_release(&err);
    return c;
}

static void settings(struct test *t)
{
    struct om_generation_config *c = parse(
        t, NULL,
        "{\"max_new_tokens\": 7.0, \"eos_token_id\": [1, 2], \"forced_eos_token_id\": 3,"
        " \"early_stopping\": \"never\", \"bad_words_ids\": [[4], [5, 6]], \"stop_strings\": \"x\","
        " \"sequence_bias\": [[[7, 8], -2.5]], \"exponential_decay_length_penalty\": [9, 1.5],"
        " \"temperature\": 1, \"do_sample\": true, \"unheard_of\": {\"a\": 1}}");
    struct om_generation_config *d;

    CHECK_INT(t, c->max_new_tokens, 7);
    CHECK_INT(t, c->max_length, 20);
    CHECK_INT(t, c->eos_token_id.len, 2);
    CHECK_INT(t, c->eos_token_id.ids[1], 2);
    CHECK_INT(t, c->forced_eos_token_id.ids[0], 3);
    CHECK_INT(t, c->early_stopping, OM_EARLY_STOPPING_NEVER);
    CHECK_INT(t, c->n_bad_words, 2);
    CHECK_INT(t, c->bad_words[1].ids[1], 6);
    CHECK_STR(t, c->stop_strings[0], "x");
    CHECK(t, c->sequence_bias[0].bias == -2.5 && c->sequence_bias[0].tokens.ids[1] == 8);
    CHECK_INT(t, c->exponential_decay_start, 9);
    CHECK(t, c->exponential_decay_factor == 1.5 && c->do_sample && c->temperature == 1);

    d = parse(t, c, "{\"eos_token_id\": null, \"top_k\": null, \"max_length\": 20}");
    om_generation_config_free(c); /* the copy stands alone */
    CHECK_INT(t, d->eos_token_id.len, 0);
    CHECK_INT(t, d->top_k, 0);
    CHECK(t, d->max_length_given);
    CHECK_INT(t, d->bad_words[1].ids[0], 5);
    CHECK_STR(t, d->stop_strings[0], "x");
    CHECK_INT(t, d->sequence_bias[0].tokens.ids[0], 7);
    om_generation_config_free(d);
}

static void refused_settings(struct test *t)
{
    static const struct {
        const char *json, *says;
        int code;
    } cases[] = {
        { "[]", "expected an object, found array", OM_E_CONFIG },
        { "{\"max_length\": ", "line 1", OM_E_FORMAT },
        { "{\"max_new_tokens\": 0}", "key \"max_new_tokens\": expected 1 to", OM_E_CONFIG },
        { "{\"num_beams\": \"4\"}", "key \"num_beams\": expected an integer, found string",
          OM_E_CONFIG },
        { "{\"num_beams\": 4.5}", "expected an integer", OM_E_CONFIG },
        { "{\"top_p\": \"x\"}", "key \"top_p\": expected a number", OM_E_CONFIG },
        { "{\"top_p\": NaN}", "key \"top_p\"", OM_E_CONFIG },
        { "{\"temperature\": Infinity}", "key \"temperature\"", OM_E_CONFIG },
        { "{\"early_stopping\": \"always\"}", "a boolean or \"never\"", OM_E_CONFIG },
        { "{\"eos_token_id\": [1, \"2\"]}", "a list of integers", OM_E_CONFIG },
        { "{\"eos_token_id\": -1}", "expected a token, found -1", OM_E_CONFIG },
        { "{\"eos_token_id\": 1e300}", "an integer or a list", OM_E_CONFIG },
        { "{\"bad_words_ids\": []}", "that is not empty", OM_E_CONFIG },
        { "{\"bad_words_ids\": [[1], []]}", "element 1: expected a list", OM_E_CONFIG },
        { "{\"sequence_bias\": [[1, 2]]}", "element 0", OM_E_CONFIG },
        { "{\"sequence_bias\": {\"(1,)\": 2.0}}", "key \"sequence_bias\"", OM_E_CONFIG },
        { "{\"stop_strings\": [\"\"]}", "a string that is not empty", OM_E_CONFIG },
        { "{\"exponential_decay_length_penalty\": [1]}", "[first token, factor]", OM_E_CONFIG },
        { "{\"num_beam_groups\": 2}", "key \"num_beam_groups\" is not supported",
          OM_E_UNSUPPORTED },
        { "{\"penalty_alpha\": 0.6}", "penalty_alpha", OM_E_UNSUPPORTED },
        { "{\"guidance_scale\": 1.5}", "guidance_scale", OM_E_UNSUPPORTED },
        { "{\"force_words_ids\": [[1]]}", "force_words_ids", OM_E_UNSUPPORTED },
        { "{\"watermarking_config\": {}}", "watermarking_config", OM_E_UNSUPPORTED },
        { "{\"token_healing\": true}", "token_healing", OM_E_UNSUPPORTED },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_generation_config *c = NULL;
        struct om_error err = OM_ERROR_INIT;

        test_case(t, "%s", cases[i].json);
        CHECK_INT(
            t,
            om_generation_config_parse(NULL, NULL, cases[i].json, strlen(cases[i].json), &c, &err),
            cases[i].code);
        CHECK_HAS(t, om_error_text(&err), cases[i].says);
        CHECK(t, c == NULL);
        om_error_release(&err);
    }
}

/* Values that leave a key off are fine. */
static void harmless_settings(struct test *t)
{
    om_generation_config_free(
        parse(t, NULL,
              "{\"num_beam_groups\": 1, \"penalty_alpha\": 0.0, \"guidance_scale\": 1.0,"
              " \"constraints\": null, \"token_healing\": false, \"diversity_penalty\": 0.0}"));
}

static void filling(struct test *t)
{
    static const int64_t eos = 4, own = 5;
    struct om_generation_config c = OM_GENERATION_CONFIG_INIT, from = OM_GENERATION_CONFIG_INIT;

    c.num_beams = 3;
    c.eos_token_id = (struct om_token_ids){ &own, 1 };
    from.num_beams = 4;
    from.max_length = 30;
    from.exponential_decay_start = 2;
    from.exponential_decay_factor = 1.25;
    from.eos_token_id = (struct om_token_ids){ &eos, 1 };
    from.suppress_tokens = (struct om_token_ids){ &eos, 1 };
    om_generation_config_fill(&c, &from);
    CHECK_INT(t, c.num_beams, 3);
    CHECK_INT(t, c.max_length, 30);
    CHECK_INT(t, c.eos_token_id.ids[0], 5);
    CHECK_INT(t, c.suppress_tokens.ids[0], 4);
    CHECK(t, c.exponential_decay_start == 2 && c.exponential_decay_factor == 1.25);
}

/* ---- the plan ---- */

static int plan_of(const char *json, bool seq2seq, size_t length, struct om_plan *plan,
                   struct om_generation_config **c, struct om_error *err)
{
    static const int64_t ids[64] = { 0 };
    const struct om_plan_input in = {
        .seq2seq = seq2seq, .batch = 1, .length = length, .ids = ids
    };

    OM_TRY(om_generation_config_parse(NULL, NULL, json, strlen(json), c, err));
    OM_TRY(om_plan_make(NULL, *c, &in, plan, err));
    return om_plan_lengths(NULL, plan, seq2seq ? 1 : length, 40, err);
}

static void plans(struct test *t)
{
    static const struct {
        const char *json;
        bool seq2seq;
        size_t length, max_length, width;
        int64_t min_length, pad, start;
        const char *says; /* of a refusal */
    } cases[] = {
        { "{}", false, 5, 25, 1, 0, -1, -1, NULL },
        { "{}", false, 30, 40, 1, 0, -1, -1, NULL }, /* no further than the model goes */
        { "{\"max_length\": 20}", false, 5, 20, 1, 0, -1, -1, NULL },
        { "{\"max_length\": 50}", false, 5, 50, 1, 0, -1, -1, NULL },
        { "{\"max_new_tokens\": 3, \"max_length\": 50}", false, 5, 8, 1, 0, -1, -1, NULL },
        { "{\"min_new_tokens\": 3, \"eos_token_id\": [7, 8]}", false, 5, 25, 1, 8, 7, -1, NULL },
        { "{\"eos_token_id\": 7, \"pad_token_id\": 2}", false, 1, 21, 1, 0, 2, -1, NULL },
        { "{\"num_beams\": 3, \"num_return_sequences\": 2}", false, 1, 21, 3, 0, -1, -1, NULL },
        { "{\"do_sample\": true, \"num_return_sequences\": 2}", false, 1, 21, 2, 0, -1, -1, NULL },
        { "{\"decoder_start_token_id\": 6, \"bos_token_id\": 5}", true, 9, 21, 1, 0, -1, 6, NULL },
        { "{\"bos_token_id\": 5}", true, 9, 21, 1, 0, -1, 5, NULL },
        { "{\"bos_token_id\": 5}", false, 0, 20, 1, 0, -1, 5, NULL },
        { .json = "{}", .length = 0, .says = "no bos_token_id" },
        { .json = "{}", .seq2seq = true, .length = 1, .says = "decoder_start_token_id" },
        { .json = "{\"max_length\": 4}", .length = 4, .says = "max_length is 4" },
        { .json = "{\"num_return_sequences\": 2}", .length = 1, .says = "without beams" },
        { .json = "{\"num_beams\": 2, \"num_return_sequences\": 3}",
          .length = 1,
          .says = "expected num_beams (2) at most, found 3" },
        { .json = "{\"repetition_penalty\": 0}", .length = 1, .says = "repetition_penalty" },
        { .json = "{\"do_sample\": true, \"temperature\": 0}",
          .length = 1,
          .says = "temperature: expected more than 0" },
        { .json = "{\"do_sample\": true, \"top_p\": 1.5}", .length = 1, .says = "top_p" },
        { .json = "{\"do_sample\": true, \"min_p\": 1.5}", .length = 1, .says = "min_p" },
        { .json = "{\"do_sample\": true, \"typical_p\": 0}", .length = 1, .says = "typical_p" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_generation_config *c = NULL;
        struct om_error err = OM_ERROR_INIT;
        struct om_plan p;
        int rc;

        test_case(t, "%s, %zu", cases[i].json, cases[i].length);
        rc = plan_of(cases[i].json, cases[i].seq2seq, cases[i].length, &p, &c, &err);
        CHECK_INT(t, rc, cases[i].says ? OM_E_USAGE : 0);
        if (cases[i].says) {
            CHECK_HAS(t, om_error_text(&err), cases[i].says);
        } else if (rc == 0) {
            CHECK_INT(t, p.max_length, cases[i].max_length);
            CHECK_INT(t, p.width, cases[i].width);
            CHECK_INT(t, p.c.min_length, cases[i].min_length);
            CHECK_INT(t, p.pad, cases[i].pad);
            CHECK_INT(t, p.decoder_start, cases[i].start);
        }
        om_generation_config_free(c);
        om_error_release(&err);
    }
}

/* ---- processors ---- */

enum { VOCAB = 8 };
#define INF INFINITY

/* A sequence [1, 2, 3, 2] whose prompt is [1, 2], with [5, 3, 2] given to the model. */
static void processors(struct test *t)
{
    static const int64_t ids[] = { 1, 2, 3, 2 }, source[] = { 5, 3, 2 };
    static const float scores[VOCAB] = { 0, 1, -2, 3, -4, 5, 0.5f, 2 };
    static const struct {
        const char *json;
        float want[VOCAB];
    } cases[] = {
        { "{}", { 0, 1, -2, 3, -4, 5, 0.5f, 2 } },
        { "{\"sequence_bias\": [[[0], 1.0], [[3, 2, 4], 2.0], [[1, 2, 4], 9.0], [[2, 5], -5.0]]}",
          { 1, 1, -2, 3, -2, 0, 0.5f, 2 } },
        { "{\"sequence_bias\": [[[0], 1.0], [[1], 1.0], [[0], 2.0]]}",
          { 2, 2, -2, 3, -4, 5, 0.5f, 2 } },
        { "{\"repetition_penalty\": 2.0}", { 0, 0.5f, -4, 1.5f, -4, 5, 0.5f, 2 } },
        { "{\"encoder_repetition_penalty\": 2.0}", { 0, 1, -1, 6, -4, 10, 0.5f, 2 } },
        { "{\"no_repeat_ngram_size\": 1}", { 0, -INF, -INF, -INF, -4, 5, 0.5f, 2 } },
        { "{\"no_repeat_ngram_size\": 2}", { 0, 1, -2, -INF, -4, 5, 0.5f, 2 } },
        { "{\"no_repeat_ngram_size\": 9}", { 0, 1, -2, 3, -4, 5, 0.5f, 2 } },
        { "{\"encoder_no_repeat_ngram_size\": 2}", { 0, 1, -2, 3, -4, 5, 0.5f, 2 } },
        { "{\"encoder_no_repeat_ngram_size\": 1}", { 0, 1, -INF, -INF, -4, -INF, 0.5f, 2 } },
        { "{\"bad_words_ids\": [[0], [7], [3, 2, 5], [1, 6]], \"eos_token_id\": 7}",
          { -INF, 1, -2, 3, -4, -INF, 0.5f, 2 } },
        { "{\"min_length\": 5, \"eos_token_id\": [3, 5]}", { 0, 1, -2, -INF, -4, -INF, 0.5f, 2 } },
        { "{\"min_length\": 4, \"eos_token_id\": [3, 5]}", { 0, 1, -2, 3, -4, 5, 0.5f, 2 } },
        { "{\"min_new_tokens\": 3, \"eos_token_id\": 3}", { 0, 1, -2, -INF, -4, 5, 0.5f, 2 } },
        { "{\"min_new_tokens\": 2, \"eos_token_id\": 3}", { 0, 1, -2, 3, -4, 5, 0.5f, 2 } },
        { "{\"forced_bos_token_id\": 3}", { 0, 1, -2, 3, -4, 5, 0.5f, 2 } },
        { "{\"forced_eos_token_id\": [3, 4]}",
          { -INF, -INF, -INF, 0, 0, -INF, -INF, -INF } }, /* max_length is 5 */
        { "{\"exponential_decay_length_penalty\": [0, 2.0], \"eos_token_id\": [2, 3]}",
          { 0, 1, 4, 12, -4, 5, 0.5f, 2 } },
        { "{\"exponential_decay_length_penalty\": [2, 2.0], \"eos_token_id\": [2, 3]}",
          { 0, 1, -2, 3, -4, 5, 0.5f, 2 } },
        { "{\"suppress_tokens\": [0, 1, 99]}", { -INF, -INF, -2, 3, -4, 5, 0.5f, 2 } },
        { "{\"begin_suppress_tokens\": [0, 1]}", { 0, 1, -2, 3, -4, 5, 0.5f, 2 } },
        { "{\"temperature\": 0.5}", { 0, 1, -2, 3, -4, 5, 0.5f, 2 } }, /* not without sampling */
        { "{\"do_sample\": true, \"temperature\": 0.5, \"top_k\": 0}",
          { 0, 2, -4, 6, -8, 10, 1, 4 } },
        { "{\"do_sample\": true, \"top_k\": 3}", { -INF, -INF, -INF, 3, -INF, 5, -INF, 2 } },
        { "{\"do_sample\": true, \"top_k\": 0, \"top_p\": 0.9}",
          { -INF, -INF, -INF, 3, -INF, 5, -INF, -INF } },
        { "{\"do_sample\": true, \"top_k\": 0, \"top_p\": 0.0}",
          { -INF, -INF, -INF, -INF, -INF, 5, -INF, -INF } },
        { "{\"do_sample\": true, \"top_k\": 0, \"min_p\": 0.1}",
          { -INF, -INF, -INF, 3, -INF, 5, -INF, -INF } },
        { "{\"do_sample\": true, \"top_k\": 0, \"epsilon_cutoff\": 0.04}",
          { -INF, -INF, -INF, 3, -INF, 5, -INF, 2 } },
        { "{\"do_sample\": true, \"top_k\": 0, \"epsilon_cutoff\": 0.99}",
          { -INF, -INF, -INF, -INF, -INF, 5, -INF, -INF } },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_generation_config *c = parse(t, NULL, cases[i].json);
        struct om_plan plan = { .c = *c,
                                .batch = 1,
                                .width = 1,
                                .prompt = 2,
                                .max_length = 5,
                                .source = source,
                                .source_len = OM_COUNT(source) };
        struct om_error err = OM_ERROR_INIT;
        struct om_process *p = NULL;
        float got[VOCAB];

        test_case(t, "%s", cases[i].json);
        memcpy(got, scores, sizeof(got));
        CHECK_OK(t, om_process_new(&plan, VOCAB, &p, &err), &err);
        for (int again = 0; again < 2; again++) { /* nothing stays behind */
            memcpy(got, scores, sizeof(got));
            om_process_run(p, 0, ids, OM_COUNT(ids), got);
        }
        for (size_t v = 0; v < VOCAB; v++)
            test_check(t, got[v] == cases[i].want[v], __FILE__, __LINE__,
                       "score %zu: got %g, want %g", v, (double)got[v], (double)cases[i].want[v]);
        om_process_free(p);
        om_generation_config_free(c);
        om_error_release(&err);
    }
}

/* What happens at the first token. */
static void first_token(struct test *t)
{
    static const int64_t ids[] = { 1 };
    static const struct {
        const char *json;
        float want[4];
    } cases[] = {
        { "{\"forced_bos_token_id\": 2}", { -INF, -INF, 0, -INF } },
        { "{\"begin_suppress_tokens\": [2]}", { 1, 2, -INF, 4 } },
        { "{\"begin_suppress_tokens\": [2], \"forced_bos_token_id\": 2}", { -INF, -INF, 0, -INF } },
        { "{\"remove_invalid_values\": true, \"suppress_tokens\": [1]}", { 1, -INF, 3, 4 } },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_generation_config *c = parse(t, NULL, cases[i].json);
        struct om_plan plan = { .c = *c, .batch = 1, .width = 1, .prompt = 1, .max_length = 9 };
        struct om_process *p = NULL;
        float got[4] = { 1, 2, 3, 4 };

        test_case(t, "%s", cases[i].json);
        CHECK_INT(t, om_process_new(&plan, 4, &p, NULL), 0);
        om_process_run(p, 0, ids, 1, got);
        for (size_t v = 0; v < 4; v++)
            CHECK(t, got[v] == cases[i].want[v]);
        om_process_free(p);
        om_generation_config_free(c);
    }
}

static int descending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;

    return x > y ? -1 : x < y;
}

static void selection(struct test *t)
{
    struct om_random r;
    float x[100], sorted[100];

    om_random_seed(&r, 1);
    for (size_t round = 0; round < 200; round++) {
        const size_t n = 1 + round % OM_COUNT(x), k = 1 + (size_t)(om_random_real(&r) * (double)n);

        for (size_t i = 0; i < n; i++) /* many are equal, some are no numbers to speak of */
            x[i] = round % 7 == 0 ? -INF : floorf((float)om_random_real(&r) * 20);
        memcpy(sorted, x, n * sizeof(*x));
        qsort(sorted, n, sizeof(*sorted), descending);
        test_case(t, "%zu of %zu", k, n);
        CHECK(t, om_kth_largest(x, n, k) == sorted[k - 1]);
    }
}

static void chance(struct test *t)
{
    static const float scores[] = { 0, 1, -INF, 2 };
    struct om_random r, same;
    size_t seen[4] = { 0 };
    double sum = 0;

    om_random_seed(&r, 42);
    om_random_seed(&same, 42);
    for (int i = 0; i < 20000; i++) {
        const size_t pick = om_random_pick(&r, scores, 4);

        CHECK_INT(t, om_random_pick(&same, scores, 4), pick);
        seen[pick]++;
    }
    for (size_t i = 0; i < 4; i++)
        sum += exp((double)scores[i]);
    for (size_t i = 0; i < 4; i++)
        CHECK(t, fabs((double)seen[i] / 20000 - exp((double)scores[i]) / sum) < 0.015);
    CHECK_INT(t, seen[2], 0);
    om_random_seed(&same, 43);
    CHECK(t, om_random_real(&r) != om_random_real(&same));
}

/* ---- searches ---- */

enum { TOY = 5, TOY_ROWS = 200, TOY_LEN = 16 };

/* A model whose logits follow from the last two ids. It remembers its rows as a cache would, and
 * says so when they are not the ones it is asked about. */
struct toy {
    int64_t rows[TOY_ROWS][TOY_LEN];
    size_t n, len;
    bool broken;
    float logits[TOY_ROWS * TOY];
};

static void toy_logits(const int64_t *ids, size_t len, float *out)
{
    const int64_t a = ids[len - 1], b = len > 1 ? ids[len - 2] : 7;

    for (int64_t v = 0; v < TOY; v++)
        out[v] = (float)((a * 31 + b * 17 + v * v * 13 + v * a * 5) % 23) / 5;
}

static int toy_step(void *user, const struct om_seqs *q, struct om_logits *out,
                    struct om_error *err)
{
    struct toy *m = user;

    (void)err;
    m->broken |= q->rows > TOY_ROWS || q->len > TOY_LEN || (m->len && q->rows != m->n);
    for (size_t r = 0; r < q->rows && !m->broken; r++) {
        m->broken |= memcmp(m->rows[r], om_seqs_row(q, r), m->len * sizeof(int64_t)) != 0;
        memcpy(m->rows[r], om_seqs_row(q, r), q->len * sizeof(int64_t));
        toy_logits(m->rows[r], q->len, m->logits + r * TOY);
    }
    m->n = q->rows;
    m->len = q->len;
    *out = (struct om_logits){ m->logits, q->rows, TOY, TOY };
    return 0;
}

static int toy_select(void *user, const uint32_t *rows, size_t n, struct om_error *err)
{
    struct toy *m = user;
    struct toy *old = malloc(sizeof(*old));

    if (!old)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    *old = *m;
    m->broken |= n > TOY_ROWS;
    for (size_t i = 0; i < n && !m->broken; i++) {
        m->broken |= rows[i] >= old->n;
        memcpy(m->rows[i], old->rows[rows[i] % TOY_ROWS], sizeof(m->rows[i]));
    }
    m->n = n;
    free(old);
    return 0;
}

static int search(const char *json, const int64_t *prompt, size_t batch, size_t len, uint64_t seed,
                  struct om_generated *out, bool *broken, struct om_error *err)
{
    struct toy *toy = calloc(1, sizeof(*toy));
    const struct om_decoder decoder = { toy_step, toy_select, toy };
    const struct om_plan_input in = { .batch = batch, .length = len, .ids = prompt };
    struct om_generation_config *c = NULL;
    struct om_plan plan = { .batch = 0 };
    struct om_search s = { .plan = &plan, .decoder = &decoder, .prompt = prompt, .seed = seed };
    int rc = toy ? om_generation_config_parse(NULL, NULL, json, strlen(json), &c, err) : OM_E_NOMEM;

    if (rc == 0)
        rc = om_plan_make(NULL, c, &in, &plan, err);
    if (rc == 0)
        rc = om_plan_lengths(NULL, &plan, len, -1, err);
    if (rc == 0)
        rc = om_stop_new(&plan, NULL, &s.stop, err);
    if (rc == 0)
        rc = plan.c.num_beams > 1 ? om_search_beams(&s, out, err) : om_search_sample(&s, out, err);
    *broken = toy && toy->broken;
    om_stop_free(s.stop);
    om_search_release(&s);
    om_generation_config_free(c);
    free(toy);
    return rc;
}

static void release(struct om_generated *g)
{
    free((void *)(uintptr_t)g->ids);
    free((void *)(uintptr_t)g->beam_indices);
    free((void *)(uintptr_t)g->sequence_scores);
    *g = (struct om_generated){ 0 };
}

static double log_probability(const int64_t *ids, size_t prompt, size_t len)
{
    double sum = 0;

    for (size_t i = prompt; i < len; i++) {
        float x[TOY];

        toy_logits(ids, i, x);
        om_log_softmax(x, TOY, x);
        sum += (double)x[ids[i]];
    }
    return sum;
}

/* With as many beams as there are sequences, a beam search finds the best of all. */
static void exhaustive(struct test *t)
{
    static const int64_t prompt[] = { 1, 3, 0, 4 };
    struct om_generated g = { 0 };
    struct om_error err = OM_ERROR_INIT;
    bool broken = false;

    CHECK_OK(t,
             search("{\"num_beams\": 25, \"max_new_tokens\": 3, \"length_penalty\": 0.0,"
                    " \"num_return_sequences\": 2}",
                    prompt, 2, 2, 0, &g, &broken, &err),
             &err);
    CHECK(t, !broken);
    CHECK_INT(t, g.rows, 4);
    for (size_t item = 0; item < 2 && g.ids; item++) {
        int64_t ids[5] = { prompt[item * 2], prompt[item * 2 + 1] };
        double best = -INF;

        for (int64_t k = 0; k < TOY * TOY * TOY; k++) {
            ids[2] = k % TOY;
            ids[3] = k / TOY % TOY;
            ids[4] = k / TOY / TOY;
            best = fmax(best, log_probability(ids, 2, 5));
        }
        CHECK(t, fabs((double)g.sequence_scores[item * 2] - best) < 1e-5);
        CHECK(t, fabs(log_probability(g.ids + item * 2 * g.length, 2, 5) - best) < 1e-5);
        CHECK(t, g.sequence_scores[item * 2 + 1] <= g.sequence_scores[item * 2]);
    }
    release(&g);
    om_error_release(&err);
}

/* Rows of the model stay those of the sequences, whatever happens to them; a row's own score is its
 * probability. */
static void consistent(struct test *t)
{
    static const int64_t prompt[] = { 1, 3, 0, 4, 2, 2 };
    static const char *const cases[] = {
        "{\"max_new_tokens\": 9}",
        "{\"max_new_tokens\": 9, \"eos_token_id\": [1, 2]}",
        "{\"max_new_tokens\": 9, \"do_sample\": true, \"num_return_sequences\": 7}",
        "{\"max_new_tokens\": 9, \"num_beams\": 2, \"eos_token_id\": 1}",
        "{\"max_new_tokens\": 9, \"num_beams\": 4, \"num_return_sequences\": 4}",
        "{\"max_new_tokens\": 9, \"num_beams\": 3, \"eos_token_id\": [0, 1], \"early_stopping\": "
        "true}",
        "{\"max_new_tokens\": 9, \"num_beams\": 3, \"eos_token_id\": 0, \"early_stopping\": "
        "\"never\"}",
        "{\"max_new_tokens\": 9, \"num_beams\": 3, \"do_sample\": true, \"top_k\": 4}",
        "{\"max_new_tokens\": 9, \"num_beams\": 2, \"length_penalty\": 0.0}",
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++)
        for (size_t batch = 1; batch <= 3; batch++) {
            struct om_generated g = { 0 };
            struct om_error err = OM_ERROR_INIT;
            bool broken = false;

            test_case(t, "%s, %zu", cases[i], batch);
            CHECK_OK(t,
                     search(cases[i], prompt, batch, 6 / batch > 3 ? 2 : 6 / batch, 9, &g, &broken,
                            &err),
                     &err);
            CHECK(t, !broken);
            if (strstr(cases[i], "\"length_penalty\": 0.0"))
                for (size_t r = 0; r < g.rows; r++)
                    CHECK(t, fabs(log_probability(g.ids + r * g.length, g.length - 9, g.length) -
                                  (double)g.sequence_scores[r]) < 1e-4);
            release(&g);
            om_error_release(&err);
        }
}

static void seeds(struct test *t)
{
    static const int64_t prompt[] = { 1 };
    struct om_generated g[3] = { { 0 } };
    struct om_error err = OM_ERROR_INIT;
    bool broken = false;

    for (size_t i = 0; i < 3; i++)
        CHECK_OK(t,
                 search("{\"max_new_tokens\": 12, \"do_sample\": true}", prompt, 1, 1, i / 2, &g[i],
                        &broken, &err),
                 &err);
    CHECK(t, memcmp(g[0].ids, g[1].ids, 13 * sizeof(int64_t)) == 0);
    CHECK(t, memcmp(g[0].ids, g[2].ids, 13 * sizeof(int64_t)) != 0);
    for (size_t i = 0; i < 3; i++)
        release(&g[i]);
    om_error_release(&err);
}

static void refused_searches(struct test *t)
{
    static const int64_t prompt[] = { 1 };
    static const struct {
        const char *json, *says;
    } cases[] = {
        { "{\"stop_strings\": [\"x\"]}", "no tokenizer to find \"x\"" },
        { "{\"forced_bos_token_id\": 5}", "vocabulary has 5 tokens, found 5" },
        { "{\"bad_words_ids\": [[1, 9]]}", "bad_words_ids: the model's vocabulary" },
        { "{\"num_beams\": 4, \"eos_token_id\": [1, 2, 3, 4, 0]}", "24 continuations" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_generated g = { 0 };
        struct om_error err = OM_ERROR_INIT;
        bool broken = false;

        test_case(t, "%s", cases[i].json);
        CHECK_INT(t, search(cases[i].json, prompt, 1, 1, 0, &g, &broken, &err), OM_E_USAGE);
        CHECK_HAS(t, om_error_text(&err), cases[i].says);
        release(&g);
        om_error_release(&err);
    }
}

/* ---- text ---- */

/* Lines of a file below tests/data/generation that name a tokenizer. */
typedef void line_fn(struct test *t, const struct om_json *line, const struct om_tokenizer *tok);

static void each_line(struct test *t, const char *file, line_fn *fn)
{
    struct om_arena a = OM_ARENA_INIT(16u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok = NULL;
    char open[64] = "";
    size_t n = 0;
    om_sv rest = { NULL, 0 }, text;

    CHECK_OK(t, om_file_read(&a, test_data(t, file), 1u << 20, &rest, &err), &err);
    while (om_sv_split(&rest, '\n', &text) && text.len) {
        struct om_json *line = NULL;
        om_sv name = { "", 0 };

        test_case(t, "line %zu", ++n);
        CHECK_OK(t, om_json_parse(text, OM_JSON_LAST_WINS, &line, &err), &err);
        om_json_str(om_json_get(line, "tokenizer"), &name);
        if (!om_sv_is(name, open)) {
            om_tokenizer_free(tok);
            tok = NULL;
            snprintf(open, sizeof(open), "%.*s", OM_SV(name));
            CHECK_OK(t,
                     om_tokenizer_open(test_data(t, om_arena_printf(&a, "tokenizers/%s", open)),
                                       &tok, &err),
                     &err);
        }
        if (tok)
            fn(t, line, tok);
        om_json_free(line);
    }
    CHECK(t, n > 20);
    om_tokenizer_free(tok);
    om_error_release(&err);
    om_arena_release(&a);
}

static size_t read_ids(const struct om_json *line, const char *key, int64_t *ids, size_t max)
{
    const struct om_json *list = om_json_get(line, key);
    const size_t n = OM_MIN(om_json_len(list), max);

    for (size_t i = 0; i < n; i++)
        om_json_i64(om_json_at(list, i), &ids[i]);
    return n;
}

static void stops_as_recorded(struct test *t, const struct om_json *line,
                              const struct om_tokenizer *tok)
{
    const struct om_json *list = om_json_get(line, "stop");
    struct om_plan plan = { .c = OM_GENERATION_CONFIG_INIT, .max_length = 4096 };
    struct om_error err = OM_ERROR_INIT;
    struct om_stop *stop = NULL;
    const char *strings[4];
    int64_t ids[512], hits[512];
    const size_t n = read_ids(line, "ids", ids, 512), n_hits = read_ids(line, "hits", hits, 512);
    size_t next = 0;

    for (size_t i = 0; i < om_json_len(list) && i < OM_COUNT(strings); i++) {
        om_sv s = { "", 0 };

        om_json_str(om_json_at(list, i), &s);
        strings[i] = s.ptr; /* NUL-terminated in the document */
        plan.c.n_stop_strings++;
    }
    plan.c.stop_strings = strings;
    CHECK_OK(t, om_stop_new(&plan, tok, &stop, &err), &err);
    for (size_t len = 1; stop && len <= n; len++) {
        const bool want = next < n_hits && hits[next] == (int64_t)len;
        bool got = false;

        CHECK_OK(t, om_stop_check(stop, ids, len, &got, &err), &err);
        test_check(t, got == want, __FILE__, __LINE__, "\"%s\" after %zu tokens: %s", strings[0],
                   len, got ? "found" : "not found");
        next += want;
    }
    om_stop_free(stop);
    om_error_release(&err);
}

static void stop_strings(struct test *t)
{
    each_line(t, "generation/stop_strings.jsonl", stops_as_recorded);
}

struct listener {
    struct test *t;
    const struct om_json *pieces;
    size_t n, total;
};

static bool listen(void *user, const struct om_stream_piece *piece)
{
    struct listener *l = user;
    om_sv want = { "", 0 };

    om_json_str(om_json_at(l->pieces, l->n++), &want);
    test_check(l->t, om_sv_eq((om_sv){ piece->text, piece->text_len }, want), __FILE__, __LINE__,
               "piece %zu is \"%s\" in place of \"%.*s\"", l->n, piece->text, OM_SV(want));
    CHECK_INT(l->t, piece->last, l->n == l->total);
    CHECK_INT(l->t, strlen(piece->text), piece->text_len);
    return true;
}

static void streams_as_recorded(struct test *t, const struct om_json *line,
                                const struct om_tokenizer *tok)
{
    const struct om_decode_opts decode = { sizeof(decode), true, false };
    const struct om_plan plan = { .c = OM_GENERATION_CONFIG_INIT, .batch = 1, .width = 1 };
    struct om_generate_opts o = OM_GENERATE_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct om_stream *stream = NULL;
    int64_t ids[512];
    const size_t n = read_ids(line, "ids", ids, 512);
    struct listener l = { t, om_json_get(line, "pieces"), 0, n };

    o.tokenizer = tok;
    o.stream = listen;
    o.stream_user = &l;
    o.stream_decode = &decode;
    CHECK_OK(t, om_stream_new(&plan, &o, &stream, &err), &err);
    for (size_t i = 0; stream && i < n; i++) {
        bool go_on = false;

        CHECK_OK(t, om_stream_put(stream, 0, ids[i], i + 1 == n, &go_on, &err), &err);
        CHECK(t, go_on);
    }
    om_stream_free(stream);
    om_error_release(&err);
}

static void streams(struct test *t)
{
    each_line(t, "generation/streams.jsonl", streams_as_recorded);
}

/* ---- with models ---- */

static bool has_ort(struct test *t)
{
    const char *must = getenv("OM_REQUIRE_ORT");
    struct om_error err = OM_ERROR_INIT;
    const bool has = om_ort_version(NULL, NULL, &err) == 0;

    if (!has && must && strcmp(must, "1") == 0)
        test_check(t, false, __FILE__, __LINE__, "%s", om_error_text(&err));
    else if (!has)
        test_skip(t, "no ONNX Runtime");
    om_error_release(&err);
    return has;
}

static const char *path_in(struct om_arena *a, struct test *t, const char *name)
{
    return om_path_join(a, test_tmpdir(t), name);
}

/* A checkpoint of a golden, exported into the test's directory "out". */
static struct om_model *model_of(struct test *t, struct om_arena *a, const char *golden,
                                 enum om_model_class class)
{
    struct om_model_opts o = OM_MODEL_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct om_model *m = NULL;

    o.model = path_in(a, t, "ckpt");
    o.model_class = class;
    o.do_export = true;
    o.export_dir = path_in(a, t, "out");
    CHECK_OK(t,
             mkckpt_run(test_data(t, golden), o.model, &(const struct mkckpt_opts)MKCKPT_OPTS_INIT,
                        &err),
             &err);
    CHECK_OK(t, om_model_open(NULL, &o, &m, &err), &err);
    om_error_release(&err);
    return m;
}

static void write_file(struct test *t, const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    CHECK(t, f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* What config.json and generation_config.json say, and which of them counts. */
static void model_settings(struct test *t)
{
    static const struct {
        const char *config, *own; /* members of config.json; generation_config.json or NULL */
        int64_t eos, forced_eos, pad, beams, max_length;
    } cases[] = {
        { "", NULL, 50256, -1, -1, 1, 20 }, /* the class' own */
        { "\"eos_token_id\": null,", NULL, -1, -1, -1, 1, 20 },
        { "\"eos_token_id\": 5, \"pad_token_id\": 6, \"num_beams\": 3, \"max_length\": 40,", NULL,
          5, -1, 6, 3, 40 },
        { "\"decoder\": {\"num_beams\": 2, \"eos_token_id\": 9},", NULL, 50256, -1, -1, 2, 20 },
        { "\"eos_token_id\": 5,", "{\"eos_token_id\": 7, \"forced_eos_token_id\": 8}", 7, 8, -1, 1,
          20 },
        { "\"num_beams\": 3, \"max_length\": 20,", "{\"num_beams\": 4, \"max_length\": 30}", -1, -1,
          -1, 3, 30 },
        { "\"forced_eos_token_id\": 4,", "{}", -1, -1, -1, 1, 20 },
    };
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    struct om_model *m;

    if (!has_ort(t))
        return;
    m = model_of(t, &a, "goldens/gpt2/text-generation-with-past", OM_MODEL_CAUSAL_LM);
    om_model_free(m);
    for (size_t i = 0; i < OM_COUNT(cases) && !test_failed(t); i++) {
        const char *own = path_in(&a, t, "out/generation_config.json");
        struct om_model_opts o = OM_MODEL_OPTS_INIT;
        struct om_generation_config *c = NULL;
        struct om_error err = OM_ERROR_INIT;

        test_case(t, "%s %s", cases[i].config, cases[i].own ? cases[i].own : "alone");
        write_file(t, path_in(&a, t, "out/config.json"),
                   om_arena_printf(&a, "{%s \"model_type\": \"gpt2\"}", cases[i].config));
        remove(own);
        if (cases[i].own)
            write_file(t, own, cases[i].own);
        o.model = path_in(&a, t, "out");
        o.model_class = OM_MODEL_CAUSAL_LM;
        m = NULL;
        CHECK_OK(t, om_model_open(NULL, &o, &m, &err), &err);
        CHECK_OK(t, om_generation_config_open(NULL, m, &c, &err), &err);
        if (c) {
            CHECK_INT(t, c->eos_token_id.len ? c->eos_token_id.ids[0] : -1, cases[i].eos);
            CHECK_INT(t, c->forced_eos_token_id.len ? c->forced_eos_token_id.ids[0] : -1,
                      cases[i].forced_eos);
            CHECK_INT(t, c->pad_token_id, cases[i].pad);
            CHECK_INT(t, c->num_beams, cases[i].beams);
            CHECK_INT(t, c->max_length, cases[i].max_length);
            CHECK(t, !c->max_length_given);
        }
        om_generation_config_free(c);
        om_model_free(m);
        om_error_release(&err);
    }
    om_arena_release(&a);
}

/* Pieces of several rows as they come, until there are enough. */
struct gathered {
    int64_t ids[64], rows[64];
    size_t n, enough;
    struct om_ctx *cancel; /* instead of asking for no more */
    bool wrong;
};

static bool gather(void *user, const struct om_stream_piece *piece)
{
    struct gathered *g = user;

    g->wrong |= piece->text != NULL;
    g->ids[g->n] = piece->id;
    g->rows[g->n++] = (int64_t)piece->row;
    if (g->n < g->enough)
        return true;
    if (g->cancel)
        om_ctx_cancel(g->cancel);
    return g->cancel != NULL;
}

static void streamed(struct test *t)
{
    static const int64_t ids[] = { 5, 6, 7, 8 };
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    struct om_generate_inputs in = OM_GENERATE_INPUTS_INIT;
    struct om_generate_opts o = OM_GENERATE_OPTS_INIT;
    struct om_generation_config c = OM_GENERATION_CONFIG_INIT;
    struct om_generated *out = NULL;
    struct om_error err = OM_ERROR_INIT;
    struct gathered g = { .enough = 6 };
    struct om_ctx *ctx;
    struct om_model *m;

    if (!has_ort(t))
        return;
    m = model_of(t, &a, "goldens/gpt2/text-generation-with-past", OM_MODEL_CAUSAL_LM);
    in.batch = in.length = 2;
    in.ids = ids;
    c.max_new_tokens = 8;
    o.config = &c;
    o.stream = gather;
    o.stream_user = &g;
    o.keep_scores = o.keep_logits = true;
    if (!test_failed(t))
        CHECK_OK(t, om_generate(NULL, m, &in, &o, &out, &err), &err);
    if (out) { /* the listener had enough after three steps */
        CHECK_INT(t, out->rows, 2);
        CHECK_INT(t, out->length, 5);
        CHECK_INT(t, out->prompt, 2);
        CHECK_INT(t, out->steps, 3);
        CHECK_INT(t, out->score_rows, 2);
        CHECK(t, out->scores && out->logits && !out->sequence_scores && !out->beam_indices);
        for (size_t i = 0; i < 6; i++) {
            const int64_t id = out->ids[(i % 2) * 5 + 2 + i / 2];

            CHECK_INT(t, g.rows[i], i % 2);
            CHECK_INT(t, g.ids[i], id);
            CHECK(t, out->scores[i * out->vocab + (size_t)id] ==
                         out->logits[i * out->vocab + (size_t)id]);
        }
    }
    CHECK(t, !g.wrong);
    om_generated_free(out);
    out = NULL;

    ctx = om_ctx_new();
    g = (struct gathered){ .enough = 4, .cancel = ctx };
    if (!test_failed(t))
        CHECK_INT(t, om_generate(ctx, m, &in, &o, &out, &err), OM_E_CANCELLED);
    CHECK_INT(t, g.n, 4);
    CHECK(t, out == NULL);
    om_error_release(&err);

    c.max_time = 0; /* is over with the first token */
    g = (struct gathered){ .enough = 64 };
    if (!test_failed(t))
        CHECK_OK(t, om_generate(NULL, m, &in, &o, &out, &err), &err);
    CHECK_INT(t, out ? out->length : 0, 3);
    om_generated_free(out);
    om_ctx_free(ctx);
    om_model_free(m);
    om_error_release(&err);
    om_arena_release(&a);
}

/* The logits behind a prompt, which is read at once or in parts. */
static void prompt_logits(struct test *t, const struct om_model *m, size_t most, float *out)
{
    static int64_t ids[] = { 0, 0, 5, 6, 7, 8, 9, 0, 11, 12, 13, 14, 15, 16 };
    static const int64_t mask[] = { 0, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1 };
    const struct om_decoder_input in = {
        .batch = 2, .length = 7, .mask = mask, .use_cache = true, .most_logits = most
    };
    const struct om_seqs seqs = { ids, 2, 7, 7 };
    struct om_model_decoder *d = NULL;
    struct om_error err = OM_ERROR_INIT;
    struct om_logits logits = { 0 };

    CHECK_OK(t, om_model_decoder_new(m, &in, &d, &err), &err);
    if (d) {
        const struct om_decoder steps = om_model_decoder_steps(d);

        CHECK_OK(t, steps.step(steps.user, &seqs, &logits, &err), &err);
    }
    for (size_t r = 0; r < logits.rows; r++)
        memcpy(out + r * 99, om_logits_row(&logits, r), 99 * sizeof(*out));
    CHECK_INT(t, logits.vocab, 99);
    om_model_decoder_free(d);
    om_error_release(&err);
}

static void long_prompt(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    float whole[2 * 99], parts[2 * 99];
    struct om_model *m;

    if (!has_ort(t))
        return;
    m = model_of(t, &a, "goldens/llama/text-generation-with-past", OM_MODEL_CAUSAL_LM);
    if (m)
        prompt_logits(t, m, 0, whole);
    for (size_t n = 1; m && n < 7; n++) {
        test_case(t, "%zu at once", n);
        prompt_logits(t, m, n * 2 * 99 * sizeof(float), parts);
        for (size_t i = 0; i < 2 * 99; i++)
            CHECK(t, fabsf(parts[i] - whole[i]) < 1e-5f);
    }
    om_model_free(m);
    om_arena_release(&a);
}

static void refused_calls(struct test *t)
{
    static const int64_t ids[] = { 5, 6, 7, 8 }, mask[] = { 0, 2, 1, 1 };
    struct om_generation_config c = OM_GENERATION_CONFIG_INIT, beams = c, big = c;
    const struct {
        struct om_generate_inputs in;
        const struct om_generation_config *config;
        om_stream_fn *stream;
        const char *says;
    } cases[] = {
        { { sizeof(cases[0].in), 1, 0, NULL, NULL, NULL, 0 }, &c, NULL, "no bos_token_id" },
        { { sizeof(cases[0].in), 1, 4, NULL, NULL, NULL, 0 }, &c, NULL, "4 tokens, but no ids" },
        { { sizeof(cases[0].in), 0, 4, ids, NULL, NULL, 0 }, &c, NULL, "a batch of 0" },
        { { 0, 1, 4, ids, NULL, NULL, 0 }, &c, NULL, "OM_GENERATE_INPUTS_INIT" },
        { { sizeof(cases[0].in), 1, 4, ids, mask, NULL, 0 }, &c, NULL, "0 and 1, found 2" },
        { { sizeof(cases[0].in), 1, 4, ids, NULL, NULL, 0 },
          &beams,
          gather,
          "num_beams must be 1" },
        { { sizeof(cases[0].in), 1, 4, ids, NULL, NULL, 0 }, &big, NULL, "vocabulary" },
    };
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    struct om_model *m;

    if (!has_ort(t))
        return;
    beams.num_beams = 2;
    big.forced_bos_token_id = 1 << 20;
    m = model_of(t, &a, "goldens/gpt2/text-generation", OM_MODEL_CAUSAL_LM);
    for (size_t i = 0; i < OM_COUNT(cases) && !test_failed(t); i++) {
        struct om_generate_opts o = OM_GENERATE_OPTS_INIT;
        struct om_generated *out = NULL;
        struct om_error err = OM_ERROR_INIT;

        test_case(t, "%s", cases[i].says);
        o.config = cases[i].config;
        o.stream = cases[i].stream;
        CHECK_INT(t, om_generate(NULL, m, &cases[i].in, &o, &out, &err), OM_E_USAGE);
        CHECK_HAS(t, om_error_text(&err), cases[i].says);
        CHECK(t, out == NULL);
        om_error_release(&err);
    }
    om_model_free(m);
    om_arena_release(&a);
}

/* Models that do not generate, and one that is opened as what it is not. */
static void other_models(struct test *t)
{
    static const struct {
        const char *golden;
        enum om_model_class open_as;
        int code;
        const char *says;
    } cases[] = {
        { "goldens/bert/feature-extraction", OM_MODEL_FEATURE_EXTRACTION, OM_E_UNSUPPORTED,
          "input \"token_type_ids\": generation has no value for it" },
        { "goldens/t5/text2text-generation", OM_MODEL_CUSTOM, OM_E_USAGE, "OM_MODEL_SEQ2SEQ_LM" },
    };
    static const int64_t ids[] = { 5, 6, 7, 8 };

    if (!has_ort(t))
        return;
    for (size_t i = 0; i < OM_COUNT(cases) && !test_failed(t); i++) {
        struct om_arena a = OM_ARENA_INIT(1 << 20);
        struct om_model *m = model_of(t, &a, cases[i].golden, cases[i].open_as);
        struct om_generate_inputs in = OM_GENERATE_INPUTS_INIT;
        struct om_generated *out = NULL;
        struct om_error err = OM_ERROR_INIT;

        test_case(t, "%s", cases[i].golden);
        in.length = 4;
        in.ids = ids;
        if (m) {
            CHECK_INT(t, om_generate(NULL, m, &in, NULL, &out, &err), cases[i].code);
            CHECK_HAS(t, om_error_text(&err), cases[i].says);
        }
        om_generated_free(out);
        om_model_free(m);
        om_error_release(&err);
        om_arena_release(&a);
    }
}

const struct test_entry t_gen[] = {
    { "settings", settings },
    { "refused_settings", refused_settings },
    { "harmless_settings", harmless_settings },
    { "filling", filling },
    { "plans", plans },
    { "processors", processors },
    { "first_token", first_token },
    { "selection", selection },
    { "chance", chance },
    { "exhaustive", exhaustive },
    { "consistent", consistent },
    { "seeds", seeds },
    { "refused_searches", refused_searches },
    { "stop_strings", stop_strings },
    { "streams", streams },
    { "model_settings", model_settings },
    { "streamed", streamed },
    { "long_prompt", long_prompt },
    { "refused_calls", refused_calls },
    { "other_models", other_models },
    TEST_END,
};
