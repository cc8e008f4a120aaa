/* tests/fault/t_fault_gen.c: settings, searches, stop strings, streams and the steps of a model
 * while memory fails. */
#include <optimum/export.h>
#include <optimum/generation.h>

#include <stdlib.h>

#include "base/arena.h"
#include "base/file.h"
#include "fault.h"
#include "tools/mkckpt_lib.h"

struct work {
    struct om_arena arena;
    const char *dir;
    struct om_model *model;
    struct om_tokenizer *tok;
    const char *settings;
    bool stream;
};

static bool listen(void *user, const struct om_stream_piece *piece)
{
    (void)user;
    return piece->text != NULL;
}

static int generate(void *user, struct om_error *err)
{
    static const int64_t ids[] = { 5, 6, 7, 8, 9, 10 };
    const struct work *w = user;
    struct om_generate_inputs in = OM_GENERATE_INPUTS_INIT;
    struct om_generate_opts o = OM_GENERATE_OPTS_INIT;
    struct om_generation_config *own = NULL, *c = NULL;
    struct om_generated *out = NULL;
    int rc = om_generation_config_open(NULL, w->model, &own, err);

    in.batch = 2;
    in.length = 3;
    in.ids = ids;
    if (rc == 0)
        rc = om_generation_config_parse(NULL, own, w->settings, strlen(w->settings), &c, err);
    o.config = c;
    o.tokenizer = w->tok;
    o.stream = w->stream ? listen : NULL;
    o.keep_scores = true;
    if (rc == 0)
        rc = om_generate(NULL, w->model, &in, &o, &out, err);
    om_generated_free(out);
    om_generation_config_free(c);
    om_generation_config_free(own);
    return rc;
}

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

/* The checkpoint in w->dir becomes an export whose past and present keys share buffers. */
static void share_buffers(struct test *t, struct work *w)
{
    struct om_export_opts o = OM_EXPORT_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;

    o.model = w->dir;
    o.out_dir = om_path_join(&w->arena, test_tmpdir(t), "genai");
    o.task = "text-generation-with-past";
    o.genai = true;
    o.validation = OM_VALIDATE_NEVER;
    CHECK_OK(t, om_export_run(NULL, &o, &err), &err);
    w->dir = o.out_dir;
    om_error_release(&err);
}

static void begin(struct test *t, struct work *w, const char *golden, enum om_model_class class,
                  bool genai)
{
    struct om_model_opts o = OM_MODEL_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;

    *w = (struct work){ .arena = OM_ARENA_INIT(1 << 20) };
    w->dir = om_path_join(&w->arena, test_tmpdir(t), "checkpoint");
    o.model_class = class;
    CHECK_OK(
        t,
        mkckpt_run(test_data(t, golden), w->dir, &(const struct mkckpt_opts)MKCKPT_OPTS_INIT, &err),
        &err);
    if (genai)
        share_buffers(t, w);
    o.model = w->dir;
    CHECK_OK(t, om_model_open(NULL, &o, &w->model, &err), &err);
    CHECK_OK(t, om_tokenizer_open(test_data(t, "tokenizers/re-bloom"), &w->tok, &err), &err);
    om_error_release(&err);
}

static void end(struct work *w)
{
    om_tokenizer_free(w->tok);
    om_model_free(w->model);
    om_arena_release(&w->arena);
}

static void sweep(struct test *t, struct work *w, const char *settings, bool stream)
{
    w->settings = settings;
    w->stream = stream;
    test_case(t, "%s", settings);
    if (!test_failed(t))
        fault_sweep(t, FAULT_MEMORY, generate, NULL, w);
}

static void decoder(struct test *t)
{
    struct work w;

    if (!has_ort(t))
        return;
    begin(t, &w, "goldens/gpt2/text-generation-with-past", OM_MODEL_CAUSAL_LM, false);
    sweep(t, &w, "{\"max_new_tokens\": 2, \"stop_strings\": [\"zz\"], \"eos_token_id\": 1}", true);
    sweep(t, &w, "{\"max_new_tokens\": 3, \"num_beams\": 2, \"num_return_sequences\": 2}", false);
    end(&w);
}

static void buffers(struct test *t)
{
    struct work w;

    if (!has_ort(t))
        return;
    begin(t, &w, "goldens/llama/text-generation-with-past", OM_MODEL_CAUSAL_LM, true);
    CHECK(t, w.model && om_model_get_info(w.model)->grouped_attention);
    sweep(t, &w, "{\"max_new_tokens\": 3, \"num_beams\": 2, \"num_return_sequences\": 2}", false);
    end(&w);
}

static void encoder_decoder(struct test *t)
{
    struct work w;

    if (!has_ort(t))
        return;
    begin(t, &w, "goldens/t5/text2text-generation-with-past", OM_MODEL_SEQ2SEQ_LM, false);
    sweep(t, &w,
          "{\"max_new_tokens\": 2, \"do_sample\": true, \"num_return_sequences\": 2,"
          " \"decoder_start_token_id\": 0, \"bad_words_ids\": [[1], [2, 3]]}",
          false);
    end(&w);
}

const struct test_entry t_fault_gen[] = {
    { "decoder", decoder },
    { "buffers", buffers },
    { "encoder_decoder", encoder_decoder },
    TEST_END,
};
