/* src/tok/classes.c: the classes of Transformers' tokenizers: their special tokens, and how they
 * turn a vocabulary into a tokenizer. */
#include "tok/convert.h"

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* ---- vocab.txt ---- */

#define BERT_TOKENS                                                                         \
    {                                                                                       \
        [TOK_UNK] = "[UNK]", [TOK_SEP] = "[SEP]", [TOK_PAD] = "[PAD]", [TOK_CLS] = "[CLS]", \
        [TOK_MASK] = "[MASK]"                                                               \
    }
#define BERT_LIKE(class_name, types)                                                 \
    {                                                                                \
        .name = (class_name), .model_types = (types), .files = TOK_FILES_WORD_PIECE, \
        .tokens = BERT_TOKENS, .single = "cls A sep", .pair = "cls A sep B:1 sep:1"  \
    }

/* ---- vocab.json and merges.txt ---- */

#define ROBERTA_TOKENS                                                                  \
    {                                                                                   \
        [TOK_BOS] = "<s>", [TOK_EOS] = "</s>", [TOK_UNK] = "<unk>", [TOK_SEP] = "</s>", \
        [TOK_PAD] = "<pad>", [TOK_CLS] = "<s>", [TOK_MASK] = "<mask>"                   \
    }
#define ROBERTA_LIKE(class_name, types, normalized)                                     \
    {                                                                                   \
        .name = (class_name), .model_types = (types), .files = TOK_FILES_BYTE_BPE,      \
        .tokens = ROBERTA_TOKENS, .mask_lstrip = true, .mask_normalized = (normalized), \
        .single = "roberta", .pair = "roberta"                                          \
    }

/* ---- SentencePiece ---- */

#define FAIRSEQ_HEAD LIST("<s>", "<pad>", "</s>", "<unk>")
#define LANGUAGES                                                                                 \
    "ar_AR", "cs_CZ", "de_DE", "en_XX", "es_XX", "et_EE", "fi_FI", "fr_XX", "gu_IN", "hi_IN",     \
        "it_IT", "ja_XX", "kk_KZ", "ko_KR", "lt_LT", "lv_LV", "my_MM", "ne_NP", "nl_XX", "ro_RO", \
        "ru_RU", "si_LK", "tr_TR", "vi_VN", "zh_CN"

enum { NUMBER_MAX = 10000 };

static void add_numbered(struct tok_convert *c, const char *fmt_head, int64_t i, double score)
{
    const char *const text = om_arena_printf(c->arena, "%s%" PRId64 ">", fmt_head, i);

    if (!text) {
        tok_convert_fail(c, om_fail(c->err, OM_E_NOMEM, "out of memory for a tokenizer"));
        return;
    }
    tok_convert_piece(c, om_sv_str(text), score);
    tok_convert_add(c, &(struct tok_out_added){ .content = om_sv_str(text), .special = true });
}

static int64_t number(struct tok_convert *c, const char *key, int64_t fallback)
{
    int64_t n = fallback;

    om_json_i64(om_json_get(c->config, key), &n);
    if (n < 0 || n > NUMBER_MAX) {
        tok_convert_fail(c,
                         om_fail(c->err, OM_E_CONFIG,
                                 "tokenizer_config.json: key \"%s\": %" PRId64 ", expected 0 to %d",
                                 key, n, (int)NUMBER_MAX));
        return 0;
    }
    return n;
}

/* T5's sentinels, counted down so that <extra_id_0> has the highest id. */
static void extend_t5(struct tok_convert *c, bool head)
{
    const int64_t n = head ? 0 : number(c, "extra_ids", 100);

    for (int64_t i = n - 1; i >= 0; i--)
        add_numbered(c, "<extra_id_", i, 0.0);
}

/* Pegasus puts what its pre-training masks with in front. */
static void extend_pegasus(struct tok_convert *c, bool head)
{
    const int64_t offset = head ? number(c, "offset", 103) : 0;
    om_sv sentence = OM_SVL("<mask_1>");

    if (!head)
        return;
    c->unk_shift = (uint32_t)offset;
    om_json_str(om_json_get(c->config, "mask_token_sent"), &sentence);
    tok_convert_piece(c, c->tokens[TOK_PAD], 0.0);
    tok_convert_piece(c, c->tokens[TOK_EOS], 0.0);
    if (om_json_kind(om_json_get(c->config, "mask_token_sent")) != OM_JSON_NULL ||
        !om_json_get(c->config, "mask_token_sent")) {
        tok_convert_piece(c, sentence, 0.0);
        tok_convert_add(c, &(struct tok_out_added){ .content = sentence, .special = true });
    }
    tok_convert_piece(c, c->tokens[TOK_MASK], 0.0);
    for (int64_t i = 2; i < offset; i++)
        add_numbered(c, "<unk_", i, -100.0);
}

static void extend_gemma(struct tok_convert *c, bool head)
{
    static const enum tok_role roles[] = { TOK_PAD, TOK_EOS, TOK_BOS };

    for (size_t i = 0; head && i < OM_COUNT(roles); i++)
        tok_convert_piece(c, c->tokens[roles[i]], 0.0);
}

const struct tok_class tok_classes[] = {
    BERT_LIKE("BertTokenizer", " bert "),
    BERT_LIKE("DistilBertTokenizer", " distilbert "),
    BERT_LIKE("ElectraTokenizer", " electra "),
    BERT_LIKE("MobileBertTokenizer", " mobilebert "),
    BERT_LIKE("ConvBertTokenizer", " convbert "),
    BERT_LIKE("SqueezeBertTokenizer", " squeezebert "),
    BERT_LIKE("LayoutLMTokenizer", " layoutlm "),
    BERT_LIKE("LxmertTokenizer", " lxmert "),
    BERT_LIKE("DPRQuestionEncoderTokenizer", ""),
    BERT_LIKE("DPRContextEncoderTokenizer", ""),
    BERT_LIKE("DPRReaderTokenizer", " dpr "),
    { .name = "MPNetTokenizer",
      .model_types = " mpnet ",
      .files = TOK_FILES_WORD_PIECE,
      .tokens = { [TOK_BOS] = "<s>",
                  [TOK_EOS] = "</s>",
                  [TOK_UNK] = "[UNK]",
                  [TOK_SEP] = "</s>",
                  [TOK_PAD] = "<pad>",
                  [TOK_CLS] = "<s>",
                  [TOK_MASK] = "<mask>" },
      .mask_lstrip = true,
      .single = "cls A sep",
      .pair = "cls A sep sep B:1 sep:1" },
    { .name = "GPT2Tokenizer",
      .model_types = " gpt2 gpt_neo gptj ",
      .files = TOK_FILES_BYTE_BPE,
      .tokens = { [TOK_BOS] = "<|endoftext|>",
                  [TOK_EOS] = "<|endoftext|>",
                  [TOK_UNK] = "<|endoftext|>" } },
    ROBERTA_LIKE("RobertaTokenizer", " roberta data2vec-text ", false),
    ROBERTA_LIKE("BartTokenizer", " bart ", true),
    ROBERTA_LIKE("LongformerTokenizer", " longformer ", false),
    ROBERTA_LIKE("LEDTokenizer", " led ", true),
    { .name = "T5Tokenizer",
      .model_types = " t5 longt5 mt5 ",
      .files = TOK_FILES_SPM,
      .tokens = { [TOK_EOS] = "</s>", [TOK_UNK] = "<unk>", [TOK_PAD] = "<pad>" },
      .single = "A eos",
      .pair = "A eos B eos",
      .unk_id = -1,
      .extend = extend_t5 },
    { .name = "AlbertTokenizer",
      .model_types = " albert ",
      .files = TOK_FILES_SPM,
      .norm = TOK_NORM_ALBERT,
      .tokens = { [TOK_BOS] = "[CLS]",
                  [TOK_EOS] = "[SEP]",
                  [TOK_UNK] = "<unk>",
                  [TOK_SEP] = "[SEP]",
                  [TOK_PAD] = "<pad>",
                  [TOK_CLS] = "[CLS]",
                  [TOK_MASK] = "[MASK]" },
      .mask_lstrip = true,
      .single = "cls A sep",
      .pair = "cls A sep B:1 sep:1",
      .unk_id = -1 },
    { .name = "CamembertTokenizer",
      .model_types = " camembert ",
      .files = TOK_FILES_SPM,
      .tokens = ROBERTA_TOKENS,
      .mask_lstrip = true,
      .single = "cls A sep",
      .pair = "cls A sep sep B sep",
      .head = LIST("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"),
      .skip = 1,
      .tail = LIST("<mask>"),
      .additional = LIST("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"),
      .unk_id = 3 },
    { .name = "XLMRobertaTokenizer",
      .model_types = " xlm-roberta xlm-roberta-xl ",
      .files = TOK_FILES_SPM,
      .tokens = ROBERTA_TOKENS,
      .mask_lstrip = true,
      .single = "cls A sep",
      .pair = "cls A sep sep B sep",
      .head = FAIRSEQ_HEAD,
      .skip = 3,
      .tail = LIST("<mask>"),
      .unk_id = 3 },
    { .name = "MBartTokenizer",
      .model_types = " mbart ",
      .files = TOK_FILES_SPM,
      .tokens = ROBERTA_TOKENS,
      .mask_lstrip = true,
      .single = "A eos lang",
      .pair = "A B eos lang",
      .head = FAIRSEQ_HEAD,
      .skip = 3,
      .tail = LIST(LANGUAGES, "<mask>"),
      .additional = LIST(LANGUAGES),
      .unk_id = 3 },
    { .name = "PegasusTokenizer",
      .model_types = " pegasus ",
      .files = TOK_FILES_SPM,
      .tokens = { [TOK_EOS] = "</s>",
                  [TOK_UNK] = "<unk>",
                  [TOK_PAD] = "<pad>",
                  [TOK_MASK] = "<mask_2>" },
      .single = "A eos",
      .pair = "A B eos",
      .skip = 2,
      .unk_id = -1,
      .extend = extend_pegasus },
    { .name = "LlamaTokenizer",
      .model_types = " llama mistral mixtral ",
      .files = TOK_FILES_SPM,
      .norm = TOK_NORM_LLAMA,
      .tokens = { [TOK_BOS] = "<s>", [TOK_EOS] = "</s>", [TOK_UNK] = "<unk>" },
      .pad_left = true,
      .bos_option = true,
      .eos_option = true,
      .single = "bos A eos",
      .pair = "bos A eos bos:1 B:1 eos:1",
      .skip = 3,
      .zero_skipped = true },
    { .name = "GemmaTokenizer",
      .model_types = " gemma gemma2 gemma3_text ",
      .files = TOK_FILES_SPM,
      .norm = TOK_NORM_GEMMA,
      .tokens = { [TOK_BOS] = "<bos>",
                  [TOK_EOS] = "<eos>",
                  [TOK_UNK] = "<unk>",
                  [TOK_PAD] = "<pad>" },
      .pad_left = true,
      .bos_option = true,
      .eos_option = true,
      .single = "bos A eos",
      .pair = "bos A eos bos:1 B:1 eos:1",
      .skip = 3,
      .unk_id = 3,
      .extend = extend_gemma },
    { .name = "MarianTokenizer",
      .model_types = " marian ",
      .files = TOK_FILES_MARIAN,
      .tokens = { [TOK_EOS] = "</s>", [TOK_UNK] = "<unk>", [TOK_PAD] = "<pad>" },
      .single = "A eos",
      .pair = "A B eos",
      .unk_id = -1 },
};
const size_t tok_classes_len = OM_COUNT(tok_classes);
