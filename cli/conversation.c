/* cli/conversation.c: conversations of a command line or of a JSON line. */
#include "cli/conversation.h"

#include <optimum/tokenizer.h>

/* JSON texts of the parts of a line. */
struct parts {
    struct om_buf messages, tools, documents, variables;
};

static const struct om_buf empty = OM_BUF_INIT(SIZE_MAX / 2);

static void release_parts(struct parts *p)
{
    om_buf_release(&p->messages);
    om_buf_release(&p->tools);
    om_buf_release(&p->documents);
    om_buf_release(&p->variables);
}

static bool is_option(om_sv key)
{
    static const char *const options[] = { "messages",
                                           "tools",
                                           "documents",
                                           "chat_template",
                                           "add_generation_prompt",
                                           "continue_final_message",
                                           "add_special_tokens",
                                           "truncation",
                                           "padding",
                                           NULL };

    for (size_t i = 0; options[i]; i++)
        if (om_sv_is(key, options[i]))
            return true;
    return false;
}

static void write_variables(struct om_buf *b, const struct om_json *line)
{
    struct om_json_iter it = { 0 };

    om_buf_addc(b, '{');
    while (om_json_next(line, &it)) {
        if (is_option(it.key))
            continue;
        om_buf_adds(b, b->len > 1 ? ", " : "");
        om_buf_json_string(b, it.key);
        om_buf_adds(b, ": ");
        om_json_write(b, it.value, 0);
    }
    om_buf_addc(b, '}');
}

/* NULL for null and what is absent. */
static const char *write_part(struct om_buf *b, const struct om_json *v)
{
    if (om_json_kind(v) == OM_JSON_NULL)
        return NULL;
    om_json_write(b, v, 0);
    return b->ptr;
}

static int get_flag(const struct om_json *line, const char *key, bool *out, struct om_error *err)
{
    const struct om_json *const v = om_json_get(line, key);

    if (om_json_kind(v) == OM_JSON_NULL || om_json_bool(v, out))
        return 0;
    return om_fail(err, OM_E_FORMAT, "key \"%s\": expected a boolean, found %s", key,
                   om_json_kind_text(v));
}

static int get_options(const struct om_json *line, struct parts *p, struct om_chat_opts *o,
                       struct om_error *err)
{
    const struct om_json *const name = om_json_get(line, "chat_template");
    om_sv text;

    OM_TRY(get_flag(line, "add_generation_prompt", &o->add_generation_prompt, err));
    OM_TRY(get_flag(line, "continue_final_message", &o->continue_final_message, err));
    if (om_json_str(name, &text))
        o->chat_template = text.ptr;
    else if (om_json_kind(name) != OM_JSON_NULL)
        return om_fail(err, OM_E_FORMAT, "key \"chat_template\": expected a string, found %s",
                       om_json_kind_text(name));
    o->tools = write_part(&p->tools, om_json_get(line, "tools"));
    o->documents = write_part(&p->documents, om_json_get(line, "documents"));
    write_part(&p->messages, om_json_get(line, "messages"));
    write_variables(&p->variables, line);
    o->variables = p->variables.ptr;
    OM_TRY(om_buf_check(&p->messages, err));
    OM_TRY(om_buf_check(&p->tools, err));
    OM_TRY(om_buf_check(&p->documents, err));
    return om_buf_check(&p->variables, err);
}

int conversation_of_line(const struct om_tokenizer *tok, const struct om_json *line, char **text,
                         size_t *len, struct om_error *err)
{
    struct parts p = { empty, empty, empty, empty };
    struct om_chat_opts opts = OM_CHAT_OPTS_INIT;
    int rc = get_options(line, &p, &opts, err);

    if (rc == 0)
        rc = om_tokenizer_apply_chat_template(tok, p.messages.ptr ? p.messages.ptr : "null", &opts,
                                              text, len, err);
    release_parts(&p);
    return rc;
}

int conversation_of_texts(const struct om_tokenizer *tok, const struct opt_args *texts, char **text,
                          size_t *len, struct om_error *err)
{
    struct om_chat_opts opts = OM_CHAT_OPTS_INIT;
    struct om_buf b = empty;
    int rc;

    opts.add_generation_prompt = true;
    for (size_t i = 0; i < texts->len; i++) {
        om_buf_printf(&b, "%s{\"role\": \"%s\", \"content\": ", i ? ", " : "[",
                      i % 2 ? "assistant" : "user");
        om_buf_json_string(&b, om_sv_str(texts->items[i]));
        om_buf_addc(&b, '}');
    }
    om_buf_addc(&b, ']');
    rc = om_buf_check(&b, err);
    if (rc == 0)
        rc = om_tokenizer_apply_chat_template(tok, b.ptr, &opts, text, len, err);
    om_buf_release(&b);
    return rc;
}
