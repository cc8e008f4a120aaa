/* src/nn/causal.c: which keys a query of a decoder sees: its own and earlier ones that are not
 * padding. */
#include "nn/internal.h"

/* Positions begin .. end along the given axis of [query, key]. */
static om_val places(om_scope s, om_dim begin, om_dim end, int64_t other_axis)
{
    return om_unsqueeze(s, om_arange(s, begin, end), other_axis);
}

/* [S, T]; queries are the last S of T positions. */
static om_val in_sight(om_scope s, const struct om_causal *c)
{
    struct om_dims *d = s.b->g->dims;
    const om_val query = places(s, om_dim_sub(d, c->key, c->query), c->key, 1);
    const om_val key = places(s, om_int(s, 0), c->key, 0);
    const om_val reach = om_dim_scalar(s, c->window ? om_int(s, c->window) : c->key);
    const om_val seen = c->both_ways ? om_binary(s, OM_OP_Less, key, om_add(s, query, reach))
                                     : om_binary(s, OM_OP_LessOrEqual, key, query);

    if (c->window == 0)
        return seen;
    return om_binary(s, OM_OP_And, seen,
                     om_binary(s, OM_OP_Greater, key, om_sub_(s, query, reach)));
}

static om_val causal_mask(om_scope s, const struct om_causal *c)
{
    static const int64_t batch_head[] = { 0, 1 }, head_query[] = { 1, 2 };
    om_val seen, token;

    if (!om_ok(s) || c->query == 0 || c->key == 0)
        return (om_val){ 0 };
    seen = in_sight(s, c);
    if (!om_valid(c->attention_mask))
        return OM_EMIT(s, OM_OP_Unsqueeze, seen, om_i64s(s, batch_head, 2));
    token = OM_EMIT(s, OM_OP_Unsqueeze, om_cast(s, c->attention_mask, OM_BOOL),
                    om_i64s(s, head_query, 2));
    return om_binary(s, OM_OP_And, seen, token);
}

om_val om_mask_causal(om_scope s, const struct om_causal *c)
{
    const om_val mask = causal_mask(s, c);

    if (om_valid(mask) && om_valid(c->attention_mask) && !c->both_ways)
        om_builder_note_sight(s.b, mask, c->window);
    return mask;
}
