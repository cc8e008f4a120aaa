/* cli/generation.c: see generation.h. */
#include "cli/generation.h"

#include <stdio.h>

static void put_key(struct om_buf *b, size_t *n, const char *key)
{
    om_buf_printf(b, "%s\"%s\": ", (*n)++ ? ", " : "", key);
}

static void put_numbers(const struct generation *g, struct om_buf *b, size_t *n)
{
    const struct {
        const char *key;
        int64_t value;
    } integers[] = {
        { "max_new_tokens", g->max_new_tokens },
        { "min_new_tokens", g->min_new_tokens },
        { "num_beams", g->num_beams },
        { "num_return_sequences", g->num_return_sequences },
        { "no_repeat_ngram_size", g->no_repeat_ngram_size },
    };
    const struct {
        const char *key;
        double value;
    } reals[] = {
        { "temperature", g->temperature },
        { "top_p", g->top_p },
        { "min_p", g->min_p },
        { "repetition_penalty", g->repetition_penalty },
        { "length_penalty", g->length_penalty },
    };

    for (size_t i = 0; i < OM_COUNT(integers); i++) {
        if (integers[i].value == GENERATION_UNSET)
            continue;
        put_key(b, n, integers[i].key);
        om_buf_printf(b, "%" PRId64, integers[i].value);
    }
    for (size_t i = 0; i < OM_COUNT(reals); i++) {
        if (isnan(reals[i].value))
            continue;
        put_key(b, n, reals[i].key);
        om_buf_real(b, reals[i].value);
    }
}

/* What says how to sample is off without sampling, lest there be warnings that it has no meaning. */
static void put_no_sampling(const struct generation *g, struct om_buf *b, size_t *n)
{
    put_key(b, n, "top_k");
    om_buf_adds(b, "50"); /* the default, which counts as nothing */
    put_key(b, n, "typical_p");
    om_buf_adds(b, "null");
    if (isnan(g->temperature)) {
        put_key(b, n, "temperature");
        om_buf_adds(b, "null");
    }
    if (isnan(g->top_p)) {
        put_key(b, n, "top_p");
        om_buf_adds(b, "null");
    }
    if (isnan(g->min_p)) {
        put_key(b, n, "min_p");
        om_buf_adds(b, "null");
    }
}

void generation_put(const struct generation *g, struct om_buf *b, size_t *n)
{
    put_numbers(g, b, n);
    if (g->greedy && !g->sample)
        put_no_sampling(g, b, n);
    if (g->greedy || g->sample) {
        put_key(b, n, "do_sample");
        om_buf_adds(b, g->sample ? "true" : "false");
    }
    if (g->stop) {
        put_key(b, n, "stop_strings");
        om_buf_json_string(b, om_sv_str(g->stop));
    }
}

bool generation_print(void *user, const struct om_stream_piece *piece)
{
    (void)user;
    fwrite(piece->text, 1, piece->text_len, stdout);
    return fflush(stdout) == 0;
}
