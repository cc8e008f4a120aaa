/* src/ckpt/safetensors_write.c: write a safetensors file. */
#include "ckpt/ckpt.h"

#include <stdlib.h>

#define HEADER_MAX ((size_t)100000000)
#define ALIGNMENT 8

/* The order of the data: a stable pass per element size, so that no tensor needs padding. */
static void order_by_size(const struct om_tensor *tensors, size_t n, size_t *order)
{
    size_t len = 0;

    for (size_t size = 8; size > 0; size /= 2)
        for (size_t i = 0; i < n; i++)
            if (om_dtype_size(tensors[i].dtype) == size)
                order[len++] = i;
}

static void add_tensor(struct om_buf *b, const struct om_tensor *t, uint64_t begin, uint64_t end)
{
    om_buf_json_string(b, om_sv_str(t->name));
    om_buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", om_dtype_safetensors(t->dtype));
    for (uint32_t i = 0; i < t->rank; i++)
        om_buf_printf(b, "%s%" PRId64, i ? "," : "", t->dims[i]);
    om_buf_printf(b, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, end);
}

static int add_tensors(struct om_buf *b, const struct om_tensor *tensors, size_t n,
                       const size_t *order, bool more, struct om_error *err)
{
    uint64_t at = 0;

    for (size_t i = 0; i < n; i++) {
        const struct om_tensor *t = &tensors[order[i]];
        uint64_t bytes, end;

        if (!om_tensor_bytes(t, &bytes) || !om_add_u64(at, bytes, &end) || end > INT64_MAX)
            return om_fail(err, OM_E_LIMIT, "tensor \"%s\": too large for a safetensors file",
                           t->name);
        if (more || i > 0)
            om_buf_addc(b, ',');
        add_tensor(b, t, at, end);
        at = end;
    }
    return 0;
}

static int check_tensors(const struct om_tensor *tensors, size_t n, struct om_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!tensors[i].name || !om_utf8_valid(om_sv_str(tensors[i].name)))
            return om_fail(err, OM_E_USAGE, "tensor %zu: its name is not UTF-8", i);
        if (om_dtype_size(tensors[i].dtype) == 0)
            return om_fail(err, OM_E_USAGE, "tensor \"%s\": it has no dtype", tensors[i].name);
    }
    return 0;
}

int om_safetensors_header(struct om_buf *b, const struct om_tensor *tensors, size_t n,
                          const char *metadata, size_t *order, struct om_error *err)
{
    static const uint8_t zero[8];
    const size_t start = b->len;
    uint64_t len;

    OM_TRY(check_tensors(tensors, n, err));
    order_by_size(tensors, n, order);
    om_buf_add(b, zero, sizeof(zero));
    om_buf_addc(b, '{');
    if (metadata)
        om_buf_printf(b, "\"__metadata__\":%s", metadata);
    OM_TRY(add_tensors(b, tensors, n, order, metadata != NULL, err));
    om_buf_addc(b, '}');
    while (!b->failed && (b->len - start) % ALIGNMENT != 0)
        om_buf_addc(b, ' ');
    OM_TRY(om_buf_check(b, err));
    len = b->len - start - sizeof(zero);
    if (len > HEADER_MAX)
        return om_fail(err, OM_E_LIMIT, "%zu tensors: the header would pass %zu bytes", n,
                       HEADER_MAX);
    for (size_t i = 0; i < sizeof(zero); i++)
        b->ptr[start + i] = (char)(len >> (8 * i));
    return 0;
}

static int write_data(struct om_out *o, const struct om_tensor *tensors, size_t n,
                      const size_t *order, struct om_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct om_tensor *t = &tensors[order[i]];
        uint64_t bytes;

        if (!om_tensor_bytes(t, &bytes) || bytes > SIZE_MAX)
            return om_fail(err, OM_E_LIMIT, "tensor \"%s\": too large", t->name);
        OM_TRY(om_out_write(o, t->data, (size_t)bytes, err));
    }
    return 0;
}

static int write_file(struct om_arena *a, const char *path, const struct om_tensor *tensors,
                      size_t n, struct om_buf *header, struct om_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *dir = slash == path ? "/" : ".";
    struct om_out o = OM_OUT_INIT;
    size_t *order = om_arena_array(a, OM_MAX(n, 1), sizeof(*order));
    int rc;

    if (slash && slash != path)
        dir = om_arena_str(a, (om_sv){ path, (size_t)(slash - path) });
    if (!order || !dir)
        return om_fail(err, OM_E_NOMEM, "%s: out of memory", path);
    rc = om_safetensors_header(header, tensors, n, NULL, order, err);
    if (rc < 0)
        return om_wrap(err, rc, "%s", path);
    OM_TRY(om_out_open(&o, dir, slash ? slash + 1 : path, NULL, err));
    rc = om_out_write(&o, header->ptr, header->len, err);
    if (rc == 0)
        rc = write_data(&o, tensors, n, order, err);
    if (rc == 0)
        rc = om_out_commit(&o, false, err);
    om_out_abort(&o);
    return rc;
}

int om_safetensors_write(const char *path, const struct om_tensor *tensors, size_t n,
                         struct om_error *err)
{
    struct om_arena a = OM_ARENA_INIT(SIZE_MAX);
    struct om_buf header = OM_BUF_INIT(HEADER_MAX + ALIGNMENT);
    const int rc = write_file(&a, path, tensors, n, &header, err);

    om_buf_release(&header);
    om_arena_release(&a);
    return rc;
}
