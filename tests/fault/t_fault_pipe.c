/* tests/fault/t_fault_pipe.c: opening and calling pipelines while memory and reads fail. */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/file.h"
#include "fault.h"
#include "tools/mkckpt_lib.h"

#include <optimum/export.h>
#include <optimum/pipeline.h>

struct work {
    struct om_arena arena;
    struct om_pipeline_opts opts;
    struct om_pipeline *p;
    const char *request;
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

/* An exported model, and the options of a pipeline over it. */
static bool begin(struct test *t, struct work *w, const char *name, const char *task,
                  const char *tokenizer)
{
    struct om_export_opts e = OM_EXPORT_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    char data[64], words[64];

    *w = (struct work){ .arena = OM_ARENA_INIT(1 << 20), .opts = OM_PIPELINE_OPTS_INIT };
    if (!have_ort(t))
        return false;
    snprintf(data, sizeof(data), "pipelines/%s", name);
    snprintf(words, sizeof(words), "tokenizers/%s", tokenizer);
    e.model = om_path_join(&w->arena, test_tmpdir(t), "checkpoint");
    e.out_dir = om_path_join(&w->arena, test_tmpdir(t), name);
    e.task = strcmp(task, "text-generation") == 0 ? "text-generation-with-past" : task;
    e.validation = OM_VALIDATE_NEVER;
    CHECK_OK(
        t,
        mkckpt_run(test_data(t, data), e.model, &(const struct mkckpt_opts)MKCKPT_OPTS_INIT, &err),
        &err);
    CHECK_OK(t, om_export_run(NULL, &e, &err), &err);
    om_error_release(&err);
    w->opts.task = task;
    w->opts.model = e.out_dir;
    w->opts.tokenizer = om_arena_str(&w->arena, om_sv_str(test_data(t, words)));
    return !test_failed(t);
}

static int call(void *user, struct om_error *err)
{
    const struct work *w = user;
    char *json = NULL;
    const int rc = om_pipeline_call_json(w->p, w->request, &json, err);

    free(json);
    return rc;
}

static int open_it(void *user, struct om_error *err)
{
    const struct work *w = user;
    struct om_model *const m = (struct om_model *)(uintptr_t)om_pipeline_model(w->p);
    struct om_pipeline_opts o = w->opts;
    struct om_pipeline *p = NULL;
    int rc;

    o.init = w->request;
    rc = om_pipeline_wrap(&o, m, om_pipeline_tokenizer(w->p), &p, err);
    om_pipeline_free(p);
    return rc;
}

static void sweep_with(struct test *t, const char *name, const char *task, const char *tokenizer,
                       const char *request, const char *init)
{
    struct om_error err = OM_ERROR_INIT;
    struct work w;

    test_case(t, "%s", name);
    if (begin(t, &w, name, task, tokenizer))
        CHECK_OK(t, om_pipeline_open(NULL, &w.opts, &w.p, &err), &err);
    if (w.p) {
        w.request = request;
        CHECK_OK(t, call(&w, &err), &err);
        fault_sweep(t, FAULT_MEMORY, call, NULL, &w);
        w.request = init;
        fault_sweep(t, FAULT_MEMORY, open_it, NULL, &w);
    }
    om_pipeline_free(w.p);
    om_error_release(&err);
    om_arena_release(&w.arena);
}

static void sweep(struct test *t, const char *name, const char *task, const char *request,
                  const char *init)
{
    sweep_with(t, name, task, "minilm", request, init);
}

static void questions(struct test *t)
{
    sweep(t, "qa-bert", "question-answering",
          "{\"inputs\": {\"question\": [\"Who?\", \"Why\"], \"context\": \"Ann did it, b\xC3\xA9"
          "cause she could, so\"}, \"kwargs\": {\"max_seq_len\": 12, \"doc_stride\": 2, \"top_k\": "
          "3, \"handle_impossible_answer\": true}}",
          "{\"top_k\": 2}");
}

static void entities(struct test *t)
{
    sweep(t, "ner-bert", "token-classification",
          "{\"inputs\": [\"Ann lives in Whitby.\", \"\xC3\x89vreux\"], \"kwargs\": "
          "{\"aggregation_strategy\": \"average\", \"ignore_labels\": []}}",
          "{\"stride\": 2, \"aggregation_strategy\": \"max\", \"tokenizer_kwargs\": "
          "{\"model_max_length\": 24}}");
    sweep(t, "ner-bert", "token-classification",
          "{\"inputs\": [\"Ann\", \"lives\"], \"kwargs\": {\"is_split_into_words\": true}}", "{}");
}

static void masks(struct test *t)
{
    sweep(t, "fillmask-bert", "fill-mask",
          "{\"inputs\": \"A [MASK] and a [MASK].\", \"kwargs\": {\"targets\": [\"city\", "
          "\"supercity\"]}}",
          "{\"targets\": \"city\", \"top_k\": 3}");
}

static void labels(struct test *t)
{
    sweep(t, "textcls-bert-multi", "text-classification",
          "{\"inputs\": [{\"text\": \"A\", \"text_pair\": \"B\"}, \"c\"], \"kwargs\": {\"top_k\": "
          "null}}",
          "{\"function_to_apply\": \"none\"}");
    sweep(t, "zeroshot-bert", "zero-shot-classification",
          "{\"inputs\": \"A vote.\", \"kwargs\": {\"candidate_labels\": \"politics, art\"}}",
          "{\"candidate_labels\": [\"a\"]}");
}

static void vectors(struct test *t)
{
    sweep(t, "features-bert", "feature-extraction",
          "{\"inputs\": [\"A\", \"b c d\"], \"kwargs\": {\"batch_size\": 2}}",
          "{\"tokenize_kwargs\": {\"truncation\": true}}");
}

static void writing(struct test *t)
{
    sweep_with(t, "textgen-small", "text-generation", "starcoder-style",
               "{\"inputs\": [\"The\", \"In a quiet\"], \"kwargs\": {\"max_new_tokens\": 2, "
               "\"num_beams\": 2, \"num_return_sequences\": 2, \"prefix\": \"So: \", "
               "\"stop_sequence\": \"end\", \"bad_words_ids\": [[5]]}}",
               "{\"prefix\": \"So: \", \"generate_kwargs\": {\"max_new_tokens\": 2}}");
    sweep_with(
        t, "textgen-small", "text-generation", "starcoder-style",
        "{\"inputs\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": "
        "\"assistant\", \"content\": \"So\"}], \"kwargs\": {\"max_new_tokens\": 1, "
        "\"do_sample\": false, \"tokenizer_encode_kwargs\": {\"mood\": 1, \"chat_template\": "
        "\"{{ messages[0].content }}{{ messages[1].content }}\"}}}",
        "{}");
}

const struct test_entry t_fault_pipe[] = {
    { "questions", questions }, { "entities", entities }, { "masks", masks }, { "labels", labels },
    { "vectors", vectors },     { "writing", writing },   TEST_END,
};
