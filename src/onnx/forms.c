/* src/onnx/forms.c: operators that took as an attribute, in older opsets, what the graph has as an
 * input. */
#include "onnx/forms.h"

static const struct om_onnx_form forms[] = {
    { OM_OP_ReduceL2, 18, 1, "axes" },
    { OM_OP_ReduceMax, 18, 1, "axes" },
    { OM_OP_ReduceMean, 18, 1, "axes" },
    { OM_OP_ReduceMin, 18, 1, "axes" },
};

const struct om_onnx_form *om_onnx_old_form(enum om_op op, int64_t opset)
{
    for (size_t i = 0; i < OM_COUNT(forms); i++)
        if (forms[i].op == op && opset < forms[i].since)
            return &forms[i];
    return NULL;
}
