/* src/onnx/tensor.c: TensorProto in all its forms (raw bytes, typed fields, external files) as
 * views. */
#include "onnx/read.h"

#include <limits.h>
#include <stdlib.h>

#include "onnx/pb.h"
#include "onnx/schema.h"

struct tensor {
    om_sv name;
    int64_t data_type, location;
    om_sv raw;
    size_t n_segments;
};

#define RULE(number_, kind_, member, name_)                                          \
    {                                                                                \
        .number = (number_), .kind = (kind_), .at = offsetof(struct tensor, member), \
        .name = (name_)                                                              \
    }

static const struct om_pb_rule tensor_rules[] = {
    RULE(PB_TENSOR_NAME, OM_PB_TEXT, name, "name"),
    RULE(PB_TENSOR_DATA_TYPE, OM_PB_INT, data_type, "data_type"),
    RULE(PB_TENSOR_DATA_LOCATION, OM_PB_INT, location, "data_location"),
    RULE(PB_TENSOR_RAW_DATA, OM_PB_BYTES, raw, "raw_data"),
    RULE(PB_TENSOR_SEGMENT, OM_PB_COUNT, n_segments, "segment"),
};

/* --- typed fields --- */

/* Which field holds elements of a dtype, and how wide one is on the wire (0: varint). */
struct typed {
    uint32_t number;
    size_t width;
    const char *name;
};

static struct typed typed_field(enum om_dtype dtype)
{
    switch (dtype) {
    case OM_F32:
        return (struct typed){ PB_TENSOR_FLOAT_DATA, 4, "float_data" };
    case OM_F64:
        return (struct typed){ PB_TENSOR_DOUBLE_DATA, 8, "double_data" };
    case OM_I64:
        return (struct typed){ PB_TENSOR_INT64_DATA, 0, "int64_data" };
    case OM_U32:
    case OM_U64:
        return (struct typed){ PB_TENSOR_UINT64_DATA, 0, "uint64_data" };
    case OM_U8:
    case OM_I8:
    case OM_U16:
    case OM_I16:
    case OM_I32:
    case OM_BOOL:
    case OM_F16:
    case OM_BF16:
        return (struct typed){ PB_TENSOR_INT32_DATA, 0, "int32_data" };
    case OM_DTYPE_NONE:
    case OM_DTYPE_COUNT:
        break;
    }
    return (struct typed){ 0, 0, "" };
}

/* Does a varint fit an element of size bytes, read as signed or as unsigned? */
static bool fits(uint64_t v, size_t size)
{
    const int64_t s = (int64_t)v;
    const unsigned bits = (unsigned)size * 8;

    return size >= 8 || (s >= -(INT64_C(1) << (bits - 1)) && s < INT64_C(1) << bits);
}

/* The elements of the typed field, little-endian, into n * size bytes. */
static int copy_typed(om_sv msg, const struct typed *t, uint8_t *out, size_t n, size_t size,
                      struct om_error *err)
{
    struct om_wire_field f;
    size_t i = 0;
    int rc, more;

    while ((rc = om_pb_next(&msg, t->number, &f, err)) > 0) {
        uint64_t v;

        while ((more = om_pb_element(&f, t->width, &v, err)) > 0) {
            if (t->width == 0 && !fits(v, size))
                return om_fail(err, OM_E_FORMAT, "%s: element %zu is out of range", t->name, i);
            if (i < n)
                memcpy(out + i * size, &v, size);
            i++;
        }
        OM_TRY(more);
    }
    OM_TRY(rc);
    if (i != n)
        return om_fail(err, OM_E_FORMAT, "%s has %zu elements, the shape needs %zu", t->name, i, n);
    return 0;
}

static int read_typed(struct om_arena *a, om_sv msg, struct om_weight *w, struct om_error *err)
{
    const struct typed t = typed_field(w->dtype);
    const size_t size = om_dtype_size(w->dtype);
    uint8_t *data;

    if (w->bytes / size >
        msg.len) /* an element takes a byte or more: nothing is allocated for a lie */
        return om_fail(err, OM_E_FORMAT,
                       "the shape needs %" PRIu64 " elements, the tensor has none",
                       w->bytes / size);
    data = om_arena_alloc(a, (size_t)w->bytes);
    if (!data)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    w->data = data;
    return copy_typed(msg, &t, data, (size_t)w->bytes / size, size, err);
}

/* --- external files --- */

struct external {
    om_sv location, offset, length;
};

static int read_entry(om_sv msg, struct external *e, struct om_error *err)
{
    struct entry {
        om_sv key, value;
    } kv = { { "", 0 }, { "", 0 } };
    static const struct om_pb_rule rules[] = {
        { PB_ENTRY_KEY, OM_PB_TEXT, offsetof(struct entry, key), "key" },
        { PB_ENTRY_VALUE, OM_PB_TEXT, offsetof(struct entry, value), "value" },
    };

    OM_TRY(om_pb_read(msg, rules, OM_COUNT(rules), &kv, err));
    if (om_sv_is(kv.key, "location"))
        e->location = kv.value;
    else if (om_sv_is(kv.key, "offset"))
        e->offset = kv.value;
    else if (om_sv_is(kv.key, "length"))
        e->length = kv.value;
    return 0; /* others, such as checksum, do not say where the data is */
}

/* A location is relative and stays below the model's directory. */
static int check_location(om_sv location, struct om_error *err)
{
    om_sv rest = location, part;

    if (location.len == 0)
        return om_fail(err, OM_E_FORMAT, "external data without a location");
    if (location.ptr[0] == '/')
        return om_fail(err, OM_E_FORMAT, "location \"%.*s\" is absolute, expected a relative path",
                       OM_SV(location));
    while (om_sv_split(&rest, '/', &part))
        if (om_sv_is(part, ".."))
            return om_fail(err, OM_E_FORMAT, "location \"%.*s\" leaves the model's directory",
                           OM_SV(location));
    return 0;
}

static bool is_inside(const char *dir, const char *path)
{
    const size_t n = strlen(dir);

    if (n == 1 && dir[0] == '/')
        return true;
    return strncmp(dir, path, n) == 0 && path[n] == '/';
}

static int map_external(struct om_onnx_file *f, om_sv location, struct om_onnx_external *x,
                        struct om_error *err)
{
    const char *name = om_arena_str(f->arena, location);
    const char *path = name ? om_path_join(f->arena, f->dir, name) : NULL;
    char *real;
    bool inside;

    if (!path)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    real = realpath(path, NULL);
    if (!real)
        return om_fail(err, OM_E_MISSING, "%s: no such file", path);
    inside = is_inside(f->dir, real);
    free(real);
    if (!inside)
        return om_fail(err, OM_E_FORMAT,
                       "location \"%.*s\" is a link that leaves the model's directory",
                       OM_SV(location));
    return om_file_map(&x->file, path, err);
}

/* The mapping of a location, made when it is first asked for. */
static int find_external(struct om_onnx_file *f, om_sv location, const struct om_file **out,
                         struct om_error *err)
{
    struct om_onnx_external *x;

    for (x = f->externals; x; x = x->next) {
        if (om_sv_eq(x->location, location)) {
            *out = &x->file;
            return 0;
        }
    }
    OM_TRY(check_location(location, err));
    if (!f->dir)
        return om_fail(err, OM_E_UNSUPPORTED, "external data needs the model's directory");
    x = om_arena_alloc(f->arena, sizeof(*x));
    if (!x)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    x->location = location;
    OM_TRY(map_external(f, location, x, err));
    x->next = f->externals;
    f->externals = x;
    *out = &x->file;
    return 0;
}

static int parse_number(om_sv text, const char *what, uint64_t *out, struct om_error *err)
{
    int64_t v = 0;

    if (text.len == 0)
        return 0;
    if (!om_sv_i64(text, &v) || v < 0)
        return om_fail(err, OM_E_FORMAT, "external data: %s is \"%.*s\", expected a number", what,
                       OM_SV(text));
    *out = (uint64_t)v;
    return 0;
}

int om_onnx_read_external(struct om_onnx_file *f, om_sv msg, struct om_weight *w,
                          struct om_error *err)
{
    struct external e = { { "", 0 }, { "", 0 }, { "", 0 } };
    const struct om_file *file = NULL;
    uint64_t offset = 0, length;
    om_sv rest = msg, entry;
    int rc;

    while ((rc = om_pb_next_bytes(&rest, PB_TENSOR_EXTERNAL_DATA, &entry, err)) > 0)
        OM_TRY(om_wrap(err, read_entry(entry, &e, err), "external_data"));
    OM_TRY(rc);
    OM_TRY(find_external(f, e.location, &file, err));
    OM_TRY(parse_number(e.offset, "offset", &offset, err));
    if (offset > file->size)
        return om_fail(err, OM_E_FORMAT, "%s: offset %" PRIu64 ", the file has %" PRIu64 " bytes",
                       file->path, offset, file->size);
    length = file->size - offset;
    OM_TRY(parse_number(e.length, "length", &length, err));
    if (length > file->size - offset)
        return om_fail(err, OM_E_FORMAT,
                       "%s: %" PRIu64 " bytes at offset %" PRIu64 ", the file has %" PRIu64,
                       file->path, length, offset, file->size);
    if (e.length.len > 0 ? length != w->bytes : length < w->bytes)
        return om_fail(err, OM_E_FORMAT,
                       "%s: the shape needs %" PRIu64 " bytes, external data gives %" PRIu64,
                       file->path, w->bytes, length);
    w->file = file;
    w->offset = offset;
    w->data = file->data ? file->data + offset : NULL;
    return 0;
}

/* --- the tensor --- */

static int read_shape(struct om_arena *a, om_sv msg, struct om_weight *w, struct om_error *err)
{
    int64_t dims[OM_RANK_MAX], count;
    size_t n;

    OM_TRY(om_pb_ints(msg, PB_TENSOR_DIMS, dims, OM_RANK_MAX, &n, err));
    if (n > OM_RANK_MAX)
        return om_fail(err, OM_E_UNSUPPORTED, "%zu axes, at most %d are supported", n, OM_RANK_MAX);
    if (!om_count(dims, n, &count) ||
        !om_mul_u64((uint64_t)count, om_dtype_size(w->dtype), &w->bytes) || w->bytes > INT64_MAX)
        return om_fail(err, OM_E_FORMAT, "the shape is negative or too large");
    w->rank = (uint32_t)n;
    w->dims = om_arena_copy(a, dims, n * sizeof(dims[0]));
    return w->dims || n == 0 ? 0 : om_fail(err, OM_E_NOMEM, "out of memory");
}

static int read_raw(const struct om_onnx_file *f, om_sv raw, struct om_weight *w,
                    struct om_error *err)
{
    if (raw.len != w->bytes)
        return om_fail(err, OM_E_FORMAT, "the shape needs %" PRIu64 " bytes, raw_data has %zu",
                       w->bytes, raw.len);
    w->data = raw.ptr;
    if (w->bytes >=
        OM_ONNX_INLINE_MAX) { /* smaller ones count as computed, which most of them are */
        w->file = f->model;
        w->offset = (uint64_t)((const uint8_t *)raw.ptr - f->model->data);
    }
    return 0;
}

static int read_data(struct om_onnx_file *f, om_sv msg, const struct tensor *t, bool external,
                     struct om_weight *w, struct om_error *err)
{
    if (t->location == PB_LOCATION_EXTERNAL) {
        if (!external)
            return om_fail(err, OM_E_UNSUPPORTED, "external data in an attribute");
        return om_onnx_read_external(f, msg, w, err);
    }
    if (t->location != PB_LOCATION_DEFAULT)
        return om_fail(err, OM_E_FORMAT, "data_location %" PRId64 " is not known", t->location);
    if (t->raw.ptr)
        return read_raw(f, t->raw, w, err);
    return read_typed(f->arena, msg, w, err);
}

int om_onnx_read_tensor(struct om_onnx_file *f, om_sv msg, bool external, struct om_weight *out,
                        struct om_error *err)
{
    struct tensor t = { .location = PB_LOCATION_DEFAULT };
    struct om_weight w = { .dtype = OM_DTYPE_NONE };
    int rc = om_pb_read(msg, tensor_rules, OM_COUNT(tensor_rules), &t, err);

    if (rc == 0 && t.n_segments > 0)
        rc = om_fail(err, OM_E_UNSUPPORTED, "a tensor in segments");
    if (rc == 0) {
        w.dtype = t.data_type == (int32_t)t.data_type ? om_dtype_from_onnx((int32_t)t.data_type)
                                                      : OM_DTYPE_NONE;
        if (w.dtype == OM_DTYPE_NONE)
            rc = om_fail(err, OM_E_UNSUPPORTED, "element type %" PRId64, t.data_type);
    }
    w.src_dtype = w.dtype;
    w.name = t.name;
    if (rc == 0)
        rc = read_shape(f->arena, msg, &w, err);
    if (rc == 0)
        rc = read_data(f, msg, &t, external, &w, err);
    if (rc < 0)
        return om_wrap(err, rc, "tensor \"%.*s\"", OM_SV(t.name));
    *out = w;
    return 0;
}

int om_onnx_read_packed(struct om_onnx_file *f, om_sv msg, uint64_t bytes, bool external,
                        struct om_weight *out, struct om_error *err)
{
    struct tensor t = { .location = PB_LOCATION_DEFAULT };
    struct om_weight w = { .dtype = OM_U8, .src_dtype = OM_U8, .rank = 1, .bytes = bytes };
    int64_t *dims;
    int rc = om_pb_read(msg, tensor_rules, OM_COUNT(tensor_rules), &t, err);

    w.name = t.name;
    if (rc == 0 && t.n_segments > 0)
        rc = om_fail(err, OM_E_UNSUPPORTED, "a tensor in segments");
    dims = om_arena_alloc(f->arena, sizeof(*dims));
    if (rc == 0 && !dims)
        rc = om_fail(err, OM_E_NOMEM, "out of memory");
    if (rc == 0) {
        *dims = (int64_t)bytes;
        w.dims = dims;
        rc = read_data(f, msg, &t, external, &w, err);
    }
    if (rc < 0)
        return om_wrap(err, rc, "tensor \"%.*s\"", OM_SV(t.name));
    *out = w;
    return 0;
}
