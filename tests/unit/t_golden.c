/* tests/unit/t_golden.c: the recorded cases are complete, and checkpoints come out as described. */
#include "tests/golden/golden.h"

#include <stdlib.h>

#include "base/half.h"
#include "tests/test.h"
#include "tools/mkckpt_lib.h"

struct fixture {
    struct om_arena arena;
    struct om_error err;
    struct golden *list;
    size_t n;
};

static bool begin(struct fixture *f, struct test *t, const char *shared,
                  bool (*accept)(const char *model_type))
{
    *f = (struct fixture){ .arena = OM_ARENA_INIT(1 << 26), .err = OM_ERROR_INIT };
    const int rc =
        golden_list(&f->arena, test_data(t, ""), shared, accept, &f->list, &f->n, &f->err);

    CHECK_OK(t, rc, &f->err);
    return rc == 0;
}

static void end(struct fixture *f)
{
    om_error_release(&f->err);
    om_arena_release(&f->arena);
}

static bool is_t5(const char *model_type)
{
    return strcmp(model_type, "t5") == 0;
}

static void list(struct test *t)
{
    struct fixture f;

    if (begin(&f, t, NULL, NULL)) {
        CHECK(t, f.n >= 63); /* one directory per model type and task */
        CHECK_STR(t, f.list[0].model_type, "albert");
        CHECK_STR(t, f.list[0].task, "feature-extraction");
    }
    end(&f);
    if (begin(&f, t, NULL, is_t5))
        CHECK_INT(t, f.n, 4);
    end(&f);
}

static const struct golden_port *find_port(const struct golden_port *p, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(p[i].name, name) == 0)
            return &p[i];
    return NULL;
}

/* A tensor of a case fits the port that the signature gives it. */
static void check_tensor(struct test *t, const struct om_tensor *x, const struct golden_port *p)
{
    CHECK(t, p != NULL);
    if (!p)
        return;
    CHECK_INT(t, x->dtype, p->dtype);
    CHECK_INT(t, x->rank, p->rank);
    for (uint32_t i = 0; x->rank == p->rank && i < x->rank; i++)
        if (p->dims[i].kind == GOLDEN_DIM_FIXED)
            CHECK_INT(t, x->dims[i], p->dims[i].value);
}

static void check_cases(struct test *t, struct fixture *f, const struct golden_cases *c,
                        const struct golden_onnx *o)
{
    struct golden_case *cases = NULL;
    size_t n = 0;

    CHECK_OK(t, golden_cases_of(&f->arena, c, o->stem, &cases, &n, &f->err), &f->err);
    CHECK(t, n >= 2);
    for (size_t i = 0; i < n; i++) {
        CHECK_INT(t, cases[i].n_inputs, o->n_inputs);
        CHECK(t, cases[i].n_outputs > 0 && cases[i].n_outputs <= o->n_outputs);
        for (size_t k = 0; k < cases[i].n_inputs; k++)
            check_tensor(t, &cases[i].inputs[k],
                         find_port(o->inputs, o->n_inputs, cases[i].inputs[k].name));
        for (size_t k = 0; k < cases[i].n_outputs; k++)
            check_tensor(t, &cases[i].outputs[k],
                         find_port(o->outputs, o->n_outputs, cases[i].outputs[k].name));
    }
}

static void signatures_and_cases(struct test *t)
{
    struct fixture f;

    begin(&f, t, NULL, NULL);
    for (size_t i = 0; i < f.n; i++) {
        struct golden_signature s = { 0 };
        struct golden_cases c = { 0 };

        test_case(t, "%s", f.list[i].dir);
        CHECK_OK(t, golden_signature_read(&f.arena, &f.list[i], &s, &f.err), &f.err);
        CHECK_OK(t, golden_cases_open(&f.arena, &f.list[i], &c, &f.err), &f.err);
        CHECK(t, s.n_onnx > 0 && s.n_files > s.n_onnx && s.atol > 0);
        for (size_t k = 0; k < s.n_onnx && c.file; k++)
            check_cases(t, &f, &c, &s.onnx[k]);
        golden_cases_close(&c);
    }
    end(&f);
}

/* The larger collection can be read; its content is not ours to check. */
static void shared(struct test *t)
{
    struct fixture f;

    if (!test_shared()) {
        test_skip(t, "OM_SHARED is not set");
        return;
    }
    begin(&f, t, test_shared(), NULL);
    for (size_t i = 0; i < f.n; i++) {
        struct golden_signature s = { 0 };
        struct golden_cases c = { 0 };
        struct golden_case *cases;
        size_t n;

        test_case(t, "%s", f.list[i].dir);
        CHECK_OK(t, golden_signature_read(&f.arena, &f.list[i], &s, &f.err), &f.err);
        CHECK_OK(t, golden_cases_open(&f.arena, &f.list[i], &c, &f.err), &f.err);
        for (size_t k = 0; k < s.n_onnx && c.file; k++)
            CHECK_OK(t, golden_cases_of(&f.arena, &c, s.onnx[k].stem, &cases, &n, &f.err), &f.err);
        golden_cases_close(&c);
    }
    end(&f);
}

/* The value of the formula, written a second time in the plainest way. */
static float expected(const char *name, uint64_t i, double scale, double offset)
{
    uint64_t z = 0xCBF29CE484222325u;

    for (const char *p = name; *p; p++)
        z = (z ^ (uint8_t)*p) * 0x100000001B3u;
    z += (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z = z ^ (z >> 31);
    return (float)(offset + scale * ((double)(z >> 40) / 8388608.0 - 1.0));
}

static void checkpoint(struct test *t)
{
    static const char name[] = "bert.embeddings.word_embeddings.weight";
    static const struct {
        size_t shards;
        enum om_dtype dtype;
        size_t files;
    } cases[] = {
        { 0, OM_DTYPE_NONE, 1 }, { 3, OM_DTYPE_NONE, 3 }, { 0, OM_F16, 1 }, { 2, OM_BF16, 2 }
    };
    struct om_arena a = OM_ARENA_INIT(1 << 24);
    struct om_error err = OM_ERROR_INIT;

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const struct mkckpt_opts opts = { .shards = cases[i].shards, .dtype = cases[i].dtype };
        const char *out = om_arena_printf(&a, "%s/%zu", test_tmpdir(t), i);
        const struct om_ckpt_tensor *w;
        struct om_ckpt *ck = NULL;

        test_case(t, "%zu shards, %s", opts.shards, om_dtype_text(opts.dtype));
        CHECK_OK(t, mkckpt_run(test_data(t, "goldens/bert/fill-mask"), out, &opts, &err), &err);
        CHECK(t, om_file_exists(om_path_join(&a, out, "config.json")));
        CHECK(t, !om_file_exists(om_path_join(&a, out, "signature.json")));
        CHECK_OK(t, om_ckpt_open(&a, out, &ck, &err), &err);
        w = ck ? om_ckpt_find(ck, OM_SVL(name)) : NULL;
        CHECK(t, w != NULL);
        if (w) {
            static const size_t n = 99 * 32;
            float got[99 * 32];
            size_t wrong = 0;

            CHECK_INT(t, ck->len, 42);
            CHECK_INT(t, ck->file_count, cases[i].files);
            CHECK_INT(t, w->dtype, opts.dtype == OM_DTYPE_NONE ? OM_F32 : opts.dtype);
            CHECK_INT(t, w->bytes, n * om_dtype_size(w->dtype));
            om_convert(got, OM_F32, om_ckpt_data(w), w->dtype, n);
            for (size_t k = 0; k < n; k++) {
                float x = expected(name, k, 0.5, 0.0);
                if (opts.dtype == OM_F16)
                    x = om_f16_to_f32(om_f32_to_f16(x));
                if (opts.dtype == OM_BF16)
                    x = om_bf16_to_f32(om_f32_to_bf16(x));
                wrong += memcmp(&x, &got[k], sizeof(x)) != 0;
            }
            CHECK_INT(t, wrong, 0);
        }
        om_ckpt_close(ck);
    }
    om_error_release(&err);
    om_arena_release(&a);
}

static void real_outputs(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1 << 24);
    struct om_error err = OM_ERROR_INIT;
    struct om_ckpt *ck = NULL;

    CHECK_OK(t,
             om_ckpt_open_file(&a, test_data(t, "real/all-MiniLM-L6-v2/expected.safetensors"), &ck,
                               &err),
             &err);
    if (ck) {
        const struct om_ckpt_tensor *x = om_ckpt_find(ck, OM_SVL("outputs/sentence_embedding"));

        CHECK(t, x && x->dtype == OM_F32 && x->rank == 2 && x->dims[0] == 10 && x->dims[1] == 384);
    }
    om_ckpt_close(ck);
    om_error_release(&err);
    om_arena_release(&a);
}

const struct test_entry t_golden[] = {
    { "list", list },
    { "signatures_and_cases", signatures_and_cases },
    { "shared", shared },
    { "checkpoint", checkpoint },
    { "real_outputs", real_outputs },
    TEST_END,
};
