/* src/ref/qlinear.c: the QLinear operators of com.microsoft, by way of float32. */
#include "ref/quantized.h"

/* Input i as float32, by the scale and the zero point that are inputs too. */
static const struct ref_tensor *real_by(struct ref_tape *t, uint32_t i, uint32_t scale,
                                        uint32_t zero)
{
    const struct ref_tensor *x = om_ref_in(t->c, i);
    struct ref_scales s = { om_ref_in(t->c, scale), om_ref_in(t->c, zero), 1, 1, 1, 1 };
    struct ref_tensor *out;

    if (t->rc < 0)
        return NULL;
    if (t->n == REF_TAPE_MAX || !x || !s.scale || s.scale->count != 1 ||
        (s.zero && s.zero->count != 1)) {
        om_ref_do_fail(t, om_fail(t->c->err, OM_E_FORMAT,
                                  "operand %" PRIu32 " needs one scale and zero point", i));
        return NULL;
    }
    out = &t->made[t->n++];
    om_ref_do_fail(t, om_ref_dequantize(t->c, x, &s, out));
    return t->rc < 0 ? NULL : out;
}

static const struct ref_tensor *real(struct ref_tape *t, uint32_t i)
{
    return real_by(t, i, i + 1, i + 2);
}

/* Quantize y with the parameters that are input i and the one after. */
static int close_quantized(struct ref_tape *t, const struct ref_tensor *y, uint32_t i)
{
    const struct ref_tensor *scale = om_ref_in(t->c, i), *zero = om_ref_in(t->c, i + 1);
    struct ref_scales s = { scale, zero, 1, 1, 1, 1 };
    struct ref_target to = { .dtype = OM_U8 };

    if (t->rc == 0 && (!scale || scale->count != 1 || (zero && zero->count != 1)))
        om_ref_do_fail(t, om_fail(t->c->err, OM_E_FORMAT, "the result needs one scale"));
    if (t->rc == 0)
        om_ref_do_fail(t, om_ref_quant_target(t->c,
                                              zero ? om_ref_quant_type(zero)
                                                   : om_dtype_onnx(om_ref_in(t->c, 0)->dtype),
                                              &to));
    if (t->rc == 0)
        om_ref_do_fail(t, om_ref_quantize(t->c, y, &s, &to, &t->c->out[0]));
    return om_ref_tape_close(t);
}

static int qlinear_pair(struct ref_call *c, ref_kernel *kernel)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *a = real(&t, 0), *b = real(&t, 3);

    return close_quantized(&t, om_ref_do(&t, kernel, NULL, 0, a, b, NULL), 6);
}

int om_ref_ms_QLinearAdd(struct ref_call *c)
{
    return qlinear_pair(c, om_ref_Add);
}

int om_ref_ms_QLinearMul(struct ref_call *c)
{
    return qlinear_pair(c, om_ref_Mul);
}

static int qlinear_one(struct ref_call *c, ref_kernel *kernel)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *x = real(&t, 0);

    if (om_node_int(c->node, "channels_last", 0))
        x = om_ref_do_channels_first(&t, x);
    x = om_ref_do(&t, kernel, c->node->attrs, c->node->n_attrs, x, NULL, NULL);
    if (om_node_int(c->node, "channels_last", 0))
        x = om_ref_do_channels_last(&t, x);
    return close_quantized(&t, x, 3);
}

int om_ref_ms_QLinearSigmoid(struct ref_call *c)
{
    return qlinear_one(c, om_ref_Sigmoid);
}

int om_ref_ms_QLinearLeakyRelu(struct ref_call *c)
{
    return qlinear_one(c, om_ref_LeakyRelu);
}

int om_ref_ms_QLinearSoftmax(struct ref_call *c)
{
    return qlinear_one(c, om_ref_Softmax);
}

int om_ref_ms_QLinearAveragePool(struct ref_call *c)
{
    return qlinear_one(c, om_ref_AveragePool);
}

int om_ref_ms_QLinearGlobalAveragePool(struct ref_call *c)
{
    return qlinear_one(c, om_ref_GlobalAveragePool);
}

/* Scale and zero point of the result come first. */
int om_ref_ms_QLinearConcat(struct ref_call *c)
{
    enum { PARTS = 20 };
    struct ref_tape t = { .c = c };
    const struct ref_tensor *joined = NULL;
    const uint32_t parts = (c->node->n_in - 2) / 3;

    if ((c->node->n_in - 2) % 3 != 0 || parts == 0 || parts > PARTS)
        return om_fail(c->err, OM_E_UNSUPPORTED, "%" PRIu32 " operands", c->node->n_in);
    for (uint32_t i = 0; i < parts; i++) {
        const struct ref_tensor *part = real(&t, 2 + 3 * i);

        joined = i == 0 ? part
                        : om_ref_do(&t, om_ref_Concat, c->node->attrs, c->node->n_attrs, joined,
                                    part, NULL);
    }
    return close_quantized(&t, joined, 0);
}

int om_ref_ms_QLinearWhere(struct ref_call *c)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *a = real(&t, 1), *b = real(&t, 4);

    return close_quantized(&t, om_ref_do(&t, om_ref_Where, NULL, 0, om_ref_in(c, 0), a, b), 7);
}

int om_ref_ms_QLinearReduceMean(struct ref_call *c)
{
    const struct om_attr *a = om_node_attr(c->node, "axes");
    const struct om_attr keep = REF_ATTR_INT("keepdims", om_node_int(c->node, "keepdims", 1));
    struct ref_tape t = { .c = c };
    const struct ref_tensor *x = real(&t, 0);
    struct ref_tensor *axes = NULL;

    if (a && a->kind == OM_ATTR_INTS && a->n > 0) {
        axes = om_ref_do_new(&t, OM_I64, &(int64_t){ a->n }, 1);
        if (axes)
            memcpy(axes->data, a->ints, a->n * sizeof(*a->ints));
    }
    return close_quantized(&t, om_ref_do(&t, om_ref_ReduceMean, &keep, 1, x, axes, NULL), 3);
}

/* QLinearConv, whose images may have their channels last. */
int om_ref_ms_QLinearConv(struct ref_call *c)
{
    const bool last = om_node_int(c->node, "channels_last", 0) != 0;
    const struct ref_tensor *in[9], *y;
    struct ref_tape t = { .c = c };

    for (uint32_t i = 0; i < 9; i++)
        in[i] = om_ref_in(c, i);
    if (last)
        in[0] = om_ref_do_channels_first(&t, in[0]);
    y = om_ref_do_list(&t, om_ref_QLinearConv, c->node->attrs, c->node->n_attrs, in, 9, NULL, 1);
    om_ref_do_give(&t, 0, last ? om_ref_do_channels_last(&t, y) : y);
    return om_ref_tape_close(&t);
}

int om_ref_ms_NhwcMaxPool(struct ref_call *c)
{
    struct ref_tape t = { .c = c };
    const struct ref_tensor *x = om_ref_do_channels_first(&t, om_ref_in(c, 0));

    x = om_ref_do(&t, om_ref_MaxPool, c->node->attrs, c->node->n_attrs, x, NULL, NULL);
    om_ref_do_give(&t, 0, om_ref_do_channels_last(&t, x));
    return om_ref_tape_close(&t);
}

/* EmbedLayerNormalization of tables, gamma and beta with a scale each. */
int om_ref_ms_QEmbedLayerNormalization(struct ref_call *c)
{
    enum { TABLES = 5, FIRST = 2, SCALES = 8, ZEROS = 13 };
    const struct om_attr epsilon =
        REF_ATTR_FLOAT("epsilon", om_node_float(c->node, "epsilon", 1e-12));
    const struct ref_tensor *in[8] = { om_ref_in(c, 0), om_ref_in(c, 1) }, *more[1] = { NULL }, *y;
    struct ref_tape t = { .c = c };

    for (uint32_t i = 0; i < TABLES; i++)
        if (om_ref_in(c, FIRST + i))
            in[FIRST + i] = real_by(&t, FIRST + i, SCALES + i, ZEROS + i);
    in[7] = om_ref_in(c, 7);
    y = om_ref_do_list(&t, om_ref_ms_EmbedLayerNormalization, &epsilon, 1, in, 8, more, 2);
    om_ref_do_give(&t, 0, y);
    om_ref_do_give(&t, 1, more[0]);
    return om_ref_tape_close(&t);
}
