/* src/gen/random.c: xoshiro256** (Blackman, Vigna 2018), seeded by splitmix64. */
#include <math.h>

#include "gen/gen.h"

static uint64_t rotate(uint64_t x, unsigned k)
{
    return (x << k) | (x >> (64 - k));
}

void om_random_seed(struct om_random *r, uint64_t seed)
{
    for (size_t i = 0; i < OM_COUNT(r->s); i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15u;

        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        r->s[i] = z ^ (z >> 31);
    }
}

static uint64_t next(struct om_random *r)
{
    uint64_t *const s = r->s;
    const uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

double om_random_real(struct om_random *r)
{
    return (double)(next(r) >> 11) * 0x1p-53;
}

size_t om_random_pick(struct om_random *r, const float *scores, size_t n)
{
    float max = -INFINITY;
    double total = 0, left;
    size_t last = 0;

    for (size_t i = 0; i < n; i++)
        max = scores[i] > max ? scores[i] : max;
    for (size_t i = 0; i < n; i++)
        total += scores[i] > -INFINITY ? (double)expf(scores[i] - max) : 0;
    left = om_random_real(r) * total;
    for (size_t i = 0; i < n; i++) {
        if (!(scores[i] > -INFINITY))
            continue;
        last = i;
        left -= (double)expf(scores[i] - max);
        if (left < 0)
            return i;
    }
    return last; /* rounding left a crumb */
}
