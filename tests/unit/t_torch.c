/* tests/unit/t_torch.c: files of torch.save in both containers: views of shared storages, and what
 * is refused. */
#include "ckpt/ckpt.h"

#include "test.h"
#include "unit/archive.h"

#include <stdio.h>
#include <stdlib.h>

/* What a file holds; edits make it wrong. */
struct recipe {
    const char *name, *version, *byteorder; /* NULL: left out */
    const struct pickled_tensor *tensors;
    size_t n;
    const char *wrap;      /* the key of a dict that holds the state_dict */
    struct om_buf *pickle; /* instead of the tensors */
    const char *extra;     /* one more member */
    int64_t missing;       /* elements that the last storage lacks */
    enum zip_form form;
};

#define RECIPE                                                                             \
    {                                                                                      \
        .name = "archive", .version = "3\n", .byteorder = "little", .form = ZIP_DESCRIPTOR \
    }

/* Storages "0" (float32) and "1" (int64) of 24 elements: 0, 1, 2 ... */
#define ELEMENTS 24
static float reals[ELEMENTS];
static int64_t ints[ELEMENTS];

static void fill(void)
{
    for (int i = 0; i < ELEMENTS; i++) {
        reals[i] = (float)i;
        ints[i] = i;
    }
}

#define F32(name, offset, ...)                                   \
    {                                                            \
        name, "FloatStorage", "0", ELEMENTS, offset, __VA_ARGS__ \
    }
#define I64(name, offset, ...)                                  \
    {                                                           \
        name, "LongStorage", "1", ELEMENTS, offset, __VA_ARGS__ \
    }

static const struct pickled_tensor views[] = {
    F32("plain", 0, 2, { 4, 6 }, { 6, 1 }),   F32("transposed", 0, 2, { 6, 4 }, { 1, 6 }),
    F32("rows", 6, 2, { 2, 6 }, { 6, 1 }),    F32("columns", 2, 2, { 4, 3 }, { 6, 1 }),
    F32("every other", 1, 1, { 12 }, { 2 }),  F32("expanded", 5, 2, { 3, 6 }, { 0, 1 }),
    F32("scalar", 23, 0, { 0 }, { 0 }),       F32("empty", 99, 2, { 0, 3 }, { 3, 1 }),
    F32("shared", 0, 1, { ELEMENTS }, { 1 }), F32("permuted", 0, 3, { 2, 4, 3 }, { 3, 6, 1 }),
    I64("ints", 4, 1, { 20 }, { 1 }),
};

static void put_state_dict(struct om_buf *b, const struct recipe *r)
{
    pk_begin(b);
    if (r->wrap) {
        om_buf_adds(b, "}");
        pk_text(b, "epoch");
        om_buf_adds(b, "K\1s");
        pk_text(b, r->wrap);
    }
    pk_global(b, "collections", "OrderedDict");
    om_buf_adds(b, ")R(");
    for (size_t i = 0; i < r->n; i++)
        pk_tensor(b, &r->tensors[i]);
    pk_text(b, "version");
    om_buf_adds(b, "K\2u");
    if (r->wrap)
        om_buf_adds(b, "s");
    pk_end(b);
}

static void add_member(struct zip_made *z, const struct recipe *r, const char *name,
                       const void *data, size_t len)
{
    char path[64];

    if (!data)
        return;
    snprintf(path, sizeof(path), "%s/%s", r->name, name);
    zip_add(z, path, data, len, r->form);
}

static struct om_file make_zip(const struct recipe *r)
{
    const size_t lacks = (size_t)r->missing * sizeof(int64_t);
    struct om_buf pickle = OM_BUF_INIT(1u << 20);
    struct om_file f;
    struct zip_made z;

    put_state_dict(&pickle, r);
    zip_begin(&z);
    add_member(&z, r, "data.pkl", r->pickle ? r->pickle->ptr : pickle.ptr,
               r->pickle ? r->pickle->len : pickle.len);
    add_member(&z, r, "byteorder", r->byteorder, r->byteorder ? strlen(r->byteorder) : 0);
    add_member(&z, r, "data/0", reals, sizeof(reals));
    add_member(&z, r, "data/1", ints, sizeof(ints) - lacks);
    add_member(&z, r, "version", r->version, r->version ? strlen(r->version) : 0);
    add_member(&z, r, r->extra, r->extra, r->extra ? strlen(r->extra) : 0);
    zip_end(&z, true);
    f = file_of(z.bytes.ptr, z.bytes.len);
    zip_release(&z);
    om_buf_release(&pickle);
    return f;
}

static struct om_file make_legacy(const struct recipe *r)
{
    static const char head[] =
        "\200\2\212\12\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\200\2M\xe9\3.";
    const size_t lacks = (size_t)r->missing * sizeof(int64_t);
    struct om_buf b = OM_BUF_INIT(1u << 20);
    struct om_file f;

    om_buf_add(&b, head, sizeof(head) - 1);
    om_buf_adds(&b, "\200\2}");
    pk_text(&b, "little_endian");
    om_buf_adds(&b, strcmp(r->byteorder, "little") == 0 ? "\210s." : "\211s.");
    if (r->pickle)
        om_buf_add(&b, r->pickle->ptr, r->pickle->len);
    else
        put_state_dict(&b, r);
    om_buf_adds(&b, "\200\2](U\0011");
    om_buf_adds(&b, "U\0010");
    om_buf_adds(&b, "e.");
    put_le(&b, ELEMENTS, 8);
    om_buf_add(&b, ints, sizeof(ints));
    put_le(&b, ELEMENTS, 8);
    om_buf_add(&b, reals, sizeof(reals) - lacks / 2);
    f = file_of(b.ptr, b.len);
    om_buf_release(&b);
    return f;
}

/* ---- reading ---- */

struct parsed {
    struct om_arena arena;
    struct om_error err;
    struct om_ckpt_temp *temps;
    struct om_ckpt_tensor *tensors;
    size_t len;
    int rc;
};

static void parse(struct parsed *p, const struct om_file *f)
{
    *p = (struct parsed){ .arena = OM_ARENA_INIT(1u << 20), .err = OM_ERROR_INIT };
    p->rc = om_torch_parse(&p->arena, f, &p->temps, &p->tensors, &p->len, &p->err);
}

static void parsed_release(struct parsed *p)
{
    for (struct om_ckpt_temp *t = p->temps; t; t = t->next)
        om_file_unmap(&t->file);
    om_error_release(&p->err);
    om_arena_release(&p->arena);
}

/* Element i of the view, by the strides that were pickled. */
static int64_t expected(const struct pickled_tensor *v, int64_t i)
{
    int64_t at = v->offset;

    for (uint32_t k = v->rank; k-- > 0; i /= v->dims[k])
        at += i % v->dims[k] * v->strides[k];
    return at;
}

/* The same by what the reader says. */
static int64_t found(const struct om_ckpt_tensor *t, int64_t i)
{
    int64_t at = 0, step = 1, real;
    float f;

    for (uint32_t k = t->rank; k-- > 0; i /= t->dims[k], step *= t->dims[k + 0])
        at += i % t->dims[k] * (t->strides ? t->strides[k] : step);
    const uint8_t *p = (const uint8_t *)om_ckpt_data(t) + (size_t)at * om_dtype_size(t->dtype);
    if (t->dtype == OM_I64) {
        memcpy(&real, p, sizeof(real));
        return real;
    }
    memcpy(&f, p, sizeof(f));
    return (int64_t)f;
}

static void check_view(struct test *t, const struct om_ckpt_tensor *got,
                       const struct pickled_tensor *want)
{
    const enum om_dtype dtype = strcmp(want->class, "LongStorage") == 0 ? OM_I64 : OM_F32;
    int64_t n = 1;

    test_case(t, "%s", want->name);
    CHECK_STR(t, got->name.ptr, want->name);
    CHECK_INT(t, got->dtype, dtype);
    CHECK_INT(t, got->rank, want->rank);
    for (uint32_t k = 0; k < want->rank; k++) {
        CHECK_INT(t, got->dims[k], want->dims[k]);
        n *= want->dims[k];
    }
    CHECK_INT(t, got->bytes, (uint64_t)n * om_dtype_size(dtype));
    for (int64_t i = 0; i < n; i++)
        CHECK_INT(t, found(got, i), expected(want, i));
}

static void check_views(struct test *t, struct om_file f)
{
    struct parsed p;

    parse(&p, &f);
    CHECK_OK(t, p.rc, &p.err);
    CHECK_INT(t, p.len, OM_COUNT(views));
    for (size_t i = 0; p.rc == 0 && i < p.len; i++)
        check_view(t, &p.tensors[i], &views[i]);
    if (p.rc == 0) {
        CHECK(t, p.tensors[0].strides == NULL && p.tensors[1].strides != NULL);
        CHECK(t, p.tensors[2].strides == NULL && p.tensors[8].strides == NULL);
    }
    parsed_release(&p);
    file_free(&f);
}

static void read_views(struct test *t)
{
    struct recipe r = RECIPE;

    fill();
    r.tensors = views;
    r.n = OM_COUNT(views);
    check_views(t, make_zip(&r));
    check_views(t, make_legacy(&r));
    r.form = ZIP_STORED;
    r.byteorder = NULL; /* before 2.1 */
    check_views(t, make_zip(&r));
    r.byteorder = "little";
    r.wrap = "state_dict";
    check_views(t, make_zip(&r));
    r.wrap = "other";
    check_views(t, make_legacy(&r));
#ifdef OM_HAVE_ZLIB
    r.form = ZIP_DEFLATED;
    check_views(t, make_zip(&r));
#endif
}

/* ---- refusals ---- */

static const struct pickled_tensor bad_tensors[] = {
    F32("x", 0, 2, { 5, 5 }, { 5, 1 }),                             /* 0 */
    F32("x", 1, 2, { 4, 6 }, { 6, 1 }),                             /* 1 */
    F32("x", 0, 2, { 2, 2 }, { 23, 1 }),                            /* 2 */
    F32("x", INT64_MAX, 1, { 2 }, { 1 }),                           /* 3 */
    F32("x", 0, 2, { INT64_MAX, INT64_MAX }, { 0, 0 }),             /* 4 */
    F32("x", 0, 1, { 2 }, { INT64_MAX }),                           /* 5 */
    { "x", "HalfStorage", "0", ELEMENTS, 0, 1, { 1 }, { 1 } },      /* 6 */
    { "x", "FloatStorage", "2", ELEMENTS, 0, 1, { 1 }, { 1 } },     /* 7 */
    { "x", "FloatStorage", "../0", ELEMENTS, 0, 1, { 1 }, { 1 } },  /* 8 */
    { "x", "ComplexDoubleStorage", "0", 6, 0, 1, { 1 }, { 1 } },    /* 9 */
    { "x", "DoubleStorage", "0", INT64_MAX, 0, 1, { 1 }, { 1 } },   /* 10 */
    { "x\377", "FloatStorage", "0", ELEMENTS, 0, 1, { 1 }, { 1 } }, /* 11 */
    F32("x", 0, 1, { 25 }, { 1 }),                                  /* 12 */
};

static const struct {
    size_t tensor;
    const char *want;
} bad[] = {
    { 0, "tensor \"x\": reaches byte 100 of its storage, which has 96" },
    { 1, "tensor \"x\": reaches byte 100 of its storage, which has 96" },
    { 2, "tensor \"x\": reaches byte 100 of its storage, which has 96" },
    { 3, "tensor \"x\": shape is too large" },
    { 4, "tensor \"x\": shape is too large" },
    { 5, "tensor \"x\": shape is too large" },
    { 6, "storage \"0\": 48 bytes in the pickle, 96 in the archive" },
    { 7, "storage \"2\" is not in the archive" },
    { 8, "storage \"../0\" is not in the archive" },
    { 9, "tensor \"x\": unsupported dtype complex128" },
    { 10, "storage \"0\" is too large" },
    { 11, "a tensor's name is a str, expected a str in UTF-8" },
    { 12, "tensor \"x\": reaches byte 100" },
};

static void refuse(struct test *t, struct om_file f, const char *want)
{
    struct parsed p;

    parse(&p, &f);
    CHECK(t, p.rc < 0);
    CHECK_HAS(t, om_error_text(&p.err), want);
    CHECK(t, strchr(om_error_text(&p.err), '\n') == NULL);
    parsed_release(&p);
    file_free(&f);
}

static void bad_views(struct test *t)
{
    fill();
    for (size_t i = 0; i < OM_COUNT(bad); i++) {
        struct recipe r = RECIPE;

        test_case(t, "%zu: %s", i, bad[i].want);
        r.tensors = &bad_tensors[bad[i].tensor];
        r.n = 1;
        refuse(t, make_zip(&r), bad[i].want);
    }
}

static void bad_archives(struct test *t)
{
    static const struct {
        struct recipe recipe;
        const char *want;
    } cases[] = {
        { { "archive", NULL, "little", .form = 0 },
          "record \"version\": expected a number, found \"\"" },
        { { "archive", "x", "little", .form = 0 },
          "record \"version\": expected a number, found \"x\"" },
        { { "archive", "11", "little", .form = 0 }, "archive version 11, expected at most 10" },
        { { "archive", "3", "big", .form = 0 }, "weights are stored big-endian" },
        { { "archive", "3", "middle", .form = 0 },
          "record \"byteorder\": expected \"little\", found \"middle\"" },
        { { "archive", "3",
            "                                                                         ",
            .form = 0 },
          "record \"byteorder\" has 73 bytes" },
        { { "archive", "3", "little", .extra = "constants.pkl" }, "a TorchScript archive" },
        { { "archive/more", "3", "little", .form = 0 }, "without data.pkl" },
        { { "archive", "3", "little", .missing = 1 },
          "storage \"1\": 192 bytes in the pickle, 184 in the archive" },
    };

    fill();
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct recipe r = cases[i].recipe;

        test_case(t, "%s", cases[i].want);
        r.tensors = views;
        r.n = OM_COUNT(views);
        refuse(t, make_zip(&r), cases[i].want);
    }
    struct zip_made z;
    zip_begin(&z);
    zip_end(&z, false);
    test_case(t, "nothing in it");
    struct om_buf empty = OM_BUF_INIT(1024);
    om_buf_add(&empty, "PK\3\4", 4); /* else it is no archive by its first bytes */
    om_buf_add(&empty, z.bytes.ptr, z.bytes.len);
    refuse(t, file_of(empty.ptr, empty.len), "expected to end at");
    om_buf_release(&empty);
    zip_release(&z);
}

static const struct pickled_tensor lone = F32(NULL, 0, 1, { 2 }, { 1 });

/* Pickles of something else than a state_dict. */
static void other_objects(struct test *t)
{
    static const struct {
        const char *text; /* with T for a tensor */
        const char *want; /* NULL: read */
    } cases[] = {
        { "N", "pickle holds None, expected a state_dict with tensors" },
        { "T", "pickle holds a tensor, expected a state_dict with tensors" },
        { "]Ta", "pickle holds a list, expected" },
        { "}U\1xK\1s", "pickle holds a dict, expected a state_dict" },
        { "}U\1xTs", NULL },
        { "}U\1xTsU\1xTs", NULL }, /* the last one counts */
        { "}U\1x}U\1yTss", NULL },
        { "}U\1a}U\1yTssU\1b}U\1yTss", "several dicts of tensors" },
        { "}U\1a}U\1yTssU\5model}U\1yTss", NULL },
        { "}U\1a}U\1b}U\1yTsss", "pickle holds a dict" }, /* one level of nesting */
        { "}K\1Ts", "a tensor's name is an int" },
        { "}", NULL }, /* a model without weights */
    };

    fill();
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_buf pickle = OM_BUF_INIT(1u << 16);
        struct recipe r = RECIPE;
        struct parsed p;

        pk_begin(&pickle);
        for (const char *c = cases[i].text; *c; c++) {
            if (*c == 'T')
                pk_tensor(&pickle, &lone);
            else
                om_buf_addc(&pickle, *c);
        }
        pk_end(&pickle);
        r.pickle = &pickle;
        struct om_file f = make_zip(&r);
        test_case(t, "%s", cases[i].text);
        parse(&p, &f);
        CHECK_INT(t, p.rc == 0, cases[i].want == NULL);
        CHECK_HAS(t, om_error_text(&p.err), cases[i].want ? cases[i].want : "");
        if (p.rc == 0)
            CHECK_INT(t, p.len, strcmp(cases[i].text, "}") != 0);
        parsed_release(&p);
        file_free(&f);
        om_buf_release(&pickle);
    }
}

static void bad_legacy(struct test *t)
{
    struct recipe r = RECIPE;
    struct om_file f;

    fill();
    r.tensors = views;
    r.n = OM_COUNT(views);
    f = make_legacy(&r);
    for (size_t len = 4; len < f.size; len++) { /* every prefix */
        test_case(t, "%zu bytes", len);
        refuse(t, file_of(f.data, len), "");
    }
    file_free(&f);
    test_case(t, "big-endian");
    r.byteorder = "big";
    refuse(t, make_legacy(&r), "weights are stored big-endian");
    r.byteorder = "little";
    test_case(t, "short storage");
    r.missing = 2;
    refuse(t, make_legacy(&r), "storage \"0\": needs 96 bytes, the file has 96 left (truncated?)");
    r.missing = 0;
    test_case(t, "one storage of two");
    r.n = 1;
    refuse(t, make_legacy(&r), "storage keys: expected a list of 1");
    test_case(t, "another magic number");
    refuse(t, file_of("\200\2\212\12.123456789.", 15), "a pickle, but not one of torch.save");
    test_case(t, "a plain pickle");
    refuse(t, file_of("\200\2}.", 4), "a pickle, but not one of torch.save");
    test_case(t, "os.system before the magic number");
    refuse(t, file_of("\200\2cposix\nsystem\nU\4true\205R.", 25), "pickle calls posix.system");
}

/* A storage that inflates to more than its tensor needs is not inflated. */
static void zip_bomb(struct test *t)
{
#ifdef OM_HAVE_ZLIB
    const size_t n = 8u << 20;
    char *zeros = calloc(1, n);
    struct om_buf pickle = OM_BUF_INIT(1u << 16);
    struct recipe r = RECIPE;
    struct zip_made z;

    r.tensors = views;
    r.n = 1;
    put_state_dict(&pickle, &r);
    zip_begin(&z);
    zip_add(&z, "a/data.pkl", pickle.ptr, pickle.len, ZIP_STORED);
    zip_add(&z, "a/version", "3", 1, ZIP_STORED);
    zip_add(&z, "a/data/0", zeros, n, ZIP_DEFLATED);
    zip_end(&z, true);
    CHECK(t, z.packed[2] < n / 900);
    refuse(t, file_of(z.bytes.ptr, z.bytes.len),
           "storage \"0\": 96 bytes in the pickle, 8388608 in the archive");
    zip_release(&z);
    om_buf_release(&pickle);
    free(zeros);
#else
    test_skip(t, "without zlib");
#endif
}

static void not_torch(struct test *t)
{
    char tar[512] = "pickle";

    memcpy(tar + 257, "ustar", 5);
    refuse(t, file_of(tar, sizeof(tar)), "the tar format of PyTorch before 0.1.10 is not read");
    refuse(t, file_of("", 0), "not a file of torch.save");
    refuse(t, file_of("\x89HDF\r\n\032\n", 8), "not a file of torch.save");
    refuse(t, file_of("PK\3\4", 4), "not a complete zip archive");
    refuse(t, file_of("version https://git-lfs.github.com/spec/v1\noid", 45), "Git LFS pointer");
}

const struct test_entry t_torch[] = {
    { "views", read_views },          { "bad views", bad_views },
    { "bad archives", bad_archives }, { "other objects", other_objects },
    { "bad legacy", bad_legacy },     { "zip bomb", zip_bomb },
    { "not torch", not_torch },       TEST_END
};
