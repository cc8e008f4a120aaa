/* tests/fuzz/fuzz_tok_json.c: any bytes either are a tokenizer that encodes and decodes within
 * bounds, or give a message. */
#include "fuzz.h"
#include "tok/tok.h"

static void check_window(const struct om_encoding *e, const struct om_text *text,
                         const struct om_text *pair)
{
    const size_t longest = text->len > pair->len ? text->len : pair->len;

    for (size_t i = 0; i < e->len; i++) {
        FUZZ_CHECK(e->sequence_ids[i] >= -1 && e->word_ids[i] >= -1);
        FUZZ_CHECK(e->attention_mask[i] <= 1 && e->special_tokens_mask[i] <= 1);
        /* Offsets stay in the text but for parts that models add to it: a byte of a suffix, white
         * space that is trimmed. */
        FUZZ_CHECK(e->byte_offsets[i].begin <= longest * 64 + 4096 &&
                   e->offsets[i].begin <= longest * 64 + 4096);
    }
}

static void use(const struct om_tokenizer *tok)
{
    static const char first[] = "a <s>The 12 caf\xC3\xA9s e\xCC\x81 \xE4\xBB\x8A\xE5\xA4\xA9 "
                                "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x9A\x92\n";
    static const char second[] = "b\xFF\xC3 \x00[X]";
    const struct om_text text = { first, sizeof(first) - 1 }, pair = { second, sizeof(second) - 1 };
    const struct om_truncation t = { .max_length = 9, .stride = 1, .direction = OM_SIDE_LEFT };
    struct om_encode_opts opts = OM_ENCODE_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct om_encoding *e = NULL;
    char *decoded;

    for (unsigned k = 0; k < 3; k++) {
        opts.truncation = k == 1 ? &t : NULL;
        if (om_tokenizer_encode(tok, &text, k ? &pair : NULL, &opts, &e, &err) < 0) {
            FUZZ_CHECK(om_error_text(&err)[0] != '\0');
            om_error_release(&err);
            continue;
        }
        check_window(e, &text, &pair);
        for (size_t i = 0; i < e->overflow_len; i++)
            check_window(&e->overflow[i], &text, &pair);
        if (om_tokenizer_decode(tok, e->ids, e->len, NULL, &decoded, NULL, &err) == 0)
            free(decoded);
        om_error_release(&err);
        om_encoding_free(e);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok = NULL;

    if (tok_open_text((om_sv){ (const char *)copy, size }, &tok, &err) < 0)
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
    else
        use(tok);
    om_tokenizer_free(tok);
    om_error_release(&err);
    free(copy);
    return 0;
}
