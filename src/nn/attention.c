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

/* Heads of one kind, [B,S,groups,n * d] or, of one group, [B,S,n * d]: [B,groups * n,S,d]. */
static om_val heads_of(om_scope s, const struct om_fused *f, om_val x, int64_t heads)
{
    const om_dim dims[] = { om_axis(s, x, 0), om_axis(s, x, 1), om_int(s, heads),
                            om_int(s, f->head_dim) };

    if (heads != f->groups || f->groups == 1)
        x = om_reshape(s, x, dims, 4);
    return om_transpose(s, x, swap_heads, 4);
}

void om_split_fused(om_scope s, const struct om_fused *f, om_val x, struct om_attend *at)
{
    const int64_t q = f->heads / f->groups * f->head_dim, k = f->kv_heads / f->groups * f->head_dim;
    const int64_t sizes[] = { q, k, k };
    const om_dim dims[] = { om_axis(s, x, 0), om_axis(s, x, 1), om_int(s, f->groups),
                            om_int(s, q + 2 * k) };
    om_val part[3];

    if (f->groups > 1)
        x = om_reshape(s, x, dims, 4);
    om_split(s, x, -1, sizes, 3, part);
    at->q = heads_of(s, f, part[0], f->heads);
    at->k = heads_of(s, f, part[f->value_first ? 2 : 1], f->kv_heads);
    at->v = heads_of(s, f, part[f->value_first ? 1 : 2], f->kv_heads);
}

om_val om_attend(om_scope s, const struct om_attend *a)
{
    const om_val in[] = { a->q, a->k, a->v, a->mask };
    const struct om_sight *sight =
        om_ok(s) && om_valid(a->mask) ? om_builder_sight(s.b, a->mask) : NULL;
    struct om_attr attrs[4];
    uint32_t n = 0;

    if (a->scale != 0.0)
        attrs[n++] = (struct om_attr)OM_ATTR_F("scale", a->scale);
    if (a->softcap != 0.0)
        attrs[n++] = (struct om_attr)OM_ATTR_F("softcap", a->softcap);
    if (sight)
        attrs[n++] = (struct om_attr)OM_ATTR_I("causal_window", sight->window);
    /* Scores near the end of float16's range, and the least number that hides a key, need more. */
    if (om_is_narrow(s.b->compute))
        attrs[n++] = (struct om_attr)OM_ATTR_I("softmax_precision", om_dtype_onnx(OM_F32));
    return om_emit(s, OM_OP_Attention, in, om_valid(a->mask) ? 4 : 3, attrs, n);
}
