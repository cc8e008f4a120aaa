/* src/tok/unigram.c: Unigram: the most probable way to cut a text into pieces (Viterbi). */
#include "tok/model.h"
#include "tok/trie.h"
#include "tok/unicode.h"

#define UNK_PENALTY 10.0

struct unigram {
    struct tok_trie trie;
    const double *scores; /* by id */
    double unk_score;
    bool single; /* sums are rounded to single precision, as SentencePiece has them */
};

int tok_unigram_build(struct om_arena *a, const struct tok_model_parts *p, struct tok_model *m,
                      struct om_error *err)
{
    struct unigram *const u = om_arena_alloc(a, sizeof(*u));
    double *const scores = om_arena_array(a, m->vocab.limit, sizeof(*scores));
    double least = 0.0;
    bool scored = false;

    if (!u || !scores)
        return om_fail(err, OM_E_NOMEM, "out of memory for a tokenizer");
    OM_TRY(tok_trie_build(a, p->entries, p->len, &u->trie, err));
    for (size_t i = 0; i < p->len; i++) {
        const double s = p->entries[i].score;
        scores[p->entries[i].id] = s;
        if (s > TOK_SCORE_NEVER)
            least = !scored || s < least ? s : least;
        scored |= s > TOK_SCORE_NEVER;
    }
    u->scores = scores;
    u->single = p->single;
    u->unk_score = least - UNK_PENALTY;
    m->conf = u;
    return 0;
}

/* The best way to reach a position. */
struct node {
    double score;
    uint32_t from; /* TOK_NONE: not reached */
    uint32_t id;
};

static void reach(struct node *n, double score, uint32_t from, uint32_t id)
{
    if (n->from == TOK_NONE || score > n->score)
        *n = (struct node){ score, from, id };
}

static size_t char_len(om_sv text, size_t at)
{
    size_t len;

    tok_utf8_decode(text.ptr + at, &len);
    return len;
}

static double sum(const struct unigram *u, double score, double piece)
{
    return u->single ? (double)((float)score + (float)piece) : score + piece;
}

/* Every piece that begins at at; the unknown one when none is a single character. */
static bool reach_from(const struct tok_model *m, struct node *nodes, om_sv text, size_t at)
{
    const struct unigram *const u = m->conf;
    const struct tok_trie *const t = &u->trie;
    const size_t single = char_len(text, at);
    const double score = nodes[at].score;
    bool has_single = false;
    uint32_t node = 0;

    for (size_t i = at; i < text.len; i++) {
        node = tok_trie_step(t, node, (uint8_t)text.ptr[i]);
        if (node == 0)
            break;
        const uint32_t id = t->value[node];
        if (id == TOK_NONE || u->scores[id] <= TOK_SCORE_NEVER) /* a name that no text has */
            continue;
        reach(&nodes[i + 1], sum(u, score, u->scores[id]), (uint32_t)at, id);
        has_single |= i + 1 - at == single;
    }
    if (!has_single)
        reach(&nodes[at + single], sum(u, score, u->unk_score), (uint32_t)at, m->unk_id);
    return has_single || m->unk_id != TOK_NONE;
}

/* A part that is no single known piece: bytes where all are in the vocabulary, else the unknown
 * token. */
static void add_unknown(const struct tok_model *m, struct tok_work *w, om_sv text, size_t begin,
                        size_t end)
{
    const uint32_t id = tok_vocab_find(&m->vocab, (om_sv){ text.ptr + begin, end - begin });
    bool bytes = m->byte_fallback;

    if (id != TOK_NONE) {
        tok_part_add(w, id, begin, end);
        return;
    }
    for (size_t i = begin; i < end && bytes; i++)
        bytes = m->byte_ids[(uint8_t)text.ptr[i]] != TOK_NONE;
    if (!bytes) {
        tok_part_add(w, m->unk_id, begin, end);
        return;
    }
    for (size_t i = begin; i < end; i++)
        tok_part_add(w, m->byte_ids[(uint8_t)text.ptr[i]], begin, end);
}

/* Follow the best path back; unknown neighbours are one part. Its positions are kept in the nodes'
 * ids from the end. */
static void write_path(const struct tok_model *m, struct tok_work *w, struct node *nodes,
                       om_sv text)
{
    uint32_t next = TOK_NONE, at = (uint32_t)text.len;

    while (at > 0) { /* turn the links round: from is then where the part ends */
        const uint32_t from = nodes[at].from, id = nodes[at].id;
        nodes[at].from = next;
        next = at;
        at = from;
        nodes[at].score = id; /* exact: ids are below 2^31 */
    }
    while (at < text.len) {
        const uint32_t id = (uint32_t)nodes[at].score;
        uint32_t end = next;
        next = nodes[end].from;
        if (id != m->unk_id) {
            tok_part_add(w, id < m->known ? id : m->unk_id, at, end);
            at = end;
            continue;
        }
        while (end < text.len && (uint32_t)nodes[end].score == m->unk_id) {
            end = next;
            next = nodes[end].from;
        }
        add_unknown(m, w, text, at, end);
        at = end;
    }
}

static void run(const struct tok_model *m, struct tok_work *w, om_sv text)
{
    struct node *const nodes = tok_model_buffer(w, text.len + 1, sizeof(*nodes));

    if (!nodes)
        return;
    for (size_t i = 0; i <= text.len; i++)
        nodes[i] = (struct node){ 0.0, TOK_NONE, 0 };
    for (size_t at = 0; at < text.len; at += char_len(text, at)) {
        if (!reach_from(m, nodes, text, at)) {
            tok_unk_missing(m, w);
            return;
        }
    }
    write_path(m, w, nodes, text);
}

const struct tok_model_kind tok_model_unigram = { "Unigram", run, true };
