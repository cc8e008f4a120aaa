/* src/tok/decode.c: decoders. */
#include "tok/decode.h"

#include <stdlib.h>

#include "tok/regex.h"
#include "tok/unicode.h"

struct decoder {
    struct tok_kind kind;
    void (*run)(const void *conf, struct tok_work *w, const struct tok_strings *in,
                struct tok_strings *out);
};

/* ---- lists of strings ---- */

void tok_strings_release(struct tok_strings *s)
{
    om_buf_release(&s->text);
    free(s->ends);
    *s = (struct tok_strings)TOK_STRINGS_INIT;
}

void tok_strings_end(struct tok_strings *s)
{
    if (!om_grow(&s->ends, &s->cap, s->len + 1, sizeof(*s->ends))) {
        s->text.failed = true;
        return;
    }
    s->ends[s->len++] = s->text.len;
}

om_sv tok_strings_at(const struct tok_strings *s, size_t i)
{
    const size_t begin = i ? s->ends[i - 1] : 0;

    return (om_sv){ s->text.ptr ? s->text.ptr + begin : "", s->ends[i] - begin };
}

static void add(struct om_buf *b, om_sv s)
{
    if (s.len)
        om_buf_add(b, s.ptr, s.len);
}

static void add_string(struct tok_strings *out, om_sv s)
{
    add(&out->text, s);
    tok_strings_end(out);
}

static void add_char(struct om_buf *b, uint32_t c)
{
    char bytes[4];

    om_buf_add(b, bytes, tok_utf8_encode(c, bytes));
}

/* An empty string is found before each character and at the end. */
static void insert_everywhere(om_sv text, om_sv with, struct om_buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!tok_is_cont(text.ptr[i]))
            add(out, with);
        om_buf_addc(out, text.ptr[i]);
    }
    add(out, with);
}

/* text with every `what` replaced. */
static void replace(om_sv text, om_sv what, om_sv with, struct om_buf *out)
{
    size_t done = 0;

    if (!what.ptr || what.len == 0) {
        insert_everywhere(text, with, out);
        return;
    }
    while (done + what.len <= text.len) {
        const char *const hit = memmem(text.ptr + done, text.len - done, what.ptr, what.len);
        if (!hit)
            break;
        om_buf_add(out, text.ptr + done, (size_t)(hit - text.ptr) - done);
        add(out, with);
        done = (size_t)(hit - text.ptr) + what.len;
    }
    add(out, (om_sv){ text.ptr + done, text.len - done });
}

void tok_utf8_repair(om_sv bytes, struct om_buf *out)
{
    size_t len;

    for (size_t i = 0; i < bytes.len; i += len) {
        const uint32_t c = tok_utf8_lossy(bytes.ptr + i, bytes.len - i, &len);
        if (c == 0xFFFD)
            add_char(out, c);
        else
            om_buf_add(out, bytes.ptr + i, len);
    }
}

/* ---- spaces before punctuation ---- */

static const struct {
    const char *what, *with;
    bool word_piece_only;
} clean_ups[] = {
    { " .", ".", false },     { " ?", "?", false },          { " !", "!", false },
    { " ,", ",", false },     { " ' ", "'", false },         { " n't", "n't", false },
    { " 'm", "'m", false },   { " do not", " don't", true }, { " 's", "'s", false },
    { " 've", "'ve", false }, { " 're", "'re", false },
};

void tok_clean_up(om_sv text, bool word_piece, struct om_buf *out)
{
    struct om_buf steps[2] = { OM_BUF_INIT(SIZE_MAX / 2), OM_BUF_INIT(SIZE_MAX / 2) };
    unsigned k = 0;

    for (size_t i = 0; i < OM_COUNT(clean_ups); i++) {
        const om_sv what = om_sv_str(clean_ups[i].what);
        if ((clean_ups[i].word_piece_only && !word_piece) || text.len < what.len ||
            !memmem(text.ptr, text.len, what.ptr, what.len))
            continue;
        om_buf_clear(&steps[k]);
        replace(text, what, om_sv_str(clean_ups[i].with), &steps[k]);
        out->failed |= steps[k].failed;
        text = om_buf_sv(&steps[k]);
        k ^= 1;
    }
    add(out, text);
    om_buf_release(&steps[0]);
    om_buf_release(&steps[1]);
}

/* ---- ByteLevel ---- */

static const struct tok_field byte_level_fields[] = {
    TOK_FIELD_SKIP("add_prefix_space"),
    TOK_FIELD_SKIP("trim_offsets"),
    TOK_FIELD_SKIP("use_regex"),
    TOK_FIELDS_END,
};

/* A token of the byte alphabet as bytes; any other one as it is. */
static void add_bytes(om_sv token, struct om_buf *out)
{
    const size_t before = out->len;
    size_t len;

    for (size_t i = 0; i < token.len; i += len) {
        const int byte = tok_char_byte(tok_utf8_decode(token.ptr + i, &len));
        if (byte < 0) {
            if (!out->failed)
                out->len = before;
            add(out, token);
            return;
        }
        om_buf_addc(out, (char)byte);
    }
}

static void byte_level(const void *conf, struct tok_work *w, const struct tok_strings *in,
                       struct tok_strings *out)
{
    struct om_buf bytes = OM_BUF_INIT(SIZE_MAX / 2);

    (void)conf;
    (void)w;
    for (size_t i = 0; i < in->len; i++)
        add_bytes(tok_strings_at(in, i), &bytes);
    tok_utf8_repair(om_buf_sv(&bytes), &out->text);
    tok_strings_end(out);
    out->text.failed |= bytes.failed;
    om_buf_release(&bytes);
}

/* ---- WordPiece ---- */

struct word_piece {
    om_sv prefix;
    bool clean;
};

static const struct tok_field word_piece_fields[] = {
    TOK_FIELD(TEXT, struct word_piece, prefix, "prefix", 0, 0),
    TOK_FIELD(BOOL, struct word_piece, clean, "cleanup", 0, 0),
    TOK_FIELDS_END,
};

static void word_piece(const void *conf, struct tok_work *w, const struct tok_strings *in,
                       struct tok_strings *out)
{
    const struct word_piece *const c = conf;
    struct om_buf token = OM_BUF_INIT(SIZE_MAX / 2);

    (void)w;
    for (size_t i = 0; i < in->len; i++) {
        const om_sv text = tok_strings_at(in, i);
        om_buf_clear(&token);
        if (i > 0 && om_sv_starts(text, c->prefix)) {
            add(&token, (om_sv){ text.ptr + c->prefix.len, text.len - c->prefix.len });
        } else {
            if (i > 0)
                om_buf_addc(&token, ' ');
            add(&token, text);
        }
        if (c->clean)
            tok_clean_up(om_buf_sv(&token), true, &out->text);
        else
            add(&out->text, om_buf_sv(&token));
        tok_strings_end(out);
    }
    out->text.failed |= token.failed;
    om_buf_release(&token);
}

/* ---- BPEDecoder ---- */

struct bpe {
    om_sv suffix;
};

static const struct tok_field bpe_fields[] = { TOK_FIELD(TEXT, struct bpe, suffix, "suffix", 0, 0),
                                               TOK_FIELDS_END };

static void bpe(const void *conf, struct tok_work *w, const struct tok_strings *in,
                struct tok_strings *out)
{
    const om_sv suffix = ((const struct bpe *)conf)->suffix;

    (void)w;
    for (size_t i = 0; i < in->len; i++) {
        replace(tok_strings_at(in, i), suffix, i + 1 == in->len ? OM_SVL("") : OM_SVL(" "),
                &out->text);
        tok_strings_end(out);
    }
}

/* ---- Metaspace ---- */

enum scheme { ALWAYS, FIRST, NEVER };

static const char *const schemes[] = { "always", "first", "never", NULL };

struct metaspace {
    uint32_t replacement;
    unsigned scheme;
};

static const struct tok_field metaspace_fields[] = {
    TOK_FIELD(CHAR, struct metaspace, replacement, "replacement", 0, 0),
    { .kind = TOK_FIELD_CHOICE,
      .key = "prepend_scheme",
      .offset = offsetof(struct metaspace, scheme),
      .flags = TOK_OPTIONAL,
      .fallback = ALWAYS,
      .choices = schemes },
    TOK_FIELD_SKIP("split"),
    TOK_FIELD_SKIP("add_prefix_space"),
    TOK_FIELD_SKIP("str_rep"),
    TOK_FIELDS_END,
};

static void metaspace(const void *conf, struct tok_work *w, const struct tok_strings *in,
                      struct tok_strings *out)
{
    const struct metaspace *const m = conf;
    char mark[4];
    const om_sv what = { mark, tok_utf8_encode(m->replacement, mark) };

    (void)w;
    for (size_t i = 0; i < in->len; i++) {
        const bool drop = i == 0 && m->scheme != NEVER;
        replace(tok_strings_at(in, i), what, drop ? OM_SVL("") : OM_SVL(" "), &out->text);
        tok_strings_end(out);
    }
}

/* ---- CTC ---- */

struct ctc {
    om_sv pad, delimiter;
    bool clean;
};

static const struct tok_field ctc_fields[] = {
    TOK_FIELD(TEXT, struct ctc, pad, "pad_token", 0, 0),
    TOK_FIELD(TEXT, struct ctc, delimiter, "word_delimiter_token", 0, 0),
    TOK_FIELD(BOOL, struct ctc, clean, "cleanup", 0, 0),
    TOK_FIELDS_END,
};

static void ctc(const void *conf, struct tok_work *w, const struct tok_strings *in,
                struct tok_strings *out)
{
    const struct ctc *const c = conf;
    struct om_buf bare = OM_BUF_INIT(SIZE_MAX / 2), clean = OM_BUF_INIT(SIZE_MAX / 2);

    (void)w;
    for (size_t i = 0; i < in->len; i++) {
        const om_sv token = tok_strings_at(in, i);
        const size_t before = out->text.len;
        if (i > 0 && om_sv_eq(token, tok_strings_at(in, i - 1)))
            continue;
        om_buf_clear(&bare);
        replace(token, c->pad, OM_SVL(""), &bare);
        if (c->clean) {
            om_buf_clear(&clean);
            tok_clean_up(om_buf_sv(&bare), true, &clean);
            replace(om_buf_sv(&clean), c->delimiter, OM_SVL(" "), &out->text);
        } else {
            add(&out->text, om_buf_sv(&bare));
        }
        if (out->text.len > before)
            tok_strings_end(out);
    }
    out->text.failed |= bare.failed || clean.failed;
    om_buf_release(&bare);
    om_buf_release(&clean);
}

/* ---- Replace ---- */

struct replacement {
    om_sv content;
    struct tok_pattern pattern;
};

static const struct tok_field replace_fields[] = {
    TOK_FIELD(TEXT, struct replacement, content, "content", 0, 0),
    TOK_FIELD_SKIP("pattern"),
    TOK_FIELDS_END,
};

static int replace_finish(struct tok_loader *l, const struct om_json *j, void *conf)
{
    return tok_pattern_read(l, om_json_get(j, "pattern"), &((struct replacement *)conf)->pattern);
}

static void replace_pattern(const void *conf, struct tok_work *w, const struct tok_strings *in,
                            struct tok_strings *out)
{
    const struct replacement *const r = conf;

    for (size_t i = 0; i < in->len && w->rc == 0; i++) {
        const om_sv text = tok_strings_at(in, i);
        if (text.len > TOK_TEXT_MAX)
            tok_fail(w, OM_E_LIMIT, "a token of %zu bytes", text.len);
        else
            tok_find_in(w, &r->pattern, text.ptr, 0, (uint32_t)text.len);
        for (size_t k = 0; k < w->matches_len; k++) {
            const struct tok_match m = w->matches[k];
            add(&out->text, m.hit ? r->content : (om_sv){ text.ptr + m.begin, m.end - m.begin });
        }
        tok_strings_end(out);
    }
}

/* ---- ByteFallback ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The byte of a token such as <0x0A>, -1 for others. */
static int fallback_byte(om_sv t)
{
    if (t.len != 6 || memcmp(t.ptr, "<0x", 3) != 0 || t.ptr[5] != '>')
        return -1;
    if (t.ptr[3] == '+') /* as Rust reads numbers */
        return hex_digit(t.ptr[4]);
    const int high = hex_digit(t.ptr[3]), low = hex_digit(t.ptr[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* A run of bytes is a text when all of it is UTF-8; else every byte is unknown. */
static void end_bytes(struct om_buf *bytes, struct tok_strings *out)
{
    if (bytes->len == 0)
        return;
    if (om_utf8_valid(om_buf_sv(bytes)))
        add_string(out, om_buf_sv(bytes));
    else
        for (size_t i = 0; i < bytes->len; i++)
            add_string(out, OM_SVL("\xEF\xBF\xBD"));
    om_buf_clear(bytes);
}

static void byte_fallback(const void *conf, struct tok_work *w, const struct tok_strings *in,
                          struct tok_strings *out)
{
    struct om_buf bytes = OM_BUF_INIT(SIZE_MAX / 2);

    (void)conf;
    (void)w;
    for (size_t i = 0; i < in->len; i++) {
        const om_sv token = tok_strings_at(in, i);
        const int byte = fallback_byte(token);
        if (byte >= 0) {
            om_buf_addc(&bytes, (char)byte);
            continue;
        }
        end_bytes(&bytes, out);
        add_string(out, token);
    }
    end_bytes(&bytes, out);
    out->text.failed |= bytes.failed;
    om_buf_release(&bytes);
}

/* ---- Fuse, Strip ---- */

static void fuse(const void *conf, struct tok_work *w, const struct tok_strings *in,
                 struct tok_strings *out)
{
    (void)conf;
    (void)w;
    add(&out->text, om_buf_sv(&in->text));
    tok_strings_end(out);
}

struct strip {
    uint32_t content;
    size_t start, stop;
};

static const struct tok_field strip_fields[] = {
    TOK_FIELD(CHAR, struct strip, content, "content", 0, 0),
    TOK_FIELD(SIZE, struct strip, start, "start", 0, 0),
    TOK_FIELD(SIZE, struct strip, stop, "stop", 0, 0),
    TOK_FIELDS_END,
};

static void strip(const void *conf, struct tok_work *w, const struct tok_strings *in,
                  struct tok_strings *out)
{
    const struct strip *const s = conf;
    char bytes[4];
    const om_sv c = { bytes, tok_utf8_encode(s->content, bytes) };

    (void)w;
    for (size_t i = 0; i < in->len; i++) {
        om_sv t = tok_strings_at(in, i);
        for (size_t k = 0; k < s->start && om_sv_starts(t, c); k++)
            t = (om_sv){ t.ptr + c.len, t.len - c.len };
        for (size_t k = 0; k < s->stop && om_sv_ends(t, c); k++)
            t.len -= c.len;
        add_string(out, t);
    }
}

/* ---- Sequence ---- */

static const struct tok_field sequence_fields[] = { TOK_FIELD_SKIP("decoders"), TOK_FIELDS_END };

static int sequence_finish(struct tok_loader *l, const struct om_json *j, void *conf)
{
    return tok_components_read(l, &tok_decoders, j, "decoders", conf);
}

/* Run one decoder over *s. */
static void step(const struct tok_component *c, struct tok_work *w, struct tok_strings *s)
{
    struct tok_strings out = TOK_STRINGS_INIT;

    if (s->text.failed || w->rc < 0)
        return;
    ((const struct decoder *)c->kind)->run(c->conf, w, s, &out);
    tok_strings_release(s);
    *s = out;
}

static void sequence(const void *conf, struct tok_work *w, const struct tok_strings *in,
                     struct tok_strings *out)
{
    const struct tok_components *const c = conf;

    for (size_t i = 0; i < in->len; i++)
        add_string(out, tok_strings_at(in, i));
    for (size_t i = 0; i < c->len; i++)
        step(&c->items[i], w, out);
}

/* ---- the table ---- */

static const struct decoder kinds[] = {
    { { "ByteLevel", byte_level_fields, 1, NULL }, byte_level },
    { { "WordPiece", word_piece_fields, sizeof(struct word_piece), NULL }, word_piece },
    { { "BPEDecoder", bpe_fields, sizeof(struct bpe), NULL }, bpe },
    { { "Metaspace", metaspace_fields, sizeof(struct metaspace), NULL }, metaspace },
    { { "CTC", ctc_fields, sizeof(struct ctc), NULL }, ctc },
    { { "Replace", replace_fields, sizeof(struct replacement), replace_finish }, replace_pattern },
    { { "ByteFallback", NULL, 0, NULL }, byte_fallback },
    { { "Fuse", NULL, 0, NULL }, fuse },
    { { "Strip", strip_fields, sizeof(struct strip), NULL }, strip },
    { { "Sequence", sequence_fields, sizeof(struct tok_components), sequence_finish }, sequence },
};

static const struct tok_kind *const list[] = {
    &kinds[0].kind, &kinds[1].kind, &kinds[2].kind, &kinds[3].kind, &kinds[4].kind, &kinds[5].kind,
    &kinds[6].kind, &kinds[7].kind, &kinds[8].kind, &kinds[9].kind, NULL,
};

const struct tok_stage tok_decoders = { "decoder", list };

int tok_decode(const struct tok_component *c, struct tok_work *w, struct tok_strings *s,
               struct om_buf *out)
{
    if (c->kind) {
        step(c, w, s);
        add(out, om_buf_sv(&s->text));
    } else {
        for (size_t i = 0; i < s->len; i++) {
            if (i)
                om_buf_addc(out, ' ');
            add(out, tok_strings_at(s, i));
        }
    }
    out->failed |= s->text.failed;
    if (out->failed)
        tok_no_memory(w);
    return w->rc;
}
