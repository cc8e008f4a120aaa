/* src/quant/block.h: the arithmetic of blocks: a scale, a zero point and numbers of a few bits for
 * elements next to each other, by the formulas of ONNX Runtime's own tool, and a search that does
 * better. Results do not depend on the processor. */
#ifndef OM_QUANT_BLOCK_H
#define OM_QUANT_BLOCK_H

#include <optimum/quantize.h>

#include "base/base.h"

#define OM_BLOCK_MIN 16
#define OM_BLOCK_MAX 256
#define OM_BLOCK_PIECE 2048 /* elements that are quantized at once: whole blocks of every size */

struct om_block_form {
    int bits, size; /* 4 or 8; OM_BLOCK_MIN to OM_BLOCK_MAX, a power of two */
    bool symmetric;
    bool half; /* scales are float16 */
    enum om_quant_search search;
    enum om_quant_numbers numbers; /* not integers: bits 4, symmetric; codes.h */
};

/* Blocks next to each other, and what becomes of them. */
struct om_block_piece {
    size_t n; /* blocks */
    float x[OM_BLOCK_PIECE];
    float scale[OM_BLOCK_PIECE / OM_BLOCK_MIN];
    uint8_t zero[OM_BLOCK_PIECE / OM_BLOCK_MIN];
    uint8_t q[OM_BLOCK_PIECE]; /* one number an element */
};

/* Are all elements finite? The others are for those only. */
bool om_block_finite(const struct om_block_form *f, const struct om_block_piece *p);

/* Fill scale, zero and q. */
void om_block_quantize(const struct om_block_form *f, struct om_block_piece *p);

/* The numbers side by side, 4 bits each or 8: lowest bits first. */
void om_block_pack(const struct om_block_form *f, const struct om_block_piece *p, uint8_t *dst);

/* The differences that quantizing made, by lanes that are summed in the end. */
#define OM_BLOCK_LANES 32
struct om_block_error {
    double error[OM_BLOCK_LANES], total[OM_BLOCK_LANES]; /* squares: of the difference, of x */
    float max[OM_BLOCK_LANES];
};
void om_block_measure(const struct om_block_form *f, const struct om_block_piece *p,
                      struct om_block_error *e);

#endif
