/* src/ref/bind.h: the inputs of a run; private to src/ref. */
#ifndef OM_REF_BIND_H
#define OM_REF_BIND_H

#include "ref/kernel.h"

/* Find the tensor of every port of g, check it against the port and bind the symbols of all ports'
 * dims in env. a is for scratch memory. bound[i] becomes the index into inputs of port i. */
int om_ref_bind(const struct om_graph *g, const struct om_tensor *inputs, size_t n_inputs,
                struct om_dim_env *env, struct om_arena *a, size_t *bound, struct om_error *err);

/* Check dims (as a kernel made them, or a caller gave them) against the declared ones, binding a
 * lone symbol that is not bound yet. Gives the first axis that differs and what was expected, or
 * -1. */
int om_ref_check_dims(struct om_dim_env *env, const om_dim *declared, const int64_t *dims,
                      uint32_t rank, int64_t *expected);

#endif
