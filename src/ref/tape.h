/* src/ref/tape.h: an operator as a short program of other operators; private to src/ref.
 *
 * Sticky: after the first failure every call gives NULL, om_ref_tape_close() reports it once and
 * drops all tensors on the way. */
#ifndef OM_REF_TAPE_H
#define OM_REF_TAPE_H

#include "ref/kernel.h"

enum { REF_TAPE_MAX = 64 };

struct ref_tape {
    struct ref_call *c;
    int rc;
    uint32_t n;
    struct ref_tensor made[REF_TAPE_MAX];
};

/* Run a kernel on up to three operands, with other attributes than the node's. */
const struct ref_tensor *om_ref_do(struct ref_tape *t, ref_kernel *kernel,
                                   const struct om_attr *attrs, uint32_t n_attrs,
                                   const struct ref_tensor *a, const struct ref_tensor *b,
                                   const struct ref_tensor *d);
/* The same on a list of operands, entries may be NULL; gives the first output, others go to more.
 */
const struct ref_tensor *om_ref_do_list(struct ref_tape *t, ref_kernel *kernel,
                                        const struct om_attr *attrs, uint32_t n_attrs,
                                        const struct ref_tensor *const *in, uint32_t n_in,
                                        const struct ref_tensor **more, uint32_t n_out);
const struct ref_tensor *om_ref_do_convert(struct ref_tape *t, const struct ref_tensor *x,
                                           enum om_dtype dtype);
const struct ref_tensor *om_ref_do_reshape(struct ref_tape *t, const struct ref_tensor *x,
                                           const int64_t *dims, uint32_t rank);
const struct ref_tensor *om_ref_do_transpose(struct ref_tape *t, const struct ref_tensor *x,
                                             const int64_t *perm);
/* The second axis last, and the last one second: between channels first and last. */
const struct ref_tensor *om_ref_do_channels_last(struct ref_tape *t, const struct ref_tensor *x);
const struct ref_tensor *om_ref_do_channels_first(struct ref_tape *t, const struct ref_tensor *x);
/* One element of dtype. */
const struct ref_tensor *om_ref_do_number(struct ref_tape *t, enum om_dtype dtype, double v);
/* A new tensor to be filled. */
struct ref_tensor *om_ref_do_new(struct ref_tape *t, enum om_dtype dtype, const int64_t *dims,
                                 uint32_t rank);
/* Record a failure. */
void om_ref_do_fail(struct ref_tape *t, int rc);
/* x becomes output i of the node. */
void om_ref_do_give(struct ref_tape *t, uint32_t i, const struct ref_tensor *x);
int om_ref_tape_close(struct ref_tape *t);

#define REF_ATTR_INT(key, v)                         \
    {                                                \
        .name = (key), .kind = OM_ATTR_INT, .i = (v) \
    }
#define REF_ATTR_FLOAT(key, v)                         \
    {                                                  \
        .name = (key), .kind = OM_ATTR_FLOAT, .f = (v) \
    }

#endif
