/* tests/fault/t_fault_export.c: whole exports under failing allocations, writes, reads and
 * removals.
 *
 * Every run gives a complete export or a code with a message; and in each case what has a final
 * name is complete, a model lies beside weights of its own export only, nothing hidden is left, and
 * no descriptor stays open. AddressSanitizer sees what a failed run forgot to free.
 *
 * Each call fails once, alone and with all later ones. Where an export makes more calls than RUNS,
 * only every n-th is tried, from another start in each sweep; OM_FAULT_FULL=1 tries them all. */
#include "base/file.h"
#include "fault/fault.h"
#include "tools/mkckpt_lib.h"

#include <optimum/export.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { RUNS = 12, FILES_MAX = 16 };

/* One file of an export, as the older and as the newer export write it. */
struct pair {
    const char *name;
    om_sv old, new;
};

struct scene {
    struct test *t;
    struct om_arena a;
    struct om_ctx *ctx;
    const char *task;                      /* of both exports */
    char older[512], newer[512], out[512]; /* two checkpoints; where exports go */
    enum om_weights_mode mode;
    struct pair files[FILES_MAX];
    size_t n_files;
    bool onto_old; /* an older export lies in out */
    bool variants; /* out is the folder of models in transformers.js's layout */
    bool removals_fail;
    unsigned sweeps;
};

enum generation { NEITHER = 0, OLD = 1, NEW = 2 };

/* ---- directories ---- */

static om_sv file_bytes(struct scene *s, const char *dir, const char *name)
{
    struct om_error err = OM_ERROR_INIT;
    om_sv bytes = { NULL, 0 };
    const char *path = om_path_join(&s->a, dir, name);

    if (path && om_file_exists(path))
        CHECK_OK(s->t, om_file_read(&s->a, path, 1u << 26, &bytes, &err), &err);
    om_error_release(&err);
    return bytes;
}

static void remove_files(struct scene *s)
{
    DIR *d = opendir(s->out);
    const struct dirent *e;
    char path[1024];

    while (d && (e = readdir(d)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", s->out, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            remove(path);
    }
    if (d)
        closedir(d);
    rmdir(s->out);
}

static void put_old_files(struct scene *s)
{
    char path[1024];

    CHECK_OK(s->t, om_dir_make(s->out, NULL), &(struct om_error)OM_ERROR_INIT);
    for (size_t i = 0; i < s->n_files; i++) {
        const struct pair *p = &s->files[i];
        if (!p->old.ptr)
            continue;
        snprintf(path, sizeof(path), "%s/%s", s->out, p->name);
        FILE *f = fopen(path, "wb");
        CHECK(s->t, f && fwrite(p->old.ptr, 1, p->old.len, f) == p->old.len && fclose(f) == 0);
    }
}

static size_t open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

/* ---- what must hold after every run ---- */

static unsigned generations(const struct scene *s, const char *name, om_sv bytes)
{
    for (size_t i = 0; i < s->n_files; i++) {
        const struct pair *p = &s->files[i];
        if (strcmp(p->name, name) == 0)
            return (p->old.ptr && om_sv_eq(bytes, p->old) ? OLD : 0u) |
                   (p->new.ptr &&om_sv_eq(bytes, p->new) ? NEW : 0u);
    }
    return NEITHER;
}

static bool ends(const char *name, const char *end)
{
    return om_sv_ends(om_sv_str(name), om_sv_str(end));
}

static bool is_hidden(const char *name)
{
    return name[0] == '.';
}

struct found {
    unsigned models, weights; /* the generations that all files of the kind belong to */
    size_t complete;          /* files of the newer export */
};

static void check_file(struct scene *s, const char *name, struct found *found)
{
    if (is_hidden(name)) {
        test_check(s->t, s->removals_fail, __FILE__, __LINE__, "%s was left over", name);
        return;
    }
    const unsigned g = generations(s, name, file_bytes(s, s->out, name));
    test_check(s->t, g != NEITHER, __FILE__, __LINE__, "%s is incomplete", name);
    if (ends(name, ".onnx"))
        found->models &= g;
    if (ends(name, ".onnx_data") || ends(name, ".safetensors"))
        found->weights &= g;
    found->complete += (g & NEW) != 0;
}

static size_t new_files(const struct scene *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_files; i++)
        n += s->files[i].new.ptr != NULL;
    return n;
}

static void check_out(struct scene *s, int rc)
{
    struct found found = { .models = OLD | NEW, .weights = OLD | NEW };
    const struct om_mark mark = om_arena_mark(&s->a);
    const struct dirent *e;
    DIR *d = opendir(s->out);

    while (d && (e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            check_file(s, e->d_name, &found);
    if (d)
        closedir(d);
    test_check(s->t, (found.models & found.weights) != 0 || s->mode == OM_WEIGHTS_EMBEDDED,
               __FILE__, __LINE__, "a model lies beside weights of another export");
    if (rc == 0)
        CHECK_INT(s->t, found.complete, new_files(s));
    om_arena_rewind(&s->a, mark);
}

/* ---- runs ---- */

static int export_to(const struct scene *s, const char *model, int opset, struct om_error *err)
{
    static const char *const dtypes[] = { "q8", "q4f16", "bnb4", NULL };
    struct om_export_opts o = OM_EXPORT_OPTS_INIT;
    char site[512], page[600];

    o.model = model;
    o.out_dir = s->out;
    if (s->variants) {
        snprintf(site, sizeof(site), "%.*s", (int)(strlen(s->out) - strlen("/onnx")), s->out);
        snprintf(page, sizeof(page), "%s/page.html", site);
        o.out_dir = site;
        o.transformersjs_dtypes = dtypes;
        o.report = page;
        o.transformersjs = true;
    }
    o.task = s->task;
    o.opset = opset;
    o.weights = s->mode;
    o.validation = OM_VALIDATE_NEVER;
    o.durable = true;
    return om_export_run(s->ctx, &o, err);
}

/* Jansson takes some failed allocations for syntax errors, and does not say that it did. */
static bool is_jansson_error(int rc, const struct om_error *err)
{
    return rc == OM_E_FORMAT && strstr(om_error_text(err), ": line ") != NULL;
}

/* Export under a plan; how many calls it made to fail. */
static uint64_t run_plan(struct scene *s, const struct fault_plan *plan)
{
    struct om_error err = OM_ERROR_INIT;
    const size_t open = open_descriptors();

    remove_files(s);
    if (s->onto_old)
        put_old_files(s);
    s->removals_fail = (plan->kinds & FAULT_REMOVE) != 0;
    fault_arm(plan);
    const int rc = export_to(s, s->newer, 18, &err);
    const uint64_t failed = fault_disarm();
    test_case(s->t, "%s, mode %d%s, kinds %u, error %d, call %" PRIu64 "%s: %s", s->task,
              (int)s->mode, s->onto_old ? ", onto an old export" : "", plan->kinds, plan->error,
              plan->nth, plan->lasting ? " and after" : "", om_error_text(&err));
    CHECK(s->t, rc <= 0 && err.code == rc);
    CHECK(s->t, rc == 0 || om_error_text(&err)[0] != '\0');
    if (failed == 0)
        CHECK_OK(s->t, rc, &err);
    if (plan->kinds == FAULT_MEMORY)
        CHECK(s->t, rc == 0 || rc == OM_E_NOMEM || is_jansson_error(rc, &err));
    if (plan->kinds == FAULT_WRITE || plan->kinds == FAULT_REMOVE)
        CHECK(s->t, rc == 0 || rc == OM_E_IO);
    check_out(s, rc);
    CHECK_INT(s->t, open_descriptors(), open);
    om_error_release(&err);
    return failed;
}

static void sweep(struct scene *s, unsigned kinds, int error, bool lasting)
{
    struct fault_plan plan = {
        .kinds = kinds, .nth = UINT64_MAX, .error = error, .lasting = lasting
    };

    run_plan(s, &plan);
    const uint64_t calls = fault_calls();
    const uint64_t stride = getenv("OM_FAULT_FULL") ? 1 : OM_MAX(calls / RUNS, (uint64_t)1);
    for (plan.nth = 1 + s->sweeps++ % stride; plan.nth <= calls && !test_failed(s->t);
         plan.nth += stride)
        run_plan(s, &plan);
}

static void sweeps(struct scene *s)
{
    for (int lasting = 0; lasting < 2; lasting++) {
        sweep(s, FAULT_MEMORY, 0, lasting);
        sweep(s, FAULT_WRITE, 0, lasting);
        sweep(s, FAULT_WRITE, EIO, lasting);
        sweep(s, FAULT_READ, 0, lasting);
        sweep(s, FAULT_COPY, 0, lasting);
        sweep(s, FAULT_REMOVE, 0, lasting);
    }
    run_plan(s, &(struct fault_plan){ .most = 4097 });
    run_plan(s, &(struct fault_plan){ .most = 333 });
}

/* ---- scenes ---- */

/* Export both checkpoints once, without faults, to know what complete files are. */
static void record(struct scene *s)
{
    struct om_error err = OM_ERROR_INIT;
    const char **names;
    size_t n;

    s->n_files = 0;
    for (int newer = 0; newer < 2; newer++) {
        remove_files(s);
        CHECK_OK(s->t, export_to(s, newer ? s->newer : s->older, newer ? 18 : 17, &err), &err);
        CHECK_OK(s->t, om_dir_list(&s->a, s->out, &names, &n, &err), &err);
        for (size_t i = 0; i < n && !test_failed(s->t); i++) {
            size_t k = 0;
            while (k < s->n_files && strcmp(s->files[k].name, names[i]) != 0)
                k++;
            CHECK(s->t, k < FILES_MAX);
            if (k == s->n_files)
                s->files[s->n_files++] = (struct pair){ .name = names[i] };
            *(newer ? &s->files[k].new : &s->files[k].old) = file_bytes(s, s->out, names[i]);
        }
    }
    CHECK(s->t, new_files(s) >= 2);
    om_error_release(&err);
}

static void ignore_line(void *user, enum om_level level, const char *line)
{
    (void)user, (void)level, (void)line;
}

static void setup(struct test *t, struct scene *s, const char *type, const char *task)
{
    const char *dir = test_tmpdir(t);
    char golden[256];
    struct om_error err = OM_ERROR_INIT;

    *s = (struct scene){ .t = t, .a = OM_ARENA_INIT(1u << 28), .ctx = om_ctx_new(), .task = task };
    om_ctx_set_log(s->ctx, ignore_line, NULL, OM_LOG_DEBUG);
    snprintf(s->older, sizeof(s->older), "%s/older", dir);
    snprintf(s->newer, sizeof(s->newer), "%s/newer", dir);
    snprintf(s->out, sizeof(s->out), "%s/out", dir);
    snprintf(golden, sizeof(golden), "goldens/%s/%s", type, task);
    CHECK_OK(
        t,
        mkckpt_run(test_data(t, golden), s->older, &(struct mkckpt_opts){ .dtype = OM_F16 }, &err),
        &err);
    CHECK_OK(
        t, mkckpt_run(test_data(t, golden), s->newer, &(struct mkckpt_opts)MKCKPT_OPTS_INIT, &err),
        &err);
    om_error_release(&err);
}

static void run_scenes(struct test *t, const char *type, const char *task)
{
    static const enum om_weights_mode modes[] = { OM_WEIGHTS_EMBEDDED, OM_WEIGHTS_EXTERNAL,
                                                  OM_WEIGHTS_SAFETENSORS };
    struct scene s;

    setup(t, &s, type, task);
    for (size_t i = 0; i < OM_COUNT(modes) && !test_failed(t); i++) {
        s.mode = modes[i];
        record(&s);
        for (int onto_old = 0; onto_old < 2 && !test_failed(t); onto_old++) {
            s.onto_old = onto_old;
            sweeps(&s);
        }
    }
    om_ctx_free(s.ctx);
    om_arena_release(&s.a);
}

/* Files that are made of the model, and their tensors in files of their own. */
static void variants(struct test *t)
{
    struct scene s;

    setup(t, &s, "bert", "question-answering");
    s.variants = true;
    strcat(s.out, "/onnx");
    for (int external = 0; external < 2 && !test_failed(t); external++) {
        s.mode = external ? OM_WEIGHTS_EXTERNAL : OM_WEIGHTS_EMBEDDED;
        record(&s);
        for (int onto_old = 0; onto_old < 2 - external && !test_failed(t); onto_old++) {
            s.onto_old = onto_old;
            sweeps(&s);
        }
        s.onto_old = false;
    }
    om_ctx_free(s.ctx);
    om_arena_release(&s.a);
}

static void encoder(struct test *t)
{
    run_scenes(t, "bert", "question-answering");
}

static void decoder(struct test *t)
{
    run_scenes(t, "llama", "text-generation-with-past");
}

static void encoder_decoder(struct test *t)
{
    run_scenes(t, "t5", "text2text-generation-with-past");
}

const struct test_entry t_fault_export[] = { { "encoder", encoder },
                                             { "decoder", decoder },
                                             { "encoder_decoder", encoder_decoder },
                                             { "variants", variants },
                                             TEST_END };
