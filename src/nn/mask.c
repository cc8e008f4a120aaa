/* src/nn/mask.c: attention masks, added to the scores: 0 where a key is seen, else the least finite
 * number.
 *
 * The least finite number and not minus infinity, as in PyTorch: a query that sees nothing then
 * weighs all keys equally instead of dividing zero by zero. Scores, and with them masks, are wide
 * (om_widen()) whatever the dtype of activations: added to a score of float16, its least number
 * would become infinite. */
#include "nn/internal.h"

#include <float.h>

om_val om_mask_additive(om_scope s, om_val seen)
{
    const om_val mask = om_where(s, seen, om_wide(s, 0.0), om_wide(s, -FLT_MAX));
    const struct om_sight *sight = om_ok(s) ? om_builder_sight(s.b, seen) : NULL;

    if (sight)
        om_builder_note_sight(s.b, mask, sight->window);
    return mask;
}

om_val om_mask_bias(om_scope s, om_val bias, om_val mask)
{
    return om_add(s, om_widen(s, bias), mask);
}

om_val om_mask_padding(om_scope s, om_val attention_mask)
{
    static const int64_t axes[] = { 1, 2 };
    const om_val mask = OM_EMIT(s, OM_OP_Unsqueeze, attention_mask, om_i64s(s, axes, 2));

    return om_mask_additive(s, om_binary(s, OM_OP_Equal, mask, om_i64(s, 1)));
}
