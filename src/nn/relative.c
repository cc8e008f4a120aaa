/* src/nn/relative.c: a learned bias per bucket of distances, added to the scores of attention (T5:
 * Raffel et al., 2020, section 2.1; modeling_t5.py). */
#include "nn/internal.h"

#include <math.h>

/* The bucket of a distance: exact for near keys, logarithmic up to max_distance, the last one
 * beyond. Rounded as PyTorch does, since distances lie exactly on the borders of buckets. */
static int64_t bucket_of(int64_t distance, int64_t buckets, int64_t max_distance)
{
    const int64_t exact = buckets / 2;
    float x;

    if (distance < exact)
        return distance;
    x = (float)log((double)((float)distance / (float)exact));
    x = x / (float)log((double)max_distance / (double)exact) * (float)(buckets - exact);
    return OM_MIN(exact + (int64_t)x, buckets - 1);
}

/* The bucket of every difference key - query from -max_distance to (both ways) max_distance. */
static om_val bucket_table(om_scope s, const struct om_relative *r)
{
    const int64_t n = r->max_distance + 1 + (r->both_ways ? r->max_distance : 0);
    const int64_t per_way = r->both_ways ? r->buckets / 2 : r->buckets;
    int64_t *table = om_arena_array(s.b->g->arena, (size_t)n, sizeof(*table));

    if (!table)
        return om_scope_fail(s, OM_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++) {
        const int64_t diff = i - r->max_distance;
        const int64_t bucket = bucket_of(diff < 0 ? -diff : diff, per_way, r->max_distance);
        table[i] = diff > 0 ? bucket + per_way : bucket;
    }
    return om_i64s(s, table, (size_t)n);
}

om_val om_relative_bias(om_scope s, const struct om_relative *r)
{
    static const int64_t heads_first[] = { 2, 0, 1 };
    const om_val low = om_i64(s, -r->max_distance);
    const om_val high = om_i64(s, r->both_ways ? r->max_distance : 0);
    om_val at, diff;

    if (!r->query || !r->key)
        return (om_val){ 0 };
    at = om_arange(s, om_dim_sub(s.b->g->dims, r->key, r->query), r->key);
    diff =
        om_sub_(s, om_unsqueeze(s, om_arange(s, om_int(s, 0), r->key), 0), om_unsqueeze(s, at, 1));
    diff = om_binary(s, OM_OP_Max, om_binary(s, OM_OP_Min, diff, high), low);
    at = om_gather(s, bucket_table(s, r), om_sub_(s, diff, low), 0);
    at = om_widen(s, om_gather(s, om_weight_stored(s, "weight"), at, 0));
    return om_unsqueeze(s, om_transpose(s, at, heads_first, 3), 0);
}
