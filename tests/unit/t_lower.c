/* tests/unit/t_lower.c: what is lowered computes what was built, on every opset, with operators
 * that the opset has; and the layout leaves no Reshape where none is needed. */
#include "lower/lower.h"
#include "graph_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/half.h"
#include "onnx/onnx.h"
#include "ref/ref.h"
#include "test.h"

#include <optimum/session.h>

static const int opsets[] = { 14, 15, 17, 18, 20, 21, 23 };

/* The first opset of operators that came after 13, in the form that ops.def describes. */
static const struct {
    enum om_op op;
    int opset;
} first_opsets[] = {
    { OM_OP_Attention, 23 },
    { OM_OP_Dims, 99 },
    { OM_OP_Gelu, 20 },
    { OM_OP_LayerNormalization, 17 },
    { OM_OP_Linear, 99 },
    { OM_OP_Mish, 18 },
    { OM_OP_RMSNormalization, 23 },
    { OM_OP_RotaryEmbedding, 23 },
    { OM_OP_Swish, 24 },
    { OM_OP_Trilu, 14 },
};

/* Attributes that came later than the operator. */
static const struct {
    enum om_op op;
    const char *attr;
    int first;
} attr_opsets[] = {
    { OM_OP_Split, "num_outputs", 18 },
    { OM_OP_Shape, "start", 15 },
    { OM_OP_Shape, "end", 15 },
    { OM_OP_Cast, "saturate", 19 },
    { OM_OP_ReduceMean, "noop_with_empty_axes", 18 },
};

/* The first opset in which operators take or give bfloat16, where it is above 14 (onnx 1.23's
 * schemas). */
static const struct {
    enum om_op op;
    int first;
} bf16_opsets[] = {
    { OM_OP_Cos, 22 },       { OM_OP_GreaterOrEqual, 16 }, { OM_OP_If, 16 },
    { OM_OP_LeakyRelu, 16 }, { OM_OP_LessOrEqual, 16 },    { OM_OP_Mish, 22 },
    { OM_OP_Pow, 15 },       { OM_OP_Round, 22 },          { OM_OP_Sin, 22 },
    { OM_OP_Softplus, 22 },  { OM_OP_Where, 16 },
};

static bool has_bf16(const struct om_graph *g, const om_val *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (v[i].id != 0 && om_graph_value(g, v[i])->dtype == OM_BF16)
            return true;
    return false;
}

static void check_bf16(struct test *t, const struct om_graph *g, const struct om_node *n, int opset)
{
    for (size_t i = 0; i < OM_COUNT(bf16_opsets); i++)
        if (n->op == bf16_opsets[i].op && opset < bf16_opsets[i].first)
            test_check(t, !has_bf16(g, n->in, n->n_in) && !has_bf16(g, n->out, n->n_out), __FILE__,
                       __LINE__, "%.*s in bfloat16 in opset %d", OM_SV(n->name), opset);
}

static void check_opset(struct test *t, const struct om_graph *g, int opset)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct om_node *n = &g->nodes[i];
        check_bf16(t, g, n, opset);
        for (size_t k = 0; k < OM_COUNT(first_opsets); k++)
            if (n->op == first_opsets[k].op && opset < first_opsets[k].opset)
                test_check(t, false, __FILE__, __LINE__, "%.*s is left in opset %d", OM_SV(n->name),
                           opset);
        for (size_t k = 0; k < OM_COUNT(attr_opsets); k++)
            if (n->op == attr_opsets[k].op && om_node_attr(n, attr_opsets[k].attr) &&
                opset < attr_opsets[k].first)
                test_check(t, false, __FILE__, __LINE__, "%.*s: attribute %s in opset %d",
                           OM_SV(n->name), attr_opsets[k].attr, opset);
    }
}

/* ---- comparing ---- */

static double element(const struct om_tensor *x, int64_t i)
{
    const uint8_t *p = (const uint8_t *)x->data + (size_t)i * om_dtype_size(x->dtype);
    double v = 0;

    om_convert(&v, OM_F64, p, x->dtype, 1);
    return v;
}

static void compare(struct test *t, const struct om_tensor *a, const struct om_tensor *b,
                    double atol)
{
    int64_t n = 0;
    double worst = 0;

    CHECK_STR(t, b->name, a->name);
    CHECK_INT(t, b->dtype, a->dtype);
    CHECK_INT(t, b->rank, a->rank);
    if (a->rank != b->rank || a->dtype != b->dtype)
        return;
    for (uint32_t i = 0; i < a->rank; i++) {
        CHECK_INT(t, b->dims[i], a->dims[i]);
        if (b->dims[i] != a->dims[i])
            return;
    }
    om_count(a->dims, a->rank, &n);
    for (int64_t i = 0; i < n; i++) {
        const double x = element(a, i), y = element(b, i);
        const double d = x == y ? 0 : fabs(x - y) / (1 + fabs(x));
        worst = d > worst || isnan(d) ? d : worst;
    }
    test_check(t, worst <= atol, __FILE__, __LINE__, "%s differs by %g", a->name, worst);
}

struct run {
    struct test *t;
    struct om_arena *a;
    const struct om_graph *g;
    const struct om_tensor *inputs;
    struct om_tensor *want;
    size_t n_want;
    double atol;
};

static void run_reference(const struct run *r, const struct om_graph *h)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_tensor *got = NULL;
    size_t n = 0;

    CHECK_OK(r->t, om_ref_run(h, r->inputs, r->g->n_inputs, NULL, r->a, &got, &n, &err), &err);
    CHECK_INT(r->t, n, r->n_want);
    for (size_t i = 0; got && i < n; i++)
        compare(r->t, &r->want[i], &got[i], r->atol);
    om_error_release(&err);
}

/* The file that is written runs in ONNX Runtime and gives the same. */
static void run_onnxruntime(const struct run *r, const struct om_graph *h, int opset)
{
    const struct om_onnx_opts opts = { .opset = opset,
                                       .producer_version = "test",
                                       .graph_name = "main_graph",
                                       .mode = OM_WEIGHTS_EMBEDDED };
    const char *dir = test_tmpdir(r->t), *path = om_arena_printf(r->a, "%s/model.onnx", dir);
    struct om_session_opts session_opts = OM_SESSION_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct om_out out = OM_OUT_INIT;
    struct om_session *s = NULL;
    struct om_results *got = NULL;
    int rc = om_out_open(&out, dir, "model.onnx", NULL, &err);

    session_opts.intra_op_threads = 1;
    if (rc == 0)
        rc = om_onnx_write(h, &opts, &out, NULL, &err);
    if (rc == 0)
        rc = om_out_commit(&out, false, &err);
    om_out_abort(&out);
    if (rc == 0)
        rc = om_session_open(NULL, path, &session_opts, &s, &err);
    if (rc == 0)
        rc = om_session_run(s, r->inputs, r->g->n_inputs, &got, &err);
    CHECK_OK(r->t, rc, &err);
    for (size_t i = 0; rc == 0 && i < r->n_want; i++)
        compare(r->t, &r->want[i], om_results_at(got, i), r->atol * 10);
    om_results_free(got);
    om_session_free(s);
    om_error_release(&err);
}

static bool have_onnxruntime(void)
{
    struct om_error err = OM_ERROR_INIT;
    const char *version, *path;
    const bool have = om_ort_version(&version, &path, &err) == 0;

    om_error_release(&err);
    return have;
}

static struct om_graph *lower(struct test *t, const struct om_graph *g, int opset,
                              enum om_linear_form linear)
{
    const struct om_lower_opts opts = { .opset = opset, .linear = linear };
    struct om_error err = OM_ERROR_INIT;
    struct om_graph *h = NULL;

    CHECK_OK(t, om_lower(g, &opts, &h, &err), &err);
    if (h)
        CHECK_OK(t, om_graph_verify(h, &err), &err);
    om_error_release(&err);
    return h;
}

static void check_lowered(const struct run *r, const char *what, bool onnxruntime)
{
    for (size_t i = 0; i < OM_COUNT(opsets); i++) {
        for (int form = OM_LINEAR_GEMM; form <= OM_LINEAR_MATMUL; form++) {
            struct om_graph *h;
            test_case(r->t, "%s, opset %d%s", what, opsets[i], form ? ", matmul" : "");
            h = lower(r->t, r->g, opsets[i], (enum om_linear_form)form);
            if (!h)
                continue;
            check_opset(r->t, h, opsets[i]);
            run_reference(r, h);
            if (onnxruntime)
                run_onnxruntime(r, h, opsets[i]);
            om_graph_free(h);
        }
    }
}

/* Lower text to every opset and compare on inputs of the sizes that symbols give, several sets
 * separated by '|'. */
static void check_text(struct test *t, const char *text, const char *symbols, double atol,
                       bool onnxruntime)
{
    om_sv rest = om_sv_str(symbols), set;

    while (om_sv_split(&rest, '|', &set)) {
        struct om_arena a = OM_ARENA_INIT((size_t)256 << 20);
        struct om_error err = OM_ERROR_INIT;
        struct run r = { .t = t, .a = &a, .atol = atol };
        struct om_graph *g = graph_text(t, &a, text);
        r.g = g;
        if (g) {
            r.inputs = graph_inputs(t, &a, g, om_arena_str(&a, set));
            test_case(t, "%s", text);
            CHECK_OK(t, om_ref_run(g, r.inputs, g->n_inputs, NULL, &a, &r.want, &r.n_want, &err),
                     &err);
            if (r.want)
                check_lowered(&r, om_arena_printf(&a, "%.*s: %s", OM_SV(set), text), onnxruntime);
        }
        om_error_release(&err);
        om_graph_free(g);
        om_arena_release(&a);
    }
}

struct text_case {
    const char *text;
    const char *symbols; /* sizes, several sets separated by '|' */
    double atol;
};

/* ONNX Runtime has too few kernels for bfloat16. */
static void check_cases(struct test *t, const struct text_case *c, size_t n)
{
    const bool ort = have_onnxruntime();

    for (size_t i = 0; i < n; i++)
        check_text(t, c[i].text, c[i].symbols, c[i].atol, ort && !strstr(c[i].text, "bf16"));
}

/* ---- operators ---- */

#define X "in x f32 B,S,8;"
#define SIZES "B=1,S=1|B=3,S=5"
#define ATOL 2e-6
#define ROWS(op) X "op y " op ";out y"

static const struct text_case cases[] = {
    /* 16 bits: norms whose squares pass float16's range, a wide operand with a narrow scale */
    { "in x f16 B,S,8;const c f16 - 30000;op y Mul x,c;weight w f16 8;weight b f16 8;"
      "op z LayerNormalization y,w,b;op r RMSNormalization y,w;out z;out r",
      SIZES, 1e-3 },
    { "in x f32 B,S,8;const c f32 - 1000000;op y Mul x,c;weight w f16 8;op r RMSNormalization y,w;"
      "out r",
      SIZES, 1e-3 },
    { "in x bf16 B,S,8;weight w bf16 8;weight b bf16 8;op y LayerNormalization x,w,b;"
      "op z RMSNormalization y,w;op m Mish z;op s Softplus m;op l LeakyRelu s alpha=0.2;op a Sin l;"
      "op b0 Cos a;op r Round z;op g Greater x,b;op h Where g,b0,r;op p Pow x,r;op e Gelu x;"
      "op f Gelu x approximate=tanh;op i Swish e;out h;out p;out f;out i",
      SIZES, 2e-2 },
    /* elementwise */
    { X "op p Abs x;op q Exp x;op r Sqrt p;op s Log q;op t Reciprocal q;op u Add r,s;op v Sub t,u;"
        "op y Mul v,q;op z Div y,q;out z",
      SIZES, ATOL },
    { X "op a Sin x;op b Cos x;op c Neg a;op d Max b,c;op e Min a,b;op f Ceil d;op g Floor e;"
        "op h Round x;op i Sign x;op j Add f,g;op k Add h,i;out j;out k",
      SIZES, ATOL },
    { X
      "op a Relu x;op b Sigmoid x;op c Tanh x;op d Softplus x;op e LeakyRelu x alpha=0.2;op f Erf "
      "x;"
      "const two f32 - 2;op g Pow x,two;const lo f32 - -0.5;const hi f32 - 0.25;op h Clip x,lo,hi;"
      "op i Clip x,-,hi;out a;out b;out c;out d;out e;out f;out g;out h;out i",
      SIZES, ATOL },
    { X "const z f32 - 0.1;op a Greater x,z;op b Less x,z;op c GreaterOrEqual x,z;op d LessOrEqual "
        "x,z;"
        "op e And a,d;op f Or b,c;op g Not e;op h Equal f,g;op i Where h,x,z;out i",
      SIZES, ATOL },
    { "in i i64 B,S 10;const k i64 - 3;op a Mod i,k;op b Div i,k;op c Equal a,b;op d Cast c to=i64;"
      "out d;out b",
      SIZES, ATOL },
    { X
      "op a Cast x to=f16;op y Cast a to=f32 saturate=1;op same Cast x to=f32;op id Identity same;"
      "out y;out id",
      SIZES, 1e-3 },
    { ROWS("Gelu x"), SIZES, ATOL },
    { ROWS("Gelu x approximate=none"), SIZES, ATOL },
    { ROWS("Gelu x approximate=tanh"), SIZES, ATOL },
    { ROWS("Mish x"), SIZES, ATOL },
    { ROWS("Swish x"), SIZES, ATOL },
    { ROWS("Swish x alpha=1.702"), SIZES, ATOL },
    { ROWS("Softmax x axis=1"), SIZES, ATOL },
    { ROWS("Softmax x axis=-1"), SIZES, ATOL },
    /* norms */
    { X "weight g f32 8;weight b f32 8;op y LayerNormalization x,g,b axis=-1 epsilon=1e-12;out y",
      SIZES, 1e-5 },
    { X "weight g f32 8;op y LayerNormalization x,g axis=2;out y", SIZES, 1e-5 },
    { "in x f32 B,4,8;weight g f32 4,8;weight b f32 4,8;op y LayerNormalization x,g,b axis=1;out y",
      "B=2", 1e-5 },
    { X "weight g f32 8;op y RMSNormalization x,g axis=-1 epsilon=0.000001;out y", SIZES, 1e-5 },
    { "in x f16 B,S,8;weight g f16 8;weight b f16 8;op y LayerNormalization x,g,b;op z "
      "RMSNormalization y,g;"
      "op w Cast z to=f32;out w",
      SIZES, 4e-3 },
    /* reductions */
    { X "const a i64 1 -1;op m ReduceMean x,a keepdims=0;op n ReduceMax x,a;op o ReduceMin x,a;op "
        "p ReduceSum x,a;"
        "op q ReduceL2 x,a;op r ReduceMean x;op s ReduceSum x keepdims=0;op t ArgMax x axis=1 "
        "keepdims=0;"
        "out m;out n;out o;out p;out q;out r;out s;out t",
      SIZES, 1e-5 },
    { X "const a i64 2 0,2;op m ReduceMean x,a;op n ReduceMax x,a keepdims=0;op o ReduceL2 x "
        "noop_with_empty_axes=1;"
        "op p ReduceMean x noop_with_empty_axes=1;op q Neg o;out m;out n;out q;out p",
      SIZES, 1e-5 },
    /* shapes */
    { X "op s Shape x;op t Shape x start=1;op u Shape x start=0 end=2;op v Shape x start=-2 end=-1;"
        "out s;out t;out u;out v",
      SIZES, ATOL },
    { X "dims d B,S,2,4;op y Reshape x,d;op z Transpose y perm=[0,2,1,3];dims e B*S,8;op w Reshape "
        "x,e;"
        "dims f B,1,S,8;op v Reshape x,f;out z;out w;out v",
      SIZES, ATOL },
    { X "const c i64 3 0,-1,4;op y Reshape x,c;const e i64 4 -1,2,2,2;op z Reshape x,e;out y;out z",
      SIZES, ATOL },
    { X "op a,b Split x axis=-1;op c,d,e Split x axis=2 num_outputs=3;const k i64 2 3,5;op f,g "
        "Split x,k axis=2;op h Concat f,g axis=2;"
        "op i,j Split x axis=2 num_outputs=2;out a;out b;out c;out d;out e;out h;out j",
      SIZES, ATOL },
    { "in x f32 6,S;op a,b,c Split x;out a;out b;out c", "S=4", ATOL },
    { X "const a i64 1 1;op u Unsqueeze x,a;op s Squeeze u,a;dims d B,3,S,8;op e Expand u,d;const "
        "r i64 3 1,2,1;"
        "op t Tile x,r;op n Neg s;out n;out e;out t",
      SIZES, ATOL },
    { X "const b i64 1 1;const e i64 1 7;const a i64 1 2;const st i64 1 2;op s Slice x,b,e,a,st;op "
        "t Slice x,b,e,a;"
        "out s;out t",
      SIZES, ATOL },
    { "weight t f32 10,8;in i i64 B,S 10;op g Gather t,i axis=0;in j i64 B,S,3 8;op h "
      "GatherElements g,j axis=2;"
      "in k i64 B,1,2 1;op n GatherND g,k;out g;out h;out n",
      "B=2,S=5", ATOL },
    { "in x f32 B,S,S;op t Trilu x;const k i64 - 1;op u Trilu x,k upper=0;op v Add t,u;out v",
      SIZES, ATOL },
    { "in i i64 B,S 5;const one i64 - 1;op c CumSum i,one;op d CumSum i,one exclusive=1 "
      "reverse=1;out c;out d",
      SIZES, ATOL },
    { "in x f32 B,S;dims d S;const z i64 1 0;op s Squeeze d,z;const o i64 - 1;const b i64 - 0;op r "
      "Range b,s,o;"
      "op i Identity d;op f ConstantOfShape i;op g Cast r to=f32;op h Add g,f;out h",
      SIZES, ATOL },
    /* products */
    { X "weight w f32 8,6;op y MatMul x,w;out y", SIZES, 1e-5 },
    { "in x f32 S,8;weight w f32 6,8;weight b f32 6;op y Gemm x,w,b transB=1 alpha=0.5 "
      "beta=2.0;out y",
      "S=3", 1e-5 },
    /* linear layers: bias or not, both layouts of the weight, tied to a lookup, converted first, on
       1 to 4 axes */
    { X "weight w f32 6,8;weight b f32 6;weight v f32 6,8;op y Linear x,w,b transB=1;op z Linear "
        "y,v;out z",
      SIZES, 1e-5 },
    { X "weight w f32 6,8;op y Linear x,w transB=1 alpha=0.25;op z Gelu y;out z;out y", SIZES,
      1e-5 },
    { "in i i64 B,S 10;weight t f32 10,8;op e Gather t,i;op y Linear e,t transB=1;out y", SIZES,
      1e-5 },
    { X "weight h f16 6,8;op w Cast h to=f32;op y Linear x,w transB=1;out y", SIZES, 1e-5 },
    { X "weight h f32 6,8;op w Neg h;op y Linear x,w transB=1;out y", SIZES, 1e-5 },
    { "in x f32 8;weight w f32 6,8;weight b f32 6;op y Linear x,w,b transB=1;op z Neg y;out z",
      "B=1", 1e-5 },
    { "in x f32 B,8;weight w f32 6,8;weight b f32 6;op y Linear x,w,b transB=1;op z Neg y;out z",
      SIZES, 1e-5 },
    { "in x f32 B,2,S,8;weight w f32 6,8;weight b f32 6;op y Linear x,w,b transB=1;op z Neg y;out "
      "z",
      SIZES, 1e-5 },
    { "in x f32 past,S,8;weight w f32 6,8;op y Linear x,w transB=1;out y", "past=0,S=2|past=2,S=1",
      1e-5 },
};

#define QKV "in q f32 B,4,S,8;in k f32 B,4,T,8;in v f32 B,4,T,6;"
#define GQA "in q f32 B,4,S,8;in k f32 B,2,T,8;in v f32 B,2,T,6;"
#define PAST                                                                             \
    "in q f32 B,4,S,8;in k f32 B,2,S,8;in v f32 B,2,S,6;in pk f32 B,2,past,8;in pv f32 " \
    "B,2,past,6;"
#define ATTENTION_SIZES "B=1,S=1,T=1|B=3,S=1,T=5|B=2,S=3,T=4"
#define PAST_SIZES "B=1,S=1,past=0|B=3,S=4,past=0|B=2,S=1,past=3|B=2,S=3,past=2"

static const struct text_case attention_cases[] = {
    { QKV "op y Attention q,k,v;out y", ATTENTION_SIZES, 1e-5 },
    { QKV "op y Attention q,k,v scale=1.0;op z Attention q,k,v scale=0.125 softcap=0.5;out y;out z",
      ATTENTION_SIZES, 1e-5 },
    { QKV "in m f32 B,1,1,T;in n f32 1,4,S,T;op y Attention q,k,v,m;op z Attention q,k,v,n "
          "softcap=2.0;out y;out z",
      ATTENTION_SIZES, 1e-5 },
    /* a query that sees no key: the mean for the least finite number, 0 for bool */
    { QKV "const l f32 1,1,1,1 -3.4028234663852886e38;dims s B,1,1,T;op m Expand l,s;"
          "op y Attention q,k,v,m;const f bool 1,1,1,1 0;op n Expand f,s;op z Attention q,k,v,n;"
          "out y;out z",
      ATTENTION_SIZES, 1e-5 },
    { QKV
      "in m bool B,1,1,T;in n bool S,T;op y Attention q,k,v,m;op z Attention q,k,v,n;out y;out z",
      ATTENTION_SIZES, 1e-5 },
    { QKV "op y Attention q,k,v is_causal=1;in m f32 B,1,S,T;op z Attention q,k,v,m is_causal=1;"
          "in n bool B,1,1,T;op x Attention q,k,v,n is_causal=1;out y;out z;out x",
      "B=2,S=3,T=3|B=1,S=1,T=1", 1e-5 },
    { GQA "op y Attention q,k,v;in m f32 B,1,1,T;op z Attention q,k,v,m;in n f32 B,1,S,T;op x "
          "Attention q,k,v,n;"
          "out y;out z;out x",
      ATTENTION_SIZES, 1e-5 },
    { PAST "op y,nk,nv Attention q,k,v,-,pk,pv;out y;out nk;out nv", PAST_SIZES, 1e-5 },
    { PAST
      "in m f32 B,1,S,past+S;op y,nk,nv Attention q,k,v,m,pk,pv is_causal=1;out y;out nk;out nv",
      PAST_SIZES, 1e-5 },
    { PAST "op y,nk,nv Attention q,k,v is_causal=1;op n Neg nk;out y;out n;out nv", PAST_SIZES,
      1e-5 },
    { "in q f16 B,4,S,8;in k f16 B,4,S,8;in v f16 B,4,S,8;op y Attention q,k,v "
      "softmax_precision=f32;op z Cast y to=f32;"
      "out z",
      "B=2,S=3", 2e-3 },
    /* scores that pass float16's range before they are scaled, and a key that is hidden although
     * its score is as low as scores get */
    { "in a f16 B,2,S,8;in v f16 B,2,S,8;const c f16 - 120;op q Mul a,c;op y Attention q,q,v "
      "softmax_precision=f32;out y",
      "B=2,S=5", 2e-3 },
    { "in q f16 B,2,S,8;in v f16 B,2,S,8;in s bool B,1,1,S;const n f32 - -3.4028234663852886e38;"
      "const z f32 - 0;op m Where s,z,n;const c f16 - -100;op k Mul q,c;"
      "op y Attention q,k,v,m softmax_precision=f32;op w Attention q,k,v,s softmax_precision=f32 "
      "softcap=30.;out y;out w",
      "B=4,S=1|B=3,S=2", 2e-3 },
    { "in q bf16 B,4,S,6;in k bf16 B,2,T,6;in v bf16 B,2,T,6;in m bool B,1,S,T;op y Attention "
      "q,k,v,m softmax_precision=f32;op z Attention q,k,v softmax_precision=f32 scale=1.;"
      "out y;out z",
      "B=2,S=3,T=4", 2e-2 },
    /* heads split from rows and merged again; the key's two transposes become one */
    { X "dims d B,S,2,4;op r Reshape x,d;op q Transpose r perm=[0,2,1,3];op k Transpose r "
        "perm=[0,2,1,3];"
        "op a Attention q,k,q;op t Transpose a perm=[0,2,1,3];dims e B,S,8;op y Reshape t,e;weight "
        "w f32 8,8;"
        "op z Linear y,w transB=1;out z",
      SIZES, 1e-5 },
    /* rotary: halves, neighbours, a part of the head, with positions */
    { "in x f32 B,2,S,8;in c f32 B,S,4;in s f32 B,S,4;op y RotaryEmbedding x,c,s;"
      "op z RotaryEmbedding x,c,s interleaved=1;out y;out z",
      SIZES, 1e-5 },
    { "in x f32 B,2,S,8;in c f32 1,S,2;in s f32 1,S,2;op y RotaryEmbedding x,c,s "
      "rotary_embedding_dim=4;"
      "op z RotaryEmbedding x,c,s interleaved=1 rotary_embedding_dim=4;out y;out z",
      SIZES, 1e-5 },
    { "in x f32 B,2,S,8;weight c f32 10,4;weight s f32 10,4;in p i64 B,S 10;op y RotaryEmbedding "
      "x,c,s,p;out y",
      SIZES, 1e-5 },
};

/* ---- run-time extents ---- */

static const struct text_case dims_cases[] = {
    { "in x f32 B,S;in m i64 B,past+S;in p f32 B,2,past,4;dims a B,S,2,4;dims b past;dims c "
      "past+S,B;dims d 3,4;"
      "dims e B*S,2*S,B*past+1;dims f past+2*S-1;dims g S-1,B;out a;out b;out c;out d;out e;out "
      "f;out g",
      PAST_SIZES, 0 },
    /* a symbol that no axis gives alone */
    { "in x f32 B,S;in m i64 B,past+S;dims a past;dims b past*S,S;out a;out b", PAST_SIZES, 0 },
    /* division, of what may be negative as well */
    { "in x f32 H,W;dims a floor(H/4),floor((W-3)/2)+1;dims b floor((floor((W-3)/2)+1)/2);out "
      "a;out b",
      "H=9,W=9|H=3,W=2|H=1,W=1", 0 },
    /* Reshape targets with an axis that may be empty */
    { "in p f32 B,past,8;dims d B,past,2,4;op y Reshape p,d;dims e B*past,2,4;op z Reshape p,e "
      "allowzero=1;op n Neg z;"
      "op t Transpose y perm=[0,2,1,3];out t;out n",
      "B=2,past=0|B=3,past=4", 0 },
    { "in x f32 B,S,past,4;dims d B*S,past*4;op y Reshape x,d allowzero=1;op n Neg y;out n",
      "B=2,S=3,past=0|B=2,S=3,past=1", 0 },
    /* an extent that only a node knows */
    { "in x f32 B,8;in n i64 - 4;const z i64 - 0;const o i64 - 1;op r Range z,n,o;const a i64 2 "
      "1,2;op f Cast r to=f32;"
      "op u Unsqueeze f,a;op y Mul u,x;weight w f32 6,8;op l Linear y,w transB=1;op g Gelu l;out g",
      "B=2", 1e-5 },
};

/* ---- branches ---- */

static const struct text_case branch_cases[] = {
    { "in x bf16 B,S,8;in c bool -;then;op a Relu x;op d Abs x;give a;give d;else;op b Neg x;give "
      "b;"
      "give x;end y,z c;op w Add y,z;out w;out y",
      SIZES, 0 },
    { X "in c bool -;weight w f32 8,8;weight b f32 8;op h Linear x,w,b transB=1;"
        "then;op a Gelu h;dims d B,S,2,4;op r Reshape a,d;give r;"
        "else;op e Linear h,w,b transB=1;dims f B,S,2,4;op g Reshape e,f;give g;end y c;"
        "dims k B,S,8;op z Reshape y,k;op l Linear z,w transB=1;out l",
      SIZES, 1e-5 },
    { X "in c bool -;op n Not c;weight w f32 8,8;then;op a Linear x,w transB=1;give a;else;give "
        "x;end y c;"
        "then;give y;else;op b Linear x,w transB=1;op e Mish b;give e;end z n;out z;out y",
      SIZES, 1e-5 },
    { X "in c bool -;in d bool -;then;then;op a Relu x;give a;else;op b Neg x;give b;end i d;give "
        "i;else;op e Abs x;give e;"
        "end y c;out y",
      SIZES, 1e-5 },
};

/* ---- layout ---- */

#define ENCODER_WEIGHTS                                                                   \
    "in i i64 B,S 10;in m f32 B,1,1,S;weight e f32 10,8;weight p f32 1,8;weight g f32 8;" \
    "weight w f32 8,8;weight b f32 8;weight u f32 16,8;weight c f32 16;weight v f32 8,16;"
#define HEADS                                                                                  \
    "op q Linear x,w,b transB=1;op k Linear x,w transB=1 alpha=0.5;op v0 Linear x,w transB=1 " \
    "alpha=0.25;"                                                                              \
    "dims d B,S,2,4;op q Reshape q,d;op q Transpose q perm=[0,2,1,3];"                         \
    "op k Reshape k,d;op k Transpose k perm=[0,2,1,3];op v0 Reshape v0,d;op v0 Transpose v0 "  \
    "perm=[0,2,1,3];"
#define MERGE \
    "op a Transpose a perm=[0,2,1,3];dims f B,S,8;op a Reshape a,f;op a Linear a,w,b transB=1;"
#define ENCODER_LAYER                                                                          \
    HEADS "op a Attention q,k,v0,m;" MERGE                                                     \
          "op x Add a,x;op x LayerNormalization x,g,b;op h Linear x,u,c transB=1;op h Gelu h;" \
          "op h Linear h,v,b transB=1;op x Add h,x;op x LayerNormalization x,g,b;"
#define ENCODER                                                                               \
    ENCODER_WEIGHTS                                                                           \
    "op x Gather e,i;op x Add x,p;op x LayerNormalization x,g,b;" ENCODER_LAYER ENCODER_LAYER \
    "out x"

/* RMSNorm before, rotary, two heads on one key head, a cache, a gated unit */
#define DECODER_LAYER(n)                                                                           \
    "op y RMSNormalization x,g;op q Linear y,w transB=1;op k Linear y,w4 transB=1;op t Linear "    \
    "y,w4 transB=1 alpha=0.5;"                                                                     \
    "dims d B,S,2,4;op q Reshape q,d;op q Transpose q perm=[0,2,1,3];dims d1 B,S,1,4;"             \
    "op k Reshape k,d1;op k Transpose k perm=[0,2,1,3];op t Reshape t,d1;op t Transpose t "        \
    "perm=[0,2,1,3];"                                                                              \
    "op q RotaryEmbedding q,cos,sin;op k RotaryEmbedding k,cos,sin;"                               \
    "in pk" n " f32 B,1,past,4;in pv" n " f32 B,1,past,4;op k" n " Concat pk" n ",k axis=2;op v" n \
    " Concat pv" n ",t axis=2;op a Attention q,k" n ",v" n ",m;out k" n ";out v" n ";"             \
    "op a Transpose a perm=[0,2,1,3];dims f B,S,8;op a Reshape a,f;op a Linear a,w transB=1;op x " \
    "Add x,a;"                                                                                     \
    "op y RMSNormalization x,g;op h Linear y,u transB=1;op h Swish h;op j Linear y,u transB=1 "    \
    "alpha=0.5;"                                                                                   \
    "op h Mul h,j;op h Linear h,v transB=1;op x Add x,h;"
#define DECODER                                                                             \
    "in i i64 B,S 10;in m f32 B,1,S,past+S;in cos f32 B,S,2;in sin f32 B,S,2;weight e f32 " \
    "10,8;weight g f32 8;"                                                                  \
    "weight w f32 8,8;weight w4 f32 4,8;weight u f32 16,8;weight v f32 8,16;op x Gather "   \
    "e,i;" DECODER_LAYER("0")                                                               \
        DECODER_LAYER("1") "op x RMSNormalization x,g;op l Linear x,e transB=1;out l"

static const struct {
    const char *what, *text;
    int opset;
    enum om_linear_form linear;
    struct {
        enum om_op op;
        size_t count;
    } want[8]; /* OM_OP_NONE: all nodes */
} layouts[] = {
    /* 4 Reshapes a layer, one after the embedding, one for the output; Shape and Concat once for
       each of them */
    { "encoder",
      ENCODER,
      20,
      OM_LINEAR_GEMM,
      { { OM_OP_Reshape, 10 },
        { OM_OP_Shape, 1 },
        { OM_OP_Concat, 2 },
        { OM_OP_Gemm, 12 },
        { OM_OP_Transpose, 8 },
        { OM_OP_Mul, 2 },
        { OM_OP_NONE, 56 } } },
    { "encoder",
      ENCODER,
      23,
      OM_LINEAR_GEMM,
      { { OM_OP_Reshape, 10 }, { OM_OP_Attention, 0 }, { OM_OP_Softmax, 2 } } },
    { "encoder",
      ENCODER,
      20,
      OM_LINEAR_MATMUL,
      { { OM_OP_Reshape, 8 },
        { OM_OP_Gemm, 0 },
        { OM_OP_MatMul, 12 },
        { OM_OP_Shape, 1 },
        { OM_OP_Concat, 2 } } },
    /* 8 Reshapes a layer: 3 to heads, 4 around the shared key head, 1 back */
    { "decoder",
      DECODER,
      23,
      OM_LINEAR_GEMM,
      { { OM_OP_Reshape, 18 },
        { OM_OP_Gemm, 15 },
        { OM_OP_RotaryEmbedding, 4 },
        { OM_OP_RMSNormalization, 5 },
        { OM_OP_Transpose, 10 } } },
};

/* Where the layout is flat it stays so: no Reshape stands between two operators that work on rows.
 */
static void check_row_to_row(struct test *t, const struct om_graph *h)
{
    static const enum om_op rows[] = { OM_OP_Gemm, OM_OP_Gelu, OM_OP_Add, OM_OP_LayerNormalization,
                                       OM_OP_RMSNormalization };

    for (size_t i = 0; i < h->n_nodes; i++) {
        const struct om_node *n = &h->nodes[i];
        const uint32_t from = om_graph_value(h, n->in[0])->node;
        for (size_t k = 0; n->op == OM_OP_Gemm && k < OM_COUNT(rows); k++) {
            const struct om_node *r = from == OM_NO_NODE ? n : &h->nodes[from];
            const uint32_t before = om_graph_value(h, r->in[0])->node;
            if (r->op == OM_OP_Reshape && before != OM_NO_NODE)
                CHECK(t, h->nodes[before].op != rows[k]);
        }
    }
}

static void layout(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(layouts); i++) {
        struct om_arena a = OM_ARENA_INIT((size_t)64 << 20);
        struct om_graph *g = graph_text(t, &a, layouts[i].text);
        struct om_graph *h = g ? lower(t, g, layouts[i].opset, layouts[i].linear) : NULL;
        for (size_t k = 0;
             h && k < 8 && (k == 0 || layouts[i].want[k].op || layouts[i].want[k].count); k++) {
            test_case(t, "%s, opset %d: %s", layouts[i].what, layouts[i].opset,
                      om_op_name(layouts[i].want[k].op));
            CHECK_INT(t, graph_count(h, layouts[i].want[k].op), layouts[i].want[k].count);
        }
        if (h)
            check_row_to_row(t, h);
        om_graph_free(h);
        om_graph_free(g);
        om_arena_release(&a);
    }
}

static const struct text_case model_cases[] = {
    { ENCODER, "B=1,S=1|B=3,S=5", 2e-5 },
    { DECODER, "B=1,S=1,past=0|B=3,S=4,past=0|B=2,S=1,past=3", 2e-5 },
};

static void models(struct test *t)
{
    check_cases(t, model_cases, OM_COUNT(model_cases));
}

static void operators(struct test *t)
{
    check_cases(t, cases, OM_COUNT(cases));
}

static void attention(struct test *t)
{
    check_cases(t, attention_cases, OM_COUNT(attention_cases));
}

static void extents(struct test *t)
{
    check_cases(t, dims_cases, OM_COUNT(dims_cases));
}

static void branches(struct test *t)
{
    check_cases(t, branch_cases, OM_COUNT(branch_cases));
}

/* Whatever the memory allows, the result is a graph or an error. */
static void short_memory(struct test *t)
{
    const struct om_lower_opts opts = { .opset = 18 };
    bool done = false;

    for (size_t max = 0; !done && max < (size_t)64 << 20; max += 1009) {
        struct om_arena a = OM_ARENA_INIT((size_t)64 << 20);
        struct om_error err = OM_ERROR_INIT;
        struct om_graph *h = NULL, *g = graph_text(t, &a, DECODER);
        a.max = a.used + max;
        done = !g || om_lower(g, &opts, &h, &err) == 0;
        if (!done)
            CHECK_INT(t, err.code, OM_E_NOMEM);
        CHECK(t, !g || (h != NULL) == done);
        om_graph_free(h);
        om_graph_free(g);
        om_error_release(&err);
        om_arena_release(&a);
    }
    CHECK(t, done);
}

static void refused(struct test *t)
{
    static const struct {
        const char *text;
        int opset, code;
        const char *message;
    } bad[] = {
        { X "op y Neg x;out y", 13, OM_E_USAGE, "opset 13 is not supported: expected 14 to 23" },
        { X "op y Neg x;out y", 24, OM_E_USAGE, "opset 24 is not supported" },
        { "in x f32 1,8;dims d T,8;op y Expand x,d;out y", 18, OM_E_UNSUPPORTED,
          "no input tells the extent \"T\"" },
        { "in q f32 B,4,S,D;in k f32 B,4,T,D;op y Attention q,k,k;out y", 18, OM_E_UNSUPPORTED,
          "/Attention: the head size is not known" },
        { "in x f32 B,2,S,D;in c f32 B,S,4;op y RotaryEmbedding x,c,c rotary_embedding_dim=8;out y",
          18, OM_E_UNSUPPORTED,
          "/RotaryEmbedding: RotaryEmbedding needs rank 4 and a known head size" },
    };

    for (size_t i = 0; i < OM_COUNT(bad); i++) {
        const struct om_lower_opts opts = { .opset = bad[i].opset };
        struct om_arena a = OM_ARENA_INIT((size_t)64 << 20);
        struct om_error err = OM_ERROR_INIT;
        struct om_graph *h = NULL, *g;
        test_case(t, "%s", bad[i].text);
        g = graph_text(t, &a, bad[i].text);
        if (g) {
            CHECK_INT(t, om_lower(g, &opts, &h, &err), bad[i].code);
            CHECK_HAS(t, om_error_text(&err), bad[i].message);
            CHECK(t, h == NULL);
        }
        om_graph_free(g);
        om_error_release(&err);
        om_arena_release(&a);
    }
}

/* Names follow the modules; of a tied table the transposed one has a name of its own. */
static void names(struct test *t)
{
    static const struct {
        enum om_linear_form linear;
        const char *want;
    } forms[] = {
        { OM_LINEAR_GEMM, "/encoder/query/Gemm" },
        { OM_LINEAR_MATMUL, "/encoder/query/MatMul" },
        { OM_LINEAR_MATMUL, "e.transposed" },
    };

    for (size_t i = 0; i < OM_COUNT(forms); i++) {
        struct om_arena a = OM_ARENA_INIT((size_t)64 << 20);
        struct om_graph *g =
            graph_text(t, &a,
                       "in i i64 B,S 10;weight e f32 10,8;op x Gather e,i;scope encoder/query;"
                       "op y Linear x,e transB=1;out y");
        struct om_graph *h = g ? lower(t, g, 18, forms[i].linear) : NULL;
        bool found = false;
        for (size_t k = 0; h && k < h->n_nodes; k++)
            found |= om_sv_is(h->nodes[k].name, forms[i].want);
        for (size_t k = 0; h && k < h->n_weights; k++)
            found |= om_sv_is(h->weights[k].name, forms[i].want);
        test_check(t, found, __FILE__, __LINE__, "%s", forms[i].want);
        om_graph_free(h);
        om_graph_free(g);
        om_arena_release(&a);
    }
}

const struct test_entry t_lower[] = { { "operators", operators },
                                      { "attention", attention },
                                      { "extents", extents },
                                      { "branches", branches },
                                      { "layout", layout },
                                      { "models", models },
                                      { "names", names },
                                      { "refused", refused },
                                      { "short_memory", short_memory },
                                      TEST_END };
