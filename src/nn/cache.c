/* src/nn/cache.c: the key/value cache of a decoder: past inputs come in, present outputs go out. */
#include "nn/internal.h"

bool om_cache_past(om_scope s)
{
    return s.b->past;
}

static om_val past_input(om_scope s, int64_t layer, enum om_kv_slot slot)
{
    const char *name;

    if (!om_ok(s))
        return (om_val){ 0 };
    name = om_builder_cache_name(s.b, "past_key_values", layer, slot);
    return om_input(s, name);
}

om_dim om_cache_past_length(om_scope s)
{
    /* Every layer's past has the same length; the first one stands for all. */
    return s.b->past ? om_axis(s, past_input(s, 0, OM_KV_KEY), 2) : om_int(s, 0);
}

/* The last window - 1 of v's tokens, or all when there are fewer: the extent is known only when the
 * file runs. A Slice would do but for ONNX Runtime, which moves transpositions across it and then
 * takes the axis for one as long as the outputs of other layers, whose name the axis has. */
static om_val last_tokens(om_scope s, om_val v, int64_t window)
{
    const om_dim length = om_axis(s, v, 2);
    const om_val end = om_dim_scalar(s, length);
    const om_val begin = om_sub_(s, end, om_i64(s, window - 1));

    return om_gather(
        s, v,
        OM_EMIT(s, OM_OP_Range, om_binary(s, OM_OP_Max, begin, om_i64(s, 0)), end, om_i64(s, 1)),
        2);
}

static void extend(om_scope s, int64_t layer, enum om_kv_slot slot, int64_t window, om_val *v)
{
    om_val present;

    if (s.b->past)
        *v = om_concat(s, past_input(s, layer, slot), *v, 2);
    present = *v;
    if (s.b->present && !s.b->past && window > 1)
        present = last_tokens(s, present, window);
    om_builder_set_present(s.b, layer, slot, present);
}

void om_cache_extend_window(om_scope s, int64_t layer, int64_t window, om_val *k, om_val *v)
{
    extend(s, layer, OM_KV_KEY, window, k);
    extend(s, layer, OM_KV_VALUE, window, v);
}

void om_cache_extend(om_scope s, int64_t layer, om_val *k, om_val *v)
{
    om_cache_extend_window(s, layer, 0, k, v);
}

bool om_cache_cross_get(om_scope s, int64_t layer, om_val *k, om_val *v)
{
    if (!s.b->past || s.b->cross_grows)
        return false;
    *k = past_input(s, layer, OM_KV_CROSS_KEY);
    *v = past_input(s, layer, OM_KV_CROSS_VALUE);
    return true;
}

void om_cache_cross_set(om_scope s, int64_t layer, om_val *k, om_val *v)
{
    if (s.b->cross_grows) {
        extend(s, layer, OM_KV_CROSS_KEY, 0, k);
        extend(s, layer, OM_KV_CROSS_VALUE, 0, v);
        return;
    }
    om_builder_set_present(s.b, layer, OM_KV_CROSS_KEY, *k);
    om_builder_set_present(s.b, layer, OM_KV_CROSS_VALUE, *v);
}

om_val om_positions(om_scope s, om_val ids)
{
    const om_dim past = om_cache_past_length(s);

    if (om_has_input(s, "position_ids"))
        return om_input(s, "position_ids");
    if (!om_ok(s) || !om_valid(ids))
        return (om_val){ 0 };
    return om_unsqueeze(s, om_arange(s, past, om_dim_add(s.b->g->dims, past, om_axis(s, ids, 1))),
                        0);
}
