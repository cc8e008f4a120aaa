/* src/tok/tokenizer.c: building a tokenizer, its vocabulary, and the works that its calls use. */
#include <stdlib.h>

#include "tok/regex.h"
#include "tok/tok.h"
#include "tok/unicode.h"

enum { ARENA_MAX_BITS = 32 };

/* ---- building ---- */

int tok_builder_init(struct tok_builder *b, struct om_error *err)
{
    struct om_tokenizer *const t = calloc(1, sizeof(*t));

    if (!t)
        return om_fail(err, OM_E_NOMEM, "out of memory for a tokenizer");
    om_arena_init(&t->arena, (size_t)1 << ARENA_MAX_BITS);
    t->info.model_max_length = UINT64_MAX;
    t->info.gives_type_ids = true;
    *b = (struct tok_builder){ .tok = t, .loader = { .tok = t, .arena = &t->arena, .err = err } };
    return 0;
}

void tok_builder_abort(struct tok_builder *b)
{
    om_tokenizer_free(b->tok);
    b->tok = NULL;
}

int tok_builder_component(struct tok_builder *b, const struct tok_stage *stage,
                          const struct om_json *j)
{
    struct om_tokenizer *const t = b->tok;
    struct tok_component *const out = stage == &tok_normalizers       ? &t->normalizer
                                      : stage == &tok_pre_tokenizers  ? &t->pre_tokenizer
                                      : stage == &tok_post_processors ? &t->post_processor
                                                                      : &t->decoder;

    return tok_component_read(&b->loader, stage, j, out);
}

int tok_builder_component_text(struct tok_builder *b, const struct tok_stage *stage,
                               const char *json)
{
    struct om_json *j = NULL;
    int rc = json ? om_json_parse(om_sv_str(json), 0, &j, b->loader.err) : 0;

    if (rc == 0)
        rc = tok_builder_component(b, stage, j);
    om_json_free(j);
    return rc;
}

int tok_builder_model(struct tok_builder *b, const struct tok_model_parts *parts)
{
    return tok_model_build(&b->tok->arena, parts, &b->tok->model, b->loader.err);
}

int tok_builder_added(struct tok_builder *b, const struct tok_added_token *tokens, size_t n)
{
    struct om_tokenizer *const t = b->tok;
    struct tok_added_token *const copy = om_arena_array(&t->arena, n, sizeof(*copy));

    if (!copy)
        return tok_loader_no_memory(&b->loader);
    for (size_t i = 0; i < n; i++) {
        copy[i] = tokens[i];
        if (!tok_loader_text(&b->loader, tokens[i].content, &copy[i].content))
            return tok_loader_no_memory(&b->loader);
    }
    return tok_added_build(&t->arena, &t->model, &t->normalizer, copy, n, &t->added, b->loader.err);
}

void tok_count_spaces(om_sv text, uint32_t *lead, uint32_t *trail)
{
    const uint32_t space = tok_byte_char(' ');
    uint32_t run = 0;
    bool any = false;
    size_t len;

    *lead = 0;
    for (size_t i = 0; i < text.len; i += len) {
        const uint32_t c = tok_utf8_decode(text.ptr + i, &len);
        if (c == space || tok_is_space(c)) {
            run++;
            continue;
        }
        if (!any)
            *lead = run;
        any = true;
        run = 0;
    }
    if (!any)
        *lead = run;
    *trail = run;
}

static int count_spaces(struct tok_builder *b)
{
    struct om_tokenizer *const t = b->tok;

    t->trims = tok_post_trims(&t->post_processor);
    if (!t->trims)
        return 0;
    t->spaces = om_arena_array(&t->arena, t->added.limit, sizeof(*t->spaces));
    if (!t->spaces)
        return tok_loader_no_memory(&b->loader);
    for (uint32_t id = 0; id < t->model.vocab.limit; id++) {
        const om_sv text = tok_vocab_text(&t->model.vocab, id);
        if (text.ptr)
            tok_count_spaces(text, &t->spaces[id].lead, &t->spaces[id].trail);
    }
    return 0;
}

int tok_builder_finish(struct tok_builder *b, struct om_tokenizer **out)
{
    const int rc = count_spaces(b);

    if (rc < 0) {
        tok_builder_abort(b);
        return rc;
    }
    if (tok_ends_in_bytes(&b->tok->pre_tokenizer, false) && tok_model_read_bytes(&b->tok->model))
        tok_ends_in_bytes(&b->tok->pre_tokenizer, true);
    *out = b->tok;
    return 0;
}

void om_tokenizer_free(struct om_tokenizer *tok)
{
    if (!tok)
        return;
    for (size_t i = 0; i < TOK_WORKS; i++)
        tok_work_free(atomic_load(&tok->works[i]));
    for (size_t i = 0; i < tok->regexes.len; i++)
        tok_regex_free(tok->regexes.items[i]);
    free(tok->regexes.items);
    om_arena_release(&tok->arena);
    free(tok);
}

/* ---- works: a call takes one that is free, or makes one ---- */

struct tok_work *tok_work_take(const struct om_tokenizer *t)
{
    struct om_tokenizer *const shared = (struct om_tokenizer *)t; /* only the slots change */

    for (size_t i = 0; i < TOK_WORKS; i++) {
        struct tok_work *const w = atomic_exchange(&shared->works[i], NULL);
        if (w)
            return w;
    }
    return tok_work_new();
}

void tok_work_give(const struct om_tokenizer *t, struct tok_work *w)
{
    struct om_tokenizer *const shared = (struct om_tokenizer *)t;

    tok_work_trim(w);
    for (size_t i = 0; i < TOK_WORKS; i++) {
        struct tok_work *none = NULL;
        if (atomic_compare_exchange_strong(&shared->works[i], &none, w))
            return;
    }
    tok_work_free(w);
}

/* ---- the vocabulary ---- */

om_sv tok_text_of(const struct om_tokenizer *t, uint32_t id)
{
    const struct tok_added_token *const added = tok_added_find(&t->added, id);

    if (!added && id >= t->model.known)
        return (om_sv){ NULL, 0 };
    return added ? added->content : tok_vocab_text(&t->model.vocab, id);
}

const struct om_tokenizer_info *om_tokenizer_get_info(const struct om_tokenizer *tok)
{
    return &tok->info;
}

size_t om_tokenizer_vocab_size(const struct om_tokenizer *tok)
{
    const struct tok_vocab *const v = &tok->model.vocab;
    const size_t hidden = tok->model.known < v->limit ? v->limit - tok->model.known : 0;

    return v->count - hidden + tok->added.beyond;
}

uint32_t om_tokenizer_id_limit(const struct om_tokenizer *tok)
{
    return OM_MIN(tok->added.limit, tok->model.known);
}

bool om_tokenizer_token_to_id(const struct om_tokenizer *tok, const char *token, size_t len,
                              uint32_t *id)
{
    const om_sv text = { token, len };
    const uint32_t added = tok_vocab_find(&tok->added.index, text);
    const uint32_t found =
        added != TOK_NONE ? tok->added.tokens[added].id : tok_vocab_find(&tok->model.vocab, text);

    if (found == TOK_NONE || (added == TOK_NONE && found >= tok->model.known))
        return false;
    *id = found;
    return true;
}

bool om_tokenizer_id_to_token(const struct om_tokenizer *tok, uint32_t id, const char **token,
                              size_t *len)
{
    const om_sv text = tok_text_of(tok, id);

    if (!text.ptr)
        return false;
    *token = text.ptr;
    *len = text.len;
    return true;
}

bool om_tokenizer_is_special(const struct om_tokenizer *tok, uint32_t id)
{
    const struct tok_added_token *const added = tok_added_find(&tok->added, id);

    return added && added->special;
}

const struct om_truncation *om_tokenizer_truncation(const struct om_tokenizer *tok)
{
    return tok->has_truncation ? &tok->truncation : NULL;
}

const struct om_padding *om_tokenizer_padding(const struct om_tokenizer *tok)
{
    return tok->has_padding ? &tok->padding : NULL;
}

size_t om_tokenizer_added_tokens(const struct om_tokenizer *tok, bool pair)
{
    return tok_post_added(&tok->post_processor, pair);
}
