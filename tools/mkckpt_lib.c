/* tools/mkckpt_lib.c: regenerate a checkpoint from names, shapes and a formula. */
#include "tools/mkckpt_lib.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/half.h"
#include "base/json.h"
#include "base/thread.h"
#include "ckpt/ckpt.h"

#define CHUNK ((size_t)1 << 21) /* elements made before they are written */
#define GRAIN ((size_t)1 << 15) /* elements worth a thread */
#define BATCH ((size_t)1 << 10) /* elements converted at once */

/* Where the values of a tensor come from; its name, target dtype and shape are in a struct
 * om_tensor. */
struct spec {
    enum om_dtype
        dtype; /* as described: a 16-bit value is rounded before it is converted further */
    uint64_t seed;
    double scale, offset;
    const struct om_json *data; /* literal values, or NULL: the formula */
    size_t count;
};

struct maker {
    struct om_arena arena;
    const struct mkckpt_opts *opts;
    const char *out_dir;
    struct om_tensor *tensors;
    struct spec *specs;
    size_t n;
    uint8_t *chunk; /* CHUNK elements of any dtype */
};

/* --- the description --- */

static bool is_float(enum om_dtype d)
{
    return d == OM_F32 || d == OM_F16 || d == OM_BF16 || d == OM_F64;
}

static int read_shape(struct maker *m, const struct om_json *v, struct om_tensor *t,
                      struct om_error *err)
{
    const size_t rank = om_json_len(v);
    int64_t *dims = om_arena_array(&m->arena, OM_MAX(rank, 1), sizeof(*dims));

    if (!dims)
        return om_fail(err, OM_E_NOMEM, "shape: out of memory");
    if (om_json_kind(v) != OM_JSON_ARRAY)
        return om_fail(err, OM_E_FORMAT, "shape: expected a list");
    for (size_t i = 0; i < rank; i++)
        if (!om_json_i64(om_json_at(v, i), &dims[i]) || dims[i] < 0)
            return om_fail(err, OM_E_FORMAT, "shape[%zu]: expected an integer from 0", i);
    t->rank = (uint32_t)rank;
    t->dims = rank > 0 ? dims : NULL;
    return 0;
}

static int read_values(const struct om_json *v, struct spec *s, struct om_error *err)
{
    s->data = om_json_get(v, "data");
    if (s->data) {
        if (om_json_kind(s->data) != OM_JSON_ARRAY || om_json_len(s->data) != s->count)
            return om_fail(err, OM_E_FORMAT, "data: expected a list of %zu values, found %zu",
                           s->count, om_json_len(s->data));
        return 0;
    }
    if (!om_json_f64(om_json_get(v, "scale"), &s->scale) ||
        !om_json_f64(om_json_get(v, "offset"), &s->offset))
        return om_fail(err, OM_E_FORMAT, "expected scale and offset, or data");
    if (!is_float(s->dtype) || s->dtype == OM_F64)
        return om_fail(err, OM_E_FORMAT, "the formula gives F32, F16 and BF16, found %s",
                       om_dtype_safetensors(s->dtype));
    return 0;
}

static int read_tensor(struct maker *m, om_sv name, const struct om_json *v, struct om_tensor *t,
                       struct spec *s, struct om_error *err)
{
    om_sv dtype = { NULL, 0 };
    uint64_t bytes;

    t->name = om_arena_str(&m->arena, name);
    if (!t->name)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    om_json_str(om_json_get(v, "dtype"), &dtype);
    s->dtype = om_dtype_from_safetensors(dtype);
    if (s->dtype == OM_DTYPE_NONE)
        return om_fail(err, OM_E_FORMAT, "dtype: expected one of safetensors, found \"%.*s\"",
                       OM_SV(dtype));
    OM_TRY(read_shape(m, om_json_get(v, "shape"), t, err));
    t->dtype = m->opts->dtype != OM_DTYPE_NONE && is_float(s->dtype) ? m->opts->dtype : s->dtype;
    if (!om_tensor_bytes(t, &bytes) || bytes > SIZE_MAX)
        return om_fail(err, OM_E_LIMIT, "shape is too large");
    s->count = (size_t)bytes / om_dtype_size(t->dtype);
    s->seed = om_sv_hash(name);
    return read_values(v, s, err);
}

static int read_description(struct maker *m, const struct om_json *doc, struct om_error *err)
{
    const struct om_json *list = om_json_get(doc, "tensors");
    const size_t n = om_json_len(list);
    struct om_json_iter it = { 0 };

    if (om_json_kind(list) != OM_JSON_OBJECT)
        return om_fail(err, OM_E_FORMAT, "key \"tensors\": expected an object");
    m->tensors = om_arena_array(&m->arena, OM_MAX(n, 1), sizeof(*m->tensors));
    m->specs = om_arena_array(&m->arena, OM_MAX(n, 1), sizeof(*m->specs));
    if (!m->tensors || !m->specs)
        return om_fail(err, OM_E_NOMEM, "out of memory for %zu tensors", n);
    while (om_json_next(list, &it)) {
        const int rc = read_tensor(m, it.key, it.value, &m->tensors[m->n], &m->specs[m->n], err);

        if (rc < 0)
            return om_wrap(err, rc, "tensor \"%.*s\"", OM_SV(it.key));
        m->n++;
    }
    return 0;
}

/* --- values --- */

/* A random number in [-1, 1) for index i: SplitMix64 seeded by the name. */
static double noise(uint64_t seed, uint64_t i)
{
    uint64_t z = seed + (i + 1) * UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    return (double)(int64_t)(z >> 40) / 8388608.0 - 1.0;
}

struct fill {
    const struct spec *spec;
    enum om_dtype dtype;
    uint64_t first; /* index of the chunk's first element */
    uint8_t *out;
};

static void fill_f32(const struct spec *s, uint64_t first, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(s->offset + s->scale * noise(s->seed, first + i));
}

/* Elements [begin, end) of the chunk; runs on several threads. */
static void fill_range(void *user, size_t begin, size_t end)
{
    const struct fill *f = user;
    const size_t size = om_dtype_size(f->dtype);

    for (size_t at = begin; at < end; at += BATCH) {
        const size_t n = OM_MIN(BATCH, end - at);
        uint16_t described[BATCH];
        float x[BATCH];

        fill_f32(f->spec, f->first + at, n, x);
        if (f->spec->dtype != OM_F32) {
            om_convert(described, f->spec->dtype, x, OM_F32, n);
            om_convert(x, OM_F32, described, f->spec->dtype, n);
        }
        if (f->dtype == OM_F32)
            memcpy(f->out + at * size, x, n * size);
        else
            om_convert(f->out + at * size, f->dtype, x, OM_F32, n);
    }
}

static int write_formula(struct maker *m, struct om_out *o, const struct om_tensor *t,
                         const struct spec *s, struct om_error *err)
{
    for (size_t at = 0; at < s->count; at += CHUNK) {
        const size_t n = OM_MIN(CHUNK, s->count - at);
        struct fill f = { .spec = s, .dtype = t->dtype, .first = at, .out = m->chunk };

        om_parallel(n, GRAIN, fill_range, &f);
        OM_TRY(om_out_write(o, m->chunk, n * om_dtype_size(t->dtype), err));
    }
    return 0;
}

/* Value i of the literal data: floats as double, everything else as int64. */
static bool literal(const struct spec *s, size_t i, double *real, int64_t *integer)
{
    const struct om_json *v = om_json_at(s->data, i);
    bool b;

    if (is_float(s->dtype))
        return om_json_f64(v, real);
    if (!om_json_bool(v, &b))
        return om_json_i64(v, integer);
    *integer = b;
    return true;
}

static int write_literal(struct maker *m, struct om_out *o, const struct om_tensor *t,
                         const struct spec *s, struct om_error *err)
{
    const size_t size = om_dtype_size(t->dtype);

    for (size_t at = 0; at < s->count; at++) {
        const bool real = is_float(s->dtype);
        double x = 0;
        int64_t k = 0;
        uint8_t described[8];

        if (!literal(s, at, &x, &k))
            return om_fail(err, OM_E_FORMAT, "tensor \"%s\": data[%zu]: expected a %s", t->name, at,
                           real ? "number" : "integer");
        om_convert(described, s->dtype, real ? (const void *)&x : &k, real ? OM_F64 : OM_I64, 1);
        om_convert(m->chunk, t->dtype, described, s->dtype, 1);
        OM_TRY(om_out_write(o, m->chunk, size, err));
    }
    return 0;
}

/* --- files --- */

/* One safetensors file with tensors [begin, end), described by header and order. */
static int write_tensors(struct maker *m, struct om_out *o, size_t begin,
                         const struct om_buf *header, const size_t *order, size_t n,
                         struct om_error *err)
{
    OM_TRY(om_out_write(o, header->ptr, header->len, err));
    for (size_t i = 0; i < n; i++) {
        const struct om_tensor *t = &m->tensors[begin + order[i]];
        const struct spec *s = &m->specs[begin + order[i]];

        OM_TRY(s->data ? write_literal(m, o, t, s, err) : write_formula(m, o, t, s, err));
    }
    return om_out_commit(o, false, err);
}

static int write_file(struct maker *m, const char *name, size_t begin, size_t end,
                      struct om_error *err)
{
    const size_t n = end - begin;
    size_t *order = om_arena_array(&m->arena, OM_MAX(n, 1), sizeof(*order));
    struct om_buf header = OM_BUF_INIT(SIZE_MAX / 2);
    struct om_out o = OM_OUT_INIT;
    int rc;

    if (!order)
        return om_fail(err, OM_E_NOMEM, "%s: out of memory", name);
    /* Transformers wants to be told which framework saved the file. */
    rc = om_safetensors_header(&header, m->tensors + begin, n, "{\"format\":\"pt\"}", order, err);
    if (rc == 0)
        rc = om_out_open(&o, m->out_dir, name, NULL, err);
    if (rc == 0)
        rc = write_tensors(m, &o, begin, &header, order, n, err);
    om_out_abort(&o);
    om_buf_release(&header);
    return rc;
}

static int write_text(const char *dir, const char *name, const struct om_buf *text,
                      struct om_error *err)
{
    struct om_out o = OM_OUT_INIT;
    int rc;

    OM_TRY(om_buf_check(text, err));
    OM_TRY(om_out_open(&o, dir, name, NULL, err));
    rc = om_out_write(&o, text->ptr, text->len, err);
    if (rc == 0)
        rc = om_out_commit(&o, false, err);
    om_out_abort(&o);
    return rc;
}

static uint64_t bytes_of(const struct om_tensor *t)
{
    uint64_t bytes = 0;

    om_tensor_bytes(t, &bytes); /* checked when the description was read */
    return bytes;
}

/* The end of the shard that begins at begin: its share of the bytes, and at least one tensor for
 * each that follows. */
static size_t shard_end(const struct maker *m, size_t begin, size_t shards_left)
{
    uint64_t left = 0, sum = 0;
    size_t end = begin;

    if (shards_left == 1)
        return m->n;
    for (size_t i = begin; i < m->n; i++)
        left += bytes_of(&m->tensors[i]);
    do
        sum += bytes_of(&m->tensors[end++]);
    while (sum < left / shards_left && m->n - end >= shards_left);
    return end;
}

static int write_shards(struct maker *m, struct om_buf *index, struct om_error *err)
{
    const size_t shards = m->opts->shards;
    uint64_t total = 0;
    size_t begin = 0;

    if (m->n < shards)
        return om_fail(err, OM_E_USAGE, "%zu tensors do not fill %zu shards", m->n, shards);
    for (size_t i = 0; i < m->n; i++)
        total += bytes_of(&m->tensors[i]);
    om_buf_printf(index, "{\"metadata\":{\"total_size\":%" PRIu64 "},\"weight_map\":{", total);
    for (size_t k = 0; k < shards; k++) {
        const size_t end = shard_end(m, begin, shards - k);
        const char *name =
            om_arena_printf(&m->arena, "model-%05zu-of-%05zu.safetensors", k + 1, shards);

        if (!name)
            return om_fail(err, OM_E_NOMEM, "out of memory");
        OM_TRY(write_file(m, name, begin, end, err));
        for (size_t i = begin; i < end; i++) {
            om_buf_adds(index, i > 0 ? ",\n" : "\n");
            om_buf_json_string(index, om_sv_str(m->tensors[i].name));
            om_buf_printf(index, ":\"%s\"", name);
        }
        begin = end;
    }
    om_buf_adds(index, "\n}}\n");
    return write_text(m->out_dir, "model.safetensors.index.json", index, err);
}

static int write_weights(struct maker *m, const char *description, struct om_error *err)
{
    struct om_buf index = OM_BUF_INIT(SIZE_MAX / 2);
    struct om_json *doc = NULL;
    int rc;

    m->chunk = om_arena_alloc(&m->arena, CHUNK * sizeof(double));
    if (!m->chunk)
        return om_fail(err, OM_E_NOMEM, "%s: out of memory", description);
    OM_TRY(om_json_read(description, OM_JSON_NO_DUPLICATES, &doc, err));
    rc = om_wrap(err, read_description(m, doc, err), "%s", description);
    if (rc == 0)
        rc = m->opts->shards > 0 ? write_shards(m, &index, err)
                                 : write_file(m, "model.safetensors", 0, m->n, err);
    om_json_free(doc);
    om_buf_release(&index);
    return rc;
}

static int copy_file(const char *from, const char *dir, const char *name, struct om_error *err)
{
    struct om_file in = OM_FILE_INIT;
    struct om_out o = OM_OUT_INIT;
    int rc;

    OM_TRY(om_file_map(&in, from, err));
    rc = om_out_open(&o, dir, name, NULL, err);
    if (rc == 0)
        rc = om_out_copy(&o, &in, 0, in.size, err);
    if (rc == 0)
        rc = om_out_commit(&o, false, err);
    om_out_abort(&o);
    om_file_unmap(&in);
    return rc;
}

/* Whether name belongs to the golden and not to the checkpoint. */
static bool stays_behind(const char *name)
{
    const om_sv s = om_sv_str(name);

    return om_sv_is(s, "tensors.json") || om_sv_is(s, "signature.json") ||
           om_sv_ends(s, OM_SVL(".safetensors"));
}

static int make_dir(const char *golden, const char *out_dir, const struct mkckpt_opts *opts,
                    bool required, struct om_error *err);

static int make_entry(struct maker *m, const char *golden, const char *name, struct om_error *err)
{
    const char *from = om_path_join(&m->arena, golden, name);
    const char *to = om_path_join(&m->arena, m->out_dir, name);

    if (!from || !to)
        return om_fail(err, OM_E_NOMEM, "%s/%s: out of memory", golden, name);
    if (om_dir_exists(from))
        return make_dir(from, to, m->opts, false, err);
    return stays_behind(name) ? 0 : copy_file(from, m->out_dir, name, err);
}

static int make_all(struct maker *m, const char *golden, bool required, struct om_error *err)
{
    const char *description = om_path_join(&m->arena, golden, "tensors.json");
    const char **names = NULL;
    size_t n = 0;

    if (!description)
        return om_fail(err, OM_E_NOMEM, "%s: out of memory", golden);
    OM_TRY(om_dir_list(&m->arena, golden, &names, &n, err));
    OM_TRY(om_dir_make(m->out_dir, err));
    for (size_t i = 0; i < n; i++)
        OM_TRY(make_entry(m, golden, names[i], err));
    if (required || om_file_exists(description))
        return write_weights(m, description, err);
    return 0;
}

static int make_dir(const char *golden, const char *out_dir, const struct mkckpt_opts *opts,
                    bool required, struct om_error *err)
{
    struct maker m = { .arena = OM_ARENA_INIT(SIZE_MAX), .opts = opts, .out_dir = out_dir };
    const int rc = make_all(&m, golden, required, err);

    om_arena_release(&m.arena);
    return rc;
}

int mkckpt_run(const char *golden_dir, const char *out_dir, const struct mkckpt_opts *opts,
               struct om_error *err)
{
    return make_dir(golden_dir, out_dir, opts, true, err);
}
