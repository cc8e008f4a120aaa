/* src/ckpt/packed.h: linear layers that a checkpoint holds quantized, as GPTQ and AWQ save them:
 *
 *   GPTQ  qweight int32 [K * bits / 32, N], qzeros int32 [groups, N * bits / 32],
 *         scales [groups, N], g_idx int32 [K]; numbers of a word lie lowest bits first
 *   AWQ   qweight int32 [K, N / 8], qzeros int32 [groups, N / 8], scales [groups, N]; the eight
 *         4-bit numbers of a word are those of columns 0, 2, 4, 6, 1, 3, 5, 7
 *
 * A weight is (q - zero) * scale. In float32 the product is exact for scales of 16 bits. */
#ifndef OM_CKPT_PACKED_H
#define OM_CKPT_PACKED_H

#include "base/json.h"
#include "ckpt/ckpt.h"

enum om_packed_layout { OM_PACKED_GPTQ, OM_PACKED_AWQ };

/* quantization_config of config.json. */
struct om_packed_scheme {
    enum om_packed_layout layout;
    int64_t bits;         /* 4, of GPTQ also 8 */
    int64_t group_size;   /* -1: a column is one group */
    bool zeros_minus_one; /* the first format of GPTQ stores zero - 1 */
};

/* One layer. */
struct om_packed {
    om_sv name; /* of the weight: "model.layers.0.mlp.up_proj.weight" */
    const struct om_packed_scheme *scheme;
    const struct om_ckpt_tensor *qweight, *qzeros, *scales, *g_idx; /* g_idx: NULL, none */
    int64_t n, k, groups;
    int64_t group;           /* members of each group, the last one may have fewer */
    const int64_t *order;    /* input features sorted by group; NULL: they are */
    const int32_t *group_of; /* of an input feature; NULL: k / group */
    uint64_t offset;         /* of the dequantized weight, float32 [n, k], in values */
};

struct om_packed_set {
    struct om_packed_scheme scheme;
    struct om_packed *layers;
    size_t len;
    struct om_file values; /* the dequantized weights, computed when they are read */
    struct om_file_maker maker;
    bool mid_zeros; /* every zero point is the middle, 8 or 128 */
};

/* Read the quantization_config object q. Methods, formats and widths that are not read are refused
 * by name; the caller adds the path. */
int om_packed_scheme_read(const struct om_json *q, struct om_packed_scheme *s,
                          struct om_error *err);

/* The same for the object of an older tool's quantize_config.json, which is GPTQ and names no
 * method.
 */
int om_packed_gptq_read(const struct om_json *q, struct om_packed_scheme *s, struct om_error *err);

/* Does some tensor's name end in ".qweight"? */
bool om_packed_present(const struct om_ckpt *ck);

/* Find the quantized layers of ck. Their parts give way to NAME.weight tensors, float32 [N, K],
 * which lie nowhere: their file has a maker that dequantizes what is read. The arena owns the set.
 */
int om_packed_open(struct om_arena *a, struct om_ckpt *ck, const struct om_packed_scheme *s,
                   struct om_packed_set **out, struct om_error *err);

/* The layer whose weight has the byte at offset of file, NULL: none. */
const struct om_packed *om_packed_find(const struct om_packed_set *set, const struct om_file *file,
                                       uint64_t offset);

/* The numbers of output row n, input features k to k + count - 1; zero point and scale of row n in
 * a group. */
void om_packed_numbers(const struct om_packed *p, int64_t n, int64_t k, size_t count, uint8_t *q);
unsigned om_packed_zero(const struct om_packed *p, int64_t n, int64_t group);
float om_packed_scale(const struct om_packed *p, int64_t n, int64_t group);

#endif
