/* src/quant/scope.h: graphs rewritten node by node into operators on quantized values, in the form
 * and with the names of ONNX Runtime's quantization tool (QOperator).
 *
 * A scope knows which values of its graph have a quantized form; the float form of such a value is
 * made (DequantizeLinear) when a node that is not quantized asks. A method says which operators
 * become what, and how activations get their quantized form. */
#ifndef OM_QUANT_SCOPE_H
#define OM_QUANT_SCOPE_H

#include "quant/internal.h"

#define OM_SCOPE_MS "com.microsoft"

/* The quantized form of a value. */
struct om_form {
    om_sv value, q, scale, zero;
    bool weight;   /* an initializer */
    bool has_axis; /* several scales, along axis */
    int64_t axis;
    bool floats; /* the value itself is there as well */
    /* numbers, where they are known: of weights in affine */
    struct om_affine *affine;
    float step;
    int zero_point;
    bool own; /* they come from the range of this very value */
};

struct om_scope;

/* What becomes of an operator. Nodes that do not fit stay. */
struct om_scope_rule {
    const char *op, *domain;
    bool (*fits)(const struct om_scope *s, const struct om_doc_node *n);
    int (*quantize)(struct om_scope *s, const struct om_doc_node *n);
};

struct om_scope_method {
    const struct om_scope_rule *rules;
    size_t n_rules;
    /* Make the form of a value that the scope's own graph makes, and its node in the body. */
    int (*quantize_activation)(struct om_scope *s, om_sv value);
    void *user;
};

struct om_scope {
    struct om_quant_job *j;
    const struct om_scope_method *method;
    struct om_scope *parent;
    struct om_doc_graph *g;
    struct om_doc_nodes front, body; /* front: what initializers are made from again */
    struct om_form *forms;
    size_t n_forms, cap_forms;
    struct om_map by_name;         /* of forms */
    struct om_map tensors, values; /* initializers (by index); inputs and outputs of nodes */
};

/* Rewrite the graph and those below it. */
int om_scope_run(struct om_quant_job *j, const struct om_scope_method *m, struct om_scope *parent,
                 struct om_doc_graph *g);

/* ---- emitting; NULL: out of memory ---- */

struct om_doc_node *om_scope_add_node(struct om_scope *s, struct om_doc_nodes *list, const char *op,
                                      om_sv name, const om_sv *in, uint32_t n_in, const om_sv *out,
                                      uint32_t n_out);
int om_scope_emit(struct om_scope *s, const char *op, om_sv name, const om_sv *in, uint32_t n_in,
                  const om_sv *out, uint32_t n_out);
int om_scope_keep(struct om_scope *s, const struct om_doc_node *n);
/* The node as it is, on float values. */
int om_scope_pass(struct om_scope *s, const struct om_doc_node *n);
int om_scope_add_tensor(struct om_scope *s, om_sv name, int32_t type, uint32_t rank,
                        const int64_t *dims, uint64_t bytes, const void *data,
                        const struct om_doc_source *source);
/* base + ending, made unique among all values. */
int om_scope_name(struct om_scope *s, om_sv base, const char *ending, om_sv *out);
/* The same for a node: nodes without names stay without. */
om_sv om_scope_label(struct om_scope *s, om_sv base, const char *ending);

/* ---- forms ---- */

struct om_form *om_scope_form(const struct om_scope *s, om_sv value);    /* in this scope */
struct om_form *om_scope_look_up(const struct om_scope *s, om_sv value); /* seen from here */
int om_scope_put_form(struct om_scope *s, struct om_form f);
/* A node reads the float form of value: make it where only the quantized one is there. */
int om_scope_need_float(struct om_scope *s, om_sv value);

/* How an input of a node is wanted. */
struct om_want {
    int32_t type; /* of an initializer; activations have that of the configuration */
    bool reduce, per_channel;
    int64_t axis; /* of the channels; -1: columns, the last one */
};
struct om_want om_scope_activation(const struct om_scope *s);
struct om_want om_scope_weight(const struct om_scope *s, bool per_channel, int64_t axis);
/* The quantized form of an input, made in the graph that the value belongs to. */
int om_scope_quantize(struct om_scope *s, om_sv value, struct om_want w, struct om_form *out);
/* The initializers NAME_quantized, NAME_scale and NAME_zero_point of an affine weight, and its
 * form, which is found by key. */
int om_scope_add_weight(struct om_scope *s, const struct om_doc_tensor *old, struct om_affine *a,
                        om_sv key, bool per_channel, int64_t axis);

/* ---- what is there ---- */

bool om_scope_is_float(const struct om_scope *s, om_sv name);
const struct om_doc_tensor *om_scope_tensor(const struct om_scope *s, om_sv name);
bool om_scope_is_weight(const struct om_scope *s, om_sv name); /* a float32 initializer */
om_sv om_scope_input(const struct om_doc_node *n, uint32_t i); /* "": it has none */

/* ---- rules that methods share ---- */

/* The output has the quantized form that the input has: the node itself works on it. */
int om_scope_follow(struct om_scope *s, const struct om_doc_node *n, const struct om_form *in);
bool om_scope_fits_gather(const struct om_scope *s, const struct om_doc_node *n);
int om_scope_gather(struct om_scope *s, const struct om_doc_node *n);
/* What moves elements, where its input is quantized already. */
bool om_scope_fits_move(const struct om_scope *s, const struct om_doc_node *n);
int om_scope_move(struct om_scope *s, const struct om_doc_node *n);
bool om_scope_fits_embed(const struct om_scope *s, const struct om_doc_node *n);
int om_scope_embed(struct om_scope *s, const struct om_doc_node *n);

#endif
