/* include/optimum/generation.h: what generate() of Transformers does, for models of the classes
 * OM_MODEL_CAUSAL_LM and OM_MODEL_SEQ2SEQ_LM.
 *
 *     om_model_open(ctx, &model_opts, &model, &err);
 *     om_generation_config_open(ctx, model, &config, &err);
 *     config->max_new_tokens = 20;
 *     om_generate(ctx, model, &inputs, &(struct om_generate_opts){ ... .config = config }, &out,
 * &err);
 *
 * Ids are the currency: texts are the business of <optimum/tokenizer.h>. With the same settings the
 * ids are those that the original gives; only what is drawn by chance differs, as the generator of
 * random numbers is our own. */
#ifndef OPTIMUM_GENERATION_H
#define OPTIMUM_GENERATION_H

#include <optimum/model.h>
#include <optimum/tokenizer.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- settings ---- */

struct om_token_ids {
    const int64_t *ids;
    size_t len;
};

/* A bias for the last of the tokens where the others precede it. */
struct om_token_bias {
    struct om_token_ids tokens;
    double bias;
};

enum om_early_stopping { OM_EARLY_STOPPING_FALSE, OM_EARLY_STOPPING_TRUE, OM_EARLY_STOPPING_NEVER };

/* GenerationConfig: names, meaning and defaults are those of Transformers 4.57, except that ids and
 * counts that are None there are -1 here, and lists that are None are empty. Lists and strings are
 * borrowed: whoever changes one keeps it alive. */
struct om_generation_config {
    uint32_t struct_size; /* set by OM_GENERATION_CONFIG_INIT; lets the struct grow */

    int64_t max_length;     /* the prompt included; 20 */
    int64_t max_new_tokens; /* wins over max_length; -1 */
    int64_t min_length;     /* the prompt included; 0 */
    int64_t min_new_tokens; /* -1 */
    /* A max_length of 20 is meant as it stands. Without this it counts as not set: 20 new tokens.
     */
    bool max_length_given;
    double max_time;                 /* in seconds; negative: no limit */
    const char *const *stop_strings; /* need a tokenizer in struct om_generate_opts */
    size_t n_stop_strings;

    bool do_sample;
    bool use_cache; /* true */
    int64_t num_beams;
    int64_t num_return_sequences;
    enum om_early_stopping early_stopping;
    double length_penalty;

    double temperature;
    int64_t top_k; /* 50; 0: off */
    double top_p;
    double min_p; /* negative: off */
    double typical_p;
    double epsilon_cutoff, eta_cutoff;

    double repetition_penalty, encoder_repetition_penalty;
    int64_t no_repeat_ngram_size, encoder_no_repeat_ngram_size;
    const struct om_token_ids *bad_words; /* bad_words_ids */
    size_t n_bad_words;
    const struct om_token_bias *sequence_bias;
    size_t n_sequence_bias;
    struct om_token_ids suppress_tokens, begin_suppress_tokens;
    int64_t forced_bos_token_id;             /* -1 */
    struct om_token_ids forced_eos_token_id; /* one or several */
    int64_t exponential_decay_start;         /* exponential_decay_length_penalty; -1: off */
    double exponential_decay_factor;
    bool remove_invalid_values, renormalize_logits;

    int64_t pad_token_id, bos_token_id; /* -1 */
    struct om_token_ids eos_token_id;   /* one or several */
    int64_t decoder_start_token_id;     /* -1: bos_token_id */
};
#define OM_GENERATION_CONFIG_INIT                                                                  \
    {                                                                                              \
        .struct_size = sizeof(struct om_generation_config), .max_length = 20,                      \
        .max_new_tokens = -1, .min_new_tokens = -1, .max_time = -1, .use_cache = true,             \
        .num_beams = 1, .num_return_sequences = 1, .length_penalty = 1, .temperature = 1,          \
        .top_k = 50, .top_p = 1, .min_p = -1, .typical_p = 1, .repetition_penalty = 1,             \
        .encoder_repetition_penalty = 1, .forced_bos_token_id = -1, .exponential_decay_start = -1, \
        .exponential_decay_factor = 1, .pad_token_id = -1, .bos_token_id = -1,                     \
        .decoder_start_token_id = -1                                                               \
    }

/* The model's own settings: generation_config.json beside its config.json, else what config.json
 * has of them; values of older checkpoints that stand in config.json although they belong into the
 * other file win over it, as in Optimum. Keys that would change what is generated and are not
 * implemented are an error that names them; unknown ones are ignored. ctx hears what Transformers
 * warns about. *out stands alone; its members may be changed. */
OM_API int om_generation_config_open(struct om_ctx *ctx, const struct om_model *m,
                                     struct om_generation_config **out, struct om_error *err);
/* The members of a JSON object, under the names of Transformers, on top of base (NULL: the
 * defaults): keyword arguments of generate(), or a generation_config.json. null stands for None.
 * *out stands alone, base may be freed. */
OM_API int om_generation_config_parse(struct om_ctx *ctx, const struct om_generation_config *base,
                                      const char *json, size_t len,
                                      struct om_generation_config **out, struct om_error *err);
OM_API void om_generation_config_free(struct om_generation_config *c); /* accepts NULL */

/* Every member of *c that has its default takes the value of from, whose lists it borrows: the way
 * defaults of a pipeline give way to those of a model. */
OM_API void om_generation_config_fill(struct om_generation_config *c,
                                      const struct om_generation_config *from);

/* ---- generating ---- */

/* Row-major; borrowed for the call. */
struct om_generate_inputs {
    uint32_t struct_size; /* set by OM_GENERATE_INPUTS_INIT */
    size_t batch, length; /* length 0: a prompt of bos_token_id */
    const int64_t *ids;   /* [batch, length]: the prompt, or the encoder's input */
    const int64_t *mask;  /* [batch, length] of 0 and 1; NULL: 0 where ids are padding that is not
                           * a token that ends a sequence. Prompts are padded on the left */
    const int64_t *decoder_ids; /* encoder-decoder: the first ids of the decoder, [batch,
                                 * decoder_length]; NULL: decoder_start_token_id, which is also put
                                 * before them where none begins with it */
    size_t decoder_length;
};
#define OM_GENERATE_INPUTS_INIT                                      \
    {                                                                \
        .struct_size = sizeof(struct om_generate_inputs), .batch = 1 \
    }

/* A token as it comes. */
struct om_stream_piece {
    size_t row; /* of the result */
    int64_t id;
    const char *text; /* with a tokenizer: what is certain now; it may be empty, and ends with NUL.
                       * Without one: NULL */
    size_t text_len;
    bool last; /* of its row */
};
/* False ends the generation: the result then has what came until now. */
typedef bool om_stream_fn(void *user, const struct om_stream_piece *piece);

struct om_generate_opts {
    uint32_t struct_size;                      /* set by OM_GENERATE_OPTS_INIT */
    const struct om_generation_config *config; /* NULL: the model's own */
    const struct om_tokenizer *tokenizer;      /* for stop strings and streamed text; or NULL */
    uint64_t seed;                             /* for sampling: equal seeds, equal ids */
    om_stream_fn *stream;                      /* not with beams; NULL: none */
    void *stream_user;
    const struct om_decode_opts *stream_decode; /* of streamed text; NULL: special tokens are
                                                 * skipped and the tokenizer's clean-up is done */
    bool keep_scores; /* output_scores: what the choice of each token was made from */
    bool keep_logits; /* output_logits: what the model gave */
};
#define OM_GENERATE_OPTS_INIT                          \
    {                                                  \
        .struct_size = sizeof(struct om_generate_opts) \
    }

struct om_generated {
    size_t rows, length;          /* rows: num_return_sequences for each of the batch */
    size_t prompt;                /* how many of length were there before */
    const int64_t *ids;           /* [rows, length], padded behind the end of a sequence */
    const float *sequence_scores; /* [rows], of beams; else NULL */
    const int32_t *beam_indices;  /* [rows, length - prompt], of beams: the beam that each new id
                                   * continued, -1 behind the end; else NULL */
    /* With keep_scores and keep_logits, else NULL: [steps, score_rows, vocab]. score_rows:
     * num_beams (or, without beams, num_return_sequences) for each of the batch. */
    size_t steps, score_rows, vocab;
    const float *scores, *logits;
};

/* Generate. opts may be NULL. A warning of Transformers goes to ctx's logger; om_ctx_cancel() is
 * heeded between tokens (OM_E_CANCELLED). Free *out with om_generated_free(). */
OM_API int om_generate(struct om_ctx *ctx, const struct om_model *m,
                       const struct om_generate_inputs *inputs, const struct om_generate_opts *opts,
                       struct om_generated **out, struct om_error *err);
OM_API void om_generated_free(struct om_generated *g); /* accepts NULL */

#ifdef __cplusplus
}
#endif

#endif
