/* src/tok/word_piece.c: WordPiece: the longest token that fits, again and again; a word that does
 * not end well is unknown. */
#include "tok/model.h"
#include "tok/trie.h"
#include "tok/unicode.h"

struct word_piece {
    struct tok_trie trie;
    uint32_t inner; /* the node behind the prefix of inner pieces; has_inner false: no token begins
                       with it */
    bool has_inner;
    size_t max_chars;
};

static bool walk(const struct tok_trie *t, om_sv text, uint32_t *node)
{
    *node = 0;
    for (size_t i = 0; i < text.len; i++) {
        *node = tok_trie_step(t, *node, (uint8_t)text.ptr[i]);
        if (*node == 0)
            return false;
    }
    return true;
}

int tok_word_piece_build(struct om_arena *a, const struct tok_model_parts *p, struct tok_model *m,
                         struct om_error *err)
{
    struct word_piece *const wp = om_arena_alloc(a, sizeof(*wp));

    if (!wp)
        return om_fail(err, OM_E_NOMEM, "out of memory for a tokenizer");
    OM_TRY(tok_trie_build(a, p->entries, p->len, &wp->trie, err));
    wp->has_inner = walk(&wp->trie, p->prefix, &wp->inner);
    wp->max_chars = p->max_chars;
    m->conf = wp;
    return 0;
}

/* The longest token at the start of text, below node; its length, 0 when there is none. */
static size_t longest(const struct tok_trie *t, uint32_t node, om_sv text, uint32_t *id)
{
    size_t best = 0;

    for (size_t i = 0; i < text.len; i++) {
        node = tok_trie_step(t, node, (uint8_t)text.ptr[i]);
        if (node == 0)
            break;
        if (t->value[node] != TOK_NONE) {
            *id = t->value[node];
            best = i + 1;
        }
    }
    return best;
}

static void unknown(const struct tok_model *m, struct tok_work *w, om_sv text, size_t first)
{
    w->parts_len = first;
    if (m->unk_id == TOK_NONE)
        tok_unk_missing(m, w);
    else
        tok_part_add(w, m->unk_id, 0, text.len);
}

static void run(const struct tok_model *m, struct tok_work *w, om_sv text)
{
    const struct word_piece *const wp = m->conf;
    const size_t first = w->parts_len;
    uint32_t id = 0;

    if (text.len > wp->max_chars && tok_utf8_count(text) > wp->max_chars) {
        unknown(m, w, text, first);
        return;
    }
    for (size_t at = 0; at < text.len && w->rc == 0;) {
        const om_sv rest = { text.ptr + at, text.len - at };
        const size_t n = at == 0         ? longest(&wp->trie, 0, rest, &id)
                         : wp->has_inner ? longest(&wp->trie, wp->inner, rest, &id)
                                         : 0;
        if (n == 0) {
            unknown(m, w, text, first);
            return;
        }
        tok_part_add(w, id, at, at + n);
        at += n;
    }
}

const struct tok_model_kind tok_model_word_piece = { "WordPiece", run, true };
