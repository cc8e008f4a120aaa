/* src/base/map.c: open addressing with linear probing, at most half full. */
#include "base/map.h"

#include <stdlib.h>

struct om_map_slot {
    om_sv key;
    uint32_t hash;
    uint32_t value;
    bool used;
};

void om_map_release(struct om_map *m)
{
    free(m->slots);
    *m = (struct om_map)OM_MAP_INIT;
}

/* Keys come from files. Mixing in where the table lies keeps prepared collisions from working. */
static uint32_t slot_hash(const struct om_map_slot *slots, om_sv key)
{
    uint64_t h = 0xCBF29CE484222325u ^ (uint64_t)(uintptr_t)slots * 0x9E3779B97F4A7C15u;

    for (size_t i = 0; i < key.len; i++)
        h = (h ^ (uint8_t)key.ptr[i]) * 0x100000001B3u;
    return (uint32_t)(h ^ h >> 32);
}

/* The slot that holds key, or the empty one where it belongs. cap is a power of two. */
static struct om_map_slot *slot_find(struct om_map_slot *slots, size_t cap, om_sv key)
{
    const uint32_t hash = slot_hash(slots, key);
    size_t i = hash & (cap - 1);

    while (slots[i].used && (slots[i].hash != hash || !om_sv_eq(slots[i].key, key)))
        i = (i + 1) & (cap - 1);
    slots[i].hash = hash;
    return &slots[i];
}

static bool map_grow(struct om_map *m)
{
    const size_t cap = m->cap ? m->cap * 2 : 16;
    struct om_map_slot *slots = cap > m->cap ? calloc(cap, sizeof(*slots)) : NULL;

    if (!slots)
        return false;
    for (size_t i = 0; i < m->cap; i++) {
        if (!m->slots[i].used)
            continue;
        struct om_map_slot *s = slot_find(slots, cap, m->slots[i].key);
        s->key = m->slots[i].key;
        s->value = m->slots[i].value;
        s->used = true;
    }
    free(m->slots);
    m->slots = slots;
    m->cap = cap;
    return true;
}

int om_map_put(struct om_map *m, om_sv key, uint32_t value)
{
    if (m->len >= m->cap / 2 && !map_grow(m))
        return OM_E_NOMEM;
    struct om_map_slot *s = slot_find(m->slots, m->cap, key);
    m->len += !s->used;
    s->key = key;
    s->value = value;
    s->used = true;
    return 0;
}

bool om_map_get(const struct om_map *m, om_sv key, uint32_t *value)
{
    if (m->cap == 0)
        return false;
    const uint32_t hash = slot_hash(m->slots, key);
    for (size_t i = hash & (m->cap - 1); m->slots[i].used; i = (i + 1) & (m->cap - 1)) {
        if (m->slots[i].hash != hash || !om_sv_eq(m->slots[i].key, key))
            continue;
        if (value)
            *value = m->slots[i].value;
        return true;
    }
    return false;
}
