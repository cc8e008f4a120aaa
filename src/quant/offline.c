/* src/quant/offline.c: ONNX Runtime's own optimizer over a document: a session reads it and writes
 * it back. Both go through temporary files of the output directory, with the tensors beside the
 * models, so that no size is too large. */
#include <stdlib.h>

#include <optimum/session.h>

#include "quant/internal.h"
#include "quant/quant.h"

enum { MODEL, DATA, MODEL_BACK, DATA_BACK, FILES };

struct om_offline {
    struct om_out files[FILES]; /* never published: they vanish with the job */
};

void om_offline_free(struct om_offline *o)
{
    for (int i = 0; o && i < FILES; i++)
        om_out_abort(&o->files[i]);
    free(o);
}

static const char *base_name(const char *path)
{
    return strrchr(path, '/') + 1; /* a directory and a name */
}

static int open_files(struct om_quant_job *j)
{
    static const char *const names[FILES] = { [MODEL] = "offline.onnx",
                                              [DATA] = "offline.onnx_data",
                                              [MODEL_BACK] = "offline.back.onnx",
                                              [DATA_BACK] = "offline.back.onnx_data" };

    j->offline = calloc(1, sizeof(*j->offline));
    if (!j->offline)
        return om_quant_no_memory(j);
    for (int i = 0; i < FILES; i++)
        j->offline->files[i] = (struct om_out)OM_OUT_INIT;
    for (int i = 0; i < FILES; i++) {
        om_out_discard(j->dir, names[i]);
        OM_TRY(om_out_open(&j->offline->files[i], j->dir, names[i], j->ctx, j->err));
    }
    return 0;
}

static int write_model(struct om_quant_job *j)
{
    struct om_out *const files = j->offline->files;
    const struct om_doc_write_opts opts = { .data = &files[DATA],
                                            .location = base_name(files[DATA].partial),
                                            .external_min = OM_QUANT_EXTERNAL_MIN };

    OM_TRY(om_doc_write(j->doc, &opts, &files[MODEL], j->err));
    OM_TRY(om_out_flush(&files[DATA], j->err));
    return om_out_flush(&files[MODEL], j->err);
}

/* A session that is made writes the model. One thread, so that sums of constants are the same each
 * time. */
static int make_session(struct om_quant_job *j, enum om_offline_level level)
{
    static const enum om_ort_opt_level levels[] = { [OM_OFFLINE_NONE] = OM_ORT_OPT_NONE,
                                                    [OM_OFFLINE_BASIC] = OM_ORT_OPT_BASIC,
                                                    [OM_OFFLINE_EXTENDED] = OM_ORT_OPT_EXTENDED,
                                                    [OM_OFFLINE_ALL] = OM_ORT_OPT_ALL };
    static const char *const keys[] = {
        "session.optimized_model_external_initializers_file_name",
        "session.optimized_model_external_initializers_min_size_in_bytes",
    };
    const struct om_out *const files = j->offline->files;
    const char *const values[] = { base_name(files[DATA_BACK].partial), "1024" };
    struct om_session_opts opts = OM_SESSION_OPTS_INIT;
    struct om_session *s = NULL;

    opts.opt_level = levels[level];
    opts.intra_op_threads = 1;
    opts.disable_prepacking = true;
    opts.optimized_path = files[MODEL_BACK].partial;
    opts.config_keys = keys;
    opts.config_values = values;
    opts.n_config = OM_COUNT(keys);
    OM_TRY(om_session_open(j->ctx, files[MODEL].partial, &opts, &s, j->err));
    om_session_free(s);
    return 0;
}

/* ---- what came back ---- */

static int check_ports(struct om_quant_job *j, const struct om_doc_ports *was,
                       const struct om_doc_ports *now, const char *what)
{
    bool same = was->len == now->len;

    for (size_t i = 0; same && i < was->len; i++)
        same = om_sv_eq(was->items[i].name, now->items[i].name) &&
               was->items[i].type == now->items[i].type;
    return same ? 0
                : om_fail(j->err, OM_E_RUNTIME,
                          "ONNX Runtime's optimizer changed the %s of the model", what);
}

struct census {
    struct om_map domains;
    uint64_t casts;
};

static int note_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct census *const c = user;

    for (size_t i = 0; i < g->nodes.len; i++) {
        const struct om_doc_node *const n = &g->nodes.items[i];

        c->casts += om_sv_is(n->op, "Cast");
        if (om_map_put(&c->domains, n->domain, 0) < 0)
            return om_fail(err, OM_E_NOMEM, "out of memory");
    }
    return 0;
}

/* ONNX Runtime imports every domain that it knows; those of the nodes and the first one suffice. */
static void keep_domains(struct om_doc *d, const struct om_map *used)
{
    size_t kept = 0;

    for (size_t i = 0; i < d->n_opsets; i++) {
        const om_sv domain = d->opsets[i].domain;
        const bool plain = domain.len == 0 || om_sv_is(domain, "ai.onnx");

        if (plain || om_map_get(used, domain, NULL))
            d->opsets[kept++] = d->opsets[i];
    }
    d->n_opsets = kept;
}

static int take_back(struct om_quant_job *j, struct om_doc *now)
{
    const struct om_doc_graph *const was = j->doc->graph;
    struct census before = { .domains = OM_MAP_INIT }, after = { .domains = OM_MAP_INIT };
    int rc = check_ports(j, &was->inputs, &now->graph->inputs, "inputs");

    if (rc == 0)
        rc = check_ports(j, &was->outputs, &now->graph->outputs, "outputs");
    if (rc == 0)
        rc = om_doc_walk(j->doc->graph, note_graph, &before, j->err);
    if (rc == 0)
        rc = om_doc_walk(now->graph, note_graph, &after, j->err);
    if (rc == 0)
        keep_domains(now, &after.domains);
    if (rc == 0 && after.casts > before.casts)
        om_log(j->ctx, OM_LOG_WARNING,
               "ONNX Runtime added %" PRIu64 " Casts, as its CPU provider lacks kernels for the "
               "types of the model: the file is for this provider only.",
               after.casts - before.casts);
    om_map_release(&before.domains);
    om_map_release(&after.domains);
    return rc;
}

int om_offline_run(struct om_quant_job *j, enum om_offline_level level)
{
    struct om_doc *now = NULL;
    int rc;

    if (level == OM_OFFLINE_NONE)
        return 0;
    OM_TRY(open_files(j));
    OM_TRY(write_model(j));
    OM_TRY(om_wrap(j->err, make_session(j, level), "ONNX Runtime's optimizer"));
    OM_TRY(om_doc_open(j->arena, j->offline->files[MODEL_BACK].partial, &now, j->err));
    rc = take_back(j, now);
    if (rc < 0) {
        om_doc_close(now);
        return rc;
    }
    om_doc_close(j->doc);
    j->doc = now;
    return 0;
}
