/* src/quant/calibrate.h: the ranges of a model's values while it runs on samples. */
#ifndef OM_QUANT_CALIBRATE_H
#define OM_QUANT_CALIBRATE_H

#include "quant/internal.h"
#include "quant/samples.h"

struct om_range {
    om_sv name;
    float lo, hi;               /* lo > hi: nothing was seen */
    struct om_doc_graph *graph; /* that has the value */
    om_sv seen_as;              /* what the observed model calls it; "": it does not show */
};

/* Fill the ranges of n float32 values of the main graph by the method of the configuration.
 * dir: an existing directory for a temporary file. */
int om_calibrate(struct om_quant_job *j, const struct om_samples *samples, const char *dir,
                 struct om_range *ranges, size_t n);

/* The same over made-up values, exposed for tests: bins cover [-most, most]. */
void om_calibrate_percentile(const uint64_t *bins, size_t n, float most, double percentile,
                             bool symmetric, struct om_range *r);
void om_calibrate_mse(const uint64_t *bins, size_t n, float most, bool symmetric,
                      struct om_range *r);
void om_calibrate_entropy(const uint64_t *bins, size_t n, float most, size_t quantized,
                          struct om_range *r);

#endif
