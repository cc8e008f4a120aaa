/* src/quant/ranges.h: which values a static quantization asks the calibration for, and what it
 * found. */
#ifndef OM_QUANT_RANGES_H
#define OM_QUANT_RANGES_H

#include "quant/calibrate.h"

/* Names of one graph: branches may use a name for different values. */
struct om_ranges_names {
    struct om_doc_graph *g;
    struct om_map index;   /* to items */
    struct om_map defined; /* to whether it is an initializer */
    struct om_map readers; /* to how many nodes read it */
};

struct om_ranges {
    struct om_quant_job *j;
    struct om_range *items;
    size_t n, cap;
    struct om_ranges_names *graphs;
    size_t n_graphs, cap_graphs;
};

int om_ranges_init(struct om_ranges *r, struct om_quant_job *j);
/* The graph, g or one around it, that has the value, which is no initializer; else NULL. */
struct om_doc_graph *om_ranges_owner(const struct om_ranges *r, struct om_doc_graph *g, om_sv name);
/* Ask for a value as g sees it. Initializers, and what is no float32, are left out. */
int om_ranges_want(struct om_ranges *r, struct om_doc_graph *g, om_sv name);
/* Run the calibration. Inputs of Relu and Clip that nothing else reads get the ranges of their
 * outputs, Softmax gives 0 to 1. */
int om_ranges_measure(struct om_ranges *r);
/* NULL: it was not asked for, or nothing was seen. */
const struct om_range *om_ranges_find(const struct om_ranges *r, struct om_doc_graph *g,
                                      om_sv name);
/* How often nodes of g read a value of it; one that is given, or read by an inner graph, counts
 * more than once. */
uint32_t om_ranges_readers(const struct om_ranges *r, const struct om_doc_graph *g, om_sv name);
/* Has x, which a Relu or Clip reads, the range of what it gives, and is it read by nothing else? */
bool om_ranges_clamped(const struct om_ranges *r, struct om_doc_graph *g,
                       const struct om_doc_node *n);
void om_ranges_release(struct om_ranges *r);

#endif
