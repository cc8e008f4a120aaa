/* src/tok/whisper.c: what Whisper's tokenizer puts in front of a text: start of the transcript,
 * language, task, no time stamps. */
#include "tok/convert.h"

/* Codes with their names, in the original's order; then further names. */
static const struct {
    const char *code, *name;
} languages[] = {
    { "en", "english" },
    { "zh", "chinese" },
    { "de", "german" },
    { "es", "spanish" },
    { "ru", "russian" },
    { "ko", "korean" },
    { "fr", "french" },
    { "ja", "japanese" },
    { "pt", "portuguese" },
    { "tr", "turkish" },
    { "pl", "polish" },
    { "ca", "catalan" },
    { "nl", "dutch" },
    { "ar", "arabic" },
    { "sv", "swedish" },
    { "it", "italian" },
    { "id", "indonesian" },
    { "hi", "hindi" },
    { "fi", "finnish" },
    { "vi", "vietnamese" },
    { "he", "hebrew" },
    { "uk", "ukrainian" },
    { "el", "greek" },
    { "ms", "malay" },
    { "cs", "czech" },
    { "ro", "romanian" },
    { "da", "danish" },
    { "hu", "hungarian" },
    { "ta", "tamil" },
    { "no", "norwegian" },
    { "th", "thai" },
    { "ur", "urdu" },
    { "hr", "croatian" },
    { "bg", "bulgarian" },
    { "lt", "lithuanian" },
    { "la", "latin" },
    { "mi", "maori" },
    { "ml", "malayalam" },
    { "cy", "welsh" },
    { "sk", "slovak" },
    { "te", "telugu" },
    { "fa", "persian" },
    { "lv", "latvian" },
    { "bn", "bengali" },
    { "sr", "serbian" },
    { "az", "azerbaijani" },
    { "sl", "slovenian" },
    { "kn", "kannada" },
    { "et", "estonian" },
    { "mk", "macedonian" },
    { "br", "breton" },
    { "eu", "basque" },
    { "is", "icelandic" },
    { "hy", "armenian" },
    { "ne", "nepali" },
    { "mn", "mongolian" },
    { "bs", "bosnian" },
    { "kk", "kazakh" },
    { "sq", "albanian" },
    { "sw", "swahili" },
    { "gl", "galician" },
    { "mr", "marathi" },
    { "pa", "punjabi" },
    { "si", "sinhala" },
    { "km", "khmer" },
    { "sn", "shona" },
    { "yo", "yoruba" },
    { "so", "somali" },
    { "af", "afrikaans" },
    { "oc", "occitan" },
    { "ka", "georgian" },
    { "be", "belarusian" },
    { "tg", "tajik" },
    { "sd", "sindhi" },
    { "gu", "gujarati" },
    { "am", "amharic" },
    { "yi", "yiddish" },
    { "lo", "lao" },
    { "uz", "uzbek" },
    { "fo", "faroese" },
    { "ht", "haitian creole" },
    { "ps", "pashto" },
    { "tk", "turkmen" },
    { "nn", "nynorsk" },
    { "mt", "maltese" },
    { "sa", "sanskrit" },
    { "lb", "luxembourgish" },
    { "my", "myanmar" },
    { "bo", "tibetan" },
    { "tl", "tagalog" },
    { "mg", "malagasy" },
    { "as", "assamese" },
    { "tt", "tatar" },
    { "haw", "hawaiian" },
    { "ln", "lingala" },
    { "ha", "hausa" },
    { "ba", "bashkir" },
    { "jw", "javanese" },
    { "su", "sundanese" },
    { "yue", "cantonese" },
    /* also called */
    { "my", "burmese" },
    { "ca", "valencian" },
    { "nl", "flemish" },
    { "ht", "haitian" },
    { "lb", "letzeburgesch" },
    { "ps", "pushto" },
    { "pa", "panjabi" },
    { "ro", "moldavian" },
    { "ro", "moldovan" },
    { "si", "sinhalese" },
    { "es", "castilian" },
    { "zh", "mandarin" },
};

static bool setting(const struct tok_convert *c, const char *key, om_sv *value)
{
    return om_json_str(om_json_get(c->config, key), value);
}

static bool same_word(om_sv a, const char *b)
{
    if (a.len != strlen(b))
        return false;
    for (size_t i = 0; i < a.len; i++) {
        const char ch = a.ptr[i];
        if ((ch >= 'A' && ch <= 'Z' ? ch + ('a' - 'A') : ch) != b[i])
            return false;
    }
    return true;
}

static const char *code_of(om_sv language)
{
    for (size_t i = 0; i < OM_COUNT(languages); i++)
        if (same_word(language, languages[i].code) || same_word(language, languages[i].name))
            return languages[i].code;
    return NULL;
}

void tok_whisper_check(struct tok_convert *c)
{
    om_sv language, task;

    if (setting(c, "language", &language) && !code_of(language))
        tok_convert_fail(c, om_fail(c->err, OM_E_CONFIG,
                                    "tokenizer_config.json: key \"language\": \"%.*s\" is not one "
                                    "of Whisper's languages",
                                    OM_SV(language)));
    if (setting(c, "task", &task) && !om_sv_is(task, "transcribe") && !om_sv_is(task, "translate"))
        tok_convert_fail(c, om_fail(c->err, OM_E_CONFIG,
                                    "tokenizer_config.json: key \"task\": \"%.*s\", expected "
                                    "\"transcribe\" or \"translate\"",
                                    OM_SV(task)));
}

/* What a word of the template stands for; NULL: nothing. */
static const char *token_of(const struct tok_convert *c, om_sv word)
{
    om_sv value;

    if (om_sv_is(word, "start"))
        return "startoftranscript";
    if (om_sv_is(word, "speech"))
        return setting(c, "language", &value) ? code_of(value) : NULL;
    if (om_sv_is(word, "task"))
        return !setting(c, "task", &value)     ? NULL
               : om_sv_is(value, "transcribe") ? "transcribe"
                                               : "translate";
    if (om_sv_is(word, "times"))
        return tok_convert_flag(c, "predict_timestamps", false) ? NULL : "notimestamps";
    return NULL;
}

bool tok_whisper_token(const struct tok_convert *c, om_sv word, om_sv *token)
{
    const char *const name = c->cls->whisper ? token_of(c, word) : NULL;

    if (!name)
        return false;
    *token = om_sv_str(om_arena_printf(c->arena, "<|%s|>", name));
    if (!om_map_get(&c->first, *token, NULL))
        *token = c->tokens[TOK_UNK];
    return token->ptr != NULL;
}
