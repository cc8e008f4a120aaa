/* src/ort/session.c: opening a model with ONNX Runtime, and what it says about inputs and outputs.
 */
#include "ort/session.h"

#include <stdlib.h>

#include "base/file.h"

#define SESSION_ARENA_MAX (256u << 20)
#define EXTERNAL_DIR_KEY "session.model_external_initializers_file_folder_path"
#define EXTERNAL_DIR_MINOR 21 /* the first release 1.N that knows the key */

/* ONNXTensorElementDataType has no enum om_dtype for these. */
static const char *const other_types[] = {
    [0] = "undefined",     [8] = "string",          [14] = "complex64",  [15] = "complex128",
    [17] = "float8e4m3fn", [18] = "float8e4m3fnuz", [19] = "float8e5m2", [20] = "float8e5m2fnuz",
    [21] = "uint4",        [22] = "int4",           [23] = "float4e2m1", [24] = "uint2",
    [25] = "int2",         [26] = "float8e8m0",
};

/* ONNXType */
static const char *const kinds[] = { "value of unknown type", "tensor",        "sequence", "map",
                                     "opaque value",          "sparse tensor", "optional" };

/* Inputs and outputs differ only in the functions that describe them. */
struct side {
    const char *word;
    struct ort_status *(*count)(const struct ort_session *s, size_t *out);
    struct ort_status *(*name)(const struct ort_session *s, size_t i, struct ort_allocator *a,
                               char **out);
    struct ort_status *(*type)(const struct ort_session *s, size_t i, struct ort_type_info **out);
};

/* ---- options ---- */

static int check_opts(const struct om_session_opts *o, struct om_error *err)
{
    if (o->intra_op_threads < 0 || o->inter_op_threads < 0)
        return om_fail(err, OM_E_USAGE, "number of threads: expected 0 or more, found %d and %d",
                       o->intra_op_threads, o->inter_op_threads);
    if (o->opt_level < OM_ORT_OPT_ALL || o->opt_level > OM_ORT_OPT_NONE)
        return om_fail(err, OM_E_USAGE, "unknown optimization level %d", (int)o->opt_level);
    if (o->n_config && (!o->config_keys || !o->config_values))
        return om_fail(err, OM_E_USAGE, "%zu config entries, but no keys or values", o->n_config);
    return 0;
}

/* A caller compiled against an older header has a shorter struct: what it lacks keeps its default.
 */
static int copy_opts(struct om_session_opts *to, const struct om_session_opts *from,
                     struct om_error *err)
{
    *to = (struct om_session_opts)OM_SESSION_OPTS_INIT;
    if (!from)
        return 0;
    if (from->struct_size < sizeof(from->struct_size))
        return om_fail(err, OM_E_USAGE, "session options were not set by OM_SESSION_OPTS_INIT");
    memcpy(to, from, OM_MIN(from->struct_size, sizeof(*to)));
    return check_opts(to, err);
}

static int apply_config(const struct om_ort *ort, struct ort_session_options *so,
                        const struct om_session_opts *o, struct om_error *err)
{
    if (o->disable_prepacking)
        OM_TRY(
            om_ort_check(ort, ort->add_config_entry(so, "session.disable_prepacking", "1"), err));
    for (size_t i = 0; i < o->n_config; i++) {
        const char *const key = o->config_keys[i], *const value = o->config_values[i];

        if (!key || !value)
            return om_fail(err, OM_E_USAGE, "config entry %zu has no %s", i, key ? "value" : "key");
        OM_TRY(om_wrap(err, om_ort_check(ort, ort->add_config_entry(so, key, value), err),
                       "config entry \"%s\"", key));
    }
    return 0;
}

static int apply_opts(const struct om_ort *ort, struct ort_session_options *so,
                      const struct om_session_opts *o, struct om_error *err)
{
    static const int levels[] = { [OM_ORT_OPT_ALL] = 99,
                                  [OM_ORT_OPT_EXTENDED] = 2,
                                  [OM_ORT_OPT_BASIC] = 1,
                                  [OM_ORT_OPT_NONE] = 0 };

    OM_TRY(om_ort_check(ort, ort->set_opt_level(so, levels[o->opt_level]), err));
    OM_TRY(om_ort_check(ort, ort->set_intra_op_threads(so, o->intra_op_threads), err));
    OM_TRY(om_ort_check(ort, ort->set_inter_op_threads(so, o->inter_op_threads), err));
    if (o->profile_prefix)
        OM_TRY(om_ort_check(ort, ort->enable_profiling(so, o->profile_prefix), err));
    if (o->optimized_path)
        OM_TRY(om_ort_check(ort, ort->set_optimized_path(so, o->optimized_path), err));
    OM_TRY(apply_config(ort, so, o, err));
    if (o->providers)
        return om_ort_use_providers(ort, so, o->providers, o->n_providers, err);
    return om_ort_use_providers(ort, so, &(struct om_provider){ .name = o->provider },
                                o->provider ? 1 : 0, err);
}

static int make_options(const struct om_ort *ort, const struct om_session_opts *o,
                        struct ort_session_options **out, struct om_error *err)
{
    struct ort_session_options *so = NULL;
    int rc = om_ort_check(ort, ort->create_session_options(&so), err);

    if (rc == 0)
        rc = apply_opts(ort, so, o, err);
    if (rc == 0)
        *out = so;
    else if (so)
        ort->release_session_options(so);
    return rc;
}

/* ---- ports ---- */

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for the description of inputs and outputs");
}

static int read_dims(struct om_session *s, const struct ort_shape_info *info,
                     struct om_session_port *p, struct om_error *err)
{
    const struct om_ort *ort = s->ort;
    const char **names;
    int64_t *dims;
    size_t n = 0;

    OM_TRY(om_ort_check(ort, ort->dim_count(info, &n), err));
    /* Releases that cannot tell give 0 for no shape as for a scalar: be lenient there, they check
     * again. */
    p->any_rank = n == 0 && (ort->has_shape ? !ort->has_shape(info) : true);
    p->rank = (uint32_t)n;
    dims = om_arena_array(&s->arena, n, sizeof(*dims));
    names = om_arena_array(&s->arena, n, sizeof(*names));
    if (n && (!dims || !names))
        return no_memory(err);
    if (n) {
        OM_TRY(om_ort_check(ort, ort->dims(info, dims, n), err));
        OM_TRY(om_ort_check(ort, ort->dim_names(info, names, n), err));
    }
    for (size_t i = 0; i < n; i++) { /* the names are borrowed from info */
        names[i] = om_arena_str(&s->arena, om_sv_str(names[i]));
        if (!names[i])
            return no_memory(err);
    }
    p->dims = dims;
    p->dim_names = names;
    return 0;
}

static int read_tensor_type(struct om_session *s, const struct ort_type_info *type,
                            struct om_session_port *p, struct om_error *err)
{
    const struct om_ort *ort = s->ort;
    const struct ort_shape_info *info = NULL; /* borrowed from type */
    int kind = 0, element = 0;

    OM_TRY(om_ort_check(ort, ort->type_kind(type, &kind), err));
    if (kind != ORT_TYPE_TENSOR)
        return om_fail(err, OM_E_UNSUPPORTED, "expected a tensor, found a %s",
                       kind >= 0 && (size_t)kind < OM_COUNT(kinds) ? kinds[kind] : kinds[0]);
    OM_TRY(om_ort_check(ort, ort->type_as_tensor(type, &info), err));
    OM_TRY(om_ort_check(ort, ort->element_type(info, &element), err));
    p->dtype = om_dtype_from_onnx(element);
    if (p->dtype == OM_DTYPE_NONE) {
        const bool known = element >= 0 && (size_t)element < OM_COUNT(other_types);

        return om_fail(err, OM_E_UNSUPPORTED, "tensors of type %s are not supported",
                       known && other_types[element] ? other_types[element]
                                                     : "unknown to this version");
    }
    return read_dims(s, info, p, err);
}

static int read_port_name(struct om_session *s, const struct side *side, size_t i,
                          struct om_session_port *p, struct om_error *err)
{
    char *name = NULL; /* from the allocator */

    OM_TRY(om_ort_check(s->ort, side->name(s->handle, i, s->ort->allocator, &name), err));
    p->name = om_arena_str(&s->arena, om_sv_str(name));
    OM_TRY(om_ort_check(s->ort, s->ort->allocator_free(s->ort->allocator, name), err));
    return p->name ? 0 : no_memory(err);
}

static int read_port(struct om_session *s, const struct side *side, size_t i,
                     struct om_session_port *p, struct om_error *err)
{
    struct ort_type_info *type = NULL;
    int rc;

    OM_TRY(read_port_name(s, side, i, p, err));
    rc = om_ort_check(s->ort, side->type(s->handle, i, &type), err);
    if (rc == 0)
        rc = read_tensor_type(s, type, p, err);
    if (type)
        s->ort->release_type_info(type);
    return om_wrap(err, rc, "%s \"%s\"", side->word, p->name);
}

static int read_ports(struct om_session *s, const struct side *side, struct om_ports *ports,
                      struct om_error *err)
{
    size_t n = 0;

    OM_TRY(om_ort_check(s->ort, side->count(s->handle, &n), err));
    ports->items = om_arena_array(&s->arena, n, sizeof(*ports->items));
    ports->names = om_arena_array(&s->arena, n, sizeof(*ports->names));
    if (n && (!ports->items || !ports->names))
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        OM_TRY(read_port(s, side, i, &ports->items[i], err));
        ports->names[i] = ports->items[i].name;
        if (om_map_put(&ports->by_name, om_sv_str(ports->items[i].name), (uint32_t)i) < 0)
            return no_memory(err);
    }
    ports->len = n;
    return 0;
}

static int read_all_ports(struct om_session *s, struct om_error *err)
{
    const struct om_ort *ort = s->ort;
    const struct side in = { "input", ort->input_count, ort->input_name, ort->input_type };
    const struct side out = { "output", ort->output_count, ort->output_name, ort->output_type };

    OM_TRY(read_ports(s, &in, &s->inputs, err));
    return read_ports(s, &out, &s->outputs, err);
}

/* ---- opening ---- */

/* Where the model comes from: a path, or bytes and the directory of their external data. */
struct source {
    const char *path;
    const void *bytes;
    size_t len;
    const char *dir;
};

static int check_source(const struct om_ort *ort, const struct source *src, struct om_error *err)
{
    if (src->path)
        return om_file_exists(src->path) ? 0 : om_fail(err, OM_E_MISSING, "no such file");
    if (!src->bytes || src->len == 0)
        return om_fail(err, OM_E_FORMAT, "the model is empty");
    if (src->dir && ort->minor < EXTERNAL_DIR_MINOR)
        return om_fail(err, OM_E_UNSUPPORTED,
                       "a directory for external data needs ONNX Runtime 1.%d, found %s",
                       EXTERNAL_DIR_MINOR, ort->version);
    return 0;
}

static int create(struct om_session *s, const struct source *src, const struct om_session_opts *o,
                  struct om_error *err)
{
    const struct om_ort *ort = s->ort;
    struct ort_session_options *so = NULL;
    int rc = make_options(ort, o, &so, err);

    if (rc == 0 && src->dir)
        rc = om_ort_check(ort, ort->add_config_entry(so, EXTERNAL_DIR_KEY, src->dir), err);
    if (rc == 0)
        rc = om_ort_check(ort,
                          src->path ? ort->create_session(ort->env, src->path, so, &s->handle)
                                    : ort->create_session_from_array(ort->env, src->bytes, src->len,
                                                                     so, &s->handle),
                          err);
    if (so)
        ort->release_session_options(so);
    return rc;
}

static int session_new(const struct om_ort *ort, const char *label, struct om_session **out,
                       struct om_error *err)
{
    struct om_session *s = calloc(1, sizeof(*s));

    if (!s)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    s->ort = ort;
    om_arena_init(&s->arena, SESSION_ARENA_MAX);
    s->label = om_arena_str(&s->arena, om_sv_str(label));
    if (!s->label) {
        om_session_free(s);
        return om_fail(err, OM_E_NOMEM, "out of memory");
    }
    *out = s;
    return 0;
}

static int load(struct om_session *s, const struct source *src, const struct om_session_opts *opts,
                struct om_error *err)
{
    struct om_session_opts o;

    OM_TRY(copy_opts(&o, opts, err));
    OM_TRY(check_source(s->ort, src, err));
    OM_TRY(create(s, src, &o, err));
    return read_all_ports(s, err);
}

static int open_source(struct om_ctx *ctx, const char *label, const struct source *src,
                       const struct om_session_opts *opts, struct om_session **out,
                       struct om_error *err)
{
    const struct om_ort *ort = NULL;
    struct om_session *s = NULL;
    int rc;

    OM_TRY(om_ctx_check(ctx, err));
    OM_TRY(om_ort_get(&ort, err));
    OM_TRY(session_new(ort, label, &s, err));
    om_ort_log_to(ctx);
    rc = load(s, src, opts, err);
    om_ort_log_to(NULL);
    if (rc < 0) {
        om_session_free(s);
        return om_wrap(err, rc, "%s", label);
    }
    *out = s;
    return 0;
}

int om_session_open(struct om_ctx *ctx, const char *path, const struct om_session_opts *opts,
                    struct om_session **out, struct om_error *err)
{
    const struct source src = { .path = path };

    return open_source(ctx, path, &src, opts, out, err);
}

int om_session_open_bytes(struct om_ctx *ctx, const void *model, size_t len, const char *dir,
                          const struct om_session_opts *opts, struct om_session **out,
                          struct om_error *err)
{
    const struct source src = { .bytes = model, .len = len, .dir = dir };

    return open_source(ctx, "model in memory", &src, opts, out, err);
}

void om_session_free(struct om_session *s)
{
    if (!s)
        return;
    if (s->handle)
        s->ort->release_session(s->handle);
    om_map_release(&s->inputs.by_name);
    om_map_release(&s->outputs.by_name);
    om_arena_release(&s->arena);
    free(s);
}

size_t om_session_input_count(const struct om_session *s)
{
    return s->inputs.len;
}

size_t om_session_output_count(const struct om_session *s)
{
    return s->outputs.len;
}

const struct om_session_port *om_session_input(const struct om_session *s, size_t i)
{
    return i < s->inputs.len ? &s->inputs.items[i] : NULL;
}

const struct om_session_port *om_session_output(const struct om_session *s, size_t i)
{
    return i < s->outputs.len ? &s->outputs.items[i] : NULL;
}
