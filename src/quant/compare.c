/* src/quant/compare.c: what a change does to a model's outputs: both files run on the same
 * inputs. */
#include <math.h>

#include "base/half.h"
#include "quant/files.h"
#include "quant/report.h"
#include "quant/samples.h"

#define SAMPLES 2

static double element(const struct om_tensor *t, int64_t i)
{
    double v = 0;

    om_convert(&v, OM_F64, (const char *)t->data + (size_t)i * om_dtype_size(t->dtype), t->dtype,
               1);
    return v;
}

static void note(struct om_quant_difference *d, const struct om_tensor *was,
                 const struct om_tensor *now)
{
    int64_t n = 0;

    if (!om_count(was->dims, was->rank, &n))
        return;
    d->compared = true;
    for (int64_t i = 0; i < n; i++) {
        const double a = element(was, i), b = element(now, i), diff = a == b ? 0 : fabs(a - b);

        d->max = diff > d->max || isnan(diff) ? diff : d->max;
        d->largest = OM_MAX(d->largest, fabs(a));
        d->error += diff * diff;
        d->total += a * a;
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

static int new_differences(struct om_quant_file *f, const struct om_tensor *was, size_t n,
                           struct om_error *err)
{
    f->differences = om_arena_array(&f->arena, n + 1, sizeof(*f->differences));
    if (!f->differences)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        f->differences[i].name = om_arena_str(&f->arena, om_sv_str(was[i].name));
        if (!f->differences[i].name)
            return om_fail(err, OM_E_NOMEM, "out of memory");
    }
    f->n_differences = n;
    return 0;
}

int om_quant_note_outputs(struct om_quant_file *f, const struct om_tensor *was, size_t n,
                          const struct om_results *now, struct om_error *err)
{
    if (f->n_differences == 0)
        OM_TRY(new_differences(f, was, n, err));
    for (size_t i = 0; i < OM_MIN(n, f->n_differences); i++) {
        const struct om_tensor *const t = om_results_find(now, was[i].name);

        if (t && same_shape(&was[i], t))
            note(&f->differences[i], &was[i], t);
    }
    return 0;
}

static int note_results(struct om_quant_file *f, const struct om_results *was,
                        const struct om_results *now, struct om_arena *a, struct om_error *err)
{
    const size_t n = om_results_count(was);
    struct om_tensor *const t = om_arena_array(a, n + 1, sizeof(*t));

    if (!t)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        t[i] = *om_results_at(was, i);
    return om_quant_note_outputs(f, t, n, now, err);
}

/* The inputs in the types of s, which may have become float16. */
static int retype(const struct om_session *s, struct om_tensor *inputs, size_t n,
                  struct om_arena *a, struct om_error *err)
{
    for (size_t i = 0; i < om_session_input_count(s); i++) {
        const struct om_session_port *const p = om_session_input(s, i);

        for (size_t k = 0; k < n; k++) {
            struct om_tensor *const t = &inputs[k];
            int64_t count = 0;
            void *data;

            if (strcmp(t->name, p->name) != 0 || t->dtype == p->dtype ||
                !om_count(t->dims, t->rank, &count))
                continue;
            data = om_arena_array(a, (size_t)count + 1, om_dtype_size(p->dtype));
            if (!data)
                return om_fail(err, OM_E_NOMEM, "out of memory");
            om_convert(data, p->dtype, t->data, t->dtype, (size_t)count);
            t->dtype = p->dtype;
            t->data = data;
        }
    }
    return 0;
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

    for (int i = 0; i < 2 && rc == 0; i++) {
        rc = retype(s[i], inputs, n, &a, err);
        if (rc == 0)
            rc = om_session_run(s[i], inputs, n, &results[i], err);
    }
    if (rc == 0)
        rc = note_results(f, results[0], results[1], &a, err);
    om_results_free(results[0]);
    om_results_free(results[1]);
    om_arena_release(&a);
    return rc;
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
    for (size_t i = 0; i < samples.n && rc == 0; i++)
        rc = run_sample(f, s, &samples, d, i, err);
    om_session_free(s[0]);
    om_session_free(s[1]);
    om_doc_close(d);
    om_arena_release(&a);
    return rc;
}

int om_quant_report_finish(struct om_quant_report *r, struct om_quant_files *files, bool compare,
                           const char *page, struct om_error *err)
{
    for (size_t i = 0; compare && i < r->n; i++) {
        struct om_quant_file *const f = r->files[i];
        const char *const was = om_path_join(&files->arena, files->dir, f->name);
        const char *const now = om_path_join(&files->arena, files->out_dir, f->target);

        if (!was || !now)
            return om_fail(err, OM_E_NOMEM, "out of memory");
        OM_TRY(om_ctx_check(files->ctx, err));
        OM_TRY(om_quant_compare(f, was, now, err));
        om_quant_log_differences(files->ctx, f);
    }
    return page ? om_quant_report_write(r, page, files->durable, err) : 0;
}
