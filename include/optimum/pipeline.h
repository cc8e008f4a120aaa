/* include/optimum/pipeline.h: from text to answers, labels, entities, vectors.
 *
 * The counterpart of Transformers' pipeline(): a model, its tokenizer and the arithmetic around
 * them, with the same parameters, defaults and results. There are two doors. The typed one has a
 * function for each task, with structs in and structs out. The other takes a call as JSON and gives
 * the result as Python would print it as JSON: for command lines, filters and bindings.
 *
 * A pipeline does not change once it is open: threads may share it and call it at the same time. A
 * call takes any number of inputs; all of them (and the windows of long ones) are sorted by length
 * and run in batches. Strings and structs that go in are borrowed for the call; what comes out
 * stands alone and may outlive the pipeline. Texts are UTF-8; positions in them are code points, as
 * in Python, and bytes where a name says so. */
#ifndef OPTIMUM_PIPELINE_H
#define OPTIMUM_PIPELINE_H

#include <optimum/generation.h>
#include <optimum/model.h>
#include <optimum/tokenizer.h>

#ifdef __cplusplus
extern "C" {
#endif

struct om_pipeline;

/* ---- opening ---- */

struct om_pipeline_opts {
    uint32_t struct_size; /* set by OM_PIPELINE_OPTS_INIT; lets the struct grow */
    const char *task;     /* "question-answering", "ner", ...: see om_pipeline_task() */
    /* A checkpoint, an exported directory or an id of the Hub, as for om_model_open(). */
    const char *model;
    /* A directory, a tokenizer.json or an id of the Hub; NULL: the model's. */
    const char *tokenizer;
    /* How to open the model: revision, cache_dir, export_dir, session, ... NULL: the defaults. Its
     * model, model_class and task are not read. */
    const struct om_model_opts *model_opts;
    size_t batch_size; /* windows that one run of the model takes at most; 0: 8 */
    size_t threads;    /* batches of one call that run at the same time; 0: 1 */
    /* A JSON object of the parameters that Transformers' pipeline(...) takes, as defaults of every
     * call: {"top_k": 3}. "tokenizer_kwargs" among them is what the tokenizer would be given when
     * it is loaded: "model_max_length", "padding_side", "truncation_side", "pad_token",
     * "model_input_names". "batch_size" stands in for a 0 above, and gives lists of features as
     * JSON the vectors of the padding that they have in the original. NULL: none. */
    const char *init;
};
#define OM_PIPELINE_OPTS_INIT                          \
    {                                                  \
        .struct_size = sizeof(struct om_pipeline_opts) \
    }

/* Open a pipeline. A checkpoint is exported first, for the task; the export is kept for the next
 * time unless model_opts say otherwise. On success *out is to be freed with om_pipeline_free(). */
OM_API int om_pipeline_open(struct om_ctx *ctx, const struct om_pipeline_opts *opts,
                            struct om_pipeline **out, struct om_error *err);
/* The same over what is open already and must outlive the pipeline; model, tokenizer and model_opts
 * of opts are not read. */
OM_API int om_pipeline_wrap(const struct om_pipeline_opts *opts, const struct om_model *model,
                            const struct om_tokenizer *tokenizer, struct om_pipeline **out,
                            struct om_error *err);
OM_API void om_pipeline_free(struct om_pipeline *p); /* accepts NULL */

/* The i-th task there is a pipeline for, without aliases; NULL behind the last one. */
OM_API const char *om_pipeline_task_at(size_t i);
/* The task that a name or alias stands for ("sentiment-analysis": "text-classification"); NULL:
 * none. */
OM_API const char *om_pipeline_task(const char *name);

OM_API const char *om_pipeline_get_task(const struct om_pipeline *p);
/* They belong to the pipeline, or to who gave them to om_pipeline_wrap(). */
OM_API const struct om_model *om_pipeline_model(const struct om_pipeline *p);
OM_API const struct om_tokenizer *om_pipeline_tokenizer(const struct om_pipeline *p);

/* ---- calls as JSON ---- */

enum om_pipeline_format {
    OM_PIPELINE_JSON, /* one line, as Transformers' result: same keys, order and nesting; numbers in
                       * the fewest digits that read back as the same float */
    OM_PIPELINE_TEXT  /* lines for people, without a newline at the end */
};

/* What became of a request. */
struct om_pipeline_reply {
    char *text; /* len bytes and a NUL; NULL when the request failed */
    size_t len;
    struct om_error error; /* why it failed; its code is 0 when it did not */
};

/* Call the pipeline n times. A request is a JSON object {"inputs": ..., "kwargs": {...}} with the
 * arguments of the call in Python: inputs is a text, a list of texts, for question-answering
 * {"question": ..., "context": ...} (also lists of them), for sentence-similarity
 * {"source_sentence": ..., "sentences": [...]}, or texts whose vectors are wanted. kwargs may be
 * absent, other keys are not looked at. JSON of any other form is the inputs without more.
 *
 * replies[0..n) are filled in; free them with om_pipeline_replies_release(). A request that fails
 * has its message in its own reply and leaves the others alone: the function itself fails (and
 * fills none) only when it cannot run at all. All requests share batches, so that many small ones
 * are best given together; memory grows with their number. */
OM_API int om_pipeline_call(const struct om_pipeline *p, const struct om_text *requests, size_t n,
                            enum om_pipeline_format format, struct om_pipeline_reply *replies,
                            struct om_error *err);
OM_API void om_pipeline_replies_release(struct om_pipeline_reply *replies, size_t n);
/* One request, whose failure is the function's. *json is malloc'ed. */
OM_API int om_pipeline_call_json(const struct om_pipeline *p, const char *request, char **json,
                                 struct om_error *err);

/* ---- typed calls ----
 *
 * Each takes n inputs and gives an array of n results, in order, or fails as a whole with a message
 * that names the input. The array and all it refers to are freed with om_pipeline_release(). opts
 * may be NULL: the parameters of init, else the defaults of Transformers. A member of opts that
 * keeps its INIT value leaves the parameter as it is by then. Calling a function of another task
 * than the pipeline's is OM_E_USAGE. */
OM_API void om_pipeline_release(const void *results); /* accepts NULL */

enum om_choice { OM_UNSET, OM_YES, OM_NO }; /* of parameters that are true or false */

#define OM_TOP_K_ALL INT64_MAX

/* question-answering */
struct om_question {
    struct om_text question, context;
};
struct om_question_opts {
    uint32_t struct_size;
    int64_t top_k;          /* answers wanted; 0: 1 */
    int64_t max_answer_len; /* tokens; 0: 15 */
    int64_t max_seq_len;    /* tokens of a window; 0: 384, or less where the tokenizer says so */
    int64_t doc_stride;     /* tokens that windows share; negative: half a window, at most 128 */
    enum om_choice handle_impossible_answer; /* no */
    enum om_choice align_to_words;           /* yes */
};
#define OM_QUESTION_OPTS_INIT                                            \
    {                                                                    \
        .struct_size = sizeof(struct om_question_opts), .doc_stride = -1 \
    }
struct om_answer {
    float score;
    size_t start, end; /* code points of the context */
    size_t byte_start, byte_end;
    struct om_text text; /* empty with start and end 0: no answer in the context */
};
struct om_answers {
    size_t len; /* best first */
    const struct om_answer *at;
};
OM_API int om_pipeline_answer(const struct om_pipeline *p, const struct om_question *questions,
                              size_t n, const struct om_question_opts *opts,
                              const struct om_answers **out, struct om_error *err);

/* text-classification */
enum om_function { OM_FUNCTION_UNSET, OM_FUNCTION_NONE, OM_FUNCTION_SIGMOID, OM_FUNCTION_SOFTMAX };
struct om_text_pair {
    struct om_text text;
    struct om_text pair; /* ptr NULL: none */
};
struct om_classify_opts {
    uint32_t struct_size;
    int64_t top_k;                      /* labels wanted, or OM_TOP_K_ALL; 0: 1 */
    enum om_function function_to_apply; /* unset: by the model's configuration */
    enum om_choice truncation;          /* no: a text that is too long for the model fails */
    int64_t max_length;                 /* with truncation; 0: the tokenizer's */
};
#define OM_CLASSIFY_OPTS_INIT                          \
    {                                                  \
        .struct_size = sizeof(struct om_classify_opts) \
    }
struct om_label {
    const char *name;
    int64_t id;
    float score;
};
struct om_labels {
    size_t len; /* best first */
    const struct om_label *at;
};
OM_API int om_pipeline_classify(const struct om_pipeline *p, const struct om_text_pair *texts,
                                size_t n, const struct om_classify_opts *opts,
                                const struct om_labels **out, struct om_error *err);

/* zero-shot-classification; ids of the labels are their places in the list */
struct om_zero_shot_opts {
    uint32_t struct_size;
    const char *hypothesis_template; /* NULL: "This example is {}." */
    enum om_choice multi_label;      /* no */
};
#define OM_ZERO_SHOT_OPTS_INIT                          \
    {                                                   \
        .struct_size = sizeof(struct om_zero_shot_opts) \
    }
OM_API int om_pipeline_zero_shot(const struct om_pipeline *p, const struct om_text *texts, size_t n,
                                 const char *const *labels, size_t n_labels,
                                 const struct om_zero_shot_opts *opts, const struct om_labels **out,
                                 struct om_error *err);

/* token-classification */
enum om_aggregation {
    OM_AGGREGATE_UNSET,
    OM_AGGREGATE_NONE,    /* an entity for each token */
    OM_AGGREGATE_SIMPLE,  /* neighbours of one label together */
    OM_AGGREGATE_FIRST,   /* the same with words that have the label of their first token, */
    OM_AGGREGATE_AVERAGE, /* the best label of their averaged scores, */
    OM_AGGREGATE_MAX      /* the label of their surest token */
};
struct om_token_opts {
    uint32_t struct_size;
    enum om_aggregation aggregation;  /* none */
    const char *const *ignore_labels; /* n_ignore_labels of them; NULL: "O" alone */
    size_t n_ignore_labels;
    int64_t stride; /* tokens that windows of long texts share, with an aggregation; negative: no
                       windows, the text is cut */
};
#define OM_TOKEN_OPTS_INIT                                        \
    {                                                             \
        .struct_size = sizeof(struct om_token_opts), .stride = -1 \
    }
struct om_entity {
    const char *label; /* of a group without B- or I- */
    float score;
    int64_t index; /* of the token in its window; -1: a group */
    struct om_text word;
    size_t start, end; /* code points of the text */
    size_t byte_start, byte_end;
};
struct om_entities {
    size_t len; /* in the order of the text */
    const struct om_entity *at;
};
OM_API int om_pipeline_find_entities(const struct om_pipeline *p, const struct om_text *texts,
                                     size_t n, const struct om_token_opts *opts,
                                     const struct om_entities **out, struct om_error *err);

/* fill-mask */
struct om_fill_opts {
    uint32_t struct_size;
    int64_t top_k;              /* of each mask; 0: 5 */
    const char *const *targets; /* the words to choose from; NULL: the whole vocabulary */
    size_t n_targets;
    enum om_choice truncation; /* no */
    int64_t max_length;        /* with truncation; 0: the tokenizer's */
};
#define OM_FILL_OPTS_INIT                          \
    {                                              \
        .struct_size = sizeof(struct om_fill_opts) \
    }
struct om_fill {
    float score;
    uint32_t token;
    struct om_text token_text;
    struct om_text sequence; /* the text with this mask filled */
};
struct om_fills {
    size_t masks;             /* of the text, at least 1 */
    size_t len;               /* fills of each mask, best first */
    const struct om_fill *at; /* masks * len of them, mask after mask */
};
OM_API int om_pipeline_fill(const struct om_pipeline *p, const struct om_text *texts, size_t n,
                            const struct om_fill_opts *opts, const struct om_fills **out,
                            struct om_error *err);

/* feature-extraction, and sentence-similarity for vectors of whole sentences */
struct om_feature_opts {
    uint32_t struct_size;
    enum om_choice truncation; /* no; for sentences yes */
    int64_t max_length;        /* with truncation; 0: the tokenizer's */
    enum om_choice normalize;  /* of sentences: to length 1 whatever the model does */
};
#define OM_FEATURE_OPTS_INIT                          \
    {                                                 \
        .struct_size = sizeof(struct om_feature_opts) \
    }
struct om_features {
    size_t rows; /* tokens, special ones included; 1 for a sentence */
    size_t size; /* numbers in a row */
    const float *data;
};
OM_API int om_pipeline_embed(const struct om_pipeline *p, const struct om_text *texts, size_t n,
                             const struct om_feature_opts *opts, const struct om_features **out,
                             struct om_error *err);
/* sentence-similarity: (*out)[i] says how much texts[i] is like source, by the function the model
 * names (cosine where it names none). */
OM_API int om_pipeline_similarity(const struct om_pipeline *p, const struct om_text *source,
                                  const struct om_text *texts, size_t n, const float **out,
                                  struct om_error *err);

/* text-generation, text2text-generation, summarization, translation (also by the names
 * translation_XX_to_YY, which say the languages).
 *
 * In calls as JSON the settings of generate() are further keys of kwargs, under the names of
 * Transformers; of text-generation inputs may also be a chat, a list of {"role": ..., "content":
 * ...}, or a list of chats. "seed" is a number that sampling begins with (0): what is drawn is the
 * same for the same seed. Construction may have "generate_kwargs", settings that are as if every
 * call gave them, as JSON: those that Transformers' pipeline() takes give way to a model's where they
 * are defaults of generate(). Other than for the tasks above, a batch is what "batch_size" makes of one
 * call's list: without it every text is run alone, as in Transformers. */
struct om_generation_opts {
    uint32_t struct_size;
    /* The settings of this call; NULL: those of the pipeline. To change some of them, begin with a
     * copy of *om_pipeline_settings(). */
    const struct om_generation_config *config;
    size_t batch_size; /* texts that are run together, which needs a padding token; 0: as init says,
                        * else 1 */
    uint64_t seed;
    struct om_ctx *ctx; /* hears what Transformers warns about, and whether to stop
                         * (OM_E_CANCELLED); NULL: none */
    /* Tokens as they come (not with beams): row counts the results of all texts. With threads,
     * calls may overlap. False ends what is being generated. NULL: none. */
    om_stream_fn *stream;
    void *stream_user;
    enum om_choice return_full_text;    /* text-generation: yes */
    enum om_choice clean_up_spaces;     /* text-generation: yes; others: no */
    enum om_choice skip_special_tokens; /* text-generation: yes */
    enum om_choice truncation;          /* of the text; no */
    int64_t max_length;                 /* text-generation: of the text, in tokens; 0: none */
    const char *prefix;                 /* text-generation: before each text */
    const char *stop_sequence;          /* its tokens end a sequence; NULL: none */
    const char *src_lang, *tgt_lang;    /* translation, where the tokenizer knows several */
    /* Of chats, as in struct om_chat_opts of <optimum/tokenizer.h>. */
    const char *tools, *documents, *variables, *chat_template;
    enum om_choice continue_final_message; /* yes where the last message is an assistant's */
};
#define OM_GENERATION_OPTS_INIT                          \
    {                                                    \
        .struct_size = sizeof(struct om_generation_opts) \
    }
struct om_generated_text {
    struct om_text text;
    const int64_t *ids; /* len of them, with the prompt's, the decoder's first token and padding */
    size_t len;
};
struct om_generated_texts {
    size_t len; /* num_return_sequences */
    const struct om_generated_text *at;
};
OM_API int om_pipeline_generate(const struct om_pipeline *p, const struct om_text *texts, size_t n,
                                const struct om_generation_opts *opts,
                                const struct om_generated_texts **out, struct om_error *err);
/* The next message of a chat: messages is a JSON list of {"role": ..., "content": ...}. The text is
 * what is new, whatever return_full_text. */
OM_API int om_pipeline_chat(const struct om_pipeline *p, const char *messages,
                            const struct om_generation_opts *opts,
                            const struct om_generated_texts **out, struct om_error *err);
/* The settings that calls begin with: the defaults of the task, the model's, and those of init. It
 * belongs to the pipeline; NULL for tasks that generate nothing. */
OM_API const struct om_generation_config *om_pipeline_settings(const struct om_pipeline *p);

#ifdef __cplusplus
}
#endif

#endif
