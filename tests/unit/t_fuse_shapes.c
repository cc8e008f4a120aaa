/* tests/unit/t_fuse_shapes.c: what is known of a document's values: by the IR's rules, of operators
 * that it does not have, and no more than that. */
#include "fuse/shapes.h"

#include "graph_text.h"
#include "onnx/onnx.h"
#include "test.h"

/* The graph is written with operators of the IR; in the document, from is called to. */
static const struct {
    const char *name, *text, *from, *to;
    const char *want; /* of value y: "?" is an extent that is not known; NULL: nothing is */
} cases[] = {
    { "an operator of the IR", "in x f32 B,S,8; op y Exp x; out y", NULL, NULL, "B,S,8" },
    { "an operator that nobody knows", "in x f32 B,S,8; op y Exp x; out y", "Exp", "Mystery",
      NULL },
    { "after one that nobody knows", "in x f32 B,S,8; op a Exp x; op y Neg a; out y", "Exp",
      "Mystery", NULL },
    { "beside one that nobody knows", "in x f32 B,S,8; op a Exp x; op y Neg x; out y; out a", "Exp",
      "Mystery", "B,S,8" },
    { "Flatten", "in x f32 B,S,8; op y Abs x axis=2; out y", "Abs", "Flatten", "B*S,8" },
    { "Flatten from behind", "in x f32 B,S,8; op y Abs x axis=-2; out y", "Abs", "Flatten",
      "B,8*S" },
    { "Flatten beyond all axes", "in x f32 B,S,8; op y Abs x axis=4; out y", "Abs", "Flatten",
      NULL },
    { "Pad", "in x f32 B,S; op y Abs x; out y", "Abs", "Pad", "?,?" },
    { "GlobalAveragePool", "in x f32 B,4,S; op y Abs x; out y", "Abs", "GlobalAveragePool",
      "B,4,1" },
    { "GlobalAveragePool of a matrix", "in x f32 B,4; op y Abs x; out y", "Abs",
      "GlobalAveragePool", NULL },
    { "Conv", "in x f32 2,4,4; in w f32 1,4,3; op y MatMul x,w; out y", "MatMul", "Conv", "2,1,?" },
    { "Conv of other ranks", "in x f32 B,4; in w f32 4,4,3; op y MatMul x,w; out y", "MatMul",
      "Conv", NULL },
    { "IsNaN", "in x f32 B,S; op y Abs x; out y", "Abs", "IsNaN", "B,S" },
    { "ArgMin", "in x f32 B,S; op y ArgMax x axis=1; out y", "ArgMax", "ArgMin", "B,1" },
    { "LogSoftmax", "in x f32 B,S; op y Softmax x; out y", "Softmax", "LogSoftmax", "B,S" },
    { "an unknown extent beside a named one", "in x f32 B,8; op a Abs x; op y Add a,x; out y",
      "Abs", "Pad", "?,8" },
    { "an unknown extent and one", "in x f32 B,8; in z f32 1,1; op a Abs x; op y Add z,a; out y",
      "Abs", "Pad", "?,?" },
    { "names that contradict each other",
      "in x f32 B,S; in z f32 B,P; op y Concat x,z axis=1; out y", "Concat", "Mul", "B,?" },
    { "extents that are negated",
      "in x f32 B,S; op s Shape x start=1; op n Neg s; const e i64 1 9223372036854775807; "
      "const a i64 1 1; op y Slice x,n,e,a; out y",
      NULL, NULL, "B,S" },
    { "what both branches give",
      "in c bool -; in x f32 B,S; in z f32 B,8; then; op a Exp x; give a; else; op b Exp z; give "
      "b; "
      "end y c; out y",
      NULL, NULL, "B,?" },
};

static int rename_op(void *user, struct om_doc_graph *g, struct om_error *err)
{
    const size_t i = *(const size_t *)user;

    (void)err;
    for (size_t k = 0; k < g->nodes.len; k++)
        if (cases[i].from && om_sv_is(g->nodes.items[k].op, cases[i].from))
            g->nodes.items[k].op = om_sv_str(cases[i].to);
    return 0;
}

static const char *text_of(struct om_arena *a, const struct fz_shapes *s, const struct om_value *v)
{
    struct om_dims *const dims = fz_shapes_graph(s)->dims;
    const char *text = "";

    if (!v)
        return NULL;
    for (uint32_t i = 0; i < v->rank; i++)
        text = om_arena_printf(a, "%s%s%s", text, i ? "," : "",
                               om_dim_is_unknown(dims, v->dims[i]) ? "?"
                                                                   : om_dim_text(dims, v->dims[i]));
    return text;
}

static void run_case(struct test *t, size_t i)
{
    const struct om_onnx_opts opts = { .opset = 18 };
    struct om_arena a = OM_ARENA_INIT(16u << 20);
    struct om_buf text = OM_BUF_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct fz_shapes *s = NULL;
    struct om_doc *d = NULL;
    struct om_graph *g;
    struct om_file shell;

    test_case(t, "%s", cases[i].name);
    g = graph_text(t, &a, cases[i].text);
    if (!g)
        return;
    CHECK_OK(t, om_onnx_write_shell(g, &opts, &text, &err), &err);
    shell = (struct om_file){ .fd = -1, .data = (const uint8_t *)text.ptr, .size = text.len };
    CHECK_OK(t, om_doc_parse_shell(&a, &shell, g, &d, &err), &err);
    om_doc_walk(d->graph, rename_op, &i, &err);
    CHECK_OK(t, fz_shapes_new(d, &s, &err), &err);
    if (s) {
        const char *const got = text_of(&a, s, fz_shapes_find(s, d->graph, om_sv_str("y")));

        if (got && cases[i].want)
            CHECK_STR(t, got, cases[i].want);
        else
            CHECK(t, !got && !cases[i].want);
    }
    fz_shapes_free(s);
    om_doc_close(d);
    om_graph_free(g);
    om_buf_release(&text);
    om_error_release(&err);
    om_arena_release(&a);
}

static void values(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(cases); i++)
        run_case(t, i);
}

const struct test_entry t_fuse_shapes[] = { { "values", values }, TEST_END };
