/* src/config/companions.c: the files that go with a model wherever it goes. */
#include "config/config.h"

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
                                           "source.spm",
                                           "special_tokens_map.json",
                                           "spiece.model",
                                           "target.spm",
                                           "target_vocab.json",
                                           "tokenizer.json",
                                           "tokenizer.model",
                                           "tokenizer_config.json",
                                           "vocab.json",
                                           "vocab.txt",
                                           NULL };
