/* src/arch/internal.h: shared by the builders of whole graphs. */
#ifndef OM_ARCH_INTERNAL_H
#define OM_ARCH_INTERNAL_H

#include "arch/arch.h"

/* Make a graph and its builder from the job, let fill() declare inputs and build, and finish.
 * fill() may return early after a failure of the graph. */
int om_arch_graph(const struct om_arch_job *job, const char *file, struct om_arena *a,
                  void (*fill)(struct om_builder *b, void *user), void *user, struct om_graph **out,
                  struct om_error *err);

#endif
