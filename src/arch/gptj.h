/* src/arch/gptj.h: GPT-J and CodeGen, which differ in how queries, keys and values are stored. */
#ifndef OM_GPTJ_H
#define OM_GPTJ_H

#include "arch/gpt.h"

struct om_gptj {
    struct om_gpt gpt;
    int64_t rotary_dim; /* 0: not given */
    struct om_rope_config rope;
};

#define OM_GPTJ_FIELDS                                                                       \
    OM_GPT_FIELDS(struct om_gptj, gpt, 28, 16, 4096, OM_ACT_GELU_NEW, false),                \
    {                                                                                        \
        .kind = OM_FIELD_KIND_INT, .key = "rotary_dim",                                      \
        .offset = offsetof(struct om_gptj, rotary_dim), .i = 64, .min = 1, .max = INT32_MAX, \
        .nullable = true                                                                     \
    }

int om_gptj_derive(struct om_arena *a, void *cfg, const struct om_config *config,
                   struct om_error *err);
void om_gptj_kv(const void *cfg, struct om_kv *kv);
/* project() gives q, k and v of a layer; s: "attn". */
void om_gptj_layers(om_scope root, const struct om_gptj *c,
                    void (*project)(om_scope s, const struct om_gptj *c, om_val x,
                                    struct om_attend *at),
                    struct om_body *body);
void om_gptj_head_causal_lm(om_scope root, const void *cfg, const struct om_body *body);

#endif
