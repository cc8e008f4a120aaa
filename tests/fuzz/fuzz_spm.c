/* tests/fuzz/fuzz_spm.c: any bytes either are a SentencePiece model whose texts lie within them, or give
 * a message. */
#include "fuzz.h"
#include "tok/spm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *const copy = fuzz_copy(data, size);
    struct om_arena a = OM_ARENA_INIT(16u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct tok_spm m;

    if (tok_spm_read(&a, (om_sv){ (const char *)copy, size }, &m, &err) < 0) {
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
    } else {
        for (size_t i = 0; i < m.len; i++)
            FUZZ_CHECK(om_utf8_valid(m.pieces[i].text));
        FUZZ_CHECK(m.len > 0 && m.charsmap.len <= size);
    }
    om_error_release(&err);
    om_arena_release(&a);
    free(copy);
    return 0;
}
