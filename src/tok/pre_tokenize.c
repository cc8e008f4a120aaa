/* src/tok/pre_tokenize.c: pre-tokenizers, which cut pieces into words. */
#include "tok/regex.h"
#include "tok/stage.h"
#include "tok/unicode.h"

struct pre_tokenizer {
    struct tok_kind kind;
    void (*run)(const void *conf, struct tok_work *w);
};

void tok_pre_tokenize(const struct tok_component *c, struct tok_work *w)
{
    if (c->kind && w->rc == 0)
        ((const struct pre_tokenizer *)c->kind)->run(c->conf, w);
}

/* Call fn for each piece that is text; what it emits replaces the piece. */
typedef void piece_fn(const void *conf, struct tok_work *w, struct tok_piece *p);

static void each_piece(const void *conf, struct tok_work *w, piece_fn *fn)
{
    for (size_t i = 0; i < w->pieces_len && w->rc == 0; i++) {
        struct tok_piece p = w->pieces[i];
        if (p.token == TOK_NONE)
            fn(conf, w, &p);
        else
            tok_emit(w, &p);
    }
    tok_swap(w);
}

/* ---- splitting at matches ---- */

enum behavior { REMOVED, ISOLATED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS };

static const char *const behaviors[] = { "Removed",        "Isolated",   "MergedWithPrevious",
                                         "MergedWithNext", "Contiguous", NULL };

static void emit(struct tok_work *w, const struct tok_piece *p, uint32_t begin, uint32_t end)
{
    const struct tok_piece s = tok_slice(w, p, begin, end);

    tok_emit(w, &s);
}

/* A match joins the part before it, unless that is a match as well. */
static void merge_previous(struct tok_work *w, const struct tok_piece *p)
{
    for (size_t i = 0; i < w->matches_len; i++) {
        const struct tok_match m = w->matches[i];
        const bool joins = i + 1 < w->matches_len && !m.hit && w->matches[i + 1].hit;
        if (joins)
            i++;
        emit(w, p, m.begin, joins ? w->matches[i].end : m.end);
    }
}

static void merge_next(struct tok_work *w, const struct tok_piece *p)
{
    for (size_t i = 0; i < w->matches_len; i++) {
        const struct tok_match m = w->matches[i];
        const bool joins = i + 1 < w->matches_len && m.hit && !w->matches[i + 1].hit;
        if (joins)
            i++;
        emit(w, p, m.begin, joins ? w->matches[i].end : m.end);
    }
}

static void merge_equal(struct tok_work *w, const struct tok_piece *p)
{
    for (size_t i = 0; i < w->matches_len; i++) {
        const struct tok_match m = w->matches[i];
        while (i + 1 < w->matches_len && w->matches[i + 1].hit == m.hit)
            i++;
        emit(w, p, m.begin, w->matches[i].end);
    }
}

static void split(struct tok_work *w, const struct tok_piece *p, const struct tok_pattern *pattern,
                  bool invert, enum behavior behavior)
{
    tok_find(w, pattern, p);
    for (size_t i = 0; invert && i < w->matches_len; i++)
        w->matches[i].hit = !w->matches[i].hit;
    switch (behavior) {
    case REMOVED:
    case ISOLATED:
        for (size_t i = 0; i < w->matches_len; i++)
            if (behavior == ISOLATED || !w->matches[i].hit)
                emit(w, p, w->matches[i].begin, w->matches[i].end);
        break;
    case MERGED_WITH_PREVIOUS:
        merge_previous(w, p);
        break;
    case MERGED_WITH_NEXT:
        merge_next(w, p);
        break;
    case CONTIGUOUS:
        merge_equal(w, p);
        break;
    }
}

/* ---- by classes of characters ---- */

static void split_spaces(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    static const struct tok_pattern space = { .is = tok_is_space };

    (void)conf;
    split(w, p, &space, false, REMOVED);
}

static void whitespace_split(const void *conf, struct tok_work *w)
{
    each_piece(conf, w, split_spaces);
}

static void isolate_punctuation(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    static const struct tok_pattern punctuation = { .is = tok_is_punctuation };

    (void)conf;
    split(w, p, &punctuation, false, ISOLATED);
}

static void bert(const void *conf, struct tok_work *w)
{
    each_piece(conf, w, split_spaces);
    each_piece(conf, w, isolate_punctuation);
}

/* Runs of word characters, and runs of what is neither that nor space. */
static void split_words(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    enum { SPACE, WORD, OTHER } last = SPACE;
    uint32_t start = p->begin;
    size_t len;

    (void)conf;
    for (uint32_t i = p->begin; i < p->end; i += (uint32_t)len) {
        const uint32_t c = tok_utf8_decode(w->bytes + i, &len);
        const int kind = tok_is_word(c) ? WORD : tok_is_space(c) ? SPACE : OTHER;
        if (kind == (int)last)
            continue;
        if (last != SPACE)
            emit(w, p, start, i);
        start = i;
        last = kind;
    }
    if (last != SPACE)
        emit(w, p, start, p->end);
}

static void whitespace(const void *conf, struct tok_work *w)
{
    each_piece(conf, w, split_words);
}

struct digits {
    bool individual;
};

static const struct tok_field digits_fields[] = {
    TOK_FIELD(BOOL, struct digits, individual, "individual_digits", 0, 0),
    TOK_FIELDS_END,
};

static void split_digits(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    static const struct tok_pattern numeric = { .is = tok_is_numeric };
    const struct digits *const d = conf;

    split(w, p, &numeric, false, d->individual ? ISOLATED : CONTIGUOUS);
}

static void digits(const void *conf, struct tok_work *w)
{
    each_piece(conf, w, split_digits);
}

struct punctuation {
    unsigned behavior;
};

static const struct tok_field punctuation_fields[] = {
    { .kind = TOK_FIELD_CHOICE,
      .key = "behavior",
      .offset = offsetof(struct punctuation, behavior),
      .flags = TOK_OPTIONAL,
      .fallback = ISOLATED,
      .choices = behaviors },
    TOK_FIELDS_END,
};

static void split_punctuation(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    static const struct tok_pattern pattern = { .is = tok_is_punctuation };

    split(w, p, &pattern, false, ((const struct punctuation *)conf)->behavior);
}

static void punctuation(const void *conf, struct tok_work *w)
{
    each_piece(conf, w, split_punctuation);
}

/* A word ends where a character has another script than the last one that has any. */
static void split_scripts(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    unsigned last = 0;
    uint32_t start = p->begin;
    size_t len;

    (void)conf;
    for (uint32_t i = p->begin; i < p->end; i += (uint32_t)len) {
        const unsigned script = tok_script(tok_utf8_decode(w->bytes + i, &len));
        if (script == 0)
            continue;
        if (script != last) {
            if (last) /* what stands before the first script is left out */
                emit(w, p, start, i);
            start = i;
        }
        last = script;
    }
    if (last)
        emit(w, p, start, p->end);
}

static void unicode_scripts(const void *conf, struct tok_work *w)
{
    each_piece(conf, w, split_scripts);
}

/* ---- CharDelimiterSplit, Split, FixedLength ---- */

struct delimiter {
    uint32_t c;
};

static const struct tok_field delimiter_fields[] = {
    TOK_FIELD(CHAR, struct delimiter, c, "delimiter", 0, 0),
    TOK_FIELDS_END,
};

static void split_delimiter(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    char text[4];
    const size_t n = tok_utf8_encode(((const struct delimiter *)conf)->c, text);
    const struct tok_pattern pattern = { .literal = { text, n } };

    split(w, p, &pattern, false, REMOVED);
}

static void delimiter(const void *conf, struct tok_work *w)
{
    each_piece(conf, w, split_delimiter);
}

struct split {
    struct tok_pattern pattern;
    unsigned behavior;
    bool invert;
};

static const struct tok_field split_fields[] = {
    TOK_FIELD_SKIP("pattern"),
    { .kind = TOK_FIELD_CHOICE,
      .key = "behavior",
      .offset = offsetof(struct split, behavior),
      .choices = behaviors },
    TOK_FIELD(BOOL, struct split, invert, "invert", 0, 0),
    TOK_FIELDS_END,
};

static int split_finish(struct tok_loader *l, const struct om_json *j, void *conf)
{
    return tok_pattern_read(l, om_json_get(j, "pattern"), &((struct split *)conf)->pattern);
}

static void split_pattern(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    const struct split *const s = conf;

    split(w, p, &s->pattern, s->invert, s->behavior);
}

static void split_run(const void *conf, struct tok_work *w)
{
    each_piece(conf, w, split_pattern);
}

struct fixed {
    size_t length;
};

static const struct tok_field fixed_fields[] = {
    TOK_FIELD(SIZE, struct fixed, length, "length", TOK_OPTIONAL, 5),
    TOK_FIELDS_END,
};

static int fixed_finish(struct tok_loader *l, const struct om_json *j, void *conf)
{
    (void)j;
    if (((struct fixed *)conf)->length == 0)
        return om_fail(l->err, OM_E_CONFIG, "key \"length\": expected at least 1, found 0");
    return 0;
}

static void split_fixed(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    const size_t length = ((const struct fixed *)conf)->length;
    uint32_t start = p->begin;
    size_t count = 0;

    for (uint32_t i = p->begin; i < p->end; i++) {
        if (tok_is_cont(w->bytes[i]))
            continue;
        if (count == length) {
            emit(w, p, start, i);
            start = i;
            count = 0;
        }
        count++;
    }
    emit(w, p, start, p->end);
}

static void fixed(const void *conf, struct tok_work *w)
{
    each_piece(conf, w, split_fixed);
}

/* ---- Metaspace ---- */

enum scheme { ALWAYS, FIRST, NEVER };

static const char *const schemes[] = { "always", "first", "never", NULL };

struct metaspace {
    uint32_t replacement;
    char text[4]; /* the same in UTF-8 */
    size_t text_len;
    unsigned scheme;
    bool split;
};

static const struct tok_field metaspace_fields[] = {
    TOK_FIELD(CHAR, struct metaspace, replacement, "replacement", 0, 0),
    { .kind = TOK_FIELD_CHOICE,
      .key = "prepend_scheme",
      .offset = offsetof(struct metaspace, scheme),
      .flags = TOK_OPTIONAL,
      .fallback = ALWAYS,
      .choices = schemes },
    TOK_FIELD(BOOL, struct metaspace, split, "split", TOK_OPTIONAL | TOK_NULLABLE, true),
    TOK_FIELD_SKIP("add_prefix_space"), /* what prepend_scheme was before */
    TOK_FIELD_SKIP("str_rep"),
    TOK_FIELDS_END,
};

static int metaspace_finish(struct tok_loader *l, const struct om_json *j, void *conf)
{
    struct metaspace *const m = conf;
    bool prefix;

    m->text_len = tok_utf8_encode(m->replacement, m->text);
    if (om_json_bool(om_json_get(j, "add_prefix_space"), &prefix) && !prefix && m->scheme != NEVER)
        return om_fail(
            l->err, OM_E_CONFIG,
            "key \"add_prefix_space\" is false, but \"prepend_scheme\" is not \"never\"");
    return 0;
}

static void replace_spaces(const struct metaspace *m, struct tok_work *w, struct tok_piece *p)
{
    if (!memchr(w->bytes + p->begin, ' ', p->end - p->begin))
        return;
    struct tok_rewrite r = tok_rewrite_begin(w, p);
    while (r.at < p->end && w->rc == 0) {
        const char *const from = w->bytes + r.at;
        const char *const space = memchr(from, ' ', p->end - r.at);
        const size_t before = space ? (size_t)(space - from) : p->end - r.at;
        if (before)
            tok_keep(&r, before);
        if (space)
            tok_put(&r, m->replacement, 0);
    }
    tok_rewrite_end(&r, p);
}

static void split_metaspace(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    const struct metaspace *const m = conf;
    const om_sv mark = { m->text, m->text_len };
    const struct tok_pattern pattern = { .literal = mark };

    replace_spaces(m, w, p);
    if ((m->scheme == ALWAYS || (m->scheme == FIRST && p->origin == 0)) &&
        !om_sv_starts(tok_piece_text(w, p), mark))
        tok_prepend(w, p, mark);
    if (m->split)
        split(w, p, &pattern, false, MERGED_WITH_NEXT);
    else
        tok_emit(w, p);
}

static void metaspace(const void *conf, struct tok_work *w)
{
    each_piece(conf, w, split_metaspace);
}

/* ---- ByteLevel ---- */

/* GPT-2's words. */
static const char gpt2_words[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

struct byte_level {
    bool prefix, trim, use_regex;
    struct tok_pattern words;
    bool raw; /* set by the loader: the model reads bytes, so they stay what they are */
};

static const struct tok_field byte_level_fields[] = {
    TOK_FIELD(BOOL, struct byte_level, prefix, "add_prefix_space", 0, 0),
    TOK_FIELD(BOOL, struct byte_level, trim, "trim_offsets", 0, 0),
    TOK_FIELD(BOOL, struct byte_level, use_regex, "use_regex", TOK_OPTIONAL, true),
    TOK_FIELDS_END,
};

static int byte_level_finish(struct tok_loader *l, const struct om_json *j, void *conf)
{
    (void)j;
    return tok_pattern_regex(l, OM_SVL(gpt2_words), &((struct byte_level *)conf)->words);
}

static void split_byte_level(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    const struct byte_level *const b = conf;

    if (b->prefix && w->bytes[p->begin] != ' ')
        tok_prepend(w, p, OM_SVL(" "));
    if (b->use_regex)
        split(w, p, &b->words, false, ISOLATED);
    else
        tok_emit(w, p);
}

void tok_byte_chars(struct tok_work *w, struct tok_piece *p)
{
    struct tok_rewrite r = tok_rewrite_begin(w, p);

    while (r.at < p->end && w->rc == 0) {
        char c[4];
        size_t n;
        tok_utf8_decode(w->bytes + r.at, &n);
        memcpy(c, w->bytes + r.at, n); /* the pool may move */
        for (size_t i = 0; i < n; i++)
            tok_put(&r, tok_byte_char((uint8_t)c[i]), i > 0);
    }
    tok_rewrite_end(&r, p);
}

static void write_byte_chars(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    (void)conf;
    tok_byte_chars(w, p);
    tok_emit(w, p);
}

static void byte_level(const void *conf, struct tok_work *w)
{
    const struct byte_level *const b = conf;

    each_piece(conf, w, split_byte_level);
    if (!b->raw)
        each_piece(conf, w, write_byte_chars);
}

/* ---- Sequence ---- */

static const struct tok_field sequence_fields[] = { TOK_FIELD_SKIP("pretokenizers"),
                                                    TOK_FIELDS_END };

static int sequence_finish(struct tok_loader *l, const struct om_json *j, void *conf)
{
    return tok_components_read(l, &tok_pre_tokenizers, j, "pretokenizers", conf);
}

static void sequence(const void *conf, struct tok_work *w)
{
    const struct tok_components *const c = conf;

    for (size_t i = 0; i < c->len; i++)
        tok_pre_tokenize(&c->items[i], w);
}

/* ---- the table ---- */

enum { BYTE_LEVEL, SEQUENCE };

static const struct pre_tokenizer kinds[] = {
    [BYTE_LEVEL] = { { "ByteLevel", byte_level_fields, sizeof(struct byte_level),
                       byte_level_finish },
                     byte_level },
    [SEQUENCE] = { { "Sequence", sequence_fields, sizeof(struct tok_components), sequence_finish },
                   sequence },
    { { "BertPreTokenizer", NULL, 0, NULL }, bert },
    { { "Whitespace", NULL, 0, NULL }, whitespace },
    { { "WhitespaceSplit", NULL, 0, NULL }, whitespace_split },
    { { "Digits", digits_fields, sizeof(struct digits), NULL }, digits },
    { { "Punctuation", punctuation_fields, sizeof(struct punctuation), NULL }, punctuation },
    { { "UnicodeScripts", NULL, 0, NULL }, unicode_scripts },
    { { "CharDelimiterSplit", delimiter_fields, sizeof(struct delimiter), NULL }, delimiter },
    { { "Split", split_fields, sizeof(struct split), split_finish }, split_run },
    { { "FixedLength", fixed_fields, sizeof(struct fixed), fixed_finish }, fixed },
    { { "Metaspace", metaspace_fields, sizeof(struct metaspace), metaspace_finish }, metaspace },
};

static const struct tok_kind *const list[] = {
    &kinds[0].kind,  &kinds[1].kind,  &kinds[2].kind, &kinds[3].kind, &kinds[4].kind,
    &kinds[5].kind,  &kinds[6].kind,  &kinds[7].kind, &kinds[8].kind, &kinds[9].kind,
    &kinds[10].kind, &kinds[11].kind, NULL,
};

const struct tok_stage tok_pre_tokenizers = { "pre-tokenizer", list };

bool tok_ends_in_bytes(const struct tok_component *c, bool leave)
{
    if (c->kind == &kinds[SEQUENCE].kind) {
        const struct tok_components *const inner = c->conf;
        return inner->len > 0 && tok_ends_in_bytes(&inner->items[inner->len - 1], leave);
    }
    if (c->kind != &kinds[BYTE_LEVEL].kind)
        return false;
    if (leave)
        ((struct byte_level *)c->conf)->raw = true; /* the tokenizer is still being built */
    return true;
}
