/* src/ckpt/torch_legacy.c: torch.save before 1.6: pickles of a magic number, a protocol version,
 * facts about the machine, the object and the storages' keys, followed by each storage: its number
 * of elements and its bytes (torch/serialization.py, _legacy_save). */
#include "ckpt/torch.h"

#define PROTOCOL 1001

/* 0x1950a86a20f9469cfc6c */
static const uint8_t magic[] = { 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19 };

static om_sv rest_of(const struct torch_reader *t, uint64_t at)
{
    return (om_sv){ (const char *)t->file->data + at, (size_t)(t->file->size - at) };
}

/* The pickle at *at, which moves behind it. */
static int next_pickle(struct torch_reader *t, uint64_t *at, struct pk_doc *doc)
{
    OM_TRY(om_pk_load(t->scratch, rest_of(t, *at), doc, t->err));
    *at += doc->used;
    return 0;
}

static int check_preamble(struct torch_reader *t, uint64_t *at)
{
    const struct pk_value *little;
    struct pk_doc doc;

    OM_TRY(next_pickle(t, at, &doc));
    if (doc.root.kind != PK_LONG ||
        !om_sv_eq(doc.root.text, (om_sv){ (const char *)magic, sizeof(magic) }))
        return om_fail(t->err, OM_E_FORMAT, "a pickle, but not one of torch.save");
    OM_TRY(om_wrap(t->err, next_pickle(t, at, &doc), "protocol version"));
    if (doc.root.kind != PK_INT || doc.root.i != PROTOCOL)
        return om_fail(t->err, OM_E_UNSUPPORTED, "protocol version: expected %d", PROTOCOL);
    OM_TRY(om_wrap(t->err, next_pickle(t, at, &doc), "system facts"));
    little = om_pk_get(&doc.root, "little_endian");
    if (!little || little->kind != PK_BOOL)
        return om_fail(t->err, OM_E_FORMAT, "system facts do not tell the byte order");
    return little->i ? 0 : om_fail(t->err, OM_E_UNSUPPORTED, "weights are stored big-endian");
}

/* The number of elements and the bytes of one storage at *at. */
static int place_storage(struct torch_reader *t, const struct pk_storage *s, uint64_t *at,
                         struct torch_place *out)
{
    const uint64_t left = t->file->size - *at;
    uint64_t bytes = 0;

    OM_TRY(om_torch_storage_bytes(t, s, &bytes));
    if (left < 8 || bytes > left - 8)
        return om_fail(t->err, OM_E_FORMAT,
                       "needs %" PRIu64 " bytes, the file has %" PRIu64 " left (truncated?)", bytes,
                       left);
    if (om_le64(t->file->data + *at) != s->numel)
        return om_fail(t->err, OM_E_FORMAT,
                       "%" PRIu64 " elements in the pickle, %" PRIu64 " before the data", s->numel,
                       om_le64(t->file->data + *at));
    *out = (struct torch_place){ .file = t->file, .offset = *at + 8, .bytes = bytes };
    *at += 8 + bytes;
    return 0;
}

/* The storage of a key, by the index that the pickle machine gave it. */
static int find_storage(struct torch_reader *t, const struct om_map *by_key,
                        const struct pk_value *key, uint32_t *i)
{
    char shown[PK_SHOWN];

    if (key->kind != PK_TEXT)
        return om_fail(t->err, OM_E_FORMAT, "storage keys: expected a str, found %s",
                       om_pk_kind_text(key->kind));
    if (!om_map_get(by_key, key->text, i) || t->places[*i].file)
        return om_fail(t->err, OM_E_FORMAT, "storage keys: \"%s\" %s", om_pk_show(shown, key->text),
                       om_map_get(by_key, key->text, NULL) ? "is there twice"
                                                           : "is not in the pickle");
    return 0;
}

/* The data follow in the order of the list of keys. */
static int place_storages(struct torch_reader *t, const struct om_map *by_key,
                          const struct pk_value *keys, uint64_t at)
{
    if (keys->kind != PK_LIST || keys->seq->len != t->doc.n_storages)
        return om_fail(t->err, OM_E_FORMAT, "storage keys: expected a list of %zu",
                       t->doc.n_storages);
    for (size_t k = 0; k < keys->seq->len; k++) {
        char shown[PK_SHOWN];
        uint32_t i = 0;
        int rc;

        OM_TRY(find_storage(t, by_key, &keys->seq->items[k], &i));
        rc = place_storage(t, t->doc.storages[i], &at, &t->places[i]);
        if (rc < 0)
            return om_wrap(t->err, rc, "storage \"%s\"",
                           om_pk_show(shown, t->doc.storages[i]->key));
    }
    return 0;
}

int om_torch_read_legacy(struct torch_reader *t)
{
    struct om_map by_key = OM_MAP_INIT;
    struct pk_doc keys;
    uint64_t at = 0;
    int rc = 0;

    OM_TRY(check_preamble(t, &at));
    OM_TRY(om_torch_load(t, rest_of(t, at)));
    at += t->doc.used;
    OM_TRY(om_wrap(t->err, next_pickle(t, &at, &keys), "storage keys"));
    for (size_t i = 0; i < t->doc.n_storages && rc == 0; i++)
        if (om_map_put(&by_key, t->doc.storages[i]->key, (uint32_t)i) < 0)
            rc = om_fail(t->err, OM_E_NOMEM, "out of memory for the storages");
    if (rc == 0)
        rc = place_storages(t, &by_key, &keys.root, at);
    om_map_release(&by_key);
    return rc;
}
