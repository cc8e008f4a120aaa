/* tests/fault/t_fault_lower.c: lowering and passes give a graph or an error, whichever allocation
 * fails, and leave nothing behind. */
#include "fault.h"
#include "lower/lower.h"
#include "pass/pass.h"

#include "unit/graph_text.h"

struct lowering {
    const struct om_graph *g;
    int opset;
};

static int lower_and_pass(void *user, struct om_error *err)
{
    const struct lowering *w = user;
    const struct om_lower_opts opts = { .opset = w->opset };
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

const struct test_entry t_fault_lower[] = { { "lowering", lowering }, TEST_END };
