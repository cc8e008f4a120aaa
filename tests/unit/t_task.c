/* tests/unit/t_task.c: names of tasks, classes and files, axes of ports, and what architectures
 * offer. */
#include "arch/arch.h"
#include "test.h"

static void names(struct test *t)
{
    static const struct {
        const char *name, *task; /* NULL: unknown */
        bool past;
    } cases[] = {
        { "feature-extraction", "feature-extraction", false },
        { "default", "feature-extraction", false },
        { "default-with-past", "feature-extraction", true },
        { "mask-generation", "feature-extraction", false },
        { "sentence-similarity", "feature-extraction", false },
        { "image-feature-extraction", "feature-extraction", false },
        { "pretraining", "feature-extraction", false },
        { "causal-lm", "text-generation", false },
        { "causal-lm-with-past", "text-generation", true },
        { "text-generation-with-past", "text-generation", true },
        { "masked-lm", "fill-mask", false },
        { "seq2seq-lm", "text2text-generation", false },
        { "seq2seq-lm-with-past", "text2text-generation", true },
        { "summarization", "text2text-generation", false },
        { "translation", "text2text-generation", false },
        { "sequence-classification", "text-classification", false },
        { "zero-shot-classification", "text-classification", false },
        { "audio-ctc", "automatic-speech-recognition", false },
        { "speech2seq-lm-with-past", "automatic-speech-recognition", true },
        { "text-to-speech", "text-to-audio", false },
        { "vision2seq-lm", "image-to-text", false },
        { "stable-diffusion-xl", "text-to-image", false },
        { "object-detection", "object-detection", false },
        { "fill-mask-with-past", NULL, false },
        { "with-past", NULL, false },
        { "-with-past", NULL, false },
        { "fill_mask", NULL, false },
        { "Fill-Mask", NULL, false },
        { "", NULL, false },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        bool past = false;
        const struct om_task *task = om_task_parse(om_sv_str(cases[i].name), &past);
        test_case(t, "\"%s\"", cases[i].name);
        CHECK_STR(t, task ? task->name : NULL, cases[i].task);
        CHECK_INT(t, past, cases[i].past);
    }
}

static void nearest(struct test *t)
{
    static const struct {
        const char *name, *near;
    } cases[] = {
        { "fill_mask", "fill-mask" },
        { "text-clasification", "text-classification" },
        { "text-generation-with-passt", "text-generation" },
        { "casual-lm", "causal-lm" },
        { "question-answer", "question-answering" },
        { "zzzzzzzz", NULL },
        { "", NULL },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "\"%s\"", cases[i].name);
        CHECK_STR(t, om_task_nearest(om_sv_str(cases[i].name)), cases[i].near);
    }
}

static void classes(struct test *t)
{
    static const struct {
        const char *name, *task;
    } cases[] = {
        { "BertModel", "feature-extraction" },
        { "T5EncoderModel", "feature-extraction" },
        { "BertForPreTraining", "feature-extraction" },
        { "BertForMaskedLM", "fill-mask" },
        { "XLMWithLMHeadModel", "fill-mask" },
        { "BertForSequenceClassification", "text-classification" },
        { "BertForTokenClassification", "token-classification" },
        { "BertForQuestionAnswering", "question-answering" },
        { "XLMForQuestionAnsweringSimple", "question-answering" },
        { "RobertaForMultipleChoice", "multiple-choice" },
        { "GPT2LMHeadModel", "text-generation" },
        { "LlamaForCausalLM", "text-generation" },
        { "T5ForConditionalGeneration", "text2text-generation" },
        { "T5WithLMHeadModel", "text2text-generation" },
        { "TFDistilBertForQuestionAnswering", "question-answering" },
        { "TFGPT2LMHeadModel", "text-generation" },
        { "TFT5WithLMHeadModel", "text2text-generation" },
        { "TFXLMRobertaModel", "feature-extraction" },
        { "BertForNextSentencePrediction", NULL },
        { "", NULL },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const struct om_task *task = om_task_of_class(om_sv_str(cases[i].name));
        test_case(t, "%s", cases[i].name);
        CHECK_STR(t, task ? task->name : NULL, cases[i].task);
    }
}

static void synonyms(struct test *t)
{
    struct om_buf text = OM_BUF_INIT(1000);
    bool past;

    om_task_synonyms(om_task_parse(OM_SVL("text2text-generation"), &past), &text);
    CHECK_STR(t, text.ptr, "seq2seq-lm, summarization, translation");
    om_buf_clear(&text);
    om_task_synonyms(om_task_parse(OM_SVL("multiple-choice"), &past), &text);
    CHECK_INT(t, text.len, 0);
    om_buf_release(&text);
}

/* A name leads to one task; a head belongs to one task. */
static void table_is_consistent(struct test *t)
{
    for (size_t i = 0; i < om_task_count; i++) {
        const struct om_task *task = &om_tasks[i];
        bool past;
        test_case(t, "%s", task->name);
        CHECK(t, om_task_parse(om_sv_str(task->name), &past) == task);
        for (const char *const *s = task->synonyms; *s; s++)
            CHECK(t, om_task_parse(om_sv_str(*s), &past) == task);
        if (task->head < OM_HEAD_COUNT)
            CHECK(t, om_task_by_head(task->head) == task);
        else
            CHECK(t, !task->class_suffixes[0]);
    }
    for (int head = 0; head < OM_HEAD_COUNT; head++)
        CHECK(t, om_task_by_head(head) != NULL);
}

static void check_axes(struct test *t, const char *const *axes, const char *want)
{
    struct om_buf text = OM_BUF_INIT(1000);

    for (size_t i = 0; axes && axes[i]; i++)
        om_buf_printf(&text, "%s%s", i ? ", " : "", axes[i]);
    CHECK_STR(t, axes ? text.ptr : NULL, want);
    om_buf_release(&text);
}

static void ports(struct test *t)
{
    static const struct {
        enum om_port_set set;
        const char *name, *axes;
        enum om_dtype dtype;
    } cases[] = {
        { OM_PORTS_TEXT, "token_type_ids", "batch_size, sequence_length", OM_I64 },
        { OM_PORTS_TEXT, "attention_mask", "batch_size, sequence_length", OM_I64 },
        { OM_PORTS_TEXT, "decoder_input_ids", NULL, OM_I64 },
        { OM_PORTS_CHOICE, "input_ids", "batch_size, num_choices, sequence_length", OM_I64 },
        { OM_PORTS_CAUSAL_PAST, "attention_mask",
          "batch_size, past_sequence_length + sequence_length", OM_I64 },
        { OM_PORTS_CAUSAL_PAST, "position_ids", "batch_size, sequence_length", OM_I64 },
        { OM_PORTS_CAUSAL_PAST, "past_key_values", "batch_size, *, past_sequence_length, *",
          OM_DTYPE_NONE },
        { OM_PORTS_ENCODER, "input_ids", "batch_size, encoder_sequence_length", OM_I64 },
        { OM_PORTS_ENCODER, "decoder_input_ids", "batch_size, decoder_sequence_length", OM_I64 },
        { OM_PORTS_DECODER, "input_ids", "batch_size, decoder_sequence_length", OM_I64 },
        { OM_PORTS_DECODER, "encoder_hidden_states", "batch_size, encoder_sequence_length, *",
          OM_DTYPE_NONE },
        { OM_PORTS_DECODER, "past_key_values.encoder", "batch_size, *, encoder_sequence_length, *",
          OM_DTYPE_NONE },
        { OM_PORTS_DECODER, "use_cache_branch", "1", OM_BOOL },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "%s of set %d", cases[i].name, (int)cases[i].set);
        check_axes(t, om_port_axes(cases[i].set, cases[i].name), cases[i].axes);
        CHECK_INT(t, om_port_dtype(cases[i].name), cases[i].dtype);
    }
}

static void files(struct test *t)
{
    CHECK_STR(t, om_part_file(OM_PART_MODEL), "model.onnx");
    CHECK_STR(t, om_part_file(OM_PART_ENCODER), "encoder_model.onnx");
    CHECK_STR(t, om_part_file(OM_PART_DECODER), "decoder_model.onnx");
    CHECK_STR(t, om_part_file(OM_PART_DECODER_PAST), "decoder_with_past_model.onnx");
    CHECK_STR(t, om_part_file(OM_PART_DECODER_MERGED), "decoder_model_merged.onnx");
}

static void offers(struct test *t)
{
    static const char encoder[] = "feature-extraction fill-mask multiple-choice question-answering "
                                  "text-classification token-classification ";
    static const char *const types[] = { "bert", "camembert", "distilbert", "roberta",
                                         "xlm-roberta" };
    struct om_arena a = OM_ARENA_INIT(1u << 20);

    for (size_t i = 0; i < OM_COUNT(types); i++) {
        const struct om_arch *arch = om_arch_find(types[i]);
        const char *const *list = arch ? om_arch_tasks(&a, arch) : NULL;
        struct om_buf text = OM_BUF_INIT(1000);
        test_case(t, "%s", types[i]);
        for (; list && *list; list++)
            om_buf_printf(&text, "%s ", *list);
        CHECK_STR(t, text.ptr, encoder);
        om_buf_release(&text);
    }
    CHECK(t, om_arch_find("bart-of-nobody") == NULL);
    for (size_t i = 1; i < om_arch_count; i++) {
        test_case(t, "%s", om_archs[i].model_type);
        CHECK(t, strcmp(om_archs[i - 1].model_type, om_archs[i].model_type) < 0);
    }
    om_arena_release(&a);
}

const struct test_entry t_task[] = { { "names", names },
                                     { "nearest", nearest },
                                     { "classes", classes },
                                     { "synonyms", synonyms },
                                     { "table", table_is_consistent },
                                     { "ports", ports },
                                     { "files", files },
                                     { "offers", offers },
                                     TEST_END };
