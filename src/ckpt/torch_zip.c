/* src/ckpt/torch_zip.c: torch.save since 1.6: a zip archive NAME/ with data.pkl, one member
 * data/KEY per storage, version and byteorder (torch/serialization.py,
 * caffe2/serialize/inline_container.h). */
#include "ckpt/torch.h"
#include "ckpt/zip.h"

#define VERSION_MAX 10          /* kMaxSupportedFileFormatVersion */
#define PICKLE_MAX (256u << 20) /* before it is inflated; that of 100 000 tensors has 12 MB */

struct archive {
    struct om_zip zip;
    om_sv name; /* what all members are below */
};

static const struct om_zip_member *find(struct torch_reader *t, const struct archive *x,
                                        const char *dir, om_sv name)
{
    const struct om_mark mark = om_arena_mark(t->scratch);
    const char *path = om_arena_printf(t->scratch, "%.*s/%s%.*s", OM_SV(x->name), dir, OM_SV(name));
    const struct om_zip_member *m = path ? om_zip_find(&x->zip, om_sv_str(path)) : NULL;

    om_arena_rewind(t->scratch, mark);
    return m;
}

/* A deflated member gets a file of its own. */
static int inflate_member(struct torch_reader *t, const struct archive *x,
                          const struct om_zip_member *m, struct torch_place *out)
{
    struct om_ckpt_temp *temp = om_arena_alloc(t->arena, sizeof(*temp));

    if (!temp)
        return om_fail(t->err, OM_E_NOMEM, "out of memory");
    temp->file = (struct om_file)OM_FILE_INIT;
    OM_TRY(om_zip_inflate(&x->zip, m, &temp->file, t->err));
    temp->next = *t->temps;
    *t->temps = temp;
    *out = (struct torch_place){ .file = &temp->file, .bytes = temp->file.size };
    return 0;
}

static int open_member(struct torch_reader *t, const struct archive *x,
                       const struct om_zip_member *m, struct torch_place *out)
{
    char shown[PK_SHOWN];

    if (m->deflated)
        return om_wrap(t->err, inflate_member(t, x, m, out), "member %s",
                       om_pk_show(shown, m->name));
    *out = (struct torch_place){ .file = t->file, .offset = m->offset, .bytes = m->size };
    return 0;
}

/* An empty file has no mapping. */
static om_sv place_bytes(const struct torch_place *p)
{
    if (p->bytes == 0)
        return (om_sv){ "", 0 };
    return (om_sv){ (const char *)p->file->data + p->offset, (size_t)p->bytes };
}

static int read_small(struct torch_reader *t, const struct archive *x, const char *name, om_sv *out)
{
    const struct om_zip_member *m = find(t, x, "", om_sv_str(name));
    struct torch_place place;

    if (!m)
        return 0;
    if (m->size > 64)
        return om_fail(t->err, OM_E_FORMAT, "record \"%s\" has %" PRIu64 " bytes", name, m->size);
    OM_TRY(open_member(t, x, m, &place));
    *out = om_sv_trim(place_bytes(&place));
    return 0;
}

static int check_records(struct torch_reader *t, const struct archive *x)
{
    om_sv version = { NULL, 0 }, order = OM_SVL("little");
    char shown[PK_SHOWN];
    int64_t number;

    if (find(t, x, "", OM_SVL("constants.pkl")))
        return om_fail(t->err, OM_E_UNSUPPORTED,
                       "a TorchScript archive, which holds a program, expected a state_dict");
    OM_TRY(read_small(t, x, "version", &version));
    if (!om_sv_i64(version, &number))
        return om_fail(t->err, OM_E_FORMAT, "record \"version\": expected a number, found \"%s\"",
                       om_pk_show(shown, version));
    if (number > VERSION_MAX)
        return om_fail(t->err, OM_E_UNSUPPORTED, "archive version %" PRId64 ", expected at most %d",
                       number, VERSION_MAX);
    OM_TRY(read_small(t, x, "byteorder", &order));
    if (om_sv_is(order, "big"))
        return om_fail(t->err, OM_E_UNSUPPORTED, "weights are stored big-endian");
    if (!om_sv_is(order, "little"))
        return om_fail(t->err, OM_E_FORMAT,
                       "record \"byteorder\": expected \"little\", found \"%s\"",
                       om_pk_show(shown, order));
    return 0;
}

/* The archive's name is that of its first member up to the slash. */
static int find_name(struct torch_reader *t, struct archive *x)
{
    om_sv rest;

    if (x->zip.len == 0)
        return om_fail(t->err, OM_E_FORMAT, "zip archive without members");
    rest = x->zip.members[0].name;
    if (!om_sv_split(&rest, '/', &x->name) || !find(t, x, "", OM_SVL("data.pkl")))
        return om_fail(t->err, OM_E_FORMAT,
                       "zip archive without data.pkl, so not one of torch.save");
    return 0;
}

static int place_storage(struct torch_reader *t, const struct archive *x,
                         const struct pk_storage *s, struct torch_place *out)
{
    const struct om_zip_member *m = find(t, x, "data/", s->key);
    char key[PK_SHOWN];
    uint64_t bytes = 0;

    OM_TRY(om_torch_storage_bytes(t, s, &bytes));
    if (!m)
        return om_fail(t->err, OM_E_FORMAT, "storage \"%s\" is not in the archive",
                       om_pk_show(key, s->key));
    if (m->size != bytes)
        return om_fail(t->err, OM_E_FORMAT,
                       "storage \"%s\": %" PRIu64 " bytes in the pickle, %" PRIu64
                       " in the archive",
                       om_pk_show(key, s->key), bytes, m->size);
    return open_member(t, x, m, out);
}

static int read_archive(struct torch_reader *t, struct archive *x)
{
    const struct om_zip_member *m;
    struct torch_place pickle;

    OM_TRY(om_zip_open(t->scratch, t->file, &x->zip, t->err));
    OM_TRY(find_name(t, x));
    OM_TRY(check_records(t, x));
    m = find(t, x, "", OM_SVL("data.pkl"));
    if (m->size > PICKLE_MAX)
        return om_fail(t->err, OM_E_LIMIT, "data.pkl has %" PRIu64 " bytes, at most %u", m->size,
                       PICKLE_MAX);
    OM_TRY(open_member(t, x, m, &pickle));
    OM_TRY(om_torch_load(t, place_bytes(&pickle)));
    for (size_t i = 0; i < t->doc.n_storages; i++)
        OM_TRY(place_storage(t, x, t->doc.storages[i], &t->places[i]));
    return 0;
}

int om_torch_read_zip(struct torch_reader *t)
{
    struct archive x = { .name = { NULL, 0 } };
    const int rc = read_archive(t, &x);

    om_zip_release(&x.zip);
    return rc;
}
