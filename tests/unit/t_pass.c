/* tests/unit/t_pass.c: passes keep what a graph computes and never make it larger. */
#include "pass/pass.h"

#include "graph_text.h"
#include "onnx/onnx.h"
#include "ref/ref.h"
#include "test.h"

enum { ALL = OM_PASS_FOLD | OM_PASS_CSE };

#define X "in x f32 B,8;"

static const struct {
    const char *what, *text;
    unsigned flags;
    size_t nodes; /* that are left */
    size_t grows; /* bytes: Identity has a longer name */
} cases[] = {
    { "nothing to do", X "op y Neg x;out y", ALL, 1, 0 },
    { "dead code", X "op y Neg x;op z Abs x;op w Exp z;out y", 0, 1, 0 },
    { "equal nodes", X "op a Neg x;op b Neg x;op y Add a,b;out y", OM_PASS_CSE, 2, 0 },
    { "equal chains", X "op a Neg x;op b Neg x;op c Exp a;op d Exp b;op y Add c,d;out y",
      OM_PASS_CSE, 3, 0 },
    { "equal but for an attribute",
      X "op a Softmax x axis=0;op b Softmax x axis=1;op y Add a,b;out y", OM_PASS_CSE, 3, 0 },
    { "equal but for the operator", X "op a Sin x;op b Cos x;op y Add a,b;out y", OM_PASS_CSE, 3,
      0 },
    { "equal but for the number of outputs",
      X "op a,b Split x axis=1;op c,d,e,f Split x axis=1;op y Concat a,b,c,d,e,f axis=1;out y",
      OM_PASS_CSE, 3, 0 },
    { "several outputs",
      X "op a,b Split x axis=1;op c,d Split x axis=1;op y Concat a,b,c,d axis=1;out y", OM_PASS_CSE,
      2, 0 },
    { "not asked for", X "op a Neg x;op b Neg x;op y Add a,b;out y", OM_PASS_FOLD, 3, 0 },
    { "both outputs", X "op a Neg x;op b Neg x;out a;out b", OM_PASS_CSE, 2, 10 },
    { "scalars", X "const a f32 - 3;const b f32 - 5;op c Mul a,b;op d Sqrt c;op y Mul x,d;out y",
      OM_PASS_FOLD, 1, 0 },
    { "a shape",
      X "const a i64 2 -1,2;const b i64 1 4;op s Concat a,b axis=0;op y Reshape x,s;out y",
      OM_PASS_FOLD, 1, 0 },
    { "dims", X "dims d 1,8;op y Expand x,d;dims e B,8;op z Expand y,e;out z", OM_PASS_FOLD, 3, 0 },
    { "what would grow stays",
      X "const n i64 1 1000;op z ConstantOfShape n;op m ReduceSum z;op y Add x,m;out y",
      OM_PASS_FOLD, 3, 0 },
    { "what shrinks goes", X "const c i64 8 1,2,3,4,5,6,7,8;op f Cast c to=f32;op y Add x,f;out y",
      OM_PASS_FOLD, 1, 0 },
    { "a chain down to a scalar",
      X "const c f32 8 1,2,3,4,5,6,7,8;op f ReduceSum c;op e Exp f;op l Log e;op y Add x,f;op z "
        "Add y,l;out z",
      OM_PASS_FOLD, 2, 0 },
    { "a constant output", X "const a f32 2 3,4;op y Neg a;op z Abs x;out y;out z", OM_PASS_FOLD, 2,
      0 },
    { "in branches",
      X "in c bool -;const a f32 - 3;op n Neg x;then;op m Neg x;op s Sqrt a;op p Mul m,s;give p;"
        "else;op s Sqrt a;op q Add n,s;give q;end y c;out y",
      ALL, 4, 0 },
    { "not across branches",
      X "in c bool -;then;op m Neg x;give m;else;op n Neg x;op o Neg n;give o;end y c;out y", ALL,
      4, 0 },
};

static uint64_t file_size(const struct om_graph *g)
{
    return om_onnx_embedded_size(g);
}

static void compare(struct test *t, const struct om_tensor *a, const struct om_tensor *b)
{
    uint64_t n = 0, m = 0;

    CHECK_STR(t, b->name, a->name);
    CHECK_INT(t, b->dtype, a->dtype);
    CHECK(t, om_tensor_bytes(a, &n) && om_tensor_bytes(b, &m) && n == m);
    CHECK(t, n == m && memcmp(a->data, b->data, n) == 0);
}

static void check_same(struct test *t, struct om_arena *a, const struct om_graph *g,
                       const struct om_graph *h)
{
    const struct om_tensor *in = graph_inputs(t, a, g, "B=2");
    struct om_error err = OM_ERROR_INIT;
    struct om_tensor *want = NULL, *got = NULL;
    size_t n_want = 0, n_got = 0;

    CHECK_OK(t, om_ref_run(g, in, g->n_inputs, NULL, a, &want, &n_want, &err), &err);
    CHECK_OK(t, om_ref_run(h, in, g->n_inputs, NULL, a, &got, &n_got, &err), &err);
    CHECK_INT(t, n_got, n_want);
    for (size_t i = 0; want && got && i < n_want; i++)
        compare(t, &want[i], &got[i]);
    om_error_release(&err);
}

static void passes(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_arena a = OM_ARENA_INIT((size_t)64 << 20);
        struct om_error err = OM_ERROR_INIT;
        struct om_graph *h = NULL, *g;
        test_case(t, "%s", cases[i].what);
        g = graph_text(t, &a, cases[i].text);
        if (g)
            CHECK_OK(t, om_pass_run(g, cases[i].flags, &h, &err), &err);
        if (h) {
            CHECK_OK(t, om_graph_verify(h, &err), &err);
            CHECK_INT(t, graph_count(h, OM_OP_NONE), cases[i].nodes);
            CHECK(t, file_size(h) <= file_size(g) + cases[i].grows);
            check_same(t, &a, g, h);
        }
        om_graph_free(h);
        om_graph_free(g);
        om_error_release(&err);
        om_arena_release(&a);
    }
}

/* A node that cannot be computed on its constants is left for the run to refuse. */
static void failing(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT((size_t)64 << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_graph *h = NULL;
    struct om_graph *g = graph_text(
        t, &a,
        "in x f32 B,1;const t f32 2 1,2;const i i64 1,1 7;op y Gather t,i;op z Add x,y;out z");

    if (g)
        CHECK_OK(t, om_pass_run(g, ALL, &h, &err), &err);
    if (h)
        CHECK_INT(t, graph_count(h, OM_OP_Gather), 1);
    om_graph_free(h);
    om_graph_free(g);
    om_error_release(&err);
    om_arena_release(&a);
}

/* Whatever the memory allows, the result is a graph or an error. */
static void short_memory(struct test *t)
{
    static const char text[] =
        X "const a f32 - 3;op s Sqrt a;op m Mul x,s;op n Mul x,s;op y Add m,n;out y";
    bool done = false;

    for (size_t max = 4096; !done && max < (size_t)64 << 20; max += 256) {
        struct om_arena a = OM_ARENA_INIT((size_t)64 << 20);
        struct om_error err = OM_ERROR_INIT;
        struct om_graph *h = NULL;
        struct om_graph *g = graph_text(t, &a, text);
        int rc;
        a.max = a.used + max;
        rc = g ? om_pass_run(g, ALL, &h, &err) : 0;
        done = rc == 0;
        if (rc < 0)
            CHECK_INT(t, rc, OM_E_NOMEM);
        CHECK(t, !g || (h != NULL) == done);
        om_graph_free(h);
        om_graph_free(g);
        om_error_release(&err);
        om_arena_release(&a);
    }
    CHECK(t, done);
}

const struct test_entry t_pass[] = {
    { "passes", passes }, { "failing", failing }, { "short_memory", short_memory }, TEST_END
};
