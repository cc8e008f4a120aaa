/* tests/fuzz/fuzz.h: what every fuzz target uses.
 *
 * A target is a file fuzz_NAME.c that defines LLVMFuzzerTestOneInput(), listed in meson.build. With
 * -Dfuzz=true it becomes a libFuzzer program; else main.c replays tests/data/fuzz/NAME and seeded
 * mutations of it. */
#ifndef OM_FUZZ_H
#define OM_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stop, so that the input is kept, when something that must always hold does not. */
#define FUZZ_CHECK(cond)                                                             \
    do {                                                                             \
        if (!(cond)) {                                                               \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #cond); \
            abort();                                                                 \
        }                                                                            \
    } while (0)

/* A heap copy of exactly size bytes, to be freed: AddressSanitizer sees reads past its end. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    FUZZ_CHECK(copy != NULL);
    if (size)
        memcpy(copy, data, size);
    return copy;
}

/* [begin, end) must lie inside the size bytes at base; read them all. */
static inline void fuzz_touch(const void *base, uint64_t size, uint64_t begin, uint64_t end)
{
    const uint8_t *const bytes = base;
    uint8_t sum = 0;

    FUZZ_CHECK(begin <= end && end <= size);
    for (uint64_t i = begin; i < end; i++)
        sum = (uint8_t)(sum ^ bytes[i]);
    volatile uint8_t sink = sum;
    (void)sink;
}

#endif
