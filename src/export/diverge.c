/* src/export/diverge.c: where two executors part ways.
 *
 * The lowered graph is written once more under a hidden name with every value as an output; ONNX
 * Runtime runs it without optimizations, the reference executor runs the same graph, and the first
 * value that differs names the operator. */
#include "export/job.h"
#include "ref/ref.h"

#include <optimum/session.h>

struct hunt {
    const struct om_results *results;
    const struct om_tolerance *tolerance;
    om_val first; /* {0}: none yet */
    double diff;
};

/* Every value of the graph's own block becomes an output of its own name. */
static void expose_values(struct om_graph *g)
{
    const struct om_block *b = &g->blocks[0];

    for (size_t i = 0; i < b->n_nodes; i++) {
        const struct om_node *n = &g->nodes[b->nodes[i]];

        for (uint32_t k = 0; k < n->n_out; k++) {
            const om_val v = n->out[k];
            bool exposed = v.id == 0;

            for (size_t o = 0; o < b->n_outputs && !exposed; o++)
                exposed = b->outputs[o].val.id == v.id;
            if (!exposed)
                om_graph_output(g, om_graph_value(g, v)->name, v, NULL);
        }
    }
}

static void observe(void *user, const struct om_graph *g, om_val v, const struct om_tensor *t)
{
    struct hunt *h = user;
    const struct om_tensor *got;

    (void)g;
    if (h->first.id != 0 || t->name == NULL)
        return;
    got = om_results_find(h->results, t->name);
    if (got == NULL || got->dtype != t->dtype)
        return;
    if (got->rank != t->rank ||
        (t->rank > 0 && memcmp(got->dims, t->dims, t->rank * sizeof(*t->dims)) != 0) ||
        !om_all_close(t, got, h->tolerance, &h->diff))
        h->first = v;
}

static int hunt_on(const struct om_graph *g, struct om_session *session,
                   const struct om_tensor *inputs, size_t n_inputs, struct hunt *h,
                   struct om_arena *a, struct om_error *err)
{
    const struct om_ref_opts opts = { .observe = observe, .user = h };
    struct om_results *results = NULL;
    struct om_tensor *outputs;
    size_t n;
    int rc = om_session_run(session, inputs, n_inputs, &results, err);

    h->results = results;
    if (rc == 0)
        rc = om_ref_run(g, inputs, n_inputs, &opts, a, &outputs, &n, err);
    om_results_free(results);
    h->results = NULL;
    return rc;
}

static int write_exposed(struct om_job *job, const struct om_graph *g, struct om_out *out,
                         struct om_error *err)
{
    const struct om_onnx_opts opts = { .opset = job->opset,
                                       .producer_version = "diverge",
                                       .graph_name = "main_graph",
                                       .mode = job->weights,
                                       .ctx = job->ctx };

    OM_TRY(om_out_open(out, job->opts->out_dir, OM_DIVERGE_NAME, job->ctx, err));
    OM_TRY(om_onnx_write(g, &opts, out, job->data, err));
    return om_out_flush(out, err);
}

const char *om_job_diverge(struct om_job *job, const struct om_job_file *f,
                           const struct om_tensor *inputs, size_t n_inputs,
                           const struct om_tolerance *tolerance, struct om_arena *a)
{
    struct om_session_opts opts = OM_SESSION_OPTS_INIT;
    struct om_session *session = NULL;
    struct om_error err = OM_ERROR_INIT;
    struct om_out out = OM_OUT_INIT;
    struct hunt h = { .tolerance = tolerance };
    const char *text = NULL;
    int rc;

    expose_values(f->lowered);
    rc = om_graph_check(f->lowered, &err);
    if (rc == 0)
        rc = write_exposed(job, f->lowered, &out, &err);
    opts.disable_prepacking = true;
    opts.opt_level = OM_ORT_OPT_NONE;
    if (rc == 0)
        rc = om_session_open(job->ctx, out.partial, &opts, &session, &err);
    if (rc == 0)
        rc = hunt_on(f->lowered, session, inputs, n_inputs, &h, a, &err);
    if (rc < 0) {
        om_log(job->ctx, OM_LOG_DEBUG, "the diverging operator could not be looked for: %s",
               om_error_text(&err));
    } else if (h.first.id != 0) {
        const struct om_node *n = &f->lowered->nodes[om_graph_value(f->lowered, h.first)->node];

        text = om_arena_printf(a, "%.*s (%s), max diff: %g", OM_SV(n->name), om_op_name(n->op),
                               h.diff);
    } else {
        text = om_arena_printf(
            a, "none in ONNX Runtime without optimizations; its optimizer or the lowering differs");
    }
    om_session_free(session);
    om_out_abort(&out);
    om_error_release(&err);
    return text;
}
