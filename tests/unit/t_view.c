/* tests/unit/t_view.c: strided views: which are contiguous, how far they reach, how they fold. */
#include "base/arena.h"
#include "base/view.h"
#include "test.h"

struct view_case {
    size_t rank;
    int64_t dims[4], strides[4];
    bool dense;
    int64_t extent; /* -1: refused */
    const char *walk;
};

static const struct view_case cases[] = {
    { 0, { 0 }, { 0 }, true, 1, "" },
    { 1, { 5 }, { 1 }, true, 5, "5*1" },
    { 1, { 5 }, { 2 }, false, 9, "5*2" },
    { 1, { 5 }, { 0 }, false, 1, "5*0" },
    { 1, { 1 }, { 7 }, true, 1, "" },
    { 2, { 3, 4 }, { 4, 1 }, true, 12, "12*1" },
    { 2, { 3, 4 }, { 1, 3 }, false, 12, "3*1 4*3" },
    { 2, { 3, 4 }, { 8, 2 }, false, 23, "12*2" },
    { 2, { 3, 4 }, { 5, 1 }, false, 14, "3*5 4*1" },
    { 2, { 3, 4 }, { 0, 1 }, false, 4, "3*0 4*1" },
    { 2, { 3, 4 }, { 0, 0 }, false, 1, "12*0" },
    { 3, { 2, 1, 4 }, { 4, 99, 1 }, true, 8, "8*1" },
    { 3, { 2, 3, 4 }, { 12, 1, 3 }, false, 24, "2*12 3*1 4*3" },
    { 4, { 2, 3, 4, 5 }, { 120, 40, 5, 1 }, false, 220, "6*40 20*1" },
    { 2, { 0, 4 }, { 9, 9 }, true, 0, NULL },
    { 2, { 3, 4 }, { -4, 1 }, false, -1, NULL },
    { 2, { INT64_MAX, 2 }, { 1, 1 }, false, -1, NULL },
    { 1, { 3 }, { INT64_MAX }, false, -1, NULL },
    { 2, { 2, 2 }, { INT64_MAX - 1, 1 }, false, -1, NULL },
    { 1, { 2 }, { INT64_MAX - 1 }, false, INT64_MAX, "2*9223372036854775806" },
};

static const char *walk_text(struct om_arena *a, const struct om_walk *w)
{
    const char *text = "";

    for (uint64_t i = 0; i < w->rank; i++)
        text = om_arena_printf(a, "%s%s%" PRId64 "*%" PRId64, text, i > 0 ? " " : "", w->dims[i],
                               w->strides[i]);
    return text;
}

static void strided(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const struct view_case *c = &cases[i];
        int64_t extent = -1;
        struct om_walk w;

        test_case(t, "%zu", i);
        CHECK_INT(t, om_view_dense(c->dims, c->strides, c->rank), c->dense);
        CHECK_INT(t, om_view_extent(c->dims, c->strides, c->rank, &extent), c->extent >= 0);
        CHECK_INT(t, extent, c->extent);
        if (!c->walk)
            continue;
        om_walk_init(&w, c->dims, c->strides, (uint32_t)c->rank);
        CHECK_STR(t, walk_text(&a, &w), c->walk);
    }
    om_arena_release(&a);
}

static void row_major(struct test *t)
{
    static const int64_t dims[] = { 3, 4, 5 }, negative[] = { 3, -1 };
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    int64_t extent = -1;
    struct om_walk w;

    CHECK(t, om_view_dense(dims, NULL, 3));
    CHECK(t, om_view_extent(dims, NULL, 3, &extent));
    CHECK_INT(t, extent, 60);
    CHECK(t, !om_view_extent(negative, NULL, 2, &extent));
    om_walk_init(&w, dims, NULL, 3);
    CHECK_STR(t, walk_text(&a, &w), "60*1");
    om_arena_release(&a);
}

const struct test_entry t_view[] = { { "strided", strided }, { "row major", row_major }, TEST_END };
