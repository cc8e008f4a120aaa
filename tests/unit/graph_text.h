/* tests/unit/graph_text.h: small graphs written as text, for tests of what works on whole graphs.
 *
 * Statements are separated by ';', words by blanks, lists by ',' without blanks:
 *   in x f32 B,S,8          an input; "-" stands for rank 0. A number after it: integers lie in [0,
 * number) weight w f32 4,8        seeded numbers const k i64 2 0,-1      a constant of the given
 * shape dims d B,S,2,4          the operator Dims op y,z Split x,k axis=-1   any operator; "-" is
 * an input that is left out. Attributes: numbers with a point are floats, [1,2] is a list, to=f32
 * an element type scope a/b               of the nodes that follow then; ... give y; else; ... give
 * z; end r c      the branches of an If on c out y                   an output of the graph, named
 * like the value */
#ifndef OM_GRAPH_TEXT_H
#define OM_GRAPH_TEXT_H

#include "ir/graph.h"
#include "test.h"

/* Build and finish the graph; failures are reported to t. NULL then. */
struct om_graph *graph_text(struct test *t, struct om_arena *a, const char *text);

/* Seeded inputs for g's ports with symbols as in "B=2,S=3". Floats are in [-1, 1), integers in [0,
 * 2) or the port's limit. */
struct om_tensor *graph_inputs(struct test *t, struct om_arena *a, const struct om_graph *g,
                               const char *symbols);

size_t graph_count(const struct om_graph *g,
                   enum om_op op); /* nodes of all blocks; OM_OP_NONE: of any operator */

#endif
