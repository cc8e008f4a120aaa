/* tests/bench/pipeline.c: question answering beside the bare runs of its model.
 *
 * usage: pipeline MODEL TOKENIZER CASES.jsonl [BATCH_SIZE [THREADS]]
 *
 * Takes the questions of CASES (lines with {"inputs": {"question", "context"}}) in turn, until
 * there are 200. Prints an object: "open", "first" (the first answer after that), "load" (a session
 * alone), "question" and "bare" (medians of answering one question, and of running the model on the
 * same ids, by turns) and "ratio" (the median of theirs) in seconds; "batch", questions a second,
 * all 200 in one call; "answers", a sum over their places. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"

#include <optimum/pipeline.h>

enum { QUESTIONS = 200, ROUNDS = 60 };

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *times, size_t n)
{
    qsort(times, n, sizeof(*times), by_value);
    return times[n / 2];
}

/* ---- questions ---- */

struct questions {
    struct om_question at[QUESTIONS];
    struct om_json *docs[QUESTIONS];
    size_t n;
};

static bool read_question(struct questions *q, om_sv line)
{
    const struct om_json *inputs;
    om_sv question, context;

    if (om_json_parse(line, 0, &q->docs[q->n], NULL) < 0)
        return false;
    inputs = om_json_get(q->docs[q->n], "inputs");
    if (om_json_str(om_json_get(inputs, "question"), &question) &&
        om_json_str(om_json_get(inputs, "context"), &context)) {
        q->at[q->n] =
            (struct om_question){ { question.ptr, question.len }, { context.ptr, context.len } };
        q->n++;
    } else {
        om_json_free(q->docs[q->n]);
        q->docs[q->n] = NULL;
    }
    return true;
}

static int read_questions(struct om_arena *a, const char *path, struct questions *q,
                          struct om_error *err)
{
    om_sv text, line;

    OM_TRY(om_file_read(a, path, 1 << 26, &text, err));
    while (q->n < QUESTIONS && om_sv_split(&text, '\n', &line))
        if (line.len && !read_question(q, line))
            return om_fail(err, OM_E_FORMAT, "%s: not lines of JSON", path);
    if (q->n == 0)
        return om_fail(err, OM_E_FORMAT, "%s has no questions", path);
    for (size_t i = 0; q->n < QUESTIONS; i++, q->n++)
        q->at[q->n] = q->at[i];
    return 0;
}

/* ---- the model alone ---- */

/* The windows of a question, ready to run. */
struct bare {
    struct om_encoding *enc;
    int64_t *ids;
};

static int bare_init(struct bare *b, const struct om_pipeline *p, const struct om_question *q,
                     struct om_error *err)
{
    const struct om_truncation t = { .max_length = 384,
                                     .stride = 128,
                                     .strategy = OM_TRUNCATE_ONLY_SECOND };
    struct om_encode_opts o = OM_ENCODE_OPTS_INIT;
    size_t total = 0;

    o.truncation = &t;
    OM_TRY(
        om_tokenizer_encode(om_pipeline_tokenizer(p), &q->question, &q->context, &o, &b->enc, err));
    for (size_t w = 0; w <= b->enc->overflow_len; w++)
        total += w ? b->enc->overflow[w - 1].len : b->enc->len;
    b->ids = malloc(total * sizeof(*b->ids));
    if (!b->ids)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (size_t w = 0, at = 0; w <= b->enc->overflow_len; w++) {
        const struct om_encoding *const e = w ? &b->enc->overflow[w - 1] : b->enc;

        for (size_t i = 0; i < e->len; i++)
            b->ids[at++] = e->ids[i];
    }
    return 0;
}

static int bare_run(const struct bare *b, const struct om_model *m, struct om_error *err)
{
    const int64_t *ids = b->ids;

    for (size_t w = 0; w <= b->enc->overflow_len; w++) {
        const struct om_encoding *const e = w ? &b->enc->overflow[w - 1] : b->enc;
        const int64_t dims[] = { 1, (int64_t)e->len };
        const struct om_tensor in = { "input_ids", OM_I64, 2, dims, ids };
        struct om_results *r = NULL;

        OM_TRY(om_model_run(m, &in, 1, &r, err));
        om_results_free(r);
        ids += e->len;
    }
    return 0;
}

static void bare_release(struct bare *b)
{
    om_encoding_free(b->enc);
    free(b->ids);
}

/* ---- measuring ---- */

static int answer(const struct om_pipeline *p, const struct om_question *q, size_t n,
                  struct om_error *err)
{
    const struct om_answers *answers = NULL;

    OM_TRY(om_pipeline_answer(p, q, n, NULL, &answers, err));
    om_pipeline_release(answers);
    return 0;
}

static int measure_one(const struct om_pipeline *p, const struct questions *q, size_t i,
                       double *whole, double *alone, struct om_error *err)
{
    struct bare b = { .enc = NULL };
    int rc = bare_init(&b, p, &q->at[i], err);
    double start = now();

    if (rc == 0)
        rc = answer(p, &q->at[i], 1, err);
    *whole = now() - start;
    start = now();
    if (rc == 0)
        rc = bare_run(&b, om_pipeline_model(p), err);
    *alone = now() - start;
    bare_release(&b);
    return rc;
}

/* Questions differ: what is compared is each with itself; medians are printed. */
static int measure_questions(const struct om_pipeline *p, const struct questions *q,
                             struct om_error *err)
{
    double whole[ROUNDS], alone[ROUNDS], ratio[ROUNDS];

    for (size_t i = 0; i < ROUNDS; i++) {
        OM_TRY(measure_one(p, q, i % q->n, &whole[i], &alone[i], err));
        ratio[i] = whole[i] / alone[i];
    }
    printf("\"question\": %.6f, \"bare\": %.6f, ", median(whole, ROUNDS), median(alone, ROUNDS));
    printf("\"ratio\": %.4f, ", median(ratio, ROUNDS));
    return 0;
}

static int measure(const struct om_pipeline *p, const struct questions *q, struct om_error *err)
{
    const struct om_answers *answers = NULL;
    double start = now();
    size_t places = 0;

    OM_TRY(answer(p, q->at, 1, err));
    printf("\"first\": %.6f, ", now() - start);
    OM_TRY(measure_questions(p, q, err));
    start = now();
    OM_TRY(om_pipeline_answer(p, q->at, q->n, NULL, &answers, err));
    printf("\"batch\": %.2f, ", (double)q->n / (now() - start));
    for (size_t i = 0; i < q->n; i++)
        places += answers[i].len ? answers[i].at[0].start + 3 * answers[i].at[0].end : 0;
    printf("\"answers\": %zu}\n", places);
    om_pipeline_release(answers);
    return 0;
}

int main(int argc, char **argv)
{
    struct om_pipeline_opts o = OM_PIPELINE_OPTS_INIT;
    struct om_arena a = OM_ARENA_INIT(1 << 28);
    struct om_error err = OM_ERROR_INIT;
    struct om_pipeline *p = NULL;
    static struct questions q;
    double start;
    int rc;

    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL TOKENIZER CASES.jsonl [BATCH_SIZE [THREADS]]\n", argv[0]);
        return 2;
    }
    o.task = "question-answering";
    o.model = argv[1];
    o.tokenizer = argv[2];
    o.batch_size = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
    o.threads = argc > 5 ? strtoul(argv[5], NULL, 10) : 0;
    rc = read_questions(&a, argv[3], &q, &err);
    start = now();
    if (rc == 0)
        rc = om_pipeline_open(NULL, &o, &p, &err);
    if (rc == 0) {
        printf("{\"open\": %.6f, ", now() - start);
        rc = measure(p, &q, &err);
    }
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", argv[0], om_error_text(&err));
    om_pipeline_free(p);
    for (size_t i = 0; i < QUESTIONS; i++)
        om_json_free(q.docs[i]);
    om_error_release(&err);
    om_arena_release(&a);
    return rc < 0;
}
