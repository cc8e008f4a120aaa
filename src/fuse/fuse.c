/* src/fuse/fuse.c: the order in which patterns are looked for. */
#include "fuse/fuse.h"

#include <stdlib.h>

#include "fuse/internal.h"

#define ROUNDS_MAX 10

/* In this order over the whole graph: what one rule makes, a later one takes.
 *
 * What decided the levels: DistilBERT base, ONNX Runtime 1.32's CPU provider with all of its own
 * optimizations, one thread, medians of processor time of interleaved runs, milliseconds for 16 and
 * 64 tokens. Plain operators: 20.4 and 60.4; with Gelu fused: 18.6 and 58.0; with
 * SkipLayerNormalization as well: 20.0 and 61.5; with FastGelu in place of Gelu, too: 19.3
 * and 60.7. Its kernel is scalar: 3.8 us for a row of 768 against 1.2 us of Add and
 * LayerNormalization, 3.2 against 1.15 us where the mean stays. So the residual sums stay apart
 * where a CPU is the target (om_optimize_for_cpu()) and the rest is used. Packed Attention is
 * neutral: 0.985 to 1.009 of the time of plain operators, BERT of 6 layers, 1 x 16 to 4 x 64
 * tokens; so is BiasGelu. */
static fz_rule *const first_rules[] = { fz_layer_norm, fz_rms_norm, fz_gelu, fz_quick_gelu, NULL };
static fz_rule *const rules[] = {
    fz_take_output, fz_embed_layer_norm, fz_rotary, fz_attention, fz_bias_gelu,
    fz_skip_norm,   fz_approximate_gelu, fz_trim,   NULL
};

/* What is known of shapes, anew. */
static int look(struct fuse *f)
{
    fz_shapes_free(f->known);
    f->known = NULL;
    OM_TRY(fz_shapes_new(f->d, &f->known, f->err));
    f->shapes = fz_shapes_graph(f->known);
    return 0;
}

static int clean_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct fuse *const f = user;
    int rc = fz_enter(f, g);

    (void)err;
    if (rc == 0)
        rc = fz_clean(f);
    fz_leave(f);
    return rc == 0 ? fz_resolve(f, g) : rc;
}

static int inline_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct fuse *const f = user;
    const size_t before = f->changes;
    int rc = fz_enter(f, g);

    (void)err;
    for (size_t i = 0; i < g->nodes.len && rc == 0; i++)
        rc = fz_inline_branch(f, &g->nodes.items[i]);
    fz_leave(f);
    if (rc < 0 || f->changes == before)
        return rc;
    OM_TRY(fz_merge(f, g));
    OM_TRY(fz_resolve(f, g));
    f->unsorted = true; /* by the names before */
    return fz_merge(f, g);
}

/* What a rule leaves unused goes before the next one asks who uses what. */
static int apply(struct fuse *f, struct om_doc_graph *g, fz_rule *rule)
{
    int rc = fz_enter(f, g);

    for (size_t i = 0; i < g->nodes.len && rc == 0; i++)
        if (!fz_is_dead(&g->nodes.items[i]) && g->nodes.items[i].n_out > 0)
            rc = rule(f, &g->nodes.items[i]);
    fz_leave(f);
    if (rc == 0)
        rc = fz_merge(f, g);
    if (rc == 0)
        fz_sweep(f, g);
    return rc;
}

static int apply_all(struct fuse *f, struct om_doc_graph *g, fz_rule *const *list)
{
    for (size_t i = 0; list[i]; i++)
        OM_TRY(apply(f, g, list[i]));
    return 0;
}

static int fuse_parts(void *user, struct om_doc_graph *g, struct om_error *err)
{
    (void)err;
    return apply_all(user, g, first_rules);
}

static int spread_rows(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct fuse *const f = user;
    int rc = fz_enter(f, g);

    (void)err;
    if (rc == 0)
        rc = fz_spread_rows(f);
    fz_leave(f);
    return rc == 0 ? fz_merge(f, g) : rc;
}

static int fuse_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    (void)err;
    return apply_all(user, g, rules);
}

/* Shapes that were noted for values which are made no more, or have another shape now. */
static int drop_notes(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct fuse *const f = user;
    size_t kept = 0;
    int rc = fz_enter(f, g);

    (void)err;
    for (size_t i = 0; i < g->values.len && rc == 0; i++)
        if (om_map_get(&f->makers, g->values.items[i].name, NULL) &&
            fz_shapes_agree(f->known, g, &g->values.items[i]))
            g->values.items[kept++] = g->values.items[i];
    if (rc == 0)
        g->values.len = kept;
    fz_leave(f);
    return rc;
}

/* What one round leaves, the next one sees with new eyes. */
static int clean(struct fuse *f)
{
    const size_t fused = f->fused; /* no pattern is replaced here */
    size_t before;
    int round = 0;

    do {
        before = f->changes;
        OM_TRY(look(f));
        om_doc_types_free(f->types);
        f->types = NULL;
        OM_TRY(om_doc_types_new(f->d, &f->types, f->err));
        OM_TRY(om_doc_walk(f->d->graph, inline_graph, f, f->err));
        OM_TRY(om_doc_walk(f->d->graph, clean_graph, f, f->err));
        OM_TRY(fz_count_uses(f));
        fz_sweep(f, f->d->graph);
    } while (f->changes > before && ++round < ROUNDS_MAX);
    f->fused = fused;
    return look(f);
}

static int unflatten_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    (void)err;
    return apply(user, g, fz_unflatten);
}

static int find_attention(void *user, struct om_doc_graph *g, struct om_error *err)
{
    bool *const found = user;

    (void)err;
    for (size_t i = 0; i < g->nodes.len; i++)
        *found = *found || fz_is(&g->nodes.items[i], "com.microsoft", "Attention") ||
                 fz_is(&g->nodes.items[i], "com.microsoft", "MultiHeadAttention");
    return 0;
}

/* Attention that came fused, beside sums that stay apart: nothing needs other axes than layers
 * have, and a Gemm on rows is faster than a product and a sum (figures: lower/packed_attention.c).
 */
static bool keeps_rows(const struct fuse *f)
{
    bool fused = false;

    if (f->config->disable_skip_layer_norm)
        om_doc_walk(f->d->graph, find_attention, &fused, NULL);
    return fused;
}

/* Layers in the form that patterns have. */
static int prepare(struct fuse *f)
{
    const size_t before = f->changes;

    OM_TRY(om_doc_walk(f->d->graph, unflatten_graph, f, f->err));
    return f->changes > before ? clean(f) : 0;
}

static int fuse(struct fuse *f)
{
    OM_TRY(om_doc_walk(f->d->graph, fuse_parts, f, f->err));
    if (!f->config->disable_attention && !keeps_rows(f)) {
        OM_TRY(om_doc_walk(f->d->graph, spread_rows, f, f->err));
        fz_sweep(f, f->d->graph);
        OM_TRY(clean(f));
    }
    return om_doc_walk(f->d->graph, fuse_graph, f, f->err);
}

/* Last, as patterns read the axes that go here. */
static int drop_led_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    (void)err;
    return apply(user, g, fz_drop_led);
}

static int finish(struct fuse *f)
{
    OM_TRY(look(f));
    OM_TRY(om_doc_walk(f->d->graph, drop_led_graph, f, f->err));
    fz_sweep(f, f->d->graph);
    return om_doc_walk(f->d->graph, drop_notes, f, f->err);
}

static int run(struct fuse *f)
{
    OM_TRY(clean(f));
    if (f->config->enable_transformers_specific_optimizations && !keeps_rows(f))
        OM_TRY(prepare(f));
    f->fused = 0;
    if (f->config->enable_transformers_specific_optimizations)
        OM_TRY(fuse(f));
    OM_TRY(finish(f));
    if (f->fused > 0 && om_doc_opset(f->d, "com.microsoft") == 0)
        OM_TRY(om_doc_set_opset(f->d, "com.microsoft", 1, f->err));
    return om_doc_clean(f->d, f->err);
}

int om_fuse_doc(struct om_doc *d, const struct om_optimize_config *config, size_t *fused,
                struct om_error *err)
{
    struct fuse f = { .d = d,
                      .config = config,
                      .err = err,
                      .opset = om_doc_opset(d, ""),
                      .aliases = OM_MAP_INIT,
                      .names = OM_MAP_INIT,
                      .lists = OM_MAP_INIT,
                      .wide_of = OM_MAP_INIT,
                      .turned = OM_MAP_INIT,
                      .notes = OM_MAP_INIT };
    const int rc = run(&f);

    *fused = f.fused;
    om_doc_types_free(f.types);
    fz_shapes_free(f.known);
    fz_forget_uses(&f);
    free(f.scopes);
    om_map_release(&f.names);
    om_map_release(&f.lists);
    om_map_release(&f.aliases);
    om_map_release(&f.turned);
    om_map_release(&f.wide_of);
    free(f.wide);
    om_map_release(&f.notes);
    free(f.noted);
    free(f.fresh);
    free(f.counts);
    free(f.targets);
    return rc;
}
