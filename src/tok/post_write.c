/* src/tok/post_write.c: windows as the arrays that the caller gets, in one block of memory, and
 * padding. */
#include <stdlib.h>

#include "tok/post.h"

/* Where one window's arrays begin; filled from the front. */
struct arrays {
    uint32_t *ids, *type_ids;
    uint8_t *attention, *special;
    struct om_offsets *offsets, *bytes;
    int32_t *words, *sequences;
};

enum { BYTES_PER_TOKEN = 4 * 4 + 2 * 8 + 2 };

static struct arrays arrays_at(char *block, size_t n)
{
    uint32_t *const u = (uint32_t *)(void *)block;

    return (struct arrays){
        .ids = u,
        .type_ids = u + n,
        .words = (int32_t *)(u + 2 * n),
        .sequences = (int32_t *)(u + 3 * n),
        .offsets = (struct om_offsets *)(u + 4 * n),
        .bytes = (struct om_offsets *)(u + 6 * n),
        .attention = (uint8_t *)(u + 8 * n),
        .special = (uint8_t *)(u + 8 * n) + n,
    };
}

static void set_encoding(struct om_encoding *e, const struct arrays *a, size_t n,
                         int32_t padding_sequence_id)
{
    *e = (struct om_encoding){
        .len = n,
        .ids = a->ids,
        .type_ids = a->type_ids,
        .attention_mask = a->attention,
        .special_tokens_mask = a->special,
        .offsets = a->offsets,
        .byte_offsets = a->bytes,
        .word_ids = a->words,
        .sequence_ids = a->sequences,
        .padding_sequence_id = padding_sequence_id,
    };
}

/* The bytes of a window's arrays, rounded up so that the next ones are aligned. */
static size_t block_size(size_t n)
{
    return (n * BYTES_PER_TOKEN + 7) & ~(size_t)7;
}

static size_t padded(size_t len, size_t target)
{
    return OM_MAX(len, target);
}

static void write_pads(const struct arrays *a, size_t from, size_t n, const struct om_padding *p,
                       int32_t sequence)
{
    for (size_t i = from; i < from + n; i++) {
        a->ids[i] = p->pad_id;
        a->type_ids[i] = p->pad_type_id;
        a->attention[i] = 0;
        a->special[i] = 1;
        a->offsets[i] = a->bytes[i] = (struct om_offsets){ 0, 0 };
        a->words[i] = -1;
        a->sequences[i] = sequence;
    }
}

static void write_segment(const struct arrays *a, size_t at, const struct tok_segment *s)
{
    for (size_t i = 0; i < s->len; i++, at++) {
        const struct tok_token *const t = s->tokens ? &s->tokens[i] : NULL;
        a->ids[at] = t ? t->id : s->ids[i];
        a->type_ids[at] = s->type_id;
        a->attention[at] = 1;
        a->special[at] = s->special;
        a->offsets[at] = t ? t->chars : (struct om_offsets){ 0, 0 };
        a->bytes[at] = t ? t->bytes : (struct om_offsets){ 0, 0 };
        a->words[at] = t ? t->word : -1;
        a->sequences[at] = -1;
    }
}

static const struct tok_range *find_range(const struct tok_window *v, uint32_t sequence)
{
    for (size_t i = 0; i < v->ranges_len; i++)
        if (v->ranges[i].sequence == sequence)
            return &v->ranges[i];
    return NULL;
}

/* As the library answers: of n ranges those of the texts 0 to n - 1 count, and a text without one
 * has everything, padding included. Returns what padding has. */
static int32_t write_sequences(const struct arrays *a, size_t at, const struct tok_window *v)
{
    const uint32_t n = v->ranges_len ? v->ranges_len : 1;
    int32_t padding = -1;

    for (uint32_t sequence = 0; sequence < n; sequence++) {
        const struct tok_range *const r = find_range(v, sequence);
        for (uint32_t i = r ? r->begin : 0; i < (r ? r->end : v->len) && i < v->len; i++)
            a->sequences[at + i] = (int32_t)sequence;
        if (!r)
            padding = (int32_t)sequence;
    }
    return padding;
}

static void write_window(const struct tok_window *v, size_t target, const struct om_padding *p,
                         char *block, struct om_encoding *out)
{
    const size_t n = padded(v->len, target), pads = n - v->len;
    const size_t start = p && p->direction == OM_SIDE_LEFT ? pads : 0;
    const struct arrays a = arrays_at(block, n);
    size_t at = start;

    for (size_t i = 0; i < v->segments_len; i++) {
        write_segment(&a, at, &v->segments[i]);
        at += v->segments[i].len;
    }
    const int32_t sequence = write_sequences(&a, start, v);
    if (pads)
        write_pads(&a, start ? 0 : v->len, pads, p, sequence);
    set_encoding(out, &a, n, sequence);
}

/* A length under padding: 0 for none. */
static size_t target_length(size_t len, const struct om_padding *p)
{
    if (!p)
        return 0;
    const size_t target = p->length ? p->length : len;
    const size_t over = p->multiple_of ? target % p->multiple_of : 0;
    return over ? target + p->multiple_of - over : target;
}

static int too_large(size_t windows, struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for an encoding of %zu windows", windows);
}

int tok_post_write(const struct tok_enc *e, const struct om_padding *padding,
                   struct om_encoding **out, struct om_error *err)
{
    const size_t target = target_length(e->main.len, padding), windows = 1 + e->overflow_len;
    size_t size = windows * sizeof(struct om_encoding);

    if (target > UINT32_MAX)
        return om_fail(err, OM_E_LIMIT, "padding to %zu tokens", target);
    const size_t head = size;
    for (size_t i = 0; i < windows; i++)
        if (!om_add_size(size, block_size(padded(i ? e->overflow[i - 1].len : e->main.len, target)),
                         &size))
            return too_large(windows, err);
    struct om_encoding *const enc = malloc(size);
    if (!enc)
        return too_large(windows, err);
    char *block = (char *)enc + head;
    for (size_t i = 0; i < windows; i++) {
        const struct tok_window *const v = i ? &e->overflow[i - 1] : &e->main;
        write_window(v, target, padding, block, &enc[i]);
        block += block_size(enc[i].len);
    }
    enc->overflow = enc + 1;
    enc->overflow_len = e->overflow_len;
    *out = enc;
    return 0;
}

/* ---- padding later ---- */

static void copy_padded(const struct om_encoding *e, size_t n, const struct om_padding *p,
                        char *block, struct om_encoding *out)
{
    const struct arrays a = arrays_at(block, n);
    const size_t pads = n - e->len, at = p->direction == OM_SIDE_LEFT ? pads : 0;

    if (e->len) {
        memcpy(a.ids + at, e->ids, e->len * sizeof(*a.ids));
        memcpy(a.type_ids + at, e->type_ids, e->len * sizeof(*a.type_ids));
        memcpy(a.attention + at, e->attention_mask, e->len);
        memcpy(a.special + at, e->special_tokens_mask, e->len);
        memcpy(a.offsets + at, e->offsets, e->len * sizeof(*a.offsets));
        memcpy(a.bytes + at, e->byte_offsets, e->len * sizeof(*a.bytes));
        memcpy(a.words + at, e->word_ids, e->len * sizeof(*a.words));
        memcpy(a.sequences + at, e->sequence_ids, e->len * sizeof(*a.sequences));
    }
    if (pads)
        write_pads(&a, at ? 0 : e->len, pads, p, e->padding_sequence_id);
    set_encoding(out, &a, n, e->padding_sequence_id);
}

int om_encoding_pad(struct om_encoding **enc, size_t length, const struct om_padding *padding,
                    struct om_error *err)
{
    const struct om_encoding *const old = *enc;
    const size_t windows = 1 + old->overflow_len;
    const size_t head = windows * sizeof(*old);
    size_t size = head;

    if (length > UINT32_MAX)
        return om_fail(err, OM_E_LIMIT, "padding to %zu tokens", length);
    for (size_t i = 0; i < windows; i++)
        if (!om_add_size(size, block_size(padded(i ? old->overflow[i - 1].len : old->len, length)),
                         &size))
            return too_large(windows, err);
    struct om_encoding *const out = malloc(size);
    if (!out)
        return too_large(windows, err);
    char *block = (char *)out + head;
    for (size_t i = 0; i < windows; i++) {
        const struct om_encoding *const e = i ? &old->overflow[i - 1] : old;
        copy_padded(e, padded(e->len, length), padding, block, &out[i]);
        block += block_size(out[i].len);
    }
    out->overflow = out + 1;
    out->overflow_len = old->overflow_len;
    om_encoding_free(*enc);
    *enc = out;
    return 0;
}

void om_encoding_free(struct om_encoding *enc)
{
    free(enc);
}
