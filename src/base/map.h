/* src/base/map.h: string views to 32-bit numbers (an index into somebody's array).
 *
 * Open addressing; keys are borrowed and must outlive the map. Iteration is not offered: whoever needs an
 * order keeps the array that the numbers index. */
#ifndef OM_MAP_H
#define OM_MAP_H

#include "base/base.h"

struct om_map_slot;

struct om_map {
    struct om_map_slot *slots;
    size_t cap, len;
};
#define OM_MAP_INIT { .slots = NULL }

void om_map_release(struct om_map *m);
/* Insert or replace. OM_E_NOMEM is the only failure. */
int om_map_put(struct om_map *m, om_sv key, uint32_t value);
bool om_map_get(const struct om_map *m, om_sv key, uint32_t *value); /* value may be NULL */

#endif
