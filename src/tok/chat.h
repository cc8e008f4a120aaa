/* src/tok/chat.h: the chat templates of a tokenizer. */
#ifndef OM_TOK_CHAT_H
#define OM_TOK_CHAT_H

#include "base/json.h"
#include "tok/model.h"

struct tok_builder;

struct tok_template {
    const char *name, *text;
};

struct tok_chat {
    struct tok_template *items;
    size_t len;
    const char *tokens; /* a JSON object: special tokens beyond those of om_tokenizer_info, for templates; NULL: none */
};

/* What config (tokenizer_config.json, NULL: none) has, and chat_template.jinja and additional_chat_templates/ in dir, which count more. */
int tok_chat_read(struct tok_builder *b, const char *dir, const struct om_json *config);

#endif
