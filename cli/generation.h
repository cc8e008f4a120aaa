/* cli/generation.h: what the commands that generate text have in common: settings as options, and
 * text on the terminal as it comes. */
#ifndef CLI_GENERATION_H
#define CLI_GENERATION_H

#include <math.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/opt.h"

#include <optimum/pipeline.h>

/* Numbers that were not given are GENERATION_UNSET and NAN. */
struct generation {
    int64_t max_new_tokens, min_new_tokens, num_beams, num_return_sequences, no_repeat_ngram_size;
    int64_t seed;
    double temperature, top_p, min_p, repetition_penalty, length_penalty;
    const char *stop; /* a stop string */
    bool greedy, sample;
};
enum { GENERATION_UNSET = -1 };
#define GENERATION_INIT                                                                         \
    {                                                                                           \
        .max_new_tokens = GENERATION_UNSET, .min_new_tokens = GENERATION_UNSET,                 \
        .num_beams = GENERATION_UNSET, .num_return_sequences = GENERATION_UNSET,                \
        .no_repeat_ngram_size = GENERATION_UNSET, .seed = GENERATION_UNSET, .temperature = NAN, \
        .top_p = NAN, .min_p = NAN, .repetition_penalty = NAN, .length_penalty = NAN            \
    }

#define GENERATION_OPTIONS(g)                                                                   \
    OPT_INT(0, "max-new-tokens", &(g)->max_new_tokens, "N", 1,                                  \
            "tokens that are added at most (default: the model's, else 256)"),                  \
        OPT_FLAG(0, "greedy", &(g)->greedy, "always the likeliest token"),                      \
        OPT_FLAG(0, "sample", &(g)->sample, "tokens by chance"),                                \
        OPT_REAL(0, "temperature", &(g)->temperature, "X", "of sampling: less is more likely"), \
        OPT_REAL(0, "top-p", &(g)->top_p, "X",                                                  \
                 "of sampling: the likeliest tokens that have X of the probability together"),  \
        OPT_REAL(0, "min-p", &(g)->min_p, "X",                                                  \
                 "of sampling: tokens that are at least X times as likely as the likeliest"),   \
        OPT_REAL(0, "repetition-penalty", &(g)->repetition_penalty, "X",                        \
                 "more than 1: tokens that are there already become less likely"),              \
        OPT_INT(0, "no-repeat-ngram-size", &(g)->no_repeat_ngram_size, "N", 0,                  \
                "no N tokens in a row twice"),                                                  \
        OPT_STR(0, "stop", &(g)->stop, "TEXT", "end where this text comes", 0),                 \
        OPT_INT(0, "seed", &(g)->seed, "N", 0,                                                  \
                "where chance begins: equal seeds, equal texts (default: 0)")

/* The settings that were given as members of a JSON object, each with its comma before it when *n
 * is not 0; *n counts them. */
void generation_put(const struct generation *g, struct om_buf *b, size_t *n);

/* Text to standard output as it comes: an om_stream_fn. */
bool generation_print(void *user, const struct om_stream_piece *piece);

#endif
