/* src/pipe/coding.c: texts to encodings, with the arguments that Transformers' tokenizers take. */
#include "pipe/pipe.h"

#include <stdlib.h>

/* Longer than any model: the original takes it for "no limit". */
#define LIMIT_MAX ((uint64_t)1 << 60)

/* ---- arguments ---- */

int pipe_read_truncation(const struct pipe_reader *r, const struct om_json *v, void *coding)
{
    static const struct {
        const char *name;
        enum pipe_truncation value;
    } names[] = {
        { "longest_first", PIPE_TRUNCATE_LONGEST },
        { "only_first", PIPE_TRUNCATE_FIRST },
        { "only_second", PIPE_TRUNCATE_SECOND },
        { "do_not_truncate", PIPE_TRUNCATE_NO },
    };
    struct pipe_coding *const c = coding;
    om_sv name = { "", 0 };
    bool b;

    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    if (om_json_bool(v, &b)) {
        c->truncation = b ? PIPE_TRUNCATE_LONGEST : PIPE_TRUNCATE_NO;
        return 0;
    }
    om_json_str(v, &name);
    for (size_t i = 0; i < OM_COUNT(names); i++) {
        if (om_sv_is(name, names[i].name)) {
            c->truncation = names[i].value;
            return 0;
        }
    }
    return om_fail(r->err, OM_E_USAGE,
                   "expected true, false, \"longest_first\", \"only_first\", \"only_second\" or "
                   "\"do_not_truncate\"");
}

int pipe_read_padding(const struct pipe_reader *r, const struct om_json *v, void *coding)
{
    struct pipe_coding *const c = coding;
    om_sv name = { "", 0 };
    bool b;

    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    if (om_json_bool(v, &b)) {
        c->padding = b ? PIPE_PAD_LONGEST : PIPE_PAD_NO;
        return 0;
    }
    om_json_str(v, &name);
    if (om_sv_is(name, "longest"))
        c->padding = PIPE_PAD_LONGEST;
    else if (om_sv_is(name, "max_length"))
        c->padding = PIPE_PAD_MAX_LENGTH;
    else if (om_sv_is(name, "do_not_pad"))
        c->padding = PIPE_PAD_NO;
    else
        return om_fail(r->err, OM_E_USAGE,
                       "expected true, false, \"longest\", \"max_length\" or \"do_not_pad\"");
    return 0;
}

const struct pipe_param pipe_coding_params[] = {
    { .key = "truncation", .kind = PIPE_PARAM_OTHER, .read = pipe_read_truncation },
    { .key = "padding", .kind = PIPE_PARAM_OTHER, .read = pipe_read_padding },
    PIPE_PARAM(INT, struct pipe_coding, max_length, "max_length", .min = 1),
    PIPE_PARAM(INT, struct pipe_coding, multiple_of, "pad_to_multiple_of", .min = 1),
    PIPE_PARAM(INT, struct pipe_coding, stride, "stride", .min = 0),
    PIPE_PARAM(CHOICE, struct pipe_coding, add_special_tokens, "add_special_tokens"),
    { .key = NULL },
};

/* "tokenizer_kwargs" of fill-mask are also what its tokenizer is loaded with. */
static const struct pipe_param loading_params[] = {
    { .key = "model_max_length", .kind = PIPE_PARAM_IGNORED },
    { .key = "padding_side", .kind = PIPE_PARAM_IGNORED },
    { .key = "truncation_side", .kind = PIPE_PARAM_IGNORED },
    { .key = "pad_token", .kind = PIPE_PARAM_IGNORED },
    { .key = "model_input_names", .kind = PIPE_PARAM_IGNORED },
    { .key = NULL },
};

int pipe_read_coding(const struct pipe_reader *r, const struct om_json *v, void *coding)
{
    static const struct pipe_param *const tables[] = { pipe_coding_params, loading_params, NULL };

    return pipe_params_read(r, v, tables, NULL, coding);
}

void pipe_coding_set(struct pipe_coding *c, enum om_choice truncation, int64_t max_length)
{
    if (truncation != OM_UNSET)
        c->truncation = truncation == OM_YES ? PIPE_TRUNCATE_LONGEST : PIPE_TRUNCATE_NO;
    if (max_length > 0)
        c->max_length = max_length;
}

/* ---- what they come to ---- */

static enum om_truncation_strategy strategy(enum pipe_truncation t)
{
    switch (t) {
    case PIPE_TRUNCATE_FIRST:
        return OM_TRUNCATE_ONLY_FIRST;
    case PIPE_TRUNCATE_SECOND:
        return OM_TRUNCATE_ONLY_SECOND;
    case PIPE_TRUNCATE_UNSET:
    case PIPE_TRUNCATE_NO:
    case PIPE_TRUNCATE_LONGEST:
        break;
    }
    return OM_TRUNCATE_LONGEST_FIRST;
}

/* A length without anything else asks for truncation; truncation without a limit is none. */
bool pipe_resolve_truncation(const struct pipe_tokenizer *t, const struct pipe_coding *c,
                             struct om_truncation *out)
{
    const bool by_length =
        c->max_length > 0 && c->padding == PIPE_PAD_NO && c->truncation == PIPE_TRUNCATE_UNSET;
    const uint64_t limit = c->max_length > 0 ? (uint64_t)c->max_length : t->max_length;

    if (!by_length && (c->truncation == PIPE_TRUNCATE_UNSET || c->truncation == PIPE_TRUNCATE_NO))
        return false;
    if (limit > LIMIT_MAX)
        return false;
    *out = (struct om_truncation){ .max_length = (size_t)limit,
                                   .stride = (size_t)c->stride,
                                   .strategy = strategy(c->truncation),
                                   .direction = t->truncation_side };
    return true;
}

static size_t rounded_up(size_t length, int64_t multiple)
{
    const size_t m = multiple > 1 ? (size_t)multiple : 1;

    return length % m ? length + (m - length % m) : length;
}

/* Padding of a single text: to the longest of it and its windows, or to a length. Batches are
 * padded when they are run. */
static int pad(const struct pipe_tokenizer *t, const struct pipe_coding *c,
               struct om_encoding **enc, struct om_error *err)
{
    const struct om_padding p = { .direction = t->padding_side, .pad_id = t->pad.id };
    const uint64_t limit = c->max_length > 0 ? (uint64_t)c->max_length : t->max_length;
    size_t length = (*enc)->len;

    if (c->padding == PIPE_PAD_NO || (c->padding == PIPE_PAD_MAX_LENGTH && limit > LIMIT_MAX))
        return 0;
    if (!t->pad.known)
        return om_fail(err, OM_E_USAGE,
                       "padding was asked for, but the tokenizer has no padding token");
    if (c->padding == PIPE_PAD_MAX_LENGTH)
        length = OM_MAX(length, (size_t)limit);
    return om_encoding_pad(enc, rounded_up(length, c->multiple_of), &p, err);
}

/* ---- encoding ---- */

int pipe_item_add(struct pipe_item *item, struct om_encoding *enc, bool windows,
                  struct om_error *err)
{
    const size_t n = windows ? enc->overflow_len + 1 : 1;
    struct om_encoding **encs = realloc(item->encs, (item->n_encs + 1) * sizeof(*encs));
    struct pipe_window *w;

    if (encs)
        item->encs = encs;
    w = encs ? realloc(item->windows, (item->n_windows + n) * sizeof(*w)) : NULL;
    if (!w) {
        om_encoding_free(enc);
        return pipe_no_memory(err);
    }
    item->windows = w;
    item->encs[item->n_encs++] = enc;
    for (size_t i = 0; i < n; i++)
        item->windows[item->n_windows++] =
            (struct pipe_window){ .enc = i ? &enc->overflow[i - 1] : enc, .item = item };
    return 0;
}

int pipe_encode(const struct om_pipeline *p, struct pipe_item *item, const struct om_text *text,
                const struct om_text *pair, const struct pipe_coding *coding, bool windows,
                struct om_error *err)
{
    struct om_encode_opts o = OM_ENCODE_OPTS_INIT;
    struct om_truncation truncation;
    struct om_encoding *enc;
    int rc;

    o.no_special_tokens = coding->add_special_tokens == OM_NO;
    if (pipe_resolve_truncation(&p->t, coding, &truncation))
        o.truncation = &truncation;
    OM_TRY(om_tokenizer_encode(p->t.tok, text, pair, &o, &enc, err));
    rc = pad(&p->t, coding, &enc, err);
    if (rc < 0) {
        om_encoding_free(enc);
        return rc;
    }
    return pipe_item_add(item, enc, windows, err);
}
