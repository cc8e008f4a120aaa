/* src/quant/blocks.c: round to nearest in blocks, by the formulas of ONNX Runtime's own tool, and a
 * search that does better. */
#include "quant/blocks.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/half.h"
#include "base/thread.h"

#define LANES 16
#define SLOTS 8
#define BAND 16            /* rows of one chunk at least */
#define CHUNK (256u << 10) /* elements of one chunk, about */
#define SHRINKS 24         /* ranges that the search tries */
#define REFITS 4

/* ---- one block ---- */

static void extremes(const float *x, size_t n, float *lo, float *hi)
{
    float a[LANES], b[LANES];

    for (size_t k = 0; k < LANES; k++)
        a[k] = b[k] = x[k];
    for (size_t i = LANES; i < n; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            a[k] = x[i + k] < a[k] ? x[i + k] : a[k];
            b[k] = x[i + k] > b[k] ? x[i + k] : b[k];
        }
    for (size_t k = 0; k < LANES; k++) {
        *lo = k == 0 || a[k] < *lo ? a[k] : *lo;
        *hi = k == 0 || b[k] > *hi ? b[k] : *hi;
    }
}

/* x * (1 / scale) + zero, clamped and rounded, ties up. */
static void round_block(const float *x, size_t n, float scale, float zero, float most, uint8_t *q)
{
    const float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;

    for (size_t i = 0; i < n; i++) {
        float v = x[i] * inverse + zero;
        int whole;

        v = v < 0.0f ? 0.0f : v;
        v = v > most ? most : v;
        whole = (int)v;
        q[i] = (uint8_t)(whole + (v - (float)whole >= 0.5f ? 1 : 0));
    }
}

static float error_of(const float *x, size_t n, float scale, float zero, const uint8_t *q)
{
    float sum[LANES] = { 0 }, all = 0;

    for (size_t i = 0; i < n; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            const float d = x[i + k] - ((float)q[i + k] - zero) * scale;

            sum[k] += d * d;
        }
    for (size_t k = 0; k < LANES; k++)
        all += sum[k];
    return all;
}

static float stored(const struct om_block_form *f, float scale)
{
    return f->half ? om_f16_to_f32(om_f32_to_f16(scale)) : scale;
}

/* Parameters of the range [lo, hi]. */
static float range_params(const struct om_block_form *f, float lo, float hi, uint8_t *zero)
{
    const int mid = 1 << (f->bits - 1), most = (1 << f->bits) - 1;
    float scale, at;

    if (f->symmetric) {
        *zero = (uint8_t)mid;
        return stored(f, (fabsf(hi) > fabsf(lo) ? hi : lo) / (float)-mid);
    }
    lo = OM_MIN(lo, 0.0f);
    hi = OM_MAX(hi, 0.0f);
    scale = (hi - lo) / (float)most;
    at = scale != 0.0f ? 0.0f - lo / scale : lo;
    *zero = at < 0.0f ? 0 : at > (float)most ? (uint8_t)most : (uint8_t)roundf(at);
    return stored(f, scale);
}

/* One candidate; kept when its error is smaller. */
struct best {
    float scale, error;
    uint8_t zero;
    uint8_t q[OM_BLOCK_MAX];
};

static bool consider(const struct om_block_form *f, const float *x, float scale, uint8_t zero,
                     struct best *best)
{
    const size_t n = (size_t)f->size;
    uint8_t q[OM_BLOCK_MAX];
    float error;

    round_block(x, n, scale, (float)zero, (float)((1 << f->bits) - 1), q);
    error = error_of(x, n, scale, (float)zero, q);
    if (!(error < best->error))
        return false;
    best->scale = scale;
    best->zero = zero;
    best->error = error;
    memcpy(best->q, q, n);
    return true;
}

/* The scale that fits the numbers q best: least squares. */
static float refit(const struct om_block_form *f, const float *x, const struct best *best)
{
    float xq[LANES] = { 0 }, qq[LANES] = { 0 }, a = 0, b = 0;

    for (size_t i = 0; i < (size_t)f->size; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            const float q = (float)best->q[i + k] - (float)best->zero;

            xq[k] += x[i + k] * q;
            qq[k] += q * q;
        }
    for (size_t k = 0; k < LANES; k++) {
        a += xq[k];
        b += qq[k];
    }
    return b > 0 ? stored(f, a / b) : best->scale;
}

/* Narrower ranges clip the extremes and resolve the rest finer. What is found is never worse than
 * the start, as only improvements are kept. */
static void search(const struct om_block_form *f, const float *x, float lo, float hi,
                   struct best *best)
{
    for (int i = 1; i <= SHRINKS; i++) {
        const float part = 1.0f - 0.02f * (float)i;
        uint8_t zero;
        const float scale = range_params(f, lo * part, hi * part, &zero);

        consider(f, x, scale, zero, best);
        if (f->symmetric) /* the longer half of the numbers on the other side */
            consider(f, x, -scale, zero, best);
    }
    for (int i = 0; i < REFITS; i++)
        if (!consider(f, x, refit(f, x, best), best->zero, best))
            break;
}

double om_block_quantize(const struct om_block_form *f, const float *x, float *scale, uint8_t *zero,
                         uint8_t *q)
{
    const size_t n = (size_t)f->size;
    struct best best;
    float lo = 0, hi = 0;

    extremes(x, n, &lo, &hi);
    *scale = range_params(f, lo, hi, zero);
    round_block(x, n, *scale, (float)*zero, (float)((1 << f->bits) - 1), q);
    if (f->search == OM_QUANT_RTN)
        return 0;
    best.scale = *scale;
    best.zero = *zero;
    best.error = error_of(x, n, *scale, (float)*zero, q);
    memcpy(best.q, q, n);
    search(f, x, lo, hi, &best);
    *scale = best.scale;
    *zero = best.zero;
    memcpy(q, best.q, n);
    return (double)best.error;
}

/* ---- a weight ---- */

size_t om_blocks_row_bytes(const struct om_blocks *b)
{
    return b->blocks * (size_t)b->form.size * (size_t)b->form.bits / 8;
}

size_t om_blocks_zero_bytes(const struct om_blocks *b)
{
    return b->form.bits == 4 ? (b->blocks + 1) / 2 : b->blocks;
}

struct job {
    struct om_blocks *b;
    size_t rows;   /* in a chunk */
    float *values; /* of the slots: [rows][K], swapped only */
    uint8_t *packed;
    struct om_affine_error errors[SLOTS];
    bool broken[SLOTS]; /* an infinity or NaN was met */
    struct om_out *out;
    struct om_error *err;
};

static void pack(const struct om_block_form *f, const uint8_t *q, size_t valid, uint8_t zero,
                 uint8_t *dst)
{
    const size_t n = (size_t)f->size;
    uint8_t tail[OM_BLOCK_MAX];

    if (valid < n) { /* what lies behind the end is 0, the other half of a byte the zero point */
        memcpy(tail, q, valid);
        memset(tail + valid, 0, n - valid);
        if (f->bits == 4 && valid % 2 != 0)
            tail[valid] = zero;
        q = tail;
    }
    if (f->bits == 8) {
        memcpy(dst, q, n);
        return;
    }
    for (size_t i = 0; i < n / 2; i++)
        dst[i] = (uint8_t)(q[2 * i] | q[2 * i + 1] << 4);
}

static bool all_finite(const float *x, size_t n)
{
    int32_t most = 0;

    for (size_t i = 0; i < n; i++) {
        int32_t bits;

        memcpy(&bits, &x[i], sizeof(bits));
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    return most < 0x7f800000;
}

static void note_error(struct om_affine_error *e, const float *x, size_t n, float scale, float zero,
                       const uint8_t *q)
{
    float total[LANES] = { 0 }, sum[LANES] = { 0 }, worst[LANES] = { 0 };

    for (size_t i = 0; i < n; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            const float d = x[i + k] - ((float)q[i + k] - zero) * scale;
            const float m = d < 0 ? -d : d;

            worst[k] = m > worst[k] ? m : worst[k];
            sum[k] += d * d;
            total[k] += x[i + k] * x[i + k];
        }
    for (size_t k = 0; k < LANES; k++) {
        e->max = OM_MAX(e->max, (double)worst[k]);
        e->error += (double)sum[k];
        e->total += (double)total[k];
    }
}

static void put_zero(const struct om_blocks *b, size_t row, size_t block, uint8_t zero)
{
    uint8_t *const at = b->zero + row * om_blocks_zero_bytes(b);

    if (b->form.bits == 8)
        at[block] = zero;
    else if (block % 2 == 0) /* the half that nothing uses is the middle */
        at[block / 2] = (uint8_t)(zero | 8 << 4);
    else
        at[block / 2] = (uint8_t)((at[block / 2] & 0x0f) | zero << 4);
}

/* A row of a layer that is quantized already. */
static void repack_row(struct om_blocks *b, size_t row, uint8_t *dst)
{
    const struct om_packed *const p = b->layer;
    const size_t size = (size_t)b->form.size, bytes = size * (size_t)b->form.bits / 8;
    const int64_t n = (int64_t)(b->first_row + row);

    for (size_t i = 0; i < b->blocks; i++) {
        const size_t from = i * size, valid = OM_MIN(size, b->k - from);
        const int64_t group = (int64_t)from / p->group;
        const uint8_t zero = (uint8_t)om_packed_zero(p, n, group);
        uint8_t q[OM_BLOCK_MAX];

        for (size_t k = 0; k < valid; k++) {
            const int64_t at = (int64_t)(from + k);

            q[k] = (uint8_t)om_packed_number(p, n, p->order ? p->order[at] : at);
        }
        pack(&b->form, q, valid, zero, dst + i * bytes);
        b->scale[row * b->blocks + i] = om_packed_scale(p, n, group);
        if (b->zero)
            put_zero(b, row, i, zero);
    }
}

/* x: the row, or NULL where it is loaded from the storage. */
static void quantize_row(struct job *j, size_t slot, size_t row, const float *x, uint8_t *dst)
{
    struct om_blocks *const b = j->b;
    const size_t size = (size_t)b->form.size, bytes = size * (size_t)b->form.bits / 8;

    for (size_t i = 0; i < b->blocks; i++) {
        const size_t from = i * size, valid = OM_MIN(size, b->k - from);
        float block[OM_BLOCK_MAX];
        uint8_t q[OM_BLOCK_MAX], zero;
        float scale;

        if (x)
            memcpy(block, x + from, valid * sizeof(float));
        else
            om_affine_load(&b->weight, row * b->k + from, valid, block);
        for (size_t k = valid; k < size; k++)
            block[k] = 0.0f;
        if (!all_finite(block, size)) {
            j->broken[slot] = true;
            memset(block, 0, sizeof(block));
        }
        om_block_quantize(&b->form, block, &scale, &zero, q);
        if (b->want_error)
            note_error(&j->errors[slot], block, size, scale, (float)zero, q);
        pack(&b->form, q, valid, zero, dst + i * bytes);
        b->scale[row * b->blocks + i] = scale;
        if (b->zero)
            put_zero(b, row, i, zero);
    }
}

/* Columns [first, first + n) of [K][N] as rows. */
static void gather(const struct om_blocks *b, size_t first, size_t n, float *values)
{
    float line[OM_BLOCK_MAX];

    for (size_t k = 0; k < b->k; k++)
        for (size_t c = 0; c < n; c += OM_BLOCK_MAX) {
            const size_t len = OM_MIN(OM_BLOCK_MAX, n - c);

            om_affine_load(&b->weight, k * b->n + first + c, len, line);
            for (size_t i = 0; i < len; i++)
                values[(c + i) * b->k + k] = line[i];
        }
}

static void make_chunk(void *user, size_t slot, size_t item)
{
    struct job *const j = user;
    const struct om_blocks *const b = j->b;
    const size_t first = item * j->rows, n = OM_MIN(j->rows, b->n - first);
    const size_t bytes = om_blocks_row_bytes(b);
    float *const values = j->values ? j->values + slot * j->rows * b->k : NULL;

    if (b->layer) {
        for (size_t r = 0; r < n; r++)
            repack_row(j->b, first + r, j->packed + (slot * j->rows + r) * bytes);
        return;
    }
    if (values)
        gather(b, first, n, values);
    for (size_t r = 0; r < n; r++)
        quantize_row(j, slot, first + r, values ? values + r * b->k : NULL,
                     j->packed + (slot * j->rows + r) * bytes);
}

static int use_chunk(void *user, size_t slot, size_t item)
{
    struct job *const j = user;
    struct om_blocks *const b = j->b;
    const size_t n = OM_MIN(j->rows, b->n - item * j->rows), bytes = om_blocks_row_bytes(b);
    struct om_affine_error *const e = &j->errors[slot];

    if (j->broken[slot])
        return om_fail(j->err, OM_E_UNSUPPORTED,
                       "there is an infinity or NaN: it cannot be quantized");
    b->error.max = OM_MAX(b->error.max, e->max);
    b->error.error += e->error;
    b->error.total += e->total;
    *e = (struct om_affine_error){ 0 };
    return om_out_write(j->out, j->packed + slot * j->rows * bytes, n * bytes, j->err);
}

static int run_job(struct job *j)
{
    struct om_blocks *const b = j->b;
    struct om_relay relay = { .make = make_chunk, .use = use_chunk, .user = j };
    int rc;

    j->rows = OM_MIN(OM_MAX(CHUNK / OM_MAX(b->k, 1), BAND), b->n);
    relay.n = (b->n + j->rows - 1) / j->rows;
    relay.slots = OM_MIN(relay.n, SLOTS);
    j->packed = malloc(OM_MAX(relay.slots * j->rows * om_blocks_row_bytes(b), 1));
    if (b->swapped)
        j->values = malloc(OM_MAX(relay.slots * j->rows * b->k * sizeof(float), 1));
    if (!j->packed || (b->swapped && !j->values))
        rc = om_fail(j->err, OM_E_NOMEM, "out of memory");
    else
        rc = om_relay_run(&relay);
    free(j->packed);
    free(j->values);
    return rc;
}

#define OWNER(s, member) \
    ((struct om_blocks *)(uintptr_t)((const char *)(s)-offsetof(struct om_blocks, member)))

static int make_packed(const struct om_doc_source *s, struct om_out *out, struct om_error *err)
{
    struct om_blocks *const b = OWNER(s, packed);
    struct job j = { .b = b, .out = out, .err = err };

    om_blocks_release(b);
    b->error = (struct om_affine_error){ 0 };
    b->scale = malloc(OM_MAX(b->n * b->blocks * sizeof(*b->scale), 1));
    if (!b->form.symmetric)
        b->zero = malloc(OM_MAX(b->n * om_blocks_zero_bytes(b), 1));
    if (!b->scale || (!b->form.symmetric && !b->zero))
        return om_fail(err, OM_E_NOMEM, "out of memory");
    return b->n == 0 || b->k == 0 ? 0 : run_job(&j);
}

static int make_scales(const struct om_doc_source *s, struct om_out *out, struct om_error *err)
{
    struct om_blocks *const b = OWNER(s, scales);
    const size_t n = b->n * b->blocks;
    int rc;

    if (!b->scale)
        return om_fail(err, OM_E_INTERNAL, "the scales come before the weight");
    if (b->form.half) {
        uint16_t *const half = (uint16_t *)(void *)b->scale; /* in place: narrower than it was */

        for (size_t i = 0; i < n; i++) {
            const uint16_t bits = om_f32_to_f16(b->scale[i]);

            memcpy(&half[i], &bits, sizeof(bits));
        }
    }
    rc = om_out_write(out, b->scale, n * (b->form.half ? 2 : 4), err);
    free(b->scale);
    b->scale = NULL;
    return rc;
}

static int make_zeros(const struct om_doc_source *s, struct om_out *out, struct om_error *err)
{
    struct om_blocks *const b = OWNER(s, zeros);
    int rc;

    if (!b->zero)
        return om_fail(err, OM_E_INTERNAL, "the zero points come before the weight");
    rc = om_out_write(out, b->zero, b->n * om_blocks_zero_bytes(b), err);
    free(b->zero);
    b->zero = NULL;
    return rc;
}

void om_blocks_init(struct om_blocks *b, const struct om_weight *w, bool swapped,
                    struct om_block_form form)
{
    *b = (struct om_blocks){ .packed = { make_packed },
                             .scales = { make_scales },
                             .zeros = { make_zeros },
                             .weight = *w,
                             .form = form,
                             .swapped = swapped };
    b->n = (size_t)w->dims[swapped ? 1 : 0];
    b->k = (size_t)w->dims[swapped ? 0 : 1];
    b->blocks = (b->k + (size_t)form.size - 1) / (size_t)form.size;
}

int om_blocks_size_for(const struct om_packed_scheme *s)
{
    int64_t size = 128;

    if (s->group_size < 0)
        return (int)size;
    if (s->group_size == OM_BLOCK_MAX)
        return OM_BLOCK_MAX;
    while (size >= 16 && s->group_size % size != 0)
        size /= 2;
    return size >= 16 ? (int)size : 0;
}

void om_blocks_release(struct om_blocks *b)
{
    free(b->scale);
    free(b->zero);
    b->scale = NULL;
    b->zero = NULL;
}
