/* src/ckpt/safetensors.c: the header of a safetensors file, read as hostile input.
 *
 * The rules are those of the format's reference implementation
 * (https://github.com/huggingface/safetensors): what it refuses is refused here, gaps between
 * tensors included. */
#include "ckpt/internal.h"

#include <stdlib.h>

#include "base/json.h"
#include "ckpt/tf_names.h"

#define LENGTH_BYTES 8
#define HEADER_MAX 100000000u /* the limit of the reference implementation */

/* Weights are used where they lie, so the machine must agree with the file. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors data is little-endian");

struct header {
    struct om_arena *arena;
    const struct om_file *file;
    uint64_t data_at, data_len; /* the data part of the file */
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for the tensor table");
}

/* Locate the JSON text and the data behind it. */
static int find_header(struct header *h, om_sv *text, struct om_error *err)
{
    const struct om_file *f = h->file;
    uint64_t len;

    if (f->size < LENGTH_BYTES)
        return om_fail(err, OM_E_FORMAT, "not a safetensors file: it has only %" PRIu64 " bytes",
                       f->size);
    if (om_ckpt_is_lfs_pointer(f))
        return om_fail(err, OM_E_FORMAT, OM_CKPT_LFS_TEXT);
    len = om_le64(f->data);
    if (len > HEADER_MAX)
        return om_fail(err, OM_E_FORMAT,
                       "not a safetensors file: header length %" PRIu64 " is above %u", len,
                       HEADER_MAX);
    if (len > f->size - LENGTH_BYTES)
        return om_fail(err, OM_E_FORMAT,
                       "header needs %" PRIu64 " bytes, file has %" PRIu64 " left", len,
                       f->size - LENGTH_BYTES);
    *text = (om_sv){ (const char *)f->data + LENGTH_BYTES, (size_t)len };
    h->data_at = LENGTH_BYTES + len;
    h->data_len = f->size - h->data_at;
    return 0;
}

static int read_dtype(const struct om_json *v, struct om_ckpt_tensor *t, struct om_error *err)
{
    om_sv name;

    if (!om_json_str(v, &name))
        return om_fail(err, OM_E_FORMAT, "dtype: expected a string, found %s",
                       v ? om_json_kind_text(v) : "nothing");
    t->dtype = om_dtype_from_safetensors(name);
    if (t->dtype == OM_DTYPE_NONE)
        return om_fail(err, OM_E_UNSUPPORTED, "unsupported dtype %.*s", (int)OM_MIN(name.len, 32),
                       name.ptr);
    return 0;
}

/* A non-negative integer; what and at name it in the message. */
static int read_size(const struct om_json *v, const char *what, size_t at, int64_t *out,
                     struct om_error *err)
{
    int64_t n;

    if (!om_json_i64(v, &n))
        return om_fail(err, OM_E_FORMAT, "%s[%zu]: expected an integer, found %s", what, at,
                       om_json_kind_text(v));
    if (n < 0)
        return om_fail(err, OM_E_FORMAT, "%s[%zu]: expected an integer from 0, found %" PRId64,
                       what, at, n);
    *out = n;
    return 0;
}

static int read_shape(const struct header *h, const struct om_json *v, struct om_ckpt_tensor *t,
                      struct om_error *err)
{
    const size_t rank = om_json_len(v);
    int64_t *dims;

    if (!v || om_json_kind(v) != OM_JSON_ARRAY)
        return om_fail(err, OM_E_FORMAT, "shape: expected a list, found %s",
                       v ? om_json_kind_text(v) : "nothing");
    if (rank == 0) /* a scalar: dims stays NULL */
        return 0;
    dims = om_arena_array(h->arena, rank, sizeof(*dims));
    if (!dims)
        return no_memory(err);
    for (size_t i = 0; i < rank; i++)
        OM_TRY(read_size(om_json_at(v, i), "shape", i, &dims[i], err));
    t->rank = (uint32_t)rank; /* the header is far shorter than 4 GiB */
    t->dims = dims;
    return 0;
}

static int read_range(const struct header *h, const struct om_json *v, struct om_ckpt_tensor *t,
                      struct om_error *err)
{
    int64_t begin = 0, end = 0;

    if (!v || om_json_kind(v) != OM_JSON_ARRAY || om_json_len(v) != 2)
        return om_fail(err, OM_E_FORMAT, "data_offsets: expected a list of two integers");
    OM_TRY(read_size(om_json_at(v, 0), "data_offsets", 0, &begin, err));
    OM_TRY(read_size(om_json_at(v, 1), "data_offsets", 1, &end, err));
    if (begin > end)
        return om_fail(err, OM_E_FORMAT, "data_offsets: begin %" PRId64 " lies behind end %" PRId64,
                       begin, end);
    if ((uint64_t)end > h->data_len)
        return om_fail(err, OM_E_FORMAT,
                       "data ends at byte %" PRId64 ", the file's data has %" PRIu64
                       " (truncated?)",
                       end, h->data_len);
    t->offset = h->data_at + (uint64_t)begin;
    t->bytes = (uint64_t)(end - begin);
    return 0;
}

static int check_size(const struct om_ckpt_tensor *t, struct om_error *err)
{
    const struct om_tensor shape = { .dtype = t->dtype, .rank = t->rank, .dims = t->dims };
    uint64_t need;

    if (!om_tensor_bytes(&shape, &need))
        return om_fail(err, OM_E_FORMAT, "shape is too large");
    if (need != t->bytes)
        return om_fail(err, OM_E_FORMAT, "shape needs %" PRIu64 " bytes, file gives %" PRIu64, need,
                       t->bytes);
    return 0;
}

static int read_tensor(const struct header *h, om_sv name, const struct om_json *v,
                       struct om_ckpt_tensor *t, struct om_error *err)
{
    const char *copy = om_arena_str(h->arena, name);

    if (!copy)
        return no_memory(err);
    t->name = (om_sv){ copy, name.len };
    t->file = h->file;
    if (om_json_kind(v) != OM_JSON_OBJECT)
        return om_fail(err, OM_E_FORMAT, "expected an object, found %s", om_json_kind_text(v));
    OM_TRY(read_dtype(om_json_get(v, "dtype"), t, err));
    OM_TRY(read_shape(h, om_json_get(v, "shape"), t, err));
    OM_TRY(read_range(h, om_json_get(v, "data_offsets"), t, err));
    return check_size(t, err);
}

static int by_offset(const void *a, const void *b)
{
    const struct om_ckpt_tensor *x = a, *y = b;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->bytes != y->bytes) /* an empty tensor precedes the one that starts where it lies */
        return x->bytes < y->bytes ? -1 : 1;
    return om_sv_cmp(x->name, y->name);
}

/* With the tensors sorted: each starts where the one before ends, the last at the end of the file.
 */
static int check_cover(const struct header *h, const struct om_ckpt_tensor *tensors, size_t n,
                       struct om_error *err)
{
    uint64_t at = h->data_at;

    for (size_t i = 0; i < n; i++) {
        const struct om_ckpt_tensor *t = &tensors[i];

        if (t->offset != at)
            return om_fail(err, OM_E_FORMAT,
                           "tensor \"%.*s\": data starts at byte %" PRIu64 ", expected %" PRIu64
                           " (%s)",
                           OM_SV(t->name), t->offset - h->data_at, at - h->data_at,
                           t->offset < at ? "tensors overlap" : "a gap between tensors");
        at += t->bytes;
    }
    if (at != h->data_at + h->data_len)
        return om_fail(err, OM_E_FORMAT,
                       "%" PRIu64 " bytes of data belong to tensors, file has %" PRIu64,
                       at - h->data_at, h->data_len);
    return 0;
}

/* The models of TensorFlow leave their own names and axes, and say so. */
static bool is_tensorflow(const struct om_json *doc)
{
    om_sv format;

    return om_json_str(om_json_get(om_json_get(doc, "__metadata__"), "format"), &format) &&
           om_sv_is(format, "tf");
}

static int read_tensors(const struct header *h, const struct om_json *doc,
                        struct om_ckpt_tensor **tensors, size_t *len, struct om_error *err)
{
    const bool tensorflow = is_tensorflow(doc);
    struct om_json_iter it = { 0 };
    struct om_ckpt_tensor *t;
    size_t n = 0;

    if (om_json_kind(doc) != OM_JSON_OBJECT)
        return om_fail(err, OM_E_FORMAT, "header: expected an object, found %s",
                       om_json_kind_text(doc));
    t = om_arena_array(h->arena, OM_MAX(om_json_len(doc), 1), sizeof(*t));
    if (!t)
        return no_memory(err);
    while (om_json_next(doc, &it)) {
        int rc;

        if (om_sv_is(it.key, "__metadata__"))
            continue;
        rc = read_tensor(h, it.key, it.value, &t[n++], err);
        if (rc < 0)
            return om_wrap(err, rc, "tensor \"%.*s\"", (int)OM_MIN(it.key.len, 200), it.key.ptr);
    }
    qsort(t, n, sizeof(*t), by_offset);
    OM_TRY(check_cover(h, t, n, err));
    for (size_t i = 0; tensorflow && i < n; i++)
        OM_TRY(om_tf_tensor(h->arena, &t[i], t[i].name, om_tf_scoped(t[i].name), err));
    *tensors = t;
    *len = n;
    return 0;
}

int om_safetensors_parse(struct om_arena *a, const struct om_file *file,
                         struct om_ckpt_tensor **tensors, size_t *len, struct om_error *err)
{
    struct header h = { .arena = a, .file = file };
    struct om_json *doc = NULL;
    om_sv text;
    int rc;

    OM_TRY(find_header(&h, &text, err));
    rc = om_json_parse(text, OM_JSON_NO_DUPLICATES, &doc, err);
    if (rc < 0)
        return om_wrap(err, rc, "header");
    rc = read_tensors(&h, doc, tensors, len, err);
    om_json_free(doc);
    return rc;
}
