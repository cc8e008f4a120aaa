/* src/quant/internal.h: what the methods of quantization share. */
#ifndef OM_QUANT_INTERNAL_H
#define OM_QUANT_INTERNAL_H

#include <optimum/quantize.h>

#include "base/json.h"
#include "base/map.h"
#include "onnx/doc.h"
#include "quant/affine.h"
#include "quant/blocks.h"
#include "quant/quant.h"

/* A weight that was quantized, for the report. */
struct om_quant_layer {
    om_sv name;                          /* of the initializer */
    const char *form;                    /* "int8", "int4/32" ... */
    uint64_t before, after;              /* bytes */
    const struct om_affine_error *error; /* filled while the file is written; NULL: not measured */
};

struct om_samples;

/* One file on its way. */
struct om_quant_job {
    struct om_ctx *ctx;
    const struct om_quant_config *config;
    struct om_arena *arena;
    struct om_doc *doc;
    struct om_doc_types *types;
    struct om_map names;                    /* every name of a value or tensor in any graph */
    struct om_map only, exclude, operators; /* the lists of the configuration */
    bool want_errors;
    const struct om_packed_set *packed; /* layers that are quantized already; NULL: quantize */
    const struct om_samples *samples;   /* of static quantization */
    const char *dir;                    /* an existing one, for temporary files */
    struct om_offline *offline;         /* files that the document lies in; NULL: none */
    struct om_affine **weights;         /* to be measured before the file is written */
    size_t n_weights, cap_weights;
    struct om_blocks **blocks; /* weights in blocks, which are released with the job */
    size_t n_blocks, cap_blocks;
    struct om_quant_layer *layers;
    size_t n_layers, cap_layers;
    struct om_map
        folded; /* values that became initializers, to indices into their tensors' names */
    om_sv *origins;
    size_t n_origins, cap_origins;
    size_t converted; /* nodes */
    struct om_error *err;
};

/* j->doc as ONNX Runtime's optimizer leaves it, in temporary files of j->dir (offline.c). */
struct om_offline;
int om_offline_run(struct om_quant_job *j, enum om_offline_level level);
void om_offline_free(struct om_offline *o); /* and its files; accepts NULL */

struct om_quant_file;
/* j->doc with fewer nodes. */
int om_optimize_job_run(struct om_quant_job *j, const struct om_optimize_config *c,
                        enum om_offline_level offline, struct om_quant_file *f);
/* Rewrite j->doc and measure its weights: it can be written then. f: what is to be counted. */
int om_quant_job_change(struct om_quant_job *j);
int om_quant_job_run(struct om_quant_job *j, struct om_quant_file *f);
void om_quant_job_release(struct om_quant_job *j); /* all but the document and the arena */

int om_quant_no_memory(const struct om_quant_job *j);
/* Does the configuration want the node? name: as the lists may call it. */
bool om_quant_wants(const struct om_quant_job *j, om_sv op, om_sv name);
/* The same for a Gemm, which is quantized as a MatMul called NAME_MatMul. */
bool om_quant_wants_gemm(const struct om_quant_job *j, const struct om_doc_node *n);
/* A name that nothing has yet: base itself, or with a number. */
int om_quant_name(struct om_quant_job *j, om_sv base, om_sv *out);
int om_quant_add_layer(struct om_quant_job *j, struct om_quant_layer layer);

/* Initializers behind a Cast to float32 become float32 views where all who read them are weights of
 * products that the configuration wants. */
int om_quant_fold_casts(struct om_quant_job *j);

/* A bias as int32 with the scales of the products it is added to. */
struct om_bias {
    int32_t *q, *zero; /* n; scales of them */
    float *scale;
    size_t n, scales;
    bool fits; /* false: it stays in float32 */
};
/* in: the scale of the activation, a: the weight, which is measured; its scales may grow so that
 * the bias fits. */
int om_bias_quantize(struct om_quant_job *j, const struct om_doc_tensor *t, float in, float beta,
                     struct om_affine *a, struct om_bias *b);

/* The methods: rewrite j->doc. */
/* Gemm becomes MatMul and Add. */
int om_quant_split_gemms(struct om_quant_job *j);
int32_t om_quant_onnx_type(enum om_quant_type t);
int om_quant_dynamic(struct om_quant_job *j);
int om_quant_weight_only(struct om_quant_job *j);
/* Query, key and value of GroupQueryAttention from one product where they were three (pack.c). */
int om_quant_pack_products(struct om_quant_job *j);
int om_quant_float16(struct om_quant_job *j);
int om_quant_static(struct om_quant_job *j);
int om_quant_qlinear(struct om_quant_job *j); /* static, QOperator */

/* ---- configurations ---- */

/* The lists that a configuration read from a file lives in. */
int om_quant_config_read(struct om_arena *a, const char *path, struct om_quant_config *config,
                         bool *external, struct om_error *err);
int om_optimize_config_read(const char *path, struct om_optimize_config *config, bool *external,
                            struct om_error *err);
/* The optimization object of an ort_config.json. */
void om_optimize_config_put(const struct om_optimize_config *c, struct om_buf *b);
/* A key that is true, false or absent. */
int om_quant_read_flag(const struct om_json *q, const char *key, bool *out, struct om_error *err);
/* What an ort_config.json says about files of tensors. */
int om_quant_read_files(const struct om_json *doc, bool *external, struct om_error *err);
/* A key that is not among the known ones, which end with NULL, is an error, as it is for Optimum.
 */
int om_quant_check_keys(const struct om_json *q, const char *const *known, struct om_error *err);
/* The operators that a configuration without a list means; NULL-terminated. */
const char *const *om_quant_default_operators(const struct om_quant_config *c);

#endif
