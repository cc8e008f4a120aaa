/* src/jinja/sequences.h: the filters on sequences, for the table in filters.c. */
#ifndef OM_JINJA_SEQUENCES_H
#define OM_JINJA_SEQUENCES_H

#include "jinja/value.h"

jj_fn jj_batch, jj_dictsort, jj_first, jj_groupby, jj_items, jj_join, jj_last, jj_to_list, jj_map, jj_max, jj_min, jj_reject,
    jj_rejectattr, jj_reversed, jj_select, jj_selectattr, jj_slices, jj_sorted, jj_sum, jj_unique;

#endif
