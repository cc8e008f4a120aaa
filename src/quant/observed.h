/* src/quant/observed.h: a copy of a model that shows its inner values. */
#ifndef OM_QUANT_OBSERVED_H
#define OM_QUANT_OBSERVED_H

#include "quant/calibrate.h"

/* Write the model with the values as outputs, and fill seen_as. A value in a branch of an If is
 * empty when the other branch runs; those in bodies of loops do not show. */
int om_observed_write(struct om_quant_job *j, struct om_range *ranges, size_t n,
                      struct om_out *out);

#endif
