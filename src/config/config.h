/* src/config/config.h: config.json read through a table of fields.
 *
 * A saved config.json omits whatever equals the default of its Transformers class, so the table of an
 * architecture carries those defaults. The same table gives the error messages. */
#ifndef OM_CONFIG_H
#define OM_CONFIG_H

#include "base/arena.h"
#include "base/json.h"

/* The activation functions of transformers/activations.py (ACT2FN): OM_ACT(enum suffix, config name).
 * Constants: GELU_10 is gelu clipped to [-10, 10]; LEAKY_RELU has slope 0.01; LAPLACE is
 * 0.5 (1 + erf((x - 0.707107) / (0.282095 sqrt 2))); QUICK_GELU is x sigmoid(1.702 x). GELU_FAST, GELU_NEW, GELU_TANH and
 * GELU_ACCURATE all compute the tanh approximation (GELU_FAST with sqrt(2/pi) given as 0.7978845608). The two that
 * have weights of their own, prelu and xielu, are not here and are refused with their name. */
#define OM_ACTS(OM_ACT)                      \
    OM_ACT(GELU, "gelu")                     \
    OM_ACT(GELU_10, "gelu_10")               \
    OM_ACT(GELU_FAST, "gelu_fast")           \
    OM_ACT(GELU_NEW, "gelu_new")             \
    OM_ACT(GELU_TANH, "gelu_pytorch_tanh")   \
    OM_ACT(GELU_ACCURATE, "gelu_accurate")   \
    OM_ACT(QUICK_GELU, "quick_gelu")         \
    OM_ACT(LAPLACE, "laplace")               \
    OM_ACT(LEAKY_RELU, "leaky_relu")         \
    OM_ACT(LINEAR, "linear")                 \
    OM_ACT(MISH, "mish")                     \
    OM_ACT(RELU, "relu")                     \
    OM_ACT(RELU2, "relu2")                   \
    OM_ACT(RELU6, "relu6")                   \
    OM_ACT(SIGMOID, "sigmoid")               \
    OM_ACT(SILU, "silu")                     \
    OM_ACT(TANH, "tanh")

enum om_act {
#define OM_ACT_ENUM(suffix, name) OM_ACT_##suffix,
    OM_ACTS(OM_ACT_ENUM)
#undef OM_ACT_ENUM
    OM_ACT_COUNT
};

const char *om_act_name(enum om_act act);
/* Accepts the names above and the aliases gelu_python (gelu), gelu_python_tanh (gelu_pytorch_tanh) and swish (silu). */
bool om_act_parse(om_sv name, enum om_act *act);

enum om_field_kind { OM_FIELD_KIND_END, OM_FIELD_KIND_INT, OM_FIELD_KIND_F64, OM_FIELD_KIND_BOOL, OM_FIELD_KIND_ACT,
                     OM_FIELD_KIND_STR, OM_FIELD_KIND_REFUSE };

struct om_field {
    enum om_field_kind kind;
    const char *key;       /* in config.json; "a.b" descends into an object */
    const char *alias;     /* second spelling, which wins over the first, or NULL */
    size_t offset;         /* in the architecture's struct */
    bool required;
    bool nullable;         /* null is accepted and means the default */
    bool null_off;         /* null is accepted and means 0, a limit that is switched off (INT, F64) */
    int64_t i;             /* default of INT, BOOL (0/1) and ACT */
    double f;              /* default of F64 */
    const char *s;         /* default of STR; what REFUSE accepts, as JSON text */
    int64_t min, max;      /* INT only; checked when min < max */
};

/* An integer from 1 up without a default / with one / one that may be null or absent, then def. */
#define OM_FIELD_DIM(type, member, k)                                                           \
    { .kind = OM_FIELD_KIND_INT, .key = (k), .offset = offsetof(type, member), .required = true, .min = 1, .max = INT32_MAX }
#define OM_FIELD_INT(type, member, k, def)                                                      \
    { .kind = OM_FIELD_KIND_INT, .key = (k), .offset = offsetof(type, member), .i = (def), .nullable = true }
#define OM_FIELD_SIZE(type, member, k, def)                                                     \
    { .kind = OM_FIELD_KIND_INT, .key = (k), .offset = offsetof(type, member), .i = (def), .min = 1, .max = INT32_MAX, .nullable = true }
/* An integer from 1 up or a number, absent: def, null: 0. */
#define OM_FIELD_SIZE_OFF(type, member, k, def)                                                 \
    { .kind = OM_FIELD_KIND_INT, .key = (k), .offset = offsetof(type, member), .i = (def), .min = 1, .max = INT32_MAX, .null_off = true }
#define OM_FIELD_F64_OFF(type, member, k, def)                                                  \
    { .kind = OM_FIELD_KIND_F64, .key = (k), .offset = offsetof(type, member), .f = (def), .null_off = true }
#define OM_FIELD_F64(type, member, k, def)                                                      \
    { .kind = OM_FIELD_KIND_F64, .key = (k), .offset = offsetof(type, member), .f = (def), .nullable = true }
#define OM_FIELD_BOOL(type, member, k, def)                                                     \
    { .kind = OM_FIELD_KIND_BOOL, .key = (k), .offset = offsetof(type, member), .i = (def), .nullable = true }
#define OM_FIELD_ACT(type, member, k, def)                                                      \
    { .kind = OM_FIELD_KIND_ACT, .key = (k), .offset = offsetof(type, member), .i = (def), .nullable = true }
#define OM_FIELD_STR(type, member, k, def)                                                      \
    { .kind = OM_FIELD_KIND_STR, .key = (k), .offset = offsetof(type, member), .s = (def), .nullable = true }
/* A switch that changes the computation and that we do not implement: anything but accepted (JSON text such as
 * "false" or "null"; absent is fine too) is an error that names the key. */
#define OM_FIELD_REFUSE(k, accepted) { .kind = OM_FIELD_KIND_REFUSE, .key = (k), .s = (accepted) }
#define OM_FIELD_END { .kind = OM_FIELD_KIND_END }

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
/* om_config_read() of the whole document; messages begin with the path. */
int om_config_fields(struct om_arena *a, const struct om_config *c, const struct om_field *fields, void *out,
                     struct om_error *err);

/* What save_pretrained of a tokenizer, processor or feature extractor writes, NULL-terminated:
 * copied beside the models. */
extern const char *const om_companion_files[];

#endif
