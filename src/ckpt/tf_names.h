/* src/ckpt/tf_names.h: from the variables of Transformers' TensorFlow models to the names and axes
 * of the same model in PyTorch. */
#ifndef OM_TF_NAMES_H
#define OM_TF_NAMES_H

#include "ckpt/ckpt.h"

/* The PyTorch name of a variable such as
 * "tf_bert_model/bert/encoder/layer_._0/output/dense/kernel:0", as an arena string; NULL when
 * memory is short. scoped: the name starts with the model's own scope. *kernel: the axes of the
 * weight have another order than in PyTorch. */
const char *om_tf_name(struct om_arena *a, om_sv variable, bool scoped, bool *kernel);

bool om_tf_is_variable(om_sv name); /* no name of PyTorch has its slashes or its ending */

/* Whether a name that save_pretrained wrote itself, in shards and safetensors files, still has the
 * model's scope: only when it has "model." somewhere. */
bool om_tf_scoped(om_sv variable);

/* Give the dense tensor the name that the variable has in PyTorch and let it be seen with the same
 * dims: kernels through strides, biases with one axis. */
int om_tf_tensor(struct om_arena *a, struct om_ckpt_tensor *t, om_sv variable, bool scoped,
                 struct om_error *err);

#endif
