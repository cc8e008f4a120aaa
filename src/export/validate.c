/* src/export/validate.c: ONNX Runtime on the written files against the reference executor on the
 * graphs.
 *
 * The report has Optimum's words (optimum/exporters/onnx/convert.py). Every dynamic axis is tried
 * in two sizes; the second round is silent unless it finds something. */
#include <math.h>
#include <stdio.h>

#include "base/half.h"
#include "export/job.h"

#include <optimum/optimize.h>
#include "ref/ref.h"

#include <optimum/session.h>

/* Of correct exports. float32: largest differences of 1e-5 in outputs of some tens. float16: of all
 * goldens, and of DistilBERT, GPT-2, T5 and a Llama of full size, 1e-3 to 4e-3 of an output's
 * largest magnitude, since both sides round at other places (ONNX Runtime on CPU computes most of
 * it in float32); wrong ones differ by a tenth and more. bfloat16 has three bits less. */
static const struct om_tolerance default_tolerances[OM_DTYPE_COUNT] = {
    [OM_F32] = { .atol = 1e-4 },
    [OM_F16] = { .atol = 1e-2, .scaled = true },
    [OM_BF16] = { .atol = 8e-2, .scaled = true },
};

struct check {
    struct om_job *job;
    struct om_job_file *file;
    struct om_session *session;
    struct om_verdict *verdict;
    const char *path;
    struct om_tolerance tolerance;
    bool quiet;
    bool named; /* the first diverging operator has been looked for */
};

/* ---- text ---- */

/* A shape as a Python tuple. */
static void put_shape(struct om_buf *b, const struct om_tensor *t)
{
    om_buf_addc(b, '(');
    for (uint32_t i = 0; i < t->rank; i++)
        om_buf_printf(b, "%s%" PRId64, i > 0 ? ", " : "", t->dims[i]);
    om_buf_adds(b, t->rank == 1 ? ",)" : ")");
}

static void log_line(struct check *c, enum om_level level, struct om_buf *line)
{
    if (!line->failed && (level == OM_LOG_ERROR || !c->quiet))
        om_log(c->job->ctx, level, "%.*s", OM_SV(om_buf_sv(line)));
    om_buf_clear(line);
}

/* ---- comparison ---- */

static bool close_f64(double ref, double got, double atol, double rtol)
{
    return ref == got || fabs(ref - got) <= atol + rtol * fabs(got);
}

static double element(const struct om_tensor *t, int64_t i)
{
    double v = 0.0;

    om_convert(&v, OM_F64, (const char *)t->data + (size_t)i * om_dtype_size(t->dtype), t->dtype,
               1);
    return v;
}

double om_tolerance_of(const struct om_tolerance *tolerance, const struct om_tensor *ref)
{
    double largest = 0.0;
    int64_t n = 0;

    if (!tolerance->scaled)
        return tolerance->atol;
    om_count(ref->dims, ref->rank, &n);
    for (int64_t i = 0; i < n; i++) {
        const double v = fabs(element(ref, i));

        largest = isfinite(v) && v > largest ? v : largest;
    }
    return tolerance->atol * largest;
}

bool om_all_close(const struct om_tensor *ref, const struct om_tensor *got,
                  const struct om_tolerance *tolerance, double *max_diff)
{
    const double atol = om_tolerance_of(tolerance, ref),
                 rtol = tolerance->scaled ? 0.0 : tolerance->atol;
    bool close = true;
    int64_t n = 0;

    *max_diff = 0.0;
    om_count(ref->dims, ref->rank, &n);
    for (int64_t i = 0; i < n; i++) {
        const double r = element(ref, i), g = element(got, i), d = fabs(r - g);

        if (!close_f64(r, g, atol, rtol))
            close = false;
        if (isnan(d) || d > *max_diff)
            *max_diff = isnan(d) && r == g ? *max_diff : d;
        if (isnan(*max_diff))
            return false;
    }
    return close;
}

static bool same_shape(const struct om_tensor *a, const struct om_tensor *b)
{
    return a->rank == b->rank &&
           (a->rank == 0 || memcmp(a->dims, b->dims, a->rank * sizeof(*a->dims)) == 0);
}

/* ---- the report ---- */

static void report_divergence(struct check *c, const struct om_tensor *inputs, size_t n)
{
    struct om_arena a = OM_ARENA_INIT((size_t)1 << 30);
    const char *where;

    if (c->named)
        return;
    c->named = true;
    where = om_job_diverge(c->job, c->file, inputs, n, &c->tolerance, &a);
    if (where != NULL)
        om_log(c->job->ctx, OM_LOG_ERROR, "\t- The first operator where both sides differ: %s",
               where);
    om_arena_release(&a);
}

/* Remember the largest difference of each output over all rounds. */
static int note_difference(struct check *c, const char *name, double diff, struct om_error *err)
{
    struct om_verdict *v = c->verdict;
    struct om_difference *d;

    v->tolerance = c->tolerance;
    for (size_t i = 0; i < v->n; i++) {
        d = &v->differences[i];
        if (d->part == c->file->part && strcmp(d->name, name) == 0) {
            d->max = diff > d->max || isnan(diff) ? diff : d->max;
            return 0;
        }
    }
    if (!om_grow(&v->differences, &v->cap, v->n + 1, sizeof(*v->differences)))
        return om_fail(err, OM_E_NOMEM, "out of memory");
    d = &v->differences[v->n];
    *d = (struct om_difference){ c->file->part, om_arena_str(&c->job->arena, om_sv_str(name)),
                                 diff };
    if (d->name == NULL)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    v->n++;
    return 0;
}

/* *close tells whether the values are; shapes that differ are an error. */
static int compare_output(struct check *c, const struct om_tensor *ref, const struct om_tensor *got,
                          bool *close, struct om_error *err)
{
    struct om_buf line = OM_BUF_INIT(1 << 16);
    const bool shapes = same_shape(ref, got);
    double diff = 0.0;
    int rc = 0;

    /* The line is an error as well where one follows: a quiet report would not say which output is
     * meant. */
    *close = shapes && om_all_close(ref, got, &c->tolerance, &diff);
    om_buf_printf(&line, "\t- Validating ONNX Model output \"%s\":", ref->name);
    log_line(c, *close ? OM_LOG_INFO : OM_LOG_ERROR, &line);
    if (!shapes) {
        om_buf_adds(&line, "\t\t-[x] shape ");
        put_shape(&line, got);
        om_buf_adds(&line, " doesn't match ");
        put_shape(&line, ref);
        log_line(c, OM_LOG_ERROR, &line);
        om_buf_adds(&line, "got ");
        put_shape(&line, ref);
        om_buf_adds(&line, " (reference) and ");
        put_shape(&line, got);
        rc = om_fail(err, OM_E_MISMATCH,
                     "Output shapes do not match between reference model and ONNX exported model: "
                     "%s: %.*s (ONNX)",
                     ref->name, OM_SV(om_buf_sv(&line)));
        om_buf_release(&line);
        return rc;
    }
    om_buf_adds(&line, "\t\t-[✓] ");
    put_shape(&line, got);
    om_buf_adds(&line, " matches ");
    put_shape(&line, ref);
    log_line(c, OM_LOG_INFO, &line);

    if (*close) {
        om_buf_adds(&line, "\t\t-[✓] all values close (atol: ");
    } else {
        rc = note_difference(c, ref->name, diff, err);
        om_buf_adds(&line, "\t\t-[x] values not close enough, max diff: ");
        om_buf_real(&line, diff);
        om_buf_adds(&line, " (atol: ");
    }
    om_buf_real(&line, om_tolerance_of(&c->tolerance, ref));
    om_buf_addc(&line, ')');
    log_line(c, *close ? OM_LOG_INFO : OM_LOG_ERROR, &line);
    om_buf_release(&line);
    return rc;
}

/* ---- one round ---- */

static int compare_all(struct check *c, const struct om_tensor *refs, size_t n,
                       const struct om_results *results, bool *all_close, struct om_error *err)
{
    *all_close = true;
    for (size_t i = 0; i < n; i++) {
        const struct om_tensor *got = om_results_find(results, refs[i].name);
        bool close = true;

        if (got == NULL)
            return om_fail(err, OM_E_MISMATCH, "%s: output \"%s\" is missing", c->path,
                           refs[i].name);
        OM_TRY(compare_output(c, &refs[i], got, &close, err));
        *all_close = *all_close && close;
    }
    return 0;
}

static int run_round(struct check *c, const struct om_dummy *how, struct om_error *err)
{
    const struct om_ref_opts ref_opts = { .ctx = c->job->ctx };
    struct om_arena a = OM_ARENA_INIT((size_t)16 << 30);
    struct om_tensor *inputs, *refs;
    struct om_results *results = NULL;
    size_t n_inputs, n_refs;
    bool close;
    int rc = om_dummy_inputs(c->job, c->file, how, &a, &inputs, &n_inputs, err);

    if (rc == 0)
        rc = om_ref_run(c->file->built, inputs, n_inputs, &ref_opts, &a, &refs, &n_refs, err);
    if (rc == 0)
        rc = om_session_run(c->session, inputs, om_dummy_taken(c->file, inputs, n_inputs), &results,
                            err);
    if (rc == 0)
        rc = compare_all(c, refs, n_refs, results, &close, err);
    om_results_free(results);
    if (rc == 0 && !close)
        report_divergence(c, inputs, om_dummy_taken(c->file, inputs, n_inputs));
    om_arena_release(&a);
    return rc;
}

static bool has_output(const struct om_graph *g, const char *name)
{
    for (size_t i = 0; i < g->blocks[0].n_outputs; i++)
        if (om_sv_is(g->blocks[0].outputs[i].name, name))
            return true;
    return false;
}

static int check_names(struct check *c, struct om_error *err)
{
    const struct om_block *block = &c->file->built->blocks[0];
    struct om_buf names = OM_BUF_INIT(1 << 20);

    for (size_t i = 0; i < om_session_output_count(c->session); i++)
        if (!has_output(c->file->built, om_session_output(c->session, i)->name))
            return om_fail(err, OM_E_MISMATCH,
                           "%s: output \"%s\" is not one of the reference model", c->path,
                           om_session_output(c->session, i)->name);
    om_buf_adds(&names, "\t-[✓] ONNX model output names match reference model (");
    for (size_t i = 0; i < block->n_outputs; i++)
        om_buf_printf(&names, "%s%.*s", i > 0 ? ", " : "", OM_SV(block->outputs[i].name));
    om_buf_addc(&names, ')');
    log_line(c, OM_LOG_INFO, &names);
    om_buf_release(&names);
    return 0;
}

static int run_rounds(struct check *c, struct om_error *err)
{
    const bool merged =
        c->file->part == OM_PART_DECODER_MERGED || c->file->part == OM_PART_DECODER_SINGLE;
    const int variants = c->job->opts->no_dynamic_axes ? 1 : 2;

    for (int branch = merged ? 0 : 1; branch <= 1; branch++) {
        for (int variant = 0; variant < variants; variant++) {
            const struct om_dummy how = { .variant = variant, .use_cache = branch == 1 };

            c->quiet = variant > 0;
            OM_TRY(run_round(c, &how, err));
        }
    }
    return 0;
}

/* *loaded: ONNX Runtime took the file. */
static int validate_file(struct om_job *job, struct om_job_file *f, struct om_verdict *v,
                         bool *loaded, struct om_error *err)
{
    struct om_session_opts opts = OM_SESSION_OPTS_INIT;
    struct check c = { .job = job, .file = f, .verdict = v };
    int rc;

    c.path = om_path_join(&job->arena, job->opts->out_dir, om_part_file(f->part));
    c.tolerance = default_tolerances[job->arch.compute];
    if (job->opts->optimize != NULL && job->opts->optimize->enable_gelu_approximation)
        c.tolerance = default_tolerances[OM_F16];
    if (job->opts->atol >= 0.0)
        c.tolerance = (struct om_tolerance){ .atol = job->opts->atol };
    if (c.path == NULL)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    om_log(job->ctx, OM_LOG_INFO, "Validating ONNX model %s...", c.path);
    opts.disable_prepacking = true;
    opts.opt_level = OM_ORT_OPT_BASIC;
    rc = om_session_open(job->ctx, c.path, &opts, &c.session, err);
    *loaded = rc == 0;
    if (rc < 0)
        return rc;
    rc = check_names(&c, err);
    if (rc == 0)
        rc = run_rounds(&c, err);
    om_session_free(c.session);
    return rc;
}

/* ---- whether to validate ---- */

static uint64_t weight_bytes(const struct om_job *job)
{
    uint64_t most = 0;

    for (size_t i = 0; i < job->n_files; i++) {
        const struct om_graph *g = job->files[i].lowered;
        uint64_t sum = 0;

        for (size_t k = 0; k < g->n_weights; k++)
            sum += om_weight_bytes(&g->weights[k]);
        most = OM_MAX(most, sum);
    }
    return most;
}

/* A session holds its weights once, and while an embedded model is parsed also the message it came
 * in. 16-bit weights are widened on both sides, which doubles them. */
static uint64_t session_memory(const struct om_job *job)
{
    const uint64_t weights = weight_bytes(job);

    return weights * (job->weights == OM_WEIGHTS_EMBEDDED ? 2 : 1) + weights +
           ((uint64_t)256 << 20);
}

static bool meminfo_available(uint64_t *bytes)
{
    FILE *f = fopen("/proc/meminfo", "re");
    char line[128];
    unsigned long long kb;
    bool found = false;

    if (f == NULL)
        return false;
    while (!found && fgets(line, sizeof(line), f) != NULL)
        if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1)
            found = true;
    fclose(f);
    if (found)
        *bytes = kb * 1024u;
    return found;
}

/* Says why the validation cannot run; NULL when it can. */
static const char *obstacle(struct om_job *job, struct om_error *why)
{
    const char *version, *path;
    uint64_t available;
    const uint64_t need = session_memory(job);

    if (om_ort_version(&version, &path, why) < 0)
        return om_error_text(why);
    if (job->opts->validation == OM_VALIDATE_AUTO && meminfo_available(&available) &&
        need > available) {
        om_fail(why, OM_E_LIMIT,
                "it would need about %" PRIu64 " MB of memory and %" PRIu64
                " MB are available (--validate forces it)",
                need >> 20, available >> 20);
        return om_error_text(why);
    }
    return NULL;
}

/* Whether a failure only says that this ONNX Runtime has too few kernels for the dtype. */
static bool lacks_kernels(const struct om_job *job, int rc, bool loaded)
{
    return rc == OM_E_UNSUPPORTED && !loaded && job->arch.compute == OM_BF16 &&
           job->opts->validation == OM_VALIDATE_AUTO && !job->opts->strict;
}

static int validate_all(struct om_job *job, struct om_verdict *v, struct om_error *err)
{
    struct om_error why = OM_ERROR_INIT;
    bool loaded = false;
    int rc = 0;

    for (size_t i = 0; i < job->n_files && rc == 0; i++)
        rc = validate_file(job, &job->files[i], v, &loaded, &why);
    if (lacks_kernels(job, rc, loaded)) {
        om_log(job->ctx, OM_LOG_WARNING, "The exported model was not validated: %s",
               om_error_text(&why));
        rc = 0;
    } else if (rc < 0) {
        om_fail(
            err, rc,
            "An error occurred during validation, but the model was saved nonetheless at %s: %s",
            job->opts->out_dir, om_error_text(&why));
    }
    om_error_release(&why);
    return rc;
}

int om_job_validate(struct om_job *job, struct om_verdict *v, struct om_error *err)
{
    struct om_error why = OM_ERROR_INIT;
    const char *reason;
    int rc = 0;

    if (job->opts->validation == OM_VALIDATE_NEVER)
        return 0;
    reason = obstacle(job, &why);
    if (reason != NULL && (job->opts->validation == OM_VALIDATE_ALWAYS || job->opts->strict))
        rc = om_fail(err, OM_E_RUNTIME, "the exported model in %s cannot be validated: %s",
                     job->opts->out_dir, reason);
    else if (reason != NULL)
        om_log(job->ctx, OM_LOG_WARNING, "The exported model was not validated: %s", reason);
    om_error_release(&why);
    return reason != NULL ? rc : validate_all(job, v, err);
}
