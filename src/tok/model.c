/* src/tok/model.c: what the models share: the vocabulary, unknown words, the cache of words. */
#include "tok/model.h"

#include <stdio.h>

#include "tok/cache.h"

/* ---- building ---- */

static int copy_text(struct om_arena *a, om_sv text, om_sv *out, struct om_error *err)
{
    char *const copy = text.ptr ? om_arena_str(a, text) : NULL;

    if (text.ptr && !copy)
        return om_fail(err, OM_E_NOMEM, "out of memory for a tokenizer");
    *out = (om_sv){ copy, text.len };
    return 0;
}

static void find_bytes(struct tok_model *m)
{
    char name[8];

    for (unsigned i = 0; i < 256; i++) {
        const int n = snprintf(name, sizeof(name), "<0x%02X>", i);
        m->byte_ids[i] = tok_vocab_find(&m->vocab, (om_sv){ name, (size_t)n });
    }
}

int tok_model_build(struct om_arena *a, const struct tok_model_parts *parts, struct tok_model *out,
                    struct om_error *err)
{
    struct tok_model m = { .unk_id = parts->unk_id,
                           .byte_fallback = parts->byte_fallback,
                           .known = parts->known,
                           .codes = parts->codes };

    m.has_prefix =
        parts->prefix.len > 0 && (parts->type == TOK_WORD_PIECE || parts->type == TOK_BPE);

    OM_TRY(tok_vocab_build(a, parts->entries, parts->len, &m.vocab, err));
    OM_TRY(copy_text(a, parts->unk_token, &m.unk_token, err));
    if (m.unk_token.ptr)
        m.unk_id = tok_vocab_find(&m.vocab, m.unk_token);
    if (m.byte_fallback)
        find_bytes(&m);
    switch (parts->type) {
    case TOK_WORD_PIECE:
        m.kind = &tok_model_word_piece;
        OM_TRY(tok_word_piece_build(a, parts, &m, err));
        break;
    case TOK_BPE:
        m.kind = &tok_model_bpe;
        OM_TRY(tok_bpe_build(a, parts, &m, err));
        break;
    case TOK_UNIGRAM:
        m.kind = &tok_model_unigram;
        OM_TRY(tok_unigram_build(a, parts, &m, err));
        break;
    case TOK_WORD_LEVEL:
        m.kind = &tok_model_word_level;
        break;
    }
    *out = m;
    return 0;
}

bool tok_model_read_bytes(struct tok_model *m)
{
    m->raw = m->kind == &tok_model_bpe && tok_bpe_can_read_bytes(m);
    return m->raw;
}

/* ---- running ---- */

void tok_part_add(struct tok_work *w, uint32_t id, size_t begin, size_t end)
{
    if (!tok_room(w, &w->parts, &w->parts_cap, w->parts_len + 1, sizeof(*w->parts)))
        return;
    w->parts[w->parts_len++] = (struct tok_part){ id, (uint32_t)begin, (uint32_t)end };
}

int tok_unk_missing(const struct tok_model *m, struct tok_work *w)
{
    if (m->unk_token.ptr)
        return tok_fail(w, OM_E_FORMAT,
                        "unknown word, but the unknown token \"%.*s\" is not in the vocabulary",
                        OM_SV(m->unk_token));
    return tok_fail(w, OM_E_FORMAT, "unknown character, but the model has no unknown token");
}

void *tok_model_buffer(struct tok_work *w, size_t n, size_t elem)
{
    size_t size;

    if (!om_mul_size(n, elem, &size)) {
        tok_no_memory(w);
        return NULL;
    }
    return tok_room(w, &w->model, &w->model_cap, size, 1) ? w->model : NULL;
}

/* Parts from index first on were counted from the start of a word; count them from that of the
 * text. */
static void shift_parts(struct tok_work *w, size_t first, size_t by)
{
    for (size_t i = first; by && i < w->parts_len; i++) {
        w->parts[i].begin += (uint32_t)by;
        w->parts[i].end += (uint32_t)by;
    }
}

static void run_word(const struct tok_model *m, struct tok_work *w, om_sv word, size_t at)
{
    const size_t first = w->parts_len;
    const struct tok_part *known = NULL;
    uint64_t hash = 0;
    size_t n;

    if (m->kind->cached && word.len <= TOK_CACHE_KEY_MAX) {
        if (!w->cache)
            w->cache = tok_cache_new();
        if (w->cache)
            known = tok_cache_get(w->cache, word, &n, &hash);
    }
    if (known) {
        if (!tok_room(w, &w->parts, &w->parts_cap, first + n, sizeof(*known)))
            return;
        if (n)
            memcpy(w->parts + first, known, n * sizeof(*known));
        w->parts_len += n;
    } else {
        m->kind->run(m, w, word);
        if (w->rc == 0 && w->cache && word.len <= TOK_CACHE_KEY_MAX && m->kind->cached)
            tok_cache_put(w->cache, word, hash, w->parts ? w->parts + first : NULL,
                          w->parts_len - first);
    }
    shift_parts(w, first, at);
}

/* Where the word that begins at from ends: before the next mark that follows another character. */
static size_t word_end(om_sv text, size_t from, om_sv mark)
{
    size_t at = from;

    while (at < text.len) {
        const char *const hit = memmem(text.ptr + at, text.len - at, mark.ptr, mark.len);
        if (!hit)
            break;
        const size_t begin = (size_t)(hit - text.ptr);
        if (begin > at && begin > from)
            return begin;
        at = begin + mark.len;
    }
    return text.len;
}

void tok_model_run(const struct tok_model *m, struct tok_work *w, om_sv text)
{
    size_t end;

    w->parts_len = 0;
    if (text.len == 0)
        return;
    if (m->cut.len == 0) {
        run_word(m, w, text, 0);
        return;
    }
    for (size_t at = 0; at < text.len && w->rc == 0; at = end) {
        end = word_end(text, at, m->cut);
        run_word(m, w, (om_sv){ text.ptr + at, end - at }, at);
    }
}

/* ---- WordLevel ---- */

static void word_level(const struct tok_model *m, struct tok_work *w, om_sv text)
{
    uint32_t id = tok_vocab_find(&m->vocab, text);

    if (id == TOK_NONE)
        id = m->unk_id;
    if (id == TOK_NONE)
        tok_unk_missing(m, w);
    else
        tok_part_add(w, id, 0, text.len);
}

const struct tok_model_kind tok_model_word_level = { "WordLevel", word_level, false };
