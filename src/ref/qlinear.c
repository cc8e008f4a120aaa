/* src/ref/qlinear.c: the QLinear operators of com.microsoft, by way of float32. */
#include "ref/quantized.h"

static const struct ref_tensor *real(struct ref_tape *t, uint32_t i)
{
    const struct ref_tensor *x = om_ref_in(t->c, i);
    struct ref_scales s = { om_ref_in(t->c, i + 1), om_ref_in(t->c, i + 2), 1, 1, 1, 1 };
    struct ref_tensor *out;

    if (t->rc < 0)
        return NULL;
    if (!x || !s.scale || s.scale->count != 1 || (s.zero && s.zero->count != 1)) {
        om_ref_do_fail(t, om_fail(t->c->err, OM_E_FORMAT,
                                  "operand %" PRIu32 " needs one scale and zero point", i));
        return NULL;
    }
    out = &t->made[t->n++];
    om_ref_do_fail(t, om_ref_dequantize(t->c, x, &s, out));
    return t->rc < 0 ? NULL : out;
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
        return om_fail(c->err, OM_E_UNSUPPORTED, "channels_last");
    return close_quantized(
        &t, om_ref_do(&t, kernel, c->node->attrs, c->node->n_attrs, x, NULL, NULL), 3);
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
