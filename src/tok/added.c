/* src/tok/added.c: numbering added tokens and finding them. */
#include "tok/added.h"

#include <stdlib.h>

#include "base/map.h"
#include "tok/unicode.h"

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for added tokens");
}

/* ---- building ---- */

/* Which entry holds a text, by whether it is normalized. Of a text that is listed twice, once for
 * each, both are looked for; what else is said of it is what was said last, but special it stays.
 */
struct seen {
    struct om_map by_text[2];
};

static void update(struct tok_added *d, const struct seen *seen, const struct tok_added_token *t)
{
    uint32_t at;

    for (unsigned k = 0; k < 2; k++) {
        if (!om_map_get(&seen->by_text[k], t->content, &at))
            continue;
        struct tok_added_token *const other = &d->tokens[at];
        other->single_word = t->single_word;
        other->lstrip = t->lstrip;
        other->rstrip = t->rstrip;
        other->special |= t->special;
    }
}

static int add_token(struct tok_added *d, struct seen *seen, const struct tok_added_token *t)
{
    const int rc = om_map_put(&seen->by_text[t->normalized], t->content, (uint32_t)d->len);

    d->limit = OM_MAX(d->limit, t->id + 1);
    d->tokens[d->len++] = *t;
    return rc;
}

/* The id of a text that was listed before, of a token of the model, or the next free one. */
static void choose_id(const struct tok_model *m, struct tok_added *d, uint32_t *next,
                      struct tok_added_token *t)
{
    t->id = tok_vocab_find(&m->vocab, t->content);
    if (t->id == TOK_NONE) {
        t->id = (*next)++;
        d->beyond++;
    } else if (t->id >= *next) {
        *next = t->id + 1;
    }
}

static int number_all(const struct tok_model *m, struct tok_added *d, size_t n, struct seen *seen)
{
    /* Unigram's size counts equal pieces as well. */
    uint32_t next = m->kind == &tok_model_unigram ? m->vocab.limit : (uint32_t)m->vocab.count, at;

    for (size_t i = 0; i < n; i++) {
        struct tok_added_token t = d->tokens[i];
        if (t.content.len == 0)
            continue;
        if (om_map_get(&seen->by_text[!t.normalized], t.content, &at)) {
            t.id = d->tokens[at].id;
            t.special |= d->tokens[at].special;
        } else if (!om_map_get(&seen->by_text[t.normalized], t.content, NULL)) {
            choose_id(m, d, &next, &t);
        }
        if (!om_map_get(&seen->by_text[t.normalized], t.content, NULL))
            OM_TRY(add_token(d, seen, &t));
        update(d, seen, &t);
    }
    return 0;
}

static int number(const struct tok_model *m, struct tok_added *d, size_t n, struct om_error *err)
{
    struct seen seen = { .by_text = { OM_MAP_INIT, OM_MAP_INIT } };
    const int rc = number_all(m, d, n, &seen);

    om_map_release(&seen.by_text[0]);
    om_map_release(&seen.by_text[1]);
    return rc < 0 ? no_memory(err) : 0;
}

static int index_tokens(struct om_arena *a, struct tok_added *d, struct om_error *err)
{
    struct tok_entry *const entries = calloc(d->len ? d->len : 1, sizeof(*entries));
    int rc;

    d->by_id = om_arena_array(a, d->limit, sizeof(*d->by_id));
    if (!entries || !d->by_id) {
        free(entries);
        return no_memory(err);
    }
    for (size_t i = 0; i < d->len; i++) {
        d->by_id[d->tokens[i].id] = (uint32_t)i + 1;
        entries[i] = (struct tok_entry){ d->tokens[i].content, (uint32_t)i, 0.0 };
    }
    rc = tok_vocab_build(a, entries, d->len, &d->index, err);
    free(entries);
    return rc;
}

/* What a normalized token looks like in normalized text. */
static int normalize_pattern(struct om_arena *a, const struct tok_component *normalizer,
                             struct tok_work *w, struct tok_added_token *t, struct om_error *err)
{
    tok_work_start(w, err);
    tok_work_text(w, t->content);
    if (w->rc == 0)
        tok_normalize(normalizer, w, &w->pieces[0]);
    if (w->rc == 0) {
        const om_sv text = tok_piece_text(w, &w->pieces[0]);
        t->pattern = (om_sv){ om_arena_str(a, text), text.len };
        if (!t->pattern.ptr)
            no_memory(err);
    }
    if (w->rc < 0)
        return om_wrap(err, w->rc, "added token \"%.*s\"", OM_SV(t->content));
    return t->pattern.ptr ? 0 : OM_E_NOMEM;
}

static int normalize_patterns(struct om_arena *a, const struct tok_component *normalizer,
                              struct tok_added *d, struct om_error *err)
{
    struct tok_work *const w = tok_work_new();
    int rc = w ? 0 : no_memory(err);

    for (size_t i = 0; rc == 0 && i < d->len; i++) {
        d->tokens[i].pattern = d->tokens[i].content;
        if (d->tokens[i].normalized && normalizer->kind)
            rc = normalize_pattern(a, normalizer, w, &d->tokens[i], err);
    }
    tok_work_free(w);
    return rc;
}

/* Of equal patterns the first special token counts, else the first one, so the entries go in from
 * the last. */
static int build_set(struct om_arena *a, const struct tok_added *d, bool normalized,
                     struct tok_added_set *set, struct om_error *err)
{
    struct tok_entry *const entries = calloc(d->len ? d->len : 1, sizeof(*entries));
    size_t n = 0;
    int rc = 0;

    if (!entries)
        return no_memory(err);
    for (unsigned special = 0; special < 2; special++) {
        for (size_t i = d->len; i-- > 0;) {
            const struct tok_added_token *const t = &d->tokens[i];
            if (t->special != special || t->normalized != normalized || t->pattern.len == 0)
                continue;
            entries[n++] = (struct tok_entry){ t->pattern, (uint32_t)i, 0.0 };
            set->first[(uint8_t)t->pattern.ptr[0]] = true;
        }
    }
    if (n)
        rc = tok_trie_build(a, entries, n, &set->trie, err);
    free(entries);
    return rc;
}

int tok_added_build(struct om_arena *a, const struct tok_model *m,
                    const struct tok_component *normalizer, struct tok_added_token *tokens,
                    size_t n, struct tok_added *out, struct om_error *err)
{
    struct tok_added d = { .tokens = tokens,
                           .limit = m->vocab.limit,
                           .codes = m->codes ? m : NULL };

    OM_TRY(number(m, &d, n, err));
    OM_TRY(index_tokens(a, &d, err));
    OM_TRY(normalize_patterns(a, normalizer, &d, err));
    OM_TRY(build_set(a, &d, false, &d.raw, err));
    OM_TRY(build_set(a, &d, true, &d.normalized, err));
    *out = d;
    return 0;
}

const struct tok_added_token *tok_added_find(const struct tok_added *d, uint32_t id)
{
    return id < d->limit && d->by_id[id] ? &d->tokens[d->by_id[id] - 1] : NULL;
}

/* ---- finding ---- */

/* The longest pattern at pool byte at; NULL when there is none. */
static const struct tok_added_token *match_at(const struct tok_added *d,
                                              const struct tok_added_set *set, om_sv text)
{
    uint32_t node = 0, best = TOK_NONE;

    for (size_t i = 0; i < text.len; i++) {
        node = tok_trie_step(&set->trie, node, (uint8_t)text.ptr[i]);
        if (node == 0)
            break;
        if (set->trie.value[node] != TOK_NONE)
            best = set->trie.value[node];
    }
    return best == TOK_NONE ? NULL : &d->tokens[best];
}

static uint32_t char_before(const struct tok_work *w, uint32_t begin, uint32_t at, uint32_t *start)
{
    size_t len;

    *start = at - 1;
    while (*start > begin && tok_is_cont(w->bytes[*start]))
        --*start;
    return tok_utf8_decode(w->bytes + *start, &len);
}

static bool is_single_word(const struct tok_work *w, const struct tok_piece *p, uint32_t begin,
                           uint32_t end)
{
    uint32_t start;
    size_t len;

    return (begin == p->begin || !tok_is_word(char_before(w, p->begin, begin, &start))) &&
           (end == p->end || !tok_is_word(tok_utf8_decode(w->bytes + end, &len)));
}

static uint32_t spaces_before(const struct tok_work *w, const struct tok_piece *p, uint32_t at)
{
    uint32_t start;

    while (at > p->begin && tok_is_space(char_before(w, p->begin, at, &start)))
        at = start;
    return at;
}

static uint32_t spaces_behind(const struct tok_work *w, const struct tok_piece *p, uint32_t at)
{
    size_t len;

    while (at < p->end && tok_is_space(tok_utf8_decode(w->bytes + at, &len)))
        at += (uint32_t)len;
    return at;
}

/* Emit what lies between done and the token, and the token; returns where it ends. */
static uint32_t emit_token(struct tok_work *w, const struct tok_piece *p,
                           const struct tok_added_token *t, uint32_t done, uint32_t begin,
                           uint32_t end)
{
    struct tok_piece s;

    if (t->lstrip)
        begin = OM_MAX(spaces_before(w, p, begin), done);
    if (t->rstrip)
        end = spaces_behind(w, p, end);
    if (begin >= end) /* all of it went to the token before */
        return done;
    if (done < begin) {
        s = tok_slice(w, p, done, begin);
        tok_emit(w, &s);
    }
    s = tok_slice(w, p, begin, end);
    s.token = t->id;
    tok_emit(w, &s);
    return end;
}

static void split_piece(const struct tok_added *d, const struct tok_added_set *set,
                        struct tok_work *w, const struct tok_piece *p)
{
    uint32_t done = p->begin, at = p->begin;

    while (set->trie.len && at < p->end && w->rc == 0) {
        const struct tok_added_token *t = NULL;
        if (set->first[(uint8_t)w->bytes[at]])
            t = match_at(d, set, (om_sv){ w->bytes + at, p->end - at });
        if (!t) {
            at++;
            continue;
        }
        const uint32_t end = at + (uint32_t)t->pattern.len;
        if (!t->single_word || is_single_word(w, p, at, end))
            done = emit_token(w, p, t, done, at, end);
        at = end;
    }
    if (done < p->end) {
        const struct tok_piece s = tok_slice(w, p, done, p->end);
        tok_emit(w, &s);
    }
}

/* Cut ">>...<<" from the beginning of a piece, as a token. */
static void split_code(const struct tok_model *m, struct tok_work *w, struct tok_piece *p)
{
    const om_sv text = tok_piece_text(w, p);
    uint32_t len = 2;

    if (!om_sv_starts(text, OM_SVL(">>")))
        return;
    while (len + 2 <= text.len && memcmp(text.ptr + len, "<<", 2) != 0)
        len++;
    if (len + 2 > text.len)
        return;
    len += 2;
    const uint32_t id = tok_vocab_find(&m->vocab, (om_sv){ text.ptr, len });
    struct tok_piece code = tok_slice(w, p, p->begin, p->begin + len);
    code.token = id < m->known ? id : m->unk_id;
    tok_emit(w, &code);
    *p = tok_slice(w, p, p->begin + len, p->end);
}

/* Text between added tokens: a code, then what is normalized and looked through once more. */
static void split_text(const struct tok_added *d, const struct tok_component *normalizer,
                       struct tok_work *w, struct tok_piece *p)
{
    if (d->codes)
        split_code(d->codes, w, p);
    if (w->rc < 0 || p->begin == p->end)
        return;
    tok_normalize(normalizer, w, p);
    if (w->rc == 0)
        split_piece(d, &d->normalized, w, p);
}

void tok_added_split(const struct tok_added *d, const struct tok_component *normalizer,
                     struct tok_work *w)
{
    for (size_t i = 0; i < w->pieces_len; i++)
        split_piece(d, &d->raw, w, &w->pieces[i]);
    tok_swap(w);
    for (size_t i = 0; i < w->pieces_len && w->rc == 0; i++) {
        if (w->pieces[i].token != TOK_NONE)
            tok_emit(w, &w->pieces[i]);
        else
            split_text(d, normalizer, w, &w->pieces[i]);
    }
    tok_swap(w);
}
