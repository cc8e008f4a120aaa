/* src/quant/blocks.h: weights in blocks of a few bits, as MatMulNBits of com.microsoft takes them:
 * B [N, blocks, bytes], scales [N, blocks], zero points [N, bytes]. */
#ifndef OM_QUANT_BLOCKS_H
#define OM_QUANT_BLOCKS_H

#include "ckpt/packed.h"
#include "quant/affine.h"
#include "quant/block.h"

/* A weight of N rows of K elements, or K rows of N (swapped). Blocks of integers end with a row, so
 * that the last of a row may be short; others run through the rows as one sequence. The parts are
 * written in this order, next to each other: the scales wait in memory meanwhile. */
struct om_blocks {
    struct om_doc_source packed, scales, zeros; /* what the document writes */
    struct om_weight weight;
    struct om_block_form form;
    size_t n, k;
    size_t blocks; /* in a row; of numbers that are not integers: in all */
    bool swapped;
    bool want_error;
    /* NULL: quantize. Else the rows are those of a quantized layer from first_row on, as they are,
     * its input features sorted by group. A group is one block or several whole ones. */
    const struct om_packed *layer;
    size_t first_row;
    float *scale;  /* while they wait; malloc */
    uint8_t *zero; /* packed; malloc */
    struct om_affine_error error;
};

void om_blocks_init(struct om_blocks *b, const struct om_weight *w, bool swapped,
                    struct om_block_form form);
void om_blocks_release(struct om_blocks *b); /* what waits */
/* Elements of the blocks for a quantized layer; 0: its groups do not fit blocks. */
int om_blocks_size_for(const struct om_packed_scheme *s);
size_t om_blocks_count(const struct om_blocks *b);      /* blocks in all: of scales */
size_t om_blocks_bytes(const struct om_blocks *b);      /* of packed */
size_t om_blocks_row_bytes(const struct om_blocks *b);  /* of packed, in one row of integers */
size_t om_blocks_zero_bytes(const struct om_blocks *b); /* of zeros, in one row */

#endif
