/* tests/unit/t_chat.c: chat templates of tokenizers: where they are found, which one counts, what
 * they are given. */
#include <stdio.h>
#include <stdlib.h>

#include <optimum/tokenizer.h>

#include "base/arena.h"
#include "base/file.h"
#include "test.h"

#define TOKENIZER                                                                          \
    "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"u\":0,\"<s>\":1," \
    "\"a\":2,\"b\":3}},\"added_tokens\":[{\"id\":1,\"content\":\"<s>\",\"special\":true,"  \
    "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false}],"      \
    "\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"post_processor\":{\"type\":"       \
    "\"RobertaProcessing\",\"sep\":[\"<s>\",1],\"cls\":[\"<s>\",1],\"trim_offsets\":true," \
    "\"add_prefix_space\":true}}"
#define TOKENS "\"bos_token\":\"<s>\",\"pad_token\":{\"content\":\"<p>\"},\"eos_token\":null"
#define HI "[{\"role\":\"user\",\"content\":\"Hi\"}]"

struct file {
    const char *name, *text;
};

static void write_file(struct test *t, const char *name, const char *text)
{
    struct om_arena a = OM_ARENA_INIT(1u << 16);
    struct om_error err = OM_ERROR_INIT;
    const char *const path = om_path_join(&a, test_tmpdir(t), name);

    if (strchr(name, '/')) {
        const om_sv dir = { path, (size_t)(strrchr(path, '/') - path) };
        CHECK_OK(t, om_dir_make(om_arena_str(&a, dir), &err), &err);
    }
    remove(path);
    FILE *const f = text ? fopen(path, "wb") : NULL;
    if (f) {
        fputs(text, f);
        fclose(f);
    }
    om_arena_release(&a);
    om_error_release(&err);
}

static struct om_tokenizer *open_dir(struct test *t)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok = NULL;

    write_file(t, "tokenizer.json", TOKENIZER);
    CHECK_OK(t, om_tokenizer_open(test_tmpdir(t), &tok, &err), &err);
    om_error_release(&err);
    return tok;
}

static void check(struct test *t, const struct om_tokenizer *tok, const char *messages,
                  const struct om_chat_opts *opts, const char *want, const char *error)
{
    struct om_error err = OM_ERROR_INIT;
    char *text = NULL;
    size_t len = 0;
    const int rc = om_tokenizer_apply_chat_template(tok, messages, opts, &text, &len, &err);

    if (want) {
        CHECK_OK(t, rc, &err);
        CHECK_STR(t, text ? text : "", want);
        CHECK_INT(t, len, strlen(want));
    } else {
        CHECK(t, rc < 0);
        CHECK_HAS(t, om_error_text(&err), error);
    }
    free(text);
    om_error_release(&err);
}

/* ---- which template ---- */

static void choice(struct test *t)
{
    static const struct {
        const char *config, *file, *extra; /* tokenizer_config.json, chat_template.jinja,
                                              additional_chat_templates/x.jinja */
        const char *name;
        bool tools;
        const char *want, *error;
    } cases[] = {
        { "{}", NULL, NULL, NULL, false, NULL, "the tokenizer has no chat template" },
        { "{\"chat_template\":\"one\"}", NULL, NULL, NULL, false, "one", NULL },
        { "{\"chat_template\":\"one\"}", "two\n", NULL, NULL, false, "two", NULL },
        { "{\"chat_template\":\"one\"}", NULL, "three", "x", false, "three", NULL },
        { "{\"chat_template\":\"one\"}", NULL, "three", NULL, false, NULL, "name one of \"x\"" },
        { "{\"chat_template\":\"one\"}", "two", "three", NULL, true, "two", NULL },
        { "{\"chat_template\":\"one\"}", NULL, NULL, "{{ 'given' }}", false, "given", NULL },
        { "{\"chat_template\":\"one\"}", NULL, NULL, "other", false, NULL,
          "there is no chat template \"other\", only \"default\"" },
        { "{\"chat_template\":[{\"name\":\"default\",\"template\":\"d\"},{\"name\":\"tool_use\","
          "\"template\":\"t\"}]}",
          NULL, NULL, NULL, true, "t", NULL },
        { "{\"chat_template\":[{\"name\":\"default\",\"template\":\"d\"},{\"name\":\"tool_use\","
          "\"template\":\"t\"}]}",
          NULL, NULL, NULL, false, "d", NULL },
        { "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"r\"}]}", NULL, NULL, NULL, false,
          NULL, "no chat template is called \"default\": name one of \"rag\"" },
        { "{\"chat_template\":{\"default\":\"o\"}}", NULL, NULL, NULL, false, "o", NULL },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_chat_opts opts = OM_CHAT_OPTS_INIT;
        test_case(t, "%zu", i);
        write_file(t, "tokenizer_config.json", cases[i].config);
        write_file(t, "chat_template.jinja", cases[i].file);
        write_file(t, "additional_chat_templates/x.jinja", cases[i].extra);
        struct om_tokenizer *const tok = open_dir(t);
        opts.chat_template = cases[i].name;
        opts.tools = cases[i].tools ? "[{}]" : NULL;
        if (tok)
            check(t, tok, HI, &opts, cases[i].want, cases[i].error);
        om_tokenizer_free(tok);
    }
}

/* ---- what it is given ---- */

static void input(struct test *t)
{
    static const struct {
        const char *source, *messages;
        struct om_chat_opts opts;
        const char *want, *error;
    } cases[] = {
        { "{{ bos_token }}{{ pad_token }}{{ eos_token is defined }}{{ additional_special_tokens "
          "}}{{ image_token }}",
          HI,
          { 0 },
          "<s><p>False['<x>', '<y>']<img>",
          NULL },
        { "{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}{{ x is defined }}",
          HI,
          { 0 },
          "TrueTrueFalseFalse",
          NULL },
        { "{{ tools[0].n }}{{ documents|length }}{{ add_generation_prompt }}{{ x.y }}{{ bos_token "
          "}}",
          HI,
          { .tools = "[{\"n\":5}]",
            .documents = "[{},{}]",
            .variables = "{\"x\":{\"y\":1.50},\"bos_token\":\"B\"}",
            .add_generation_prompt = true },
          "52True1.5B",
          NULL },
        { "{{ messages[0]|tojson }}",
          "[{\"b\":1,\"a\":[1e2,\"\\u00e9\",null]}]",
          { 0 },
          "{\"b\": 1, \"a\": [100.0, \"\xC3\xA9\", null]}",
          NULL },
        { "", HI, { 0 }, "", NULL },
        { "x", "", { 0 }, NULL, "messages: line 1" },
        { "x", "{}", { 0 }, NULL, "messages: expected a list, found object" },
        { "x", "[]", { 0 }, NULL, "messages: expected at least one" },
        { "x", "[1]", { 0 }, NULL, "messages, element 0: expected an object, found integer" },
        { "x", HI, { .tools = "{}" }, NULL, "tools: expected a list, found object" },
        { "x", HI, { .documents = "[1]" }, NULL, "documents, element 0: expected an object" },
        { "x", HI, { .variables = "[]" }, NULL, "variables: expected an object, found array" },
        { "a\n{{ 1|nope }}",
          HI,
          { 0 },
          NULL,
          "chat template \"default\", line 2: filter \"nope\" does not exist" },
        { "{{ raise_exception('No.') }}",
          HI,
          { 0 },
          NULL,
          "chat template \"default\", line 1: No." },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "%s", cases[i].source);
        write_file(t, "tokenizer_config.json",
                   "{" TOKENS ",\"additional_special_tokens\":[\"<x>\",{\"content\":\"<y>\"}],"
                              "\"extra_special_tokens\":{\"image_token\":\"<img>\"}}");
        write_file(t, "chat_template.jinja", cases[i].source);
        struct om_tokenizer *const tok = open_dir(t);
        if (tok)
            check(t, tok, cases[i].messages, &cases[i].opts, cases[i].want, cases[i].error);
        om_tokenizer_free(tok);
    }
}

/* ---- the last message is continued ---- */

#define PLAIN "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
#define TRIMMED "{% for m in messages %}<{{ m.role }}>{{ m.content|trim }}</>{% endfor %}"
#define PARTS "{% for m in messages %}{% for p in m.content %}{{ p.text }}|{% endfor %}{% endfor %}"

static void continued(struct test *t)
{
    static const struct {
        const char *source, *messages, *want, *error;
    } cases[] = {
        { PLAIN, "[{\"role\":\"u\",\"content\":\"Q\"},{\"role\":\"a\",\"content\":\"It is \"}]",
          "<u>Q</><a>It is ", NULL },
        { TRIMMED, "[{\"role\":\"a\",\"content\":\" It is  \"}]", "<a>It is", NULL },
        { PARTS,
          "[{\"content\":[{\"text\":\"x\"},{\"text\":\"y\",\"k\":1},{\"image\":1}],\"role\":\"a\"}"
          "]",
          "x|y", NULL },
        { PLAIN, "[{\"role\":\"a\"}]", NULL, "the last message has no text to continue" },
        { PARTS, "[{\"role\":\"a\",\"content\":[{\"image\":1}]}]", NULL,
          "the last message has no text to continue" },
        { "{{ messages[0].content|upper }}", "[{\"role\":\"a\",\"content\":\"x\"}]", NULL,
          "does not show the last message" },
        { "none", "[{\"role\":\"a\",\"content\":\"x\"}]", NULL, "does not show the last message" },
    };
    struct om_chat_opts opts = OM_CHAT_OPTS_INIT;
    struct om_tokenizer *tok;

    write_file(t, "tokenizer_config.json", "{}");
    tok = open_dir(t);
    opts.continue_final_message = true;
    for (size_t i = 0; tok && i < OM_COUNT(cases); i++) {
        test_case(t, "%s %s", cases[i].source, cases[i].messages);
        opts.chat_template = strchr(cases[i].source, '{') ? cases[i].source : "{{ 'none' }}";
        check(t, tok, cases[i].messages, &opts, cases[i].want, cases[i].error);
    }
    opts.add_generation_prompt = true;
    if (tok)
        check(t, tok, HI, &opts, NULL, "exclude each other");
    om_tokenizer_free(tok);
}

static void encoded(struct test *t)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_encoding *e = NULL;
    struct om_chat_opts opts = OM_CHAT_OPTS_INIT;
    struct om_tokenizer *tok;

    write_file(t, "tokenizer_config.json", "{" TOKENS "}");
    tok = open_dir(t);
    opts.chat_template = "{{ bos_token }} a {{ messages[0].content }}";
    CHECK_OK(t, om_tokenizer_encode_chat(tok, "[{\"content\":\"b\"}]", &opts, NULL, &e, &err),
             &err);
    CHECK_INT(t, e ? e->len : 0, 3); /* no second <s> */
    CHECK(t, e && e->ids[0] == 1 && e->ids[1] == 2 && e->ids[2] == 3);
    om_encoding_free(e);
    om_tokenizer_free(tok);
    om_error_release(&err);
}

const struct test_entry t_chat[] = {
    { "choice", choice },   { "input", input }, { "continued", continued },
    { "encoded", encoded }, TEST_END,
};
