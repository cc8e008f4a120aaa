/* tests/bench/generate.c: how long a decoder takes for a token.
 *
 * usage: generate DIR PROMPT NEW
 *        generate --bandwidth MEGABYTES
 *
 * The first prints {"prompt": S, "token": S, "ids": [...]}: seconds until the first token of a
 * prompt of so many tokens, the median of seconds between the others, and the new ids. The second
 * prints
 * {"bytes_per_second": N}: how fast all CPUs together read so much memory, the best of several
 * times. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <optimum/generation.h>

#define MAX_NEW 4096
#define MAX_THREADS 256
#define ROUNDS 15

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- memory ---- */

struct part {
    const uint64_t *words;
    size_t n;
    uint64_t sum; /* so that the reads count */
};

static void *read_part(void *arg)
{
    struct part *p = arg;
    uint64_t a[8] = { 0 };

    for (size_t i = 0; i + 8 <= p->n; i += 8)
        for (size_t k = 0; k < 8; k++)
            a[k] += p->words[i + k];
    for (size_t k = 0; k < 8; k++)
        p->sum += a[k];
    return NULL;
}

static double read_all(struct part *parts, size_t n)
{
    pthread_t threads[MAX_THREADS];
    const double begin = now();

    for (size_t i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, read_part, &parts[i]) != 0)
            exit(1);
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    return now() - begin;
}

static int bandwidth(size_t megabytes)
{
    const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    const size_t n = cpus < 1 ? 1 : cpus > MAX_THREADS ? MAX_THREADS : (size_t)cpus;
    const size_t words = megabytes * (1000000 / sizeof(uint64_t)) / n * n;
    struct part parts[MAX_THREADS] = { { NULL, 0, 0 } };
    uint64_t *memory = malloc(words * sizeof(*memory));
    double best = 1e9;

    if (!memory || words == 0) {
        fprintf(stderr, "no memory of %zu MB\n", megabytes);
        return 1;
    }
    memset(memory, 1, words * sizeof(*memory));
    for (size_t i = 0; i < n; i++)
        parts[i] = (struct part){ memory + i * (words / n), words / n, 0 };
    for (int round = 0; round < ROUNDS; round++) {
        const double took = read_all(parts, n);

        best = took < best ? took : best;
    }
    printf("{\"bytes_per_second\": %.0f, \"check\": %" PRIu64 "}\n",
           (double)(words * sizeof(*memory)) / best, parts[0].sum);
    free(memory);
    return 0;
}

/* ---- tokens ---- */

struct clock {
    double begin, last, first;
    double between[MAX_NEW];
    int64_t ids[MAX_NEW];
    size_t n;
};

static bool tick(void *user, const struct om_stream_piece *piece)
{
    struct clock *c = user;
    const double t = now();

    if (c->n == 0)
        c->first = t - c->begin;
    else
        c->between[c->n - 1] = t - c->last;
    c->last = t;
    c->ids[c->n++] = piece->id;
    return c->n < MAX_NEW;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void print(struct clock *c)
{
    if (c->n > 1)
        qsort(c->between, c->n - 1, sizeof(*c->between), by_value);
    printf("{\"prompt\": %.6f, \"token\": %.6f, \"ids\": [", c->first,
           c->n > 1 ? c->between[(c->n - 1) / 2] : 0);
    for (size_t i = 0; i < c->n; i++)
        printf("%s%" PRId64, i ? ", " : "", c->ids[i]);
    printf("]}\n");
}

static int run(const struct om_model *m, const int64_t *ids, size_t prompt, int64_t fresh,
               struct clock *c, struct om_error *err)
{
    struct om_generation_config config = OM_GENERATION_CONFIG_INIT; /* nothing ends it early */
    struct om_generate_inputs in = OM_GENERATE_INPUTS_INIT;
    struct om_generate_opts o = OM_GENERATE_OPTS_INIT;
    struct om_generated *out = NULL;
    int rc;

    config.max_new_tokens = fresh;
    in.length = prompt;
    in.ids = ids;
    o.config = &config;
    o.stream = tick;
    o.stream_user = c;
    c->n = 0;
    c->begin = now();
    rc = om_generate(NULL, m, &in, &o, &out, err);
    om_generated_free(out);
    return rc;
}

static int generate(const char *dir, size_t prompt, int64_t fresh, struct om_error *err)
{
    static struct clock c;
    struct om_model_opts o = OM_MODEL_OPTS_INIT;
    struct om_model *m = NULL;
    int64_t *ids = malloc((prompt + 1) * sizeof(*ids));
    int rc = ids ? 0 : om_fail(err, OM_E_NOMEM, "out of memory");

    for (size_t i = 0; ids && i < prompt; i++)
        ids[i] = (int64_t)(i * 37 % 97 + 1);
    o.model = dir;
    o.model_class = OM_MODEL_CAUSAL_LM;
    if (rc == 0)
        rc = om_model_open(NULL, &o, &m, err);
    if (rc == 0)
        rc = run(m, ids, prompt, 2, &c, err); /* warm */
    if (rc == 0)
        rc = run(m, ids, prompt, fresh, &c, err);
    if (rc == 0)
        print(&c);
    om_model_free(m);
    free(ids);
    return rc;
}

int main(int argc, char **argv)
{
    struct om_error err = OM_ERROR_INIT;
    int rc;

    if (argc == 3 && strcmp(argv[1], "--bandwidth") == 0)
        return bandwidth(strtoul(argv[2], NULL, 10));
    if (argc != 4 || atoi(argv[3]) < 1 || atoi(argv[3]) > MAX_NEW || atoi(argv[2]) < 1) {
        fprintf(stderr, "usage: generate DIR PROMPT NEW | generate --bandwidth MEGABYTES\n");
        return 2;
    }
    rc = generate(argv[1], strtoul(argv[2], NULL, 10), atoi(argv[3]), &err);
    if (rc < 0)
        fprintf(stderr, "%s\n", om_error_text(&err));
    om_error_release(&err);
    return rc < 0;
}
