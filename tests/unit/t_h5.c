/* tests/unit/t_h5.c: TensorFlow checkpoints: HDF5 files as h5py writes them, what is refused, and
 * the names and axes that PyTorch has. The files are those of tests/fuzz/h5_corpus.py. */
#include <stdio.h>
#include <stdlib.h>

#include "ckpt/ckpt.h"
#include "ckpt/keras.h"
#include "ckpt/tf_names.h"
#include "tests/test.h"

struct fixture {
    struct om_arena arena;
    struct om_error err;
    struct om_file file;
    struct om_ckpt_tensor *tensors;
    size_t len;
};

static void begin(struct fixture *f)
{
    *f = (struct fixture){ .arena = OM_ARENA_INIT(1 << 24), .file = OM_FILE_INIT };
}

static void end(struct fixture *f)
{
    om_file_unmap(&f->file);
    om_error_release(&f->err);
    om_arena_release(&f->arena);
}

static int parse(struct fixture *f, struct test *t, const char *name)
{
    const char *path = test_data(t, om_arena_printf(&f->arena, "fuzz/h5/%s.h5", name));

    CHECK_OK(t, om_file_map(&f->file, path, &f->err), &f->err);
    return om_keras_parse(&f->arena, &f->file, &f->tensors, &f->len, &f->err);
}

static const struct om_ckpt_tensor *find(const struct fixture *f, const char *name)
{
    for (size_t i = 0; i < f->len; i++)
        if (om_sv_is(f->tensors[i].name, name))
            return &f->tensors[i];
    return NULL;
}

/* "float32 [3, 2] strides [1, 3]" */
static const char *describe(struct fixture *f, const struct om_ckpt_tensor *x)
{
    const char *text = om_arena_printf(&f->arena, "%s [", om_dtype_text(x->dtype));

    for (uint32_t i = 0; i < x->rank; i++)
        text = om_arena_printf(&f->arena, "%s%s%" PRId64, text, i ? ", " : "", x->dims[i]);
    text = om_arena_printf(&f->arena, "%s]", text);
    for (uint32_t i = 0; x->strides && i < x->rank; i++)
        text =
            om_arena_printf(&f->arena, "%s%s%" PRId64, text, i ? ", " : " strides ", x->strides[i]);
    return text;
}

/* ---- what is read ---- */

static const struct {
    const char *name, *text;
} model[] = {
    { "dense.weight", "float32 [3, 2] strides 1, 3" },
    { "dense.bias", "float32 [3]" }, /* a row in TensorFlow */
    { "cls.norm.weight", "float32 [3]" },
    { "h.0.norm.bias", "float32 [3]" },
    { "conv.weight", "float32 [5, 4, 2, 3] strides 1, 5, 60, 20" },
    { "wide.weight", "float32 [4, 3, 2] strides 1, 4, 12" },
    { "embed.weight", "float32 [3, 2]" },
    { "half.weight", "float16 [2]" },
    { "double.weight", "float64 [2]" },
    { "position_ids", "int64 [1, 2]" },
    { "bytes", "uint8 [2]" },
    { "scalar", "float32 []" },
    { "empty.weight", "float32 [3, 0] strides 1, 3" },
    { "compact", "float32 [3]" },
};

static void check_model(struct test *t, const char *file)
{
    struct fixture f;

    begin(&f);
    test_case(t, "%s", file);
    CHECK_OK(t, parse(&f, t, file), &f.err);
    CHECK_INT(t, f.len, OM_COUNT(model));
    for (size_t i = 0; i < OM_COUNT(model); i++) {
        const struct om_ckpt_tensor *x = find(&f, model[i].name);

        test_case(t, "%s, %s", file, model[i].name);
        CHECK(t, x != NULL);
        if (x)
            CHECK_STR(t, describe(&f, x), model[i].text);
    }
    end(&f);
}

static void layouts(struct test *t)
{
    check_model(t, "model");
    check_model(t, "model-fixed-strings");
}

/* Every array of the files counts from zero. */
static void values(struct test *t)
{
    static const struct {
        const char *name;
        size_t count;
    } cases[] = { { "dense.weight", 6 }, { "conv.weight", 120 }, { "compact", 3 } };
    const struct om_ckpt_tensor *x;
    struct fixture f;

    begin(&f);
    CHECK_OK(t, parse(&f, t, "model"), &f.err);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        x = find(&f, cases[i].name);
        test_case(t, "%s", cases[i].name);
        CHECK(t, x != NULL);
        for (size_t k = 0; x && k < cases[i].count; k++) {
            float v;

            memcpy(&v, f.file.data + x->offset + 4 * k, sizeof(v));
            CHECK(t, v == (float)k);
        }
    }
    x = find(&f, "half.weight");
    CHECK(t, x && om_le16(f.file.data + x->offset + 2) == 0x3C00); /* 1 */
    end(&f);
}

static void counts(struct test *t)
{
    static const struct {
        const char *file, *name; /* one that must be there */
        size_t len;
    } cases[] = {
        { "many", "299", 300 },                /* a group's tree of two levels */
        { "numbered", "b", 2 },                /* weight_names0, weight_names1 */
        { "no-weights", NULL, 0 },             /* an empty list is one of doubles */
        { "shard", "bert.dense.weight", 3 },   /* the model's scope is gone */
        { "shard", "model.shared.weight", 3 }, /* ... unless there is "model." in the name */
        { "shard", "final_bias", 3 },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct fixture f;

        begin(&f);
        test_case(t, "%s", cases[i].file);
        CHECK_OK(t, parse(&f, t, cases[i].file), &f.err);
        CHECK_INT(t, f.len, cases[i].len);
        CHECK(t, !cases[i].name || find(&f, cases[i].name) != NULL);
        end(&f);
    }
}

/* An architecture that is not exported: the reader alone. */
static void images(struct test *t)
{
    static const struct {
        const char *name, *text;
    } cases[] = {
        { "vit.embeddings.patch_embeddings.projection.weight",
          "float32 [32, 3, 2, 2] strides 1, 32, 192, 96" },
        { "vit.embeddings.cls_token", "float32 [1, 1, 32]" },
        { "vit.embeddings.position_embeddings", "float32 [1, 226, 32]" },
        { "vit.encoder.layer.1.attention.attention.query.weight",
          "float32 [32, 32] strides 1, 32" },
        { "vit.encoder.layer.1.layernorm_before.weight", "float32 [32]" },
        { "classifier.weight", "float32 [3, 32] strides 1, 3" },
    };
    struct fixture f;
    struct om_ckpt *ck = NULL;

    if (!test_shared()) {
        test_skip(t, "OM_SHARED is not set");
        return;
    }
    begin(&f);
    CHECK_OK(t,
             om_ckpt_open(&f.arena,
                          om_path_join(&f.arena, test_shared(),
                                       "goldens/checkpoints/tf-vit-image-classification"),
                          &ck, &f.err),
             &f.err);
    CHECK_INT(t, ck ? ck->len : 0, 40);
    for (size_t i = 0; ck && i < OM_COUNT(cases); i++) {
        const struct om_ckpt_tensor *x = om_ckpt_find(ck, om_sv_str(cases[i].name));

        test_case(t, "%s", cases[i].name);
        CHECK(t, x != NULL);
        if (x)
            CHECK_STR(t, describe(&f, x), cases[i].text);
    }
    om_ckpt_close(ck);
    end(&f);
}

/* ---- what is refused ---- */

static void refused(struct test *t)
{
    static const struct {
        const char *file, *want;
        int code;
    } cases[] = {
        { "big-endian", "\"layer\": \"m/x:0\": big-endian numbers", OM_E_UNSUPPORTED },
        { "bool", "unsupported datatype: enums of 1 bytes", OM_E_UNSUPPORTED },
        { "chunked", "a chunked dataset, expected a contiguous one", OM_E_UNSUPPORTED },
        { "circle", "\"m\": more than 128 MB of groups and attributes", OM_E_LIMIT },
        { "committed", "its shape or type is that of another object", OM_E_UNSUPPORTED },
        { "compound", "unsupported datatype: compounds of 8 bytes", OM_E_UNSUPPORTED },
        { "deflated", "a chunked dataset, expected a contiguous one", OM_E_UNSUPPORTED },
        { "external", "data in other files", OM_E_UNSUPPORTED },
        { "external-link", "a group of a later HDF5 version", OM_E_UNSUPPORTED },
        { "group", "expected a dataset, found a group", OM_E_FORMAT },
        { "latest", "a superblock of a later HDF5 version", OM_E_UNSUPPORTED },
        { "missing", "\"m\": it is not in the file", OM_E_MISSING },
        { "no-layers", "no attribute \"layer_names\"", OM_E_FORMAT },
        { "ordered", "an object of a later HDF5 version", OM_E_UNSUPPORTED },
        { "soft-link", "\"x:0\": a symbolic link, expected an object", OM_E_UNSUPPORTED },
        { "text", "unsupported datatype: strings of 3 bytes", OM_E_UNSUPPORTED },
        { "twice", "\"other\": \"m/x:0\": it is there twice, with different shapes", OM_E_FORMAT },
        { "unwritten", "it was never written", OM_E_FORMAT },
        { "userblock", "not an HDF5 file", OM_E_FORMAT },
        { "virtual", "a virtual dataset, expected a contiguous one", OM_E_UNSUPPORTED },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct fixture f;

        begin(&f);
        test_case(t, "%s", cases[i].file);
        CHECK_INT(t, parse(&f, t, cases[i].file), cases[i].code);
        CHECK_HAS(t, om_error_text(&f.err), cases[i].want);
        end(&f);
    }
}

/* Parse len bytes of the file in memory of exactly that size. */
static int parse_bytes(struct fixture *f, const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    const struct om_file part = { .fd = -1, .data = copy, .size = len };
    int rc = OM_E_NOMEM;

    if (copy) {
        memcpy(copy, bytes, len);
        om_error_release(&f->err);
        rc = om_keras_parse(&f->arena, &part, &f->tensors, &f->len, &f->err);
    }
    free(copy);
    return rc;
}

static void truncated(struct test *t)
{
    struct fixture f;

    begin(&f);
    CHECK_OK(t, parse(&f, t, "numbered"), &f.err);
    for (size_t len = 0; len < f.file.size; len++) {
        test_case(t, "%zu bytes", len);
        CHECK_INT(t, parse_bytes(&f, f.file.data, len), OM_E_FORMAT);
        CHECK_HAS(t, om_error_text(&f.err),
                  len < 8    ? "not an HDF5 file"
                  : len < 72 ? "ends too early"
                             : "truncated");
    }
    end(&f);
}

/* Numbers in the file that lie: where is what comes right before them. */
static void lies(struct test *t)
{
    static const struct {
        const char *what, *where;
        size_t skip, width; /* bytes from there, bytes changed */
        uint64_t value;
        const char *want;
    } cases[] = {
        { "root group", "\x89HDF", 64, 8, 1u << 20, "an object header at byte 1048576 needs 16" },
        { "root group nowhere", "\x89HDF", 64, 8, UINT64_MAX, "an object header at byte" },
        { "size of offsets", "\x89HDF", 13, 1, 4, "offsets or lengths are not of 8 bytes" },
        { "base address", "\x89HDF", 24, 8, 512, "addresses start at byte 512" },
        { "end of file", "\x89HDF", 40, 8, UINT64_MAX, "truncated" },
        { "entries of a tree", "TREE", 6, 2, UINT16_MAX, "a tree at byte" },
        { "level of a tree", "TREE", 5, 1, 7, "no tree at byte" },
        { "entries of a leaf", "SNOD", 6, 2, UINT16_MAX, "a list of names at byte" },
        { "names of a group", "HEAP", 24, 8, UINT64_MAX - 7, "reaches beyond the file" },
        { "length of names", "HEAP", 8, 8, UINT64_MAX, "reaches beyond the file" },
        { "no names", "HEAP", 8, 8, 0, "a name lies outside its heap" },
        { "length of a heap", "GCOL", 8, 8, UINT64_MAX, "reaches beyond the file" },
        { "no strings", "GCOL", 8, 8, 16, "is not in the global heap" },
        { "length of a string", "GCOL", 24, 8, UINT64_MAX, "a global heap ends too early" },
        { "another heap", "GCOL", 0, 1, 'X', "no global heap at byte" },
    };
    struct fixture f;
    uint8_t *bytes;

    begin(&f);
    CHECK_OK(t, parse(&f, t, "model"), &f.err);
    bytes = om_arena_copy(&f.arena, f.file.data, (size_t)f.file.size);
    for (size_t i = 0; i < OM_COUNT(cases) && bytes; i++) {
        uint8_t *at = memmem(bytes, (size_t)f.file.size, cases[i].where, 4);
        uint8_t kept[8];

        test_case(t, "%s", cases[i].what);
        CHECK(t, at != NULL);
        if (!at)
            continue;
        at += cases[i].skip;
        memcpy(kept, at, sizeof(kept));
        memcpy(at, &cases[i].value, cases[i].width);
        CHECK(t, parse_bytes(&f, bytes, (size_t)f.file.size) < 0);
        CHECK_HAS(t, om_error_text(&f.err), cases[i].want);
        memcpy(at, kept, sizeof(kept));
    }
    end(&f);
}

/* ---- names ---- */

static void names(struct test *t)
{
    static const struct {
        const char *tf, *pt;
        bool kernel, unscoped;
    } cases[] = {
        { "tf_bert_model/bert/encoder/layer_._0/attention/self/query/kernel:0",
          "bert.encoder.layer.0.attention.self.query.weight", true, false },
        { "tf_bert_for_masked_lm/mlm___cls/predictions/bias:0", "cls.predictions.bias", false,
          false },
        { "mlm___cls/predictions/bias:0", "cls.predictions.bias", false, true },
        { "m/a___b___c/gamma:0", "c.weight", false, false },
        { "m/a____b/beta:0", "_b.bias", false, false },
        { "tft5/block_._11/layer_._2/layer_norm/weight:0", "block.11.layer.2.layer_norm.weight",
          false, false },
        { "shared/shared/embeddings:0", "shared.weight", false, false },
        { "m/a_._b_._c/x:0", "a.b.c.x", false, false },
        { "m//a///bias:0", "a.bias", false, false },
        { "m/conv/depthwise_kernel:0", "conv.depthwise.weight", true, false },
        { "m/conv/pointwise_kernel:0", "conv.pointwise.weight", true, false },
        { "final_logits_bias:0", "final_logits_bias", false, false },
        { "m/kernel", "weight", true, false },
        { "kernel/gamma/x", "gamma.x", false, false },
        { "", "", false, false },
        { "/", "", false, false },
        { ":0", "", false, false },
        { "_._", "", false, true },
    };
    struct om_arena a = OM_ARENA_INIT(1 << 20);

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        bool kernel = !cases[i].kernel;
        const char *name = om_tf_name(&a, om_sv_str(cases[i].tf), !cases[i].unscoped, &kernel);

        test_case(t, "%s", cases[i].tf);
        CHECK_STR(t, name, cases[i].pt);
        CHECK_INT(t, kernel, cases[i].kernel);
    }
    om_arena_release(&a);
}

const struct test_entry t_h5[] = {
    { "layouts", layouts }, { "values", values },   { "counts", counts },
    { "images", images },   { "refused", refused }, { "truncated", truncated },
    { "lies", lies },       { "names", names },     TEST_END,
};
