/* src/nn/nn.h: the building blocks (<optimum/nn.h>), and what of them stays inside the library: operators as numbers. */
#ifndef OM_NN_H
#define OM_NN_H

#include <optimum/nn.h>

#include "config/config.h"
#include "ir/graph.h"

struct om_ckpt;

/* The root of another checkpoint, which must outlive the graph (the Dense module of a sentence-transformers model).
 * In the graph its tensors are called "NAME.tensor", NAME being the last part of s.path. */
om_scope om_with_ckpt(om_scope s, const struct om_ckpt *ckpt);

/* Any operator: the invalid value when an input is one. Arrays of attributes are copied. */
om_val om_emit(om_scope s, enum om_op op, const om_val *in, uint32_t n_in, const struct om_attr *attrs,
               uint32_t n_attrs);
void om_emit_n(om_scope s, enum om_op op, const om_val *in, uint32_t n_in, const struct om_attr *attrs,
               uint32_t n_attrs, om_val *out, uint32_t n_out);

om_val om_unary(om_scope s, enum om_op op, om_val x);
om_val om_binary(om_scope s, enum om_op op, om_val a, om_val b);

#endif
