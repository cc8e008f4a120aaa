/* src/ckpt/internal.h: what the readers of this module share. */
#ifndef OM_CKPT_INTERNAL_H
#define OM_CKPT_INTERNAL_H

#include "ckpt/ckpt.h"

/* The file names of a format that may come in several files. */
struct om_ckpt_layout {
    const char *single, *index; /* "model.safetensors", "model.safetensors.index.json" */
    const char *suffix;         /* of a shard: ".safetensors" */
};

/* An empty checkpoint with room for n files, none of them mapped; NULL when memory is short. */
struct om_ckpt *om_ckpt_new(struct om_arena *a, size_t n);

/* Map path as file i of the checkpoint and read its tensors. Messages name the path. */
int om_ckpt_read_file(struct om_arena *a, struct om_ckpt *ck, size_t i, const char *path,
                      struct om_ckpt_tensor **tensors, size_t *len, struct om_error *err);

/* Fill by_name from tensors. Names are unique within a file; a second one is an error. */
int om_ckpt_index_names(struct om_ckpt *ck, struct om_error *err);

/* Open the shards that dir's index file lists. */
int om_ckpt_open_shards(struct om_arena *a, const char *dir, const struct om_ckpt_layout *layout,
                        struct om_ckpt **out, struct om_error *err);

/* Before `git lfs pull`, a repository holds a text file in place of the weights. */
bool om_ckpt_is_lfs_pointer(const struct om_file *f);
#define OM_CKPT_LFS_TEXT "a Git LFS pointer, not the weights (\"git lfs pull\" fetches them)"

#endif
