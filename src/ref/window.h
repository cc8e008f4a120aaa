/* src/ref/window.h: where a kernel that slides over an image lies: convolutions and pools; private
 * to src/ref. */
#ifndef OM_REF_WINDOW_H
#define OM_REF_WINDOW_H

#include "ref/kernel.h"

struct ref_window {
    uint32_t n; /* spatial axes */
    int64_t in[OM_RANK_MAX], out[OM_RANK_MAX], kernel[OM_RANK_MAX];
    int64_t stride[OM_RANK_MAX], dilation[OM_RANK_MAX], before[OM_RANK_MAX], after[OM_RANK_MAX];
    int64_t in_count, out_count, kernel_count;
    struct ref_tensor places; /* int64 [kernel_count, out_count]: the element of the image that is
                                 seen, or one of: */
};
enum { REF_PADDING = -1, REF_BEYOND = -2 }; /* the latter passes even the padding */

/* From the attributes of the node. kernel: n extents. ceil: the last window may be cut. */
int om_ref_window(const struct ref_call *c, const int64_t *in, const int64_t *kernel, uint32_t n,
                  bool ceil, struct ref_window *w);
/* What a transposed convolution gives: out and in change places; in[] of the result is its image.
 */
int om_ref_window_transposed(const struct ref_call *c, const int64_t *in, const int64_t *kernel,
                             uint32_t n, struct ref_window *w);

/* A convolution of x [N, C, ...] with w [M, C / group, ...] into a new out; all float32, float64 or
 * int64. bias NULL or M elements. */
int om_ref_convolve(const struct ref_call *c, const struct ref_tensor *x,
                    const struct ref_tensor *w, const struct ref_tensor *bias,
                    struct ref_tensor *out);

#endif
