/* src/ref/ref.h: the reference executor: runs a graph with plain kernels.
 *
 * Slow where it may be and obviously right: float32 storage, matrix products through CBLAS,
 * everything else straightforward C with double accumulation where that is cheap. It runs graphs as
 * built (high-level operators), as lowered, and as read back from a file.
 *
 * Where ONNX leaves a result open: integers wrap, their division by zero gives 0, a real that an
 * integer type cannot hold becomes the nearest end of its range (NaN: 0), a query of Attention that
 * may see no key gives zeros. uint64, which fits no wider type, is taken by arithmetic
 * and comparisons and by operators that move elements. */
#ifndef OM_REF_H
#define OM_REF_H

#include "ir/graph.h"

struct om_ref_opts {
    struct om_ctx *ctx; /* cancellation; may be NULL */
    /* Called for every value right after it was computed (inputs and weights excluded), in
     * execution order; the tensor's name is the value's name and the data are valid during the
     * call. NULL: not wanted. */
    void (*observe)(void *user, const struct om_graph *g, om_val v, const struct om_tensor *t);
    void *user;
    uint64_t max_bytes; /* of live activations and converted weights; 0: 16 GiB */
};

/* Bind inputs by name to the graph's ports (dtype and shape are checked against the symbolic dims;
 * a missing or surplus input is an error that names it), run, and give the outputs in port order as
 * n_outputs tensors whose memory the arena owns. The graph is only read: several threads may run it
 * at once. */
int om_ref_run(const struct om_graph *g, const struct om_tensor *inputs, size_t n_inputs,
               const struct om_ref_opts *opts, struct om_arena *a, struct om_tensor **outputs,
               size_t *n_outputs, struct om_error *err);

#endif
