/* tests/unit/t_fuse_embed.c: EmbedLayerNormalization, and what only looks like it. */
#include "fuse_case.h"

#define TOKENS "in ids i64 B,S 9; weight w f32 9,8; op a Gather w,ids axis=0; "
#define SEGMENTS "in seg i64 B,S 2; weight t f32 2,8; op b Gather t,seg axis=0; "
#define TABLE "weight p f32 16,8; "
#define EXTENT "op sh Shape ids start=1; "
#define SCALAR "const i0 i64 1 0; op s Squeeze sh,i0; const z i64 - 0; const one i64 - 1; "
#define RANGE EXTENT SCALAR "op r Range z,s,one; op c Gather p,r axis=0; "
#define UP "const up i64 1,16 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15; "
#define SLICE(from)                                                              \
    EXTENT "const from i64 1 " from "; const ax i64 1 1; op until Add sh,from; " \
           "op r Slice up,from,until,ax; op c Gather p,r axis=0; "
#define NORM "weight g f32 8; weight h f32 8; op n LayerNormalization x,g,h axis=-1 epsilon=0.001; "
#define END "op y Exp n; out y"

static const struct fuse_case cases[] = {
    { "tokens, segments, counted positions",
      TOKENS SEGMENTS TABLE RANGE "op u Add a,b; op x Add u,c; " NORM END,
      "EmbedLayerNormalization", 1, 2 | FUSE_EMBED, 18 },
    { "all nodes", TOKENS SEGMENTS TABLE RANGE "op u Add a,b; op x Add u,c; " NORM END, NULL, 4,
      2 | FUSE_EMBED, 18 },
    { "not unless asked for", TOKENS SEGMENTS TABLE RANGE "op u Add a,b; op x Add u,c; " NORM END,
      "EmbedLayerNormalization", 0, 2, 18 },
    { "without segments, positions first", TOKENS TABLE RANGE "op x Add c,a; " NORM END,
      "EmbedLayerNormalization", 1, 2 | FUSE_EMBED, 18 },
    { "positions from a list", TOKENS TABLE UP SLICE("0") "op x Add a,c; " NORM END, NULL, 3,
      2 | FUSE_EMBED, 18 },
    { "positions from a list, but later ones", TOKENS TABLE UP SLICE("2") "op x Add a,c; " NORM END,
      "Slice", 1, 2 | FUSE_EMBED, 18 },
    { "a list that does not count",
      TOKENS TABLE "const up i64 1,8 0,1,2,4,3,5,6,7; " SLICE("0") "op x Add a,c; " NORM END,
      "Slice", 1, 2 | FUSE_EMBED, 18 },
    { "positions as an input",
      TOKENS TABLE "in pos i64 B,S 16; op c Gather p,pos axis=0; op x Add a,c; " NORM END,
      "EmbedLayerNormalization", 1, 2 | FUSE_EMBED, 18 },
    { "rows are normalized",
      TOKENS TABLE RANGE "op v Add a,c; const rows i64 2 -1,8; op x Reshape v,rows; " NORM END,
      "EmbedLayerNormalization", 1, 2 | FUSE_EMBED, 18 },
    { "32-bit ids",
      "in ids i32 B,S 9; weight w f32 9,8; op a Gather w,ids axis=0; " TABLE RANGE
      "op x Add a,c; " NORM END,
      "Cast", 0, 2 | FUSE_EMBED, 18 },
    { "a sum that is read again",
      TOKENS SEGMENTS TABLE RANGE "op u Add a,b; op x Add u,c; " NORM "op y Add n,x; out y",
      "EmbedLayerNormalization", 0, 2 | FUSE_EMBED, 18 },
    { "a fourth table",
      TOKENS SEGMENTS TABLE RANGE
      "weight q f32 9,8; op d Gather q,ids axis=0; op u Add a,b; op v Add u,d; op x Add v,c; " NORM
          END,
      "EmbedLayerNormalization", 0, 2 | FUSE_EMBED, 18 },
    { "features of tokens",
      "in ids i64 B,S 9; in f f32 B,S,8; " TABLE RANGE "op x Add f,c; " NORM END,
      "EmbedLayerNormalization", 0, 2 | FUSE_EMBED, 18 },
    { "a norm without a shift",
      TOKENS TABLE RANGE "op x Add a,c; weight g f32 8; op n LayerNormalization x,g axis=-1; " END,
      "EmbedLayerNormalization", 0, 2 | FUSE_EMBED, 18 },
};

static void patterns(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(cases); i++)
        fuse_case_run(t, &cases[i]);
}

const struct test_entry t_fuse_embed[] = { { "patterns", patterns }, TEST_END };
