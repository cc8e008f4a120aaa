/* src/quant/report.c: operators before and after, sizes, errors of weights. */
#include "quant/report.h"

#include <math.h>
#include <stdlib.h>

/* Weights that a log shows when there are more: those with the largest error. */
#define SHOWN 10

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

int om_quant_report_new(struct om_quant_report **out, struct om_error *err)
{
    struct om_quant_report *const r = calloc(1, sizeof(*r));

    if (!r)
        return no_memory(err);
    *out = r;
    return 0;
}

void om_quant_report_free(struct om_quant_report *r)
{
    if (r)
        om_quant_report_release(r);
    free(r);
}

int om_quant_report_add(struct om_quant_report *r, const char *name, const char *target,
                        struct om_quant_file **out, struct om_error *err)
{
    struct om_quant_file *const f = calloc(1, sizeof(*f));

    if (!f || !om_grow(&r->files, &r->cap, r->n + 1, sizeof(struct om_quant_file *))) {
        free(f);
        return no_memory(err);
    }
    om_arena_init(&f->arena, (size_t)1 << 30);
    r->files[r->n++] = f;
    f->name = om_arena_str(&f->arena, om_sv_str(name));
    f->target = om_arena_str(&f->arena, om_sv_str(target));
    *out = f;
    return f->name && f->target ? 0 : no_memory(err);
}

void om_quant_report_release(struct om_quant_report *r)
{
    for (size_t i = 0; i < r->n; i++) {
        om_map_release(&r->files[i]->part_of);
        om_arena_release(&r->files[i]->arena);
        free(r->files[i]->parts);
        free(r->files[i]->ops);
        free(r->files[i]);
    }
    free(r->files);
    *r = (struct om_quant_report){ .files = NULL };
}

double om_quant_relative(double error, double total)
{
    return total > 0 ? sqrt(error / total) : 0;
}

/* ---- operators ---- */

struct counting {
    struct om_quant_file *f;
    bool after;
};

/* The row of an operator, made where it belongs. */
static struct om_quant_op *op_row(struct om_quant_file *f, om_sv op)
{
    size_t lo = 0, hi = f->n_ops;

    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        const int c = om_sv_cmp(f->ops[mid].op, op);

        if (c == 0)
            return &f->ops[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (!om_grow(&f->ops, &f->cap_ops, f->n_ops + 1, sizeof(*f->ops)))
        return NULL;
    memmove(f->ops + lo + 1, f->ops + lo, (f->n_ops - lo) * sizeof(*f->ops));
    f->n_ops++;
    f->ops[lo] = (struct om_quant_op){ .op = { om_arena_str(&f->arena, op), op.len } };
    return f->ops[lo].op.ptr ? &f->ops[lo] : NULL;
}

static int count_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    const struct counting *const c = user;

    for (size_t i = 0; i < g->nodes.len; i++) {
        const struct om_doc_node *const n = &g->nodes.items[i];
        const struct om_mark mark = om_arena_mark(&c->f->arena);
        const char *const full = n->domain.len > 0 ? om_arena_printf(&c->f->arena, "%.*s.%.*s",
                                                                     OM_SV(n->domain), OM_SV(n->op))
                                                   : om_arena_str(&c->f->arena, n->op);
        const size_t had = c->f->n_ops;
        struct om_quant_op *const row = full ? op_row(c->f, om_sv_str(full)) : NULL;

        if (!row)
            return no_memory(err);
        if (c->f->n_ops == had) /* the row has a name already */
            om_arena_rewind(&c->f->arena, mark);
        if (c->after)
            row->after++;
        else
            row->before++;
    }
    return 0;
}

/* The bytes of a document's file and of what it refers to. */
int om_quant_count(struct om_quant_file *f, struct om_doc *d, bool after, struct om_error *err)
{
    struct counting c = { f, after };
    const uint64_t size = om_doc_size(d);

    if (size == UINT64_MAX)
        return no_memory(err);
    *(after ? &f->size_after : &f->size_before) = size;
    OM_TRY(om_doc_walk(d->graph, count_graph, &c, err));
    return om_quant_count_parts(f, d, after, err);
}

/* ---- weights ---- */

int om_quant_report_layers(struct om_quant_file *f, const struct om_quant_job *j,
                           struct om_error *err)
{
    f->weights = om_arena_array(&f->arena, OM_MAX(j->n_layers, 1), sizeof(*f->weights));
    if (!f->weights)
        return no_memory(err);
    for (size_t i = 0; i < j->n_layers; i++) {
        const struct om_quant_layer *const l = &j->layers[i];
        struct om_quant_weight *const w = &f->weights[f->n_weights++];

        *w = (struct om_quant_weight){ .name = om_arena_str(&f->arena, l->name),
                                       .form = om_arena_str(&f->arena, om_sv_str(l->form)),
                                       .before = l->before,
                                       .after = l->after,
                                       .measured = l->error != NULL };
        if (!w->name || !w->form)
            return no_memory(err);
        if (l->error) {
            w->max = l->error->max;
            w->error = l->error->error;
            w->total = l->error->total;
        }
    }
    return om_quant_spread_errors(f, err);
}

static int by_error(const void *a, const void *b)
{
    const struct om_quant_weight *const x = *(const struct om_quant_weight *const *)a;
    const struct om_quant_weight *const y = *(const struct om_quant_weight *const *)b;
    const double dx = om_quant_relative(x->error, x->total);
    const double dy = om_quant_relative(y->error, y->total);

    if (dx != dy)
        return dx < dy ? 1 : -1;
    return strcmp(x->name, y->name);
}

static void log_weights(struct om_ctx *ctx, const struct om_quant_file *f)
{
    const struct om_quant_weight **const order = malloc(OM_MAX(f->n_weights, 1) * sizeof(*order));

    if (!order || f->n_weights == 0 || !f->weights[0].measured) {
        free(order);
        return;
    }
    for (size_t i = 0; i < f->n_weights; i++)
        order[i] = &f->weights[i];
    qsort(order, f->n_weights, sizeof(*order), by_error);
    om_log(ctx, OM_LOG_INFO, "\t  %-10s %-9s %s", "error", "relative", "weight");
    for (size_t i = 0; i < f->n_weights; i++)
        om_log(ctx, i < SHOWN ? OM_LOG_INFO : OM_LOG_DEBUG, "\t  %-10.3g %-9.3g %s (%s)",
               order[i]->max, om_quant_relative(order[i]->error, order[i]->total), order[i]->name,
               order[i]->form);
    if (f->n_weights > SHOWN)
        om_log(ctx, OM_LOG_INFO, "\t  ... and %zu with smaller errors (-v shows them)",
               f->n_weights - SHOWN);
    free(order);
}

static void log_operators(struct om_ctx *ctx, const struct om_quant_file *f)
{
    for (size_t i = 0; i < f->n_ops; i++) {
        const struct om_quant_op *const o = &f->ops[i];

        if (o->before != o->after)
            om_log(ctx, OM_LOG_INFO, "\t  %-40.*s %5" PRIu64 " -> %" PRIu64, OM_SV(o->op),
                   o->before, o->after);
    }
}

void om_quant_report_log(struct om_ctx *ctx, const struct om_quant_file *f)
{
    uint64_t before = 0, after = 0;

    for (size_t i = 0; i < f->n_ops; i++) {
        before += f->ops[i].before;
        after += f->ops[i].after;
    }
    if (f->converted == 0 && !f->optimized)
        om_log(ctx, OM_LOG_WARNING, "%s: no node was quantized", f->name);
    om_log(ctx, OM_LOG_INFO, "%s -> %s", f->name, f->target);
    om_log(ctx, OM_LOG_INFO, "\t- bytes: %" PRIu64 " -> %" PRIu64 " (%.1f %%)", f->size_before,
           f->size_after,
           f->size_before > 0 ? 100.0 * (double)f->size_after / (double)f->size_before : 0.0);
    om_log(ctx, OM_LOG_INFO, "\t- nodes: %" PRIu64 " -> %" PRIu64 ", of which %zu were %s", before,
           after, f->converted, f->optimized ? "fused" : "quantized");
    log_operators(ctx, f);
    if (f->optimized && f->n_weights == 0)
        return;
    om_log(ctx, OM_LOG_INFO, "\t- weights: %zu were %s", f->n_weights,
           f->optimized ? "narrowed" : "quantized");
    log_weights(ctx, f);
}

void om_quant_log_differences(struct om_ctx *ctx, const struct om_quant_file *f)
{
    om_log(ctx, OM_LOG_INFO, "%s, outputs on made-up inputs", f->target);
    for (size_t i = 0; i < f->n_differences; i++) {
        const struct om_quant_difference *const d = &f->differences[i];

        if (d->compared)
            om_log(
                ctx, OM_LOG_INFO,
                "\t- \"%s\": largest difference %.3g (of values up to %.3g), relative error %.3g",
                d->name, d->max, d->largest, om_quant_relative(d->error, d->total));
    }
}
