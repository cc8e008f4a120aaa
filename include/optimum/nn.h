/* include/optimum/nn.h: the building blocks that architectures are written with, inside the library and in plugins.
 *
 * A scope is a position in the module tree: it says where weights are looked for (checkpoint names, "encoder.layer.0.")
 * and how nodes are called ("/encoder/layer.0/..."). Blocks take values and give values; they never mention opsets, files
 * or dtypes. Nothing needs an error check: after the first failure every block gives the invalid value {0}, and the
 * failure is reported once at the end with the scope where it happened.
 *
 * Shapes are written [batch, sequence, hidden]; B, S, T, H stand for batch, query length, key length, hidden size;
 * h, k, d for heads, key/value heads, head size. */
#ifndef OPTIMUM_NN_H
#define OPTIMUM_NN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <optimum/config.h>
#include <optimum/error.h>
#include <optimum/tensor.h>

#ifdef __cplusplus
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* some structs are called like the function that takes them */
#endif
extern "C" {
#endif

typedef struct {
    uint32_t id; /* index into the graph's values; 0 is the invalid value, also "input left out" */
} om_val;
typedef uint32_t om_dim; /* an extent that may be symbolic; 0 is none. Equal extents of one graph have equal handles */

struct om_builder;
struct om_source; /* the checkpoint that weights come from */

typedef struct {
    struct om_builder *b;
    struct om_source *source;
    const char *weights; /* "" or a prefix that ends with a dot; arena */
    const char *path;    /* "" or "bert/encoder/layer.0", the scope of nodes; arena */
} om_scope;

/* ---- scopes and weights (nn/scope.c) ---- */

/* A child. "attention.self" descends two modules; an index stays with its list ("layer.0"). */
OM_API om_scope om_sub(om_scope s, const char *fmt, ...) OM_PRINTF(2, 3);
/* A child for node names only; weights are looked for in s itself. */
OM_API om_scope om_named(om_scope s, const char *name);
/* The child when the checkpoint has tensors below it, else s: base-model prefixes, which a checkpoint saved from
 * the bare model lacks and one saved with a head has. */
OM_API om_scope om_sub_optional(om_scope s, const char *name);
OM_API bool om_has_weight(om_scope s, const char *name);
/* A tensor by its name below s, in the dtype of activations; the names gamma and beta of old checkpoints answer to weight
 * and bias. Missing: noted, invalid. */
OM_API om_val om_weight(om_scope s, const char *name);
OM_API om_val om_weight_optional(om_scope s, const char *name); /* {0} when absent */
/* The same as it is stored, for tables that are looked up first and converted afterwards. */
OM_API om_val om_weight_stored(om_scope s, const char *name);
OM_API bool om_valid(om_val v);

/* False after the first failure: the condition of loops whose length a configuration gives. */
OM_API bool om_ok(om_scope s);
/* Record a failure with the scope's path before the message; gives the invalid value. */
OM_API om_val om_scope_fail(om_scope s, int code, const char *fmt, ...) OM_PRINTF(3, 4);

/* Any operator by ONNX's name ("Relu", "Concat"), of those that the library knows; it is lowered to the opset that is asked for. */
enum om_param_kind { OM_PARAM_INT, OM_PARAM_FLOAT, OM_PARAM_INTS };
struct om_param {
    const char *name; /* of the attribute */
    enum om_param_kind kind;
    int64_t i;
    double f;
    const int64_t *ints; /* copied */
    size_t n;
};
OM_API om_val om_apply(om_scope s, const char *op, const om_val *in, size_t n_in, const struct om_param *params, size_t n_params);

/* ---- constants, inputs, outputs ---- */

OM_API om_val om_f32(om_scope s, double v);                 /* scalar of the compute dtype */
OM_API om_val om_like(om_scope s, om_val x, double v);      /* scalar of x's dtype */
OM_API om_val om_i64(om_scope s, int64_t v);                /* scalar */
OM_API om_val om_i64s(om_scope s, const int64_t *v, size_t n); /* 1-D */
OM_API om_val om_f32s(om_scope s, const float *v, size_t n);

OM_API bool om_has_input(om_scope s, const char *name);
OM_API om_val om_input(om_scope s, const char *name);       /* an error when the file has no such input */
OM_API void om_output(om_scope s, const char *name, om_val v); /* floats leave in the dtype of activations */

/* ---- shapes ---- */

OM_API om_dim om_axis(om_scope s, om_val v, int axis);      /* negative axes count from the end */
OM_API om_dim om_int(om_scope s, int64_t v);                /* a constant dim */
/* 1-D int64 tensor of dims: a constant, or the operator Dims. */
OM_API om_val om_dims_value(om_scope s, const om_dim *dims, size_t n);
OM_API om_val om_dim_scalar(om_scope s, om_dim d); /* int64 scalar */
OM_API om_val om_reshape(om_scope s, om_val x, const om_dim *dims, size_t n);
OM_API om_val om_expand(om_scope s, om_val x, const om_dim *dims, size_t n);
OM_API om_val om_transpose(om_scope s, om_val x, const int64_t *perm, size_t n);
OM_API om_val om_unsqueeze(om_scope s, om_val x, int64_t axis);
OM_API om_val om_squeeze(om_scope s, om_val x, int64_t axis);
OM_API om_val om_concat(om_scope s, om_val a, om_val b, int64_t axis);
OM_API om_val om_slice(om_scope s, om_val x, int64_t axis, int64_t begin, int64_t end); /* end INT64_MAX: to the end */
OM_API om_val om_select(om_scope s, om_val x, int64_t axis, int64_t index);             /* the axis disappears */
OM_API om_val om_gather(om_scope s, om_val x, om_val indices, int64_t axis);
/* Parts of the given sizes along an axis; out receives n handles. */
OM_API void om_split(om_scope s, om_val x, int64_t axis, const int64_t *sizes, size_t n, om_val *out);
OM_API om_val om_arange(om_scope s, om_dim begin, om_dim end);  /* int64 [end - begin] */

/* ---- elementwise ---- */

OM_API om_val om_add(om_scope s, om_val a, om_val b);
OM_API om_val om_sub_(om_scope s, om_val a, om_val b);
OM_API om_val om_mul(om_scope s, om_val a, om_val b);
OM_API om_val om_div(om_scope s, om_val a, om_val b);
OM_API om_val om_scale(om_scope s, om_val x, double factor);   /* x itself when factor is 1 */
OM_API om_val om_where(om_scope s, om_val cond, om_val a, om_val b);
OM_API om_val om_cast(om_scope s, om_val x, enum om_dtype dtype); /* x itself when it has the dtype */
OM_API om_val om_cast_like(om_scope s, om_val x, om_val like);
OM_API om_val om_to_compute(om_scope s, om_val x);                /* cast to the dtype of activations */
/* Where activations of 16 bits would overflow or lose what counts (sums over a text, residuals that grow from layer to
 * layer, scores of attention): x as float32, x itself when activations are as long. om_to_compute() leads back. */
OM_API om_val om_widen(om_scope s, om_val x);
/* Infinities that a narrow dtype brought about become its largest number; x itself where range is no concern. */
OM_API om_val om_saturate(om_scope s, om_val x);
OM_API om_val om_activate(om_scope s, enum om_act act, om_val x); /* s: of the activation, some have weights */

/* ---- layers ---- */

/* torch.nn.Linear: weight [out, in] and bias, both required. */
OM_API om_val om_linear(om_scope s, om_val x);
OM_API om_val om_linear_nobias(om_scope s, om_val x);           /* a bias in the checkpoint is not looked at */
OM_API om_val om_linear_wide(om_scope s, om_val x);             /* no bias; product and result in om_widen()'s dtype */
/* weight [in, out], bias: GPT-2's Conv1D. */
OM_API om_val om_conv1d(om_scope s, om_val x);
/* A linear layer whose weight [out, in] is a given value, in any float dtype (tied embeddings); bias may be {0}. */
OM_API om_val om_linear_with(om_scope s, om_val x, om_val weight, om_val bias);
/* Rows of "weight"; when ids are an input of the file, the table's size becomes the limit of its values. */
OM_API om_val om_embed(om_scope s, om_val ids);
OM_API om_val om_embed_from(om_scope s, om_val ids, int64_t first); /* the same, id 0 has row first */
OM_API om_val om_embed_with(om_scope s, om_val table, om_val ids); /* table as om_weight_stored() gives it */
OM_API om_val om_layer_norm(om_scope s, om_val x, double eps);  /* last axis; "weight", "bias" */
OM_API om_val om_layer_norm_nobias(om_scope s, om_val x, double eps); /* a bias in the checkpoint is not looked at */
OM_API om_val om_layer_norm_plain(om_scope s, om_val x, double eps);  /* no weights at all */
OM_API om_val om_layer_norm_1p(om_scope s, om_val x, double eps);     /* "weight" holds the difference from 1; "bias" */
OM_API om_val om_rms_norm(om_scope s, om_val x, double eps);    /* last axis; "weight"; x may be wide, the result is not */
OM_API om_val om_rms_norm_1p(om_scope s, om_val x, double eps); /* "weight" holds the difference from 1 */
OM_API om_val om_softcap(om_scope s, om_val x, double cap);     /* cap * tanh(x / cap); x itself when cap is 0 */
OM_API om_val om_softmax(om_scope s, om_val x, int64_t axis);
OM_API om_val om_mean(om_scope s, om_val x, int64_t axis, bool keepdims);

/* ---- attention ---- */

OM_API om_val om_split_heads(om_scope s, om_val x, int64_t heads, int64_t head_dim); /* [B,S,h*d] -> [B,h,S,d] */
OM_API om_val om_merge_heads(om_scope s, om_val x);                                  /* [B,h,S,d] -> [B,S,h*d] */

struct om_attend {
    om_val q, k, v;   /* [B,h,S,d] [B,k,T,d] [B,k,T,dv], h a multiple of k */
    om_val mask;      /* {0}, or added to the scores (wide) or selecting them (bool), broadcastable to [B,h,S,T] */
    double scale;     /* 0: 1/sqrt(d) */
    double softcap;   /* 0: none */
};
OM_API om_val om_attend(om_scope s, const struct om_attend *a); /* -> [B,h,S,dv] */

/* Queries, keys and values that one linear layer gave, [B,S,(h + 2 k) d]: groups of heads one after another, in each of
 * them its queries, then its keys, then its values. One group: all queries first (GPT-2). As many as heads: q, k and v of
 * the first head, of the second ... (Megatron). */
struct om_fused {
    int64_t groups, heads, kv_heads, head_dim; /* heads, kv_heads: of all groups, multiples of groups */
    bool value_first;                          /* values stand before keys */
};
OM_API void om_split_fused(om_scope s, const struct om_fused *f, om_val x, struct om_attend *at); /* sets q, k, v */

/* Masks (nn/mask.c, nn/causal.c). attention_mask: int64 [B,T], 1 keeps, 0 hides. As PyTorch's models do, encoders add a
 * mask to the scores, where a query that sees no key weighs all of them equally; decoders select with a bool mask, where
 * such a query (padding on the left) gets zeros. */
OM_API om_val om_mask_padding(om_scope s, om_val attention_mask);          /* additive [B,1,1,T] */
OM_API om_val om_mask_additive(om_scope s, om_val seen);                   /* bool, true keeps, as a mask to add */
OM_API om_val om_mask_bias(om_scope s, om_val bias, om_val mask);          /* what else is added to the scores, and a mask to add */
struct om_causal {
    om_val attention_mask; /* {0}: no padding */
    om_dim query, key;     /* lengths S and T; the last query sees the last key */
    int64_t window;        /* 0, or how many keys a query sees (itself included) */
    bool both_ways;        /* later keys are seen as well, as far away as earlier ones */
};
OM_API om_val om_mask_causal(om_scope s, const struct om_causal *c);       /* bool [B or 1,1,S,T] */

/* Attention with linear biases (nn/alibi.c; Press et al., 2022): of each head a slope times the key's position. */
struct om_alibi {
    int64_t heads;
    double most;   /* slopes are 2^-(most i/n), i = 1 .. n, n the power of two from heads up; 8 in the paper */
    bool bfloat16; /* slopes, positions and products are rounded to it */
};
OM_API om_val om_alibi(om_scope s, const struct om_alibi *a, om_val positions); /* int64 [B,T] -> wide [B,h,1,T] */
OM_API void om_alibi_slopes(const struct om_alibi *a, float *out);               /* of every head */
/* How many tokens a text has up to each one, itself included: int64 [B,T]. */
OM_API om_val om_count_tokens(om_scope s, om_val attention_mask);

/* The cache (nn/cache.c): with past inputs, prepend layer i's past to *k and *v (axis 2); record present outputs where
 * the file has them. Does nothing in a file without a cache. */
OM_API void om_cache_extend(om_scope s, int64_t layer, om_val *k, om_val *v);
/* The same for a layer that sees window tokens (0: all): in a file without past inputs its present outputs are the last window - 1
 * of them, what the next token may still see. */
OM_API void om_cache_extend_window(om_scope s, int64_t layer, int64_t window, om_val *k, om_val *v);
OM_API bool om_cache_past(om_scope s);                       /* past key/values are inputs */
OM_API om_dim om_cache_past_length(om_scope s);              /* 0 without past */
/* Cross-attention of an encoder-decoder: with past inputs gives the cached pair and true; else false, and the
 * caller computes the pair from the encoder's states and hands it to om_cache_cross_set(), which prepends what is cached
 * where one file serves all steps. */
OM_API bool om_cache_cross_get(om_scope s, int64_t layer, om_val *k, om_val *v);
OM_API void om_cache_cross_set(om_scope s, int64_t layer, om_val *k, om_val *v);

/* Positions 0..: the input position_ids where the file has it, else past .. past + S as [1, S]. */
OM_API om_val om_positions(om_scope s, om_val ids);

/* A learned bias per bucket of distances (nn/relative.c): [1, h, S, T], for om_mask_bias(). s has
 * "weight" [buckets, h]; queries are the last of the keys' positions. */
struct om_relative {
    int64_t buckets, max_distance; /* max_distance above buckets / 2 */
    om_dim query, key;             /* lengths S and T */
    bool both_ways;                /* buckets for keys after the query as well */
};
OM_API om_val om_relative_bias(om_scope s, const struct om_relative *r);

/* Rotary embeddings (nn/rope.c), every rope_scaling type of Transformers 4.57 (modeling_rope_utils.py). */
struct om_rope_config {
    const char *type;              /* "default", "linear", "dynamic", "yarn", "longrope", "llama3" */
    double theta;
    double partial;                /* partial_rotary_factor */
    int64_t dim;                   /* rotary dims of a head; of an odd number one more is rotated */
    int64_t max_position;
    double factor;
    /* type-specific; see rope.c */
    double attention_factor, beta_fast, beta_slow, low_freq_factor, high_freq_factor, mscale, mscale_all_dim;
    bool has_attention_factor, truncate;
    int64_t original_max_position;
    const double *short_factor, *long_factor;
    size_t n_factors;
};
struct om_rope_alias {
    const char *name, *type;       /* NULL, NULL ends a list */
};
struct om_rope_defaults {
    double theta, partial;
    int64_t head_dim, max_position;
    const char *theta_key, *partial_key; /* NULL: "rope_theta", "partial_rotary_factor" */
    int64_t original_max_position; /* 0: none */
    const struct om_rope_alias *aliases; /* rope types that mean another one here, or NULL */
    bool no_scaling;               /* the model does not look at rope_scaling */
    bool odd_dims;                 /* the model rotates as many dims as cos and sin have, dim + 1 where dim is odd */
};
/* Read rope_theta, rope_scaling, partial_rotary_factor ... of config.json. An unknown type or a bad parameter is an error
 * that names the key. */
OM_API int om_rope_read(struct om_arena *a, const struct om_json *doc, const struct om_rope_defaults *defaults,
                 struct om_rope_config *out, struct om_error *err);
struct om_rope {
    om_val cos, sin; /* [B,S,dim/2], attention factor applied */
    int64_t dim;
    bool interleaved;
};
OM_API struct om_rope om_rope_tables(om_scope s, const struct om_rope_config *c, om_val position_ids);
OM_API om_val om_rope_apply(om_scope s, const struct om_rope *r, om_val x); /* x [B,h,S,d] */

#ifdef __cplusplus
}
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#endif

#endif
