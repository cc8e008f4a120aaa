/* examples/similarity.c: export a sentence-transformers checkpoint with the library, then embed sentences with it.
 *
 * usage: similarity CHECKPOINT OUTPUT
 *
 * The sentences are given as token ids of the BERT uncased vocabulary, as all-MiniLM-L6-v2 reads them. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <optimum/export.h>
#include <optimum/session.h>

#define SENTENCES 6
#define LENGTH 13

static const char *const texts[SENTENCES] = {
    "A cat sleeps on the warm windowsill.",    "A kitten is napping by the sunny window.",
    "The stock market fell sharply on Monday.", "Shares dropped steeply at the start of the week.",
    "How do I reset my password?",             "Instructions for changing a forgotten passphrase.",
};

/* [CLS] ... [SEP], padded with 0. */
static const int64_t input_ids[SENTENCES][LENGTH] = {
    { 101, 1037, 4937, 25126, 2006, 1996, 4010, 3645, 8591, 1012, 102 },
    { 101, 1037, 18401, 2003, 18996, 4691, 2011, 1996, 11559, 3332, 1012, 102 },
    { 101, 1996, 4518, 3006, 3062, 9249, 2006, 6928, 1012, 102 },
    { 101, 6661, 3333, 9561, 2135, 2012, 1996, 2707, 1997, 1996, 2733, 1012, 102 },
    { 101, 2129, 2079, 1045, 25141, 2026, 20786, 1029, 102 },
    { 101, 8128, 2005, 5278, 1037, 6404, 3413, 8458, 23797, 1012, 102 },
};

static void on_log(void *user, enum om_level level, const char *line)
{
    (void)user;
    (void)level;
    fprintf(stderr, "%s\n", line);
}

static int export_model(const char *checkpoint, const char *out_dir, struct om_error *err)
{
    struct om_export_opts opts = OM_EXPORT_OPTS_INIT;
    struct om_ctx *ctx = om_ctx_new();
    int rc;

    if (ctx == NULL)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    om_ctx_set_log(ctx, on_log, NULL, OM_LOG_WARNING);
    opts.model = checkpoint;
    opts.out_dir = out_dir;
    opts.task = "feature-extraction";
    rc = om_export_run(ctx, &opts, err);
    om_ctx_free(ctx);
    return rc;
}

static double cosine(const float *a, const float *b, int64_t n)
{
    double ab = 0.0, aa = 0.0, bb = 0.0;

    for (int64_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

static void print_table(const struct om_tensor *embedding)
{
    const float *e = embedding->data;
    const int64_t n = embedding->dims[1];

    printf("%-52s", "cosine similarity");
    for (int j = 0; j < SENTENCES; j++)
        printf("%7d", j + 1);
    putchar('\n');
    for (int i = 0; i < SENTENCES; i++) {
        printf("%d  %-49s", i + 1, texts[i]);
        for (int j = 0; j < SENTENCES; j++)
            printf("%7.2f", cosine(e + i * n, e + j * n, n));
        putchar('\n');
    }
}

static int embed(const char *dir, struct om_error *err)
{
    static const int64_t dims[2] = { SENTENCES, LENGTH };
    int64_t mask[SENTENCES][LENGTH];
    const struct om_tensor inputs[] = {
        { .name = "input_ids", .dtype = OM_I64, .rank = 2, .dims = dims, .data = input_ids },
        { .name = "attention_mask", .dtype = OM_I64, .rank = 2, .dims = dims, .data = mask },
    };
    const struct om_session_opts opts = OM_SESSION_OPTS_INIT;
    struct om_session *session = NULL;
    struct om_results *results = NULL;
    const struct om_tensor *embedding;
    char path[4096];
    int rc;

    for (int i = 0; i < SENTENCES; i++)
        for (int k = 0; k < LENGTH; k++)
            mask[i][k] = input_ids[i][k] != 0;
    snprintf(path, sizeof(path), "%s/model.onnx", dir);
    rc = om_session_open(NULL, path, &opts, &session, err);
    if (rc == 0)
        rc = om_session_run(session, inputs, 2, &results, err);
    if (rc == 0) {
        embedding = om_results_find(results, "sentence_embedding");
        if (embedding != NULL && embedding->rank == 2)
            print_table(embedding);
        else
            rc = om_fail(err, OM_E_MISSING, "%s: no output sentence_embedding", path);
    }
    om_results_free(results);
    om_session_free(session);
    return rc;
}

int main(int argc, char **argv)
{
    struct om_error err = OM_ERROR_INIT;
    int rc;

    if (argc != 3) {
        fprintf(stderr, "usage: %s CHECKPOINT OUTPUT\n", argv[0]);
        return 2;
    }
    rc = export_model(argv[1], argv[2], &err);
    if (rc == 0)
        rc = embed(argv[2], &err);
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", argv[0], om_error_text(&err));
    om_error_release(&err);
    return rc < 0;
}
