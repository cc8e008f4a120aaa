/* tests/golden/test_tokenizers.c: every recorded call of every tokenizer: encode, batches, decode.
 *
 * test_tokenizers [NAME...]: the directories of tests/data/tokenizers, and those of
 * $OM_SHARED/goldens/tokenizers and tokenizers-spm (only ids and decoded texts are recorded there).
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/json.h"
#include "tok/tok.h"

#include <optimum/tokenizer.h>

enum { SHOWN = 5 }; /* differences per tokenizer */

struct run {
    const struct om_tokenizer *tok;
    const char *dir, *file;
    size_t line, lines, failed;
    bool differs;  /* this line */
    bool ids_only; /* nothing else of an encoding is recorded */
};

static void differ(struct run *r, const char *fmt, ...) OM_PRINTF(2, 3);

static void differ(struct run *r, const char *fmt, ...)
{
    va_list ap;

    if (!r->differs && r->failed < SHOWN) {
        printf("%s/%s:%zu: ", r->dir, r->file, r->line);
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
        putchar('\n');
    }
    r->differs = true;
}

/* ---- options ---- */

struct options {
    struct om_encode_opts opts;
    struct om_truncation truncation;
    struct om_padding padding;
};

static size_t number(const struct om_json *j, const char *key)
{
    int64_t n = 0;

    om_json_i64(om_json_get(j, key), &n);
    return (size_t)n;
}

static bool text_is(const struct om_json *j, const char *text)
{
    om_sv s;

    return om_json_str(j, &s) && om_sv_is(s, text);
}

static void read_truncation(const struct om_json *j, struct options *o)
{
    const struct om_json *const strategy = om_json_get(j, "strategy");

    if (text_is(j, "file"))
        o->opts.own_truncation = true;
    if (om_json_kind(j) != OM_JSON_OBJECT)
        return;
    o->truncation = (struct om_truncation){
        .max_length = number(j, "max_length"),
        .stride = number(j, "stride"),
        .strategy = text_is(strategy, "only_first")    ? OM_TRUNCATE_ONLY_FIRST
                    : text_is(strategy, "only_second") ? OM_TRUNCATE_ONLY_SECOND
                                                       : OM_TRUNCATE_LONGEST_FIRST,
        .direction = text_is(om_json_get(j, "direction"), "left") ? OM_SIDE_LEFT : OM_SIDE_RIGHT,
    };
    o->opts.truncation = &o->truncation;
}

static void read_padding(const struct om_json *j, struct options *o)
{
    if (text_is(j, "file"))
        o->opts.own_padding = true;
    if (om_json_kind(j) != OM_JSON_OBJECT)
        return;
    o->padding = (struct om_padding){
        .length = number(j, "length"),
        .multiple_of = number(j, "pad_to_multiple_of"),
        .direction = text_is(om_json_get(j, "direction"), "left") ? OM_SIDE_LEFT : OM_SIDE_RIGHT,
        .pad_id = (uint32_t)number(j, "pad_id"),
        .pad_type_id = (uint32_t)number(j, "pad_type_id"),
    };
    o->opts.padding = &o->padding;
}

static void read_options(const struct om_json *j, struct options *o)
{
    bool special = true;

    *o = (struct options){ .opts = OM_ENCODE_OPTS_INIT };
    om_json_bool(om_json_get(j, "add_special_tokens"), &special);
    o->opts.no_special_tokens = !special;
    read_truncation(om_json_get(j, "truncation"), o);
    read_padding(om_json_get(j, "padding"), o);
}

static bool read_text(const struct om_json *j, struct om_text *t)
{
    om_sv s;

    if (!om_json_str(j, &s))
        return false;
    *t = (struct om_text){ s.ptr, s.len };
    return true;
}

/* ---- comparing ---- */

/* The recorded number i; none is null. */
static int64_t recorded(const struct om_json *list, size_t i)
{
    int64_t n = -1;

    om_json_i64(om_json_at(list, i), &n);
    return n;
}

static void check_list(struct run *r, const struct om_json *want, const char *key, size_t len,
                       const void *got, size_t width)
{
    const struct om_json *const list = om_json_get(want, key);

    if (!list && r->ids_only)
        return;
    if (om_json_len(list) != len) {
        differ(r, "%s: %zu, recorded %zu", key, len, om_json_len(list));
        return;
    }
    for (size_t i = 0; i < len; i++) {
        const int64_t have = width == 1 ? ((const uint8_t *)got)[i] : ((const int32_t *)got)[i];
        if (have != recorded(list, i))
            differ(r, "%s[%zu]: %" PRId64 ", recorded %" PRId64, key, i, have, recorded(list, i));
    }
}

static void check_offsets(struct run *r, const struct om_json *want, const struct om_encoding *e)
{
    const struct om_json *const list = om_json_get(want, "offsets");

    for (size_t i = 0; i < e->len && list; i++) {
        const struct om_json *const pair = om_json_at(list, i);
        if (recorded(pair, 0) != e->offsets[i].begin || recorded(pair, 1) != e->offsets[i].end)
            differ(r, "offsets[%zu]: [%" PRIu32 ",%" PRIu32 "], recorded [%" PRId64 ",%" PRId64 "]",
                   i, e->offsets[i].begin, e->offsets[i].end, recorded(pair, 0), recorded(pair, 1));
    }
}

static void check_window(struct run *r, const struct om_json *want, const struct om_encoding *e)
{
    check_list(r, want, "ids", e->len, e->ids, 4);
    check_list(r, want, "type_ids", e->len, e->type_ids, 4);
    check_list(r, want, "attention_mask", e->len, e->attention_mask, 1);
    check_list(r, want, "special_tokens_mask", e->len, e->special_tokens_mask, 1);
    check_list(r, want, "word_ids", e->len, e->word_ids, 4);
    check_offsets(r, want, e);
    if (om_json_get(want, "sequence_ids"))
        check_list(r, want, "sequence_ids", e->len, e->sequence_ids, 4);
}

static void check_encoding(struct run *r, const struct om_json *want, const struct om_encoding *e)
{
    const struct om_json *const overflow = om_json_get(want, "overflowing");

    check_window(r, want, e);
    if (om_json_len(overflow) != e->overflow_len)
        differ(r, "%zu further windows, recorded %zu", e->overflow_len, om_json_len(overflow));
    for (size_t i = 0; i < e->overflow_len && !r->differs; i++)
        check_window(r, om_json_at(overflow, i), &e->overflow[i]);
}

static void check_decoded(struct run *r, const struct om_json *want, const char *key, bool skip,
                          const uint32_t *ids, size_t n)
{
    struct om_decode_opts opts = OM_DECODE_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    om_sv text;
    char *got;
    size_t len;

    opts.skip_special_tokens = skip;
    if (!om_json_str(om_json_get(want, key), &text))
        return;
    if (om_tokenizer_decode(r->tok, ids, n, &opts, &got, &len, &err) < 0) {
        differ(r, "%s: %s", key, om_error_text(&err));
        om_error_release(&err);
        return;
    }
    if (!om_sv_eq((om_sv){ got, len }, text))
        differ(r, "%s: \"%s\", recorded \"%.*s\"", key, got, OM_SV(text));
    free(got);
}

/* ---- lines ---- */

static void run_case(struct run *r, const struct om_json *j)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_encoding *e = NULL;
    struct om_text text, pair;
    struct options o;

    read_options(j, &o);
    if (!read_text(om_json_get(j, "text"), &text)) {
        differ(r, "no text");
        return;
    }
    const bool has_pair = read_text(om_json_get(j, "pair"), &pair);
    const int rc = om_tokenizer_encode(r->tok, &text, has_pair ? &pair : NULL, &o.opts, &e, &err);
    if (om_json_get(j, "error")) {
        if (rc == 0)
            differ(r, "no error, recorded one");
    } else if (rc < 0) {
        differ(r, "%s", om_error_text(&err));
    } else {
        r->ids_only = !om_json_get(j, "type_ids");
        check_encoding(r, j, e);
        check_decoded(r, j, "decoded", true, e->ids, e->len);
        check_decoded(r, j, "decoded_raw", false, e->ids, e->len);
    }
    om_encoding_free(e);
    om_error_release(&err);
}

static void check_batch(struct run *r, const struct om_json *j, const struct om_text *texts,
                        const struct om_text *pairs, size_t n)
{
    struct om_encoding **const out = calloc(n + 1, sizeof(struct om_encoding *));
    struct om_error err = OM_ERROR_INIT;
    struct options o;

    read_options(j, &o);
    if (!out || om_tokenizer_encode_batch(r->tok, texts, pairs, n, &o.opts, out, &err) < 0) {
        differ(r, "%s", om_error_text(&err));
        om_error_release(&err);
        free(out);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        check_encoding(r, om_json_at(om_json_get(j, "encodings"), i), out[i]);
        om_encoding_free(out[i]);
    }
    free(out);
}

static void run_batch(struct run *r, const struct om_json *j)
{
    const struct om_json *const batch = om_json_get(j, "batch");
    const size_t n = om_json_len(batch);
    struct om_text *const texts = calloc(2 * n + 2, sizeof(*texts)), *const pairs = texts + n;

    for (size_t i = 0; texts && i < n; i++) {
        const struct om_json *const item = om_json_at(batch, i);
        if (!read_text(item, &texts[i]) && (!read_text(om_json_at(item, 0), &texts[i]) ||
                                            !read_text(om_json_at(item, 1), &pairs[i])))
            differ(r, "element %zu is no text", i);
    }
    if (texts && !r->differs)
        check_batch(r, j, texts, pairs, n);
    free(texts);
}

/* ---- conversations ---- */

static char *json_text(const struct om_json *v)
{
    struct om_buf b = OM_BUF_INIT((size_t)1 << 26);

    if (om_json_kind(v) == OM_JSON_NULL)
        return NULL;
    om_json_write(&b, v, 0);
    return b.ptr;
}

/* Every key is a variable of the template as well: enable_thinking. */
static void run_chat(struct run *r, const struct om_json *line)
{
    struct om_chat_opts opts = OM_CHAT_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    char *messages = json_text(om_json_get(line, "messages")), *variables = json_text(line);
    char *tools = json_text(om_json_get(line, "tools")), *text = NULL;
    om_sv want = { NULL, 0 };
    size_t len = 0;

    opts.tools = tools;
    opts.variables = variables;
    om_json_bool(om_json_get(line, "add_generation_prompt"), &opts.add_generation_prompt);
    const bool works = om_json_str(om_json_get(line, "rendered"), &want);
    const int rc = om_tokenizer_apply_chat_template(r->tok, messages, &opts, &text, &len, &err);
    if (works && rc < 0)
        differ(r, "%s", om_error_text(&err));
    else if (!works && rc == 0)
        differ(r, "rendered, expected an error");
    else if (works && !om_sv_eq(want, (om_sv){ text, len }))
        differ(r, "rendered \"%.*s\", expected \"%.*s\"", (int)len, text, OM_SV(want));
    else if (!works && om_json_str(om_json_get(line, "error"), &want) &&
             !strstr(om_error_text(&err), want.ptr))
        differ(r, "\"%s\", expected \"%.*s\"", om_error_text(&err), OM_SV(want));
    om_error_release(&err);
    free(messages);
    free(variables);
    free(tools);
    free(text);
}

static void run_decode(struct run *r, const struct om_json *j)
{
    const struct om_json *const list = om_json_get(j, "ids");
    const size_t n = om_json_len(list);
    uint32_t *const ids = calloc(n + 1, sizeof(*ids));

    for (size_t i = 0; ids && i < n; i++)
        ids[i] = (uint32_t)recorded(list, i);
    if (ids) {
        check_decoded(r, j, "decoded", true, ids, n);
        check_decoded(r, j, "decoded_raw", false, ids, n);
    }
    free(ids);
}

/* ---- files ---- */

static void run_file(struct run *r, const char *name,
                     void (*fn)(struct run *, const struct om_json *))
{
    struct om_arena a = OM_ARENA_INIT((size_t)1 << 30);
    const char *const path = om_path_join(&a, r->dir, name);
    struct om_error err = OM_ERROR_INIT;
    om_sv rest, line;

    r->file = name;
    r->line = 0;
    if (path && om_file_exists(path) && om_file_read(&a, path, (size_t)1 << 29, &rest, &err) == 0) {
        while (om_sv_split(&rest, '\n', &line)) {
            struct om_json *j = NULL;
            r->line++;
            r->differs = false;
            if (line.len == 0)
                continue;
            if (om_json_parse(line, 0, &j, &err) < 0)
                differ(r, "%s", om_error_text(&err));
            else
                fn(r, j);
            om_json_free(j);
            r->lines++;
            r->failed += r->differs;
        }
    }
    om_error_release(&err);
    om_arena_release(&a);
}

/* A line of components.jsonl: a tokenizer and its cases. */
static void run_component(struct run *r, const struct om_json *j)
{
    const struct om_json *const cases = om_json_get(j, "cases");
    struct om_buf text = OM_BUF_INIT(64u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok = NULL;

    om_json_write(&text, om_json_get(j, "tokenizer"), 0);
    if (tok_open_text(om_buf_sv(&text), &tok, &err) < 0) {
        differ(r, "%s", om_error_text(&err));
        om_error_release(&err);
    }
    r->tok = tok;
    for (size_t i = 0; tok && i < om_json_len(cases); i++)
        run_case(r, om_json_at(cases, i));
    om_tokenizer_free(tok);
    om_buf_release(&text);
}

static bool run_components(const char *dir)
{
    struct run r = { .dir = dir };

    run_file(&r, "components.jsonl", run_component);
    printf("%s components: %zu of %zu lines equal\n", r.failed ? "FAILED" : "ok  ",
           r.lines - r.failed, r.lines);
    return r.failed == 0 && r.lines > 0;
}

static bool run_dir(const char *dir)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok = NULL;
    struct run r = { .dir = dir };

    if (om_tokenizer_open(dir, &tok, &err) < 0) {
        printf("%s: %s\n", dir, om_error_text(&err));
        om_error_release(&err);
        return false;
    }
    r.tok = tok;
    run_file(&r, "cases.jsonl", run_case);
    run_file(&r, "batch.jsonl", run_batch);
    run_file(&r, "decode.jsonl", run_decode);
    run_file(&r, "chat.jsonl", run_chat);
    om_tokenizer_free(tok);
    printf("%s %s: %zu of %zu lines equal\n", r.failed ? "FAILED" : "ok  ", dir, r.lines - r.failed,
           r.lines);
    return r.failed == 0 && r.lines > 0;
}

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc < 2;
}

struct totals {
    unsigned passed, failed;
};

static void run_root(struct om_arena *a, const char *root, int argc, char **argv, struct totals *t)
{
    struct om_error err = OM_ERROR_INIT;
    const char **names = NULL;
    size_t n = 0;

    if (!root || !om_dir_exists(root) || om_dir_list(a, root, &names, &n, &err) < 0) {
        om_error_release(&err);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const char *const dir = om_path_join(a, root, names[i]);
        if (!dir || !om_dir_exists(dir) || !wanted(names[i], argc, argv))
            continue;
        const bool ok = run_dir(dir);
        t->passed += ok;
        t->failed += !ok;
    }
}

int main(int argc, char **argv)
{
    const char *const shared = getenv("OM_SHARED");
    struct om_arena a = OM_ARENA_INIT(64u << 20);
    struct totals t = { 0 };

    run_root(&a, OM_TEST_DATA "/tokenizers", argc, argv, &t);
    if (wanted("components", argc, argv)) {
        const bool ok = run_components(OM_TEST_DATA "/tokenizers");
        t.passed += ok;
        t.failed += !ok;
    }
    if (shared && *shared) {
        run_root(&a, om_arena_printf(&a, "%s/goldens/tokenizers", shared), argc, argv, &t);
        run_root(&a, om_arena_printf(&a, "%s/goldens/tokenizers-spm", shared), argc, argv, &t);
    }
    om_arena_release(&a);
    printf("%u passed, %u failed, 0 skipped\n", t.passed, t.failed);
    return t.failed || t.passed == 0;
}
