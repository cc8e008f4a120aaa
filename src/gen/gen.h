/* src/gen/gen.h: what the parts of a generation share.
 *
 *     generate.c  settles the settings and puts the parts together
 *     plan.c      lengths, special tokens, refusals: a struct om_plan
 *     decoder.c   a model behind the step callback of struct om_decoder
 *     process.c   what is done to scores before a token is chosen
 *     stop.c      when a sequence is complete
 *     sample.c    one token at a time: greedy, or by chance
 *     beam.c      beam search
 *     stream.c    tokens and text as they come */
#ifndef OM_GEN_H
#define OM_GEN_H

#include <optimum/generation.h>

#include "base/arena.h"
#include "base/base.h"

/* ---- the plan ---- */

/* Settings with nothing left to be decided. */
struct om_plan {
    struct om_generation_config c;
    bool seq2seq;
    size_t batch;
    size_t width;      /* rows of the search for each of the batch: beams, or sequences to return */
    size_t prompt;     /* length that the search begins with */
    size_t max_length; /* it ends with at the latest */
    int64_t pad;       /* -1: none */
    int64_t decoder_start;
    const int64_t *source; /* [batch, source_len]: the ids that were given to the model */
    size_t source_len;
};

/* om_generation_config_open() of the files that info names: dir, model_type and config count. */
int om_generation_config_of(struct om_ctx *ctx, const struct om_model_info *info,
                            struct om_generation_config **out, struct om_error *err);

/* What the caller gave, as far as the plan depends on it. */
struct om_plan_input {
    bool seq2seq, has_mask;
    size_t batch, length;
    const int64_t *ids;
    size_t decoder_length;
    int64_t max_positions; /* max_position_embeddings; negative: not given */
};
int om_plan_make(struct om_ctx *ctx, const struct om_generation_config *c,
                 const struct om_plan_input *in, struct om_plan *out, struct om_error *err);
/* The rest of it, once the length of the prompt is known. */
int om_plan_lengths(struct om_ctx *ctx, struct om_plan *p, size_t prompt, int64_t max_positions,
                    struct om_error *err);
/* Tokens in the settings that the vocabulary does not have. */
int om_plan_check_vocab(const struct om_plan *p, size_t vocab, struct om_error *err);

/* ---- sequences and the model ---- */

/* Rows of ids that all have the length len, and room for stride. */
struct om_seqs {
    int64_t *ids;
    size_t rows, len, stride;
};

static inline int64_t *om_seqs_row(const struct om_seqs *s, size_t row)
{
    return s->ids + row * s->stride;
}

/* The logits of each row's last position, borrowed until the next step. */
struct om_logits {
    const float *data;
    size_t rows, vocab, stride;
};

static inline const float *om_logits_row(const struct om_logits *l, size_t row)
{
    return l->data + row * l->stride;
}

/* A model as a search sees it. The first step is made with a row for each of the batch. */
struct om_decoder {
    /* Logits for the rows, whose earlier steps the decoder may remember. */
    int (*step)(void *user, const struct om_seqs *seqs, struct om_logits *out,
                struct om_error *err);
    /* From now on there are n rows, and row i continues row rows[i] of the last step. */
    int (*select)(void *user, const uint32_t *rows, size_t n, struct om_error *err);
    void *user;
};

/* ---- scores ---- */

/* The processors that a plan asks for, with their working memory. */
struct om_process;
int om_process_new(const struct om_plan *plan, size_t vocab, struct om_process **out,
                   struct om_error *err);
void om_process_free(struct om_process *p);
bool om_process_idle(const struct om_process *p); /* scores stay as they are */
/* Process the scores of a row of the search, a sequence of len ids. */
void om_process_run(struct om_process *p, size_t row, const int64_t *ids, size_t len,
                    float *scores);

void om_log_softmax(const float *x, size_t n, float *out); /* out may be x */
float om_kth_largest(float *x, size_t n, size_t k);        /* 1 <= k <= n; reorders x */

/* ---- numbers by chance ---- */

struct om_random {
    uint64_t s[4];
};
void om_random_seed(struct om_random *r, uint64_t seed);
double om_random_real(struct om_random *r); /* in [0, 1) */
/* An index, drawn with the probabilities softmax(scores). */
size_t om_random_pick(struct om_random *r, const float *scores, size_t n);

/* ---- the end of a sequence ---- */

struct om_stop;
/* Times begin to count here. */
int om_stop_new(const struct om_plan *plan, const struct om_tokenizer *tok, struct om_stop **out,
                struct om_error *err);
void om_stop_free(struct om_stop *s);
/* Whether the sequence is complete with the last of its len ids; out of time counts for all. */
int om_stop_check(struct om_stop *s, const int64_t *ids, size_t len, bool *out,
                  struct om_error *err);

/* ---- streams ---- */

struct om_stream;
int om_stream_new(const struct om_plan *plan, const struct om_generate_opts *o,
                  struct om_stream **out, struct om_error *err); /* *out NULL: nobody listens */
void om_stream_free(struct om_stream *s);
/* A new token of a row. *go_on false: the caller has enough. NULL: nothing happens. */
int om_stream_put(struct om_stream *s, size_t row, int64_t id, bool last, bool *go_on,
                  struct om_error *err);

/* ---- the search ---- */

/* Scores and logits that the caller wants to see: [steps, rows, vocab] each. */
struct om_kept {
    float *scores, *logits;
    size_t scores_cap, logits_cap, scores_len, logits_len;
};

struct om_search {
    struct om_ctx *ctx;
    const struct om_plan *plan;
    const struct om_decoder *decoder;
    struct om_stop *stop;
    struct om_stream *stream;
    const int64_t *prompt; /* [batch, plan->prompt] */
    uint64_t seed;
    bool keep_scores, keep_logits;
    /* set by the search */
    struct om_process *process; /* made with the first logits, when the vocabulary is known */
    size_t vocab, steps;
    struct om_kept kept;
};

/* The prompt as the first rows, one for each of the batch. */
int om_search_begin(const struct om_search *s, struct om_seqs *out, struct om_error *err);
/* One step of the model for all rows. */
int om_search_step(struct om_search *s, const struct om_seqs *seqs, struct om_logits *out,
                   struct om_error *err);
/* Keep a row of scores or logits where the caller wants them. */
int om_search_keep_logits(struct om_search *s, const float *row, struct om_error *err);
int om_search_keep_scores(struct om_search *s, const float *row, struct om_error *err);
void om_search_release(struct om_search *s);

/* Room for one more id in every row. */
int om_seqs_grow(struct om_seqs *s, struct om_error *err);
void om_seqs_release(struct om_seqs *s);

/* The result's ids, as rows of one length; all of it is malloc'ed. */
int om_search_sample(struct om_search *s, struct om_generated *out, struct om_error *err);
int om_search_beams(struct om_search *s, struct om_generated *out, struct om_error *err);

#endif
