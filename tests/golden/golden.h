/* tests/golden/golden.h: the recorded cases of tests/data/goldens for tests: list them, read what
 * was exported, load inputs and outputs. A golden's checkpoint is written by
 * mkckpt_run(golden->dir, ...). All memory is the arena's. */
#ifndef OM_GOLDEN_H
#define OM_GOLDEN_H

#include "base/arena.h"
#include "ckpt/ckpt.h"

struct golden {
    const char *dir;
    const char *model_type, *task; /* names of directories: "bert", "fill-mask" */
};

/* The task's name: several recordings of one task are told apart by what follows a plus sign
 * ("text-generation+yarn"). */
om_sv golden_task(const struct golden *g);

/* The goldens that have cases under DATA/goldens and, when shared is not NULL,
 * SHARED/goldens/models whose model type accept() takes (NULL: all), each model type and task once,
 * sorted within each root. */
int golden_list(struct om_arena *a, const char *data, const char *shared,
                bool (*accept)(const char *model_type), struct golden **out, size_t *n,
                struct om_error *err);

enum golden_dim_kind {
    GOLDEN_DIM_NAMED, /* name */
    GOLDEN_DIM_FIXED, /* value */
    GOLDEN_DIM_ANY    /* unset, or a name that a tracer made up */
};

struct golden_dim {
    enum golden_dim_kind kind;
    const char *name;
    int64_t value;
};

struct golden_port {
    const char *name;
    enum om_dtype dtype;
    uint32_t rank;
    const struct golden_dim *dims;
};

struct golden_onnx {
    const char *name, *stem; /* "model.onnx", "model" */
    int64_t opset;
    const struct golden_port *inputs, *outputs; /* in order */
    size_t n_inputs, n_outputs;
};

/* An option the exporter was given, such as height 32. */
struct golden_arg {
    const char *name, *value;
};

struct golden_signature {
    double atol;
    const char **files; /* every exported file, sorted */
    size_t n_files;
    const struct golden_onnx *onnx;
    size_t n_onnx;
    const struct golden_arg *args;
    size_t n_args;
};
int golden_signature_read(struct om_arena *a, const struct golden *g, struct golden_signature *out,
                          struct om_error *err);

struct golden_case {
    const char *id;                           /* "0" */
    const struct om_tensor *inputs, *outputs; /* named as in the ONNX file; data is aligned */
    size_t n_inputs, n_outputs;
};

/* The recorded cases of a golden; close when their tensors are no longer used. */
struct golden_cases {
    struct om_ckpt *file;
};
int golden_cases_open(struct om_arena *a, const struct golden *g, struct golden_cases *out,
                      struct om_error *err);
/* Those of one ONNX file, by its stem; none is no error. */
int golden_cases_of(struct om_arena *a, const struct golden_cases *c, const char *stem,
                    struct golden_case **out, size_t *n, struct om_error *err);
void golden_cases_close(struct golden_cases *c); /* accepts a zeroed value */

/* The largest difference of n elements, relative to the largest magnitude of want; NaN is
 * infinitely far. */
double golden_difference(const struct om_tensor *got, const struct om_tensor *want, int64_t n);

/* A file in ONNX Runtime on the cases of a stem. */
struct golden_run {
    const char *path, *stem;
    double tolerance; /* of the largest magnitude of an output */
    unsigned runs;    /* that were made */
    double worst;     /* the largest difference */
};
/* The first difference above the tolerance is an error. */
int golden_run(struct om_arena *a, const struct golden_cases *c, struct golden_run *run,
               struct om_error *err);

#endif
