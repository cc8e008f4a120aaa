/* src/ckpt/torch.h: the two containers of torch.save (torch_zip.c, torch_legacy.c) and what they
 * share (torch.c). */
#ifndef OM_CKPT_TORCH_H
#define OM_CKPT_TORCH_H

#include "ckpt/ckpt.h"
#include "ckpt/pickle.h"

/* Where the bytes of a storage lie. */
struct torch_place {
    const struct om_file *file;
    uint64_t offset, bytes;
};

struct torch_reader {
    struct om_arena *arena;   /* for the tensors */
    struct om_arena *scratch; /* for the pickle; gone after the parse */
    const struct om_file *file;
    struct om_ckpt_temp **temps;
    struct pk_doc doc;
    struct torch_place *places; /* by the storages' index; file NULL: not looked up */
    struct om_error *err;
};

/* Each runs the pickle of its container and places all storages in t->places. */
int om_torch_read_zip(struct torch_reader *t);
int om_torch_read_legacy(struct torch_reader *t);

/* Run the pickle at bytes, and make room for places. */
int om_torch_load(struct torch_reader *t, om_sv bytes);
/* Bytes of a storage as the pickle describes it; those of classes without counterpart are an error.
 */
int om_torch_storage_bytes(struct torch_reader *t, const struct pk_storage *s, uint64_t *bytes);

#endif
