/* src/base/arena.h: memory that is freed all at once.
 *
 * An arena hands out zeroed, 16-byte aligned memory from growing chunks and never frees a single piece.
 * It has a hard maximum: reaching it, like a failed malloc, gives NULL. One thread at a time. */
#ifndef OM_ARENA_H
#define OM_ARENA_H

#include <stdarg.h>

#include "base/base.h"

struct om_chunk;

struct om_arena {
    struct om_chunk *chunk; /* newest first */
    size_t used, max;       /* bytes handed out, and the most there may be */
};
#define OM_ARENA_INIT(max_bytes) { .chunk = NULL, .used = 0, .max = (max_bytes) }

struct om_mark {
    struct om_chunk *chunk;
    size_t chunk_used, used;
};

void om_arena_init(struct om_arena *a, size_t max);
void om_arena_release(struct om_arena *a); /* everything; the arena is then empty and usable */

void *om_arena_alloc(struct om_arena *a, size_t size);              /* zeroed; NULL when exhausted */
void *om_arena_array(struct om_arena *a, size_t n, size_t elem);    /* n * elem, checked */
void *om_arena_copy(struct om_arena *a, const void *data, size_t size);
char *om_arena_str(struct om_arena *a, om_sv s);                    /* a NUL-terminated copy */
char *om_arena_printf(struct om_arena *a, const char *fmt, ...) OM_PRINTF(2, 3);
char *om_arena_vprintf(struct om_arena *a, const char *fmt, va_list ap);

/* Scratch memory: everything allocated after the mark is given back by the rewind. */
struct om_mark om_arena_mark(const struct om_arena *a);
void om_arena_rewind(struct om_arena *a, struct om_mark mark);

#endif
