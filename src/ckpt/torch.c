/* src/ckpt/torch.c: the tensors of a state_dict as views of the storages that a file of torch.save
 * holds. */
#include "ckpt/torch.h"

#include <stdlib.h>

#include "base/view.h"
#include "ckpt/internal.h"

/* A model of 100 000 tensors has a pickle of 12 MB, which takes 60 MB here. */
#define PICKLE_MEMORY ((size_t)256 << 20)

int om_torch_load(struct torch_reader *t, om_sv bytes)
{
    OM_TRY(om_pk_load(t->scratch, bytes, &t->doc, t->err));
    t->places = om_arena_array(t->scratch, t->doc.n_storages + 1, sizeof(*t->places));
    return t->places ? 0 : om_fail(t->err, OM_E_NOMEM, "out of memory for the storages");
}

int om_torch_storage_bytes(struct torch_reader *t, const struct pk_storage *s, uint64_t *bytes)
{
    char key[PK_SHOWN];

    if (!om_mul_u64(s->numel, om_pk_storage_elem(s), bytes))
        return om_fail(t->err, OM_E_FORMAT, "storage \"%s\" is too large", om_pk_show(key, s->key));
    return 0;
}

/* ---- which dict ---- */

static size_t count_tensors(const struct pk_value *v)
{
    size_t n = 0;

    if (v->kind != PK_DICT)
        return 0;
    for (size_t i = 1; i < v->seq->len; i += 2)
        n += v->seq->items[i].kind == PK_TENSOR;
    return n;
}

/* The state_dict within a training checkpoint such as {"state_dict": {...}, "epoch": 1}; several
 * says why there is none.
 */
static const struct pk_value *find_nested(const struct pk_value *root, bool *several)
{
    static const char *const usual[] = { "state_dict", "model_state_dict", "model" };
    const struct pk_value *only = NULL;

    for (size_t i = 0; i < OM_COUNT(usual); i++) {
        const struct pk_value *v = om_pk_get(root, usual[i]);

        if (v && count_tensors(v) > 0)
            return v;
    }
    for (size_t i = 1; root->kind == PK_DICT && i < root->seq->len; i += 2) {
        if (count_tensors(&root->seq->items[i]) == 0)
            continue;
        *several = only != NULL;
        if (only)
            return NULL;
        only = &root->seq->items[i];
    }
    return only;
}

static int find_state_dict(struct torch_reader *t, const struct pk_value **out)
{
    const struct pk_value *root = &t->doc.root;
    bool several = false;

    if (count_tensors(root) == 0 && !(root->kind == PK_DICT && root->seq->len == 0))
        root = find_nested(root, &several);
    if (several)
        return om_fail(t->err, OM_E_UNSUPPORTED,
                       "pickle holds several dicts of tensors, none of them named \"state_dict\"");
    if (!root)
        return om_fail(t->err, OM_E_UNSUPPORTED,
                       "pickle holds %s, expected a state_dict with tensors",
                       om_pk_kind_text(t->doc.root.kind));
    *out = root;
    return 0;
}

/* ---- tensors ---- */

/* Every element must lie within the storage, which lies within its file. */
static int place_view(struct torch_reader *t, const struct pk_tensor *p, struct om_ckpt_tensor *out)
{
    const struct torch_place *place = &t->places[p->storage->index];
    const struct om_tensor shape = { .dtype = p->dtype, .rank = p->rank, .dims = p->dims };
    const size_t elem = om_dtype_size(p->dtype);
    uint64_t first, begin, end, base;
    int64_t extent;

    if (!om_tensor_bytes(&shape, &out->bytes) ||
        !om_view_extent(p->dims, p->strides, p->rank, &extent) ||
        !om_mul_u64(p->storage->first, om_pk_storage_elem(p->storage), &base) ||
        !om_mul_u64((uint64_t)p->offset, elem, &first) || !om_add_u64(base, first, &begin) ||
        !om_mul_u64((uint64_t)extent, elem, &end) || !om_add_u64(begin, end, &end))
        return om_fail(t->err, OM_E_FORMAT, "shape is too large");
    if (extent == 0)
        begin = end = 0;
    if (end > place->bytes)
        return om_fail(t->err, OM_E_FORMAT,
                       "reaches byte %" PRIu64 " of its storage, which has %" PRIu64, end,
                       place->bytes);
    out->file = place->file;
    out->offset = place->offset + begin;
    return 0;
}

static int copy_axes(struct torch_reader *t, const struct pk_tensor *p, struct om_ckpt_tensor *out)
{
    if (p->rank == 0)
        return 0;
    out->rank = p->rank;
    out->dims = om_arena_copy(t->arena, p->dims, p->rank * sizeof(*p->dims));
    if (!out->dims)
        return om_fail(t->err, OM_E_NOMEM, "out of memory");
    if (om_view_dense(p->dims, p->strides, p->rank))
        return 0;
    out->strides = om_arena_copy(t->arena, p->strides, p->rank * sizeof(*p->strides));
    return out->strides ? 0 : om_fail(t->err, OM_E_NOMEM, "out of memory");
}

static int make_tensor(struct torch_reader *t, om_sv name, const struct pk_tensor *p,
                       struct om_ckpt_tensor *out)
{
    const char *copy = om_arena_str(t->arena, name);

    if (!copy)
        return om_fail(t->err, OM_E_NOMEM, "out of memory");
    if (p->dtype == OM_DTYPE_NONE)
        return om_fail(t->err, OM_E_UNSUPPORTED, "unsupported dtype %s", p->dtype_text);
    *out = (struct om_ckpt_tensor){ .name = { copy, name.len }, .dtype = p->dtype };
    OM_TRY(place_view(t, p, out));
    return copy_axes(t, p, out);
}

/* A key that is set twice keeps its place and takes the last value, as in Python. */
static int slot_of(struct torch_reader *t, struct om_map *seen, om_sv name, size_t n,
                   uint32_t *slot)
{
    if (om_map_get(seen, name, slot))
        return 0;
    *slot = (uint32_t)n;
    if (n >= UINT32_MAX || om_map_put(seen, name, *slot) < 0)
        return om_fail(t->err, OM_E_NOMEM, "out of memory for the tensor names");
    return 0;
}

static int make_tensors(struct torch_reader *t, const struct pk_value *dict, struct om_map *seen,
                        struct om_ckpt_tensor *out, size_t *len)
{
    for (size_t i = 0; i < dict->seq->len; i += 2) {
        const struct pk_value *key = &dict->seq->items[i], *v = key + 1;
        char shown[PK_SHOWN];
        uint32_t slot = 0;
        int rc;

        if (v->kind != PK_TENSOR)
            continue;
        if (key->kind != PK_TEXT || !om_utf8_valid(key->text))
            return om_fail(t->err, OM_E_FORMAT, "a tensor's name is %s, expected a str in UTF-8",
                           om_pk_kind_text(key->kind));
        OM_TRY(slot_of(t, seen, key->text, *len, &slot));
        rc = make_tensor(t, key->text, v->tensor, &out[slot]);
        if (rc < 0)
            return om_wrap(t->err, rc, "tensor \"%s\"", om_pk_show(shown, key->text));
        *len = OM_MAX(*len, (size_t)slot + 1);
    }
    return 0;
}

static int read_tensors(struct torch_reader *t, struct om_ckpt_tensor **tensors, size_t *len)
{
    const struct pk_value *dict = NULL;
    struct om_map seen = OM_MAP_INIT;
    struct om_ckpt_tensor *out;
    size_t n = 0;
    int rc;

    OM_TRY(find_state_dict(t, &dict));
    out = om_arena_array(t->arena, OM_MAX(count_tensors(dict), 1), sizeof(*out));
    if (!out)
        return om_fail(t->err, OM_E_NOMEM, "out of memory for the tensor table");
    rc = make_tensors(t, dict, &seen, out, &n);
    om_map_release(&seen);
    if (rc < 0)
        return rc;
    *tensors = out;
    *len = n;
    return 0;
}

/* ---- the file ---- */

static int read_container(struct torch_reader *t)
{
    const struct om_file *f = t->file;
    const uint8_t *p = f->data;

    if (f->size >= 4 && om_le32(p) == 0x04034b50) /* PK 3 4 */
        return om_torch_read_zip(t);
    if (om_ckpt_is_lfs_pointer(f))
        return om_fail(t->err, OM_E_FORMAT, OM_CKPT_LFS_TEXT);
    if (f->size >= 512 && memcmp(p + 257, "ustar", 5) == 0)
        return om_fail(
            t->err, OM_E_UNSUPPORTED,
            "the tar format of PyTorch before 0.1.10 is not read: load and save it again");
    if (f->size >= 2 && p[0] == 0x80)
        return om_torch_read_legacy(t);
    return om_fail(t->err, OM_E_FORMAT,
                   "not a file of torch.save: neither a zip archive nor a pickle");
}

int om_torch_parse(struct om_arena *a, const struct om_file *file, struct om_ckpt_temp **temps,
                   struct om_ckpt_tensor **tensors, size_t *len, struct om_error *err)
{
    struct om_arena scratch = OM_ARENA_INIT(PICKLE_MEMORY);
    struct torch_reader t = {
        .arena = a, .scratch = &scratch, .file = file, .temps = temps, .err = err
    };
    int rc = read_container(&t);

    if (rc == 0)
        rc = read_tensors(&t, tensors, len);
    om_arena_release(&scratch);
    return rc;
}
