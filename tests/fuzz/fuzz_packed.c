/* tests/fuzz/fuzz_packed.c: any quantization_config with any safetensors file is refused with a
 * message, or its layers can be dequantized and written as blocks, and both say the same.
 *
 * An input is the JSON text, a NUL, and the bytes of the safetensors file. */
#include <unistd.h>

#include "ckpt/internal.h"
#include "ckpt/packed.h"
#include "fuzz.h"
#include "quant/blocks.h"

enum { VALUES_MAX = 1 << 18 }; /* of a layer that is looked at */

static char dir[64];

static uint8_t *read_back(size_t *size)
{
    char path[96];
    uint8_t *bytes;
    FILE *f;

    snprintf(path, sizeof(path), "%s/made", dir);
    f = fopen(path, "rb");
    FUZZ_CHECK(f && fseek(f, 0, SEEK_END) == 0);
    *size = (size_t)ftell(f);
    rewind(f);
    bytes = malloc(*size + 1);
    FUZZ_CHECK(bytes && fread(bytes, 1, *size, f) == *size);
    fclose(f);
    return bytes;
}

static uint8_t *made(const struct om_doc_source *s, size_t *size)
{
    struct om_out out = OM_OUT_INIT;
    struct om_error err = OM_ERROR_INIT;

    if (dir[0] == '\0') {
        strcpy(dir, "/tmp/fuzz_packed_XXXXXX");
        FUZZ_CHECK(mkdtemp(dir) != NULL);
    }
    FUZZ_CHECK(om_out_open(&out, dir, "made", NULL, &err) == 0);
    FUZZ_CHECK(s->make(s, &out, &err) == 0);
    FUZZ_CHECK(om_out_commit(&out, false, &err) == 0);
    return read_back(size);
}

static int number_at(const uint8_t *row, size_t i, int bits)
{
    return bits == 8 ? row[i] : row[i / 2] >> (i % 2 * 4) & 15;
}

/* The blocks, dequantized as MatMulNBits does it. NaN and infinities of the scales compare by their
 * bits. */
static void check_blocks(struct om_blocks *b, const float *values)
{
    const size_t size = (size_t)b->form.size;
    size_t n_packed, n_scales, n_zeros = 0;
    uint8_t *const packed = made(&b->packed, &n_packed);
    uint8_t *const scales = made(&b->scales, &n_scales);
    uint8_t *const zeros = b->form.symmetric ? NULL : made(&b->zeros, &n_zeros);

    FUZZ_CHECK(n_packed == b->n * om_blocks_row_bytes(b));
    FUZZ_CHECK(n_scales == b->n * b->blocks * sizeof(float));
    FUZZ_CHECK(!zeros || n_zeros == b->n * om_blocks_zero_bytes(b));
    for (size_t n = 0; n < b->n; n++)
        for (size_t c = 0; c < b->k; c++) {
            const size_t k = b->layer->order ? (size_t)b->layer->order[c] : c;
            const int q = number_at(packed + n * om_blocks_row_bytes(b), c, b->form.bits);
            int z = 1 << (b->form.bits - 1);
            float scale, v;

            FUZZ_CHECK(k < b->k);
            memcpy(&scale, scales + (n * b->blocks + c / size) * sizeof(scale), sizeof(scale));
            if (zeros)
                z = number_at(zeros + n * om_blocks_zero_bytes(b), c / size, b->form.bits);
            v = (float)(q - z) * scale;
            FUZZ_CHECK(v == values[n * b->k + k] || (v != v && values[n * b->k + k] != v));
        }
    free(packed);
    free(scales);
    free(zeros);
}

static void check_layer(const struct om_packed_set *set, const struct om_packed *p,
                        const struct om_ckpt_tensor *t)
{
    const size_t count = (size_t)(p->n * p->k);
    const struct om_weight w = {
        .dtype = OM_F32, .src_dtype = OM_F32, .rank = 2, .dims = t->dims, .bytes = t->bytes
    };
    const int size = om_blocks_size_for(&set->scheme);
    float *const values = malloc(count * sizeof(float)), one;
    struct om_blocks b;

    FUZZ_CHECK(values && t->bytes == count * sizeof(float) && t->file == &set->values);
    FUZZ_CHECK(om_packed_find(set, t->file, t->offset) == p);
    set->maker.make(&set->maker, t->offset, count * sizeof(float), values);
    for (size_t i = 0; i < count; i += 1 + count / 7) { /* one alone is the same */
        set->maker.make(&set->maker, t->offset + i * sizeof(float), sizeof(float), &one);
        FUZZ_CHECK(memcmp(&one, &values[i], sizeof(one)) == 0);
    }
    if (size > 0) {
        om_blocks_init(&b, &w, false,
                       (struct om_block_form){ .bits = (int)set->scheme.bits,
                                               .size = size,
                                               .symmetric = set->mid_zeros });
        b.layer = p;
        check_blocks(&b, values);
        om_blocks_release(&b);
    }
    free(values);
}

static void check_set(const struct om_ckpt *ck, const struct om_packed_set *set)
{
    for (size_t i = 0; i < set->len; i++) {
        const struct om_packed *const p = &set->layers[i];
        const struct om_ckpt_tensor *const t = om_ckpt_find(ck, p->name);

        FUZZ_CHECK(t && t->packed && t->rank == 2 && t->dims[0] == p->n && t->dims[1] == p->k);
        if (p->n <= VALUES_MAX && p->k <= VALUES_MAX / p->n)
            check_layer(set, p, t);
    }
}

static int read_scheme(om_sv text, struct om_packed_scheme *s, struct om_error *err)
{
    struct om_json *q = NULL;
    int rc = om_json_parse(text, OM_JSON_LAST_WINS, &q, err);

    if (rc == 0)
        rc = om_packed_scheme_read(q, s, err);
    om_json_free(q);
    return rc;
}

static int run(struct om_arena *a, om_sv text, const struct om_file *f, struct om_error *err)
{
    struct om_packed_scheme scheme;
    struct om_packed_set *set;
    struct om_ckpt ck = { .by_name = OM_MAP_INIT };
    int rc = read_scheme(text, &scheme, err);

    if (rc == 0)
        rc = om_safetensors_parse(a, f, &ck.tensors, &ck.len, err);
    if (rc == 0)
        rc = om_ckpt_index_names(&ck, err);
    if (rc == 0)
        rc = om_packed_open(a, &ck, &scheme, &set, err);
    if (rc == 0)
        check_set(&ck, set);
    om_map_release(&ck.by_name);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *const nul = size > 0 ? memchr(data, 0, size) : NULL;
    const size_t text = nul ? (size_t)(nul - data) : size, rest = nul ? text + 1 : size;
    uint8_t *const copy = fuzz_copy(data + rest, size - rest);
    const struct om_file f = { .fd = -1, .data = copy, .size = size - rest };
    struct om_arena a = OM_ARENA_INIT(64u << 20);
    struct om_error err = OM_ERROR_INIT;
    const int rc = run(&a, (om_sv){ (const char *)data, text }, &f, &err);

    if (rc < 0) {
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
        FUZZ_CHECK(rc != OM_E_INTERNAL);
    }
    om_error_release(&err);
    om_arena_release(&a);
    free(copy);
    return 0;
}
