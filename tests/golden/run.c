/* tests/golden/run.c: recorded cases in ONNX Runtime. */
#include <math.h>

#include "tests/golden/golden.h"

#include <optimum/session.h>

static int check_value(struct golden_run *run, const struct om_tensor *want,
                       const struct om_tensor *got, struct om_error *err)
{
    int64_t n;
    double d;

    if (!got || got->dtype != want->dtype || got->rank != want->rank ||
        (got->rank && memcmp(got->dims, want->dims, got->rank * sizeof(*got->dims)) != 0))
        return om_fail(err, OM_E_MISMATCH, "output \"%s\" is missing, or of another shape",
                       want->name);
    if (!om_count(want->dims, want->rank, &n))
        return om_fail(err, OM_E_FORMAT, "output \"%s\" is too large", want->name);
    d = golden_difference(got, want, n);
    run->worst = fmax(run->worst, d);
    return d <= run->tolerance ? 0
                               : om_fail(err, OM_E_MISMATCH,
                                         "output \"%s\" differs by %g of its size", want->name, d);
}

static int run_case(struct golden_run *run, struct om_session *session, const struct golden_case *c,
                    struct om_error *err)
{
    struct om_results *results = NULL;
    int rc = om_session_run(session, c->inputs, c->n_inputs, &results, err);

    run->runs += rc == 0;
    for (size_t i = 0; rc == 0 && i < c->n_outputs; i++)
        rc = check_value(run, &c->outputs[i], om_results_find(results, c->outputs[i].name), err);
    om_results_free(results);
    return om_wrap(err, rc, "case %s", c->id);
}

int golden_run(struct om_arena *a, const struct golden_cases *c, struct golden_run *run,
               struct om_error *err)
{
    struct om_session_opts opts = OM_SESSION_OPTS_INIT;
    struct om_session *session = NULL;
    struct golden_case *cases;
    size_t n;
    int rc;

    opts.intra_op_threads = 1;
    if (!run->path)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    OM_TRY(golden_cases_of(a, c, run->stem, &cases, &n, err));
    rc = om_session_open(NULL, run->path, &opts, &session, err);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = run_case(run, session, &cases[i], err);
    om_session_free(session);
    return rc;
}
