/* src/task/task.h: tasks, the files an export consists of, their inputs and outputs, and heads that
 * architectures share. */
#ifndef OM_TASK_H
#define OM_TASK_H

#include "nn/builder.h"
#include "nn/nn.h"

/* What is put on top of the body of a model. */
enum om_head {
    OM_HEAD_HIDDEN, /* last_hidden_state */
    OM_HEAD_MASKED_LM,
    OM_HEAD_CAUSAL_LM,
    OM_HEAD_SEQ2SEQ_LM,
    OM_HEAD_SEQUENCE, /* one label per text */
    OM_HEAD_TOKEN,    /* one label per token */
    OM_HEAD_SPAN,     /* start and end of an answer */
    OM_HEAD_CHOICE,   /* one score per choice */
    OM_HEAD_COUNT     /* also: of a task that no architecture offers yet */
};

struct om_task {
    const char *name;            /* "text-generation"; never with a suffix */
    const char *const *synonyms; /* NULL-terminated */
    const char *const
        *class_suffixes; /* NULL-terminated ends of class names: "ForCausalLM", "LMHeadModel" */
    enum om_head head;
    bool positions; /* a decoder that has position_ids takes them as an input */
    bool cache;     /* of decoders and encoder-decoders "<task>-with-past" exists */
};
/* In the order in which tasks are listed. */
extern const struct om_task om_tasks[];
extern const size_t om_task_count;

/* "seq2seq-lm-with-past" -> text2text-generation, *with_past true. NULL: unknown. */
const struct om_task *om_task_parse(om_sv name, bool *with_past);
const struct om_task *om_task_by_head(enum om_head head);
/* The task of a class name (config.json's architectures), NULL: none fits. "BertModel" is
 * feature-extraction. */
const struct om_task *om_task_of_class(om_sv class_name);
/* The synonyms of a task for messages: "seq2seq-lm, summarization". */
void om_task_synonyms(const struct om_task *t, struct om_buf *out);
/* The task or synonym nearest to a wrong name (its -with-past left out of the comparison); NULL:
 * none is near. */
const char *om_task_nearest(om_sv name);

/* A file of an export. */
enum om_part {
    OM_PART_MODEL,          /* model.onnx */
    OM_PART_ENCODER,        /* encoder_model.onnx */
    OM_PART_DECODER,        /* decoder_model.onnx: first step, no past */
    OM_PART_DECODER_PAST,   /* decoder_with_past_model.onnx */
    OM_PART_DECODER_MERGED, /* decoder_model_merged.onnx: both behind an If */
    OM_PART_DECODER_SINGLE, /* decoder_model_merged.onnx as well: every step, without an If */
    OM_PART_COUNT
};
const char *om_part_file(enum om_part part);

/* Where an input occurs: the same name has other axes there. */
enum om_port_set {
    OM_PORTS_TEXT,        /* one text per row */
    OM_PORTS_CHOICE,      /* several texts per row */
    OM_PORTS_CAUSAL_PAST, /* a decoder with past inputs; without them it is TEXT */
    OM_PORTS_ENCODER,     /* of an encoder-decoder, also both sides in one file */
    OM_PORTS_DECODER,
    OM_PORTS_DECODER_SINGLE, /* the encoder's part of the cache has a length of its own */
    OM_PORTS_COUNT
};
/* The axes of a named input, NULL-terminated texts; NULL when the name is unknown there. "*" is an
 * axis whose size the architecture gives (hidden size, heads). The cache's inputs are
 * "past_key_values" and "past_key_values.encoder". */
const char *const *om_port_axes(enum om_port_set set, const char *name);
enum om_dtype om_port_dtype(const char *name); /* OM_DTYPE_NONE: the dtype of activations */

/* Names that replace single inferred axes of an output in the file, OM_RANK_MAX entries, NULL where
 * an axis stays; NULL: none. */
const char *const *om_output_axes(enum om_part part, om_sv name);

/* What the body of a model gives to a head. */
struct om_body {
    om_val hidden;      /* [B,S,H] */
    om_val pooled;      /* [B,H] where the architecture has a pooler and the head asks for it */
    om_val embeddings;  /* the word embedding table as stored, for tied heads */
    const int64_t *pad; /* the id of padding where it is not the configuration's own pad_token_id */
};

/* Heads that several architectures share. root is the checkpoint's root; each emits its outputs. */
void om_head_hidden(om_scope root, const void *cfg,
                    const struct om_body *body); /* last_hidden_state */
void om_head_token(om_scope root, const void *cfg,
                   const struct om_body *body); /* "classifier" on every token */
void om_head_span(om_scope root, const void *cfg, const struct om_body *body); /* "qa_outputs" */
void om_head_pooled(om_scope root, const void *cfg,
                    const struct om_body *body); /* "classifier" on the pooled output */
void om_head_choice(om_scope root, const void *cfg,
                    const struct om_body *body); /* the same, one score per choice */
/* Give logits [B*num_choices, 1] their form [B, num_choices] and emit them. */
void om_head_emit_choice(om_scope root, om_val logits);
/* "score" on every token (no bias), the row of the last token that is not padding: decoders'
 * text-classification. */
void om_head_last_token(om_scope root, const void *cfg, const struct om_body *body);
/* The number of labels must be the configuration's: checks a classifier's output and emits it as
 * logits. */
void om_head_emit_labels(om_scope root, om_val logits);

#endif
