/* include/optimum/config.h: config.json of an architecture, read through a table of fields: for plugins (<optimum/plugin.h>).
 *
 * A saved config.json omits whatever equals the default of its Transformers class, so the table of an
 * architecture carries those defaults. The same table gives the error messages. */
#ifndef OPTIMUM_CONFIG_H
#define OPTIMUM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <optimum/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct om_arena; /* memory that lives as long as the export */
struct om_json;  /* a parsed document or a value in it */
struct om_config; /* config.json of the checkpoint */

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

/* What the members of the struct are: INT int64_t, F64 double, BOOL bool, ACT enum om_act, STR const char * (of the arena; a default is
 * the table's own string). */

/* Read more of config.json, through a table that ends with OM_FIELD_END. Unknown keys are ignored. Messages begin with the path. */
OM_API int om_config_fields(struct om_arena *a, const struct om_config *c, const struct om_field *fields, void *out,
                            struct om_error *err);
/* The document, for what takes it (om_rope_read). */
OM_API const struct om_json *om_config_doc(const struct om_config *c);
OM_API int64_t om_config_labels(const struct om_config *c); /* of a classifier */
/* Zeroed memory of n elements; NULL when there is none. */
OM_API void *om_config_alloc(struct om_arena *a, size_t n, size_t size);

#ifdef __cplusplus
}
#endif

#endif
