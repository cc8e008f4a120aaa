/* src/export/compare.c: what quantization and optimization did to the files of an export: outputs
 * of ONNX Runtime on them beside those of the reference executor, and the report. */
#include "export/job.h"
#include "quant/report.h"
#include "ref/ref.h"

/* Both on the example inputs, in one of their sizes. */
static int run_once(struct om_job *job, struct om_job_file *f, struct om_session *s,
                    const struct om_dummy *how, struct om_quant_file *q, struct om_error *err)
{
    const struct om_ref_opts opts = { .ctx = job->ctx };
    struct om_arena a = OM_ARENA_INIT((size_t)16 << 30);
    struct om_tensor *inputs, *refs;
    struct om_results *results = NULL;
    size_t n_inputs, n_refs;
    int rc = om_dummy_inputs(job, f, how, &a, &inputs, &n_inputs, err);

    if (rc == 0)
        rc = om_ref_run(f->built, inputs, n_inputs, &opts, &a, &refs, &n_refs, err);
    if (rc == 0)
        rc = om_session_run(s, inputs, om_dummy_taken(f, inputs, n_inputs), &results, err);
    if (rc == 0)
        rc = om_quant_note_outputs(q, refs, n_refs, results, err);
    om_results_free(results);
    om_arena_release(&a);
    return rc;
}

static int compare_file(struct om_job *job, struct om_job_file *f, struct om_quant_file *q,
                        struct om_error *err)
{
    const bool merged = f->part == OM_PART_DECODER_MERGED || f->part == OM_PART_DECODER_SINGLE;
    const char *const path = om_path_join(&job->arena, job->opts->out_dir, q->target);
    struct om_session *s = NULL;
    int rc = path ? om_session_open(job->ctx, path, NULL, &s, err)
                  : om_fail(err, OM_E_NOMEM, "out of memory");

    for (int branch = merged ? 0 : 1; branch <= 1 && rc == 0; branch++) {
        const struct om_dummy how = { .use_cache = branch == 1 };

        rc = run_once(job, f, s, &how, q, err);
    }
    om_session_free(s);
    return om_wrap(err, rc, "%s", q->target);
}

/* The file of the export that q was made of: model.onnx, model_q4.onnx. */
static struct om_job_file *find_source(struct om_job *job, const char *target)
{
    struct om_job_file *best = NULL;
    size_t longest = 0;

    for (size_t i = 0; i < job->n_files; i++) {
        const char *const name = om_part_file(job->files[i].part);
        const size_t len = strlen(name) - strlen(".onnx");

        if (len > longest && strncmp(target, name, len) == 0) {
            best = &job->files[i];
            longest = len;
        }
    }
    return best;
}

int om_job_compare(struct om_job *job, struct om_error *err)
{
    const struct om_quant_report *const r = job->report;

    for (size_t i = 0; job->opts->compare && i < r->n; i++) {
        struct om_quant_file *const q = r->files[i];
        struct om_job_file *const f = find_source(job, q->target);

        /* Of two changes of one file there is the result only. */
        if (!f || (i + 1 < r->n && strcmp(r->files[i + 1]->target, q->target) == 0))
            continue;
        OM_TRY(om_ctx_check(job->ctx, err));
        OM_TRY(compare_file(job, f, q, err));
        om_quant_log_differences(job->ctx, q);
    }
    return job->opts->report ? om_quant_report_write(r, job->opts->report, job->opts->durable, err)
                             : 0;
}
