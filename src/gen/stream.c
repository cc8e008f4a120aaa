/* src/gen/stream.c: tokens as they come, and text as soon as later tokens cannot change it: up to
 * the last blank, to the end of a line, or to a CJK character, which stand for words of their own.
 */
#include <stdlib.h>

#include "gen/gen.h"

#define TEXT_MAX ((size_t)1 << 30)

/* Tokens of a row since its last end of a line. */
struct row {
    uint32_t *ids;
    size_t len, cap;
    size_t said; /* bytes of their text that were given out */
};

struct om_stream {
    om_stream_fn *fn;
    void *user;
    const struct om_tokenizer *tok;
    struct om_decode_opts decode;
    struct row *rows;
    size_t n_rows;
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for a stream of tokens");
}

int om_stream_new(const struct om_plan *plan, const struct om_generate_opts *o,
                  struct om_stream **out, struct om_error *err)
{
    struct om_stream *s;

    *out = NULL;
    if (!o->stream)
        return 0;
    if (plan->c.num_beams > 1)
        return om_fail(err, OM_E_USAGE,
                       "a beam search has no tokens to stream before it ends: "
                       "num_beams must be 1");
    s = calloc(1, sizeof(*s));
    if (!s)
        return no_memory(err);
    s->fn = o->stream;
    s->user = o->stream_user;
    s->tok = o->tokenizer;
    s->decode = (struct om_decode_opts)OM_DECODE_OPTS_INIT;
    s->decode.skip_special_tokens = true;
    s->decode.clean_up_spaces =
        s->tok && om_tokenizer_get_info(s->tok)->clean_up_tokenization_spaces;
    if (o->stream_decode)
        memcpy(&s->decode, o->stream_decode,
               OM_MIN(o->stream_decode->struct_size, sizeof(s->decode)));
    s->n_rows = plan->batch * plan->width;
    s->rows = calloc(s->n_rows, sizeof(*s->rows));
    if (!s->rows) {
        om_stream_free(s);
        return no_memory(err);
    }
    *out = s;
    return 0;
}

void om_stream_free(struct om_stream *s)
{
    if (!s)
        return;
    for (size_t i = 0; s->rows && i < s->n_rows; i++)
        free(s->rows[i].ids);
    free(s->rows);
    free(s);
}

static bool is_cjk(uint32_t cp)
{
    static const struct {
        uint32_t first, last;
    } blocks[] = { { 0x4e00, 0x9fff },   { 0x3400, 0x4dbf },   { 0x20000, 0x2a6df },
                   { 0x2a700, 0x2b73f }, { 0x2b740, 0x2b81f }, { 0x2b820, 0x2ceaf },
                   { 0xf900, 0xfaff },   { 0x2f800, 0x2fa1f } };

    for (size_t i = 0; i < OM_COUNT(blocks); i++)
        if (cp >= blocks[i].first && cp <= blocks[i].last)
            return true;
    return false;
}

/* The last character of valid UTF-8. */
static uint32_t last_character(const char *text, size_t len)
{
    size_t at = len;
    uint32_t cp;

    while (at > 0 && len - at < 4 && ((unsigned char)text[--at] & 0xc0) == 0x80)
        ;
    cp = (unsigned char)text[at];
    if (len - at > 1)
        cp &= 0x7fu >> (len - at);
    for (size_t i = at + 1; i < len; i++)
        cp = cp << 6 | ((unsigned char)text[i] & 0x3fu);
    return cp;
}

/* How many bytes of the text are certain. */
static size_t certain(const char *text, size_t len, bool last)
{
    const char *blank;

    if (last || len == 0 || text[len - 1] == '\n' || is_cjk(last_character(text, len)))
        return len;
    blank = memrchr(text, ' ', len);
    return blank ? (size_t)(blank - text) + 1 : 0;
}

static int add_token(struct row *r, int64_t id, struct om_error *err)
{
    if (!om_grow(&r->ids, &r->cap, r->len + 1, sizeof(*r->ids)))
        return no_memory(err);
    r->ids[r->len++] = (uint32_t)id;
    return 0;
}

/* Give out what has become certain. */
static int put_text(struct om_stream *s, struct row *r, struct om_stream_piece *piece, bool *go_on,
                    struct om_error *err)
{
    char *text = NULL;
    size_t len = 0, end;

    OM_TRY(add_token(r, piece->id, err));
    OM_TRY(om_tokenizer_decode(s->tok, r->ids, r->len, &s->decode, &text, &len, err));
    end = certain(text, len, piece->last);
    end = OM_MAX(end, OM_MIN(r->said, len));
    piece->text_len = end - OM_MIN(r->said, len);
    text[end] = '\0';
    piece->text = text + end - piece->text_len;
    r->said = end;
    if (end == len && len && text[len - 1] == '\n') {
        r->len = 0;
        r->said = 0;
    }
    *go_on = s->fn(s->user, piece);
    free(text);
    return 0;
}

int om_stream_put(struct om_stream *s, size_t row, int64_t id, bool last, bool *go_on,
                  struct om_error *err)
{
    struct om_stream_piece piece = { .row = row, .id = id, .last = last };

    *go_on = true;
    if (!s)
        return 0;
    if (s->tok)
        return put_text(s, &s->rows[row], &piece, go_on, err);
    *go_on = s->fn(s->user, &piece);
    return 0;
}
