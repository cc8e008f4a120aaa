/* src/config/companions.c: the files that go with a model wherever it goes. */
#include "config/config.h"

#include "base/file.h"

const char *const om_companion_files[] = { "added_tokens.json",
                                           "bpe.codes",
                                           "chat_template.jinja",
                                           "chat_template.json",
                                           "config_sentence_transformers.json",
                                           "merges.txt",
                                           "preprocessor_config.json",
                                           "processor_config.json",
                                           "sentence_bert_config.json",
                                           "sentencepiece.bpe.model",
                                           "sentencepiece.model",
                                           "source.spm",
                                           "special_tokens_map.json",
                                           "spiece.model",
                                           "spm.model",
                                           "target.spm",
                                           "target_vocab.json",
                                           "tokenizer.json",
                                           "tokenizer.model",
                                           "tokenizer_config.json",
                                           "vocab.json",
                                           "vocab.txt",
                                           NULL };

const char om_templates_dir[] = "additional_chat_templates";

int om_templates_list(struct om_arena *a, const char *dir, const char ***names, size_t *len,
                      struct om_error *err)
{
    const char *const below = om_path_join(a, dir, om_templates_dir);
    const char **found;
    size_t n, kept = 0;

    *len = 0;
    if (!below)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    if (!om_dir_exists(below))
        return 0;
    OM_TRY(om_dir_list(a, below, &found, &n, err));
    for (size_t i = 0; i < n; i++) {
        const char *const path = om_path_join(a, om_templates_dir, found[i]);
        const char *const file = path ? om_path_join(a, dir, path) : NULL;

        if (!file)
            return om_fail(err, OM_E_NOMEM, "out of memory");
        if (om_sv_ends(om_sv_str(path), OM_SVL(".jinja")) && om_file_exists(file))
            found[kept++] = path;
    }
    *names = found;
    *len = kept;
    return 0;
}
