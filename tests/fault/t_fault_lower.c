/* tests/fault/t_fault_lower.c: lowering and passes give a graph or an error, whichever allocation
 * fails, and leave nothing behind. */
#include "fault.h"
#include "lower/lower.h"
#include "pass/pass.h"

#include "unit/graph_text.h"

struct lowering {
    const struct om_graph *g;
    int opset;
    enum om_lower_target target;
};

static int lower_and_pass(void *user, struct om_error *err)
{
    const struct lowering *w = user;
    const struct om_lower_opts opts = { .opset = w->opset, .target = w->target };
    struct om_graph *lowered = NULL, *small = NULL;
    int rc = om_lower(w->g, &opts, &lowered, err);

    if (rc == 0)
        rc = om_pass_run(lowered, OM_PASS_FOLD | OM_PASS_CSE, &small, err);
    om_graph_free(small);
    om_graph_free(lowered);
    return rc;
}

static const char text[] =
    "in i i64 B,S 10;in c bool -;weight e f32 10,8;weight g f32 8;weight w f32 8,8;weight b f32 8;"
    "op x Gather e,i;op y LayerNormalization x,g,b;op q Linear y,w,b transB=1;dims d B,S,2,4;"
    "op q Reshape q,d;op q Transpose q perm=[0,2,1,3];op a Attention q,q,q is_causal=1;"
    "op a Transpose a perm=[0,2,1,3];dims f B,S,8;op a Reshape a,f;op a Linear a,w transB=1;op x "
    "Add x,a;"
    "const k f32 - 3;op s Sqrt k;then;op h Gelu x;op h Mul h,s;give h;else;op n Mul x,s;give n;end "
    "z c;"
    "op l Linear z,e transB=1;out l";

static void lowering(struct test *t)
{
    static const int opsets[] = { 14, 23 };

    for (size_t i = 0; i < OM_COUNT(opsets); i++) {
        struct om_arena a = OM_ARENA_INIT((size_t)1 << 30);
        struct lowering w = { .g = graph_text(t, &a, text), .opset = opsets[i] };
        if (w.g)
            fault_sweep(t, FAULT_MEMORY, lower_and_pass, NULL, &w);
        om_graph_free((struct om_graph *)w.g);
        om_arena_release(&a);
    }
}

static const char decoder[] =
    "in x f32 B,S,64;in attention_mask i64 B,past+S 2;in m bool B,1,S,past+S;"
    "in past_key_values.0.key f32 B,2,past,16;in past_key_values.0.value f32 B,2,past,16;"
    "in position_ids i64 B,S 9;weight wq f32 64,64;weight wk f32 32,64;weight c f32 9,8;"
    "weight s f32 9,8;op q Linear x,wq transB=1;op k Linear x,wk transB=1;dims dq B,S,4,16;"
    "dims dk B,S,2,16;op q Reshape q,dq;op q Transpose q perm=[0,2,1,3];op v Reshape k,dk;"
    "op v Transpose v perm=[0,2,1,3];op q RotaryEmbedding q,c,s,position_ids;"
    "op k RotaryEmbedding v,c,s,position_ids;op k Concat past_key_values.0.key,k axis=2;"
    "op v Concat past_key_values.0.value,v axis=2;op a Attention q,k,v,m causal_window=2;"
    "op a Transpose a perm=[0,2,1,3];dims f B,S,64;op a Reshape a,f;op y Linear a,wq transB=1;"
    "out y;out k;out v";

static void grouped(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT((size_t)1 << 30);
    struct lowering w = { .g = graph_text(t, &a, decoder), .target = OM_LOWER_GROUPED };

    if (w.g)
        fault_sweep(t, FAULT_MEMORY, lower_and_pass, NULL, &w);
    om_graph_free((struct om_graph *)w.g);
    om_arena_release(&a);
}

const struct test_entry t_fault_lower[] = { { "lowering", lowering },
                                            { "grouped", grouped },
                                            TEST_END };
