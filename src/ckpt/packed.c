/* src/ckpt/packed.c: layers that a checkpoint holds quantized, found, checked and dequantized. */
#include "ckpt/packed.h"

#include "base/half.h"
#include "base/thread.h"
#include "ckpt/internal.h"

#define QWEIGHT ".qweight"
#define BAND 16 /* rows that a thread dequantizes at least */
#define RUN 256 /* numbers at once */

/* ---- numbers ---- */

static uint32_t word_at(const struct om_ckpt_tensor *t, int64_t row, int64_t col)
{
    return om_le32((const uint8_t *)om_ckpt_data(t) + (row * t->dims[1] + col) * 4);
}

/* Where AWQ's word has the number of a column. */
static unsigned awq_slot(int64_t col)
{
    static const uint8_t slots[8] = { 0, 4, 1, 5, 2, 6, 3, 7 };

    return slots[col % 8];
}

void om_packed_numbers(const struct om_packed *p, int64_t n, int64_t k, size_t count, uint8_t *q)
{
    const unsigned bits = (unsigned)p->scheme->bits, mask = (1u << bits) - 1;
    const int64_t pack = 32 / (int64_t)bits;

    if (p->scheme->layout == OM_PACKED_AWQ) {
        const unsigned shift = 4 * awq_slot(n);

        for (size_t i = 0; i < count; i++)
            q[i] = (uint8_t)(word_at(p->qweight, k + (int64_t)i, n / 8) >> shift & 15);
        return;
    }
    for (size_t i = 0; i < count;) {
        const uint32_t word = word_at(p->qweight, k / pack, n);

        for (int64_t slot = k % pack; slot < pack && i < count; slot++, k++)
            q[i++] = (uint8_t)(word >> (bits * (unsigned)slot) & mask);
    }
}

unsigned om_packed_zero(const struct om_packed *p, int64_t n, int64_t group)
{
    const unsigned bits = (unsigned)p->scheme->bits, mask = (1u << bits) - 1;
    const int64_t pack = 32 / (int64_t)bits;
    unsigned zero;

    if (p->scheme->layout == OM_PACKED_AWQ)
        return word_at(p->qzeros, group, n / 8) >> (4 * awq_slot(n)) & 15;
    zero = word_at(p->qzeros, group, n / pack) >> (bits * (unsigned)(n % pack)) & mask;
    return p->scheme->zeros_minus_one ? (zero + 1) & mask : zero;
}

float om_packed_scale(const struct om_packed *p, int64_t n, int64_t group)
{
    const uint8_t *const data = om_ckpt_data(p->scales);
    const int64_t at = group * p->n + n;
    uint16_t half;
    float wide;

    if (p->scales->dtype == OM_F32) {
        memcpy(&wide, data + at * 4, sizeof(wide));
        return wide;
    }
    memcpy(&half, data + at * 2, sizeof(half));
    return p->scales->dtype == OM_F16 ? om_f16_to_f32(half) : om_bf16_to_f32(half);
}

/* ---- one layer ---- */

static const struct om_ckpt_tensor *find_part(struct om_arena *a, const struct om_ckpt *ck,
                                              om_sv stem, const char *part)
{
    const char *name = om_arena_printf(a, "%.*s.%s", OM_SV(stem), part);

    return name ? om_ckpt_find(ck, om_sv_str(name)) : NULL;
}

static int check_part(const struct om_ckpt_tensor *t, om_sv stem, const char *part, bool floats,
                      int64_t rows, int64_t cols, struct om_error *err)
{
    if (!t)
        return om_fail(err, OM_E_MISSING, "tensor \"%.*s.%s\" is missing", OM_SV(stem), part);
    if (floats ? t->dtype != OM_F16 && t->dtype != OM_BF16 && t->dtype != OM_F32
               : t->dtype != OM_I32)
        return om_fail(err, OM_E_FORMAT, "tensor \"%.*s\": expected %s, found %s", OM_SV(t->name),
                       floats ? "float16, bfloat16 or float32" : "int32", om_dtype_text(t->dtype));
    if (t->strides || t->rank != 2 || t->dims[0] != rows || t->dims[1] != cols)
        return om_fail(err, OM_E_FORMAT,
                       "tensor \"%.*s\": expected shape [%" PRId64 ", %" PRId64 "]", OM_SV(t->name),
                       rows, cols);
    return 0;
}

/* Sort the input features by their group, in their order within one; every group but the last must
 * be full. */
static int read_order(struct om_arena *a, struct om_packed *p, struct om_error *err)
{
    int32_t *const group_of = om_arena_array(a, (size_t)p->k, sizeof(*group_of));
    int64_t *const order = om_arena_array(a, (size_t)p->k, sizeof(*order));
    int64_t *const next = om_arena_array(a, (size_t)p->groups, sizeof(*next));
    const uint8_t *const data = om_ckpt_data(p->g_idx);
    bool sorted = true;

    if (!group_of || !order || !next)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (int64_t g = 0; g < p->groups; g++)
        next[g] = g * p->group;
    for (int64_t k = 0; k < p->k; k++) {
        const uint32_t raw = om_le32(data + 4 * k);
        const int64_t g = raw;

        if (g >= p->groups)
            return om_fail(err, OM_E_FORMAT, "tensor \"%.*s\": group %" PRId32 " of %" PRId64,
                           OM_SV(p->g_idx->name), (int32_t)raw, p->groups);
        if (next[g] >= OM_MIN((g + 1) * p->group, p->k))
            return om_fail(err, OM_E_UNSUPPORTED,
                           "tensor \"%.*s\": group %" PRId64 " has more than %" PRId64
                           " members, which MatMulNBits cannot express",
                           OM_SV(p->g_idx->name), g, OM_MIN(p->group, p->k - g * p->group));
        sorted = sorted && next[g] == k;
        group_of[k] = (int32_t)g;
        order[next[g]++] = k;
    }
    if (!sorted) {
        p->order = order;
        p->group_of = group_of;
    }
    return 0;
}

static int read_extents(struct om_packed *p, om_sv stem, struct om_error *err)
{
    const struct om_packed_scheme *const s = p->scheme;
    const struct om_ckpt_tensor *const t = p->qweight;
    const int64_t pack = 32 / s->bits;
    const bool awq = s->layout == OM_PACKED_AWQ;

    if (t->rank != 2 || t->dims[0] < 1 || t->dims[1] < 1 || t->dims[0] > INT32_MAX ||
        t->dims[1] > INT32_MAX)
        return om_fail(err, OM_E_FORMAT, "tensor \"%.*s\": expected a matrix", OM_SV(t->name));
    OM_TRY(check_part(t, stem, "qweight", false, t->dims[0], t->dims[1], err));
    p->k = awq ? t->dims[0] : t->dims[0] * pack;
    p->n = awq ? t->dims[1] * pack : t->dims[1];
    if (p->k > INT32_MAX || p->n > INT32_MAX)
        return om_fail(err, OM_E_LIMIT, "tensor \"%.*s\" is too large", OM_SV(t->name));
    if (p->n % pack != 0)
        return om_fail(err, OM_E_UNSUPPORTED,
                       "tensor \"%.*s\": %" PRId64 " rows are not a multiple of %" PRId64,
                       OM_SV(t->name), p->n, pack);
    p->group = s->group_size < 0 ? p->k : OM_MIN(s->group_size, p->k);
    p->groups = (p->k + p->group - 1) / p->group;
    return 0;
}

static int read_layer(struct om_arena *a, const struct om_ckpt *ck, struct om_packed *p, om_sv stem,
                      struct om_error *err)
{
    const char *name = om_arena_printf(a, "%.*s.weight", OM_SV(stem));

    if (!name)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    p->name = om_sv_str(name);
    if (om_ckpt_find(ck, p->name))
        return om_fail(err, OM_E_FORMAT, "tensors \"%s\" and \"%.*s\" are the same weight", name,
                       OM_SV(p->qweight->name));
    OM_TRY(read_extents(p, stem, err));
    p->qzeros = find_part(a, ck, stem, "qzeros");
    p->scales = find_part(a, ck, stem, "scales");
    OM_TRY(
        check_part(p->qzeros, stem, "qzeros", false, p->groups, p->n * p->scheme->bits / 32, err));
    OM_TRY(check_part(p->scales, stem, "scales", true, p->groups, p->n, err));
    if (p->scheme->layout == OM_PACKED_AWQ)
        return 0;
    p->g_idx = find_part(a, ck, stem, "g_idx");
    if (!p->g_idx)
        return 0;
    if (p->g_idx->dtype != OM_I32 || p->g_idx->rank != 1 || p->g_idx->dims[0] != p->k ||
        p->g_idx->strides)
        return om_fail(err, OM_E_FORMAT, "tensor \"%.*s\": expected int32 [%" PRId64 "]",
                       OM_SV(p->g_idx->name), p->k);
    return read_order(a, p, err);
}

static bool has_mid_zeros(const struct om_packed *p)
{
    const unsigned mid = 1u << (p->scheme->bits - 1);

    for (int64_t g = 0; g < p->groups; g++)
        for (int64_t n = 0; n < p->n; n++)
            if (om_packed_zero(p, n, g) != mid)
                return false;
    return true;
}

/* ---- dequantized ---- */

/* count numbers of row n from input feature k on, which share a group. */
static void dequantize_group(const struct om_packed *p, int64_t n, int64_t k, int64_t group,
                             size_t count, float *dst)
{
    const int zero = (int)om_packed_zero(p, n, group);
    const float scale = om_packed_scale(p, n, group);
    uint8_t q[RUN];

    om_packed_numbers(p, n, k, count, q);
    for (size_t i = 0; i < count; i++)
        dst[i] = (float)((int)q[i] - zero) * scale;
}

/* Input features k to end - 1 of row n. */
static void dequantize_row(const struct om_packed *p, int64_t n, int64_t k, int64_t end, float *dst)
{
    while (k < end) {
        const int64_t group = p->group_of ? p->group_of[k] : k / p->group;
        int64_t run = 1;

        if (p->group_of)
            while (run < RUN && k + run < end && p->group_of[k + run] == group)
                run++;
        else
            run = OM_MIN(RUN, OM_MIN(end, (group + 1) * p->group) - k);
        dequantize_group(p, n, k, group, (size_t)run, dst);
        dst += run;
        k += run;
    }
}

/* Elements first to end - 1 of a layer. */
struct range {
    const struct om_packed *p;
    int64_t first, end;
    float *dst;
};

static void dequantize_rows(void *user, size_t begin, size_t end)
{
    const struct range *const r = user;
    const int64_t k = r->p->k, row = r->first / k;

    for (size_t i = begin; i < end; i++) {
        const int64_t n = row + (int64_t)i, from = OM_MAX(r->first, n * k);

        dequantize_row(r->p, n, from - n * k, OM_MIN(r->end, (n + 1) * k) - n * k,
                       r->dst + (from - r->first));
    }
}

static size_t layer_at(const struct om_packed_set *set, uint64_t offset)
{
    size_t lo = 0, hi = set->len;

    while (hi - lo > 1) { /* offsets rise */
        const size_t mid = lo + (hi - lo) / 2;

        if (set->layers[mid].offset <= offset)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

#define OWNER(m)                                                                                   \
    ((const struct om_packed_set *)(const void *)((const char *)(m)-offsetof(struct om_packed_set, \
                                                                             maker)))

static void make_values(const struct om_file_maker *m, uint64_t offset, size_t len, void *dst)
{
    const struct om_packed_set *const set = OWNER(m);
    int64_t left = (int64_t)(len / sizeof(float));
    float *to = dst;

    for (size_t i = left > 0 ? layer_at(set, offset) : set->len; left > 0 && i < set->len; i++) {
        const struct om_packed *const p = &set->layers[i];
        struct range r = { .p = p, .dst = to };

        r.first = (int64_t)((offset - p->offset) / sizeof(float));
        r.end = OM_MIN(r.first + left, p->n * p->k);
        om_parallel((size_t)((r.end - 1) / p->k - r.first / p->k + 1), BAND, dequantize_rows, &r);
        offset += (uint64_t)(r.end - r.first) * sizeof(float);
        to += r.end - r.first;
        left -= r.end - r.first;
    }
}

/* Give every layer its place in the file that is never written. */
static int place_values(struct om_packed_set *set, struct om_error *err)
{
    uint64_t size = 0, bytes;

    for (size_t i = 0; i < set->len; i++) {
        struct om_packed *const p = &set->layers[i];

        p->offset = size;
        if (!om_mul_u64((uint64_t)p->n, (uint64_t)p->k * sizeof(float), &bytes) ||
            !om_add_u64(size, bytes, &size) || size > INT64_MAX)
            return om_fail(err, OM_E_LIMIT, "tensor \"%.*s\" is too large", OM_SV(p->name));
    }
    set->maker.make = make_values;
    set->values = (struct om_file){ .fd = -1, .size = size, .maker = &set->maker };
    return 0;
}

/* ---- the checkpoint ---- */

static bool is_part(const struct om_ckpt *ck, struct om_arena *a, om_sv name)
{
    static const char *const parts[] = { ".qweight", ".qzeros", ".scales", ".g_idx" };

    for (size_t i = 0; i < OM_COUNT(parts); i++) {
        om_sv stem = name;

        if (!om_sv_ends(name, om_sv_str(parts[i])))
            continue;
        stem.len -= strlen(parts[i]);
        return find_part(a, ck, stem, "qweight") != NULL;
    }
    return false;
}

static int describe(struct om_arena *a, const struct om_packed_set *set, const struct om_packed *p,
                    struct om_ckpt_tensor *t, struct om_error *err)
{
    const int64_t dims[] = { p->n, p->k };

    *t = (struct om_ckpt_tensor){ .name = p->name,
                                  .dtype = OM_F32,
                                  .rank = 2,
                                  .dims = om_arena_copy(a, dims, sizeof(dims)),
                                  .file = &set->values,
                                  .offset = p->offset,
                                  .bytes = (uint64_t)(p->n * p->k) * sizeof(float),
                                  .packed = true };
    return t->dims ? 0 : om_fail(err, OM_E_NOMEM, "out of memory");
}

/* The tensors without the parts, followed by the weights. */
static int replace_tensors(struct om_arena *a, struct om_ckpt *ck, const struct om_packed_set *set,
                           struct om_error *err)
{
    struct om_ckpt_tensor *const all = om_arena_array(a, ck->len + set->len, sizeof(*all));
    size_t n = 0;

    if (!all)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < ck->len; i++)
        if (!is_part(ck, a, ck->tensors[i].name))
            all[n++] = ck->tensors[i];
    for (size_t i = 0; i < set->len; i++)
        OM_TRY(describe(a, set, &set->layers[i], &all[n++], err));
    ck->tensors = all; /* the parts' descriptions stay in the arena, for the set */
    ck->len = n;
    om_map_release(&ck->by_name);
    ck->by_name = (struct om_map)OM_MAP_INIT;
    return om_ckpt_index_names(ck, err);
}

bool om_packed_present(const struct om_ckpt *ck)
{
    for (size_t i = 0; i < ck->len; i++)
        if (om_sv_ends(ck->tensors[i].name, OM_SVL(QWEIGHT)))
            return true;
    return false;
}

int om_packed_open(struct om_arena *a, struct om_ckpt *ck, const struct om_packed_scheme *s,
                   struct om_packed_set **out, struct om_error *err)
{
    struct om_packed_set *const set = om_arena_alloc(a, sizeof(*set));

    if (!set)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    *set = (struct om_packed_set){ .scheme = *s, .mid_zeros = true };
    set->layers = om_arena_array(a, ck->len + 1, sizeof(*set->layers));
    if (!set->layers)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < ck->len; i++) {
        struct om_packed *const p = &set->layers[set->len];
        om_sv stem = ck->tensors[i].name;

        if (!om_sv_ends(stem, OM_SVL(QWEIGHT)))
            continue;
        stem.len -= strlen(QWEIGHT);
        *p = (struct om_packed){ .scheme = &set->scheme, .qweight = &ck->tensors[i] };
        OM_TRY(read_layer(a, ck, p, stem, err));
        set->mid_zeros = set->mid_zeros && has_mid_zeros(p);
        set->len++;
    }
    OM_TRY(place_values(set, err));
    OM_TRY(replace_tensors(a, ck, set, err));
    *out = set;
    return 0;
}

const struct om_packed *om_packed_find(const struct om_packed_set *set, const struct om_file *file,
                                       uint64_t offset)
{
    return file == &set->values && set->len > 0 ? &set->layers[layer_at(set, offset)] : NULL;
}
