/* src/tok/load.c: tokenizer.json. */
#include <stdlib.h>

#include "base/file.h"
#include "tok/convert.h"
#include "tok/scan.h"
#include "tok/tok.h"

#define FILE_MAX ((uint64_t)1 << 30)

/* ---- models ---- */

#define PARTS struct tok_model_parts

static const struct tok_field bpe_fields[] = {
    TOK_FIELD_SKIP("vocab"),
    TOK_FIELD_SKIP("merges"),
    TOK_FIELD_SKIP("dropout"),
    TOK_FIELD(TEXT, PARTS, unk_token, "unk_token", TOK_OPTIONAL | TOK_NULLABLE, 0),
    TOK_FIELD(TEXT, PARTS, prefix, "continuing_subword_prefix", TOK_OPTIONAL | TOK_NULLABLE, 0),
    TOK_FIELD(TEXT, PARTS, suffix, "end_of_word_suffix", TOK_OPTIONAL | TOK_NULLABLE, 0),
    TOK_FIELD(BOOL, PARTS, fuse_unk, "fuse_unk", TOK_OPTIONAL, false),
    TOK_FIELD(BOOL, PARTS, byte_fallback, "byte_fallback", TOK_OPTIONAL, false),
    TOK_FIELD(BOOL, PARTS, ignore_merges, "ignore_merges", TOK_OPTIONAL, false),
    TOK_FIELDS_END,
};

static const struct tok_field word_piece_fields[] = {
    TOK_FIELD_SKIP("vocab"),
    TOK_FIELD(TEXT, PARTS, unk_token, "unk_token", 0, 0),
    TOK_FIELD(TEXT, PARTS, prefix, "continuing_subword_prefix", 0, 0),
    TOK_FIELD(SIZE, PARTS, max_chars, "max_input_chars_per_word", 0, 0),
    TOK_FIELDS_END,
};

static const struct tok_field word_level_fields[] = {
    TOK_FIELD_SKIP("vocab"),
    TOK_FIELD(TEXT, PARTS, unk_token, "unk_token", 0, 0),
    TOK_FIELDS_END,
};

static const struct tok_field unigram_fields[] = {
    TOK_FIELD_SKIP("vocab"),
    TOK_FIELD(ID, PARTS, unk_id, "unk_id", TOK_OPTIONAL | TOK_NULLABLE, TOK_NONE),
    TOK_FIELD(BOOL, PARTS, byte_fallback, "byte_fallback", TOK_OPTIONAL, false),
    TOK_FIELD(BOOL, PARTS, single, "single", TOK_OPTIONAL, false), /* ours; see convert.c */
    TOK_FIELD(ID, PARTS, known, "known", TOK_OPTIONAL, TOK_NONE),  /* ours */
    TOK_FIELD(BOOL, PARTS, codes, "codes", TOK_OPTIONAL, false),   /* ours */
    TOK_FIELDS_END,
};

static const struct {
    const char *name;
    const struct tok_field *fields;
} models[] = {
    [TOK_WORD_PIECE] = { "WordPiece", word_piece_fields },
    [TOK_BPE] = { "BPE", bpe_fields },
    [TOK_UNIGRAM] = { "Unigram", unigram_fields },
    [TOK_WORD_LEVEL] = { "WordLevel", word_level_fields },
};

/* Old files have no type: the keys tell. */
static enum tok_model_type guess_type(const struct om_json *j, const struct tok_cuts *cuts)
{
    if (cuts->merges.ptr)
        return TOK_BPE;
    if (cuts->vocab.len && cuts->vocab.ptr[0] == '[')
        return TOK_UNIGRAM;
    return om_json_get(j, "continuing_subword_prefix") ? TOK_WORD_PIECE : TOK_WORD_LEVEL;
}

static int model_type(struct tok_loader *l, const struct om_json *j, const struct tok_cuts *cuts,
                      enum tok_model_type *out)
{
    om_sv name;

    if (om_json_kind(j) != OM_JSON_OBJECT)
        return om_fail(l->err, OM_E_CONFIG, "key \"model\": expected an object, found %s",
                       om_json_kind_text(j));
    *out = guess_type(j, cuts);
    if (!om_json_str(om_json_get(j, "type"), &name))
        return 0;
    for (size_t i = 0; i < OM_COUNT(models); i++) {
        if (om_sv_is(name, models[i].name)) {
            *out = (enum tok_model_type)i;
            return 0;
        }
    }
    return om_fail(l->err, OM_E_UNSUPPORTED, "unknown model \"%.*s\"", OM_SV(name));
}

/* A dropout makes the result random; 0 is none. */
static int check_dropout(struct tok_loader *l, const struct om_json *j)
{
    const struct om_json *const v = om_json_get(j, "dropout");
    double p = 0.0;

    om_json_f64(v, &p);
    if (p != 0.0)
        return om_fail(l->err, OM_E_UNSUPPORTED, "key \"dropout\": %g makes results random", p);
    return 0;
}

/* What read_parts() allocates. */
struct lists {
    struct tok_entries entries;
    struct tok_merges merges;
};

static int read_parts(struct tok_loader *l, const struct om_json *j, const struct tok_cuts *cuts,
                      PARTS *p, struct lists *lists)
{
    struct tok_entries *const e = &lists->entries;

    OM_TRY(tok_fields_read(l, j, models[p->type].fields, p));
    OM_TRY(check_dropout(l, j));
    if (!cuts->vocab.ptr || (p->type == TOK_BPE && !cuts->merges.ptr))
        return om_fail(l->err, OM_E_CONFIG, "key \"%s\" is missing",
                       cuts->vocab.ptr ? "merges" : "vocab");
    OM_TRY(p->type == TOK_UNIGRAM ? tok_scan_pieces(l->arena, cuts->vocab, e, l->err)
                                  : tok_scan_vocab(l->arena, cuts->vocab, e, l->err));
    if (p->type == TOK_BPE)
        OM_TRY(tok_scan_merges(l->arena, cuts->merges, &lists->merges, l->err));
    if (p->type == TOK_UNIGRAM && p->unk_id != TOK_NONE && p->unk_id >= e->len)
        return om_fail(l->err, OM_E_CONFIG, "key \"unk_id\": %" PRIu32 " in a vocabulary of %zu",
                       p->unk_id, e->len);
    p->entries = e->items;
    p->len = e->len;
    p->merges = lists->merges.items;
    p->merges_len = lists->merges.len;
    return 0;
}

static int read_model(struct tok_builder *b, const struct om_json *j, const struct tok_cuts *cuts)
{
    struct tok_model_parts parts = TOK_MODEL_PARTS_INIT;
    struct lists lists = { .entries = { NULL, 0, 0 } };
    int rc;

    OM_TRY(model_type(&b->loader, j, cuts, &parts.type));
    rc = read_parts(&b->loader, j, cuts, &parts, &lists);
    if (rc == 0)
        rc = tok_builder_model(b, &parts);
    free(lists.entries.items);
    free(lists.merges.items);
    return om_wrap(b->loader.err, rc, "model \"%s\"", models[parts.type].name);
}

/* ---- added tokens ---- */

static const struct tok_field added_fields[] = {
    TOK_FIELD(ID, struct tok_added_token, id, "id", 0, 0),
    TOK_FIELD(TEXT, struct tok_added_token, content, "content", 0, 0),
    TOK_FIELD(BOOL, struct tok_added_token, special, "special", 0, 0),
    TOK_FIELD(BOOL, struct tok_added_token, single_word, "single_word", 0, 0),
    TOK_FIELD(BOOL, struct tok_added_token, lstrip, "lstrip", 0, 0),
    TOK_FIELD(BOOL, struct tok_added_token, rstrip, "rstrip", 0, 0),
    TOK_FIELD(BOOL, struct tok_added_token, normalized, "normalized", 0, 0),
    TOK_FIELDS_END,
};

static int read_added(struct tok_builder *b, const struct om_json *list)
{
    const size_t n = om_json_len(list);
    struct tok_added_token *tokens;
    int rc = 0;

    if (om_json_kind(list) != OM_JSON_ARRAY && om_json_kind(list) != OM_JSON_NULL)
        return om_fail(b->loader.err, OM_E_CONFIG,
                       "key \"added_tokens\": expected an array, found %s",
                       om_json_kind_text(list));
    tokens = calloc(n ? n : 1, sizeof(*tokens));
    if (!tokens)
        return tok_loader_no_memory(&b->loader);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = om_wrap(b->loader.err,
                     tok_fields_read(&b->loader, om_json_at(list, i), added_fields, &tokens[i]),
                     "added token %zu", i);
    if (rc == 0)
        rc = tok_builder_added(b, tokens, n);
    free(tokens);
    return rc;
}

/* ---- truncation and padding ---- */

static const char *const sides[] = { "Right", "Left", NULL };
static const char *const strategies[] = { "LongestFirst", "OnlyFirst", "OnlySecond", NULL };

struct truncation {
    size_t max_length, stride;
    unsigned strategy, direction;
};

static const struct tok_field truncation_fields[] = {
    TOK_FIELD(SIZE, struct truncation, max_length, "max_length", 0, 0),
    TOK_FIELD(SIZE, struct truncation, stride, "stride", 0, 0),
    { .kind = TOK_FIELD_CHOICE,
      .key = "strategy",
      .offset = offsetof(struct truncation, strategy),
      .choices = strategies },
    { .kind = TOK_FIELD_CHOICE,
      .key = "direction",
      .offset = offsetof(struct truncation, direction),
      .flags = TOK_OPTIONAL,
      .choices = sides },
    TOK_FIELDS_END,
};

static int read_truncation(struct tok_builder *b, const struct om_json *j)
{
    struct truncation t;

    if (om_json_kind(j) == OM_JSON_NULL)
        return 0;
    OM_TRY(om_wrap(b->loader.err, tok_fields_read(&b->loader, j, truncation_fields, &t),
                   "truncation"));
    b->tok->truncation =
        (struct om_truncation){ t.max_length, t.stride, (enum om_truncation_strategy)t.strategy,
                                (enum om_side)t.direction };
    b->tok->has_truncation = true;
    return 0;
}

struct padding {
    unsigned direction;
    size_t multiple;
    uint32_t id, type_id;
    om_sv token;
};

static const struct tok_field padding_fields[] = {
    TOK_FIELD_SKIP("strategy"),
    { .kind = TOK_FIELD_CHOICE,
      .key = "direction",
      .offset = offsetof(struct padding, direction),
      .choices = sides },
    TOK_FIELD(SIZE, struct padding, multiple, "pad_to_multiple_of", TOK_OPTIONAL | TOK_NULLABLE, 0),
    TOK_FIELD(ID, struct padding, id, "pad_id", 0, 0),
    TOK_FIELD(ID, struct padding, type_id, "pad_type_id", 0, 0),
    TOK_FIELD(TEXT, struct padding, token, "pad_token", 0, 0),
    TOK_FIELDS_END,
};

/* "BatchLongest", or {"Fixed": n}; a length of 0 is no padding. */
static int padding_length(struct tok_loader *l, const struct om_json *j, size_t *length, bool *none)
{
    int64_t n = 0;
    om_sv text;

    *length = 0;
    *none = false;
    if (om_json_str(j, &text) && om_sv_is(text, "BatchLongest"))
        return 0;
    if (!om_json_i64(om_json_get(j, "Fixed"), &n) || n < 0)
        return om_fail(l->err, OM_E_UNSUPPORTED,
                       "key \"strategy\": expected \"BatchLongest\" or {\"Fixed\": length}");
    *length = (size_t)n;
    *none = n == 0;
    return 0;
}

static int read_padding(struct tok_builder *b, const struct om_json *j)
{
    struct padding p;
    size_t length;
    bool none;

    if (om_json_kind(j) == OM_JSON_NULL)
        return 0;
    OM_TRY(om_wrap(b->loader.err, tok_fields_read(&b->loader, j, padding_fields, &p), "padding"));
    OM_TRY(om_wrap(b->loader.err,
                   padding_length(&b->loader, om_json_get(j, "strategy"), &length, &none),
                   "padding"));
    b->tok->padding =
        (struct om_padding){ length, p.multiple, (enum om_side)p.direction, p.id, p.type_id };
    b->tok->has_padding = !none;
    return 0;
}

/* ---- the document ---- */

static int check_document(struct tok_loader *l, const struct om_json *doc)
{
    static const char *const keys[] = { "version",        "truncation", "padding",
                                        "added_tokens",   "normalizer", "pre_tokenizer",
                                        "post_processor", "decoder",    "model" };
    struct om_json_iter it = { 0 };
    om_sv version = OM_SVL("1.0");

    if (om_json_kind(doc) != OM_JSON_OBJECT)
        return om_fail(l->err, OM_E_FORMAT, "expected an object, found %s", om_json_kind_text(doc));
    while (om_json_next(doc, &it)) {
        size_t i = 0;
        while (i < OM_COUNT(keys) && !om_sv_is(it.key, keys[i]))
            i++;
        if (i == OM_COUNT(keys))
            return om_fail(l->err, OM_E_UNSUPPORTED, "unknown key \"%.*s\"", OM_SV(it.key));
    }
    om_json_str(om_json_get(doc, "version"), &version);
    if (!om_sv_is(version, "1.0"))
        return om_fail(l->err, OM_E_UNSUPPORTED, "version \"%.*s\", expected \"1.0\"",
                       OM_SV(version));
    return 0;
}

static int read_document(struct tok_builder *b, const struct om_json *doc,
                         const struct tok_cuts *cuts)
{
    static const struct {
        const struct tok_stage *stage;
        const char *key;
    } stages[] = {
        { &tok_normalizers, "normalizer" },
        { &tok_pre_tokenizers, "pre_tokenizer" },
        { &tok_post_processors, "post_processor" },
        { &tok_decoders, "decoder" },
    };

    b->loader.charsmaps = cuts->charsmaps;
    b->loader.charsmaps_len = cuts->charsmaps_len;
    OM_TRY(check_document(&b->loader, doc));
    for (size_t i = 0; i < OM_COUNT(stages); i++)
        OM_TRY(tok_builder_component(b, stages[i].stage, om_json_get(doc, stages[i].key)));
    OM_TRY(read_model(b, om_json_get(doc, "model"), cuts));
    OM_TRY(read_added(b, om_json_get(doc, "added_tokens")));
    OM_TRY(read_truncation(b, om_json_get(doc, "truncation")));
    return read_padding(b, om_json_get(doc, "padding"));
}

/* Parse what is left of text without the long lists. Messages about its syntax are those for the
 * whole of it. */
static int parse_rest(om_sv text, om_sv rest, struct om_json **doc, struct om_error *err)
{
    int rc = om_json_parse(rest, OM_JSON_LAST_WINS, doc, NULL);

    if (rc < 0) {
        rc = om_json_parse(text, OM_JSON_LAST_WINS, doc, err);
        if (rc == 0) {
            om_json_free(*doc);
            *doc = NULL;
            rc = om_json_parse(rest, OM_JSON_LAST_WINS, doc, err);
        }
    }
    return rc;
}

int tok_json_read(struct tok_builder *b, om_sv text)
{
    struct om_buf rest = OM_BUF_INIT(SIZE_MAX / 2);
    struct om_json *doc = NULL;
    struct tok_cuts cuts;
    int rc = tok_cut(text, &cuts, &rest, b->loader.err);

    if (rc == 0)
        rc = parse_rest(text, om_buf_sv(&rest), &doc, b->loader.err);
    if (rc == 0)
        rc = read_document(b, doc, &cuts);
    om_json_free(doc);
    om_buf_release(&rest);
    return rc;
}

int tok_open_text(om_sv json, struct om_tokenizer **out, struct om_error *err)
{
    struct tok_builder b;

    OM_TRY(tok_builder_init(&b, err));
    const int rc = tok_json_read(&b, json);
    if (rc == 0)
        return tok_builder_finish(&b, out);
    tok_builder_abort(&b);
    return rc;
}

/* ---- files ---- */

static const char *json_path(struct om_arena *a, const char *path)
{
    return om_dir_exists(path) ? om_path_join(a, path, "tokenizer.json") : path;
}

/* The directory that a file lies in. */
static const char *dir_of(struct om_arena *a, const char *path)
{
    const char *const slash = strrchr(path, '/');

    return slash ? om_arena_str(a, (om_sv){ path, (size_t)(slash - path) + 1 }) : ".";
}

static int open_file(struct tok_builder *b, const char *path)
{
    struct om_file f = OM_FILE_INIT;
    int rc;

    if (!path)
        return tok_loader_no_memory(&b->loader);
    OM_TRY(om_file_map(&f, path, b->loader.err));
    if (f.size > FILE_MAX)
        rc =
            om_fail(b->loader.err, OM_E_LIMIT, "%" PRIu64 " bytes, expected at most 1 GiB", f.size);
    else
        rc = tok_json_read(b, (om_sv){ (const char *)f.data, (size_t)f.size });
    om_file_unmap(&f);
    return om_wrap(b->loader.err, rc, "%s", path);
}

/* A directory that holds older files only. */
static int open_converted(struct tok_builder *b, const char *dir, unsigned flags)
{
    struct om_arena a = OM_ARENA_INIT(SIZE_MAX / 2);
    struct om_buf json = OM_BUF_INIT(SIZE_MAX / 2);
    int rc = tok_convert_dir(&a, dir, flags, &json, b->loader.err);

    if (rc == 0)
        rc = om_wrap(b->loader.err, tok_json_read(b, om_buf_sv(&json)), "%s", dir);
    om_buf_release(&json);
    om_arena_release(&a);
    return rc;
}

static int open_any(struct tok_builder *b, const char *path, const char *file, bool target)
{
    const bool given = file == path || om_file_exists(file);

    if (target && (given || !tok_can_convert(&b->tok->arena, path)))
        return om_fail(b->loader.err, OM_E_UNSUPPORTED,
                       "%s: only Marian's files have a tokenizer of the target language", path);
    if (!given && tok_can_convert(&b->tok->arena, path))
        return open_converted(b, path, target ? TOK_CONVERT_TARGET : 0);
    b->tok->file = om_arena_str(&b->tok->arena, om_sv_str(file));
    return open_file(b, b->tok->file);
}

int tok_open(const char *path, bool target, struct om_tokenizer **out, struct om_error *err)
{
    struct tok_builder b;
    int rc;

    OM_TRY(tok_builder_init(&b, err));
    const char *const file = json_path(&b.tok->arena, path);
    const char *const dir = file ? dir_of(&b.tok->arena, file) : NULL;
    b.tok->dir = dir ? om_arena_str(&b.tok->arena, om_sv_str(dir)) : NULL;
    rc = b.tok->dir ? open_any(&b, path, file, target) : tok_loader_no_memory(&b.loader);
    if (rc == 0)
        rc = tok_info_read(&b, b.tok->dir);
    if (rc == 0)
        return tok_builder_finish(&b, out);
    tok_builder_abort(&b);
    return rc;
}

int om_tokenizer_open(const char *path, struct om_tokenizer **out, struct om_error *err)
{
    return tok_open(path, false, out, err);
}
