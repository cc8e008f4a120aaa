/* src/fuse/shapes.h: what is known of the shapes of a document's values.
 *
 * The rules are the IR's; operators that it does not have get what can be said of them here. A
 * value of which nothing can be said is not found, and says nothing about the values made from it:
 * no operator, domain or contradiction makes the whole unreadable. Names are looked up from a graph
 * outwards, so two branches may use one name for two values. */
#ifndef OM_FUSE_SHAPES_H
#define OM_FUSE_SHAPES_H

#include "onnx/doc.h"

struct fz_shapes;

int fz_shapes_new(struct om_doc *d, struct fz_shapes **out, struct om_error *err);
void fz_shapes_free(struct fz_shapes *s); /* accepts NULL */
/* NULL: not known. */
const struct om_value *fz_shapes_find(const struct fz_shapes *s, const struct om_doc_graph *g,
                                      om_sv name);
/* What a value_info says does not contradict what is known. */
bool fz_shapes_agree(const struct fz_shapes *s, const struct om_doc_graph *g,
                     const struct om_doc_port *p);
/* Holds the values and their dims; there are no nodes. */
const struct om_graph *fz_shapes_graph(const struct fz_shapes *s);

/* ---- shape_rules.c ---- */

/* One node whose operands are looked at. */
struct fz_look {
    struct om_graph *g;
    const struct om_doc_node *n;
    struct om_node node; /* inputs; attributes as far as the IR has them; outputs */
    bool known;          /* every input that is there is known */
    int64_t opset;
    struct om_error *err;
};

/* Types and shapes of the outputs. 0: found, 1: not known. */
int fz_look_at(struct fz_look *k);

#endif
