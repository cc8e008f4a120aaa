/* src/fuse/packed.c: weights side by side as one, made while the file is written. */
#include <stdlib.h>

#include "base/half.h"
#include "fuse/packed.h"

#define BAND 64 /* rows that are gathered at once: a few cache lines of a transposed weight */

struct packed {
    struct om_doc_source source; /* first */
    struct om_weight parts[3];   /* without data: zeros */
    size_t n, rows, cols[3], width;
    enum om_dtype dtype;
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

/* rows x cols elements of part i, of the storage's type, densely. */
static void gather(const struct packed *p, size_t i, size_t row, size_t rows, uint8_t *dst)
{
    const struct om_weight *const w = &p->parts[i];
    const size_t size = om_dtype_size(w->src_dtype), cols = p->cols[i];
    const size_t row_step = w->strides ? (size_t)w->strides[0] : cols;
    const size_t col_step = w->strides ? (size_t)w->strides[w->rank - 1] : 1;
    const uint8_t *const src = (const uint8_t *)w->data + row * row_step * size;

    if (col_step == 1) {
        for (size_t r = 0; r < rows; r++)
            memcpy(dst + r * cols * size, src + r * row_step * size, cols * size);
        return;
    }
    for (size_t c = 0; c < cols; c++)
        for (size_t r = 0; r < rows; r++)
            memcpy(dst + (r * cols + c) * size, src + (r * row_step + c * col_step) * size, size);
}

/* The part's place in a band of the result. */
static void put_part(const struct packed *p, size_t i, size_t row, size_t rows, size_t at,
                     uint8_t *raw, uint8_t *band)
{
    const struct om_weight *const w = &p->parts[i];
    const size_t size = om_dtype_size(p->dtype), cols = p->cols[i];

    if (w->data)
        gather(p, i, row, rows, raw);
    for (size_t r = 0; r < rows; r++) {
        uint8_t *const dst = band + (r * p->width + at) * size;

        if (w->data)
            om_convert(dst, p->dtype, raw + r * cols * om_dtype_size(w->src_dtype), w->src_dtype,
                       cols);
        else
            memset(dst, 0, cols * size);
    }
}

static int make(const struct om_doc_source *s, struct om_out *out, struct om_error *err)
{
    const struct packed *const p = (const struct packed *)s;
    const size_t band_rows = OM_MIN(BAND, p->rows);
    uint8_t *const raw = malloc(OM_MAX(band_rows * p->width, 1) * 8);
    uint8_t *const band = malloc(OM_MAX(band_rows * p->width, 1) * 8);
    int rc = raw && band ? 0 : no_memory(err);

    for (size_t row = 0; row < p->rows && rc == 0; row += band_rows) {
        const size_t rows = OM_MIN(band_rows, p->rows - row);

        for (size_t i = 0, at = 0; i < p->n; at += p->cols[i++])
            put_part(p, i, row, rows, at, raw, band);
        rc = om_out_write(out, band, rows * p->width * om_dtype_size(p->dtype), err);
    }
    free(raw);
    free(band);
    return rc;
}

static bool set_part(struct om_doc *d, struct packed *p, const struct fz_part *part)
{
    struct om_weight *const w = &p->parts[p->n];

    p->cols[p->n] = (size_t)part->cols;
    if (part->tensor) {
        if (om_doc_weight(d, part->tensor, w, NULL) < 0 || !w->data || w->n_parts > 0 ||
            w->dtype != p->dtype)
            return false;
        if (w->src_dtype == OM_DTYPE_NONE)
            w->src_dtype = w->dtype;
    }
    return om_add_size(p->width, p->cols[p->n++], &p->width);
}

int fz_pack(struct fuse *f, const struct fz_part parts[3], int64_t rows, om_sv base, om_sv *out)
{
    const int32_t type = parts[0].type;
    struct packed *const p = om_arena_alloc(f->d->arena, sizeof(*p));
    int64_t *const dims = om_arena_array(f->d->arena, 2, sizeof(*dims));
    struct om_doc_tensor *t;
    size_t bytes;

    *out = (om_sv){ "", 0 };
    if (!p || !dims)
        return fz_no_memory(f);
    *p = (struct packed){ .source = { make },
                          .rows = (size_t)OM_MAX(rows, 1),
                          .dtype = om_dtype_from_onnx(type) };
    for (size_t i = 0; i < 3; i++)
        if (!set_part(f->d, p, &parts[i]))
            return 0;
    dims[0] = rows;
    dims[rows > 0] = (int64_t)p->width;
    if (!om_mul_size(p->rows, p->width, &bytes) || !om_mul_size(bytes, 8, &bytes))
        return 0;
    *out = fz_name(f, base, rows > 0 ? "qkv_weight" : "qkv_bias");
    t = om_doc_add_tensor(f->d, f->g);
    if (!t || out->len == 0)
        return fz_no_memory(f);
    *t = (struct om_doc_tensor){ .name = *out,
                                 .type = type,
                                 .rank = rows > 0 ? 2 : 1,
                                 .dims = dims,
                                 .bytes = bytes / 8 * om_dtype_size(p->dtype),
                                 .source = &p->source };
    return 0;
}
