/* src/quant/affine.c: 8-bit quantization of weights.
 *
 * Weights are read where they lie, line by line of the storage (a line: its last axis), whatever
 * the order of the target; so a transposed weight is quantized first and its bytes are transposed.
 * Loops go over lanes that do not depend on each other, which compilers turn into vectors without
 * changing a result. */
#include "quant/affine.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/half.h"
#include "base/thread.h"

#define LANES 16
#define PIECE 2048 /* elements that are converted at once */
#define SLOTS 8
#define CHUNK (256u << 10)     /* bytes of one chunk of the target */
#define SLOT_BYTES (16u << 20) /* of all slots, where two of them are not larger */
#define BLOCKS 16              /* parts of a weight whose columns are measured */
/* Adding and subtracting it rounds to the nearest integer, ties to even, below 2^22. */
#define ROUND 12582912.0f

/* ---- parameters ---- */

static void type_range(struct om_affine_range r, int *lo, int *hi)
{
    if (r.reduce) {
        *lo = r.is_signed ? -64 : 0;
        *hi = r.is_signed ? 64 : 127;
    } else if (r.is_signed) {
        *lo = r.symmetric ? -127 : -128;
        *hi = 127;
    } else {
        *lo = 0;
        *hi = 255;
    }
}

void om_affine_params(float lo, float hi, struct om_affine_range r, bool half, float *scale,
                      int *zero)
{
    const float tiny = half ? 5.960464477539063e-08f : FLT_MIN;
    double s;
    int qmin, qmax;

    *scale = 1.0f;
    *zero = 0;
    if (lo > hi)
        return;
    type_range(r, &qmin, &qmax);
    lo = OM_MIN(lo, 0.0f);
    hi = OM_MAX(hi, 0.0f);
    if (r.symmetric) {
        hi = OM_MAX(-lo, hi);
        lo = -hi;
    }
    s = ((double)hi - (double)lo) / ((double)qmax - (double)qmin);
    if (half ? om_f16_to_f32(om_f32_to_f16((float)s)) < tiny : s < (double)tiny)
        return;
    *zero = (int)(r.symmetric ? rint((qmin + qmax) / 2.0) : rint(qmin - (double)lo / s));
    *scale = half ? om_f16_to_f32(om_f32_to_f16((float)s)) : (float)s;
}

/* ---- the storage ---- */

static void load(const struct om_weight *w, const void *data, size_t at, size_t n, float *buf)
{
    const uint8_t *const src = (const uint8_t *)data + at * om_dtype_size(w->src_dtype);

    if (w->src_dtype == OM_F32)
        memcpy(buf, src, n * sizeof(float)); /* it may be unaligned */
    else
        om_convert(buf, OM_F32, src, w->src_dtype, n);
}

const float *om_affine_load(const struct om_weight *w, size_t at, size_t n, float *buf)
{
    size_t done = 0;

    if (w->n_parts == 0)
        load(w, w->data, at, n, buf);
    for (uint32_t i = 0; i < w->n_parts && done < n; i++) {
        const size_t len = (size_t)w->parts[i].bytes / om_dtype_size(w->src_dtype);

        if (at < len) {
            const size_t here = OM_MIN(n - done, len - at);

            load(w, w->parts[i].data, at, here, buf + done);
            done += here;
        }
        at -= OM_MIN(at, len);
    }
    return buf;
}

/* The storage as lines: [batch][outer][inner], where outer and inner are rows and columns of the
 * target, or columns and rows. */
struct lines {
    size_t outer, inner, n; /* n: batch * outer */
    size_t step_batch, step_outer, step_inner;
    bool swapped;
};

static struct lines lines_of(const struct om_affine *a)
{
    const bool swapped = a->weight.strides != NULL;
    struct lines l = { .swapped = swapped, .step_batch = a->steps.batch };

    l.outer = swapped ? a->cols : a->rows;
    l.inner = swapped ? a->rows : a->cols;
    l.n = a->batch * l.outer;
    l.step_outer = swapped ? a->steps.col : a->steps.row;
    l.step_inner = swapped ? a->steps.row : a->steps.col;
    return l;
}

static size_t line_params(const struct lines *l, size_t line)
{
    return line / l->outer * l->step_batch + line % l->outer * l->step_outer;
}

/* The last two axes swapped, and nothing else. */
static bool is_swap(const struct om_weight *w)
{
    int64_t step = 1;
    uint32_t r = w->rank;

    if (r < 2 || w->strides[r - 1] != w->dims[r - 2] || w->strides[r - 2] != 1)
        return false;
    step = w->dims[r - 1] * w->dims[r - 2];
    for (uint32_t i = r - 2; i-- > 0;) {
        if (w->strides[i] != step)
            return false;
        step *= w->dims[i];
    }
    return true;
}

int om_affine_init(struct om_affine *a, const struct om_weight *w, struct om_error *err)
{
    struct om_weight copy = *w;
    int64_t batch;

    if (copy.strides && om_view_dense(copy.dims, copy.strides, copy.rank))
        copy.strides = NULL;
    if (copy.strides && !is_swap(&copy))
        return om_fail(err, OM_E_UNSUPPORTED,
                       "tensor \"%.*s\": its axes are permuted in a way that is not quantized",
                       OM_SV(w->name));
    *a = (struct om_affine){ .source = { om_affine_make }, .weight = copy };
    if (!om_count(w->dims, w->rank > 2 ? w->rank - 2 : 0, &batch))
        return om_fail(err, OM_E_FORMAT, "tensor \"%.*s\" is too large", OM_SV(w->name));
    a->batch = (size_t)batch;
    a->rows = w->rank >= 2 ? (size_t)w->dims[w->rank - 2] : 1;
    a->cols = w->rank >= 1 ? (size_t)w->dims[w->rank - 1] : 1;
    a->steps.n = 1;
    return 0;
}

int om_affine_by_axis(struct om_affine *a, uint32_t axis, struct om_error *err)
{
    const struct om_weight *const w = &a->weight;
    size_t before = 1, after = 1;

    if (w->strides)
        return om_fail(err, OM_E_UNSUPPORTED, "tensor \"%.*s\" has permuted axes", OM_SV(w->name));
    for (uint32_t i = 0; i < w->rank; i++)
        *(i < axis ? &before : &after) *= i == axis ? 1 : (size_t)w->dims[i];
    a->batch = before;
    a->rows = (size_t)w->dims[axis];
    a->cols = after;
    a->steps = (struct om_affine_steps){ 0, 1, 0, a->rows };
    return 0;
}

/* ---- measuring ---- */

/* Extremes of n elements, and the largest bits of a magnitude, which tell infinities and NaN. */
struct extremes {
    float lo, hi;
    int32_t bits;
};

static void extremes_of(const float *x, size_t n, struct extremes *e)
{
    float lo[LANES], hi[LANES];
    int32_t bits[LANES];
    size_t i;

    for (size_t k = 0; k < LANES; k++) {
        lo[k] = e->lo;
        hi[k] = e->hi;
        bits[k] = e->bits;
    }
    for (i = 0; i + LANES <= n; i += LANES) {
        int32_t b[LANES];

        memcpy(b, x + i, sizeof(b));
        for (size_t k = 0; k < LANES; k++) {
            const float v = x[i + k];
            const int32_t m = b[k] & 0x7fffffff;

            lo[k] = v < lo[k] ? v : lo[k];
            hi[k] = v > hi[k] ? v : hi[k];
            bits[k] = m > bits[k] ? m : bits[k];
        }
    }
    for (size_t k = 0; i < n; i++, k++) {
        int32_t m;

        memcpy(&m, x + i, sizeof(m));
        m &= 0x7fffffff;
        lo[k] = x[i] < lo[k] ? x[i] : lo[k];
        hi[k] = x[i] > hi[k] ? x[i] : hi[k];
        bits[k] = OM_MAX(m, bits[k]);
    }
    for (size_t k = 0; k < LANES; k++) {
        e->lo = OM_MIN(lo[k], e->lo);
        e->hi = OM_MAX(hi[k], e->hi);
        e->bits = OM_MAX(bits[k], e->bits);
    }
}

/* One per element: columns of lines. */
static void extremes_each(const float *x, size_t n, struct extremes *e)
{
    for (size_t i = 0; i < n; i++) {
        int32_t m;

        memcpy(&m, x + i, sizeof(m));
        m &= 0x7fffffff;
        e[i].lo = x[i] < e[i].lo ? x[i] : e[i].lo;
        e[i].hi = x[i] > e[i].hi ? x[i] : e[i].hi;
        e[i].bits = OM_MAX(m, e[i].bits);
    }
}

struct measure {
    const struct om_affine *a;
    struct lines l;
    size_t per_block;     /* lines */
    struct extremes *all; /* by line, or by block and column */
};

static void merge(struct extremes *to, const struct extremes *e)
{
    to->lo = OM_MIN(to->lo, e->lo);
    to->hi = OM_MAX(to->hi, e->hi);
    to->bits = OM_MAX(to->bits, e->bits);
}

static void measure_lines(void *user, size_t begin, size_t end)
{
    struct measure *const m = user;
    const size_t inner = m->l.inner;
    float buf[PIECE];

    for (size_t line = begin; line < end; line++)
        for (size_t at = 0; at < inner; at += PIECE) {
            const size_t n = OM_MIN(PIECE, inner - at);

            extremes_of(om_affine_load(&m->a->weight, line * inner + at, n, buf), n, &m->all[line]);
        }
}

static void measure_blocks(void *user, size_t begin, size_t end)
{
    struct measure *const m = user;
    const size_t inner = m->l.inner;
    float buf[PIECE];

    for (size_t block = begin; block < end; block++)
        for (size_t line = block * m->per_block; line < OM_MIN((block + 1) * m->per_block, m->l.n);
             line++)
            for (size_t at = 0; at < inner; at += PIECE) {
                const size_t n = OM_MIN(PIECE, inner - at);

                extremes_each(om_affine_load(&m->a->weight, line * inner + at, n, buf), n,
                              &m->all[block * inner + at]);
            }
}

static struct extremes *new_extremes(size_t n)
{
    struct extremes *const e = malloc(OM_MAX(n, 1) * sizeof(*e));

    for (size_t i = 0; e && i < n; i++)
        e[i] = (struct extremes){ INFINITY, -INFINITY, 0 };
    return e;
}

static int finish_params(struct om_affine *a, const struct extremes *e, struct om_error *err)
{
    for (size_t i = 0; i < a->steps.n; i++) {
        int zero;

        if (e[i].bits >= 0x7f800000)
            return om_fail(err, OM_E_UNSUPPORTED,
                           "tensor \"%.*s\" has an infinity or NaN: it cannot be quantized",
                           OM_SV(a->weight.name));
        om_affine_params(e[i].lo, e[i].hi, a->range, a->half, &a->scale[i], &zero);
        a->zero[i] = (int8_t)zero;
        if (a->half)
            a->half_scale[i] = om_f32_to_f16(a->scale[i]);
    }
    return 0;
}

/* Parameters of which each has whole lines, and lines that each have several. */
int om_affine_measure(struct om_affine *a, struct om_error *err)
{
    struct measure m = { .a = a, .l = lines_of(a) };
    const bool by_line = m.l.step_inner == 0;
    struct extremes *e;
    size_t blocks;
    int rc = 0;

    if (a->measured)
        return 0;
    e = new_extremes(a->steps.n);
    m.per_block = by_line ? 1 : (m.l.n + BLOCKS - 1) / BLOCKS;
    blocks = m.per_block == 0 ? 0 : (m.l.n + m.per_block - 1) / m.per_block;
    m.all = new_extremes(by_line ? m.l.n : blocks * m.l.inner);
    if (!e || !m.all) {
        rc = om_fail(err, OM_E_NOMEM, "out of memory");
        goto done;
    }
    if (m.l.n > 0 && m.l.inner > 0)
        om_parallel(by_line ? m.l.n : blocks, by_line ? OM_MAX(1, 65536 / m.l.inner) : 1,
                    by_line ? measure_lines : measure_blocks, &m);
    for (size_t i = 0; by_line && m.l.inner > 0 && i < m.l.n; i++)
        merge(&e[line_params(&m.l, i)], &m.all[i]);
    for (size_t i = 0; !by_line && i < blocks; i++) {
        /* Blocks may hold lines of two batches: their parameters are the same then. */
        const size_t base = line_params(&m.l, i * m.per_block);

        for (size_t k = 0; k < m.l.inner; k++)
            merge(&e[base + k], &m.all[i * m.l.inner + k]);
    }
    rc = finish_params(a, e, err);
    a->measured = rc == 0;
done:
    free(e);
    free(m.all);
    return rc;
}

/* ---- quantizing ---- */

struct job {
    struct om_affine *a;
    struct lines l;
    size_t rows, chunks_per_batch;  /* of the target in one chunk */
    uint8_t *slots, *scratch;       /* scratch: of swapped ones, before the bytes are transposed */
    struct om_affine_error *errors; /* one per slot */
    size_t slot_size;
    struct om_out *out;
    struct om_error *err;
};

/* The loops are made for four cases: signed or not, one scale or many. */
#define QUANTIZE(name, type, low, high, scale_at, zero_at)                             \
    static void name(const float *x, size_t n, const float *scale, const int8_t *zero, \
                     uint8_t *dst)                                                     \
    {                                                                                  \
        for (size_t i = 0; i < n; i++) {                                               \
            float q = x[i] / scale[scale_at];                                          \
                                                                                       \
            q = (q + ROUND) - ROUND;                                                   \
            q += (float)(type)zero[zero_at];                                           \
            q = q < (low) ? (low) : q;                                                 \
            q = q > (high) ? (high) : q;                                               \
            dst[i] = (uint8_t)(int)q;                                                  \
        }                                                                              \
    }
QUANTIZE(quantize_u8, uint8_t, 0.0f, 255.0f, 0, 0)
QUANTIZE(quantize_i8, int8_t, -128.0f, 127.0f, 0, 0)
QUANTIZE(quantize_each_u8, uint8_t, 0.0f, 255.0f, i, i)
QUANTIZE(quantize_each_i8, int8_t, -128.0f, 127.0f, i, i)

static void quantize(const struct om_affine *a, bool each, const float *x, size_t n, size_t param,
                     uint8_t *dst)
{
    const float *const scale = a->scale + param;
    const int8_t *const zero = a->zero + param;

    if (each)
        (a->range.is_signed ? quantize_each_i8 : quantize_each_u8)(x, n, scale, zero, dst);
    else
        (a->range.is_signed ? quantize_i8 : quantize_u8)(x, n, scale, zero, dst);
}

static void add_error(const struct om_affine *a, bool each, const float *x, size_t n, size_t param,
                      const uint8_t *q, struct om_affine_error *e)
{
    double error[LANES] = { 0 }, total[LANES] = { 0 };
    float worst = 0;

    for (size_t i = 0; i < n; i++) {
        const size_t p = param + (each ? i : 0);
        const int z = a->range.is_signed ? (int)a->zero[p] : (int)(uint8_t)a->zero[p];
        const int v = a->range.is_signed ? (int)(int8_t)q[i] : (int)q[i];
        const float d = x[i] - (float)(v - z) * a->scale[p], m = fabsf(d);

        worst = m > worst ? m : worst;
        error[i % LANES] += (double)d * (double)d;
        total[i % LANES] += (double)x[i] * (double)x[i];
    }
    for (size_t k = 0; k < LANES; k++) {
        e->error += error[k];
        e->total += total[k];
    }
    e->max = OM_MAX(e->max, (double)worst);
}

/* Elements [from, from + n) of one line of the storage. */
static void quantize_line(const struct job *j, size_t slot, size_t line, size_t from, size_t n,
                          uint8_t *dst)
{
    const struct om_affine *const a = j->a;
    const bool each = j->l.step_inner != 0;
    float buf[PIECE];

    for (size_t at = 0; at < n; at += PIECE) {
        const size_t len = OM_MIN(PIECE, n - at);
        const size_t param = line_params(&j->l, line) + (each ? from + at : 0);
        const float *const x = om_affine_load(&a->weight, line * j->l.inner + from + at, len, buf);

        quantize(a, each, x, len, param, dst + at);
        if (a->want_error)
            add_error(a, each, x, len, param, dst + at, &j->errors[slot]);
    }
}

static void transpose(uint8_t *dst, const uint8_t *src, size_t src_rows, size_t src_cols)
{
    for (size_t r0 = 0; r0 < src_rows; r0 += 16)
        for (size_t c0 = 0; c0 < src_cols; c0 += 16)
            for (size_t c = c0; c < OM_MIN(c0 + 16, src_cols); c++)
                for (size_t r = r0; r < OM_MIN(r0 + 16, src_rows); r++)
                    dst[c * src_rows + r] = src[r * src_cols + c];
}

struct chunk {
    size_t batch, row, n;
};

static struct chunk chunk_at(const struct job *j, size_t item)
{
    struct chunk c = { .batch = item / j->chunks_per_batch };

    c.row = item % j->chunks_per_batch * j->rows;
    c.n = OM_MIN(j->rows, j->a->rows - c.row);
    return c;
}

static void make_chunk(void *user, size_t slot, size_t item)
{
    struct job *const j = user;
    const struct chunk c = chunk_at(j, item);
    const size_t cols = j->a->cols;
    uint8_t *const dst = j->slots + slot * j->slot_size;
    uint8_t *raw;

    if (!j->l.swapped) {
        for (size_t r = 0; r < c.n; r++)
            quantize_line(j, slot, c.batch * j->a->rows + c.row + r, 0, cols, dst + r * cols);
        return;
    }
    raw = j->scratch + slot * j->slot_size;
    for (size_t k = 0; k < cols; k++)
        quantize_line(j, slot, c.batch * cols + k, c.row, c.n, raw + k * c.n);
    transpose(dst, raw, cols, c.n);
}

static int use_chunk(void *user, size_t slot, size_t item)
{
    struct job *const j = user;
    const struct chunk c = chunk_at(j, item);
    struct om_affine_error *const e = &j->errors[slot];

    j->a->error.max = OM_MAX(j->a->error.max, e->max);
    j->a->error.error += e->error;
    j->a->error.total += e->total;
    *e = (struct om_affine_error){ 0 };
    return om_out_write(j->out, j->slots + slot * j->slot_size, c.n * j->a->cols, j->err);
}

int om_affine_make(const struct om_doc_source *s, struct om_out *out, struct om_error *err)
{
    struct om_affine *const a = (struct om_affine *)(uintptr_t)s; /* its errors are its own */
    struct job j = { .a = a, .l = lines_of(a), .out = out, .err = err };
    struct om_affine_error errors[SLOTS] = { { 0 } };
    struct om_relay p = { .make = make_chunk, .use = use_chunk, .user = &j };
    int rc;

    if (a->batch == 0 || a->rows == 0 || a->cols == 0)
        return 0;
    a->error = (struct om_affine_error){ 0 };
    j.errors = errors;
    /* At least a cache line of the source where columns are read. */
    j.rows = OM_MIN(OM_MAX(CHUNK / a->cols, j.l.swapped ? 16 : 1), a->rows);
    j.chunks_per_batch = (a->rows + j.rows - 1) / j.rows;
    j.slot_size = j.rows * a->cols;
    p.n = a->batch * j.chunks_per_batch;
    p.slots = OM_MIN(p.n, OM_MAX(2, OM_MIN(SLOTS, SLOT_BYTES / j.slot_size)));
    j.slots = malloc(p.slots * j.slot_size);
    j.scratch = j.l.swapped ? malloc(p.slots * j.slot_size) : NULL;
    if (!j.slots || (j.l.swapped && !j.scratch))
        rc = om_fail(err, OM_E_NOMEM, "out of memory");
    else
        rc = om_relay_run(&p);
    free(j.slots);
    free(j.scratch);
    return rc;
}
