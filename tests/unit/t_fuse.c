/* tests/unit/t_fuse.c: every rewrite fires on its patterns, leaves what only looks like them, and
 * keeps the numbers. */
#include "fuse/fuse.h"

#include <math.h>

#include "graph_text.h"
#include "onnx/onnx.h"
#include "ref/model.h"
#include "ref/ref.h"
#include "test.h"

#define X "in x f32 B,S,8; "
#define ERF(root)                                                           \
    "const q f32 - " root "; const one f32 - 1; op d Div x,q; op e Erf d; " \
    "op s Add e,one; "
#define TANH(cube, factor)                                                                 \
    "const three f32 - " cube "; const c f32 - " factor "; const r f32 - 0.7978845608; "   \
    "const one f32 - 1; const h f32 - 0.5; op p Pow x,three; op m Mul p,c; op a Add x,m; " \
    "op b Mul a,r; op t Tanh b; op s Add t,one; op u Mul x,h; op y Mul u,s; out y"
#define LAYER_NORM(axes, keep, power)                                                         \
    "const two f32 - " power "; const eps f32 - 0.00001; weight g f32 8; weight b f32 8; "    \
    "const ax i64 1 " axes "; op mean ReduceMean x,ax keepdims=" keep "; op c Sub x,mean; "   \
    "op sq Pow c,two; op v ReduceMean sq,ax keepdims=" keep "; op w Add v,eps; op r Sqrt w; " \
    "op n Div c,r; op k Mul n,g; op y Add k,b; out y"
#define RMS(scale)                                                                            \
    "const two f32 - 2; const eps f32 - 0.00001; weight g f32 " scale "; const ax i64 1 -1; " \
    "op sq Pow x,two; op v ReduceMean sq,ax keepdims=1; op w Add v,eps; op r Sqrt w; "
#define NORM "weight g f32 8; weight b f32 8; op y LayerNormalization s,g,b axis=-1; "

static const struct {
    const char *name, *text, *op;
    size_t count;
    int level;
} cases[] = {
    { "gelu, x E / 2", X ERF("1.4142135") "const h f32 - 0.5; op m Mul x,s; op y Mul m,h; out y",
      "Gelu", 1, 2 },
    { "gelu, x (E / 2)", X ERF("1.4142135") "const h f32 - 0.5; op m Mul s,h; op y Mul x,m; out y",
      "Gelu", 1, 2 },
    { "gelu, (x / 2) E", X ERF("1.4142135") "const h f32 - 0.5; op m Mul x,h; op y Mul s,m; out y",
      "Gelu", 1, 2 },
    { "gelu of a product",
      "in z f32 B,S,8; weight k f32 8; op x Mul z,k; " ERF(
          "1.4142135") "const h f32 - 0.5; "
                       "op m Mul x,s; op y Mul m,h; out y",
      "Gelu", 1, 2 },
    { "not at O1", X ERF("1.4142135") "const h f32 - 0.5; op m Mul x,s; op y Mul m,h; out y",
      "Gelu", 0, 1 },
    { "another root", X ERF("1.5") "const h f32 - 0.5; op m Mul x,s; op y Mul m,h; out y", "Gelu",
      0, 2 },
    { "another half", X ERF("1.4142135") "const h f32 - 0.25; op m Mul x,s; op y Mul m,h; out y",
      "Gelu", 0, 2 },
    { "another x",
      X "in z f32 B,S,8; " ERF("1.4142135") "const h f32 - 0.5; op m Mul z,s; "
                                            "op y Mul m,h; out y",
      "Gelu", 0, 2 },
    { "gelu approximated at O3",
      X ERF("1.4142135") "const h f32 - 0.5; op m Mul x,s; op y Mul m,h; out y", "FastGelu", 1, 3 },
    { "tanh gelu", X TANH("3", "0.044715"), "FastGelu", 1, 2 },
    { "tanh gelu, a square", X TANH("2", "0.044715"), "FastGelu", 0, 2 },
    { "tanh gelu, another factor", X TANH("3", "0.05"), "FastGelu", 0, 2 },
    { "swish", X "op s Sigmoid x; op y Mul x,s; out y", "QuickGelu", 1, 2 },
    { "swish, scaled", X "const a f32 - 1.702; op m Mul x,a; op s Sigmoid m; op y Mul s,x; out y",
      "QuickGelu", 1, 2 },
    { "a gate", X "in z f32 B,S,8; op s Sigmoid z; op y Mul x,s; out y", "QuickGelu", 0, 2 },
    { "a gate of a vector", X "weight k f32 8; op m Mul x,k; op s Sigmoid m; op y Mul x,s; out y",
      "QuickGelu", 0, 2 },
    { "bias before gelu",
      "in z f32 B,S,8; weight k f32 8; op x Add z,k; " ERF(
          "1.4142135") "const h f32 - 0.5; "
                       "op m Mul x,s; op y Mul m,h; out y",
      "BiasGelu", 1, 2 },
    { "a sum before gelu that is an output, too",
      "in z f32 B,S,8; weight k f32 8; op x Add z,k; " ERF(
          "1.4142135") "const h f32 - 0.5; "
                       "op m Mul x,s; op y Mul m,h; out y; out x",
      "BiasGelu", 0, 2 },
    { "a bias of one",
      "in z f32 B,S,8; weight k f32 1; op x Add z,k; " ERF(
          "1.4142135") "const h f32 - 0.5; op m Mul x,s; op y Mul m,h; out y",
      "BiasGelu", 0, 2 },
    { "layer norm", X LAYER_NORM("-1", "1", "2"), "LayerNormalization", 1, 2 },
    { "layer norm, axis by number", X LAYER_NORM("2", "1", "2"), "LayerNormalization", 1, 2 },
    { "layer norm, another axis", X LAYER_NORM("1", "1", "2"), "LayerNormalization", 0, 2 },
    { "layer norm, another power", X LAYER_NORM("-1", "1", "4"), "LayerNormalization", 0, 2 },
    { "rms norm", X RMS("8") "op n Div x,r; op y Mul n,g; out y", "SimplifiedLayerNormalization", 1,
      2 },
    { "rms norm by the reciprocal",
      X RMS("8") "op i Reciprocal r; op n Mul x,i; op y Mul g,n; "
                 "out y",
      "SimplifiedLayerNormalization", 1, 2 },
    { "rms norm, a number as scale", X RMS("1") "op n Div x,r; op y Mul n,g; out y",
      "SimplifiedLayerNormalization", 0, 2 },
    { "rms norm of another", X "in z f32 B,S,8; " RMS("8") "op n Div z,r; op y Mul n,g; out y",
      "SimplifiedLayerNormalization", 0, 2 },
    { "residual", X "in z f32 B,S,8; op s Add x,z; " NORM "out y", "SkipLayerNormalization", 1, 2 },
    { "residual that is read twice",
      X "in z f32 B,S,8; op s Add x,z; op t Relu s; " NORM "op o Add t,y; out o",
      "SkipLayerNormalization", 1, 2 },
    { "residual and bias",
      X "in z f32 B,S,8; weight k f32 8; op u Add x,k; op s Add u,z; " NORM "out y",
      "SkipLayerNormalization", 1, 2 },
    { "residual that is broadcast", X "in z f32 1,S,8; op s Add x,z; " NORM "out y",
      "SkipLayerNormalization", 0, 2 },
    { "residual of four axes", "in x f32 B,2,S,8; in z f32 B,2,S,8; op s Add x,z; " NORM "out y",
      "SkipLayerNormalization", 0, 2 },
    { "rms residual",
      "in q f32 B,S,8; in z f32 B,S,8; op x Add q,z; " RMS("8") "op n Div x,r; op y Mul n,g; out y",
      "SkipSimplifiedLayerNormalization", 1, 2 },
    { "equal nodes", X "op a Exp x; op b Exp x; op y Add a,b; out y", "Exp", 1, 1 },
    { "equal nodes, one an output", X "op a Exp x; op b Exp x; op y Add a,b; out y; out b", "Exp",
      2, 1 },
    { "copies", X "op a Identity x; op b Cast a to=f32; op y Exp b; out y", "Cast", 0, 1 },
    { "casts that change", X "op b Cast x to=f16; op y Exp b; out y", "Cast", 1, 1 },
};

struct counting {
    const char *op;
    size_t n;
};

static int count(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct counting *const c = user;

    (void)err;
    for (size_t i = 0; i < g->nodes.len; i++)
        c->n += om_sv_is(g->nodes.items[i].op, c->op);
    return 0;
}

static double distance(const struct om_tensor *a, const struct om_tensor *b)
{
    int64_t n;
    double worst = 0;

    if (a->dtype != b->dtype || a->rank != b->rank || !om_count(a->dims, a->rank, &n))
        return INFINITY;
    for (int64_t i = 0; i < n && a->dtype == OM_F32; i++)
        worst = fmax(
            worst, fabs((double)((const float *)a->data)[i] - (double)((const float *)b->data)[i]));
    return worst;
}

/* The document gives what the graph gives. */
static void compare(struct test *t, struct om_arena *a, const struct om_graph *g, struct om_doc *d,
                    double tolerance)
{
    struct om_tensor *in = graph_inputs(t, a, g, "B=2,S=3"), *want = NULL, *got = NULL;
    const struct om_ref_model_opts opts = { .ctx = NULL };
    struct om_error err = OM_ERROR_INIT;
    struct om_ref_model *m = NULL;
    size_t n_want = 0, n_got = 0;

    CHECK_OK(t, om_ref_run(g, in, g->n_inputs, NULL, a, &want, &n_want, &err), &err);
    CHECK_OK(t, om_ref_model_new(d, &m, &err), &err);
    if (m)
        CHECK_OK(t, om_ref_model_run(m, in, g->n_inputs, &opts, a, &got, &n_got, &err), &err);
    CHECK_INT(t, n_got, n_want);
    for (size_t i = 0; i < n_got && i < n_want; i++)
        CHECK(t, distance(&want[i], &got[i]) <= tolerance);
    om_error_release(&err);
}

static void run_case(struct test *t, size_t i)
{
    static const char *const levels[] = { "O1", "O2", "O3" };
    const struct om_onnx_opts opts = { .opset = 18 };
    struct om_arena a = OM_ARENA_INIT(64u << 20);
    struct om_buf text = OM_BUF_INIT(1u << 20);
    struct om_optimize_config config;
    struct om_error err = OM_ERROR_INIT;
    struct counting c = { .op = cases[i].op };
    struct om_doc *d = NULL;
    struct om_graph *g;
    struct om_file shell;
    size_t fused;

    test_case(t, "%s", cases[i].name);
    g = graph_text(t, &a, cases[i].text);
    if (!g)
        return;
    CHECK_OK(t, om_optimize_level(levels[cases[i].level - 1], &config, &err), &err);
    CHECK_OK(t, om_onnx_write_shell(g, &opts, &text, &err), &err);
    shell = (struct om_file){ .fd = -1, .data = (const uint8_t *)text.ptr, .size = text.len };
    CHECK_OK(t, om_doc_parse_shell(&a, &shell, g, &d, &err), &err);
    CHECK_OK(t, om_fuse_doc(d, &config, &fused, &err), &err);
    om_doc_walk(d->graph, count, &c, &err);
    CHECK_INT(t, c.n, cases[i].count);
    compare(t, &a, g, d, cases[i].level == 3 ? 1e-3 : 1e-5);
    om_doc_close(d);
    om_graph_free(g);
    om_buf_release(&text);
    om_error_release(&err);
    om_arena_release(&a);
}

static void patterns(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(cases); i++)
        run_case(t, i);
}

/* ---- files ---- */

static void run_document(struct test *t, struct om_arena *a, struct om_doc *d, bool cond,
                         struct om_tensor **out)
{
    static float x[24], z[24];
    static const int64_t dims[] = { 2, 3, 4 };
    const bool branches = d->graph->inputs.len == 3;
    const struct om_tensor in[] = {
        { .name = "x", .dtype = OM_F32, .rank = 3, .dims = dims, .data = x },
        { .name = "z", .dtype = OM_F32, .rank = 3, .dims = dims, .data = z },
        { .name = "cond", .dtype = OM_BOOL, .rank = 0, .dims = dims, .data = &cond },
    };
    struct om_error err = OM_ERROR_INIT;
    struct om_ref_model *m = NULL;
    size_t n = 0;

    for (int i = 0; i < 24; i++) {
        x[i] = sinf((float)(7 * i));
        z[i] = cosf((float)(5 * i));
    }
    *out = NULL;
    CHECK_OK(t, om_ref_model_new(d, &m, &err), &err);
    if (m)
        CHECK_OK(t, om_ref_model_run(m, in, branches ? 3 : 2, NULL, a, out, &n, &err), &err);
    om_error_release(&err);
}

static void check_file(struct test *t, const char *name, size_t want_fused)
{
    struct om_arena a = OM_ARENA_INIT(64u << 20);
    const char *const path =
        om_arena_str(&a, om_sv_str(test_data(t, om_arena_printf(&a, "fuzz/optimize/%s", name))));
    struct om_optimize_config config;
    struct om_error err = OM_ERROR_INIT;
    struct om_doc *was = NULL, *now = NULL;
    size_t fused = 0;

    test_case(t, "%s", name);
    CHECK_OK(t, om_optimize_level("O2", &config, &err), &err);
    CHECK_OK(t, om_doc_open(&a, path, &was, &err), &err);
    CHECK_OK(t, om_doc_open(&a, path, &now, &err), &err);
    CHECK_OK(t, om_fuse_doc(now, &config, &fused, &err), &err);
    CHECK_INT(t, fused, want_fused);
    for (int cond = 0; cond < 2; cond++) {
        struct om_tensor *a_out, *b_out;

        run_document(t, &a, was, cond == 1, &a_out);
        run_document(t, &a, now, cond == 1, &b_out);
        CHECK(t, a_out && b_out && distance(a_out, b_out) <= 1e-5);
    }
    om_doc_close(was);
    om_doc_close(now);
    om_error_release(&err);
    om_arena_release(&a);
}

static void files(struct test *t)
{
    static const struct {
        const char *name;
        size_t fused;
    } list[] = { { "patterns.onnx", 4 }, { "branches.onnx", 4 }, { "same_names.onnx", 0 } };

    for (size_t i = 0; i < OM_COUNT(list); i++)
        check_file(t, list[i].name, list[i].fused);
}

const struct test_entry t_fuse[] = { { "patterns", patterns }, { "files", files }, TEST_END };
