/* tests/unit/t_pipe.c: the arithmetic of pipelines on made-up outputs, their parameters, and calls
 * that are wrong. */
#include "pipe/pipe.h"
#include "model/internal.h"
#include "test.h"
#include "tok/tok.h"
#include "tools/mkckpt_lib.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"

/* ---- a pipeline without a model: what a task makes of outputs ---- */

#define ADDED(id, text)                                                                \
    "{\"id\":" #id ",\"content\":\"" text "\",\"special\":true,\"single_word\":false," \
    "\"lstrip\":false,\"rstrip\":false,\"normalized\":false}"
#define TOKENIZER                                                                                  \
    "{\"added_tokens\":[" ADDED(0, "[PAD]") "," ADDED(1, "[CLS]") "," ADDED(2, "[SEP]") "," ADDED( \
        3, "[MASK]") "," ADDED(4, "[UNK]") "],\"normalizer\":null,"                                \
                                           "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"    \
                                           "\"decoder\":{\"type\":\"WordPiece\","                  \
                                           "\"prefix\":\"##\",\"cleanup\":true},\"post_"           \
                                           "processor\":{\"type\":\"BertProcessing\","             \
                                           "\"sep\":[\"[SEP]\",2],\"cls\":[\"[CLS]\",1]},"         \
                                           "\"model\":{\"type\":\"WordPiece\","                    \
                                           "\"unk_token\":\"[UNK]\",\"continuing_subword_"         \
                                           "prefix\":\"##\","                                      \
                                           "\"max_input_chars_per_word\":100,\"vocab\":{\"[PAD]"   \
                                           "\":0,\"[CLS]\":1,\"[SEP]\":2,"                         \
                                           "\"[MASK]\":3,\"[UNK]\":4,\"Ann\":5,\"##a\":6,\"Bob\":" \
                                           "7,\"met\":8,\"in\":9,\"Rome\":10,"                     \
                                           "\".\":11,\"who\":12,\"bob\":13}}}"

static const char *const ner_labels[] = { "O", "B-PER", "I-PER", "LOC" };

struct bench {
    struct om_arena arena;
    struct om_error err;
    struct om_tokenizer *tok;
    struct om_model model;
    struct om_pipeline p;
    struct pipe_call c;
    struct om_json *kwargs;
};

static void bench_init(struct test *t, struct bench *b, const struct pipe_task *task)
{
    *b = (struct bench){ .arena = OM_ARENA_INIT(1 << 26), .err = OM_ERROR_INIT };
    CHECK_OK(t, tok_open_text(OM_SVL(TOKENIZER), &b->tok, &b->err), &b->err);
    b->model.info = (struct om_model_info){ .dir = "M",
                                            .num_labels = OM_COUNT(ner_labels),
                                            .labels = ner_labels };
    b->p = (struct om_pipeline){
        .arena = OM_ARENA_INIT(1 << 20),
        .task = task,
        .model = &b->model,
        .t = { .tok = b->tok,
               .max_length = 64,
               .gives_type_ids = true,
               .mask_token = "[MASK]",
               .pad = { true, 0 },
               .cls = { true, 1 },
               .mask = { true, 3 },
               .unk = { true, 4 } },
        .batch_size = 8,
        .threads = 1,
        .per_token = true,
    };
    b->p.params = om_arena_copy(&b->p.arena, task->defaults, task->params_size);
}

static void bench_release(struct bench *b)
{
    om_arena_release(&b->p.arena);
    om_tokenizer_free(b->tok);
    om_error_release(&b->err);
    om_arena_release(&b->arena);
}

/* Begin a call by JSON, prepare its items; false after a failure, which is in b->err. */
static bool begin(struct bench *b, const char *inputs, const char *kwargs)
{
    const struct pipe_param *const tables[] = { b->p.task->params, NULL };
    int rc = pipe_call_begin(&b->c, &b->p, &b->err);
    const struct pipe_reader r = { &b->p, &b->c.arena, &b->err, b->kwargs };

    if (rc == 0)
        rc = om_json_parse(om_sv_str(inputs), 0, &b->c.doc, &b->err);
    if (rc == 0)
        rc = om_json_parse(om_sv_str(kwargs), 0, &b->kwargs, &b->err);
    if (rc == 0)
        rc = pipe_params_read(&r, b->kwargs, tables, NULL, b->c.params);
    if (rc == 0)
        rc = pipe_call_check(&b->c, &b->err);
    if (rc == 0)
        rc = b->p.task->read(&b->c, b->c.doc, &b->err);
    for (size_t i = 0; i < b->c.n && rc == 0; i++)
        rc = b->p.task->prepare(&b->c, &b->c.items[i], &b->err);
    return rc == 0;
}

static void end(struct bench *b)
{
    pipe_call_end(&b->c);
    om_json_free(b->kwargs);
    b->kwargs = NULL;
}

/* Scores with four digits: the last ones are the C library's. */
static const char *rounded(struct om_arena *a, const char *json)
{
    static const char key[] = "\"score\": ";
    struct om_buf out = OM_BUF_INIT(1 << 20);
    const char *at, *copy;

    while ((at = strstr(json, key))) {
        char *rest;

        om_buf_add(&out, json, (size_t)(at - json) + sizeof(key) - 1);
        om_buf_printf(&out, "%.4g", strtod(at + sizeof(key) - 1, &rest));
        json = rest;
    }
    om_buf_adds(&out, json);
    copy = om_arena_str(a, om_buf_sv(&out));
    om_buf_release(&out);
    return copy;
}

/* What the task writes of its first item when window w has outputs of width numbers a row. */
static const char *finish(struct bench *b, const float *const (*outputs)[PIPE_OUTPUTS],
                          size_t width)
{
    struct om_buf text = OM_BUF_INIT(1 << 20);
    struct pipe_item *const item = &b->c.items[0];
    const char *copy = "";
    int rc = 0;

    for (size_t i = 0; i < item->n_windows && rc == 0; i++) {
        struct pipe_window *const w = &item->windows[i];
        const struct pipe_rows rows = { .data = { outputs[i][0], outputs[i][1] },
                                        .rows = b->p.per_token ? w->enc->len : 1,
                                        .width = width };

        rc = b->p.task->reduce(w, &rows, &w->kept, &b->err);
    }
    b->c.results = pipe_call_block(&b->c, b->c.n, b->p.task->result_size);
    if (rc == 0)
        rc = b->p.task->finish(&b->c, item, b->c.results, &b->err);
    if (rc == 0) {
        b->p.task->json(&b->c, b->c.results, &text);
        copy = rounded(&b->arena, text.ptr ? text.ptr : "");
    }
    om_buf_release(&text);
    end(b);
    return copy;
}

/* ---- question answering ---- */

/* [CLS] who [SEP] Ann met Bob . bob [SEP] */
enum { QA_TOKENS = 9, ANN = 3, MET, BOB, DOT, BOB_2 };
#define QA_INPUT "{\"question\": \"who\", \"context\": \"Ann met Bob. bob\"}"

static void spans(struct test *t)
{
    /* Logits of ln 2 ... so that probabilities are round: 10 at a token against 1 at others. */
    static const struct {
        const char *name, *kwargs;
        int start[2], end[2]; /* tokens with logit ln 3 */
        const char *want;
    } cases[] = {
        { "one token",
          "{}",
          { MET, MET },
          { MET, MET },
          "{\"score\": 0.1406, \"start\": 4, \"end\": 7, \"answer\": \"met\"}" },
        { "a span",
          "{}",
          { ANN, ANN },
          { BOB, BOB },
          "{\"score\": 0.1406, \"start\": 0, \"end\": 11, \"answer\": \"Ann met Bob\"}" },
        { "too long a span",
          "{\"max_answer_len\": 2}",
          { ANN, ANN },
          { BOB, BOB },
          "{\"score\": 0.0625, \"start\": 8, \"end\": 11, \"answer\": \"Bob\"}" },
        { "equal texts are added",
          "{\"max_answer_len\": 1}",
          { BOB, BOB_2 },
          { BOB, BOB_2 },
          "{\"score\": 0.18, \"start\": 8, \"end\": 11, \"answer\": \"Bob\"}" },
        { "the question cannot be the answer",
          "{}",
          { 1, MET },
          { 1, MET },
          "{\"score\": 0.1406, \"start\": 4, \"end\": 7, \"answer\": \"met\"}" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        float start[QA_TOKENS] = { 0 }, end[QA_TOKENS] = { 0 };
        const float *const outputs[][PIPE_OUTPUTS] = { { start, end } };
        struct bench b;

        test_case(t, "%s", cases[i].name);
        bench_init(t, &b, &pipe_question_answering);
        for (size_t k = 0; k < 2; k++) {
            start[cases[i].start[k]] = logf(3.0F);
            end[cases[i].end[k]] = logf(3.0F);
        }
        CHECK(t, begin(&b, QA_INPUT, cases[i].kwargs));
        CHECK_INT(t, b.c.items[0].windows[0].enc->len, QA_TOKENS);
        CHECK_STR(t, finish(&b, outputs, 1), cases[i].want);
        CHECK_STR(t, om_error_text(&b.err), "");
        bench_release(&b);
    }
}

/* Nothing is the answer when the class token says so, by the least of the windows. */
static void no_answer(struct test *t)
{
    float start[QA_TOKENS] = { 9.0F }, end[QA_TOKENS] = { 9.0F };
    const float *const outputs[][PIPE_OUTPUTS] = { { start, end } };
    struct bench b;
    const char *got;

    bench_init(t, &b, &pipe_question_answering);
    CHECK(t, begin(&b, QA_INPUT, "{\"handle_impossible_answer\": true}"));
    got = finish(&b, outputs, 1);
    CHECK_HAS(t, got, "\"start\": 0, \"end\": 0, \"answer\": \"\"}");
    CHECK_HAS(t, got, "{\"score\": 0.99");
    CHECK(t, begin(&b, QA_INPUT, "{}"));
    got = finish(&b, outputs, 1);
    CHECK(t, !strstr(got, "\"answer\": \"\""));
    bench_release(&b);
}

/* Windows are cut with what they share, and an answer in both has the sum of its scores. */
static void windows(struct test *t)
{
    float rows[2][QA_TOKENS] = { { 0 } };
    const float *const outputs[][PIPE_OUTPUTS] = { { rows[0], rows[0] }, { rows[1], rows[1] } };
    struct bench b;

    bench_init(t, &b, &pipe_question_answering);
    /* [CLS] who [SEP] Ann met Bob [SEP]; [CLS] who [SEP] Bob . bob [SEP] */
    CHECK(t, begin(&b, QA_INPUT, "{\"max_seq_len\": 7, \"doc_stride\": 1, \"max_answer_len\": 1}"));
    CHECK_INT(t, b.c.items[0].n_windows, 2);
    rows[0][5] = rows[1][3] = logf(3.0F);
    /* Four allowed tokens a window: 9/36 from the first; 9/36 and 1/36 from the second. */
    CHECK_STR(t, finish(&b, outputs, 1),
              "{\"score\": 0.5278, \"start\": 8, \"end\": 11, \"answer\": \"Bob\"}");
    bench_release(&b);
}

/* ---- entities ---- */

/* [CLS] Ann ##a met Bob . [SEP]; rows of O, B-PER, I-PER, LOC */
#define NER_INPUT "\"Anna met Bob.\""
enum { NER_TOKENS = 7, LABELS = 4 };

static void entities(struct test *t)
{
    static const struct {
        const char *kwargs;
        int best[NER_TOKENS]; /* a label has 3 of 6 parts, */
        size_t sure;          /* that of this token 9 of 12 */
        const char *want;
    } cases[] = {
        { "{}",
          { 0, 1, 2, 0, 0, 0, 0 },
          0,
          "[{\"entity\": \"B-PER\", \"score\": 0.5, \"index\": 1, \"word\": \"Ann\", \"start\": 0, "
          "\"end\": 3}, {\"entity\": \"I-PER\", \"score\": 0.5, \"index\": 2, \"word\": \"##a\", "
          "\"start\": 3, \"end\": 4}]" },
        { "{\"aggregation_strategy\": \"simple\"}",
          { 0, 1, 2, 0, 1, 0, 0 },
          0,
          "[{\"entity_group\": \"PER\", \"score\": 0.5, \"word\": \"Anna\", \"start\": 0, \"end\": "
          "4}, {\"entity_group\": \"PER\", \"score\": 0.5, \"word\": \"Bob\", \"start\": 9, "
          "\"end\": "
          "12}]" },
        /* a label without B- or I- goes on with itself */
        { "{\"aggregation_strategy\": \"SIMPLE\"}",
          { 0, 3, 3, 3, 1, 0, 0 },
          0,
          "[{\"entity_group\": \"LOC\", \"score\": 0.5, \"word\": \"Anna met\", \"start\": 0, "
          "\"end\": 8}, {\"entity_group\": \"PER\", \"score\": 0.5, \"word\": \"Bob\", \"start\": "
          "9, "
          "\"end\": 12}]" },
        /* the word has its first token's label */
        { "{\"aggregation_strategy\": \"first\"}",
          { 0, 3, 1, 0, 0, 0, 0 },
          2,
          "[{\"entity_group\": \"LOC\", \"score\": 0.5, \"word\": \"Anna\", \"start\": 0, \"end\": "
          "4}]" },
        { "{\"aggregation_strategy\": \"average\"}",
          { 0, 3, 3, 0, 0, 0, 0 },
          0,
          "[{\"entity_group\": \"LOC\", \"score\": 0.5, \"word\": \"Anna\", \"start\": 0, \"end\": "
          "4}]" },
        { "{\"aggregation_strategy\": \"max\"}",
          { 0, 3, 1, 0, 0, 0, 0 },
          2,
          "[{\"entity_group\": \"PER\", \"score\": 0.75, \"word\": \"Anna\", \"start\": 0, "
          "\"end\": "
          "4}]" },
        { "{\"ignore_labels\": [\"PER\", \"O\"], \"aggregation_strategy\": \"simple\"}",
          { 0, 1, 2, 3, 0, 0, 0 },
          0,
          "[{\"entity_group\": \"LOC\", \"score\": 0.5, \"word\": \"met\", \"start\": 5, \"end\": "
          "8}]" },
        { "{\"grouped_entities\": true}",
          { 0, 0, 0, 0, 1, 0, 0 },
          0,
          "[{\"entity_group\": \"PER\", \"score\": 0.5, \"word\": \"Bob\", \"start\": 9, \"end\": "
          "12}]" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        float rows[NER_TOKENS * LABELS] = { 0 };
        const float *const outputs[][PIPE_OUTPUTS] = { { rows, NULL } };
        struct bench b;

        test_case(t, "case %zu: %s", i, cases[i].kwargs);
        bench_init(t, &b, &pipe_token_classification);
        for (size_t k = 0; k < NER_TOKENS; k++)
            rows[k * LABELS + (size_t)cases[i].best[k]] = logf(k == cases[i].sure ? 9.0F : 3.0F);
        CHECK(t, begin(&b, NER_INPUT, cases[i].kwargs));
        CHECK_INT(t, b.c.items[0].windows[0].enc->len, NER_TOKENS);
        CHECK_STR(t, finish(&b, outputs, LABELS), cases[i].want);
        bench_release(&b);
    }
}

/* Of overlapping windows the longer group stays. */
static void overlap(struct test *t)
{
    float rows[2][8 * LABELS] = { { 0 } };
    const float *const outputs[][PIPE_OUTPUTS] = { { rows[0], NULL }, { rows[1], NULL } };
    struct bench b;

    bench_init(t, &b, &pipe_token_classification);
    b.p.t.max_length = 6;
    /* [CLS] Ann ##a met Bob [SEP]; [CLS] met Bob . [SEP] */
    CHECK(t, begin(&b, NER_INPUT, "{\"aggregation_strategy\": \"simple\", \"stride\": 2}"));
    CHECK_INT(t, b.c.items[0].n_windows, 2);
    for (size_t i = 0; i < 8; i++)
        rows[0][i * LABELS] = rows[1][i * LABELS] = 1.0F;
    rows[0][4 * LABELS + 3] = 5.0F;                           /* Bob */
    rows[1][2 * LABELS + 3] = rows[1][3 * LABELS + 3] = 4.0F; /* Bob. */
    CHECK_HAS(t, finish(&b, outputs, LABELS), "\"start\": 9, \"end\": 13}]");
    bench_release(&b);
}

static void split_words(struct test *t)
{
    float rows[NER_TOKENS * LABELS] = { 0 };
    const float *const outputs[][PIPE_OUTPUTS] = { { rows, NULL } };
    struct bench b;

    bench_init(t, &b, &pipe_token_classification);
    rows[5 * LABELS + 1] = logf(3.0F);
    CHECK(t, begin(&b, "[\"Anna\", \"met\", \"Bob\", \".\"]",
                   "{\"is_split_into_words\": true, \"delimiter\": \"\\u00e9\\u00e9\"}"));
    /* [CLS] Ann ##a met Bob . [SEP] over Anna--met--Bob--. */
    CHECK_STR(t, finish(&b, outputs, LABELS),
              "[{\"entity\": \"B-PER\", \"score\": 0.5, \"index\": 5, \"word\": \".\", \"start\": "
              "16, \"end\": 17}]");
    bench_release(&b);
}

/* ---- labels ---- */

static void functions(struct test *t)
{
    static const struct {
        const char *problem;
        int64_t labels;
        const char *kwargs, *want;
    } cases[] = {
        { NULL, 2, "{}", "{\"label\": \"B-PER\", \"score\": 0.75}" },
        { NULL, 2, "{\"top_k\": 1}", "[{\"label\": \"B-PER\", \"score\": 0.75}]" },
        { NULL, 2, "{\"top_k\": null}",
          "[{\"label\": \"B-PER\", \"score\": 0.75}, {\"label\": \"O\", \"score\": 0.25}]" },
        { NULL, 2, "{\"top_k\": -1}", "[{\"label\": \"B-PER\", \"score\": 0.75}]" },
        { NULL, 2, "{\"return_all_scores\": true}",
          "[{\"label\": \"O\", \"score\": 0.25}, {\"label\": \"B-PER\", \"score\": 0.75}]" },
        { "regression", 2, "{}", "{\"label\": \"B-PER\", \"score\": 1.099}" },
        { "multi_label_classification", 2, "{\"top_k\": 2}",
          "[{\"label\": \"B-PER\", \"score\": 0.75}, {\"label\": \"O\", \"score\": 0.5}]" },
        { NULL, 1, "{}", "{\"label\": \"O\", \"score\": 0.5}" },
        { "regression", 2, "{\"function_to_apply\": \"SoftMax\"}",
          "{\"label\": \"B-PER\", \"score\": 0.75}" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const float logits[] = { 0.0F, logf(3.0F) };
        const float *const outputs[][PIPE_OUTPUTS] = { { logits, NULL } };
        struct bench b;

        test_case(t, "case %zu: %s", i, cases[i].kwargs);
        bench_init(t, &b, &pipe_text_classification);
        b.p.per_token = false;
        b.model.info.problem_type = cases[i].problem;
        b.model.info.num_labels = cases[i].labels;
        CHECK(t, begin(&b, "\"Bob\"", cases[i].kwargs));
        CHECK_STR(t, finish(&b, outputs, (size_t)cases[i].labels), cases[i].want);
        bench_release(&b);
    }
}

static void masks(struct test *t)
{
    float rows[5 * 14] = { 0 };
    const float *const outputs[][PIPE_OUTPUTS] = { { rows, NULL } };
    struct bench b;

    rows[2 * 14 + 8] = logf(3.0F); /* met: 3 of 16 */
    bench_init(t, &b, &pipe_fill_mask);
    CHECK(t, begin(&b, "\"Ann [MASK] Bob\"", "{\"top_k\": 1}"));
    CHECK_STR(t, finish(&b, outputs, 14),
              "[{\"score\": 0.1875, \"token\": 8, \"token_str\": \"met\", \"sequence\": \"Ann met "
              "Bob\"}]");
    CHECK(t, begin(&b, "\"Ann [MASK] Bob\"", "{\"targets\": [\"Rome\", \"in\", \"Rome\"]}"));
    CHECK_STR(
        t, finish(&b, outputs, 14),
        "[{\"score\": 0.0625, \"token\": 9, \"token_str\": \"in\", \"sequence\": \"Ann in Bob\"}, "
        "{\"score\": 0.0625, \"token\": 10, \"token_str\": \"Rome\", \"sequence\": \"Ann Rome "
        "Bob\"}]");
    CHECK(t, begin(&b, "\"Ann [MASK] Bob\"", "{\"top_k\": 15}"));
    CHECK_STR(t, finish(&b, outputs, 14), "");
    CHECK_HAS(t, om_error_text(&b.err), "top_k is 15, the model has 14 tokens");
    bench_release(&b);
}

/* ---- what is refused ---- */

static void refused(struct test *t)
{
    static const struct {
        const struct pipe_task *task;
        const char *inputs, *kwargs, *says;
    } cases[] = {
        { &pipe_question_answering, "{\"question\": \"who\"}", "{}",
          "key \"context\": expected a text" },
        { &pipe_question_answering, "{\"question\": \"\", \"context\": \"x\"}", "{}", "empty" },
        { &pipe_question_answering, "{\"question\": [\"a\"], \"context\": [\"b\", \"c\"]}", "{}",
          "1 questions, but 2 contexts" },
        { &pipe_question_answering, "7", "{}", "expected an object with \"question\"" },
        { &pipe_question_answering, "[7]", "{}", "expected an object with \"question\"" },
        { &pipe_question_answering, QA_INPUT, "{\"top_k\": 0}", "at least 1" },
        { &pipe_question_answering, QA_INPUT, "{\"topp\": 2}", "unknown key \"topp\"" },
        { &pipe_question_answering, QA_INPUT, "{\"align_to_words\": 1}", "true or false" },
        { &pipe_question_answering, QA_INPUT, "{\"max_seq_len\": 8, \"doc_stride\": 9}",
          "doc_stride 9" },
        { &pipe_question_answering, QA_INPUT, "{\"padding\": \"most\"}", "max_length" },
        { &pipe_text_classification, "[[1, 2]]", "{}", "text_pair" },
        { &pipe_text_classification, "{\"text_pair\": \"x\"}", "{}", "key \"text\"" },
        { &pipe_text_classification, "\"x\"", "{\"function_to_apply\": \"relu\"}", "\"softmax\"" },
        { &pipe_text_classification, "\"x\"", "[]", "expected an object" },
        { &pipe_token_classification, "[]", "{}", "at least one input" },
        { &pipe_token_classification, "[[\"a\"]]", "{}", "expected a text" },
        { &pipe_token_classification, "\"a\"", "{\"is_split_into_words\": true}", "list of words" },
        { &pipe_token_classification, "\"a\"",
          "{\"stride\": 64, \"aggregation_strategy\": \"max\"}", "stride 64" },
        { &pipe_token_classification, "\"a\"",
          "{\"stride\": 4, \"aggregation_strategy\": \"none\"}", "aggregation_strategy" },
        { &pipe_token_classification, "\"a\"", "{\"aggregation_strategy\": \"best\"}",
          "\"average\"" },
        { &pipe_fill_mask, "\"no place\"", "{}", "No mask_token ([MASK]) found on the input" },
        { &pipe_fill_mask, "\"[MASK]\"", "{\"targets\": []}", "at least one target" },
        { &pipe_fill_mask, "\"[MASK]\"", "{\"targets\": [3]}", "expected a text" },
        { &pipe_fill_mask, "\"[MASK]\"", "{\"tokenizer_kwargs\": {\"max_len\": 3}}", "max_len" },
        { &pipe_zero_shot_classification, "\"a\"", "{}", "at least one of candidate_labels" },
        { &pipe_zero_shot_classification, "\"\"", "{\"candidate_labels\": \"x\"}",
          "at least one of candidate_labels" },
        { &pipe_zero_shot_classification, "\"a\"",
          "{\"candidate_labels\": \"x\", \"hypothesis_template\": \"It.\"}", "has no {}" },
        { &pipe_zero_shot_classification, "\"a\"",
          "{\"candidate_labels\": \"x\", \"hypothesis_template\": \"{{}}\"}", "has no {}" },
        { &pipe_zero_shot_classification, "\"a\"",
          "{\"candidate_labels\": \"x\", \"hypothesis_template\": \"{a}\"}", "only field" },
        { &pipe_zero_shot_classification, "\"a\"",
          "{\"candidate_labels\": \"x\", \"hypothesis_template\": \"{} {}\"}", "more than one" },
        { &pipe_sentence_similarity, "{\"sentences\": [\"a\"]}", "{}", "source_sentence" },
        { &pipe_sentence_similarity, "{\"source_sentence\": \"a\"}", "{}",
          "a list of \"sentences\"" },
        { &pipe_feature_extraction, "[\"a\", null]", "{}", "input 1: expected a text, found null" },
        { &pipe_feature_extraction, "\"a\"", "{\"truncation\": 3}", "longest_first" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct bench b;

        test_case(t, "case %zu: %s with %s", i, cases[i].inputs, cases[i].kwargs);
        bench_init(t, &b, cases[i].task);
        CHECK(t, !begin(&b, cases[i].inputs, cases[i].kwargs));
        CHECK(t, b.err.code < 0);
        CHECK_HAS(t, om_error_text(&b.err), cases[i].says);
        end(&b);
        bench_release(&b);
    }
}

/* ---- the small parts ---- */

static int by_score(const void *a, const void *b)
{
    const struct pipe_best *const x = a, *const y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->key < y->key ? -1 : 1;
}

static void top(struct test *t)
{
    enum { N = 500 };
    struct pipe_best all[N], best[N];
    uint32_t seed = 1;

    for (size_t i = 0; i < N; i++) {
        seed = seed * 1664525u + 1013904223u;
        all[i] = (struct pipe_best){ .score = (float)(seed >> 24), .key = (uint32_t)i };
    }
    for (size_t max = 0; max <= N; max = max * 2 + 1) {
        struct pipe_top h = { .at = best, .max = max };
        struct pipe_best sorted[N];

        for (size_t i = 0; i < N; i++)
            if (pipe_top_wants(&h, all[i].score))
                pipe_top_add(&h, all[i].score, all[i].key, 0);
        pipe_top_sort(&h);
        memcpy(sorted, all, sizeof(all));
        qsort(sorted, N, sizeof(*sorted), by_score);
        test_case(t, "the best %zu", max);
        CHECK_INT(t, h.len, OM_MIN(max, (size_t)N));
        for (size_t i = 0; i < h.len; i++)
            CHECK_INT(t, h.at[i].key, sorted[i].key);
    }
}

static void chars(struct test *t)
{
    static const struct {
        const char *text;
        size_t begin, end;
        const char *want;
    } cases[] = {
        { "abc", 1, 2, "b" },
        { "abc", 1, 9, "bc" },
        { "abc", 2, 1, "" },
        { "a\xC3\xA9\xE4\xBB\x8A"
          "b",
          1, 3, "\xC3\xA9\xE4\xBB\x8A" },
        { "\xF0\x9F\x91\x8D!", 1, 2, "!" },
        { "\xFF\xE4\xBBx", 2, 3, "x" }, /* two invalid parts */
        { "", 0, 1, "" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const struct om_text text = { cases[i].text, strlen(cases[i].text) };
        struct om_arena a = OM_ARENA_INIT(1 << 16);
        struct om_error err = OM_ERROR_INIT;
        struct pipe_chars c;

        test_case(t, "case %zu", i);
        CHECK_OK(t, pipe_chars_init(&c, &a, &text, &err), &err);
        CHECK_STR(t, om_arena_str(&a, pipe_chars_slice(&c, cases[i].begin, cases[i].end)),
                  cases[i].want);
        om_arena_release(&a);
        om_error_release(&err);
    }
}

static void truncation(struct test *t)
{
    static const struct {
        struct pipe_coding coding;
        uint64_t model_max;
        int64_t want; /* -1: none */
    } cases[] = {
        { { .truncation = PIPE_TRUNCATE_UNSET }, 512, -1 },
        { { .truncation = PIPE_TRUNCATE_LONGEST }, 512, 512 },
        { { .truncation = PIPE_TRUNCATE_LONGEST }, UINT64_MAX, -1 },
        { { .truncation = PIPE_TRUNCATE_LONGEST, .max_length = 9 }, UINT64_MAX, 9 },
        { { .max_length = 9 }, 512, 9 }, /* a length alone asks for it */
        { { .max_length = 9, .padding = PIPE_PAD_MAX_LENGTH }, 512, -1 },
        { { .max_length = 9, .truncation = PIPE_TRUNCATE_NO }, 512, -1 },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const struct pipe_tokenizer tok = { .max_length = cases[i].model_max };
        struct om_truncation out = { .max_length = 0 };
        const bool cut = pipe_resolve_truncation(&tok, &cases[i].coding, &out);

        test_case(t, "case %zu", i);
        CHECK_INT(t, cut, cases[i].want >= 0);
        if (cut)
            CHECK_INT(t, out.max_length, cases[i].want);
    }
}

static void names(struct test *t)
{
    CHECK_STR(t, om_pipeline_task("ner"), "token-classification");
    CHECK_STR(t, om_pipeline_task("sentiment-analysis"), "text-classification");
    CHECK(t, !om_pipeline_task("ne"));
    CHECK(t, !om_pipeline_task(NULL));
    for (size_t i = 0; om_pipeline_task_at(i); i++)
        CHECK_STR(t, om_pipeline_task(om_pipeline_task_at(i)), om_pipeline_task_at(i));
}

/* ---- whole pipelines ---- */

struct whole {
    struct om_arena arena;
    struct om_error err;
    struct om_pipeline *p;
};

static bool have_ort(struct test *t)
{
    struct om_error err = OM_ERROR_INIT;
    const char *must = getenv("OM_REQUIRE_ORT");
    const bool have = om_ort_version(NULL, NULL, &err) == 0;

    if (!have && must && strcmp(must, "1") == 0)
        test_check(t, false, __FILE__, __LINE__, "%s", om_error_text(&err));
    else if (!have)
        test_skip(t, "no ONNX Runtime");
    om_error_release(&err);
    return have;
}

static bool whole_open(struct test *t, struct whole *w, const char *name, const char *task,
                       const char *init)
{
    struct om_pipeline_opts o = OM_PIPELINE_OPTS_INIT;
    char data[128];

    *w = (struct whole){ .arena = OM_ARENA_INIT(1 << 24), .err = OM_ERROR_INIT };
    if (!have_ort(t))
        return false;
    snprintf(data, sizeof(data), "pipelines/%s", name);
    o.task = task;
    o.model = om_path_join(&w->arena, test_tmpdir(t), "checkpoint");
    o.init = init;
    if (!om_dir_exists(o.model))
        CHECK_OK(t,
                 mkckpt_run(om_arena_str(&w->arena, om_sv_str(test_data(t, data))), o.model,
                            &(const struct mkckpt_opts)MKCKPT_OPTS_INIT, &w->err),
                 &w->err);
    o.tokenizer = om_arena_str(&w->arena, om_sv_str(test_data(t, "tokenizers/minilm")));
    CHECK_OK(t, om_pipeline_open(NULL, &o, &w->p, &w->err), &w->err);
    return w->p != NULL;
}

static void whole_close(struct whole *w)
{
    om_pipeline_free(w->p);
    om_error_release(&w->err);
    om_arena_release(&w->arena);
}

/* Requests that fail keep to their places, and take no others with them. */
static void requests(struct test *t)
{
    static const char *const texts[] = {
        "{\"inputs\": \"A good day.\", \"note\": 1}",
        "{\"inputs\": ",
        "\"A good day.\"",
        "{\"inputs\": \"x\", \"kwargs\": {\"top_q\": 1}}",
        "{\"inputs\": [\"A good day.\", \"Bad.\"], \"kwargs\": {\"top_k\": 1}}",
        "[\"A good day.\", 3]",
        "",
        "null",
        "{\"inputs\": []}",
        "{\"inputs\": \"A good day.\", \"kwargs\": null}",
    };
    static const char *const says[OM_COUNT(texts)] = {
        [1] = "line 1",     [3] = "unknown key \"top_q\"", [5] = "input 1", [6] = "",
        [7] = "found null",
    };
    struct om_text requests[OM_COUNT(texts)];
    struct om_pipeline_reply replies[OM_COUNT(texts)];
    struct whole w;

    if (whole_open(t, &w, "textcls-distilbert", "sentiment-analysis", NULL)) {
        for (size_t i = 0; i < OM_COUNT(texts); i++)
            requests[i] = (struct om_text){ texts[i], strlen(texts[i]) };
        CHECK_OK(
            t, om_pipeline_call(w.p, requests, OM_COUNT(texts), OM_PIPELINE_JSON, replies, &w.err),
            &w.err);
        for (size_t i = 0; i < OM_COUNT(texts); i++) {
            test_case(t, "request %zu", i);
            CHECK(t, (replies[i].text == NULL) == (says[i] != NULL));
            CHECK_INT(t, replies[i].error.code < 0, says[i] != NULL);
            if (says[i])
                CHECK_HAS(t, om_error_text(&replies[i].error), says[i]);
            else
                CHECK_INT(t, strlen(replies[i].text), replies[i].len);
        }
        CHECK_STR(t, replies[2].text, replies[0].text);
        CHECK_STR(t, replies[9].text, replies[0].text);
        CHECK_STR(t, replies[8].text, "[]");
        om_pipeline_replies_release(replies, OM_COUNT(texts));
    }
    whole_close(&w);
}

/* A text that the model cannot take fails alone; more of its call's windows do not hurt. */
static void too_long(struct test *t)
{
    struct om_pipeline_reply replies[3];
    struct om_text requests[3];
    struct whole w;

    if (whole_open(t, &w, "textcls-distilbert", "text-classification", NULL)) {
        char *const longest = om_arena_alloc(&w.arena, 30000);

        memset(longest, 'x', 29999);
        for (size_t i = 1; i < 29999; i += 2)
            longest[i] = ' ';
        longest[0] = longest[29998] = '"';
        requests[0] = (struct om_text){ "\"a b c\"", 7 };
        requests[1] = (struct om_text){ longest, 29999 };
        requests[2] = (struct om_text){ "\"a b d\"", 7 };
        CHECK_OK(t, om_pipeline_call(w.p, requests, 3, OM_PIPELINE_TEXT, replies, &w.err), &w.err);
        CHECK(t, replies[0].text && replies[2].text && !replies[1].text);
        CHECK(t, replies[1].error.code < 0);
        om_pipeline_replies_release(replies, 3);
    }
    whole_close(&w);
}

static void typed(struct test *t)
{
    static const struct om_text_pair texts[] = { { { "A good day.", 11 }, { NULL, 0 } },
                                                 { { "Bad.", 4 }, { "So bad.", 7 } } };
    struct om_classify_opts o = OM_CLASSIFY_OPTS_INIT;
    const struct om_labels *labels = NULL;
    const struct om_answers *answers = NULL;
    struct whole w;

    if (whole_open(t, &w, "textcls-distilbert", "text-classification", "{\"top_k\": null}")) {
        CHECK_OK(t, om_pipeline_classify(w.p, texts, 2, NULL, &labels, &w.err), &w.err);
        CHECK_INT(t, labels ? labels[1].len : 0, 2);
        CHECK(t, !labels || labels[1].at[0].score >= labels[1].at[1].score);
        om_pipeline_release(labels);
        labels = NULL;
        o.top_k = 1;
        CHECK_OK(t, om_pipeline_classify(w.p, texts, 2, &o, &labels, &w.err), &w.err);
        CHECK_INT(t, labels ? labels[0].len : 0, 1);
        om_pipeline_release(labels);
        o.top_k = -1;
        CHECK_INT(t, om_pipeline_classify(w.p, texts, 2, &o, &labels, &w.err), OM_E_USAGE);
        o.struct_size = 0;
        CHECK_INT(t, om_pipeline_classify(w.p, texts, 2, &o, &labels, &w.err), OM_E_USAGE);
        CHECK_INT(t, om_pipeline_answer(w.p, NULL, 0, NULL, &answers, &w.err), OM_E_USAGE);
        CHECK_HAS(t, om_error_text(&w.err), "the pipeline is for text-classification");
        CHECK_OK(t, om_pipeline_classify(w.p, NULL, 0, NULL, &labels, &w.err), &w.err);
        om_pipeline_release(labels);
    }
    whole_close(&w);
}

static void opening(struct test *t)
{
    static const struct {
        const char *task, *init, *says;
    } cases[] = {
        { "text-generation-of-poems", NULL, "only for: feature-extraction, fill-mask" },
        { NULL, NULL, "no pipeline for task \"\"" },
        { "text-classification", "[]", "expected an object" },
        { "text-classification", "{\"top\": 1}", "unknown key \"top\"" },
        { "text-classification", "{\"batch_size\": 0}", "batch_size" },
        { "text-classification", "{\"tokenizer_kwargs\": {\"padding_side\": \"up\"}}", "\"left\"" },
        { "text-classification", "{\"tokenizer_kwargs\": {\"pad_token\": \"[NOPE]\"}}", "[NOPE]" },
        { "text-classification", "{\"tokenizer_kwargs\": {\"max\": 1}}", "unknown key \"max\"" },
        { "question-answering", NULL, "start_logits" },
    };
    struct whole w;

    if (whole_open(t, &w, "textcls-distilbert", "text-classification", NULL)) {
        for (size_t i = 0; i < OM_COUNT(cases); i++) {
            struct om_pipeline_opts o = OM_PIPELINE_OPTS_INIT;
            struct om_pipeline *p = NULL;

            test_case(t, "case %zu", i);
            o.task = cases[i].task;
            o.init = cases[i].init;
            om_error_release(&w.err);
            CHECK(t, om_pipeline_wrap(&o, om_pipeline_model(w.p), om_pipeline_tokenizer(w.p), &p,
                                      &w.err) < 0);
            CHECK(t, !p);
            CHECK_HAS(t, om_error_text(&w.err), cases[i].says);
        }
    }
    whole_close(&w);
}

const struct test_entry t_pipe[] = {
    { "names", names },         { "top", top },
    { "chars", chars },         { "truncation", truncation },
    { "spans", spans },         { "no_answer", no_answer },
    { "windows", windows },     { "entities", entities },
    { "overlap", overlap },     { "split_words", split_words },
    { "functions", functions }, { "masks", masks },
    { "refused", refused },     { "requests", requests },
    { "too_long", too_long },   { "typed", typed },
    { "opening", opening },     TEST_END,
};
