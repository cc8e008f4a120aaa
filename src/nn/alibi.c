/* src/nn/alibi.c: attention with linear biases (Press et al., 2022), added to the scores in place
 * of position embeddings. The paper's bias is the distance between query and key; a position of the
 * key alone gives the same probabilities, which do not see what is added to a whole row. */
#include "base/half.h"
#include "nn/internal.h"

#include <math.h>

static int64_t power_of_two_from(int64_t n)
{
    int64_t p = 1;

    while (p < n)
        p *= 2;
    return p;
}

static float round_to_bfloat16(float v)
{
    uint8_t raw[2];

    om_convert(raw, OM_BF16, &v, OM_F32, 1);
    om_convert(&v, OM_F32, raw, OM_BF16, 1);
    return v;
}

/* Of a power of two the slopes in order; else those that half as many heads would have, which is
 * every second one, and then the ones between. */
void om_alibi_slopes(const struct om_alibi *a, float *out)
{
    const int64_t n = power_of_two_from(a->heads);

    for (int64_t h = 0; h < a->heads; h++) {
        int64_t i = h + 1;

        if (n != a->heads)
            i = h < n / 2 ? 2 * i : 2 * (h - n / 2) + 1;
        out[h] = (float)exp2(-(double)i * (a->most / (double)n));
        if (a->bfloat16)
            out[h] = round_to_bfloat16(out[h]);
    }
}

/* [h, 1, 1] */
static om_val slopes(om_scope s, const struct om_alibi *a)
{
    float *v = om_arena_array(s.b->g->arena, (size_t)a->heads, sizeof(*v));

    if (!v)
        return om_scope_fail(s, OM_E_NOMEM, "out of memory");
    om_alibi_slopes(a, v);
    if (!om_ok(s))
        return (om_val){ 0 };
    return om_graph_const(s.b->g, OM_F32, (const int64_t[]){ a->heads, 1, 1 }, 3, v);
}

static om_val rounded(om_scope s, const struct om_alibi *a, om_val x)
{
    return a->bfloat16 ? om_cast(s, om_cast(s, x, OM_BF16), OM_F32) : x;
}

om_val om_alibi(om_scope s, const struct om_alibi *a, om_val positions)
{
    static const int64_t head_query[] = { 1, 2 };
    om_val x = OM_EMIT(s, OM_OP_Unsqueeze, positions, om_i64s(s, head_query, 2));

    x = rounded(s, a, om_cast(s, x, OM_F32));
    return rounded(s, a, om_mul(s, slopes(s, a), x));
}

om_val om_count_tokens(om_scope s, om_val attention_mask)
{
    return om_binary(s, OM_OP_CumSum, attention_mask, om_i64(s, 1));
}
