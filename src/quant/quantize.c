/* src/quant/quantize.c: one document from float to quantized. */
#include <stdlib.h>

#include <optimum/version.h>

#include "onnx/onnx.h"
#include "quant/files.h"
#include "quant/quant.h"
#include "quant/report.h"

static int fill_list(struct om_map *map, const char *const *list)
{
    for (size_t i = 0; list && list[i]; i++)
        if (om_map_put(map, om_sv_str(list[i]), 0) < 0)
            return -1;
    return 0;
}

static int collect_names(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct om_map *const names = user;
    bool ok = true;

    for (size_t i = 0; i < g->tensors.len; i++)
        ok = ok && om_map_put(names, g->tensors.items[i].name, 0) == 0;
    for (size_t i = 0; i < g->inputs.len; i++)
        ok = ok && om_map_put(names, g->inputs.items[i].name, 0) == 0;
    for (size_t i = 0; i < g->nodes.len; i++)
        for (uint32_t k = 0; k < g->nodes.items[i].n_out; k++)
            ok = ok && om_map_put(names, g->nodes.items[i].out[k], 0) == 0;
    return ok ? 0 : om_fail(err, OM_E_NOMEM, "out of memory");
}

static int init_job(struct om_quant_job *j)
{
    const struct om_quant_config *const c = j->config;
    const char *const *operators =
        c->operators_to_quantize ? c->operators_to_quantize : om_quant_default_operators(c);

    if (fill_list(&j->only, c->nodes_to_quantize) < 0 ||
        fill_list(&j->exclude, c->nodes_to_exclude) < 0 || fill_list(&j->operators, operators) < 0)
        return om_quant_no_memory(j);
    OM_TRY(om_doc_walk(j->doc->graph, collect_names, &j->names, j->err));
    return om_doc_types_new(j->doc, &j->types, j->err);
}

static int rewrite(struct om_quant_job *j)
{
    switch (j->config->method) {
    case OM_QUANT_DYNAMIC:
        return om_quant_dynamic(j);
    case OM_QUANT_WEIGHT_ONLY:
        OM_TRY(om_quant_weight_only(j));
        return j->config->rest_float16 ? om_quant_float16(j) : 0;
    case OM_QUANT_FLOAT16:
        return om_quant_float16(j);
    case OM_QUANT_STATIC:
        return om_quant_static(j);
    }
    return om_fail(j->err, OM_E_UNSUPPORTED, "this method is not known");
}

static int note_contrib(void *user, struct om_doc_graph *g, struct om_error *err)
{
    bool *const found = user;

    (void)err;
    for (size_t i = 0; i < g->nodes.len; i++)
        *found = *found || om_sv_is(g->nodes.items[i].domain, "com.microsoft");
    return 0;
}

static int finish_doc(struct om_quant_job *j)
{
    struct om_doc *const d = j->doc;
    bool contrib = false;

    OM_TRY(om_doc_walk(d->graph, note_contrib, &contrib, j->err));
    if (contrib && om_doc_opset(d, "com.microsoft") == 0)
        OM_TRY(om_doc_set_opset(d, "com.microsoft", 1, j->err));
    d->producer_name = OM_SVL("optimum.c");
    d->producer_version = OM_SVL(OM_VERSION);
    OM_TRY(om_doc_clean(d, j->err));
    for (size_t i = 0; i < j->n_weights; i++) {
        OM_TRY(om_ctx_check(j->ctx, j->err));
        OM_TRY(om_affine_measure(j->weights[i], j->err));
    }
    return 0;
}

void om_quant_job_release(struct om_quant_job *j)
{
    om_doc_types_free(j->types);
    om_map_release(&j->names);
    om_map_release(&j->only);
    om_map_release(&j->exclude);
    om_map_release(&j->operators);
    om_map_release(&j->folded);
    free(j->origins);
    for (size_t i = 0; i < j->n_blocks; i++)
        om_blocks_release(j->blocks[i]);
    free(j->blocks);
    free(j->weights);
    free(j->layers);
    om_offline_free(j->offline);
    j->offline = NULL;
}

int om_quant_job_change(struct om_quant_job *j)
{
    OM_TRY(init_job(j));
    OM_TRY(rewrite(j));
    return finish_doc(j);
}

int om_quant_job_run(struct om_quant_job *j, struct om_quant_file *f)
{
    OM_TRY(om_quant_count(f, j->doc, false, j->err));
    OM_TRY(om_quant_job_change(j));
    f->converted = j->converted;
    return om_quant_count(f, j->doc, true, j->err);
}

/* ---- graphs of an export ---- */

/* The steps of how: f gets what each changed. */
static int run_steps(struct om_quant_job *j, const struct om_quant_how *how, const char *name,
                     struct om_quant_report *report, struct om_quant_file *f[2])
{
    if (how->optimize) {
        if (how->offline != OM_OFFLINE_NONE && j->packed)
            return om_fail(j->err, OM_E_UNSUPPORTED,
                           "the layers are quantized already: ONNX Runtime's optimizer does not "
                           "keep them apart");
        OM_TRY(om_quant_report_add(report, name, name, &f[0], j->err));
        OM_TRY(om_optimize_job_run(j, how->optimize, how->offline, f[0]));
    }
    if (how->quantize) {
        OM_TRY(om_quant_report_add(report, name, name, &f[1], j->err));
        OM_TRY(om_quant_job_run(j, f[1]));
    }
    return 0;
}

/* The errors of weights are known by now. float16 and quantization are not combined, so the layers
 * are those of the last step. */
static int close_steps(struct om_quant_job *j, struct om_quant_file *f[2])
{
    if (f[0] || f[1])
        OM_TRY(om_quant_report_layers(f[1] ? f[1] : f[0], j, j->err));
    for (int i = 0; i < 2; i++)
        if (f[i])
            om_quant_report_log(j->ctx, f[i]);
    return 0;
}

static int open_split(struct om_quant_job *j, const struct om_quant_split *split,
                      struct om_doc_write_opts *w)
{
    if (!split->always && om_doc_size(j->doc) <= INT32_MAX)
        return 0;
    w->data_max = split->max;
    w->next = split->next;
    w->user = split->user;
    return split->next(split->user, &w->data, &w->location, j->err);
}

static int change_shell(const struct om_quant_output *o, struct om_quant_job *j,
                        const struct om_quant_how *how, const struct om_file *shell,
                        const struct om_graph *g, struct om_quant_report *report)
{
    struct om_doc_write_opts w = { .data = o->data,
                                   .location = o->location,
                                   .external_min = OM_QUANT_EXTERNAL_MIN };
    struct om_quant_file *f[2] = { NULL };

    OM_TRY(om_doc_parse_shell(j->arena, shell, g, &j->doc, j->err));
    OM_TRY(run_steps(j, how, o->name, report, f));
    if (o->split)
        OM_TRY(open_split(j, o->split, &w));
    OM_TRY(om_doc_write(j->doc, &w, o->out, j->err));
    return close_steps(j, f);
}

int om_quant_graph(struct om_ctx *ctx, const struct om_quant_how *how, const struct om_graph *g,
                   const struct om_onnx_opts *opts, const struct om_quant_output *o,
                   struct om_error *err)
{
    struct om_arena arena = OM_ARENA_INIT(OM_QUANT_ARENA_MAX);
    struct om_buf text = OM_BUF_INIT(INT32_MAX);
    struct om_quant_report local = { .files = NULL };
    struct om_quant_job j = { .ctx = ctx,
                              .config = how->quantize,
                              .arena = &arena,
                              .want_errors = !o->packed,
                              .packed = o->packed,
                              .dir = o->dir,
                              .err = err };
    int rc = om_onnx_write_shell(g, opts, &text, err);

    if (rc == 0) {
        const struct om_file shell = { .fd = -1,
                                       .data = (const uint8_t *)text.ptr,
                                       .size = text.len };

        rc = change_shell(o, &j, how, &shell, g, o->report ? o->report : &local);
    }
    om_quant_report_release(&local);
    om_quant_job_release(&j);
    om_doc_close(j.doc);
    om_buf_release(&text);
    om_arena_release(&arena);
    return om_wrap(err, rc, "%s", o->name);
}
