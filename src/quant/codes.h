/* src/quant/codes.h: blocks of weights as numbers of 4 bits that stand for sixteen reals, scaled by
 * the block's largest magnitude: MatMulBnb4 of com.microsoft. */
#ifndef OM_QUANT_CODES_H
#define OM_QUANT_CODES_H

#include "quant/affine.h"

/* n elements of one block by a table of base/codes.h: (n + 1) / 2 bytes, the first element in the
 * upper half. Gives the largest magnitude; not a finite number where an element is none. */
float om_codes_block(int codes, const float *x, size_t n, uint8_t *packed);
/* What the block's numbers are off by is added to e. */
void om_codes_note(struct om_affine_error *e, int codes, const float *x, size_t n, float scale,
                   const uint8_t *packed);

#endif
