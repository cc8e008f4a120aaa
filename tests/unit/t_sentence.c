/* tests/unit/t_sentence.c: sentence-transformers models: recorded outputs of both directory
 * layouts, and what modules.json may not say. */
#include "arch/arch.h"
#include "base/half.h"
#include "fixture.h"
#include "ref/ref.h"
#include "tools/mkckpt_lib.h"

#include <math.h>

/* ---- recorded models ---- */

static void copy_text(struct test *t, struct om_arena *a, const char *from, const char *to_dir,
                      const char *name)
{
    struct om_error err = OM_ERROR_INIT;
    om_sv text;

    CHECK_OK(t, om_dir_make(to_dir, &err), &err);
    CHECK_OK(t, om_file_read(a, om_path_join(a, from, name), 1u << 20, &text, &err), &err);
    if (!test_failed(t))
        fixture_file(t, to_dir, name, text.ptr);
    om_error_release(&err);
}

/* The directory DATA/sentence/NAME with its weights made, below the test's directory. */
static const char *make_model(struct test *t, struct om_arena *a, const char *from,
                              const char *name)
{
    static const char *const parts[] = { "",          "0_Transformer", "1_Pooling",  "1_Dense",
                                         "2_Pooling", "2_Dense",       "3_LayerNorm" };
    const char *to = om_path_join(a, test_tmpdir(t), name);
    struct om_error err = OM_ERROR_INIT;

    copy_text(t, a, from, to, "modules.json");
    for (size_t i = 0; i < OM_COUNT(parts); i++) {
        const char *dir = om_path_join(a, from, parts[i]), *out = om_path_join(a, to, parts[i]);
        if (om_file_exists(om_path_join(a, dir, "tensors.json")))
            CHECK_OK(t, mkckpt_run(dir, out, &(const struct mkckpt_opts)MKCKPT_OPTS_INIT, &err),
                     &err);
        else if (om_file_exists(om_path_join(a, dir, "config.json")))
            copy_text(t, a, dir, out, "config.json");
    }
    om_error_release(&err);
    return to;
}

struct model {
    struct om_sentence *st;
    struct om_config config;
    struct om_ckpt *ckpt;
    struct om_graph *g;
};

static int open_model(struct model *m, struct om_arena *a, const char *dir, enum om_dtype compute,
                      struct om_error *err)
{
    struct om_arch_job job = { .compute = compute, .storage_follows = true };
    void *cfg;

    OM_TRY(om_sentence_open(a, dir, &m->st, err));
    OM_TRY(om_config_open(a, om_sentence_transformer_dir(m->st), &m->config, err));
    OM_TRY(om_ckpt_open(a, om_sentence_transformer_dir(m->st), &m->ckpt, err));
    job.config = &m->config;
    job.ckpt = m->ckpt;
    job.arch = om_arch_find(m->config.model_type);
    job.task = om_task_by_head(OM_HEAD_HIDDEN);
    OM_TRY(om_arch_config(a, job.arch, &m->config, &cfg, err));
    job.cfg = cfg;
    OM_TRY(om_sentence_build(&job, m->st, a, &m->g, err));
    return om_graph_verify(m->g, err);
}

static void close_model(struct model *m)
{
    om_graph_free(m->g);
    om_ckpt_close(m->ckpt);
    om_config_close(&m->config);
    om_sentence_close(m->st);
}

/* The tensors of a file whose names start with prefix, without it. */
static size_t tensors_of(struct om_arena *a, const struct om_ckpt *ck, const char *prefix,
                         struct om_tensor *out)
{
    size_t n = 0;

    for (size_t i = 0; i < ck->len; i++) {
        const struct om_ckpt_tensor *c = &ck->tensors[i];
        if (!om_sv_starts(c->name, om_sv_str(prefix)))
            continue;
        out[n++] = (struct om_tensor){ .name = om_arena_str(a, c->name) + strlen(prefix),
                                       .dtype = c->dtype,
                                       .rank = c->rank,
                                       .dims = c->dims,
                                       .data = om_arena_copy(a, om_ckpt_data(c), c->bytes) };
    }
    return n;
}

static void compare(struct test *t, const struct om_tensor *got, const struct om_tensor *want,
                    float tolerance)
{
    const uint8_t *data = got->data;
    const float *w = want->data;
    int64_t n = 0;

    CHECK_STR(t, got->name, want->name);
    CHECK_INT(t, got->rank, want->rank);
    for (uint32_t i = 0; i < want->rank && !test_failed(t); i++)
        CHECK_INT(t, got->dims[i], want->dims[i]);
    CHECK(t, om_count(want->dims, want->rank, &n));
    for (int64_t i = 0; i < n && !test_failed(t); i++) {
        float g;
        om_convert(&g, OM_F32, data + (size_t)i * om_dtype_size(got->dtype), got->dtype, 1);
        CHECK(t, fabsf(g - w[i]) <= tolerance * fmaxf(1.0f, fabsf(w[i])));
    }
}

static void run_recorded(struct test *t, const char *name, enum om_dtype compute, float tolerance)
{
    const struct om_ref_opts opts = { .ctx = NULL };
    struct om_arena a = OM_ARENA_INIT(256u << 20);
    const char *data = om_path_join(&a, test_data(t, "sentence"), name);
    struct om_error err = OM_ERROR_INIT;
    struct om_tensor in[2], want[2], *got;
    struct om_ckpt *cases = NULL;
    struct model m = { 0 };
    size_t n = 0;

    test_case(t, "%s in %s", name, om_dtype_text(compute));
    CHECK_OK(t, om_ckpt_open_file(&a, om_path_join(&a, data, "cases.safetensors"), &cases, &err),
             &err);
    CHECK_OK(t, open_model(&m, &a, make_model(t, &a, data, name), compute, &err), &err);
    if (!test_failed(t)) {
        CHECK_INT(t, tensors_of(&a, cases, "inputs/", in), 2);
        CHECK_INT(t, tensors_of(&a, cases, "outputs/", want), 2);
        CHECK_OK(t, om_ref_run(m.g, in, 2, &opts, &a, &got, &n, &err), &err);
        CHECK_INT(t, n, 2);
    }
    for (size_t i = 0; i < 2 && !test_failed(t);
         i++) /* token_embeddings first, then the sentence's */
        compare(t, &got[i], &want[strcmp(want[0].name, got[i].name) != 0], tolerance);
    if (!test_failed(t)) {
        CHECK_STR(t, got[0].name, "token_embeddings");
        CHECK_INT(t, got[0].dtype, compute);
        CHECK_INT(t, got[1].dtype, compute);
        CHECK_INT(t, m.g->n_inputs, 2);
    }
    close_model(&m);
    om_ckpt_close(cases);
    om_error_release(&err);
    om_arena_release(&a);
}

static void recorded(struct test *t)
{
    static const struct {
        enum om_dtype compute;
        float tolerance; /* 16 bits: some roundings of the recorded float32 */
    } cases[] = { { OM_F32, 1e-5f }, { OM_F16, 1e-2f }, { OM_BF16, 8e-2f } };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        run_recorded(t, "old", cases[i].compute, cases[i].tolerance);
        run_recorded(t, "new", cases[i].compute, cases[i].tolerance);
    }
}

/* ---- what cannot be read ---- */

#define ST "sentence_transformers.models."
#define TRANSFORMER "{\"path\": \"\", \"type\": \"" ST "Transformer\"}"
#define POOLING "{\"path\": \"1_Pooling\", \"type\": \"" ST "Pooling\"}"

static void bad_modules(struct test *t)
{
    static const struct {
        const char *modules, *pooling, *message;
    } cases[] = {
        { "{}", "{}", "expected a list of 1 to 64 modules" },
        { "[]", "{}", "expected a list of 1 to 64 modules" },
        { "[1]", "{}", "module 0: key \"type\": expected a string, found nothing" },
        { "[{\"type\": \"" ST "LSTM\"}]", "{}", "module \"" ST "LSTM\" is not implemented" },
        { "[{\"type\": \"evil.Transformer\"}]", "{}", "module \"evil.Transformer\"" },
        { "[" POOLING "]", "{}", "module 0: the first module and no other must be a Transformer" },
        { "[" TRANSFORMER ", " TRANSFORMER "]", "{}", "module 1: the first module and no other" },
        { "[{\"path\": \"/etc\", \"type\": \"" ST "Transformer\"}]", "{}", "leaves the directory" },
        { "[{\"path\": \"a/../../b\", \"type\": \"" ST "Transformer\"}]", "{}",
          "leaves the directory" },
        { "[{\"path\": 3, \"type\": \"" ST "Transformer\"}]", "{}",
          "key \"path\": expected a string, found integer" },
        { "[" TRANSFORMER ", " POOLING "]", "{\"pooling_mode\": \"median\"}",
          "1_Pooling/config.json: key \"pooling_mode\": \"median\" is none of cls, max" },
        { "[" TRANSFORMER ", " POOLING "]", "{\"pooling_mode\": []}", "1 to 64 names" },
        { "[" TRANSFORMER ", " POOLING "]", "{\"pooling_mode_cls_token\": \"yes\"}",
          "expected true or false, found string" },
        { "[" TRANSFORMER ", {\"path\": \"1_Pooling\", \"type\": \"" ST "Dense\"}]",
          "{\"activation_function\": \"os.system\"}", "\"os.system\" is not implemented" },
        { "[" TRANSFORMER ", {\"path\": \"1_Pooling\", \"type\": \"" ST "Dense\"}]",
          "{\"module_input_name\": \"pixels\"}",
          "key \"module_input_name\": \"pixels\" is not implemented" },
    };
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    const char *dir = test_tmpdir(t), *pooling = om_path_join(&a, dir, "1_Pooling");
    struct om_error err = OM_ERROR_INIT;

    CHECK(t, !om_sentence_detect(dir));
    CHECK_OK(t, om_dir_make(pooling, &err), &err);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_sentence *st = NULL;
        test_case(t, "%s", cases[i].message);
        fixture_file(t, dir, "modules.json", cases[i].modules);
        fixture_file(t, pooling, "config.json", cases[i].pooling);
        CHECK(t, om_sentence_detect(dir));
        CHECK(t, om_sentence_open(&a, dir, &st, &err) < 0);
        CHECK_HAS(t, om_error_text(&err), cases[i].message);
        CHECK_HAS(t, om_error_text(&err), "modules.json");
        CHECK(t, st == NULL);
    }
    om_sentence_close(NULL);
    om_error_release(&err);
    om_arena_release(&a);
}

const struct test_entry t_sentence[] = { { "recorded", recorded },
                                         { "bad_modules", bad_modules },
                                         TEST_END };
