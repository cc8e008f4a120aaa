/* tests/unit/t_convert.c: tokenizers from vocabulary files, and SentencePiece models that are not
 * what they should be. */
#include <stdio.h>

#include "base/file.h"
#include "base/wire.h"
#include "test.h"
#include "tok/spm.h"

#include <optimum/tokenizer.h>

static void put_file(struct test *t, const char *name, om_sv text)
{
    struct om_arena a = OM_ARENA_INIT(1u << 16);
    FILE *const f = fopen(om_path_join(&a, test_tmpdir(t), name), "wb");

    CHECK(t, f && fwrite(text.ptr, 1, text.len, f) == text.len && fclose(f) == 0);
    om_arena_release(&a);
}

static void put_piece(struct om_buf *b, const char *text, float score, int type)
{
    const size_t begun = om_wire_begin(b, 1);

    om_wire_put_bytes(b, 1, om_sv_str(text));
    om_wire_put_float(b, 2, score);
    if (type)
        om_wire_put_int(b, 3, type);
    om_wire_end(b, begun);
}

static void put_trainer(struct om_buf *b, int algorithm, int unk_id)
{
    const size_t begun = om_wire_begin(b, 2);

    om_wire_put_int(b, 3, algorithm);
    om_wire_put_int(b, 40, unk_id);
    om_wire_end(b, begun);
}

static void put_model(struct om_buf *b, int algorithm)
{
    put_piece(b, "<unk>", 0.0f, TOK_SPM_UNKNOWN);
    put_piece(b, "<s>", 0.0f, TOK_SPM_CONTROL);
    put_piece(b, "</s>", 0.0f, TOK_SPM_CONTROL);
    put_piece(b, "a", -3.0f, 0);
    put_piece(b, "b", -3.5f, 0);
    put_piece(b, "\xE2\x96\x81", -2.0f, 0);
    put_piece(b, "ab", -1.0f, 0);
    put_piece(b,
              "\xE2\x96\x81"
              "ab",
              -0.5f, 0);
    put_trainer(b, algorithm, 0);
}

/* The ids of text by what lies in the test's directory. */
static void check_ids(struct test *t, const char *text, const char *want)
{
    const struct om_text in = { text, strlen(text) };
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok = NULL;
    struct om_encoding *e = NULL;
    struct om_buf got = OM_BUF_INIT(1u << 16);

    CHECK_OK(t, om_tokenizer_open(test_tmpdir(t), &tok, &err), &err);
    if (tok)
        CHECK_OK(t, om_tokenizer_encode(tok, &in, NULL, NULL, &e, &err), &err);
    for (size_t i = 0; e && i < e->len; i++)
        om_buf_printf(&got, "%s%" PRIu32, i ? " " : "", e->ids[i]);
    om_buf_adds(&got, "");
    CHECK_STR(t, got.ptr ? got.ptr : "", want);
    om_buf_release(&got);
    om_encoding_free(e);
    om_tokenizer_free(tok);
    om_error_release(&err);
}

static void vocab_txt(struct test *t)
{
    put_file(t, "vocab.txt", OM_SVL("[PAD]\n[UNK]\r\n[CLS]\n[SEP]\n[MASK]\nab\n##c\n"));
    put_file(t, "tokenizer_config.json", OM_SVL("{\"tokenizer_class\":\"BertTokenizerFast\"}"));
    check_ids(t, "ABc x [MASK]", "2 5 6 1 4 3");
    put_file(t, "tokenizer_config.json",
             OM_SVL("{\"tokenizer_class\":\"BertTokenizer\",\"do_lower_case\":false,"
                    "\"additional_special_tokens\":[\"<x>\"]}"));
    check_ids(t, "ABc abc<x>", "2 1 5 6 7 3");
}

static void merges_txt(struct test *t)
{
    put_file(t, "vocab.json",
             OM_SVL("{\"<s>\":0,\"<pad>\":1,\"</s>\":2,\"a\":3,\"b\":4,\"ab\":5}"));
    put_file(t, "merges.txt", OM_SVL("#version: 0.2\na b\n"));
    put_file(t, "config.json", OM_SVL("{\"model_type\":\"roberta\"}"));
    check_ids(t, "abb", "0 5 4 2");
}

static void sentence_piece(struct test *t)
{
    struct om_buf b = OM_BUF_INIT(1u << 16);

    put_model(&b, TOK_SPM_UNIGRAM);
    put_file(t, "spiece.model", om_buf_sv(&b));
    put_file(t, "tokenizer_config.json",
             OM_SVL("{\"tokenizer_class\":\"T5Tokenizer\",\"extra_ids\":1}"));
    check_ids(t, "ab b<extra_id_0>", "7 5 4 8 2");
    om_buf_clear(&b);
    put_model(&b, TOK_SPM_BPE);
    put_file(t, "tokenizer.model", om_buf_sv(&b));
    put_file(t, "spiece.model", om_buf_sv(&b));
    put_file(t, "tokenizer_config.json", OM_SVL("{\"tokenizer_class\":\"LlamaTokenizer\"}"));
    check_ids(t, "ab b", "1 7 5 4");
    put_file(t, "tokenizer_config.json",
             OM_SVL("{\"tokenizer_class\":\"CodeLlamaTokenizer\",\"legacy\":false,"
                    "\"prefix_token\":null,\"middle_token\":\"ab\"}"));
    check_ids(t, "ab b", "1 6 5 5 4"); /* legacy does not count; there is no prefix token */
    check_ids(t, "\xE2\x96\x81<SUF>\xE2\x96\x81<EOT>", "1 8 9");
    om_buf_release(&b);
}

/* What classes put around the same model; ids as Transformers gives them. */
static void spm_classes(struct test *t)
{
    static const struct {
        const char *config, *want;
    } cases[] = {
        { "{\"tokenizer_class\":\"XLMRobertaTokenizer\"}", "0 8 6 5 2" },
        { "{\"tokenizer_class\":\"BarthezTokenizer\"}", "1 7 5 4 2" },
        { "{\"tokenizer_class\":\"MBart50Tokenizer\",\"src_lang\":\"fr_XX\"}", "16 8 6 5 2" },
        { "{\"tokenizer_class\":\"NllbTokenizer\"}", "56 8 6 5 2" },
        { "{\"tokenizer_class\":\"NllbTokenizer\",\"legacy_behaviour\":true}", "8 6 5 2 56" },
        { "{\"tokenizer_class\":\"SeamlessM4TTokenizer\"}", "3 1 8 6 5 3" },
        { "{\"tokenizer_class\":\"XGLMTokenizer\"}", "2 8 6 5" },
        { "{\"tokenizer_class\":\"XLNetTokenizer\"}", "7 5 4 8 10" },
        { "{\"tokenizer_class\":\"ReformerTokenizer\"}", "7 5 4" },
        { "{\"tokenizer_class\":\"BigBirdTokenizer\"}", "10 7 5 4 8" },
        { "{\"tokenizer_class\":\"UdopTokenizer\"}", "7 5 4 2" },
        { "{\"tokenizer_class\":\"MT5TokenizerFast\"}", "7 5 4 2" },
    };
    struct om_buf b = OM_BUF_INIT(1u << 16);

    put_model(&b, TOK_SPM_UNIGRAM);
    put_file(t, "spiece.model", om_buf_sv(&b));
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "%s", cases[i].config);
        put_file(t, "tokenizer_config.json", om_sv_str(cases[i].config));
        check_ids(t, "ab b", cases[i].want);
    }
    om_buf_release(&b);
}

#define WHISPER_TOKENS                                                                           \
    "\"added_tokens_decoder\":{\"12\":{\"content\":\"<|startoftranscript|>\",\"special\":true}," \
    "\"13\":{\"content\":\"<|fr|>\",\"special\":true},"                                          \
    "\"14\":{\"content\":\"<|notimestamps|>\",\"special\":true}}"

static void bpe_classes(struct test *t)
{
    static const struct {
        const char *config, *want;
    } cases[] = {
        { "{\"tokenizer_class\":\"CLIPTokenizer\"}", "7 6 11 5 8" },
        { "{\"tokenizer_class\":\"Qwen2Tokenizer\"}", "11 4" },
        { "{\"tokenizer_class\":\"OpenAIGPTTokenizer\"}", "6 11 5" },
        { "{\"tokenizer_class\":\"HerbertTokenizer\"}", "0 1 1 11 5 2" },
        { "{\"tokenizer_class\":\"DebertaTokenizer\"}", "9 11 4 10" },
        { "{\"tokenizer_class\":\"BlenderbotTokenizer\"}", "11 4 2" },
        { "{\"tokenizer_class\":\"LayoutLMv3Tokenizer\"}", "0 11 4 2" },
        { "{\"tokenizer_class\":\"MarkupLMTokenizer\"}", "0 1 1 1 11 4 2" },
        { "{\"tokenizer_class\":\"WhisperTokenizer\"," WHISPER_TOKENS "}", "12 14 11 4 8" },
        { "{\"tokenizer_class\":\"WhisperTokenizer\",\"language\":\"French\",\"task\":"
          "\"translate\"," WHISPER_TOKENS "}",
          "12 13 8 14 11 4 8" }, /* no token for the task */
        { "{\"tokenizer_class\":\"WhisperTokenizer\",\"language\":\"fr\",\"predict_timestamps\":"
          "true," WHISPER_TOKENS "}",
          "12 13 11 4 8" },
    };

    put_file(
        t, "vocab.json",
        OM_SVL("{\"<s>\":0,\"<unk>\":1,\"</s>\":2,\"a\":3,\"b\":4,\"b</w>\":5,\"ab</w>\":6,"
               "\"<|startoftext|>\":7,\"<|endoftext|>\":8,\"[CLS]\":9,\"[SEP]\":10,\"ab\":11}"));
    put_file(t, "merges.txt", OM_SVL("#version: 0.2\na b</w>\na b\n"));
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "%s", cases[i].config);
        put_file(t, "tokenizer_config.json", om_sv_str(cases[i].config));
        check_ids(t, "AB abb", cases[i].want);
    }
}

/* A code counts in front of a text and of what follows a special token, and nowhere else. */
static void marian_codes(struct test *t)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        { ">>fra<< ab b", "4 2 6 3 0" },
        { ">>xyz<<ab", "1 2 0" },
        { "ab >>fra<<", "2 6 1 1 1 0" },
        { "ab</s>>>fra<<b", "2 0 4 6 3 0" },
        { ">>fra<", "6 1 1 1 0" },
        { ">>fra<<", "4 0" },
        { "", "0" },
    };
    struct om_buf b = OM_BUF_INIT(1u << 16);

    put_model(&b, TOK_SPM_UNIGRAM);
    put_file(t, "source.spm", om_buf_sv(&b));
    put_file(t, "vocab.json",
             OM_SVL("{\"</s>\":0,\"<unk>\":1,\"\xE2\x96\x81"
                    "ab\":2,\"b\":3,\">>fra<<\":4,\"<pad>\":5,\"\xE2\x96\x81\":6,\"ab\":7}"));
    put_file(t, "tokenizer_config.json", OM_SVL("{\"tokenizer_class\":\"MarianTokenizer\"}"));
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "%s", cases[i].text);
        check_ids(t, cases[i].text, cases[i].want);
    }
    om_buf_release(&b);
}

static void refused_whisper(struct test *t)
{
    static const char *const settings[] = { "language", "task" };

    put_file(t, "vocab.json", OM_SVL("{\"<|endoftext|>\":0}"));
    put_file(t, "merges.txt", OM_SVL("#version: 0.2\n"));
    for (size_t i = 0; i < OM_COUNT(settings); i++) {
        char config[128];
        struct om_error err = OM_ERROR_INIT;
        struct om_tokenizer *tok = NULL;
        snprintf(config, sizeof(config),
                 "{\"tokenizer_class\":\"WhisperTokenizer\",\"%s\":\"Klingon\"}", settings[i]);
        put_file(t, "tokenizer_config.json", om_sv_str(config));
        CHECK_INT(t, om_tokenizer_open(test_tmpdir(t), &tok, &err), OM_E_CONFIG);
        CHECK_HAS(t, om_error_text(&err), "Klingon");
        om_error_release(&err);
    }
}

static void refused_classes(struct test *t)
{
    static const struct {
        const char *config, *want;
    } cases[] = {
        { "{}", "config.json" },
        { "{\"tokenizer_class\":\"NoTokenizer\"}", "NoTokenizer" },
        { "{\"tokenizer_class\":\"GPT2Tokenizer\"}", "vocab.json" },
        { "{\"tokenizer_class\":\"T5Tokenizer\"}", "SentencePiece" },
        { "{\"tokenizer_class\":\"T5Tokenizer\",\"extra_ids\":-1}", "extra_ids" },
    };
    struct om_buf b = OM_BUF_INIT(1u << 16);

    put_model(&b, TOK_SPM_UNIGRAM);
    put_file(t, "vocab.txt", OM_SVL("[UNK]\n"));
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_error err = OM_ERROR_INIT;
        struct om_tokenizer *tok = NULL;
        test_case(t, "%s", cases[i].config);
        if (i == 4)
            put_file(t, "spiece.model", om_buf_sv(&b));
        put_file(t, "tokenizer_config.json", om_sv_str(cases[i].config));
        CHECK(t, om_tokenizer_open(test_tmpdir(t), &tok, &err) < 0);
        CHECK(t, strstr(om_error_text(&err), cases[i].want) != NULL);
        om_error_release(&err);
    }
    om_buf_release(&b);
}

static void hostile(struct test *t)
{
    static const struct {
        om_sv bytes;
        const char *want;
    } cases[] = {
        { { "", 0 }, "0 pieces" },
        { { "\x0a", 1 }, "field" },
        { { "\x0a\x7f\x0a", 3 }, "field" },
        { { "\x0a\x03\x0a\x01\xff", 5 }, "UTF-8" },
        { { "\x0a\x02\x08\x01", 4 }, "wire type" },
        { { "\x0a\x02\x18\x09", 4 }, "type 9" },
        { { "\x0a\x05\x15\x00\x00\xc0\x7f", 7 }, "finite" },
        { { "\x0a\x00\x12\x02\x18\x07", 6 }, "model type 7" },
        { { "\x0a\x00\x10\x01", 4 }, "wire type" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_arena a = OM_ARENA_INIT(1u << 16);
        struct om_error err = OM_ERROR_INIT;
        struct tok_spm m;
        test_case(t, "case %zu", i);
        CHECK(t, tok_spm_read(&a, cases[i].bytes, &m, &err) < 0);
        CHECK(t, strstr(om_error_text(&err), cases[i].want) != NULL);
        om_error_release(&err);
        om_arena_release(&a);
    }
}

const struct test_entry t_convert[] = {
    { "vocab_txt", vocab_txt },
    { "merges_txt", merges_txt },
    { "sentence_piece", sentence_piece },
    { "spm_classes", spm_classes },
    { "bpe_classes", bpe_classes },
    { "marian_codes", marian_codes },
    { "refused_whisper", refused_whisper },
    { "refused_classes", refused_classes },
    { "hostile", hostile },
    TEST_END,
};
