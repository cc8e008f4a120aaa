/* tests/unit/t_tok.c: tokenizers beyond what the recorded calls show: refused files, odd input,
 * limits, threads. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "test.h"
#include "tok/charsmap.h"
#include "tok/regex.h"
#include "tok/tok.h"
#include "tok/trie.h"
#include "tok/unicode.h"

#define WORD_LEVEL                                                                              \
    "\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"u\":0,\"a\":1,\"b\":2," \
    "\"ab\":3}}"
#define LITERAL(s)       \
    {                    \
        s, sizeof(s) - 1 \
    } /* of an om_sv, in a constant */
#define SPACES "\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"}"

static struct om_tokenizer *open_text(struct test *t, const char *json)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok = NULL;

    CHECK_OK(t, tok_open_text(om_sv_str(json), &tok, &err), &err);
    om_error_release(&err);
    return tok;
}

static struct om_encoding *encode(struct test *t, const struct om_tokenizer *tok, const char *text,
                                  size_t len, const struct om_encode_opts *opts)
{
    const struct om_text in = { text, len };
    struct om_error err = OM_ERROR_INIT;
    struct om_encoding *e = NULL;

    CHECK_OK(t, om_tokenizer_encode(tok, &in, NULL, opts, &e, &err), &err);
    om_error_release(&err);
    return e;
}

/* "id:begin-end ..." in bytes and in code points. */
static void describe(const struct om_encoding *e, char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; e && i < e->len && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%u:%u-%u(%u-%u)", i ? " " : "", e->ids[i],
                              e->byte_offsets[i].begin, e->byte_offsets[i].end, e->offsets[i].begin,
                              e->offsets[i].end);
}

/* ---- files that are refused, and what is said ---- */

static void refused(struct test *t)
{
    static const struct {
        const char *json, *message;
    } cases[] = {
        { "", "line 1, column 1" },
        { "[]", "expected an object, found array" },
        { "{}", "key \"model\": expected an object, found nothing" },
        { "{" WORD_LEVEL ",\"version\":\"2.0\"}", "version \"2.0\", expected \"1.0\"" },
        { "{" WORD_LEVEL ",\"extra\":1}", "unknown key \"extra\"" },
        { "{" WORD_LEVEL ",\"normalizer\":{\"type\":\"Upper\"}}", "unknown normalizer \"Upper\"" },
        { "{" WORD_LEVEL ",\"normalizer\":{\"type\":\"NFC\",\"x\":1}}",
          "normalizer \"NFC\": unknown key \"x\"" },
        { "{" WORD_LEVEL ",\"normalizer\":7}",
          "normalizer: expected an object with a \"type\", found integer" },
        { "{" WORD_LEVEL ",\"normalizer\":{\"type\":\"Strip\",\"strip_left\":true}}",
          "normalizer \"Strip\": key \"strip_right\" is missing" },
        { "{" WORD_LEVEL ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[null]}}",
          "element 0 is null" },
        { "{" WORD_LEVEL ",\"pre_tokenizer\":{\"type\":\"Punctuation\",\"behavior\":\"Odd\"}}",
          "unknown value \"Odd\"" },
        { "{" WORD_LEVEL
          ",\"pre_tokenizer\":{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"ab\"}}",
          "expected one character" },
        { "{" WORD_LEVEL ",\"pre_tokenizer\":{\"type\":\"FixedLength\",\"length\":0}}",
          "expected at least 1" },
        { "{" WORD_LEVEL ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_"
          "prefix_space\":false}}",
          "\"prepend_scheme\" is not \"never\"" },
        { "{" WORD_LEVEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a(\"},"
          "\"behavior\":\"Removed\",\"invert\":false}}",
          "pre-tokenizer \"Split\": regular expression \"a(\"" },
        { "{" WORD_LEVEL
          ",\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"x\"],\"cls\":[\"y\",1]}}",
          "key \"sep\": expected a token and its id" },
        { "{" WORD_LEVEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{"
          "\"SpecialToken\":{\"id\":\"q\",\"type_id\":0}}],"
          "\"pair\":[],\"special_tokens\":{}}}",
          "special token \"q\" has no list" },
        { "{" WORD_LEVEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{"
          "\"Sequence\":{\"id\":\"B\",\"type_id\":0}}],"
          "\"pair\":[],\"special_tokens\":{}}}",
          "there is no text \"B\"" },
        { "{" WORD_LEVEL
          ",\"decoder\":{\"type\":\"Strip\",\"content\":\"a\",\"start\":-1,\"stop\":0}}",
          "expected 0 to" },
        { "{" WORD_LEVEL ",\"added_tokens\":[{\"id\":0}]}",
          "added token 0: key \"content\" is missing" },
        { "{" WORD_LEVEL ",\"padding\":{\"strategy\":\"Odd\",\"direction\":\"Left\",\"pad_id\":0,"
          "\"pad_type_id\":0,\"pad_token\":\"\"}}",
          "padding: key \"strategy\"" },
        { "{\"model\":{\"type\":\"Chars\"}}", "unknown model \"Chars\"" },
        { "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\"}}", "key \"vocab\" is missing" },
        { "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"a\":4294967295}}}",
          "an id below 2^31" },
        { "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"a\":2000000000}}}",
          "has the id 2000000000 in a vocabulary of 1" },
        { "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"a\":-1}}}",
          "expected an id" },
        { "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"a\":01}}}",
          "expected an id" },
        { "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"a\\ud800\":1}}}",
          "a pair of surrogates" },
        { "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"a\\q\":1}}}",
          "an escape sequence" },
        { "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"\xFF\":1}}}",
          "it is not UTF-8" },
        { "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"a\":1,}}}",
          "expected a string" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1}}",
          "model \"BPE\": key \"dropout\"" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}",
          "merge token \"b\" is not in the vocabulary" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}",
          "merge token \"aa\" is not in the vocabulary" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}",
          "two tokens with a space between" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}",
          "expected ','" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"continuing_subword_prefix\":"
          "\"##\",\"merges\":[\"a b\"]}}",
          "is shorter than the prefix" },
        { "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",NaN]],\"unk_id\":0}}",
          "a finite number" },
        { "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e999]],\"unk_id\":0}}",
          "a finite number" },
        { "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1]],\"unk_id\":1}}",
          "key \"unk_id\": 1 in a vocabulary of 1" },
        { "{" WORD_LEVEL
          ",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"!\"}}",
          "not base64" },
        { "{" WORD_LEVEL
          ",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"/////w==\"}}",
          "its array needs more" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_error err = OM_ERROR_INIT;
        struct om_tokenizer *tok = NULL;
        test_case(t, "%s", cases[i].json);
        CHECK(t, tok_open_text(om_sv_str(cases[i].json), &tok, &err) < 0);
        CHECK_HAS(t, om_error_text(&err), cases[i].message);
        CHECK(t, tok == NULL);
        om_error_release(&err);
    }
}

/* A Sequence in a Sequence in a Sequence ... */
static void nested(struct test *t)
{
    struct om_buf json = OM_BUF_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok = NULL;

    om_buf_adds(&json, "{" WORD_LEVEL ",\"decoder\":");
    for (unsigned i = 0; i < 40; i++)
        om_buf_adds(&json, "{\"type\":\"Sequence\",\"decoders\":[");
    for (unsigned i = 0; i < 40; i++)
        om_buf_adds(&json, "]}");
    om_buf_addc(&json, '}');
    CHECK_INT(t, tok_open_text(om_buf_sv(&json), &tok, &err), OM_E_LIMIT);
    CHECK_HAS(t, om_error_text(&err), "nested more than 16 deep");
    om_error_release(&err);
    om_buf_release(&json);
}

/* ---- regular expressions ---- */

static void dialect(struct test *t)
{
    static const struct {
        const char *in, *out; /* NULL: refused */
    } cases[] = {
        { "abc|d*", "abc|d*" },
        { "[a-c]", "[a-c]" },
        { "[a[bc]]", "[abc]" },
        { "[a[^b]]", "(?:[a]|[^b])" },
        { "[^a[^b]]", "(?:(?![a]|[^b])(?s:.))" },
        { "[a-c&&[b]]", "(?:(?=[a-c])[b])" },
        { "x{2,3}+", "(?:x{2,3})+" },
        { "(ab){2}+", "(?:(ab){2})+" },
        { "x{,3}", "x{0,3}" },
        { "x{a}", "x{a}" },
        { "(?m:.)", "(?s:.)" },
        { "(?i:'s)", "(?i:'s)" },
        { "\\h", "[0-9a-fA-F]" },
        { "\\H", "(?:[^0-9a-fA-F])" },
        { "\\v", "[\\x0B]" },
        { "\\u00e9", "[\\x{00e9}]" },
        { "\\p{L}", "[\\p{L}]" },
        { "\\p{^Lu}", "[\\P{Lu}]" },
        { "\\p{Greek}", "[\\p{sc:Greek}]" },
        { "\\p{Letter}", "[\\p{L}]" },
        { "[[:punct:]x]", "[\\p{P}\\p{S}x]" },
        { "\\.\\[", "\\.\\[" },
        { "[a", NULL },
        { "a)", NULL },
        { "\\", NULL },
        { "[\\", NULL },
        { "\\p", NULL },
        { "(?~ab)", NULL },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_buf out = OM_BUF_INIT(1u << 20);
        struct om_error err = OM_ERROR_INIT;
        test_case(t, "%s", cases[i].in);
        const int rc = tok_regex_translate(om_sv_str(cases[i].in), &out, &err);
        CHECK_INT(t, rc == 0, cases[i].out != NULL);
        if (rc == 0 && cases[i].out)
            CHECK_STR(t, out.ptr, cases[i].out);
        om_error_release(&err);
        om_buf_release(&out);
    }
}

/* A pattern that would take ages gives up. */
static void bomb(struct test *t)
{
    struct om_tokenizer *const tok = open_text(
        t,
        "{" WORD_LEVEL
        ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a+)+(a+)+(a+)+[b-z]\"},"
        "\"behavior\":\"Isolated\",\"invert\":false}}");
    char text[64];
    const struct om_text in = { text, sizeof(text) };
    struct om_error err = OM_ERROR_INIT;
    struct om_encoding *e;

    memset(text, 'a', sizeof(text));
    CHECK_INT(t, om_tokenizer_encode(tok, &in, NULL, NULL, &e, &err), OM_E_LIMIT);
    CHECK_HAS(t, om_error_text(&err), "gave up");
    om_error_release(&err);
    om_tokenizer_free(tok);
}

/* ---- texts ---- */

static void odd_texts(struct test *t)
{
    static const struct {
        const char *text;
        size_t len;
        const char *want;
    } cases[] = {
        { "", 0, "" },
        { "a ab", 4, "1:0-1(0-1) 3:2-4(2-4)" },
        { "a\0 b", 4, "0:0-2(0-2) 2:3-4(3-4)" },
        { "\xFF a", 3, "0:0-1(0-1) 1:2-3(2-3)" },
        { "\xE4\xBB a\xC3", 5, "0:0-2(0-1) 0:3-5(2-4)" }, /* one character for each invalid part */
        { "\xF0\x9F\x91\xA9\xC0\x80 a", 8, "0:0-6(0-3) 1:7-8(4-5)" }, /* overlong: two */
        { "\xED\xA0\x80 b", 5, "0:0-3(0-3) 2:4-5(4-5)" },             /* a surrogate: three */
        { "\xC3\xA9 a", 4, "0:0-2(0-1) 1:3-4(2-3)" },
    };
    struct om_tokenizer *const tok = open_text(t, "{" WORD_LEVEL "," SPACES "}");
    char got[256];

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_encoding *const e = encode(t, tok, cases[i].text, cases[i].len, NULL);
        test_case(t, "case %zu", i);
        describe(e, got, sizeof(got));
        CHECK_STR(t, got, cases[i].want);
        om_encoding_free(e);
    }
    om_tokenizer_free(tok);
}

/* Many marks on one letter are sorted in linear time; a long word of one letter is merged with a
 * heap. */
static void long_texts(struct test *t)
{
    enum { N = 200000 };
    struct om_tokenizer *const nfd =
        open_text(t, "{" WORD_LEVEL ",\"normalizer\":{\"type\":\"NFC\"}}");
    struct om_tokenizer *const bpe =
        open_text(t, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"aa\":1,\"aaaa\":2},"
                     "\"merges\":[\"a a\",\"aa aa\"]}}");
    char *const text = malloc(2 * N);
    struct om_encoding *e;

    CHECK(t, text != NULL);
    for (size_t i = 0; text && i < N; i++)
        memcpy(text + 2 * i, i % 2 ? "\xCC\x81" : "\xCC\xA3", 2); /* two classes */
    e = encode(t, nfd, text, 2 * N, NULL);
    CHECK_INT(t, e ? e->len : 0, 1);
    om_encoding_free(e);
    if (text)
        memset(text, 'a', 2 * N);
    e = encode(t, bpe, text, 2 * N - 1, NULL);
    CHECK_INT(t, e ? e->len : 0, N / 2 + 1);
    om_encoding_free(e);
    free(text);
    om_tokenizer_free(nfd);
    om_tokenizer_free(bpe);
}

/* ---- windows ---- */

static void windows(struct test *t)
{
    static const struct {
        size_t max, stride;
        enum om_truncation_strategy strategy;
        const char *message; /* NULL: works */
        size_t overflow;
    } cases[] = {
        { 2, 0, OM_TRUNCATE_LONGEST_FIRST, NULL, 1 },
        { 2, 1, OM_TRUNCATE_LONGEST_FIRST, NULL, 2 },
        { 0, 0, OM_TRUNCATE_LONGEST_FIRST, NULL, 1 },
        { 9, 9, OM_TRUNCATE_ONLY_SECOND, NULL, 0 },
        { 2, 2, OM_TRUNCATE_LONGEST_FIRST, "stride 2, expected less than the 2 tokens", 0 },
        { 2, 3, OM_TRUNCATE_LONGEST_FIRST, "has no room for a stride of 3", 0 },
        { 2, 0, OM_TRUNCATE_ONLY_SECOND, "there is none", 0 },
    };
    struct om_tokenizer *const tok = open_text(t, "{" WORD_LEVEL "," SPACES "}");
    const struct om_text text = { "a b a b", 7 };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const struct om_truncation truncation = { cases[i].max, cases[i].stride, cases[i].strategy,
                                                  OM_SIDE_RIGHT };
        struct om_encode_opts opts = OM_ENCODE_OPTS_INIT;
        struct om_error err = OM_ERROR_INIT;
        struct om_encoding *e = NULL;
        test_case(t, "case %zu", i);
        opts.truncation = &truncation;
        const int rc = om_tokenizer_encode(tok, &text, NULL, &opts, &e, &err);
        CHECK_INT(t, rc, cases[i].message ? OM_E_USAGE : OM_OK);
        if (cases[i].message)
            CHECK_HAS(t, om_error_text(&err), cases[i].message);
        else if (rc == 0)
            CHECK_INT(t, e->overflow_len, cases[i].overflow);
        om_encoding_free(e);
        om_error_release(&err);
    }
    om_tokenizer_free(tok);
}

static void batches(struct test *t)
{
    struct om_tokenizer *const tok = open_text(
        t,
        "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"a\":0}}," SPACES "}");
    const struct om_text texts[] = { { "a", 1 }, { "a a a", 5 }, { "", 0 } },
                         bad[] = { { "a", 1 }, { "a x", 3 }, { "x", 1 } };
    const struct om_padding padding = { .multiple_of = 2, .direction = OM_SIDE_LEFT, .pad_id = 8 };
    struct om_encode_opts opts = OM_ENCODE_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct om_encoding *out[3] = { NULL };

    opts.padding = &padding;
    CHECK_OK(t, om_tokenizer_encode_batch(tok, texts, NULL, 3, &opts, out, &err), &err);
    for (size_t i = 0; i < 3 && out[i]; i++) {
        CHECK_INT(t, out[i]->len, 4);
        CHECK_INT(t, out[i]->ids[0], 8);
        CHECK_INT(t, out[i]->ids[3], i == 2 ? 8 : 0);
        CHECK_INT(t, out[i]->attention_mask[3], i != 2);
        om_encoding_free(out[i]);
    }
    CHECK_INT(t, om_tokenizer_encode_batch(tok, bad, NULL, 3, &opts, out, &err), OM_E_FORMAT);
    CHECK_HAS(t, om_error_text(&err),
              "text 1: unknown word, but the unknown token \"u\" is not in the vocabulary");
    CHECK(t, !out[0] && !out[1] && !out[2]);
    om_error_release(&err);
    om_tokenizer_free(tok);
}

/* ---- vocabulary, configuration ---- */

static void vocabulary(struct test *t)
{
    struct om_tokenizer *const tok =
        open_text(t, "{" WORD_LEVEL ",\"added_tokens\":[{\"id\":3,\"content\":\"ab\",\"special\":"
                     "true,\"single_word\":false,\"lstrip\":false,"
                     "\"rstrip\":false,\"normalized\":false},{\"id\":77,\"content\":\"<x>\","
                     "\"special\":false,\"single_word\":false,\"lstrip\":false,"
                     "\"rstrip\":false,\"normalized\":false}]}");
    const char *text = NULL;
    uint32_t id = 0;
    size_t len = 0;

    CHECK_INT(t, om_tokenizer_vocab_size(tok), 5);
    CHECK_INT(t, om_tokenizer_id_limit(tok), 5);
    CHECK(t, om_tokenizer_token_to_id(tok, "<x>", 3, &id) &&
                 id == 4); /* the next free one, whatever the file says */
    CHECK(t, om_tokenizer_token_to_id(tok, "ab", 2, &id) && id == 3);
    CHECK(t, !om_tokenizer_token_to_id(tok, "abc", 3, &id));
    CHECK(t, om_tokenizer_id_to_token(tok, 4, &text, &len) && len == 3 && strcmp(text, "<x>") == 0);
    CHECK(t, !om_tokenizer_id_to_token(tok, 5, &text, &len) &&
                 !om_tokenizer_id_to_token(tok, UINT32_MAX, &text, &len));
    CHECK(t, om_tokenizer_is_special(tok, 3) && !om_tokenizer_is_special(tok, 4) &&
                 !om_tokenizer_is_special(tok, 99));
    CHECK(t, om_tokenizer_truncation(tok) == NULL && om_tokenizer_padding(tok) == NULL);
    om_tokenizer_free(tok);
    om_tokenizer_free(NULL);
}

static void write_text(struct test *t, const char *name, const char *text)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_out o = OM_OUT_INIT;

    CHECK_OK(t, om_out_open(&o, test_tmpdir(t), name, NULL, &err), &err);
    CHECK_OK(t, om_out_write(&o, text, strlen(text), &err), &err);
    CHECK_OK(t, om_out_commit(&o, false, &err), &err);
}

static void configuration(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok = NULL;

    CHECK(t, om_tokenizer_open(test_tmpdir(t), &tok, &err) < 0);
    CHECK_HAS(t, om_error_text(&err), "tokenizer.json: ");
    om_error_release(&err);
    write_text(t, "tokenizer.json", "{" WORD_LEVEL "}");
    write_text(t, "special_tokens_map.json",
               "{\"unk_token\":\"u\",\"pad_token\":{\"content\":\"p\",\"lstrip\":false}}");
    write_text(t, "tokenizer_config.json",
               "{\"model_max_length\":1000000000000000019884624838656,\"padding_side\":\"left\","
               "\"unk_token\":{\"content\":\"U\"},"
               "\"bos_token\":null,\"tokenizer_class\":\"BertTokenizer\",\"clean_up_tokenization_"
               "spaces\":true,"
               "\"chat_template\":[{\"name\":\"x\",\"template\":\"1\"},{\"name\":\"default\","
               "\"template\":\"2\"}]}");
    CHECK_OK(t, om_tokenizer_open(test_tmpdir(t), &tok, &err), &err);
    const struct om_tokenizer_info *const info = tok ? om_tokenizer_get_info(tok) : NULL;
    if (info) {
        CHECK(t, info->model_max_length == UINT64_MAX && info->padding_side == OM_SIDE_LEFT);
        CHECK(t, info->truncation_side == OM_SIDE_RIGHT && info->clean_up_tokenization_spaces);
        CHECK(t, info->bos_token == NULL && info->cls_token == NULL);
        CHECK_STR(t, info->unk_token, "U");
        CHECK_STR(t, info->pad_token, "p");
        CHECK_STR(t, info->tokenizer_class, "BertTokenizer");
        CHECK_STR(t, info->chat_template, "2");
    }
    om_tokenizer_free(tok);
    tok = NULL;
    write_text(t, "tokenizer_config.json", "{\"pad_token\":5}");
    CHECK(t, om_tokenizer_open(om_path_join(&a, test_tmpdir(t), "tokenizer.json"), &tok, &err) < 0);
    CHECK_HAS(t, om_error_text(&err),
              "tokenizer_config.json: key \"pad_token\": expected a token, found integer");
    om_error_release(&err);
    om_arena_release(&a);
}

static void decoding(struct test *t)
{
    static const uint32_t ids[] = { 1, 99, 2, 3 };
    struct om_tokenizer *const tok =
        open_text(t, "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"u\":0,"
                     "\"a\":1,\".\":2,\"n't\":3}}}");
    struct om_decode_opts opts = OM_DECODE_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    char *text = NULL;
    size_t len = 0;

    CHECK_OK(t, om_tokenizer_decode(tok, ids, 4, NULL, &text, &len, &err), &err);
    CHECK_STR(t, text, "a . n't");
    free(text);
    opts.clean_up_spaces = true;
    CHECK_OK(t, om_tokenizer_decode(tok, ids, 4, &opts, &text, NULL, &err), &err);
    CHECK_STR(t, text, "a.n't");
    free(text);
    CHECK_OK(t, om_tokenizer_decode(tok, ids, 0, &opts, &text, &len, &err), &err);
    CHECK(t, text && text[0] == '\0' && len == 0);
    free(text);
    om_tokenizer_free(tok);
}

/* ---- building from parts, without a tokenizer.json ---- */

static void from_parts(struct test *t)
{
    static const struct tok_entry entries[] = { { LITERAL("<unk>"), 0, 0.0 },
                                                { LITERAL("\xE2\x96\x81"), 1, -2.0 },
                                                { LITERAL("\xE2\x96\x81hi"), 2, -1.0 },
                                                { LITERAL("h"), 3, -3.0 } };
    struct tok_model_parts parts = TOK_MODEL_PARTS_INIT;
    const struct tok_added_token added = { .content = LITERAL("<s>"), .special = true };
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok = NULL;
    struct tok_builder b;
    char got[128];

    parts.type = TOK_UNIGRAM;
    parts.entries = entries;
    parts.len = OM_COUNT(entries);
    parts.unk_id = 0;
    CHECK_OK(t, tok_builder_init(&b, &err), &err);
    CHECK_OK(
        t,
        tok_builder_component_text(&b, &tok_pre_tokenizers,
                                   "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\"}"),
        &err);
    CHECK_OK(t, tok_builder_model(&b, &parts), &err);
    CHECK_OK(t, tok_builder_added(&b, &added, 1), &err);
    CHECK_OK(t, tok_builder_finish(&b, &tok), &err);
    struct om_encoding *const e = encode(t, tok, "hi<s>h", 6, NULL);
    describe(e, got, sizeof(got));
    CHECK_STR(t, got, "2:0-2(0-2) 4:2-5(2-5) 1:5-6(5-6) 3:5-6(5-6)");
    om_encoding_free(e);
    om_tokenizer_free(tok);
}

/* ---- threads share a tokenizer ---- */

struct worker {
    const struct om_tokenizer *tok;
    pthread_t thread;
    unsigned wrong;
};

static void *work(void *arg)
{
    struct worker *const w = arg;
    char text[32];

    for (unsigned i = 0; i < 2000; i++) {
        const int n = snprintf(text, sizeof(text), "a %u ab b", i % 97);
        const struct om_text in = { text, (size_t)n };
        struct om_encoding *e = NULL;
        if (om_tokenizer_encode(w->tok, &in, NULL, NULL, &e, NULL) < 0 || e->len != 4 ||
            e->ids[0] != 1 || e->ids[2] != 3)
            w->wrong++;
        om_encoding_free(e);
    }
    return NULL;
}

static void shared(struct test *t)
{
    struct om_tokenizer *const tok =
        open_text(t, "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"u\",\"continuing_subword_"
                     "prefix\":\"##\",\"max_input_chars_per_word\":9,"
                     "\"vocab\":{\"u\":0,\"a\":1,\"b\":2,\"ab\":3}}," SPACES "}");
    struct worker workers[8] = { { .tok = NULL } };

    for (size_t i = 0; i < OM_COUNT(workers); i++) {
        workers[i].tok = tok;
        CHECK_INT(t, pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < OM_COUNT(workers); i++) {
        pthread_join(workers[i].thread, NULL);
        CHECK_INT(t, workers[i].wrong, 0);
    }
    om_tokenizer_free(tok);
}

/* ---- small parts ---- */

static void byte_alphabet(struct test *t)
{
    bool seen[0x200] = { false };

    for (unsigned b = 0; b < 256; b++) {
        const uint32_t c = tok_byte_char((uint8_t)b);
        CHECK(t, c < 0x200 && !seen[c] && !tok_is_space(c));
        CHECK_INT(t, tok_char_byte(c), b);
        seen[c] = true;
    }
    CHECK_INT(t, tok_byte_char(' '), 0x120);
    CHECK_INT(t, tok_byte_char('\n'), 0x10A);
    CHECK_INT(t, tok_byte_char('A'), 'A');
    CHECK_INT(t, tok_char_byte(0x144), -1);
    CHECK_INT(t, tok_char_byte(' '), -1);
}

static void tries(struct test *t)
{
    static const struct tok_entry entries[] = {
        { LITERAL("b"), 1, 0 },  { LITERAL("abc"), 2, 0 }, { LITERAL(""), 3, 0 },
        { LITERAL("ab"), 4, 0 }, { LITERAL("ab"), 5, 0 },  { LITERAL("\xC3\xA9"), 6, 0 },
    };
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct tok_trie trie;
    uint32_t node;

    CHECK_OK(t, tok_trie_build(&a, entries, OM_COUNT(entries), &trie, &err), &err);
    CHECK_INT(t, trie.len, 7); /* the root, a, ab, abc, b and two of e acute */
    node = tok_trie_step(&trie, tok_trie_step(&trie, 0, 'a'), 'b');
    CHECK_INT(t, trie.value[node], 5);
    CHECK_INT(t, trie.value[tok_trie_step(&trie, node, 'c')], 2);
    CHECK_INT(t, tok_trie_step(&trie, 0, 'x'), 0);
    CHECK_INT(t, trie.value[0], UINT32_MAX);
    om_arena_release(&a);
}

/* Arrays that point outside of themselves. */
static void hostile_charsmaps(struct test *t)
{
    static const uint8_t units[][12] = {
        { 4, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 'a', 0 },
        { 4, 0, 0, 0, 0, 4, 0, 0, 'a', 0 },
        { 8, 0, 0, 0, 0, 0, 0, 0, 'a', 1, 0xFF, 0x7F },
    };
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct tok_work *const w = tok_work_new();

    for (size_t i = 0; w && i < OM_COUNT(units); i++) {
        struct tok_charsmap m = { .len = 0 };
        struct om_error err = OM_ERROR_INIT;
        if (tok_charsmap_parse(&a, (om_sv){ (const char *)units[i], sizeof(units[i]) }, &m, &err) ==
            0) {
            tok_work_start(w, &err);
            tok_work_text(w, OM_SVL("a\xC3\xA9 \r\n\xCC\x81"));
            tok_charsmap_apply(&m, w, &w->pieces[0]);
            CHECK_INT(t, w->rc, 0);
        }
        om_error_release(&err);
    }
    tok_work_free(w);
    om_arena_release(&a);
}

const struct test_entry t_tok[] = { { "refused", refused },
                                    { "nested", nested },
                                    { "dialect", dialect },
                                    { "bomb", bomb },
                                    { "odd_texts", odd_texts },
                                    { "long_texts", long_texts },
                                    { "windows", windows },
                                    { "batches", batches },
                                    { "vocabulary", vocabulary },
                                    { "configuration", configuration },
                                    { "decoding", decoding },
                                    { "from_parts", from_parts },
                                    { "shared", shared },
                                    { "byte_alphabet", byte_alphabet },
                                    { "tries", tries },
                                    { "hostile_charsmaps", hostile_charsmaps },
                                    TEST_END };
