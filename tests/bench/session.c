/* tests/bench/session.c: how long ONNX Runtime takes to load a text model, and to run it.
 *
 * usage: session [--as-validation] FILE.onnx BATCHxLENGTH...
 *
 * Prints "load SECONDS", then for every shape "BATCHxLENGTH SECONDS", the median of several runs.
 * With --as-validation the session is set up as the exporter's validation does it, and each shape
 * runs once. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <optimum/session.h>

#define MAX_INPUTS 8
#define MAX_RUNS 1000
#define MIN_RUNS 9
#define WARM_UP_RUNS 3
#define SECONDS_PER_SHAPE 0.5

struct input {
    struct om_tensor tensors[MAX_INPUTS];
    size_t n;
    int64_t dims[2];
    int64_t *ids, *ones;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Ids that differ, and a mask that hides nothing. */
static int make_input(const struct om_session *s, const char *shape, struct input *in,
                      struct om_error *err)
{
    int used = 0;

    memset(in, 0, sizeof(*in));
    if (sscanf(shape, "%" SCNd64 "x%" SCNd64 "%n", &in->dims[0], &in->dims[1], &used) != 2 ||
        shape[used] != '\0' || in->dims[0] < 1 || in->dims[1] < 1 || in->dims[0] > 1024 ||
        in->dims[1] > 1024)
        return om_fail(err, OM_E_USAGE, "shape \"%s\": expected BATCHxLENGTH", shape);
    const size_t n = (size_t)(in->dims[0] * in->dims[1]);
    in->ids = malloc(n * sizeof(*in->ids));
    in->ones = malloc(n * sizeof(*in->ones));
    if (!in->ids || !in->ones)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        in->ids[i] = (int64_t)(i * 37 % 997 + 1);
        in->ones[i] = 1;
    }
    in->n = om_session_input_count(s);
    if (in->n > MAX_INPUTS)
        return om_fail(err, OM_E_UNSUPPORTED, "%zu inputs, expected a text model", in->n);
    for (size_t i = 0; i < in->n; i++) {
        const char *name = om_session_input(s, i)->name;

        in->tensors[i] = (struct om_tensor){
            .name = name,
            .dtype = OM_I64,
            .rank = 2,
            .dims = in->dims,
            .data = strcmp(name, "attention_mask") == 0 ? in->ones : in->ids,
        };
    }
    return 0;
}

static int run_once(struct om_session *s, const struct input *in, double *seconds,
                    struct om_error *err)
{
    struct om_results *results = NULL;
    const double start = now();
    const int rc = om_session_run(s, in->tensors, in->n, &results, err);

    *seconds = now() - start;
    om_results_free(results);
    return rc;
}

static int median_run(struct om_session *s, const struct input *in, double *seconds,
                      struct om_error *err)
{
    static double all[MAX_RUNS];
    size_t n = 0;
    int rc = 0;

    for (int i = 0; rc == 0 && i < WARM_UP_RUNS; i++)
        rc = run_once(s, in, seconds, err);
    for (double left = SECONDS_PER_SHAPE; rc == 0 && n < MAX_RUNS && (left > 0.0 || n < MIN_RUNS);
         n++) {
        rc = run_once(s, in, &all[n], err);
        left -= all[n];
    }
    qsort(all, n, sizeof(all[0]), by_value);
    *seconds = all[n / 2];
    return rc;
}

static int time_shape(struct om_session *s, const char *shape, bool once, struct om_error *err)
{
    struct input in;
    double seconds = 0.0;
    int rc = make_input(s, shape, &in, err);

    if (rc == 0)
        rc = once ? run_once(s, &in, &seconds, err) : median_run(s, &in, &seconds, err);
    if (rc == 0)
        printf("%s %.6f\n", shape, seconds);
    free(in.ids);
    free(in.ones);
    return rc;
}

static int measure(const char *file, char **shapes, int n_shapes, bool as_validation,
                   struct om_error *err)
{
    struct om_session_opts opts = OM_SESSION_OPTS_INIT;
    struct om_session *s = NULL;
    const char *version, *path;
    double start = now();
    int rc = om_ort_version(&version, &path, err);

    if (rc == 0)
        printf("library %.6f\n", now() - start);
    if (as_validation) {
        opts.disable_prepacking = true;
        opts.opt_level = OM_ORT_OPT_BASIC;
    }
    start = now();
    if (rc == 0)
        rc = om_session_open(NULL, file, &opts, &s, err);
    if (rc == 0)
        printf("load %.6f\n", now() - start);
    for (int i = 0; rc == 0 && i < n_shapes; i++)
        rc = time_shape(s, shapes[i], as_validation, err);
    om_session_free(s);
    return rc;
}

int main(int argc, char **argv)
{
    const bool as_validation = argc > 1 && strcmp(argv[1], "--as-validation") == 0;
    const int first = as_validation ? 2 : 1;
    struct om_error err = OM_ERROR_INIT;

    if (argc <= first) {
        fprintf(stderr, "usage: session [--as-validation] FILE.onnx BATCHxLENGTH...\n");
        return 2;
    }
    if (measure(argv[first], argv + first + 1, argc - first - 1, as_validation, &err) < 0) {
        fprintf(stderr, "session: %s\n", om_error_text(&err));
        om_error_release(&err);
        return 1;
    }
    return 0;
}
