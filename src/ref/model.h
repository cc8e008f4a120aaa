/* src/ref/model.h: the reference executor on documents: any .onnx file whose operators are known.
 *
 * Where om_ref_run() needs a graph that was inferred, a document is run as it is: shapes and dtypes
 * are those that the kernels find. Operators are those of ref/model_ops.def; they follow the
 * operator set that the file imports (7 to 28), attributes that became inputs included. An operator
 * that is not in the table and a tensor of strings or of complex numbers are refused by name.
 * Functions of the model are inlined. Sequences and optionals are values like others, but are no
 * inputs or outputs of a run. */
#ifndef OM_REF_MODEL_H
#define OM_REF_MODEL_H

#include "onnx/doc.h"

struct om_ref_model;

/* Prepare d, which must stay unchanged and open. Everything hangs in the document's arena. */
int om_ref_model_new(struct om_doc *d, struct om_ref_model **out, struct om_error *err);

struct om_ref_model_opts {
    struct om_ctx *ctx; /* cancellation; may be NULL */
    /* Called for every value of the main graph right after it was computed; data are valid during
     * the call. NULL: not wanted. */
    void (*observe)(void *user, const struct om_tensor *t);
    void *user;
    uint64_t max_bytes; /* of live values; 0: 16 GiB */
    uint64_t max_work;  /* of inner steps, which bound the time; 0: no limit */
};

/* Bind inputs by name, run, and give the outputs in the file's order, as om_ref_run() does. Inputs
 * that have an initializer may be left out; elements of at most eight bits that have no enum
 * om_dtype (float8, int4) go in and come out one in an int8 or uint8. Several threads may
 * run one model. */
int om_ref_model_run(const struct om_ref_model *m, const struct om_tensor *inputs, size_t n_inputs,
                     const struct om_ref_model_opts *opts, struct om_arena *a,
                     struct om_tensor **outputs, size_t *n_outputs, struct om_error *err);

#endif
