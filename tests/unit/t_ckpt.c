/* tests/unit/t_ckpt.c: checkpoints: hostile headers, directories, shards, and what is written read
 * back. */
#include "ckpt/ckpt.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/test.h"

/* --- the parser --- */

/* The bytes of a safetensors file: header text, then len zeros. */
static uint8_t *make_bytes(const char *header, size_t data_len, struct om_file *f)
{
    const size_t n = strlen(header);
    uint8_t *bytes = calloc(1, 8 + n + data_len);

    if (!bytes)
        return NULL;
    for (size_t i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)n >> (8 * i));
    memcpy(bytes + 8, header, n);
    *f = (struct om_file){ .path = NULL, .fd = -1, .data = bytes, .size = 8 + n + data_len };
    return bytes;
}

static const struct {
    const char *header;
    size_t data_len;
    const char *want; /* part of the message; NULL: accepted */
} headers[] = {
    { "{}", 0, NULL },
    { "{}   ", 0, NULL }, /* padding */
    { "{\"__metadata__\":{\"format\":\"pt\"}}", 0, NULL },
    { "{\"__metadata__\":{\"format\":7}}", 0, NULL },
    { "{\"__metadata__\":[\"format\"]}", 0, NULL },
    { "{\"__metadata__\":{\"format\":\"tf\"},\"d/kernel:0\":{\"dtype\":\"F32\",\"shape\":"
      "[0,9223372036854775807,2],\"data_offsets\":[0,0]}}",
      0, "shape is too large" }, /* its strides overflow */
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, NULL },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, NULL },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, NULL },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[3,0,9223372036854775807],\"data_offsets\":[0,0]}}", 0,
      NULL },
    { "{\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, NULL }, /* no name */
    { "{\"b\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[8,9]},"
      "\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8],\"more\":1}}",
      9, NULL },

    { "", 0, "header" },
    { "[]", 0, "header: expected an object, found array" },
    { "{", 0, "header" },
    { "{} x", 0, "header" },
    { "{\"a\":1}", 0, "tensor \"a\": expected an object, found integer" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
      "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
      2, "uplicate" },
    { "{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
      "dtype: expected a string, found nothing" },
    { "{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype: expected a string" },
    { "{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
      "tensor \"a\": unsupported dtype F8_E4M3" },
    { "{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
      "unsupported dtype f32" },
    { "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4,
      "shape: expected a list, found nothing" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4,
      "shape: expected a list, found integer" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,-1],\"data_offsets\":[0,4]}}", 4,
      "shape[1]: expected an integer from 0, found -1" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4,
      "shape[0]: expected an integer, found" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4,
      "shape[0]: expected an integer, found" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]}}", 4,
      "shape[0]: expected an integer, found string" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
      "shape is too large" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0,
      "shape" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,0]}}", 0,
      "shape[0]: expected an integer" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets: expected a list of two" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "data_offsets" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 8, "data_offsets" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "lies behind end" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4,
      "data_offsets[0]: expected an integer from 0, found -4" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7,
      "data ends at byte 8, the file's data has 7" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,9223372036854775807]}}", 4,
      "data ends at byte 9223372036854775807" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
      "tensor \"a\": shape needs 8 bytes, file gives 4" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
      "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
      6, "tensor \"b\": data starts at byte 2, expected 4 (tensors overlap)" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
      "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
      4, "tensors overlap" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
      "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[5,9]}}",
      9, "tensor \"b\": data starts at byte 5, expected 4 (a gap between tensors)" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 5,
      "4 bytes of data belong to tensors, file has 5" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]},"
      "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
      4, "tensor \"a\": data starts at byte 2" },
};

static void parse(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(headers); i++) {
        struct om_arena a = OM_ARENA_INIT(1 << 20);
        struct om_error err = OM_ERROR_INIT;
        struct om_ckpt_tensor *tensors = NULL;
        size_t len = 0;
        struct om_file f;
        uint8_t *bytes = make_bytes(headers[i].header, headers[i].data_len, &f);
        const int rc = om_safetensors_parse(&a, &f, &tensors, &len, &err);

        test_case(t, "%s", headers[i].header);
        if (headers[i].want) {
            CHECK(t, rc < 0);
            CHECK_HAS(t, om_error_text(&err), headers[i].want);
        } else {
            CHECK_OK(t, rc, &err);
        }
        for (size_t k = 0; rc == 0 && k < len; k++)
            CHECK(t, tensors[k].offset + tensors[k].bytes <= f.size);
        free(bytes);
        om_error_release(&err);
        om_arena_release(&a);
    }
}

/* Bytes that do not even reach the JSON. */
static void parse_raw(struct test *t)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *want;
    } cases[] = {
        { "", 0, "only 0 bytes" },
        { "\2\0\0\0\0\0\0", 7, "only 7 bytes" },
        { "\1\0\0\0\0\0\0\0", 8, "header needs 1 bytes, file has 0 left" },
        { "\3\0\0\0\0\0\0\0{}", 10, "header needs 3 bytes, file has 2 left" },
        { "\377\377\377\377\377\377\377\377{}", 10, "header length 18446744073709551615 is above" },
        { "\1\341\365\5\0\0\0\0{}", 10, "header length 100000001 is above 100000000" },
        { "\0\341\365\5\0\0\0\0{}", 10, "header needs 100000000 bytes" },
        { "version https://git-lfs.github.com/spec/v1\noid", 46, "Git LFS pointer" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_arena a = OM_ARENA_INIT(1 << 20);
        struct om_error err = OM_ERROR_INIT;
        uint8_t *copy = malloc(cases[i].len + 1);
        struct om_ckpt_tensor *tensors;
        size_t len;

        test_case(t, "raw %zu", i);
        if (copy) {
            memcpy(copy, cases[i].bytes, cases[i].len);
            const struct om_file f = { .fd = -1, .data = copy, .size = cases[i].len };
            CHECK_INT(t, om_safetensors_parse(&a, &f, &tensors, &len, &err), OM_E_FORMAT);
            CHECK_HAS(t, om_error_text(&err), cases[i].want);
        }
        free(copy);
        om_error_release(&err);
        om_arena_release(&a);
    }
}

/* --- files and directories --- */

struct fixture {
    struct om_arena arena;
    struct om_error err;
    struct om_ckpt *ck;
    const char *dir;
};

static void begin(struct fixture *f, struct test *t)
{
    *f = (struct fixture){ .arena = OM_ARENA_INIT(1 << 24),
                           .err = OM_ERROR_INIT,
                           .dir = test_tmpdir(t) };
}

static void end(struct fixture *f)
{
    om_ckpt_close(f->ck);
    om_error_release(&f->err);
    om_arena_release(&f->arena);
}

/* A fresh directory within the test's. */
static const char *subdir(struct fixture *f, struct test *t, const char *name)
{
    const char *path = om_path_join(&f->arena, f->dir, name);

    CHECK_OK(t, om_dir_make(path, &f->err), &f->err);
    return path;
}

static void put_text(struct fixture *f, struct test *t, const char *dir, const char *name,
                     const char *text)
{
    FILE *out = fopen(om_path_join(&f->arena, dir, name), "wb");

    CHECK(t, out && fputs(text, out) >= 0);
    if (out)
        fclose(out);
}

/* A file with one-element U8 tensors of the given names (value: first letter). */
static void put_tensors(struct fixture *f, struct test *t, const char *dir, const char *name,
                        const char *const *names)
{
    static const int64_t one[] = { 1 };
    struct om_tensor list[8];
    size_t n = 0;

    for (; names[n]; n++)
        list[n] = (struct om_tensor){
            .name = names[n], .dtype = OM_U8, .rank = 1, .dims = one, .data = names[n]
        };
    CHECK_OK(t, om_safetensors_write(om_path_join(&f->arena, dir, name), list, n, &f->err),
             &f->err);
}

#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void round_trip(struct test *t)
{
    static const int64_t dims[][2] = { { 2, 3 }, { 0, 5 }, { 3, 1 } };
    static const float f32[] = { 1, -2, 3, 4, 5, 6.5f };
    static const int64_t i64[] = { INT64_MIN };
    static const uint8_t flags[] = { 1, 0, 1 };
    static const uint16_t f16[] = { 0x3C00, 0x7C00, 0x8000 };
    const struct om_tensor in[] = {
        { "flags", OM_BOOL, 2, dims[2], flags }, /* odd length: must not misalign the rest */
        { "weight \"\xC3\xA9\"\n", OM_F32, 2, dims[0], f32 },
        { "empty", OM_F64, 2, dims[1], NULL },
        { "scalar", OM_I64, 0, NULL, i64 },
        { "half", OM_F16, 2, dims[2], f16 },
    };
    struct fixture f;
    const char *path;

    begin(&f, t);
    path = om_path_join(&f.arena, f.dir, "x.safetensors");
    CHECK_OK(t, om_safetensors_write(path, in, OM_COUNT(in), &f.err), &f.err);
    CHECK_OK(t, om_ckpt_open_file(&f.arena, path, &f.ck, &f.err), &f.err);
    for (size_t i = 0; f.ck && i < OM_COUNT(in); i++) {
        const struct om_ckpt_tensor *got = om_ckpt_find(f.ck, om_sv_str(in[i].name));
        uint64_t bytes = 0;

        test_case(t, "%s", in[i].name);
        CHECK(t, got != NULL && om_tensor_bytes(&in[i], &bytes));
        if (!got)
            continue;
        CHECK_INT(t, got->dtype, in[i].dtype);
        CHECK_INT(t, got->rank, in[i].rank);
        CHECK_INT(t, got->bytes, bytes);
        CHECK_INT(t, (uintptr_t)om_ckpt_data(got) % om_dtype_size(got->dtype), 0);
        CHECK(t, got->rank == 0 || memcmp(got->dims, in[i].dims, got->rank * sizeof(int64_t)) == 0);
        CHECK(t, bytes == 0 || memcmp(om_ckpt_data(got), in[i].data, bytes) == 0);
    }
    if (f.ck) {
        CHECK_INT(t, f.ck->len, OM_COUNT(in));
        CHECK(t, om_ckpt_find(f.ck, OM_SVL("weight")) == NULL);
        CHECK(t, om_ckpt_has_prefix(f.ck, OM_SVL("weight ")));
        CHECK(t, !om_ckpt_has_prefix(f.ck, OM_SVL("weights")));
    }
    end(&f);
}

static void write_refuses(struct test *t)
{
    static const int64_t huge[] = { INT64_MAX, 4 }, negative[] = { -1 };
    static const struct om_tensor cases[] = {
        { NULL, OM_U8, 0, NULL, "x" },        { "\xFF", OM_U8, 0, NULL, "x" },
        { "a", OM_DTYPE_NONE, 0, NULL, "x" }, { "a", OM_F32, 2, huge, "x" },
        { "a", OM_F32, 1, negative, "x" },
    };
    struct fixture f;
    const char *path;

    begin(&f, t);
    path = om_path_join(&f.arena, f.dir, "x.safetensors");
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "write %zu", i);
        CHECK(t, om_safetensors_write(path, &cases[i], 1, &f.err) < 0);
        CHECK_HAS(t, om_error_text(&f.err), "x.safetensors: tensor ");
        CHECK(t, !om_file_exists(path));
    }
    end(&f);
}

static void no_tensors(struct test *t)
{
    struct fixture f;
    const char *path;

    begin(&f, t);
    path = om_path_join(&f.arena, f.dir, "x.safetensors");
    CHECK_OK(t, om_safetensors_write(path, NULL, 0, &f.err), &f.err);
    CHECK_OK(t, om_ckpt_open_file(&f.arena, path, &f.ck, &f.err), &f.err);
    CHECK_INT(t, f.ck ? f.ck->len : 99, 0);
    end(&f);
}

/* Which file of a directory is taken, and what is said when none is. */
static void directory(struct test *t)
{
    static const struct {
        const char *const files[5];
        const char *want; /* the file opened, or a part of the message */
        int code;
    } cases[] = {
        { { "model.safetensors", "other.safetensors" }, "/model.safetensors", 0 },
        { { "model.safetensors", "pytorch_model.bin" }, "/model.safetensors", 0 },
        { { "consolidated.safetensors", "pytorch_model.bin" }, "/pytorch_model.bin", 0 },
        { { "consolidated.safetensors", "training_args.bin" }, "/consolidated.safetensors", 0 },
        { { "other.safetensors", "adapter_model.safetensors" }, "/other.safetensors", 0 },
        { { "a.safetensors", "b.safetensors" },
          "or a single other *.safetensors file, found 2: a.safetensors, b.safetensors",
          OM_E_MISSING },
        { { "config.json" },
          "no weights: expected model.safetensors, pytorch_model.bin or",
          OM_E_MISSING },
        { { "config.json", "training_args.bin" },
          "found only training_args.bin",
          OM_E_UNSUPPORTED },
        { { "model.safetensors", "tf_model.h5" }, "/model.safetensors", 0 },
        { { "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack" }, "/pytorch_model.bin", 0 },
        { { "tf_model.h5", "flax_model.msgpack", "x.safetensors" }, "/tf_model.h5", 0 },
        { { "flax_model.msgpack" },
          "found only flax_model.msgpack (weights of Flax are not read)",
          OM_E_UNSUPPORTED },
        { { "tf_model.hdf5", "model.ckpt" }, "found only model.ckpt", OM_E_UNSUPPORTED },
        { { "adapter_model.safetensors" },
          "found only adapter_model.safetensors",
          OM_E_UNSUPPORTED },
    };
    struct fixture f;

    begin(&f, t);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const char *dir = subdir(&f, t, om_arena_printf(&f.arena, "d%zu", i));
        int rc;

        test_case(t, "directory %zu", i);
        for (size_t k = 0; cases[i].files[k]; k++)
            put_tensors(&f, t, dir, cases[i].files[k], NAMES("x"));
        rc = om_ckpt_open(&f.arena, dir, &f.ck, &f.err);
        CHECK_INT(t, rc, cases[i].code);
        CHECK_HAS(t, rc == 0 ? f.ck->files[0].path : om_error_text(&f.err), cases[i].want);
        CHECK_HAS(t, rc == 0 ? f.ck->files[0].path : om_error_text(&f.err), dir);
        om_ckpt_close(f.ck);
        f.ck = NULL;
        om_error_release(&f.err);
    }
    test_case(t, "no directory");
    CHECK_INT(t, om_ckpt_open(&f.arena, "/nonexistent/x", &f.ck, &f.err), OM_E_MISSING);
    CHECK_STR(t, om_error_text(&f.err), "/nonexistent/x: no such directory");
    end(&f);
}

static void shards(struct test *t)
{
    static const char index[] = "{\"metadata\":{\"total_size\":3},\"weight_map\":{"
                                "\"c\":\"model-2.safetensors\",\"a\":\"model-1.safetensors\",\"b\":"
                                "\"model-2.safetensors\"}}";
    struct fixture f;

    begin(&f, t);
    /* "a" in the second file is a stray copy, "z" is in no index: the index decides. */
    put_tensors(&f, t, f.dir, "model-1.safetensors", NAMES("a", "z"));
    put_tensors(&f, t, f.dir, "model-2.safetensors", NAMES("a", "b", "c"));
    put_text(&f, t, f.dir, "model.safetensors.index.json", index);
    CHECK_OK(t, om_ckpt_open(&f.arena, f.dir, &f.ck, &f.err), &f.err);
    if (f.ck) {
        const struct om_ckpt_tensor *a = om_ckpt_find(f.ck, OM_SVL("a"));
        const struct om_ckpt_tensor *c = om_ckpt_find(f.ck, OM_SVL("c"));

        CHECK_INT(t, f.ck->len, 3);
        CHECK_INT(t, f.ck->file_count, 2);
        CHECK_HAS(t, f.ck->files[0].path, "/model-1.safetensors");
        CHECK(t, a && a->file == &f.ck->files[0] && *(const char *)om_ckpt_data(a) == 'a');
        CHECK(t, c && c->file == &f.ck->files[1] && *(const char *)om_ckpt_data(c) == 'c');
        CHECK(t, om_ckpt_find(f.ck, OM_SVL("z")) == NULL);
    }
    end(&f);
}

static void bad_index(struct test *t)
{
    static const struct {
        const char *index, *want;
    } cases[] = {
        { "{", "index.json" },
        { "[]", "key \"weight_map\": expected an object, found nothing" },
        { "{\"weight_map\":[]}", "key \"weight_map\": expected an object, found array" },
        { "{\"weight_map\":{}}", "key \"weight_map\" is empty" },
        { "{\"weight_map\":{\"a\":1}}", "tensor \"a\": expected a file name, found integer" },
        { "{\"weight_map\":{\"a\":\"m.safetensors\",\"a\":\"m.safetensors\"}}", "uplicate" },
        { "{\"weight_map\":{\"a\":\"../m.safetensors\"}}", "is not the plain name" },
        { "{\"weight_map\":{\"a\":\"/m.safetensors\"}}", "is not the plain name" },
        { "{\"weight_map\":{\"a\":\"d/m.safetensors\"}}", "is not the plain name" },
        { "{\"weight_map\":{\"a\":\"d\\\\m.safetensors\"}}", "is not the plain name" },
        { "{\"weight_map\":{\"a\":\"m\\u0000.safetensors\"}}", "is not the plain name" },
        { "{\"weight_map\":{\"a\":\".safetensors\"}}", "is not the plain name" },
        { "{\"weight_map\":{\"a\":\"pytorch_model.bin\"}}", "is not the plain name" },
        { "{\"weight_map\":{\"a\":\"\"}}", "is not the plain name" },
        { "{\"weight_map\":{\"a\":\"gone.safetensors\"}}",
          "index.json: shard \"gone.safetensors\" is not there" },
        { "{\"weight_map\":{\"a\":\"m.safetensors\",\"b\":\"m.safetensors\",\"c\":\"m."
          "safetensors\"}}",
          "tensor \"b\" is not in its shard \"m.safetensors\" (2 missing in all)" },
        { "{\"weight_map\":{\"a\":\"broken.safetensors\"}}", "broken.safetensors: " },
    };
    struct fixture f;

    begin(&f, t);
    put_tensors(&f, t, f.dir, "m.safetensors", NAMES("a"));
    put_text(&f, t, f.dir, "broken.safetensors", "not a safetensors file");
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "%s", cases[i].index);
        put_text(&f, t, f.dir, "model.safetensors.index.json", cases[i].index);
        CHECK(t, om_ckpt_open(&f.arena, f.dir, &f.ck, &f.err) < 0);
        CHECK_HAS(t, om_error_text(&f.err), cases[i].want);
        CHECK_HAS(t, om_error_text(&f.err), f.dir);
        om_error_release(&f.err);
    }
    end(&f);
}

/* Every allocation fails once: each time a clean error, and nothing is left mapped. */
static void arena_limit(struct test *t)
{
    struct fixture f;
    size_t failed = 0;
    int rc = OM_E_NOMEM;

    begin(&f, t);
    put_tensors(&f, t, f.dir, "m-1.safetensors", NAMES("a"));
    put_tensors(&f, t, f.dir, "m-2.safetensors", NAMES("b"));
    put_text(&f, t, f.dir, "model.safetensors.index.json",
             "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\"}}");
    for (size_t max = 0; rc < 0 && max < 1 << 16; max += 16) {
        struct om_arena a = OM_ARENA_INIT(max);

        rc = om_ckpt_open(&a, f.dir, &f.ck, &f.err);
        if (rc < 0) {
            CHECK_INT(t, rc, OM_E_NOMEM);
            failed++;
        } else {
            om_ckpt_close(f.ck);
        }
        f.ck = NULL;
        om_error_release(&f.err);
        om_arena_release(&a);
    }
    CHECK_INT(t, rc, 0);
    CHECK(t, failed > 10);
    end(&f);
}

const struct test_entry t_ckpt[] = {
    { "parse", parse },
    { "parse_raw", parse_raw },
    { "round_trip", round_trip },
    { "write_refuses", write_refuses },
    { "no_tensors", no_tensors },
    { "directory", directory },
    { "shards", shards },
    { "bad_index", bad_index },
    { "arena_limit", arena_limit },
    TEST_END,
};
