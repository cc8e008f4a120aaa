/* src/tok/vocab_files.c: the models of vocab.txt, of vocab.json with merges.txt, and of
 * SentencePiece files, in the form of tokenizer.json. */
#include <stdlib.h>

#include "tok/convert.h"
#include "tok/scan.h"
#include "tok/unicode.h"

/* ---- shared ---- */

static bool need_file(struct tok_convert *c, const char *name, om_sv *text)
{
    if (tok_convert_file(c, name, text))
        return true;
    if (c->rc == 0)
        tok_convert_fail(c, om_fail(c->err, OM_E_MISSING, "%s has neither tokenizer.json nor %s",
                                    c->cls->name, name));
    return false;
}

static void no_memory(struct tok_convert *c)
{
    tok_convert_fail(c, om_fail(c->err, OM_E_NOMEM, "out of memory for a tokenizer"));
}

/* {"token": id, ...}: of equal pieces the last. */
static void write_vocab(struct tok_convert *c)
{
    bool more = false;

    om_buf_adds(c->out, "\"vocab\":{");
    for (size_t i = 0; i < c->len; i++) {
        uint32_t id = 0;
        om_map_get(&c->last, c->pieces[i].text, &id);
        if (id != i)
            continue;
        om_buf_adds(c->out, more ? "," : "");
        om_buf_json_string(c->out, c->pieces[i].text);
        om_buf_printf(c->out, ":%zu", i);
        more = true;
    }
    om_buf_adds(c->out, "}");
}

/* ---- vocab.txt ---- */

void tok_convert_word_piece(struct tok_convert *c)
{
    om_sv rest, line;

    if (!need_file(c, "vocab.txt", &rest))
        return;
    if (rest.len && rest.ptr[rest.len - 1] == '\n')
        rest.len--;
    while (om_sv_split(&rest, '\n', &line)) {
        if (line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
        tok_convert_piece(c, line, 0.0);
    }
    om_buf_adds(c->out, "{\"type\":\"WordPiece\",\"unk_token\":");
    om_buf_json_string(c->out, c->tokens[TOK_UNK]);
    om_buf_adds(c->out, ",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,");
    write_vocab(c);
    om_buf_adds(c->out, "}");
}

/* ---- vocab.json ---- */

/* Note the ids of {"token": id}. */
static bool note_vocab(struct tok_convert *c, const char *name, om_sv text,
                       struct tok_entries *entries)
{
    const int rc = tok_scan_vocab(c->arena, text, entries, c->err);

    if (rc < 0) {
        tok_convert_fail(c, om_wrap(c->err, rc, "%s", name));
        return false;
    }
    for (size_t i = 0; i < entries->len; i++) {
        tok_convert_id(c, entries->items[i].text, entries->items[i].id);
        c->len = OM_MAX(c->len, (size_t)entries->items[i].id + 1);
    }
    return c->rc == 0;
}

static bool is_blank(char ch)
{
    return ch == ' ' || (ch >= '\t' && ch <= '\r');
}

static om_sv next_part(om_sv *line)
{
    om_sv part;

    while (line->len && is_blank(line->ptr[0])) {
        line->ptr++;
        line->len--;
    }
    part = (om_sv){ line->ptr, 0 };
    while (line->len && !is_blank(line->ptr[0])) {
        line->ptr++;
        line->len--;
        part.len++;
    }
    return part;
}

/* The first line is a version. */
static void write_merges_txt(struct tok_convert *c, om_sv rest)
{
    om_sv line;
    bool more = false;

    om_sv_split(&rest, '\n', &line);
    for (size_t n = 2; om_sv_split(&rest, '\n', &line); n++) {
        const om_sv left = next_part(&line), right = next_part(&line), extra = next_part(&line);
        if (left.len == 0)
            continue;
        if (right.len == 0 || extra.len) {
            tok_convert_fail(
                c, om_fail(c->err, OM_E_FORMAT, "merges.txt, line %zu: expected two tokens", n));
            return;
        }
        om_buf_adds(c->out, more ? ",[" : "[");
        om_buf_json_string(c->out, left);
        om_buf_adds(c->out, ",");
        om_buf_json_string(c->out, right);
        om_buf_adds(c->out, "]");
        more = true;
    }
}

/* Words end in </w> where they are no byte-level ones. */
static void write_bpe_head(struct tok_convert *c)
{
    const bool bytes = c->cls->bpe == TOK_BPE_GPT2 || c->cls->bpe == TOK_BPE_QWEN2;

    om_buf_adds(c->out, "{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":");
    if (bytes && !c->cls->writes_unk)
        om_buf_adds(c->out, "null");
    else
        om_buf_json_string(c->out, c->tokens[TOK_UNK]);
    om_buf_printf(c->out,
                  ",\"continuing_subword_prefix\":%s,\"end_of_word_suffix\":\"%s\","
                  "\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,"
                  "\"vocab\":",
                  bytes || c->cls->bpe == TOK_BPE_CLIP ? "\"\"" : "null", bytes ? "" : "</w>");
}

void tok_convert_byte_bpe(struct tok_convert *c)
{
    struct tok_entries entries = { NULL, 0, 0 };
    om_sv vocab, merges;

    if (need_file(c, "vocab.json", &vocab) && need_file(c, "merges.txt", &merges) &&
        note_vocab(c, "vocab.json", vocab, &entries)) {
        write_bpe_head(c);
        om_buf_add(c->out, vocab.ptr, vocab.len);
        om_buf_adds(c->out, ",\"merges\":[");
        write_merges_txt(c, merges);
        om_buf_adds(c->out, "]}");
    }
    free(entries.items);
}

/* ---- SentencePiece ---- */

static bool read_spm(struct tok_convert *c, const char *name, om_sv bytes)
{
    const int rc = tok_spm_read(c->arena, bytes, &c->spm, c->err);

    tok_convert_fail(c, om_wrap(c->err, rc, "%s", name));
    return c->rc == 0;
}

/* A piece such as "1," would hide the number; Albert's class makes it unlikely. */
static double piece_score(const struct tok_convert *c, const struct tok_spm_piece *p)
{
    const om_sv s = p->text;
    size_t at = s.len > 1 ? s.len - 2 : 0;

    if (c->cls->norm != TOK_NORM_ALBERT || s.len < 2 || s.ptr[s.len - 1] != ',')
        return p->score;
    while (at > 0 && tok_is_cont(s.ptr[at]))
        at--;
    size_t len;
    return tok_is_numeric(tok_utf8_decode(s.ptr + at, &len)) ? (double)p->score - 100.0
                                                             : (double)p->score;
}

static void add_pieces(struct tok_convert *c)
{
    for (const char *const *p = c->cls->head; p && *p; p++)
        tok_convert_piece(c, om_sv_str(*p), *p && strcmp(*p, "<unk>NOTUSED") == 0 ? -100.0 : 0.0);
    if (c->cls->extend)
        c->cls->extend(c, true);
    for (size_t i = c->cls->zero_skipped ? 0 : c->cls->skip; i < c->spm.len; i++)
        tok_convert_piece(c, c->spm.pieces[i].text,
                          i < c->cls->skip ? 0.0 : piece_score(c, &c->spm.pieces[i]));
    if (c->cls->extend)
        c->cls->extend(c, false);
    for (const char *const *p = c->cls->tail; p && *p; p++)
        tok_convert_piece(c, om_sv_str(*p), 0.0);
}

/* Control pieces are special tokens, user-defined ones are not. */
static void add_control_pieces(struct tok_convert *c)
{
    for (size_t i = 0; i < c->spm.len; i++) {
        const struct tok_spm_piece *const p = &c->spm.pieces[i];
        const bool turn = c->cls->norm == TOK_NORM_GEMMA && (om_sv_is(p->text, "<start_of_turn>") ||
                                                             om_sv_is(p->text, "<end_of_turn>"));
        if (p->type == TOK_SPM_CONTROL || p->type == TOK_SPM_USER_DEFINED)
            tok_convert_add(
                c, &(struct tok_out_added){ .content = p->text,
                                            .of_model = true,
                                            .special = p->type == TOK_SPM_CONTROL || turn });
    }
}

static void write_unigram(struct tok_convert *c, uint32_t unk_id)
{
    c->unigram = true;
    om_buf_printf(c->out, "{\"type\":\"Unigram\",\"unk_id\":%" PRIu32 ",\"vocab\":[", unk_id);
    for (size_t i = 0; i < c->len; i++) {
        om_buf_adds(c->out, i ? ",[" : "[");
        om_buf_json_string(c->out, c->pieces[i].text);
        om_buf_adds(c->out, ",");
        om_buf_real(c->out, c->pieces[i].score);
        om_buf_adds(c->out, "]");
    }
    om_buf_adds(c->out, "]");
    if (c->known && c->known < c->len)
        om_buf_printf(c->out, ",\"known\":%" PRIu32, c->known);
    om_buf_printf(c->out, ",\"byte_fallback\":%s%s}",
                  c->cls->norm == TOK_NORM_LLAMA || c->cls->norm == TOK_NORM_GEMMA ? "true"
                                                                                   : "false",
                  c->cls->files == TOK_FILES_MARIAN ? ",\"single\":true,\"codes\":true" : "");
}

/* ---- merges of a BPE model, which it does not store: every cut of a piece into two others ---- */

struct merge {
    om_sv left, right;
    double score;
    size_t left_chars, right_chars;
    uint32_t left_id, right_id;
    size_t piece;
};

struct merges {
    struct merge *items;
    size_t len, cap;
};

/* Better scores first, then longer parts; then the pieces' own order, and the parts' ids. */
static int by_rank(const void *a, const void *b)
{
    const struct merge *const x = a, *const y = b;

#define ORDER(p, q)                    \
    do {                               \
        if ((p) != (q))                \
            return (p) < (q) ? -1 : 1; \
    } while (0)
    ORDER(y->score, x->score);
    ORDER(y->left_chars, x->left_chars);
    ORDER(y->right_chars, x->right_chars);
    ORDER(x->piece, y->piece);
    ORDER(x->left_id, y->left_id);
    ORDER(x->right_id, y->right_id);
#undef ORDER
    return 0;
}

static bool push_merge(struct merges *m, const struct merge *item)
{
    if (m->len == m->cap) {
        const size_t cap = m->cap ? m->cap * 2 : 1024;
        struct merge *const more =
            cap <= SIZE_MAX / sizeof(*more) ? realloc(m->items, cap * sizeof(*more)) : NULL;
        if (!more)
            return false;
        m->items = more;
        m->cap = cap;
    }
    m->items[m->len++] = *item;
    return true;
}

static bool cut_piece(struct tok_convert *c, const struct om_map *ids, size_t piece,
                      struct merges *out)
{
    const om_sv s = c->pieces[piece].text;
    const size_t chars = tok_utf8_count(s);
    uint32_t last = 0;

    om_map_get(&c->last, s, &last);
    for (size_t i = 1, n = 0; i < s.len; i++) {
        if (tok_is_cont(s.ptr[i]))
            continue;
        n++;
        struct merge m = { .left = { s.ptr, i },
                           .right = { s.ptr + i, s.len - i },
                           .score = c->pieces[last].score,
                           .left_chars = n,
                           .right_chars = chars - n,
                           .piece = piece };
        if (om_map_get(ids, m.left, &m.left_id) && om_map_get(ids, m.right, &m.right_id) &&
            !push_merge(out, &m))
            return false;
    }
    return true;
}

/* The model's own ids; Gemma's lack a tab, which is a byte piece. */
static bool own_ids(struct tok_convert *c, struct om_map *ids)
{
    uint32_t tab;

    for (size_t i = 0; i < c->spm.len; i++)
        if (om_map_put(ids, c->spm.pieces[i].text, (uint32_t)i) < 0)
            return false;
    if (c->cls->norm == TOK_NORM_GEMMA && !om_map_get(ids, OM_SVL("\t"), NULL) &&
        om_map_get(ids, OM_SVL("<0x09>"), &tab))
        return om_map_put(ids, OM_SVL("\t"), tab) == 0;
    return true;
}

static bool find_merges(struct tok_convert *c, struct merges *out)
{
    struct om_map ids = OM_MAP_INIT;
    bool ok = own_ids(c, &ids);

    for (size_t i = 0; i < c->len && ok; i++) {
        uint32_t first = 0;
        om_map_get(&c->first, c->pieces[i].text, &first);
        ok = first != i || cut_piece(c, &ids, i, out);
    }
    om_map_release(&ids);
    if (ok && out->len)
        qsort(out->items, out->len, sizeof(*out->items), by_rank);
    return ok;
}

static void write_bpe(struct tok_convert *c)
{
    const bool bytes = c->cls->norm == TOK_NORM_LLAMA || c->cls->norm == TOK_NORM_GEMMA;
    struct merges merges = { NULL, 0, 0 };

    om_buf_adds(c->out, "{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":");
    om_buf_json_string(c->out, c->spm.unk_piece);
    om_buf_printf(c->out,
                  ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
                  "\"fuse_unk\":true,\"byte_fallback\":%s,\"ignore_merges\":false,",
                  bytes ? "true" : "false");
    write_vocab(c);
    om_buf_adds(c->out, ",\"merges\":[");
    if (!find_merges(c, &merges))
        no_memory(c);
    for (size_t i = 0; i < merges.len; i++) {
        om_buf_adds(c->out, i ? ",[" : "[");
        om_buf_json_string(c->out, merges.items[i].left);
        om_buf_adds(c->out, ",");
        om_buf_json_string(c->out, merges.items[i].right);
        om_buf_adds(c->out, "]");
    }
    om_buf_adds(c->out, "]}");
    free(merges.items);
}

/* Gemma's byte piece of the tab is the tab itself. */
static void mend_tab(struct tok_convert *c)
{
    uint32_t at;

    if (c->cls->norm != TOK_NORM_GEMMA || om_map_get(&c->last, OM_SVL("\t"), NULL) ||
        !om_map_get(&c->first, OM_SVL("<0x09>"), &at))
        return;
    c->pieces[at] = (struct tok_out_piece){ OM_SVL("\t"), 0.0 };
    tok_convert_id(c, OM_SVL("\t"), at);
}

void tok_convert_spm(struct tok_convert *c)
{
    static const char *const names[] = { "spiece.model",    "sentencepiece.bpe.model",
                                         "tokenizer.model", "sentencepiece.model",
                                         "spm.model",       NULL };
    size_t i = 0;
    om_sv bytes;

    while (names[i] && !tok_convert_file(c, names[i], &bytes) && c->rc == 0)
        i++;
    if (c->rc == 0 && !names[i])
        tok_convert_fail(c, om_fail(c->err, OM_E_MISSING,
                                    "%s has neither tokenizer.json nor a SentencePiece model",
                                    c->cls->name));
    if (c->rc < 0 || !read_spm(c, names[i], bytes))
        return;
    add_control_pieces(c);
    add_pieces(c);
    if (c->rc < 0)
        return;
    mend_tab(c);
    if (c->spm.algorithm == TOK_SPM_UNIGRAM)
        write_unigram(c, c->cls->unk_id >= 0 ? (uint32_t)c->cls->unk_id
                                             : c->spm.unk_id + c->unk_shift);
    else if (c->spm.algorithm == TOK_SPM_BPE)
        write_bpe(c);
    else
        tok_convert_fail(c, om_fail(c->err, OM_E_UNSUPPORTED,
                                    "%s: model type %d, expected Unigram or BPE", names[i],
                                    (int)c->spm.algorithm));
}

/* ---- Marian ---- */

/* Pieces of source.spm under the ids of vocab.json. What only the other language has gets a score
 * that no text reaches. */
static void marian_pieces(struct tok_convert *c, const char *json,
                          const struct tok_entries *entries)
{
    struct om_map scores = OM_MAP_INIT;
    const size_t n = c->len;
    struct tok_out_piece *const pieces = om_arena_array(c->arena, n, sizeof(*pieces));
    bool ok = pieces != NULL;

    for (size_t i = 0; i < c->spm.len && ok; i++)
        ok = om_map_put(&scores, c->spm.pieces[i].text, (uint32_t)i) == 0;
    for (size_t i = 0; i < entries->len && ok; i++) {
        const om_sv text = entries->items[i].text;
        uint32_t at;
        const bool known =
            om_map_get(&scores, text, &at) && c->spm.pieces[at].type == TOK_SPM_NORMAL;
        pieces[entries->items[i].id] =
            (struct tok_out_piece){ text,
                                    known ? (double)c->spm.pieces[at].score : TOK_SCORE_NEVER };
    }
    om_map_release(&scores);
    if (!ok)
        no_memory(c);
    for (size_t i = 0; i < n && ok; i++) {
        if (!pieces[i].text.ptr) {
            tok_convert_fail(c, om_fail(c->err, OM_E_FORMAT, "%s: no token has id %zu", json, i));
            ok = false;
        }
    }
    c->pieces = pieces;
    c->cap = n;
}

/* Pieces that text is cut into although vocab.json has no id for them follow behind the vocabulary.
 */
static void add_unknown_pieces(struct tok_convert *c)
{
    c->known = (uint32_t)c->len;
    for (size_t i = 0; i < c->spm.len && c->rc == 0; i++) {
        const struct tok_spm_piece *const p = &c->spm.pieces[i];
        if (p->type == TOK_SPM_NORMAL && !om_map_get(&c->last, p->text, NULL))
            tok_convert_piece(c, p->text, p->score);
    }
}

static void check_marian(struct tok_convert *c, const char *spm, const char *json,
                         const struct tok_entries *entries, uint32_t *unk_id)
{
    if (c->spm.algorithm != TOK_SPM_UNIGRAM)
        tok_convert_fail(c, om_fail(c->err, OM_E_UNSUPPORTED, "%s: model type %d, expected Unigram",
                                    spm, (int)c->spm.algorithm));
    else if (c->len != entries->len)
        tok_convert_fail(c, om_fail(c->err, OM_E_FORMAT, "%s: %zu tokens, but ids up to %zu", json,
                                    entries->len, c->len));
    else if (!c->tokens[TOK_UNK].ptr || !om_map_get(&c->last, c->tokens[TOK_UNK], unk_id))
        tok_convert_fail(c, om_fail(c->err, OM_E_CONFIG, "%s: there is no unknown token", json));
}

void tok_convert_marian(struct tok_convert *c)
{
    const bool separate = c->target && tok_convert_flag(c, "separate_vocabs", false);
    const char *const spm = c->target ? "target.spm" : "source.spm", *const json =
                                                                         separate
                                                                             ? "target_vocab.json"
                                                                             : "vocab.json";
    struct tok_entries entries = { NULL, 0, 0 };
    om_sv model, vocab;
    uint32_t unk_id = 0;

    if (need_file(c, spm, &model) && need_file(c, json, &vocab) && read_spm(c, spm, model) &&
        note_vocab(c, json, vocab, &entries))
        check_marian(c, spm, json, &entries, &unk_id);
    if (c->rc == 0)
        marian_pieces(c, json, &entries);
    if (c->rc == 0)
        add_unknown_pieces(c);
    if (c->rc == 0)
        write_unigram(c, unk_id);
    free(entries.items);
}
