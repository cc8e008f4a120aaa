/* src/ckpt/internal.h: what the readers of this module share. */
#ifndef OM_CKPT_INTERNAL_H
#define OM_CKPT_INTERNAL_H

#include "ckpt/ckpt.h"

#define OM_CKPT_INDEX "model.safetensors.index.json"

/* An empty checkpoint with room for n files, none of them mapped; NULL when memory is short. */
struct om_ckpt *om_ckpt_new(struct om_arena *a, size_t n);

/* Fill by_name from tensors. Names are unique within a file; a second one is an error. */
int om_ckpt_index_names(struct om_ckpt *ck, struct om_error *err);

/* Open the shards that dir/model.safetensors.index.json lists. */
int om_ckpt_open_shards(struct om_arena *a, const char *dir, struct om_ckpt **out,
                        struct om_error *err);

#endif
