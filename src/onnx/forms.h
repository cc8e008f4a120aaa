/* src/onnx/forms.h: operators that took as an attribute, in older opsets, what the graph has as an
 * input. */
#ifndef OM_ONNX_FORMS_H
#define OM_ONNX_FORMS_H

#include "ir/graph.h"

struct om_onnx_form {
    enum om_op op;
    int since;        /* the first opset that has the input */
    uint32_t input;   /* its index */
    const char *attr; /* the attribute before; INTS */
};

/* The older form that op has in this opset, or NULL. */
const struct om_onnx_form *om_onnx_old_form(enum om_op op, int64_t opset);

#endif
