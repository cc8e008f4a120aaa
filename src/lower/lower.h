/* src/lower/lower.h: from the high-level graph to operators of one ONNX opset.
 *
 * Each rule is a row (operator, first opset, predicate, function); the first row that fits wins, so
 * a new opset is new rows. Operators without a row are copied. Lowering also decides the layout:
 * Linear layers work on activations that are flattened to [rows, features], and the Reshape moves
 * through every row-wise operator (norms, activations, residual sums), so that it remains only
 * where attention needs heads. */
#ifndef OM_LOWER_H
#define OM_LOWER_H

#include <optimum/export.h>

#include "ir/graph.h"

#define OM_OPSET_MIN 14
#define OM_OPSET_MAX 23
#define OM_OPSET_DEFAULT 18

enum om_lower_target {
    OM_LOWER_ONNX, /* operators of ONNX */
    /* Decoders attend with GroupQueryAttention of com.microsoft, which takes past and present keys
     * in one buffer: nothing else reads them, and no extent comes from their axes. */
    OM_LOWER_GROUPED,
    /* Encoders and encoder-decoders attend with Attention or MultiHeadAttention of com.microsoft.
     */
    OM_LOWER_FUSED
};

/* What fused attention gets of a mask of tokens. */
enum om_lower_mask {
    OM_LOWER_MASK_TOKENS,  /* the mask itself */
    OM_LOWER_MASK_LENGTHS, /* how many tokens each text has: padding is behind them */
    OM_LOWER_MASK_NONE     /* nothing: there is no padding */
};

struct om_lower_opts {
    int opset; /* 0: OM_OPSET_DEFAULT */
    enum om_linear_form linear;
    enum om_lower_target target;
    /* of OM_LOWER_FUSED: */
    bool multi_head; /* MultiHeadAttention also where Attention would do */
    bool
        keep_axes; /* where attention is fused, linear layers are a MatMul and an Add on all axes */
    enum om_lower_mask mask;
};

/* A new finished graph in g's arena. It shares g's dims, so g is freed after it. Ports, their names
 * and axes are kept. Operators have the form of ops.def also where older opsets write an input as
 * an attribute (axes of ReduceX): that is up to the writer. */
int om_lower(const struct om_graph *g, const struct om_lower_opts *opts, struct om_graph **out,
             struct om_error *err);

#endif
