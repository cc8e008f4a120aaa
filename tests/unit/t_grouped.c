/* tests/unit/t_grouped.c: attention of decoders as GroupQueryAttention: the reference executor
 * gives the same for both forms of a graph, and so does ONNX Runtime for the file. */
#include <math.h>
#include <stdlib.h>

#include "graph_text.h"
#include "lower/lower.h"
#include "onnx/onnx.h"
#include "ref/ref.h"

#include <optimum/session.h>

#define INPUTS                                                                               \
    "in x f32 B,S,64;in attention_mask i64 B,past+S 2;in m bool B,1,S,past+S;"               \
    "in past_key_values.0.key f32 B,2,past,16;in past_key_values.0.value f32 B,2,past,16;"   \
    "in position_ids i64 B,S 9;weight wq f32 64,64;weight wk f32 32,64;weight wv f32 32,64;" \
    "weight c f32 9,8;weight s f32 9,8;"
#define HEADS                                                                              \
    "op q Linear x,wq transB=1;op k Linear x,wk transB=1;op v Linear x,wv transB=1;"       \
    "dims dq B,S,4,16;dims dk B,S,2,16;op q Reshape q,dq;op q Transpose q perm=[0,2,1,3];" \
    "op k Reshape k,dk;op k Transpose k perm=[0,2,1,3];op v Reshape v,dk;"                 \
    "op v Transpose v perm=[0,2,1,3];"
#define CACHE \
    "op k Concat past_key_values.0.key,k axis=2;op v Concat past_key_values.0.value,v axis=2;"
#define MERGE                                                                                   \
    "op a Transpose a perm=[0,2,1,3];dims f B,S,64;op a Reshape a,f;op y Linear a,wq transB=1;" \
    "out y;out k;out v"
#define TURN(attrs)                                 \
    "op q RotaryEmbedding q,c,s,position_ids" attrs \
    ";op k RotaryEmbedding k,c,s,position_ids" attrs ";"

static const struct grouped_case {
    const char *text;
    int64_t window;
    bool turns;    /* the operator turns queries and keys, and nobody reads position_ids */
    bool declined; /* the attention keeps its parts */
} cases[] = {
    { INPUTS HEADS CACHE "op a Attention q,k,v,m causal_window=0;" MERGE, 0, false, false },
    { INPUTS HEADS CACHE "op a Attention q,k,v,m causal_window=2 scale=0.5 softcap=3.;" MERGE, 2,
      false, false },
    { INPUTS HEADS TURN("") CACHE "op a Attention q,k,v,m causal_window=0;" MERGE, 0, true, false },
    { INPUTS HEADS TURN(" interleaved=1") CACHE "op a Attention q,k,v,m causal_window=3;" MERGE, 3,
      true, false },
    /* normalized behind the split; turned by tables that are no caches */
    { INPUTS HEADS "weight g f32 16;op q RMSNormalization q,g;op k RMSNormalization k,g;" TURN("")
          CACHE "op a Attention q,k,v,m causal_window=0;" MERGE,
      0, true, false },
    { INPUTS HEADS "in cos f32 B,S,8;in sin f32 B,S,8;op q RotaryEmbedding q,cos,sin;"
                   "op k RotaryEmbedding k,cos,sin;" CACHE
                   "op a Attention q,k,v,m causal_window=0;" MERGE,
      0, false, false },
    /* only one of them is turned: both stay as they are */
    { INPUTS HEADS "op q RotaryEmbedding q,c,s,position_ids;" CACHE
                   "op a Attention q,k,v,m causal_window=0;" MERGE,
      0, false, false },
    /* a mask that nothing is known of; no cache */
    { INPUTS HEADS CACHE "op a Attention q,k,v,m;" MERGE, 0, false, true },
};

/* What the mask's name promises: all tokens are seen, by those that come no earlier. */
static void fill_inputs(const struct om_graph *g, struct om_tensor *inputs, int64_t window)
{
    const int64_t *dims = inputs[2].dims;
    const int64_t queries = dims[2], keys = dims[3];
    bool *mask = (bool *)(uintptr_t)inputs[2].data;
    int64_t *seen = (int64_t *)(uintptr_t)inputs[1].data,
            *positions = (int64_t *)(uintptr_t)inputs[5].data;

    (void)g;
    for (int64_t i = 0; i < dims[0] * queries * keys; i++) {
        const int64_t key = i % keys, query = i / keys % queries + keys - queries;

        mask[i] = key <= query && (window == 0 || key > query - window);
    }
    for (int64_t i = 0; i < dims[0] * keys; i++)
        seen[i] = 1;
    for (int64_t i = 0; i < dims[0] * queries; i++)
        positions[i] = i % queries + keys - queries;
}

static void compare(struct test *t, const struct om_tensor *a, const struct om_tensor *b,
                    double atol)
{
    int64_t n = 0;
    double worst = 0;

    CHECK_STR(t, b->name, a->name);
    CHECK_INT(t, b->rank, a->rank);
    for (uint32_t i = 0; i < a->rank; i++) {
        CHECK_INT(t, b->dims[i], a->dims[i]);
        if (a->dims[i] != b->dims[i])
            return;
    }
    om_count(a->dims, a->rank, &n);
    for (int64_t i = 0; i < n; i++)
        worst = fmax(
            worst, fabs((double)((const float *)a->data)[i] - (double)((const float *)b->data)[i]));
    test_check(t, worst <= atol, __FILE__, __LINE__, "%s differs by %g", a->name, worst);
}

/* The inputs that h has, in front. */
static size_t choose_inputs(const struct om_graph *h, struct om_tensor *inputs, size_t n)
{
    size_t taken = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < h->n_inputs; k++)
            if (om_sv_is(h->inputs[k].name, inputs[i].name))
                inputs[taken++] = inputs[i];
    return taken;
}

static void run_file(struct test *t, struct om_arena *a, const struct om_graph *h,
                     const struct om_tensor *inputs, size_t n_inputs, const struct om_tensor *want,
                     size_t n)
{
    const struct om_onnx_opts opts = { .opset = 18,
                                       .producer_version = "test",
                                       .graph_name = "main_graph",
                                       .mode = OM_WEIGHTS_EMBEDDED };
    const char *dir = test_tmpdir(t), *path = om_arena_printf(a, "%s/model.onnx", dir);
    struct om_session_opts session_opts = OM_SESSION_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct om_out out = OM_OUT_INIT;
    struct om_session *s = NULL;
    struct om_results *got = NULL;
    struct om_graph *back = NULL;
    struct om_onnx_file *file = NULL;
    int rc = om_out_open(&out, dir, "model.onnx", NULL, &err);

    session_opts.intra_op_threads = 1;
    if (rc == 0)
        rc = om_onnx_write(h, &opts, &out, NULL, &err);
    if (rc == 0)
        rc = om_out_commit(&out, false, &err);
    om_out_abort(&out);
    if (rc == 0) { /* it is read as it was written */
        rc = om_onnx_open(a, path, &file, &back, &err);
        if (rc == 0)
            CHECK_INT(t, graph_count(back, OM_OP_GroupQueryAttention), 1);
        om_graph_free(back);
        om_onnx_close(file);
    }
    if (rc == 0)
        rc = om_session_open(NULL, path, &session_opts, &s, &err);
    if (rc == 0)
        rc = om_session_run(s, inputs, n_inputs, &got, &err);
    CHECK_OK(t, rc, &err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        compare(t, &want[i], om_results_at(got, i), 1e-4);
    om_results_free(got);
    om_session_free(s);
    om_error_release(&err);
}

/* Nothing but the operator knows how long the buffers of the past are. */
static void check_readers(struct test *t, const struct om_graph *h)
{
    for (size_t i = 0; i < h->n_nodes; i++)
        for (uint32_t k = 0; k < h->nodes[i].n_in; k++)
            for (size_t p = 0; p < h->n_inputs; p++)
                if (h->inputs[p].val.id == h->nodes[i].in[k].id &&
                    om_sv_starts(h->inputs[p].name, OM_SVL("past_key_values")))
                    CHECK(t, h->nodes[i].op == OM_OP_GroupQueryAttention);
}

static bool has_ort(struct test *t)
{
    struct om_error err = OM_ERROR_INIT;
    const bool has = om_ort_version(NULL, NULL, &err) == 0;

    if (!has)
        test_skip(t, "no ONNX Runtime");
    om_error_release(&err);
    return has;
}

static void check_case(struct test *t, const struct grouped_case *k, struct om_arena *a,
                       const struct om_graph *g, const char *sizes)
{
    const struct om_lower_opts opts = { .opset = 18, .target = OM_LOWER_GROUPED };
    struct om_error err = OM_ERROR_INIT;
    struct om_tensor *inputs = graph_inputs(t, a, g, om_arena_str(a, om_sv_str(sizes)));
    struct om_tensor *want = NULL, *got = NULL;
    struct om_graph *h = NULL;
    size_t n_want = 0, n = 0, n_inputs;

    fill_inputs(g, inputs, k->window);
    CHECK_OK(t, om_lower(g, &opts, &h, &err), &err);
    CHECK_OK(t, om_ref_run(g, inputs, g->n_inputs, NULL, a, &want, &n_want, &err), &err);
    if (h && want) {
        CHECK_OK(t, om_graph_verify(h, &err), &err);
        CHECK_INT(t, graph_count(h, OM_OP_GroupQueryAttention), k->declined ? 0 : 1);
        CHECK_INT(t, h->n_inputs,
                  g->n_inputs - (k->turns || !strstr(k->text, "RotaryEmbedding q,c,s")));
        n_inputs = choose_inputs(h, inputs, g->n_inputs);
        CHECK_OK(t, om_ref_run(h, inputs, n_inputs, NULL, a, &got, &n, &err), &err);
        CHECK_INT(t, n, n_want);
        for (size_t i = 0; got && i < n; i++)
            compare(t, &want[i], &got[i], 1e-4);
        if (!k->declined) {
            check_readers(t, h);
            if (has_ort(t))
                run_file(t, a, h, inputs, n_inputs, want, n_want);
        }
    }
    om_graph_free(h);
    om_error_release(&err);
}

static void numbers(struct test *t)
{
    static const char *const sizes[] = { "B=1,S=5,past=0", "B=2,S=3,past=0", "B=1,S=1,past=4",
                                         "B=2,S=1,past=3", "B=1,S=3,past=4" };

    for (size_t i = 0; i < OM_COUNT(cases); i++)
        for (size_t k = 0; k < OM_COUNT(sizes); k++) {
            struct om_arena a = OM_ARENA_INIT((size_t)256 << 20);
            struct om_graph *g = graph_text(t, &a, cases[i].text);

            test_case(t, "%s: %s", sizes[k], cases[i].text);
            if (g)
                check_case(t, &cases[i], &a, g, sizes[k]);
            om_graph_free(g);
            om_arena_release(&a);
        }
}

/* Whatever the memory allows, the result is a graph or an error. */
static void short_memory(struct test *t)
{
    const struct om_lower_opts opts = { .opset = 18, .target = OM_LOWER_GROUPED };
    bool done = false;

    for (size_t max = 0; !done && max < (size_t)64 << 20; max += 2003) {
        struct om_arena a = OM_ARENA_INIT((size_t)64 << 20);
        struct om_error err = OM_ERROR_INIT;
        struct om_graph *g = graph_text(t, &a, cases[2].text), *h = NULL;

        if (g) {
            a.max = a.used + max;
            done = om_lower(g, &opts, &h, &err) == 0;
            CHECK(t, done || err.code == OM_E_NOMEM || err.code == OM_E_LIMIT);
        }
        om_graph_free(h);
        om_graph_free(g);
        om_error_release(&err);
        om_arena_release(&a);
    }
    CHECK(t, done);
}

const struct test_entry t_grouped[] = { { "numbers", numbers },
                                        { "short_memory", short_memory },
                                        TEST_END };
