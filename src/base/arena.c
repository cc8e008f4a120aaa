/* src/base/arena.c: memory in growing chunks that is freed all at once. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif

/* Under AddressSanitizer only the bytes that were asked for may be touched. */
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum { ALIGN = 16, CHUNK_MIN = 4096, CHUNK_MAX = 1 << 20 };

struct om_chunk {
    struct om_chunk *next; /* older */
    size_t used, cap;
    alignas(ALIGN) uint8_t data[];
};

void om_arena_init(struct om_arena *a, size_t max)
{
    *a = (struct om_arena)OM_ARENA_INIT(max);
}

static void chunks_free_until(struct om_arena *a, const struct om_chunk *keep)
{
    while (a->chunk != keep) {
        struct om_chunk *c = a->chunk;
        a->chunk = c->next;
        UNPOISON(c->data, c->cap);
        free(c);
    }
}

void om_arena_release(struct om_arena *a)
{
    chunks_free_until(a, NULL);
    a->used = 0;
}

/* Chunks grow with the arena, so that small ones stay small and large ones need few calls. */
static struct om_chunk *chunk_new(struct om_arena *a, size_t size)
{
    const size_t usual = OM_MIN(OM_MAX(a->used, (size_t)CHUNK_MIN), (size_t)CHUNK_MAX);
    const size_t cap = OM_MAX(size, usual);
    size_t bytes;

    if (!om_add_size(cap, sizeof(struct om_chunk), &bytes))
        return NULL;
    struct om_chunk *c = malloc(bytes);
    if (!c)
        return NULL;
    *c = (struct om_chunk){ .next = a->chunk, .cap = cap };
    POISON(c->data, cap);
    a->chunk = c;
    return c;
}

void *om_arena_alloc(struct om_arena *a, size_t size)
{
    size_t rounded, total;

    if (!om_add_size(OM_MAX(size, 1), ALIGN - 1, &rounded))
        return NULL;
    rounded &= ~(size_t)(ALIGN - 1);
    if (!om_add_size(a->used, rounded, &total) || total > a->max)
        return NULL;

    struct om_chunk *c = a->chunk;
    if (!c || c->cap - c->used < rounded)
        c = chunk_new(a, rounded);
    if (!c)
        return NULL;
    void *p = c->data + c->used;
    c->used += rounded;
    a->used = total;
    UNPOISON(p, size);
    memset(p, 0, size);
    return p;
}

void *om_arena_array(struct om_arena *a, size_t n, size_t elem)
{
    size_t size;

    return om_mul_size(n, elem, &size) ? om_arena_alloc(a, size) : NULL;
}

void *om_arena_copy(struct om_arena *a, const void *data, size_t size)
{
    void *p = om_arena_alloc(a, size);

    if (p && size)
        memcpy(p, data, size);
    return p;
}

char *om_arena_str(struct om_arena *a, om_sv s)
{
    char *p = s.len < SIZE_MAX ? om_arena_alloc(a, s.len + 1) : NULL;

    if (p && s.len)
        memcpy(p, s.ptr, s.len);
    return p;
}

char *om_arena_vprintf(struct om_arena *a, const char *fmt, va_list ap)
{
    va_list again;

    va_copy(again, ap);
    const int len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    char *p = len >= 0 ? om_arena_alloc(a, (size_t)len + 1) : NULL;
    if (p)
        vsnprintf(p, (size_t)len + 1, fmt, ap);
    return p;
}

char *om_arena_printf(struct om_arena *a, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *p = om_arena_vprintf(a, fmt, ap);
    va_end(ap);
    return p;
}

struct om_mark om_arena_mark(const struct om_arena *a)
{
    return (struct om_mark){ a->chunk, a->chunk ? a->chunk->used : 0, a->used };
}

void om_arena_rewind(struct om_arena *a, struct om_mark mark)
{
    chunks_free_until(a, mark.chunk);
    if (a->chunk) {
        a->chunk->used = mark.chunk_used;
        POISON(a->chunk->data + mark.chunk_used, a->chunk->cap - mark.chunk_used);
    }
    a->used = mark.used;
}
