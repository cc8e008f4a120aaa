/* src/tok/encode.c: a text through the stages, and back. */
#include <stdlib.h>

#include "base/thread.h"
#include "tok/decode.h"
#include "tok/tok.h"

/* ---- tokens with their places ---- */

/* The original's bytes for part [begin, end) of a piece. What lies beyond the piece, as byte
 * fallback of a suffix may, has the numbers it has; an empty part counts from where the piece
 * began. */
static struct om_offsets byte_offsets(const struct tok_work *w, const struct tok_piece *p,
                                      uint32_t begin, uint32_t end)
{
    if (begin == end)
        return (struct om_offsets){ p->origin + begin, p->origin + end };
    if (end > p->end - p->begin)
        return (struct om_offsets){ begin, end };
    return (struct om_offsets){ tok_align(w, p, p->begin + begin).begin,
                                tok_align(w, p, p->begin + end - 1).end };
}

/* Bytes to code points. A place at the end of the text has no character of its own. */
static struct om_offsets char_offsets(const struct tok_work *w, struct om_offsets b)
{
    if (w->ascii || b.begin >= w->original_len)
        return b;
    if (b.end < w->original_len)
        return (struct om_offsets){ w->chars[b.begin], w->chars[b.end] };
    return (struct om_offsets){
        w->chars[b.begin],
        (b.end - 1 < w->original_len ? w->chars[b.end - 1] : w->chars[b.begin] + 1) + 1
    };
}

static void add_token(struct tok_work *w, uint32_t id, struct om_offsets bytes, size_t word)
{
    w->tokens[w->tokens_len++] = (struct tok_token){
        .id = id,
        .bytes = bytes,
        .chars = char_offsets(w, bytes),
        .word = (int32_t)word,
    };
}

/* An added token's text is what was found, with the white space that it took. */
static void add_added(const struct om_tokenizer *t, struct tok_work *w, const struct tok_piece *p,
                      size_t word)
{
    if (!tok_room(w, &w->tokens, &w->tokens_cap, w->tokens_len + 1, sizeof(*w->tokens)))
        return;
    add_token(w, p->token, byte_offsets(w, p, 0, p->end - p->begin), word);
    if (t->trims) {
        struct tok_token *const last = &w->tokens[w->tokens_len - 1];
        tok_count_spaces(tok_piece_text(w, p), &last->lead, &last->trail);
    }
}

/* White space of a part, as the post-processor will take it from the offsets. Unigram's unknown
 * token has the text it stands for, others their own. */
static void part_spaces(const struct om_tokenizer *t, const struct tok_work *w,
                        const struct tok_piece *p, const struct tok_part *part,
                        struct tok_token *out)
{
    if (t->model.kind == &tok_model_unigram && part->id == t->model.unk_id) {
        tok_count_spaces((om_sv){ w->bytes + p->begin + part->begin, part->end - part->begin },
                         &out->lead, &out->trail);
        return;
    }
    out->lead = t->spaces[part->id].lead;
    out->trail = t->spaces[part->id].trail;
}

static void add_parts(const struct om_tokenizer *t, struct tok_work *w, const struct tok_piece *p,
                      size_t word)
{
    if (!tok_room(w, &w->tokens, &w->tokens_cap, w->tokens_len + w->parts_len, sizeof(*w->tokens)))
        return;
    for (size_t i = 0; i < w->parts_len; i++) {
        const struct tok_part *const part = &w->parts[i];
        add_token(w, part->id, byte_offsets(w, p, part->begin, part->end), word);
        if (t->trims)
            part_spaces(t, w, p, part, &w->tokens[w->tokens_len - 1]);
    }
}

enum { OWN_WORDS = -1 }; /* the tokenizer finds the words */

static void tokenize(const struct om_tokenizer *t, struct tok_work *w, om_sv text, int64_t word)
{
    tok_work_text(w, text);
    tok_added_split(&t->added, &t->normalizer, w);
    tok_pre_tokenize(&t->pre_tokenizer, w);
    for (size_t i = 0; i < w->pieces_len && w->rc == 0; i++) {
        const struct tok_piece *const p = &w->pieces[i];
        const size_t number = word == OWN_WORDS ? i : (size_t)word;
        if (p->token != TOK_NONE) {
            add_added(t, w, p, number);
            continue;
        }
        tok_model_run(&t->model, w, tok_piece_text(w, p));
        add_parts(t, w, p, number);
    }
}

/* ---- one text or pair ---- */

struct job {
    const struct om_tokenizer *tok;
    const struct om_truncation *truncation;
    const struct om_padding *padding;
    bool special;
};

static int job_init(const struct om_tokenizer *tok, const struct om_encode_opts *opts,
                    struct job *job, struct om_error *err)
{
    static const struct om_encode_opts defaults = OM_ENCODE_OPTS_INIT;
    const struct om_encode_opts *const o = opts ? opts : &defaults;

    if (o->struct_size != sizeof(*o))
        return om_fail(err, OM_E_USAGE, "om_encode_opts: initialise it with OM_ENCODE_OPTS_INIT");
    *job = (struct job){ .tok = tok,
                         .truncation =
                             o->own_truncation ? om_tokenizer_truncation(tok) : o->truncation,
                         .padding = o->own_padding ? om_tokenizer_padding(tok) : o->padding,
                         .special = !o->no_special_tokens };
    const struct om_truncation *const t = o->own_truncation ? NULL : o->truncation;
    const size_t added = tok_post_added(&tok->post_processor, false);
    if (t && t->max_length >= added && t->max_length - added < t->stride)
        return om_fail(
            err, OM_E_USAGE,
            "truncation to %zu tokens, %zu of them special, has no room for a stride of %zu",
            t->max_length, added, t->stride);
    return 0;
}

static int finish(const struct job *job, struct tok_work *w, size_t first_len, bool pair,
                  const struct om_padding *padding, struct om_encoding **out)
{
    const struct om_tokenizer *const t = job->tok;
    struct tok_enc texts[2] = { tok_enc_new(w, w->tokens, first_len, 0) };
    struct tok_encs encs = { texts, pair ? 2 : 1 };
    struct tok_enc all = { .overflow = NULL };

    if (pair)
        texts[1] = tok_enc_new(w, w->tokens + first_len, w->tokens_len - first_len, 1);
    if (w->rc == 0 && job->truncation)
        tok_truncate(w, &encs, job->truncation,
                     job->special ? tok_post_added(&t->post_processor, pair) : 0);
    if (w->rc == 0)
        all = tok_post_process(&t->post_processor, w, &encs, job->special);
    return w->rc < 0 ? w->rc : tok_post_write(&all, padding, out, w->err);
}

/* A text, or the words of one. */
struct input {
    const struct om_text *texts;
    size_t len;
    bool words;
};

static void tokenize_input(const struct om_tokenizer *t, struct tok_work *w, const struct input *in)
{
    for (size_t i = 0; i < in->len && w->rc == 0; i++)
        tokenize(t, w, (om_sv){ in->texts[i].ptr, in->texts[i].len },
                 in->words ? (int64_t)i : OWN_WORDS);
}

static int encode(const struct job *job, const struct input *text, const struct input *pair,
                  const struct om_padding *padding, struct om_encoding **out, struct om_error *err)
{
    struct tok_work *const w = tok_work_take(job->tok);
    size_t first_len;
    int rc;

    if (!w)
        return om_fail(err, OM_E_NOMEM, "out of memory for a text");
    tok_work_start(w, err);
    tokenize_input(job->tok, w, text);
    first_len = w->tokens_len;
    if (pair)
        tokenize_input(job->tok, w, pair);
    rc = w->rc < 0 ? w->rc : finish(job, w, first_len, pair != NULL, padding, out);
    tok_work_give(job->tok, w);
    return rc;
}

static int encode_text(const struct job *job, const struct om_text *text,
                       const struct om_text *pair, const struct om_padding *padding,
                       struct om_encoding **out, struct om_error *err)
{
    const struct input first = { text, 1, false }, second = { pair, 1, false };

    return encode(job, &first, pair ? &second : NULL, padding, out, err);
}

int om_tokenizer_encode(const struct om_tokenizer *tok, const struct om_text *text,
                        const struct om_text *pair, const struct om_encode_opts *opts,
                        struct om_encoding **out, struct om_error *err)
{
    struct job job = { .tok = tok };

    OM_TRY(job_init(tok, opts, &job, err));
    return encode_text(&job, text, pair, job.padding, out, err);
}

int om_tokenizer_encode_words(const struct om_tokenizer *tok, const struct om_text *words, size_t n,
                              const struct om_text *pair, size_t pair_n,
                              const struct om_encode_opts *opts, struct om_encoding **out,
                              struct om_error *err)
{
    const struct input first = { words, n, true }, second = { pair, pair_n, true };
    struct job job = { .tok = tok };

    if (n > INT32_MAX || pair_n > INT32_MAX)
        return om_fail(err, OM_E_LIMIT, "%zu words, expected at most %d", OM_MAX(n, pair_n),
                       INT32_MAX);
    OM_TRY(job_init(tok, opts, &job, err));
    return encode(&job, &first, pair ? &second : NULL, job.padding, out, err);
}

/* ---- batches ---- */

struct batch {
    const struct job *job;
    const struct om_text *texts, *pairs;
    struct om_encoding **out;
    struct om_error *errors; /* one for each text */
};

static void encode_range(void *user, size_t begin, size_t end)
{
    const struct batch *const b = user;

    for (size_t i = begin; i < end; i++) {
        const struct om_text *const pair = b->pairs && b->pairs[i].ptr ? &b->pairs[i] : NULL;
        encode_text(b->job, &b->texts[i], pair, NULL, &b->out[i], &b->errors[i]);
    }
}

static int pad_batch(const struct batch *b, size_t n, const struct om_padding *p,
                     struct om_error *err)
{
    size_t target = p->length;
    int rc = 0;

    for (size_t i = 0; i < n && p->length == 0; i++)
        target = OM_MAX(target, b->out[i]->len);
    if (p->multiple_of && target % p->multiple_of)
        target += p->multiple_of - target % p->multiple_of;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = om_encoding_pad(&b->out[i], target, p, err);
    return rc;
}

/* The first failure, in the order of the texts. */
static int batch_result(const struct batch *b, size_t n, struct om_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (b->errors[i].code < 0)
            return om_fail(err, b->errors[i].code, "text %zu: %s", i, om_error_text(&b->errors[i]));
    return 0;
}

int om_tokenizer_encode_batch(const struct om_tokenizer *tok, const struct om_text *texts,
                              const struct om_text *pairs, size_t n,
                              const struct om_encode_opts *opts, struct om_encoding **out,
                              struct om_error *err)
{
    struct job job = { .tok = tok };
    int rc;

    OM_TRY(job_init(tok, opts, &job, err));
    struct batch b = { &job, texts, pairs, out, calloc(n ? n : 1, sizeof(*b.errors)) };
    if (!b.errors)
        return om_fail(err, OM_E_NOMEM, "out of memory for %zu texts", n);
    for (size_t i = 0; i < n; i++)
        out[i] = NULL;
    om_parallel(n, 1, encode_range, &b);
    rc = batch_result(&b, n, err);
    if (rc == 0 && job.padding)
        rc = pad_batch(&b, n, job.padding, err);
    for (size_t i = 0; i < n; i++) {
        om_error_release(&b.errors[i]);
        if (rc < 0) {
            om_encoding_free(out[i]);
            out[i] = NULL;
        }
    }
    free(b.errors);
    return rc;
}

/* ---- decoding ---- */

/* Ids whose text is that of a special token are skipped, whether or not it is the token's id:
 * a vocabulary may have a text twice. */
static bool skipped(const struct om_tokenizer *tok, om_sv text)
{
    const uint32_t i = tok_vocab_find(&tok->added.index, text);

    return i != TOK_NONE && tok->added.tokens[i].special;
}

static void collect(const struct om_tokenizer *tok, const uint32_t *ids, size_t n, bool skip,
                    struct tok_strings *s)
{
    for (size_t i = 0; i < n; i++) {
        const om_sv text = tok_text_of(tok, ids[i]);
        if (!text.ptr || (skip && skipped(tok, text)))
            continue;
        if (text.len)
            om_buf_add(&s->text, text.ptr, text.len);
        tok_strings_end(s);
    }
}

static int decode(const struct om_tokenizer *tok, struct tok_strings *s,
                  const struct om_decode_opts *o, struct om_buf *out, struct om_error *err)
{
    struct om_buf text = OM_BUF_INIT(SIZE_MAX / 2);
    struct tok_work *const w = tok_work_take(tok);
    int rc;

    if (!w)
        return om_fail(err, OM_E_NOMEM, "out of memory for a text");
    tok_work_start(w, err);
    rc = tok_decode(&tok->decoder, w, s, o->clean_up_spaces ? &text : out);
    if (rc == 0 && o->clean_up_spaces)
        tok_clean_up(om_buf_sv(&text), false, out);
    om_buf_release(&text);
    tok_work_give(tok, w);
    return rc;
}

/* Decode *s, which is released, into a malloc'ed text. */
static int decode_text(const struct om_tokenizer *tok, struct tok_strings *s,
                       const struct om_decode_opts *o, char **text, size_t *len,
                       struct om_error *err)
{
    struct om_buf out = OM_BUF_INIT(SIZE_MAX / 2);
    int rc = decode(tok, s, o, &out, err);

    tok_strings_release(s);
    om_buf_adds(&out, ""); /* there is a NUL even when nothing was written */
    if (rc == 0)
        rc = om_buf_check(&out, err);
    if (rc < 0) {
        om_buf_release(&out);
        return rc;
    }
    if (len)
        *len = out.len;
    *text = out.ptr;
    return 0;
}

int om_tokenizer_decode(const struct om_tokenizer *tok, const uint32_t *ids, size_t n,
                        const struct om_decode_opts *opts, char **text, size_t *len,
                        struct om_error *err)
{
    static const struct om_decode_opts defaults = OM_DECODE_OPTS_INIT;
    const struct om_decode_opts *const o = opts ? opts : &defaults;
    struct tok_strings s = TOK_STRINGS_INIT;

    if (o->struct_size != sizeof(*o))
        return om_fail(err, OM_E_USAGE, "om_decode_opts: initialise it with OM_DECODE_OPTS_INIT");
    collect(tok, ids, n, o->skip_special_tokens, &s);
    return decode_text(tok, &s, o, text, len, err);
}

int om_tokenizer_join(const struct om_tokenizer *tok, const struct om_text *tokens, size_t n,
                      char **text, size_t *len, struct om_error *err)
{
    static const struct om_decode_opts defaults = OM_DECODE_OPTS_INIT;
    struct tok_strings s = TOK_STRINGS_INIT;

    for (size_t i = 0; i < n; i++) {
        if (tokens[i].len)
            om_buf_add(&s.text, tokens[i].ptr, tokens[i].len);
        tok_strings_end(&s);
    }
    return decode_text(tok, &s, &defaults, text, len, err);
}
