/* src/nn/mask.c: attention masks, added to the scores: 0 where a key is seen, else the least finite
 * number.
 *
 * The least finite number and not minus infinity, as in PyTorch: a query that sees nothing then
 * weighs all keys equally instead of dividing zero by zero. */
#include "nn/internal.h"

#include <float.h>

/* The least finite number of the dtype of activations. */
static om_val least(om_scope s)
{
    switch (s.b->compute) {
    case OM_F16:
        return om_f32(s, -65504.0);
    case OM_BF16:
        return om_f32(s, -0x1.fep127);
    default:
        return om_f32(s, -FLT_MAX);
    }
}

om_val om_mask_additive(om_scope s, om_val seen)
{
    return om_where(s, seen, om_f32(s, 0.0), least(s));
}

om_val om_mask_padding(om_scope s, om_val attention_mask)
{
    static const int64_t axes[] = { 1, 2 };
    const om_val mask = OM_EMIT(s, OM_OP_Unsqueeze, attention_mask, om_i64s(s, axes, 2));

    return om_mask_additive(s, om_binary(s, OM_OP_Equal, mask, om_i64(s, 1)));
}
