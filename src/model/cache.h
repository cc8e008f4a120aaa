/* src/model/cache.h: exports that are kept, so that a checkpoint is exported once.
 *
 * An entry is a directory ROOT/KEY as the exporter wrote it; a list of its files, which is written last, makes it complete. The key
 * says what went in: the program, the task, and the checkpoint's files (key.c). ROOT/KEY.lock is held shared by who uses the entry, and
 * alone by who makes or removes it. docs/export-cache.md tells why it is so. */
#ifndef OM_MODEL_CACHE_H
#define OM_MODEL_CACHE_H

#include "base/arena.h"
#include "base/sha.h"

/* The key of what this program makes of the checkpoint in dir when it is told what ("feature-extraction transformers"). dir NULL: what
 * names the checkpoint as well. */
int om_cache_key(const char *dir, const char *what, char key[OM_SHA_HEX_MAX], struct om_error *err);

/* Where exports are kept: wanted, else by the environment. NULL: nowhere is known, or no memory. */
const char *om_cache_root(struct om_arena *a, const char *wanted);
uint64_t om_cache_limit(void); /* bytes of all entries, by the environment */

struct om_cache_entry {
    struct om_ctx *ctx;
    const char *root, *dir;
    int lock; /* -1: not open */
    bool hit; /* dir is complete; else it is there, empty, and nobody else makes the entry */
};
#define OM_CACHE_ENTRY_INIT { .lock = -1 }

/* Waits while another process makes the same entry. A broken one is removed, with a warning. Strings are the arena's. */
int om_cache_open(struct om_ctx *ctx, struct om_arena *a, const char *root, const char *key, struct om_cache_entry *out,
                  struct om_error *err);
/* dir is complete now. Old entries go until all fit into limit. */
int om_cache_publish(struct om_cache_entry *e, uint64_t limit, struct om_error *err);
/* Let go of the entry; one that was not published is removed. */
void om_cache_close(struct om_cache_entry *e);

#endif
