/* src/quant/codes.c: the nearest of sixteen reals, by the thresholds of bitsandbytes. */
#include "quant/codes.h"

#include <math.h>

#include "base/codes.h"

/* Half-way between neighbours: above limits[i] the number is i + 1 at least. */
static const float nf4_limits[15] = {
    -0.8480964004993439f,  -0.6106329262256622f,  -0.4599952697753906f,   -0.33967943489551544f,
    -0.23460740596055984f, -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f,
    0.1202552504837513f,   0.2035212516784668f,   0.2920137718319893f,    0.3893125355243683f,
    0.5016634166240692f,   0.6427869200706482f,   0.8614784181118011f
};
/* Of magnitudes; order[i] is the number of the i-th one. */
static const float fp4_limits[7] = { 0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f,
                                     0.4166667f,  0.583333f,  0.8333333f };
static const uint8_t fp4_order[8] = { 0, 1, 6, 7, 4, 5, 2, 3 };

static unsigned above(const float *limits, unsigned n, float x)
{
    unsigned count = 0;

    for (unsigned i = 0; i < n; i++)
        count += x > limits[i];
    return count;
}

static uint8_t nf4(float x)
{
    return (uint8_t)above(nf4_limits, OM_COUNT(nf4_limits), x);
}

static uint8_t fp4(float x)
{
    const uint8_t number = fp4_order[above(fp4_limits, OM_COUNT(fp4_limits), fabsf(x))];

    return x < 0.0f ? number | 8 : number;
}

float om_codes_block(int codes, const float *x, size_t n, uint8_t *packed)
{
    uint8_t (*const number)(float) = codes == OM_CODES_NF4 ? nf4 : fp4;
    float most = 0.0f, inverse;

    for (size_t i = 0; i < n; i++)
        most = fabsf(x[i]) > most || isnan(x[i]) ? fabsf(x[i]) : most; /* NaN stays */
    inverse = most > 0.0f ? 1.0f / most : 0.0f;
    for (size_t i = 0; i < n; i += 2) {
        const float second = i + 1 < n ? x[i + 1] * inverse : 0.0f;

        packed[i / 2] = (uint8_t)(number(x[i] * inverse) << 4 | number(second));
    }
    return most;
}

void om_codes_note(struct om_affine_error *e, int codes, const float *x, size_t n, float scale,
                   const uint8_t *packed)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned number = i % 2 == 0 ? packed[i / 2] >> 4 : packed[i / 2] & 15u;
        const double d = (double)x[i] - (double)(om_codes[codes][number] * scale);

        e->max = OM_MAX(e->max, fabs(d));
        e->error += d * d;
        e->total += (double)x[i] * (double)x[i];
    }
}
