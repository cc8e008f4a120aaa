/* tests/unit/t_sha.c: digests against the examples of FIPS 180-4 and what other implementations
 * give. */
#include "base/sha.h"
#include "test.h"

#include <stdlib.h>

static void digest(enum om_sha_kind kind, const char *text, size_t len, size_t piece,
                   char hex[OM_SHA_HEX_MAX])
{
    struct om_sha s;

    om_sha_init(&s, kind);
    for (size_t at = 0; at < len; at += piece)
        om_sha_add(&s, text + at, OM_MIN(piece, len - at));
    om_sha_hex(&s, hex);
}

static void vectors(struct test *t)
{
    static const struct {
        const char *text, *sha256, *sha1;
    } cases[] = {
        { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
          "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
        { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
          "a9993e364706816aba3e25717850c26c9cd0d89d" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
          "84983e441c3bd26ebaae4aa1f95129e5e54670f1" },
    };
    char hex[OM_SHA_HEX_MAX];

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "\"%s\"", cases[i].text);
        digest(OM_SHA256, cases[i].text, strlen(cases[i].text), 64, hex);
        CHECK_STR(t, hex, cases[i].sha256);
        digest(OM_SHA1, cases[i].text, strlen(cases[i].text), 64, hex);
        CHECK_STR(t, hex, cases[i].sha1);
    }
}

static void million(struct test *t)
{
    const size_t len = 1000000;
    char *text = malloc(len), hex[OM_SHA_HEX_MAX];

    CHECK(t, text != NULL);
    if (!text)
        return;
    memset(text, 'a', len);
    digest(OM_SHA256, text, len, 4096, hex);
    CHECK_STR(t, hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    digest(OM_SHA1, text, len, 4096, hex);
    CHECK_STR(t, hex, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    free(text);
}

/* The same digest however the bytes are cut, for every length around the block size. */
static void pieces(struct test *t)
{
    char text[200], whole[OM_SHA_HEX_MAX], cut[OM_SHA_HEX_MAX];

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 7);
    for (size_t len = 0; len <= sizeof(text); len++)
        for (size_t piece = 1; piece < 70; piece += 6) {
            test_case(t, "%zu bytes in pieces of %zu", len, piece);
            digest(OM_SHA256, text, len, sizeof(text), whole);
            digest(OM_SHA256, text, len, piece, cut);
            CHECK_STR(t, cut, whole);
        }
}

const struct test_entry t_sha[] = {
    { "vectors", vectors }, { "million", million }, { "pieces", pieces }, TEST_END
};
