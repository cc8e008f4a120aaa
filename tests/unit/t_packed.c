/* tests/unit/t_packed.c: layers as GPTQ and AWQ save them, packed here by the published layouts:
 * the weights that a checkpoint shows, and the blocks that a file gets, bit for bit. */
#include <stdlib.h>

#include "base/half.h"
#include "ckpt/packed.h"
#include "made.h"
#include "onnx/weight.h"
#include "quant/blocks.h"
#include "test.h"

/* ---- layers ---- */

enum zeros { DRAWN, MIDDLE, ZERO, MOST };

struct form {
    const char *what;
    struct om_packed_scheme scheme;
    int64_t n, k;
    enum zeros zeros;
    enum om_dtype scales;
    bool act_order; /* groups in any order */
    bool no_g_idx;
};

/* A layer of that form, its contents by chance. */
struct layer {
    struct form f;
    int64_t group, groups;
    uint8_t *q, *zero; /* [n][k], [groups][n] */
    float *scale;      /* [groups][n] */
    int32_t *g_idx;
};

static unsigned draw_number(unsigned *seed, unsigned end)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % end;
}

static uint8_t draw_zero(const struct layer *l, unsigned *seed)
{
    const unsigned end = 1u << l->f.scheme.bits;

    switch (l->f.zeros) {
    case MIDDLE:
        return (uint8_t)(end / 2);
    case ZERO:
        return 0;
    case MOST:
        return (uint8_t)(end - 1);
    default:
        return (uint8_t)draw_number(seed, end);
    }
}

/* Full groups, in an order by chance. */
static void draw_groups(struct layer *l, unsigned *seed)
{
    for (int64_t k = 0; k < l->f.k; k++)
        l->g_idx[k] = (int32_t)(k / l->group);
    for (int64_t k = l->f.k - 1; l->f.act_order && k > 0; k--) {
        const int64_t with = draw_number(seed, (unsigned)k + 1);
        const int32_t g = l->g_idx[k];

        l->g_idx[k] = l->g_idx[with];
        l->g_idx[with] = g;
    }
}

static void draw(struct om_arena *a, struct layer *l)
{
    unsigned seed = (unsigned)(l->f.n * 31 + l->f.k);

    l->group = l->f.scheme.group_size < 0 ? l->f.k : OM_MIN(l->f.scheme.group_size, l->f.k);
    l->groups = (l->f.k + l->group - 1) / l->group;
    l->q = om_arena_alloc(a, (size_t)(l->f.n * l->f.k));
    l->zero = om_arena_alloc(a, (size_t)(l->f.n * l->groups));
    l->scale = om_arena_array(a, (size_t)(l->f.n * l->groups), sizeof(float));
    l->g_idx = om_arena_array(a, (size_t)l->f.k, sizeof(int32_t));
    for (int64_t i = 0; i < l->f.n * l->f.k; i++)
        l->q[i] = (uint8_t)draw_number(&seed, 1u << l->f.scheme.bits);
    for (int64_t i = 0; i < l->f.n * l->groups; i++) {
        l->zero[i] = draw_zero(l, &seed);
        l->scale[i] = number(&seed) * 0.1f;
    }
    draw_groups(l, &seed);
}

/* What the layer's weight is, by the definition of both methods. */
static float weight_at(const struct layer *l, int64_t n, int64_t k)
{
    const int64_t at = l->g_idx[k] * l->f.n + n;

    return (float)(l->q[n * l->f.k + k] - l->zero[at]) * l->scale[at];
}

/* ---- as the tools pack them ---- */

/* Number i of a word of AWQ is that of column order[i]. */
static const int awq_order[8] = { 0, 2, 4, 6, 1, 3, 5, 7 };

/* GPTQ: words down a column of qweight, along a row of qzeros. */
static void pack_gptq(const struct layer *l, uint32_t *qweight, uint32_t *qzeros)
{
    const int bits = (int)l->f.scheme.bits, pack = 32 / bits;
    const unsigned mask = (1u << bits) - 1;

    for (int64_t k = 0; k < l->f.k; k++)
        for (int64_t n = 0; n < l->f.n; n++)
            qweight[k / pack * l->f.n + n] |= (uint32_t)l->q[n * l->f.k + k] << (k % pack * bits);
    for (int64_t g = 0; g < l->groups; g++)
        for (int64_t n = 0; n < l->f.n; n++) {
            const unsigned z = l->zero[g * l->f.n + n];
            const unsigned stored = l->f.scheme.zeros_minus_one ? (z - 1) & mask : z;

            qzeros[g * (l->f.n / pack) + n / pack] |= stored << (n % pack * bits);
        }
}

static void pack_awq(const struct layer *l, uint32_t *qweight, uint32_t *qzeros)
{
    for (int64_t word = 0; word < l->f.n / 8; word++)
        for (int i = 0; i < 8; i++) {
            const int64_t n = word * 8 + awq_order[i];

            for (int64_t k = 0; k < l->f.k; k++)
                qweight[k * (l->f.n / 8) + word] |= (uint32_t)l->q[n * l->f.k + k] << (4 * i);
            for (int64_t g = 0; g < l->groups; g++)
                qzeros[g * (l->f.n / 8) + word] |= (uint32_t)l->zero[g * l->f.n + n] << (4 * i);
        }
}

static int write_layer(struct om_arena *a, struct layer *l, const char *path, struct om_error *err)
{
    const bool awq = l->f.scheme.layout == OM_PACKED_AWQ;
    const int64_t pack = 32 / l->f.scheme.bits, n = l->f.n, k = l->f.k, groups = l->groups;
    const int64_t weight[] = { awq ? k : k / pack, awq ? n / pack : n };
    const int64_t zeros[] = { groups, n / pack }, scales[] = { groups, n };
    uint32_t *const qweight = om_arena_array(a, (size_t)(n * k), 4);
    uint32_t *const qzeros = om_arena_array(a, (size_t)(n * groups), 4);
    void *const stored = om_arena_array(a, (size_t)(n * groups), 4);

    (awq ? pack_awq : pack_gptq)(l, qweight, qzeros);
    om_convert(stored, l->f.scales, l->scale, OM_F32, (size_t)(n * groups));
    om_convert(l->scale, OM_F32, stored, l->f.scales, (size_t)(n * groups));

    const struct om_tensor parts[] = {
        { .name = "a.qweight", .dtype = OM_I32, .rank = 2, .dims = weight, .data = qweight },
        { .name = "a.qzeros", .dtype = OM_I32, .rank = 2, .dims = zeros, .data = qzeros },
        { .name = "a.scales", .dtype = l->f.scales, .rank = 2, .dims = scales, .data = stored },
        { .name = "a.g_idx", .dtype = OM_I32, .rank = 1, .dims = &k, .data = l->g_idx },
    };
    return om_safetensors_write(path, parts, awq || l->f.no_g_idx ? 3 : 4, err);
}

/* ---- what is read ---- */

static struct om_weight view_of(const struct om_ckpt_tensor *x)
{
    return (struct om_weight){ .name = x->name,
                               .dtype = x->dtype,
                               .src_dtype = x->dtype,
                               .rank = x->rank,
                               .dims = x->dims,
                               .file = x->file,
                               .offset = x->offset,
                               .data = om_ckpt_data(x),
                               .bytes = x->bytes };
}

static int stream(struct made *m, const struct om_weight *w, struct om_error *err)
{
    struct om_out out = OM_OUT_INIT;
    int rc = om_out_open(&out, m->dir, "made", NULL, err);

    if (rc == 0)
        rc = om_weight_stream(w, &out, err);
    if (rc == 0)
        rc = om_out_commit(&out, false, err);
    om_out_abort(&out);
    if (rc == 0)
        rc = om_file_read(&m->arena, om_path_join(&m->arena, m->dir, "made"), 1u << 24, &m->bytes,
                          err);
    return rc;
}

/* The weight as a whole, some rows of it, and with its axes swapped in 16 bits. */
static void check_values(struct test *t, struct made *m, const struct layer *l,
                         const struct om_ckpt_tensor *x)
{
    const int64_t row = l->f.n / 3, rows[] = { l->f.n - row, l->f.k },
                  swapped[] = { l->f.k, l->f.n };
    const int64_t strides[] = { 1, l->f.k };
    struct om_weight whole = view_of(x), part = whole, turned = whole;
    struct om_error err = OM_ERROR_INIT;
    size_t wrong = 0;

    CHECK_OK(t, stream(m, &whole, &err), &err);
    CHECK_INT(t, m->bytes.len, l->f.n * l->f.k * 4);
    for (int64_t i = 0; i < l->f.n * l->f.k && !test_failed(t); i++)
        wrong +=
            ((const float *)(const void *)m->bytes.ptr)[i] != weight_at(l, i / l->f.k, i % l->f.k);
    CHECK_INT(t, wrong, 0);

    part.dims = rows;
    part.offset += (uint64_t)(row * l->f.k) * 4;
    part.bytes -= (uint64_t)(row * l->f.k) * 4;
    CHECK_OK(t, stream(m, &part, &err), &err);
    for (int64_t i = 0; i < rows[0] * l->f.k && !test_failed(t); i++)
        wrong += ((const float *)(const void *)m->bytes.ptr)[i] !=
                 weight_at(l, row + i / l->f.k, i % l->f.k);
    CHECK_INT(t, wrong, 0);

    turned.dims = swapped;
    turned.strides = strides;
    turned.dtype = OM_F16;
    CHECK_OK(t, stream(m, &turned, &err), &err);
    CHECK_INT(t, m->bytes.len, l->f.n * l->f.k * 2);
    for (int64_t i = 0; i < l->f.n * l->f.k && !test_failed(t); i++)
        wrong += ((const uint16_t *)(const void *)m->bytes.ptr)[i] !=
                 om_f32_to_f16(weight_at(l, i % l->f.n, i / l->f.n));
    CHECK_INT(t, wrong, 0);
    om_error_release(&err);
}

/* ---- what is written ---- */

static int nibble(const char *row, size_t i, int64_t bits)
{
    const uint8_t *const at = (const uint8_t *)row;

    return bits == 8 ? at[i] : at[i / 2] >> (i % 2 * 4) & 15;
}

/* Rows first to n of the blocks, dequantized as MatMulNBits does, are those of the weight; column c
 * of the blocks is input feature order[c]. */
static void check_parts(struct test *t, const struct layer *l, const struct om_blocks *b,
                        om_sv packed, om_sv scales, om_sv zeros)
{
    const size_t size = (size_t)b->form.size;
    const int64_t bits = l->f.scheme.bits;
    size_t wrong = 0;

    for (size_t n = 0; n < b->n; n++)
        for (size_t c = 0; c < b->k; c++) {
            const int64_t k = b->layer->order ? b->layer->order[c] : (int64_t)c;
            const size_t block = c / size;
            const int q = nibble(packed.ptr + n * om_blocks_row_bytes(b), c, bits);
            int z = 1 << (bits - 1);
            float scale;

            memcpy(&scale, scales.ptr + 4 * (n * b->blocks + block), sizeof(scale));
            if (zeros.ptr)
                z = nibble(zeros.ptr + n * om_blocks_zero_bytes(b), block, bits);
            wrong += (float)(q - z) * scale != weight_at(l, (int64_t)(b->first_row + n), k);
        }
    CHECK_INT(t, wrong, 0);
}

static void check_written(struct test *t, struct made *m, const struct layer *l,
                          const struct om_packed_set *set, const struct om_ckpt_tensor *x,
                          size_t first)
{
    struct om_weight w = view_of(x);
    const int64_t dims[] = { l->f.n - (int64_t)first, l->f.k };
    struct om_error err = OM_ERROR_INIT;
    om_sv packed, scales, zeros = { NULL, 0 };
    struct om_blocks b;
    int rc;

    w.dims = dims;
    om_blocks_init(&b, &w, false,
                   (struct om_block_form){ .bits = (int)l->f.scheme.bits,
                                           .size = om_blocks_size_for(&l->f.scheme),
                                           .symmetric = set->mid_zeros });
    b.layer = om_packed_find(set, x->file, x->offset);
    b.first_row = first;
    CHECK(t, b.layer == &set->layers[0]);
    rc = make(m, &b.packed, &err);
    packed = m->bytes;
    if (rc == 0)
        rc = make(m, &b.scales, &err);
    scales = m->bytes;
    if (rc == 0 && !b.form.symmetric) {
        rc = make(m, &b.zeros, &err);
        zeros = m->bytes;
    }
    CHECK_OK(t, rc, &err);
    if (rc == 0)
        check_parts(t, l, &b, packed, scales, zeros);
    om_blocks_release(&b);
    om_error_release(&err);
}

static void check_layer(struct test *t, struct layer *l)
{
    struct made m = { .dir = test_tmpdir(t), .arena = OM_ARENA_INIT(256u << 20) };
    const char *const path = om_path_join(&m.arena, m.dir, "model.safetensors");
    const struct om_ckpt_tensor *x = NULL;
    struct om_packed_set *set = NULL;
    struct om_error err = OM_ERROR_INIT;
    struct om_ckpt *ck = NULL;
    int rc;

    draw(&m.arena, l);
    rc = write_layer(&m.arena, l, path, &err);
    if (rc == 0)
        rc = om_ckpt_open(&m.arena, m.dir, &ck, &err);
    if (rc == 0)
        rc = om_packed_open(&m.arena, ck, &l->f.scheme, &set, &err);
    CHECK_OK(t, rc, &err);
    if (rc == 0) {
        x = om_ckpt_find(ck, OM_SVL("a.weight"));
        CHECK(t, ck->len == 1 && x != NULL);
        CHECK_INT(t, set->mid_zeros, l->f.zeros == MIDDLE);
    }
    if (x) {
        check_values(t, &m, l, x);
        check_written(t, &m, l, set, x, 0);
        check_written(t, &m, l, set, x, (size_t)l->f.n / 2);
    }
    om_ckpt_close(ck);
    om_error_release(&err);
    om_arena_release(&m.arena);
}

#define GPTQ(bits, group, minus)           \
    {                                      \
        OM_PACKED_GPTQ, bits, group, minus \
    }
#define AWQ(group)                     \
    {                                  \
        OM_PACKED_AWQ, 4, group, false \
    }

static void layouts(struct test *t)
{
    static const struct form forms[] = {
        { "gptq", GPTQ(4, 32, true), 24, 96, DRAWN, OM_F16, false, false },
        { "gptq, symmetric", GPTQ(4, 32, true), 24, 96, MIDDLE, OM_F16, false, false },
        { "gptq, zero points 0", GPTQ(4, 32, true), 8, 64, ZERO, OM_F16, false, false },
        { "gptq, zero points 15", GPTQ(4, 32, true), 8, 64, MOST, OM_F16, false, false },
        { "gptq_v2", GPTQ(4, 64, false), 40, 192, DRAWN, OM_F16, false, false },
        { "gptq_v2, zero points 15", GPTQ(4, 64, false), 8, 64, MOST, OM_BF16, false, false },
        { "gptq, act-order", GPTQ(4, 16, true), 16, 128, DRAWN, OM_F16, true, false },
        { "gptq_v2, act-order", GPTQ(4, 32, false), 16, 320, DRAWN, OM_F32, true, false },
        { "gptq, act-order, a shorter group", GPTQ(4, 32, true), 8, 104, DRAWN, OM_F16, true,
          false },
        { "gptq, a shorter group", GPTQ(4, 32, true), 8, 72, DRAWN, OM_F16, false, false },
        { "gptq without g_idx", GPTQ(4, 128, true), 8, 256, DRAWN, OM_BF16, false, true },
        { "gptq, whole columns", GPTQ(4, -1, true), 16, 168, DRAWN, OM_F16, false, false },
        { "gptq, a group above the columns", GPTQ(4, 128, true), 8, 40, DRAWN, OM_F16, false,
          false },
        { "gptq, groups of 48", GPTQ(4, 48, true), 8, 144, DRAWN, OM_F16, false, false },
        { "gptq, groups of 1024", GPTQ(4, 1024, true), 8, 2080, DRAWN, OM_F32, false, false },
        { "gptq, act-order of 1024", GPTQ(4, 1024, true), 8, 3072, DRAWN, OM_F32, true, false },
        { "gptq, 8 bits", GPTQ(8, 32, true), 12, 100, DRAWN, OM_F16, false, false },
        { "gptq, 8 bits, symmetric", GPTQ(8, 64, true), 12, 128, MIDDLE, OM_F16, false, false },
        { "gptq, 8 bits, zero points 0", GPTQ(8, 64, true), 4, 64, ZERO, OM_F16, false, false },
        { "gptq_v2, 8 bits, act-order", GPTQ(8, 16, false), 20, 144, DRAWN, OM_F16, true, false },
        { "gptq, 8 bits, whole columns", GPTQ(8, -1, true), 4, 300, MOST, OM_F32, false, false },
        { "awq", AWQ(32), 24, 96, DRAWN, OM_F16, false, false },
        { "awq, symmetric", AWQ(64), 8, 128, MIDDLE, OM_F16, false, false },
        { "awq, odd features", AWQ(16), 16, 37, DRAWN, OM_BF16, false, false },
        { "awq, whole columns", AWQ(-1), 8, 333, DRAWN, OM_F32, false, false },
        { "awq, many rows", AWQ(128), 520, 256, MOST, OM_F16, false, false },
    };

    for (size_t i = 0; i < OM_COUNT(forms); i++) {
        struct layer l = { .f = forms[i] };

        test_case(t, "%s", l.f.what);
        check_layer(t, &l);
    }
}

const struct test_entry t_packed[] = { { "layouts", layouts }, TEST_END };
