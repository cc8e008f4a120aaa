/* src/nn/attention.c: heads and scaled dot-product attention. */
#include "nn/internal.h"

static const int64_t swap_heads[] = { 0, 2, 1, 3 };

om_val om_split_heads(om_scope s, om_val x, int64_t heads, int64_t head_dim)
{
    const om_dim dims[] = { om_axis(s, x, 0), om_axis(s, x, 1), om_int(s, heads),
                            om_int(s, head_dim) };

    return om_transpose(s, om_reshape(s, x, dims, 4), swap_heads, 4);
}

om_val om_merge_heads(om_scope s, om_val x)
{
    struct om_dims *d = s.b->g->dims;
    const om_dim dims[] = { om_axis(s, x, 0), om_axis(s, x, 2),
                            om_dim_mul(d, om_axis(s, x, 1), om_axis(s, x, 3)) };

    return om_reshape(s, om_transpose(s, x, swap_heads, 4), dims, 3);
}

om_val om_attend(om_scope s, const struct om_attend *a)
{
    const om_val in[] = { a->q, a->k, a->v, a->mask };
    struct om_attr attrs[3];
    uint32_t n = 0;

    if (a->scale != 0.0)
        attrs[n++] = (struct om_attr)OM_ATTR_F("scale", a->scale);
    if (a->softcap != 0.0)
        attrs[n++] = (struct om_attr)OM_ATTR_F("softcap", a->softcap);
    /* Scores near the end of float16's range, and the least number that hides a key, need more. */
    if (om_is_narrow(s.b->compute))
        attrs[n++] = (struct om_attr)OM_ATTR_I("softmax_precision", om_dtype_onnx(OM_F32));
    return om_emit(s, OM_OP_Attention, in, om_valid(a->mask) ? 4 : 3, attrs, n);
}
