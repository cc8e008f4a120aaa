/* src/task/ports.c: the axes of every named input, by where it occurs. */
#include "task/task.h"

#define AXES(...)         \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }
#define BIT(set) (1u << (set))

#define DECODER_SETS (BIT(OM_PORTS_DECODER) | BIT(OM_PORTS_DECODER_SINGLE))

#define PAST_AND_NEW "past_sequence_length + sequence_length"

struct port_row {
    unsigned sets; /* of BIT(enum om_port_set) */
    const char *name;
    const char *const *axes;
};

static const struct port_row rows[] = {
    { BIT(OM_PORTS_TEXT) | BIT(OM_PORTS_CAUSAL_PAST), "input_ids",
      AXES("batch_size", "sequence_length") },
    { BIT(OM_PORTS_TEXT), "attention_mask", AXES("batch_size", "sequence_length") },
    { BIT(OM_PORTS_TEXT), "token_type_ids", AXES("batch_size", "sequence_length") },
    { BIT(OM_PORTS_TEXT) | BIT(OM_PORTS_CAUSAL_PAST), "position_ids",
      AXES("batch_size", "sequence_length") },
    { BIT(OM_PORTS_CAUSAL_PAST), "attention_mask", AXES("batch_size", PAST_AND_NEW) },
    { BIT(OM_PORTS_CAUSAL_PAST), "past_key_values",
      AXES("batch_size", "*", "past_sequence_length", "*") },

    { BIT(OM_PORTS_CHOICE), "input_ids", AXES("batch_size", "num_choices", "sequence_length") },
    { BIT(OM_PORTS_CHOICE), "attention_mask",
      AXES("batch_size", "num_choices", "sequence_length") },
    { BIT(OM_PORTS_CHOICE), "token_type_ids",
      AXES("batch_size", "num_choices", "sequence_length") },

    { BIT(OM_PORTS_ENCODER), "input_ids", AXES("batch_size", "encoder_sequence_length") },
    { BIT(OM_PORTS_ENCODER), "attention_mask", AXES("batch_size", "encoder_sequence_length") },
    { BIT(OM_PORTS_ENCODER), "decoder_input_ids", AXES("batch_size", "decoder_sequence_length") },

    { DECODER_SETS, "encoder_attention_mask",
      AXES("batch_size", "encoder_sequence_length") },
    { DECODER_SETS, "input_ids", AXES("batch_size", "decoder_sequence_length") },
    { DECODER_SETS, "encoder_hidden_states",
      AXES("batch_size", "encoder_sequence_length", "*") },
    { DECODER_SETS, "past_key_values",
      AXES("batch_size", "*", "past_decoder_sequence_length", "*") },
    { BIT(OM_PORTS_DECODER), "past_key_values.encoder",
      AXES("batch_size", "*", "encoder_sequence_length", "*") },
    { BIT(OM_PORTS_DECODER_SINGLE), "past_key_values.encoder",
      AXES("batch_size", "*", "past_encoder_sequence_length", "*") },
    { BIT(OM_PORTS_DECODER), "use_cache_branch", AXES("1") },
};

const char *const *om_port_axes(enum om_port_set set, const char *name)
{
    for (size_t i = 0; i < OM_COUNT(rows); i++)
        if ((rows[i].sets & BIT(set)) && strcmp(rows[i].name, name) == 0)
            return rows[i].axes;
    return NULL;
}

enum om_dtype om_port_dtype(const char *name)
{
    if (strcmp(name, "use_cache_branch") == 0)
        return OM_BOOL;
    if (strcmp(name, "encoder_hidden_states") == 0 || strncmp(name, "past_key_values", 15) == 0)
        return OM_DTYPE_NONE;
    return OM_I64;
}

/* ---- outputs ---- */

#define PART(part) (1u << (part))
#define DECODERS                                                                         \
    (PART(OM_PART_DECODER) | PART(OM_PART_DECODER_PAST) | PART(OM_PART_DECODER_MERGED) | \
     PART(OM_PART_DECODER_SINGLE))
#define PAST_AND_NEW_DECODER "past_decoder_sequence_length + decoder_sequence_length"

/* The original's file of the first step names its present axis as if there were a past, and its
 * file with past was traced for one new token; programs look at these names. */
struct output_row {
    unsigned parts;
    const char *prefix, *suffix;
    const char *axes[OM_RANK_MAX];
};

static const struct output_row output_rows[] = {
    { DECODERS, "present.", ".decoder.key", { NULL, NULL, PAST_AND_NEW_DECODER } },
    { DECODERS, "present.", ".decoder.value", { NULL, NULL, PAST_AND_NEW_DECODER } },
    { PART(OM_PART_DECODER_MERGED),
      "present.",
      "",
      { "batch_size", NULL, "encoder_sequence_length" } },
    { PART(OM_PART_DECODER_PAST), "", "", { NULL, "1" } },
    { PART(OM_PART_MODEL), "present.", "", { NULL, NULL, PAST_AND_NEW } },
};

const char *const *om_output_axes(enum om_part part, om_sv name)
{
    for (size_t i = 0; i < OM_COUNT(output_rows); i++)
        if ((output_rows[i].parts & PART(part)) &&
            om_sv_starts(name, om_sv_str(output_rows[i].prefix)) &&
            om_sv_ends(name, om_sv_str(output_rows[i].suffix)))
            return output_rows[i].axes;
    return NULL;
}
