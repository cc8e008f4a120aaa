/* examples/question_answering.c: answer a question from a text, with a checkpoint or an exported
 * directory.
 *
 * usage: question_answering MODEL QUESTION TEXT
 *
 * What AutoTokenizer, ORTModelForQuestionAnswering and a look at the logits are in Python. MODEL
 * holds tokenizer.json. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <optimum/model.h>
#include <optimum/tokenizer.h>

#define LENGTH_MAX 384 /* tokens of question and text */
#define ANSWER_MAX 15  /* tokens */

static void on_log(void *user, enum om_level level, const char *line)
{
    (void)user;
    (void)level;
    fprintf(stderr, "%s\n", line);
}

static int open_model(const char *path, struct om_model **out, struct om_error *err)
{
    struct om_model_opts opts = OM_MODEL_OPTS_INIT;
    struct om_ctx *ctx = om_ctx_new();
    int rc;

    om_ctx_set_log(ctx, on_log, NULL, OM_LOG_WARNING);
    opts.model = path;
    opts.model_class = OM_MODEL_QUESTION_ANSWERING;
    rc = om_model_open(ctx, &opts, out, err);
    om_ctx_free(ctx);
    return rc;
}

static int encode(const struct om_tokenizer *tok, const char *question, const char *text,
                  struct om_encoding **out, struct om_error *err)
{
    const struct om_truncation truncation = { .max_length = LENGTH_MAX,
                                              .strategy = OM_TRUNCATE_ONLY_SECOND };
    const struct om_text a = { question, strlen(question) }, b = { text, strlen(text) };
    struct om_encode_opts opts = OM_ENCODE_OPTS_INIT;

    opts.truncation = &truncation;
    return om_tokenizer_encode(tok, &a, &b, &opts, out, err);
}

/* The attention mask is all ones, which is what a model takes when it gets none. */
static int run(const struct om_model *model, const struct om_encoding *enc, struct om_results **out,
               struct om_error *err)
{
    const int64_t dims[] = { 1, (int64_t)enc->len };
    int64_t ids[LENGTH_MAX], types[LENGTH_MAX];
    const struct om_tensor inputs[] = {
        { .name = "input_ids", .dtype = OM_I64, .rank = 2, .dims = dims, .data = ids },
        { .name = "token_type_ids", .dtype = OM_I64, .rank = 2, .dims = dims, .data = types },
    };

    if (enc->len > LENGTH_MAX)
        return om_fail(err, OM_E_LIMIT, "the question is too long");
    for (size_t i = 0; i < enc->len; i++) {
        ids[i] = enc->ids[i];
        types[i] = enc->type_ids[i];
    }
    return om_model_run(model, inputs, 2, out, err);
}

struct span {
    size_t first, last; /* tokens */
    float score;        /* the sum of their logits */
};

static struct span best_span(const struct om_encoding *enc, const float *start, const float *end)
{
    struct span best = { .score = -INFINITY };

    for (size_t i = 0; i < enc->len; i++)
        for (size_t k = i; k < enc->len && k < i + ANSWER_MAX; k++)
            if (enc->sequence_ids[i] == 1 && enc->sequence_ids[k] == 1 &&
                start[i] + end[k] > best.score)
                best = (struct span){ i, k, start[i] + end[k] };
    return best;
}

static int show(const struct om_results *r, const struct om_encoding *enc, const char *text,
                struct om_error *err)
{
    const struct om_tensor *start = om_results_find(r, "start_logits"),
                           *end = om_results_find(r, "end_logits");
    struct span best;
    uint32_t from, to;

    if (!start || !end)
        return om_fail(err, OM_E_MISSING, "the model has no start_logits and end_logits");
    best = best_span(enc, start->data, end->data);
    if (best.score == -INFINITY)
        return om_fail(err, OM_E_USAGE, "the text is empty");
    from = enc->byte_offsets[best.first].begin;
    to = enc->byte_offsets[best.last].end;
    printf("%.*s\n", (int)(to - from), text + from);
    return 0;
}

int main(int argc, char **argv)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok = NULL;
    struct om_encoding *enc = NULL;
    struct om_results *results = NULL;
    struct om_model *model = NULL;
    int rc;

    if (argc != 4) {
        fprintf(stderr, "usage: question_answering MODEL QUESTION TEXT\n");
        return 2;
    }
    rc = open_model(argv[1], &model, &err);
    if (rc == 0)
        rc = om_tokenizer_open(om_model_get_info(model)->dir, &tok, &err);
    if (rc == 0)
        rc = encode(tok, argv[2], argv[3], &enc, &err);
    if (rc == 0)
        rc = run(model, enc, &results, &err);
    if (rc == 0)
        rc = show(results, enc, argv[3], &err);
    if (rc < 0)
        fprintf(stderr, "%s (%s)\n", om_error_text(&err), om_code_name(rc));
    om_results_free(results);
    om_encoding_free(enc);
    om_tokenizer_free(tok);
    om_model_free(model);
    om_error_release(&err);
    return rc < 0;
}
