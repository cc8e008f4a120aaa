/* tests/golden/test_exports.c: `optimize` on what Optimum's exporter wrote, and on our own files of
 * the same checkpoints: values are PyTorch's, and no more nodes are left than by Optimum's
 * optimizer, as recorded in tests/data/exports (see record_exports.py). */
#include <optimum/export.h>
#include <optimum/optimize.h>
#include <optimum/session.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "golden.h"
#include "onnx/doc.h"
#include "tools/mkckpt_lib.h"

/* Of the largest magnitude of an output: fusions compute the same; Gelu is approximated at O3. */
static const struct level {
    const char *name;
    double tolerance;
} levels[] = { { "O1", 1e-4 }, { "O2", 1e-4 }, { "O3", 1e-3 } };

enum { ORIGIN, GOLDEN, FILE_NAME, NODES, FIRST_LEVEL, COLUMNS = FIRST_LEVEL + OM_COUNT(levels) };

struct suite {
    const char *data, *dir; /* of the test data, of files that are made */
    unsigned passed, failed;
};

/* One line of nodes.tsv. */
struct row {
    struct om_arena *arena;
    om_sv cells[COLUMNS];
    struct golden golden;
    struct golden_cases cases;
    const char *file; /* what is optimized */
};

/* ---- files ---- */

static const char *cell(const struct row *r, unsigned column)
{
    return om_arena_str(r->arena, r->cells[column]);
}

/* Our export of the golden's checkpoint, made when the first of its rows comes. */
static int export_ours(const struct suite *s, struct row *r, const char *out, struct om_error *err)
{
    const char *model = om_arena_printf(r->arena, "%s-checkpoint", out);
    struct om_export_opts o = OM_EXPORT_OPTS_INIT;

    (void)s;
    if (om_dir_exists(out))
        return 0;
    OM_TRY(mkckpt_run(r->golden.dir, model, &(const struct mkckpt_opts)MKCKPT_OPTS_INIT, err));
    o.model = model;
    o.out_dir = out;
    o.task = r->golden.task;
    o.validation = OM_VALIDATE_NEVER;
    return om_export_run(NULL, &o, err);
}

static int open_row(const struct suite *s, struct row *r, struct om_error *err)
{
    const char *golden = cell(r, GOLDEN), *name = cell(r, FILE_NAME), *slash;

    slash = golden ? strchr(golden, '/') : NULL;
    if (!slash || !name)
        return om_fail(err, OM_E_FORMAT, "a line of nodes.tsv is malformed");
    r->golden = (struct golden){ .dir = om_arena_printf(r->arena, "%s/goldens/%s", s->data, golden),
                                 .model_type = om_arena_str(
                                     r->arena, (om_sv){ golden, (size_t)(slash - golden) }),
                                 .task = slash + 1 };
    OM_TRY(golden_cases_open(r->arena, &r->golden, &r->cases, err));
    if (om_sv_is(r->cells[ORIGIN], "ours")) {
        const char *out = om_arena_printf(r->arena, "%s/%s", s->dir, r->golden.model_type);

        OM_TRY(export_ours(s, r, out, err));
        r->file = om_arena_printf(r->arena, "%s/%s", out, name);
    } else {
        r->file = om_arena_printf(r->arena, "%s/exports/%s/%s", s->data, golden, name);
    }
    return 0;
}

/* ---- one level ---- */

static int count_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    (void)err;
    *(size_t *)user += g->nodes.len;
    return 0;
}

static int count_nodes(struct om_arena *a, const char *path, size_t *n, struct om_error *err)
{
    struct om_doc *d = NULL;
    int rc;

    *n = 0;
    OM_TRY(om_doc_open(a, path, &d, err));
    rc = om_doc_walk(d->graph, count_graph, n, err);
    om_doc_close(d);
    return rc;
}

/* What a branch gives is made by a node here, empty caches of the encoder too; ONNX Runtime, which
 * is the optimizer at O1, makes them tensors of the branch. */
static int64_t excess(const struct row *r, unsigned level)
{
    return level == 0 && om_sv_is(r->cells[ORIGIN], "ours") &&
                   om_sv_is(r->cells[FILE_NAME], "decoder_model_merged.onnx")
               ? 4
               : 0;
}

static int check_count(struct row *r, const char *path, unsigned level, size_t *n,
                       struct om_error *err)
{
    const om_sv recorded = r->cells[FIRST_LEVEL + level];
    int64_t most;

    OM_TRY(count_nodes(r->arena, path, n, err));
    if (om_sv_is(recorded, "-")) /* Optimum's optimizer fails */
        return 0;
    if (!om_sv_i64(recorded, &most))
        return om_fail(err, OM_E_FORMAT, "nodes.tsv: \"%.*s\" is no number", OM_SV(recorded));
    return (int64_t)*n <= most + excess(r, level)
               ? 0
               : om_fail(err, OM_E_MISMATCH, "%zu nodes, Optimum's optimizer leaves %" PRId64, *n,
                         most);
}

static int run_level(const struct suite *s, struct row *r, unsigned level, char *note, size_t size,
                     struct om_error *err)
{
    const char *name = cell(r, FILE_NAME), *suffix = levels[level].name;
    const size_t stem = strlen(name) - strlen(".onnx");
    const char *out = om_arena_printf(r->arena, "%s/%s", s->dir, suffix);
    struct om_optimize_opts o = OM_OPTIMIZE_OPTS_INIT;
    struct om_optimize_config config;
    struct golden_run run = { .path = om_arena_printf(r->arena, "%s/%.*s_%s.onnx", out, (int)stem,
                                                      name, suffix),
                              .stem = om_arena_str(r->arena, (om_sv){ name, stem }),
                              .tolerance = levels[level].tolerance };
    size_t n;

    OM_TRY(om_optimize_level(levels[level].name, &config, err));
    o.model = r->file;
    o.out_dir = out;
    o.suffix = suffix;
    o.config = &config;
    OM_TRY(om_optimize_run(NULL, &o, err));
    OM_TRY(golden_run(r->arena, &r->cases, &run, err));
    OM_TRY(check_count(r, run.path, level, &n, err));
    snprintf(note, size, " %s %zu of %.*s", suffix, n, OM_SV(r->cells[FIRST_LEVEL + level]));
    return 0;
}

/* ---- the table ---- */

static void run_row(struct suite *s, struct row *r)
{
    struct om_error err = OM_ERROR_INIT;
    char notes[OM_COUNT(levels)][64] = { "" };
    int rc = open_row(s, r, &err);

    for (unsigned i = 0; i < OM_COUNT(levels); i++) {
        if (rc == 0)
            rc = run_level(s, r, i, notes[i], sizeof(notes[i]), &err);
        if (rc < 0)
            printf("FAIL %.*s %.*s %.*s at %s: %s\n", OM_SV(r->cells[ORIGIN]),
                   OM_SV(r->cells[GOLDEN]), OM_SV(r->cells[FILE_NAME]), levels[i].name,
                   om_error_text(&err));
        s->failed += rc < 0;
        s->passed += rc == 0;
        om_error_release(&err);
        rc = 0;
    }
    printf("%.*s %.*s %.*s: %.*s nodes,%s%s%s\n", OM_SV(r->cells[ORIGIN]), OM_SV(r->cells[GOLDEN]),
           OM_SV(r->cells[FILE_NAME]), OM_SV(r->cells[NODES]), notes[0], notes[1], notes[2]);
    golden_cases_close(&r->cases);
}

static bool split(om_sv line, struct row *r)
{
    for (unsigned i = 0; i < COLUMNS; i++) {
        const char *tab = line.len ? memchr(line.ptr, '\t', line.len) : NULL;
        const size_t len = tab ? (size_t)(tab - line.ptr) : line.len;

        if (len == 0)
            return false;
        r->cells[i] = (om_sv){ line.ptr, len };
        line.ptr += len + (tab != NULL);
        line.len -= len + (tab != NULL);
    }
    return line.len == 0;
}

static int run_table(struct suite *s, struct om_error *err)
{
    struct om_arena list = OM_ARENA_INIT((size_t)1 << 20);
    const char *path = om_arena_printf(&list, "%s/exports/nodes.tsv", s->data);
    om_sv text = { NULL, 0 };
    int rc = om_file_read(&list, path, (size_t)1 << 16, &text, err);
    bool header = true;

    while (rc == 0 && text.len > 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        const size_t len = end ? (size_t)(end - text.ptr) : text.len;
        struct om_arena a = OM_ARENA_INIT((size_t)1 << 30);
        struct row r = { .arena = &a };

        if (!split((om_sv){ text.ptr, len }, &r))
            rc = om_fail(err, OM_E_FORMAT, "%s: a line is malformed", path);
        else if (!header)
            run_row(s, &r);
        header = false;
        text.ptr += OM_MIN(len + 1, text.len);
        text.len -= OM_MIN(len + 1, text.len);
        om_arena_release(&a);
    }
    om_arena_release(&list);
    return rc;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

int main(void)
{
    const char *const data = getenv("OM_TEST_DATA"), *const required = getenv("OM_REQUIRE_ORT");
    char dir[] = "/tmp/optimum-exports-XXXXXX";
    struct suite s = { .data = data ? data : OM_TEST_DATA, .dir = dir };
    struct om_error err = OM_ERROR_INIT;
    const char *version, *path;

    if (om_ort_version(&version, &path, NULL) < 0) {
        const bool failed = required && atoi(required);

        printf("without ONNX Runtime nothing can be compared\n0 passed, %d failed, 1 skipped\n",
               failed);
        return failed;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!mkdtemp(dir))
        return EXIT_FAILURE;
    if (run_table(&s, &err) < 0) {
        printf("%s\n", om_error_text(&err));
        s.failed++;
    }
    om_error_release(&err);
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    printf("%u passed, %u failed, 0 skipped\n", s.passed, s.failed);
    return s.failed > 0 || s.passed == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
