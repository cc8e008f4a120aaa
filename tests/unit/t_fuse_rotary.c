/* tests/unit/t_fuse_rotary.c: rotary embeddings become one operator, and what only looks like them
 * stays. */
#include "fuse_case.h"
#include "test.h"

#define QUERIES "in q f32 B,2,S,4; "
#define ANGLES "in g f32 B,S,2; op gg Concat g,g axis=-1; "
#define TABLES "op co Cos gg; op si Sin gg; "
#define FOR_HEADS "const h1 i64 1 1; op cu Unsqueeze co,h1; op su Unsqueeze si,h1; "
#define SLICES                                                                              \
    "const zero i64 1 0; const two i64 1 2; const end i64 1 9223372036854775807; const ax " \
    "i64 1 3; op s1 Slice q,zero,two,ax; op s2 Slice q,two,end,ax; "
#define TURNED "op n Neg s2; op r Concat n,s1 axis=-1; "
#define SUM(x, turned) "op m1 Mul " x ",cu; op m2 Mul " turned ",su; op y Add m1,m2; out y"
#define ROTARY QUERIES ANGLES TABLES FOR_HEADS SLICES TURNED SUM("q", "r")
/* with the sign in the table */
#define SPLIT                                                                                 \
    "const two i64 2 2,2; op s1,s2 Split q,two axis=-1; op r Concat s2,s1 axis=-1; in g f32 " \
    "B,S,2; op c Cos g; op s Sin g; op n Neg s; op co Concat c,c axis=-1; op si Concat n,s "  \
    "axis=-1; "

static const struct fuse_case cases[] = {
    { "halves by Slice", ROTARY, "RotaryEmbedding", 1, 2, 18 },
    { "halves by Slice, one operator", ROTARY, "Mul", 0, 2, 18 },
    { "halves by Split", QUERIES SPLIT FOR_HEADS SUM("q", "r"), "RotaryEmbedding", 1, 2, 18 },
    { "scaled tables",
      QUERIES ANGLES "op c0 Cos gg; op i0 Sin gg; const f f32 - 1.5; op co Mul c0,f; op si Mul "
                     "i0,f; " FOR_HEADS SLICES TURNED SUM("q", "r"),
      "RotaryEmbedding", 1, 2, 18 },
    { "two of the same tables",
      ROTARY "; const tt i64 2 2,2; op t1,t2 Split y,tt axis=-1; op tn Neg t2; op tr Concat tn,t1 "
             "axis=-1; op u1 "
             "Mul y,cu; op u2 Mul tr,su; op w Add u1,u2; out w",
      "Range", 1, 2, 18 },
    { "not before opset 15", ROTARY, "RotaryEmbedding", 0, 2, 14 },
    { "not at O1", ROTARY, "RotaryEmbedding", 0, 1, 18 },
    { "the sign on the other half",
      QUERIES ANGLES TABLES FOR_HEADS SLICES
      "op n Neg s1; op r Concat s2,n axis=-1; " SUM("q", "r"),
      "RotaryEmbedding", 0, 2, 18 },
    { "no sign", QUERIES ANGLES TABLES FOR_HEADS SLICES "op r Concat s2,s1 axis=-1; " SUM("q", "r"),
      "RotaryEmbedding", 0, 2, 18 },
    { "halves in their order",
      QUERIES ANGLES TABLES FOR_HEADS SLICES
      "op n Neg s1; op r Concat n,s2 axis=-1; " SUM("q", "r"),
      "RotaryEmbedding", 0, 2, 18 },
    { "parts that are no halves",
      QUERIES ANGLES TABLES FOR_HEADS
      "const zero i64 1 0; const one i64 1 1; const three i64 1 3; const ax i64 1 3; const end i64 "
      "1 4; op s1 Slice q,zero,three,ax; op s2 Slice q,three,end,ax; op n Neg s2; op r Concat n,s1 "
      "axis=-1; " SUM("q", "r"),
      "RotaryEmbedding", 0, 2, 18 },
    { "halves of another",
      QUERIES "in p f32 B,2,S,4; " ANGLES TABLES FOR_HEADS SLICES TURNED SUM("p", "r"),
      "RotaryEmbedding", 0, 2, 18 },
    { "different halves of the table",
      QUERIES "in g f32 B,S,2; in g2 f32 B,S,2; op gg Concat g,g2 axis=-1; " TABLES FOR_HEADS SLICES
          TURNED SUM("q", "r"),
      "RotaryEmbedding", 0, 2, 18 },
    { "a table for all texts",
      QUERIES
      "in g f32 1,S,2; op gg Concat g,g axis=-1; " TABLES FOR_HEADS SLICES TURNED SUM("q", "r"),
      "RotaryEmbedding", 1, 2, 18 },
    { "a table for all texts, without an axis for heads",
      QUERIES "in g f32 1,S,2; op gg Concat g,g axis=-1; op cu Cos gg; op su Sin gg; " SLICES TURNED
          SUM("q", "r"),
      "RotaryEmbedding", 1, 2, 18 },
    { "a table for every text, without an axis for heads",
      QUERIES "in g f32 2,S,2; op gg Concat g,g axis=-1; op cu Cos gg; op su Sin gg; " SLICES TURNED
          SUM("q", "r"),
      "RotaryEmbedding", 0, 2, 18 },
    { "a table for every head",
      QUERIES
      "in g f32 B,2,S,2; op gg Concat g,g axis=-1; op cu Cos gg; op su Sin gg; " SLICES TURNED SUM(
          "q", "r"),
      "RotaryEmbedding", 0, 2, 18 },
    { "a difference",
      QUERIES ANGLES TABLES FOR_HEADS SLICES TURNED
      "op m1 Mul q,cu; op m2 Mul r,su; op y Sub m1,m2; out y",
      "RotaryEmbedding", 0, 2, 18 },
    { "queries and keys of attention",
      "in x f32 B,S,8; weight wq f32 8,8; weight wk f32 8,8; weight wv f32 8,8; op q1 MatMul x,wq; "
      "op k1 MatMul x,wk; op v1 MatMul x,wv; const sp i64 4 0,0,2,4; op q2 Reshape q1,sp; op q "
      "Transpose q2 perm=[0,2,1,3]; op k2 Reshape k1,sp; op k Transpose k2 perm=[0,2,1,3]; op v2 "
      "Reshape v1,sp; op v Transpose v2 perm=[0,2,1,3]; " ANGLES TABLES FOR_HEADS SLICES TURNED
      "op m1 Mul q,cu; op m2 Mul r,su; op qr Add m1,m2; op t1 Slice k,zero,two,ax; op t2 Slice "
      "k,two,end,ax; op tn Neg t2; op tr Concat tn,t1 axis=-1; op u1 Mul k,cu; op u2 Mul tr,su; op "
      "kr Add u1,u2; op kt Transpose kr perm=[0,1,3,2]; op a0 MatMul qr,kt; const c f32 - 0.5; op "
      "a "
      "Mul a0,c; op p Softmax a axis=-1; op o0 MatMul p,v; op o1 Transpose o0 perm=[0,2,1,3]; "
      "const "
      "j i64 3 0,0,8; op y Reshape o1,j; out y",
      "Transpose", 0, 2, 18 },
};

static void patterns(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(cases); i++)
        fuse_case_run(t, &cases[i]);
}

const struct test_entry t_fuse_rotary[] = { { "patterns", patterns }, TEST_END };
