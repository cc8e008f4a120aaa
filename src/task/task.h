/* src/task/task.h: tasks, the files an export consists of, their inputs and outputs, and heads that
 * architectures share. */
#ifndef OM_TASK_H
#define OM_TASK_H

#include <optimum/plugin.h>

#include "nn/builder.h"
#include "nn/nn.h"

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

#endif
