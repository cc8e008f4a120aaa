/* src/fuse/fuse.h: fewer nodes for the same numbers, in any document.
 *
 * Patterns of plain operators, as exporters write them, become the operators that ONNX Runtime has
 * kernels for. Every pattern is checked to the last constant and shape; what does not fit, what is
 * not known and what another domain defines stays as it is, in the order it had. Branches of an If
 * and bodies of loops are treated as the graph itself. */
#ifndef OM_FUSE_H
#define OM_FUSE_H

#include <optimum/optimize.h>

#include "onnx/doc.h"

/* *fused: patterns that were replaced. */
int om_fuse_doc(struct om_doc *d, const struct om_optimize_config *config, size_t *fused,
                struct om_error *err);

#endif
