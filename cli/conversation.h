/* cli/conversation.h: conversations of a command line or of a JSON line, as the text that a model's chat template makes of them. */
#ifndef CLI_CONVERSATION_H
#define CLI_CONVERSATION_H

#include "base/json.h"
#include "cli/opt.h"

struct om_tokenizer;

/* Of {"messages": [...], "tools", "documents", "chat_template", "add_generation_prompt", "continue_final_message"}; every other key is a
 * variable of the template. *text is to be freed. */
int conversation_of_line(const struct om_tokenizer *tok, const struct om_json *line, char **text, size_t *len, struct om_error *err);
/* Of texts that the user and the model say in turn; ends where the model goes on. */
int conversation_of_texts(const struct om_tokenizer *tok, const struct opt_args *texts, char **text, size_t *len, struct om_error *err);

#endif
