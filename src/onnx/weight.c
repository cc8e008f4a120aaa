/* src/onnx/weight.c: streams a weight: kernel-side where its bytes stay as they are, else through a
 * chunk. */
#include "onnx/weight.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/half.h"
#include "base/thread.h"
#include "onnx/schema.h"

/* Elements that are worth a thread. */
#define GRAIN (64u << 10)
/* Edge of the square that a transpose moves at once: a cache line of float32. */
#define TILE 16

bool om_weight_transformed(const struct om_weight *w)
{
    return w->transpose || w->src_dtype != w->dtype;
}

struct om_weight_key om_weight_key(const struct om_weight *w)
{
    struct om_weight_key k;

    memset(&k, 0, sizeof(k)); /* padding is compared too */
    k.file = w->file;
    k.offset = w->offset;
    k.bytes = w->bytes;
    if (w->src_dtype != w->dtype)
        k.cast = (uint64_t)w->src_dtype << 32 | (uint64_t)w->dtype;
    if (w->transpose) {
        k.rows = w->dims[0];
        k.cols = w->dims[1];
    }
    return k;
}

/* One chunk of a transform: a rectangle of the source becomes consecutive elements of the target. A
 * plain cast is a rectangle of one column. */
struct chunk {
    const uint8_t *src;
    size_t stride;   /* elements between two source rows */
    size_t rows;     /* source rows: elements of one target row */
    uint8_t *raw;    /* transposed elements of src_dtype; NULL when the source is read directly */
    uint8_t *cooked; /* elements of dtype; NULL without a cast */
    enum om_dtype src_dtype, dtype;
    size_t src_size, size;
};

#define TRANSPOSE(bits)                                                                      \
    static void transpose_##bits(uint8_t *dst, const uint8_t *src, size_t rows, size_t cols, \
                                 size_t stride)                                              \
    {                                                                                        \
        const size_t n = sizeof(uint##bits##_t);                                             \
                                                                                             \
        for (size_t r0 = 0; r0 < rows; r0 += TILE)                                           \
            for (size_t c0 = 0; c0 < cols; c0 += TILE)                                       \
                for (size_t r = r0; r < OM_MIN(r0 + TILE, rows); r++)                        \
                    for (size_t c = c0; c < OM_MIN(c0 + TILE, cols); c++)                    \
                        memcpy(dst + (c * rows + r) * n, src + (r * stride + c) * n, n);     \
    }
TRANSPOSE(8)
TRANSPOSE(16)
TRANSPOSE(32)
TRANSPOSE(64)

static void transpose(uint8_t *dst, const uint8_t *src, size_t rows, size_t cols, size_t stride,
                      size_t elem)
{
    switch (elem) {
    case 1:
        transpose_8(dst, src, rows, cols, stride);
        break;
    case 2:
        transpose_16(dst, src, rows, cols, stride);
        break;
    case 4:
        transpose_32(dst, src, rows, cols, stride);
        break;
    default:
        transpose_64(dst, src, rows, cols, stride);
        break;
    }
}

/* Elements [begin, end) of a cast. */
static void cast_range(void *user, size_t begin, size_t end)
{
    const struct chunk *c = user;

    om_convert(c->cooked + begin * c->size, c->dtype, c->src + begin * c->src_size, c->src_dtype,
               end - begin);
}

/* Target rows [begin, end) of a transpose. */
static void transpose_range(void *user, size_t begin, size_t end)
{
    const struct chunk *c = user;
    const size_t first = begin * c->rows, n = (end - begin) * c->rows;
    uint8_t *raw = c->raw + first * c->src_size;

    transpose(raw, c->src + begin * c->src_size, c->rows, end - begin, c->stride, c->src_size);
    if (c->cooked)
        om_convert(c->cooked + first * c->size, c->dtype, raw, c->src_dtype, n);
}

static int stream_cast(struct chunk *c, size_t n, size_t max, struct om_out *out,
                       struct om_error *err)
{
    while (n > 0) {
        const size_t k = OM_MIN(n, max);

        om_parallel(k, GRAIN, cast_range, c);
        OM_TRY(om_out_write(out, c->cooked, k * c->size, err));
        c->src += k * c->src_size;
        n -= k;
    }
    return 0;
}

/* Bands of whole target rows, or pieces of one target row where a row alone exceeds the chunk. */
static int stream_transpose(struct chunk *c, size_t rows, size_t cols, size_t max,
                            struct om_out *out, struct om_error *err)
{
    const uint8_t *const src = c->src;
    const size_t nr = OM_MIN(rows, max), nc = OM_MAX(max / nr, 1);

    c->stride = cols;
    for (size_t col = 0; col < cols; col += nc) {
        for (size_t row = 0; row < rows; row += nr) {
            const size_t k = OM_MIN(nc, cols - col);

            c->rows = OM_MIN(nr, rows - row);
            c->src = src + (row * cols + col) * c->src_size;
            om_parallel(k, OM_MAX(GRAIN / c->rows, TILE), transpose_range, c);
            OM_TRY(om_out_write(out, c->cooked ? c->cooked : c->raw, k * c->rows * c->size, err));
        }
    }
    return 0;
}

static int stream_transformed(const struct om_weight *w, struct om_out *out, struct om_error *err)
{
    struct chunk c = { .src = w->data, .src_dtype = w->src_dtype, .dtype = w->dtype };
    const bool cast = w->src_dtype != w->dtype;
    size_t max;
    int rc;

    c.src_size = om_dtype_size(c.src_dtype);
    c.size = om_dtype_size(c.dtype);
    max = OM_WEIGHT_CHUNK / 2 / OM_MAX(c.src_size, c.size);
    if (w->transpose)
        c.raw = malloc(max * c.src_size);
    if (cast)
        c.cooked = malloc(max * c.size);
    if ((w->transpose && !c.raw) || (cast && !c.cooked)) {
        rc = om_fail(err, OM_E_NOMEM, "out of memory for a conversion buffer of %zu bytes",
                     max * OM_MAX(c.src_size, c.size));
        goto done;
    }
    if (w->file &&
        w->file->fd >= 0) /* a transpose reads with strides that readahead does not see */
        (void)posix_fadvise(w->file->fd, (off_t)w->offset, (off_t)w->bytes, POSIX_FADV_WILLNEED);
    if (w->transpose)
        rc = stream_transpose(&c, (size_t)w->dims[1], (size_t)w->dims[0], max, out, err);
    else
        rc = stream_cast(&c, (size_t)(w->bytes / c.src_size), max, out, err);
done:
    free(c.raw);
    free(c.cooked);
    return rc;
}

int om_weight_stream(const struct om_weight *w, struct om_out *out, struct om_error *err)
{
    int rc;

    if (w->bytes == 0)
        return 0;
    if (om_weight_transformed(w))
        rc = stream_transformed(w, out, err);
    else if (w->file && w->file->fd >= 0)
        rc = om_out_copy(out, w->file, w->offset, w->bytes, err);
    else
        rc = om_out_write(out, w->data, w->bytes, err);
    return om_wrap(err, rc, "tensor \"%.*s\"", OM_SV(w->name));
}
