/* tests/unit/t_fuse_attention.c: attention becomes one operator where it is attention, and stays
 * where something is different. */
#include "fuse_case.h"
#include "test.h"

#define WEIGHTS                                                                         \
    "weight wq f32 8,8; weight wk f32 8,8; weight wv f32 8,8; weight bq f32 8; weight " \
    "bk f32 8; weight bv f32 8; "
#define PRODUCTS(x, z) "op q0 MatMul " x ",wq; op k0 MatMul " z ",wk; op v0 MatMul " z ",wv; "
#define SUMS "op q1 Add q0,bq; op k1 Add k0,bk; op v1 Add bv,v0; "
#define INPUT "in x f32 B,S,8; " WEIGHTS PRODUCTS("x", "x") SUMS
#define SPLIT(kperm)                                                                          \
    "const sp i64 4 0,0,2,4; op q2 Reshape q1,sp; op q3 Transpose q2 perm=[0,2,1,3]; op k2 "  \
    "Reshape k1,sp; op k3 Transpose k2 perm=" kperm "; op v2 Reshape v1,sp; op v3 Transpose " \
    "v2 perm=[0,2,1,3]; "
#define HEADS SPLIT("[0,2,3,1]")
#define SCORES "const c f32 - 0.3; op a0 MatMul q3,k3; op a1 Mul a0,c; "
#define VALUES(probabilities) "op o0 MatMul " probabilities ",v3; "
#define JOIN "op o1 Transpose o0 perm=[0,2,1,3]; const j i64 3 0,0,8; op y Reshape o1,j; out y"
#define END(scores) "op p Softmax " scores " axis=-1; " VALUES("p") JOIN
#define ZEROS "const z f32 - 0; const low f32 - -3.4028235e38; "
#define TOKENS(name, yes, no)                                                        \
    "in " name " i64 B,S 2; const ax i64 2 1,2; op m1 Unsqueeze " name ",ax; const " \
    "one i64 - 1; op m2 Equal m1,one; " ZEROS "op m Where m2," yes "," no "; op a2 Add a1,m; "
#define SCALED(perm, scale) \
    SPLIT(perm) "const c f32 - 0.5; op qs " scale " q3,c; op ks Mul k3,c; op a1 MatMul qs,ks; "
/* keys and values after those of the past */
#define PAST                                                                               \
    "in pk f32 B,2,P,4; in pv f32 B,2,P,4; op k4 Concat pk,k3 axis=2; op v4 Concat pv,v3 " \
    "axis=-2; op kt Transpose k4 perm=[0,1,3,2]; "
#define PAST_SCORES "const c f32 - 0.3; op a0 MatMul q3,kt; op a1 Mul a0,c; "
#define PAST_END(scores) \
    "op p Softmax " scores " axis=-1; op o0 MatMul p,v4; " JOIN "; out k4; out v4"
#define FLAT_LAYERS(gemm) \
    "op q1 Gemm xf,wq,bq" gemm "; op k1 Gemm xf,wk,bk" gemm "; op v1 Gemm xf,wv,bv" gemm "; "
#define FLAT                                                                                  \
    "in x f32 B,S,8; const fl i64 2 -1,8; op xf Reshape x,fl; op bs Shape x end=2; const nd " \
    "i64 2 2,4; op sp Concat bs,nd axis=0; " WEIGHTS
#define FLAT_HEADS                                                                        \
    "op q2 Reshape q1,sp; op q3 Transpose q2 perm=[0,2,1,3]; op k2 Reshape k1,sp; op k3 " \
    "Transpose k2 perm=[0,2,3,1]; op v2 Reshape v1,sp; op v3 Transpose v2 perm=[0,2,1,3]; "
#define FLAT_END                                                                            \
    "op p Softmax a1 axis=-1; op o0 MatMul p,v3; op o1 Transpose o0 perm=[0,2,1,3]; op of " \
    "Reshape o1,fl; weight wo f32 8,8; op yf Gemm of,wo; const w8 i64 1 8; op j Concat "    \
    "bs,w8 axis=0; op y Reshape yf,j; out y"
#define PACKED(order)                                                                 \
    "in x f32 B,S,8; weight w f32 8,24; weight b f32 24; op t0 MatMul x,w; op t Add " \
    "t0,b; const sz i64 3 8,8,8; op " order " Split t,sz axis=-1; "

static const struct fuse_case cases[] = {
    { "attention", INPUT HEADS SCORES END("a1"), "Attention", 1, 2, 18 },
    { "attention, all of it", INPUT HEADS SCORES END("a1"), NULL, 1, 2, 18 },
    { "not at O1", INPUT HEADS SCORES END("a1"), "Attention", 0, 1, 18 },
    { "disabled", INPUT HEADS SCORES END("a1"), "Attention", 0, 2 | FUSE_NO_ATTENTION, 18 },
    { "as the other operator", INPUT HEADS SCORES END("a1"), "MultiHeadAttention", 1,
      2 | FUSE_HEADS, 18 },
    { "keys turned twice",
      INPUT SPLIT("[0,2,1,3]") "op k4 Transpose k3 perm=[0,1,3,2]; const c "
                               "f32 - 0.3; op a0 MatMul q3,k4; op a1 Mul "
                               "a0,c; " END("a1"),
      "Attention", 1, 2, 18 },
    { "scales on both sides", INPUT SCALED("[0,2,3,1]", "Mul") END("a1"), "Attention", 1, 2, 18 },
    { "a divisor", INPUT SCALED("[0,2,3,1]", "Div") END("a1"), "Attention", 1, 2, 18 },
    { "without biases",
      "in x f32 B,S,8; " WEIGHTS "op q1 MatMul x,wq; op k1 MatMul x,wk; op v1 MatMul "
      "x,wv; " HEADS SCORES END("a1"),
      "Attention", 1, 2, 18 },
    { "one bias of three",
      "in x f32 B,S,8; " WEIGHTS "op q0 MatMul x,wq; op q1 Add q0,bq; op k1 MatMul x,wk; op v1 "
      "MatMul x,wv; " HEADS SCORES END("a1"),
      NULL, 1, 2, 18 },
    { "keys of another tensor",
      "in x f32 B,S,8; in u f32 B,5,8; " WEIGHTS PRODUCTS("x", "u") SUMS HEADS SCORES END("a1"),
      "MultiHeadAttention", 1, 2, 18 },
    { "biases within the operator",
      "in x f32 B,S,8; in u f32 B,5,8; " WEIGHTS PRODUCTS("x", "u") SUMS HEADS SCORES END("a1"),
      "Add", 0, 2, 18 },
    { "weights that are packed", PACKED("q1,k1,v1") HEADS SCORES END("a1"), NULL, 1, 2, 18 },
    { "packed in another order", PACKED("q1,v1,k1") HEADS SCORES END("a1"), "MultiHeadAttention", 1,
      2, 18 },
    { "packed, keys read by others",
      PACKED("q1,k1,v1") HEADS SCORES END("a1") "; op h Exp k1; out "
                                                "h",
      "Attention", 1, 2, 18 },

    { "a mask of tokens", INPUT HEADS SCORES TOKENS("attention_mask", "z", "low") END("a2"),
      "Attention", 1, 2, 18 },
    { "a mask of tokens, as it is",
      INPUT HEADS SCORES TOKENS("attention_mask", "z", "low") END("a2"), NULL, 2, 2, 18 },
    { "... as a number of tokens",
      INPUT HEADS SCORES TOKENS("attention_mask", "z", "low") END("a2"), "ReduceSum", 1,
      2 | FUSE_INDEX, 18 },
    { "... left out", INPUT HEADS SCORES TOKENS("attention_mask", "z", "low") END("a2"), NULL, 1,
      2 | FUSE_NO_MASK, 18 },
    { "integers that are no mask", INPUT HEADS SCORES TOKENS("kinds", "z", "low") END("a2"),
      "Softmax", 1, 2, 18 },
    { "a mask, inverted", INPUT HEADS SCORES TOKENS("attention_mask", "low", "z") END("a2"),
      "Softmax", 1, 2, 18 },
    { "a mask of bools",
      INPUT HEADS SCORES "in keep bool B,S; const ax i64 2 1,2; op m1 Unsqueeze keep,ax; " ZEROS
                         "op m Where m1,z,low; op a2 Add a1,m; " END("a2"),
      "Attention", 1, 2, 18 },
    { "a mask by arithmetic",
      INPUT HEADS SCORES
      "in attention_mask i64 B,S 2; const ax i64 2 1,2; op m1 Unsqueeze attention_mask,ax; op m2 "
      "Cast m1 to=f32; const one f32 - 1; op m3 Sub one,m2; const low f32 - -100; op m Mul "
      "m3,low; op a2 Add a1,m; " END("a2"),
      NULL, 2, 2, 18 },
    { "a mask on another axis",
      INPUT HEADS SCORES "in keep bool B,S; const ax i64 2 1,3; op m1 Unsqueeze keep,ax; " ZEROS
                         "op m Where m1,z,low; op a2 Add a1,m; " END("a2"),
      "Softmax", 1, 2, 18 },

    { "a bias of scores", INPUT HEADS SCORES "in m f32 B,1,S,S; op a2 Add m,a1; " END("a2"),
      "Attention", 1, 2, 18 },
    { "a bias of heads", INPUT HEADS SCORES "in m f32 1,2,S,S; op a2 Add a1,m; " END("a2"),
      "Attention", 1, 2, 18 },
    { "a bias of keys alone", INPUT HEADS SCORES "in m f32 B,1,1,S; op a2 Add a1,m; " END("a2"),
      "Softmax", 1, 2, 18 },
    { "a bias of three axes", INPUT HEADS SCORES "in m f32 2,S,S; op a2 Add a1,m; " END("a2"),
      "Softmax", 1, 2, 18 },
    { "two biases",
      INPUT HEADS SCORES
      "in m f32 1,2,S,S; in n f32 B,1,S,S; op a2 Add a1,m; op a3 Add a2,n; " END("a3"),
      "Attention", 1, 2, 18 },
    { "a bias, and a scale after it",
      INPUT HEADS SCORES "in m f32 B,1,S,S; op a2 Add m,a1; op a3 Mul a2,c; " END("a3"), "Softmax",
      1, 2, 18 },
    { "a choice of scores",
      INPUT HEADS SCORES ZEROS "in k9 bool 1,1,S,S; op a2 Where k9,a1,low; " END("a2"), "Attention",
      1, 2, 18 },
    { "a choice between scores and a small number",
      INPUT HEADS SCORES
      "const low f32 - -10000; in k9 bool 1,1,S,S; op a2 Where k9,a1,low; " END("a2"),
      "Softmax", 1, 2, 18 },
    { "rows that are zeroed",
      INPUT HEADS SCORES "in r f32 B,1,S,1; op p Softmax a1 axis=-1; op oo MatMul p,v3; op o0 Mul "
                         "oo,r; " JOIN,
      "Attention", 1, 2, 18 },
    { "heads that are weighted",
      INPUT HEADS SCORES "in r f32 B,2,S,1; op p Softmax a1 axis=-1; op oo MatMul p,v3; op o0 Mul "
                         "oo,r; " JOIN,
      "Softmax", 1, 2, 18 },

    { "another axis", INPUT HEADS SCORES "op p Softmax a1 axis=2; " VALUES("p") JOIN, "Softmax", 1,
      2, 18 },
    { "heads in another order",
      INPUT HEADS SCORES "op p Softmax a1 axis=-1; " VALUES(
          "p") "op o1 Transpose o0 perm=[0,2,3,1]; const j i64 3 0,0,8; op y Reshape o1,j; out y",
      "Softmax", 1, 2, 18 },
    { "probabilities that are an output", INPUT HEADS SCORES END("a1") "; out p", "Softmax", 1, 2,
      18 },
    { "scores that are an output", INPUT HEADS SCORES END("a1") "; out a0", "Softmax", 1, 2, 18 },
    { "a scale of its own for every key",
      INPUT HEADS "in c f32 S; op a0 MatMul q3,k3; op a1 Mul a0,c; " END("a1"), "Softmax", 1, 2,
      18 },
    { "queries that are no product",
      "in x f32 B,S,8; " WEIGHTS PRODUCTS("x", "x") "op q1 Exp q0; op k1 Add k0,bk; op v1 Add "
                                                    "bv,v0; " HEADS SCORES END("a1"),
      "MultiHeadAttention", 1, 2, 18 },

    { "a past", INPUT SPLIT("[0,2,1,3]") PAST PAST_SCORES PAST_END("a1"), "MultiHeadAttention", 1,
      2, 18 },
    { "a past within the operator", INPUT SPLIT("[0,2,1,3]") PAST PAST_SCORES PAST_END("a1"),
      "Concat", 0, 2, 18 },
    { "a bias that comes from the keys",
      INPUT SPLIT("[0,2,1,3]") PAST PAST_SCORES
      "op n3 Neg q3; op b0 MatMul n3,kt; op b1 Tanh b0; op a2 Add a1,b1; " PAST_END("a2"),
      "MultiHeadAttention", 1, 2, 18 },
    { "... whose past stays outside",
      INPUT SPLIT("[0,2,1,3]") PAST PAST_SCORES
      "op n3 Neg q3; op b0 MatMul n3,kt; op b1 Tanh b0; op a2 Add a1,b1; " PAST_END("a2"),
      "Concat", 2, 2, 18 },
    { "keys that are an output",
      INPUT HEADS SCORES END("a1") "; op k9 Transpose k2 "
                                   "perm=[0,2,1,3]; out k9; out v3",
      NULL, 4, 2, 18 },

    { "flattened layers", FLAT FLAT_LAYERS("") FLAT_HEADS SCORES FLAT_END, "Attention", 1, 2, 18 },
    { "flattened layers, all of it", FLAT FLAT_LAYERS("") FLAT_HEADS SCORES FLAT_END, NULL, 2, 2,
      18 },
    { "flattened layers, turned", FLAT FLAT_LAYERS(" transB=1") FLAT_HEADS SCORES FLAT_END, NULL, 2,
      2, 18 },
    { "flattened layers with a factor", FLAT FLAT_LAYERS(" alpha=0.5") FLAT_HEADS SCORES FLAT_END,
      "Attention", 0, 2, 18 },
    { "rows that others read", FLAT FLAT_LAYERS("") FLAT_HEADS SCORES FLAT_END "; out q1",
      "Attention", 1, 2, 18 },
    { "rows that are normalized",
      "in x f32 B,S,8; const fl i64 2 -1,8; op xf Reshape x,fl; weight g f32 8; op a "
      "LayerNormalization xf,g axis=1; weight w f32 8,8; op b Gemm a,w; op c Relu b; op d Add c,a; "
      "op bs Shape x end=2; const w8 i64 1 8; op j Concat bs,w8 axis=0; op y Reshape d,j; out y",
      "Reshape", 0, 2, 18 },
    { "rows that are summed over",
      "in x f32 B,S,8; const fl i64 2 -1,8; op xf Reshape x,fl; weight w f32 8,8; op b Gemm xf,w; "
      "const ax i64 1 0; op y ReduceSum b,ax keepdims=0; out y",
      "Reshape", 1, 2, 18 },
    { "rows of texts the other way round",
      "in x f32 B,S,8; in z f32 S,B,8; const fl i64 2 -1,8; op xf Reshape x,fl; op zf Reshape "
      "z,fl; "
      "weight w f32 8,8; op g Gemm xf,w; op y Add g,zf; out y",
      "Add", 1, 2, 18 },
    { "keys that are the values",
      "in x f32 B,S,8; " WEIGHTS
      "op q1 MatMul x,wq; op k1 MatMul x,wk; const sp i64 4 0,0,2,4; op q2 Reshape q1,sp; op q3 "
      "Transpose q2 perm=[0,2,1,3]; op k2 Reshape k1,sp; op k3 Transpose k2 perm=[0,2,3,1]; op v3 "
      "Transpose k2 perm=[0,2,1,3]; " SCORES END("a1"),
      "Attention", 1, 2, 18 },
    { "packed, with a past, and keys that others read",
      PACKED("q1,k1,v1") SPLIT("[0,2,1,3]") PAST PAST_SCORES PAST_END("a1") "; op h Exp k2; out h",
      "MultiHeadAttention", 1, 2, 18 },
    { "old operators", INPUT HEADS SCORES END("a1"), "Attention", 1, 2, 14 },
};

static void patterns(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(cases); i++)
        fuse_case_run(t, &cases[i]);
}

const struct test_entry t_fuse_attention[] = { { "patterns", patterns }, TEST_END };
