/* src/tok/convert.c: what a directory says about its tokenizer, written as a tokenizer.json. */
#include "tok/convert.h"

#include <stdlib.h>

#include "base/file.h"
#include "tok/model.h"

#define FILE_MAX ((size_t)1 << 29)
#define META "\xE2\x96\x81" /* U+2581, which stands for a space */

/* ---- shared by the models ---- */

void tok_convert_fail(struct tok_convert *c, int rc)
{
    if (c->rc == 0)
        c->rc = rc;
}

static void no_memory(struct tok_convert *c)
{
    tok_convert_fail(c, om_fail(c->err, OM_E_NOMEM, "out of memory for a tokenizer"));
}

/* Room for one more element of an arena array that doubles. */
static void *grown(struct tok_convert *c, void *items, size_t len, size_t *cap, size_t elem)
{
    if (len < *cap)
        return items;
    const size_t wanted = *cap ? *cap * 2 : 256;
    void *const more = om_arena_array(c->arena, wanted, elem);

    if (!more) {
        no_memory(c);
        return NULL;
    }
    if (len)
        memcpy(more, items, len * elem);
    *cap = wanted;
    return more;
}

void tok_convert_id(struct tok_convert *c, om_sv text, uint32_t id)
{
    if (c->rc < 0)
        return;
    if (om_map_put(&c->last, text, id) < 0 ||
        (!om_map_get(&c->first, text, NULL) && om_map_put(&c->first, text, id) < 0))
        no_memory(c);
}

void tok_convert_piece(struct tok_convert *c, om_sv text, double score)
{
    struct tok_out_piece *p;

    if (c->rc < 0 || !text.ptr)
        return;
    p = grown(c, c->pieces, c->len, &c->cap, sizeof(*p));
    if (!p)
        return;
    c->pieces = p;
    tok_convert_id(c, text, (uint32_t)c->len);
    p[c->len++] = (struct tok_out_piece){ text, score };
}

void tok_convert_add(struct tok_convert *c, const struct tok_out_added *token)
{
    struct tok_out_added *t;

    if (c->rc < 0 || !token->content.ptr || token->content.len == 0)
        return;
    for (size_t i = 0; i < c->added_len; i++) {
        if (om_sv_eq(c->added[i].content, token->content)) {
            c->added[i] = *token;
            return;
        }
    }
    t = grown(c, c->added, c->added_len, &c->added_cap, sizeof(*t));
    if (!t)
        return;
    c->added = t;
    t[c->added_len++] = *token;
}

bool tok_convert_flag(const struct tok_convert *c, const char *key, bool fallback)
{
    bool flag = fallback;

    om_json_bool(om_json_get(c->config, key), &flag);
    return flag;
}

bool tok_convert_file(struct tok_convert *c, const char *name, om_sv *text)
{
    const char *const path = om_path_join(c->arena, c->dir, name);

    *text = (om_sv){ NULL, 0 };
    if (!path)
        no_memory(c);
    else if (om_file_exists(path))
        tok_convert_fail(c, om_file_read(c->arena, path, FILE_MAX, text, c->err));
    return c->rc == 0 && text->ptr;
}

/* ---- special tokens ---- */

static const char *const role_keys[TOK_ROLES] = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
};
static const char *const role_words[TOK_ROLES] = {
    "bos", "eos", "unk", "sep", "pad", "cls", "mask"
};

/* A token as the configuration gives it: a text, or an object with its properties. */
static bool token_of(const struct om_json *j, struct tok_out_added *t)
{
    if (om_json_str(j, &t->content))
        return true;
    if (!om_json_str(om_json_get(j, "content"), &t->content))
        return false;
    om_json_bool(om_json_get(j, "single_word"), &t->single_word);
    om_json_bool(om_json_get(j, "lstrip"), &t->lstrip);
    om_json_bool(om_json_get(j, "rstrip"), &t->rstrip);
    om_json_bool(om_json_get(j, "normalized"), &t->normalized);
    om_json_bool(om_json_get(j, "special"), &t->special);
    return true;
}

/* The configuration counts more than the map; null there is "none". */
static const struct om_json *special(const struct tok_convert *c, const char *key)
{
    const struct om_json *const v = om_json_get(c->config, key);

    return v ? v : om_json_get(c->special_map, key);
}

static void read_role(struct tok_convert *c, enum tok_role role, struct tok_out_added *t)
{
    const struct om_json *const v = special(c, role_keys[role]);
    const char *const text = c->cls->tokens[role];

    *t = (struct tok_out_added){ .content = { NULL, 0 } };
    if (v)
        token_of(v, t);
    else if (text)
        t->content = om_sv_str(text);
    if (om_json_kind(v) != OM_JSON_OBJECT) {
        t->lstrip = role == TOK_MASK && c->cls->mask_lstrip;
        t->normalized = role == TOK_MASK ? c->cls->mask_normalized
                                         : c->cls->files == TOK_FILES_BYTE_BPE &&
                                               c->cls->bpe == TOK_BPE_GPT2 && !c->cls->whisper;
    }
    t->special = true;
    c->tokens[role] = t->content;
}

static void add_missing(struct tok_convert *c, const struct tok_out_added *t)
{
    for (size_t i = 0; i < c->added_len && t->content.ptr; i++)
        if (om_sv_eq(c->added[i].content, t->content) && !c->added[i].of_model)
            return;
    tok_convert_add(c, t);
}

static void add_additional(struct tok_convert *c)
{
    const struct om_json *const list = special(c, "additional_special_tokens");

    for (size_t i = 0; i < om_json_len(list); i++) {
        struct tok_out_added t = { .content = { NULL, 0 } };
        if (token_of(om_json_at(list, i), &t)) {
            t.special = true;
            add_missing(c, &t);
        }
    }
    for (size_t i = 0; c->cls->additional && c->cls->additional[i]; i++) {
        struct tok_out_added t = { .content = om_sv_str(c->cls->additional[i]) };
        const struct om_json *const v =
            c->cls->additional_keys ? special(c, c->cls->additional_keys[i]) : NULL;
        if (v && !token_of(v, &t))
            continue;
        t.special = true;
        add_missing(c, &t);
    }
}

struct numbered {
    int64_t id;
    struct tok_out_added token;
};

static int by_number(const void *a, const void *b)
{
    const int64_t x = ((const struct numbered *)a)->id, y = ((const struct numbered *)b)->id;

    return (x > y) - (x < y);
}

/* added_tokens_decoder of the configuration ("id": token), or added_tokens.json (token: id). */
static size_t read_numbered(struct tok_convert *c, struct numbered *list)
{
    const struct om_json *const decoder = om_json_get(c->config, "added_tokens_decoder");
    struct om_json_iter it = { 0 };
    size_t n = 0;

    while (om_json_next(decoder ? decoder : c->added_json, &it)) {
        struct numbered *const p = &list[n];
        if (decoder) {
            const char *const key = om_arena_str(c->arena, it.key);
            p->id = key ? strtoll(key, NULL, 10) : 0;
            n += token_of(it.value, &p->token);
        } else if (om_json_i64(it.value, &p->id)) {
            p->token.content = it.key;
            p->token.normalized = true;
            n++;
        }
    }
    return n;
}

static void add_numbered(struct tok_convert *c)
{
    const size_t most =
        om_json_len(om_json_get(c->config, "added_tokens_decoder")) + om_json_len(c->added_json);
    struct numbered *const list = om_arena_array(c->arena, most + 1, sizeof(*list));

    if (!list) {
        no_memory(c);
        return;
    }
    const size_t n = read_numbered(c, list);
    qsort(list, n, sizeof(*list), by_number);
    for (size_t i = 0; i < n; i++)
        tok_convert_add(c, &list[i].token);
}

/* In the order in which Transformers adds them, which gives new ones their ids. */
static void add_specials(struct tok_convert *c)
{
    struct tok_out_added roles[TOK_ROLES];

    add_numbered(c);
    for (enum tok_role r = TOK_BOS; r < TOK_ROLES; r++) {
        read_role(c, r, &roles[r]);
        if (roles[r].content.ptr)
            add_missing(c, &roles[r]);
    }
    add_additional(c);
}

static int by_id(const void *a, const void *b)
{
    const uint32_t x = ((const struct tok_out_added *)a)->id;
    const uint32_t y = ((const struct tok_out_added *)b)->id;

    return (x > y) - (x < y);
}

/* New ones follow the vocabulary, of which Unigram counts equal pieces as well. */
static void number_added(struct tok_convert *c)
{
    uint32_t next = (uint32_t)(c->unigram ? c->len : c->last.len);

    for (size_t i = 0; i < c->added_len && c->rc == 0; i++) {
        struct tok_out_added *const t = &c->added[i];
        if (!om_map_get(&c->last, t->content, &t->id)) {
            t->id = next;
            tok_convert_id(c, t->content, t->id);
        }
        next = OM_MAX(next, t->id + 1);
    }
    if (c->added_len)
        qsort(c->added, c->added_len, sizeof(*c->added), by_id);
}

static void write_added(struct tok_convert *c)
{
    static const char *const no_yes[] = { "false", "true" };

    om_buf_adds(c->out, "\"added_tokens\":[");
    for (size_t i = 0; i < c->added_len; i++) {
        const struct tok_out_added *const t = &c->added[i];
        om_buf_printf(c->out, "%s{\"id\":%" PRIu32 ",\"content\":", i ? "," : "", t->id);
        om_buf_json_string(c->out, t->content);
        om_buf_printf(c->out,
                      ",\"single_word\":%s,\"lstrip\":%s,\"rstrip\":%s,\"normalized\":%s,"
                      "\"special\":%s}",
                      no_yes[t->single_word], no_yes[t->lstrip], no_yes[t->rstrip],
                      no_yes[t->normalized], no_yes[t->special]);
    }
    om_buf_adds(c->out, "],");
}

/* ---- post-processors ---- */

struct word { /* of a template */
    bool sequence;
    char type;
    om_sv token; /* "A" and "B" for sequences */
};

static om_sv language(const struct tok_convert *c)
{
    om_sv lang = om_sv_str(c->cls->language ? c->cls->language : "en_XX");

    om_json_str(om_json_get(c->config, "src_lang"), &lang);
    if (om_sv_starts(om_sv_str(c->cls->language), OM_SVL("__")) &&
        !om_sv_starts(lang, OM_SVL("__")))
        lang = om_sv_str(om_arena_printf(c->arena, "__%.*s__", OM_SV(lang)));
    return om_map_get(&c->first, lang, NULL) ? lang : c->tokens[TOK_UNK];
}

static bool role_wanted(const struct tok_convert *c, enum tok_role role)
{
    if (role == TOK_BOS && c->cls->bos_option)
        return tok_convert_flag(c, "add_bos_token", true);
    return role != TOK_EOS || !c->cls->eos_option || tok_convert_flag(c, "add_eos_token", false);
}

/* The next word of *spec that counts. */
static bool next_word(const struct tok_convert *c, om_sv *spec, struct word *w)
{
    om_sv name;

    while (om_sv_split(spec, ' ', &name)) {
        *w = (struct word){ .type = '0' };
        if (name.len > 2 && name.ptr[name.len - 2] == ':') {
            w->type = name.ptr[name.len - 1];
            name.len -= 2;
        }
        w->token = name;
        w->sequence = name.len == 1;
        if (name.ptr[0] == '=') {
            w->token = (om_sv){ name.ptr + 1, name.len - 1 };
            return true;
        }
        if (w->sequence)
            return true;
        if (om_sv_is(name, "lang")) {
            w->token = language(c);
            return true;
        }
        if (tok_whisper_token(c, name, &w->token))
            return true;
        for (enum tok_role r = TOK_BOS; r < TOK_ROLES; r++) {
            if (om_sv_is(name, role_words[r]) && role_wanted(c, r) && c->tokens[r].ptr) {
                w->token = c->tokens[r];
                return true;
            }
        }
    }
    return false;
}

static void write_template(struct tok_convert *c, const char *key, const char *spec)
{
    om_sv rest = om_sv_str(spec);
    struct word w;
    bool more = false;

    om_buf_printf(c->out, "\"%s\":[", key);
    for (; next_word(c, &rest, &w); more = true) {
        om_buf_printf(c->out, "%s{\"%s\":{\"id\":", more ? "," : "",
                      w.sequence ? "Sequence" : "SpecialToken");
        om_buf_json_string(c->out, w.token);
        om_buf_printf(c->out, ",\"type_id\":%c}}", w.type);
    }
    om_buf_adds(c->out, "],");
}

/* The id that a template's token has: the first of equal pieces. */
static uint32_t template_id(struct tok_convert *c, om_sv token)
{
    uint32_t id = 0;

    if (c->rc == 0 && !om_map_get(&c->first, token, &id))
        tok_convert_fail(c, om_fail(c->err, OM_E_CONFIG, "token \"%.*s\" is not in the vocabulary",
                                    OM_SV(token)));
    return id;
}

enum { TEMPLATE_TOKENS = 8 };

/* Of a template, those that are not among seen. */
static size_t add_template_tokens(struct tok_convert *c, const char *spec, om_sv *seen, size_t n)
{
    om_sv rest = om_sv_str(spec);
    struct word w;

    while (n < TEMPLATE_TOKENS && next_word(c, &rest, &w)) {
        size_t i = 0;
        while (i < n && !om_sv_eq(seen[i], w.token))
            i++;
        if (!w.sequence && i == n)
            seen[n++] = w.token;
    }
    return n;
}

static void write_template_tokens(struct tok_convert *c, const char *pair, const char *single)
{
    om_sv seen[TEMPLATE_TOKENS];
    const size_t n = add_template_tokens(c, single, seen, add_template_tokens(c, pair, seen, 0));

    om_buf_adds(c->out, "\"special_tokens\":{");
    for (size_t i = 0; i < n; i++) {
        om_buf_adds(c->out, i ? "," : "");
        om_buf_json_string(c->out, seen[i]);
        om_buf_adds(c->out, ":{\"id\":");
        om_buf_json_string(c->out, seen[i]);
        om_buf_printf(c->out, ",\"ids\":[%" PRIu32 "],\"tokens\":[", template_id(c, seen[i]));
        om_buf_json_string(c->out, seen[i]);
        om_buf_adds(c->out, "]}");
    }
    om_buf_adds(c->out, "}");
}

/* Lists are written with a comma behind each element. */
static void drop_comma(struct tok_convert *c)
{
    if (!c->out->failed && c->out->len > 0)
        c->out->len--;
}

static void write_token_pair(struct tok_convert *c, const char *key, enum tok_role role)
{
    om_buf_printf(c->out, "\"%s\":[", key);
    om_buf_json_string(c->out, c->tokens[role]);
    om_buf_printf(c->out, ",%" PRIu32 "],", template_id(c, c->tokens[role]));
}

static bool prefix_space(const struct tok_convert *c)
{
    return tok_convert_flag(c, "add_prefix_space", c->cls->prefix_space);
}

static void write_roberta(struct tok_convert *c, enum tok_role sep, enum tok_role cls, bool trim)
{
    om_buf_adds(c->out, "{\"type\":\"RobertaProcessing\",");
    write_token_pair(c, "sep", sep);
    write_token_pair(c, "cls", cls);
    om_buf_printf(c->out, "\"trim_offsets\":%s,\"add_prefix_space\":%s}", trim ? "true" : "false",
                  trim && prefix_space(c) ? "true" : "false");
}

static void write_templates(struct tok_convert *c, const char *single, const char *pair)
{
    om_buf_adds(c->out, "{\"type\":\"TemplateProcessing\",");
    write_template(c, "single", single);
    write_template(c, "pair", pair);
    write_template_tokens(c, pair, single);
    om_buf_adds(c->out, "}");
}

/* Of classes without a template. */
static void write_bpe_processor(struct tok_convert *c)
{
    if (c->cls->files != TOK_FILES_BYTE_BPE || c->cls->bpe == TOK_BPE_OPENAI) {
        om_buf_adds(c->out, "null");
    } else if (c->cls->bpe == TOK_BPE_CLIP) {
        write_roberta(c, TOK_EOS, TOK_BOS, false);
    } else if (c->cls->bpe == TOK_BPE_HERBERT) {
        om_buf_adds(c->out, "{\"type\":\"BertProcessing\",");
        write_token_pair(c, "sep", TOK_SEP);
        write_token_pair(c, "cls", TOK_CLS);
        drop_comma(c);
        om_buf_adds(c->out, "}");
    } else if (c->cls->bpe == TOK_BPE_GPT2 && tok_convert_flag(c, "add_bos_token", false)) {
        write_templates(c, "bos A", "bos A B:1");
    } else {
        om_buf_adds(c->out, "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
                            "\"trim_offsets\":false,\"use_regex\":true}");
    }
}

static void write_post_processor(struct tok_convert *c)
{
    const bool legacy = c->cls->legacy_single && tok_convert_flag(c, "legacy_behaviour", false);

    if (c->cls->whisper)
        tok_whisper_check(c);
    om_buf_adds(c->out, "\"post_processor\":");
    if (!c->cls->single)
        write_bpe_processor(c);
    else if (strcmp(c->cls->single, "roberta") == 0)
        write_roberta(c, TOK_SEP, TOK_CLS, true);
    else
        write_templates(c, legacy ? c->cls->legacy_single : c->cls->single,
                        legacy ? c->cls->legacy_pair : c->cls->pair);
    om_buf_adds(c->out, ",");
}

/* ---- normalizers, pre-tokenizers, decoders ---- */

static void write_base64(struct om_buf *b, om_sv bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < bytes.len; i += 3) {
        const size_t n = OM_MIN((size_t)3, bytes.len - i);
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (k < n ? (uint8_t)bytes.ptr[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            om_buf_addc(b, k <= n ? digits[v >> (18 - 6 * k) & 63] : '=');
    }
}

static void write_charsmap(struct tok_convert *c)
{
    if (c->spm.charsmap.len == 0)
        return;
    om_buf_adds(c->out, "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"");
    write_base64(c->out, c->spm.charsmap);
    om_buf_adds(c->out, c->cls->files == TOK_FILES_MARIAN ? "\",\"longest\":true}," : "\"},");
}

static void write_bert_normalizer(struct tok_convert *c)
{
    const struct om_json *const strip = om_json_get(c->config, "strip_accents");
    bool on = false;
    const char *const accents = om_json_bool(strip, &on) ? (on ? "true" : "false") : "null";

    om_buf_printf(c->out,
                  "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":%s,"
                  "\"strip_accents\":%s,\"lowercase\":%s}",
                  tok_convert_flag(c, "tokenize_chinese_chars", true) ? "true" : "false", accents,
                  tok_convert_flag(c, "do_lower_case", true) ? "true" : "false");
}

#define ONE_SPACE "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"}"

static void write_albert_normalizer(struct tok_convert *c)
{
    om_buf_adds(c->out,
                "{\"type\":\"Sequence\",\"normalizers\":["
                "{\"type\":\"Replace\",\"pattern\":{\"String\":\"``\"},\"content\":\"\\\"\"},"
                "{\"type\":\"Replace\",\"pattern\":{\"String\":\"''\"},\"content\":\"\\\"\"},");
    if (c->cls->norm == TOK_NORM_REMBERT)
        om_buf_adds(c->out, ONE_SPACE ",");
    if (!tok_convert_flag(c, "keep_accents", c->cls->keep_accents))
        om_buf_adds(c->out, "{\"type\":\"NFKD\"},{\"type\":\"StripAccents\"},");
    if (tok_convert_flag(c, "do_lower_case", !c->cls->cased))
        om_buf_adds(c->out, "{\"type\":\"Lowercase\"},");
    write_charsmap(c);
    if (c->cls->norm == TOK_NORM_REMBERT)
        drop_comma(c);
    else
        om_buf_adds(c->out, ONE_SPACE);
    om_buf_adds(c->out, "]}");
}

static void write_deberta_normalizer(struct tok_convert *c)
{
    om_buf_adds(c->out, "{\"type\":\"Sequence\",\"normalizers\":[");
    if (tok_convert_flag(c, "do_lower_case", !c->cls->cased))
        om_buf_adds(c->out, "{\"type\":\"Lowercase\"},");
    om_buf_adds(c->out, "{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true},");
    write_charsmap(c);
    om_buf_adds(c->out, ONE_SPACE "]}");
}

#define SPACE_TO_META \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" META "\"}"

/* SentencePiece's own: Marian's class runs the model itself. */
static void write_marian_normalizer(struct tok_convert *c)
{
    om_buf_adds(c->out, "{\"type\":\"Sequence\",\"normalizers\":[");
    write_charsmap(c);
    if (!c->spm.extra_spaces)
        om_buf_adds(c->out,
                    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"^ +| +$\"},\"content\":\"\"},"
                    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"},");
    if (c->spm.dummy_prefix)
        om_buf_adds(c->out, "{\"type\":\"Prepend\",\"prepend\":\"" META "\"},");
    om_buf_adds(c->out, SPACE_TO_META "]}");
}

static void write_spm_normalizer(struct tok_convert *c)
{
    om_buf_adds(c->out, "{\"type\":\"Sequence\",\"normalizers\":[");
    write_charsmap(c);
    om_buf_adds(c->out, "{\"type\":\"Strip\",\"strip_left\":false,\"strip_right\":true},"
                        "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},"
                        "\"content\":\"" META "\"}]}");
}

/* Of Llama's classes. */
static bool is_legacy(const struct tok_convert *c)
{
    return c->cls->deaf || tok_convert_flag(c, "legacy", true);
}

static bool prepends_space(const struct tok_convert *c)
{
    return c->cls->deaf || tok_convert_flag(c, "add_prefix_space", true);
}

static void write_llama_normalizer(struct tok_convert *c)
{
    if (!is_legacy(c)) {
        om_buf_adds(c->out, "null");
        return;
    }
    om_buf_adds(c->out, "{\"type\":\"Sequence\",\"normalizers\":[");
    if (prepends_space(c))
        om_buf_adds(c->out, "{\"type\":\"Prepend\",\"prepend\":\"" META "\"},");
    om_buf_adds(c->out, SPACE_TO_META "]}");
}

#define BERT_NORMALIZER(accents, lower)                                               \
    "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true," \
    "\"strip_accents\":" accents ",\"lowercase\":" lower "}"
#define SPLIT(pattern, behavior, invert)                                                   \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" pattern "\"},\"behavior\":\"" behavior \
    "\",\"invert\":" invert "}"
#define PLAIN_BYTES(regex)                                                            \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_" \
    "regex\":" regex "}"
#define BPE_DECODER "{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}"

/* Of vocab.json with merges.txt; NULL: byte level, as the configuration says. */
static const struct {
    const char *normalizer, *pre_tokenizer, *decoder;
} bpe_forms[] = {
    [TOK_BPE_GPT2] = { "null", NULL, NULL },
    [TOK_BPE_QWEN2] = { "{\"type\":\"NFC\"}",
                        "{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT(
                            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|"
                            "\\\\p{N}|"
                            " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!"
                            "\\\\S)|\\\\s+",
                            "Isolated", "false") "," PLAIN_BYTES("false") "]}",
                        NULL },
    [TOK_BPE_CLIP] = { "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},"
                       "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"},"
                       "\"content\":\" \"},{\"type\":\"Lowercase\"}]}",
                       "{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT(
                           "'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]"
                           "+",
                           "Removed", "true") "," PLAIN_BYTES("true") "]}",
                       NULL },
    [TOK_BPE_OPENAI] = { BERT_NORMALIZER("null", "true"), "{\"type\":\"BertPreTokenizer\"}",
                         BPE_DECODER },
    [TOK_BPE_HERBERT] = { BERT_NORMALIZER("false", "false"), "{\"type\":\"BertPreTokenizer\"}",
                          BPE_DECODER },
};

static void write_normalizer(struct tok_convert *c)
{
    om_buf_adds(c->out, "\"normalizer\":");
    if (c->cls->files == TOK_FILES_WORD_PIECE)
        write_bert_normalizer(c);
    else if (c->cls->files == TOK_FILES_BYTE_BPE)
        om_buf_adds(c->out, bpe_forms[c->cls->bpe].normalizer);
    else if (c->cls->files == TOK_FILES_MARIAN)
        write_marian_normalizer(c);
    else if (c->cls->norm == TOK_NORM_ALBERT || c->cls->norm == TOK_NORM_REMBERT)
        write_albert_normalizer(c);
    else if (c->cls->norm == TOK_NORM_DEBERTA)
        write_deberta_normalizer(c);
    else if (c->cls->norm == TOK_NORM_LLAMA)
        write_llama_normalizer(c);
    else if (c->cls->norm == TOK_NORM_GEMMA)
        om_buf_adds(c->out, SPACE_TO_META);
    else
        write_spm_normalizer(c);
    om_buf_adds(c->out, ",");
}

static void write_metaspace(struct tok_convert *c, bool split)
{
    const char *scheme = "never";

    if (tok_convert_flag(c, "add_prefix_space", true))
        scheme = tok_convert_flag(c, "legacy", !c->cls->modern) ? "always" : "first";
    om_buf_printf(c->out,
                  "{\"type\":\"Metaspace\",\"replacement\":\"" META
                  "\",\"prepend_scheme\":\"%s\",\"split\":%s}",
                  scheme, split ? "true" : "false");
}

static void write_byte_level(struct tok_convert *c, bool prefix)
{
    om_buf_printf(c->out,
                  "{\"type\":\"ByteLevel\",\"add_prefix_space\":%s,\"trim_offsets\":true,"
                  "\"use_regex\":true}",
                  prefix ? "true" : "false");
}

static void write_spm_pre_tokenizer(struct tok_convert *c)
{
    if (c->cls->norm == TOK_NORM_GEMMA) {
        om_buf_adds(c->out, "{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},"
                            "\"behavior\":\"MergedWithPrevious\",\"invert\":false}");
    } else if (c->cls->norm == TOK_NORM_LLAMA) {
        if (is_legacy(c))
            om_buf_adds(c->out, "null");
        else
            write_metaspace(c, false);
    } else if (c->unk_shift || c->cls->norm == TOK_NORM_DEBERTA) {
        om_buf_adds(c->out, "{\"type\":\"Sequence\",\"pretokenizers\":[");
        if (c->unk_shift)
            om_buf_adds(c->out, "{\"type\":\"WhitespaceSplit\"},");
        else if (tok_convert_flag(c, "split_by_punct", false))
            om_buf_adds(c->out, "{\"type\":\"Punctuation\",\"behavior\":\"Isolated\"},");
        write_metaspace(c, true);
        om_buf_adds(c->out, "]}");
    } else {
        write_metaspace(c, true);
    }
}

static void write_pre_tokenizer(struct tok_convert *c)
{
    om_buf_adds(c->out, "\"pre_tokenizer\":");
    if (c->cls->files == TOK_FILES_WORD_PIECE)
        om_buf_adds(c->out, "{\"type\":\"BertPreTokenizer\"}");
    else if (c->cls->files == TOK_FILES_BYTE_BPE && bpe_forms[c->cls->bpe].pre_tokenizer)
        om_buf_adds(c->out, bpe_forms[c->cls->bpe].pre_tokenizer);
    else if (c->cls->files == TOK_FILES_BYTE_BPE)
        write_byte_level(c, prefix_space(c));
    else if (c->cls->files == TOK_FILES_MARIAN)
        om_buf_adds(c->out, "null");
    else
        write_spm_pre_tokenizer(c);
    om_buf_adds(c->out, ",");
}

static void write_byte_decoder(struct tok_convert *c, bool strip)
{
    om_buf_adds(c->out, "{\"type\":\"Sequence\",\"decoders\":["
                        "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" META
                        "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}");
    if (strip)
        om_buf_adds(c->out, ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}");
    om_buf_adds(c->out, "]}");
}

static void write_decoder(struct tok_convert *c)
{
    om_buf_adds(c->out, "\"decoder\":");
    if (c->cls->files == TOK_FILES_WORD_PIECE)
        om_buf_adds(c->out, "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}");
    else if (c->cls->files == TOK_FILES_BYTE_BPE && bpe_forms[c->cls->bpe].decoder)
        om_buf_adds(c->out, bpe_forms[c->cls->bpe].decoder);
    else if (c->cls->files == TOK_FILES_BYTE_BPE)
        write_byte_level(c, true);
    else if (c->cls->files == TOK_FILES_MARIAN)
        om_buf_adds(c->out, "{\"type\":\"Sequence\",\"decoders\":["
                            "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" META
                            "\"},\"content\":\" \"},{\"type\":\"Fuse\"},{\"type\":\"Strip\","
                            "\"content\":\" \",\"start\":1000000,\"stop\":1000000}]}");
    else if (c->cls->norm == TOK_NORM_GEMMA || c->cls->norm == TOK_NORM_LLAMA)
        write_byte_decoder(c, c->cls->norm == TOK_NORM_LLAMA && prepends_space(c));
    else
        write_metaspace(c, true);
    om_buf_adds(c->out, ",");
}

/* ---- the directory ---- */

static void (*const write_model[])(struct tok_convert *) = {
    [TOK_FILES_WORD_PIECE] = tok_convert_word_piece,
    [TOK_FILES_BYTE_BPE] = tok_convert_byte_bpe,
    [TOK_FILES_SPM] = tok_convert_spm,
    [TOK_FILES_MARIAN] = tok_convert_marian,
};

const struct tok_class *tok_class_find(om_sv name, const struct om_json *model)
{
    om_sv type = { "", 0 };

    if (name.len > 4 && memcmp(name.ptr + name.len - 4, "Fast", 4) == 0)
        name.len -= 4;
    om_json_str(om_json_get(model, "model_type"), &type);
    for (size_t i = 0; i < tok_classes_len; i++) {
        om_sv types = om_sv_str(tok_classes[i].model_types), word;
        if (om_sv_is(name, tok_classes[i].name))
            return &tok_classes[i];
        while (name.len == 0 && om_sv_split(&types, ' ', &word))
            if (word.len && om_sv_eq(word, type))
                return &tok_classes[i];
    }
    return NULL;
}

static void pick_class(struct tok_convert *c, const struct om_json *model)
{
    om_sv name = { "", 0 };

    if (!om_json_str(om_json_get(c->config, "tokenizer_class"), &name))
        om_json_str(om_json_get(model, "tokenizer_class"), &name);
    c->cls = tok_class_find(name, model);
    if (!c->cls && name.len)
        tok_convert_fail(c, om_fail(c->err, OM_E_UNSUPPORTED,
                                    "no tokenizer.json, and class \"%.*s\" has no conversion",
                                    OM_SV(name)));
    else if (!c->cls)
        tok_convert_fail(c, om_fail(c->err, OM_E_UNSUPPORTED,
                                    "no tokenizer.json, and neither tokenizer_config.json nor "
                                    "config.json tells the tokenizer's class"));
}

/* Model first: it tells the ids. It is written last, as the original does. */
static void convert(struct tok_convert *c)
{
    struct om_buf *const out = c->out;
    struct om_buf model = OM_BUF_INIT(SIZE_MAX / 2);
    struct tok_out_added unused;

    for (enum tok_role r = TOK_BOS; r < TOK_ROLES; r++)
        read_role(c, r, &unused);
    c->out = &model;
    write_model[c->cls->files](c);
    c->out = out;
    if (c->rc < 0) {
        om_buf_release(&model);
        return;
    }
    add_specials(c);
    number_added(c);
    om_buf_adds(out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,");
    write_added(c);
    write_normalizer(c);
    write_pre_tokenizer(c);
    write_post_processor(c);
    write_decoder(c);
    om_buf_adds(out, "\"model\":");
    om_buf_add(out, model.ptr, model.len);
    om_buf_adds(out, "}");
    if (c->rc == 0 && model.failed)
        no_memory(c);
    om_buf_release(&model);
}

/* dir/name as JSON; NULL when there is no such file. */
static struct om_json *read_json(struct tok_convert *c, const char *name)
{
    const char *const path = om_path_join(c->arena, c->dir, name);
    struct om_json *j = NULL;

    if (!path)
        no_memory(c);
    else if (c->rc == 0 && om_file_exists(path))
        tok_convert_fail(c, om_json_read(path, OM_JSON_LAST_WINS, &j, c->err));
    return j;
}

bool tok_can_convert(struct om_arena *a, const char *dir)
{
    static const char *const names[] = { "vocab.txt",    "vocab.json",
                                         "spiece.model", "tokenizer.model",
                                         "source.spm",   "sentencepiece.model",
                                         "spm.model",    "sentencepiece.bpe.model" };

    for (size_t i = 0; i < OM_COUNT(names); i++) {
        const char *const path = om_path_join(a, dir, names[i]);
        if (path && om_file_exists(path))
            return true;
    }
    return false;
}

int tok_convert_dir(struct om_arena *a, const char *dir, unsigned flags, struct om_buf *json,
                    struct om_error *err)
{
    struct tok_convert c = {
        .arena = a, .err = err, .dir = dir, .out = json, .target = flags & TOK_CONVERT_TARGET
    };
    struct om_json *const config = read_json(&c, "tokenizer_config.json");
    struct om_json *const map = read_json(&c, "special_tokens_map.json");
    struct om_json *const added = read_json(&c, "added_tokens.json");
    struct om_json *const model = read_json(&c, "config.json");

    c.config = config;
    c.special_map = map;
    c.added_json = added;
    if (c.rc == 0)
        pick_class(&c, model);
    if (c.rc == 0 && c.target && c.cls->files != TOK_FILES_MARIAN)
        c.rc =
            om_fail(err, OM_E_UNSUPPORTED, "%s has one tokenizer for both languages", c.cls->name);
    if (c.rc == 0 && (flags & TOK_CONVERT_PORTABLE) && c.cls->files == TOK_FILES_MARIAN)
        c.rc = om_fail(err, OM_E_UNSUPPORTED, "%s has no form in tokenizer.json", c.cls->name);
    if (c.rc == 0)
        convert(&c);
    if (c.rc == 0)
        c.rc = om_buf_check(json, err);
    om_json_free(config);
    om_json_free(map);
    om_json_free(added);
    om_json_free(model);
    om_map_release(&c.first);
    om_map_release(&c.last);
    return om_wrap(err, c.rc, "%s", dir);
}
