/* src/tok/normalize.c: normalizers, which rewrite the text of a piece. */
#include "tok/charsmap.h"
#include "tok/normal_form.h"
#include "tok/regex.h"
#include "tok/stage.h"
#include "tok/unicode.h"

struct normalizer {
    struct tok_kind kind;
    void (*run)(const void *conf, struct tok_work *w, struct tok_piece *p);
};

void tok_normalize(const struct tok_component *c, struct tok_work *w, struct tok_piece *p)
{
    if (c->kind && w->rc == 0)
        ((const struct normalizer *)c->kind)->run(c->conf, w, p);
}

/* ---- character by character ---- */

#define DROPPED UINT32_MAX

typedef uint32_t char_map(uint32_t c);

static bool changes(const struct tok_work *w, const struct tok_piece *p, char_map *map)
{
    size_t len;

    for (uint32_t i = p->begin; i < p->end; i += (uint32_t)len) {
        const uint32_t c = tok_utf8_decode(w->bytes + i, &len);
        if (map(c) != c)
            return true;
    }
    return false;
}

static void map_chars(struct tok_work *w, struct tok_piece *p, char_map *map)
{
    size_t len;

    if (!changes(w, p, map))
        return;
    struct tok_rewrite r = tok_rewrite_begin(w, p);
    while (r.at < p->end && w->rc == 0) {
        const uint32_t c = map(tok_utf8_decode(w->bytes + r.at, &len));
        if (c == DROPPED)
            tok_drop(&r, len);
        else
            tok_put(&r, c, 0);
    }
    tok_rewrite_end(&r, p);
}

static void lowercase(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    uint32_t lower[TOK_LOWER_MAX];
    char table[128];
    size_t len;

    (void)conf;
    if (tok_is_ascii(tok_piece_text(w, p))) {
        for (unsigned i = 0; i < sizeof(table); i++)
            table[i] = (char)(i >= 'A' && i <= 'Z' ? i + 0x20 : i);
        tok_map_ascii(w, p, table);
        return;
    }
    struct tok_rewrite r = tok_rewrite_begin(w, p);
    while (r.at < p->end && w->rc == 0) {
        const size_t n = tok_lower(tok_utf8_decode(w->bytes + r.at, &len), lower);
        for (size_t i = 0; i < n; i++)
            tok_put(&r, lower[i], i > 0);
    }
    tok_rewrite_end(&r, p);
}

static uint32_t without_mark(uint32_t c)
{
    return tok_is_mark(c) ? DROPPED : c;
}

static void strip_accents(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    (void)conf;
    map_chars(w, p, without_mark);
}

static uint32_t nmt_kept(uint32_t c)
{
    if ((c >= 0x1 && c <= 0x8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
        c == 0x9F)
        return DROPPED;
    return c;
}

static uint32_t nmt_space(uint32_t c)
{
    if (c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
        (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF ||
        c == 0xFFFD)
        return ' ';
    return c;
}

static void nmt(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    (void)conf;
    map_chars(w, p, nmt_kept);
    map_chars(w, p, nmt_space);
}

static void byte_level(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    (void)conf;
    tok_byte_chars(w, p);
}

/* ---- normal forms ---- */

static void nfc(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    (void)conf;
    tok_normal_form(w, p, TOK_COMPOSE);
}

static void nfd(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    (void)conf;
    tok_normal_form(w, p, 0);
}

static void nfkc(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    (void)conf;
    tok_normal_form(w, p, TOK_COMPOSE | TOK_COMPATIBLE);
}

static void nfkd(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    (void)conf;
    tok_normal_form(w, p, TOK_COMPATIBLE);
}

/* ---- BertNormalizer ---- */

struct bert {
    bool clean, chinese, lower, strip;
    bool dropped[128]; /* ASCII: whether it goes away, and what stands for it */
    char ascii[128];
};

static const struct tok_field bert_fields[] = {
    TOK_FIELD(BOOL, struct bert, clean, "clean_text", 0, 0),
    TOK_FIELD(BOOL, struct bert, chinese, "handle_chinese_chars", 0, 0),
    TOK_FIELD(BOOL, struct bert, lower, "lowercase", 0, 0),
    TOK_FIELD_SKIP("strip_accents"),
    TOK_FIELDS_END,
};

static uint32_t clean_kept(uint32_t c)
{
    return c == 0 || c == 0xFFFD || tok_is_control(c) ? DROPPED : c;
}

static uint32_t clean_space(uint32_t c)
{
    return tok_is_space(c) ? ' ' : c;
}

static uint32_t without_nonspacing(uint32_t c)
{
    return tok_is_nonspacing(c) ? DROPPED : c;
}

static int bert_finish(struct tok_loader *l, const struct om_json *j, void *conf)
{
    struct bert *const b = conf;
    const struct om_json *const strip = om_json_get(j, "strip_accents");

    b->strip = b->lower; /* null, or absent */
    if (om_json_kind(strip) != OM_JSON_NULL && !om_json_bool(strip, &b->strip))
        return om_fail(l->err, OM_E_CONFIG,
                       "key \"strip_accents\": expected a boolean or null, found %s",
                       om_json_kind_text(strip));
    for (unsigned c = 0; c < 128; c++) {
        const uint32_t spaced = b->clean ? clean_space(c) : c;
        b->dropped[c] = b->clean && clean_kept(c) == DROPPED;
        b->ascii[c] = (char)(b->lower && spaced >= 'A' && spaced <= 'Z' ? spaced + 0x20 : spaced);
    }
    return 0;
}

static bool bert_ascii(const struct bert *b, const struct tok_work *w, const struct tok_piece *p)
{
    unsigned char all = 0;

    for (uint32_t i = p->begin; i < p->end; i++) {
        const unsigned char c = (unsigned char)w->bytes[i];
        all |= c;
        if (c < 0x80 && b->dropped[c])
            return false;
    }
    return all < 0x80;
}

static bool has_cjk(const struct tok_work *w, const struct tok_piece *p)
{
    size_t len;

    for (uint32_t i = p->begin; i < p->end; i += (uint32_t)len)
        if (tok_is_cjk(tok_utf8_decode(w->bytes + i, &len)))
            return true;
    return false;
}

static void space_cjk(struct tok_work *w, struct tok_piece *p)
{
    size_t len;

    if (!has_cjk(w, p))
        return;
    struct tok_rewrite r = tok_rewrite_begin(w, p);
    while (r.at < p->end && w->rc == 0) {
        const uint32_t c = tok_utf8_decode(w->bytes + r.at, &len);
        if (!tok_is_cjk(c)) {
            tok_put(&r, c, 0);
            continue;
        }
        tok_put(&r, ' ', 0);
        tok_put(&r, c, 1);
        tok_put(&r, ' ', 1);
    }
    tok_rewrite_end(&r, p);
}

static void bert(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    const struct bert *const b = conf;

    if (bert_ascii(b, w, p)) { /* the steps below, at once */
        if (b->clean || b->lower)
            tok_map_ascii(w, p, b->ascii);
        return;
    }
    if (b->clean) {
        map_chars(w, p, clean_kept);
        map_chars(w, p, clean_space);
    }
    if (b->chinese)
        space_cjk(w, p);
    if (b->strip) {
        tok_normal_form(w, p, 0);
        map_chars(w, p, without_nonspacing);
    }
    if (b->lower)
        lowercase(NULL, w, p);
}

/* ---- Strip, Prepend, Replace ---- */

struct strip {
    bool left, right;
};

static const struct tok_field strip_fields[] = {
    TOK_FIELD(BOOL, struct strip, left, "strip_left", 0, 0),
    TOK_FIELD(BOOL, struct strip, right, "strip_right", 0, 0),
    TOK_FIELDS_END,
};

static void strip(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    const struct strip *const s = conf;
    size_t len;

    while (s->left && p->begin < p->end && tok_is_space(tok_utf8_decode(w->bytes + p->begin, &len)))
        p->begin += (uint32_t)len;
    while (s->right && p->begin < p->end) {
        uint32_t last = p->end - 1;
        while (last > p->begin && tok_is_cont(w->bytes[last]))
            last--;
        if (!tok_is_space(tok_utf8_decode(w->bytes + last, &len)))
            break;
        p->end = last;
    }
}

struct prepend {
    om_sv text;
};

static const struct tok_field prepend_fields[] = {
    TOK_FIELD(TEXT, struct prepend, text, "prepend", 0, 0),
    TOK_FIELDS_END,
};

static void prepend(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    tok_prepend(w, p, ((const struct prepend *)conf)->text);
}

struct replace {
    om_sv content;
    struct tok_pattern pattern;
};

static const struct tok_field replace_fields[] = {
    TOK_FIELD(TEXT, struct replace, content, "content", 0, 0),
    TOK_FIELD_SKIP("pattern"),
    TOK_FIELDS_END,
};

static int replace_finish(struct tok_loader *l, const struct om_json *j, void *conf)
{
    return tok_pattern_read(l, om_json_get(j, "pattern"), &((struct replace *)conf)->pattern);
}

static void replace(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    const struct replace *const c = conf;
    bool any = false;
    size_t len;

    tok_find(w, &c->pattern, p);
    for (size_t i = 0; i < w->matches_len && !any; i++)
        any = w->matches[i].hit;
    if (!any || w->rc < 0)
        return;
    struct tok_rewrite r = tok_rewrite_begin(w, p);
    for (size_t i = 0; i < w->matches_len; i++) {
        const struct tok_match m = w->matches[i];
        if (!m.hit) {
            tok_keep(&r, m.end - m.begin);
            continue;
        }
        tok_drop(&r, m.end - m.begin);
        for (size_t k = 0; k < c->content.len; k += len)
            tok_put(&r, tok_utf8_decode(c->content.ptr + k, &len), 1);
    }
    tok_rewrite_end(&r, p);
}

/* ---- Precompiled ---- */

/* "longest" is ours, for models that Transformers runs by SentencePiece itself. */
static const struct tok_field charsmap_fields[] = {
    TOK_FIELD_SKIP("precompiled_charsmap"),
    TOK_FIELD(BOOL, struct tok_charsmap, longest, "longest", TOK_OPTIONAL, false),
    TOK_FIELDS_END,
};

static int charsmap_finish(struct tok_loader *l, const struct om_json *j, void *conf)
{
    const struct om_json *const text = om_json_get(j, "precompiled_charsmap");
    om_sv base64 = { "", 0 };
    int64_t index;

    if (om_json_i64(text, &index) && index >= 0 && (uint64_t)index < l->charsmaps_len)
        base64 = l->charsmaps[index];
    else if (om_json_kind(text) != OM_JSON_NULL && !om_json_str(text, &base64))
        return om_fail(l->err, OM_E_CONFIG,
                       "key \"precompiled_charsmap\": expected a string, found %s",
                       om_json_kind_text(text));
    return tok_charsmap_read(l->arena, base64, conf, l->err);
}

static void charsmap(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    tok_charsmap_apply(conf, w, p);
}

/* ---- Sequence ---- */

static const struct tok_field sequence_fields[] = { TOK_FIELD_SKIP("normalizers"), TOK_FIELDS_END };

static int sequence_finish(struct tok_loader *l, const struct om_json *j, void *conf)
{
    return tok_components_read(l, &tok_normalizers, j, "normalizers", conf);
}

static void sequence(const void *conf, struct tok_work *w, struct tok_piece *p)
{
    const struct tok_components *const c = conf;

    for (size_t i = 0; i < c->len; i++)
        tok_normalize(&c->items[i], w, p);
}

/* ---- the table ---- */

static const struct normalizer kinds[] = {
    { { "BertNormalizer", bert_fields, sizeof(struct bert), bert_finish }, bert },
    { { "NFC", NULL, 0, NULL }, nfc },
    { { "NFD", NULL, 0, NULL }, nfd },
    { { "NFKC", NULL, 0, NULL }, nfkc },
    { { "NFKD", NULL, 0, NULL }, nfkd },
    { { "Nmt", NULL, 0, NULL }, nmt },
    { { "Lowercase", NULL, 0, NULL }, lowercase },
    { { "StripAccents", NULL, 0, NULL }, strip_accents },
    { { "Strip", strip_fields, sizeof(struct strip), NULL }, strip },
    { { "Prepend", prepend_fields, sizeof(struct prepend), NULL }, prepend },
    { { "Replace", replace_fields, sizeof(struct replace), replace_finish }, replace },
    { { "Precompiled", charsmap_fields, sizeof(struct tok_charsmap), charsmap_finish }, charsmap },
    { { "ByteLevel", NULL, 0, NULL }, byte_level },
    { { "Sequence", sequence_fields, sizeof(struct tok_components), sequence_finish }, sequence },
};

static const struct tok_kind *const list[] = {
    &kinds[0].kind,  &kinds[1].kind,  &kinds[2].kind,  &kinds[3].kind,  &kinds[4].kind,
    &kinds[5].kind,  &kinds[6].kind,  &kinds[7].kind,  &kinds[8].kind,  &kinds[9].kind,
    &kinds[10].kind, &kinds[11].kind, &kinds[12].kind, &kinds[13].kind, NULL,
};

const struct tok_stage tok_normalizers = { "normalizer", list };
