/* src/task/task.h: tasks, the files an export consists of, their inputs and outputs, and heads that architectures share. */
#ifndef OM_TASK_H
#define OM_TASK_H

#include "nn/builder.h"
#include "nn/nn.h"

/* What is put on top of the body of a model. */
enum om_head {
    OM_HEAD_HIDDEN,     /* last_hidden_state */
    OM_HEAD_MASKED_LM,
    OM_HEAD_CAUSAL_LM,
    OM_HEAD_SEQ2SEQ_LM,
    OM_HEAD_SEQUENCE,   /* one label per text */
    OM_HEAD_TOKEN,      /* one label per token */
    OM_HEAD_SPAN,       /* start and end of an answer */
    OM_HEAD_CHOICE,     /* one score per choice */
    OM_HEAD_COUNT
};

struct om_task {
    const char *name;                  /* "text-generation"; never with a suffix */
    const char *const *synonyms;       /* NULL-terminated */
    const char *const *class_suffixes; /* of a class name in config.json's architectures: "ForCausalLM", "LMHeadModel" */
    enum om_head head;
    const char *const *outputs;        /* NULL-terminated names, in order; the cache follows */
    bool positions;                    /* a decoder with position_ids takes them as input */
};
extern const struct om_task om_tasks[];
extern const size_t om_task_count;

/* "seq2seq-lm-with-past" -> text2text-generation, *with_past true. NULL: unknown. */
const struct om_task *om_task_parse(om_sv name, bool *with_past);
/* The task of a class name (config.json's architectures), NULL: none fits. "BertModel" is feature-extraction. */
const struct om_task *om_task_of_class(om_sv class_name);
/* The synonyms of a task for messages: "seq2seq-lm, summarization". */
void om_task_synonyms(const struct om_task *t, struct om_buf *out);

/* A file of an export. */
enum om_part {
    OM_PART_MODEL,             /* model.onnx */
    OM_PART_ENCODER,           /* encoder_model.onnx */
    OM_PART_DECODER,           /* decoder_model.onnx: first step, no past */
    OM_PART_DECODER_PAST,      /* decoder_with_past_model.onnx */
    OM_PART_DECODER_MERGED,    /* decoder_model_merged.onnx: both behind an If */
    OM_PART_COUNT
};
const char *om_part_file(enum om_part part);

/* The axes of a named input in a part, NULL-terminated texts; NULL when the name is unknown. */
const char *const *om_port_axes(enum om_part part, const struct om_task *task, bool past, const char *name);
/* The names of an output's dynamic axes by position (entries NULL where the axis is as inferred), NULL-terminated by
 * rank at most OM_RANK_MAX; NULL: all as inferred. */
const char *const *om_output_axes(enum om_part part, const struct om_task *task, const char *name);

/* What the body of a model gives to a head. */
struct om_body {
    om_val hidden;         /* [B,S,H] */
    om_val pooled;         /* [B,H] where the architecture has a pooler and the head asks for it */
    om_val embeddings;     /* the word embedding table, for tied heads */
};

/* Heads that several architectures share. root is the checkpoint's root; each emits its outputs. */
void om_head_hidden(om_scope root, const void *cfg, const struct om_body *body);     /* last_hidden_state */
void om_head_token(om_scope root, const void *cfg, const struct om_body *body);      /* "classifier" on every token */
void om_head_span(om_scope root, const void *cfg, const struct om_body *body);       /* "qa_outputs" */
void om_head_pooled(om_scope root, const void *cfg, const struct om_body *body);     /* "classifier" on the pooled output */
void om_head_choice(om_scope root, const void *cfg, const struct om_body *body);     /* the same, one score per choice */
/* Give logits [B*num_choices, 1] their form [B, num_choices] and emit them. */
void om_head_emit_choice(om_scope root, om_val logits);
/* "score" on every token (no bias), the row of the last token that is not padding: decoders' text-classification. */
void om_head_last_token(om_scope root, const void *cfg, const struct om_body *body);
/* The number of labels must be the configuration's: checks a classifier's output and emits it as logits. */
void om_head_emit_labels(om_scope root, om_val logits);

#endif
