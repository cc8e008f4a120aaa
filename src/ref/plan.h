/* src/ref/plan.h: a document made ready to run: names resolved to slots, attributes decoded;
 * private to src/ref. */
#ifndef OM_REF_PLAN_H
#define OM_REF_PLAN_H

#include "onnx/doc.h"
#include "ref/kernel.h"
#include "ref/model.h"

/* An operator of documents. */
struct ref_def {
    const char *domain, *name;
    ref_kernel *run;
    uint8_t min_in, max_in, n_out; /* UINT8_MAX: any number */
    uint8_t widen;                 /* enum ref_widen */
};
/* NULL: not known. */
const struct ref_def *om_ref_find_def(om_sv domain, om_sv name);

/* A value as a graph sees it: slot at of the frame that lies up levels out. */
struct ref_place {
    uint32_t up, at; /* at 0: left out */
};

struct ref_plan;

struct ref_step {
    struct om_node node; /* ids only say whether an input or output is there */
    const struct om_doc_node *source;
    const struct ref_def *def;
    int64_t opset;
    struct ref_place *in;       /* node.n_in */
    struct ref_tensor *given;   /* node.n_in: what came as an attribute; data NULL: in[] says */
    uint32_t *out;              /* node.n_out slots, 0: left out */
    struct ref_place *captured; /* what the graphs below read of this graph and those around it */
    uint32_t n_captured;
    struct ref_plan **graphs; /* by attribute, NULL where it holds none */
    int32_t small; /* of a Constant's value, as in struct ref_tensor */
};

struct ref_initial {
    struct om_weight weight;
    uint32_t at;
    int32_t small;
};

struct ref_plan {
    const struct om_doc_graph *graph;
    struct ref_step *steps;
    size_t n_steps;
    struct ref_initial *initials;
    size_t n_initials;
    uint32_t *inputs; /* slots of the graph's inputs, in its order */
    struct ref_place *outputs;
    uint32_t n_slots; /* slot 0 is none */
    uint32_t *uses;   /* by slot: reads by this graph */
};

struct om_ref_model {
    struct om_doc *doc;
    struct ref_plan *plan;
    size_t most; /* inputs or outputs of a node */
};

/* ---- lists in attributes, for kernels ---- */

/* At most cap floats; their number. Without the attribute: 0. */
int om_ref_attr_floats(const struct ref_call *c, const char *name, float *out, size_t cap,
                       size_t *n);
int om_ref_attr_strings(const struct ref_call *c, const char *name, om_sv *out, size_t cap,
                        size_t *n);

/* ---- subgraphs, for kernels ---- */

/* The graph of an attribute; an error that names it where there is none. */
int om_ref_body(const struct ref_call *c, const char *name, const struct ref_plan **out);
/* Run a graph of the node. in are shared with it; out receives all its outputs, to be dropped by
 * the caller also after a failure, and must be zeroed. */
int om_ref_run_body(const struct ref_call *c, const struct ref_plan *p, const struct ref_tensor *in,
                    size_t n_in, struct ref_tensor *out, size_t n_out);

#endif
