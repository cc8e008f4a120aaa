/* src/lower/act.c: activations before the opset that has them.
 *
 * The order of operands follows the formulas that ONNX Runtime's fusions look for (Gelu, FastGelu,
 * QuickGelu). */
#include <math.h>

#include "lower/internal.h"

static om_val number(struct lower *l, const struct om_node *n, double v)
{
    return lo_scalar(l, lo_old(l, n->out[0])->dtype, v);
}

/* x/2 (1 + erf(x/sqrt 2)) */
void lo_gelu_erf(struct lower *l, const struct om_node *n)
{
    const om_val x = lo_in(l, n, 0);
    const om_val e = LO(l, Erf, LO(l, Div, x, number(l, n, sqrt(2))));
    const om_val y = LO(l, Mul, x, LO(l, Add, e, number(l, n, 1)));

    lo_set(l, n, 0, LO(l, Mul, y, number(l, n, 0.5)));
}

bool lo_fits_gelu_tanh(const struct lower *l, const struct om_node *n)
{
    (void)l;
    return lo_attr_is(n, "approximate", "tanh", "none");
}

/* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
void lo_gelu_tanh(struct lower *l, const struct om_node *n)
{
    const om_val x = lo_in(l, n, 0);
    const om_val cube = LO(l, Pow, x, number(l, n, 3));
    const om_val inner = LO(l, Add, x, LO(l, Mul, cube, number(l, n, 0.044715)));
    const om_val t = LO(l, Tanh, LO(l, Mul, inner, number(l, n, sqrt(2 / acos(-1)))));
    const om_val half = LO(l, Mul, x, number(l, n, 0.5));

    lo_set(l, n, 0, LO(l, Mul, half, LO(l, Add, t, number(l, n, 1))));
}

/* x tanh(log(1 + exp x)) */
void lo_mish(struct lower *l, const struct om_node *n)
{
    const om_val x = lo_in(l, n, 0);

    lo_set(l, n, 0, LO(l, Mul, x, LO(l, Tanh, LO(l, Softplus, x))));
}

/* x sigmoid(alpha x) */
void lo_swish(struct lower *l, const struct om_node *n)
{
    const double alpha = om_node_float(n, "alpha", 1);
    const om_val x = lo_in(l, n, 0);
    const om_val inner = alpha == 1 ? x : LO(l, Mul, x, number(l, n, alpha));

    lo_set(l, n, 0, LO(l, Mul, x, LO(l, Sigmoid, inner)));
}
