/* src/quant/marks.h: which values of a graph take part in static quantization in the QDQ format. */
#ifndef OM_QUANT_MARKS_H
#define OM_QUANT_MARKS_H

#include "quant/ranges.h"

enum om_mark_kind { OM_MARK_ACTIVATION, OM_MARK_WEIGHT, OM_MARK_SHARED };

struct om_qdq_mark {
    om_sv name;
    enum om_mark_kind kind;
    int axis;       /* of weights with a scale per channel; -1: one scale */
    om_sv from;     /* SHARED: the value whose parameters it has */
    bool tensor;    /* an initializer */
    bool table;     /* and rows of it are looked up: it has one scale */
    bool made;      /* a quantized node makes it and wants it quantized */
    bool gone;      /* a later step took it out */
    size_t readers; /* nodes that were marked and read it */
    /* once they are known; of initializers in the marks of the graph that has them */
    float scale;
    int zero;
    om_sv scale_name, zero_name, q_name;
    struct om_affine *affine;
    /* in the new graph */
    om_sv out;     /* what consumers read */
    bool placed;   /* its nodes are in the graph */
    size_t served; /* readers that have a pair of their own */
};

struct om_qdq_bias {
    om_sv name, input, weight;
    float beta;
    om_sv out;
    bool placed;
};

/* Of one graph. */
struct om_marks {
    struct om_quant_job *j;
    struct om_doc_graph *g;
    struct om_ranges *ranges;
    struct om_marks *parent; /* of the graph around it */
    size_t number;           /* 0: the main graph */
    struct om_map tensors;   /* initializers to indices */
    struct om_qdq_mark *items;
    size_t n, cap;
    struct om_map by_name;
    struct om_qdq_bias *biases;
    size_t n_biases, cap_biases;
    struct om_map bias_by_name;
    struct om_map makers;        /* values to the indices of nodes */
    struct om_map float_outputs; /* operators whose outputs stay float */
    bool *removed;               /* by node: a Relu or Clip that ranges stand for */
};

/* m has j, g, ranges, parent and number. */
int om_marks_init(struct om_marks *m);
void om_marks_release(struct om_marks *m);
/* What the nodes of the graph want quantized. */
int om_marks_nodes(struct om_marks *m);

/* Does the configuration want the node? */
bool om_marks_want(const struct om_marks *m, const struct om_doc_node *n);
struct om_qdq_mark *om_marks_find(const struct om_marks *m, om_sv name);
/* An initializer of this graph or one around it, and the marks of that graph; owner may be NULL. */
const struct om_doc_tensor *om_marks_tensor(struct om_marks *m, om_sv name,
                                            struct om_marks **owner);
bool om_marks_output(const struct om_marks *m, om_sv name); /* does the graph give it? */

#endif
