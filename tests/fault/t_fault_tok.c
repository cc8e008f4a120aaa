/* tests/fault/t_fault_tok.c: tokenizers opened and used while allocations fail: a message, nothing
 * leaked, and what does work is right. */
#include "fault/fault.h"

#include <stdlib.h>

#include "tok/tok.h"

/* Most components, one model of each kind. */
#define ADDED                                                                                 \
    "\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true,\"single_word\":false," \
    "\"lstrip\":true,"                                                                        \
    "\"rstrip\":true,\"normalized\":true}]"
#define NORMALIZER                                                                                 \
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKD\"},{\"type\":"        \
    "\"BertNormalizer\","                                                                          \
    "\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":true,\"lowercase\":true}" \
    ",{\"type\":"                                                                                  \
    "\"Replace\",\"pattern\":{\"Regex\":\"\\\\p{Han}|z\"},\"content\":\"a\"},{\"type\":"           \
    "\"Prepend\",\"prepend\":\"b\"}]}"
#define PRE_TOKENIZER                                                                              \
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{" \
    "\"type\":\"Metaspace\","                                                                      \
    "\"replacement\":\"_\",\"prepend_scheme\":\"never\"}]}"
#define POST_PROCESSOR                                                                        \
    "\"post_processor\":{\"type\":\"RobertaProcessing\",\"sep\":[\"s\",1],\"cls\":[\"c\",0]," \
    "\"trim_offsets\":true,\"add_prefix_space\":true}"
#define DECODER                                                                                  \
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{"       \
    "\"Regex\":\"_\"},\"content\":"                                                              \
    "\" "                                                                                        \
    "\"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"CTC\",\"pad_token\":\"p\"," \
    "\"word_delimiter_token\":\"|\",\"cleanup\":true}]}"
#define TOKENIZER(model)                                                                          \
    "{" ADDED "," NORMALIZER "," PRE_TOKENIZER "," POST_PROCESSOR "," DECODER ",\"model\":" model \
    "}"
#define VOCAB "\"vocab\":{\"u\":0,\"a\":1,\"b\":2,\"ba\":3,\"\\u00e9\":4,\"##a\":5}"

static const char *const sources[] = {
    TOKENIZER("{\"type\":\"BPE\",\"unk_token\":\"u\"," VOCAB ",\"merges\":[\"b a\"]}"),
    TOKENIZER("{\"type\":\"WordPiece\",\"unk_token\":\"u\",\"continuing_subword_prefix\":\"##\","
              "\"max_input_chars_per_word\":50," VOCAB "}"),
    TOKENIZER("{\"type\":\"WordLevel\",\"unk_token\":\"u\"," VOCAB "}"),
    TOKENIZER("{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",0],[\"a\",-1],[\"ba\",-1.5],["
              "\"b\",-2]]}"),
};

static const char text[] = "aba <s> x\xC3\xA9z \xE4\xBB\x8A\xE5\xA4\xA9\xFF a";

static int use(const struct om_tokenizer *tok, struct om_error *err)
{
    const struct om_text texts[] = { { text, sizeof(text) - 1 }, { text, 3 } };
    const struct om_truncation truncation = { .max_length = 8, .stride = 1 };
    const struct om_padding padding = { .multiple_of = 8 };
    struct om_encode_opts opts = OM_ENCODE_OPTS_INIT;
    struct om_encoding *e = NULL, *batch[2] = { NULL };
    char *decoded = NULL;
    int rc;

    opts.truncation = &truncation;
    opts.padding = &padding;
    rc = om_tokenizer_encode(tok, &texts[0], &texts[1], &opts, &e, err);
    if (rc == 0)
        rc = om_tokenizer_decode(tok, e->ids, e->len, NULL, &decoded, NULL, err);
    if (rc == 0)
        rc = om_tokenizer_encode_batch(tok, texts, NULL, 2, &opts, batch, err);
    free(decoded);
    om_encoding_free(e);
    om_encoding_free(batch[0]);
    om_encoding_free(batch[1]);
    return rc;
}

static int open_and_use(void *user, struct om_error *err)
{
    struct om_tokenizer *tok = NULL;
    int rc = tok_open_text(om_sv_str(user), &tok, err);

    if (rc == 0)
        rc = use(tok, err);
    om_tokenizer_free(tok);
    return rc;
}

static void memory(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(sources); i++) {
        test_case(t, "tokenizer %zu", i);
        fault_sweep(t, FAULT_MEMORY, open_and_use, NULL, (void *)sources[i]);
    }
}

/* ---- conversations ---- */

static const char chat_template[] =
    "{% set ns = namespace(s='') %}{% macro m(a, b=1) %}{{ a ~ b }}{{ caller() if caller }}{% "
    "endmacro %}"
    "{% for x in messages %}{% set ns.s = ns.s + x.content|upper %}{{ m(x.role|title) }}"
    "{% call m([x.content, {'a': 1.5}]|tojson(indent=2)) %}{{ loop.index }}{% endcall %}{% endfor "
    "%}"
    "{{ ns.s.split('I')|map('trim')|join('-') }}{{ '%05.1f|%s' % (2.5, tools) }}{{ "
    "'{:>5}'.format(1) }}"
    "{{ messages|sort(attribute='role')|map(attribute='role')|list }}{{ messages[::-1]|length }}"
    "{{ [3, 1, 2]|sort|unique|list }}{{ 'a b'.replace('a', 'c')|indent }}{{ messages[-1].content "
    "}}";

static int converse(void *user, struct om_error *err)
{
    struct om_chat_opts opts = OM_CHAT_OPTS_INIT;
    char *rendered = NULL;
    int rc;

    opts.tools = "[{\"name\": \"f\"}]";
    opts.variables = "{\"x\": [1, {\"y\": null}]}";
    opts.chat_template = chat_template;
    opts.continue_final_message = true;
    rc = om_tokenizer_apply_chat_template(user,
                                          "[{\"role\": \"user\", \"content\": \"Hi it is I\"}, "
                                          "{\"role\": \"assistant\", \"content\": \"Well\"}]",
                                          &opts, &rendered, NULL, err);
    free(rendered);
    return rc;
}

static void conversations(struct test *t)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok = NULL;

    CHECK_OK(t, tok_open_text(om_sv_str(sources[2]), &tok, &err), &err);
    fault_sweep(t, FAULT_MEMORY, converse, NULL, tok);
    om_tokenizer_free(tok);
    om_error_release(&err);
}

const struct test_entry t_fault_tok[] = {
    { "memory", memory },
    { "conversations", conversations },
    TEST_END,
};
