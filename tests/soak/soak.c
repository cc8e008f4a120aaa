/* tests/soak/soak.c: pipelines shared by threads for as long as one likes.
 *
 * soak DIR SECONDS THREADS
 *
 * Each directory of DIR has cases.jsonl (recorded calls, see tests/golden/test_pipelines.c) and
 * "model", an exported directory with its tokenizer. One pipeline is opened for each; its calls are
 * made once by one thread, then THREADS threads make them over and over, one or several at a time,
 * now and then through a pipeline of their own. Every reply must be like the first one: which texts
 * share a batch changes no more than the last digits of numbers. Memory must not grow. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"

#include <optimum/pipeline.h>

#define TOLERANCE 1e-4
/* In bytes; allocators keep what fragments leave. ThreadSanitizer's notes on memory grow for long.
 */
#ifdef __SANITIZE_THREAD__
#define GROWTH_MAX SIZE_MAX
#else
#define GROWTH_MAX ((size_t)64 << 20)
#endif
enum { PARTS = 10, TOGETHER_MAX = 6, WRAP_EVERY = 50, OPEN_EVERY = 400 };

struct voice {
    const char *name;
    struct om_pipeline_opts opts;
    struct om_pipeline *pipeline;
    struct om_text *requests;
    struct om_pipeline_reply *first;
    size_t n;
    atomic_ulong calls, wrong;
};

struct soak {
    struct om_arena arena;
    struct voice *voices;
    size_t n;
    double end; /* of the clock */
    atomic_uint seed;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* splitmix64 */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* ---- comparing ---- */

/* Two texts, equal but for the last digits of the numbers in them. */
static bool alike(const char *a, const char *b)
{
    char *end_a, *end_b;

    while (*a && *b) {
        const double x = strtod(a, &end_a), y = strtod(b, &end_b);

        if (end_a != a && end_b != b) {
            if (fabs(x - y) > TOLERANCE * fmax(1.0, fabs(y)))
                return false;
            a = end_a;
            b = end_b;
        } else if (*a++ != *b++) {
            return false;
        }
    }
    return *a == *b;
}

static const char *said(const struct om_pipeline_reply *r)
{
    return r->text ? r->text : om_error_text(&r->error);
}

static void check(struct voice *v, size_t i, const struct om_pipeline_reply *reply)
{
    const struct om_pipeline_reply *const first = &v->first[i];

    atomic_fetch_add(&v->calls, 1);
    if (!reply->text == !first->text && alike(said(reply), said(first)))
        return;
    if (atomic_fetch_add(&v->wrong, 1) == 0)
        fprintf(stderr, "%s: call %zu gave %.300s, first %.300s\n", v->name, i + 1, said(reply),
                said(first));
}

/* ---- a thread ---- */

static void call(struct voice *v, const struct om_pipeline *p, uint64_t *state)
{
    struct om_pipeline_reply replies[TOGETHER_MAX];
    struct om_text requests[TOGETHER_MAX];
    size_t which[TOGETHER_MAX];
    const size_t n = 1 + draw(state) % TOGETHER_MAX;
    struct om_error err = OM_ERROR_INIT;

    for (size_t i = 0; i < n; i++) {
        which[i] = draw(state) % v->n;
        requests[i] = v->requests[which[i]];
    }
    if (om_pipeline_call(p, requests, n, OM_PIPELINE_JSON, replies, &err) == 0) {
        for (size_t i = 0; i < n; i++)
            check(v, which[i], &replies[i]);
        om_pipeline_replies_release(replies, n);
    } else if (atomic_fetch_add(&v->wrong, 1) == 0) {
        fprintf(stderr, "%s: %s\n", v->name, om_error_text(&err));
    }
    om_error_release(&err);
}

/* A pipeline of one's own, over the shared model or over another session of it. */
static void call_own(struct voice *v, bool open, uint64_t *state)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_pipeline *p = NULL;
    const int rc = open ? om_pipeline_open(NULL, &v->opts, &p, &err)
                        : om_pipeline_wrap(&v->opts, om_pipeline_model(v->pipeline),
                                           om_pipeline_tokenizer(v->pipeline), &p, &err);

    if (rc == 0)
        call(v, p, state);
    else if (atomic_fetch_add(&v->wrong, 1) == 0)
        fprintf(stderr, "%s: %s\n", v->name, om_error_text(&err));
    om_pipeline_free(p);
    om_error_release(&err);
}

static void *work(void *user)
{
    struct soak *const s = user;
    uint64_t state = atomic_fetch_add(&s->seed, 1);

    for (size_t round = 1; now() < s->end; round++) {
        struct voice *const v = &s->voices[draw(&state) % s->n];

        if (round % OPEN_EVERY == 0 || round % WRAP_EVERY == 0)
            call_own(v, round % OPEN_EVERY == 0, &state);
        else
            call(v, v->pipeline, &state);
    }
    return NULL;
}

/* Bytes that are resident now; 0 where nobody can say. */
static size_t resident(void)
{
    FILE *const f = fopen("/proc/self/statm", "r");
    unsigned long all, pages = 0;

    if (f) {
        if (fscanf(f, "%lu %lu", &all, &pages) != 2)
            pages = 0;
        fclose(f);
    }
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void run_for(struct soak *s, double seconds, size_t threads)
{
    pthread_t *const ids = om_arena_array(&s->arena, threads, sizeof(*ids));
    size_t n = 0;

    s->end = now() + seconds;
    while (n < threads && pthread_create(&ids[n], NULL, work, s) == 0)
        n++;
    for (size_t i = 0; i < n; i++)
        pthread_join(ids[i], NULL);
}

/* ---- opening ---- */

static const char *text_of(struct om_arena *a, const struct om_json *v)
{
    struct om_buf b = OM_BUF_INIT(1 << 24);
    const char *text;

    om_json_write(&b, v, 0);
    text = om_arena_str(a, om_buf_sv(&b));
    om_buf_release(&b);
    return text;
}

/* The parameters of the first line's construction, with what the tokenizer is loaded with. */
static const char *init_of(struct om_arena *a, const char *dir, const struct om_json *line)
{
    const char *const path = om_path_join(a, dir, "tokenizer_overrides.json");
    const char *init = text_of(a, om_json_get(line, "init"));
    struct om_buf b = OM_BUF_INIT(1 << 20);
    om_sv text;

    if (om_file_exists(path) && om_file_read(a, path, 1 << 16, &text, NULL) == 0) {
        const struct om_json_patch patch = { "tokenizer_kwargs", text.ptr };

        if (om_json_patch(om_sv_str(init), &patch, 1, &b, NULL) == 0)
            init = om_arena_str(a, om_buf_sv(&b));
    }
    om_buf_release(&b);
    return init;
}

/* A line of cases.jsonl becomes a request if its construction is that of the first line. */
static int add_line(struct soak *s, struct voice *v, const char *dir, om_sv text, const char **init,
                    struct om_error *err)
{
    struct om_json *line;
    const char *mine;
    om_sv task;

    OM_TRY(om_json_parse(text, 0, &line, err));
    mine = text_of(&s->arena, om_json_get(line, "init"));
    if (!*init && om_json_str(om_json_get(line, "pipeline"), &task)) {
        *init = mine;
        v->opts.task = om_arena_str(&s->arena, task);
        v->opts.init = init_of(&s->arena, dir, line);
    }
    om_json_free(line);
    if (strcmp(*init, mine) == 0)
        v->requests[v->n++] = (struct om_text){ om_arena_str(&s->arena, text), text.len };
    return 0;
}

static int open_voice(struct soak *s, struct voice *v, const char *root, const char *name,
                      struct om_error *err)
{
    const char *const dir = om_path_join(&s->arena, root, name), *init = NULL;
    om_sv rest, line;

    v->name = name;
    v->opts = (struct om_pipeline_opts)OM_PIPELINE_OPTS_INIT;
    v->opts.model = om_path_join(&s->arena, dir, "model");
    OM_TRY(
        om_file_read(&s->arena, om_path_join(&s->arena, dir, "cases.jsonl"), 1 << 26, &rest, err));
    v->requests = om_arena_array(&s->arena, rest.len, sizeof(*v->requests));
    while (om_sv_split(&rest, '\n', &line))
        if (line.len)
            OM_TRY(add_line(s, v, dir, line, &init, err));
    v->first = om_arena_array(&s->arena, v->n, sizeof(*v->first));
    OM_TRY(om_pipeline_open(NULL, &v->opts, &v->pipeline, err));
    for (size_t i = 0; i < v->n; i++)
        OM_TRY(
            om_pipeline_call(v->pipeline, &v->requests[i], 1, OM_PIPELINE_JSON, &v->first[i], err));
    return 0;
}

static int open_all(struct soak *s, const char *root, struct om_error *err)
{
    const char **names;
    size_t n;

    OM_TRY(om_dir_list(&s->arena, root, &names, &n, err));
    s->voices = calloc(n + 1, sizeof(*s->voices));
    if (!s->voices || n == 0)
        return om_fail(err, OM_E_MISSING, "%s: no directories", root);
    for (; s->n < n; s->n++)
        OM_TRY(om_wrap(err, open_voice(s, &s->voices[s->n], root, names[s->n], err), "%s",
                       names[s->n]));
    return 0;
}

static void close_all(struct soak *s)
{
    for (size_t i = 0; i < s->n; i++) {
        om_pipeline_replies_release(s->voices[i].first, s->voices[i].n);
        om_pipeline_free(s->voices[i].pipeline);
    }
    free(s->voices);
    om_arena_release(&s->arena);
}

/* ---- the report ---- */

static size_t report(const struct soak *s)
{
    size_t failed = 0;

    for (size_t i = 0; i < s->n; i++) {
        struct voice *const v = &s->voices[i];
        const unsigned long calls = atomic_load(&v->calls), wrong = atomic_load(&v->wrong);

        printf("%-28s %9lu calls, %lu wrong\n", v->name, calls, wrong);
        failed += wrong != 0 || calls == 0;
    }
    return failed;
}

int main(int argc, char **argv)
{
    struct soak s = { .arena = OM_ARENA_INIT(1u << 30), .seed = 1 };
    struct om_error err = OM_ERROR_INIT;
    size_t failed, memory[PARTS];
    double seconds;

    if (argc != 4) {
        fprintf(stderr, "usage: soak DIR SECONDS THREADS\n");
        return 2;
    }
    seconds = strtod(argv[2], NULL);
    if (open_all(&s, argv[1], &err) < 0) {
        printf("%s\n0 passed, 1 failed\n", om_error_text(&err));
        return 1;
    }
    for (size_t i = 0; i < PARTS; i++) {
        run_for(&s, seconds / PARTS, strtoul(argv[3], NULL, 10));
        memory[i] = resident();
    }
    failed = report(&s);
    printf("resident memory, in MB:");
    for (size_t i = 0; i < PARTS; i++)
        printf(" %zu", memory[i] >> 20);
    putchar('\n');
    if (memory[PARTS - 1] - OM_MIN(memory[PARTS - 1], memory[PARTS / 2 - 1]) > GROWTH_MAX)
        failed++; /* until then caches and allocators fill */
    printf("%zu passed, %zu failed\n", s.n + 1 - failed, failed);
    close_all(&s);
    om_error_release(&err);
    return failed != 0;
}
