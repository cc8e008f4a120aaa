/* tests/unit/t_fuse.c: every rewrite fires on its patterns, leaves what only looks like them, and
 * keeps the numbers. */
#include "fuse/fuse.h"

#include <math.h>

#include "fuse_case.h"
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

static const struct fuse_case cases[] = {
    { "gelu, x E / 2", X ERF("1.4142135") "const h f32 - 0.5; op m Mul x,s; op y Mul m,h; out y",
      "Gelu", 1, 2, 18 },
    { "gelu, x (E / 2)", X ERF("1.4142135") "const h f32 - 0.5; op m Mul s,h; op y Mul x,m; out y",
      "Gelu", 1, 2, 18 },
    { "gelu, (x / 2) E", X ERF("1.4142135") "const h f32 - 0.5; op m Mul x,h; op y Mul s,m; out y",
      "Gelu", 1, 2, 18 },
    { "gelu of a product",
      "in z f32 B,S,8; weight k f32 8; op x Mul z,k; " ERF(
          "1.4142135") "const h f32 - 0.5; "
                       "op m Mul x,s; op y Mul m,h; out y",
      "Gelu", 1, 2, 18 },
    { "not at O1", X ERF("1.4142135") "const h f32 - 0.5; op m Mul x,s; op y Mul m,h; out y",
      "Gelu", 0, 1, 18 },
    { "another root", X ERF("1.5") "const h f32 - 0.5; op m Mul x,s; op y Mul m,h; out y", "Gelu",
      0, 2, 18 },
    { "another half", X ERF("1.4142135") "const h f32 - 0.25; op m Mul x,s; op y Mul m,h; out y",
      "Gelu", 0, 2, 18 },
    { "another x",
      X "in z f32 B,S,8; " ERF("1.4142135") "const h f32 - 0.5; op m Mul z,s; "
                                            "op y Mul m,h; out y",
      "Gelu", 0, 2, 18 },
    { "gelu approximated at O3",
      X ERF("1.4142135") "const h f32 - 0.5; op m Mul x,s; op y Mul m,h; out y", "FastGelu", 1, 3,
      18 },
    { "tanh gelu", X TANH("3", "0.044715"), "FastGelu", 1, 2, 18 },
    { "tanh gelu, a square", X TANH("2", "0.044715"), "FastGelu", 0, 2, 18 },
    { "tanh gelu, another factor", X TANH("3", "0.05"), "FastGelu", 0, 2, 18 },
    { "swish", X "op s Sigmoid x; op y Mul x,s; out y", "QuickGelu", 1, 2, 18 },
    { "swish, scaled", X "const a f32 - 1.702; op m Mul x,a; op s Sigmoid m; op y Mul s,x; out y",
      "QuickGelu", 1, 2, 18 },
    { "a gate", X "in z f32 B,S,8; op s Sigmoid z; op y Mul x,s; out y", "QuickGelu", 0, 2, 18 },
    { "a gate of a vector", X "weight k f32 8; op m Mul x,k; op s Sigmoid m; op y Mul x,s; out y",
      "QuickGelu", 0, 2, 18 },
    { "bias before gelu",
      "in z f32 B,S,8; weight k f32 8; op x Add z,k; " ERF(
          "1.4142135") "const h f32 - 0.5; "
                       "op m Mul x,s; op y Mul m,h; out y",
      "BiasGelu", 1, 2, 18 },
    { "a sum before gelu that is an output, too",
      "in z f32 B,S,8; weight k f32 8; op x Add z,k; " ERF(
          "1.4142135") "const h f32 - 0.5; "
                       "op m Mul x,s; op y Mul m,h; out y; out x",
      "BiasGelu", 0, 2, 18 },
    { "a bias of one",
      "in z f32 B,S,8; weight k f32 1; op x Add z,k; " ERF(
          "1.4142135") "const h f32 - 0.5; op m Mul x,s; op y Mul m,h; out y",
      "BiasGelu", 0, 2, 18 },
    { "layer norm", X LAYER_NORM("-1", "1", "2"), "LayerNormalization", 1, 2, 18 },
    { "layer norm, axis by number", X LAYER_NORM("2", "1", "2"), "LayerNormalization", 1, 2, 18 },
    { "layer norm, another axis", X LAYER_NORM("1", "1", "2"), "LayerNormalization", 0, 2, 18 },
    { "layer norm, another power", X LAYER_NORM("-1", "1", "4"), "LayerNormalization", 0, 2, 18 },
    { "rms norm", X RMS("8") "op n Div x,r; op y Mul n,g; out y", "RMSNormalization", 1, 2, 23 },
    { "rms norm by the reciprocal",
      X RMS("8") "op i Reciprocal r; op n Mul x,i; op y Mul g,n; "
                 "out y",
      "RMSNormalization", 1, 2, 23 },
    { "rms norm before its operator", X RMS("8") "op n Div x,r; op y Mul n,g; out y",
      "SimplifiedLayerNormalization", 0, 2, 18 },
    { "rms norm, a number as scale", X RMS("1") "op n Div x,r; op y Mul n,g; out y",
      "RMSNormalization", 0, 2, 23 },
    { "rms norm of another", X "in z f32 B,S,8; " RMS("8") "op n Div z,r; op y Mul n,g; out y",
      "RMSNormalization", 0, 2, 23 },
    { "residual", X "in z f32 B,S,8; op s Add x,z; " NORM "out y", "SkipLayerNormalization", 1, 2,
      18 },
    { "residual that is read twice",
      X "in z f32 B,S,8; op s Add x,z; op t Relu s; " NORM "op o Add t,y; out o",
      "SkipLayerNormalization", 1, 2, 18 },
    { "residual and bias",
      X "in z f32 B,S,8; weight k f32 8; op u Add x,k; op s Add u,z; " NORM "out y",
      "SkipLayerNormalization", 1, 2, 18 },
    { "residual that is broadcast", X "in z f32 1,S,8; op s Add x,z; " NORM "out y",
      "SkipLayerNormalization", 0, 2, 18 },
    { "residual of four axes", "in x f32 B,2,S,8; in z f32 B,2,S,8; op s Add x,z; " NORM "out y",
      "SkipLayerNormalization", 0, 2, 18 },
    { "rms residual",
      "in q f32 B,S,8; in z f32 B,S,8; op x Add q,z; " RMS("8") "op n Div x,r; op y Mul n,g; out y",
      "SkipSimplifiedLayerNormalization", 1, 2, 18 },
    { "rms residual that is read again",
      "in q f32 B,S,8; in z f32 B,S,8; op x Add q,z; " RMS(
          "8") "op n Div x,r; op m Mul n,g; op y Add m,x; out y",
      "SkipSimplifiedLayerNormalization", 1, 2, 18 },
    { "two rms norms of one residual",
      "in q f32 B,S,8; in z f32 B,S,8; op x Add q,z; " RMS(
          "8") "op n Div x,r; op m Mul n,g; weight h f32 8; op o Mul n,h; op y Sub m,o; out y",
      "SkipSimplifiedLayerNormalization", 1, 2, 18 },
    { "equal nodes", X "op a Exp x; op b Exp x; op y Add a,b; out y", "Exp", 1, 1, 18 },
    { "equal nodes, one an output", X "op a Exp x; op b Exp x; op y Add a,b; out y; out b", "Exp",
      2, 1, 18 },
    { "copies", X "op a Identity x; op b Cast a to=f32; op y Exp b; out y", "Cast", 0, 1, 18 },
    { "casts that change", X "op b Cast x to=f16; op y Exp b; out y", "Cast", 1, 1, 18 },
};

static void patterns(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(cases); i++)
        fuse_case_run(t, &cases[i]);
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
        CHECK(t, a_out && b_out && fuse_distance(a_out, b_out) <= 1e-5);
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
