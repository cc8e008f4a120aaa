/* tests/unit/t_pipe_generation.c: pipelines that generate: the typed door, streams, refusals,
 * languages. What they give is compared with recorded calls by tests/golden/test_pipelines.c. */
#include <optimum/pipeline.h>

#include "base/arena.h"
#include "base/file.h"
#include "test.h"
#include "tools/mkckpt_lib.h"

#include <stdio.h>
#include <stdlib.h>

static const struct om_text fox = { "The quick brown fox", 19 };
static const struct om_text village = { "In a quiet village", 18 };

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

static const char *data(struct test *t, struct whole *w, const char *dir, const char *name)
{
    return om_arena_str(&w->arena,
                        om_sv_str(test_data(t, om_arena_printf(&w->arena, "%s/%s", dir, name))));
}

/* A model of tests/data, with a directory of its tokenizers/ or any other. */
static bool whole_open(struct test *t, struct whole *w, const char *model, const char *tokenizer,
                       const char *task, const char *init)
{
    struct om_pipeline_opts o = OM_PIPELINE_OPTS_INIT;

    *w = (struct whole){ .arena = OM_ARENA_INIT(1 << 24), .err = OM_ERROR_INIT };
    if (!have_ort(t))
        return false;
    o.task = task;
    o.init = init;
    o.model = om_path_join(&w->arena, test_tmpdir(t), "checkpoint");
    if (!om_dir_exists(o.model))
        CHECK_OK(t,
                 mkckpt_run(om_arena_str(&w->arena, om_sv_str(test_data(t, model))), o.model,
                            &(const struct mkckpt_opts)MKCKPT_OPTS_INIT, &w->err),
                 &w->err);
    o.tokenizer = tokenizer[0] == '/' ? tokenizer : data(t, w, "tokenizers", tokenizer);
    CHECK_OK(t, om_pipeline_open(NULL, &o, &w->p, &w->err), &w->err);
    return w->p != NULL;
}

static bool small_open(struct test *t, struct whole *w, const char *init)
{
    return whole_open(t, w, "pipelines/textgen-small", "starcoder-style", "text-generation", init);
}

static void whole_close(struct whole *w)
{
    om_pipeline_free(w->p);
    om_error_release(&w->err);
    om_arena_release(&w->arena);
}

/* ---- the typed door ---- */

/* What was streamed, by row. */
struct heard {
    char text[2][256];
    size_t pieces, stop_after;
};

static bool hear(void *user, const struct om_stream_piece *piece)
{
    struct heard *const h = user;

    if (piece->row < OM_COUNT(h->text))
        strncat(h->text[piece->row], piece->text, 100);
    return ++h->pieces != h->stop_after;
}

static struct om_generation_config greedy(const struct om_pipeline *p, int64_t tokens)
{
    struct om_generation_config c = *om_pipeline_settings(p);

    c.do_sample = false;
    c.temperature = 1;
    c.max_new_tokens = tokens;
    return c;
}

static void typed(struct test *t)
{
    const struct om_text texts[] = { fox, village };
    struct om_generation_opts o = OM_GENERATION_OPTS_INIT;
    const struct om_generated_texts *out = NULL;
    struct om_generation_config c;
    struct heard heard = { .pieces = 0 };
    struct whole w;

    if (small_open(t, &w, NULL)) {
        c = greedy(w.p, 6);
        CHECK_INT(t, om_pipeline_settings(w.p)->max_new_tokens, 256);
        CHECK(t, om_pipeline_settings(w.p)->do_sample);
        o.config = &c;
        o.stream = hear;
        o.stream_user = &heard;
        CHECK_OK(t, om_pipeline_generate(w.p, texts, 2, &o, &out, &w.err), &w.err);
        for (size_t i = 0; out && i < 2; i++) {
            test_case(t, "text %zu", i);
            CHECK_INT(t, out[i].len, 1);
            CHECK_INT(t, out[i].at[0].text.len, strlen(out[i].at[0].text.ptr));
            CHECK(t, strncmp(out[i].at[0].text.ptr, texts[i].ptr, texts[i].len) == 0);
            CHECK_STR(t, heard.text[i], out[i].at[0].text.ptr + texts[i].len);
        }
        CHECK_INT(t, heard.pieces, 12);
        om_pipeline_release(out);
        out = NULL;
        o.return_full_text = OM_NO;
        heard = (struct heard){ .stop_after = 2 };
        CHECK_OK(t, om_pipeline_generate(w.p, texts, 1, &o, &out, &w.err), &w.err);
        CHECK_INT(t, heard.pieces, 2);
        CHECK(t, out && strncmp(out[0].at[0].text.ptr, "The", 3) != 0);
        om_pipeline_release(out);
        out = NULL;
        CHECK_OK(t, om_pipeline_generate(w.p, NULL, 0, &o, &out, &w.err), &w.err);
        om_pipeline_release(out);
    }
    whole_close(&w);
}

static void seeds(struct test *t)
{
    char first[512] = "", second[512] = "", other[512] = "";
    struct om_generation_opts o = OM_GENERATION_OPTS_INIT;
    char *const to[] = { first, second, other };
    struct om_generation_config c;
    struct whole w;

    if (small_open(t, &w, NULL)) {
        c = *om_pipeline_settings(w.p);
        c.max_new_tokens = 8;
        o.config = &c;
        for (size_t i = 0; i < OM_COUNT(to); i++) {
            const struct om_generated_texts *out = NULL;

            o.seed = i / 2;
            CHECK_OK(t, om_pipeline_generate(w.p, &fox, 1, &o, &out, &w.err), &w.err);
            if (out)
                snprintf(to[i], sizeof(first), "%s", out->at[0].text.ptr);
            om_pipeline_release(out);
        }
        CHECK_STR(t, second, first);
        CHECK(t, strcmp(first, other) != 0);
    }
    whole_close(&w);
}

static void chat(struct test *t)
{
    static const char messages[] = "[{\"role\": \"user\", \"content\": \"The quick\"}]";
    static const char *const wrong[] = {
        "", "[]", "[3]", "{}", "[{\"role\": \"user\"}]", "[{\"role\": \"user\", \"content\": \"x\"}"
    };
    struct om_generation_opts o = OM_GENERATION_OPTS_INIT;
    const struct om_generated_texts *out = NULL, *plain = NULL;
    const struct om_text same = { "user:The quick", 14 };
    struct om_generation_config c;
    struct whole w;

    if (small_open(t, &w, "{\"add_special_tokens\": false}")) {
        c = greedy(w.p, 6);
        o.config = &c;
        CHECK(t, om_pipeline_chat(w.p, messages, &o, &out, &w.err) < 0);
        CHECK_HAS(t, om_error_text(&w.err), "no chat template");
        om_error_release(&w.err);
        o.chat_template = "{{ mood }}{{ messages[0].role }}:{{ messages[0].content }}";
        CHECK_OK(t, om_pipeline_chat(w.p, messages, &o, &out, &w.err), &w.err);
        o.return_full_text = OM_NO;
        CHECK_OK(t, om_pipeline_generate(w.p, &same, 1, &o, &plain, &w.err), &w.err);
        if (out && plain)
            CHECK_STR(t, out->at[0].text.ptr, plain->at[0].text.ptr);
        om_pipeline_release(plain);
        om_pipeline_release(out);
        out = NULL;
        for (size_t i = 0; i < OM_COUNT(wrong); i++) {
            test_case(t, "case %zu", i);
            CHECK(t, om_pipeline_chat(w.p, wrong[i], &o, &out, &w.err) < 0);
            om_error_release(&w.err);
        }
    }
    whole_close(&w);
}

static void refused(struct test *t)
{
    struct om_generation_opts o = OM_GENERATION_OPTS_INIT, bad = OM_GENERATION_OPTS_INIT;
    const struct om_text texts[] = { fox, village };
    const struct om_generated_texts *out = NULL;
    const struct om_answers *answers = NULL;
    struct om_generation_config c;
    struct om_ctx *const ctx = om_ctx_new();
    struct whole w;

    if (small_open(t, &w, NULL)) {
        c = greedy(w.p, 6);
        o.config = &c;
        o.ctx = ctx;
        om_ctx_cancel(ctx);
        CHECK_INT(t, om_pipeline_generate(w.p, &fox, 1, &o, &out, &w.err), OM_E_CANCELLED);
        o.ctx = NULL;
        o.batch_size = 2;
        CHECK_INT(t, om_pipeline_generate(w.p, texts, 2, &o, &out, &w.err), OM_E_USAGE);
        o.batch_size = SIZE_MAX;
        CHECK_INT(t, om_pipeline_generate(w.p, texts, 2, &o, &out, &w.err), OM_E_USAGE);
        o.batch_size = 0;
        o.max_length = -1;
        CHECK_INT(t, om_pipeline_generate(w.p, texts, 2, &o, &out, &w.err), OM_E_USAGE);
        o.max_length = 0;
        o.stop_sequence = "";
        CHECK_INT(t, om_pipeline_generate(w.p, texts, 2, &o, &out, &w.err), OM_E_USAGE);
        bad.struct_size = 0;
        CHECK_INT(t, om_pipeline_generate(w.p, &fox, 1, &bad, &out, &w.err), OM_E_USAGE);
        CHECK_INT(t, om_pipeline_answer(w.p, NULL, 0, NULL, &answers, &w.err), OM_E_USAGE);
        o.stop_sequence = NULL;
        c.max_new_tokens = 100000; /* more than there are positions: what the runtime says */
        CHECK(t, om_pipeline_generate(w.p, &fox, 1, &o, &out, &w.err) < 0);
        CHECK(t, out == NULL);
    }
    om_ctx_free(ctx);
    whole_close(&w);
}

static void opening(struct test *t)
{
    static const struct {
        const char *task, *init, *says;
    } cases[] = {
        { "summarization", NULL, "summarization is for encoder-decoders" },
        { "translation_en_to", NULL, "no pipeline for task" },
        { "translation_en_to_", NULL, "encoder-decoders" },
        { "text-generation", "{\"max_tokens\": 1}", "unknown key \"max_tokens\"" },
        { "text-generation", "{\"num_beams\": \"x\"}", "num_beams" },
        { "text-generation", "{\"penalty_alpha\": 0.5}", "penalty_alpha" },
        { "text-generation", "{\"generate_kwargs\": 3}", "expected an object" },
        { "text-generation", "{\"generate_kwargs\": {\"x\": 3}}", "no setting \"x\"" },
        { "text-generation", "{\"prefix\": 3}", "expected a text" },
        { "text-generation", "{\"handle_long_generation\": 3}", "\"hole\"" },
        { "text-generation", "{\"tokenizer_encode_kwargs\": []}", "expected an object" },
        { "text-generation", "{\"stop_sequence\": \"\"}", "no tokens" },
    };
    struct whole w;

    if (small_open(t, &w, NULL)) {
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
            om_pipeline_free(p);
        }
    }
    whole_close(&w);
}

/* Settings that a model has do not stand against those that every call is to have. */
static void always(struct test *t)
{
    static const struct {
        const char *init;
        size_t len; /* of the ids: the text has 10 tokens before the others */
        const char *says;
    } cases[] = {
        { "{\"generate_kwargs\": {\"num_beams\": 1, \"max_new_tokens\": 3}}", 3, NULL },
        { "{\"generate_kwargs\": {\"max_new_tokens\": 0}}", 0, "max_new_tokens" },
        { "{\"generate_kwargs\": null, \"max_new_tokens\": 4}", 4, NULL },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const struct om_generated_texts *with = NULL, *one = NULL;
        struct om_generation_opts o = OM_GENERATION_OPTS_INIT;
        struct om_generation_config c;
        struct whole w;

        test_case(t, "case %zu", i);
        if (whole_open(t, &w, "pipelines/textgen-settings", "starcoder-style", "text-generation",
                       cases[i].init)) {
            const int rc = om_pipeline_generate(w.p, &fox, 1, NULL, &with, &w.err);

            CHECK_INT(t, rc < 0, cases[i].says != NULL);
            if (cases[i].says)
                CHECK_HAS(t, om_error_text(&w.err), cases[i].says);
            om_error_release(&w.err);
            c = greedy(w.p, 1);
            o.config = &c;
            CHECK_OK(t, om_pipeline_generate(w.p, &fox, 1, &o, &one, &w.err), &w.err);
            if (with && one)
                CHECK_INT(t, with->at[0].len, one->at[0].len - 1 + cases[i].len);
            om_pipeline_release(with);
            om_pipeline_release(one);
        }
        whole_close(&w);
    }
}

/* ---- languages ---- */

#define ADDED(id, text)                                                                        \
    "{\"id\": " #id ", \"content\": \"" text "\", \"special\": true, \"single_word\": false, " \
    "\"lstrip\": false, \"rstrip\": false, \"normalized\": false}"
#define VOCAB                                                                                      \
    "{\"version\": \"1.0\", \"added_tokens\": [" ADDED(2, "</s>") "," ADDED(3, "en_XX") "," ADDED( \
        4,                                                                                         \
        "de_DE") "," ADDED(5,                                                                      \
                           "__en__") "," ADDED(6,                                                  \
                                               "__de__") "], \"normalizer\": null, "               \
                                                         "\"pre_tokenizer\": {\"type\": "          \
                                                         "\"Whitespace\"}, \"post_processor\": "   \
                                                         "%s, \"decoder\": null, "                 \
                                                         "\"model\": {\"type\": \"WordLevel\", "   \
                                                         "\"unk_token\": \"<unk>\", \"vocab\": "   \
                                                         "{\"<unk>\": 0, "                         \
                                                         "\"<pad>\": 1, \"</s>\": 2, \"en_XX\": "  \
                                                         "3, \"de_DE\": 4, \"__en__\": 5, "        \
                                                         "\"__de__\": 6, \"a\": "                  \
                                                         "7, \"b\": 8}}}"
#define END_THEN_LANGUAGE                                                                          \
    "{\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": " \
    "0}}, {\"SpecialToken\": {\"id\": \"</s>\", \"type_id\": 0}}, {\"SpecialToken\": {\"id\": "    \
    "\"en_XX\", \"type_id\": 0}}], \"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "   \
    "{\"Sequence\": {\"id\": \"B\", \"type_id\": 0}}], \"special_tokens\": {\"</s>\": {\"id\": "   \
    "\"</s>\", \"ids\": [2], \"tokens\": [\"</s>\"]}, \"en_XX\": {\"id\": \"en_XX\", \"ids\": "    \
    "[3], \"tokens\": [\"en_XX\"]}}}"

static void write_file(struct test *t, const char *path, const char *text)
{
    FILE *const f = fopen(path, "w");

    CHECK(t, f && fputs(text, f) >= 0);
    if (f)
        fclose(f);
}

static const char *write_tokenizer(struct test *t, struct om_arena *a, const char *class,
                                   const char *post)
{
    const char *const dir = om_arena_printf(a, "%s/%s", test_tmpdir(t), class);

    CHECK(t, om_dir_make(dir, NULL) == 0);
    write_file(t, om_path_join(a, dir, "tokenizer.json"), om_arena_printf(a, VOCAB, post));
    write_file(t, om_path_join(a, dir, "tokenizer_config.json"),
               om_arena_printf(a,
                               "{\"tokenizer_class\": \"%s\", \"eos_token\": \"</s>\", "
                               "\"pad_token\": \"<pad>\", \"unk_token\": \"<unk>\"}",
                               class));
    return dir;
}

struct language_case {
    const char *class, *post, *source, *target;
    int64_t forced;
    const char *same; /* a text of which plain text2text-generation makes the same; NULL: none */
    const char *says;
};

static void check_same(struct test *t, struct whole *w, const struct language_case *l,
                       struct om_generation_opts o, struct om_generation_config c,
                       const struct om_generated_text *got)
{
    const struct om_generated_texts *want = NULL;
    struct om_pipeline_opts po = OM_PIPELINE_OPTS_INIT;
    const struct om_text same = { l->same, strlen(l->same) };
    struct om_pipeline *p = NULL;

    po.task = "text2text-generation";
    c.forced_bos_token_id = l->forced;
    o.config = &c;
    o.src_lang = o.tgt_lang = NULL;
    CHECK_OK(
        t, om_pipeline_wrap(&po, om_pipeline_model(w->p), om_pipeline_tokenizer(w->p), &p, &w->err),
        &w->err);
    if (p)
        CHECK_OK(t, om_pipeline_generate(p, &same, 1, &o, &want, &w->err), &w->err);
    if (want)
        CHECK_INT(t, got->len, want->at[0].len);
    for (size_t k = 0; want && k < OM_MIN(want->at[0].len, got->len); k++)
        CHECK_INT(t, got->ids[k], want->at[0].ids[k]);
    om_pipeline_release(want);
    om_pipeline_free(p);
}

static void check_language(struct test *t, struct whole *w, const struct language_case *l)
{
    const struct om_text text = { "a b", 3 };
    struct om_generation_opts o = OM_GENERATION_OPTS_INIT;
    const struct om_generated_texts *out = NULL;
    struct om_generation_config c = greedy(w->p, 6);
    int rc;

    c.num_beams = 1;
    c.decoder_start_token_id = 0;
    o.config = &c;
    o.src_lang = l->source;
    o.tgt_lang = l->target;
    rc = om_pipeline_generate(w->p, &text, 1, &o, &out, &w->err);
    test_check(t, (rc < 0) == (l->says != NULL), __FILE__, __LINE__, "%d: %s", rc,
               om_error_text(&w->err));
    if (l->says)
        CHECK_HAS(t, om_error_text(&w->err), l->says);
    om_error_release(&w->err);
    if (out && l->forced >= 0)
        CHECK_INT(t, out->at[0].ids[1], l->forced);
    if (out && l->same)
        check_same(t, w, l, o, c, &out->at[0]);
    om_pipeline_release(out);
}

/* The answer begins with its language; the text has its own where the tokenizer's class puts it. */
static void languages(struct test *t)
{
    static const struct language_case cases[] = {
        { "MBart50Tokenizer", "null", "en_XX", "de_DE", 4, "en_XX a b </s>", NULL },
        { "MBartTokenizerFast", "null", "en_XX", "de_DE", 4, "a b </s> en_XX", NULL },
        { "NllbTokenizer", "null", "en_XX", "de_DE", 4, "en_XX a b </s>", NULL },
        { "NllbTokenizerFast", END_THEN_LANGUAGE, "de_DE", "en_XX", 3, NULL, NULL },
        { "M2M100Tokenizer", "null", "en", "de", 6, "__en__ a b </s>", NULL },
        { "M2M100Tokenizer", "null", "en", "fr", 6, NULL, "no token \"__fr__\"" },
        { "MBart50Tokenizer", "null", "en_XX", NULL, 0, NULL, "src_lang and tgt_lang" },
        { "BertTokenizer", "null", NULL, NULL, -1, "a b", NULL },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_arena a = OM_ARENA_INIT(1 << 20);
        const char *const dir = write_tokenizer(t, &a, cases[i].class, cases[i].post);
        struct whole w;

        test_case(t, "case %zu", i);
        if (whole_open(t, &w, "goldens/t5/text2text-generation-with-past", dir, "translation",
                       NULL))
            check_language(t, &w, &cases[i]);
        whole_close(&w);
        om_arena_release(&a);
    }
}

const struct test_entry t_pipe_generation[] = {
    { "typed", typed },         { "seeds", seeds },
    { "chat", chat },           { "refused", refused },
    { "opening", opening },     { "always", always },
    { "languages", languages }, TEST_END,
};
