/* src/pipe/text_generation.c: texts and chats that a decoder goes on with. */
#include "pipe/generation.h"

#include <stdlib.h>

static const struct pipe_generation_params defaults = { PIPE_GENERATION_DEFAULTS };

/* ---- parameters ---- */

static int read_long(const struct pipe_reader *r, const struct om_json *v, void *params)
{
    bool *const hole = params;
    om_sv name;

    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    if (!om_json_str(v, &name) || !om_sv_is(name, "hole"))
        return om_fail(r->err, OM_E_USAGE, "expected null or \"hole\"");
    *hole = true;
    return 0;
}

static int json_text(const struct pipe_reader *r, const struct om_json *v, const char **out)
{
    struct om_buf b = OM_BUF_INIT(PIPE_TEXT_MAX);
    int rc;

    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    om_json_write(&b, v, 0);
    rc = om_buf_check(&b, r->err);
    if (rc == 0) {
        *out = om_arena_str(r->arena, om_buf_sv(&b));
        rc = *out ? 0 : pipe_no_memory(r->err);
    }
    om_buf_release(&b);
    return rc;
}

static int read_tools(const struct pipe_reader *r, const struct om_json *v, void *params)
{
    return json_text(r, v, &((struct pipe_generation_params *)params)->tools);
}

static int read_documents(const struct pipe_reader *r, const struct om_json *v, void *params)
{
    return json_text(r, v, &((struct pipe_generation_params *)params)->documents);
}

static int read_template(const struct pipe_reader *r, const struct om_json *v, void *params)
{
    struct pipe_generation_params *const g = params;
    struct om_text text;

    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    OM_TRY(pipe_read_text(v, "", &text, r->err));
    g->chat_template = om_arena_str(r->arena, (om_sv){ text.ptr, text.len });
    return g->chat_template ? 0 : pipe_no_memory(r->err);
}

/* What the tokenizer takes beside what this pipeline gives it. */
static const struct pipe_param encode_params[] = {
    { .key = "tools", .kind = PIPE_PARAM_OTHER, .read = read_tools },
    { .key = "documents", .kind = PIPE_PARAM_OTHER, .read = read_documents },
    { .key = "chat_template", .kind = PIPE_PARAM_OTHER, .read = read_template },
    { .key = "truncation",
      .kind = PIPE_PARAM_OTHER,
      .offset = offsetof(struct pipe_generation_params, encode),
      .read = pipe_read_truncation },
    { .key = "padding",
      .kind = PIPE_PARAM_OTHER,
      .offset = offsetof(struct pipe_generation_params, encode),
      .read = pipe_read_padding },
    PIPE_PARAM(INT, struct pipe_generation_params, encode.max_length, "max_length", .min = 1),
    PIPE_PARAM(INT, struct pipe_generation_params, encode.multiple_of, "pad_to_multiple_of",
               .min = 1),
    PIPE_PARAM(CHOICE, struct pipe_generation_params, encode.add_special_tokens,
               "add_special_tokens"),
    { .key = NULL },
};

/* Any other one is a variable of chat templates, and nothing to texts. */
static bool any(om_sv key)
{
    (void)key;
    return true;
}

static bool in_table(om_sv key)
{
    for (const struct pipe_param *p = encode_params; p->key; p++)
        if (om_sv_is(key, p->key))
            return true;
    return false;
}

static int variables_text(const struct pipe_reader *r, const struct om_json *v,
                          struct pipe_generation_params *g)
{
    struct om_buf b = OM_BUF_INIT(PIPE_TEXT_MAX);
    struct om_json_iter it = { 0 };
    size_t n = 0;
    int rc;

    om_buf_addc(&b, '{');
    while (om_json_next(v, &it)) {
        if (in_table(it.key))
            continue;
        om_buf_adds(&b, n++ ? ", " : "");
        om_buf_json_string(&b, it.key);
        om_buf_adds(&b, ": ");
        om_json_write(&b, it.value, 0);
    }
    om_buf_addc(&b, '}');
    rc = om_buf_check(&b, r->err);
    if (rc == 0 && n) {
        g->variables = om_arena_str(r->arena, om_buf_sv(&b));
        rc = g->variables ? 0 : pipe_no_memory(r->err);
    }
    om_buf_release(&b);
    return rc;
}

static int read_encode(const struct pipe_reader *r, const struct om_json *v, void *params)
{
    static const struct pipe_param *const tables[] = { encode_params, NULL };
    struct pipe_generation_params *const g = params;

    g->encode = (struct pipe_coding){ .max_length = 0 };
    g->tools = g->documents = g->variables = g->chat_template = NULL;
    OM_TRY(pipe_params_read(r, v, tables, any, g));
    return variables_text(r, v, g);
}

static const struct pipe_param params_table[] = {
    PIPE_PARAM(CHOICE, struct pipe_generation_params, return_full_text, "return_full_text"),
    PIPE_PARAM(CHOICE, struct pipe_generation_params, return_tensors, "return_tensors"),
    PIPE_PARAM(CHOICE, struct pipe_generation_params, return_text, "return_text"),
    PIPE_PARAM(CHOICE, struct pipe_generation_params, clean_up, "clean_up_tokenization_spaces"),
    PIPE_PARAM(CHOICE, struct pipe_generation_params, skip_special, "skip_special_tokens"),
    PIPE_PARAM(CHOICE, struct pipe_generation_params, continue_final, "continue_final_message"),
    PIPE_PARAM(TEXT, struct pipe_generation_params, prefix, "prefix"),
    PIPE_PARAM(TEXT, struct pipe_generation_params, stop_sequence, "stop_sequence"),
    { .key = "handle_long_generation",
      .kind = PIPE_PARAM_OTHER,
      .offset = offsetof(struct pipe_generation_params, hole),
      .read = read_long },
    { .key = "truncation", .kind = PIPE_PARAM_OTHER, .read = pipe_read_truncation },
    { .key = "padding", .kind = PIPE_PARAM_OTHER, .read = pipe_read_padding },
    PIPE_PARAM(INT, struct pipe_generation_params, coding.max_length, "max_length", .min = 1),
    PIPE_PARAM(CHOICE, struct pipe_generation_params, coding.add_special_tokens,
               "add_special_tokens"),
    { .key = "tokenizer_encode_kwargs", .kind = PIPE_PARAM_OTHER, .read = read_encode },
    PIPE_PARAM(INT, struct pipe_generation_params, seed, "seed", .min = 0),
    PIPE_GENERATION_ALWAYS,
    { .key = NULL },
};

/* Three parameters for one thing, of which a call has one. That return_tensors is false changes
 * nothing in the original either. */
static int settle_form(const struct pipe_reader *r, struct pipe_generation_params *g)
{
    const char *const both =
        g->return_full_text && g->return_text      ? "return_full_text and return_text"
        : g->return_full_text && g->return_tensors ? "return_full_text and return_tensors"
        : g->return_tensors && g->return_text      ? "return_tensors and return_text"
                                                   : NULL;

    if (both)
        return om_fail(r->err, OM_E_USAGE, "%s exclude each other", both);
    if (g->return_full_text)
        g->form = g->return_full_text == OM_YES ? PIPE_FORM_FULL_TEXT : PIPE_FORM_NEW_TEXT;
    if (g->return_tensors)
        g->form = PIPE_FORM_IDS;
    g->return_full_text = g->return_tensors = g->return_text = OM_UNSET;
    return 0;
}

static int check(const struct pipe_reader *r, void *params)
{
    OM_TRY(settle_form(r, params));
    return pipe_generation_settle(r, params);
}

/* ---- inputs ---- */

static int read_chat(struct pipe_call *c, const struct om_json *v, struct pipe_generation_input *in,
                     struct om_error *err)
{
    const struct pipe_reader r = { c->p, &c->arena, err, NULL };

    if (om_json_len(v) == 0)
        return om_fail(err, OM_E_USAGE, "a chat without messages");
    for (size_t i = 0; i < om_json_len(v); i++) {
        const struct om_json *const m = om_json_at(v, i);

        if (!om_json_get(m, "role") || !om_json_get(m, "content"))
            return om_fail(err, OM_E_USAGE,
                           "message %zu: expected an object with \"role\" and "
                           "\"content\"",
                           i);
    }
    in->messages = v;
    return json_text(&r, v, &in->chat);
}

static int read_chats(struct pipe_call *c, const struct om_json *inputs, struct om_error *err)
{
    const size_t n = om_json_len(inputs);
    struct pipe_generation_input *const in = pipe_call_items(c, n);

    c->list = true;
    if (!in)
        return pipe_no_memory(err);
    for (size_t i = 0; i < n; i++)
        OM_TRY(om_wrap(err, read_chat(c, om_json_at(inputs, i), &in[i], err), "input %zu", i));
    return 0;
}

static int read(struct pipe_call *c, const struct om_json *inputs, struct om_error *err)
{
    const struct om_json *const first = om_json_at(inputs, 0);
    struct pipe_generation_input *in;

    if (om_json_kind(inputs) == OM_JSON_ARRAY && !first)
        return om_fail(err, OM_E_USAGE, "inputs: the list is empty");
    if (om_json_kind(inputs) == OM_JSON_ARRAY && om_json_kind(first) == OM_JSON_ARRAY)
        return read_chats(c, inputs, err);
    if (om_json_kind(first) != OM_JSON_OBJECT || om_json_kind(inputs) != OM_JSON_ARRAY)
        return pipe_generation_read(c, inputs, err);
    in = pipe_call_items(c, 1);
    return in ? read_chat(c, inputs, in, err) : pipe_no_memory(err);
}

/* tokenizer_encode_kwargs win. */
static struct pipe_coding coding_of(const struct pipe_generation_params *g)
{
    struct pipe_coding c = g->coding;

    if (g->encode.truncation != PIPE_TRUNCATE_UNSET)
        c.truncation = g->encode.truncation;
    if (g->encode.padding != PIPE_PAD_NO)
        c.padding = g->encode.padding;
    if (g->encode.max_length)
        c.max_length = g->encode.max_length;
    if (g->encode.multiple_of)
        c.multiple_of = g->encode.multiple_of;
    if (g->encode.add_special_tokens != OM_UNSET)
        c.add_special_tokens = g->encode.add_special_tokens;
    return c;
}

static bool continues(const struct pipe_generation_params *g,
                      const struct pipe_generation_input *in)
{
    const struct om_json *const last = om_json_at(in->messages, om_json_len(in->messages) - 1);
    om_sv role;

    if (g->continue_final != OM_UNSET)
        return g->continue_final == OM_YES;
    return om_json_str(om_json_get(last, "role"), &role) && om_sv_is(role, "assistant");
}

/* A chat is cut only where truncation is asked for by name. */
static int prepare_chat(const struct pipe_call *c, struct pipe_item *item, struct om_error *err)
{
    const struct pipe_generation_params *const g = c->params;
    const struct pipe_generation_input *const in = item->input;
    struct pipe_coding coding = coding_of(g);
    struct om_chat_opts chat = OM_CHAT_OPTS_INIT;
    struct om_text text;
    char *rendered = NULL;
    int rc;

    chat.tools = g->tools;
    chat.documents = g->documents;
    chat.variables = g->variables;
    chat.chat_template = g->chat_template;
    chat.continue_final_message = continues(g, in);
    chat.add_generation_prompt = !chat.continue_final_message;
    if (coding.truncation == PIPE_TRUNCATE_UNSET)
        coding.truncation = PIPE_TRUNCATE_NO;
    coding.add_special_tokens = OM_NO;
    OM_TRY(
        om_tokenizer_apply_chat_template(c->p->t.tok, in->chat, &chat, &rendered, &text.len, err));
    text.ptr = rendered;
    rc = pipe_encode(c->p, item, &text, NULL, &coding, false, err);
    free(rendered);
    return rc;
}

static int prepare(const struct pipe_call *c, struct pipe_item *item, struct om_error *err)
{
    const struct pipe_generation_params *const g = c->params;
    const struct pipe_generation_input *const in = item->input;
    const struct pipe_coding coding = coding_of(g);
    size_t keep;

    if (in->messages)
        OM_TRY(prepare_chat(c, item, err));
    else
        OM_TRY(pipe_generation_prepare(c, item, (om_sv){ g->prefix.ptr, g->prefix.len }, &coding,
                                       err));
    return pipe_generation_keep(c, item, &keep, err);
}

/* ---- results ---- */

static bool full_text(const struct pipe_generation_params *g)
{
    return g->form == PIPE_FORM_UNSET || g->form == PIPE_FORM_FULL_TEXT;
}

/* The text behind as many characters as the prompt has when it is decoded, and the prompt as it was
 * given before that. */
static int make_text(struct pipe_call *c, const struct pipe_item *item, om_sv all, size_t skip,
                     struct om_text *out, struct om_error *err)
{
    const struct pipe_generation_input *const in = item->input;
    const struct om_text text = { all.ptr, all.len };
    const bool full = full_text(c->params) && !in->messages;
    struct om_buf b = OM_BUF_INIT(PIPE_TEXT_MAX);
    struct pipe_chars chars;
    om_sv rest;
    int rc;

    OM_TRY(pipe_chars_init(&chars, &c->arena, &text, err));
    rest = pipe_chars_slice(&chars, skip, chars.len);
    if (full)
        om_buf_add(&b, in->text.ptr, in->text.len);
    om_buf_add(&b, rest.ptr, rest.len);
    rc = om_buf_check(&b, err);
    if (rc == 0) {
        *out = pipe_keep_text(c, (om_sv){ b.ptr ? b.ptr : "", b.len });
        rc = out->ptr ? 0 : pipe_no_memory(err);
    }
    om_buf_release(&b);
    return rc;
}

static int prompt_characters(struct pipe_call *c, const struct pipe_generation_rows *kept,
                             size_t *out, struct om_error *err)
{
    struct pipe_chars chars;
    struct om_text text;

    OM_TRY(pipe_generation_decode(c, kept->ids, kept->prompt, &text, err));
    OM_TRY(pipe_chars_init(&chars, &c->arena, &text, err));
    *out = chars.len;
    return 0;
}

static int finish(struct pipe_call *c, const struct pipe_item *item, void *result,
                  struct om_error *err)
{
    struct pipe_generation_rows *const kept = item->windows[0].kept;
    struct om_generated_text *const at = om_arena_array(&c->arena, kept->rows + 1, sizeof(*at));
    const int64_t *const ids =
        om_arena_copy(&c->arena, kept->ids, kept->rows * kept->length * sizeof(*ids));
    size_t skip;

    if (!at || !ids)
        return pipe_no_memory(err);
    OM_TRY(prompt_characters(c, kept, &skip, err));
    for (size_t i = 0; i < kept->rows; i++) {
        struct om_text all;

        at[i].ids = ids + i * kept->length;
        at[i].len = kept->length;
        OM_TRY(pipe_generation_decode(c, at[i].ids, at[i].len, &all, err));
        OM_TRY(make_text(c, item, (om_sv){ all.ptr, all.len }, skip, &at[i].text, err));
    }
    *(struct om_generated_texts *)result = (struct om_generated_texts){ kept->rows, at };
    return 0;
}

/* The last message, which was gone on with. What else it had besides role and content is lost, as
 * in the original. */
static void json_continued(struct om_buf *b, const struct om_json *last, struct om_text text)
{
    struct om_buf joined = OM_BUF_INIT(PIPE_TEXT_MAX);
    om_sv content = { "", 0 };

    om_json_str(om_json_get(last, "content"), &content);
    om_buf_add(&joined, content.ptr, content.len);
    om_buf_add(&joined, text.ptr, text.len);
    om_buf_adds(b, "{\"role\": ");
    om_json_write(b, om_json_get(last, "role"), 0);
    om_buf_adds(b, ", \"content\": ");
    om_buf_json_string(b, om_buf_sv(&joined));
    b->failed |= joined.failed;
    om_buf_release(&joined);
}

static void json_chat(const struct pipe_call *c, const struct pipe_generation_input *in,
                      struct om_text text, struct om_buf *b)
{
    const size_t n = om_json_len(in->messages);
    const bool more = continues(c->params, in);

    om_buf_addc(b, '[');
    for (size_t i = 0; i < n - more; i++) {
        om_buf_adds(b, i ? ", " : "");
        om_json_write(b, om_json_at(in->messages, i), 0);
    }
    om_buf_adds(b, n > more ? ", " : "");
    if (more) {
        json_continued(b, om_json_at(in->messages, n - 1), text);
    } else {
        om_buf_adds(b, "{\"role\": \"assistant\", \"content\": ");
        pipe_json_text(b, text);
    }
    om_buf_adds(b, "}]");
}

static void json_record(const struct pipe_call *c, const struct pipe_generation_input *in,
                        const struct om_generated_text *text, struct om_buf *b)
{
    const struct pipe_generation_params *const g = c->params;

    if (g->form == PIPE_FORM_IDS) {
        pipe_generation_json_ids(b, "generated", text);
        return;
    }
    om_buf_adds(b, "{\"generated_text\": ");
    if (in->messages && full_text(g))
        json_chat(c, in, text->text, b);
    else
        pipe_json_text(b, text->text);
    om_buf_addc(b, '}');
}

static void json(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    const struct om_generated_texts *const r = result;
    const size_t item = (size_t)(r - (const struct om_generated_texts *)c->results);

    om_buf_addc(b, '[');
    for (size_t i = 0; i < r->len; i++) {
        om_buf_adds(b, i ? ", " : "");
        json_record(c, c->items[item].input, &r->at[i], b);
    }
    om_buf_addc(b, ']');
}

const struct pipe_task pipe_text_generation = {
    .name = "text-generation",
    .aliases = (const char *const[]){ NULL },
    .model_class = OM_MODEL_CAUSAL_LM,
    .params = params_table,
    .params_size = sizeof(struct pipe_generation_params),
    .input_size = sizeof(struct pipe_generation_input),
    .result_size = sizeof(struct om_generated_texts),
    .defaults = &defaults,
    .takes = pipe_generation_takes,
    .open = pipe_generation_open,
    .close = pipe_generation_close,
    .check = check,
    .read = read,
    .prepare = prepare,
    .arrange = pipe_generation_arrange,
    .run = pipe_generation_run,
    .finish = finish,
    .json = json,
    .text = pipe_generation_text,
};
