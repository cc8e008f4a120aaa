/* src/tok/classes.c: the classes of Transformers' tokenizers: their special tokens, and how they
 * turn a vocabulary into a tokenizer. */
#include "tok/convert.h"

#define META "\xE2\x96\x81" /* U+2581, which stands for a space */
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
#define MADE_UP                                                                               \
    LIST("<madeupword0>", "<madeupword1>", "<madeupword2>", "<madeupword3>", "<madeupword4>", \
         "<madeupword5>", "<madeupword6>")
#define LANGUAGES                                                                                 \
    "ar_AR", "cs_CZ", "de_DE", "en_XX", "es_XX", "et_EE", "fi_FI", "fr_XX", "gu_IN", "hi_IN",     \
        "it_IT", "ja_XX", "kk_KZ", "ko_KR", "lt_LT", "lv_LV", "my_MM", "ne_NP", "nl_XX", "ro_RO", \
        "ru_RU", "si_LK", "tr_TR", "vi_VN", "zh_CN"

#define MORE_LANGUAGES                                                                            \
    "af_ZA", "az_AZ", "bn_IN", "fa_IR", "he_IL", "hr_HR", "id_ID", "ka_GE", "km_KH", "mk_MK",     \
        "ml_IN", "mn_MN", "mr_IN", "pl_PL", "ps_AF", "pt_XX", "sv_SE", "sw_KE", "ta_IN", "te_IN", \
        "th_TH", "tl_XX", "uk_UA", "ur_PK", "xh_ZA", "gl_ES", "sl_SI"
#define FLORES_LANGUAGES                                                                    \
    "ace_Arab", "ace_Latn", "acm_Arab", "acq_Arab", "aeb_Arab", "afr_Latn", "ajp_Arab",     \
        "aka_Latn", "amh_Ethi", "apc_Arab", "arb_Arab", "ars_Arab", "ary_Arab", "arz_Arab", \
        "asm_Beng", "ast_Latn", "awa_Deva", "ayr_Latn", "azb_Arab", "azj_Latn", "bak_Cyrl", \
        "bam_Latn", "ban_Latn", "bel_Cyrl", "bem_Latn", "ben_Beng", "bho_Deva", "bjn_Arab", \
        "bjn_Latn", "bod_Tibt", "bos_Latn", "bug_Latn", "bul_Cyrl", "cat_Latn", "ceb_Latn", \
        "ces_Latn", "cjk_Latn", "ckb_Arab", "crh_Latn", "cym_Latn", "dan_Latn", "deu_Latn", \
        "dik_Latn", "dyu_Latn", "dzo_Tibt", "ell_Grek", "eng_Latn", "epo_Latn", "est_Latn", \
        "eus_Latn", "ewe_Latn", "fao_Latn", "pes_Arab", "fij_Latn", "fin_Latn", "fon_Latn", \
        "fra_Latn", "fur_Latn", "fuv_Latn", "gla_Latn", "gle_Latn", "glg_Latn", "grn_Latn", \
        "guj_Gujr", "hat_Latn", "hau_Latn", "heb_Hebr", "hin_Deva", "hne_Deva", "hrv_Latn", \
        "hun_Latn", "hye_Armn", "ibo_Latn", "ilo_Latn", "ind_Latn", "isl_Latn", "ita_Latn", \
        "jav_Latn", "jpn_Jpan", "kab_Latn", "kac_Latn", "kam_Latn", "kan_Knda", "kas_Arab", \
        "kas_Deva", "kat_Geor", "knc_Arab", "knc_Latn", "kaz_Cyrl", "kbp_Latn", "kea_Latn", \
        "khm_Khmr", "kik_Latn", "kin_Latn", "kir_Cyrl", "kmb_Latn", "kon_Latn", "kor_Hang", \
        "kmr_Latn", "lao_Laoo", "lvs_Latn", "lij_Latn", "lim_Latn", "lin_Latn", "lit_Latn", \
        "lmo_Latn", "ltg_Latn", "ltz_Latn", "lua_Latn", "lug_Latn", "luo_Latn", "lus_Latn", \
        "mag_Deva", "mai_Deva", "mal_Mlym", "mar_Deva", "min_Latn", "mkd_Cyrl", "plt_Latn", \
        "mlt_Latn", "mni_Beng", "khk_Cyrl", "mos_Latn", "mri_Latn", "zsm_Latn", "mya_Mymr", \
        "nld_Latn", "nno_Latn", "nob_Latn", "npi_Deva", "nso_Latn", "nus_Latn", "nya_Latn", \
        "oci_Latn", "gaz_Latn", "ory_Orya", "pag_Latn", "pan_Guru", "pap_Latn", "pol_Latn", \
        "por_Latn", "prs_Arab", "pbt_Arab", "quy_Latn", "ron_Latn", "run_Latn", "rus_Cyrl", \
        "sag_Latn", "san_Deva", "sat_Beng", "scn_Latn", "shn_Mymr", "sin_Sinh", "slk_Latn", \
        "slv_Latn", "smo_Latn", "sna_Latn", "snd_Arab", "som_Latn", "sot_Latn", "spa_Latn", \
        "als_Latn", "srd_Latn", "srp_Cyrl", "ssw_Latn", "sun_Latn", "swe_Latn", "swh_Latn", \
        "szl_Latn", "tam_Taml", "tat_Cyrl", "tel_Telu", "tgk_Cyrl", "tgl_Latn", "tha_Thai", \
        "tir_Ethi", "taq_Latn", "taq_Tfng", "tpi_Latn", "tsn_Latn", "tso_Latn", "tuk_Latn", \
        "tum_Latn", "tur_Latn", "twi_Latn", "tzm_Tfng", "uig_Arab", "ukr_Cyrl", "umb_Latn", \
        "urd_Arab", "uzn_Latn", "vec_Latn", "vie_Latn", "war_Latn", "wol_Latn", "xho_Latn", \
        "ydd_Hebr", "yor_Latn", "yue_Hant", "zho_Hans", "zho_Hant", "zul_Latn"

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
    BERT_LIKE("BertTokenizer",
              " bert align bark blip bros chinese_clip ernie git grounding-dino megatron-bert "
              "mm-grounding-dino nezha qdqbert tvp vilt visual_bert "),
    BERT_LIKE("DistilBertTokenizer", " distilbert "),
    BERT_LIKE("ElectraTokenizer", " electra "),
    BERT_LIKE("MobileBertTokenizer", " mobilebert "),
    BERT_LIKE("ConvBertTokenizer", " convbert "),
    BERT_LIKE("SqueezeBertTokenizer", " squeezebert "),
    BERT_LIKE("LayoutLMTokenizer", " layoutlm "),
    BERT_LIKE("LxmertTokenizer", " lxmert "),
    BERT_LIKE("DPRQuestionEncoderTokenizer", " dpr "),
    BERT_LIKE("DPRContextEncoderTokenizer", ""),
    BERT_LIKE("DPRReaderTokenizer", ""),
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
    BERT_LIKE("LayoutLMv2Tokenizer", " layoutlmv2 "),
    BERT_LIKE("RealmTokenizer", " realm "),
    BERT_LIKE("RetriBertTokenizer", " retribert "),
    { .name = "FunnelTokenizer",
      .model_types = " funnel ",
      .files = TOK_FILES_WORD_PIECE,
      .tokens = { [TOK_BOS] = "<s>",
                  [TOK_EOS] = "</s>",
                  [TOK_UNK] = "<unk>",
                  [TOK_SEP] = "<sep>",
                  [TOK_PAD] = "<pad>",
                  [TOK_CLS] = "<cls>",
                  [TOK_MASK] = "<mask>" },
      .single = "cls:2 A sep",
      .pair = "cls:2 A sep B:1 sep:1" },
    { .name = "SplinterTokenizer",
      .model_types = " splinter ",
      .files = TOK_FILES_WORD_PIECE,
      .tokens = BERT_TOKENS,
      .additional = LIST("[QUESTION]"),
      .single = "cls A sep",
      .pair = "cls A =[QUESTION] =. sep B:1 sep:1" },
    { .name = "CodeGenTokenizer",
      .model_types = " codegen phi ",
      .files = TOK_FILES_BYTE_BPE,
      .tokens = { [TOK_BOS] = "<|endoftext|>",
                  [TOK_EOS] = "<|endoftext|>",
                  [TOK_UNK] = "<|endoftext|>" } },
    { .name = "Qwen2Tokenizer",
      .model_types = " qwen2 qwen2_moe qwen3 qwen3_moe colqwen2 internvl qwen2_5_omni qwen2_5_vl "
                     "qwen2_audio qwen2_vl qwen3_next qwen3_omni_moe qwen3_vl qwen3_vl_moe ",
      .files = TOK_FILES_BYTE_BPE,
      .bpe = TOK_BPE_QWEN2,
      .tokens = { [TOK_EOS] = "<|endoftext|>",
                  [TOK_UNK] = "<|endoftext|>",
                  [TOK_PAD] = "<|endoftext|>" } },
    { .name = "DebertaTokenizer",
      .model_types = " deberta ",
      .files = TOK_FILES_BYTE_BPE,
      .tokens = { [TOK_BOS] = "[CLS]",
                  [TOK_EOS] = "[SEP]",
                  [TOK_UNK] = "[UNK]",
                  [TOK_SEP] = "[SEP]",
                  [TOK_PAD] = "[PAD]",
                  [TOK_CLS] = "[CLS]",
                  [TOK_MASK] = "[MASK]" },
      .mask_lstrip = true,
      .single = "cls A sep",
      .pair = "cls A sep B:1 sep:1" },
    { .name = "BlenderbotTokenizer",
      .model_types = " blenderbot ",
      .files = TOK_FILES_BYTE_BPE,
      .tokens = ROBERTA_TOKENS,
      .mask_lstrip = true,
      .single = "A eos",
      .pair = "A B:1" },
    { .name = "CLIPTokenizer",
      .model_types = " clip clipseg owlvit owlv2 groupvit aimv2 omdet-turbo oneformer xclip ",
      .files = TOK_FILES_BYTE_BPE,
      .bpe = TOK_BPE_CLIP,
      .tokens = { [TOK_BOS] = "<|startoftext|>",
                  [TOK_EOS] = "<|endoftext|>",
                  [TOK_UNK] = "<|endoftext|>",
                  [TOK_PAD] = "<|endoftext|>" } },
    { .name = "OpenAIGPTTokenizer",
      .model_types = " openai-gpt ",
      .files = TOK_FILES_BYTE_BPE,
      .bpe = TOK_BPE_OPENAI,
      .tokens = { [TOK_UNK] = "<unk>" } },
    { .name = "HerbertTokenizer",
      .model_types = " herbert ",
      .files = TOK_FILES_BYTE_BPE,
      .bpe = TOK_BPE_HERBERT,
      .additional = LIST("<special0>", "<special1>", "<special2>", "<special3>", "<special4>",
                         "<special5>", "<special6>", "<special7>", "<special8>", "<special9>"),
      .tokens = { [TOK_BOS] = "<s>",
                  [TOK_UNK] = "<unk>",
                  [TOK_SEP] = "</s>",
                  [TOK_PAD] = "<pad>",
                  [TOK_CLS] = "<s>",
                  [TOK_MASK] = "<mask>" } },
    { .name = "GPT2Tokenizer",
      .model_types = " gpt2 gpt_neo gptj blip-2 dbrx emu3 exaone4 flex_olmo gpt_bigcode "
                     "instructblip instructblipvideo minimax olmo3 opt starcoder2 ",
      .files = TOK_FILES_BYTE_BPE,
      .tokens = { [TOK_BOS] = "<|endoftext|>",
                  [TOK_EOS] = "<|endoftext|>",
                  [TOK_UNK] = "<|endoftext|>" } },
    ROBERTA_LIKE("RobertaTokenizer",
                 " roberta data2vec-text bridgetower clap ibert mega mra roberta-prelayernorm ",
                 false),
    ROBERTA_LIKE("BartTokenizer", " bart ", true),
    ROBERTA_LIKE("LongformerTokenizer", " longformer ", false),
    ROBERTA_LIKE("LEDTokenizer", " led ", true),
    ROBERTA_LIKE("MvpTokenizer", " mvp ", true),
    { .name = "LayoutLMv3Tokenizer",
      .model_types = " layoutlmv3 lilt ",
      .files = TOK_FILES_BYTE_BPE,
      .prefix_space = true,
      .tokens = ROBERTA_TOKENS,
      .mask_lstrip = true,
      .mask_normalized = true,
      .single = "roberta",
      .pair = "roberta" },
    { .name = "MarkupLMTokenizer",
      .model_types = " markuplm ",
      .files = TOK_FILES_BYTE_BPE,
      .writes_unk = true,
      .tokens = ROBERTA_TOKENS,
      .mask_lstrip = true,
      .mask_normalized = true,
      .single = "cls A sep",
      .pair = "cls A sep B sep" },
    { .name = "WhisperTokenizer",
      .model_types = " whisper ",
      .files = TOK_FILES_BYTE_BPE,
      .whisper = true,
      .tokens = { [TOK_BOS] = "<|endoftext|>",
                  [TOK_EOS] = "<|endoftext|>",
                  [TOK_UNK] = "<|endoftext|>" },
      .single = "start speech task times A eos",
      .pair = "start speech task times A B:1 eos:1" },
    { .name = "T5Tokenizer",
      .model_types = " t5 longt5 musicgen musicgen_melody pix2struct switch_transformers umt5 ",
      .files = TOK_FILES_SPM,
      .tokens = { [TOK_EOS] = "</s>", [TOK_UNK] = "<unk>", [TOK_PAD] = "<pad>" },
      .single = "A eos",
      .pair = "A eos B eos",
      .unk_id = -1,
      .extend = extend_t5 },
    { .name = "MT5Tokenizer",
      .model_types = " mt5 ",
      .files = TOK_FILES_SPM,
      .tokens = { [TOK_EOS] = "</s>", [TOK_UNK] = "<unk>", [TOK_PAD] = "<pad>" },
      .single = "A eos",
      .pair = "A eos B eos",
      .unk_id = -1,
      .extend = extend_t5 },
    { .name = "UdopTokenizer",
      .model_types = " udop ",
      .files = TOK_FILES_SPM,
      .tokens = { [TOK_EOS] = "</s>",
                  [TOK_UNK] = "<unk>",
                  [TOK_SEP] = "</s>",
                  [TOK_PAD] = "<pad>" },
      .single = "A =</s>",
      .pair = "A =</s> B =</s>",
      .unk_id = -1 },
    { .name = "AlbertTokenizer",
      .model_types = " albert nystromformer yoso ",
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
    { .name = "FNetTokenizer",
      .model_types = " fnet ",
      .files = TOK_FILES_SPM,
      .norm = TOK_NORM_ALBERT,
      .cased = true,
      .keep_accents = true,
      .tokens = { [TOK_UNK] = "<unk>",
                  [TOK_SEP] = "[SEP]",
                  [TOK_PAD] = "<pad>",
                  [TOK_CLS] = "[CLS]",
                  [TOK_MASK] = "[MASK]" },
      .mask_lstrip = true,
      .single = "cls A sep",
      .pair = "cls A sep B:1 sep:1",
      .unk_id = -1 },
    { .name = "RemBertTokenizer",
      .model_types = " rembert ",
      .files = TOK_FILES_SPM,
      .norm = TOK_NORM_REMBERT,
      .tokens = { [TOK_BOS] = "[CLS]",
                  [TOK_EOS] = "[SEP]",
                  [TOK_UNK] = "[UNK]",
                  [TOK_SEP] = "[SEP]",
                  [TOK_PAD] = "[PAD]",
                  [TOK_CLS] = "[CLS]",
                  [TOK_MASK] = "[MASK]" },
      .cased = true,
      .keep_accents = true,
      .mask_lstrip = true,
      .single = "cls A sep",
      .pair = "cls A sep B:1 sep:1",
      .unk_id = -1 },
    { .name = "BigBirdTokenizer",
      .model_types = " big_bird ",
      .files = TOK_FILES_SPM,
      .tokens = { [TOK_BOS] = "<s>",
                  [TOK_EOS] = "</s>",
                  [TOK_UNK] = "<unk>",
                  [TOK_SEP] = "[SEP]",
                  [TOK_PAD] = "<pad>",
                  [TOK_CLS] = "[CLS]",
                  [TOK_MASK] = "[MASK]" },
      .mask_lstrip = true,
      .single = "cls A sep",
      .pair = "cls A sep B:1 sep:1",
      .unk_id = -1 },
    { .name = "XLNetTokenizer",
      .model_types = " xlnet ",
      .files = TOK_FILES_SPM,
      .norm = TOK_NORM_ALBERT,
      .cased = true,
      .pad_left = true,
      .tokens = { [TOK_BOS] = "<s>",
                  [TOK_EOS] = "</s>",
                  [TOK_UNK] = "<unk>",
                  [TOK_SEP] = "<sep>",
                  [TOK_PAD] = "<pad>",
                  [TOK_CLS] = "<cls>",
                  [TOK_MASK] = "<mask>" },
      .mask_lstrip = true,
      .additional = LIST("<eop>", "<eod>"),
      .single = "A sep cls:2",
      .pair = "A sep B:1 sep:1 cls:2",
      .unk_id = -1 },
    { .name = "ReformerTokenizer",
      .model_types = " reformer ",
      .files = TOK_FILES_SPM,
      .tokens = { [TOK_EOS] = "</s>", [TOK_UNK] = "<unk>" },
      .unk_id = -1 },
    { .name = "DebertaV2Tokenizer",
      .model_types = " deberta-v2 ",
      .files = TOK_FILES_SPM,
      .norm = TOK_NORM_DEBERTA,
      .cased = true,
      .tokens = { [TOK_BOS] = "[CLS]",
                  [TOK_EOS] = "[SEP]",
                  [TOK_UNK] = "[UNK]",
                  [TOK_SEP] = "[SEP]",
                  [TOK_PAD] = "[PAD]",
                  [TOK_CLS] = "[CLS]",
                  [TOK_MASK] = "[MASK]" },
      .single = "cls A sep",
      .pair = "cls A sep B:1 sep:1",
      .unk_id = -1 },
    { .name = "BarthezTokenizer",
      .model_types = " barthez ",
      .files = TOK_FILES_SPM,
      .tokens = ROBERTA_TOKENS,
      .mask_lstrip = true,
      .single = "cls A sep",
      .pair = "cls A sep sep B sep",
      .unk_id = 3 },
    { .name = "MBart50Tokenizer",
      .model_types = " mbart50 ",
      .files = TOK_FILES_SPM,
      .tokens = { [TOK_EOS] = "</s>",
                  [TOK_UNK] = "<unk>",
                  [TOK_SEP] = "</s>",
                  [TOK_PAD] = "<pad>",
                  [TOK_CLS] = "<s>",
                  [TOK_MASK] = "<mask>" },
      .mask_lstrip = true,
      .single = "lang A eos",
      .pair = "lang A B eos",
      .head = FAIRSEQ_HEAD,
      .skip = 3,
      .tail = LIST(LANGUAGES, MORE_LANGUAGES, "<mask>"),
      .additional = LIST(LANGUAGES, MORE_LANGUAGES),
      .unk_id = 3 },
    { .name = "NllbTokenizer",
      .model_types = " nllb-moe nllb ",
      .files = TOK_FILES_SPM,
      .tokens = ROBERTA_TOKENS,
      .mask_lstrip = true,
      .mask_normalized = true,
      .single = "lang A eos",
      .pair = "lang A B eos",
      .legacy_single = "A eos lang",
      .legacy_pair = "A B eos lang",
      .language = "eng_Latn",
      .head = FAIRSEQ_HEAD,
      .skip = 3,
      .additional = LIST(FLORES_LANGUAGES),
      .unk_id = 3 },
    { .name = "SeamlessM4TTokenizer",
      .model_types = " seamless_m4t seamless_m4t_v2 ",
      .files = TOK_FILES_SPM,
      .modern = true,
      .tokens = { [TOK_BOS] = "<s>",
                  [TOK_EOS] = "</s>",
                  [TOK_UNK] = "<unk>",
                  [TOK_SEP] = "</s>",
                  [TOK_PAD] = "<pad>",
                  [TOK_CLS] = "<s>" },
      .single = "eos lang A eos",
      .pair = "eos lang A B eos",
      .language = "__eng__",
      .head = LIST("<pad>", "<unk>", "<s>", "</s>"),
      .skip = 3,
      .unk_id = 1 },
    { .name = "XGLMTokenizer",
      .model_types = " xglm ",
      .files = TOK_FILES_SPM,
      .tokens = { [TOK_BOS] = "<s>",
                  [TOK_EOS] = "</s>",
                  [TOK_UNK] = "<unk>",
                  [TOK_SEP] = "</s>",
                  [TOK_PAD] = "<pad>",
                  [TOK_CLS] = "<s>" },
      .single = "eos A",
      .pair = "eos A eos eos B",
      .head = FAIRSEQ_HEAD,
      .skip = 3,
      .tail = MADE_UP,
      .additional = MADE_UP,
      .unk_id = 3 },
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
      .model_types = " xlm-roberta xlm-roberta-xl kosmos-2 metaclip_2 xmod ",
      .files = TOK_FILES_SPM,
      .tokens = ROBERTA_TOKENS,
      .mask_lstrip = true,
      .single = "cls A sep",
      .pair = "cls A sep sep B sep",
      .head = FAIRSEQ_HEAD,
      .skip = 3,
      .tail = LIST("<mask>"),
      .unk_id = 3 },
    { .name = "LayoutXLMTokenizer",
      .model_types = " layoutxlm ",
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
      .model_types = " pegasus bigbird_pegasus pegasus_x ",
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
      .model_types = " llama mistral mixtral arcee aria chameleon colpali deepseek_v2 deepseek_v3 "
                     "deepseek_vl deepseek_vl_hybrid diffllama ernie4_5 ernie4_5_moe idefics "
                     "idefics2 idefics3 jamba janus jetmoe llama4 llama4_text llava llava_next "
                     "llava_next_video llava_onevision ministral mistral3 mllama paligemma "
                     "persimmon phi3 phimoe video_llava vipllava zamba zamba2 ",
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
    { .name = "CodeLlamaTokenizer",
      .model_types = " code_llama ",
      .files = TOK_FILES_SPM,
      .norm = TOK_NORM_LLAMA,
      .deaf = true,
      .tokens = { [TOK_BOS] = "<s>", [TOK_EOS] = "</s>", [TOK_UNK] = "<unk>" },
      .additional = LIST(META "<PRE>", META "<MID>", META "<SUF>", META "<EOT>"),
      .additional_keys = LIST("prefix_token", "middle_token", "suffix_token", "eot_token"),
      .pad_left = true,
      .bos_option = true,
      .eos_option = true,
      .single = "bos A eos",
      .pair = "bos A eos bos:1 B:1 eos:1",
      .skip = 3,
      .zero_skipped = true },
    { .name = "GemmaTokenizer",
      .model_types = " gemma gemma2 gemma3_text gemma3 gemma3n gemma3n_text recurrent_gemma "
                     "shieldgemma2 siglip2 t5gemma ",
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
