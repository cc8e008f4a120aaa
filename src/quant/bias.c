/* src/quant/bias.c: biases as int32, whose scale is that of the product they are added to. */
#include <limits.h>
#include <math.h>

#include "quant/internal.h"

/* Scales of a symmetric weight grow by this much more than its bias asks for. */
#define MARGIN 1.0001

static float largest(const float *x, size_t n)
{
    float most = 0;

    for (size_t i = 0; i < n; i++)
        most = OM_MAX(most, fabsf(x[i]));
    return most;
}

static bool is_symmetric(const struct om_affine *a)
{
    for (size_t i = 0; i < a->steps.n; i++)
        if (a->zero[i] != 0)
            return false;
    return a->range.is_signed;
}

/* A bias much larger than the products of its channel overflows int32: the weight gets a coarser
 * scale. Not after a bias was made with the scales as they are. */
static void widen(struct om_affine *a, const float *bias, size_t n, float in)
{
    const double range = 2.0 * INT_MAX;

    if (a->bound || !is_symmetric(a))
        return;
    for (size_t i = 0; i < a->steps.n; i++) {
        const float most = a->steps.n == 1 ? largest(bias, n) : fabsf(bias[i]);
        const double least = MARGIN * (2.0 * (double)most) / range;
        const double scale = (double)in * (double)a->scale[i];

        if (scale < least && scale > 0)
            a->scale[i] = (float)((double)a->scale[i] * (least / scale));
    }
}

static int allocate(struct om_quant_job *j, struct om_bias *b)
{
    b->scale = om_arena_array(j->arena, b->scales, sizeof(*b->scale));
    b->q = om_arena_array(j->arena, b->n, sizeof(*b->q));
    b->zero = om_arena_array(j->arena, b->scales, sizeof(*b->zero));
    return b->scale && b->q && b->zero ? 0 : om_quant_no_memory(j);
}

int om_bias_quantize(struct om_quant_job *j, const struct om_doc_tensor *t, float in, float beta,
                     struct om_affine *a, struct om_bias *b)
{
    const size_t n = (size_t)t->bytes / sizeof(float);
    struct om_weight w;
    float *values;

    *b = (struct om_bias){ .n = n, .scales = a->steps.n };
    OM_TRY(om_affine_measure(a, j->err));
    if (t->type != OM_Q_F32 || t->rank != 1 || n == 0 || (b->scales != 1 && b->scales != n))
        return 0;
    OM_TRY(om_doc_weight(j->doc, t, &w, j->err));
    values = om_arena_array(j->arena, n, sizeof(*values));
    if (!values)
        return om_quant_no_memory(j);
    OM_TRY(allocate(j, b));
    om_affine_load(&w, 0, n, values);
    widen(a, values, n, in);
    for (size_t i = 0; i < b->scales; i++)
        b->scale[i] = in * a->scale[i] * beta;
    for (size_t i = 0; i < n; i++) {
        const double v = rint((double)values[i] / (double)b->scale[b->scales == 1 ? 0 : i]);

        if (!(v >= INT_MIN && v <= INT_MAX))
            return 0;
        b->q[i] = (int32_t)v;
    }
    a->bound = b->fits = true;
    return 0;
}
