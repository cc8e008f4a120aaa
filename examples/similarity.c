/* examples/similarity.c: how alike are sentences?
 *
 * usage: similarity MODEL [SENTENCE...]
 *
 * MODEL is a sentence-transformers model: a checkpoint, an exported directory or an id of the Hub.
 * What SentenceTransformer(MODEL) with encode() and similarity() is in Python. */
#include <stdio.h>
#include <string.h>

#include <optimum/pipeline.h>

#define SENTENCES_MAX 32

static const char *const examples[] = {
    "A cat sleeps on the warm windowsill.",
    "A kitten is napping by the sunny window.",
    "The stock market fell sharply on Monday.",
    "Shares dropped steeply at the start of the week.",
    "How do I reset my password?",
    "Instructions for changing a forgotten passphrase.",
};

static void on_log(void *user, enum om_level level, const char *line)
{
    (void)user;
    (void)level;
    fprintf(stderr, "%s\n", line);
}

static int open_pipeline(const char *model, struct om_pipeline **out, struct om_error *err)
{
    struct om_pipeline_opts opts = OM_PIPELINE_OPTS_INIT;
    struct om_ctx *ctx = om_ctx_new();
    int rc;

    om_ctx_set_log(ctx, on_log, NULL, OM_LOG_WARNING);
    opts.task = "sentence-similarity";
    opts.model = model;
    rc = om_pipeline_open(ctx, &opts, out, err);
    om_ctx_free(ctx);
    return rc;
}

/* Of vectors that have length 1. */
static double cosine(const struct om_features *a, const struct om_features *b)
{
    double sum = 0.0;

    for (size_t i = 0; i < a->size; i++)
        sum += (double)a->data[i] * b->data[i];
    return sum;
}

static int show(const struct om_pipeline *pipeline, const struct om_text *texts, size_t n,
                struct om_error *err)
{
    struct om_feature_opts opts = OM_FEATURE_OPTS_INIT;
    const struct om_features *vectors = NULL;
    int rc;

    opts.normalize = OM_YES;
    rc = om_pipeline_embed(pipeline, texts, n, &opts, &vectors, err);
    if (rc < 0)
        return rc;
    printf("%-52s", "cosine similarity");
    for (size_t j = 0; j < n; j++)
        printf("%7zu", j + 1);
    putchar('\n');
    for (size_t i = 0; i < n; i++) {
        printf("%zu  %-49.49s", i + 1, texts[i].ptr);
        for (size_t j = 0; j < n; j++)
            printf("%7.2f", cosine(&vectors[i], &vectors[j]));
        putchar('\n');
    }
    om_pipeline_release(vectors);
    return 0;
}

int main(int argc, char **argv)
{
    const char *const *sentences = argc > 2 ? (const char *const *)argv + 2 : examples;
    const size_t n = argc > 2 ? (size_t)argc - 2 : sizeof(examples) / sizeof(examples[0]);
    struct om_text texts[SENTENCES_MAX];
    struct om_error err = OM_ERROR_INIT;
    struct om_pipeline *pipeline = NULL;
    int rc;

    if (argc < 2 || n > SENTENCES_MAX) {
        fprintf(stderr, "usage: similarity MODEL [SENTENCE...]\n");
        return 2;
    }
    for (size_t i = 0; i < n; i++)
        texts[i] = (struct om_text){ sentences[i], strlen(sentences[i]) };
    rc = open_pipeline(argv[1], &pipeline, &err);
    if (rc == 0)
        rc = show(pipeline, texts, n, &err);
    if (rc < 0)
        fprintf(stderr, "%s (%s)\n", om_error_text(&err), om_code_name(rc));
    om_pipeline_free(pipeline);
    om_error_release(&err);
    return rc < 0;
}
