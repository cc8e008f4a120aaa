/* src/pass/pass.h: rewrites of a graph that keep what it computes: a table of named passes. */
#ifndef OM_PASS_H
#define OM_PASS_H

#include "ir/graph.h"

enum om_pass_flags {
    OM_PASS_FOLD =
        1 << 0, /* nodes with constant inputs become constants where that makes the file smaller */
    OM_PASS_CSE = 1 << 1 /* equal nodes with equal inputs become one */
};

/* Run the passes of flags (dead code goes in any case) and give a new finished graph in g's arena.
 * In debug builds the graph is verified after each pass. */
int om_pass_run(const struct om_graph *g, unsigned flags, struct om_graph **out,
                struct om_error *err);

#endif
