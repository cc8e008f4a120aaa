/* tests/unit/t_thread.c: every item exactly once, whatever the sizes. */
#include "base/thread.h"
#include "test.h"

#include <stdatomic.h>

enum { MOST = 10007 };

struct counts {
    atomic_int seen[MOST];
    atomic_int calls;
    size_t grain;
    atomic_bool short_range;
};

static void count(void *user, size_t begin, size_t end)
{
    struct counts *c = user;

    atomic_fetch_add(&c->calls, 1);
    if (end - begin < c->grain)
        atomic_store(&c->short_range, true);
    for (size_t i = begin; i < end; i++)
        atomic_fetch_add(&c->seen[i], 1);
}

static void covers_once(struct test *t)
{
    static const size_t sizes[] = { 0, 1, 2, 3, 63, 64, 65, 1000, MOST };
    static const size_t grains[] = { 0, 1, 32, 5000, SIZE_MAX };
    static struct counts c;

    for (size_t k = 0; k < OM_COUNT(sizes) * OM_COUNT(grains); k++) {
        const size_t n = sizes[k / OM_COUNT(grains)], grain = grains[k % OM_COUNT(grains)];
        size_t wrong = 0;
        memset(&c, 0, sizeof(c));
        c.grain = OM_MIN(grain, n);
        om_parallel(n, grain, count, &c);
        for (size_t i = 0; i < MOST; i++)
            wrong += c.seen[i] != (i < n);
        test_case(t, "%zu items, grain %zu", n, grain);
        CHECK_INT(t, wrong, 0);
        CHECK(t, !c.short_range);
        if (n > 0 && n < 2 * grain)
            CHECK_INT(t, c.calls, 1);
    }
    CHECK(t, om_cpu_count() >= 1);
}

const struct test_entry t_thread[] = { { "covers_once", covers_once }, TEST_END };
