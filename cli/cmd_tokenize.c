/* cli/cmd_tokenize.c: optimum-cli tokenize: a table for people, JSON for programs, and a filter of
 * JSON lines. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/conversation.h"
#include "cli/filter.h"

#include <optimum/tokenizer.h>

/* ---- what a line asks for ---- */

struct request {
    struct om_encode_opts opts;
    struct om_truncation truncation;
    struct om_padding padding;
};

static int get_size(const struct om_json *j, const char *key, size_t *out, struct om_error *err)
{
    const struct om_json *const v = om_json_get(j, key);
    int64_t n = 0;

    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    if (!om_json_i64(v, &n) || n < 0)
        return om_fail(err, OM_E_FORMAT, "key \"%s\": expected a number from 0, found %s", key,
                       om_json_kind_text(v));
    *out = (size_t)n;
    return 0;
}

static int get_id(const struct om_json *j, const char *key, uint32_t *out, struct om_error *err)
{
    size_t n = *out;

    OM_TRY(get_size(j, key, &n, err));
    if (n >= UINT32_MAX)
        return om_fail(err, OM_E_FORMAT, "key \"%s\": %zu is no id", key, n);
    *out = (uint32_t)n;
    return 0;
}

/* The index of j[key] in names, which ends with NULL; absent and null: 0. */
static int get_name(const struct om_json *j, const char *key, const char *const *names, int *out,
                    struct om_error *err)
{
    const struct om_json *const v = om_json_get(j, key);
    om_sv text;

    *out = 0;
    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    for (int i = 0; om_json_str(v, &text) && names[i]; i++) {
        if (om_sv_is(text, names[i])) {
            *out = i;
            return 0;
        }
    }
    return om_fail(err, OM_E_FORMAT, "key \"%s\": expected \"%s\" or \"%s\" ...", key, names[0],
                   names[1]);
}

static const char *const sides[] = { "right", "left", NULL };
static const char *const strategies[] = { "longest_first", "only_first", "only_second", NULL };

/* null, "file", or an object; true when the object is to be read. */
static int get_object(const struct om_json *line, const char *key, bool *own,
                      const struct om_json **out, struct om_error *err)
{
    const struct om_json *const v = om_json_get(line, key);
    om_sv text;

    *out = NULL;
    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    if (om_json_str(v, &text) && om_sv_is(text, "file")) {
        *own = true;
        return 0;
    }
    if (om_json_kind(v) != OM_JSON_OBJECT)
        return om_fail(err, OM_E_FORMAT,
                       "key \"%s\": expected an object, \"file\" or null, found %s", key,
                       om_json_kind_text(v));
    *out = v;
    return 0;
}

static int get_truncation(const struct om_json *line, struct request *r, struct om_error *err)
{
    const struct om_json *j;
    int strategy, side;

    OM_TRY(get_object(line, "truncation", &r->opts.own_truncation, &j, err));
    if (!j)
        return 0;
    if (!om_json_get(j, "max_length"))
        return om_fail(err, OM_E_FORMAT, "key \"truncation\": \"max_length\" is missing");
    OM_TRY(get_size(j, "max_length", &r->truncation.max_length, err));
    OM_TRY(get_size(j, "stride", &r->truncation.stride, err));
    OM_TRY(get_name(j, "strategy", strategies, &strategy, err));
    OM_TRY(get_name(j, "direction", sides, &side, err));
    r->truncation.strategy = (enum om_truncation_strategy)strategy;
    r->truncation.direction = (enum om_side)side;
    r->opts.truncation = &r->truncation;
    return 0;
}

static int get_padding(const struct om_json *line, struct request *r, struct om_error *err)
{
    const struct om_json *j;
    int side;

    OM_TRY(get_object(line, "padding", &r->opts.own_padding, &j, err));
    if (!j)
        return 0;
    OM_TRY(get_size(j, "length", &r->padding.length, err));
    OM_TRY(get_size(j, "pad_to_multiple_of", &r->padding.multiple_of, err));
    OM_TRY(get_id(j, "pad_id", &r->padding.pad_id, err));
    OM_TRY(get_id(j, "pad_type_id", &r->padding.pad_type_id, err));
    OM_TRY(get_name(j, "direction", sides, &side, err));
    r->padding.direction = (enum om_side)side;
    if (r->padding.length || om_json_kind(om_json_get(j, "length")) == OM_JSON_NULL)
        r->opts.padding = &r->padding; /* a length of 0 is none */
    return 0;
}

static int get_request(const struct om_json *line, struct request *r, struct om_error *err)
{
    const struct om_json *const special = om_json_get(line, "add_special_tokens");
    bool add = true;

    *r = (struct request){ .opts = OM_ENCODE_OPTS_INIT };
    if (om_json_kind(special) != OM_JSON_NULL && !om_json_bool(special, &add))
        return om_fail(err, OM_E_FORMAT, "key \"add_special_tokens\": expected a boolean, found %s",
                       om_json_kind_text(special));
    r->opts.no_special_tokens = !add;
    OM_TRY(get_truncation(line, r, err));
    return get_padding(line, r, err);
}

static bool get_text(const struct om_json *j, struct om_text *out)
{
    om_sv text;

    if (!om_json_str(j, &text))
        return false;
    *out = (struct om_text){ text.ptr, text.len };
    return true;
}

/* ---- results as JSON ---- */

static void write_numbers(struct om_buf *b, const char *key, const uint32_t *items, size_t n)
{
    om_buf_printf(b, "\"%s\":[", key);
    for (size_t i = 0; i < n; i++)
        om_buf_printf(b, i ? ",%" PRIu32 : "%" PRIu32, items[i]);
    om_buf_adds(b, "],");
}

static void write_mask(struct om_buf *b, const char *key, const uint8_t *items, size_t n)
{
    om_buf_printf(b, "\"%s\":[", key);
    for (size_t i = 0; i < n; i++)
        om_buf_adds(b, items[i] ? (i ? ",1" : "1") : (i ? ",0" : "0"));
    om_buf_adds(b, "],");
}

static void write_nullable(struct om_buf *b, const char *key, const int32_t *items, size_t n)
{
    om_buf_printf(b, "\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        if (items[i] < 0)
            om_buf_adds(b, i ? ",null" : "null");
        else
            om_buf_printf(b, i ? ",%" PRId32 : "%" PRId32, items[i]);
    }
    om_buf_adds(b, "],");
}

static void write_offsets(struct om_buf *b, const struct om_encoding *e)
{
    om_buf_adds(b, "\"offsets\":[");
    for (size_t i = 0; i < e->len; i++)
        om_buf_printf(b, "%s[%" PRIu32 ",%" PRIu32 "]", i ? "," : "", e->offsets[i].begin,
                      e->offsets[i].end);
    om_buf_adds(b, "],");
}

/* The members of a window, each followed by a comma. */
static void write_window(struct om_buf *b, const struct om_encoding *e, bool pair)
{
    write_numbers(b, "ids", e->ids, e->len);
    write_numbers(b, "type_ids", e->type_ids, e->len);
    write_mask(b, "attention_mask", e->attention_mask, e->len);
    write_mask(b, "special_tokens_mask", e->special_tokens_mask, e->len);
    write_offsets(b, e);
    write_nullable(b, "word_ids", e->word_ids, e->len);
    if (pair)
        write_nullable(b, "sequence_ids", e->sequence_ids, e->len);
}

/* In place of the comma that the last member left. */
static void close_object(struct om_buf *b)
{
    if (b->len && !b->failed)
        b->ptr[b->len - 1] = '}';
}

static void write_encoding(struct om_buf *b, const struct om_encoding *e, bool pair)
{
    write_window(b, e, pair);
    om_buf_adds(b, "\"overflowing\":[");
    for (size_t i = 0; i < e->overflow_len; i++) {
        om_buf_adds(b, i ? ",{" : "{");
        write_window(b, &e->overflow[i], pair);
        close_object(b);
    }
    om_buf_adds(b, "],");
}

static int write_decoded(const struct om_tokenizer *tok, struct om_buf *b,
                         const struct om_encoding *e, const char *key, bool skip,
                         struct om_error *err)
{
    struct om_decode_opts opts = OM_DECODE_OPTS_INIT;
    char *text;
    size_t len;

    opts.skip_special_tokens = skip;
    OM_TRY(om_tokenizer_decode(tok, e->ids, e->len, &opts, &text, &len, err));
    om_buf_printf(b, "\"%s\":", key);
    om_buf_json_string(b, (om_sv){ text, len });
    om_buf_addc(b, ',');
    free(text);
    return 0;
}

static int write_result(const struct om_tokenizer *tok, struct om_buf *b,
                        const struct om_encoding *e, bool pair, struct om_error *err)
{
    om_buf_addc(b, '{');
    write_encoding(b, e, pair);
    OM_TRY(write_decoded(tok, b, e, "decoded", true, err));
    OM_TRY(write_decoded(tok, b, e, "decoded_raw", false, err));
    close_object(b);
    return 0;
}

/* ---- the filter ---- */

/* The words of line[key], to be freed; absent and null: NULL. */
static int get_words(const struct om_json *line, const char *key, struct om_text **out, size_t *n,
                     struct om_error *err)
{
    const struct om_json *const list = om_json_get(line, key);

    *out = NULL;
    *n = om_json_len(list);
    if (om_json_kind(list) == OM_JSON_NULL)
        return 0;
    if (om_json_kind(list) != OM_JSON_ARRAY)
        return om_fail(err, OM_E_FORMAT, "key \"%s\": expected a list of words, found %s", key,
                       om_json_kind_text(list));
    *out = calloc(*n + 1, sizeof(**out));
    if (!*out)
        return om_fail(err, OM_E_NOMEM, "out of memory for %zu words", *n);
    for (size_t i = 0; i < *n; i++)
        if (!get_text(om_json_at(list, i), &(*out)[i]))
            return om_fail(err, OM_E_FORMAT, "key \"%s\", element %zu: expected a string", key, i);
    return 0;
}

static int answer_words(const struct om_tokenizer *tok, const struct om_json *line,
                        const struct request *r, struct om_buf *out, struct om_error *err)
{
    struct om_text *words = NULL, *pair = NULL;
    struct om_encoding *e = NULL;
    size_t n, pair_n = 0;
    int rc = get_words(line, "text", &words, &n, err);

    if (rc == 0)
        rc = get_words(line, "pair", &pair, &pair_n, err);
    if (rc == 0)
        rc = om_tokenizer_encode_words(tok, words, n, pair, pair_n, &r->opts, &e, err);
    if (rc == 0)
        rc = write_result(tok, out, e, pair != NULL, err);
    om_encoding_free(e);
    free(words);
    free(pair);
    return rc;
}

static int answer_one(const struct om_tokenizer *tok, const struct om_json *line,
                      const struct request *r, struct om_buf *out, struct om_error *err)
{
    const struct om_json *const second = om_json_get(line, "pair");
    struct om_text text, pair = { NULL, 0 };
    struct om_encoding *e;

    if (om_json_kind(om_json_get(line, "text")) == OM_JSON_ARRAY)
        return answer_words(tok, line, r, out, err);
    if (!get_text(om_json_get(line, "text"), &text))
        return om_fail(err, OM_E_FORMAT, "key \"text\": expected a string, found %s",
                       om_json_kind_text(om_json_get(line, "text")));
    if (om_json_kind(second) != OM_JSON_NULL && !get_text(second, &pair))
        return om_fail(err, OM_E_FORMAT, "key \"pair\": expected a string or null, found %s",
                       om_json_kind_text(second));
    OM_TRY(om_tokenizer_encode(tok, &text, pair.ptr ? &pair : NULL, &r->opts, &e, err));
    const int rc = write_result(tok, out, e, pair.ptr != NULL, err);
    om_encoding_free(e);
    return rc;
}

/* A text, or a list of two. */
static bool get_element(const struct om_json *j, struct om_text *text, struct om_text *pair)
{
    if (om_json_len(j) == 2)
        return get_text(om_json_at(j, 0), text) && get_text(om_json_at(j, 1), pair);
    return get_text(j, text);
}

struct batch {
    struct om_text *texts, *pairs;
    struct om_encoding **out;
    size_t len;
};

static int run_batch(const struct om_tokenizer *tok, const struct om_json *list,
                     const struct request *r, struct batch *b, struct om_buf *out,
                     struct om_error *err)
{
    if (!b->texts || !b->pairs || !b->out)
        return om_fail(err, OM_E_NOMEM, "out of memory for %zu texts", b->len);
    for (size_t i = 0; i < b->len; i++)
        if (!get_element(om_json_at(list, i), &b->texts[i], &b->pairs[i]))
            return om_fail(err, OM_E_FORMAT, "key \"batch\", element %zu: expected a text or two",
                           i);
    OM_TRY(om_tokenizer_encode_batch(tok, b->texts, b->pairs, b->len, &r->opts, b->out, err));
    om_buf_adds(out, "{\"encodings\":[");
    for (size_t i = 0; i < b->len; i++) {
        om_buf_adds(out, i ? ",{" : "{");
        write_encoding(out, b->out[i], b->pairs[i].ptr != NULL);
        close_object(out);
        om_encoding_free(b->out[i]);
    }
    om_buf_adds(out, "]}");
    return 0;
}

static int answer_batch(const struct om_tokenizer *tok, const struct om_json *list,
                        const struct request *r, struct om_buf *out, struct om_error *err)
{
    const size_t n = om_json_len(list);
    struct batch b = { calloc(n + 1, sizeof(*b.texts)), calloc(n + 1, sizeof(*b.pairs)),
                       calloc(n + 1, sizeof(struct om_encoding *)), n };
    const int rc = run_batch(tok, list, r, &b, out, err);

    free(b.texts);
    free(b.pairs);
    free(b.out);
    return rc;
}

/* A conversation: what its template makes of it, and the ids of that. */
static int answer_chat(const struct om_tokenizer *tok, const struct om_json *line,
                       struct request *r, struct om_buf *out, struct om_error *err)
{
    struct om_encoding *e = NULL;
    struct om_text text;
    char *rendered;
    int rc;

    OM_TRY(conversation_of_line(tok, line, &rendered, &text.len, err));
    text.ptr = rendered;
    r->opts.no_special_tokens = true; /* the template has put them in */
    rc = om_tokenizer_encode(tok, &text, NULL, &r->opts, &e, err);
    if (rc == 0) {
        om_buf_adds(out, "{\"rendered\":");
        om_buf_json_string(out, (om_sv){ text.ptr, text.len });
        om_buf_addc(out, ',');
        write_encoding(out, e, false);
        close_object(out);
    }
    om_encoding_free(e);
    free(rendered);
    return rc;
}

static int answer(void *user, const struct om_json *line, struct om_buf *out, struct om_error *err)
{
    const struct om_json *const batch = om_json_get(line, "batch");
    const struct om_tokenizer *const tok = user;
    struct request r;

    OM_TRY(get_request(line, &r, err));
    if (om_json_kind(batch) == OM_JSON_ARRAY)
        return answer_batch(tok, batch, &r, out, err);
    if (om_json_get(line, "messages"))
        return answer_chat(tok, line, &r, out, err);
    return answer_one(tok, line, &r, out, err);
}

/* ---- a table ---- */

static size_t columns(om_sv text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++)
        n += ((unsigned char)text.ptr[i] & 0xC0) != 0x80;
    return n;
}

/* A token with what would move the cursor made visible. */
static void write_token(struct om_buf *b, om_sv token)
{
    for (size_t i = 0; i < token.len; i++) {
        const unsigned char c = (unsigned char)token.ptr[i];
        if (c < 0x20 || c == 0x7F)
            om_buf_printf(b, "\\x%02x", c);
        else
            om_buf_addc(b, (char)c);
    }
}

static void token_text(const struct om_tokenizer *tok, uint32_t id, struct om_buf *b)
{
    om_sv token = { "", 0 };

    om_buf_clear(b);
    om_tokenizer_id_to_token(tok, id, &token.ptr, &token.len);
    write_token(b, token);
}

static size_t widest(const struct om_tokenizer *tok, const struct om_encoding *e,
                     struct om_buf *token)
{
    size_t width = 5; /* of the heading */

    for (size_t i = 0; i < e->len; i++) {
        token_text(tok, e->ids[i], token);
        width = OM_MAX(width, columns(om_buf_sv(token)));
    }
    return OM_MIN(width, 40);
}

static void print_table(const struct om_tokenizer *tok, const struct om_encoding *e)
{
    struct om_buf token = OM_BUF_INIT(1u << 30);
    const size_t width = widest(tok, e, &token);

    printf("%8s  %-*s  %s\n", "id", (int)width, "token", "offsets");
    for (size_t i = 0; i < e->len; i++) {
        token_text(tok, e->ids[i], &token);
        const om_sv text = om_buf_sv(&token);
        const size_t used = columns(text);
        printf("%8" PRIu32 "  %.*s", e->ids[i], OM_SV(text));
        if (e->special_tokens_mask[i])
            putchar('\n');
        else
            printf("%*s  %" PRIu32 "-%" PRIu32 "\n", (int)(used < width ? width - used : 0), "",
                   e->offsets[i].begin, e->offsets[i].end);
    }
    om_buf_release(&token);
}

static void print_tables(const struct om_tokenizer *tok, const struct om_encoding *e)
{
    print_table(tok, e);
    for (size_t i = 0; i < e->overflow_len; i++) {
        printf("\nwindow %zu:\n", i + 2);
        print_table(tok, &e->overflow[i]);
    }
}

static int print_text(struct cli *cli, const struct om_tokenizer *tok, const struct om_text *text,
                      const struct om_text *pair, const struct request *r, bool json)
{
    struct om_buf out = OM_BUF_INIT(SIZE_MAX / 2);
    struct om_error err = OM_ERROR_INIT;
    struct om_encoding *e = NULL;
    int rc = om_tokenizer_encode(tok, text, pair, &r->opts, &e, &err);

    if (rc == 0 && json) {
        rc = write_result(tok, &out, e, pair != NULL, &err);
        if (rc == 0)
            rc = om_buf_check(&out, &err);
        if (rc == 0)
            printf("%.*s\n", OM_SV(om_buf_sv(&out)));
    } else if (rc == 0) {
        print_tables(tok, e);
    }
    om_encoding_free(e);
    om_buf_release(&out);
    return rc < 0 ? cli_report(cli, &err) : CLI_OK;
}

static int print_texts(struct cli *cli, const struct om_tokenizer *tok,
                       const struct opt_args *texts, const char *second, const struct request *r,
                       bool json)
{
    const struct om_text pair = { second, second ? strlen(second) : 0 };
    int status = CLI_OK;

    for (size_t i = 0; i < texts->len && status == CLI_OK; i++) {
        const struct om_text text = { texts->items[i], strlen(texts->items[i]) };
        if (i && !json)
            putchar('\n');
        status = print_text(cli, tok, &text, second ? &pair : NULL, r, json);
    }
    return status;
}

/* The conversation of texts: its text, then its tokens. */
static int print_chat(struct cli *cli, const struct om_tokenizer *tok, const struct opt_args *texts,
                      struct request *r, bool json)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_text text;
    char *rendered;

    if (conversation_of_texts(tok, texts, &rendered, &text.len, &err) < 0)
        return cli_report(cli, &err);
    text.ptr = rendered;
    r->opts.no_special_tokens = true;
    if (!json) {
        fwrite(rendered, 1, text.len, stdout);
        printf("\n\n");
    }
    const int status = print_text(cli, tok, &text, NULL, r, json);
    free(rendered);
    return status;
}

/* ---- the command ---- */

static int save_files(struct cli *cli, const struct om_tokenizer *tok, const char *dir)
{
    struct om_error err = OM_ERROR_INIT;

    return om_tokenizer_save(cli->ctx, tok, dir, &err) < 0 ? cli_report(cli, &err) : CLI_OK;
}

int cmd_tokenize(struct cli *cli, int argc, char **argv)
{
    const char *path = NULL, *pair = NULL, *save = NULL;
    struct request r = { .opts = OM_ENCODE_OPTS_INIT };
    struct filter f = FILTER_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok;
    struct opt_args texts = { NULL, 0 };
    int64_t max_length = 0, stride = 0;
    bool target = false, json = false, chat = false;
    int status;
    const struct opt opts[] = {
        OPT_GROUP("arguments"),
        OPT_STR('t', "tokenizer", &path, "DIR", CLI_TOKENIZER_HELP, OPT_REQUIRED),
        OPT_ARGS("TEXT", &texts, "texts; each is shown as a table of ids, tokens and offsets", 0),
        OPT_STR(0, "pair", &pair, "TEXT", "a second text that goes with each", 0),
        OPT_FLAG(0, "target", &target, CLI_TARGET_HELP),
        OPT_FLAG(0, "no-special-tokens", &r.opts.no_special_tokens,
                 "leave out tokens such as [CLS]"),
        OPT_INT(0, "max-length", &max_length, "N", 1,
                "cut to N tokens; what is left over follows as further windows"),
        OPT_INT(0, "stride", &stride, "N", 0,
                "tokens that neighbouring windows share (default: 0)"),
        OPT_FLAG(0, "chat", &chat,
                 "the texts are what user and model say in turn: show what the model's chat "
                 "template makes of them, and its tokens"),
        OPT_FLAG(0, "json", &json, "print one JSON object for each text"),
        OPT_STR(0, "save", &save, "DIR",
                "write the tokenizer's files into DIR; tokenizer.json is made from older ones", 0),
        FILTER_OPTIONS(&f, "read JSON lines from FILE, or from standard input for -, and write one "
                           "for each: text (or a list of words), pair, add_special_tokens, "
                           "truncation and padding in, "
                           "ids, offsets and so on out; or messages, tools, documents, "
                           "chat_template, add_generation_prompt, continue_final_message and "
                           "variables of the template in, rendered as well out"),
        OPT_END
    };

    if (!opt_parse(cli, "Turn text into the ids that a model takes.", opts, argc, argv, &status))
        return status;
    if ((f.input != NULL) + (texts.len > 0) + (save != NULL) != 1)
        return cli_usage_error(cli, "give texts, --input, or --save");
    if (max_length) {
        r.truncation =
            (struct om_truncation){ .max_length = (size_t)max_length, .stride = (size_t)stride };
        r.opts.truncation = &r.truncation;
    }
    if (cli_open_tokenizer(cli, path, target, &tok, &err) < 0)
        return cli_report(cli, &err);
    if (save)
        status = save_files(cli, tok, save);
    else if (f.input)
        status = filter_lines(cli, &f, answer, tok);
    else if (chat)
        status = print_chat(cli, tok, &texts, &r, json);
    else
        status = print_texts(cli, tok, &texts, pair, &r, json);
    om_tokenizer_free(tok);
    return status;
}
