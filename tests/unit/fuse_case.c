/* tests/unit/fuse_case.c: see fuse_case.h. */
#include "unit/fuse_case.h"

#include <math.h>

#include "fuse/fuse.h"
#include "onnx/onnx.h"
#include "ref/model.h"
#include "ref/ref.h"
#include "unit/graph_text.h"

struct counting {
    const char *op; /* NULL: any */
    size_t n;
};

static int count(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct counting *const c = user;

    (void)err;
    for (size_t i = 0; i < g->nodes.len; i++)
        c->n += !c->op || om_sv_is(g->nodes.items[i].op, c->op);
    return 0;
}

double fuse_distance(const struct om_tensor *a, const struct om_tensor *b)
{
    int64_t n;
    double worst = 0;

    if (a->dtype != b->dtype || a->rank != b->rank || !om_count(a->dims, a->rank, &n))
        return INFINITY;
    if (a->rank > 0 && memcmp(a->dims, b->dims, a->rank * sizeof(*a->dims)) != 0)
        return INFINITY;
    if (a->dtype != OM_F32)
        return memcmp(a->data, b->data, (size_t)n * om_dtype_size(a->dtype)) == 0 ? 0 : INFINITY;
    for (int64_t i = 0; i < n; i++)
        worst = fmax(
            worst, fabs((double)((const float *)a->data)[i] - (double)((const float *)b->data)[i]));
    return worst;
}

/* The document gives what the graph gives. */
static void compare(struct test *t, struct om_arena *a, const struct om_graph *g, struct om_doc *d,
                    const char *symbols, double tolerance)
{
    struct om_tensor *in = graph_inputs(t, a, g, symbols), *want = NULL, *got = NULL;
    const struct om_ref_model_opts opts = { .ctx = NULL };
    struct om_error err = OM_ERROR_INIT;
    struct om_ref_model *m = NULL;
    size_t n_want = 0, n_got = 0;

    CHECK_OK(t, om_ref_run(g, in, g->n_inputs, NULL, a, &want, &n_want, &err), &err);
    CHECK_OK(t, om_ref_model_new(d, &m, &err), &err);
    if (m)
        CHECK_OK(t, om_ref_model_run(m, in, g->n_inputs, &opts, a, &got, &n_got, &err), &err);
    CHECK_INT(t, n_got, n_want);
    for (size_t i = 0; i < n_got && i < n_want; i++)
        CHECK(t, fuse_distance(&want[i], &got[i]) <= tolerance);
    om_error_release(&err);
}

void fuse_case_run(struct test *t, const struct fuse_case *c)
{
    static const char *const levels[] = { "O1", "O2", "O3" };
    const struct om_onnx_opts opts = { .opset = c->opset };
    struct om_arena a = OM_ARENA_INIT(64u << 20);
    struct om_buf text = OM_BUF_INIT(1u << 20);
    struct om_optimize_config config;
    struct om_error err = OM_ERROR_INIT;
    struct counting found = { .op = c->op };
    struct om_doc *d = NULL;
    struct om_graph *g;
    struct om_file shell;
    size_t fused;

    test_case(t, "%s", c->name);
    g = graph_text(t, &a, c->text);
    if (!g)
        return;
    CHECK_OK(t, om_optimize_level(levels[(c->level & 3) - 1], &config, &err), &err);
    config.disable_embed_layer_norm = (c->level & FUSE_EMBED) == 0;
    config.disable_attention = (c->level & FUSE_NO_ATTENTION) != 0;
    config.use_multi_head_attention = (c->level & FUSE_HEADS) != 0;
    config.use_mask_index = (c->level & FUSE_INDEX) != 0;
    config.no_attention_mask = (c->level & FUSE_NO_MASK) != 0;
    CHECK_OK(t, om_onnx_write_shell(g, &opts, &text, &err), &err);
    shell = (struct om_file){ .fd = -1, .data = (const uint8_t *)text.ptr, .size = text.len };
    CHECK_OK(t, om_doc_parse_shell(&a, &shell, g, &d, &err), &err);
    CHECK_OK(t, om_fuse_doc(d, &config, &fused, &err), &err);
    om_doc_walk(d->graph, count, &found, &err);
    CHECK_INT(t, found.n, c->count);
    if ((c->level & (FUSE_INDEX | FUSE_NO_MASK)) == 0) {
        compare(t, &a, g, d, "B=2,S=3,P=4", (c->level & 3) == 3 ? 1e-3 : 1e-5);
        compare(t, &a, g, d, "B=1,S=1,P=0", (c->level & 3) == 3 ? 1e-3 : 1e-5);
    }
    om_doc_close(d);
    om_graph_free(g);
    om_buf_release(&text);
    om_error_release(&err);
    om_arena_release(&a);
}
