/* src/ort/api.c: finds ONNX Runtime's shared library and reads its function table. */
#include "ort/api.h"

#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"

#define LIBRARY_STEM "libonnxruntime.so"
#define SEARCH_TEXT_MAX (64u << 10) /* of the lists in a message */
#define SEARCH_ARENA_MAX (16u << 20)

typedef void ort_fn(void);

struct ort_api_base {
    ort_fn *const *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
};

/* The one piece of process-wide state: ONNX Runtime allows one environment per process, shares
 * thread pools and allocators through it, and its library cannot be unloaded. Written once, under
 * the lock. */
static struct {
    pthread_mutex_t lock;
    bool open;
    struct om_ort ort;
} process = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ONNX Runtime has one log callback per process, while a context belongs to the thread that is
 * inside a call with it. */
static _Thread_local struct om_ctx *thread_ctx;

/* A search in progress. Texts are for the message that is needed when all fails. */
struct search {
    struct om_arena arena;
    struct om_ort *ort;
    struct om_buf places;  /* where was looked */
    struct om_buf refused; /* which files were there and why they were not taken */
    bool no_memory;
};

void om_ort_log_to(struct om_ctx *ctx)
{
    thread_ctx = ctx;
}

/* One level lower than ONNX Runtime's own: what makes a call fail comes back as its status. */
static void forward_log(void *user, int severity, const char *category, const char *logid,
                        const char *location, const char *message)
{
    (void)user, (void)category, (void)logid, (void)location;
    if (severity >= ORT_LOG_WARNING)
        om_log(thread_ctx, severity >= ORT_LOG_ERROR ? OM_LOG_WARNING : OM_LOG_INFO,
               "ONNX Runtime: %s", message ? message : "");
}

static int code_of(int ort_code)
{
    switch (ort_code) {
    case ORT_NO_SUCHFILE:
        return OM_E_MISSING;
    case ORT_INVALID_PROTOBUF:
    case ORT_INVALID_GRAPH:
        return OM_E_FORMAT;
    case ORT_NOT_IMPLEMENTED:
        return OM_E_UNSUPPORTED;
    default:
        return OM_E_RUNTIME;
    }
}

/* ONNX Runtime's messages may span lines and end in one; white space becomes single blanks. */
static void add_one_line(struct om_buf *b, const char *s)
{
    om_sv rest = om_sv_trim(om_sv_str(s));
    bool blank = false;

    for (size_t i = 0; i < rest.len; i++) {
        const bool space = (unsigned char)rest.ptr[i] <= ' ';
        if (!space)
            om_buf_addc(b, rest.ptr[i]);
        else if (!blank)
            om_buf_addc(b, ' ');
        blank = space;
    }
}

int om_ort_check(const struct om_ort *ort, struct ort_status *status, struct om_error *err)
{
    struct om_buf text = OM_BUF_INIT(1u << 20);
    int rc;

    if (!status)
        return 0;
    rc = code_of(ort->error_code(status));
    add_one_line(&text, ort->error_message(status));
    rc = om_fail(err, rc, "ONNX Runtime: %s", text.ptr && text.len ? text.ptr : "unknown error");
    om_buf_release(&text);
    ort->release_status(status);
    return rc;
}

static int read_version(const char *version, uint32_t *minor, struct om_error *err)
{
    om_sv rest = om_sv_str(version), part;
    int64_t major = 0, n = -1;

    if (!om_sv_split(&rest, '.', &part) || !om_sv_i64(part, &major) ||
        !om_sv_split(&rest, '.', &part) || !om_sv_i64(part, &n) || n < 0 || n > 99999)
        return om_fail(err, OM_E_RUNTIME, "its version is \"%s\", expected 1.%u or newer",
                       version ? version : "", OM_ORT_MINOR_MIN);
    if (major != 1 || n < OM_ORT_MINOR_MIN)
        return om_fail(err, OM_E_RUNTIME, "it is version %s, expected 1.%u or a newer 1.x", version,
                       OM_ORT_MINOR_MIN);
    *minor = (uint32_t)n;
    return 0;
}

/* GetApi(v) answers for v up to the library's own minor version and prints a line for others, so
 * none is tried; the number also promises that no slot of a later release is read. */
static int read_table(struct om_ort *ort, const struct ort_api_base *base, struct om_error *err)
{
    const uint32_t asked = OM_MIN(ort->minor, OM_ORT_MINOR_MAX);
    ort_fn *const *slots = base->get_api(asked);

    if (!slots)
        return om_fail(err, OM_E_RUNTIME, "version %s does not offer its API version %" PRIu32,
                       ort->version, asked);
#define OM_ORT_FN(ret, name, slot, since, args) \
    ort->name = (since) <= asked ? (ret(*) args)slots[slot] : NULL;
#include "ort/api.def"
#undef OM_ORT_FN
    return 0;
}

static int make_environment(struct om_ort *ort, struct om_error *err)
{
    struct om_ctx *const ctx = thread_ctx;
    int rc;

    thread_ctx = NULL; /* what it says about the machine does not belong to the first session */
    rc = om_ort_check(
        ort, ort->create_env(forward_log, NULL, ORT_LOG_WARNING, "optimum", &ort->env), err);
    thread_ctx = ctx;
    if (rc == 0)
        rc = om_ort_check(ort, ort->default_allocator(&ort->allocator), err);
    if (rc == 0)
        rc = om_ort_check(
            ort, ort->create_cpu_memory_info(ORT_ALLOCATOR_DEVICE, ORT_MEMORY_DEFAULT, &ort->cpu),
            err);
    if (rc < 0 && ort->env)
        ort->release_env(ort->env);
    return rc;
}

static int read_library(struct om_ort *ort, void *handle, const char *name, struct om_error *err)
{
    void *const entry = dlsym(handle, "OrtGetApiBase");
    const struct ort_api_base *(*get_base)(void);
    const struct ort_api_base *base;
    Dl_info info;

    if (!entry)
        return om_fail(err, OM_E_RUNTIME, "it has no OrtGetApiBase");
    memcpy(&get_base, &entry,
           sizeof(get_base)); /* POSIX: a symbol's address is one of a function */
    base = get_base();
    if (!base)
        return om_fail(err, OM_E_RUNTIME, "its OrtGetApiBase gives nothing");
    ort->version = base->get_version();
    /* The loader's own copy of the name lives as long as the library. */
    ort->path = dladdr(entry, &info) && info.dli_fname ? info.dli_fname : name;
    OM_TRY(read_version(ort->version, &ort->minor, err));
    OM_TRY(read_table(ort, base, err));
    return make_environment(ort, err);
}

/* Note why a candidate was not taken; dlopen() puts the name before its reason, we do so otherwise.
 */
static void note_refused(struct search *s, const char *name, const char *why)
{
    om_buf_adds(&s->refused, s->refused.len ? "; " : "");
    if (!om_sv_starts(om_sv_str(why), om_sv_str(name)))
        om_buf_printf(&s->refused, "%s: ", name);
    add_one_line(&s->refused, why);
}

/* A bare name that the system's search did not find is absent rather than refused. A library that
 * it needs and that is missing gives the same text about another name. */
static bool is_absent(const char *name, const char *why)
{
    return !strchr(name, '/') && om_sv_starts(om_sv_str(why), om_sv_str(name)) &&
           strstr(why, "No such file");
}

/* Try one library; name is a path, or a bare name for the system's search. True when it was taken.
 */
static bool try_library(struct search *s, const char *name)
{
    struct om_ort ort = { .version = NULL };
    struct om_error err = OM_ERROR_INIT;
    void *const handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);

    if (!handle) {
        const char *why = dlerror();

        if (!why || !is_absent(name, why))
            note_refused(s, name, why ? why : "cannot be opened");
        return false;
    }
    if (read_library(&ort, handle, name, &err) < 0) {
        note_refused(s, name, om_error_text(&err));
        om_error_release(&err);
        dlclose(handle);
        return false;
    }
    *s->ort = ort;
    return true;
}

/* A path in the search's memory; NULL, and remembered, when there is none. */
static const char *path_text(struct search *s, const char *fmt, ...) OM_PRINTF(2, 3);

static const char *path_text(struct search *s, const char *fmt, ...)
{
    const char *path;
    va_list ap;

    va_start(ap, fmt);
    path = om_arena_vprintf(&s->arena, fmt, ap);
    va_end(ap);
    s->no_memory |= !path;
    return path;
}

static void note_place(struct search *s, const char *text)
{
    om_buf_printf(&s->places, "%s%s", s->places.len ? ", " : "", text);
}

/* Every libonnxruntime.so* of a directory, newest name first: wheels carry only the fully versioned
 * one. */
static bool search_dir(struct search *s, const char *dir)
{
    const char **names;
    size_t n;

    int rc;

    if (!om_dir_exists(dir))
        return false;
    rc = om_dir_list(&s->arena, dir, &names, &n, NULL);
    s->no_memory |= rc == OM_E_NOMEM;
    if (rc < 0)
        return false;
    while (n-- > 0) {
        const char *path;

        if (!om_sv_starts(om_sv_str(names[n]), OM_SVL(LIBRARY_STEM)))
            continue;
        path = path_text(s, "%s/%s", dir, names[n]);
        if (path && om_file_exists(path) && try_library(s, path))
            return true;
    }
    return false;
}

/* lib/ beside the program and beside its directory: bin/ and lib/ of an installation, tests/ and
 * lib/ of a build. */
static bool search_beside_program(struct search *s)
{
    char dir[PATH_MAX];
    const ssize_t len = readlink("/proc/self/exe", dir, sizeof(dir) - 1);

    dir[OM_MAX(len, 0)] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(dir, '/');
        const char *lib;

        if (!slash)
            return false;
        *slash = '\0';
        lib = path_text(s, "%s/lib", dir);
        if (!lib)
            return false;
        note_place(s, lib);
        if (search_dir(s, lib))
            return true;
    }
    return false;
}

static bool search_system(struct search *s)
{
    note_place(s, "the system's library path");
    return try_library(s, LIBRARY_STEM ".1") || try_library(s, LIBRARY_STEM);
}

/* The onnxruntime package in the Python installation at prefix, which may be a pattern. */
static bool search_prefix(struct search *s, const char *prefix)
{
    static const char *const layouts[] = { "lib/python3*/site-packages",
                                           "lib/python3*/dist-packages",
                                           "lib/python3/dist-packages" };
    bool found = false;

    for (size_t i = 0; i < OM_COUNT(layouts) && !found; i++) {
        const char *pattern = path_text(s, "%s/%s/onnxruntime/capi", prefix, layouts[i]);
        glob_t g;

        if (!pattern || glob(pattern, GLOB_ONLYDIR, NULL, &g) != 0)
            continue;
        for (size_t k = g.gl_pathc; k-- > 0 && !found;)
            found = search_dir(s, g.gl_pathv[k]);
        globfree(&g);
    }
    return found;
}

/* Python is not started: its installations are the directories that $PATH finds it in. */
static bool search_path_prefixes(struct search *s)
{
    om_sv rest = om_sv_str(secure_getenv("PATH")), dir;

    while (om_sv_split(&rest, ':', &dir)) {
        const char *prefix, *python;

        if (!om_sv_starts(dir, OM_SVL("/")) || !om_sv_ends(dir, OM_SVL("/bin")))
            continue;
        python = path_text(s, "%.*s/python3", OM_SV(dir));
        dir.len -= strlen("/bin");
        prefix = path_text(s, "%.*s", OM_SV(dir));
        if (prefix && python && om_file_exists(python) && search_prefix(s, prefix))
            return true;
    }
    return false;
}

static bool search_python(struct search *s)
{
    static const struct {
        const char *variable, *below;
    } roots[] = { { "VIRTUAL_ENV", "" },
                  { "CONDA_PREFIX", "" },
                  { "PYENV_ROOT", "/versions/*" },
                  { "HOME", "/.pyenv/versions/*" },
                  { "HOME", "/.local" } };

    note_place(s, "the onnxruntime packages of Python");
    for (size_t i = 0; i < OM_COUNT(roots); i++) {
        const char *root = secure_getenv(roots[i].variable);
        const char *prefix;

        if (!root || !*root)
            continue;
        prefix = path_text(s, "%s%s", root, roots[i].below);
        if (prefix && search_prefix(s, prefix))
            return true;
    }
    return search_path_prefixes(s) || search_prefix(s, "/usr/local") || search_prefix(s, "/usr");
}

static bool search_all(struct search *s)
{
    return search_beside_program(s) || search_system(s) || search_python(s);
}

static const char *text_or(const struct om_buf *b, const char *other)
{
    return b->ptr && b->len ? b->ptr : other;
}

static int not_found(const struct search *s, const char *library, struct om_error *err)
{
    if (s->no_memory)
        return om_fail(err, OM_E_NOMEM, "out of memory in the search for ONNX Runtime");
    OM_TRY(om_buf_check(&s->places, err));
    OM_TRY(om_buf_check(&s->refused, err));
    if (library && s->refused.len)
        return om_fail(err, OM_E_RUNTIME, "OPTIMUM_ORT_LIBRARY: %s", s->refused.ptr);
    if (library)
        return om_fail(err, OM_E_RUNTIME, "OPTIMUM_ORT_LIBRARY: no %s in %s", LIBRARY_STEM,
                       library);
    return om_fail(err, OM_E_RUNTIME,
                   "no usable ONNX Runtime (1.%u or newer): looked in %s%s%s%s; \"make ort\" or "
                   "\"pip install onnxruntime\" installs it, OPTIMUM_ORT_LIBRARY names another",
                   OM_ORT_MINOR_MIN, text_or(&s->places, "nothing"),
                   s->refused.len ? " (refused: " : "", text_or(&s->refused, ""),
                   s->refused.len ? ")" : "");
}

int om_ort_open(const char *library, struct om_ort *ort, struct om_error *err)
{
    struct search s = { .arena = OM_ARENA_INIT(SEARCH_ARENA_MAX),
                        .ort = ort,
                        .places = OM_BUF_INIT(SEARCH_TEXT_MAX),
                        .refused = OM_BUF_INIT(SEARCH_TEXT_MAX) };
    bool found;
    int rc = 0;

    if (!library)
        found = search_all(&s);
    else if (om_dir_exists(library))
        found = search_dir(&s, library);
    else
        found = try_library(&s, library);
    if (!found)
        rc = not_found(&s, library, err);
    om_buf_release(&s.refused);
    om_buf_release(&s.places);
    om_arena_release(&s.arena);
    return rc;
}

int om_ort_get(const struct om_ort **out, struct om_error *err)
{
    int rc = 0;

    pthread_mutex_lock(&process.lock);
    if (!process.open) {
        const char *library = secure_getenv("OPTIMUM_ORT_LIBRARY");

        rc = om_ort_open(library && *library ? library : NULL, &process.ort, err);
        process.open = rc == 0;
    }
    pthread_mutex_unlock(&process.lock);
    if (rc == 0)
        *out = &process.ort;
    return rc;
}

int om_ort_version(const char **version, const char **path, struct om_error *err)
{
    const struct om_ort *ort;

    OM_TRY(om_ort_get(&ort, err));
    if (version)
        *version = ort->version;
    if (path)
        *path = ort->path;
    return 0;
}
