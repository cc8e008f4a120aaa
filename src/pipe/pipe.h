/* src/pipe/pipe.h: what the pipelines share. A task is one file and one line of tasks.def.
 *
 * A call goes through these stages, whichever door it came in by:
 *
 *   inputs   -> items of the task's own type, one for each text, question ...
 *   prepare  -> encodings; their windows, of all items of all calls, are sorted by length and run
 * in batches reduce   -> right after a batch, what is needed of each window's outputs is kept
 *   finish   -> a result of the task's public type for each item
 *
 * Results are structs for the typed door; for the other one a task writes them as JSON or text. */
#ifndef OM_PIPE_H
#define OM_PIPE_H

#include <optimum/pipeline.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"

#define PIPE_ARENA_MAX ((size_t)64 << 30)
#define PIPE_TEXT_MAX ((size_t)4 << 30)
enum { PIPE_OUTPUTS = 2, PIPE_BATCH_SIZE_MAX = 1 << 20 };

/* ---- a pipeline ---- */

struct pipe_id {
    bool known;
    uint32_t id;
};

/* The tokenizer with what tokenizer_kwargs changes of it. */
struct pipe_tokenizer {
    const struct om_tokenizer *tok;
    uint64_t max_length; /* UINT64_MAX: none */
    enum om_side padding_side, truncation_side;
    bool gives_type_ids;
    const char *mask_token;
    struct pipe_id pad, cls, mask, unk;
};

struct om_pipeline {
    struct om_arena arena;
    const struct pipe_task *task;
    const struct om_model *model;
    struct pipe_tokenizer t;
    struct om_model *own_model; /* NULL: somebody else's */
    struct om_tokenizer *own_tokenizer;
    struct om_json *init;
    struct om_json *config; /* config.json */
    const char *name;       /* of the task, as it was opened */
    struct om_ctx *ctx;     /* while it is opened; else NULL */
    size_t batch_size, threads;
    size_t init_batch_size;            /* of the construction parameters; 0: not there */
    void *params;                      /* the task's, for calls that say nothing else */
    const void *state;                 /* the task's own */
    const char *outputs[PIPE_OUTPUTS]; /* that a window's rows come from; NULL: none further */
    bool per_token;                    /* a row for each token, else one for the window */
};

/* ---- parameters ---- */

/* Whoever reads parameters: memory for what they refer to, and where messages go. */
struct pipe_reader {
    const struct om_pipeline *p;
    struct om_arena *arena;
    struct om_error *err;
    const struct om_json *object; /* all of them; NULL: none, or the typed door */
};

enum pipe_param_kind {
    PIPE_PARAM_INT,    /* int64_t, at least min */
    PIPE_PARAM_CHOICE, /* enum om_choice */
    PIPE_PARAM_TEXT,   /* struct om_text */
    PIPE_PARAM_TEXTS,  /* struct pipe_texts: a list, or one text */
    PIPE_PARAM_ENUM,   /* int: the place in names, plus 1 */
    PIPE_PARAM_IGNORED,
    PIPE_PARAM_OTHER /* by read() */
};

struct pipe_param {
    const char *key;
    enum pipe_param_kind kind;
    size_t offset;
    int64_t min;
    const char *const *names; /* NULL-terminated */
    int (*read)(const struct pipe_reader *r, const struct om_json *v, void *params);
};
/* A row: kind, struct, member, then the key and other members. */
#define PIPE_PARAM(k, type, member, ...)                                             \
    {                                                                                \
        .kind = PIPE_PARAM_##k, .offset = offsetof(type, member), .key = __VA_ARGS__ \
    }

struct pipe_texts {
    const struct om_text *at; /* NULL: not given */
    size_t len;
};

/* Set the members of params that the object names; null leaves one as it is, but for OTHER. A key
 * that is in no table and that takes (which may be NULL) does not take is an error. tables is
 * NULL-terminated. */
int pipe_params_read(const struct pipe_reader *r, const struct om_json *object,
                     const struct pipe_param *const *tables, bool (*takes)(om_sv key),
                     void *params);

/* "batch_size" of construction parameters or a call's; *out stays as it is without one. */
int pipe_read_batch_size(const struct om_json *object, size_t *out, struct om_error *err);

/* How a text is encoded: the arguments of Transformers' tokenizers. */
enum pipe_truncation {
    PIPE_TRUNCATE_UNSET,
    PIPE_TRUNCATE_NO,
    PIPE_TRUNCATE_LONGEST,
    PIPE_TRUNCATE_FIRST,
    PIPE_TRUNCATE_SECOND
};
enum pipe_padding { PIPE_PAD_NO, PIPE_PAD_LONGEST, PIPE_PAD_MAX_LENGTH };
struct pipe_coding {
    enum pipe_truncation truncation;
    enum pipe_padding padding;
    int64_t max_length;  /* 0: the tokenizer's */
    int64_t multiple_of; /* of padding; 0: any */
    int64_t stride;
    enum om_choice add_special_tokens;
};
/* Their keys, for params that begin with a struct pipe_coding. */
extern const struct pipe_param pipe_coding_params[];
int pipe_read_truncation(const struct pipe_reader *r, const struct om_json *v, void *coding);
int pipe_read_padding(const struct pipe_reader *r, const struct om_json *v, void *coding);
/* "tokenizer_kwargs" and "tokenize_kwargs": an object of them. */
int pipe_read_coding(const struct pipe_reader *r, const struct om_json *v, void *coding);
/* The parameters of the tasks that give vectors. */
struct pipe_embed_params {
    struct pipe_coding coding;
    enum om_choice normalize, return_tensors;
};

/* By what the typed door has: a choice and a length. */
void pipe_coding_set(struct pipe_coding *c, enum om_choice truncation, int64_t max_length);

/* A caller compiled against an older header has a shorter struct: what it lacks keeps its INIT
 * value. */
int pipe_opts_copy(void *to, const void *from, size_t size, struct om_error *err);

/* ---- calls ---- */

struct pipe_call;
struct pipe_item;

struct pipe_window {
    const struct om_encoding *enc;
    struct pipe_item *item;
    void *kept;               /* what reduce() left; malloc'ed */
    int rc;                   /* of running it */
    struct om_error *failure; /* its message; NULL when there was no memory for it */
};

struct pipe_item {
    struct pipe_call *call;
    const void *input; /* the task's own type */
    struct om_encoding **encs;
    struct pipe_window *windows;
    size_t n_encs, n_windows;
    struct om_error err;
};

struct pipe_call {
    const struct om_pipeline *p;
    struct om_arena arena; /* inputs, parameters and results */
    struct om_json *doc;   /* of the JSON door */
    const struct om_json *kwargs;
    void *params;
    size_t batch_size; /* as Transformers would have it, which shows in padded features; 0: 1 */
    struct pipe_item *items;
    size_t n;
    bool json;     /* it came as JSON */
    bool list;     /* results are a list, even of one */
    bool whole;    /* its result is the task's whole() */
    void *results; /* n of the task's public type: a pipe_call_block() */
    struct om_error err;
};

/* A window's part of a batch's outputs. */
struct pipe_rows {
    const float *data[PIPE_OUTPUTS];
    size_t rows, width; /* rows are the window's tokens, or 1 */
};

struct pipe_task {
    const char *name;
    const char *const *aliases; /* NULL-terminated */
    enum om_model_class model_class;
    const struct pipe_param *params;
    size_t params_size, input_size, result_size;
    const void *defaults;            /* params_size bytes */
    bool (*named)(const char *name); /* names beside the aliases; NULL: none */
    bool (*takes)(om_sv key); /* parameters beside the table, which check() reads; NULL: none */

    /* Look at the model and the tokenizer; set outputs and state. May be NULL. */
    int (*open)(struct om_pipeline *p, struct om_error *err);
    void (*close)(struct om_pipeline *p); /* also when open() failed. May be NULL */
    /* After parameters were set: what depends on several, or on the tokenizer. May be NULL. */
    int (*check)(const struct pipe_reader *r, void *params);
    /* Make items of the inputs of the JSON door. */
    int (*read)(struct pipe_call *c, const struct om_json *inputs, struct om_error *err);
    /* Encode an item; on any thread. */
    int (*prepare)(const struct pipe_call *c, struct pipe_item *item, struct om_error *err);
    /* After all items of a call were prepared. May be NULL. */
    int (*arrange)(struct pipe_call *c, struct om_error *err);
    /* In place of reduce(), by tasks that run the model in their own way: n neighbours of a call's
     * items together, as many as the batch size of the call; on any thread. */
    int (*run)(struct pipe_call *c, struct pipe_item *items, size_t n, struct om_error *err);
    /* Keep what finish() needs; on any thread. */
    int (*reduce)(const struct pipe_window *w, const struct pipe_rows *rows, void **kept,
                  struct om_error *err);
    int (*finish)(struct pipe_call *c, const struct pipe_item *item, void *result,
                  struct om_error *err);
    void (*json)(const struct pipe_call *c, const void *result, struct om_buf *b);
    void (*text)(const struct pipe_call *c, const void *result, struct om_buf *b);
    /* In their place for calls that say so: the result is not that of the items. May be NULL. */
    int (*whole)(struct pipe_call *c, enum om_pipeline_format format, struct om_buf *b,
                 struct om_error *err);
};

#define PIPE_TASK(name) extern const struct pipe_task pipe_##name;
#include "pipe/tasks.def"
#undef PIPE_TASK

/* Begin and end a call. begin copies the pipeline's parameters into c->params. */
int pipe_call_begin(struct pipe_call *c, const struct om_pipeline *p, struct om_error *err);
void pipe_call_end(struct pipe_call *c); /* accepts a zeroed value */
/* Room for n items; their inputs, zeroed, are at the return value. NULL when out of memory. */
void *pipe_call_items(struct pipe_call *c, size_t n);
/* A list of words of the caller as a parameter of the call. */
int pipe_call_names(struct pipe_call *c, const char *const *names, size_t n, struct pipe_texts *out,
                    struct om_error *err);
/* n elements that pipe_call_hand_out() can give away. NULL when out of memory. */
void *pipe_call_block(struct pipe_call *c, size_t n, size_t size);
/* What a function of the typed door gives: the block, with all of the call's memory. Only
 * pipe_call_end() is left to do. */
const void *pipe_call_hand_out(struct pipe_call *c, void *block);
/* Parameters are complete: check them. */
int pipe_call_check(struct pipe_call *c, struct om_error *err);
/* Prepare, run and finish n calls of one pipeline. A call that fails has it in its err. */
void pipe_calls_run(struct pipe_call *calls, size_t n);

/* The typed door: begin a call for a pipeline of the task, ... */
int pipe_typed_begin(struct pipe_call *c, const struct om_pipeline *p, const struct pipe_task *task,
                     struct om_error *err);
/* ... run it, ... rc: of what was between; nothing is run when it is negative. */
int pipe_typed_run(struct pipe_call *c, int rc, struct om_error *err);
/* ... or run it, end it, and hand out its results. */
int pipe_typed_end(struct pipe_call *c, int rc, const void **out, struct om_error *err);

/* ---- for the tasks ---- */

int pipe_no_memory(struct om_error *err);
/* {"text" ...} inputs that are one text or a list of texts, as struct om_text. */
int pipe_read_texts(struct pipe_call *c, const struct om_json *inputs, struct om_error *err);
int pipe_read_text(const struct om_json *v, const char *what, struct om_text *out,
                   struct om_error *err);

/* Add an encoding of text, or of text and pair (NULL: none), to the item; windows: with all that
 * truncation leaves. */
int pipe_encode(const struct om_pipeline *p, struct pipe_item *item, const struct om_text *text,
                const struct om_text *pair, const struct pipe_coding *coding, bool windows,
                struct om_error *err);
/* The same for one that was made otherwise, which the item owns from now on, whatever happens. */
int pipe_item_add(struct pipe_item *item, struct om_encoding *enc, bool windows,
                  struct om_error *err);
/* The strategy that the arguments come to. True: truncate as *out says. */
bool pipe_resolve_truncation(const struct pipe_tokenizer *t, const struct pipe_coding *c,
                             struct om_truncation *out);

/* The outputs that the model must have; fails when it lacks one. */
int pipe_need_output(struct om_pipeline *p, size_t i, const char *name, struct om_error *err);
bool pipe_has_output(const struct om_pipeline *p, const char *name);
/* The label of an id; NULL and a message where there is none. */
const char *pipe_label(const struct om_pipeline *p, size_t id, struct om_error *err);

/* A copy in the call's arena; ptr NULL: out of memory. */
struct om_text pipe_keep_text(struct pipe_call *c, om_sv text);

/* reduce() and finish() of tasks whose results are an item's rows as they are. */
int pipe_keep_rows(const struct pipe_window *w, const struct pipe_rows *rows, void **kept,
                   struct om_error *err);
int pipe_give_rows(struct pipe_call *c, const struct pipe_item *item, void *features,
                   struct om_error *err);

/* A text by code points. */
struct pipe_chars {
    om_sv text;
    size_t len;         /* code points */
    const uint32_t *at; /* where each begins, and the end; NULL: all are one byte */
};
int pipe_chars_init(struct pipe_chars *c, struct om_arena *a, const struct om_text *text,
                    struct om_error *err);
size_t pipe_chars_byte(const struct pipe_chars *c, size_t i); /* i beyond the end: the end */
om_sv pipe_chars_slice(const struct pipe_chars *c, size_t begin,
                       size_t end); /* as Python's text[begin:end] */

/* The largest scores: a heap that the caller owns. Of equal scores the lower key counts as larger.
 */
struct pipe_best {
    float score;
    uint32_t key, other;
};
struct pipe_top {
    struct pipe_best *at; /* room for max */
    size_t len, max;
};
bool pipe_top_wants(const struct pipe_top *t, float score); /* false: it would not be kept */
void pipe_top_add(struct pipe_top *t, float score, uint32_t key, uint32_t other);
void pipe_top_sort(struct pipe_top *t); /* best first; nothing can be added after it */

/* ---- writing ---- */

void pipe_json_text(struct om_buf *b, struct om_text text);
void pipe_json_score(struct om_buf *b, float score); /* NaN and Infinity as Python writes them */
void pipe_json_floats(struct om_buf *b, const float *data, size_t n);
/* A line for people: text with line breaks and tabs as spaces. */
void pipe_plain_text(struct om_buf *b, struct om_text text);

#endif
