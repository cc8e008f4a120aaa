/* src/base/codes.h: numbers of 4 bits that stand for sixteen reals between -1 and 1, as bitsandbytes
 * has them: NormalFloat4 (quantiles of the normal distribution; Dettmers et al., 2023) and a float
 * of 4 bits. The numbers are those of Bnb_DataType_t of ONNX Runtime. */
#ifndef OM_CODES_H
#define OM_CODES_H

enum { OM_CODES_FP4, OM_CODES_NF4, OM_CODES_COUNT };

extern const float om_codes[OM_CODES_COUNT][16];

#endif
