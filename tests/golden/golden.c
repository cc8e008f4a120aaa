/* tests/golden/golden.c: see golden.h. */
#include <math.h>

#include "tests/golden/golden.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/half.h"
#include "base/json.h"

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for the goldens");
}

/* --- the list --- */

struct list {
    struct om_arena *arena;
    struct golden *items;
    size_t len, cap;
};

static bool listed(const struct list *l, const char *model_type, const char *task)
{
    for (size_t i = 0; i < l->len; i++)
        if (strcmp(l->items[i].model_type, model_type) == 0 && strcmp(l->items[i].task, task) == 0)
            return true;
    return false;
}

static int add_golden(struct list *l, const char *root, const char *model_type, const char *task,
                      struct om_error *err)
{
    const char *dir = om_arena_printf(l->arena, "%s/%s/%s", root, model_type, task);
    const char *cases = dir ? om_path_join(l->arena, dir, "cases.safetensors") : NULL;

    if (!cases)
        return no_memory(err);
    if (!om_file_exists(cases) || listed(l, model_type, task))
        return 0;
    if (!om_grow(&l->items, &l->cap, l->len + 1, sizeof(*l->items)))
        return no_memory(err);
    l->items[l->len++] = (struct golden){ .dir = dir, .model_type = model_type, .task = task };
    return 0;
}

static int add_model_type(struct list *l, const char *root, const char *model_type,
                          struct om_error *err)
{
    const char *dir = om_path_join(l->arena, root, model_type);
    const char **tasks = NULL;
    size_t n = 0;

    if (!dir)
        return no_memory(err);
    if (!om_dir_exists(dir)) /* an index file */
        return 0;
    OM_TRY(om_dir_list(l->arena, dir, &tasks, &n, err));
    for (size_t i = 0; i < n; i++)
        OM_TRY(add_golden(l, root, model_type, tasks[i], err));
    return 0;
}

static int add_root(struct list *l, const char *root, bool (*accept)(const char *model_type),
                    struct om_error *err)
{
    const char **types = NULL;
    size_t n = 0;

    if (!root)
        return no_memory(err);
    OM_TRY(om_dir_list(l->arena, root, &types, &n, err));
    for (size_t i = 0; i < n; i++)
        if (!accept || accept(types[i]))
            OM_TRY(add_model_type(l, root, types[i], err));
    return 0;
}

int golden_list(struct om_arena *a, const char *data, const char *shared,
                bool (*accept)(const char *model_type), struct golden **out, size_t *n,
                struct om_error *err)
{
    struct list l = { .arena = a };
    int rc = add_root(&l, om_path_join(a, data, "goldens"), accept, err);

    if (rc == 0 && shared)
        rc = add_root(&l, om_path_join(a, shared, "goldens/models"), accept, err);
    if (rc == 0) {
        *out = om_arena_copy(a, l.items, l.len * sizeof(*l.items));
        *n = l.len;
        if (!*out && l.len > 0)
            rc = no_memory(err);
    }
    free(l.items);
    return rc;
}

om_sv golden_task(const struct golden *g)
{
    return (om_sv){ g->task, strcspn(g->task, "+") };
}

/* --- the signature --- */

static int read_string(struct om_arena *a, const struct om_json *v, const char **out,
                       struct om_error *err)
{
    om_sv s;

    if (!om_json_str(v, &s))
        return om_fail(err, OM_E_FORMAT, "expected a string, found %s", om_json_kind_text(v));
    *out = om_arena_str(a, s);
    return *out ? 0 : no_memory(err);
}

/* A name that a tracer left behind, such as "Addpresent.0.key_dim_3". */
static bool is_made_up(const char *name)
{
    const char *dim = strstr(name, "_dim_");

    for (const char *p = name; *p; p++)
        if (isupper((unsigned char)*p))
            return true;
    return strstr(name, "::") || (dim && isdigit((unsigned char)dim[5]));
}

static int read_dim(struct om_arena *a, const struct om_json *v, struct golden_dim *d,
                    struct om_error *err)
{
    *d = (struct golden_dim){ .kind = GOLDEN_DIM_ANY, .value = -1 };
    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    if (om_json_i64(v, &d->value)) {
        d->kind = GOLDEN_DIM_FIXED;
        return 0;
    }
    OM_TRY(read_string(a, v, &d->name, err));
    d->kind = is_made_up(d->name) ? GOLDEN_DIM_ANY : GOLDEN_DIM_NAMED;
    return 0;
}

static int read_dtype(const struct om_json *v, enum om_dtype *out, struct om_error *err)
{
    static const struct {
        const char *name;
        enum om_dtype dtype;
    } names[] = { { "FLOAT", OM_F32 },
                  { "FLOAT16", OM_F16 },
                  { "INT64", OM_I64 },
                  { "INT32", OM_I32 },
                  { "BOOL", OM_BOOL } };
    om_sv s = { NULL, 0 };

    om_json_str(v, &s);
    for (size_t i = 0; i < OM_COUNT(names); i++)
        if (om_sv_is(s, names[i].name)) {
            *out = names[i].dtype;
            return 0;
        }
    return om_fail(err, OM_E_FORMAT, "unknown dtype \"%.*s\"", OM_SV(s));
}

static int read_port(struct om_arena *a, const struct om_json *v, struct golden_port *p,
                     struct om_error *err)
{
    const struct om_json *dims = om_json_get(v, "dims");
    const size_t rank = om_json_len(dims);
    struct golden_dim *d = om_arena_array(a, OM_MAX(rank, 1), sizeof(*d));

    if (!d)
        return no_memory(err);
    OM_TRY(read_string(a, om_json_get(v, "name"), &p->name, err));
    OM_TRY(read_dtype(om_json_get(v, "dtype"), &p->dtype, err));
    for (size_t i = 0; i < rank; i++)
        OM_TRY(read_dim(a, om_json_at(dims, i), &d[i], err));
    p->dims = d;
    p->rank = (uint32_t)rank;
    return 0;
}

static int read_ports(struct om_arena *a, const struct om_json *list,
                      const struct golden_port **out, size_t *n, struct om_error *err)
{
    const size_t len = om_json_len(list);
    struct golden_port *p = om_arena_array(a, OM_MAX(len, 1), sizeof(*p));

    if (!p)
        return no_memory(err);
    for (size_t i = 0; i < len; i++)
        OM_TRY(read_port(a, om_json_at(list, i), &p[i], err));
    *out = p;
    *n = len;
    return 0;
}

static int read_onnx(struct om_arena *a, om_sv name, const struct om_json *v, struct golden_onnx *o,
                     struct om_error *err)
{
    const size_t suffix = sizeof(".onnx") - 1;

    if (!om_sv_ends(name, OM_SVL(".onnx")))
        return om_fail(err, OM_E_FORMAT, "expected a name that ends with .onnx");
    o->name = om_arena_str(a, name);
    o->stem = om_arena_str(a, (om_sv){ name.ptr, name.len - suffix });
    if (!o->name || !o->stem)
        return no_memory(err);
    if (!om_json_i64(om_json_get(v, "opset"), &o->opset))
        return om_fail(err, OM_E_FORMAT, "no opset");
    OM_TRY(read_ports(a, om_json_get(v, "inputs"), &o->inputs, &o->n_inputs, err));
    return read_ports(a, om_json_get(v, "outputs"), &o->outputs, &o->n_outputs, err);
}

static int read_all_onnx(struct om_arena *a, const struct om_json *files,
                         struct golden_signature *s, struct om_error *err)
{
    struct golden_onnx *o = om_arena_array(a, OM_MAX(om_json_len(files), 1), sizeof(*o));
    struct om_json_iter it = { 0 };

    if (!o)
        return no_memory(err);
    s->onnx = o;
    while (om_json_next(files, &it)) {
        const int rc = read_onnx(a, it.key, it.value, &o[s->n_onnx], err);

        if (rc < 0)
            return om_wrap(err, rc, "%.*s", OM_SV(it.key));
        s->n_onnx++;
    }
    return 0;
}

static int read_files(struct om_arena *a, const struct om_json *files, struct golden_signature *s,
                      struct om_error *err)
{
    struct om_json_iter it = { 0 };

    s->files = om_arena_array(a, OM_MAX(om_json_len(files), 1), sizeof(*s->files));
    if (!s->files)
        return no_memory(err);
    while (om_json_next(files, &it)) {
        s->files[s->n_files] = om_arena_str(a, it.key);
        if (!s->files[s->n_files++])
            return no_memory(err);
    }
    return 0;
}

static int read_args(struct om_arena *a, const struct om_json *args, struct golden_signature *s,
                     struct om_error *err)
{
    struct golden_arg *p = om_arena_array(a, OM_MAX(om_json_len(args), 1), sizeof(*p));
    struct om_json_iter it = { 0 };

    if (!p)
        return no_memory(err);
    s->args = p;
    while (om_json_next(args, &it)) {
        struct om_buf text = OM_BUF_INIT(1 << 16);
        om_sv value;

        om_json_write(&text, it.value, 0);
        value = om_buf_sv(&text);
        om_json_str(it.value, &value); /* a string is given without its quotes */
        p[s->n_args].name = om_arena_str(a, it.key);
        p[s->n_args].value = om_arena_str(a, value);
        om_buf_release(&text);
        if (!p[s->n_args].name || !p[s->n_args].value)
            return no_memory(err);
        s->n_args++;
    }
    return 0;
}

static int read_signature(struct om_arena *a, const struct om_json *doc, struct golden_signature *s,
                          struct om_error *err)
{
    om_json_f64(om_json_get(doc, "atol"), &s->atol);
    OM_TRY(read_files(a, om_json_get(doc, "files"), s, err));
    OM_TRY(read_args(a, om_json_get(doc, "export_kwargs"), s, err));
    return read_all_onnx(a, om_json_get(doc, "onnx"), s, err);
}

int golden_signature_read(struct om_arena *a, const struct golden *g, struct golden_signature *out,
                          struct om_error *err)
{
    const char *path = om_path_join(a, g->dir, "signature.json");
    struct golden_signature s = { 0 };
    struct om_json *doc = NULL;
    int rc;

    if (!path)
        return no_memory(err);
    OM_TRY(om_json_read(path, OM_JSON_NO_DUPLICATES, &doc, err));
    rc = om_wrap(err, read_signature(a, doc, &s, err), "%s", path);
    om_json_free(doc);
    if (rc == 0)
        *out = s;
    return rc;
}

/* --- the cases --- */

int golden_cases_open(struct om_arena *a, const struct golden *g, struct golden_cases *out,
                      struct om_error *err)
{
    const char *path = om_path_join(a, g->dir, "cases.safetensors");

    return path ? om_ckpt_open_file(a, path, &out->file, err) : no_memory(err);
}

void golden_cases_close(struct golden_cases *c)
{
    om_ckpt_close(c->file);
    c->file = NULL;
}

/* A tensor's name in parts: STEM/CASE/inputs/NAME; the last part may hold slashes itself. */
struct parts {
    om_sv stem, id, side, name;
};

static bool split_name(om_sv s, struct parts *p)
{
    p->name = s;
    return om_sv_split(&p->name, '/', &p->stem) && om_sv_split(&p->name, '/', &p->id) &&
           om_sv_split(&p->name, '/', &p->side);
}

/* Kernels want aligned elements; files are not bound to have them. */
static const void *aligned(struct om_arena *a, const struct om_ckpt_tensor *t)
{
    const void *data = om_ckpt_data(t);

    if ((uintptr_t)data % om_dtype_size(t->dtype) == 0)
        return data;
    return om_arena_copy(a, data, (size_t)t->bytes);
}

static int collect(struct om_arena *a, const struct golden_cases *c, const char *stem, om_sv id,
                   const char *side, const struct om_tensor **out, size_t *n, struct om_error *err)
{
    struct om_tensor *list = om_arena_array(a, OM_MAX(c->file->len, 1), sizeof(*list));
    struct parts p;

    *n = 0;
    if (!list)
        return no_memory(err);
    for (size_t i = 0; i < c->file->len; i++) {
        const struct om_ckpt_tensor *t = &c->file->tensors[i];
        const char *name;

        if (!split_name(t->name, &p) || !om_sv_is(p.stem, stem) || !om_sv_eq(p.id, id) ||
            !om_sv_is(p.side, side))
            continue;
        name = om_arena_str(a, p.name);
        list[*n] = (struct om_tensor){
            .name = name, .dtype = t->dtype, .rank = t->rank, .dims = t->dims, .data = aligned(a, t)
        };
        if (!name || !list[(*n)++].data)
            return no_memory(err);
    }
    *out = list;
    return 0;
}

static int by_id(const void *a, const void *b)
{
    const struct golden_case *x = a, *y = b;

    return strcmp(x->id, y->id);
}

static bool has_case(const struct golden_case *list, size_t n, om_sv id)
{
    for (size_t i = 0; i < n; i++)
        if (om_sv_is(id, list[i].id))
            return true;
    return false;
}

int golden_cases_of(struct om_arena *a, const struct golden_cases *c, const char *stem,
                    struct golden_case **out, size_t *n, struct om_error *err)
{
    struct golden_case *list = om_arena_array(a, OM_MAX(c->file->len, 1), sizeof(*list));
    struct parts p;
    size_t len = 0;

    if (!list)
        return no_memory(err);
    for (size_t i = 0; i < c->file->len; i++) {
        struct golden_case *k = &list[len];

        if (!split_name(c->file->tensors[i].name, &p) || !om_sv_is(p.stem, stem) ||
            has_case(list, len, p.id))
            continue;
        k->id = om_arena_str(a, p.id);
        if (!k->id)
            return no_memory(err);
        OM_TRY(collect(a, c, stem, p.id, "inputs", &k->inputs, &k->n_inputs, err));
        OM_TRY(collect(a, c, stem, p.id, "outputs", &k->outputs, &k->n_outputs, err));
        len++;
    }
    qsort(list, len, sizeof(*list), by_id);
    *out = list;
    *n = len;
    return 0;
}

/* ---- values ---- */

static double element(const struct om_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case OM_F16:
        return om_f16_to_f32(((const uint16_t *)t->data)[i]);
    case OM_BF16:
        return om_bf16_to_f32(((const uint16_t *)t->data)[i]);
    case OM_F32:
        return ((const float *)t->data)[i];
    case OM_I64:
        return (double)((const int64_t *)t->data)[i];
    default:
        return NAN;
    }
}

double golden_difference(const struct om_tensor *got, const struct om_tensor *want, int64_t n)
{
    double diff = 0.0, size = 0.0;

    for (int64_t i = 0; i < n; i++) {
        const double d = fabs(element(got, i) - element(want, i));
        diff = isnan(d) ? INFINITY : fmax(diff, d);
        size = fmax(size, fabs(element(want, i)));
    }
    return size > 0.0 ? diff / size : diff;
}
