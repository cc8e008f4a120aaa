/* src/pipe/generation.h: what the pipelines that generate text share. Each of them is a file of its
 * own, with its parameters, inputs and results.
 *
 * Settings are put together in the order of Transformers: the task's defaults, the model's where
 * those say nothing, construction, task_specific_params; in a call, the model's again where the
 * result has a default, and the call's own. */
#ifndef OM_PIPE_GENERATION_H
#define OM_PIPE_GENERATION_H

#include "pipe/pipe.h"

enum pipe_form { PIPE_FORM_UNSET, PIPE_FORM_IDS, PIPE_FORM_NEW_TEXT, PIPE_FORM_FULL_TEXT };

/* Tokens that are put around a text in place of those that the tokenizer adds. */
struct pipe_frame {
    bool used;
    uint32_t before[2], after[2];
    size_t n_before, n_after;
};

struct pipe_generation_params {
    struct pipe_coding coding;
    struct om_generation_config config;
    enum om_choice return_full_text, return_tensors, return_text; /* check() makes a form of them */
    enum pipe_form form;
    enum om_choice clean_up, skip_special, continue_final;
    struct om_text stop_sequence;
    struct om_token_ids stop;     /* of the construction's stop_sequence */
    struct om_text prefix;        /* ptr NULL: none was given */
    int64_t prefix_length;        /* tokens, of the last prefix that is not empty */
    const struct om_json *always; /* generate_kwargs of the construction */
    bool hole;                    /* handle_long_generation */
    int64_t hole_new_tokens;      /* the call's max_new_tokens; -1: none */
    int64_t seed;
    struct om_ctx *ctx; /* the rest is for the typed door alone */
    om_stream_fn *stream;
    void *stream_user;
    bool config_given;

    struct pipe_coding encode;                                 /* tokenizer_encode_kwargs */
    const char *tools, *documents, *variables, *chat_template; /* of chats */
    struct om_text source, target;                             /* languages */
    struct pipe_frame frame;
    int64_t forced_bos; /* -1: as the settings say */
};
#define PIPE_GENERATION_DEFAULTS .forced_bos = -1, .hole_new_tokens = -1

/* What is known of a pipeline when it is open: p->state. */
struct pipe_generation {
    struct om_generation_config *model; /* the model's own settings */
    bool tokens_only; /* calls take nothing but tokens from them: they are of a version before 4.50
                       */
    struct om_text prefix; /* of the configuration; ptr NULL: none */
};

/* What an item is made of. */
struct pipe_generation_input {
    struct om_text text;
    const struct om_json *messages; /* of a chat; NULL: it is a text */
    const char *chat;               /* the same as JSON text */
};

/* What is left of an item's run. */
struct pipe_generation_rows {
    size_t rows, length, prompt;
    int64_t ids[]; /* [rows, length] */
};

/* "generate_kwargs": settings that are as if each call gave them, before its own. */
int pipe_generation_read_always(const struct pipe_reader *r, const struct om_json *v, void *params);
#define PIPE_GENERATION_ALWAYS                                     \
    {                                                              \
        .key = "generate_kwargs", .kind = PIPE_PARAM_OTHER,        \
        .offset = offsetof(struct pipe_generation_params, always), \
        .read = pipe_generation_read_always                        \
    }

bool pipe_generation_takes(om_sv key);
int pipe_generation_open(struct om_pipeline *p, struct om_error *err);
void pipe_generation_close(struct om_pipeline *p);
/* The settings, after the table was read; a part of check(). */
int pipe_generation_settle(const struct pipe_reader *r, struct pipe_generation_params *g);

int pipe_generation_read(struct pipe_call *c, const struct om_json *inputs, struct om_error *err);
/* Encode prefix and text. */
int pipe_generation_prepare(const struct pipe_call *c, struct pipe_item *item, om_sv prefix,
                            const struct pipe_coding *coding, struct om_error *err);
/* A batch has to be padded: can it be? An arrange(). */
int pipe_generation_arrange(struct pipe_call *c, struct om_error *err);
/* How many tokens of an item's prompt are left, the last of them, where room has to be kept for new
 * ones. */
int pipe_generation_keep(const struct pipe_call *c, const struct pipe_item *item, size_t *keep,
                         struct om_error *err);
int pipe_generation_run(struct pipe_call *c, struct pipe_item *items, size_t n,
                        struct om_error *err);
/* Tokens that the model is given of an item. */
size_t pipe_generation_length(const struct pipe_call *c, const struct pipe_item *item);
int pipe_generation_decode(struct pipe_call *c, const int64_t *ids, size_t n, struct om_text *out,
                           struct om_error *err);

/* {"generated_token_ids": [...]}, of a name such as "generated". */
void pipe_generation_json_ids(struct om_buf *b, const char *name,
                              const struct om_generated_text *text);
void pipe_generation_text(const struct pipe_call *c, const void *result, struct om_buf *b);

/* ---- the tasks of encoder-decoders ---- */

extern const struct pipe_param pipe_text2text_params[];
extern const struct pipe_generation_params pipe_text2text_defaults;
int pipe_text2text_check(const struct pipe_reader *r, void *params);
int pipe_text2text_prepare(const struct pipe_call *c, struct pipe_item *item, struct om_error *err);
int pipe_text2text_finish(struct pipe_call *c, const struct pipe_item *item, void *result,
                          struct om_error *err);
void pipe_text2text_json(const struct pipe_call *c, const void *result, const char *name,
                         struct om_buf *b);

#endif
