/* src/tok/chat.c: chat templates: where they are found, which one counts, and what they are given.
 */
#include "tok/chat.h"

#include <stdlib.h>

#include "base/file.h"
#include "jinja/jinja.h"
#include "jinja/text.h"
#include "tok/tok.h"

enum { TEMPLATE_MAX = 8 << 20, VARS_MAX = 512 };

/* ---- finding templates ---- */

static int add_template(struct tok_builder *b, om_sv name, om_sv text)
{
    struct tok_chat *const chat = &b->tok->chat;
    struct om_arena *const a = &b->tok->arena;
    struct tok_template *const items = om_arena_array(a, chat->len + 1, sizeof(*items));

    if (!items)
        return tok_loader_no_memory(&b->loader);
    if (chat->len)
        memcpy(items, chat->items, chat->len * sizeof(*items));
    items[chat->len] = (struct tok_template){ om_arena_str(a, name), om_arena_str(a, text) };
    if (!items[chat->len].name || !items[chat->len].text)
        return tok_loader_no_memory(&b->loader);
    chat->items = items;
    chat->len++;
    return 0;
}

/* A text, a list of {"name", "template"}, or an object of names and texts. */
static int read_config(struct tok_builder *b, const struct om_json *v)
{
    struct om_json_iter it = { 0 };
    om_sv name, text;

    if (om_json_str(v, &text))
        return add_template(b, OM_SVL("default"), text);
    for (size_t i = 0; om_json_kind(v) == OM_JSON_ARRAY && i < om_json_len(v); i++) {
        const struct om_json *const item = om_json_at(v, i);
        if (!om_json_str(om_json_get(item, "name"), &name) ||
            !om_json_str(om_json_get(item, "template"), &text))
            return om_fail(b->loader.err, OM_E_CONFIG,
                           "key \"chat_template\", element %zu: expected a name and a template", i);
        OM_TRY(add_template(b, name, text));
    }
    while (om_json_kind(v) == OM_JSON_OBJECT && om_json_next(v, &it))
        if (om_json_str(it.value, &text))
            OM_TRY(add_template(b, it.key, text));
    return 0;
}

static int read_file(struct tok_builder *b, const char *path, om_sv name)
{
    struct om_arena a = OM_ARENA_INIT((size_t)TEMPLATE_MAX * 2);
    om_sv text;
    int rc = om_file_read(&a, path, TEMPLATE_MAX, &text, b->loader.err);

    if (rc == 0)
        rc = add_template(b, name, text);
    om_arena_release(&a);
    return rc;
}

static int read_directory(struct tok_builder *b, const char *dir)
{
    static const om_sv suffix = { ".jinja", 6 };
    const char **names;
    size_t n;

    if (!om_dir_exists(dir))
        return 0;
    OM_TRY(om_dir_list(&b->tok->arena, dir, &names, &n, b->loader.err));
    for (size_t i = 0; i < n; i++) {
        om_sv name = om_sv_str(names[i]);
        if (!om_sv_ends(name, suffix))
            continue;
        name.len -= suffix.len;
        const char *const path = om_path_join(&b->tok->arena, dir, names[i]);
        OM_TRY(path ? read_file(b, path, name) : tok_loader_no_memory(&b->loader));
    }
    return 0;
}

static const char *find_template(const struct tok_chat *chat, om_sv name)
{
    for (size_t i = chat->len; i-- > 0;)
        if (om_sv_is(name, chat->items[i].name))
            return chat->items[i].text;
    return NULL;
}

static bool token_text(const struct om_json *v, om_sv *out)
{
    return om_json_str(om_json_kind(v) == OM_JSON_OBJECT ? om_json_get(v, "content") : v, out);
}

static void put_key(struct om_buf *b, om_sv key)
{
    om_buf_adds(b, b->len > 1 ? ", " : "");
    om_buf_json_string(b, key);
    om_buf_adds(b, ": ");
}

/* additional_special_tokens, and those that extra_special_tokens names. */
static int read_tokens(struct tok_builder *b, const struct om_json *config)
{
    const struct om_json *const list = om_json_get(config, "additional_special_tokens");
    const struct om_json *const named = om_json_get(config, "extra_special_tokens");
    struct om_buf json = OM_BUF_INIT((size_t)1 << 26);
    struct om_json_iter it = { 0 };
    bool first = true;
    om_sv text;

    om_buf_addc(&json, '{');
    if (om_json_kind(list) == OM_JSON_ARRAY && om_json_len(list)) {
        put_key(&json, OM_SVL("additional_special_tokens"));
        om_buf_addc(&json, '[');
        for (size_t i = 0; i < om_json_len(list); i++) {
            if (!token_text(om_json_at(list, i), &text))
                continue;
            om_buf_adds(&json, first ? "" : ", ");
            om_buf_json_string(&json, text);
            first = false;
        }
        om_buf_addc(&json, ']');
    }
    while (om_json_kind(named) == OM_JSON_OBJECT && om_json_next(named, &it)) {
        if (!token_text(it.value, &text))
            continue;
        put_key(&json, it.key);
        om_buf_json_string(&json, text);
    }
    om_buf_addc(&json, '}');
    b->tok->chat.tokens = json.failed ? NULL : om_arena_str(&b->tok->arena, om_buf_sv(&json));
    om_buf_release(&json);
    return b->tok->chat.tokens ? 0 : tok_loader_no_memory(&b->loader);
}

int tok_chat_read(struct tok_builder *b, const char *dir, const struct om_json *config)
{
    struct om_arena *const a = &b->tok->arena;
    const char *const file = om_path_join(a, dir, "chat_template.jinja");
    const char *const more = om_path_join(a, dir, "additional_chat_templates");

    if (!file || !more)
        return tok_loader_no_memory(&b->loader);
    if (om_file_exists(file))
        OM_TRY(read_file(b, file, OM_SVL("default")));
    OM_TRY(read_directory(b, more));
    if (b->tok->chat.len == 0)
        OM_TRY(read_config(b, om_json_get(config, "chat_template")));
    b->tok->info.chat_template = find_template(&b->tok->chat, OM_SVL("default"));
    return config ? read_tokens(b, config) : 0;
}

/* ---- which one counts ---- */

static int no_template(const struct om_tokenizer *tok, const char *wanted, struct om_error *err)
{
    struct om_buf names = OM_BUF_INIT(1u << 12);
    int rc;

    for (size_t i = 0; i < tok->chat.len; i++)
        om_buf_printf(&names, "%s\"%s\"", i ? ", " : "", tok->chat.items[i].name);
    if (wanted)
        rc = om_fail(err, OM_E_MISSING, "there is no chat template \"%s\"%s%.*s", wanted,
                     tok->chat.len ? ", only " : "", OM_SV(om_buf_sv(&names)));
    else if (tok->chat.len)
        rc = om_fail(err, OM_E_MISSING, "no chat template is called \"default\": name one of %.*s",
                     OM_SV(om_buf_sv(&names)));
    else
        rc = om_fail(err, OM_E_MISSING, "the tokenizer has no chat template");
    om_buf_release(&names);
    return rc;
}

/* The text and name of the template: as the caller says, "tool_use" where there are tools, else
 * "default". */
static int choose_template(const struct om_tokenizer *tok, const struct om_chat_opts *o,
                           const char **text, const char **name, struct om_error *err)
{
    const char *const wanted = o->chat_template;

    *name = wanted ? wanted : o->tools ? "tool_use" : "default";
    *text = find_template(&tok->chat, om_sv_str(*name));
    if (*text)
        return 0;
    if (wanted && strchr(wanted, '{')) {
        *name = "given";
        *text = wanted;
        return 0;
    }
    if (!wanted) {
        *name = "default";
        *text = tok->info.chat_template;
    }
    return *text ? 0 : no_template(tok, wanted, err);
}

/* ---- what they are given ---- */

struct input {
    struct om_json *messages, *tools, *documents, *variables, *own;
    struct jinja_var vars[VARS_MAX];
    char *names[VARS_MAX]; /* of vars, to be freed; NULL: static */
    size_t len;
    om_sv final; /* the text that is to be continued */
};

static void release_input(struct input *in)
{
    om_json_free(in->messages);
    om_json_free(in->tools);
    om_json_free(in->documents);
    om_json_free(in->variables);
    om_json_free(in->own);
    for (size_t i = 0; i < in->len; i++)
        free(in->names[i]);
}

static int add_vars(struct input *in, const struct om_json *object, struct om_error *err)
{
    struct om_json_iter it = { 0 };

    while (om_json_next(object, &it)) {
        if (in->len == VARS_MAX)
            return om_fail(err, OM_E_LIMIT, "more than %d variables", VARS_MAX);
        char *const name = strndup(it.key.ptr, it.key.len);
        if (!name)
            return om_fail(err, OM_E_NOMEM, "out of memory for a variable");
        in->names[in->len] = name;
        in->vars[in->len++] = (struct jinja_var){ name, it.value };
    }
    return 0;
}

static void put_token(struct om_buf *b, const char *key, const char *text)
{
    if (!text)
        return;
    put_key(b, om_sv_str(key));
    om_buf_json_string(b, om_sv_str(text));
}

/* The special tokens and add_generation_prompt, as JSON. */
static int make_own(const struct om_tokenizer *tok, const struct om_chat_opts *o,
                    struct om_json **out, struct om_error *err)
{
    const struct om_tokenizer_info *const info = &tok->info;
    struct om_buf b = OM_BUF_INIT((size_t)1 << 27);
    const om_sv more = om_sv_str(tok->chat.tokens);
    int rc;

    om_buf_addc(&b, '{');
    put_token(&b, "bos_token", info->bos_token);
    put_token(&b, "eos_token", info->eos_token);
    put_token(&b, "unk_token", info->unk_token);
    put_token(&b, "sep_token", info->sep_token);
    put_token(&b, "pad_token", info->pad_token);
    put_token(&b, "cls_token", info->cls_token);
    put_token(&b, "mask_token", info->mask_token);
    if (more.len > 2) {
        om_buf_adds(&b, b.len > 1 ? ", " : "");
        om_buf_add(&b, more.ptr + 1, more.len - 2);
    }
    put_key(&b, OM_SVL("add_generation_prompt"));
    om_buf_adds(&b, o->add_generation_prompt ? "true" : "false");
    om_buf_adds(&b, ", \"tools\": null, \"documents\": null}");
    rc = om_buf_check(&b, err);
    if (rc == 0)
        rc = om_json_parse(om_buf_sv(&b), OM_JSON_LAST_WINS, out, err);
    om_buf_release(&b);
    return rc;
}

/* A list of objects. */
static int parse_list(const char *text, const char *what, struct om_json **out,
                      struct om_error *err)
{
    OM_TRY(om_wrap(err, om_json_parse(om_sv_str(text), OM_JSON_LAST_WINS, out, err), "%s", what));
    if (om_json_kind(*out) != OM_JSON_ARRAY)
        return om_fail(err, OM_E_FORMAT, "%s: expected a list, found %s", what,
                       om_json_kind_text(*out));
    for (size_t i = 0; i < om_json_len(*out); i++)
        if (om_json_kind(om_json_at(*out, i)) != OM_JSON_OBJECT)
            return om_fail(err, OM_E_FORMAT, "%s, element %zu: expected an object, found %s", what,
                           i, om_json_kind_text(om_json_at(*out, i)));
    return 0;
}

static int parse_variables(const char *text, struct om_json **out, struct om_error *err)
{
    OM_TRY(om_wrap(err, om_json_parse(om_sv_str(text), OM_JSON_LAST_WINS, out, err), "variables"));
    if (om_json_kind(*out) != OM_JSON_OBJECT)
        return om_fail(err, OM_E_FORMAT, "variables: expected an object, found %s",
                       om_json_kind_text(*out));
    return 0;
}

/* ---- continuing the last message: a mark after its text shows where the prompt ends ---- */

#define MARK "CONTINUE_FINAL_MESSAGE_TAG "

/* The object with one member's text followed by the mark. */
static void put_marked(struct om_buf *b, const struct om_json *object, const char *key, om_sv text)
{
    struct om_json_iter it = { 0 };
    struct om_buf marked = OM_BUF_INIT(b->max);
    bool first = true;

    om_buf_add(&marked, text.ptr, text.len);
    om_buf_adds(&marked, MARK);
    om_buf_addc(b, '{');
    while (om_json_next(object, &it)) {
        om_buf_adds(b, first ? "" : ", ");
        first = false;
        om_buf_json_string(b, it.key);
        om_buf_adds(b, ": ");
        if (om_sv_is(it.key, key))
            om_buf_json_string(b, om_buf_sv(&marked));
        else
            om_json_write(b, it.value, 0);
    }
    om_buf_addc(b, '}');
    b->failed |= marked.failed;
    om_buf_release(&marked);
}

/* The last part that has a text, -1: none. */
static int64_t last_text(const struct om_json *parts, om_sv *text)
{
    for (size_t i = om_json_len(parts); i-- > 0;)
        if (om_json_str(om_json_get(om_json_at(parts, i), "text"), text))
            return (int64_t)i;
    return -1;
}

/* A message whose content is a list of parts. */
static void put_marked_parts(struct om_buf *b, const struct om_json *message, size_t part,
                             om_sv text)
{
    const struct om_json *const parts = om_json_get(message, "content");
    struct om_json_iter it = { 0 };
    bool first = true;

    om_buf_addc(b, '{');
    while (om_json_next(message, &it)) {
        om_buf_adds(b, first ? "" : ", ");
        first = false;
        om_buf_json_string(b, it.key);
        om_buf_adds(b, ": ");
        if (!om_sv_is(it.key, "content")) {
            om_json_write(b, it.value, 0);
            continue;
        }
        for (size_t i = 0; i < om_json_len(parts); i++) {
            om_buf_adds(b, i ? ", " : "[");
            if (i == part)
                put_marked(b, om_json_at(parts, i), "text", text);
            else
                om_json_write(b, om_json_at(parts, i), 0);
        }
        om_buf_addc(b, ']');
    }
    om_buf_addc(b, '}');
}

static int put_last(struct om_buf *b, const struct om_json *message, om_sv *text,
                    struct om_error *err)
{
    const struct om_json *const content = om_json_get(message, "content");
    int64_t part = -1;

    if (om_json_str(content, text)) {
        put_marked(b, message, "content", *text);
        return 0;
    }
    if (om_json_kind(content) == OM_JSON_ARRAY)
        part = last_text(content, text);
    if (part < 0)
        return om_fail(err, OM_E_USAGE,
                       "continue_final_message: the last message has no text to continue");
    put_marked_parts(b, message, (size_t)part, *text);
    return 0;
}

/* The messages with the mark, in place of those that were given; in->final stays in *given. */
static int mark_last(struct input *in, struct om_json **given, struct om_error *err)
{
    const size_t n = om_json_len(in->messages);
    struct om_buf b = OM_BUF_INIT((size_t)1 << 30);
    struct om_json *marked = NULL;
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        om_buf_adds(&b, i ? ", " : "[");
        if (i + 1 < n)
            om_json_write(&b, om_json_at(in->messages, i), 0);
        else
            rc = put_last(&b, om_json_at(in->messages, i), &in->final, err);
    }
    om_buf_addc(&b, ']');
    if (rc == 0)
        rc = om_buf_check(&b, err);
    if (rc == 0)
        rc = om_json_parse(om_buf_sv(&b), OM_JSON_LAST_WINS, &marked, err);
    if (rc == 0) {
        *given = in->messages;
        in->messages = marked;
    }
    om_buf_release(&b);
    return rc;
}

static int cut_at_mark(struct om_buf *out, om_sv final, struct om_error *err)
{
    static const om_sv mark = { MARK, sizeof(MARK) - 1 };
    const om_sv bare = { mark.ptr, mark.len - 1 };
    om_sv text = om_buf_sv(out);
    const int64_t at = jj_find_last(text, bare);

    if (at < 0 || jj_find_text(text, jj_strip(final, NULL, JJ_BOTH), 0) < 0)
        return om_fail(
            err, OM_E_USAGE,
            "continue_final_message: the template does not show the last message as it is");
    const bool whole = om_sv_starts((om_sv){ text.ptr + at, text.len - (size_t)at }, mark);
    text.len = (size_t)at;
    out->len = whole ? text.len : jj_strip(text, NULL, JJ_RIGHT).len;
    out->ptr[out->len] = '\0';
    return 0;
}

/* ---- rendering ---- */

static int read_input(const struct om_tokenizer *tok, const char *messages,
                      const struct om_chat_opts *o, struct input *in, struct om_error *err)
{
    OM_TRY(parse_list(messages, "messages", &in->messages, err));
    if (om_json_len(in->messages) == 0)
        return om_fail(err, OM_E_USAGE, "messages: expected at least one");
    OM_TRY(make_own(tok, o, &in->own, err));
    OM_TRY(add_vars(in, in->own, err));
    if (o->tools)
        OM_TRY(parse_list(o->tools, "tools", &in->tools, err));
    if (o->documents)
        OM_TRY(parse_list(o->documents, "documents", &in->documents, err));
    if (o->variables) {
        OM_TRY(parse_variables(o->variables, &in->variables, err));
        OM_TRY(add_vars(in, in->variables, err));
    }
    return 0;
}

static void add_given(struct input *in, const char *name, const struct om_json *value)
{
    if (value)
        in->vars[in->len++] = (struct jinja_var){ name, value };
}

static int render(const char *source, const char *name, struct input *in,
                  const struct om_chat_opts *o, struct om_buf *out, struct om_error *err)
{
    struct jinja_opts opts = { .vars = in->vars, .has_now = o->now, .now = o->now ? *o->now : 0 };
    struct om_buf label = OM_BUF_INIT(1u << 12);
    struct jinja_template *t = NULL;
    int rc;

    if (in->len + 3 > VARS_MAX)
        return om_fail(err, OM_E_LIMIT, "more than %d variables", VARS_MAX - 3);
    add_given(in, "messages", in->messages);
    add_given(in, "tools", in->tools);
    add_given(in, "documents", in->documents);
    opts.len = in->len;
    om_buf_printf(&label, "chat template \"%s\"", name);
    rc = om_buf_check(&label, err);
    if (rc == 0)
        rc = jinja_compile(om_sv_str(source), label.ptr, &t, err);
    if (rc == 0)
        rc = jinja_render(t, &opts, out, err);
    jinja_free(t);
    om_buf_release(&label);
    return rc;
}

static int apply(const struct om_tokenizer *tok, const char *messages, const struct om_chat_opts *o,
                 struct input *in, struct om_buf *out, struct om_error *err)
{
    struct om_json *given = NULL;
    const char *source, *name;
    int rc;

    if (o->continue_final_message && o->add_generation_prompt)
        return om_fail(err, OM_E_USAGE,
                       "continue_final_message and add_generation_prompt exclude each other");
    OM_TRY(choose_template(tok, o, &source, &name, err));
    OM_TRY(read_input(tok, messages, o, in, err));
    rc = o->continue_final_message ? mark_last(in, &given, err) : 0;
    if (rc == 0)
        rc = render(source, name, in, o, out, err);
    if (rc == 0 && o->continue_final_message)
        rc = cut_at_mark(out, in->final, err);
    om_json_free(given);
    return rc;
}

static int apply_to_buf(const struct om_tokenizer *tok, const char *messages,
                        const struct om_chat_opts *opts, struct om_buf *out, struct om_error *err)
{
    static const struct om_chat_opts defaults = OM_CHAT_OPTS_INIT;
    struct input *const in = calloc(1, sizeof(*in));
    int rc;

    if (!in)
        return om_fail(err, OM_E_NOMEM, "out of memory for a conversation");
    rc = apply(tok, messages, opts ? opts : &defaults, in, out, err);
    release_input(in);
    free(in);
    return rc;
}

int om_tokenizer_apply_chat_template(const struct om_tokenizer *tok, const char *messages,
                                     const struct om_chat_opts *opts, char **text, size_t *len,
                                     struct om_error *err)
{
    struct om_buf out = OM_BUF_INIT((size_t)1 << 30);
    int rc;

    rc = apply_to_buf(tok, messages, opts, &out, err);
    if (rc == 0 && !out.ptr) { /* an empty text is one */
        om_buf_addc(&out, ' ');
        om_buf_clear(&out);
        rc = om_buf_check(&out, err);
    }
    if (rc < 0) {
        om_buf_release(&out);
        return rc;
    }
    *text = out.ptr;
    if (len)
        *len = out.len;
    return 0;
}

int om_tokenizer_encode_chat(const struct om_tokenizer *tok, const char *messages,
                             const struct om_chat_opts *opts, const struct om_encode_opts *encode,
                             struct om_encoding **out, struct om_error *err)
{
    struct om_encode_opts plain = OM_ENCODE_OPTS_INIT;
    struct om_text text;
    char *rendered;
    int rc;

    if (encode)
        plain = *encode;
    plain.no_special_tokens = true; /* the template has put them in */
    OM_TRY(om_tokenizer_apply_chat_template(tok, messages, opts, &rendered, &text.len, err));
    text.ptr = rendered;
    rc = om_tokenizer_encode(tok, &text, NULL, &plain, out, err);
    free(rendered);
    return rc;
}
