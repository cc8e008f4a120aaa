/* src/ir/memo.h: nodes that were made already, found by what they compute.
 *
 * Two nodes are equal when operator, inputs and attributes are. A node is found where its results
 * can be used: in its own block and in the branches below. If is never equal to anything. */
#ifndef OM_IR_MEMO_H
#define OM_IR_MEMO_H

#include "ir/graph.h"

struct om_memo_entry;

struct om_memo {
    struct om_map by_key;
    struct om_memo_entry *entries;
    size_t len, cap;
    struct om_buf key; /* scratch */
};
#define OM_MEMO_INIT                                  \
    {                                                 \
        .entries = NULL, .key = OM_BUF_INIT(1u << 30) \
    }

void om_memo_release(struct om_memo *m);

/* Emit the node into g's current block like om_graph_emit_n(), or give the results of the equal one
 * that is visible there. The lists of attributes are copied. */
void om_memo_emit_n(struct om_memo *m, struct om_graph *g, enum om_op op, om_sv scope,
                    const om_val *in, uint32_t n_in, const struct om_attr *attrs, uint32_t n_attrs,
                    om_val *out, uint32_t n_out);

#endif
