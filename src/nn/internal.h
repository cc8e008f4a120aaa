/* src/nn/internal.h: shared by the files of nn. */
#ifndef OM_NN_INTERNAL_H
#define OM_NN_INTERNAL_H

#include "nn/builder.h"

/* Add a source of weights; on failure the graph fails and an older source is given. */
struct om_source *om_builder_source(struct om_builder *b, const struct om_ckpt *ckpt,
                                    const char *prefix);
void om_builder_note_missing(struct om_builder *b, const char *name); /* name: arena */

/* What a decoder's mask says, for who attends with it. NULL: mask is none, or says more. */
void om_builder_note_sight(struct om_builder *b, om_val mask, int64_t window);
const struct om_sight *om_builder_sight(const struct om_builder *b, om_val mask);

bool om_is_float(enum om_dtype dtype);

/* The "weight" of a linear layer in the order in which its bytes lie: *trans 1 for [out, in], 0 for
 * [in, out], as TensorFlow stores it. */
om_val om_weight_linear(om_scope s, int64_t *trans);
/* That of a Conv1D, which is saved [in, out]; quantizing turns it into that of a linear layer. */
om_val om_weight_conv1d(om_scope s, int64_t *trans);
bool om_is_narrow(enum om_dtype dtype);                        /* a float of 16 bits */
om_val om_wide(om_scope s, double v);                          /* scalar of what om_widen() gives */
om_val om_float_as(om_scope s, om_val x, enum om_dtype dtype); /* a cast; x must be a float */
/* A float tensor of the checkpoint that is computed with in the given dtype. */
om_val om_weight_as(om_scope s, const char *name, enum om_dtype dtype);

/* The frequency of every pair of rotary dims, dim / 2 of them; beyond: those of sequences longer
 * than the original limit (longrope only, "dynamic" computes them in the graph). */
void om_rope_frequencies(const struct om_rope_config *c, bool beyond, float *out);
double om_rope_attention_factor(const struct om_rope_config *c); /* of cos and sin */

#define OM_VALS(...) \
    (const om_val[]){ __VA_ARGS__ }, sizeof((const om_val[]){ __VA_ARGS__ }) / sizeof(om_val)
/* An operator without attributes, and with one. */
#define OM_EMIT(s, op, ...) om_emit((s), (op), OM_VALS(__VA_ARGS__), NULL, 0)
#define OM_EMIT1(s, op, attr, ...) \
    om_emit((s), (op), OM_VALS(__VA_ARGS__), &(const struct om_attr)attr, 1)

#define OM_ATTR_I(n, v)                            \
    {                                              \
        .name = (n), .kind = OM_ATTR_INT, .i = (v) \
    }
#define OM_ATTR_F(n, v)                              \
    {                                                \
        .name = (n), .kind = OM_ATTR_FLOAT, .f = (v) \
    }
#define OM_ATTR_S(n, v)                                        \
    {                                                          \
        .name = (n), .kind = OM_ATTR_STRING, .s = om_sv_str(v) \
    }

#endif
