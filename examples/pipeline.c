/* examples/pipeline.c: answer a question from a text with a pipeline.
 *
 * usage: pipeline MODEL QUESTION TEXT
 *
 * In Python:
 *     tokenizer = AutoTokenizer.from_pretrained(MODEL)
 *     model = ORTModelForQuestionAnswering.from_pretrained(MODEL)
 *     qa = pipeline("question-answering", model=model, tokenizer=tokenizer)
 *     print(qa(question=QUESTION, context=TEXT))
 */
#include <stdio.h>
#include <string.h>

#include <optimum/pipeline.h>

static int ask(const struct om_pipeline *qa, const char *question, const char *text,
               struct om_error *err)
{
    const struct om_question q = { { question, strlen(question) }, { text, strlen(text) } };
    const struct om_answers *answers = NULL;
    int rc = om_pipeline_answer(qa, &q, 1, NULL, &answers, err);

    if (rc == 0 && answers->len > 0)
        printf("%.*s (score %.4f, characters %zu to %zu)\n", (int)answers->at[0].text.len,
               answers->at[0].text.ptr, answers->at[0].score, answers->at[0].start,
               answers->at[0].end);
    om_pipeline_release(answers);
    return rc;
}

int main(int argc, char **argv)
{
    struct om_model_opts model_opts = OM_MODEL_OPTS_INIT;
    struct om_pipeline_opts opts = OM_PIPELINE_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tokenizer = NULL;
    struct om_model *model = NULL;
    struct om_pipeline *qa = NULL;
    int rc;

    if (argc != 4) {
        fprintf(stderr, "usage: pipeline MODEL QUESTION TEXT\n");
        return 2;
    }
    model_opts.model = argv[1];
    model_opts.model_class = OM_MODEL_QUESTION_ANSWERING;
    opts.task = "question-answering";
    rc = om_model_open(NULL, &model_opts, &model, &err);
    if (rc == 0)
        rc = om_tokenizer_open(om_model_get_info(model)->dir, &tokenizer, &err);
    if (rc == 0)
        rc = om_pipeline_wrap(&opts, model, tokenizer, &qa, &err);
    if (rc == 0)
        rc = ask(qa, argv[2], argv[3], &err);
    if (rc < 0)
        fprintf(stderr, "%s (%s)\n", om_error_text(&err), om_code_name(rc));
    om_pipeline_free(qa);
    om_tokenizer_free(tokenizer);
    om_model_free(model);
    om_error_release(&err);
    return rc < 0;
}
