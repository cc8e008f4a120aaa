/* include/optimum/model.h: a checkpoint or an exported directory as an object that runs.
 *
 * The counterpart of Optimum's ORTModelForXXX classes and their from_pretrained() and
 * save_pretrained(). A model does not change once it is open: threads may share it and run it at
 * the same time. */
#ifndef OPTIMUM_MODEL_H
#define OPTIMUM_MODEL_H

#include <optimum/session.h>

#ifdef __cplusplus
extern "C" {
#endif

struct om_model;

/* ORTModelFor... in Python. The class decides which task a checkpoint is exported for. */
enum om_model_class {
    OM_MODEL_CUSTOM, /* ...CustomTasks: any inputs and outputs, any task */
    OM_MODEL_FEATURE_EXTRACTION,
    OM_MODEL_MASKED_LM,
    OM_MODEL_QUESTION_ANSWERING,
    OM_MODEL_SEQUENCE_CLASSIFICATION,
    OM_MODEL_TOKEN_CLASSIFICATION,
    OM_MODEL_MULTIPLE_CHOICE,
    OM_MODEL_CAUSAL_LM, /* these two are run by om_generate() of <optimum/generation.h> */
    OM_MODEL_SEQ2SEQ_LM
};

/* Where an export on the fly goes when there is no export_dir. */
enum om_export_cache {
    OM_EXPORT_CACHE_DEFAULT, /* of models NO, of pipelines YES */
    OM_EXPORT_CACHE_NO,      /* a temporary directory (in TMPDIR, else /tmp) that goes with the model */
    OM_EXPORT_CACHE_YES      /* it is kept, and found by the next call for the same checkpoint */
};

/* Strings and structs are borrowed for the call. There is no use_io_binding: runs read their inputs
 * in place and results are views into ONNX Runtime's memory, so that on the CPU nothing is left for
 * it to save. */
struct om_model_opts {
    uint32_t struct_size;  /* set by OM_MODEL_OPTS_INIT; lets the struct grow */
    const char *model;     /* a directory, or an id of the Hub: "org/name", "org/name@revision" */
    const char *revision;  /* of a model on the Hub: branch, tag, commit, refs/pr/N; NULL: main */
    const char *subfolder; /* where the files are; config.json may be above it; NULL: the root */
    const char *cache_dir; /* of models from the Hub; NULL: as for om_export_run() */
    const char *file_name; /* of the .onnx file, without directory; NULL: model.onnx, else the only
                            * or the first one */
    enum om_model_class model_class;
    const char *task;       /* to export for; only with OM_MODEL_CUSTOM. NULL: feature-extraction */
    bool do_export;         /* "export=True": also when there is an .onnx file */
    const char *export_dir; /* where an export is written; NULL: by export_cache */
    const struct om_session_opts *session; /* provider, threads, ...; NULL: the defaults */

    /* Of models that generate. file_name is that of OM_MODEL_CAUSAL_LM, those below are of
     * OM_MODEL_SEQ2SEQ_LM; NULL: found by their usual names. */
    const char *encoder_file_name, *decoder_file_name, *decoder_with_past_file_name;
    bool no_cache;  /* "use_cache=False": files without past keys and values */
    bool no_merged; /* "use_merged=False": a pair of decoders even where there is a merged one */
    const char *token; /* of the Hub; NULL: HF_TOKEN or the file that `hf auth login` writes; "":
                        * none */
    bool local_files_only; /* never ask the Hub: what its cache has must do */
    bool force_download;   /* fetch files of the Hub anew although the cache has them */

    enum om_export_cache export_cache;
    const char *export_cache_dir; /* NULL: OPTIMUM_EXPORT_CACHE, else optimum.c/exports in
                                   * XDG_CACHE_HOME or ~/.cache */
};
#define OM_MODEL_OPTS_INIT                          \
    {                                               \
        .struct_size = sizeof(struct om_model_opts) \
    }

/* Open a model. The .onnx files of the directory (or repository) are looked through, those of its
 * subdirectories too: file_name must be there; without it model.onnx is taken, else the first one
 * of another name. Where several fit, the first one is taken, files before subdirectories, each in
 * the order of their names. What was a choice is a warning to ctx's logger. Where there is no .onnx
 * file, or with do_export, the checkpoint is exported first, without validation.
 *
 * On success *out is to be freed with om_model_free(). */
OM_API int om_model_open(struct om_ctx *ctx, const struct om_model_opts *opts,
                         struct om_model **out, struct om_error *err);
OM_API void om_model_free(struct om_model *m); /* accepts NULL */

/* What config.json says, with the defaults of Transformers. All of it belongs to the model. */
struct om_model_info {
    const char *file;         /* the .onnx file that is run; of an encoder-decoder: its decoder */
    const char *dir;          /* where config.json is; tokenizer files lie there too */
    const char *model_type;   /* "distilbert" */
    const char *problem_type; /* "single_label_classification", ...; NULL: not given */
    int64_t num_labels;
    const char *const *labels; /* num_labels of them, by id; NULL where id2label leaves one out */
    int64_t pad_token_id;      /* -1: none */
    const char *config;        /* the whole text of config.json */
    const char *encoder_file;  /* of OM_MODEL_SEQ2SEQ_LM, else NULL */
    const char *decoder_with_past_file; /* for all steps but the first; NULL: file has them all */
    bool is_encoder_decoder;
    /* Its attention is GroupQueryAttention of com.microsoft, as onnxruntime-genai takes it: past and
     * present keys may lie in one buffer, attention_mask counts the keys of each text from the first
     * one on, and padding stands at the end. */
    bool grouped_attention;
};
OM_API const struct om_model_info *om_model_get_info(const struct om_model *m);
/* A key of the top level of config.json. False, and *out untouched, when it is absent or of another
 * type. */
OM_API bool om_model_config_int(const struct om_model *m, const char *key, int64_t *out);
OM_API bool om_model_config_real(const struct om_model *m, const char *key, double *out);
OM_API bool om_model_config_bool(const struct om_model *m, const char *key, bool *out);

/* The session, for its inputs and outputs and for runs without the defaults below. It belongs to
 * the model. */
OM_API struct om_session *om_model_session(const struct om_model *m);
/* Those of encoder_file and decoder_with_past_file; NULL where there is none. */
OM_API struct om_session *om_model_encoder(const struct om_model *m);
OM_API struct om_session *om_model_decoder_with_past(const struct om_model *m);

/* Run on inputs by name, in any order; names, shapes and data are read during the call only. *out
 * stands alone: it is to be freed with om_results_free() and may outlive the model.
 *
 * Inputs that are absent although the file has them get the values Transformers gives, in the shape
 * of input_ids: attention_mask ones (over past and new tokens), token_type_ids zeros, position_ids
 * the positions after the past, and, when none of them is given, past_key_values.* a past of length
 * 0. Of the same inputs, attention_mask, token_type_ids and position_ids are ignored, as in the
 * original, where the file has none. Any other missing or surplus input, one of another dtype, rank
 * or fixed axis than the file's, and two inputs that give an axis of one name different sizes are
 * errors that name the input (OM_E_USAGE). */
OM_API int om_model_run(const struct om_model *m, const struct om_tensor *inputs, size_t n_inputs,
                        struct om_results **out, struct om_error *err);

/* Write the model into dir (made with its parents) under the names it has: the .onnx file and its
 * external data, config.json, generation_config.json, and the tokenizer and processor files. Files
 * of these names are replaced; none has its final name before it is complete, the .onnx file comes
 * last. Into the model's own directory nothing is written. */
OM_API int om_model_save(struct om_ctx *ctx, const struct om_model *m, const char *dir,
                         struct om_error *err);

#ifdef __cplusplus
}
#endif

#endif
