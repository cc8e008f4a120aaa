/* src/onnx/weight.c: streams a weight: kernel-side where its bytes stay as they are, else through a
 * chunk. */
#include "onnx/weight.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/half.h"
#include "base/thread.h"
#include "onnx/schema.h"

/* Parts that a weight's conversion buffer has: the file is written from one while others are made.
 * A part is small enough to stay in a core's cache in between. */
#define SLOTS 8
/* Edge of the square that a transpose moves at once: a cache line of float32. */
#define TILE 16
/* Bytes of a run that are not collected in a chunk first. */
#define RUN_MIN (64u << 10)

bool om_weight_transformed(const struct om_weight *w)
{
    return w->strides || w->n_parts > 0 || w->src_dtype != w->dtype;
}

struct om_weight_key om_weight_key(const struct om_weight *w)
{
    struct om_weight_key k;

    memset(&k, 0, sizeof(k));
    k.file = w->file;
    k.offset = w->offset;
    k.bytes = w->bytes;
    if (w->src_dtype != w->dtype)
        k.cast = (uint64_t)w->src_dtype << 32 | (uint64_t)w->dtype;
    if (w->strides)
        om_walk_init(&k.walk, w->dims, w->strides, w->rank);
    for (uint32_t i = 0; i < w->n_parts && i < OM_WEIGHT_PARTS_MAX; i++)
        k.parts[i] = w->parts[i];
    return k;
}

/* A transform as a matrix of elements in target order: its columns are the innermost axis of the
 * walk, its rows all others. It is made in chunks, some whole rows or a piece of one row, which
 * take turns in the slots of a buffer. */
struct transform {
    const uint8_t *src;
    const struct om_weight *parted; /* the weight, where its source is in parts; then there is one
                                       plane of whose columns each part has some */
    enum om_dtype src_dtype, dtype;
    size_t src_size, size;
    struct om_walk walk;
    size_t rows, cols, plane_rows; /* a plane: the two innermost axes */
    size_t row_step, col_step;     /* in source elements, within a plane */
    uint8_t *raw; /* elements of src_dtype in target order; NULL when rows are converted where they
                     lie */
    uint8_t *cooked;    /* elements of dtype; NULL without a cast */
    size_t slot_size;   /* elements of a slot, at least those of a chunk */
    size_t band, width; /* rows and columns of a chunk, except at the end */
    struct om_out *out;
    struct om_error *err;
};

struct chunk {
    size_t row, n_rows, col, n_cols;
    uint8_t *raw, *cooked; /* its slot */
};

static void transform_init(struct transform *x, const struct om_weight *w)
{
    size_t last;

    *x = (struct transform){ .src = w->data, .src_dtype = w->src_dtype, .dtype = w->dtype };
    x->parted = w->n_parts > 0 ? w : NULL;
    x->src_size = om_dtype_size(w->src_dtype);
    x->size = om_dtype_size(w->dtype);
    om_walk_init(&x->walk, w->dims, w->strides, w->rank);
    last = (size_t)x->walk.rank - 1;
    x->cols = x->walk.rank > 0 ? (size_t)x->walk.dims[last] : 1;
    x->col_step = x->walk.rank > 0 ? (size_t)x->walk.strides[last] : 1;
    x->plane_rows = x->walk.rank > 1 ? (size_t)x->walk.dims[last - 1] : 1;
    x->row_step = x->walk.rank > 1 ? (size_t)x->walk.strides[last - 1] : 0;
    x->rows = (size_t)w->bytes / x->src_size / x->cols;
}

/* Where in the source the row of the matrix begins. */
static const uint8_t *row_source(const struct transform *x, size_t row)
{
    size_t at = row % x->plane_rows * x->row_step, plane = row / x->plane_rows;

    for (uint64_t i = x->walk.rank; i-- > 2;) {
        const size_t n = (size_t)x->walk.dims[i - 2];

        at += plane % n * (size_t)x->walk.strides[i - 2];
        plane /= n;
    }
    return x->src + at * x->src_size;
}

/* Squares, because either rows or columns lie far apart in the source. */
#define GATHER(bits)                                                                               \
    static void gather_##bits(const struct transform *x, uint8_t *dst, size_t pitch,               \
                              const uint8_t *src, size_t rows, size_t cols)                        \
    {                                                                                              \
        const size_t n = sizeof(uint##bits##_t), row_step = x->row_step, col_step = x->col_step;   \
                                                                                                   \
        for (size_t r0 = 0; r0 < rows; r0 += TILE)                                                 \
            for (size_t c0 = 0; c0 < cols; c0 += TILE)                                             \
                for (size_t c = c0; c < OM_MIN(c0 + TILE, cols); c++)                              \
                    for (size_t r = r0; r < OM_MIN(r0 + TILE, rows); r++)                          \
                        memcpy(dst + (r * pitch + c) * n, src + (r * row_step + c * col_step) * n, \
                               n);                                                                 \
    }
GATHER(8)
GATHER(16)
GATHER(32)
GATHER(64)

/* Rows of one plane, or a piece of one row, into rows of pitch elements. */
static void gather(const struct transform *x, uint8_t *dst, size_t pitch, const uint8_t *src,
                   size_t rows, size_t cols)
{
    if (x->col_step == 1) {
        for (size_t r = 0; r < rows; r++)
            memcpy(dst + r * pitch * x->src_size, src + r * x->row_step * x->src_size,
                   cols * x->src_size);
        return;
    }
    switch (x->src_size) {
    case 1:
        gather_8(x, dst, pitch, src, rows, cols);
        break;
    case 2:
        gather_16(x, dst, pitch, src, rows, cols);
        break;
    case 4:
        gather_32(x, dst, pitch, src, rows, cols);
        break;
    default:
        gather_64(x, dst, pitch, src, rows, cols);
        break;
    }
}

/* The same with the cast; at says which element of the chunk comes first. */
static void make(const struct transform *x, const struct chunk *c, size_t at, const uint8_t *src,
                 size_t rows)
{
    uint8_t *const raw = c->raw ? c->raw + at * x->src_size : NULL;
    const size_t cols = c->n_cols;

    if (raw)
        gather(x, raw, cols, src, rows, cols);
    if (raw && c->cooked)
        om_convert(c->cooked + at * x->size, x->dtype, raw, x->src_dtype, rows * cols);
    for (size_t r = 0; r < rows && !raw; r++)
        om_convert(c->cooked + (at + r * cols) * x->size, x->dtype,
                   src + r * x->row_step * x->src_size, x->src_dtype, cols);
}

static struct chunk chunk_at(const struct transform *x, size_t slot, size_t item)
{
    const size_t pieces =
        (x->cols + x->width - 1) / x->width; /* of a row; 1 when band is above 1 */
    const size_t row = item / pieces * x->band, col = item % pieces * x->width;

    return (struct chunk){ .row = row,
                           .n_rows = OM_MIN(x->band, x->rows - row),
                           .col = col,
                           .n_cols = OM_MIN(x->width, x->cols - col),
                           .raw = x->raw ? x->raw + slot * x->slot_size * x->src_size : NULL,
                           .cooked = x->cooked ? x->cooked + slot * x->slot_size * x->size : NULL };
}

static size_t chunk_count(const struct transform *x)
{
    return ((x->rows + x->band - 1) / x->band) * ((x->cols + x->width - 1) / x->width);
}

/* Columns come from the parts in turn. */
static void make_of_parts(const struct transform *x, const struct chunk *c)
{
    const struct om_weight *const w = x->parted;
    size_t begin = 0; /* of the part */

    for (uint32_t i = 0; i < w->n_parts; i++) {
        const size_t cols = (size_t)w->parts[i].bytes / x->src_size / x->rows;
        const size_t from = OM_MAX(begin, c->col), to = OM_MIN(begin + cols, c->col + c->n_cols);
        const uint8_t *const src = w->parts[i].data;

        if (from < to)
            gather(x, c->raw + (from - c->col) * x->src_size, c->n_cols,
                   src + (c->row * x->row_step + (from - begin) * x->col_step) * x->src_size,
                   c->n_rows, to - from);
        begin += cols;
    }
    if (c->cooked)
        om_convert(c->cooked, x->dtype, c->raw, x->src_dtype, c->n_rows * c->n_cols);
}

/* Plane by plane. */
static void make_chunk(void *user, size_t slot, size_t item)
{
    const struct transform *x = user;
    const struct chunk c = chunk_at(x, slot, item);

    if (x->parted) {
        make_of_parts(x, &c);
        return;
    }
    for (size_t done = 0, n; done < c.n_rows; done += n) {
        const size_t row = c.row + done;

        n = OM_MIN(c.n_rows - done, x->plane_rows - row % x->plane_rows);
        make(x, &c, done * c.n_cols, row_source(x, row) + c.col * x->col_step * x->src_size, n);
    }
}

static int write_chunk(void *user, size_t slot, size_t item)
{
    const struct transform *x = user;
    const struct chunk c = chunk_at(x, slot, item);

    return om_out_write(x->out, c.cooked ? c.cooked : c.raw, c.n_rows * c.n_cols * x->size, x->err);
}

static int stream_chunks(struct transform *x)
{
    const size_t n = chunk_count(x);
    const struct om_relay p = {
        .n = n, .slots = OM_MIN(n, SLOTS), .make = make_chunk, .use = write_chunk, .user = x
    };

    return om_relay_run(&p);
}

/* Long rows that stay as they are need no buffer. */
static int stream_runs(const struct transform *x, const struct om_weight *w, struct om_out *out,
                       struct om_error *err)
{
    const size_t run = x->cols * x->size;

    for (size_t row = 0; row < x->rows; row++) {
        const uint8_t *src = row_source(x, row);

        if (w->file && w->file->fd >= 0)
            OM_TRY(om_out_copy(out, w->file, w->offset + (uint64_t)(src - x->src), run, err));
        else
            OM_TRY(om_out_write(out, src, run, err));
    }
    return 0;
}

/* Strides take turns at all pages, which readahead does not see. */
static void announce(const struct om_weight *w)
{
    int64_t extent = 0;

    for (uint32_t i = 0; i < w->n_parts; i++)
        if (w->parts[i].file && w->parts[i].file->fd >= 0)
            (void)posix_fadvise(w->parts[i].file->fd, (off_t)w->parts[i].offset,
                                (off_t)w->parts[i].bytes, POSIX_FADV_WILLNEED);
    if (w->n_parts > 0)
        return;
    if (!w->file || w->file->fd < 0 || !om_view_extent(w->dims, w->strides, w->rank, &extent))
        return;
    (void)posix_fadvise(w->file->fd, (off_t)w->offset, extent * (off_t)om_dtype_size(w->src_dtype),
                        POSIX_FADV_WILLNEED);
}

/* Chunks of about the same size that fit the slots; a small weight is one. */
static void choose_chunks(struct transform *x)
{
    const size_t most = OM_WEIGHT_CHUNK / 2 / SLOTS / OM_MAX(x->src_size, x->size);

    x->slot_size = OM_MIN(most, x->rows * x->cols);
    x->band = OM_MAX(x->slot_size / x->cols, 1);
    x->width = OM_MIN(x->cols, x->slot_size);
}

static int stream_transformed(const struct om_weight *w, struct om_out *out, struct om_error *err)
{
    const bool cast = w->src_dtype != w->dtype;
    struct transform x;
    size_t slots;
    bool raw;
    int rc;

    transform_init(&x, w);
    if (!cast && x.col_step == 1 && x.cols * x.size >= RUN_MIN)
        return stream_runs(&x, w, out, err);
    raw = !cast || x.col_step != 1 || x.parted;
    choose_chunks(&x);
    x.out = out;
    x.err = err;
    slots = OM_MIN(chunk_count(&x), SLOTS);
    if (raw)
        x.raw = malloc(slots * x.slot_size * x.src_size);
    if (cast)
        x.cooked = malloc(slots * x.slot_size * x.size);
    if (raw != (x.raw != NULL) || cast != (x.cooked != NULL)) {
        rc = om_fail(err, OM_E_NOMEM, "out of memory for a conversion buffer of %zu bytes",
                     slots * x.slot_size * OM_MAX(x.src_size, x.size));
    } else {
        announce(w);
        rc = stream_chunks(&x);
    }
    free(x.raw);
    free(x.cooked);
    return rc;
}

/* Contents that are computed: all of a view at once where something is left to do with them. */
static int stream_made(const struct om_weight *w, struct om_out *out, struct om_error *err)
{
    const bool whole = om_weight_transformed(w);
    const size_t size = om_dtype_size(w->src_dtype);
    struct om_weight copy = *w;
    int64_t extent;
    uint64_t all;
    size_t piece;
    void *buf;
    int rc = 0;

    if (!om_view_extent(w->dims, w->strides, w->rank, &extent) ||
        !om_mul_u64((uint64_t)extent, size, &all) || all > SIZE_MAX)
        return om_fail(err, OM_E_LIMIT, "the shape is too large");
    piece = whole ? (size_t)all : (size_t)OM_MIN(all, (uint64_t)OM_WEIGHT_CHUNK);
    buf = malloc(piece);
    if (!buf)
        return om_fail(err, OM_E_NOMEM, "out of memory for a buffer of %zu bytes", piece);
    for (uint64_t at = 0; at < all && rc == 0; at += piece) {
        piece = (size_t)OM_MIN((uint64_t)piece, all - at);
        w->file->maker->make(w->file->maker, w->offset + at, piece, buf);
        if (!whole)
            rc = om_out_write(out, buf, piece, err);
    }
    copy.file = NULL;
    copy.data = buf;
    if (whole)
        rc = stream_transformed(&copy, out, err);
    free(buf);
    return rc;
}

static int stream_part(const struct om_weight_part *p, struct om_out *out, struct om_error *err)
{
    if (p->file && p->file->fd >= 0)
        return om_out_copy(out, p->file, p->offset, p->bytes, err);
    return om_out_write(out, p->data, (size_t)p->bytes, err);
}

static int stream_as_it_is(const struct om_weight *w, struct om_out *out, struct om_error *err)
{
    const struct om_weight_part whole = { w->file, w->offset, w->data, w->bytes };

    if (w->n_parts == 0)
        return stream_part(&whole, out, err);
    for (uint32_t i = 0; i < w->n_parts; i++)
        OM_TRY(stream_part(&w->parts[i], out, err));
    return 0;
}

int om_weight_stream(const struct om_weight *w, struct om_out *out, struct om_error *err)
{
    int rc;

    if (w->bytes == 0)
        return 0;
    if (w->file && w->file->maker)
        rc = stream_made(w, out, err);
    else if (w->strides || w->src_dtype != w->dtype)
        rc = stream_transformed(w, out, err);
    else
        rc = stream_as_it_is(w, out, err);
    return om_wrap(err, rc, "tensor \"%.*s\"", OM_SV(w->name));
}
