/* tests/unit/t_dtype.c: computation in 16 bits: how weights are stored, and that what would
 * overflow there does not. */
#include "arch/arch.h"
#include "base/half.h"
#include "export/job.h"
#include "lower/lower.h"
#include "ref/ref.h"
#include "test.h"
#include "tests/golden/golden.h"
#include "tools/mkckpt_lib.h"

#include <math.h>
#include <stdlib.h>

/* One file of a golden, built from a checkpoint whose tensors were changed on the way. */
struct subject {
    const char *model_type, *task;
    enum om_part part;
    const char *stem; /* of the recorded cases */
};

/* Tensors whose names hold part are multiplied; NULL: none. */
struct factor {
    const char *part;
    float by;
};

struct fixture {
    struct test *t;
    struct om_arena arena;
    struct om_error err;
    struct om_config config;
    struct om_ckpt *original, *ckpt;
    struct om_arch_job job;
    struct golden_cases file;
    struct golden_case *cases;
    size_t n_cases;
    struct om_graph *built[64]; /* a lowered graph shares what the built one owns */
    size_t n_built;
};

/* ---- the checkpoint ---- */

static int scale_tensor(struct fixture *f, const struct om_ckpt_tensor *c, const struct factor *by,
                        struct om_tensor *out)
{
    const size_t size = om_dtype_size(c->dtype), n = (size_t)c->bytes / size;
    uint8_t *data = om_arena_copy(&f->arena, om_ckpt_data(c), (size_t)c->bytes);
    const char *name = om_arena_str(&f->arena, c->name);

    if (!data || !name)
        return om_fail(&f->err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n && by->part && strstr(name, by->part); i++) {
        float v;
        om_convert(&v, OM_F32, data + i * size, c->dtype, 1);
        v *= by->by;
        om_convert(data + i * size, c->dtype, &v, OM_F32, 1);
    }
    *out = (struct om_tensor){ name, c->dtype, c->rank, c->dims, data };
    return 0;
}

static int open_scaled(struct fixture *f, const char *from, const char *to, const struct factor *by)
{
    const char *path = om_arena_printf(&f->arena, "%s/model.safetensors", to);
    struct om_tensor *list;

    OM_TRY(om_dir_make(to, &f->err));
    OM_TRY(om_ckpt_open(&f->arena, from, &f->original, &f->err));
    list = om_arena_array(&f->arena, f->original->len, sizeof(*list));
    if (!list)
        return om_fail(&f->err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < f->original->len; i++)
        OM_TRY(scale_tensor(f, &f->original->tensors[i], by, &list[i]));
    OM_TRY(om_safetensors_write(path, list, f->original->len, &f->err));
    return om_ckpt_open(&f->arena, to, &f->ckpt, &f->err);
}

static int open_job(struct fixture *f, const struct subject *s, const char *dir)
{
    struct om_arch_job *job = &f->job;
    void *cfg;

    OM_TRY(om_config_open(&f->arena, dir, &f->config, &f->err));
    job->config = &f->config;
    job->ckpt = f->ckpt;
    job->arch = om_arch_find(f->config.model_type);
    job->task = om_task_parse(om_sv_str(s->task), &job->past);
    OM_TRY(om_arch_config(&f->arena, job->arch, &f->config, &cfg, &f->err));
    job->cfg = cfg;
    return 0;
}

static int open_all(struct fixture *f, const struct subject *s, enum om_dtype stored,
                    const struct factor *by)
{
    const char *dir = om_arena_printf(&f->arena, "goldens/%s/%s", s->model_type, s->task);
    const struct golden golden = { om_arena_str(&f->arena, om_sv_str(test_data(f->t, dir))),
                                   s->model_type, s->task };
    const char *tmp = test_tmpdir(f->t);
    const char *plain = om_arena_printf(&f->arena, "%s/%s-%d", tmp, s->model_type, (int)stored);
    const char *scaled = om_arena_printf(&f->arena, "%s-scaled-%d", plain, (int)s->part);

    OM_TRY(mkckpt_run(golden.dir, plain, &(const struct mkckpt_opts){ .dtype = stored }, &f->err));
    OM_TRY(open_scaled(f, plain, scaled, by));
    OM_TRY(open_job(f, s, plain));
    OM_TRY(golden_cases_open(&f->arena, &golden, &f->file, &f->err));
    return golden_cases_of(&f->arena, &f->file, s->stem, &f->cases, &f->n_cases, &f->err);
}

static bool begin(struct fixture *f, struct test *t, const struct subject *s, enum om_dtype stored,
                  const struct factor *by)
{
    *f = (struct fixture){ .t = t, .arena = OM_ARENA_INIT((size_t)1 << 30) };
    CHECK_OK(t, open_all(f, s, stored, by), &f->err);
    CHECK(t, f->n_cases > 0);
    return !test_failed(t);
}

static void end(struct fixture *f)
{
    while (f->n_built > 0)
        om_graph_free(f->built[--f->n_built]);
    golden_cases_close(&f->file);
    om_ckpt_close(f->ckpt);
    om_ckpt_close(f->original);
    om_config_close(&f->config);
    om_error_release(&f->err);
    om_arena_release(&f->arena);
}

/* ---- graphs ---- */

static struct om_graph *keep(struct fixture *f, struct om_graph *g)
{
    CHECK(f->t, f->n_built < OM_COUNT(f->built));
    if (g && f->n_built < OM_COUNT(f->built))
        f->built[f->n_built++] = g;
    return g;
}

/* opset 0: as built. Freed with the fixture, the newest first. */
static struct om_graph *build(struct fixture *f, enum om_part part, enum om_dtype compute,
                              int opset)
{
    const struct om_lower_opts opts = { .opset = opset };
    struct om_graph *g = NULL, *lowered = NULL;

    f->job.compute = compute;
    CHECK_OK(f->t, om_arch_build(&f->job, part, &f->arena, &g, &f->err), &f->err);
    keep(f, g);
    if (!g || opset == 0)
        return g;
    CHECK_OK(f->t, om_lower(g, &opts, &lowered, &f->err), &f->err);
    return keep(f, lowered);
}

static double element(const struct om_tensor *t, size_t i)
{
    double v;

    om_convert(&v, OM_F64, (const uint8_t *)t->data + i * om_dtype_size(t->dtype), t->dtype, 1);
    return v;
}

static size_t count_of(const struct om_tensor *t)
{
    int64_t n = 0;

    return om_count(t->dims, t->rank, &n) ? (size_t)n : 0;
}

/* The case's inputs, floats in the given dtype. */
static const struct om_tensor *inputs_in(struct fixture *f, const struct golden_case *c,
                                         enum om_dtype dtype)
{
    struct om_tensor *in = om_arena_copy(&f->arena, c->inputs, c->n_inputs * sizeof(*in));

    for (size_t i = 0; in && i < c->n_inputs; i++) {
        const size_t n = count_of(&in[i]);
        void *data;
        if (in[i].dtype != OM_F32)
            continue;
        data = om_arena_alloc(&f->arena, n * om_dtype_size(dtype) + 1);
        if (!data)
            return NULL;
        om_convert(data, dtype, in[i].data, OM_F32, n);
        in[i].data = data;
        in[i].dtype = dtype;
    }
    return in;
}

struct outputs {
    struct om_tensor *list;
    size_t n;
    double largest; /* finite magnitude that was met on the way, what hides keys excepted */
};

static void observe(void *user, const struct om_graph *g, om_val v, const struct om_tensor *t)
{
    struct outputs *out = user;
    const size_t n = count_of(t);

    (void)g;
    (void)v;
    for (size_t i = 0; i < n && t->dtype == OM_F32; i++) {
        const double m = fabs((double)((const float *)t->data)[i]);
        if (m < 1e30 && m > out->largest)
            out->largest = m;
    }
}

static struct outputs run(struct fixture *f, const struct om_graph *g, const struct golden_case *c)
{
    struct outputs out = { .n = 0 };
    const struct om_ref_opts opts = { .observe = observe, .user = &out };
    const struct om_tensor *in = inputs_in(f, c, f->job.compute);

    if (g && in)
        CHECK_OK(f->t, om_ref_run(g, in, c->n_inputs, &opts, &f->arena, &out.list, &out.n, &f->err),
                 &f->err);
    return out;
}

/* The largest difference relative to the largest magnitude; infinite where got is not finite. */
static double distance(const struct om_tensor *want, const struct om_tensor *got)
{
    double diff = 0, size = 0;

    for (size_t i = 0; i < count_of(want); i++) {
        const double d = fabs(element(want, i) - element(got, i));
        diff = isfinite(d) ? fmax(diff, d) : INFINITY;
        size = fmax(size, fabs(element(want, i)));
    }
    return size > 0 ? diff / size : diff;
}

static void compare(struct fixture *f, const struct outputs *want, const struct outputs *got,
                    enum om_dtype dtype, double tolerance)
{
    CHECK_INT(f->t, got->n, want->n);
    for (size_t i = 0; i < OM_MIN(got->n, want->n); i++) {
        const double d = distance(&want->list[i], &got->list[i]);
        CHECK_INT(f->t, got->list[i].dtype, dtype);
        test_check(f->t, d <= tolerance, __FILE__, __LINE__, "%s differs by %g of its size",
                   want->list[i].name, d);
    }
}

/* ---- overflow ---- */

static const int opsets[] = { 0, 14, 18, 23 };

static void check_overflow(struct test *t, const struct subject *s, const struct factor *by,
                           double tolerance)
{
    struct fixture f;

    test_case(t, "%s %s, %s * %g", s->model_type, s->stem, by->part, (double)by->by);
    if (!begin(&f, t, s, OM_DTYPE_NONE, by))
        return;
    f.job.storage_follows = true;
    for (size_t i = 0; i < OM_COUNT(opsets); i++) {
        struct om_graph *single = build(&f, s->part, OM_F32, opsets[i]);
        struct om_graph *half = build(&f, s->part, OM_F16, opsets[i]);

        for (size_t k = 0; single && half && k < f.n_cases; k++) {
            struct outputs want, got;
            test_case(t, "%s %s, %s * %g, opset %d, case %zu", s->model_type, s->stem, by->part,
                      (double)by->by, opsets[i], k);
            f.job.compute = OM_F32;
            want = run(&f, single, &f.cases[k]);
            f.job.compute = OM_F16;
            got = run(&f, half, &f.cases[k]);
            /* float16 ends at 65504; squares are seen where norms are decomposed */
            CHECK(t, opsets[i] != 14 || want.largest > 65504);
            compare(&f, &want, &got, OM_F16, tolerance);
        }
    }
    end(&f);
}

/* Weights of a size that makes values pass 65504 in float32 give the same in float16, up to its
 * rounding. */
static void overflow(struct test *t)
{
    static const struct {
        struct subject subject;
        struct factor factor;
        double tolerance;
    } cases[] = {
        /* squares in normalizations */
        { { "bert", "feature-extraction", OM_PART_MODEL, "model" },
          { "word_embeddings.weight", 40000 },
          2e-2 },
        { { "gpt2", "feature-extraction", OM_PART_MODEL, "model" }, { "wte.weight", 40000 }, 2e-2 },
        { { "llama", "feature-extraction", OM_PART_MODEL, "model" },
          { "embed_tokens.weight", 20000 },
          2e-2 },
        /* the sum that runs through the layers, and what a layer adds to it */
        { { "t5", "text2text-generation", OM_PART_ENCODER, "encoder_model" },
          { "DenseReluDense.wo.weight", 1e6f },
          2e-2 },
        { { "t5", "text2text-generation", OM_PART_DECODER, "decoder_model" },
          { "DenseReluDense.wo.weight", 1e6f },
          2e-2 },
        /* the embeddings themselves */
        { { "t5", "text2text-generation", OM_PART_ENCODER, "encoder_model" },
          { "shared.weight", 10000 },
          2e-2 },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++)
        check_overflow(t, &cases[i].subject, &cases[i].factor, cases[i].tolerance);
}

/* Where the result of T5's attention itself passes float16's range it is clamped, as in
 * Transformers: the values are not float32's, but they are numbers. */
static void clamped(struct test *t)
{
    static const struct subject s = { "t5", "text2text-generation", OM_PART_ENCODER,
                                      "encoder_model" };
    static const struct factor by = { "SelfAttention.o.weight", 2e5f };
    struct om_graph *g;
    struct fixture f;

    if (!begin(&f, t, &s, OM_F32, &by))
        return;
    for (size_t i = 0; i < OM_COUNT(opsets); i++) {
        g = build(&f, s.part, OM_F16, opsets[i]);
        for (size_t k = 0; g && k < f.n_cases; k++) {
            const struct outputs got = run(&f, g, &f.cases[k]);
            test_case(t, "opset %d, case %zu", opsets[i], k);
            for (size_t n = 0; got.n > 0 && n < count_of(&got.list[0]); n++)
                CHECK(t, isfinite(element(&got.list[0], n)));
        }
    }
    end(&f);
}

/* ---- storage ---- */

struct storing {
    bool follows;
    enum om_dtype storage;
};

/* The dtype in which a weight of the name is to be stored. */
static enum om_dtype want_stored(const struct storing *how, enum om_dtype checkpoint,
                                 enum om_dtype compute, om_sv name)
{
    if (how->follows) /* T5 computes with these in float32 in any case */
        return om_sv_ends(name, OM_SVL(".wo.weight")) ? OM_F32 : compute;
    return how->storage == OM_DTYPE_NONE ? checkpoint : how->storage;
}

static void check_storage(struct fixture *f, const struct subject *s, const struct storing *how,
                          enum om_dtype checkpoint, enum om_dtype compute,
                          const struct outputs *want)
{
    struct om_graph *g;
    struct outputs got;

    f->job.storage_follows = how->follows;
    f->job.storage = how->storage;
    g = build(f, s->part, compute, 0);
    for (size_t i = 0; g && i < g->n_weights; i++) {
        const struct om_weight *w = &g->weights[i];
        if (!w->file) /* computed */
            continue;
        if (w->dtype != want_stored(how, checkpoint, compute, w->name))
            test_check(f->t, false, __FILE__, __LINE__, "%.*s is %s", OM_SV(w->name),
                       om_dtype_text(w->dtype));
        CHECK_INT(f->t, w->src_dtype, checkpoint);
    }
    got = run(f, g, &f->cases[0]);
    compare(f, want, &got, compute, 6e-2); /* with weights of bfloat16 */
}

static void check_storages(struct test *t, const struct subject *s, enum om_dtype checkpoint)
{
    static const struct storing ways[] = {
        { true, OM_DTYPE_NONE }, { false, OM_DTYPE_NONE }, { false, OM_F32 },
        { false, OM_F16 },       { false, OM_BF16 },
    };
    static const enum om_dtype computes[] = { OM_F32, OM_F16, OM_BF16 };
    const struct factor none = { NULL, 1 };
    struct outputs want;
    struct om_graph *g;
    struct fixture f;

    test_case(t, "%s of %s", s->model_type, om_dtype_text(checkpoint));
    if (!begin(&f, t, s, checkpoint, &none))
        return;
    g = build(&f, s->part, OM_F32, 0);
    want = run(&f, g, &f.cases[0]);
    for (size_t c = 0; c < OM_COUNT(computes); c++)
        for (size_t i = 0; i < OM_COUNT(ways); i++) {
            test_case(t, "%s of %s, computed in %s, stored in %s", s->model_type,
                      om_dtype_text(checkpoint), om_dtype_text(computes[c]),
                      ways[i].follows ? "the same" : om_dtype_text(ways[i].storage));
            check_storage(&f, s, &ways[i], checkpoint, computes[c], &want);
        }
    end(&f);
}

static void storage(struct test *t)
{
    static const struct subject subjects[] = {
        { "bert", "question-answering", OM_PART_MODEL, "model" },
        { "llama", "text-generation-with-past", OM_PART_MODEL, "model" },
        { "t5", "text2text-generation-with-past", OM_PART_DECODER_PAST, "decoder_with_past_model" },
        { "t5", "text2text-generation-with-past", OM_PART_ENCODER, "encoder_model" },
    };

    for (size_t i = 0; i < OM_COUNT(subjects); i++)
        for (enum om_dtype dtype = OM_F32; dtype < OM_DTYPE_COUNT; dtype++)
            if (dtype == OM_F32 || dtype == OM_F16 || dtype == OM_BF16)
                check_storages(t, &subjects[i], dtype);
}

/* ---- closeness ---- */

static void closeness(struct test *t)
{
    static const struct {
        double atol;
        bool scaled;
        float ref[3], got[3];
        bool close;
    } cases[] = {
        { 1e-2, false, { 0, 1, 100 }, { 0.009f, 1.01f, 100.9f }, true },
        { 1e-2, false, { 0, 1, 100 }, { 0.011f, 1, 100 }, false },
        { 1e-2, true, { 0, 1, 100 }, { 0.9f, 1.9f, 99.1f }, true },
        { 1e-2, true, { 0, 1, 100 }, { 0, 2.1f, 100 }, false },
        { 1e-2, true, { 0, 1, -100 }, { 0, 1.9f, -100.9f }, true },
        { 1e-2, true, { 0, 0, 0 }, { 0, 0, 0 }, true },
        { 1e-2, true, { 0, 0, 0 }, { 0, 0, 1e-6f }, false },
        { 1e-2, true, { 1, INFINITY, 2 }, { 1, INFINITY, 2 }, true },
        { 1e-2, true, { 1, INFINITY, 2 }, { 1, INFINITY, 2.1f }, false }, /* not infinitely lax */
        { 1e-2, true, { 1, 2, 3 }, { 1, NAN, 3 }, false },
        { 1e-2, true, { 1, NAN, 3 }, { 1, NAN, 3 }, false },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const int64_t dims[] = { 3 };
        const struct om_tensor ref = { "y", OM_F32, 1, dims, cases[i].ref };
        const struct om_tensor got = { "y", OM_F32, 1, dims, cases[i].got };
        const struct om_tolerance tolerance = { cases[i].atol, cases[i].scaled };
        double diff;

        test_case(t, "%zu", i);
        CHECK_INT(t, om_all_close(&ref, &got, &tolerance, &diff), cases[i].close);
    }
}

const struct test_entry t_dtype[] = { { "overflow", overflow },
                                      { "clamped", clamped },
                                      { "storage", storage },
                                      { "closeness", closeness },
                                      TEST_END };
