/* tests/unit/t_fuse_clean.c: what computes nothing goes, what only looks like it stays, and the
 * numbers are the same, of empty tensors as well. */
#include "fuse/fuse.h"
#include "fuse_case.h"
#include "graph_text.h"
#include "onnx/onnx.h"

#define IDS "in ids i64 B,S 2; "
#define X "in x f32 B,S,8; "
#define KEYS "in k f32 B,2,P,4; "
/* axis i of x as a list of one */
#define AXIS(name, x, i)                                                                          \
    "op s" name " Shape " x "; const i" name " i64 - " i "; op g" name " Gather s" name ",i" name \
    " axis=0; const z" name " i64 1 0; op " name " Unsqueeze g" name ",z" name "; "

static const struct fuse_case cases[] = {
    /* the target of a Reshape */
    { "heads by copied axes",
      X AXIS("b", "x", "0") AXIS("s", "x", "1") "const h i64 2 2,4; op t Concat b,s,h axis=0; "
                                                "op y Reshape x,t; out y",
      NULL, 1, 1, 18 },
    { "a rest beside numbers",
      X AXIS("b", "x", "0") AXIS("s", "x", "1") "const h i64 1 8; op m Mul b,s; "
                                                "op t Concat m,h axis=0; op y Reshape x,t; out y",
      NULL, 1, 1, 18 },
    { "no rest beside axes that may be empty",
      "in k f32 P,B,8; " AXIS("p", "k", "0")
          AXIS("b", "k", "1") "const w i64 1 2; op m Mul b,w; const h i64 1 4; op t Concat p,m,h "
                              "axis=0; op y Reshape k,t; out y",
      "Concat", 1, 1, 18 },
    { "a rest that is a number",
      X AXIS("b", "x", "0") AXIS("s", "x", "1") "const h i64 2 2,-1; op t Concat b,s,h axis=0; "
                                                "op y Reshape x,t; out y",
      NULL, 1, 1, 18 },
    { "a rest at another place",
      "in x f32 2,B,8; " AXIS("b", "x", "1") "const h i64 2 2,8; op t Concat b,h axis=0; "
                                             "op y Reshape x,t; out y",
      NULL, 1, 1, 18 },
    { "axes of one that are added",
      "in x f32 B,S; " AXIS("b", "x", "0") "const h i64 3 1,1,-1; op t Concat b,h axis=0; "
                                           "op y Reshape x,t; out y",
      "Unsqueeze", 1, 1, 18 },
    { "an axis of one that goes",
      "in x f32 B,1,S; " AXIS("b", "x", "0") AXIS("s", "x", "2") "op t Concat b,s axis=0; "
                                                                 "op y Reshape x,t; out y",
      "Squeeze", 1, 1, 18 },
    { "two axes at other places",
      X AXIS("b", "x", "0") AXIS("s", "x", "1") "const h i64 1 8; op t Concat s,b,h axis=0; "
                                                "op y Reshape x,t; out y",
      "Concat", 1, 1, 18 },
    /* extents */
    { "one element of a shape",
      X AXIS(
          "s", "x",
          "1") "const o i64 1 2; op t Concat o,s axis=0; const q f32 1,1 3; op y Expand q,t; out y",
      NULL, 3, 1, 18 },
    { "equal extents of two inputs",
      X "in z f32 B,S,4; " AXIS("s", "x", "1")
          AXIS("t", "z", "1") "op a Add s,t; op y Exp x; "
                              "op u Exp z; out a; out y; out u",
      "Shape", 1, 1, 18 },
    { "unequal extents", X KEYS AXIS("s", "x", "1") AXIS("t", "k", "2") "op a Add s,t; out a",
      "Shape", 2, 1, 18 },
    { "a sum that an input has",
      "in m i64 B,P+S 2; " IDS KEYS AXIS("s", "ids", "1")
          AXIS("p", "k", "2") "op a Add p,s; const o i64 1 0; const l i64 1 1; op y Slice m,o,a,l; "
                              "op u Exp k; op v Neg ids; out y; out u; out v",
      "Add", 0, 1, 18 },
    { "a minus where a shape gives no minus",
      X AXIS("s", "x", "1") "const m i64 1 -1; const o i64 1 1; op c Equal s,m; "
                            "op t Where c,o,s; const e i64 1 8; op r Concat t,e axis=0; "
                            "const q f32 1,1 2; op y Expand q,r; out y",
      "Where", 0, 1, 18 },
    { "a shape as another type", X AXIS("s", "x", "1") "op y Cast s to=i32; out y", "Cast", 1, 1,
      18 },
    /* copies of all */
    { "an Expand to the shape that is there",
      X AXIS("b", "x", "0") AXIS("s", "x", "1") "const e i64 1 8; op t Concat b,s,e axis=0; "
                                                "op a Expand x,t; op y Exp a; out y",
      NULL, 1, 1, 18 },
    { "an Expand that repeats",
      "in x f32 1,S,8; in z f32 B,1,1; " AXIS(
          "b", "z", "0") "const e i64 2 1,1; "
                         "op t Concat b,e axis=0; op a Expand x,t; op e Exp a; op y Add e,z; out y",
      "Expand", 1, 1, 18 },
    { "an Expand that the sum does as well",
      X AXIS("b", "x", "0") "const q f32 1,8 2; const e i64 2 1,8; op t Concat b,e axis=0; "
                            "op w Expand q,t; op y Add w,x; out y",
      NULL, 1, 1, 18 },
    { "an Expand of both sides",
      X "in z f32 1,1,8; " AXIS("b", "x", "0") "const e i64 2 1,8; op t Concat b,e axis=0; "
                                               "op v Expand z,t; op w Neg v; op y Add w,v; out y",
      "Expand", 1, 1, 18 },
    { "an Expand of a product's batch",
      X
      "const q f32 1,5,8 2; " AXIS("b", "x", "0") "const e i64 2 5,8; op t Concat b,e axis=0; "
                                                  "op w Expand q,t; op h Transpose x perm=[0,2,1]; "
                                                  "op y MatMul w,h; out y",
      "Expand", 0, 1, 18 },
    { "an Expand of a product's rows",
      X
      "const q f32 1,1,8 2; " AXIS("b", "x", "0") "const e i64 2 5,8; op t Concat b,e axis=0; "
                                                  "op w Expand q,t; op h Transpose x perm=[0,2,1]; "
                                                  "op y MatMul w,h; out y",
      "Expand", 1, 1, 18 },
    { "a Slice of everything",
      X "const o i64 1 0; const e i64 1 9223372036854775807; const a i64 1 1; op c Slice x,o,e,a; "
        "op y Exp c; out y",
      "Slice", 0, 1, 18 },
    { "a Slice up to the extent",
      X AXIS("s", "x", "1") "const o i64 1 0; const a i64 1 1; op c Slice x,o,s,a; op y Exp c; "
                            "out y",
      NULL, 1, 1, 18 },
    { "a Slice as long as the axis, from behind",
      X AXIS("s", "x", "1") "op n Neg s; const e i64 1 9223372036854775807; const a i64 1 -2; "
                            "op c Slice x,n,e,a; op y Exp c; out y",
      NULL, 1, 1, 18 },
    { "a Slice that may be shorter, from behind",
      "in x f32 B,P+S,8; in z f32 B,S; " AXIS(
          "s", "z", "1") "op n Neg s; const e i64 1 9223372036854775807; const a i64 1 1; "
                         "op c Slice x,n,e,a; op y Exp c; op u Exp z; out y; out u",
      "Slice", 1, 1, 18 },
    { "a Slice that turns around",
      X "const o i64 1 -1; const e i64 1 -9223372036854775807; const a i64 1 1; const m i64 1 -1; "
        "op c Slice x,o,e,a,m; op y Exp c; out y",
      "Slice", 1, 1, 18 },
    { "a Slice from the second on, as long",
      "in x f32 4; const o i64 1 1; const e i64 1 5; const a i64 1 0; op c Slice x,o,e,a; "
      "op y Exp c; out y",
      "Slice", 1, 1, 18 },
    { "a Concat of one", X "op c Concat x axis=1; op y Exp c; out y", "Concat", 0, 1, 18 },
    /* views */
    { "two Transposes that cancel",
      X "op a Transpose x perm=[0,2,1]; op b Transpose a perm=[0,2,1]; op y Exp b; out y",
      "Transpose", 0, 1, 18 },
    { "two Transposes",
      X "op a Transpose x perm=[0,2,1]; op b Transpose a perm=[2,1,0]; op y Exp b; out y",
      "Transpose", 1, 1, 18 },
    { "a Transpose between others",
      X "op a Transpose x perm=[0,2,1]; op e Exp a; op b Transpose e perm=[0,2,1]; out b",
      "Transpose", 2, 1, 18 },
    { "a Transpose of nothing", X "op a Transpose x perm=[0,1,2]; op y Exp a; out y", "Transpose",
      0, 1, 18 },
    { "added and taken away",
      X "const a i64 1 1; op u Unsqueeze x,a; op v Squeeze u,a; op y Exp v; out y", NULL, 1, 1,
      18 },
    { "added here, taken away there",
      "in x f32 B,1,8; const a i64 1 0; const b i64 1 2; op u Unsqueeze x,a; op v Squeeze u,b; "
      "op y Exp v; out y",
      NULL, 3, 1, 18 },
    { "an axis of one in front that is broadcast",
      X "in z f32 S,8; const a i64 1 0; op u Unsqueeze z,a; op y Add x,u; out y", NULL, 1, 1, 18 },
    { "an axis of one in front that the sum needs",
      "in z f32 S,8; in v f32 8; const a i64 1 0; op u Unsqueeze z,a; op y Add u,v; out y", NULL, 2,
      1, 18 },
    { "an axis of one between",
      X "in z f32 B,8; const a i64 1 1; op u Unsqueeze z,a; op y Add x,u; out y", NULL, 2, 1, 18 },
    { "a vector as a matrix of a product",
      X "in z f32 8; const a i64 1 0; op u Unsqueeze z,a; op h Transpose x perm=[0,2,1]; "
        "op y MatMul u,h; out y",
      "Unsqueeze", 1, 1, 18 },
    { "two Unsqueezes",
      X "const a i64 1 1; const b i64 1 -1; op u Unsqueeze x,a; op v Unsqueeze u,b; op y Exp v; "
        "out y",
      "Unsqueeze", 1, 1, 18 },
    { "a Reshape of a Reshape",
      X "const a i64 2 -1,8; const b i64 3 -1,2,4; op u Reshape x,a; op v Reshape u,b; op y Exp v; "
        "out y",
      "Reshape", 1, 1, 18 },
    { "a Reshape that copies an axis of a Reshape",
      "in x f32 2,3,8; const a i64 2 6,8; const b i64 3 0,2,4; op u Reshape x,a; "
      "op v Reshape u,b; op y Exp v; op w Exp u; op z Relu x; out y; out w; out z",
      "Reshape", 2, 1, 18 },
    { "back to the shape that was",
      X "const a i64 2 -1,8; op u Reshape x,a; op f Exp u; "
        "const b i64 3 -1,2,4; op v Reshape u,b; op h Neg v; "
        "op w Reshape v,a; op y Exp w; op z Sub y,f; out z; out h",
      NULL, 5, 1, 18 },
    { "matrices that are turned",
      "in x f32 B,2,S,4; " AXIS("b", "x", "0")
          AXIS("s", "x",
               "2") "const m i64 1 -1; const d i64 1 4; const h i64 1 2; op t Concat m,s,d axis=0; "
                    "op v Reshape x,t; op w Transpose v perm=[0,2,1]; op u Concat b,h,d,s axis=0; "
                    "op r Reshape w,u; op y Exp r; out y",
      NULL, 2, 1, 18 },
    { "matrices of other axes that are turned",
      "in x f32 B,2,2,4; const t i64 3 -1,4,4; op v Reshape x,t; op w Transpose v perm=[0,2,1]; "
      "const u i64 4 -1,2,4,2; op r Reshape w,u; op y Exp r; out y",
      NULL, 4, 1, 18 },
    { "a target that says empty axes",
      "in x f32 B,S,2,4; " AXIS("b", "x", "0") AXIS(
          "s", "x", "1") "const d i64 1 8; op t Concat b,s,d axis=0; op y Reshape x,t allowzero=1; "
                         "out y",
      NULL, 1, 1, 18 },
    /* numbers that change nothing */
    { "times one", X "const o f32 - 1; op a Mul x,o; op y Exp a; out y", "Mul", 0, 1, 18 },
    { "one times", X "const o f32 1 1; op a Mul o,x; op y Exp a; out y", "Mul", 0, 1, 18 },
    { "nearly one", X "const o f32 - 1.0000001; op a Mul x,o; op y Exp a; out y", "Mul", 1, 1, 18 },
    { "one that adds an axis", "in x f32 8; const o f32 1,1 1; op a Mul x,o; op y Exp a; out y",
      "Mul", 1, 1, 18 },
    { "plus nothing", X "const o f32 - 0; op a Add o,x; op y Exp a; out y", "Add", 0, 1, 18 },
    { "nothing minus", X "const o f32 - 0; op a Sub o,x; op y Exp a; out y", "Sub", 1, 1, 18 },
    { "by one", X "const o f32 - 1; op a Div x,o; op y Exp a; out y", "Div", 0, 1, 18 },
    { "one by", X "const o f32 - 1; op a Div o,x; op y Exp a; out y", "Div", 1, 1, 18 },
    { "a choice that is made",
      X "in z f32 B,S,8; const c bool - 0; op a Where c,z,x; op y Exp a; op u Exp z; out y; out u",
      "Where", 0, 1, 18 },
    { "a choice that broadcasts",
      X "in z f32 1,S,8; const c bool - 1; op a Where c,z,x; op y Exp a; out y", "Where", 1, 1,
      18 },
    { "and true", X "in z bool B,S,8; const c bool - 1; op a And z,c; op y Where a,x,x; out y",
      "And", 0, 1, 18 },
    { "or true", X "in z bool B,S,8; const c bool - 1; op a Or z,c; op y Where a,x,x; out y", "Or",
      1, 1, 18 },
    /* conversions */
    { "wider and back", X "op a Cast x to=f64; op b Cast a to=f32; op y Exp b; out y", "Cast", 0, 1,
      18 },
    { "narrower and back", X "op a Cast x to=f16; op b Cast a to=f32; op y Exp b; out y", "Cast", 2,
      1, 18 },
    { "by a wider one",
      IDS "op a Cast ids to=i32; op b Cast a to=i64; op c Cast b to=f32; "
          "op y Exp c; out y",
      "Cast", 2, 1, 18 },
    { "integers by float", IDS "op a Cast ids to=f32; op b Cast a to=i64; op y Neg b; out y",
      "Cast", 2, 1, 18 },
    /* constants */
    { "integers from constants",
      IDS "const a i64 3 1,2,3; const b i64 3,1 4,5,6; op c Mul a,b; op d Transpose c perm=[1,0]; "
          "const k i64 2 0,1; op e Gather d,k axis=0; const f i64 1 0; op s ReduceSum e,f; "
          "op g Gather s,ids axis=1; op y Cast g to=f32; out y",
      NULL, 2, 1, 18 },
    { "a library's function stays", X "const a f32 8 1; op c Sin a; op y Add x,c; out y", "Sin", 1,
      1, 18 },
    { "large results stay",
      X "const s i64 2 300,300; const v f32 1,1 2; op c Expand v,s; const i i64 2 0,0; "
        "const e i64 2 1,8; op d Slice c,i,e; op y Add x,d; out y",
      "Expand", 1, 1, 18 },
    { "a branch that is taken",
      X "const c bool - 1; const z i64 1 0; op d Equal z,z; op e Squeeze d,z; op g Exp x; then; "
        "op a Neg g; op k Abs a; give k; else; op b Relu g; give b; end r e; op y Exp r; out y",
      NULL, 4, 1, 18 },
    { "a branch that is taken, an output",
      X "const c bool - 0; then; op a Neg x; give a; else; op b Relu x; give b; end r c; out r",
      NULL, 1, 1, 18 },
    { "two of them",
      X "const c bool - 0; const d bool - 1; then; op a Neg x; give a; else; op b Relu x; give b; "
        "end r c; then; op e Abs r; give e; else; op h Exp r; give h; end s d; op y Exp s; out y",
      NULL, 3, 1, 18 },
    { "a branch of which nothing is known",
      X "in c bool -; then; op a Neg x; give a; else; op b Relu x; give b; end r c; out r", "If", 1,
      1, 18 },
    { "in a branch",
      X "in c bool -; op e Exp x; then; const o f32 - 1; op a Mul e,o; op b Neg a; give b; "
        "else; " AXIS("b", "e", "0")
            AXIS("s", "e", "1") "const h i64 1 8; op t Concat b,s,h axis=0; "
                                "op r Reshape e,t; op n Abs r; give n; end r c",
      "Mul", 0, 1, 18 },
};

static void patterns(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(cases); i++)
        fuse_case_run(t, &cases[i]);
}

/* ---- tensors ---- */

/* x plus two of the tensors a, b and c, of which a and b are equal. */
static const char *const sums =
    X "const a f32 8 1,1,1,1,1,1,1,1; op p Add x,a; const c f32 - 2; op y Mul p,c; out y";

static void tensors(struct test *t)
{
    static const float ones[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
    const struct om_onnx_opts opts = { .opset = 18 };
    struct om_arena a = OM_ARENA_INIT(64u << 20);
    struct om_buf text = OM_BUF_INIT(1u << 20);
    struct om_optimize_config config;
    struct om_error err = OM_ERROR_INIT;
    struct om_graph *const g = graph_text(t, &a, sums);
    struct om_doc *d = NULL;
    struct om_file shell;
    size_t fused;

    test_case(t, "equal tensors are one");
    CHECK_OK(t, om_optimize_level("O1", &config, &err), &err);
    CHECK_OK(t, om_onnx_write_shell(g, &opts, &text, &err), &err);
    shell = (struct om_file){ .fd = -1, .data = (const uint8_t *)text.ptr, .size = text.len };
    CHECK_OK(t, om_doc_parse_shell(&a, &shell, g, &d, &err), &err);
    for (int i = 0; i < 2; i++) /* another type is another tensor, whatever the bytes */
        CHECK(t, om_doc_add_const(d, d->graph, om_sv_str(i ? "same" : "other"), i ? 1 : 6,
                                  &(int64_t){ 8 }, 1, ones));
    d->graph->nodes.items[1].in[1] = om_sv_str("same");
    CHECK_OK(t, om_fuse_doc(d, &config, &fused, &err), &err);
    CHECK(t, om_sv_eq(d->graph->nodes.items[0].in[1], d->graph->nodes.items[1].in[1]));
    CHECK_INT(t, d->graph->tensors.len, 1);
    om_doc_close(d);
    om_graph_free(g);
    om_buf_release(&text);
    om_error_release(&err);
    om_arena_release(&a);
}

const struct test_entry t_fuse_clean[] = { { "patterns", patterns },
                                           { "tensors", tensors },
                                           TEST_END };
