/* src/lower/internal.h: what the rules of lowering share.
 *
 * Every value of the old graph may exist in the new one in two forms: as it is (N-D), and flat, a
 * matrix of [product of the leading axes, last axis]. A form is made when somebody asks for it. */
#ifndef OM_LOWER_INTERNAL_H
#define OM_LOWER_INTERNAL_H

#include "ir/memo.h"
#include "ir/rewrite.h"
#include "lower/lower.h"

/* Of one value of the old graph; its N-D form is in rw.map. */
struct lo_twin {
    om_val flat;
    om_val source;   /* has the same elements in the same order, in another shape (a Reshape not yet
                        made) */
    om_val target;   /* the shape to make of source; {0}: from the value's dims */
    om_sv scope;     /* of the Reshape */
    om_val merged;   /* of heads [batch, heads, rows, size]: [batch, rows, heads * size] */
    uint32_t uses;   /* by nodes and outputs of the old graph */
    bool wants_flat; /* a consumer works on rows */
    bool looked_up;  /* of a weight: read by something else than linear layers */
};

/* A value of the new graph whose shape tells run-time extents. */
struct lo_source {
    om_val val;
    uint32_t block;
};

struct lower {
    struct om_rewrite rw; /* the first member: rules get back to their struct lower from it */
    const struct om_graph *g;
    struct om_graph *h;
    struct om_dims *d;
    int opset;
    enum om_linear_form linear;
    enum om_lower_target target;
    bool multi_head;
    enum om_lower_mask mask;
    struct lo_twin *twins; /* by value of g */
    om_sv scope;           /* of the node being lowered */
    bool flat;             /* its operands are taken, and its results given, in flat form */

    struct lo_source *sources; /* inputs first */
    size_t n_sources, cap_sources;

    struct om_memo memo; /* nodes that were emitted, so that equal ones are shared */
};

/* ---- emitting (emit.c) ---- */

/* Emit into the current block of h under the current scope, or give the equal node that is visible
 * there. An operator that does not know bfloat16 in this opset computes in float32. */
om_val lo_emit(struct lower *l, enum om_op op, const om_val *in, uint32_t n_in,
               const struct om_attr *attrs, uint32_t n_attrs);
void lo_emit_n(struct lower *l, enum om_op op, const om_val *in, uint32_t n_in,
               const struct om_attr *attrs, uint32_t n_attrs, om_val *out, uint32_t n_out);
#define LO_VALS(...) \
    (const om_val[]){ __VA_ARGS__ }, (uint32_t)(sizeof((om_val[]){ __VA_ARGS__ }) / sizeof(om_val))
#define LO(l, op, ...) lo_emit(l, OM_OP_##op, LO_VALS(__VA_ARGS__), NULL, 0)
/* With one attribute. */
#define LO1(l, op, attr, ...) \
    lo_emit(l, OM_OP_##op, LO_VALS(__VA_ARGS__), (const struct om_attr[]){ attr }, 1)
#define LO_INT(key, v)                               \
    {                                                \
        .name = (key), .kind = OM_ATTR_INT, .i = (v) \
    }
#define LO_FLOAT(key, v)                               \
    {                                                  \
        .name = (key), .kind = OM_ATTR_FLOAT, .f = (v) \
    }
#define LO_INTS(key, v, count)                                                   \
    {                                                                            \
        .name = (key), .kind = OM_ATTR_INTS, .ints = (v), .n = (uint32_t)(count) \
    }

/* Most operators know bfloat16 since opset 13, or since there is the operator; some came later. */
bool lo_knows_bf16(const struct lower *l, enum om_op op);

om_val lo_scalar(struct lower *l, enum om_dtype dtype,
                 double v); /* rank 0, of a float or integer type */
om_val lo_i64s(struct lower *l, const int64_t *v, size_t n);    /* 1-D */
om_val lo_i64(struct lower *l, int64_t v);                      /* 1-D with one element */
om_val lo_cast(struct lower *l, om_val x, enum om_dtype dtype); /* x itself when it has the dtype */
om_val lo_transpose(struct lower *l, om_val x, const int64_t *perm, size_t n);
om_val lo_unsqueeze(struct lower *l, om_val x, int64_t axis);
/* Parts of x along an axis. */
void lo_split_axis(struct lower *l, om_val x, int64_t axis, const int64_t *sizes, uint32_t n,
                   om_val *out);
/* ReduceX over the last n axes, which stay with one element. */
om_val lo_reduce_last(struct lower *l, enum om_op op, om_val x, uint32_t n);

/* ---- facts about the old node ---- */

const struct om_value *lo_old(const struct lower *l, om_val v);
const struct om_value *lo_new(const struct lower *l, om_val v);
bool lo_has(const struct om_node *n, uint32_t i); /* input i is given */
bool lo_const_dim(const struct lower *l, om_dim d, int64_t *v);
bool lo_attr_is(const struct om_node *n, const char *name, const char *text, const char *def);
/* The constant contents of an integer input as the old graph knows them. false: not constant. */
bool lo_const_ints(const struct lower *l, om_val v, int64_t *out, uint32_t max, uint32_t *n);

/* ---- layout (layout.c) ---- */

int lo_layout_init(struct lower *l, struct om_error *err);
bool lo_layout_flat(const struct lower *l, const struct om_node *n); /* lower n on rows? */
om_val lo_nd(struct lower *l, om_val v);
om_val lo_flat(struct lower *l, om_val v);
/* Input i in the form that the node is lowered in: operands of rank 0 and 1 stay as they are. */
om_val lo_in(struct lower *l, const struct om_node *n, uint32_t i);
void lo_set(struct lower *l, const struct om_node *n, uint32_t i, om_val made);
/* Output 0 is x, a value of the old graph, in another shape. target: {0}, or a shape of constants
 * without 0. */
void lo_set_reshaped(struct lower *l, const struct om_node *n, om_val x, om_val target);
/* Output 0 is x, a value of the old graph. */
void lo_set_alias(struct lower *l, const struct om_node *n, om_val x);
/* x in the shape dims: x itself, an Unsqueeze or Squeeze where only axes of one element come or go,
 * else a Reshape. */
om_val lo_reshape(struct lower *l, om_val x, const om_dim *dims, uint32_t rank);

/* ---- run-time extents (dims.c) ---- */

int lo_dims_init(struct lower *l, struct om_error *err);
/* Axes of output values whose extents no input tells. */
void lo_dims_note(struct lower *l, const struct om_node *n);
/* dims as a 1-D int64 tensor. */
om_val lo_dims(struct lower *l, const om_dim *dims, uint32_t n);
/* The same as the target of a Reshape of x, where -1 may take the place of the extent that is
 * dearest to compute. allow_zero: an extent may be 0 that is no axis of x, and 0 must not stand for
 * that axis. */
om_val lo_dims_reshape(struct lower *l, const struct om_value *x, const om_dim *dims, uint32_t n,
                       bool *allow_zero);

/* ---- shared by rules ---- */

/* y [batch, rows, heads * size] is what n's heads attended to; who wants them apart splits them. */
void lo_set_merged(struct lower *l, const struct om_node *n, om_val y);
/* The product of a linear layer, without scale and bias, on all axes. */
om_val lo_linear_product(struct lower *l, const struct om_node *n);

/* ---- rules ---- */

typedef void lo_rule_fn(struct lower *l, const struct om_node *n);
typedef bool lo_fits_fn(const struct lower *l, const struct om_node *n);

lo_rule_fn lo_copy; /* the same operator */
lo_rule_fn lo_linear_gemm, lo_linear_matmul;
lo_rule_fn lo_gelu_erf, lo_gelu_tanh, lo_mish, lo_swish;
lo_rule_fn lo_layer_norm, lo_rms_norm;
lo_rule_fn lo_attention, lo_grouped_attention, lo_fused_attention, lo_merge_heads;
lo_rule_fn lo_rotary;
lo_rule_fn lo_reduce_nothing, lo_split, lo_shape_14, lo_reshape_rule, lo_axes_rule;
lo_fits_fn lo_fits_gemm, lo_fits_gelu_tanh, lo_fits_rotary_23, lo_fits_attention_23,
    lo_fits_rms_norm_23, lo_fits_reduce_nothing, lo_fits_grouped, lo_fits_merged,
    lo_fits_fused;

#endif
