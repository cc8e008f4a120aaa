/* tests/fuzz/fuzz_tok_encode.c: several tokenizers on arbitrary bytes. The first byte chooses one,
 * the second where the text ends and its pair begins. */
#include "fuzz.h"
#include "tok/tok.h"

#define ALPHABET                                 \
    "\"a\":1,\"b\":2,\"e\":3,\"\xC3\xA9\":4,\" " \
    "\":5,\"\xE2\x96\x81\":6,\"ab\":7,\"##a\":8,\"##b\":9,\"b</w>\":10,\"\xE4\xBB\x8A\":11"
#define ADDED                                                                                    \
    "\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true,\"single_word\":false,"    \
    "\"lstrip\":true,\"rstrip\":true,"                                                           \
    "\"normalized\":false},{\"id\":0,\"content\":\"ab\",\"special\":false,\"single_word\":true," \
    "\"lstrip\":false,\"rstrip\":"                                                               \
    "false,\"normalized\":true}]"
#define TEMPLATE                                                                                   \
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"c\",\"type_id\":0}}" \
    ",{\"Sequence\":{"                                                                             \
    "\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{"        \
    "\"SpecialToken\":{\"id\":"                                                                    \
    "\"c\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],\"special_tokens\":{"      \
    "\"c\":{\"id\":\"c\","                                                                         \
    "\"ids\":[1],\"tokens\":[\"a\"]}}}"
#define ROBERTA                                                                                  \
    "{\"type\":\"RobertaProcessing\",\"sep\":[\"a\",1],\"cls\":[\"b\",2],\"trim_offsets\":true," \
    "\"add_prefix_space\":true}"
#define SEQUENCE(key, list) "{\"type\":\"Sequence\",\"" key "\":[" list "]}"
#define TOKENIZER(norm, pre, post, model)                                                   \
    "{" ADDED ",\"normalizer\":" norm ",\"pre_tokenizer\":" pre ",\"post_processor\":" post \
    ",\"model\":" model "}"

static const char *const sources[] = {
    TOKENIZER("{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,"
              "\"strip_accents\":true,\"lowercase\":true}",
              "{\"type\":\"BertPreTokenizer\"}", TEMPLATE,
              "{\"type\":\"WordPiece\",\"unk_token\":\"a\",\"continuing_subword_prefix\":\"##\","
              "\"max_input_chars_per_word\":9,\"vocab\":{" ALPHABET "}}"),
    TOKENIZER(SEQUENCE("normalizers", "{\"type\":\"NFKC\"},{\"type\":\"Replace\",\"pattern\":{"
                                      "\"Regex\":\"\\\\s+|x*\"},\"content\":\" \"}"),
              SEQUENCE("pretokenizers", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{L}+|"
                                        "\\\\s+(?!\\\\S)\"},\"behavior\":\"MergedWithPrevious\","
                                        "\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_"
                                        "space\":true,\"trim_offsets\":true}"),
              ROBERTA,
              "{\"type\":\"BPE\",\"unk_token\":\"a\",\"fuse_unk\":true,\"vocab\":{" ALPHABET
              "},\"merges\":[\"a b\"]}"),
    TOKENIZER(
        SEQUENCE("normalizers", "{\"type\":\"NFD\"},{\"type\":\"Nmt\"},{\"type\":\"StripAccents\"},"
                                "{\"type\":\"Lowercase\"}"),
        SEQUENCE("pretokenizers", "{\"type\":\"UnicodeScripts\"},{\"type\":\"Metaspace\","
                                  "\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"first\"}"),
        "null",
        "{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"a\",-1],[\"ab\",-1.5],["
        "\"\xE2\x96\x81\",-2],[\"\xC3\xA9\",-3]]}"),
    TOKENIZER("{\"type\":\"Prepend\",\"prepend\":\"\xE2\x96\x81\"}", "null", TEMPLATE,
              "{\"type\":\"BPE\",\"unk_token\":\"b\",\"byte_fallback\":true,\"end_of_word_suffix\":"
              "\"</w>\",\"vocab\":{" ALPHABET "},\"merges\":[]}"),
    TOKENIZER("{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}",
              SEQUENCE("pretokenizers", "{\"type\":\"WhitespaceSplit\"},{\"type\":\"Punctuation\"},"
                                        "{\"type\":\"Digits\",\"individual_digits\":true},"
                                        "{\"type\":\"FixedLength\",\"length\":3}"),
              "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true}",
              "{\"type\":\"WordLevel\",\"unk_token\":\"a\",\"vocab\":{" ALPHABET "}}"),
};

enum { SOURCES = sizeof(sources) / sizeof(sources[0]) };

static const struct om_tokenizer *tokenizer(unsigned which)
{
    static struct om_tokenizer *open[SOURCES]; /* for the life of the program */
    struct om_error err = OM_ERROR_INIT;

    if (!open[which] && tok_open_text(om_sv_str(sources[which]), &open[which], &err) < 0)
        fprintf(stderr, "%s\n", om_error_text(&err));
    FUZZ_CHECK(open[which] != NULL);
    return open[which];
}

/* Offsets are ordered and lie in the text. */
static void check_window(const struct om_encoding *e, const struct om_text *texts)
{
    for (size_t i = 0; i < e->len; i++) {
        const struct om_offsets o = e->byte_offsets[i], c = e->offsets[i];
        FUZZ_CHECK(o.begin <= o.end && c.begin <= c.end && c.end <= o.end);
        FUZZ_CHECK(o.end <= (texts[0].len > texts[1].len ? texts[0].len : texts[1].len) + 8);
    }
}

static void encode(const struct om_tokenizer *tok, const struct om_text *texts,
                   const struct om_encode_opts *opts)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_encoding *e;
    char *decoded;

    if (om_tokenizer_encode(tok, &texts[0], texts[1].len ? &texts[1] : NULL, opts, &e, &err) < 0) {
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
        om_error_release(&err);
        return;
    }
    check_window(e, texts);
    for (size_t i = 0; i < e->overflow_len; i++)
        check_window(&e->overflow[i], texts);
    FUZZ_CHECK(om_tokenizer_decode(tok, e->ids, e->len, NULL, &decoded, NULL, &err) == 0);
    free(decoded);
    om_encoding_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct om_truncation truncation = { .max_length = 8, .stride = 2 };
    const struct om_padding padding = { .multiple_of = 8, .direction = OM_SIDE_LEFT };
    struct om_encode_opts opts = OM_ENCODE_OPTS_INIT;

    if (size < 2)
        return 0;
    const struct om_tokenizer *const tok = tokenizer(data[0] % SOURCES);
    const size_t len = size - 2, cut = len * data[1] / 255;
    uint8_t *const first = fuzz_copy(data + 2, cut), *const second =
                                                         fuzz_copy(data + 2 + cut, len - cut);
    const struct om_text texts[2] = { { (const char *)first, cut },
                                      { (const char *)second, len - cut } };
    encode(tok, texts, NULL);
    opts.truncation = &truncation;
    opts.padding = &padding;
    encode(tok, texts, &opts);
    free(first);
    free(second);
    return 0;
}
