/* src/ir/graph.h: the graph that everything between a checkpoint and a file works on.
 *
 * A graph holds values, nodes and weights in arrays and refers to them by 32-bit handles. Nodes belong to a block:
 * block 0 is the graph's own, others are branches of an If and may use every value of their parents. The same
 * structure holds what an architecture builds (high-level operators), what lowering makes of it (operators of one
 * opset) and what the reader finds in a file.
 *
 * Building is sticky: the first failure is kept in g->err with its scope, later calls return the invalid value
 * {0}, and om_graph_check() reports once. Invalid values flow: a node one of whose required inputs is {0} is not made and
 * gives {0}, so that whoever noted why (a missing weight) can go on; om_graph_finish() refuses an output without a value.
 * Strings, attributes and dims that are handed over live in the graph's arena or longer, unless said otherwise. A graph belongs to one thread until it is finished, then it may be shared. */
#ifndef OM_GRAPH_H
#define OM_GRAPH_H

#include <optimum/nn.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/view.h"
#include "ir/dim.h"

enum om_op {
    OM_OP_NONE,
#define OM_OP(name, min_in, max_in, outputs) OM_OP_##name,
#include "ir/ops.def"
#undef OM_OP
    OM_OP_COUNT
};

const char *om_op_name(enum om_op op);
const char *om_op_domain(enum om_op op); /* of a file; "": ONNX's own */
const char *om_op_type(enum om_op op);   /* how a file calls it */
/* OM_OP_NONE when unknown. */
enum om_op om_op_parse(om_sv name);
enum om_op om_op_find(om_sv domain, om_sv type);

#define OM_RANK_MAX 8

/* A piece of a weight's source. */
struct om_weight_part {
    const struct om_file *file; /* NULL: data is inline */
    uint64_t offset;
    const void *data;
    uint64_t bytes;
};

/* Parts that a weight may have: a query's, a key's and a value's. */
#define OM_WEIGHT_PARTS_MAX 3

/* An initializer: a view of bytes that exist already (a checkpoint's file), or a few bytes that were computed. */
struct om_weight {
    om_sv name;
    enum om_dtype dtype;
    uint32_t rank;
    const int64_t *dims;        /* as the graph sees it, after the transform */
    /* where the bytes are */
    const struct om_file *file; /* NULL: data is inline */
    uint64_t offset;            /* of the first element, in file */
    const void *data;           /* the first element, in the mapping or inline (arena); unaligned in the mapping */
    uint64_t bytes;             /* of all elements of the view, in src_dtype: not the extent that it is spread over */
    /* the streaming transform that is applied while writing */
    enum om_dtype src_dtype;    /* differs from dtype: cast */
    const int64_t *strides;     /* of dims in the source, in elements (base/view.h); NULL: contiguous. A transpose is
                                   dims and strides swapped */
    /* Above 0: the source is these pieces, one after another, each whole lines of the view; file, offset and data are those
     * of the first. Its view is contiguous, or a transposed matrix. */
    uint32_t n_parts;
    const struct om_weight_part *parts;
};

/* Bytes after the transform. */
uint64_t om_weight_bytes(const struct om_weight *w);
/* Does dims x src_dtype give bytes, and do all elements of the view lie in the file? Messages are without the name. */
int om_weight_check(const struct om_weight *w, struct om_error *err);

struct om_value {
    enum om_dtype dtype;
    uint32_t rank;
    const om_dim *dims;
    uint32_t node;   /* producer, index into nodes; OM_NO_NODE for inputs and weights */
    uint32_t weight; /* index into weights; OM_NO_WEIGHT otherwise */
    /* What is known of the elements of a small integer tensor (rank 0 or 1): its contents as dims, so that shapes
     * computed by nodes stay symbolic. NULL when unknown. */
    const om_dim *content;
    uint32_t n_content;
    om_sv name;      /* unique after om_graph_finish(): a port's or weight's, else NODE_output_I; until then empty unless set */
};
#define OM_NO_NODE UINT32_MAX
#define OM_NO_WEIGHT UINT32_MAX

enum om_attr_kind { OM_ATTR_INT, OM_ATTR_FLOAT, OM_ATTR_STRING, OM_ATTR_INTS, OM_ATTR_DIMS, OM_ATTR_TENSOR, OM_ATTR_BLOCK };

struct om_attr {
    const char *name;
    enum om_attr_kind kind;
    int64_t i;              /* INT, and the index into blocks of BLOCK */
    double f;               /* FLOAT; written as float32 */
    om_sv s;                /* STRING */
    const int64_t *ints;    /* INTS */
    const om_dim *dims;     /* DIMS (operator Dims only) */
    uint32_t n;             /* entries of ints or dims */
    const struct om_weight *tensor; /* TENSOR (ConstantOfShape's value, inline) */
};

struct om_node {
    enum om_op op;
    om_sv scope;  /* module path: "bert/encoder/layer.0/attention" */
    om_sv name;   /* "/bert/encoder/layer.0/attention/MatMul", unique after om_graph_finish(); empty before, unless a reader set it */
    om_val *in;
    om_val *out;
    uint32_t n_in, n_out;
    const struct om_attr *attrs;
    uint32_t n_attrs;
    uint32_t block;
};

struct om_port {
    om_sv name;
    om_val val;
    const om_dim *dims;   /* of outputs: the axes to declare, NULL: the inferred ones */
    const char *const *axes; /* of outputs: names that replace single axes in the file, entries may be NULL; or NULL */
    int64_t limit;        /* of integer inputs: values lie in [0, limit); 0: nothing is known */
};

struct om_block {
    om_sv name;
    uint32_t parent;           /* index into blocks */
    uint32_t *nodes;           /* in execution order */
    size_t n_nodes, cap_nodes;
    struct om_port *outputs;
    size_t n_outputs, cap_outputs;
};

struct om_graph {
    struct om_arena *arena;
    struct om_dims *dims;
    struct om_error err;       /* the first failure */
    int rc;
    om_sv name;
    struct om_value *values;   /* values[0] is unused */
    size_t n_values, cap_values;
    struct om_node *nodes;
    size_t n_nodes, cap_nodes;
    struct om_weight *weights;
    size_t n_weights, cap_weights;
    struct om_block *blocks;   /* blocks[0]: the graph's own; its outputs are the graph's outputs */
    size_t n_blocks, cap_blocks;
    struct om_port *inputs;
    size_t n_inputs, cap_inputs;
    uint32_t block;            /* where emit puts nodes */
    struct om_map weight_by_name, const_by_key, port_by_name; /* to values, values and nothing */
    bool own_dims;
};

/* A graph in the arena; dims may be shared with another graph of the same arena, or NULL for its own. */
int om_graph_new(struct om_arena *a, struct om_dims *dims, om_sv name, struct om_graph **out, struct om_error *err);
void om_graph_free(struct om_graph *g); /* what the arena does not own; accepts NULL */

/* Record a failure (only the first is kept); gives the invalid value. */
om_val om_graph_fail(struct om_graph *g, int code, const char *fmt, ...) OM_PRINTF(3, 4);
/* 0, or the recorded failure copied to err. */
int om_graph_check(const struct om_graph *g, struct om_error *err);

om_val om_graph_input(struct om_graph *g, om_sv name, enum om_dtype dtype, const om_dim *dims, uint32_t rank);
/* One value per name: asking again gives the same value, unless source or transform differ, which is an error. The
 * struct, name, dims, strides and parts are copied. src_dtype OM_DTYPE_NONE stands for dtype; strides that are row-major
 * become NULL. */
om_val om_graph_weight(struct om_graph *g, const struct om_weight *w);
/* A computed constant: a weight without a name until finish; the bytes are copied. Equal constants share one value. */
om_val om_graph_const(struct om_graph *g, enum om_dtype dtype, const int64_t *dims, uint32_t rank, const void *data);
/* An output of the current block. The invalid value is kept (and refused by om_graph_finish()). Of a branch, names are
 * for people: after finish such a port has the name of its value. */
void om_graph_output(struct om_graph *g, om_sv name, om_val v, const om_dim *dims);

/* Emit a node into the current block and infer its outputs' types and shapes. scope is the module path with slashes and
 * without one in front ("encoder/layer.0/attention"). Inputs that are left out at the end are dropped. Attributes are
 * copied shallowly (their arrays must live in the arena or be static). Attributes have ONNX's names, kinds and
 * defaults: Cast's "to" is a TensorProto.DataType (om_dtype_onnx()). One output, also of operators with several. */
om_val om_graph_emit(struct om_graph *g, enum om_op op, om_sv scope, const om_val *in, uint32_t n_in,
                     const struct om_attr *attrs, uint32_t n_attrs);
/* The same for several outputs: out receives n_out handles. */
void om_graph_emit_n(struct om_graph *g, enum om_op op, om_sv scope, const om_val *in, uint32_t n_in,
                     const struct om_attr *attrs, uint32_t n_attrs, om_val *out, uint32_t n_out);

/* Open a branch: following nodes go there until om_graph_block_end(). Returns its index into blocks. */
uint32_t om_graph_block_begin(struct om_graph *g, om_sv name);
void om_graph_block_end(struct om_graph *g);

const struct om_value *om_graph_value(const struct om_graph *g, om_val v);
const struct om_attr *om_node_attr(const struct om_node *n, const char *name); /* NULL when absent */
int64_t om_node_int(const struct om_node *n, const char *name, int64_t def);
double om_node_float(const struct om_node *n, const char *name, double def);

/* Drop nodes that no output needs, order the rest by a walk from the outputs, and give every node and value its
 * name; thereby the result does not depend on the order of emission. Weights that are not used go too. An output
 * that is an input, a weight, an outer value (of a branch) or another output as well gets an Identity. Values, nodes,
 * weights and blocks are renumbered: handles from before are not valid afterwards. Names that are set already stay
 * where they can, so finishing twice changes nothing. On failure the graph can only be freed. */
int om_graph_finish(struct om_graph *g, struct om_error *err);

/* Internal consistency of a finished graph: handles in range, inputs defined before use and visible from the block, arity, dtypes and
 * shapes as inference gives them, names unique. For tests and debug builds. */
int om_graph_verify(const struct om_graph *g, struct om_error *err);

/* A text for people and for golden tests (--dump-ir). */
void om_graph_dump(const struct om_graph *g, struct om_buf *out);

/* Shape and type inference of one node (ir/infer.c): fills dtype, rank, dims and content of the outputs. Messages are
 * about operands only; who calls puts scope and operator before them. */
int om_infer(struct om_graph *g, const struct om_node *n, struct om_error *err);

#endif
