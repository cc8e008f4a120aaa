/* tests/unit/t_arena.c: alignment, zeroing, the maximum, and scratch memory. */
#include "base/arena.h"
#include "test.h"

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i])
            return false;
    }
    return true;
}

static void aligned_and_zeroed(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(64u << 20);

    for (size_t size = 0; size < 3000; size += 7) {
        uint8_t *p = om_arena_alloc(&a, size);
        CHECK(t, p && (uintptr_t)p % 16 == 0 && all_zero(p, size));
        if (p && size)
            memset(p, 0xAA, size); /* overlap with a later piece would show there */
    }
    uint8_t *large = om_arena_alloc(&a, 5u << 20);
    CHECK(t, large && all_zero(large, 5u << 20));
    om_arena_release(&a);
    CHECK(t, a.used == 0 && a.chunk == NULL);
    CHECK(t, om_arena_alloc(&a, 1) != NULL); /* usable again */
    om_arena_release(&a);
}

static void maximum(struct test *t)
{
    struct om_arena a;

    om_arena_init(&a, 1024);
    CHECK(t, om_arena_alloc(&a, 1025) == NULL);
    CHECK(t, om_arena_alloc(&a, SIZE_MAX) == NULL);
    CHECK(t, om_arena_alloc(&a, SIZE_MAX - 15) == NULL);
    CHECK(t, om_arena_array(&a, SIZE_MAX / 4, 8) == NULL);
    CHECK(t, om_arena_str(&a, (om_sv){ "", SIZE_MAX }) == NULL);
    CHECK(t, om_arena_alloc(&a, 1000) != NULL);
    CHECK(t, om_arena_alloc(&a, 100) == NULL);
    CHECK(t, om_arena_alloc(&a, 16) != NULL);
    CHECK_INT(t, a.used, 1024);
    om_arena_release(&a);
}

static void text(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);

    CHECK_STR(t, om_arena_str(&a, (om_sv){ "abcdef", 3 }), "abc");
    CHECK_STR(t, om_arena_str(&a, (om_sv){ NULL, 0 }), "");
    CHECK_STR(t, om_arena_printf(&a, "layer.%d.%s", 11, "weight"), "layer.11.weight");
    CHECK_STR(t, om_arena_printf(&a, "%s", ""), "");
    CHECK_STR(t, om_arena_copy(&a, "xyz", 4), "xyz");
    om_arena_release(&a);
}

static void rewind_gives_back(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(8u << 20);
    char *kept = om_arena_str(&a, OM_SVL("kept"));
    const struct om_mark mark = om_arena_mark(&a);

    for (int round = 0; round < 100; round++) { /* would pass the maximum without the rewind */
        uint8_t *p = om_arena_alloc(&a, 1u << 20), *q = om_arena_alloc(&a, 40);
        CHECK(t, p && q && all_zero(p, 1u << 20) && all_zero(q, 40));
        if (p && q) {
            memset(p, 0xAA, 1u << 20);
            memset(q, 0xAA, 40);
        }
        om_arena_rewind(&a, mark);
    }
    CHECK_INT(t, a.used, 16);
    CHECK_STR(t, kept, "kept");

    const struct om_mark again =
        om_arena_mark(&a); /* within one chunk: the same memory, zeroed again */
    uint8_t *p = om_arena_alloc(&a, 64);
    memset(p, 0xAA, 64);
    om_arena_rewind(&a, again);
    CHECK(t, om_arena_alloc(&a, 64) == p && all_zero(p, 64));
    om_arena_release(&a);

    const struct om_mark empty = om_arena_mark(&a);
    CHECK(t, om_arena_alloc(&a, 64) != NULL);
    om_arena_rewind(&a, empty);
    CHECK(t, a.chunk == NULL && a.used == 0);
}

const struct test_entry t_arena[] = { { "aligned_and_zeroed", aligned_and_zeroed },
                                      { "maximum", maximum },
                                      { "text", text },
                                      { "rewind_gives_back", rewind_gives_back },
                                      TEST_END };
