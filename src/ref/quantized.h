/* src/ref/quantized.h: numbers with a scale and a zero point; private to src/ref. */
#ifndef OM_REF_QUANTIZED_H
#define OM_REF_QUANTIZED_H

#include "ref/small.h"
#include "ref/tape.h"

/* Which scale an element has. */
struct ref_scales {
    const struct ref_tensor *scale, *zero; /* zero NULL: 0 */
    int64_t n, inner, block, blocks;       /* of the axis; n 1: one scale for all */
};

/* A quantized type and its range. */
struct ref_target {
    enum om_dtype dtype;
    const struct ref_small *small; /* NULL: dtype says it */
    double low, high;
};

int om_ref_quant_target(const struct ref_call *c, int32_t onnx, struct ref_target *t);
int32_t om_ref_quant_type(const struct ref_tensor *zero); /* of the numbers that it is zero for */

/* x quantized into a new tensor. */
int om_ref_quantize(const struct ref_call *c, const struct ref_tensor *x,
                    const struct ref_scales *s, const struct ref_target *t, struct ref_tensor *out);
/* (x - zero) * scale as float32. */
int om_ref_dequantize(const struct ref_call *c, const struct ref_tensor *x,
                      const struct ref_scales *s, struct ref_tensor *out);

#endif
