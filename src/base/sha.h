/* src/base/sha.h: SHA-256 and SHA-1 of bytes that come in pieces (FIPS 180-4).
 *
 * SHA-256 proves what was downloaded. SHA-1 is here because git names its blobs with it; it proves
 * nothing against an attacker. */
#ifndef OM_SHA_H
#define OM_SHA_H

#include "base/base.h"

enum om_sha_kind { OM_SHA1, OM_SHA256 };
enum { OM_SHA_MAX = 32, OM_SHA_HEX_MAX = 2 * OM_SHA_MAX + 1 };

struct om_sha {
    enum om_sha_kind kind;
    uint32_t h[8];
    uint64_t len;      /* bytes so far */
    uint8_t block[64]; /* the last len % 64 of them */
};

void om_sha_init(struct om_sha *s, enum om_sha_kind kind);
void om_sha_add(struct om_sha *s, const void *data, size_t len);
/* The digest in lower-case hexadecimal (40 or 64 digits) with a NUL. s is used up. */
void om_sha_hex(struct om_sha *s, char hex[OM_SHA_HEX_MAX]);

#endif
