/* src/config/config.h: config.json read through a table of fields.
 *
 * A saved config.json omits whatever equals the default of its Transformers class, so the table of an
 * architecture carries those defaults. The same table gives the error messages. */
#ifndef OM_CONFIG_H
#define OM_CONFIG_H

#include <optimum/config.h>

#include "base/arena.h"
#include "base/json.h"

const char *om_act_name(enum om_act act);
/* Accepts the names above and the aliases gelu_python (gelu), gelu_python_tanh (gelu_pytorch_tanh) and swish (silu). */
bool om_act_parse(om_sv name, enum om_act *act);

/* The members are: INT int64_t, F64 double, BOOL bool, ACT enum om_act, STR const char * (arena; a default is the
 * table's own string). doc is the parsed config.json or an object within it; fields ends with OM_FIELD_END. Unknown
 * keys are ignored. Errors: key, what was expected, what was found; the caller adds the path (om_config_fields does). */
int om_config_read(struct om_arena *a, const struct om_json *doc, const struct om_field *fields, void *out,
                   struct om_error *err);

/* What every model has, whatever its architecture. */
struct om_config {
    struct om_json *doc;
    om_sv text;                   /* the bytes of config.json */
    const char *path;             /* DIR/config.json, for messages */
    const char *model_type;       /* required */
    const char *const *architectures; /* NULL-terminated, may be empty */
    int64_t num_labels;           /* len(id2label) or num_labels, else 2 as in PretrainedConfig */
    int64_t pad_token_id;         /* as written (the first of a list); -1: none, the class default holds */
    bool is_encoder_decoder;
    const char *problem_type;     /* NULL: none; else one of Transformers' three */
};
/* Read dir/config.json. On failure *out is left zeroed. */
int om_config_open(struct om_arena *a, const char *dir, struct om_config *out, struct om_error *err);
void om_config_close(struct om_config *c); /* accepts NULL or a zeroed value */
/* What save_pretrained of a tokenizer, processor or feature extractor writes, NULL-terminated:
 * copied beside the models. */
extern const char *const om_companion_files[];
/* Named chat templates go with them, in a directory of their own: the paths below dir
 * ("additional_chat_templates/NAME.jinja") of those that are there. */
extern const char om_templates_dir[];
int om_templates_list(struct om_arena *a, const char *dir, const char ***names, size_t *len, struct om_error *err);

#endif
