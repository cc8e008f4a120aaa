/* src/ir/rewrite.h: making a new graph out of an old one, node by node.
 *
 * The walk opens the branches, carries inputs, weights and outputs over and calls a function for
 * every other node, in execution order. The old graph is only read. */
#ifndef OM_IR_REWRITE_H
#define OM_IR_REWRITE_H

#include "ir/graph.h"

struct om_rewrite {
    const struct om_graph *g; /* finished */
    struct om_graph *h;       /* in g's arena, with g's dims */
    om_val *map;      /* by value of g: the value of h that replaces it, {0} while there is none */
    uint32_t *blocks; /* by block of g */
    void (*node)(struct om_rewrite *r,
                 const struct om_node *n); /* sets map for n's outputs; not called for If */
    void (*made)(struct om_rewrite *r, const struct om_node *n); /* after an If; may be NULL */
    om_val (*use)(struct om_rewrite *r, om_val v); /* called for outputs and conditions */
};

/* Start h. node and use may be changed afterwards: they are om_rewrite_copy and om_rewrite_use. */
int om_rewrite_init(struct om_rewrite *r, const struct om_graph *g, struct om_error *err);
/* Walk g and finish h. Frees h on failure. */
int om_rewrite_run(struct om_rewrite *r, struct om_graph **out, struct om_error *err);
void om_rewrite_abort(
    struct om_rewrite *r); /* frees h, for whoever does not get as far as the walk */

/* map, where a weight is carried over on its first use. */
om_val om_rewrite_use(struct om_rewrite *r, om_val v);
/* The same node on the replaced inputs. */
void om_rewrite_copy(struct om_rewrite *r, const struct om_node *n);
/* The block of h where a value of h is made. */
uint32_t om_rewrite_block(const struct om_graph *h, om_val v);

#endif
