/* src/onnx/doc.h: an .onnx file as an editable document: any operators, any domains, subgraphs.
 *
 * Where om_onnx_open() understands a graph, a document keeps it: names, attributes and whatever the
 * format may get later are carried as they are, so that a tool can change some nodes of a file that
 * somebody else made. Tensors are views of the file (and of its external data files); what is
 * written is streamed, so memory does not grow with the weights.
 *
 * Everything hangs in one arena and lives until om_doc_close(). Strings that are handed over live
 * there or longer. */
#ifndef OM_ONNX_DOC_H
#define OM_ONNX_DOC_H

#include "base/file.h"
#include "ir/graph.h"

/* Numbers of TensorProto.DataType beyond those of enum om_dtype. */
enum om_doc_type {
    OM_DOC_UNKNOWN = 0,
    OM_DOC_STRING = 8,
    OM_DOC_FLOAT8E4M3FN = 17,
    OM_DOC_FLOAT8E4M3FNUZ = 18,
    OM_DOC_FLOAT8E5M2 = 19,
    OM_DOC_FLOAT8E5M2FNUZ = 20,
    OM_DOC_UINT4 = 21,
    OM_DOC_INT4 = 22,
    OM_DOC_FLOAT4E2M1 = 23,
    OM_DOC_FLOAT8E8M0 = 24,
    OM_DOC_UINT2 = 25,
    OM_DOC_INT2 = 26
};

/* Bytes that are made while they are written. make() writes all of them to out, in order; more than
 * once where somebody reads the tensor before. */
struct om_doc_source {
    int (*make)(const struct om_doc_source *s, struct om_out *out, struct om_error *err);
};

struct om_doc_tensor {
    om_sv name;
    int32_t type; /* TensorProto.DataType */
    uint32_t rank;
    const int64_t *dims;
    uint64_t bytes; /* of the elements */
    /* One of: as the file has it (message, a whole TensorProto), inline bytes, a weight of a graph,
     * a source. */
    om_sv message;
    const void *data;
    const struct om_weight *weight;
    const struct om_doc_source *source;
};

struct om_doc_graph;

struct om_doc_attr {
    om_sv name;
    int64_t type;  /* AttributeProto.AttributeType */
    om_sv message; /* a whole AttributeProto; of attributes with graphs only what is beside them */
    struct om_doc_graph **graphs;
    uint32_t n_graphs;
};

struct om_doc_node {
    om_sv name, op, domain;
    om_sv *in, *out; /* "" is an input or output left out */
    uint32_t n_in, n_out;
    struct om_doc_attr *attrs;
    uint32_t n_attrs;
    om_sv
        rest; /* fields that are carried along (doc_string, overload, metadata), with their tags */
    int64_t
        opset; /* of its domain, of a node that came from a function; 0: what the file imports */
};

/* An input, an output or a value_info. */
struct om_doc_port {
    om_sv name;
    int32_t type;  /* of the elements; OM_DOC_UNKNOWN: not a tensor, or not said */
    om_sv message; /* the ValueInfoProto */
};

struct om_doc_nodes {
    struct om_doc_node *items;
    size_t len, cap;
};
struct om_doc_tensors {
    struct om_doc_tensor *items;
    size_t len, cap;
};
struct om_doc_ports {
    struct om_doc_port *items;
    size_t len, cap;
};

struct om_doc_graph {
    struct om_doc_graph *parent;
    om_sv name;
    struct om_doc_nodes nodes;
    struct om_doc_tensors tensors; /* initializers */
    struct om_doc_ports inputs, outputs, values;
    om_sv rest;
};

struct om_doc_opset {
    om_sv domain;
    int64_t version;
};

struct om_doc {
    struct om_arena *arena;
    int64_t ir_version;
    om_sv producer_name, producer_version;
    struct om_doc_opset *opsets;
    size_t n_opsets;
    struct om_doc_graph *graph;
    size_t n_functions; /* model-local functions, in rest */
    om_sv rest;
    struct om_onnx_file *file;
    struct om_doc_made *made; /* tensors of sources that were read */
};

/* Subgraphs within subgraphs. */
#define OM_DOC_DEPTH_MAX 20

int om_doc_open(struct om_arena *a, const char *path, struct om_doc **out, struct om_error *err);
/* Parse bytes, which must outlive the document; external data is looked for in dir, NULL refuses
 * it. */
int om_doc_parse(struct om_arena *a, const struct om_file *model, const char *dir,
                 struct om_doc **out, struct om_error *err);
/* A graph on its way into a file: what om_onnx_write_shell() made of g, which must outlive the
 * document as well. */
int om_doc_parse_shell(struct om_arena *a, const struct om_file *shell, const struct om_graph *g,
                       struct om_doc **out, struct om_error *err);
void om_doc_close(struct om_doc *d); /* accepts NULL; the arena keeps the document's memory */

/* The version that the file imports of a domain; 0: it does not. "ai.onnx" is "". */
int64_t om_doc_opset(const struct om_doc *d, const char *domain);
int om_doc_set_opset(struct om_doc *d, const char *domain, int64_t version, struct om_error *err);

/* ---- model-local functions ---- */

struct om_doc_function {
    om_sv domain, name, overload;
    struct om_doc_graph *body; /* inputs and outputs are ports of no type */
    struct om_doc_attr *defaults;
    size_t n_defaults;
    struct om_doc_opset *opsets;
    size_t n_opsets;
};

/* The functions of the file. */
int om_doc_functions(struct om_doc *d, struct om_doc_function **out, size_t *n,
                     struct om_error *err);
/* A copy of the file's graph with the nodes of the functions in place of their calls; nodes carry
 * the operator set that their function imports. Recursion is refused. d stays as it is, but for the
 * copy's memory. */
int om_doc_inlined(struct om_doc *d, struct om_doc_graph **out, struct om_error *err);
/* Make that copy the document's graph and drop the functions; without functions nothing happens.
 * done false: it cannot be, since a function imports another version of an operator set than the
 * file does, or calls do not fit; the document stays as it was. */
int om_doc_inline(struct om_doc *d, bool *done, struct om_error *err);

/* ---- editing; NULL and false: out of memory ---- */

struct om_doc_node *om_doc_add_node(struct om_doc *d, struct om_doc_graph *g);
struct om_doc_tensor *om_doc_add_tensor(struct om_doc *d, struct om_doc_graph *g);
/* A tensor of inline bytes, which are copied; dims too. */
bool om_doc_add_const(struct om_doc *d, struct om_doc_graph *g, om_sv name, int32_t type,
                      const int64_t *dims, uint32_t rank, const void *data);
struct om_doc_tensor *om_doc_find_tensor(const struct om_doc_graph *g, om_sv name);

const struct om_doc_attr *om_doc_attr(const struct om_doc_node *n, const char *name);
/* The value of an attribute, or the default where there is none. */
int om_doc_attr_int(const struct om_doc_node *n, const char *name, int64_t *value,
                    struct om_error *err);
int om_doc_attr_float(const struct om_doc_node *n, const char *name, float *value,
                      struct om_error *err);
/* A list of integers: its length, at most cap of them in values. Without the attribute: 0. */
int om_doc_attr_ints(const struct om_doc_node *n, const char *name, int64_t *values, size_t cap,
                     size_t *len, struct om_error *err);
bool om_doc_attr_is(const struct om_doc_attr *a, const char *text); /* a string attribute */
/* An attribute as the IR holds it, in arena a. One that holds graphs, or lists that the IR has none
 * of, is refused. */
int om_doc_attr_read(struct om_doc *d, struct om_arena *a, const struct om_doc_attr *attr,
                     struct om_attr *out, struct om_error *err);
/* Set an attribute. */
bool om_doc_put_float(struct om_doc *d, struct om_doc_node *n, const char *name, float value);
bool om_doc_put_int(struct om_doc *d, struct om_doc_node *n, const char *name, int64_t value);
bool om_doc_put_ints(struct om_doc *d, struct om_doc_node *n, const char *name,
                     const int64_t *values, size_t len);
bool om_doc_drop_attr(struct om_doc_node *n, const char *name);

/* What an input is declared as, as a value of g (which is not added to it): names of axes are
 * symbols or expressions of them. A port without type or shape is refused. */
int om_doc_port_read(const struct om_doc_port *p, struct om_graph *g, struct om_value *out,
                     struct om_error *err);
/* Another element type of a port that has one. */
bool om_doc_port_retype(struct om_doc *d, struct om_doc_port *p, int32_t type);

/* "fmt" as a string of the document; an empty view when memory is short. */
om_sv om_doc_text(struct om_doc *d, const char *fmt, ...) OM_PRINTF(2, 3);

/* Call fn for g and every graph below it, outer ones first. Stops at a negative result. */
typedef int om_doc_graph_fn(void *user, struct om_doc_graph *g, struct om_error *err);
int om_doc_walk(struct om_doc_graph *g, om_doc_graph_fn *fn, void *user, struct om_error *err);

/* Remove initializers (and inputs of the same name) that no node of the graph or of one below it
 * reads, and no output gives. */
int om_doc_clean(struct om_doc *d, struct om_error *err);

/* ---- tensors ---- */

/* The elements as a weight view; typed fields are decoded into the arena, and what a source makes is
 * made into a temporary file. Element types without an enum om_dtype are refused. */
int om_doc_weight(struct om_doc *d, const struct om_doc_tensor *t, struct om_weight *out,
                  struct om_error *err);

/* The bytes of a tensor of the file whose elements have eight bits or fewer and no enum om_dtype,
 * as a weight of uint8; the low bits of a byte come first. */
int om_doc_packed(struct om_doc *d, const struct om_doc_tensor *t, struct om_weight *out,
                  struct om_error *err);
/* The tensor that attribute a holds (its field t). */
int om_doc_attr_tensor(struct om_doc *d, const struct om_doc_attr *a, struct om_doc_tensor *out,
                       struct om_error *err);

/* ---- element types ---- */

/* The element type of every value, as far as the operators say: types[...] by om_doc_types_find().
 */
struct om_doc_types;
int om_doc_types_new(struct om_doc *d, struct om_doc_types **out, struct om_error *err);
/* As seen from g; OM_DOC_UNKNOWN where it is not known. */
int32_t om_doc_types_find(const struct om_doc_types *t, const struct om_doc_graph *g, om_sv name);
bool om_doc_types_put(struct om_doc_types *t, const struct om_doc_graph *g, om_sv name,
                      int32_t type);
void om_doc_types_free(struct om_doc_types *t); /* accepts NULL */

/* ---- writing ---- */

struct om_doc_write_opts {
    struct om_out
        *data; /* receives tensors of at least external_min bytes; NULL: all in the file */
    const char *location; /* the name that the model refers to it by */
    uint64_t external_min;
    /* With next: another file where a tensor would make this one larger than data_max. */
    uint64_t data_max;
    int (*next)(void *user, struct om_out **data, const char **location, struct om_error *err);
    void *user;
};

/* Size of the file with all tensors in it. UINT64_MAX when memory is short. */
uint64_t om_doc_size(struct om_doc *d);
int om_doc_write(struct om_doc *d, const struct om_doc_write_opts *opts, struct om_out *out,
                 struct om_error *err);

#endif
