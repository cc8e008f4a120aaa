/* src/quant/blocks.c: weights in blocks, made chunk by chunk on several threads. */
#include "quant/blocks.h"

#include <math.h>
#include <stdlib.h>

#include "base/codes.h"
#include "base/half.h"
#include "base/thread.h"
#include "quant/codes.h"

#define SLOTS 8
#define BAND 16            /* rows of one chunk at least */
#define CHUNK (256u << 10) /* elements of one chunk, about */
#define TILE 16            /* a cache line of floats */

static size_t block_bytes(const struct om_blocks *b)
{
    return (size_t)b->form.size * (size_t)b->form.bits / 8;
}

/* Numbers that are not integers. */
static bool is_coded(const struct om_blocks *b)
{
    return b->form.numbers != OM_QUANT_INTEGERS;
}

/* The table of base/codes.h. */
static int codes_of(const struct om_blocks *b)
{
    return b->form.numbers == OM_QUANT_NF4 ? OM_CODES_NF4 : OM_CODES_FP4;
}

/* Of packed, in rows that end with a byte. */
static size_t rows_bytes(const struct om_blocks *b, size_t rows)
{
    return is_coded(b) ? (rows * b->k + 1) / 2 : rows * b->blocks * block_bytes(b);
}

size_t om_blocks_bytes(const struct om_blocks *b)
{
    return rows_bytes(b, b->n);
}

size_t om_blocks_row_bytes(const struct om_blocks *b)
{
    return rows_bytes(b, 1);
}

size_t om_blocks_count(const struct om_blocks *b)
{
    return is_coded(b) ? b->blocks : b->n * b->blocks;
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
    uint8_t *line; /* of the slots: [K] numbers, act-order only */
    struct om_block_error errors[SLOTS];
    struct om_affine_error coded[SLOTS]; /* of numbers that are not integers */
    bool broken[SLOTS];                  /* an infinity or NaN was met */
    struct om_out *out;
    struct om_error *err;
};

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

/* What lies behind the end of a row is 0, the other half of its last byte the zero point. */
static void clear_tail(const struct om_block_form *f, struct om_block_piece *p, size_t valid)
{
    const size_t n = p->n * (size_t)f->size;

    memset(p->q + valid, 0, n - valid);
    if (f->bits == 4 && valid % 2 != 0)
        p->q[valid] = p->zero[p->n - 1];
}

/* Write the piece that begins with a block of a row; valid: its elements in the row. */
static void put_piece(struct om_blocks *b, size_t row, size_t block, struct om_block_piece *p,
                      size_t valid, uint8_t *dst)
{
    clear_tail(&b->form, p, valid);
    om_block_pack(&b->form, p, dst + block * block_bytes(b));
    memcpy(b->scale + row * b->blocks + block, p->scale, p->n * sizeof(float));
    for (size_t i = 0; b->zero && i < p->n; i++)
        put_zero(b, row, block + i, p->zero[i]);
}

/* The blocks of the piece that begins at element from; gives its elements in the row. */
static size_t begin_piece(const struct om_blocks *b, size_t from, struct om_block_piece *p)
{
    const size_t valid = OM_MIN(OM_BLOCK_PIECE, b->k - from), size = (size_t)b->form.size;

    p->n = (valid + size - 1) / size;
    return valid;
}

/* Blocks of a layer that is quantized already. line: the numbers of the row as they come, where
 * they are to be sorted. */
static void load_packed(const struct om_blocks *b, size_t row, size_t from, size_t valid,
                        const uint8_t *line, struct om_block_piece *p)
{
    const struct om_packed *const l = b->layer;
    const int64_t n = (int64_t)(b->first_row + row);

    for (size_t i = 0; i < p->n; i++) {
        const int64_t group = (int64_t)(from + i * (size_t)b->form.size) / l->group;

        p->scale[i] = om_packed_scale(l, n, group);
        p->zero[i] = (uint8_t)om_packed_zero(l, n, group);
    }
    if (!line)
        om_packed_numbers(l, n, (int64_t)from, valid, p->q);
    for (size_t i = 0; line && i < valid; i++)
        p->q[i] = line[l->order[from + i]];
}

static void repack_row(struct om_blocks *b, size_t row, uint8_t *line, uint8_t *dst)
{
    struct om_block_piece p;

    if (line)
        om_packed_numbers(b->layer, (int64_t)(b->first_row + row), 0, b->k, line);
    for (size_t from = 0; from < b->k; from += OM_BLOCK_PIECE) {
        const size_t valid = begin_piece(b, from, &p);

        load_packed(b, row, from, valid, line, &p);
        put_piece(b, row, from / (size_t)b->form.size, &p, valid, dst);
    }
}

/* x: the row, or NULL where it is loaded from the storage. */
static void quantize_row(struct job *j, size_t slot, size_t row, const float *x, uint8_t *dst)
{
    struct om_blocks *const b = j->b;
    struct om_block_piece p;

    for (size_t from = 0; from < b->k; from += OM_BLOCK_PIECE) {
        const size_t valid = begin_piece(b, from, &p);

        if (x)
            memcpy(p.x, x + from, valid * sizeof(float));
        else
            om_affine_load(&b->weight, row * b->k + from, valid, p.x);
        for (size_t i = valid; i < p.n * (size_t)b->form.size; i++)
            p.x[i] = 0.0f;
        if (!om_block_finite(&b->form, &p)) {
            j->broken[slot] = true;
            return;
        }
        om_block_quantize(&b->form, &p);
        if (b->want_error)
            om_block_measure(&b->form, &p, &j->errors[slot]);
        put_piece(b, row, from / (size_t)b->form.size, &p, valid, dst);
    }
}

/* Columns [first, first + n) of [K][N] as rows, by tiles: several lines at once, so that whole
 * cache lines of the rows are written. */
static void gather_tile(const struct om_blocks *b, size_t first, size_t n, size_t k, float *values)
{
    float tile[TILE][OM_BLOCK_MAX];
    const size_t lines = OM_MIN(TILE, b->k - k);

    for (size_t i = 0; i < lines; i++)
        om_affine_load(&b->weight, (k + i) * b->n + first, n, tile[i]);
    for (size_t c = 0; c < n; c++)
        for (size_t i = 0; i < lines; i++)
            values[c * b->k + k + i] = tile[i][c];
}

static void gather(const struct om_blocks *b, size_t first, size_t n, float *values)
{
    for (size_t c = 0; c < n; c += OM_BLOCK_MAX)
        for (size_t k = 0; k < b->k; k += TILE)
            gather_tile(b, first + c, OM_MIN(OM_BLOCK_MAX, n - c), k, values + c * b->k);
}

/* Rows, from first on, as one sequence. */
static void code_rows(struct job *j, size_t slot, size_t first, size_t n, const float *x,
                      uint8_t *dst)
{
    struct om_blocks *const b = j->b;
    const size_t size = (size_t)b->form.size, begin = first * b->k, total = n * b->k;
    const int codes = codes_of(b);

    for (size_t at = 0; at < total; at += size) {
        const size_t len = OM_MIN(size, total - at);
        float scale;

        scale = om_codes_block(codes, x + at, len, dst + at / 2);
        j->broken[slot] = j->broken[slot] || !isfinite(scale);
        b->scale[(begin + at) / size] = scale;
        if (b->want_error)
            om_codes_note(&j->coded[slot], codes, x + at, len, scale, dst + at / 2);
    }
}

static void make_chunk(void *user, size_t slot, size_t item)
{
    struct job *const j = user;
    const struct om_blocks *const b = j->b;
    const size_t first = item * j->rows, n = OM_MIN(j->rows, b->n - first);
    const size_t bytes = rows_bytes(b, 1);
    uint8_t *const dst = j->packed + slot * rows_bytes(b, j->rows);
    float *const values = j->values ? j->values + slot * j->rows * b->k : NULL;

    if (b->swapped && !b->layer)
        gather(b, first, n, values);
    else if (values)
        om_affine_load(&b->weight, first * b->k, n * b->k, values);
    if (is_coded(b)) {
        code_rows(j, slot, first, n, values, dst);
        return;
    }
    for (size_t r = 0; r < n; r++) {
        if (b->layer)
            repack_row(j->b, first + r, j->line ? j->line + slot * b->k : NULL, dst + r * bytes);
        else
            quantize_row(j, slot, first + r, values ? values + r * b->k : NULL, dst + r * bytes);
    }
}

static void add_error(struct om_blocks *b, struct om_block_error *e)
{
    for (size_t k = 0; k < OM_BLOCK_LANES; k++) {
        b->error.max = OM_MAX(b->error.max, (double)e->max[k]);
        b->error.error += e->error[k];
        b->error.total += e->total[k];
    }
    *e = (struct om_block_error){ .max = { 0 } };
}

static void add_coded_error(struct om_blocks *b, struct om_affine_error *e)
{
    b->error.max = OM_MAX(b->error.max, e->max);
    b->error.error += e->error;
    b->error.total += e->total;
    *e = (struct om_affine_error){ 0 };
}

static int use_chunk(void *user, size_t slot, size_t item)
{
    struct job *const j = user;
    struct om_blocks *const b = j->b;
    const size_t n = OM_MIN(j->rows, b->n - item * j->rows);

    if (j->broken[slot])
        return om_fail(j->err, OM_E_UNSUPPORTED,
                       "there is an infinity or NaN: it cannot be quantized");
    add_error(b, &j->errors[slot]);
    add_coded_error(b, &j->coded[slot]);
    return om_out_write(j->out, j->packed + slot * rows_bytes(b, j->rows), rows_bytes(b, n),
                        j->err);
}

/* Rows that hold whole blocks. */
static size_t unit_rows(const struct om_blocks *b)
{
    size_t unit = is_coded(b) ? (size_t)b->form.size : 1;

    while (unit > 1 && unit / 2 * b->k % (size_t)b->form.size == 0)
        unit /= 2;
    return unit;
}

static int run_job(struct job *j)
{
    struct om_blocks *const b = j->b;
    struct om_relay relay = { .make = make_chunk, .use = use_chunk, .user = j };
    const size_t unit = unit_rows(b), rows = OM_MAX(CHUNK / OM_MAX(b->k, 1), BAND);
    const bool loaded = b->swapped || is_coded(b), sorted = b->layer && b->layer->order;
    int rc;

    j->rows = OM_MIN((rows + unit - 1) / unit * unit, b->n);
    relay.n = (b->n + j->rows - 1) / j->rows;
    relay.slots = OM_MIN(relay.n, SLOTS);
    j->packed = malloc(OM_MAX(relay.slots * rows_bytes(b, j->rows), 1));
    if (loaded)
        j->values = malloc(OM_MAX(relay.slots * j->rows * b->k * sizeof(float), 1));
    if (sorted)
        j->line = malloc(OM_MAX(relay.slots * b->k, 1));
    if (!j->packed || (loaded && !j->values) || (sorted && !j->line))
        rc = om_fail(j->err, OM_E_NOMEM, "out of memory");
    else
        rc = om_relay_run(&relay);
    free(j->packed);
    free(j->values);
    free(j->line);
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
    b->scale = malloc(OM_MAX(om_blocks_count(b) * sizeof(*b->scale), 1));
    if (!b->form.symmetric)
        b->zero = malloc(OM_MAX(b->n * om_blocks_zero_bytes(b), 1));
    if (!b->scale || (!b->form.symmetric && !b->zero))
        return om_fail(err, OM_E_NOMEM, "out of memory");
    return b->n == 0 || b->k == 0 ? 0 : run_job(&j);
}

static int make_scales(const struct om_doc_source *s, struct om_out *out, struct om_error *err)
{
    struct om_blocks *const b = OWNER(s, scales);
    const size_t n = om_blocks_count(b);
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
    b->blocks = ((is_coded(b) ? b->n * b->k : b->k) + (size_t)form.size - 1) / (size_t)form.size;
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
