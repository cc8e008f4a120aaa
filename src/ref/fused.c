/* src/ref/fused.c: operators of com.microsoft that fuse those of ONNX, but for attention. */
#include <math.h>

#include "ref/plan.h"
#include "ref/sequence.h"
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

/* x with its first axis behind the others that lead to a row, then with its last two swapped. */
static const struct ref_tensor *turned(struct ref_tape *t, const struct ref_tensor *x, bool batch,
                                       bool turn)
{
    const uint32_t n = x->rank;
    int64_t perm[OM_RANK_MAX], last;

    if (n < 2 || (!batch && !turn))
        return x;
    for (uint32_t i = 0; i < n; i++)
        perm[i] = batch && i + 2 < n ? i + 1 : i;
    if (batch)
        perm[n - 2] = 0;
    last = perm[n - 1];
    if (turn) {
        perm[n - 1] = perm[n - 2];
        perm[n - 2] = last;
    }
    return om_ref_do_transpose(t, x, perm);
}

int om_ref_ms_FusedMatMul(struct ref_call *c)
{
    const double alpha = om_node_float(c->node, "alpha", 1);
    struct ref_tape t = { .c = c };
    const struct ref_tensor *a, *b, *y;

    a = turned(&t, om_ref_in(c, 0), om_node_int(c->node, "transBatchA", 0) != 0,
               om_node_int(c->node, "transA", 0) != 0);
    b = turned(&t, om_ref_in(c, 1), om_node_int(c->node, "transBatchB", 0) != 0,
               om_node_int(c->node, "transB", 0) != 0);
    y = om_ref_do(&t, om_ref_MatMul, NULL, 0, a, b, NULL);
    if (alpha != 1 && t.rc == 0)
        y = om_ref_do(&t, om_ref_Mul, NULL, 0, y, om_ref_do_number(&t, y->dtype, alpha), NULL);
    om_ref_do_give(&t, 0, y);
    return om_ref_tape_close(&t);
}

/* ---- fused activations ---- */

/* Activations and what their parameters are called and default to. */
static const struct activation {
    const char *name;
    ref_kernel *kernel;
    const char *attrs[2];
    float defaults[2];
} activations[] = {
    { "Relu", om_ref_Relu, { NULL, NULL }, { 0, 0 } },
    { "Sigmoid", om_ref_Sigmoid, { NULL, NULL }, { 0, 0 } },
    { "Tanh", om_ref_Tanh, { NULL, NULL }, { 0, 0 } },
    { "Softplus", om_ref_Softplus, { NULL, NULL }, { 0, 0 } },
    { "Softsign", om_ref_Softsign, { NULL, NULL }, { 0, 0 } },
    { "LeakyRelu", om_ref_LeakyRelu, { "alpha", NULL }, { 0.01f, 0 } },
    { "Elu", om_ref_Elu, { "alpha", NULL }, { 1, 0 } },
    { "ThresholdedRelu", om_ref_ThresholdedRelu, { "alpha", NULL }, { 1, 0 } },
    { "HardSigmoid", om_ref_HardSigmoid, { "alpha", "beta" }, { 0.2f, 0.5f } },
};

/* x by an activation with its parameters. */
static const struct ref_tensor *apply(struct ref_tape *t, const struct activation *a,
                                      const float *values, const struct ref_tensor *x)
{
    struct om_attr attrs[2];
    uint32_t n = 0;

    for (; n < 2 && a->attrs[n]; n++)
        attrs[n] = (struct om_attr)REF_ATTR_FLOAT(a->attrs[n], (double)values[n]);
    return om_ref_do(t, a->kernel, attrs, n, x, NULL, NULL);
}

static const struct ref_tensor *clip(struct ref_tape *t, const float *values,
                                     const struct ref_tensor *x)
{
    if (t->rc < 0)
        return NULL;
    return om_ref_do(t, om_ref_Clip, NULL, 0, x, om_ref_do_number(t, x->dtype, (double)values[0]),
                     om_ref_do_number(t, x->dtype, (double)values[1]));
}

/* The node's activation of x; given: how many of its parameters are in values. */
static int activate(struct ref_tape *t, const struct ref_tensor *x, float *values, size_t given)
{
    struct ref_call *const c = t->c;
    const struct om_attr *a = om_node_attr(c->node, "activation");
    const om_sv name = a && a->kind == OM_ATTR_STRING ? a->s : (om_sv){ "", 0 };

    if (name.len == 0) {
        om_ref_do_give(t, 0, x);
        return om_ref_tape_close(t);
    }
    if (om_sv_is(name, "Clip") && given == 2) {
        om_ref_do_give(t, 0, clip(t, values, x));
        return om_ref_tape_close(t);
    }
    for (size_t i = 0; i < OM_COUNT(activations); i++) {
        if (!om_sv_is(name, activations[i].name))
            continue;
        for (size_t k = given; k < 2; k++)
            values[k] = activations[i].defaults[k];
        om_ref_do_give(t, 0, apply(t, &activations[i], values, x));
        return om_ref_tape_close(t);
    }
    om_ref_do_fail(t, om_fail(c->err, OM_E_UNSUPPORTED, "the activation %.*s", OM_SV(name)));
    return om_ref_tape_close(t);
}

int om_ref_ms_FusedGemm(struct ref_call *c)
{
    static const char *const names[2] = { "activation_alpha", "activation_beta" };
    struct ref_tape t = { .c = c };
    float values[2] = { 0, 0 };
    size_t n = 0;

    for (; n < 2 && om_node_attr(c->node, names[n]); n++)
        values[n] = (float)om_node_float(c->node, names[n], 0);
    return activate(&t,
                    om_ref_do(&t, om_ref_Gemm, c->node->attrs, c->node->n_attrs, om_ref_in(c, 0),
                              om_ref_in(c, 1), om_ref_in(c, 2)),
                    values, n);
}

int om_ref_ms_FusedConv(struct ref_call *c)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *y, *sum = om_ref_in(c, 3);
    float values[2] = { 0, 0 };
    size_t n;

    OM_TRY(om_ref_attr_floats(c, "activation_params", values, 2, &n));
    y = om_ref_do(&t, om_ref_Conv, c->node->attrs, c->node->n_attrs, om_ref_in(c, 0),
                  om_ref_in(c, 1), om_ref_in(c, 2));
    if (sum)
        y = om_ref_do(&t, om_ref_Add, NULL, 0, y, sum, NULL);
    return activate(&t, y, values, n);
}

/* ---- sums with something after them ---- */

/* The node's inputs added up, those that are there. */
static const struct ref_tensor *sum_of(struct ref_tape *t, uint32_t n)
{
    const struct ref_tensor *sum = om_ref_in(t->c, 0);

    for (uint32_t i = 1; i < n; i++)
        if (om_ref_in(t->c, i))
            sum = om_ref_do(t, om_ref_Add, NULL, 0, sum, om_ref_in(t->c, i), NULL);
    return sum;
}

int om_ref_ms_BiasAdd(struct ref_call *c)
{
    struct ref_tape t = { .c = c };

    om_ref_do_give(&t, 0, sum_of(&t, 3));
    return om_ref_tape_close(&t);
}

/* Outside training; the mask keeps everything. */
int om_ref_ms_BiasDropout(struct ref_call *c)
{
    const struct ref_tensor *training = om_ref_in(c, 4);
    struct ref_tape t = { .c = c };

    if (training && training->count == 1 && om_ref_i64_at(training, 0) != 0)
        return om_fail(c->err, OM_E_UNSUPPORTED, "training mode is random");
    om_ref_do_give(&t, 0, sum_of(&t, 3));
    if (t.rc == 0 && om_ref_wants(c, 1)) {
        om_ref_do_fail(
            &t, om_ref_new(c->pool, &c->out[1], OM_BOOL, c->out[0].dims, c->out[0].rank, c->err));
        if (t.rc == 0)
            memset(c->out[1].data, 1, (size_t)c->out[1].count);
    }
    return om_ref_tape_close(&t);
}

/* Softmax over all axes from one on, as before operator set 13. */
int om_ref_ms_BiasSoftmax(struct ref_call *c)
{
    static const struct om_attr last = REF_ATTR_INT("axis", 1);
    struct ref_tape t = { .c = c };
    const struct ref_tensor *sum = sum_of(&t, 2), *y;
    uint32_t axis = 0;

    if (t.rc == 0)
        om_ref_do_fail(&t, om_ref_axis(c, om_node_int(c->node, "axis", 1), sum->rank, &axis));
    if (t.rc == 0) {
        const int64_t rows[2] = { om_ref_product(sum->dims, 0, axis),
                                  om_ref_product(sum->dims, axis, sum->rank) };

        y = om_ref_do(&t, om_ref_Softmax, &last, 1, om_ref_do_reshape(&t, sum, rows, 2), NULL,
                      NULL);
        if (t.rc == 0)
            om_ref_do_give(&t, 0, om_ref_do_reshape(&t, y, sum->dims, sum->rank));
    }
    return om_ref_tape_close(&t);
}

/* Half i of the last axis. */
static const struct ref_tensor *half(struct ref_tape *t, const struct ref_tensor *x, int64_t i)
{
    struct ref_tensor *out;

    if (t->rc == 0 && (x->rank == 0 || x->dims[x->rank - 1] % 2 != 0))
        om_ref_do_fail(t, om_fail(t->c->err, OM_E_FORMAT, "the last axis has no two halves"));
    if (t->rc < 0 || t->n == REF_TAPE_MAX)
        return NULL;
    out = &t->made[t->n++];
    om_ref_do_fail(t, om_ref_cut(t->c, x, x->rank - 1, i * (x->dims[x->rank - 1] / 2),
                                 x->dims[x->rank - 1] / 2, false, out));
    return t->rc < 0 ? NULL : out;
}

int om_ref_ms_BiasSplitGelu(struct ref_call *c)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *sum = sum_of(&t, 2);
    const struct ref_tensor *gate =
        om_ref_do(&t, om_ref_Gelu, NULL, 0, half(&t, sum, 1), NULL, NULL);

    om_ref_do_give(&t, 0, om_ref_do(&t, om_ref_Mul, NULL, 0, half(&t, sum, 0), gate, NULL));
    return om_ref_tape_close(&t);
}

/* Swish of the gate times the value. */
int om_ref_SwiGLU(struct ref_call *c)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *gate =
        om_ref_do(&t, om_ref_Swish, c->node->attrs, c->node->n_attrs, om_ref_in(c, 0), NULL, NULL);

    om_ref_do_give(&t, 0, om_ref_do(&t, om_ref_Mul, NULL, 0, gate, om_ref_in(c, 1), NULL));
    return om_ref_tape_close(&t);
}

int om_ref_ms_GemmFastGelu(struct ref_call *c)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *y =
        om_ref_do(&t, om_ref_MatMul, NULL, 0, om_ref_in(c, 0), om_ref_in(c, 1), NULL);

    if (om_ref_in(c, 2))
        y = om_ref_do(&t, om_ref_Add, NULL, 0, y, om_ref_in(c, 2), NULL);
    om_ref_do_give(&t, 0, om_ref_do(&t, om_ref_Gelu, &by_tanh, 1, y, NULL, NULL));
    return om_ref_tape_close(&t);
}

/* ---- GroupNorm ---- */

/* x normalized and, where the node says so, activated. */
static const struct ref_tensor *group_normalize(struct ref_tape *t, const struct ref_tensor *x)
{
    const struct ref_call *c = t->c;
    const bool last = om_node_int(c->node, "channels_last", 1) != 0;
    const struct om_attr attrs[2] = {
        REF_ATTR_INT("num_groups", om_node_int(c->node, "groups", 0)),
        REF_ATTR_FLOAT("epsilon", om_node_float(c->node, "epsilon", 1e-5)),
    };

    if (last)
        x = om_ref_do_channels_first(t, x);
    x = om_ref_do(t, om_ref_GroupNormalization, attrs, 2, x, om_ref_in(c, 1), om_ref_in(c, 2));
    if (om_node_int(c->node, "activation", 0) == 1)
        x = om_ref_do(t, om_ref_Swish, NULL, 0, x, NULL, NULL);
    return last ? om_ref_do_channels_last(t, x) : x;
}

int om_ref_ms_GroupNorm(struct ref_call *c)
{
    struct ref_tape t = { .c = c };

    om_ref_do_give(&t, 0, group_normalize(&t, om_ref_in(c, 0)));
    return om_ref_tape_close(&t);
}

/* A vector by channels, one of the batch too, in the shape that broadcasts to x. */
static const struct ref_tensor *by_channel(struct ref_tape *t, const struct ref_tensor *x,
                                           const struct ref_tensor *v)
{
    const bool last = om_node_int(t->c->node, "channels_last", 1) != 0;
    int64_t dims[OM_RANK_MAX];

    if (t->rc < 0 || v->rank > 2)
        return v;
    for (uint32_t i = 0; i < x->rank; i++)
        dims[i] = 1;
    dims[0] = v->rank == 2 ? v->dims[0] : 1;
    dims[last ? x->rank - 1 : 1] = v->rank > 0 ? v->dims[v->rank - 1] : 1;
    return om_ref_do_reshape(t, v, dims, x->rank);
}

int om_ref_ms_SkipGroupNorm(struct ref_call *c)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *x = om_ref_in(c, 0), *bias = om_ref_in(c, 4), *sum;

    if (x->rank < 3)
        return om_fail(c->err, OM_E_FORMAT, "expected rank 3 or more, found %" PRIu32, x->rank);
    sum = om_ref_do(&t, om_ref_Add, NULL, 0, x, by_channel(&t, x, om_ref_in(c, 3)), NULL);
    if (bias)
        sum = om_ref_do(&t, om_ref_Add, NULL, 0, sum, by_channel(&t, x, bias), NULL);
    om_ref_do_give(&t, 0, group_normalize(&t, sum));
    om_ref_do_give(&t, 1, sum);
    return om_ref_tape_close(&t);
}

/* ---- RelativePositionBias ---- */

/* The bucket of a distance to the query: near ones have their own, others share. */
static int64_t bucket_of(int64_t distance, int64_t buckets, int64_t most, bool both_ways)
{
    int64_t first = 0, exact, far;

    if (both_ways) {
        buckets /= 2;
        first = distance > 0 ? buckets : 0;
        distance = distance < 0 ? -distance : distance;
    } else {
        distance = distance < 0 ? -distance : 0;
    }
    exact = buckets / 2;
    if (distance < exact || exact < 1 || most <= exact)
        return first + OM_MIN(distance, buckets - 1);
    far = exact + (int64_t)(logf((float)distance / (float)exact) /
                            logf((float)most / (float)exact) * (float)(buckets - exact));
    return first + OM_MIN(far, buckets - 1);
}

/* The table [buckets, heads] lies in memory head by head. */
int om_ref_ms_RelativePositionBias(struct ref_call *c)
{
    const struct ref_tensor *table = om_ref_in(c, 0);
    const int64_t most = om_node_int(c->node, "max_distance", 0);
    const bool both_ways = om_node_int(c->node, "is_bidirectional", 0) != 0;
    int64_t queries, keys, dims[4];

    OM_TRY(om_ref_scalar_i64(c, 1, "query_length", &queries));
    OM_TRY(om_ref_scalar_i64(c, 2, "key_length", &keys));
    if (table->rank != 2 || table->dims[0] < 2 || table->dtype != OM_F32 || queries < 0 || keys < 0)
        return om_fail(c->err, OM_E_FORMAT, "the table or the lengths do not fit");
    dims[0] = 1;
    dims[1] = table->dims[1];
    dims[2] = queries;
    dims[3] = keys;
    OM_TRY(om_ref_new(c->pool, &c->out[0], OM_F32, dims, 4, c->err));
    for (int64_t i = 0; i < c->out[0].count; i++) {
        const int64_t at =
            bucket_of(i % keys - i / keys % queries, table->dims[0], most, both_ways);

        ((float *)c->out[0].data)[i] =
            ((const float *)table->data)[i / keys / queries * table->dims[0] + at];
    }
    return 0;
}
