/* src/ckpt/keras.h: the weights of TensorFlow models as Transformers saves them (tf_model.h5). */
#ifndef OM_KERAS_H
#define OM_KERAS_H

#include "ckpt/ckpt.h"

/* Parse the bytes of tf_model.h5 or of one of its shards (HDF5, ckpt/h5.h). Tensors have the names
 * and the axes that the model has in PyTorch and come in the order of their data; kernels are
 * views with strides. A variable that several layers list is there once. file is recorded in each
 * tensor and not read. */
int om_keras_parse(struct om_arena *a, const struct om_file *file, struct om_ckpt_tensor **tensors,
                   size_t *len, struct om_error *err);

#endif
