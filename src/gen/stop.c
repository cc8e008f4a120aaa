/* src/gen/stop.c: when a sequence is complete: its length, tokens that end it, strings that end it,
 * time.
 *
 * Stop strings are looked for in tokens, as Transformers does: a token's text is what it adds
 * behind other tokens. The last token may reach beyond the end of the string, the one that the
 * string begins in may have other text before it. */
#include <stdlib.h>
#include <time.h>

#include "gen/gen.h"

#define TEXTS_MAX ((size_t)1 << 30)

struct om_stop {
    const struct om_plan *plan;
    const struct om_tokenizer *tok;
    struct om_arena arena;
    const om_sv **texts; /* by token, made when they are met; NULL: not yet */
    uint32_t n_texts;
    uint32_t *base; /* tokens before the one whose text is asked for, and room for it */
    size_t n_base, base_bytes;
    size_t reach; /* tokens to look back: as many as the longest string has characters */
    struct timespec begin;
};

/* Text that stands before a token when its own is asked for: a first token may be written without
 * its blank. */
#define BASE "abcdef"

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for stop strings");
}

static size_t characters(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static int encode_base(struct om_stop *s, struct om_error *err)
{
    const struct om_text text = { BASE, strlen(BASE) };
    struct om_encode_opts o = OM_ENCODE_OPTS_INIT;
    struct om_encoding *enc = NULL;

    o.no_special_tokens = true;
    OM_TRY(om_tokenizer_encode(s->tok, &text, NULL, &o, &enc, err));
    s->n_base = enc->len;
    s->base = om_arena_array(&s->arena, enc->len + 1, sizeof(*s->base));
    if (s->base && enc->len)
        memcpy(s->base, enc->ids, enc->len * sizeof(*s->base));
    om_encoding_free(enc);
    return s->base ? 0 : no_memory(err);
}

static int prepare_strings(struct om_stop *s, struct om_error *err)
{
    const struct om_generation_config *c = &s->plan->c;

    if (c->n_stop_strings == 0)
        return 0;
    if (!s->tok)
        return om_fail(err, OM_E_USAGE,
                       "stop_strings: there is no tokenizer to find \"%s\" and its like with",
                       c->stop_strings[0]);
    for (size_t i = 0; i < c->n_stop_strings; i++) {
        if (!c->stop_strings[i][0])
            return om_fail(err, OM_E_USAGE, "stop_strings: an empty string");
        s->reach = OM_MAX(s->reach, characters(c->stop_strings[i]));
    }
    s->n_texts = om_tokenizer_id_limit(s->tok);
    s->texts = om_arena_array(&s->arena, (size_t)s->n_texts + 1, sizeof(*s->texts));
    if (!s->texts)
        return no_memory(err);
    return encode_base(s, err);
}

int om_stop_new(const struct om_plan *plan, const struct om_tokenizer *tok, struct om_stop **out,
                struct om_error *err)
{
    struct om_stop *s = calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return no_memory(err);
    om_arena_init(&s->arena, TEXTS_MAX);
    s->plan = plan;
    s->tok = tok;
    rc = prepare_strings(s, err);
    if (rc == 0 && clock_gettime(CLOCK_MONOTONIC, &s->begin) < 0)
        rc = om_fail(err, OM_E_INTERNAL, "there is no clock");
    if (rc == 0)
        *out = s;
    else
        om_stop_free(s);
    return rc;
}

void om_stop_free(struct om_stop *s)
{
    if (!s)
        return;
    om_arena_release(&s->arena);
    free(s);
}

/* ---- the text of a token ---- */

static int make_text(struct om_stop *s, uint32_t id, om_sv *out, struct om_error *err)
{
    char *text = NULL, *own;
    size_t len = 0;
    const char *at;

    s->base[s->n_base] = id;
    OM_TRY(om_tokenizer_decode(s->tok, s->base, s->n_base + 1, NULL, &text, &len, err));
    at = memmem(text, len, BASE, strlen(BASE));
    if (at) {
        at += strlen(BASE);
        out->len = len - (size_t)(at - text);
    } else { /* the tokenizer writes no such letters: all of it */
        at = text;
        out->len = len;
    }
    own = om_arena_str(&s->arena, (om_sv){ at, out->len });
    free(text);
    out->ptr = own;
    return own ? 0 : no_memory(err);
}

static bool is_token(const struct om_stop *s, int64_t id)
{
    const char *token;
    size_t len;

    return id >= 0 && id < s->n_texts &&
           om_tokenizer_id_to_token(s->tok, (uint32_t)id, &token, &len);
}

/* *out NULL for an id that is no token. */
static int text_of(struct om_stop *s, int64_t id, const om_sv **out, struct om_error *err)
{
    om_sv *sv;

    *out = NULL;
    if (!is_token(s, id))
        return 0;
    if (!s->texts[id]) {
        sv = om_arena_alloc(&s->arena, sizeof(*sv));
        if (!sv)
            return no_memory(err);
        OM_TRY(make_text(s, (uint32_t)id, sv, err));
        s->texts[id] = sv;
    }
    *out = s->texts[id];
    return 0;
}

/* ---- matching ---- */

/* Whether text may end where the last done bytes of the string begin: they agree as far as both
 * reach. */
static bool continues(om_sv string, size_t done, om_sv text)
{
    const size_t left = string.len - done, n = OM_MIN(left, text.len);

    return memcmp(string.ptr + left - n, text.ptr + text.len - n, n) == 0;
}

/* The tokens before the last, whose first bytes were the last done of the string. */
static int match_back(struct om_stop *s, om_sv string, size_t done, const int64_t *ids, size_t n,
                      bool *out, struct om_error *err)
{
    for (size_t i = n; done < string.len && i-- > 0;) {
        const om_sv *text;

        OM_TRY(text_of(s, ids[i], &text, err));
        if (!text || !continues(string, done, *text))
            return 0;
        done += text->len;
    }
    *out = done >= string.len;
    return 0;
}

/* Whether the string ends in the last of n tokens, for every place in it where it could. */
static int match(struct om_stop *s, om_sv string, const int64_t *ids, size_t n, bool *out,
                 struct om_error *err)
{
    const om_sv *last;

    OM_TRY(text_of(s, ids[n - 1], &last, err));
    for (size_t len = last ? last->len : 0; len > 0 && !*out; len--) {
        const om_sv head = { last->ptr, len };

        if (continues(string, 0, head))
            OM_TRY(match_back(s, string, OM_MIN(len, string.len), ids, n - 1, out, err));
    }
    return 0;
}

static int ends_in_string(struct om_stop *s, const int64_t *ids, size_t len, bool *out,
                          struct om_error *err)
{
    const struct om_generation_config *c = &s->plan->c;
    const size_t n = OM_MIN(len, s->reach);

    for (size_t i = 0; i < c->n_stop_strings && n && !*out; i++)
        OM_TRY(match(s, om_sv_str(c->stop_strings[i]), ids + len - n, n, out, err));
    return 0;
}

static bool out_of_time(const struct om_stop *s)
{
    struct timespec now;

    if (s->plan->c.max_time < 0 || clock_gettime(CLOCK_MONOTONIC, &now) < 0)
        return false;
    return (double)(now.tv_sec - s->begin.tv_sec) +
               1e-9 * (double)(now.tv_nsec - s->begin.tv_nsec) >
           s->plan->c.max_time;
}

int om_stop_check(struct om_stop *s, const int64_t *ids, size_t len, bool *out,
                  struct om_error *err)
{
    const struct om_token_ids *eos = &s->plan->c.eos_token_id;

    *out = len >= s->plan->max_length || out_of_time(s);
    for (size_t i = 0; i < eos->len && len; i++)
        *out |= ids[len - 1] == eos->ids[i];
    return *out ? 0 : ends_in_string(s, ids, len, out, err);
}
