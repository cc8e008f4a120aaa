/* src/ref/small.h: element types of at most eight bits that have no enum om_dtype; private to
 * src/ref. A tensor of them holds one element in each int8 or uint8; reals are there as bits. */
#ifndef OM_REF_SMALL_H
#define OM_REF_SMALL_H

#include "ref/kernel.h"

struct ref_small {
    int32_t type; /* TensorProto.DataType */
    const char *name;
    enum om_dtype storage; /* OM_I8 or OM_U8 */
    uint8_t bits;
    bool real;
    /* Of reals: the bits of the mantissa, the exponent's bias, the largest value, and the patterns
     * of infinity and of NaN (-1: there is none). */
    int mantissa, bias;
    double max;
    int infinity, nan;
    bool no_minus_zero;
};
/* NULL: not one of them. */
const struct ref_small *om_ref_small(int32_t type);
bool om_ref_small_real(const struct ref_tensor *t); /* is t of small reals? */

double om_ref_small_get(const struct ref_small *s, uint8_t bits);
/* x as t's numbers in float32, or shared where they are integers. */
int om_ref_small_widen(struct ref_pool *pool, struct ref_tensor *out, const struct ref_tensor *t,
                       struct om_error *err);

/* How a number becomes one that fits. */
struct ref_small_how {
    bool saturate; /* what is too large becomes the largest number, else infinity or NaN */
    enum {
        REF_ROUND_NEAREST,
        REF_ROUND_UP,
        REF_ROUND_DOWN
    } round; /* of numbers without mantissa */
};
/* v rounded half to even. */
uint8_t om_ref_small_put(const struct ref_small *s, double v, struct ref_small_how how);
/* t's numbers in the type of s; integers lose the bits above. */
int om_ref_small_narrow(struct ref_pool *pool, struct ref_tensor *out, const struct ref_tensor *t,
                        const struct ref_small *s, struct ref_small_how how, struct om_error *err);

#endif
