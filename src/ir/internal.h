/* src/ir/internal.h: what the files of this module share. */
#ifndef OM_IR_INTERNAL_H
#define OM_IR_INTERNAL_H

#include "ir/graph.h"

/* Elements of a tensor up to which its contents are followed. */
#define OM_CONTENT_MAX 64

bool om_content_dtype(enum om_dtype dtype); /* contents are followed: int64, int32, bool */
int64_t om_content_load(const void *data, enum om_dtype dtype,
                        int64_t i); /* element i of such a tensor */

int om_check_arity(enum om_op op, uint32_t n_in, uint32_t n_out, struct om_error *err);
bool om_input_required(enum om_op op, uint32_t i);
bool om_block_sees(const struct om_graph *g, uint32_t block, om_val v); /* v may be used there */

/* ---- inference: one node being looked at (infer*.c) ---- */

struct om_inf {
    struct om_graph *g;
    const struct om_node *n;
    struct om_dims *d;
    struct om_error *err;
};

typedef int om_inf_fn(struct om_inf *c);

/* A shape being computed. */
struct om_shape {
    uint32_t rank;
    om_dim dims[OM_RANK_MAX];
};

/* Input i, or NULL when it is left out. The pointer is valid until a value is added. */
const struct om_value *om_inf_in(const struct om_inf *c, uint32_t i);

/* Set output i. The shape and the content are copied; a dim 0 (overflow or memory) is an error. */
int om_inf_set(struct om_inf *c, uint32_t i, enum om_dtype dtype, const struct om_shape *s);
int om_inf_content(struct om_inf *c, uint32_t i, const om_dim *content, size_t n);

struct om_shape om_inf_shape(const struct om_value *v);

/* Two extents that have to be equal; an unknown one is whatever the other is. 0: they differ. */
om_dim om_inf_merge(const struct om_inf *c, om_dim a, om_dim b);
/* The numpy broadcast of s with v, into s. */
int om_inf_broadcast(struct om_inf *c, struct om_shape *s, const struct om_value *v);
/* Whether v broadcasts into s without changing it; what names v in the message. */
int om_inf_broadcast_into(struct om_inf *c, const struct om_shape *s, const struct om_value *v,
                          const char *what);

/* An axis in [-rank, rank) as one in [0, rank). */
int om_inf_axis(struct om_inf *c, int64_t axis, uint32_t rank, uint32_t *out);

enum om_dtype_class { OM_CLASS_FLOAT = 1, OM_CLASS_INT = 2, OM_CLASS_BOOL = 4 };
#define OM_CLASS_NUMBER (OM_CLASS_FLOAT | OM_CLASS_INT)
#define OM_CLASS_ANY (OM_CLASS_NUMBER | OM_CLASS_BOOL)
int om_inf_class(struct om_inf *c, uint32_t i,
                 unsigned classes); /* input i is of one of the classes */
int om_inf_same_dtype(struct om_inf *c, uint32_t i, uint32_t j); /* both present inputs agree */

/* The 1-D (or scalar) int64/int32 input i as dims. 1: known, 0: not known (length gets the number
 * of elements, or UINT32_MAX), negative: it is something else. */
int om_inf_vector(struct om_inf *c, uint32_t i, const om_dim **content, uint32_t *length);
/* The same when every element has to be a constant (axes, sizes). */
int om_inf_ints(struct om_inf *c, uint32_t i, int64_t *out, uint32_t max, uint32_t *length);

bool om_inf_negative(const struct om_inf *c, om_dim a); /* below zero whatever the symbols are */
om_dim om_inf_product(const struct om_inf *c, const om_dim *dims, size_t n);
const char *om_inf_text(const struct om_inf *c, om_dim d);
const char *om_inf_shape_text(const struct om_inf *c, const om_dim *dims, size_t n);

/* The rules, by file. */
om_inf_fn om_inf_unary, om_inf_binary, om_inf_compare, om_inf_where, om_inf_cast, om_inf_clip,
    om_inf_pow;
om_inf_fn om_inf_reshape, om_inf_expand, om_inf_tile, om_inf_shape_op, om_inf_dims, om_inf_concat,
    om_inf_split, om_inf_slice, om_inf_gather, om_inf_gather_elements, om_inf_gather_nd,
    om_inf_transpose, om_inf_squeeze, om_inf_unsqueeze, om_inf_range, om_inf_constant_of_shape,
    om_inf_trilu;
om_inf_fn om_inf_reduce, om_inf_argmax, om_inf_cumsum, om_inf_softmax, om_inf_matmul, om_inf_gemm,
    om_inf_linear, om_inf_norm, om_inf_attention, om_inf_grouped_attention,
    om_inf_rotary, om_inf_if;
om_inf_fn om_inf_packed_attention, om_inf_multi_head_attention;

#endif
