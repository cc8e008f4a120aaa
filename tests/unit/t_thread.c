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

/* ---- the pipeline ---- */

struct belt {
    atomic_int slots[8]; /* the item in it + 1, 0: free */
    size_t n_slots;
    size_t used; /* items, in order */
    size_t fail_at;
    atomic_int made, wrong;
};

static void make_item(void *user, size_t slot, size_t item)
{
    struct belt *b = user;

    atomic_fetch_add(&b->made, 1);
    if (slot >= b->n_slots || atomic_exchange(&b->slots[slot], (int)item + 1) != 0)
        atomic_fetch_add(&b->wrong, 1);
}

static int use_item(void *user, size_t slot, size_t item)
{
    struct belt *b = user;

    if (item != b->used || slot >= b->n_slots ||
        atomic_exchange(&b->slots[slot], 0) != (int)item + 1)
        atomic_fetch_add(&b->wrong, 1);
    b->used++;
    return item == b->fail_at ? OM_E_IO : 0;
}

static void pipeline(struct test *t)
{
    static const size_t sizes[] = { 0, 1, 2, 3, 8, 9, 1000 }, slots[] = { 1, 2, 8 };

    for (size_t k = 0; k < OM_COUNT(sizes) * OM_COUNT(slots) * 2; k++) {
        const size_t n = sizes[k / 2 % OM_COUNT(sizes)];
        const bool fails = k % 2 == 1 && n > 0;
        struct belt b = { .n_slots = slots[k / 2 / OM_COUNT(sizes)],
                          .fail_at = fails ? n / 2 : SIZE_MAX };
        const struct om_relay p = {
            .n = n, .slots = b.n_slots, .make = make_item, .use = use_item, .user = &b
        };

        test_case(t, "%zu items, %zu slots, %s", n, b.n_slots, fails ? "fails" : "works");
        CHECK_INT(t, om_relay_run(&p), fails ? OM_E_IO : 0);
        CHECK_INT(t, b.used, fails ? n / 2 + 1 : n);
        CHECK(t, fails || (size_t)b.made == n);
        CHECK(t, (size_t)b.made <= b.used + b.n_slots);
        CHECK_INT(t, b.wrong, 0);
    }
}

const struct test_entry t_thread[] = { { "covers_once", covers_once },
                                       { "pipeline", pipeline },
                                       TEST_END };
