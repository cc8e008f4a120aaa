/* tests/unit/t_map.c: insert, replace, look up, many keys. */
#include "base/arena.h"
#include "base/map.h"
#include "test.h"

static void replaces(struct test *t)
{
    struct om_map m = OM_MAP_INIT;
    uint32_t v = 9;

    CHECK(t, !om_map_get(&m, OM_SVL("a"), &v) && v == 9);
    CHECK_INT(t, om_map_put(&m, OM_SVL("a"), 1), 0);
    CHECK_INT(t, om_map_put(&m, OM_SVL(""), 2), 0);
    CHECK_INT(t, om_map_put(&m, OM_SVL("a"), 3), 0);
    CHECK_INT(t, om_map_put(&m, (om_sv){ "a\0b", 3 }, 4), 0);
    CHECK_INT(t, m.len, 3);
    CHECK(t, om_map_get(&m, OM_SVL("a"), &v) && v == 3);
    CHECK(t, om_map_get(&m, (om_sv){ NULL, 0 }, &v) && v == 2);
    CHECK(t, om_map_get(&m, (om_sv){ "a\0b", 3 }, &v) && v == 4);
    CHECK(t, om_map_get(&m, OM_SVL("a"), NULL));
    CHECK(t, !om_map_get(&m, OM_SVL("b"), NULL));
    om_map_release(&m);
    CHECK(t, m.len == 0 && !om_map_get(&m, OM_SVL("a"), NULL));
    om_map_release(&m);
}

static void many(struct test *t)
{
    enum { N = 20000 };
    struct om_arena a = OM_ARENA_INIT(16u << 20);
    struct om_map m = OM_MAP_INIT;
    const char **names = om_arena_array(&a, N, sizeof(*names));
    size_t wrong = 0;

    for (uint32_t i = 0; i < N; i++) {
        names[i] = om_arena_printf(&a, "model.layers.%" PRIu32 ".weight", i);
        wrong += om_map_put(&m, om_sv_str(names[i]), i) != 0;
    }
    for (uint32_t i = 0; i < N; i++) {
        uint32_t v = 0;
        wrong += !om_map_get(&m, om_sv_str(names[i]), &v) || v != i;
        wrong += om_map_get(&m, (om_sv){ names[i], strlen(names[i]) - 1 }, NULL);
    }
    CHECK_INT(t, wrong, 0);
    CHECK_INT(t, m.len, N);
    om_map_release(&m);
    om_arena_release(&a);
}

const struct test_entry t_map[] = { { "replaces", replaces }, { "many", many }, TEST_END };
