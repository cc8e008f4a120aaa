/* src/export/job.h: one export while it runs. Private to src/export.
 *
 * The walk: om_job_resolve() decides what to export, om_job_build() makes the graphs,
 * om_job_stage() writes every file under a hidden name, om_job_publish() gives the files their
 * names, om_job_validate() compares ONNX Runtime on them with the reference executor on the graphs.
 */
#ifndef OM_EXPORT_JOB_H
#define OM_EXPORT_JOB_H

#include <optimum/export.h>
#include <optimum/optimize.h>
#include <optimum/quantize.h>

#include "arch/arch.h"
#include "base/json.h"
#include "ckpt/packed.h"
#include "hub/hub.h"
#include "onnx/onnx.h"

#define OM_DATA_NAME "model.onnx_data"
#define OM_GENAI_DATA_NAME "model.onnx.data"
#define OM_DIVERGE_NAME                                                       \
    "model.diverge.onnx" /* hidden while the diverging operator is looked for \
                          */

/* One .onnx file of the export. */
struct om_job_file {
    enum om_part part;
    struct om_graph *built;   /* as the architecture gives it: what the reference executor runs */
    struct om_graph *lowered; /* what is written */
    struct om_out out;
};

/* A file that is published beside the models. */
struct om_job_aside {
    struct om_out out;
    bool weights; /* the models point into it */
    bool model;   /* it points into others: published after them */
};

/* A model whose tensors lie in files of their own, with --transformersjs. */
struct om_job_external {
    const char *name; /* "model_fp16.onnx" */
    unsigned files;
};

struct om_job {
    struct om_ctx *ctx;
    const struct om_export_opts *opts;
    struct om_arena arena;
    struct om_config config;
    struct om_ckpt *ckpt;
    const char *repository; /* with --triton: the directory that config.pbtxt goes to; else NULL */
    const char *companion_dir; /* of configuration and tokenizer: out_dir, or what it lies in */
    bool variants;             /* with --transformersjs */
    struct om_quant_report *report; /* what was changed; NULL: nobody asks for it */
    struct om_packed_scheme scheme; /* bits 0: none is given */
    struct om_packed_set *packed; /* NULL: the checkpoint holds no layers quantized */
    struct om_quant_config packed_config, genai_quantize;
    const struct om_quant_config *quantize; /* how the files are written: the option's, or the checkpoint's; NULL: in float */
    struct om_optimize_config optimize_config;
    const struct om_optimize_config *optimize; /* how the files are optimized, once graphs are built; NULL: not */
    struct om_sentence *sentence; /* NULL: a plain Transformers checkpoint */
    struct om_hub_repo *hub;      /* NULL: the model is a local directory */
    const char *model;            /* the local directory, or the snapshot of the Hub's model */
    const char *dir;              /* of config.json and the weights: model, or a module's in it */
    struct om_arch_job arch;
    bool detected; /* the task was inferred */
    int opset;
    enum om_weights_mode weights; /* not AUTO once the graphs are built */
    bool in_place;                /* out_dir is the checkpoint's directory */
    bool pad_given;               /* config.pad_token_id is not from config.json, which gets it */
    struct om_job_file files[OM_PART_COUNT];
    size_t n_files;
    struct om_out data_out; /* model.onnx_data */
    const char *data_name;
    struct om_onnx_data *data;
    struct om_job_aside **asides;
    size_t n_asides, cap_asides;
    struct om_job_external *externals;
    size_t n_externals, cap_externals;
};

#define OM_GENERATION_MAX 23

/* Parameters of generation in config.json that differ from their defaults: they move to
 * generation_config.json. Values are JSON text in the job's arena. */
struct om_generation {
    struct om_json_patch moved[OM_GENERATION_MAX];
    size_t n;
};
/* Finds them and names them in a warning. */
int om_generation_find(struct om_job *job, struct om_generation *out, struct om_error *err);
/* The id of the tokenizer's padding token, -1 when its files name none. */
int om_pad_token_find(struct om_job *job, int64_t *id, struct om_error *err);

/* Layers that the checkpoint holds quantized, by its configuration: before and after the weights
 * are there (packed.c). */
int om_job_read_scheme(struct om_job *job, struct om_error *err);
int om_job_open_packed(struct om_job *job, struct om_error *err);

/* --transformersjs (variants.c): models go to a folder of their own, with others made of them;
 * tensors of large ones lie in files of their own, NAME.onnx_data, NAME.onnx_data_1 ... */
int om_job_variants_open(struct om_job *job, struct om_export_opts *opts, struct om_error *err);
int om_job_stage_variants(struct om_job *job, struct om_error *err);
/* The model itself, where its weights are external. */
int om_job_stage_split(struct om_job *job, struct om_job_file *f, const struct om_onnx_opts *onnx,
                       struct om_error *err);
/* The transformers.js_config that says which models have such files; NULL: none is needed. */
int om_job_variants_config(struct om_job *job, const char **json, struct om_error *err);
/* A file that is published with the models (publish.c); it lives as long as the job. */
int om_job_add_aside(struct om_job *job, const char *dir, const char *name,
                     struct om_job_aside **out, struct om_error *err);

/* What was changed in the files, as a page and in numbers (compare.c): after they have names. */
int om_job_compare(struct om_job *job, struct om_error *err);

/* --triton (triton.c): the export goes to a version folder; only of models of one file; what goes in and
 * out is written beside the folder once the files are there. */
int om_job_triton_open(struct om_job *job, struct om_export_opts *opts, struct om_error *err);
int om_job_triton_check(const struct om_job *job, struct om_error *err);
int om_job_triton_write(struct om_job *job, struct om_error *err);

/* --genai (genai.c): options that exclude it, models that it is not for, graphs that do not fit it, and
 * genai_config.json. */
int om_job_genai_opts(const struct om_export_opts *o, struct om_error *err);
int om_job_genai_check(struct om_job *job, struct om_error *err);
int om_job_genai_graph(const struct om_job *job, const struct om_graph *g, struct om_error *err);
int om_job_genai_stage(struct om_job *job, struct om_error *err);
/* Its text. g: the lowered graph. */
struct om_generation_config;
void om_genai_config(struct om_buf *b, const char *model_type, const struct om_graph *g,
                     int64_t context, const struct om_generation_config *c);

int om_job_resolve(struct om_job *job, struct om_error *err);
int om_job_build(struct om_job *job, struct om_error *err);
int om_job_stage(struct om_job *job, struct om_error *err);
int om_job_publish(struct om_job *job, struct om_error *err);

/* How far values may be apart. */
struct om_tolerance {
    double atol;
    /* atol counts from the largest magnitude of the tensor: a sum of 16-bit numbers is as wrong as
     * its largest one, however small it is. Else it is the relative tolerance of each element as
     * well. */
    bool scaled;
};

/* What the validation found; the report has been logged. */
struct om_difference {
    enum om_part part;
    const char *name; /* of the output */
    double max;       /* largest absolute difference */
};
struct om_verdict {
    struct om_difference *differences; /* none: all values are close */
    size_t n, cap;
    struct om_tolerance tolerance;
};
int om_job_validate(struct om_job *job, struct om_verdict *v, struct om_error *err);

/* Example inputs of one graph (dummy.c). variant 0 has the sizes of opts->shapes, variant 1 others;
 * merged decoders have a branch. Arena memory; the same arguments give the same bytes. */
struct om_dummy {
    int variant;
    bool use_cache;
};
int om_dummy_inputs(const struct om_job *job, const struct om_job_file *f,
                    const struct om_dummy *how, struct om_arena *a, struct om_tensor **inputs,
                    size_t *n, struct om_error *err);
/* Inputs of the graph as built that the file lacks go last; how many it takes. */
size_t om_dummy_taken(const struct om_job_file *f, struct om_tensor *inputs, size_t n);
/* The example size of an axis symbol. */
int64_t om_dummy_size(const struct om_job *job, enum om_part part, const struct om_dummy *how,
                      om_sv symbol);

/* np.allclose(ref, got): the largest |ref - got| goes to *max_diff, NaN when one side has NaN. */
bool om_all_close(const struct om_tensor *ref, const struct om_tensor *got,
                  const struct om_tolerance *tolerance, double *max_diff);
/* The absolute tolerance for values of ref. */
double om_tolerance_of(const struct om_tolerance *tolerance, const struct om_tensor *ref);

/* The first operator (in execution order) where ONNX Runtime and the reference executor disagree,
 * as text in the arena; NULL when none was found (diverge.c). */
const char *om_job_diverge(struct om_job *job, const struct om_job_file *f,
                           const struct om_tensor *inputs, size_t n_inputs,
                           const struct om_tolerance *tolerance, struct om_arena *a);

#endif
