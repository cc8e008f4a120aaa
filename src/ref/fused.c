/* src/ref/fused.c: operators of com.microsoft that fuse those of ONNX, but for attention. */
#include <math.h>

#include "ref/tape.h"

static const struct om_attr by_tanh = { .name = "approximate",
                                        .kind = OM_ATTR_STRING,
                                        .s = { "tanh", 4 } };

static int gelu(struct ref_call *c, const struct om_attr *attrs, uint32_t n_attrs)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *x = om_ref_in(c, 0), *bias = om_ref_in(c, 1);

    if (bias)
        x = om_ref_do(&t, om_ref_Add, NULL, 0, x, bias, NULL);
    om_ref_do_give(&t, 0, om_ref_do(&t, om_ref_Gelu, attrs, n_attrs, x, NULL, NULL));
    return om_ref_tape_close(&t);
}

/* Gelu of com.microsoft, and BiasGelu. */
int om_ref_ms_Gelu(struct ref_call *c)
{
    return gelu(c, NULL, 0);
}

int om_ref_ms_FastGelu(struct ref_call *c)
{
    return gelu(c, &by_tanh, 1);
}

/* ---- normalizations ---- */

/* (input + skip + bias), normalized; the sum is output 3. */
static int skip_normalize(struct ref_call *c, ref_kernel *kernel, const struct ref_tensor *beta,
                          const struct ref_tensor *bias)
{
    const struct om_attr epsilon =
        REF_ATTR_FLOAT("epsilon", om_node_float(c->node, "epsilon", 1e-12));
    struct ref_tape t = { .c = c };
    const struct ref_tensor *sum =
        om_ref_do(&t, om_ref_Add, NULL, 0, om_ref_in(c, 0), om_ref_in(c, 1), NULL);

    if (om_ref_wants(c, 1) || om_ref_wants(c, 2))
        om_ref_do_fail(&t, om_fail(c->err, OM_E_UNSUPPORTED, "the statistics are not given"));
    if (bias)
        sum = om_ref_do(&t, om_ref_Add, NULL, 0, sum, bias, NULL);
    om_ref_do_give(&t, 0, om_ref_do(&t, kernel, &epsilon, 1, sum, om_ref_in(c, 2), beta));
    om_ref_do_give(&t, 3, sum);
    return om_ref_tape_close(&t);
}

int om_ref_ms_SkipLayerNormalization(struct ref_call *c)
{
    return skip_normalize(c, om_ref_LayerNormalization, om_ref_in(c, 3), om_ref_in(c, 4));
}

int om_ref_ms_SkipSimplifiedLayerNormalization(struct ref_call *c)
{
    return skip_normalize(c, om_ref_RMSNormalization, NULL, om_ref_in(c, 3));
}

/* Token ids of each row that the mask keeps. */
static void count_mask(const struct ref_tensor *mask, struct ref_tensor *out)
{
    const int64_t n = mask->dims[mask->rank - 1];

    for (int64_t i = 0; i < out->count; i++) {
        int32_t kept = 0;

        for (int64_t k = 0; k < n; k++)
            kept += om_ref_i64_at(mask, i * n + k) != 0;
        ((int32_t *)out->data)[i] = kept;
    }
}

/* Positions 0, 1, ... of each row. */
static const struct ref_tensor *count_up(struct ref_tape *t, const struct ref_tensor *ids)
{
    struct ref_tensor *const out = om_ref_do_new(t, OM_I64, ids->dims, ids->rank);

    for (int64_t i = 0; out && i < out->count; i++)
        ((int64_t *)out->data)[i] = i % ids->dims[1];
    return out;
}

int om_ref_ms_EmbedLayerNormalization(struct ref_call *c)
{
    const struct om_attr epsilon =
        REF_ATTR_FLOAT("epsilon", om_node_float(c->node, "epsilon", 1e-12));
    const struct ref_tensor *ids = om_ref_in(c, 0), *segments = om_ref_in(c, 1),
                            *mask = om_ref_in(c, 7), *positions = om_ref_in(c, 8), *sum;
    struct ref_tape t = { .c = c };

    for (uint32_t i = 2; i < 7; i++)
        if (i != 4 && !om_ref_in(c, i))
            return om_fail(c->err, OM_E_FORMAT, "input %" PRIu32 " is left out", i);
    if (ids->rank != 2 || (mask && mask->rank != 2))
        return om_fail(c->err, OM_E_FORMAT, "ids and mask must have rank 2");
    sum = om_ref_do(&t, om_ref_Gather, NULL, 0, om_ref_in(c, 2), ids, NULL);
    positions = positions ? positions : count_up(&t, ids);
    sum = om_ref_do(&t, om_ref_Add, NULL, 0, sum,
                    om_ref_do(&t, om_ref_Gather, NULL, 0, om_ref_in(c, 3), positions, NULL), NULL);
    if (segments && om_ref_in(c, 4))
        sum =
            om_ref_do(&t, om_ref_Add, NULL, 0, sum,
                      om_ref_do(&t, om_ref_Gather, NULL, 0, om_ref_in(c, 4), segments, NULL), NULL);
    om_ref_do_give(&t, 0,
                   om_ref_do(&t, om_ref_LayerNormalization, &epsilon, 1, sum, om_ref_in(c, 5),
                             om_ref_in(c, 6)));
    om_ref_do_give(&t, 2, sum);
    if (t.rc == 0 && om_ref_wants(c, 1))
        om_ref_do_fail(&t, om_ref_new(c->pool, &c->out[1], OM_I32, &ids->dims[0], 1, c->err));
    if (t.rc == 0 && om_ref_wants(c, 1)) {
        memset(c->out[1].data, 0, (size_t)c->out[1].count * sizeof(int32_t));
        if (mask && mask->dims[0] == ids->dims[0])
            count_mask(mask, &c->out[1]);
    }
    return om_ref_tape_close(&t);
}

/* ---- FusedMatMul ---- */

static const struct ref_tensor *turned(struct ref_tape *t, const struct ref_tensor *x, bool turn)
{
    int64_t perm[OM_RANK_MAX];

    if (!turn || x->rank < 2)
        return x;
    for (uint32_t i = 0; i < x->rank; i++)
        perm[i] = i;
    perm[x->rank - 1] = x->rank - 2;
    perm[x->rank - 2] = x->rank - 1;
    return om_ref_do_transpose(t, x, perm);
}

int om_ref_ms_FusedMatMul(struct ref_call *c)
{
    const double alpha = om_node_float(c->node, "alpha", 1);
    struct ref_tape t = { .c = c };
    const struct ref_tensor *a, *b, *y;

    if (om_node_int(c->node, "transBatchA", 0) || om_node_int(c->node, "transBatchB", 0))
        return om_fail(c->err, OM_E_UNSUPPORTED, "transBatchA and transBatchB");
    a = turned(&t, om_ref_in(c, 0), om_node_int(c->node, "transA", 0) != 0);
    b = turned(&t, om_ref_in(c, 1), om_node_int(c->node, "transB", 0) != 0);
    y = om_ref_do(&t, om_ref_MatMul, NULL, 0, a, b, NULL);
    if (alpha != 1 && t.rc == 0)
        y = om_ref_do(&t, om_ref_Mul, NULL, 0, y, om_ref_do_number(&t, y->dtype, alpha), NULL);
    om_ref_do_give(&t, 0, y);
    return om_ref_tape_close(&t);
}

/* ---- fused activations ---- */

static const struct {
    const char *name;
    ref_kernel *kernel;
} activations[] = {
    { "Relu", om_ref_Relu },
    { "Sigmoid", om_ref_Sigmoid },
    { "Tanh", om_ref_Tanh },
    { "LeakyRelu", om_ref_LeakyRelu },
    { "HardSigmoid", om_ref_HardSigmoid },
};

/* The node's activation of x; its parameters have other names and are refused where they matter. */
static int activate(struct ref_tape *t, const struct ref_tensor *x)
{
    struct ref_call *const c = t->c;
    const struct om_attr alpha =
        REF_ATTR_FLOAT("alpha", om_node_float(c->node, "activation_alpha", 0.01));
    const struct om_attr *a = om_node_attr(c->node, "activation");

    for (size_t i = 0; a && i < OM_COUNT(activations); i++)
        if (a->kind == OM_ATTR_STRING && om_sv_is(a->s, activations[i].name)) {
            om_ref_do_give(t, 0, om_ref_do(t, activations[i].kernel, &alpha, 1, x, NULL, NULL));
            return om_ref_tape_close(t);
        }
    if (a && a->s.len > 0)
        om_ref_do_fail(t, om_fail(c->err, OM_E_UNSUPPORTED, "the activation %.*s", OM_SV(a->s)));
    om_ref_do_give(t, 0, x);
    return om_ref_tape_close(t);
}

static int fused(struct ref_call *c, ref_kernel *kernel)
{
    struct ref_tape t = { .c = c };

    return activate(&t, om_ref_do(&t, kernel, c->node->attrs, c->node->n_attrs, om_ref_in(c, 0),
                                  om_ref_in(c, 1), om_ref_in(c, 2)));
}

int om_ref_ms_FusedGemm(struct ref_call *c)
{
    return fused(c, om_ref_Gemm);
}

int om_ref_ms_FusedConv(struct ref_call *c)
{
    if (om_ref_in(c, 3))
        return om_fail(c->err, OM_E_UNSUPPORTED, "a fused sum");
    return fused(c, om_ref_Conv);
}
