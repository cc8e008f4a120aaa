/* include/optimum/session.h: run an .onnx file with ONNX Runtime.
 *
 * ONNX Runtime's shared library (1.17 or newer) is opened at run time, on the first session. It is
 * looked for in OPTIMUM_ORT_LIBRARY, next to the program's build (lib/ beside the executable or the
 * build tree), in the system's library path, and in an onnxruntime Python package. A session is
 * immutable and may be run by several threads at once; results stand alone and may outlive it. */
#ifndef OPTIMUM_SESSION_H
#define OPTIMUM_SESSION_H

#include <optimum/ctx.h>
#include <optimum/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

enum om_ort_opt_level { OM_ORT_OPT_ALL, OM_ORT_OPT_EXTENDED, OM_ORT_OPT_BASIC, OM_ORT_OPT_NONE };

/* An execution provider of ONNX Runtime by its name ("CUDAExecutionProvider") and its options,
 * those of Python's provider_options ("device_id": "0"). */
struct om_provider {
    const char *name;
    const char *const *option_keys, *const *option_values;
    size_t n_options;
};

struct om_session_opts {
    uint32_t struct_size; /* set by OM_SESSION_OPTS_INIT; lets the struct grow */
    int intra_op_threads; /* 0: ONNX Runtime's default */
    int inter_op_threads; /* likewise */
    enum om_ort_opt_level opt_level;
    bool disable_prepacking;    /* less memory, a little slower for many rows */
    const char *provider;       /* NULL: CPUExecutionProvider */
    const char *profile_prefix; /* om_session_free() writes PREFIX_<time>.json; NULL: no profile */
    const char *const *config_keys, *const *config_values; /* extra session config entries */
    size_t n_config;
    /* In order of preference, the CPU is always the last; NULL: provider alone. One that the
     * library lacks is an error that lists those it has. Sessions run on CUDA take and return
     * tensors in the CPU's memory. */
    const struct om_provider *providers;
    size_t n_providers;
    const char *optimized_path; /* ONNX Runtime writes the model there as its optimizer left it */
};
#define OM_SESSION_OPTS_INIT                          \
    {                                                 \
        .struct_size = sizeof(struct om_session_opts) \
    }

struct om_session;

/* An input or output of the model. dims: -1 for a dynamic axis; dim_names: its name or "". */
struct om_session_port {
    const char *name;
    enum om_dtype dtype;
    uint32_t rank;
    const int64_t *dims;
    const char *const *dim_names;
    bool any_rank; /* the model states no shape; rank is 0 then */
};

/* Load the model at path; its external data is found beside it. opts may be NULL. Inputs and
 * outputs must be tensors of an enum om_dtype: others are refused by name. ctx hears what ONNX
 * Runtime warns about during the call and is not kept. */
OM_API int om_session_open(struct om_ctx *ctx, const char *path, const struct om_session_opts *opts,
                           struct om_session **out, struct om_error *err);
/* The same for a model in memory, which may be freed afterwards. Its external data is found in dir;
 * NULL: in the working directory. A dir needs ONNX Runtime 1.21 or newer. */
OM_API int om_session_open_bytes(struct om_ctx *ctx, const void *model, size_t len, const char *dir,
                                 const struct om_session_opts *opts, struct om_session **out,
                                 struct om_error *err);
OM_API void om_session_free(struct om_session *s); /* accepts NULL */

OM_API size_t om_session_input_count(const struct om_session *s);
OM_API size_t om_session_output_count(const struct om_session *s);
OM_API const struct om_session_port *om_session_input(const struct om_session *s, size_t i);
OM_API const struct om_session_port *om_session_output(const struct om_session *s, size_t i);

/* The outputs of one run; tensors are views into memory that the result owns. */
struct om_results;
OM_API size_t om_results_count(const struct om_results *r);
OM_API const struct om_tensor *om_results_at(const struct om_results *r, size_t i);
OM_API const struct om_tensor *om_results_find(const struct om_results *r,
                                               const char *name); /* NULL when absent */
OM_API void om_results_free(struct om_results *r);                /* accepts NULL */

/* Run on inputs by name (any order; their memory is read during the call only). A missing, surplus
 * or repeated input, and one of another dtype, rank or fixed dim than the model's, is an error that
 * names it (OM_E_USAGE), what was expected and what was found. All outputs are computed, and
 * returned in the model's order. */
OM_API int om_session_run(struct om_session *s, const struct om_tensor *inputs, size_t n_inputs,
                          struct om_results **out, struct om_error *err);
/* The same for some outputs, returned in the order of their names here. */
OM_API int om_session_run_outputs(struct om_session *s, const struct om_tensor *inputs,
                                  size_t n_inputs, const char *const *outputs, size_t n_outputs,
                                  struct om_results **out, struct om_error *err);

/* The same with memory for some of the results: an output with data is written there, which may be
 * an input's memory where the model's operators say so (past and present of GroupQueryAttention);
 * its dtype and dims must be those that the run gives, and the memory must outlive the results. */
OM_API int om_session_run_into(struct om_session *s, const struct om_tensor *inputs,
                               size_t n_inputs, const struct om_tensor *outputs, size_t n_outputs,
                               struct om_results **out, struct om_error *err);

/* The version of the ONNX Runtime that was found ("1.32.0") and where; an error when there is none.
 * The strings live as long as the process. */
OM_API int om_ort_version(const char **version, const char **path, struct om_error *err);

#ifdef __cplusplus
}
#endif

#endif
