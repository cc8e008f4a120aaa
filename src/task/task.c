/* src/task/task.c: the table of tasks and the names that lead to them. */
#include "task/task.h"

#define LIST(...)         \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }
#define NONE              \
    (const char *const[]) \
    {                     \
        NULL              \
    }

/* Tasks whose head is OM_HEAD_COUNT are known by name only: a message can then tell an unknown task
 * from one that an architecture does not offer. */
const struct om_task om_tasks[] = {
    { .name = "feature-extraction",
      .synonyms = LIST("default", "image-feature-extraction", "mask-generation", "pretraining",
                       "sentence-similarity"),
      .class_suffixes = LIST("EncoderModel", "ForPreTraining", "Model"),
      .head = OM_HEAD_HIDDEN,
      .positions = true,
      .cache = true },
    { .name = "fill-mask",
      .synonyms = LIST("masked-lm"),
      .class_suffixes = LIST("ForMaskedLM", "WithLMHeadModel"),
      .head = OM_HEAD_MASKED_LM },
    { .name = "multiple-choice",
      .synonyms = NONE,
      .class_suffixes = LIST("ForMultipleChoice"),
      .head = OM_HEAD_CHOICE },
    { .name = "text-generation",
      .synonyms = LIST("causal-lm"),
      .class_suffixes = LIST("ForCausalLM", "LMHeadModel", "DoubleHeadsModel"),
      .head = OM_HEAD_CAUSAL_LM,
      .positions = true,
      .cache = true },
    { .name = "text2text-generation",
      .synonyms = LIST("seq2seq-lm", "summarization", "translation"),
      .class_suffixes = LIST("ForConditionalGeneration", "ForSeq2SeqLM", "T5WithLMHeadModel", "MTModel"),
      .head = OM_HEAD_SEQ2SEQ_LM,
      .cache = true },
    { .name = "question-answering",
      .synonyms = NONE,
      .class_suffixes = LIST("ForQuestionAnswering", "ForQuestionAnsweringSimple"),
      .head = OM_HEAD_SPAN },
    { .name = "text-classification",
      .synonyms = LIST("sequence-classification", "zero-shot-classification"),
      .class_suffixes = LIST("ForSequenceClassification"),
      .head = OM_HEAD_SEQUENCE },
    { .name = "token-classification",
      .synonyms = NONE,
      .class_suffixes = LIST("ForTokenClassification"),
      .head = OM_HEAD_TOKEN },

#define KNOWN(task, has_cache, ...)                                            \
    {                                                                          \
        .name = (task), .synonyms = LIST(__VA_ARGS__), .class_suffixes = NONE, \
        .head = OM_HEAD_COUNT, .cache = (has_cache)                            \
    }
    KNOWN("audio-classification", false, NULL),
    KNOWN("audio-frame-classification", false, NULL),
    KNOWN("audio-xvector", false, NULL),
    KNOWN("automatic-speech-recognition", true, "audio-ctc", "speech2seq-lm"),
    KNOWN("depth-estimation", false, NULL),
    KNOWN("document-question-answering", true, NULL),
    KNOWN("image-classification", false, NULL),
    KNOWN("image-segmentation", false, NULL),
    KNOWN("image-text-to-text", true, NULL),
    KNOWN("image-to-image", false, NULL),
    KNOWN("image-to-text", true, "vision2seq-lm"),
    KNOWN("inpainting", false, NULL),
    KNOWN("keypoint-detection", false, NULL),
    KNOWN("masked-im", false, NULL),
    KNOWN("object-detection", false, NULL),
    KNOWN("reinforcement-learning", false, NULL),
    KNOWN("semantic-segmentation", false, NULL),
    KNOWN("text-to-audio", true, "text-to-speech"),
    KNOWN("text-to-image", false, "stable-diffusion", "stable-diffusion-xl", "latent-consistency"),
    KNOWN("time-series-forecasting", false, NULL),
    KNOWN("visual-question-answering", true, NULL),
    KNOWN("zero-shot-image-classification", false, NULL),
    KNOWN("zero-shot-object-detection", false, NULL),
#undef KNOWN
};
const size_t om_task_count = OM_COUNT(om_tasks);

static bool in_list(const char *const *list, om_sv name)
{
    for (; *list; list++)
        if (om_sv_is(name, *list))
            return true;
    return false;
}

static const struct om_task *find_plain(om_sv name)
{
    for (size_t i = 0; i < om_task_count; i++)
        if (om_sv_is(name, om_tasks[i].name) || in_list(om_tasks[i].synonyms, name))
            return &om_tasks[i];
    return NULL;
}

const struct om_task *om_task_parse(om_sv name, bool *with_past)
{
    static const om_sv suffix = { "-with-past", 10 };
    const bool past = om_sv_ends(name, suffix);
    const om_sv plain = past ? (om_sv){ name.ptr, name.len - suffix.len } : name;
    const struct om_task *t = find_plain(plain);

    if (!t || (past && !t->cache))
        return NULL;
    *with_past = past;
    return t;
}

const struct om_task *om_task_by_head(enum om_head head)
{
    for (size_t i = 0; i < om_task_count; i++)
        if (om_tasks[i].head == head)
            return &om_tasks[i];
    return NULL;
}

const struct om_task *om_task_of_class(om_sv class_name)
{
    const struct om_task *best = NULL;
    size_t longest = 0;

    /* The longest suffix decides: GPT2LMHeadModel ends in "Model" as well. */
    for (size_t i = 0; i < om_task_count; i++)
        for (const char *const *s = om_tasks[i].class_suffixes; *s; s++)
            if (strlen(*s) > longest && om_sv_ends(class_name, om_sv_str(*s))) {
                best = &om_tasks[i];
                longest = strlen(*s);
            }
    return best;
}

void om_task_synonyms(const struct om_task *t, struct om_buf *out)
{
    for (size_t i = 0; t->synonyms[i]; i++)
        om_buf_printf(out, "%s%s", i ? ", " : "", t->synonyms[i]);
}

/* Whether name is nearer to s than what was nearest so far. */
static void consider(om_sv s, const char *name, const char **best, size_t *distance)
{
    const size_t d = om_sv_distance(s, om_sv_str(name), *distance);

    if (d < *distance) {
        *distance = d;
        *best = name;
    }
}

const char *om_task_nearest(om_sv name)
{
    const char *with = memmem(name.ptr, name.len, "-with", 5);
    const om_sv plain = { name.ptr, with ? (size_t)(with - name.ptr) : name.len };
    size_t distance = 2 + plain.len / 4; /* one typing error in four letters, at least two */
    const char *best = NULL;

    for (size_t i = 0; i < om_task_count; i++) {
        consider(plain, om_tasks[i].name, &best, &distance);
        for (const char *const *s = om_tasks[i].synonyms; *s; s++)
            consider(plain, *s, &best, &distance);
    }
    return best;
}

const char *om_part_file(enum om_part part)
{
    static const char *const files[OM_PART_COUNT] = {
        [OM_PART_MODEL] = "model.onnx",
        [OM_PART_ENCODER] = "encoder_model.onnx",
        [OM_PART_DECODER] = "decoder_model.onnx",
        [OM_PART_DECODER_PAST] = "decoder_with_past_model.onnx",
        /* Programs that load a merged decoder look whether it has the input use_cache_branch. */
        [OM_PART_DECODER_MERGED] = "decoder_model_merged.onnx",
        [OM_PART_DECODER_SINGLE] = "decoder_model_merged.onnx",
    };

    return files[part];
}
