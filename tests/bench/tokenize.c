/* tests/bench/tokenize.c: seconds to open a tokenizer, and to encode the lines of a text one by one
 * on one thread.
 *
 * tokenize DIR TEXT ROUNDS prints {"load": s, "encode": s, "tokens": n}, the medians of ROUNDS. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"

#include <optimum/tokenizer.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int die(const struct om_error *err)
{
    fprintf(stderr, "%s\n", om_error_text(err));
    return 1;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), compare);
    return values[n / 2];
}

/* Tokens of all lines; 0 after a failure. */
static size_t encode_lines(const struct om_tokenizer *tok, om_sv text, struct om_error *err)
{
    size_t tokens = 0;
    om_sv line;

    while (om_sv_split(&text, '\n', &line)) {
        const struct om_text in = { line.ptr, line.len };
        struct om_encoding *e;
        if (line.len == 0) /* behind the last newline */
            continue;
        if (om_tokenizer_encode(tok, &in, NULL, NULL, &e, err) < 0)
            return 0;
        tokens += e->len;
        om_encoding_free(e);
    }
    return tokens;
}

int main(int argc, char **argv)
{
    enum { ROUNDS_MAX = 99 };
    double load[ROUNDS_MAX], encode[ROUNDS_MAX];
    struct om_arena a = OM_ARENA_INIT((size_t)1 << 30);
    struct om_error err = OM_ERROR_INIT;
    const size_t rounds = argc == 4 ? (size_t)atoi(argv[3]) : 0;
    size_t tokens = 0;
    om_sv text;

    if (rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: tokenize DIR TEXT ROUNDS\n");
        return 2;
    }
    if (om_file_read(&a, argv[2], (size_t)1 << 29, &text, &err) < 0)
        return die(&err);
    for (size_t i = 0; i < rounds; i++) {
        struct om_tokenizer *tok;
        const double start = now();
        if (om_tokenizer_open(argv[1], &tok, &err) < 0)
            return die(&err);
        const double opened = now();
        tokens = encode_lines(tok, text, &err);
        if (tokens == 0)
            return die(&err);
        load[i] = opened - start;
        encode[i] = now() - opened;
        om_tokenizer_free(tok);
    }
    printf("{\"load\": %.6f, \"encode\": %.6f, \"tokens\": %zu}\n", median(load, rounds),
           median(encode, rounds), tokens);
    om_arena_release(&a);
    return 0;
}
