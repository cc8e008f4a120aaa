/* src/base/sha.c: SHA-256 and SHA-1 as FIPS 180-4 defines them. Symbols are the standard's. */
#include "base/sha.h"

static const uint32_t initial[][8] = {
    [OM_SHA1] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 },
    [OM_SHA256] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
                    0x1f83d9ab, 0x5be0cd19 },
};

static const size_t words_of[] = { [OM_SHA1] = 5, [OM_SHA256] = 8 };

/* Fractions of the cube roots of the first 64 primes. */
static const uint32_t k256[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotl(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static uint32_t rotr(uint32_t x, unsigned n)
{
    return rotl(x, 32 - n);
}

static uint32_t load_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* One round of 6.2.2. Instead of moving the eight variables along, the caller names them one place
 * further each time. */
static inline void round256(uint32_t a, uint32_t b, uint32_t c, uint32_t *d, uint32_t e, uint32_t f,
                            uint32_t g, uint32_t *h, uint32_t kw)
{
    const uint32_t sum1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25);
    const uint32_t sum0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22);
    const uint32_t ch = g ^ (e & (f ^ g));
    const uint32_t maj = (a & b) | (c & (a | b));
    const uint32_t t1 = *h + sum1 + ch + kw;

    *d += t1;
    *h = t1 + sum0 + maj;
}

/* 6.2.2 */
static void block256(uint32_t state[8], const uint8_t *p)
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    uint32_t w[64];

    for (size_t t = 0; t < 16; t++)
        w[t] = load_be32(p + 4 * t);
    for (size_t t = 16; t < 64; t++) {
        const uint32_t x = w[t - 15], y = w[t - 2];
        const uint32_t s0 = rotr(x, 7) ^ rotr(x, 18) ^ x >> 3;
        const uint32_t s1 = rotr(y, 17) ^ rotr(y, 19) ^ y >> 10;
        w[t] = s1 + w[t - 7] + s0 + w[t - 16];
    }
    for (size_t t = 0; t < 64; t += 8) {
        round256(a, b, c, &d, e, f, g, &h, k256[t] + w[t]);
        round256(h, a, b, &c, d, e, f, &g, k256[t + 1] + w[t + 1]);
        round256(g, h, a, &b, c, d, e, &f, k256[t + 2] + w[t + 2]);
        round256(f, g, h, &a, b, c, d, &e, k256[t + 3] + w[t + 3]);
        round256(e, f, g, &h, a, b, c, &d, k256[t + 4] + w[t + 4]);
        round256(d, e, f, &g, h, a, b, &c, k256[t + 5] + w[t + 5]);
        round256(c, d, e, &f, g, h, a, &b, k256[t + 6] + w[t + 6]);
        round256(b, c, d, &e, f, g, h, &a, k256[t + 7] + w[t + 7]);
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

/* 4.1.1 and 4.2.1: the function and the constant of 20 rounds each. */
static uint32_t mix1(size_t t, uint32_t b, uint32_t c, uint32_t d)
{
    if (t < 20)
        return ((b & c) ^ (~b & d)) + 0x5a827999;
    if (t < 40)
        return (b ^ c ^ d) + 0x6ed9eba1;
    if (t < 60)
        return ((b & c) ^ (b & d) ^ (c & d)) + 0x8f1bbcdc;
    return (b ^ c ^ d) + 0xca62c1d6;
}

/* 6.1.2 */
static void block1(uint32_t h[8], const uint8_t *p)
{
    uint32_t w[80], v[5];

    for (size_t t = 0; t < 16; t++)
        w[t] = load_be32(p + 4 * t);
    for (size_t t = 16; t < 80; t++)
        w[t] = rotl(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    memcpy(v, h, sizeof(v));
    for (size_t t = 0; t < 80; t++) {
        const uint32_t next = rotl(v[0], 5) + mix1(t, v[1], v[2], v[3]) + v[4] + w[t];

        memmove(v + 1, v, 4 * sizeof(*v));
        v[0] = next;
        v[2] = rotl(v[2], 30);
    }
    for (size_t i = 0; i < 5; i++)
        h[i] += v[i];
}

static void add_block(struct om_sha *s, const uint8_t *p)
{
    if (s->kind == OM_SHA256)
        block256(s->h, p);
    else
        block1(s->h, p);
}

void om_sha_init(struct om_sha *s, enum om_sha_kind kind)
{
    *s = (struct om_sha){ .kind = kind };
    memcpy(s->h, initial[kind], sizeof(s->h));
}

void om_sha_add(struct om_sha *s, const void *data, size_t len)
{
    const uint8_t *p = data;
    const size_t have = (size_t)(s->len % sizeof(s->block));

    s->len += len;
    if (have > 0) {
        const size_t now = OM_MIN(len, sizeof(s->block) - have);

        memcpy(s->block + have, p, now);
        p += now;
        len -= now;
        if (have + now < sizeof(s->block))
            return;
        add_block(s, s->block);
    }
    for (; len >= sizeof(s->block); p += sizeof(s->block), len -= sizeof(s->block))
        add_block(s, p);
    if (len > 0)
        memcpy(s->block, p, len);
}

void om_sha_hex(struct om_sha *s, char hex[OM_SHA_HEX_MAX])
{
    static const char digits[] = "0123456789abcdef";
    static const uint8_t padding[64] = { 0x80 };
    const uint64_t bits = s->len * 8;
    const size_t have = (size_t)(s->len % 64);
    uint8_t size[8];
    size_t n = 0;

    for (size_t i = 0; i < 8; i++)
        size[i] = (uint8_t)(bits >> (56 - 8 * i));
    om_sha_add(s, padding, have < 56 ? 56 - have : 120 - have);
    om_sha_add(s, size, sizeof(size));
    for (size_t i = 0; i < words_of[s->kind]; i++)
        for (int shift = 28; shift >= 0; shift -= 4)
            hex[n++] = digits[s->h[i] >> shift & 15];
    hex[n] = '\0';
}
