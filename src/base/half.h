/* src/base/half.h: IEEE 754 binary16 and bfloat16 to and from binary32, rounding to nearest even. */
#ifndef OM_HALF_H
#define OM_HALF_H

#include "base/base.h"

float om_f16_to_f32(uint16_t h);
uint16_t om_f32_to_f16(float f); /* overflow gives infinity */
float om_bf16_to_f32(uint16_t h);
uint16_t om_f32_to_bf16(float f);

/* Convert n elements; dtypes are any of the float and integer types. Integer targets truncate toward zero as
 * C does; reals out of their range give the nearest end of it, NaN gives 0. To bool, non-zero is true. src
 * and dst may be unaligned but must not overlap. */
void om_convert(void *dst, enum om_dtype dst_dtype, const void *src, enum om_dtype src_dtype, size_t n);

#endif
