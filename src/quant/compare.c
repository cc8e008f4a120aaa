/* src/quant/compare.c: what quantization does to a model's outputs: both files run on the same
 * inputs. */
#include <math.h>

#include "quant/report.h"
#include "quant/samples.h"

#define SAMPLES 2

static void note(struct om_quant_difference *d, const struct om_tensor *was,
                 const struct om_tensor *now)
{
    const float *const a = was->data, *const b = now->data;
    int64_t n = 0;

    if (was->dtype != OM_F32 || now->dtype != OM_F32 || !om_count(was->dims, was->rank, &n))
        return;
    d->compared = true;
    for (int64_t i = 0; i < n; i++) {
        const double diff = fabs((double)a[i] - (double)b[i]);

        d->max = diff > d->max || isnan(diff) ? diff : d->max;
        d->largest = OM_MAX(d->largest, fabs((double)a[i]));
        d->error += diff * diff;
        d->total += (double)a[i] * (double)a[i];
    }
}

static bool same_shape(const struct om_tensor *a, const struct om_tensor *b)
{
    if (a->rank != b->rank)
        return false;
    for (uint32_t i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    return true;
}

static int run_sample(struct om_quant_file *f, struct om_session *const s[2],
                      const struct om_samples *samples, const struct om_doc *d, size_t sample,
                      struct om_error *err)
{
    struct om_arena a = OM_ARENA_INIT((size_t)1 << 30);
    struct om_results *results[2] = { NULL, NULL };
    struct om_tensor *inputs = NULL;
    size_t n = 0;
    int rc = om_samples_get(samples, sample, s[0], d, &a, &inputs, &n, err);

    for (int i = 0; i < 2 && rc == 0; i++)
        rc = om_session_run(s[i], inputs, n, &results[i], err);
    for (size_t i = 0; rc == 0 && i < f->n_differences; i++) {
        const struct om_tensor *const was = om_results_at(results[0], i);
        const struct om_tensor *const now = om_results_find(results[1], was->name);

        if (now && same_shape(was, now))
            note(&f->differences[i], was, now);
    }
    om_results_free(results[0]);
    om_results_free(results[1]);
    om_arena_release(&a);
    return rc;
}

static int name_outputs(struct om_quant_file *f, const struct om_session *s, struct om_error *err)
{
    const size_t n = om_session_output_count(s);

    f->differences = om_arena_array(&f->arena, n + 1, sizeof(*f->differences));
    if (!f->differences)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        f->differences[i].name = om_arena_str(&f->arena, om_sv_str(om_session_output(s, i)->name));
        if (!f->differences[i].name)
            return om_fail(err, OM_E_NOMEM, "out of memory");
    }
    f->n_differences = n;
    return 0;
}

int om_quant_compare(struct om_quant_file *f, const char *was, const char *now,
                     struct om_error *err)
{
    const struct om_samples samples = { .n = SAMPLES, .dummy = true };
    struct om_session *s[2] = { NULL, NULL };
    struct om_arena a = OM_ARENA_INIT((size_t)4 << 30);
    struct om_doc *d = NULL;
    int rc = om_doc_open(&a, was, &d, err);

    if (rc == 0)
        rc = om_session_open(NULL, was, NULL, &s[0], err);
    if (rc == 0)
        rc = om_wrap(err, om_session_open(NULL, now, NULL, &s[1], err), "%s", now);
    if (rc == 0)
        rc = name_outputs(f, s[0], err);
    for (size_t i = 0; i < samples.n && rc == 0; i++)
        rc = run_sample(f, s, &samples, d, i, err);
    om_session_free(s[0]);
    om_session_free(s[1]);
    om_doc_close(d);
    om_arena_release(&a);
    return rc;
}
