/* src/pass/internal.h: the passes. Each gives a new finished graph in g's arena. */
#ifndef OM_PASS_INTERNAL_H
#define OM_PASS_INTERNAL_H

#include "pass/pass.h"

typedef int om_pass_fn(const struct om_graph *g, struct om_graph **out, struct om_error *err);

om_pass_fn om_pass_fold, om_pass_cse, om_pass_dead;

#endif
