/* tests/golden/test_pipelines.c: every recorded call of the text pipelines, through their JSON
 * door.
 *
 * test_pipelines [NAME...]: the directories of tests/data/pipelines, and those of
 * $OM_SHARED/goldens/pipelines. Each model is written from its description, exported by this
 * library and run with ONNX Runtime. All calls are made one by one, and those of one construction
 * again in a single batch. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "ckpt/ckpt.h"
#include "model/internal.h"
#include "tools/mkckpt_lib.h"

#include <optimum/pipeline.h>

#define TOLERANCE 1e-4
enum { SHOWN = 5 }; /* differences per directory */

struct run {
    struct om_arena arena;
    const char *dir, *checkpoint, *tokenizer;
    const char *overrides; /* tokenizer_overrides.json; NULL: none */
    struct om_json **lines;
    size_t n, line, failed;
    bool differs;
};

static void differ(struct run *r, const char *fmt, ...) OM_PRINTF(2, 3);

static void differ(struct run *r, const char *fmt, ...)
{
    va_list ap;

    if (!r->differs && r->failed < SHOWN) {
        printf("%s/cases.jsonl:%zu: ", r->dir, r->line + 1);
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
        putchar('\n');
    }
    r->differs = true;
}

/* ---- comparing ---- */

static bool near(double got, double want)
{
    return fabs(got - want) <= TOLERANCE * fmax(1.0, fabs(want));
}

static const char *one_line(struct run *r, const struct om_json *v)
{
    struct om_buf b = OM_BUF_INIT(1 << 20);
    const char *text;

    om_json_write(&b, v, 0);
    text = om_arena_printf(&r->arena, "%.400s", b.ptr ? b.ptr : "");
    om_buf_release(&b);
    return text;
}

/* A nested list against its shape, its first numbers and its sums. */
struct summary {
    double first[16], sum, abs_sum;
    size_t n;
};

static bool summarize(const struct om_json *got, const struct om_json *shape, size_t axis,
                      struct summary *s)
{
    int64_t extent;
    double x;

    if (axis == om_json_len(shape)) {
        if (!om_json_f64(got, &x))
            return false;
        if (s->n < OM_COUNT(s->first))
            s->first[s->n] = x;
        s->n++;
        s->sum += x;
        s->abs_sum += fabs(x);
        return true;
    }
    if (om_json_kind(got) != OM_JSON_ARRAY || !om_json_i64(om_json_at(shape, axis), &extent) ||
        om_json_len(got) != (size_t)extent)
        return false;
    for (size_t i = 0; i < om_json_len(got); i++)
        if (!summarize(om_json_at(got, i), shape, axis + 1, s))
            return false;
    return true;
}

static void compare_tensor(struct run *r, const struct om_json *got, const struct om_json *want)
{
    const struct om_json *const first = om_json_get(want, "first16");
    struct summary s = { .n = 0 };
    double sum = 0.0, abs_sum = 0.0, x = 0.0;

    om_json_f64(om_json_get(want, "sum"), &sum);
    om_json_f64(om_json_get(want, "abs_sum"), &abs_sum);
    if (!summarize(got, om_json_get(want, "shape"), 0, &s)) {
        differ(r, "the shape is not %s", one_line(r, om_json_get(want, "shape")));
        return;
    }
    for (size_t i = 0; i < om_json_len(first); i++)
        if (!om_json_f64(om_json_at(first, i), &x) || !near(s.first[i], x))
            differ(r, "number %zu: %g, recorded %g", i, s.first[i], x);
    if (fabs(s.sum - sum) > TOLERANCE * abs_sum || fabs(s.abs_sum - abs_sum) > TOLERANCE * abs_sum)
        differ(r, "sums: %g, %g, recorded %g, %g", s.sum, s.abs_sum, sum, abs_sum);
}

static void compare(struct run *r, const struct om_json *got, const struct om_json *want);

static void compare_object(struct run *r, const struct om_json *got, const struct om_json *want)
{
    struct om_json_iter g = { 0 }, w = { 0 };

    while (om_json_next(want, &w)) {
        if (!om_json_next(got, &g) || !om_sv_eq(g.key, w.key)) {
            differ(r, "expected key \"%.*s\" in: %s", OM_SV(w.key), one_line(r, got));
            return;
        }
        compare(r, g.value, w.value);
    }
    if (om_json_next(got, &g))
        differ(r, "surplus key \"%.*s\"", OM_SV(g.key));
}

static void compare(struct run *r, const struct om_json *got, const struct om_json *want)
{
    double x, y;
    om_sv a, b;

    if (om_json_get(want, "first16")) {
        compare_tensor(r, got, want);
    } else if (om_json_kind(want) == OM_JSON_OBJECT) {
        compare_object(r, got, want);
    } else if (om_json_kind(want) == OM_JSON_ARRAY) {
        if (om_json_kind(got) != OM_JSON_ARRAY || om_json_len(got) != om_json_len(want))
            differ(r, "%s, recorded %s", one_line(r, got), one_line(r, want));
        for (size_t i = 0; i < om_json_len(want) && !r->differs; i++)
            compare(r, om_json_at(got, i), om_json_at(want, i));
    } else if (om_json_str(want, &b)) {
        if (!om_json_str(got, &a) || !om_sv_eq(a, b))
            differ(r, "%s, recorded %s", one_line(r, got), one_line(r, want));
    } else if (!om_json_f64(want, &x) || !om_json_f64(got, &y) || !near(y, x) ||
               om_json_kind(got) != om_json_kind(want)) {
        if (!(om_json_f64(want, &x) && x == 0.0 && om_json_f64(got, &y) && y == 0.0))
            differ(r, "%s, recorded %s", one_line(r, got), one_line(r, want));
    }
}

static void check_reply(struct run *r, const struct om_pipeline_reply *reply)
{
    const struct om_json *const c = r->lines[r->line];
    struct om_error err = OM_ERROR_INIT;
    struct om_json *got = NULL;

    r->differs = false;
    if (om_json_get(c, "error")) {
        if (reply->text)
            differ(r, "succeeds: %.200s, recorded %s", reply->text,
                   one_line(r, om_json_get(c, "error")));
    } else if (!reply->text) {
        differ(r, "%s", om_error_text(&reply->error));
    } else if (om_json_parse((om_sv){ reply->text, reply->len }, 0, &got, &err) < 0) {
        differ(r, "no JSON: %s", om_error_text(&err));
    } else {
        compare(r, got, om_json_get(c, "output"));
    }
    r->failed += r->differs;
    om_json_free(got);
    om_error_release(&err);
}

/* ---- running ---- */

static const char *text_of(struct run *r, const struct om_json *v)
{
    struct om_buf b = OM_BUF_INIT(1 << 24);
    const char *text;

    om_json_write(&b, v, 0);
    text = b.failed ? NULL : om_arena_str(&r->arena, om_buf_sv(&b));
    om_buf_release(&b);
    return text;
}

/* The construction's parameters with the tokenizer's overrides among them. */
static const char *init_of(struct run *r, const struct om_json *c)
{
    const struct om_json *const init = om_json_get(c, "init");
    const struct om_json_patch patch = { "tokenizer_kwargs", r->overrides };
    struct om_buf b = OM_BUF_INIT(1 << 24);
    const char *text = text_of(r, init);

    if (r->overrides && !om_json_get(init, "tokenizer_kwargs") &&
        om_json_patch(om_sv_str(text), &patch, 1, &b, NULL) == 0)
        text = om_arena_str(&r->arena, om_buf_sv(&b));
    om_buf_release(&b);
    return text;
}

static struct om_text request_of(struct run *r, size_t line)
{
    const char *const text = text_of(r, r->lines[line]);

    return (struct om_text){ text, strlen(text) };
}

/* The same task under the same name, with the same parameters. */
static bool same_init(struct run *r, size_t a, size_t b)
{
    om_sv x = { "", 0 }, y = { "", 0 };

    om_json_str(om_json_get(r->lines[a], "pipeline"), &x);
    om_json_str(om_json_get(r->lines[b], "pipeline"), &y);
    return om_sv_eq(x, y) && strcmp(init_of(r, r->lines[a]), init_of(r, r->lines[b])) == 0;
}

static void run_group(struct run *r, const struct om_pipeline *p, const size_t *lines, size_t n)
{
    struct om_text *const requests = calloc(n, sizeof(*requests));
    struct om_pipeline_reply *const replies = calloc(n, sizeof(*replies));
    struct om_error err = OM_ERROR_INIT;

    for (size_t i = 0; i < n; i++) {
        requests[i] = request_of(r, lines[i]);
        r->line = lines[i];
        if (om_pipeline_call(p, &requests[i], 1, OM_PIPELINE_JSON, replies, &err) == 0) {
            check_reply(r, replies);
            om_pipeline_replies_release(replies, 1);
        } else {
            r->differs = false;
            differ(r, "%s", om_error_text(&err));
            r->failed++;
        }
    }
    if (om_pipeline_call(p, requests, n, OM_PIPELINE_JSON, replies, &err) == 0) {
        for (size_t i = 0; i < n; i++) {
            r->line = lines[i];
            check_reply(r, &replies[i]);
        }
        om_pipeline_replies_release(replies, n);
    }
    om_error_release(&err);
    free(requests);
    free(replies);
}

/* All lines of the construction that line begins with. */
static void run_init(struct run *r, const char *exported, size_t line)
{
    struct om_pipeline_opts o = OM_PIPELINE_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    struct om_pipeline *p = NULL;
    size_t *const lines = calloc(r->n, sizeof(*lines));
    size_t n = 0;
    om_sv task = { "", 0 };

    om_json_str(om_json_get(r->lines[line], "pipeline"), &task);
    for (size_t i = line; i < r->n; i++)
        if (same_init(r, line, i))
            lines[n++] = i;
    o.task = om_arena_str(&r->arena, task);
    o.model = exported;
    o.tokenizer = r->tokenizer;
    o.init = init_of(r, r->lines[line]);
    o.threads = line % 2 ? 2 : 1;
    r->line = line;
    r->differs = false;
    if (om_pipeline_open(NULL, &o, &p, &err) < 0) {
        differ(r, "%s", om_error_text(&err));
        r->failed += n;
    } else {
        run_group(r, p, lines, n);
    }
    om_pipeline_free(p);
    om_error_release(&err);
    free(lines);
}

/* The checkpoint is exported once; pipelines of other parameters open what is there. */
static int export_once(struct run *r, const char *out, struct om_error *err)
{
    struct om_pipeline_opts o = OM_PIPELINE_OPTS_INIT;
    struct om_model_opts m = OM_MODEL_OPTS_INIT;
    struct om_pipeline *p = NULL;
    om_sv task = { "", 0 };
    int rc;

    om_json_str(om_json_get(r->lines[0], "pipeline"), &task);
    m.export_dir = out;
    o.task = om_arena_str(&r->arena, task);
    o.model = r->checkpoint;
    o.tokenizer = r->tokenizer;
    o.model_opts = &m;
    rc = om_pipeline_open(NULL, &o, &p, err);
    om_pipeline_free(p);
    return rc;
}

static void run_lines(struct run *r, const char *exported)
{
    for (size_t i = 0; i < r->n; i++) {
        bool seen = false;

        for (size_t k = 0; k < i && !seen; k++)
            seen = same_init(r, k, i);
        if (!seen)
            run_init(r, exported, i);
    }
}

/* ---- a directory ---- */

struct counts {
    size_t passed, failed, skipped;
};

static void count(struct counts *n, bool fine)
{
    n->passed += fine;
    n->failed += !fine;
}

static int read_lines(struct run *r, struct om_error *err)
{
    om_sv text, line;

    OM_TRY(om_file_read(&r->arena, om_path_join(&r->arena, r->dir, "cases.jsonl"), 1 << 26, &text,
                        err));
    r->lines = om_arena_array(&r->arena, text.len + 1, sizeof(struct om_json *));
    while (om_sv_split(&text, '\n', &line))
        if (line.len)
            OM_TRY(om_json_parse(line, 0, &r->lines[r->n++], err));
    return 0;
}

/* tokenizer.txt names a directory of the tokenizers beside the pipelines. */
static int find_tokenizer(struct run *r, const char *root, struct om_error *err)
{
    const char *const overrides = om_path_join(&r->arena, r->dir, "tokenizer_overrides.json");
    om_sv name, text;

    OM_TRY(om_file_read(&r->arena, om_path_join(&r->arena, r->dir, "tokenizer.txt"), 1 << 10, &name,
                        err));
    name = om_sv_trim(name);
    r->tokenizer = om_arena_printf(&r->arena, "%s/tokenizers/%.*s", root, OM_SV(name));
    if (om_file_exists(overrides)) {
        OM_TRY(om_file_read(&r->arena, overrides, 1 << 16, &text, err));
        r->overrides = text.ptr;
    }
    return 0;
}

static bool supported(const struct run *r)
{
    om_sv task;

    return r->n > 0 && om_json_str(om_json_get(r->lines[0], "pipeline"), &task) &&
           om_pipeline_task(om_arena_str((struct om_arena *)(uintptr_t)&r->arena, task));
}

static void run_directory(const char *root, const char *name, const char *scratch, struct counts *n)
{
    struct run r = { .arena = OM_ARENA_INIT(1 << 30) };
    struct om_error err = OM_ERROR_INIT;
    const char *out;
    int rc;

    r.dir = om_arena_printf(&r.arena, "%s/pipelines/%s", root, name);
    r.checkpoint = om_path_join(&r.arena, scratch, "checkpoint");
    out = om_path_join(&r.arena, scratch, "exported");
    rc = read_lines(&r, &err);
    if (rc == 0 && supported(&r)) {
        rc = find_tokenizer(&r, root, &err);
        if (rc == 0)
            rc = mkckpt_run(r.dir, r.checkpoint, &(const struct mkckpt_opts)MKCKPT_OPTS_INIT, &err);
        if (rc == 0)
            rc = export_once(&r, out, &err);
        if (rc == 0)
            run_lines(&r, out);
        printf("%s: %zu calls, %zu failed%s%s\n", name, r.n, r.failed, rc < 0 ? ": " : "",
               om_error_text(&err));
        count(n, rc == 0 && r.failed == 0);
    } else if (rc < 0) {
        printf("%s: %s\n", name, om_error_text(&err));
        count(n, false);
    } else {
        n->skipped++; /* another kind of pipeline */
    }
    om_model_remove_dir(r.checkpoint);
    om_model_remove_dir(out);
    for (size_t i = 0; i < r.n; i++)
        om_json_free(r.lines[i]);
    om_error_release(&err);
    om_arena_release(&r.arena);
}

static bool wanted(const char *name, char **names, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return n == 0;
}

static void run_root(const char *root, char **names, int n_names, const char *scratch,
                     struct counts *n)
{
    struct om_arena a = OM_ARENA_INIT(1 << 24);
    struct om_error err = OM_ERROR_INIT;
    const char **list = NULL;
    size_t len = 0;

    if (om_dir_list(&a, om_path_join(&a, root, "pipelines"), &list, &len, &err) < 0) {
        printf("%s\n", om_error_text(&err));
        count(n, false);
    }
    for (size_t i = 0; i < len; i++) {
        const char *const cases = om_arena_printf(&a, "%s/pipelines/%s/cases.jsonl", root, list[i]);

        if (wanted(list[i], names, n_names) && om_file_exists(cases))
            run_directory(root, list[i], scratch, n);
    }
    om_error_release(&err);
    om_arena_release(&a);
}

/* ---- a real model ---- */

#define REAL OM_TEST_DATA "/real/all-MiniLM-L6-v2/"
#define REAL_TOLERANCE 1e-5

static int read_sentences(struct om_arena *a, struct om_json **doc, struct om_text **out, size_t *n,
                          struct om_error *err)
{
    OM_TRY(om_json_read(REAL "texts.json", 0, doc, err));
    *n = om_json_len(*doc);
    *out = om_arena_array(a, *n, sizeof(**out));
    for (size_t i = 0; *out && i < *n; i++) {
        om_sv text = { "", 0 };

        om_json_str(om_json_at(*doc, i), &text);
        (*out)[i] = (struct om_text){ text.ptr, text.len };
    }
    return *out ? 0 : om_fail(err, OM_E_NOMEM, "out of memory");
}

/* The largest difference of the vectors to the recorded ones; negative: they have another size. */
static double worst(const struct om_features *got, size_t n, const float *want, size_t size)
{
    double most = 0.0;

    for (size_t i = 0; i < n; i++) {
        if (got[i].rows != 1 || got[i].size != size)
            return -1.0;
        for (size_t k = 0; k < size; k++)
            most = fmax(most, fabs((double)got[i].data[k] - want[i * size + k]));
    }
    return most;
}

/* Each of the first vectors is most like itself. */
static bool alike(const struct om_pipeline *p, const struct om_text *texts, size_t n,
                  struct om_error *err)
{
    const float *like = NULL;
    bool fine = true;

    for (size_t i = 0; i < OM_MIN(n, 4) && fine; i++) {
        if (om_pipeline_similarity(p, &texts[i], texts, n, &like, err) < 0)
            return false;
        for (size_t k = 0; k < n; k++)
            fine = fine && like[k] <= like[i] + 1e-6F && fabsf(like[i] - 1.0F) < 1e-5F;
        om_pipeline_release(like);
    }
    return fine;
}

static int compare_real(struct om_arena *a, const struct om_pipeline *p, bool *fine,
                        struct om_error *err)
{
    const struct om_features *vectors = NULL;
    struct om_ckpt *file = NULL;
    struct om_json *doc = NULL;
    struct om_text *texts = NULL;
    size_t n = 0;
    int rc = read_sentences(a, &doc, &texts, &n, err);

    if (rc == 0)
        rc = om_ckpt_open_file(a, REAL "expected.safetensors", &file, err);
    if (rc == 0)
        rc = om_pipeline_embed(p, texts, n, NULL, &vectors, err);
    if (rc == 0) {
        const struct om_ckpt_tensor *const want =
            om_ckpt_find(file, OM_SVL("outputs/sentence_embedding"));
        const float *const data =
            want ? om_arena_copy(a, om_ckpt_data(want), (size_t)want->bytes) : NULL;
        const double most = data && want->bytes == n * vectors[0].size * sizeof(*data)
                                ? worst(vectors, n, data, vectors[0].size)
                                : -1.0;

        printf("all-MiniLM-L6-v2: %zu sentences, largest difference %.1e\n", n, most);
        *fine = most >= 0.0 && most <= REAL_TOLERANCE && alike(p, texts, n, err);
    }
    om_pipeline_release(vectors);
    om_ckpt_close(file);
    om_json_free(doc);
    return rc;
}

static bool run_real(const char *model)
{
    struct om_pipeline_opts o = OM_PIPELINE_OPTS_INIT;
    struct om_arena a = OM_ARENA_INIT(1 << 26);
    struct om_error err = OM_ERROR_INIT;
    struct om_pipeline *p = NULL;
    bool fine = false;
    int rc;

    o.task = "sentence-similarity";
    o.model = model;
    rc = om_pipeline_open(NULL, &o, &p, &err);
    if (rc == 0)
        rc = compare_real(&a, p, &fine, &err);
    if (rc < 0)
        printf("all-MiniLM-L6-v2: %s\n", om_error_text(&err));
    om_pipeline_free(p);
    om_error_release(&err);
    om_arena_release(&a);
    return fine;
}

/* ---- everything ---- */

static bool have_ort(void)
{
    struct om_error err = OM_ERROR_INIT;
    const bool have = om_ort_version(NULL, NULL, &err) == 0;

    if (!have)
        printf("%s\n", om_error_text(&err));
    om_error_release(&err);
    return have;
}

int main(int argc, char **argv)
{
    const char *const shared = getenv("OM_SHARED"), *const minilm = getenv("OM_MINILM");
    const char *const must = getenv("OM_REQUIRE_ORT");
    char scratch[] = "/tmp/test-pipelines-XXXXXX";
    struct counts n = { .passed = 0 };
    char root[4096];

    if (!have_ort()) {
        const bool failed = must && strcmp(must, "1") == 0;

        printf("0 passed, %d failed, %d skipped\n", failed, !failed);
        return failed;
    }
    if (!mkdtemp(scratch))
        return 1;
    run_root(OM_TEST_DATA, argv + 1, argc - 1, scratch, &n);
    if (shared && shared[0]) {
        snprintf(root, sizeof(root), "%s/goldens", shared);
        run_root(root, argv + 1, argc - 1, scratch, &n);
    }
    if (minilm && minilm[0] && argc == 1)
        count(&n, run_real(minilm));
    rmdir(scratch);
    printf("%zu passed, %zu failed, %zu skipped\n", n.passed, n.failed, n.skipped);
    return n.failed > 0;
}
