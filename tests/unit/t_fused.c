/* tests/unit/t_fused.c: attention as Attention and MultiHeadAttention: the reference executor gives
 * the same for the graph as built and for its fused form, and so does ONNX Runtime for the file. */
#include <math.h>
#include <stdlib.h>

#include "graph_text.h"
#include "lower/lower.h"
#include "onnx/onnx.h"
#include "ref/ref.h"

#include <optimum/session.h>

#define WEIGHTS \
    "weight a.q.weight f32 64,48;weight a.k.weight f32 64,48;weight a.v.weight f32 64,48;"
#define BIASES "weight a.q.bias f32 64;weight a.k.bias f32 64;weight a.v.bias f32 64;"
#define ROWS "in x f32 B,S,48;in m i64 B,T;in n i64 B,S;weight o f32 32,64;" WEIGHTS BIASES
#define LOWEST "const lowest f32 - -3.4028234663852886e38;const zero f32 - 0.;const one i64 - 1;"
#define PADDING(mask)                                                                          \
    LOWEST "const axes i64 2 1,2;op u Unsqueeze " mask ",axes;op u Equal u,one;op mask Where " \
           "u,zero,lowest;"
#define PROJECT(x)                                              \
    "op q Linear x,a.q.weight,a.q.bias transB=1;op k Linear " x \
    ",a.k.weight,a.k.bias transB=1;op v Linear " x ",a.v.weight,a.v.bias transB=1;"
#define SPLIT(keys)                                                                      \
    "dims dq B,S,4,16;dims dk B," keys ",4,16;op q Reshape q,dq;op k Reshape k,dk;"      \
    "op v Reshape v,dk;op q Transpose q perm=[0,2,1,3];op k Transpose k perm=[0,2,1,3];" \
    "op v Transpose v perm=[0,2,1,3];"
#define MERGE                                                                                  \
    "op h Transpose h perm=[0,2,1,3];dims f B,S,64;op h Reshape h,f;op y Linear h,o transB=1;" \
    "out y"
#define SELF ROWS PROJECT("x") SPLIT("S")

static const struct fused_case {
    const char *text;
    int packed, multi; /* operators that are expected */
    bool multi_head;   /* is asked for */
    enum om_lower_mask mask;
} cases[] = {
    { SELF "op h Attention q,k,v;" MERGE, 1, 0, false, 0 },
    { SELF "op h Attention q,k,v;" MERGE, 0, 1, true, 0 },
    { SELF PADDING("n") "op h Attention q,k,v,mask scale=0.5;" MERGE, 1, 0, false, 0 },
    { SELF PADDING("n") "op h Attention q,k,v,mask scale=0.5;" MERGE, 0, 1, true, 0 },
    { SELF PADDING("n") "op h Attention q,k,v,mask;" MERGE, 1, 0, false, OM_LOWER_MASK_LENGTHS },
    { SELF PADDING("n") "op h Attention q,k,v,mask;" MERGE, 0, 1, true, OM_LOWER_MASK_LENGTHS },
    { SELF PADDING("n") "op h Attention q,k,v,mask;" MERGE, 1, 0, false, OM_LOWER_MASK_NONE },
    /* masks that are added: of every shape that broadcasts */
    { "in b f32 1,4,S,S;" SELF "op h Attention q,k,v,b;" MERGE, 1, 0, false, 0 },
    { "in b f32 B,1,1,S;" SELF "op h Attention q,k,v,b;" MERGE, 1, 0, false, 0 },
    { "in b f32 B,4,1,S;" SELF "op h Attention q,k,v,b;" MERGE, 0, 1, true, 0 },
    { "in b f32 S,S;" SELF "op h Attention q,k,v,b;" MERGE, 0, 0, false, 0 },
    { "in b bool B,1,S,S;" SELF "op h Attention q,k,v,b;" MERGE, 0, 0, false, 0 },
    /* linear layers: without biases, with some, of another layout, scaled, for others as well */
    { ROWS "op q Linear x,a.q.weight transB=1;op k Linear x,a.k.weight transB=1;"
           "op v Linear x,a.v.weight transB=1;" SPLIT("S") "op h Attention q,k,v;" MERGE,
      1, 0, false, 0 },
    { ROWS "op q Linear x,a.q.weight,a.q.bias transB=1;op k Linear x,a.k.weight transB=1;"
           "op v Linear x,a.v.weight,a.v.bias transB=1;" SPLIT("S") "op h Attention q,k,v;" MERGE,
      0, 1, false, 0 },
    { ROWS "weight w f32 48,64;op q Linear x,w;op k Linear x,w;op v Linear x,w;" SPLIT(
          "S") "op h Attention q,k,v;" MERGE,
      0, 1, false, 0 },
    { ROWS "op q Linear x,a.q.weight,a.q.bias transB=1 alpha=0.5;op k Linear x,a.k.weight "
           "transB=1;op v Linear x,a.v.weight transB=1;" SPLIT("S") "op h Attention q,k,v;" MERGE,
      0, 1, false, 0 },
    { SELF "op h Attention q,k,v;out k;" MERGE, 0, 1, false, 0 },
    { SELF "op h Attention q,k,v;out q;" MERGE, 0, 0, false, 0 },
    /* weights that are stored in 16 bits */
    { "in x f32 B,S,48;weight o f32 32,64;weight a.q.weight f16 64,48;weight a.k.weight f16 64,48;"
      "weight a.v.weight f16 64,48;op wq Cast a.q.weight to=f32;op wk Cast a.k.weight to=f32;"
      "op wv Cast a.v.weight to=f32;op q Linear x,wq transB=1;op k Linear x,wk transB=1;"
      "op v Linear x,wv transB=1;" SPLIT("S") "op h Attention q,k,v;" MERGE,
      1, 0, false, 0 },
    /* cross attention, with presents and from a cache */
    { "in e f32 B,T,48;" ROWS PROJECT("e") SPLIT("T")
          PADDING("m") "op h Attention q,k,v,mask;" MERGE,
      0, 1, false, 0 },
    { "in e f32 B,T,48;" ROWS PROJECT("e") SPLIT("T")
          PADDING("m") "op h Attention q,k,v,mask;out k;out v;" MERGE,
      0, 1, false, 0 },
    { "in pk f32 B,4,T,16;in pv f32 B,4,T,16;" ROWS
      "op q Linear x,a.q.weight,a.q.bias transB=1;dims dq B,S,4,16;op q Reshape q,dq;"
      "op q Transpose q perm=[0,2,1,3];" PADDING("m") "op h Attention q,pk,pv,mask;" MERGE,
      0, 1, false, 0 },
    /* self attention behind a cache */
    { "in b f32 1,1,S,P+S;in pk f32 B,4,P,16;in pv f32 B,4,P,16;" SELF
      "op k Concat pk,k axis=2;op v Concat pv,v axis=2;op h Attention q,k,v,b;out k;out v;" MERGE,
      0, 1, false, 0 },
    /* what the operators do not have */
    { SELF "op h Attention q,k,v softcap=2.;" MERGE, 0, 0, false, 0 },
    { SELF "op h Attention q,k,v is_causal=1;" MERGE, 0, 0, false, 0 },
};

static void compare(struct test *t, const struct om_tensor *a, const struct om_tensor *b)
{
    int64_t n = 0;
    double worst = 0, size = 0;

    CHECK_INT(t, b->rank, a->rank);
    for (uint32_t i = 0; i < a->rank; i++) {
        CHECK_INT(t, b->dims[i], a->dims[i]);
        if (a->dims[i] != b->dims[i])
            return;
    }
    om_count(a->dims, a->rank, &n);
    for (int64_t i = 0; i < n; i++) {
        const double x = (double)((const float *)a->data)[i],
                     y = (double)((const float *)b->data)[i];

        worst = isnan(y) ? INFINITY : fmax(worst, fabs(x - y));
        size = fmax(size, fabs(x));
    }
    test_check(t, worst <= 1e-5 * fmax(size, 1), __FILE__, __LINE__, "%s differs by %g of %g",
               a->name, worst, size);
}

static int write_file(const char *dir, const struct om_graph *h, struct om_error *err)
{
    const struct om_onnx_opts opts = { .opset = 18, .mode = OM_WEIGHTS_EMBEDDED };
    struct om_out out = OM_OUT_INIT;
    int rc = om_out_open(&out, dir, "model.onnx", NULL, err);

    if (rc == 0)
        rc = om_onnx_write(h, &opts, &out, NULL, err);
    if (rc == 0)
        rc = om_out_commit(&out, false, err);
    om_out_abort(&out);
    return rc;
}

/* The file is read as it was written, and ONNX Runtime agrees. */
static void run_file(struct test *t, struct om_arena *a, const struct om_graph *h,
                     const struct om_tensor *inputs, const struct om_tensor *want, size_t n)
{
    const char *dir = test_tmpdir(t), *path = om_arena_printf(a, "%s/model.onnx", dir);
    struct om_session_opts opts = OM_SESSION_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct om_session *s = NULL;
    struct om_results *got = NULL;
    struct om_graph *back = NULL;
    struct om_onnx_file *file = NULL;
    int rc = write_file(dir, h, &err);

    opts.intra_op_threads = 1;
    if (rc == 0)
        rc = om_onnx_open(a, path, &file, &back, &err);
    if (rc == 0)
        CHECK_INT(t, graph_count(back, OM_OP_PackedAttention),
                  graph_count(h, OM_OP_PackedAttention));
    om_graph_free(back);
    om_onnx_close(file);
    CHECK_OK(t, rc, &err);
    if (rc == 0 && om_session_open(NULL, path, &opts, &s, &err) == 0) {
        rc = om_session_run(s, inputs, h->n_inputs, &got, &err);
        CHECK_OK(t, rc, &err);
        for (size_t i = 0; rc == 0 && i < n; i++)
            compare(t, &want[i], om_results_at(got, i));
    } else if (err.code != OM_E_RUNTIME) { /* where there is no ONNX Runtime */
        CHECK_OK(t, rc, &err);
    }
    om_results_free(got);
    om_session_free(s);
    om_error_release(&err);
}

/* One text has no token at all: all keys count the same then. The others have what the form of the
 * mask can say. */
static void set_tokens(const struct om_graph *g, struct om_tensor *inputs, enum om_lower_mask mask)
{
    for (size_t i = 0; i < g->n_inputs; i++) {
        int64_t *const v = (int64_t *)(uintptr_t)inputs[i].data;

        if (inputs[i].dtype != OM_I64 || inputs[i].rank != 2)
            continue;
        for (int64_t b = 0; b < inputs[i].dims[0]; b++)
            for (int64_t k = 0; k < inputs[i].dims[1]; k++) {
                int64_t *const token = &v[b * inputs[i].dims[1] + k];

                if (mask != OM_LOWER_MASK_TOKENS)
                    *token = mask == OM_LOWER_MASK_NONE || k < b;
                else if (b == 0)
                    *token = 0;
            }
    }
}

static void check_case(struct test *t, const struct fused_case *k, struct om_arena *a,
                       const struct om_graph *g, const char *sizes, bool keep_axes)
{
    const struct om_lower_opts opts = { .opset = 18,
                                        .target = OM_LOWER_FUSED,
                                        .multi_head = k->multi_head,
                                        .keep_axes = keep_axes,
                                        .mask = k->mask };
    struct om_error err = OM_ERROR_INIT;
    struct om_tensor *inputs = graph_inputs(t, a, g, om_arena_str(a, om_sv_str(sizes)));
    struct om_tensor *want = NULL, *got = NULL;
    struct om_graph *h = NULL;
    size_t n_want = 0, n = 0;

    set_tokens(g, inputs, k->mask);
    CHECK_OK(t, om_lower(g, &opts, &h, &err), &err);
    CHECK_OK(t, om_ref_run(g, inputs, g->n_inputs, NULL, a, &want, &n_want, &err), &err);
    if (h && want) {
        CHECK_OK(t, om_graph_verify(h, &err), &err);
        CHECK_INT(t, graph_count(h, OM_OP_PackedAttention), k->packed);
        CHECK_INT(t, graph_count(h, OM_OP_MultiHeadAttention), k->multi);
        CHECK_INT(t, graph_count(h, OM_OP_Softmax), 1 - k->packed - k->multi);
        CHECK_OK(t, om_ref_run(h, inputs, h->n_inputs, NULL, a, &got, &n, &err), &err);
        CHECK_INT(t, n, n_want);
        for (size_t i = 0; got && i < n; i++)
            compare(t, &want[i], &got[i]);
        run_file(t, a, h, inputs, want, n_want);
    }
    om_graph_free(h);
    om_error_release(&err);
}

static void numbers(struct test *t)
{
    static const char *const sizes[] = { "B=1,S=5,T=3,P=4", "B=2,S=1,T=7,P=0", "B=3,S=4,T=1,P=1" };

    for (size_t i = 0; i < OM_COUNT(cases); i++)
        for (size_t k = 0; k < OM_COUNT(sizes); k++) {
            struct om_arena a = OM_ARENA_INIT((size_t)256 << 20);
            struct om_graph *g = graph_text(t, &a, cases[i].text);

            test_case(t, "%s: %s", sizes[k], cases[i].text);
            if (g)
                check_case(t, &cases[i], &a, g, sizes[k], i % 2 == k % 2);
            om_graph_free(g);
            om_arena_release(&a);
        }
}

/* The weights of the three layers are one view with the names of all. */
static void weights(struct test *t)
{
    const struct om_lower_opts opts = { .opset = 18, .target = OM_LOWER_FUSED };
    struct om_arena a = OM_ARENA_INIT((size_t)64 << 20);
    struct om_graph *g = graph_text(t, &a, cases[0].text), *h = NULL;
    struct om_error err = OM_ERROR_INIT;
    size_t found = 0;

    CHECK_OK(t, om_lower(g, &opts, &h, &err), &err);
    for (size_t i = 0; h && i < h->n_weights; i++) {
        const struct om_weight *w = &h->weights[i];

        if (w->n_parts == 0)
            continue;
        found++;
        CHECK_INT(t, w->n_parts, 3);
        CHECK_INT(t, w->dims[w->rank - 1], 192);
        CHECK(t, om_sv_is(w->name, w->rank == 2 ? "a.q_k_v.weight" : "a.q_k_v.bias"));
    }
    CHECK_INT(t, found, 2);
    om_graph_free(h);
    om_graph_free(g);
    om_error_release(&err);
    om_arena_release(&a);
}

/* Tables that are looked up in are not transposed for the product with them. */
static void tables(struct test *t)
{
    const struct om_lower_opts opts = { .opset = 18, .target = OM_LOWER_FUSED, .keep_axes = true };
    struct om_arena a = OM_ARENA_INIT((size_t)64 << 20);
    struct om_graph *g =
        graph_text(t, &a,
                   "weight words f32 9,48;in ids i64 B,S 9;op x Gather words,ids;"
                   "weight o f32 48,64;" WEIGHTS BIASES PROJECT("x")
                       SPLIT("S") "op h Attention q,k,v;op h Transpose h perm=[0,2,1,3];"
                                  "dims f B,S,64;op h Reshape h,f;op h Linear h,o transB=1;"
                                  "op y Linear h,words transB=1;out y");
    struct om_graph *h = NULL;
    struct om_error err = OM_ERROR_INIT;

    CHECK_OK(t, om_lower(g, &opts, &h, &err), &err);
    if (h) {
        CHECK_INT(t, graph_count(h, OM_OP_Gemm), 1);
        CHECK_INT(t, graph_count(h, OM_OP_MatMul), 1);
    }
    om_graph_free(h);
    om_graph_free(g);
    om_error_release(&err);
    om_arena_release(&a);
}

/* Whatever the memory allows, the result is a graph or an error. */
static void short_memory(struct test *t)
{
    const struct om_lower_opts opts = { .opset = 18, .target = OM_LOWER_FUSED };
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

const struct test_entry t_fused[] = { { "numbers", numbers },
                                      { "weights", weights },
                                      { "tables", tables },
                                      { "short_memory", short_memory },
                                      TEST_END };
