/* examples/sequence_classification.c: load a checkpoint as an exported model, save the export and
 * its tokenizer, and classify texts.
 *
 * usage: sequence_classification CHECKPOINT DIRECTORY TEXT...
 *
 * In Python:
 *     ort_model = ORTModelForSequenceClassification.from_pretrained(CHECKPOINT, export=True)
 *     tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
 *     ort_model.save_pretrained(DIRECTORY)
 *     tokenizer.save_pretrained(DIRECTORY)
 *     classifier = pipeline("text-classification", model=ort_model, tokenizer=tokenizer)
 *     print(classifier([TEXT, ...]))
 */
#include <stdio.h>
#include <string.h>

#include <optimum/pipeline.h>

#define TEXTS_MAX 64

static int save(const struct om_model *model, const struct om_tokenizer *tokenizer, const char *dir,
                struct om_error *err)
{
    int rc = om_model_save(NULL, model, dir, err);

    return rc < 0 ? rc : om_tokenizer_save(NULL, tokenizer, dir, err);
}

static int classify(const struct om_model *model, const struct om_tokenizer *tokenizer,
                    char *const *texts, size_t n, struct om_error *err)
{
    struct om_pipeline_opts opts = OM_PIPELINE_OPTS_INIT;
    struct om_text_pair inputs[TEXTS_MAX] = { 0 };
    const struct om_labels *labels = NULL;
    struct om_pipeline *classifier = NULL;
    int rc;

    for (size_t i = 0; i < n; i++)
        inputs[i].text = (struct om_text){ texts[i], strlen(texts[i]) };
    opts.task = "text-classification";
    rc = om_pipeline_wrap(&opts, model, tokenizer, &classifier, err);
    if (rc == 0)
        rc = om_pipeline_classify(classifier, inputs, n, NULL, &labels, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        printf("%-10s %.4f  %s\n", labels[i].at[0].name, labels[i].at[0].score, texts[i]);
    om_pipeline_release(labels);
    om_pipeline_free(classifier);
    return rc;
}

int main(int argc, char **argv)
{
    struct om_model_opts opts = OM_MODEL_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tokenizer = NULL;
    struct om_model *model = NULL;
    int rc;

    if (argc < 4 || argc - 3 > TEXTS_MAX) {
        fprintf(stderr, "usage: sequence_classification CHECKPOINT DIRECTORY TEXT...\n");
        return 2;
    }
    opts.model = argv[1];
    opts.model_class = OM_MODEL_SEQUENCE_CLASSIFICATION;
    opts.do_export = true;
    rc = om_model_open(NULL, &opts, &model, &err);
    if (rc == 0)
        rc = om_tokenizer_open(argv[1], &tokenizer, &err);
    if (rc == 0)
        rc = save(model, tokenizer, argv[2], &err);
    if (rc == 0)
        rc = classify(model, tokenizer, argv + 3, (size_t)argc - 3, &err);
    if (rc < 0)
        fprintf(stderr, "%s (%s)\n", om_error_text(&err), om_code_name(rc));
    om_tokenizer_free(tokenizer);
    om_model_free(model);
    om_error_release(&err);
    return rc < 0;
}
